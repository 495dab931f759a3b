use std::collections::{BTreeSet, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;
use rtc_rtcp::Nack;
use rtc_rtp::HeaderView;
use rtc_rtp::extension::{Mid, RepairedRtpStreamId, RtpStreamId};

use super::*;

/// The sequence number that an RTP datagram carries or repeats, and whether it repeats.
fn original(datagram: &Bytes) -> (u16, bool) {
    let view = HeaderView::parse(datagram).unwrap();
    match view.ssrc() == RTX_SSRC {
        true => {
            let payload = &datagram[view.header_len()..];
            (u16::from_be_bytes([payload[0], payload[1]]), true)
        }
        false => (view.sequence_number(), false),
    }
}

/// Loses the first so many transmissions of each of these packets.
fn lose(losses: impl IntoIterator<Item = (u16, u8)>) -> Fate {
    let mut losses: HashMap<u16, u8> = losses.into_iter().collect();
    Box::new(move |_, wire| {
        if let Wire::Rtp(datagram) = wire
            && let Some(left) = losses.get_mut(&original(datagram).0)
            && *left > 0
        {
            *left -= 1;
            return None;
        }
        Some(ms(20))
    })
}

/// The sequence numbers that an RTCP datagram asks for.
fn requested(datagram: &[u8]) -> Vec<u16> {
    let packets: Vec<_> = rtc_rtcp::packets(datagram).flatten().collect();
    let nacks = packets.iter().filter_map(as_nack);
    nacks.flat_map(Nack::sequence_numbers).collect()
}

fn without_rtx() -> StreamInfo {
    let mut info = video();
    info.rtx = None;
    info
}

#[test]
fn a_lost_packet_comes_over_the_ssrc_of_the_retransmissions() {
    let mut world = World::new();
    let mut info = video();
    info.extensions.set(ExtensionKind::RtpStreamId, 5);
    info.extensions.set(ExtensionKind::RepairedRtpStreamId, 6);
    world.bind(&info);
    world.fate = lose([(11, 1)]);
    for number in 10..16 {
        let mut packet = packet(number, 3_000);
        packet.header.marker = number == 11;
        let extensions = &mut packet.header.extensions;
        extensions.set_value(4, &Mid("0")).unwrap();
        extensions.set_value(5, &RtpStreamId("hi")).unwrap();
        world.send(A, packet);
    }
    world.run(ms(200));

    assert_eq!(world.delivered(B), [10, 12, 13, 14, 15, 11]);
    let repeated = world.sides[B].delivered.last().unwrap();
    assert!(repeated.retransmission && repeated.wire_ssrc == RTX_SSRC);
    let header = &repeated.packet.header;
    assert_eq!((header.ssrc, header.payload_type), (SSRC, 96));
    assert!(header.marker);
    assert_eq!(header.timestamp, 3_000);
    assert_eq!(repeated.packet.payload, packet(11, 0).payload);
    // The retransmission names the stream it repairs, and has a transport-wide number of its own.
    assert_eq!(header.extensions.value(4), Some(Mid("0")));
    assert_eq!(header.extensions.get(5), None);
    assert_eq!(header.extensions.value(6), Some(RepairedRtpStreamId("hi")));
    let sent = world.sides[A].sent.last().unwrap();
    assert_eq!(sent.retransmission, Some(Retransmission::Rtx));
    assert_eq!(sent.transport_sequence_number, Some(6));

    let stats = world.sides[A].chain.local_stats(SSRC).unwrap();
    assert_eq!((stats.packets_sent, stats.nack_count), (7, 1));
    assert_eq!(stats.retransmitted_packets_sent, 1);
    assert_eq!(stats.retransmitted_bytes_sent, 102);
    let stats = world.sides[B].chain.remote_stats(SSRC).unwrap();
    assert_eq!((stats.packets_received, stats.nack_count), (6, 1));
    assert_eq!(stats.retransmitted_packets_received, 1);
    assert_eq!((stats.packets_lost, stats.duplicate_packets), (1, 0));
    assert_eq!(stats.packets_received_with_ect1, 6);
}

#[test]
fn without_an_ssrc_for_it_the_very_same_packet_is_repeated() {
    let mut world = World::new();
    world.bind(&without_rtx());
    world.fate = lose([(11, 1)]);
    for number in 10..16 {
        world.send(A, packet(number, 0));
    }
    world.run(ms(200));
    assert_eq!(world.delivered(B), [10, 12, 13, 14, 15, 11]);
    let sent = &world.sides[A].sent;
    assert_eq!(sent[6].retransmission, Some(Retransmission::Verbatim));
    assert_eq!(sent[6].packet, sent[1].packet);
}

#[test]
fn reordering_is_waited_for() {
    let mut world = World::new();
    world.bind(&video());
    // The second packet is overtaken by two; the third to last by one.
    world.fate = Box::new(|_, wire| match wire {
        Wire::Rtp(datagram) if original(datagram).0 == 11 => Some(ms(23)),
        _ => Some(ms(20)),
    });
    world.stream(10, 10, ms(2));
    world.run(ms(300));
    assert_eq!(world.rtcp(A, as_nack).count(), 0);
    assert_eq!(world.delivered(B).len(), 10);

    // A gap at the end of a burst is asked for after a while.
    world.fate = lose([(20, 1)]);
    let asked = world.now + ms(20) + NackGeneratorConfig::default().reorder_delay;
    world.send(A, packet(20, 0));
    world.send(A, packet(21, 0));
    world.run(ms(300));
    assert_eq!(world.delivered(B)[10..], [21, 20]);
    let (arrival, _) = world.sides[A]
        .rtcp
        .iter()
        .find(|(_, packet)| as_nack(packet).is_some())
        .unwrap();
    assert_eq!(*arrival, asked + ms(20));
}

#[test]
fn requests_are_repeated_by_the_round_trip_time_and_given_up() {
    let mut world = World::new();
    world.bind(&video());
    world.fate = Box::new(|_, wire| match wire {
        Wire::Rtp(datagram) if original(datagram).0 == 50 => None,
        _ => Some(ms(20)),
    });
    world.stream(0, 100, ms(20));
    // A measured the round trip time by B's reports; B has none to measure by, it is told.
    let measured = world.sides[A].chain.session().round_trip_time().unwrap();
    assert!(measured.abs_diff(ms(40)) < ms(2), "{measured:?}");
    world.run(Duration::from_secs(5));
    let requests: Vec<_> = world.sides[A]
        .rtcp
        .iter()
        .filter(|(_, packet)| as_nack(packet).is_some())
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(requests.len(), 10, "the most that one packet is asked for");
    for pair in requests.windows(2) {
        assert_eq!(pair[1] - pair[0], ms(125), "the time assumed at first");
    }
    assert!(!world.delivered(B).contains(&50));
}

#[test]
fn a_receiver_that_knows_the_round_trip_time_repeats_accordingly() {
    let mut world = World::new();
    world.bind(&video());
    world.sides[B]
        .chain
        .session_mut()
        .add_round_trip_time(ms(40));
    world.fate = lose([(3, 4)]);
    world.stream(0, 50, ms(10));
    world.run(ms(500));
    let requests: Vec<_> = world.sides[A]
        .rtcp
        .iter()
        .filter(|(_, packet)| as_nack(packet).is_some())
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(requests.len(), 4);
    assert!(requests.windows(2).all(|pair| pair[1] - pair[0] == ms(50)));
    assert_eq!(world.delivered(B).len(), 50);
}

#[test]
fn one_packet_is_not_repeated_twice_within_a_round_trip() {
    let mut world = World::new();
    world.bind(&video());
    world.stream(0, 20, ms(1));
    world.run(ms(50));
    let chain = &mut world.sides[A].chain;
    chain.session_mut().add_round_trip_time(ms(80));
    let nack = RtcpPacket::from(Nack::new(9, SSRC, [5, 5, 6]));
    let repeated = |chain: &mut Chain, now| {
        chain.incoming_rtcp(now, nack.clone());
        std::iter::from_fn(|| chain.poll_outgoing_rtp(now)).count()
    };
    let now = world.now;
    assert_eq!(repeated(chain, now), 2);
    let pause = chain.session().round_trip_time().unwrap();
    assert_eq!(repeated(chain, now + pause - ms(1)), 0);
    assert_eq!(repeated(chain, now + pause), 2);
    // What is older than three seconds is gone, also of a stream of few packets.
    assert_eq!(repeated(chain, now + ms(2_900)), 2);
    assert_eq!(repeated(chain, now + ms(3_100)), 0);
    // Of a stream that is not ours, and of packets never sent.
    let foreign = RtcpPacket::from(Nack::new(9, 12_345, [5]));
    chain.incoming_rtcp(now, foreign);
    assert!(chain.poll_outgoing_rtp(now).is_none());
}

#[test]
fn a_flood_of_requests_makes_a_bounded_number_of_retransmissions() {
    let mut world = World::new();
    world.bind(&video());
    let start = world.now;
    let chain = &mut world.sides[A].chain;
    for number in 0..5_000 {
        assert!(chain.outgoing_rtp(start, packet(number, 0), None).is_some());
    }
    for _ in 0..3 {
        chain.incoming_rtcp(start, Nack::new(9, SSRC, 0..=65_535).into());
    }
    let repeated = std::iter::from_fn(|| chain.poll_outgoing_rtp(start)).count();
    assert_eq!(repeated, NackResponderConfig::default().max_waiting);
}

#[test]
fn too_great_a_gap_asks_for_a_key_frame_instead() {
    let mut world = World::new();
    world.bind(&video());
    world.stream(0, 5, ms(1));
    world.run(ms(100));
    world.send(A, packet(1_500, 9_000));
    world.send(A, packet(1_501, 9_000));
    world.run(ms(300));
    assert_eq!(world.rtcp(A, as_nack).count(), 0);
    assert_eq!(
        world.sides[B].chain.remote_stats(SSRC).unwrap().pli_count,
        1
    );
    assert_eq!(world.sides[A].chain.local_stats(SSRC).unwrap().pli_count, 1);
    assert_eq!(
        world.sides[A].events[0].1,
        Event::KeyFrameRequested { ssrc: SSRC }
    );
}

#[test]
fn a_stream_that_restarts_elsewhere_is_delivered_and_not_asked_for() {
    let mut world = World::new();
    world.bind(&video());
    world.stream(1_000, 50, ms(5));
    world.stream(40_000, 50, ms(5));
    world.stream(1_010, 50, ms(5));
    world.run(ms(300));
    assert_eq!(world.delivered(B).len(), 150);
    assert_eq!(world.rtcp(A, as_nack).count(), 0);
}

#[test]
fn padding_and_unknown_retransmissions_are_not_delivered() {
    let mut world = World::new();
    world.bind(&video());
    world.stream(0, 3, ms(1));
    world.run(ms(50));
    let id = world.sides[A].chain.session().local_by_ssrc(SSRC).unwrap();
    let stream = world.sides[A].chain.session_mut().local_mut(id).unwrap();
    let probe = stream.padding(0, 200).unwrap();
    assert_eq!(probe.encoded_len(), 212);
    assert!(stream.padding(0, 0).is_none());
    let mut unknown = stream.wrap_retransmission(&packet(7, 0)).unwrap();
    unknown.header.payload_type = 50;
    world.launch(A, Wire::Rtp(probe.to_bytes()));
    world.launch(A, Wire::Rtp(unknown.to_bytes()));
    world.run(ms(50));
    assert_eq!(world.delivered(B), [0, 1, 2]);
    let stats = world.sides[B].chain.remote_stats(SSRC).unwrap();
    assert_eq!(stats.packets_received, 5);
}

#[test]
fn probing_by_retransmissions_delivers_nothing_twice() {
    let mut world = World::new();
    world.bind(&video());
    world.stream(0, 20, ms(1));
    let id = world.sides[A].chain.session().local_by_ssrc(SSRC).unwrap();
    for number in 0..20 {
        let stream = world.sides[A].chain.session_mut().local_mut(id).unwrap();
        let repeated = stream.wrap_retransmission(&packet(number, 0)).unwrap();
        world.launch(A, Wire::Rtp(repeated.to_bytes()));
    }
    world.run(ms(100));
    assert_eq!(world.delivered(B).len(), 20);
    let stats = world.sides[B].chain.remote_stats(SSRC).unwrap();
    assert_eq!(stats.duplicate_packets, 20);
}

#[test]
fn an_idle_sender_lets_its_history_go_and_has_no_timer_for_it() {
    let registry = || {
        Registry::new().with(
            Slot::NackResponder,
            NackResponder::new(NackResponderConfig::default()),
        )
    };
    let mut world = World::with(registry(), registry(), true);
    world.bind(&video());
    let payload = Bytes::from(vec![0; 100]);
    let mut first = packet(0, 0);
    first.payload = payload.clone();
    world.send(A, first);
    world.sides[A].sent.clear();
    world.run(ms(3_500));
    world.sides[B].delivered.clear();
    assert!(payload.is_unique(), "the history still holds the payload");
    assert_eq!(world.sides[A].chain.poll_timeout(), None);
}

/// How many times each packet is lost, and how much later than others it arrives.
fn pattern() -> impl Strategy<Value = Vec<(u8, u64)>> {
    let losses = prop_oneof![6 => Just(0u8), 2 => Just(1), 1 => 2u8..4];
    let late = prop_oneof![3 => Just(0u64), 1 => 0u64..12];
    vec((losses, late), 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_lost_within_the_window_is_recovered_once(
        first in any::<u16>(),
        pattern in pattern(),
        rtx in any::<bool>(),
        spacing in 1u64..6,
        lost_rtcp in vec(prop::bool::weighted(0.15), 1..40),
        reduced_size in any::<bool>(),
    ) {
        let defaults = Registry::with_defaults;
        let mut world = World::with(defaults(), defaults(), reduced_size);
        world.bind(&if rtx { video() } else { without_rtx() });
        let count = pattern.len() as u16;
        let fates = pattern.clone();
        let mut lost: HashMap<u16, u8> = HashMap::new();
        let mut rtcp = lost_rtcp.into_iter().cycle();
        let mut unheard: HashMap<u16, u8> = HashMap::new();
        world.fate = Box::new(move |from, wire| match wire {
            Wire::Rtp(datagram) => {
                let number = original(datagram).0;
                let index = usize::from(number.wrapping_sub(first));
                let Some(&(losses, late)) = fates.get(index) else {
                    return Some(ms(20));
                };
                let times = lost.entry(number).or_default();
                // The first packet begins the stream for the receiver.
                if *times < losses && index > 0 {
                    *times += 1;
                    return None;
                }
                Some(ms(20 + if index > 0 { late } else { 0 }))
            }
            Wire::Rtcp(datagram) => {
                // Of the requests for one packet at most three are lost, so that the others come
                // before the packet is too old.
                let asked = requested(datagram);
                let lost = from == B
                    && rtcp.next().unwrap_or(false)
                    && asked.iter().all(|number| unheard.get(number).is_none_or(|&times| times < 3));
                if lost {
                    asked.iter().for_each(|&number| *unheard.entry(number).or_default() += 1);
                }
                (!lost).then_some(ms(20))
            }
        });
        // Three more that arrive show whether the last of the others is missing.
        world.stream(first, count + 3, ms(spacing));
        world.run(Duration::from_secs(3));

        let delivered = world.delivered(B);
        let set: BTreeSet<_> = delivered.iter().copied().collect();
        prop_assert_eq!(set.len(), delivered.len(), "nothing is delivered twice");
        let missing: Vec<_> = (0..count + 3)
            .map(|index| first.wrapping_add(index))
            .filter(|number| !set.contains(number))
            .collect();
        prop_assert!(missing.is_empty(), "missing {:?}", missing);
        for incoming in &world.sides[B].delivered {
            let number = incoming.packet.header.sequence_number;
            let index = u32::from(number.wrapping_sub(first));
            prop_assert_eq!(&incoming.packet.payload, &packet(number, 0).payload);
            prop_assert_eq!(incoming.packet.header.timestamp, index / 3 * 3_000);
            prop_assert_eq!(incoming.packet.header.ssrc, SSRC);
        }
    }

    #[test]
    fn arbitrary_packets_never_panic_nor_stop_time(
        numbers in vec((any::<u16>(), any::<bool>(), vec(any::<u8>(), 0..6), 96u8..99), 1..200),
        nacks in vec((any::<u16>(), any::<u16>()), 1..50),
    ) {
        let mut world = World::new();
        world.bind(&video());
        for (number, repeated, payload, payload_type) in numbers {
            let mut packet = packet(number, u32::from(number) << 13);
            packet.header.payload_type = payload_type;
            packet.payload = payload.into();
            if repeated {
                packet.header.ssrc = RTX_SSRC;
            }
            packet.header.extensions.set(3, &number.rotate_left(3).to_be_bytes()).unwrap();
            world.launch(A, Wire::Rtp(packet.to_bytes()));
            world.run(ms(1));
        }
        let pairs = nacks.into_iter().map(|(packet_id, bitmask)| rtc_rtcp::NackPair { packet_id, bitmask });
        let nack = Nack { sender_ssrc: 1, media_ssrc: SSRC, pairs: pairs.collect() };
        let mut datagram = Vec::new();
        RtcpPacket::from(nack).write(&mut datagram);
        world.launch(B, Wire::Rtcp(datagram));
        world.run(Duration::from_secs(20));
    }
}
