use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use bytes::Bytes;

use super::{read_bytes, read_header};
use crate::{Codec, FileError};

/// The header of an IVF file, the container of VP8, VP9 and AV1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IvfHeader {
    /// The codec: `VP80`, `VP90` or `AV01`.
    pub fourcc: [u8; 4],
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// A unit of the timestamps is `timebase_numerator / timebase_denominator` seconds.
    pub timebase_denominator: u32,
    /// See the denominator.
    pub timebase_numerator: u32,
    /// How many frames there are. Not to be relied upon: who writes it at the begin does not know.
    pub frames: u32,
}

impl IvfHeader {
    /// For a codec with timestamps of 90 kHz, as RTP has them. `None` for codecs that IVF does not
    /// hold.
    #[must_use]
    pub fn new(codec: Codec, width: u16, height: u16) -> Option<Self> {
        Some(Self {
            fourcc: match codec {
                Codec::Vp8 => *b"VP80",
                Codec::Vp9 => *b"VP90",
                Codec::Av1 => *b"AV01",
                _ => return None,
            },
            width,
            height,
            timebase_denominator: 90_000,
            timebase_numerator: 1,
            frames: 0,
        })
    }

    /// The codec, if it is known.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        match &self.fourcc {
            b"VP80" => Some(Codec::Vp8),
            b"VP90" => Some(Codec::Vp9),
            b"AV01" => Some(Codec::Av1),
            _ => None,
        }
    }

    /// How long so many units of the timestamps are.
    #[must_use]
    pub fn duration(&self, units: u64) -> Duration {
        let numerator = u128::from(units) * u128::from(self.timebase_numerator) * 1_000_000_000;
        let nanos = numerator / u128::from(self.timebase_denominator.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, FileError> {
        let [
            b'D',
            b'K',
            b'I',
            b'F',
            v0,
            v1,
            l0,
            l1,
            fourcc @ ..,
            _,
            _,
            _,
            _,
        ] = bytes
        else {
            return Err(FileError::Format);
        };
        let [
            f0,
            f1,
            f2,
            f3,
            w0,
            w1,
            h0,
            h1,
            d0,
            d1,
            d2,
            d3,
            n0,
            n1,
            n2,
            n3,
            c0,
            c1,
            c2,
            c3,
        ] = *fourcc;
        if [*v0, *v1] != [0, 0] {
            return Err(FileError::Malformed("version of the IVF file"));
        }
        if [*l0, *l1] != (HEADER_LEN as u16).to_le_bytes() {
            return Err(FileError::Malformed("length of the IVF header"));
        }
        Ok(Self {
            fourcc: [f0, f1, f2, f3],
            width: u16::from_le_bytes([w0, w1]),
            height: u16::from_le_bytes([h0, h1]),
            timebase_denominator: u32::from_le_bytes([d0, d1, d2, d3]),
            timebase_numerator: u32::from_le_bytes([n0, n1, n2, n3]),
            frames: u32::from_le_bytes([c0, c1, c2, c3]),
        })
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend(b"DKIF\0\0");
        out.extend((HEADER_LEN as u16).to_le_bytes());
        out.extend(self.fourcc);
        out.extend(self.width.to_le_bytes());
        out.extend(self.height.to_le_bytes());
        out.extend(self.timebase_denominator.to_le_bytes());
        out.extend(self.timebase_numerator.to_le_bytes());
        out.extend(self.frames.to_le_bytes());
        out.extend([0; 4]);
        out
    }
}

/// A frame of an IVF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IvfFrame {
    /// When it is shown, in units of the header's timebase.
    pub timestamp: u64,
    /// The frame.
    pub data: Bytes,
}

/// Reads IVF files.
#[derive(Debug)]
pub struct IvfReader<R> {
    input: R,
    header: IvfHeader,
    max_frame: usize,
}

impl<R: Read> IvfReader<R> {
    /// Reads the header. Frames have at most `max_frame` bytes.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn new(mut input: R, max_frame: usize) -> Result<Self, FileError> {
        let header = read_header(&mut input)?.ok_or(FileError::Truncated)?;
        Ok(Self {
            header: IvfHeader::parse(&header)?,
            input,
            max_frame,
        })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &IvfHeader {
        &self.header
    }

    /// Reads the next frame; `None` at the end.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn next_frame(&mut self) -> Result<Option<IvfFrame>, FileError> {
        let Some([l0, l1, l2, l3, timestamp @ ..]) = read_header::<12>(&mut self.input)? else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > self.max_frame {
            return Err(FileError::TooLarge);
        }
        Ok(Some(IvfFrame {
            timestamp: u64::from_le_bytes(timestamp),
            data: read_bytes(&mut self.input, length)?,
        }))
    }
}

/// Writes IVF files.
#[derive(Debug)]
pub struct IvfWriter<W> {
    output: W,
    frames: u32,
}

impl<W: Write> IvfWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// [`FileError::Io`]
    pub fn new(mut output: W, header: IvfHeader) -> Result<Self, FileError> {
        output.write_all(&header.to_bytes())?;
        Ok(Self { output, frames: 0 })
    }

    /// Writes a frame with its timestamp in units of the header's timebase.
    ///
    /// # Errors
    /// [`FileError::Io`], [`FileError::TooLarge`] beyond 4 GiB.
    pub fn write_frame(&mut self, timestamp: u64, data: &[u8]) -> Result<(), FileError> {
        let length = u32::try_from(data.len()).map_err(|_| FileError::TooLarge)?;
        self.output.write_all(&length.to_le_bytes())?;
        self.output.write_all(&timestamp.to_le_bytes())?;
        self.output.write_all(data)?;
        self.frames = self.frames.saturating_add(1);
        Ok(())
    }

    /// Gives what it writes to back. The header keeps the count of frames that it had.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.output
    }
}

impl<W: Write + Seek> IvfWriter<W> {
    /// Writes the count of frames into the header and gives what it writes to back.
    ///
    /// # Errors
    /// [`FileError::Io`]
    pub fn finish(mut self) -> Result<W, FileError> {
        self.output.seek(SeekFrom::Start(FRAMES_AT))?;
        self.output.write_all(&self.frames.to_le_bytes())?;
        self.output.seek(SeekFrom::End(0))?;
        self.output.flush()?;
        Ok(self.output)
    }
}

const HEADER_LEN: usize = 32;
/// Where the header has the count of frames.
const FRAMES_AT: u64 = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn write(frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let header = IvfHeader::new(Codec::Vp9, 320, 240).unwrap();
        let mut writer = IvfWriter::new(Cursor::new(Vec::new()), header).unwrap();
        for (timestamp, data) in frames {
            writer.write_frame(*timestamp, data).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written(frames in vec((any::<u64>(), vec(any::<u8>(), 0..50)), 0..9)) {
            let file = write(&frames);
            let mut reader = IvfReader::new(&file[..], 50).unwrap();
            prop_assert_eq!(reader.header().frames as usize, frames.len());
            prop_assert_eq!(reader.header().codec(), Some(Codec::Vp9));
            for (timestamp, data) in frames {
                let expected = IvfFrame { timestamp, data: data.into() };
                prop_assert_eq!(reader.next_frame().unwrap(), Some(expected));
            }
            prop_assert_eq!(reader.next_frame(), Ok(None));
        }

        #[test]
        fn arbitrary_files_are_read_or_refused(mut bytes in vec(any::<u8>(), 0..200), valid: bool) {
            if valid {
                bytes.splice(0..0, write(&[]));
            }
            if let Ok(mut reader) = IvfReader::new(&bytes[..], 100) {
                while let Ok(Some(frame)) = reader.next_frame() {
                    prop_assert!(frame.data.len() <= 100);
                }
            }
        }
    }

    #[test]
    fn broken_files_are_refused() {
        let file = write(&[(0, vec![1; 40])]);
        let read = |file: &[u8], max| IvfReader::new(file, max)?.next_frame();
        assert_eq!(read(&file, 39), Err(FileError::TooLarge));
        assert_eq!(read(&file[..file.len() - 1], 40), Err(FileError::Truncated));
        assert_eq!(read(&file[..40], 40), Err(FileError::Truncated));
        assert_eq!(read(&file[..31], 40), Err(FileError::Truncated));
        assert_eq!(read(&file[1..], 40), Err(FileError::Format));
        let mut other = file;
        other[4] = 1;
        assert!(matches!(read(&other, 40), Err(FileError::Malformed(_))));
    }

    #[test]
    fn durations_follow_from_the_timebase() {
        let mut header = IvfHeader::new(Codec::Av1, 1, 1).unwrap();
        assert_eq!(header.duration(45_000), Duration::from_millis(500));
        header.timebase_denominator = 0;
        assert_eq!(header.duration(u64::MAX), Duration::from_nanos(u64::MAX));
        assert_eq!(IvfHeader::new(Codec::H264, 1, 1), None);
    }
}
