//! What is played, and when.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rtc::media::{
    AnnexBReader, Codec, FileError, IvfReader, NalFormat, OggOpusReader, OpusInfo, Payload,
};
use rtc::shared::Rng;
use thiserror::Error;

/// The frames of the files, in the order of their times; held in memory once for all who watch.
#[derive(Debug)]
pub(crate) struct Timeline {
    video: Option<Codec>,
    audio: Option<Codec>,
    frames: Vec<Frame>,
    length: Duration,
}

#[derive(Debug)]
pub(crate) struct Frame {
    /// When, from the begin.
    pub(crate) at: Duration,
    pub(crate) is_video: bool,
    /// A decoder of video can begin here.
    pub(crate) is_key_frame: bool,
    /// Nothing where one file has ended before the other.
    pub(crate) data: Bytes,
    pub(crate) duration: Duration,
}

/// A file that cannot be played.
#[derive(Debug, Error)]
#[error("{}: {error}", path.display())]
pub(crate) struct ReadError {
    path: PathBuf,
    error: FileError,
}

impl Timeline {
    /// Reads files of either or both; `picture` is how long a picture of H.264 lasts.
    pub(crate) fn read(
        video: Option<&Path>,
        picture: Duration,
        audio: Option<&Path>,
    ) -> Result<Self, ReadError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| ReadError { path, error }
        };
        let video = video
            .map(|path| read_video(path, picture).map_err(failed(path)))
            .transpose()?;
        let audio = audio
            .map(|path| read_audio(path).map_err(failed(path)))
            .transpose()?;
        let (video, pictures) = video.unzip();
        let (audio, packets) = audio.unzip();
        let mut streams = [pictures, packets].map(Option::unwrap_or_default);
        let length = streams.iter().map(|it| end(it)).max().unwrap_or_default();
        for stream in &mut streams {
            let at = end(stream);
            if let Some(last) = stream.last()
                && at < length
            {
                stream.push(Frame {
                    at,
                    is_video: last.is_video,
                    is_key_frame: false,
                    data: Bytes::new(),
                    duration: length.saturating_sub(at),
                });
            }
        }
        let mut frames: Vec<Frame> = streams.into_iter().flatten().collect();
        frames.sort_by_key(|frame| frame.at);
        Ok(Self {
            video,
            audio: audio.map(|()| Codec::Opus),
            frames,
            length,
        })
    }

    pub(crate) fn video(&self) -> Option<Codec> {
        self.video
    }

    pub(crate) fn audio(&self) -> Option<Codec> {
        self.audio
    }

    pub(crate) fn codecs(&self) -> Vec<Codec> {
        self.video.into_iter().chain(self.audio).collect()
    }

    /// When it begins anew.
    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    pub(crate) fn frame(&self, at: usize) -> Option<&Frame> {
        self.frames.get(at)
    }

    /// The last key frame that was played when this frame is the next; the first frame of all if there
    /// was none.
    pub(crate) fn key_frame_before(&self, next: usize) -> usize {
        let played = self.frames.get(..next).unwrap_or_default();
        let key_frame = played.iter().rposition(|frame| frame.is_key_frame);
        key_frame.unwrap_or_default()
    }
}

fn end(stream: &[Frame]) -> Duration {
    let last = stream.last();
    last.map(|frame| frame.at + frame.duration)
        .unwrap_or_default()
}

fn read_video(path: &Path, picture: Duration) -> Result<(Codec, Vec<Frame>), FileError> {
    let file = BufReader::new(File::open(path)?);
    let is_ivf = path.extension().is_some_and(|it| it == "ivf");
    let (codec, frames) = if is_ivf {
        let mut reader = IvfReader::new(file, MAX_FRAME)?;
        let codec = reader.header().codec().ok_or(FileError::Format)?;
        let mut frames = Vec::new();
        while let Some(frame) = reader.next_frame()? {
            frames.push((reader.header().duration(frame.timestamp), frame.data));
        }
        (codec, frames)
    } else {
        let mut reader = AnnexBReader::new(file, NalFormat::H264, MAX_FRAME);
        let mut frames = Vec::new();
        let mut at = Duration::ZERO;
        while let Some(unit) = reader.next_access_unit()? {
            frames.push((at, unit.data));
            at += picture;
        }
        (Codec::H264, frames)
    };
    Ok((codec, pictures(codec, frames)?))
}

/// A picture lasts until the next one; the last one as long as the one before it.
fn pictures(codec: Codec, frames: Vec<(Duration, Bytes)>) -> Result<Vec<Frame>, FileError> {
    let times: Vec<Duration> = frames.iter().map(|(at, _)| *at).collect();
    let first = times.first().copied().unwrap_or_default();
    let mut durations: Vec<Duration> = times
        .iter()
        .zip(times.iter().skip(1))
        .map(|(at, next)| next.saturating_sub(*at))
        .collect();
    durations.push(durations.last().copied().unwrap_or(Duration::from_secs(1)));
    let frame = |((at, data), duration): ((Duration, Bytes), Duration)| {
        Ok(Frame {
            at: at.saturating_sub(first),
            is_video: true,
            is_key_frame: is_key_frame(codec, &data)?,
            data,
            duration,
        })
    };
    frames.into_iter().zip(durations).map(frame).collect()
}

/// What its first packet would say.
fn is_key_frame(codec: Codec, frame: &Bytes) -> Result<bool, FileError> {
    let mut payloads: Vec<Payload> = Vec::new();
    let packetizer = codec.packetizer("packetization-mode=1", &mut Rng::from_seed([0; 32]));
    packetizer
        .ok()
        .and_then(|mut it| it.packetize(frame, 1200, &mut payloads).ok())
        .ok_or(FileError::Malformed("frame"))?;
    let first = payloads.first();
    Ok(first.is_some_and(|payload| codec.is_key_frame(&payload.data)))
}

fn read_audio(path: &Path) -> Result<((), Vec<Frame>), FileError> {
    let file = BufReader::new(File::open(path)?);
    let mut reader = OggOpusReader::new(file, MAX_FRAME)?;
    let mut frames = Vec::new();
    let mut at = Duration::ZERO;
    while let Some(packet) = reader.next_packet()? {
        let info = OpusInfo::parse(&packet.data).map_err(|_| FileError::Malformed("packet"))?;
        let duration = info.duration();
        frames.push(Frame {
            at,
            is_video: false,
            is_key_frame: false,
            data: packet.data,
            duration,
        });
        at += duration;
    }
    Ok(((), frames))
}

const MAX_FRAME: usize = 8 << 20;
