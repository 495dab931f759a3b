//! Which TSNs have come (RFC 9260 §6.2.1): a cumulative point and the ranges beyond it.

use std::collections::VecDeque;

use smallvec::SmallVec;

/// TSNs received. They are counted in 64 bits inside, so that order never wraps.
#[derive(Debug)]
pub(crate) struct TsnTracker {
    cumulative: u64,
    /// Both ends included; sorted, apart from each other and from `cumulative`.
    ranges: VecDeque<(u64, u64)>,
    duplicates: SmallVec<[u32; 2]>,
}

/// Where a TSN lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The one after the cumulative point.
    Next,
    /// Beyond a gap.
    Ahead,
    /// It has come before.
    Duplicate,
    /// Further ahead than a SACK can say, or one range too many.
    TooFar,
}

impl TsnTracker {
    pub(crate) fn new(initial_tsn: u32) -> Self {
        Self {
            cumulative: (1 << 32) + u64::from(initial_tsn) - 1,
            ranges: VecDeque::new(),
            duplicates: SmallVec::new(),
        }
    }

    pub(crate) fn cumulative(&self) -> u64 {
        self.cumulative
    }

    /// The 64-bit count nearest to the cumulative point.
    pub(crate) fn extend(&self, tsn: u32) -> u64 {
        let delta = tsn.wrapping_sub(self.cumulative as u32) as i32;
        self.cumulative.saturating_add_signed(i64::from(delta))
    }

    pub(crate) fn has_gaps(&self) -> bool {
        !self.ranges.is_empty()
    }

    pub(crate) fn highest(&self) -> u64 {
        self.ranges
            .back()
            .map_or(self.cumulative, |&(_, last)| last)
    }

    #[inline]
    pub(crate) fn place(&self, tsn: u64) -> Place {
        if tsn == self.cumulative + 1 {
            return Place::Next;
        }
        if tsn <= self.cumulative {
            return Place::Duplicate;
        }
        if tsn - self.cumulative > MAX_AHEAD {
            return Place::TooFar;
        }
        let after = self.ranges.partition_point(|&(first, _)| first <= tsn);
        let before = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        let joins_next = self
            .ranges
            .get(after)
            .is_some_and(|&(first, _)| first == tsn + 1);
        match before {
            Some(&(_, last)) if tsn <= last => Place::Duplicate,
            Some(&(_, last)) if tsn == last + 1 => Place::Ahead,
            _ if !joins_next && self.ranges.len() >= MAX_RANGES => Place::TooFar,
            _ => Place::Ahead,
        }
    }

    /// Takes a TSN in that is [`Place::Next`] or [`Place::Ahead`].
    #[inline]
    pub(crate) fn record(&mut self, tsn: u64) {
        if tsn == self.cumulative + 1 {
            self.cumulative = tsn;
            self.absorb();
            return;
        }
        let after = self.ranges.partition_point(|&(first, _)| first <= tsn);
        let joins_next = self
            .ranges
            .get(after)
            .is_some_and(|&(first, _)| first == tsn + 1);
        let before = after.checked_sub(1).and_then(|at| self.ranges.get_mut(at));
        match before {
            Some((_, last)) if *last + 1 == tsn => {
                *last = tsn;
                if joins_next
                    && let Some((_, end)) = self.ranges.remove(after)
                    && let Some((_, last)) = self.ranges.get_mut(after - 1)
                {
                    *last = end;
                }
            }
            _ if joins_next => {
                if let Some((first, _)) = self.ranges.get_mut(after) {
                    *first = tsn;
                }
            }
            _ => self.ranges.insert(after, (tsn, tsn)),
        }
    }

    /// Counts everything up to `to` as received (RFC 3758 §3.6).
    pub(crate) fn forward(&mut self, to: u64) {
        if to <= self.cumulative {
            return;
        }
        self.cumulative = to;
        while let Some(&(first, last)) = self.ranges.front() {
            if last <= to {
                self.ranges.pop_front();
            } else {
                if let Some(front) = self.ranges.front_mut() {
                    front.0 = first.max(to + 1);
                }
                break;
            }
        }
        self.absorb();
    }

    pub(crate) fn note_duplicate(&mut self, tsn: u32) {
        if self.duplicates.len() < MAX_DUPLICATES {
            self.duplicates.push(tsn);
        }
    }

    /// Gap blocks as offsets from the cumulative point.
    pub(crate) fn gaps(&self) -> impl ExactSizeIterator<Item = (u16, u16)> + use<'_> {
        let offset = |tsn: u64| tsn.saturating_sub(self.cumulative).min(MAX_AHEAD) as u16;
        self.ranges
            .iter()
            .map(move |&(first, last)| (offset(first), offset(last)))
    }

    /// Duplicates since the last call; each is reported once.
    pub(crate) fn take_duplicates(&mut self) -> SmallVec<[u32; 2]> {
        std::mem::take(&mut self.duplicates)
    }

    pub(crate) fn shrink(&mut self) {
        if self.ranges.is_empty() {
            self.ranges = VecDeque::new();
        }
    }

    fn absorb(&mut self) {
        while let Some(&(first, last)) = self.ranges.front() {
            if first > self.cumulative + 1 {
                break;
            }
            self.cumulative = self.cumulative.max(last);
            self.ranges.pop_front();
        }
    }
}

/// Gap blocks have 16-bit offsets.
const MAX_AHEAD: u64 = 0xffff;
/// A SACK of one packet tells of about 280; more ranges only cost the peer retransmissions.
const MAX_RANGES: usize = 1024;
const MAX_DUPLICATES: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_join_and_the_wrap_is_crossed() {
        let mut tsns = TsnTracker::new(u32::MAX - 1);
        for tsn in [0, 2, 1] {
            let tsn = tsns.extend(tsn);
            assert_eq!(tsns.place(tsn), Place::Ahead);
            tsns.record(tsn);
        }
        assert_eq!(tsns.gaps().collect::<Vec<_>>(), [(3, 5)]);
        let first = tsns.extend(u32::MAX - 1);
        assert_eq!(tsns.place(first), Place::Next);
        tsns.record(first);
        tsns.record(first + 1);
        assert_eq!(tsns.cumulative() as u32, 2);
        assert!(!tsns.has_gaps());
        assert_eq!(tsns.place(tsns.extend(u32::MAX)), Place::Duplicate);
        assert_eq!(tsns.place(tsns.extend(0x1_0003)), Place::TooFar);
    }

    #[test]
    fn ranges_are_bounded() {
        let mut tsns = TsnTracker::new(1);
        for n in 0..2 * MAX_RANGES as u32 {
            let tsn = tsns.extend(3 + 2 * n);
            if tsns.place(tsn) == Place::Ahead {
                tsns.record(tsn);
            }
        }
        assert_eq!(tsns.gaps().len(), MAX_RANGES);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec((0u32..60, any::<bool>()), 0..120)) {
            let mut tsns = TsnTracker::new(u32::MAX - 20);
            let base = tsns.cumulative();
            let mut seen = BTreeSet::new();
            let mut floor = base;
            for (step, forward) in steps {
                let tsn = base + 1 + u64::from(step);
                if forward && step % 7 == 0 {
                    floor = floor.max(tsn);
                    tsns.forward(tsn);
                } else {
                    let known = tsn <= floor || seen.contains(&tsn);
                    prop_assert_eq!(tsns.place(tsn) == Place::Duplicate, known);
                    if !known {
                        tsns.record(tsn);
                        seen.insert(tsn);
                    }
                }
                while seen.contains(&(floor + 1)) {
                    floor += 1;
                }
                prop_assert_eq!(tsns.cumulative(), floor);
                let listed: Vec<u64> = tsns
                    .gaps()
                    .flat_map(|(a, b)| u64::from(a)..=u64::from(b))
                    .map(|offset| floor + offset)
                    .collect();
                let expected: Vec<u64> = seen.range(floor + 1..).copied().collect();
                prop_assert_eq!(listed, expected);
            }
        }
    }
}
