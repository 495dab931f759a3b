//! Audio and video by handles.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use rtc::media::Sample;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp::{Header, Packet};
use rtc::rtp_transceiver::RtpCodecKind;
use rtc_driver::{LocalTrack, PeerConnection, RemoteTrack, TrackFeedback, rtc};

use crate::scene::{Scene, connect};

pub const MS: Duration = Duration::from_millis(1);

pub fn track(id: &str, kind: RtpCodecKind) -> MediaStreamTrack {
    MediaStreamTrack::new("stream", id, id, kind, vec![])
}

pub fn packet(number: u16) -> Packet {
    Packet {
        header: Header {
            sequence_number: number,
            timestamp: u32::from(number) * 960,
            ..Header::default()
        },
        payload: Bytes::from(number.to_be_bytes().to_vec()),
    }
}

/// A track from alice to bob over a new connection.
pub async fn one_way(
    scene: &Scene,
    kind: RtpCodecKind,
) -> (PeerConnection, PeerConnection, LocalTrack, RemoteTrack) {
    let (alice, bob) = scene.pair();
    let here = alice.add_track(track("camera", kind)).unwrap();
    connect(&alice, &bob).await;
    let there = bob.tracks().next().await.unwrap();
    (alice, bob, here, there)
}

#[test]
fn packets_samples_and_wishes_find_their_way() {
    let world = Scene::new();
    world.run(async {
        let (_alice, _bob, here, mut there) = one_way(&world, RtpCodecKind::Video).await;
        assert_eq!(there.kind(), RtpCodecKind::Video);
        assert_eq!(there.track_id(), &"camera");
        assert_eq!(there.stream_ids(), ["stream"]);
        assert!(here.codec().is_some());
        for number in 1..=3 {
            here.write_rtp(packet(number)).await.unwrap();
        }
        assert_eq!(
            there.read_rtp().await.unwrap().payload[..],
            1_u16.to_be_bytes()
        );
        let second = there.next().await.unwrap();
        assert_eq!(second.payload[..], 2_u16.to_be_bytes());
        let mut feedback = here.feedback();
        assert!(there.request_key_frame());
        let wish = feedback.next().await.unwrap();
        assert!(matches!(wish, TrackFeedback::KeyFrameRequest { ssrc, .. }
            if ssrc == second.header.ssrc));
    });
}

#[test]
fn samples_come_as_they_were_sent() {
    let world = Scene::new();
    world.run(async {
        let (_alice, _bob, here, there) = one_way(&world, RtpCodecKind::Audio).await;
        let mut samples = there.samples();
        for number in 0..10_u8 {
            let sample = Sample {
                data: Bytes::from(vec![0xf8, 0xff, number]),
                duration: 20 * MS,
                ..Sample::default()
            };
            here.write_sample(&sample).await.unwrap();
            let received = samples.next().await.unwrap();
            assert_eq!(received.data, sample.data);
        }
        assert!(samples.codec().unwrap().rtp_codec.is("opus"));
    });
}
