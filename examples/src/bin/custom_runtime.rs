//! A runtime adapter of one's own: what `rtc-tokio` and its siblings are, made of the standard library
//! and nothing else.
//!
//! An adapter is a socket, a timer, and a way to spawn a task; they stand in this order below, and the
//! executor that ties them together at the end. Copy it and put your runtime in the place of the
//! threads: everything else, the handles to await included, comes from `rtc-driver`.
//!
//! The executor runs every task on one thread, which sleeps while there is nothing to do. The sockets
//! are blocking ones: each has a thread that waits for datagrams.
//!
//! ```sh
//! cargo run -p rtc-examples --bin custom_runtime
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use rtc_driver::{Builder, DatagramSocket, RecvMeta, Runtime, SendBatch, Timer};
use sha2::{Digest, Sha256};

/// What the program sends and wants back.
const SIZE: usize = 16 << 20;
const MESSAGE: usize = 16 << 10;

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let executor = Executor::default();
    let start = Instant::now();
    let (sent, echoed) = executor.block_on(echo(&executor))?;
    if sent != echoed {
        return Err("what came back is not what was sent".into());
    }
    let digest: String = echoed.iter().map(|byte| format!("{byte:02x}")).collect();
    let seconds = start.elapsed().as_secs_f64();
    println!("{SIZE} bytes went there and back in {seconds:.2} s, SHA-256 {digest}");
    Ok(())
}

/// Connects two peers, has one echo what the other sends, and gives the digests of both.
async fn echo(executor: &Executor) -> Result<(Vec<u8>, Vec<u8>), Box<dyn Error>> {
    let addr = "127.0.0.1:0".parse()?;
    let alice = Builder::new(executor.clone()).bind(addr).build()?;
    let bob = Builder::new(executor.clone()).bind(addr).build()?;

    let here = alice.create_data_channel("echo", None)?;
    alice.set_local_description(None)?;
    bob.set_remote_description(alice.gathering_complete().await?)?;
    bob.set_local_description(None)?;
    alice.set_remote_description(bob.gathering_complete().await?)?;

    let there = bob.data_channels().next().await.ok_or("no channel")?;
    executor.spawn(async move {
        while let Some(Ok(message)) = there.recv().await {
            if there.send(message).await.is_err() {
                break;
            }
        }
    });

    let data: Vec<u8> = (0..SIZE)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let sent = Sha256::digest(&data).to_vec();
    let sender = here.clone();
    executor.spawn(async move {
        for message in data.chunks(MESSAGE) {
            if sender.send(message).await.is_err() {
                break;
            }
        }
    });

    let mut echoed = Sha256::new();
    let mut left = SIZE;
    while left > 0 {
        let message = here.recv().await.ok_or("the channel closed")??;
        echoed.update(&message.data);
        left = left.saturating_sub(message.data.len());
    }
    alice.close().await?;
    bob.close().await?;
    Ok((sent, echoed.finalize().to_vec()))
}

/// The socket. `poll_recv` and `poll_send` are all it needs; a reactor that tells of readiness would
/// rather use `rtc_driver::udp`, which sends and receives in batches.
struct Socket {
    socket: Arc<UdpSocket>,
    inbox: Arc<Mutex<Inbox>>,
}

/// What the thread of a socket has received.
#[derive(Default)]
struct Inbox {
    datagrams: VecDeque<Datagram>,
    /// Buffers to be filled again.
    spare: Vec<Vec<u8>>,
    waker: Option<Waker>,
    closed: bool,
}

struct Datagram {
    peer: SocketAddr,
    len: usize,
    buffer: Vec<u8>,
}

/// Datagrams that wait; more are dropped, as the system does when its buffer is full.
const MAX_DATAGRAMS: usize = 1024;
/// More than any path carries. What is longer is cut off, and then refused by the connection.
const MAX_DATAGRAM: usize = 2048;

impl Socket {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        // The driver makes sockets non-blocking, which suits most runtimes.
        socket.set_nonblocking(false)?;
        let socket = Arc::new(socket);
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let (receiver, filled) = (Arc::clone(&socket), Arc::clone(&inbox));
        thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || receive(&receiver, &filled))?;
        Ok(Self { socket, inbox })
    }
}

/// The thread of a socket.
fn receive(socket: &UdpSocket, inbox: &Mutex<Inbox>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let received = socket.recv_from(&mut buffer);
        let mut inbox = lock(inbox);
        if inbox.closed {
            return;
        }
        // An error tells of a datagram that was sent before.
        let Ok((len, peer)) = received else { continue };
        if inbox.datagrams.len() >= MAX_DATAGRAMS {
            continue;
        }
        let next = inbox.spare.pop();
        let next = next.unwrap_or_else(|| vec![0; MAX_DATAGRAM]);
        let buffer = std::mem::replace(&mut buffer, next);
        inbox.datagrams.push_back(Datagram { peer, len, buffer });
        let waker = inbox.waker.take();
        // Never wake with a lock held: the other side may want it at once.
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl DatagramSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut inbox = lock(&self.inbox);
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some(Datagram { peer, len, buffer }) = inbox.datagrams.pop_front() else {
                break;
            };
            let len = len.min(buf.len());
            if let (Some(to), Some(from)) = (buf.get_mut(..len), buffer.get(..len)) {
                to.copy_from_slice(from);
            }
            *meta = RecvMeta {
                peer,
                len,
                // One datagram in each buffer.
                stride: len,
                ..RecvMeta::default()
            };
            inbox.spare.push(buffer);
            count += 1;
        }
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        // Under the same lock as the look above, so that no datagram slips in between.
        inbox.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_send(&mut self, _: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        // A blocking socket waits for room by itself, which takes no longer than the interface needs
        // for a datagram. As `max_send_segments` is 1, this is a single one.
        let sent = self.socket.send_to(batch.contents, batch.peer);
        Poll::Ready(sent.map(drop))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        lock(&self.inbox).closed = true;
        // Nothing else ends the call that the thread is in.
        if let Ok(addr) = self.socket.local_addr() {
            let _ = self.socket.send_to(&[], addr);
        }
    }
}

/// The timer. One of these lives in each connection.
struct Alarm {
    executor: Executor,
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
        let mut state = lock(&self.executor.shared.state);
        if let Some(set) = self.set.take() {
            state.alarms.remove(&set);
        }
        state.last_alarm += 1;
        let key = (deadline, state.last_alarm);
        state.alarms.insert(key, cx.waker().clone());
        self.set = Some(key);
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(set) = self.set {
            lock(&self.executor.shared.state).alarms.remove(&set);
        }
    }
}

/// The adapter itself.
impl Runtime for Executor {
    type Socket = Socket;
    type Timer = Alarm;

    fn wrap(&self, socket: UdpSocket) -> io::Result<Socket> {
        Socket::new(socket)
    }

    fn timer(&self) -> Alarm {
        Alarm {
            executor: self.clone(),
            set: None,
        }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let task = Arc::new(Task {
            future: Mutex::new(Some(Box::pin(future))),
            is_ready: AtomicBool::new(false),
            shared: Arc::clone(&self.shared),
        });
        task.wake();
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        // The system's look-up blocks, so it has to happen elsewhere.
        let slot = Arc::new(Mutex::new((None, None::<Waker>)));
        let (found, host) = (Arc::clone(&slot), host.to_owned());
        thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(move || {
                let addrs = (host.as_str(), port).to_socket_addrs();
                let mut found = lock(&found);
                found.0 = Some(addrs.map(Iterator::collect));
                let waker = found.1.take();
                drop(found);
                if let Some(waker) = waker {
                    waker.wake();
                }
            })?;
        std::future::poll_fn(|cx| {
            let mut slot = lock(&slot);
            if let Some(addrs) = slot.0.take() {
                return Poll::Ready(addrs);
            }
            slot.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// An executor for one thread: the one that calls [`block_on`](Self::block_on).
#[derive(Clone, Default)]
struct Executor {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when something is ready.
    ready: Condvar,
}

#[derive(Default)]
struct State {
    /// The future of `block_on` is to be polled.
    main: bool,
    tasks: VecDeque<Arc<Task>>,
    alarms: BTreeMap<Key, Waker>,
    last_alarm: u64,
}

/// When an alarm sounds, and a number to tell those of one time apart.
type Key = (Instant, u64);

struct Task {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    /// It is among the ready ones already.
    is_ready: AtomicBool,
    shared: Arc<Shared>,
}

/// The future of `block_on`, as a task.
struct Main(Arc<Shared>);

impl Executor {
    /// Runs the future, and every task that is spawned meanwhile.
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let main = Arc::new(Main(Arc::clone(&self.shared)));
        Arc::clone(&main).wake();
        let waker = Waker::from(main);
        loop {
            let (main, tasks) = self.shared.wait();
            if main
                && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return output;
            }
            for task in tasks {
                task.run();
            }
        }
    }
}

impl Shared {
    /// Sleeps until something is ready. What becomes ready later has its turn after that.
    fn wait(&self) -> (bool, VecDeque<Arc<Task>>) {
        let mut state = lock(&self.state);
        loop {
            let now = Instant::now();
            let later = state.alarms.split_off(&(now, u64::MAX));
            let due = std::mem::replace(&mut state.alarms, later);
            if !due.is_empty() {
                drop(state);
                due.into_values().for_each(Waker::wake);
                state = lock(&self.state);
            }
            if state.main || !state.tasks.is_empty() {
                let main = std::mem::take(&mut state.main);
                return (main, std::mem::take(&mut state.tasks));
            }
            let next = state.alarms.keys().next().map(|(at, _)| *at);
            state = match next {
                Some(at) => {
                    let timeout = at.saturating_duration_since(now);
                    let waited = self.ready.wait_timeout(state, timeout);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.ready.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

impl Task {
    fn run(self: Arc<Self>) {
        // Before it is polled: who wakes it during the poll wants one more.
        self.is_ready.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self));
        let mut slot = lock(&self.future);
        if let Some(future) = slot.as_mut()
            && future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
        {
            *slot = None;
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.is_ready.swap(true, Ordering::AcqRel) {
            let shared = Arc::clone(&self.shared);
            lock(&shared.state).tasks.push_back(self);
            shared.ready.notify_one();
        }
    }
}

impl Wake for Main {
    fn wake(self: Arc<Self>) {
        lock(&self.0.state).main = true;
        self.0.ready.notify_one();
    }
}

/// A panic with a lock held ends the program's purpose anyway; whoever comes next need not panic too.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
