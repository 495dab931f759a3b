//! Drives a [`RTCPeerConnection`](rtc::peer_connection::RTCPeerConnection) on an async runtime, and
//! gives handles to await.
//!
//! Applications use an adapter: `rtc-tokio` or one of its siblings, which re-export this crate's
//! types. An adapter is a [`Runtime`]: a [`DatagramSocket`], a [`Timer`] and a way to spawn a task.
//!
//! * [`Builder`] binds sockets and makes a [`PeerConnection`], a handle that can be cloned and sent to
//!   other threads; likewise [`DataChannel`], [`LocalTrack`] and [`RemoteTrack`].
//! * [`Driver`] is the task behind them. It shares the state machine with the handles under one lock
//!   that is held for calls of the state machine only.
//! * [`Endpoint`] is for servers: many connections behind the same sockets, driven by one
//!   [`EndpointDriver`].
//! * [`Pump`] is the loop inside the drivers. Reactors without futures use it alone.
//! * [`udp`] is what adapters make their sockets of.
//! * `test`, with the feature `test-util`, is a runtime with a virtual clock and a simulated network.
//!
//! # Audio and video
//!
//! What is sent is a [`LocalTrack`], what the peer sends a [`RemoteTrack`]; both are halves of an
//! [`RtpTransceiver`]. Each deals in RTP packets ([`write_rtp`](LocalTrack::write_rtp),
//! [`read_rtp`](RemoteTrack::read_rtp)) or in frames ([`write_sample`](LocalTrack::write_sample),
//! [`samples`](RemoteTrack::samples)), and in layers where there are several. The encoder listens to
//! [`feedback`](LocalTrack::feedback), the decoder may
//! [`request_key_frame`](RemoteTrack::request_key_frame). A server that forwards to many:
//!
//! ```
//! use rtc_driver::{LocalTrack, RemoteTrack, SendError, TrackFeedback};
//!
//! /// Sends what comes from one peer to others, until it ends.
//! async fn forward(from: RemoteTrack, to: Vec<LocalTrack>) -> Result<(), SendError> {
//!     let extensions = from.extension_map();
//!     while let Some(packet) = from.read_rtp().await {
//!         for track in &to {
//!             // Cheap: the payload is shared.
//!             track.forward_rtp(packet.clone(), &extensions).await?;
//!         }
//!     }
//!     Ok(())
//! }
//!
//! /// Passes on what one of them wishes.
//! async fn pass_back(from: LocalTrack, to: RemoteTrack) {
//!     let mut wishes = from.feedback();
//!     while let Some(wish) = wishes.next().await {
//!         if let TrackFeedback::KeyFrameRequest { .. } = wish {
//!             to.request_key_frame();
//!         }
//!     }
//! }
//! ```
//!
//! # An adapter
//!
//! This one runs each connection on a thread of its own and asks its sockets every millisecond, which
//! is about the least that works.
//!
//! ```
//! use std::future::Future;
//! use std::io::{self, IoSliceMut};
//! use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
//! use std::task::{Context, Poll, Waker};
//! use std::time::{Duration, Instant};
//!
//! use rtc_driver::udp::UdpState;
//! use rtc_driver::{Builder, DatagramSocket, RecvMeta, Runtime, SendBatch, Timer};
//!
//! #[derive(Clone)]
//! struct Threads;
//!
//! struct Socket(UdpSocket, UdpState);
//!
//! impl DatagramSocket for Socket {
//!     fn local_addr(&self) -> io::Result<SocketAddr> {
//!         self.0.local_addr()
//!     }
//!     fn poll_recv(
//!         &mut self,
//!         _: &mut Context<'_>,
//!         bufs: &mut [IoSliceMut<'_>],
//!         meta: &mut [RecvMeta],
//!     ) -> Poll<io::Result<usize>> {
//!         match self.1.recv(&self.0, bufs, meta) {
//!             Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
//!             result => Poll::Ready(result.map(|received| received.count)),
//!         }
//!     }
//!     fn poll_send(&mut self, _: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
//!         match self.1.send(&self.0, batch) {
//!             Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
//!             result => Poll::Ready(result),
//!         }
//!     }
//! }
//!
//! struct Clock;
//!
//! impl Timer for Clock {
//!     fn now(&self) -> Instant {
//!         Instant::now()
//!     }
//!     fn poll_deadline(&mut self, _: &mut Context<'_>, deadline: Instant) -> Poll<()> {
//!         if deadline <= Instant::now() { Poll::Ready(()) } else { Poll::Pending }
//!     }
//! }
//!
//! impl Runtime for Threads {
//!     type Socket = Socket;
//!     type Timer = Clock;
//!     fn wrap(&self, socket: UdpSocket) -> io::Result<Socket> {
//!         let state = UdpState::new(&socket)?;
//!         Ok(Socket(socket, state))
//!     }
//!     fn timer(&self) -> Clock {
//!         Clock
//!     }
//!     fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
//!         std::thread::spawn(|| {
//!             let mut future = std::pin::pin!(future);
//!             while future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
//!                 std::thread::sleep(Duration::from_millis(1));
//!             }
//!         });
//!     }
//!     async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
//!         Ok((host, port).to_socket_addrs()?.collect())
//!     }
//! }
//!
//! let connection = Builder::new(Threads).bind("127.0.0.1:0".parse()?).build()?;
//! let channel = connection.create_data_channel("chat", None)?;
//! connection.set_local_description(None)?;
//! println!("{}", connection.local_description().unwrap().sdp);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arena;
mod bound;
mod builder;
mod data_channel;
mod driver;
mod endpoint;
mod error;
mod events;
mod gather;
mod interface;
mod io;
mod peer_connection;
mod pump;
mod runtime;
mod service;
mod shared;
mod socket;
#[cfg(feature = "test-util")]
pub mod test;
mod tracks;
pub mod udp;
mod waiters;

pub use rtc;

pub use bound::Bound;
pub use builder::{Builder, DriverOn};
pub use data_channel::{DataChannel, DataChannelMessage, Sending};
pub use driver::Driver;
pub use endpoint::{
    Endpoint, EndpointBuilder, EndpointCounters, EndpointDriver, EndpointDriverOn, EndpointGroup,
    UnknownPeers,
};
pub use error::{Error, SendError, TrySendError};
pub use gather::{InterfaceWatch, SocketOptions};
pub use interface::{Interface, InterfaceChanges};
pub use io::DataChannelIo;
pub use peer_connection::{Candidates, DataChannels, Events, PeerConnection};
pub use pump::{Core, CoreAccess, Progress, Pump, PumpCounters};
pub use runtime::{Network, Runtime, Timer};
pub use socket::{DatagramSocket, RecvMeta, SendBatch};
pub use tracks::{
    Feedback, LocalTrack, Overflow, RemoteLayer, RemoteTrack, RtpTransceiver, Samples,
    TrackFeedback, Tracks,
};
