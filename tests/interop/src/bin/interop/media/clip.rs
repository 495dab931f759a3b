//! Real media from disk, held in memory.

use std::time::Duration;

use bytes::Bytes;
use rtc::media::{AnnexBReader, Codec, FileError, IvfReader, NalFormat, OggOpusReader, OpusInfo};

use crate::failure::Failure;

/// A few seconds of a stream. The first frame is one that a decoder can begin with.
#[derive(Debug)]
pub(crate) struct Clip {
    frames: Vec<Frame>,
}

/// A frame of a clip.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) data: Bytes,
    pub(crate) duration: Duration,
}

impl Clip {
    /// The clip of a codec; of those that have simulcast the one of a layer.
    pub(crate) fn of(codec: Codec, rid: Option<&str>) -> Result<Self, Failure> {
        let frames = match (codec, rid) {
            (Codec::Opus, _) => opus(OPUS),
            (Codec::Vp8, Some("m")) => ivf(VP8_HALF),
            (Codec::Vp8, Some("l")) => ivf(VP8_QUARTER),
            (Codec::Vp8, _) => ivf(VP8),
            (Codec::Vp9, _) => ivf(VP9),
            (Codec::Av1, _) => ivf(AV1),
            (Codec::H264, _) => annex_b(H264),
            _ => return Err(Failure::Unsupported("there is no clip of that codec")),
        };
        let frames = frames.map_err(|error| Failure::Failed(format!("{codec:?}: {error}")))?;
        Ok(Self { frames })
    }

    /// A frame by its place; the clip repeats itself.
    pub(crate) fn frame(&self, at: usize) -> Option<&Frame> {
        self.frames.get(at % self.frames.len().max(1))
    }
}

fn ivf(file: &[u8]) -> Result<Vec<Frame>, FileError> {
    let mut reader = IvfReader::new(file, MAX_FRAME)?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(Frame {
            data: frame.data,
            duration: PICTURE,
        });
    }
    Ok(frames)
}

fn annex_b(file: &[u8]) -> Result<Vec<Frame>, FileError> {
    let mut reader = AnnexBReader::new(file, NalFormat::H264, MAX_FRAME);
    let mut frames = Vec::new();
    while let Some(unit) = reader.next_access_unit()? {
        frames.push(Frame {
            data: unit.data,
            duration: PICTURE,
        });
    }
    Ok(frames)
}

fn opus(file: &[u8]) -> Result<Vec<Frame>, FileError> {
    let mut reader = OggOpusReader::new(file, MAX_FRAME)?;
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet()? {
        let info = OpusInfo::parse(&packet.data).map_err(|_| FileError::Malformed("packet"))?;
        frames.push(Frame {
            duration: info.duration(),
            data: packet.data,
        });
    }
    Ok(frames)
}

/// The pictures of all clips come thirty in a second.
const PICTURE: Duration = Duration::from_nanos(33_333_333);

const MAX_FRAME: usize = 1 << 20;

/// Files of the tests' media.
macro_rules! media {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../vectors/media/",
            $name
        ))
    };
}

const OPUS: &[u8] = media!("opus.ogg");
const VP8: &[u8] = media!("vp8.ivf");
const VP8_HALF: &[u8] = media!("vp8_160x120.ivf");
const VP8_QUARTER: &[u8] = media!("vp8_80x60.ivf");
const VP9: &[u8] = media!("vp9.ivf");
const AV1: &[u8] = media!("av1.ivf");
const H264: &[u8] = media!("h264_cbp.h264");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clip_lasts_two_seconds_and_repeats() {
        for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264] {
            let clip = Clip::of(codec, None).unwrap();
            let total: Duration = clip.frames.iter().map(|frame| frame.duration).sum();
            let seconds = total.as_secs_f64();
            assert!((1.9..2.1).contains(&seconds), "{codec:?}: {seconds}");
            let again = clip.frame(clip.frames.len()).unwrap();
            assert_eq!(again.data, clip.frame(0).unwrap().data);
        }
    }
}
