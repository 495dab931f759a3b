use bytes::{Bytes, BytesMut};
use rtc_shared::{Reader, Rng, Writer};
use smallvec::SmallVec;

use super::{
    Depacketizer, Frame, FrameBuffer, Layer, Packetizer, Payload, PayloadInfo, PictureCounters,
    PictureId, Resolution, divide,
};
use crate::bits::{BitReader, bit};
use crate::{DepacketizeError, PacketizeError};

/// The payload descriptor of VP9 (RFC 9628 section 4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vp9Descriptor {
    /// I: the identifier of the picture.
    pub picture_id: Option<PictureId>,
    /// P: the frame refers to earlier pictures.
    pub inter_picture_predicted: bool,
    /// F: flexible mode, in which each picture says to which others it refers.
    pub flexible: bool,
    /// B: a frame of a layer begins with the payload.
    pub start_of_frame: bool,
    /// E: the frame of the layer ends with the payload.
    pub end_of_frame: bool,
    /// Z: no upper spatial layer is predicted from the frame.
    pub not_used_by_upper_layer: bool,
    /// L: the layer of the frame.
    pub layer: Option<Vp9Layer>,
    /// By how many pictures those lie back that the frame refers to, 1 to 127, at most three. Only in
    /// flexible mode.
    pub references: SmallVec<[u8; 3]>,
    /// V: the layers and their pattern, from this picture on.
    pub structure: Option<Box<ScalabilityStructure>>,
}

/// The layer of a frame of VP9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vp9Layer {
    /// TID: temporal layer, 0 to 7.
    pub temporal_id: u8,
    /// U: the stream can be switched up to this temporal layer from the picture on.
    pub switching_up: bool,
    /// SID: spatial layer, 0 to 7.
    pub spatial_id: u8,
    /// D: the frame is predicted from the lower spatial layer of its picture.
    pub inter_layer_predicted: bool,
    /// Counts the pictures of the lowest temporal layer; wraps. Not sent in flexible mode.
    pub tl0_pic_idx: u8,
}

/// The scalability structure of VP9 (RFC 9628 section 4.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScalabilityStructure {
    /// How many spatial layers there are, 1 to 8.
    pub spatial_layers: u8,
    /// Size of the video at each spatial layer; empty when it is not said.
    pub resolutions: SmallVec<[Resolution; 3]>,
    /// The pictures of the group that repeats, at most 255; empty when it is not said.
    pub group: Vec<Vp9GroupPicture>,
}

/// A picture of the group of a scalability structure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vp9GroupPicture {
    /// Temporal layer, 0 to 7.
    pub temporal_id: u8,
    /// The stream can be switched up to this temporal layer from the picture on.
    pub switching_up: bool,
    /// By how many pictures those lie back that the picture refers to, at most three.
    pub references: SmallVec<[u8; 3]>,
}

impl Vp9Descriptor {
    /// Reads the descriptor of a payload and gives what follows, which is not empty.
    ///
    /// # Errors
    /// [`DepacketizeError`]
    pub fn parse(payload: &[u8]) -> Result<(Self, &[u8]), DepacketizeError> {
        let mut reader = Reader::new(payload);
        let first = reader.u8().map_err(|_| DepacketizeError::Empty)?;
        let mut descriptor = Self {
            inter_picture_predicted: first & P != 0,
            flexible: first & F != 0,
            start_of_frame: first & B != 0,
            end_of_frame: first & E != 0,
            not_used_by_upper_layer: first & Z != 0,
            ..Self::default()
        };
        if first & I != 0 {
            descriptor.picture_id = Some(PictureId::read(&mut reader)?);
        }
        if first & L != 0 {
            let byte = reader.u8()?;
            descriptor.layer = Some(Vp9Layer {
                temporal_id: byte >> 5,
                switching_up: byte & 0x10 != 0,
                spatial_id: byte >> 1 & 0x07,
                inter_layer_predicted: byte & 1 != 0,
                tl0_pic_idx: if first & F == 0 { reader.u8()? } else { 0 },
            });
        }
        if first & (F | P) == F | P {
            loop {
                let byte = reader.u8()?;
                descriptor.references.push(byte >> 1);
                if byte & 1 == 0 {
                    break;
                }
                if descriptor.references.len() == MAX_REFERENCES {
                    return Err(DepacketizeError::Malformed("more than three references"));
                }
            }
        }
        if first & V != 0 {
            descriptor.structure = Some(Box::new(ScalabilityStructure::read(&mut reader)?));
        }
        match reader.is_empty() {
            true => Err(DepacketizeError::Empty),
            false => Ok((descriptor, reader.rest())),
        }
    }

    /// Appends the descriptor to `out`.
    pub fn write(&self, out: &mut impl Writer) {
        let references = match self.flexible && self.inter_picture_predicted {
            true => self
                .references
                .get(..MAX_REFERENCES)
                .unwrap_or(&self.references),
            false => &[],
        };
        out.put_u8(
            bit(self.picture_id.is_some(), I)
                | bit(self.inter_picture_predicted, P)
                | bit(self.layer.is_some(), L)
                | bit(self.flexible, F)
                | bit(self.start_of_frame, B)
                | bit(self.end_of_frame, E)
                | bit(self.structure.is_some(), V)
                | bit(self.not_used_by_upper_layer, Z),
        );
        if let Some(picture_id) = self.picture_id {
            picture_id.write(out);
        }
        if let Some(layer) = self.layer {
            out.put_u8(
                layer.temporal_id << 5
                    | u8::from(layer.switching_up) << 4
                    | (layer.spatial_id & 0x07) << 1
                    | u8::from(layer.inter_layer_predicted),
            );
            if !self.flexible {
                out.put_u8(layer.tl0_pic_idx);
            }
        }
        for (at, &reference) in references.iter().enumerate() {
            let more = at + 1 < references.len();
            out.put_u8(reference << 1 | u8::from(more));
        }
        if let Some(structure) = &self.structure {
            structure.write(out);
        }
    }

    /// A picture begins with the payload: its lowest spatial layer, or one that does not need those
    /// below it.
    #[must_use]
    pub fn starts_picture(&self) -> bool {
        self.start_of_frame
            && self
                .layer
                .is_none_or(|layer| layer.spatial_id == 0 || !layer.inter_layer_predicted)
    }
}

impl ScalabilityStructure {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DepacketizeError> {
        let first = reader.u8()?;
        let mut structure = Self {
            spatial_layers: (first >> 5) + 1,
            ..Self::default()
        };
        if first & 0x10 != 0 {
            for _ in 0..structure.spatial_layers {
                structure.resolutions.push(Resolution {
                    width: reader.u16()?.into(),
                    height: reader.u16()?.into(),
                });
            }
        }
        if first & 0x08 != 0 {
            for _ in 0..reader.u8()? {
                let byte = reader.u8()?;
                structure.group.push(Vp9GroupPicture {
                    temporal_id: byte >> 5,
                    switching_up: byte & 0x10 != 0,
                    references: reader.take((byte >> 2 & 0b11).into())?.into(),
                });
            }
        }
        Ok(structure)
    }

    fn write(&self, out: &mut impl Writer) {
        let layers = self.spatial_layers.clamp(1, 8);
        let sizes = self.resolutions.get(..layers.into()).unwrap_or_default();
        out.put_u8(
            (layers - 1) << 5
                | u8::from(!sizes.is_empty()) << 4
                | u8::from(!self.group.is_empty()) << 3,
        );
        for size in sizes {
            out.put_u16(size.width as u16);
            out.put_u16(size.height as u16);
        }
        if self.group.is_empty() {
            return;
        }
        let group = self.group.get(..255).unwrap_or(&self.group);
        out.put_u8(group.len() as u8);
        for picture in group {
            let references = &picture.references;
            let references = references.get(..MAX_REFERENCES).unwrap_or(references);
            out.put_u8(
                picture.temporal_id << 5
                    | u8::from(picture.switching_up) << 4
                    | (references.len() as u8) << 2,
            );
            out.put(references);
        }
    }
}

/// Packs frames of VP9 (RFC 9628). All have a picture identifier of 15 bits.
#[derive(Debug)]
pub struct Vp9Packetizer {
    counters: PictureCounters,
    flexible: bool,
    /// What key frames carry; without it the stream has no layers, and they carry its size.
    structure: Option<ScalabilityStructure>,
    key_picture: bool,
    within_picture: bool,
    buffer: BytesMut,
}

impl Vp9Packetizer {
    /// For a stream without layers, in which each frame refers to the one before. The identifiers of
    /// pictures begin at random.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            counters: PictureCounters::random(rng),
            flexible: false,
            structure: None,
            key_picture: false,
            within_picture: false,
            buffer: BytesMut::new(),
        }
    }

    /// For a stream with layers, whose pictures follow the pattern of a structure that key frames
    /// carry. Each layer of a picture is a frame of its own, and the last says that it is.
    #[must_use]
    pub fn with_structure(rng: &mut Rng, structure: ScalabilityStructure) -> Self {
        Self {
            structure: Some(structure),
            ..Self::new(rng)
        }
    }

    /// For a stream with layers in flexible mode: each frame tells to which pictures it refers.
    #[must_use]
    pub fn flexible(rng: &mut Rng, structure: ScalabilityStructure) -> Self {
        Self {
            flexible: true,
            ..Self::with_structure(rng, structure)
        }
    }

    fn descriptor(&self, layer: &Layer, header: Option<FrameHeader>) -> Vp9Descriptor {
        let inter_picture_predicted = !self.key_picture;
        let first_of_key = self.key_picture && !self.within_picture;
        let structure = match &self.structure {
            _ if !first_of_key => None,
            Some(structure) => Some(structure.clone()),
            None => header
                .and_then(|header| header.resolution)
                .map(plain_structure),
        };
        let references = match (
            self.flexible && inter_picture_predicted,
            &layer.references[..],
        ) {
            (false, _) => SmallVec::new(),
            (true, []) => SmallVec::from_slice(&[1]),
            (true, references) => references.iter().take(MAX_REFERENCES).copied().collect(),
        };
        Vp9Descriptor {
            picture_id: Some(PictureId::long(self.counters.picture_id)),
            inter_picture_predicted,
            flexible: self.flexible,
            start_of_frame: true,
            end_of_frame: false,
            not_used_by_upper_layer: !layer.used_by_upper_layer,
            layer: self.structure.is_some().then_some(Vp9Layer {
                temporal_id: layer.temporal_id.min(7),
                switching_up: layer.switching_point,
                spatial_id: layer.spatial_id.min(7),
                inter_layer_predicted: layer.inter_layer_predicted,
                tl0_pic_idx: self.counters.tl0_pic_idx,
            }),
            references,
            structure: structure.map(Box::new),
        }
    }
}

impl Packetizer for Vp9Packetizer {
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
        let header = FrameHeader::parse(frame);
        let before = self.counters;
        if !self.within_picture {
            self.key_picture = header.is_some_and(|header| header.key_frame);
            if layer.temporal_id == 0 {
                self.counters.tl0_pic_idx = self.counters.tl0_pic_idx.wrapping_add(1);
            }
        }
        let mut descriptor = self.descriptor(layer, header);

        let start = self.buffer.len();
        descriptor.write(&mut self.buffer);
        let first_len = self.buffer.len() - start;
        self.buffer.truncate(start);
        let structure = descriptor.structure.take();
        descriptor.write(&mut self.buffer);
        let other_len = self.buffer.len() - start;
        self.buffer.truncate(start);
        descriptor.structure = structure;

        let capacity = |header_len| max_payload.saturating_sub(header_len);
        let parts = divide(frame.len(), capacity(first_len), capacity(other_len));
        let Some(mut parts) = parts else {
            self.counters = before;
            return Err(PacketizeError::PayloadSize);
        };
        self.within_picture = !layer.end_of_picture;
        if layer.end_of_picture {
            self.counters.next_picture();
        }
        self.buffer
            .reserve(frame.len() + first_len + parts.count_left() * other_len);
        let mut rest = &frame[..];
        while let Some(part) = parts.next() {
            let (part, tail) = rest.split_at_checked(part).unwrap_or((rest, &[]));
            rest = tail;
            descriptor.end_of_frame = parts.count_left() == 0;
            descriptor.write(&mut self.buffer);
            descriptor.start_of_frame = false;
            descriptor.structure = None;
            self.buffer.put(part);
            payloads.push(Payload {
                marker: descriptor.end_of_frame && layer.end_of_picture,
                ..Payload::from(self.buffer.split().freeze())
            });
        }
        Ok(())
    }
}

/// Unpacks pictures of VP9 (RFC 9628). The frames of the spatial layers of a picture are joined.
#[derive(Debug)]
pub struct Vp9Depacketizer {
    frame: FrameBuffer,
    within_layer: bool,
}

impl Vp9Depacketizer {
    /// Takes pictures of at most `max_frame` bytes.
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        Self {
            frame: FrameBuffer::new(max_frame),
            within_layer: false,
        }
    }
}

impl Depacketizer for Vp9Depacketizer {
    fn inspect(&self, payload: &[u8]) -> Result<PayloadInfo, DepacketizeError> {
        inspect(payload)
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), DepacketizeError> {
        let (descriptor, body) = Vp9Descriptor::parse(payload)?;
        match (descriptor.start_of_frame, self.within_layer) {
            (false, false) => return Err(DepacketizeError::MissingStart),
            (true, true) => return Err(DepacketizeError::MissingEnd),
            _ => {}
        }
        self.within_layer = !descriptor.end_of_frame;
        self.frame.push(payload.slice_ref(body))
    }

    fn finish(&mut self) -> Result<Frame, DepacketizeError> {
        let data = self.frame.take();
        match std::mem::take(&mut self.within_layer) {
            true => Err(DepacketizeError::MissingEnd),
            false if data.is_empty() => Err(DepacketizeError::Empty),
            false => Ok(Frame {
                key_frame: FrameHeader::parse(&data).is_some_and(|header| header.key_frame),
                data,
                duration: None,
            }),
        }
    }

    fn reset(&mut self) {
        self.frame.clear();
        self.within_layer = false;
    }
}

pub(crate) fn inspect(payload: &[u8]) -> Result<PayloadInfo, DepacketizeError> {
    let (descriptor, body) = Vp9Descriptor::parse(payload)?;
    let layer = descriptor.layer;
    let header = FrameHeader::parse(body).filter(|_| descriptor.start_of_frame);
    let key_frame = !descriptor.inter_picture_predicted
        && layer.is_none_or(|layer| layer.spatial_id == 0)
        && header.is_some_and(|header| header.key_frame);
    // The structure has the size of the highest layer, the frame its own.
    let structure = descriptor.structure.as_deref();
    let resolution = structure
        .and_then(|structure| structure.resolutions.last().copied())
        .or_else(|| header?.resolution);
    Ok(PayloadInfo {
        starts_frame: descriptor.starts_picture(),
        key_frame,
        picture_id: descriptor.picture_id,
        tl0_pic_idx: layer
            .filter(|_| !descriptor.flexible)
            .map(|layer| layer.tl0_pic_idx),
        temporal_id: layer.map(|layer| layer.temporal_id),
        spatial_id: layer.map(|layer| layer.spatial_id),
        switching_point: key_frame || layer.is_some_and(|layer| layer.switching_up),
        discardable: false,
        resolution,
    })
}

/// The begin of the uncompressed header of a frame (VP9 bitstream specification section 6.2).
#[derive(Clone, Copy, Debug)]
struct FrameHeader {
    key_frame: bool,
    /// Of key frames.
    resolution: Option<Resolution>,
}

impl FrameHeader {
    fn parse(frame: &[u8]) -> Option<Self> {
        let mut bits = BitReader::new(frame);
        if bits.bits(2)? != 0b10 {
            return None;
        }
        let profile = bits.bits(1)? | bits.bits(1)? << 1;
        if profile == 3 {
            bits.skip(1)?;
        }
        let show_existing_frame = bits.flag()?;
        if show_existing_frame || bits.flag()? {
            return Some(Self {
                key_frame: false,
                resolution: None,
            });
        }
        Some(Self {
            key_frame: true,
            resolution: Self::resolution(bits, profile),
        })
    }

    fn resolution(mut bits: BitReader<'_>, profile: u32) -> Option<Resolution> {
        bits.skip(2)?; // show_frame, error_resilient_mode
        if bits.bits(24)? != 0x49_8342 {
            return None;
        }
        if profile >= 2 {
            bits.skip(1)?; // ten_or_twelve_bit
        }
        let rgb = bits.bits(3)? == 7;
        let subsampled = profile & 1 != 0;
        bits.skip(match (rgb, subsampled) {
            (false, false) => 1, // color_range
            (false, true) => 4,
            (true, subsampled) => subsampled.into(),
        })?;
        Some(Resolution {
            width: bits.bits(16)? + 1,
            height: bits.bits(16)? + 1,
        })
    }
}

/// The structure of a stream without layers.
fn plain_structure(resolution: Resolution) -> ScalabilityStructure {
    ScalabilityStructure {
        spatial_layers: 1,
        resolutions: SmallVec::from_slice(&[resolution]),
        group: vec![Vp9GroupPicture {
            references: SmallVec::from_slice(&[1]),
            ..Vp9GroupPicture::default()
        }],
    }
}

const I: u8 = 0x80;
const P: u8 = 0x40;
const L: u8 = 0x20;
const F: u8 = 0x10;
const B: u8 = 0x08;
const E: u8 = 0x04;
const V: u8 = 0x02;
const Z: u8 = 0x01;
const MAX_REFERENCES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;
    use rtc_shared::Rng;

    fn structures() -> impl Strategy<Value = ScalabilityStructure> {
        let sizes = vec((1..0x1_0000_u32, 1..0x1_0000_u32), 8);
        let pictures = (0..8_u8, any::<bool>(), vec(any::<u8>(), 0..4));
        (1..=8_u8, of(sizes), vec(pictures, 0..5)).prop_map(|(spatial_layers, sizes, pictures)| {
            ScalabilityStructure {
                spatial_layers,
                resolutions: sizes
                    .into_iter()
                    .flatten()
                    .take(spatial_layers.into())
                    .map(|(width, height)| Resolution { width, height })
                    .collect(),
                group: pictures
                    .into_iter()
                    .map(|(temporal_id, switching_up, references)| Vp9GroupPicture {
                        temporal_id,
                        switching_up,
                        references: references.into(),
                    })
                    .collect(),
            }
        })
    }

    fn descriptors() -> impl Strategy<Value = Vp9Descriptor> {
        let layer = (0..8_u8, any::<bool>(), 0..8_u8, any::<bool>(), any::<u8>());
        let flags = any::<(bool, bool, bool, bool, bool)>();
        let picture_id = of((0..0x8000_u16).prop_map(PictureId::long));
        (
            flags,
            picture_id,
            of(layer),
            vec(0..128_u8, 1..4),
            of(structures()),
        )
            .prop_map(
                |((p, f, b, e, z), picture_id, layer, references, structure)| Vp9Descriptor {
                    picture_id,
                    inter_picture_predicted: p,
                    flexible: f,
                    start_of_frame: b,
                    end_of_frame: e,
                    not_used_by_upper_layer: z,
                    layer: layer.map(|(temporal_id, u, spatial_id, d, tl0_pic_idx)| Vp9Layer {
                        temporal_id,
                        switching_up: u,
                        spatial_id,
                        inter_layer_predicted: d,
                        tl0_pic_idx: if f { 0 } else { tl0_pic_idx },
                    }),
                    references: if f && p {
                        references.into()
                    } else {
                        SmallVec::new()
                    },
                    structure: structure.map(Box::new),
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
            prop_assert_eq!(Vp9Descriptor::parse(&payload), Ok((descriptor, &[7][..])));
            for end in 0..=length {
                prop_assert!(Vp9Descriptor::parse(&payload[..end]).is_err());
            }
        }
    }

    /// The header of a key frame of 320x240, and of a frame that is none.
    const KEY: &[u8] = &[
        0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0e, 0xf0, 0, 0, 0,
    ];
    const DELTA: &[u8] = &[0x86, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

    #[test]
    fn a_picture_of_three_spatial_layers_is_one_frame() {
        let structure = ScalabilityStructure {
            spatial_layers: 3,
            resolutions: [80, 160, 320].map(|width| Resolution {
                width,
                height: width * 3 / 4,
            })[..]
                .into(),
            group: Vec::new(),
        };
        let mut packetizer =
            Vp9Packetizer::flexible(&mut Rng::from_seed([2; 32]), structure.clone());
        let mut depacketizer = Vp9Depacketizer::new(1000);
        for (picture, base) in [KEY, DELTA, DELTA].into_iter().enumerate() {
            let mut payloads = Vec::new();
            for spatial_id in 0..3 {
                let layer = Layer {
                    spatial_id,
                    inter_layer_predicted: spatial_id > 0,
                    used_by_upper_layer: spatial_id < 2,
                    end_of_picture: spatial_id == 2,
                    ..Layer::default()
                };
                let frame = if spatial_id == 0 { base } else { DELTA };
                let frame = Bytes::from_static(frame);
                packetizer
                    .packetize_layer(&frame, &layer, 27, &mut payloads)
                    .unwrap();
            }
            let infos: Vec<_> = payloads
                .iter()
                .map(|payload| inspect(&payload.data).unwrap())
                .collect();
            assert!(
                infos
                    .iter()
                    .all(|info| info.picture_id == infos[0].picture_id)
            );
            assert_eq!(infos.iter().filter(|info| info.starts_frame).count(), 1);
            assert_eq!(infos[0].key_frame, picture == 0);
            assert_eq!(
                infos[0].resolution.map(|size| size.width),
                (picture == 0).then_some(320)
            );
            let first = Vp9Descriptor::parse(&payloads[0].data).unwrap().0;
            assert_eq!(
                first.structure.as_deref(),
                Some(&structure).filter(|_| picture == 0)
            );
            assert_eq!(first.references.len(), usize::from(picture > 0));
            assert_eq!(infos.last().unwrap().spatial_id, Some(2));

            let (last, others) = payloads.split_last().unwrap();
            for payload in others {
                assert_eq!(
                    depacketizer.depacketize(&payload.data, payload.marker),
                    Ok(None)
                );
            }
            let frame = depacketizer
                .depacketize(&last.data, last.marker)
                .unwrap()
                .unwrap();
            assert_eq!(frame.data, [base, DELTA, DELTA].concat());
            assert_eq!(frame.key_frame, picture == 0);
        }
    }

    #[test]
    fn key_frames_of_a_plain_stream_tell_the_size() {
        let mut packetizer = Vp9Packetizer::new(&mut Rng::from_seed([3; 32]));
        let mut payloads = Vec::new();
        for frame in [KEY, DELTA] {
            packetizer
                .packetize(&Bytes::from_static(frame), 100, &mut payloads)
                .unwrap();
        }
        let key = inspect(&payloads[0].data).unwrap();
        assert_eq!(
            key.resolution,
            Some(Resolution {
                width: 320,
                height: 240
            })
        );
        assert!(key.key_frame && key.starts_frame);
        let delta = inspect(&payloads[1].data).unwrap();
        assert_eq!(delta.resolution, None);
        assert!(!delta.key_frame && delta.starts_frame);
        let step = delta
            .picture_id
            .unwrap()
            .value
            .wrapping_sub(key.picture_id.unwrap().value);
        assert_eq!(step & 0x7fff, 1);
    }
}
