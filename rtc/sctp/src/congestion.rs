//! Congestion control (RFC 9260 §7) and the retransmission timeout (§6.3).

use std::time::Duration;

use rtc_shared::serial::ge32;

use crate::config::{Config, InitialWindow};
use crate::wire::{DATA_HEADER_LEN, HEADER_LEN};

/// Congestion window of the one path. Sizes are DATA chunk bytes, headers and padding included.
#[derive(Debug)]
pub(crate) struct Congestion {
    window: usize,
    threshold: usize,
    /// partial_bytes_acked
    partial: usize,
    /// TSN whose acknowledgement ends Fast Recovery.
    recovery_exit: Option<u32>,
    /// PMDCS: the largest DATA chunk.
    max_chunk: usize,
    limit: usize,
    initial: usize,
}

impl Congestion {
    pub(crate) fn new(config: &Config) -> Self {
        let max_chunk = config.max_packet_size - HEADER_LEN;
        let initial = match config.initial_window {
            InitialWindow::Rfc9260 => (4 * max_chunk).min((2 * max_chunk).max(4404)),
            InitialWindow::Packets(packets) => usize::from(packets.max(1)) * max_chunk,
        };
        let initial = initial.min(config.max_congestion_window);
        Self {
            window: initial,
            threshold: config.max_congestion_window,
            partial: 0,
            recovery_exit: None,
            max_chunk,
            limit: config.max_congestion_window,
            initial,
        }
    }

    pub(crate) fn window(&self) -> usize {
        self.window
    }

    pub(crate) fn threshold(&self) -> usize {
        self.threshold
    }

    /// The largest DATA chunk, header included.
    pub(crate) fn max_chunk(&self) -> usize {
        self.max_chunk
    }

    /// The largest fragment of user data, a multiple of 4.
    pub(crate) fn max_payload(&self) -> usize {
        (self.max_chunk - DATA_HEADER_LEN) & !3
    }

    pub(crate) fn in_recovery(&self) -> bool {
        self.recovery_exit.is_some()
    }

    /// A SACK moved the cumulative TSN to `cumulative` and newly acknowledged `acked` bytes, of
    /// `flight` that were outstanding before it; `limited` says that the window held data back.
    ///
    /// One SACK may stand for a whole batch of packets, so slow start grows by all that was
    /// acknowledged (RFC 9260 §7.2.1 with L unbounded, appropriate byte counting).
    pub(crate) fn acknowledged(
        &mut self,
        cumulative: u32,
        acked: usize,
        flight: usize,
        limited: bool,
    ) {
        if let Some(exit) = self.recovery_exit {
            if ge32(cumulative, exit) {
                self.recovery_exit = None;
            }
            return;
        }
        let full = limited || flight + self.max_chunk > self.window;
        if self.window <= self.threshold {
            if full {
                self.window = self.window.saturating_add(acked).min(self.limit);
            }
            return;
        }
        self.partial = self.partial.saturating_add(acked);
        if self.partial >= self.window {
            self.partial = if full { self.partial - self.window } else { 0 };
            if full {
                self.window = self.window.saturating_add(self.max_chunk).min(self.limit);
            }
        }
    }

    /// Loss was seen from SACKs; `highest` is the highest TSN outstanding. True when this starts a
    /// Fast Recovery (§7.2.4) rather than belonging to the one going on.
    pub(crate) fn lost(&mut self, highest: u32) -> bool {
        if self.recovery_exit.is_some() {
            return false;
        }
        self.halve();
        self.window = self.threshold;
        self.recovery_exit = Some(highest);
        true
    }

    /// T3-rtx expired (§7.2.3).
    pub(crate) fn timed_out(&mut self) {
        self.halve();
        self.window = self.max_chunk;
        self.recovery_exit = None;
    }

    /// Nothing was sent for `idle`: the window decays by half per RTO (§7.2.1).
    pub(crate) fn idle(&mut self, idle: Duration, rto: Duration) {
        let mut left = idle;
        let floor = self.initial.max(4 * self.max_chunk).min(self.window);
        while left > rto && self.window > floor {
            self.window = (self.window / 2).max(floor);
            left = left.saturating_sub(rto);
        }
    }

    /// All outstanding data was acknowledged (§7.2.2).
    pub(crate) fn drained(&mut self) {
        self.partial = 0;
    }

    fn halve(&mut self) {
        self.threshold = (self.window / 2).max(4 * self.max_chunk);
        self.partial = 0;
    }
}

/// Retransmission timeout, smoothed as in §6.3.1.
#[derive(Debug)]
pub(crate) struct Rto {
    smoothed: Option<Duration>,
    variation: Duration,
    current: Duration,
    min: Duration,
    max: Duration,
}

impl Rto {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            smoothed: None,
            variation: Duration::ZERO,
            current: config.rto_initial,
            min: config.rto_min,
            max: config.rto_max,
        }
    }

    pub(crate) fn current(&self) -> Duration {
        self.current
    }

    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// Takes a measured round trip in.
    pub(crate) fn sample(&mut self, rtt: Duration) {
        const GRANULARITY: Duration = Duration::from_millis(1);
        let smoothed = match self.smoothed {
            None => {
                self.variation = rtt / 2;
                rtt
            }
            Some(smoothed) => {
                self.variation = self.variation * 3 / 4 + smoothed.abs_diff(rtt) / 4;
                smoothed * 7 / 8 + rtt / 8
            }
        };
        self.smoothed = Some(smoothed);
        let timeout = smoothed + (self.variation * 4).max(GRANULARITY);
        self.current = timeout.clamp(self.min, self.max);
    }

    /// A timer expired without an answer (§6.3.3, E2).
    pub(crate) fn back_off(&mut self) {
        self.current = (self.current * 2).min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn congestion() -> Congestion {
        let config = Config {
            initial_window: InitialWindow::Rfc9260,
            ..Config::default()
        };
        Congestion::new(&config.sanitised())
    }

    #[test]
    fn initial_window_is_that_of_rfc_9260() {
        // PMDCS 1148: 4 of them are more than 4404, so 4404.
        assert_eq!(congestion().window(), 4404);
    }

    #[test]
    fn slow_start_grows_only_when_the_window_is_used() {
        let mut cc = congestion();
        cc.acknowledged(1, 1148, 1148, false);
        assert_eq!(cc.window(), 4404);
        cc.acknowledged(2, 1148, 4404, false);
        assert_eq!(cc.window(), 4404 + 1148);
    }

    #[test]
    fn loss_halves_once_per_recovery_and_avoidance_grows_one_chunk_per_window() {
        let mut cc = congestion();
        for tsn in 0..40 {
            cc.acknowledged(tsn, 1148, cc.window(), true);
        }
        let before = cc.window();
        assert!(cc.lost(100));
        assert!(!cc.lost(120));
        assert_eq!(cc.window(), before / 2);
        cc.acknowledged(99, 5000, before / 2, true);
        assert!(cc.in_recovery());
        cc.acknowledged(100, 1000, before / 2, true);
        assert!(!cc.in_recovery());
        let window = cc.window();
        // Slow start ends above the threshold; from there one chunk per window.
        cc.acknowledged(101, 1000, window, true);
        let start = cc.window();
        cc.acknowledged(102, start, start, true);
        assert_eq!(cc.window(), start + 1148);
    }

    #[test]
    fn timeout_leaves_one_chunk_and_idleness_decays() {
        let mut cc = congestion();
        for tsn in 0..40 {
            cc.acknowledged(tsn, 1148, cc.window(), true);
        }
        let before = cc.window();
        cc.idle(400 * MS, 400 * MS);
        assert_eq!(cc.window(), before);
        cc.idle(401 * MS, 400 * MS);
        assert_eq!(cc.window(), before / 2);
        cc.idle(40_000 * MS, 400 * MS);
        assert_eq!(cc.window(), 4 * 1148);
        cc.timed_out();
        assert_eq!(cc.window(), 1148);
        assert_eq!(cc.threshold(), 4 * 1148);
    }

    #[test]
    fn rto_follows_rfc_9260() {
        let mut rto = Rto::new(&Config::default());
        assert_eq!(rto.current(), 500 * MS);
        rto.sample(300 * MS);
        // SRTT 300, RTTVAR 150: 300 + 600
        assert_eq!(rto.current(), 900 * MS);
        rto.sample(300 * MS);
        assert_eq!(rto.current(), 300 * MS + 4 * Duration::from_micros(112_500));
        rto.back_off();
        rto.back_off();
        rto.back_off();
        rto.back_off();
        assert_eq!(rto.current(), Duration::from_secs(10));
        for _ in 0..100 {
            rto.sample(MS);
        }
        assert_eq!(rto.current(), 400 * MS);
    }
}
