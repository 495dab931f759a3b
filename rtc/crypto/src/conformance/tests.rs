use super::*;
use crate::{CryptoError, KeyAlgorithm};

#[cfg(feature = "ring")]
#[test]
fn ring_conforms() {
    run(&crate::ring::PROVIDER).unwrap();
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn aws_lc_rs_conforms() {
    run(&crate::aws_lc_rs::PROVIDER).unwrap();
}

#[cfg(all(feature = "ring", feature = "aws-lc-rs"))]
#[test]
fn providers_understand_each_other() {
    run_between(&crate::ring::PROVIDER, &crate::aws_lc_rs::PROVIDER).unwrap();
}

/// The lists that this crate's own providers have; the checks skip what is missing.
#[test]
fn providers_have_every_algorithm() {
    let providers: &[&CryptoProvider] = &[
        #[cfg(feature = "ring")]
        &crate::ring::PROVIDER,
        #[cfg(feature = "aws-lc-rs")]
        &crate::aws_lc_rs::PROVIDER,
    ];
    for provider in providers {
        assert_eq!(provider.hashes.len(), 5);
        assert_eq!(provider.hmacs.len(), 3);
        assert_eq!(provider.aeads.len(), 3);
        assert_eq!(provider.block_ciphers.len(), 2);
        assert_eq!(provider.groups.len(), 3);
        assert_eq!(provider.verifier.schemes(), SignatureScheme::ALL);
        for algorithm in [
            KeyAlgorithm::EcdsaP256,
            KeyAlgorithm::EcdsaP384,
            KeyAlgorithm::Ed25519,
        ] {
            assert!((provider.generate_key)(algorithm).is_ok(), "{algorithm:?}");
        }
        let rsa = (provider.generate_key)(KeyAlgorithm::Rsa);
        assert_eq!(rsa.err(), Some(CryptoError::Unsupported));
    }
}

#[cfg(feature = "ring")]
mod broken_providers_are_named {
    use super::*;
    use crate::ring::PROVIDER;
    use crate::{
        Aead, AeadKey, Digest, Hash, HashContext, Hmac, HmacKey, KeyExchange, KeyExchangeGroup,
        SecureRandom, SharedSecret, Verifier,
    };

    fn failure(provider: CryptoProvider) -> String {
        run(&provider).unwrap_err().to_string()
    }

    #[test]
    fn a_missing_or_repeated_algorithm() {
        let without = failure(CryptoProvider {
            hashes: &[],
            ..PROVIDER
        });
        assert_eq!(
            without,
            "provider ring fails: Sha256: present, no peer can do without"
        );
        let twice = [PROVIDER.groups, PROVIDER.groups].concat().leak();
        assert_eq!(
            failure(CryptoProvider {
                groups: twice,
                ..PROVIDER
            }),
            "provider ring fails: X25519: listed once"
        );
    }

    struct Zeros;

    impl SecureRandom for Zeros {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), CryptoError> {
            buffer.fill(0);
            Ok(())
        }
    }

    #[test]
    fn a_constant_random_source() {
        let failure = failure(CryptoProvider {
            random: &Zeros,
            ..PROVIDER
        });
        assert!(failure.contains("SecureRandom"), "{failure}");
    }

    /// Calls itself SHA-256 and is SHA-384.
    struct OtherHash;

    impl Hash for OtherHash {
        fn algorithm(&self) -> HashAlgorithm {
            HashAlgorithm::Sha256
        }
        fn hash(&self, parts: &[&[u8]]) -> Digest {
            PROVIDER.hash(HashAlgorithm::Sha384).unwrap().hash(parts)
        }
        fn start(&self) -> Box<dyn HashContext> {
            PROVIDER.hash(HashAlgorithm::Sha384).unwrap().start()
        }
    }

    #[test]
    fn a_wrong_hash() {
        let failure = failure(CryptoProvider {
            hashes: &[&OtherHash],
            ..PROVIDER
        });
        assert_eq!(failure, "provider ring fails: Sha256: hash of abc");
    }

    /// Takes every tag.
    struct Credulous;

    impl Hmac for Credulous {
        fn algorithm(&self) -> HmacAlgorithm {
            HmacAlgorithm::Sha256
        }
        fn key(&self, key: &[u8]) -> Box<dyn HmacKey> {
            Box::new(CredulousKey(
                PROVIDER.hmac(HmacAlgorithm::Sha256).unwrap().key(key),
            ))
        }
    }

    struct CredulousKey(Box<dyn HmacKey>);

    impl HmacKey for CredulousKey {
        fn sign(&self, parts: &[&[u8]]) -> Digest {
            self.0.sign(parts)
        }
        fn verify(&self, _: &[&[u8]], _: &[u8]) -> Result<(), CryptoError> {
            Ok(())
        }
    }

    impl Aead for Credulous {
        fn algorithm(&self) -> AeadAlgorithm {
            AeadAlgorithm::Aes128Gcm
        }
        fn key(&self, key: &[u8]) -> Result<Box<dyn AeadKey>, CryptoError> {
            let aead = PROVIDER.aead(AeadAlgorithm::Aes128Gcm).unwrap();
            Ok(Box::new(CredulousAeadKey(aead.key(key)?)))
        }
    }

    /// Ignores the associated data.
    struct CredulousAeadKey(Box<dyn AeadKey>);

    impl AeadKey for CredulousAeadKey {
        fn seal_in_place(
            &self,
            nonce: &[u8; 12],
            _: &[u8],
            data: &mut [u8],
        ) -> Result<[u8; 16], CryptoError> {
            self.0.seal_in_place(nonce, &[], data)
        }
        fn open_in_place<'a>(
            &self,
            nonce: &[u8; 12],
            _: &[u8],
            data: &'a mut [u8],
        ) -> Result<&'a mut [u8], CryptoError> {
            self.0.open_in_place(nonce, &[], data)
        }
    }

    impl Verifier for Credulous {
        fn schemes(&self) -> &[SignatureScheme] {
            &SignatureScheme::ALL
        }
        fn verify(
            &self,
            _: SignatureScheme,
            _: &[u8],
            _: &[u8],
            _: &[u8],
        ) -> Result<(), CryptoError> {
            Ok(())
        }
    }

    #[test]
    fn credulous_authentication() {
        let hmacs = [PROVIDER.hmac(HmacAlgorithm::Sha1).unwrap(), &Credulous]
            .to_vec()
            .leak();
        let failure_of_hmac = failure(CryptoProvider { hmacs, ..PROVIDER });
        assert!(
            failure_of_hmac.contains("Sha256: refuses a wrong"),
            "{failure_of_hmac}"
        );
        let failure_of_aead = failure(CryptoProvider {
            aeads: &[&Credulous],
            ..PROVIDER
        });
        assert!(
            failure_of_aead.contains("Aes128Gcm: known answer"),
            "{failure_of_aead}"
        );
        let failure_of_verifier = failure(CryptoProvider {
            verifier: &Credulous,
            ..PROVIDER
        });
        assert!(
            failure_of_verifier.contains("refuses another message"),
            "{failure_of_verifier}"
        );
    }

    /// Gives the same secret to every peer, whatever it sends.
    struct ConstantGroup;

    impl KeyExchangeGroup for ConstantGroup {
        fn group(&self) -> NamedGroup {
            NamedGroup::Secp256r1
        }
        fn start(&self, rng: &mut Rng) -> Result<Box<dyn KeyExchange>, CryptoError> {
            let inner = PROVIDER.group(NamedGroup::Secp256r1).unwrap().start(rng)?;
            Ok(Box::new(ConstantExchange(inner)))
        }
    }

    struct ConstantExchange(Box<dyn KeyExchange>);

    impl KeyExchange for ConstantExchange {
        fn public_key(&self) -> &[u8] {
            self.0.public_key()
        }
        fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, CryptoError> {
            Ok(SharedSecret::new(vec![7; 32]))
        }
    }

    #[test]
    fn a_constant_secret() {
        let failure = failure(CryptoProvider {
            groups: &[&ConstantGroup],
            ..PROVIDER
        });
        assert_eq!(
            failure,
            "provider ring fails: Secp256r1: secret is the X coordinate"
        );
    }

    #[test]
    fn a_key_that_does_not_load() {
        fn load_none(_: &[u8]) -> Result<Box<dyn crate::SigningKey>, CryptoError> {
            Err(CryptoError::InvalidKey)
        }
        let failure = failure(CryptoProvider {
            load_key: load_none,
            ..PROVIDER
        });
        assert_eq!(
            failure,
            "provider ring fails: \"P-256 key\": private key loads"
        );
    }
}
