use std::fmt;

use rtc_shared::Rng;
use thiserror::Error;
use zeroize::Zeroize;

use crate::KeyAlgorithm;

/// A set of cryptographic algorithms of one library, as data.
///
/// A connection is given one by reference and never looks further: what is not in a list is not
/// offered to the peer. The order of each list is the order of preference.
#[derive(Clone, Copy)]
pub struct CryptoProvider {
    /// Name for logs.
    pub name: &'static str,
    /// Source of seeds and key material.
    pub random: &'static dyn SecureRandom,
    /// Hash functions.
    pub hashes: &'static [&'static dyn Hash],
    /// Keyed hashes.
    pub hmacs: &'static [&'static dyn Hmac],
    /// Authenticated ciphers.
    pub aeads: &'static [&'static dyn Aead],
    /// Unauthenticated AES modes: CBC for old DTLS suites, CTR and single blocks for SRTP.
    pub block_ciphers: &'static [&'static dyn BlockCipher],
    /// Groups for ephemeral key agreement.
    pub groups: &'static [&'static dyn KeyExchangeGroup],
    /// Verifies signatures of peers.
    pub verifier: &'static dyn Verifier,
    /// Makes a private key, in its PKCS#8 DER form, from the random source of the library.
    pub generate_key: fn(KeyAlgorithm) -> Result<SharedSecret, CryptoError>,
    /// Loads a private key from its PKCS#8 DER form.
    #[expect(clippy::type_complexity, reason = "a name would say no more")]
    pub load_key: fn(pkcs8: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError>,
}

impl fmt::Debug for CryptoProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CryptoProvider")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl CryptoProvider {
    /// The hash function, if this provider has it.
    #[must_use]
    pub fn hash(&self, algorithm: HashAlgorithm) -> Option<&'static dyn Hash> {
        self.hashes
            .iter()
            .copied()
            .find(|hash| hash.algorithm() == algorithm)
    }

    /// The keyed hash, if this provider has it.
    #[must_use]
    pub fn hmac(&self, algorithm: HmacAlgorithm) -> Option<&'static dyn Hmac> {
        self.hmacs
            .iter()
            .copied()
            .find(|hmac| hmac.algorithm() == algorithm)
    }

    /// The authenticated cipher, if this provider has it.
    #[must_use]
    pub fn aead(&self, algorithm: AeadAlgorithm) -> Option<&'static dyn Aead> {
        self.aeads
            .iter()
            .copied()
            .find(|aead| aead.algorithm() == algorithm)
    }

    /// The AES mode, if this provider has it.
    #[must_use]
    pub fn block_cipher(
        &self,
        algorithm: BlockCipherAlgorithm,
    ) -> Option<&'static dyn BlockCipher> {
        self.block_ciphers
            .iter()
            .copied()
            .find(|cipher| cipher.algorithm() == algorithm)
    }

    /// The key agreement group, if this provider has it.
    #[must_use]
    pub fn group(&self, group: NamedGroup) -> Option<&'static dyn KeyExchangeGroup> {
        self.groups
            .iter()
            .copied()
            .find(|candidate| candidate.group() == group)
    }
}

/// Why a cryptographic operation failed. Deliberately coarse: details would help an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// A key has the wrong length or form.
    #[error("key has the wrong length or form")]
    InvalidKey,
    /// A tag, signature or padding did not verify.
    #[error("authentication failed")]
    Authentication,
    /// A public value of the peer is not valid for the group.
    #[error("public value of the peer is invalid")]
    InvalidPublicValue,
    /// The provider does not have the algorithm.
    #[error("algorithm not supported by this provider")]
    Unsupported,
    /// The input is too long, or a length is not what the algorithm needs.
    #[error("input has a length that the algorithm does not take")]
    InvalidLength,
    /// The system's random source failed.
    #[error("random source failed")]
    Random,
}

/// A source of unpredictable bytes outside the core's seeded generator.
pub trait SecureRandom: Send + Sync {
    /// Fills `buffer`.
    ///
    /// # Errors
    /// [`CryptoError::Random`] when the system has no randomness to give.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), CryptoError>;
}

/// Hash functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// MD5, only for TURN's long-term key (RFC 8489 section 9.2.2).
    Md5,
    /// SHA-1, only for fingerprints of old peers.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// Length of the output in bytes.
    #[must_use]
    pub fn output_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Output of a hash or keyed hash, of at most 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    bytes: [u8; 64],
    length: usize,
}

impl Digest {
    /// Copies the output of a hash function; bytes beyond 64 are cut off.
    #[must_use]
    pub fn new(output: &[u8]) -> Self {
        let length = output.len().min(64);
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(output) {
            *to = *from;
        }
        Self { bytes, length }
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A hash function.
pub trait Hash: Send + Sync {
    /// Which one it is.
    fn algorithm(&self) -> HashAlgorithm;
    /// Hashes the concatenation of `parts`.
    fn hash(&self, parts: &[&[u8]]) -> Digest;
    /// Begins an incremental hash.
    fn start(&self) -> Box<dyn HashContext>;
}

/// A hash under way.
pub trait HashContext: Send + Sync {
    /// Adds input.
    fn update(&mut self, data: &[u8]);
    /// The hash of the input up to now; more may be added afterwards.
    fn current(&self) -> Digest;
}

/// Keyed hashes (RFC 2104).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HmacAlgorithm {
    /// HMAC-SHA1, for STUN and SRTP.
    Sha1,
    /// HMAC-SHA256.
    Sha256,
    /// HMAC-SHA384.
    Sha384,
}

/// A keyed hash.
pub trait Hmac: Send + Sync {
    /// Which one it is.
    fn algorithm(&self) -> HmacAlgorithm;
    /// Schedules a key once, to be used many times.
    fn key(&self, key: &[u8]) -> Box<dyn HmacKey>;
}

/// A scheduled key of a keyed hash.
pub trait HmacKey: Send + Sync {
    /// The full tag over the concatenation of `parts`.
    fn sign(&self, parts: &[&[u8]]) -> Digest;

    /// Compares a tag, possibly truncated, in constant time.
    ///
    /// # Errors
    /// [`CryptoError::Authentication`] when it differs, is empty or longer than the full tag.
    fn verify(&self, parts: &[&[u8]], tag: &[u8]) -> Result<(), CryptoError> {
        use subtle::ConstantTimeEq;
        let full = self.sign(parts);
        match full.as_ref().get(..tag.len()) {
            Some(expected) if !tag.is_empty() && bool::from(expected.ct_eq(tag)) => Ok(()),
            _ => Err(CryptoError::Authentication),
        }
    }
}

/// Authenticated ciphers, all with a nonce of 12 and a tag of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AeadAlgorithm {
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305,
}

impl AeadAlgorithm {
    /// Length of the tag in bytes, the same for all.
    pub const TAG_LEN: usize = 16;

    /// Length of the key in bytes.
    #[must_use]
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

/// An authenticated cipher.
pub trait Aead: Send + Sync {
    /// Which one it is.
    fn algorithm(&self) -> AeadAlgorithm;
    /// Schedules a key.
    ///
    /// # Errors
    /// [`CryptoError::InvalidKey`] when its length is wrong.
    fn key(&self, key: &[u8]) -> Result<Box<dyn AeadKey>, CryptoError>;
}

/// A scheduled key of an authenticated cipher.
pub trait AeadKey: Send + Sync {
    /// Encrypts `data` where it lies and returns the tag.
    ///
    /// # Errors
    /// [`CryptoError::InvalidLength`] beyond the limit of the cipher.
    fn seal_in_place(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; 16], CryptoError>;

    /// Decrypts `data`, ciphertext and tag, where it lies and returns the plaintext, which is shorter
    /// by the tag. On failure the content of `data` is undefined.
    ///
    /// # Errors
    /// [`CryptoError::Authentication`] when the tag does not match or is missing.
    fn open_in_place<'a>(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &'a mut [u8],
    ) -> Result<&'a mut [u8], CryptoError>;
}

/// Key lengths of AES for unauthenticated modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockCipherAlgorithm {
    /// AES with a 16-byte key.
    Aes128,
    /// AES with a 32-byte key.
    Aes256,
}

/// AES without authentication.
pub trait BlockCipher: Send + Sync {
    /// Which one it is.
    fn algorithm(&self) -> BlockCipherAlgorithm;
    /// Schedules a key.
    ///
    /// # Errors
    /// [`CryptoError::InvalidKey`] when its length is wrong.
    fn key(&self, key: &[u8]) -> Result<Box<dyn BlockCipherKey>, CryptoError>;
}

/// A scheduled AES key.
pub trait BlockCipherKey: Send + Sync {
    /// Encrypts one block (ECB), for key derivation and header protection.
    fn encrypt_block(&self, block: &mut [u8; 16]);

    /// Applies the counter mode key stream that starts at `counter` (big-endian, whole 128 bits).
    fn ctr_apply(&self, counter: &[u8; 16], data: &mut [u8]);

    /// Encrypts whole blocks in cipher block chaining mode.
    ///
    /// # Errors
    /// [`CryptoError::InvalidLength`] when `data` is not a multiple of 16 bytes.
    fn cbc_encrypt(&self, iv: &[u8; 16], data: &mut [u8]) -> Result<(), CryptoError>;

    /// Decrypts whole blocks in cipher block chaining mode.
    ///
    /// # Errors
    /// [`CryptoError::InvalidLength`] when `data` is not a multiple of 16 bytes.
    fn cbc_decrypt(&self, iv: &[u8; 16], data: &mut [u8]) -> Result<(), CryptoError>;
}

/// Groups of ephemeral key agreement, with their TLS code points (RFC 8422 section 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum NamedGroup {
    /// NIST P-256.
    Secp256r1 = 0x0017,
    /// NIST P-384.
    Secp384r1 = 0x0018,
    /// Curve25519 (RFC 7748).
    X25519 = 0x001d,
}

impl NamedGroup {
    /// Finds the group of a TLS code point.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        match code {
            0x0017 => Some(Self::Secp256r1),
            0x0018 => Some(Self::Secp384r1),
            0x001d => Some(Self::X25519),
            _ => None,
        }
    }

    /// The TLS code point.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }
}

/// A key agreement group.
pub trait KeyExchangeGroup: Send + Sync {
    /// Which one it is.
    fn group(&self) -> NamedGroup;
    /// Makes an ephemeral key pair. A provider whose library insists on its own random source does
    /// not use `rng`.
    ///
    /// # Errors
    /// [`CryptoError::Random`] when the system's random source fails.
    fn start(&self, rng: &mut Rng) -> Result<Box<dyn KeyExchange>, CryptoError>;
}

/// One side of a key agreement under way.
pub trait KeyExchange: Send + Sync {
    /// Our public value in its TLS form: a point uncompressed (RFC 8422) or 32 bytes of X25519.
    fn public_key(&self) -> &[u8];
    /// Computes the shared secret: the X coordinate, leading zeros kept.
    ///
    /// # Errors
    /// [`CryptoError::InvalidPublicValue`] for a point off the curve or an all-zero X25519 result.
    fn complete(self: Box<Self>, peer_public_key: &[u8]) -> Result<SharedSecret, CryptoError>;
}

/// Secret bytes, wiped when dropped.
#[derive(Clone)]
pub struct SharedSecret(Vec<u8>);

impl SharedSecret {
    /// Takes over secret bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for SharedSecret {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SharedSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedSecret({} bytes)", self.0.len())
    }
}

/// Signature schemes with their TLS code points (RFC 8446 section 4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256 = 0x0401,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaPkcs1Sha384 = 0x0501,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaPkcs1Sha512 = 0x0601,
    /// ECDSA on P-256 with SHA-256, ASN.1 encoded.
    EcdsaSecp256r1Sha256 = 0x0403,
    /// ECDSA on P-384 with SHA-384, ASN.1 encoded.
    EcdsaSecp384r1Sha384 = 0x0503,
    /// RSASSA-PSS with SHA-256, key of type rsaEncryption.
    RsaPssRsaeSha256 = 0x0804,
    /// RSASSA-PSS with SHA-384, key of type rsaEncryption.
    RsaPssRsaeSha384 = 0x0805,
    /// RSASSA-PSS with SHA-512, key of type rsaEncryption.
    RsaPssRsaeSha512 = 0x0806,
    /// Ed25519 (RFC 8032).
    Ed25519 = 0x0807,
}

impl SignatureScheme {
    /// Every scheme, in the order in which we prefer them of a peer.
    pub const ALL: [Self; 9] = [
        Self::EcdsaSecp256r1Sha256,
        Self::Ed25519,
        Self::EcdsaSecp384r1Sha384,
        Self::RsaPssRsaeSha256,
        Self::RsaPkcs1Sha256,
        Self::RsaPssRsaeSha384,
        Self::RsaPkcs1Sha384,
        Self::RsaPssRsaeSha512,
        Self::RsaPkcs1Sha512,
    ];

    /// Finds the scheme of a TLS code point.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.code() == code)
    }

    /// The TLS code point.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }
}

/// A private key that signs.
pub trait SigningKey: Send + Sync {
    /// The schemes this key can sign with, best first.
    fn schemes(&self) -> &[SignatureScheme];
    /// The public key as a certificate carries it: the content of `subjectPublicKey`.
    fn public_key(&self) -> &[u8];
    /// Signs `message`.
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`] for a scheme that is not the key's.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError>;
}

/// Verifies signatures.
pub trait Verifier: Send + Sync {
    /// The schemes it can verify.
    fn schemes(&self) -> &[SignatureScheme];

    /// Verifies `signature` over `message`.
    ///
    /// `subject_public_key` is the content of the certificate's `subjectPublicKey` bit string: a
    /// point, 32 bytes of Ed25519, or an `RSAPublicKey` in DER. RSA keys below 2048 bits are refused.
    /// The caller has checked that the certificate's key type fits the scheme.
    ///
    /// # Errors
    /// [`CryptoError::Authentication`] when it does not verify, [`CryptoError::Unsupported`] for a
    /// scheme that is not in [`schemes`](Self::schemes).
    fn verify(
        &self,
        scheme: SignatureScheme,
        subject_public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_are_read_as_written() {
        for scheme in SignatureScheme::ALL {
            assert_eq!(SignatureScheme::from_code(scheme.code()), Some(scheme));
        }
        for group in [
            NamedGroup::X25519,
            NamedGroup::Secp256r1,
            NamedGroup::Secp384r1,
        ] {
            assert_eq!(NamedGroup::from_code(group.code()), Some(group));
        }
        assert_eq!(SignatureScheme::from_code(0x0203), None);
        assert_eq!(NamedGroup::from_code(0x0100), None);
    }

    #[test]
    fn a_digest_keeps_at_most_64_bytes_and_its_length() {
        assert_eq!(Digest::new(&[1, 2, 3]).as_ref(), [1, 2, 3]);
        assert_eq!(Digest::new(&[7; 65]).as_ref(), [7; 64]);
        assert_eq!(format!("{:?}", Digest::new(&[0x0a, 0xff])), "0aff");
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = SharedSecret::new(vec![1, 2, 3]);
        assert_eq!(format!("{secret:?}"), "SharedSecret(3 bytes)");
    }
}
