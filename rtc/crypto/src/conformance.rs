//! Known answers and misuse checks that any [`CryptoProvider`] can be run through.
//!
//! A provider of your own has one test: `conformance::run(&MY_PROVIDER)`. What it does not list is not
//! checked, but the few algorithms without which no WebRTC peer can be talked to must be there.
//!
//! ```
//! # #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
//! rtc_crypto::conformance::run(rtc_crypto::default_provider())?;
//! # Ok::<(), rtc_crypto::conformance::ConformanceError>(())
//! ```

mod agreement;
mod signatures;
mod symmetric;
mod x25519;

use std::fmt::Debug;

use rtc_shared::Rng;
use thiserror::Error;

use crate::{
    AeadAlgorithm, BlockCipherAlgorithm, CryptoProvider, HashAlgorithm, HmacAlgorithm, NamedGroup,
    SignatureScheme,
};

/// A check that a provider did not pass.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("provider {provider} fails: {check}")]
#[non_exhaustive]
pub struct ConformanceError {
    /// [`CryptoProvider::name`].
    pub provider: &'static str,
    /// Which check: the algorithm, and what was expected of it.
    pub check: String,
}

/// Runs every check that one provider can be put to.
///
/// # Errors
/// The first check that fails.
pub fn run(provider: &CryptoProvider) -> Result<(), ConformanceError> {
    let checks = Checks {
        provider: provider.name,
    };
    lists(provider, checks)?;
    random(provider, checks)?;
    symmetric::run(provider, checks)?;
    agreement::run(provider, checks)?;
    signatures::run(provider, checks)
}

/// Checks that two providers understand each other: what one seals or signs the other opens or
/// verifies, and both agree on a secret.
///
/// # Errors
/// The first check that fails.
pub fn run_between(a: &CryptoProvider, b: &CryptoProvider) -> Result<(), ConformanceError> {
    for (from, to) in [(a, b), (b, a)] {
        let checks = Checks { provider: to.name };
        symmetric::run_between(from, to, checks)?;
        agreement::run_between(from, to, checks)?;
        signatures::run_between(from, to, checks)?;
    }
    Ok(())
}

/// Names the provider in failures.
#[derive(Clone, Copy)]
struct Checks {
    provider: &'static str,
}

impl Checks {
    /// Fails with the algorithm and what was expected of it unless `passed`.
    fn expect(
        self,
        algorithm: impl Debug,
        what: &str,
        passed: bool,
    ) -> Result<(), ConformanceError> {
        if passed {
            Ok(())
        } else {
            Err(self.failure(algorithm, what))
        }
    }

    /// The value, or a failure with the algorithm and what was expected of it.
    fn value<T, E>(
        self,
        algorithm: impl Debug,
        what: &str,
        value: Result<T, E>,
    ) -> Result<T, ConformanceError> {
        value.map_err(|_| self.failure(algorithm, what))
    }

    fn failure(self, algorithm: impl Debug, what: &str) -> ConformanceError {
        ConformanceError {
            provider: self.provider,
            check: format!("{algorithm:?}: {what}"),
        }
    }
}

fn lists(provider: &CryptoProvider, checks: Checks) -> Result<(), ConformanceError> {
    fn list<T: Copy + Debug + PartialEq>(
        checks: Checks,
        listed: impl Iterator<Item = T>,
        needed: &[T],
    ) -> Result<(), ConformanceError> {
        let listed: Vec<T> = listed.collect();
        for (index, algorithm) in listed.iter().enumerate() {
            let first = listed.iter().position(|other| other == algorithm) == Some(index);
            checks.expect(algorithm, "listed once", first)?;
        }
        for algorithm in needed {
            checks.expect(
                algorithm,
                "present, no peer can do without",
                listed.contains(algorithm),
            )?;
        }
        Ok(())
    }
    let sha = [HashAlgorithm::Sha256];
    list(
        checks,
        provider.hashes.iter().map(|it| it.algorithm()),
        &sha,
    )?;
    let hmac = [HmacAlgorithm::Sha1, HmacAlgorithm::Sha256];
    list(
        checks,
        provider.hmacs.iter().map(|it| it.algorithm()),
        &hmac,
    )?;
    let aead = [AeadAlgorithm::Aes128Gcm];
    list(
        checks,
        provider.aeads.iter().map(|it| it.algorithm()),
        &aead,
    )?;
    let block = [BlockCipherAlgorithm::Aes128];
    list(
        checks,
        provider.block_ciphers.iter().map(|it| it.algorithm()),
        &block,
    )?;
    let groups = [NamedGroup::Secp256r1];
    list(checks, provider.groups.iter().map(|it| it.group()), &groups)?;
    let schemes = [SignatureScheme::EcdsaSecp256r1Sha256];
    list(
        checks,
        provider.verifier.schemes().iter().copied(),
        &schemes,
    )
}

fn random(provider: &CryptoProvider, checks: Checks) -> Result<(), ConformanceError> {
    let mut outputs = [[0; 32]; 2];
    for output in &mut outputs {
        checks.value("SecureRandom", "fills", provider.random.fill(output))?;
    }
    let [first, second] = outputs;
    checks.expect(
        "SecureRandom",
        "two outputs differ",
        first != second && first != [0; 32],
    )
}

/// A generator for the arguments that need one. No check depends on its output.
fn rng() -> Rng {
    Rng::from_seed([0x5a; 32])
}

/// Reads the hexadecimal constants of this module; white space is skipped.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let (pairs, _) = digits.as_chunks();
    pairs
        .iter()
        .map(|[high, low]| (high << 4 | low) as u8)
        .collect()
}

/// The same bytes with one bit turned.
fn flipped(bytes: &[u8], index: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.get_mut(index) {
        *byte ^= 1;
    }
    bytes
}

#[cfg(test)]
mod tests;
