//! The Data Channel Establishment Protocol: the two messages of RFC 8832 section 5, carried with
//! [`PayloadProtocolId::DCEP`](crate::PayloadProtocolId::DCEP), ordered and reliably, on the stream of
//! the channel they are about.
//!
//! ```
//! use rtc_datachannel::Parameters;
//! use rtc_datachannel::dcep::DcepMessage;
//!
//! let parameters = Parameters { label: "chat".into(), ..Parameters::default() };
//! let wire = DcepMessage::Open(parameters.to_open()).to_bytes()?;
//! assert_eq!(wire.len(), 16);
//! let DcepMessage::Open(open) = DcepMessage::parse(&wire)? else { unreachable!() };
//! assert_eq!(Parameters::from(open), parameters);
//! # Ok::<(), rtc_datachannel::Error>(())
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use rtc_shared::Reader;

use crate::Error;

const TYPE_ACK: u8 = 0x02;
const TYPE_OPEN: u8 = 0x03;
/// An OPEN before its label.
const OPEN_HEADER: usize = 12;

/// The whole ACK.
pub const ACK: &[u8] = &[TYPE_ACK];

/// A message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DcepMessage {
    /// DATA_CHANNEL_OPEN: the sender has opened a channel on this stream.
    Open(Open),
    /// DATA_CHANNEL_ACK: the OPEN on this stream has arrived.
    Ack,
}

/// DATA_CHANNEL_OPEN (RFC 8832 section 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Open {
    /// Order, and what `reliability` means.
    pub channel_type: ChannelType,
    /// Higher goes first.
    pub priority: u16,
    /// Retransmissions or milliseconds, by channel type; without meaning for reliable ones.
    pub reliability: u32,
    /// The application's name for the channel, at most 65535 bytes.
    pub label: String,
    /// The subprotocol, at most 65535 bytes.
    pub protocol: String,
}

/// The channel types of RFC 8832 section 5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChannelType {
    /// Reliable and ordered.
    Reliable = 0x00,
    /// Retransmitted a limited number of times, ordered.
    Rexmit = 0x01,
    /// Retransmitted for a limited time, ordered.
    Timed = 0x02,
    /// Reliable and unordered.
    ReliableUnordered = 0x80,
    /// Retransmitted a limited number of times, unordered.
    RexmitUnordered = 0x81,
    /// Retransmitted for a limited time, unordered.
    TimedUnordered = 0x82,
}

impl DcepMessage {
    /// Reads a message. What follows it in the payload is ignored.
    ///
    /// # Errors
    /// The payload is no message of the protocol; the stream is to be reset then.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(payload);
        match reader.u8()? {
            TYPE_ACK => Ok(Self::Ack),
            TYPE_OPEN => Open::parse(&mut reader).map(Self::Open),
            other => Err(Error::UnknownMessageType(other)),
        }
    }

    /// The message as it is sent.
    ///
    /// # Errors
    /// The label or the protocol is longer than 65535 bytes.
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        match self {
            Self::Ack => Ok(Bytes::from_static(ACK)),
            Self::Open(open) => open.to_bytes(),
        }
    }
}

impl Open {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let channel_type = reader.u8()?.try_into()?;
        let priority = reader.u16()?;
        let reliability = reader.u32()?;
        let label_length = reader.u16()?;
        let protocol_length = reader.u16()?;
        Ok(Self {
            channel_type,
            priority,
            reliability,
            label: text(reader.take(label_length.into())?)?,
            protocol: text(reader.take(protocol_length.into())?)?,
        })
    }

    fn to_bytes(&self) -> Result<Bytes, Error> {
        let label_length = u16::try_from(self.label.len()).map_err(|_| Error::LabelTooLong)?;
        let protocol_length =
            u16::try_from(self.protocol.len()).map_err(|_| Error::ProtocolTooLong)?;
        let length = OPEN_HEADER + self.label.len() + self.protocol.len();
        let mut wire = BytesMut::with_capacity(length);
        wire.put_u8(TYPE_OPEN);
        wire.put_u8(self.channel_type.into());
        wire.put_u16(self.priority);
        wire.put_u32(self.reliability);
        wire.put_u16(label_length);
        wire.put_u16(protocol_length);
        wire.put_slice(self.label.as_bytes());
        wire.put_slice(self.protocol.as_bytes());
        Ok(wire.freeze())
    }
}

fn text(bytes: &[u8]) -> Result<String, Error> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| Error::InvalidUtf8)
}

impl TryFrom<u8> for ChannelType {
    type Error = Error;

    fn try_from(byte: u8) -> Result<Self, Error> {
        match byte {
            0x00 => Ok(Self::Reliable),
            0x01 => Ok(Self::Rexmit),
            0x02 => Ok(Self::Timed),
            0x80 => Ok(Self::ReliableUnordered),
            0x81 => Ok(Self::RexmitUnordered),
            0x82 => Ok(Self::TimedUnordered),
            other => Err(Error::UnknownChannelType(other)),
        }
    }
}

impl From<ChannelType> for u8 {
    fn from(channel_type: ChannelType) -> Self {
        channel_type as Self
    }
}

#[cfg(test)]
mod tests;
