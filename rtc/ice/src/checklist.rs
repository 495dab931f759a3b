use std::time::Instant;

use tracing::trace;

use crate::agent::Context;
use crate::check::Purpose;
use crate::generation::{Generation, ReceivedCheck};
use crate::pair::{Pair, addresses_fit, can_pair};
use crate::{Candidate, PairState};

/// The check list: forming, ordering and picking pairs (RFC 8445 sections 6.1.2 to 6.1.4).
impl Generation {
    /// Pairs everything with everything, keeping the pairs that exist.
    pub(crate) fn pair_all(&mut self, context: &mut Context) {
        let ids: Vec<u32> = self
            .remotes
            .iter()
            .map(|remote| remote.candidate.id)
            .collect();
        for id in ids {
            self.pair_remote(context, id);
        }
    }

    /// Pairs a remote candidate with all local ones.
    pub(crate) fn pair_remote(&mut self, context: &mut Context, remote: u32) {
        let ids: Vec<u32> = context
            .locals
            .gathered()
            .iter()
            .map(|local| local.id)
            .collect();
        for local in ids {
            self.add_pair(context, local, remote);
        }
    }

    /// Pairs a local candidate with all remote ones.
    pub(crate) fn pair_local(&mut self, context: &mut Context, local: u32) {
        self.candidates_changed = true;
        let ids: Vec<u32> = self
            .remotes
            .iter()
            .map(|remote| remote.candidate.id)
            .collect();
        for remote in ids {
            self.add_pair(context, local, remote);
        }
    }

    fn add_pair(&mut self, context: &mut Context, local: u32, remote: u32) {
        let forms_pairs = !context.config.lite || context.remote_lite;
        let wanted = self.remote.is_some() && forms_pairs && !self.is_concluded(&context.locals);
        let id = context.new_id();
        let (Some(local), Some(remote)) = (context.locals.get(local), self.remote(remote)) else {
            return;
        };
        if wanted && can_pair(local, remote) {
            let pair = Pair::new(id, local, remote, context.role);
            if let Some(pair) = pair
                && self.insert_pair(context, pair).is_none()
            {
                context.stats.over_limit += 1;
            }
        }
    }

    /// Inserts a pair unless one has the same path: a reflexive candidate sends from its base, so the
    /// pair of lower priority is redundant (RFC 8445 section 6.1.2.4). Gives the pair of the path;
    /// `None` when there is no room.
    fn insert_pair(&mut self, context: &Context, mut pair: Pair) -> Option<u32> {
        if let Some(known) = self.pairs.iter_mut().find(|known| known.path == pair.path) {
            if pair.priority > known.priority && known.answered_at.is_none() {
                known.local = pair.local;
                known.foundation = pair.foundation;
                known.priority = pair.priority;
            }
            return Some(known.id);
        }
        if self.pairs.len() >= context.config.max_pairs && !self.make_room(pair.priority) {
            return None;
        }
        // Of one foundation one pair is tried first, unless one has succeeded (RFC 8838 section 12).
        let mut kin = self
            .pairs
            .iter()
            .filter(|known| known.foundation == pair.foundation);
        let tried = kin.clone().any(|known| known.state == PairState::Succeeded);
        let pending = kin.any(Pair::is_pending);
        pair.state = if tried || !pending {
            PairState::Waiting
        } else {
            PairState::Frozen
        };
        let id = pair.id;
        trace!(path = ?pair.path, state = pair.state.as_str(), "pair formed");
        self.pairs.push(pair);
        Some(id)
    }

    /// Removes a failed pair, or the one of lowest priority below `priority` that was never checked.
    fn make_room(&mut self, priority: u64) -> bool {
        let failed = self
            .pairs
            .iter()
            .find(|pair| pair.state == PairState::Failed);
        let lowest = || {
            self.pairs
                .iter()
                .filter(|pair| {
                    matches!(pair.state, PairState::Frozen | PairState::Waiting)
                        && !pair.valid
                        && pair.priority < priority
                })
                .min_by_key(|pair| pair.priority)
        };
        match failed.or_else(lowest).map(|pair| pair.id) {
            Some(id) => {
                self.remove_pairs(|pair| pair.id == id);
                true
            }
            None => false,
        }
    }

    /// Computes all priorities for the present role.
    pub(crate) fn rank_pairs(&mut self, context: &Context) {
        let ids: Vec<u32> = self
            .remotes
            .iter()
            .map(|remote| remote.candidate.id)
            .collect();
        for id in ids {
            self.rank_remote(context, id);
        }
        self.nominating = None;
    }

    /// Takes over what changed of a remote candidate into its pairs.
    pub(crate) fn rank_remote(&mut self, context: &Context, remote: u32) {
        let Some(candidate) = self
            .remotes
            .iter()
            .map(|known| &known.candidate)
            .find(|known| known.id == remote)
        else {
            return;
        };
        for pair in self.pairs.iter_mut().filter(|pair| pair.remote == remote) {
            if let Some(local) = context.locals.get(pair.local) {
                pair.rank(local, candidate, context.role);
            }
        }
    }

    /// What follows from an authentic check: the pair of its path, a triggered check, a nomination
    /// (RFC 8445 sections 7.3.1.3 to 7.3.1.5). False when there is no room for the pair.
    pub(crate) fn check_received(
        &mut self,
        context: &mut Context,
        now: Instant,
        check: &ReceivedCheck,
    ) -> bool {
        let id = match self.pair_at(&check.path) {
            Some(pair) => Some(pair.id),
            None => self.pair_for_check(context, check),
        };
        let Some(pair) = id.and_then(|id| self.pair_mut(id)) else {
            return false;
        };
        let id = pair.id;
        pair.counters.requests_received += 1;
        pair.counters.responses_sent += 1;
        pair.heard_at = Some(now);
        if context.config.lite {
            self.lite_check_received(context, now, id, check);
        } else {
            self.trigger(id);
            if check.use_candidate {
                self.peer_nominated(context, now, id, check.nomination);
            }
        }
        true
    }

    /// The pair of a check that came by a path of no pair.
    fn pair_for_check(&mut self, context: &mut Context, check: &ReceivedCheck) -> Option<u32> {
        let path = &check.path;
        if !addresses_fit(path.local_addr, path.peer_addr) {
            return None;
        }
        let remote = self.remote_for_check(context, check)?;
        let id = context.new_id();
        let local = context
            .locals
            .for_base(path.local_addr, path.transport_protocol)?;
        let pair = Pair::new(id, local, self.remote(remote)?, context.role)?;
        self.insert_pair(context, pair)
    }

    /// Queues a triggered check (RFC 8445 section 7.3.1.4). One that is under way is begun anew: the
    /// peer's check may have opened a NAT that swallowed ours.
    pub(crate) fn trigger(&mut self, id: u32) {
        let Some(pair) = self.pair_mut(id) else {
            return;
        };
        match pair.state {
            PairState::Succeeded if pair.valid => return,
            PairState::InProgress => {}
            _ => pair.state = PairState::Waiting,
        }
        if !self.triggered.contains(&id) {
            self.triggered.push_back(id);
        }
    }

    /// True when a check could be begun.
    pub(crate) fn has_checks(&self, context: &Context) -> bool {
        !context.config.lite
            && self.remote.is_some()
            && (!self.triggered.is_empty()
                || self
                    .pairs
                    .iter()
                    .any(|pair| matches!(pair.state, PairState::Waiting | PairState::Frozen)))
    }

    /// Begins the next check: a triggered one, else that of the highest priority. Frozen pairs come
    /// when nothing waits, even while one of their foundation is tried: the time slot is free.
    pub(crate) fn begin_check(&mut self, context: &mut Context, now: Instant) -> bool {
        if !self.has_checks(context) {
            return false;
        }
        while let Some(id) = self.triggered.pop_front() {
            let state = self.pair(id).map(|pair| pair.state);
            if matches!(state, Some(PairState::Waiting | PairState::InProgress)) {
                self.stop_repeating(context, now, id);
                return self.send_request(context, now, id, Purpose::Check);
            }
        }
        let best = |state: PairState| {
            let pairs = self.pairs.iter().filter(move |pair| pair.state == state);
            pairs.max_by_key(|pair| pair.priority).map(|pair| pair.id)
        };
        match best(PairState::Waiting).or_else(|| best(PairState::Frozen)) {
            Some(id) => self.send_request(context, now, id, Purpose::Check),
            None => false,
        }
    }

    /// A pair of a foundation works, so the others of it may too (RFC 8445 section 7.2.5.3.3).
    pub(crate) fn unfreeze(&mut self, foundation: u64) {
        for pair in &mut self.pairs {
            if pair.foundation == foundation && pair.state == PairState::Frozen {
                pair.state = PairState::Waiting;
            }
        }
    }

    /// Tries every pair again but the one that carries data, because that does not answer.
    pub(crate) fn recheck(&mut self, context: &mut Context) {
        trace!("checking all pairs again");
        self.pair_all(context);
        for pair in &mut self.pairs {
            let again = matches!(
                pair.state,
                PairState::Succeeded | PairState::Failed | PairState::Frozen
            );
            if again && self.data != Some(pair.id) {
                pair.state = PairState::Waiting;
            }
        }
    }

    /// The valid pair of highest priority that `fits`.
    pub(crate) fn best_valid(&self, mut fits: impl FnMut(&Pair) -> bool) -> Option<&Pair> {
        let valid = self.pairs.iter().filter(|pair| pair.valid && fits(pair));
        valid.max_by_key(|pair| pair.priority)
    }

    /// Candidates of a pair.
    pub(crate) fn candidates<'a>(
        &'a self,
        context: &'a Context,
        pair: &Pair,
    ) -> Option<(&'a Candidate, &'a Candidate)> {
        context.locals.get(pair.local).zip(self.remote(pair.remote))
    }
}
