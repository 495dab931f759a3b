mod channels;
mod config;
mod exchange;
mod permissions;
mod request;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_crypto::CryptoProvider;
use rtc_shared::{FiveTuple, Rng, TransportMessage, TransportProtocol};
use rtc_stun::{AddressFamily, Class, Icmp, Message, MessageBuilder, Method, TransactionId};
use smallvec::SmallVec;
use tracing::trace;

use crate::wire::{Indication, channel_data};
use crate::{Encapsulation, Error};
use channels::Channels;
use permissions::Permissions;
use request::{Purpose, Requests};

pub use config::{ClientConfig, Credentials, RelayedFamilies};

/// One allocation on a TURN server, held over one path: UDP, or TCP with or without TLS.
///
/// It asks for the allocation as soon as it exists. Commands say what is wanted:
/// [`create_permission`](Self::create_permission), [`bind_channel`](Self::bind_channel),
/// [`set_credentials`](Self::set_credentials), [`close`](Self::close). What comes from the server goes
/// into [`handle_datagram`](Self::handle_datagram), over a stream one message at a time, split by
/// [`StreamSplitter`](crate::StreamSplitter). After any call with a `now`, and after a command, poll
/// [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) until `None` and then
/// ask [`poll_timeout`](Self::poll_timeout) when to call [`handle_timeout`](Self::handle_timeout).
///
/// Data passes without a copy: what is received is a range of the datagram, and what is sent is
/// written by the caller behind the prefix of [`encapsulate`](Self::encapsulate).
pub struct Client {
    config: ClientConfig,
    provider: &'static CryptoProvider,
    rng: Rng,
    path: FiveTuple,
    state: ClientState,
    requests: Requests,
    allocation: Option<Allocation>,
    permissions: Permissions,
    channels: Channels,
    /// Servers that were asked, so that redirection ends.
    visited: SmallVec<[SocketAddr; 2]>,
    /// How long a redirected stream may take to be opened.
    reconnect_by: Option<Instant>,
    /// Indications to send.
    indications: VecDeque<Bytes>,
    keepalive_at: Option<Instant>,
    /// When something last went to the server, at the earliest.
    last_sent: Instant,
    events: VecDeque<Event>,
    stats: ClientStats,
    now: Instant,
}

struct Allocation {
    ipv4: Option<SocketAddr>,
    ipv6: Option<SocketAddr>,
    mapped: SocketAddr,
    expires: Instant,
    refresh_at: Option<Instant>,
}

impl Allocation {
    fn relayed(&self, family: AddressFamily) -> Option<SocketAddr> {
        match family {
            AddressFamily::Ipv4 => self.ipv4,
            AddressFamily::Ipv6 => self.ipv6,
        }
    }
}

/// How a [`Client`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientState {
    /// The allocation is being asked for.
    Allocating,
    /// Waits for the stream to another server, see [`Event::Redirected`].
    Redirected,
    /// Data can pass.
    Allocated,
    /// The allocation is being deleted.
    Closing,
    /// Closed.
    Closed,
    /// There is no allocation, or no longer.
    Failed,
}

/// What a [`Client`] tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The allocation is there.
    Allocated {
        /// The relayed address.
        relayed: SocketAddr,
        /// The one of the other family, if both were asked for.
        additional: Option<SocketAddr>,
        /// Our address as the server sees it: a server-reflexive candidate of the same socket over UDP.
        mapped: SocketAddr,
    },
    /// Of two families asked for, this one is not to be had.
    FamilyRefused {
        /// The family.
        family: AddressFamily,
        /// The server's reason.
        error: Error,
    },
    /// Another server has to be asked, over a new stream of the same kind: open it and call
    /// [`handle_reconnected`](Client::handle_reconnected). Over UDP the client goes there by itself.
    Redirected {
        /// Its address.
        server: SocketAddr,
        /// The name that its certificate has to bear; the present one when absent.
        domain: Option<String>,
    },
    /// Data to and from this address passes.
    PermissionGranted(IpAddr),
    /// The server does not let data to and from this address pass; the permission is given up.
    PermissionRefused {
        /// The address.
        peer: IpAddr,
        /// Why.
        error: Error,
    },
    /// Data to this peer goes by a channel from now on.
    ChannelBound {
        /// The peer.
        peer: SocketAddr,
        /// The number of the channel.
        number: u16,
    },
    /// There is no channel to this peer; data goes by indications.
    ChannelRefused {
        /// The peer.
        peer: SocketAddr,
        /// Why.
        error: Error,
    },
    /// The server received an ICMP error on the way to a peer. Not authentic; a hint.
    PeerUnreachable {
        /// The peer.
        peer: SocketAddr,
        /// The ICMP error.
        icmp: Icmp,
    },
    /// There is no allocation, or no longer. Nothing follows.
    Failed(Error),
    /// The client was closed and the socket is no longer needed. Nothing follows.
    Closed,
}

/// What a datagram from the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it may be data of a peer"]
pub enum Received {
    /// Data of a peer.
    Data {
        /// The peer that sent it.
        peer: SocketAddr,
        /// The relayed address that it was sent to.
        relayed: SocketAddr,
        /// Where it lies in the datagram.
        payload: Range<usize>,
    },
    /// Of this client; there is nothing more to do with it.
    Consumed,
    /// Not for this client.
    NotMine,
}

/// Counters of a [`Client`]: what it dropped and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Datagrams that are malformed STUN messages or ChannelData.
    pub malformed: u64,
    /// STUN messages whose FINGERPRINT is wrong.
    pub bad_fingerprint: u64,
    /// Responses that belong to no request.
    pub unmatched_response: u64,
    /// Responses that are not authentic, or say nothing.
    pub ignored_response: u64,
    /// ChannelData of a channel that was never asked for.
    pub unknown_channel: u64,
    /// Data of peers without permission.
    pub unpermitted: u64,
    /// Events that found no room because nobody polled them.
    pub lost_events: u64,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("path", &self.path)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client on an open path to a server: a socket, or an established stream. The local address
    /// only appears in what [`poll_transmit`](Self::poll_transmit) gives.
    #[must_use]
    pub fn new(
        config: ClientConfig,
        provider: &'static CryptoProvider,
        rng: Rng,
        path: FiveTuple,
        now: Instant,
    ) -> Self {
        let mut client = Self {
            requests: Requests::new(None, path.transport_protocol, config.transaction),
            config,
            provider,
            rng,
            path,
            state: ClientState::Allocating,
            allocation: None,
            permissions: Permissions::default(),
            channels: Channels::default(),
            visited: SmallVec::new(),
            reconnect_by: None,
            indications: VecDeque::new(),
            keepalive_at: None,
            last_sent: now,
            events: VecDeque::new(),
            stats: ClientStats::default(),
            now,
        };
        client.begin();
        client
    }

    /// How things stand.
    #[must_use]
    pub fn state(&self) -> ClientState {
        self.state
    }

    /// The path to the server; over UDP its peer changes when the server redirects.
    #[must_use]
    pub fn path(&self) -> FiveTuple {
        self.path
    }

    /// The relayed address of a family.
    #[must_use]
    pub fn relayed_address(&self, family: AddressFamily) -> Option<SocketAddr> {
        self.allocation.as_ref()?.relayed(family)
    }

    /// Our address as the server sees it.
    #[must_use]
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        self.allocation.as_ref().map(|allocation| allocation.mapped)
    }

    /// What was dropped.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.stats
    }

    /// Wants data to and from an address to pass, from now until
    /// [`remove_permission`](Self::remove_permission). To be called for the address of every remote
    /// candidate; the addresses of calls that follow each other go into one request. May be called
    /// before there is an allocation.
    ///
    /// # Errors
    /// [`Error::AddressFamily`] when there is or will be no relayed address of the family,
    /// [`Error::LimitReached`], [`Error::Closed`].
    pub fn create_permission(&mut self, now: Instant, peer: IpAddr) -> Result<(), Error> {
        self.advance(now);
        self.check_family(peer)?;
        if self.permissions.contains(peer) {
            return Ok(());
        }
        if self.permissions.len() >= self.config.max_permissions {
            return Err(Error::LimitReached);
        }
        self.permissions.insert(self.now, peer);
        Ok(())
    }

    /// Lets a permission run out, which takes up to 5 minutes. Data of it is dropped at once.
    pub fn remove_permission(&mut self, peer: IpAddr) {
        self.permissions.remove(peer);
    }

    /// Wants a channel to a peer, which spares 32 bytes and more per packet, and a permission for it.
    /// Meanwhile data goes by indications. To be called for the pair that was nominated.
    ///
    /// # Errors
    /// As [`create_permission`](Self::create_permission).
    pub fn bind_channel(&mut self, now: Instant, peer: SocketAddr) -> Result<(), Error> {
        self.create_permission(now, peer.ip())?;
        match self
            .channels
            .insert(self.now, peer, self.config.max_channels)
        {
            true => Ok(()),
            false => Err(Error::LimitReached),
        }
    }

    /// Lets the channel to a peer run out; data goes by indications from now on.
    pub fn release_channel(&mut self, peer: SocketAddr) {
        self.channels.release(peer);
    }

    /// Gives a new password, or before there is an allocation new credentials of any kind, and begins
    /// requests that are under way anew.
    ///
    /// # Errors
    /// [`Error::OtherUsername`] when the user name differs from that of the allocation, which the
    /// server would refuse (RFC 8656 section 5): use another client on another port.
    /// [`Error::Closed`] when it is too late.
    pub fn set_credentials(&mut self, now: Instant, credentials: Credentials) -> Result<(), Error> {
        self.advance(now);
        match self.state {
            ClientState::Closed | ClientState::Failed => return Err(Error::Closed),
            ClientState::Allocating | ClientState::Redirected => {}
            ClientState::Allocated | ClientState::Closing => {
                let present = self.config.credentials.as_ref().map(Credentials::username);
                if present != Some(credentials.username()) {
                    return Err(Error::OtherUsername);
                }
            }
        }
        self.config.credentials = Some(credentials);
        let fresh = self.fresh_credentials();
        for purpose in self.requests.reset(fresh) {
            self.send(purpose);
        }
        Ok(())
    }

    /// Deletes the allocation. [`Event::Closed`] follows when the server has said so, or does not
    /// answer within some seconds; who does not want to wait polls
    /// [`poll_transmit`](Self::poll_transmit) once and drops the client.
    pub fn close(&mut self, now: Instant) {
        self.advance(now);
        match self.state {
            ClientState::Allocated => {
                self.state = ClientState::Closing;
                self.delete();
            }
            // The server may make the allocation at this moment: wait for its answer, then delete.
            ClientState::Allocating if self.requests.is_authenticated() => {
                self.state = ClientState::Closing;
            }
            ClientState::Allocating | ClientState::Redirected => self.finish(None),
            ClientState::Closing | ClientState::Closed | ClientState::Failed => {}
        }
    }

    /// The stream that [`Event::Redirected`] asked for is open.
    pub fn handle_reconnected(&mut self, now: Instant, path: FiveTuple) {
        self.advance(now);
        if self.state == ClientState::Redirected {
            self.path = path;
            self.begin();
        }
    }

    /// The stream to the server is closed, or cannot be split any longer.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.advance(now);
        match self.state {
            ClientState::Closing => self.finish(None),
            _ => self.finish(Some(Error::ConnectionLost)),
        }
    }

    /// Takes a datagram that arrived on the local address of the path, or one message of the stream.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Received {
        if from != self.path.peer_addr {
            return Received::NotMine;
        }
        self.advance(now);
        match datagram.first() {
            Some(0x40..=0x4f) => self.handle_channel_data(datagram),
            Some(0..=3) => match Message::parse(datagram) {
                Ok(message) => self.handle_message(&message, datagram),
                Err(error) => {
                    trace!(%error, "malformed datagram from server");
                    self.stats.malformed += 1;
                    Received::Consumed
                }
            },
            _ => Received::NotMine,
        }
    }

    /// How to wrap data to a peer; `None` while there is no allocation or no permission was asked for.
    /// What [`poll_transmit`](Self::poll_transmit) gives has to be sent first.
    pub fn encapsulate(&mut self, peer: SocketAddr) -> Option<Encapsulation> {
        let form = match self.usable(peer)? {
            Some(number) => Encapsulation::channel(number, self.is_stream()),
            None => Encapsulation::send(peer, TransactionId::random(&mut self.rng)),
        };
        self.last_sent = self.now;
        Some(form)
    }

    /// Bytes that a payload to a peer has to leave free before it; `None` as with
    /// [`encapsulate`](Self::encapsulate).
    #[must_use]
    pub fn prefix_len(&self, peer: SocketAddr) -> Option<usize> {
        let form = match self.usable(peer)? {
            Some(number) => Encapsulation::channel(number, self.is_stream()),
            None => Encapsulation::send(peer, TransactionId([0; 12])),
        };
        Some(form.prefix_len())
    }

    /// A message to send on the path.
    pub fn poll_transmit(&mut self) -> Option<TransportMessage<Bytes>> {
        self.send_due();
        let message = match self.requests.poll_transmit() {
            Some(message) => message,
            None => self.indications.pop_front()?,
        };
        self.last_sent = self.now;
        Some(TransportMessage {
            now: self.now,
            transport: self.path.context(None),
            message,
        })
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let mut deadlines = [
            self.requests.poll_timeout(),
            self.reconnect_by,
            None,
            None,
            None,
            None,
        ];
        if let (ClientState::Allocated, Some(allocation)) = (self.state, &self.allocation) {
            let [.., keepalive, expires, permission, channel] = &mut deadlines;
            *keepalive = self.keepalive_at;
            *expires = Some(allocation.expires);
            if self.requests.has_room() {
                *permission = self.permissions.next_due();
                *channel = self.channels.next_due();
            }
        }
        let refresh = self.refresh_at();
        deadlines.into_iter().flatten().chain(refresh).min()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        while let Some(ended) = self.requests.handle_timeout(self.now) {
            self.handle_ended(ended, None);
        }
        if self
            .reconnect_by
            .is_some_and(|deadline| deadline <= self.now)
        {
            self.finish(Some(Error::ConnectionLost));
        }
        if self.state != ClientState::Allocated {
            return;
        }
        if self
            .allocation
            .as_ref()
            .is_some_and(|each| each.expires <= self.now)
        {
            self.finish(Some(Error::Expired));
            return;
        }
        if self
            .refresh_at()
            .is_some_and(|deadline| deadline <= self.now)
        {
            if let Some(allocation) = &mut self.allocation {
                allocation.refresh_at = None;
            }
            self.send(Purpose::Refresh);
        }
        self.send_due();
        self.keep_alive();
    }
}

/// The way of data.
impl Client {
    fn handle_channel_data(&mut self, datagram: &[u8]) -> Received {
        let Some((number, payload)) = channel_data(datagram) else {
            self.stats.malformed += 1;
            return Received::Consumed;
        };
        match self.channels.peer(number) {
            Some(peer) => self.deliver(peer, payload),
            None => {
                self.stats.unknown_channel += 1;
                Received::Consumed
            }
        }
    }

    fn handle_data_indication(&mut self, message: &Message<'_>, datagram: &[u8]) -> Received {
        let Some(indication) = Indication::of(message, datagram) else {
            self.stats.malformed += 1;
            return Received::Consumed;
        };
        match indication.payload {
            Some(payload) => self.deliver(indication.peer, payload),
            None => {
                if let Some(icmp) = indication.icmp
                    && self.permissions.is_usable(indication.peer.ip())
                    && self.events.len() < MAX_HINTS
                {
                    self.events.push_back(Event::PeerUnreachable {
                        peer: indication.peer,
                        icmp,
                    });
                }
                Received::Consumed
            }
        }
    }

    fn deliver(&mut self, peer: SocketAddr, payload: Range<usize>) -> Received {
        let relayed = match self.state {
            ClientState::Allocated => self.relayed_address(AddressFamily::of(peer.ip())),
            _ => None,
        };
        match relayed {
            Some(relayed) if self.permissions.is_usable(peer.ip()) => Received::Data {
                peer,
                relayed,
                payload,
            },
            _ => {
                self.stats.unpermitted += 1;
                Received::Consumed
            }
        }
    }

    /// Whether data to a peer can pass, and by which channel if any.
    fn usable(&self, peer: SocketAddr) -> Option<Option<u16>> {
        if self.state != ClientState::Allocated {
            return None;
        }
        if let Some(number) = self.channels.bound(&peer) {
            return Some(Some(number));
        }
        self.permissions.is_usable(peer.ip()).then_some(None)
    }

    fn is_stream(&self) -> bool {
        self.path.transport_protocol == TransportProtocol::TCP
    }
}

/// Time and the small things.
impl Client {
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// When the allocation is to be prolonged, unless that is under way.
    fn refresh_at(&self) -> Option<Instant> {
        match self.state {
            ClientState::Allocated => self.allocation.as_ref()?.refresh_at,
            _ => None,
        }
    }

    /// What the server granted ends. A lifetime of zero would leave no time to do anything.
    fn expiry(&self, since: Instant, lifetime: Duration) -> Instant {
        let lifetime = lifetime.clamp(MIN_LIFETIME, MAX_LIFETIME);
        (since + lifetime).max(self.now + MIN_LIFETIME)
    }

    /// A minute before the end there is time for one request with all its repetitions.
    fn refresh_time(&self, since: Instant, lifetime: Duration) -> Instant {
        let lifetime = lifetime.clamp(MIN_LIFETIME, MAX_LIFETIME);
        let wait = match lifetime.checked_sub(REFRESH_MARGIN) {
            Some(wait) if wait >= REFRESH_MARGIN => wait,
            _ => lifetime / 2,
        };
        (since + wait).max(self.now + MIN_LIFETIME / 2)
    }

    fn check_family(&self, peer: IpAddr) -> Result<(), Error> {
        let family = AddressFamily::of(peer);
        let fits = match (self.state, &self.allocation) {
            (ClientState::Allocated, Some(allocation)) => allocation.relayed(family).is_some(),
            (ClientState::Allocating | ClientState::Redirected, _) => {
                self.config.families.includes(family)
            }
            _ => return Err(Error::Closed),
        };
        if fits {
            Ok(())
        } else {
            Err(Error::AddressFamily)
        }
    }

    /// Sends something when nothing was sent for some time.
    fn keep_alive(&mut self) {
        let (Some(at), Some(interval)) = (self.keepalive_at, self.config.keepalive) else {
            return;
        };
        if at > self.now {
            return;
        }
        let interval = interval.clamp(MIN_KEEPALIVE, MAX_LIFETIME);
        let due = self.last_sent + interval;
        if due > self.now {
            self.keepalive_at = Some(due);
            return;
        }
        self.keepalive_at = Some(self.now + interval);
        if self.indications.is_empty() {
            let id = TransactionId::random(&mut self.rng);
            let indication = MessageBuilder::new(Class::Indication, Method::BINDING, id);
            self.indications
                .push_back(indication.fingerprint().finish().freeze());
        }
    }

    fn event(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        } else {
            self.stats.lost_events += 1;
        }
    }
}

const REFRESH_MARGIN: Duration = Duration::from_secs(60);
/// Bounds of what a server may grant, so that neither clock nor processor suffers.
const MIN_LIFETIME: Duration = Duration::from_secs(2);
const MAX_LIFETIME: Duration = Duration::from_secs(86_400);
const MIN_KEEPALIVE: Duration = Duration::from_secs(1);
/// Bounds what an owner that does not poll has to hold; every permission and channel has its event.
const MAX_EVENTS: usize = 8192;
/// Hints are dropped earlier, because anybody may cause them.
const MAX_HINTS: usize = 64;
