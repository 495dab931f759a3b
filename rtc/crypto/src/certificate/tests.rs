use proptest::prelude::{any, prop, proptest};
use serde_json::Value;

use super::*;

macro_rules! testdata {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/", $name))
    };
}

macro_rules! session {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/vectors/",
            $name
        )))
        .unwrap()
    };
}

/// The certificate of a PEM text.
fn der_of(pem: &str) -> Vec<u8> {
    let blocks = pem::read(pem).unwrap();
    blocks
        .iter()
        .find(|it| it.label == PEM_CERTIFICATE)
        .unwrap()
        .der
        .to_vec()
}

#[test]
fn certificates_of_other_programs_parse() {
    let cases = [
        (testdata!("openssl_p256.pem"), KeyAlgorithm::EcdsaP256, 65),
        (testdata!("openssl_p384.pem"), KeyAlgorithm::EcdsaP384, 97),
        (testdata!("openssl_ed25519.pem"), KeyAlgorithm::Ed25519, 32),
        (testdata!("openssl_rsa2048.pem"), KeyAlgorithm::Rsa, 270),
        (testdata!("aiortc.pem"), KeyAlgorithm::EcdsaP256, 65),
        (
            testdata!("chromium_like_p256.crt"),
            KeyAlgorithm::EcdsaP256,
            65,
        ),
        (testdata!("chromium_like_rsa.crt"), KeyAlgorithm::Rsa, 270),
        (testdata!("version1.crt"), KeyAlgorithm::EcdsaP256, 65),
    ];
    for (pem, algorithm, key_len) in cases {
        let peer = PeerCertificate::parse(&der_of(pem)).unwrap();
        assert_eq!(peer.algorithm, algorithm);
        assert_eq!(peer.subject_public_key.len(), key_len);
    }
}

#[test]
fn keys_of_unknown_type_or_form_are_unsupported() {
    for pem in [
        testdata!("openssl_p521.pem"),
        testdata!("openssl_p256_explicit.crt"),
        testdata!("openssl_p256_compressed.crt"),
    ] {
        assert_eq!(
            PeerCertificate::parse(&der_of(pem)),
            Err(CertificateError::UnsupportedKey)
        );
    }
}

#[test]
fn certificates_of_recorded_handshakes_parse() {
    let dtls12 = session!("dtls12_session.json");
    for side in ["server_der", "client_der"] {
        let der = hex::decode(dtls12["certificates"][side].as_str().unwrap()).unwrap();
        assert_eq!(
            PeerCertificate::parse(&der).unwrap().algorithm,
            KeyAlgorithm::EcdsaP256
        );
    }
    for der in dtls13_certificates() {
        assert_eq!(
            PeerCertificate::parse(&der).unwrap().algorithm,
            KeyAlgorithm::EcdsaP256
        );
    }
}

/// The first entry of each Certificate message (RFC 8446 section 4.4.2) of the recorded handshake.
fn dtls13_certificates() -> Vec<Vec<u8>> {
    let session = session!("dtls13_session.json");
    let messages = session["encrypted_handshake_messages_transcript"]
        .as_array()
        .unwrap();
    let certificates: Vec<Vec<u8>> = messages
        .iter()
        .map(|message| hex::decode(message.as_str().unwrap()).unwrap())
        .filter(|message| message[0] == 11)
        .map(|message| {
            let list = 4 + 1 + usize::from(message[4]) + 3;
            let length = &message[list..list + 3];
            let length =
                usize::from(length[0]) << 16 | usize::from(length[1]) << 8 | usize::from(length[2]);
            message[list + 3..list + 3 + length].to_vec()
        })
        .collect();
    assert!(!certificates.is_empty());
    certificates
}

#[test]
fn trailing_bytes_and_oversized_input_are_refused() {
    let der = der_of(testdata!("aiortc.pem"));
    assert!(PeerCertificate::parse(&der).is_ok());
    let trailing = [der.as_slice(), &[0]].concat();
    assert_eq!(
        PeerCertificate::parse(&trailing),
        Err(CertificateError::Der)
    );
    assert_eq!(
        PeerCertificate::parse(&vec![0x30; MAX_DER_LEN + 1]),
        Err(CertificateError::Der)
    );
    assert_eq!(PeerCertificate::parse(&[]), Err(CertificateError::Der));
    for length in 0..der.len() {
        assert_eq!(
            PeerCertificate::parse(&der[..length]),
            Err(CertificateError::Der)
        );
    }
}

#[test]
fn deep_nesting_is_refused() {
    // Indefinite and definite sequences in sequences.
    assert!(PeerCertificate::parse(&[0x30, 0x80].repeat(30_000)).is_err());
    let mut nested = Vec::new();
    for _ in 0..20_000 {
        let length = (nested.len() as u16).to_be_bytes();
        if nested.len() > 60_000 {
            break;
        }
        nested.splice(0..0, [0x30, 0x82, length[0], length[1]]);
    }
    assert!(PeerCertificate::parse(&nested).is_err());
}

#[test]
fn a_scheme_has_to_fit_the_key() {
    use SignatureScheme as Scheme;
    let accepted = |algorithm, tls12: bool| -> Vec<Scheme> {
        let peer = PeerCertificate {
            algorithm,
            subject_public_key: Vec::new(),
        };
        let accepts = |scheme: &Scheme| match tls12 {
            true => peer.accepts_tls12(*scheme),
            false => peer.accepts(*scheme),
        };
        Scheme::ALL.into_iter().filter(accepts).collect()
    };
    let (p256, p384) = (Scheme::EcdsaSecp256r1Sha256, Scheme::EcdsaSecp384r1Sha384);
    assert_eq!(accepted(KeyAlgorithm::EcdsaP256, false), [p256]);
    assert_eq!(accepted(KeyAlgorithm::EcdsaP384, false), [p384]);
    assert_eq!(accepted(KeyAlgorithm::EcdsaP256, true), [p256, p384]);
    assert_eq!(accepted(KeyAlgorithm::EcdsaP384, true), [p256, p384]);
    for tls12 in [false, true] {
        assert_eq!(accepted(KeyAlgorithm::Ed25519, tls12), [Scheme::Ed25519]);
        assert_eq!(accepted(KeyAlgorithm::Rsa, tls12).len(), 6);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = PeerCertificate::parse(&bytes);
    }

    #[test]
    fn mutated_certificates_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        which in 0..4usize,
    ) {
        let pem = [
            testdata!("openssl_p256.pem"),
            testdata!("openssl_rsa2048.pem"),
            testdata!("openssl_ed25519.pem"),
            testdata!("aiortc.pem"),
        ][which];
        let mut der = der_of(pem);
        for (index, value) in changes {
            let index = index.index(der.len());
            der[index] = value;
        }
        let _ = PeerCertificate::parse(&der);
    }
}

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod own {
    use rtc_shared::Rng;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_767_225_600);

    fn provider() -> &'static CryptoProvider {
        crate::default_provider()
    }

    fn generate(params: &CertificateParams) -> Certificate {
        Certificate::generate(provider(), params, &mut Rng::from_seed([3; 32])).unwrap()
    }

    #[test]
    fn a_generated_certificate_has_what_was_asked() {
        for key in [
            KeyAlgorithm::EcdsaP256,
            KeyAlgorithm::EcdsaP384,
            KeyAlgorithm::Ed25519,
        ] {
            let mut params = CertificateParams::new(NOW);
            params.key = key;
            params.common_name = "name é".to_owned();
            let certificate = generate(&params);
            assert_eq!(certificate.algorithm(), key);
            assert_eq!(certificate.expires(), NOW + 30 * DAY);
            assert!(!certificate.is_expired(NOW + 30 * DAY));
            assert!(certificate.is_expired(NOW + 30 * DAY + Duration::from_nanos(1)));

            let parsed = parse(certificate.der()).unwrap();
            assert_eq!(
                parsed.validity().not_before.timestamp(),
                (NOW - DAY).as_secs() as i64
            );
            assert_eq!(parsed.subject(), parsed.issuer());
            let name = parsed.subject().iter_common_name().next().unwrap();
            assert_eq!(name.as_str().unwrap(), "name é");
            assert_eq!(parsed.version().0, 2);
            let serial = parsed.raw_serial();
            assert_eq!(serial.len(), 16);
            assert!((0x40..0x80).contains(&serial[0]));
        }
    }

    #[test]
    fn serial_numbers_and_keys_differ_and_the_serial_follows_the_seed() {
        let params = CertificateParams::new(NOW);
        let mut rng = Rng::from_seed([4; 32]);
        let make = |rng: &mut Rng| Certificate::generate(provider(), &params, rng).unwrap();
        let (a, b) = (make(&mut rng), make(&mut rng));
        let again = make(&mut Rng::from_seed([4; 32]));
        let serial = |it: &Certificate| parse(it.der()).unwrap().raw_serial().to_vec();
        assert_ne!(serial(&a), serial(&b));
        assert_eq!(serial(&a), serial(&again));
        assert_ne!(
            a.signing_key().public_key(),
            again.signing_key().public_key()
        );
        assert_ne!(a, b);
        assert_eq!(a, a.clone());
    }

    #[test]
    fn times_at_both_ends_are_clamped() {
        let mut params = CertificateParams::new(Duration::ZERO);
        params.validity = Duration::ZERO;
        let first = generate(&params);
        assert_eq!(
            parse(first.der())
                .unwrap()
                .validity()
                .not_before
                .timestamp(),
            0
        );
        assert_eq!(first.expires(), Duration::ZERO);
        let mut params = CertificateParams::new(Duration::MAX);
        params.validity = Duration::MAX;
        assert_eq!(generate(&params).expires(), LAST_SECOND);
        params.unix_time = Duration::from_secs(2_600_000_000);
        params.validity = DAY;
        assert_eq!(generate(&params).expires(), params.unix_time + DAY);
    }

    #[test]
    fn rsa_is_not_generated() {
        let mut params = CertificateParams::new(NOW);
        params.key = KeyAlgorithm::Rsa;
        let made = Certificate::generate(provider(), &params, &mut Rng::from_seed([0; 32]));
        assert_eq!(made.err(), Some(CertificateError::UnsupportedKey));
    }

    #[test]
    fn pem_is_read_in_either_order() {
        let certificate = generate(&CertificateParams::new(NOW));
        let pem = certificate.to_pem();
        let (key, rest) = pem.split_at(pem.find("-----BEGIN CERTIFICATE").unwrap());
        for text in [
            pem.clone(),
            format!("{rest}{key}"),
            pem.replace('\n', "\r\n"),
        ] {
            let read = Certificate::from_pem(provider(), &text).unwrap();
            assert_eq!(read, certificate);
            assert_eq!(read.expires(), certificate.expires());
            assert_eq!(read.to_pem(), pem);
        }
    }

    #[test]
    fn pem_of_other_programs_is_read() {
        for (pem, algorithm) in [
            (testdata!("openssl_p256.pem"), KeyAlgorithm::EcdsaP256),
            (testdata!("openssl_p384.pem"), KeyAlgorithm::EcdsaP384),
            (testdata!("openssl_ed25519.pem"), KeyAlgorithm::Ed25519),
            (testdata!("openssl_rsa2048.pem"), KeyAlgorithm::Rsa),
            (testdata!("aiortc.pem"), KeyAlgorithm::EcdsaP256),
        ] {
            let certificate = Certificate::from_pem(provider(), pem).unwrap();
            assert_eq!(certificate.algorithm(), algorithm);
            let again = Certificate::from_pem(provider(), &certificate.to_pem()).unwrap();
            assert_eq!(again, certificate);
        }
    }

    #[test]
    fn unusable_pem_is_refused_with_a_reason() {
        let error = |pem: &str| Certificate::from_pem(provider(), pem).unwrap_err();
        let pem = generate(&CertificateParams::new(NOW)).to_pem();
        let (key, certificate) = pem.split_at(pem.find("-----BEGIN CERTIFICATE").unwrap());
        assert_eq!(error(""), CertificateError::Pem("no CERTIFICATE block"));
        assert_eq!(error(key), CertificateError::Pem("no CERTIFICATE block"));
        assert_eq!(
            error(certificate),
            CertificateError::Pem("no PRIVATE KEY block")
        );
        assert_eq!(
            error(testdata!("openssl_sec1_key.pem")),
            CertificateError::Pem("the private key is not in unencrypted PKCS#8 form")
        );
        let other = generate(&CertificateParams::new(NOW)).to_pem();
        let (other_key, _) = other.split_at(other.find("-----BEGIN CERTIFICATE").unwrap());
        assert_eq!(
            error(&format!("{other_key}{certificate}")),
            CertificateError::KeyMismatch
        );
        let rsa = testdata!("openssl_rsa2048.pem");
        let rsa = &rsa[rsa.find("-----BEGIN PRIVATE").unwrap()..];
        assert_eq!(
            error(&format!("{certificate}{rsa}")),
            CertificateError::KeyMismatch
        );
        assert_eq!(
            error(testdata!("openssl_p521.pem")),
            CertificateError::UnsupportedKey
        );
        assert_eq!(
            error(testdata!("openssl_rsa1024.pem")),
            CertificateError::UnsupportedKey
        );
        let broken = certificate.replace("MII", "AII").replace("MIH", "AIH");
        assert_eq!(error(&format!("{key}{broken}")), CertificateError::Der);
    }

    #[test]
    fn debug_output_has_no_secret() {
        let certificate = generate(&CertificateParams::new(NOW));
        let text = format!("{certificate:?}");
        assert_eq!(
            text,
            "Certificate { algorithm: EcdsaP256, expires: 1769817600s, .. }"
        );
    }

    #[test]
    fn the_fingerprint_is_the_hash_of_the_der_form() {
        let session = session!("dtls12_session.json");
        let der = hex::decode(session["certificates"]["server_der"].as_str().unwrap()).unwrap();
        let fingerprint = Fingerprint::of(&der, HashAlgorithm::Sha256, provider()).unwrap();
        assert!(fingerprint.matches(&der, provider()));
        let certificate = generate(&CertificateParams::new(NOW));
        assert!(!fingerprint.matches(certificate.der(), provider()));
        let own = certificate
            .fingerprint(HashAlgorithm::Sha256, provider())
            .unwrap();
        assert_eq!(
            Some(own),
            Fingerprint::of(certificate.der(), HashAlgorithm::Sha256, provider())
        );
    }

    #[test]
    fn recorded_certificates_are_signed_by_their_key() {
        for der in dtls13_certificates() {
            let parsed = parse(&der).unwrap();
            let peer = PeerCertificate::parse(&der).unwrap();
            provider()
                .verifier
                .verify(
                    SignatureScheme::EcdsaSecp256r1Sha256,
                    &peer.subject_public_key,
                    parsed.tbs_certificate.as_ref(),
                    &parsed.signature_value.data,
                )
                .unwrap();
        }
    }
}
