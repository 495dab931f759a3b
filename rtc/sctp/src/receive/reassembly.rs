//! Fragments to messages (RFC 9260 §6.9).
//!
//! Fragments of one message have consecutive TSNs and no other message lies between them. So at
//! most one message is open at the cumulative point: it grows in one buffer. Fragments beyond a
//! gap are kept as runs of consecutive TSNs and joined once, when a message is whole or the gap is
//! closed.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;

/// What a DATA chunk says about its payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment {
    pub(crate) tsn: u64,
    pub(crate) meta: Meta,
    pub(crate) begin: bool,
    pub(crate) end: bool,
}

/// What all fragments of a message share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) stream: u16,
    pub(crate) ssn: u16,
    /// That of the first fragment counts.
    pub(crate) ppid: u32,
    pub(crate) unordered: bool,
}

impl Meta {
    fn same_message(&self, other: &Self) -> bool {
        self.stream == other.stream
            && self.unordered == other.unordered
            && (self.unordered || self.ssn == other.ssn)
    }
}

/// A whole message.
#[derive(Debug)]
pub(crate) struct Complete {
    /// TSN of its last fragment.
    pub(crate) tsn: u64,
    pub(crate) meta: Meta,
    /// `None` when it was longer than the limit.
    pub(crate) payload: Option<BytesMut>,
}

/// Fragments that cannot follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) &'static str);

/// Partial messages.
#[derive(Debug)]
pub(crate) struct Reassembly {
    current: Option<Assembly>,
    /// Runs beyond the cumulative point by their first TSN.
    runs: BTreeMap<u64, Run>,
    max_message: usize,
    /// Length of the last message of several fragments: the next one is likely to be as long.
    hint: usize,
    charge: usize,
    /// Fragments whose beginning was skipped.
    pub(crate) orphans: u64,
}

/// The message that is open at the cumulative point.
#[derive(Debug)]
struct Assembly {
    meta: Meta,
    buffer: BytesMut,
    oversize: bool,
}

/// Consecutive fragments of one message.
#[derive(Debug)]
struct Run {
    meta: Meta,
    first: u64,
    next: u64,
    begins: bool,
    ends: bool,
    fragments: VecDeque<BytesMut>,
    bytes: usize,
    oversize: bool,
}

impl Reassembly {
    pub(crate) fn new(max_message: usize) -> Self {
        Self {
            current: None,
            runs: BTreeMap::new(),
            max_message,
            hint: 0,
            charge: 0,
            orphans: 0,
        }
    }

    /// Bytes held, with an overhead for each part.
    pub(crate) fn charge(&self) -> usize {
        self.charge
    }

    /// True when a whole message may follow at the cumulative point.
    #[inline]
    pub(crate) fn between_messages(&self) -> bool {
        self.current.is_none()
    }

    pub(crate) fn has_runs(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Takes the fragment at the cumulative point.
    pub(crate) fn in_order(
        &mut self,
        fragment: &Fragment,
        payload: &[u8],
    ) -> Result<Option<Complete>, Violation> {
        if fragment.begin {
            self.open(fragment.meta, self.hint.max(2 * payload.len()))?;
        }
        self.append(&fragment.meta, payload)?;
        Ok(if fragment.end {
            self.finish(fragment.tsn)
        } else {
            None
        })
    }

    /// Takes a fragment from beyond a gap.
    pub(crate) fn ahead(
        &mut self,
        fragment: &Fragment,
        payload: BytesMut,
    ) -> Result<Option<Complete>, Violation> {
        let mut run = Run {
            meta: fragment.meta,
            first: fragment.tsn,
            next: fragment.tsn + 1,
            begins: fragment.begin,
            ends: fragment.end,
            bytes: payload.len(),
            fragments: VecDeque::from([payload]),
            oversize: false,
        };
        if let Some((&first, left)) = self.runs.range(..fragment.tsn).next_back()
            && left.next == fragment.tsn
            && left.joins(&run)?
            && let Some(mut left) = self.remove(first)
        {
            left.append(run, self.max_message);
            run = left;
        }
        if let Some(right) = self.runs.get(&run.next)
            && run.joins(right)?
            && let Some(right) = self.remove(run.next)
        {
            run.append(right, self.max_message);
        }
        if run.begins && run.ends {
            return Ok(Some(run.complete()));
        }
        self.charge += run.charge();
        self.runs.insert(run.first, run);
        Ok(None)
    }

    /// Takes the first run in if the cumulative point has reached it. To be called until it says
    /// `None`; an inner `None` means that no message became whole.
    pub(crate) fn absorb(
        &mut self,
        cumulative: u64,
    ) -> Result<Option<Option<Complete>>, Violation> {
        let Some((&first, _)) = self
            .runs
            .first_key_value()
            .filter(|&(&first, _)| first <= cumulative)
        else {
            return Ok(None);
        };
        let Some(run) = self.remove(first) else {
            return Ok(None);
        };
        if run.begins {
            self.open(run.meta, self.hint.max(run.bytes))?;
        }
        for fragment in &run.fragments {
            self.append(&run.meta, fragment)?;
        }
        if run.oversize
            && let Some(current) = &mut self.current
        {
            self.charge -= current.buffer.len();
            current.buffer = BytesMut::new();
            current.oversize = true;
        }
        Ok(Some(if run.ends {
            self.finish(run.next - 1)
        } else {
            None
        }))
    }

    /// Gives up everything that touches TSNs up to `to` (RFC 3758 §3.6); `to` is beyond the
    /// cumulative point.
    pub(crate) fn forward(&mut self, to: u64) {
        if let Some(current) = self.current.take() {
            self.charge -= current.charge();
        }
        while let Some((&first, _)) = self.runs.first_key_value() {
            if first > to {
                break;
            }
            self.remove(first);
        }
    }

    fn open(&mut self, meta: Meta, capacity: usize) -> Result<(), Violation> {
        if self.current.is_some() {
            return Err(Violation("message begins inside another"));
        }
        let buffer = BytesMut::with_capacity(capacity.min(self.max_message));
        let current = Assembly {
            meta,
            buffer,
            oversize: false,
        };
        self.charge += current.charge();
        self.current = Some(current);
        Ok(())
    }

    fn append(&mut self, meta: &Meta, payload: &[u8]) -> Result<(), Violation> {
        let Some(current) = &mut self.current else {
            self.orphans += 1;
            return Ok(());
        };
        if !current.meta.same_message(meta) {
            return Err(Violation("fragments of two messages are mixed"));
        }
        if current.oversize || current.buffer.len() + payload.len() > self.max_message {
            self.charge -= current.buffer.len();
            current.buffer = BytesMut::new();
            current.oversize = true;
        } else {
            current.buffer.extend_from_slice(payload);
            self.charge += payload.len();
        }
        Ok(())
    }

    fn finish(&mut self, tsn: u64) -> Option<Complete> {
        let current = self.current.take()?;
        self.charge -= current.charge();
        let Assembly {
            meta,
            mut buffer,
            oversize,
        } = current;
        if oversize {
            return Some(Complete {
                tsn,
                meta,
                payload: None,
            });
        }
        self.hint = buffer.len();
        if buffer.capacity() - buffer.len() > buffer.len() / 4 + 64 {
            buffer = BytesMut::from(&buffer[..]);
        }
        Some(Complete {
            tsn,
            meta,
            payload: Some(buffer),
        })
    }

    fn remove(&mut self, first: u64) -> Option<Run> {
        let run = self.runs.remove(&first)?;
        self.charge -= run.charge();
        Some(run)
    }
}

impl Assembly {
    fn charge(&self) -> usize {
        self.buffer.len() + OVERHEAD
    }
}

impl Run {
    fn charge(&self) -> usize {
        self.bytes + (self.fragments.len() + 1) * OVERHEAD
    }

    /// Whether `next`, whose TSNs follow, belongs to the same message.
    fn joins(&self, next: &Self) -> Result<bool, Violation> {
        match (self.ends, next.begins) {
            (true, true) => Ok(false),
            (false, false) if self.meta.same_message(&next.meta) => Ok(true),
            _ => Err(Violation("fragments do not follow each other")),
        }
    }

    /// Moves the shorter list to the longer one, so that many joins stay cheap.
    fn append(&mut self, mut next: Self, max_message: usize) {
        self.next = next.next;
        self.ends = next.ends;
        self.bytes += next.bytes;
        self.oversize |= next.oversize || self.bytes > max_message;
        if self.oversize {
            self.bytes = 0;
            self.fragments = VecDeque::new();
        } else if self.fragments.len() >= next.fragments.len() {
            self.fragments.append(&mut next.fragments);
        } else {
            for fragment in self.fragments.drain(..).rev() {
                next.fragments.push_front(fragment);
            }
            self.fragments = next.fragments;
        }
    }

    fn complete(mut self) -> Complete {
        let payload = match self.fragments.pop_front() {
            _ if self.oversize => None,
            Some(only) if self.fragments.is_empty() => Some(only),
            first => {
                let mut whole = BytesMut::with_capacity(self.bytes);
                for fragment in first.iter().chain(&self.fragments) {
                    whole.extend_from_slice(fragment);
                }
                Some(whole)
            }
        };
        Complete {
            tsn: self.next - 1,
            meta: self.meta,
            payload,
        }
    }
}

/// Bytes that a message or fragment counts for beside its payload, against floods of tiny ones.
pub(crate) const OVERHEAD: usize = 32;
