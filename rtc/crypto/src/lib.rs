//! Cryptography of the rtc stack: what the protocols need, as traits, and the libraries that give it.
//!
//! [`CryptoProvider`] is a plain struct of data: which hashes, ciphers, groups and signature schemes a
//! library has. `ring` is the default provider, `aws-lc-rs` another by feature; a connection takes the
//! one its configuration names, and a library of your own fits in by the same struct, which
//! [`conformance::run`] tests. [`Certificate`] is the self-signed identity of a connection.
//!
//! ```
//! # #[cfg(any(feature = "ring", feature = "aws-lc-rs"))] {
//! use std::time::Duration;
//!
//! use rtc_crypto::{Certificate, CertificateParams, HashAlgorithm, PeerCertificate};
//! use rtc_shared::Rng;
//!
//! let provider = rtc_crypto::default_provider();
//! let mut seed = [0; 32];
//! provider.random.fill(&mut seed)?;
//! let mut rng = Rng::from_seed(seed);
//!
//! // The identity of one side, its clock given from outside ...
//! let unix_time = Duration::from_secs(1_767_225_600);
//! let params = CertificateParams::new(unix_time);
//! let certificate = Certificate::generate(provider, &params, &mut rng)?;
//! assert!(!certificate.is_expired(unix_time));
//!
//! // ... goes to the other as a fingerprint in SDP and as a certificate in DTLS.
//! let fingerprint = certificate.fingerprint(HashAlgorithm::Sha256, provider).expect("SHA-256");
//! assert!(fingerprint.to_string().starts_with("sha-256 "));
//! assert!(fingerprint.matches(certificate.der(), provider));
//! let peer = PeerCertificate::parse(certificate.der())?;
//!
//! // What one signs, the other verifies.
//! let scheme = certificate.signing_key().schemes()[0];
//! assert!(peer.accepts(scheme));
//! let signature = certificate.signing_key().sign(scheme, b"transcript")?;
//! provider.verifier.verify(scheme, &peer.subject_public_key, b"transcript", &signature)?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod certificate;
mod fingerprint;
mod pem;
mod provider;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod rustcrypto;

#[cfg(feature = "aws-lc-rs")]
pub mod aws_lc_rs;
pub mod conformance;
#[cfg(feature = "ring")]
pub mod ring;

pub use certificate::{
    Certificate, CertificateError, CertificateParams, KeyAlgorithm, PeerCertificate,
};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use provider::{
    Aead, AeadAlgorithm, AeadKey, BlockCipher, BlockCipherAlgorithm, BlockCipherKey, CryptoError,
    CryptoProvider, Digest, Hash, HashAlgorithm, HashContext, Hmac, HmacAlgorithm, HmacKey,
    KeyExchange, KeyExchangeGroup, NamedGroup, SecureRandom, SharedSecret, SignatureScheme,
    SigningKey, Verifier,
};

/// The provider of the enabled feature; `ring` when both are.
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#[must_use]
pub fn default_provider() -> &'static CryptoProvider {
    #[cfg(feature = "ring")]
    {
        &ring::PROVIDER
    }
    #[cfg(not(feature = "ring"))]
    {
        &aws_lc_rs::PROVIDER
    }
}
