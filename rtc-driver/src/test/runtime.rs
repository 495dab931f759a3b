use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::executor::{Activity, JoinHandle};
use super::network::HostId;
use super::socket::TestSocket;
use super::timer::{Sleep, TestTimer};
use super::world::Shared;
use crate::{Interface, InterfaceChanges, Runtime, SocketOptions};

/// The runtime of a [`Host`](super::Host).
#[derive(Clone)]
pub struct TestRuntime {
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    host: HostId,
}

impl TestRuntime {
    pub(super) fn new(shared: &Arc<Shared>, activity: &Arc<Activity>, host: HostId) -> Self {
        Self {
            shared: Arc::clone(shared),
            activity: Arc::clone(activity),
            host,
        }
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.lock().now
    }

    /// Waits for a time.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::until(&self.shared, self.now() + duration)
    }

    /// What `future` gives, unless it takes longer than `duration`.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut sleep = pin!(self.sleep(duration));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    /// Runs a task whose end can be awaited; [`Runtime::spawn`] gives no handle.
    pub fn spawn_joinable<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        JoinHandle::spawn(&self.shared, &self.activity, future)
    }
}

impl fmt::Debug for TestRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRuntime")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Runtime for TestRuntime {
    type Socket = TestSocket;
    type Timer = TestTimer;

    /// # Errors
    /// Always: sockets of the system are not of this network.
    fn wrap(&self, _: std::net::UdpSocket) -> io::Result<TestSocket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn bind(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<TestSocket> {
        TestSocket::bind(&self.shared, self.host, addr, options)
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        let state = self.shared.lock();
        let own = state.hosts.get(&self.host).map(|host| &host.interfaces);
        let loopback = Interface::new("lo", IpAddr::from([127, 0, 0, 1]));
        Ok([loopback]
            .into_iter()
            .chain(own.into_iter().flatten().cloned())
            .collect())
    }

    fn interface_changes(&self) -> InterfaceChanges {
        let mut watcher = Watcher::new(self);
        InterfaceChanges::new(move |cx| {
            let Watcher {
                shared,
                host,
                id,
                seen,
            } = &mut watcher;
            let mut state = shared.lock();
            let Some(host) = state.hosts.get_mut(host) else {
                return Poll::Pending;
            };
            if host.version != *seen {
                *seen = host.version;
                return Poll::Ready(());
            }
            host.watchers.insert(*id, cx.waker().clone());
            Poll::Pending
        })
    }

    fn timer(&self) -> TestTimer {
        TestTimer::new(&self.shared)
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.shared.executor.spawn(&self.activity, future);
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let ips = match host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => {
                let names = &self.shared.lock().names;
                names.get(host).cloned().ok_or(io::ErrorKind::NotFound)?
            }
        };
        Ok(ips.into_iter().map(|ip| (ip, port).into()).collect())
    }
}

/// Who wants to know of changes of the interfaces.
struct Watcher {
    shared: Arc<Shared>,
    host: HostId,
    id: u64,
    /// The version that it has been told of.
    seen: u64,
}

impl Watcher {
    fn new(runtime: &TestRuntime) -> Self {
        let mut state = runtime.shared.lock();
        state.next_watcher += 1;
        let id = state.next_watcher;
        let seen = state.hosts.get(&runtime.host).map_or(0, |it| it.version);
        Self {
            shared: Arc::clone(&runtime.shared),
            host: runtime.host,
            id,
            seen,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Some(host) = state.hosts.get_mut(&self.host) {
            host.watchers.remove(&self.id);
        }
    }
}
