// Sends camera and microphone and shows what comes back.

import { byId, capture, exchange, followState, showError, showInbound, showOutbound, showStatus } from "./signaling.js";

async function start() {
  const stream = await capture();
  const pc = new RTCPeerConnection();
  followState(pc);
  const senders = stream.getTracks().map((track) => pc.addTransceiver(track, { streams: [stream] }));
  byId("remote").srcObject = new MediaStream(senders.map(({ receiver }) => receiver.track));
  await exchange(pc);
  showInbound(pc);
  showOutbound(pc);
}

start().catch((error) => {
  showStatus("failed", "failed");
  showError(error.message);
});
