//! Which track a packet belongs to, for every way in which peers say so, and for peers that do not.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::SettingEngine;
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCTrackEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::rtcp;
use rtc::rtp::Packet;
use rtc::rtp::extension::{ExtensionKind, ExtensionMap, Mid, RepairedRtpStreamId, RtpStreamId};
use rtc::rtp_transceiver::{NegotiatedReceive, RTCRtpTransceiverInit, RtpCodecKind};
use rtc::sansio::Protocol;
use rtc_tests::sim::Link;

use crate::corpus::entries_of;
use crate::media_pair::*;
use crate::media_peer::{Wire, rtp, without};
use crate::seeds::for_each_seed;

/// What the connection expects to receive in each m-section, in their order.
fn receives(wire: &Wire) -> Vec<(String, NegotiatedReceive)> {
    let media = wire.victim.negotiated_media();
    media
        .filter_map(|media| Some((media.mid, media.receive?)))
        .collect()
}

/// Payload type of the first codec with this name, and of its retransmissions.
fn payload(receive: &NegotiatedReceive, name: &str) -> (u8, u8) {
    let codec = receive
        .codecs
        .iter()
        .find(|codec| codec.parameters.rtp_codec.is(name))
        .unwrap();
    (codec.parameters.payload_type, codec.rtx.unwrap_or_default())
}

fn with_mid(mut packet: Packet, map: &ExtensionMap, mid: &str) -> Packet {
    map.write(&mut packet.header.extensions, &Mid(mid)).unwrap();
    packet
}

fn retransmission(original: &Packet, ssrc: u32, payload_type: u8, number: u16) -> Packet {
    let mut payload = BytesMut::new();
    payload.put_u16(original.header.sequence_number);
    payload.extend_from_slice(&original.payload);
    let mut packet = rtp(ssrc, payload_type, number, 0);
    packet.header.timestamp = original.header.timestamp;
    packet.payload = payload.freeze();
    packet
}

fn sends(ids: &'static [(&'static str, RtpCodecKind)]) -> impl FnOnce(&mut RTCPeerConnection) {
    move |connection| {
        for (id, kind) in ids {
            connection.add_track(track(id, *kind)).unwrap();
        }
    }
}

fn strip_sources(sdp: String) -> String {
    without(&sdp, &["a=ssrc", "a=msid"])
}

/// The numbers that came on each track.
fn numbers(packets: &[(String, Packet)]) -> Vec<(&str, u16)> {
    let number = |(track, packet): &(String, Packet)| {
        // Names are random where the description says none.
        let _ = track;
        packet.header.sequence_number
    };
    packets
        .iter()
        .map(|packet| (packet.0.as_str(), number(packet)))
        .collect()
}

#[test]
fn the_only_section_takes_sources_that_nobody_announced() {
    let mut wire = Wire::offered(1, sends(&[("camera", Video)]), strip_sources);
    wire.connect();
    let [(_, receive)] = &receives(&wire)[..] else {
        panic!("one section")
    };
    assert!(receive.sources.is_empty());
    let (vp8, rtx) = payload(receive, "VP8");
    for number in 0..5 {
        wire.send_rtp(&rtp(0xabcd, vp8, number, 100));
    }
    // Its retransmissions belong to the only source there is.
    let lost = rtp(0xabcd, vp8, 6, 100);
    wire.send_rtp(&rtp(0xabcd, vp8, 7, 100));
    wire.send_rtp(&retransmission(&lost, 0xef01, rtx, 9));
    wire.run(Duration::from_millis(50));
    let read = wire.read();
    let came: Vec<u16> = read
        .iter()
        .map(|(_, it)| it.header.sequence_number)
        .collect();
    assert_eq!(came, [0, 1, 2, 3, 4, 7, 6]);
    let (_, repeated) = read.last().unwrap();
    assert_eq!(repeated.payload, lost.payload);
    assert_eq!(
        (repeated.header.ssrc, repeated.header.payload_type),
        (0xabcd, vp8)
    );
    let id = wire.victim.get_receivers().next().unwrap();
    let receiver = wire.victim.rtp_receiver(id).unwrap();
    assert_eq!(receiver.ssrcs().collect::<Vec<_>>(), [(0xabcd, None)]);
    let codings = receiver.track().unwrap().codings();
    let coding = &codings[0].rtp_coding_parameters;
    assert_eq!(
        (coding.ssrc, coding.rtx.unwrap().ssrc),
        (Some(0xabcd), 0xef01)
    );
}

#[test]
fn payload_types_tell_sections_apart_when_nothing_else_does() {
    let ids = &[("voice", Audio), ("camera", Video)];
    let mut wire = Wire::offered(2, sends(ids), strip_sources);
    wire.connect();
    let all = receives(&wire);
    let (opus, _) = payload(&all[0].1, "opus");
    let (vp8, _) = payload(&all[1].1, "VP8");
    wire.send_rtp(&rtp(1, opus, 10, 50));
    wire.send_rtp(&rtp(2, vp8, 20, 50));
    // A payload type that nobody negotiated.
    wire.send_rtp(&rtp(1, 50, 11, 50));
    wire.run(Duration::from_millis(10));
    let tracks: Vec<_> = wire
        .victim
        .get_receivers()
        .collect::<Vec<_>>()
        .into_iter()
        .map(|id| {
            let receiver = wire.victim.rtp_receiver(id).unwrap();
            receiver.track().unwrap().track_id().to_string()
        })
        .collect();
    let read = wire.read();
    let mut came = numbers(&read);
    came.sort_by_key(|(_, number)| *number);
    assert_eq!(came, [(tracks[0].as_str(), 10), (tracks[1].as_str(), 20)]);
    assert_eq!(wire.victim.counters().media.dropped_payload_type, 1);
}

#[test]
fn packets_of_an_unknown_source_wait_until_one_tells_its_section() {
    let ids = &[("one", Video), ("two", Video)];
    let mut wire = Wire::offered(3, sends(ids), |sdp| without(&sdp, &["a=ssrc"]));
    wire.connect();
    let all = receives(&wire);
    let (vp8, rtx) = payload(&all[0].1, "VP8");
    let map = all[0].1.extension_map();
    for number in 0..10 {
        wire.send_rtp(&rtp(0x77, vp8, number, 100));
    }
    wire.run(Duration::from_millis(100));
    assert!(wire.read().is_empty());
    wire.send_rtp(&with_mid(rtp(0x77, vp8, 10, 100), &map, &all[1].0));
    wire.send_rtp(&rtp(0x77, vp8, 11, 100));
    wire.send_rtp(&with_mid(rtp(0x78, vp8, 50, 100), &map, &all[0].0));
    let lost = rtp(0x78, vp8, 51, 100);
    wire.send_rtp(&rtp(0x78, vp8, 52, 100));
    let repeated = with_mid(retransmission(&lost, 0x79, rtx, 0), &map, &all[0].0);
    wire.send_rtp(&repeated);
    wire.run(Duration::from_millis(10));
    let read = wire.read();
    let of = |track| -> Vec<u16> {
        let packets = read.iter().filter(|(it, _)| it == track);
        packets.map(|(_, it)| it.header.sequence_number).collect()
    };
    assert_eq!(of("two"), (0..12).collect::<Vec<_>>());
    assert_eq!(of("one"), [50, 52, 51]);

    // A source that moves to another section is followed.
    wire.send_rtp(&with_mid(rtp(0x77, vp8, 12, 100), &map, &all[0].0));
    wire.send_rtp(&rtp(0x77, vp8, 13, 100));
    wire.run(Duration::from_millis(10));
    assert_eq!(numbers(&wire.read()), [("one", 12), ("one", 13)]);
}

#[test]
fn packets_that_nothing_explains_are_bounded_and_given_up() {
    let ids = &[("one", Video), ("two", Video)];
    let mut wire = Wire::offered(4, sends(ids), |sdp| without(&sdp, &["a=ssrc"]));
    wire.connect();
    let (vp8, _) = payload(&receives(&wire)[0].1, "VP8");
    for number in 0..2_000u32 {
        wire.send_rtp(&rtp(number, vp8, 1, 1000));
    }
    let dropped = wire.victim.counters().media.dropped_unexplained;
    assert!((1_700..2_000).contains(&dropped), "{dropped}");
    wire.run(Duration::from_secs(4));
    assert_eq!(wire.victim.counters().media.dropped_unexplained, 2_000);
    assert!(wire.read().is_empty());
}

#[test]
fn a_description_explains_packets_that_came_before_it() {
    let mut wire = Wire::offered(5, sends(&[("one", Video)]), |sdp| sdp);
    wire.connect();
    let (vp8, _) = payload(&receives(&wire)[0].1, "VP8");
    wire.scribe.add_track(track("two", Video)).unwrap();
    let mut wire = wire;
    wire.scribe.set_local_description_implicit().unwrap();
    let media: Vec<_> = wire.scribe.negotiated_media().collect();
    assert_eq!(media.len(), 2);
    let sender = wire.scribe.get_senders().nth(1).unwrap();
    let parameters = wire.scribe.rtp_sender(sender).unwrap().get_parameters();
    let ssrc = parameters.encodings[0].rtp_coding_parameters.ssrc.unwrap();
    let map = receives(&wire)[0].1.extension_map();
    for number in 0..20 {
        // The section has this tag in the offer that is on its way.
        wire.send_rtp(&with_mid(rtp(ssrc, vp8, number, 500), &map, &media[1].mid));
    }
    wire.run(Duration::from_millis(200));
    assert!(wire.read().is_empty());
    let offer = wire.scribe.local_description().unwrap();
    wire.victim.set_remote_description(offer).unwrap();
    wire.answer();
    wire.run(Duration::from_millis(10));
    let expected: Vec<_> = (0..20).map(|number| ("two", number)).collect();
    assert_eq!(numbers(&wire.read()), expected);
}

#[test]
fn no_packet_is_read_before_its_track_was_announced() {
    let mut wire = Wire::offered(6, sends(&[("one", Video)]), |sdp| sdp);
    wire.connect();
    let (vp8, _) = payload(&receives(&wire)[0].1, "VP8");
    wire.scribe.add_track(track("two", Video)).unwrap();
    wire.negotiate(|sdp| sdp);
    let map = receives(&wire)[1].1.extension_map();
    let mid = receives(&wire)[1].0.clone();
    wire.send_rtp(&with_mid(rtp(5, vp8, 1, 500), &map, &mid));
    wire.send_rtp(&with_mid(rtp(6, vp8, 7, 500), &map, &receives(&wire)[0].0));
    let read = |wire: &mut Wire| match wire.victim.poll_read() {
        Some(RTCMessage::RtpPacket(track, packet)) => {
            Some((track.to_string(), packet.header.sequence_number))
        }
        _ => None,
    };
    assert_eq!(read(&mut wire), Some(("one".to_owned(), 7)));
    assert_eq!(read(&mut wire), None);
    while let Some(event) = wire.victim.poll_event() {
        let is_it = matches!(
            event,
            RTCPeerConnectionEvent::OnTrack(RTCTrackEvent::OnOpen(_))
        );
        if is_it {
            break;
        }
        assert_eq!(read(&mut wire), None);
    }
    let id = wire.victim.poll_ready_receiver().unwrap();
    assert_eq!(wire.victim.rtp_receiver(id).unwrap().ssrcs().count(), 1);
    assert_eq!(read(&mut wire), Some(("two".to_owned(), 1)));
}

#[test]
fn simulcast_layers_are_told_by_their_names() {
    let simulcast = |connection: &mut RTCPeerConnection| {
        let init = RTCRtpTransceiverInit {
            direction: Sendonly,
            send_encodings: layers(&["q", "h", "f"]),
            ..RTCRtpTransceiverInit::default()
        };
        connection
            .add_transceiver_from_track(track("camera", Video), Some(init))
            .unwrap();
    };
    let mut wire = Wire::offered(7, simulcast, |sdp| without(&sdp, &["a=ssrc"]));
    wire.connect();
    let [(mid, receive)] = &receives(&wire)[..] else {
        panic!("one section")
    };
    assert_eq!(receive.layers.len(), 3);
    let map = receive.extension_map();
    let (vp8, rtx) = payload(receive, "VP8");
    let named = |mut packet: Packet, rid: &str| {
        map.write(&mut packet.header.extensions, &Mid(mid)).unwrap();
        map.write(&mut packet.header.extensions, &RtpStreamId(rid))
            .unwrap();
        packet
    };
    for (ssrc, rid) in [(1, "q"), (2, "h"), (3, "f")] {
        wire.send_rtp(&named(rtp(ssrc, vp8, 100 * ssrc as u16, 50), rid));
        // Later packets do without.
        wire.send_rtp(&rtp(ssrc, vp8, 100 * ssrc as u16 + 2, 50));
    }
    let lost = rtp(2, vp8, 201, 50);
    let mut repeated = retransmission(&lost, 22, rtx, 5);
    map.write(&mut repeated.header.extensions, &Mid(mid))
        .unwrap();
    map.write(&mut repeated.header.extensions, &RepairedRtpStreamId("h"))
        .unwrap();
    wire.send_rtp(&repeated);
    wire.run(Duration::from_millis(10));
    let read = wire.read();
    let came: Vec<_> = read
        .iter()
        .map(|(_, it)| (it.header.ssrc, it.header.sequence_number))
        .collect();
    let expected = [
        (1, 100),
        (1, 102),
        (2, 200),
        (2, 202),
        (3, 300),
        (3, 302),
        (2, 201),
    ];
    assert_eq!(came, expected);
    let id = wire.victim.get_receivers().next().unwrap();
    let receiver = wire.victim.rtp_receiver(id).unwrap();
    let names: Vec<_> = [1, 2, 3].iter().map(|it| receiver.rid(*it)).collect();
    assert_eq!(names, [Some("q"), Some("h"), Some("f")]);
    let track = receiver.track().unwrap();
    assert_eq!(track.rid(2).map(String::as_str), Some("h"));

    // A layer begins anew under another source.
    wire.send_rtp(&named(rtp(9, vp8, 7, 50), "h"));
    wire.run(Duration::from_millis(10));
    assert_eq!(wire.read().len(), 1);
    let receiver = wire.victim.rtp_receiver(id).unwrap();
    assert_eq!(receiver.rid(9), Some("h"));
}

#[test]
fn layers_of_an_ssrc_group_are_told_by_their_sources() {
    let group = |sdp: String| {
        let sdp = without(&sdp, &["a=ssrc"]);
        let mut lines = String::from("a=ssrc-group:SIM 11 12 13\r\n");
        for ssrc in 11..14 {
            lines += &format!("a=ssrc-group:FID {ssrc} {}\r\n", ssrc + 100);
        }
        for ssrc in (11..14).chain(111..114) {
            lines += &format!("a=ssrc:{ssrc} cname:old\r\n");
        }
        sdp + &lines
    };
    let mut wire = Wire::offered(8, sends(&[("camera", Video)]), group);
    wire.connect();
    let [(_, receive)] = &receives(&wire)[..] else {
        panic!("one section")
    };
    let (vp8, rtx) = payload(receive, "VP8");
    for ssrc in 11..14 {
        wire.send_rtp(&rtp(ssrc, vp8, 1, 50));
        wire.send_rtp(&rtp(ssrc, vp8, 3, 50));
        let lost = rtp(ssrc, vp8, 2, 50);
        wire.send_rtp(&retransmission(&lost, ssrc + 100, rtx, 5));
    }
    wire.run(Duration::from_millis(10));
    let read = wire.read();
    let came: Vec<_> = read
        .iter()
        .map(|(_, it)| (it.header.ssrc, it.header.sequence_number))
        .collect();
    let expected: Vec<_> = (11..14)
        .flat_map(|ssrc| [(ssrc, 1), (ssrc, 3), (ssrc, 2)])
        .collect();
    assert_eq!(came, expected);
}

#[test]
fn a_source_that_said_goodbye_can_come_again() {
    let mut wire = Wire::offered(9, sends(&[("voice", Audio)]), strip_sources);
    wire.connect();
    let (opus, _) = payload(&receives(&wire)[0].1, "opus");
    let id = wire.victim.get_receivers().next().unwrap();
    for number in [1, 2] {
        wire.send_rtp(&rtp(5, opus, number, 50));
        assert_eq!(wire.victim.rtp_receiver(id).unwrap().ssrcs().count(), 1);
        let bye = rtcp::Bye {
            ssrcs: [5].into_iter().collect(),
            ..rtcp::Bye::default()
        };
        wire.send_rtcp(&[bye.into()]);
        assert_eq!(wire.victim.rtp_receiver(id).unwrap().ssrcs().count(), 0);
    }
    wire.run(Duration::from_millis(10));
    assert_eq!(wire.read().len(), 2);
}

/// Somebody with all keys sends rubbish: nothing panics, nothing grows, and honest media goes on.
#[test]
fn rubbish_under_sound_keys_does_no_harm() {
    for_each_seed(40, |seed| {
        let ids = &[("voice", Audio), ("camera", Video), ("screen", Video)];
        let mut wire = Wire::offered(seed, sends(ids), |sdp| sdp);
        wire.victim.add_track(track("back", Video)).unwrap();
        wire.negotiate(|sdp| sdp);
        wire.connect();
        let all = receives(&wire);
        let (opus, _) = payload(&all[0].1, "opus");
        let (vp8, rtx) = payload(&all[1].1, "VP8");
        let voice = all[0].1.sources[0].ssrc;
        let bad = entries_of(&[
            "malformed/rtp.json",
            "malformed/rtcp.json",
            "malformed/payload.json",
        ]);
        for round in 0..400u16 {
            wire.send_rtp(&rtp(voice, opus, round, 20));
            for _ in 0..5 {
                let mut bytes = match wire.rng.below(3) {
                    0 => {
                        let index = wire.rng.below(bad.len() as u32) as usize;
                        bad[index].clone()
                    }
                    1 => {
                        let payload_type = [opus, vp8, rtx, 127][wire.rng.below(4) as usize];
                        let ssrc = match wire.rng.below(2) {
                            0 => wire.rng.u32(),
                            _ => all[wire.rng.below(2) as usize + 1].1.sources[0].ssrc,
                        };
                        let length = wire.rng.below(30) as usize;
                        let mut packet = rtp(ssrc, payload_type, wire.rng.u16(), length);
                        let map = all[0].1.extension_map();
                        let mid = ["0", "1", "2", "9", ""][wire.rng.below(5) as usize];
                        packet.header.padding = wire.rng.below(4) as u8;
                        let _ = map.write(&mut packet.header.extensions, &Mid(mid));
                        packet.to_bytes().to_vec()
                    }
                    _ => {
                        let kind =
                            [200, 201, 202, 203, 205, 205, 206, 207][wire.rng.below(8) as usize];
                        let count = wire.rng.below(32) as u8;
                        let words = wire.rng.below(30) as u16;
                        let mut bytes = vec![0x80 | count, kind];
                        bytes.extend(words.to_be_bytes());
                        for _ in 0..words {
                            let word = match wire.rng.below(3) {
                                0 => voice,
                                1 => all[1].1.sources[0].ssrc,
                                _ => wire.rng.u32(),
                            };
                            bytes.extend(word.to_be_bytes());
                        }
                        bytes
                    }
                };
                if wire.rng.below(4) == 0 && !bytes.is_empty() {
                    let at = wire.rng.below(bytes.len() as u32) as usize;
                    bytes[at] ^= 1 << wire.rng.below(8);
                }
                if bytes.first().is_some_and(|first| first >> 6 == 2) {
                    wire.send_plain(bytes);
                }
            }
            wire.run(Duration::from_millis(5));
        }
        wire.run(Duration::from_secs(5));
        let mut came = BTreeSet::new();
        for (track, packet) in wire.read() {
            if track == "voice" && packet.header.ssrc == voice && packet.payload.len() == 20 {
                came.insert(packet.header.sequence_number);
            }
        }
        assert!(came.len() >= 380, "{} packets of honest media", came.len());
        for id in wire.victim.get_receivers().collect::<Vec<_>>() {
            let count = wire.victim.rtp_receiver(id).unwrap().ssrcs().count();
            assert!(count <= 20, "{count} sources");
        }
        // Reports go on, so nothing is stuck.
        wire.rtcp.clear();
        wire.send_rtp(&rtp(voice, opus, 1000, 20));
        wire.run(Duration::from_secs(10));
        assert!(!wire.rtcp.is_empty());
    });
}

#[test]
fn a_flood_of_sources_is_bounded() {
    let mut wire = Wire::offered(10, sends(&[("camera", Video)]), strip_sources);
    wire.connect();
    let (vp8, rtx) = payload(&receives(&wire)[0].1, "VP8");
    let id = wire.victim.get_receivers().next().unwrap();
    for _ in 0..20_000 {
        let (ssrc, number) = (wire.rng.u32(), wire.rng.u16());
        let payload_type = [vp8, rtx][wire.rng.below(2) as usize];
        wire.send_rtp(&rtp(ssrc, payload_type, number, 10));
    }
    wire.run(Duration::from_millis(100));
    let count = wire.victim.rtp_receiver(id).unwrap().ssrcs().count();
    assert!(count <= 16, "{count} sources");
    wire.messages.clear();
    for number in 0..10 {
        wire.send_rtp(&rtp(1, vp8, number, 10));
    }
    wire.run(Duration::from_millis(100));
    let read = wire.read();
    assert_eq!(
        read.iter().filter(|(_, it)| it.header.ssrc == 1).count(),
        10
    );
}

#[test]
fn media_without_a_common_profile_is_refused() {
    let mut setting = SettingEngine::default();
    setting.srtp_profiles = Vec::new();
    let mut sim = rtc_tests::sim::Simulation::with_settings(
        11,
        Link::default(),
        setting,
        SettingEngine::default(),
    )
    .unwrap();
    let sender = sim.b.connection.add_track(track("voice", Audio)).unwrap();
    sim.a
        .connection
        .add_transceiver_from_kind(Audio, None)
        .unwrap();
    sim.negotiate().unwrap();
    assert!(sim.connect(Duration::from_secs(10)));
    let mut sender = sim.b.connection.rtp_sender(sender).unwrap();
    let refused = sender.write_rtp(rtp(1, 111, 1, 10));
    assert!(
        matches!(refused, Err(rtc::Error::InvalidState(_))),
        "{refused:?}"
    );
    sim.run(Duration::from_millis(100), |_| false);
    assert_eq!(sim.b.connection.counters().media.rtp_sent, 0);
}

#[test]
fn extensions_of_unknown_kinds_and_sizes_are_no_obstacle() {
    let mut wire = Wire::offered(12, sends(&[("camera", Video)]), |sdp| sdp);
    wire.connect();
    let receive = &receives(&wire)[0].1;
    let (vp8, _) = payload(receive, "VP8");
    let map = receive.extension_map();
    let ssrc = receive.sources[0].ssrc;
    let twcc = map.id(ExtensionKind::TransportSequenceNumber).unwrap();
    for (number, length) in [0usize, 1, 3, 16, 17, 200].into_iter().enumerate() {
        let mut packet = rtp(ssrc, vp8, number as u16, 10);
        packet.header.extensions.set(14, &vec![1; length]).unwrap();
        packet
            .header
            .extensions
            .set(twcc, &vec![2; length])
            .unwrap();
        packet.header.csrc = vec![1; 15];
        wire.send_rtp(&packet);
    }
    wire.run(Duration::from_millis(10));
    let read = wire.read();
    assert_eq!(read.len(), 6);
    assert_eq!(read[5].1.header.csrc.len(), 15);
    assert_eq!(
        read[5].1.header.extensions.get(14).map(<[u8]>::len),
        Some(200)
    );
    let payload = Bytes::from(vec![5; 10]);
    assert_eq!(read[5].1.payload, payload);
}
