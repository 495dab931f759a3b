//! A network, a clock and an executor that live in one thread and one moment.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::{RTCConfigurationBuilder, SettingEngine};
use rtc_driver::{DatagramSocket, Driver, PeerConnection, RecvMeta, SendBatch, Timer, rtc};

#[derive(Clone)]
pub struct Net(Arc<Mutex<State>>);

pub struct State {
    pub now: Instant,
    pub latency: Duration,
    /// Drops every n-th datagram.
    pub drop_every: Option<usize>,
    /// Refuses every n-th send call for a moment.
    pub block_every: Option<usize>,
    /// Datagrams that a send call takes.
    pub segments: usize,
    /// Refuses segmented sends although `segments` says otherwise.
    pub refuse_segments: bool,
    /// Joins datagrams on receipt.
    pub coalesce: bool,
    /// Nothing arrives at or leaves these any more.
    pub dead: Vec<SocketAddr>,
    /// Largest number of bytes that were on their way at once.
    pub largest_send: usize,
    pub sends: usize,
    datagrams: usize,
    inboxes: BTreeMap<SocketAddr, Inbox>,
    timers: BTreeMap<usize, (Instant, Waker)>,
    blocked: Vec<Waker>,
    ids: usize,
}

#[derive(Default)]
struct Inbox {
    datagrams: VecDeque<(Instant, SocketAddr, Vec<u8>)>,
    errors: VecDeque<io::ErrorKind>,
    /// Comes again and again.
    broken: Option<io::ErrorKind>,
    waker: Option<Waker>,
}

impl Net {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            now: Instant::now(),
            latency: Duration::from_millis(10),
            drop_every: None,
            block_every: None,
            segments: 16,
            refuse_segments: false,
            coalesce: true,
            dead: Vec::new(),
            largest_send: 0,
            sends: 0,
            datagrams: 0,
            inboxes: BTreeMap::new(),
            timers: BTreeMap::new(),
            blocked: Vec::new(),
            ids: 0,
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn socket(&self, addr: &str) -> Socket {
        let addr = addr.parse().unwrap();
        self.lock().inboxes.insert(addr, Inbox::default());
        let segments = self.lock().segments;
        Socket {
            net: self.clone(),
            addr,
            segments,
        }
    }

    pub fn timer(&self) -> Alarm {
        let mut state = self.lock();
        state.ids += 1;
        Alarm {
            net: self.clone(),
            id: state.ids,
        }
    }

    pub fn inject(&self, addr: &str, errors: impl IntoIterator<Item = io::ErrorKind>) {
        let mut state = self.lock();
        let inbox = state.inboxes.get_mut(&addr.parse().unwrap()).unwrap();
        inbox.errors.extend(errors);
        if let Some(waker) = inbox.waker.take() {
            waker.wake();
        }
    }

    pub fn break_socket(&self, addr: &str, error: io::ErrorKind) {
        let mut state = self.lock();
        let inbox = state.inboxes.get_mut(&addr.parse().unwrap()).unwrap();
        inbox.broken = Some(error);
        if let Some(waker) = inbox.waker.take() {
            waker.wake();
        }
    }

    /// A connection with sockets at these addresses.
    pub fn connection(&self, addrs: &[&str], seed: u8) -> (PeerConnection, Driver<Socket, Alarm>) {
        self.connection_with(addrs, seed, SettingEngine::default())
    }

    pub fn connection_with(
        &self,
        addrs: &[&str],
        seed: u8,
        setting: SettingEngine,
    ) -> (PeerConnection, Driver<Socket, Alarm>) {
        let configuration = RTCConfigurationBuilder::new()
            .with_seed([seed; 32])
            .with_setting_engine(setting)
            .build()
            .with_now(self.lock().now);
        let core = RTCPeerConnection::new(configuration).unwrap();
        let sockets: Vec<_> = addrs.iter().map(|addr| self.socket(addr)).collect();
        Driver::with_sockets(core, sockets, self.timer()).unwrap()
    }

    /// Moves time to the next thing that happens. `false`: nothing will, ever.
    fn advance(&self) -> bool {
        let mut state = self.lock();
        let arrivals = state
            .inboxes
            .values()
            .filter(|inbox| inbox.waker.is_some())
            .filter_map(|inbox| inbox.datagrams.front().map(|datagram| datagram.0));
        let Some(next) = state
            .timers
            .values()
            .map(|timer| timer.0)
            .chain(arrivals)
            .min()
        else {
            return false;
        };
        state.now = state.now.max(next);
        let now = state.now;
        let mut wakes = Vec::new();
        state.timers.retain(|_, (deadline, waker)| {
            let due = *deadline <= now;
            if due {
                wakes.push(waker.clone());
            }
            !due
        });
        for inbox in state.inboxes.values_mut() {
            if inbox
                .datagrams
                .front()
                .is_some_and(|datagram| datagram.0 <= now)
            {
                wakes.extend(inbox.waker.take());
            }
        }
        drop(state);
        wakes.into_iter().for_each(Waker::wake);
        true
    }
}

pub struct Socket {
    net: Net,
    addr: SocketAddr,
    segments: usize,
}

impl DatagramSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.net.lock();
        let (now, coalesce) = (state.now, state.coalesce);
        let inbox = state.inboxes.get_mut(&self.addr).unwrap();
        if let Some(error) = inbox.broken.or_else(|| inbox.errors.pop_front()) {
            return Poll::Ready(Err(error.into()));
        }
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            *meta = RecvMeta::default();
            while let Some((at, from, bytes)) = inbox.datagrams.front() {
                let joins = meta.len == 0
                    || coalesce
                        && *from == meta.peer
                        && bytes.len() <= meta.stride
                        && meta.len % meta.stride == 0
                        && meta.len < 64 * meta.stride
                        && meta.len + bytes.len() <= buf.len();
                if *at > now || !joins {
                    break;
                }
                if meta.len == 0 {
                    *meta = RecvMeta {
                        peer: *from,
                        stride: bytes.len(),
                        ..*meta
                    };
                }
                buf[meta.len..][..bytes.len()].copy_from_slice(bytes);
                meta.len += bytes.len();
                inbox.datagrams.pop_front();
            }
            count += usize::from(meta.len > 0);
        }
        if count == 0 {
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        let mut state = self.net.lock();
        state.sends += 1;
        if state
            .block_every
            .is_some_and(|n| state.sends.is_multiple_of(n))
        {
            state.blocked.push(cx.waker().clone());
            return Poll::Pending;
        }
        let size = batch.segment_size.unwrap_or(batch.contents.len());
        let segments = batch.contents.len().div_ceil(size);
        assert!(segments <= self.segments, "a batch larger than was allowed");
        if segments > 1 && state.refuse_segments {
            self.segments = 1;
            return Poll::Ready(Err(io::Error::other("EIO")));
        }
        state.largest_send = state.largest_send.max(segments);
        for datagram in batch.contents.chunks(size) {
            state.datagrams += 1;
            let lost = state
                .drop_every
                .is_some_and(|n| state.datagrams.is_multiple_of(n));
            let dead = state.dead.contains(&batch.peer) || state.dead.contains(&self.addr);
            let at = state.now + state.latency;
            if let Some(inbox) = state
                .inboxes
                .get_mut(&batch.peer)
                .filter(|_| !lost && !dead)
            {
                inbox
                    .datagrams
                    .push_back((at, self.addr, datagram.to_vec()));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn max_send_segments(&self) -> usize {
        self.segments
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.net.lock().inboxes.remove(&self.addr);
    }
}

pub struct Alarm {
    net: Net,
    id: usize,
}

impl Timer for Alarm {
    fn now(&self) -> Instant {
        self.net.lock().now
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let mut state = self.net.lock();
        if state.now >= deadline {
            return Poll::Ready(());
        }
        state.timers.insert(self.id, (deadline, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.net.lock().timers.remove(&self.id);
    }
}

/// Counts wake-ups.
#[derive(Default)]
pub struct Flag(AtomicUsize);

impl Flag {
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    flag: Arc<Flag>,
    polls: Arc<AtomicUsize>,
}

/// Runs tasks, and time when none can go on.
pub struct World {
    pub net: Net,
    tasks: RefCell<Vec<Task>>,
}

impl World {
    pub fn new() -> Self {
        Self {
            net: Net::new(),
            tasks: RefCell::default(),
        }
    }

    /// Gives the number of polls.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> Arc<AtomicUsize> {
        let polls = Arc::default();
        let flag = Arc::new(Flag(AtomicUsize::new(1)));
        let task = Task {
            future: Box::pin(future),
            flag,
            polls: Arc::clone(&polls),
        };
        self.tasks.borrow_mut().push(task);
        polls
    }

    /// Live tasks.
    pub fn tasks(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// A connection whose driver is a task.
    pub fn peer(&self, addrs: &[&str], seed: u8) -> PeerConnection {
        self.peer_with(addrs, seed, SettingEngine::default())
    }

    pub fn peer_with(&self, addrs: &[&str], seed: u8, setting: SettingEngine) -> PeerConnection {
        let (connection, driver) = self.net.connection_with(addrs, seed, setting);
        self.spawn(async move { driver.await.unwrap() });
        connection
    }

    /// Two peers that have exchanged their descriptions and are connecting.
    pub fn pair(&self) -> (PeerConnection, PeerConnection) {
        let alice = self.peer(&["192.0.2.1:1000"], 1);
        let bob = self.peer(&["192.0.2.2:2000"], 2);
        (alice, bob)
    }

    /// Runs until `future` is done.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let flag = Arc::new(Flag(AtomicUsize::new(1)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(turns < 2_000_000, "no end in sight");
            let mut idle = true;
            if flag.take() > 0 {
                idle = false;
                if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return value;
                }
            }
            idle &= !self.turn();
            if idle {
                let blocked = std::mem::take(&mut self.net.lock().blocked);
                if !blocked.is_empty() {
                    blocked.into_iter().for_each(Waker::wake);
                } else if !self.net.advance() {
                    panic!("nothing will ever happen again");
                }
            }
        }
    }

    /// Runs for a time.
    pub fn run_for(&self, duration: Duration) {
        let mut alarm = self.net.timer();
        let deadline = alarm.now() + duration;
        self.run(std::future::poll_fn(|cx| alarm.poll_deadline(cx, deadline)));
    }

    /// Polls every task that was woken.
    fn turn(&self) -> bool {
        let mut busy = false;
        let mut tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        tasks.retain_mut(|task| {
            if task.flag.take() == 0 {
                return true;
            }
            busy = true;
            task.polls.fetch_add(1, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(&task.flag));
            task.future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        });
        self.tasks.borrow_mut().splice(..0, tasks);
        busy
    }
}

/// Exchanges the descriptions and waits until both are connected.
pub async fn connect(alice: &PeerConnection, bob: &PeerConnection) {
    signal(alice, bob).await;
    alice.connected().await.unwrap();
    bob.connected().await.unwrap();
}

pub async fn signal(alice: &PeerConnection, bob: &PeerConnection) {
    alice.set_local_description(None).unwrap();
    bob.set_remote_description(alice.gathering_complete().await.unwrap())
        .unwrap();
    bob.set_local_description(None).unwrap();
    alice
        .set_remote_description(bob.gathering_complete().await.unwrap())
        .unwrap();
}

/// A pseudo-random text that shows what is missing.
pub fn bytes(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// Polls once.
pub fn poll_once<F: Future>(future: Pin<&mut F>, flag: &Arc<Flag>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(flag))))
}
