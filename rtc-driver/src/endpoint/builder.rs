use rtc::endpoint::RTCEndpoint;
use tracing::{debug, warn};

use super::group::{Directory, Link};
use super::{Endpoint, EndpointDriver, EndpointGroup};
use crate::builder::{Sockets, socket_methods};
use crate::gather::Plan;
use crate::service::Services;
use crate::{Bound, Error, Network, Runtime};

/// Makes an [`Endpoint`] with its sockets on a runtime.
///
/// By default every address of every interface gets a UDP socket, IPv4 and IPv6, loopback excepted.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct EndpointBuilder<R> {
    runtime: R,
    sockets: Sockets,
}

/// The driver of an endpoint on the runtime `R`.
pub type EndpointDriverOn<R> = EndpointDriver<<R as Runtime>::Socket, <R as Runtime>::Timer>;

impl<R> EndpointBuilder<R> {
    /// The defaults of everything.
    pub fn new(runtime: R) -> Self {
        Self {
            runtime,
            sockets: Sockets::default(),
        }
    }

    socket_methods!();

    /// Lets other sockets of this user with the same wish be bound to the same addresses
    /// (`SO_REUSEPORT`); the system shares datagrams out by their source. Default `false`. For several
    /// endpoints of one process see [`build_group`](Self::build_group).
    pub fn with_reuse_port(mut self, reuse: bool) -> Self {
        self.sockets.plan.socket.reuse_port = reuse;
        self
    }
}

impl<N: Network + Send + 'static> EndpointBuilder<N> {
    /// Binds the sockets and makes the endpoint, without a driver.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn bind_all(self) -> Result<Bound<RTCEndpoint, N::Socket>, Error> {
        let plan = self.sockets.plan;
        let mut bound = Bound::endpoint(plan.bind(&self.runtime)?)?;
        bound.watch = plan.watch(self.runtime);
        Ok(bound)
    }
}

impl<R: Runtime> EndpointBuilder<R> {
    /// Binds the sockets, makes the endpoint and spawns its driver.
    ///
    /// # Errors
    /// [`Error::NoInterfaces`], [`Error::AddressInUse`], [`Error::NoFreePort`] or [`Error::Socket`]
    /// when sockets cannot be had.
    pub fn build(self) -> Result<Endpoint, Error> {
        let runtime = self.runtime.clone();
        let (endpoint, driver) = self.build_unspawned()?;
        spawn(&runtime, driver);
        Ok(endpoint)
    }

    /// As [`build`](Self::build), but leaves the driver to the caller.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_unspawned(self) -> Result<(Endpoint, EndpointDriverOn<R>), Error> {
        let Self { runtime, sockets } = self;
        make(runtime, sockets.plan, sockets.send_limit)
    }

    /// Makes several endpoints behind the same addresses, each with a driver of its own that is
    /// spawned: on a runtime of several threads each can have a processor to itself.
    ///
    /// Addresses whose port is not given, which is also the default, are not followed when interfaces
    /// change.
    ///
    /// # Errors
    /// As [`build`](Self::build); [`Error::Socket`] where the system cannot share ports.
    pub fn build_group(self, members: usize) -> Result<EndpointGroup, Error> {
        let runtime = self.runtime.clone();
        let (group, drivers) = self.build_group_unspawned(members)?;
        for driver in drivers {
            spawn(&runtime, driver);
        }
        Ok(group)
    }

    /// As [`build_group`](Self::build_group), but leaves the drivers to the caller.
    ///
    /// # Errors
    /// As [`build_group`](Self::build_group).
    pub fn build_group_unspawned(
        self,
        members: usize,
    ) -> Result<(EndpointGroup, Vec<EndpointDriverOn<R>>), Error> {
        let Self { runtime, sockets } = self;
        let Sockets {
            mut plan,
            send_limit,
        } = sockets;
        plan.socket.reuse_port = true;
        let is_fixed = !plan.bind.is_empty() && plan.bind.iter().all(|addr| addr.port() != 0);
        plan.watch &= is_fixed;
        let directory = Directory::new();
        let (mut endpoints, mut drivers) = (Vec::new(), Vec::new());
        for member in 0..members.max(1) {
            let (endpoint, mut driver) = make(runtime.clone(), plan.clone(), send_limit)?;
            if !is_fixed {
                // The others take the ports that the first was given.
                plan.bind = driver.bound_addrs().collect();
            }
            driver.join(Link::new(&directory, member));
            endpoints.push(endpoint);
            drivers.push(driver);
        }
        directory.set_members(drivers.iter().map(|driver| driver.shared().clone()));
        Ok((EndpointGroup::new(endpoints), drivers))
    }
}

fn make<R: Runtime>(
    runtime: R,
    plan: Plan,
    send_limit: Option<usize>,
) -> Result<(Endpoint, EndpointDriverOn<R>), Error> {
    let sockets = plan.bind(&runtime)?;
    let (endpoint, mut driver) =
        EndpointDriver::with_sockets(sockets, runtime.timer(), runtime.timer())?;
    endpoint.shared.lock().send_limit = send_limit;
    let mut options = plan.socket.clone();
    // What is bound for one connection is shared with nobody.
    options.reuse_port = false;
    driver.serve(Services::new(&runtime, options));
    driver.watch(plan.watch(runtime.for_tasks()));
    Ok((endpoint, driver))
}

fn spawn<R: Runtime>(runtime: &R, driver: EndpointDriverOn<R>) {
    runtime.spawn(async move {
        match driver.await {
            Ok(()) => debug!("endpoint closed"),
            Err(error) => warn!(%error, "driver ended"),
        }
    });
}
