use rtc_shared::Truncated;
use thiserror::Error;

/// Why a datagram, or what is left of it, is not RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// A packet ends beyond the datagram.
    #[error("packet ends beyond the datagram")]
    Truncated,
    /// The version is not 2.
    #[error("version is not 2")]
    Version,
    /// The count of padding bytes is 0 or more than there are.
    #[error("count of padding bytes is wrong")]
    Padding,
    /// The content of a packet contradicts its length, its counts or the rules of its type.
    #[error("content of a packet of type {packet_type} is malformed")]
    Malformed {
        /// The type of the packet.
        packet_type: u8,
    },
}

/// The content of a packet is malformed; the type is added where it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl From<Truncated> for Malformed {
    fn from(_: Truncated) -> Self {
        Self
    }
}
