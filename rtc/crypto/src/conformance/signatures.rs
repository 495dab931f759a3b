//! Signatures, private keys and certificates.

use std::time::Duration;

use super::{Checks, ConformanceError, flipped, hex, rng};
use crate::{
    Certificate, CertificateParams, CryptoError, CryptoProvider, KeyAlgorithm, PeerCertificate,
    SignatureScheme, SigningKey,
};

pub(super) fn run(provider: &CryptoProvider, checks: Checks) -> Result<(), ConformanceError> {
    for known in KNOWN {
        known_signature(provider, known, checks)?;
    }
    short_rsa_keys_are_refused(provider, checks)?;
    malformed_keys_are_refused(provider, checks)?;
    for (name, key) in keys(provider, checks)? {
        signs_and_verifies(name, &*key, provider, checks)?;
    }
    deterministic_signatures(provider, checks)?;
    certificates(provider, checks)
}

pub(super) fn run_between(
    from: &CryptoProvider,
    to: &CryptoProvider,
    checks: Checks,
) -> Result<(), ConformanceError> {
    for (name, key) in keys(from, checks)? {
        signs_and_verifies(name, &*key, to, checks)?;
    }
    for algorithm in GENERATED {
        let Ok(pkcs8) = (from.generate_key)(algorithm) else {
            continue;
        };
        let key = checks.value(algorithm, "loads the other provider's key", {
            (to.load_key)(pkcs8.as_ref())
        })?;
        signs_and_verifies("key of the other provider", &*key, from, checks)?;
    }
    Ok(())
}

/// A signature made elsewhere.
struct Known {
    source: &'static str,
    scheme: SignatureScheme,
    public_key: &'static str,
    message: &'static [u8],
    signature: &'static str,
}

fn known_signature(
    provider: &CryptoProvider,
    known: &Known,
    checks: Checks,
) -> Result<(), ConformanceError> {
    let Known {
        source,
        scheme,
        message,
        ..
    } = *known;
    let (public_key, signature) = (hex(known.public_key), hex(known.signature));
    let verify = |public_key: &[u8], message: &[u8], signature: &[u8]| {
        provider
            .verifier
            .verify(scheme, public_key, message, signature)
    };
    if !provider.verifier.schemes().contains(&scheme) {
        let refused = verify(&public_key, message, &signature) == Err(CryptoError::Unsupported);
        return checks.expect(scheme, "refuses a scheme it does not list", refused);
    }
    let verified = verify(&public_key, message, &signature).is_ok();
    checks.expect(scheme, &format!("verifies {source}"), verified)?;

    let refused = verify(&public_key, b"other", &signature) == Err(CryptoError::Authentication);
    checks.expect(scheme, "refuses another message", refused)?;
    for length in [0, 1, signature.len() / 2, signature.len() - 1] {
        let signature = signature.get(..length).unwrap_or_default();
        let refused = verify(&public_key, message, signature) == Err(CryptoError::Authentication);
        checks.expect(scheme, "refuses a truncated signature", refused)?;
    }
    for length in [0, 1, public_key.len() - 1] {
        let public_key = public_key.get(..length).unwrap_or_default();
        let refused = verify(public_key, message, &signature) == Err(CryptoError::Authentication);
        checks.expect(scheme, "refuses a truncated public key", refused)?;
    }
    let other_key = flipped(&public_key, public_key.len() / 2);
    let refused = verify(&other_key, message, &signature) == Err(CryptoError::Authentication);
    checks.expect(scheme, "refuses another public key", refused)
}

type NamedKey = (&'static str, Box<dyn SigningKey>);

/// The keys of the known signatures and freshly made ones, as far as the provider takes them.
fn keys(provider: &CryptoProvider, checks: Checks) -> Result<Vec<NamedKey>, ConformanceError> {
    let mut keys = Vec::new();
    for (name, pkcs8, public_key) in PRIVATE_KEYS {
        let listed = KNOWN.iter().any(|it| {
            it.public_key == public_key && provider.verifier.schemes().contains(&it.scheme)
        });
        if !listed {
            continue;
        }
        let key = checks.value(name, "private key loads", (provider.load_key)(&hex(pkcs8)))?;
        let belongs = key.public_key() == hex(public_key);
        checks.expect(name, "private key has its public key", belongs)?;
        keys.push((name, key));
    }
    for algorithm in GENERATED {
        let pkcs8 = match (provider.generate_key)(algorithm) {
            Err(CryptoError::Unsupported) if algorithm != KeyAlgorithm::EcdsaP256 => continue,
            generated => checks.value(algorithm, "generates a key", generated)?,
        };
        let key = (provider.load_key)(pkcs8.as_ref());
        keys.push((
            "generated",
            checks.value(algorithm, "loads the key it made", key)?,
        ));
    }
    Ok(keys)
}

fn signs_and_verifies(
    name: &str,
    key: &dyn SigningKey,
    verifier: &CryptoProvider,
    checks: Checks,
) -> Result<(), ConformanceError> {
    let verifier = verifier.verifier;
    checks.expect(name, "has a scheme", !key.schemes().is_empty())?;
    for scheme in SignatureScheme::ALL {
        let what = |what: &str| format!("{what} (key: {name})");
        if !key.schemes().contains(&scheme) {
            let refused = key.sign(scheme, b"message") == Err(CryptoError::Unsupported);
            checks.expect(
                scheme,
                &what("refuses to sign by a scheme it does not list"),
                refused,
            )?;
            continue;
        }
        let signed = key.sign(scheme, b"message");
        let signature = checks.value(scheme, &what("signs"), signed)?;
        if !verifier.schemes().contains(&scheme) {
            continue;
        }
        let public_key = key.public_key();
        let verified = verifier
            .verify(scheme, public_key, b"message", &signature)
            .is_ok();
        checks.expect(scheme, &what("verifies what was signed"), verified)?;
        let altered = verifier.verify(scheme, public_key, b"massage", &signature);
        let refused = altered == Err(CryptoError::Authentication);
        checks.expect(scheme, &what("refuses another message"), refused)?;
        for index in 0..signature.len() {
            let turned = flipped(&signature, index);
            let refused = verifier.verify(scheme, public_key, b"message", &turned)
                == Err(CryptoError::Authentication);
            checks.expect(
                scheme,
                &what("refuses a turned bit of the signature"),
                refused,
            )?;
        }
        for other in SignatureScheme::ALL
            .into_iter()
            .filter(|other| *other != scheme)
        {
            let refused = verifier
                .verify(other, public_key, b"message", &signature)
                .is_err();
            checks.expect(scheme, &what("is not taken for another scheme"), refused)?;
        }
    }
    Ok(())
}

/// Ed25519 and PKCS#1 signatures have one value each.
fn deterministic_signatures(
    provider: &CryptoProvider,
    checks: Checks,
) -> Result<(), ConformanceError> {
    for known in KNOWN {
        if !matches!(
            known.scheme,
            SignatureScheme::Ed25519 | SignatureScheme::RsaPkcs1Sha256
        ) {
            continue;
        }
        let pkcs8 = PRIVATE_KEYS
            .iter()
            .find(|(_, _, public_key)| *public_key == known.public_key);
        let Some(Ok(key)) = pkcs8.map(|(_, pkcs8, _)| (provider.load_key)(&hex(pkcs8))) else {
            continue;
        };
        let signature =
            checks.value(known.scheme, "signs", key.sign(known.scheme, known.message))?;
        checks.expect(
            known.scheme,
            "known signature",
            signature == hex(known.signature),
        )?;
    }
    Ok(())
}

/// RFC 8827 section 6.5 leaves no room for RSA below 2048 bits; these signatures are right.
fn short_rsa_keys_are_refused(
    provider: &CryptoProvider,
    checks: Checks,
) -> Result<(), ConformanceError> {
    for (scheme, signature) in [
        (SignatureScheme::RsaPkcs1Sha256, RSA_1024_PKCS1),
        (SignatureScheme::RsaPssRsaeSha256, RSA_1024_PSS),
    ] {
        let verified =
            provider
                .verifier
                .verify(scheme, &hex(RSA_1024_PUBLIC), b"sample", &hex(signature));
        checks.expect(scheme, "refuses a key of 1024 bits", verified.is_err())?;
    }
    Ok(())
}

fn malformed_keys_are_refused(
    provider: &CryptoProvider,
    checks: Checks,
) -> Result<(), ConformanceError> {
    for (name, pkcs8, _) in PRIVATE_KEYS {
        let pkcs8 = hex(pkcs8);
        for length in 0..pkcs8.len() {
            let truncated = pkcs8.get(..length).unwrap_or_default();
            let refused = matches!((provider.load_key)(truncated), Err(CryptoError::InvalidKey));
            checks.expect(name, "truncated private key is refused", refused)?;
        }
    }
    Ok(())
}

/// A generated certificate is signed by its own key and survives PEM.
fn certificates(provider: &CryptoProvider, checks: Checks) -> Result<(), ConformanceError> {
    let mut params = CertificateParams::new(Duration::from_secs(1_767_225_600));
    for algorithm in GENERATED {
        params.key = algorithm;
        let certificate = match Certificate::generate(provider, &params, &mut rng()) {
            Err(_) if algorithm != KeyAlgorithm::EcdsaP256 => continue,
            generated => checks.value(algorithm, "generates a certificate", generated)?,
        };
        let same = Certificate::from_pem(provider, &certificate.to_pem());
        let same = checks.value(algorithm, "reads its own PEM text", same)?;
        checks.expect(
            algorithm,
            "PEM text keeps the certificate",
            same == certificate,
        )?;

        let peer = PeerCertificate::parse(certificate.der());
        let peer = checks.value(algorithm, "certificate parses", peer)?;
        checks.expect(
            algorithm,
            "certificate has its key type",
            peer.algorithm == algorithm,
        )?;
        let scheme = certificate.signing_key().schemes().first().copied();
        let scheme = checks.value(algorithm, "has a scheme", scheme.ok_or(()))?;
        let parts = signed_parts(certificate.der());
        let (signed, signature) = checks.value(algorithm, "certificate parses", parts.ok_or(()))?;
        let verified =
            provider
                .verifier
                .verify(scheme, &peer.subject_public_key, &signed, &signature);
        checks.expect(
            algorithm,
            "certificate is signed by its own key",
            verified.is_ok(),
        )?;
    }
    Ok(())
}

fn signed_parts(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let signed = certificate.tbs_certificate.as_ref().to_vec();
    Some((signed, certificate.signature_value.data.to_vec()))
}

/// The key types a provider may generate.
const GENERATED: [KeyAlgorithm; 3] = [
    KeyAlgorithm::EcdsaP256,
    KeyAlgorithm::EcdsaP384,
    KeyAlgorithm::Ed25519,
];

const KNOWN: &[Known] = &[
    Known {
        source: "RFC 6979 section A.2.5",
        scheme: SignatureScheme::EcdsaSecp256r1Sha256,
        public_key: P256_PUBLIC,
        message: b"sample",
        signature: "3046022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0e
     a84eaf3716022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff406
     4dc4ab2f843acda8",
    },
    Known {
        source: "RFC 6979 section A.2.5",
        scheme: SignatureScheme::EcdsaSecp384r1Sha384,
        public_key: P256_PUBLIC,
        message: b"sample",
        signature: "304402200eafea039b20e9b42309fb1d89e213057cbf973dc0cfc8f129edddc8
     00ef771902204861f0491e6998b9455193e34e7b0d284ddd7149a74b95b9261f
     13abde940954",
    },
    Known {
        source: "RFC 6979 section A.2.6",
        scheme: SignatureScheme::EcdsaSecp384r1Sha384,
        public_key: P384_PUBLIC,
        message: b"sample",
        signature: "306602310094edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4
     ea95ad133c81a648152e44acf96e36dd1e80fabe4602310099ef4aeb15f178ce
     a1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e
     7b82c71a38628ac8",
    },
    Known {
        source: "RFC 6979 section A.2.6",
        scheme: SignatureScheme::EcdsaSecp256r1Sha256,
        public_key: P384_PUBLIC,
        message: b"sample",
        signature: "3065023021b13d1e013c7fa1392d03c5f99af8b30c570c6f98d4ea8e354b63a2
     1d3daa33bde1e888e63355d92fa2b3c36d8fb2cd023100f3aa443fb107745bf4
     bd77cb3891674632068a10ca67e3d45db2266fa7d1feebefdc63eccd1ac42ec0
     cb8668a4fa0ab0",
    },
    Known {
        source: "RFC 8032 section 7.1",
        scheme: SignatureScheme::Ed25519,
        public_key: ED25519_PUBLIC,
        message: b"\xaf\x82",
        signature: "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac
     18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    },
    Known {
        source: "OpenSSL's PKCS#1 signature",
        scheme: SignatureScheme::RsaPkcs1Sha256,
        public_key: RSA_2048_PUBLIC,
        message: b"sample",
        signature: "17caf950bfcb4c107c9b273215a2da563565ca5b14d8cff6495759afb151f471
     56569347f457baca33773217d8f93dc6784d3062b7bccc5229e6e6bd9781f042
     3d936a41eec78a1f32dcfaf82d97c020bca1c73fd1ab4a5416c112824e14c48d
     64397463ab3507789b995c344c10fd4f33b704e3b5bb71261cef66977d553d39
     bffb9bdd207637f90c7415646b1c692dc2dec8cb577accede1a4980234283156
     96b8889c9dfcc8f04277c25a1d47ae13f95e1e6947f40f98e667098ba3e2fe7f
     b1ff47d61b0e7d2321f0f514e74c9bbaf115a4d22cc0004df299a7d5ac44a341
     9eb1495ca188803d519d726ad22ac8d7fda671753d47f16145a100fdcbbbf2f5",
    },
    Known {
        source: "OpenSSL's PSS signature",
        scheme: SignatureScheme::RsaPssRsaeSha256,
        public_key: RSA_2048_PUBLIC,
        message: b"sample",
        signature: "0110b87e8e962378d8e55d2168c76e2b2ca454427ed56f8d7edd55a69cb54f3b
     ee221f2126e9891bcf7f51b34f87cabfad62bc1c7818ba221d307948ed62f7ca
     77a74e1eedbdac989195919e65c992b0439cec467ca7f4c7e3bc4a0f0b24ae73
     f25f7586d6e1ba9a38d7f114f73072e2627c4f8a8aabc201b43adaa17a00e03b
     114a1fa85dee1c774ab58f79ee6570472b8afc8d30e1981999762cb41979c986
     2fcb50a5124839d5e70388a2d5da5d07c046817e62f9133a69386e83733f127d
     b04613bafa465ee05ee8cafa2e4c41da9eee8febce13d6c75dd75b2ed3809201
     fe200c5344db54524d18d2d13f5b36f98069b161e0f72100d8ad2ca7fc45003c",
    },
];

/// Name, PKCS#8 form and public key.
const PRIVATE_KEYS: [(&str, &str, &str); 4] = [
    ("P-256 key", P256_PRIVATE, P256_PUBLIC),
    ("P-384 key", P384_PRIVATE, P384_PUBLIC),
    ("Ed25519 key", ED25519_PRIVATE, ED25519_PUBLIC),
    ("RSA key", RSA_2048_PRIVATE, RSA_2048_PUBLIC),
];

const P256_PRIVATE: &str = "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b02
     01010420c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b
     120f6721a1440342000460fed4ba255a9d31c961eb74c6356d68c049b8923b61
     fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e
     9f5177a3c294d4462299";

const P256_PUBLIC: &str = "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29f
     b67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d44622
     99";

const P384_PRIVATE: &str = "3081b6020100301006072a8648ce3d020106052b8104002204819e30819b0201
     0104306b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa4774078
     7137d896d5724e4c70a825f872c9ea60d2edf5a16403620004ec3a4e415b4e19
     a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea905586
     6064a254515480bc138015d9b72d7d57244ea8ef9ac0c621896708a59367f9df
     b9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720";

const P384_PUBLIC: &str = "04ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c
     64def8f0ea9055866064a254515480bc138015d9b72d7d57244ea8ef9ac0c621
     896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd25332647
     20";

const ED25519_PRIVATE: &str = "302e020100300506032b657004220420c5aa8df43f9f837bedb7442f31dcb7b1
     66d38535076f094b85ce3a2e0b4458f7";

const ED25519_PUBLIC: &str = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";

const RSA_2048_PRIVATE: &str = "308204bd020100300d06092a864886f70d0101010500048204a7308204a30201
     0002820101009923a96755aee5a4d01e6139fd97d461a4ffab695eb52e4cad18
     89ee9041dded6abcb66a43c1f514c525347644a752a6e87d555ad1d7ae37a7cf
     5bd5a5572496bfe48d3d7f1507998ff1b27e09c059eaba1fa1db3ad7868e9898
     7da892806ca8259b88d1eca2e0f83ecfcff407870c99257f66c3103ec6f378e5
     03cb5f26577fcc462c601506370d3374cf7e312809f65f11b86cbc02385d2fd2
     502f27607113faa343cda59e47158a666384aabb84923cd395a76fb1a6d42840
     935553f8e8f2b0a6a5cf231ba7cc6fd0857ca06c079ee9ecaefeee27f29dfc59
     e9f036c1cb79cc62702c64be37dd43f41a66f0b2ac236ab18e6ee001e23156ca
     110b618f5bc30203010001028201000caacb7f75b1f2e2f0282328b5d6524605
     6cf493d1b6b0eebcbeb3e21ce2a5e5d697678b60b1718157515d868ee53c4bfc
     1d29eb4a4249f1e69a9b610fbd2694a5a8d51a0a22062fe89d38837e70ffbf0f
     c8400e2f4ed69d82f7d225188130fbb3a8aae79a685aad8e1c887a0a095cbc6a
     42a090700e914c606aa926b0672e838de024749d3256bef0afcd64517f52590b
     18dc6e52ce70323898e315823b59f1fd2da9b5be1c128603720d7c301b7d76a4
     f70f24846f8db87d1b4fa3bbc452f0d725f99407852cc98ea7b6524e4c7c198d
     73e8cd0c5535ad18693898b338de9abdd44d22945c1eac91ab1ace4edfd51395
     9e7bc366c4151750ff2ea3a60e944902818100d3ee5ef6fbc07cbf127355b42d
     ffbc80758c398b1a80ac2e804f3ce0958b994f7916974ab1208bcbecb94637dc
     3dab232fa4e355e0fad857aa6eccca336aada25f96ce50077db46cb9d82270d2
     42a5e3452cb4161b61aab5d11d7c466bd16784eb3536e4fb171266c58c8a652f
     2bd174cb4b34ea7b18bb73929db54312624f6d02818100b8fba737d044443b8c
     b0271838592fbd573a0de9d62bfa5f1986350d9f3fe4079aecd3a411425767bf
     03592b1baba1230041d12cfa9df5a1fecc06b7ec5ee14c2820aa9625ff1f6628
     da5a8b842c01ea09d58ca4dcade9ba73c1bd9de6a1e9aa570b8e0d1d7ec4b750
     d95971a4e70d2506e93c62b2dab526389a80638c51e9ef02818021a2661dea8c
     7cffd20ccde03fa0a3a8fb7edaaf11f0b3e2d96839f026abb6141fd28f0642a0
     38af8f8d43f09f9a85eb9aa71f9144986af756cc28e23a50c6e7cb25e2ee5e91
     fbad79bd2c921d3c88994e242f1c8711f406d0fe4df7db2aabb433a4096743d6
     408c60f3d20f06f27c567de11cafce0379d478c360be194fd2ed0281807961c8
     6c3b615054b310b3d694c3112c711c4b1cf1c891d5ed6dbf4a5d0113a459e8a5
     47b77b8cd72ae40b92d9e959271a7815c629fd94bce3f1054792f6ff6775bd59
     b284e44fba3d7c6a85ba091688784384b2798c351e7feed579d368d3674f0ee9
     fb792b41f1f83f670dc76345a0d25421a7b22d094937434a9407f38849028181
     0094b792d870be457cf7542bb2cc778333cfb81ca27fbdb9a7beee602e18c1ce
     da081c0673020a17a0157e1569301e5ee274ae1b48db652bed2e152e03b8b4f6
     89bd7267ac231d12a8c8ffe8a097ff54668b81e27f570e051d63c28c96acb539
     95fe038da7a4af2f5f780a67bc592a9caf24079394afe08db83ed564881c144a
     b0";

const RSA_2048_PUBLIC: &str = "3082010a02820101009923a96755aee5a4d01e6139fd97d461a4ffab695eb52e
     4cad1889ee9041dded6abcb66a43c1f514c525347644a752a6e87d555ad1d7ae
     37a7cf5bd5a5572496bfe48d3d7f1507998ff1b27e09c059eaba1fa1db3ad786
     8e98987da892806ca8259b88d1eca2e0f83ecfcff407870c99257f66c3103ec6
     f378e503cb5f26577fcc462c601506370d3374cf7e312809f65f11b86cbc0238
     5d2fd2502f27607113faa343cda59e47158a666384aabb84923cd395a76fb1a6
     d42840935553f8e8f2b0a6a5cf231ba7cc6fd0857ca06c079ee9ecaefeee27f2
     9dfc59e9f036c1cb79cc62702c64be37dd43f41a66f0b2ac236ab18e6ee001e2
     3156ca110b618f5bc30203010001";

const RSA_1024_PUBLIC: &str = "30818902818100bcca63d4b89386a947f651d79ea135db4063b3c17e169f92d5
     1ab72465e507e6ee4857b5f3c5a8659b19861ff6663e1468c73924fd6f767290
     dbe3570fe794cc781790dbb7bc1b08495f979da82f4a04958d4ca2ab574c3bd6
     7e01ab19a3e0e553db8e7a65330ee8fbf3f0a9c68a315f29dad7434179822bfb
     73847ede24e3a70203010001";

const RSA_1024_PKCS1: &str = "afc28054a83c13537d48c30f43a7b06a3608affe37e96bfcc5df2043404864b5
     b03e5c010baa39ff11381b59e0732286f680e616f719400db2b52d8ca9c842ae
     fa93ae5a4d0839022ed7d8a8effa1ad64c422eb5dc29054ed9a5557f650910ce
     84cbfb6cb24ddaf7c6886c1fb355a80a587ae6b1b47097a9211a07d428056814";

const RSA_1024_PSS: &str = "383251e858e910d3a8cfd2513a917100872c35ec3a33a71b0ab66e1897373a3e
     c1bff911bc4f2cfe85f3263b1c6958c42dee872df10053004115e9ebd9f40ed1
     f63ce8f09587f52a516e736441eb55189a6ef81df1ba3c94b7f2c5bcadbb64a8
     1d9041bca5cadd8d4d069b121e46fac00d59cd673a62cae6988fd6bc347b7b48";
