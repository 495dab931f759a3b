//! Names of multicast DNS in candidates (draft-ietf-mmusic-mdns-ice-candidates): those of the peer are
//! looked up, and ours stand for addresses that are not to be shown.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use rtc_ice::{Candidate, CandidateType};
use rtc_mdns::Name;
use tracing::debug;

use super::RTCPeerConnection;
use super::request::{RTCAnswer, RTCRequest, RTCRequestId};

/// Ours and the peer's.
#[derive(Debug, Default)]
pub(super) struct Names {
    own: BTreeMap<IpAddr, Name>,
    lookups: Vec<Lookup>,
}

/// A name of the peer.
#[derive(Debug)]
struct Lookup {
    id: RTCRequestId,
    name: Name,
    /// The one address that it has, once that is known.
    ip: Option<IpAddr>,
    /// Candidates that wait for it.
    waiting: Vec<Candidate>,
}

impl RTCPeerConnection {
    /// Adds a candidate of the peer when the address behind its name is known. Nothing depends on when
    /// or whether that happens.
    pub(super) fn look_up(&mut self, candidate: Candidate) {
        let name = candidate
            .hostname()
            .and_then(|name| name.parse::<Name>().ok());
        let Some(name) = name.filter(|_| self.configuration.setting.multicast_dns.resolves())
        else {
            debug!(name = candidate.hostname(), "name is not looked up");
            return;
        };
        let lookups = &mut self.names.lookups;
        if let Some(known) = lookups.iter_mut().find(|known| known.name == name) {
            match known.ip {
                Some(ip) => {
                    let candidate = candidate.resolved(ip);
                    self.transport.add_remote_candidate(self.now, candidate);
                }
                None if known.waiting.len() < MAX_WAITING => known.waiting.push(candidate),
                None => {}
            }
            return;
        }
        if lookups.len() >= MAX_LOOKUPS {
            debug!("too many names of the peer");
            return;
        }
        let id = self.transport.gather.next_request();
        lookups.push(Lookup {
            id,
            name,
            ip: None,
            waiting: vec![candidate],
        });
        self.transport
            .gather
            .push_request(RTCRequest::ResolveMulticast {
                id,
                host: name.as_str().to_owned(),
            });
    }

    /// Takes the answer to a lookup; false when it is to something else.
    pub(super) fn answer_lookup(&mut self, id: RTCRequestId, answer: &RTCAnswer) -> bool {
        let lookups = &mut self.names.lookups;
        let Some(index) = lookups.iter().position(|known| known.id == id) else {
            return false;
        };
        let ip = match answer {
            // Of several addresses nobody knows which one is meant (section 3.2.1 of the draft).
            RTCAnswer::Addresses(ips) => match ips.as_slice() {
                [ip] => Some(*ip),
                _ => None,
            },
            _ => None,
        };
        let Some(ip) = ip else {
            debug!(?answer, "name is not resolved");
            lookups.swap_remove(index);
            return true;
        };
        let waiting = lookups.get_mut(index).map(|known| {
            known.ip = Some(ip);
            std::mem::take(&mut known.waiting)
        });
        for candidate in waiting.unwrap_or_default() {
            self.transport
                .add_remote_candidate(self.now, candidate.resolved(ip));
        }
        true
    }

    /// Has a name answered for in the place of the address of a host candidate.
    pub(super) fn announce_name(&mut self, candidate: &Candidate) {
        let Some(ip) = self.hidden_ip(candidate) else {
            return;
        };
        let own = &mut self.names.own;
        if own.contains_key(&ip) || own.len() >= MAX_LOOKUPS {
            return;
        }
        let name = Name::random(&mut self.rng);
        own.insert(ip, name);
        self.transport
            .gather
            .push_request(RTCRequest::AnnounceMulticast {
                host: name.as_str().to_owned(),
                ip,
            });
    }

    pub(super) fn withdraw_names(&mut self) {
        for name in std::mem::take(&mut self.names.own).into_values() {
            let host = name.as_str().to_owned();
            self.transport
                .gather
                .push_request(RTCRequest::WithdrawMulticast { host });
        }
        self.names.lookups.clear();
    }

    /// A candidate of ours as the peer and the application may see it; `None` when its address may not
    /// be seen and has no name.
    pub(super) fn shown<'a>(&self, candidate: &'a Candidate) -> Option<Cow<'a, Candidate>> {
        if !self.configuration.setting.multicast_dns.hides() {
            return Some(Cow::Borrowed(candidate));
        }
        if let Some(ip) = self.hidden_ip(candidate) {
            let name = self.names.own.get(&ip)?;
            return Some(Cow::Owned(candidate.obfuscated(name.as_str())));
        }
        let mut shown = candidate.clone();
        shown.related = None;
        Some(Cow::Owned(shown))
    }

    /// The address of a host candidate that has to be hidden.
    fn hidden_ip(&self, candidate: &Candidate) -> Option<IpAddr> {
        let address = candidate.socket_addr()?;
        let is_own = candidate.typ == CandidateType::Host
            && candidate
                .base()
                .is_some_and(|base| base.ip() == address.ip());
        (is_own && self.configuration.setting.multicast_dns.hides()).then(|| address.ip())
    }
}

/// Names of either side at a time.
const MAX_LOOKUPS: usize = 32;
/// Candidates with one name.
const MAX_WAITING: usize = 16;
