// The page's end of the connection: signalling, chat, and what is known of the connection.

import { Throughput } from "./throughput.js";

/** How long the offer waits for the last candidates, in milliseconds. */
const GATHERING_LIMIT = 1000;
/** How long a path to the program may take to be found, in milliseconds. */
const CONNECT_LIMIT = 20_000;
/** How often the statistics are read, in milliseconds. */
const STATS_INTERVAL = 1000;

const byId = (id) => document.getElementById(id);
const log = byId("log");
const form = byId("say");
const text = byId("text");
const throughput = new Throughput(byId("throughput"), showError);

/** One connection, from its offer to its end. */
class Session {
  #pc = new RTCPeerConnection();
  #chat = this.#pc.createDataChannel("chat");
  #bulk = this.#pc.createDataChannel("throughput");
  /** Takes all listeners and timers away when the session ends. */
  #over = new AbortController();
  #timers = [];
  #connected = false;

  async start() {
    this.#bulk.binaryType = "arraybuffer";
    const pc = this.#pc;
    for (const event of [
      "connectionstatechange",
      "iceconnectionstatechange",
      "icegatheringstatechange",
      "signalingstatechange",
    ]) {
      this.#on(pc, event, () => this.#showStates());
    }
    this.#on(pc, "connectionstatechange", () => this.#stateChanged());
    this.#on(this.#chat, "open", () => enableChat(true));
    this.#on(this.#chat, "message", ({ data }) => this.#heard(data));
    this.#on(this.#bulk, "open", () => throughput.attach(this.#bulk, this.#over.signal));
    for (const channel of [this.#chat, this.#bulk]) {
      this.#on(channel, "error", ({ error }) => {
        // What the other side does by ending is told by the close event.
        if (error?.errorDetail !== "sctp-failure" && error?.errorDetail !== "data-channel-failure") {
          showError(`Channel “${channel.label}”: ${error?.message ?? "unknown error"}`);
        }
      });
      this.#on(channel, "close", () => this.#ended());
    }
    this.#showStates();
    showStatus("new", "connecting");

    await pc.setLocalDescription();
    await this.#gathered();
    const answer = await post("/offer", pc.localDescription);
    if (this.#over.signal.aborted) return;
    await pc.setRemoteDescription(answer);
    this.#timers.push(
      setTimeout(() => {
        if (!this.#connected) this.fail("No path to the program was found in time.");
      }, CONNECT_LIMIT),
      setInterval(() => this.#readStats(), STATS_INTERVAL),
    );
  }

  /** Sends a line of chat. */
  say(line) {
    this.#chat.send(line);
    addLine(null, line, "mine");
  }

  /** Ends the session; the other side is told. */
  close() {
    this.#over.abort();
    this.#timers.forEach(clearTimeout);
    this.#pc.close();
    throughput.detach();
    enableChat(false);
    this.#showStates();
  }

  fail(message) {
    if (this.#over.signal.aborted) return;
    this.close();
    showStatus("failed", "failed");
    showError(message);
  }

  #on(target, event, listener) {
    target.addEventListener(event, listener, { signal: this.#over.signal });
  }

  /** Every candidate is found; or those that are must do. */
  #gathered() {
    const pc = this.#pc;
    return new Promise((resolve) => {
      const look = () => pc.iceGatheringState === "complete" && resolve();
      this.#on(pc, "icegatheringstatechange", look);
      this.#timers.push(setTimeout(resolve, GATHERING_LIMIT));
      look();
    });
  }

  #stateChanged() {
    const state = this.#pc.connectionState;
    if (state === "connected") {
      this.#connected = true;
      showStatus("connected", "connected");
      showError("");
      this.#readStats();
    } else if (state === "disconnected") {
      showStatus("new", "no answer for a while");
    } else if (state === "connecting") {
      showStatus("new", "connecting");
    } else if (state === "failed") {
      this.fail(
        this.#connected
          ? "The connection was lost: the program does not answer any more."
          : "No connection: no path to the program was found, or the handshake failed.",
      );
    } else if (state === "closed") {
      this.#ended();
    }
  }

  /** The program has closed the connection. */
  #ended() {
    if (this.#over.signal.aborted) return;
    this.close();
    showStatus("ended", "ended");
    showError("The program has ended the connection.");
  }

  #heard(data) {
    const { from, text } = JSON.parse(data);
    if (from === "room") addLine(null, text, "notice");
    else addLine(from, text, "theirs");
  }

  #showStates() {
    const pc = this.#pc;
    show("connection", pc.connectionState);
    show("ice", pc.iceConnectionState);
    show("gathering", pc.iceGatheringState);
    show("signaling", pc.signalingState);
    show("dtls", pc.sctp?.transport?.state ?? "–");
  }

  async #readStats() {
    const stats = await this.#pc.getStats().catch(() => null);
    if (!stats || this.#over.signal.aborted) return;
    this.#showStates();
    const all = [...stats.values()];
    const transport = all.find(({ type }) => type === "transport");
    // Firefox marks the pair itself.
    const pair =
      stats.get(transport?.selectedCandidatePairId) ??
      all.find(({ type, selected }) => type === "candidate-pair" && selected) ??
      all.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
    if (!pair) return;
    show("local", describe(stats.get(pair.localCandidateId)));
    show("remote", describe(stats.get(pair.remoteCandidateId)));
    show("rtt", milliseconds(pair.currentRoundTripTime));
    show("bytes", `${size(pair.bytesSent)}, ${size(pair.bytesReceived)}`);
  }
}

/** Posts JSON and gives the answer; an error is a sentence for the person at the page. */
async function post(url, body) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error("The program does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok || !answer) {
    throw new Error(answer?.error ?? `The program answered with status ${response.status}.`);
  }
  return answer;
}

/** A candidate in words: address, port, and how it was learnt. */
function describe(candidate) {
  if (!candidate) return "–";
  // Chromium hides an address that it has not told the peer.
  const address = candidate.address || candidate.ip || "hidden address";
  const host = address.includes(":") ? `[${address}]` : address;
  const kind = { host: "host", srflx: "server-reflexive", prflx: "peer-reflexive", relay: "relayed" };
  return `${host}:${candidate.port} ${candidate.protocol} (${kind[candidate.candidateType] ?? candidate.candidateType})`;
}

/** Browsers measure round trips in whole milliseconds. */
function milliseconds(seconds) {
  if (seconds === undefined) return "–";
  return seconds < 0.001 ? "below 1 ms" : `${Math.round(seconds * 1000)} ms`;
}

function size(bytes = 0) {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function show(name, value) {
  document.querySelector(`[data-state-of="${name}"]`).textContent = value;
}

function showStatus(state, words) {
  const status = byId("status");
  status.dataset.state = state;
  status.textContent = words;
  byId("reconnect").classList.toggle("call", state === "ended" || state === "failed");
}

function showError(message) {
  const error = byId("error");
  error.textContent = message;
  error.hidden = !message;
}

function addLine(from, words, kind) {
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  const line = document.createElement("li");
  line.className = kind;
  if (from) {
    const author = document.createElement("b");
    author.textContent = from;
    line.append(author);
  }
  line.append(words);
  log.append(line);
  while (log.children.length > 500) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function enableChat(enabled) {
  for (const element of form.elements) element.disabled = !enabled;
  if (enabled) text.focus({ preventScroll: true });
}

let session = null;

async function connect() {
  session?.close();
  showError("");
  for (const value of document.querySelectorAll("[data-state-of]")) value.textContent = "–";
  const started = (session = typeof RTCPeerConnection === "undefined" ? null : new Session());
  if (!started) {
    showStatus("failed", "failed");
    showError("This browser has no WebRTC, or it is switched off.");
    return;
  }
  try {
    await started.start();
  } catch (error) {
    started.fail(error.message);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const line = text.value.trim();
  if (!line) return;
  try {
    session.say(line);
    text.value = "";
  } catch (error) {
    showError(`The message was not sent: ${error.message}`);
  }
});
byId("reconnect").addEventListener("click", connect);
// So that the program learns of it at once, and not by silence.
addEventListener("pagehide", () => session?.close());
// A page that comes back out of the browser's cache has no connection any more.
addEventListener("pageshow", ({ persisted }) => persisted && connect());

connect();
