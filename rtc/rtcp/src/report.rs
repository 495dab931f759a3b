use rtc_shared::{Reader, Writer};
use smallvec::SmallVec;

use crate::error::Malformed;
use crate::packet::{Content, HEADER_LEN, MAX_COUNT, cut};
use crate::{NtpShort, NtpTime, Packet, SourceDescription};

/// What a source received of another (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source that was received.
    pub ssrc: u32,
    /// The share of packets lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the begin, negative when there were more duplicates; kept within 24 bits.
    pub cumulative_lost: i32,
    /// The highest sequence number received, and in the upper 16 bits how often it has wrapped.
    pub extended_highest_sequence_number: u32,
    /// Variation of the time in transit, in units of the timestamp.
    pub jitter: u32,
    /// When the last sender report was sent, as it said; zero before the first.
    pub last_sender_report: NtpShort,
    /// How long ago that report arrived.
    pub delay_since_last_sender_report: NtpShort,
}

impl ReportBlock {
    const LEN: usize = 24;

    fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let ssrc = reader.u32()?;
        let loss = reader.u32()?;
        Ok(Self {
            ssrc,
            fraction_lost: (loss >> 24) as u8,
            // Shifted down arithmetically, so that the sign fills the top byte.
            cumulative_lost: (loss << 8).cast_signed() >> 8,
            extended_highest_sequence_number: reader.u32()?,
            jitter: reader.u32()?,
            last_sender_report: NtpShort(reader.u32()?),
            delay_since_last_sender_report: NtpShort(reader.u32()?),
        })
    }

    fn write(&self, out: &mut impl Writer) {
        out.put_u32(self.ssrc);
        out.put_u8(self.fraction_lost);
        out.put_u24(
            self.cumulative_lost
                .clamp(-(1 << 23), (1 << 23) - 1)
                .cast_unsigned(),
        );
        out.put_u32(self.extended_highest_sequence_number);
        out.put_u32(self.jitter);
        out.put_u32(self.last_sender_report.0);
        out.put_u32(self.delay_since_last_sender_report.0);
    }
}

/// What a sender says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// When the report was sent.
    pub ntp_time: NtpTime,
    /// The same time by the clock of the RTP timestamps.
    pub rtp_timestamp: u32,
    /// Packets sent since the begin; wraps.
    pub packet_count: u32,
    /// Bytes of payload sent since the begin, without headers and padding; wraps.
    pub octet_count: u32,
}

impl SenderInfo {
    const LEN: usize = 20;
}

/// Report of a source that sends (RFC 3550 section 6.4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderReport {
    /// The source.
    pub ssrc: u32,
    /// What it says of itself.
    pub info: SenderInfo,
    /// What it received; at most 31.
    pub blocks: SmallVec<[ReportBlock; 4]>,
}

impl SenderReport {
    pub(crate) const TYPE: u8 = 200;

    pub(crate) fn parse(count: u8, mut reader: Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            ssrc: reader.u32()?,
            info: SenderInfo {
                ntp_time: NtpTime(reader.u64()?),
                rtp_timestamp: reader.u32()?,
                packet_count: reader.u32()?,
                octet_count: reader.u32()?,
            },
            blocks: parse_blocks(count, &mut reader)?,
        })
    }
}

impl Content for SenderReport {
    fn kind(&self) -> (u8, u8) {
        (Self::TYPE, cut(&self.blocks, MAX_COUNT).len() as u8)
    }

    fn content_len(&self) -> usize {
        4 + SenderInfo::LEN + blocks_len(&self.blocks)
    }

    fn write_content(&self, out: &mut impl Writer) {
        out.put_u32(self.ssrc);
        out.put_u64(self.info.ntp_time.0);
        out.put_u32(self.info.rtp_timestamp);
        out.put_u32(self.info.packet_count);
        out.put_u32(self.info.octet_count);
        write_blocks(&self.blocks, out);
    }
}

/// Report of a source that does not send (RFC 3550 section 6.4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiverReport {
    /// The source.
    pub ssrc: u32,
    /// What it received; at most 31.
    pub blocks: SmallVec<[ReportBlock; 4]>,
}

impl ReceiverReport {
    pub(crate) const TYPE: u8 = 201;

    pub(crate) fn parse(count: u8, mut reader: Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            ssrc: reader.u32()?,
            blocks: parse_blocks(count, &mut reader)?,
        })
    }
}

impl Content for ReceiverReport {
    fn kind(&self) -> (u8, u8) {
        (Self::TYPE, cut(&self.blocks, MAX_COUNT).len() as u8)
    }

    fn content_len(&self) -> usize {
        4 + blocks_len(&self.blocks)
    }

    fn write_content(&self, out: &mut impl Writer) {
        out.put_u32(self.ssrc);
        write_blocks(&self.blocks, out);
    }
}

/// Appends the compound that every source sends regularly (RFC 3550 section 6.1): a sender report if
/// `sender` is given, else a receiver report, further receiver reports for blocks beyond 31, and the
/// CNAME. Feedback may follow it.
pub fn write_compound_report(
    out: &mut impl Writer,
    ssrc: u32,
    sender: Option<SenderInfo>,
    blocks: &[ReportBlock],
    cname: &str,
) {
    let (first, rest) = blocks.split_at_checked(MAX_COUNT).unwrap_or((blocks, &[]));
    match sender {
        Some(info) => Packet::from(SenderReport {
            ssrc,
            info,
            blocks: SmallVec::from_slice(first),
        }),
        None => Packet::from(ReceiverReport {
            ssrc,
            blocks: SmallVec::from_slice(first),
        }),
    }
    .write(out);
    for blocks in rest.chunks(MAX_COUNT) {
        let blocks = SmallVec::from_slice(blocks);
        Packet::from(ReceiverReport { ssrc, blocks }).write(out);
    }
    Packet::from(SourceDescription::with_cname(ssrc, cname)).write(out);
}

/// Length in bytes of what [`write_compound_report`] appends.
#[must_use]
pub fn compound_report_len(sender: bool, blocks: usize, cname: &str) -> usize {
    let reports = blocks.div_ceil(MAX_COUNT).max(1);
    let info = if sender { SenderInfo::LEN } else { 0 };
    reports * (HEADER_LEN + 4)
        + info
        + blocks * ReportBlock::LEN
        + SourceDescription::cname_len(cname)
}

fn parse_blocks(
    count: u8,
    reader: &mut Reader<'_>,
) -> Result<SmallVec<[ReportBlock; 4]>, Malformed> {
    (0..count).map(|_| ReportBlock::parse(reader)).collect()
}

fn blocks_len(blocks: &[ReportBlock]) -> usize {
    cut(blocks, MAX_COUNT).len() * ReportBlock::LEN
}

fn write_blocks(blocks: &[ReportBlock], out: &mut impl Writer) {
    cut(blocks, MAX_COUNT)
        .iter()
        .for_each(|block| block.write(out));
}
