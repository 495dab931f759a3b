use rtc_crypto::{HashAlgorithm, HmacAlgorithm, SignatureScheme};
use serde_json::Value;

use super::schedule::prf;
use super::*;
use crate::message::{self, CertificateChain, ClientHello, ServerHello, ServerKeyExchange};
use crate::record::{APPLICATION_DATA, HANDSHAKE, RecordHeader};
use crate::testing::{PROVIDER, vectors};

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}

/// The state of both peers of the recorded session, from its master secret.
fn recorded_session(recorded: &Value) -> Session {
    let mut session = Session::new();
    session.client_random = array(&recorded["client_random"]);
    session.server_random = array(&recorded["server_random"]);
    session.suite = CipherSuite::from_code(0xc02b).unwrap();
    session.extended_master_secret = true;
    session.master_secret = MasterSecret::new(bytes(&recorded["master_secret"]));
    session
}

fn config() -> Config {
    Config::new(PROVIDER, crate::testing::certificate())
}

#[test]
fn prf_gives_the_known_answer() {
    let vector = &vectors("prf_hkdf.json")["tls12_prf_sha256"];
    let key = PROVIDER
        .hmac(HmacAlgorithm::Sha256)
        .unwrap()
        .key(&bytes(&vector["secret"]));
    let label = vector["label"].as_str().unwrap().as_bytes();
    let expected = bytes(&vector["out100"]);
    for length in [0, 1, 31, 32, 33, 64, 100] {
        let mut out = vec![0; length];
        prf(key.as_ref(), label, &[&bytes(&vector["seed"])], &mut out);
        assert_eq!(out, expected[..length]);
    }
}

#[test]
fn every_protected_record_of_the_recorded_session_opens() {
    let recorded = vectors("dtls12_session.json");
    let session = recorded_session(&recorded);
    let mut rng = Rng::from_seed([0; 32]);
    // What the one side writes with, the other reads with.
    let (client, server) = session
        .derive_ciphers(&config(), Role::Client, &mut rng)
        .unwrap();
    let (mut from_client, mut from_server) = (RecordReader::default(), RecordReader::default());
    from_client.install(client);
    from_server.install(server);
    let mut opened = 0;
    for record in recorded["records"].as_array().unwrap() {
        if record["epoch"] != 1 {
            continue;
        }
        let mut wire = bytes(&record["wire"]);
        let header = RecordHeader::parse(&wire).unwrap();
        assert!(matches!(header.content_type, HANDSHAKE | APPLICATION_DATA));
        let reader = if record["dir"] == "client" {
            &mut from_client
        } else {
            &mut from_server
        };
        let range = reader.open(header, &mut wire).unwrap();
        assert_eq!(wire[range], bytes(&record["plaintext"]));
        opened += 1;
    }
    assert_eq!(opened, 4);
}

#[test]
fn records_of_the_recorded_session_are_written_alike() {
    let recorded = vectors("dtls12_session.json");
    let session = recorded_session(&recorded);
    let mut rng = Rng::from_seed([0; 32]);
    for (name, role) in [("client", Role::Client), ("server", Role::Server)] {
        let (write, _) = session.derive_ciphers(&config(), role, &mut rng).unwrap();
        let mut writer = RecordWriter::default();
        writer.install(write);
        for record in recorded["records"].as_array().unwrap() {
            if record["epoch"] != 1 || record["dir"] != name {
                continue;
            }
            // The recorded peer's explicit nonces are random but for the first; ours are the record
            // number, so only headers and lengths can be compared.
            let mut buf = Vec::new();
            let epoch = crate::record::v12::Epoch::Sealed;
            let start = writer.begin(epoch, &mut buf);
            buf.extend(bytes(&record["plaintext"]));
            let content_type = record["type"].as_u64().unwrap() as u8;
            writer.finish(epoch, content_type, &mut buf, start).unwrap();
            let wire = bytes(&record["wire"]);
            assert_eq!(buf[..13], wire[..13]);
            assert_eq!(buf.len(), wire.len());
        }
    }
}

#[test]
fn both_finished_messages_of_the_recorded_session_verify() {
    let recorded = vectors("dtls12_session.json");
    let session = recorded_session(&recorded);
    let hash = PROVIDER.hash(HashAlgorithm::Sha256).unwrap();
    let mut transcript = Transcript::default();
    let mut verified = 0;
    for entry in recorded["handshake_transcript_messages"]
        .as_array()
        .unwrap()
    {
        let raw = bytes(&entry["hex"]);
        match raw[0] {
            message::FINISHED => {
                let sender = if entry["from"] == "client" {
                    Role::Client
                } else {
                    Role::Server
                };
                let current = transcript.hash(hash);
                let expected = session.verify_data(PROVIDER, sender, &current).unwrap();
                assert_eq!(message::verify_data(body(&raw)).unwrap(), &expected);
                verified += 1;
            }
            message::CLIENT_KEY_EXCHANGE => {
                transcript.add(&raw);
                let session_hash = transcript.hash(hash);
                let expected = bytes(&recorded["ems_session_hash_through_ClientKeyExchange"]);
                assert_eq!(session_hash.as_ref(), expected);
                continue;
            }
            _ => {}
        }
        transcript.add(&raw);
    }
    assert_eq!(verified, 2);
}

#[test]
fn messages_of_the_recorded_session_read_and_their_signatures_verify() {
    let recorded = vectors("dtls12_session.json");
    let config = config();
    let mut session = Session::new();
    let mut transcript = Transcript::default();
    let mut keys = Vec::new();
    let mut signatures = 0;
    for entry in recorded["handshake_transcript_messages"]
        .as_array()
        .unwrap()
    {
        let raw = bytes(&entry["hex"]);
        let body = body(&raw);
        match raw[0] {
            message::CLIENT_HELLO => {
                let hello = ClientHello::parse(body).unwrap();
                assert_eq!(hello.cookie, b"0123456789abcdef0123");
                assert!(hello.extensions.extended_master_secret);
                session.client_random = hello.random;
            }
            message::SERVER_HELLO => {
                let hello = ServerHello::parse(body).unwrap();
                assert_eq!(hello.cipher_suite, 0xc02b);
                assert_eq!(
                    hello.extensions.use_srtp.unwrap().profiles.iter().next(),
                    Some(7)
                );
                session.server_random = hello.random;
            }
            message::CERTIFICATE => {
                let leaf = CertificateChain::parse(body).unwrap().leaf.unwrap();
                let name = format!("{}_sdp_fingerprint_sha256", entry["from"].as_str().unwrap());
                let fingerprint = recorded["certificates"][name].as_str().unwrap();
                let fingerprint: Fingerprint = format!("sha-256 {fingerprint}").parse().unwrap();
                let mut config = config.clone();
                config.peer_fingerprints = vec![fingerprint];
                let mut identity = PeerIdentity::default();
                keys.push(identity.accept(&config, Some(leaf)).unwrap());
                assert!(identity.verified);
                let mut forged = leaf.to_vec();
                *forged.last_mut().unwrap() ^= 1;
                let refused = PeerIdentity::default().accept(&config, Some(&forged));
                assert_eq!(refused, Err(Error::FingerprintMismatch));
            }
            message::SERVER_KEY_EXCHANGE => {
                let exchange = ServerKeyExchange::parse(body).unwrap();
                let content = client::signed_content(&session, exchange.params);
                verify_signature(&config, &keys[0], exchange.signed, &content).unwrap();
                let refused = verify_signature(&config, &keys[0], exchange.signed, b"other");
                assert_eq!(refused, Err(Error::BadSignature));
                signatures += 1;
            }
            message::CERTIFICATE_VERIFY => {
                let signed = Signed::parse(body, "CertificateVerify").unwrap();
                verify_signature(&config, &keys[1], signed, &transcript.raw).unwrap();
                let scheme = SignatureScheme::RsaPkcs1Sha256.code();
                let refused = verify_signature(
                    &config,
                    &keys[1],
                    Signed { scheme, ..signed },
                    &transcript.raw,
                );
                assert!(matches!(refused, Err(Error::IllegalParameter(_))));
                signatures += 1;
            }
            _ => {}
        }
        transcript.add(&raw);
    }
    assert_eq!((keys.len(), signatures), (2, 2));
}

#[test]
fn the_exporter_gives_the_recorded_keys() {
    let recorded = vectors("dtls12_session.json");
    let session = recorded_session(&recorded);
    let label = crate::SRTP_EXPORTER_LABEL;
    let mut out = [0; 60];
    session.export(PROVIDER, label, None, &mut out).unwrap();
    assert_eq!(
        &out[..],
        bytes(&recorded["exporter_EXTRACTOR-dtls_srtp_60"])
    );
    session
        .export(PROVIDER, label, Some(&[0x00, 0x11]), &mut out)
        .unwrap();
    assert_eq!(&out[..], bytes(&recorded["exporter_with_context_0011"]));
    let mut with_empty = [0; 60];
    session
        .export(PROVIDER, label, Some(&[]), &mut with_empty)
        .unwrap();
    session.export(PROVIDER, label, None, &mut out).unwrap();
    assert_ne!(with_empty, out, "an empty context is not the same as none");
    let refused = session.export(PROVIDER, b"key expansion", None, &mut out);
    assert_eq!(refused, Err(Error::ReservedLabel));
    let refused = session.export(PROVIDER, label, Some(&[0; 65536]), &mut out);
    assert_eq!(refused, Err(Error::ContextTooLong));
}

#[test]
fn a_certificate_is_taken_but_not_verified_while_no_fingerprint_is_known() {
    let certificate = crate::testing::certificate();
    let config = config();
    let mut identity = PeerIdentity::default();
    identity.accept(&config, Some(certificate.der())).unwrap();
    assert!(!identity.verified);
    identity
        .late_fingerprints
        .extend(certificate.fingerprint(HashAlgorithm::Sha384, PROVIDER));
    identity.verify(&config).unwrap();
    assert!(identity.verified);
    assert_eq!(
        PeerIdentity::default().accept(&config, None),
        Err(Error::MissingCertificate)
    );
    assert_eq!(
        PeerIdentity::default().accept(&config, Some(b"no certificate")),
        Err(Error::BadCertificate)
    );
}
