use std::io::{ErrorKind, Read, Write};

use bytes::{Bytes, BytesMut};

use crate::h26x::{START_CODE, find_start_code, nal_units, without_trailing_zeros};
use crate::{FileError, NalFormat};

/// Reads byte streams of H.264 and H.265 (Annex B of either).
#[derive(Debug)]
pub struct AnnexBReader<R> {
    input: R,
    format: NalFormat,
    max_access_unit: usize,
    /// What has been read and not given, from behind a start code on once there was one.
    buffer: BytesMut,
    /// No start code begins before this place.
    scanned: usize,
    begun: bool,
    input_ended: bool,
    /// The first NAL unit of the next access unit.
    pending: Option<Bytes>,
}

/// A picture with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// The NAL units, each behind a start code of four bytes.
    pub data: Bytes,
    /// A decoder can begin with it.
    pub key_frame: bool,
}

impl<R: Read> AnnexBReader<R> {
    /// Reads NAL units and access units of at most `max_access_unit` bytes.
    #[must_use]
    pub fn new(input: R, format: NalFormat, max_access_unit: usize) -> Self {
        Self {
            input,
            format,
            max_access_unit,
            buffer: BytesMut::new(),
            scanned: 0,
            begun: false,
            input_ended: false,
            pending: None,
        }
    }

    /// Reads the next NAL unit, without start code and without zeros behind it; `None` at the end.
    ///
    /// # Errors
    /// [`FileError::Format`] when the stream does not begin with a start code; [`FileError::TooLarge`]
    /// and [`FileError::Io`].
    pub fn next_nal(&mut self) -> Result<Option<Bytes>, FileError> {
        match self.pending.take() {
            Some(nal) => Ok(Some(nal)),
            None => self.read_nal(),
        }
    }

    /// Reads the next access unit; `None` at the end.
    ///
    /// # Errors
    /// As [`next_nal`](Self::next_nal), and [`FileError::Malformed`] for a broken header of a NAL
    /// unit.
    pub fn next_access_unit(&mut self) -> Result<Option<AccessUnit>, FileError> {
        let mut data = BytesMut::new();
        let (mut key_frame, mut has_picture) = (false, false);
        while let Some(nal) = self.next_nal()? {
            let kind = self.format.nal_type(&nal);
            let kind = kind.ok_or(FileError::Malformed("header of a NAL unit"))?;
            let begins_next =
                self.format.precedes_picture(kind) || self.format.starts_picture(&nal);
            if has_picture && begins_next {
                self.pending = Some(nal);
                break;
            }
            has_picture |= self.format.is_slice(kind);
            key_frame |= self.format.is_key(kind);
            if data.len() + START_CODE.len() + nal.len() > self.max_access_unit {
                return Err(FileError::TooLarge);
            }
            data.extend_from_slice(START_CODE);
            data.extend_from_slice(&nal);
        }
        Ok((!data.is_empty()).then(|| AccessUnit {
            data: data.freeze(),
            key_frame,
        }))
    }

    fn read_nal(&mut self) -> Result<Option<Bytes>, FileError> {
        loop {
            match find_start_code(&self.buffer, self.scanned) {
                Some(at) => {
                    let nal = self.buffer.split_to(at).freeze();
                    let _ = self.buffer.split_to(START_CODE_LEN);
                    self.scanned = 0;
                    if let Some(nal) = self.trimmed(nal)? {
                        return Ok(Some(nal));
                    }
                }
                None if self.input_ended => {
                    let nal = self.buffer.split().freeze();
                    self.scanned = 0;
                    return self.trimmed(nal);
                }
                None => {
                    // A start code may lie across the end of what is there.
                    self.scanned = self.buffer.len().saturating_sub(START_CODE_LEN - 1);
                    if self.buffer.len() > self.max_access_unit {
                        return Err(FileError::TooLarge);
                    }
                    self.fill()?;
                }
            }
        }
    }

    /// What lies between start codes, if it is a NAL unit.
    fn trimmed(&mut self, nal: Bytes) -> Result<Option<Bytes>, FileError> {
        let trimmed = without_trailing_zeros(&nal);
        if !std::mem::replace(&mut self.begun, true) {
            return match trimmed.is_empty() {
                true => Ok(None),
                false => Err(FileError::Format),
            };
        }
        Ok((!trimmed.is_empty()).then(|| nal.slice_ref(trimmed)))
    }

    fn fill(&mut self) -> Result<(), FileError> {
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK, 0);
        let target = self.buffer.get_mut(filled..).unwrap_or_default();
        let result = self.input.read(target);
        let count = *result.as_ref().unwrap_or(&0);
        self.buffer.truncate(filled + count);
        match result {
            Ok(count) => self.input_ended = count == 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Writes byte streams of H.264 and H.265.
#[derive(Debug)]
pub struct AnnexBWriter<W>(W);

impl<W: Write> AnnexBWriter<W> {
    /// One that writes to this output.
    #[must_use]
    pub fn new(output: W) -> Self {
        Self(output)
    }

    /// Writes an access unit that is in Annex B form already, as depacketizers give it.
    ///
    /// # Errors
    /// [`FileError::Format`] when it does not begin with a start code; [`FileError::Io`].
    pub fn write_access_unit(&mut self, access_unit: &[u8]) -> Result<(), FileError> {
        if !access_unit.starts_with(START_CODE) && !access_unit.starts_with(&[0, 0, 1]) {
            return Err(FileError::Format);
        }
        Ok(self.0.write_all(access_unit)?)
    }

    /// Writes a NAL unit behind a start code.
    ///
    /// # Errors
    /// [`FileError::Malformed`] when it is empty or contains a start code; [`FileError::Io`].
    pub fn write_nal(&mut self, nal: &[u8]) -> Result<(), FileError> {
        if nal.is_empty() || nal_units(nal).next().is_some() {
            return Err(FileError::Malformed("NAL unit"));
        }
        self.0.write_all(START_CODE)?;
        Ok(self.0.write_all(nal)?)
    }

    /// Gives what it writes to back.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.0
    }
}

const START_CODE_LEN: usize = 3;
const CHUNK: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Gives its bytes in small pieces.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(self.0.len()).min(target.len());
            let (head, rest) = self.0.split_at(count);
            target[..count].copy_from_slice(head);
            self.0 = rest;
            Ok(count)
        }
    }

    proptest! {
        #[test]
        fn pieces_give_the_same_units_as_the_whole(
            stream in vec(prop_oneof![4 => 0..2_u8, 1 => any::<u8>()], 0..300), piece in 1..9_usize,
        ) {
            let stream = [vec![0, 0, 1], stream].concat();
            let mut reader = AnnexBReader::new(Pieces(&stream, piece), NalFormat::H264, 1000);
            let mut units = Vec::new();
            while let Some(nal) = reader.next_nal().unwrap() {
                units.push(nal.to_vec());
            }
            let expected: Vec<_> = nal_units(&stream).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(units, expected);
        }
    }

    #[test]
    fn access_units_begin_with_what_precedes_a_picture() {
        let nals: &[&[u8]] = &[
            &[0x09, 0xf0],
            &[0x67, 1],
            &[0x68, 1],
            &[0x65, 0x88],
            &[0x65, 0x08],
            &[0x41, 0x9a],
            &[0x06, 5],
            &[0x41, 0x9a],
            &[0x41, 0x1a],
            &[0x0c, 0xff],
            &[0x0b, 0x80],
        ];
        let mut writer = AnnexBWriter::new(Vec::new());
        for nal in nals {
            writer.write_nal(nal).unwrap();
        }
        assert!(writer.write_nal(&[1, 0, 0, 1, 2]).is_err());
        assert_eq!(writer.write_access_unit(&[1, 2, 3]), Err(FileError::Format));
        let stream = writer.into_inner();
        let mut reader = AnnexBReader::new(&stream[..], NalFormat::H264, 100);
        let mut counts = Vec::new();
        while let Some(unit) = reader.next_access_unit().unwrap() {
            counts.push((nal_units(&unit.data).count(), unit.key_frame));
        }
        assert_eq!(counts, [(5, true), (1, false), (5, false)]);
    }

    #[test]
    fn streams_are_bounded_and_begin_with_a_start_code() {
        let mut reader = AnnexBReader::new(&[7, 0, 0, 1, 9][..], NalFormat::H264, 100);
        assert_eq!(reader.next_nal(), Err(FileError::Format));
        let stream = [&[0, 0, 1][..], &[7; 100_000]].concat();
        let mut reader = AnnexBReader::new(Pieces(&stream, 1000), NalFormat::H264, 5000);
        assert_eq!(reader.next_nal(), Err(FileError::TooLarge));
        let mut reader = AnnexBReader::new(&[0, 0, 0, 0][..], NalFormat::H265, 100);
        assert_eq!(reader.next_access_unit(), Ok(None));
    }
}
