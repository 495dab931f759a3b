//! What happens when time passes.

use std::time::{Duration, Instant};

use super::Association;
use crate::api::{AbortReason, Event, State};
use crate::wire::cause;

/// The timers of an association, by index into its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// T1-init and T1-cookie.
    Setup,
    /// T3-rtx.
    Retransmit,
    /// Delayed SACK.
    Sack,
    /// Next heartbeat, or the end of the wait for its answer.
    Heartbeat,
    /// T2-shutdown.
    Shutdown,
    /// T5-shutdown-guard.
    Guard,
    /// Re-configuration timer.
    Reconfig,
    /// Return of idle memory.
    Shrink,
    /// Next question after the peer's window.
    Window,
}

/// How many timers there are.
pub(super) const COUNT: usize = 9;

impl Association {
    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Does what is due. Afterwards [`poll_timeout`](Self::poll_timeout) lies after `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock(now);
        while let Some(timer) = self.timers.take_expired(now) {
            match timer {
                t if t == Timer::Setup as usize => self.repeat_setup(),
                t if t == Timer::Retransmit as usize => self.expire_retransmit(),
                t if t == Timer::Sack as usize => self.sacking.due = true,
                t if t == Timer::Heartbeat as usize => self.expire_heartbeat(),
                t if t == Timer::Shutdown as usize => self.repeat_shutdown(),
                t if t == Timer::Guard as usize => self.abort_by_timeout(),
                t if t == Timer::Reconfig as usize => self.repeat_reset(),
                t if t == Timer::Window as usize => self.probe_window(),
                _ => self.shrink(),
            }
        }
        if !self.ended {
            self.account_given_up();
            self.continue_shutdown();
        }
    }

    /// Arms a timer `after` from now, in any case later than now.
    pub(super) fn arm(&mut self, timer: Timer, after: Duration) {
        let deadline = self.now + after.max(Duration::from_nanos(1));
        self.timers.set(timer as usize, deadline);
    }

    /// HB.interval + RTO ± 50 % (§8.3).
    pub(super) fn arm_heartbeat(&mut self) {
        let Some(interval) = self.config.heartbeat_interval else {
            return;
        };
        let rto = self.rto.current();
        let jitter = rto.mul_f64((self.draw() >> 11) as f64 / (1u64 << 53) as f64);
        self.arm(Timer::Heartbeat, interval + rto / 2 + jitter);
    }

    /// One timeout more without a sign of the peer; too many end the association (§8.1).
    pub(super) fn count_error(&mut self) {
        self.errors = self.errors.saturating_add(1);
        if self
            .config
            .max_retransmits
            .is_some_and(|max| self.errors > max)
        {
            self.abort_by_timeout();
        }
    }

    fn abort_by_timeout(&mut self) {
        // The peer may live behind an outage of one direction: an ABORT costs nothing.
        if self.peer_tag != 0 {
            self.reply_abort(self.peer_tag, cause::USER_ABORT, b"timeout");
        }
        self.end(Event::Aborted {
            reason: AbortReason::Timeout,
        });
    }

    /// T3-rtx (§6.3.3).
    fn expire_retransmit(&mut self) {
        let sends = matches!(
            self.state,
            State::Established | State::ShutdownPending | State::ShutdownReceived
        );
        if self.outstanding.is_empty() || !sends {
            return;
        }
        self.stats.timeouts += 1;
        // A probe into a closed window says nothing about the path.
        if !self.peer_window_closed {
            self.congestion.timed_out();
        }
        self.rto.back_off();
        self.count_error();
        if self.ended {
            return;
        }
        self.peer_window = self.peer_window.saturating_add(self.outstanding.flight());
        self.outstanding.time_out();
        self.account_given_up();
        self.ask_sack = true;
        self.fast_retransmit = false;
        self.burst = self.config.max_burst;
        self.plan_forward(true);
        self.arm(Timer::Retransmit, self.rto.current());
    }

    /// When messages wait for the peer to read and nothing is in flight, the word of it may have been
    /// lost: it is asked for, less and less often.
    pub(super) fn await_window(&mut self) {
        let waits = self.queue.is_parked() && self.outstanding.is_empty() && !self.queue.is_ready();
        if waits && !self.timers.is_set(Timer::Window as usize) {
            let interval = self.rto.current() * (1 << self.window_probes.min(MAX_DOUBLINGS));
            self.arm(Timer::Window, interval.min(MAX_PROBE_INTERVAL));
        }
    }

    fn probe_window(&mut self) {
        if self.queue.is_parked() && self.outstanding.is_empty() {
            self.window_probes += 1;
            self.pending.window_probe = true;
            self.await_window();
        }
    }

    fn expire_heartbeat(&mut self) {
        let Some(interval) = self.config.heartbeat_interval else {
            return;
        };
        if self.heartbeat.take().is_some() {
            self.rto.back_off();
            self.count_error();
        } else {
            // DATA in the meantime was probe enough (§8.3).
            let quiet = self.now.saturating_duration_since(self.last_data);
            if quiet < interval || !self.outstanding.is_empty() {
                self.arm_heartbeat();
                return;
            }
        }
        let up = !matches!(
            self.state,
            State::Closed | State::CookieWait | State::CookieEchoed
        );
        if up {
            self.pending.heartbeat = true;
        }
    }

    fn repeat_shutdown(&mut self) {
        match self.state {
            State::ShutdownSent => self.pending.shutdown = true,
            State::ShutdownAckSent => self.pending.shutdown_ack = true,
            _ => return,
        }
        self.rto.back_off();
        self.count_error();
    }

    /// Gives memory back once data has stopped moving.
    fn shrink(&mut self) {
        if std::mem::take(&mut self.active) {
            self.arm(Timer::Shrink, SHRINK_AFTER);
            return;
        }
        self.queue.shrink();
        self.outstanding.shrink();
        self.receiver.shrink();
        self.events.shrink_to_fit();
    }
}

const MAX_DOUBLINGS: u32 = 6;

/// As for the probes of a closed window in TCP.
const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// How long after the last data memory is given back, at most twice this.
pub(super) const SHRINK_AFTER: Duration = Duration::from_secs(5);
