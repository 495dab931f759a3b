//! Audio and video packets from one application to the other, over a network that loses them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCTrackEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::rtp::{Header, Packet};
use rtc::rtp_transceiver::{RTCRtpSenderId, RtpCodecKind};
use rtc::sansio::Protocol;
use rtc_tests::sim::{Link, Side, Simulation};

use crate::media_pair::*;
use crate::seeds::for_each_seed;

/// A track that is sent, packet after packet.
struct Source {
    side: Side,
    sender: RTCRtpSenderId,
    next: u16,
    timestamp: u32,
}

impl Source {
    fn new(sim: &mut Simulation, side: Side, id: &str, kind: RtpCodecKind) -> Self {
        let connection = &mut sim.peer(side).connection;
        let sender = connection.add_track(track(id, kind)).unwrap();
        Self {
            side,
            sender,
            next: 100,
            timestamp: 1000,
        }
    }

    fn send(&mut self, sim: &mut Simulation) {
        let packet = packet(self.next, self.timestamp);
        let connection = &mut sim.peer(self.side).connection;
        let mut sender = connection.rtp_sender(self.sender).unwrap();
        sender.write_rtp(packet).unwrap();
        self.next = self.next.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(1000);
    }
}

/// A packet whose payload tells its number.
fn packet(sequence_number: u16, timestamp: u32) -> Packet {
    Packet {
        header: Header {
            sequence_number,
            timestamp,
            payload_type: 127,
            ..Header::default()
        },
        payload: Bytes::from([&sequence_number.to_be_bytes()[..], &[7; 600]].concat()),
    }
}

/// The packets that a side received, by track, in order.
fn received(sim: &mut Simulation, side: Side) -> BTreeMap<String, Vec<Packet>> {
    let mut tracks = BTreeMap::<_, Vec<_>>::new();
    for message in &sim.peer(side).messages {
        if let RTCMessage::RtpPacket(track, packet) = message {
            tracks
                .entry(track.to_string())
                .or_default()
                .push(packet.clone());
        }
    }
    tracks
}

fn numbers(packets: &[Packet]) -> Vec<u16> {
    packets
        .iter()
        .map(|packet| {
            let [high, low, ..] = packet.payload[..] else {
                panic!("{packet:?}")
            };
            assert_eq!(
                packet.header.sequence_number,
                u16::from_be_bytes([high, low])
            );
            packet.header.sequence_number
        })
        .collect()
}

fn wait(sim: &mut Simulation, milliseconds: u64) {
    sim.run(Duration::from_millis(milliseconds), |_| false);
}

#[test]
fn audio_and_video_go_both_ways() {
    let mut sim = Simulation::new(1, Link::default()).unwrap();
    let mut sources = [
        Source::new(&mut sim, Side::A, "voice", Audio),
        Source::new(&mut sim, Side::A, "camera", Video),
        Source::new(&mut sim, Side::B, "music", Audio),
        Source::new(&mut sim, Side::B, "film", Video),
    ];
    sim.negotiate().unwrap();
    assert!(sim.connect(Duration::from_secs(10)));
    for _ in 0..50 {
        for source in &mut sources {
            source.send(&mut sim);
        }
        wait(&mut sim, 10);
    }
    let expected: Vec<u16> = (100..150).collect();
    for side in [Side::A, Side::B] {
        let received = received(&mut sim, side);
        assert_eq!(received.len(), 2, "{received:?}");
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
fn what_is_lost_comes_again() {
    for_each_seed(20, |seed| {
        let mut sim = Simulation::new(seed, Link::default()).unwrap();
        let mut video = Source::new(&mut sim, Side::A, "camera", Video);
        sim.negotiate().unwrap();
        assert!(sim.connect(Duration::from_secs(10)));
        *sim.link() = Link::default()
            .with_loss(0.1)
            .with_reordering(0.1)
            .with_duplication(0.05)
            .with_jitter(Duration::from_millis(10));
        for _ in 0..300 {
            video.send(&mut sim);
            wait(&mut sim, 5);
        }
        *sim.link() = Link::default();
        // The last packet shows what is missing before it.
        video.send(&mut sim);
        wait(&mut sim, 1000);
        let packets = received(&mut sim, Side::B).remove("camera").unwrap();
        let came = numbers(&packets);
        let unique: BTreeSet<u16> = came.iter().copied().collect();
        assert_eq!(unique.len(), came.len(), "none comes twice");
        let missing: Vec<u16> = (unique.first().copied().unwrap()..=400)
            .filter(|number| !unique.contains(number))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    });
}
