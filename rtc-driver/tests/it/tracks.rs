//! Audio and video by handles: tracks, layers, wishes, and the end of all of them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, future};
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCRtpSenderEvent, RTCTrackEvent};
use rtc::rtp_transceiver::RTCRtpTransceiverDirection::{Recvonly, Sendonly, Sendrecv, Stopped};
use rtc::rtp_transceiver::RtpCodecKind::{Audio, Video};
use rtc::rtp_transceiver::{RTCRtpEncodingParameters, RTCRtpTransceiverInit};
use rtc_driver::{Endpoint, Error, LocalTrack, PeerConnection, SendError, TrackFeedback, rtc};

use crate::scene::{Flag, OneWay, Scene, connect, number, packet, poll_once, signal, track};

const MS: Duration = Duration::from_millis(1);

#[test]
fn packets_and_wishes_find_their_way() {
    let world = Scene::new();
    world.run(async {
        let OneWay {
            here, mut there, ..
        } = world.one_way(Video).await;
        assert_eq!((there.kind(), there.track_id().as_str()), (Video, "camera"));
        assert_eq!(there.stream_ids(), ["stream"]);
        assert_eq!(there.mid(), here.transceiver().mid());
        assert_eq!(here.track_id().unwrap(), "camera");
        assert_eq!(here.codec(), there.codec());
        for number in 1..=3 {
            here.write_rtp(packet(number)).await.unwrap();
        }
        assert_eq!(number(&there.read_rtp().await.unwrap()), 1);
        let second = there.next().await.unwrap();
        assert_eq!(number(&second), 2);
        let codec = there.codec_of(second.header.payload_type);
        assert_eq!(codec, here.codec());
        let mut feedback = here.feedback();
        assert!(there.request_key_frame());
        let ssrc = second.header.ssrc;
        let wish = TrackFeedback::KeyFrameRequest { rid: None, ssrc };
        assert_eq!(feedback.next().await, Some(wish));
    });
}

#[test]
fn audio_and_video_go_both_ways() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let tracks = |connection: &PeerConnection, ids: [&str; 2]| {
            [(ids[0], Audio), (ids[1], Video)]
                .map(|(id, kind)| connection.add_track(track(id, kind)).unwrap())
        };
        let from_alice = tracks(&alice, ["voice", "camera"]);
        let from_bob = tracks(&bob, ["music", "film"]);
        connect(&alice, &bob).await;
        let world = &world;
        let write = |tracks: [LocalTrack; 2]| async move {
            for number in 0..200 {
                for track in &tracks {
                    track.write_rtp(packet(number)).await.unwrap();
                }
                if number % 50 == 49 {
                    world.sleep(10 * MS).await;
                }
            }
        };
        let read = |connection: PeerConnection| async move {
            let mut tracks = connection.tracks();
            let mut kinds = Vec::new();
            for _ in 0..2 {
                let track = tracks.next().await.unwrap();
                kinds.push(track.kind());
                for expected in 0..200 {
                    assert_eq!(number(&track.read_rtp().await.unwrap()), expected);
                }
                assert_eq!(track.dropped(), 0);
            }
            assert_eq!(kinds, [Audio, Video]);
        };
        future::join4(
            write(from_alice),
            write(from_bob),
            read(alice.clone()),
            read(bob),
        )
        .await;
        assert_eq!(alice.transceivers().len(), 2);
    });
}

#[test]
fn a_track_is_given_once_and_goes_on_after_a_pause() {
    let world = Scene::new();
    world.run(async {
        let OneWay {
            alice,
            bob,
            here,
            there,
        } = world.one_way(Video).await;
        let (mut tracks, mut events) = (bob.tracks(), bob.events());
        here.write_rtp(packet(1)).await.unwrap();
        assert_eq!(number(&there.read_rtp().await.unwrap()), 1);
        let flag: Arc<Flag> = Arc::default();
        let transceiver = here.transceiver();
        let before = transceiver.current_direction();
        for round in 2..5 {
            transceiver.set_direction(Recvonly).unwrap();
            signal(&alice, &bob).await;
            assert_ne!(transceiver.current_direction(), before);
            here.write_rtp(packet(100 * round)).await.unwrap();
            world.sleep(100 * MS).await;
            assert!(poll_once(pin!(there.read_rtp()), &flag).is_pending());
            transceiver.set_direction(Sendrecv).unwrap();
            signal(&alice, &bob).await;
            here.write_rtp(packet(round)).await.unwrap();
            assert_eq!(number(&there.read_rtp().await.unwrap()), round);
        }
        assert_eq!(here.dropped(), 3);
        assert!(poll_once(pin!(tracks.next()), &flag).is_pending());
        // Nobody else tells that the track goes on.
        bob.close().await.unwrap();
        let mut opened = 0;
        while let Some(event) = events.next().await {
            let open = matches!(
                event,
                RTCPeerConnectionEvent::OnTrack(RTCTrackEvent::OnOpen(_))
            );
            opened += usize::from(open);
        }
        assert_eq!(opened, 3);
    });
}

#[test]
fn a_track_can_be_taken_from_its_event() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let here = alice.add_track(track("voice", Audio)).unwrap();
        connect(&alice, &bob).await;
        here.write_rtp(packet(7)).await.unwrap();
        let mut events = bob.events();
        let init = loop {
            if let RTCPeerConnectionEvent::OnTrack(RTCTrackEvent::OnOpen(init)) =
                events.next().await.unwrap()
            {
                break init;
            }
        };
        let there = bob.transceiver(init.transceiver_id).unwrap().receiver();
        assert_eq!(there.track_id(), &init.track_id);
        assert_eq!(number(&there.read_rtp().await.unwrap()), 7);
        let flag: Arc<Flag> = Arc::default();
        assert!(poll_once(pin!(bob.tracks().next()), &flag).is_pending());
    });
}

#[test]
fn a_track_can_be_taken_before_the_answer() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let here = alice.add_track(track("voice", Audio)).unwrap();
        alice.set_local_description(None).unwrap();
        let offer = alice.gathering_complete().await.unwrap();
        bob.set_remote_description(offer).unwrap();
        let there = bob.tracks().next().await.unwrap();
        world.sleep(100 * MS).await;
        bob.set_local_description(None).unwrap();
        let answer = bob.gathering_complete().await.unwrap();
        alice.set_remote_description(answer).unwrap();
        bob.connected().await.unwrap();
        alice.connected().await.unwrap();
        here.write_rtp(packet(3)).await.unwrap();
        assert_eq!(number(&there.read_rtp().await.unwrap()), 3);
    });
}

#[test]
fn a_transceiver_can_wait_for_its_track() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let init = RTCRtpTransceiverInit {
            direction: Recvonly,
            ..RTCRtpTransceiverInit::default()
        };
        let transceiver = alice.add_transceiver_from_kind(Video, init).unwrap();
        let (there, mut tracks) = (transceiver.receiver(), alice.tracks());
        assert_eq!((transceiver.kind(), transceiver.mid()), (Video, None));
        signal(&alice, &bob).await;
        assert_eq!(transceiver.mid().as_deref(), Some("0"));
        let here = bob.add_track(track("camera", Video)).unwrap();
        assert_eq!(here.transceiver().direction(), Sendrecv);
        signal(&bob, &alice).await;
        bob.connected().await.unwrap();
        here.write_rtp(packet(1)).await.unwrap();
        assert_eq!(number(&there.read_rtp().await.unwrap()), 1);
        let same = tracks.next().await.unwrap();
        assert_eq!(same.id(), there.id());
        here.write_rtp(packet(2)).await.unwrap();
        assert_eq!(number(&same.read_rtp().await.unwrap()), 2);
        bob.remove_track(&here).unwrap();
        assert_eq!(here.transceiver().direction(), Recvonly);
    });
}

/// Alice sends a camera in three layers.
async fn simulcast(world: &Scene) -> OneWay {
    let (alice, bob) = world.pair();
    let init = RTCRtpTransceiverInit {
        direction: Sendonly,
        send_encodings: ["q", "h", "f"]
            .map(RTCRtpEncodingParameters::with_rid)
            .to_vec(),
        ..RTCRtpTransceiverInit::default()
    };
    let camera = track("camera", Video);
    let transceiver = alice.add_transceiver_from_track(camera, init).unwrap();
    connect(&alice, &bob).await;
    let there = bob.tracks().next().await.unwrap();
    OneWay {
        here: transceiver.sender(),
        alice,
        bob,
        there,
    }
}

#[test]
fn layers_are_read_apart_and_the_rest_together() {
    let world = Scene::new();
    world.run(async {
        let OneWay { here, there, .. } = simulcast(&world).await;
        assert_eq!(there.rids(), ["q", "h", "f"]);
        let error = here.write_rtp(packet(1)).await.unwrap_err();
        assert!(matches!(error, SendError::Refused(_)), "{error:?}");
        assert!(here.write_rtp_layer("x", packet(1)).await.is_err());
        let write = |rid: &'static str, number| here.write_rtp_layer(rid, packet(number));
        write("f", 1000).await.unwrap();
        world.sleep(50 * MS).await;
        // What has come already is sorted too.
        let (full, mut half) = (there.layer("f"), there.layer("h"));
        let again = full.clone();
        for number in 0..5 {
            write("q", number).await.unwrap();
            write("h", 100 + number).await.unwrap();
            write("f", 1001 + number).await.unwrap();
        }
        for expected in 1000..1006 {
            let reader = if expected % 2 == 0 { &full } else { &again };
            let packet = reader.read_rtp().await.unwrap();
            assert_eq!(number(&packet), expected);
            assert_eq!(full.ssrc(), Some(packet.header.ssrc));
            assert_eq!(there.rid_of(packet.header.ssrc).as_deref(), Some("f"));
        }
        for expected in 0..5 {
            assert_eq!(number(&half.next().await.unwrap()), 100 + expected);
            assert_eq!(number(&there.read_rtp().await.unwrap()), expected);
        }
        // A reader is woken for its own packets only.
        let flag: Arc<Flag> = Arc::default();
        let mut read = pin!(full.read_rtp());
        assert!(poll_once(read.as_mut(), &flag).is_pending());
        write("q", 5).await.unwrap();
        write("h", 105).await.unwrap();
        world.sleep(50 * MS).await;
        assert_eq!(flag.take(), 0);
        write("f", 1006).await.unwrap();
        world.sleep(50 * MS).await;
        assert_eq!(flag.take(), 1);
        assert_eq!(number(&read.await.unwrap()), 1006);
        // Without a handle a layer is among the rest again.
        drop(half);
        write("h", 106).await.unwrap();
        let mut rest = Vec::new();
        for _ in 0..2 {
            rest.push(number(&there.read_rtp().await.unwrap()));
        }
        assert_eq!(rest, [5, 106]);
    });
}

#[test]
fn the_wish_for_a_layer_names_it() {
    let world = Scene::new();
    world.run(async {
        let OneWay {
            alice, here, there, ..
        } = simulcast(&world).await;
        for rid in ["q", "h", "f"] {
            here.write_rtp_layer(rid, packet(1)).await.unwrap();
        }
        world.sleep(50 * MS).await;
        // Nobody reads wishes yet, so that it is an event.
        assert!(there.request_key_frame_of("h"));
        assert!(!there.request_key_frame_of("x"));
        world.sleep(50 * MS).await;
        let mut feedback = here.feedback();
        let layer = there.layer("f");
        assert!(layer.request_key_frame());
        assert_eq!(feedback.next().await.unwrap().rid(), Some("h"));
        let wish = feedback.next().await.unwrap();
        let ssrc = layer.ssrc().unwrap();
        let rid = Some("f".to_owned());
        assert_eq!(wish, TrackFeedback::KeyFrameRequest { rid, ssrc });
        drop(feedback);
        world.sleep(500 * MS).await;
        assert!(layer.request_key_frame());
        let mut events = alice.events();
        let event = loop {
            if let RTCPeerConnectionEvent::OnRtpSender(event) = events.next().await.unwrap() {
                break event;
            }
        };
        let RTCRtpSenderEvent::OnKeyFrameRequest { sender_id, rid, .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!((sender_id, rid.as_deref()), (here.sender_id(), Some("f")));
    });
}

#[test]
fn what_was_written_before_a_close_is_sent_and_read() {
    let world = Scene::new();
    world.run(async {
        let OneWay {
            alice,
            bob,
            here,
            there,
        } = world.one_way(Audio).await;
        for number in 0..50 {
            here.write_rtp(packet(number)).await.unwrap();
        }
        alice.close().await.unwrap();
        world.sleep(100 * MS).await;
        assert_eq!(bob.connected().await, Err(Error::Closed));
        for expected in 0..50 {
            assert_eq!(number(&there.read_rtp().await.unwrap()), expected);
        }
        assert_eq!(there.read_rtp().await, None);
    });
}

#[test]
fn whoever_waits_learns_of_the_end() {
    let world = Scene::new();
    world.run(async {
        let OneWay {
            alice,
            bob,
            here,
            mut there,
        } = world.one_way(Video).await;
        let layer = there.layer("h");
        let (mut tracks, mut samples) = (bob.tracks(), there.samples());
        let (read, mut feedback) = (there.clone(), here.feedback());
        let idle = alice.add_track(track("voice", Audio)).unwrap();
        idle.set_overflow(rtc_driver::Overflow::Wait);
        let ends = async {
            assert!(tracks.next().await.is_none());
            assert!(samples.next().await.is_none());
            assert_eq!(read.read_rtp().await, None);
            assert_eq!(layer.read_rtp().await, None);
            assert_eq!(there.next().await, None);
        };
        let own = async {
            assert_eq!(feedback.next().await, None);
            let error = idle.write_rtp(packet(1)).await.unwrap_err();
            assert_eq!(error, SendError::Closed);
        };
        let (closed, (), ()) = future::join3(alice.close(), ends, own).await;
        closed.unwrap();
        assert_eq!(here.write_rtp(packet(1)).await, Err(SendError::Closed));
        let error = alice.add_track(track("late", Audio)).unwrap_err();
        assert_eq!(error, Error::Closed);
        assert!(bob.tracks().next().await.is_none());
        assert!(there.transceiver().stopped());
        assert!(!there.request_key_frame());
    });
}

#[test]
fn a_stopped_transceiver_ends_its_tracks_on_both_sides() {
    let world = Scene::new();
    world.run(async {
        let OneWay {
            alice,
            bob,
            here,
            there,
        } = world.one_way(Video).await;
        let waiting = alice.add_track(track("voice", Audio)).unwrap();
        waiting.set_overflow(rtc_driver::Overflow::Wait);
        let (mut feedback, transceiver) = (here.feedback(), here.transceiver());
        let stop = async {
            transceiver.stop().unwrap();
            waiting.transceiver().stop().unwrap();
            assert_eq!(transceiver.direction(), Stopped);
            signal(&alice, &bob).await;
        };
        let wait = async {
            let error = waiting.write_rtp(packet(1)).await.unwrap_err();
            assert_eq!(error, SendError::Closed);
            assert_eq!(feedback.next().await, None);
            assert_eq!(there.read_rtp().await, None);
        };
        future::join(wait, stop).await;
        assert_eq!(here.try_write_rtp(packet(1)), Err(SendError::Closed));
        let error = transceiver.set_direction(Sendrecv).unwrap_err();
        assert!(matches!(error, Error::Core(_)), "{error:?}");
        assert!(alice.transceivers().is_empty() && bob.transceivers().is_empty());
        assert_eq!(here.codec(), None);
        // The connection goes on.
        let next = alice.add_track(track("next", Video)).unwrap();
        signal(&alice, &bob).await;
        next.write_rtp(packet(5)).await.unwrap();
        let there = bob.tracks().next().await.unwrap();
        assert_eq!(number(&there.read_rtp().await.unwrap()), 5);
    });
}

#[test]
fn without_a_handle_packets_of_a_track_that_was_read_are_thrown_away() {
    let world = Scene::new();
    world.run(async {
        let OneWay {
            bob, here, there, ..
        } = world.one_way(Video).await;
        let transceiver = there.transceiver();
        drop(there);
        here.write_rtp(packet(1)).await.unwrap();
        here.write_rtp(packet(2)).await.unwrap();
        world.sleep(50 * MS).await;
        // It was only looked at so far.
        let there = transceiver.receiver();
        assert_eq!(number(&there.read_rtp().await.unwrap()), 1);
        drop(there);
        here.write_rtp(packet(3)).await.unwrap();
        world.sleep(50 * MS).await;
        let there = transceiver.receiver();
        here.write_rtp(packet(4)).await.unwrap();
        assert_eq!(number(&there.read_rtp().await.unwrap()), 4);
        drop(bob);
    });
}

#[test]
fn a_track_is_a_handle_of_its_connection() {
    let world = Scene::new();
    world.run(async {
        let OneWay {
            alice,
            bob,
            here,
            there,
        } = world.one_way(Video).await;
        drop((alice, bob));
        world.sleep(100 * MS).await;
        here.write_rtp(packet(1)).await.unwrap();
        assert_eq!(number(&there.read_rtp().await.unwrap()), 1);
        drop(here);
        assert_eq!(there.read_rtp().await, None);
    });
    world.run_for(Duration::from_secs(10));
    assert_eq!((world.tasks(), world.sockets()), (0, 0));
}

#[test]
fn what_nobody_reads_is_bounded_and_counted() {
    let world = Scene::new();
    world.run(async {
        let OneWay { here, there, .. } = simulcast(&world).await;
        let layer = there.layer("f");
        for number in 0..1500 {
            for rid in ["q", "f"] {
                here.write_rtp_layer(rid, packet(number)).await.unwrap();
            }
            if number % 100 == 99 {
                world.sleep(10 * MS).await;
            }
        }
        world.sleep(100 * MS).await;
        assert_eq!((layer.dropped(), there.dropped()), (476, 952));
        assert_eq!(number(&layer.read_rtp().await.unwrap()), 476);
        assert_eq!(number(&there.read_rtp().await.unwrap()), 476);
        drop(layer);
        assert_eq!(there.dropped(), 952);
        for number in 0..1100 {
            here.write_rtp_layer("h", packet(number)).await.unwrap();
            if number % 100 == 99 {
                world.sleep(10 * MS).await;
            }
        }
        world.sleep(100 * MS).await;
        assert_eq!(there.dropped(), 952 + 76, "in the core now");
    });
}

#[test]
fn readers_that_give_up_lose_nothing() {
    let world = Scene::new();
    world.run(async {
        let OneWay { here, there, .. } = world.one_way(Video).await;
        let flag: Arc<Flag> = Arc::default();
        for round in 0..20 {
            assert!(poll_once(pin!(there.read_rtp()), &flag).is_pending());
            here.write_rtp(packet(round)).await.unwrap();
            world.sleep(50 * MS).await;
            assert_eq!(flag.take(), 0, "a future that was dropped is not woken");
            assert_eq!(number(&there.read_rtp().await.unwrap()), round);
        }
    });
}

#[test]
fn a_track_can_be_forwarded_to_others_behind_one_endpoint() {
    let world = Scene::new();
    world.run(async {
        let server = Endpoint::builder(world.b.runtime())
            .bind("192.0.2.2:3478".parse().unwrap())
            .build()
            .unwrap();
        let join = || async {
            let client = world.a.builder().build().unwrap();
            let configuration = world.b.configuration().build();
            (client, server.peer_connection(configuration).unwrap())
        };
        let (alice, from_alice) = join().await;
        let here = alice.add_track(track("camera", Video)).unwrap();
        connect(&alice, &from_alice).await;
        let received = from_alice.tracks().next().await.unwrap();
        let mut listeners = Vec::new();
        for _ in 0..3 {
            let (listener, to_listener) = join().await;
            let sent = to_listener.add_track(track("copy", Video)).unwrap();
            connect(&to_listener, &listener).await;
            let there = listener.tracks().next().await.unwrap();
            listeners.push((listener, sent, there));
        }
        let map = received.extension_map();
        for round in 0..50 {
            here.write_rtp(packet(round)).await.unwrap();
            let packet = received.read_rtp().await.unwrap();
            for (_, sent, there) in &listeners {
                match round % 2 {
                    0 => sent.forward_rtp(packet.clone(), &map).await.unwrap(),
                    _ => sent.try_forward_rtp(packet.clone(), &map).unwrap(),
                }
                assert_eq!(number(&there.read_rtp().await.unwrap()), round);
            }
        }
        // The wish of a listener goes on to the source.
        let (mut wishes, mut source) = (listeners[1].1.feedback(), here.feedback());
        assert!(listeners[1].2.request_key_frame());
        assert!(wishes.next().await.is_some());
        assert!(received.request_key_frame());
        assert!(source.next().await.is_some());
        drop((wishes, source, listeners, received));
        server.close().await.unwrap();
        assert!(here.feedback().next().await.is_none());
    });
}
