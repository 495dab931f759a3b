//! Two peer connections on a simulated network.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::Error;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::{RTCConfigurationBuilder, SettingEngine};
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::sansio::Protocol;
use rtc::shared::{Rng, TaggedBytesMut, TransportContext, TransportProtocol};
use rtc_driver::test::{Datagram, HostId, Network};

pub use rtc_driver::test::Link;

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The offerer.
    A,
    /// The answerer.
    B,
}

impl Side {
    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A side with what it has seen.
#[derive(Debug)]
pub struct Peer {
    /// The connection under test.
    pub connection: RTCPeerConnection,
    /// Its address on the network.
    pub addr: SocketAddr,
    host: HostId,
    /// Everything it told, in order.
    pub events: Vec<RTCPeerConnectionEvent>,
    /// Every message it received, in order.
    pub messages: Vec<RTCMessage>,
    /// While set, messages are left unread.
    pub pause_reading: bool,
}

impl Peer {
    /// Channels that were opened, in order.
    #[must_use]
    pub fn open_channels(&self) -> Vec<u16> {
        self.events
            .iter()
            .filter_map(|event| match event {
                RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) => Some(*id),
                _ => None,
            })
            .collect()
    }
}

/// Somebody who listens on the link: the datagrams that each side was sent, the latest of them.
#[derive(Debug, Default)]
pub struct Tap {
    heard: VecDeque<(Side, Vec<u8>)>,
}

impl Tap {
    /// What was heard last, the oldest first, with the side it was meant for.
    #[must_use]
    pub fn heard(&self) -> &VecDeque<(Side, Vec<u8>)> {
        &self.heard
    }

    fn hear(&mut self, to: Side, datagram: &[u8]) {
        if self.heard.len() == HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back((to, datagram.to_vec()));
    }
}

/// Two peers and the network between them.
#[derive(Debug)]
pub struct Simulation {
    /// The offerer.
    pub a: Peer,
    /// The answerer.
    pub b: Peer,
    /// Virtual time.
    pub now: Instant,
    /// Virtual time at the start.
    pub start: Instant,
    /// Datagrams put on the link.
    pub sent: u64,
    /// Bytes sent to addresses of nobody, as to those of a third party.
    pub strayed: u64,
    /// Sees every datagram that a side sends, and to which side.
    pub tap: Option<Tap>,
    rng: Rng,
    network: Network,
    /// What a side has to send, for its memory.
    outgoing: Vec<u8>,
}

impl Simulation {
    /// Two peers with default settings.
    ///
    /// # Errors
    /// When a connection cannot be made.
    pub fn new(seed: u64, link: Link) -> Result<Self, Error> {
        Self::with_settings(
            seed,
            link,
            SettingEngine::default(),
            SettingEngine::default(),
        )
    }

    /// Two peers with settings of their own.
    ///
    /// # Errors
    /// When a connection cannot be made.
    pub fn with_settings(
        seed: u64,
        link: Link,
        a: SettingEngine,
        b: SettingEngine,
    ) -> Result<Self, Error> {
        let [a, b] =
            [a, b].map(|setting| RTCConfigurationBuilder::new().with_setting_engine(setting));
        Self::with_configurations(seed, link, a, b)
    }

    /// Two peers with configurations of their own; seed and time are set here.
    ///
    /// # Errors
    /// When a connection cannot be made.
    pub fn with_configurations(
        seed: u64,
        link: Link,
        a: RTCConfigurationBuilder,
        b: RTCConfigurationBuilder,
    ) -> Result<Self, Error> {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(seed.to_be_bytes()) {
            *to = from;
        }
        let mut rng = Rng::from_seed(bytes);
        // Any instant will do, only differences count.
        let start = Instant::now();
        let mut network = Network::new(rng.u64());
        *network.default_link_mut() = link;
        let mut peer = |configuration: RTCConfigurationBuilder, last: u8| -> Result<Peer, Error> {
            let addr = SocketAddr::from(([10, 0, 0, last], 5000));
            let configuration = configuration
                .with_seed(rng.array())
                .with_now(start)
                .with_unix_time(UNIX_TIME)
                .build();
            let mut connection = RTCPeerConnection::new(configuration)?;
            connection.add_local_interface(addr, TransportProtocol::UDP)?;
            Ok(Peer {
                connection,
                addr,
                host: network.add_host([addr.ip()]),
                events: Vec::new(),
                messages: Vec::new(),
                pause_reading: false,
            })
        };
        let (a, b) = (peer(a, 1)?, peer(b, 2)?);
        Ok(Self {
            a,
            b,
            now: start,
            start,
            sent: 0,
            strayed: 0,
            tap: None,
            rng,
            network,
            outgoing: Vec::new(),
        })
    }

    /// What the network does to datagrams, in both directions; may be changed at any time.
    pub fn link(&mut self) -> &mut Link {
        self.network.default_link_mut()
    }

    /// One side.
    pub fn peer(&mut self, side: Side) -> &mut Peer {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// A whole offer/answer exchange with candidates inside, A offering.
    ///
    /// # Errors
    /// When a description is refused.
    pub fn negotiate(&mut self) -> Result<(), Error> {
        self.negotiate_from(Side::A)
    }

    /// A whole offer/answer exchange with candidates inside.
    ///
    /// # Errors
    /// When a description is refused.
    pub fn negotiate_from(&mut self, offerer: Side) -> Result<(), Error> {
        let answerer = offerer.other();
        let connection = &mut self.peer(offerer).connection;
        let offer = connection.create_offer(None)?;
        connection.set_local_description(offer)?;
        let offer = local_description(connection)?;
        let connection = &mut self.peer(answerer).connection;
        connection.set_remote_description(offer)?;
        let answer = connection.create_answer(None)?;
        connection.set_local_description(answer)?;
        let answer = local_description(connection)?;
        self.peer(offerer).connection.set_remote_description(answer)
    }

    /// Runs until `done` says so or virtual time has moved by `limit`; tells whether it was done.
    pub fn run(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.drain(Side::A);
            self.drain(Side::B);
            if done(self) {
                return true;
            }
            // The application may have written something just now.
            self.drain(Side::A);
            self.drain(Side::B);
            let arrival = self.network.poll_timeout();
            let timeouts = [
                self.a.connection.poll_timeout(),
                self.b.connection.poll_timeout(),
            ];
            let next = [arrival].into_iter().chain(timeouts).flatten().min();
            let Some(next) = next else { return false };
            if next > end {
                self.now = end;
                return false;
            }
            self.now = self.now.max(next);
            self.deliver();
            for side in [Side::A, Side::B] {
                let now = self.now;
                let connection = &mut self.peer(side).connection;
                if connection
                    .poll_timeout()
                    .is_some_and(|deadline| deadline <= now)
                {
                    let handled = connection.handle_timeout(now);
                    debug_assert!(handled.is_ok());
                    let next = connection.poll_timeout();
                    assert!(
                        next.is_none_or(|next| next > now),
                        "the next deadline lies after the one that was handled"
                    );
                }
            }
        }
    }

    /// Runs until both sides are connected; tells whether they are.
    pub fn connect(&mut self, limit: Duration) -> bool {
        self.run(limit, |sim| {
            [&sim.a, &sim.b]
                .into_iter()
                .all(|peer| peer.connection.connection_state() == RTCPeerConnectionState::Connected)
        })
    }

    fn drain(&mut self, side: Side) {
        let now = self.now;
        let batch = 1 + self.rng.below(16) as usize;
        let mut buffer = std::mem::take(&mut self.outgoing);
        loop {
            buffer.clear();
            let peer = self.peer(side);
            let Some(transmit) = peer.connection.poll_transmit(now, batch, &mut buffer) else {
                break;
            };
            assert_eq!(transmit.size, buffer.len());
            let (host, from) = (peer.host, peer.addr);
            let to = self.peer(side.other()).addr;
            if transmit.transport.peer_addr != to || transmit.transport.local_addr != from {
                self.strayed += transmit.size as u64;
                continue;
            }
            let segment = transmit.segment_size.unwrap_or(transmit.size);
            for contents in buffer.chunks(segment) {
                self.sent += 1;
                if let Some(tap) = &mut self.tap {
                    tap.hear(side.other(), contents);
                }
                let contents = self.network.buffer(contents);
                self.network
                    .send(now, host, Datagram::new(from, to, contents));
            }
        }
        self.outgoing = buffer;
        let peer = self.peer(side);
        while let Some(event) = peer.connection.poll_event() {
            peer.events.push(event);
        }
        while !peer.pause_reading
            && let Some(message) = peer.connection.poll_read()
        {
            peer.messages.push(message);
        }
    }

    /// Sends a side a datagram of somebody else, from any address; no link does it any harm.
    pub fn inject(&mut self, to: Side, from: SocketAddr, datagram: Vec<u8>, delay: Duration) {
        let (at, host, to) = (self.now + delay, self.peer(to).host, self.peer(to).addr);
        self.network
            .inject(at, host, Datagram::new(from, to, datagram));
    }

    fn deliver(&mut self) {
        let now = self.now;
        let mut batches = [Vec::new(), Vec::new()];
        while let Some((host, datagram)) = self.network.receive(now) {
            let [a, b] = &mut batches;
            let batch = if host == self.a.host { a } else { b };
            batch.push(TaggedBytesMut {
                now,
                transport: TransportContext {
                    local_addr: datagram.destination,
                    peer_addr: datagram.source,
                    transport_protocol: TransportProtocol::UDP,
                    ecn: None,
                },
                message: BytesMut::from(&datagram.contents[..]),
            });
            self.network.recycle(datagram);
        }
        let [mut a, mut b] = batches;
        self.a.connection.handle_read_batch(&mut a);
        self.b.connection.handle_read_batch(&mut b);
    }
}

fn local_description(connection: &RTCPeerConnection) -> Result<RTCSessionDescription, Error> {
    connection
        .local_description()
        .ok_or(Error::InvalidState("there is no local description"))
}

/// How many datagrams a tap remembers.
const HEARD: usize = 64;
/// Wall-clock time at the start, the same in every run.
const UNIX_TIME: Duration = Duration::from_secs(1_700_000_000);
