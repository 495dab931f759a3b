//! Server-reflexive and relayed candidates: the clients of STUN and TURN servers, over every bound
//! address (RFC 8445 section 5.1.1.2).

mod client;
mod server;
mod url;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_crypto::CryptoProvider;
use rtc_ice::{Agent, Candidate};
use rtc_shared::{FiveTuple, Rng, TransportContext, TransportMessage};
use rtc_stun::TransactionConfig;
use rtc_turn::{Encapsulation, Received};
use tracing::debug;

use self::client::{ServerClient, UNREACHABLE};
use self::server::{Entry, Place, Server};
use self::url::Host;
use crate::peer_connection::configuration::{RTCIceServer, SettingEngine};
use crate::peer_connection::event::RTCPeerConnectionIceErrorEvent;
use crate::peer_connection::request::{RTCAnswer, RTCRequest, RTCRequestId};

pub(crate) use self::url::validate;

/// Asks the configured servers for candidates, and keeps what they gave.
///
/// It knows nothing of the ICE agent but what it is told, and tells what it finds as events.
#[derive(Debug)]
pub(crate) struct Gatherer {
    cx: Context,
    servers: Vec<Entry>,
    bases: Vec<SocketAddr>,
    clients: Vec<ServerClient>,
    /// Candidates are wanted.
    has_begun: bool,
    is_closed: bool,
    /// Before this no other client is started (RFC 8445 section 14.2).
    next_start: Option<Instant>,
    /// Time between two starts.
    pace: Duration,
    /// The path in use.
    selected: Option<FiveTuple>,
    /// Something may want to be sent.
    has_news: bool,
    deadline: Option<Instant>,
}

/// What the clients share.
#[derive(Debug)]
pub(super) struct Context {
    provider: &'static CryptoProvider,
    rng: Rng,
    now: Instant,
    transaction: TransactionConfig,
    keepalive: Option<Duration>,
    /// How the answers to Binding requests find this connection.
    tag: u32,
    relay_only: bool,
    /// Our own addresses are not to be shown.
    hides_addresses: bool,
    /// Others use the same sockets: an allocation needs one of its own.
    shares_sockets: bool,
    /// Whom relays are to let through.
    peers: BTreeSet<IpAddr>,
    requests: VecDeque<RTCRequest>,
    last_request: u32,
    events: VecDeque<Event>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Event {
    /// A candidate.
    Found(Box<Candidate>),
    /// The server sees another address now.
    ReflexiveLost {
        address: SocketAddr,
        base: SocketAddr,
    },
    /// An allocation is gone.
    RelayLost(SocketAddr),
    /// A server failed.
    Error(RTCPeerConnectionIceErrorEvent),
}

impl Context {
    fn next_request(&mut self) -> RTCRequestId {
        self.last_request = self.last_request.wrapping_add(1);
        RTCRequestId(self.last_request)
    }

    fn tell_error(&mut self, base: Option<SocketAddr>, url: &str, code: u16, text: &str) {
        debug!(url, code, text, "server failed");
        let shown = base.filter(|_| !self.hides_addresses && !self.relay_only);
        self.events
            .push_back(Event::Error(RTCPeerConnectionIceErrorEvent {
                address: shown.map(|it| it.ip().to_string()).unwrap_or_default(),
                port: shown.map(|it| it.port()).unwrap_or_default(),
                url: url.to_owned(),
                error_code: code,
                error_text: text.to_owned(),
            }));
    }
}

impl Gatherer {
    pub(crate) fn new(
        setting: &SettingEngine,
        provider: &'static CryptoProvider,
        rng: Rng,
        now: Instant,
    ) -> Self {
        Self {
            cx: Context {
                provider,
                rng,
                now,
                transaction: setting.server_transaction,
                keepalive: setting.server_keepalive,
                tag: 0,
                relay_only: false,
                hides_addresses: setting.multicast_dns.hides(),
                shares_sockets: false,
                peers: BTreeSet::new(),
                requests: VecDeque::new(),
                last_request: 0,
                events: VecDeque::new(),
            },
            servers: Vec::new(),
            bases: Vec::new(),
            clients: Vec::new(),
            has_begun: false,
            is_closed: false,
            next_start: None,
            pace: setting.ice.ta,
            selected: None,
            has_news: false,
            deadline: None,
        }
    }

    /// Says that the sockets of the interfaces serve other connections too.
    pub(crate) fn share_sockets(&mut self) {
        self.cx.shares_sockets = true;
    }

    /// The name of a request that is made elsewhere.
    pub(crate) fn next_request(&mut self) -> RTCRequestId {
        self.cx.next_request()
    }

    /// Begins to gather, or to gather again after a restart, with these servers. Servers that are not
    /// among them any more are left when the generation that uses them is.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        servers: &[RTCIceServer],
        relay_only: bool,
        agent: &mut Agent,
    ) {
        self.advance(now);
        self.cx.tag = agent.transaction_tag();
        self.cx.relay_only = relay_only;
        let mut known = std::mem::take(&mut self.servers);
        for server in Server::all(servers) {
            if relay_only && server.url.kind == url::Kind::Stun {
                continue;
            }
            let same = known.iter().position(|it| it.server.is_same(&server));
            let mut entry = match same {
                Some(index) => known.swap_remove(index),
                None => Entry::new(server),
            };
            if let Place::Nowhere = entry.place {
                entry.place = Place::Unknown;
            }
            self.servers.push(entry);
        }
        for client in &mut self.clients {
            let mut servers = self.servers.iter();
            if servers.any(|it| Arc::ptr_eq(&it.server, client.server())) {
                client.renew(&self.cx);
                continue;
            }
            client.is_retired = true;
            client.is_gathering = false;
            for &relayed in client.relayed() {
                agent.retire_local_base(relayed);
            }
        }
        self.has_begun = true;
        self.plan();
        self.release(agent);
        self.proceed();
    }

    /// Gathers from one more local address.
    pub(crate) fn add_base(&mut self, now: Instant, base: SocketAddr) {
        self.advance(now);
        if !self.bases.contains(&base) && self.bases.len() < MAX_BASES {
            self.bases.push(base);
            self.plan();
            self.proceed();
        }
    }

    pub(crate) fn remove_base(&mut self, base: SocketAddr) {
        self.bases.retain(|known| *known != base);
        for client in &mut self.clients {
            if client.base() == base || client.own_socket() == Some(base) {
                client.abandon(&mut self.cx);
            }
        }
        self.clients.retain(|client| client.base() != base);
        self.proceed();
    }

    /// Sockets that belong to this connection alone.
    pub(crate) fn own_sockets(&self) -> impl Iterator<Item = SocketAddr> + Clone {
        self.clients.iter().filter_map(ServerClient::own_socket)
    }

    /// True while candidates may come of what was begun.
    pub(crate) fn is_gathering(&self) -> bool {
        self.has_begun
            && !self.is_closed
            && (!self.bases.is_empty() && self.servers.iter().any(Entry::is_pending)
                || self.clients.iter().any(|client| client.is_gathering))
    }

    /// Has relays let the datagrams of a peer through.
    pub(crate) fn permit(&mut self, now: Instant, peer: IpAddr) {
        self.advance(now);
        if self.cx.peers.len() >= MAX_PEERS || !self.cx.peers.insert(peer) {
            return;
        }
        for client in &mut self.clients {
            client.permit(&self.cx, peer);
        }
        self.note();
    }

    /// Has relays let nobody through but these.
    pub(crate) fn retain_peers(&mut self, keep: &BTreeSet<IpAddr>) {
        let gone: Vec<IpAddr> = self.cx.peers.difference(keep).copied().collect();
        for peer in gone {
            self.cx.peers.remove(&peer);
            for client in &mut self.clients {
                client.forbid(peer);
            }
        }
    }

    /// Data goes by this path from now on; a relayed one gets a channel.
    pub(crate) fn select(&mut self, now: Instant, path: FiveTuple) {
        self.advance(now);
        self.selected = Some(path);
        for client in &mut self.clients {
            client.select(&self.cx, &path);
        }
        self.note();
    }

    /// The path in use is the final one: bindings of others need not be kept open.
    pub(crate) fn conclude(&mut self) {
        for client in &mut self.clients {
            client.stop_keepalive();
        }
        self.note();
    }

    /// True when there is somebody to whom a STUN message or ChannelData could be for.
    pub(crate) fn is_active(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Takes a STUN message or ChannelData.
    pub(crate) fn handle_read(
        &mut self,
        now: Instant,
        transport: &TransportContext,
        datagram: &[u8],
    ) -> Received {
        let path = transport.five_tuple();
        self.cx.now = self.cx.now.max(now);
        let mut received = Received::NotMine;
        for client in &mut self.clients {
            if client.is_at(&path) {
                received = client.handle_datagram(&mut self.cx, path.peer_addr, datagram);
                if received != Received::NotMine {
                    break;
                }
            }
        }
        if received == Received::Consumed {
            self.proceed();
        }
        received
    }

    /// Takes what came of a request; false when it is not one of these.
    pub(crate) fn handle_answer(
        &mut self,
        now: Instant,
        id: RTCRequestId,
        answer: &RTCAnswer,
    ) -> bool {
        self.advance(now);
        let is_asked =
            |entry: &&mut Entry| matches!(entry.place, Place::Asked(asked, _) if asked == id);
        let found = match self.servers.iter_mut().find(is_asked) {
            Some(entry) => {
                entry.place = match answer {
                    RTCAnswer::Addresses(ips) if !ips.is_empty() => Place::Known(ips.clone()),
                    RTCAnswer::Failed(_) | RTCAnswer::Addresses(_) => Place::Nowhere,
                    _ => Place::Nowhere,
                };
                let reason = match answer {
                    RTCAnswer::Failed(reason) => reason.as_str(),
                    _ => "the host name has no address",
                };
                if let Place::Nowhere = entry.place {
                    let server = Arc::clone(&entry.server);
                    self.tell_nowhere(&server, reason);
                }
                self.plan();
                true
            }
            None => {
                let mut clients = self.clients.iter_mut();
                clients.any(|client| client.handle_answer(&mut self.cx, id, answer))
            }
        };
        if !found {
            // Nobody wants it any more.
            match answer {
                RTCAnswer::Bound(local_addr) => {
                    let local_addr = *local_addr;
                    self.cx
                        .requests
                        .push_back(RTCRequest::CloseSocket { local_addr });
                }
                RTCAnswer::Opened { .. } => {
                    self.cx.requests.push_back(RTCRequest::CloseStream { id });
                }
                RTCAnswer::Addresses(_) | RTCAnswer::Failed(_) => {}
            }
        }
        self.proceed();
        found
    }

    /// Something for the outside to do.
    pub(crate) fn poll_request(&mut self) -> Option<RTCRequest> {
        self.cx.requests.pop_front()
    }

    pub(crate) fn has_requests(&self) -> bool {
        !self.cx.requests.is_empty()
    }

    pub(crate) fn push_request(&mut self, request: RTCRequest) {
        self.cx.requests.push_back(request);
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.cx.events.pop_front()
    }

    /// A message to a server.
    pub(crate) fn poll_transmit(&mut self) -> Option<TransportMessage<bytes::Bytes>> {
        if !self.has_news {
            return None;
        }
        let mut clients = self.clients.iter_mut();
        let message = clients.find_map(ServerClient::poll_transmit);
        if message.is_none() {
            self.has_news = false;
            self.deadline = self.next_deadline();
        }
        message
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.has_news {
            true => self.next_deadline(),
            false => self.deadline,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, agent: &Agent) {
        self.advance(now);
        if self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        self.cx.tag = agent.transaction_tag();
        for index in 0..self.servers.len() {
            let Some(entry) = self.servers.get_mut(index) else {
                break;
            };
            if matches!(entry.place, Place::Asked(_, until) if until <= now) {
                entry.place = Place::Nowhere;
                let server = Arc::clone(&entry.server);
                self.tell_nowhere(&server, "the lookup of the host name timed out");
            }
        }
        for client in &mut self.clients {
            if client.poll_timeout().is_some_and(|at| at <= now) {
                client.handle_timeout(&mut self.cx);
            }
        }
        self.proceed();
    }

    /// The way of data from a relayed address to a peer, and how it is wrapped.
    pub(crate) fn encapsulate(&mut self, path: &FiveTuple) -> Option<(FiveTuple, Encapsulation)> {
        let mut clients = self.clients.iter_mut();
        let client = clients.find(|client| client.relayed().contains(&path.local_addr))?;
        client.encapsulate(path.peer_addr)
    }

    /// True when the local address of a path is one at a relay.
    pub(crate) fn is_relayed(&self, local_addr: SocketAddr) -> bool {
        let mut clients = self.clients.iter();
        clients.any(|client| client.relayed().contains(&local_addr))
    }

    /// Leaves the servers whose candidates nobody uses any more.
    pub(crate) fn release(&mut self, agent: &Agent) {
        let Self { clients, cx, .. } = self;
        let mut released = false;
        for client in clients.iter_mut().filter(|client| client.is_retired) {
            let is_used = client.relayed().iter().any(|it| agent.has_local_base(*it));
            if !is_used && !client.has_ended() {
                client.close(cx);
                released = true;
            }
        }
        if released {
            self.proceed();
        }
    }

    /// True when something waits for [`release`](Self::release).
    pub(crate) fn has_retired(&self) -> bool {
        self.clients.iter().any(|client| client.is_retired)
    }

    /// Gives every allocation back, for which a server may want to be asked twice.
    pub(crate) fn close(&mut self, now: Instant) {
        if self.is_closed {
            return;
        }
        self.advance(now);
        self.is_closed = true;
        let Self { clients, cx, .. } = self;
        for client in clients.iter_mut() {
            client.close(cx);
        }
        self.servers.clear();
        self.note();
    }

    /// True when no server has anything of ours, as far as it has answered.
    pub(crate) fn is_drained(&self) -> bool {
        self.clients.iter().all(ServerClient::is_free)
    }

    fn advance(&mut self, now: Instant) {
        self.cx.now = self.cx.now.max(now);
    }

    /// Something has changed.
    fn note(&mut self) {
        self.has_news = true;
    }

    /// Makes the clients that are missing: one for each server and each address that reaches it.
    fn plan(&mut self) {
        if !self.has_begun || self.is_closed {
            return;
        }
        let mut errors = Vec::new();
        for entry in &mut self.servers {
            match (&entry.place, &entry.server.url.host) {
                (Place::Unknown, Host::Name(host)) if !self.bases.is_empty() => {
                    let id = self.cx.next_request();
                    entry.place = Place::Asked(id, self.cx.now + LOOKUP_TIMEOUT);
                    let host = host.clone();
                    self.cx
                        .requests
                        .push_back(RTCRequest::ResolveHost { id, host });
                }
                (Place::Known(ips), _) => {
                    let mut is_reached = self.bases.is_empty();
                    for &base in &self.bases {
                        let addresses = entry.server.reachable(base, ips);
                        is_reached |= !addresses.is_empty();
                        let is_there = self.clients.iter().any(|client| {
                            client.base() == base && Arc::ptr_eq(client.server(), &entry.server)
                        });
                        if !is_there && !addresses.is_empty() && self.clients.len() < MAX_CLIENTS {
                            let server = Arc::clone(&entry.server);
                            self.clients
                                .push(ServerClient::new(server, base, addresses));
                        }
                    }
                    if !is_reached && !std::mem::replace(&mut entry.is_out_of_reach, true) {
                        errors.push(Arc::clone(&entry.server));
                    }
                }
                _ => {}
            }
        }
        for server in errors {
            let text = "no local address can reach an address of the server";
            self.cx
                .tell_error(None, &server.url.text, UNREACHABLE, text);
        }
    }

    fn tell_nowhere(&mut self, server: &Server, reason: &str) {
        for &base in &self.bases {
            self.cx
                .tell_error(Some(base), &server.url.text, UNREACHABLE, reason);
        }
    }

    /// Starts the client whose turn it is, and reckons what comes next.
    fn proceed(&mut self) {
        self.note();
        self.clients
            .retain(|client| !(client.is_retired && client.has_ended()));
        if self.is_closed {
            return;
        }
        let now = self.cx.now;
        for index in 0..self.clients.len() {
            if self.next_start.is_some_and(|at| at > now) {
                break;
            }
            if self.start(index) {
                self.next_start = Some(now + self.pace);
            }
        }
    }

    /// Starts a client if it waits; false when it does not, or has to go on waiting.
    fn start(&mut self, index: usize) -> bool {
        let Some(client) = self.clients.get(index).filter(|it| it.is_waiting()) else {
            return false;
        };
        let url = &client.server().url;
        let (target, is_relay) = (client.target(), url.kind == url::Kind::Turn);
        let mut wants_socket = false;
        if is_relay && url.transport == url::Transport::Udp && !self.cx.shares_sockets {
            let holder = self.clients.iter().find(|other| other.holds(target));
            match holder {
                // It is about to leave.
                Some(holder) if holder.is_retired && !holder.is_allocated() => return false,
                Some(_) => wants_socket = true,
                None => {}
            }
        }
        if let Some(client) = self.clients.get_mut(index) {
            if wants_socket {
                client.want_socket();
            }
            client.start(&mut self.cx);
        }
        true
    }

    fn next_deadline(&self) -> Option<Instant> {
        let lookups = self.servers.iter().filter_map(|entry| match entry.place {
            Place::Asked(_, until) => Some(until),
            _ => None,
        });
        let is_startable = self.clients.iter().any(|client| {
            let target = client.target();
            !self.is_closed
                && client.is_waiting()
                && !self
                    .clients
                    .iter()
                    .any(|other| other.is_retired && other.holds(target))
        });
        let start = self.next_start.filter(|_| is_startable);
        let clients = self.clients.iter().filter_map(ServerClient::poll_timeout);
        lookups.chain(start).chain(clients).min()
    }
}

/// How long the outside may take to look up a name.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Local addresses from which servers are asked.
const MAX_BASES: usize = 32;
/// Servers times local addresses.
const MAX_CLIENTS: usize = 64;
/// Addresses of peers that relays let through, as many as the client of a relay takes.
const MAX_PEERS: usize = 256;

#[cfg(test)]
mod tests;
