use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rtc::endpoint::{RTCEndpoint, RTCRoute, RTCRouteChange};
use rtc::peer_connection::configuration::RTCConfiguration;
use rtc::shared::{FiveTuple, TaggedBytesMut};

use super::Endpoint;
use super::shared::{EndpointShared, Member};
use crate::waiters::Watched;
use crate::{Error, PeerConnection};

/// Several endpoints behind the same addresses, so that more than one processor can serve them.
///
/// The system gives each member the datagrams of some sources, always the same (`SO_REUSEPORT`). A
/// connection stays with the member that made it, and a datagram that comes in at another one is handed
/// over. That costs a lock and a wake-up for a batch: where it matters,
/// [`accept`](Endpoint::accept) a peer at the [member](Self::members) where it announced itself.
#[derive(Clone, Debug)]
pub struct EndpointGroup {
    members: Arc<[Endpoint]>,
}

impl EndpointGroup {
    pub(super) fn new(members: Vec<Endpoint>) -> Self {
        Self {
            members: members.into(),
        }
    }

    /// Makes a connection at the member that has the fewest.
    ///
    /// # Errors
    /// As [`Endpoint::peer_connection`].
    pub fn peer_connection(
        &self,
        configuration: RTCConfiguration,
    ) -> Result<PeerConnection, Error> {
        let member = self.members.iter().min_by_key(|member| member.peers());
        let member = member.ok_or(Error::Closed)?;
        member.peer_connection(configuration)
    }

    /// The endpoints.
    #[must_use]
    pub fn members(&self) -> &[Endpoint] {
        &self.members
    }

    /// The addresses at which peers can reach the group.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.members
            .first()
            .map_or_else(Vec::new, Endpoint::local_addrs)
    }

    /// Number of connections that are not over.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.members.iter().map(Endpoint::peers).sum()
    }

    /// Closes every member; see [`Endpoint::close`].
    ///
    /// # Errors
    /// As [`Endpoint::close`].
    pub async fn close(&self) -> Result<(), Error> {
        for member in self.members.iter() {
            member.begin_close();
        }
        let mut result = Ok(());
        for member in self.members.iter() {
            result = result.and(member.close().await);
        }
        result
    }
}

/// Which member of a group a datagram belongs to.
///
/// Only who has a datagram that is not his own looks here, so that the lock costs nothing where
/// datagrams come in at the right place.
pub(super) struct Directory {
    tables: RwLock<Tables>,
    members: OnceLock<Vec<Arc<EndpointShared>>>,
}

#[derive(Default)]
struct Tables {
    ufrags: HashMap<Arc<str>, usize>,
    tags: HashMap<u32, usize>,
    paths: HashMap<FiveTuple, PathClaim>,
}

#[derive(Clone, Copy)]
struct PathClaim {
    member: usize,
    proven: bool,
}

/// What became of a claim to a path.
enum Claimed {
    Granted,
    /// Another member has a better one.
    Denied,
    /// Another member had it.
    From(usize),
}

impl Directory {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            tables: RwLock::default(),
            members: OnceLock::new(),
        })
    }

    pub(super) fn set_members(&self, members: impl Iterator<Item = Arc<EndpointShared>>) {
        self.members.get_or_init(|| members.collect());
    }

    fn member(&self, index: usize) -> Option<&Arc<EndpointShared>> {
        self.members.get()?.get(index)
    }

    fn find(&self, route: &RTCRoute) -> Option<usize> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        match route {
            RTCRoute::Ufrag(ufrag) => tables.ufrags.get(ufrag).copied(),
            RTCRoute::TransactionTag(tag) => tables.tags.get(tag).copied(),
            RTCRoute::Path(path) => tables.paths.get(path).map(|claim| claim.member),
            _ => None,
        }
    }
}

impl Tables {
    fn claim(&mut self, path: FiveTuple, claim: PathClaim) -> Claimed {
        match self.paths.entry(path) {
            Entry::Vacant(entry) => {
                entry.insert(claim);
                Claimed::Granted
            }
            Entry::Occupied(mut entry) => {
                let held = *entry.get();
                // As within an endpoint: who may have forged an address takes it from nobody who has
                // not.
                if held.member != claim.member && held.proven && !claim.proven {
                    return Claimed::Denied;
                }
                entry.insert(claim);
                if held.member == claim.member {
                    Claimed::Granted
                } else {
                    Claimed::From(held.member)
                }
            }
        }
    }

    fn remove(&mut self, route: &RTCRoute, member: usize) {
        match route {
            RTCRoute::Ufrag(ufrag) if self.ufrags.get(ufrag) == Some(&member) => {
                self.ufrags.remove(ufrag);
            }
            RTCRoute::TransactionTag(tag) if self.tags.get(tag) == Some(&member) => {
                self.tags.remove(tag);
            }
            RTCRoute::Path(path) if self.paths.get(path).map(|it| it.member) == Some(member) => {
                self.paths.remove(path);
            }
            _ => {}
        }
    }
}

/// A member's way to the others.
pub(super) struct Link {
    directory: Arc<Directory>,
    member: usize,
    handed_over: u64,
    /// Kept for its memory.
    strays: Vec<(usize, TaggedBytesMut)>,
}

impl Link {
    pub(super) fn new(directory: &Arc<Directory>, member: usize) -> Self {
        Self {
            directory: Arc::clone(directory),
            member,
            handed_over: 0,
            strays: Vec::new(),
        }
    }

    pub(super) fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// Tells what has changed here, and hands over what is for others.
    pub(super) fn exchange(&mut self, endpoint: &mut RTCEndpoint<Member>) {
        self.publish(endpoint);
        self.hand_over(endpoint);
    }

    fn publish(&self, endpoint: &mut RTCEndpoint<Member>) {
        let Some(first) = endpoint.poll_route_change() else {
            return;
        };
        let (mut denied, mut displaced) = (Vec::new(), Vec::new());
        {
            let tables = &self.directory.tables;
            let mut tables = tables.write().unwrap_or_else(PoisonError::into_inner);
            let mut next = Some(first);
            while let Some(change) = next {
                match change {
                    RTCRouteChange::Added { route, proven } => match route {
                        RTCRoute::Ufrag(ufrag) => drop(tables.ufrags.insert(ufrag, self.member)),
                        RTCRoute::TransactionTag(tag) => {
                            tables.tags.insert(tag, self.member);
                        }
                        RTCRoute::Path(path) => {
                            let member = self.member;
                            match tables.claim(path, PathClaim { member, proven }) {
                                Claimed::Granted => {}
                                Claimed::Denied => denied.push(path),
                                Claimed::From(other) => displaced.push((other, path)),
                            }
                        }
                        _ => {}
                    },
                    RTCRouteChange::Removed { route } => tables.remove(&route, self.member),
                    _ => {}
                }
                next = endpoint.poll_route_change();
            }
        }
        for path in denied {
            endpoint.release_path(&path);
        }
        for (member, path) in displaced {
            if let Some(member) = self.directory.member(member) {
                member.with(|state| {
                    state.released.push(path);
                    state.nudge = true;
                });
            }
        }
    }

    fn hand_over(&mut self, endpoint: &mut RTCEndpoint<Member>) {
        while let Some(stray) = endpoint.poll_stray() {
            let route = RTCEndpoint::<Member>::route_of(&stray);
            match route.and_then(|route| self.directory.find(&route)) {
                Some(member) if member != self.member => self.strays.push((member, stray)),
                _ => endpoint.reject(stray),
            }
        }
        while let Some(&(index, _)) = self.strays.first() {
            let strays = self.strays.extract_if(.., |(member, _)| *member == index);
            let Some(member) = self.directory.member(index) else {
                strays.for_each(drop);
                continue;
            };
            self.handed_over += member.with(|state| {
                let mut taken = 0;
                for (_, stray) in strays {
                    if state.has_ended() {
                        continue;
                    }
                    if state.inbox.len() >= INBOX {
                        state.counters.inbox_full += 1;
                        continue;
                    }
                    state.inbox.push(stray);
                    taken += 1;
                }
                state.nudge = true;
                taken
            });
        }
    }

    /// Takes every claim of the member back.
    pub(super) fn leave(&self) {
        let tables = &self.directory.tables;
        let mut tables = tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.ufrags.retain(|_, member| *member != self.member);
        tables.tags.retain(|_, member| *member != self.member);
        tables.paths.retain(|_, claim| claim.member != self.member);
    }
}

/// Datagrams of other members that may wait: a few receive calls' worth.
const INBOX: usize = 1024;

#[cfg(test)]
mod tests {
    use rtc::shared::TransportContext;

    use super::*;

    #[test]
    fn a_claim_that_may_be_forged_takes_a_path_from_nobody_who_has_proven_his() {
        let mut tables = Tables::default();
        let path = TransportContext::default().five_tuple();
        let mut claim = |member, proven| match tables.claim(path, PathClaim { member, proven }) {
            Claimed::Granted => "granted".to_owned(),
            Claimed::Denied => "denied".to_owned(),
            Claimed::From(other) => format!("from {other}"),
        };
        assert_eq!(claim(0, false), "granted");
        assert_eq!(claim(1, false), "from 0");
        assert_eq!(claim(1, true), "granted");
        assert_eq!(claim(2, false), "denied");
        assert_eq!(claim(2, true), "from 1");
        assert_eq!(claim(2, false), "granted");
        assert_eq!(claim(0, false), "from 2");
        tables.remove(&RTCRoute::Path(path), 2);
        assert_eq!(tables.paths.len(), 1, "it is not theirs any more");
        tables.remove(&RTCRoute::Path(path), 0);
        assert!(tables.paths.is_empty());
    }
}
