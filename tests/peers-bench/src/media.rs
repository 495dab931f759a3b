//! Packets of video, from one peer to another and from one to many.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use crate::{Connection, Pair};

/// What looks after the packets on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// What the stack does for media if it is asked for nothing else: reports, repair by NACK, numbers
    /// for the transport and feedback about them.
    Usual,
    /// The least it can: RTP and SRTP.
    Bare,
}

/// A peer with one track of video, driven at the level of RTP packets.
pub trait Media: Connection {
    /// The payload of a packet, cheap to clone.
    type Payload: Clone;
    /// A packet as it was received.
    type Packet;

    /// A peer that has one host candidate.
    fn with_care(local: SocketAddr, care: Care, now: Instant) -> Self;
    /// Adds a track to send; before the offer.
    fn add_video(&mut self);
    /// Makes a payload.
    fn payload(bytes: &[u8]) -> Self::Payload;
    /// Sends a packet.
    fn write(&mut self, now: Instant, number: u64, timestamp: u32, payload: &Self::Payload);
    /// Sends a packet that another peer has received.
    fn forward(&mut self, now: Instant, from: &Self, packet: &Self::Packet);
    /// Moves the packets that arrived since the last call to `packets`.
    fn take(&mut self, packets: &mut Vec<Self::Packet>);
}

/// Packets in millions per CPU-second from one sender to one receiver, both together.
pub fn direct<C: Media>(care: Care, count: u64) -> f64 {
    let mut pair = connected::<C>(care);
    let mut source = Source::<C>::new();
    // The first packets of a stream may be used up to get to know it.
    send(&mut pair, &mut source, count / 16);
    let start = ThreadTime::now();
    let arrived = send(&mut pair, &mut source, count);
    let spent = start.elapsed();
    assert_eq!(
        arrived,
        count / BATCH * BATCH,
        "{}: packets arrived",
        C::NAME
    );
    count as f64 / 1e6 / spent.as_secs_f64()
}

/// Allocations (with reallocations) per packet in steady state, both ends together; `allocations`
/// reads the counter.
pub fn allocations<C: Media>(care: Care, count: u64, allocations: impl Fn() -> usize) -> f64 {
    let mut pair = connected::<C>(care);
    let mut source = Source::<C>::new();
    send(&mut pair, &mut source, count);
    let before = allocations();
    send(&mut pair, &mut source, count);
    (allocations() - before) as f64 / count as f64
}

/// Sends packets from a to b; tells how many arrived.
fn send<C: Media>(pair: &mut Pair<C>, source: &mut Source<C>, count: u64) -> u64 {
    let mut packets = Vec::new();
    let mut arrived = 0;
    for _ in 0..count / BATCH {
        source.write(&mut pair.a, pair.now);
        pair.exchange();
        pair.b.take(&mut packets);
        arrived += packets.len() as u64;
        packets.clear();
        pair.now += PERIOD;
    }
    arrived
}

/// Packets out in millions per CPU-second of a relay that has one publisher and [`SUBSCRIBERS`]; the
/// time of the others is not counted.
pub fn relay<C: Media>(care: Care, count: u64) -> f64 {
    let mut ingress = connected::<C>(care);
    let mut egress: Vec<_> = (0..SUBSCRIBERS).map(|_| connected::<C>(care)).collect();
    let mut now = egress
        .iter()
        .map(|pair| pair.now)
        .fold(ingress.now, Instant::max);
    let mut source = Source::<C>::new();
    let mut packets = Vec::new();
    let mut arrived_packets = Vec::new();
    let mut to_relay = Vec::new();
    let mut to_publisher = Vec::new();
    let mut down: Vec<Vec<C::Datagram>> = egress.iter().map(|_| Vec::new()).collect();
    let mut up: Vec<Vec<C::Datagram>> = egress.iter().map(|_| Vec::new()).collect();
    let [first, second] = ingress.addrs();
    let mut run = |count: u64| {
        let mut spent = Duration::ZERO;
        let mut arrived = 0;
        for _ in 0..count / BATCH {
            now += PERIOD;
            fire(&mut ingress.a, now);
            source.write(&mut ingress.a, now);
            ingress.a.transmit(now, &mut to_relay);

            let start = ThreadTime::now();
            let relay = &mut ingress.b;
            fire(relay, now);
            relay.receive(now, first, &mut to_relay);
            relay.take(&mut packets);
            relay.transmit(now, &mut to_publisher);
            for ((pair, down), up) in egress.iter_mut().zip(&mut down).zip(&mut up) {
                let peer = &mut pair.a;
                fire(peer, now);
                if !up.is_empty() {
                    peer.receive(now, second, up);
                }
                for packet in &packets {
                    peer.forward(now, relay, packet);
                }
                peer.transmit(now, down);
            }
            packets.clear();
            spent += start.elapsed();

            if !to_publisher.is_empty() {
                ingress.a.receive(now, second, &mut to_publisher);
            }
            for ((pair, down), up) in egress.iter_mut().zip(&mut down).zip(&mut up) {
                fire(&mut pair.b, now);
                pair.b.receive(now, first, down);
                pair.b.take(&mut arrived_packets);
                arrived += arrived_packets.len() as u64;
                arrived_packets.clear();
                pair.b.transmit(now, up);
            }
        }
        (spent, arrived)
    };
    run(count / 16);
    let (spent, arrived) = run(count);
    let out = count / BATCH * BATCH * SUBSCRIBERS as u64;
    assert_eq!(arrived, out, "{}: packets arrived", C::NAME);
    (count * SUBSCRIBERS as u64) as f64 / 1e6 / spent.as_secs_f64()
}

fn connected<C: Media>(care: Care) -> Pair<C> {
    let mut pair = Pair::<C>::made(|addr, _, now| C::with_care(addr, care, now));
    pair.a.add_video();
    pair.negotiate();
    pair.open();
    pair
}

fn fire<C: Connection>(peer: &mut C, now: Instant) {
    if peer.timeout().is_some_and(|deadline| deadline <= now) {
        peer.handle_timeout(now);
    }
}

/// Writes a batch of packets at a time, frames of which have a batch each.
struct Source<C: Media> {
    payload: C::Payload,
    next: u64,
}

impl<C: Media> Source<C> {
    fn new() -> Self {
        let mut payload = vec![0xa5; PAYLOAD];
        // A payload descriptor of VP8: this begins a frame.
        payload[0] = 0x10;
        Self {
            payload: C::payload(&payload),
            next: 0,
        }
    }

    fn write(&mut self, peer: &mut C, now: Instant) {
        let timestamp = (self.next / BATCH) as u32 * 90;
        for _ in 0..BATCH {
            peer.write(now, self.next, timestamp, &self.payload);
            self.next += 1;
        }
    }
}

/// With headers, a packet of about 1,200 bytes.
const PAYLOAD: usize = 1_176;
/// Packets written at once.
const BATCH: u64 = 16;
/// Time between batches.
const PERIOD: Duration = Duration::from_millis(1);
/// Subscribers of the relay.
pub const SUBSCRIBERS: usize = 50;
