use bytes::Bytes;
use rtc_shared::{Reader, Writer};
use smallvec::SmallVec;

use crate::error::Malformed;
use crate::packet::{Content, MAX_CONTENT_LEN, cut};
use crate::{NtpShort, NtpTime};

/// Extended reports (RFC 3611).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedReport {
    /// The source that reports.
    pub ssrc: u32,
    /// The blocks; at most 64 are read.
    pub blocks: SmallVec<[XrBlock; 1]>,
}

/// One block of an extended report.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum XrBlock {
    /// When a source sent the report that does not send media, so that it can learn the round trip
    /// time (RFC 3611 section 4.4).
    ReceiverReferenceTime(NtpTime),
    /// The answers to such times (RFC 3611 section 4.5).
    Dlrr(SmallVec<[DlrrItem; 2]>),
    /// A block of another type.
    Raw {
        /// The type.
        block_type: u8,
        /// The byte whose meaning depends on the type.
        specific: u8,
        /// What follows the header of four bytes; zero bytes fill it up to a multiple of 4.
        content: Bytes,
    },
}

/// The answer to one receiver reference time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DlrrItem {
    /// The source that sent it.
    pub ssrc: u32,
    /// The middle 32 bits of the time.
    pub last_receiver_report: NtpShort,
    /// How long ago it arrived.
    pub delay_since_last_receiver_report: NtpShort,
}

impl ExtendedReport {
    pub(crate) const TYPE: u8 = 207;

    /// The time that the reporting source wants to be answered.
    #[must_use]
    pub fn receiver_reference_time(&self) -> Option<NtpTime> {
        self.blocks.iter().find_map(|block| match block {
            XrBlock::ReceiverReferenceTime(time) => Some(*time),
            _ => None,
        })
    }

    /// All answers to receiver reference times.
    pub fn dlrr(&self) -> impl Iterator<Item = &DlrrItem> {
        fn items(block: &XrBlock) -> &[DlrrItem] {
            match block {
                XrBlock::Dlrr(items) => items,
                _ => &[],
            }
        }
        self.blocks.iter().flat_map(items)
    }

    pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let ssrc = reader.u32()?;
        let mut blocks = SmallVec::new();
        while !reader.is_empty() {
            if blocks.len() == MAX_BLOCKS {
                return Err(Malformed);
            }
            blocks.push(XrBlock::parse(&mut reader)?);
        }
        Ok(Self { ssrc, blocks })
    }

    /// The blocks that fit a packet.
    fn fitting(&self) -> impl Iterator<Item = &XrBlock> {
        self.blocks.iter().scan(4, |length, block| {
            *length += block.len();
            (*length <= MAX_CONTENT_LEN).then_some(block)
        })
    }
}

impl XrBlock {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let block_type = reader.u8()?;
        let specific = reader.u8()?;
        let words = reader.u16()?;
        let mut content = reader.sub(4 * usize::from(words))?;
        Ok(match (block_type, words) {
            (RRTR, 2) => Self::ReceiverReferenceTime(NtpTime(content.u64()?)),
            (DLRR, words) if words % 3 == 0 => Self::Dlrr(
                (0..words / 3)
                    .map(|_| {
                        Ok(DlrrItem {
                            ssrc: content.u32()?,
                            last_receiver_report: NtpShort(content.u32()?),
                            delay_since_last_receiver_report: NtpShort(content.u32()?),
                        })
                    })
                    .collect::<Result<_, Malformed>>()?,
            ),
            _ => Self::Raw {
                block_type,
                specific,
                content: Bytes::copy_from_slice(content.rest()),
            },
        })
    }

    fn len(&self) -> usize {
        4 + match self {
            Self::ReceiverReferenceTime(_) => 8,
            Self::Dlrr(items) => 12 * cut(items, MAX_BLOCK_LEN / 12).len(),
            Self::Raw { content, .. } => cut(content, MAX_BLOCK_LEN).len().next_multiple_of(4),
        }
    }

    fn write(&self, out: &mut impl Writer) {
        let end = out.position() + self.len();
        let (block_type, specific) = match self {
            Self::ReceiverReferenceTime(_) => (RRTR, 0),
            Self::Dlrr(_) => (DLRR, 0),
            Self::Raw {
                block_type,
                specific,
                ..
            } => (*block_type, *specific),
        };
        out.put_u8(block_type);
        out.put_u8(specific);
        out.put_u16((self.len() / 4 - 1) as u16);
        match self {
            Self::ReceiverReferenceTime(time) => out.put_u64(time.0),
            Self::Dlrr(items) => {
                for item in cut(items, MAX_BLOCK_LEN / 12) {
                    out.put_u32(item.ssrc);
                    out.put_u32(item.last_receiver_report.0);
                    out.put_u32(item.delay_since_last_receiver_report.0);
                }
            }
            Self::Raw { content, .. } => out.put(cut(content, MAX_BLOCK_LEN)),
        }
        out.put_zeros(end - out.position());
    }
}

impl Content for ExtendedReport {
    fn kind(&self) -> (u8, u8) {
        (Self::TYPE, 0)
    }

    fn content_len(&self) -> usize {
        4 + self.fitting().map(XrBlock::len).sum::<usize>()
    }

    fn write_content(&self, out: &mut impl Writer) {
        out.put_u32(self.ssrc);
        self.fitting().for_each(|block| block.write(out));
    }
}

const RRTR: u8 = 4;
const DLRR: u8 = 5;
/// A block is larger in memory than on the wire; this bounds what one packet can take.
const MAX_BLOCKS: usize = 64;
const MAX_BLOCK_LEN: usize = MAX_CONTENT_LEN - 8;
