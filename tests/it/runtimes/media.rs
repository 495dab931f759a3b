//! Audio and video between two connections.

use std::time::Duration;

use bytes::Bytes;
use rtc::media::{DEFAULT_MAX_FRAME, IvfReader, OggOpusReader, Sample};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp::{Header, Packet};
use rtc::rtp_transceiver::{RTCRtpEncodingParameters, RTCRtpTransceiverInit, RtpCodecKind};
use rtc_driver::{
    LocalTrack, Overflow, PeerConnection, RemoteTrack, Runtime, SendError, TrackFeedback,
};

use super::env::{Env, signal};

fn track(id: &str, kind: RtpCodecKind) -> MediaStreamTrack {
    MediaStreamTrack::new("stream", id, id, kind, vec![])
}

fn packet(number: u16) -> Packet {
    Packet {
        header: Header {
            sequence_number: number,
            timestamp: u32::from(number) * 1000,
            ..Header::default()
        },
        payload: Bytes::from([&number.to_be_bytes()[..], &[7; 500]].concat()),
    }
}

fn number(packet: &Packet) -> u16 {
    u16::from_be_bytes([packet.payload[0], packet.payload[1]])
}

fn vector(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/media/");
    std::fs::read(format!("{path}{name}")).unwrap()
}

fn sample(data: Bytes, milliseconds: u64) -> Sample {
    Sample {
        data,
        duration: Duration::from_millis(milliseconds),
        ..Sample::default()
    }
}

/// The frames of a film, its pictures or its sound.
fn film(kind: RtpCodecKind) -> Vec<Sample> {
    match kind {
        RtpCodecKind::Video => {
            let file = vector("vp8.ivf");
            let mut reader = IvfReader::new(&file[..], DEFAULT_MAX_FRAME).unwrap();
            let frames = std::iter::from_fn(|| reader.next_frame().unwrap());
            frames.map(|it| sample(it.data, 33)).collect()
        }
        RtpCodecKind::Audio => {
            let file = vector("opus.ogg");
            let mut reader = OggOpusReader::new(&file[..], DEFAULT_MAX_FRAME).unwrap();
            let packets = std::iter::from_fn(|| reader.next_packet().unwrap());
            packets.map(|it| sample(it.data, 20)).collect()
        }
    }
}

/// Connects over a network that does not lose anything by the time that media flows: nobody repeats
/// audio.
async fn connect<R: Runtime>(env: &Env<R>, alice: &PeerConnection, bob: &PeerConnection) {
    env.soon(async {
        signal(alice, bob).await;
        alice.connected().await.unwrap();
        bob.connected().await.unwrap();
    })
    .await;
    env.calm().await;
}

pub(super) async fn films_go_both_ways_at_once<R: Runtime>(env: Env<R>) {
    let (alice, bob) = env.pair();
    let kinds = [RtpCodecKind::Audio, RtpCodecKind::Video];
    let here = kinds.map(|kind| alice.add_track(track(kind.as_str(), kind)).unwrap());
    let there = kinds.map(|kind| bob.add_track(track(kind.as_str(), kind)).unwrap());
    connect(&env, &alice, &bob).await;

    let mut tasks = Vec::new();
    for local in here.into_iter().chain(there) {
        let env_of_task = env.clone();
        tasks.push(env.spawn(async move {
            local.set_overflow(Overflow::Wait);
            for sample in &film(local.kind()) {
                local.write_sample(sample).await.unwrap();
                // Faster than in truth, yet not as fast as buffers can be overrun.
                env_of_task.sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(local.dropped(), 0);
        }));
    }
    for connection in [&alice, &bob] {
        let mut tracks = connection.tracks();
        for kind in kinds {
            let remote = env.soon(tracks.next()).await.unwrap();
            assert_eq!(remote.kind(), kind);
            tasks.push(env.spawn(async move {
                let mut samples = remote.samples();
                for expected in film(kind) {
                    let received = samples.next().await.unwrap();
                    assert!(received.data == expected.data);
                    assert_eq!(received.packets_lost, 0);
                }
            }));
        }
    }
    for task in tasks {
        env.soon(task.join()).await;
    }
}

async fn simulcast<R: Runtime>(
    env: &Env<R>,
) -> (PeerConnection, PeerConnection, LocalTrack, RemoteTrack) {
    let (alice, bob) = env.pair();
    let init = RTCRtpTransceiverInit {
        send_encodings: ["low", "high"]
            .map(RTCRtpEncodingParameters::with_rid)
            .to_vec(),
        ..RTCRtpTransceiverInit::default()
    };
    let camera = track("camera", RtpCodecKind::Video);
    let transceiver = alice.add_transceiver_from_track(camera, init).unwrap();
    connect(env, &alice, &bob).await;
    let there = env.soon(bob.tracks().next()).await.unwrap();
    (alice, bob, transceiver.sender(), there)
}

pub(super) async fn layers_come_apart_and_wishes_go_back<R: Runtime>(env: Env<R>) {
    let (alice, bob, here, there) = simulcast(&env).await;
    assert_eq!(there.rids(), ["low", "high"]);
    let mut feedback = here.feedback();
    let layers = ["low", "high"].map(|rid| there.layer(rid));
    for round in 0..100 {
        for (layer, first) in layers.iter().zip([0, 1000]) {
            here.write_rtp_layer(layer.rid(), packet(first + round))
                .await
                .unwrap();
        }
        for (layer, first) in layers.iter().zip([0, 1000]) {
            let packet = env.soon(layer.read_rtp()).await.unwrap();
            assert_eq!(number(&packet), first + round);
        }
    }
    for layer in &layers {
        assert!(layer.request_key_frame());
        let wish = env.soon(feedback.next()).await.unwrap();
        let rid = Some(layer.rid().to_owned());
        let ssrc = layer.ssrc().unwrap();
        assert_eq!(wish, TrackFeedback::KeyFrameRequest { rid, ssrc });
    }
    drop((alice, bob));
}

pub(super) async fn whoever_waits_for_media_is_woken_by_the_end<R: Runtime>(env: Env<R>) {
    let (alice, bob, here, there) = simulcast(&env).await;
    let idle = alice
        .add_track(track("voice", RtpCodecKind::Audio))
        .unwrap();
    idle.set_overflow(Overflow::Wait);
    let mut waiting = Vec::new();
    let (reader, layer) = (there.clone(), there.layer("low"));
    waiting.push(env.spawn(async move { assert!(reader.read_rtp().await.is_none()) }));
    waiting.push(env.spawn(async move { assert!(layer.read_rtp().await.is_none()) }));
    let mut samples = there.samples();
    waiting.push(env.spawn(async move { assert!(samples.next().await.is_none()) }));
    let mut tracks = bob.tracks();
    waiting.push(env.spawn(async move { assert!(tracks.next().await.is_none()) }));
    let mut feedback = here.feedback();
    waiting.push(env.spawn(async move { assert!(feedback.next().await.is_none()) }));
    waiting.push(env.spawn(async move {
        let error = idle.write_rtp(packet(1)).await.unwrap_err();
        assert_eq!(error, SendError::Closed);
    }));
    env.sleep(Duration::from_millis(20)).await;
    env.soon(alice.close()).await.unwrap();
    for task in waiting {
        env.soon(task.join()).await;
    }
    let written = here.write_rtp_layer("low", packet(1)).await;
    assert_eq!(written, Err(SendError::Closed));
}
