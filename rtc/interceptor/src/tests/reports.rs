use rtc_rtcp::{ExtendedReport, NtpShort, NtpTime, ReceiverReport, SenderReport};

use super::*;

fn as_sender_report(packet: &RtcpPacket) -> Option<&SenderReport> {
    match packet {
        RtcpPacket::SenderReport(report) => Some(report),
        _ => None,
    }
}

fn as_receiver_report(packet: &RtcpPacket) -> Option<&ReceiverReport> {
    match packet {
        RtcpPacket::ReceiverReport(report) => Some(report),
        _ => None,
    }
}

fn as_extended_report(packet: &RtcpPacket) -> Option<&ExtendedReport> {
    match packet {
        RtcpPacket::ExtendedReport(report) => Some(report),
        _ => None,
    }
}

fn audio(ssrc: u32) -> StreamInfo {
    StreamInfo::new(ssrc, 111, 48_000, "audio/opus")
}

fn audio_packet(ssrc: u32, number: u16) -> Packet {
    let mut packet = packet(number, u32::from(number) * 960);
    packet.header.ssrc = ssrc;
    packet.header.payload_type = 111;
    packet
}

#[test]
fn the_first_sender_report_goes_with_the_first_packet() {
    let mut world = World::new();
    world.bind(&video());
    let mut first = packet(7, 1_234_567);
    first.header.padding = 20;
    world.send(A, first);
    world.run(ms(25));
    let report = world.rtcp(B, as_sender_report).next().unwrap();
    assert_eq!(report.ssrc, SSRC);
    assert_eq!(report.info.ntp_time, NtpTime::from_unix(UNIX_TIME));
    assert_eq!(report.info.rtp_timestamp, 1_234_567);
    // Padding and headers are no octets.
    assert_eq!(
        (report.info.packet_count, report.info.octet_count),
        (1, 100)
    );
    let name = world.rtcp(B, |packet| match packet {
        RtcpPacket::SourceDescription(sdes) => sdes.cname(SSRC),
        _ => None,
    });
    assert_eq!(name.last(), Some(&b"side-1-abcdefgh"[..]));
}

#[test]
fn sender_reports_come_about_every_second_with_the_time_of_both_clocks() {
    let mut world = World::new();
    world.bind(&video());
    world.stream(0, 1_000, ms(10));
    world.run(Duration::from_secs(5));
    let reports: Vec<_> = world.rtcp(B, as_sender_report).collect();
    assert!((11..=22).contains(&reports.len()), "{}", reports.len());
    for report in &reports {
        let wall = report.info.ntp_time.to_unix() - UNIX_TIME;
        let rtp = Duration::from_micros(u64::from(report.info.rtp_timestamp) * 1_000_000 / 90_000);
        // Three packets of 10 ms to a frame of 33 ms: the clock of the timestamps is a little fast,
        // and goes on at its rate when nothing is sent.
        let sent = (wall.as_millis() as u64 / 30).min(333);
        let last_frame = ms(sent * 30);
        let expected = Duration::from_micros(sent * 100_000 / 3) + (wall - last_frame);
        assert!(rtp.abs_diff(expected) <= ms(4), "{rtp:?} {expected:?}");
    }
    let last = reports.last().unwrap();
    assert_eq!(last.info.packet_count, 1_000);
    assert_eq!(last.info.octet_count, 100_000);

    let stats = world.sides[B].chain.remote_stats(SSRC).unwrap();
    let remote = stats.remote.unwrap();
    assert_eq!(remote.reports_received, reports.len() as u64);
    assert_eq!((remote.packets_sent, remote.bytes_sent), (1_000, 100_000));
    assert_eq!(remote.ntp_time, last.info.ntp_time);
}

#[test]
fn a_stream_that_is_silent_is_not_reported_on_until_it_goes_on() {
    let mut world = World::new();
    world.bind(&video());
    world.send(A, packet(0, 0));
    world.run(Duration::from_secs(60));
    let reports = world.rtcp(B, as_sender_report).count();
    assert!((4..=20).contains(&reports), "{reports}");
    world.run(Duration::from_secs(60));
    assert_eq!(world.rtcp(B, as_sender_report).count(), reports);
    world.send(A, packet(1, 3000));
    world.run(ms(25));
    assert_eq!(world.rtcp(B, as_sender_report).count(), reports + 1);
}

#[test]
fn the_capture_time_sets_the_clock_of_the_report() {
    let mut world = World::new();
    world.bind(&video());
    world.run(ms(500));
    let captured = world.now - ms(100);
    let sent = world.sides[A]
        .chain
        .outgoing_rtp(world.now, packet(0, 90_000), Some(captured));
    assert!(sent.is_some());
    world.pump(A);
    world.run(ms(30));
    let report = world.rtcp(B, as_sender_report).next().unwrap();
    assert_eq!(report.info.rtp_timestamp, 99_000);
}

#[test]
fn retransmissions_over_their_own_ssrc_are_not_in_the_sender_report() {
    let mut world = World::new();
    world.bind(&video());
    let mut left = 1;
    world.fate = Box::new(move |_, wire| match wire {
        Wire::Rtp(_) if left > 0 => {
            left -= 1;
            None
        }
        _ => Some(ms(20)),
    });
    world.send(A, packet(0, 0));
    world.fate = Box::new(|_, _| Some(ms(20)));
    world.stream(1, 200, ms(10));
    let chain = &mut world.sides[A].chain;
    chain.incoming_rtcp(world.now, rtc_rtcp::Nack::new(1, SSRC, [190, 191]).into());
    world.pump(A);
    world.run(Duration::from_secs(3));
    assert_eq!(
        world.sides[A].chain.local_stats(SSRC).unwrap().packets_sent,
        203
    );
    let last = world.rtcp(B, as_sender_report).last().unwrap();
    assert_eq!(last.info.packet_count, 201);
}

#[test]
fn receiver_reports_tell_loss_and_the_sender_learns_the_round_trip_time() {
    let mut world = World::new();
    let mut info = video();
    info.rtcp_feedback.nack = false;
    world.bind(&info);
    world.fate = Box::new(|_, wire| match wire {
        Wire::Rtp(datagram) => {
            let view = rtc_rtp::HeaderView::parse(datagram).unwrap();
            (view.sequence_number() % 4 != 3).then_some(ms(30))
        }
        Wire::Rtcp(_) => Some(ms(30)),
    });
    world.stream(65_000, 800, ms(10));
    // To the end of the next report, whose sequence numbers have wrapped.
    world.run(Duration::from_secs(2));

    let reports: Vec<_> = world.rtcp(A, as_receiver_report).collect();
    assert!(reports.len() >= 6);
    let blocks: Vec<_> = reports.iter().flat_map(|report| &report.blocks).collect();
    for block in &blocks[1..blocks.len() - 2] {
        assert!(
            block.fraction_lost.abs_diff(64) <= 4,
            "{}",
            block.fraction_lost
        );
    }
    let last = blocks.last().unwrap();
    assert_eq!(last.ssrc, SSRC);
    // The number before the last is 262: 65 000 + 799 modulo 65 536 is 263, which was lost.
    assert_eq!(last.extended_highest_sequence_number, 0x1_0000 + 262);
    assert_eq!(last.cumulative_lost, 199);

    let stats = world.sides[A].chain.local_stats(SSRC).unwrap();
    let remote = stats.remote.unwrap();
    assert_eq!(remote.packets_lost, 199);
    assert_eq!(remote.packets_received, 600);
    assert!(remote.round_trip.last.unwrap().abs_diff(ms(60)) < ms(1));
    assert_eq!(remote.round_trip.measurements as usize, blocks.len());
    let smoothed = world.sides[A].chain.session().round_trip_time().unwrap();
    assert!(smoothed.abs_diff(ms(60)) < ms(1));
    assert_eq!(world.sides[B].chain.session().round_trip_time(), None);
}

#[test]
fn a_report_without_loss_since_the_last_has_no_fraction() {
    let mut world = World::new();
    let mut info = video();
    info.rtcp_feedback.nack = false;
    world.bind(&info);
    let lossy = world.start + ms(500);
    let clock = std::rc::Rc::new(std::cell::Cell::new(world.start));
    let now = clock.clone();
    let mut turn = 0;
    world.fate = Box::new(move |_, wire| {
        turn += usize::from(matches!(wire, Wire::Rtp(_)));
        let lost = matches!(wire, Wire::Rtp(_)) && now.get() < lossy && turn % 2 == 0;
        (!lost).then_some(ms(10))
    });
    for number in 0..500 {
        clock.set(world.now);
        world.send(A, packet(number, u32::from(number) * 900));
        world.run(ms(10));
    }
    let fractions: Vec<_> = world
        .rtcp(A, as_receiver_report)
        .flat_map(|report| &report.blocks)
        .map(|block| block.fraction_lost)
        .collect();
    assert!(fractions[0] > 100, "{fractions:?}");
    assert_eq!(*fractions.last().unwrap(), 0);
}

#[test]
fn jitter_follows_the_formula_of_the_rfc() {
    let mut world = World::new();
    world.bind(&audio(5));
    let mut turn = 0;
    // Every other packet is 10 ms late: the difference is always 10 ms, 480 units.
    world.fate = Box::new(move |_, wire| {
        turn += usize::from(matches!(wire, Wire::Rtp(_)));
        Some(ms(if turn % 2 == 0 { 20 } else { 30 }))
    });
    for number in 0..300 {
        world.send(A, audio_packet(5, number));
        world.run(ms(20));
    }
    let jitter = world.sides[B].chain.remote_stats(5).unwrap().jitter;
    assert!(jitter.abs_diff(ms(10)) < ms(1), "{jitter:?}");
    let block = world
        .rtcp(A, as_receiver_report)
        .flat_map(|report| &report.blocks)
        .last()
        .unwrap();
    assert!(block.jitter.abs_diff(480) < 40, "{}", block.jitter);
}

#[test]
fn the_packets_of_one_frame_are_no_jitter() {
    let mut world = World::new();
    world.bind(&video());
    for frame in 0..100u16 {
        for index in 0..10 {
            world.send(A, packet(frame * 10 + index, u32::from(frame) * 3_600));
            world.run(ms(2));
        }
        world.run(ms(20));
    }
    let stats = world.sides[B].chain.remote_stats(SSRC).unwrap();
    assert_eq!(stats.jitter, Duration::ZERO);
}

#[test]
fn who_sends_and_receives_puts_what_it_received_into_its_sender_reports() {
    let mut world = World::new();
    world.bind(&audio(5));
    world.sides[B]
        .chain
        .bind_local_stream(world.now, &audio(6))
        .unwrap();
    world.sides[A]
        .chain
        .bind_remote_stream(world.now, &audio(6))
        .unwrap();
    for number in 0..500 {
        world.send(A, audio_packet(5, number));
        world.send(B, audio_packet(6, number));
        world.run(ms(20));
    }
    for (side, peer, own) in [(A, 6, 5), (B, 5, 6)] {
        let reports: Vec<_> = world.rtcp(side, as_sender_report).collect();
        assert!(reports.len() >= 7);
        assert!(reports.iter().all(|report| report.ssrc == peer));
        // The very first report goes before anything was received.
        for report in &reports[1..] {
            assert_eq!(report.blocks.len(), 1);
            assert_eq!(report.blocks[0].ssrc, own);
        }
        let others = world.rtcp(side, as_receiver_report).count();
        assert!(
            others <= reports.len() / 3,
            "{others} receiver reports beside {}",
            reports.len()
        );
        let round_trip = world.sides[side].chain.session().round_trip_time().unwrap();
        assert!(round_trip.abs_diff(ms(40)) < ms(1));
    }
}

#[test]
fn many_streams_need_many_reports_and_several_datagrams() {
    let mut world = World::with(Registry::with_defaults(), Registry::with_defaults(), false);
    for ssrc in 0..100 {
        world.bind(&audio(1_000 + ssrc));
    }
    for number in 0..150 {
        for ssrc in 0..100 {
            world.send(A, audio_packet(1_000 + ssrc, number));
        }
        world.run(ms(20));
    }
    world.run(ms(1_600));
    let reported: std::collections::BTreeSet<_> = world
        .rtcp(A, as_receiver_report)
        .flat_map(|report| &report.blocks)
        .map(|block| block.ssrc)
        .collect();
    assert_eq!(reported.len(), 100);
    let sending: std::collections::BTreeSet<_> = world
        .rtcp(B, as_sender_report)
        .map(|report| report.ssrc)
        .collect();
    assert_eq!(sending.len(), 100);
    assert!(
        world
            .rtcp(A, as_receiver_report)
            .all(|report| report.blocks.len() <= 31)
    );
    assert!(world.sides[A].chain.dropped_rtcp_packets() == 0);
    for ssrc in 1_000..1_100 {
        assert!(
            world.sides[A]
                .chain
                .local_stats(ssrc)
                .unwrap()
                .remote
                .is_some()
        );
    }
}

#[test]
fn a_receiver_learns_the_round_trip_time_by_extended_reports() {
    let reports = ReportConfig {
        receiver_reference_time: true,
        ..ReportConfig::default()
    };
    let registry = Registry::with_defaults()
        .without(Slot::ReceiverReport)
        .with(Slot::ReceiverReport, ReceiverReports::new(reports));
    let mut world = World::with(Registry::with_defaults(), registry, true);
    world.bind(&video());
    world.fate = Box::new(|_, _| Some(ms(35)));
    world.stream(0, 500, ms(10));
    let times: Vec<_> = world
        .rtcp(A, as_extended_report)
        .filter_map(ExtendedReport::receiver_reference_time)
        .collect();
    assert!(times.len() >= 3);
    let answers: Vec<_> = world
        .rtcp(B, as_extended_report)
        .flat_map(ExtendedReport::dlrr)
        .collect();
    assert!(!answers.is_empty());
    assert!(
        answers
            .iter()
            .all(|item| item.last_receiver_report != NtpShort::ZERO)
    );
    let round_trip = world.sides[B].chain.session().round_trip_time().unwrap();
    assert!(round_trip.abs_diff(ms(70)) < ms(1), "{round_trip:?}");
    let stats = world.sides[B].chain.remote_stats(SSRC).unwrap();
    assert_eq!(stats.round_trip.measurements as usize, answers.len());
    // A connection that sends does not need them.
    assert_eq!(
        world
            .rtcp(B, as_extended_report)
            .filter_map(ExtendedReport::receiver_reference_time)
            .count(),
        0
    );
}

#[test]
fn a_stream_that_ends_says_goodbye() {
    for reduced_size in [false, true] {
        let mut world = World::with(
            Registry::with_defaults(),
            Registry::with_defaults(),
            reduced_size,
        );
        world.bind(&video());
        world.stream(0, 10, ms(10));
        assert!(world.sides[A].chain.unbind_local_stream(world.now, SSRC));
        assert!(!world.sides[A].chain.unbind_local_stream(world.now, SSRC));
        world.pump(A);
        world.run(ms(100));
        let events: Vec<_> = world.sides[B]
            .events
            .iter()
            .map(|(_, event)| *event)
            .collect();
        assert_eq!(events, [Event::Goodbye { ssrc: SSRC }]);
        // Nothing is left to do for the sender, and soon for the receiver.
        assert_eq!(world.sides[A].chain.poll_timeout(), None);
        world.run(Duration::from_secs(30));
        assert_eq!(world.sides[B].chain.poll_timeout(), None);
        assert!(
            world.sides[A]
                .chain
                .outgoing_rtp(world.now, packet(1, 0), None)
                .is_none()
        );
        assert_eq!(world.sides[A].chain.unbound_packets(), 1);
    }
}

#[test]
fn without_reduced_size_every_datagram_begins_with_a_report_and_a_name() {
    for reduced_size in [false, true] {
        let mut world = World::with(
            Registry::with_defaults(),
            Registry::with_defaults(),
            reduced_size,
        );
        world.bind(&video());
        let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let datagrams = seen.clone();
        let mut turn = 0;
        world.fate = Box::new(move |_, wire| match wire {
            Wire::Rtp(_) => {
                turn += 1;
                (turn % 20 != 0).then_some(ms(20))
            }
            Wire::Rtcp(datagram) => {
                datagrams.borrow_mut().push(datagram.clone());
                Some(ms(20))
            }
        });
        world.stream(0, 300, ms(10));
        let mut alone = 0;
        for datagram in seen.borrow().iter() {
            let packets: Vec<_> = rtc_rtcp::packets(datagram).map(Result::unwrap).collect();
            let report = matches!(
                packets[0],
                RtcpPacket::SenderReport(_) | RtcpPacket::ReceiverReport(_)
            );
            let named = packets.iter().any(|packet| match packet {
                RtcpPacket::SourceDescription(sdes) => {
                    sdes.cname(packets[0].sender_ssrc().unwrap()).is_some()
                }
                _ => false,
            });
            assert_eq!(report, named);
            assert!(report || reduced_size);
            alone += usize::from(!report);
        }
        assert_eq!(alone > 0, reduced_size);
    }
}

#[test]
fn reports_about_streams_of_others_and_impossible_times_change_nothing() {
    let mut world = World::new();
    world.bind(&video());
    world.stream(0, 10, ms(10));
    let chain = &mut world.sides[A].chain;
    let block = rtc_rtcp::ReportBlock {
        ssrc: 99,
        last_sender_report: NtpShort(1),
        ..rtc_rtcp::ReportBlock::default()
    };
    let report = |block| {
        RtcpPacket::from(ReceiverReport {
            ssrc: 1,
            blocks: [block].into_iter().collect(),
        })
    };
    chain.incoming_rtcp(world.now, report(block));
    assert_eq!(chain.session().round_trip_time(), None);
    let future = chain.session().ntp_time(world.now + ms(500)).short();
    let block = rtc_rtcp::ReportBlock {
        ssrc: SSRC,
        cumulative_lost: -(1 << 23),
        extended_highest_sequence_number: u32::MAX,
        jitter: u32::MAX,
        last_sender_report: future,
        ..block
    };
    chain.incoming_rtcp(world.now, report(block));
    assert_eq!(chain.session().round_trip_time(), None);
    assert!(chain.local_stats(SSRC).unwrap().remote.is_some());
}
