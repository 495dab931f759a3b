//! The provider over `ring`, with RustCrypto's AES modes and MD5, which `ring` lacks, and its
//! HMAC-SHA1, which is four times as fast on processors with instructions for it.

#[path = "ring_like.rs"]
#[allow(
    clippy::duplicate_mod,
    reason = "the same interface over another library"
)]
mod ring_like;

use crate::CryptoProvider;
use crate::rustcrypto::{AES_128, AES_256, HmacSha1};

/// Everything the stack needs, over `ring`.
pub static PROVIDER: CryptoProvider = CryptoProvider {
    name: "ring",
    random: &ring_like::Random,
    hashes: ring_like::HASHES,
    hmacs: &[&ring_like::HMAC_SHA256, &ring_like::HMAC_SHA384, &HmacSha1],
    aeads: ring_like::AEADS,
    block_ciphers: &[&AES_128, &AES_256],
    groups: ring_like::GROUPS,
    verifier: &ring_like::LibraryVerifier,
    generate_key: ring_like::generate_key,
    load_key: ring_like::load_key,
};

/// The library, and the functions in which it differs from `aws-lc-rs`.
mod library {
    pub(super) use ::ring::{aead, agreement, digest, hmac, rand, signature};
    use signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, RsaKeyPair};

    use crate::SharedSecret;

    pub(super) fn agree(
        private: agreement::EphemeralPrivateKey,
        algorithm: &'static agreement::Algorithm,
        peer: &[u8],
    ) -> Option<SharedSecret> {
        let peer = agreement::UnparsedPublicKey::new(algorithm, peer);
        agreement::agree_ephemeral(private, &peer, |secret| SharedSecret::new(secret.to_vec())).ok()
    }

    pub(super) fn ecdsa(
        algorithm: &'static EcdsaSigningAlgorithm,
        pkcs8: &[u8],
    ) -> Option<EcdsaKeyPair> {
        EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &rand::SystemRandom::new()).ok()
    }

    pub(super) fn rsa(pkcs8: &[u8]) -> Option<RsaKeyPair> {
        RsaKeyPair::from_pkcs8(pkcs8).ok()
    }

    pub(super) fn modulus_len(key: &RsaKeyPair) -> usize {
        key.public().modulus_len()
    }
}
