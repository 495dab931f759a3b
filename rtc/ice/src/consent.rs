use std::time::{Duration, Instant};

use tracing::debug;

use crate::PairState;
use crate::agent::Context;
use crate::check::Purpose;
use crate::generation::Generation;
use crate::pair::Pair;

/// How the pair that carries data does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// There is none.
    None,
    /// It has not answered for the time after which a connection counts as disconnected.
    Silent,
    /// It answers.
    Alive,
}

/// When consent is asked for next.
#[derive(Debug, Default)]
pub(crate) struct ConsentTimer {
    /// The pair it is about.
    pair: Option<u32>,
    at: Option<Instant>,
    /// Other pairs are being tried because this one is silent.
    rechecked: bool,
    /// Other pairs are to be tried because a pair was taken away.
    pub(crate) bereft: bool,
}

impl ConsentTimer {
    /// The pair answered, so the next request has time.
    pub(crate) fn answered(&mut self, pair: u32) {
        if self.pair == Some(pair) {
            self.at = None;
            self.rechecked = false;
        }
    }
}

/// Consent freshness (RFC 7675), which also is the keepalive of the selected pair, and the choice of
/// the pair that carries data.
impl Generation {
    /// Drops pairs whose consent has expired and chooses where data goes: the nominated pair, before
    /// that the best valid one; when it is silent, one that has answered since.
    pub(crate) fn choose_data(&mut self, context: &Context, now: Instant) {
        if !context.both_lite() {
            let lifetime = context.config.failed_timeout;
            let expired = |pair: &Pair| {
                pair.valid
                    && pair
                        .answered_at
                        .is_none_or(|answered| answered + lifetime <= now)
            };
            while let Some(pair) = self.pairs.iter().find(|pair| expired(pair)) {
                debug!(path = ?pair.path, "consent expired");
                let id = pair.id;
                let checked_again = pair.is_pending();
                let state = pair.state;
                self.fail_pair(id);
                // A check that is under way may still bring the pair back.
                if checked_again && let Some(pair) = self.pair_mut(id) {
                    pair.state = state;
                }
            }
        }
        let selected = self
            .selected
            .and_then(|id| self.pair(id))
            .filter(|pair| pair.valid);
        let primary = selected.or_else(|| self.best_valid(|_| true));
        let suspect = context.config.disconnected_timeout / 2;
        let primary_id = primary.map(|primary| primary.id);
        let data = primary.map(|primary| {
            let since = primary.unanswered_since;
            let stand_in = (primary.unanswered_for(now) >= suspect).then(|| {
                self.best_valid(|pair| pair.id != primary.id && pair.answered_at >= since)
            });
            stand_in.flatten().unwrap_or(primary).id
        });
        // Data leaves a silent pair; it comes back when that answers a check.
        if data != self.data
            && data != primary_id
            && let Some(pair) = primary_id.and_then(|id| self.pair_mut(id))
        {
            pair.state = PairState::Waiting;
        }
        self.data = data;
    }

    /// Sends the consent request that is due. One that stays unanswered is followed by others in
    /// quick succession: to lose one packet is no sign of a lost path.
    pub(crate) fn ask_consent(&mut self, context: &mut Context, now: Instant) {
        if context.config.lite {
            return;
        }
        let Some(pair) = self
            .data
            .and_then(|id| self.pairs.iter_mut().find(|p| p.id == id))
        else {
            // The last pair is gone without having been silent first, as with its interface.
            if std::mem::take(&mut self.consent.bereft) && self.first_valid_at.is_some() {
                self.recheck(context);
            }
            return;
        };
        let id = pair.id;
        if self.consent.pair != Some(id) {
            self.consent = ConsentTimer {
                pair: Some(id),
                ..ConsentTimer::default()
            };
        }
        let interval = context.config.consent_interval;
        let at = match self.consent.at {
            Some(at) => at,
            None => {
                let last = pair.answered_at.unwrap_or(now);
                *self
                    .consent
                    .at
                    .insert(last + interval.mul_f64(0.8 + 0.4 * context.rng.unit()))
            }
        };
        if at <= now {
            pair.unanswered_since.get_or_insert(now);
            let wait = probe_interval(context, pair, now);
            self.consent.at = Some(now + wait);
            self.send_request(context, now, id, Purpose::Consent);
        }
        let unanswered = self
            .pair(id)
            .map_or(Duration::ZERO, |pair| pair.unanswered_for(now));
        if unanswered >= context.config.disconnected_timeout / 2 && !self.consent.rechecked {
            self.consent.rechecked = true;
            self.recheck(context);
        }
    }

    pub(crate) fn health(&self, context: &Context, now: Instant) -> Health {
        let Some(pair) = self.data_pair() else {
            return Health::None;
        };
        let silent = match self.lite_silence_from(context, pair) {
            Some(from) => from <= now,
            None => pair.silent_for(now) >= context.config.disconnected_timeout,
        };
        if silent {
            Health::Silent
        } else {
            Health::Alive
        }
    }

    /// A lite agent cannot ask, it hears a check every few seconds or, if one is lost, twice that.
    fn lite_silence_from(&self, context: &Context, pair: &Pair) -> Option<Instant> {
        let lite = context.config.lite && !context.both_lite();
        let heard = pair.heard_at.filter(|_| lite)?;
        Some(heard + context.config.disconnected_timeout * LITE_FACTOR)
    }

    /// When consent or the lack of it wants attention.
    pub(crate) fn consent_deadline(&self, context: &Context, now: Instant) -> Option<Instant> {
        let pair = self.data_pair()?;
        if context.both_lite() {
            return None;
        }
        let timeout = context.config.disconnected_timeout;
        let suspect_at = pair.unanswered_since.map(|since| since + timeout / 2);
        let expiry = pair
            .answered_at
            .map(|answered| answered + context.config.failed_timeout);
        let deadlines = [
            self.consent.at.filter(|_| !context.config.lite),
            suspect_at.filter(|_| !self.consent.rechecked),
            pair.silent_since()
                .map(|since| since + timeout)
                .filter(|at| *at > now),
            self.lite_silence_from(context, pair).filter(|at| *at > now),
            expiry,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// True while a first pair is looked for.
    pub(crate) fn is_trying(&self) -> bool {
        self.remote.is_some() && self.first_valid_at.is_none()
    }

    /// Until when to wait for a first pair (RFC 8863 section 4): from the start when no more
    /// candidates can come, else from the last that came. While there is nothing to try and candidates
    /// may come, there is no end.
    pub(crate) fn patience_until(&self, context: &Context) -> Option<Instant> {
        if self.first_valid_at.is_some() {
            return None;
        }
        let started = self.started_at?;
        let ended = self.local_ended && self.remote_ended;
        if !ended && self.pairs.is_empty() {
            return None;
        }
        let from = match self.candidates_changed_at {
            Some(changed) if !ended => changed.max(started),
            _ => started,
        };
        Some(from + context.config.patience)
    }

    /// True while a check could still give a first pair.
    pub(crate) fn may_succeed(&self, context: &Context) -> bool {
        !context.config.lite
            && self
                .pairs
                .iter()
                .any(|pair| pair.state != PairState::Failed)
    }
}

/// Time between requests while they stay unanswered: a tenth of the time to give up, more on slow
/// paths, and calmer once the connection counts as disconnected.
fn probe_interval(context: &Context, pair: &Pair, now: Instant) -> Duration {
    let timeout = context.config.disconnected_timeout;
    let calm = if pair.silent_for(now) >= timeout {
        2
    } else {
        1
    };
    let round_trips = pair.counters.round_trip_time.unwrap_or_default() * 2;
    (timeout / 10).max(round_trips) * calm
}

/// A lite agent is disconnected after this many times the timeout of a full one.
const LITE_FACTOR: u32 = 3;
