//! WebRTC on smol.
//!
//! [`builder`] makes a [`PeerConnection`]: it binds UDP sockets and spawns the task that drives the
//! connection. Everything else are the types of [`rtc_driver`], which are the same on every runtime.
//!
//! Two peers in one process, over loopback. In an application offer and answer travel over a
//! signalling channel of its own, a WebSocket as a rule.
//!
#![cfg_attr(feature = "smol", doc = "```")]
#![cfg_attr(not(feature = "smol"), doc = "```ignore")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { smol::block_on(async {
//! let alice = rtc_smol::builder().bind("127.0.0.1:0".parse()?).build()?;
//! let bob = rtc_smol::builder().bind("127.0.0.1:0".parse()?).build()?;
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
//! The I/O traits that smol's world uses are those of `futures-io`:
//! [`DataChannel::into_io`] gives a channel these.
//!
//! # Other executors
//!
//! Sockets and timers belong to the reactor of `async-io`, which is one for the whole process and
//! works under every executor. Connections are spawned on smol's global executor, or on one of your own:
//!
#![cfg_attr(feature = "smol", doc = "```")]
#![cfg_attr(not(feature = "smol"), doc = "```ignore")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use rtc_smol::{Builder, SmolRuntime};
//! use smol::Executor;
//!
//! let executor = Arc::new(Executor::new());
//! smol::block_on(executor.run(async {
//!     let runtime = SmolRuntime::from(Arc::clone(&executor));
//!     let connection = Builder::new(runtime).with_loopback(true).build()?;
//!     connection.close().await
//! }))?;
//! # Ok(())
//! # }
//! ```
//!
//! Without the feature `smol` there are only [`SmolSocket`] and [`SmolTimer`], to make a
//! [`Runtime`] with.

#[cfg(feature = "smol")]
mod runtime;
mod socket;
mod timer;

pub use rtc_driver::rtc;
pub use rtc_driver::{
    Builder, Candidates, DataChannel, DataChannelIo, DataChannelMessage, DataChannels, Driver,
    Endpoint, EndpointBuilder, EndpointGroup, Error, Events, Feedback, Interface, LocalTrack,
    Overflow, PeerConnection, RemoteLayer, RemoteTrack, RtpTransceiver, Runtime, Samples,
    SendError, Sending, TrackFeedback, Tracks, TrySendError, UnknownPeers,
};

#[cfg(feature = "smol")]
pub use runtime::{PeerConnectionExt, SmolRuntime, builder, endpoint};
pub use socket::SmolSocket;
pub use timer::SmolTimer;
