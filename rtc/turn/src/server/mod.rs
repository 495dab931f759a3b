//! The server half of TURN (feature `server`).
//!
//! A [`Server`] holds the allocations of all clients of any number of sockets and streams; the sockets
//! themselves, those of the relays too, are its owner's.
//!
//! # What the owner does
//!
//! | when | call |
//! | --- | --- |
//! | a datagram of a client arrives, or a message of its stream | [`Server::handle_datagram`]; on [`ServerReceived::ToPeer`] send the range of the datagram from the socket of that relay |
//! | after any call with a `now` | [`Server::poll_transmit`] and [`Server::poll_event`] until `None`, then [`Server::poll_timeout`] |
//! | [`ServerEvent::BindRelay`] | bind a UDP socket, then [`Server::relay_bound`] with the address that clients are to see, or [`Server::relay_failed`] |
//! | [`ServerEvent::CloseRelay`] | close that socket |
//! | a datagram arrives at the socket of a relay | [`Server::handle_peer_datagram`]; send prefix, payload and padding to the client |
//! | that socket receives an ICMP error | [`Server::handle_peer_error`] |
//! | a client's stream is closed | [`Server::handle_disconnected`] |
//! | the deadline comes | [`Server::handle_timeout`] |
//!
//! Streams are split by [`StreamSplitter`](crate::StreamSplitter); a stream with
//! [`ServerReceived::Unrecognized`] or a [`FramingError`](crate::FramingError) is to be closed.
//!
//! # What it holds
//!
//! Nothing is remembered of clients that have not shown who they are: nonces carry their own proof,
//! and responses to forged addresses are limited by a table of fixed size. An allocation with all that
//! points to it takes less than 3 KiB, in which the first permissions and channels find room, each
//! further permission less than 128 bytes and each further channel less than 256. So
//! `max_allocations × (3 KiB + max_permissions × 128 B + max_channels × 256 B)` bounds the memory,
//! together with `max_outgoing` messages: some 500 MiB with the defaults, if every client takes all that
//! it may, and 30 MiB if they use it as ICE does.
//!
//! # What it does not do
//!
//! Ports are not reserved (RESERVATION-TOKEN, and EVEN-PORT with its R bit, are answered 508), the DF
//! bit is not set (DONT-FRAGMENT is answered 420), and relays are UDP (RFC 6062 is answered 442).

mod allocation;
mod config;
mod filter;
mod guard;
mod metrics;
mod requests;
mod table;
mod users;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_crypto::{CryptoError, CryptoProvider};
use rtc_shared::{FiveTuple, Rng, TransportMessage, TransportProtocol};
use rtc_stun::{
    AddressFamily, Class, ErrorCode, Icmp, IntegrityError, Message, MessageBuilder, Method,
    TransactionId,
};
use tracing::{debug, trace};

use crate::Encapsulation;
use crate::wire::{Indication, channel_data};
use allocation::{FAMILIES, Relay};
use filter::Verdict;
use guard::{Guard, Signer, Throttle};
use table::{Key, Table};

pub use config::ServerConfig;
pub use filter::{AddressRange, AddressRangeError, PeerFilter};
pub use metrics::{Dropped, Metrics, Refused, Traffic};
pub use table::RelayId;
pub use users::{Authenticator, Login, Lookup, StaticUsers, TimeLimitedUsers, User};

/// A STUN and TURN server.
pub struct Server {
    config: ServerConfig,
    guard: Guard,
    table: Table,
    /// Addresses at which this host itself answers.
    own_addresses: BTreeSet<IpAddr>,
    throttle: Option<Throttle>,
    events: VecDeque<ServerEvent>,
    outgoing: VecDeque<TransportMessage<Bytes>>,
    metrics: Metrics,
    rng: Rng,
    now: Instant,
    /// An instant and the time since 1970 at it.
    unix_origin: (Instant, Duration),
}

/// What a [`Server`] tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A UDP socket is needed, of the family that the relay names; answer with
    /// [`Server::relay_bound`] or [`Server::relay_failed`].
    BindRelay {
        /// Names it from now on.
        relay: RelayId,
        /// Its port has to be even.
        even_port: bool,
        /// The client that it is for.
        client: FiveTuple,
    },
    /// The socket is no longer needed.
    CloseRelay(RelayId),
    /// A client has got an allocation.
    Allocated {
        /// The client.
        client: FiveTuple,
        /// Its user.
        username: String,
    },
    /// An allocation has ended.
    Ended {
        /// The client.
        client: FiveTuple,
        /// Its user.
        username: String,
        /// Why.
        reason: EndReason,
        /// Relayed to peers.
        to_peers: Traffic,
        /// Relayed to the client.
        to_client: Traffic,
    },
}

/// Why an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// Its client deleted it.
    Deleted,
    /// Its client did not prolong it.
    Expired,
    /// The stream of its client was closed.
    Disconnected,
    /// The owner removed its user.
    Removed,
    /// The owner lost its sockets.
    RelayLost,
}

/// What a message of a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it may be data for a peer"]
pub enum ServerReceived {
    /// Data for a peer.
    ToPeer {
        /// The relay whose socket sends it.
        relay: RelayId,
        /// The peer.
        peer: SocketAddr,
        /// Where it lies in the datagram.
        payload: Range<usize>,
    },
    /// There is nothing more to do with it.
    Consumed,
    /// Neither STUN nor ChannelData.
    Unrecognized,
}

/// Where data of a peer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it is to be sent"]
pub struct ToClient {
    /// The path of the client.
    pub client: FiveTuple,
    /// How to wrap it.
    pub encapsulation: Encapsulation,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("realm", &self.config.realm)
            .field("allocations", &self.table.len())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server without allocations. `unix_time` is the time since 1970 at `now`.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`] when the provider lacks HMAC-SHA256.
    pub fn new(
        config: ServerConfig,
        authenticator: Box<dyn Authenticator>,
        provider: &'static CryptoProvider,
        mut rng: Rng,
        now: Instant,
        unix_time: Duration,
    ) -> Result<Self, CryptoError> {
        let config = config.sanitized();
        let guard = Guard::new(
            provider,
            &config.realm,
            authenticator,
            config.password_algorithms,
            config.nonce_lifetime,
            now,
            &mut rng,
        )?;
        let limit = config.unauthenticated_rate;
        Ok(Self {
            guard,
            table: Table::default(),
            own_addresses: config
                .own_addresses
                .iter()
                .map(IpAddr::to_canonical)
                .collect(),
            throttle: limit.map(|limit| Throttle::new(limit, now, &mut rng)),
            events: VecDeque::new(),
            outgoing: VecDeque::new(),
            metrics: Metrics::default(),
            rng,
            now,
            unix_origin: (now, unix_time),
            config,
        })
    }

    /// How many allocations there are, those whose relays are being bound included.
    #[must_use]
    pub fn allocations(&self) -> usize {
        self.table.len()
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics
    }

    /// The relayed addresses of a client.
    pub fn relayed_addresses(&self, client: &FiveTuple) -> impl Iterator<Item = SocketAddr> {
        let allocation = self
            .table
            .of_client(client)
            .and_then(|key| self.table.get(key));
        FAMILIES
            .into_iter()
            .filter_map(move |family| allocation?.relayed(family, self.now))
    }

    /// Corrects the wall clock.
    pub fn set_unix_time(&mut self, now: Instant, unix_time: Duration) {
        self.unix_origin = (now, unix_time);
    }

    /// Replaces what knows the users. Allocations stay until they are to be refreshed.
    pub fn set_authenticator(&mut self, authenticator: Box<dyn Authenticator>) {
        self.guard.set_authenticator(authenticator);
    }

    /// Ends the allocations of a user at once.
    pub fn remove_user(&mut self, now: Instant, username: &str) {
        self.advance(now);
        let of_user = self
            .table
            .iter()
            .filter(|(_, each)| &*each.username == username);
        let keys: Vec<Key> = of_user.map(|(key, _)| key).collect();
        for key in keys {
            self.close_relays(key, &FAMILIES, EndReason::Removed);
        }
    }

    /// Takes a datagram of a client, or one message of its stream.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        client: FiveTuple,
        datagram: &[u8],
    ) -> ServerReceived {
        self.advance(now);
        match datagram.first() {
            Some(0x40..=0x4f) => self.handle_channel_data(client, datagram),
            Some(0..=3) => match Message::parse(datagram) {
                Ok(message) => self.handle_message(client, &message, datagram),
                Err(error) => {
                    trace!(%error, "malformed datagram");
                    self.metrics.dropped.malformed += 1;
                    ServerReceived::Consumed
                }
            },
            _ => {
                self.metrics.dropped.unrecognized += 1;
                ServerReceived::Unrecognized
            }
        }
    }

    /// Takes a datagram that a peer sent to the socket of a relay; only its length is needed.
    pub fn handle_peer_datagram(
        &mut self,
        now: Instant,
        relay: RelayId,
        peer: SocketAddr,
        payload_len: usize,
    ) -> Option<ToClient> {
        self.advance(now);
        let (now, bandwidth) = (self.now, self.config.bandwidth);
        let allocation = self.table.get_mut(relay.key);
        let alive = allocation.filter(|each| each.relayed(relay.family(), now).is_some());
        let Some(allocation) = alive else {
            self.metrics.dropped.unknown_relay += 1;
            return None;
        };
        if !allocation.is_permitted(peer.ip(), now) {
            self.metrics.dropped.no_permission += 1;
            return None;
        }
        if !allocation.to_client.admits(payload_len, bandwidth, now) {
            self.metrics.dropped.bandwidth += 1;
            return None;
        }
        let client = allocation.client;
        let is_stream = client.transport_protocol == TransportProtocol::TCP;
        let encapsulation = match allocation.number_of(&peer, now) {
            Some(number) => Encapsulation::channel(number, is_stream),
            None => Encapsulation::data(peer, TransactionId::random(&mut self.rng)),
        };
        count(&mut self.metrics.to_clients, payload_len);
        Some(ToClient {
            client,
            encapsulation,
        })
    }

    /// Tells a client of an ICMP error that its data to a peer caused (RFC 8656 section 11.5).
    pub fn handle_peer_error(
        &mut self,
        now: Instant,
        relay: RelayId,
        peer: SocketAddr,
        icmp: Icmp,
    ) {
        self.advance(now);
        let allocation = self.table.get(relay.key);
        let Some(allocation) = allocation.filter(|each| each.is_permitted(peer.ip(), self.now))
        else {
            return;
        };
        let client = allocation.client;
        let id = TransactionId::random(&mut self.rng);
        let indication = MessageBuilder::new(Class::Indication, Method::DATA, id);
        self.respond(client, indication.xor_peer_address(peer).icmp(icmp), None);
    }

    /// The socket of a relay is bound; `address` is what peers send to and clients are told.
    pub fn relay_bound(&mut self, now: Instant, relay: RelayId, address: SocketAddr) {
        self.advance(now);
        let (key, family) = (relay.key, relay.family());
        let allocation = self.table.get_mut(key);
        let asked = allocation
            .filter(|each| each.relays.get(allocation::index_of(family)) == Some(&Relay::Asked));
        let Some(allocation) = asked else {
            // It took too long, or the client is gone.
            self.events.push_back(ServerEvent::CloseRelay(relay));
            return;
        };
        let wants_even = allocation
            .pending
            .as_ref()
            .is_some_and(|pending| pending.even_port);
        let bound = Relay::Bound {
            address,
            expires: self.now + allocation.lifetime,
        };
        let fits = AddressFamily::of(address.ip()) == family
            && (!wants_even || address.port().is_multiple_of(2));
        if fits && self.table.set_relayed(key, family, bound) {
            self.learn_own_address(address.ip());
            self.complete_allocation(key);
        } else {
            debug!(%address, "relay cannot be used");
            self.events.push_back(ServerEvent::CloseRelay(relay));
            self.relay_failed(now, relay);
        }
    }

    /// There is no socket for a relay, or its socket has failed.
    pub fn relay_failed(&mut self, now: Instant, relay: RelayId) {
        self.advance(now);
        let (key, family) = (relay.key, relay.family());
        let allocation = self.table.get_mut(key);
        match allocation.and_then(|each| each.relay_mut(family)) {
            Some(slot) if *slot == Relay::Asked => {
                *slot = Relay::Refused(ErrorCode::INSUFFICIENT_CAPACITY);
                self.complete_allocation(key);
            }
            Some(Relay::Bound { .. }) => {
                self.close_relays(key, &[family], EndReason::RelayLost);
            }
            _ => {}
        }
    }

    /// The stream of a client is closed, and its allocation ends with it.
    pub fn handle_disconnected(&mut self, now: Instant, client: FiveTuple) {
        self.advance(now);
        if let Some(key) = self.table.of_client(&client) {
            self.close_relays(key, &FAMILIES, EndReason::Disconnected);
        }
    }

    /// A message to send to a client.
    pub fn poll_transmit(&mut self) -> Option<TransportMessage<Bytes>> {
        self.outgoing.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.table.next_deadline()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        while let Some(key) = self.table.expired(self.now) {
            let now = self.now;
            let Some(allocation) = self.table.get_mut(key) else {
                return;
            };
            if allocation.pending.is_some() {
                for relay in &mut allocation.relays {
                    if *relay == Relay::Asked {
                        *relay = Relay::Refused(ErrorCode::INSUFFICIENT_CAPACITY);
                    }
                }
                self.complete_allocation(key);
                continue;
            }
            for family in FAMILIES {
                let allocation = self.table.get(key);
                if allocation.is_some_and(|each| each.relayed(family, now).is_none()) {
                    self.close_relays(key, &[family], EndReason::Expired);
                }
            }
        }
    }
}

/// Messages and data of clients.
impl Server {
    fn handle_message(
        &mut self,
        client: FiveTuple,
        message: &Message<'_>,
        datagram: &[u8],
    ) -> ServerReceived {
        if message
            .verify_fingerprint()
            .is_err_and(|error| error != IntegrityError::Missing)
        {
            self.metrics.dropped.malformed += 1;
            return ServerReceived::Consumed;
        }
        match (message.class(), message.method()) {
            (Class::Request, _) => self.handle_request(client, message),
            (Class::Indication, Method::SEND) => {
                return match Indication::of(message, datagram) {
                    Some(Indication {
                        peer,
                        payload: Some(payload),
                        ..
                    }) => self.relay_to_peer(client, payload, |_, _| Some(peer)),
                    _ => {
                        self.metrics.dropped.malformed += 1;
                        ServerReceived::Consumed
                    }
                };
            }
            // Keeps a NAT open.
            (Class::Indication, Method::BINDING) => {}
            _ => self.metrics.dropped.unexpected += 1,
        }
        ServerReceived::Consumed
    }

    fn handle_channel_data(&mut self, client: FiveTuple, datagram: &[u8]) -> ServerReceived {
        let Some((number, payload)) = channel_data(datagram) else {
            self.metrics.dropped.malformed += 1;
            return ServerReceived::Consumed;
        };
        self.relay_to_peer(client, payload, |allocation, now| {
            allocation.peer_of(number, now)
        })
    }

    /// Passes data of a client on, if it may.
    fn relay_to_peer(
        &mut self,
        client: FiveTuple,
        payload: Range<usize>,
        peer: impl FnOnce(&allocation::Allocation, Instant) -> Option<SocketAddr>,
    ) -> ServerReceived {
        match self.try_relay_to_peer(client, payload, peer) {
            Ok(received) => received,
            Err(counter) => {
                *counter(&mut self.metrics.dropped) += 1;
                ServerReceived::Consumed
            }
        }
    }

    fn try_relay_to_peer(
        &mut self,
        client: FiveTuple,
        payload: Range<usize>,
        peer: impl FnOnce(&allocation::Allocation, Instant) -> Option<SocketAddr>,
    ) -> Result<ServerReceived, fn(&mut Dropped) -> &mut u64> {
        let now = self.now;
        let key = self.table.of_client(&client);
        let key =
            key.ok_or::<fn(&mut Dropped) -> &mut u64>(|dropped| &mut dropped.no_allocation)?;
        let allocation = self.table.get(key);
        let allocation = allocation.filter(|allocation| allocation.is_alive(now));
        let Some(allocation) = allocation else {
            return Err(|dropped| &mut dropped.no_allocation);
        };
        let Some(peer) = peer(allocation, now) else {
            return Err(|dropped| &mut dropped.unknown_channel);
        };
        let family = AddressFamily::of(peer.ip());
        let is_permitted = allocation.is_permitted(peer.ip(), now)
            && allocation.relayed(family, now).is_some()
            && self.is_reachable(&peer);
        if !is_permitted {
            return Err(|dropped| &mut dropped.no_permission);
        }
        let bandwidth = self.config.bandwidth;
        let allocation = self.table.get_mut(key);
        if !allocation.is_some_and(|each| each.to_peers.admits(payload.len(), bandwidth, now)) {
            return Err(|dropped| &mut dropped.bandwidth);
        }
        count(&mut self.metrics.to_peers, payload.len());
        Ok(ServerReceived::ToPeer {
            relay: RelayId::new(key, family),
            peer,
            payload,
        })
    }
}

/// Which peers may be reached.
impl Server {
    /// True when a permission for the address may be had. The own addresses of this host are among
    /// those, for the sake of its relays.
    fn may_permit(&self, address: IpAddr) -> bool {
        match self.config.peers.verdict(address) {
            Verdict::Denied => false,
            Verdict::Allowed => true,
            Verdict::Default { permits } => permits || self.is_own(address),
        }
    }

    fn may_reach(&self, peer: &SocketAddr) -> bool {
        self.may_permit(peer.ip()) && self.is_reachable(peer)
    }

    /// False for an own address that is not explicitly allowed and no relay: there listens something
    /// that is not meant for everybody. For peers that are permitted.
    fn is_reachable(&self, peer: &SocketAddr) -> bool {
        !self.is_own(peer.ip())
            || self.table.is_relayed(peer)
            || self.config.peers.verdict(peer.ip()) == Verdict::Allowed
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.own_addresses.contains(&address.to_canonical())
    }

    fn learn_own_address(&mut self, address: IpAddr) {
        if !address.is_unspecified() && self.own_addresses.len() < MAX_OWN_ADDRESSES {
            self.own_addresses.insert(address.to_canonical());
        }
    }
}

/// The small things.
impl Server {
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn unix_time(&self) -> Duration {
        let (origin, unix_time) = self.unix_origin;
        unix_time + self.now.saturating_duration_since(origin)
    }

    /// True when a response may go to a client that has not shown who it is.
    fn admits_response(&mut self, client: &FiveTuple) -> bool {
        if client.transport_protocol != TransportProtocol::UDP {
            return true;
        }
        let Some(throttle) = &mut self.throttle else {
            return true;
        };
        let admits = throttle.admits(self.now, client.peer_addr.ip());
        if !admits {
            self.metrics.dropped.throttled += 1;
        }
        admits
    }

    /// Completes a response and sends it.
    fn respond(&mut self, client: FiveTuple, response: MessageBuilder, signer: Option<&Signer>) {
        if self.outgoing.len() >= self.config.max_outgoing {
            self.metrics.dropped.no_room += 1;
            return;
        }
        let response = match &self.config.software {
            Some(software) => response.software(software),
            None => response,
        };
        let response = match signer {
            Some(signer) => signer.sign(response),
            None => response,
        };
        self.outgoing.push_back(TransportMessage {
            now: self.now,
            transport: client.context(None),
            message: response.fingerprint().finish().freeze(),
        });
    }

    /// Closes relays of an allocation, and ends it with the last.
    fn close_relays(&mut self, key: Key, families: &[AddressFamily], reason: EndReason) {
        for &family in families {
            if self.table.clear_relay(key, family) {
                self.events
                    .push_back(ServerEvent::CloseRelay(RelayId::new(key, family)));
            }
        }
        let Some(allocation) = self.table.get(key) else {
            return;
        };
        let has_relay = |relay: &Relay| matches!(relay, Relay::Bound { .. } | Relay::Asked);
        if allocation.relays.iter().any(has_relay) {
            self.table.reschedule(key);
            return;
        }
        let Some(allocation) = self.table.remove(key) else {
            return;
        };
        if allocation.pending.is_some() {
            return;
        }
        self.metrics.allocations_ended += 1;
        self.metrics.allocations_expired += u64::from(reason == EndReason::Expired);
        debug!(client = %allocation.client.peer_addr, ?reason, "allocation ended");
        self.events.push_back(ServerEvent::Ended {
            client: allocation.client,
            username: allocation.username.to_string(),
            reason,
            to_peers: allocation.to_peers.traffic,
            to_client: allocation.to_client.traffic,
        });
    }
}

fn count(traffic: &mut Traffic, bytes: usize) {
    traffic.packets += 1;
    traffic.bytes += bytes as u64;
}

/// What the module page promises of the memory.
const _: () = assert!(size_of::<allocation::Allocation>() < 768);

/// Bounds what is learned from the addresses of relays and sockets.
const MAX_OWN_ADDRESSES: usize = 256;
