use bytes::{Bytes, BytesMut};
use rtc_shared::Writer;

use crate::{Header, HeaderView, ParseError};

/// A packet: header and payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// The header.
    pub header: Header,
    /// The payload, without padding.
    pub payload: Bytes,
}

impl Packet {
    /// Reads a datagram, a `Bytes`, `BytesMut` or `Vec<u8>`. The payload is a slice of it.
    ///
    /// # Errors
    /// [`ParseError`]; elements of the header extension that are malformed are left out instead.
    pub fn parse(datagram: impl Into<Bytes>) -> Result<Self, ParseError> {
        let mut datagram = datagram.into();
        let view = HeaderView::parse(&datagram)?;
        let mut header = view.to_header();
        let header_len = view.header_len();
        let has_padding = view.has_padding();

        let mut payload = datagram.split_off(header_len);
        if has_padding {
            let padding = *payload.last().ok_or(ParseError::Padding)?;
            let length = payload
                .len()
                .checked_sub(padding.into())
                .ok_or(ParseError::Padding)?;
            if padding == 0 {
                return Err(ParseError::Padding);
            }
            payload.truncate(length);
            header.padding = padding;
        }
        Ok(Self { header, payload })
    }

    /// Length in bytes on the wire.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.header.encoded_len() + self.payload.len() + usize::from(self.header.padding)
    }

    /// Appends the packet to `out`, a `Vec<u8>` or `BytesMut`.
    pub fn write(&self, out: &mut impl Writer) {
        self.header.write(out);
        out.put(&self.payload);
        if let Some(zeros) = self.header.padding.checked_sub(1) {
            out.put_zeros(zeros.into());
            out.put_u8(self.header.padding);
        }
    }

    /// The packet as a datagram of its own.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.write(&mut out);
        out.freeze()
    }
}
