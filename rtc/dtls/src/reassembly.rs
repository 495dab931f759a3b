//! Handshake messages from fragments that come overlapping, twice or out of order (RFC 6347 section
//! 4.2.3), with a bound on what is kept.

use std::collections::VecDeque;

use rtc_shared::Writer;

use crate::message::{Fragment, MESSAGE_HEADER_LEN};

/// The messages of the peer that are not complete or whose turn has not come.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    /// message_seq of the message that is to be handled next.
    next: u16,
    /// Slot `i` is for message `next + i`.
    slots: VecDeque<Option<Partial>>,
    /// Bytes held in all slots.
    held: usize,
}

/// A message that has come whole.
pub(crate) struct Assembled {
    /// Header as if unfragmented, and body.
    pub(crate) raw: Vec<u8>,
    pub(crate) protected: bool,
}

/// Why a fragment was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Longer than what is kept, too far ahead or too scattered.
    TooMuch,
    /// Type or length differ from an earlier fragment of the same message.
    Conflict,
}

#[derive(Debug)]
struct Partial {
    kind: u8,
    length: u32,
    protected: bool,
    conflicts: u8,
    /// Sorted, neither overlapping nor touching.
    chunks: Vec<Chunk>,
}

#[derive(Debug)]
struct Chunk {
    start: usize,
    bytes: Vec<u8>,
}

impl Reassembly {
    /// message_seq of the message that is to be handled next.
    pub(crate) fn next(&self) -> u16 {
        self.next
    }

    /// The next message was handled.
    pub(crate) fn advance(&mut self) {
        self.next = self.next.saturating_add(1);
        if let Some(Some(partial)) = self.slots.pop_front() {
            self.held -= partial.held();
        }
    }

    /// True when nothing is kept of the next message, so that a whole one can be handled where it lies.
    pub(crate) fn is_clear(&self) -> bool {
        !matches!(self.slots.front(), Some(Some(_)))
    }

    /// Keeps a fragment of the next or a later message.
    pub(crate) fn insert(
        &mut self,
        fragment: &Fragment<'_>,
        protected: bool,
    ) -> Result<(), Refused> {
        let ahead = usize::from(fragment.message_seq.saturating_sub(self.next));
        if ahead >= LOOK_AHEAD || fragment.length as usize > MAX_HELD {
            return Err(Refused::TooMuch);
        }
        while self.slots.len() <= ahead {
            self.slots.push_back(None);
        }
        // What is due first has the first claim on the space.
        while self.held + fragment.data.len() > MAX_HELD && self.slots.len() > ahead + 1 {
            self.held -= self
                .slots
                .pop_back()
                .flatten()
                .map_or(0, |partial| partial.held());
        }
        if self.held + fragment.data.len() > MAX_HELD {
            return Err(Refused::TooMuch);
        }
        let Some(slot) = self.slots.get_mut(ahead) else {
            return Err(Refused::TooMuch);
        };
        let before = slot.as_ref().map_or(0, Partial::held);
        let outcome = match slot {
            Some(partial) => partial.insert(fragment, protected),
            None => {
                let mut partial = Partial::new(fragment, protected);
                let outcome = partial.insert(fragment, protected);
                *slot = Some(partial);
                outcome
            }
        };
        let after = slot.as_ref().map_or(0, Partial::held);
        self.held = self.held + after - before;
        outcome
    }

    /// Takes the next message out when it is whole; [`advance`](Self::advance) says it was handled.
    pub(crate) fn take(&mut self) -> Option<Assembled> {
        let slot = self.slots.front_mut()?;
        if !slot.as_ref().is_some_and(Partial::is_whole) {
            return None;
        }
        let partial = slot.take()?;
        self.held -= partial.held();
        Some(partial.into_assembled(self.next))
    }
}

impl Partial {
    fn new(fragment: &Fragment<'_>, protected: bool) -> Self {
        let (kind, length) = (fragment.kind, fragment.length);
        Self {
            kind,
            length,
            protected,
            conflicts: 0,
            chunks: Vec::new(),
        }
    }

    fn held(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.len()).sum()
    }

    fn is_whole(&self) -> bool {
        self.length == 0 || self.held() == self.length as usize
    }

    fn insert(&mut self, fragment: &Fragment<'_>, protected: bool) -> Result<(), Refused> {
        if (self.kind, self.length, self.protected) != (fragment.kind, fragment.length, protected) {
            // Authenticated bytes win over others; among equals the first one, unless it alone is the
            // odd one out.
            self.conflicts = self.conflicts.saturating_add(1);
            let overruled = protected || (!self.protected && self.conflicts > MAX_CONFLICTS);
            if !overruled || self.protected {
                return Err(Refused::Conflict);
            }
            *self = Self::new(fragment, protected);
        }
        self.fill(fragment.offset as usize, fragment.data)
    }

    /// Copies those bytes that are still missing.
    fn fill(&mut self, mut offset: usize, mut data: &[u8]) -> Result<(), Refused> {
        let mut at = 0;
        while !data.is_empty() {
            while self
                .chunks
                .get(at)
                .is_some_and(|chunk| chunk.end() < offset)
            {
                at += 1;
            }
            let next_start = |chunks: &[Chunk], at: usize| {
                chunks.get(at).map_or(usize::MAX, |chunk| chunk.start)
            };
            let limit = next_start(&self.chunks, at + 1);
            match self.chunks.get_mut(at) {
                Some(chunk) if chunk.start <= offset => {
                    let end = chunk.end();
                    let fresh = data.get(end - offset..).unwrap_or_default();
                    let (fresh, rest) = fresh.split_at_checked(limit - end).unwrap_or((fresh, &[]));
                    chunk.bytes.put(fresh);
                    offset = end + fresh.len();
                    data = rest;
                    self.join(at);
                }
                _ => {
                    if self.chunks.len() == MAX_CHUNKS {
                        return Err(Refused::TooMuch);
                    }
                    let limit = next_start(&self.chunks, at) - offset;
                    let (fresh, rest) = data.split_at_checked(limit).unwrap_or((data, &[]));
                    self.chunks.insert(
                        at,
                        Chunk {
                            start: offset,
                            bytes: fresh.to_vec(),
                        },
                    );
                    offset += fresh.len();
                    data = rest;
                    self.join(at);
                }
            }
        }
        Ok(())
    }

    /// Joins chunk `at` with the one after it when they touch.
    fn join(&mut self, at: usize) {
        let end = self.chunks.get(at).map(Chunk::end);
        if end.is_some() && self.chunks.get(at + 1).map(|chunk| chunk.start) == end {
            let next = self.chunks.remove(at + 1);
            if let Some(chunk) = self.chunks.get_mut(at) {
                chunk.bytes.put(&next.bytes);
            }
        }
    }

    fn into_assembled(self, message_seq: u16) -> Assembled {
        let body = self.chunks.first().map_or(&[][..], |chunk| &chunk.bytes);
        let mut raw = Vec::with_capacity(MESSAGE_HEADER_LEN + body.len());
        let (kind, length) = (self.kind, self.length);
        Fragment {
            kind,
            length,
            message_seq,
            offset: 0,
            data: body,
            raw: &[],
        }
        .write(&mut raw);
        Assembled {
            raw,
            protected: self.protected,
        }
    }
}

impl Chunk {
    fn end(&self) -> usize {
        self.start + self.bytes.len()
    }
}

/// Bytes kept in all; the longest flight of a browser is under 4 kB.
const MAX_HELD: usize = 64 * 1024;

/// Messages kept ahead; the longest flight has seven.
const LOOK_AHEAD: usize = 16;

/// Gaps in one message; fragments that come in order make none.
const MAX_CHUNKS: usize = 128;

/// How often a fragment may be contradicted before the contradiction is believed.
const MAX_CONFLICTS: u8 = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fragment<'a>(message: &'a [u8], seq: u16, range: std::ops::Range<usize>) -> Fragment<'a> {
        Fragment {
            kind: 11,
            length: message.len() as u32,
            message_seq: seq,
            offset: range.start as u32,
            data: &message[range],
            raw: &[],
        }
    }

    proptest! {
        #[test]
        fn any_cover_in_any_order_gives_the_message(
            message in prop::collection::vec(any::<u8>(), 1..400),
            cuts in prop::collection::vec((0.0f64..1.0, 0.0f64..1.0), 0..60),
            step in 1usize..80,
        ) {
            let mut reassembly = Reassembly::default();
            let length = message.len();
            for (a, b) in cuts {
                let (a, b) = ((a * length as f64) as usize, (b * length as f64) as usize);
                let range = a.min(b)..a.max(b) + 1;
                prop_assert_eq!(reassembly.insert(&fragment(&message, 0, range), false), Ok(()));
                prop_assert!(reassembly.held <= length);
            }
            let mut starts: Vec<usize> = (0..length).step_by(step).collect();
            starts.reverse();
            for start in starts {
                let range = start..(start + step).min(length);
                // 400 fragments in reverse order stay one chunk.
                prop_assert_eq!(reassembly.insert(&fragment(&message, 0, range), false), Ok(()));
            }
            let whole = reassembly.take().unwrap();
            prop_assert_eq!(&whole.raw[12..], &message[..]);
            prop_assert_eq!(reassembly.held, 0);
            reassembly.advance();
            prop_assert_eq!(reassembly.next(), 1);
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_next_message_has_the_first_claim() {
        let mut reassembly = Reassembly::default();
        let big = vec![7; 30_000];
        for seq in [1, 2, 3] {
            let _ = reassembly.insert(&fragment(&big, seq, 0..29_999), false);
        }
        assert!(reassembly.held <= MAX_HELD);
        assert_eq!(
            reassembly.insert(&fragment(&big, 0, 0..30_000), false),
            Ok(())
        );
        assert!(reassembly.held <= MAX_HELD);
        assert_eq!(reassembly.take().unwrap().raw.len(), 30_012);
        assert_eq!(
            reassembly.insert(&fragment(&big, 16, 0..1), false),
            Err(Refused::TooMuch),
            "beyond the look-ahead"
        );
        let huge = Fragment {
            length: 0xff_ffff,
            ..fragment(&big, 0, 0..1)
        };
        assert_eq!(reassembly.insert(&huge, false), Err(Refused::TooMuch));
    }

    #[test]
    fn scattered_fragments_are_bounded() {
        let mut reassembly = Reassembly::default();
        let message = vec![0; 2000];
        let refused = (0..1000)
            .filter(|i| {
                reassembly
                    .insert(&fragment(&message, 0, 2 * i..2 * i + 1), false)
                    .is_err()
            })
            .count();
        assert_eq!(refused, 1000 - MAX_CHUNKS);
    }

    #[test]
    fn a_contradicted_fragment_is_replaced_in_the_end() {
        let mut reassembly = Reassembly::default();
        let forged = vec![1; 9];
        let genuine = vec![2; 20];
        reassembly
            .insert(&fragment(&forged, 0, 0..5), false)
            .unwrap();
        for _ in 0..MAX_CONFLICTS {
            let refused = reassembly.insert(&fragment(&genuine, 0, 0..20), false);
            assert_eq!(refused, Err(Refused::Conflict));
        }
        reassembly
            .insert(&fragment(&genuine, 0, 0..20), false)
            .unwrap();
        assert_eq!(&reassembly.take().unwrap().raw[12..], &genuine[..]);
    }

    #[test]
    fn a_protected_fragment_replaces_plain_ones_at_once() {
        let mut reassembly = Reassembly::default();
        let message = vec![3; 12];
        reassembly
            .insert(&fragment(&[9; 12], 0, 0..4), false)
            .unwrap();
        reassembly
            .insert(&fragment(&message, 0, 0..12), true)
            .unwrap();
        let plain = reassembly.insert(&fragment(&[9; 12], 0, 0..4), false);
        assert_eq!(plain, Err(Refused::Conflict));
        let whole = reassembly.take().unwrap();
        assert!(whole.protected);
        assert_eq!(&whole.raw[12..], &message[..]);
    }
}
