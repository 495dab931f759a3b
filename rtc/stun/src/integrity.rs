use rtc_crypto::HmacKey;
use rtc_shared::{Reader, Writer};

use crate::{AttributeType, IntegrityError, Message, MessageBuilder};

impl Message<'_> {
    /// Verifies MESSAGE-INTEGRITY with a key of HMAC-SHA1 (RFC 8489 section 14.5), in constant time.
    ///
    /// # Errors
    /// [`IntegrityError`]; [`IntegrityError::Missing`] also when MESSAGE-INTEGRITY follows
    /// MESSAGE-INTEGRITY-SHA256, where it has to be ignored.
    pub fn verify_integrity(&self, key: &dyn HmacKey) -> Result<(), IntegrityError> {
        self.verify_hmac(self.integrity, key, |length| length == SHA1_LEN)
    }

    /// Verifies MESSAGE-INTEGRITY-SHA256 with a key of HMAC-SHA256 (RFC 8489 section 14.6), in
    /// constant time. The value may be cut to 16, 20, 24 or 28 bytes.
    ///
    /// # Errors
    /// [`IntegrityError`]
    pub fn verify_integrity_sha256(&self, key: &dyn HmacKey) -> Result<(), IntegrityError> {
        self.verify_hmac(self.integrity_sha256, key, |length| {
            (SHA256_MIN_LEN..=SHA256_LEN).contains(&length) && length.is_multiple_of(4)
        })
    }

    /// Verifies FINGERPRINT (RFC 8489 section 14.7).
    ///
    /// # Errors
    /// [`IntegrityError`]; [`IntegrityError::Missing`] is an error for ICE but not for others.
    pub fn verify_fingerprint(&self) -> Result<(), IntegrityError> {
        let (before, value) = self.protected_by(self.fingerprint)?;
        let value: [u8; FINGERPRINT_LEN] = value.try_into().map_err(|_| IntegrityError::Length)?;
        // FINGERPRINT is the last attribute, so the length of the header is the one it covers.
        if fingerprint_of(&[self.header, before]) == u32::from_be_bytes(value) {
            Ok(())
        } else {
            Err(IntegrityError::Mismatch)
        }
    }

    fn verify_hmac(
        &self,
        offset: Option<u16>,
        key: &dyn HmacKey,
        is_valid_length: impl FnOnce(usize) -> bool,
    ) -> Result<(), IntegrityError> {
        let (before, value) = self.protected_by(offset)?;
        if !is_valid_length(value.len()) {
            return Err(IntegrityError::Length);
        }
        // The covered length ends with the integrity attribute, whatever follows it.
        let covered = before.len() + ATTRIBUTE_HEADER_LEN + value.len();
        let mut header = *self.header;
        let [_, _, l0, l1, ..] = &mut header;
        [*l0, *l1] = (covered as u16).to_be_bytes();
        key.verify(&[&header, before], value)
            .map_err(|_| IntegrityError::Mismatch)
    }

    /// The body before the attribute at `offset`, and the attribute's value.
    fn protected_by(&self, offset: Option<u16>) -> Result<(&[u8], &[u8]), IntegrityError> {
        let offset = offset.ok_or(IntegrityError::Missing)?;
        let split = self.body.split_at_checked(usize::from(offset));
        let (before, attribute) = split.ok_or(IntegrityError::Missing)?;
        let mut reader = Reader::new(attribute);
        let value = reader.skip(2).and_then(|()| reader.vec16());
        Ok((before, value.map_err(|_| IntegrityError::Missing)?))
    }
}

impl MessageBuilder {
    /// Appends MESSAGE-INTEGRITY made with a key of HMAC-SHA1 (RFC 8489 section 14.5).
    pub fn message_integrity(self, key: &dyn HmacKey) -> Self {
        self.append_hmac(AttributeType::MESSAGE_INTEGRITY, key, SHA1_LEN)
    }

    /// Appends MESSAGE-INTEGRITY-SHA256 of 32 bytes made with a key of HMAC-SHA256 (RFC 8489 section
    /// 14.6).
    pub fn message_integrity_sha256(self, key: &dyn HmacKey) -> Self {
        self.append_hmac(AttributeType::MESSAGE_INTEGRITY_SHA256, key, SHA256_LEN)
    }

    /// Appends MESSAGE-INTEGRITY-SHA256 cut to `length` bytes, which is made a multiple of 4 from 16
    /// to 32. Neither ICE nor TURN cuts it.
    pub fn message_integrity_sha256_truncated(self, key: &dyn HmacKey, length: usize) -> Self {
        let length = length.clamp(SHA256_MIN_LEN, SHA256_LEN) & !3;
        self.append_hmac(AttributeType::MESSAGE_INTEGRITY_SHA256, key, length)
    }

    /// Appends FINGERPRINT (RFC 8489 section 14.7); nothing may follow it.
    pub fn fingerprint(mut self) -> Self {
        self.set_length(ATTRIBUTE_HEADER_LEN + FINGERPRINT_LEN);
        let fingerprint = fingerprint_of(&[&self.buffer]);
        self.append(AttributeType::FINGERPRINT, |_, out| {
            out.put_u32(fingerprint)
        })
    }

    fn append_hmac(mut self, typ: AttributeType, key: &dyn HmacKey, length: usize) -> Self {
        self.set_length(ATTRIBUTE_HEADER_LEN + length);
        let tag = key.sign(&[&self.buffer]);
        let tag = tag.as_ref();
        debug_assert!(tag.len() >= length, "key is of another algorithm");
        self.attribute(typ, tag.get(..length).unwrap_or(tag))
    }
}

fn fingerprint_of(parts: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for part in parts {
        crc.update(part);
    }
    crc.finalize() ^ FINGERPRINT_XOR
}

const ATTRIBUTE_HEADER_LEN: usize = 4;
const SHA1_LEN: usize = 20;
const SHA256_MIN_LEN: usize = 16;
const SHA256_LEN: usize = 32;
const FINGERPRINT_LEN: usize = 4;
/// Keeps the checksum apart from that of a protocol around STUN (RFC 8489 section 14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;
