use bytes::BytesMut;
use rtc_shared::Writer;

use crate::header::{HEADER_LEN, encode_type};
use crate::message::padding;
use crate::{AttributeType, Class, MAGIC_COOKIE, Message, Method, TransactionId};

/// Writes a message, attribute by attribute in the order of the calls.
///
/// Each attribute has a method that is named after it; [`attribute`](Self::attribute) takes any
/// other. Integrity covers what comes before it, so [`message_integrity`](Self::message_integrity)
/// and then [`fingerprint`](Self::fingerprint) come last. Text that is longer than its attribute
/// allows is cut; an attribute beyond the 65 535 bytes of a message is left out.
#[derive(Clone, Debug)]
#[must_use = "finish() gives the message"]
pub struct MessageBuilder {
    id: TransactionId,
    pub(crate) buffer: BytesMut,
}

impl MessageBuilder {
    /// Begins a message without attributes.
    pub fn new(class: Class, method: Method, id: TransactionId) -> Self {
        let mut buffer = BytesMut::with_capacity(INITIAL_CAPACITY);
        buffer.put_u16(encode_type(class, method));
        buffer.put_u16(0);
        buffer.put_u32(MAGIC_COOKIE);
        buffer.put(&id.0);
        Self { id, buffer }
    }

    /// Begins a response: its method and transaction identifier are those of the request.
    pub fn response(class: Class, request: &Message<'_>) -> Self {
        Self::new(class, request.method(), request.transaction_id())
    }

    /// The identifier that the message was given.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        self.id
    }

    /// Appends an attribute with a value that is written as it is, and zero bytes up to a multiple
    /// of 4.
    pub fn attribute(self, typ: AttributeType, value: &[u8]) -> Self {
        self.append(typ, |_, out| out.put(value))
    }

    /// The message.
    #[must_use]
    pub fn finish(self) -> BytesMut {
        self.buffer
    }

    /// Appends an attribute whose value `write` appends.
    pub(crate) fn append(
        mut self,
        typ: AttributeType,
        write: impl FnOnce(&TransactionId, &mut BytesMut),
    ) -> Self {
        let start = self.buffer.len();
        self.buffer.put_u16(typ.0);
        self.buffer.put_u16(0);
        write(&self.id, &mut self.buffer);
        let length = self.buffer.len() - start - 4;
        self.buffer.put_zeros(padding(length));
        let total = self.buffer.len() - HEADER_LEN;
        match (u16::try_from(length), u16::try_from(total)) {
            (Ok(length), Ok(_)) => self.buffer.patch(start + 2, &length.to_be_bytes()),
            _ => self.buffer.truncate(start),
        }
        self.set_length(0);
        self
    }

    /// Sets the length in the header to what is there and `more` bytes.
    pub(crate) fn set_length(&mut self, more: usize) {
        let length = self.buffer.len() - HEADER_LEN + more;
        self.buffer.patch(2, &(length as u16).to_be_bytes());
    }
}

/// Holds a connectivity check with both credentials of usual length.
const INITIAL_CAPACITY: usize = 160;
