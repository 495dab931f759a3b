/// What was wrong with a message of the peer, or with what the owner asked for.
///
/// What the peer did wrong on a stream ends that channel: the owner resets the stream and leaves the
/// association as it is (RFC 8832 section 6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The DCEP message is empty or ends within a field.
    #[error("the DCEP message is truncated")]
    Truncated,
    /// There is no DCEP message of that type.
    #[error("unknown DCEP message type {0:#04x}")]
    UnknownMessageType(u8),
    /// There is no channel type of that number.
    #[error("unknown channel type {0:#04x}")]
    UnknownChannelType(u8),
    /// The label or the protocol is not UTF-8.
    #[error("the label or the protocol is not UTF-8")]
    InvalidUtf8,
    /// The label is longer than 65535 bytes.
    #[error("the label is too long")]
    LabelTooLong,
    /// The protocol is longer than 65535 bytes.
    #[error("the protocol is too long")]
    ProtocolTooLong,
    /// Both a number of retransmissions and a life time were given (W3C: `TypeError`).
    #[error("retransmissions and life time are both limited")]
    TwoLimits,
    /// The first message of a stream is not an OPEN.
    #[error("the first message of the stream is not an OPEN")]
    NotAnOpen,
    /// The peer sent an OPEN on a stream that has a channel.
    #[error("an OPEN on a stream that is in use")]
    OpenedTwice,
    /// The message, or what there is of it, is longer than this side receives.
    #[error("the message is longer than the limit")]
    MessageTooLong,
    /// The parts of a message are not all text or all binary.
    #[error("the parts of the message are of different kinds")]
    MixedParts,
    /// The identifier is 65535, or is not below the number of streams of the association.
    #[error("no stream can have this identifier")]
    InvalidStreamId,
    /// A channel has this stream, or had it and its reset is not complete.
    #[error("the stream is in use")]
    StreamInUse,
    /// No stream of this side's parity is free.
    #[error("no stream is free")]
    NoFreeStream,
    /// The DTLS role is not known yet, so no identifier can be chosen.
    #[error("the role is not known yet")]
    NoRole,
}

impl From<rtc_shared::Truncated> for Error {
    fn from(_: rtc_shared::Truncated) -> Self {
        Self::Truncated
    }
}
