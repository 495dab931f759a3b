//! What becomes of media that cannot be sent now.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future;
use rtc::media::{Codec, Sample};
use rtc::rtp::Packet;
use rtc::rtp::extension::ExtensionMap;
use rtc::rtp_transceiver::RTCRtpTransceiverDirection::{Recvonly, Sendrecv};
use rtc::rtp_transceiver::RtpCodecKind::{Audio, Video};
use rtc_driver::{LocalTrack, Overflow, PeerConnection, SendError, TrackFeedback, rtc};

use crate::scene::{Flag, OneWay, Scene, connect, number, packet, poll_once, signal, track};

const MS: Duration = Duration::from_millis(1);

/// A packet of VP8 that carries a whole frame.
fn frame(number: u16, is_key: bool) -> Packet {
    let mut packet = packet(number);
    // The descriptor says where the frame begins, the lowest bit of its first byte whether it needs no
    // other.
    let first = if is_key { 0 } else { 1 };
    let mut payload = vec![0x10, first, 0, 0, 0x9d, 0x01, 0x2a, 16, 0, 16, 0];
    payload.extend(number.to_be_bytes());
    packet.header.marker = true;
    packet.payload = payload.into();
    assert_eq!(Codec::Vp8.is_key_frame(&packet.payload), is_key);
    packet
}

fn frame_number(packet: &Packet) -> u16 {
    let tail = &packet.payload[packet.payload.len() - 2..];
    u16::from_be_bytes(tail.try_into().unwrap())
}

fn sample(len: usize) -> Sample {
    Sample {
        data: Bytes::from(vec![7; len]),
        duration: 20 * MS,
        ..Sample::default()
    }
}

/// Exchanges the descriptions of peers whose network is cut, so that nothing can be sent yet.
async fn negotiated_only(
    world: &Scene,
    kind: rtc::rtp_transceiver::RtpCodecKind,
) -> (PeerConnection, PeerConnection, LocalTrack) {
    let (alice, bob) = world.pair();
    let here = alice.add_track(track("camera", kind)).unwrap();
    world.cut(&world.a, &world.b);
    signal(&alice, &bob).await;
    (alice, bob, here)
}

#[test]
fn who_waits_loses_nothing_however_early_and_fast_it_writes() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let here = alice.add_track(track("film", Video)).unwrap();
        here.set_overflow(Overflow::Wait);
        assert_eq!(here.try_write_rtp(packet(0)), Err(SendError::Full));
        let map = ExtensionMap::default();
        assert_eq!(here.try_forward_rtp(packet(0), &map), Err(SendError::Full));
        let write = async {
            for number in 0..5_000 {
                here.write_rtp(packet(number)).await.unwrap();
                if number % 50 == 49 {
                    // The peer's room is bounded too.
                    world.sleep(MS).await;
                }
            }
            here.dropped()
        };
        let read = async {
            world.sleep(3_000 * MS).await;
            signal(&alice, &bob).await;
            let there = bob.tracks().next().await.unwrap();
            for expected in 0..5_000 {
                assert_eq!(number(&there.read_rtp().await.unwrap()), expected);
            }
        };
        let (dropped, ()) = future::join(write, read).await;
        assert_eq!(dropped, 0);
        let (waiting, unsent) = alice.with_core(|core| {
            let counters = core.counters().media;
            (core.buffered_rtp(), counters.dropped_unsent)
        });
        assert_eq!((waiting, unsent), (0, 0));
    });
}

#[test]
fn who_waits_is_let_go_on_when_sending_is_negotiated_again() {
    let world = Scene::new();
    world.run(async {
        let OneWay {
            alice,
            bob,
            here,
            there,
        } = world.one_way(Audio).await;
        here.set_overflow(Overflow::Wait);
        let transceiver = here.transceiver();
        transceiver.set_direction(Recvonly).unwrap();
        signal(&alice, &bob).await;
        let flag: Arc<Flag> = Arc::default();
        let mut write = pin!(here.write_rtp(packet(1)));
        // The driver is still to look at what was negotiated.
        world.sleep(100 * MS).await;
        assert!(poll_once(write.as_mut(), &flag).is_pending());
        world.sleep(5_000 * MS).await;
        assert_eq!(flag.take(), 0);
        assert!(poll_once(pin!(here.write_rtp(packet(9))), &flag).is_pending());
        transceiver.set_direction(Sendrecv).unwrap();
        signal(&alice, &bob).await;
        write.await.unwrap();
        assert_eq!(number(&there.read_rtp().await.unwrap()), 1);
        assert!(poll_once(pin!(there.read_rtp()), &flag).is_pending());
    });
}

#[test]
fn live_media_never_waits() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let here = alice.add_track(track("voice", Audio)).unwrap();
        here.try_write_rtp(packet(1)).unwrap();
        here.write_sample(&sample(50)).await.unwrap();
        assert_eq!(here.dropped(), 2);
        connect(&alice, &bob).await;
        let there = bob.tracks().next().await.unwrap();
        here.write_rtp(packet(3)).await.unwrap();
        assert_eq!(number(&there.read_rtp().await.unwrap()), 3);
        assert_eq!(here.dropped(), 2);
    });
}

#[test]
fn live_media_that_waits_too_long_gives_way_to_what_is_new() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob, here) = negotiated_only(&world, Audio).await;
        for number in 0..200 {
            here.write_rtp(packet(number)).await.unwrap();
            world.sleep(20 * MS).await;
        }
        world.heal(&world.a, &world.b);
        alice.connected().await.unwrap();
        let there = bob.tracks().next().await.unwrap();
        let first = number(&there.read_rtp().await.unwrap());
        // A second is as much as waits.
        assert!((140..200).contains(&first), "{first}");
        assert_eq!(here.dropped(), 0, "it was the core that dropped");
    });
}

#[test]
fn video_that_was_cut_short_goes_on_with_a_key_frame() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob, here) = negotiated_only(&world, Video).await;
        here.set_overflow(Overflow::DropToKeyFrame);
        let mut feedback = here.feedback();
        for number in 0..2_100 {
            here.write_rtp(frame(number, number % 1_000 == 0))
                .await
                .unwrap();
        }
        // 2048 wait, and the rest is dropped, key frames too.
        assert_eq!(here.dropped(), 52);
        here.write_rtp(frame(2_100, true)).await.unwrap();
        assert_eq!(here.dropped(), 53);
        let flag: Arc<Flag> = Arc::default();
        assert!(poll_once(pin!(feedback.next()), &flag).is_pending());
        world.heal(&world.a, &world.b);
        alice.connected().await.unwrap();
        let there = bob.tracks().next().await.unwrap();
        // Of what waited comes what is not too old by now.
        world.sleep(100 * MS).await;
        here.write_rtp(frame(2_101, false)).await.unwrap();
        here.write_rtp(frame(2_102, false)).await.unwrap();
        let wish = feedback.next().await.unwrap();
        assert!(matches!(wish, TrackFeedback::KeyFrameRequest { .. }));
        // It is asked for once, for a while.
        assert!(poll_once(pin!(feedback.next()), &flag).is_pending());
        here.write_rtp(frame(2_103, true)).await.unwrap();
        here.write_rtp(frame(2_104, false)).await.unwrap();
        assert_eq!(here.dropped(), 55);
        let mut came = Vec::new();
        while came.last() != Some(&2_104) {
            came.push(frame_number(&there.read_rtp().await.unwrap()));
        }
        assert!(came.ends_with(&[2_103, 2_104]));
        let before = &came[..came.len() - 2];
        assert!(before.iter().all(|number| *number < 2_048), "{before:?}");
    });
}

#[test]
fn samples_that_are_not_sent_leave_no_gap() {
    let world = Scene::new();
    world.run(async {
        let OneWay {
            alice,
            bob,
            here,
            there,
        } = world.one_way(Audio).await;
        here.write_sample(&sample(100)).await.unwrap();
        let before = there.read_rtp().await.unwrap();
        let transceiver = here.transceiver();
        transceiver.set_direction(Recvonly).unwrap();
        signal(&alice, &bob).await;
        for _ in 0..10 {
            here.write_sample(&sample(100)).await.unwrap();
        }
        assert_eq!(here.dropped(), 10);
        transceiver.set_direction(Sendrecv).unwrap();
        signal(&alice, &bob).await;
        here.write_sample(&sample(100)).await.unwrap();
        let after = there.read_rtp().await.unwrap();
        let step = after
            .header
            .sequence_number
            .wrapping_sub(before.header.sequence_number);
        assert_eq!(step, 1);
    });
}

#[test]
fn mistakes_of_writers_are_told_apart() {
    let world = Scene::new();
    world.run(async {
        let OneWay { alice, here, .. } = world.one_way(Video).await;
        let mut large = packet(1);
        large.payload = vec![0; 2_000].into();
        let error = here.write_rtp(large).await.unwrap_err();
        assert!(
            matches!(error, SendError::TooLarge { max: 1400 }),
            "{error:?}"
        );
        let error = here.write_sample_layer("x", &sample(9)).await.unwrap_err();
        assert!(matches!(error, SendError::Refused(_)), "{error:?}");
        let voice = alice.add_track(track("voice", Audio)).unwrap();
        let again = alice.add_track(track("voice", Audio)).unwrap_err();
        assert!(matches!(again, rtc_driver::Error::Core(_)), "{again:?}");
        let error = voice.replace_track(track("film", Video)).unwrap_err();
        assert!(matches!(error, rtc_driver::Error::Core(_)), "{error:?}");
        voice.replace_track(track("music", Audio)).unwrap();
        assert_eq!(voice.track_id().unwrap(), "music");
        voice.replace_track(None).unwrap();
        assert_eq!(voice.track_id(), None);
        let mut parameters = here.get_parameters();
        parameters.encodings[0].active = false;
        here.set_parameters(parameters.clone()).unwrap();
        here.set_parameters(parameters).unwrap_err();
        assert!(!here.get_parameters().encodings[0].active);
    });
}
