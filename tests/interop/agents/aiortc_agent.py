"""The interop agent whose stack is aiortc.

It gathers before it describes, so its descriptions carry all of its candidates in every case;
candidates that the peer trickles are taken.
"""

import argparse
import asyncio
import ipaddress
import json
import re
import sys
import threading
import traceback

import aioice.ice
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy, RTCIceTransportPolicy
from aiortc.rtcdtlstransport import RTCCertificate
from aiortc.sdp import candidate_from_sdp

DTLS_VERSIONS = {"DTLSv1.2": "1.2", "DTLSv1.3": "1.3"}
WIRE_VERSIONS = {"1.2": 0xFEFD, "1.3": 0xFEFC}

# What aiortc lacks, where the reason is known.
LACKING = {
    "forward": "it forwards nothing",
    "dtls13": "the OpenSSL of its cryptography package has no DTLS 1.3",
    "ice-lite": "it has no ICE-lite agent",
    "ice-restart": "it has no ICE restart",
    "ice-tcp": "it has no ICE over TCP",
    "mdns": "it announces no .local names",
    "perfect": "it has no rollback",
    "renegotiate": "it cannot stop a transceiver",
    "simulcast": "it sends and takes one encoding",
    "stats": "its statistics know neither candidates nor channels",
    "video-av1": "it has no AV1",
    "video-vp9": "it has no VP9",
}

CASES = (
    "data-echo data-modes data-bulk data-close data-late audio video-vp8 video-vp9 video-h264"
    " video-av1 av-bundle direction simulcast forward renegotiate perfect ice-restart no-trickle ice-lite"
    " ice-tcp turn turn-both mdns dtls12 dtls13 srtp-gcm srtp-cm loss stats bad-fingerprint close"
).split()


class Unsupported(Exception):
    """aiortc lacks what the case needs, which is not a failure."""


class Failed(Exception):
    """The case does not hold."""


def check(condition, message):
    if not condition:
        raise Failed(message)


class Agent:
    """One peer connection, its signalling over the runner's lines, and the end of the case."""

    def __init__(self, args):
        self.args = args
        self.case = args.case
        self.role = args.role
        self.settings = dict(args.set)
        self.step = "starting"
        self.details = {}
        self.pc = None
        self.closed = False
        self.tolerates_failure = False
        self.leaves_first = False
        self.rewrite = lambda sdp: sdp
        self.peer_done = asyncio.Event()
        self.failure = asyncio.get_running_loop().create_future()
        self.remote_offers = []
        self.trickled_in = 0
        self.transport = {}
        self._channels = asyncio.Queue()
        self._answered = None

    # The peer connection and its signalling.

    def connect(self):
        """Makes the peer connection. Called once, by the case."""
        relay = self.args.policy == "relay"
        policy = RTCIceTransportPolicy.RELAY if relay else RTCIceTransportPolicy.ALL
        self.pc = RTCPeerConnection(
            RTCConfiguration(
                iceServers=self.args.ice_servers,
                iceTransportPolicy=policy,
                bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
            )
        )
        self.pc.on("datachannel", lambda channel: self._channels.put_nowait(Channel(channel, self)))
        self.pc.on("connectionstatechange", self._state_changed)
        return self.pc

    def _state_changed(self):
        if self.pc.connectionState == "failed" and not self.tolerates_failure:
            self.fail(Failed("the connection failed"))
        if self.pc.connectionState == "connected":
            self.read_transport()

    def fail(self, error):
        if not self.failure.done():
            self.failure.set_exception(error)

    async def receive(self, line):
        """Takes one line of the peer."""
        if line["type"] == "done":
            self.peer_done.set()
        elif line["type"] == "candidate":
            await self._remote_candidate(line["candidate"])
        elif line["type"] == "description" and not self.closed:
            description = RTCSessionDescription(**line["description"])
            if description.type == "offer":
                self.remote_offers.append(description.sdp)
                await self.answer(description)
            else:
                await self.pc.setRemoteDescription(description)
                if self._answered is not None:
                    self._answered.set_result(description)

    async def _remote_candidate(self, init):
        text = init["candidate"] if init else ""
        if text:
            self.trickled_in += 1
            check(self.case != "no-trickle", "the peer trickled a candidate although it must not")
        if self.closed or self.pc is None or self.pc.remoteDescription is None:
            return
        candidate = None
        if text:
            candidate = candidate_from_sdp(text.split(":", 1)[1])
            candidate.sdpMid = init.get("sdpMid")
            candidate.sdpMLineIndex = init.get("sdpMLineIndex")
        try:
            await self.pc.addIceCandidate(candidate)
        except Exception as error:  # Late candidates are dropped.
            complain(f"candidate dropped: {error}")

    def send_description(self):
        description = self.pc.localDescription
        sdp = self.rewrite(description.sdp)
        write({"type": "description", "description": {"type": description.type, "sdp": sdp}})
        if self.case != "no-trickle":
            write({"type": "candidate", "candidate": None})

    async def offer(self):
        """Makes an offer and waits until its answer is applied."""
        self._answered = asyncio.get_running_loop().create_future()
        await self.pc.setLocalDescription(await self.pc.createOffer())
        self.send_description()
        self.step = "waiting for the answer"
        await self._answered

    async def answer(self, description):
        await self.pc.setRemoteDescription(description)
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        self.send_description()

    async def until_state(self, *states):
        while self.pc.connectionState not in states:
            await asyncio.sleep(0.02)

    # Data channels.

    def channel(self, label, **init):
        return Channel(self.pc.createDataChannel(label, **init), self)

    async def incoming(self):
        self.step = "waiting for the peer's channel"
        return await self._channels.get()

    def message_limit(self):
        """The biggest message that both sides take."""
        return min(
            max_message_size(self.pc.localDescription.sdp),
            max_message_size(self.pc.remoteDescription.sdp),
        )

    # The end of the case.

    async def wait_peer_done(self):
        self.step = "waiting for the peer's done"
        await self.peer_done.wait()

    def dtls_transport(self):
        if self.pc.sctp is not None:
            return self.pc.sctp.transport
        for transceiver in self.pc.getTransceivers():
            return transceiver.receiver.transport
        return None

    def read_transport(self):
        """Keeps what is known of the transport, which is gone once the connection is closed."""
        dtls = self.dtls_transport()
        if dtls is not None and dtls._ssl is not None and dtls.state == "connected":
            name = dtls._ssl.get_protocol_version_name()
            self.transport["dtls"] = DTLS_VERSIONS.get(name, name)
            self.transport["dtls_cipher"] = dtls._ssl.get_cipher_name()
            profile = dtls._ssl.get_selected_srtp_profile().decode().removeprefix("SRTP_")
            self.transport["srtp"] = profile.replace("CM_SHA1", "CM_HMAC_SHA1")
        return self.transport

    async def close(self):
        self.closed = True
        if self.pc is not None:
            await self.pc.close()


class Channel:
    """A data channel with its messages in a queue."""

    def __init__(self, inner, agent):
        self.inner = inner
        self.agent = agent
        self.messages = asyncio.Queue()
        self.received = 0
        self.on_message = self.messages.put_nowait
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self.low = asyncio.Event()
        if inner.readyState == "open":
            self.opened.set()
        inner.on("open", self.opened.set)
        inner.on("close", self.closed.set)
        inner.on("bufferedamountlow", self.low.set)
        inner.on("message", self._message)

    @property
    def label(self):
        return self.inner.label

    def _message(self, data):
        self.received += 1
        try:
            self.on_message(data)
        except Exception as error:
            self.agent.fail(error)

    def send(self, data):
        self.inner.send(data)

    def echo(self):
        """Sends back every message, also those that came before."""
        self.on_message = self.send
        while not self.messages.empty():
            self.send(self.messages.get_nowait())

    async def exchange(self, data):
        """Sends one message and wants the same back."""
        self.agent.step = f"waiting for the echo of {describe(data)} on {self.label}"
        self.send(data)
        back = await self.messages.get()
        same = type(back) is type(data) and back == data
        check(same, f"{self.label}: sent {describe(data)}, got {describe(back)} back")


def describe(data):
    if isinstance(data, str):
        return f"a text of {len(data.encode())} bytes"
    return f"a binary message of {len(data)} bytes"


def attributes(sdp, name):
    """The values of all `a=name:` lines of an SDP."""
    return re.findall(rf"^a={re.escape(name)}:(.*?)\r?$", sdp, re.MULTILINE)


def max_message_size(sdp):
    """RFC 8841 section 6: absent is 64 KiB, 0 is no limit."""
    values = attributes(sdp, "max-message-size")
    if not values:
        return 65536
    return int(values[0]) or sys.maxsize


# The process.


def write(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def complain(text):
    print(text, file=sys.stderr, flush=True)


def end(status):
    """Ends the process although a thread still reads standard input."""
    import os

    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def refuse(sentence):
    complain(sentence)
    end(2)


def read_line(text):
    """Reads one line of the contract."""
    line = json.loads(text)
    kind = line["type"]
    if kind == "description":
        description = line["description"]
        line["description"] = {"type": description["type"], "sdp": description.get("sdp", "")}
    elif kind == "candidate":
        candidate = line["candidate"]
        if candidate is not None and not isinstance(candidate["candidate"], str):
            raise ValueError("a candidate is not a text")
    elif kind not in ("done", "log", "result"):
        raise ValueError(f"the type {kind} is not known")
    return line


def read_stdin(loop, lines):
    for text in sys.stdin:
        if not text.strip():
            continue
        try:
            line = read_line(text)
        except (KeyError, TypeError, ValueError) as error:
            refuse(f"standard input has a line that is not understood: {error!r}")
        loop.call_soon_threadsafe(lines.put_nowait, line)


def parse_arguments():
    class Parser(argparse.ArgumentParser):
        def error(self, message):
            refuse(message)

    def setting(text):
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise argparse.ArgumentTypeError("not of the form KEY=VALUE")
        return key, value

    def ice_servers(text):
        try:
            return [
                RTCIceServer(
                    urls=server["urls"],
                    username=server.get("username"),
                    credential=server.get("credential"),
                )
                for server in json.loads(text)
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise argparse.ArgumentTypeError(f"not an array of RTCIceServer: {error!r}")

    def address(text):
        try:
            host, colon, port = text.rpartition(":")
            int(port)
            return ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            raise argparse.ArgumentTypeError("not of the form ADDRESS:PORT")

    parser = Parser(description="An interop agent whose stack is aiortc.")
    parser.add_argument("--role", choices=["offer", "answer"], required=True)
    parser.add_argument("--case", choices=CASES, required=True, metavar="NAME")
    parser.add_argument("--bind", type=address, action="append", metavar="ADDR")
    parser.add_argument("--ice-servers", type=ice_servers, default=[], metavar="JSON")
    parser.add_argument("--policy", choices=["all", "relay"], default="all")
    parser.add_argument("--timeout", type=int, default=30, metavar="SECONDS")
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def bind_to(addresses):
    """Has aioice gather on the addresses given alone, loopback included."""
    hosts = [str(address) for address in addresses or [ipaddress.ip_address("127.0.0.1")]]
    if any(ipaddress.ip_address(host).is_unspecified for host in hosts):
        return
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [
        host for host in hosts if (use_ipv6 if ":" in host else use_ipv4)
    ]


def hold_dtls_to(version):
    """Has every DTLS context speak one version alone."""
    make = RTCCertificate._create_ssl_context

    def make_held(self, *args, **kwargs):
        context = make(self, *args, **kwargs)
        context.set_min_proto_version(WIRE_VERSIONS[version])
        context.set_max_proto_version(WIRE_VERSIONS[version])
        return context

    RTCCertificate._create_ssl_context = make_held


async def play(agent, run):
    await run(agent)
    agent.details.update(agent.read_transport())
    write({"type": "done"})
    if not agent.leaves_first:
        await agent.wait_peer_done()


async def pump(agent, lines):
    while True:
        await agent.receive(await lines.get())


async def main(args):
    from aiortc_data import DATA_CASES
    from aiortc_media import MEDIA_CASES

    bind_to(args.bind)
    agent = Agent(args)
    lines = asyncio.Queue()
    threading.Thread(
        target=read_stdin, args=(asyncio.get_running_loop(), lines), daemon=True
    ).start()
    error = None
    tasks = []
    try:
        run = {**DATA_CASES, **MEDIA_CASES}.get(args.case, {}).get(args.role)
        if run is None:
            raise Unsupported(LACKING.get(args.case, f"no {args.case} as {args.role}"))
        tasks = [asyncio.ensure_future(play(agent, run)), asyncio.ensure_future(pump(agent, lines))]
        done, _ = await asyncio.wait(
            [*tasks, agent.failure], timeout=args.timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            state = f" ({agent.pc.connectionState})" if agent.pc else ""
            raise Failed(f"timed out while {agent.step}{state}")
        for future in done:
            future.result()
    except Unsupported as lacking:
        error = "unsupported"
        agent.details["reason"] = str(lacking)
    except Exception as caught:
        error = str(caught) or repr(caught)
        traceback.print_exc()
    for task in tasks:
        task.cancel()
    try:
        await asyncio.wait_for(agent.close(), timeout=5)
    except Exception as caught:
        complain(f"while closing: {caught!r}")
    if error is not None:
        agent.details["error"] = error
    result = {"type": "result", "ok": error is None, "case": args.case, "details": agent.details}
    write(result)
    end(0 if error is None else 1)


if __name__ == "__main__":
    # The cases import this module by its name; it is to be one module, not two.
    sys.modules["aiortc_agent"] = sys.modules["__main__"]
    asyncio.run(main(parse_arguments()))
