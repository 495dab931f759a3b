use std::sync::OnceLock;

use rtc::crypto::{CryptoError, CryptoProvider, SignatureScheme, SigningKey, default_provider};

/// The default provider, except that ECDSA signatures of one curve have one length. In DER the length
/// depends on the signature's value, and with it the size of datagrams and their way through a network.
pub(super) fn provider() -> &'static CryptoProvider {
    static PROVIDER: OnceLock<CryptoProvider> = OnceLock::new();
    PROVIDER.get_or_init(|| CryptoProvider {
        name: "test",
        load_key: |pkcs8| {
            let key = (default_provider().load_key)(pkcs8)?;
            Ok(Box::new(EvenKey(key)))
        },
        ..*default_provider()
    })
}

struct EvenKey(Box<dyn SigningKey>);

impl SigningKey for EvenKey {
    fn schemes(&self) -> &[SignatureScheme] {
        self.0.schemes()
    }

    fn public_key(&self) -> &[u8] {
        self.0.public_key()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let length = match scheme {
            SignatureScheme::EcdsaSecp256r1Sha256 => 64 + DER,
            SignatureScheme::EcdsaSecp384r1Sha384 => 96 + DER,
            _ => return self.0.sign(scheme, message),
        };
        let mut signature = self.0.sign(scheme, message)?;
        for _ in 0..ATTEMPTS {
            if signature.len() == length {
                break;
            }
            signature = self.0.sign(scheme, message)?;
        }
        Ok(signature)
    }
}

/// A sequence of two integers, one of which begins with a set bit and takes a byte more: half of all
/// signatures.
const DER: usize = 7;
/// Deterministic signatures never change; of others, not one in 2^64 is left.
const ATTEMPTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_have_one_length() {
        use rtc::crypto::{Certificate, CertificateParams};
        use rtc::shared::Rng;

        let params = CertificateParams::new(std::time::Duration::from_secs(1_800_000_000));
        let lengths: Vec<_> = (0..50)
            .map(|_| {
                let mut rng = Rng::from_seed([1; 32]);
                let certificate = Certificate::generate(provider(), &params, &mut rng).unwrap();
                let key = certificate.signing_key();
                let signature = key.sign(key.schemes()[0], b"message").unwrap();
                (certificate.der().len(), signature.len())
            })
            .collect();
        assert!(lengths.iter().all(|it| *it == lengths[0]), "{lengths:?}");
    }
}
