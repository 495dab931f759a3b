use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn vectors(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn hex_of(entry: &Value) -> Vec<u8> {
    hex::decode(entry["hex"].as_str().unwrap()).unwrap()
}

/// The values of a field, in decimal or 0x hexadecimal; a list or one.
fn numbers(fields: &Value, key: &str) -> Vec<u64> {
    let number = |value: &Value| {
        let text = value.as_str().unwrap();
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
            None => text.parse().unwrap(),
        }
    };
    match &fields[key] {
        Value::Null => Vec::new(),
        Value::Array(list) => list.iter().map(number).collect(),
        one => vec![number(one)],
    }
}

fn rewrite(packet: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Header::parse(packet).unwrap().write(&mut out);
    for raw in Chunks::of_packet(packet) {
        Chunk::parse(raw.unwrap()).unwrap().write(&mut out);
    }
    out
}

#[test]
fn checksums_match_their_vectors() {
    for entry in vectors("crc32c.json").as_array().unwrap() {
        let crc = crc32c::crc32c(&hex_of(entry));
        assert_eq!(format!("{crc:08x}"), entry["crc32c"].as_str().unwrap());
        let wire = hex::encode(crc.to_le_bytes());
        assert_eq!(wire, entry["sctp_wire_bytes"].as_str().unwrap());
    }
}

#[test]
fn real_and_crafted_packets_have_the_fields_that_a_dissector_sees() {
    let all = vectors("sctp.json");
    let lists = ["real_aiortc", "crafted_checked_with_tshark"];
    let entries: Vec<_> = lists
        .iter()
        .flat_map(|list| all[*list].as_array().unwrap())
        .collect();
    assert!(entries.len() > 40);
    for entry in entries {
        let name = entry["name"].as_str().unwrap();
        let packet = hex_of(entry);
        let fields = &entry["fields"];
        let header = Header::parse(&packet).unwrap();
        assert_eq!(numbers(fields, "srcport"), [u64::from(header.source_port)]);
        assert_eq!(
            numbers(fields, "dstport"),
            [u64::from(header.destination_port)]
        );
        assert_eq!(
            numbers(fields, "verification_tag"),
            [u64::from(header.verification_tag)]
        );
        assert_eq!(
            numbers(fields, "checksum"),
            [u64::from(header.checksum.swap_bytes())]
        );
        assert_eq!(
            header.checksum == checksum(&packet),
            entry["crc32c_ok"].as_bool().unwrap()
        );
        assert_eq!(rewrite(&packet), packet, "{name}");

        let raws: Vec<_> = Chunks::of_packet(&packet).map(Result::unwrap).collect();
        let kinds: Vec<_> = raws.iter().map(|raw| u64::from(raw.kind)).collect();
        // The dissector also looks into chunks that an ERROR quotes.
        assert!(numbers(fields, "chunk_type").starts_with(&kinds), "{name}");
        let flags: Vec<_> = raws.iter().map(|raw| u64::from(raw.flags)).collect();
        assert!(numbers(fields, "chunk_flags").starts_with(&flags), "{name}");
        let lengths: Vec<_> = raws.iter().map(|raw| raw.value.len() as u64 + 4).collect();
        assert!(
            numbers(fields, "chunk_length").starts_with(&lengths),
            "{name}"
        );
        for raw in raws {
            check_fields(name, Chunk::parse(raw).unwrap(), fields);
        }
    }
}

fn check_fields(name: &str, chunk: Chunk<'_>, fields: &Value) {
    let check =
        |key: &str, values: &[u64]| assert_eq!(numbers(fields, key), values, "{name} {key}");
    match chunk {
        Chunk::Data(data) => {
            check("data_tsn_raw", &[data.tsn.into()]);
            check("data_sid", &[data.stream.into()]);
            check("data_ssn", &[data.ssn.into()]);
            check("data_payload_proto_id", &[data.ppid.into()]);
            check("data_u_bit", &[data.unordered.into()]);
            check("data_b_bit", &[data.begin.into()]);
            check("data_e_bit", &[data.end.into()]);
            check("data_i_bit", &[data.immediate.into()]);
        }
        Chunk::IData(data) => {
            check("data_tsn_raw", &[data.tsn.into()]);
            check("data_sid", &[data.stream.into()]);
            check("data_mid", &[data.mid.into()]);
            let key = if data.begin {
                "data_payload_proto_id"
            } else {
                "data_fsn"
            };
            check(key, &[data.ppid_or_fsn.into()]);
            check("data_u_bit", &[data.unordered.into()]);
            check("data_i_bit", &[data.immediate.into()]);
        }
        Chunk::Init(init) | Chunk::InitAck(init) => {
            let prefix = if fields["init_credit"].is_null() {
                "initack"
            } else {
                "init"
            };
            check(
                &format!("{prefix}_initiate_tag"),
                &[init.initiate_tag.into()],
            );
            check(&format!("{prefix}_credit"), &[init.a_rwnd.into()]);
            check(
                &format!("{prefix}_nr_out_streams"),
                &[init.outbound_streams.into()],
            );
            check(
                &format!("{prefix}_nr_in_streams"),
                &[init.inbound_streams.into()],
            );
            check(&format!("{prefix}_initial_tsn"), &[init.initial_tsn.into()]);
            let capabilities = Capabilities::parse(init.parameters).unwrap();
            let kinds = numbers(fields, "supported_chunk_type");
            assert_eq!(capabilities.reconfig, kinds.contains(&130));
            assert_eq!(capabilities.interleaving, kinds.contains(&64));
            let parameters = numbers(fields, "parameter_type");
            assert_eq!(capabilities.forward_tsn, parameters.contains(&0xc000));
            assert_eq!(capabilities.zero_checksum, parameters.contains(&0x8001));
            assert_eq!(capabilities.cookie.is_some(), parameters.contains(&7));
            let mut out = Vec::new();
            let count = Parameters::new(init.parameters).count();
            for (at, parameter) in Parameters::new(init.parameters).enumerate() {
                parameter.unwrap().write(&mut out, at + 1 < count);
            }
            assert_eq!(out, init.parameters, "{name}");
        }
        Chunk::Sack(sack) => {
            check("sack_cumulative_tsn_ack_raw", &[sack.cumulative_tsn.into()]);
            check("sack_a_rwnd", &[sack.a_rwnd.into()]);
            let (starts, ends): (Vec<u64>, Vec<u64>) = sack
                .gaps()
                .map(|(start, end)| (u64::from(start), u64::from(end)))
                .unzip();
            check("sack_gap_block_start", &starts);
            check("sack_gap_block_end", &ends);
            check(
                "sack_number_of_duplicated_tsns",
                &[sack.duplicates().count() as u64],
            );
            assert_eq!(sack.has_gaps(), !starts.is_empty());
        }
        Chunk::ForwardTsn(forward) => {
            check("forward_tsn_tsn", &[forward.new_cumulative_tsn.into()]);
            let (streams, ssns): (Vec<u64>, Vec<u64>) = forward
                .entries()
                .map(|(sid, ssn)| (u64::from(sid), u64::from(ssn)))
                .unzip();
            check("forward_tsn_sid", &streams);
            check("forward_tsn_ssn", &ssns);
        }
        Chunk::IForwardTsn(forward) => {
            check("i_forward_tsn_tsn", &[forward.new_cumulative_tsn.into()]);
            let entries: Vec<_> = forward.entries().collect();
            let list =
                |of: fn(&IForwardTsnEntry) -> u64| entries.iter().map(of).collect::<Vec<_>>();
            check("i_forward_tsn_sid", &list(|entry| entry.stream.into()));
            check("i_forward_tsn_u_bit", &list(|entry| entry.unordered.into()));
            check("forward_tsn_mid", &list(|entry| entry.mid.into()));
        }
        Chunk::Reconfig(reconfig) => {
            assert_eq!(reconfig.second, None);
            match reconfig.first {
                ReconfigParameter::OutgoingReset {
                    request,
                    response,
                    last_tsn,
                    streams,
                } => {
                    check(
                        "parameter_reconfig_request_sequence_number",
                        &[request.into()],
                    );
                    check(
                        "parameter_reconfig_response_sequence_number",
                        &[response.into()],
                    );
                    check("parameter_senders_last_assigned_tsn", &[last_tsn.into()]);
                    let streams: Vec<_> = streams.iter().map(u64::from).collect();
                    check("parameter_reconfig_sid", &streams);
                }
                ReconfigParameter::Response {
                    response,
                    result,
                    next_tsns,
                } => {
                    check(
                        "parameter_reconfig_response_sequence_number",
                        &[response.into()],
                    );
                    check("parameter_reconfig_response_result", &[result.into()]);
                    assert_eq!(next_tsns, None);
                }
                ReconfigParameter::AddOutgoing { request, streams } => {
                    check(
                        "parameter_reconfig_request_sequence_number",
                        &[request.into()],
                    );
                    check("parameter_add_outgoing_streams_number", &[streams.into()]);
                }
                other => panic!("{other:?}"),
            }
        }
        Chunk::Abort { reflected, causes } => {
            check("abort_t_bit", &[reflected.into()]);
            let codes: Vec<_> = Causes::new(causes)
                .map(|(code, _)| u64::from(code))
                .collect();
            check("cause_code", &codes);
        }
        Chunk::Error { causes } => {
            let codes: Vec<_> = Causes::new(causes)
                .map(|(code, _)| u64::from(code))
                .collect();
            check("cause_code", &codes);
        }
        Chunk::Shutdown { cumulative_tsn } => {
            check("shutdown_cumulative_tsn_ack", &[cumulative_tsn.into()]);
        }
        Chunk::ShutdownComplete { reflected } => {
            check("shutdown_complete_t_bit", &[reflected.into()]);
        }
        Chunk::CookieEcho(cookie) => {
            let text = fields["cookie"].as_str().unwrap().replace(':', "");
            assert_eq!(hex::encode(cookie), text);
        }
        Chunk::Heartbeat(info) | Chunk::HeartbeatAck(info) => {
            let parameter = Parameters::new(info).next().unwrap().unwrap();
            let text = fields["parameter_heartbeat_information"].as_str().unwrap();
            let value = hex::decode(text.replace(':', "")).unwrap();
            assert_eq!(parameter, Parameter::HeartbeatInfo(&value));
        }
        Chunk::ShutdownAck | Chunk::CookieAck => {}
        Chunk::Unknown(raw) => panic!("{name}: {raw:?}"),
    }
}

#[test]
fn inits_of_signalling_are_chunks_without_padding() {
    for entry in vectors("sctp.json")["snap"].as_array().unwrap() {
        let bytes = hex_of(entry);
        let (raw, rest) = RawChunk::split(&bytes).unwrap();
        assert!(rest.is_empty());
        let Chunk::Init(init) = Chunk::parse(raw).unwrap() else {
            panic!()
        };
        let fields = &entry["fields"];
        assert_eq!(
            format!("{:08x}", init.initiate_tag),
            fields["tag"].as_str().unwrap()
        );
        assert_eq!(
            format!("{:08x}", init.initial_tsn),
            fields["tsn"].as_str().unwrap()
        );
        assert_eq!((init.a_rwnd, init.outbound_streams), (0x50_0000, 65535));
        let capabilities = Capabilities::parse(init.parameters).unwrap();
        assert!(capabilities.forward_tsn && capabilities.reconfig);
        let mut out = Vec::new();
        Chunk::Init(init).write(&mut out);
        assert_eq!(out[..bytes.len()], bytes);
    }
}

#[test]
fn the_fast_writer_of_data_writes_the_same() {
    for length in 1..9 {
        let payload = vec![5; length];
        let data = Data {
            immediate: true,
            unordered: false,
            begin: true,
            end: false,
            tsn: 0x0102_0304,
            stream: 0x0506,
            ssn: 0x0708,
            ppid: 0x090a_0b0c,
            payload: &payload,
        };
        let (mut fast, mut plain) = (Vec::new(), Vec::new());
        data.write(&mut fast);
        Chunk::Data(data).write(&mut plain);
        assert_eq!(fast, plain);
    }
}

#[test]
fn lists_of_chunks_and_parameters_end_at_the_first_fault() {
    let mut chunks = Chunks::of_packet(&[0; 14]);
    assert_eq!(chunks.next(), Some(Err(ParseError::Length)));
    assert_eq!(chunks.next(), None);
    let mut parameters = Parameters::new(&[0x80, 8, 0, 3, 0, 0, 0, 0]);
    assert_eq!(parameters.next(), Some(Err(ParseError::Length)));
    assert_eq!(parameters.next(), None);
    assert_eq!(Causes::new(&[0, 1, 0, 0]).count(), 0);
    assert_eq!(Header::parse(&[0; 11]), Err(ParseError::Header));
    assert_eq!(checksum(&[0; 11]), 0);
}

static PACKETS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let malformed = vectors("malformed/sctp.json");
    let mut packets: Vec<Vec<u8>> = malformed.as_array().unwrap().iter().map(hex_of).collect();
    packets.extend(
        vectors("sctp.json")["real_aiortc"]
            .as_array()
            .unwrap()
            .iter()
            .map(hex_of),
    );
    packets
});

fn bytes(unit: usize, max: usize) -> impl Strategy<Value = Vec<u8>> {
    (0..=max).prop_flat_map(move |count| prop::collection::vec(any::<u8>(), count * unit))
}

/// Writes a chunk and reads it back.
fn round_trip(chunk: Chunk<'_>) -> Result<(), TestCaseError> {
    let mut out = Vec::new();
    chunk.write(&mut out);
    prop_assert_eq!(out.len() % 4, 0);
    let (raw, rest) = RawChunk::split(&out).unwrap();
    prop_assert!(rest.is_empty());
    prop_assert_eq!(Chunk::parse(raw), Ok(chunk));
    Ok(())
}

proptest! {
    #[test]
    fn data_round_trips(
        flags in any::<[bool; 4]>(), tsn: u32, stream: u16, ssn: u16, ppid: u32,
        payload in bytes(1, 50))
    {
        let [immediate, unordered, begin, end] = flags;
        let payload = &payload[..];
        round_trip(Chunk::Data(Data {
            immediate, unordered, begin, end, tsn, stream, ssn, ppid, payload,
        }))?;
        if !payload.is_empty() {
            let (mid, ppid_or_fsn) = (ppid, tsn);
            round_trip(Chunk::IData(IData {
                immediate, unordered, begin, end, tsn, stream, mid, ppid_or_fsn, payload,
            }))?;
        }
    }

    #[test]
    fn inits_round_trip(
        numbers in any::<[u32; 3]>(), streams in any::<[u16; 2]>(),
        list in prop::collection::vec((0u8..8, bytes(1, 9)), 0..6))
    {
        let mut parameters = Vec::new();
        let mut given = Vec::new();
        for (at, (which, value)) in list.iter().enumerate() {
            let parameter = match which {
                0 => Parameter::HeartbeatInfo(value),
                1 => Parameter::StateCookie(value),
                2 => Parameter::Unrecognized(value),
                3 => Parameter::HostName,
                4 => Parameter::SupportedExtensions(value),
                5 => Parameter::ForwardTsnSupported,
                6 => Parameter::ZeroChecksum(numbers[0]),
                _ => Parameter::Other { kind: 0x1234, value },
            };
            parameter.write(&mut parameters, at + 1 < list.len());
            given.push(Ok(parameter));
        }
        prop_assert_eq!(Parameters::new(&parameters).collect::<Vec<_>>(), given);
        let init = Init {
            initiate_tag: numbers[0],
            a_rwnd: numbers[1],
            outbound_streams: streams[0],
            inbound_streams: streams[1],
            initial_tsn: numbers[2],
            parameters: &parameters,
        };
        round_trip(Chunk::Init(init))?;
        round_trip(Chunk::InitAck(init))?;
    }

    #[test]
    fn acknowledgements_round_trip(
        tsn: u32, window: u32, gaps in bytes(4, 9), duplicates in bytes(4, 9), entries in bytes(8, 9))
    {
        let sack = Sack::new(tsn, window, &gaps, &duplicates).unwrap();
        prop_assert_eq!(sack.gaps().count(), gaps.len() / 4);
        prop_assert_eq!(sack.duplicates().count(), duplicates.len() / 4);
        round_trip(Chunk::Sack(sack))?;
        round_trip(Chunk::ForwardTsn(ForwardTsn::new(tsn, &gaps).unwrap()))?;
        round_trip(Chunk::IForwardTsn(IForwardTsn::new(tsn, &entries).unwrap()))?;
        round_trip(Chunk::Shutdown { cumulative_tsn: tsn })?;
    }

    #[test]
    fn control_chunks_round_trip(value in bytes(1, 40), reflected: bool, kind in 15u8..64) {
        round_trip(Chunk::Heartbeat(&value))?;
        round_trip(Chunk::HeartbeatAck(&value))?;
        round_trip(Chunk::Abort { reflected, causes: &value })?;
        round_trip(Chunk::Error { causes: &value })?;
        round_trip(Chunk::ShutdownAck)?;
        round_trip(Chunk::CookieAck)?;
        round_trip(Chunk::ShutdownComplete { reflected })?;
        round_trip(Chunk::Unknown(RawChunk { kind, flags: 0xa5, value: &value }))?;
        if !value.is_empty() {
            round_trip(Chunk::CookieEcho(&value))?;
        }
    }

    #[test]
    fn reconfiguration_round_trips(
        numbers in any::<[u32; 4]>(), count: u16, streams in bytes(2, 9),
        first in 0usize..7, second in prop::option::of(0usize..7))
    {
        let streams = StreamList::new(&streams).unwrap();
        let [request, response, last_tsn, result] = numbers;
        let parameters = [
            ReconfigParameter::OutgoingReset { request, response, last_tsn, streams },
            ReconfigParameter::IncomingReset { request, streams },
            ReconfigParameter::TsnReset { request },
            ReconfigParameter::Response { response, result, next_tsns: None },
            ReconfigParameter::Response { response, result, next_tsns: Some((1, last_tsn)) },
            ReconfigParameter::AddOutgoing { request, streams: count },
            ReconfigParameter::AddIncoming { request, streams: count },
        ];
        let second = second.map(|at| parameters[at]);
        round_trip(Chunk::Reconfig(Reconfig { first: parameters[first], second }))?;
    }

    #[test]
    fn arbitrary_bytes_are_read_without_a_panic(input in bytes(1, 300)) {
        let _ = Header::parse(&input);
        let _ = checksum(&input);
        for raw in Chunks::of_packet(&input).flatten() {
            if let Ok(chunk) = Chunk::parse(raw) {
                let mut out = Vec::new();
                chunk.write(&mut out);
            }
        }
        let _ = Capabilities::parse(&input);
        let _ = Parameters::new(&input).count();
        let _ = Causes::new(&input).count();
        for kind in 0..=255 {
            let _ = Chunk::parse(RawChunk { kind, flags: 0, value: &input });
        }
    }

    #[test]
    fn mutated_vectors_are_read_without_a_panic(
        pick: prop::sample::Index, at: prop::sample::Index, value: u8)
    {
        let mut packet = pick.get(&PACKETS).clone();
        let at = at.index(packet.len());
        packet[at] = value;
        for raw in Chunks::of_packet(&packet).flatten() {
            if let Ok(Chunk::Init(init) | Chunk::InitAck(init)) = Chunk::parse(raw) {
                let _ = Capabilities::parse(init.parameters);
            }
        }
    }
}
