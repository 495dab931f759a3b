//! WebRTC on async-std.
//!
//! async-std is deprecated by its authors in favour of smol, and so is this crate in favour of
//! `rtc-smol`. It is kept working for programs that have not moved yet: socket and timer are those of
//! [`rtc_smol`], which live on the same reactor, and moving means to change imports.
//!
//! [`builder`] makes a [`PeerConnection`]: it binds UDP sockets and spawns the task that drives the
//! connection. Everything else are the types of [`rtc_driver`], which are the same on every runtime.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { async_std::task::block_on(async {
//! let alice = rtc_async_std::builder().bind("127.0.0.1:0".parse()?).build()?;
//! let bob = rtc_async_std::builder().bind("127.0.0.1:0".parse()?).build()?;
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
//! # Ok(()) }) }
//! ```
//!
//! [`DataChannel::into_io`] gives a channel the I/O traits of `futures-io`, which are those of
//! async-std.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use async_std::net::ToSocketAddrs;
use async_std::task;

pub use rtc_driver::rtc;
pub use rtc_driver::{
    Builder, Candidates, DataChannel, DataChannelIo, DataChannelMessage, DataChannels, Driver,
    Endpoint, EndpointBuilder, EndpointGroup, Error, Events, Feedback, Interface, LocalTrack,
    Overflow, PeerConnection, RemoteLayer, RemoteTrack, RtpTransceiver, Runtime, Samples,
    SendError, Sending, TrackFeedback, Tracks, TrySendError, UnknownPeers,
};
pub use rtc_smol::{SmolSocket as AsyncStdSocket, SmolTimer as AsyncStdTimer};

/// Begins a peer connection.
pub fn builder() -> Builder<AsyncStdRuntime> {
    Builder::new(AsyncStdRuntime)
}

/// Begins an endpoint for many peers.
pub fn endpoint() -> EndpointBuilder<AsyncStdRuntime> {
    EndpointBuilder::new(AsyncStdRuntime)
}

/// Gives [`PeerConnection`] its `builder`, which knows this runtime.
///
/// ```
/// use rtc_async_std::{PeerConnection, PeerConnectionExt as _};
///
/// let connection = PeerConnection::builder().with_loopback(true).build()?;
/// # Ok::<(), rtc_async_std::Error>(())
/// ```
pub trait PeerConnectionExt {
    /// Begins a peer connection, as [`builder`](crate::builder()) does.
    fn builder() -> Builder<AsyncStdRuntime> {
        builder()
    }
}

impl PeerConnectionExt for PeerConnection {}

/// The threads of async-std, which are those of the whole process.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStdRuntime;

impl Runtime for AsyncStdRuntime {
    type Socket = AsyncStdSocket;
    type Timer = AsyncStdTimer;

    fn wrap(&self, socket: UdpSocket) -> io::Result<AsyncStdSocket> {
        AsyncStdSocket::new(socket)
    }

    fn timer(&self) -> AsyncStdTimer {
        AsyncStdTimer::default()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(task::spawn(future));
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        // On a thread of its own.
        Ok((host, port).to_socket_addrs().await?.collect())
    }
}
