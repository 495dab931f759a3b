use std::time::Instant;

use tracing::debug;

use super::{Agent, Event, State};
use crate::consent::Health;

impl Agent {
    /// Lets time pass, never backwards.
    pub(super) fn advance(&mut self, now: Instant) -> Instant {
        let now = self.now.map_or(now, |last| last.max(now));
        self.now = Some(now);
        now
    }

    /// Makes work due at the next call that brings a time.
    pub(super) fn wake(&mut self) {
        self.dirty = true;
        if self.state != State::Closed {
            self.deadline = self.now.or(self.deadline);
        }
    }

    /// Does all that is due and decides anew what follows from it.
    pub(super) fn settle(&mut self, now: Instant) {
        self.dirty = false;
        let context = &mut self.context;
        self.current.advance(context, now);
        let unanswered = self.current.remote.is_none();
        if let Some(previous) = &mut self.previous {
            previous.advance(context, now);
        }
        match &mut self.previous {
            // Until the answer is here the old generation goes on as if there were no restart.
            Some(previous) if unanswered => previous.nominate(context, now),
            _ => self.current.nominate(context, now),
        }
        if self.state != State::Failed {
            match &mut self.previous {
                Some(previous) if self.current.data.is_none() => previous.ask_consent(context, now),
                _ => self.current.ask_consent(context, now),
            }
            self.send_check(now);
        }
        self.retire_previous(now);
        if let Some(answered) = self
            .active()
            .and_then(|generation| generation.data_pair())
            .and_then(|p| p.answered_at)
        {
            self.answered_at = Some(answered);
        }
        self.update_path();
        self.update_state(now);
        self.current.compact();
        self.deadline = self.next_deadline(now);
    }

    /// Begins one check, if Ta has passed since the last (RFC 8445 section 6.1.4.2).
    fn send_check(&mut self, now: Instant) {
        if self.context.next_check_at.is_some_and(|at| at > now) {
            return;
        }
        let context = &mut self.context;
        let sent = match &mut self.previous {
            Some(previous) if self.current.remote.is_none() => previous.begin_check(context, now),
            _ => self.current.begin_check(context, now),
        };
        self.context.next_check_at = sent.then(|| now + self.context.config.ta);
    }

    /// Drops the generation before a restart once the new one has carried data long enough.
    fn retire_previous(&mut self, now: Instant) {
        if self.previous.is_none() || self.current.data.is_none() {
            self.previous_until = None;
            return;
        }
        let linger = self.context.config.restart_linger;
        if *self.previous_until.get_or_insert(now + linger) <= now {
            self.previous = None;
            self.previous_until = None;
            for base in self.context.locals.retired_bases() {
                self.current.remove_base(base);
                self.context.locals.remove_base(base);
            }
            self.context.locals.forget_retired();
            let current = &self.current;
            self.context
                .locals
                .retain_reflexive(|id| current.uses_local(id));
        }
    }

    fn update_path(&mut self) {
        let path = self
            .active()
            .and_then(|generation| generation.data_pair())
            .map(|p| p.path);
        if path != self.path {
            self.path = path;
            if let Some(path) = path {
                debug!(?path, "selected path changed");
                self.context.stats.selected_path_changes += 1;
                self.context.tell(Event::SelectedPathChanged(path));
            }
        }
    }

    /// The state that follows from pairs and time (W3C `RTCIceTransportState`).
    fn update_state(&mut self, now: Instant) {
        let health = match self.active() {
            Some(generation) => generation.health(&self.context, now),
            None => Health::None,
        };
        let restarting = self.previous.is_some() && self.current.data.is_none();
        let was_up = matches!(
            self.state,
            State::Connected | State::Completed | State::Disconnected
        );
        let next = match health {
            Health::Alive if !restarting && self.current.is_complete() => State::Completed,
            Health::Alive => State::Connected,
            // A restart has forgotten the loss; it counts again when the restart fails.
            Health::Silent if restarting && !was_up => self.state,
            Health::Silent => State::Disconnected,
            Health::None if was_up => {
                let lost = self
                    .answered_at
                    .is_none_or(|answered| answered + self.context.config.failed_timeout <= now);
                let trying = self.current.is_trying() && !self.patience_is_over(now);
                if lost && !trying {
                    State::Failed
                } else {
                    State::Disconnected
                }
            }
            Health::None if self.state == State::Failed => State::Failed,
            Health::None if self.patience_is_over(now) => State::Failed,
            Health::None if self.current.has_pairs() => State::Checking,
            Health::None => self.state,
        };
        self.set_state(next);
    }

    pub(super) fn set_state(&mut self, state: State) {
        if state == self.state {
            return;
        }
        debug!(
            from = self.state.as_str(),
            to = state.as_str(),
            "state changed"
        );
        self.state = state;
        self.context.tell(Event::StateChanged(state));
        if state == State::Failed {
            self.current.halt();
            if let Some(previous) = &mut self.previous {
                previous.halt();
            }
        }
    }

    fn patience_is_over(&self, now: Instant) -> bool {
        self.current
            .patience_until(&self.context)
            .is_some_and(|until| until <= now && !self.current.may_succeed(&self.context))
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let mut deadline = None;
        let mut consider = |at: Option<Instant>| {
            if let Some(at) = at {
                deadline = Some(deadline.map_or(at, |earliest: Instant| earliest.min(at)));
            }
        };
        if matches!(self.state, State::Failed | State::Closed) {
            return None;
        }
        let context = &self.context;
        for generation in self.generations() {
            consider(generation.transaction_deadline());
        }
        let (checking, nominating) = match &self.previous {
            Some(previous) if self.current.remote.is_none() => (&**previous, &**previous),
            _ => (&self.current, &self.current),
        };
        if checking.has_checks(context) {
            consider(Some(context.next_check_at.unwrap_or(now)));
        }
        consider(nominating.nomination_deadline(context));
        match self.active() {
            Some(active) => consider(active.consent_deadline(context, now)),
            None => {
                if let Some(answered) = self.answered_at {
                    consider(Some(answered + context.config.failed_timeout).filter(|at| *at > now));
                }
                consider(self.current.patience_until(context).filter(|at| *at > now));
            }
        }
        consider(self.previous_until);
        // Nothing above lies in the past; should it ever, this keeps the owner from spinning.
        deadline.map(|at: Instant| at.max(now + MIN_WAIT))
    }

    /// Leaves nothing but the state.
    pub(super) fn shut_down(&mut self) {
        self.set_state(State::Closed);
        self.current.halt();
        self.current.forget();
        self.previous = None;
        self.previous_until = None;
        self.path = None;
        self.deadline = None;
        self.context.writes.clear();
    }
}

const MIN_WAIT: std::time::Duration = std::time::Duration::from_millis(1);
