use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::Context;

use rtc::peer_connection::RTCEvent;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

use crate::interface::{Interface, InterfaceChanges, is_candidate};
use crate::{Core as _, CoreAccess, DatagramSocket, Error, Network, Pump};

type Filter = Arc<dyn Fn(&Interface) -> bool + Send + Sync>;

/// What a socket is asked for when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// Size of the receive buffer, bytes; `None` leaves the system's default.
    pub receive_buffer: Option<usize>,
    /// Size of the send buffer, bytes; `None` leaves the system's default.
    pub send_buffer: Option<usize>,
    /// Whether other sockets with the same wish may be bound to the same address; the system
    /// shares datagrams out by their source.
    pub reuse_port: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            receive_buffer: Some(RECEIVE_BUFFER),
            send_buffer: None,
            reuse_port: false,
        }
    }
}

impl SocketOptions {
    /// Makes a non-blocking UDP socket of the system.
    ///
    /// # Errors
    /// When the system refuses. A buffer size that it refuses is none.
    pub fn open(&self, addr: SocketAddr) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            // Each family has a socket of its own; a mapped address would be a second name of one.
            socket.set_only_v6(true)?;
        }
        if self.reuse_port {
            reuse_port(&socket)?;
        }
        for (size, set) in [
            (
                self.receive_buffer,
                Socket::set_recv_buffer_size as fn(&Socket, usize) -> _,
            ),
            (self.send_buffer, Socket::set_send_buffer_size),
        ] {
            if let Some(size) = size
                && let Err(error) = set(&socket, size)
            {
                debug!(%addr, size, %error, "socket buffer keeps its size");
            }
        }
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        Ok(socket.into())
    }
}

#[cfg(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
))]
fn reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
)))]
fn reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Which sockets a connection gets.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    /// Addresses to bind; a wildcard stands for every interface address of its family. Empty: every
    /// interface address, port 0.
    pub(crate) bind: Vec<SocketAddr>,
    pub(crate) loopback: bool,
    pub(crate) filter: Option<Filter>,
    pub(crate) ports: Option<RangeInclusive<u16>>,
    pub(crate) socket: SocketOptions,
    /// Whether interfaces that come and go later matter.
    pub(crate) watch: bool,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("bind", &self.bind)
            .field("loopback", &self.loopback)
            .field("ports", &self.ports)
            .field("socket", &self.socket)
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Binds the sockets.
    pub(crate) fn bind<N: Network>(&self, network: &N) -> Result<Vec<N::Socket>, Error> {
        let mut sockets = Vec::new();
        if self.bind.is_empty() {
            self.bind_interfaces(network, &WILDCARDS, &mut sockets)?;
        }
        for &addr in &self.bind {
            if addr.ip().is_unspecified() {
                self.bind_interfaces(network, &[addr], &mut sockets)?;
            } else {
                sockets.push(self.bind_address(network, addr)?);
            }
        }
        Ok(sockets)
    }

    fn bind_interfaces<N: Network>(
        &self,
        network: &N,
        wildcards: &[SocketAddr],
        sockets: &mut Vec<N::Socket>,
    ) -> Result<(), Error> {
        let before = sockets.len();
        let mut last_error = Error::NoInterfaces;
        for addr in self.interface_addrs(network, wildcards)? {
            match self.bind_address(network, addr) {
                Ok(socket) => sockets.push(socket),
                // An address can go away between listing and binding, and a new IPv6 address cannot
                // be bound yet. A port that somebody asked for by number is another matter.
                Err(error @ Error::AddressInUse(_)) => return Err(error),
                Err(error) => {
                    debug!(%addr, %error, "interface left out");
                    last_error = error;
                }
            }
        }
        if sockets.len() == before {
            Err(last_error)
        } else {
            Ok(())
        }
    }

    /// The interface addresses that wildcards stand for now, with their ports.
    fn interface_addrs<N: Network>(
        &self,
        network: &N,
        wildcards: &[SocketAddr],
    ) -> Result<Vec<SocketAddr>, Error> {
        let interfaces = network
            .list_interfaces()
            .map_err(|error| Error::Interfaces(error.kind()))?;
        let addrs = self.usable(&interfaces).filter_map(|interface| {
            let wildcard = wildcards
                .iter()
                .find(|wildcard| wildcard.is_ipv4() == interface.ip.is_ipv4())?;
            Some(SocketAddr::new(interface.ip, wildcard.port()))
        });
        Ok(addrs.collect())
    }

    fn usable<'a>(&'a self, interfaces: &'a [Interface]) -> impl Iterator<Item = &'a Interface> {
        interfaces
            .iter()
            .enumerate()
            .filter_map(|(index, interface)| {
                let first = !interfaces
                    .iter()
                    .take(index)
                    .any(|earlier| earlier.ip == interface.ip);
                let usable = first
                    && (self.loopback || !interface.ip.is_loopback())
                    && is_candidate(interface.ip)
                    && self.filter.as_ref().is_none_or(|filter| filter(interface));
                usable.then_some(interface)
            })
    }

    fn bind_address<N: Network>(&self, network: &N, addr: SocketAddr) -> Result<N::Socket, Error> {
        let bind = |addr| network.bind_socket(addr, &self.socket);
        let Some(range) = self.ports.clone().filter(|_| addr.port() == 0) else {
            return bind(addr).map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => Error::AddressInUse(addr),
                kind => Error::Socket { addr, kind },
            });
        };
        // Each search begins where the last one ended, so that many connections do not try the same
        // taken ports again and again.
        let count = u32::from(range.end().saturating_sub(*range.start())) + 1;
        let offset = u32::from(NEXT_PORT.fetch_add(1, Ordering::Relaxed));
        for step in 0..count {
            let shift = u16::try_from((offset + step) % count).unwrap_or_default();
            let port = range.start().saturating_add(shift);
            let addr = SocketAddr::new(addr.ip(), port);
            match bind(addr) {
                Ok(socket) => {
                    NEXT_PORT.store(shift.wrapping_add(1), Ordering::Relaxed);
                    return Ok(socket);
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    return Err(Error::Socket {
                        addr,
                        kind: error.kind(),
                    });
                }
            }
        }
        Err(Error::NoFreePort {
            addr: addr.ip(),
            range,
        })
    }

    /// Follows the interfaces from now on, for the wildcards of the plan.
    pub(crate) fn watch<N: Network + Send + 'static>(
        self,
        network: N,
    ) -> Option<InterfaceWatch<N::Socket>> {
        let wildcards: Vec<_> = if self.bind.is_empty() {
            WILDCARDS.to_vec()
        } else {
            let is_wildcard = |addr: &&SocketAddr| addr.ip().is_unspecified();
            self.bind.iter().filter(is_wildcard).copied().collect()
        };
        (self.watch && !wildcards.is_empty()).then(|| InterfaceWatch {
            changes: network.watch_interfaces(),
            look: Box::new(move |bound| self.look(&network, &wildcards, bound)),
        })
    }

    fn look<N: Network>(
        &self,
        network: &N,
        wildcards: &[SocketAddr],
        bound: &[SocketAddr],
    ) -> Change<N::Socket> {
        let wanted = match self.interface_addrs(network, wildcards) {
            Ok(addrs) => addrs,
            Err(error) => {
                debug!(%error, "interfaces stay as they were");
                return Change::default();
            }
        };
        // What was bound by its own address stays.
        let gone = |addr: &&SocketAddr| {
            !self.bind.contains(addr) && !wanted.iter().any(|it| it.ip() == addr.ip())
        };
        let mut change = Change {
            gone: bound.iter().filter(gone).copied().collect(),
            sockets: Vec::new(),
        };
        for &addr in &wanted {
            if bound.iter().any(|it| it.ip() == addr.ip()) {
                continue;
            }
            match self.bind_address(network, addr) {
                Ok(socket) => change.sockets.push(socket),
                Err(error) => debug!(%addr, %error, "new interface left out"),
            }
        }
        change
    }
}

/// Interfaces that come and go while a connection lives.
pub struct InterfaceWatch<S> {
    changes: InterfaceChanges,
    look: Look<S>,
}

type Look<S> = Box<dyn FnMut(&[SocketAddr]) -> Change<S> + Send>;

/// What is different.
pub(crate) struct Change<S> {
    /// Bound addresses whose interface is gone.
    pub(crate) gone: Vec<SocketAddr>,
    /// Sockets at addresses that are new.
    pub(crate) sockets: Vec<S>,
}

impl<S> Default for Change<S> {
    fn default() -> Self {
        Self {
            gone: Vec::new(),
            sockets: Vec::new(),
        }
    }
}

impl<S> fmt::Debug for InterfaceWatch<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterfaceWatch").finish_non_exhaustive()
    }
}

impl<S: DatagramSocket> InterfaceWatch<S> {
    /// Gives the pump and its core what has changed since the last call; registers the waker.
    pub fn follow(&mut self, cx: &mut Context<'_>, pump: &mut Pump<S>, core: &mut impl CoreAccess) {
        if self.changes.poll_changed(cx).is_pending() {
            return;
        }
        // So that the waker gets registered.
        cx.waker().wake_by_ref();
        let bound: Vec<_> = pump.local_addrs().map(|(addr, _)| addr).collect();
        let change = (self.look)(&bound);
        for local_addr in change.gone {
            debug!(%local_addr, "interface is gone");
            pump.remove_socket(local_addr);
            core.with(|core| core.handle_event(RTCEvent::PathLost { local_addr }));
        }
        for socket in change.sockets {
            let protocol = socket.protocol();
            match pump.add_socket(socket) {
                Ok(local_addr) => {
                    debug!(%local_addr, "interface is new");
                    core.with(|core| {
                        core.handle_event(RTCEvent::InterfaceFound {
                            local_addr,
                            protocol,
                        })
                    });
                }
                Err(error) => debug!(%error, "new interface left out"),
            }
        }
    }
}

/// The addresses that a bound address stands for.
pub(crate) fn expand(addr: SocketAddr) -> Result<Vec<SocketAddr>, Error> {
    if !addr.ip().is_unspecified() {
        return Ok(vec![addr]);
    }
    let interfaces = Interface::list().map_err(|error| Error::Interfaces(error.kind()))?;
    let (loopback, mut addrs): (Vec<_>, Vec<_>) = interfaces
        .into_iter()
        .filter(|it| it.ip.is_ipv4() == addr.is_ipv4() && is_candidate(it.ip))
        .map(|it| SocketAddr::new(it.ip, addr.port()))
        .partition(|addr| addr.ip().is_loopback());
    if addrs.is_empty() {
        addrs = loopback;
    }
    if addrs.is_empty() {
        return Err(Error::NoInterfaces);
    }
    Ok(addrs)
}

/// Every interface address, any port.
const WILDCARDS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
];

/// Where the next search for a free port begins.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// Linux gives 208 KiB by default, which holds ten batches of a sender on the same machine. The
/// memory is used only while datagrams wait; systems cap the wish silently.
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests;
