use rtc_rtcp::{Fir, FirEntry, Pli};

use super::*;

fn requests(world: &World, side: usize) -> Vec<(Duration, RtcpPacket)> {
    world.sides[side]
        .rtcp
        .iter()
        .filter(|(_, packet)| matches!(packet, RtcpPacket::Pli(_) | RtcpPacket::Fir(_)))
        .map(|(at, packet)| (*at - world.start, packet.clone()))
        .collect()
}

fn with_key_frames(config: KeyFrameConfig) -> Registry {
    Registry::with_defaults()
        .without(Slot::IntervalPli)
        .with(Slot::IntervalPli, KeyFrames::new(config))
}

fn want(world: &mut World) -> bool {
    let possible = world.sides[B].chain.request_key_frame(SSRC);
    world.pump(B);
    possible
}

#[test]
fn a_key_frame_is_asked_for_by_what_was_negotiated() {
    let mut fir = video();
    fir.rtcp_feedback.nack_pli = false;
    let mut neither = fir.clone();
    neither.rtcp_feedback.ccm_fir = false;
    for (info, expected) in [(video(), 1), (fir, 2), (neither, 0)] {
        let mut world = World::new();
        world.bind(&info);
        assert_eq!(want(&mut world), expected > 0);
        world.run(ms(20));
        let found: Vec<_> = requests(&world, A)
            .into_iter()
            .map(|(_, packet)| match packet {
                RtcpPacket::Pli(pli) => {
                    assert_eq!(pli.media_ssrc, SSRC);
                    1
                }
                RtcpPacket::Fir(fir) => {
                    let entry = FirEntry {
                        ssrc: SSRC,
                        sequence_number: 1,
                    };
                    assert_eq!(fir.entries[..], [entry]);
                    2
                }
                _ => 0,
            })
            .collect();
        assert_eq!(found.iter().sum::<i32>(), expected);
        let stats = world.sides[B].chain.remote_stats(SSRC).unwrap();
        assert_eq!(stats.pli_count + stats.fir_count, u64::from(expected > 0));
    }
    let mut world = World::new();
    assert!(!want(&mut world), "not bound");
}

#[test]
fn wishes_in_a_row_are_one_request() {
    let mut world = World::new();
    world.bind(&video());
    for _ in 0..50 {
        want(&mut world);
        world.run(ms(10));
    }
    world.run(ms(500));
    let times: Vec<_> = requests(&world, A).into_iter().map(|(at, _)| at).collect();
    // 0, 200, 400 ms, and one for the wishes after that.
    assert_eq!(times, [ms(20), ms(220), ms(420), ms(620)]);
}

#[test]
fn a_request_is_repeated_until_a_key_frame_has_come() {
    let config = KeyFrameConfig {
        repeat_after: Some(ms(500)),
        max_repeats: 4,
        ..KeyFrameConfig::default()
    };
    let mut fir = video();
    fir.rtcp_feedback.nack_pli = false;

    let mut world = World::with(Registry::with_defaults(), with_key_frames(config), true);
    world.bind(&fir);
    want(&mut world);
    world.run(ms(1_200));
    let now = world.now;
    world.sides[B].chain.key_frame_received(now, SSRC);
    world.run(Duration::from_secs(3));
    let numbers = |world: &World| -> Vec<_> {
        requests(world, A)
            .into_iter()
            .map(|(_, packet)| match packet {
                RtcpPacket::Fir(fir) => fir.entries[0].sequence_number,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    // A repetition has the number of the request.
    assert_eq!(numbers(&world), [1, 1, 1]);
    // The sender was asked once.
    assert_eq!(world.sides[A].events.len(), 1);
    want(&mut world);
    world.run(Duration::from_secs(10));
    assert_eq!(numbers(&world), [1, 1, 1, 2, 2, 2, 2, 2]);
    assert_eq!(world.sides[A].events.len(), 2);
}

#[test]
fn key_frames_can_be_asked_for_regularly() {
    let config = KeyFrameConfig {
        every: Some(Duration::from_secs(2)),
        ..KeyFrameConfig::default()
    };
    let mut world = World::with(Registry::with_defaults(), with_key_frames(config), true);
    world.bind(&video());
    let audio = StreamInfo::new(5, 111, 48_000, "audio/opus");
    world.bind(&audio);
    world.run(Duration::from_secs(11));
    assert_eq!(requests(&world, A).len(), 5);
    world.sides[B].chain.unbind_remote_stream(world.now, SSRC);
    world.run(Duration::from_secs(11));
    assert_eq!(requests(&world, A).len(), 5);
    assert_eq!(world.sides[B].chain.poll_timeout(), None);
}

#[test]
fn the_application_is_told_of_requests_once_in_a_while() {
    let mut world = World::new();
    world.bind(&video());
    let pli = RtcpPacket::from(Pli {
        sender_ssrc: 1,
        media_ssrc: SSRC,
    });
    for _ in 0..10 {
        world.sides[A].chain.incoming_rtcp(world.now, pli.clone());
        world.pump(A);
        world.run(ms(50));
    }
    world.run(Duration::from_secs(1));
    let times: Vec<_> = world.sides[A]
        .events
        .iter()
        .map(|(at, _)| *at - world.start)
        .collect();
    assert_eq!(times, [ms(0), ms(300), ms(600)]);
    assert_eq!(
        world.sides[A].chain.local_stats(SSRC).unwrap().pli_count,
        10
    );

    let fir = |sender_ssrc, sequence_number| {
        RtcpPacket::from(Fir {
            sender_ssrc,
            entries: [FirEntry {
                ssrc: SSRC,
                sequence_number,
            }]
            .into_iter()
            .collect(),
        })
    };
    world.sides[A].events.clear();
    for (sender, number) in [(1, 7), (1, 7), (2, 7), (1, 7), (1, 8)] {
        world.sides[A]
            .chain
            .incoming_rtcp(world.now, fir(sender, number));
        world.pump(A);
        world.run(ms(400));
    }
    assert_eq!(
        world.sides[A].events.len(),
        3,
        "a repetition is not a request"
    );
}
