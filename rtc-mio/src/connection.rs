use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Instant;

use mio::event::{Event, Source};
use mio::{Interest, Registry, Token, Waker};
use rtc_driver::rtc::peer_connection::RTCPeerConnection;
use rtc_driver::rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc_driver::rtc::peer_connection::message::RTCMessage;
use rtc_driver::rtc::sansio::Protocol;
use rtc_driver::{Bound, Builder, Error, PumpCounters};

use crate::carrier::{Carrier, TOKENS};
use crate::remote::{Calls, Remote};
use crate::{Mio, MioSocket};

/// A WebRTC connection to one peer, as an event source.
///
/// # Life
///
/// 1. Register it: `poll.registry().register(&mut connection, token, Interest::READABLE)`. It takes
///    [`TOKENS`](Self::TOKENS) consecutive tokens, whatever the interest.
/// 2. Wait in `Poll::poll`, at the longest until [`deadline`](Self::deadline).
/// 3. Give it its events by [`process`](Self::process), and call [`drive`](Self::drive) when the
///    deadline has come and after whatever was done with [`core`](Self::core).
/// 4. Take events and messages by [`poll_event`](Self::poll_event) and
///    [`poll_read`](Self::poll_read) until there are none.
/// 5. Drop it once [`is_drained`](Self::is_drained). Dropped earlier, the peer is told nothing.
///
/// Every instant is one of a clock that does not go backwards.
#[derive(Debug)]
pub struct PeerConnection {
    carrier: Carrier<RTCPeerConnection>,
    calls: Option<Arc<Calls>>,
    /// Bytes read since the sockets were last driven.
    read: usize,
}

impl PeerConnection {
    /// How many consecutive tokens a connection takes. As the i-th of many, register it at
    /// `Token(i * TOKENS)`, and `token.0 / TOKENS` leads from an event to the connection.
    pub const TOKENS: usize = TOKENS;

    /// Binds the sockets of a [`builder`](crate::builder()) and makes the connection.
    ///
    /// # Errors
    /// [`Error::NoInterfaces`], [`Error::AddressInUse`], [`Error::NoFreePort`] or [`Error::Socket`]
    /// when sockets cannot be had, [`Error::Core`] when the configuration is refused.
    pub fn new(builder: Builder<Mio>, now: Instant) -> Result<Self, Error> {
        builder.bind_all(now).map(Self::from)
    }

    /// Joins a core with bound sockets. The core is told their addresses.
    ///
    /// # Errors
    /// [`Error::Socket`] when the system refuses a socket, [`Error::Core`] when the core does not take
    /// an address.
    pub fn with_sockets(
        core: RTCPeerConnection,
        sockets: impl IntoIterator<Item = UdpSocket>,
    ) -> Result<Self, Error> {
        Bound::connection(core, MioSocket::all(sockets)?).map(Self::from)
    }

    /// Takes an event and does what it allows for. `false`: it is not of this connection.
    pub fn process(&mut self, event: &Event, now: Instant) -> bool {
        self.carrier.process(event, now)
    }

    /// Does what is due: calls of [`Remote`]s, timeouts, and whatever there is to receive and to send.
    pub fn drive(&mut self, now: Instant) {
        if let Some(calls) = &self.calls {
            calls.run(&mut self.carrier.core);
        }
        self.read = 0;
        self.carrier.drive(now);
    }

    /// When [`drive`](Self::drive) has to be called at the latest; `now` if there is something to do
    /// already.
    pub fn deadline(&mut self, now: Instant) -> Option<Instant> {
        if self.calls.as_ref().is_some_and(|calls| calls.are_waiting()) {
            return Some(now);
        }
        self.carrier.deadline(now)
    }

    /// The next thing that has happened.
    pub fn poll_event(&mut self) -> Option<RTCPeerConnectionEvent> {
        self.carrier.core.poll_event()
    }

    /// The next message. What is not read slows the peer down.
    pub fn poll_read(&mut self) -> Option<RTCMessage> {
        let message = self.carrier.core.poll_read()?;
        if let RTCMessage::DataChannelMessage(_, message) = &message {
            self.read = self.read.saturating_add(message.data.len());
        }
        if self.read >= READ_REPORT {
            // The peer has to learn of the room.
            self.carrier.drive_again();
        }
        Some(message)
    }

    /// The state machine, for offers, answers, channels and messages to send. Call
    /// [`drive`](Self::drive) afterwards, so that it takes effect on the network.
    pub fn core(&mut self) -> &mut RTCPeerConnection {
        &mut self.carrier.core
    }

    /// A way to this connection from other threads. `waker` is that of the reactor, which has one for
    /// all of its connections; at its event, [`deadline`](Self::deadline) tells which of them to
    /// drive.
    pub fn remote(&mut self, waker: Arc<Waker>) -> Remote {
        Remote::new(self.calls.get_or_insert_default(), waker)
    }

    /// Whether the connection is closed, by [`core`](Self::core)`().close()` or by the peer, and has
    /// said what it had to say.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.carrier.core.is_drained() && !self.carrier.pump.is_blocked()
    }

    /// What the sockets have carried so far.
    #[must_use]
    pub fn counters(&self) -> PumpCounters {
        self.carrier.pump.counters()
    }
}

impl From<Bound<RTCPeerConnection, MioSocket>> for PeerConnection {
    fn from(bound: Bound<RTCPeerConnection, MioSocket>) -> Self {
        Self {
            carrier: Carrier::new(bound),
            calls: None,
            read: 0,
        }
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        if let Some(calls) = &self.calls {
            calls.close();
        }
    }
}

impl Source for PeerConnection {
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

/// Bytes read after which the peer is told of the room without waiting for another reason to send.
const READ_REPORT: usize = 64 * 1024;
