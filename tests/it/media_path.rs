//! Audio and video packets from one application to the other, over a network that loses them.

use std::collections::BTreeSet;

use bytes::Bytes;
use rtc::Error;
use rtc::dtls::SrtpProfile;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::{RTCConfigurationBuilder, SettingEngine};
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCTrackEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::rtp_transceiver::{RTCRtpEncodingParameters, RTCRtpTransceiverInit};
use rtc::sansio::Protocol;
use rtc::srtp;
use rtc::statistics::StatsSelector;
use rtc_tests::sim::{Link, Side, Simulation};

use crate::media_pair::*;
use crate::media_source::*;
use crate::seeds::for_each_seed;

#[test]
fn audio_and_video_go_both_ways() {
    let mut sim = Simulation::new(1, Link::default()).unwrap();
    let mut sources = [
        Source::new(&mut sim, Side::A, "voice", Audio),
        Source::new(&mut sim, Side::A, "camera", Video),
        Source::new(&mut sim, Side::B, "music", Audio),
        Source::new(&mut sim, Side::B, "film", Video),
    ];
    connected(&mut sim);
    for _ in 0..50 {
        for source in &mut sources {
            source.send(&mut sim);
        }
        wait(&mut sim, 10);
    }
    wait(&mut sim, 50);
    let expected: Vec<u16> = (100..150).collect();
    for (side, tracks) in [(Side::A, ["film", "music"]), (Side::B, ["camera", "voice"])] {
        let received = received(&mut sim, side);
        assert!(received.keys().eq(tracks), "{:?}", received.keys());
        for packets in received.values() {
            assert_eq!(numbers(packets), expected);
        }
    }
    let counters = sim.a.connection.counters();
    assert_eq!(counters.media.rtp_sent, 100);
    assert_eq!(counters.media.rtp_received, 100);
    assert_eq!(counters.media.dropped_unexplained, 0);
}

#[test]
fn an_answerer_may_learn_of_a_track_before_it_answers() {
    let mut sim = Simulation::new(1, Link::default()).unwrap();
    let mut voice = Source::new(&mut sim, Side::A, "voice", Audio);
    let offer = sim.a.connection.create_offer(None).unwrap();
    sim.a.connection.set_local_description(offer).unwrap();
    let offer = sim.a.connection.local_description().unwrap();
    sim.b.connection.set_remote_description(offer).unwrap();
    let polled = std::iter::from_fn(|| sim.b.connection.poll_event());
    let is_open = |event: &RTCPeerConnectionEvent| {
        matches!(
            event,
            RTCPeerConnectionEvent::OnTrack(RTCTrackEvent::OnOpen(_))
        )
    };
    assert_eq!(polled.filter(|event| is_open(event)).count(), 1);
    sim.b.connection.set_local_description_implicit().unwrap();
    let answer = sim.b.connection.local_description().unwrap();
    sim.a.connection.set_remote_description(answer).unwrap();
    assert!(sim.connect(10 * SECOND));
    for _ in 0..10 {
        voice.send(&mut sim);
        wait(&mut sim, 20);
    }
    wait(&mut sim, 50);
    let received = received(&mut sim, Side::B);
    assert_eq!(received.get("voice").map_or(0, Vec::len), 10);
}

#[test]
fn what_is_lost_comes_again() {
    for_each_seed(30, |seed| {
        let mut sim = Simulation::new(seed, Link::default()).unwrap();
        let mut video = Source::new(&mut sim, Side::A, "camera", Video);
        let mut back = Source::new(&mut sim, Side::B, "screen", Video);
        connected(&mut sim);
        *sim.link() = bad_link();
        for _ in 0..300 {
            video.send(&mut sim);
            back.send(&mut sim);
            wait(&mut sim, 5);
        }
        *sim.link() = Link::default();
        // The last packet shows what is missing before it.
        video.send(&mut sim);
        back.send(&mut sim);
        wait(&mut sim, 1000);
        for (side, track) in [(Side::A, "screen"), (Side::B, "camera")] {
            let packets = received(&mut sim, side).remove(track).unwrap();
            assert_whole(&packets, 400);
        }
    });
}

#[test]
fn one_that_only_receives_asks_again_by_the_round_trip_time() {
    for_each_seed(10, |seed| {
        let mut sim = Simulation::new(seed, Link::default()).unwrap();
        let mut video = Source::new(&mut sim, Side::A, "camera", Video);
        connected(&mut sim);
        let latency = sim.link().latency;
        *sim.link() = Link::default().with_loss(0.2);
        let mut came = BTreeSet::new();
        for round in 0..300u16 {
            video.send(&mut sim);
            wait(&mut sim, 5);
            if let Some(packets) = received(&mut sim, Side::B).remove("camera") {
                came = numbers(&packets).into_iter().collect();
            }
            // Each try and the answer to it come through in two of three cases.
            let late = latency.as_millis() as u16 + 300;
            let expected = 100..(100 + round).saturating_sub(late / 5);
            let first = came.first().copied().unwrap_or_default();
            let missing: Vec<_> = expected
                .filter(|number| *number >= first && !came.contains(number))
                .collect();
            assert!(missing.is_empty(), "{missing:?} after {round} rounds");
        }
    });
}

#[test]
fn without_a_stream_for_it_what_is_lost_comes_again_as_it_was() {
    let configuration = || {
        let mut engine = MediaEngine::default();
        let defaults = MediaEngine::with_defaults();
        for codec in defaults.codecs(Video) {
            if codec.rtp_codec.is("VP8") {
                engine.register_codec(codec.clone(), Video).unwrap();
            }
        }
        RTCConfigurationBuilder::new().with_media_engine(engine)
    };
    for_each_seed(10, move |seed| {
        let (a, b) = (configuration(), configuration());
        let mut sim = Simulation::with_configurations(seed, Link::default(), a, b).unwrap();
        let mut video = Source::new(&mut sim, Side::A, "camera", Video);
        connected(&mut sim);
        let media = sim.a.connection.negotiated_media().next().unwrap();
        assert_eq!(media.send.unwrap().encodings[0].rtx, None);
        *sim.link() = bad_link();
        for _ in 0..300 {
            video.send(&mut sim);
            wait(&mut sim, 5);
        }
        *sim.link() = Link::default();
        video.send(&mut sim);
        wait(&mut sim, 1000);
        let packets = received(&mut sim, Side::B).remove("camera").unwrap();
        assert_whole(&packets, 400);
        let counters = sim.a.connection.counters().media;
        assert_eq!(counters.dropped_unencryptable, 0);
        assert!(counters.rtp_sent > 320);
    });
}

#[test]
fn every_profile_protects_media() {
    let profiles = [
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm,
        SrtpProfile::Aes128CmHmacSha1_80,
        SrtpProfile::Aes128CmHmacSha1_32,
    ];
    for (seed, profile) in profiles.into_iter().enumerate() {
        let mut setting = SettingEngine::default();
        setting.srtp_profiles = vec![profile];
        let mut all = SettingEngine::default();
        all.srtp_profiles = profiles.to_vec();
        let mut sim =
            Simulation::with_settings(seed as u64, Link::default(), setting, all).unwrap();
        let mut voice = Source::new(&mut sim, Side::A, "voice", Audio);
        connected(&mut sim);
        sim.tap = Some(Default::default());
        for _ in 0..10 {
            voice.send(&mut sim);
            wait(&mut sim, 20);
        }
        wait(&mut sim, 50);
        assert_eq!(numbers(&received(&mut sim, Side::B)["voice"]).len(), 10);
        let stats = sim.a.connection.get_stats(StatsSelector::None);
        assert_eq!(stats.transport().unwrap().srtp_cipher, Some(profile.name()));
        let known = srtp::Profile::from_code(profile.code()).unwrap();
        let heard = sim.tap.as_ref().unwrap().heard();
        let is_media = |datagram: &&(Side, Vec<u8>)| datagram.1.len() > 600;
        let datagrams: Vec<_> = heard.iter().filter(is_media).collect();
        assert_eq!(datagrams.len(), 10);
        for (_, datagram) in datagrams {
            assert!(datagram.len() > 602 + known.rtp_overhead());
            assert!(!datagram.windows(8).any(|window| window == [7; 8]));
        }
    }
}

#[test]
fn packets_written_before_the_connection_is_up_wait_for_a_while() {
    let mut sim = Simulation::new(3, Link::default()).unwrap();
    let mut voice = Source::new(&mut sim, Side::A, "voice", Audio);
    assert_eq!(
        voice.try_send(&mut sim).map_err(|error| error.name()),
        Err("InvalidStateError")
    );
    sim.negotiate().unwrap();
    for _ in 0..10 {
        voice.send(&mut sim);
    }
    assert!(sim.connect(10 * SECOND));
    wait(&mut sim, 100);
    assert_eq!(received(&mut sim, Side::B)["voice"].len(), 10);

    // Without a way they are given up.
    let mut sim = Simulation::new(4, Link::default().with_loss(1.0)).unwrap();
    let mut voice = Source::new(&mut sim, Side::A, "voice", Audio);
    sim.negotiate().unwrap();
    for _ in 0..10 {
        voice.send(&mut sim);
    }
    wait(&mut sim, 3000);
    assert_eq!(sim.a.connection.counters().media.dropped_unsent, 10);
    for _ in 0..20_000 {
        voice.send(&mut sim);
    }
    let dropped = sim.a.connection.counters().media.dropped_unsent;
    assert!(dropped > 10_000, "{dropped}");
}

#[test]
fn tracks_come_and_go_while_media_flows() {
    for_each_seed(10, |seed| {
        let mut sim = Simulation::new(seed, Link::default()).unwrap();
        let mut voice = Source::new(&mut sim, Side::A, "voice", Audio);
        connected(&mut sim);
        let mut last = 0;
        for round in 0..6u32 {
            let side = [Side::A, Side::B][round as usize % 2];
            let name = format!("video {round}");
            let mut video = Source::new(&mut sim, side, &name.replace(' ', "-"), Video);
            voice.send(&mut sim);
            sim.negotiate_from([Side::B, Side::A][round as usize / 2 % 2])
                .unwrap();
            // Only an offer of the side itself has room for a section that is new.
            if video.try_send(&mut sim).is_err() {
                sim.negotiate_from(side).unwrap();
                video.send(&mut sim);
            }
            for _ in 0..30 {
                voice.send(&mut sim);
                video.send(&mut sim);
                wait(&mut sim, 5);
            }
            wait(&mut sim, 50);
            let came = received(&mut sim, side.other());
            assert_eq!(numbers(&came[&name.replace(' ', "-")]).len(), 31);
            let connection = &mut sim.peer(side).connection;
            connection.remove_track(video.sender).unwrap();
            sim.negotiate_from(side).unwrap();
            assert!(video.try_send(&mut sim).is_err());
            wait(&mut sim, 50);
            last = voice.next - 1;
        }
        let came = received(&mut sim, Side::B);
        assert_eq!(numbers(&came["voice"]), (100..=last).collect::<Vec<_>>());
        for side in [Side::A, Side::B] {
            let closing = sim.peer(side).events.iter().filter(|event| {
                matches!(
                    event,
                    RTCPeerConnectionEvent::OnTrack(RTCTrackEvent::OnClosing(_))
                )
            });
            assert_eq!(closing.count(), 3);
        }
    });
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let mut sim = Simulation::new(8, Link::default()).unwrap();
    let mut voice = Source::new(&mut sim, Side::A, "voice", Audio);
    connected(&mut sim);
    let message = RTCMessage::RtpPacket("nobody".into(), packet(1, 1));
    let refused = sim.a.connection.handle_write(message);
    assert!(
        matches!(refused, Err(Error::InvalidAccess(_))),
        "{refused:?}"
    );
    // The other side only receives.
    let sender = sim.b.connection.get_senders().next().unwrap();
    let refused = Source::of(Side::B, sender).try_send(&mut sim);
    assert!(
        matches!(refused, Err(Error::InvalidState(_))),
        "{refused:?}"
    );
    let mut large = packet(1, 1);
    large.payload = Bytes::from(vec![0; 1500]);
    let message = RTCMessage::RtpPacket("voice".into(), large);
    let refused = sim.a.connection.handle_write(message);
    assert!(matches!(
        refused,
        Err(Error::MessageTooLarge { max: 1400, .. })
    ));
    let message = RTCMessage::RtpPacket("voice".into(), packet(100, 1));
    sim.a.connection.handle_write(message).unwrap();
    voice.next = 101;
    voice.send(&mut sim);
    wait(&mut sim, 50);
    assert_eq!(numbers(&received(&mut sim, Side::B)["voice"]), [100, 101]);
    sim.a.connection.close().unwrap();
    let refused = voice.try_send(&mut sim);
    assert!(
        matches!(refused, Err(Error::InvalidState(_))),
        "{refused:?}"
    );
}

#[test]
fn a_number_that_was_used_is_not_used_again() {
    let mut sim = Simulation::new(9, Link::default()).unwrap();
    let mut voice = Source::new(&mut sim, Side::A, "voice", Audio);
    connected(&mut sim);
    voice.send(&mut sim);
    voice.next = 100;
    voice.timestamp += 1;
    voice.send(&mut sim);
    wait(&mut sim, 50);
    assert_eq!(received(&mut sim, Side::B)["voice"].len(), 1);
    assert_eq!(sim.a.connection.counters().media.dropped_unencryptable, 1);
}

#[test]
fn another_track_goes_on_where_the_one_before_ended() {
    let mut sim = Simulation::new(10, Link::default()).unwrap();
    let mut video = Source::new(&mut sim, Side::A, "camera", Video);
    connected(&mut sim);
    for _ in 0..10 {
        video.send(&mut sim);
        wait(&mut sim, 10);
    }
    let mut sender = sim.a.connection.rtp_sender(video.sender).unwrap();
    sender.replace_track(track("screen", Video)).unwrap();
    (video.next, video.timestamp) = (7, 123_456_789);
    wait(&mut sim, 990);
    // A connection knows the time by what it was told last.
    let now = sim.now;
    sim.a.connection.handle_timeout(now).unwrap();
    for _ in 0..10 {
        video.send(&mut sim);
        wait(&mut sim, 10);
    }
    wait(&mut sim, 50);
    let packets = &received(&mut sim, Side::B)["camera"];
    let numbers: Vec<u16> = packets.iter().map(|it| it.header.sequence_number).collect();
    assert_eq!(numbers, (100..120).collect::<Vec<_>>());
    let pause = packets[10]
        .header
        .timestamp
        .wrapping_sub(packets[9].header.timestamp);
    assert!((75_000..95_000).contains(&pause), "{pause}");
    let step = packets[11]
        .header
        .timestamp
        .wrapping_sub(packets[10].header.timestamp);
    assert_eq!(step, 1000);
}

#[test]
fn one_seed_is_one_run() {
    let run = || {
        let mut sim = Simulation::new(17, Link::default()).unwrap();
        let mut sources = [
            Source::new(&mut sim, Side::A, "camera", Video),
            Source::new(&mut sim, Side::B, "screen", Video),
            Source::new(&mut sim, Side::B, "voice", Audio),
        ];
        connected(&mut sim);
        sim.negotiate_from(Side::B).unwrap();
        *sim.link() = bad_link();
        let mut times = Vec::new();
        for _ in 0..200 {
            for source in &mut sources {
                source.send(&mut sim);
            }
            wait(&mut sim, 7);
            times.push((sim.sent, sim.a.messages.len(), sim.b.messages.len()));
        }
        let messages = (sim.a.messages.clone(), sim.b.messages.clone());
        (times, format!("{messages:?}"))
    };
    assert!(run() == run());
}

#[test]
fn a_connection_without_media_has_no_timers_for_it() {
    let mut sim = Simulation::new(18, Link::default()).unwrap();
    let mut voice = Source::new(&mut sim, Side::A, "voice", Audio);
    connected(&mut sim);
    let count = |sim: &mut Simulation| {
        let before = sim.sent;
        wait(sim, 60_000);
        sim.sent - before
    };
    let idle = count(&mut sim);
    voice.send(&mut sim);
    wait(&mut sim, 60_000);
    let idle_again = count(&mut sim);
    let checks = 2 * 60 / 4 * 2 + 40;
    assert!(
        idle <= checks && idle_again <= checks,
        "{idle} {idle_again}"
    );
}

#[test]
fn a_muted_encoding_of_a_track_can_have_a_codec_of_its_own() {
    let mut sim = Simulation::new(19, Link::default()).unwrap();
    let defaults = MediaEngine::with_defaults();
    let vp9 = defaults
        .codecs(Video)
        .iter()
        .find(|it| it.rtp_codec.is("VP9"))
        .unwrap()
        .rtp_codec
        .clone();
    let init = RTCRtpTransceiverInit {
        send_encodings: vec![RTCRtpEncodingParameters {
            codec: vp9,
            ..RTCRtpEncodingParameters::default()
        }],
        ..RTCRtpTransceiverInit::default()
    };
    let id = sim
        .a
        .connection
        .add_transceiver_from_track(track("camera", Video), Some(init))
        .unwrap();
    connected(&mut sim);
    Source::of(Side::A, id.sender_id()).send(&mut sim);
    wait(&mut sim, 50);
    let packet = received(&mut sim, Side::B)["camera"][0].clone();
    let receiver = sim.b.connection.get_receivers().next().unwrap();
    let parameters = sim
        .b
        .connection
        .rtp_receiver(receiver)
        .unwrap()
        .get_parameters();
    let codec = parameters
        .rtp_parameters
        .codecs
        .into_iter()
        .find(|it| it.payload_type == packet.header.payload_type)
        .unwrap();
    assert!(codec.rtp_codec.is("VP9"));
}
