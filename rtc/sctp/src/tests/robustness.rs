use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::AbortReason;
use crate::wire::{Chunk, kind};

/// The tag that the packets of the corpora are addressed to.
const TAG: u32 = 0x1122_3344;

fn corpus(name: &str) -> Vec<(String, Vec<u8>, String)> {
    let path = format!("{}/../../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
    entries
        .iter()
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            (
                text("name"),
                hex::decode(text("hex")).unwrap(),
                text("expect"),
            )
        })
        .collect()
}

/// An established association with the tag of the corpora, whose peer's next TSN is 1.
fn established() -> Association {
    let now = some_instant();
    let mut end = with_counters(Config::default(), now, TAG, 1);
    let mut peer = with_counters(Config::default(), now, 0x5566_7788, 1);
    let init = peer.local_init();
    end.connect_with_init(now, &init).unwrap();
    peer.connect_with_init(now, &end.local_init()).unwrap();
    while end.poll_event().is_some() {}
    end
}

/// What is written in answer: the chunk types of all packets.
fn answers(end: &mut Association) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    loop {
        let mut packet = Vec::new();
        if end.poll_transmit(end.now, &mut packet, 1200).is_none() {
            return packets;
        }
        packets.push(kinds(&packet));
    }
}

#[test]
fn malformed_packets_are_answered_as_they_should() {
    let corpus = corpus("malformed/sctp.json");
    assert!(corpus.len() > 40);
    for (name, bytes, expect) in corpus {
        let mut end = established();
        if name.starts_with("init_") {
            end = with_counters(Config::default(), end.now, TAG, 1);
            if name.starts_with("init_ack") {
                end.connect(end.now);
                assert_eq!(answers(&mut end), [[kind::INIT]]);
            }
        }
        let now = end.now;
        end.handle_packet(now, BytesMut::from(&bytes[..]));
        let replies = answers(&mut end);
        let drops = end.stats().drops;
        println!("{name}: {expect}: {replies:?} {drops:?} {:?}", end.state());
        let silent: &[&[u8]] = &[];
        match name.as_str() {
            "11_bytes" | "header_only" => assert_eq!(drops.short, 1),
            "bad_crc" => assert_eq!(drops.checksum, 1),
            "vtag_zero_non_init"
            | "abort_wrong_tag_tbit0"
            | "abort_reflected_tag_t1"
            | "init_with_tag" => assert_eq!(drops.tag, 1),
            "data_len_16_no_payload"
            | "init_zero_streams"
            | "init_rwnd_small"
            | "init_ack_no_cookie"
            | "init_ack_nested"
            | "data_b_in_middle" => {
                assert_eq!(replies, [[kind::ABORT]]);
            }
            "init_unknown_param_00" | "init_unknown_param_40" | "init_unknown_param_c0" => {
                assert_eq!(replies, [[kind::INIT_ACK]]);
            }
            "heartbeat_no_info" => assert_eq!(replies, [[kind::HEARTBEAT_ACK]]),
            "idata_not_negotiated" | "idata_fsn_hole_end" => assert_eq!(replies, [[kind::ERROR]]),
            "unknown_chunk_c1_report" => {
                assert_eq!(replies, [[kind::ERROR, kind::HEARTBEAT_ACK]]);
            }
            "cookie_echo_not_first" => assert_eq!(replies, [[kind::HEARTBEAT_ACK]]),
            "stream_id_65535" => assert_eq!(replies, [[kind::ERROR, kind::SACK]]),
            // In order and within the window: one byte of user data.
            "data_beyond_rwnd" => {
                assert_eq!(replies, [[kind::SACK]]);
                assert_eq!(drops.window, 1);
            }
            "forward_tsn_backwards" | "forward_tsn_2^31_ahead" => {
                assert_eq!(replies, [[kind::SACK]]);
            }
            "reconfig_stream_65535" => assert_eq!(replies, [[kind::RE_CONFIG]]),
            "cookie_echo_garbage" => {
                assert_eq!(drops.cookie, 1);
                assert_eq!(replies, silent);
            }
            "sack_acks_unsent" => assert_eq!(drops.sacks, 1),
            _ => assert_eq!(replies, silent, "{name}"),
        }
        if name.contains("chunk_len") || expect == "discard packet" {
            let counted = drops.malformed + drops.short + drops.tag;
            assert_eq!(counted, 1, "{name}");
        }
        let violation = end.is_ended();
        assert_eq!(
            violation,
            replies == [[kind::ABORT]]
                && !name.starts_with("init_z")
                && !name.starts_with("init_r"),
            "{name}"
        );
    }
}

#[test]
fn an_unknown_parameter_does_not_hide_what_follows_if_it_says_so() {
    for (name, bytes, _) in corpus("malformed/sctp.json") {
        let Some(rest) = name.strip_prefix("init_unknown_param_") else {
            continue;
        };
        let mut end = with_counters(Config::default(), some_instant(), TAG, 1);
        end.handle_packet(end.now, BytesMut::from(&bytes[..]));
        let mut reply = Vec::new();
        end.poll_transmit(end.now, &mut reply, 1200).unwrap();
        let raw = wire::Chunks::of_packet(&reply).next().unwrap().unwrap();
        let Chunk::InitAck(ack) = Chunk::parse(raw).unwrap() else {
            panic!()
        };
        let reported = wire::Parameters::new(ack.parameters)
            .any(|parameter| matches!(parameter.unwrap(), wire::Parameter::Unrecognized(_)));
        assert_eq!(reported, rest != "00", "{name}");
    }
}

#[test]
fn zero_checksums_are_taken_only_when_offered() {
    let path = format!(
        "{}/../../tests/vectors/sctp.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let crafted = all["crafted_checked_with_tshark"].as_array().unwrap();
    let entry = crafted
        .iter()
        .find(|entry| entry["name"] == "zero_checksum_sack")
        .unwrap();
    let bytes = hex::decode(entry["hex"].as_str().unwrap()).unwrap();
    for offered in [true, false] {
        let mut config = Config::default();
        config.zero_checksum = offered;
        let mut end = with_counters(config, some_instant(), TAG, 1);
        end.handle_packet(end.now, BytesMut::from(&bytes[..]));
        assert_eq!(end.stats().drops.checksum, u64::from(!offered));
        // INIT carries its checksum in any case.
        let mut init = packet(0, &[]).to_vec();
        init.extend(with_counters(Config::default(), end.now, 9, 9).local_init());
        init[8..12].fill(0);
        end.handle_packet(end.now, BytesMut::from(&init[..]));
        assert_eq!(end.stats().drops.checksum, u64::from(!offered) + 1);
    }
}

#[test]
fn packets_for_other_ports_are_not_ours() {
    let mut end = established();
    let mut wrong = packet(
        TAG,
        &[Chunk::Abort {
            reflected: false,
            causes: &[],
        }],
    );
    wrong[0] = 1;
    end.handle_packet(end.now, wrong);
    assert_eq!(end.stats().drops.port, 1);
    assert_eq!(end.state(), State::Established);
}

#[test]
fn floods_of_control_chunks_are_answered_sparingly() {
    let mut end = established();
    for _ in 0..1000 {
        let flood = packet(
            TAG,
            &[Chunk::Heartbeat(&[0; 200]), Chunk::Heartbeat(&[1; 200])],
        );
        end.handle_packet(end.now, flood);
        let unknown = wire::RawChunk {
            kind: 0xff,
            flags: 0,
            value: &[0; 100],
        };
        end.handle_packet(end.now, packet(TAG, &[Chunk::Unknown(unknown)]));
    }
    assert!(end.stats().drops.replies > 2900);
    assert!(answers(&mut end).len() < 20);
}

#[test]
fn fragments_without_end_are_bounded() {
    // Every second TSN, first fragments without an end, on ever new streams.
    let mut end = established();
    let mut tsn = 2;
    let payload = vec![7; 1000];
    for stream in 0..20_000u16 {
        let data = wire::Data {
            immediate: false,
            unordered: true,
            begin: true,
            end: false,
            tsn,
            stream,
            ssn: 0,
            ppid: 0,
            payload: &payload,
        };
        tsn += 2;
        end.handle_packet(end.now, packet(TAG, &[Chunk::Data(data)]));
    }
    let window = Config::default().receive_window;
    assert!(end.receiver.window() >= window - 2 * 1_200_000);
    assert!(end.stats().drops.window > 18_000);
    // The gap is closed by FORWARD-TSN, and all is free again.
    let forward = wire::ForwardTsn::new(3000, &[]).unwrap();
    end.handle_packet(end.now, packet(TAG, &[Chunk::ForwardTsn(forward)]));
    assert_eq!(end.receiver.window(), window);
}

#[test]
fn a_sender_that_ignores_the_window_is_stopped() {
    let mut config = Config::default();
    config.max_receive_message = 2000;
    config.receive_window = 20_000;
    let now = some_instant();
    let mut end = with_counters(config, now, TAG, 1);
    end.connect_with_init(
        now,
        &with_counters(Config::default(), now, 5, 1).local_init(),
    )
    .unwrap();
    let payload = vec![7; 1000];
    for tsn in 1..1000 {
        let data = wire::Data {
            immediate: false,
            unordered: false,
            begin: true,
            end: true,
            tsn,
            stream: 0,
            ssn: (tsn - 1) as u16,
            ppid: 0,
            payload: &payload,
        };
        end.handle_packet(now, packet(TAG, &[Chunk::Data(data)]));
    }
    assert!(end.readable_bytes(0) < 45_000);
    assert!(end.stats().drops.window > 900);
}

#[test]
fn user_data_is_mandatory() {
    let mut end = established();
    let data = wire::Data {
        immediate: false,
        unordered: false,
        begin: true,
        end: true,
        tsn: 1,
        stream: 0,
        ssn: 0,
        ppid: 0,
        payload: &[],
    };
    end.handle_packet(end.now, packet(TAG, &[Chunk::Data(data)]));
    let reason = AbortReason::ProtocolViolation("DATA without user data");
    assert_eq!(end.poll_event(), Some(Event::Aborted { reason }));
}

#[test]
fn a_packet_is_delivered_with_all_its_chunks_whatever_their_size() {
    // Copied, cut out of the middle, and cut off the end.
    let sizes = [3, 300, 301, 5, 299, 302];
    let mut end = established();
    let payloads: Vec<_> = (0u32..)
        .zip(sizes)
        .map(|(n, size)| vec![n as u8; size])
        .collect();
    let chunks: Vec<_> = (0u32..)
        .zip(&payloads)
        .map(|(number, payload)| {
            Chunk::Data(wire::Data {
                immediate: false,
                unordered: false,
                begin: true,
                end: true,
                tsn: 1 + number,
                stream: 4,
                ssn: number as u16,
                ppid: number,
                payload,
            })
        })
        .collect();
    end.handle_packet(end.now, packet(TAG, &chunks));
    for payload in &payloads {
        assert_eq!(end.read().unwrap().payload[..], payload[..]);
    }
    assert_eq!(end.read(), None);
}

fn drive(end: &mut Association, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= 12 {
        bytes[..4].copy_from_slice(&[0x13, 0x88, 0x13, 0x88]);
        if bytes.get(12) != Some(&kind::INIT) {
            bytes[4..8].copy_from_slice(&end.local_tag.to_be_bytes());
        } else {
            bytes[4..8].fill(0);
        }
        wire::seal(&mut bytes, 0);
    }
    end.handle_packet(end.now, BytesMut::from(&bytes[..]));
    end.outstanding.check();
    answers(end);
    while end.poll_event().is_some() {}
    if let Some(at) = end.poll_timeout() {
        end.handle_timeout(at);
        assert!(end.poll_timeout().is_none_or(|next| next > at));
    }
    answers(end);
    while end.read().is_some() {}
    end.outstanding.check();
}

static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(seeds);

fn seeds() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = ["malformed/sctp.json", "fuzz_seeds/sctp-packet.json"]
        .iter()
        .flat_map(|name| corpus(name))
        .map(|(_, bytes, _)| bytes)
        .collect();
    let path = format!(
        "{}/../../tests/vectors/sctp.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let value: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for list in ["real_aiortc", "crafted_checked_with_tshark"] {
        for entry in value[list].as_array().unwrap() {
            all.push(hex::decode(entry["hex"].as_str().unwrap()).unwrap());
        }
    }
    all
}

fn busy() -> Association {
    let mut end = established();
    for number in 0..20 {
        let reliability = crate::Reliability::MaxRetransmits(1);
        let options = SendOptions {
            unordered: number % 2 == 0,
            reliability,
        };
        end.send(number % 4, 0, numbered(number.into(), 3000), options)
            .unwrap();
    }
    end.reset_stream(3);
    answers(&mut end);
    end
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_packets_do_no_harm(packets in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..200), 1..4))
    {
        let mut end = busy();
        for packet in packets {
            drive(&mut end, &packet);
        }
    }

    #[test]
    fn mutated_packets_do_no_harm(
        picks in prop::collection::vec((any::<prop::sample::Index>(),
            prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            any::<prop::sample::Index>()), 1..6))
    {
        let mut end = busy();
        for (pick, changes, cut) in picks {
            let mut packet = pick.get(&SEEDS).clone();
            for (at, value) in changes {
                let at = at.index(packet.len());
                packet[at] = value;
            }
            if cut.index(4) == 0 {
                packet.truncate(cut.index(packet.len() + 1));
            }
            drive(&mut end, &packet);
        }
    }
}

#[test]
fn fuzz_seeds_do_no_harm() {
    let mut end = busy();
    for seed in SEEDS.iter() {
        drive(&mut end, seed);
        if end.is_ended() {
            end = busy();
        }
    }
}
