use thiserror::Error;

/// Details of an [`Error::Rtc`], named as W3C's `RTCErrorDetailType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RTCErrorDetailType {
    /// A data channel failed.
    DataChannelFailure,
    /// The DTLS handshake failed or an alert ended the connection.
    DtlsFailure,
    /// The peer's certificate does not match the fingerprints of its description.
    FingerprintFailure,
    /// The SCTP association failed.
    SctpFailure,
    /// A session description is not valid SDP.
    SdpSyntaxError,
}

impl RTCErrorDetailType {
    /// The W3C name, as `sdp-syntax-error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DataChannelFailure => "data-channel-failure",
            Self::DtlsFailure => "dtls-failure",
            Self::FingerprintFailure => "fingerprint-failure",
            Self::SctpFailure => "sctp-failure",
            Self::SdpSyntaxError => "sdp-syntax-error",
        }
    }
}

/// Why a call failed. A call that fails changes nothing.
///
/// The variants are the error names of W3C's webrtc-pc; [`name`](Self::name) gives the name that a
/// browser would show.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The object is in a state in which the call is not allowed (`InvalidStateError`).
    #[error("invalid state: {0}")]
    InvalidState(&'static str),
    /// An argument does not fit the object it was given to (`InvalidAccessError`).
    #[error("invalid access: {0}")]
    InvalidAccess(String),
    /// A change that is not allowed (`InvalidModificationError`).
    #[error("invalid modification: {0}")]
    InvalidModification(&'static str),
    /// The operation failed for a reason of its own (`OperationError`).
    #[error("operation failed: {0}")]
    Operation(String),
    /// An argument is not of the right form (`TypeError`).
    #[error("invalid argument: {0}")]
    Type(String),
    /// A text does not follow its grammar (`SyntaxError`).
    #[error("syntax error: {0}")]
    Syntax(String),
    /// A value is outside the allowed range (`RangeError`).
    #[error("out of range: {0}")]
    Range(&'static str),
    /// A message is larger than the peer accepts (`TypeError`).
    #[error("message of {size} bytes is larger than the {max} bytes the peer accepts")]
    MessageTooLarge {
        /// Size of the message in bytes.
        size: usize,
        /// Largest size in bytes that the peer accepts.
        max: usize,
    },
    /// The send buffer is full (`OperationError`); try again after `OnBufferedAmountLow`.
    #[error("the send buffer is full")]
    BufferFull,
    /// An error with a detail type of its own (`RTCError`).
    #[error("{}: {message}", detail.as_str())]
    Rtc {
        /// What kind of error it is.
        detail: RTCErrorDetailType,
        /// What was wrong.
        message: String,
        /// Line of the session description, from 1, for [`RTCErrorDetailType::SdpSyntaxError`].
        sdp_line: Option<usize>,
    },
}

impl Error {
    /// The name of the W3C exception.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvalidState(_) => "InvalidStateError",
            Self::InvalidAccess(_) => "InvalidAccessError",
            Self::InvalidModification(_) => "InvalidModificationError",
            Self::Operation(_) | Self::BufferFull => "OperationError",
            Self::Type(_) | Self::MessageTooLarge { .. } => "TypeError",
            Self::Syntax(_) => "SyntaxError",
            Self::Range(_) => "RangeError",
            Self::Rtc { .. } => "RTCError",
        }
    }

    pub(crate) fn closed() -> Self {
        Self::InvalidState("the peer connection is closed")
    }

    pub(crate) fn sdp_syntax(line: Option<usize>, message: impl Into<String>) -> Self {
        Self::Rtc {
            detail: RTCErrorDetailType::SdpSyntaxError,
            message: message.into(),
            sdp_line: line,
        }
    }
}

impl From<rtc_sdp::ParseError> for Error {
    fn from(error: rtc_sdp::ParseError) -> Self {
        Self::sdp_syntax(Some(error.line), error.to_string())
    }
}
