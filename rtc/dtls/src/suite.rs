use std::fmt;

use rtc_crypto::{
    AeadAlgorithm, BlockCipherAlgorithm, CryptoProvider, HashAlgorithm, HmacAlgorithm, KeyAlgorithm,
};

/// Cipher suites, all with ephemeral elliptic curve key agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum CipherSuite {
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256` (RFC 5289), mandatory in WebRTC (RFC 8827 section 6.5).
    EcdheEcdsaAes128GcmSha256 = 0xc02b,
    /// `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256` (RFC 5289).
    EcdheRsaAes128GcmSha256 = 0xc02f,
    /// `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384` (RFC 5289).
    EcdheEcdsaAes256GcmSha384 = 0xc02c,
    /// `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384` (RFC 5289).
    EcdheRsaAes256GcmSha384 = 0xc030,
    /// `TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256` (RFC 7905).
    EcdheEcdsaChaCha20Poly1305Sha256 = 0xcca9,
    /// `TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256` (RFC 7905).
    EcdheRsaChaCha20Poly1305Sha256 = 0xcca8,
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA` (RFC 8422), only for old peers.
    EcdheEcdsaAes128CbcSha = 0xc009,
    /// `TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA` (RFC 8422), only for old peers.
    EcdheRsaAes128CbcSha = 0xc013,
    /// `TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA` (RFC 8422), only for old peers.
    EcdheEcdsaAes256CbcSha = 0xc00a,
    /// `TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA` (RFC 8422), only for old peers.
    EcdheRsaAes256CbcSha = 0xc014,
}

/// How records are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    Aead(AeadAlgorithm),
    /// AES-CBC with HMAC-SHA1.
    Cbc(BlockCipherAlgorithm),
}

impl Protection {
    /// Lengths of the MAC key, key and IV of one direction in version 1.2 (RFC 5246 appendix C, RFC
    /// 5288 section 3, RFC 7905 section 2). With CBC each record brings its own IV.
    pub(crate) fn key_lens(self) -> (usize, usize, usize) {
        match self {
            Self::Aead(AeadAlgorithm::ChaCha20Poly1305) => (0, 32, 12),
            Self::Aead(aead) => (0, aead.key_len(), 4),
            Self::Cbc(BlockCipherAlgorithm::Aes128) => (20, 16, 0),
            Self::Cbc(_) => (20, 32, 0),
        }
    }
}

impl CipherSuite {
    /// The suites with authenticated encryption, in our order.
    pub const AEAD: [Self; 6] = [
        Self::EcdheEcdsaAes128GcmSha256,
        Self::EcdheRsaAes128GcmSha256,
        Self::EcdheEcdsaAes256GcmSha384,
        Self::EcdheRsaAes256GcmSha384,
        Self::EcdheEcdsaChaCha20Poly1305Sha256,
        Self::EcdheRsaChaCha20Poly1305Sha256,
    ];

    /// The suites of old peers, behind [`Config::legacy_cbc`](crate::Config::legacy_cbc).
    pub const CBC: [Self; 4] = [
        Self::EcdheEcdsaAes128CbcSha,
        Self::EcdheRsaAes128CbcSha,
        Self::EcdheEcdsaAes256CbcSha,
        Self::EcdheRsaAes256CbcSha,
    ];

    /// The code point.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Finds the suite of a code point.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::AEAD
            .into_iter()
            .chain(Self::CBC)
            .find(|suite| suite.code() == code)
    }

    /// The name in IANA's registry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdheEcdsaAes128GcmSha256 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            Self::EcdheRsaAes128GcmSha256 => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            Self::EcdheEcdsaAes256GcmSha384 => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            Self::EcdheRsaAes256GcmSha384 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            Self::EcdheEcdsaChaCha20Poly1305Sha256 => {
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
            }
            Self::EcdheRsaChaCha20Poly1305Sha256 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            Self::EcdheEcdsaAes128CbcSha => "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
            Self::EcdheRsaAes128CbcSha => "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
            Self::EcdheEcdsaAes256CbcSha => "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
            Self::EcdheRsaAes256CbcSha => "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        }
    }

    /// True when a server whose certificate has this key can use the suite. ECDSA suites take every
    /// elliptic curve key, Ed25519 too (RFC 8422 section 5.10).
    pub(crate) fn serves(self, key: KeyAlgorithm) -> bool {
        self.is_rsa() == (key == KeyAlgorithm::Rsa)
    }

    pub(crate) fn is_rsa(self) -> bool {
        matches!(
            self,
            Self::EcdheRsaAes128GcmSha256
                | Self::EcdheRsaAes256GcmSha384
                | Self::EcdheRsaChaCha20Poly1305Sha256
                | Self::EcdheRsaAes128CbcSha
                | Self::EcdheRsaAes256CbcSha
        )
    }

    pub(crate) fn protection(self) -> Protection {
        match self {
            Self::EcdheEcdsaAes128GcmSha256 | Self::EcdheRsaAes128GcmSha256 => {
                Protection::Aead(AeadAlgorithm::Aes128Gcm)
            }
            Self::EcdheEcdsaAes256GcmSha384 | Self::EcdheRsaAes256GcmSha384 => {
                Protection::Aead(AeadAlgorithm::Aes256Gcm)
            }
            Self::EcdheEcdsaChaCha20Poly1305Sha256 | Self::EcdheRsaChaCha20Poly1305Sha256 => {
                Protection::Aead(AeadAlgorithm::ChaCha20Poly1305)
            }
            Self::EcdheEcdsaAes128CbcSha | Self::EcdheRsaAes128CbcSha => {
                Protection::Cbc(BlockCipherAlgorithm::Aes128)
            }
            Self::EcdheEcdsaAes256CbcSha | Self::EcdheRsaAes256CbcSha => {
                Protection::Cbc(BlockCipherAlgorithm::Aes256)
            }
        }
    }

    /// The hash of the transcript; SHA-256 for CBC suites under version 1.2 (RFC 5246 section 5).
    pub(crate) fn hash(self) -> HashAlgorithm {
        match self {
            Self::EcdheEcdsaAes256GcmSha384 | Self::EcdheRsaAes256GcmSha384 => {
                HashAlgorithm::Sha384
            }
            _ => HashAlgorithm::Sha256,
        }
    }

    /// The keyed hash of the pseudo-random function.
    pub(crate) fn hmac(self) -> HmacAlgorithm {
        match self.hash() {
            HashAlgorithm::Sha384 => HmacAlgorithm::Sha384,
            _ => HmacAlgorithm::Sha256,
        }
    }

    /// True when the provider has all the parts.
    pub(crate) fn is_provided(self, provider: &CryptoProvider) -> bool {
        provider.hash(self.hash()).is_some()
            && provider.hmac(self.hmac()).is_some()
            && match self.protection() {
                Protection::Aead(aead) => provider.aead(aead).is_some(),
                Protection::Cbc(cipher) => {
                    provider.block_cipher(cipher).is_some()
                        && provider.hmac(HmacAlgorithm::Sha1).is_some()
                }
            }
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// SRTP protection profiles (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum SrtpProfile {
    /// `SRTP_AES128_CM_HMAC_SHA1_80`, mandatory in WebRTC.
    Aes128CmHmacSha1_80 = 0x0001,
    /// `SRTP_AES128_CM_HMAC_SHA1_32`: SRTP tags of 4 bytes.
    Aes128CmHmacSha1_32 = 0x0002,
    /// `SRTP_AEAD_AES_128_GCM`.
    AeadAes128Gcm = 0x0007,
    /// `SRTP_AEAD_AES_256_GCM`.
    AeadAes256Gcm = 0x0008,
}

impl SrtpProfile {
    /// Every profile, by code point.
    pub const ALL: [Self; 4] = [
        Self::Aes128CmHmacSha1_80,
        Self::Aes128CmHmacSha1_32,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// The code point.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Finds the profile of a code point.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.code() == code)
    }

    /// The name in IANA's registry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128CmHmacSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Self::Aes128CmHmacSha1_32 => "SRTP_AES128_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
        }
    }

    /// Length of one master key in bytes.
    #[must_use]
    pub fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    /// Length of one master salt in bytes.
    #[must_use]
    pub fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmHmacSha1_80 | Self::Aes128CmHmacSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// How many bytes to export under the label [`SRTP_EXPORTER_LABEL`](crate::SRTP_EXPORTER_LABEL):
    /// client key, server key, client salt, server salt (RFC 5764 section 4.2).
    #[must_use]
    pub fn keying_material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }
}

impl fmt::Display for SrtpProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_are_found_again() {
        for suite in CipherSuite::AEAD.into_iter().chain(CipherSuite::CBC) {
            assert_eq!(CipherSuite::from_code(suite.code()), Some(suite));
            assert_eq!(suite.name().contains("_RSA_"), suite.is_rsa());
            assert_eq!(
                suite.name().ends_with("SHA384"),
                suite.hash() == HashAlgorithm::Sha384
            );
        }
        for profile in SrtpProfile::ALL {
            assert_eq!(SrtpProfile::from_code(profile.code()), Some(profile));
        }
        assert_eq!(CipherSuite::from_code(0x1a1a), None);
        assert_eq!(SrtpProfile::from_code(5), None);
    }

    #[test]
    fn keying_material_is_two_keys_and_two_salts() {
        let lengths = SrtpProfile::ALL.map(SrtpProfile::keying_material_len);
        assert_eq!(lengths, [60, 60, 56, 88]);
    }
}
