use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_ice::Candidate;
use rtc_shared::{FiveTuple, TransportMessage, TransportProtocol};
use rtc_turn::{
    BindingClient, BindingConfig, BindingEvent, Client, ClientConfig, ClientState, Encapsulation,
    Received, RelayedFamilies, Remedy,
};
use smallvec::SmallVec;
use tracing::debug;

use super::server::Server;
use super::url::{Host, Kind, Transport};
use super::{Context, Event};
use crate::peer_connection::request::{RTCAnswer, RTCRequest, RTCRequestId, RTCStreamKind};

/// What is asked of one server from one local address.
pub(super) struct ServerClient {
    server: Arc<Server>,
    /// Where the socket of the interface is bound.
    base: SocketAddr,
    /// The addresses of the server, and the one that it is its turn of.
    addresses: Vec<SocketAddr>,
    attempt: usize,
    /// The way to the server, once there is a socket for it.
    path: Option<FiveTuple>,
    /// Wants a port that nobody else has: the server knows an allocation of the interface's.
    wants_socket: bool,
    own_socket: Option<SocketAddr>,
    stream: Option<RTCRequestId>,
    work: Work,
    /// Whether gathering waits for it.
    pub(super) is_gathering: bool,
    /// Of a server that is not configured any more: it serves the generation before a restart.
    pub(super) is_retired: bool,
    mapped: Option<SocketAddr>,
    relayed: SmallVec<[SocketAddr; 2]>,
    /// The peer that has a channel.
    channel: Option<SocketAddr>,
    /// Allocations in a row that were lost.
    losses: u32,
    /// The server wants to be left alone until then (RFC 8656 section 7.4), and what it said.
    refusal: Option<(Instant, rtc_turn::Error)>,
}

enum Work {
    /// For its turn.
    Waiting,
    /// For a socket or stream.
    Asked(RTCRequestId, Instant),
    Stun(Box<BindingClient>),
    Turn(Box<Client>),
    /// Until the allocation is tried again.
    Resting(Instant),
    Ended,
}

impl std::fmt::Debug for ServerClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerClient")
            .field("url", &self.server.url.text)
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl ServerClient {
    /// `addresses` are those of the server that can be reached from `base`, one at least.
    pub(super) fn new(server: Arc<Server>, base: SocketAddr, addresses: Vec<SocketAddr>) -> Self {
        Self {
            server,
            base,
            addresses,
            attempt: 0,
            path: None,
            wants_socket: false,
            own_socket: None,
            stream: None,
            work: Work::Waiting,
            is_gathering: true,
            is_retired: false,
            mapped: None,
            relayed: SmallVec::new(),
            channel: None,
            losses: 0,
            refusal: None,
        }
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    pub(super) fn base(&self) -> SocketAddr {
        self.base
    }

    pub(super) fn own_socket(&self) -> Option<SocketAddr> {
        self.own_socket
    }

    /// The relayed addresses of the allocation.
    pub(super) fn relayed(&self) -> &[SocketAddr] {
        &self.relayed
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.work, Work::Waiting)
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.work, Work::Ended)
    }

    /// The server and the socket that it wants to ask it from.
    pub(super) fn target(&self) -> (SocketAddr, SocketAddr) {
        let address = self.addresses.get(self.attempt).copied();
        (self.base, address.unwrap_or(self.base))
    }

    /// Whether an allocation occupies the path between the interface's socket and a server.
    pub(super) fn holds(&self, target: (SocketAddr, SocketAddr)) -> bool {
        matches!(self.work, Work::Turn(_))
            && self.path.is_some_and(|path| {
                path.transport_protocol == TransportProtocol::UDP
                    && (path.local_addr, path.peer_addr) == target
            })
    }

    /// Has it use a port of its own.
    pub(super) fn want_socket(&mut self) {
        self.wants_socket = true;
    }

    /// Its turn has come.
    pub(super) fn start(&mut self, cx: &mut Context) {
        let (base, peer) = self.target();
        if let Some((until, error)) = self.refusal.clone() {
            if cx.now < until {
                return self.give_up(cx, &error);
            }
            self.refusal = None;
        }
        let url = &self.server.url;
        let is_relay = url.kind == Kind::Turn;
        match url.transport {
            Transport::Dtls => {
                self.tell_error(cx, UNREACHABLE, "DTLS to servers is not supported");
                self.end(cx);
            }
            Transport::Tcp | Transport::Tls => {
                let host = match &url.host {
                    Host::Ip(ip) => ip.to_string(),
                    Host::Name(name) => name.clone(),
                };
                let tls = (url.transport == Transport::Tls).then_some(host);
                self.open_stream(cx, peer, tls);
            }
            Transport::Udp if is_relay && (cx.shares_sockets || self.wants_socket) => {
                match self.own_socket {
                    Some(local_addr) => self.begin(cx, udp(local_addr, peer)),
                    None => {
                        let id = cx.next_request();
                        let ip = base.ip();
                        cx.requests.push_back(RTCRequest::BindSocket { id, ip });
                        self.work = Work::Asked(id, cx.now + SOCKET_TIMEOUT);
                    }
                }
            }
            Transport::Udp => self.begin(cx, udp(base, peer)),
        }
    }

    fn open_stream(&mut self, cx: &mut Context, peer_addr: SocketAddr, tls: Option<String>) {
        let id = cx.next_request();
        self.stream = Some(id);
        cx.requests.push_back(RTCRequest::OpenStream {
            id,
            local_addr: SocketAddr::new(self.base.ip(), 0),
            peer_addr,
            kind: RTCStreamKind::Turn { tls },
        });
        if !matches!(self.work, Work::Turn(_)) {
            self.work = Work::Asked(id, cx.now + STREAM_TIMEOUT);
        }
    }

    /// There is a path to the server.
    fn begin(&mut self, cx: &mut Context, path: FiveTuple) {
        self.path = Some(path);
        let rng = cx.rng.fork();
        if self.server.url.kind == Kind::Stun {
            let mut config = BindingConfig::default();
            config.transaction = cx.transaction;
            config.keepalive = cx.keepalive;
            config.transaction_tag = Some(cx.tag);
            let client = BindingClient::new(config, rng, path, cx.now);
            self.work = Work::Stun(Box::new(client));
            return;
        }
        let mut config = ClientConfig::default();
        config.credentials = self.server.credentials.clone();
        config.families = RelayedFamilies::Both;
        config.transaction = cx.transaction;
        config.keepalive = cx.keepalive;
        let mut client = Client::new(config, cx.provider, rng, path, cx.now);
        for &peer in &cx.peers {
            // What the server cannot do will be clear from its answer.
            let _ = client.create_permission(cx.now, peer);
        }
        self.work = Work::Turn(Box::new(client));
    }

    /// Asks again for what may have changed, or failed, since the last gathering.
    pub(super) fn renew(&mut self, cx: &Context) {
        match &mut self.work {
            Work::Stun(client) => {
                client.ask_again(cx.now);
                self.is_gathering = true;
            }
            Work::Ended | Work::Resting(_) => {
                self.attempt = 0;
                self.work = Work::Waiting;
                self.is_gathering = true;
            }
            Work::Waiting | Work::Asked(..) | Work::Turn(_) => {}
        }
    }

    /// Whether the path is that of this client.
    pub(super) fn is_at(&self, path: &FiveTuple) -> bool {
        self.path.as_ref() == Some(path)
    }

    pub(super) fn handle_datagram(
        &mut self,
        cx: &mut Context,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Received {
        let received = match &mut self.work {
            Work::Stun(client) => match client.handle_datagram(cx.now, from, datagram) {
                true => Received::Consumed,
                false => Received::NotMine,
            },
            Work::Turn(client) => client.handle_datagram(cx.now, from, datagram),
            _ => Received::NotMine,
        };
        if received == Received::Consumed {
            self.settle(cx);
        }
        received
    }

    /// Takes what came of a request; false when it is of another client.
    pub(super) fn handle_answer(
        &mut self,
        cx: &mut Context,
        id: RTCRequestId,
        answer: &RTCAnswer,
    ) -> bool {
        let is_asked = matches!(self.work, Work::Asked(asked, _) if asked == id);
        if !is_asked && self.stream != Some(id) {
            return false;
        }
        match (answer, &mut self.work) {
            (RTCAnswer::Bound(local_addr), _) if is_asked => {
                self.own_socket = Some(*local_addr);
                let (_, peer) = self.target();
                self.begin(cx, udp(*local_addr, peer));
            }
            (
                &RTCAnswer::Opened {
                    local_addr,
                    peer_addr,
                },
                work,
            ) => {
                let path = FiveTuple {
                    local_addr,
                    peer_addr,
                    transport_protocol: TransportProtocol::TCP,
                };
                match work {
                    Work::Turn(client) => {
                        client.handle_reconnected(cx.now, path);
                        self.path = Some(path);
                    }
                    _ => self.begin(cx, path),
                }
            }
            (RTCAnswer::Failed(_), Work::Turn(client)) => {
                self.stream = None;
                client.handle_disconnected(cx.now);
            }
            (RTCAnswer::Failed(reason), _) => {
                self.stream = None;
                self.fail_over(cx, reason.clone());
            }
            _ => self.fail_over(
                cx,
                "the request was answered with something else".to_owned(),
            ),
        }
        self.settle(cx);
        true
    }

    /// The address in turn cannot be reached.
    fn fail_over(&mut self, cx: &mut Context, reason: String) {
        if self.next_address() {
            return;
        }
        self.tell_error(cx, UNREACHABLE, &reason);
        self.end(cx);
    }

    fn next_address(&mut self) -> bool {
        let is_there = self.attempt + 1 < self.addresses.len();
        if is_there {
            self.attempt += 1;
            self.work = Work::Waiting;
            self.path = None;
        }
        is_there
    }

    /// Carries on what its client tells.
    pub(super) fn settle(&mut self, cx: &mut Context) {
        loop {
            match &mut self.work {
                Work::Stun(client) => match client.poll_event() {
                    Some(event) => self.on_binding(cx, event),
                    None => return,
                },
                Work::Turn(client) => match client.poll_event() {
                    Some(event) => self.on_turn(cx, event),
                    None => return,
                },
                _ => return,
            }
        }
    }

    fn on_binding(&mut self, cx: &mut Context, event: BindingEvent) {
        match event {
            BindingEvent::Mapped(address) => {
                self.is_gathering = false;
                self.found_reflexive(cx, address);
                if self.server.url.transport.is_stream() {
                    // Over a stream the answer has told that the server is there, and nothing more.
                    self.end(cx);
                }
            }
            BindingEvent::Failed(error) if self.is_gathering => {
                if self.next_address() {
                    return;
                }
                self.is_gathering = false;
                self.tell_turn_error(cx, &error);
                if self.mapped.is_none() {
                    self.end(cx);
                }
            }
            // It worked before; the keepalive goes on.
            _ => {}
        }
    }

    fn found_reflexive(&mut self, cx: &mut Context, address: SocketAddr) {
        let is_udp = self.path.is_some_and(|path| {
            path.transport_protocol == TransportProtocol::UDP && path.local_addr == self.base
        });
        if !is_udp || cx.relay_only || address.is_ipv4() != self.base.is_ipv4() {
            return;
        }
        if let Some(old) = self.mapped.replace(address)
            && old != address
        {
            cx.events.push_back(Event::ReflexiveLost {
                address: old,
                base: self.base,
            });
        }
        let candidate = Candidate::server_reflexive(address, self.base);
        self.found(cx, candidate);
    }

    fn found(&self, cx: &mut Context, candidate: Candidate) {
        let mut candidate = candidate.with_url(&*self.server.url.text);
        if let Some(path) = self.path {
            candidate = candidate.with_server(path.peer_addr);
        }
        if cx.hides_addresses || cx.relay_only {
            candidate.related = None;
        }
        cx.events.push_back(Event::Found(Box::new(candidate)));
    }

    fn on_turn(&mut self, cx: &mut Context, event: rtc_turn::Event) {
        match event {
            rtc_turn::Event::Allocated {
                relayed,
                additional,
                mapped,
            } => {
                self.is_gathering = false;
                self.losses = 0;
                self.path = match &self.work {
                    Work::Turn(client) => Some(client.path()),
                    _ => self.path,
                };
                self.found_reflexive(cx, mapped);
                let protocol = self.server.url.transport.relay_protocol();
                self.relayed = [Some(relayed), additional].into_iter().flatten().collect();
                for &relayed in &self.relayed {
                    let candidate = Candidate::relayed(relayed, mapped);
                    self.found(cx, candidate.with_relay_protocol(protocol));
                }
            }
            rtc_turn::Event::Redirected { server, domain } => {
                self.close_stream(cx);
                let tls = match (&self.server.url.transport, &self.server.url.host) {
                    (Transport::Tls, Host::Name(name)) => {
                        Some(domain.unwrap_or_else(|| name.clone()))
                    }
                    (Transport::Tls, Host::Ip(_)) => {
                        Some(domain.unwrap_or_else(|| server.ip().to_string()))
                    }
                    _ => None,
                };
                self.open_stream(cx, server, tls);
            }
            rtc_turn::Event::Failed(error) => self.on_turn_failed(cx, error),
            rtc_turn::Event::Closed => self.end(cx),
            event => debug!(?event, "TURN"),
        }
    }

    fn on_turn_failed(&mut self, cx: &mut Context, error: rtc_turn::Error) {
        debug!(%error, url = %self.server.url.text, "allocation failed");
        self.close_stream(cx);
        let was_there = !self.relayed.is_empty();
        for relayed in std::mem::take(&mut self.relayed) {
            cx.events.push_back(Event::RelayLost(relayed));
        }
        self.channel = None;
        self.path = None;
        if self.is_retired {
            return self.end(cx);
        }
        let remedy = error.remedy();
        let is_udp = self.server.url.transport == Transport::Udp;
        if remedy == Remedy::OtherPort && is_udp && (was_there || self.own_socket.is_none()) {
            // A server that knows nothing of an allocation that was there has forgotten it; one that
            // knows another at this port needs another port.
            self.wants_socket |= !was_there;
            self.work = Work::Waiting;
            return;
        }
        if error.code().is_none() && self.next_address() {
            return;
        }
        if was_there && remedy != Remedy::OtherCredentials {
            // What worked once is worth trying again.
            self.tell_turn_error(cx, &error);
            self.is_gathering = false;
            self.attempt = 0;
            let wait = RETRY_MIN * 2_u32.saturating_pow(self.losses.min(16));
            self.losses += 1;
            self.work = Work::Resting(cx.now + wait.min(RETRY_MAX));
            return;
        }
        if matches!(error.code(), Some(486 | 508)) {
            self.refusal = Some((cx.now + RETRY_MAX, error.clone()));
        }
        self.give_up(cx, &error);
    }

    fn give_up(&mut self, cx: &mut Context, error: &rtc_turn::Error) {
        self.tell_turn_error(cx, error);
        self.end(cx);
    }

    fn tell_turn_error(&self, cx: &mut Context, error: &rtc_turn::Error) {
        match error {
            rtc_turn::Error::Refused { code, reason } => self.tell_error(cx, *code, reason),
            error => {
                let code = error.code().unwrap_or(UNREACHABLE);
                self.tell_error(cx, code, &error.to_string());
            }
        }
    }

    fn tell_error(&self, cx: &mut Context, code: u16, text: &str) {
        cx.tell_error(Some(self.base), &self.server.url.text, code, text);
    }

    /// Nothing more is to be had from it.
    fn end(&mut self, cx: &mut Context) {
        self.is_gathering = false;
        self.work = Work::Ended;
        self.path = None;
        self.close_stream(cx);
        if let Some(local_addr) = self.own_socket.take() {
            cx.requests
                .push_back(RTCRequest::CloseSocket { local_addr });
        }
    }

    fn close_stream(&mut self, cx: &mut Context) {
        if let Some(id) = self.stream.take() {
            cx.requests.push_back(RTCRequest::CloseStream { id });
        }
    }

    /// Gives the allocation back, or stops asking.
    pub(super) fn close(&mut self, cx: &mut Context) {
        self.is_gathering = false;
        match &mut self.work {
            Work::Turn(client) => {
                client.close(cx.now);
                self.settle(cx);
            }
            _ => self.end(cx),
        }
    }

    /// The interface is gone, and with it the way to the server.
    pub(super) fn abandon(&mut self, cx: &mut Context) {
        for relayed in std::mem::take(&mut self.relayed) {
            cx.events.push_back(Event::RelayLost(relayed));
        }
        self.end(cx);
    }

    pub(super) fn permit(&mut self, cx: &Context, peer: std::net::IpAddr) {
        if let Work::Turn(client) = &mut self.work
            && let Err(error) = client.create_permission(cx.now, peer)
        {
            debug!(%peer, %error, "no permission");
        }
    }

    pub(super) fn forbid(&mut self, peer: std::net::IpAddr) {
        if let Work::Turn(client) = &mut self.work {
            client.remove_permission(peer);
        }
    }

    /// Has the path in use go by a channel, if it goes by this relay.
    pub(super) fn select(&mut self, cx: &Context, path: &FiveTuple) {
        let is_ours = self.relayed.contains(&path.local_addr);
        let wanted = is_ours.then_some(path.peer_addr);
        let Work::Turn(client) = &mut self.work else {
            return;
        };
        if wanted == self.channel {
            return;
        }
        if let Some(old) = self.channel.take() {
            client.release_channel(old);
        }
        if let Some(peer) = wanted {
            match client.bind_channel(cx.now, peer) {
                Ok(()) => self.channel = Some(peer),
                Err(error) => debug!(%peer, %error, "no channel"),
            }
        }
    }

    /// How data to a peer is wrapped, and the way it takes.
    pub(super) fn encapsulate(&mut self, peer: SocketAddr) -> Option<(FiveTuple, Encapsulation)> {
        match &mut self.work {
            Work::Turn(client) => Some((client.path(), client.encapsulate(peer)?)),
            _ => None,
        }
    }

    /// Lets the way to the server's answers close: nobody needs its candidates any more.
    pub(super) fn stop_keepalive(&mut self) {
        if let Work::Stun(client) = &mut self.work
            && !self.is_gathering
        {
            client.close();
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<TransportMessage<bytes::Bytes>> {
        match &mut self.work {
            Work::Stun(client) => client.poll_transmit(),
            Work::Turn(client) => {
                let message = client.poll_transmit();
                // A redirection changes the path.
                if self.path.is_some() {
                    self.path = Some(client.path());
                }
                message
            }
            _ => None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.work {
            Work::Asked(_, until) | Work::Resting(until) => Some(*until),
            Work::Stun(client) => client.poll_timeout(),
            Work::Turn(client) => client.poll_timeout(),
            Work::Waiting | Work::Ended => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Context) {
        match &mut self.work {
            Work::Asked(_, until) if *until <= cx.now => {
                self.close_stream(cx);
                self.fail_over(cx, "there is no socket for it".to_owned());
            }
            Work::Resting(until) if *until <= cx.now => self.work = Work::Waiting,
            Work::Stun(client) => {
                client.set_transaction_tag(cx.tag);
                client.handle_timeout(cx.now);
            }
            Work::Turn(client) => client.handle_timeout(cx.now),
            _ => {}
        }
        self.settle(cx);
    }

    pub(super) fn is_allocated(&self) -> bool {
        matches!(&self.work, Work::Turn(client) if client.state() == ClientState::Allocated)
    }

    /// Whether the server has no allocation of it.
    pub(super) fn is_free(&self) -> bool {
        !matches!(self.work, Work::Turn(_))
    }
}

fn udp(local_addr: SocketAddr, peer_addr: SocketAddr) -> FiveTuple {
    FiveTuple {
        local_addr,
        peer_addr,
        transport_protocol: TransportProtocol::UDP,
    }
}

/// The code of W3C for a server that was not reached.
pub(super) const UNREACHABLE: u16 = 701;
/// A socket is bound at once, by whoever does it at all.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(3);
/// TCP and TLS take some round trips.
const STREAM_TIMEOUT: Duration = Duration::from_secs(15);
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The time that RFC 8656 section 7.4 asks for.
const RETRY_MAX: Duration = Duration::from_secs(60);
