//! What all payload formats have in common.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rtc_rtp::extension::{DecodeTargetIndication, DependencyDescriptor, FrameDependencies};
use rtc_shared::Rng;
use smallvec::SmallVec;

use crate::{DepacketizeError, PacketizeError};

pub(crate) mod audio;
pub(crate) mod av1;
pub(crate) mod nal;
pub(crate) mod obu;
pub(crate) mod opus;
pub(crate) mod telephone_event;
pub(crate) mod vp8;
pub(crate) mod vp9;

/// Divides frames into payloads of RTP packets, in the way of one payload format.
///
/// It keeps what runs on from frame to frame, such as picture identifiers. The bytes of a frame are
/// copied at most once; a payload that the format takes as it is, is a slice of the frame.
pub trait Packetizer: fmt::Debug + Send {
    /// Divides the frame of a layer into payloads of at most `max_payload` bytes and appends them to
    /// `payloads`. A frame without bytes gives no payload: nothing is sent in a silence.
    ///
    /// # Errors
    /// [`PacketizeError`]; nothing is appended then.
    fn packetize_layer(
        &mut self,
        frame: &Bytes,
        layer: &Layer,
        max_payload: usize,
        payloads: &mut Vec<Payload>,
    ) -> Result<(), PacketizeError>;

    /// As [`packetize_layer`](Self::packetize_layer), for a stream without layers.
    ///
    /// # Errors
    /// [`PacketizeError`]; nothing is appended then.
    fn packetize(
        &mut self,
        frame: &Bytes,
        max_payload: usize,
        payloads: &mut Vec<Payload>,
    ) -> Result<(), PacketizeError> {
        self.packetize_layer(frame, &Layer::default(), max_payload, payloads)
    }
}

impl<P: Packetizer + ?Sized> Packetizer for Box<P> {
    fn packetize_layer(
        &mut self,
        frame: &Bytes,
        layer: &Layer,
        max_payload: usize,
        payloads: &mut Vec<Payload>,
    ) -> Result<(), PacketizeError> {
        (**self).packetize_layer(frame, layer, max_payload, payloads)
    }
}

/// Puts frames together from payloads of RTP packets, in the way of one payload format.
///
/// Payloads come in the order of their sequence numbers, those of a frame without gap:
/// [`push`](Self::push) each and [`finish`](Self::finish) with the last, or let
/// [`depacketize`](Self::depacketize) do both. A [`SampleBuilder`](crate::SampleBuilder) brings packets
/// into order, finds the frames among them, and leaves out those that are not whole.
pub trait Depacketizer: fmt::Debug + Send {
    /// Reads what a payload tells of its frame; nothing is kept.
    ///
    /// # Errors
    /// [`DepacketizeError`] when the header of the payload is malformed.
    fn inspect(&self, payload: &[u8]) -> Result<PayloadInfo, DepacketizeError>;

    /// Takes the next payload of the current frame.
    ///
    /// # Errors
    /// [`DepacketizeError`]. The frame is lost then: [`reset`](Self::reset) comes next.
    fn push(&mut self, payload: &Bytes) -> Result<(), DepacketizeError>;

    /// Ends the current frame and gives it.
    ///
    /// # Errors
    /// [`DepacketizeError`] when it is not complete. In any case the next payload begins a frame.
    fn finish(&mut self) -> Result<Frame, DepacketizeError>;

    /// Forgets the current frame.
    fn reset(&mut self);

    /// True when each packet is a frame of its own whatever its marker says, as those of audio are.
    fn packet_is_frame(&self) -> bool {
        false
    }

    /// Takes the next payload of a stream and gives the frame that ends with it, as its marker says.
    ///
    /// # Errors
    /// [`DepacketizeError`]; the current frame is forgotten then.
    fn depacketize(
        &mut self,
        payload: &Bytes,
        marker: bool,
    ) -> Result<Option<Frame>, DepacketizeError> {
        if let Err(error) = self.push(payload) {
            self.reset();
            return Err(error);
        }
        match marker || self.packet_is_frame() {
            true => self.finish().map(Some),
            false => Ok(None),
        }
    }
}

impl<D: Depacketizer + ?Sized> Depacketizer for Box<D> {
    fn inspect(&self, payload: &[u8]) -> Result<PayloadInfo, DepacketizeError> {
        (**self).inspect(payload)
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), DepacketizeError> {
        (**self).push(payload)
    }

    fn finish(&mut self) -> Result<Frame, DepacketizeError> {
        (**self).finish()
    }

    fn reset(&mut self) {
        (**self).reset();
    }

    fn packet_is_frame(&self) -> bool {
        (**self).packet_is_frame()
    }
}

/// A payload and the M bit of its packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The payload.
    pub data: Bytes,
    /// The M bit: the last packet of a frame of video, the first after a silence of audio.
    pub marker: bool,
    /// What to add to the timestamp of the frame: above 0 only for later parts of a divided frame of
    /// audio, which have a time of their own.
    pub timestamp_offset: u32,
}

impl From<Bytes> for Payload {
    fn from(data: Bytes) -> Self {
        Self {
            data,
            ..Self::default()
        }
    }
}

/// What a packetizer has to know of a frame of a stream with layers. The default is a stream without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Spatial layer, 0 to 7.
    pub spatial_id: u8,
    /// Temporal layer, 0 to 7 (VP8: 0 to 3).
    pub temporal_id: u8,
    /// From this frame on, the stream can be switched to this temporal layer.
    pub switching_point: bool,
    /// The frame is predicted from the lower spatial layer of its picture.
    pub inter_layer_predicted: bool,
    /// The next upper spatial layer is predicted from the frame.
    pub used_by_upper_layer: bool,
    /// No later frame refers to this one.
    pub discardable: bool,
    /// By how many pictures the pictures lie back that the frame refers to, 1 to 127, at most three;
    /// empty for the previous one. Only VP9 in flexible mode sends them.
    pub references: SmallVec<[u8; 3]>,
    /// The frame is the last of its picture: the highest spatial layer.
    pub end_of_picture: bool,
}

impl Default for Layer {
    fn default() -> Self {
        Self {
            spatial_id: 0,
            temporal_id: 0,
            switching_point: false,
            inter_layer_predicted: false,
            used_by_upper_layer: false,
            discardable: false,
            references: SmallVec::new(),
            end_of_picture: true,
        }
    }
}

/// A frame as its decoder takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// The bytes. Of H.264 and H.265 an access unit in Annex B form with start codes of four bytes, of
    /// AV1 a temporal unit in low-overhead format that begins with a temporal delimiter, of VP9 the
    /// frames of all spatial layers of a picture.
    pub data: Bytes,
    /// A decoder can begin with the frame. True for audio.
    pub key_frame: bool,
    /// How long the frame lasts, where its bytes tell.
    pub duration: Option<Duration>,
}

/// What a payload tells of its frame.
///
/// Not all formats have all of it; what is not said is `None` or false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PayloadInfo {
    /// A frame begins with the payload, without need of a packet before it. Of a picture with several
    /// spatial layers, the first of them. H.264, H.265 and AV1 do not tell it for certain: parameter
    /// sets or messages may come before what looks like a begin.
    pub starts_frame: bool,
    /// The payload begins a frame that a decoder can begin with, or carries its parameter sets. True
    /// for audio. Only the first packets of a key frame say so.
    pub key_frame: bool,
    /// The identifier of the picture.
    pub picture_id: Option<PictureId>,
    /// Counts the pictures of the lowest temporal layer; wraps.
    pub tl0_pic_idx: Option<u8>,
    /// Temporal layer.
    pub temporal_id: Option<u8>,
    /// Spatial layer.
    pub spatial_id: Option<u8>,
    /// The stream can be switched to this temporal layer from the frame on.
    pub switching_point: bool,
    /// No other frame refers to this one.
    pub discardable: bool,
    /// Size of the video, in a key frame.
    pub resolution: Option<Resolution>,
}

impl PayloadInfo {
    /// Takes over what a dependency descriptor says, which goes before what the payload tells (AV1 RTP
    /// specification 1.0 appendix A). `frame` is what [`DependencyDescriptor::frame`] gave.
    pub fn apply_descriptor(
        &mut self,
        descriptor: &DependencyDescriptor,
        frame: &FrameDependencies<'_>,
    ) {
        self.starts_frame = descriptor.start_of_frame;
        self.key_frame = descriptor.start_of_frame
            && frame.spatial_id == 0
            && frame.fdiffs.is_empty()
            && (descriptor.structure.is_some() || self.key_frame);
        self.spatial_id = Some(frame.spatial_id);
        self.temporal_id = Some(frame.temporal_id);
        let mut present = frame
            .dtis
            .iter()
            .filter(|&&dti| dti != DecodeTargetIndication::NotPresent);
        self.switching_point = frame.dtis.contains(&DecodeTargetIndication::Switch);
        self.discardable = !frame.dtis.is_empty()
            && present.all(|&dti| dti == DecodeTargetIndication::Discardable);
        if let Some(resolution) = frame.resolution {
            self.resolution = Some(Resolution {
                width: resolution.width,
                height: resolution.height,
            });
        }
    }
}

/// Identifier of a picture of VP8 or VP9, of 7 or 15 bits; wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureId {
    /// The number.
    pub value: u16,
    /// It has 15 bits, not 7.
    pub long: bool,
}

impl PictureId {
    /// One of 15 bits.
    #[must_use]
    pub fn long(value: u16) -> Self {
        Self {
            value: value & 0x7fff,
            long: true,
        }
    }

    pub(crate) fn read(reader: &mut rtc_shared::Reader<'_>) -> Result<Self, rtc_shared::Truncated> {
        let first = reader.u8()?;
        Ok(match first & 0x80 != 0 {
            true => Self::long(u16::from(first) << 8 | u16::from(reader.u8()?)),
            false => Self {
                value: first.into(),
                long: false,
            },
        })
    }

    pub(crate) fn write(self, out: &mut impl rtc_shared::Writer) {
        match self.long {
            true => out.put_u16(0x8000 | self.value),
            false => out.put_u8(self.value as u8 & 0x7f),
        }
    }
}

/// Size of video in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// The counters that pictures carry from packetizer to decoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PictureCounters {
    pub(crate) picture_id: u16,
    pub(crate) tl0_pic_idx: u8,
}

impl PictureCounters {
    /// Begins anywhere, so that a new stream is not taken for the continuation of one before.
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let [high, low, tl0_pic_idx] = rng.array();
        Self {
            picture_id: u16::from_be_bytes([high & 0x7f, low]),
            tl0_pic_idx,
        }
    }

    pub(crate) fn next_picture(&mut self) {
        self.picture_id = self.picture_id.wrapping_add(1) & 0x7fff;
    }
}

/// Collects the bytes of a frame up to a bound. One slice alone is kept as it is, without a copy.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    max: usize,
    single: Bytes,
    joined: BytesMut,
}

impl FrameBuffer {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            single: Bytes::new(),
            joined: BytesMut::new(),
        }
    }

    pub(crate) fn push(&mut self, slice: Bytes) -> Result<(), DepacketizeError> {
        if self.is_empty() && slice.len() <= self.max {
            self.single = slice;
            return Ok(());
        }
        self.put(&slice)
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), DepacketizeError> {
        if self.len() + bytes.len() > self.max {
            return Err(DepacketizeError::TooLarge);
        }
        if !self.single.is_empty() {
            self.joined.reserve(self.single.len() + bytes.len());
            self.joined
                .extend_from_slice(&std::mem::take(&mut self.single));
        }
        self.joined.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes zeros away from the end, down to a length.
    pub(crate) fn trim_zeros(&mut self, least: usize) {
        while self.joined.len() > least && self.joined.last() == Some(&0) {
            self.joined.truncate(self.joined.len() - 1);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.single.len() + self.joined.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn take(&mut self) -> Bytes {
        match self.joined.is_empty() {
            true => std::mem::take(&mut self.single),
            false => self.joined.split().freeze(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.single = Bytes::new();
        self.joined.clear();
    }
}

/// Lengths of about equal parts that together are `length`: the first holds at most `first`, the
/// others `other`. `None` when a part can hold nothing.
pub(crate) fn divide(length: usize, first: usize, other: usize) -> Option<Parts> {
    if first == 0 || other == 0 {
        return None;
    }
    Some(Parts {
        rest: length,
        count: 1 + length.saturating_sub(first).div_ceil(other),
        capacity: first,
        other,
    })
}

#[derive(Clone, Debug)]
pub(crate) struct Parts {
    rest: usize,
    count: usize,
    capacity: usize,
    other: usize,
}

impl Parts {
    /// How many parts are left.
    pub(crate) fn count_left(&self) -> usize {
        self.count
    }
}

impl Iterator for Parts {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let others = self.count.checked_sub(1)?;
        // About one size, as far as this part can hold it and the others can hold the rest.
        let least = self.rest.saturating_sub(others * self.other);
        let part = self.rest.div_ceil(self.count).max(least).min(self.capacity);
        self.rest -= part;
        self.count = others;
        self.capacity = self.other;
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_whole_and_of_about_one_size(
            length in 1_usize..5000, first in 1_usize..200, other in 1_usize..200,
        ) {
            let parts = divide(length, first, other).unwrap();
            let count = parts.count_left();
            let parts: Vec<_> = parts.collect();
            prop_assert_eq!(parts.len(), count);
            prop_assert_eq!(parts.iter().sum::<usize>(), length);
            prop_assert!(parts.iter().all(|&part| part > 0));
            prop_assert!(parts[0] <= first);
            let others = &parts[1..];
            prop_assert!(others.iter().all(|&part| part <= other));
            if let (Some(least), Some(most)) = (others.iter().min(), others.iter().max()) {
                prop_assert!(most - least <= 1);
            }
        }
    }

    #[test]
    fn a_dependency_descriptor_goes_before_the_payload() {
        let key = hex::decode("c0000180003a40809f807780").unwrap();
        let key = DependencyDescriptor::parse_with(&key, None).unwrap();
        let mut info = PayloadInfo::default();
        info.apply_descriptor(&key, &key.frame(None).unwrap());
        assert!(info.starts_frame && info.key_frame && info.switching_point);
        assert_eq!((info.spatial_id, info.temporal_id), (Some(0), Some(0)));
        let size = Resolution {
            width: 320,
            height: 240,
        };
        assert_eq!(info.resolution, Some(size));

        let structure = key.structure.as_deref();
        let delta = DependencyDescriptor::parse_with(&[0xc1, 0, 2], structure).unwrap();
        let mut info = PayloadInfo {
            key_frame: true,
            ..PayloadInfo::default()
        };
        info.apply_descriptor(&delta, &delta.frame(structure).unwrap());
        assert!(info.starts_frame && !info.key_frame && !info.discardable);
    }

    #[test]
    fn a_frame_of_one_slice_is_that_slice() {
        let slice = Bytes::from(vec![1, 2, 3]);
        let mut buffer = FrameBuffer::new(4);
        buffer.push(slice.clone()).unwrap();
        assert_eq!(buffer.take().as_ptr(), slice.as_ptr());
        buffer.push(slice.clone()).unwrap();
        assert_eq!(buffer.push(slice.clone()), Err(DepacketizeError::TooLarge));
        buffer.push(slice.slice(1..2)).unwrap();
        assert_eq!(buffer.take(), [1, 2, 3, 2][..]);
        assert!(buffer.is_empty());
    }
}
