// The cases that need nothing but data channels.

import {
  Unsupported,
  attributes,
  check,
  sdpLines,
  sha256,
  spoilFingerprints,
  until,
} from "./util.js";

const SIZES = [0, 1, 1000, 1200, 1201, 16384, 65535, 65536, 262144];

/** The messages of `data-echo`, as far as both sides take them. */
function echoMessages(limit) {
  return SIZES.filter((size) => size <= limit).flatMap((size) => [text(size), binary(size)]);
}

/** A text whose UTF-8 form has `size` bytes, of characters of one to four bytes. */
function text(size) {
  const unit = "aé€😀";
  return unit.repeat(Math.floor(size / 10)) + "x".repeat(size % 10);
}

function binary(size) {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, Math.min(size, at + 65536)));
  }
  return bytes;
}

async function openEcho(agent) {
  const channel = agent.channel("echo", { protocol: "p1" });
  await agent.offer();
  agent.step = "waiting for the channel to open";
  await channel.opened;
  return channel;
}

async function acceptEcho(agent) {
  const channel = await agent.incoming();
  const { label, protocol, ordered, maxRetransmits, maxPacketLifeTime } = channel.inner;
  check(label === "echo", `the channel's label is ${label}`);
  check(protocol === "p1", `the channel's protocol is ${protocol}`);
  check(ordered, "the channel is not ordered");
  check(maxRetransmits === null && maxPacketLifeTime === null, "the channel is not reliable");
  await channel.echo();
  return channel;
}

/** `data-echo`, in which `before(agent)` prepares and `after(agent)` judges. */
function echoCase({ before = () => {}, after = () => {}, config = {} } = {}) {
  return {
    async offer(agent) {
      agent.connect(config);
      await before(agent);
      const channel = await openEcho(agent);
      const limit = agent.messageLimit();
      const messages = echoMessages(limit);
      for (const message of messages) await channel.exchange(message);
      Object.assign(agent.details, { messages: messages.length, max_message_size: limit });
      await after(agent);
    },
    async answer(agent) {
      agent.connect(config);
      await before(agent);
      const channel = await acceptEcho(agent);
      await agent.waitPeerDone();
      check(channel.received > 0, "no message came");
      agent.details.messages = channel.received;
      await after(agent);
    },
  };
}

const MODES = {
  m0: {},
  m1: { ordered: false },
  m2: { maxRetransmits: 0 },
  m3: { ordered: false, maxRetransmits: 3 },
  m4: { maxPacketLifeTime: 500 },
  m5: { ordered: false, maxPacketLifeTime: 100 },
  m6: { negotiated: true, id: 100 },
  m7: { negotiated: true, id: 101, ordered: false },
};
const MODE_MESSAGES = 20;

async function echoModes(agent, channels) {
  for (const channel of channels) {
    for (let at = 0; at < MODE_MESSAGES; at++) channel.send(`${channel.label} ${at}`);
  }
  for (const channel of channels) {
    const want = Array.from({ length: MODE_MESSAGES }, (_, at) => `${channel.label} ${at}`);
    const got = [];
    while (got.length < MODE_MESSAGES) {
      agent.step = `waiting for echo ${got.length} on ${channel.label}`;
      got.push(await channel.messages.next());
    }
    if (!channel.inner.ordered) {
      got.sort();
      want.sort();
    }
    check(got.join() === want.join(), `${channel.label}: the echoes were ${got.join()}`);
  }
}

const dataModes = {
  async offer(agent) {
    agent.connect();
    const channels = Object.entries(MODES).map(([label, init]) => agent.channel(label, init));
    await agent.offer();
    agent.step = "waiting for eight channels to open";
    await Promise.all(channels.map((channel) => channel.opened));
    // Those that give a message up after a while get the network for themselves.
    const hasty = ({ inner }) => inner.maxPacketLifeTime !== null;
    await echoModes(agent, channels.filter((channel) => !hasty(channel)));
    for (const channel of channels.filter(hasty)) await echoModes(agent, [channel]);
    agent.details.messages = channels.length * MODE_MESSAGES;
  },
  async answer(agent) {
    agent.connect();
    const negotiated = ["m6", "m7"].map((label) => agent.channel(label, MODES[label]));
    const channels = [...negotiated];
    for (const channel of negotiated) await channel.echo();
    while (channels.length < Object.keys(MODES).length) {
      const channel = await agent.incoming();
      const { label, ordered, maxRetransmits, maxPacketLifeTime } = channel.inner;
      const want = MODES[label];
      check(want && !want.negotiated, `a channel ${label} was announced`);
      check(ordered === (want.ordered ?? true), `${label}: ordered is ${ordered}`);
      check(
        maxRetransmits === (want.maxRetransmits ?? null),
        `${label}: maxRetransmits is ${maxRetransmits}`,
      );
      check(
        maxPacketLifeTime === (want.maxPacketLifeTime ?? null),
        `${label}: maxPacketLifeTime is ${maxPacketLifeTime}`,
      );
      await channel.echo();
      channels.push(channel);
    }
    await agent.waitPeerDone();
    for (const { label, received } of channels) {
      check(received === MODE_MESSAGES, `${label}: ${received} messages came`);
    }
    agent.details.messages = channels.length * MODE_MESSAGES;
  },
};

const BULK_BYTES = 32 * 1024 * 1024;
const BULK_MESSAGE = 16 * 1024;
const BULK_BUFFER = 1024 * 1024;

const dataBulk = {
  async offer(agent) {
    agent.connect();
    const channel = agent.channel("bulk");
    const { inner } = channel;
    inner.bufferedAmountLowThreshold = BULK_BUFFER / 2;
    const data = binary(BULK_BYTES);
    const digest = await sha256(data);
    await agent.offer();
    agent.step = "waiting for the channel to open";
    await channel.opened;
    const start = performance.now();
    for (let at = 0; at < data.length; at += BULK_MESSAGE) {
      if (inner.bufferedAmount + BULK_MESSAGE > BULK_BUFFER) {
        agent.step = `waiting for room after ${at} bytes`;
        const low = new Promise((resolve) =>
          inner.addEventListener("bufferedamountlow", resolve, { once: true }),
        );
        await Promise.race([
          low,
          channel.closed.then(() => {
            throw new Error("the channel closed");
          }),
        ]);
      }
      channel.send(data.subarray(at, at + BULK_MESSAGE));
    }
    channel.send(`sha256:${digest}`);
    agent.details.mbytes_per_s = rate(BULK_BYTES, start);
  },
  async answer(agent) {
    agent.connect();
    const channel = await agent.incoming();
    check(channel.label === "bulk", `the channel's label is ${channel.label}`);
    const parts = [];
    let length = 0;
    let start;
    for (;;) {
      agent.step = `waiting for data after ${length} bytes`;
      const message = await channel.messages.next();
      start ??= performance.now();
      if (typeof message === "string") {
        agent.details.mbytes_per_s = rate(length, start);
        const all = new Uint8Array(await new Blob(parts).arrayBuffer());
        check(length === BULK_BYTES, `${length} bytes came`);
        check(message === `sha256:${await sha256(all)}`, "the digest differs");
        return;
      }
      check(message.byteLength === BULK_MESSAGE, `a message of ${message.byteLength} bytes came`);
      parts.push(message);
      length += message.byteLength;
    }
  },
};

const rate = (bytes, start) =>
  Math.round((bytes / 1e6 / ((performance.now() - start) / 1000)) * 10) / 10;

const dataClose = {
  async offer(agent) {
    agent.connect();
    const [a, b] = [agent.channel("a"), agent.channel("b")];
    await agent.offer();
    agent.step = "waiting for the channels to open";
    await Promise.all([a.opened, b.opened]);
    await a.exchange("first on a");
    a.inner.close();
    agent.step = "waiting for a to close";
    await a.closed;
    await b.exchange("first on b");
    agent.step = "waiting for the peer to close b";
    await b.closed;
    const c = agent.channel("c");
    agent.step = "waiting for c to open";
    await c.opened;
    await c.exchange("first on c");
    agent.details.id_c = c.inner.id;
  },
  async answer(agent) {
    agent.connect();
    const seen = {};
    const accept = async () => {
      const channel = await agent.incoming();
      seen[channel.label] = channel;
      channel.closed.then(() => (channel.isClosed = true));
      if (channel.label !== "b") return channel.echo();
      channel.messages.next().then((message) => {
        channel.send(message);
        channel.inner.close();
      });
    };
    for (let at = 0; at < 3; at++) await accept();
    check(Object.keys(seen).sort().join() === "a,b,c", `channels ${Object.keys(seen)} came`);
    agent.step = "waiting for a and b to close";
    await Promise.all([seen.a.closed, seen.b.closed]);
    await agent.waitPeerDone();
    check(seen.a.received === 1, `a: ${seen.a.received} messages came`);
    check(seen.b.received === 1, `b: ${seen.b.received} messages came`);
    check(seen.c.received === 1, `c: ${seen.c.received} messages came`);
  },
};

const selectedPair = (agent) => agent.pc.sctp.transport.iceTransport.getSelectedCandidatePair();

const iceRestart = {
  async offer(agent) {
    const pc = agent.connect();
    const channel = await openEcho(agent);
    const messages = echoMessages(agent.messageLimit());
    for (const message of messages.slice(0, 3)) await channel.exchange(message);
    const ufrag = (description) => attributes(description.sdp, "ice-ufrag")[0];
    const before = [ufrag(pc.localDescription), ufrag(pc.remoteDescription)];
    const dtls = pc.sctp.transport;
    const states = [];
    dtls.onstatechange = () => states.push(dtls.state);
    agent.step = "restarting ICE";
    await agent.offer({ iceRestart: true });
    const after = [ufrag(pc.localDescription), ufrag(pc.remoteDescription)];
    check(before[0] !== after[0], "the own ufrag stayed");
    check(before[1] !== after[1], "the peer's ufrag stayed");
    for (const message of messages.slice(3)) await channel.exchange(message);
    agent.step = "waiting for a pair of the new generation";
    await until(() => selectedPair(agent)?.local.usernameFragment === after[0]);
    await channel.exchange("after the restart");
    check(pc.sctp.transport === dtls && dtls.state === "connected", "the DTLS transport changed");
    check(states.length === 0, `DTLS went through ${states.join()}`);
    agent.details.messages = messages.length + 1;
  },
  async answer(agent) {
    agent.connect();
    const states = [];
    const channel = await acceptEcho(agent);
    const dtls = agent.pc.sctp.transport;
    dtls.onstatechange = () => states.push(dtls.state);
    await agent.waitPeerDone();
    check(agent.remoteOffers.length === 2, `${agent.remoteOffers.length} offers came`);
    const [first, second] = agent.remoteOffers.map((sdp) => attributes(sdp, "ice-ufrag")[0]);
    check(first !== second, "the offerer's ufrag stayed");
    check(channel.received > 3, "no message came after the restart");
    check(states.length === 0, `DTLS went through ${states.join()}`);
    agent.details.messages = channel.received;
  },
};

const badFingerprint = {
  async offer(agent) {
    const pc = agent.connect();
    agent.toleratesFailure = true;
    agent.rewrite = spoilFingerprints;
    const channel = agent.channel("echo", { protocol: "p1" });
    channel.opened.then(() => channel.send("must not arrive"));
    await agent.offer();
    agent.step = "waiting for the failure";
    const failed = until(() => pc.connectionState === "failed");
    await Promise.race([failed, agent.peerDone]);
    check(channel.received === 0, "a message came back");
    agent.details.state = pc.connectionState;
    agent.leavesFirst = true;
  },
  async answer(agent) {
    const pc = agent.connect();
    agent.toleratesFailure = true;
    let delivered = 0;
    agent.incoming().then(() => (delivered += 1));
    agent.step = "waiting for the failure";
    await until(() => pc.connectionState === "failed");
    check(delivered === 0, "a channel was opened");
    agent.details.state = pc.connectionState;
  },
};

const close = {
  async offer(agent) {
    agent.connect();
    const channel = await openEcho(agent);
    await channel.exchange("");
    await agent.readTransport();
    agent.close();
  },
  async answer(agent) {
    const pc = agent.connect();
    agent.toleratesFailure = true;
    const channel = await agent.incoming();
    check(channel.label === "echo", `the channel's label is ${channel.label}`);
    const dtls = pc.sctp.transport;
    const message = await channel.messages.next();
    check(message === "", "the first message is not the empty text");
    await agent.readTransport();
    const start = performance.now();
    channel.send(message);
    agent.step = "waiting for the channel to close";
    await channel.closed;
    agent.step = "waiting for the connection to end";
    await until(
      () =>
        ["closed", "failed", "disconnected"].includes(pc.connectionState) ||
        ["closed", "failed"].includes(dtls.state),
    );
    const seconds = (performance.now() - start) / 1000;
    check(seconds <= 5, `it took ${seconds.toFixed(1)} s`);
    Object.assign(agent.details, {
      seconds: Math.round(seconds * 1000) / 1000,
      state: pc.connectionState,
      dtls_state: dtls.state,
    });
  },
};

const isLite = (sdp) => {
  const session = sdpLines(sdp);
  const firstMedia = session.findIndex((line) => line.startsWith("m="));
  return session.slice(0, firstMedia).includes("a=ice-lite");
};

const iceLite = {
  offer: echoCase({
    after: (agent) => check(isLite(agent.pc.remoteDescription.sdp), "the peer is not lite"),
  }).offer,
  answer() {
    throw new Unsupported("a browser is never an ICE-lite agent");
  },
};

const noTrickle = echoCase({
  after(agent) {
    const sdp = agent.pc.remoteDescription.sdp;
    check(attributes(sdp, "candidate").length > 0, "the peer's description has no candidate");
    check(agent.trickledIn === 0, "the peer trickled");
  },
});

/** The browser cannot be held to one version, so what counts is what was negotiated. */
const dtlsVersion = (version) =>
  echoCase({
    async after(agent) {
      const { dtls } = await agent.readTransport();
      if (dtls !== version) {
        throw new Unsupported(
          `DTLS ${dtls} was negotiated; the browser cannot be held to ${version}`,
        );
      }
    },
  });

export const dataCases = {
  "data-echo": echoCase(),
  "data-modes": dataModes,
  "data-bulk": dataBulk,
  "data-close": dataClose,
  "ice-restart": iceRestart,
  "no-trickle": noTrickle,
  "ice-lite": iceLite,
  "bad-fingerprint": badFingerprint,
  close,
  dtls12: dtlsVersion("1.2"),
  dtls13: dtlsVersion("1.3"),
};

export { echoCase };
