use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

use crate::Error;

/// A network interface with one of its addresses, for an interface filter.
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

type Filter = Box<dyn Fn(&Interface) -> bool + Send + Sync>;

/// Which sockets a connection gets.
pub(crate) struct Plan {
    /// Addresses to bind; a wildcard stands for every interface address of its family. Empty: every
    /// interface address, port 0.
    pub(crate) bind: Vec<SocketAddr>,
    pub(crate) loopback: bool,
    pub(crate) filter: Option<Filter>,
    pub(crate) ports: Option<RangeInclusive<u16>>,
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) send_buffer: Option<usize>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            bind: Vec::new(),
            loopback: false,
            filter: None,
            ports: None,
            receive_buffer: Some(RECEIVE_BUFFER),
            send_buffer: None,
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("bind", &self.bind)
            .field("loopback", &self.loopback)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Binds the sockets.
    pub(crate) fn bind(&self) -> Result<Vec<UdpSocket>, Error> {
        let mut sockets = Vec::new();
        if self.bind.is_empty() {
            self.bind_interfaces(&interfaces()?, |_| true, 0, &mut sockets)?;
        }
        for &addr in &self.bind {
            if addr.ip().is_unspecified() {
                let same_family = |ip: IpAddr| ip.is_ipv4() == addr.is_ipv4();
                self.bind_interfaces(&interfaces()?, same_family, addr.port(), &mut sockets)?;
            } else {
                sockets.push(self.bind_address(addr)?);
            }
        }
        Ok(sockets)
    }

    fn bind_interfaces(
        &self,
        interfaces: &[Interface],
        wanted: impl Fn(IpAddr) -> bool,
        port: u16,
        sockets: &mut Vec<UdpSocket>,
    ) -> Result<(), Error> {
        let before = sockets.len();
        let mut last_error = Error::NoInterfaces;
        for interface in self
            .usable(interfaces)
            .filter(|interface| wanted(interface.ip))
        {
            match self.bind_address(SocketAddr::new(interface.ip, port)) {
                Ok(socket) => sockets.push(socket),
                // An address can go away between listing and binding, and a new IPv6 address cannot
                // be bound yet. A port that somebody asked for by number is another matter.
                Err(error @ Error::AddressInUse(_)) => return Err(error),
                Err(error) => {
                    debug!(interface = interface.name, %error, "interface left out");
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

    fn bind_address(&self, addr: SocketAddr) -> Result<UdpSocket, Error> {
        let Some(range) = self.ports.clone().filter(|_| addr.port() == 0) else {
            return self.open(addr).map_err(|error| match error.kind() {
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
            match self.open(addr) {
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

    fn open(&self, addr: SocketAddr) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            // Each family has a socket of its own; a mapped address would be a second name of one.
            socket.set_only_v6(true)?;
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

/// Every address of every interface of this machine.
fn interfaces() -> Result<Vec<Interface>, Error> {
    let interfaces = if_addrs::get_if_addrs().map_err(|error| Error::Interfaces(error.kind()))?;
    Ok(interfaces
        .into_iter()
        .map(|interface| Interface {
            ip: interface.ip(),
            is_point_to_point: interface.is_p2p(),
            name: interface.name,
        })
        .collect())
}

/// RFC 8445 section 5.1.1.1, except loopback, which the caller decides about. Link-local IPv6 would
/// need a zone that candidates cannot carry.
fn is_candidate(ip: IpAddr) -> bool {
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

/// Where the next search for a free port begins.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// Linux gives 208 KiB by default, which holds ten batches of a sender on the same machine. The
/// memory is used only while datagrams wait; systems cap the wish silently.
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests;
