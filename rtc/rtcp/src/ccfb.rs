use std::time::Duration;

use rtc_shared::{EcnCodepoint, Reader, Writer};
use smallvec::SmallVec;

use crate::NtpShort;
use crate::error::Malformed;
use crate::packet::{Content, MAX_CONTENT_LEN, TRANSPORT_FEEDBACK, cut};

/// When the packets of some sources arrived, and with which ECN marks (RFC 8888).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ccfb {
    /// The source that reports.
    pub sender_ssrc: u32,
    /// What it reports, one block for each source.
    pub blocks: SmallVec<[CcfbBlock; 2]>,
    /// When it reported, by its clock.
    pub report_timestamp: NtpShort,
}

/// What is reported of one source: a status for each of so many sequence numbers in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CcfbBlock {
    /// The source.
    pub ssrc: u32,
    /// The first sequence number.
    pub begin_sequence_number: u16,
    /// The statuses, at most 16 384.
    pub metrics: Vec<PacketMetric>,
}

/// The status of one packet: whether it arrived, its ECN mark, and how long before the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketMetric(u16);

impl PacketMetric {
    /// The packet did not arrive.
    pub const LOST: Self = Self(0);

    /// The packet arrived `before_report` before the report was made; `None` when after.
    #[must_use]
    pub fn received(ecn: Option<EcnCodepoint>, before_report: Option<Duration>) -> Self {
        let offset = match before_report {
            None => NOT_AVAILABLE,
            Some(time) => {
                let units = (time.as_nanos() * 1024 + 500_000_000) / 1_000_000_000;
                u16::try_from(units).map_or(TOO_LONG, |units| units.min(TOO_LONG))
            }
        };
        Self(RECEIVED | ecn.map_or(0, |ecn| ecn as u16) << 13 | offset)
    }

    /// Whether the packet arrived.
    #[must_use]
    pub fn is_received(self) -> bool {
        self.0 & RECEIVED != 0
    }

    /// The ECN mark that it arrived with.
    #[must_use]
    pub fn ecn(self) -> Option<EcnCodepoint> {
        match self.is_received() {
            true => EcnCodepoint::from_bits((self.0 >> 13) as u8),
            false => None,
        }
    }

    /// How long before the report it arrived, in steps of 1/1024 s; `None` when it did not arrive, when
    /// it arrived after the report, or 8 s before and earlier.
    #[must_use]
    pub fn arrived_before_report(self) -> Option<Duration> {
        let units = self.0 & NOT_AVAILABLE;
        (self.is_received() && units < TOO_LONG)
            .then(|| Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 10))
    }
}

impl CcfbBlock {
    /// Reports on the packets from the first to the last of `arrivals`: sequence number, time, ECN
    /// mark. The numbers must rise; one that does not, or lies more than 16 383 behind the first, is
    /// left out. Both times are by one clock of any origin.
    #[must_use]
    pub fn from_arrivals(
        ssrc: u32,
        report_time: Duration,
        arrivals: impl IntoIterator<Item = (u16, Duration, Option<EcnCodepoint>)>,
    ) -> Self {
        let mut arrivals = arrivals.into_iter().peekable();
        let begin = arrivals.peek().map_or(0, |&(number, ..)| number);
        let mut metrics = Vec::new();
        for (number, time, ecn) in arrivals {
            let index = usize::from(number.wrapping_sub(begin));
            if (metrics.len()..MAX_METRICS).contains(&index) {
                metrics.resize(index, PacketMetric::LOST);
                metrics.push(PacketMetric::received(ecn, report_time.checked_sub(time)));
            }
        }
        Self {
            ssrc,
            begin_sequence_number: begin,
            metrics,
        }
    }

    /// Each sequence number with its status.
    pub fn statuses(&self) -> impl Iterator<Item = (u16, PacketMetric)> + '_ {
        let numbers = (0u16..).map(|index| self.begin_sequence_number.wrapping_add(index));
        numbers.zip(self.metrics.iter().copied())
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let ssrc = reader.u32()?;
        let begin_sequence_number = reader.u16()?;
        let count = usize::from(reader.u16()?);
        if count > MAX_METRICS {
            return Err(Malformed);
        }
        let (metrics, _) = reader.take(2 * count)?.as_chunks::<2>();
        reader.skip(2 * (count % 2))?;
        let metric = |&bytes| PacketMetric::from_bits(u16::from_be_bytes(bytes));
        Ok(Self {
            ssrc,
            begin_sequence_number,
            metrics: metrics.iter().map(metric).collect(),
        })
    }

    fn len(&self) -> usize {
        8 + (2 * cut(&self.metrics, MAX_METRICS).len()).next_multiple_of(4)
    }

    fn write(&self, out: &mut impl Writer) {
        let metrics = cut(&self.metrics, MAX_METRICS);
        out.put_u32(self.ssrc);
        out.put_u16(self.begin_sequence_number);
        out.put_u16(metrics.len() as u16);
        metrics.iter().for_each(|metric| out.put_u16(metric.0));
        out.put_zeros(2 * (metrics.len() % 2));
    }
}

impl PacketMetric {
    /// A packet that did not arrive has no mark and no time, whatever its bits say.
    fn from_bits(bits: u16) -> Self {
        match bits & RECEIVED != 0 {
            true => Self(bits),
            false => Self::LOST,
        }
    }
}

impl Ccfb {
    pub(crate) const FORMAT: u8 = 11;

    pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let sender_ssrc = reader.u32()?;
        let mut blocks = SmallVec::new();
        while reader.len() > 4 {
            blocks.push(CcfbBlock::parse(&mut reader)?);
        }
        Ok(Self {
            sender_ssrc,
            blocks,
            report_timestamp: NtpShort(reader.u32()?),
        })
    }

    /// The blocks that fit a packet.
    fn fitting(&self) -> impl Iterator<Item = &CcfbBlock> {
        self.blocks.iter().scan(8, |length, block| {
            *length += block.len();
            (*length <= MAX_CONTENT_LEN).then_some(block)
        })
    }
}

impl Content for Ccfb {
    fn kind(&self) -> (u8, u8) {
        (TRANSPORT_FEEDBACK, Self::FORMAT)
    }

    fn content_len(&self) -> usize {
        8 + self.fitting().map(CcfbBlock::len).sum::<usize>()
    }

    fn write_content(&self, out: &mut impl Writer) {
        out.put_u32(self.sender_ssrc);
        self.fitting().for_each(|block| block.write(out));
        out.put_u32(self.report_timestamp.0);
    }
}

/// RFC 8888 section 3.1.
const MAX_METRICS: usize = 16_384;
const RECEIVED: u16 = 0x8000;
const TOO_LONG: u16 = 0x1ffe;
const NOT_AVAILABLE: u16 = 0x1fff;
