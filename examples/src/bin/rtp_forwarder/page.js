// Shows what comes.

import { bitrate, byId, exchange, followState, showError, showStatus, watchInbound } from "./signaling.js";

async function start() {
  const pc = new RTCPeerConnection();
  followState(pc);
  const tracks = ["video", "audio"].map((kind) => pc.addTransceiver(kind, { direction: "recvonly" }).receiver.track);
  byId("remote").srcObject = new MediaStream(tracks);
  await exchange(pc);
  watchInbound(pc, (streams) => {
    for (const { kind, bits, frames, width, height } of streams) {
      if (kind === "video") {
        byId("video-facts").textContent = width ? `${width}×${height}, ${bitrate(bits)}` : "no video yet";
        byId("frames").textContent = `${frames} frames`;
      } else {
        byId("audio-facts").textContent = bits ? `sound, ${bitrate(bits)}` : "no sound";
        byId("sound").hidden = !bits;
      }
    }
  });
}

// Browsers play sound only when somebody asks for it.
byId("sound").addEventListener("click", ({ target }) => {
  const video = byId("remote");
  video.muted = !video.muted;
  target.textContent = video.muted ? "Sound on" : "Sound off";
});

start().catch((error) => {
  showStatus("failed", "failed");
  showError(error.message);
});
