//! The receiving side: from DATA chunks to messages that can be read.

mod inbox;
mod reassembly;
mod tsn;

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;

pub(crate) use reassembly::{Fragment, Meta, Violation};
pub(crate) use tsn::{Place, TsnTracker};

use self::inbox::{Inbox, Lane};
use self::reassembly::{Complete, OVERHEAD, Reassembly};
use crate::api::Message;
use crate::config::Config;

/// Everything that came and was not yet read.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) tsns: TsnTracker,
    reassembly: Reassembly,
    streams: BTreeMap<u16, InStream>,
    /// Ordered messages that wait for earlier ones, by stream and extended SSN. `None` stands for
    /// one that was too large.
    held: BTreeMap<(u16, u64), (u32, Option<BytesMut>)>,
    inbox: Inbox,
    notices: Notices,
    /// An incoming reset that waits for the TSNs before it (RFC 6525 §5.2.2).
    deferred: Option<Box<Deferred>>,
    /// Bytes of whole messages, with an overhead for each.
    stored: usize,
    window: usize,
    max_message: usize,
    /// Streams on which a message was too large.
    pub(crate) too_large: Vec<u16>,
    pub(crate) counters: Counters,
}

/// What is told apart from the messages of the inbox.
#[derive(Debug, Default)]
struct Notices {
    control_ppid: Option<u32>,
    control: VecDeque<Message>,
    /// Streams that became readable.
    readable: VecDeque<u16>,
}

/// What [`Receiver`] counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) orphans: u64,
}

/// The payload of a DATA chunk.
pub(crate) enum Payload<'a> {
    Owned(BytesMut),
    Borrowed(&'a [u8]),
}

#[derive(Debug, Default)]
struct InStream {
    /// SSN expected next; its low 16 bits are the one on the wire.
    next_ssn: u64,
    lane: Lane,
    discard: bool,
    /// It stands in [`Notices::readable`].
    noticed: bool,
}

#[derive(Debug)]
struct Deferred {
    last_tsn: u64,
    /// Empty for all.
    streams: Vec<u16>,
    /// Messages from beyond `last_tsn` on those streams: they belong to the time after the reset.
    parked: Vec<Complete>,
}

impl Receiver {
    pub(crate) fn new(config: &Config, initial_tsn: u32) -> Self {
        Self {
            tsns: TsnTracker::new(initial_tsn),
            reassembly: Reassembly::new(config.max_receive_message),
            streams: BTreeMap::new(),
            held: BTreeMap::new(),
            inbox: Inbox::default(),
            notices: Notices {
                control_ppid: config.control_ppid,
                ..Notices::default()
            },
            deferred: None,
            stored: 0,
            window: config.receive_window,
            max_message: config.max_receive_message,
            too_large: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Bytes that the peer may still send.
    pub(crate) fn window(&self) -> usize {
        self.window.saturating_sub(self.charge())
    }

    /// The whole window in bytes.
    pub(crate) fn window_size(&self) -> usize {
        self.window
    }

    fn charge(&self) -> usize {
        self.stored + self.reassembly.charge()
    }

    /// Whether `length` bytes more can be held. The overhead is ours, so a fair sender of tiny
    /// messages may come to lie somewhat above the window. What fills a gap is let in a little
    /// longer, for it may set free what waits behind the gap.
    pub(crate) fn has_room(&self, tsn: u64, length: usize) -> bool {
        let mut limit = 2 * self.window;
        if tsn < self.tsns.highest() {
            limit += self.max_message;
        }
        self.charge() + length + OVERHEAD <= limit
    }

    /// Takes in a chunk that [`TsnTracker::place`] found to be [`Place::Next`] or
    /// [`Place::Ahead`].
    #[inline]
    pub(crate) fn insert(
        &mut self,
        fragment: &Fragment,
        place: Place,
        payload: Payload<'_>,
    ) -> Result<(), Violation> {
        self.tsns.record(fragment.tsn);
        let whole = fragment.begin && fragment.end;
        if whole && (place == Place::Ahead || self.reassembly.between_messages()) {
            let payload = payload.into_owned();
            let fits = payload.len() <= self.max_message;
            self.complete(Complete {
                tsn: fragment.tsn,
                meta: fragment.meta,
                payload: fits.then_some(payload),
            });
        } else if place == Place::Ahead {
            if let Some(message) = self.reassembly.ahead(fragment, payload.into_owned())? {
                self.complete(message);
            }
        } else if let Some(message) = self.reassembly.in_order(fragment, payload.as_slice())? {
            self.complete(message);
        }
        if self.reassembly.has_runs() {
            self.absorb_runs()?;
        }
        Ok(())
    }

    /// Counts a TSN as received without its data.
    pub(crate) fn skip(&mut self, tsn: u64) -> Result<(), Violation> {
        self.tsns.record(tsn);
        self.absorb_runs()
    }

    /// FORWARD-TSN: everything up to `to` counts as received, and ordered messages of the given
    /// streams up to the given SSN as delivered.
    pub(crate) fn forward(
        &mut self,
        to: u64,
        skips: impl Iterator<Item = (u16, u16)>,
    ) -> Result<(), Violation> {
        self.reassembly.forward(to);
        self.tsns.forward(to);
        for (stream, ssn) in skips {
            let next = self.streams.entry(stream).or_default().next_ssn;
            let ahead = ssn.wrapping_sub(next as u16);
            if ahead < 0x8000 {
                self.skip_to(stream, next + u64::from(ahead) + 1);
            }
        }
        self.absorb_runs()
    }

    fn absorb_runs(&mut self) -> Result<(), Violation> {
        while let Some(message) = self.reassembly.absorb(self.tsns.cumulative())? {
            if let Some(message) = message {
                self.complete(message);
            }
        }
        self.counters.orphans += std::mem::take(&mut self.reassembly.orphans);
        Ok(())
    }

    #[inline]
    fn complete(&mut self, message: Complete) {
        if let Some(deferred) = &mut self.deferred
            && message.tsn > deferred.last_tsn
            && (deferred.streams.is_empty() || deferred.streams.contains(&message.meta.stream))
        {
            self.stored += message.payload.as_ref().map_or(0, BytesMut::len) + OVERHEAD;
            deferred.parked.push(message);
            return;
        }
        let Complete { meta, payload, .. } = message;
        if payload.is_none() {
            self.too_large.push(meta.stream);
        }
        let stream = self.streams.entry(meta.stream).or_default();
        if meta.unordered {
            if let Some(payload) = payload {
                self.stored += stream.accept(
                    &mut self.inbox,
                    &mut self.notices,
                    &mut self.counters,
                    meta,
                    payload,
                );
            }
            return;
        }
        match meta.ssn.wrapping_sub(stream.next_ssn as u16) {
            0 => {
                stream.next_ssn += 1;
                if let Some(payload) = payload {
                    self.stored += stream.accept(
                        &mut self.inbox,
                        &mut self.notices,
                        &mut self.counters,
                        meta,
                        payload,
                    );
                }
                if !self.held.is_empty() {
                    let next = self.streams.entry(meta.stream).or_default().next_ssn;
                    self.skip_to(meta.stream, next);
                }
            }
            ahead if ahead < 0x8000 => {
                let key = (meta.stream, stream.next_ssn + u64::from(ahead));
                let charge = payload.as_ref().map_or(0, BytesMut::len) + OVERHEAD;
                if let std::collections::btree_map::Entry::Vacant(entry) = self.held.entry(key) {
                    self.stored += charge;
                    entry.insert((meta.ppid, payload));
                } else {
                    self.counters.orphans += 1;
                }
            }
            _ => self.counters.orphans += 1,
        }
    }

    /// Delivers held messages before `next`, and from there as long as none is missing.
    fn skip_to(&mut self, id: u16, mut next: u64) {
        while let Some((&(_, ssn), _)) = self.held.range((id, 0)..=(id, next)).next() {
            let Some((ppid, payload)) = self.held.remove(&(id, ssn)) else {
                break;
            };
            next = next.max(ssn + 1);
            self.stored -= payload.as_ref().map_or(0, BytesMut::len) + OVERHEAD;
            if let Some(payload) = payload {
                let meta = Meta {
                    stream: id,
                    ssn: ssn as u16,
                    ppid,
                    unordered: false,
                };
                let stream = self.streams.entry(id).or_default();
                self.stored += stream.accept(
                    &mut self.inbox,
                    &mut self.notices,
                    &mut self.counters,
                    meta,
                    payload,
                );
            }
        }
        let stream = self.streams.entry(id).or_default();
        stream.next_ssn = stream.next_ssn.max(next);
    }

    /// The peer resets its direction of `streams` (all when empty). It is done when everything up
    /// to `last_tsn` has come; until then messages from beyond are parked.
    pub(crate) fn defer_reset(&mut self, last_tsn: u64, streams: Vec<u16>) {
        match &mut self.deferred {
            Some(deferred) => {
                deferred.last_tsn = last_tsn;
                deferred.streams = streams;
            }
            None => {
                let parked = Vec::new();
                self.deferred = Some(Box::new(Deferred {
                    last_tsn,
                    streams,
                    parked,
                }));
            }
        }
    }

    /// Last TSN and streams of the deferred reset, once it can be done.
    pub(crate) fn take_due_reset(&mut self) -> Option<(u32, Vec<u16>)> {
        let deferred = self.deferred.as_mut()?;
        (self.tsns.cumulative() >= deferred.last_tsn).then(|| {
            (
                deferred.last_tsn as u32,
                std::mem::take(&mut deferred.streams),
            )
        })
    }

    /// Resets streams: the next ordered message has SSN 0.
    pub(crate) fn reset_streams(&mut self, streams: &[u16]) {
        for &id in streams {
            // Whatever is still held had a predecessor that was abandoned.
            self.skip_to(id, u64::MAX >> 1);
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.next_ssn = 0;
                stream.discard = false;
                if stream.lane.bytes == 0 {
                    self.streams.remove(&id);
                }
            }
        }
        for message in self.deferred.take().map(|d| d.parked).unwrap_or_default() {
            self.stored -= message.payload.as_ref().map_or(0, BytesMut::len) + OVERHEAD;
            self.complete(message);
        }
    }

    /// All streams that anything came on.
    pub(crate) fn stream_ids(&self) -> Vec<u16> {
        self.streams.keys().copied().collect()
    }

    pub(crate) fn peek(&self) -> Option<u16> {
        self.inbox.peek()
    }

    pub(crate) fn read_stream(&mut self, id: u16) -> Option<Message> {
        let stream = self.streams.get_mut(&id)?;
        let message = self.inbox.pop(&mut stream.lane)?;
        self.stored -= message.payload.len() + OVERHEAD;
        Some(message)
    }

    pub(crate) fn read_control(&mut self) -> Option<Message> {
        let message = self.notices.control.pop_front()?;
        self.stored -= message.payload.len() + OVERHEAD;
        Some(message)
    }

    pub(crate) fn poll_readable(&mut self) -> Option<u16> {
        let id = self.notices.readable.pop_front()?;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.noticed = false;
        }
        Some(id)
    }

    pub(crate) fn readable(&self, id: u16) -> usize {
        self.streams.get(&id).map_or(0, |stream| stream.lane.bytes)
    }

    pub(crate) fn discard(&mut self, id: u16) {
        while self.read_stream(id).is_some() {}
        self.streams.entry(id).or_default().discard = true;
    }

    /// Gives memory back that nothing needs at the moment.
    pub(crate) fn shrink(&mut self) {
        self.inbox.shrink();
        if self.notices.control.is_empty() {
            self.notices.control = VecDeque::new();
        }
        if self.notices.readable.is_empty() {
            self.notices.readable = VecDeque::new();
        }
        self.tsns.shrink();
        self.too_large.shrink_to_fit();
    }

    #[cfg(test)]
    pub(crate) fn inbox_capacity(&self) -> usize {
        self.inbox.capacity()
    }

    /// The peer starts anew (RFC 9260 §5.2.4.1, action A); whole messages stay readable.
    pub(crate) fn restart(&mut self, initial_tsn: u32) {
        for id in self.stream_ids() {
            self.skip_to(id, u64::MAX >> 1);
        }
        self.tsns = TsnTracker::new(initial_tsn);
        self.reassembly = Reassembly::new(self.max_message);
        self.deferred = None;
        self.stored = 0;
        self.streams.retain(|_, stream| {
            stream.next_ssn = 0;
            stream.discard = false;
            stream.lane.bytes > 0
        });
        self.stored = self.streams.values().map(|stream| stream.lane.bytes).sum();
        self.stored += self.inbox.len() * OVERHEAD;
        self.stored += self
            .notices
            .control
            .iter()
            .map(|it| it.payload.len() + OVERHEAD)
            .sum::<usize>();
    }
}

impl InStream {
    /// Makes a message readable, unless nobody wants it; returns what it counts for.
    #[inline]
    fn accept(
        &mut self,
        inbox: &mut Inbox,
        notices: &mut Notices,
        counters: &mut Counters,
        meta: Meta,
        payload: BytesMut,
    ) -> usize {
        counters.messages += 1;
        counters.bytes += payload.len() as u64;
        let charge = payload.len() + OVERHEAD;
        let Meta {
            stream,
            ppid,
            unordered,
            ..
        } = meta;
        let message = Message {
            stream,
            ppid,
            payload,
            unordered,
        };
        if notices.control_ppid == Some(ppid) {
            notices.control.push_back(message);
            return charge;
        }
        if self.discard {
            return 0;
        }
        inbox.push(&mut self.lane, message);
        if !std::mem::replace(&mut self.noticed, true) {
            notices.readable.push_back(stream);
        }
        charge
    }
}

impl Payload<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Borrowed(bytes) => bytes,
        }
    }

    fn into_owned(self) -> BytesMut {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Borrowed(bytes) => BytesMut::from(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
