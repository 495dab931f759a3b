use std::net::SocketAddr;

use rtc::endpoint::{Peer, RTCEndpoint};
use rtc::peer_connection::RTCPeerConnection;
use rtc::shared::TransportProtocol;

use crate::gather::expand;
use crate::{DatagramSocket, Error, InterfaceWatch, Pump};

/// A core and its sockets, for whoever drives them by himself.
#[derive(Debug)]
#[non_exhaustive]
pub struct Bound<C, S> {
    /// The core, which knows the addresses of the sockets.
    pub core: C,
    /// The sockets.
    pub pump: Pump<S>,
    /// What follows the interfaces, if somebody wants to.
    pub watch: Option<InterfaceWatch<S>>,
}

impl<S: DatagramSocket> Bound<RTCPeerConnection, S> {
    /// Joins a connection with sockets. It is told their addresses; a socket of a wildcard address
    /// has those of every interface of this machine, loopback excepted unless there is nothing else.
    ///
    /// # Errors
    /// [`Error::Socket`] when a socket has no address, [`Error::Interfaces`] or
    /// [`Error::NoInterfaces`] when nobody knows what a wildcard stands for, [`Error::Core`] when the
    /// connection does not take an address.
    pub fn connection(
        core: RTCPeerConnection,
        sockets: impl IntoIterator<Item = S>,
    ) -> Result<Self, Error> {
        Self::announce(core, sockets, |core, addr, protocol| {
            Ok(core.add_local_interface(addr, protocol)?)
        })
    }
}

impl<P: Peer, S: DatagramSocket> Bound<RTCEndpoint<P>, S> {
    /// An endpoint over sockets, as with [`connection`](Bound::connection).
    ///
    /// # Errors
    /// As [`connection`](Bound::connection).
    pub fn endpoint(sockets: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        Self::announce(RTCEndpoint::new(), sockets, |core, addr, protocol| {
            core.add_local_interface(addr, protocol);
            Ok(())
        })
    }
}

impl<C, S: DatagramSocket> Bound<C, S> {
    fn announce(
        mut core: C,
        sockets: impl IntoIterator<Item = S>,
        add: impl Fn(&mut C, SocketAddr, TransportProtocol) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let pump = Pump::new(sockets).map_err(|error| Error::Socket {
            addr: ([0, 0, 0, 0], 0).into(),
            kind: error.kind(),
        })?;
        for (addr, protocol) in pump.local_addrs() {
            for addr in expand(addr)? {
                add(&mut core, addr, protocol)?;
            }
        }
        let watch = None;
        Ok(Self { core, pump, watch })
    }
}
