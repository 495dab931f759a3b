use std::fmt;

use rtc_crypto::{AeadAlgorithm, BlockCipherAlgorithm};

/// An SRTP protection profile.
///
/// ```
/// use rtc_srtp::Profile;
///
/// assert_eq!(Profile::from_code(0x0007), Some(Profile::AeadAes128Gcm));
/// assert_eq!(Profile::AeadAes128Gcm.to_string(), "SRTP_AEAD_AES_128_GCM");
/// assert_eq!(Profile::AeadAes128Gcm.rtp_overhead(), 16);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// AES-128 in counter mode, HMAC-SHA1 with a tag of 10 bytes (RFC 5764 section 4.1.2).
    Aes128CmHmacSha1_80,
    /// The same with a tag of 4 bytes for RTP; that of RTCP still has 10.
    Aes128CmHmacSha1_32,
    /// AES-256 in counter mode, HMAC-SHA1 with a tag of 10 bytes (RFC 6188). It has no code point, so
    /// DTLS cannot negotiate it.
    Aes256CmHmacSha1_80,
    /// AES-128-GCM (RFC 7714).
    AeadAes128Gcm,
    /// AES-256-GCM (RFC 7714).
    AeadAes256Gcm,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 5] = [
        Self::Aes128CmHmacSha1_80,
        Self::Aes128CmHmacSha1_32,
        Self::Aes256CmHmacSha1_80,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// The profile of a code point of the DTLS-SRTP registry, as in the extension `use_srtp`.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.code() == Some(code))
    }

    /// Its code point in the DTLS-SRTP registry, if it has one.
    #[must_use]
    pub fn code(self) -> Option<u16> {
        match self {
            Self::Aes128CmHmacSha1_80 => Some(0x0001),
            Self::Aes128CmHmacSha1_32 => Some(0x0002),
            Self::Aes256CmHmacSha1_80 => None,
            Self::AeadAes128Gcm => Some(0x0007),
            Self::AeadAes256Gcm => Some(0x0008),
        }
    }

    /// Its name in the DTLS-SRTP registry, which is also how statistics call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128CmHmacSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Self::Aes128CmHmacSha1_32 => "SRTP_AES128_CM_HMAC_SHA1_32",
            Self::Aes256CmHmacSha1_80 => "SRTP_AES256_CM_HMAC_SHA1_80",
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
        }
    }

    /// Length of the master key in bytes, and of each session key.
    #[must_use]
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes128CmHmacSha1_80 | Self::Aes128CmHmacSha1_32 | Self::AeadAes128Gcm => 16,
            Self::Aes256CmHmacSha1_80 | Self::AeadAes256Gcm => 32,
        }
    }

    /// Length of the master salt in bytes, and of each session salt.
    #[must_use]
    pub fn salt_len(self) -> usize {
        match self.aead() {
            Some(_) => 12,
            None => 14,
        }
    }

    /// How many bytes to export from DTLS: key and salt of both sides (RFC 5764 section 4.2).
    #[must_use]
    pub fn exporter_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }

    /// Bytes that protection adds to an RTP packet.
    #[must_use]
    pub fn rtp_overhead(self) -> usize {
        match self {
            Self::Aes128CmHmacSha1_32 => 4,
            Self::Aes128CmHmacSha1_80 | Self::Aes256CmHmacSha1_80 => 10,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => AeadAlgorithm::TAG_LEN,
        }
    }

    /// Bytes that protection adds to a compound RTCP packet: the tag and the word of the index.
    #[must_use]
    pub fn rtcp_overhead(self) -> usize {
        let tag = match self.aead() {
            Some(_) => AeadAlgorithm::TAG_LEN,
            None => 10,
        };
        tag + 4
    }

    /// The authenticated cipher, for profiles that have one.
    pub(crate) fn aead(self) -> Option<AeadAlgorithm> {
        match self {
            Self::AeadAes128Gcm => Some(AeadAlgorithm::Aes128Gcm),
            Self::AeadAes256Gcm => Some(AeadAlgorithm::Aes256Gcm),
            _ => None,
        }
    }

    /// The AES of counter mode and of the key derivation.
    pub(crate) fn block_cipher(self) -> BlockCipherAlgorithm {
        match self.key_len() {
            16 => BlockCipherAlgorithm::Aes128,
            _ => BlockCipherAlgorithm::Aes256,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
