//! A runtime on a loop of mio, for cases that are written for tasks: its sockets are those of
//! `rtc-mio`, its tasks run on the loop's thread.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Registry, Token};
use rtc_driver::{DatagramSocket, RecvMeta, Runtime, SendBatch, Timer};
use rtc_mio::MioSocket;
use smol::Executor;

/// The loop. It runs while [`block_on`](Self::block_on) does.
pub(crate) struct Reactor {
    poll: mio::Poll,
    events: Events,
    runtime: MioRuntime,
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let shared = Shared {
            registry: poll.registry().try_clone()?,
            waker: mio::Waker::new(poll.registry(), WAKER)?,
            is_woken: AtomicBool::new(false),
            executor: Executor::new(),
            state: Mutex::default(),
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(256),
            runtime: MioRuntime(Arc::new(shared)),
        })
    }

    pub(crate) fn runtime(&self) -> MioRuntime {
        self.runtime.clone()
    }

    /// Runs the future, and the tasks that are spawned meanwhile.
    pub(crate) fn block_on<T>(&mut self, future: impl Future<Output = T>) -> T {
        let MioRuntime(shared) = self.runtime();
        let mut run = pin!(shared.executor.run(future));
        let waker = Waker::from(Arc::clone(&shared));
        loop {
            // From here on, waking means another turn.
            shared.is_woken.store(false, Ordering::SeqCst);
            if let Poll::Ready(output) = run.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            self.turn();
        }
    }

    /// Waits, unless something is ready, and wakes those whom events and the time concern.
    fn turn(&mut self) {
        let MioRuntime(shared) = &self.runtime;
        let next = shared.lock().alarms.keys().next().map(|(at, _)| *at);
        let timeout = match shared.is_woken.load(Ordering::SeqCst) {
            true => Some(Duration::ZERO),
            false => next.map(|at| at.saturating_duration_since(Instant::now())),
        };
        if let Err(error) = self.poll.poll(&mut self.events, timeout) {
            // A signal is the only thing that may come in between.
            assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{error}");
            self.events.clear();
        }
        let mut wakes = Vec::new();
        {
            let mut state = shared.lock();
            for event in &self.events {
                if let Some(slot) = state.sockets.get(&event.token()) {
                    wakes.extend(lock(slot).process(event));
                }
            }
            let later = state.alarms.split_off(&(Instant::now(), u64::MAX));
            wakes.extend(std::mem::replace(&mut state.alarms, later).into_values());
        }
        wakes.into_iter().for_each(Waker::wake);
    }
}

/// What the loop, the sockets and the timers share.
struct Shared {
    registry: Registry,
    waker: mio::Waker,
    /// Something is ready to run.
    is_woken: AtomicBool,
    executor: Executor<'static>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sockets: BTreeMap<Token, Arc<Mutex<Slot>>>,
    last_token: usize,
    alarms: BTreeMap<Key, Waker>,
    last_alarm: u64,
}

/// When an alarm sounds, and a number to tell those of one time apart.
type Key = (Instant, u64);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::SeqCst) {
            // The loop may wait, and needs no more than one reason not to.
            let _ = self.waker.wake();
        }
    }
}

/// A socket and the task that waits for it.
struct Slot {
    socket: MioSocket,
    waker: Option<Waker>,
}

impl Slot {
    fn process(&mut self, event: &Event) -> Option<Waker> {
        self.socket.process(event);
        self.waker.take()
    }

    fn or_wait<T>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut MioSocket, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let done = act(&mut self.socket, cx);
        if done.is_pending() {
            // One task has the socket, for both directions.
            self.waker = Some(cx.waker().clone());
        }
        done
    }
}

/// The runtime that a [`Reactor`] drives.
#[derive(Clone)]
pub(crate) struct MioRuntime(Arc<Shared>);

impl Runtime for MioRuntime {
    type Socket = TaskSocket;
    type Timer = Alarm;

    fn wrap(&self, socket: UdpSocket) -> io::Result<TaskSocket> {
        let Self(shared) = self;
        let mut state = shared.lock();
        state.last_token += 1;
        let token = Token(state.last_token);
        let mut socket = MioSocket::new(socket)?;
        shared
            .registry
            .register(&mut socket, token, Interest::READABLE)?;
        let waker = None;
        let slot = Arc::new(Mutex::new(Slot { socket, waker }));
        state.sockets.insert(token, Arc::clone(&slot));
        Ok(TaskSocket {
            slot,
            token,
            shared: Arc::clone(shared),
        })
    }

    fn timer(&self) -> Alarm {
        Alarm {
            shared: Arc::clone(&self.0),
            set: None,
        }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.executor.spawn(future).detach();
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        smol::net::resolve((host, port)).await
    }
}

/// A socket of `rtc-mio` that wakes its task.
pub(crate) struct TaskSocket {
    slot: Arc<Mutex<Slot>>,
    token: Token,
    shared: Arc<Shared>,
}

impl DatagramSocket for TaskSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        lock(&self.slot).socket.local_addr()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        lock(&self.slot).or_wait(cx, |socket, cx| socket.poll_recv(cx, bufs, meta))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        lock(&self.slot).or_wait(cx, |socket, cx| socket.poll_send(cx, batch))
    }

    fn max_send_segments(&self) -> usize {
        lock(&self.slot).socket.max_send_segments()
    }

    fn max_recv_segments(&self) -> usize {
        lock(&self.slot).socket.max_recv_segments()
    }
}

impl Drop for TaskSocket {
    fn drop(&mut self) {
        self.shared.lock().sockets.remove(&self.token);
        let _ = self
            .shared
            .registry
            .deregister(&mut lock(&self.slot).socket);
    }
}

/// A timer that the loop serves.
pub(crate) struct Alarm {
    shared: Arc<Shared>,
    set: Option<Key>,
}

impl Timer for Alarm {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.now() >= deadline {
            return Poll::Ready(());
        }
        let mut state = self.shared.lock();
        if let Some(set) = self.set.take() {
            state.alarms.remove(&set);
        }
        state.last_alarm += 1;
        let key = (deadline, state.last_alarm);
        state.alarms.insert(key, cx.waker().clone());
        self.set = Some(key);
        Poll::Pending
    }

    fn wake_after_others(&mut self, cx: &mut Context<'_>) {
        // The executor may run a task some hundred times before the loop has its turn. An alarm
        // whose time has come sounds in that turn.
        let mut state = self.shared.lock();
        state.last_alarm += 1;
        let key = (self.now(), state.last_alarm);
        state.alarms.insert(key, cx.waker().clone());
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(set) = self.set {
            self.shared.lock().alarms.remove(&set);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const WAKER: Token = Token(usize::MAX);
