use std::time::Instant;

/// One deadline for each place of a table, the earliest at hand: a binary heap whose entries can be
/// found by place.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: Vec<(Instant, u32)>,
    /// Where in the heap each place is, [`NOWHERE`] without a deadline.
    positions: Vec<u32>,
}

impl Deadlines {
    /// The earliest deadline and its place.
    pub(super) fn first(&self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }

    /// Places that have a deadline.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.heap.len()
    }

    /// Sets or takes away the deadline of a place; O(log n).
    pub(super) fn set(&mut self, place: u32, deadline: Option<Instant>) {
        if self.positions.len() <= place as usize {
            if deadline.is_none() {
                return;
            }
            self.positions.resize(place as usize + 1, NOWHERE);
        }
        let position = self.position(place);
        match (position, deadline) {
            (NOWHERE, None) => {}
            (NOWHERE, Some(deadline)) => {
                self.heap.push((deadline, place));
                self.rise(self.heap.len() - 1);
            }
            (position, Some(deadline)) => {
                let position = position as usize;
                if let Some(entry) = self.heap.get_mut(position) {
                    let earlier = std::mem::replace(&mut entry.0, deadline);
                    if deadline < earlier {
                        self.rise(position);
                    } else if deadline > earlier {
                        self.sink(position);
                    }
                }
            }
            (position, None) => {
                let position = position as usize;
                self.heap.swap_remove(position);
                self.note_position(place, NOWHERE);
                if position < self.heap.len() {
                    // What came from the end may belong above or below.
                    let position = self.rise(position);
                    self.sink(position);
                }
            }
        }
    }

    fn position(&self, place: u32) -> u32 {
        self.positions
            .get(place as usize)
            .copied()
            .unwrap_or(NOWHERE)
    }

    fn note_position(&mut self, place: u32, position: u32) {
        if let Some(known) = self.positions.get_mut(place as usize) {
            *known = position;
        }
    }

    /// Notes where the entry at a position is.
    fn note(&mut self, position: usize) {
        if let Some((_, place)) = self.heap.get(position).copied() {
            self.note_position(place, position as u32);
        }
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        match (self.heap.get(a), self.heap.get(b)) {
            // Places break ties, so that the order does not depend on history.
            (Some(a), Some(b)) => a < b,
            _ => false,
        }
    }

    fn rise(&mut self, mut position: usize) -> usize {
        while position > 0 {
            let parent = (position - 1) / 2;
            if !self.is_before(position, parent) {
                break;
            }
            self.heap.swap(position, parent);
            self.note(position);
            position = parent;
        }
        self.note(position);
        position
    }

    fn sink(&mut self, mut position: usize) {
        loop {
            let left = 2 * position + 1;
            let child = if self.is_before(left + 1, left) {
                left + 1
            } else {
                left
            };
            if !self.is_before(child, position) {
                break;
            }
            self.heap.swap(position, child);
            self.note(position);
            position = child;
        }
        self.note(position);
    }
}

const NOWHERE: u32 = u32::MAX;

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do, only differences count"
)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_the_earliest_whatever_happened(
            changes in prop::collection::vec((0_u32..40, prop::option::of(0_u64..1000)), 0..400),
        ) {
            let start = Instant::now();
            let mut deadlines = Deadlines::default();
            let mut model = BTreeMap::new();
            for (place, after) in changes {
                let deadline = after.map(|after| start + Duration::from_millis(after));
                deadlines.set(place, deadline);
                match deadline {
                    Some(deadline) => { model.insert(place, deadline); }
                    None => { model.remove(&place); }
                }
                let first = model.iter().map(|(place, at)| (*at, *place)).min();
                prop_assert_eq!(deadlines.first(), first);
                prop_assert_eq!(deadlines.len(), model.len());
            }
            while let Some((_, place)) = deadlines.first() {
                deadlines.set(place, None);
                model.remove(&place);
                let first = model.iter().map(|(place, at)| (*at, *place)).min();
                prop_assert_eq!(deadlines.first(), first);
            }
        }
    }
}
