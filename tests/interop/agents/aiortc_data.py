"""The cases that need nothing but data channels."""

import asyncio
import hashlib
import os
import time

from aiortc_agent import Failed, attributes, check, describe, hold_dtls_to

SIZES = [0, 1, 1000, 1200, 1201, 16384, 65535, 65536, 262144]


def echo_messages(limit):
    """The messages of `data-echo`, as far as both sides take them."""
    sizes = [size for size in SIZES if size <= limit]
    return [message for size in sizes for message in (text(size), os.urandom(size))]


def text(size):
    """A text whose UTF-8 form has `size` bytes, of characters of one to four bytes."""
    return "aé€😀" * (size // 10) + "x" * (size % 10)


async def open_echo(agent):
    channel = agent.channel("echo", protocol="p1")
    await agent.offer()
    agent.step = "waiting for the channel to open"
    await channel.opened.wait()
    return channel


async def accept_echo(agent):
    channel = await agent.incoming()
    inner = channel.inner
    check(inner.label == "echo", f"the channel's label is {inner.label}")
    check(inner.protocol == "p1", f"the channel's protocol is {inner.protocol}")
    check(inner.ordered, "the channel is not ordered")
    reliable = inner.maxRetransmits is None and inner.maxPacketLifeTime is None
    check(reliable, "the channel is not reliable")
    channel.echo()
    return channel


def echo_case(before=lambda agent: None, after=lambda agent: None):
    async def offer(agent):
        before(agent)
        agent.connect()
        channel = await open_echo(agent)
        limit = agent.message_limit()
        messages = echo_messages(limit)
        for message in messages:
            await channel.exchange(message)
        agent.details.update(messages=len(messages), max_message_size=limit)
        after(agent)

    async def answer(agent):
        before(agent)
        agent.connect()
        channel = await accept_echo(agent)
        await agent.wait_peer_done()
        check(channel.received > 0, "no message came")
        agent.details["messages"] = channel.received
        after(agent)

    return {"offer": offer, "answer": answer}


MODES = {
    "m0": {},
    "m1": {"ordered": False},
    "m2": {"maxRetransmits": 0},
    "m3": {"ordered": False, "maxRetransmits": 3},
    "m4": {"maxPacketLifeTime": 500},
    "m5": {"ordered": False, "maxPacketLifeTime": 100},
    "m6": {"negotiated": True, "id": 100},
    "m7": {"negotiated": True, "id": 101, "ordered": False},
}
MODE_MESSAGES = 20


async def echo_modes(agent, channels):
    for channel in channels:
        for at in range(MODE_MESSAGES):
            channel.send(f"{channel.label} {at}")
    for channel in channels:
        want = [f"{channel.label} {at}" for at in range(MODE_MESSAGES)]
        got = []
        while len(got) < MODE_MESSAGES:
            agent.step = f"waiting for echo {len(got)} on {channel.label}"
            got.append(await channel.messages.get())
        if not channel.inner.ordered:
            got.sort()
            want.sort()
        check(got == want, f"{channel.label}: the echoes were {got}")


async def data_modes_offer(agent):
    agent.connect()
    channels = [agent.channel(label, **init) for label, init in MODES.items()]
    await agent.offer()
    agent.step = "waiting for eight channels to open"
    for channel in channels:
        await channel.opened.wait()
    # Those that give a message up after a while get the network for themselves.
    hasty = [channel for channel in channels if channel.inner.maxPacketLifeTime is not None]
    await echo_modes(agent, [channel for channel in channels if channel not in hasty])
    for channel in hasty:
        await echo_modes(agent, [channel])
    agent.details["messages"] = len(channels) * MODE_MESSAGES


async def data_modes_answer(agent):
    agent.connect()
    channels = [agent.channel(label, **MODES[label]) for label in ("m6", "m7")]
    for channel in channels:
        channel.echo()
    while len(channels) < len(MODES):
        channel = await agent.incoming()
        want = MODES.get(channel.label, {"negotiated": True})
        check("negotiated" not in want, f"a channel {channel.label} was announced")
        for name, default in (
            ("ordered", True),
            ("maxRetransmits", None),
            ("maxPacketLifeTime", None),
        ):
            value = getattr(channel.inner, name)
            check(value == want.get(name, default), f"{channel.label}: {name} is {value}")
        channel.echo()
        channels.append(channel)
    await agent.wait_peer_done()
    for channel in channels:
        check(
            channel.received == MODE_MESSAGES,
            f"{channel.label}: {channel.received} messages came",
        )
    agent.details["messages"] = len(channels) * MODE_MESSAGES


BULK_BYTES = 32 * 1024 * 1024
BULK_MESSAGE = 16 * 1024
BULK_BUFFER = 1024 * 1024


def rate(size, start):
    return round(size / 1e6 / (time.monotonic() - start), 1)


async def data_bulk_offer(agent):
    agent.connect()
    channel = agent.channel("bulk")
    channel.inner.bufferedAmountLowThreshold = BULK_BUFFER // 2
    data = os.urandom(BULK_BYTES)
    await agent.offer()
    agent.step = "waiting for the channel to open"
    await channel.opened.wait()
    start = time.monotonic()
    for at in range(0, BULK_BYTES, BULK_MESSAGE):
        if channel.inner.bufferedAmount + BULK_MESSAGE > BULK_BUFFER:
            agent.step = f"waiting for room after {at} bytes"
            channel.low.clear()
            await channel.low.wait()
        channel.send(data[at : at + BULK_MESSAGE])
    channel.send("sha256:" + hashlib.sha256(data).hexdigest())
    agent.details["mbytes_per_s"] = rate(BULK_BYTES, start)


async def data_bulk_answer(agent):
    agent.connect()
    channel = await agent.incoming()
    check(channel.label == "bulk", f"the channel's label is {channel.label}")
    digest = hashlib.sha256()
    length = 0
    start = None
    while True:
        agent.step = f"waiting for data after {length} bytes"
        message = await channel.messages.get()
        start = start or time.monotonic()
        if isinstance(message, str):
            break
        check(len(message) == BULK_MESSAGE, f"{describe(message)} came")
        digest.update(message)
        length += len(message)
    agent.details["mbytes_per_s"] = rate(length, start)
    check(length == BULK_BYTES, f"{length} bytes came")
    check(message == "sha256:" + digest.hexdigest(), "the digest differs")


async def data_close_offer(agent):
    agent.connect()
    a, b = agent.channel("a"), agent.channel("b")
    await agent.offer()
    agent.step = "waiting for the channels to open"
    await a.opened.wait()
    await b.opened.wait()
    await a.exchange("first on a")
    a.inner.close()
    agent.step = "waiting for a to close"
    await a.closed.wait()
    await b.exchange("first on b")
    agent.step = "waiting for the peer to close b"
    await b.closed.wait()
    c = agent.channel("c")
    agent.step = "waiting for c to open"
    await c.opened.wait()
    await c.exchange("first on c")
    agent.details["id_c"] = c.inner.id


async def data_close_answer(agent):
    agent.connect()
    seen = {}

    def echo_and_close(channel):
        def once(message):
            channel.send(message)
            channel.inner.close()

        channel.on_message = once
        while not channel.messages.empty():
            once(channel.messages.get_nowait())

    while len(seen) < 3:
        channel = await agent.incoming()
        check(channel.label in "abc", f"a channel {channel.label} came")
        seen[channel.label] = channel
        if channel.label == "b":
            echo_and_close(channel)
        else:
            channel.echo()
    agent.step = "waiting for a and b to close"
    await seen["a"].closed.wait()
    await seen["b"].closed.wait()
    await agent.wait_peer_done()
    for label, channel in seen.items():
        check(channel.received == 1, f"{label}: {channel.received} messages came")


def spoil_fingerprints(sdp):
    """The same SDP with every fingerprint's first byte changed."""
    for value in attributes(sdp, "fingerprint"):
        algorithm, digits = value.split(" ")
        wrong = f"{int(digits[:2], 16) ^ 0xFF:02X}{digits[2:]}"
        sdp = sdp.replace(value, f"{algorithm} {wrong}")
    return sdp


async def bad_fingerprint_offer(agent):
    pc = agent.connect()
    agent.tolerates_failure = True
    agent.rewrite = spoil_fingerprints
    channel = agent.channel("echo", protocol="p1")
    channel.inner.on("open", lambda: channel.send("must not arrive"))
    await agent.offer()
    agent.step = "waiting for the failure"
    ends = [
        asyncio.ensure_future(agent.until_state("failed", "closed")),
        asyncio.ensure_future(agent.peer_done.wait()),
    ]
    _, pending = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    check(channel.received == 0, "a message came back")
    agent.details["state"] = pc.connectionState
    agent.leaves_first = True


async def bad_fingerprint_answer(agent):
    pc = agent.connect()
    agent.tolerates_failure = True
    delivered = asyncio.ensure_future(agent.incoming())
    agent.step = "waiting for the failure"
    await agent.until_state("failed")
    check(not delivered.done(), "a channel was opened")
    delivered.cancel()
    agent.details["state"] = pc.connectionState


async def close_offer(agent):
    agent.connect()
    channel = await open_echo(agent)
    await channel.exchange("")
    agent.read_transport()
    await agent.close()


async def close_answer(agent):
    pc = agent.connect()
    agent.tolerates_failure = True
    channel = await agent.incoming()
    check(channel.label == "echo", f"the channel's label is {channel.label}")
    dtls = agent.dtls_transport()
    message = await channel.messages.get()
    check(message == "", "the first message is not the empty text")
    agent.read_transport()
    start = time.monotonic()
    channel.send(message)
    agent.step = "waiting for the channel to close"
    await channel.closed.wait()
    agent.step = "waiting for the connection to end"
    while pc.connectionState not in ("closed", "failed", "disconnected") and dtls.state != "closed":
        await asyncio.sleep(0.02)
    seconds = time.monotonic() - start
    check(seconds <= 5, f"it took {seconds:.1f} s")
    agent.details.update(
        seconds=round(seconds, 3), state=pc.connectionState, dtls_state=dtls.state
    )


def peer_is_lite(agent):
    session = agent.pc.remoteDescription.sdp.split("m=", 1)[0]
    # aiortc keeps what it has parsed, and writes ice-lite at the session level.
    check("a=ice-lite" in session, "the peer is not lite")


def peer_gathered(agent):
    offers = attributes(agent.pc.remoteDescription.sdp, "candidate")
    check(offers, "the peer's description has no candidate")
    check(agent.trickled_in == 0, "the peer trickled")


def dtls_case(version):
    def speaks(agent):
        spoken = agent.read_transport().get("dtls")
        if spoken != version:
            raise Failed(f"DTLS {spoken} was negotiated")

    return echo_case(before=lambda agent: hold_dtls_to(version), after=speaks)


DATA_CASES = {
    "data-echo": echo_case(),
    "data-modes": {"offer": data_modes_offer, "answer": data_modes_answer},
    "data-bulk": {"offer": data_bulk_offer, "answer": data_bulk_answer},
    "data-close": {"offer": data_close_offer, "answer": data_close_answer},
    "no-trickle": echo_case(after=peer_gathered),
    "ice-lite": {"offer": echo_case(after=peer_is_lite)["offer"]},
    "turn": echo_case(),
    "turn-both": echo_case(),
    "mdns": {"answer": echo_case()["answer"]},
    "bad-fingerprint": {"offer": bad_fingerprint_offer, "answer": bad_fingerprint_answer},
    "close": {"offer": close_offer, "answer": close_answer},
    "dtls12": dtls_case("1.2"),
}
