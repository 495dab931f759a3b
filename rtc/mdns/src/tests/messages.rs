//! `tests/vectors/mdns.json`, the malformed corpus, the seeds of fuzzers, and arbitrary messages.

use serde_json::Value;

use super::*;
use crate::message::ParseError;

fn vectors(path: &str) -> Vec<(String, Vec<u8>, Value)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/");
    let text = std::fs::read_to_string(format!("{root}{path}")).unwrap();
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!vectors.is_empty());
    vectors
        .into_iter()
        .map(|vector| {
            let name = vector["name"].as_str().unwrap().to_owned();
            let bytes = hex::decode(vector["hex"].as_str().unwrap()).unwrap();
            (name, bytes, vector)
        })
        .collect()
}

fn write(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

#[test]
fn known_messages_are_read_and_written() {
    let host: Name = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local"
        .parse()
        .unwrap();
    let ask = |kind, unicast| Message {
        id: 0,
        ..query(host, kind, unicast)
    };
    let tell = |addr, ttl| Message {
        response: true,
        answers: vec![address(host, addr, ttl)],
        ..Message::default()
    };
    let vectors = vectors("mdns.json");
    assert_eq!(vectors.len(), 7);
    for (name, bytes, _) in vectors {
        let expected = match name.as_str() {
            "query_qm_a" => ask(Kind::A, false),
            "query_qu_a" => ask(Kind::A, true),
            "query_qm_aaaa" => ask(Kind::Aaaa, false),
            "response_a" => tell("192.0.2.33", 120),
            "response_aaaa" => tell("2001:db8::1", 120),
            "goodbye" => tell("192.0.2.33", 0),
            "response_with_compression_pointer" => Message {
                questions: ask(Kind::A, false).questions,
                ..tell("192.0.2.33", 120)
            },
            other => panic!("unknown vector {other}"),
        };
        assert_eq!(Message::parse(&bytes).as_ref(), Ok(&expected), "{name}");
        assert_eq!(write(&expected), bytes, "{name}");
    }
}

#[test]
fn what_does_not_exist_is_written_as_rfc_6762_says() {
    let exists = |a, aaaa| Message {
        response: true,
        answers: vec![Record {
            name: name("a"),
            data: Data::Exists { a, aaaa },
            ttl: 120,
            cache_flush: true,
        }],
        ..Message::default()
    };
    let record = "0161056c6f63616c00 002f 8001 00000078".replace(' ', "");
    for (message, content) in [
        (exists(true, false), "0005 c00c 000140"),
        (exists(false, true), "0008 c00c 000400000008"),
        (exists(true, true), "0008 c00c 000440000008"),
        (exists(false, false), "0005 c00c 000100"),
    ] {
        let bytes = write(&message);
        let content = content.replace(' ', "");
        assert_eq!(
            hex::encode(&bytes),
            format!("000084000000000100000000{record}{content}")
        );
        assert_eq!(Message::parse(&bytes), Ok(message));
    }
}

#[test]
fn malformed_messages_are_refused() {
    for (name, bytes, _) in vectors("malformed/mdns.json") {
        let expected = match name.as_str() {
            "mdns_ptr_self" | "mdns_ptr_forward" | "mdns_label_64" | "mdns_name_over_255" => {
                ParseError::Name
            }
            "mdns_truncated" | "mdns_qd_65535" | "mdns_rdlen_beyond" => ParseError::Length,
            "mdns_a_rdlen_3" => ParseError::Record,
            other => panic!("unknown vector {other}"),
        };
        assert_eq!(Message::parse(&bytes), Err(expected), "{name}");
    }
}

#[test]
fn seeds_of_fuzzers_do_not_panic() {
    for (name, bytes, _) in vectors("fuzz_seeds/mdns.json") {
        for end in 0..=bytes.len() {
            if let Ok(message) = Message::parse(&bytes[..end]) {
                let again = Message::parse(&write(&message));
                assert_eq!(again, Ok(message), "{name}");
            }
        }
    }
}

#[test]
fn pointers_into_the_header_or_around_are_refused() {
    let head = "000000000001000000000000";
    for (question, valid) in [
        ("c000 00010001", false),
        ("c00b 00010001", false),
        // A label, then back to the label: for ever, if that were allowed.
        ("0161 c00c 00010001", false),
        ("0161 c00e 00010001", false),
        ("0161 056c6f63616c 00 00010001", true),
        ("8161 00 00010001", false),
    ] {
        let bytes = hex::decode(format!("{head}{}", question.replace(' ', ""))).unwrap();
        assert_eq!(Message::parse(&bytes).is_ok(), valid, "{question}");
    }
    // A chain of pointers, each to the one before, is slow but ends. It lies in a record of another
    // type; the name of the next one points to its end.
    let mut message = hex::decode("000000000001000000000002").unwrap();
    message.extend(b"\x01a\x05local\x00\x00\x01\x00\x01");
    message.extend(b"\x00\x00\x63\x00\x01\x00\x00\x00\x00\x00\xc8");
    let mut target = 12_u16;
    for _ in 0..100 {
        let here = message.len() as u16;
        message.extend((0xc000 | target).to_be_bytes());
        target = here;
    }
    message.extend((0xc000 | target).to_be_bytes());
    message.extend(b"\x00\x01\x00\x01\x00\x00\x00\x78\x00\x04\xc0\x00\x02\x01");
    let parsed = Message::parse(&message).unwrap();
    assert_eq!(parsed.additional[0].name, name("a"));
}

#[test]
fn other_names_types_and_classes_are_left_out() {
    let mut bytes = hex::decode("000084000000000500010001").unwrap();
    let record = |name: &[u8], kind: u16, class: u16, content: &[u8]| {
        let mut record = name.to_vec();
        record.extend(kind.to_be_bytes());
        record.extend(class.to_be_bytes());
        record.extend(120_u32.to_be_bytes());
        record.extend((content.len() as u16).to_be_bytes());
        record.extend(content);
        record
    };
    let host = b"\x01A\x05LOCAL\x00";
    bytes.extend(record(host, 12, 1, b"pointer"));
    bytes.extend(record(
        b"\x05_http\x04_tcp\x05local\x00",
        1,
        1,
        &[1, 2, 3, 4],
    ));
    bytes.extend(record(b"\x07example\x03com\x00", 1, 1, &[1, 2, 3, 4]));
    bytes.extend(record(b"\x01 \x05local\x00", 1, 1, &[1, 2, 3, 4]));
    bytes.extend(record(host, 1, 3, &[1, 2, 3, 4]));
    bytes.extend(record(host, 1, 1, &[1, 2, 3, 4]));
    bytes.extend(record(host, 1, 1, &[192, 0, 2, 9]));
    let message = Message::parse(&bytes).unwrap();
    assert!(message.answers.is_empty(), "{message:?}");
    // The authority section does not count.
    let only = Record {
        cache_flush: false,
        ..address(name("a"), "192.0.2.9", 120)
    };
    assert_eq!(message.additional, [only]);
}

#[test]
fn other_operations_and_overlong_messages_are_refused() {
    let mut bytes = write(&query(name("a"), Kind::A, false));
    bytes[2] = 0x28;
    assert_eq!(Message::parse(&bytes), Err(ParseError::Operation));
    bytes[2..4].copy_from_slice(&[0x84, 0x03]);
    assert_eq!(Message::parse(&bytes), Err(ParseError::Operation));
    bytes[2..4].copy_from_slice(&[0, 0]);
    bytes.resize(9000, 0);
    assert!(Message::parse(&bytes).is_ok());
    bytes.push(0);
    assert_eq!(Message::parse(&bytes), Err(ParseError::Length));
}

/// Names of a small set, so that they repeat, and some others.
fn some_name() -> impl Strategy<Value = Name> {
    prop_oneof!["[ab]{1,2}", "[a-z0-9_-]{1,63}"].prop_map(|label| name(&label))
}

fn some_record() -> impl Strategy<Value = Record> {
    let data = prop_oneof![
        any::<IpAddr>().prop_map(Data::Address),
        any::<(bool, bool)>().prop_map(|(a, aaaa)| Data::Exists { a, aaaa }),
    ];
    (some_name(), data, any::<u32>(), any::<bool>()).prop_map(|(name, data, ttl, cache_flush)| {
        Record {
            name,
            data,
            ttl,
            cache_flush,
        }
    })
}

fn some_message() -> impl Strategy<Value = Message> {
    let kind = prop::sample::select(vec![Kind::A, Kind::Aaaa, Kind::Any]);
    let question = (some_name(), kind, any::<bool>()).prop_map(|(name, kind, unicast)| Question {
        name,
        kind,
        unicast,
    });
    (
        any::<(u16, bool)>(),
        prop::collection::vec(question, 0..6),
        prop::collection::vec(some_record(), 0..6),
        prop::collection::vec(some_record(), 0..6),
    )
        .prop_map(|((id, response), questions, answers, additional)| Message {
            id,
            response,
            questions,
            answers,
            additional,
        })
}

/// Valid messages, damaged ones, and noise.
pub(super) fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let valid = some_message().prop_map(|message| write(&message));
    let damaged = (some_message(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(message, at, byte)| {
            let mut bytes = write(&message);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        },
    );
    let noise = prop::collection::vec(any::<u8>(), 0..100);
    prop_oneof![valid, damaged, noise]
}

proptest! {
    #[test]
    fn what_is_written_is_read(message in some_message()) {
        let bytes = write(&message);
        prop_assert_eq!(Message::parse(&bytes), Ok(message));
        for end in 0..bytes.len() {
            prop_assert!(Message::parse(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn pointers_count_from_the_begin_of_the_message(
        message in some_message(),
        before in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = before.clone();
        message.write(&mut bytes);
        prop_assert_eq!(Message::parse(&bytes[before.len()..]), Ok(message));
    }

    #[test]
    fn anything_can_be_read_without_a_panic(bytes in hostile()) {
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert_eq!(Message::parse(&write(&message)), Ok(message));
        }
    }
}
