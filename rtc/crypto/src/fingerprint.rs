use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::{CryptoProvider, HashAlgorithm};

/// Why a fingerprint could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// The line is not `hash-function SP hex-pairs`.
    #[error("fingerprint is not of the form `hash-function XX:XX:…`")]
    Syntax,
    /// The hash function is unknown, or too weak to be accepted (MD2, MD5, SHA-1).
    #[error("fingerprint hash function is unknown or too weak")]
    Algorithm,
    /// The number of bytes is not that of the hash function.
    #[error("fingerprint has the wrong length for its hash function")]
    Length,
}

/// The hash of a certificate's DER form, as SDP carries it (RFC 8122 section 5).
///
/// ```
/// use rtc_crypto::Fingerprint;
/// let text = format!("sha-256 {}", ["AB"; 32].join(":"));
/// let fingerprint: Fingerprint = text.parse()?;
/// assert_eq!(fingerprint.to_string(), text);
/// # Ok::<(), rtc_crypto::FingerprintError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// SHA-256, SHA-384 or SHA-512.
    pub algorithm: HashAlgorithm,
    /// The hash.
    pub value: Vec<u8>,
}

impl Fingerprint {
    /// Hashes a certificate; `None` when the provider lacks the hash function.
    #[must_use]
    pub fn of(
        certificate_der: &[u8],
        algorithm: HashAlgorithm,
        provider: &CryptoProvider,
    ) -> Option<Self> {
        let value = provider
            .hash(algorithm)?
            .hash(&[certificate_der])
            .as_ref()
            .to_vec();
        Some(Self { algorithm, value })
    }

    /// The name of the hash function in SDP, as `sha-256`.
    #[must_use]
    pub fn algorithm_name(&self) -> &'static str {
        algorithm_name(self.algorithm)
    }

    /// The hash as upper-case hex pairs between colons.
    #[must_use]
    pub fn value_hex(&self) -> String {
        let mut text = String::with_capacity(self.value.len() * 3);
        for byte in &self.value {
            if !text.is_empty() {
                text.push(':');
            }
            for digit in [byte >> 4, byte & 0xf] {
                text.extend(char::from_digit(digit.into(), 16).map(|it| it.to_ascii_uppercase()));
            }
        }
        text
    }

    /// True when `certificate_der` hashes to this fingerprint.
    #[must_use]
    pub fn matches(&self, certificate_der: &[u8], provider: &CryptoProvider) -> bool {
        Self::of(certificate_der, self.algorithm, provider).as_ref() == Some(self)
    }

    /// Checks a certificate against several fingerprints: it passes when it matches one of those with
    /// the strongest hash function present (RFC 8122 section 5).
    #[must_use]
    pub fn any_matches(
        fingerprints: &[Self],
        certificate_der: &[u8],
        provider: &CryptoProvider,
    ) -> bool {
        let strongest = fingerprints
            .iter()
            .map(|it| it.algorithm.output_len())
            .max();
        fingerprints
            .iter()
            .filter(|it| Some(it.algorithm.output_len()) == strongest)
            .any(|it| it.matches(certificate_der, provider))
    }
}

fn algorithm_name(algorithm: HashAlgorithm) -> &'static str {
    match algorithm {
        HashAlgorithm::Md5 => "md5",
        HashAlgorithm::Sha1 => "sha-1",
        HashAlgorithm::Sha256 => "sha-256",
        HashAlgorithm::Sha384 => "sha-384",
        HashAlgorithm::Sha512 => "sha-512",
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm_name(), self.value_hex())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Reads the value of an `a=fingerprint` attribute; hex of either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text
            .trim()
            .split_once(' ')
            .ok_or(FingerprintError::Syntax)?;
        let algorithm = [
            HashAlgorithm::Sha256,
            HashAlgorithm::Sha384,
            HashAlgorithm::Sha512,
        ]
        .into_iter()
        .find(|algorithm| algorithm_name(*algorithm).eq_ignore_ascii_case(name))
        .ok_or(FingerprintError::Algorithm)?;
        let value = value
            .trim()
            .split(':')
            .map(|pair| match pair.as_bytes() {
                // `from_str_radix` alone would take a sign.
                [high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    u8::from_str_radix(pair, 16).map_err(|_| FingerprintError::Syntax)
                }
                _ => Err(FingerprintError::Syntax),
            })
            .collect::<Result<Vec<u8>, _>>()?;
        if value.len() != algorithm.output_len() {
            return Err(FingerprintError::Length);
        }
        Ok(Self { algorithm, value })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(name: &str, length: usize) -> String {
        format!("{name} {}", vec!["0a"; length].join(":"))
    }

    #[test]
    fn either_case_is_read_and_upper_case_written() {
        let fingerprint: Fingerprint = line("SHA-256", 32).parse().unwrap();
        assert_eq!(fingerprint.algorithm, HashAlgorithm::Sha256);
        assert_eq!(fingerprint.value, [0x0a; 32]);
        assert_eq!(
            fingerprint.to_string(),
            format!("sha-256 {}", ["0A"; 32].join(":"))
        );
    }

    #[test]
    fn weak_and_unknown_hash_functions_are_refused() {
        for (name, length) in [
            ("sha-1", 20),
            ("md5", 16),
            ("md2", 16),
            ("sha-224", 28),
            ("", 32),
        ] {
            let parsed = line(name, length).parse::<Fingerprint>();
            assert!(
                matches!(
                    parsed,
                    Err(FingerprintError::Algorithm | FingerprintError::Syntax)
                ),
                "{name}"
            );
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        let error = |text: &str| text.parse::<Fingerprint>().unwrap_err();
        assert_eq!(error(""), FingerprintError::Syntax);
        assert_eq!(error("sha-256"), FingerprintError::Syntax);
        assert_eq!(error("sha-256 "), FingerprintError::Syntax);
        assert_eq!(error("sha-256 A"), FingerprintError::Syntax);
        assert_eq!(error("sha-256 +1:AA"), FingerprintError::Syntax);
        assert_eq!(error("sha-256 AAA:A"), FingerprintError::Syntax);
        assert_eq!(error("sha-256 GG"), FingerprintError::Syntax);
        assert_eq!(error("sha-256 ä:ä"), FingerprintError::Syntax);
        assert_eq!(error(&line("sha-256", 31)), FingerprintError::Length);
        assert_eq!(error(&line("sha-384", 32)), FingerprintError::Length);
        assert_eq!(
            error(&format!("{}:", line("sha-256", 32))),
            FingerprintError::Syntax
        );
    }

    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    #[test]
    fn the_strongest_hash_function_present_decides() {
        let provider = crate::default_provider();
        let of = |algorithm| Fingerprint::of(b"certificate", algorithm, provider).unwrap();
        let (weak, strong) = (of(HashAlgorithm::Sha256), of(HashAlgorithm::Sha512));
        let wrong = Fingerprint {
            algorithm: HashAlgorithm::Sha512,
            value: vec![0; 64],
        };
        let passes =
            |list: &[Fingerprint]| Fingerprint::any_matches(list, b"certificate", provider);
        assert!(passes(std::slice::from_ref(&weak)));
        assert!(passes(&[wrong.clone(), weak.clone(), strong]));
        assert!(!passes(&[weak, wrong]));
        assert!(!passes(&[]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: [u8; 32]) {
            let fingerprint =
                Fingerprint { algorithm: HashAlgorithm::Sha256, value: value.to_vec() };
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = text.parse::<Fingerprint>();
            let _ = format!("sha-256 {text}").parse::<Fingerprint>();
        }
    }
}
