//! WebRTC in a reactor of your own, with mio: no runtime, no tasks, no locks.
//!
//! A [`PeerConnection`] is an event source. It owns its sockets and its state machine; your loop gives
//! it events and time, and takes events and messages out. Here two peers meet in one loop:
//!
//! ```
//! use std::time::Instant;
//!
//! use mio::{Events, Interest, Poll, Token};
//! use rtc_mio::rtc::peer_connection::event::RTCDataChannelEvent;
//! use rtc_mio::rtc::peer_connection::event::RTCPeerConnectionEvent::OnDataChannel;
//! use rtc_mio::rtc::peer_connection::message::RTCMessage;
//! use rtc_mio::rtc::sansio::Protocol as _;
//! use rtc_mio::PeerConnection;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut poll = Poll::new()?;
//! let mut peers = Vec::new();
//! for i in 0..2 {
//!     let builder = rtc_mio::builder().bind("127.0.0.1:0".parse()?);
//!     let mut peer = PeerConnection::new(builder, Instant::now())?;
//!     let token = Token(i * PeerConnection::TOKENS);
//!     poll.registry().register(&mut peer, token, Interest::READABLE)?;
//!     peers.push(peer);
//! }
//!
//! // Signalling. The two would be in different places, and this would go over a WebSocket.
//! let [alice, bob] = peers.as_mut_slice() else { unreachable!() };
//! alice.core().create_data_channel("chat", None)?;
//! alice.core().set_local_description_implicit()?;
//! let offer = alice.core().local_description().ok_or("no offer")?;
//! bob.core().set_remote_description(offer)?;
//! bob.core().set_local_description_implicit()?;
//! let answer = bob.core().local_description().ok_or("no answer")?;
//! alice.core().set_remote_description(answer)?;
//!
//! let mut events = Events::with_capacity(64);
//! let mut heard = None;
//! while !peers.iter().all(PeerConnection::is_drained) {
//!     let now = Instant::now();
//!     let deadline = peers.iter_mut().filter_map(|peer| peer.deadline(now)).min();
//!     poll.poll(&mut events, deadline.map(|deadline| deadline.saturating_duration_since(now)))?;
//!
//!     let now = Instant::now();
//!     for event in &events {
//!         peers[event.token().0 / PeerConnection::TOKENS].process(event, now);
//!     }
//!     for peer in &mut peers {
//!         if peer.deadline(now).is_some_and(|deadline| deadline <= now) {
//!             peer.drive(now);
//!         }
//!         while let Some(event) = peer.poll_event() {
//!             let OnDataChannel(RTCDataChannelEvent::OnOpen(id)) = event else { continue };
//!             let mut channel = peer.core().data_channel(id).ok_or("no channel")?;
//!             if !channel.is_incoming() {
//!                 channel.send_message("hello".into()).map_err(|refused| refused.error)?;
//!                 peer.drive(now);
//!             }
//!         }
//!         while let Some(message) = peer.poll_read() {
//!             if let RTCMessage::DataChannelMessage(_, message) = message {
//!                 heard = message.as_str().map(str::to_owned);
//!                 peer.core().close()?;
//!                 peer.drive(now);
//!             }
//!         }
//!     }
//! }
//! assert_eq!(heard.as_deref(), Some("hello"));
//! # Ok(())
//! # }
//! ```
//!
//! # Audio and video
//!
//! Tracks are those of the core: what comes is given by [`poll_read`](PeerConnection::poll_read), or per
//! receiver, and what is sent is written to a sender. Frames become packets and packets frames by
//! [`rtc::media`].
//!
//! ```
//! use std::time::Instant;
//!
//! use mio::{Events, Interest, Poll, Token};
//! use rtc_mio::PeerConnection;
//! use rtc_mio::rtc::media_stream::MediaStreamTrack;
//! use rtc_mio::rtc::peer_connection::message::RTCMessage;
//! use rtc_mio::rtc::peer_connection::state::RTCPeerConnectionState;
//! use rtc_mio::rtc::rtp::Packet;
//! use rtc_mio::rtc::rtp_transceiver::RtpCodecKind;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut poll = Poll::new()?;
//! let mut peers = Vec::new();
//! for i in 0..2 {
//!     let builder = rtc_mio::builder().bind("127.0.0.1:0".parse()?);
//!     let mut peer = PeerConnection::new(builder, Instant::now())?;
//!     let token = Token(i * PeerConnection::TOKENS);
//!     poll.registry().register(&mut peer, token, Interest::READABLE)?;
//!     peers.push(peer);
//! }
//! let [alice, bob] = peers.as_mut_slice() else { unreachable!() };
//! let voice = MediaStreamTrack::new("desk", "voice", "", RtpCodecKind::Audio, vec![]);
//! let sender = alice.core().add_track(voice)?;
//! alice.core().set_local_description_implicit()?;
//! let offer = alice.core().local_description().ok_or("no offer")?;
//! bob.core().set_remote_description(offer)?;
//! bob.core().set_local_description_implicit()?;
//! let answer = bob.core().local_description().ok_or("no answer")?;
//! alice.core().set_remote_description(answer)?;
//!
//! let mut events = Events::with_capacity(64);
//! let (mut is_sent, mut heard) = (false, None);
//! while heard.is_none() {
//!     let now = Instant::now();
//!     let deadline = peers.iter_mut().filter_map(|peer| peer.deadline(now)).min();
//!     poll.poll(&mut events, deadline.map(|deadline| deadline.saturating_duration_since(now)))?;
//!
//!     let now = Instant::now();
//!     for event in &events {
//!         peers[event.token().0 / PeerConnection::TOKENS].process(event, now);
//!     }
//!     for peer in &mut peers {
//!         if peer.deadline(now).is_some_and(|deadline| deadline <= now) {
//!             peer.drive(now);
//!         }
//!         while peer.poll_event().is_some() {}
//!     }
//!     let [alice, bob] = peers.as_mut_slice() else { unreachable!() };
//!     let is_up = alice.core().connection_state() == RTCPeerConnectionState::Connected;
//!     if is_up && !std::mem::replace(&mut is_sent, true) {
//!         let packet = Packet { payload: b"a sound"[..].into(), ..Packet::default() };
//!         alice.core().rtp_sender(sender).ok_or("stopped")?.write_rtp(packet)?;
//!         alice.drive(now);
//!     }
//!     while let Some(message) = bob.poll_read() {
//!         if let RTCMessage::RtpPacket(_, packet) = message {
//!             heard = Some(packet.payload);
//!         }
//!     }
//! }
//! assert_eq!(heard.as_deref(), Some(&b"a sound"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Other threads
//!
//! A [`Remote`] has the loop's thread call a function with the state machine. It wakes the loop by mio's
//! `Waker`:
//!
//! ```
//! use std::sync::{Arc, mpsc};
//! use std::thread;
//! use std::time::Instant;
//!
//! use mio::{Events, Poll, Token, Waker};
//! use rtc_mio::PeerConnection;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const WAKER: Token = Token(usize::MAX);
//!
//! let mut poll = Poll::new()?;
//! let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
//! let builder = rtc_mio::builder().bind("127.0.0.1:0".parse()?);
//! let mut connection = PeerConnection::new(builder, Instant::now())?;
//! # connection.drive(Instant::now());
//!
//! let remote = connection.remote(waker);
//! let (reply, answer) = mpsc::channel();
//! thread::spawn(move || {
//!     remote.call(move |core| {
//!         let made = core.create_data_channel("from afar", None).map(|channel| channel.id());
//!         let _ = reply.send(made);
//!     })
//! });
//!
//! let mut events = Events::with_capacity(64);
//! poll.poll(&mut events, None)?;
//! assert!(events.iter().all(|event| event.token() == WAKER));
//! connection.drive(Instant::now());
//! let id = answer.recv()??;
//! assert!(connection.core().data_channel(id).is_some());
//! # Ok(())
//! # }
//! ```

mod carrier;
mod connection;
mod endpoint;
mod remote;
mod socket;

use std::io;
use std::net::SocketAddr;

use rtc_driver::Network;

pub use rtc_driver::rtc;
pub use rtc_driver::{
    Bound, Builder, EndpointBuilder, Error, Interface, PumpCounters, SocketOptions,
};

pub use connection::PeerConnection;
pub use endpoint::Endpoint;
pub use remote::Remote;
pub use socket::MioSocket;

/// Begins a peer connection: for [`PeerConnection::new`].
///
/// Interfaces that come and go are followed unless the builder says otherwise; the connection looks
/// for them whenever it is driven.
pub fn builder() -> Builder<Mio> {
    Builder::new(Mio)
}

/// Begins an endpoint: for [`Endpoint::new`].
pub fn endpoint() -> EndpointBuilder<Mio> {
    EndpointBuilder::new(Mio)
}

/// Where the sockets of builders come from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mio;

impl Network for Mio {
    type Socket = MioSocket;

    fn bind_socket(&self, addr: SocketAddr, options: &SocketOptions) -> io::Result<MioSocket> {
        MioSocket::new(options.open(addr)?)
    }
}
