use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use rtc_driver::{Builder, EndpointBuilder, PeerConnection, Runtime};
use smol::Executor;

use crate::{SmolSocket, SmolTimer};

/// Begins a peer connection on smol's global executor.
pub fn builder() -> Builder<SmolRuntime> {
    Builder::new(SmolRuntime::global())
}

/// Begins an endpoint for many peers on smol's global executor.
pub fn endpoint() -> EndpointBuilder<SmolRuntime> {
    EndpointBuilder::new(SmolRuntime::global())
}

/// Gives [`PeerConnection`] its `builder`, which knows this runtime.
///
/// ```
/// use rtc_smol::{PeerConnection, PeerConnectionExt as _};
///
/// let connection = PeerConnection::builder().with_loopback(true).build()?;
/// # Ok::<(), rtc_smol::Error>(())
/// ```
pub trait PeerConnectionExt {
    /// Begins a peer connection on smol's global executor, as [`builder`](crate::builder()) does.
    fn builder() -> Builder<SmolRuntime> {
        builder()
    }
}

impl PeerConnectionExt for PeerConnection {}

/// An executor of smol.
#[derive(Clone, Debug, Default)]
pub struct SmolRuntime {
    /// `None` is the global one.
    executor: Option<Arc<Executor<'static>>>,
}

impl SmolRuntime {
    /// The executor behind [`smol::spawn`].
    #[must_use]
    pub fn global() -> Self {
        Self::default()
    }
}

impl From<Arc<Executor<'static>>> for SmolRuntime {
    /// An executor that somebody runs.
    fn from(executor: Arc<Executor<'static>>) -> Self {
        Self {
            executor: Some(executor),
        }
    }
}

impl Runtime for SmolRuntime {
    type Socket = SmolSocket;
    type Timer = SmolTimer;

    fn wrap(&self, socket: UdpSocket) -> io::Result<SmolSocket> {
        SmolSocket::new(socket)
    }

    fn timer(&self) -> SmolTimer {
        SmolTimer::default()
    }

    /// Sockets and names need no executor.
    fn for_tasks(&self) -> Self {
        Self::global()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match &self.executor {
            None => smol::spawn(future).detach(),
            Some(executor) => executor.spawn(future).detach(),
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        // On a thread of its own.
        smol::net::resolve((host, port)).await
    }
}
