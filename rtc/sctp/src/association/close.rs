//! Ending the association (RFC 9260 §9).

use std::time::Instant;

use super::Association;
use super::timer::Timer;
use crate::api::{Event, State};
use crate::send::{Outstanding, SendQueue};
use crate::wire::{Chunk, cause};

impl Association {
    /// Ends the association after everything queued was sent and acknowledged.
    /// [`Event::Closed`] tells when it is done. An association that is not up ends at once.
    pub fn shutdown(&mut self, now: Instant) {
        self.clock(now);
        if self.ended {
            return;
        }
        match self.state {
            State::Closed | State::CookieWait | State::CookieEchoed => self.abort(""),
            State::Established => {
                self.state = State::ShutdownPending;
                self.arm_guard();
                self.continue_shutdown();
            }
            _ => {}
        }
    }

    /// Ends the association at once: the peer gets an ABORT with `reason`, what was queued is
    /// dropped, [`Event::Closed`] follows. Poll for the ABORT afterwards.
    pub fn abort(&mut self, reason: &str) {
        if self.ended {
            return;
        }
        if !matches!(self.state, State::Closed | State::CookieWait) {
            self.reply_abort(self.peer_tag, cause::USER_ABORT, reason.as_bytes());
        }
        self.end(Event::Closed);
    }

    /// SHUTDOWN or SHUTDOWN ACK is due once our data is through.
    pub(super) fn continue_shutdown(&mut self) {
        if !matches!(self.state, State::ShutdownPending | State::ShutdownReceived)
            || !self.outstanding.is_empty()
            || self.outstanding.open_bytes() > 0
            || self.queue.is_ready()
            || self.queue.is_parked()
        {
            return;
        }
        if self.state == State::ShutdownPending {
            self.state = State::ShutdownSent;
            self.pending.shutdown = true;
        } else {
            self.state = State::ShutdownAckSent;
            self.pending.shutdown_ack = true;
        }
    }

    pub(super) fn handle_shutdown(&mut self, cumulative_tsn: u32) {
        match self.state {
            State::Established | State::ShutdownPending => {
                self.acknowledge_shutdown(cumulative_tsn);
                self.state = State::ShutdownReceived;
                self.arm_guard();
                self.continue_shutdown();
            }
            State::ShutdownReceived => {
                self.acknowledge_shutdown(cumulative_tsn);
                self.continue_shutdown();
            }
            // Both sides at once.
            State::ShutdownSent | State::ShutdownAckSent => {
                self.state = State::ShutdownAckSent;
                self.pending.shutdown = false;
                self.pending.shutdown_ack = true;
            }
            _ => self.stats.drops.unexpected += 1,
        }
    }

    pub(super) fn handle_shutdown_ack(&mut self, tag: u32) {
        let mut chunk = Vec::new();
        match self.state {
            State::ShutdownSent | State::ShutdownAckSent => {
                Chunk::ShutdownComplete { reflected: false }.write(&mut chunk);
                self.reply(self.peer_tag, chunk);
                self.end(Event::Closed);
            }
            // Out of the blue: the SHUTDOWN COMPLETE was lost (§8.4, rule 5).
            State::CookieWait | State::CookieEchoed | State::Closed => {
                Chunk::ShutdownComplete { reflected: true }.write(&mut chunk);
                self.reply(tag, chunk);
            }
            _ => self.stats.drops.unexpected += 1,
        }
    }

    pub(super) fn handle_shutdown_complete(&mut self) {
        if self.state == State::ShutdownAckSent {
            self.end(Event::Closed);
        } else {
            self.stats.drops.unexpected += 1;
        }
    }

    /// The last state: what came can be read, replies still go out, nothing else happens.
    pub(super) fn end(&mut self, event: Event) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.state = State::Closed;
        self.timers.clear();
        self.pending.clear();
        self.queue = SendQueue::new();
        self.stats.abandoned += self.outstanding.abandoned_messages;
        self.outstanding = Outstanding::new(self.outstanding.next_tsn());
        self.cookie = Vec::new();
        self.heartbeat = None;
        self.events.push_back(event);
    }

    /// T5-shutdown-guard: five times RTO.Max for the whole exchange (§9.2).
    fn arm_guard(&mut self) {
        if !self.timers.is_set(Timer::Guard as usize) {
            self.arm(Timer::Guard, self.config.rto_max * 5);
        }
    }
}
