use std::time::Duration;

/// A time as NTP counts it: 32 bits of seconds since 1900 and 32 bits of fraction (RFC 3550 section 4).
///
/// The seconds wrap in 2036; a time in the lower half of the range is taken as one after the wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NtpTime(
    /// The 64 bits.
    pub u64,
);

impl NtpTime {
    /// The time so long after the begin of 1970.
    #[must_use]
    pub fn from_unix(unix: Duration) -> Self {
        let seconds = unix.as_secs().wrapping_add(SECONDS_1900_TO_1970) << 32;
        Self(seconds | fraction(unix))
    }

    /// How long after the begin of 1970 it is; zero for a time before.
    #[must_use]
    pub fn to_unix(self) -> Duration {
        let seconds = self.0 >> 32;
        let era = u64::from(seconds < 1 << 31) << 32;
        let seconds = (era + seconds).saturating_sub(SECONDS_1900_TO_1970);
        let nanos = ((self.0 & 0xffff_ffff) * NANOS_PER_SECOND) >> 32;
        Duration::from_secs(seconds) + Duration::from_nanos(nanos)
    }

    /// The middle 32 bits, as reports echo them.
    #[must_use]
    pub fn short(self) -> NtpShort {
        NtpShort((self.0 >> 16) as u32)
    }
}

/// A time or a duration in 1/65536 seconds, the middle 32 bits of an [`NtpTime`]; wraps after 18 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NtpShort(
    /// The 32 bits.
    pub u32,
);

impl NtpShort {
    /// No time: what a report says that has nothing to echo.
    pub const ZERO: Self = Self(0);

    /// A duration, rounded; the greatest value for 18 hours and more.
    #[must_use]
    pub fn from_duration(duration: Duration) -> Self {
        let units = (duration.as_nanos() * 65_536 + 500_000_000) / 1_000_000_000;
        Self(u32::try_from(units).unwrap_or(u32::MAX))
    }

    /// As a duration.
    #[must_use]
    pub fn as_duration(self) -> Duration {
        Duration::from_nanos((u64::from(self.0) * NANOS_PER_SECOND) >> 16)
    }
}

/// The round trip time that a report tells at `now`, from the time that it echoes and the time that the
/// echo waited at the peer (RFC 3550 section 6.4.1, RFC 3611 section 4.5).
///
/// `None` when there was nothing to echo or the sum lies in the future. The rounding of the units may
/// make a short round trip negative, it is zero then.
#[must_use]
pub fn round_trip_time(now: NtpTime, echoed: NtpShort, delay: NtpShort) -> Option<Duration> {
    if echoed == NtpShort::ZERO {
        return None;
    }
    let units = now.short().0.wrapping_sub(echoed.0).wrapping_sub(delay.0) as i32;
    match units {
        0.. => Some(NtpShort(units.cast_unsigned()).as_duration()),
        ROUNDING..0 => Some(Duration::ZERO),
        _ => None,
    }
}

/// The 32-bit fraction of the part below one second, rounded to the nearest.
fn fraction(time: Duration) -> u64 {
    ((u64::from(time.subsec_nanos()) << 32) + NANOS_PER_SECOND / 2) / NANOS_PER_SECOND
}

const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Units of 1/65536 s by which roundings and a peer with a clock of milliseconds may err.
const ROUNDING: i32 = -131;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_to_ntp_and_back_also_after_2036() {
        let one = NtpTime::from_unix(Duration::from_millis(500));
        assert_eq!(one, NtpTime(2_208_988_800 << 32 | 0x8000_0000));
        for seconds in [
            0,
            1_700_000_000,
            2_085_978_495,
            2_085_978_496,
            3_000_000_000,
        ] {
            let time = Duration::new(seconds, 123_456_789);
            let back = NtpTime::from_unix(time).to_unix();
            assert!(back.abs_diff(time) <= Duration::from_nanos(1), "{seconds}");
        }
        assert_eq!(
            NtpTime(0xe123_4567_8000_0000).short(),
            NtpShort(0x4567_8000)
        );
    }

    #[test]
    fn short_durations_are_rounded_and_bounded() {
        assert_eq!(NtpShort::from_duration(Duration::from_secs(2)).0, 131_072);
        assert_eq!(NtpShort(131_072).as_duration(), Duration::from_secs(2));
        assert_eq!(NtpShort::from_duration(Duration::MAX).0, u32::MAX);
    }

    #[test]
    fn a_round_trip_is_what_is_left_of_the_time_since_the_report() {
        let sent = NtpTime::from_unix(Duration::from_secs(1_700_000_000));
        let now = NtpTime::from_unix(Duration::from_millis(1_700_000_001_250));
        let delay = NtpShort::from_duration(Duration::from_secs(1));
        let rtt = round_trip_time(now, sent.short(), delay).unwrap();
        assert_eq!(rtt, Duration::from_millis(250));
        assert_eq!(round_trip_time(now, NtpShort::ZERO, delay), None);
        let slightly = NtpShort(delay.0 + 0x4000 + 10);
        assert_eq!(
            round_trip_time(now, sent.short(), slightly),
            Some(Duration::ZERO)
        );
        let far = NtpShort(delay.0 + 0x8000);
        assert_eq!(round_trip_time(now, sent.short(), far), None);
    }
}
