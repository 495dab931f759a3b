use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use rtc::data_channel::RTCDataChannelMessage;
use rtc::media::{PacketizeError, UnsupportedCodec};
use thiserror::Error;

/// Why an operation on a connection or a channel failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The state machine refused.
    #[error(transparent)]
    Core(#[from] rtc::Error),
    /// No interface address was left to bind: none exists, or loopback and the filter left none.
    #[error("no network interface to bind; loopback is used only when asked for")]
    NoInterfaces,
    /// The interfaces of this machine cannot be listed.
    #[error("network interfaces cannot be listed: {0}")]
    Interfaces(io::ErrorKind),
    /// Somebody else has the address.
    #[error("address {0} is in use")]
    AddressInUse(SocketAddr),
    /// Every port of the range is taken at this address.
    #[error("no free port in {}-{} at {addr}", range.start(), range.end())]
    NoFreePort {
        /// The address.
        addr: IpAddr,
        /// The ports that were tried.
        range: RangeInclusive<u16>,
    },
    /// A socket could not be made.
    #[error("socket {addr}: {kind}")]
    Socket {
        /// Its address.
        addr: SocketAddr,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The connection or the channel is closed, or is closing.
    #[error("closed")]
    Closed,
    /// ICE found no path or lost it, or DTLS failed. An ICE restart may help in the first case.
    #[error("the connection failed")]
    Failed,
    /// The task that drives the connection is gone: its runtime was shut down, it was dropped, or
    /// something panicked in the middle of a call.
    #[error("the driver of the connection is gone")]
    DriverLost,
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Closed => io::ErrorKind::BrokenPipe,
            Error::Failed => io::ErrorKind::ConnectionAborted,
            Error::AddressInUse(_) | Error::NoFreePort { .. } => io::ErrorKind::AddrInUse,
            Error::Socket { kind, .. } | Error::Interfaces(kind) => *kind,
            Error::NoInterfaces => io::ErrorKind::AddrNotAvailable,
            Error::Core(_) | Error::DriverLost => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Why [`DataChannel::send`](crate::DataChannel::send) did not take a message, or a
/// [`LocalTrack`](crate::LocalTrack) a packet or a sample.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The channel, the transceiver or the connection is closed, or is closing.
    #[error("closed")]
    Closed,
    /// The message is larger than the peer takes, or the packet than the path does.
    #[error("larger than the {max} bytes that can be sent")]
    TooLarge {
        /// The largest size that can be sent, bytes.
        max: usize,
    },
    /// There is no room now, or media cannot be sent yet; only
    /// [`try_write_rtp`](crate::LocalTrack::try_write_rtp) gives this.
    #[error("there is no room now")]
    Full,
    /// The sample is not what its codec writes, or does not fit into packets.
    #[error(transparent)]
    Packetize(#[from] PacketizeError),
    /// No packets can be made of samples of the negotiated codec; they have to be written as packets.
    #[error(transparent)]
    UnsupportedCodec(#[from] UnsupportedCodec),
    /// The driver is gone, see [`Error::DriverLost`].
    #[error("the driver of the connection is gone")]
    DriverLost,
    /// The state machine refused for another reason.
    #[error(transparent)]
    Refused(rtc::Error),
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Closed => Self::Closed,
            SendError::DriverLost => Self::DriverLost,
            SendError::TooLarge { max } => Self::Core(rtc::Error::MessageTooLarge {
                size: max.saturating_add(1),
                max,
            }),
            SendError::Refused(error) => Self::Core(error),
            SendError::Full => Self::Core(rtc::Error::BufferFull),
            SendError::Packetize(error) => Self::Core(rtc::Error::Operation(error.to_string())),
            SendError::UnsupportedCodec(error) => {
                Self::Core(rtc::Error::Operation(error.to_string()))
            }
        }
    }
}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        Error::from(error).into()
    }
}

/// Why [`try_send`](crate::DataChannel::try_send) did not take a message; the message comes back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// There is no room now; [`send`](crate::DataChannel::send) would wait.
    #[error("the send buffer is full")]
    Full(RTCDataChannelMessage),
    /// The channel is not open yet; [`send`](crate::DataChannel::send) would wait.
    #[error("the channel is not open yet")]
    NotOpen(RTCDataChannelMessage),
    /// It will never be taken.
    #[error("{error}")]
    Refused {
        /// Why.
        #[source]
        error: SendError,
        /// The message.
        message: RTCDataChannelMessage,
    },
}

impl TrySendError {
    /// The message that was not sent.
    #[must_use]
    pub fn into_message(self) -> RTCDataChannelMessage {
        match self {
            Self::Full(message) | Self::NotOpen(message) | Self::Refused { message, .. } => message,
        }
    }
}
