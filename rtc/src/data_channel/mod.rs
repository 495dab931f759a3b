//! Data channels (webrtc-pc section 6).

mod channels;
mod entry;

use bytes::{Bytes, BytesMut};

pub(crate) use self::channels::DataChannels;
use self::entry::Entry;
use crate::Error;
use crate::peer_connection::RTCPeerConnection;
use crate::peer_connection::state::states;

/// Handle of a data channel, stable from its making to its `OnClose` event.
///
/// It is not the SCTP stream id, which is chosen only once the DTLS role is known: see
/// [`RTCDataChannel::stream_id`].
pub type RTCDataChannelId = u16;

states! {
    /// State of a data channel (webrtc-pc section 6.2).
    RTCDataChannelState {
        /// The connection below is being made.
        #[default]
        Connecting = "connecting",
        /// Messages flow.
        Open = "open",
        /// The close handshake is under way; what was queued still goes out.
        Closing = "closing",
        /// Closed in both directions.
        Closed = "closed",
    }
}

/// How a data channel is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RTCDataChannelInit {
    /// Whether messages arrive in the order in which they were sent.
    pub ordered: bool,
    /// How long a message is tried, in milliseconds; not together with `max_retransmits`.
    pub max_packet_life_time: Option<u16>,
    /// How often a message is tried again; not together with `max_packet_life_time`.
    pub max_retransmits: Option<u16>,
    /// Name of the subprotocol, at most 65,535 bytes.
    pub protocol: String,
    /// The stream id, when both sides agreed on the channel beforehand; no announcement is sent then.
    pub negotiated: Option<u16>,
    /// Share of the channel when several have something to send (RFC 8831 section 6.4).
    pub priority: RTCPriorityType,
}

impl Default for RTCDataChannelInit {
    fn default() -> Self {
        Self {
            ordered: true,
            max_packet_life_time: None,
            max_retransmits: None,
            protocol: String::new(),
            negotiated: None,
            priority: RTCPriorityType::Low,
        }
    }
}

/// Priorities (RFC 8831 section 6.4, W3C `RTCPriorityType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RTCPriorityType {
    /// Below normal.
    VeryLow,
    /// Normal, the default.
    #[default]
    Low,
    /// High.
    Medium,
    /// Extra high.
    High,
}

impl RTCPriorityType {
    /// The value on the wire.
    #[must_use]
    pub fn value(self) -> u16 {
        match self {
            Self::VeryLow => 128,
            Self::Low => 256,
            Self::Medium => 512,
            Self::High => 1024,
        }
    }
}

/// A message of a data channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RTCDataChannelMessage {
    /// Whether the data is UTF-8 text.
    pub is_string: bool,
    /// The data.
    pub data: BytesMut,
}

impl RTCDataChannelMessage {
    /// The text, if it is one and valid UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if self.is_string {
            std::str::from_utf8(&self.data).ok()
        } else {
            None
        }
    }
}

impl From<&str> for RTCDataChannelMessage {
    fn from(text: &str) -> Self {
        Self {
            is_string: true,
            data: BytesMut::from(text),
        }
    }
}

impl From<String> for RTCDataChannelMessage {
    fn from(text: String) -> Self {
        Self {
            is_string: true,
            data: bytes_mut(Bytes::from(text)),
        }
    }
}

impl From<BytesMut> for RTCDataChannelMessage {
    fn from(data: BytesMut) -> Self {
        Self {
            is_string: false,
            data,
        }
    }
}

impl From<Bytes> for RTCDataChannelMessage {
    fn from(data: Bytes) -> Self {
        Self {
            is_string: false,
            data: bytes_mut(data),
        }
    }
}

impl From<Vec<u8>> for RTCDataChannelMessage {
    fn from(data: Vec<u8>) -> Self {
        Self {
            is_string: false,
            data: bytes_mut(Bytes::from(data)),
        }
    }
}

impl From<&[u8]> for RTCDataChannelMessage {
    fn from(data: &[u8]) -> Self {
        Self {
            is_string: false,
            data: BytesMut::from(data),
        }
    }
}

/// Without a copy when the bytes are not shared.
fn bytes_mut(data: Bytes) -> BytesMut {
    data.try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

/// A view of one data channel, borrowed from its connection.
#[derive(Debug)]
pub struct RTCDataChannel<'a> {
    pub(crate) connection: &'a mut RTCPeerConnection,
    pub(crate) id: RTCDataChannelId,
}

/// What both sides know of a channel; it does not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RTCDataChannelParameters {
    /// Its name, not necessarily unique.
    pub label: String,
    /// Name of the subprotocol.
    pub protocol: String,
    /// Whether messages arrive in order.
    pub ordered: bool,
    /// How long a message is tried, in milliseconds.
    pub max_packet_life_time: Option<u16>,
    /// How often a message is tried again.
    pub max_retransmits: Option<u16>,
    /// Whether both sides agreed on it beforehand.
    pub negotiated: bool,
    /// Share of the channel among others, 256 is normal.
    pub priority: u16,
}

/// A message that was not taken, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct SendMessageError {
    /// Why.
    #[source]
    pub error: Error,
    /// The message.
    pub message: RTCDataChannelMessage,
}

impl RTCDataChannel<'_> {
    /// The handle.
    #[must_use]
    pub fn id(&self) -> RTCDataChannelId {
        self.id
    }

    fn entry(&self) -> Option<&Entry> {
        self.connection.data.get(self.id)
    }

    /// The SCTP stream id; `None` until the DTLS role is known.
    #[must_use]
    pub fn stream_id(&self) -> Option<u16> {
        self.entry().and_then(Entry::stream)
    }

    /// Label, protocol and reliability.
    #[must_use]
    pub fn parameters(&self) -> RTCDataChannelParameters {
        self.entry().map(Entry::parameters).unwrap_or_default()
    }

    /// Its name.
    #[must_use]
    pub fn label(&self) -> &str {
        self.entry()
            .map_or("", |entry| entry.described().label.as_str())
    }

    /// Name of its subprotocol.
    #[must_use]
    pub fn protocol(&self) -> &str {
        self.entry()
            .map_or("", |entry| entry.described().protocol.as_str())
    }

    /// Whether messages arrive in order.
    #[must_use]
    pub fn ordered(&self) -> bool {
        self.entry().is_none_or(|entry| entry.described().ordered)
    }

    /// How long a message is tried, in milliseconds.
    #[must_use]
    pub fn max_packet_life_time(&self) -> Option<u16> {
        self.entry()?.described().max_packet_life_time()
    }

    /// How often a message is tried again.
    #[must_use]
    pub fn max_retransmits(&self) -> Option<u16> {
        self.entry()?.described().max_retransmits()
    }

    /// Whether both sides agreed on it beforehand.
    #[must_use]
    pub fn negotiated(&self) -> bool {
        self.entry().is_some_and(Entry::is_negotiated)
    }

    /// Where it is in its life.
    #[must_use]
    pub fn ready_state(&self) -> RTCDataChannelState {
        self.entry()
            .map_or(RTCDataChannelState::Closed, Entry::state)
    }

    /// Whether the peer made it.
    #[must_use]
    pub fn is_incoming(&self) -> bool {
        self.entry().is_some_and(Entry::is_incoming)
    }

    /// Bytes that were given to `send` and not to the network yet.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        match (self.stream_id(), &self.connection.transport.sctp) {
            (Some(stream), Some(sctp)) => sctp.buffered_amount(stream),
            _ => 0,
        }
    }

    /// The same as [`buffered_amount`](Self::buffered_amount), by the name of the established API.
    #[must_use]
    pub fn outstanding_bytes(&self) -> usize {
        self.buffered_amount()
    }

    /// The largest message that the peer accepts, in bytes.
    #[must_use]
    pub fn max_message_size(&self) -> usize {
        self.connection.data.max_message_size()
    }

    /// When `buffered_amount` falls to this many bytes, `OnBufferedAmountLow` is told.
    #[must_use]
    pub fn buffered_amount_low_threshold(&self) -> usize {
        self.entry().map_or(0, Entry::low_threshold)
    }

    /// Sets the low threshold, in bytes.
    pub fn set_buffered_amount_low_threshold(&mut self, bytes: usize) {
        let RTCPeerConnection {
            data, transport, ..
        } = &mut *self.connection;
        data.set_thresholds(self.id, Some(bytes), None, transport);
    }

    /// When `buffered_amount` rises above this many bytes, `OnBufferedAmountHigh` is told.
    #[must_use]
    pub fn buffered_amount_high_threshold(&self) -> usize {
        self.entry().map_or(usize::MAX, Entry::high_threshold)
    }

    /// Sets the high threshold, in bytes.
    pub fn set_buffered_amount_high_threshold(&mut self, bytes: usize) {
        let RTCPeerConnection {
            data, transport, ..
        } = &mut *self.connection;
        data.set_thresholds(self.id, None, Some(bytes), transport);
    }

    /// Sends binary data.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the channel is not open, [`Error::MessageTooLarge`],
    /// [`Error::BufferFull`].
    pub fn send(&mut self, data: BytesMut) -> Result<(), Error> {
        self.send_message(data.into())
            .map_err(|refused| refused.error)
    }

    /// Sends text.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_text(&mut self, text: impl Into<String>) -> Result<(), Error> {
        self.send_message(text.into().into())
            .map_err(|refused| refused.error)
    }

    /// Sends a message, and gives it back when it is not taken.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_message(&mut self, message: RTCDataChannelMessage) -> Result<(), SendMessageError> {
        let RTCPeerConnection {
            data, transport, ..
        } = &mut *self.connection;
        data.send(self.id, message, transport)
    }

    /// The next message of this channel. [`poll_read`](rtc_shared::Protocol::poll_read) of the
    /// connection gives those of all channels instead, in order of arrival.
    pub fn read(&mut self) -> Option<RTCDataChannelMessage> {
        let RTCPeerConnection {
            data, transport, ..
        } = &mut *self.connection;
        data.read_channel(self.id, transport)
    }

    /// Closes the channel. What was sent before still goes out; `OnClose` follows when both sides are
    /// done.
    ///
    /// # Errors
    /// None; the signature is that of the established API.
    pub fn close(&mut self) -> Result<(), Error> {
        let RTCPeerConnection {
            data, transport, ..
        } = &mut *self.connection;
        data.close(self.id, transport);
        self.connection.settle();
        Ok(())
    }

    /// Tells that nobody will read the channel any more: its data is dropped as it comes, instead of
    /// filling the window that all channels share.
    pub fn discard(&mut self) {
        let RTCPeerConnection {
            data, transport, ..
        } = &mut *self.connection;
        data.discard(self.id, transport);
    }
}
