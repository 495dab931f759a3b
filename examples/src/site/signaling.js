// What all pages need: elements, status, and both kinds of signalling.

/** How long an offer waits for the last candidates, in milliseconds. */
const GATHERING_LIMIT = 1000;

export const byId = (id) => document.getElementById(id);

/** Makes an element with properties and children. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  const { dataset = {}, ...others } = properties;
  Object.assign(element, others);
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
}

/** Shows the state of the connection; `state` is new, connected, ended or failed. */
export function showStatus(state, words) {
  const status = byId("status");
  status.dataset.state = state;
  status.textContent = words;
}

export function showError(message) {
  const place = byId("error");
  place.textContent = message;
  place.hidden = !message;
}

/** Shows the state of a connection as it changes. */
export function followState(pc) {
  const show = () => {
    const state = pc.connectionState;
    const kind = { connected: "connected", failed: "failed", closed: "ended" }[state];
    showStatus(kind ?? "new", state);
  };
  pc.addEventListener("connectionstatechange", show);
  show();
}

/** Every candidate is found; or those that are must do. */
export function gathered(pc) {
  return new Promise((resolve) => {
    const look = () => pc.iceGatheringState === "complete" && resolve();
    pc.addEventListener("icegatheringstatechange", look);
    setTimeout(resolve, GATHERING_LIMIT);
    look();
  });
}

/** Offers what the connection has and applies the answer: all the signalling that a fixed set of tracks needs. */
export async function exchange(pc, path = "session") {
  await pc.setLocalDescription();
  await gathered(pc);
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(pc.localDescription),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  await pc.setRemoteDescription(answer);
}

/** A WebSocket of JSON messages, each with a `type`; `listeners` are functions by type. */
export class Signal {
  #socket;

  constructor(path, listeners, ended) {
    const url = new URL(path, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.#socket = new WebSocket(url);
    // Messages are dealt with one after the other, also when that takes a while.
    let last = Promise.resolve();
    this.#socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      last = last.then(() => listeners[message.type]?.(message)).catch((error) => showError(error.message));
    });
    this.#socket.addEventListener("close", () => ended?.());
  }

  /** Ready when messages can be sent. */
  opened() {
    return new Promise((resolve, reject) => {
      this.#socket.addEventListener("open", resolve);
      this.#socket.addEventListener("error", () => reject(new Error("The program does not answer.")));
    });
  }

  close() {
    this.#socket.close();
  }

  send(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }
}

/** A bitrate in words. */
export function bitrate(bits) {
  if (!bits) return "–";
  return bits < 1e6 ? `${Math.round(bits / 1000)} kbit/s` : `${(bits / 1e6).toFixed(2)} Mbit/s`;
}

/**
 * Calls `found` each second with what each track receives: bits in a second, frames, and the size of the video.
 * The console finds the same as `inbound`.
 */
export function watchInbound(pc, found) {
  const last = new Map();
  return setInterval(async () => {
    const streams = [];
    for (const stats of (await pc.getStats()).values()) {
      if (stats.type !== "inbound-rtp") continue;
      const before = last.get(stats.id) ?? { bytesReceived: 0, timestamp: stats.timestamp - 1000 };
      const seconds = (stats.timestamp - before.timestamp) / 1000 || 1;
      last.set(stats.id, stats);
      const bits = Math.max(0, (8 * (stats.bytesReceived - before.bytesReceived)) / seconds);
      streams.push({ mid: stats.mid, kind: stats.kind, bits, frames: stats.framesDecoded ?? 0,
        width: stats.frameWidth ?? 0, height: stats.frameHeight ?? 0 });
    }
    globalThis.inbound = streams;
    found(streams);
  }, 1000);
}

/** Shows what is received of one track of each kind, below the element `remote`, whose sound a button turns on. */
export function showInbound(pc) {
  const video = byId("remote");
  const sound = byId("sound");
  // Browsers play sound only when somebody asks for it.
  sound.addEventListener("click", () => {
    video.muted = !video.muted;
    sound.textContent = video.muted ? "Sound on" : "Sound off";
  });
  watchInbound(pc, (streams) => {
    for (const { kind, bits, frames, width, height } of streams) {
      if (kind === "video") {
        byId("video-facts").textContent = width ? `${width}×${height}, ${bitrate(bits)}` : "no video yet";
        byId("frames").textContent = `${frames} frames`;
      } else {
        byId("audio-facts").textContent = bits ? `sound, ${bitrate(bits)}` : "no sound";
        sound.hidden = !bits;
      }
    }
  });
}

/** Camera and microphone, or the one of them that there is, shown in the element `local`. */
export async function capture() {
  const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
  let stream;
  for (const wanted of [{ audio: true, video }, { video }, { audio: true }]) {
    stream = await navigator.mediaDevices.getUserMedia(wanted).catch((error) => {
      if (error.name !== "NotFoundError") throw error;
    });
    if (stream) break;
  }
  if (!stream) throw new Error("This machine has no camera and no microphone.");
  byId("local").srcObject = stream;
  return stream;
}

/** Shows each second what is sent, below the element `local`. */
export function showOutbound(pc) {
  const last = new Map();
  return setInterval(async () => {
    for (const stats of (await pc.getStats()).values()) {
      if (stats.type === "remote-inbound-rtp" && stats.kind === "video" && stats.roundTripTime !== undefined) {
        byId("round-trip").textContent = `round trip ${(1000 * stats.roundTripTime).toFixed(1)} ms`;
      }
      if (stats.type !== "outbound-rtp") continue;
      const before = last.get(stats.id) ?? { bytesSent: 0, timestamp: stats.timestamp - 1000 };
      last.set(stats.id, stats);
      const bits = (1000 * 8 * (stats.bytesSent - before.bytesSent)) / (stats.timestamp - before.timestamp || 1000);
      if (stats.kind === "audio") byId("sent-audio").textContent = `sound, ${bitrate(bits)}`;
      else if (stats.frameWidth) byId("sent").textContent = `${stats.frameWidth}×${stats.frameHeight}, ${bitrate(bits)}`;
    }
  }, 1000);
}
