use std::time::Duration;

use bytes::Bytes;
use rtc_shared::{Reader, Writer};

use crate::error::Malformed;
use crate::packet::{Content, HEADER_LEN, MAX_CONTENT_LEN, TRANSPORT_FEEDBACK};

/// When the packets of a transport arrived (draft-holmer-rmcat-transport-wide-cc-extensions-01).
///
/// Read from a datagram or made by a [`TwccBuilder`]; [`statuses`](Self::statuses) tells of each packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twcc {
    /// The source that reports.
    pub sender_ssrc: u32,
    /// A source of the transport.
    pub media_ssrc: u32,
    /// Counts the reports; wraps.
    pub feedback_count: u8,
    base_sequence_number: u16,
    status_count: u16,
    /// In 64 ms, 24 bits with sign.
    reference_time: i32,
    /// Chunks, then deltas; complete and nothing else.
    content: Bytes,
    chunks_len: usize,
}

/// What a report says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketStatus {
    /// Its transport-wide sequence number.
    pub sequence_number: u16,
    /// When it arrived, in ticks of [`Twcc::TICK`] by the receiver's clock; `None` when it did not.
    /// Only differences have a meaning, and the clock wraps after [`Twcc::WRAP`] ticks, 12 days.
    pub arrival: Option<i64>,
}

impl Twcc {
    /// The unit of arrival times.
    pub const TICK: Duration = Duration::from_micros(250);
    /// How many ticks the receiver's clock counts before it wraps.
    pub const WRAP: i64 = 1 << 32;

    pub(crate) const FORMAT: u8 = 15;

    /// The sequence number of the first packet reported on.
    #[must_use]
    pub fn base_sequence_number(&self) -> u16 {
        self.base_sequence_number
    }

    /// How many sequence numbers are reported on; at least 1.
    #[must_use]
    pub fn status_count(&self) -> u16 {
        self.status_count
    }

    /// The time from which the first arrival counts, in steps of 64 ms.
    #[must_use]
    pub fn reference_time(&self) -> i32 {
        self.reference_time
    }

    /// The status of each packet, in the order of their sequence numbers.
    #[must_use]
    pub fn statuses(&self) -> Statuses<'_> {
        let (chunks, deltas) = self
            .content
            .split_at_checked(self.chunks_len)
            .unwrap_or_default();
        Statuses {
            symbols: Symbols::new(Reader::new(chunks), self.status_count),
            deltas: Reader::new(deltas),
            sequence_number: self.base_sequence_number,
            time: i64::from(self.reference_time) * TICKS_PER_REFERENCE,
        }
    }

    pub(crate) fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let (sender_ssrc, media_ssrc) = (reader.u32()?, reader.u32()?);
        let base_sequence_number = reader.u16()?;
        let status_count = reader.u16()?;
        let reference_time = reader.u32()?;
        let content = reader.rest();

        let mut symbols = Symbols::new(reader, status_count);
        let mut deltas_len = 0;
        for _ in 0..status_count {
            deltas_len += symbols.read()?.delta_len();
        }
        let chunks_len = content.len() - symbols.chunks.len();
        let content = content.get(..chunks_len + deltas_len).ok_or(Malformed)?;
        if status_count == 0 {
            return Err(Malformed);
        }
        Ok(Self {
            sender_ssrc,
            media_ssrc,
            feedback_count: reference_time as u8,
            base_sequence_number,
            status_count,
            // Shifted down arithmetically, so that the sign fills the top byte.
            reference_time: reference_time.cast_signed() >> 8,
            content: Bytes::copy_from_slice(content),
            chunks_len,
        })
    }
}

impl Content for Twcc {
    fn kind(&self) -> (u8, u8) {
        (TRANSPORT_FEEDBACK, Self::FORMAT)
    }

    fn content_len(&self) -> usize {
        FIXED_LEN + self.content.len()
    }

    fn write_content(&self, out: &mut impl Writer) {
        out.put_u32(self.sender_ssrc);
        out.put_u32(self.media_ssrc);
        out.put_u16(self.base_sequence_number);
        out.put_u16(self.status_count);
        out.put_u24(self.reference_time.cast_unsigned());
        out.put_u8(self.feedback_count);
        out.put(&self.content);
    }
}

/// Iterates over the statuses of a report.
#[derive(Clone, Debug)]
pub struct Statuses<'a> {
    symbols: Symbols<'a>,
    deltas: Reader<'a>,
    sequence_number: u16,
    time: i64,
}

impl Iterator for Statuses<'_> {
    type Item = PacketStatus;

    fn next(&mut self) -> Option<PacketStatus> {
        // The content was checked when it was read, nothing is missing.
        let delta = match self.symbols.read().ok()? {
            Symbol::Lost => None,
            Symbol::Small => Some(i64::from(self.deltas.u8().ok()?)),
            Symbol::Large => Some(i64::from(self.deltas.u16().ok()?.cast_signed())),
        };
        let sequence_number = self.sequence_number;
        self.sequence_number = sequence_number.wrapping_add(1);
        self.time += delta.unwrap_or(0);
        Some(PacketStatus {
            sequence_number,
            arrival: delta.map(|_| self.time),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::from(self.symbols.left);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Statuses<'_> {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    Lost,
    Small,
    Large,
}

impl Symbol {
    fn from_bits(bits: u16) -> Result<Self, Malformed> {
        match bits & 3 {
            0 => Ok(Self::Lost),
            1 => Ok(Self::Small),
            2 => Ok(Self::Large),
            // Reserved; what delta it has is unknown.
            _ => Err(Malformed),
        }
    }

    fn delta_len(self) -> usize {
        self as usize
    }
}

/// Reads the symbols of the chunks one by one.
#[derive(Clone, Debug)]
struct Symbols<'a> {
    chunks: Reader<'a>,
    /// Symbols that are still to come in all.
    left: u16,
    chunk: Chunk,
}

#[derive(Clone, Copy, Debug)]
enum Chunk {
    Run {
        symbol: u16,
        left: u16,
    },
    /// The next symbol is in the highest of 14 bits.
    Vector {
        bits: u16,
        width: u8,
        left: u8,
    },
}

impl<'a> Symbols<'a> {
    fn new(chunks: Reader<'a>, left: u16) -> Self {
        Self {
            chunks,
            left,
            chunk: Chunk::Run { symbol: 0, left: 0 },
        }
    }

    fn read(&mut self) -> Result<Symbol, Malformed> {
        self.left = self.left.checked_sub(1).ok_or(Malformed)?;
        loop {
            match &mut self.chunk {
                Chunk::Run { symbol, left } if *left > 0 => {
                    *left -= 1;
                    return Symbol::from_bits(*symbol);
                }
                Chunk::Vector { bits, width, left } if *left > 0 => {
                    let symbol = *bits >> (14 - *width);
                    *bits = *bits << *width & 0x3fff;
                    *left -= 1;
                    return Symbol::from_bits(symbol);
                }
                _ => self.chunk = Chunk::from_bits(self.chunks.u16()?),
            }
        }
    }
}

impl Chunk {
    fn from_bits(bits: u16) -> Self {
        match bits >> 14 {
            0b10 => Self::Vector {
                bits: bits & 0x3fff,
                width: 1,
                left: ONE_BIT_SYMBOLS as u8,
            },
            0b11 => Self::Vector {
                bits: bits & 0x3fff,
                width: 2,
                left: TWO_BIT_SYMBOLS as u8,
            },
            _ => Self::Run {
                symbol: bits >> 13,
                left: bits & MAX_RUN,
            },
        }
    }
}

/// Makes a [`Twcc`] from arrivals, with the chunk at each place that holds most packets.
///
/// ```
/// use rtc_rtcp::TwccBuilder;
/// use std::time::Duration;
///
/// let mut builder = TwccBuilder::new(100, 1200);
/// assert!(builder.push(100, Duration::from_millis(5_000)));
/// assert!(builder.push(103, Duration::from_millis(5_010)));
/// let twcc = builder.finish(1, 2, 0).unwrap();
/// let arrivals: Vec<_> = twcc.statuses().map(|status| status.arrival.is_some()).collect();
/// assert_eq!(arrivals, [true, false, false, true]);
/// ```
#[derive(Clone, Debug)]
pub struct TwccBuilder {
    base_sequence_number: u16,
    status_count: u16,
    /// The time of the last arrival in ticks; `None` before the first.
    time: Option<i64>,
    reference: i64,
    chunks: Vec<u8>,
    deltas: Vec<u8>,
    pending: Pending,
    max_content_len: usize,
}

impl TwccBuilder {
    /// Begins a report with the status of `base_sequence_number`, which may be of a packet that did
    /// not arrive. The written packet is not longer than `max_len` bytes.
    #[must_use]
    pub fn new(base_sequence_number: u16, max_len: usize) -> Self {
        let overhead = HEADER_LEN + FIXED_LEN;
        Self {
            base_sequence_number,
            status_count: 0,
            time: None,
            reference: 0,
            chunks: Vec::new(),
            deltas: Vec::new(),
            pending: Pending::default(),
            // Rounded down, so that the padding fits too.
            max_content_len: max_len
                .min(HEADER_LEN + MAX_CONTENT_LEN)
                .saturating_sub(overhead)
                & !3,
        }
    }

    /// Adds the next packet that arrived, at a time by a clock of any origin. The packets before it that
    /// are not yet told of did not arrive.
    ///
    /// Returns false, and changes nothing, when this report cannot tell it: the number is not after the
    /// last, the time is more than 8 s away from that of the last, or the packet would become too long.
    /// A further report can.
    #[must_use]
    pub fn push(&mut self, sequence_number: u16, arrival: Duration) -> bool {
        let next = self.base_sequence_number.wrapping_add(self.status_count);
        let skipped = sequence_number.wrapping_sub(next);
        let Some(status_count) = self.status_count.checked_add(skipped) else {
            return false;
        };
        let Some(status_count) = status_count.checked_add(1) else {
            return false;
        };
        let ticks = (arrival.as_micros() / Twcc::TICK.as_micros()) as i64;
        let before = self.time.unwrap_or(ticks & !(TICKS_PER_REFERENCE - 1));
        let delta = ticks - before;
        let symbol = match delta {
            0..=0xff => Symbol::Small,
            -0x8000..=0x7fff => Symbol::Large,
            _ => return false,
        };
        if skipped >= 0x8000 {
            return false;
        }

        let saved = (self.chunks.len(), self.pending);
        for _ in 0..skipped {
            self.pending.push(Symbol::Lost, &mut self.chunks);
        }
        self.pending.push(symbol, &mut self.chunks);
        // What is pending takes one chunk.
        let length = self.chunks.len() + 2 + self.deltas.len() + symbol.delta_len();
        if length > self.max_content_len {
            self.chunks.truncate(saved.0);
            self.pending = saved.1;
            return false;
        }
        match symbol {
            Symbol::Large => self.deltas.put_u16((delta as i16).cast_unsigned()),
            _ => self.deltas.put_u8(delta as u8),
        }
        if self.time.is_none() {
            self.reference = before;
        }
        self.time = Some(ticks);
        self.status_count = status_count;
        true
    }

    /// How many sequence numbers are reported on.
    #[must_use]
    pub fn status_count(&self) -> u16 {
        self.status_count
    }

    /// The report; `None` when no packet was added.
    #[must_use]
    pub fn finish(mut self, sender_ssrc: u32, media_ssrc: u32, feedback_count: u8) -> Option<Twcc> {
        self.time?;
        self.pending.flush(&mut self.chunks);
        let chunks_len = self.chunks.len();
        self.chunks.extend_from_slice(&self.deltas);
        let reference = (self.reference / TICKS_PER_REFERENCE) as i32;
        Some(Twcc {
            sender_ssrc,
            media_ssrc,
            feedback_count,
            base_sequence_number: self.base_sequence_number,
            status_count: self.status_count,
            reference_time: reference << 8 >> 8,
            content: self.chunks.into(),
            chunks_len,
        })
    }
}

/// Symbols that are not in a chunk yet: a run of any length, or fewer than fill a vector.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    /// The first 14 symbols, two bits each, the first in the lowest.
    symbols: u32,
    count: u16,
    /// Not all are equal.
    mixed: bool,
    /// There is one that needs two bits.
    large: bool,
}

impl Pending {
    fn push(&mut self, symbol: Symbol, chunks: &mut Vec<u8>) {
        while !self.takes(symbol) {
            self.emit(chunks);
        }
        if self.count < ONE_BIT_SYMBOLS {
            self.symbols |= (symbol as u32) << (2 * self.count);
        }
        self.mixed |= symbol as u16 != self.symbol(0);
        self.large |= symbol == Symbol::Large;
        self.count += 1;
    }

    /// Whether one chunk could hold another symbol.
    fn takes(&self, symbol: Symbol) -> bool {
        let run = !self.mixed && (self.count == 0 || symbol as u16 == self.symbol(0));
        let one_bit = !self.large && symbol != Symbol::Large;
        (run && self.count < MAX_RUN)
            || (one_bit && self.count < ONE_BIT_SYMBOLS)
            || self.count < TWO_BIT_SYMBOLS
    }

    /// Writes one full chunk; what it does not hold stays.
    fn emit(&mut self, chunks: &mut Vec<u8>) {
        let taken = match (self.mixed, self.large) {
            (false, _) => self.count,
            (true, false) => ONE_BIT_SYMBOLS,
            (true, true) => TWO_BIT_SYMBOLS,
        };
        // Symbols of one bit that are fewer than fill a chunk meet one that needs two.
        let taken = match self.count < taken {
            true => TWO_BIT_SYMBOLS,
            false => taken,
        };
        self.write(taken, chunks);
        let rest = *self;
        *self = Self::default();
        for index in taken..rest.count {
            let symbol = rest.symbol(index);
            self.symbols |= u32::from(symbol) << (2 * self.count);
            self.mixed |= symbol != self.symbol(0);
            self.large |= symbol == Symbol::Large as u16;
            self.count += 1;
        }
    }

    /// Writes everything that is left.
    fn flush(&mut self, chunks: &mut Vec<u8>) {
        if self.count > 0 {
            self.write(self.count, chunks);
        }
        *self = Self::default();
    }

    /// Writes the first `count` symbols as one chunk. Those that need two bits are never more than seven.
    fn write(&self, count: u16, chunks: &mut Vec<u8>) {
        if !self.mixed {
            chunks.put_u16(self.symbol(0) << 13 | count);
        } else if count <= TWO_BIT_SYMBOLS {
            let bits = (0..count).fold(0, |bits, index| {
                bits | self.symbol(index) << (2 * (TWO_BIT_SYMBOLS - 1 - index))
            });
            chunks.put_u16(0xc000 | bits);
        } else {
            let bits = (0..count).fold(0, |bits, index| {
                bits | self.symbol(index) << (ONE_BIT_SYMBOLS - 1 - index)
            });
            chunks.put_u16(0x8000 | bits);
        }
    }

    fn symbol(&self, index: u16) -> u16 {
        (self.symbols >> (2 * index)) as u16 & 3
    }
}

/// What stands before the chunks: two SSRCs, sequence number, count, time, count of reports.
const FIXED_LEN: usize = 16;
/// Reference times count in 64 ms.
const TICKS_PER_REFERENCE: i64 = 256;
const MAX_RUN: u16 = 0x1fff;
const ONE_BIT_SYMBOLS: u16 = 14;
const TWO_BIT_SYMBOLS: u16 = 7;
