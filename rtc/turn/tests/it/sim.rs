use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc_crypto::ring::PROVIDER;
use rtc_shared::{FiveTuple, Rng, TransportProtocol};
use rtc_turn::server::{RelayId, Server, ServerConfig, ServerEvent, ServerReceived, StaticUsers};
use rtc_turn::{
    Client, ClientConfig, ClientState, Credentials, Encapsulation, Event, Received, StreamSplitter,
};

pub(crate) const SERVER: &str = "85.10.0.1:3478";
/// A peer somewhere on the Internet.
pub(crate) const PEER: &str = "93.184.216.34:7000";
pub(crate) const REALM: &str = "example.org";

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of a test"
)]
pub(crate) fn origin() -> Instant {
    Instant::now()
}

pub(crate) fn users() -> StaticUsers {
    let mut users = StaticUsers::new(&PROVIDER, REALM);
    users.insert("user", "pass").unwrap();
    users.insert("other", "word").unwrap();
    users
}

pub(crate) fn server_with(config: ServerConfig, now: Instant) -> Server {
    let rng = Rng::from_seed([77; 32]);
    Server::new(
        config,
        Box::new(users()),
        &PROVIDER,
        rng,
        now,
        secs(1_800_000_000),
    )
    .unwrap()
}

pub(crate) fn client_config() -> ClientConfig {
    ClientConfig::with_credentials(Credentials::new("user", "pass"))
}

pub(crate) fn udp(local: &str) -> FiveTuple {
    FiveTuple {
        local_addr: addr(local),
        peer_addr: addr(SERVER),
        transport_protocol: TransportProtocol::UDP,
    }
}

pub(crate) fn tcp(local: &str) -> FiveTuple {
    FiveTuple {
        transport_protocol: TransportProtocol::TCP,
        ..udp(local)
    }
}

/// The path as the other side has it.
pub(crate) fn mirrored(path: FiveTuple) -> FiveTuple {
    FiveTuple {
        local_addr: path.peer_addr,
        peer_addr: path.local_addr,
        ..path
    }
}

/// Wraps a payload as the owner does it.
pub(crate) fn wrap(form: &Encapsulation, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; form.prefix_len()];
    assert!(form.write_prefix(payload.len(), &mut out));
    out.extend_from_slice(payload);
    out.resize(form.wire_len(payload.len()), 0);
    out
}

/// A client with its end of the network.
pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) events: Vec<Event>,
    /// Peer, relayed address, payload.
    pub(crate) received: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    pub(crate) sent: usize,
    at_client: StreamSplitter,
    at_server: StreamSplitter,
}

enum Packet {
    Server(usize, Vec<u8>),
    Client(usize, Vec<u8>),
    Peer(SocketAddr, SocketAddr, Vec<u8>),
    Relay(SocketAddr, SocketAddr, Vec<u8>),
}

/// One server, its clients, and peers that only listen, in virtual time.
pub(crate) struct Sim {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) server: Server,
    pub(crate) server_events: Vec<ServerEvent>,
    pub(crate) nodes: Vec<Node>,
    /// Relayed address, peer, payload.
    pub(crate) at_peers: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    pub(crate) relays: BTreeMap<RelayId, SocketAddr>,
    pub(crate) loss: f64,
    pub(crate) duplicates: f64,
    pub(crate) jitter: Duration,
    /// Between client and server, in both directions, at most so many go.
    pub(crate) server_is_dead: bool,
    pub(crate) refuse_relays: bool,
    rng: Rng,
    queue: BTreeMap<(Instant, u64), Packet>,
    sequence: u64,
    next_port: u16,
}

impl Sim {
    pub(crate) fn new(seed: u64, config: ServerConfig) -> Self {
        println!("seed {seed}");
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let now = origin();
        Self {
            now,
            start: now,
            server: server_with(config, now),
            server_events: Vec::new(),
            nodes: Vec::new(),
            at_peers: Vec::new(),
            relays: BTreeMap::new(),
            loss: 0.0,
            duplicates: 0.0,
            jitter: Duration::ZERO,
            server_is_dead: false,
            refuse_relays: false,
            rng: Rng::from_seed(bytes),
            queue: BTreeMap::new(),
            sequence: 0,
            next_port: 50_000,
        }
    }

    /// One client over UDP that has its allocation.
    pub(crate) fn allocated(seed: u64) -> Self {
        let mut sim = Self::new(seed, ServerConfig::new(REALM));
        sim.add(client_config(), udp("198.51.100.1:5000"));
        sim.run(secs(1));
        assert_eq!(sim.nodes[0].client.state(), ClientState::Allocated);
        sim
    }

    pub(crate) fn add(&mut self, config: ClientConfig, path: FiveTuple) -> usize {
        let rng = self.rng.fork();
        self.nodes.push(Node {
            client: Client::new(config, &PROVIDER, rng, path, self.now),
            events: Vec::new(),
            received: Vec::new(),
            sent: 0,
            at_client: StreamSplitter::default(),
            at_server: StreamSplitter::default(),
        });
        self.nodes.len() - 1
    }

    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.nodes[0].client
    }

    pub(crate) fn relayed(&self, index: usize) -> SocketAddr {
        let events = &self.nodes[index].events;
        let relayed = events.iter().find_map(|event| match event {
            Event::Allocated { relayed, .. } => Some(*relayed),
            _ => None,
        });
        relayed.expect("allocated")
    }

    /// Sends data to a peer; false when the client does not take it.
    pub(crate) fn send(&mut self, index: usize, peer: SocketAddr, payload: &[u8]) -> bool {
        self.flush(index);
        let client = &mut self.nodes[index].client;
        let prefix_len = client.prefix_len(peer);
        let form = client.encapsulate(peer);
        assert_eq!(form.map(|form| form.prefix_len()), prefix_len);
        let Some(form) = form else {
            return false;
        };
        let message = wrap(&form, payload);
        self.send_to_server(index, message);
        true
    }

    /// A peer sends data to a relayed address.
    pub(crate) fn peer_sends(&mut self, peer: SocketAddr, relayed: SocketAddr, payload: &[u8]) {
        self.enqueue(ms(10), Packet::Relay(peer, relayed, payload.to_vec()));
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
        self.now = end;
    }

    /// Runs until a condition holds; false when the time is over.
    pub(crate) fn run_while(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + time;
        self.run_until(end, done)
    }

    fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            for index in 0..self.nodes.len() {
                self.flush(index);
            }
            self.flush_server();
            if done(self) {
                return true;
            }
            let timeouts = self
                .nodes
                .iter()
                .filter_map(|node| node.client.poll_timeout());
            let packet = self.queue.keys().next().map(|&(at, _)| at);
            let next = timeouts
                .chain(self.server.poll_timeout())
                .chain(packet)
                .min();
            let Some(next) = next.filter(|&next| next <= end) else {
                return false;
            };
            self.now = self.now.max(next);
            self.deliver();
            for node in &mut self.nodes {
                if node.client.poll_timeout().is_some_and(|at| at <= self.now) {
                    node.client.handle_timeout(self.now);
                    let next = node.client.poll_timeout();
                    assert!(next.is_none_or(|at| at > self.now), "client makes progress");
                }
            }
            if self.server.poll_timeout().is_some_and(|at| at <= self.now) {
                self.server.handle_timeout(self.now);
                let next = self.server.poll_timeout();
                assert!(next.is_none_or(|at| at > self.now), "server makes progress");
            }
        }
    }

    fn deliver(&mut self) {
        while let Some((&key, _)) = self
            .queue
            .first_key_value()
            .filter(|((at, _), _)| *at <= self.now)
        {
            match self.queue.remove(&key).unwrap() {
                Packet::Server(index, data) => self.at_server(index, &data),
                Packet::Client(index, data) => self.at_client(index, &data),
                Packet::Peer(relayed, peer, data) => match self.relay_at(peer) {
                    // A relay may be the peer of another.
                    Some(_) => self.at_relay(relayed, peer, &data),
                    None => self.at_peers.push((relayed, peer, data)),
                },
                Packet::Relay(peer, relayed, data) => self.at_relay(peer, relayed, &data),
            }
        }
    }

    fn at_server(&mut self, index: usize, data: &[u8]) {
        if self.server_is_dead {
            return;
        }
        let client = mirrored(self.nodes[index].client.path());
        if client.transport_protocol == TransportProtocol::UDP {
            return self.message_at_server(client, data);
        }
        self.nodes[index].at_server.extend(data);
        while let Some(frame) = self.nodes[index].at_server.next_frame().unwrap() {
            self.message_at_server(client, &frame);
        }
    }

    fn message_at_server(&mut self, client: FiveTuple, message: &[u8]) {
        match self.server.handle_datagram(self.now, client, message) {
            ServerReceived::ToPeer {
                relay,
                peer,
                payload,
            } => {
                let relayed = self.relays[&relay];
                self.enqueue(
                    ms(10),
                    Packet::Peer(relayed, peer, message[payload].to_vec()),
                );
            }
            ServerReceived::Consumed => {}
            ServerReceived::Unrecognized => panic!("clients send STUN and ChannelData"),
        }
    }

    fn at_client(&mut self, index: usize, data: &[u8]) {
        let node = &mut self.nodes[index];
        let path = node.client.path();
        let frames = match path.transport_protocol {
            TransportProtocol::UDP => vec![data.to_vec()],
            TransportProtocol::TCP => {
                node.at_client.extend(data);
                std::iter::from_fn(|| node.at_client.next_frame().unwrap())
                    .map(|frame| frame.to_vec())
                    .collect()
            }
        };
        for frame in frames {
            match node
                .client
                .handle_datagram(self.now, path.peer_addr, &frame)
            {
                Received::Data {
                    peer,
                    relayed,
                    payload,
                } => {
                    node.received.push((peer, relayed, frame[payload].to_vec()));
                }
                Received::Consumed => {}
                Received::NotMine => panic!("the server sends nothing else"),
            }
        }
    }

    fn relay_at(&self, relayed: SocketAddr) -> Option<RelayId> {
        let mut relays = self.relays.iter();
        relays
            .find(|(_, address)| **address == relayed)
            .map(|(&relay, _)| relay)
    }

    fn at_relay(&mut self, peer: SocketAddr, relayed: SocketAddr, data: &[u8]) {
        let Some(relay) = self.relay_at(relayed) else {
            return;
        };
        if let Some(out) = self
            .server
            .handle_peer_datagram(self.now, relay, peer, data.len())
        {
            let index = self.index_of(out.client);
            self.send_to_client(index, wrap(&out.encapsulation, data));
        }
    }

    fn index_of(&self, client: FiveTuple) -> usize {
        let mut nodes = self.nodes.iter();
        nodes
            .position(|node| mirrored(node.client.path()) == client)
            .expect("a client of ours")
    }

    fn flush(&mut self, index: usize) {
        while let Some(out) = self.nodes[index].client.poll_transmit() {
            assert_eq!(out.transport.five_tuple(), self.nodes[index].client.path());
            self.send_to_server(index, out.message.to_vec());
        }
        while let Some(event) = self.nodes[index].client.poll_event() {
            self.nodes[index].events.push(event);
        }
    }

    fn flush_server(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match &event {
                ServerEvent::BindRelay { relay, .. } if self.refuse_relays => {
                    self.server.relay_failed(self.now, *relay);
                }
                ServerEvent::BindRelay {
                    relay, even_port, ..
                } => {
                    self.next_port += 1;
                    if *even_port {
                        self.next_port = self.next_port.next_multiple_of(2);
                    }
                    let ip = match relay.family() {
                        rtc_stun::AddressFamily::Ipv4 => addr(SERVER).ip(),
                        rtc_stun::AddressFamily::Ipv6 => "2a00::1".parse().unwrap(),
                    };
                    let address = SocketAddr::new(ip, self.next_port);
                    self.relays.insert(*relay, address);
                    self.server.relay_bound(self.now, *relay, address);
                }
                ServerEvent::CloseRelay(relay) => {
                    self.relays.remove(relay).expect("was bound");
                }
                _ => {}
            }
            self.server_events.push(event);
        }
        while let Some(out) = self.server.poll_transmit() {
            let index = self.index_of(out.transport.five_tuple());
            self.send_to_client(index, out.message.to_vec());
        }
    }

    fn send_to_server(&mut self, index: usize, message: Vec<u8>) {
        self.nodes[index].sent += 1;
        self.transmit(index, message, Packet::Server);
    }

    fn send_to_client(&mut self, index: usize, message: Vec<u8>) {
        if !self.server_is_dead {
            self.transmit(index, message, Packet::Client);
        }
    }

    fn transmit(&mut self, index: usize, message: Vec<u8>, packet: fn(usize, Vec<u8>) -> Packet) {
        if self.nodes[index].client.path().transport_protocol == TransportProtocol::TCP {
            let mut rest = &message[..];
            while !rest.is_empty() {
                let cut = 1 + self.rng.below(rest.len() as u32) as usize;
                let (piece, after) = rest.split_at(cut);
                rest = after;
                self.enqueue(ms(10), packet(index, piece.to_vec()));
            }
            return;
        }
        let copies = 1 + usize::from(self.rng.unit() < self.duplicates);
        for _ in 0..copies {
            if self.rng.unit() >= self.loss {
                let jitter = self.jitter.mul_f64(self.rng.unit());
                self.enqueue(ms(10) + jitter, packet(index, message.clone()));
            }
        }
    }

    fn enqueue(&mut self, delay: Duration, packet: Packet) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), packet);
    }
}
