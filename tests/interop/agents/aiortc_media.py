"""The cases that carry audio and video."""

import asyncio
from collections import Counter

from aiortc import AudioStreamTrack, RTCRtpSender, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcdtlstransport import SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80, RTCDtlsTransport

from aiortc_agent import Failed, check

PACKETS = 100
FRAMES = 20
TRACKS = {"audio": AudioStreamTrack, "video": VideoStreamTrack}


class Viewer:
    """Consumes a remote track, so that it is decoded, and counts what comes."""

    def __init__(self, agent, track):
        self.frames = 0
        self.sizes = Counter()
        self.track = track
        self._task = asyncio.ensure_future(self._run())
        agent.viewers[track.kind] = self

    async def _run(self):
        try:
            while True:
                frame = await self.track.recv()
                self.frames += 1
                if self.track.kind == "video":
                    self.sizes[frame.width, frame.height] += 1
        except MediaStreamError:
            pass


def connect(agent):
    """Makes the connection, with a viewer for every track that the peer sends."""
    pc = agent.connect()
    agent.viewers = {}
    pc.on("track", lambda track: Viewer(agent, track))
    return pc


def transceiver_of(agent, kind):
    found = [t for t in agent.pc.getTransceivers() if t.kind == kind]
    check(len(found) == 1, f"there are {len(found)} transceivers of {kind}")
    return found[0]


async def packets_of(receiver):
    report = await receiver.getStats()
    return sum(s.packetsReceived for s in report.values() if s.type == "inbound-rtp")


async def media_flows(agent, kinds, packets=PACKETS, frames=FRAMES):
    """Waits for media of each kind, and notes the figures."""
    for kind in kinds:
        transceiver = transceiver_of(agent, kind)
        while True:
            came = await packets_of(transceiver.receiver)
            viewer = agent.viewers.get(kind)
            seen = viewer.frames if viewer else 0
            agent.step = f"waiting for {kind}: {came} packets, {seen} frames"
            if came >= packets and (kind == "audio" or seen >= frames):
                break
            await asyncio.sleep(0.05)
        prefix = f"{kind}_" if len(kinds) > 1 else ""
        codec = transceiver._codecs[0].mimeType.split("/")[1]
        agent.details.update({f"{prefix}packets": came, f"{prefix}codec": codec})
        if kind == "video":
            agent.details["frames_decoded"] = seen


def codecs_of(kind, name):
    """Only `name` and its retransmissions."""
    wanted = (f"{kind}/{name}".lower(), f"{kind}/rtx")
    codecs = RTCRtpSender.getCapabilities(kind).codecs
    return [codec for codec in codecs if codec.mimeType.lower() in wanted]


def add_media(agent, kinds):
    return [agent.pc.addTransceiver(TRACKS[kind](), direction="sendrecv") for kind in kinds]


def answer_with_media(agent):
    """Answers offers with a track in every m-line that has none yet."""

    async def answer(description):
        await agent.pc.setRemoteDescription(description)
        for transceiver in agent.pc.getTransceivers():
            if transceiver.sender.track is None:
                agent.pc.addTrack(TRACKS[transceiver.kind]())
        await agent.pc.setLocalDescription(await agent.pc.createAnswer())
        agent.send_description()

    agent.answer = answer


def media_case(kind, codec=None, before=lambda agent: None, after=lambda agent: None):
    def prefer(transceiver):
        if codec is not None:
            transceiver.setCodecPreferences(codecs_of(kind, codec))

    async def offer(agent):
        before(agent)
        connect(agent)
        for transceiver in add_media(agent, [kind]):
            prefer(transceiver)
        await agent.offer()
        await media_flows(agent, [kind])
        after(agent)

    async def answer(agent):
        before(agent)
        pc = connect(agent)
        answer_with_media(agent)
        agent.step = "waiting for the offer"
        while pc.remoteDescription is None or pc.signalingState != "stable":
            await asyncio.sleep(0.02)
        await media_flows(agent, [kind])
        after(agent)

    return {"offer": offer, "answer": answer}


def codec_case(name):
    def arrives(agent):
        got = agent.details["codec"]
        check(got.lower() == name.lower(), f"{got} arrives")

    return media_case("video", codec=name, after=arrives)


def srtp_case(profile, name):
    def hold(agent):
        make = RTCDtlsTransport.__init__

        def make_held(self, *args, **kwargs):
            make(self, *args, **kwargs)
            self._srtp_profiles = [profile]

        RTCDtlsTransport.__init__ = make_held

    def speaks(agent):
        got = agent.read_transport().get("srtp")
        if got != name:
            raise Failed(f"{got} was negotiated")

    return media_case("audio", before=hold, after=speaks)


def one_transport(agent):
    transports = {t.receiver.transport for t in agent.pc.getTransceivers()}
    transports.add(agent.pc.sctp.transport)
    check(len(transports) == 1, f"there are {len(transports)} transports")


async def av_bundle_offer(agent, packets=PACKETS, frames=FRAMES):
    connect(agent)
    add_media(agent, ["audio", "video"])
    channel = agent.channel("data")
    await agent.offer()
    agent.step = "waiting for the channel to open"
    await channel.opened.wait()
    await channel.exchange("bundle")
    await media_flows(agent, ["audio", "video"], packets, frames)
    one_transport(agent)


async def av_bundle_answer(agent, packets=PACKETS, frames=FRAMES):
    connect(agent)
    answer_with_media(agent)
    channel = await agent.incoming()
    check(channel.label == "data", f"the channel's label is {channel.label}")
    channel.echo()
    await media_flows(agent, ["audio", "video"], packets, frames)
    one_transport(agent)
    await agent.wait_peer_done()
    check(channel.received == 1, f"{channel.received} messages came")


# What was recovered is not told, so that the other side judges; and once something comes again, its
# packets are all that is counted of video.
LOSS = {"packets": 1, "frames": 300}


async def loss_offer(agent):
    await av_bundle_offer(agent, **LOSS)


async def loss_answer(agent):
    await av_bundle_answer(agent, **LOSS)


# The sizes in which a forwarder sends the one track that it forwards.
FORWARDED = [(320, 240), (160, 120), (80, 60)]


async def forward_answer(agent):
    connect(agent)
    while True:
        viewer = agent.viewers.get("video")
        sizes = viewer.sizes if viewer else Counter()
        agent.step = f"waiting for frames of each size: {dict(sizes)}"
        if all(sizes[size] >= FRAMES for size in FORWARDED):
            break
        await asyncio.sleep(0.05)
    agent.details["frames_decoded"] = viewer.frames


async def check_directions(agent, want):
    for transceiver in agent.pc.getTransceivers():
        kind, got = transceiver.kind, transceiver.currentDirection
        check(got == want[kind], f"{kind} is {got}")
        came = await packets_of(transceiver.receiver)
        check(got == "recvonly" or came == 0, f"{kind} arrives although it is {got}")


async def direction_offer(agent):
    pc = connect(agent)
    pc.addTransceiver(AudioStreamTrack(), direction="sendonly")
    pc.addTransceiver("video", direction="recvonly")
    await agent.offer()
    await media_flows(agent, ["video"])
    await check_directions(agent, {"audio": "sendonly", "video": "recvonly"})


async def direction_answer(agent):
    pc = connect(agent)
    answer_with_media(agent)
    agent.step = "waiting for the offer"
    while pc.remoteDescription is None or pc.signalingState != "stable":
        await asyncio.sleep(0.02)
    await media_flows(agent, ["audio"])
    await agent.wait_peer_done()
    await check_directions(agent, {"audio": "recvonly", "video": "sendonly"})


async def data_late_offer(agent):
    connect(agent)
    add_media(agent, ["audio"])
    await agent.offer()
    await media_flows(agent, ["audio"], packets=20)
    channel = agent.channel("late")
    await agent.offer()
    agent.step = "waiting for the channel to open"
    await channel.opened.wait()
    await channel.exchange("late")


async def data_late_answer(agent):
    connect(agent)
    answer_with_media(agent)
    channel = await agent.incoming()
    check(channel.label == "late", f"the channel's label is {channel.label}")
    check(len(agent.remote_offers) == 2, f"{len(agent.remote_offers)} offers came")
    channel.echo()
    await agent.wait_peer_done()
    check(channel.received == 1, f"{channel.received} messages came")


MEDIA_CASES = {
    "audio": media_case("audio", codec="opus"),
    "video-vp8": codec_case("VP8"),
    "video-h264": codec_case("H264"),
    "av-bundle": {"offer": av_bundle_offer, "answer": av_bundle_answer},
    "loss": {"offer": loss_offer, "answer": loss_answer},
    "forward": {"answer": forward_answer},
    "direction": {"offer": direction_offer, "answer": direction_answer},
    "data-late": {"offer": data_late_offer, "answer": data_late_answer},
    "srtp-gcm": srtp_case(SRTP_AEAD_AES_128_GCM, "AEAD_AES_128_GCM"),
    "srtp-cm": srtp_case(SRTP_AES128_CM_SHA1_80, "AES128_CM_HMAC_SHA1_80"),
}
