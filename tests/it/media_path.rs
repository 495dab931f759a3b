//! Audio and video packets from one application to the other, over a network that loses them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rtc::Error;
use rtc::dtls::SrtpProfile;
use rtc::interceptor::{Context, Flow, IncomingRtp, Interceptor, Registry, Slot};
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::{RTCConfigurationBuilder, SettingEngine};
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCRtpSenderEvent, RTCTrackEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::rtp::extension::{AbsCaptureTime, AudioLevel, ExtensionKind, Mid};
use rtc::rtp::{Header, Packet};
use rtc::rtp_transceiver::{
    RTCRtpEncodingParameters, RTCRtpSenderId, RTCRtpTransceiverInit, RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::sdp::{Msid, SessionDescription};
use rtc::statistics::{RTCStats, StatsSelector};
use rtc::{rtcp, srtp};
use rtc_tests::sim::{Link, Side, Simulation};

use crate::media_pair::*;
use crate::seeds::for_each_seed;

const SECOND: Duration = Duration::from_secs(1);

/// A track that is sent, packet after packet.
struct Source {
    side: Side,
    sender: RTCRtpSenderId,
    rid: Option<&'static str>,
    next: u16,
    timestamp: u32,
}

impl Source {
    fn new(sim: &mut Simulation, side: Side, id: &str, kind: RtpCodecKind) -> Self {
        let connection = &mut sim.peer(side).connection;
        let sender = connection.add_track(track(id, kind)).unwrap();
        Self::of(side, sender)
    }

    fn of(side: Side, sender: RTCRtpSenderId) -> Self {
        Self {
            side,
            sender,
            rid: None,
            next: 100,
            timestamp: 1000,
        }
    }

    fn send(&mut self, sim: &mut Simulation) {
        self.try_send(sim).unwrap();
    }

    fn try_send(&mut self, sim: &mut Simulation) -> Result<(), Error> {
        let packet = packet(self.next, self.timestamp);
        let connection = &mut sim.peer(self.side).connection;
        let mut sender = connection.rtp_sender(self.sender).unwrap();
        match self.rid {
            Some(rid) => sender.write_rtp_layer(rid, packet)?,
            None => sender.write_rtp(packet)?,
        }
        self.next = self.next.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(1000);
        Ok(())
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

/// The packets that a side has received, in order, by the name that the other side gave the track.
/// Its own name is another where its transceiver was there before the other's.
fn received(sim: &mut Simulation, side: Side) -> BTreeMap<String, Vec<Packet>> {
    let connection = &mut sim.peer(side).connection;
    let description = connection.remote_description().unwrap().sdp;
    let description = description.parse::<SessionDescription>().unwrap();
    let name = |mid: &str| {
        let section = description.media.iter().find(|it| it.mid() == Some(mid))?;
        let msid = section.all::<Msid>().next()?.unwrap();
        msid.track
    };
    let ids: Vec<_> = connection.get_transceivers().collect();
    let mut names = BTreeMap::new();
    for id in ids {
        let transceiver = connection.rtp_transceiver(id).unwrap();
        let name = transceiver.mid().and_then(name);
        let receiver = connection.rtp_receiver(id.receiver_id()).unwrap();
        let track = receiver.track().unwrap().track_id().to_string();
        names.insert(track.clone(), name.unwrap_or(track));
    }
    let mut tracks = BTreeMap::<_, Vec<_>>::new();
    for message in &sim.peer(side).messages {
        if let RTCMessage::RtpPacket(track, packet) = message {
            let track = track.as_str();
            let name = names.get(track).map_or(track, String::as_str);
            let packets = tracks.entry(name.to_owned()).or_default();
            packets.push(packet.clone());
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
            let number = u16::from_be_bytes([high, low]);
            assert_eq!(packet.header.sequence_number, number);
            number
        })
        .collect()
}

/// Every packet from the first that came on came, and came once.
fn assert_whole(packets: &[Packet], last: u16) {
    let came = numbers(packets);
    let unique: BTreeSet<u16> = came.iter().copied().collect();
    assert_eq!(unique.len(), came.len(), "none comes twice");
    // Nobody can know of what was sent before the first that came.
    let first = came[0];
    let missing: Vec<u16> = (first..=last).filter(|it| !unique.contains(it)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn wait(sim: &mut Simulation, milliseconds: u64) {
    sim.run(Duration::from_millis(milliseconds), |_| false);
}

fn connected(sim: &mut Simulation) {
    sim.negotiate().unwrap();
    assert!(sim.connect(10 * SECOND));
}

fn bad_link() -> Link {
    Link::default()
        .with_loss(0.1)
        .with_reordering(0.1)
        .with_duplication(0.05)
        .with_jitter(Duration::from_millis(10))
}

fn sender_events(sim: &mut Simulation, side: Side) -> Vec<RTCRtpSenderEvent> {
    let events = sim.peer(side).events.drain(..);
    let of_sender = |event| match event {
        RTCPeerConnectionEvent::OnRtpSender(event) => Some(event),
        _ => None,
    };
    events.filter_map(of_sender).collect()
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

fn simulcast(sim: &mut Simulation) -> [Source; 3] {
    let init = RTCRtpTransceiverInit {
        direction: Sendonly,
        send_encodings: layers(&["q", "h", "f"]),
        ..RTCRtpTransceiverInit::default()
    };
    let id = sim
        .a
        .connection
        .add_transceiver_from_track(track("camera", Video), Some(init))
        .unwrap();
    // A browser would answer such an offer with all layers.
    sim.a.connection.set_local_description_implicit().unwrap();
    let offer = sim.a.connection.local_description().unwrap();
    sim.b.connection.set_remote_description(offer).unwrap();
    sim.b.connection.set_local_description_implicit().unwrap();
    let answer = sim.b.connection.local_description().unwrap();
    sim.a.connection.set_remote_description(answer).unwrap();
    assert!(sim.connect(10 * SECOND));
    ["q", "h", "f"].map(|rid| Source {
        rid: Some(rid),
        ..Source::of(Side::A, id.sender_id())
    })
}

#[test]
fn simulcast_layers_arrive_under_their_names_over_a_bad_link() {
    for_each_seed(20, |seed| {
        let mut sim = Simulation::new(seed, Link::default()).unwrap();
        let mut sources = simulcast(&mut sim);
        let sender = sources[0].sender;
        let without_name = sim.a.connection.rtp_sender(sender).unwrap();
        let mut without_name = without_name;
        assert_eq!(
            without_name.write_rtp(packet(1, 1)).map_err(|it| it.name()),
            Err("InvalidAccessError")
        );
        *sim.link() = bad_link();
        for round in 0..200 {
            for (index, source) in sources.iter_mut().enumerate() {
                if round % (4 >> index) == 0 {
                    source.send(&mut sim);
                }
            }
            wait(&mut sim, 5);
        }
        *sim.link() = Link::default();
        sources.iter_mut().for_each(|source| source.send(&mut sim));
        wait(&mut sim, 1000);
        let packets = received(&mut sim, Side::B).remove("camera").unwrap();
        let id = sim.b.connection.get_receivers().next().unwrap();
        let receiver = sim.b.connection.rtp_receiver(id).unwrap();
        let mut counts = BTreeMap::new();
        for source in &sources {
            let of_layer: Vec<_> = packets
                .iter()
                .filter(|it| receiver.rid(it.header.ssrc) == source.rid)
                .cloned()
                .collect();
            assert_whole(&of_layer, source.next - 1);
            counts.insert(source.rid.unwrap(), of_layer.len());
        }
        let total: usize = counts.values().sum();
        assert_eq!(total, packets.len(), "{counts:?}");
        assert!(counts["f"] >= 195 && counts["q"] >= 45, "{counts:?}");
    });
}

#[test]
fn an_encoding_that_is_not_active_is_not_sent() {
    let mut sim = Simulation::new(5, Link::default()).unwrap();
    let mut sources = simulcast(&mut sim);
    let mut sender = sim.a.connection.rtp_sender(sources[0].sender).unwrap();
    let mut parameters = sender.get_parameters();
    parameters.encodings[1].active = false;
    sender.set_parameters(parameters, None).unwrap();
    sources.iter_mut().for_each(|source| source.send(&mut sim));
    wait(&mut sim, 100);
    assert_eq!(received(&mut sim, Side::B)["camera"].len(), 2);
    assert_eq!(sim.a.connection.counters().media.dropped_inactive, 1);
}

#[test]
fn requests_of_key_frames_arrive() {
    let mut sim = Simulation::new(6, Link::default()).unwrap();
    let mut sources = simulcast(&mut sim);
    sources.iter_mut().for_each(|source| source.send(&mut sim));
    wait(&mut sim, 50);
    sim.a.events.clear();
    let id = sim.b.connection.get_receivers().next().unwrap();
    let mut receiver = sim.b.connection.rtp_receiver(id).unwrap();
    let middle = receiver
        .ssrcs()
        .find(|(_, rid)| *rid == Some("h"))
        .unwrap()
        .0;
    assert!(receiver.request_key_frame_of(middle));
    assert!(!receiver.request_key_frame_of(middle.wrapping_add(1)));
    wait(&mut sim, 50);
    let events = sender_events(&mut sim, Side::A);
    let [
        RTCRtpSenderEvent::OnKeyFrameRequest {
            sender_id,
            track_id,
            ssrc,
            rid,
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*sender_id, sources[0].sender);
    assert_eq!(track_id.as_ref().unwrap(), &"camera");
    assert_eq!((*ssrc, rid.as_deref()), (middle, Some("h")));

    // Requests are not sent more often than they help.
    wait(&mut sim, 1000);
    let count = |sim: &mut Simulation| {
        let id = sim.b.connection.get_receivers().next().unwrap();
        for _ in 0..100 {
            let mut receiver = sim.b.connection.rtp_receiver(id).unwrap();
            assert!(receiver.request_key_frame());
            wait(sim, 10);
        }
        sender_events(sim, Side::A).len()
    };
    let told = count(&mut sim);
    assert!((9..=15).contains(&told), "{told}");
    let stats = sim.a.connection.get_stats(StatsSelector::None);
    let plis: u64 = stats
        .iter()
        .filter_map(|(_, it)| match it {
            RTCStats::OutboundRtp(it) => it.pli_count,
            _ => None,
        })
        .sum();
    assert!((10..=20).contains(&plis), "{plis}");
}

#[test]
fn the_application_reads_and_writes_rtcp() {
    let mut sim = Simulation::new(7, Link::default()).unwrap();
    let mut video = Source::new(&mut sim, Side::A, "camera", Video);
    connected(&mut sim);
    for _ in 0..20 {
        video.send(&mut sim);
        wait(&mut sim, 100);
    }
    let reports = |sim: &mut Simulation, side: Side| -> Vec<rtcp::Packet> {
        let messages = sim.peer(side).messages.drain(..);
        let packets = messages.filter_map(|message| match message {
            RTCMessage::RtcpPacket(track, packets) => {
                assert_eq!(track, "camera");
                Some(packets)
            }
            _ => None,
        });
        packets.flatten().collect()
    };
    let (at_a, at_b) = (reports(&mut sim, Side::A), reports(&mut sim, Side::B));
    let is_report = |it: &rtcp::Packet| matches!(it, rtcp::Packet::ReceiverReport(_));
    assert!(at_a.iter().any(is_report), "{at_a:?}");
    let is_report = |it: &rtcp::Packet| matches!(it, rtcp::Packet::SenderReport(_));
    assert!(at_b.iter().any(is_report), "{at_b:?}");

    sim.a.events.clear();
    let id = sim.b.connection.get_receivers().next().unwrap();
    let mut receiver = sim.b.connection.rtp_receiver(id).unwrap();
    let ssrc = receiver.ssrcs().next().unwrap().0;
    let remb = rtcp::Remb {
        bitrate: 1_000_000,
        ssrcs: [ssrc].into_iter().collect(),
        ..rtcp::Remb::default()
    };
    receiver.write_rtcp(vec![remb.into()]).unwrap();
    wait(&mut sim, 50);
    let events = sender_events(&mut sim, Side::A);
    let [RTCRtpSenderEvent::OnMaxBitrate { bitrate, .. }] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(bitrate, 1_000_000);

    let app = rtcp::App {
        ssrc: 5,
        name: *b"test",
        ..rtcp::App::default()
    };
    let message = RTCMessage::RtcpPacket("camera".into(), vec![app.clone().into()]);
    sim.b.connection.handle_write(message).unwrap();
    let message = RTCMessage::RtcpPacket("nobody".into(), vec![app.into()]);
    assert!(sim.b.connection.handle_write(message).is_err());
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
    // As exactly as the connection knew the time when the packet was written.
    assert!((75_000..95_000).contains(&pause), "{pause}");
    let step = packets[11]
        .header
        .timestamp
        .wrapping_sub(packets[10].header.timestamp);
    assert_eq!(step, 1000);
}

#[test]
fn the_peer_is_told_of_the_end() {
    let mut sim = Simulation::new(11, Link::default()).unwrap();
    let mut voice = Source::new(&mut sim, Side::A, "voice", Audio);
    connected(&mut sim);
    voice.send(&mut sim);
    wait(&mut sim, 50);
    let id = sim.b.connection.get_receivers().next().unwrap();
    assert_eq!(
        sim.b.connection.rtp_receiver(id).unwrap().ssrcs().count(),
        1
    );
    let told = sim.b.connection.counters().media.rtcp_received;
    sim.a.connection.close().unwrap();
    assert!(!sim.a.connection.is_drained());
    wait(&mut sim, 50);
    assert!(sim.a.connection.is_drained());
    let receiver = sim.b.connection.rtp_receiver(id).unwrap();
    assert_eq!(receiver.ssrcs().count(), 0);
    assert_eq!(sim.b.connection.counters().media.rtcp_received, told + 1);
}

#[test]
fn header_extensions_go_as_they_were_negotiated() {
    let mut sim = Simulation::new(12, Link::default()).unwrap();
    let voice = Source::new(&mut sim, Side::A, "voice", Audio);
    connected(&mut sim);
    let id = sim.b.connection.get_receivers().next().unwrap();
    let map = sim.b.connection.rtp_receiver(id).unwrap().extension_map();
    let level = AudioLevel {
        voice_activity: true,
        level: 40,
    };
    for number in 0..40 {
        let mut packet = packet(number, 1);
        let extensions = &mut packet.header.extensions;
        map.write(extensions, &level).unwrap();
        // Nobody negotiated this number, and that is not the application's to say.
        extensions.set(13, &[1, 2]).unwrap();
        map.write(extensions, &Mid("x")).unwrap();
        let mut sender = sim.a.connection.rtp_sender(voice.sender).unwrap();
        sender.write_rtp(packet).unwrap();
        wait(&mut sim, 200);
    }
    let packets = &received(&mut sim, Side::B)["voice"];
    assert_eq!(packets.len(), 40);
    for (index, packet) in packets.iter().enumerate() {
        let extensions = &packet.header.extensions;
        assert_eq!(map.read(extensions), Some(level));
        assert_eq!(extensions.get(13), None);
        assert!(
            map.id(ExtensionKind::TransportSequenceNumber)
                .is_none_or(|id| extensions.get(id).is_some())
        );
        // The peer needs to be told once.
        let mid = map.read::<Mid<'_>>(extensions).map(|mid| mid.0.to_owned());
        match index {
            0 => assert_eq!(mid.as_deref(), Some("0")),
            39 => assert_eq!(mid, None),
            _ => {}
        }
    }
}

#[test]
fn a_packet_is_forwarded_under_other_numbers() {
    let other = || {
        let mut engine = MediaEngine::default();
        engine.register_default_codecs().unwrap();
        let kinds = [
            ExtensionKind::AbsCaptureTime,
            ExtensionKind::AudioLevel,
            ExtensionKind::TransportSequenceNumber,
            ExtensionKind::Mid,
        ];
        for kind in kinds {
            let capability = rtc::rtp_transceiver::RTCRtpHeaderExtensionCapability {
                uri: kind.uri().to_owned(),
            };
            engine
                .register_header_extension(capability, Audio, None)
                .unwrap();
        }
        RTCConfigurationBuilder::new().with_media_engine(engine)
    };
    let mut from = Simulation::with_configurations(13, Link::default(), other(), other()).unwrap();
    let mut to = Simulation::new(14, Link::default()).unwrap();
    let voice = Source::new(&mut from, Side::A, "voice", Audio);
    let relay = Source::new(&mut to, Side::A, "relay", Audio);
    connected(&mut from);
    connected(&mut to);
    let map = |sim: &mut Simulation| {
        let id = sim.b.connection.get_receivers().next().unwrap();
        sim.b.connection.rtp_receiver(id).unwrap().extension_map()
    };
    let (first, second) = (map(&mut from), map(&mut to));
    assert_ne!(
        first.id(ExtensionKind::AudioLevel),
        second.id(ExtensionKind::AudioLevel)
    );
    let level = AudioLevel {
        voice_activity: false,
        level: 99,
    };
    let mut packet = packet(9, 9);
    first.write(&mut packet.header.extensions, &level).unwrap();
    let time = AbsCaptureTime {
        timestamp: 5 << 32,
        clock_offset: None,
    };
    first.write(&mut packet.header.extensions, &time).unwrap();
    let mut sender = from.a.connection.rtp_sender(voice.sender).unwrap();
    sender.write_rtp(packet).unwrap();
    wait(&mut from, 50);
    let packet = received(&mut from, Side::B)["voice"][0].clone();
    assert_eq!(first.read(&packet.header.extensions), Some(level));
    let mut sender = to.a.connection.rtp_sender(relay.sender).unwrap();
    sender.forward_rtp(packet, &first).unwrap();
    wait(&mut to, 50);
    let packet = &received(&mut to, Side::B)["relay"][0];
    assert_eq!(second.read(&packet.header.extensions), Some(level));
    assert_eq!(second.read(&packet.header.extensions), Some(Mid("0")));
}

#[test]
fn statistics_tell_of_streams() {
    let mut sim = Simulation::new(15, Link::default()).unwrap();
    let mut video = Source::new(&mut sim, Side::A, "camera", Video);
    let mut voice = Source::new(&mut sim, Side::B, "voice", Audio);
    connected(&mut sim);
    sim.negotiate_from(Side::B).unwrap();
    *sim.link() = bad_link();
    for _ in 0..500 {
        video.send(&mut sim);
        voice.send(&mut sim);
        wait(&mut sim, 10);
    }
    *sim.link() = Link::default();
    wait(&mut sim, 6000);
    let report = sim.a.connection.get_stats(StatsSelector::None);
    let json = serde_json::to_value(&report).unwrap();
    let of_type = |name: &str| {
        let all = json.as_object().unwrap().values();
        let found: Vec<_> = all.filter(|it| it["type"] == name).cloned().collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0].clone()
    };
    let outbound = of_type("outbound-rtp");
    let ssrc = outbound["ssrc"].as_u64().unwrap();
    assert_eq!(outbound["kind"], "video");
    assert_eq!(outbound["mid"], "0");
    assert_eq!(outbound["transportId"], "T0");
    assert_eq!(outbound["active"], true);
    let repeated = outbound["retransmittedPacketsSent"].as_u64().unwrap();
    assert!(repeated > 20, "{repeated}");
    assert_eq!(outbound["packetsSent"], 500 + repeated);
    assert!(outbound["bytesSent"].as_u64().unwrap() >= 500 * 602);
    assert!(outbound["nackCount"].as_u64().unwrap() > 10);
    let codec = &json[outbound["codecId"].as_str().unwrap()];
    assert_eq!(codec["mimeType"], "video/VP8");
    assert_eq!(codec["clockRate"], 90_000);
    let source = &json[outbound["mediaSourceId"].as_str().unwrap()];
    assert_eq!(source["trackIdentifier"], "camera");
    let remote = of_type("remote-inbound-rtp");
    assert_eq!(outbound["remoteId"], remote["id"]);
    assert_eq!(remote["localId"], outbound["id"]);
    let time = remote["roundTripTime"].as_f64().unwrap();
    assert!((0.02..0.08).contains(&time), "{time}");
    assert!(remote["jitter"].as_f64().unwrap() > 0.0);

    let inbound = of_type("inbound-rtp");
    assert_eq!(inbound["kind"], "audio");
    let id = sim.a.connection.get_transceivers().last().unwrap();
    let receiver = sim.a.connection.rtp_receiver(id.receiver_id()).unwrap();
    let track = receiver.track().unwrap().track_id().to_string();
    assert_eq!(inbound["trackIdentifier"], track);
    assert!(inbound["packetsReceived"].as_u64().unwrap() > 400);
    let remote = of_type("remote-outbound-rtp");
    assert_eq!(remote["id"], inbound["remoteId"]);
    assert_eq!(remote["packetsSent"], 500);

    let selected = sim
        .a
        .connection
        .get_stats(StatsSelector::Sender(video.sender));
    let json = serde_json::to_value(&selected).unwrap();
    let types: BTreeSet<_> = json
        .as_object()
        .unwrap()
        .values()
        .map(|it| it["type"].as_str().unwrap())
        .collect();
    let expected = [
        "candidate-pair",
        "certificate",
        "codec",
        "local-candidate",
        "media-source",
        "outbound-rtp",
        "remote-candidate",
        "remote-inbound-rtp",
        "transport",
    ];
    assert!(types.iter().copied().eq(expected), "{types:?}");
    assert!(json[format!("O{ssrc}")].is_object());
}

/// Counts what passes.
struct Counting(Arc<AtomicU64>);

impl Interceptor for Counting {
    fn incoming_rtp(&mut self, _: &mut Context<'_>, _: &mut IncomingRtp) -> Flow {
        self.0.fetch_add(1, Ordering::Relaxed);
        Flow::Forward
    }
}

#[test]
fn the_application_adds_stages_of_its_own() {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let a = RTCConfigurationBuilder::new();
    let b = RTCConfigurationBuilder::new().with_interceptor_registry(move || {
        Registry::with_defaults().with(Slot::Custom(1), Counting(counted.clone()))
    });
    let mut sim = Simulation::with_configurations(16, Link::default(), a, b).unwrap();
    let mut voice = Source::new(&mut sim, Side::A, "voice", Audio);
    connected(&mut sim);
    for _ in 0..10 {
        voice.send(&mut sim);
    }
    wait(&mut sim, 50);
    assert_eq!(count.load(Ordering::Relaxed), 10);
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
