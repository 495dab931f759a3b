use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rtc::peer_connection::configuration::{RTCConfigurationBuilder, SettingEngine};
use rtc::shared::Rng;

use super::crypto;
use super::executor::{Activity, Executor, JoinHandle, lock};
use super::link::Link;
use super::network::{Gateway, HostId, Network, Traffic};
use super::runtime::TestRuntime;
use super::socket::{SocketCalls, SocketModel, Sockets};
use super::timer::{Sleep, Timers};
use crate::{Builder, Interface};

/// A network of hosts, a clock and the tasks that run on them, all of it in one thread.
///
/// Time stands still while a task can go on, and jumps to the next thing that happens when none can: a
/// datagram arrives or an alarm goes off. What happens follows from the seed. A panic is followed by a
/// line that names it.
///
/// Dropped, it drops every task.
#[derive(Debug)]
pub struct World {
    shared: Arc<Shared>,
}

/// What a world, its hosts, sockets and timers share.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) executor: Executor,
    /// Tasks of no host.
    activity: Arc<Activity>,
    seed: u64,
    start: Instant,
}

pub(super) struct State {
    pub(super) now: Instant,
    pub(super) network: Network,
    pub(super) sockets: Sockets,
    pub(super) timers: Timers,
    pub(super) hosts: BTreeMap<HostId, HostState>,
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    rng: Rng,
    pub(super) next_watcher: u64,
    is_running: bool,
}

pub(super) struct HostState {
    pub(super) interfaces: Vec<Interface>,
    /// Counts changes of the interfaces.
    pub(super) version: u64,
    pub(super) watchers: BTreeMap<u64, Waker>,
    pub(super) model: SocketModel,
    pub(super) calls: SocketCalls,
    pub(super) next_port: u16,
}

impl HostState {
    /// Whether the host has an address.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.interfaces.iter().any(|interface| interface.ip == ip)
    }

    /// The address to send from to a peer.
    pub(super) fn source_for(&self, peer: IpAddr) -> Option<IpAddr> {
        if self.has(peer) {
            return Some(peer);
        }
        let mut ips = self.interfaces.iter().map(|interface| interface.ip);
        ips.find(|ip| ip.is_ipv4() == peer.is_ipv4())
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Moves time to the next thing that happens. `false`: nothing will, ever.
    fn advance(&self) -> bool {
        let mut wakes = Vec::new();
        {
            let mut state = self.lock();
            let State {
                now,
                network,
                sockets,
                timers,
                hosts,
                ..
            } = &mut *state;
            let next = match (network.poll_timeout(), timers.next()) {
                (Some(arrival), Some(alarm)) => arrival.min(alarm),
                (arrival, alarm) => match arrival.or(alarm) {
                    Some(next) => next,
                    None => return false,
                },
            };
            *now = next.max(*now);
            while let Some((host, datagram)) = network.receive(*now) {
                if let Some(state) = hosts.get_mut(&host) {
                    sockets.deliver(host, datagram, network, &mut state.calls, &mut wakes);
                }
            }
            timers.expire(*now, &mut wakes);
        }
        wakes.into_iter().for_each(Waker::wake);
        true
    }

    /// Calls `f` with what a host is, and wakes afterwards whom it says.
    fn change(&self, host: HostId, f: impl FnOnce(&mut State, HostId, &mut Vec<Waker>)) {
        let mut wakes = Vec::new();
        f(&mut self.lock(), host, &mut wakes);
        wakes.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("seed", &self.seed)
            .field("tasks", &self.executor.len())
            .finish_non_exhaustive()
    }
}

/// Making and running.
impl World {
    /// A world without hosts in which everything follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Any instant will do: only differences count.
        let start = Instant::now();
        let mut bytes = [0xd1; 32];
        for (to, from) in bytes.iter_mut().zip(seed.to_be_bytes()) {
            *to = from;
        }
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    now: start,
                    network: Network::new(seed),
                    sockets: Sockets::default(),
                    timers: Timers::default(),
                    hosts: BTreeMap::new(),
                    names: BTreeMap::new(),
                    rng: Rng::from_seed(bytes),
                    next_watcher: 0,
                    is_running: false,
                }),
                executor: Executor::default(),
                activity: Arc::default(),
                seed,
                start,
            }),
        }
    }

    /// What everything follows from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// Runs the world until `future` is done.
    ///
    /// # Panics
    /// When the future waits for something that will never happen, when tasks keep each other busy
    /// without time going on, within another `run` of the same world, and when a task panics that
    /// nobody [awaits](JoinHandle).
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        let _running = Running::begin(&self.shared);
        let executor = &self.shared.executor;
        let task = executor.foreign_task();
        let waker = Waker::from(Arc::clone(&task));
        let mut future = pin!(future);
        Arc::clone(&task).wake();
        loop {
            let mut polls = 0;
            while let Some(next) = executor.next() {
                polls += 1;
                assert!(polls < MAX_POLLS, "tasks are busy and time stands still");
                if !Arc::ptr_eq(&next, &task) {
                    executor.poll(&next);
                } else if let Poll::Ready(value) =
                    future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    return value;
                }
            }
            assert!(
                self.shared.advance(),
                "nothing will ever happen again, and the future is not done"
            );
        }
    }

    /// Runs the world for a time.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_for(&self, duration: Duration) {
        self.run(self.sleep(duration));
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.lock().now
    }

    /// Virtual time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now() - self.shared.start
    }

    /// Waits for a time.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::until(&self.shared, self.now() + duration)
    }

    /// Runs a task that belongs to no host.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        JoinHandle::spawn(&self.shared, &self.shared.activity, future)
    }

    /// Number of live tasks.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.shared.executor.len()
    }

    /// Number of bound sockets.
    #[must_use]
    pub fn sockets(&self) -> usize {
        let state = self.shared.lock();
        let hosts = state.hosts.keys();
        hosts.map(|&host| state.sockets.addrs(host).count()).sum()
    }
}

/// Hosts and links.
impl World {
    /// A host with these addresses, on the interfaces `eth0`, `eth1` and so on.
    ///
    /// # Panics
    /// When one is not an IP address.
    pub fn host<A: AsRef<str>>(&self, addresses: impl IntoIterator<Item = A>) -> Host {
        let id = self.shared.lock().network.add_host([]);
        self.add_host(id, addresses)
    }

    /// A gateway with these public addresses; hosts come behind it by
    /// [`host_behind`](Self::host_behind).
    ///
    /// # Panics
    /// When one is not an IP address.
    pub fn gateway<A: AsRef<str>>(
        &self,
        addresses: impl IntoIterator<Item = A>,
        gateway: impl Gateway,
    ) -> HostId {
        let addresses = addresses.into_iter().map(|it| parse(it.as_ref()));
        self.shared.lock().network.add_gateway(addresses, gateway)
    }

    /// A host behind a gateway, with addresses that only hosts behind the same gateway know.
    ///
    /// # Panics
    /// When one is not an IP address.
    pub fn host_behind<A: AsRef<str>>(
        &self,
        gateway: HostId,
        addresses: impl IntoIterator<Item = A>,
    ) -> Host {
        let id = self.shared.lock().network.add_host_behind(gateway, []);
        self.add_host(id, addresses)
    }

    fn add_host<A: AsRef<str>>(&self, id: HostId, addresses: impl IntoIterator<Item = A>) -> Host {
        let host = Host {
            shared: Arc::clone(&self.shared),
            activity: Arc::default(),
            id,
        };
        let state = HostState {
            interfaces: Vec::new(),
            version: 0,
            watchers: BTreeMap::new(),
            model: SocketModel::default(),
            calls: SocketCalls::default(),
            next_port: 0,
        };
        self.shared.lock().hosts.insert(id, state);
        for (index, address) in addresses.into_iter().enumerate() {
            host.add_interface(&format!("eth{index}"), address.as_ref());
        }
        host
    }

    /// The addresses that a name has, for [`resolve`](crate::Runtime::resolve).
    ///
    /// # Panics
    /// When one is not an IP address.
    pub fn set_name<A: AsRef<str>>(&self, name: &str, addresses: impl IntoIterator<Item = A>) {
        let addresses = addresses.into_iter().map(|it| parse(it.as_ref())).collect();
        self.shared.lock().names.insert(name.to_owned(), addresses);
    }

    /// The link of every pair of hosts that has none of its own, both directions.
    pub fn set_default_link(&self, link: Link) {
        *self.shared.lock().network.default_link_mut() = link;
    }

    /// The link from one host to another, in this direction.
    pub fn set_link(&self, from: &Host, to: &Host, link: Link) {
        *self.shared.lock().network.link_mut(from.id, to.id) = link;
    }

    /// Cuts two hosts off from each other; what is on its way arrives.
    pub fn cut(&self, a: &Host, b: &Host) {
        self.set_cut(a, b, true);
    }

    /// Takes [`cut`](Self::cut) back.
    pub fn heal(&self, a: &Host, b: &Host) {
        self.set_cut(a, b, false);
    }

    fn set_cut(&self, a: &Host, b: &Host, is_cut: bool) {
        let network = &mut self.shared.lock().network;
        network.set_cut(a.id, b.id, is_cut);
        network.set_cut(b.id, a.id, is_cut);
    }

    /// What became of every datagram so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.shared.lock().network.traffic()
    }

    /// Calls `f` with the model of the network, for what there is no method of here.
    pub fn with_network<R>(&self, f: impl FnOnce(&mut Network) -> R) -> R {
        f(&mut self.shared.lock().network)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shared.executor.close();
        if std::thread::panicking() {
            report(self.shared.seed);
        }
    }
}

/// While a world runs.
struct Running<'a>(&'a Shared);

impl<'a> Running<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let was_running = std::mem::replace(&mut shared.lock().is_running, true);
        assert!(!was_running, "a world runs once at a time");
        Self(shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().is_running = false;
    }
}

#[expect(
    clippy::print_stderr,
    reason = "who reads of a panic wants the seed beside it"
)]
fn report(seed: u64) {
    eprintln!("the seed of the world was {seed}");
}

#[expect(clippy::panic, reason = "a mistake in a test is told at once")]
fn parse(address: &str) -> IpAddr {
    match address.parse() {
        Ok(ip) => ip,
        Err(_) => panic!("{address:?} is not an IP address"),
    }
}

/// A machine in a [`World`].
///
/// A handle: clones are of the same host, and can be moved into tasks.
#[derive(Clone, Debug)]
pub struct Host {
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    id: HostId,
}

impl Host {
    /// The runtime of its programs.
    #[must_use]
    pub fn runtime(&self) -> TestRuntime {
        TestRuntime::new(&self.shared, &self.activity, self.id)
    }

    /// Begins a peer connection on this host, with a configuration made by
    /// [`configuration`](Self::configuration).
    pub fn builder(&self) -> Builder<TestRuntime> {
        Builder::new(self.runtime()).with_configuration(self.configuration().build())
    }

    /// Begins a configuration whose random choices follow from the seed of the world; each time they
    /// are others.
    ///
    /// Its [setting engine](Self::setting_engine) is part of that.
    pub fn configuration(&self) -> RTCConfigurationBuilder {
        let seed = self.shared.lock().rng.array();
        RTCConfigurationBuilder::new()
            .with_seed(seed)
            .with_unix_time(UNIX_TIME + (self.shared.lock().now - self.shared.start))
            .with_setting_engine(self.setting_engine())
    }

    /// Default settings, with cryptography that signs in the same number of bytes each time: keys are
    /// others in each run, since libraries insist on their own randomness, but no datagram is longer
    /// or shorter for it.
    #[must_use]
    pub fn setting_engine(&self) -> SettingEngine {
        let mut setting = SettingEngine::default();
        setting.crypto_provider = Some(crypto::provider());
        setting
    }

    /// Names it to the [`Network`].
    #[must_use]
    pub fn id(&self) -> HostId {
        self.id
    }

    /// Its addresses, loopback excepted.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let state = self.shared.lock();
        let interfaces = state.hosts.get(&self.id).map(|host| &host.interfaces);
        let interfaces = interfaces.into_iter().flatten();
        interfaces.map(|interface| interface.ip).collect()
    }

    /// Brings an interface up, or gives one that is up another address.
    ///
    /// # Panics
    /// When it is not an IP address.
    pub fn add_interface(&self, name: &str, address: &str) {
        let ip = parse(address);
        self.change_interfaces(|interfaces| interfaces.push(Interface::new(name, ip)));
        self.shared.lock().network.add_address(self.id, ip);
    }

    /// Takes an address away. Sockets that are bound to it neither send nor receive any more.
    ///
    /// # Panics
    /// When it is not an IP address.
    pub fn remove_interface(&self, address: &str) {
        let ip = parse(address);
        self.change_interfaces(|interfaces| interfaces.retain(|interface| interface.ip != ip));
        self.shared.lock().network.remove_address(self.id, ip);
    }

    fn change_interfaces(&self, f: impl FnOnce(&mut Vec<Interface>)) {
        self.shared.change(self.id, |state, id, wakes| {
            if let Some(host) = state.hosts.get_mut(&id) {
                f(&mut host.interfaces);
                host.version += 1;
                while let Some((_, waker)) = host.watchers.pop_first() {
                    wakes.push(waker);
                }
            }
        });
    }

    /// Cuts the host off from all others; what is on its way to it is lost.
    pub fn cut(&self) {
        self.shared.lock().network.set_host_cut(self.id, true);
    }

    /// Takes [`cut`](Self::cut) back.
    pub fn heal(&self) {
        self.shared.lock().network.set_host_cut(self.id, false);
    }

    /// What everything that the host sends to others passes first; `None` is nothing.
    pub fn set_uplink(&self, link: impl Into<Option<Link>>) {
        self.shared.lock().network.set_uplink(self.id, link);
    }

    /// What everything that others send to the host passes last; `None` is nothing.
    pub fn set_downlink(&self, link: impl Into<Option<Link>>) {
        self.shared.lock().network.set_downlink(self.id, link);
    }

    /// How its sockets behave from now on.
    pub fn set_sockets(&self, model: SocketModel) {
        self.shared.change(self.id, |state, id, wakes| {
            if let Some(host) = state.hosts.get_mut(&id) {
                host.model = model;
            }
            state.sockets.unblock(id, wakes);
        });
    }

    /// The addresses of its sockets.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketAddr> {
        self.shared.lock().sockets.addrs(self.id).collect()
    }

    /// Has the next receive calls of a socket give these errors, as ICMP messages do.
    ///
    /// # Panics
    /// When nobody has bound the address.
    pub fn inject_errors(&self, addr: SocketAddr, errors: impl IntoIterator<Item = io::ErrorKind>) {
        self.shared.change(self.id, |state, id, wakes| {
            let found = state.sockets.inject(id, addr, errors, wakes);
            assert!(found, "there is no socket at {addr}");
        });
    }

    /// Has every call of a socket give this error from now on.
    ///
    /// # Panics
    /// When nobody has bound the address.
    pub fn break_socket(&self, addr: SocketAddr, error: io::ErrorKind) {
        self.shared.change(self.id, |state, id, wakes| {
            let found = state.sockets.break_socket(id, addr, error, wakes);
            assert!(found, "there is no socket at {addr}");
        });
    }

    /// What it has sent and received.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.shared.lock().network.traffic_of(self.id)
    }

    /// Calls that were made of its sockets.
    #[must_use]
    pub fn socket_calls(&self) -> SocketCalls {
        let state = self.shared.lock();
        let host = state.hosts.get(&self.id);
        host.map(|host| host.calls).unwrap_or_default()
    }

    /// Live tasks that its runtimes have spawned.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        self.activity.live.load(Ordering::Relaxed)
    }

    /// How often its tasks were polled.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.activity.polls.load(Ordering::Relaxed)
    }

    /// How often its tasks were woken. Wake-ups of a task before it had its turn are one poll.
    #[must_use]
    pub fn wakes(&self) -> u64 {
        self.activity.wakes.load(Ordering::Relaxed)
    }
}

/// Polls at one moment of virtual time: more than a thousand connections that all have something to
/// do, less than a person waits.
const MAX_POLLS: usize = 1_000_000;
/// Wall-clock time at the beginning of a world: the first of January 2026.
const UNIX_TIME: Duration = Duration::from_secs(1_767_225_600);
