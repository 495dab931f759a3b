use bytes::{BufMut, Bytes, BytesMut};
use rtc_shared::Reader;
use smallvec::SmallVec;

use super::obu::{
    DELIMITER_OBU, FRAME, FRAME_HEADER, KeyFrameFinder, Obu, ObuError, ObuHeader, SEQUENCE_HEADER,
    SequenceHeader, TILE_GROUP, leb128, leb128_len, read_leb128,
};
use super::{Depacketizer, Frame, FrameBuffer, Layer, Packetizer, Payload, PayloadInfo, divide};
use crate::{DepacketizeError, PacketizeError};

/// The aggregation header of AV1 (AV1 RTP specification 1.0 section 4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Av1AggregationHeader {
    /// Z: the first element continues one of the previous packet.
    pub continues: bool,
    /// Y: the last element goes on in the next packet.
    pub continued: bool,
    /// W: how many elements there are, 1 to 3, the last without length; 0 when each has its length.
    pub count: u8,
    /// N: the packet is the first of a coded video sequence.
    pub new_sequence: bool,
}

impl Av1AggregationHeader {
    /// Reads the first byte of a payload and gives what follows, which is not empty.
    ///
    /// # Errors
    /// [`DepacketizeError::Empty`], and [`DepacketizeError::Malformed`] when a sequence begins within
    /// an element.
    pub fn parse(payload: &[u8]) -> Result<(Self, &[u8]), DepacketizeError> {
        let (&byte, body) = payload.split_first().ok_or(DepacketizeError::Empty)?;
        let header = Self {
            continues: byte & 0x80 != 0,
            continued: byte & 0x40 != 0,
            count: byte >> 4 & 0b11,
            new_sequence: byte & 0x08 != 0,
        };
        if header.continues && header.new_sequence {
            return Err(DepacketizeError::Malformed("sequence begins within an OBU"));
        }
        match body.is_empty() {
            true => Err(DepacketizeError::Empty),
            false => Ok((header, body)),
        }
    }

    /// The byte.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        u8::from(self.continues) << 7
            | u8::from(self.continued) << 6
            | (self.count & 0b11) << 4
            | u8::from(self.new_sequence) << 3
    }
}

/// Packs temporal units of AV1, or frames of their layers (AV1 RTP specification 1.0).
///
/// A frame is in low-overhead format: units with their size, but the last may be without. Temporal
/// delimiters, tile lists and padding are not sent.
#[derive(Debug, Default)]
pub struct Av1Packetizer {
    buffer: BytesMut,
}

impl Av1Packetizer {
    /// One that packs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn write(&mut self, packet: &Packet<'_>, new_sequence: bool) -> Bytes {
        let elements = &packet.elements;
        let count = match elements.len() {
            count @ 1..=MAX_COUNT => count as u8,
            _ => 0,
        };
        let header = Av1AggregationHeader {
            continues: packet.continues,
            continued: packet.continued,
            count,
            new_sequence,
        };
        self.buffer.reserve(packet.len_before_another());
        self.buffer.put_u8(header.to_byte());
        for (at, element) in elements.iter().enumerate() {
            if count == 0 || at + 1 < elements.len() {
                self.buffer.extend(leb128(element.len()));
            }
            self.buffer.extend(&element.header);
            self.buffer.put(element.content);
        }
        self.buffer.split().freeze()
    }
}

impl Packetizer for Av1Packetizer {
    fn packetize_layer(
        &mut self,
        frame: &Bytes,
        layer: &Layer,
        max_payload: usize,
        payloads: &mut Vec<Payload>,
    ) -> Result<(), PacketizeError> {
        let mut finder = KeyFrameFinder::default();
        let mut obus: SmallVec<[Obu<'_>; 8]> = SmallVec::new();
        let mut reader = Reader::new(frame);
        while !reader.is_empty() {
            let obu = Obu::read(&mut reader).map_err(|_| PacketizeError::Malformed("OBU"))?;
            finder.look(obu.header.kind(), obu.content);
            if !obu.header.is_dropped() {
                obus.push(obu);
            }
        }
        if obus.is_empty() {
            return Ok(());
        }
        if max_payload < MIN_PAYLOAD {
            return Err(PacketizeError::PayloadSize);
        }

        let mut packet = Packet::new(false);
        let mut new_sequence = finder.is_key_frame();
        let mut emit = |packet: &Packet<'_>| {
            let data = self.write(packet, std::mem::take(&mut new_sequence));
            payloads.push(Payload::from(data));
        };
        for obu in &obus {
            let mut rest = Element::whole(obu);
            if packet.room(max_payload, rest.len()) < rest.len().min(MIN_FRAGMENT)
                && !packet.elements.is_empty()
            {
                emit(&packet);
                packet = Packet::new(false);
            }
            let first = packet.room(max_payload, rest.len());
            let parts = divide(rest.len(), first, max_payload - 1);
            let mut parts = parts.ok_or(PacketizeError::PayloadSize)?;
            while let Some(part) = parts.next() {
                packet.elements.push(rest.split_to(part));
                if parts.count_left() > 0 {
                    packet.continued = true;
                    emit(&packet);
                    packet = Packet::new(true);
                }
            }
        }
        emit(&packet);
        if let Some(last) = payloads.last_mut() {
            last.marker = layer.end_of_picture;
        }
        Ok(())
    }
}

/// A packet as it fills.
#[derive(Debug)]
struct Packet<'a> {
    elements: SmallVec<[Element<'a>; 4]>,
    continues: bool,
    continued: bool,
}

/// A unit or a part of it.
#[derive(Clone, Debug)]
struct Element<'a> {
    header: SmallVec<[u8; 2]>,
    content: &'a [u8],
}

impl<'a> Packet<'a> {
    fn new(continues: bool) -> Self {
        Self {
            elements: SmallVec::new(),
            continues,
            continued: false,
        }
    }

    /// Length when one more element follows, which has to have its length if it is beyond the third.
    fn len_before_another(&self) -> usize {
        let prefixed = |element: &Element<'_>| leb128_len(element.len()) + element.len();
        1 + self.elements.iter().map(prefixed).sum::<usize>()
    }

    /// How much of an element of `wanted` bytes fits.
    fn room(&self, max_payload: usize, wanted: usize) -> usize {
        let room = max_payload.saturating_sub(self.len_before_another());
        match self.elements.len() < MAX_COUNT {
            true => room,
            false => room.saturating_sub(leb128_len(wanted.min(room))),
        }
    }
}

impl<'a> Element<'a> {
    fn whole(obu: &Obu<'a>) -> Self {
        Self {
            header: obu.header.without_size(),
            content: obu.content,
        }
    }

    fn len(&self) -> usize {
        self.header.len() + self.content.len()
    }

    fn split_to(&mut self, length: usize) -> Self {
        let header: SmallVec<[u8; 2]> =
            self.header.drain(..length.min(self.header.len())).collect();
        let at = (length - header.len()).min(self.content.len());
        let (content, rest) = self.content.split_at(at);
        self.content = rest;
        Self { header, content }
    }
}

/// Unpacks temporal units of AV1 (AV1 RTP specification 1.0) into low-overhead format: with a temporal
/// delimiter first and the size of each unit.
#[derive(Debug)]
pub struct Av1Depacketizer {
    frame: FrameBuffer,
    max_frame: usize,
    /// The parts of a unit that is not complete yet.
    parts: Vec<Bytes>,
    parts_len: usize,
    new_sequence: bool,
    finder: KeyFrameFinder,
}

impl Av1Depacketizer {
    /// Takes temporal units of at most `max_frame` bytes.
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        Self {
            frame: FrameBuffer::new(max_frame),
            max_frame,
            parts: Vec::new(),
            parts_len: 0,
            new_sequence: false,
            finder: KeyFrameFinder::default(),
        }
    }

    fn keep_part(&mut self, part: Bytes) -> Result<(), DepacketizeError> {
        self.parts_len += part.len();
        if self.parts_len > self.max_frame {
            return Err(DepacketizeError::TooLarge);
        }
        self.parts.push(part);
        Ok(())
    }

    /// Takes the unit whose parts are kept.
    fn complete(&mut self) -> Result<(), DepacketizeError> {
        let begin: SmallVec<[u8; BEGIN_LEN]> = self
            .parts
            .iter()
            .flatten()
            .copied()
            .take(BEGIN_LEN)
            .collect();
        let mut reader = Reader::new(&begin);
        let header = ObuHeader::read(&mut reader)?;
        let mut skip = reader.position();
        let size = self.parts_len - skip;
        if header.size.is_some_and(|told| told != size) {
            return Err(DepacketizeError::Malformed("size of an OBU"));
        }
        self.parts_len = 0;
        if header.is_dropped() {
            self.parts.clear();
            return Ok(());
        }
        self.finder.look(header.kind(), reader.rest());
        if self.frame.is_empty() {
            self.frame.put(&DELIMITER_OBU)?;
        }
        self.frame.put(&header.with_size(size))?;
        for mut part in self.parts.drain(..) {
            let skipped = part.split_to(skip.min(part.len()));
            skip -= skipped.len();
            self.frame.put(&part)?;
        }
        Ok(())
    }
}

impl Depacketizer for Av1Depacketizer {
    fn inspect(&self, payload: &[u8]) -> Result<PayloadInfo, DepacketizeError> {
        inspect(payload)
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), DepacketizeError> {
        let (header, body) = Av1AggregationHeader::parse(payload)?;
        match (header.continues, self.parts.is_empty()) {
            (true, true) => return Err(DepacketizeError::MissingStart),
            (false, false) => return Err(DepacketizeError::MissingEnd),
            _ => {}
        }
        self.new_sequence |= header.new_sequence;
        let mut elements = Elements::new(header, body).peekable();
        while let Some(element) = elements.next() {
            let element = payload.slice_ref(element?);
            if element.is_empty() {
                continue;
            }
            self.keep_part(element)?;
            if !header.continued || elements.peek().is_some() {
                self.complete()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Frame, DepacketizeError> {
        let incomplete = !self.parts.is_empty();
        let key_frame = self.new_sequence || self.finder.is_key_frame();
        let data = self.frame.take();
        self.reset();
        match data.is_empty() {
            _ if incomplete => Err(DepacketizeError::MissingEnd),
            true => Err(DepacketizeError::Empty),
            false => Ok(Frame {
                data,
                key_frame,
                duration: None,
            }),
        }
    }

    fn reset(&mut self) {
        self.frame.clear();
        self.parts.clear();
        self.parts_len = 0;
        self.new_sequence = false;
        self.finder = KeyFrameFinder::default();
    }
}

pub(crate) fn inspect(payload: &[u8]) -> Result<PayloadInfo, DepacketizeError> {
    let (header, body) = Av1AggregationHeader::parse(payload)?;
    let mut info = PayloadInfo::default();
    let mut elements = Elements::new(header, body).peekable();
    let mut first = !header.continues;
    let mut after_continued = header.continues;
    let mut finder = KeyFrameFinder::default();
    let mut has_sequence_header = false;
    while let Some(element) = elements.next() {
        let element = element?;
        if element.is_empty() || std::mem::take(&mut after_continued) {
            continue;
        }
        let whole = !header.continued || elements.peek().is_some();
        // A part may end before the unit that it announces, or even within its header.
        let obu = match Obu::read(&mut Reader::new(element)) {
            Ok(obu) => obu,
            Err(error) if whole => return Err(error.into()),
            Err(_) => match Obu::read_begin(element) {
                Ok(obu) => obu,
                Err(_) => break,
            },
        };
        if obu.header.is_dropped() {
            continue;
        }
        let kind = obu.header.kind();
        if std::mem::take(&mut first) {
            info.starts_frame = kind != TILE_GROUP;
        }
        finder.look(kind, obu.content);
        match kind {
            SEQUENCE_HEADER => {
                has_sequence_header = true;
                let sequence = SequenceHeader::parse(obu.content);
                info.resolution = sequence.map(|sequence| sequence.resolution);
            }
            FRAME | FRAME_HEADER if info.spatial_id.is_none() => {
                info.temporal_id = obu.header.temporal_id();
                info.spatial_id = obu.header.spatial_id();
            }
            _ => {}
        }
    }
    info.starts_frame |= header.new_sequence;
    info.key_frame = header.new_sequence || has_sequence_header && finder.is_key_frame();
    info.switching_point = info.key_frame;
    Ok(info)
}

/// The elements of a payload.
#[derive(Debug)]
struct Elements<'a> {
    reader: Reader<'a>,
    /// How many are left; `None` when each has its length.
    left: Option<u8>,
}

impl<'a> Elements<'a> {
    fn new(header: Av1AggregationHeader, body: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(body),
            left: (header.count > 0).then_some(header.count),
        }
    }

    fn read(&mut self) -> Result<&'a [u8], DepacketizeError> {
        if self.left == Some(1) {
            self.left = Some(0);
            return match self.reader.take_rest() {
                [] => Err(DepacketizeError::Truncated),
                rest => Ok(rest),
            };
        }
        self.left = self.left.map(|left| left - 1);
        let length = read_leb128(&mut self.reader)?;
        Ok(self.reader.take(length as usize)?)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8], DepacketizeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let ended = match self.left {
            Some(left) => left == 0,
            None => self.reader.is_empty(),
        };
        if ended {
            return None;
        }
        let element = self.read();
        if element.is_err() {
            self.left = Some(0);
        }
        Some(element)
    }
}

impl From<ObuError> for DepacketizeError {
    fn from(error: ObuError) -> Self {
        match error {
            ObuError::Truncated => Self::Truncated,
            ObuError::Forbidden => Self::Malformed("forbidden bit of an OBU"),
            ObuError::Leb128 => Self::Malformed("length of an OBU"),
        }
    }
}

/// The most elements that a packet counts.
const MAX_COUNT: usize = 3;
/// Parts smaller than this are not worth their overhead: the unit begins in the next packet.
const MIN_FRAGMENT: usize = 16;
/// Headers and what is looked at in a unit lie within so many bytes.
const BEGIN_LEN: usize = 64;
/// The header, and a byte of a unit.
const MIN_PAYLOAD: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// A temporal unit of units of these kinds and lengths.
    fn unit(obus: &[(u8, usize)]) -> Vec<u8> {
        let mut out = DELIMITER_OBU.to_vec();
        for &(kind, length) in obus {
            out.push(kind << 3 | 2);
            out.extend(leb128(length));
            out.extend((0..length).map(|at| at as u8));
        }
        out
    }

    #[test]
    fn small_units_share_packets_and_large_ones_are_divided() {
        let small = [
            (FRAME_HEADER, 10),
            (TILE_GROUP, 20),
            (TILE_GROUP, 20),
            (TILE_GROUP, 20),
        ];
        for (obus, expected) in [
            (&small[..1], 1),
            (&small[..3], 1),
            (&small[..], 1),
            (&[(FRAME, 250)][..], 3),
            (&[(5, 90), (FRAME, 50)], 2),
            (&[(5, 40), (FRAME, 150)], 2),
        ] {
            let frame = Bytes::from(unit(obus));
            let mut payloads = Vec::new();
            Av1Packetizer::new()
                .packetize(&frame, 100, &mut payloads)
                .unwrap();
            assert_eq!(payloads.len(), expected, "{obus:?}");
            let mut depacketizer = Av1Depacketizer::new(1000);
            let frames: Vec<_> = payloads
                .iter()
                .filter_map(|payload| {
                    depacketizer
                        .depacketize(&payload.data, payload.marker)
                        .unwrap()
                })
                .collect();
            assert_eq!(frames.len(), 1);
            assert_eq!(frames[0].data, frame, "{obus:?}");
        }
    }

    #[test]
    fn what_decoders_do_not_need_is_not_sent() {
        let frame = Bytes::from(unit(&[(15, 30), (FRAME, 5), (8, 4), (15, 3)]));
        let mut payloads = Vec::new();
        Av1Packetizer::new()
            .packetize(&frame, 100, &mut payloads)
            .unwrap();
        assert_eq!(payloads[0].data, [0x10, FRAME << 3, 0, 1, 2, 3, 4][..]);
        payloads.clear();
        let only_delimiter = Bytes::from(unit(&[]));
        Av1Packetizer::new()
            .packetize(&only_delimiter, 100, &mut payloads)
            .unwrap();
        assert!(payloads.is_empty());
    }
}
