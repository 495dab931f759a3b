use std::collections::VecDeque;
use std::time::Duration;

/// Time as NTP has it: seconds since 1900 in 32.32 bits, as in sender reports (RFC 3550 section 4).
/// It wraps in 2036.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NtpTime(
    /// The 64 bits.
    pub u64,
);

impl NtpTime {
    /// The time that is so long after 1970-01-01.
    #[must_use]
    pub fn from_unix(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs().wrapping_add(UNIX_EPOCH);
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
        Self(seconds << 32 | fraction)
    }

    /// How long after 1970-01-01 it is. Times whose top bit is clear lie after 2036 (RFC 4330 section
    /// 3).
    #[must_use]
    pub fn to_unix(self) -> Duration {
        let seconds = self.0 >> 32;
        let era = if seconds >> 31 == 0 { 1 << 32 } else { 0 };
        let nanos = ((self.0 & 0xffff_ffff) * 1_000_000_000) >> 32;
        Duration::new((seconds + era).saturating_sub(UNIX_EPOCH), nanos as u32)
    }

    /// Seconds from another time to this one, negative when this one is before.
    #[must_use]
    pub fn seconds_since(self, other: Self) -> f64 {
        self.0.wrapping_sub(other.0).cast_signed() as f64 / UNITS_PER_SECOND
    }

    /// A time so many seconds later, or earlier.
    #[must_use]
    pub fn plus_seconds(self, seconds: f64) -> Self {
        let units = (seconds * UNITS_PER_SECOND) as i64;
        Self(self.0.wrapping_add(units.cast_unsigned()))
    }
}

/// Maps the RTP timestamps of a source to the time of its sender, by the pairs that sender reports
/// bring (RFC 3550 section 6.4.1).
///
/// The rate of the source's clock is estimated from the last reports, as it differs a little from what
/// was negotiated. A report that does not fit the others is ignored, until some of them agree.
///
/// ```
/// use std::time::Duration;
/// use rtc_media::{NtpTime, RtpClock};
///
/// let begin = NtpTime::from_unix(Duration::from_secs(1_700_000_000));
/// let mut clock = RtpClock::new(90_000);
/// assert_eq!(clock.ntp_time(1000), None);
/// clock.sender_report(begin, 1000);
/// let time = clock.ntp_time(1000 + 45_000).unwrap();
/// assert!((time.seconds_since(begin) - 0.5).abs() < 1e-6);
/// ```
#[derive(Clone, Debug)]
pub struct RtpClock {
    clock_rate: f64,
    reports: VecDeque<Report>,
    strays: u8,
    /// Ticks in a second of the sender's time.
    rate: f64,
    /// Where the line through the reports lies at the last one: ticks after its timestamp.
    offset: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Report {
    ntp: NtpTime,
    rtp: u32,
}

impl RtpClock {
    /// For a source with a nominal rate of its clock.
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        let clock_rate = f64::from(clock_rate.max(1));
        Self {
            clock_rate,
            reports: VecDeque::new(),
            strays: 0,
            rate: clock_rate,
            offset: 0.0,
        }
    }

    /// Takes the pair of a sender report, and says whether it was used.
    pub fn sender_report(&mut self, ntp: NtpTime, rtp: u32) -> bool {
        let report = Report { ntp, rtp };
        if let Some(&last) = self.reports.back() {
            let elapsed = ntp.seconds_since(last.ntp);
            let advance = f64::from(rtp.wrapping_sub(last.rtp).cast_signed());
            let error = advance / self.clock_rate - elapsed;
            if elapsed <= 0.0 && self.reports.contains(&report) {
                return false;
            }
            if elapsed <= 0.0 || error.abs() > TOLERANCE + elapsed * MAX_DRIFT {
                self.strays += 1;
                if self.strays < MAX_STRAYS {
                    return false;
                }
                self.reports.clear();
            }
        }
        self.strays = 0;
        self.reports.push_back(report);
        if self.reports.len() > MAX_REPORTS {
            self.reports.pop_front();
        }
        self.fit();
        true
    }

    /// When the sender sampled what has this timestamp; `None` before the first sender report.
    #[must_use]
    pub fn ntp_time(&self, timestamp: u32) -> Option<NtpTime> {
        let last = self.reports.back()?;
        let ticks = f64::from(timestamp.wrapping_sub(last.rtp).cast_signed());
        Some(last.ntp.plus_seconds((ticks - self.offset) / self.rate))
    }

    /// The timestamp of what the sender sampled at this time.
    #[must_use]
    pub fn timestamp(&self, time: NtpTime) -> Option<u32> {
        let last = self.reports.back()?;
        let ticks = time.seconds_since(last.ntp) * self.rate + self.offset;
        Some(last.rtp.wrapping_add((ticks.round() as i64) as u32))
    }

    /// Ticks of the source's clock in a second of the sender's, as estimated.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Lays a line of least squares through the reports, relative to the last one.
    fn fit(&mut self) {
        (self.rate, self.offset) = (self.clock_rate, 0.0);
        let (Some(first), Some(&last)) = (self.reports.front(), self.reports.back()) else {
            return;
        };
        if last.ntp.seconds_since(first.ntp) < MIN_SPAN {
            return;
        }
        let points = || {
            self.reports.iter().map(|report| {
                let ticks = f64::from(report.rtp.wrapping_sub(last.rtp).cast_signed());
                (report.ntp.seconds_since(last.ntp), ticks)
            })
        };
        let count = self.reports.len() as f64;
        let mean_seconds = points().map(|(seconds, _)| seconds).sum::<f64>() / count;
        let mean_ticks = points().map(|(_, ticks)| ticks).sum::<f64>() / count;
        let (mut covariance, mut variance) = (0.0, 0.0);
        for (seconds, ticks) in points() {
            covariance += (seconds - mean_seconds) * (ticks - mean_ticks);
            variance += (seconds - mean_seconds).powi(2);
        }
        let rate = covariance / variance;
        if (rate / self.clock_rate - 1.0).abs() <= MAX_DRIFT {
            self.rate = rate;
            self.offset = mean_ticks - rate * mean_seconds;
        }
    }
}

/// Seconds from 1900 to 1970.
const UNIX_EPOCH: u64 = 2_208_988_800;
const UNITS_PER_SECOND: f64 = (1_u64 << 32) as f64;
/// Reports of 20 to 100 seconds, which average the jitter of their making out.
const MAX_REPORTS: usize = 20;
/// So many reports that do not fit begin a new clock.
const MAX_STRAYS: u8 = 3;
/// How far a report may be off, in seconds.
const TOLERANCE: f64 = 0.5;
/// Clocks of sound cards and cameras are off by less than a hundredth.
const MAX_DRIFT: f64 = 0.01;
/// Reports closer together, in seconds, say more of jitter than of the rate.
const MIN_SPAN: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;
    use rtc_shared::Rng;

    const BEGIN: NtpTime = NtpTime(0xe8e0_0000_8000_0000);

    #[test]
    fn unix_time_goes_there_and_back_over_the_era() {
        for seconds in [
            0,
            1_700_000_000,
            2_085_978_495,
            2_085_978_496,
            2_500_000_000,
        ] {
            let time = Duration::new(seconds, 250_000_000);
            assert_eq!(NtpTime::from_unix(time).to_unix(), time);
        }
        let known = NtpTime::from_unix(Duration::from_secs(0));
        assert_eq!(known.0 >> 32, 2_208_988_800);
    }

    #[test]
    fn drift_is_found_and_jitter_averaged() {
        let mut rng = Rng::from_seed([6; 32]);
        let mut clock = RtpClock::new(48_000);
        let true_rate = 48_000.0 * 1.000_2;
        let first: u32 = 0xffff_0000;
        let at = |seconds: f64| first.wrapping_add((seconds * true_rate) as u32);
        for report in 0..40 {
            let seconds = f64::from(report) * 5.0;
            let jitter = (rng.unit() - 0.5) * 0.002;
            assert!(clock.sender_report(BEGIN.plus_seconds(seconds + jitter), at(seconds)));
        }
        assert!(
            (clock.rate() / true_rate - 1.0).abs() < 0.000_02,
            "{}",
            clock.rate()
        );
        let time = clock.ntp_time(at(200.0)).unwrap();
        assert!((time.seconds_since(BEGIN) - 200.0).abs() < 0.002);
        let back = clock.timestamp(time).unwrap();
        assert!(back.wrapping_sub(at(200.0)).cast_signed().abs() <= 1);
    }

    #[test]
    fn one_stray_report_is_ignored_and_three_begin_anew() {
        let mut clock = RtpClock::new(90_000);
        for seconds in 0..5 {
            assert!(clock.sender_report(BEGIN.plus_seconds(seconds.into()), seconds * 90_000));
        }
        assert!(!clock.sender_report(BEGIN.plus_seconds(4.0), 4 * 90_000));
        assert!(!clock.sender_report(BEGIN.plus_seconds(5.0), 7_000_000));
        assert!(clock.sender_report(BEGIN.plus_seconds(6.0), 6 * 90_000));
        assert!((clock.rate() - 90_000.0).abs() < 1.0);
        // The source has restarted.
        for (seconds, used) in [(7, false), (8, false), (9, true), (10, true)] {
            let rtp = 0x8000_0000 + seconds * 90_000;
            assert_eq!(
                clock.sender_report(BEGIN.plus_seconds(seconds.into()), rtp),
                used
            );
        }
        let time = clock.ntp_time(0x8000_0000 + 11 * 90_000).unwrap();
        assert!((time.seconds_since(BEGIN) - 11.0).abs() < 1e-6);
    }
}
