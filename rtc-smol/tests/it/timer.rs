use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use rtc_smol::SmolTimer;
use smol::future::yield_now;

use rtc_driver::Timer as _;

const SHORT: Duration = Duration::from_millis(20);

/// Waits as the driver does, for each of the deadlines in turn and then until the last has come.
fn wait(timer: &mut SmolTimer, deadlines: &[Instant]) {
    smol::block_on(async {
        let (last, earlier) = deadlines.split_last().unwrap();
        for &deadline in earlier {
            let polled = poll_fn(|cx| Poll::Ready(timer.poll_deadline(cx, deadline))).await;
            assert!(polled.is_pending());
            yield_now().await;
        }
        poll_fn(|cx| timer.poll_deadline(cx, *last)).await;
        assert!(Instant::now() >= *last);
    });
}

#[test]
fn a_deadline_that_has_come_needs_no_alarm() {
    let mut timer = SmolTimer::default();
    let now = timer.now();
    wait(&mut timer, &[now]);
}

#[test]
fn a_deadline_is_put_off() {
    let mut timer = SmolTimer::default();
    let now = timer.now();
    wait(&mut timer, &[now + SHORT, now + 2 * SHORT, now + 3 * SHORT]);
}

#[test]
fn a_deadline_is_brought_forward() {
    let mut timer = SmolTimer::default();
    let now = timer.now();
    let far = Duration::from_secs(3600);
    wait(&mut timer, &[now + far, now + far / 2, now + SHORT]);
}

#[test]
fn a_timer_is_used_again() {
    let mut timer = SmolTimer::default();
    for _ in 0..3 {
        let now = timer.now();
        wait(&mut timer, &[now + SHORT / 4]);
    }
}

#[test]
fn others_get_their_turn_before_the_task_goes_on() {
    smol::block_on(async {
        let mut timer = SmolTimer::default();
        for _ in 0..100 {
            let mut asked = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut asked, true) {
                    return Poll::Ready(());
                }
                timer.wake_after_others(cx);
                Poll::Pending
            })
            .await;
        }
        let now = timer.now();
        poll_fn(|cx| timer.poll_deadline(cx, now + SHORT)).await;
        assert!(timer.now() >= now + SHORT);
    });
}
