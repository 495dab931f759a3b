use std::net::SocketAddr;
use std::time::Duration;

use rtc_crypto::ring::PROVIDER;
use rtc_crypto::{HmacAlgorithm, HmacKey};
use serde_json::Value;

use crate::{
    AttributeType, Class, DecodeError, HEADER_LEN, IntegrityError, Message, MessageBuilder, Method,
    PasswordAlgorithm, SecurityFeatures, TransactionId, is_stun, long_term_key, message_len,
    user_hash,
};

mod properties;

const STUN_TURN: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/vectors/stun_turn.json"
));
const MALFORMED: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/vectors/malformed/stun.json"
));
const FUZZ_SEEDS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/vectors/fuzz_seeds/stun.json"
));

const ID: TransactionId = TransactionId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
const ICE_PASSWORD: &[u8] = b"asd88fgpdd777uzjYhagZg";

fn sha1(key: &[u8]) -> Box<dyn HmacKey> {
    PROVIDER.hmac(HmacAlgorithm::Sha1).unwrap().key(key)
}

fn sha256(key: &[u8]) -> Box<dyn HmacKey> {
    PROVIDER.hmac(HmacAlgorithm::Sha256).unwrap().key(key)
}

fn bytes(entry: &Value, field: &str) -> Vec<u8> {
    hex::decode(entry[field].as_str().unwrap()).unwrap()
}

fn text<'v>(entry: &'v Value, field: &str) -> Option<&'v str> {
    entry[field].as_str()
}

/// The vectors that are whole messages: all but the one of RFC 8489 whose header length is wrong.
fn vectors() -> Vec<Value> {
    let file: Value = serde_json::from_str(STUN_TURN).unwrap();
    let all = file["vectors"].as_array().unwrap();
    all.iter()
        .filter(|each| !text(each, "name").unwrap().contains("B.1"))
        .cloned()
        .collect()
}

fn vector(name: &str) -> Value {
    let file: Value = serde_json::from_str(STUN_TURN).unwrap();
    let all = file["vectors"].as_array().unwrap();
    all.iter()
        .find(|each| text(each, "name").unwrap().contains(name))
        .unwrap()
        .clone()
}

fn malformed(name: &str) -> Vec<u8> {
    let all: Vec<Value> = serde_json::from_str(MALFORMED).unwrap();
    bytes(
        all.iter()
            .find(|each| text(each, "name") == Some(name))
            .unwrap(),
        "hex",
    )
}

/// Calls everything that reads; the tests that use it only ask that nothing panics.
fn exercise(datagram: &[u8]) {
    let _ = is_stun(datagram);
    let Ok(message) = Message::parse(datagram) else {
        return;
    };
    assert!(is_stun(datagram));
    let _ = format!("{message:?}");
    let _ = message.validate();
    assert!(message.unknown_required(&[]).len() <= 32);
    let _ = message.verify_fingerprint();
    let _ = message.verify_integrity(&*sha1(b"key"));
    let _ = message.verify_integrity_sha256(&*sha256(b"key"));
    assert!(message.xor_peer_addresses().count() <= datagram.len());
    assert!(message.address_error_codes().count() <= datagram.len());
    assert!(message.unknown_attributes().map_or(0, Iterator::count) <= datagram.len());
    assert!(message.password_algorithms().map_or(0, Iterator::count) <= datagram.len());
    let _ = message.error_code().map(|error| error.to_string());
    let _ = message.nonce().map(SecurityFeatures::from_nonce);
}

/// Builds a message with the attributes of another one, its integrity computed anew.
fn rebuild(message: &Message<'_>, key: &[u8]) -> Vec<u8> {
    let mut builder =
        MessageBuilder::new(message.class(), message.method(), message.transaction_id());
    for (typ, value) in message.attributes() {
        builder = match typ {
            AttributeType::MESSAGE_INTEGRITY => builder.message_integrity(&*sha1(key)),
            AttributeType::MESSAGE_INTEGRITY_SHA256 => {
                builder.message_integrity_sha256_truncated(&*sha256(key), value.len())
            }
            AttributeType::FINGERPRINT => builder.fingerprint(),
            _ => builder.attribute(typ, value),
        };
    }
    builder.finish().to_vec()
}

#[test]
fn known_messages_verify_and_no_others() {
    for entry in vectors() {
        let name = text(&entry, "name").unwrap();
        let datagram = bytes(&entry, "hex");
        let key = bytes(&entry, "key_hex");
        let message = Message::parse(&datagram).unwrap();
        message.validate().unwrap();

        let expected = |check: &str| match entry["checks"]
            .as_array()
            .unwrap()
            .iter()
            .any(|each| each == check)
        {
            true => Ok(()),
            false => Err(IntegrityError::Missing),
        };
        assert_eq!(
            message.verify_integrity(&*sha1(&key)),
            expected("mi"),
            "{name}"
        );
        assert_eq!(
            message.verify_integrity_sha256(&*sha256(&key)),
            expected("mi256"),
            "{name}"
        );
        assert_eq!(message.verify_fingerprint(), expected("fp"), "{name}");
        assert_eq!(
            message.has_integrity(),
            expected("mi").is_ok() || expected("mi256").is_ok(),
            "{name}"
        );
        if message.has_integrity() {
            let wrong = message.verify_integrity(&*sha1(b"wrong"));
            assert_eq!(wrong, Err(IntegrityError::Mismatch), "{name}");
        }
    }
}

#[test]
fn known_messages_are_rebuilt_byte_for_byte() {
    for entry in vectors() {
        let name = text(&entry, "name").unwrap();
        let datagram = bytes(&entry, "hex");
        let rebuilt = rebuild(
            &Message::parse(&datagram).unwrap(),
            &bytes(&entry, "key_hex"),
        );
        if ["2.1_", "2.2_", "2.3_"]
            .into_iter()
            .any(|part| name.contains(part))
        {
            // Padded with spaces, which integrity and fingerprint cover but we do not send.
            assert!(datagram.contains(&0x20), "{name}");
            let rebuilt = Message::parse(&rebuilt).unwrap();
            let unsigned = |message: &Message<'_>| {
                let all = message
                    .attributes()
                    .map(|(typ, value)| (typ, value.to_vec()));
                all.take_while(|each| each.0 != AttributeType::MESSAGE_INTEGRITY)
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                unsigned(&rebuilt),
                unsigned(&Message::parse(&datagram).unwrap()),
                "{name}"
            );
        } else {
            assert_eq!(hex::encode(rebuilt), hex::encode(datagram), "{name}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_protected_message_is_noticed() {
    let entry = vector("ice_check_controlling_nominating");
    let datagram = bytes(&entry, "hex");
    let key = sha1(&bytes(&entry, "key_hex"));
    for bit in 0..datagram.len() * 8 {
        let mut flipped = datagram.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(message) = Message::parse(&flipped) else {
            continue;
        };
        assert!(
            message.verify_fingerprint().is_err() || message.verify_integrity(&*key).is_err(),
            "bit {bit}"
        );
        let protected_end = datagram.len() - 8;
        if bit / 8 < protected_end {
            assert!(message.verify_integrity(&*key).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn rfc_5769_request_has_its_attributes() {
    let entry = vector("2.1_request");
    let datagram = bytes(&entry, "hex");
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(
        (message.class(), message.method()),
        (Class::Request, Method::BINDING)
    );
    assert_eq!(
        message.transaction_id().to_string(),
        "b7e7a701bc34d686fa87dfae"
    );
    assert_eq!(message.software(), text(&entry, "software"));
    assert_eq!(message.username(), text(&entry, "username"));
    assert_eq!(
        message.priority().map(u64::from),
        entry["priority"].as_u64()
    );
    assert_eq!(message.ice_controlled(), entry["ice_controlled"].as_u64());
    assert_eq!(message.ice_controlling(), None);
    assert!(!message.use_candidate());
    assert_eq!(
        message.unknown_required(&[AttributeType::USERNAME]),
        [AttributeType::PRIORITY]
    );
}

#[test]
fn rfc_5769_responses_have_their_addresses() {
    for name in ["2.2_response_ipv4", "2.3_response_ipv6"] {
        let entry = vector(name);
        let address: SocketAddr = text(&entry, "xor_mapped").unwrap().parse().unwrap();
        let datagram = bytes(&entry, "hex");
        let message = Message::parse(&datagram).unwrap();
        assert_eq!(message.class(), Class::Success);
        assert_eq!(message.xor_mapped_address(), Some(address));
        assert_eq!(message.software(), text(&entry, "software"));
    }
}

#[test]
fn rfc_5769_long_term_request_has_utf8_and_its_key() {
    let entry = vector("2.4_request_long_term");
    let datagram = bytes(&entry, "hex");
    let message = Message::parse(&datagram).unwrap();
    let (username, realm) = (message.username().unwrap(), message.realm().unwrap());
    assert_eq!(Some(username), text(&entry, "username"));
    assert_eq!(Some(realm), text(&entry, "realm"));
    assert_eq!(message.nonce(), text(&entry, "nonce").map(str::as_bytes));
    let password = text(&entry, "password_after_prep").unwrap();
    let key = long_term_key(&PROVIDER, PasswordAlgorithm::Md5, username, realm, password).unwrap();
    assert_eq!(hex::encode(key), text(&entry, "key_hex").unwrap());
}

/// The header of the example in RFC 8489 appendix B.1 has a length that is 20 too large.
#[test]
fn rfc_8489_example_gives_user_hash_and_key_but_no_message() {
    let entry = vector("B.1");
    let datagram = bytes(&entry, "hex");
    assert_eq!(Message::parse(&datagram), Err(DecodeError::Length));

    let field = |name| text(&entry, name).unwrap();
    let (username, realm) = (field("username"), field("realm"));
    let hash = user_hash(&PROVIDER, username, realm).unwrap();
    assert_eq!(hex::encode(hash), field("userhash_sha256(user:realm)"));
    let password = field("password_after_prep");
    for (algorithm, name) in [
        (PasswordAlgorithm::Md5, "md5(u:r:p)"),
        (PasswordAlgorithm::Sha256, "sha256(u:r:p)"),
    ] {
        let key = long_term_key(&PROVIDER, algorithm, username, realm, password).unwrap();
        assert_eq!(
            hex::encode(key),
            entry["key_candidates"][name].as_str().unwrap()
        );
    }

    // With the length that the body really has, all but the integrity is in order.
    let mut mended = datagram;
    let length = (mended.len() - HEADER_LEN) as u16;
    mended[2..4].copy_from_slice(&length.to_be_bytes());
    let message = Message::parse(&mended).unwrap();
    assert_eq!(message.userhash(), Some(hash));
    assert_eq!(message.realm(), Some(realm));
}

#[test]
fn long_term_keys_are_the_known_ones() {
    let file: Value = serde_json::from_str(STUN_TURN).unwrap();
    let known = &file["turn_long_term_key"];
    for (algorithm, name) in [
        (PasswordAlgorithm::Md5, "md5_key"),
        (PasswordAlgorithm::Sha256, "sha256_key"),
    ] {
        let key = long_term_key(&PROVIDER, algorithm, "user", "realm", "pass").unwrap();
        assert_eq!(hex::encode(key), known[name].as_str().unwrap());
    }
}

#[test]
fn ice_checks_are_built_byte_for_byte() {
    let key = sha1(ICE_PASSWORD);
    let request = |builder: MessageBuilder| {
        builder
            .username("8hhY:9b4f")
            .priority(0x6eff_ffff)
            .ice_controlling(0x0102_0304_0506_0708)
    };
    let new = |class| MessageBuilder::new(class, Method::BINDING, ID);

    let check = request(new(Class::Request)).use_candidate();
    let check = check.message_integrity(&*key).fingerprint().finish();
    assert_eq!(
        hex::encode(&check),
        vector("ice_check_controlling_nominating")["hex"]
    );

    let parsed = Message::parse(&check).unwrap();
    let success = MessageBuilder::response(Class::Success, &parsed)
        .xor_mapped_address("198.51.100.7:50000".parse().unwrap());
    let success = success.message_integrity(&*key).fingerprint().finish();
    assert_eq!(hex::encode(success), vector("ice_check_success")["hex"]);

    let conflict = new(Class::Error).error_code(487, "Role Conflict");
    let conflict = conflict.message_integrity(&*key).fingerprint().finish();
    assert_eq!(
        hex::encode(&conflict),
        vector("ice_role_conflict_487")["hex"]
    );
    let error = Message::parse(&conflict)
        .unwrap()
        .error_code()
        .unwrap()
        .to_string();
    assert_eq!(error, "487 Role Conflict");

    let both = new(Class::Request)
        .username("8hhY:9b4f")
        .message_integrity(&*key);
    let both = both
        .message_integrity_sha256(&*sha256(ICE_PASSWORD))
        .fingerprint()
        .finish();
    assert_eq!(
        hex::encode(both),
        vector("both_integrities_and_fingerprint")["hex"]
    );

    let keepalive = new(Class::Indication).fingerprint().finish();
    assert_eq!(
        hex::encode(keepalive),
        vector("binding_indication_keepalive")["hex"]
    );
}

#[test]
fn dtls_in_stun_is_built_byte_for_byte() {
    let entry = vector("sped_request");
    let datagram = bytes(&entry, "hex");
    let message = Message::parse(&datagram).unwrap();
    let dtls = message.dtls_in_stun().unwrap();
    let ack = message.dtls_in_stun_ack().unwrap();
    assert_eq!(dtls.first(), Some(&22));
    assert_eq!(ack.len(), 4);
    let built = MessageBuilder::new(Class::Request, Method::BINDING, ID)
        .username("8hhY:9b4f")
        .priority(0x6eff_ffff)
        .ice_controlling(0)
        .dtls_in_stun(dtls)
        .dtls_in_stun_ack(ack)
        .message_integrity(&*sha1(ICE_PASSWORD))
        .fingerprint();
    assert_eq!(hex::encode(built.finish()), entry["hex"]);
}

#[test]
fn turn_messages_are_built_byte_for_byte() {
    let key = bytes(&vector("turn_allocate_auth"), "key_hex");
    let key = sha1(&key);
    let request = |method| MessageBuilder::new(Class::Request, method, ID);
    let sign = |builder: MessageBuilder| {
        builder
            .username("user")
            .realm("realm")
            .nonce(b"nonce-1234")
            .message_integrity(&*key)
    };
    let peer = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let built = [
        (
            "turn_allocate_401",
            MessageBuilder::new(Class::Error, Method::ALLOCATE, ID)
                .error_code(401, "Unauthorized")
                .realm("example.org")
                .nonce(b"nonce-1234")
                .fingerprint(),
        ),
        (
            "turn_allocate_auth",
            sign(request(Method::ALLOCATE).requested_transport(17)).fingerprint(),
        ),
        (
            "turn_allocate_success",
            MessageBuilder::new(Class::Success, Method::ALLOCATE, ID)
                .xor_relayed_address(peer("203.0.113.9:49152"))
                .xor_mapped_address(peer("198.51.100.7:50000"))
                .lifetime(Duration::from_secs(600))
                .message_integrity(&*key),
        ),
        (
            "turn_create_permission",
            sign(request(Method::CREATE_PERMISSION).xor_peer_address(peer("192.0.2.33:0"))),
        ),
        (
            "turn_channel_bind",
            sign(
                request(Method::CHANNEL_BIND)
                    .channel_number(0x4000)
                    .xor_peer_address(peer("192.0.2.33:3479")),
            ),
        ),
        (
            "turn_refresh_zero",
            sign(request(Method::REFRESH).lifetime(Duration::ZERO)),
        ),
    ];
    for (name, builder) in built {
        assert_eq!(hex::encode(builder.finish()), vector(name)["hex"], "{name}");
    }

    for name in ["turn_send_indication", "turn_data_indication_v6"] {
        let datagram = bytes(&vector(name), "hex");
        let known = Message::parse(&datagram).unwrap();
        let built = MessageBuilder::new(Class::Indication, known.method(), ID)
            .xor_peer_address(known.xor_peer_address().unwrap())
            .data(known.data().unwrap());
        assert_eq!(
            hex::encode(built.finish()),
            hex::encode(&datagram),
            "{name}"
        );
    }
}

#[test]
fn a_stream_shows_the_length_of_its_first_message() {
    let datagram = bytes(&vector("ice_check_success"), "hex");
    let mut stream = datagram.clone();
    stream.extend_from_slice(&datagram);
    assert_eq!(message_len(&stream), Some(datagram.len()));
    assert_eq!(message_len(&stream[..HEADER_LEN]), Some(datagram.len()));
    assert_eq!(message_len(&stream[..HEADER_LEN - 1]), None);
    assert_eq!(message_len(b"\x40\x00\x00\x05hello, channel data!"), None);
    assert!(is_stun(&datagram) && !is_stun(&stream));
}

#[test]
fn malformed_datagrams_are_not_messages() {
    let expected = [
        ("empty", DecodeError::NotStun),
        ("1_byte", DecodeError::NotStun),
        ("19_bytes", DecodeError::NotStun),
        ("header_len_longer_than_datagram", DecodeError::Length),
        ("header_len_shorter_than_datagram", DecodeError::Length),
        ("len_not_multiple_of_4", DecodeError::Length),
        ("len_65532", DecodeError::Length),
        ("bad_cookie", DecodeError::NotStun),
        ("top_bits_set", DecodeError::NotStun),
        ("attr_len_beyond_message", DecodeError::AttributeOverrun),
        ("attr_len_ffff", DecodeError::AttributeOverrun),
        ("fingerprint_not_last", DecodeError::FingerprintNotLast),
    ];
    for (name, error) in expected {
        assert_eq!(Message::parse(&malformed(name)), Err(error), "{name}");
    }
}

#[test]
fn malformed_attributes_are_told_from_absent_ones() {
    let expected = [
        ("username_514", AttributeType::USERNAME),
        ("xor_mapped_family_3", AttributeType::XOR_MAPPED_ADDRESS),
        ("xor_mapped_v4_len_20", AttributeType::XOR_MAPPED_ADDRESS),
        ("xor_mapped_v6_len_8", AttributeType::XOR_MAPPED_ADDRESS),
        ("xor_mapped_len_0", AttributeType::XOR_MAPPED_ADDRESS),
        ("error_code_len_0", AttributeType::ERROR_CODE),
        ("error_class_0", AttributeType::ERROR_CODE),
        ("error_number_255", AttributeType::ERROR_CODE),
        ("mi_len_0", AttributeType::MESSAGE_INTEGRITY),
        ("mi_len_19", AttributeType::MESSAGE_INTEGRITY),
        ("mi256_len_12", AttributeType::MESSAGE_INTEGRITY_SHA256),
        ("mi256_len_36", AttributeType::MESSAGE_INTEGRITY_SHA256),
        ("priority_len_3", AttributeType::PRIORITY),
        ("controlling_len_4", AttributeType::ICE_CONTROLLING),
        ("unknown_attributes_odd", AttributeType::UNKNOWN_ATTRIBUTES),
        ("channel_number_len_2", AttributeType::CHANNEL_NUMBER),
        ("channel_out_of_range", AttributeType::CHANNEL_NUMBER),
        ("lifetime_len_2", AttributeType::LIFETIME),
        ("nonce_764", AttributeType::NONCE),
    ];
    for (name, typ) in expected {
        let datagram = malformed(name);
        let message = Message::parse(&datagram).unwrap();
        assert_eq!(
            message.validate(),
            Err(DecodeError::MalformedAttribute(typ)),
            "{name}"
        );
    }
    for name in ["mi_len_0", "mi_len_19"] {
        let datagram = malformed(name);
        let message = Message::parse(&datagram).unwrap();
        assert_eq!(
            message.verify_integrity(&*sha1(b"x")),
            Err(IntegrityError::Length),
            "{name}"
        );
    }
    for name in ["mi256_len_12", "mi256_len_36"] {
        let datagram = malformed(name);
        let message = Message::parse(&datagram).unwrap();
        let verified = message.verify_integrity_sha256(&*sha256(b"x"));
        assert_eq!(verified, Err(IntegrityError::Length), "{name}");
    }
    let datagram = malformed("xor_mapped_family_3");
    assert_eq!(
        Message::parse(&datagram).unwrap().xor_mapped_address(),
        None
    );
    let datagram = malformed("error_bad_utf8");
    let error = Message::parse(&datagram)
        .unwrap()
        .error_code()
        .map(|error| error.code());
    assert_eq!(error, Some(401));
    let datagram = malformed("fingerprint_wrong");
    let verified = Message::parse(&datagram).unwrap().verify_fingerprint();
    assert_eq!(verified, Err(IntegrityError::Mismatch));
}

#[test]
fn what_integrity_does_not_cover_is_not_seen() {
    let datagram = malformed("attrs_after_mi");
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(message.username(), None);
    assert_eq!(message.attributes().count(), 1);

    let datagram = malformed("two_mi");
    let message = Message::parse(&datagram).unwrap();
    let expected = (AttributeType::MESSAGE_INTEGRITY, &[0x61; 20][..]);
    assert_eq!(message.attributes().collect::<Vec<_>>(), [expected]);
    assert_eq!(message.integrity, Some(0));

    let (key1, key256) = (sha1(b"key"), sha256(b"key"));
    let built = MessageBuilder::new(Class::Request, Method::BINDING, ID)
        .priority(1)
        .message_integrity_sha256(&*key256)
        .message_integrity(&*key1)
        .use_candidate()
        .fingerprint()
        .finish();
    let message = Message::parse(&built).unwrap();
    assert_eq!(message.verify_integrity_sha256(&*key256), Ok(()));
    assert_eq!(
        message.verify_integrity(&*key1),
        Err(IntegrityError::Missing)
    );
    assert_eq!(message.verify_fingerprint(), Ok(()));
    assert!(!message.use_candidate());
    let types: Vec<_> = message.attributes().map(|(typ, _)| typ).collect();
    assert_eq!(
        types,
        [
            AttributeType::PRIORITY,
            AttributeType::MESSAGE_INTEGRITY_SHA256,
            AttributeType::FINGERPRINT
        ]
    );
}

#[test]
fn unknown_required_attributes_are_listed_once_and_bounded() {
    let datagram = malformed("unknown_comprehension_required");
    let unknown = Message::parse(&datagram).unwrap().unknown_required(&[]);
    assert_eq!(unknown, [AttributeType(0x7ff0)]);

    let mut builder = MessageBuilder::new(Class::Request, Method::BINDING, ID);
    for number in 0..100 {
        let typ = AttributeType(0x7000 + number / 2);
        builder = builder
            .attribute(typ, b"")
            .attribute(AttributeType(0xf000), b"");
    }
    let built = builder.message_integrity(&*sha1(b"key")).finish();
    let unknown = Message::parse(&built)
        .unwrap()
        .unknown_required(&[AttributeType(0x7000)]);
    assert_eq!(unknown.len(), 32);
    assert_eq!(unknown[0], AttributeType(0x7001));

    let reply = MessageBuilder::new(Class::Error, Method::BINDING, ID)
        .error_code(420, "Unknown Attribute")
        .unknown_attributes(&unknown)
        .finish();
    let listed = Message::parse(&reply)
        .unwrap()
        .unknown_attributes()
        .unwrap();
    assert_eq!(listed.collect::<Vec<_>>(), unknown);
}

#[test]
fn the_first_of_repeated_attributes_counts() {
    let built = MessageBuilder::new(Class::Request, Method::CREATE_PERMISSION, ID)
        .xor_peer_address("192.0.2.1:1".parse().unwrap())
        .xor_peer_address("[2001:db8::1]:2".parse().unwrap())
        .attribute(AttributeType::XOR_PEER_ADDRESS, b"bad")
        .finish();
    let message = Message::parse(&built).unwrap();
    assert_eq!(
        message.xor_peer_address(),
        Some("192.0.2.1:1".parse().unwrap())
    );
    let all: Vec<_> = message.xor_peer_addresses().collect();
    assert_eq!(
        all,
        [
            Ok("192.0.2.1:1".parse().unwrap()),
            Ok("[2001:db8::1]:2".parse().unwrap()),
            Err(DecodeError::MalformedAttribute(
                AttributeType::XOR_PEER_ADDRESS
            )),
        ]
    );
}

#[test]
fn the_plain_mapped_address_stands_in() {
    let address = "192.0.2.7:7".parse().unwrap();
    let built = MessageBuilder::new(Class::Success, Method::BINDING, ID).mapped_address(address);
    let built = built.finish();
    assert_eq!(
        Message::parse(&built).unwrap().xor_mapped_address(),
        Some(address)
    );
}

#[test]
fn text_is_cut_between_characters_and_a_full_message_takes_no_more() {
    let long = "é".repeat(400);
    let built = MessageBuilder::new(Class::Error, Method::BINDING, ID)
        .error_code(999, &long)
        .software(&long)
        .attribute(AttributeType(0xf000), &[0; 40_000])
        .attribute(AttributeType(0xf001), &[0; 40_000])
        .attribute(AttributeType(0xf002), &[0; 70_000])
        .priority(5)
        .finish();
    let message = Message::parse(&built).unwrap();
    let error = message.error_code().unwrap();
    assert_eq!((error.code(), error.reason().len()), (500, 762));
    assert_eq!(message.software().map(str::len), Some(762));
    assert!(message.has(AttributeType(0xf000)) && !message.has(AttributeType(0xf001)));
    assert_eq!(message.priority(), Some(5));
}

#[test]
fn names_are_those_of_the_specifications() {
    assert_eq!(
        AttributeType::XOR_MAPPED_ADDRESS.to_string(),
        "XOR-MAPPED-ADDRESS"
    );
    assert_eq!(AttributeType(0x7fff).to_string(), "attribute 0x7fff");
    assert_eq!(Method::CREATE_PERMISSION.to_string(), "CreatePermission");
    let built = MessageBuilder::new(Class::Request, Method(0x123), ID)
        .priority(1)
        .use_candidate();
    assert_eq!(
        format!("{:?}", Message::parse(&built.finish()).unwrap()),
        "method 0x123 Request 0102030405060708090a0b0c [PRIORITY(4), USE-CANDIDATE(0)]"
    );
}

#[test]
fn hostile_inputs_do_not_panic() {
    for file in [MALFORMED, FUZZ_SEEDS] {
        let entries: Vec<Value> = serde_json::from_str(file).unwrap();
        assert!(!entries.is_empty());
        for entry in &entries {
            let datagram = bytes(entry, "hex");
            for end in 0..=datagram.len().min(256) {
                exercise(&datagram[..end]);
            }
            exercise(&datagram);
        }
    }
}

#[test]
fn every_seed_that_parses_is_rebuilt() {
    let entries: Vec<Value> = serde_json::from_str(FUZZ_SEEDS).unwrap();
    let mut parsed = 0;
    for entry in &entries {
        let datagram = bytes(entry, "hex");
        let Ok(message) = Message::parse(&datagram) else {
            continue;
        };
        parsed += 1;
        let rebuilt = rebuild(&message, b"key");
        let again = Message::parse(&rebuilt).unwrap();
        let types =
            |message: &Message<'_>| message.attributes().map(|each| each.0).collect::<Vec<_>>();
        assert_eq!(types(&message), types(&again));
    }
    assert!(parsed > 10, "{parsed} seeds are messages");
}
