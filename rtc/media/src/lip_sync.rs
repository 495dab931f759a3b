use std::time::{Duration, Instant};

use crate::NtpTime;

/// Says by how much audio or video has to wait for the other, so that what was captured together is
/// played together.
///
/// Feed it about once a second with the last frame of each, whose time of capture an
/// [`RtpClock`](crate::RtpClock) gives. Delays change by small steps, so that nobody hears them.
///
/// ```
/// use std::time::{Duration, Instant};
/// use rtc_media::{LipSync, NtpTime, Playout};
///
/// let now = Instant::now();
/// let captured = NtpTime::from_unix(Duration::from_secs(1_700_000_000));
/// let audio = Playout { captured, ready: now };
/// // Video needs 200 ms longer to get here.
/// let video = Playout { captured, ready: now + Duration::from_millis(200) };
/// let mut sync = LipSync::new();
/// for _ in 0..20 {
///     sync.update(audio, video);
/// }
/// assert!(sync.audio_delay() > Duration::from_millis(160));
/// assert_eq!(sync.video_delay(), Duration::ZERO);
/// ```
#[derive(Clone, Debug, Default)]
pub struct LipSync {
    /// What video lags behind audio with the delays as they are, averaged; in seconds.
    lag: f64,
    audio_delay: Duration,
    video_delay: Duration,
}

/// A frame on its way to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Playout {
    /// When it was captured, by the clock of the sender.
    pub captured: NtpTime,
    /// When it would be played without the delay that [`LipSync`] adds.
    pub ready: Instant,
}

impl LipSync {
    /// One without delays.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a recent frame of each and adjusts the delays.
    pub fn update(&mut self, audio: Playout, video: Playout) {
        let ready = signed_seconds(audio.ready, video.ready);
        let captured = video.captured.seconds_since(audio.captured);
        let wanted = ready - captured;
        if wanted.abs() > MAX_DELAY.as_secs_f64() {
            return;
        }
        let given = self.audio_delay.as_secs_f64() - self.video_delay.as_secs_f64();
        self.lag += (wanted - given - self.lag) * SMOOTHING;
        if self.lag.abs() < TOLERANCE {
            return;
        }
        let step = Duration::from_secs_f64(self.lag.abs().min(MAX_STEP));
        let (ahead, behind) = match self.lag > 0.0 {
            true => (&mut self.audio_delay, &mut self.video_delay),
            false => (&mut self.video_delay, &mut self.audio_delay),
        };
        // First let the one behind wait less.
        let less = step.min(*behind);
        *behind -= less;
        *ahead = (*ahead + (step - less)).min(MAX_DELAY);
        self.lag = 0.0;
    }

    /// How much later than it is ready audio is to be played.
    #[must_use]
    pub fn audio_delay(&self) -> Duration {
        self.audio_delay
    }

    /// How much later than it is ready video is to be played.
    #[must_use]
    pub fn video_delay(&self) -> Duration {
        self.video_delay
    }
}

/// Seconds from one instant to another, negative when the other is before.
fn signed_seconds(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(later) => later.as_secs_f64(),
        None => -from.duration_since(to).as_secs_f64(),
    }
}

/// Share of a new measurement in the average.
const SMOOTHING: f64 = 0.25;
/// Less than this, in seconds, nobody notices (ITU-R BT.1359).
const TOLERANCE: f64 = 0.03;
/// The most that a delay changes at once, in seconds.
const MAX_STEP: f64 = 0.08;
/// Streams further apart do not belong together.
const MAX_DELAY: Duration = Duration::from_secs(10);

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "tests need an origin for their virtual time"
)]
mod tests {
    use super::*;

    #[test]
    fn the_faster_stream_waits_and_is_let_go_again() {
        let begin = Instant::now();
        let captured = NtpTime(0xe8e0_0000_0000_0000);
        let mut sync = LipSync::new();
        let mut run = |audio_path: u64, video_path: u64| {
            for _ in 0..60 {
                let playout = |path: u64, skew: f64| Playout {
                    captured: captured.plus_seconds(skew),
                    ready: begin + Duration::from_millis(path) + Duration::from_secs_f64(skew),
                };
                let before = (sync.audio_delay(), sync.video_delay());
                sync.update(playout(audio_path, 0.0), playout(video_path, 0.013));
                let change = |a: Duration, b: Duration| a.abs_diff(b).as_millis();
                assert!(change(before.0, sync.audio_delay()) <= 80);
                assert!(change(before.1, sync.video_delay()) <= 80);
            }
            let audio = audio_path as f64 / 1e3 + sync.audio_delay().as_secs_f64();
            let video = video_path as f64 / 1e3 + sync.video_delay().as_secs_f64();
            assert!((audio - video).abs() < 0.031, "{audio} {video}");
            (sync.audio_delay(), sync.video_delay())
        };
        let (audio, video) = run(50, 450);
        assert!(audio > Duration::from_millis(300) && video.is_zero());
        let (audio, video) = run(50, 60);
        assert!(audio < Duration::from_millis(45) && video.is_zero());
        let (audio, video) = run(500, 60);
        assert!(audio.is_zero() && video > Duration::from_millis(350));
        let before = run(500, 60);
        assert_eq!(before, run(500, 60));
    }

    #[test]
    fn streams_that_do_not_belong_together_are_left_alone() {
        let begin = Instant::now();
        let captured = NtpTime(0xe8e0_0000_0000_0000);
        let mut sync = LipSync::new();
        let audio = Playout {
            captured,
            ready: begin,
        };
        let video = Playout {
            captured: captured.plus_seconds(30.0),
            ready: begin,
        };
        for _ in 0..50 {
            sync.update(audio, video);
        }
        assert_eq!((sync.audio_delay(), sync.video_delay()), Default::default());
    }
}
