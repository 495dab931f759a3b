// One peer connection, its signalling over the runner's lines, and the end-of-case handshake.

import { Queue, check, maxMessageSize, parseCandidate, sdpLines } from "./util.js";

export class Agent {
  #out;
  #fail;
  #resolvePeerDone;
  #answered = null;
  #channels = new Queue();
  #work = Promise.resolve();
  #transport = {};

  /** `out(line)` sends a line to the peer; `config` is what the command line said. */
  constructor(config, out) {
    this.config = config;
    this.#out = out;
    this.role = config.role;
    this.trickle = config.case !== "no-trickle";
    this.toleratesFailure = false;
    this.closed = false;
    this.step = "starting";
    this.details = {};
    this.remoteOffers = [];
    /** What plays the peer's tracks. */
    this.elements = [];
    this.trickledIn = 0;
    this.trickledOut = 0;
    /** Rewrites the SDP that goes out. */
    this.rewrite = (sdp) => sdp;
    /** Which of the own candidates may be told to the peer. */
    this.keepCandidate = (candidate) => this.#boundTo(candidate);
    /** How an offer is answered; cases with their own rules replace it. */
    this.onOffer = (description) => this.answer(description);
    this.failure = new Promise((_, reject) => (this.#fail = reject));
    this.failure.catch(() => {});
    this.peerDone = new Promise((resolve) => (this.#resolvePeerDone = resolve));
    this.peerDone.then(() => (this.peerIsDone = true));
  }

  /** Makes the peer connection. Called once, by the case. */
  connect(extra = {}) {
    const { iceServers, policy } = this.config;
    const pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: policy, ...extra });
    this.pc = pc;
    pc.onicecandidate = ({ candidate }) => this.#localCandidate(candidate);
    pc.ontrack = ({ track }) => this.#play(track);
    pc.ondatachannel = ({ channel }) => this.#channels.push(new Channel(channel, this));
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === "failed" && !this.toleratesFailure) {
        this.fail(new Error("the connection failed"));
      }
      if (pc.connectionState === "connected") this.readTransport().catch(() => {});
    };
    return pc;
  }

  // What nobody listens to is not decoded.
  #play(track) {
    const element = document.createElement(track.kind);
    element.srcObject = new MediaStream([track]);
    element.play().catch((error) => console.warn(`${track.kind} does not play: ${error}`));
    this.elements.push(element);
  }

  fail(error) {
    this.#fail(error);
  }

  log(message) {
    this.#out({ type: "log", message });
  }

  /** Takes one line of the peer. Lines are worked off in the order they came. */
  receive(line) {
    this.#work = this.#work
      .then(() => this.#handle(line))
      .catch((error) => this.fail(error));
  }

  /** Keeps the peer's lines waiting until the function it returns is called. */
  holdInput() {
    let release;
    const held = new Promise((resolve) => (release = resolve));
    this.#work = this.#work.then(() => held);
    return release;
  }

  async #handle(line) {
    if (line.type === "done") {
      this.#resolvePeerDone();
    } else if (line.type === "candidate") {
      await this.#remoteCandidate(line.candidate);
    } else if (line.type === "description") {
      const { description } = line;
      if (this.closed) return;
      if (description.type === "offer") {
        this.remoteOffers.push(description.sdp);
        await this.onOffer(description);
      } else {
        await this.pc.setRemoteDescription(description);
        if (description.type === "answer") this.#answered?.(description);
      }
    }
  }

  async #remoteCandidate(candidate) {
    if (candidate?.candidate) {
      this.trickledIn += 1;
      check(this.trickle, "the peer trickled a candidate although it must not");
    }
    if (this.closed || this.pc.remoteDescription === null) return;
    try {
      await this.pc.addIceCandidate(candidate);
    } catch (error) {
      // Late, of a replaced generation or of an ignored offer: such candidates are dropped.
      console.warn(`candidate dropped: ${error}`);
    }
  }

  #localCandidate(candidate) {
    if (!this.trickle || this.closed) return;
    if (candidate === null) {
      this.#out({ type: "candidate", candidate: null });
    } else if (candidate.candidate !== "" && this.keepCandidate(candidate.candidate)) {
      this.trickledOut += 1;
      this.#out({ type: "candidate", candidate: candidate.toJSON() });
    }
  }

  // The browser gathers on every interface; only candidates of the addresses asked for are told.
  #boundTo(text) {
    const { address, type } = parseCandidate(text);
    if (type !== "host" || this.config.case === "mdns") return true;
    const hosts = this.config.bind;
    return hosts.includes("0.0.0.0") || hosts.includes("::") || hosts.includes(address);
  }

  /** Sends the local description, once gathered if candidates are not trickled. */
  async sendDescription() {
    const { pc } = this;
    if (!this.trickle) {
      this.step = "waiting for the own candidates";
      while (pc.iceGatheringState !== "complete") {
        await new Promise((resolve) =>
          pc.addEventListener("icegatheringstatechange", resolve, { once: true }),
        );
      }
    }
    const { type, sdp } = pc.localDescription;
    const kept = sdpLines(sdp).filter(
      (line) => !line.startsWith("a=candidate:") || this.keepCandidate(line),
    );
    const description = { type, sdp: this.rewrite(kept.join("\r\n") + "\r\n") };
    this.#out({ type: "description", description });
  }

  /** Makes an offer and waits until its answer is applied. */
  async offer(options) {
    const answered = new Promise((resolve) => (this.#answered = resolve));
    await this.pc.setLocalDescription(await this.pc.createOffer(options));
    await this.sendDescription();
    this.step = "waiting for the answer";
    return answered;
  }

  /** Answers an offer. */
  async answer(description) {
    await this.pc.setRemoteDescription(description);
    await this.pc.setLocalDescription();
    await this.sendDescription();
  }

  /** Opens a data channel. */
  channel(label, init = {}) {
    return new Channel(this.pc.createDataChannel(label, init), this);
  }

  /** The next channel that the peer opened. */
  async incoming() {
    this.step = "waiting for the peer's channel";
    return this.#channels.next();
  }

  sendDone() {
    this.#out({ type: "done" });
  }

  async waitPeerDone() {
    this.step = "waiting for the peer's done";
    await this.peerDone;
  }

  /** The biggest message that both sides take. */
  messageLimit() {
    const { localDescription, remoteDescription } = this.pc;
    return Math.min(maxMessageSize(localDescription.sdp), maxMessageSize(remoteDescription.sdp));
  }

  /** Reads DTLS version, cipher and SRTP profile of the (first) transport. */
  async readTransport() {
    if (this.closed || !this.pc) return this.#transport;
    const report = await this.pc.getStats();
    for (const stats of report.values()) {
      if (stats.type !== "transport") continue;
      const versions = { FEFD: "1.2", FEFC: "1.3" };
      if (stats.tlsVersion) this.#transport.dtls = versions[stats.tlsVersion] ?? stats.tlsVersion;
      if (stats.dtlsCipher) this.#transport.dtls_cipher = stats.dtlsCipher;
      if (stats.srtpCipher) this.#transport.srtp = stats.srtpCipher.replace(/^SRTP_/, "");
      const pair = report.get(stats.selectedCandidatePairId);
      if (pair) {
        const end = ({ address, port, candidateType, protocol }) =>
          `${candidateType}/${protocol}/${address ?? "?"}:${port}`;
        const local = report.get(pair.localCandidateId);
        const remote = report.get(pair.remoteCandidateId);
        if (local && remote) this.#transport.pair = `${end(local)} ${end(remote)}`;
      }
      break;
    }
    return this.#transport;
  }

  close() {
    this.closed = true;
    this.pc?.close();
  }
}

/** A data channel with its messages in a queue. */
export class Channel {
  constructor(inner, agent) {
    this.inner = inner;
    this.agent = agent;
    this.messages = new Queue();
    this.received = 0;
    this.onMessage = (data) => this.messages.push(data);
    inner.binaryType = "arraybuffer";
    this.opened = new Promise((resolve) => {
      if (inner.readyState === "open") resolve();
      else inner.addEventListener("open", resolve, { once: true });
    });
    this.closed = new Promise((resolve) =>
      inner.addEventListener("close", resolve, { once: true }),
    );
    inner.onmessage = ({ data }) => {
      this.received += 1;
      try {
        this.onMessage(data);
      } catch (error) {
        agent.fail(error);
      }
    };
    inner.onerror = ({ error }) => console.warn(`channel ${inner.label}: ${error?.message}`);
  }

  get label() {
    return this.inner.label;
  }

  send(data) {
    this.inner.send(data);
  }

  /** Sends back every message, also those that came before. */
  async echo() {
    this.onMessage = (data) => this.send(data);
    while (this.messages.length > 0) this.send(await this.messages.next());
  }

  /** Sends one message and wants the same back. */
  async exchange(data) {
    this.agent.step = `waiting for the echo of ${describe(data)} on ${this.label}`;
    this.send(data);
    const back = await this.messages.next();
    check(same(data, back), `${this.label}: sent ${describe(data)}, got ${describe(back)} back`);
  }
}

export function describe(data) {
  return typeof data === "string"
    ? `a text of ${new TextEncoder().encode(data).length} bytes`
    : `a binary message of ${data.byteLength} bytes`;
}

function same(sent, got) {
  if (typeof sent === "string" || typeof got === "string") return sent === got;
  const [a, b] = [new Uint8Array(sent), new Uint8Array(got)];
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
