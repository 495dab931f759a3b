//! SCTP (RFC 9260) as WebRTC data channels use it: over DTLS (RFC 8261), between two hosts with one
//! address each, without sockets, clocks or threads.
//!
//! An [`Association`] takes packets and the time, and gives packets, messages and events. It
//! covers set-up from both sides at once, restart of the peer, ordered and unordered messages,
//! fragmentation, partial reliability (RFC 3758, RFC 7496), stream reset (RFC 6525), and packets
//! without checksum (RFC 9653). The wire format is in [`wire`].
//!
//! ```
//! use std::time::Instant;
//! use bytes::{Bytes, BytesMut};
//! use rtc_sctp::{Association, Config, Event, SendOptions};
//! use rtc_shared::Rng;
//!
//! # let now = Instant::now();
//! let mut a = Association::new(Config::default(), now, Rng::from_seed([1; 32]));
//! let mut b = Association::new(Config::default(), now, Rng::from_seed([2; 32]));
//! a.connect(now);
//! b.connect(now);
//! a.send(0, 51, Bytes::from_static(b"hello"), SendOptions::default())?;
//!
//! // In place of a network: what one writes, the other gets.
//! while a.wants_transmit() || b.wants_transmit() {
//!     let mut packet = Vec::new();
//!     while a.poll_transmit(now, &mut packet, 1200).is_some() {
//!         b.handle_packet(now, BytesMut::from(&packet[..]));
//!         packet.clear();
//!     }
//!     while b.poll_transmit(now, &mut packet, 1200).is_some() {
//!         a.handle_packet(now, BytesMut::from(&packet[..]));
//!         packet.clear();
//!     }
//! }
//! assert_eq!(a.poll_event(), Some(Event::Connected));
//! assert_eq!(&b.read().unwrap().payload[..], b"hello");
//! # Ok::<(), rtc_sctp::SendError>(())
//! ```

mod api;
mod association;
mod config;
mod congestion;
mod cookie;
mod receive;
mod send;
pub mod wire;

pub use api::{
    AbortReason, Drops, Event, Message, Reliability, ResetOutcome, SendError, SendOptions, State,
    Stats,
};
pub use association::Association;
pub use config::{Config, InitialWindow};
