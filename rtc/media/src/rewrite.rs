use rtc_shared::Reader;
use smallvec::SmallVec;

use crate::payload::{vp8::Vp8Descriptor, vp9::Vp9Descriptor};
use crate::{DepacketizeError, PictureId};

/// Rewrites the picture identifiers and the counters of the lowest temporal layer in payloads of VP8
/// or VP9, so that they run on when what is forwarded changes from one source to another, as it does
/// between the streams of a simulcast.
///
/// ```
/// use rtc_media::{PictureRewriter, Vp8Descriptor};
///
/// # fn main() -> Result<(), rtc_media::DepacketizeError> {
/// let picture = |payload: &[u8]| {
///     Vp8Descriptor::parse(payload).map(|(descriptor, _)| descriptor.picture_id.unwrap().value)
/// };
/// let mut rewriter = PictureRewriter::vp8();
/// let mut low = [0x90, 0x80, 0x80, 7, 0xaa];
/// rewriter.rewrite(&mut low)?;
/// assert_eq!(picture(&low)?, 7);
///
/// rewriter.switch_source();
/// let mut high = [0x90, 0x80, 0xff, 0xf0, 0xbb];
/// rewriter.rewrite(&mut high)?;
/// assert_eq!(picture(&high)?, 8);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PictureRewriter {
    vp9: bool,
    /// The next picture is of another source.
    switching: bool,
    /// The highest identifier of the source, extended; `None` before the first.
    highest: Option<i64>,
    /// What is added to identifiers from one of the source on; the last entry is the current one.
    offsets: SmallVec<[(i64, i64); 4]>,
    /// The highest identifier given.
    last: Option<i64>,
    tl0_offset: u8,
    last_tl0: Option<u8>,
}

impl PictureRewriter {
    /// For VP8.
    #[must_use]
    pub fn vp8() -> Self {
        Self {
            vp9: false,
            switching: false,
            highest: None,
            offsets: SmallVec::new(),
            last: None,
            tl0_offset: 0,
            last_tl0: None,
        }
    }

    /// For VP9.
    #[must_use]
    pub fn vp9() -> Self {
        Self {
            vp9: true,
            ..Self::vp8()
        }
    }

    /// The payloads that follow are of another source, beginning with a key frame. Payloads of the old
    /// one must not come any more.
    pub fn switch_source(&mut self) {
        self.switching = true;
    }

    /// Rewrites a payload in place. One without picture identifier stays as it is, but for its counter
    /// of the lowest temporal layer.
    ///
    /// # Errors
    /// [`DepacketizeError`] when the payload is malformed; it stays as it is.
    pub fn rewrite(&mut self, payload: &mut [u8]) -> Result<(), DepacketizeError> {
        self.patch(payload)?.apply(payload);
        Ok(())
    }

    /// What [`rewrite`](Self::rewrite) would write into the payload.
    ///
    /// # Errors
    /// [`DepacketizeError`] when the payload is malformed.
    pub(crate) fn patch(&mut self, payload: &[u8]) -> Result<Patch, DepacketizeError> {
        let fields = self.fields(payload)?;
        let switched = std::mem::take(&mut self.switching);
        if switched {
            self.highest = None;
            self.offsets.clear();
        }
        let mut patch = Patch::default();
        if let Some((at, picture_id)) = fields.picture_id {
            let given = self.map(picture_id);
            match picture_id.long {
                true => {
                    let [high, low] = (0x8000 | given as u16 & 0x7fff).to_be_bytes();
                    patch.push(payload, at, high);
                    patch.push(payload, at + 1, low);
                }
                false => patch.push(payload, at, given as u8 & 0x7f),
            }
        }
        if let Some((at, &byte)) = fields
            .tl0_pic_idx
            .and_then(|at| Some((at, payload.get(at)?)))
        {
            if switched {
                let next = self.last_tl0.map_or(byte, |last| last.wrapping_add(1));
                self.tl0_offset = next.wrapping_sub(byte);
            }
            let given = byte.wrapping_add(self.tl0_offset);
            patch.push(payload, at, given);
            let advanced = |last: u8| given.wrapping_sub(last) as i8 > 0;
            if self.last_tl0.is_none_or(advanced) {
                self.last_tl0 = Some(given);
            }
        }
        Ok(patch)
    }

    /// Closes the gap that a picture leaves that is not forwarded, such as one of an upper temporal
    /// layer; any of its payloads will do, also several. Not for VP9, whose pictures tell by the
    /// identifiers how far back others lie.
    ///
    /// # Errors
    /// [`DepacketizeError`] when the payload is malformed.
    pub fn drop_picture(&mut self, payload: &[u8]) -> Result<(), DepacketizeError> {
        let Some((_, picture_id)) = self.fields(payload)?.picture_id else {
            return Ok(());
        };
        // A late one leaves its gap: what came after it has been given its number.
        let Some(highest) = self.highest.filter(|_| !self.vp9 && !self.switching) else {
            return Ok(());
        };
        let extended = extend(highest, picture_id);
        if extended > highest {
            self.highest = Some(extended);
            let offset = self.offset(extended);
            self.offsets.push((extended + 1, offset - 1));
            if self.offsets.len() > MAX_OFFSETS {
                self.offsets.remove(0);
            }
        }
        Ok(())
    }

    /// The identifier to give.
    fn map(&mut self, picture_id: PictureId) -> i64 {
        let Some(highest) = self.highest else {
            let extended = i64::from(picture_id.value);
            let given = self.last.map_or(extended, |last| last + 1);
            self.highest = Some(extended);
            self.offsets.push((extended, given - extended));
            self.last = Some(given);
            return given;
        };
        let extended = extend(highest, picture_id);
        self.highest = Some(highest.max(extended));
        let given = extended + self.offset(extended);
        self.last = self.last.max(Some(given));
        given
    }

    fn offset(&self, extended: i64) -> i64 {
        let mut from_newest = self.offsets.iter().rev();
        from_newest
            .find(|(from, _)| *from <= extended)
            .or_else(|| self.offsets.first())
            .map_or(0, |(_, offset)| *offset)
    }

    /// Where the numbers lie in a well-formed payload.
    fn fields(&self, payload: &[u8]) -> Result<Fields, DepacketizeError> {
        let (begin, picture_id, before_tl0, has_tl0) = match self.vp9 {
            false => {
                let (descriptor, _) = Vp8Descriptor::parse(payload)?;
                let has_tl0 = descriptor.tl0_pic_idx.is_some();
                (2, descriptor.picture_id, 0, has_tl0)
            }
            true => {
                let (descriptor, _) = Vp9Descriptor::parse(payload)?;
                let has_tl0 = descriptor.layer.is_some() && !descriptor.flexible;
                (1, descriptor.picture_id, 1, has_tl0)
            }
        };
        let mut reader = Reader::new(payload);
        reader.skip(begin)?;
        if picture_id.is_some() {
            PictureId::read(&mut reader)?;
        }
        Ok(Fields {
            picture_id: picture_id.map(|picture_id| (begin, picture_id)),
            tl0_pic_idx: has_tl0.then(|| reader.position() + before_tl0),
        })
    }
}

/// Bytes to be written into a payload, each with its position.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patch(SmallVec<[(usize, u8); 3]>);

impl Patch {
    fn push(&mut self, payload: &[u8], at: usize, byte: u8) {
        if payload.get(at) != Some(&byte) {
            self.0.push((at, byte));
        }
    }

    /// The payload is already what it is to be.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn apply(&self, payload: &mut [u8]) {
        for &(at, byte) in &self.0 {
            if let Some(target) = payload.get_mut(at) {
                *target = byte;
            }
        }
    }
}

/// Positions in a payload.
struct Fields {
    picture_id: Option<(usize, PictureId)>,
    tl0_pic_idx: Option<usize>,
}

/// The number nearest to a reference whose low bits are the identifier.
fn extend(reference: i64, picture_id: PictureId) -> i64 {
    let bits = if picture_id.long { 15 } else { 7 };
    let (modulus, half) = (1_i64 << bits, 1_i64 << (bits - 1));
    let distance = (i64::from(picture_id.value) - reference).rem_euclid(modulus);
    reference + distance - if distance >= half { modulus } else { 0 }
}

/// So many dropped pictures back, late packets are still numbered as they were.
const MAX_OFFSETS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// A payload of VP8 with picture identifier of 15 bits and TL0PICIDX.
    fn vp8(picture_id: u16, tl0: u8) -> Vec<u8> {
        let [high, low] = (0x8000 | picture_id).to_be_bytes();
        vec![0x90, 0xe0, high, low, tl0, 0, 0xaa]
    }

    fn rewritten(rewriter: &mut PictureRewriter, mut payload: Vec<u8>) -> (u16, u8) {
        let length = payload.len();
        rewriter.rewrite(&mut payload).unwrap();
        assert_eq!((payload.len(), payload[length - 1]), (length, 0xaa));
        let (descriptor, _) = Vp8Descriptor::parse(&payload).unwrap();
        (
            descriptor.picture_id.unwrap().value,
            descriptor.tl0_pic_idx.unwrap(),
        )
    }

    #[test]
    fn numbers_run_on_over_switches_and_wraps() {
        let mut rewriter = PictureRewriter::vp8();
        assert_eq!(rewritten(&mut rewriter, vp8(0x7ffe, 254)), (0x7ffe, 254));
        assert_eq!(rewritten(&mut rewriter, vp8(0x7fff, 255)), (0x7fff, 255));
        assert_eq!(rewritten(&mut rewriter, vp8(0, 0)), (0, 0));
        rewriter.switch_source();
        assert_eq!(rewritten(&mut rewriter, vp8(500, 40)), (1, 1));
        assert_eq!(rewritten(&mut rewriter, vp8(500, 40)), (1, 1));
        assert_eq!(rewritten(&mut rewriter, vp8(502, 41)), (3, 2));
        // Late, and of the same source.
        assert_eq!(rewritten(&mut rewriter, vp8(501, 40)), (2, 1));
        rewriter.switch_source();
        assert_eq!(rewritten(&mut rewriter, vp8(3, 3)), (4, 3));
    }

    #[test]
    fn dropped_pictures_leave_no_gap() {
        let mut rewriter = PictureRewriter::vp8();
        assert_eq!(rewritten(&mut rewriter, vp8(10, 0)).0, 10);
        for _ in 0..3 {
            rewriter.drop_picture(&vp8(11, 0)).unwrap();
        }
        assert_eq!(rewritten(&mut rewriter, vp8(12, 0)).0, 11);
        rewriter.drop_picture(&vp8(13, 0)).unwrap();
        rewriter.drop_picture(&vp8(14, 0)).unwrap();
        assert_eq!(rewritten(&mut rewriter, vp8(15, 0)).0, 12);
        // Late ones get what they had been given.
        assert_eq!(rewritten(&mut rewriter, vp8(12, 0)).0, 11);
        assert_eq!(rewritten(&mut rewriter, vp8(10, 0)).0, 10);
        rewriter.drop_picture(&vp8(14, 0)).unwrap();
        assert_eq!(rewritten(&mut rewriter, vp8(16, 0)).0, 13);
    }

    #[test]
    fn a_short_identifier_stays_short() {
        let mut rewriter = PictureRewriter::vp8();
        assert_eq!(rewritten(&mut rewriter, vp8(300, 0)).0, 300);
        rewriter.switch_source();
        let mut payload = [0x90, 0x80, 0x7f, 0xaa];
        rewriter.rewrite(&mut payload).unwrap();
        assert_eq!(payload, [0x90, 0x80, 301_u16 as u8 & 0x7f, 0xaa]);
        let mut payload = [0x90, 0x80, 0x00, 0xaa];
        rewriter.rewrite(&mut payload).unwrap();
        assert_eq!(payload, [0x90, 0x80, 302_u16 as u8 & 0x7f, 0xaa]);
    }

    #[test]
    fn vp9_is_rewritten_behind_its_layer() {
        let mut rewriter = PictureRewriter::vp9();
        // I and L, not flexible: picture identifier, layer, TL0PICIDX.
        let mut payload = [0xa8, 0x80, 9, 0x20, 7, 0xaa];
        rewriter.rewrite(&mut payload).unwrap();
        assert_eq!(payload, [0xa8, 0x80, 9, 0x20, 7, 0xaa]);
        rewriter.switch_source();
        let mut payload = [0xa8, 0x95, 9, 0x20, 77, 0xaa];
        rewriter.rewrite(&mut payload).unwrap();
        assert_eq!(payload, [0xa8, 0x80, 10, 0x20, 8, 0xaa]);
        // Flexible: no TL0PICIDX, and gaps stay.
        rewriter
            .drop_picture(&[0xb8, 0x95, 10, 0x20, 0xaa])
            .unwrap();
        let mut payload = [0xb8, 0x95, 11, 0x20, 0xaa];
        rewriter.rewrite(&mut payload).unwrap();
        assert_eq!(payload, [0xb8, 0x80, 12, 0x20, 0xaa]);
        assert!(rewriter.rewrite(&mut [0xa8, 0x80]).is_err());
    }
}
