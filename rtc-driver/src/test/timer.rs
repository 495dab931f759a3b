use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::world::Shared;
use crate::Timer;

/// Every alarm of a world.
///
/// An alarm that is set again and again to a later time, as retransmission timers are, keeps one entry
/// in the heap.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    sequence: u64,
}

#[derive(Debug, Default)]
struct Slot {
    alarm: Option<(Instant, Waker)>,
    /// The entry of the heap that counts; others of this slot are left over.
    entry: Option<u64>,
    /// When that entry is up; never after the alarm.
    queued: Option<Instant>,
    /// Given up once it has gone off.
    once: bool,
}

impl Timers {
    pub(super) fn add(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        })
    }

    pub(super) fn remove(&mut self, id: usize) {
        if let Some(slot) = self.slots.get_mut(id) {
            *slot = Slot::default();
            self.free.push(id);
        }
    }

    /// Wakes once, without a timer.
    pub(super) fn set_once(&mut self, deadline: Instant, waker: Waker) {
        let id = self.add();
        self.set(id, deadline, &waker);
        if let Some(slot) = self.slots.get_mut(id) {
            slot.once = true;
        }
    }

    pub(super) fn set(&mut self, id: usize, deadline: Instant, waker: &Waker) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        match &mut slot.alarm {
            Some((at, known)) => {
                *at = deadline;
                known.clone_from(waker);
            }
            none => *none = Some((deadline, waker.clone())),
        }
        if slot.queued.is_none_or(|queued| queued > deadline) {
            self.queue(id, deadline);
        }
    }

    pub(super) fn clear(&mut self, id: usize) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.alarm = None;
        }
    }

    fn queue(&mut self, id: usize, at: Instant) {
        self.sequence += 1;
        if let Some(slot) = self.slots.get_mut(id) {
            slot.entry = Some(self.sequence);
            slot.queued = Some(at);
            self.heap.push(Reverse((at, self.sequence, id)));
        }
    }

    /// When the next alarm goes off.
    pub(super) fn next(&mut self) -> Option<Instant> {
        loop {
            let &Reverse((at, entry, id)) = self.heap.peek()?;
            let slot = self.slots.get_mut(id)?;
            if slot.entry == Some(entry) {
                match &slot.alarm {
                    Some((deadline, _)) if *deadline <= at => return Some(at),
                    Some((deadline, _)) => {
                        let deadline = *deadline;
                        self.heap.pop();
                        self.queue(id, deadline);
                        continue;
                    }
                    None => {
                        slot.entry = None;
                        slot.queued = None;
                    }
                }
            }
            self.heap.pop();
        }
    }

    /// Takes the wakers out whose time has come.
    pub(super) fn expire(&mut self, now: Instant, wakes: &mut Vec<Waker>) {
        while self.next().is_some_and(|at| at <= now) {
            let Some(Reverse((_, _, id))) = self.heap.pop() else {
                return;
            };
            let Some(slot) = self.slots.get_mut(id) else {
                return;
            };
            slot.entry = None;
            slot.queued = None;
            wakes.extend(slot.alarm.take().map(|(_, waker)| waker));
            if slot.once {
                self.remove(id);
            }
        }
    }
}

/// The clock of a world, and an alarm on it.
pub struct TestTimer {
    shared: Arc<Shared>,
    id: usize,
}

impl TestTimer {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            id: shared.lock().timers.add(),
            shared: Arc::clone(shared),
        }
    }
}

impl Timer for TestTimer {
    fn now(&self) -> Instant {
        self.shared.lock().now
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let mut state = self.shared.lock();
        if state.now >= deadline {
            state.timers.clear(self.id);
            return Poll::Ready(());
        }
        state.timers.set(self.id, deadline, cx.waker());
        Poll::Pending
    }
}

impl Drop for TestTimer {
    fn drop(&mut self) {
        self.shared.lock().timers.remove(self.id);
    }
}

impl fmt::Debug for TestTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestTimer").finish_non_exhaustive()
    }
}

/// Ready at a moment of virtual time.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    timer: TestTimer,
    deadline: Instant,
}

impl Sleep {
    pub(super) fn until(shared: &Arc<Shared>, deadline: Instant) -> Self {
        Self {
            timer: TestTimer::new(shared),
            deadline,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { timer, deadline } = self.get_mut();
        timer.poll_deadline(cx, *deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_alarm_goes_off_at_the_time_it_was_set_to_last() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        let id = timers.add();
        for ms in [10, 20, 30, 15] {
            timers.set(id, start + ms * MS, Waker::noop());
        }
        assert_eq!(timers.heap.len(), 1);
        assert_eq!(timers.next(), Some(start + 15 * MS));
        timers.set(id, start + 5 * MS, Waker::noop());
        let mut wakes = Vec::new();
        timers.expire(start + 4 * MS, &mut wakes);
        assert!(wakes.is_empty());
        timers.expire(start + 5 * MS, &mut wakes);
        assert_eq!(wakes.len(), 1);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn removed_and_cleared_alarms_do_not_go_off() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        let (gone, cleared) = (timers.add(), timers.add());
        timers.set(gone, start, Waker::noop());
        timers.set(cleared, start, Waker::noop());
        timers.remove(gone);
        timers.clear(cleared);
        let again = timers.add();
        assert_eq!(again, gone);
        timers.set(again, start + MS, Waker::noop());
        assert_eq!(timers.next(), Some(start + MS));
        timers.set_once(start, Waker::noop().clone());
        let mut wakes = Vec::new();
        timers.expire(start + MS, &mut wakes);
        assert_eq!((wakes.len(), timers.next()), (2, None));
    }
}
