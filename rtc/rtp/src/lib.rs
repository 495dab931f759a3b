//! RTP packets (RFC 3550) and their header extensions (RFC 8285).
//!
//! * [`Packet`] is a packet of one's own: a [`Header`] to change and a payload that is a slice of the
//!   received buffer.
//! * [`HeaderView`] reads a header where it lies, for routing, also before decryption.
//! * [`Extensions`] holds the elements of the header extension; the module [`extension`] gives their
//!   values a type, [`extension::ExtensionMap`] the numbers that were negotiated.
//! * [`sequence`] extends sequence numbers beyond 16 bits.
//!
//! ```
//! use bytes::Bytes;
//! use rtc_rtp::extension::{AudioLevel, Mid};
//! use rtc_rtp::{Header, HeaderView, Packet};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut header = Header {
//!     payload_type: 111,
//!     sequence_number: 7,
//!     timestamp: 960,
//!     ssrc: 0x1234_5678,
//!     ..Header::default()
//! };
//! header.extensions.set_value(1, &AudioLevel { voice_activity: true, level: 37 })?;
//! header.extensions.set_value(4, &Mid("audio"))?;
//! let packet = Packet { header, payload: Bytes::from_static(b"opus") };
//!
//! let mut datagram = Vec::with_capacity(packet.encoded_len());
//! packet.write(&mut datagram);
//!
//! let view = HeaderView::parse(&datagram)?;
//! assert_eq!((view.ssrc(), view.payload_type()), (0x1234_5678, 111));
//! assert_eq!(view.extension(4), Some(&b"audio"[..]));
//!
//! let received = Packet::parse(datagram)?;
//! assert_eq!(received, packet);
//! assert_eq!(received.header.extensions.value(4), Some(Mid("audio")));
//! # Ok(())
//! # }
//! ```

mod elements;
mod error;
pub mod extension;
mod header;
mod packet;
pub mod sequence;
mod view;

#[cfg(test)]
mod tests;

pub use elements::{Elements, ExtensionForm, Extensions};
pub use error::{ExtensionError, ParseError};
pub use header::Header;
pub use packet::Packet;
pub use view::HeaderView;
