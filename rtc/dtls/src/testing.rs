//! What the unit tests share.

use std::time::{Duration, Instant};

use rtc_crypto::{Certificate, CertificateParams, CryptoProvider};
use rtc_shared::Rng;

pub(crate) const PROVIDER: &CryptoProvider = &rtc_crypto::ring::PROVIDER;

/// Some instant to begin at.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no other way to make an instant"
)]
pub(crate) fn start() -> Instant {
    Instant::now()
}

pub(crate) fn certificate() -> Certificate {
    let params = CertificateParams::new(Duration::from_secs(1_767_225_600));
    Certificate::generate(PROVIDER, &params, &mut Rng::from_seed([9; 32])).unwrap()
}

/// A file of known-answer data.
pub(crate) fn vectors(name: &str) -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/");
    serde_json::from_slice(&std::fs::read(format!("{path}{name}")).unwrap()).unwrap()
}
