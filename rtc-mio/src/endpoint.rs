use std::io;
use std::net::UdpSocket;
use std::time::Instant;

use mio::event::{Event, Source};
use mio::{Interest, Registry, Token};
use rtc_driver::rtc::endpoint::RTCEndpoint;
use rtc_driver::{Bound, EndpointBuilder, Error, PumpCounters};

use crate::carrier::{Carrier, TOKENS};
use crate::{Mio, MioSocket};

/// Many connections behind the same sockets, as one event source.
///
/// Connections are inserted into [`core`](Self::core), which also says which of them have events and
/// messages. Everything else is as with a single [`PeerConnection`](crate::PeerConnection).
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use mio::{Events, Interest, Poll, Token};
/// use rtc_mio::rtc::peer_connection::RTCPeerConnection;
/// use rtc_mio::rtc::peer_connection::configuration::RTCConfiguration;
/// use rtc_mio::rtc::sansio::Protocol as _;
/// use rtc_mio::Endpoint;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut poll = Poll::new()?;
/// let mut endpoint = Endpoint::new(rtc_mio::endpoint().bind("127.0.0.1:0".parse()?))?;
/// poll.registry().register(&mut endpoint, Token(0), Interest::READABLE)?;
///
/// // For each peer that signalling brings:
/// let id = endpoint.core().insert(RTCPeerConnection::new(RTCConfiguration::default())?);
/// let connection = endpoint.core().get_mut(id).ok_or("it was just inserted")?;
/// connection.create_data_channel("chat", None)?;
/// connection.set_local_description_implicit()?;
/// println!("{}", connection.local_description().ok_or("no offer")?.sdp);
/// endpoint.drive(Instant::now());
///
/// // The loop:
/// let mut events = Events::with_capacity(64);
/// # for _ in 0..2 {
/// let now = Instant::now();
/// let wait = endpoint.deadline(now).map(|deadline| deadline.saturating_duration_since(now));
/// # let wait = Some(Duration::ZERO);
/// poll.poll(&mut events, wait)?;
/// let now = Instant::now();
/// for event in &events {
///     endpoint.process(event, now);
/// }
/// if endpoint.deadline(now).is_some_and(|deadline| deadline <= now) {
///     endpoint.drive(now);
/// }
/// while let Some(id) = endpoint.core().poll_ready_peer() {
///     let Some(connection) = endpoint.core().get_mut(id) else { continue };
///     while let Some(event) = connection.poll_event() {
///         println!("{id:?}: {event:?}");
///     }
///     while let Some(message) = connection.poll_read() {
///         println!("{id:?}: {message:?}");
///     }
/// }
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Endpoint {
    carrier: Carrier<RTCEndpoint>,
}

impl Endpoint {
    /// How many consecutive tokens an endpoint takes.
    pub const TOKENS: usize = TOKENS;

    /// Binds the sockets of a [`builder`](crate::endpoint()).
    ///
    /// # Errors
    /// [`Error::NoInterfaces`], [`Error::AddressInUse`], [`Error::NoFreePort`] or [`Error::Socket`]
    /// when sockets cannot be had.
    pub fn new(builder: EndpointBuilder<Mio>) -> Result<Self, Error> {
        builder.bind_all().map(Self::from)
    }

    /// Joins bound sockets.
    ///
    /// # Errors
    /// [`Error::Socket`] when the system refuses a socket.
    pub fn with_sockets(sockets: impl IntoIterator<Item = UdpSocket>) -> Result<Self, Error> {
        Bound::endpoint(MioSocket::all(sockets)?).map(Self::from)
    }

    /// Notes what the event says and drives the endpoint. `false`: the event is not of these sockets.
    pub fn process(&mut self, event: &Event, now: Instant) -> bool {
        self.carrier.process(event, now)
    }

    /// Does what is due: timeouts, and whatever there is to receive and to send.
    pub fn drive(&mut self, now: Instant) {
        self.carrier.drive(now);
    }

    /// When to drive it again, if nothing happens before; `now` when there is more to do.
    pub fn deadline(&mut self, now: Instant) -> Option<Instant> {
        self.carrier.deadline(now)
    }

    /// The connections. After whatever is done with them, [`drive`](Self::drive).
    pub fn core(&mut self) -> &mut RTCEndpoint {
        &mut self.carrier.core
    }

    /// What the sockets have carried so far.
    #[must_use]
    pub fn counters(&self) -> PumpCounters {
        self.carrier.pump.counters()
    }
}

impl From<Bound<RTCEndpoint, MioSocket>> for Endpoint {
    fn from(bound: Bound<RTCEndpoint, MioSocket>) -> Self {
        Self {
            carrier: Carrier::new(bound),
        }
    }
}

impl Source for Endpoint {
    fn register(&mut self, registry: &Registry, first: Token, how: Interest) -> io::Result<()> {
        self.carrier.register(registry, first, how)
    }

    fn reregister(&mut self, registry: &Registry, first: Token, how: Interest) -> io::Result<()> {
        self.carrier.reregister(registry, first, how)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.carrier.deregister(registry)
    }
}
