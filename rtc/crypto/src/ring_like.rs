//! What the two libraries with the interface of `ring` have in common. Included by the module of
//! each, which brings the library and the few functions that differ as `super::library`.

use rtc_shared::Rng;

use super::library::{self, aead, agreement, digest, hmac, rand, signature};
use crate::{
    Aead, AeadAlgorithm, AeadKey, CryptoError, Digest, Hash, HashAlgorithm, HashContext, Hmac,
    HmacAlgorithm, HmacKey, KeyAlgorithm, KeyExchange, KeyExchangeGroup, NamedGroup, SecureRandom,
    SharedSecret, SignatureScheme, SigningKey, Verifier,
};

/// The library's random source.
pub(super) struct Random;

impl SecureRandom for Random {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        use rand::SecureRandom as _;
        rand::SystemRandom::new()
            .fill(buffer)
            .map_err(|_| CryptoError::Random)
    }
}

pub(super) static HASHES: &[&dyn Hash] = &[
    &ShaHash {
        algorithm: HashAlgorithm::Sha256,
        library: &digest::SHA256,
    },
    &ShaHash {
        algorithm: HashAlgorithm::Sha384,
        library: &digest::SHA384,
    },
    &ShaHash {
        algorithm: HashAlgorithm::Sha512,
        library: &digest::SHA512,
    },
    &ShaHash {
        algorithm: HashAlgorithm::Sha1,
        library: &digest::SHA1_FOR_LEGACY_USE_ONLY,
    },
    &crate::rustcrypto::Md5Hash,
];

struct ShaHash {
    algorithm: HashAlgorithm,
    library: &'static digest::Algorithm,
}

impl Hash for ShaHash {
    fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    fn hash(&self, parts: &[&[u8]]) -> Digest {
        if let [whole] = parts {
            return Digest::new(digest::digest(self.library, whole).as_ref());
        }
        let mut context = digest::Context::new(self.library);
        for part in parts {
            context.update(part);
        }
        Digest::new(context.finish().as_ref())
    }

    fn start(&self) -> Box<dyn HashContext> {
        Box::new(ShaContext(digest::Context::new(self.library)))
    }
}

struct ShaContext(digest::Context);

impl HashContext for ShaContext {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn current(&self) -> Digest {
        Digest::new(self.0.clone().finish().as_ref())
    }
}

pub(super) static HMAC_SHA256: ShaHmac = ShaHmac {
    algorithm: HmacAlgorithm::Sha256,
    library: &hmac::HMAC_SHA256,
};
pub(super) static HMAC_SHA384: ShaHmac = ShaHmac {
    algorithm: HmacAlgorithm::Sha384,
    library: &hmac::HMAC_SHA384,
};

/// A keyed hash of the library.
pub(super) struct ShaHmac {
    pub(super) algorithm: HmacAlgorithm,
    pub(super) library: &'static hmac::Algorithm,
}

impl Hmac for ShaHmac {
    fn algorithm(&self) -> HmacAlgorithm {
        self.algorithm
    }

    fn key(&self, key: &[u8]) -> Box<dyn HmacKey> {
        Box::new(ShaHmacKey(hmac::Key::new(*self.library, key)))
    }
}

struct ShaHmacKey(hmac::Key);

impl HmacKey for ShaHmacKey {
    fn sign(&self, parts: &[&[u8]]) -> Digest {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        Digest::new(context.sign().as_ref())
    }
}

pub(super) static AEADS: &[&dyn Aead] = &[
    &LibraryAead {
        algorithm: AeadAlgorithm::Aes128Gcm,
        library: &aead::AES_128_GCM,
    },
    &LibraryAead {
        algorithm: AeadAlgorithm::Aes256Gcm,
        library: &aead::AES_256_GCM,
    },
    &LibraryAead {
        algorithm: AeadAlgorithm::ChaCha20Poly1305,
        library: &aead::CHACHA20_POLY1305,
    },
];

struct LibraryAead {
    algorithm: AeadAlgorithm,
    library: &'static aead::Algorithm,
}

impl Aead for LibraryAead {
    fn algorithm(&self) -> AeadAlgorithm {
        self.algorithm
    }

    fn key(&self, key: &[u8]) -> Result<Box<dyn AeadKey>, CryptoError> {
        let key = aead::UnboundKey::new(self.library, key).map_err(|_| CryptoError::InvalidKey)?;
        Ok(Box::new(LibraryAeadKey(aead::LessSafeKey::new(key))))
    }
}

struct LibraryAeadKey(aead::LessSafeKey);

impl AeadKey for LibraryAeadKey {
    fn seal_in_place(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; AeadAlgorithm::TAG_LEN], CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        self.0
            .seal_in_place_separate_tag(nonce, aead::Aad::from(aad), data)
            .ok()
            .and_then(|tag| tag.as_ref().try_into().ok())
            .ok_or(CryptoError::InvalidLength)
    }

    fn open_in_place<'a>(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &'a mut [u8],
    ) -> Result<&'a mut [u8], CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place(nonce, aead::Aad::from(aad), data)
            .map_err(|_| CryptoError::Authentication)
    }
}

pub(super) static GROUPS: &[&dyn KeyExchangeGroup] = &[
    &Group {
        group: NamedGroup::X25519,
        library: &agreement::X25519,
    },
    &Group {
        group: NamedGroup::Secp256r1,
        library: &agreement::ECDH_P256,
    },
    &Group {
        group: NamedGroup::Secp384r1,
        library: &agreement::ECDH_P384,
    },
];

struct Group {
    group: NamedGroup,
    library: &'static agreement::Algorithm,
}

impl KeyExchangeGroup for Group {
    fn group(&self) -> NamedGroup {
        self.group
    }

    /// Takes the library's random source, the only one it accepts.
    fn start(&self, _rng: &mut Rng) -> Result<Box<dyn KeyExchange>, CryptoError> {
        let random = rand::SystemRandom::new();
        let private = agreement::EphemeralPrivateKey::generate(self.library, &random)
            .map_err(|_| CryptoError::Random)?;
        let public = private
            .compute_public_key()
            .map_err(|_| CryptoError::Random)?;
        Ok(Box::new(Exchange {
            group: self.group,
            library: self.library,
            private,
            public,
        }))
    }
}

struct Exchange {
    group: NamedGroup,
    library: &'static agreement::Algorithm,
    private: agreement::EphemeralPrivateKey,
    public: agreement::PublicKey,
}

impl KeyExchange for Exchange {
    fn public_key(&self) -> &[u8] {
        self.public.as_ref()
    }

    fn complete(self: Box<Self>, peer_public_key: &[u8]) -> Result<SharedSecret, CryptoError> {
        let fits = match self.group {
            NamedGroup::X25519 => peer_public_key.len() == 32,
            NamedGroup::Secp256r1 => is_point(peer_public_key, P256_POINT_LEN),
            NamedGroup::Secp384r1 => is_point(peer_public_key, P384_POINT_LEN),
        };
        if !fits {
            return Err(CryptoError::InvalidPublicValue);
        }
        // The library refuses points off the curve and an all-zero result.
        library::agree(self.private, self.library, peer_public_key)
            .ok_or(CryptoError::InvalidPublicValue)
    }
}

/// True for the length and the first byte of an uncompressed point, the only form in TLS (RFC 8422
/// section 5.4.1).
fn is_point(bytes: &[u8], length: usize) -> bool {
    bytes.len() == length && bytes.first() == Some(&4)
}

const P256_POINT_LEN: usize = 65;
const P384_POINT_LEN: usize = 97;

/// Verification of signatures.
pub(super) struct LibraryVerifier;

impl Verifier for LibraryVerifier {
    fn schemes(&self) -> &[SignatureScheme] {
        &SignatureScheme::ALL
    }

    fn verify(
        &self,
        scheme: SignatureScheme,
        subject_public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let p256 = is_point(subject_public_key, P256_POINT_LEN);
        let p384 = is_point(subject_public_key, P384_POINT_LEN);
        // In TLS 1.2 a scheme of ECDSA does not bind the curve, so the key names it.
        let algorithm: &'static dyn signature::VerificationAlgorithm = match scheme {
            SignatureScheme::EcdsaSecp256r1Sha256 if p256 => &signature::ECDSA_P256_SHA256_ASN1,
            SignatureScheme::EcdsaSecp256r1Sha256 if p384 => &signature::ECDSA_P384_SHA256_ASN1,
            SignatureScheme::EcdsaSecp384r1Sha384 if p256 => &signature::ECDSA_P256_SHA384_ASN1,
            SignatureScheme::EcdsaSecp384r1Sha384 if p384 => &signature::ECDSA_P384_SHA384_ASN1,
            SignatureScheme::EcdsaSecp256r1Sha256 | SignatureScheme::EcdsaSecp384r1Sha384 => {
                return Err(CryptoError::Authentication);
            }
            SignatureScheme::Ed25519 => &signature::ED25519,
            SignatureScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            SignatureScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            SignatureScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            SignatureScheme::RsaPssRsaeSha256 => &signature::RSA_PSS_2048_8192_SHA256,
            SignatureScheme::RsaPssRsaeSha384 => &signature::RSA_PSS_2048_8192_SHA384,
            SignatureScheme::RsaPssRsaeSha512 => &signature::RSA_PSS_2048_8192_SHA512,
        };
        signature::UnparsedPublicKey::new(algorithm, subject_public_key)
            .verify(message, signature)
            .map_err(|_| CryptoError::Authentication)
    }
}

/// Makes a private key in PKCS#8 form.
pub(super) fn generate_key(algorithm: KeyAlgorithm) -> Result<SharedSecret, CryptoError> {
    let random = rand::SystemRandom::new();
    let ecdsa = |curve| signature::EcdsaKeyPair::generate_pkcs8(curve, &random);
    let document = match algorithm {
        KeyAlgorithm::EcdsaP256 => ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyAlgorithm::EcdsaP384 => ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
        KeyAlgorithm::Ed25519 => signature::Ed25519KeyPair::generate_pkcs8(&random),
        KeyAlgorithm::Rsa => return Err(CryptoError::Unsupported),
    };
    let document = document.map_err(|_| CryptoError::Random)?;
    Ok(SharedSecret::new(document.as_ref().to_vec()))
}

/// Loads a private key from its PKCS#8 form.
pub(super) fn load_key(pkcs8: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
    // Each refuses keys of another type by their object identifier, before any arithmetic.
    if let Some(key) = library::ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8) {
        return Ok(Box::new(EcdsaKey {
            key,
            schemes: [SignatureScheme::EcdsaSecp256r1Sha256],
        }));
    }
    if let Some(key) = library::ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8) {
        return Ok(Box::new(EcdsaKey {
            key,
            schemes: [SignatureScheme::EcdsaSecp384r1Sha384],
        }));
    }
    // Other programs leave the public key out, which `from_pkcs8` insists on.
    if let Ok(key) = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8) {
        return Ok(Box::new(Ed25519Key(key)));
    }
    match library::rsa(pkcs8) {
        Some(key) => Ok(Box::new(RsaKey(key))),
        None => Err(CryptoError::InvalidKey),
    }
}

struct EcdsaKey {
    key: signature::EcdsaKeyPair,
    schemes: [SignatureScheme; 1],
}

impl SigningKey for EcdsaKey {
    fn schemes(&self) -> &[SignatureScheme] {
        &self.schemes
    }

    fn public_key(&self) -> &[u8] {
        use signature::KeyPair as _;
        self.key.public_key().as_ref()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if !self.schemes.contains(&scheme) {
            return Err(CryptoError::Unsupported);
        }
        let signature = self.key.sign(&rand::SystemRandom::new(), message);
        signature
            .map(|it| it.as_ref().to_vec())
            .map_err(|_| CryptoError::Random)
    }
}

struct Ed25519Key(signature::Ed25519KeyPair);

impl SigningKey for Ed25519Key {
    fn schemes(&self) -> &[SignatureScheme] {
        &[SignatureScheme::Ed25519]
    }

    fn public_key(&self) -> &[u8] {
        use signature::KeyPair as _;
        self.0.public_key().as_ref()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match scheme {
            SignatureScheme::Ed25519 => Ok(self.0.sign(message).as_ref().to_vec()),
            _ => Err(CryptoError::Unsupported),
        }
    }
}

struct RsaKey(signature::RsaKeyPair);

impl SigningKey for RsaKey {
    fn schemes(&self) -> &[SignatureScheme] {
        &[
            SignatureScheme::RsaPssRsaeSha256,
            SignatureScheme::RsaPkcs1Sha256,
            SignatureScheme::RsaPssRsaeSha384,
            SignatureScheme::RsaPkcs1Sha384,
            SignatureScheme::RsaPssRsaeSha512,
            SignatureScheme::RsaPkcs1Sha512,
        ]
    }

    fn public_key(&self) -> &[u8] {
        use signature::KeyPair as _;
        self.0.public_key().as_ref()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let encoding: &'static dyn signature::RsaEncoding = match scheme {
            SignatureScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_SHA256,
            SignatureScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_SHA384,
            SignatureScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_SHA512,
            SignatureScheme::RsaPssRsaeSha256 => &signature::RSA_PSS_SHA256,
            SignatureScheme::RsaPssRsaeSha384 => &signature::RSA_PSS_SHA384,
            SignatureScheme::RsaPssRsaeSha512 => &signature::RSA_PSS_SHA512,
            _ => return Err(CryptoError::Unsupported),
        };
        let mut signature = vec![0; library::modulus_len(&self.0)];
        self.0
            .sign(
                encoding,
                &rand::SystemRandom::new(),
                message,
                &mut signature,
            )
            .map_err(|_| CryptoError::Random)?;
        Ok(signature)
    }
}
