use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use rtc_rtcp::Twcc;
use rtc_rtp::extension::{AbsSendTime, TransportSequenceNumber};

use super::*;

fn as_twcc(packet: &RtcpPacket) -> Option<&Twcc> {
    match packet {
        RtcpPacket::Twcc(twcc) => Some(twcc),
        _ => None,
    }
}

#[test]
fn packets_are_numbered_over_all_streams() {
    let mut world = World::new();
    let first = video();
    let mut second = video();
    second.ssrc = 7;
    second.rtx = None;
    second.extensions.set(ExtensionKind::AbsSendTime, 9);
    let mut plain = video();
    plain.ssrc = 8;
    plain.rtx = None;
    plain.rtcp_feedback.transport_cc = false;
    for info in [&first, &second, &plain] {
        world.bind(info);
    }
    for number in 0..4 {
        for ssrc in [SSRC, 7, 8] {
            let mut packet = packet(number, 0);
            packet.header.ssrc = ssrc;
            world.send(A, packet);
        }
    }
    let numbers: Vec<_> = world.sides[A]
        .sent
        .iter()
        .map(|sent| {
            let value = sent.packet.header.extensions.value(3);
            let number = value.map(|TransportSequenceNumber(number)| number);
            assert_eq!(number, sent.transport_sequence_number);
            number
        })
        .collect();
    assert_eq!(
        numbers[..6],
        [Some(0), Some(1), None, Some(2), Some(3), None]
    );
    let time = AbsSendTime::from_ntp(world.sides[A].chain.session().ntp_time(world.now).0);
    assert_eq!(
        world.sides[A].sent[1].packet.header.extensions.value(9),
        Some(time)
    );
    assert_eq!(world.sides[A].sent[0].packet.header.extensions.get(9), None);
    assert_eq!(world.sides[A].chain.session().sent_packets().len(), 8);
}

#[test]
fn the_sender_learns_when_each_packet_arrived() {
    let mut world = World::new();
    let mut info = video();
    info.rtcp_feedback.nack = false;
    world.bind(&info);
    let mut turn = 0;
    world.fate = Box::new(move |from, _| {
        turn += usize::from(from == A);
        (from == B || turn % 10 != 0).then_some(ms(20 + (turn as u64 * 7) % 5))
    });
    let mut truth = BTreeMap::new();
    for number in 0..500u16 {
        world.send(A, packet(number, 0));
        world.run(ms(4));
    }
    world.run(ms(300));
    for incoming in &world.sides[B].delivered {
        let number = incoming.packet.header.extensions.value(3);
        let Some(TransportSequenceNumber(number)) = number else {
            panic!("no number");
        };
        truth.insert(number, incoming.arrival);
    }
    let session = world.sides[A].chain.session();
    let mut told = BTreeMap::new();
    let mut feedback_count = 0u8;
    for twcc in world.rtcp(A, as_twcc) {
        assert_eq!(twcc.feedback_count, feedback_count);
        assert_eq!(twcc.media_ssrc, SSRC);
        feedback_count = feedback_count.wrapping_add(1);
        for report in session.sent_packets().reports(twcc) {
            assert_eq!(
                report.sent,
                world.start + ms(4) * report.sequence_number as u32
            );
            assert_eq!(report.size, 120);
            if let Some(arrival) = report.arrival {
                told.insert(report.sequence_number as u16, arrival);
            }
        }
    }
    assert_eq!(told.len(), truth.len());
    let (first, origin) = truth.iter().next().unwrap();
    for (number, arrival) in &truth {
        let real = arrival.duration_since(world.start).as_micros() as i64
            - origin.duration_since(world.start).as_micros() as i64;
        let ticks = told[number] - told[first];
        assert!((ticks * 250 - real).abs() <= 250, "{number}");
    }
    // Sent each 50 to 100 ms over two seconds.
    assert!((20..=45).contains(&feedback_count), "{feedback_count}");
}

#[test]
fn a_late_packet_is_told_of_in_the_next_report() {
    let mut world = World::new();
    let mut info = video();
    info.rtcp_feedback.nack = false;
    world.bind(&info);
    world.fate = Box::new(|_, wire| match wire {
        Wire::Rtp(datagram) if datagram[3] == 5 => Some(ms(200)),
        _ => Some(ms(20)),
    });
    world.stream(0, 100, ms(5));
    world.run(ms(300));
    let told: Vec<_> = world
        .rtcp(A, as_twcc)
        .flat_map(|twcc| twcc.statuses())
        .filter(|status| status.sequence_number == 5)
        .map(|status| status.arrival.is_some())
        .collect();
    assert!(!told[0], "missing at first");
    assert!(told[told.len() - 1], "told of when it came");
}

#[test]
fn reports_are_sent_by_the_bandwidth_and_only_when_there_is_something_to_tell() {
    let rate = |packets_per_second: u64| {
        let mut world = World::new();
        world.bind(&video());
        let count = (packets_per_second * 4) as u16;
        world.stream(
            0,
            count,
            Duration::from_micros(1_000_000 / packets_per_second),
        );
        let reports = world.rtcp(A, as_twcc).count();
        // Sender and receiver reports go on; this does not.
        world.run(ms(200));
        let settled = world.rtcp(A, as_twcc).count();
        world.run(Duration::from_secs(10));
        assert_eq!(world.rtcp(A, as_twcc).count(), settled);
        reports
    };
    // 200 packets of 120 bytes in a second are 192 kbit/s: five percent are 15 reports of 80 bytes.
    let (slow, middle, fast) = (rate(20), rate(200), rate(1_000));
    assert!((24..=40).contains(&slow), "{slow}");
    assert!((48..=64).contains(&middle), "{middle}");
    assert!((70..=80).contains(&fast), "{fast}");
}

#[test]
fn long_reports_are_split() {
    let config = TwccReceiverConfig {
        max_len: 100,
        ..TwccReceiverConfig::default()
    };
    let registry = Registry::with_defaults()
        .without(Slot::TwccReceiver)
        .with(Slot::TwccReceiver, TwccReceiver::new(config));
    let mut world = World::with(Registry::with_defaults(), registry, true);
    world.bind(&video());
    world.stream(0, 1_000, Duration::from_micros(200));
    world.run(ms(300));
    let mut told = std::collections::BTreeSet::new();
    for twcc in world.rtcp(A, as_twcc) {
        assert!(RtcpPacket::from(twcc.clone()).written_len() <= 100);
        told.extend(twcc.statuses().map(|status| status.sequence_number));
    }
    assert_eq!(told.len(), 1_000);
}

#[test]
fn what_was_sent_is_kept_for_a_while() {
    let mut world = World::new();
    world.bind(&video());
    let chain = &mut world.sides[A].chain;
    for number in 0..40_000u32 {
        let now = world.now + Duration::from_micros(100) * number;
        assert!(
            chain
                .outgoing_rtp(now, packet(number as u16, 0), None)
                .is_some()
        );
    }
    assert_eq!(chain.session().sent_packets().len(), 1 << 15);
    let later = world.now + Duration::from_secs(60);
    assert!(chain.outgoing_rtp(later, packet(0, 0), None).is_some());
    assert_eq!(chain.session().sent_packets().len(), 1);
    assert!(!chain.session().sent_packets().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_arrival_is_told_of_whatever_the_path_does(
        first in any::<u16>(),
        fates in vec((prop::bool::weighted(0.2), 0u64..60), 1..300),
        steps in vec(prop_oneof![9 => Just(1u16), 1 => 1u16..2_000], 1..300),
    ) {
        let mut world = World::new();
        let mut info = video();
        info.rtcp_feedback.nack = false;
        world.bind(&info);
        let mut number = first;
        let mut arrived = BTreeMap::new();
        // The transport-wide numbers are the path's own here, so that they can begin and jump anywhere.
        for (index, ((lost, late), step)) in fates.iter().zip(&steps).enumerate() {
            let mut packet = packet(index as u16, 0);
            packet.header.extensions.set_value(3, &TransportSequenceNumber(number)).unwrap();
            if !lost {
                let at = world.now + ms(20 + late);
                world.in_flight.push((at, B, Wire::Rtp(packet.to_bytes())));
                if arrived.is_empty() && *late > 0 {
                    // What comes before the first to arrive is not known of.
                    world.run(ms(100));
                }
                arrived.insert(number, at);
            }
            number = number.wrapping_add(*step);
            world.run(ms(3));
        }
        world.run(ms(500));
        let mut told = BTreeMap::new();
        for twcc in world.rtcp(A, as_twcc) {
            for status in twcc.statuses() {
                if let Some(arrival) = status.arrival {
                    let before = told.insert(status.sequence_number, arrival);
                    prop_assert!(before.is_none_or(|before| before == arrival));
                }
            }
        }
        // Numbers may come twice when the jumps went round.
        let span: u32 = steps.iter().take(fates.len()).map(|&step| u32::from(step)).sum();
        if span < 12_000 {
            prop_assert!(told.keys().eq(arrived.keys()), "{:?} {:?}", told.len(), arrived.len());
            let mut base = None;
            for (number, at) in &arrived {
                let micros = at.duration_since(world.start).as_micros() as i64;
                let offset = told[number] * 250 - micros;
                let base = *base.get_or_insert(offset);
                prop_assert!((offset - base).abs() <= 250);
            }
        }
    }
}
