use bytes::Bytes;
use rtc_shared::{Reader, Writer};
use smallvec::SmallVec;

use crate::error::Malformed;
use crate::packet::{Content, MAX_CONTENT_LEN, PAYLOAD_FEEDBACK, TRANSPORT_FEEDBACK, cut};

/// Packets are missing and asked for again (RFC 4585 section 6.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nack {
    /// The source that asks.
    pub sender_ssrc: u32,
    /// The source whose packets are missing.
    pub media_ssrc: u32,
    /// Which; at least one.
    pub pairs: SmallVec<[NackPair; 8]>,
}

/// Up to 17 sequence numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NackPair {
    /// The first.
    pub packet_id: u16,
    /// Bit `i`, the lowest is 0, stands for `packet_id + i + 1`.
    pub bitmask: u16,
}

impl NackPair {
    /// The sequence numbers in rising order.
    pub fn sequence_numbers(self) -> impl Iterator<Item = u16> + Clone {
        let following = (0..16u16).filter(move |bit| self.bitmask >> bit & 1 != 0);
        std::iter::once(self.packet_id)
            .chain(following.map(move |bit| self.packet_id.wrapping_add(bit + 1)))
    }

    /// Takes a sequence number in if it is one of the 17 from `packet_id`.
    fn insert(&mut self, sequence_number: u16) -> bool {
        match sequence_number.wrapping_sub(self.packet_id) {
            0 => true,
            distance @ 1..=16 => {
                self.bitmask |= 1 << (distance - 1);
                true
            }
            _ => false,
        }
    }
}

impl Nack {
    pub(crate) const FORMAT: u8 = 1;

    /// Asks for packets. Numbers in rising order make the fewest pairs.
    #[must_use]
    pub fn new(
        sender_ssrc: u32,
        media_ssrc: u32,
        sequence_numbers: impl IntoIterator<Item = u16>,
    ) -> Self {
        let mut nack = Self {
            sender_ssrc,
            media_ssrc,
            pairs: SmallVec::new(),
        };
        for number in sequence_numbers {
            nack.insert(number);
        }
        nack
    }

    /// Asks for one more packet.
    pub fn insert(&mut self, sequence_number: u16) {
        let taken = self
            .pairs
            .last_mut()
            .is_some_and(|pair| pair.insert(sequence_number));
        if !taken {
            self.pairs.push(NackPair {
                packet_id: sequence_number,
                bitmask: 0,
            });
        }
    }

    /// The sequence numbers of all pairs.
    pub fn sequence_numbers(&self) -> impl Iterator<Item = u16> + '_ {
        self.pairs.iter().flat_map(|pair| pair.sequence_numbers())
    }

    pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let (sender_ssrc, media_ssrc) = (reader.u32()?, reader.u32()?);
        let (pairs, []) = reader.rest().as_chunks::<4>() else {
            return Err(Malformed);
        };
        let pair = |&[a, b, c, d]: &[u8; 4]| NackPair {
            packet_id: u16::from_be_bytes([a, b]),
            bitmask: u16::from_be_bytes([c, d]),
        };
        match pairs {
            [] => Err(Malformed),
            pairs => Ok(Self {
                sender_ssrc,
                media_ssrc,
                pairs: pairs.iter().map(pair).collect(),
            }),
        }
    }
}

impl Content for Nack {
    fn kind(&self) -> (u8, u8) {
        (TRANSPORT_FEEDBACK, Self::FORMAT)
    }

    fn content_len(&self) -> usize {
        8 + 4 * cut(&self.pairs, (MAX_CONTENT_LEN - 8) / 4).len()
    }

    fn write_content(&self, out: &mut impl Writer) {
        out.put_u32(self.sender_ssrc);
        out.put_u32(self.media_ssrc);
        for pair in cut(&self.pairs, (MAX_CONTENT_LEN - 8) / 4) {
            out.put_u16(pair.packet_id);
            out.put_u16(pair.bitmask);
        }
    }
}

/// A picture is lost, a key frame would help (RFC 4585 section 6.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pli {
    /// The source that lost it.
    pub sender_ssrc: u32,
    /// The source of the video.
    pub media_ssrc: u32,
}

impl Pli {
    pub(crate) const FORMAT: u8 = 1;

    pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            sender_ssrc: reader.u32()?,
            media_ssrc: reader.u32()?,
        })
    }
}

impl Content for Pli {
    fn kind(&self) -> (u8, u8) {
        (PAYLOAD_FEEDBACK, Self::FORMAT)
    }

    fn content_len(&self) -> usize {
        8
    }

    fn write_content(&self, out: &mut impl Writer) {
        out.put_u32(self.sender_ssrc);
        out.put_u32(self.media_ssrc);
    }
}

/// Key frames are wanted (RFC 5104 section 4.3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fir {
    /// The source that wants them.
    pub sender_ssrc: u32,
    /// Of whom; at least one.
    pub entries: SmallVec<[FirEntry; 2]>,
}

/// One of the sources that shall send a key frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirEntry {
    /// The source of the video.
    pub ssrc: u32,
    /// Counts the requests; the same number again is a repetition of the same request.
    pub sequence_number: u8,
}

impl Fir {
    pub(crate) const FORMAT: u8 = 4;

    pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let sender_ssrc = reader.u32()?;
        reader.skip(4)?;
        let (entries, []) = reader.rest().as_chunks::<8>() else {
            return Err(Malformed);
        };
        let entry = |&[a, b, c, d, sequence_number, ..]: &[u8; 8]| FirEntry {
            ssrc: u32::from_be_bytes([a, b, c, d]),
            sequence_number,
        };
        match entries {
            [] => Err(Malformed),
            entries => Ok(Self {
                sender_ssrc,
                entries: entries.iter().map(entry).collect(),
            }),
        }
    }
}

impl Content for Fir {
    fn kind(&self) -> (u8, u8) {
        (PAYLOAD_FEEDBACK, Self::FORMAT)
    }

    fn content_len(&self) -> usize {
        8 + 8 * cut(&self.entries, (MAX_CONTENT_LEN - 8) / 8).len()
    }

    fn write_content(&self, out: &mut impl Writer) {
        out.put_u32(self.sender_ssrc);
        out.put_u32(0);
        for entry in cut(&self.entries, (MAX_CONTENT_LEN - 8) / 8) {
            out.put_u32(entry.ssrc);
            out.put_u8(entry.sequence_number);
            out.put_u24(0);
        }
    }
}

/// The bitrate that a receiver estimates it can take (draft-alvestrand-rmcat-remb-03).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remb {
    /// The source that says so.
    pub sender_ssrc: u32,
    /// Bits per second of all sources together. The wire keeps the 18 highest bits.
    pub bitrate: u64,
    /// The sources; at most 255.
    pub ssrcs: SmallVec<[u32; 4]>,
}

impl Remb {
    pub(crate) const FORMAT: u8 = 15;

    pub(crate) fn is_one(content: &[u8]) -> bool {
        content.get(8..12) == Some(IDENTIFIER)
    }

    pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let sender_ssrc = reader.u32()?;
        reader.skip(8)?;
        let count = reader.u8()?;
        let rate = reader.u24()?;
        let (exponent, mantissa) = (rate >> 18, u64::from(rate & 0x3_ffff));
        let bitrate = mantissa << exponent;
        if bitrate >> exponent != mantissa || reader.len() != 4 * usize::from(count) {
            return Err(Malformed);
        }
        let ssrcs = (0..count).map(|_| reader.u32());
        Ok(Self {
            sender_ssrc,
            bitrate,
            ssrcs: ssrcs.collect::<Result<_, _>>()?,
        })
    }
}

impl Content for Remb {
    fn kind(&self) -> (u8, u8) {
        (PAYLOAD_FEEDBACK, Self::FORMAT)
    }

    fn content_len(&self) -> usize {
        16 + 4 * cut(&self.ssrcs, 255).len()
    }

    fn write_content(&self, out: &mut impl Writer) {
        let ssrcs = cut(&self.ssrcs, 255);
        let exponent = (u64::BITS - self.bitrate.leading_zeros()).saturating_sub(18);
        out.put_u32(self.sender_ssrc);
        out.put_u32(0);
        out.put(IDENTIFIER);
        out.put_u8(ssrcs.len() as u8);
        out.put_u24(exponent << 18 | (self.bitrate >> exponent) as u32);
        ssrcs.iter().for_each(|&ssrc| out.put_u32(ssrc));
    }
}

/// Feedback of a format without a struct of its own: SLI, RPSI, TMMBR, TMMBN and others, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawFeedback {
    /// 205, about the transport, or 206, about the payload.
    pub packet_type: u8,
    /// The format within the type.
    pub format: u8,
    /// The source that sends it.
    pub sender_ssrc: u32,
    /// The source it is about; 0 when the content says it.
    pub media_ssrc: u32,
    /// The feedback control information.
    pub content: Bytes,
}

impl RawFeedback {
    pub(crate) fn parse(
        packet_type: u8,
        format: u8,
        mut reader: Reader<'_>,
    ) -> Result<Self, Malformed> {
        Ok(Self {
            packet_type,
            format,
            sender_ssrc: reader.u32()?,
            media_ssrc: reader.u32()?,
            content: Bytes::copy_from_slice(reader.rest()),
        })
    }
}

impl Content for RawFeedback {
    fn kind(&self) -> (u8, u8) {
        (self.packet_type, self.format)
    }

    fn content_len(&self) -> usize {
        8 + cut(&self.content, MAX_CONTENT_LEN - 8).len()
    }

    fn write_content(&self, out: &mut impl Writer) {
        out.put_u32(self.sender_ssrc);
        out.put_u32(self.media_ssrc);
        out.put(cut(&self.content, MAX_CONTENT_LEN - 8));
    }
}

const IDENTIFIER: &[u8] = b"REMB";
