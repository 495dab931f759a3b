//! A runtime around another that counts what lives on it, and makes sockets and interfaces misbehave.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use rtc::shared::TransportProtocol;
use rtc_driver::{
    DatagramSocket, Interface, InterfaceChanges, RecvMeta, Runtime, SendBatch, SocketOptions,
};

/// A runtime under observation.
#[derive(Clone)]
pub(super) struct Probe<R> {
    inner: R,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    tasks: Arc<AtomicUsize>,
    sockets: Arc<AtomicUsize>,
    faults: Mutex<Faults>,
    interfaces: Mutex<Interfaces>,
    ending: Mutex<Ending>,
}

/// What happens to the next calls of any socket.
#[derive(Default)]
struct Faults {
    receive: VecDeque<ErrorKind>,
    send: VecDeque<ErrorKind>,
    /// Send calls that find no room.
    full: usize,
    /// Sockets that give an error from now on, and those that wait for it.
    broken: BTreeMap<SocketAddr, ErrorKind>,
    readers: BTreeMap<SocketAddr, Waker>,
}

/// Interfaces that take the place of the real ones.
#[derive(Default)]
struct Interfaces {
    list: Option<Vec<Interface>>,
    version: u64,
    watchers: Vec<Waker>,
}

/// Whether every task is to be dropped.
#[derive(Default)]
struct Ending {
    has_ended: bool,
    tasks: BTreeMap<usize, Waker>,
    next: usize,
}

impl<R: Runtime> Probe<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            state: Arc::default(),
        }
    }

    /// Live tasks.
    pub(super) fn tasks(&self) -> usize {
        self.state.tasks.load(Ordering::Relaxed)
    }

    /// Live sockets.
    pub(super) fn sockets(&self) -> usize {
        self.state.sockets.load(Ordering::Relaxed)
    }

    /// Has the next receive calls give errors.
    pub(super) fn fail_receiving(&self, errors: impl IntoIterator<Item = ErrorKind>) {
        self.faults().receive.extend(errors);
    }

    /// Has the next send calls give errors.
    pub(super) fn fail_sending(&self, errors: impl IntoIterator<Item = ErrorKind>) {
        self.faults().send.extend(errors);
    }

    /// Has the next send calls find no room.
    pub(super) fn fill(&self, calls: usize) {
        self.faults().full += calls;
    }

    /// Whether every fault that was asked for has happened.
    pub(super) fn faults_are_over(&self) -> bool {
        let faults = self.faults();
        faults.receive.is_empty() && faults.send.is_empty() && faults.full == 0
    }

    /// Has a socket give an error for ever.
    pub(super) fn break_socket(&self, addr: SocketAddr, error: ErrorKind) {
        let mut faults = self.faults();
        faults.broken.insert(addr, error);
        let reader = faults.readers.remove(&addr);
        drop(faults);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Says that these are the interfaces from now on.
    pub(super) fn set_interfaces(&self, ips: &[IpAddr]) {
        let mut interfaces = self.interfaces_state();
        let named = |(index, ip): (usize, &IpAddr)| Interface::new(format!("if{index}"), *ip);
        interfaces.list = Some(ips.iter().enumerate().map(named).collect());
        interfaces.version += 1;
        let watchers = std::mem::take(&mut interfaces.watchers);
        drop(interfaces);
        watchers.into_iter().for_each(Waker::wake);
    }

    /// Drops every task, as the end of a runtime does.
    pub(super) fn end_tasks(&self) {
        let mut ending = self.state.ending.lock().unwrap();
        ending.has_ended = true;
        let tasks = std::mem::take(&mut ending.tasks);
        drop(ending);
        tasks.into_values().for_each(Waker::wake);
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.state.faults.lock().unwrap()
    }

    fn interfaces_state(&self) -> MutexGuard<'_, Interfaces> {
        self.state.interfaces.lock().unwrap()
    }

    fn socket(&self, socket: R::Socket) -> ProbeSocket<R::Socket> {
        ProbeSocket {
            socket,
            state: Arc::clone(&self.state),
            _live: Live::new(&self.state.sockets),
        }
    }
}

impl<R: Runtime> Runtime for Probe<R> {
    type Socket = ProbeSocket<R::Socket>;
    type Timer = R::Timer;

    fn wrap(&self, socket: std::net::UdpSocket) -> io::Result<Self::Socket> {
        Ok(self.socket(self.inner.wrap(socket)?))
    }

    fn for_tasks(&self) -> Self {
        Self {
            inner: self.inner.for_tasks(),
            state: Arc::clone(&self.state),
        }
    }

    fn bind(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<Self::Socket> {
        if let Some(list) = &self.interfaces_state().list
            && !list.iter().any(|interface| interface.ip == addr.ip())
        {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        Ok(self.socket(self.inner.bind(addr, options)?))
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        match &self.interfaces_state().list {
            Some(list) => Ok(list.clone()),
            None => self.inner.interfaces(),
        }
    }

    fn interface_changes(&self) -> InterfaceChanges {
        if self.interfaces_state().list.is_none() {
            return self.inner.interface_changes();
        }
        // Not the probe itself, which would keep the runtime alive in a task of its own.
        let state = Arc::clone(&self.state);
        let mut seen = self.interfaces_state().version;
        InterfaceChanges::new(move |cx| {
            let mut interfaces = state.interfaces.lock().unwrap();
            if interfaces.version != seen {
                seen = interfaces.version;
                return Poll::Ready(());
            }
            interfaces.watchers.push(cx.waker().clone());
            Poll::Pending
        })
    }

    fn timer(&self) -> R::Timer {
        self.inner.timer()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.inner.spawn(Task {
            future: Some(Box::pin(future)),
            state: Arc::clone(&self.state),
            id: {
                let mut ending = self.state.ending.lock().unwrap();
                ending.next += 1;
                ending.next
            },
            _live: Live::new(&self.state.tasks),
        });
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.inner.resolve(host, port).await
    }
}

/// Counts itself while it lives.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A task that ends when it is told to. The future is dropped before the count goes down.
struct Task<F> {
    future: Option<Pin<Box<F>>>,
    state: Arc<State>,
    id: usize,
    _live: Live,
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        {
            let mut ending = this.state.ending.lock().unwrap();
            if ending.has_ended {
                drop(ending);
                this.future = None;
            } else {
                ending.tasks.insert(this.id, cx.waker().clone());
            }
        }
        match &mut this.future {
            Some(future) => future.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl<F> Drop for Task<F> {
    fn drop(&mut self) {
        self.future = None;
        self.state.ending.lock().unwrap().tasks.remove(&self.id);
    }
}

/// A socket under observation.
pub(super) struct ProbeSocket<S> {
    socket: S,
    state: Arc<State>,
    _live: Live,
}

impl<S: DatagramSocket> DatagramSocket for ProbeSocket<S> {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let addr = self.socket.local_addr()?;
        {
            let mut faults = self.state.faults.lock().unwrap();
            let broken = faults.broken.get(&addr).copied();
            if let Some(error) = broken.or_else(|| faults.receive.pop_front()) {
                return Poll::Ready(Err(error.into()));
            }
            faults.readers.insert(addr, cx.waker().clone());
        }
        self.socket.poll_recv(cx, bufs, meta)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        let addr = self.socket.local_addr()?;
        {
            let mut faults = self.state.faults.lock().unwrap();
            let broken = faults.broken.get(&addr).copied();
            if let Some(error) = broken.or_else(|| faults.send.pop_front()) {
                return Poll::Ready(Err(error.into()));
            }
            if faults.full > 0 {
                faults.full -= 1;
                // Room at once, but the driver does not know.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        self.socket.poll_send(cx, batch)
    }

    fn protocol(&self) -> TransportProtocol {
        self.socket.protocol()
    }

    fn max_send_segments(&self) -> usize {
        self.socket.max_send_segments()
    }

    fn max_recv_segments(&self) -> usize {
        self.socket.max_recv_segments()
    }
}
