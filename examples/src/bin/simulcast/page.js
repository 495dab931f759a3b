// Sends a camera in three layers, shows what comes back, and chooses.

import { bitrate, byId, exchange, followState, showError, showStatus, watchInbound } from "./signaling.js";

const LAYERS = [
  { rid: "h", maxBitrate: 1_500_000 },
  { rid: "m", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "l", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
];
const buttons = [...document.querySelectorAll("[data-choice]")];

async function start() {
  const camera = await navigator.mediaDevices.getUserMedia({
    video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
  });
  byId("local").srcObject = camera;

  const pc = new RTCPeerConnection();
  followState(pc);
  pc.addTransceiver(camera.getVideoTracks()[0], { direction: "sendonly", sendEncodings: LAYERS });
  const { receiver } = pc.addTransceiver("video", { direction: "recvonly" });
  byId("remote").srcObject = new MediaStream([receiver.track]);

  const channel = pc.createDataChannel("layers");
  channel.addEventListener("message", ({ data }) => showChoice(JSON.parse(data)));
  for (const button of buttons) {
    button.addEventListener("click", () => {
      buttons.forEach((it) => it.setAttribute("aria-pressed", String(it === button)));
      channel.send(JSON.stringify({ layer: button.dataset.choice }));
    });
  }

  await exchange(pc);
  watchInbound(pc, ([video]) => {
    if (video) byId("received").textContent = video.width ? `${video.width}×${video.height}, ${bitrate(video.bits)}` : "";
  });
  setInterval(() => showSent(pc), 1000);
}

/** What the program receives of each layer, and which one it sends back. */
function showChoice({ current, bitrates }) {
  for (const button of buttons) {
    const { choice } = button.dataset;
    button.dataset.current = String(choice === current);
    button.lastChild.textContent = bitrate(bitrates[choice]);
  }
}

async function showSent(pc) {
  for (const stats of (await pc.getStats()).values()) {
    if (stats.type !== "outbound-rtp" || !stats.rid) continue;
    const size = stats.frameWidth ? `${stats.frameWidth}×${stats.frameHeight}` : "not sent";
    document.querySelector(`[data-layer=${stats.rid}]`).textContent = `${stats.rid} ${size}`;
  }
}

start().catch((error) => {
  showStatus("failed", "failed");
  showError(error.message);
});
