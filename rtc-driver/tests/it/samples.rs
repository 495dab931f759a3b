//! Frames, as encoders give them and decoders take them.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, future};
use rtc::media::{
    Codec, DEFAULT_MAX_FRAME, IvfReader, OggOpusReader, Sample, SampleSender, SampleSenderConfig,
};
use rtc::rtp::Packet;
use rtc::rtp_transceiver::RtpCodecKind::{Audio, Video};
use rtc::rtp_transceiver::{
    RTCRtpCodecParameters, RTCRtpEncodingParameters, RTCRtpTransceiverInit, RtpCodecKind,
};
use rtc_driver::test::Link;
use rtc_driver::{Endpoint, LocalTrack, PeerConnection, RemoteTrack, TrackFeedback, rtc};

use crate::scene::{OneWay, Scene, connect, packet, poll_once, signal, track};

const MS: Duration = Duration::from_millis(1);

fn file(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/media");
    std::fs::read(Path::new(path).join(name)).unwrap()
}

fn sample(data: Bytes, duration: Duration) -> Sample {
    Sample {
        data,
        duration,
        ..Sample::default()
    }
}

/// The frames of an IVF file.
fn video(name: &str) -> Vec<Sample> {
    let file = file(name);
    let mut reader = IvfReader::new(&file[..], DEFAULT_MAX_FRAME).unwrap();
    let frames = std::iter::from_fn(|| reader.next_frame().unwrap());
    frames.map(|it| sample(it.data, 33 * MS)).collect()
}

/// The packets of an Ogg file.
fn opus() -> Vec<Sample> {
    let file = file("opus.ogg");
    let mut reader = OggOpusReader::new(&file[..], DEFAULT_MAX_FRAME).unwrap();
    let packets = std::iter::from_fn(|| reader.next_packet().unwrap());
    packets.map(|it| sample(it.data, 20 * MS)).collect()
}

/// The negotiated codec of that name.
fn codec_of(
    core_kind: RtpCodecKind,
    name: &str,
    connection: &PeerConnection,
) -> Vec<RTCRtpCodecParameters> {
    connection.with_core(|core| {
        let engine = core.get_configuration().media_engine();
        let codecs = engine.codecs(core_kind).iter();
        codecs.filter(|it| it.rtp_codec.is(name)).cloned().collect()
    })
}

/// Writes as time passes.
async fn play(world: &Scene, here: &LocalTrack, samples: &[Sample]) {
    for sample in samples {
        here.write_sample(sample).await.unwrap();
        world.sleep(sample.duration).await;
    }
}

async fn listen(there: &RemoteTrack, count: usize) -> Vec<Sample> {
    let samples = there.samples().with_max_delay(2_000 * MS);
    samples.take(count).collect().await
}

fn data(samples: &[Sample]) -> Vec<&Bytes> {
    samples.iter().map(|sample| &sample.data).collect()
}

#[test]
fn files_come_as_they_were() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let voice = alice.add_track(track("voice", Audio)).unwrap();
        let camera = alice.add_track(track("camera", Video)).unwrap();
        connect(&alice, &bob).await;
        let mut tracks = bob.tracks();
        let (heard, seen) = (tracks.next().await.unwrap(), tracks.next().await.unwrap());
        let (audio, video) = (opus(), video("vp8.ivf"));
        assert!(audio.len() > 90 && video.len() == 60);
        let send = future::join(play(&world, &voice, &audio), play(&world, &camera, &video));
        let receive = future::join(listen(&heard, audio.len()), listen(&seen, video.len()));
        let (_, (heard, seen)) = future::join(send, receive).await;
        assert_eq!(data(&heard), data(&audio));
        assert_eq!(data(&seen), data(&video));
        assert!(heard.iter().skip(1).all(|it| it.duration == 20 * MS));
        assert!(seen[0].key_frame && seen.iter().all(|it| it.packets_lost == 0));
    });
}

#[test]
fn every_codec_of_files_is_carried() {
    for (codec, name) in [(Codec::Vp9, "vp9.ivf"), (Codec::Av1, "av1.ivf")] {
        let world = Scene::new();
        world.run(async {
            let (alice, bob) = world.pair();
            let here = alice.add_track(track("camera", Video)).unwrap();
            let name_of_codec = codec.mime_type().split_once('/').unwrap().1;
            let codecs = codec_of(Video, name_of_codec, &alice);
            here.transceiver().set_codec_preferences(codecs).unwrap();
            connect(&alice, &bob).await;
            let there = bob.tracks().next().await.unwrap();
            let video = video(name);
            let mut samples = there.samples();
            for sample in &video {
                here.write_sample(sample).await.unwrap();
                let received = samples.next().await.unwrap();
                assert_eq!(received.data, sample.data);
            }
            assert!(samples.codec().unwrap().rtp_codec.is(name_of_codec));
        });
    }
}

#[test]
fn what_the_network_loses_comes_again_in_time() {
    let world = Scene::with_seed(8);
    world.run(async {
        let OneWay { here, there, .. } = world.one_way(Video).await;
        let video = video("vp8.ivf");
        let mut link = Link::new(10 * MS)
            .with_loss(0.05)
            .with_reordering(0.05)
            .with_jitter(5 * MS);
        link.in_order = false;
        let mut feedback = here.feedback();
        let send = async {
            // Nobody can know of what was lost before the first packet that came.
            play(&world, &here, &video[..1]).await;
            world.set_default_link(link);
            play(&world, &here, &video[1..]).await;
            // What follows shows what is missing at the end.
            world.set_default_link(Link::default());
            play(&world, &here, &video[59..]).await;
        };
        let (seen, ()) = future::join(listen(&there, 60), send).await;
        assert_eq!(data(&seen), data(&video));
        drop(there);
        let next = pin!(feedback.next());
        assert!(poll_once(next, &Arc::default()).is_pending());
    });
}

/// Frames as packets, of which some are kept back.
fn packets(frames: &[Sample]) -> Vec<Vec<Packet>> {
    let mut rng = rtc::shared::Rng::from_seed([3; 32]);
    let config = SampleSenderConfig {
        ssrc: 0,
        payload_type: 127,
        clock_rate: 90_000,
        max_payload: 1000,
    };
    let packetizer = Codec::Vp8.packetizer("", &mut rng).unwrap();
    let mut sender = SampleSender::new(packetizer, config, &mut rng);
    let packets = frames.iter().map(|frame| {
        let mut packets = Vec::new();
        sender.send(frame, &mut packets).unwrap();
        packets
    });
    packets.collect()
}

#[test]
fn after_a_loss_video_goes_on_with_a_key_frame_that_was_asked_for() {
    let world = Scene::new();
    world.run(async {
        let OneWay { here, there, .. } = world.one_way(Video).await;
        let video = video("vp8.ivf");
        // There is no key frame between these.
        let frames = [&video[..30], &video[..5]].concat();
        let mut packets = packets(&frames).into_iter();
        let mut write = || {
            let packets = packets.next().unwrap();
            let here = here.clone();
            async move {
                for packet in packets {
                    here.write_rtp(packet).await.unwrap();
                }
            }
        };
        let (mut samples, mut feedback) = (there.samples(), here.feedback());
        for sample in &video[..10] {
            write().await;
            assert_eq!(samples.next().await.unwrap().data, sample.data);
        }
        drop(write());
        let flag = Arc::default();
        for _ in 11..30 {
            write().await;
            assert!(poll_once(pin!(samples.next()), &flag).is_pending());
            world.sleep(33 * MS).await;
        }
        let wish = feedback.next().await.unwrap();
        assert!(matches!(wish, TrackFeedback::KeyFrameRequest { .. }));
        let mut lost = Vec::new();
        for sample in &video[..5] {
            write().await;
            let received = samples.next().await.unwrap();
            assert_eq!(received.data, sample.data);
            lost.push(received.packets_lost);
        }
        assert!(lost[0] >= 20 && lost[1..] == [0; 4], "{lost:?}");
    });
}

#[test]
fn what_is_not_active_is_not_missed() {
    let world = Scene::new();
    world.run(async {
        let OneWay { here, there, .. } = world.one_way(Video).await;
        let video = video("vp8.ivf");
        let mut samples = there.samples();
        let set_active = |active| {
            let mut parameters = here.get_parameters();
            parameters.encodings[0].active = active;
            here.set_parameters(parameters).unwrap();
        };
        let mut last = None;
        for round in 1..4 {
            for sample in &video[..5] {
                here.write_sample(sample).await.unwrap();
                let received = samples.next().await.unwrap();
                assert_eq!((&received.data, received.packets_lost), (&sample.data, 0));
                if let Some(timestamp) = last.replace(received.timestamp) {
                    let step = received.timestamp.wrapping_sub(timestamp);
                    let frames = if received.key_frame { 21 } else { 1 };
                    assert!(step.abs_diff(frames * 2970) < 10, "{step}");
                }
            }
            set_active(false);
            for sample in &video[5..25] {
                here.write_sample(sample).await.unwrap();
            }
            assert_eq!(here.dropped(), 20 * round);
            set_active(true);
        }
    });
}

/// Writes packets of which one is missing for ever, and waits for what is behind it.
async fn gap(world: &Scene, here: &LocalTrack, there: &RemoteTrack) {
    let mut samples = there.samples();
    for number in [1, 2, 4] {
        here.write_rtp(packet(number)).await.unwrap();
    }
    assert_eq!(samples.next().await.unwrap().sequence_number, 1);
    assert_eq!(samples.next().await.unwrap().sequence_number, 2);
    let before = world.elapsed();
    let sample = samples.next().await.unwrap();
    assert_eq!((sample.sequence_number, sample.packets_lost), (4, 1));
    let waited = world.elapsed() - before;
    assert!((150 * MS..=201 * MS).contains(&waited), "{waited:?}");
    let mut samples = there.samples().with_max_delay(20 * MS);
    for number in [10, 12] {
        here.write_rtp(packet(number)).await.unwrap();
    }
    assert_eq!(samples.next().await.unwrap().sequence_number, 10);
    let before = world.elapsed();
    assert_eq!(samples.next().await.unwrap().sequence_number, 12);
    assert!(world.elapsed() - before <= 21 * MS);
}

#[test]
fn a_gap_is_given_up_in_time_although_nothing_follows() {
    let world = Scene::new();
    world.run(async {
        let OneWay { here, there, .. } = world.one_way(Audio).await;
        gap(&world, &here, &there).await;
    });
}

#[test]
fn also_behind_an_endpoint() {
    let world = Scene::new();
    world.run(async {
        let server = Endpoint::builder(world.b.runtime())
            .bind("192.0.2.2:3478".parse().unwrap())
            .build()
            .unwrap();
        let mut pairs = Vec::new();
        for _ in 0..3 {
            let client = world.a.builder().build().unwrap();
            let here = client.add_track(track("voice", Audio)).unwrap();
            let configuration = world.b.configuration().build();
            let peer = server.peer_connection(configuration).unwrap();
            connect(&client, &peer).await;
            let there = peer.tracks().next().await.unwrap();
            pairs.push((here, there));
        }
        future::join_all(pairs.iter().map(|(here, there)| gap(&world, here, there))).await;
    });
}

#[test]
fn tones_between_frames_are_not_missed() {
    let world = Scene::new();
    world.run(async {
        let OneWay { here, there, .. } = world.one_way(Audio).await;
        let parameters = here.get_parameters().rtp_parameters;
        let tones = parameters.codecs.iter();
        let tones = tones
            .filter(|it| it.rtp_codec.is("telephone-event"))
            .map(|it| it.payload_type)
            .next()
            .unwrap();
        let voice = here.codec().unwrap().payload_type;
        let write = |number, payload_type| {
            let mut packet: Packet = packet(number);
            packet.header.payload_type = payload_type;
            here.write_rtp(packet)
        };
        let mut samples = there.samples();
        let before = world.elapsed();
        for number in 1..50 {
            let is_tone = number % 3 == 0;
            write(number, if is_tone { tones } else { voice })
                .await
                .unwrap();
            if !is_tone {
                let sample = samples.next().await.unwrap();
                assert_eq!(sample.sequence_number, number);
                assert_eq!(sample.packets_lost, 0);
            }
        }
        assert!(world.elapsed() - before < 3_000 * MS);
    });
}

#[test]
fn frames_go_on_in_another_codec() {
    let world = Scene::new();
    world.run(async {
        let OneWay {
            alice,
            bob,
            here,
            there,
        } = world.one_way(Audio).await;
        let mut samples = there.samples();
        let frames = opus();
        let mut last = None;
        for frame in &frames[..5] {
            here.write_sample(frame).await.unwrap();
            let sample = samples.next().await.unwrap();
            assert_eq!(sample.data, frame.data);
            last = Some(sample.sequence_number);
        }
        assert!(samples.codec().unwrap().rtp_codec.is("opus"));
        let codecs = codec_of(Audio, "PCMU", &alice);
        here.transceiver().set_codec_preferences(codecs).unwrap();
        signal(&alice, &bob).await;
        assert!(here.codec().unwrap().rtp_codec.is("PCMU"));
        for number in 0..5_u8 {
            let frame = sample(vec![number; 160].into(), 20 * MS);
            here.write_sample(&frame).await.unwrap();
            let sample = samples.next().await.unwrap();
            assert_eq!(sample.data, frame.data);
            let next = last.map(|it: u16| it.wrapping_add(1));
            assert_eq!(Some(sample.sequence_number), next);
            last = next;
        }
        assert!(samples.codec().unwrap().rtp_codec.is("PCMU"));
    });
}

#[test]
fn each_layer_has_frames_of_its_own() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let init = RTCRtpTransceiverInit {
            send_encodings: ["low", "high"]
                .map(RTCRtpEncodingParameters::with_rid)
                .to_vec(),
            ..RTCRtpTransceiverInit::default()
        };
        let camera = track("camera", Video);
        let here = alice.add_transceiver_from_track(camera, init).unwrap();
        let here = here.sender();
        connect(&alice, &bob).await;
        let there = bob.tracks().next().await.unwrap();
        let (mut low, mut first) = (there.layer("low").samples(), there.samples());
        let video = video("vp8.ivf");
        for at in 0..30 {
            here.write_sample_layer("low", &video[at]).await.unwrap();
            let other = &video[59 - at % 10];
            let other = if at == 0 { &video[0] } else { other };
            here.write_sample_layer("high", other).await.unwrap();
            assert_eq!(low.next().await.unwrap().data, video[at].data);
            assert_eq!(first.next().await.unwrap().data, other.data);
        }
        let low_codec = low.codec().unwrap();
        assert_eq!(Some(low_codec), here.codec_of_layer("low").as_ref());
        drop(low);
        // All of both come by the track now; the first that came stays.
        for sample in &video[..10] {
            here.write_sample_layer("low", &video[7]).await.unwrap();
            here.write_sample_layer("high", sample).await.unwrap();
            assert_eq!(first.next().await.unwrap().data, sample.data);
        }
    });
}

#[test]
fn the_end_gives_what_had_come() {
    let world = Scene::new();
    world.run(async {
        let OneWay {
            alice, here, there, ..
        } = world.one_way(Audio).await;
        let mut samples = there.samples();
        for number in [1, 2, 4, 5] {
            here.write_rtp(packet(number)).await.unwrap();
        }
        alice.close().await.unwrap();
        let mut numbers = Vec::new();
        while let Some(sample) = samples.next().await {
            numbers.push(sample.sequence_number);
        }
        assert_eq!(numbers, [1, 2, 4, 5]);
    });
}
