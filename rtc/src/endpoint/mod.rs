//! Many peer connections behind the same sockets.
//!
//! A server wants one port for all its peers. [`RTCEndpoint`] owns the connections, finds the one that
//! a datagram is for, and says when and what to send for all of them: to the owner of the sockets it
//! looks like one connection.
//!
//! ```
//! use std::time::Instant;
//!
//! use rtc::endpoint::{RTCEndpoint, RTCEndpointEvent};
//! use rtc::peer_connection::RTCPeerConnection;
//! use rtc::peer_connection::configuration::RTCConfiguration;
//! use rtc::sansio::Protocol;
//! use rtc::shared::{TaggedBytesMut, TransportProtocol};
//!
//! # fn receive() -> Vec<TaggedBytesMut> { Vec::new() }
//! # fn send(_: rtc::shared::Transmit, _: &[u8]) {}
//! let mut endpoint = RTCEndpoint::new();
//! endpoint.add_local_interface("127.0.0.1:3478".parse()?, TransportProtocol::UDP);
//!
//! // For each peer that signalling brings:
//! let connection = RTCPeerConnection::new(RTCConfiguration::default())?;
//! let id = endpoint.insert(connection);
//! let connection = endpoint.get_mut(id).ok_or("it is there")?;
//! connection.create_data_channel("chat", None)?;
//! connection.set_local_description_implicit()?;
//! // … send `connection.local_description()`, give the answer to `set_remote_description`.
//!
//! // Whenever the socket is readable, the deadline has come, or a connection was used:
//! let now = Instant::now();
//! let mut batch = receive();
//! endpoint.handle_read_batch(&mut batch);
//! if endpoint.poll_timeout().is_some_and(|deadline| deadline <= now) {
//!     endpoint.handle_timeout(now);
//! }
//! while let Some(id) = endpoint.poll_ready_peer() {
//!     let Some(connection) = endpoint.get_mut(id) else { continue };
//!     while let Some(event) = connection.poll_event() {
//!         println!("{id:?}: {event:?}");
//!     }
//!     while let Some(message) = connection.poll_read() {
//!         println!("{id:?}: {message:?}");
//!     }
//! }
//! let mut buffer = Vec::new();
//! while let Some(transmit) = endpoint.poll_transmit(now, 16, &mut buffer) {
//!     send(transmit, &buffer);
//!     buffer.clear();
//! }
//! while let Some(event) = endpoint.poll_event() {
//!     match event {
//!         RTCEndpointEvent::UnknownPeer(peer) => println!("{} is not known here", peer.local_ufrag),
//!         _ => {}
//!     }
//! }
//! // Sleep until the socket is readable or `endpoint.poll_timeout()`.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Whom a datagram is for
//!
//! A STUN Binding request is for the peer whose ICE user name fragment stands before the colon of its
//! USERNAME, a response for the peer whose agent made the transaction id, and everything else for the
//! peer that owns the path: local address, remote address, protocol. A peer owns a path once its ICE
//! agent has authenticated a check or an answer there, and until the agent forgets it. Each is one look
//! into a table, however many peers there are. A source that is not authenticated leaves no trace in
//! any of them.
//!
//! Where a NAT gives the port of one peer to another, the later one takes the path over, as soon as it
//! has answered a check there: a check alone may come in the name of somebody else's address. For the
//! same reason there is one connection between two addresses: where both sides share a socket, ICE of
//! several connections succeeds, but the data is for the latest of them.
//!
//! # Servers of peers
//!
//! Answers of STUN servers find their peer by its transaction ids, as those of ICE do. A TURN server
//! knows a client by its address and port alone, so that connections cannot share a socket towards it:
//! each asks for a socket of its own
//! ([`RTCRequest::BindSocket`](crate::peer_connection::request::RTCRequest::BindSocket)), and whatever
//! arrives there is for it. Requests are polled from the peers themselves.
//!
//! # Peers that announce themselves
//!
//! A check for a fragment that nobody owns is told as [`RTCEndpointEvent::UnknownPeer`]. A server whose
//! signalling happens elsewhere, and that can tell from the fragment which password it has given out,
//! makes a connection with these credentials ([`AgentConfig::credentials`] in
//! [`SettingEngine::ice`]) and gives the datagram to [`RTCEndpoint::handle_read_batch`] again.
//!
//! [`AgentConfig::credentials`]: rtc_ice::AgentConfig::credentials
//! [`SettingEngine::ice`]: crate::peer_connection::configuration::SettingEngine::ice

mod deadlines;
mod routes;
mod slots;
mod unknown;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use rtc_shared::{FiveTuple, Protocol, TaggedBytesMut, Transmit, TransportProtocol};
use rtc_stun::{Class, Message};
use tracing::trace;

pub use self::routes::{RTCRoute, RTCRouteChange};
pub use self::slots::RTCPeerId;
pub use self::unknown::RTCUnknownPeer;

use self::deadlines::Deadlines;
use self::routes::{Bound, Routes};
use self::slots::Slots;
use self::unknown::UnknownPeers;
use crate::peer_connection::{RTCEvent, RTCPeerConnection};
use crate::transport::demux;

/// How a peer is kept: by itself, or where others can reach it too.
pub trait Peer {
    /// Calls `f` with the connection. Nothing of the endpoint waits meanwhile but the endpoint itself.
    fn with<R>(&mut self, f: impl FnOnce(&mut RTCPeerConnection) -> R) -> R;
}

impl Peer for RTCPeerConnection {
    fn with<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        f(self)
    }
}

/// Many peer connections behind the same sockets; see the [module page](self).
///
/// # Methods
///
/// * **Handlers** (`handle_*`) take datagrams, events of sockets and time, for all peers.
/// * **Polls** (`poll_*`) give what goes outside. [`poll_ready_peer`](Self::poll_ready_peer) names the
///   peers of which events and messages are then to be polled; datagrams and deadlines of peers are
///   not, they come from here.
/// * [`get_mut`](Self::get_mut) gives a peer to be used. What was done to it is looked at when the
///   endpoint is next polled.
///
/// A peer that has closed and [is drained](RTCPeerConnection::is_drained) stays until
/// [`remove`](Self::remove).
#[derive(Debug)]
pub struct RTCEndpoint<P = RTCPeerConnection> {
    slots: Slots<Slot<P>>,
    routes: Routes,
    deadlines: Deadlines,
    interfaces: Vec<(SocketAddr, TransportProtocol)>,
    /// Peers that were given out, and whose state is not known here since.
    touched: Vec<u32>,
    /// Peers that may have something to send, the one whose turn it is first.
    sending: VecDeque<u32>,
    /// Datagrams that the first of them has sent in its turn.
    turn: usize,
    /// Peers that may have something to tell.
    ready: VecDeque<u32>,
    unknown: UnknownPeers,
    /// Datagrams without an owner, where somebody wants them.
    strays: Option<VecDeque<TaggedBytesMut>>,
    counters: RTCEndpointCounters,
    scratch: Scratch,
}

struct Slot<P> {
    peer: P,
    bound: Bound,
    touched: bool,
    sending: bool,
    ready: bool,
}

impl<P> fmt::Debug for Slot<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}

/// Kept for its memory.
#[derive(Debug, Default)]
struct Scratch {
    /// Place of the peer and index in the batch.
    order: Vec<(u32, u32)>,
    group: Vec<TaggedBytesMut>,
}

/// What an endpoint tells beside the events of its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RTCEndpointEvent {
    /// Somebody checks for a peer that is not here.
    UnknownPeer(RTCUnknownPeer),
}

/// What an endpoint received and what it dropped, and why. What reached a peer and was dropped there
/// is in the peer's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RTCEndpointCounters {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams that were given to a peer.
    pub delivered: u64,
    /// Datagrams of no known protocol from a path that no peer owns.
    pub dropped_unknown: u64,
    /// Malformed STUN messages, and requests that are no ICE checks.
    pub dropped_malformed: u64,
    /// DTLS, RTP, RTCP and STUN indications from a path that no peer owns.
    pub dropped_unbound_path: u64,
    /// STUN responses to no request of a peer.
    pub dropped_unmatched_response: u64,
    /// Checks for a fragment that several peers have, with a password of none of them.
    pub dropped_forged: u64,
    /// Checks for a fragment that no peer has.
    pub unknown_peers: u64,
    /// Of these the ones that were forgotten because too many waited to be polled.
    pub unknown_peers_dropped: u64,
}

/// Whom a datagram is for.
enum Target {
    Peer(u32),
    /// Nobody that is known, as far as one can tell from what.
    Nobody(Missing),
}

/// Why a datagram has no peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Protocol,
    Malformed,
    Path,
    Transaction,
    Forged,
    Ufrag,
}

impl<P: Peer> Default for RTCEndpoint<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Peer> RTCEndpoint<P> {
    /// An endpoint without peers and interfaces.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: Slots::new(),
            routes: Routes::default(),
            deadlines: Deadlines::default(),
            interfaces: Vec::new(),
            touched: Vec::new(),
            sending: VecDeque::new(),
            turn: 0,
            ready: VecDeque::new(),
            unknown: UnknownPeers::default(),
            strays: None,
            counters: RTCEndpointCounters::default(),
            scratch: Scratch::default(),
        }
    }

    /// Takes a connection in. It is told the local interfaces of the endpoint.
    pub fn insert(&mut self, mut peer: P) -> RTCPeerId {
        let interfaces = &self.interfaces;
        peer.with(|connection| {
            connection.share_sockets();
            for &(addr, protocol) in interfaces {
                // A closed connection has no use for it.
                let _ = connection.add_local_interface(addr, protocol);
            }
        });
        let id = self.slots.insert(Slot {
            peer,
            bound: Bound::default(),
            touched: false,
            sending: false,
            ready: false,
        });
        self.visit(id.index, false, |_| ());
        id
    }

    /// Takes a connection out as it is.
    pub fn remove(&mut self, id: RTCPeerId) -> Option<P> {
        let slot = self.slots.remove(id)?;
        let index = id.index;
        self.routes.remove(index, &slot.bound);
        self.deadlines.set(index, None);
        if slot.touched {
            self.touched.retain(|other| *other != index);
        }
        if slot.ready {
            self.ready.retain(|other| *other != index);
        }
        if slot.sending {
            if self.sending.front() == Some(&index) {
                self.turn = 0;
            }
            self.sending.retain(|other| *other != index);
        }
        Some(slot.peer)
    }

    /// A connection, to look at.
    pub fn get(&self, id: RTCPeerId) -> Option<&P> {
        self.slots.get(id).map(|slot| &slot.peer)
    }

    /// A connection, to be used. It is looked at afterwards: for what it has to send, its deadline and
    /// where it can be reached.
    pub fn get_mut(&mut self, id: RTCPeerId) -> Option<&mut P> {
        let slot = self.slots.get_mut(id)?;
        if !slot.touched {
            slot.touched = true;
            self.touched.push(id.index);
        }
        Some(&mut slot.peer)
    }

    /// The local interfaces.
    #[must_use]
    pub fn local_interfaces(&self) -> &[(SocketAddr, TransportProtocol)] {
        &self.interfaces
    }

    /// Number of peers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True without peers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The peers, by place.
    pub fn peer_ids(&self) -> impl Iterator<Item = RTCPeerId> {
        self.slots
            .indices()
            .filter_map(|index| self.slots.id_at(index))
    }

    /// What was received and dropped.
    #[must_use]
    pub fn counters(&self) -> RTCEndpointCounters {
        RTCEndpointCounters {
            unknown_peers_dropped: self.unknown.dropped(),
            ..self.counters
        }
    }

    /// Number of paths that peers own.
    #[must_use]
    pub fn bound_paths(&self) -> usize {
        self.routes.paths()
    }

    /// Number of user name fragments that peers own.
    #[must_use]
    pub fn known_ufrags(&self) -> usize {
        self.routes.ufrags()
    }

    /// Tells every peer, present and to come, of a socket that is bound, by its concrete address.
    pub fn add_local_interface(&mut self, addr: SocketAddr, protocol: TransportProtocol) {
        if !self.interfaces.contains(&(addr, protocol)) {
            self.interfaces.push((addr, protocol));
            self.visit_all(|connection| {
                let _ = connection.add_local_interface(addr, protocol);
            });
        }
    }

    /// Tells every peer that a socket is gone.
    pub fn remove_local_interface(&mut self, addr: SocketAddr, protocol: TransportProtocol) {
        self.interfaces
            .retain(|interface| *interface != (addr, protocol));
        self.visit_all(|connection| connection.remove_local_interface(addr, protocol));
    }

    /// Takes a batch of datagrams, all that one receive call brought. Each peer gets its share in one
    /// call. The vector is left empty, its memory can be used again.
    pub fn handle_read_batch(&mut self, batch: &mut Vec<TaggedBytesMut>) {
        self.look_at_touched();
        self.counters.received += batch.len() as u64;
        let mut order = std::mem::take(&mut self.scratch.order);
        // Datagrams of one path come in a row as a rule.
        let mut last = None;
        let mut holds_stun = false;
        for index in 0..batch.len() {
            let Some(message) = batch.get(index) else {
                break;
            };
            let path = message.transport.five_tuple();
            let is_stun = demux::classify(&message.message) == demux::Class::Stun;
            let known = last.filter(|(known, _)| !is_stun && *known == path);
            let mut target = match known {
                Some((_, peer)) => Target::Peer(peer),
                None => self.find(&path, is_stun, &message.message),
            };
            if matches!(target, Target::Nobody(Missing::Path)) && holds_stun {
                // A check before it in this batch may have bound the path.
                self.deliver(&mut order, batch);
                holds_stun = false;
                target = match batch.get(index) {
                    Some(message) => self.find(&path, is_stun, &message.message),
                    None => break,
                };
            }
            match target {
                Target::Peer(peer) => {
                    order.push((peer, index as u32));
                    holds_stun |= is_stun;
                    if !is_stun {
                        last = Some((path, peer));
                    }
                }
                Target::Nobody(missing) => {
                    if let Some(message) = batch.get_mut(index) {
                        let message = take(message);
                        self.handle_stray(missing, message);
                    }
                }
            }
        }
        self.deliver(&mut order, batch);
        self.scratch.order = order;
        batch.clear();
    }

    /// Gives each peer its share of a batch: `order` is left empty.
    fn deliver(&mut self, order: &mut Vec<(u32, u32)>, batch: &mut [TaggedBytesMut]) {
        self.counters.delivered += order.len() as u64;
        // The index keeps the order within a peer.
        order.sort_unstable();
        let mut group = std::mem::take(&mut self.scratch.group);
        for share in order.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(peer, _)) = share.first() else {
                continue;
            };
            let messages = share
                .iter()
                .filter_map(|(_, index)| batch.get_mut(*index as usize).map(take));
            group.extend(messages);
            let heard = group
                .iter()
                .any(|message| demux::classify(&message.message) == demux::Class::Stun);
            self.visit(peer, heard, |connection| {
                connection.handle_read_batch(&mut group);
            });
            group.clear();
        }
        self.scratch.group = group;
        order.clear();
    }

    fn find(&mut self, path: &FiveTuple, is_stun: bool, datagram: &[u8]) -> Target {
        if let Some(peer) = self.routes.by_socket(&path.local_addr) {
            return Target::Peer(peer);
        }
        if !is_stun {
            return match self.routes.by_path(path) {
                Some(peer) => Target::Peer(peer),
                None if demux::classify(datagram) == demux::Class::Unknown => {
                    Target::Nobody(Missing::Protocol)
                }
                None => Target::Nobody(Missing::Path),
            };
        }
        let Ok(message) = Message::parse(datagram) else {
            return Target::Nobody(Missing::Malformed);
        };
        let bound = || self.routes.by_path(path);
        match message.class() {
            Class::Request => self.find_by_username(&message),
            Class::Indication => bound().map_or(Target::Nobody(Missing::Path), Target::Peer),
            Class::Success | Class::Error => {
                let [a, b, c, d, ..] = message.transaction_id().0;
                let tag = u32::from_be_bytes([a, b, c, d]);
                let peer = self.routes.by_tag(tag).or_else(bound);
                peer.map_or(Target::Nobody(Missing::Transaction), Target::Peer)
            }
        }
    }

    fn find_by_username(&mut self, message: &Message<'_>) -> Target {
        let Some((ufrag, _)) = unknown::ufrags_of(message) else {
            return Target::Nobody(Missing::Malformed);
        };
        match self.routes.by_ufrag(ufrag) {
            [] => Target::Nobody(Missing::Ufrag),
            [peer] => Target::Peer(*peer),
            several => {
                let owner = several.iter().find(|peer| {
                    self.slots.at_mut(**peer).is_some_and(|slot| {
                        slot.peer
                            .with(|connection| connection.transport.ice.authenticates(message))
                    })
                });
                owner.map_or(Target::Nobody(Missing::Forged), |peer| Target::Peer(*peer))
            }
        }
    }

    /// Takes a datagram that is for nobody here.
    fn handle_stray(&mut self, missing: Missing, message: TaggedBytesMut) {
        match (&mut self.strays, missing) {
            (Some(strays), Missing::Path | Missing::Transaction | Missing::Ufrag) => {
                strays.push_back(message);
            }
            _ => self.drop_stray(missing, message),
        }
    }

    fn drop_stray(&mut self, missing: Missing, message: TaggedBytesMut) {
        trace!(peer = %message.transport.peer_addr, "datagram for nobody");
        let counters = &mut self.counters;
        match missing {
            Missing::Protocol => counters.dropped_unknown += 1,
            Missing::Malformed => counters.dropped_malformed += 1,
            Missing::Path => counters.dropped_unbound_path += 1,
            Missing::Transaction => counters.dropped_unmatched_response += 1,
            Missing::Forged => counters.dropped_forged += 1,
            Missing::Ufrag => match RTCUnknownPeer::read(&message) {
                Some(peer) => {
                    counters.unknown_peers += 1;
                    self.unknown.push(peer);
                }
                None => counters.dropped_malformed += 1,
            },
        }
    }

    /// Takes what happened to a socket.
    pub fn handle_event(&mut self, event: RTCEvent) {
        match event {
            RTCEvent::PathLost { local_addr } => {
                self.interfaces.retain(|(addr, _)| *addr != local_addr);
                self.visit_all(|connection| {
                    let _ = connection.handle_event(event);
                });
            }
            RTCEvent::InterfaceFound {
                local_addr,
                protocol,
            } => self.add_local_interface(local_addr, protocol),
            RTCEvent::SendFailed { transport } => {
                if let Some(peer) = self.routes.by_path(&transport.five_tuple()) {
                    self.visit(peer, false, |connection| {
                        let _ = connection.handle_event(event);
                    });
                }
            }
        }
    }

    /// Lets every peer that is due do what time brings.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.look_at_touched();
        // Every visit moves a deadline past `now`, so each peer has one at most.
        for _ in 0..self.slots.len() {
            let Some((_, peer)) = self.deadlines.first().filter(|(at, _)| *at <= now) else {
                break;
            };
            self.visit(peer, false, |connection| {
                let _ = connection.handle_timeout(now);
            });
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.look_at_touched();
        self.deadlines.first().map(|(at, _)| at)
    }

    /// Appends up to `max_datagrams` datagrams of one path and one size to `buf`; the last may be
    /// shorter. Peers take turns: none sends more than a few datagrams while others wait.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        max_datagrams: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        self.look_at_touched();
        while let Some(&peer) = self.sending.front() {
            let transmit = self.slots.at_mut(peer).and_then(|slot| {
                let max = max_datagrams.min(TURN - self.turn);
                let (transmit, deadline) = slot.peer.with(|connection| {
                    let transmit = connection.poll_transmit(now, max, buf);
                    (transmit, connection.poll_timeout())
                });
                self.deadlines.set(peer, deadline);
                match transmit {
                    // To have sent makes room, which may be worth telling.
                    Some(_) => mark(&mut slot.ready, &mut self.ready, peer),
                    None => slot.sending = false,
                }
                transmit
            });
            let Some(transmit) = transmit else {
                self.sending.pop_front();
                self.turn = 0;
                continue;
            };
            self.turn += transmit.datagrams().max(1);
            if self.turn >= TURN {
                self.sending.rotate_left(1);
                self.turn = 0;
            }
            return Some(transmit);
        }
        None
    }

    /// The next event of the endpoint itself.
    pub fn poll_event(&mut self) -> Option<RTCEndpointEvent> {
        self.unknown.pop().map(RTCEndpointEvent::UnknownPeer)
    }

    /// A peer that something happened to since it was last given here, so that it may have events and
    /// messages, or be drained. They are polled from the peer itself: events until there are none,
    /// messages as many as the owner wants.
    pub fn poll_ready_peer(&mut self) -> Option<RTCPeerId> {
        self.look_at_touched();
        while let Some(peer) = self.ready.pop_front() {
            if let Some(slot) = self.slots.at_mut(peer) {
                slot.ready = false;
                return self.slots.id_at(peer);
            }
        }
        None
    }

    /// Closes every peer. Their last datagrams are left in [`poll_transmit`](Self::poll_transmit).
    pub fn close(&mut self) {
        self.visit_all(|connection| {
            let _ = connection.close();
        });
    }

    /// Calls `f` with a peer to which something happens.
    fn visit(&mut self, peer: u32, heard: bool, f: impl FnOnce(&mut RTCPeerConnection)) {
        if self.look(peer, heard, f).is_some() {
            self.mark_ready(peer);
        }
    }

    fn mark_ready(&mut self, peer: u32) {
        if let Some(slot) = self.slots.at_mut(peer) {
            mark(&mut slot.ready, &mut self.ready, peer);
        }
    }

    /// Calls `f` with a peer and takes note of where it can be reached and what it wants afterwards.
    fn look<R>(
        &mut self,
        peer: u32,
        heard: bool,
        f: impl FnOnce(&mut RTCPeerConnection) -> R,
    ) -> Option<R> {
        let slot = self.slots.at_mut(peer)?;
        let (routes, bound) = (&mut self.routes, &mut slot.bound);
        let (result, deadline) = slot.peer.with(|connection| {
            let result = f(connection);
            routes.follow(peer, bound, &mut connection.transport.ice, heard);
            routes.follow_sockets(peer, bound, connection.transport.gather.own_sockets());
            (result, connection.poll_timeout())
        });
        self.deadlines.set(peer, deadline);
        mark(&mut slot.sending, &mut self.sending, peer);
        Some(result)
    }

    fn visit_all(&mut self, mut f: impl FnMut(&mut RTCPeerConnection)) {
        let peers: Vec<u32> = self.slots.indices().collect();
        for peer in peers {
            self.visit(peer, false, &mut f);
        }
    }

    fn look_at_touched(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        let mut touched = std::mem::take(&mut self.touched);
        for peer in touched.drain(..) {
            let Some(slot) = self.slots.at_mut(peer) else {
                continue;
            };
            slot.touched = false;
            // Whoever had it in hand knows the rest, and would be sent round in circles.
            if self.look(peer, false, |connection| connection.has_events()) == Some(true) {
                self.mark_ready(peer);
            }
        }
        self.touched = touched;
    }
}

/// Several endpoints behind one port.
///
/// Where the system spreads the datagrams of one port over several sockets (`SO_REUSEPORT`), each with
/// an endpoint of its own, a datagram may come in at another endpoint than its peer's. Each endpoint
/// then reports its routes, and keeps the datagrams whose owner it does not know, for its owner to
/// hand over.
impl<P: Peer> RTCEndpoint<P> {
    /// Has [`poll_route_change`](Self::poll_route_change) and [`poll_stray`](Self::poll_stray) give
    /// something from now on; to be said before the first peer comes. Both are then to be polled until
    /// they give none, after every handler.
    pub fn share_port(&mut self) {
        self.routes.report_changes();
        self.strays.get_or_insert_default();
    }

    /// A route that leads here since, or no more.
    pub fn poll_route_change(&mut self) -> Option<RTCRouteChange> {
        self.look_at_touched();
        self.routes.poll_change()
    }

    /// A datagram whose owner is not here. [`route_of`](Self::route_of) tells by
    /// what to look for its owner; where there is none, [`reject`](Self::reject) it.
    pub fn poll_stray(&mut self) -> Option<TaggedBytesMut> {
        self.strays.as_mut()?.pop_front()
    }

    /// By which route a datagram finds its peer.
    #[must_use]
    pub fn route_of(message: &TaggedBytesMut) -> Option<RTCRoute> {
        let path = || RTCRoute::Path(message.transport.five_tuple());
        match demux::classify(&message.message) {
            demux::Class::Unknown => None,
            demux::Class::Stun => {
                let stun = Message::parse(&message.message).ok()?;
                Some(match stun.class() {
                    Class::Request => RTCRoute::Ufrag(unknown::ufrags_of(&stun)?.0.into()),
                    Class::Indication => path(),
                    Class::Success | Class::Error => {
                        let [a, b, c, d, ..] = stun.transaction_id().0;
                        RTCRoute::TransactionTag(u32::from_be_bytes([a, b, c, d]))
                    }
                })
            }
            _ => Some(path()),
        }
    }

    /// Drops a stray that nobody owns: an unknown peer is told, the rest is counted.
    pub fn reject(&mut self, stray: TaggedBytesMut) {
        let missing = match Self::route_of(&stray) {
            Some(RTCRoute::Ufrag(_)) => Missing::Ufrag,
            Some(RTCRoute::TransactionTag(_)) => Missing::Transaction,
            Some(RTCRoute::Path(_)) => Missing::Path,
            None => Missing::Malformed,
        };
        self.drop_stray(missing, stray);
    }

    /// Takes a path from the peer that owns it here, because a peer of another endpoint has a better
    /// claim. It comes back when the peer is heard there again and nobody has taken it.
    pub fn release_path(&mut self, path: &FiveTuple) {
        self.routes.release_path(path);
    }
}

fn mark(flag: &mut bool, queue: &mut VecDeque<u32>, peer: u32) {
    if !std::mem::replace(flag, true) {
        queue.push_back(peer);
    }
}

/// The message, out of a batch that is to be cleared.
fn take(message: &mut TaggedBytesMut) -> TaggedBytesMut {
    TaggedBytesMut {
        now: message.now,
        transport: message.transport,
        message: std::mem::take(&mut message.message),
    }
}

/// Datagrams that a peer sends before the next one has its turn: a full GSO batch.
const TURN: usize = 16;
