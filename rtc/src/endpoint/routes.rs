use std::collections::HashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;

use rtc_ice::{AcceptedPath, Agent};
use rtc_shared::FiveTuple;
use smallvec::SmallVec;

/// Something by which a datagram finds its peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RTCRoute {
    /// The part before the colon of the USERNAME of a check.
    Ufrag(Arc<str>),
    /// Both addresses.
    Path(FiveTuple),
    /// The first 32 bits of the transaction id of a response.
    TransactionTag(u32),
}

/// A change of what an endpoint takes for one of its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RTCRouteChange {
    /// The route leads to this endpoint.
    Added {
        /// The route.
        route: RTCRoute,
        /// Whether the peer is known to be there; always true but for paths. See
        /// [`AcceptedPath::proven`](rtc_ice::AcceptedPath).
        proven: bool,
    },
    /// The route leads here no more.
    Removed {
        /// The route.
        route: RTCRoute,
    },
}

/// Who gets which datagram. Every entry belongs to a peer and is one that its agent vouches for:
/// nothing here comes from a source that is not authenticated.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// More than one owner only by chance: fragments are as short as 24 bits.
    ufrags: HashMap<Arc<str>, SmallVec<[u32; 2]>>,
    paths: HashMap<FiveTuple, Claim>,
    tags: HashMap<u32, u32>,
    /// Sockets that are of one peer alone, as those for its relays.
    sockets: HashMap<SocketAddr, u32>,
    /// Changes that nobody has taken yet, if anybody wants them.
    changes: Option<VecDeque<RTCRouteChange>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    owner: u32,
    proven: bool,
}

/// What of the tables belongs to one peer.
#[derive(Debug, Default)]
pub(super) struct Bound {
    ufrags: SmallVec<[Arc<str>; 2]>,
    paths: Vec<AcceptedPath>,
    tag: Option<u32>,
    sockets: Vec<SocketAddr>,
}

impl Routes {
    pub(super) fn by_ufrag(&self, ufrag: &str) -> &[u32] {
        self.ufrags.get(ufrag).map_or(&[], SmallVec::as_slice)
    }

    pub(super) fn by_path(&self, path: &FiveTuple) -> Option<u32> {
        Some(self.paths.get(path)?.owner)
    }

    pub(super) fn by_tag(&self, tag: u32) -> Option<u32> {
        self.tags.get(&tag).copied()
    }

    pub(super) fn by_socket(&self, local_addr: &SocketAddr) -> Option<u32> {
        if self.sockets.is_empty() {
            return None;
        }
        self.sockets.get(local_addr).copied()
    }

    pub(super) fn ufrags(&self) -> usize {
        self.ufrags.len()
    }

    pub(super) fn paths(&self) -> usize {
        self.paths.len()
    }

    /// Has changes kept for [`poll_change`](Self::poll_change) from now on. There is no bound to them
    /// but what the agents have.
    pub(super) fn report_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    pub(super) fn poll_change(&mut self) -> Option<RTCRouteChange> {
        self.changes.as_mut()?.pop_front()
    }

    /// Brings the tables up to what the agent of a peer says now. `heard`: the peer may just have
    /// proven a path that was known before and lost to somebody else since.
    pub(super) fn follow(&mut self, owner: u32, bound: &mut Bound, agent: &mut Agent, heard: bool) {
        self.follow_tag(owner, bound, agent);
        let same = agent.local_ufrags().eq(bound.ufrags.iter().map(|it| &**it));
        if !same {
            self.follow_ufrags(owner, bound, agent);
        }
        let same = agent.accepted_paths().eq(bound.paths.iter().copied());
        if !same || heard {
            self.follow_paths(owner, bound, agent);
        }
    }

    /// Takes note of the sockets that belong to a peer alone.
    pub(super) fn follow_sockets(
        &mut self,
        owner: u32,
        bound: &mut Bound,
        sockets: impl Iterator<Item = SocketAddr> + Clone,
    ) {
        if sockets.clone().eq(bound.sockets.iter().copied()) {
            return;
        }
        for socket in bound.sockets.drain(..) {
            self.sockets.remove(&socket);
        }
        bound.sockets.extend(sockets);
        for &socket in &bound.sockets {
            self.sockets.insert(socket, owner);
        }
    }

    /// Responses are told apart by the tag, so two agents must not have the same.
    fn follow_tag(&mut self, owner: u32, bound: &mut Bound, agent: &mut Agent) {
        if bound.tag == Some(agent.transaction_tag()) {
            return;
        }
        if let Some(tag) = bound.tag.take() {
            self.remove_tag(tag);
        }
        while self.tags.contains_key(&agent.transaction_tag()) {
            agent.renew_transaction_tag();
        }
        let tag = agent.transaction_tag();
        self.tags.insert(tag, owner);
        bound.tag = Some(tag);
        self.tell(|| added(tag_route(tag)));
    }

    fn follow_ufrags(&mut self, owner: u32, bound: &mut Bound, agent: &Agent) {
        let old = std::mem::take(&mut bound.ufrags);
        for ufrag in agent.local_ufrags() {
            let known = old.iter().chain(&bound.ufrags).find(|it| ***it == *ufrag);
            bound
                .ufrags
                .push(known.map_or_else(|| Arc::from(ufrag), Arc::clone));
        }
        for ufrag in &old {
            if !bound.ufrags.contains(ufrag) {
                self.remove_ufrag(owner, ufrag);
            }
        }
        for ufrag in &bound.ufrags {
            let owners = self.ufrags.entry(Arc::clone(ufrag)).or_default();
            if owners.contains(&owner) {
                continue;
            }
            owners.push(owner);
            if owners.len() == 1 {
                self.tell(|| added(ufrag_route(ufrag)));
            }
        }
    }

    fn follow_paths(&mut self, owner: u32, bound: &mut Bound, agent: &Agent) {
        let old = std::mem::replace(&mut bound.paths, agent.accepted_paths().collect());
        bound.paths.shrink_to_fit();
        for AcceptedPath { path, .. } in &old {
            if !bound.paths.iter().any(|accepted| accepted.path == *path) {
                self.remove_path(owner, path);
            }
        }
        for accepted in &bound.paths {
            let path = accepted.path;
            // The same path may be there twice, in two generations.
            let proven =
                |paths: &[AcceptedPath]| paths.iter().any(|it| it.path == path && it.proven);
            let claim = Claim {
                owner,
                proven: proven(&bound.paths),
            };
            let is_new =
                claim.proven && !proven(&old) || !old.iter().any(|accepted| accepted.path == path);
            let held = self.paths.get(&path).copied();
            let takes = match held {
                None => true,
                Some(held) if held.owner == owner => held != claim,
                // The latest wins, but an address that may be forged takes nothing from a peer that
                // has proven to be there.
                Some(held) => is_new && (claim.proven || !held.proven),
            };
            if takes {
                self.paths.insert(path, claim);
                if held.is_none_or(|held| held.proven != claim.proven) {
                    self.tell(|| path_added(path, claim.proven));
                }
            }
        }
    }

    /// Takes everything of a peer out.
    pub(super) fn remove(&mut self, owner: u32, bound: &Bound) {
        for ufrag in &bound.ufrags {
            self.remove_ufrag(owner, ufrag);
        }
        for accepted in &bound.paths {
            self.remove_path(owner, &accepted.path);
        }
        if let Some(tag) = bound.tag {
            self.remove_tag(tag);
        }
        for socket in &bound.sockets {
            self.sockets.remove(socket);
        }
        shrink(&mut self.sockets);
        shrink(&mut self.ufrags);
        shrink(&mut self.paths);
        shrink(&mut self.tags);
    }

    /// Takes a path from its owner, until that hears from its peer there again.
    pub(super) fn release_path(&mut self, path: &FiveTuple) {
        self.paths.remove(path);
    }

    fn remove_ufrag(&mut self, owner: u32, ufrag: &Arc<str>) {
        if let Entry::Occupied(mut owners) = self.ufrags.entry(Arc::clone(ufrag)) {
            owners.get_mut().retain(|other| *other != owner);
            if owners.get().is_empty() {
                owners.remove();
                self.tell(|| removed(ufrag_route(ufrag)));
            }
        }
    }

    fn remove_path(&mut self, owner: u32, path: &FiveTuple) {
        if self.by_path(path) == Some(owner) {
            self.paths.remove(path);
            self.tell(|| removed(RTCRoute::Path(*path)));
        }
    }

    fn remove_tag(&mut self, tag: u32) {
        self.tags.remove(&tag);
        self.tell(|| removed(tag_route(tag)));
    }

    fn tell(&mut self, change: impl FnOnce() -> RTCRouteChange) {
        if let Some(changes) = &mut self.changes {
            changes.push_back(change());
        }
    }
}

fn added(route: RTCRoute) -> RTCRouteChange {
    RTCRouteChange::Added {
        route,
        proven: true,
    }
}

fn path_added(path: FiveTuple, proven: bool) -> RTCRouteChange {
    RTCRouteChange::Added {
        route: RTCRoute::Path(path),
        proven,
    }
}

fn removed(route: RTCRoute) -> RTCRouteChange {
    RTCRouteChange::Removed { route }
}

fn ufrag_route(ufrag: &Arc<str>) -> RTCRoute {
    RTCRoute::Ufrag(Arc::clone(ufrag))
}

fn tag_route(tag: u32) -> RTCRoute {
    RTCRoute::TransactionTag(tag)
}

/// Gives memory back that a table had for many more entries than it has.
fn shrink<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    if table.capacity() > KEPT && table.capacity() / 4 > table.len() {
        table.shrink_to((2 * table.len()).max(KEPT));
    }
}

/// Entries for which an emptied table keeps room.
const KEPT: usize = 64;
