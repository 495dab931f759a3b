//! The transforms: one packet and its index in, the other form out. No state but the keys.

use rtc_crypto::{AeadKey, BlockCipherKey, CryptoProvider, HmacAlgorithm, HmacKey};

use crate::keys::{SessionKeys, Subprotocol};
use crate::{Error, Profile};

/// The keys of one direction and protocol, scheduled.
pub(crate) enum Cipher {
    /// AES in counter mode with HMAC-SHA1 (RFC 3711 sections 4.1.1 and 4.2.1).
    CounterMode {
        cipher: Box<dyn BlockCipherKey>,
        /// The salt, shifted left by 16 bits.
        salt: u128,
        mac: Box<dyn HmacKey>,
        tag_len: usize,
    },
    /// AES-GCM (RFC 7714).
    Gcm {
        cipher: Box<dyn AeadKey>,
        salt: [u8; 12],
    },
}

impl Cipher {
    pub(crate) fn new(
        profile: Profile,
        protocol: Subprotocol,
        keys: &SessionKeys,
        provider: &CryptoProvider,
    ) -> Result<Self, Error> {
        if let Some(algorithm) = profile.aead() {
            let cipher = provider.aead(algorithm).ok_or(Error::Unsupported)?;
            let (salt, _) = keys.salt.split_first_chunk().ok_or(Error::KeyLength)?;
            return Ok(Self::Gcm {
                cipher: cipher.key(&keys.key)?,
                salt: *salt,
            });
        }
        let cipher = provider
            .block_cipher(profile.block_cipher())
            .ok_or(Error::Unsupported)?;
        let mac = provider
            .hmac(HmacAlgorithm::Sha1)
            .ok_or(Error::Unsupported)?;
        let mut salt = [0; 16];
        for (to, from) in salt.iter_mut().zip(*keys.salt) {
            *to = from;
        }
        Ok(Self::CounterMode {
            cipher: cipher.key(&keys.key)?,
            salt: u128::from_be_bytes(salt),
            mac: mac.key(&*keys.auth),
            tag_len: match protocol {
                Subprotocol::Rtp => profile.rtp_overhead(),
                Subprotocol::Rtcp => profile.rtcp_overhead() - INDEX_LEN,
            },
        })
    }

    /// Encrypts `payload` and writes the tag to the front of `room`. Returns the first 8 bytes of
    /// the tag before it is truncated, which stand for the packet.
    pub(crate) fn seal_rtp(
        &self,
        id: PacketId,
        packet: &mut [u8],
        header_len: usize,
        room: &mut [u8],
    ) -> Result<u64, Error> {
        let (header, payload) = packet
            .split_at_mut_checked(header_len)
            .ok_or(Error::Malformed)?;
        match self {
            Self::CounterMode {
                cipher,
                salt,
                mac,
                tag_len,
            } => {
                let room = room.get_mut(..*tag_len).ok_or(Error::BufferTooSmall)?;
                cipher.ctr_apply(&id.counter(*salt), payload);
                let tag = mac.sign(&[packet, &id.rollover_counter()]);
                put_tag(room, tag.as_ref());
                Ok(leading_word(tag.as_ref()))
            }
            Self::Gcm { cipher, salt } => {
                let room = room
                    .first_chunk_mut::<GCM_TAG_LEN>()
                    .ok_or(Error::BufferTooSmall)?;
                *room = cipher.seal_in_place(&id.nonce(salt), header, payload)?;
                Ok(leading_word(room))
            }
        }
    }

    /// Verifies and decrypts; returns the length of the plain packet. When it fails the payload is
    /// undefined.
    pub(crate) fn open_rtp(
        &self,
        id: PacketId,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<usize, Error> {
        match self {
            Self::CounterMode {
                cipher,
                salt,
                mac,
                tag_len,
            } => {
                let (packet, tag) = split_tag(packet, *tag_len)?;
                mac.verify(&[packet, &id.rollover_counter()], tag)?;
                let (_, payload) = packet
                    .split_at_mut_checked(header_len)
                    .ok_or(Error::Malformed)?;
                cipher.ctr_apply(&id.counter(*salt), payload);
                Ok(packet.len())
            }
            Self::Gcm { cipher, salt } => {
                let (header, sealed) = packet
                    .split_at_mut_checked(header_len)
                    .ok_or(Error::Malformed)?;
                let plain = cipher.open_in_place(&id.nonce(salt), header, sealed)?;
                Ok(header_len + plain.len())
            }
        }
    }

    /// Encrypts a compound packet and writes what follows it to the front of `room`: for counter
    /// mode the word of the index and the tag, for GCM the tag and the word.
    pub(crate) fn seal_rtcp(
        &self,
        id: PacketId,
        packet: &mut [u8],
        room: &mut [u8],
    ) -> Result<(), Error> {
        let word = (ENCRYPTED | id.index as u32).to_be_bytes();
        let (header, payload) = packet
            .split_first_chunk_mut::<RTCP_HEADER_LEN>()
            .ok_or(Error::Malformed)?;
        match self {
            Self::CounterMode {
                cipher,
                salt,
                mac,
                tag_len,
            } => {
                let (index, room) = room
                    .split_first_chunk_mut::<INDEX_LEN>()
                    .ok_or(Error::BufferTooSmall)?;
                let room = room.get_mut(..*tag_len).ok_or(Error::BufferTooSmall)?;
                cipher.ctr_apply(&id.counter(*salt), payload);
                *index = word;
                put_tag(room, mac.sign(&[packet, &word]).as_ref());
            }
            Self::Gcm { cipher, salt } => {
                let (tag, room) = room
                    .split_first_chunk_mut::<GCM_TAG_LEN>()
                    .ok_or(Error::BufferTooSmall)?;
                let index = room.first_chunk_mut().ok_or(Error::BufferTooSmall)?;
                let aad = rtcp_aad(header, word);
                *tag = cipher.seal_in_place(&id.nonce(salt), &aad, payload)?;
                *index = word;
            }
        }
        Ok(())
    }

    /// Reads the word of the index: whether the packet is encrypted, and its index.
    pub(crate) fn rtcp_index(&self, packet: &[u8]) -> Result<(bool, u64), Error> {
        let behind = match self {
            Self::CounterMode { tag_len, .. } => *tag_len,
            Self::Gcm { .. } => 0,
        };
        let word = packet
            .len()
            .checked_sub(behind)
            .and_then(|end| packet.get(..end))
            .and_then(|packet| packet.last_chunk::<INDEX_LEN>())
            .ok_or(Error::Malformed)?;
        let word = u32::from_be_bytes(*word);
        Ok((word & ENCRYPTED != 0, u64::from(word & !ENCRYPTED)))
    }

    /// Verifies and decrypts a compound packet; returns the length of the plain one. When it fails
    /// the content is undefined.
    pub(crate) fn open_rtcp(&self, id: PacketId, packet: &mut [u8]) -> Result<usize, Error> {
        match self {
            Self::CounterMode {
                cipher,
                salt,
                mac,
                tag_len,
            } => {
                let (packet, tag) = split_tag(packet, *tag_len)?;
                mac.verify(&[packet], tag)?;
                let (packet, _) = split_tag(packet, INDEX_LEN)?;
                let (_, payload) = packet
                    .split_first_chunk_mut::<RTCP_HEADER_LEN>()
                    .ok_or(Error::Malformed)?;
                cipher.ctr_apply(&id.counter(*salt), payload);
                Ok(packet.len())
            }
            Self::Gcm { cipher, salt } => {
                let (packet, word) = packet
                    .split_last_chunk_mut::<INDEX_LEN>()
                    .ok_or(Error::Malformed)?;
                let (header, sealed) = packet
                    .split_first_chunk_mut::<RTCP_HEADER_LEN>()
                    .ok_or(Error::Malformed)?;
                let aad = rtcp_aad(header, *word);
                let plain = cipher.open_in_place(&id.nonce(salt), &aad, sealed)?;
                Ok(RTCP_HEADER_LEN + plain.len())
            }
        }
    }
}

/// What makes a packet unique under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketId {
    pub(crate) ssrc: u32,
    /// RTP: rollover counter and sequence number, 48 bits. RTCP: 31 bits.
    pub(crate) index: u64,
}

impl PacketId {
    /// RFC 3711 section 4.1.1.
    fn counter(self, salt: u128) -> [u8; 16] {
        (salt ^ u128::from(self.ssrc) << 64 ^ u128::from(self.index) << 16).to_be_bytes()
    }

    /// RFC 7714 sections 8.1 and 9.1, which agree: an SRTCP index leaves the upper 17 of 48 bits 0.
    pub(crate) fn nonce(self, salt: &[u8; 12]) -> [u8; 12] {
        let unique = u128::from(self.ssrc) << 48 | u128::from(self.index);
        let [_, _, _, _, unique @ ..] = unique.to_be_bytes();
        std::array::from_fn(|at| salt.get(at).unwrap_or(&0) ^ unique.get(at).unwrap_or(&0))
    }

    /// What the tag of counter mode covers behind the packet (RFC 3711 section 4.2).
    fn rollover_counter(self) -> [u8; 4] {
        ((self.index >> 16) as u32).to_be_bytes()
    }
}

fn rtcp_aad(header: &[u8; RTCP_HEADER_LEN], word: [u8; INDEX_LEN]) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = *header;
    let [i, j, k, l] = word;
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

fn split_tag(packet: &mut [u8], tag_len: usize) -> Result<(&mut [u8], &mut [u8]), Error> {
    let body = packet.len().checked_sub(tag_len).ok_or(Error::Malformed)?;
    packet.split_at_mut_checked(body).ok_or(Error::Malformed)
}

fn put_tag(room: &mut [u8], tag: &[u8]) {
    for (to, from) in room.iter_mut().zip(tag) {
        *to = *from;
    }
}

fn leading_word(tag: &[u8]) -> u64 {
    tag.first_chunk()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Length of the part of a compound packet that is not encrypted.
pub(crate) const RTCP_HEADER_LEN: usize = 8;
/// The word of flag and index.
const INDEX_LEN: usize = 4;
const GCM_TAG_LEN: usize = 16;
/// The E flag in the word of the index.
const ENCRYPTED: u32 = 1 << 31;
