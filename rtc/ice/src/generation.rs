use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use rtc_shared::{FiveTuple, TransportProtocol};
use rtc_stun::TransactionId;
use tracing::trace;

use crate::agent::Context;
use crate::check::Transaction;
use crate::consent::ConsentTimer;
use crate::credentials::Keyed;
use crate::local::LocalCandidates;
use crate::pair::Pair;
use crate::{Candidate, CandidateType, Error, PairState, PairStats, TcpType};

/// All that belongs to one pair of credentials: remote candidates, check list, checks under way and
/// what was chosen. A restart begins another one (RFC 8445 section 9).
pub(crate) struct Generation {
    pub(crate) number: u32,
    pub(crate) local: Keyed,
    pub(crate) remote: Option<Keyed>,
    /// USERNAME of our checks.
    pub(crate) username: String,
    pub(crate) remotes: Vec<RemoteCandidate>,
    pub(crate) local_ended: bool,
    pub(crate) remote_ended: bool,
    pub(crate) pairs: Vec<Pair>,
    /// Pairs to be checked before others (RFC 8445 section 6.1.4.1).
    pub(crate) triggered: VecDeque<u32>,
    pub(crate) transactions: Vec<Transaction>,
    /// Checks from before the remote credentials were known.
    pub(crate) early: Vec<ReceivedCheck>,
    /// The last requests and a hash of the path by which each came.
    pub(crate) seen: VecDeque<(TransactionId, u64)>,
    /// The nominated pair.
    pub(crate) selected: Option<u32>,
    /// The pair that carries data.
    pub(crate) data: Option<u32>,
    /// The pair whose nomination is under way.
    pub(crate) nominating: Option<u32>,
    pub(crate) first_valid_at: Option<Instant>,
    pub(crate) consent: ConsentTimer,
    /// When the remote credentials were known, and when the last candidate came.
    pub(crate) started_at: Option<Instant>,
    pub(crate) candidates_changed_at: Option<Instant>,
    pub(crate) candidates_changed: bool,
}

/// A candidate of the peer.
#[derive(Debug)]
pub(crate) struct RemoteCandidate {
    pub(crate) candidate: Candidate,
    /// Known from a check alone.
    pub(crate) learned: bool,
}

/// What an authentic check says.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedCheck {
    pub(crate) path: FiveTuple,
    /// The sender's part of USERNAME.
    pub(crate) remote_ufrag: String,
    pub(crate) priority: u32,
    pub(crate) use_candidate: bool,
    pub(crate) nomination: Option<u32>,
}

impl Generation {
    pub(crate) fn new(number: u32, local: Keyed) -> Self {
        Self {
            number,
            local,
            remote: None,
            username: String::new(),
            remotes: Vec::new(),
            local_ended: false,
            remote_ended: false,
            pairs: Vec::new(),
            triggered: VecDeque::new(),
            transactions: Vec::new(),
            early: Vec::new(),
            seen: VecDeque::new(),
            selected: None,
            data: None,
            nominating: None,
            first_valid_at: None,
            consent: ConsentTimer::default(),
            started_at: None,
            candidates_changed_at: None,
            candidates_changed: false,
        }
    }

    /// Lets the generation begin: forms the pairs of the candidates that waited for this.
    pub(crate) fn set_remote(&mut self, context: &mut Context, remote: Keyed) {
        self.username = format!("{}:{}", remote.ufrag(), self.local.ufrag());
        let ufrag = remote.ufrag();
        self.remotes
            .retain(|known| known.candidate.ufrag.as_deref().is_none_or(|u| u == ufrag));
        self.remote = Some(remote);
        self.pair_all(context);
    }

    /// True when a candidate with this fragment can be of this generation.
    pub(crate) fn may_own(&self, ufrag: Option<&str>) -> bool {
        match (&self.remote, ufrag) {
            (Some(remote), Some(ufrag)) => remote.ufrag() == ufrag,
            _ => true,
        }
    }

    /// Everything that time brings but new requests: timeouts, expired consent, checks that waited.
    pub(crate) fn advance(&mut self, context: &mut Context, now: Instant) {
        if self.remote.is_some() {
            self.started_at.get_or_insert(now);
            for check in std::mem::take(&mut self.early) {
                if self
                    .remote
                    .as_ref()
                    .is_some_and(|r| r.ufrag() == check.remote_ufrag)
                {
                    self.check_received(context, now, &check);
                }
            }
        }
        if std::mem::take(&mut self.candidates_changed) {
            self.candidates_changed_at = Some(now);
        }
        self.poll_transactions(context, now);
        self.choose_data(context, now);
    }

    /// Adds a signalled candidate, or completes one that was learned from a check.
    pub(crate) fn add_remote(
        &mut self,
        context: &mut Context,
        mut candidate: Candidate,
    ) -> Result<(), Error> {
        if !self.may_own(candidate.ufrag.as_deref()) {
            return Err(Error::UnknownUfrag);
        }
        let Some(address) = candidate.socket_addr() else {
            return Err(Error::UnresolvedName);
        };
        if let Some(known) = self.remote_at_mut(address, candidate.transport) {
            if known.learned {
                candidate.id = known.candidate.id;
                let id = candidate.id;
                *known = RemoteCandidate {
                    candidate,
                    learned: false,
                };
                self.rank_remote(context, id);
            }
            return Ok(());
        }
        let signalled = self.remotes.iter().filter(|remote| !remote.learned).count();
        if signalled >= context.config.max_remote_candidates {
            return Err(Error::TooManyCandidates);
        }
        let id = context.new_id();
        candidate.id = id;
        self.remotes.push(RemoteCandidate {
            candidate,
            learned: false,
        });
        self.candidates_changed = true;
        self.pair_remote(context, id);
        Ok(())
    }

    /// The candidate from which a check came, learned if it is new (RFC 8445 section 7.3.1.3). Of too
    /// many the first that no pair in use needs is forgotten; `None` when all are in use.
    pub(crate) fn remote_for_check(
        &mut self,
        context: &mut Context,
        check: &ReceivedCheck,
    ) -> Option<u32> {
        let (peer, transport) = (check.path.peer_addr, check.path.transport_protocol);
        if let Some(known) = self.remote_at_mut(peer, transport) {
            return Some(known.candidate.id);
        }
        let learned = self.remotes.iter().filter(|remote| remote.learned).count();
        if learned >= context.config.max_peer_reflexive {
            let unused = self.remotes.iter().position(|remote| {
                let id = remote.candidate.id;
                remote.learned
                    && !self
                        .pairs
                        .iter()
                        .any(|pair| pair.remote == id && pair.valid)
            })?;
            let forgotten = self.remotes.remove(unused);
            context.stats.over_limit += 1;
            self.remove_pairs(|pair| pair.remote == forgotten.candidate.id);
        }
        let id = context.new_id();
        let mut candidate = Candidate::peer_reflexive(peer, transport, check.priority);
        candidate.id = id;
        candidate.foundation = format!("prflx{id}");
        candidate.ufrag = Some(check.remote_ufrag.clone());
        if transport == TransportProtocol::TCP {
            candidate.tcp_type = Some(TcpType::Active);
        }
        trace!(%peer, "peer-reflexive candidate");
        self.remotes.push(RemoteCandidate {
            candidate,
            learned: true,
        });
        Some(id)
    }

    fn remote_at_mut(
        &mut self,
        address: SocketAddr,
        transport: TransportProtocol,
    ) -> Option<&mut RemoteCandidate> {
        self.remotes.iter_mut().find(|known| {
            known.candidate.transport == transport && known.candidate.socket_addr() == Some(address)
        })
    }

    pub(crate) fn remote(&self, id: u32) -> Option<&Candidate> {
        self.remotes
            .iter()
            .map(|known| &known.candidate)
            .find(|candidate| candidate.id == id)
    }

    pub(crate) fn pair(&self, id: u32) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.id == id)
    }

    pub(crate) fn pair_mut(&mut self, id: u32) -> Option<&mut Pair> {
        self.pairs.iter_mut().find(|pair| pair.id == id)
    }

    pub(crate) fn pair_at(&self, path: &FiveTuple) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.path == *path)
    }

    pub(crate) fn data_pair(&self) -> Option<&Pair> {
        self.pair(self.data?)
    }

    pub(crate) fn has_pairs(&self) -> bool {
        self.remote.is_some() && !self.pairs.is_empty()
    }

    pub(crate) fn uses_local(&self, id: u32) -> bool {
        self.pairs.iter().any(|pair| pair.local == id)
    }

    pub(crate) fn accepts(&self, path: &FiveTuple) -> bool {
        self.pair_at(path).is_some_and(Pair::is_accepted)
            || self.early.iter().any(|check| check.path == *path)
    }

    /// Each accepted path, and whether its pair is valid.
    pub(crate) fn accepted_paths(&self) -> impl Iterator<Item = (FiveTuple, bool)> {
        let pairs = self
            .pairs
            .iter()
            .filter(|pair| pair.is_accepted())
            .map(|pair| (pair.path, pair.valid));
        let early = self.early.iter().map(|check| (check.path, false));
        pairs.chain(early)
    }

    /// True once nothing is left to be found (W3C `completed`).
    pub(crate) fn is_complete(&self) -> bool {
        self.selected.is_some()
            && self.local_ended
            && self.remote_ended
            && !self.pairs.iter().any(Pair::is_pending)
    }

    /// True when the selected pair leaves nothing to be desired: then no pairs are formed any more
    /// for candidates that come late (RFC 8838 section 11).
    pub(crate) fn is_concluded(&self, locals: &LocalCandidates) -> bool {
        let selected = self.selected.and_then(|id| self.pair(id));
        selected.is_some_and(|pair| {
            let relayed = |candidate: Option<&Candidate>| {
                candidate.is_none_or(|candidate| candidate.typ == CandidateType::Relayed)
            };
            pair.unanswered_since.is_none()
                && !relayed(locals.get(pair.local))
                && !relayed(self.remote(pair.remote))
        })
    }

    /// Gives pairs whose local candidate is gone the one that stands for their base.
    pub(crate) fn repair_locals(&mut self, context: &Context) {
        for pair in &mut self.pairs {
            if context.locals.get(pair.local).is_some() {
                continue;
            }
            let path = &pair.path;
            let local = context
                .locals
                .for_base(path.local_addr, path.transport_protocol);
            let mut remotes = self.remotes.iter().map(|remote| &remote.candidate);
            if let (Some(local), Some(remote)) =
                (local, remotes.find(|remote| remote.id == pair.remote))
            {
                pair.rank(local, remote, context.role);
            }
        }
    }

    pub(crate) fn remove_base(&mut self, base: SocketAddr) {
        self.remove_pairs(|pair| pair.path.local_addr == base);
        self.early.retain(|check| check.path.local_addr != base);
        self.consent.bereft = true;
    }

    pub(crate) fn fail_path(&mut self, path: &FiveTuple) {
        if let Some((id, valid)) = self.pair_at(path).map(|pair| (pair.id, pair.valid)) {
            self.consent.bereft |= valid;
            self.transactions
                .retain(|transaction| transaction.pair != id);
            self.fail_pair(id);
        }
    }

    /// Ends the pair and what was chosen because of it.
    pub(crate) fn fail_pair(&mut self, id: u32) {
        if let Some(pair) = self.pair_mut(id) {
            trace!(path = ?pair.path, "pair failed");
            pair.fail();
        }
        self.unchoose(id);
    }

    pub(crate) fn unchoose(&mut self, id: u32) {
        for chosen in [&mut self.selected, &mut self.data, &mut self.nominating] {
            if *chosen == Some(id) {
                *chosen = None;
            }
        }
    }

    pub(crate) fn remove_pairs(&mut self, mut doomed: impl FnMut(&Pair) -> bool) {
        let ids: Vec<u32> = self
            .pairs
            .iter()
            .filter(|pair| doomed(pair))
            .map(|pair| pair.id)
            .collect();
        if ids.is_empty() {
            return;
        }
        self.pairs.retain(|pair| !ids.contains(&pair.id));
        self.triggered.retain(|id| !ids.contains(id));
        self.transactions
            .retain(|transaction| !ids.contains(&transaction.pair));
        for id in ids {
            self.unchoose(id);
        }
    }

    /// Stops all checks, for good.
    pub(crate) fn halt(&mut self) {
        self.transactions = Vec::new();
        self.triggered = VecDeque::new();
        self.early = Vec::new();
        for pair in &mut self.pairs {
            pair.fail();
        }
        self.selected = None;
        self.data = None;
        self.nominating = None;
    }

    pub(crate) fn forget(&mut self) {
        self.pairs = Vec::new();
        self.remotes = Vec::new();
        self.seen = VecDeque::new();
    }

    /// Frees what an established connection does not need: failed pairs, what was learned for them,
    /// and room that checks took.
    pub(crate) fn compact(&mut self) {
        let settled = self.selected.is_some()
            && self.triggered.is_empty()
            && !self.pairs.iter().any(Pair::is_pending);
        let has_waste = self
            .pairs
            .iter()
            .any(|pair| pair.state == PairState::Failed)
            || self.triggered.capacity() > 0
            || self.pairs.capacity() > self.pairs.len();
        if !settled || !has_waste {
            return;
        }
        self.remove_pairs(|pair| pair.state == PairState::Failed);
        let pairs = &self.pairs;
        self.remotes.retain(|remote| {
            !remote.learned || pairs.iter().any(|pair| pair.remote == remote.candidate.id)
        });
        self.pairs.shrink_to_fit();
        self.remotes.shrink_to_fit();
        self.transactions.shrink_to_fit();
        self.triggered = VecDeque::new();
        self.seen.shrink_to_fit();
    }

    pub(crate) fn pair_stats<'a>(
        &'a self,
        locals: &'a LocalCandidates,
        carries_data: bool,
    ) -> impl Iterator<Item = PairStats<'a>> {
        self.pairs.iter().filter_map(move |pair| {
            let counters = &pair.counters;
            Some(PairStats {
                id: pair.id,
                path: pair.path,
                local: locals.get(pair.local)?,
                remote: self.remote(pair.remote)?,
                state: pair.state,
                priority: pair.priority,
                nominated: pair.nominated,
                selected: carries_data && self.data == Some(pair.id),
                requests_sent: counters.requests_sent,
                requests_received: counters.requests_received,
                responses_sent: counters.responses_sent,
                responses_received: counters.responses_received,
                consent_requests_sent: counters.consent_requests_sent,
                current_round_trip_time: counters.round_trip_time,
                total_round_trip_time: counters.total_round_trip_time,
            })
        })
    }
}
