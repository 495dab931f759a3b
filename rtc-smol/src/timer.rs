use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::Timer as Alarm;
use rtc_driver::Timer;

/// The system's clock and an alarm on the reactor of `async-io`.
pub struct SmolTimer {
    alarm: Alarm,
    /// What the alarm is set to.
    set_to: Option<Instant>,
}

impl Default for SmolTimer {
    fn default() -> Self {
        Self {
            alarm: Alarm::never(),
            set_to: None,
        }
    }
}

impl SmolTimer {
    fn set(&mut self, instant: Instant) {
        self.alarm.set_at(instant);
        self.set_to = Some(instant);
    }
}

impl Timer for SmolTimer {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        loop {
            let now = self.now();
            if now >= deadline {
                return Poll::Ready(());
            }
            // Setting the alarm wakes the reactor, and most deadlines are put off again and again
            // before they come. So an alarm for an earlier time stays: it wakes the task, which
            // comes here once more.
            let is_of_use = |set_to: Instant| now < set_to && set_to <= deadline;
            if !self.set_to.is_some_and(is_of_use) {
                self.set(deadline);
            }
            if Pin::new(&mut self.alarm).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn wake_after_others(&mut self, cx: &mut Context<'_>) {
        // An executor may run its tasks some hundred times before it lets the reactor look at the
        // sockets. An alarm is sounded by the reactor, also one whose time has come; but it is set
        // only while its time has not.
        let now = self.now();
        self.set(now + LATER);
        if Pin::new(&mut self.alarm).poll(cx).is_pending() {
            self.set(now);
        } else {
            cx.waker().wake_by_ref();
        }
    }
}

impl fmt::Debug for SmolTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmolTimer")
            .field("set_to", &self.set_to)
            .finish_non_exhaustive()
    }
}

/// Any time that will not have come in the next line.
const LATER: Duration = Duration::from_secs(3600);
