//! Messages that wait to be sent for the first time, stream by stream.
//!
//! Whole messages are taken in turn by weighted fair queueing: a stream's share grows with its
//! priority (RFC 8831 §6.4 has 128, 256, 512 and 1024). A message of DATA chunks cannot be
//! interleaved with another, so the turn changes only between messages.
//!
//! The peer's window is one for all streams, and a stream whose reader has stopped would fill it and
//! stop the others. So each stream may occupy only so much of it as bears a proportion to what is
//! left free (dynamic thresholds, as switches share their buffers among ports). What a stream
//! occupies is reckoned from what was sent on it and how the window moves since.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) payload: Bytes,
    pub(crate) ppid: u32,
    pub(crate) unordered: bool,
    pub(crate) max_retransmits: Option<u16>,
    pub(crate) lifetime: Lifetime,
}

/// Until when a message is worth sending.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lifetime {
    Unlimited,
    /// Counted from the next moment at which the time is known.
    Unstamped(Duration),
    Until(Instant),
}

impl Lifetime {
    pub(crate) fn is_limited(self) -> bool {
        !matches!(self, Self::Unlimited)
    }

    pub(crate) fn expired(self, now: Instant) -> bool {
        matches!(self, Self::Until(end) if end <= now)
    }
}

/// The peer's receive window in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerWindow {
    /// What may still be sent.
    pub(crate) free: usize,
    /// What is on its way or unread.
    pub(crate) occupied: usize,
}

/// How far the reset of our direction of a stream is (RFC 6525 §5.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Open,
    /// Queued messages go first.
    Draining,
    /// A request waits or is out.
    Requested,
    /// The peer has done it; it has not yet reset its own direction.
    Reset,
}

#[derive(Debug)]
struct OutStream {
    messages: VecDeque<Queued>,
    /// How many were queued since lifetimes were last started, or more.
    fresh: usize,
    /// Payload bytes in `messages` and in the unsent part of the message being sent.
    buffered: usize,
    /// Bytes that are on their way or, as far as can be told, unread at the peer.
    charge: usize,
    low_threshold: usize,
    /// Virtual time at which the last message was done.
    finish: u64,
    priority: u16,
    next_ssn: u16,
    phase: Phase,
    /// It has an entry in `active`.
    active: bool,
    /// `send` failed for want of room.
    blocked: bool,
}

/// All messages that wait.
#[derive(Debug)]
pub(crate) struct SendQueue {
    streams: BTreeMap<u16, Box<OutStream>>,
    /// Streams with messages by the virtual time at which their next one would be done.
    active: BinaryHeap<Reverse<(u64, u16)>>,
    /// Entries of `active` whose streams occupy too much of the peer's window.
    parked: Vec<Reverse<(u64, u16)>>,
    /// Streams with a charge, and the sum of the charges.
    charged: Vec<u16>,
    charge: usize,
    virtual_time: u64,
    /// Payload bytes not yet sent the first time.
    buffered: usize,
    messages: usize,
    /// Streams with messages whose lifetime has not started.
    unstamped: Vec<u16>,
    /// Streams whose `send` failed for want of room.
    blocked: Vec<u16>,
    /// Queued messages with a lifetime.
    expiring: usize,
    purged_at: Option<Instant>,
    purged: u64,
}

impl SendQueue {
    pub(crate) fn new() -> Self {
        Self {
            streams: BTreeMap::new(),
            active: BinaryHeap::new(),
            parked: Vec::new(),
            charged: Vec::new(),
            charge: 0,
            virtual_time: 0,
            buffered: 0,
            messages: 0,
            unstamped: Vec::new(),
            blocked: Vec::new(),
            expiring: 0,
            purged_at: None,
            purged: 0,
        }
    }

    pub(crate) fn phase(&self, stream: u16) -> Phase {
        self.streams
            .get(&stream)
            .map_or(Phase::Open, |stream| stream.phase)
    }

    pub(crate) fn buffered(&self) -> usize {
        self.buffered
    }

    pub(crate) fn stream_buffered(&self, stream: u16) -> usize {
        self.streams
            .get(&stream)
            .map_or(0, |stream| stream.buffered)
    }

    /// True while a whole message waits that may go now.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        !self.active.is_empty()
    }

    /// True while whole messages wait for the peer to read.
    pub(crate) fn is_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// The peer's window has moved: what waited for that may have its turn.
    #[inline]
    pub(crate) fn unpark(&mut self) {
        self.active.extend(self.parked.drain(..));
    }

    /// Whether a message of `length` bytes can be queued without passing `total` or `per_stream`
    /// bytes; one that alone is longer is taken when nothing else waits. When there is no room, the
    /// stream is told when there is.
    #[inline]
    pub(crate) fn has_room(
        &mut self,
        id: u16,
        length: usize,
        total: usize,
        per_stream: usize,
    ) -> bool {
        let all = self.buffered + self.messages * OVERHEAD;
        let stream = self.streams.entry(id).or_default();
        let own = stream.buffered + stream.messages.len() * OVERHEAD;
        if (own > 0 && own + length > per_stream) || (all > 0 && all + length > total) {
            if !stream.blocked {
                stream.blocked = true;
                self.blocked.push(id);
            }
            return false;
        }
        true
    }

    /// Queues a message.
    #[inline]
    pub(crate) fn push(&mut self, id: u16, message: Queued) {
        let length = message.payload.len();
        let stream = self.streams.entry(id).or_default();
        if let Lifetime::Unstamped(_) = message.lifetime {
            self.expiring += 1;
            if self.unstamped.last() != Some(&id) {
                self.unstamped.push(id);
            }
        }
        stream.buffered += length;
        stream.fresh += 1;
        stream.messages.push_back(message);
        self.buffered += length;
        self.messages += 1;
        if !stream.active {
            stream.activate(id, self.virtual_time, &mut self.active);
        }
    }

    /// Starts the lifetimes of messages that were queued since the last call.
    pub(crate) fn stamp(&mut self, now: Instant) {
        for id in std::mem::take(&mut self.unstamped) {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            let fresh = std::mem::take(&mut stream.fresh);
            for message in stream.messages.iter_mut().rev().take(fresh) {
                if let Lifetime::Unstamped(lifetime) = message.lifetime {
                    // A time too far off to be reckoned with never comes.
                    message.lifetime = now
                        .checked_add(lifetime)
                        .map_or(message.lifetime, Lifetime::Until);
                }
            }
        }
    }

    #[inline]
    pub(crate) fn needs_stamp(&self) -> bool {
        !self.unstamped.is_empty()
    }

    /// Takes the message whose turn it is, with its stream and SSN. Its bytes still count as
    /// buffered until [`sent`](Self::sent). Streams that occupy too much of the peer's window are
    /// parked.
    #[inline]
    pub(crate) fn pop(&mut self, window: PeerWindow) -> Option<(u16, u16, Queued)> {
        loop {
            let entry = self.active.pop()?;
            let Reverse((finish, id)) = entry;
            let next = self.streams.get(&id).and_then(|it| it.messages.front());
            if let Some(next) = next {
                let length = next.payload.len() + OVERHEAD;
                if !self.may_occupy(id, length, window) {
                    self.parked.push(entry);
                    continue;
                }
            }
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            stream.active = false;
            let Some(message) = stream.messages.pop_front() else {
                continue;
            };
            let length = message.payload.len() + OVERHEAD;
            if stream.charge == 0 {
                self.charged.push(id);
            }
            stream.charge += length;
            self.charge += length;
            self.messages -= 1;
            self.expiring -= usize::from(message.lifetime.is_limited());
            self.virtual_time = self.virtual_time.max(finish);
            stream.finish = finish;
            if !stream.messages.is_empty() {
                stream.activate(id, self.virtual_time, &mut self.active);
            }
            let ssn = stream.next_ssn;
            return Some((id, ssn, message));
        }
    }

    /// Whether a stream may put `length` bytes more into the peer's window. A stream that occupies
    /// nothing always may.
    #[inline]
    fn may_occupy(&mut self, id: u16, length: usize, window: PeerWindow) -> bool {
        let left = window.free.saturating_sub(length);
        let fits = |streams: &BTreeMap<u16, Box<OutStream>>| {
            streams.get(&id).is_none_or(|stream| {
                stream.charge == 0 || stream.charge + length <= left.saturating_mul(SHARE)
            })
        };
        if self.charge > window.occupied + window.occupied / 2 || !fits(&self.streams) {
            self.settle(window.occupied);
        }
        fits(&self.streams)
    }

    /// Takes from the charges what the peer has read: together they are at most `occupied`. Who reads
    /// fast has little unread, so the smallest go first; a stream whose reader stopped keeps its own.
    fn settle(&mut self, occupied: usize) {
        let Some(mut read) = self.charge.checked_sub(occupied) else {
            return;
        };
        self.charge -= read;
        let streams = &mut self.streams;
        self.charged
            .sort_unstable_by_key(|id| streams.get(id).map_or(0, |stream| stream.charge));
        self.charged.retain(|id| {
            let Some(stream) = streams.get_mut(id) else {
                return false;
            };
            let part = read.min(stream.charge);
            stream.charge -= part;
            read -= part;
            stream.charge > 0
        });
    }

    /// The ordered message that [`pop`](Self::pop) gave was put on the wire with its SSN.
    #[inline]
    pub(crate) fn use_ssn(&mut self, id: u16) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.next_ssn = stream.next_ssn.wrapping_add(1);
        }
    }

    /// `bytes` of a stream were sent the first time, or given up. True when that brought the
    /// stream's buffered amount down to its threshold.
    #[inline]
    pub(crate) fn sent(&mut self, id: u16, bytes: usize) -> bool {
        self.buffered -= bytes.min(self.buffered);
        let Some(stream) = self.streams.get_mut(&id) else {
            return false;
        };
        let before = stream.buffered;
        stream.buffered -= bytes.min(before);
        before > stream.low_threshold && stream.buffered <= stream.low_threshold
    }

    /// Streams whose `send` failed and that have room again.
    pub(crate) fn take_writable(&mut self, total: usize, per_stream: usize) -> Vec<u16> {
        // Half of the room, so that a blocked writer does not wake up for every packet.
        if self.buffered + self.messages * OVERHEAD > total / 2 {
            return Vec::new();
        }
        let streams = &mut self.streams;
        self.blocked
            .extract_if(.., |id| {
                let Some(stream) = streams.get_mut(id) else {
                    return true;
                };
                let own = stream.buffered + stream.messages.len() * OVERHEAD;
                let room = own <= per_stream / 2;
                stream.blocked &= !room;
                room
            })
            .collect()
    }

    #[inline]
    pub(crate) fn has_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Drops messages whose lifetime is over; returns the streams whose buffered amount came down
    /// to the threshold by that. Looks through the queues once per moment at most.
    pub(crate) fn purge_expired(&mut self, now: Instant) -> Vec<u16> {
        let mut low = Vec::new();
        if self.expiring == 0 || self.purged_at == Some(now) {
            return low;
        }
        self.purged_at = Some(now);
        for (&id, stream) in &mut self.streams {
            let (count, bytes) = (stream.messages.len(), stream.buffered);
            stream.messages.retain(|message| {
                let keep = !message.lifetime.expired(now);
                if !keep {
                    stream.buffered -= message.payload.len();
                }
                keep
            });
            let gone = count - stream.messages.len();
            self.messages -= gone;
            self.expiring -= gone;
            self.purged += gone as u64;
            self.buffered -= bytes - stream.buffered;
            if bytes > stream.low_threshold && stream.buffered <= stream.low_threshold {
                low.push(id);
            }
        }
        low
    }

    /// How many messages were purged since the last call.
    pub(crate) fn take_purged(&mut self) -> u64 {
        std::mem::take(&mut self.purged)
    }

    pub(crate) fn set_priority(&mut self, id: u16, priority: u16) {
        self.streams.entry(id).or_default().priority = priority;
    }

    pub(crate) fn set_low_threshold(&mut self, id: u16, bytes: usize) {
        self.streams.entry(id).or_default().low_threshold = bytes;
    }

    pub(crate) fn set_phase(&mut self, id: u16, phase: Phase) {
        self.streams.entry(id).or_default().phase = phase;
    }

    /// True when no whole message of the stream waits.
    pub(crate) fn is_drained(&self, id: u16) -> bool {
        self.streams
            .get(&id)
            .is_none_or(|stream| stream.messages.is_empty())
    }

    /// Our direction was reset: the next message has SSN 0.
    pub(crate) fn reset_ssn(&mut self, id: u16) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.next_ssn = 0;
        }
    }

    /// Forgets a stream and what waits on it.
    pub(crate) fn remove(&mut self, id: u16) {
        let Some(stream) = self.streams.remove(&id) else {
            return;
        };
        self.messages -= stream.messages.len();
        let limited = stream
            .messages
            .iter()
            .filter(|message| message.lifetime.is_limited());
        self.expiring -= limited.count();
        self.buffered -= stream.buffered.min(self.buffered);
        self.blocked.retain(|&other| other != id);
        self.charged.retain(|&other| other != id);
        self.charge -= stream.charge;
        if stream.active {
            self.active.retain(|Reverse((_, other))| *other != id);
            self.parked.retain(|Reverse((_, other))| *other != id);
        }
    }

    /// Streams at or beyond `limit`.
    pub(crate) fn streams_from(&self, limit: u16) -> Vec<u16> {
        self.streams.range(limit..).map(|(&id, _)| id).collect()
    }

    /// Gives memory back that nothing needs at the moment.
    pub(crate) fn shrink(&mut self) {
        if self.messages == 0 {
            self.active = BinaryHeap::new();
            self.parked = Vec::new();
            self.unstamped = Vec::new();
        }
        for stream in self.streams.values_mut() {
            if stream.messages.is_empty() {
                stream.messages = VecDeque::new();
            }
        }
    }
}

impl OutStream {
    #[inline]
    fn activate(
        &mut self,
        id: u16,
        virtual_time: u64,
        active: &mut BinaryHeap<Reverse<(u64, u16)>>,
    ) {
        let Some(next) = self.messages.front() else {
            return;
        };
        let cost = ((next.payload.len() + OVERHEAD) as u64) << 10;
        let start = self.finish.max(virtual_time);
        active.push(Reverse((
            start + cost / u64::from(self.priority.max(1)),
            id,
        )));
        self.active = true;
    }
}

impl Default for OutStream {
    fn default() -> Self {
        Self {
            messages: VecDeque::new(),
            fresh: 0,
            buffered: 0,
            charge: 0,
            low_threshold: 0,
            finish: 0,
            priority: DEFAULT_PRIORITY,
            next_ssn: 0,
            phase: Phase::Open,
            active: false,
            blocked: false,
        }
    }
}

/// Bytes that a message counts for beside its payload.
const OVERHEAD: usize = 64;
/// How many times the free window a stream may occupy. A single one gets 8/9 of the window; behind
/// ten that are stuck there is 1/81 left.
const SHARE: usize = 8;
/// "Normal" (RFC 8831 §6.4).
const DEFAULT_PRIORITY: u16 = 256;
