//! Two chains over a simulated path with virtual time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_rtcp::Packet as RtcpPacket;
use rtc_rtp::extension::ExtensionKind;
use rtc_rtp::{Header, Packet};
use rtc_shared::{EcnCodepoint, Rng};

use crate::*;

mod custom;
mod feedback;
mod key_frames;
mod recovery;
mod reports;

const SSRC: u32 = 0x1111_1111;
const RTX_SSRC: u32 = 0x2222_2222;
const MAX_LEN: usize = 1200;
const UNIX_TIME: Duration = Duration::from_secs(1_700_000_000);
/// Index of the side that sends media in most tests, and of the one that receives it.
const A: usize = 0;
const B: usize = 1;

/// An instant to begin with; what it is has no effect.
#[expect(clippy::disallowed_methods, reason = "tests have to begin somewhere")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn video() -> StreamInfo {
    let mut info = StreamInfo::new(SSRC, 96, 90_000, "video/VP8");
    for name in ["nack", "nack pli", "ccm fir", "transport-cc"] {
        assert!(info.rtcp_feedback.insert(name));
    }
    info.extensions
        .set(ExtensionKind::TransportSequenceNumber, 3);
    info.extensions.set(ExtensionKind::Mid, 4);
    info.rtx = Some(RtxInfo {
        ssrc: RTX_SSRC,
        payload_type: 97,
    });
    info
}

fn packet(sequence_number: u16, timestamp: u32) -> Packet {
    let header = Header {
        payload_type: 96,
        sequence_number,
        timestamp,
        ssrc: SSRC,
        ..Header::default()
    };
    Packet {
        header,
        payload: Bytes::copy_from_slice(&sequence_number.to_be_bytes().repeat(50)),
    }
}

fn chain(seed: u8, now: Instant, registry: Registry, reduced_size: bool) -> Chain {
    let rng = Rng::from_seed([seed; 32]);
    let name = format!("side-{seed}-abcdefgh");
    let mut config = ChainConfig::new(now, UNIX_TIME, rng, &name);
    config.reduced_size = reduced_size;
    registry.build(config)
}

/// What is on the path.
#[derive(Clone, Debug)]
enum Wire {
    Rtp(Bytes),
    Rtcp(Vec<u8>),
}

/// What the path does with a datagram: `None` loses it, else it arrives after so long.
type Fate = Box<dyn FnMut(usize, &Wire) -> Option<Duration>>;

struct Side {
    chain: Chain,
    delivered: Vec<IncomingRtp>,
    events: Vec<(Instant, Event)>,
    /// RTCP packets that have arrived.
    rtcp: Vec<(Instant, RtcpPacket)>,
    /// Lengths of the RTCP datagrams that were sent.
    datagrams: Vec<usize>,
    /// RTP packets that were sent, of any kind.
    sent: Vec<OutgoingRtp>,
}

struct World {
    now: Instant,
    start: Instant,
    sides: [Side; 2],
    in_flight: Vec<(Instant, usize, Wire)>,
    fate: Fate,
}

impl World {
    fn new() -> Self {
        Self::with(Registry::with_defaults(), Registry::with_defaults(), true)
    }

    fn with(a: Registry, b: Registry, reduced_size: bool) -> Self {
        let start = instant();
        let side = |seed, registry| Side {
            chain: chain(seed, start, registry, reduced_size),
            delivered: Vec::new(),
            events: Vec::new(),
            rtcp: Vec::new(),
            datagrams: Vec::new(),
            sent: Vec::new(),
        };
        Self {
            now: start,
            start,
            sides: [side(1, a), side(2, b)],
            in_flight: Vec::new(),
            fate: Box::new(|_, _| Some(ms(20))),
        }
    }

    /// A sends this stream to B.
    fn bind(&mut self, info: &StreamInfo) {
        self.sides[A]
            .chain
            .bind_local_stream(self.now, info)
            .unwrap();
        self.sides[B]
            .chain
            .bind_remote_stream(self.now, info)
            .unwrap();
    }

    fn send(&mut self, side: usize, packet: Packet) {
        let sent = self.sides[side].chain.outgoing_rtp(self.now, packet, None);
        if let Some(sent) = sent {
            self.launch(side, Wire::Rtp(sent.packet.to_bytes()));
            self.sides[side].sent.push(sent);
        }
        self.pump(side);
    }

    fn launch(&mut self, from: usize, wire: Wire) {
        if let Some(delay) = (self.fate)(from, &wire) {
            self.in_flight.push((self.now + delay, 1 - from, wire));
        }
    }

    fn pump(&mut self, index: usize) {
        let now = self.now;
        loop {
            let side = &mut self.sides[index];
            while let Some(incoming) = side.chain.poll_incoming_rtp(now) {
                side.delivered.push(incoming);
            }
            while let Some(event) = side.chain.poll_event() {
                side.events.push((now, event));
            }
            let mut datagram = Vec::new();
            if let Some(length) = side.chain.poll_rtcp(now, MAX_LEN, &mut datagram) {
                assert_eq!(length, datagram.len());
                assert!(length <= MAX_LEN);
                side.datagrams.push(length);
                self.launch(index, Wire::Rtcp(datagram));
            } else if let Some(sent) = side.chain.poll_outgoing_rtp(now) {
                let wire = Wire::Rtp(sent.packet.to_bytes());
                side.sent.push(sent);
                self.launch(index, wire);
            } else {
                return;
            }
        }
    }

    fn arrive(&mut self, index: usize, wire: Wire) {
        let side = &mut self.sides[index];
        match wire {
            Wire::Rtp(datagram) => {
                let packet = Packet::parse(datagram).unwrap();
                let delivered = side
                    .chain
                    .incoming_rtp(self.now, packet, Some(EcnCodepoint::Ect1));
                side.delivered.extend(delivered);
            }
            Wire::Rtcp(datagram) => {
                for packet in rtc_rtcp::packets(&datagram) {
                    let packet = packet.unwrap();
                    side.rtcp.push((self.now, packet.clone()));
                    side.chain.incoming_rtcp(self.now, packet);
                }
            }
        }
        self.pump(index);
    }

    /// Lets so much time go by.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 1_000_000, "time does not go on");
            let arrival = self.in_flight.iter().map(|(at, ..)| *at).min();
            let timeouts = self
                .sides
                .iter()
                .filter_map(|side| side.chain.poll_timeout());
            let next = timeouts.chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            let index = self.in_flight.iter().position(|(at, ..)| *at <= self.now);
            if let Some(index) = index {
                let (_, to, wire) = self.in_flight.remove(index);
                self.arrive(to, wire);
            }
            for index in [A, B] {
                let chain = &mut self.sides[index].chain;
                if chain
                    .poll_timeout()
                    .is_some_and(|timeout| timeout <= self.now)
                {
                    chain.handle_timeout(self.now);
                    assert!(
                        chain
                            .poll_timeout()
                            .is_none_or(|timeout| timeout > self.now)
                    );
                    self.pump(index);
                }
            }
        }
    }

    /// A sends `count` packets, one each `spacing`, three to a frame.
    fn stream(&mut self, first: u16, count: u16, spacing: Duration) {
        for index in 0..count {
            self.send(
                A,
                packet(first.wrapping_add(index), u32::from(index / 3) * 3_000),
            );
            self.run(spacing);
        }
    }

    fn delivered(&self, side: usize) -> Vec<u16> {
        let delivered = self.sides[side].delivered.iter();
        delivered
            .map(|incoming| incoming.packet.header.sequence_number)
            .collect()
    }

    fn rtcp<'a, T: 'a>(
        &'a self,
        side: usize,
        filter: impl Fn(&'a RtcpPacket) -> Option<T> + 'a,
    ) -> impl Iterator<Item = T> + 'a {
        let received = self.sides[side].rtcp.iter();
        received.filter_map(move |(_, packet)| filter(packet))
    }
}

fn as_nack(packet: &RtcpPacket) -> Option<&rtc_rtcp::Nack> {
    match packet {
        RtcpPacket::Nack(nack) => Some(nack),
        _ => None,
    }
}
