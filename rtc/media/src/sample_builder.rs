use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_rtp::Packet;
use rtc_rtp::sequence::{Arrival, SequenceTracker};

use crate::{DepacketizeError, Depacketizer, Frame, Sample};

/// Brings the packets of one source into order and makes samples of them.
///
/// [`push`](Self::push) each packet as it comes, then [`pop`](Self::pop) until there is no sample. A
/// frame is given at once when it is complete and nothing before it is missing. A gap is waited for, as
/// long and as many packets as the [`SampleBuilderConfig`] says; then what cannot be put together is
/// left out, up to the next start of a frame. [`poll_timeout`](Self::poll_timeout) tells when to `pop`
/// without a packet.
#[derive(Debug)]
pub struct SampleBuilder {
    depacketizer: Box<dyn Depacketizer>,
    config: SampleBuilderConfig,
    tracker: SequenceTracker,
    ssrc: Option<u32>,
    /// Extended sequence number of the first slot.
    next: i64,
    slots: VecDeque<Slot>,
    /// So many slots of the frame at the front have been looked at.
    scanned: usize,
    /// Bytes of the payloads in the slots.
    bytes: usize,
    /// The packet before the first slot is not known, so a frame may have begun there.
    after_gap: bool,
    needs_key_frame: bool,
    /// See [`Sample::packets_lost`].
    lost: u32,
    /// Timestamp of the last sample.
    timestamp: Option<u32>,
    now: Option<Instant>,
    stats: SampleBuilderStats,
}

/// How long a [`SampleBuilder`] waits, and what it does after a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SampleBuilderConfig {
    /// Units of the timestamp in a second.
    pub clock_rate: u32,
    /// How long a missing packet is waited for: with retransmission, some round trips. 200 ms unless
    /// it is changed.
    pub max_delay: Duration,
    /// A packet is not waited for when so many numbers after it have come up. 500 unless it is
    /// changed, since a large key frame has hundreds of packets.
    pub max_reorder: usize,
    /// Begin with a key frame, and after a loss leave all out up to the next one, as a decoder that
    /// does not conceal losses needs it. False unless it is changed.
    pub wait_for_key_frame: bool,
    /// Bound of all payloads that wait, in bytes. 8 MiB unless it is changed.
    pub max_bytes: usize,
}

impl SampleBuilderConfig {
    /// The defaults for a clock rate.
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            max_delay: Duration::from_millis(200),
            max_reorder: 500,
            wait_for_key_frame: false,
            max_bytes: 8 << 20,
        }
    }
}

/// What became of the packets of a [`SampleBuilder`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SampleBuilderStats {
    /// Samples given.
    pub samples: u64,
    /// Packets that were waited for in vain.
    pub packets_missing: u64,
    /// Packets that came when they were not waited for any more, or do not belong to the stream.
    pub packets_late: u64,
    /// Packets that came again.
    pub packets_duplicate: u64,
    /// Packets whose payload is malformed.
    pub packets_malformed: u64,
    /// Packets left out because their frame is not complete, malformed, or came before a key frame
    /// that was waited for.
    pub packets_discarded: u64,
}

#[derive(Debug)]
enum Slot {
    Missing {
        since: Instant,
    },
    /// A packet without payload.
    Padding,
    Malformed,
    Packet(Entry),
}

#[derive(Debug)]
struct Entry {
    payload: Bytes,
    timestamp: u32,
    marker: bool,
    starts_frame: bool,
    arrived: Instant,
}

/// What is to be done with the slots at the front.
#[derive(Clone, Copy, Debug)]
enum Step {
    Wait,
    /// Leave so many out.
    Skip(usize),
    /// So many are a frame.
    Frame(usize),
}

impl SampleBuilder {
    /// One for the packets of a source and codec.
    #[must_use]
    pub fn new(depacketizer: Box<dyn Depacketizer>, config: SampleBuilderConfig) -> Self {
        Self {
            depacketizer,
            config,
            tracker: SequenceTracker::new(),
            ssrc: None,
            next: 0,
            slots: VecDeque::new(),
            scanned: 0,
            bytes: 0,
            after_gap: true,
            needs_key_frame: config.wait_for_key_frame,
            lost: 0,
            timestamp: None,
            now: None,
            stats: SampleBuilderStats::default(),
        }
    }

    /// Takes a packet. A change of source or a jump of the sequence numbers begins a new stream, what
    /// is left of the old one is dropped.
    pub fn push(&mut self, now: Instant, packet: Packet) {
        let now = self.clamp(now);
        let header = &packet.header;
        if self.ssrc != Some(header.ssrc) {
            self.ssrc = Some(header.ssrc);
            self.tracker = SequenceTracker::new();
            self.begin(header.sequence_number.into());
        }
        let extended = match self.tracker.receive(header.sequence_number) {
            Arrival::Advance { extended, .. } | Arrival::Late { extended } => extended,
            Arrival::Restart { extended } => {
                self.begin(extended);
                extended
            }
            _ => {
                self.stats.packets_late += 1;
                return;
            }
        };
        let Ok(at) = usize::try_from(extended - self.next) else {
            self.stats.packets_late += 1;
            return;
        };
        while self.slots.len() <= at {
            self.slots.push_back(Slot::Missing { since: now });
        }
        match self.slots.get_mut(at) {
            Some(slot @ Slot::Missing { .. }) => {
                *slot = match self.depacketizer.inspect(&packet.payload) {
                    Ok(info) => Slot::Packet(Entry {
                        timestamp: header.timestamp,
                        marker: header.marker,
                        starts_frame: info.starts_frame,
                        arrived: now,
                        payload: packet.payload,
                    }),
                    Err(_) if packet.payload.is_empty() => Slot::Padding,
                    Err(_) => {
                        self.stats.packets_malformed += 1;
                        Slot::Malformed
                    }
                };
                self.bytes += slot.len();
            }
            _ => self.stats.packets_duplicate += 1,
        }
        while self.bytes > self.config.max_bytes || self.slots.len() > MAX_SLOTS {
            self.skip(1);
        }
    }

    /// Gives the next sample.
    pub fn pop(&mut self, now: Instant) -> Option<Sample> {
        let now = self.clamp(now);
        loop {
            match self.step(now) {
                Step::Wait => return None,
                Step::Skip(count) => self.skip(count),
                Step::Frame(count) => {
                    if let Some(sample) = self.assemble(count) {
                        self.stats.samples += 1;
                        return Some(sample);
                    }
                }
            }
        }
    }

    /// When [`pop`](Self::pop) is to be called again without a packet: a missing one is given up then.
    /// To be asked after `pop` has given nothing.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.slots.get(self.scanned) {
            Some(Slot::Missing { since }) => Some(*since + self.config.max_delay),
            _ => None,
        }
    }

    /// All are left out up to the next key frame, which the source should be asked for. Always false
    /// unless [`SampleBuilderConfig::wait_for_key_frame`] is set.
    #[must_use]
    pub fn needs_key_frame(&self) -> bool {
        self.needs_key_frame
    }

    /// What became of the packets.
    #[must_use]
    pub fn stats(&self) -> &SampleBuilderStats {
        &self.stats
    }

    fn clamp(&mut self, now: Instant) -> Instant {
        let now = self.now.map_or(now, |before| before.max(now));
        self.now = Some(now);
        now
    }

    /// Begins a stream with this sequence number.
    fn begin(&mut self, next: i64) {
        if !self.slots.is_empty() {
            self.skip(self.slots.len());
        }
        self.next = next;
        self.after_gap = true;
        self.needs_key_frame = self.config.wait_for_key_frame;
        self.timestamp = None;
    }

    fn step(&mut self, now: Instant) -> Step {
        while let Some(Slot::Padding) = self.slots.front() {
            self.slots.pop_front();
            self.next += 1;
            self.scanned = 0;
        }
        let first = match self.slots.front() {
            Some(Slot::Packet(first)) if first.starts_frame || !self.after_gap => first,
            Some(Slot::Packet(_) | Slot::Malformed) => return Step::Skip(1),
            _ => return self.wait_or_skip(0, now),
        };
        let (timestamp, packet_is_frame) = (first.timestamp, self.depacketizer.packet_is_frame());
        let mut at = self.scanned;
        while let Some(slot) = self.slots.get(at) {
            match slot {
                Slot::Missing { .. } => break,
                Slot::Malformed => return Step::Skip(at + 1),
                Slot::Padding => {}
                Slot::Packet(entry) if entry.timestamp != timestamp => return Step::Frame(at),
                Slot::Packet(_) if packet_is_frame => return Step::Frame(at + 1),
                // Some senders mark each slice: the frame goes on if the next packet says so.
                Slot::Packet(entry) if entry.marker && !self.goes_on(at, timestamp) => {
                    return Step::Frame(at + 1);
                }
                Slot::Packet(_) => {}
            }
            at += 1;
        }
        self.scanned = at;
        self.wait_or_skip(at, now)
    }

    /// The packet behind this slot has come and belongs to the same frame.
    fn goes_on(&self, at: usize, timestamp: u32) -> bool {
        matches!(
            self.slots.get(at + 1),
            Some(Slot::Packet(next)) if next.timestamp == timestamp && !next.starts_frame
        )
    }

    /// What to do about a slot that is missing, or not there yet.
    fn wait_or_skip(&self, at: usize, now: Instant) -> Step {
        let Some(Slot::Missing { since }) = self.slots.get(at) else {
            return Step::Wait;
        };
        let in_time = now < *since + self.config.max_delay;
        if in_time && self.slots.len() - at <= self.config.max_reorder {
            return Step::Wait;
        }
        let missing = self.slots.range(at..);
        let missing = missing.take_while(|slot| matches!(slot, Slot::Missing { .. }));
        Step::Skip(at + missing.count())
    }

    fn skip(&mut self, count: usize) {
        for slot in self.slots.drain(..count.min(self.slots.len())) {
            self.next += 1;
            self.bytes -= slot.len();
            match slot {
                Slot::Padding => continue,
                Slot::Missing { .. } => self.stats.packets_missing += 1,
                Slot::Packet(_) => self.stats.packets_discarded += 1,
                Slot::Malformed => {}
            }
            self.lost = self.lost.saturating_add(1);
        }
        self.scanned = 0;
        self.after_gap = true;
        self.needs_key_frame = self.config.wait_for_key_frame;
    }

    /// Makes a sample of the slots of a frame, or counts them as lost.
    fn assemble(&mut self, count: usize) -> Option<Sample> {
        let sequence_number = self.next as u16;
        self.depacketizer.reset();
        let mut result = Ok(());
        let (mut packets, mut timestamp, mut received) = (0_u16, 0, None);
        for slot in self.slots.drain(..count.min(self.slots.len())) {
            self.next += 1;
            self.bytes -= slot.len();
            if let Slot::Packet(entry) = slot {
                packets = packets.saturating_add(1);
                timestamp = entry.timestamp;
                received = received.max(Some(entry.arrived));
                result = result.and_then(|()| self.depacketizer.push(&entry.payload));
            }
        }
        self.scanned = 0;
        self.after_gap = false;
        match self.finish(result) {
            Some(frame) => Some(Sample {
                duration: self.duration(&frame, timestamp),
                data: frame.data,
                timestamp,
                key_frame: frame.key_frame,
                packets_lost: std::mem::take(&mut self.lost),
                sequence_number,
                packets,
                received,
            }),
            None => {
                self.stats.packets_discarded += u64::from(packets);
                self.lost = self.lost.saturating_add(packets.into());
                None
            }
        }
    }

    /// The frame, if it is well-formed and wanted.
    fn finish(&mut self, pushed: Result<(), DepacketizeError>) -> Option<Frame> {
        match pushed.and_then(|()| self.depacketizer.finish()) {
            Ok(frame) if self.needs_key_frame && !frame.key_frame => None,
            Ok(frame) => {
                self.needs_key_frame = false;
                Some(frame)
            }
            Err(_) => {
                self.needs_key_frame = self.config.wait_for_key_frame;
                None
            }
        }
    }

    fn duration(&mut self, frame: &Frame, timestamp: u32) -> Duration {
        let before = self.timestamp.replace(timestamp);
        frame.duration.unwrap_or_else(|| {
            let ticks = before.map_or(0, |before| timestamp.wrapping_sub(before).cast_signed());
            let ticks = u64::try_from(ticks).unwrap_or_default();
            let nanos = (ticks * 1_000_000_000).checked_div(self.config.clock_rate.into());
            Duration::from_nanos(nanos.unwrap_or_default())
        })
    }
}

impl Slot {
    /// Bytes that it keeps.
    fn len(&self) -> usize {
        match self {
            Self::Packet(entry) => entry.payload.len(),
            _ => 0,
        }
    }
}

/// A jump beyond some thousand numbers begins a stream anew; below, this bounds what is waited for.
const MAX_SLOTS: usize = 4096;
