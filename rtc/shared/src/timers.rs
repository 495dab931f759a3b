use std::time::Instant;

/// A fixed table of `N` timers, one `Option<Instant>` each; idle timers cost nothing.
///
/// Index it with a fieldless enum cast to `usize`. An index outside the table is ignored by
/// [`set`](Self::set) and [`stop`](Self::stop) and never armed.
///
/// ```
/// use std::time::{Duration, Instant};
/// use rtc_shared::TimerTable;
///
/// # let start = Instant::now();
/// let mut timers = TimerTable::<2>::default();
/// timers.set(0, start + Duration::from_secs(1));
/// timers.set(1, start + Duration::from_secs(2));
/// assert_eq!(timers.next(), Some(start + Duration::from_secs(1)));
/// assert_eq!(timers.take_expired(start + Duration::from_secs(1)), Some(0));
/// assert_eq!(timers.take_expired(start + Duration::from_secs(1)), None);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TimerTable<const N: usize> {
    deadlines: [Option<Instant>; N],
}

impl<const N: usize> Default for TimerTable<N> {
    fn default() -> Self {
        Self {
            deadlines: [None; N],
        }
    }
}

impl<const N: usize> TimerTable<N> {
    /// Arms a timer, replacing its deadline.
    pub fn set(&mut self, timer: usize, deadline: Instant) {
        if let Some(slot) = self.deadlines.get_mut(timer) {
            *slot = Some(deadline);
        }
    }

    /// Disarms a timer.
    pub fn stop(&mut self, timer: usize) {
        if let Some(slot) = self.deadlines.get_mut(timer) {
            *slot = None;
        }
    }

    /// Disarms all.
    pub fn clear(&mut self) {
        self.deadlines = [None; N];
    }

    /// The deadline of one timer.
    #[must_use]
    pub fn get(&self, timer: usize) -> Option<Instant> {
        self.deadlines.get(timer).copied().flatten()
    }

    /// True while the timer is armed.
    #[must_use]
    pub fn is_set(&self, timer: usize) -> bool {
        self.get(timer).is_some()
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.deadlines.iter().flatten().min().copied()
    }

    /// Disarms and returns the earliest timer that is due at `now`.
    pub fn take_expired(&mut self, now: Instant) -> Option<usize> {
        let (timer, slot) = self
            .deadlines
            .iter_mut()
            .enumerate()
            .filter(|(_, slot)| slot.is_some_and(|deadline| deadline <= now))
            .min_by_key(|(_, slot)| **slot)?;
        *slot = None;
        Some(timer)
    }
}
