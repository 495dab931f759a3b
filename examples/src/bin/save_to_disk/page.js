// Sends camera and microphone until the recording is stopped.

import { byId, capture, exchange, followState, make, showError, showOutbound, showStatus } from "./signaling.js";

async function start() {
  const stream = await capture();
  const pc = new RTCPeerConnection();
  followState(pc);
  stream.getTracks().forEach((track) => pc.addTransceiver(track, { direction: "sendonly", streams: [stream] }));
  const channel = pc.createDataChannel("files");
  channel.addEventListener("message", ({ data }) => showFiles(JSON.parse(data)));
  await exchange(pc);
  const shown = showOutbound(pc);

  const stop = byId("stop");
  stop.disabled = false;
  // The program ends the files and says so, then the connection ends.
  stop.addEventListener("click", () => {
    stop.disabled = true;
    clearInterval(shown);
    stream.getTracks().forEach((track) => track.stop());
    channel.send("stop");
  });
  channel.addEventListener("close", () => {
    pc.close();
    showStatus("ended", "stopped");
  });
}

function showFiles(files) {
  if (!files.length) return;
  const line = ({ path, seconds, frames, bytes }) =>
    make("li", {}, make("code", {}, path), ` ${seconds.toFixed(1)} s, ${frames} frames, ${(bytes / 1000).toFixed(0)} kB`);
  byId("files").replaceChildren(...files.map(line));
}

start().catch((error) => {
  showStatus("failed", "failed");
  showError(error.message);
});
