use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_shared::{Protocol, Rng, TaggedBytesMut, TransportContext, TransportProtocol};
use thiserror::Error;
use tracing::{debug, trace};

use crate::message::{Message, Record};
use crate::resolver::Resolver;
use crate::responder::{self, Asker, Responder};
use crate::{GROUP_V4, GROUP_V6, Name, PORT};

/// A host of multicast DNS: it looks names up and answers for its own.
///
/// Commands are [`resolve`](Self::resolve), [`register`](Self::register) and their opposites; what
/// comes of them is polled as the trait [`Protocol`] says. Each datagram that leaves names in
/// `transport.local_addr` the [`Interface`] it leaves by. Of one that arrives, `transport.local_addr`
/// may be the address of the interface or the group that it was sent to.
#[derive(Debug)]
pub struct Mdns {
    config: Config,
    rng: Rng,
    now: Instant,
    interfaces: Vec<Interface>,
    resolver: Resolver,
    responder: Responder,
    writes: VecDeque<TaggedBytesMut>,
    events: VecDeque<Event>,
    stats: Stats,
    closed: bool,
}

/// What can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// When to give a name up that nobody answers for. 10 seconds.
    pub query_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            query_timeout: Duration::from_secs(10),
        }
    }
}

/// A network interface, by an address of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Its address and the port of the socket. On a port other than 5353 others answer by unicast
    /// alone, and nobody's questions are heard.
    pub addr: SocketAddr,
    /// How many bits of the address all hosts on the link share.
    pub prefix_len: u8,
}

impl Interface {
    /// An interface with this address.
    #[must_use]
    pub fn new(addr: SocketAddr, prefix_len: u8) -> Self {
        Self { addr, prefix_len }
    }

    /// True for addresses on its link.
    fn contains(&self, other: IpAddr) -> bool {
        match (self.addr.ip(), other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix_len)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix_len)
            }
            _ => false,
        }
    }
}

/// What became of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The name has these addresses, one at least. A candidate whose name has more than one is to be
    /// ignored (draft-ietf-mmusic-mdns-ice-candidates section 3.2).
    Resolved {
        /// The name.
        name: Name,
        /// Its addresses.
        addrs: Vec<IpAddr>,
    },
    /// Nobody answered for the name.
    Failed {
        /// The name.
        name: Name,
    },
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// After [`Protocol::close`].
    #[error("closed")]
    Closed,
    /// Too many names are looked up or registered, or there are too many interfaces.
    #[error("too many names or interfaces")]
    TooMany,
}

/// What was dropped, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams that are no message.
    pub malformed: u64,
    /// Datagrams that do not come from the local link.
    pub off_link: u64,
    /// Responses that do not come from port 5353.
    pub wrong_port: u64,
    /// Records in which somebody else claims a name of ours.
    pub conflicts: u64,
    /// Datagrams that were not sent since nobody polled for them.
    pub overflow: u64,
}

impl Mdns {
    /// A host without names and interfaces.
    #[must_use]
    pub fn new(config: Config, rng: Rng, now: Instant) -> Self {
        Self {
            config,
            rng,
            now,
            interfaces: Vec::new(),
            resolver: Resolver::default(),
            responder: Responder::default(),
            writes: VecDeque::new(),
            events: VecDeque::new(),
            stats: Stats::default(),
            closed: false,
        }
    }

    /// Uses an interface. Our names are announced on it; one with the same address is replaced.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::TooMany`]
    pub fn add_interface(&mut self, interface: Interface, now: Instant) -> Result<(), Error> {
        self.advance(now)?;
        self.remove_interface(interface.addr);
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(Error::TooMany);
        }
        if self.interfaces.is_empty() {
            self.resolver.restart(self.now);
        }
        self.interfaces.push(interface);
        self.responder.add_link(self.now);
        Ok(())
    }

    /// Stops to use the interface with this address.
    pub fn remove_interface(&mut self, addr: SocketAddr) {
        if let Some(place) = self.interfaces.iter().position(|it| it.addr == addr) {
            self.interfaces.remove(place);
            self.responder.remove_link(place);
        }
    }

    /// Looks a name up; [`Event::Resolved`] or [`Event::Failed`] follows, once for each name that is
    /// being looked up, at once if the answer is known.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::TooMany`]
    pub fn resolve(&mut self, name: Name, now: Instant) -> Result<(), Error> {
        self.advance(now)?;
        let addrs = match self.responder.addr(&name) {
            Some(addr) => vec![addr],
            None => self.resolver.cached(&name, self.now),
        };
        if !addrs.is_empty() {
            let event = Event::Resolved { name, addrs };
            if !self.events.contains(&event) {
                self.events.push_back(event);
            }
            return Ok(());
        }
        let timeout = self.config.query_timeout;
        match self.resolver.ask(name, self.now, timeout) {
            true => Ok(()),
            false => Err(Error::TooMany),
        }
    }

    /// Stops to look a name up; there is no event.
    pub fn cancel(&mut self, name: &Name) {
        self.resolver.cancel(name);
    }

    /// Gives an address a random name, answers for it from now on, and announces it.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::TooMany`]
    pub fn register(&mut self, addr: IpAddr, now: Instant) -> Result<Name, Error> {
        self.advance(now)?;
        let name = Name::random(&mut self.rng);
        match self.responder.add(name, addr, self.now) {
            true => Ok(name),
            false => Err(Error::TooMany),
        }
    }

    /// Takes a name back, and tells so.
    pub fn unregister(&mut self, name: &Name, now: Instant) {
        self.now = self.now.max(now);
        if let Some(goodbye) = self.responder.remove(name) {
            self.multicast(&[goodbye]);
        }
    }

    /// What was dropped.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// True after closing, once everything has been polled.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.closed && self.writes.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn writes_pending(&self) -> usize {
        self.writes.len()
    }

    fn advance(&mut self, now: Instant) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        self.now = self.now.max(now);
        Ok(())
    }

    /// The place of the interface that a datagram came by; `None` when it is not from its link.
    ///
    /// What was sent to a group comes from the link, since routers do not forward it; of the rest the
    /// source tells (RFC 6762 section 11).
    fn link_of(&self, transport: &TransportContext) -> Option<usize> {
        let local = transport.local_addr.ip().to_canonical();
        let source = transport.peer_addr.ip().to_canonical();
        let on_link = |interface: &Interface| {
            interface.contains(source)
                || interface.addr.is_ipv4() == source.is_ipv4()
                    && (local.is_multicast() || is_link_local(source))
        };
        let place = |wanted: &dyn Fn(&Interface) -> bool| {
            self.interfaces
                .iter()
                .position(|interface| wanted(interface) && on_link(interface))
        };
        place(&|interface| interface.addr.ip() == local)
            .or_else(|| place(&|interface| interface.contains(source)))
            .or_else(|| place(&|_| true))
    }

    fn handle_query(&mut self, query: &Message, transport: TransportContext, link: usize) {
        let asker = Asker {
            link,
            legacy: transport.peer_addr.port() != PORT,
        };
        let reply = self.responder.answer(query, asker, self.now);
        if let (Some(reply), Some(interface)) = (reply, self.interfaces.get(link)) {
            let from = interface.addr;
            self.write(&reply, from, transport.peer_addr);
        }
    }

    fn handle_response(&mut self, response: &Message, link: usize) {
        let conflicts = self.responder.watch(response, link, self.now);
        if conflicts > 0 {
            debug!(conflicts, "somebody else claims a name of ours");
            self.stats.conflicts += conflicts;
        }
        for (name, addrs) in self.resolver.take(response, self.now) {
            self.events.push_back(Event::Resolved { name, addrs });
        }
    }

    /// Writes what is due: questions on all interfaces, records on each its own.
    fn flush(&mut self) {
        let questions = self.resolver.take_questions(self.now);
        for questions in questions.chunks(QUESTIONS_PER_MESSAGE) {
            let query = Message {
                questions: questions.to_vec(),
                ..Message::default()
            };
            for place in 0..self.interfaces.len() {
                self.write_to_group(&query, place);
            }
        }
        for place in 0..self.interfaces.len() {
            let records = self.responder.take_due(place, self.now);
            for response in responder::multicast(&records) {
                self.write_to_group(&response, place);
            }
        }
    }

    /// Sends records on all interfaces.
    fn multicast(&mut self, records: &[Record]) {
        for response in responder::multicast(records) {
            for place in 0..self.interfaces.len() {
                self.write_to_group(&response, place);
            }
        }
    }

    fn write_to_group(&mut self, message: &Message, place: usize) {
        let Some(from) = self.interfaces.get(place).map(|interface| interface.addr) else {
            return;
        };
        let to = match from {
            SocketAddr::V4(_) => SocketAddr::from((GROUP_V4, PORT)),
            SocketAddr::V6(from) => SocketAddrV6::new(GROUP_V6, PORT, 0, from.scope_id()).into(),
        };
        // From another port everybody would ignore it (RFC 6762 section 6).
        if message.response && from.port() != PORT {
            return;
        }
        self.write(message, from, to);
    }

    fn write(&mut self, message: &Message, from: SocketAddr, to: SocketAddr) {
        if self.writes.len() >= MAX_WRITES {
            self.stats.overflow += 1;
            return;
        }
        let mut datagram = BytesMut::new();
        message.write(&mut datagram);
        self.writes.push_back(TaggedBytesMut {
            now: self.now,
            transport: TransportContext {
                local_addr: from,
                peer_addr: to,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            },
            message: datagram,
        });
    }
}

impl Protocol<TaggedBytesMut, Infallible, Infallible> for Mdns {
    type Rout = Infallible;
    type Wout = TaggedBytesMut;
    type Eout = Event;
    type Error = Error;
    type Time = Instant;

    /// Takes one datagram.
    fn handle_read(&mut self, msg: TaggedBytesMut) -> Result<(), Error> {
        self.advance(msg.now)?;
        let Some(link) = self.link_of(&msg.transport) else {
            trace!(source = %msg.transport.peer_addr, "not from the local link");
            self.stats.off_link += 1;
            return Ok(());
        };
        match Message::parse(&msg.message) {
            Err(error) => {
                trace!(%error, source = %msg.transport.peer_addr, "malformed datagram");
                self.stats.malformed += 1;
            }
            Ok(query) if !query.response => self.handle_query(&query, msg.transport, link),
            Ok(_) if msg.transport.peer_addr.port() != PORT => {
                trace!(source = %msg.transport.peer_addr, "response from another port");
                self.stats.wrong_port += 1;
            }
            Ok(response) => self.handle_response(&response, link),
        }
        Ok(())
    }

    /// Always `None`.
    fn poll_read(&mut self) -> Option<Infallible> {
        None
    }

    fn handle_write(&mut self, msg: Infallible) -> Result<(), Error> {
        match msg {}
    }

    /// Gives the next datagram. What commands made due is gathered here, so that names which are
    /// looked up together share one.
    fn poll_write(&mut self) -> Option<TaggedBytesMut> {
        if self.writes.is_empty() && !self.closed {
            self.flush();
        }
        self.writes.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.advance(now)?;
        for name in self.resolver.take_failed(self.now) {
            self.events.push_back(Event::Failed { name });
        }
        self.flush();
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let times = [self.resolver.next(), self.responder.next()];
        times.into_iter().flatten().min()
    }

    /// Takes all names back; that is left to be polled. What is being looked up ends without event.
    fn close(&mut self) -> Result<(), Error> {
        if !self.closed {
            let goodbyes = self.responder.clear();
            self.multicast(&goodbyes);
            self.closed = true;
        }
        Ok(())
    }
}

/// True for addresses that no router forwards.
fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.is_link_local(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    }
}

const MAX_INTERFACES: usize = 64;
/// Datagrams that wait to be polled: two rounds of everything there can be is more than anyone needs.
const MAX_WRITES: usize = 1024;
/// Two for each name, of up to 80 bytes together.
const QUESTIONS_PER_MESSAGE: usize = 24;
