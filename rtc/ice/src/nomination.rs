use std::time::{Duration, Instant};

use tracing::debug;

use crate::PairState;
use crate::agent::{Context, Role};
use crate::check::Purpose;
use crate::generation::Generation;
use crate::pair::{Pair, is_direct};

/// Which pair is used in the end (RFC 8445 sections 7.2.2, 7.3.1.5 and 8.1).
impl Generation {
    /// Controlling: nominates the best pair when it is time to.
    pub(crate) fn nominate(&mut self, context: &mut Context, now: Instant) {
        if context.both_lite() {
            self.choose_unchecked(now);
            return;
        }
        if context.role != Role::Controlling || context.config.lite || self.remote.is_none() {
            return;
        }
        let under_way = |transaction: &crate::check::Transaction| {
            transaction.purpose == Purpose::Nomination && Some(transaction.pair) == self.nominating
        };
        if self.nominating.is_some() && self.transactions.iter().any(under_way) {
            return;
        }
        self.nominating = self.nomination_target(context, now);
        if let Some(id) = self.nominating {
            self.send_request(context, now, id, Purpose::Nomination);
        }
    }

    fn nomination_target(&self, context: &Context, now: Instant) -> Option<u32> {
        match self.selected {
            None => {
                let best = self.best_valid(|_| true)?;
                let waited = self
                    .first_valid_at
                    .is_some_and(|first| now >= first + context.config.nomination_wait);
                (waited || !self.may_improve(context, best)).then_some(best.id)
            }
            // The nominated pair does not answer and another one does.
            Some(selected) if self.data.is_some_and(|data| data != selected) => self.data,
            Some(selected) if context.config.renomination => {
                let direct = |pair: &Pair| self.is_direct(context, pair);
                if self.pair(selected).is_some_and(direct) {
                    return None;
                }
                self.best_valid(|pair| pair.state == PairState::Succeeded && direct(pair))
                    .map(|pair| pair.id)
            }
            Some(_) => None,
        }
    }

    /// True while a better pair than `best` may become valid: one that is known, or, if this one uses
    /// a relay, one of candidates to come.
    fn may_improve(&self, context: &Context, best: &Pair) -> bool {
        let better_pending = self
            .pairs
            .iter()
            .any(|pair| pair.is_pending() && pair.priority > best.priority);
        let ended = self.local_ended && self.remote_ended;
        better_pending || !ended && !self.is_direct(context, best)
    }

    /// When waiting for a better pair ends.
    pub(crate) fn nomination_deadline(&self, context: &Context) -> Option<Instant> {
        let waits = context.role == Role::Controlling
            && !context.config.lite
            && self.selected.is_none()
            && self.nominating.is_none()
            && self.pairs.iter().any(|pair| pair.valid);
        let first = self.first_valid_at.filter(|_| waits)?;
        Some(first + context.config.nomination_wait)
    }

    /// A request of ours succeeded: with USE-CANDIDATE it has nominated the pair; the peer may have
    /// nominated it before it was valid.
    pub(crate) fn nomination_answered(
        &mut self,
        context: &Context,
        now: Instant,
        purpose: Purpose,
        role: Role,
        id: u32,
    ) {
        let by_us = purpose == Purpose::Nomination
            && role == Role::Controlling
            && context.role == Role::Controlling;
        let Some(pair) = self.pair_mut(id) else {
            return;
        };
        let by_peer =
            std::mem::take(&mut pair.nominate_on_success) && context.role == Role::Controlled;
        if by_us {
            self.nominating = None;
            self.select(context, now, id);
        } else if by_peer {
            self.supersede_selected(context, now, id);
        }
    }

    /// The peer nominates a pair by a check on it.
    pub(crate) fn peer_nominated(
        &mut self,
        context: &Context,
        now: Instant,
        id: u32,
        nomination: Option<u32>,
    ) {
        if context.role == Role::Controlled {
            self.supersede(context, now, id, nomination);
        }
    }

    /// Notes a nomination and follows it when the pair is valid, else once it is.
    pub(crate) fn supersede(
        &mut self,
        context: &Context,
        now: Instant,
        id: u32,
        nomination: Option<u32>,
    ) {
        let Some(pair) = self.pair_mut(id) else {
            return;
        };
        pair.nominated_at = Some(now);
        pair.nomination = nomination.unwrap_or(pair.nomination);
        if pair.valid {
            self.supersede_selected(context, now, id);
        } else {
            pair.nominate_on_success = true;
        }
    }

    /// Of several nominated pairs the better one is used; one that is nominated while the other is no
    /// longer wins too. So both aggressive peers, which flag every check, and those that nominate
    /// anew are followed. Where the peer counts its nominations, the highest count wins.
    fn supersede_selected(&mut self, context: &Context, now: Instant, id: u32) {
        let selected = self.selected.filter(|selected| *selected != id);
        let (Some(pair), Some(selected)) = (
            self.pair(id),
            selected.and_then(|selected| self.pair(selected)),
        ) else {
            self.select(context, now, id);
            return;
        };
        let later = match (pair.nominated_at, selected.nominated_at) {
            (Some(new), Some(old)) => new.saturating_duration_since(old) >= RENOMINATION_GAP,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let wins = match pair.nomination.cmp(&selected.nomination) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => pair.priority > selected.priority || later,
        };
        if wins {
            self.select(context, now, id);
        } else if let Some(pair) = self.pair_mut(id) {
            pair.nominated = true;
        }
    }

    /// Uses a pair, and checks no others any more unless they could avoid a relay (RFC 8445 section
    /// 8.1.2). Triggered checks stay: the peer may still want to move.
    fn select(&mut self, context: &Context, now: Instant, id: u32) {
        let Some(pair) = self.pair_mut(id) else {
            return;
        };
        pair.nominated = true;
        let (path, priority) = (pair.path, pair.priority);
        if self.selected == Some(id) {
            return;
        }
        debug!(?path, "pair nominated");
        self.selected = Some(id);
        let relayed = !self
            .pair(id)
            .is_some_and(|pair| self.is_direct(context, pair));
        let better = |pair: &Pair| relayed && pair.priority > priority;
        let triggered = self.triggered.clone();
        self.remove_pairs(|pair| {
            matches!(pair.state, PairState::Waiting | PairState::Frozen)
                && !pair.valid
                && !better(pair)
                && !triggered.contains(&pair.id)
        });
        let resting: Vec<u32> = self
            .pairs
            .iter()
            .filter(|pair| pair.state == PairState::InProgress && !better(pair))
            .map(|pair| pair.id)
            .collect();
        for id in resting {
            self.stop_repeating(context, now, id);
        }
    }

    /// True when no relay is in the path of a pair.
    fn is_direct(&self, context: &Context, pair: &Pair) -> bool {
        self.candidates(context, pair)
            .is_some_and(|(local, remote)| is_direct(local, remote))
    }

    /// Between two lite agents nobody checks: the best pair is used as it is (RFC 8445 section 8.2).
    fn choose_unchecked(&mut self, now: Instant) {
        let best = self.pairs.iter_mut().max_by_key(|pair| pair.priority);
        if let Some(best) = best.filter(|_| self.remote.is_some()) {
            best.valid = true;
            best.state = PairState::Succeeded;
            best.answered_at = Some(now);
            best.nominated = true;
            self.first_valid_at.get_or_insert(now);
            self.selected = Some(best.id);
            self.data = Some(best.id);
        }
    }
}

/// A nomination counts as later, not as one of a burst, after this time: more than checks of one
/// round are apart, less than a peer that flags every check lets pass.
const RENOMINATION_GAP: Duration = Duration::from_secs(1);
