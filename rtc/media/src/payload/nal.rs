//! H.264 (RFC 6184) and H.265 (RFC 7798), which differ in their numbers only.

use bytes::{Bytes, BytesMut};
use rtc_shared::{Reader, Writer};
use smallvec::SmallVec;

use super::{Depacketizer, Frame, FrameBuffer, Layer, Packetizer, Payload, PayloadInfo, divide};
use crate::h26x::{NalFormat, ParameterSets, START_CODE, nal_units, without_trailing_zeros};
use crate::{DepacketizeError, PacketizeError};

/// Packs access units of H.264 or H.265.
///
/// A frame is an access unit in Annex B form. Small NAL units that follow each other share a packet,
/// such as the parameter sets and the first slice of a key frame; large ones are divided into parts of
/// about one size. Key frames that come without parameter sets are sent with the last ones seen.
#[derive(Debug)]
pub struct NalPacketizer {
    format: NalFormat,
    single_nal_only: bool,
    sets: ParameterSets,
    buffer: BytesMut,
}

impl NalPacketizer {
    /// For H.264 in packetization mode 1, which is what WebRTC uses.
    #[must_use]
    pub fn h264() -> Self {
        Self::new(NalFormat::H264)
    }

    /// For H.264 in packetization mode 0: each packet has one whole NAL unit, and the encoder has to
    /// make slices that fit.
    #[must_use]
    pub fn h264_single_nal() -> Self {
        Self {
            single_nal_only: true,
            ..Self::h264()
        }
    }

    /// For H.265.
    #[must_use]
    pub fn h265() -> Self {
        Self::new(NalFormat::H265)
    }

    fn new(format: NalFormat) -> Self {
        Self {
            format,
            single_nal_only: false,
            sets: ParameterSets::new(format),
            buffer: BytesMut::new(),
        }
    }

    /// The NAL units of an access unit, with the parameter sets that its key frame lacks.
    fn units(&mut self, frame: &Bytes) -> Result<SmallVec<[Bytes; 8]>, PacketizeError> {
        let mut nals: SmallVec<[Bytes; 8]> =
            nal_units(frame).map(|nal| frame.slice_ref(nal)).collect();
        let mut key_frame = false;
        for nal in &nals {
            let kind = self.format.nal_type(nal);
            let kind = kind.ok_or(PacketizeError::Malformed("header of a NAL unit"))?;
            if !self.format.is_payload_of_one(kind) {
                return Err(PacketizeError::Malformed("type of a NAL unit"));
            }
            key_frame |= self.format.is_key(kind);
        }
        let first = nals
            .first()
            .ok_or(PacketizeError::Malformed("no NAL unit between start codes"))?;
        if key_frame {
            let delimiter = self.format.nal_type(first);
            let delimiter =
                delimiter.is_some_and(|kind| self.format.is_access_unit_delimiter(kind));
            let missing: SmallVec<[Bytes; 4]> = self.sets.missing(nals.iter()).cloned().collect();
            nals.insert_many(delimiter.into(), missing);
        }
        self.sets.update(nals.iter());
        Ok(nals)
    }

    fn fragment(
        &mut self,
        nal: &Bytes,
        max_payload: usize,
        payloads: &mut Vec<Payload>,
    ) -> Result<(), PacketizeError> {
        let header_len = self.format.header_len();
        let kind = self.format.nal_type(nal).unwrap_or_default();
        let capacity = max_payload.saturating_sub(header_len + 1);
        let (header, mut rest) = nal
            .split_at_checked(header_len)
            .ok_or(PacketizeError::PayloadSize)?;
        let mut parts =
            divide(rest.len(), capacity, capacity).ok_or(PacketizeError::PayloadSize)?;
        self.buffer
            .reserve(rest.len() + parts.count_left() * (header_len + 1));
        let indicator = Header::new(header).with_type(self.format, self.format.fragment());
        let mut start = START;
        while let Some(part) = parts.next() {
            let (part, tail) = rest.split_at_checked(part).unwrap_or((rest, &[]));
            rest = tail;
            let end = if parts.count_left() == 0 { END } else { 0 };
            self.buffer.put(indicator.of(self.format));
            self.buffer.put_u8(std::mem::take(&mut start) | end | kind);
            self.buffer.put(part);
            payloads.push(Payload::from(self.buffer.split().freeze()));
        }
        Ok(())
    }

    fn aggregate(&mut self, nals: &[Bytes]) -> Bytes {
        let size: usize = nals.iter().map(|nal| 2 + nal.len()).sum();
        self.buffer.reserve(self.format.header_len() + size);
        let header = Header::of_all(self.format, nals);
        let header = header.with_type(self.format, self.format.aggregation());
        self.buffer.put(header.of(self.format));
        for nal in nals {
            self.buffer.put_vec16(|out| out.put(nal));
        }
        self.buffer.split().freeze()
    }

    /// How many of these NAL units share a packet, at least 1.
    fn together(&self, nals: &[Bytes], max_payload: usize) -> usize {
        if self.single_nal_only {
            return 1;
        }
        let mut size = self.format.header_len();
        let fitting = nals.iter().take_while(|nal| {
            size += 2 + nal.len();
            size <= max_payload && nal.len() <= usize::from(u16::MAX)
        });
        fitting.count().max(1)
    }

    fn pack(
        &mut self,
        mut nals: &[Bytes],
        max_payload: usize,
        payloads: &mut Vec<Payload>,
    ) -> Result<(), PacketizeError> {
        while let Some((first, others)) = nals.split_first() {
            let count = self.together(nals, max_payload);
            if count > 1 {
                let (run, rest) = nals.split_at_checked(count).unwrap_or((nals, &[]));
                let data = self.aggregate(run);
                payloads.push(Payload::from(data));
                nals = rest;
                continue;
            }
            match first.len() <= max_payload {
                true => payloads.push(Payload::from(first.clone())),
                false if self.single_nal_only => return Err(PacketizeError::TooLarge),
                false => self.fragment(first, max_payload, payloads)?,
            }
            nals = others;
        }
        Ok(())
    }
}

impl Packetizer for NalPacketizer {
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
        let nals = self.units(frame)?;
        let before = payloads.len();
        if let Err(error) = self.pack(&nals, max_payload, payloads) {
            payloads.truncate(before);
            return Err(error);
        }
        if let Some(last) = payloads.last_mut() {
            last.marker = layer.end_of_picture;
        }
        Ok(())
    }
}

/// Unpacks access units of H.264 or H.265 into Annex B form. Zeros at the end of NAL units, which some
/// senders leave there, are taken away.
#[derive(Debug)]
pub struct NalDepacketizer {
    format: NalFormat,
    frame: FrameBuffer,
    /// Type of the NAL unit whose fragments come, and where it begins in the frame.
    fragment: Option<(u8, usize)>,
    key_frame: bool,
    sequence_set: bool,
    recovery_point: bool,
    /// Told in advance; used until the stream brings its own.
    sets: Option<ParameterSets>,
}

impl NalDepacketizer {
    /// For H.264 in packetization modes 0 and 1. Access units have at most `max_frame` bytes.
    #[must_use]
    pub fn h264(max_frame: usize) -> Self {
        Self::new(NalFormat::H264, max_frame)
    }

    /// For H.265 in transmission order.
    #[must_use]
    pub fn h265(max_frame: usize) -> Self {
        Self::new(NalFormat::H265, max_frame)
    }

    fn new(format: NalFormat, max_frame: usize) -> Self {
        Self {
            format,
            frame: FrameBuffer::new(max_frame),
            fragment: None,
            key_frame: false,
            sequence_set: false,
            recovery_point: false,
            sets: None,
        }
    }

    /// Gives parameter sets that came with the session description (`sprop-parameter-sets` and the
    /// like). They are put before the first key frames, until the stream brings some itself.
    #[must_use]
    pub fn with_parameter_sets(mut self, sets: &[Bytes]) -> Self {
        let mut parsed = ParameterSets::new(self.format);
        parsed.update(sets.iter());
        self.sets = Some(parsed);
        self
    }

    /// What comes before each NAL unit, given its header.
    fn begin_nal(&mut self, nal: &[u8]) -> Result<u8, DepacketizeError> {
        let kind = self.format.nal_type(nal);
        let kind = kind.ok_or(DepacketizeError::Malformed("header of a NAL unit"))?;
        if !self.format.is_payload_of_one(kind) {
            return Err(DepacketizeError::Unsupported(kind));
        }
        self.sequence_set |= self.format.parameter_set_kind(kind) == Some(1);
        self.recovery_point |= self.format.is_recovery_point(nal);
        if self.sequence_set {
            self.sets = None;
        }
        if self.format.is_key(kind) && !self.key_frame {
            self.key_frame = true;
            for set in self.sets.iter().flat_map(ParameterSets::all) {
                self.frame.put(START_CODE)?;
                self.frame.put(set)?;
            }
        }
        self.frame.put(START_CODE)?;
        Ok(kind)
    }

    fn push_nal(&mut self, nal: &[u8]) -> Result<(), DepacketizeError> {
        if self.fragment.is_some() {
            return Err(DepacketizeError::MissingEnd);
        }
        self.begin_nal(nal)?;
        self.frame.put(without_trailing_zeros(nal))
    }

    fn push_fragment(&mut self, payload: &[u8]) -> Result<(), DepacketizeError> {
        let fragment = Fragment::parse(self.format, payload)?;
        match (fragment.start, self.fragment) {
            (true, Some(_)) => return Err(DepacketizeError::MissingEnd),
            (false, None) => return Err(DepacketizeError::MissingStart),
            (false, Some((kind, _))) if kind != fragment.kind => {
                return Err(DepacketizeError::MissingEnd);
            }
            (true, None) => {
                let header = fragment.header();
                self.begin_nal(header)?;
                self.fragment = Some((fragment.kind, self.frame.len()));
                self.frame.put(header)?;
            }
            (false, Some(_)) => {}
        }
        self.frame.put(fragment.body)?;
        if fragment.end
            && let Some((_, begin)) = self.fragment.take()
        {
            self.frame.trim_zeros(begin + self.format.header_len());
        }
        Ok(())
    }
}

impl Depacketizer for NalDepacketizer {
    fn inspect(&self, payload: &[u8]) -> Result<PayloadInfo, DepacketizeError> {
        inspect(self.format, payload)
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), DepacketizeError> {
        let kind = kind_of_payload(self.format, payload)?;
        if kind == self.format.fragment() {
            return self.push_fragment(payload);
        }
        if kind != self.format.aggregation() {
            return self.push_nal(payload);
        }
        let before = self.frame.len();
        for nal in Aggregate::parse(self.format, payload)? {
            self.push_nal(nal?)?;
        }
        match self.frame.len() > before {
            true => Ok(()),
            false => Err(DepacketizeError::Empty),
        }
    }

    fn finish(&mut self) -> Result<Frame, DepacketizeError> {
        let key_frame = self.key_frame || self.sequence_set && self.recovery_point;
        let fragment = self.fragment;
        let data = self.frame.take();
        self.reset();
        match data.is_empty() {
            true => Err(DepacketizeError::Empty),
            false if fragment.is_some() => Err(DepacketizeError::MissingEnd),
            false => Ok(Frame {
                data,
                key_frame,
                duration: None,
            }),
        }
    }

    fn reset(&mut self) {
        self.frame.clear();
        self.fragment = None;
        self.key_frame = false;
        self.sequence_set = false;
        self.recovery_point = false;
    }
}

pub(crate) fn inspect(format: NalFormat, payload: &[u8]) -> Result<PayloadInfo, DepacketizeError> {
    let mut info = PayloadInfo::default();
    let mut first = true;
    let mut look = |nal: &[u8]| {
        let Some(kind) = format.nal_type(nal) else {
            return;
        };
        if std::mem::take(&mut first) {
            info.starts_frame = format.precedes_picture(kind) || format.starts_picture(nal);
        }
        info.key_frame |= format.is_key(kind) || format.is_parameter_set(kind);
        info.resolution = info.resolution.or_else(|| format.resolution(nal));
    };
    let kind = kind_of_payload(format, payload)?;
    if kind == format.fragment() {
        let fragment = Fragment::parse(format, payload)?;
        if fragment.start {
            let mut nal: SmallVec<[u8; 3]> = SmallVec::from_slice(fragment.header());
            nal.extend(fragment.body.first().copied());
            look(&nal);
        }
    } else if kind == format.aggregation() {
        for nal in Aggregate::parse(format, payload)? {
            look(nal?);
        }
    } else {
        look(payload);
    }
    info.switching_point = info.key_frame;
    // Packets of several units and fragments have the same fields in their headers.
    match (format, payload) {
        (NalFormat::H264, [first, ..]) => info.discardable = first & 0x60 == 0,
        (NalFormat::H265, [_, second, ..]) => {
            info.temporal_id = Some((second & 0x07).saturating_sub(1));
        }
        _ => {}
    }
    Ok(info)
}

/// The type of a payload that is whole as far as its header goes.
fn kind_of_payload(format: NalFormat, payload: &[u8]) -> Result<u8, DepacketizeError> {
    if payload.len() < format.header_len() {
        return Err(match payload.is_empty() {
            true => DepacketizeError::Empty,
            false => DepacketizeError::Truncated,
        });
    }
    let kind = format.nal_type(payload);
    let kind = kind.ok_or(DepacketizeError::Malformed("forbidden bit"))?;
    let known =
        format.is_payload_of_one(kind) || kind == format.aggregation() || kind == format.fragment();
    known
        .then_some(kind)
        .ok_or(DepacketizeError::Unsupported(kind))
}

/// FU-A of H.264 (RFC 6184 section 5.8), FU of H.265 (RFC 7798 section 4.4.3).
#[derive(Debug)]
struct Fragment<'a> {
    format: NalFormat,
    /// That of the NAL unit.
    header: Header,
    start: bool,
    end: bool,
    kind: u8,
    body: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn parse(format: NalFormat, payload: &'a [u8]) -> Result<Self, DepacketizeError> {
        let mut reader = Reader::new(payload);
        let header = reader.take(format.header_len())?;
        let fu = reader.u8()?;
        let kind = match format {
            NalFormat::H264 => fu & 0x1f,
            NalFormat::H265 => fu & 0x3f,
        };
        let (start, end) = (fu & START != 0, fu & END != 0);
        if start && end {
            return Err(DepacketizeError::Malformed("fragment is start and end"));
        }
        if !format.is_payload_of_one(kind) {
            return Err(DepacketizeError::Unsupported(kind));
        }
        if reader.is_empty() {
            return Err(DepacketizeError::Truncated);
        }
        Ok(Self {
            format,
            header: Header::new(header).with_type(format, kind),
            start,
            end,
            kind,
            body: reader.rest(),
        })
    }

    /// The header of the NAL unit that the fragment is of.
    fn header(&self) -> &[u8] {
        self.header.of(self.format)
    }
}

/// STAP-A of H.264 (RFC 6184 section 5.7.1), AP of H.265 (RFC 7798 section 4.4.2). Gives the NAL
/// units; those of no byte are left out.
#[derive(Debug)]
struct Aggregate<'a>(Reader<'a>);

impl<'a> Aggregate<'a> {
    fn parse(format: NalFormat, payload: &'a [u8]) -> Result<Self, DepacketizeError> {
        let mut reader = Reader::new(payload);
        reader.skip(format.header_len())?;
        Ok(Self(reader))
    }
}

impl<'a> Iterator for Aggregate<'a> {
    type Item = Result<&'a [u8], DepacketizeError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            match self.0.vec16() {
                Ok([]) => {}
                Ok(nal) => return Some(Ok(nal)),
                Err(error) => {
                    self.0.take_rest();
                    return Some(Err(error.into()));
                }
            }
        }
        None
    }
}

impl NalFormat {
    fn aggregation(self) -> u8 {
        match self {
            Self::H264 => 24,
            Self::H265 => 48,
        }
    }

    fn fragment(self) -> u8 {
        match self {
            Self::H264 => 28,
            Self::H265 => 49,
        }
    }

    /// The type is that of a NAL unit, which can be a payload alone, and not one of those that the
    /// payload formats use for packets.
    fn is_payload_of_one(self, nal_type: u8) -> bool {
        match self {
            Self::H264 => (1..24).contains(&nal_type),
            Self::H265 => nal_type < 48,
        }
    }
}

/// The header of a NAL unit; of H.264 the first byte only.
#[derive(Clone, Copy, Debug, Default)]
struct Header([u8; 2]);

impl Header {
    fn new(nal: &[u8]) -> Self {
        let mut bytes = nal.iter().copied();
        Self([
            bytes.next().unwrap_or_default(),
            bytes.next().unwrap_or_default(),
        ])
    }

    /// That of a packet of several NAL units: the highest reference indication, the lowest layers.
    fn of_all(format: NalFormat, nals: &[Bytes]) -> Self {
        let headers = nals.iter().map(|nal| Self::new(nal).0);
        if format == NalFormat::H264 {
            let importance = headers.map(|[first, _]| first & 0x60).max();
            return Self([importance.unwrap_or_default(), 0]);
        }
        // Layer: the last bit of the first byte and five of the second.
        let layers = headers.clone().map(|[a, b]| [a & 0x01, b & 0xf8]).min();
        let temporal = headers.map(|[_, b]| b & 0x07).min();
        let [a, b] = layers.unwrap_or_default();
        Self([a, b | temporal.unwrap_or(1)])
    }

    fn with_type(self, format: NalFormat, nal_type: u8) -> Self {
        let [first, second] = self.0;
        match format {
            NalFormat::H264 => Self([first & 0xe0 | nal_type, second]),
            NalFormat::H265 => Self([first & 0x81 | nal_type << 1, second]),
        }
    }

    fn of(&self, format: NalFormat) -> &[u8] {
        let bytes = &self.0;
        bytes.get(..format.header_len()).unwrap_or(bytes)
    }
}

const START: u8 = 0x80;
const END: u8 = 0x40;
