//! The provider over `aws-lc-rs`, with RustCrypto's MD5.

#[path = "ring_like.rs"]
#[allow(
    clippy::duplicate_mod,
    reason = "the same interface over another library"
)]
mod ring_like;

use std::sync::OnceLock;

use ::aws_lc_rs::cipher::{
    AES_128, AES_256, Algorithm, DecryptingKey, DecryptionContext, EncryptingKey,
    EncryptionContext, UnboundCipherKey,
};
use ::aws_lc_rs::error::Unspecified;
use zeroize::Zeroizing;

use crate::{
    BlockCipher, BlockCipherAlgorithm, BlockCipherKey, CryptoError, CryptoProvider, HmacAlgorithm,
};

/// Everything the stack needs, over `aws-lc-rs`.
pub static PROVIDER: CryptoProvider = CryptoProvider {
    name: "aws-lc-rs",
    random: &ring_like::Random,
    hashes: ring_like::HASHES,
    hmacs: &[&ring_like::HMAC_SHA256, &ring_like::HMAC_SHA384, &HMAC_SHA1],
    aeads: ring_like::AEADS,
    block_ciphers: &[
        &Aes {
            algorithm: BlockCipherAlgorithm::Aes128,
            library: &AES_128,
            key_len: 16,
        },
        &Aes {
            algorithm: BlockCipherAlgorithm::Aes256,
            library: &AES_256,
            key_len: 32,
        },
    ],
    groups: ring_like::GROUPS,
    verifier: &ring_like::LibraryVerifier,
    generate_key: ring_like::generate_key,
    load_key: ring_like::load_key,
};

static HMAC_SHA1: ring_like::ShaHmac = ring_like::ShaHmac {
    algorithm: HmacAlgorithm::Sha1,
    library: &library::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
};

/// AES of one key length.
struct Aes {
    algorithm: BlockCipherAlgorithm,
    library: &'static Algorithm,
    key_len: usize,
}

impl BlockCipher for Aes {
    fn algorithm(&self) -> BlockCipherAlgorithm {
        self.algorithm
    }

    fn key(&self, key: &[u8]) -> Result<Box<dyn BlockCipherKey>, CryptoError> {
        if key.len() != self.key_len {
            return Err(CryptoError::InvalidKey);
        }
        Ok(Box::new(AesKey {
            library: self.library,
            key: Zeroizing::new(key.to_vec()),
            block: OnceLock::new(),
            counter: OnceLock::new(),
            cbc_encrypt: OnceLock::new(),
            cbc_decrypt: OnceLock::new(),
        }))
    }
}

/// The library binds a schedule of half a kilobyte to one mode, so each is made at its first use:
/// an SRTP session never needs more than one.
struct AesKey {
    library: &'static Algorithm,
    key: Zeroizing<Vec<u8>>,
    block: OnceLock<Box<EncryptingKey>>,
    counter: OnceLock<Box<EncryptingKey>>,
    cbc_encrypt: OnceLock<Box<EncryptingKey>>,
    cbc_decrypt: OnceLock<Box<DecryptingKey>>,
}

impl AesKey {
    fn mode<'a, K>(
        &self,
        mode: &'a OnceLock<Box<K>>,
        schedule: fn(UnboundCipherKey) -> Result<K, Unspecified>,
    ) -> Result<&'a K, Unspecified> {
        if let Some(key) = mode.get() {
            return Ok(key);
        }
        let key = schedule(UnboundCipherKey::new(self.library, &self.key)?)?;
        Ok(mode.get_or_init(|| Box::new(key)))
    }

    fn try_encrypt_block(&self, block: &mut [u8; 16]) -> Result<(), Unspecified> {
        self.mode(&self.block, EncryptingKey::ecb)?
            .less_safe_encrypt(block, EncryptionContext::None)?;
        Ok(())
    }

    fn try_ctr_apply(&self, counter: &[u8; 16], data: &mut [u8]) -> Result<(), Unspecified> {
        self.mode(&self.counter, EncryptingKey::ctr)?
            .less_safe_encrypt(data, EncryptionContext::Iv128(counter.into()))?;
        Ok(())
    }
}

impl BlockCipherKey for AesKey {
    #[expect(
        clippy::expect_used,
        reason = "only a wrong key length can fail, which `key` checks"
    )]
    fn encrypt_block(&self, block: &mut [u8; 16]) {
        self.try_encrypt_block(block)
            .expect("AES-ECB takes one block");
    }

    #[expect(
        clippy::expect_used,
        reason = "only a wrong key length can fail, which `key` checks"
    )]
    fn ctr_apply(&self, counter: &[u8; 16], data: &mut [u8]) {
        self.try_ctr_apply(counter, data)
            .expect("AES-CTR takes any length");
    }

    fn cbc_encrypt(&self, iv: &[u8; 16], data: &mut [u8]) -> Result<(), CryptoError> {
        self.mode(&self.cbc_encrypt, EncryptingKey::cbc)
            .and_then(|key| key.less_safe_encrypt(data, EncryptionContext::Iv128(iv.into())))
            .map(|_| ())
            .map_err(|_| CryptoError::InvalidLength)
    }

    fn cbc_decrypt(&self, iv: &[u8; 16], data: &mut [u8]) -> Result<(), CryptoError> {
        self.mode(&self.cbc_decrypt, DecryptingKey::cbc)
            .and_then(|key| key.decrypt(data, DecryptionContext::Iv128(iv.into())))
            .map(|_| ())
            .map_err(|_| CryptoError::InvalidLength)
    }
}

/// The library, and the functions in which it differs from `ring`.
mod library {
    pub(super) use ::aws_lc_rs::{aead, agreement, digest, hmac, rand, signature};
    use signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, RsaKeyPair};

    use crate::SharedSecret;

    pub(super) fn agree(
        private: agreement::EphemeralPrivateKey,
        algorithm: &'static agreement::Algorithm,
        peer: &[u8],
    ) -> Option<SharedSecret> {
        let peer = agreement::UnparsedPublicKey::new(algorithm, peer);
        agreement::agree_ephemeral(private, peer, (), |secret| {
            Ok(SharedSecret::new(secret.to_vec()))
        })
        .ok()
    }

    pub(super) fn ecdsa(
        algorithm: &'static EcdsaSigningAlgorithm,
        pkcs8: &[u8],
    ) -> Option<EcdsaKeyPair> {
        EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).ok()
    }

    pub(super) fn rsa(pkcs8: &[u8]) -> Option<RsaKeyPair> {
        RsaKeyPair::from_pkcs8(pkcs8).ok()
    }

    pub(super) fn modulus_len(key: &RsaKeyPair) -> usize {
        key.public_modulus_len()
    }
}
