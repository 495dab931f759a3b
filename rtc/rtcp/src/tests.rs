use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rtc_shared::EcnCodepoint;
use serde_json::Value;
use smallvec::smallvec;

use crate::*;

mod properties;

macro_rules! vectors {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/vectors/",
            $name
        ))
    };
}

const VECTORS: &str = vectors!("rtcp.json");
const MALFORMED: &str = vectors!("malformed/rtcp.json");
const SEEDS: &str = vectors!("fuzz_seeds/rtcp.json");

fn bytes(entry: &Value) -> Vec<u8> {
    hex::decode(entry["hex"].as_str().unwrap()).unwrap()
}

fn entries(file: &str, list: Option<&str>) -> Vec<Value> {
    let mut file: Value = serde_json::from_str(file).unwrap();
    let list = match list {
        Some(name) => file[name].take(),
        None => file,
    };
    let entries: Vec<Value> = serde_json::from_value(list).unwrap();
    assert!(!entries.is_empty());
    entries
}

fn vector(name: &str) -> Vec<u8> {
    let entries = entries(VECTORS, Some("rtcp"));
    bytes(entries.iter().find(|entry| entry["name"] == name).unwrap())
}

fn malformed(name: &str) -> Vec<Result<Packet, Error>> {
    let entries = entries(MALFORMED, None);
    let entry = entries.iter().find(|entry| entry["name"] == name).unwrap();
    packets(&bytes(entry)).collect()
}

fn one(datagram: &[u8]) -> Packet {
    let mut packets = packets(datagram);
    let packet = packets.next().unwrap().unwrap();
    assert_eq!(packets.next(), None);
    packet
}

fn written(packet: &Packet) -> Vec<u8> {
    let mut out = Vec::new();
    packet.write(&mut out);
    assert_eq!(out.len(), packet.written_len());
    let mut other = BytesMut::new();
    packet.write(&mut other);
    assert_eq!(out, other);
    out
}

/// Reads everything there is; the tests that use it ask that nothing panics and that what was read can
/// be written and read again.
fn exercise(datagram: &[u8]) {
    let mut failed = false;
    for packet in packets(datagram) {
        assert!(!failed, "nothing follows an error");
        let Ok(packet) = packet else {
            failed = true;
            continue;
        };
        assert!(packet.media_ssrcs().len() <= datagram.len());
        let _ = packet.sender_ssrc();
        match &packet {
            Packet::Twcc(twcc) => {
                assert_eq!(twcc.statuses().count(), usize::from(twcc.status_count()));
            }
            Packet::Ccfb(ccfb) => {
                let statuses = ccfb.blocks.iter().flat_map(CcfbBlock::statuses);
                assert!(statuses.count() <= datagram.len());
            }
            Packet::Nack(nack) => {
                assert!(nack.sequence_numbers().count() <= 17 * nack.pairs.len());
            }
            _ => {}
        }
        assert_eq!(one(&written(&packet)), packet);
    }
}

#[test]
fn known_packets_are_read_and_written_byte_for_byte() {
    for entry in entries(VECTORS, Some("rtcp")) {
        let datagram = bytes(&entry);
        let mut again = Vec::new();
        let packets: Vec<_> = packets(&datagram).map(Result::unwrap).collect();
        write_packets(&packets, &mut again);
        assert_eq!(
            hex::encode(&again),
            hex::encode(&datagram),
            "{}",
            entry["name"]
        );
        assert_eq!(packets_len(&packets), datagram.len());
        assert!(is_rtcp(&datagram));
    }
}

#[test]
fn known_packets_have_the_values_they_were_made_of() {
    let block = ReportBlock {
        ssrc: 0x0506_0708,
        fraction_lost: 64,
        cumulative_lost: -3,
        extended_highest_sequence_number: 0x1_ffff,
        jitter: 77,
        last_sender_report: NtpShort(0x4567_8000),
        delay_since_last_sender_report: NtpShort(65_536),
    };
    let info = SenderInfo {
        ntp_time: NtpTime(0xe123_4567_8000_0000),
        rtp_timestamp: 90_000,
        packet_count: 100,
        octet_count: 20_000,
    };
    let report = SenderReport {
        ssrc: 0x0102_0304,
        info,
        blocks: smallvec![block],
    };
    assert_eq!(one(&vector("sr_with_block")), report.into());

    let sdes = SourceDescription::with_cname(0x0102_0304, "user@host");
    assert_eq!(sdes.cname(0x0102_0304), Some(&b"user@host"[..]));
    assert_eq!(sdes.cname(1), None);
    assert_eq!(one(&vector("sdes_cname")), sdes.into());

    let bye = Bye {
        ssrcs: smallvec![0x0102_0304],
        reason: Some(Text::from_slice(b"bye")),
    };
    assert_eq!(one(&vector("bye_reason")), bye.into());

    let nack = Nack::new(0x0102_0304, 0x0506_0708, [100, 101, 116, 300]);
    assert_eq!(nack.pairs.len(), 2);
    assert_eq!(one(&vector("nack")), nack.into());

    let pli = Pli {
        sender_ssrc: 0x0102_0304,
        media_ssrc: 0x0506_0708,
    };
    assert_eq!(one(&vector("pli")), pli.into());

    let fir = Fir {
        sender_ssrc: 0x0102_0304,
        entries: smallvec![FirEntry {
            ssrc: 0x0506_0708,
            sequence_number: 9,
        }],
    };
    assert_eq!(one(&vector("fir")), fir.into());

    let remb = Remb {
        sender_ssrc: 0x0102_0304,
        bitrate: 1_000_000,
        ssrcs: smallvec![0x0506_0708],
    };
    assert_eq!(one(&vector("remb_1000000")), remb.into());

    let rrtr = ExtendedReport {
        ssrc: 0x0102_0304,
        blocks: smallvec![XrBlock::ReceiverReferenceTime(info.ntp_time)],
    };
    assert_eq!(rrtr.receiver_reference_time(), Some(info.ntp_time));
    assert_eq!(one(&vector("xr_rrtr")), rrtr.into());

    let item = DlrrItem {
        ssrc: 0x0506_0708,
        last_receiver_report: NtpShort(0x4567_8000),
        delay_since_last_receiver_report: NtpShort(131_072),
    };
    let dlrr = ExtendedReport {
        ssrc: 0x0102_0304,
        blocks: smallvec![XrBlock::Dlrr(smallvec![item])],
    };
    assert!(dlrr.dlrr().eq([&item]));
    assert_eq!(one(&vector("xr_dlrr")), dlrr.into());

    let app = App {
        subtype: 0,
        ssrc: 0x0102_0304,
        name: *b"TEST",
        data: Bytes::from_static(&[0, 0, 0, 1]),
    };
    assert_eq!(one(&vector("rtcp_app")), app.into());

    let sli = RawFeedback {
        packet_type: 206,
        format: 2,
        sender_ssrc: 0x0102_0304,
        media_ssrc: 0x0506_0708,
        content: Bytes::from_static(&[0, 8, 0, 0x83]),
    };
    assert_eq!(one(&vector("sli")), sli.into());
}

#[test]
fn a_compound_report_has_a_report_and_the_name() {
    let mut out = Vec::new();
    let block = ReportBlock {
        ssrc: 0x0506_0708,
        cumulative_lost: 5,
        extended_highest_sequence_number: 70_000,
        jitter: 10,
        ..ReportBlock::default()
    };
    write_compound_report(&mut out, 0x0102_0304, None, &[block], "c");
    assert_eq!(out, vector("compound_rr_sdes"));

    for (sender, blocks) in [(false, 0), (true, 31), (true, 32), (false, 100)] {
        let mut out = Vec::new();
        let info = sender.then(SenderInfo::default);
        write_compound_report(&mut out, 1, info, &vec![block; blocks], "name");
        assert_eq!(out.len(), compound_report_len(sender, blocks, "name"));
        let read: Vec<_> = packets(&out).map(Result::unwrap).collect();
        let count = |packet: &Packet| match packet {
            Packet::SenderReport(report) => report.blocks.len(),
            Packet::ReceiverReport(report) => report.blocks.len(),
            _ => 0,
        };
        assert_eq!(read.iter().map(count).sum::<usize>(), blocks);
        assert_eq!(matches!(read[0], Packet::SenderReport(_)), sender);
        assert!(matches!(read.last(), Some(Packet::SourceDescription(_))));
    }
}

#[test]
fn lists_longer_than_the_wire_can_tell_are_cut() {
    let report = Packet::from(ReceiverReport {
        ssrc: 1,
        blocks: smallvec![ReportBlock::default(); 40],
    });
    let Packet::ReceiverReport(read) = one(&written(&report)) else {
        panic!("not a receiver report");
    };
    assert_eq!(read.blocks.len(), 31);

    let name = "x".repeat(300);
    let sdes = SourceDescription::with_cname(1, &name);
    let Packet::SourceDescription(read) = one(&written(&sdes.into())) else {
        panic!("not a source description");
    };
    assert_eq!(read.cname(1).map(<[u8]>::len), Some(255));

    let raw = Raw {
        packet_type: 220,
        count: 3,
        content: vec![7; 300_000].into(),
    };
    assert_eq!(written(&raw.into()).len(), 4 + 4 * 0xffff);
    let nack = Nack {
        pairs: smallvec![NackPair::default(); 70_000],
        ..Nack::default()
    };
    assert_eq!(written(&nack.into()).len(), 4 + 4 * 0xffff);
    let bitrate = Remb {
        bitrate: u64::MAX,
        ..Remb::default()
    };
    let Packet::Remb(read) = one(&written(&bitrate.into())) else {
        panic!("not a REMB");
    };
    assert_eq!(read.bitrate, 0x3_ffff << 46);
}

#[test]
fn padding_is_taken_away_wherever_it_is() {
    let nack = vector("nack");
    let mut padded = nack.clone();
    padded[0] |= 0x20;
    padded[3] += 2;
    padded.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 8]);
    assert_eq!(one(&padded), one(&nack));
    padded.extend_from_slice(&nack);
    assert_eq!(packets(&padded).filter(Result::is_ok).count(), 2);
}

#[test]
fn pairs_hold_seventeen_numbers_across_the_wrap() {
    let numbers = (65_530..=65_535).chain(0..=11);
    let nack = Nack::new(1, 2, numbers.clone());
    assert_eq!(nack.pairs.len(), 2);
    assert_eq!(
        nack.pairs[0],
        NackPair {
            packet_id: 65_530,
            bitmask: 0xffff
        }
    );
    assert!(nack.sequence_numbers().eq(numbers));
    // Twice the same is once.
    assert!(Nack::new(1, 2, [5, 5, 6, 5]).sequence_numbers().eq([5, 6]));
}

#[test]
fn ccfb_tells_arrivals_and_marks() {
    let Packet::Ccfb(ccfb) = one(&vector("rfc8888_ccfb")) else {
        panic!("not congestion control feedback");
    };
    assert_eq!(ccfb.report_timestamp, NtpShort(0x1234_5678));
    let statuses: Vec<_> = ccfb.blocks[0].statuses().collect();
    assert_eq!(
        statuses
            .iter()
            .map(|(number, _)| *number)
            .collect::<Vec<_>>(),
        [65_534, 65_535, 0, 1, 2]
    );
    let received: Vec<_> = statuses
        .iter()
        .map(|(_, metric)| metric.is_received())
        .collect();
    assert_eq!(received, [true, false, true, true, true]);
    assert_eq!(statuses[0].1.ecn(), None);
    assert_eq!(statuses[3].1.ecn(), Some(EcnCodepoint::Ce));
    assert_eq!(statuses[2].1.ecn(), Some(EcnCodepoint::Ect1));
    assert_eq!(
        statuses[2].1.arrived_before_report(),
        Some(Duration::from_nanos(0x32 * 1_000_000_000 / 1024))
    );
    // Over range and not available have no time.
    assert_eq!(statuses[3].1.arrived_before_report(), None);
    assert_eq!(statuses[4].1.arrived_before_report(), None);

    let report_time = Duration::from_secs(10);
    let block = CcfbBlock::from_arrivals(
        7,
        report_time,
        [
            (65_535, Duration::from_secs(1), None),
            (1, Duration::from_millis(9_500), Some(EcnCodepoint::Ce)),
            (1, Duration::from_millis(9_600), None),
            (2, Duration::from_secs(11), Some(EcnCodepoint::Ect1)),
            (20_000, Duration::from_secs(10), None),
        ],
    );
    assert_eq!(block.metrics.len(), 4);
    let ce = block.metrics[2];
    assert_eq!(ce.ecn(), Some(EcnCodepoint::Ce));
    assert_eq!(ce.arrived_before_report(), Some(Duration::from_millis(500)));
    assert_eq!(block.metrics[1], PacketMetric::LOST);
    assert_eq!(block.metrics[1].ecn(), None);
    assert!(block.metrics[0].is_received());
    assert_eq!(block.metrics[0].arrived_before_report(), None);
    assert_eq!(block.metrics[3].arrived_before_report(), None);
}

#[test]
fn known_transport_feedback_is_read_exactly() {
    for entry in entries(VECTORS, Some("twcc")) {
        let name = entry["name"].as_str().unwrap();
        let datagram = bytes(&entry);
        let read: Vec<_> = packets(&datagram).collect();
        let [Ok(Packet::Twcc(twcc))] = &read[..] else {
            // A count of zero, a reserved symbol or a padding count of zero.
            let strict = ["pion_test_1", "pion_test_2", "pion_test_4", "pion_test_6"];
            assert!(
                entry["expect"] == "reject" || strict.contains(&name),
                "{name}: {read:?}"
            );
            continue;
        };
        assert_ne!(entry["expect"], "reject", "{name}");
        assert_eq!(twcc.sender_ssrc, entry["sender_ssrc"]);
        assert_eq!(twcc.media_ssrc, entry["media_ssrc"]);
        assert_eq!(twcc.base_sequence_number(), entry["base_seq"]);
        assert_eq!(twcc.status_count(), entry["packet_status_count"]);
        assert_eq!(twcc.feedback_count, entry["fb_pkt_count"]);
        // Vectors of other origin have the reference time without sign.
        let reference = entry["reference_time_64ms"].as_i64().unwrap();
        assert_eq!(
            i64::from(twcc.reference_time()) & 0xff_ffff,
            reference & 0xff_ffff
        );
        let shift = (reference - i64::from(twcc.reference_time())) * 64_000;
        let received: Vec<_> = twcc
            .statuses()
            .filter_map(|status| Some((status.sequence_number, status.arrival? * 250 + shift)))
            .collect();
        let expected: Vec<_> = entry["received"]
            .as_array()
            .unwrap()
            .iter()
            .map(|packet| {
                let number = packet["seq"].as_u64().unwrap() as u16;
                (number, packet["arrival_us"].as_i64().unwrap())
            })
            .collect();
        assert_eq!(received, expected, "{name}");
        assert_eq!(
            hex::encode(written(&read[0].clone().unwrap())),
            hex::encode(&datagram)
        );
    }
}

#[test]
fn the_builder_writes_known_transport_feedback() {
    let mut built = 0;
    for entry in entries(VECTORS, Some("twcc")) {
        let name = entry["name"].as_str().unwrap();
        if name.starts_with("pion") || entry["reference_time_64ms"].as_i64() < Some(0) {
            continue;
        }
        let base = entry["base_seq"].as_u64().unwrap() as u16;
        let mut builder = TwccBuilder::new(base, 1200);
        for packet in entry["received"].as_array().unwrap() {
            let number = packet["seq"].as_u64().unwrap() as u16;
            let arrival = Duration::from_micros(packet["arrival_us"].as_u64().unwrap());
            assert!(builder.push(number, arrival), "{name}");
        }
        let twcc = builder.finish(0x1111_1111, 0x2222_2222, 7).unwrap();
        let Packet::Twcc(expected) = one(&bytes(&entry)) else {
            panic!("{name}");
        };
        assert!(twcc.statuses().eq(expected.statuses()), "{name}");
        let length = written(&twcc.into()).len();
        assert!(length <= bytes(&entry).len(), "{name} is longer: {length}");
        built += 1;
    }
    assert!(built >= 5);
}

#[test]
fn the_builder_chooses_the_densest_chunk() {
    /// The chunks of a report on packets with these symbols.
    fn chunks(symbols: &str) -> String {
        let mut builder = TwccBuilder::new(0, 65_536);
        let mut time = Duration::from_secs(64);
        for (index, symbol) in symbols.bytes().enumerate() {
            match symbol {
                b'.' => continue,
                b's' => time += Duration::from_millis(1),
                _ => time += Duration::from_millis(100),
            }
            assert!(builder.push(index as u16, time));
        }
        let packet = written(&builder.finish(0, 0, 0).unwrap().into());
        let deltas: usize = symbols
            .bytes()
            .map(|symbol| match symbol {
                b'.' => 0,
                b's' => 1,
                _ => 2,
            })
            .sum();
        let padding = usize::from(packet[0] & 0x20 != 0) * usize::from(*packet.last().unwrap());
        hex::encode(&packet[20..packet.len() - deltas - padding])
    }
    assert_eq!(chunks("s"), "2001");
    assert_eq!(chunks(&"s".repeat(20)), "2014");
    assert_eq!(chunks(&"s".repeat(8192)), "3fff2001");
    // One bit each for fourteen, two bits for seven.
    assert_eq!(chunks("s.ss.s.s.ss..s"), "ad59");
    assert_eq!(chunks("sL.s"), "d840");
    // A run before a change of symbol, which a vector could not hold whole.
    assert_eq!(chunks(&format!("{}L", "s".repeat(15))), "200f4001");
    // Symbols of one bit meet one of two bits: seven leave, the rest joins it.
    assert_eq!(chunks("s.s.s.s.sL"), "d111c600");
}

#[test]
fn the_builder_refuses_what_one_report_cannot_tell() {
    let mut builder = TwccBuilder::new(10, 28);
    assert!(builder.push(10, Duration::from_secs(100)));
    assert!(!builder.push(10, Duration::from_secs(100)), "told already");
    assert!(
        !builder.push(9, Duration::from_secs(100)),
        "before the begin"
    );
    assert!(
        !builder.push(11, Duration::from_secs(109)),
        "8 s is the most"
    );
    assert!(!builder.push(11, Duration::from_secs(91)));
    assert!(
        !builder.push(0x800b, Duration::from_secs(100)),
        "half the numbers ahead"
    );
    // Two bytes of chunk and one each of delta: six fit 28 bytes.
    let fitting = (11..).take_while(|&number| builder.push(number, Duration::from_secs(100)));
    assert_eq!(fitting.count(), 5);
    let twcc = builder.finish(1, 2, 3).unwrap();
    assert_eq!(twcc.status_count(), 6);
    assert_eq!(written(&twcc.into()).len(), 28);
    assert_eq!(TwccBuilder::new(0, 1200).finish(1, 2, 3), None);
    assert!(!TwccBuilder::new(0, 0).push(0, Duration::ZERO));
}

#[test]
fn arrival_times_go_on_across_the_wrap_of_the_reference() {
    let wrap = Duration::from_millis(64 << 24);
    let mut builder = TwccBuilder::new(0, 1200);
    assert!(builder.push(0, wrap - Duration::from_millis(1)));
    assert!(builder.push(1, wrap + Duration::from_millis(1)));
    let twcc = builder.finish(1, 2, 3).unwrap();
    assert_eq!(twcc.reference_time(), -1);
    let times: Vec<_> = twcc
        .statuses()
        .filter_map(|status| status.arrival)
        .collect();
    assert_eq!(times[1] - times[0], 8);
    let mut later = TwccBuilder::new(0, 1200);
    assert!(later.push(2, wrap + Duration::from_millis(2)));
    let later = later.finish(1, 2, 4).unwrap();
    assert_eq!(later.statuses().last().unwrap().arrival, Some(8));
    assert_eq!((8 - times[1]).rem_euclid(Twcc::WRAP), 4);
}

#[test]
fn malformed_packets_are_refused() {
    for entry in entries(MALFORMED, None) {
        let datagram = bytes(&entry);
        exercise(&datagram);
        if entry["expect"] == "drop" || entry["expect"] == "ignore" {
            let name = entry["name"].as_str().unwrap();
            assert!(packets(&datagram).all(|packet| packet.is_err()), "{name}");
        }
    }
    let malformed_type = |packet_type| Err(Error::Malformed { packet_type });
    assert_eq!(malformed("3_bytes"), [Err(Error::Truncated)]);
    assert_eq!(malformed("version_0"), [Err(Error::Version)]);
    assert_eq!(malformed("padding_0"), [Err(Error::Padding)]);
    assert_eq!(malformed("padding_over"), [Err(Error::Padding)]);
    assert_eq!(malformed("rr_31_blocks_1_present"), [malformed_type(201)]);
    assert_eq!(malformed("remb_exp63"), [malformed_type(206)]);
    assert!(malformed("sdes_no_terminator")[0].is_ok());
    assert!(matches!(
        malformed("compound_garbage_tail")[..],
        [Ok(Packet::ReceiverReport(_)), Err(Error::Truncated)]
    ));
    let [Ok(Packet::Twcc(twcc))] = &malformed("twcc_chunks_overshoot")[..] else {
        panic!("not read");
    };
    assert_eq!(twcc.statuses().count(), 1);
    let [Ok(Packet::ExtendedReport(report))] = &malformed("dlrr_len_2")[..] else {
        panic!("not read");
    };
    assert_eq!(report.dlrr().count(), 0);
    let [Ok(Packet::Nack(nack))] = &malformed("nack_flood")[..] else {
        panic!("not read");
    };
    assert_eq!(nack.sequence_numbers().count(), 17_000);
}

#[test]
fn fuzz_seeds_are_read_and_written_again() {
    for entry in entries(SEEDS, None) {
        exercise(&bytes(&entry));
    }
}

#[test]
fn nothing_follows_an_error_and_nothing_is_in_an_empty_datagram() {
    assert_eq!(packets(&[]).next(), None);
    let mut datagram = vector("pli");
    datagram.extend_from_slice(&[0x40, 206, 0, 0]);
    datagram.extend_from_slice(&vector("pli"));
    let read: Vec<_> = packets(&datagram).collect();
    assert_eq!(read.len(), 2);
    assert_eq!(read[1], Err(Error::Version));
    assert!(!is_rtcp(&[0x80]));
    assert!(!is_rtcp(&[0x80, 96]));
    assert!(is_rtcp(&[0x80, 205]));
}

#[test]
fn packets_say_whom_they_are_about() {
    let sources = |name| one(&vector(name)).media_ssrcs().into_vec();
    assert_eq!(sources("sr_with_block"), [0x0102_0304, 0x0506_0708]);
    assert_eq!(sources("fir"), [0x0506_0708]);
    assert_eq!(sources("remb_two"), [0x0506_0708, 0x0a0b_0c0d]);
    assert_eq!(sources("xr_dlrr"), [0x0506_0708]);
    for name in [
        "pli",
        "nack",
        "xr_rrtr",
        "rfc8888_ccfb",
        "rtcp_app",
        "sdes_cname",
    ] {
        assert_eq!(
            one(&vector(name)).sender_ssrc(),
            Some(0x0102_0304),
            "{name}"
        );
    }
}
