use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use rtc_driver::Timer;
use tokio::time::Sleep;

/// Tokio's clock and an alarm on it. Follows a paused clock in tests.
#[derive(Debug, Default)]
pub struct TokioTimer {
    /// `None` until it is needed first: making one takes the context of the runtime, which the
    /// driver has.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer for TokioTimer {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        // The clock first: a task that has used up its turn gets `Pending` from a sleep that is over.
        if self.now() >= deadline {
            return Poll::Ready(());
        }
        let deadline = deadline.into();
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }

    fn wake_after_others(&mut self, cx: &mut Context<'_>) {
        // Its first poll has tokio look at its sockets before it wakes the task.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }
}
