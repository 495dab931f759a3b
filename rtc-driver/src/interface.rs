use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tracing::debug;

/// A network interface with one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Its name, as `eth0`.
    pub name: String,
    /// The address.
    pub ip: IpAddr,
    /// Whether it is a point-to-point link, as VPN tunnels are.
    pub is_point_to_point: bool,
}

impl Interface {
    /// An interface of this name and address, not point-to-point.
    pub fn new(name: impl Into<String>, ip: IpAddr) -> Self {
        Self {
            name: name.into(),
            ip,
            is_point_to_point: false,
        }
    }

    /// Every address of every interface of this machine.
    ///
    /// # Errors
    /// When the system does not list them.
    pub fn list() -> io::Result<Vec<Self>> {
        Ok(if_addrs::get_if_addrs()?
            .into_iter()
            .map(|interface| Self {
                ip: interface.ip(),
                is_point_to_point: interface.is_p2p(),
                name: interface.name,
            })
            .collect())
    }
}

type PollChanged = Box<dyn FnMut(&mut Context<'_>) -> Poll<()> + Send>;

/// Tells when the interfaces of a machine may have changed.
pub struct InterfaceChanges {
    poll: PollChanged,
}

impl InterfaceChanges {
    /// Made of a function that is ready when something may have changed since it was ready before,
    /// and else registers the waker.
    pub fn new(poll: impl FnMut(&mut Context<'_>) -> Poll<()> + Send + 'static) -> Self {
        Self {
            poll: Box::new(poll),
        }
    }

    /// Changes of this machine. One thread for the whole process listens to the system as long as
    /// somebody wants to know.
    #[must_use]
    pub fn of_system() -> Self {
        let subscription = subscribe();
        Self::new(move |cx| {
            let mut state = lock(&subscription);
            if std::mem::take(&mut state.changed) {
                return Poll::Ready(());
            }
            if !state
                .waker
                .as_ref()
                .is_some_and(|it| it.will_wake(cx.waker()))
            {
                state.waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
    }

    /// Ready when something may have changed since it was ready before.
    pub fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        (self.poll)(cx)
    }
}

impl fmt::Debug for InterfaceChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterfaceChanges").finish_non_exhaustive()
    }
}

/// One listener.
#[derive(Default)]
struct Subscription {
    changed: bool,
    waker: Option<Waker>,
}

/// The listeners of the process; the thread ends when it finds none.
struct Watcher {
    listeners: Vec<Weak<Mutex<Subscription>>>,
    running: bool,
}

static WATCHER: Mutex<Watcher> = Mutex::new(Watcher {
    listeners: Vec::new(),
    running: false,
});

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn subscribe() -> Arc<Mutex<Subscription>> {
    let subscription = Arc::new(Mutex::new(Subscription::default()));
    let mut watcher = lock(&WATCHER);
    watcher.listeners.push(Arc::downgrade(&subscription));
    if !watcher.running {
        let thread = std::thread::Builder::new().name("rtc-interfaces".to_owned());
        match thread.spawn(watch) {
            Ok(_) => watcher.running = true,
            Err(error) => debug!(%error, "interfaces are not watched"),
        }
    }
    subscription
}

/// The thread: tells every listener whenever the list of addresses is another.
fn watch() {
    let news = News::open();
    let mut known = Interface::list().ok();
    loop {
        news.wait();
        let now = Interface::list().ok();
        let changed = now != known;
        known = now;
        let mut wakes = Vec::new();
        {
            let mut watcher = lock(&WATCHER);
            watcher.listeners.retain(|listener| {
                let Some(listener) = listener.upgrade() else {
                    return false;
                };
                if changed {
                    let mut state = lock(&listener);
                    state.changed = true;
                    wakes.extend(state.waker.take());
                }
                true
            });
            if watcher.listeners.is_empty() {
                watcher.running = false;
                return;
            }
        }
        wakes.into_iter().for_each(Waker::wake);
    }
}

/// How the thread learns that it should look.
struct News {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    netlink: Option<rustix::fd::OwnedFd>,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl News {
    fn open() -> Self {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, netlink, socket_with};
        let open = || {
            let socket = socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                None,
            )?;
            bind(&socket, &netlink::SocketAddrNetlink::new(0, NETLINK_GROUPS))?;
            // So that the thread finds out that nobody listens any more.
            rustix::net::sockopt::set_socket_timeout(
                &socket,
                rustix::net::sockopt::Timeout::Recv,
                Some(PATIENCE),
            )?;
            Ok::<_, io::Error>(socket)
        };
        let netlink = open()
            .inspect_err(|error| debug!(%error, "no netlink; interfaces are polled"))
            .ok();
        Self { netlink }
    }

    fn wait(&self) {
        let Some(netlink) = &self.netlink else {
            std::thread::sleep(POLL_INTERVAL);
            return;
        };
        let mut buffer = [0; 8192];
        match rustix::net::recv(netlink, &mut buffer, rustix::net::RecvFlags::empty()) {
            // A change comes as several messages; one look serves all.
            Ok(_) => std::thread::sleep(SETTLE),
            Err(rustix::io::Errno::AGAIN) => {}
            // Too many messages at once, or the socket is of no use: looking is right in both cases.
            Err(_) => std::thread::sleep(POLL_INTERVAL),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl News {
    fn open() -> Self {
        Self {}
    }

    fn wait(&self) {
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NETLINK_GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// How long the messages of one change may take.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SETTLE: Duration = Duration::from_millis(20);

/// How long the thread outlives its last listener.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the system does not tell.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// RFC 8445 section 5.1.1.1, except loopback, which the caller decides about. Link-local IPv6 would
/// need a zone that candidates cannot carry.
pub(crate) fn is_candidate(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => {
            !ip.is_unspecified()
                && !ip.is_multicast()
                && !ip.is_unicast_link_local()
                && ip.to_ipv4_mapped().is_none()
                && (ip.segments().first().copied().unwrap_or_default() & 0xffc0) != 0xfec0
        }
    }
}
