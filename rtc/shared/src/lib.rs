//! Words that every layer of the rtc stack shares.
//!
//! * [`Protocol`] is the one trait by which a sans-I/O state machine is driven.
//! * [`TaggedBytesMut`], [`TransportContext`] and [`Transmit`] say where a datagram came from or goes to.
//! * [`Reader`] and [`Writer`] read and write wire formats without a panic.
//! * [`TimerTable`], [`Rng`], [`ReplayWindow`] and [`serial`] are what protocols are made of.
//!
//! Nothing here knows a socket, a clock or a thread.
//!
//! ```
//! use rtc_shared::{Reader, Writer};
//!
//! let mut wire = Vec::new();
//! wire.put_u16(0x1234);
//! wire.put_u24(7);
//! let mut reader = Reader::new(&wire);
//! assert_eq!(reader.u16(), Ok(0x1234));
//! assert_eq!(reader.u24(), Ok(7));
//! assert!(reader.u8().is_err());
//! ```

mod path;
mod protocol;
mod reader;
mod replay;
mod rng;
pub mod serial;
mod timers;
mod transmit;
mod writer;

pub use path::{
    EcnCodepoint, FiveTuple, FourTuple, TaggedBytesMut, TaggedString, TransportContext,
    TransportMessage, TransportProtocol,
};
pub use protocol::Protocol;
pub use reader::{Reader, Truncated};
pub use replay::ReplayWindow;
pub use rng::Rng;
pub use timers::TimerTable;
pub use transmit::Transmit;
pub use writer::Writer;
