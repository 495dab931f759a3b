//! Chunks that were sent and not yet acknowledged cumulatively.
//!
//! They lie in a ring indexed by TSN − base, so that a SACK costs what it acknowledges. A message
//! is kept once, until its last chunk is acknowledged; a chunk is an offset into it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use super::queue::{Lifetime, Queued};
use crate::wire::{DATA_HEADER_LEN, Data, padded};

/// The sender's book of TSNs.
#[derive(Debug)]
pub(crate) struct Outstanding {
    /// TSN of the first chunk in the ring; the one before is acknowledged cumulatively.
    base: u32,
    chunks: VecDeque<Chunk>,
    /// Number of the first message in `messages`.
    first_message: u32,
    messages: VecDeque<InFlight>,
    /// How many of them are ordered and may be given up.
    skippable: usize,
    /// Bytes already sent of the last message, while that is not whole.
    open: Option<usize>,
    /// Chunk bytes in the network, headers and padding included.
    flight: usize,
    lost: usize,
    /// No chunk before this index is lost.
    lost_from: usize,
    abandoned: usize,
    /// One chunk at a time is timed, and only if it is sent once (Karn).
    timed: Option<(u32, Instant)>,
    /// The peer understands FORWARD-TSN.
    pub(crate) can_abandon: bool,
    /// Bytes of abandoned messages that were never sent, by stream.
    pub(crate) given_up: Vec<(u16, usize)>,
    /// Messages abandoned so far.
    pub(crate) abandoned_messages: u64,
}

#[derive(Debug)]
struct Chunk {
    message: u32,
    offset: u32,
    /// TSN that was next when this chunk was sent last: what is acknowledged from there on was
    /// sent later.
    mark: u32,
    length: u16,
    sends: u16,
    misses: u8,
    state: State,
    /// Acknowledged by the SACK at hand.
    fresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InFlight,
    /// Acknowledged by a gap block, which the peer might take back.
    Acked,
    /// To be sent again.
    Lost,
    /// To be skipped by FORWARD-TSN.
    Abandoned,
}

#[derive(Debug)]
struct InFlight {
    payload: Bytes,
    ppid: u32,
    stream: u16,
    ssn: u16,
    unordered: bool,
    abandoned: bool,
    max_retransmits: Option<u16>,
    lifetime: Lifetime,
}

impl InFlight {
    #[inline]
    fn is_skippable(&self) -> bool {
        !self.unordered && (self.max_retransmits.is_some() || self.lifetime.is_limited())
    }
}

/// What a SACK did.
#[derive(Debug, Default)]
pub(crate) struct Acked {
    /// The cumulative point moved.
    pub(crate) advanced: bool,
    /// Chunk bytes newly acknowledged.
    pub(crate) bytes: usize,
    pub(crate) rtt: Option<Duration>,
    /// Chunks were found lost.
    pub(crate) loss: bool,
}

/// A chunk to be sent for the first time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutgoingChunk {
    pub(crate) index: usize,
    pub(crate) stream: u16,
    /// User bytes.
    pub(crate) length: usize,
    /// It is the first of its message.
    pub(crate) first: bool,
    /// It is the last of its message.
    pub(crate) last: bool,
}

impl Outstanding {
    pub(crate) fn new(initial_tsn: u32) -> Self {
        Self {
            base: initial_tsn,
            chunks: VecDeque::new(),
            first_message: 0,
            messages: VecDeque::new(),
            skippable: 0,
            open: None,
            flight: 0,
            lost: 0,
            lost_from: 0,
            abandoned: 0,
            timed: None,
            can_abandon: true,
            given_up: Vec::new(),
            abandoned_messages: 0,
        }
    }

    /// The TSN that the next new chunk gets.
    #[inline]
    pub(crate) fn next_tsn(&self) -> u32 {
        self.base.wrapping_add(self.chunks.len() as u32)
    }

    /// Everything up to this TSN is acknowledged.
    pub(crate) fn cumulative(&self) -> u32 {
        self.base.wrapping_sub(1)
    }

    #[inline]
    pub(crate) fn flight(&self) -> usize {
        self.flight
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Chunks that are not yet acknowledged cumulatively.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.chunks.len()
    }

    /// True when another new chunk may be added: gap blocks can tell of 65535 TSNs.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.chunks.len() < MAX_CHUNKS
    }

    #[inline]
    pub(crate) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Stream of the message that is sent in part.
    #[inline]
    pub(crate) fn open_stream(&self) -> Option<u16> {
        self.open?;
        self.messages.back().map(|message| message.stream)
    }

    /// Starts a message; [`push_chunk`](Self::push_chunk) follows.
    #[inline]
    pub(crate) fn begin(&mut self, stream: u16, ssn: u16, message: Queued) {
        debug_assert!(self.open.is_none());
        let Queued {
            payload,
            ppid,
            unordered,
            max_retransmits,
            lifetime,
        } = message;
        let ssn = if unordered { 0 } else { ssn };
        let message = InFlight {
            payload,
            ppid,
            stream,
            ssn,
            unordered,
            abandoned: false,
            max_retransmits,
            lifetime,
        };
        self.skippable += usize::from(message.is_skippable());
        self.messages.push_back(message);
        self.open = Some(0);
    }

    /// Bytes of the open message that are not yet sent.
    #[inline]
    pub(crate) fn open_bytes(&self) -> usize {
        match (self.open, self.messages.back()) {
            (Some(offset), Some(message)) => message.payload.len().saturating_sub(offset),
            _ => 0,
        }
    }

    /// Assigns a TSN to the next at most `max` bytes of the open message.
    #[inline]
    pub(crate) fn push_chunk(&mut self, max: usize, now: Instant) -> Option<OutgoingChunk> {
        let offset = self.open?;
        let message = self.messages.back()?;
        let left = message.payload.len().saturating_sub(offset);
        let length = left.min(max);
        let stream = message.stream;
        let last = length == left;
        let tsn = self.next_tsn();
        self.chunks.push_back(Chunk {
            message: self
                .first_message
                .wrapping_add(self.messages.len() as u32 - 1),
            offset: offset as u32,
            mark: tsn.wrapping_add(1),
            length: length as u16,
            sends: 1,
            misses: 0,
            state: State::InFlight,
            fresh: false,
        });
        self.flight += chunk_size(length);
        self.open = if last { None } else { Some(offset + length) };
        if self.timed.is_none() {
            self.timed = Some((tsn, now));
        }
        let index = self.chunks.len() - 1;
        Some(OutgoingChunk {
            index,
            stream,
            length,
            first: offset == 0,
            last,
        })
    }

    /// The first lost chunk that is still worth sending, and its user bytes.
    pub(crate) fn next_lost(&mut self, now: Instant) -> Option<(usize, usize)> {
        while self.lost > 0 {
            let (index, chunk) = self
                .chunks
                .iter()
                .enumerate()
                .skip(self.lost_from)
                .find(|(_, chunk)| chunk.state == State::Lost)?;
            let (message, length) = (chunk.message, usize::from(chunk.length));
            self.lost_from = index;
            if self.can_abandon
                && self
                    .message(message)
                    .is_some_and(|message| message.lifetime.expired(now))
            {
                self.abandon(message);
                continue;
            }
            return Some((index, length));
        }
        None
    }

    /// A lost chunk goes out again.
    pub(crate) fn resend(&mut self, index: usize) {
        let mark = self.next_tsn();
        let Some(chunk) = self.chunks.get_mut(index) else {
            return;
        };
        debug_assert_eq!(chunk.state, State::Lost);
        chunk.state = State::InFlight;
        chunk.sends = chunk.sends.saturating_add(1);
        chunk.misses = 0;
        chunk.mark = mark;
        self.flight += chunk_size(chunk.length.into());
        self.lost -= 1;
        self.lost_from = index + 1;
    }

    /// The chunk as it goes on the wire.
    #[inline]
    pub(crate) fn data(&self, index: usize) -> Option<Data<'_>> {
        let chunk = self.chunks.get(index)?;
        let message = self.message(chunk.message)?;
        let offset = chunk.offset as usize;
        let end = offset + usize::from(chunk.length);
        Some(Data {
            immediate: false,
            unordered: message.unordered,
            begin: offset == 0,
            end: end == message.payload.len(),
            tsn: self.base.wrapping_add(index as u32),
            stream: message.stream,
            ssn: message.ssn,
            ppid: message.ppid,
            payload: message.payload.get(offset..end)?,
        })
    }

    /// Gives the open message up if its lifetime is over.
    pub(crate) fn expire_open(&mut self, now: Instant) {
        let (Some(offset), Some(message)) = (self.open, self.messages.back()) else {
            return;
        };
        if !message.lifetime.expired(now) {
            return;
        }
        if offset == 0 {
            // Nothing of it was sent: nobody will miss it.
            self.given_up.push((message.stream, message.payload.len()));
            self.abandoned_messages += 1;
            let dropped = self.messages.pop_back();
            self.skippable -= usize::from(dropped.is_some_and(|it| it.is_skippable()));
            self.open = None;
        } else if self.can_abandon {
            self.abandon(
                self.first_message
                    .wrapping_add(self.messages.len() as u32 - 1),
            );
        }
    }

    /// Takes a SACK in; `None` when it is old or acknowledges what was never sent. `recovering`
    /// says that a Fast Recovery goes on.
    pub(crate) fn acknowledge(
        &mut self,
        cumulative: u32,
        gaps: impl Iterator<Item = (u16, u16)>,
        max_chunk: usize,
        recovering: bool,
        now: Instant,
    ) -> Option<Acked> {
        let count = cumulative.wrapping_sub(self.cumulative()) as usize;
        if count > self.chunks.len() {
            return None;
        }
        let mut acked = Acked {
            advanced: count > 0,
            ..Acked::default()
        };
        if let Some((tsn, sent)) = self.timed
            && (tsn.wrapping_sub(self.base) as usize) < count
        {
            acked.rtt = Some(now.saturating_duration_since(sent));
            self.timed = None;
        }
        for chunk in self.chunks.drain(..count) {
            let size = chunk_size(chunk.length.into());
            match chunk.state {
                State::InFlight => {
                    self.flight -= size;
                    acked.bytes += size;
                }
                State::Lost => {
                    self.lost -= 1;
                    acked.bytes += size;
                }
                State::Acked => {}
                State::Abandoned => self.abandoned -= 1,
            }
        }
        if count > 0 {
            self.base = self.base.wrapping_add(count as u32);
            self.lost_from = self.lost_from.saturating_sub(count);
            self.release_messages();
        }
        if self
            .chunks
            .front()
            .is_some_and(|chunk| chunk.state == State::Acked)
        {
            self.unacknowledge();
        }
        self.acknowledge_gaps(gaps, &mut acked, max_chunk, recovering, now);
        Some(acked)
    }

    /// T3-rtx expired: everything in flight is lost (§6.3.3, E3).
    pub(crate) fn time_out(&mut self) {
        for index in 0..self.chunks.len() {
            if self
                .chunks
                .get(index)
                .is_some_and(|chunk| chunk.state == State::InFlight)
            {
                self.lose(index);
            }
        }
    }

    /// What FORWARD-TSN shall say now: the new cumulative TSN, and for ordered messages the highest
    /// SSN skipped in each of at most `max_streams` streams.
    pub(crate) fn forward_point(&self, max_streams: usize) -> Option<(u32, Vec<(u16, u16)>)> {
        let mut point = None;
        let mut streams: Vec<(u16, u16)> = Vec::new();
        for (index, chunk) in self.chunks.iter().enumerate() {
            match chunk.state {
                // It has come and needs no skip.
                State::Acked => continue,
                State::Abandoned => {}
                State::InFlight | State::Lost => break,
            }
            let Some(message) = self.message(chunk.message) else {
                break;
            };
            if !message.unordered {
                match streams
                    .iter()
                    .position(|&(stream, _)| stream == message.stream)
                {
                    Some(at) => {
                        streams.swap_remove(at);
                    }
                    None if streams.len() == max_streams => break,
                    None => {}
                }
                streams.push((message.stream, message.ssn));
            }
            point = Some(self.base.wrapping_add(index as u32));
        }
        Some((point?, streams))
    }

    /// Whether a FORWARD-TSN may name the stream, now or later: an ordered message of it is not
    /// acknowledged and may be given up.
    pub(crate) fn may_skip(&self, stream: u16) -> bool {
        self.can_abandon
            && self.skippable > 0
            && self
                .messages
                .iter()
                .any(|message| message.stream == stream && message.is_skippable())
    }

    /// True when the peer is to be told to skip something.
    #[inline]
    pub(crate) fn needs_forward(&self) -> bool {
        self.abandoned > 0
            && self
                .chunks
                .front()
                .is_some_and(|chunk| chunk.state == State::Abandoned)
    }

    /// Gives memory back that nothing needs at the moment.
    pub(crate) fn shrink(&mut self) {
        if self.chunks.is_empty() && self.messages.is_empty() {
            self.chunks = VecDeque::new();
            self.messages = VecDeque::new();
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.capacity() + self.messages.capacity()
    }

    /// Checks that the sums agree with the ring.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let count = |state| {
            self.chunks
                .iter()
                .filter(|chunk| chunk.state == state)
                .count()
        };
        assert_eq!(self.lost, count(State::Lost));
        assert_eq!(self.abandoned, count(State::Abandoned));
        let skippable = self
            .messages
            .iter()
            .filter(|message| message.is_skippable());
        assert_eq!(self.skippable, skippable.count());
        let flying = self
            .chunks
            .iter()
            .filter(|chunk| chunk.state == State::InFlight);
        let flight: usize = flying.map(|chunk| chunk_size(chunk.length.into())).sum();
        assert_eq!(self.flight, flight);
        let lost_before = self.chunks.iter().take(self.lost_from);
        assert!(
            lost_before
                .into_iter()
                .all(|chunk| chunk.state != State::Lost)
        );
        assert!(self.chunks.iter().all(|chunk| !chunk.fresh));
        assert!(
            self.chunks
                .iter()
                .all(|chunk| self.message(chunk.message).is_some())
        );
        // A message is given up as a whole, but for what has come.
        assert!(self.chunks.iter().all(|chunk| {
            let abandoned = self.message(chunk.message).is_some_and(|it| it.abandoned);
            match chunk.state {
                State::Acked => true,
                State::Abandoned => abandoned,
                State::InFlight | State::Lost => !abandoned,
            }
        }));
    }

    #[inline]
    fn message(&self, number: u32) -> Option<&InFlight> {
        self.messages
            .get(number.wrapping_sub(self.first_message) as usize)
    }

    /// Drops messages of which nothing is outstanding or to be sent.
    #[inline]
    fn release_messages(&mut self) {
        let keep = match self.chunks.front() {
            Some(chunk) => chunk.message.wrapping_sub(self.first_message) as usize,
            None => self.messages.len() - usize::from(self.open.is_some()),
        };
        let released = self.messages.drain(..keep.min(self.messages.len()));
        self.skippable -= released.filter(InFlight::is_skippable).count();
        self.first_message = self.first_message.wrapping_add(keep as u32);
    }

    /// The peer has taken gap acknowledgements back (it reports a TSN missing that it had).
    fn unacknowledge(&mut self) {
        let first = self.first_message;
        for chunk in &mut self.chunks {
            if chunk.state != State::Acked {
                continue;
            }
            let message = self
                .messages
                .get(chunk.message.wrapping_sub(first) as usize);
            if message.is_some_and(|message| message.abandoned) {
                chunk.state = State::Abandoned;
                self.abandoned += 1;
            } else {
                chunk.state = State::Lost;
                self.lost += 1;
            }
        }
        self.lost_from = 0;
    }

    fn acknowledge_gaps(
        &mut self,
        gaps: impl Iterator<Item = (u16, u16)>,
        acked: &mut Acked,
        max_chunk: usize,
        recovering: bool,
        now: Instant,
    ) {
        let mut from = 1;
        // Index after the highest chunk that this SACK acknowledges first, or at all.
        let (mut newly, mut top) = (0, 0);
        for (start, end) in gaps {
            // Offsets count from the cumulative TSN, so index 0 is offset 1, which is missing.
            let (start, end) = (usize::from(start).saturating_sub(1), usize::from(end));
            if start < 1 || start >= end || end > self.chunks.len() {
                continue;
            }
            let start = start.max(from);
            for (index, chunk) in self.chunks.range_mut(start.min(end)..end).enumerate() {
                let size = chunk_size(chunk.length.into());
                match chunk.state {
                    State::InFlight => self.flight -= size,
                    State::Lost => self.lost -= 1,
                    State::Acked | State::Abandoned => continue,
                }
                chunk.state = State::Acked;
                chunk.fresh = true;
                acked.bytes += size;
                newly = newly.max(start + index + 1);
            }
            from = from.max(end);
            top = top.max(end);
        }
        if let Some((tsn, sent)) = self.timed
            && let Some(chunk) = self.chunks.get(tsn.wrapping_sub(self.base) as usize)
            && chunk.fresh
        {
            acked.rtt = Some(now.saturating_duration_since(sent));
            self.timed = None;
        }
        let every = recovering && acked.advanced;
        let reach = if every { top } else { newly };
        if reach > 0 {
            acked.loss = self.count_misses(reach, every, max_chunk);
        }
    }

    /// Counts a miss for every chunk below the highest one newly acknowledged (HTNA, §7.2.4), and
    /// marks those lost that were missed three times.
    ///
    /// One SACK may report a batch of packets: a chunk below three packets' worth of newly
    /// acknowledged data was missed three times. For a chunk that was sent again only what was sent
    /// after that counts, and by that it may be found lost again.
    fn count_misses(&mut self, reach: usize, every: bool, max_chunk: usize) -> bool {
        let highest = self.base.wrapping_add(reach as u32 - 1);
        let mut above = 0;
        let mut lost: SmallVec<[usize; 16]> = SmallVec::new();
        for (index, chunk) in self.chunks.range_mut(..reach).enumerate().rev() {
            if std::mem::take(&mut chunk.fresh) {
                above += chunk_size(chunk.length.into());
                continue;
            }
            // Chunks up to the highest that were sent after this one.
            let later = highest.wrapping_sub(chunk.mark).wrapping_add(1) as i32;
            if chunk.state != State::InFlight || later <= 0 || (above == 0 && !every) {
                continue;
            }
            let misses = (above / max_chunk)
                .min(later as usize)
                .clamp(1, MISSES.into());
            chunk.misses = chunk.misses.saturating_add(misses as u8);
            if chunk.misses >= MISSES {
                lost.push(index);
            }
        }
        // From the lowest on, so that messages are abandoned in order.
        for &index in lost.iter().rev() {
            if self
                .chunks
                .get(index)
                .is_some_and(|chunk| chunk.state == State::InFlight)
            {
                self.lose(index);
            }
        }
        !lost.is_empty()
    }

    /// A chunk in flight is lost: it is sent again, or its message is given up.
    fn lose(&mut self, index: usize) {
        let Some(chunk) = self.chunks.get_mut(index) else {
            return;
        };
        self.flight -= chunk_size(chunk.length.into());
        chunk.state = State::Lost;
        chunk.misses = 0;
        let (number, resends) = (chunk.message, chunk.sends - 1);
        self.lost += 1;
        self.lost_from = self.lost_from.min(index);
        if self
            .timed
            .is_some_and(|(tsn, _)| tsn == self.base.wrapping_add(index as u32))
        {
            self.timed = None;
        }
        let exhausted = self
            .message(number)
            .is_some_and(|message| message.max_retransmits.is_some_and(|max| resends >= max));
        if exhausted && self.can_abandon {
            self.abandon(number);
        }
    }

    /// Gives a message up (RFC 3758 §3.5). If a part of it was never sent, one more
    /// TSN stands for that part, so that there is something to skip behind fragments which the
    /// peer may have in full.
    fn abandon(&mut self, number: u32) {
        let at = number.wrapping_sub(self.first_message) as usize;
        let last = at + 1 == self.messages.len();
        let Some(message) = self.messages.get_mut(at) else {
            return;
        };
        if message.abandoned {
            return;
        }
        message.abandoned = true;
        self.abandoned_messages += 1;
        if last && let Some(offset) = self.open.take() {
            let unsent = message.payload.len().saturating_sub(offset);
            self.given_up.push((message.stream, unsent));
            self.chunks.push_back(Chunk {
                message: number,
                offset: offset as u32,
                mark: 0,
                length: 0,
                sends: 1,
                misses: 0,
                state: State::Abandoned,
                fresh: false,
            });
            self.abandoned += 1;
        }
        let first = self.first_message;
        let start = self
            .chunks
            .partition_point(|chunk| (chunk.message.wrapping_sub(first) as usize) < at);
        for chunk in self.chunks.range_mut(start..) {
            if chunk.message != number {
                break;
            }
            match chunk.state {
                State::InFlight => self.flight -= chunk_size(chunk.length.into()),
                State::Lost => self.lost -= 1,
                State::Acked | State::Abandoned => continue,
            }
            chunk.state = State::Abandoned;
            self.abandoned += 1;
        }
        if let Some((tsn, _)) = self.timed
            && self
                .chunks
                .get(tsn.wrapping_sub(self.base) as usize)
                .is_some_and(|chunk| chunk.state == State::Abandoned)
        {
            self.timed = None;
        }
    }
}

/// Bytes of a DATA chunk with so much user data.
#[inline]
pub(crate) fn chunk_size(length: usize) -> usize {
    padded(DATA_HEADER_LEN + length)
}

const MAX_CHUNKS: usize = 0xff00;
/// Missing reports that make a chunk lost (§7.2.4).
const MISSES: u8 = 3;
