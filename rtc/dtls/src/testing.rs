//! What the unit tests share.

use std::time::Duration;

use rtc_crypto::{Certificate, CertificateParams, CryptoProvider};
use rtc_shared::Rng;

pub(crate) const PROVIDER: &CryptoProvider = &rtc_crypto::ring::PROVIDER;

pub(crate) fn certificate() -> Certificate {
    let params = CertificateParams::new(Duration::from_secs(1_767_225_600));
    Certificate::generate(PROVIDER, &params, &mut Rng::from_seed([9; 32])).unwrap()
}

/// A file of known-answer data.
pub(crate) fn vectors(name: &str) -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/");
    serde_json::from_slice(&std::fs::read(format!("{path}{name}")).unwrap()).unwrap()
}
