use std::net::{IpAddr, SocketAddr};

use rtc_shared::TransportProtocol;

use crate::{Candidate, CandidateType, TcpType};

/// Our own candidates, shared by the generations of an agent.
#[derive(Debug, Default)]
pub(crate) struct LocalCandidates {
    /// Those that are signalled.
    gathered: Vec<Candidate>,
    /// Those that only the peer's answers told of (RFC 8445 section 7.2.5.3.1).
    reflexive: Vec<Candidate>,
    /// Those of the generation before a restart alone.
    retired: Vec<Candidate>,
}

impl LocalCandidates {
    pub(crate) fn gathered(&self) -> &[Candidate] {
        &self.gathered
    }

    /// Takes candidates from what is signalled and paired; the generation before a restart goes on
    /// with them.
    pub(crate) fn retire(&mut self, doomed: impl Fn(&Candidate) -> bool) {
        let (retired, kept) = std::mem::take(&mut self.gathered)
            .into_iter()
            .partition::<Vec<_>, _>(doomed);
        self.gathered = kept;
        self.retired.extend(retired);
    }

    /// The bases that only retired candidates have.
    pub(crate) fn retired_bases(&self) -> Vec<SocketAddr> {
        let bases = self.retired.iter().filter_map(Candidate::base);
        bases.filter(|base| !self.has_base(*base)).collect()
    }

    /// Lets retired candidates be as they were.
    pub(crate) fn restore_retired(&mut self) {
        self.gathered.append(&mut self.retired);
    }

    /// Drops retired candidates.
    pub(crate) fn forget_retired(&mut self) {
        self.retired = Vec::new();
    }

    /// Drops the reflexive candidate of an address; true when there was one.
    pub(crate) fn remove_reflexive(&mut self, address: SocketAddr, base: SocketAddr) -> bool {
        let before = self.gathered.len();
        self.gathered.retain(|candidate| {
            candidate.typ != CandidateType::ServerReflexive
                || candidate.base() != Some(base)
                || candidate.socket_addr() != Some(address)
        });
        self.gathered.len() != before
    }

    fn has_base(&self, base: SocketAddr) -> bool {
        let mut bases = self.gathered.iter().filter_map(Candidate::base);
        bases.any(|known| known == base)
    }

    /// Adds a candidate with its foundation and priority computed; `None` when it is redundant (RFC
    /// 8445 section 5.1.3) or there is no room. A candidate of lower priority that becomes redundant
    /// is replaced.
    pub(crate) fn add(&mut self, mut candidate: Candidate, id: u32) -> Option<&Candidate> {
        candidate.id = id;
        candidate.foundation = self.foundation(&candidate);
        candidate.priority = self.priority(&candidate);
        let redundant = |known: &Candidate| {
            known.address == candidate.address
                && known.base() == candidate.base()
                && known.transport == candidate.transport
                && known.tcp_type == candidate.tcp_type
        };
        match self.gathered.iter().position(redundant) {
            Some(index) => {
                let known = self.gathered.get_mut(index)?;
                if known.priority >= candidate.priority {
                    return None;
                }
                candidate.id = known.id;
                *known = candidate;
                self.gathered.get(index)
            }
            None if self.gathered.len() >= MAX_GATHERED => None,
            None => {
                self.gathered.push(candidate);
                self.gathered.last()
            }
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Candidate> {
        self.gathered
            .iter()
            .chain(&self.reflexive)
            .chain(&self.retired)
            .find(|candidate| candidate.id == id)
    }

    /// The candidate that stands for a base: its host or relayed one, else a reflexive one.
    pub(crate) fn for_base(
        &self,
        base: SocketAddr,
        transport: TransportProtocol,
    ) -> Option<&Candidate> {
        self.gathered
            .iter()
            .chain(&self.retired)
            .filter(|candidate| candidate.base() == Some(base) && candidate.transport == transport)
            .max_by_key(|candidate| (candidate.socket_addr() == Some(base), candidate.priority))
    }

    /// The candidate that the peer sees for a base, learning it if it is new; `None` without room.
    pub(crate) fn mapped(
        &mut self,
        mapped: SocketAddr,
        base: SocketAddr,
        priority: u32,
        id: u32,
    ) -> Option<&Candidate> {
        let fits = |candidate: &Candidate| {
            candidate.transport == TransportProtocol::UDP
                && candidate.base() == Some(base)
                && candidate.socket_addr() == Some(mapped)
        };
        if let Some(index) = self.gathered.iter().position(fits) {
            return self.gathered.get(index);
        }
        if let Some(index) = self.reflexive.iter().position(fits) {
            return self.reflexive.get(index);
        }
        if self.reflexive.len() >= MAX_REFLEXIVE {
            return None;
        }
        let template = self.for_base(base, TransportProtocol::UDP)?;
        let (ufrag, generation) = (template.ufrag.clone(), template.generation);
        let candidate = Candidate::peer_reflexive(mapped, TransportProtocol::UDP, priority);
        let mut candidate = candidate.with_base(base);
        candidate.related = Some(base);
        candidate.id = id;
        candidate.ufrag = ufrag;
        candidate.generation = generation;
        candidate.foundation = self.foundation(&candidate);
        self.reflexive.push(candidate);
        self.reflexive.last()
    }

    /// Removes all candidates of a base; true when there were any.
    pub(crate) fn remove_base(&mut self, base: SocketAddr) -> bool {
        let before = self.gathered.len();
        self.gathered
            .retain(|candidate| candidate.base() != Some(base));
        for others in [&mut self.reflexive, &mut self.retired] {
            others.retain(|candidate| candidate.base() != Some(base));
        }
        self.gathered.len() != before
    }

    /// Drops reflexive candidates that no pair uses.
    pub(crate) fn retain_reflexive(&mut self, mut is_used: impl FnMut(u32) -> bool) {
        self.reflexive.retain(|candidate| is_used(candidate.id));
        self.reflexive.shrink_to_fit();
    }

    /// Lets the candidates belong to another generation.
    pub(crate) fn set_generation(&mut self, ufrag: &str, generation: u32) {
        for candidate in &mut self.gathered {
            candidate.ufrag = Some(ufrag.to_owned());
            candidate.generation = Some(generation);
        }
    }

    /// That of a candidate of the same kind, else the next number.
    fn foundation(&self, candidate: &Candidate) -> String {
        let all = || self.gathered.iter().chain(&self.reflexive);
        match all().find(|known| known.shares_foundation(candidate)) {
            Some(known) => known.foundation.clone(),
            None => {
                let highest = all()
                    .filter_map(|known| known.foundation.parse::<u32>().ok())
                    .max();
                highest.unwrap_or(0).saturating_add(1).to_string()
            }
        }
    }

    /// The recommended priority, lowered until no other candidate of the component has it.
    fn priority(&self, candidate: &Candidate) -> u32 {
        let mut preference = match candidate.local_preference() {
            Some(preference) => preference,
            None => self.local_preference(candidate),
        };
        loop {
            let priority = candidate.priority_for(preference);
            let taken = self
                .gathered
                .iter()
                .any(|known| known.priority == priority && known.address != candidate.address);
            if !taken || preference == 0 {
                return priority;
            }
            preference -= 1;
        }
    }

    /// Interleaves the address families, IPv6 first: the n-th address of each follows the n-1-th of
    /// the other, so that no broken family delays the other for long (RFC 8421 section 4). Reflexive
    /// candidates rank as their base does. With TCP the direction comes first (RFC 6544 section 4.2).
    fn local_preference(&self, candidate: &Candidate) -> u16 {
        let Some(base) = candidate.base() else {
            return 0;
        };
        let is_relayed = |other: &Candidate| other.typ == CandidateType::Relayed;
        let mut bases: Vec<SocketAddr> = Vec::new();
        let peers = self.gathered.iter().filter(|other| {
            other.transport == candidate.transport && is_relayed(other) == is_relayed(candidate)
        });
        for other in peers.filter_map(Candidate::base) {
            if other.is_ipv4() == base.is_ipv4() && !bases.contains(&other) {
                bases.push(other);
            }
        }
        let index = bases
            .iter()
            .position(|other| *other == base)
            .unwrap_or(bases.len());
        let rank = (2 * index + usize::from(matches!(base.ip(), IpAddr::V4(_)))).min(4095) as u16;
        match candidate.transport {
            TransportProtocol::UDP => u16::MAX - rank,
            TransportProtocol::TCP => (tcp_direction(candidate) << 13) + (8191 - rank),
        }
    }
}

/// Which side opens well depends on whether a NAT is in the way (RFC 6544 section 4.2).
fn tcp_direction(candidate: &Candidate) -> u16 {
    let behind_nat = matches!(
        candidate.typ,
        CandidateType::ServerReflexive | CandidateType::PeerReflexive
    );
    match (candidate.tcp_type, behind_nat) {
        (Some(TcpType::Active), false) | (Some(TcpType::SimultaneousOpen), true) => 6,
        (Some(TcpType::Passive), false) | (Some(TcpType::Active), true) => 4,
        (Some(TcpType::SimultaneousOpen), false) | (Some(TcpType::Passive), true) => 2,
        (None, _) => 0,
    }
}

/// More interfaces, sockets and servers than any machine has use for.
const MAX_GATHERED: usize = 64;
/// A symmetric NAT shows a new address per peer address; each costs one entry.
const MAX_REFLEXIVE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn host(address: &str) -> Candidate {
        Candidate::host(address.parse().unwrap(), TransportProtocol::UDP)
    }

    fn preferences(candidates: &LocalCandidates) -> Vec<u32> {
        candidates
            .gathered()
            .iter()
            .map(|candidate| (candidate.priority >> 8) & 0xffff)
            .collect()
    }

    #[test]
    fn families_are_interleaved_whatever_the_order_of_arrival() {
        let mut locals = LocalCandidates::default();
        for address in [
            "10.0.0.1:1",
            "10.0.0.2:1",
            "[2001:db8::1]:1",
            "[2001:db8::2]:1",
        ] {
            assert!(locals.add(host(address), 1).is_some());
        }
        assert_eq!(preferences(&locals), [65534, 65532, 65535, 65533]);
        assert_eq!(locals.gathered()[0].priority >> 24, 126);
        assert_eq!(locals.gathered()[0].priority & 0xff, 255);
    }

    #[test]
    fn reflexive_address_that_is_the_base_is_redundant() {
        let mut locals = LocalCandidates::default();
        let base = "192.0.2.1:5".parse().unwrap();
        assert!(locals.add(host("192.0.2.1:5"), 1).is_some());
        assert!(locals.add(host("192.0.2.1:5"), 2).is_none());
        assert!(
            locals
                .add(Candidate::server_reflexive(base, base), 3)
                .is_none()
        );
        let outside = "198.51.100.1:9".parse().unwrap();
        assert!(
            locals
                .add(Candidate::server_reflexive(outside, base), 4)
                .is_some()
        );
        assert_eq!(locals.for_base(base, TransportProtocol::UDP).unwrap().id, 1);
    }

    #[test]
    fn foundation_is_shared_by_type_base_address_server_and_transport() {
        let mut locals = LocalCandidates::default();
        let mut foundation = |candidate: Candidate| {
            let id = locals.gathered().len() as u32 + 1;
            locals.add(candidate, id).unwrap().foundation.clone()
        };
        let base = "10.0.0.1:1".parse().unwrap();
        let srflx = |port, server: &str| {
            Candidate::server_reflexive(SocketAddr::new([192, 0, 2, 1].into(), port), base)
                .with_server(server.parse().unwrap())
        };
        let first = foundation(host("10.0.0.1:1"));
        assert_eq!(foundation(host("10.0.0.1:2")), first);
        assert_ne!(foundation(host("10.0.0.2:1")), first);
        let reflexive = foundation(srflx(1, "198.51.100.1:3478"));
        assert_ne!(reflexive, first);
        assert_eq!(foundation(srflx(2, "198.51.100.1:3479")), reflexive);
        assert_ne!(foundation(srflx(3, "198.51.100.2:3478")), reflexive);
        let tcp = Candidate::host("10.0.0.1:9".parse().unwrap(), TransportProtocol::TCP);
        assert_ne!(foundation(tcp), first);
    }

    #[test]
    fn priorities_are_unique() {
        let mut locals = LocalCandidates::default();
        let base = "10.0.0.1:1".parse().unwrap();
        for port in 1..20 {
            let outside = SocketAddr::new([192, 0, 2, 1].into(), port);
            assert!(
                locals
                    .add(Candidate::server_reflexive(outside, base), 1)
                    .is_some()
            );
        }
        let mut priorities: Vec<_> = locals.gathered().iter().map(|c| c.priority).collect();
        priorities.sort_unstable();
        priorities.dedup();
        assert_eq!(priorities.len(), 19);
    }

    #[test]
    fn tcp_ranks_below_udp_and_by_direction() {
        let mut locals = LocalCandidates::default();
        let tcp = |port, tcp_type| {
            Candidate::host(
                SocketAddr::new([10, 0, 0, 1].into(), port),
                TransportProtocol::TCP,
            )
            .with_tcp_type(tcp_type)
        };
        let active = locals.add(tcp(9, TcpType::Active), 1).unwrap().priority;
        let passive = locals.add(tcp(7, TcpType::Passive), 2).unwrap().priority;
        let so = locals
            .add(tcp(8, TcpType::SimultaneousOpen), 3)
            .unwrap()
            .priority;
        let udp = locals.add(host("10.0.0.1:1"), 4).unwrap().priority;
        assert!(udp > active && active > passive && passive > so);
        assert_eq!(active >> 24, 90);
        assert_eq!((active >> 8) & 0xffff, (6 << 13) + 8190);
    }

    #[test]
    fn number_of_candidates_is_bounded() {
        let mut locals = LocalCandidates::default();
        for port in 1..=200 {
            locals.add(host(&format!("10.0.0.1:{port}")), 1);
        }
        assert_eq!(locals.gathered().len(), MAX_GATHERED);
        let base = "10.0.0.1:1".parse().unwrap();
        let learned = (0..200).filter(|port| {
            let mapped = SocketAddr::new([192, 0, 2, 1].into(), 1000 + port);
            locals.mapped(mapped, base, 1, 1).is_some()
        });
        assert_eq!(learned.count(), MAX_REFLEXIVE);
    }
}
