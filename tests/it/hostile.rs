//! A third party sends to both peers whatever it likes: nothing panics, nothing is lost, nothing
//! grows, and the connection stays up.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use rtc::data_channel::RTCDataChannelState;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::sansio::Protocol;
use rtc::shared::{Rng, TaggedBytesMut, TransportContext, TransportProtocol};
use rtc::statistics::{RTCStats, StatsSelector};
use rtc_tests::sim::{Link, Side, Simulation, Tap};

use crate::corpus::entries;
use crate::seeds::{for_each_seed, rng_of};

/// Where the attacker's datagrams seem to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Addresses that are no peer's.
    Elsewhere,
    /// The address of the other peer.
    Spoofed,
}

/// What the attacker does not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restraint {
    None,
    /// Nothing that could pass for an unprotected part of a DTLS handshake.
    NoPlainDtls,
}

/// Somebody who hears every datagram, is faster than the link, and has a collection of bad ones.
struct Attacker {
    rng: Rng,
    source: Source,
    restraint: Restraint,
    /// How many datagrams it still sends.
    budget: usize,
}

impl Attacker {
    fn new(seed: u64, source: Source, budget: usize) -> Self {
        let rng = rng_of(seed ^ 0xbad);
        Self {
            rng,
            source,
            restraint: Restraint::None,
            budget,
        }
    }

    /// Called all the time; sends something now and then.
    fn act(&mut self, sim: &mut Simulation) {
        if self.budget > 0 && self.rng.below(100) < 40 {
            self.budget -= 1;
            self.send(sim);
        }
    }

    fn send(&mut self, sim: &mut Simulation) {
        let (mut to, datagram) = self.datagram(sim.tap.as_ref());
        if self.rng.below(8) == 0 {
            to = to.other();
        }
        if self.restraint == Restraint::NoPlainDtls && is_plain_dtls(&datagram) {
            return;
        }
        let peer = sim.peer(to.other()).addr;
        let from = match self.source {
            Source::Spoofed => peer,
            Source::Elsewhere => match self.rng.below(4) {
                0 => SocketAddr::new(peer.ip(), peer.port() + 1),
                1 => sim.peer(to).addr,
                2 => SocketAddr::from(([10, 0, 0, 66], 5000)),
                _ => SocketAddr::from((self.rng.array::<4>(), self.rng.u16())),
            },
        };
        let delay = Duration::from_millis(u64::from(self.rng.below(60)));
        sim.inject(to, from, datagram, delay);
    }

    fn datagram(&mut self, tap: Option<&Tap>) -> (Side, Vec<u8>) {
        let heard = tap.map(Tap::heard).filter(|heard| !heard.is_empty());
        let side = if self.rng.below(2) == 0 {
            Side::A
        } else {
            Side::B
        };
        match (self.rng.below(10), heard) {
            (0, _) => (side, self.random()),
            (1 | 2, _) | (_, None) => {
                let corpus = entries();
                let mut datagram = corpus[self.rng.below(corpus.len() as u32) as usize].clone();
                if self.rng.below(2) == 0 {
                    self.mutate(&mut datagram);
                }
                (side, datagram)
            }
            (kind, Some(heard)) => {
                let pick = |rng: &mut Rng| &heard[rng.below(heard.len() as u32) as usize];
                let (to, mut datagram) = pick(&mut self.rng).clone();
                match kind {
                    // As it is.
                    3 | 4 => {}
                    5 => {
                        let (_, other) = pick(&mut self.rng);
                        let cut = self.rng.below(datagram.len() as u32 + 1) as usize;
                        let from = self.rng.below(other.len() as u32 + 1) as usize;
                        datagram.truncate(cut);
                        datagram.extend_from_slice(&other[from..]);
                    }
                    _ => self.mutate(&mut datagram),
                }
                (to, datagram)
            }
        }
    }

    fn random(&mut self) -> Vec<u8> {
        let bound = [1, 2, 13, 21, 64, 600, 1500, 9000][self.rng.below(8) as usize];
        let mut bytes = vec![0; self.rng.below(bound) as usize];
        self.rng.fill(&mut bytes);
        bytes
    }

    fn mutate(&mut self, datagram: &mut Vec<u8>) {
        for _ in 0..=self.rng.below(3) {
            let length = datagram.len() as u32;
            match self.rng.below(6) {
                0 => datagram.truncate(self.rng.below(length + 1) as usize),
                1 => datagram.extend_from_slice(&self.random()),
                2 => {
                    let copy = datagram.clone();
                    datagram.extend_from_slice(&copy);
                }
                // Headers, where types, lengths, epochs and sequence numbers are.
                3 if length > 0 => {
                    let at = self.rng.below(length.min(32)) as usize;
                    datagram[at] =
                        [0, 1, 0x7f, 0x80, 0xff, self.rng.u16() as u8][self.rng.below(6) as usize];
                }
                _ if length > 0 => {
                    let at = self.rng.below(length) as usize;
                    datagram[at] ^= 1 << self.rng.below(8);
                }
                _ => {}
            }
        }
    }
}

/// A datagram with a record of epoch 0 in the range of DTLS.
fn is_plain_dtls(datagram: &[u8]) -> bool {
    let starts = |at: usize| matches!(datagram.get(at..at + 5), Some([20..=63, _, _, 0, 0]));
    (0..datagram.len()).any(starts)
}

fn content(seed: u64, index: usize) -> BytesMut {
    let length = 1 + (seed as usize * 131 + index * 977) % 3000;
    (0..length)
        .map(|offset| (seed as usize + index * 31 + offset * 7) as u8)
        .collect()
}

/// Whatever a stranger did, these stay small.
fn assert_bounded(connection: &RTCPeerConnection, context: &str) {
    let report = connection.get_stats(StatsSelector::None);
    let count = |is: fn(&RTCStats) -> bool| report.iter().filter(|(_, stats)| is(stats)).count();
    let pairs = count(|stats| matches!(stats, RTCStats::CandidatePair(_)));
    let locals = count(|stats| matches!(stats, RTCStats::LocalCandidate(_)));
    let remotes = count(|stats| matches!(stats, RTCStats::RemoteCandidate(_)));
    assert!(pairs <= 20, "{context}: {pairs} pairs");
    assert!(locals <= 1, "{context}: {locals} local candidates");
    assert!(remotes <= 20, "{context}: {remotes} remote candidates");
}

/// Two peers that send each other numbered messages.
struct Conversation {
    seed: u64,
    sim: Simulation,
    sent: [usize; 2],
    count: usize,
}

impl Conversation {
    fn new(seed: u64, count: usize) -> Self {
        let mut rng = rng_of(seed);
        let latency = Duration::from_millis(u64::from(5 + rng.below(40)));
        let mut link =
            Link::new(latency).with_jitter(Duration::from_millis(u64::from(rng.below(10))));
        link.in_order = false;
        let mut sim = Simulation::new(seed, link).unwrap();
        sim.tap = Some(Tap::default());
        sim.a.connection.create_data_channel("x", None).unwrap();
        Self {
            seed,
            sim,
            sent: [0; 2],
            count,
        }
    }

    /// Runs until both sides are up or one has failed, under attack.
    fn connect(&mut self, attacker: &mut Attacker) -> bool {
        self.sim.run(Duration::from_secs(60), |sim| {
            attacker.act(sim);
            let states = [&sim.a, &sim.b].map(|peer| peer.connection.connection_state());
            states
                .iter()
                .all(|state| *state == RTCPeerConnectionState::Connected)
        })
    }

    /// Runs until all messages have arrived both ways, under attack.
    fn talk(&mut self, attacker: &mut Attacker) {
        let Self {
            seed,
            sim,
            sent,
            count,
        } = self;
        let (seed, count) = (*seed, *count);
        let done = sim.run(Duration::from_secs(120), |sim| {
            attacker.act(sim);
            for (side, sent) in [Side::A, Side::B].into_iter().zip(sent.iter_mut()) {
                let peer = sim.peer(side);
                let Some(id) = peer.open_channels().first().copied() else {
                    continue;
                };
                let Some(mut channel) = peer.connection.data_channel(id) else {
                    continue;
                };
                while *sent < count
                    && channel.ready_state() == RTCDataChannelState::Open
                    && channel.buffered_amount() < 4000
                {
                    channel.send(content(seed, *sent)).unwrap();
                    *sent += 1;
                }
            }
            sim.a.messages.len() >= count && sim.b.messages.len() >= count
        });
        let arrived = [sim.a.messages.len(), sim.b.messages.len()];
        assert!(
            done,
            "seed {seed}: {arrived:?} of {count} messages arrived, {:?} {:?}",
            sim.a.connection, sim.b.connection
        );
        // What the attacker still has under way.
        sim.run(Duration::from_secs(1), |_| false);
        for peer in [&sim.a, &sim.b] {
            assert_eq!(peer.messages.len(), count, "seed {seed}");
            for (index, message) in peer.messages.iter().enumerate() {
                let RTCMessage::DataChannelMessage(_, message) = message else {
                    panic!()
                };
                assert_eq!(
                    message.data,
                    content(seed, index),
                    "seed {seed}: message {index}"
                );
            }
        }
    }

    fn assert_up(&self) {
        let context = format!("seed {}", self.seed);
        for peer in [&self.sim.a, &self.sim.b] {
            let state = peer.connection.connection_state();
            assert_eq!(state, RTCPeerConnectionState::Connected, "{context}");
            assert_bounded(&peer.connection, &context);
            assert_eq!(peer.connection.last_error(), None, "{context}");
        }
    }
}

/// Before negotiation, during the handshake and while data flows.
fn strangers(seed: u64) {
    let mut attacker = Attacker::new(seed, Source::Elsewhere, 400);
    let mut talk = Conversation::new(seed, 40);
    for _ in 0..40 {
        attacker.send(&mut talk.sim);
    }
    talk.sim.run(Duration::from_secs(1), |_| false);
    talk.sim.negotiate().unwrap();
    assert!(talk.connect(&mut attacker), "seed {seed}: connects");
    talk.talk(&mut attacker);
    talk.assert_up();
    // Nobody can have us send much to an address that has not asked for it.
    let strayed = talk.sim.strayed;
    assert!(
        strayed < 100_000,
        "seed {seed}: {strayed} bytes went to strangers"
    );
}

#[test]
fn strangers_do_no_harm_at_any_time() {
    for_each_seed(300, strangers);
}

fn forger_of_data(seed: u64) {
    let mut attacker = Attacker::new(seed, Source::Spoofed, 400);
    attacker.restraint = Restraint::NoPlainDtls;
    let mut talk = Conversation::new(seed, 40);
    talk.sim.negotiate().unwrap();
    assert!(talk.connect(&mut attacker), "seed {seed}: connects");
    attacker.restraint = Restraint::None;
    talk.talk(&mut attacker);
    talk.assert_up();
}

#[test]
fn forged_datagrams_in_the_name_of_the_peer_do_no_harm_once_dtls_is_up() {
    for_each_seed(200, forger_of_data);
}

/// A forged ClientHello that is faster than the real one cannot be told from it; but the end is
/// known, on both sides.
fn forger_of_handshakes(seed: u64) {
    let mut attacker = Attacker::new(seed, Source::Spoofed, 400);
    let mut talk = Conversation::new(seed, 20);
    talk.sim.negotiate().unwrap();
    if talk.connect(&mut attacker) {
        talk.talk(&mut attacker);
        talk.assert_up();
        return;
    }
    for peer in [&mut talk.sim.a, &mut talk.sim.b] {
        assert_bounded(&peer.connection, &format!("seed {seed}"));
        peer.connection.close().unwrap();
    }
    talk.sim.run(Duration::from_secs(10), |_| false);
    assert!(talk.sim.a.connection.is_drained() && talk.sim.b.connection.is_drained());
}

#[test]
fn forged_handshakes_in_the_name_of_the_peer_lead_to_a_known_end() {
    for_each_seed(200, forger_of_handshakes);
}

fn deliver(sim: &mut Simulation, to: Side, from: SocketAddr, datagram: &[u8]) {
    let now = sim.now;
    let peer = sim.peer(to);
    let message = TaggedBytesMut {
        now,
        transport: TransportContext {
            local_addr: peer.addr,
            peer_addr: from,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        },
        message: BytesMut::from(datagram),
    };
    let result = peer.connection.handle_read(message);
    assert_eq!(
        result.is_err(),
        peer.connection.is_closed(),
        "junk is no error"
    );
}

/// Every bad datagram and every first byte at every length, in each state of a connection.
#[test]
fn every_kind_of_junk_in_every_state() {
    let mut sim = Simulation::new(1, Link::default()).unwrap();
    let mut rng = rng_of(1);
    let mut junk: Vec<Vec<u8>> = entries().to_vec();
    for first in 0..=u8::MAX {
        for length in [1, 2, 12, 13, 19, 20, 21, 28, 48, 100, 548, 1200, 1500] {
            let mut datagram = vec![0; length];
            rng.fill(&mut datagram);
            datagram[0] = first;
            junk.push(datagram);
        }
        junk.push([&[first][..], &[0; 31]].concat());
    }
    junk.push(Vec::new());
    for first in [0, 22, 23, 128] {
        junk.push(vec![first; 65_507]);
    }
    let stranger = SocketAddr::from(([10, 0, 0, 66], 6000));
    let throw_all = |sim: &mut Simulation| {
        for side in [Side::A, Side::B] {
            for from in [sim.peer(side.other()).addr, stranger] {
                for datagram in &junk {
                    deliver(sim, side, from, datagram);
                }
            }
        }
        sim.run(Duration::ZERO, |_| false);
        assert_bounded(&sim.a.connection, "a");
        assert_bounded(&sim.b.connection, "b");
    };
    throw_all(&mut sim);
    sim.a.connection.create_data_channel("x", None).unwrap();
    let offer = sim.a.connection.create_offer(None).unwrap();
    sim.a.connection.set_local_description(offer).unwrap();
    throw_all(&mut sim);
    // DTLS that came too early is counted, but for the little that is kept.
    let counters = sim.a.connection.counters();
    let dtls = junk
        .iter()
        .filter(|it| matches!(it.first(), Some(20..=63)))
        .count() as u64;
    assert!(counters.dropped_early >= 4 * dtls - 10, "{counters:?}");
    sim.negotiate().unwrap();
    assert!(
        sim.connect(Duration::from_secs(30)),
        "connects nevertheless"
    );
    throw_all(&mut sim);
    assert!(sim.run(Duration::from_secs(5), |sim| {
        !sim.a.open_channels().is_empty()
    }));
    let id = sim.a.open_channels()[0];
    sim.a
        .connection
        .data_channel(id)
        .unwrap()
        .send_text("still here")
        .unwrap();
    assert!(sim.run(Duration::from_secs(5), |sim| sim.b.messages.len() == 1));
    sim.a.connection.close().unwrap();
    throw_all(&mut sim);
}

/// Authentic checks, repeated from thousands of addresses by somebody who heard them.
#[test]
fn replayed_checks_from_many_addresses_leave_nothing_behind() {
    let mut talk = Conversation::new(3, 10);
    let mut port = 1024;
    let mut replay = |sim: &mut Simulation| {
        let heard = sim.tap.as_ref().unwrap().heard().clone();
        for (to, datagram) in heard
            .iter()
            .filter(|(_, datagram)| datagram.starts_with(&[0, 1]))
        {
            port += 1;
            let from = SocketAddr::from(([10, 0, 0, 66], port));
            deliver(sim, *to, from, datagram);
        }
        port
    };
    talk.sim.negotiate().unwrap();
    let up = talk.sim.run(Duration::from_secs(60), |sim| {
        replay(sim);
        let states = [&sim.a, &sim.b].map(|peer| peer.connection.connection_state());
        states
            .iter()
            .all(|state| *state == RTCPeerConnectionState::Connected)
    });
    assert!(up);
    while replay(&mut talk.sim) < 5000 {
        talk.sim.run(Duration::from_secs(1), |_| false);
    }
    talk.talk(&mut Attacker::new(0, Source::Elsewhere, 0));
    talk.assert_up();
}
