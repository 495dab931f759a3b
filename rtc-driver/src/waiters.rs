use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use rtc::data_channel::RTCDataChannelId;
use rtc::rtp_transceiver::RTCRtpTransceiverId;

/// A state under a lock, whose changes can be waited for.
pub(crate) trait Watched {
    type State: Registry;

    /// Calls `f` under the lock, and wakes whoever has to act on what it did afterwards.
    fn with<R>(&self, f: impl FnOnce(&mut Self::State) -> R) -> R;
}

impl<W: Watched> Watched for Arc<W> {
    type State = W::State;

    fn with<R>(&self, f: impl FnOnce(&mut Self::State) -> R) -> R {
        (**self).with(f)
    }
}

/// Where those register who wait for a change.
pub(crate) trait Registry {
    type Place: Copy;

    fn register(&mut self, place: Self::Place, key: &mut Key, when: When, waker: &Waker);

    fn unregister(&mut self, place: Self::Place, key: &Key);
}

/// Those who wait for one thing, each with a slot of its own that it replaces and takes away itself.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Vec<Waiter>);

#[derive(Debug)]
struct Waiter {
    key: Key,
    when: When,
    waker: Waker,
}

/// Names a slot; the default names none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) fn is_set(&self) -> bool {
        self.0 != 0
    }
}

/// What has to happen for a waiter to be woken. The end of channel or connection wakes in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Anything.
    Any,
    /// The channel is open.
    Open,
    /// So few bytes, or fewer, wait to be sent on the channel.
    Buffered(usize),
    /// Few packets of media wait to be sent.
    Room,
    /// Anything, or the time has come.
    Until(Instant),
}

/// Where a waiter is registered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// For events of the connection.
    Connection,
    /// For messages of a channel.
    Read(RTCDataChannelId),
    /// For room in a channel, or its state.
    Write(RTCDataChannelId),
    /// For packets of a track.
    Track(RTCRtpTransceiverId),
    /// For packets of one of its layers.
    Layer(RTCRtpTransceiverId, LayerId),
    /// For room for packets of media, or that they may be sent at all.
    Rtp,
    /// For what the peer wants of a sender.
    Feedback(RTCRtpTransceiverId),
}

/// Names a layer of a track that is read alone; never given twice for a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerId(pub(crate) u32);

/// What a look at the state gave.
pub(crate) enum Step<T> {
    /// What was waited for.
    Done(T),
    /// Look again when this has happened.
    Wait(When),
}

impl Waiters {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Registers `waker` in the slot of `key`, or in a new one, which `fresh` names.
    pub(crate) fn register(&mut self, key: &mut Key, fresh: u64, when: When, waker: &Waker) {
        if let Some(waiter) = self.0.iter_mut().find(|waiter| waiter.key == *key) {
            waiter.when = when;
            if !waiter.waker.will_wake(waker) {
                waiter.waker = waker.clone();
            }
            return;
        }
        if !key.is_set() {
            *key = Key(fresh);
        }
        self.0.push(Waiter {
            key: Key(key.0),
            when,
            waker: waker.clone(),
        });
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        self.0.retain(|waiter| waiter.key != *key);
    }

    /// Takes the wakers out to be woken once no lock is held.
    pub(crate) fn take_all(&mut self, wakes: &mut Vec<Waker>) {
        wakes.extend(self.0.drain(..).map(|waiter| waiter.waker));
    }

    /// When the first of those who have set a time is to be woken.
    pub(crate) fn first_alarm(&self) -> Option<Instant> {
        let alarms = self.0.iter().filter_map(|waiter| match waiter.when {
            When::Until(at) => Some(at),
            _ => None,
        });
        alarms.min()
    }

    pub(crate) fn take_if(&mut self, ready: impl Fn(When) -> bool, wakes: &mut Vec<Waker>) {
        wakes.extend(
            self.0
                .extract_if(.., |waiter| ready(waiter.when))
                .map(|w| w.waker),
        );
    }
}

/// What is kept of the place of a watched state.
pub(crate) type PlaceOf<W> = <<W as Watched>::State as Registry>::Place;

/// Looks at the state and, if what is waited for is not there, registers under the same lock, so that
/// no wake-up can fall in between.
pub(crate) fn poll_step<W: Watched, T>(
    shared: &W,
    place: PlaceOf<W>,
    key: &mut Key,
    cx: &mut Context<'_>,
    look: impl FnOnce(&mut W::State) -> Step<T>,
) -> Poll<T> {
    shared.with(|state| match look(state) {
        Step::Done(value) => {
            forget(state, place, key);
            Poll::Ready(value)
        }
        Step::Wait(when) => {
            state.register(place, key, when, cx.waker());
            Poll::Pending
        }
    })
}

/// Gives a slot up, if there is one.
pub(crate) fn forget<S: Registry>(state: &mut S, place: S::Place, key: &mut Key) {
    if key.is_set() {
        state.unregister(place, key);
        *key = Key::default();
    }
}

/// A future that looks at the state until it finds what it waits for.
pub(crate) struct Wait<'a, W: Watched, F> {
    shared: &'a W,
    place: PlaceOf<W>,
    key: Key,
    look: F,
}

impl<'a, W: Watched, F> Wait<'a, W, F> {
    pub(crate) fn new<T>(shared: &'a W, place: PlaceOf<W>, look: F) -> Self
    where
        F: FnMut(&mut W::State) -> Step<T> + Unpin,
    {
        Self {
            shared,
            place,
            key: Key::default(),
            look,
        }
    }
}

impl<T, W: Watched, F> Future for Wait<'_, W, F>
where
    F: FnMut(&mut W::State) -> Step<T> + Unpin,
    PlaceOf<W>: Unpin,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Self {
            shared,
            place,
            key,
            look,
        } = self.get_mut();
        poll_step(*shared, *place, key, cx, look)
    }
}

impl<W: Watched, F> Drop for Wait<'_, W, F> {
    fn drop(&mut self) {
        if self.key.is_set() {
            self.shared
                .with(|state| forget(state, self.place, &mut self.key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_that_registers_again_keeps_one_slot() {
        let mut waiters = Waiters::default();
        let mut key = Key::default();
        for fresh in 1..100 {
            waiters.register(&mut key, fresh, When::Any, Waker::noop());
        }
        assert_eq!((waiters.0.len(), &key), (1, &Key(1)));
        waiters.remove(&key);
        assert!(waiters.is_empty());
    }

    #[test]
    fn only_those_are_woken_whose_time_has_come() {
        let mut waiters = Waiters::default();
        let (mut patient, mut eager) = (Key::default(), Key::default());
        waiters.register(&mut patient, 1, When::Buffered(10), Waker::noop());
        waiters.register(&mut eager, 2, When::Buffered(100), Waker::noop());
        let mut wakes = Vec::new();
        waiters.take_if(
            |when| matches!(when, When::Buffered(bytes) if bytes >= 50),
            &mut wakes,
        );
        assert_eq!((wakes.len(), waiters.0.len()), (1, 1));
        assert_eq!(waiters.0[0].key, patient);
    }
}
