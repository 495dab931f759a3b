/// A sliding window over 64-bit packet numbers that tells which were seen (RFC 6347 section 4.1.2.6,
/// RFC 3711 section 3.3.2), of `64 × WORDS` packets.
///
/// Check first, authenticate, then [`accept`](Self::accept): an unauthenticated packet must not move
/// the window.
///
/// ```
/// use rtc_shared::ReplayWindow;
///
/// let mut window = ReplayWindow::<1>::default();
/// assert!(window.is_fresh(5));
/// window.accept(5);
/// assert!(!window.is_fresh(5));
/// window.accept(100);
/// assert!(!window.is_fresh(36), "older than the window");
/// assert!(window.is_fresh(37));
/// ```
#[derive(Clone, Debug)]
pub struct ReplayWindow<const WORDS: usize> {
    /// One above the highest accepted number.
    next: u64,
    /// Bit `n % (64 × WORDS)` tells whether `n` was seen.
    seen: [u64; WORDS],
}

impl<const WORDS: usize> Default for ReplayWindow<WORDS> {
    fn default() -> Self {
        Self {
            next: 0,
            seen: [0; WORDS],
        }
    }
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    const BITS: u64 = 64 * WORDS as u64;

    /// True when `number` was not accepted before and is not older than the window.
    #[must_use]
    pub fn is_fresh(&self, number: u64) -> bool {
        if number >= self.next {
            return true;
        }
        if self.next - number > Self::BITS {
            return false;
        }
        let (word, bit) = Self::place(number);
        self.seen.get(word).is_some_and(|seen| seen & bit == 0)
    }

    /// Marks `number` as seen.
    pub fn accept(&mut self, number: u64) {
        if number >= self.next {
            let skipped = number - self.next;
            if skipped >= Self::BITS {
                self.seen = [0; WORDS];
            } else {
                for passed in self.next..number {
                    self.mark(passed, false);
                }
            }
            self.next = number.saturating_add(1);
        } else if self.next - number > Self::BITS {
            return;
        }
        self.mark(number, true);
    }

    /// The highest accepted number.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    fn place(number: u64) -> (usize, u64) {
        let position = number % Self::BITS;
        ((position / 64) as usize, 1 << (position % 64))
    }

    fn mark(&mut self, number: u64, seen: bool) {
        let (word, bit) = Self::place(number);
        if let Some(word) = self.seen.get_mut(word) {
            if seen {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set_with_a_horizon(numbers in prop::collection::vec(0u64..400, 1..200)) {
            let mut window = ReplayWindow::<2>::default();
            let mut seen = BTreeSet::new();
            for number in numbers {
                let horizon = seen.last().map_or(0, |highest: &u64| (highest + 1).saturating_sub(128));
                prop_assert_eq!(window.is_fresh(number), number >= horizon && !seen.contains(&number));
                if window.is_fresh(number) {
                    window.accept(number);
                    seen.insert(number);
                }
            }
        }
    }
}
