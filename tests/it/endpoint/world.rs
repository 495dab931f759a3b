//! One endpoint with many peers, many single connections against it, and the network between them.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::{Certificate, CertificateParams, default_provider};
use rtc::data_channel::RTCDataChannelId;
use rtc::endpoint::{Peer, RTCEndpoint, RTCEndpointEvent, RTCPeerId, RTCUnknownPeer};
use rtc::ice::Credentials;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::{
    RTCConfiguration, RTCConfigurationBuilder, SettingEngine,
};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::sansio::Protocol;
use rtc::shared::{Rng, TaggedBytesMut, TransportContext, TransportProtocol};

/// A connection that counts how often it is used.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) connection: RTCPeerConnection,
    pub(crate) uses: Rc<Cell<usize>>,
}

impl Peer for Counted {
    fn with<R>(&mut self, f: impl FnOnce(&mut RTCPeerConnection) -> R) -> R {
        self.uses.set(self.uses.get() + 1);
        f(&mut self.connection)
    }
}

/// One of those who connect to the endpoint.
pub(crate) struct Client {
    pub(crate) connection: RTCPeerConnection,
    /// What the client itself takes for its address.
    pub(crate) private: SocketAddr,
    /// What the others see, if a NAT is in between.
    pub(crate) public: SocketAddr,
    pub(crate) channel: RTCDataChannelId,
    pub(crate) received: Vec<String>,
    /// The peer at the endpoint.
    pub(crate) id: Option<RTCPeerId>,
    /// Neither sends nor receives any more.
    pub(crate) gone: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    arrival: Instant,
    sequence: u64,
    from: SocketAddr,
    to: SocketAddr,
    datagram: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) endpoint: RTCEndpoint<Counted>,
    pub(crate) addr: SocketAddr,
    pub(crate) clients: Vec<Client>,
    pub(crate) now: Instant,
    pub(crate) loss: f64,
    pub(crate) unknown: Vec<RTCUnknownPeer>,
    /// Uses of all peers.
    pub(crate) uses: Rc<Cell<usize>>,
    /// Messages that the endpoint's peers got, by peer; each is sent back.
    pub(crate) echoed: BTreeMap<RTCPeerId, Vec<String>>,
    certificate: Certificate,
    rng: Rng,
    flights: BinaryHeap<Reverse<Flight>>,
    sequence: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = crate::seeds::rng_of(seed);
        let params = CertificateParams::new(Duration::from_secs(1_800_000_000));
        let certificate = Certificate::generate(default_provider(), &params, &mut rng).unwrap();
        let addr = "192.0.2.1:3478".parse().unwrap();
        let mut endpoint = RTCEndpoint::new();
        endpoint.add_local_interface(addr, TransportProtocol::UDP);
        Self {
            endpoint,
            addr,
            clients: Vec::new(),
            now: Instant::now(),
            loss: 0.0,
            unknown: Vec::new(),
            uses: Rc::default(),
            echoed: BTreeMap::new(),
            certificate,
            rng,
            flights: BinaryHeap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn configuration(&mut self, setting: SettingEngine) -> RTCConfiguration {
        RTCConfigurationBuilder::new()
            .with_seed(self.rng.array())
            .with_now(self.now)
            .with_unix_time(Duration::from_secs(1_800_000_000))
            .with_certificates(vec![self.certificate.clone()])
            .with_setting_engine(setting)
            .build()
    }

    /// A connection for the endpoint.
    pub(crate) fn connection(&mut self, setting: SettingEngine) -> Counted {
        Counted {
            connection: RTCPeerConnection::new(self.configuration(setting)).unwrap(),
            uses: Rc::clone(&self.uses),
        }
    }

    /// A client at its own address; gives its index.
    pub(crate) fn client(&mut self) -> usize {
        let index = self.clients.len() as u16;
        let [high, low] = (index + 1).to_be_bytes();
        let addr = SocketAddr::from(([10, 1, high, low], 5000));
        self.client_at(addr, addr)
    }

    /// A client behind a NAT.
    pub(crate) fn client_at(&mut self, private: SocketAddr, public: SocketAddr) -> usize {
        let configuration = self.configuration(SettingEngine::default());
        let mut connection = RTCPeerConnection::new(configuration).unwrap();
        connection
            .add_local_interface(private, TransportProtocol::UDP)
            .unwrap();
        let channel = connection.create_data_channel("echo", None).unwrap().id();
        self.clients.push(Client {
            connection,
            private,
            public,
            channel,
            received: Vec::new(),
            id: None,
            gone: false,
        });
        self.clients.len() - 1
    }

    /// The offer of a client.
    pub(crate) fn offer(&mut self, client: usize) -> RTCSessionDescription {
        let connection = &mut self.clients[client].connection;
        let offer = connection.create_offer(None).unwrap();
        connection.set_local_description(offer).unwrap();
        connection.local_description().unwrap()
    }

    /// Lets a client connect to a new peer of the endpoint.
    pub(crate) fn join(&mut self, client: usize) -> RTCPeerId {
        let peer = self.connection(SettingEngine::default());
        self.join_with(client, peer)
    }

    pub(crate) fn join_with(&mut self, client: usize, peer: Counted) -> RTCPeerId {
        let id = self.endpoint.insert(peer);
        self.clients[client].id = Some(id);
        self.negotiate(client);
        id
    }

    /// An exchange that the client begins.
    pub(crate) fn negotiate(&mut self, client: usize) {
        let offer = self.offer(client);
        let id = self.clients[client].id.unwrap();
        let answer = self.endpoint.get_mut(id).unwrap().with(|connection| {
            connection.set_remote_description(offer).unwrap();
            connection.set_local_description_implicit().unwrap();
            connection.local_description().unwrap()
        });
        let connection = &mut self.clients[client].connection;
        connection.set_remote_description(answer).unwrap();
    }

    /// Several clients with their peers, connected.
    pub(crate) fn connected(seed: u64, count: usize) -> Self {
        let mut world = Self::new(seed);
        for _ in 0..count {
            let client = world.client();
            world.join(client);
        }
        world.connect();
        world
    }

    /// Runs until every client is connected and its channel open.
    pub(crate) fn connect(&mut self) {
        let done = self.run(Duration::from_secs(120), |world| {
            world.live().all(|client| client.is_open())
        });
        assert!(done, "every client connects");
    }

    pub(crate) fn live(&mut self) -> impl Iterator<Item = &mut Client> {
        self.clients.iter_mut().filter(|client| !client.gone)
    }

    /// Has every client say something, and waits until each has heard its own words.
    pub(crate) fn echo(&mut self, words: &str, limit: Duration) {
        for (index, client) in self.clients.iter_mut().enumerate() {
            if !client.gone {
                client.received.clear();
                let text = format!("{words} of {index}");
                let mut channel = client.connection.data_channel(client.channel).unwrap();
                channel.send_text(text).unwrap();
            }
        }
        let done = self.run(limit, |world| {
            world.live().all(|client| !client.received.is_empty())
        });
        for (index, client) in self.clients.iter().enumerate() {
            if !client.gone {
                assert_eq!(client.received, [format!("{words} of {index}")], "{index}");
            }
        }
        assert!(done);
    }

    /// Puts a datagram on the way to the endpoint, in the name of any address.
    pub(crate) fn inject(&mut self, from: SocketAddr, datagram: Vec<u8>) {
        let to = self.addr;
        self.fly(from, to, datagram, Duration::from_millis(1));
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>, delay: Duration) {
        self.sequence += 1;
        self.flights.push(Reverse(Flight {
            arrival: self.now + delay,
            sequence: self.sequence,
            from,
            to,
            datagram,
        }));
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, batch: &[u8], segment: Option<usize>) {
        for datagram in batch.chunks(segment.unwrap_or(batch.len())) {
            if self.rng.unit() >= self.loss {
                let delay = Duration::from_micros(5_000 + u64::from(self.rng.below(3_000)));
                self.fly(from, to, datagram.to_vec(), delay);
            }
        }
    }

    /// Runs until `done`, or until `limit` has passed; tells whether it was done.
    pub(crate) fn run(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.flush();
            if done(self) {
                return true;
            }
            self.flush();
            let arrival = self.flights.peek().map(|Reverse(flight)| flight.arrival);
            let client = self
                .live()
                .filter_map(|client| client.connection.poll_timeout())
                .min();
            let next = [arrival, client, self.endpoint.poll_timeout()];
            let next = next.into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            self.deliver();
            let now = self.now;
            for client in self.live() {
                if client.connection.poll_timeout().is_some_and(|at| at <= now) {
                    client.connection.handle_timeout(now).unwrap();
                }
            }
            if self.endpoint.poll_timeout().is_some_and(|at| at <= now) {
                self.endpoint.handle_timeout(now);
                assert!(self.endpoint.poll_timeout().is_none_or(|at| at > now));
            }
        }
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        self.run(duration, |_| false);
    }

    fn deliver(&mut self) {
        let now = self.now;
        let mut batch = Vec::new();
        while let Some(Reverse(flight)) = self.flights.peek()
            && flight.arrival <= now
        {
            let Some(Reverse(flight)) = self.flights.pop() else {
                break;
            };
            let message = |local_addr| TaggedBytesMut {
                now,
                transport: TransportContext {
                    local_addr,
                    peer_addr: flight.from,
                    transport_protocol: TransportProtocol::UDP,
                    ecn: None,
                },
                message: BytesMut::from(&*flight.datagram),
            };
            if flight.to == self.addr {
                batch.push(message(flight.to));
            } else if let Some(client) = self.live().find(|client| client.public == flight.to) {
                let message = message(client.private);
                client.connection.handle_read_batch(&mut vec![message]);
            }
        }
        self.endpoint.handle_read_batch(&mut batch);
        assert!(batch.is_empty());
    }

    /// Takes what everybody has to send and to tell.
    fn flush(&mut self) {
        let mut buffer = Vec::new();
        for index in 0..self.clients.len() {
            let now = self.now;
            let client = &mut self.clients[index];
            while client.connection.poll_event().is_some() {}
            while let Some(RTCMessage::DataChannelMessage(_, message)) =
                client.connection.poll_read()
            {
                client.received.push(message.as_str().unwrap().to_owned());
            }
            loop {
                buffer.clear();
                let client = &mut self.clients[index];
                let Some(transmit) = client.connection.poll_transmit(now, 16, &mut buffer) else {
                    break;
                };
                let (from, to) = (client.public, transmit.transport.peer_addr);
                if !client.gone {
                    self.send(from, to, &buffer, transmit.segment_size);
                }
            }
        }
        self.serve();
        loop {
            buffer.clear();
            let Some(transmit) = self.endpoint.poll_transmit(self.now, 16, &mut buffer) else {
                break;
            };
            assert_eq!(transmit.transport.local_addr, self.addr);
            assert_eq!(transmit.size, buffer.len());
            let to = transmit.transport.peer_addr;
            self.send(self.addr, to, &buffer, transmit.segment_size);
        }
        self.serve();
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                RTCEndpointEvent::UnknownPeer(peer) => self.unknown.push(peer),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The application of the endpoint: everything is sent back.
    fn serve(&mut self) {
        while let Some(id) = self.endpoint.poll_ready_peer() {
            let mut messages = Vec::new();
            self.endpoint.get_mut(id).unwrap().with(|connection| {
                while connection.poll_event().is_some() {}
                while let Some(RTCMessage::DataChannelMessage(channel, message)) =
                    connection.poll_read()
                {
                    messages.push(message.as_str().unwrap().to_owned());
                    let echo = RTCMessage::DataChannelMessage(channel, message);
                    connection.handle_write(echo).unwrap();
                }
            });
            if !messages.is_empty() {
                self.echoed.entry(id).or_default().extend(messages);
            }
        }
    }
}

impl Client {
    pub(crate) fn is_open(&mut self) -> bool {
        use rtc::data_channel::RTCDataChannelState::Open;
        self.connection.connection_state() == RTCPeerConnectionState::Connected
            && self
                .connection
                .data_channel(self.channel)
                .is_some_and(|channel| channel.ready_state() == Open)
    }
}

/// Credentials as a server gives them out: the password follows from the fragment.
pub(crate) fn credentials(ufrag: &str) -> Credentials {
    Credentials::new(ufrag, format!("{ufrag}aVeryLongPassword")).unwrap()
}

/// Settings with local credentials.
pub(crate) fn setting_with(credentials: Credentials) -> SettingEngine {
    let mut setting = SettingEngine::default();
    setting.ice.credentials = Some(credentials);
    setting
}
