// Small things every case uses: a queue that can be awaited, assertions, SDP text.

/** A queue whose `next()` waits for the oldest item. */
export class Queue {
  #items = [];
  #waiting = [];

  push(item) {
    const resolve = this.#waiting.shift();
    if (resolve) resolve(item);
    else this.#items.push(item);
  }

  next() {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  get length() {
    return this.#items.length;
  }
}

/** Says that the browser lacks what the case needs, which is not a failure. */
export class Unsupported extends Error {}

export function check(condition, message) {
  if (!condition) throw new Error(message);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Polls `probe` until it returns something true. The deadline is that of the whole case. */
export async function until(probe, everyMs = 50) {
  for (;;) {
    const value = await probe();
    if (value) return value;
    await sleep(everyMs);
  }
}

export const sdpLines = (sdp) => sdp.split(/\r?\n/).filter((line) => line !== "");

/** The values of all `a=name:` lines of an SDP. */
export function attributes(sdp, name) {
  const prefix = `a=${name}:`;
  return sdpLines(sdp)
    .filter((line) => line.startsWith(prefix))
    .map((line) => line.slice(prefix.length));
}

/** The biggest message this SDP's author takes (RFC 8841 section 6: absent is 64 KiB, 0 is no limit). */
export function maxMessageSize(sdp) {
  const [value] = attributes(sdp, "max-message-size");
  if (value === undefined) return 65536;
  return Number(value) === 0 ? Infinity : Number(value);
}

/** The same SDP with every fingerprint's first byte changed. */
export function spoilFingerprints(sdp) {
  return sdp.replace(/^(a=fingerprint:\S+ )([0-9A-Fa-f]{2})/gm, (_, head, byte) => {
    const wrong = (parseInt(byte, 16) ^ 0xff).toString(16).padStart(2, "0").toUpperCase();
    return head + wrong;
  });
}

/** Reads what is needed of a candidate line (RFC 8839 section 5.1). */
export function parseCandidate(text) {
  const words = text.replace(/^(a=)?candidate:/, "").split(" ");
  const after = (key) => {
    const at = words.indexOf(key);
    return at < 0 ? undefined : words[at + 1];
  };
  return {
    protocol: (words[2] ?? "").toLowerCase(),
    address: words[4] ?? "",
    type: after("typ"),
    tcptype: after("tcptype"),
  };
}

export async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
