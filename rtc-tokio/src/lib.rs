//! WebRTC on tokio.
//!
//! [`builder`] makes a [`PeerConnection`]: it binds UDP sockets and spawns the task that drives the
//! connection. Everything else are the types of [`rtc_driver`], which are the same on every runtime.
//!
//! Two peers in one process, over loopback. In an application offer and answer travel over a
//! signalling channel of its own, a WebSocket as a rule.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let alice = rtc_tokio::builder().bind("127.0.0.1:0".parse()?).build()?;
//! let bob = rtc_tokio::builder().bind("127.0.0.1:0".parse()?).build()?;
//!
//! let chat = alice.create_data_channel("chat", None)?;
//! alice.set_local_description(None)?;
//! bob.set_remote_description(alice.gathering_complete().await?)?;
//! bob.set_local_description(None)?;
//! alice.set_remote_description(bob.gathering_complete().await?)?;
//!
//! chat.send("hello").await?;
//! let channel = bob.data_channels().next().await.ok_or("no channel")?;
//! let message = channel.recv().await.ok_or("closed")??;
//! assert_eq!((channel.label().as_str(), message.as_str()), ("chat", Some("hello")));
//!
//! alice.close().await?;
//! # Ok(())
//! # }
//! ```

mod io;
mod socket;
mod timer;

use std::future::Future;
use std::net::SocketAddr;

use tokio::runtime::Handle;

pub use rtc_driver::rtc;
pub use rtc_driver::{
    Builder, Candidates, DataChannel, DataChannelIo, DataChannelMessage, DataChannels, Driver,
    Endpoint, EndpointBuilder, EndpointCounters, EndpointDriver, EndpointGroup, Error, Events,
    Feedback, Interface, LocalTrack, Overflow, PeerConnection, RemoteLayer, RemoteTrack,
    RtpTransceiver, Runtime, Samples, SendError, Sending, TrackFeedback, Tracks, TrySendError,
    UnknownPeers,
};

pub use io::{DataChannelExt, TokioIo};
pub use socket::TokioSocket;
pub use timer::TokioTimer;

/// Begins a peer connection on the current runtime.
pub fn builder() -> Builder<TokioRuntime> {
    Builder::new(TokioRuntime::current())
}

/// Begins an endpoint on the current runtime: many connections behind the same sockets, for servers.
///
/// ```
/// use rtc_tokio::rtc::peer_connection::configuration::RTCConfiguration;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint = rtc_tokio::endpoint().bind("127.0.0.1:0".parse()?).build()?;
/// let client = rtc_tokio::builder().bind("127.0.0.1:0".parse()?).build()?;
/// let chat = client.create_data_channel("chat", None)?;
/// client.set_local_description(None)?;
///
/// // For each offer that signalling brings:
/// let peer = endpoint.peer_connection(RTCConfiguration::default())?;
/// peer.set_remote_description(client.gathering_complete().await?)?;
/// peer.set_local_description(None)?;
/// client.set_remote_description(peer.gathering_complete().await?)?;
/// tokio::spawn(async move {
///     let Some(channel) = peer.data_channels().next().await else { return };
///     while let Some(Ok(message)) = channel.recv().await {
///         if channel.send(message).await.is_err() {
///             break;
///         }
///     }
/// });
///
/// chat.send("hello").await?;
/// assert_eq!(chat.recv().await.ok_or("closed")??.as_str(), Some("hello"));
/// endpoint.close().await?;
/// # Ok(())
/// # }
/// ```
pub fn endpoint() -> EndpointBuilder<TokioRuntime> {
    EndpointBuilder::new(TokioRuntime::current())
}

/// Gives [`PeerConnection`] its `builder`, which knows this runtime.
///
/// ```
/// use rtc_tokio::{PeerConnection, PeerConnectionExt as _};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), rtc_tokio::Error> {
/// let connection = PeerConnection::builder().with_loopback(true).build()?;
/// # Ok(())
/// # }
/// ```
pub trait PeerConnectionExt {
    /// Begins a peer connection on the current runtime, as [`builder`](crate::builder()) does.
    fn builder() -> Builder<TokioRuntime> {
        builder()
    }
}

impl PeerConnectionExt for PeerConnection {}

/// A tokio runtime, with I/O and time enabled.
#[derive(Clone, Debug)]
pub struct TokioRuntime {
    handle: Option<Handle>,
}

impl TokioRuntime {
    /// The runtime that this is called on. Where there is none, sockets cannot be made.
    #[must_use]
    pub fn current() -> Self {
        Self {
            handle: Handle::try_current().ok(),
        }
    }
}

impl From<Handle> for TokioRuntime {
    fn from(handle: Handle) -> Self {
        Self {
            handle: Some(handle),
        }
    }
}

impl Runtime for TokioRuntime {
    type Socket = TokioSocket;
    type Timer = TokioTimer;

    fn wrap(&self, socket: std::net::UdpSocket) -> std::io::Result<TokioSocket> {
        let Some(handle) = &self.handle else {
            return Err(std::io::Error::other("not on a tokio runtime"));
        };
        let _context = handle.enter();
        TokioSocket::new(socket)
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer::default()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        // Without a runtime there is no socket either, and nothing to drive.
        if let Some(handle) = &self.handle {
            drop(handle.spawn(future));
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}
