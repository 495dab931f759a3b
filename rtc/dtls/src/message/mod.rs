//! Handshake messages (RFC 6347 section 4.2.2, RFC 5246 section 7.4), shared by all versions.
//!
//! Messages borrow what they were read from; nothing is copied to look at one.

mod certificate;
mod hello;
mod key_exchange;
#[cfg(test)]
mod tests;

pub(crate) use certificate::{CertificateChain, CertificateRequest, Signed};
pub(crate) use hello::{ClientHello, HelloVerifyRequest, ServerHello};
pub(crate) use key_exchange::{ClientKeyExchange, ServerKeyExchange, VERIFY_DATA_LEN, verify_data};
use rtc_shared::{Reader, Writer};

use crate::error::{Error, InMessage};

pub(crate) const HELLO_REQUEST: u8 = 0;
pub(crate) const CLIENT_HELLO: u8 = 1;
pub(crate) const SERVER_HELLO: u8 = 2;
pub(crate) const HELLO_VERIFY_REQUEST: u8 = 3;
pub(crate) const CERTIFICATE: u8 = 11;
pub(crate) const SERVER_KEY_EXCHANGE: u8 = 12;
pub(crate) const CERTIFICATE_REQUEST: u8 = 13;
pub(crate) const SERVER_HELLO_DONE: u8 = 14;
pub(crate) const CERTIFICATE_VERIFY: u8 = 15;
pub(crate) const CLIENT_KEY_EXCHANGE: u8 = 16;
pub(crate) const FINISHED: u8 = 20;

/// Length of the header of a handshake message or fragment.
pub(crate) const MESSAGE_HEADER_LEN: usize = 12;

/// A part of a handshake message, as a record carries it; often the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    pub(crate) kind: u8,
    /// Length of the whole message's body.
    pub(crate) length: u32,
    pub(crate) message_seq: u16,
    /// Where in the body `data` belongs.
    pub(crate) offset: u32,
    pub(crate) data: &'a [u8],
    /// Header and data as they came.
    pub(crate) raw: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// Takes the next fragment off a record's payload, which may hold several.
    pub(crate) fn parse(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let whole = reader.rest();
        let before = reader.position();
        let fragment = Self::parse_fields(reader).in_message("handshake fragment")?;
        let raw = whole.get(..reader.position() - before).unwrap_or_default();
        let end = u64::from(fragment.offset) + fragment.data.len() as u64;
        // An empty fragment of a message that is not empty brings nothing.
        if end > u64::from(fragment.length) || (fragment.data.is_empty() && fragment.length > 0) {
            return Err(Error::Decode("handshake fragment"));
        }
        Ok(Self { raw, ..fragment })
    }

    fn parse_fields(reader: &mut Reader<'a>) -> Result<Self, rtc_shared::Truncated> {
        Ok(Self {
            kind: reader.u8()?,
            length: reader.u24()?,
            message_seq: reader.u16()?,
            offset: reader.u24()?,
            data: reader.vec24()?,
            raw: &[],
        })
    }

    /// True when this is the whole message.
    pub(crate) fn is_whole(&self) -> bool {
        self.data.len() as u64 == u64::from(self.length)
    }

    pub(crate) fn write(&self, out: &mut impl Writer) {
        self.write_header(out);
        out.put(self.data);
    }

    fn write_header(&self, out: &mut impl Writer) {
        out.put_u8(self.kind);
        out.put_u24(self.length);
        out.put_u16(self.message_seq);
        out.put_u24(self.offset);
        out.put_u24(self.data.len() as u32);
    }
}

/// Writes a whole message; `body` appends what follows the header.
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    kind: u8,
    message_seq: u16,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    Fragment {
        kind,
        length: 0,
        message_seq,
        offset: 0,
        data: &[],
        raw: &[],
    }
    .write_header(out);
    body(out);
    let length = (out.len() - start - MESSAGE_HEADER_LEN) as u32;
    let [_, a, b, c] = length.to_be_bytes();
    out.patch(start + 1, &[a, b, c]);
    out.patch(start + 9, &[a, b, c]);
}

/// Two-byte code points, as lists of suites, groups and schemes are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Codes<'a>(&'a [u8]);

impl<'a> Codes<'a> {
    /// A list from its content; it must not be empty nor end within a code point.
    pub(crate) fn new(content: &'a [u8], message: &'static str) -> Result<Self, Error> {
        if content.is_empty() || !content.len().is_multiple_of(2) {
            return Err(Error::Decode(message));
        }
        Ok(Self(content))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u16> + 'a {
        self.0
            .as_chunks::<2>()
            .0
            .iter()
            .map(|code| u16::from_be_bytes(*code))
    }

    pub(crate) fn contains(self, code: u16) -> bool {
        self.iter().any(|other| other == code)
    }

    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// The wire form of a list of code points that is to be offered.
pub(crate) fn code_bytes(codes: impl IntoIterator<Item = u16>) -> Vec<u8> {
    codes.into_iter().flat_map(u16::to_be_bytes).collect()
}

/// Refuses bytes after the end of a message.
pub(crate) fn expect_end(reader: &Reader<'_>, message: &'static str) -> Result<(), Error> {
    if reader.is_empty() {
        Ok(())
    } else {
        Err(Error::Decode(message))
    }
}
