//! Two associations and a network between them, in virtual time.

#![allow(
    clippy::field_reassign_with_default,
    reason = "configurations are set as users of the crate have to"
)]

mod close;
mod partial;
mod robustness;
mod setup;
mod speed;
mod streams;
mod transfer;
mod window;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc_shared::Rng;

use crate::cookie::Key;
use crate::{Association, Config, Event, Message, SendOptions, State, wire};

const MS: Duration = Duration::from_millis(1);

/// One direction of the network.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// Packets lost and duplicated, per mille.
    loss: u32,
    duplicate: u32,
    delay: Duration,
    /// Up to so much is added at random, which reorders.
    jitter: Duration,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            loss: 0,
            duplicate: 0,
            delay: 10 * MS,
            jitter: Duration::ZERO,
        }
    }
}

impl Link {
    fn lossy(loss: u32) -> Self {
        Self {
            loss,
            ..Self::default()
        }
    }
}

struct Sim {
    now: Instant,
    /// The two ends; what `ends[0]` sends goes over `links[0]`.
    ends: [Association; 2],
    links: [Link; 2],
    rng: Rng,
    /// By arrival and order of sending: the receiving end and the packet.
    network: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sent: u64,
    events: [Vec<Event>; 2],
    messages: [Vec<Message>; 2],
    /// Whether messages are read as they come.
    reads: [bool; 2],
    /// Every packet sent, by end.
    log: Option<Vec<(usize, Vec<u8>)>>,
    /// What the network does not let through.
    filter: Option<Filter>,
}

/// Says whether a packet of an end passes.
type Filter = Box<dyn FnMut(usize, &[u8]) -> bool>;

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time needs some instant to start from"
)]
fn some_instant() -> Instant {
    Instant::now()
}

fn rng(seed: u64) -> Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Rng::from_seed(bytes)
}

/// An association whose counters are given.
fn with_counters(config: Config, now: Instant, tag: u32, tsn: u32) -> Association {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&tag.to_le_bytes());
    Association::with_counters(config, now, Key::new(key), tag, tsn)
}

impl Sim {
    fn new(seed: u64, link: Link) -> Self {
        Self::with_config(seed, link, [Config::default(), Config::default()])
    }

    fn with_config(seed: u64, link: Link, configs: [Config; 2]) -> Self {
        println!("seed {seed}");
        let now = some_instant();
        let mut rng = rng(seed);
        let ends = configs.map(|config| Association::new(config, now, rng.fork()));
        Self::with_ends(now, ends, link, rng)
    }

    fn with_ends(now: Instant, ends: [Association; 2], link: Link, rng: Rng) -> Self {
        Self {
            now,
            ends,
            links: [link; 2],
            rng,
            network: BTreeMap::new(),
            sent: 0,
            events: [Vec::new(), Vec::new()],
            messages: [Vec::new(), Vec::new()],
            reads: [true; 2],
            log: None,
            filter: None,
        }
    }

    /// A pair that is up, over a perfect link of 10 ms.
    fn connected(configs: [Config; 2]) -> Self {
        let mut sim = Self::with_config(1, Link::default(), configs);
        sim.connect();
        sim
    }

    fn connect(&mut self) {
        for end in &mut self.ends {
            end.connect(self.now);
        }
        self.run_until(30 * 1000 * MS, |sim| {
            sim.ends.iter().all(|end| end.state() == State::Established)
        });
        for events in &mut self.events {
            assert_eq!(events.first(), Some(&Event::Connected));
            events.clear();
        }
    }

    /// Lets both ends write, read and tell.
    fn settle(&mut self) {
        while self.settle_once() {}
    }

    /// True when reading has given an end something to write.
    fn settle_once(&mut self) -> bool {
        for index in 0..2 {
            loop {
                let end = &mut self.ends[index];
                let wanted = end.wants_transmit();
                let mut packet = vec![0xaa; 3];
                let Some(length) = end.poll_transmit(self.now, &mut packet, 1200) else {
                    assert!(!end.wants_transmit(), "wanted to transmit and did not");
                    break;
                };
                assert!(wanted, "transmitted unasked");
                assert_eq!(packet.len(), length + 3);
                assert_eq!(packet[..3], [0xaa; 3]);
                packet.drain(..3);
                assert!(length <= end.config.max_packet_size);
                for chunk in wire::Chunks::of_packet(&packet) {
                    wire::Chunk::parse(chunk.unwrap()).unwrap();
                }
                self.carry(index, packet);
            }
            while let Some(event) = self.ends[index].poll_event() {
                self.events[index].push(event);
            }
            while self.reads[index] {
                let Some(message) = self.ends[index].read() else {
                    break;
                };
                self.messages[index].push(message);
            }
        }
        self.ends.iter().any(Association::wants_transmit)
    }

    fn carry(&mut self, from: usize, packet: Vec<u8>) {
        if let Some(log) = &mut self.log {
            log.push((from, packet.clone()));
        }
        if self
            .filter
            .as_mut()
            .is_some_and(|filter| !filter(from, &packet))
        {
            return;
        }
        let link = self.links[from];
        if self.rng.below(1000) < link.loss {
            return;
        }
        let copies = 1 + u32::from(self.rng.below(1000) < link.duplicate);
        for _ in 0..copies {
            let jitter = link.jitter.mul_f64(self.rng.unit());
            self.sent += 1;
            let arrival = self.now + link.delay + jitter;
            self.network
                .insert((arrival, self.sent), (1 - from, packet.clone()));
        }
    }

    /// Goes to the next thing that happens; false when nothing ever will, or not before `limit`.
    fn step(&mut self, limit: Instant) -> bool {
        self.settle();
        let arrival = self.network.first_key_value().map(|(&(at, _), _)| at);
        let timeout = self.ends.iter().filter_map(Association::poll_timeout).min();
        let Some(next) = arrival.into_iter().chain(timeout).min() else {
            return false;
        };
        if next > limit {
            self.now = limit;
            return false;
        }
        self.now = self.now.max(next);
        for end in &mut self.ends {
            end.handle_timeout(self.now);
            assert!(
                end.poll_timeout().is_none_or(|at| at > self.now),
                "timeout without progress"
            );
        }
        while let Some(entry) = self.network.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (to, packet) = entry.remove();
            self.ends[to].handle_packet(self.now, BytesMut::from(&packet[..]));
        }
        self.settle();
        true
    }

    fn run(&mut self, time: Duration) {
        let limit = self.now + time;
        while self.step(limit) {}
        self.now = limit;
        self.settle();
    }

    /// Runs until `done`, which must happen within `time`.
    fn run_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) {
        let limit = self.now + time;
        self.settle();
        while !done(self) {
            assert!(
                self.step(limit),
                "not done in time: {:?}",
                self.ends
                    .each_ref()
                    .map(|end| { (end.state(), end.stats(), end.total_buffered()) })
            );
        }
    }

    fn idle(&self) -> bool {
        self.ends
            .iter()
            .all(|end| end.outstanding.is_empty() && end.total_buffered() == 0)
    }

    fn send(&mut self, from: usize, stream: u16, payload: impl Into<Bytes>) {
        self.ends[from]
            .send(stream, 53, payload.into(), SendOptions::default())
            .unwrap();
    }

    fn take_events(&mut self, end: usize) -> Vec<Event> {
        self.settle();
        std::mem::take(&mut self.events[end])
    }

    fn take_messages(&mut self, end: usize) -> Vec<Vec<u8>> {
        self.settle();
        std::mem::take(&mut self.messages[end])
            .into_iter()
            .map(|message| message.payload.to_vec())
            .collect()
    }
}

/// A message that tells its number and is so long.
fn numbered(number: u32, length: usize) -> Bytes {
    let mut bytes: Vec<u8> = number.to_be_bytes().to_vec();
    bytes.extend((4..length).map(|at| (at as u32).wrapping_mul(31).wrapping_add(number) as u8));
    bytes.into()
}

/// The number of such a message, whose content is checked.
fn number_of(payload: &[u8]) -> u32 {
    let number = u32::from_be_bytes(payload[..4].try_into().unwrap());
    assert_eq!(
        numbered(number, payload.len()),
        payload,
        "content of message {number}"
    );
    number
}

/// The chunk types of a packet.
fn kinds(packet: &[u8]) -> Vec<u8> {
    wire::Chunks::of_packet(packet)
        .map(|chunk| chunk.unwrap().kind)
        .collect()
}

/// A packet made of chunks.
fn packet(tag: u32, chunks: &[wire::Chunk<'_>]) -> BytesMut {
    let mut out = Vec::new();
    wire::Header {
        source_port: 5000,
        destination_port: 5000,
        verification_tag: tag,
        checksum: 0,
    }
    .write(&mut out);
    for chunk in chunks {
        chunk.write(&mut out);
    }
    wire::seal(&mut out, 0);
    BytesMut::from(&out[..])
}
