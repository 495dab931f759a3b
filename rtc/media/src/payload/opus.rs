use std::time::Duration;

use crate::DepacketizeError;

/// What the first bytes of an Opus packet tell (RFC 6716 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpusInfo {
    /// Mode, bandwidth and frame size, 0 to 31 (RFC 6716 table 2).
    pub config: u8,
    /// The packet has two channels.
    pub stereo: bool,
    /// How many frames there are, 1 to 48.
    pub frames: u8,
    /// Samples of each frame, at 48 kHz.
    pub frame_samples: u16,
}

impl OpusInfo {
    /// Reads a packet and checks that it is well-formed, as RFC 6716 section 3.4 lists it.
    ///
    /// # Errors
    /// [`DepacketizeError`]
    pub fn parse(packet: &[u8]) -> Result<Self, DepacketizeError> {
        let (&toc, body) = packet.split_first().ok_or(DepacketizeError::Empty)?;
        let info = |frames| Self {
            config: toc >> 3,
            stereo: toc & 0b100 != 0,
            frames,
            frame_samples: frame_samples(toc >> 3),
        };
        match toc & 0b11 {
            0 => at_most_max(body.len()).map(|()| info(1)),
            1 if body.len() % 2 != 0 => Err(ODD),
            1 => at_most_max(body.len() / 2).map(|()| info(2)),
            2 => {
                let (first, rest) = frame_length(body)?;
                let second = rest
                    .len()
                    .checked_sub(first)
                    .ok_or(DepacketizeError::Truncated)?;
                at_most_max(second).map(|()| info(2))
            }
            _ => {
                let (&header, body) = body.split_first().ok_or(DepacketizeError::Truncated)?;
                let info = info(header & 0x3f);
                if info.frames == 0 || info.samples() > MAX_SAMPLES {
                    return Err(DepacketizeError::Malformed("count of Opus frames"));
                }
                let body = match header & 0x40 != 0 {
                    true => without_padding(body)?,
                    false => body,
                };
                match header & 0x80 != 0 {
                    true => check_variable(body, info.frames)?,
                    false if body.len() % usize::from(info.frames) != 0 => return Err(ODD),
                    false => at_most_max(body.len() / usize::from(info.frames))?,
                }
                Ok(info)
            }
        }
    }

    /// Samples of all frames, at 48 kHz, which is also the clock of the RTP timestamps.
    #[must_use]
    pub fn samples(&self) -> u32 {
        u32::from(self.frame_samples) * u32::from(self.frames)
    }

    /// How long the packet lasts, 2.5 to 120 ms.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_micros(u64::from(self.samples()) * 125 / 6)
    }
}

/// Samples of a frame at 48 kHz (RFC 6716 table 2).
fn frame_samples(config: u8) -> u16 {
    match (config, config & 0b11) {
        (0..=11, 0) => 480,
        (0..=11, 1) => 960,
        (0..=11, 2) => 1920,
        (0..=11, _) => 2880,
        (12..=15, low) => 480 << (low & 1),
        (_, low) => 120 << low,
    }
}

/// The length of a frame, in one or two bytes, and what follows.
fn frame_length(body: &[u8]) -> Result<(usize, &[u8]), DepacketizeError> {
    let (&first, rest) = body.split_first().ok_or(DepacketizeError::Truncated)?;
    if first < 252 {
        return Ok((first.into(), rest));
    }
    let (&second, rest) = rest.split_first().ok_or(DepacketizeError::Truncated)?;
    Ok((usize::from(first) + 4 * usize::from(second), rest))
}

fn without_padding(mut body: &[u8]) -> Result<&[u8], DepacketizeError> {
    let mut padding = 0;
    loop {
        let (&count, rest) = body.split_first().ok_or(DepacketizeError::Truncated)?;
        body = rest;
        padding += usize::from(count.min(254));
        if count < 255 {
            break;
        }
    }
    let length = body.len().checked_sub(padding);
    let body = length.and_then(|length| body.get(..length));
    body.ok_or(DepacketizeError::Truncated)
}

/// All frames but the last have their length before the first.
fn check_variable(mut body: &[u8], frames: u8) -> Result<(), DepacketizeError> {
    let mut total = 0;
    for _ in 1..frames {
        let (length, rest) = frame_length(body)?;
        total += length;
        body = rest;
    }
    let last = body
        .len()
        .checked_sub(total)
        .ok_or(DepacketizeError::Truncated)?;
    at_most_max(last)
}

fn at_most_max(length: usize) -> Result<(), DepacketizeError> {
    match length <= MAX_FRAME_LEN {
        true => Ok(()),
        false => Err(DepacketizeError::TooLarge),
    }
}

const ODD: DepacketizeError = DepacketizeError::Malformed("Opus frames of unequal size");
/// The most that the length of a frame can express.
const MAX_FRAME_LEN: usize = 1275;
/// 120 ms.
const MAX_SAMPLES: u32 = 5760;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_last_as_long_as_their_first_byte_says() {
        let millis = |toc: u8| {
            OpusInfo::parse(&[toc << 3])
                .unwrap()
                .duration()
                .as_secs_f64()
                * 1e3
        };
        let durations: Vec<_> = (0..32).map(millis).collect();
        let silk = [10.0, 20.0, 40.0, 60.0].repeat(3);
        let celt = [2.5, 5.0, 10.0, 20.0].repeat(4);
        assert_eq!(
            durations,
            [silk, vec![10.0, 20.0, 10.0, 20.0], celt].concat()
        );
        assert!(OpusInfo::parse(&[0b0000_0100]).unwrap().stereo);
    }

    #[test]
    fn frames_are_counted_and_checked() {
        let frames = |packet: &[u8]| OpusInfo::parse(packet).map(|info| info.frames);
        assert_eq!(frames(&[0, 1, 2]), Ok(1));
        assert_eq!(frames(&[1, 1, 2]), Ok(2));
        assert_eq!(frames(&[1, 1]), Err(ODD));
        assert_eq!(frames(&[2, 1, 2, 3]), Ok(2));
        assert_eq!(frames(&[2]), Err(DepacketizeError::Truncated));
        assert_eq!(frames(&[2, 3, 1, 2]), Err(DepacketizeError::Truncated));
        assert_eq!(frames(&[3, 3, 1, 2, 3]), Ok(3));
        assert_eq!(frames(&[3, 2, 1, 2, 3]), Err(ODD));
        // Two bytes of padding after three frames of a byte.
        assert_eq!(frames(&[3, 0x43, 2, 1, 2, 3, 0, 0]), Ok(3));
        assert_eq!(
            frames(&[3, 0x43, 9, 1, 2, 3]),
            Err(DepacketizeError::Truncated)
        );
        // Frames of two bytes, of one and of what is left.
        assert_eq!(frames(&[3, 0x83, 2, 1, 1, 1, 2]), Ok(3));
        assert_eq!(
            frames(&[3, 0x83, 2, 9, 1, 1, 2]),
            Err(DepacketizeError::Truncated)
        );
        for packet in [&[3][..], &[3, 0], &[3, 13], &[0x1b, 3]] {
            assert!(frames(packet).is_err(), "{packet:?}");
        }
        assert_eq!(frames(&[]), Err(DepacketizeError::Empty));
        assert_eq!(frames(&[0; 1277]), Err(DepacketizeError::TooLarge));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(packet: Vec<u8>) {
            if let Ok(info) = OpusInfo::parse(&packet) {
                prop_assert!((1..=48).contains(&info.frames) && info.samples() <= MAX_SAMPLES);
            }
        }
    }
}
