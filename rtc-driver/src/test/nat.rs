use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtc::shared::Rng;

use super::executor::lock;
use super::network::{Datagram, Gateway};

/// How much of the other end's address a NAT looks at (RFC 4787 sections 4.1 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependence {
    /// Nothing.
    EndpointIndependent,
    /// The IP address.
    AddressDependent,
    /// The IP address and the port.
    AddressAndPortDependent,
}

/// What a [`Nat`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NatModel {
    /// What a new outside port is taken for.
    pub mapping: Dependence,
    /// Who may send to an outside port: those to whom something was sent from it, as far as this tells
    /// them apart.
    pub filtering: Dependence,
    /// Whether hosts behind it reach each other by their outside addresses.
    pub hairpins: bool,
    /// How long a mapping lives after something was last sent from inside. Default two minutes.
    pub lifetime: Duration,
    /// Nothing gets through.
    pub is_blocked: bool,
}

impl NatModel {
    /// A NAT with this behaviour that hairpins.
    #[must_use]
    pub fn new(mapping: Dependence, filtering: Dependence) -> Self {
        Self {
            mapping,
            filtering,
            hairpins: true,
            lifetime: Duration::from_secs(120),
            is_blocked: false,
        }
    }
}

/// A network address translator for UDP, to be a [`Gateway`] of a network.
///
/// Copies are the same NAT, so that a test can change it while it runs.
///
/// ```
/// use rtc_driver::test::{Dependence, Nat, NatModel, World};
///
/// let world = World::new(1);
/// let cone = NatModel::new(Dependence::EndpointIndependent, Dependence::AddressAndPortDependent);
/// let nat = Nat::new(1, cone, ["198.51.100.1".parse()?]);
/// let gateway = world.gateway(["198.51.100.1"], nat.clone());
/// let host = world.host_behind(gateway, ["192.168.1.2"]);
/// // Later: every mapping is forgotten, as when the device has been switched off and on.
/// nat.rebind();
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Nat {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    model: NatModel,
    outside: Vec<IpAddr>,
    rng: Rng,
    mappings: Vec<Mapping>,
}

#[derive(Debug)]
struct Mapping {
    inside: SocketAddr,
    outside: SocketAddr,
    /// For whom it was made, as far as that matters.
    towards: (Option<IpAddr>, Option<u16>),
    /// To whom something was sent, and when last.
    contacts: BTreeMap<SocketAddr, Instant>,
    used: Instant,
}

impl Nat {
    /// A NAT with these addresses on its outside; its ports follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, model: NatModel, outside: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut bytes = [0x4a; 32];
        for (to, from) in bytes.iter_mut().zip(seed.to_be_bytes()) {
            *to = from;
        }
        Self {
            state: Arc::new(Mutex::new(State {
                model,
                outside: outside.into_iter().collect(),
                rng: Rng::from_seed(bytes),
                mappings: Vec::new(),
            })),
        }
    }

    /// What it does, to be changed: `change` gets the model.
    pub fn change(&self, change: impl FnOnce(&mut NatModel)) {
        change(&mut lock(&self.state).model);
    }

    /// Forgets every mapping: whoever sends next gets another port.
    pub fn rebind(&self) {
        lock(&self.state).mappings.clear();
    }

    /// Number of live mappings.
    #[must_use]
    pub fn mappings(&self) -> usize {
        lock(&self.state).mappings.len()
    }
}

impl Gateway for Nat {
    fn outbound(&mut self, now: Instant, datagram: &mut Datagram) -> bool {
        lock(&self.state).outbound(now, datagram)
    }

    fn inbound(&mut self, now: Instant, datagram: &mut Datagram) -> bool {
        lock(&self.state).inbound(now, datagram)
    }
}

impl State {
    fn outbound(&mut self, now: Instant, datagram: &mut Datagram) -> bool {
        let model = self.model;
        let (inside, peer) = (datagram.source, datagram.destination);
        let is_hairpin = self.outside.contains(&peer.ip());
        if model.is_blocked || is_hairpin && !model.hairpins {
            return false;
        }
        self.expire(now);
        let towards = match model.mapping {
            Dependence::EndpointIndependent => (None, None),
            Dependence::AddressDependent => (Some(peer.ip()), None),
            Dependence::AddressAndPortDependent => (Some(peer.ip()), Some(peer.port())),
        };
        let known = self
            .mappings
            .iter()
            .position(|it| it.inside == inside && it.towards == towards);
        let index = match known {
            Some(index) => index,
            None => {
                let Some(outside) = self.free_port(inside) else {
                    return false;
                };
                self.mappings.push(Mapping {
                    inside,
                    outside,
                    towards,
                    contacts: BTreeMap::new(),
                    used: now,
                });
                self.mappings.len() - 1
            }
        };
        let Some(mapping) = self.mappings.get_mut(index) else {
            return false;
        };
        mapping.used = now;
        mapping.contacts.insert(peer, now);
        datagram.source = mapping.outside;
        true
    }

    fn inbound(&mut self, now: Instant, datagram: &mut Datagram) -> bool {
        if self.model.is_blocked {
            return false;
        }
        self.expire(now);
        let (peer, filtering) = (datagram.source, self.model.filtering);
        let mapping = self
            .mappings
            .iter()
            .find(|mapping| mapping.outside == datagram.destination);
        let Some(mapping) = mapping else {
            return false;
        };
        let lets_through = match filtering {
            Dependence::EndpointIndependent => true,
            Dependence::AddressDependent => mapping.contacts.keys().any(|it| it.ip() == peer.ip()),
            Dependence::AddressAndPortDependent => mapping.contacts.contains_key(&peer),
        };
        datagram.destination = mapping.inside;
        lets_through
    }

    fn expire(&mut self, now: Instant) {
        let lifetime = self.model.lifetime;
        self.mappings.retain(|it| it.used + lifetime > now);
        for mapping in &mut self.mappings {
            mapping.contacts.retain(|_, used| *used + lifetime > now);
        }
    }

    fn free_port(&mut self, inside: SocketAddr) -> Option<SocketAddr> {
        let mut ips = self.outside.iter();
        let ip = *ips.find(|ip| ip.is_ipv4() == inside.is_ipv4())?;
        for _ in 0..ATTEMPTS {
            let port = FIRST_PORT + self.rng.below(u32::from(u16::MAX - FIRST_PORT)) as u16;
            let outside = SocketAddr::new(ip, port);
            if !self.mappings.iter().any(|it| it.outside == outside) {
                return Some(outside);
            }
        }
        None
    }
}

const FIRST_PORT: u16 = 10_000;
const ATTEMPTS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn nat(mapping: Dependence, filtering: Dependence) -> Nat {
        let outside = addr("198.51.100.1:0").ip();
        Nat::new(7, NatModel::new(mapping, filtering), [outside])
    }

    fn out(nat: &mut Nat, now: Instant, peer: &str) -> SocketAddr {
        let mut datagram = Datagram::new(addr("192.168.1.2:5000"), addr(peer), Vec::new());
        assert!(nat.outbound(now, &mut datagram));
        datagram.source
    }

    fn comes_in(nat: &mut Nat, now: Instant, peer: &str, to: SocketAddr) -> bool {
        let mut datagram = Datagram::new(addr(peer), to, Vec::new());
        let lets_through = nat.inbound(now, &mut datagram);
        assert!(!lets_through || datagram.destination == addr("192.168.1.2:5000"));
        lets_through
    }

    use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};

    #[test]
    fn mappings_depend_on_what_they_say() {
        let now = Instant::now();
        for (mapping, other_port, other_ip) in [
            (EndpointIndependent, true, true),
            (AddressDependent, true, false),
            (AddressAndPortDependent, false, false),
        ] {
            let mut nat = nat(mapping, EndpointIndependent);
            let first = out(&mut nat, now, "203.0.113.1:1");
            assert_eq!(first, out(&mut nat, now, "203.0.113.1:1"));
            assert_eq!(first == out(&mut nat, now, "203.0.113.1:2"), other_port);
            assert_eq!(first == out(&mut nat, now, "203.0.113.2:1"), other_ip);
        }
    }

    #[test]
    fn filters_depend_on_what_they_say() {
        let now = Instant::now();
        for (filtering, other_port, other_ip) in [
            (EndpointIndependent, true, true),
            (AddressDependent, true, false),
            (AddressAndPortDependent, false, false),
        ] {
            let mut nat = nat(EndpointIndependent, filtering);
            let outside = out(&mut nat, now, "203.0.113.1:1");
            assert!(comes_in(&mut nat, now, "203.0.113.1:1", outside));
            assert_eq!(
                comes_in(&mut nat, now, "203.0.113.1:2", outside),
                other_port
            );
            assert_eq!(comes_in(&mut nat, now, "203.0.113.2:1", outside), other_ip);
        }
    }

    #[test]
    fn mappings_end_with_time_and_with_a_rebinding() {
        let now = Instant::now();
        let mut nat = nat(EndpointIndependent, EndpointIndependent);
        let first = out(&mut nat, now, "203.0.113.1:1");
        let later = now + Duration::from_secs(121);
        assert!(!comes_in(&mut nat, later, "203.0.113.1:1", first));
        let second = out(&mut nat, later, "203.0.113.1:1");
        nat.rebind();
        assert_eq!(nat.mappings(), 0);
        assert_ne!(second, out(&mut nat, later, "203.0.113.1:1"));
        nat.change(|model| model.is_blocked = true);
        assert!(!comes_in(&mut nat, later, "203.0.113.1:1", second));
    }
}
