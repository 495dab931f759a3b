use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use rtc::data_channel::{RTCDataChannelId, RTCDataChannelMessage, RTCDataChannelState};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::sansio::Protocol;
use tracing::debug;

use crate::events::EventQueue;
use crate::pump::CoreAccess;
use crate::tracks::Media;
use crate::waiters::{Key, Place, Registry, Step, Waiters, Watched, When};
use crate::{Error, SendError};

/// What the handles and the driver of one connection share.
///
/// The lock is held for calls of the core, never over a system call or a wake-up.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Live handles. The driver's reference is none, nor are those of event streams.
    handles: AtomicUsize,
}

pub(crate) struct State {
    pub(crate) core: RTCPeerConnection,
    pub(crate) phase: Phase,
    pub(crate) events: EventQueue,
    pub(crate) media: Media,
    /// Set by whoever gave the core something to do.
    pub(crate) nudge: bool,
    /// Bytes that may wait in a channel before `send` waits.
    pub(crate) send_limit: usize,
    channels: BTreeMap<RTCDataChannelId, Channel>,
    waiting: Waiters,
    /// Some channel may have a waiting writer.
    writers_wait: bool,
    driver: Option<Waker>,
    /// Counts the times that the connection failed; `Some` while it has.
    failure: Option<u32>,
    failures: u32,
    /// Bytes read since the driver last had a chance to tell the peer of the room, and when it
    /// must.
    read_bytes: usize,
    read_report: usize,
    next_key: u64,
    /// When closing is cut short.
    close_by: Option<Instant>,
}

/// What the driver does next.
pub(crate) enum Turn {
    /// The connection is over.
    Ended(Result<(), Error>),
    /// Drives again at once.
    Again,
    /// Waits, at the longest until then.
    Until(Option<Instant>),
}

/// Where a connection is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// To be closed once what was sent has gone out.
    Flushing,
    /// The core is closed; its farewell has to go out.
    Closing,
    /// The driver has ended.
    Ended(Result<(), Error>),
}

/// A channel that has, or had, handles.
#[derive(Debug, Default)]
struct Channel {
    handles: usize,
    readers: Waiters,
    writers: Waiters,
}

impl Shared {
    pub(crate) fn new(core: RTCPeerConnection) -> Arc<Self> {
        let window = core
            .get_configuration()
            .setting_engine()
            .sctp_receive_window;
        Arc::new(Self {
            state: Mutex::new(State {
                core,
                phase: Phase::Open,
                events: EventQueue::default(),
                media: Media::default(),
                nudge: false,
                send_limit: SEND_LIMIT,
                channels: BTreeMap::new(),
                waiting: Waiters::default(),
                writers_wait: false,
                driver: None,
                failure: None,
                failures: 0,
                read_bytes: 0,
                read_report: READ_REPORT.min(window / 8),
                next_key: 0,
                close_by: None,
            }),
            handles: AtomicUsize::new(0),
        })
    }

    /// Takes the lock. After a panic inside it nobody knows what state the core is in: the connection
    /// counts as lost from then on.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        loop {
            match self.state.lock() {
                Ok(state) => return state,
                Err(poisoned) => {
                    self.state.clear_poison();
                    let mut wakes = Vec::new();
                    poisoned
                        .into_inner()
                        .end(Err(Error::DriverLost), &mut wakes);
                    wakes.into_iter().for_each(Waker::wake);
                }
            }
        }
    }

    /// Calls `f` under the lock, and wakes the driver afterwards if there is something to do.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state);
        let driver = if std::mem::take(&mut state.nudge) {
            state.driver.take()
        } else {
            None
        };
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    /// [`with`](Self::with) for code of the user, which may panic: then everybody has to learn.
    pub(crate) fn with_foreign<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        struct Recover<'a>(&'a Shared);
        impl Drop for Recover<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    drop(self.0.lock());
                }
            }
        }
        let _recover = Recover(self);
        self.with(f)
    }
}

impl Watched for Shared {
    type State = State;

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        // The method of the type itself.
        Self::with(self, f)
    }
}

impl Watched for Handle {
    type State = State;

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        self.0.with(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("handles", &self.handles)
            .finish_non_exhaustive()
    }
}

/// The driver's way to the core.
pub(crate) struct Locked<'a>(pub(crate) &'a Shared);

impl CoreAccess for Locked<'_> {
    type Core = RTCPeerConnection;

    fn with<R>(&mut self, f: impl FnOnce(&mut RTCPeerConnection) -> R) -> R {
        f(&mut self.0.lock().core)
    }
}

/// A counted reference: the connection is closed when the last one is dropped.
#[derive(Debug)]
pub(crate) struct Handle(Arc<Shared>);

impl Handle {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.handles.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Deref for Handle {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.with(|state| {
                if self.0.handles.load(Ordering::Acquire) == 0 {
                    state.begin_close();
                }
            });
        }
    }
}

impl State {
    /// Has the driver close the connection once what was sent has gone out.
    pub(crate) fn begin_close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Flushing;
            self.nudge = true;
        }
    }

    /// Err when nothing can be asked of the connection any more.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Flushing | Phase::Closing | Phase::Ended(Ok(())) => Err(Error::Closed),
            Phase::Ended(Err(error)) => Err(error.clone()),
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// The driver is gone. Everybody learns of it.
    pub(crate) fn end(&mut self, result: Result<(), Error>, wakes: &mut Vec<Waker>) {
        if !self.has_ended() {
            self.phase = Phase::Ended(result);
        }
        wakes.extend(self.driver.take());
        self.take_all(wakes);
    }

    pub(crate) fn set_driver(&mut self, waker: &Waker) {
        if !self
            .driver
            .as_ref()
            .is_some_and(|driver| driver.will_wake(waker))
        {
            self.driver = Some(waker.clone());
        }
        self.read_bytes = 0;
    }

    /// Closes the core when that was asked for and everything that was sent has gone out, or time is
    /// up.
    pub(crate) fn close_if_flushed(&mut self, now: Instant) {
        if self.phase != Phase::Flushing {
            return;
        }
        let close_by = *self.close_by.get_or_insert(now + FLUSH_TIMEOUT);
        if self.is_flushed() || now >= close_by {
            self.phase = Phase::Closing;
            self.close_by = Some(now + FAREWELL_TIMEOUT);
            if let Err(error) = self.core.close() {
                debug!(%error, "close");
            }
        }
    }

    /// When the driver has to look at the connection on its own account: closing is cut short, or
    /// somebody who waits has set a time.
    pub(crate) fn alarm(&self) -> Option<Instant> {
        let alarms = [self.close_by, self.media.alarm()];
        alarms.into_iter().flatten().min()
    }

    /// Passes on what a turn of the driver has brought. `blocked`: a socket has no room for the last
    /// batch.
    pub(crate) fn settle(&mut self, now: Instant, blocked: bool, wakes: &mut Vec<Waker>) -> Turn {
        self.media.set_time(now, wakes);
        self.route(wakes);
        let late = self.close_by.is_some_and(|close_by| now >= close_by);
        let drained = self.core.is_drained() && !blocked;
        if drained || (late && self.phase == Phase::Closing) {
            self.end(Ok(()), wakes);
        }
        if let Phase::Ended(result) = &self.phase {
            return Turn::Ended(result.clone());
        }
        if self.phase == Phase::Flushing && self.is_flushed() {
            return Turn::Again;
        }
        let deadlines = [self.core.poll_timeout(), self.alarm()];
        Turn::Until(deadlines.into_iter().flatten().min())
    }

    /// Takes what the core has to tell and finds out whom it concerns.
    pub(crate) fn route(&mut self, wakes: &mut Vec<Waker>) {
        let mut told = false;
        while let Some(event) = self.core.poll_event() {
            told = true;
            self.on_event(event, wakes);
        }
        if told {
            self.waiting.take_all(wakes);
        }
        while let Some(id) = self.core.poll_ready_data_channel() {
            if let Some(channel) = self.channels.get_mut(&id) {
                channel.readers.take_all(wakes);
            }
        }
        if self.writers_wait {
            self.route_writers(wakes);
        }
        self.route_media(wakes);
    }

    fn on_event(&mut self, event: RTCPeerConnectionEvent, wakes: &mut Vec<Waker>) {
        match event {
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id))
                if self
                    .core
                    .data_channel(id)
                    .is_some_and(|channel| channel.is_incoming()) =>
            {
                if !self.events.push_channel(id) {
                    self.channels.entry(id).or_default();
                    if let Some(mut channel) = self.core.data_channel(id) {
                        channel.discard();
                        let _ = channel.close();
                    }
                }
                return;
            }
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnClose(id)) => {
                match self.channels.get_mut(&id) {
                    Some(channel) if channel.handles == 0 => {
                        self.channels.remove(&id);
                        self.core.release_data_channel(id);
                    }
                    Some(channel) => channel.readers.take_all(wakes),
                    None => {}
                }
            }
            RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => {
                if state == RTCPeerConnectionState::Failed {
                    self.failures += 1;
                    self.failure = Some(self.failures);
                    self.take_all(wakes);
                } else {
                    self.failure = None;
                }
            }
            RTCPeerConnectionEvent::OnTrack(event) => return self.on_track(event, wakes),
            RTCPeerConnectionEvent::OnRtpSender(event) => return self.on_feedback(event),
            _ => {}
        }
        self.events.push(event);
    }

    fn route_writers(&mut self, wakes: &mut Vec<Waker>) {
        let mut left = false;
        for (&id, channel) in &mut self.channels {
            if channel.writers.is_empty() {
                continue;
            }
            let (state, buffered) = match self.core.data_channel(id) {
                Some(channel) => (channel.ready_state(), channel.buffered_amount()),
                None => (RTCDataChannelState::Closed, 0),
            };
            channel.writers.take_if(
                |when| match (state, when) {
                    (RTCDataChannelState::Connecting, _) => false,
                    (RTCDataChannelState::Open, When::Buffered(bytes)) => buffered <= bytes,
                    _ => true,
                },
                wakes,
            );
            left |= !channel.writers.is_empty();
        }
        self.writers_wait = left;
    }

    fn take_all(&mut self, wakes: &mut Vec<Waker>) {
        self.waiting.take_all(wakes);
        for channel in self.channels.values_mut() {
            channel.readers.take_all(wakes);
            channel.writers.take_all(wakes);
        }
        self.media.take_all(wakes);
    }

    /// Whether the peer has all that was given to `send`.
    pub(crate) fn is_flushed(&self) -> bool {
        self.core.is_flushed()
    }

    fn waiters(&mut self, place: Place) -> Option<&mut Waiters> {
        match place {
            Place::Connection => Some(&mut self.waiting),
            Place::Read(id) => self
                .channels
                .get_mut(&id)
                .map(|channel| &mut channel.readers),
            Place::Write(id) => self
                .channels
                .get_mut(&id)
                .map(|channel| &mut channel.writers),
            place => self.media.waiters(place),
        }
    }
}

impl Registry for State {
    type Place = Place;

    fn register(&mut self, place: Place, key: &mut Key, when: When, waker: &Waker) {
        self.next_key += 1;
        let fresh = self.next_key;
        self.writers_wait |= matches!(place, Place::Write(_));
        if let Some(waiters) = self.waiters(place) {
            waiters.register(key, fresh, when, waker);
        }
        if let When::Until(at) = when {
            // The driver has to know of it, if it would sleep longer.
            self.nudge |= self.media.set_alarm(at);
        }
    }

    fn unregister(&mut self, place: Place, key: &Key) {
        if let Some(waiters) = self.waiters(place) {
            waiters.remove(key);
        }
    }
}

/// Channels. A channel is in `channels` from its first handle to the last one's end, and further
/// until it is closed.
impl State {
    pub(crate) fn channel_handle_made(&mut self, id: RTCDataChannelId) {
        self.channels.entry(id).or_default().handles += 1;
    }

    pub(crate) fn channel_handle_dropped(&mut self, id: RTCDataChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        channel.handles = channel.handles.saturating_sub(1);
        if channel.handles > 0 {
            return;
        }
        match self.core.data_channel(id) {
            Some(mut channel) if channel.ready_state() != RTCDataChannelState::Closed => {
                channel.discard();
                // What was unread held the window shut.
                self.nudge = true;
            }
            _ => {
                self.channels.remove(&id);
                self.core.release_data_channel(id);
            }
        }
    }

    /// Sends `message`, or leaves it where it is.
    pub(crate) fn send(
        &mut self,
        id: RTCDataChannelId,
        message: &mut Option<RTCDataChannelMessage>,
    ) -> Step<Result<(), SendError>> {
        if let Err(error) = self.check() {
            return Step::Done(Err(match error {
                Error::DriverLost => SendError::DriverLost,
                _ => SendError::Closed,
            }));
        }
        let limit = self.send_limit;
        let Some(mut channel) = self.core.data_channel(id) else {
            return Step::Done(Err(SendError::Closed));
        };
        match channel.ready_state() {
            RTCDataChannelState::Open => {}
            RTCDataChannelState::Connecting => return Step::Wait(When::Open),
            _ => return Step::Done(Err(SendError::Closed)),
        }
        if channel.buffered_amount() >= limit {
            return Step::Wait(When::Buffered(limit / 2));
        }
        let Some(taken) = message.take() else {
            return Step::Done(Ok(()));
        };
        let error = match channel.send_message(taken) {
            Ok(()) => {
                self.nudge = true;
                return Step::Done(Ok(()));
            }
            Err(refused) => {
                *message = Some(refused.message);
                refused.error
            }
        };
        Step::Done(Err(match error {
            // All channels together are over their limit: any acknowledgement may help.
            rtc::Error::BufferFull => return Step::Wait(When::Any),
            rtc::Error::MessageTooLarge { max, .. } => SendError::TooLarge { max },
            rtc::Error::InvalidState(_) => SendError::Closed,
            error => SendError::Refused(error),
        }))
    }

    /// The next message of a channel, or why there will be none. `seen` is the failure of the
    /// connection that the reader has been told of already.
    pub(crate) fn read(
        &mut self,
        id: RTCDataChannelId,
        seen: &mut u32,
    ) -> Step<Option<Result<RTCDataChannelMessage, Error>>> {
        let mut state = RTCDataChannelState::Closed;
        if let Some(mut channel) = self.core.data_channel(id) {
            if let Some(message) = channel.read() {
                self.read_bytes += message.data.len();
                if self.read_bytes >= self.read_report {
                    self.read_bytes = 0;
                    self.nudge = true;
                }
                return Step::Done(Some(Ok(message)));
            }
            state = channel.ready_state();
        }
        let failure = match &self.phase {
            Phase::Ended(Err(error)) => Some((u32::MAX, error.clone())),
            _ => self.failure.map(|failure| (failure, Error::Failed)),
        };
        match failure {
            Some((failure, error)) if *seen != failure => {
                *seen = failure;
                Step::Done(Some(Err(error)))
            }
            _ if state == RTCDataChannelState::Closed || self.has_ended() => Step::Done(None),
            _ => Step::Wait(When::Any),
        }
    }

    /// Ok once the channel is open, or when it is open and no more than `buffered` bytes wait.
    pub(crate) fn wait_for(
        &mut self,
        id: RTCDataChannelId,
        buffered: Option<usize>,
    ) -> Step<Result<(), Error>> {
        if let Phase::Ended(Err(error)) = &self.phase {
            return Step::Done(Err(error.clone()));
        }
        if self.has_ended() {
            return Step::Done(Err(Error::Closed));
        }
        let Some(channel) = self.core.data_channel(id) else {
            return Step::Done(Err(Error::Closed));
        };
        match (channel.ready_state(), buffered) {
            (RTCDataChannelState::Connecting, _) => Step::Wait(When::Open),
            (RTCDataChannelState::Open, Some(bytes)) if channel.buffered_amount() > bytes => {
                Step::Wait(When::Buffered(bytes))
            }
            (RTCDataChannelState::Open, _) => Step::Done(Ok(())),
            _ => Step::Done(Err(Error::Closed)),
        }
    }
}

/// Enough to keep a full congestion window's worth ready between two turns of the driver, and little
/// enough to stay in a cache.
pub(crate) const SEND_LIMIT: usize = 256 * 1024;

/// Bytes read after which the driver is woken to tell the peer of the room.
const READ_REPORT: usize = 64 * 1024;

/// How long closing waits for what was sent to go out. A peer that stopped reading holds it up.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the last datagrams may wait for a socket.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
