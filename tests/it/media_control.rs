//! What goes beside the packets: RTCP, header extensions, statistics, stages of the application.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtc::interceptor::{Context, Flow, IncomingRtp, Interceptor, Registry, Slot};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::event::RTCRtpSenderEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::rtcp;
use rtc::rtp::extension::{AbsCaptureTime, AudioLevel, ExtensionKind, Mid};
use rtc::sansio::Protocol;
use rtc::statistics::{RTCStats, StatsSelector};
use rtc_tests::sim::{Link, Side, Simulation};

use crate::media_pair::*;
use crate::media_source::*;

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
    // Every fifth packet ends a frame.
    assert_eq!(outbound["framesSent"], 100);
    let seen = serde_json::to_value(sim.b.connection.get_stats(StatsSelector::None)).unwrap();
    let received = seen.as_object().unwrap().values();
    let received: Vec<_> = received
        .filter(|it| it["type"] == "inbound-rtp" && it["kind"] == "video")
        .map(|it| &it["framesReceived"])
        .collect();
    // However often a packet came.
    assert_eq!(received, [100]);
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
    // The clock of reports has 65,536 ticks a second.
    assert!((0.0199..0.08).contains(&time), "{time}");
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

    let transport = of_type("transport");
    let pair = &json[transport["selectedCandidatePairId"].as_str().unwrap()];
    // Whatever of ICE went over the same path is counted for the transport alone.
    for (member, least) in [("packetsSent", 500), ("packetsReceived", 400)] {
        let (of_pair, of_all) = (&pair[member], &transport[member]);
        let (of_pair, of_all) = (of_pair.as_u64().unwrap(), of_all.as_u64().unwrap());
        assert!((least..of_all).contains(&of_pair), "{of_pair} of {of_all}");
    }
    assert!(pair["bytesSent"].as_u64().unwrap() > outbound["bytesSent"].as_u64().unwrap());
    let last = pair["lastPacketReceivedTimestamp"].as_f64().unwrap();
    assert!(last <= pair["timestamp"].as_f64().unwrap());

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
