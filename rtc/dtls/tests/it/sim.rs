//! Two connections, a network between them that loses, delays and doubles datagrams, and a clock that
//! jumps from one event to the next. One seed gives one run.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_crypto::ring::PROVIDER;
use rtc_crypto::{Certificate, CertificateParams, HashAlgorithm, KeyAlgorithm};
use rtc_dtls::{Config, Connection, Event, Role, SRTP_EXPORTER_LABEL, State};
use rtc_shared::Rng;

pub(crate) const KEYS: [KeyAlgorithm; 4] = [
    KeyAlgorithm::EcdsaP256,
    KeyAlgorithm::EcdsaP384,
    KeyAlgorithm::Ed25519,
    KeyAlgorithm::Rsa,
];

/// A certificate of each key type and for each side, made once.
pub(crate) fn certificate(key: KeyAlgorithm, role: Role) -> Certificate {
    static MADE: OnceLock<Vec<Certificate>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let mut rng = Rng::from_seed([4; 32]);
        let mut make = |key: KeyAlgorithm| {
            if key == KeyAlgorithm::Rsa {
                return Certificate::from_pem(&PROVIDER, include_str!("../data/rsa2048.pem"))
                    .unwrap();
            }
            let mut params = CertificateParams::new(Duration::from_secs(1_767_225_600));
            params.key = key;
            Certificate::generate(&PROVIDER, &params, &mut rng).unwrap()
        };
        KEYS.into_iter().chain(KEYS).map(&mut make).collect()
    });
    let at = KEYS.iter().position(|it| *it == key).unwrap();
    made[at + if role == Role::Server { KEYS.len() } else { 0 }].clone()
}

/// Configurations of client and server that expect each other.
pub(crate) fn configs(client: KeyAlgorithm, server: KeyAlgorithm) -> [Config; 2] {
    let client = certificate(client, Role::Client);
    let server = certificate(server, Role::Server);
    let config = |ours: &Certificate, theirs: &Certificate| {
        let mut config = Config::new(&PROVIDER, ours.clone());
        config
            .peer_fingerprints
            .extend(theirs.fingerprint(HashAlgorithm::Sha256, &PROVIDER));
        config.initial_rtt = Some(Duration::from_millis(40));
        config
    };
    [config(&client, &server), config(&server, &client)]
}

pub(crate) fn default_configs() -> [Config; 2] {
    configs(KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP256)
}

/// What the network does to datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    pub(crate) loss: f64,
    pub(crate) duplication: f64,
    /// One-way delay, and how much is added to it at random, so that datagrams overtake each other.
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    pub(crate) mtu: usize,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            loss: 0.0,
            duplication: 0.0,
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            mtu: 1200,
        }
    }
}

struct Flying {
    at: Instant,
    to: usize,
    datagram: Vec<u8>,
}

pub(crate) struct Pair {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    /// Client, then server.
    pub(crate) peers: [Connection; 2],
    pub(crate) events: [Vec<Event>; 2],
    pub(crate) received: [Vec<Vec<u8>>; 2],
    /// Datagrams that each side sent, in order.
    pub(crate) sent: [Vec<Vec<u8>>; 2],
    pub(crate) network: Network,
    /// Datagrams to be lost for certain: side, and place among those that it sends.
    pub(crate) lost: Vec<(usize, usize)>,
    rng: Rng,
    flying: Vec<Flying>,
}

impl Pair {
    pub(crate) fn new(configs: [Config; 2], network: Network, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut rng = Rng::from_seed(bytes);
        let now = Instant::now();
        let [client, server] = configs;
        let peers = [
            Connection::new(client, Role::Client, now, rng.fork()).unwrap(),
            Connection::new(server, Role::Server, now, rng.fork()).unwrap(),
        ];
        Self {
            start: now,
            now,
            peers,
            events: Default::default(),
            received: Default::default(),
            sent: Default::default(),
            network,
            lost: Vec::new(),
            rng,
            flying: Vec::new(),
        }
    }

    /// Takes what both sides have to say and puts it on its way.
    pub(crate) fn settle(&mut self) {
        for from in 0..2 {
            while let Some(event) = self.peers[from].poll_event() {
                self.events[from].push(event);
            }
            let mut datagram = Vec::new();
            while let Some(length) =
                self.peers[from].poll_transmit(self.now, &mut datagram, self.network.mtu)
            {
                assert_eq!(length, datagram.len());
                assert!(length <= self.network.mtu && length > 0);
                self.send(from, std::mem::take(&mut datagram));
            }
            assert!(datagram.is_empty());
            assert!(!self.peers[from].wants_transmit());
        }
    }

    pub(crate) fn send(&mut self, from: usize, datagram: Vec<u8>) {
        let copies = 1 + usize::from(self.rng.unit() < self.network.duplication);
        for _ in 0..copies {
            let place = (from, self.sent[from].len());
            if self.rng.unit() >= self.network.loss && !self.lost.contains(&place) {
                let delay = self.network.delay + self.network.jitter.mul_f64(self.rng.unit());
                let datagram = datagram.clone();
                self.flying.push(Flying {
                    at: self.now + delay,
                    to: 1 - from,
                    datagram,
                });
            }
        }
        self.sent[from].push(datagram);
    }

    pub(crate) fn deliver(&mut self, to: usize, datagram: &[u8]) {
        let received = &mut self.received[to];
        self.peers[to].handle_datagram(self.now, BytesMut::from(datagram), &mut |data| {
            received.push(data.to_vec());
        });
    }

    /// Carries by hand, in turns, what each side sends: `change` makes of the datagrams of a turn those
    /// that the other side gets.
    pub(crate) fn carry(&mut self, mut change: impl FnMut(usize, &[Vec<u8>]) -> Vec<Vec<u8>>) {
        self.settle();
        let mut carried = [0, 0];
        for turn in 0..16 {
            let from = turn % 2;
            let changed = change(from, &self.sent[from][carried[from]..]);
            carried[from] = self.sent[from].len();
            for datagram in changed {
                self.deliver(1 - from, &datagram);
            }
            self.settle();
        }
    }

    /// Jumps to the next event; false when there is none before `until`.
    pub(crate) fn step(&mut self, until: Instant) -> bool {
        self.settle();
        let arrival = self.flying.iter().map(|flying| flying.at).min();
        let timers = self
            .peers
            .iter()
            .filter_map(|peer| peer.poll_timeout())
            .min();
        let Some(next) = arrival.into_iter().chain(timers).min() else {
            return false;
        };
        if next > until {
            return false;
        }
        self.now = self.now.max(next);
        let (due, later) = std::mem::take(&mut self.flying)
            .into_iter()
            .partition(|it: &Flying| it.at <= self.now);
        self.flying = later;
        for Flying { to, datagram, .. } in due {
            self.deliver(to, &datagram);
        }
        for peer in &mut self.peers {
            if peer.poll_timeout().is_some_and(|at| at <= self.now) {
                peer.handle_timeout(self.now);
                assert!(
                    peer.poll_timeout().is_none_or(|at| at > self.now),
                    "timers move on"
                );
            }
        }
        self.settle();
        true
    }

    /// Runs for at most `limit` of virtual time, until nothing is left to happen.
    pub(crate) fn run(&mut self, limit: Duration) {
        let until = self.now + limit;
        while self.step(until) {}
        self.now = until;
    }

    /// Runs until both are connected; returns how long it took.
    pub(crate) fn connect(&mut self, limit: Duration) -> Duration {
        let until = self.start + limit;
        self.settle();
        while !self.is_connected() {
            assert!(
                self.step(until),
                "not connected in {limit:?}: {:?} {:?}",
                self.peers,
                self.events
            );
        }
        self.now - self.start
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.peers
            .iter()
            .all(|peer| peer.state() == State::Connected)
    }

    /// Sends a datagram with one record for each of `messages`.
    pub(crate) fn write(&mut self, from: usize, messages: &[&[u8]]) {
        let datagram = sealed(&mut self.peers[from], messages);
        self.send(from, datagram);
    }

    /// Checks that both sides agree on everything and that data flows both ways.
    pub(crate) fn assert_works(&mut self) {
        let [client, server] = &self.peers;
        assert_eq!(client.cipher_suite(), server.cipher_suite());
        assert_eq!(client.srtp_profile(), server.srtp_profile());
        assert_eq!(client.group(), server.group());
        assert_eq!(client.key_log_line(), server.key_log_line());
        let keys = self.peers.each_ref().map(|peer| {
            let mut keys = [0; 88];
            peer.export_keying_material(SRTP_EXPORTER_LABEL, None, &mut keys)
                .unwrap();
            keys
        });
        assert_eq!(keys[0], keys[1]);
        let network = std::mem::take(&mut self.network);
        for (from, to) in [(0, 1), (1, 0)] {
            self.received[to].clear();
            self.write(from, &[b"one", b"", &[7; 900]]);
            self.write(from, &[b"two"]);
            self.run(Duration::from_millis(21));
            assert_eq!(
                self.received[to],
                [b"one".to_vec(), vec![7; 900], b"two".to_vec()]
            );
        }
        self.network = network;
    }
}

/// A datagram of application data.
pub(crate) fn sealed(peer: &mut Connection, messages: &[&[u8]]) -> Vec<u8> {
    let mut datagram = Vec::new();
    for message in messages {
        let record = peer.begin_record(&mut datagram).unwrap();
        let before = datagram.len();
        datagram.extend_from_slice(message);
        peer.finish_record(&mut datagram, record).unwrap();
        assert!(datagram.len() - before <= message.len() + peer.record_overhead());
    }
    datagram
}
