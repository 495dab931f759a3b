use std::time::Instant;

use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::RTCConfiguration;
use tracing::{debug, warn};

use crate::gather::Plan;
use crate::service::Services;
use crate::{Bound, Driver, Error, Network, PeerConnection, Runtime, Timer};

/// What every builder with sockets is told of them: methods over a field `sockets` of this type.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) plan: Plan,
    pub(crate) send_limit: Option<usize>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            plan: Plan {
                watch: true,
                ..Plan::default()
            },
            send_limit: None,
        }
    }
}

macro_rules! socket_methods {
    () => {
        /// A UDP socket at this address, instead of one at each interface address; may be called several
        /// times. Port 0 takes a free one. `0.0.0.0` and `[::]` stand for every interface address of
        /// their family.
        pub fn bind(mut self, addr: std::net::SocketAddr) -> Self {
            self.sockets.plan.bind.push(addr);
            self
        }

        /// Whether loopback addresses are among the interface addresses; they are of use only between
        /// processes of one machine. Default `false`.
        pub fn with_loopback(mut self, loopback: bool) -> Self {
            self.sockets.plan.loopback = loopback;
            self
        }

        /// Uses only the interface addresses for which `filter` is true.
        pub fn with_interface_filter(
            mut self,
            filter: impl Fn(&$crate::Interface) -> bool + Send + Sync + 'static,
        ) -> Self {
            self.sockets.plan.filter = Some(std::sync::Arc::new(filter));
            self
        }

        /// Follows the interfaces from then on: one that appears gives candidates, one that
        /// goes away takes its own with it and is told as an event
        /// ([`OnPathLost`](rtc::peer_connection::event::RTCPeerConnectionEvent::OnPathLost)). Addresses
        /// that were bound by name stay as they are. Default `true`.
        pub fn with_interface_watch(mut self, watch: bool) -> Self {
            self.sockets.plan.watch = watch;
            self
        }

        /// Takes free ports from this range only, for firewalls.
        pub fn with_port_range(mut self, ports: std::ops::RangeInclusive<u16>) -> Self {
            self.sockets.plan.ports = Some(ports);
            self
        }

        /// Size that each socket asks for its receive buffer, bytes; `None` leaves the system's default.
        /// Systems give less where they have a limit. Default 2 MiB.
        pub fn with_receive_buffer(mut self, bytes: impl Into<Option<usize>>) -> Self {
            self.sockets.plan.socket.receive_buffer = bytes.into();
            self
        }

        /// The same for the send buffer. Default `None`: a longer queue in the system delays whatever is
        /// urgent.
        pub fn with_send_buffer(mut self, bytes: impl Into<Option<usize>>) -> Self {
            self.sockets.plan.socket.send_buffer = bytes.into();
            self
        }

        /// Bytes that may wait to be sent in a channel before [`send`](crate::DataChannel::send) waits.
        /// Default 256 KiB.
        pub fn with_channel_send_limit(mut self, bytes: usize) -> Self {
            self.sockets.send_limit = Some(bytes);
            self
        }
    };
}
pub(crate) use socket_methods;

/// Makes a peer connection with its sockets on a runtime.
///
/// By default every address of every interface gets a UDP socket, IPv4 and IPv6, loopback excepted.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<R> {
    runtime: R,
    configuration: RTCConfiguration,
    sockets: Sockets,
}

/// The driver of a connection on the runtime `R`.
pub type DriverOn<R> = Driver<<R as Runtime>::Socket, <R as Runtime>::Timer>;

impl<R> Builder<R> {
    /// The defaults of everything.
    pub fn new(runtime: R) -> Self {
        Self {
            runtime,
            configuration: RTCConfiguration::default(),
            sockets: Sockets::default(),
        }
    }

    /// Servers, certificates, policies and settings.
    pub fn with_configuration(mut self, configuration: RTCConfiguration) -> Self {
        self.configuration = configuration;
        self
    }

    socket_methods!();
}

impl<N: Network + Send + 'static> Builder<N> {
    /// Binds the sockets and makes the connection at the time `now`, without a driver.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn bind_all(self, now: Instant) -> Result<Bound<RTCPeerConnection, N::Socket>, Error> {
        let plan = self.sockets.plan;
        let sockets = plan.bind(&self.runtime)?;
        let core = RTCPeerConnection::new(self.configuration.with_now(now))?;
        let mut bound = Bound::connection(core, sockets)?;
        bound.watch = plan.watch(self.runtime);
        Ok(bound)
    }
}

impl<R: Runtime> Builder<R> {
    /// Binds the sockets, makes the connection and spawns its driver.
    ///
    /// # Errors
    /// [`Error::NoInterfaces`], [`Error::AddressInUse`], [`Error::NoFreePort`] or [`Error::Socket`]
    /// when sockets cannot be had, [`Error::Core`] when the configuration is refused.
    pub fn build(self) -> Result<PeerConnection, Error> {
        let runtime = self.runtime.clone();
        let (connection, driver) = self.build_unspawned()?;
        runtime.spawn(async move {
            match driver.await {
                Ok(()) => debug!("connection closed"),
                Err(error) => warn!(%error, "driver ended"),
            }
        });
        Ok(connection)
    }

    /// As [`build`](Self::build), but leaves the driver to the caller.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_unspawned(self) -> Result<(PeerConnection, DriverOn<R>), Error> {
        let Sockets { plan, send_limit } = self.sockets;
        let sockets = plan.bind(&self.runtime)?;
        let timer = self.runtime.timer();
        let core = RTCPeerConnection::new(self.configuration.with_now(timer.now()))?;
        let (connection, mut driver) = Driver::with_sockets(core, sockets, timer)?;
        driver.serve(Services::new(&self.runtime, plan.socket.clone()));
        driver.watch(plan.watch(self.runtime.for_tasks()));
        if let Some(bytes) = send_limit {
            connection.set_channel_send_limit(bytes);
        }
        Ok((connection, driver))
    }
}
