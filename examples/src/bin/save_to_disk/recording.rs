//! A file that is being written.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rtc::media::{
    AnnexBWriter, Codec, FileError, IvfHeader, IvfWriter, OggOpusWriter, OpusHead, OpusInfo,
    OpusTags, Payload, Resolution, Sample,
};
use rtc::shared::Rng;
use serde::Serialize;

/// A stream of one codec on its way to disk.
#[derive(Debug)]
pub(crate) struct Recording {
    codec: Codec,
    path: PathBuf,
    output: Output,
    /// In units of the RTP clock since the recording began: of the next sound, or of the last picture.
    time: u64,
    /// RTP timestamp at that time.
    timestamp: u32,
    frames: u64,
    bytes: u64,
}

/// What is told of it.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) path: String,
    pub(crate) seconds: f64,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
enum Output {
    Ivf(IvfWriter<BufWriter<File>>),
    AnnexB(AnnexBWriter<BufWriter<File>>),
    Ogg(OggOpusWriter<BufWriter<File>>),
}

impl Recording {
    /// Makes a file whose name is not taken yet. The first frame came so long after the recording had
    /// begun; so sound and pictures of a recording keep in step.
    pub(crate) fn begin(
        folder: &Path,
        codec: Codec,
        first: &Sample,
        offset: Duration,
    ) -> Result<Self, FileError> {
        let extension = match codec {
            Codec::Opus => "ogg",
            Codec::H264 => "h264",
            _ => "ivf",
        };
        let (path, file) = create(folder, extension)?;
        let file = BufWriter::new(file);
        let output = match codec {
            Codec::Opus => {
                let head = OpusHead::new(2);
                Output::Ogg(OggOpusWriter::new(file, 1, &head, &OpusTags::default())?)
            }
            _ => match IvfHeader::new(codec, 0, 0) {
                Some(mut header) => {
                    let size = resolution(codec, first);
                    let pixels = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
                    header.width = size.map_or(0, |size| pixels(size.width));
                    header.height = size.map_or(0, |size| pixels(size.height));
                    Output::Ivf(IvfWriter::new(file, header)?)
                }
                None => Output::AnnexB(AnnexBWriter::new(file)),
            },
        };
        let time = offset.as_micros() * u128::from(codec.clock_rate()) / 1_000_000;
        let mut recording = Self {
            codec,
            path,
            output,
            time: u64::try_from(time).unwrap_or(u64::MAX),
            timestamp: first.timestamp,
            frames: 0,
            bytes: 0,
        };
        if let Output::Ogg(ogg) = &mut recording.output {
            ogg.write_gap(recording.time)?;
        }
        Ok(recording)
    }

    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    pub(crate) fn write(&mut self, sample: &Sample) -> Result<(), FileError> {
        // Frames come in order; only what is younger than half the range of timestamps is one.
        let step = sample.timestamp.wrapping_sub(self.timestamp);
        let step = if step > u32::MAX / 2 { 0 } else { step };
        match &mut self.output {
            Output::Ivf(ivf) => ivf.write_frame(self.time + u64::from(step), &sample.data)?,
            Output::AnnexB(annex_b) => annex_b.write_access_unit(&sample.data)?,
            Output::Ogg(ogg) => {
                // What was lost, or was silence and not sent.
                ogg.write_gap(u64::from(step))?;
                ogg.write_packet(&sample.data)?;
            }
        }
        self.time += u64::from(step);
        self.timestamp = self.timestamp.wrapping_add(step);
        if let (Output::Ogg(_), Ok(info)) = (&self.output, OpusInfo::parse(&sample.data)) {
            self.time += u64::from(info.samples());
            self.timestamp = self.timestamp.wrapping_add(info.samples());
        }
        self.frames += 1;
        self.bytes += sample.data.len() as u64;
        Ok(())
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary {
            path: self.path.display().to_string(),
            seconds: self.time as f64 / f64::from(self.codec.clock_rate()),
            frames: self.frames,
            bytes: self.bytes,
        }
    }

    pub(crate) fn finish(self) -> Result<Summary, FileError> {
        let summary = self.summary();
        let mut file = match self.output {
            Output::Ivf(ivf) => ivf.finish()?,
            Output::AnnexB(annex_b) => annex_b.into_inner(),
            Output::Ogg(ogg) => ogg.finish()?,
        };
        file.flush()?;
        Ok(summary)
    }
}

fn create(folder: &Path, extension: &str) -> Result<(PathBuf, File), FileError> {
    let mut number = 1_u32;
    loop {
        let path = folder.join(format!("recording-{number}.{extension}"));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// What the first packet of the frame said.
fn resolution(codec: Codec, frame: &Sample) -> Option<Resolution> {
    let mut payloads: Vec<Payload> = Vec::new();
    let mut packetizer = codec.packetizer("", &mut Rng::from_seed([0; 32])).ok()?;
    packetizer
        .packetize(&frame.data, 1200, &mut payloads)
        .ok()?;
    codec.inspect(&payloads.first()?.data).ok()?.resolution
}
