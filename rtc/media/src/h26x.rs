//! NAL units of H.264 and H.265: their types, and where they lie in a byte stream of Annex B.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use crate::bits::BitReader;
use crate::{FileError, Resolution};

/// Which of the two codecs a stream of NAL units is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NalFormat {
    /// H.264, with a header of one byte.
    H264,
    /// H.265, with a header of two bytes.
    H265,
}

impl NalFormat {
    /// The type of a NAL unit; `None` when its header is not whole or has the forbidden bit.
    #[must_use]
    pub fn nal_type(self, nal: &[u8]) -> Option<u8> {
        match (self, nal) {
            (Self::H264, [first, ..]) if first & 0x80 == 0 => Some(first & 0x1f),
            (Self::H265, [first, _, ..]) if first & 0x80 == 0 => Some(first >> 1),
            _ => None,
        }
    }

    /// A decoder can begin with a picture of slices of this type: IDR pictures of H.264, intra random
    /// access points of H.265.
    #[must_use]
    pub fn is_key(self, nal_type: u8) -> bool {
        match self {
            Self::H264 => nal_type == 5,
            Self::H265 => (16..=23).contains(&nal_type),
        }
    }

    /// The type is a slice of a picture.
    #[must_use]
    pub fn is_slice(self, nal_type: u8) -> bool {
        match self {
            Self::H264 => (1..=5).contains(&nal_type),
            Self::H265 => nal_type < 32,
        }
    }

    /// The type is a parameter set of the sequence or of the picture.
    #[must_use]
    pub fn is_parameter_set(self, nal_type: u8) -> bool {
        self.parameter_set_kind(nal_type).is_some()
    }

    /// Size of the video as a sequence parameter set tells it (H.264 section 7.3.2.1.1, H.265 section
    /// 7.3.2.2); `None` for other NAL units.
    #[must_use]
    pub fn resolution(self, nal: &[u8]) -> Option<Resolution> {
        let sps = nal.get(..nal.len().min(SPS_LEN))?;
        match (self, self.nal_type(nal)?) {
            (Self::H264, 7) => h264_resolution(&without_emulation_prevention(sps.get(1..)?)),
            (Self::H265, 33) => h265_resolution(&without_emulation_prevention(sps.get(2..)?)),
            _ => None,
        }
    }

    pub(crate) fn header_len(self) -> usize {
        match self {
            Self::H264 => 1,
            Self::H265 => 2,
        }
    }

    /// Video, sequence and picture parameter sets in the order in which they refer to each other.
    pub(crate) fn parameter_set_kind(self, nal_type: u8) -> Option<usize> {
        match (self, nal_type) {
            (Self::H264, 7) | (Self::H265, 33) => Some(1),
            (Self::H264, 8) | (Self::H265, 34) => Some(2),
            (Self::H265, 32) => Some(0),
            _ => None,
        }
    }

    pub(crate) fn is_access_unit_delimiter(self, nal_type: u8) -> bool {
        nal_type
            == match self {
                Self::H264 => 9,
                Self::H265 => 35,
            }
    }

    /// The NAL unit is the first slice of a picture. An H.264 slice that begins with macroblock 0 is
    /// taken for it: its order of slices is never arbitrary in practice.
    pub(crate) fn starts_picture(self, nal: &[u8]) -> bool {
        self.nal_type(nal).is_some_and(|kind| self.is_slice(kind))
            && nal
                .get(self.header_len())
                .is_some_and(|first| first & 0x80 != 0)
    }

    /// The NAL unit comes before the slices of a picture, and so begins a new access unit when it
    /// follows a slice (H.264 section 7.4.1.2.3, H.265 section 7.4.2.4.4).
    pub(crate) fn precedes_picture(self, nal_type: u8) -> bool {
        match self {
            Self::H264 => matches!(nal_type, 6..=9 | 14..=18),
            Self::H265 => matches!(nal_type, 32..=35 | 39 | 41..=44 | 48..=55),
        }
    }

    /// A supplemental message tells that decoding can begin here (H.264 section D.2.8), as some
    /// encoders do in place of IDR pictures.
    pub(crate) fn is_recovery_point(self, nal: &[u8]) -> bool {
        self == Self::H264 && matches!(nal, [6, 6, ..])
    }
}

/// Iterates over the NAL units of a byte stream of Annex B, without start codes and without zeros at
/// their end. What lies before the first start code is left out.
///
/// ```
/// let stream = [0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0];
/// let nals: Vec<_> = rtc_media::nal_units(&stream).collect();
/// assert_eq!(nals, [&[0x67, 1][..], &[0x68, 2]]);
/// ```
pub fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = find_start_code(stream, 0).and_then(|at| stream.get(at + 3..));
    std::iter::from_fn(move || {
        let current = rest?;
        let end = find_start_code(current, 0);
        rest = end.and_then(|end| current.get(end + 3..));
        current.get(..end.unwrap_or(current.len()))
    })
    .map(without_trailing_zeros)
    .filter(|nal| !nal.is_empty())
}

/// Rewrites NAL units that have their length before them, as containers and hardware encoders give
/// them, with start codes (ISO/IEC 14496-15 section 5.2.3). A length has `length_size` bytes, 1 to 4.
///
/// # Errors
/// [`FileError::Truncated`] when a length goes beyond the end.
pub fn length_prefixed_to_annex_b(units: &[u8], length_size: usize) -> Result<Bytes, FileError> {
    let mut out = BytesMut::with_capacity(units.len() + 16);
    let mut rest = units;
    while !rest.is_empty() {
        let size = length_size.clamp(1, 4);
        let (length, tail) = rest.split_at_checked(size).ok_or(FileError::Truncated)?;
        let length = length
            .iter()
            .fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
        let (nal, tail) = tail.split_at_checked(length).ok_or(FileError::Truncated)?;
        rest = tail;
        out.put(START_CODE);
        out.put(nal);
    }
    Ok(out.freeze())
}

/// Where the next three-byte start code begins, at `from` or later.
pub(crate) fn find_start_code(stream: &[u8], from: usize) -> Option<usize> {
    let mut at = from.checked_add(2)?;
    loop {
        at += stream.get(at..)?.iter().position(|&byte| byte == 1)?;
        if stream.get(at - 2..at) == Some(&[0, 0]) {
            return Some(at - 2);
        }
        at += 1;
    }
}

pub(crate) fn without_trailing_zeros(nal: &[u8]) -> &[u8] {
    let end = nal
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |at| at + 1);
    nal.get(..end).unwrap_or_default()
}

/// The parameter sets that came last.
#[derive(Clone, Debug)]
pub(crate) struct ParameterSets {
    format: NalFormat,
    /// Video, sequence and picture parameter sets.
    sets: [Vec<Bytes>; 3],
}

impl ParameterSets {
    pub(crate) fn new(format: NalFormat) -> Self {
        Self {
            format,
            sets: Default::default(),
        }
    }

    /// Takes over the sets of an access unit: those of a kind replace all of the kind before.
    pub(crate) fn update<'a>(&mut self, nals: impl Iterator<Item = &'a Bytes> + Clone) {
        for (kind, sets) in self.sets.iter_mut().enumerate() {
            let mut found = nals
                .clone()
                .filter(|nal| self.format.kind_of(nal) == Some(kind))
                .take(MAX_SETS)
                .peekable();
            if found.peek().is_some() {
                sets.clear();
                // A copy, so that the whole frame is not kept for the sake of its first bytes.
                sets.extend(found.map(|nal| Bytes::copy_from_slice(nal)));
            }
        }
    }

    /// The sets of the kinds that are not among these NAL units.
    pub(crate) fn missing<'a>(
        &self,
        nals: impl Iterator<Item = &'a Bytes> + Clone,
    ) -> impl Iterator<Item = &Bytes> {
        let present = |kind| {
            nals.clone()
                .any(|nal| self.format.kind_of(nal) == Some(kind))
        };
        let present = [present(0), present(1), present(2)];
        let sets = self.sets.iter().zip(present);
        sets.filter(|(_, present)| !present)
            .flat_map(|(sets, _)| sets)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Bytes> {
        self.sets.iter().flatten()
    }
}

impl NalFormat {
    fn kind_of(self, nal: &[u8]) -> Option<usize> {
        self.parameter_set_kind(self.nal_type(nal)?)
    }
}

/// Removes the bytes that keep start codes from appearing (H.264 section 7.4.1).
fn without_emulation_prevention(payload: &[u8]) -> Cow<'_, [u8]> {
    if !payload.windows(3).any(|bytes| bytes == [0, 0, 3]) {
        return Cow::Borrowed(payload);
    }
    let mut zeros = 0;
    let kept = payload.iter().copied().filter(|&byte| {
        let inserted = zeros >= 2 && byte == 3;
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        !inserted
    });
    Cow::Owned(kept.collect())
}

fn h264_resolution(sps: &[u8]) -> Option<Resolution> {
    let mut bits = BitReader::new(sps);
    let profile = bits.bits(8)?;
    bits.skip(16)?; // constraints, level
    bits.ue()?; // seq_parameter_set_id
    let mut chroma_format = 1;
    let mut separate_planes = false;
    if H264_PROFILES_WITH_CHROMA.contains(&profile) {
        chroma_format = bits.ue()?;
        if chroma_format == 3 {
            separate_planes = bits.flag()?;
        }
        bits.ue()?; // bit_depth_luma_minus8
        bits.ue()?; // bit_depth_chroma_minus8
        bits.skip(1)?;
        if bits.flag()? {
            for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.ue()?; // log2_max_frame_num_minus4
    match bits.ue()? {
        0 => drop(bits.ue()?),
        1 => {
            bits.skip(1)?;
            bits.se()?;
            bits.se()?;
            for _ in 0..bits.ue()?.min(255) {
                bits.se()?;
            }
        }
        _ => {}
    }
    bits.ue()?; // max_num_ref_frames
    bits.skip(1)?;
    let width = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let height_units = bits.ue()?.checked_add(1)?;
    let frame_mbs_only = bits.flag()?;
    if !frame_mbs_only {
        bits.skip(1)?;
    }
    bits.skip(1)?; // direct_8x8_inference_flag
    let field_factor = if frame_mbs_only { 1 } else { 2 };
    let height = height_units.checked_mul(16 * field_factor)?;
    let (unit_x, unit_y) = chroma_units(chroma_format, separate_planes);
    cropped(&mut bits, width, height, (unit_x, unit_y * field_factor))
}

fn skip_scaling_list(bits: &mut BitReader<'_>, size: usize) -> Option<()> {
    let mut last = 8;
    for _ in 0..size {
        let next = (last + bits.se()?.rem_euclid(256)).rem_euclid(256);
        if next == 0 {
            break;
        }
        last = next;
    }
    Some(())
}

fn h265_resolution(sps: &[u8]) -> Option<Resolution> {
    let mut bits = BitReader::new(sps);
    bits.skip(4)?; // sps_video_parameter_set_id
    let sub_layers = bits.bits(3)?;
    bits.skip(1 + 96)?; // nesting, general profile, tier and level
    let present: Vec<_> = (0..sub_layers)
        .map(|_| Some((bits.flag()?, bits.flag()?)))
        .collect::<Option<_>>()?;
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers as usize))?;
    }
    for (profile, level) in present {
        bits.skip(88 * usize::from(profile) + 8 * usize::from(level))?;
    }
    bits.ue()?; // sps_seq_parameter_set_id
    let chroma_format = bits.ue()?;
    let separate_planes = chroma_format == 3 && bits.flag()?;
    let width = bits.ue()?;
    let height = bits.ue()?;
    let units = chroma_units(chroma_format, separate_planes);
    cropped(&mut bits, width, height, units)
}

/// Luma samples of a unit of cropping, horizontally and vertically.
fn chroma_units(chroma_format: u32, separate_planes: bool) -> (u32, u32) {
    match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ if separate_planes => (1, 1),
        _ => (1, 1),
    }
}

/// Takes the cropping off that follows, if it does.
fn cropped(
    bits: &mut BitReader<'_>,
    width: u32,
    height: u32,
    (unit_x, unit_y): (u32, u32),
) -> Option<Resolution> {
    let mut resolution = Resolution { width, height };
    if bits.flag()? {
        let horizontal = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(unit_x)?;
        let vertical = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(unit_y)?;
        resolution.width = width.checked_sub(horizontal)?;
        resolution.height = height.checked_sub(vertical)?;
    }
    (resolution.width > 0 && resolution.height > 0).then_some(resolution)
}

/// What begins each NAL unit here.
pub(crate) const START_CODE: &[u8] = &[0, 0, 0, 1];
/// Profiles whose sequence parameter set tells the format of chroma (H.264 section 7.3.2.1.1).
const H264_PROFILES_WITH_CHROMA: &[u32] =
    &[100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// The size of the video lies within so many bytes, scaling lists included.
const SPS_LEN: usize = 1024;
/// So many parameter sets of a kind are remembered; streams have one or two.
const MAX_SETS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_found_between_start_codes_of_either_length() {
        let units = |stream: &'static [u8]| nal_units(stream).collect::<Vec<_>>();
        assert_eq!(units(&[0, 0, 1, 5, 0, 0, 0, 1, 6, 7]), [&[5][..], &[6, 7]]);
        assert_eq!(
            units(&[9, 9, 0, 0, 1, 5, 0, 0, 0, 0, 1, 0, 0, 1, 6, 0]),
            [[5], [6]]
        );
        assert_eq!(units(&[0, 0, 1]), [[]; 0]);
        assert_eq!(units(&[1, 2, 3]), [[]; 0]);
        assert_eq!(units(&[]), [[]; 0]);
    }

    #[test]
    fn lengths_become_start_codes() {
        let units = [0, 0, 0, 2, 5, 6, 0, 0, 0, 1, 7];
        let stream = length_prefixed_to_annex_b(&units, 4).unwrap();
        assert_eq!(stream, [0, 0, 0, 1, 5, 6, 0, 0, 0, 1, 7][..]);
        let short = length_prefixed_to_annex_b(&units[..5], 4);
        assert_eq!(short, Err(FileError::Truncated));
        assert_eq!(
            length_prefixed_to_annex_b(&[2, 5, 6], 1).unwrap(),
            [0, 0, 0, 1, 5, 6][..]
        );
    }

    #[test]
    fn inserted_bytes_are_taken_out() {
        let cleaned = |bytes: &'static [u8]| without_emulation_prevention(bytes).into_owned();
        assert_eq!(
            cleaned(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3]),
            [0, 0, 1, 0, 0, 0, 0]
        );
        assert_eq!(cleaned(&[0, 3, 0, 0, 4]), [0, 3, 0, 0, 4]);
    }

    #[test]
    fn sequence_parameter_sets_tell_the_size() {
        // High profile, as x264 writes it.
        let high = hex::decode("6764001facd9405005bb011000000300100000030320f1831960").unwrap();
        let size = NalFormat::H264.resolution(&high).unwrap();
        assert_eq!((size.width, size.height), (1280, 720));
        assert_eq!(NalFormat::H264.resolution(&[0x68, 1, 2, 3]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_parameter_sets_are_read_or_refused(mut bytes: Vec<u8>) {
            bytes.insert(0, 0x67);
            let _ = NalFormat::H264.resolution(&bytes);
            bytes.splice(0..1, [0x42, 1]);
            let _ = NalFormat::H265.resolution(&bytes);
        }
    }
}
