// The cases that carry audio and video, and the statistics.

import { echoCase } from "./data.js";
import { Unsupported, attributes, check, parseCandidate, sdpLines, until } from "./util.js";

const PACKETS = 100;
const FRAMES = 20;
/** Seconds of sound that are to be heard, not made up for what is missing. */
const SOUND = 1;

/** The fake camera and microphone of the browser. */
async function capture(width = 640, height = 480) {
  const video = { width, height };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video });
  return {
    stream,
    audio: stream.getAudioTracks()[0],
    video: stream.getVideoTracks()[0],
  };
}

/** Only `name` and its retransmissions. */
function codecsOf(kind, name) {
  const wanted = [`${kind}/${name}`, `${kind}/rtx`].map((type) => type.toLowerCase());
  const { codecs } = RTCRtpReceiver.getCapabilities(kind);
  const kept = codecs.filter(({ mimeType }) => wanted.includes(mimeType.toLowerCase()));
  if (!kept.some(({ mimeType }) => mimeType.toLowerCase() === wanted[0])) {
    throw new Unsupported(`this browser has no ${name}`);
  }
  return kept;
}

/** What has arrived at a receiver. */
async function arrived(receiver) {
  const report = await receiver.getStats();
  const sum = { packets: 0, frames: 0, lost: 0, repeated: 0, sound: 0, energy: 0 };
  for (const stats of report.values()) {
    if (stats.type !== "inbound-rtp") continue;
    sum.packets += stats.packetsReceived ?? 0;
    sum.frames += stats.framesDecoded ?? 0;
    sum.lost += stats.packetsLost ?? 0;
    sum.width = stats.frameWidth;
    sum.height = stats.frameHeight;
    sum.keyFrames = stats.keyFramesDecoded;
    sum.repeated += stats.retransmittedPacketsReceived ?? 0;
    const samples = (stats.totalSamplesReceived ?? 0) - (stats.concealedSamples ?? 0);
    sum.sound += samples / 48000;
    sum.energy += stats.totalAudioEnergy ?? 0;
    sum.codec ??= report.get(stats.codecId)?.mimeType.split("/")[1];
  }
  return sum;
}

/** Waits until so much more than `base` has arrived at a receiver. */
async function flows(agent, receiver, want, base = {}) {
  return until(async () => {
    const now = await arrived(receiver);
    const { packets, frames, sound } = now;
    const heard = `${packets} packets, ${frames} frames, ${sound.toFixed(1)} s of sound`;
    agent.step = `waiting for ${receiver.track.kind}: ${heard}`;
    const enough = Object.entries(want).every(([key, more]) => now[key] - (base[key] ?? 0) >= more);
    return enough ? now : undefined;
  }, 100);
}

const receiverOf = (pc, kind) => activeTransceivers(pc).find((t) => kindOf(t) === kind)?.receiver;
const kindOf = (transceiver) => transceiver.receiver.track.kind;
const activeTransceivers = (pc) =>
  pc.getTransceivers().filter((t) => t.currentDirection !== "stopped" && t.direction !== "stopped");

/** Waits for media of each kind, and notes the figures. */
async function mediaFlows(agent, kinds) {
  for (const kind of kinds) {
    const receiver = receiverOf(agent.pc, kind);
    check(receiver, `there is no ${kind}`);
    const want = kind === "video" ? { frames: FRAMES } : { sound: SOUND };
    const now = await flows(agent, receiver, { packets: PACKETS, ...want });
    const { packets, frames, codec, energy } = now;
    const prefix = kinds.length > 1 ? `${kind}_` : "";
    agent.details[`${prefix}packets`] = packets;
    agent.details[`${prefix}codec`] = codec;
    if (kind === "video") agent.details.frames_decoded = frames;
    else agent.details.audio_energy = Math.round(energy * 1000) / 1000;
  }
}

/** Answers offers with tracks in every m-line that has none yet; `prefer` restricts codecs. */
function answerWithMedia(agent, media, prefer = () => {}) {
  agent.onOffer = async (description) => {
    const { pc } = agent;
    await pc.setRemoteDescription(description);
    const { stream, audio, video } = await media;
    for (const transceiver of activeTransceivers(pc)) {
      if (transceiver.sender.track || transceiver.mid === null) continue;
      await transceiver.sender.replaceTrack(kindOf(transceiver) === "audio" ? audio : video);
      transceiver.sender.setStreams(stream);
      transceiver.direction = "sendrecv";
      prefer(transceiver);
    }
    await pc.setLocalDescription();
    await agent.sendDescription();
  };
}

function addMedia(agent, media, kinds) {
  return kinds.map((kind) =>
    agent.pc.addTransceiver(media[kind], { direction: "sendrecv", streams: [media.stream] }),
  );
}

/** One kind of media both ways. `codec` allows no other; `after` judges. */
function mediaCase(kind, { codec, after = () => {} } = {}) {
  const prefer = (transceiver) =>
    codec && transceiver.setCodecPreferences(codecsOf(kind, codec));
  return {
    async offer(agent) {
      agent.connect();
      const media = await capture();
      addMedia(agent, media, [kind]).forEach(prefer);
      await agent.offer();
      await mediaFlows(agent, [kind]);
      await after(agent);
    },
    async answer(agent) {
      agent.connect();
      if (codec) codecsOf(kind, codec);
      answerWithMedia(agent, capture(), prefer);
      agent.step = "waiting for the offer";
      await until(() => agent.pc.currentRemoteDescription);
      await mediaFlows(agent, [kind]);
      await after(agent);
    },
  };
}

const codecCase = (codec) =>
  mediaCase("video", {
    codec,
    after(agent) {
      const got = agent.details.codec;
      check(got?.toLowerCase() === codec.toLowerCase(), `${got} arrives`);
    },
  });

/** The browser cannot be held to one profile, so what counts is what was negotiated. */
const srtpCase = (profile) =>
  mediaCase("audio", {
    async after(agent) {
      const { srtp } = await agent.readTransport();
      if (srtp !== profile) {
        throw new Unsupported(`${srtp} was negotiated; the browser cannot be held to ${profile}`);
      }
    },
  });

function oneTransport(agent) {
  const { pc } = agent;
  const transports = new Set(pc.getTransceivers().map((t) => t.receiver.transport));
  transports.add(pc.sctp.transport);
  check(transports.size === 1, `there are ${transports.size} transports`);
}

/** Audio, video and a channel on one transport, which `after(agent)` judges. */
function bundleCase({ after = () => {} } = {}) {
  const both = async (agent) => {
    await mediaFlows(agent, ["audio", "video"]);
    oneTransport(agent);
  };
  return {
    async offer(agent) {
      agent.connect({ bundlePolicy: "max-bundle" });
      const media = await capture();
      addMedia(agent, media, ["audio", "video"]);
      const channel = agent.channel("data");
      await agent.offer();
      agent.step = "waiting for the channel to open";
      await channel.opened;
      await channel.exchange("bundle");
      await both(agent);
      await after(agent);
    },
    async answer(agent) {
      agent.connect({ bundlePolicy: "max-bundle" });
      answerWithMedia(agent, capture());
      const channel = await agent.incoming();
      check(channel.label === "data", `the channel's label is ${channel.label}`);
      await channel.echo();
      await both(agent);
      await agent.waitPeerDone();
      check(channel.received === 1, `${channel.received} messages came`);
      await after(agent);
    },
  };
}

const RECOVERED_PACKETS = 400;

const loss = bundleCase({
  async after(agent) {
    const receiver = receiverOf(agent.pc, "video");
    const now = await flows(agent, receiver, { packets: RECOVERED_PACKETS });
    // What came again still counts as lost, and not as received.
    const percent = (100 * Math.max(0, now.lost - now.repeated)) / (now.packets + now.repeated);
    agent.details.repeated = now.repeated;
    agent.details.lost_after_recovery = Math.round(percent * 100) / 100;
    check(percent < 0.5, `${percent.toFixed(2)} % of the video is lost`);
  },
});

async function checkDirections(agent, want) {
  const { pc } = agent;
  for (const transceiver of pc.getTransceivers()) {
    const kind = kindOf(transceiver);
    const got = transceiver.currentDirection;
    check(got === want[kind], `${kind} is ${got}`);
    const { packets } = await arrived(transceiver.receiver);
    check(got === "recvonly" || packets === 0, `${kind} arrives although it is ${got}`);
  }
}

const direction = {
  async offer(agent) {
    const pc = agent.connect();
    const media = await capture();
    pc.addTransceiver(media.audio, { direction: "sendonly", streams: [media.stream] });
    pc.addTransceiver("video", { direction: "recvonly" });
    await agent.offer();
    await mediaFlows(agent, ["video"]);
    await checkDirections(agent, { audio: "sendonly", video: "recvonly" });
  },
  async answer(agent) {
    const pc = agent.connect();
    answerWithMedia(agent, capture());
    agent.step = "waiting for the offer";
    await until(() => pc.currentRemoteDescription);
    await mediaFlows(agent, ["audio"]);
    await agent.waitPeerDone();
    await checkDirections(agent, { audio: "recvonly", video: "sendonly" });
  },
};

const RIDS = ["h", "m", "l"];

const simulcast = {
  async offer(agent) {
    const pc = agent.connect();
    // Smaller pictures are not sent in three encodings.
    const media = await capture(1280, 720);
    const { sender } = pc.addTransceiver(media.video, {
      direction: "sendonly",
      streams: [media.stream],
      sendEncodings: RIDS.map((rid, at) => ({ rid, scaleResolutionDownBy: 2 ** at })),
    });
    await agent.offer();
    const accepted = attributes(pc.remoteDescription.sdp, "simulcast");
    check(accepted.length === 1, "the answer takes no simulcast");
    await until(async () => {
      const report = [...(await sender.getStats()).values()];
      const sent = report.filter((s) => s.type === "outbound-rtp" && s.packetsSent > 0);
      agent.details.rids = sent.map(({ rid }) => rid).sort();
      agent.step = `sending on ${agent.details.rids}`;
      return RIDS.every((rid) => agent.details.rids.includes(rid));
    }, 200);
    await agent.waitPeerDone();
  },
  answer() {
    throw new Unsupported("a browser takes one encoding");
  },
};

/** The sizes in which a forwarder sends the one track that it forwards. */
const FORWARDED = ["320x240", "160x120", "80x60"];

const forward = {
  offer() {
    throw new Unsupported("a browser forwards nothing");
  },
  async answer(agent) {
    const pc = agent.connect();
    agent.step = "waiting for the offer";
    const receiver = await until(() => receiverOf(pc, "video"));
    const decoded = {};
    let before = 0;
    const now = await until(async () => {
      const now = await arrived(receiver);
      const size = `${now.width}x${now.height}`;
      decoded[size] = (decoded[size] ?? 0) + now.frames - before;
      before = now.frames;
      agent.step = `waiting for frames of each size: ${JSON.stringify(decoded)}`;
      return FORWARDED.every((size) => decoded[size] >= FRAMES) && now;
    }, 100);
    agent.details.frames_decoded = now.frames;
    agent.details.key_frames = now.keyFrames;
    check(now.lost === 0, `${now.lost} packets are lost`);
  },
};

const OFFERER_FLOW = 50;
const ANSWERER_FLOW = 20;

/** What has arrived on every transceiver that receives. */
async function flowing(pc) {
  const receivers = activeTransceivers(pc)
    .filter((t) => ["recvonly", "sendrecv"].includes(t.currentDirection))
    .map((t) => t.receiver);
  return Promise.all(receivers.map(async (r) => ({ receiver: r, base: await arrived(r) })));
}

const mediaSections = (description) =>
  sdpLines(description.sdp).filter((line) => line.startsWith("m="));

const renegotiate = {
  async offer(agent) {
    const pc = agent.connect();
    const media = await capture();
    const channel = agent.channel("data");
    const step = async (number, kinds) => {
      await agent.offer();
      if (number === 0) await channel.opened;
      const bases = await flowing(pc);
      const got = bases.map(({ receiver }) => receiver.track.kind).sort();
      check(got.join() === kinds.join(), `step ${number}: ${got.join()} is to arrive`);
      for (const { receiver, base } of bases) await flows(agent, receiver, { packets: OFFERER_FLOW }, base);
      await channel.exchange(`step ${number}`);
    };
    await step(0, []);
    const [audio] = addMedia(agent, media, ["audio"]);
    await step(1, ["audio"]);
    addMedia(agent, media, ["video"]);
    await step(2, ["audio", "video"]);
    audio.stop();
    await step(3, ["video"]);
    check(/^m=audio 0 /.test(mediaSections(pc.remoteDescription)[1]), "the audio is not rejected");
    addMedia(agent, media, ["audio"]);
    await step(4, ["audio", "video"]);
    const sections = mediaSections(pc.localDescription);
    check(sections.length === 3, `there are ${sections.length} m-lines`);
    agent.details.steps = 4;
  },
  async answer(agent) {
    const pc = agent.connect();
    answerWithMedia(agent, capture());
    const channel = await agent.incoming();
    let steps = 0;
    for (;;) {
      agent.step = `waiting for step ${steps}`;
      const message = await Promise.race([channel.messages.next(), agent.peerDone]);
      if (message === undefined) break;
      check(message === `step ${steps}`, `${message} came as step ${steps}`);
      for (const { receiver, base } of await flowing(pc)) {
        await flows(agent, receiver, { packets: ANSWERER_FLOW }, base);
      }
      channel.send(message);
      steps += 1;
    }
    check(steps === 5, `${steps} steps came`);
    agent.details.steps = steps - 1;
  },
};

/** Both sides offer at once; `isPolite` gives way. */
const perfectSide = (isPolite) => async (agent) => {
  const pc = agent.connect();
  const release = agent.holdInput();
  const media = await capture();
  pc.addTrack(media.audio, media.stream);
  let ignored = 0;
  agent.onOffer = async (description) => {
    if (pc.signalingState !== "stable" && !isPolite) {
      ignored += 1;
      return;
    }
    // An offer that meets one's own rolls that back.
    await agent.answer(description);
  };
  await pc.setLocalDescription();
  await agent.sendDescription();
  release();
  agent.step = "waiting for stable";
  await until(() => pc.signalingState === "stable" && pc.currentRemoteDescription);
  await mediaFlows(agent, ["audio"]);
  check(pc.signalingState === "stable", `the state is ${pc.signalingState}`);
  check(isPolite || ignored === 1, `${ignored} offers were ignored`);
  const sections = mediaSections(pc.currentLocalDescription);
  check(sections.length === 1, `there are ${sections.length} m-lines`);
};

const perfect = { offer: perfectSide(false), answer: perfectSide(true) };

const dataLate = {
  async offer(agent) {
    agent.connect();
    const media = await capture();
    addMedia(agent, media, ["audio"]);
    await agent.offer();
    await flows(agent, receiverOf(agent.pc, "audio"), { packets: ANSWERER_FLOW });
    const channel = agent.channel("late");
    await agent.offer();
    agent.step = "waiting for the channel to open";
    await channel.opened;
    await channel.exchange("late");
  },
  async answer(agent) {
    agent.connect();
    answerWithMedia(agent, capture());
    const channel = await agent.incoming();
    check(channel.label === "late", `the channel's label is ${channel.label}`);
    check(agent.remoteOffers.length === 2, `${agent.remoteOffers.length} offers came`);
    await channel.echo();
    await agent.waitPeerDone();
    check(channel.received === 1, `${channel.received} messages came`);
  },
};

const STATS = [
  "codec",
  "inbound-rtp",
  "outbound-rtp",
  "remote-inbound-rtp",
  "candidate-pair",
  "local-candidate",
  "remote-candidate",
  "transport",
  "certificate",
  "data-channel",
  "peer-connection",
];

async function readStats(agent) {
  await until(async () => {
    const report = await agent.pc.getStats();
    agent.details.stats = Object.fromEntries(report.entries());
    const missing = STATS.filter((type) => ![...report.values()].some((s) => s.type === type));
    agent.step = `waiting for the statistics ${missing.join()}`;
    return missing.length === 0;
  }, 200);
}

const stats = bundleCase({ after: readStats });

const usesPair = (wanted, what) => async (agent) => {
  const { pair } = await agent.readTransport();
  check(pair.split(" ").some((end) => wanted.test(end)), `${what}: the pair is ${pair}`);
};

const turn = echoCase({
  async after(agent) {
    if (agent.config.policy === "relay") await usesPair(/^relay\//, "no relay")(agent);
  },
});

const mdns = echoCase({
  after(agent) {
    check(agent.trickledOut > 0, "no candidate was told");
  },
  before(agent) {
    agent.keepCandidate = (text) => parseCandidate(text).address.endsWith(".local");
  },
});

const iceTcp = {
  offer: echoCase({
    before(agent) {
      agent.keepCandidate = (text) => parseCandidate(text).tcptype === "active";
    },
    after: usesPair(/\/tcp\//, "no TCP"),
  }).offer,
  answer() {
    throw new Unsupported("a browser takes no TCP connections");
  },
};

export const mediaCases = {
  audio: mediaCase("audio", { codec: "opus" }),
  "video-vp8": codecCase("VP8"),
  "video-vp9": codecCase("VP9"),
  "video-h264": codecCase("H264"),
  "video-av1": codecCase("AV1"),
  "srtp-gcm": srtpCase("AEAD_AES_128_GCM"),
  "srtp-cm": srtpCase("AES128_CM_HMAC_SHA1_80"),
  "av-bundle": bundleCase(),
  loss,
  direction,
  simulcast,
  forward,
  renegotiate,
  perfect,
  "data-late": dataLate,
  stats,
  turn,
  "turn-both": turn,
  mdns,
  "ice-tcp": iceTcp,
};
