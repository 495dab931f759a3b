//! `tests/vectors/srtp.json`, byte for byte, and RFC 6188.

use serde_json::Value;

use super::*;
use crate::cipher::{Cipher, PacketId};
use crate::keys::{SessionKeys, Subprotocol};

fn vectors() -> Value {
    serde_json::from_str(include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/vectors/srtp.json"
    )))
    .unwrap()
}

fn bytes(value: &Value, name: &str) -> Vec<u8> {
    hex::decode(value[name].as_str().unwrap_or_else(|| panic!("{name}"))).unwrap()
}

fn profile(value: &Value) -> Profile {
    let name = value["profile"].as_str().unwrap();
    let name = name.split(' ').next().unwrap();
    Profile::ALL
        .into_iter()
        .find(|profile| profile.name() == format!("SRTP_{name}"))
        .unwrap()
}

fn contexts(value: &Value) -> (SendContext, ReceiveContext) {
    let (key, salt) = (bytes(value, "master_key"), bytes(value, "master_salt"));
    let key = MasterKey::new(profile(value), &key, &salt).unwrap();
    (
        SendContext::new(&key, provider()).unwrap(),
        ReceiveContext::new(&key, provider()).unwrap(),
    )
}

fn check_rtp(contexts: (SendContext, ReceiveContext), plain: &[u8], protected: &[u8]) {
    let (mut tx, mut rx) = contexts;
    assert_eq!(protect_rtp(&mut tx, plain).unwrap(), protected);
    assert_eq!(unprotect_rtp(&mut rx, protected).unwrap(), plain);
    assert_eq!(unprotect_rtp(&mut rx, protected), Err(Error::Replayed));
}

fn check_rtcp(contexts: (SendContext, ReceiveContext), index: u64, plain: &[u8], protected: &[u8]) {
    let (mut tx, mut rx) = contexts;
    tx.next_rtcp_index = index;
    assert_eq!(protect_rtcp(&mut tx, plain).unwrap(), protected);
    assert_eq!(unprotect_rtcp(&mut rx, protected).unwrap(), plain);
    assert_eq!(unprotect_rtcp(&mut rx, protected), Err(Error::Replayed));
}

#[test]
fn rfc_3711_b2_key_stream() {
    let vector = &vectors()["rfc3711_B2_keystream"];
    let cipher = provider()
        .block_cipher(rtc_crypto::BlockCipherAlgorithm::Aes128)
        .unwrap()
        .key(&bytes(vector, "session_key"))
        .unwrap();
    let blocks = vector["keystream"].as_array().unwrap();
    assert_eq!(blocks.len(), 6);
    for block in blocks {
        let counter = bytes(block, "counter").try_into().unwrap();
        let mut stream = [0; 16];
        cipher.ctr_apply(&counter, &mut stream);
        assert_eq!(stream.to_vec(), bytes(block, "block"));
    }
}

#[test]
fn rfc_3711_b3_key_derivation() {
    let vector = &vectors()["rfc3711_B3_kdf"];
    let key = MasterKey::new(
        Profile::Aes128CmHmacSha1_80,
        &bytes(vector, "master_key"),
        &bytes(vector, "master_salt"),
    )
    .unwrap();
    let rtp = key.derive(Subprotocol::Rtp, provider()).unwrap();
    assert_eq!(*rtp.key, bytes(vector, "rtp_cipher_key_label_00"));
    assert_eq!(
        rtp.auth.to_vec(),
        bytes(vector, "rtp_auth_key_used_first_20")
    );
    assert_eq!(rtp.salt.to_vec(), bytes(vector, "rtp_cipher_salt_label_02"));
    let rtcp = key.derive(Subprotocol::Rtcp, provider()).unwrap();
    assert_eq!(*rtcp.key, bytes(vector, "rtcp_cipher_key_label_03"));
    assert_eq!(
        rtcp.auth.to_vec(),
        bytes(vector, "rtcp_auth_key_label_04_20")
    );
    assert_eq!(rtcp.salt.to_vec(), bytes(vector, "rtcp_salt_label_05"));
}

#[test]
fn rfc_6188_7_2_key_derivation() {
    let decode = |text| hex::decode(text).unwrap();
    let key = MasterKey::new(
        Profile::Aes256CmHmacSha1_80,
        &decode("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6"),
        &decode("3b04803de51ee7c96423ab5b78d2"),
    )
    .unwrap();
    let keys = key.derive(Subprotocol::Rtp, provider()).unwrap();
    assert_eq!(
        hex::encode(&*keys.key),
        "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4"
    );
    assert_eq!(hex::encode(*keys.salt), "fa31791685ca444a9e07c6c64e93");
    assert_eq!(
        hex::encode(*keys.auth),
        "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"
    );
    // The same key with the packet that the reference data of counter mode has.
    let contexts = (
        SendContext::new(&key, provider()).unwrap(),
        ReceiveContext::new(&key, provider()).unwrap(),
    );
    check_rtp(
        contexts,
        &decode("800f1234decafbadcafebabeabababababababababababababababab"),
        &decode("800f1234decafbadcafebabef1d9de17ff251ff1aa007774b0b4b40da08d9d9a5b3a55d8873b"),
    );
}

#[test]
fn packets_of_counter_mode() {
    let vectors = vectors();
    let packets = vectors["packets"].as_array().unwrap();
    assert_eq!(packets.len(), 3);
    for vector in packets {
        let (plain, protected) = (bytes(vector, "plain"), bytes(vector, "protected"));
        match vector["srtcp_index"].as_u64() {
            Some(index) => check_rtcp(contexts(vector), index, &plain, &protected),
            None => check_rtp(contexts(vector), &plain, &protected),
        }
    }
}

#[test]
fn packets_around_a_wrap_in_order_and_out_of_order() {
    let vectors = vectors();
    let vector = &vectors["roc_wraparound"];
    let packets = vector["packets"].as_array().unwrap();
    for order in [[0, 1, 2, 3], [0, 2, 1, 3], [2, 3, 1, 0], [3, 0, 2, 1]] {
        let (mut tx, mut rx) = contexts(vector);
        for packet in packets {
            let sent = protect_rtp(&mut tx, &bytes(packet, "plain"));
            assert_eq!(sent.unwrap(), bytes(packet, "protected"));
        }
        for at in order {
            let received = unprotect_rtp(&mut rx, &bytes(&packets[at], "protected"));
            assert_eq!(received.unwrap(), bytes(&packets[at], "plain"), "{order:?}");
        }
    }
}

#[test]
fn rfc_7714_16_and_17() {
    let vectors = vectors();
    for vector in vectors["rfc7714"].as_array().unwrap() {
        let profile = profile(vector);
        let cipher = |protocol| {
            let mut keys = SessionKeys {
                key: bytes(vector, "session_key_not_master").into(),
                auth: [0; 20].into(),
                salt: [0; 14].into(),
            };
            keys.salt[..12].copy_from_slice(&bytes(vector, "session_salt"));
            Cipher::new(profile, protocol, &keys, provider()).unwrap()
        };
        let contexts = || {
            let [send, receive] = [(); 2].map(|()| {
                let (rtp, rtcp) = (cipher(Subprotocol::Rtp), cipher(Subprotocol::Rtcp));
                (rtp, rtcp)
            });
            (
                SendContext::from_ciphers(profile, send.0, send.1),
                ReceiveContext::from_ciphers(profile, receive.0, receive.1),
            )
        };
        check_rtp(
            contexts(),
            &bytes(vector, "rtp_plain"),
            &bytes(vector, "rtp_protected"),
        );
        let index = vector["srtcp_index"].as_u64().unwrap();
        check_rtcp(
            contexts(),
            index,
            &bytes(vector, "rtcp_plain"),
            &bytes(vector, "rtcp_protected_E1"),
        );
        // Authentic, but not encrypted.
        let (_, mut rx) = contexts();
        let refused = unprotect_rtcp(&mut rx, &bytes(vector, "rtcp_protected_E0_auth_only"));
        assert_eq!(refused, Err(Error::Unencrypted));
    }
}

#[test]
fn nonces_of_rfc_7714() {
    let vectors = vectors();
    let vector = &vectors["rfc7714"][0];
    let salt = bytes(vector, "session_salt").try_into().unwrap();
    let id = PacketId {
        ssrc: 0x5501_a0b2,
        index: 0xf17b,
    };
    assert_eq!(id.nonce(&salt).to_vec(), bytes(vector, "rtp_iv"));
}

#[test]
fn gcm_with_key_derivation() {
    let vectors = vectors();
    let vector = &vectors["gcm_with_kdf"];
    let key = MasterKey::new(
        profile(vector),
        &bytes(vector, "master_key"),
        &bytes(vector, "master_salt"),
    )
    .unwrap();
    for (protocol, name) in [(Subprotocol::Rtp, "rtp"), (Subprotocol::Rtcp, "rtcp")] {
        let keys = key.derive(protocol, provider()).unwrap();
        assert_eq!(*keys.key, bytes(vector, &format!("{name}_key")));
        assert_eq!(keys.salt[..12], bytes(vector, &format!("{name}_salt")));
    }
    check_rtp(
        contexts(vector),
        &bytes(vector, "rtp_plain"),
        &bytes(vector, "rtp_protected"),
    );
    check_rtcp(
        contexts(vector),
        vector["srtcp_index"].as_u64().unwrap(),
        &bytes(vector, "rtcp_plain"),
        &bytes(vector, "rtcp_protected"),
    );
}
