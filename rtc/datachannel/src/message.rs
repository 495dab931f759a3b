use std::borrow::Cow;
use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::Error;

/// What a payload is: the SCTP payload protocol identifier (RFC 8831 section 8).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayloadProtocolId(pub u32);

impl PayloadProtocolId {
    /// A message of [`dcep`](crate::dcep).
    pub const DCEP: Self = Self(50);
    /// Text in UTF-8, or the last part of one.
    pub const STRING: Self = Self(51);
    /// A part of a binary message that is not the last; deprecated, never sent.
    pub const BINARY_PARTIAL: Self = Self(52);
    /// A binary message, or the last part of one.
    pub const BINARY: Self = Self(53);
    /// A part of a text that is not the last; deprecated, never sent.
    pub const STRING_PARTIAL: Self = Self(54);
    /// The empty text, carried by one byte without meaning since SCTP has no empty messages.
    pub const STRING_EMPTY: Self = Self(56);
    /// The empty binary message, likewise.
    pub const BINARY_EMPTY: Self = Self(57);
}

impl fmt::Debug for PayloadProtocolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::DCEP => "DCEP",
            Self::STRING => "STRING",
            Self::BINARY_PARTIAL => "BINARY_PARTIAL",
            Self::BINARY => "BINARY",
            Self::STRING_PARTIAL => "STRING_PARTIAL",
            Self::STRING_EMPTY => "STRING_EMPTY",
            Self::BINARY_EMPTY => "BINARY_EMPTY",
            Self(other) => return write!(f, "PayloadProtocolId({other})"),
        };
        f.write_str(name)
    }
}

impl From<u32> for PayloadProtocolId {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

impl From<PayloadProtocolId> for u32 {
    fn from(ppid: PayloadProtocolId) -> Self {
        ppid.0
    }
}

/// A message of the application that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whether the sender sent text.
    pub is_string: bool,
    /// The bytes; for text, as they came: see [`text`](Self::text).
    pub data: BytesMut,
}

impl Message {
    /// The payload that carries a message, and what it is. The bytes of `data` are not copied.
    pub fn to_payload(is_string: bool, data: Bytes) -> (PayloadProtocolId, Bytes) {
        const EMPTY: &[u8] = &[0];
        match (is_string, data.is_empty()) {
            (true, false) => (PayloadProtocolId::STRING, data),
            (false, false) => (PayloadProtocolId::BINARY, data),
            (true, true) => (PayloadProtocolId::STRING_EMPTY, Bytes::from_static(EMPTY)),
            (false, true) => (PayloadProtocolId::BINARY_EMPTY, Bytes::from_static(EMPTY)),
        }
    }

    /// The text, with U+FFFD in the place of what is not UTF-8, as the W3C decodes it.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.data)
    }
}

/// The parts of a message that came so far. Only old peers divide messages (RFC 8831 section 6.6);
/// what has none of them costs one pointer.
#[derive(Debug, Default)]
pub(crate) struct Parts(Option<Box<Message>>);

impl Parts {
    /// Appends a part that is not the last.
    pub(crate) fn push(
        &mut self,
        is_string: bool,
        part: BytesMut,
        limit: usize,
    ) -> Result<(), Error> {
        let message = self.joined(is_string, part, limit)?;
        self.0 = Some(Box::new(message));
        Ok(())
    }

    /// Completes the message with its last part, which mostly is its only one.
    pub(crate) fn finish(
        &mut self,
        is_string: bool,
        part: BytesMut,
        limit: usize,
    ) -> Result<Message, Error> {
        self.joined(is_string, part, limit)
    }

    /// Takes the parts; they are lost if there is an error.
    fn joined(&mut self, is_string: bool, part: BytesMut, limit: usize) -> Result<Message, Error> {
        let Some(parts) = self.0.take() else {
            return if part.len() > limit {
                Err(Error::MessageTooLong)
            } else {
                Ok(Message {
                    is_string,
                    data: part,
                })
            };
        };
        let mut message = *parts;
        if message.is_string != is_string {
            return Err(Error::MixedParts);
        }
        if message.data.len().saturating_add(part.len()) > limit {
            return Err(Error::MessageTooLong);
        }
        message.data.unsplit(part);
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_messages_are_one_zero_byte() {
        let payload = |is_string, data: &'static [u8]| {
            let (ppid, bytes) = Message::to_payload(is_string, Bytes::from_static(data));
            (ppid.0, bytes.to_vec())
        };
        assert_eq!(payload(true, b"a"), (51, vec![b'a']));
        assert_eq!(payload(false, b"a"), (53, vec![b'a']));
        assert_eq!(payload(true, b""), (56, vec![0]));
        assert_eq!(payload(false, b""), (57, vec![0]));
    }

    #[test]
    fn payloads_are_not_copied() {
        let data = Bytes::from(vec![7; 1000]);
        let (_, payload) = Message::to_payload(false, data.clone());
        assert_eq!(payload.as_ptr(), data.as_ptr());
        let received = BytesMut::from(&[7_u8; 1000][..]);
        let at = received.as_ptr();
        let message = Parts::default().finish(false, received, 1000).unwrap();
        assert_eq!(message.data.as_ptr(), at);
    }

    #[test]
    fn text_that_is_not_utf8_is_replaced() {
        let message = Message {
            is_string: true,
            data: BytesMut::from(&b"a\xffb"[..]),
        };
        assert_eq!(message.text(), "a\u{fffd}b");
    }
}
