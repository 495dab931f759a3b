use bytes::{Bytes, BytesMut};
use rtc_shared::{Reader, Rng, Writer};

use super::{
    Depacketizer, Frame, FrameBuffer, Layer, Packetizer, Payload, PayloadInfo, PictureCounters,
    PictureId, Resolution, divide,
};
use crate::bits::bit;
use crate::{DepacketizeError, PacketizeError};

/// The payload descriptor of VP8 (RFC 7741 section 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vp8Descriptor {
    /// N: no later frame refers to the frame.
    pub non_reference: bool,
    /// S: a partition begins with the payload.
    pub start_of_partition: bool,
    /// PID: number of the partition, 0 to 7.
    pub partition_id: u8,
    /// The identifier of the picture.
    pub picture_id: Option<PictureId>,
    /// Counts the frames of the lowest temporal layer; wraps.
    pub tl0_pic_idx: Option<u8>,
    /// Temporal layer, 0 to 3.
    pub temporal_id: Option<u8>,
    /// Y: the frame depends on the lowest temporal layer only. Sent with the temporal layer or the key
    /// frame index.
    pub layer_sync: bool,
    /// Counts key frames, 0 to 31.
    pub key_idx: Option<u8>,
}

impl Vp8Descriptor {
    /// Reads the descriptor of a payload and gives what follows, which is not empty.
    ///
    /// # Errors
    /// [`DepacketizeError`]
    pub fn parse(payload: &[u8]) -> Result<(Self, &[u8]), DepacketizeError> {
        let mut reader = Reader::new(payload);
        let first = reader.u8().map_err(|_| DepacketizeError::Empty)?;
        let mut descriptor = Self {
            non_reference: first & 0x20 != 0,
            start_of_partition: first & 0x10 != 0,
            partition_id: first & 0x07,
            ..Self::default()
        };
        if first & X != 0 {
            let extensions = reader.u8()?;
            if extensions & I != 0 {
                descriptor.picture_id = Some(PictureId::read(&mut reader)?);
            }
            if extensions & L != 0 {
                descriptor.tl0_pic_idx = Some(reader.u8()?);
            }
            if extensions & (T | K) != 0 {
                let byte = reader.u8()?;
                descriptor.temporal_id = (extensions & T != 0).then_some(byte >> 6);
                descriptor.layer_sync = byte & 0x20 != 0;
                descriptor.key_idx = (extensions & K != 0).then_some(byte & 0x1f);
            }
        }
        match reader.is_empty() {
            true => Err(DepacketizeError::Empty),
            false => Ok((descriptor, reader.rest())),
        }
    }

    /// Appends the descriptor to `out`.
    pub fn write(&self, out: &mut impl Writer) {
        let extensions = bit(self.picture_id.is_some(), I)
            | bit(self.tl0_pic_idx.is_some(), L)
            | bit(self.temporal_id.is_some(), T)
            | bit(self.key_idx.is_some(), K);
        out.put_u8(
            bit(extensions != 0, X)
                | u8::from(self.non_reference) << 5
                | u8::from(self.start_of_partition) << 4
                | self.partition_id & 0x07,
        );
        if extensions == 0 {
            return;
        }
        out.put_u8(extensions);
        if let Some(picture_id) = self.picture_id {
            picture_id.write(out);
        }
        if let Some(tl0_pic_idx) = self.tl0_pic_idx {
            out.put_u8(tl0_pic_idx);
        }
        if extensions & (T | K) != 0 {
            let (temporal_id, key_idx) = (self.temporal_id, self.key_idx);
            out.put_u8(
                temporal_id.unwrap_or_default() << 6
                    | u8::from(self.layer_sync) << 5
                    | key_idx.unwrap_or_default() & 0x1f,
            );
        }
    }

    /// A frame begins with the payload.
    #[must_use]
    pub fn starts_frame(&self) -> bool {
        self.start_of_partition && self.partition_id == 0
    }
}

/// Packs frames of VP8 (RFC 7741), as one partition each. All have a picture identifier of 15 bits.
#[derive(Debug)]
pub struct Vp8Packetizer {
    counters: PictureCounters,
    temporal_layers: bool,
    buffer: BytesMut,
}

impl Vp8Packetizer {
    /// For a stream without layers. The identifiers of pictures begin at random.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            counters: PictureCounters::random(rng),
            temporal_layers: false,
            buffer: BytesMut::new(),
        }
    }

    /// For a stream with temporal layers: each payload tells the layer.
    #[must_use]
    pub fn with_temporal_layers(rng: &mut Rng) -> Self {
        Self {
            temporal_layers: true,
            ..Self::new(rng)
        }
    }
}

impl Packetizer for Vp8Packetizer {
    fn packetize_layer(
        &mut self,
        frame: &Bytes,
        layer: &Layer,
        max_payload: usize,
        payloads: &mut Vec<Payload>,
    ) -> Result<(), PacketizeError> {
        if frame.is_empty() {
            return Ok(());
        }
        let layers = self.temporal_layers;
        let header_len = if layers { 6 } else { 4 };
        let capacity = max_payload.saturating_sub(header_len);
        let mut parts =
            divide(frame.len(), capacity, capacity).ok_or(PacketizeError::PayloadSize)?;

        if layer.temporal_id == 0 {
            self.counters.tl0_pic_idx = self.counters.tl0_pic_idx.wrapping_add(1);
        }
        let mut descriptor = Vp8Descriptor {
            non_reference: layer.discardable,
            start_of_partition: true,
            picture_id: Some(PictureId::long(self.counters.picture_id)),
            tl0_pic_idx: layers.then_some(self.counters.tl0_pic_idx),
            temporal_id: layers.then_some(layer.temporal_id.min(3)),
            layer_sync: layers && layer.switching_point,
            ..Vp8Descriptor::default()
        };
        self.counters.next_picture();

        self.buffer
            .reserve(frame.len() + parts.count_left() * header_len);
        let mut rest = &frame[..];
        while let Some(part) = parts.next() {
            let (part, tail) = rest.split_at_checked(part).unwrap_or((rest, &[]));
            rest = tail;
            descriptor.write(&mut self.buffer);
            descriptor.start_of_partition = false;
            self.buffer.put(part);
            payloads.push(Payload {
                marker: parts.count_left() == 0,
                ..Payload::from(self.buffer.split().freeze())
            });
        }
        Ok(())
    }
}

/// Unpacks frames of VP8 (RFC 7741).
#[derive(Debug)]
pub struct Vp8Depacketizer {
    frame: FrameBuffer,
}

impl Vp8Depacketizer {
    /// Takes frames of at most `max_frame` bytes.
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        Self {
            frame: FrameBuffer::new(max_frame),
        }
    }
}

impl Depacketizer for Vp8Depacketizer {
    fn inspect(&self, payload: &[u8]) -> Result<PayloadInfo, DepacketizeError> {
        inspect(payload)
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), DepacketizeError> {
        let (descriptor, body) = Vp8Descriptor::parse(payload)?;
        match (descriptor.starts_frame(), self.frame.is_empty()) {
            (false, true) => Err(DepacketizeError::MissingStart),
            (true, false) => Err(DepacketizeError::MissingEnd),
            _ => self.frame.push(payload.slice_ref(body)),
        }
    }

    fn finish(&mut self) -> Result<Frame, DepacketizeError> {
        let data = self.frame.take();
        let &first = data.first().ok_or(DepacketizeError::Empty)?;
        Ok(Frame {
            data,
            key_frame: first & 1 == 0,
            duration: None,
        })
    }

    fn reset(&mut self) {
        self.frame.clear();
    }
}

pub(crate) fn inspect(payload: &[u8]) -> Result<PayloadInfo, DepacketizeError> {
    let (descriptor, body) = Vp8Descriptor::parse(payload)?;
    let starts_frame = descriptor.starts_frame();
    let key_frame = starts_frame && body.first().is_some_and(|first| first & 1 == 0);
    Ok(PayloadInfo {
        starts_frame,
        key_frame,
        picture_id: descriptor.picture_id,
        tl0_pic_idx: descriptor.tl0_pic_idx,
        temporal_id: descriptor.temporal_id,
        spatial_id: None,
        switching_point: descriptor.layer_sync || key_frame,
        discardable: descriptor.non_reference,
        resolution: resolution(body).filter(|_| key_frame),
    })
}

/// Size of the video in the header of a key frame (RFC 6386 section 9.1).
fn resolution(frame: &[u8]) -> Option<Resolution> {
    let (&[_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1], _) = frame.split_first_chunk()? else {
        return None;
    };
    // The upper two bits ask for scaling.
    let length = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    Some(Resolution {
        width: length(w0, w1),
        height: length(h0, h1),
    })
}

const X: u8 = 0x80;
const I: u8 = 0x80;
const L: u8 = 0x40;
const T: u8 = 0x20;
const K: u8 = 0x10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rtc_shared::Rng;

    fn descriptors() -> impl Strategy<Value = Vp8Descriptor> {
        let picture_id = proptest::option::of(prop_oneof![
            (0..0x80_u16).prop_map(|value| PictureId { value, long: false }),
            (0..0x8000_u16).prop_map(PictureId::long),
        ]);
        let temporal_id = proptest::option::of(0..4_u8);
        let key_idx = proptest::option::of(0..32_u8);
        (
            any::<(bool, bool, bool, Option<u8>)>(),
            0..8_u8,
            picture_id,
            temporal_id,
            key_idx,
        )
            .prop_map(
                |((n, s, y, tl0_pic_idx), partition_id, picture_id, temporal_id, key_idx)| {
                    Vp8Descriptor {
                        non_reference: n,
                        start_of_partition: s,
                        partition_id,
                        picture_id,
                        tl0_pic_idx,
                        temporal_id,
                        layer_sync: y && (temporal_id.is_some() || key_idx.is_some()),
                        key_idx,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn descriptors_are_read_as_they_were_written(descriptor in descriptors()) {
            let mut payload = Vec::new();
            descriptor.write(&mut payload);
            let length = payload.len();
            payload.push(7);
            prop_assert_eq!(Vp8Descriptor::parse(&payload), Ok((descriptor, &[7][..])));
            for end in 0..=length {
                prop_assert!(Vp8Descriptor::parse(&payload[..end]).is_err());
            }
        }
    }

    #[test]
    fn layers_are_told_and_their_pictures_counted() {
        let mut packetizer = Vp8Packetizer::with_temporal_layers(&mut Rng::from_seed([1; 32]));
        let frame = Bytes::from_static(&[1; 30]);
        let mut infos = Vec::new();
        for temporal_id in [0, 2, 1, 2, 0] {
            let layer = Layer {
                temporal_id,
                switching_point: temporal_id == 1,
                ..Layer::default()
            };
            let mut payloads = Vec::new();
            packetizer
                .packetize_layer(&frame, &layer, 20, &mut payloads)
                .unwrap();
            assert_eq!(payloads.len(), 3);
            let all: Vec<_> = payloads
                .iter()
                .map(|payload| inspect(&payload.data).unwrap())
                .collect();
            assert!(all[0].starts_frame && !all[1].starts_frame);
            assert!(all.iter().all(|info| info.picture_id == all[0].picture_id));
            infos.push(all[0]);
        }
        let counted =
            |info: &PayloadInfo| (info.picture_id.unwrap().value, info.tl0_pic_idx.unwrap());
        let (picture_id, tl0) = counted(&infos[0]);
        let steps: Vec<_> = infos
            .iter()
            .map(|info| {
                (
                    counted(info).0.wrapping_sub(picture_id) & 0x7fff,
                    counted(info).1.wrapping_sub(tl0),
                )
            })
            .collect();
        assert_eq!(steps, [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1)]);
        assert_eq!(infos[1].temporal_id, Some(2));
        assert!(infos[2].switching_point && !infos[1].switching_point);
    }
}
