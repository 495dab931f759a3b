//! Transport-wide sequence numbers and the feedback on them
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

mod receiver;
mod sender;

pub use receiver::{TwccReceiver, TwccReceiverConfig};
pub use sender::{PacketReport, SentPackets, TwccSender};
