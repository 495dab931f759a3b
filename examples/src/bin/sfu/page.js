// One participant: sends a camera in three layers, shows everybody else.

import { Signal, bitrate, byId, followState, gathered, make, showError, showStatus, watchInbound } from "./signaling.js";

const LAYERS = [
  { rid: "h", maxBitrate: 1_500_000 },
  { rid: "m", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "l", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
];
const CHOICES = { auto: "Auto", h: "High", m: "Medium", l: "Low", off: "Off" };

const own = byId("own");
let session;

/** Somebody else's camera and microphone. */
class Tile {
  #video = make("video", { autoplay: true, playsInline: true });
  #size = make("span");
  #buttons = {};
  #stream = new MediaStream();

  constructor(name, choose) {
    const choices = make("div", { className: "choices" });
    for (const [choice, words] of Object.entries(CHOICES)) {
      const button = make("button", { type: "button" }, words);
      if (choice.length === 1) button.append(make("small", {}, "–"));
      button.addEventListener("click", () => {
        this.show({ choice });
        choose(choice);
      });
      this.#buttons[choice] = button;
      choices.append(button);
    }
    this.#video.srcObject = this.#stream;
    this.element = make("section", { className: "card tile" }, make("h2", {}, name, this.#size), this.#video, choices);
    this.show({ choice: "auto" });
  }

  add(track) {
    this.#stream.addTrack(track);
  }

  /** What the program says about it. */
  show({ choice, current, bitrates = {} }) {
    for (const [name, button] of Object.entries(this.#buttons)) {
      button.setAttribute("aria-pressed", String(name === choice));
      button.dataset.current = String(name === current);
      const rate = button.querySelector("small");
      if (rate) rate.textContent = name in bitrates ? `${Math.round(bitrates[name] / 1000)} k` : "–";
    }
  }

  /** What arrives here. */
  showReceived({ width, height, bits }) {
    this.#size.textContent = width ? `${width}×${height}, ${bitrate(bits)}` : "";
  }
}

class Session {
  #pc = new RTCPeerConnection();
  #signal;
  #tiles = new Map(); // by owner
  #owners = new Map(); // by mid
  #tracks = new Map(); // by mid, of owners that are not known yet
  #camera;
  #timers = [];

  async start(name) {
    const pc = this.#pc;
    followState(pc);
    pc.addEventListener("track", ({ track, transceiver }) => {
      this.#tracks.set(transceiver.mid, track);
    });
    this.#signal = new Signal("signal", {
      description: (message) => this.#described(message),
      status: ({ tracks }) => tracks.forEach((it) => this.#tileOf(it.mid)?.show(it)),
    }, () => this.#ended());
    await this.#signal.opened();
    this.#signal.send({ type: "join", name, sends: true });

    this.#camera = await navigator.mediaDevices.getUserMedia({
      audio: true,
      video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
    });
    const [video] = this.#camera.getVideoTracks();
    const [audio] = this.#camera.getAudioTracks();
    own.hidden = false;
    own.querySelector("video").srcObject = this.#camera;
    pc.addTransceiver(video, { direction: "sendonly", sendEncodings: LAYERS });
    if (audio) pc.addTransceiver(audio, { direction: "sendonly" });
    await pc.setLocalDescription();
    await gathered(pc);
    this.#signal.send({ type: "description", description: pc.localDescription });
    this.#timers.push(
      watchInbound(pc, (streams) => streams.filter((it) => it.kind === "video")
        .forEach((it) => this.#tileOf(it.mid)?.showReceived(it))),
      setInterval(() => this.#showSent(), 1000),
    );
  }

  /** The answer to the first offer, or an offer for what others send. */
  async #described({ description, tracks }) {
    const pc = this.#pc;
    await pc.setRemoteDescription(description);
    if (description.type === "offer") {
      await pc.setLocalDescription();
      this.#signal.send({ type: "description", description: pc.localDescription });
    }
    this.#owners = new Map(tracks.map((it) => [it.mid, it]));
    const present = new Set(tracks.map((it) => it.owner));
    for (const [owner, tile] of this.#tiles) {
      if (present.has(owner)) continue;
      tile.element.remove();
      this.#tiles.delete(owner);
    }
    for (const { mid, owner, name } of tracks) {
      if (!this.#tiles.has(owner)) {
        const tile = new Tile(name, (choice) => this.#choose(owner, choice));
        this.#tiles.set(owner, tile);
        byId("stage").append(tile.element);
      }
      const track = this.#tracks.get(mid);
      if (track) this.#tiles.get(owner).add(track);
      this.#tracks.delete(mid);
    }
  }

  #tileOf(mid) {
    return this.#tiles.get(this.#owners.get(mid)?.owner);
  }

  #choose(owner, choice) {
    for (const it of this.#owners.values()) {
      if (it.owner === owner) this.#signal.send({ type: "layer", mid: it.mid, choice });
    }
  }

  async #showSent() {
    for (const stats of (await this.#pc.getStats()).values()) {
      if (stats.type !== "outbound-rtp" || !stats.rid) continue;
      const words = stats.frameWidth ? `${stats.frameWidth}×${stats.frameHeight}` : "not sent";
      own.querySelector(`[data-layer=${stats.rid}]`).textContent = `${stats.rid} ${words}`;
    }
  }

  #ended() {
    this.#timers.forEach(clearInterval);
    this.#camera?.getTracks().forEach((track) => track.stop());
    this.#pc.close();
    this.#tiles.forEach((tile) => tile.element.remove());
    own.hidden = true;
    showStatus("ended", "left the room");
    inRoom(false);
  }

  leave() {
    this.#signal.close();
    this.#ended();
  }
}

function inRoom(is) {
  byId("join").hidden = is;
  byId("leave").hidden = !is;
}

async function join(name) {
  showError("");
  showStatus("new", "joining");
  inRoom(true);
  session = new Session();
  try {
    await session.start(name);
  } catch (error) {
    session.leave();
    showStatus("failed", "failed");
    showError(error.message);
  }
}

byId("join").addEventListener("submit", (event) => {
  event.preventDefault();
  join(byId("name").value || "guest");
});
byId("leave").addEventListener("click", () => session.leave());
addEventListener("pagehide", () => session?.leave());
// A link can bring a name along, and then joins at once.
const name = new URLSearchParams(location.search).get("name");
if (name) join(name);
