//! The words of the public interface: options, messages, events, errors, counters.

use std::time::Duration;

use bytes::BytesMut;
use thiserror::Error;

/// How hard a message is tried (RFC 3758, RFC 7496).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reliability {
    /// Sent again until it is acknowledged.
    #[default]
    Reliable,
    /// Given up after so many retransmissions; 0 sends once.
    MaxRetransmits(u16),
    /// Given up so long after `send`, whether it was sent by then or not.
    MaxLifetime(Duration),
}

/// How one message is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// Deliver when it arrives, without waiting for earlier messages of the stream.
    pub unordered: bool,
    /// How hard it is tried.
    pub reliability: Reliability,
}

/// Why a message was not queued.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message is longer than the peer takes.
    #[error("message exceeds the limit of {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: usize,
    },
    /// The message has no bytes; SCTP cannot carry that (RFC 9260 §3.3.1).
    #[error("message is empty")]
    Empty,
    /// The send buffer of the stream or of the association is full;
    /// [`Event::Writable`] follows for the stream.
    #[error("send buffer is full")]
    BufferFull,
    /// The stream number is beyond what was negotiated.
    #[error("no such stream")]
    InvalidStream,
    /// The stream is being reset, or the peer has not yet reset its direction.
    #[error("stream is closing")]
    StreamClosing,
    /// The association is shutting down or has ended.
    #[error("association is closed")]
    Closed,
}

/// One message as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Stream number.
    pub stream: u16,
    /// Payload protocol identifier.
    pub ppid: u32,
    /// The bytes.
    pub payload: BytesMut,
    /// True when it was sent unordered.
    pub unordered: bool,
}

/// Where an association is in its life (RFC 9260 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started, or ended.
    Closed,
    /// INIT is out.
    CookieWait,
    /// COOKIE-ECHO is out.
    CookieEchoed,
    /// Data flows.
    Established,
    /// [`shutdown`](crate::Association::shutdown) was called; queued data is still being sent.
    ShutdownPending,
    /// SHUTDOWN is out.
    ShutdownSent,
    /// The peer's SHUTDOWN has come; our data is still being sent.
    ShutdownReceived,
    /// SHUTDOWN-ACK is out.
    ShutdownAckSent,
}

/// Something that happened; see [`poll_event`](crate::Association::poll_event).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The association is up.
    Connected,
    /// The peer has reset its direction of these streams. All of its messages from before can be
    /// read. New messages of a stream come only after our direction has been reset as well.
    StreamsReset {
        /// Stream numbers.
        streams: Vec<u16>,
    },
    /// [`reset_stream`](crate::Association::reset_stream) came to an end for these streams.
    OutgoingReset {
        /// Stream numbers.
        streams: Vec<u16>,
        /// How.
        outcome: ResetOutcome,
    },
    /// `buffered_amount` of the stream fell to its threshold or below.
    BufferedAmountLow {
        /// Stream number.
        stream: u16,
    },
    /// There is room again on a stream whose `send` failed with [`SendError::BufferFull`].
    Writable {
        /// Stream number.
        stream: u16,
    },
    /// A message longer than `max_receive_message` came on the stream and was dropped.
    MessageTooLarge {
        /// Stream number.
        stream: u16,
    },
    /// Messages were queued before the set-up for streams that the peer does not take; they are
    /// dropped.
    StreamsRefused {
        /// Stream numbers.
        streams: Vec<u16>,
    },
    /// The peer lost its state and set the association up again (RFC 9260 §5.2.4.1, action A):
    /// what was queued or in flight is dropped, all streams start anew.
    Restarted,
    /// The association ended by an error. Nothing follows.
    Aborted {
        /// Why.
        reason: AbortReason,
    },
    /// The association ended in order. Nothing follows.
    Closed,
}

/// How an outgoing stream reset ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetOutcome {
    /// The peer has reset its receiving side.
    Done,
    /// The peer refused.
    Denied,
    /// The peer does not know RFC 6525; the stream counts as closed on this side.
    Unsupported,
}

/// Why an association ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AbortReason {
    /// The peer sent ABORT.
    ByPeer {
        /// The first error cause code (RFC 9260 §3.3.10), 0 when there was none; 12 is a user's
        /// wish.
        cause: u16,
        /// The text or value of that cause, at most 256 bytes, as UTF-8 with replacements.
        info: String,
    },
    /// The peer did something that the protocol forbids; it was sent ABORT.
    ProtocolViolation(&'static str),
    /// The peer does not answer.
    Timeout,
}

/// Counters and measurements since the association began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Congestion window, bytes.
    pub congestion_window: usize,
    /// Slow start threshold, bytes.
    pub slow_start_threshold: usize,
    /// Unacknowledged bytes thought to be in the network (chunk headers included).
    pub bytes_in_flight: usize,
    /// What the peer's window leaves, bytes.
    pub peer_window: usize,
    /// Smoothed round-trip time, once measured.
    pub smoothed_rtt: Option<Duration>,
    /// Retransmission timeout now.
    pub rto: Duration,
    /// SCTP packets sent and received (well-formed or not).
    pub packets_sent: u64,
    /// See `packets_sent`.
    pub packets_received: u64,
    /// SCTP bytes sent and received, headers included.
    pub bytes_sent: u64,
    /// See `bytes_sent`.
    pub bytes_received: u64,
    /// Messages whose last fragment was sent the first time.
    pub messages_sent: u64,
    /// Messages that were completed.
    pub messages_received: u64,
    /// Payload bytes of complete messages received.
    pub message_bytes_received: u64,
    /// DATA chunks sent again.
    pub retransmits: u64,
    /// Times that loss was seen from SACKs.
    pub fast_recoveries: u64,
    /// Expiries of T3-rtx.
    pub timeouts: u64,
    /// Messages given up by their reliability policy.
    pub abandoned: u64,
    /// SACK chunks sent and received.
    pub sacks_sent: u64,
    /// See `sacks_sent`.
    pub sacks_received: u64,
    /// What was thrown away, by reason.
    pub drops: Drops,
}

/// Input that was thrown away, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drops {
    /// Packets shorter than a header and a chunk.
    pub short: u64,
    /// Packets for other ports.
    pub port: u64,
    /// Packets with a wrong checksum, or none where one is due.
    pub checksum: u64,
    /// Packets with a wrong verification tag.
    pub tag: u64,
    /// Packets cut short at a malformed chunk.
    pub malformed: u64,
    /// Chunks that do not fit the state.
    pub unexpected: u64,
    /// Chunks of unknown type.
    pub unknown: u64,
    /// Cookies that were not ours or too old.
    pub cookie: u64,
    /// DATA that had come before.
    pub duplicates: u64,
    /// DATA beyond the receive window or too far ahead.
    pub window: u64,
    /// DATA for streams that do not exist.
    pub stream: u64,
    /// Fragments and messages that can no longer be assembled or ordered.
    pub orphans: u64,
    /// SACKs that were old or acknowledged what was never sent.
    pub sacks: u64,
    /// Replies not sent because too many were waiting.
    pub replies: u64,
}
