use proptest::prelude::*;

use super::*;
use crate::{Parameters, PayloadProtocolId, Reliability};

const VECTORS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/vectors/dcep.json"
));
const MALFORMED: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/vectors/malformed/dcep.json"
));

/// Name, payload protocol (0 where there is none) and payload.
fn vectors(json: &str) -> Vec<(String, u32, Vec<u8>)> {
    let vectors: serde_json::Value = serde_json::from_str(json).unwrap();
    let read = |vector: &serde_json::Value| {
        let ppid = vector["ppid"].as_u64().unwrap_or_default();
        let payload = hex::decode(vector["hex"].as_str().unwrap()).unwrap();
        (
            vector["name"].as_str().unwrap().to_owned(),
            u32::try_from(ppid).unwrap(),
            payload,
        )
    };
    vectors.as_array().unwrap().iter().map(read).collect()
}

#[test]
fn known_messages_are_read_and_written() {
    use Reliability::{MaxPacketLifeTime, MaxRetransmits, Reliable};

    let parameters = |label: &str, protocol: &str, ordered, reliability, priority| Parameters {
        label: label.into(),
        protocol: protocol.into(),
        ordered,
        reliability,
        priority,
    };
    let expected = |name: &str| match name {
        "reliable_ordered_echo_p1" => parameters("echo", "p1", true, Reliable, 256),
        "unordered" => parameters("m1", "", false, Reliable, 256),
        "maxRetransmits_0" => parameters("m2", "", true, MaxRetransmits(0), 256),
        "unordered_maxRetransmits_3" => parameters("m3", "", false, MaxRetransmits(3), 256),
        "maxPacketLifeTime_500" => parameters("m4", "", true, MaxPacketLifeTime(500), 256),
        "unordered_maxPacketLifeTime_100" => {
            parameters("m5", "", false, MaxPacketLifeTime(100), 256)
        }
        "utf8_label" => parameters("café☃", "", true, Reliable, 128),
        "empty" => parameters("", "", true, Reliable, 512),
        other => panic!("no expectation for {other}"),
    };
    let mut opens = 0;
    for (name, ppid, wire) in vectors(VECTORS) {
        if PayloadProtocolId(ppid) != PayloadProtocolId::DCEP {
            continue;
        }
        let message = DcepMessage::parse(&wire).unwrap();
        assert_eq!(message.to_bytes().unwrap(), wire, "{name}");
        match message {
            DcepMessage::Ack => assert_eq!(name, "ack"),
            DcepMessage::Open(open) => {
                assert_eq!(Parameters::from(open.clone()), expected(&name));
                assert_eq!(expected(&name).to_open(), open);
                opens += 1;
            }
        }
    }
    assert_eq!(opens, 8);
}

#[test]
fn malformed_messages_are_refused_by_reason() {
    let expected = |name: &str| match name {
        "empty" | "1_byte_open" | "open_11_bytes" => Some(Error::Truncated),
        "open_label_len_beyond" | "open_label_len_ffff_proto_ffff" => Some(Error::Truncated),
        "open_bad_utf8" => Some(Error::InvalidUtf8),
        "open_unknown_type_0x7f" => Some(Error::UnknownChannelType(0x7f)),
        "unknown_message_9" => Some(Error::UnknownMessageType(9)),
        _ => None,
    };
    let mut refused = 0;
    for (name, _, payload) in vectors(MALFORMED) {
        if name.starts_with("text_") || name.contains("ppid") {
            continue; // Not DCEP: the channel's tests have them.
        }
        assert_eq!(
            DcepMessage::parse(&payload).err(),
            expected(&name),
            "{name}"
        );
        refused += usize::from(expected(&name).is_some());
    }
    assert_eq!(refused, 8);
}

#[test]
fn every_prefix_of_an_open_is_truncated() {
    let open = Parameters {
        label: "ab".into(),
        protocol: "c".into(),
        ..Parameters::default()
    };
    let wire = DcepMessage::Open(open.to_open()).to_bytes().unwrap();
    for length in 0..wire.len() {
        assert_eq!(DcepMessage::parse(&wire[..length]), Err(Error::Truncated));
    }
}

#[test]
fn labels_of_any_length_that_fits_are_carried() {
    let mut open = Parameters::default().to_open();
    open.label = "l".repeat(65535);
    open.protocol = "p".repeat(65535);
    let message = DcepMessage::Open(open.clone());
    assert_eq!(
        DcepMessage::parse(&message.to_bytes().unwrap()),
        Ok(message)
    );
    open.label.push('l');
    assert_eq!(
        DcepMessage::Open(open.clone()).to_bytes(),
        Err(Error::LabelTooLong)
    );
    open.label.clear();
    open.protocol.push('p');
    assert_eq!(
        DcepMessage::Open(open).to_bytes(),
        Err(Error::ProtocolTooLong)
    );
}

fn open() -> impl Strategy<Value = Open> {
    let channel_type = prop::sample::select(vec![
        ChannelType::Reliable,
        ChannelType::Rexmit,
        ChannelType::Timed,
        ChannelType::ReliableUnordered,
        ChannelType::RexmitUnordered,
        ChannelType::TimedUnordered,
    ]);
    (
        channel_type,
        any::<u16>(),
        any::<u32>(),
        any::<String>(),
        any::<String>(),
    )
        .prop_map(
            |(channel_type, priority, reliability, label, protocol)| Open {
                channel_type,
                priority,
                reliability,
                label,
                protocol,
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(open in open()) {
        let message = DcepMessage::Open(open);
        prop_assert_eq!(DcepMessage::parse(&message.to_bytes().unwrap()), Ok(message));
    }

    #[test]
    fn no_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(message) = DcepMessage::parse(&payload) {
            let wire = message.to_bytes().unwrap();
            prop_assert!(payload.starts_with(&wire));
        }
    }

    #[test]
    fn no_damaged_open_panics(open in open(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut wire = DcepMessage::Open(open).to_bytes().unwrap().to_vec();
        let at = at.index(wire.len());
        wire[at] = byte;
        let _ = DcepMessage::parse(&wire);
        let _ = DcepMessage::parse(&wire[..at]);
    }
}
