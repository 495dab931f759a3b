// Shows one track of video and one of audio that the program sends.

import { byId, exchange, followState, showError, showInbound, showStatus } from "./signaling.js";

async function start() {
  const pc = new RTCPeerConnection();
  followState(pc);
  const tracks = ["video", "audio"].map((kind) => pc.addTransceiver(kind, { direction: "recvonly" }).receiver.track);
  byId("remote").srcObject = new MediaStream(tracks);
  await exchange(pc);
  showInbound(pc);
}

start().catch((error) => {
  showStatus("failed", "failed");
  showError(error.message);
});
