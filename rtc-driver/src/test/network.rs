use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtc::shared::{EcnCodepoint, Rng};

use super::link::{Lane, Link, Loss, Passage};

/// A network of hosts that carries datagrams in virtual time.
///
/// This is the model alone: it has no sockets, no futures and no clock. [`World`](super::World) puts
/// these on top; a simulation of bare cores can use it as it is.
///
/// A datagram goes from its host over the host's uplink, through the gateway that it is behind, if
/// there is one, over the link of the two hosts, and on the other side the same way in. What is not
/// set costs no time: a datagram between two ordinary hosts passes one link.
///
/// ```
/// use std::time::{Duration, Instant};
/// use rtc_driver::test::{Datagram, Link, Network};
///
/// let mut network = Network::new(7);
/// let alice = network.add_host(["192.0.2.1".parse()?]);
/// let bob = network.add_host(["192.0.2.2".parse()?]);
/// *network.link_mut(alice, bob) = Link::new(Duration::from_millis(30));
///
/// let start = Instant::now();
/// let contents = network.buffer(b"hello");
/// let datagram = Datagram::new("192.0.2.1:1000".parse()?, "192.0.2.2:2000".parse()?, contents);
/// network.send(start, alice, datagram);
/// let now = network.poll_timeout().ok_or("lost")?;
/// assert_eq!(now - start, Duration::from_millis(30));
/// let (host, datagram) = network.receive(now).ok_or("lost")?;
/// assert_eq!((host, &datagram.contents[..]), (bob, &b"hello"[..]));
/// network.recycle(datagram);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Network {
    rng: Rng,
    nodes: Vec<Node>,
    owners: BTreeMap<(Realm, IpAddr), HostId>,
    default_link: Link,
    default_loopback: Link,
    paths: BTreeMap<(HostId, HostId), Path>,
    flights: BinaryHeap<Reverse<Flight>>,
    sequence: u64,
    traffic: Traffic,
    /// Memory of datagrams that have arrived.
    spare: Vec<Vec<u8>>,
}

/// Names a host or a gateway of one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(u32);

/// A datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram {
    /// Who sent it.
    pub source: SocketAddr,
    /// Whom it is for.
    pub destination: SocketAddr,
    /// Its ECN mark.
    pub ecn: Option<EcnCodepoint>,
    /// What it carries.
    pub contents: Vec<u8>,
}

impl Datagram {
    /// A datagram without an ECN mark.
    #[must_use]
    pub fn new(source: SocketAddr, destination: SocketAddr, contents: Vec<u8>) -> Self {
        Self {
            source,
            destination,
            ecn: None,
            contents,
        }
    }
}

/// What stands between hosts and the rest of the network: a NAT, a firewall, a listener. It sees each
/// datagram that goes by and may change it.
///
/// Datagrams between hosts behind the same gateway do not pass it, unless they are sent to an address
/// of the gateway.
pub trait Gateway: Send + 'static {
    /// A datagram on its way out. `false`: it is not let through.
    fn outbound(&mut self, now: Instant, datagram: &mut Datagram) -> bool;

    /// A datagram for an address of the gateway, on its way in; it goes on to the host that has the
    /// destination it is given here. `false`: it is not let through.
    fn inbound(&mut self, now: Instant, datagram: &mut Datagram) -> bool;
}

/// What became of the datagrams of a host, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Datagrams sent.
    pub sent: u64,
    /// Bytes of UDP payload in them.
    pub sent_bytes: u64,
    /// Datagrams that arrived at the host.
    pub received: u64,
    /// Bytes of UDP payload in them.
    pub received_bytes: u64,
    /// Sent, and lost by chance.
    pub lost: u64,
    /// Sent, and longer than a link takes.
    pub too_large: u64,
    /// Sent, and lost before a link that had no room in its queue.
    pub queue_full: u64,
    /// Sent while the way was cut.
    pub cut: u64,
    /// Sent to an address that nobody has.
    pub unreachable: u64,
    /// Sent, and not let through by a gateway.
    pub refused: u64,
    /// Sent, and doubled on the way.
    pub duplicated: u64,
}

/// A part of the address space: the public network, or what is behind the gateway whose number is one
/// less.
type Realm = u32;

struct Node {
    realm: Realm,
    /// The realm behind it, of a gateway.
    gateway: Option<(Realm, Box<dyn Gateway>)>,
    uplink: Option<(Link, Lane)>,
    downlink: Option<(Link, Lane)>,
    is_cut: bool,
    traffic: Traffic,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("realm", &self.realm)
            .field("is_gateway", &self.gateway.is_some())
            .field("is_cut", &self.is_cut)
            .field("traffic", &self.traffic)
            .finish_non_exhaustive()
    }
}

/// One direction between two nodes.
#[derive(Debug, Default)]
struct Path {
    /// `None`: the default.
    link: Option<Link>,
    lane: Lane,
    is_cut: bool,
}

#[derive(Debug)]
struct Flight {
    at: Instant,
    sequence: u64,
    stop: Stop,
    sender: HostId,
    datagram: Datagram,
}

/// Where a datagram is.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// Past the uplink of a node.
    Out(HostId),
    /// Past the link to a node.
    Near(HostId),
    /// Past the downlink of a node.
    In(HostId),
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// Hosts and the ways between them.
impl Network {
    /// A network without hosts, every random choice of which follows from `seed`. Links are
    /// [`Link::default`] at first; a host reaches itself in 50 µs.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(seed.to_be_bytes()) {
            *to = from;
        }
        let mut loopback = Link::new(LOOPBACK_LATENCY);
        loopback.mtu = LOOPBACK_MTU;
        Self {
            rng: Rng::from_seed(bytes),
            nodes: Vec::new(),
            owners: BTreeMap::new(),
            default_link: Link::default(),
            default_loopback: loopback,
            paths: BTreeMap::new(),
            flights: BinaryHeap::new(),
            sequence: 0,
            traffic: Traffic::default(),
            spare: Vec::new(),
        }
    }

    /// A host with these addresses. An address that somebody has already goes to the new host.
    pub fn add_host(&mut self, addresses: impl IntoIterator<Item = IpAddr>) -> HostId {
        self.add_node(PUBLIC, None, addresses)
    }

    /// A gateway with these public addresses.
    pub fn add_gateway(
        &mut self,
        addresses: impl IntoIterator<Item = IpAddr>,
        gateway: impl Gateway,
    ) -> HostId {
        let inside = self.nodes.len() as Realm + 1;
        self.add_node(PUBLIC, Some((inside, Box::new(gateway))), addresses)
    }

    /// A host behind a gateway, with addresses that only hosts behind the same gateway know.
    pub fn add_host_behind(
        &mut self,
        gateway: HostId,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> HostId {
        let realm = self.inside(gateway).unwrap_or(PUBLIC);
        self.add_node(realm, None, addresses)
    }

    fn add_node(
        &mut self,
        realm: Realm,
        gateway: Option<(Realm, Box<dyn Gateway>)>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> HostId {
        let id = HostId(self.nodes.len() as u32);
        self.nodes.push(Node {
            realm,
            gateway,
            uplink: None,
            downlink: None,
            is_cut: false,
            traffic: Traffic::default(),
        });
        for address in addresses {
            self.add_address(id, address);
        }
        id
    }

    /// One more address of a host. It is taken from whoever had it.
    pub fn add_address(&mut self, host: HostId, address: IpAddr) {
        let realm = self.node(host).map_or(PUBLIC, |node| node.realm);
        self.owners.insert((realm, address), host);
    }

    /// Takes an address away. What is on its way to it is lost.
    pub fn remove_address(&mut self, host: HostId, address: IpAddr) {
        let realm = self.node(host).map_or(PUBLIC, |node| node.realm);
        if self.owners.get(&(realm, address)) == Some(&host) {
            self.owners.remove(&(realm, address));
        }
    }

    /// The link of every pair of hosts that has none of its own. Hosts behind the same gateway reach
    /// each other at once unless they have one of their own.
    pub fn default_link_mut(&mut self) -> &mut Link {
        &mut self.default_link
    }

    /// The link from one host to another, or to itself, in this direction. It is a copy of the default
    /// until it is changed.
    pub fn link_mut(&mut self, from: HostId, to: HostId) -> &mut Link {
        let default = if from == to {
            &self.default_loopback
        } else {
            &self.default_link
        };
        let path = self.paths.entry((from, to)).or_default();
        path.link.get_or_insert_with(|| default.clone())
    }

    /// What everything that a host sends to others passes first. `None`, the default, is nothing.
    pub fn set_uplink(&mut self, host: HostId, link: impl Into<Option<Link>>) {
        if let Some(node) = self.node_mut(host) {
            set(&mut node.uplink, link.into());
        }
    }

    /// What everything that others send to a host passes last. `None`, the default, is nothing.
    pub fn set_downlink(&mut self, host: HostId, link: impl Into<Option<Link>>) {
        if let Some(node) = self.node_mut(host) {
            set(&mut node.downlink, link.into());
        }
    }

    /// Whether nothing gets from one host to another any more. What is on its way arrives.
    pub fn set_cut(&mut self, from: HostId, to: HostId, is_cut: bool) {
        self.paths.entry((from, to)).or_default().is_cut = is_cut;
    }

    /// Whether nothing leaves or reaches a host any more.
    pub fn set_host_cut(&mut self, host: HostId, is_cut: bool) {
        if let Some(node) = self.node_mut(host) {
            node.is_cut = is_cut;
        }
    }

    /// What became of every datagram so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What a host has sent and received so far.
    #[must_use]
    pub fn traffic_of(&self, host: HostId) -> Traffic {
        self.node(host).map(|node| node.traffic).unwrap_or_default()
    }

    /// Datagrams that are on their way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    fn node(&self, id: HostId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }

    fn node_mut(&mut self, id: HostId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0 as usize)
    }

    fn inside(&self, id: HostId) -> Option<Realm> {
        self.node(id)?.gateway.as_ref().map(|(realm, _)| *realm)
    }
}

/// Datagrams.
impl Network {
    /// Memory for a datagram with these contents, that of an earlier one if possible.
    pub fn buffer(&mut self, contents: &[u8]) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.extend_from_slice(contents);
        buffer
    }

    /// Takes the memory of a datagram back.
    pub fn recycle(&mut self, datagram: Datagram) {
        let mut buffer = datagram.contents;
        buffer.clear();
        if self.spare.len() < MAX_SPARE {
            self.spare.push(buffer);
        }
    }

    /// Sends a datagram from a host, at a time that is not before that of the last call.
    pub fn send(&mut self, now: Instant, host: HostId, datagram: Datagram) {
        let size = datagram.contents.len() as u64;
        self.count(host, |traffic| {
            traffic.sent += 1;
            traffic.sent_bytes += size;
        });
        let ip = datagram.destination.ip();
        let realm = self.node(host).map_or(PUBLIC, |node| node.realm);
        if ip.is_loopback() || self.owners.get(&(realm, ip)) == Some(&host) {
            self.cross(now, host, host, host, datagram);
        } else {
            self.leave(now, host, host, datagram);
        }
    }

    /// Puts a datagram on the way that nobody has sent, past every link: it is at `host` at `at`.
    pub fn inject(&mut self, at: Instant, host: HostId, datagram: Datagram) {
        self.fly(at, Stop::In(host), host, datagram);
    }

    /// When the next datagram arrives somewhere, or gets on.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.flights.peek().map(|Reverse(flight)| flight.at)
    }

    /// The next datagram that has arrived by `now`, with the host it arrived at; to be called until
    /// there is none.
    pub fn receive(&mut self, now: Instant) -> Option<(HostId, Datagram)> {
        loop {
            if self.poll_timeout()? > now {
                return None;
            }
            let Reverse(flight) = self.flights.pop()?;
            let (at, sender, datagram) = (flight.at, flight.sender, flight.datagram);
            let arrived = match flight.stop {
                Stop::Out(node) => {
                    self.route(at, sender, node, datagram);
                    None
                }
                Stop::Near(node) => self.approach(at, sender, node, datagram),
                Stop::In(node) => self.arrive(at, sender, node, datagram),
            };
            if arrived.is_some() {
                return arrived;
            }
        }
    }

    /// Over the uplink of `node`, if it has one.
    fn leave(&mut self, now: Instant, sender: HostId, node: HostId, mut datagram: Datagram) {
        let Some(state) = self.nodes.get_mut(node.0 as usize) else {
            return;
        };
        if state.is_cut {
            return self.lose(sender, datagram, |traffic| &mut traffic.cut);
        }
        let Some((link, lane)) = &mut state.uplink else {
            return self.route(now, sender, node, datagram);
        };
        let size = datagram.contents.len();
        let passage = lane.carry(link, now, size, &mut datagram.ecn, &mut self.rng);
        self.pass(passage, Stop::Out(node), sender, datagram);
    }

    /// To whoever has the destination in the realm of `node`, or out through its gateway.
    fn route(&mut self, now: Instant, sender: HostId, node: HostId, mut datagram: Datagram) {
        let Some(realm) = self.node(node).map(|node| node.realm) else {
            return;
        };
        if let Some(&to) = self.owners.get(&(realm, datagram.destination.ip())) {
            return self.cross(now, sender, node, to, datagram);
        }
        let Some(gateway) = realm.checked_sub(1).map(HostId) else {
            return self.lose(sender, datagram, |traffic| &mut traffic.unreachable);
        };
        let lets_through = self
            .node_mut(gateway)
            .and_then(|node| node.gateway.as_mut())
            .is_some_and(|(_, gateway)| gateway.outbound(now, &mut datagram));
        if lets_through {
            self.leave(now, sender, gateway, datagram);
        } else {
            self.lose(sender, datagram, |traffic| &mut traffic.refused);
        }
    }

    /// Over the link of two nodes.
    fn cross(
        &mut self,
        now: Instant,
        sender: HostId,
        from: HostId,
        to: HostId,
        mut datagram: Datagram,
    ) {
        let is_inside = self.node(to).is_some_and(|node| node.realm != PUBLIC);
        let stop = if from == to {
            Stop::In(to)
        } else {
            Stop::Near(to)
        };
        let path = self.paths.entry((from, to)).or_default();
        if path.is_cut {
            return self.lose(sender, datagram, |traffic| &mut traffic.cut);
        }
        let link = match &path.link {
            Some(link) => link,
            None if from == to => &self.default_loopback,
            None if is_inside => return self.fly(now, stop, sender, datagram),
            None => &self.default_link,
        };
        let size = datagram.contents.len();
        let passage = path
            .lane
            .carry(link, now, size, &mut datagram.ecn, &mut self.rng);
        self.pass(passage, stop, sender, datagram);
    }

    /// Over the downlink of `node`, if it has one.
    fn approach(
        &mut self,
        now: Instant,
        sender: HostId,
        node: HostId,
        mut datagram: Datagram,
    ) -> Option<(HostId, Datagram)> {
        let state = self.nodes.get_mut(node.0 as usize)?;
        if state.is_cut {
            self.lose(sender, datagram, |traffic| &mut traffic.cut);
            return None;
        }
        let Some((link, lane)) = &mut state.downlink else {
            return self.arrive(now, sender, node, datagram);
        };
        let size = datagram.contents.len();
        let passage = lane.carry(link, now, size, &mut datagram.ecn, &mut self.rng);
        self.pass(passage, Stop::In(node), sender, datagram);
        None
    }

    /// At `node`, or through it to a host behind it.
    fn arrive(
        &mut self,
        now: Instant,
        sender: HostId,
        node: HostId,
        mut datagram: Datagram,
    ) -> Option<(HostId, Datagram)> {
        let state = self.nodes.get_mut(node.0 as usize)?;
        if let Some((inside, gateway)) = &mut state.gateway {
            let inside = *inside;
            if !gateway.inbound(now, &mut datagram) {
                self.lose(sender, datagram, |traffic| &mut traffic.refused);
                return None;
            }
            match self.owners.get(&(inside, datagram.destination.ip())) {
                Some(&to) => self.cross(now, sender, node, to, datagram),
                None => self.lose(sender, datagram, |traffic| &mut traffic.unreachable),
            }
            return None;
        }
        let (realm, ip) = (state.realm, datagram.destination.ip());
        if !ip.is_loopback() && self.owners.get(&(realm, ip)) != Some(&node) {
            self.lose(sender, datagram, |traffic| &mut traffic.unreachable);
            return None;
        }
        let size = datagram.contents.len() as u64;
        self.count(node, |traffic| {
            traffic.received += 1;
            traffic.received_bytes += size;
        });
        Some((node, datagram))
    }

    fn pass(
        &mut self,
        passage: Result<Passage, Loss>,
        stop: Stop,
        sender: HostId,
        datagram: Datagram,
    ) {
        match passage {
            Ok(Passage { at, again }) => {
                if let Some(again) = again {
                    let contents = self.buffer(&datagram.contents);
                    let double = Datagram {
                        contents,
                        ..datagram
                    };
                    self.count(sender, |traffic| traffic.duplicated += 1);
                    self.fly(again, stop, sender, double);
                }
                self.fly(at, stop, sender, datagram);
            }
            Err(loss) => self.lose(sender, datagram, |traffic| match loss {
                Loss::Chance => &mut traffic.lost,
                Loss::TooLarge => &mut traffic.too_large,
                Loss::QueueFull => &mut traffic.queue_full,
            }),
        }
    }

    fn fly(&mut self, at: Instant, stop: Stop, sender: HostId, datagram: Datagram) {
        self.sequence += 1;
        self.flights.push(Reverse(Flight {
            at,
            sequence: self.sequence,
            stop,
            sender,
            datagram,
        }));
    }

    fn lose(
        &mut self,
        sender: HostId,
        datagram: Datagram,
        which: impl Fn(&mut Traffic) -> &mut u64,
    ) {
        self.count(sender, |traffic| *which(traffic) += 1);
        self.recycle(datagram);
    }

    fn count(&mut self, host: HostId, add: impl Fn(&mut Traffic)) {
        add(&mut self.traffic);
        if let Some(node) = self.node_mut(host) {
            add(&mut node.traffic);
        }
    }
}

fn set(access: &mut Option<(Link, Lane)>, link: Option<Link>) {
    let lane = access.take().map(|(_, lane)| lane).unwrap_or_default();
    *access = link.map(|link| (link, lane));
}

const PUBLIC: Realm = 0;
const LOOPBACK_LATENCY: Duration = Duration::from_micros(50);
const LOOPBACK_MTU: usize = 65_507;
/// Buffers kept for later datagrams: what a fast path of long delay has under way.
const MAX_SPARE: usize = 4096;

#[cfg(test)]
mod tests;
