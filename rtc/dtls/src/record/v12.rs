//! Record protection of version 1.2: AEAD (RFC 5288, RFC 7905) and CBC with HMAC-SHA1 (RFC 5246
//! section 6.2.3.2).

use std::ops::Range;

use rtc_crypto::{AeadAlgorithm, AeadKey, BlockCipherKey, CryptoError, HmacKey};
use rtc_shared::{ReplayWindow, Rng, Writer};
use subtle::{ConditionallySelectable, ConstantTimeEq, ConstantTimeLess};

use super::{HEADER_LEN, MAX_PLAINTEXT, MAX_SEQUENCE, RecordHeader, VERSION_1_2};
use crate::Error;

/// The sending side: numbers and protects records of the epochs 0 and 1.
#[derive(Default)]
pub(crate) struct RecordWriter {
    cipher: Option<Cipher>,
    /// The next number of each epoch; a number is never used twice.
    next: [u64; 2],
}

impl RecordWriter {
    pub(crate) fn install(&mut self, cipher: Cipher) {
        self.cipher = Some(cipher);
    }

    /// Bytes that a record takes beside its plaintext.
    pub(crate) fn overhead(&self, epoch: Epoch) -> usize {
        HEADER_LEN
            + self
                .cipher(epoch)
                .map_or(0, |cipher| cipher.prefix_len() + cipher.suffix_len())
    }

    /// Appends room for everything before the plaintext; returns where the record starts.
    pub(crate) fn begin(&self, epoch: Epoch, buf: &mut Vec<u8>) -> usize {
        let start = buf.len();
        buf.resize(
            start + HEADER_LEN + self.cipher(epoch).map_or(0, Cipher::prefix_len),
            0,
        );
        start
    }

    /// Protects the record that started at `start` and has its plaintext to the end of `buf`.
    pub(crate) fn finish(
        &mut self,
        epoch: Epoch,
        content_type: u8,
        buf: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), Error> {
        let [plain, sealed] = &mut self.next;
        let (next, cipher) = match epoch {
            Epoch::Plain => (plain, None),
            Epoch::Sealed => (
                sealed,
                Some(self.cipher.as_mut().ok_or(Error::NotConnected)?),
            ),
        };
        let prefix = HEADER_LEN + cipher.as_ref().map_or(0, |cipher| cipher.prefix_len());
        let length = buf
            .len()
            .checked_sub(start)
            .and_then(|length| length.checked_sub(prefix))
            .ok_or(Error::RecordNotBegun)?;
        if length > MAX_PLAINTEXT {
            return Err(Error::RecordTooLong);
        }
        if *next > MAX_SEQUENCE {
            return Err(Error::SequenceExhausted);
        }
        let mut header = RecordHeader {
            content_type,
            version: VERSION_1_2,
            epoch: epoch as u16,
            sequence: *next,
            length: length as u16,
        };
        if let Some(cipher) = cipher {
            cipher.seal(header, buf, start + HEADER_LEN)?;
            header.length = (buf.len() - start - HEADER_LEN) as u16;
        }
        buf.patch(start, &header.to_bytes());
        *next += 1;
        Ok(())
    }

    fn cipher(&self, epoch: Epoch) -> Option<&Cipher> {
        match epoch {
            Epoch::Plain => None,
            Epoch::Sealed => self.cipher.as_ref(),
        }
    }

    #[cfg(test)]
    pub(crate) fn set_next(&mut self, epoch: Epoch, sequence: u64) {
        self.next[epoch as usize] = sequence;
    }
}

/// The receiving side of epoch 1.
#[derive(Default)]
pub(crate) struct RecordReader {
    cipher: Option<Cipher>,
    window: ReplayWindow<1>,
}

impl RecordReader {
    pub(crate) fn install(&mut self, cipher: Cipher) {
        self.cipher = Some(cipher);
    }

    pub(crate) fn is_keyed(&self) -> bool {
        self.cipher.is_some()
    }

    /// Decrypts `record`, header included, where it lies and tells where the plaintext is.
    pub(crate) fn open(
        &mut self,
        header: RecordHeader,
        record: &mut [u8],
    ) -> Result<Range<usize>, OpenError> {
        let cipher = self.cipher.as_ref().ok_or(OpenError::NoKeys)?;
        if !self.window.is_fresh(header.sequence) {
            return Err(OpenError::Replayed);
        }
        let body = record.get_mut(HEADER_LEN..).ok_or(OpenError::Unauthentic)?;
        let plaintext = cipher
            .open(header, body)
            .map_err(|_| OpenError::Unauthentic)?;
        self.window.accept(header.sequence);
        Ok(plaintext.start + HEADER_LEN..plaintext.end + HEADER_LEN)
    }
}

/// Why a protected record was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    NoKeys,
    Replayed,
    Unauthentic,
}

/// The two epochs that there are without renegotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Epoch {
    Plain = 0,
    Sealed = 1,
}

/// The keys of one direction.
pub(crate) enum Cipher {
    /// Nonce: implicit salt, then the eight bytes at the front of the record (RFC 5288 section 3).
    Gcm {
        key: Box<dyn AeadKey>,
        salt: [u8; 4],
    },
    /// Nonce: IV XOR record number, nothing on the wire (RFC 7905 section 2).
    ChaCha { key: Box<dyn AeadKey>, iv: [u8; 12] },
    /// A random IV at the front, MAC and padding within the ciphertext.
    Cbc(Box<Cbc>),
}

pub(crate) struct Cbc {
    pub(crate) cipher: Box<dyn BlockCipherKey>,
    pub(crate) mac: Box<dyn HmacKey>,
    /// For the IVs, which must not be foreseeable.
    pub(crate) rng: Rng,
}

impl Cipher {
    /// Bytes between header and ciphertext.
    fn prefix_len(&self) -> usize {
        match self {
            Self::Gcm { .. } => EXPLICIT_NONCE_LEN,
            Self::ChaCha { .. } => 0,
            Self::Cbc(_) => BLOCK_LEN,
        }
    }

    /// The most that is added after the plaintext.
    fn suffix_len(&self) -> usize {
        match self {
            Self::Gcm { .. } | Self::ChaCha { .. } => AeadAlgorithm::TAG_LEN,
            Self::Cbc(_) => SHA1_LEN + BLOCK_LEN,
        }
    }

    /// Seals the plaintext that follows the prefix at `at`; `header` has the length of the plaintext.
    fn seal(&mut self, header: RecordHeader, buf: &mut Vec<u8>, at: usize) -> Result<(), Error> {
        let aad = additional_data(header);
        let prefix = self.prefix_len();
        let (explicit, data) = buf
            .get_mut(at..)
            .and_then(|body| body.split_at_mut_checked(prefix))
            .ok_or(Error::RecordNotBegun)?;
        match self {
            Self::Gcm { key, salt } => {
                let number = header.number();
                explicit.copy_from_slice(&number);
                let tag = key.seal_in_place(&gcm_nonce(*salt, number), &aad, data)?;
                buf.put(&tag);
            }
            Self::ChaCha { key, iv } => {
                let tag = key.seal_in_place(&xor_nonce(*iv, header.number()), &aad, data)?;
                buf.put(&tag);
            }
            Self::Cbc(cbc) => {
                let iv: [u8; BLOCK_LEN] = cbc.rng.array();
                explicit.copy_from_slice(&iv);
                let mac = cbc.mac.sign(&[&aad, data]);
                buf.put(mac.as_ref());
                let from = at + prefix;
                let padding = BLOCK_LEN - (buf.len() - from) % BLOCK_LEN;
                for _ in 0..padding {
                    buf.put_u8((padding - 1) as u8);
                }
                let data = buf.get_mut(from..).ok_or(Error::RecordNotBegun)?;
                cbc.cipher.cbc_encrypt(&iv, data)?;
            }
        }
        Ok(())
    }

    /// Opens what follows the header and tells where the plaintext is.
    fn open(&self, header: RecordHeader, body: &mut [u8]) -> Result<Range<usize>, CryptoError> {
        let prefix = self.prefix_len();
        let (explicit, data) = body
            .split_at_mut_checked(prefix)
            .ok_or(CryptoError::InvalidLength)?;
        let length = match self {
            Self::Gcm { key, salt } => {
                let explicit = explicit.first_chunk().ok_or(CryptoError::InvalidLength)?;
                let aad = aead_additional_data(header, data.len())?;
                key.open_in_place(&gcm_nonce(*salt, *explicit), &aad, data)?
                    .len()
            }
            Self::ChaCha { key, iv } => {
                let aad = aead_additional_data(header, data.len())?;
                key.open_in_place(&xor_nonce(*iv, header.number()), &aad, data)?
                    .len()
            }
            Self::Cbc(cbc) => {
                let iv = explicit.first_chunk().ok_or(CryptoError::InvalidLength)?;
                cbc.open(header, iv, data)?
            }
        };
        Ok(prefix..prefix + length)
    }
}

impl Cbc {
    /// Decrypts, then checks padding and MAC in a time that depends on the record's length but, as far
    /// as the keyed hash allows, not on the padding (RFC 5246 section 6.2.3.2, "Lucky 13").
    fn open(
        &self,
        mut header: RecordHeader,
        iv: &[u8; BLOCK_LEN],
        data: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let total = data.len();
        if !total.is_multiple_of(BLOCK_LEN) || total > MAX_PLAINTEXT + 1024 {
            return Err(CryptoError::InvalidLength);
        }
        let max_padding = total
            .checked_sub(SHA1_LEN + 1)
            .ok_or(CryptoError::InvalidLength)?;
        self.cipher.cbc_decrypt(iv, data)?;

        let claimed = *data.last().ok_or(CryptoError::InvalidLength)?;
        let mut good = !(max_padding as u64).ct_lt(&u64::from(claimed));
        for (distance, byte) in data.iter().rev().take(256).enumerate() {
            let beyond = u64::from(claimed).ct_lt(&(distance as u64));
            good &= beyond | byte.ct_eq(&claimed);
        }
        let padding = u64::conditional_select(&0, &u64::from(claimed), good) as usize;

        let length = max_padding - padding;
        header.length = length as u16;
        let (content, rest) = data
            .split_at_checked(length)
            .ok_or(CryptoError::InvalidLength)?;
        let (mac, padded) = rest
            .split_at_checked(SHA1_LEN)
            .ok_or(CryptoError::InvalidLength)?;
        let expected = self.mac.sign(&[&additional_data(header), content]);
        // What the padding saved in hashing is made up for.
        let _ = self.mac.sign(&[padded]);
        good &= expected.as_ref().ct_eq(mac);
        if bool::from(good) {
            Ok(length)
        } else {
            Err(CryptoError::Authentication)
        }
    }
}

/// Record number, type, version and length of the plaintext (RFC 5246 section 6.2.3.3).
fn additional_data(header: RecordHeader) -> [u8; 13] {
    let [n0, n1, n2, n3, n4, n5, n6, n7] = header.number();
    let [v0, v1] = header.version.to_be_bytes();
    let [l0, l1] = header.length.to_be_bytes();
    [
        n0,
        n1,
        n2,
        n3,
        n4,
        n5,
        n6,
        n7,
        header.content_type,
        v0,
        v1,
        l0,
        l1,
    ]
}

fn aead_additional_data(
    mut header: RecordHeader,
    sealed_len: usize,
) -> Result<[u8; 13], CryptoError> {
    let length = sealed_len.checked_sub(AeadAlgorithm::TAG_LEN);
    header.length = length.ok_or(CryptoError::InvalidLength)? as u16;
    Ok(additional_data(header))
}

fn gcm_nonce([s0, s1, s2, s3]: [u8; 4], [n0, n1, n2, n3, n4, n5, n6, n7]: [u8; 8]) -> [u8; 12] {
    [s0, s1, s2, s3, n0, n1, n2, n3, n4, n5, n6, n7]
}

fn xor_nonce(mut iv: [u8; 12], number: [u8; 8]) -> [u8; 12] {
    for (byte, number) in iv.iter_mut().skip(4).zip(number) {
        *byte ^= number;
    }
    iv
}

const EXPLICIT_NONCE_LEN: usize = 8;
const BLOCK_LEN: usize = 16;
const SHA1_LEN: usize = 20;

#[cfg(test)]
mod tests;
