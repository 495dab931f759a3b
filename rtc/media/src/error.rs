use std::io;

use thiserror::Error;

/// Why a payload does not give a frame. Payloads come from the network: these are to be counted, not
/// to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum DepacketizeError {
    /// There is nothing after the header of the payload, or no payload at all.
    #[error("payload is empty")]
    Empty,
    /// The payload ends within a field or before what it announces.
    #[error("payload ends early")]
    Truncated,
    /// A field has a value that it must not have.
    #[error("malformed payload: {0}")]
    Malformed(
        /// What is wrong.
        &'static str,
    ),
    /// A kind of payload that the negotiated format does not have.
    #[error("payload of kind {0} is not supported")]
    Unsupported(
        /// The number of the kind.
        u8,
    ),
    /// A later part came, and what it continues did not.
    #[error("the start of the frame or of its part is missing")]
    MissingStart,
    /// Something new begins, or the frame ends, before what came last has ended.
    #[error("the end of a part of the frame is missing")]
    MissingEnd,
    /// The frame grows beyond the bound that was given.
    #[error("frame is larger than allowed")]
    TooLarge,
}

impl From<rtc_shared::Truncated> for DepacketizeError {
    fn from(_: rtc_shared::Truncated) -> Self {
        Self::Truncated
    }
}

/// Why a frame cannot be put into packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum PacketizeError {
    /// The payload may have so few bytes that its headers leave nothing for the frame.
    #[error("payload size is too small for the format")]
    PayloadSize,
    /// The frame, or a part of it, must not be divided and does not fit a payload.
    #[error("frame does not fit a payload and cannot be divided")]
    TooLarge,
    /// The frame is not what its codec writes.
    #[error("malformed frame: {0}")]
    Malformed(
        /// What is wrong.
        &'static str,
    ),
}

/// A codec, or a parameter of it, that is not among those known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("codec or one of its parameters is not supported")]
pub struct UnsupportedCodec;

/// Why a media file cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum FileError {
    /// Reading or writing failed.
    #[error("input or output failed: {0}")]
    Io(
        /// As the operating system has it.
        io::ErrorKind,
    ),
    /// The file does not begin as its format says.
    #[error("not a file of this format")]
    Format,
    /// The file ends within a frame or a header.
    #[error("file ends early")]
    Truncated,
    /// A checksum is wrong.
    #[error("checksum is wrong")]
    Checksum,
    /// A field has a value that it must not have.
    #[error("malformed file: {0}")]
    Malformed(
        /// What is wrong.
        &'static str,
    ),
    /// A frame is larger than the bound that was given or than the format can express.
    #[error("frame is larger than allowed")]
    TooLarge,
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            kind => Self::Io(kind),
        }
    }
}
