// The page's half of the throughput test: the channel `throughput`, and what is shown of it.

import { Plot } from "./plot.js";

const MIB = 1024 * 1024;
const MESSAGE_SIZE = 16 * 1024;
/** Bytes in the browser's send buffer at which the upload pauses, and goes on. */
const HIGH = MIB;
const LOW = 256 * 1024;
/** How often rates are taken, in milliseconds. */
const INTERVAL = 100;

/** One direction of a running or finished test. */
class Flow {
  constructor(row, wanted, offset) {
    this.row = row;
    this.wanted = wanted;
    /** When it began, in seconds after the beginning of the test. */
    this.offset = offset;
    this.bytes = 0;
    this.seconds = 0;
    this.done = false;
    /** Points of the plot: seconds since the beginning of the test, MB/s. */
    this.points = [];
    this.peak = 0;
    this.#last = { bytes: 0, seconds: 0 };
    this.show();
  }

  #last;

  /** Takes note of how far it has come: this many bytes in this many seconds. */
  reached(bytes, seconds, done = false) {
    this.bytes = bytes;
    this.seconds = seconds;
    this.done = done;
    const since = seconds - this.#last.seconds;
    // At the end there may be only a moment left; a rate over it would mean nothing.
    if (since >= (INTERVAL / 1000) * 0.45 || (done && this.points.length === 0)) {
      const rate = (bytes - this.#last.bytes) / since / 1e6;
      if (this.points.length === 0) this.points.push([this.offset, rate]);
      this.points.push([this.offset + seconds, rate]);
      this.peak = Math.max(this.peak, rate);
      this.#last = { bytes, seconds };
    }
    this.show();
  }

  show() {
    const cell = (name, words) => {
      this.row.querySelector(`[data-cell="${name}"]`).textContent = words;
    };
    this.row.querySelector("progress").value = this.wanted ? this.bytes / this.wanted : 0;
    cell("amount", `${(this.bytes / MIB).toFixed(this.done ? 1 : 0)} MiB`);
    cell("time", `${this.seconds.toFixed(2)} s`);
    cell("mean", this.seconds > 0 ? `${(this.bytes / 1e6 / this.seconds).toFixed(1)} MB/s` : "–");
    cell("peak", this.peak > 0 ? `${this.peak.toFixed(1)} MB/s` : "–");
  }
}

export class Throughput {
  #root;
  #buttons;
  #plot;
  #showError;
  #channel = null;
  #download = null;
  #upload = null;
  /** Number of the next message of the download. */
  #number = 0;
  /** Bytes of the download that have arrived. */
  #arrived = 0;
  #begun = 0;
  #stopping = false;
  /** Whether the upload still has messages to send. */
  #sending = false;
  #timer = null;

  constructor(root, showError) {
    this.#root = root;
    this.#showError = showError;
    this.#plot = new Plot(root.querySelector("canvas"));
    this.#buttons = [...root.querySelectorAll("[data-run]")];
    for (const button of this.#buttons) {
      button.addEventListener("click", () => {
        const what = button.dataset.run;
        if (what === "stop") this.#stop();
        else this.#run(what !== "upload", what !== "download");
      });
    }
    this.#enable();
  }

  /** Takes an open channel into use, until `signal` is aborted. */
  attach(channel, signal) {
    this.#channel = channel;
    channel.bufferedAmountLowThreshold = LOW;
    channel.addEventListener("message", ({ data }) => this.#heard(data), { signal });
    this.#enable();
  }

  /** The channel is gone. */
  detach() {
    this.#channel = null;
    this.#finish();
  }

  #run(download, upload) {
    const bytes = Number(this.#root.querySelector("select").value) * MIB;
    this.#showError("");
    this.#stopping = false;
    this.#begun = performance.now();
    this.#download = download ? new Flow(this.#row("download"), bytes, 0) : null;
    this.#upload = upload ? new Flow(this.#row("upload"), bytes, 0) : null;
    for (const [running, name] of [[download, "download"], [upload, "upload"]]) {
      if (!running) this.#clear(this.#row(name));
    }
    this.#number = 0;
    this.#arrived = 0;
    this.#timer = setInterval(() => this.#tick(), INTERVAL);
    this.#enable();
    if (download) this.#request({ type: "download", bytes });
    if (upload) {
      this.#request({ type: "upload", bytes });
      this.#send(this.#channel, bytes).catch((error) => this.#fail(error.message));
    }
  }

  /** The upload: as fast as the channel takes it. */
  async #send(channel, bytes) {
    const message = new Uint8Array(MESSAGE_SIZE).fill(0x5a);
    const number = new DataView(message.buffer);
    this.#sending = true;
    try {
      for (let sent = 0, count = 0; sent < bytes && !this.#stopping; sent += MESSAGE_SIZE, count += 1) {
        number.setUint32(0, count);
        channel.send(message.subarray(0, Math.min(MESSAGE_SIZE, bytes - sent)));
        if (channel.bufferedAmount > HIGH) await once(channel, "bufferedamountlow");
      }
    } finally {
      this.#sending = false;
    }
    if (this.#stopping) this.#request({ type: "stop" });
  }

  #stop() {
    if (this.#stopping) return;
    this.#stopping = true;
    // While an upload goes on, the request has to come after its last message.
    if (!this.#sending) this.#request({ type: "stop" });
    this.#enable();
  }

  #heard(data) {
    if (typeof data !== "string") {
      this.#took(data);
      return;
    }
    const report = JSON.parse(data);
    if (report.type === "received" && this.#upload) {
      this.#upload.reached(report.bytes, report.seconds, report.done);
    } else if (report.type === "sent" && this.#download) {
      if (this.#arrived !== report.bytes) {
        this.#fail(`The program sent ${report.bytes} bytes, ${this.#arrived} arrived.`);
        return;
      }
      this.#download.reached(this.#arrived, this.#seconds(), true);
    } else if (report.type === "error") {
      this.#fail(report.message);
      return;
    }
    this.#plotFlows();
    this.#finishIfDone();
  }

  /** A message of the download. */
  #took(data) {
    const number = new DataView(data).getUint32(0);
    if (number !== this.#number) {
      this.#fail(`Message ${number} came instead of ${this.#number}.`);
    }
    this.#number = number + 1;
    this.#arrived += data.byteLength;
  }

  #tick() {
    const download = this.#download;
    if (download && !download.done) download.reached(this.#arrived, this.#seconds());
    this.#plotFlows();
  }

  #fail(message) {
    this.#showError(`Throughput test: ${message}`);
    this.#stop();
    this.#finish();
  }

  #finishIfDone() {
    const flows = [this.#download, this.#upload].filter(Boolean);
    if (flows.length > 0 && flows.every(({ done }) => done)) this.#finish();
  }

  #finish() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#plotFlows();
    this.#enable();
  }

  #request(request) {
    try {
      this.#channel?.send(JSON.stringify(request));
    } catch (error) {
      this.#showError(`Throughput test: ${error.message}`);
    }
  }

  #plotFlows() {
    this.#plot.draw([
      { color: "--download", points: this.#download?.points ?? [] },
      { color: "--upload", points: this.#upload?.points ?? [] },
    ]);
  }

  #enable() {
    const running = this.#timer !== null;
    for (const button of this.#buttons) {
      const usable = button.dataset.run === "stop" ? running && !this.#stopping : !running;
      button.disabled = !this.#channel || !usable;
    }
  }

  #seconds() {
    return (performance.now() - this.#begun) / 1000;
  }

  #row(direction) {
    return this.#root.querySelector(`[data-direction="${direction}"]`);
  }

  #clear(row) {
    row.querySelector("progress").value = 0;
    for (const cell of row.querySelectorAll("[data-cell]")) cell.textContent = "–";
  }
}

function once(target, event) {
  return new Promise((resolve) => target.addEventListener(event, resolve, { once: true }));
}
