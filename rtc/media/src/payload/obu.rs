//! Open bitstream units of AV1 (AV1 bitstream specification section 5.3).

use rtc_shared::{Reader, Truncated};
use smallvec::SmallVec;

use super::Resolution;
use crate::bits::BitReader;

/// The header of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObuHeader {
    /// The first byte, its bit of a size cleared.
    first: u8,
    extension: Option<u8>,
    /// Size of the content, if it is told.
    pub(crate) size: Option<usize>,
}

impl ObuHeader {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, ObuError> {
        let first = reader.u8()?;
        if first & FORBIDDEN != 0 {
            return Err(ObuError::Forbidden);
        }
        Ok(Self {
            first: first & !HAS_SIZE,
            extension: match first & HAS_EXTENSION != 0 {
                true => Some(reader.u8()?),
                false => None,
            },
            size: match first & HAS_SIZE != 0 {
                true => Some(read_leb128(reader)? as usize),
                false => None,
            },
        })
    }

    pub(crate) fn kind(&self) -> u8 {
        self.first >> 3
    }

    pub(crate) fn temporal_id(&self) -> Option<u8> {
        self.extension.map(|extension| extension >> 5)
    }

    pub(crate) fn spatial_id(&self) -> Option<u8> {
        self.extension.map(|extension| extension >> 3 & 0b11)
    }

    /// Not sent: it has nothing for the decoder that the packets do not tell (AV1 RTP specification
    /// section 5).
    pub(crate) fn is_dropped(&self) -> bool {
        matches!(self.kind(), TEMPORAL_DELIMITER | TILE_LIST | PADDING)
    }

    /// The bytes of a header that tells no size.
    pub(crate) fn without_size(&self) -> SmallVec<[u8; 2]> {
        std::iter::once(self.first).chain(self.extension).collect()
    }

    /// The bytes of a header that tells this size.
    pub(crate) fn with_size(&self, size: usize) -> SmallVec<[u8; 16]> {
        let mut bytes = SmallVec::from_iter([self.first | HAS_SIZE]);
        bytes.extend(self.extension);
        bytes.extend(leb128(size));
        bytes
    }
}

/// A unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Obu<'a> {
    pub(crate) header: ObuHeader,
    pub(crate) content: &'a [u8],
}

impl<'a> Obu<'a> {
    /// Reads the next unit; one without size takes all that is left.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, ObuError> {
        let header = ObuHeader::read(reader)?;
        let content = match header.size {
            Some(size) => reader.take(size)?,
            None => reader.take_rest(),
        };
        Ok(Self { header, content })
    }

    /// Reads as much of a unit as is there.
    pub(crate) fn read_begin(part: &'a [u8]) -> Result<Self, ObuError> {
        let mut reader = Reader::new(part);
        let header = ObuHeader::read(&mut reader)?;
        let content = reader.rest();
        Ok(Self { header, content })
    }
}

/// Why bytes are no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObuError {
    Truncated,
    Forbidden,
    Leb128,
}

impl From<Truncated> for ObuError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

/// At most eight bytes and less than 2^32 (AV1 bitstream specification section 4.10.5).
pub(crate) fn read_leb128(reader: &mut Reader<'_>) -> Result<u32, ObuError> {
    let mut value = 0_u64;
    for at in 0..8 {
        let byte = reader.u8()?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| ObuError::Leb128);
        }
    }
    Err(ObuError::Leb128)
}

pub(crate) fn leb128(mut value: usize) -> SmallVec<[u8; 10]> {
    let mut bytes = SmallVec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub(crate) fn leb128_len(value: usize) -> usize {
    let bits = usize::BITS - value.leading_zeros();
    bits.div_ceil(7).max(1) as usize
}

/// Finds whether a temporal unit begins a coded video sequence: it has a sequence header, and its
/// first frame is a key frame that is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyFrameFinder {
    sequence: Option<SequenceHeader>,
    key_frame: Option<bool>,
}

impl KeyFrameFinder {
    /// Looks at the next unit, of whose content the first bytes are enough.
    pub(crate) fn look(&mut self, kind: u8, content: &[u8]) {
        match kind {
            SEQUENCE_HEADER if self.sequence.is_none() => {
                self.sequence = SequenceHeader::parse(content);
            }
            FRAME_HEADER | FRAME if self.key_frame.is_none() => {
                let still = self.sequence.is_some_and(|sequence| sequence.reduced_still);
                // show_existing_frame 0, frame_type KEY_FRAME, show_frame 1
                let first = content.first();
                self.key_frame = Some(still || first.is_some_and(|byte| byte >> 4 == 0b0001));
            }
            _ => {}
        }
    }

    pub(crate) fn is_key_frame(&self) -> bool {
        self.sequence.is_some() && self.key_frame == Some(true)
    }
}

/// What is of interest in a sequence header (AV1 bitstream specification section 5.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SequenceHeader {
    pub(crate) reduced_still: bool,
    pub(crate) resolution: Resolution,
}

impl SequenceHeader {
    pub(crate) fn parse(content: &[u8]) -> Option<Self> {
        let mut bits = BitReader::new(content);
        bits.skip(3 + 1)?; // seq_profile, still_picture
        let reduced_still = bits.flag()?;
        match reduced_still {
            true => bits.skip(5)?,
            false => skip_operating_points(&mut bits)?,
        }
        let width_bits = bits.bits(4)? + 1;
        let height_bits = bits.bits(4)? + 1;
        Some(Self {
            reduced_still,
            resolution: Resolution {
                width: bits.bits(width_bits)? + 1,
                height: bits.bits(height_bits)? + 1,
            },
        })
    }
}

fn skip_operating_points(bits: &mut BitReader<'_>) -> Option<()> {
    let mut delay_bits = None;
    // timing_info_present_flag
    if bits.flag()? {
        bits.skip(64)?;
        if bits.flag()? {
            bits.ue()?;
        }
        // decoder_model_info_present_flag
        if bits.flag()? {
            delay_bits = Some(bits.bits(5)? as usize + 1);
            bits.skip(32 + 5 + 5)?;
        }
    }
    let initial_display_delay = bits.flag()?;
    for _ in 0..=bits.bits(5)? {
        bits.skip(12)?;
        if bits.bits(5)? > 7 {
            bits.skip(1)?;
        }
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.skip(2 * delay_bits + 1)?;
        }
        if initial_display_delay && bits.flag()? {
            bits.skip(4)?;
        }
    }
    Some(())
}

pub(crate) const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
pub(crate) const FRAME_HEADER: u8 = 3;
pub(crate) const TILE_GROUP: u8 = 4;
pub(crate) const FRAME: u8 = 6;
/// A temporal delimiter, which begins each temporal unit.
pub(crate) const DELIMITER_OBU: [u8; 2] = [TEMPORAL_DELIMITER << 3 | HAS_SIZE, 0];
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;
const HAS_SIZE: u8 = 0x02;
const HAS_EXTENSION: u8 = 0x04;
const FORBIDDEN: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sizes_are_read_as_they_were_written(value: u32) {
            let out = leb128(value as usize);
            prop_assert_eq!(out.len(), leb128_len(value as usize));
            prop_assert_eq!(read_leb128(&mut Reader::new(&out)), Ok(value));
        }

        #[test]
        fn arbitrary_units_are_read_or_refused(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            let mut finder = KeyFrameFinder::default();
            while let Ok(obu) = Obu::read(&mut reader) {
                finder.look(obu.header.kind(), obu.content);
            }
        }
    }

    #[test]
    fn sizes_may_be_padded_but_not_beyond_eight_bytes() {
        let read = |bytes: &[u8]| read_leb128(&mut Reader::new(bytes));
        assert_eq!(read(&[0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]), Ok(1));
        assert_eq!(read(&[0xff; 9]), Err(ObuError::Leb128));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(ObuError::Leb128));
        assert_eq!(read(&[0x80]), Err(ObuError::Truncated));
    }
}
