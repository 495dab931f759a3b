//! WebRTC as a state machine: no sockets, no clock, no threads.
//!
//! [`RTCPeerConnection`](peer_connection::RTCPeerConnection) takes datagrams and time in, and gives
//! datagrams, events and messages out. It runs the same on every runtime, in a reactor of your own, or
//! in a simulation. The `rtc-tokio` crate and its siblings drive it for you.
//!
//! ```
//! use std::time::Instant;
//!
//! use rtc::peer_connection::RTCPeerConnection;
//! use rtc::peer_connection::configuration::RTCConfigurationBuilder;
//! use rtc::sansio::Protocol;
//! use rtc::shared::TransportProtocol;
//!
//! let mut connection = RTCPeerConnection::new(RTCConfigurationBuilder::new().build())?;
//! connection.add_local_interface("127.0.0.1:5000".parse()?, TransportProtocol::UDP)?;
//! let channel = connection.create_data_channel("chat", None)?.id();
//! let offer = connection.create_offer(None)?;
//! connection.set_local_description(offer)?;
//! while let Some(event) = connection.poll_event() {
//!     println!("{event:?}");
//! }
//! // Send `connection.local_description()` to the peer, give its answer to
//! // `set_remote_description`, and pump: `handle_read`, `poll_write`, `handle_timeout`, …
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The protocols below
//!
//! Each protocol is a crate of its own and can be used alone; they are re-exported here.

pub mod data_channel;
pub mod endpoint;
mod error;
mod gather;
mod media_path;
pub mod media_stream;
pub mod peer_connection;
pub mod rtp_transceiver;
pub mod statistics;
mod transport;

pub use error::{Error, RTCErrorDetailType};
pub use rtc_crypto as crypto;
pub use rtc_datachannel as datachannel;
pub use rtc_dtls as dtls;
pub use rtc_ice as ice;
pub use rtc_interceptor as interceptor;
pub use rtc_mdns as mdns;
pub use rtc_media as media;
pub use rtc_rtcp as rtcp;
pub use rtc_rtp as rtp;
pub use rtc_sctp as sctp;
pub use rtc_sdp as sdp;
pub use rtc_shared as shared;
pub use rtc_srtp as srtp;
pub use rtc_stun as stun;
pub use rtc_turn as turn;

/// The trait by which every state machine of the stack is driven.
pub mod sansio {
    pub use rtc_shared::Protocol;
}
