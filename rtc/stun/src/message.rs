use std::fmt;

use rtc_shared::Reader;

use crate::header::{HEADER_LEN, decode_type};
use crate::{AttributeType, Class, DecodeError, MAGIC_COOKIE, Method, TransactionId};

/// A received message: a view of the datagram, checked once.
///
/// [`parse`](Self::parse) walks all attributes, so that afterwards nothing can run past the end.
/// Each attribute has a getter that is named after it and is `None` when the attribute is absent or
/// malformed; [`validate`](Self::validate) tells the two apart. Attributes that a receiver has to
/// ignore, because integrity does not cover them (RFC 8489 sections 14.5 and 14.6), are not seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub(crate) header: &'a [u8; HEADER_LEN],
    pub(crate) body: &'a [u8],
    /// Offsets into `body` of the attributes that protect the message.
    pub(crate) integrity: Option<u16>,
    pub(crate) integrity_sha256: Option<u16>,
    pub(crate) fingerprint: Option<u16>,
}

impl<'a> Message<'a> {
    /// Reads a datagram that is one message and nothing else.
    ///
    /// # Errors
    /// [`DecodeError`] when it is not STUN, a length is wrong, an attribute runs past the end or one
    /// follows FINGERPRINT. Values of attributes are not looked at.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let (header, body) = datagram
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(DecodeError::NotStun)?;
        let [t0, _, l0, l1, c0, c1, c2, c3, ..] = *header;
        if t0 & 0xc0 != 0 || u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE {
            return Err(DecodeError::NotStun);
        }
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if length != body.len() || !length.is_multiple_of(4) {
            return Err(DecodeError::Length);
        }

        let mut message = Self {
            header,
            body,
            integrity: None,
            integrity_sha256: None,
            fingerprint: None,
        };
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            if message.fingerprint.is_some() {
                return Err(DecodeError::FingerprintNotLast);
            }
            let offset = reader.position() as u16;
            let (typ, _) = read_attribute(&mut reader).ok_or(DecodeError::AttributeOverrun)?;
            match typ {
                AttributeType::MESSAGE_INTEGRITY if message.integrity_sha256.is_none() => {
                    message.integrity.get_or_insert(offset);
                }
                AttributeType::MESSAGE_INTEGRITY_SHA256 => {
                    message.integrity_sha256.get_or_insert(offset);
                }
                AttributeType::FINGERPRINT => message.fingerprint = Some(offset),
                _ => {}
            }
        }
        Ok(message)
    }

    /// Whether it is a request, an indication or a response.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class_and_method().0
    }

    /// What it is about.
    #[must_use]
    pub fn method(&self) -> Method {
        self.class_and_method().1
    }

    /// The identifier that a response copies from its request.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        let [.., a, b, c, d, e, f, g, h, i, j, k, l] = *self.header;
        TransactionId([a, b, c, d, e, f, g, h, i, j, k, l])
    }

    /// All attributes but those to be ignored, in their order: after MESSAGE-INTEGRITY come only
    /// MESSAGE-INTEGRITY-SHA256 and FINGERPRINT, after MESSAGE-INTEGRITY-SHA256 only FINGERPRINT.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes {
            reader: Reader::new(self.body),
            protected: Protected::No,
        }
    }

    /// The value of the first attribute of a type; later ones do not count (RFC 8489 section 14).
    #[must_use]
    pub fn attribute(&self, typ: AttributeType) -> Option<&'a [u8]> {
        self.attributes()
            .find(|&(found, _)| found == typ)
            .map(|(_, value)| value)
    }

    /// True when the message has an attribute of a type.
    #[must_use]
    pub fn has(&self, typ: AttributeType) -> bool {
        self.attribute(typ).is_some()
    }

    /// True when the message carries MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256, right or wrong.
    #[must_use]
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some() || self.integrity_sha256.is_some()
    }

    /// The comprehension-required attributes that are not in `known`, each once, for a 420 response
    /// (RFC 8489 section 6.3.1). The integrity attributes are always known. At most 32 are listed.
    #[must_use]
    pub fn unknown_required(&self, known: &[AttributeType]) -> Vec<AttributeType> {
        let mut unknown = Vec::new();
        for (typ, _) in self.attributes() {
            let integrity = matches!(
                typ,
                AttributeType::MESSAGE_INTEGRITY | AttributeType::MESSAGE_INTEGRITY_SHA256
            );
            let candidate = typ.is_comprehension_required() && !integrity && !known.contains(&typ);
            if candidate && unknown.len() < MAX_UNKNOWN && !unknown.contains(&typ) {
                unknown.push(typ);
            }
        }
        unknown
    }

    /// Checks the values of all attributes whose types this crate knows.
    ///
    /// # Errors
    /// [`DecodeError::MalformedAttribute`] with the type of the first that is malformed: a server
    /// answers 400, a client ignores the message.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let id = self.transaction_id();
        match self
            .attributes()
            .find(|&(typ, value)| !typ.accepts(value, &id))
        {
            Some((typ, _)) => Err(DecodeError::MalformedAttribute(typ)),
            None => Ok(()),
        }
    }

    fn class_and_method(&self) -> (Class, Method) {
        let [t0, t1, ..] = *self.header;
        decode_type(u16::from_be_bytes([t0, t1]))
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?} {} [",
            self.method(),
            self.class(),
            self.transaction_id()
        )?;
        for (index, (typ, value)) in self.attributes().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{typ}({})", value.len())?;
        }
        f.write_str("]")
    }
}

/// Iterates over type and value of the attributes of a [`Message`].
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    reader: Reader<'a>,
    protected: Protected,
}

/// How far integrity has been passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protected {
    No,
    BySha1,
    BySha256,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (AttributeType, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (typ, value) = read_attribute(&mut self.reader)?;
            let passes = match typ {
                AttributeType::FINGERPRINT => true,
                AttributeType::MESSAGE_INTEGRITY_SHA256 => self.protected != Protected::BySha256,
                _ => self.protected == Protected::No,
            };
            if passes {
                match typ {
                    AttributeType::MESSAGE_INTEGRITY => self.protected = Protected::BySha1,
                    AttributeType::MESSAGE_INTEGRITY_SHA256 => {
                        self.protected = Protected::BySha256;
                    }
                    _ => {}
                }
                return Some((typ, value));
            }
        }
    }
}

/// Reads type, value and padding; `None` when they do not fit, and at the end.
fn read_attribute<'a>(reader: &mut Reader<'a>) -> Option<(AttributeType, &'a [u8])> {
    let typ = AttributeType(reader.u16().ok()?);
    let value = reader.vec16().ok()?;
    reader.skip(padding(value.len())).ok()?;
    Some((typ, value))
}

/// How many bytes fill a value of `length` bytes up to a multiple of 4.
pub(crate) fn padding(length: usize) -> usize {
    length.wrapping_neg() & 3
}

/// Bounds the list in a 420 response.
const MAX_UNKNOWN: usize = 32;
