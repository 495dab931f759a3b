//! Descriptions of real stacks with audio and video, as offers and as answers.

use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::configuration::{RTCBundlePolicy, RTCConfigurationBuilder};
use rtc::peer_connection::event::RTCTrackEvent;
use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc::peer_connection::state::RTCSignalingState;
use rtc::rtp::extension::ExtensionKind;
use rtc::rtp_transceiver::{NegotiatedCodec, RTCRtpCodec, RTCRtpCodecParameters};
use rtc::sdp::{Direction, ExtMap, Fmtp, MediaDescription, RtcpFb, RtpMap, SessionDescription};

use crate::media_pair::*;

fn offer(sdp: impl Into<String>) -> RTCSessionDescription {
    RTCSessionDescription::offer(sdp.into()).unwrap()
}

fn answer(sdp: impl Into<String>) -> RTCSessionDescription {
    RTCSessionDescription::answer(sdp.into()).unwrap()
}

/// The answer of a connection without tracks to an offer of the corpus.
fn answered(connection: &mut RTCPeerConnection, sdp: &str) -> SessionDescription {
    connection.set_remote_description(offer(sdp)).unwrap();
    connection.set_local_description_implicit().unwrap();
    assert_eq!(connection.signaling_state(), RTCSignalingState::Stable);
    local(connection)
}

fn payload_types(codecs: &[NegotiatedCodec]) -> Vec<(u8, Option<u8>)> {
    codecs
        .iter()
        .map(|codec| (codec.parameters.payload_type, codec.rtx))
        .collect()
}

/// Checks that an m-section is a legal answer to another one.
#[track_caller]
fn mirrors(name: &str, ours: &MediaDescription, theirs: &MediaDescription) {
    let maps = |media: &MediaDescription| -> Vec<RtpMap> {
        media.all::<RtpMap>().map(Result::unwrap).collect()
    };
    for format in &ours.formats {
        assert!(
            theirs.formats.contains(format),
            "{name}: {format} was not offered"
        );
    }
    let offered = maps(theirs);
    for map in maps(ours) {
        // Static payload types need no line.
        let same = offered
            .iter()
            .find(|it| it.payload_type == map.payload_type);
        assert!(
            same.is_none_or(|it| it.encoding.eq_ignore_ascii_case(&map.encoding)
                && it.clock_rate == map.clock_rate
                && it.channels.unwrap_or(1) == map.channels.unwrap_or(1)),
            "{name}: {map}"
        );
    }
    for fmtp in ours.all::<Fmtp>().map(Result::unwrap) {
        if let Some(apt) = fmtp.get("apt") {
            assert!(ours.formats.iter().any(|it| it == apt), "{name}: apt={apt}");
        }
    }
    let feedback: Vec<RtcpFb> = theirs.all::<RtcpFb>().map(Result::unwrap).collect();
    for own in ours.all::<RtcpFb>().map(Result::unwrap) {
        let was_offered = feedback.iter().any(|it| {
            it.applies_to(own.payload_type.unwrap())
                && it.kind == own.kind
                && it.parameter.as_deref().unwrap_or("") == own.parameter.as_deref().unwrap_or("")
        });
        assert!(was_offered, "{name}: {own}");
    }
    let offered: Vec<ExtMap> = theirs.all::<ExtMap>().map(Result::unwrap).collect();
    for own in ours.all::<ExtMap>().map(Result::unwrap) {
        let same = offered.iter().find(|it| it.uri == own.uri).unwrap();
        assert_eq!(same.id, own.id, "{name}: {}", own.uri);
        let (own, same) = (
            own.direction.unwrap_or_default(),
            same.direction.unwrap_or_default(),
        );
        assert_eq!(own.intersection(same.reversed()), own, "{name}");
    }
    assert!(ours.has("rtcp-mux"), "{name}");
    assert_eq!(ours.has("rtcp-rsize"), theirs.has("rtcp-rsize"), "{name}");
}

#[test]
fn every_offer_of_the_corpus_is_accepted_with_its_media() {
    let mut sections = 0;
    for name in corpus_names("offer") {
        let sdp = corpus(&name);
        let remote: SessionDescription = sdp.parse().unwrap();
        let mut connection = connection(1);
        connection
            .set_remote_description(offer(sdp.as_str()))
            .unwrap();
        let tracks = opened(&mut connection);
        let answer = connection.create_answer(None).unwrap();
        connection.set_local_description(answer).unwrap();
        let ours = local(&connection);

        let in_use: Vec<&MediaDescription> =
            remote.media.iter().filter(|it| !it.is_rejected()).collect();
        let mids: Vec<&str> = in_use.iter().filter_map(|it| it.mid()).collect();
        assert_eq!(
            ours.attribute("group"),
            Some(format!("BUNDLE {}", mids.join(" ")).as_str()),
            "{name}"
        );
        for (own, theirs) in ours.media.iter().zip(&remote.media) {
            assert_eq!(own.proto, theirs.proto, "{name}");
            assert_eq!(own.mid(), theirs.mid(), "{name}");
            assert_eq!(own.is_rejected(), theirs.is_rejected(), "{name}");
            if theirs.is_rejected() {
                continue;
            }
            assert_eq!(own.attribute("setup"), Some("active"), "{name}");
            assert!(own.has("ice-ufrag") && own.has("fingerprint"), "{name}");
            if theirs.is_rtp() {
                sections += 1;
                let offered = remote.direction_of(theirs);
                let expected = Direction::RecvOnly.intersection(offered.reversed());
                assert_eq!(own.direction(), Some(expected), "{name}");
                assert!(values(own, "ssrc").is_empty() && values(own, "msid").is_empty());
                mirrors(&name, own, theirs);
            }
        }
        // One track for each m-section in which the peer sends.
        let sending: Vec<&MediaDescription> = in_use
            .into_iter()
            .filter(|it| it.is_rtp() && remote.direction_of(it).sends())
            .collect();
        assert_eq!(tracks.len(), sending.len(), "{name}");
        for (track, media) in tracks.iter().zip(sending) {
            assert_eq!(track.kind.as_str(), media.media, "{name}");
            let ssrc = values(media, "ssrc")
                .first()
                .and_then(|it| it.split(' ').next());
            assert_eq!(
                track.ssrc,
                ssrc.map(|ssrc| ssrc.parse().unwrap()),
                "{name}: the first source is the one of the media"
            );
            let negotiated = negotiated(&connection);
            let it = negotiated
                .iter()
                .find(|it| it.receiver_id == track.receiver_id)
                .unwrap();
            assert_eq!(Some(it.mid.as_str()), media.mid(), "{name}");
            assert!(it.send.is_none() && it.receive.is_some(), "{name}");
        }
    }
    assert_eq!(sections, 24);
}

#[test]
fn what_chromium_offers_is_understood_in_detail() {
    let mut connection = connection(1);
    let ours = answered(&mut connection, &corpus("chromium-offer-av-data"));
    let [audio, video, data] = &ours.media[..] else {
        panic!("{ours}")
    };
    assert_eq!(audio.formats, ["111", "9", "0", "8", "110", "126"]);
    assert_eq!(values(audio, "fmtp")[0], "111 minptime=10;useinbandfec=1");
    assert_eq!(values(audio, "rtcp-fb"), ["111 transport-cc"]);
    assert_eq!(
        values(audio, "extmap"),
        [
            "1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            "2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            "3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            "4 urn:ietf:params:rtp-hdrext:sdes:mid",
        ]
    );
    assert_eq!(
        video.formats,
        [
            "96", "97", "102", "103", "104", "107", "108", "109", "114", "115", "116", "117", "39",
            "40", "45", "46", "98", "99", "100", "101"
        ],
        "all but red and ulpfec, each with its retransmission"
    );
    assert_eq!(data.attribute("sctp-port"), Some("5000"));
    assert!(ours.has("extmap-allow-mixed"));

    let media = negotiated(&connection);
    let video = media[1].receive.as_ref().unwrap();
    assert_eq!(video.codecs.len(), 10);
    assert_eq!(
        payload_types(&video.codecs)[..2],
        [(96, Some(97)), (102, Some(103))]
    );
    assert_eq!(video.codecs[0].parameters.rtp_codec.rtcp_feedback.len(), 5);
    let map = video.extension_map();
    assert_eq!(map.id(ExtensionKind::Mid), Some(4));
    assert_eq!(map.id(ExtensionKind::RtpStreamId), Some(10));
    assert_eq!(map.id(ExtensionKind::TransportSequenceNumber), Some(3));
    assert_eq!(
        map.id(ExtensionKind::ColorSpace),
        None,
        "it is not registered"
    );
    let [source] = &video.sources[..] else {
        panic!("{video:?}")
    };
    assert_eq!(
        (source.ssrc, source.rtx),
        (2_419_083_973, Some(2_591_878_946))
    );
    assert_eq!(source.cname, "e5QkelqPqRQEJxgZ");
    assert!(video.reduced_size_rtcp);
}

#[test]
fn simulcast_of_browsers_is_received() {
    for (name, rid_id, mid_id) in [
        ("chromium-offer-simulcast", 10, 9),
        ("firefox-offer-simulcast", 9, 3),
        ("libwebrtc-offer-simulcast", 10, 9),
    ] {
        let mut connection = connection(1);
        connection
            .set_remote_description(offer(corpus(name)))
            .unwrap();
        let [track] = &opened(&mut connection)[..] else {
            panic!("{name}: one track with layers")
        };
        assert_eq!(track.rids, ["h", "m", "l"], "{name}");
        let (receiver_id, transceiver_id) = (track.receiver_id, track.transceiver_id);
        connection.set_local_description_implicit().unwrap();
        let ours = local(&connection);
        let video = &ours.media[0];
        assert_eq!(
            values(video, "rid"),
            ["h recv", "m recv", "l recv"],
            "{name}"
        );
        assert_eq!(values(video, "simulcast"), ["recv h;m;l"], "{name}");
        let it = connection
            .rtp_transceiver(transceiver_id)
            .unwrap()
            .negotiated()
            .unwrap();
        let receive = it.receive.unwrap();
        let rids: Vec<&str> = receive
            .layers
            .iter()
            .map(|layer| layer.rid.as_str())
            .collect();
        assert_eq!(rids, ["h", "m", "l"], "{name}");
        let map = receive.extension_map();
        assert_eq!(map.id(ExtensionKind::RtpStreamId), Some(rid_id), "{name}");
        assert_eq!(map.id(ExtensionKind::Mid), Some(mid_id), "{name}");
        let receiver = connection.rtp_receiver(receiver_id).unwrap();
        let codings: Vec<&str> = receiver
            .track()
            .unwrap()
            .codings()
            .iter()
            .map(|it| it.rid())
            .collect();
        assert_eq!(codings, ["h", "m", "l"], "{name}");
    }
}

#[test]
fn the_old_simulcast_by_a_group_of_sources_is_received() {
    let sdp = corpus("chromium-offer-av-data").replace(
        "a=ssrc-group:FID 2419083973 2591878946\r\n",
        "a=ssrc-group:SIM 2419083973 33\r\n\
         a=ssrc-group:FID 2419083973 2591878946\r\n\
         a=ssrc-group:FID 33 44\r\n\
         a=ssrc:33 cname:x\r\n\
         a=ssrc:44 cname:x\r\n",
    );
    let mut connection = connection(1);
    answered(&mut connection, &sdp);
    let video = &negotiated(&connection)[1];
    let sources = &video.receive.as_ref().unwrap().sources;
    let pairs: Vec<_> = sources.iter().map(|it| (it.ssrc, it.rtx)).collect();
    assert_eq!(
        pairs,
        [(2_419_083_973, Some(2_591_878_946)), (33, Some(44))]
    );
}

#[test]
fn a_stopped_section_ends_its_track_and_stays_in_its_place() {
    for stack in ["chromium", "firefox", "libwebrtc"] {
        let mut connection = connection(1);
        answered(&mut connection, &corpus(&format!("{stack}-offer-av-data")));
        let audio = opened(&mut connection).remove(0);
        let ours = answered(
            &mut connection,
            &corpus(&format!("{stack}-offer-after-stop")),
        );
        assert_eq!(lines(&ours)[0], (0, "audio", "0"), "{stack}");
        assert!(
            !ours.media[1].is_rejected() && !ours.media[2].is_rejected(),
            "{stack}"
        );
        assert_eq!(ours.attribute("group"), Some("BUNDLE 1 2"), "{stack}");
        assert_eq!(
            track_events(&mut connection),
            [
                RTCTrackEvent::OnClosing(audio.track_id.clone()),
                RTCTrackEvent::OnClose(audio.track_id)
            ],
            "{stack}"
        );
        assert_eq!(
            transceivers(&connection).len(),
            1,
            "{stack}: it is forgotten"
        );
        assert_eq!(negotiated(&connection).len(), 1, "{stack}");
    }
    // These do not stop but send no more.
    for stack in ["pion", "werift", "aiortc"] {
        let mut connection = connection(1);
        answered(&mut connection, &corpus(&format!("{stack}-offer-av-data")));
        let ours = answered(
            &mut connection,
            &corpus(&format!("{stack}-offer-after-stop")),
        );
        assert_eq!(ours.media.len(), 3, "{stack}");
        assert!(
            ours.media.iter().all(|media| !media.is_rejected()),
            "{stack}"
        );
    }
}

/// A connection with an audio and a video track and a data channel, whose offer has the form of the
/// one that the answers of the corpus were made for.
fn offerer() -> RTCPeerConnection {
    let mut connection = connection(1);
    connection.add_track(track("voice", Audio)).unwrap();
    connection.add_track(track("camera", Video)).unwrap();
    connection.create_data_channel("data", None).unwrap();
    connection.set_local_description_implicit().unwrap();
    connection
}

#[test]
fn every_answer_of_the_corpus_is_applied() {
    for name in corpus_names("answer") {
        let sdp = corpus(&name);
        let remote: SessionDescription = sdp.parse().unwrap();
        let mut connection = offerer();
        events(&mut connection);
        connection
            .set_remote_description(answer(sdp.as_str()))
            .unwrap();
        assert_eq!(
            connection.signaling_state(),
            RTCSignalingState::Stable,
            "{name}"
        );
        let tracks = opened(&mut connection);
        let media = negotiated(&connection);
        assert_eq!(media.len(), 2, "{name}");
        for (it, theirs) in media.iter().zip(&remote.media) {
            let direction = remote.direction_of(theirs);
            assert_eq!(it.send.is_some(), direction.receives(), "{name}");
            assert_eq!(it.receive.is_some(), direction.sends(), "{name}");
            let announced = tracks
                .iter()
                .any(|track| track.receiver_id == it.receiver_id);
            assert_eq!(announced, direction.sends(), "{name}");
            let send = it.send.as_ref().unwrap();
            let first: u8 = theirs.formats[0].parse().unwrap();
            assert_eq!(
                send.codecs[0].parameters.payload_type, first,
                "{name}: what the peer likes best"
            );
            let ours = &send.encodings[0];
            assert_eq!(send.encodings.len(), 1, "{name}");
            assert_eq!(
                ours.rtx.is_some(),
                send.codecs.iter().any(|it| it.rtx.is_some()),
                "{name}"
            );
            // Numbers of extensions are those that the peer knows.
            for extension in &send.header_extensions {
                let expected = format!("{} {}", extension.id, extension.uri);
                let recvonly = format!("{}/recvonly {}", extension.id, extension.uri);
                let lines = values(theirs, "extmap");
                assert!(
                    lines.contains(&expected.as_str()) || lines.contains(&recvonly.as_str()),
                    "{name}: {expected}"
                );
            }
        }
        assert!(connection.sctp().is_some(), "{name}");
    }
}

#[test]
fn an_answer_has_to_multiplex_rtcp_and_to_keep_the_tags() {
    let good = corpus("chromium-answer-to-chromium");
    for bad in [
        good.replace("a=rtcp-mux\r\n", ""),
        good.replace("a=mid:1\r\n", "a=mid:x\r\n"),
    ] {
        let mut connection = offerer();
        let error = connection.set_remote_description(answer(bad)).unwrap_err();
        assert_eq!(error.name(), "InvalidAccessError", "{error}");
        assert_eq!(
            connection.signaling_state(),
            RTCSignalingState::HaveLocalOffer
        );
        connection
            .set_remote_description(answer(good.as_str()))
            .unwrap();
    }
    // What says nothing of tags keeps those of the offer, outside of a group.
    let untagged: String = good
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("a=mid:") && !line.starts_with("a=group:"))
        .collect();
    let mut connection = offerer();
    connection.set_remote_description(answer(untagged)).unwrap();
    assert_eq!(negotiated(&connection)[0].mid, "0");
}

#[test]
fn a_peer_that_does_not_bundle_gets_one_section() {
    let unbundled = |name: &str| -> String {
        let sdp = corpus(name);
        sdp.split_inclusive("\r\n")
            .filter(|line| !line.starts_with("a=group:"))
            .collect()
    };
    let mut answerer = connection(1);
    let ours = answered(&mut answerer, &unbundled("chromium-offer-av-data"));
    assert_eq!(
        lines(&ours),
        [
            (9, "audio", "0"),
            (0, "video", "1"),
            (0, "application", "2")
        ]
    );
    assert_eq!(ours.attribute("group"), None, "none was offered");

    let mut connection = offerer();
    events(&mut connection);
    connection
        .set_remote_description(answer(unbundled("chromium-answer-to-chromium")))
        .unwrap();
    let media = negotiated(&connection);
    assert!(media[0].send.is_some(), "the first one is on our transport");
    assert!(media[1].send.is_none() && media[1].receive.is_none());
    assert!(
        connection
            .sctp()
            .is_some_and(|sctp| sctp.max_channels.is_none())
    );
    assert_eq!(needed(&mut connection), 1, "the others have to be rejected");
    let next = connection.create_offer(None).unwrap();
    assert_eq!(lines(&parsed(&next))[1], (0, "video", "1"));
}

#[test]
fn bundle_policies_differ_in_the_first_offer_alone() {
    let offered = |policy| {
        let builder = RTCConfigurationBuilder::new().with_bundle_policy(policy);
        let mut connection = connection_of(1, builder);
        for (id, kind) in [("a", Audio), ("b", Audio), ("c", Video)] {
            connection.add_track(track(id, kind)).unwrap();
        }
        connection.create_data_channel("data", None).unwrap();
        connection.set_local_description_implicit().unwrap();
        connection
    };
    for (policy, expected) in [
        (RTCBundlePolicy::Balanced, [9, 0, 9, 9]),
        (RTCBundlePolicy::MaxCompat, [9, 9, 9, 9]),
        (RTCBundlePolicy::MaxBundle, [9, 0, 0, 0]),
    ] {
        let mut a = offered(policy);
        let sdp = local(&a);
        assert_eq!(sdp.attribute("group"), Some("BUNDLE 0 1 2 3"));
        for (media, port) in sdp.media.iter().zip(expected) {
            assert_eq!(media.port, port, "{policy:?}");
            assert_eq!(media.has("bundle-only"), port == 0, "{policy:?}");
            assert!(media.has("ice-ufrag") && media.has("setup"), "{policy:?}");
            assert_eq!(
                media.candidates().count(),
                usize::from(port != 0),
                "{policy:?}"
            );
        }
        let mut b = connection(2);
        b.set_remote_description(a.local_description().unwrap())
            .unwrap();
        b.set_local_description_implicit().unwrap();
        let ours = local(&b);
        assert!(ours.media.iter().all(|media| media.port == 9), "{policy:?}");
        let candidates = |sdp: &SessionDescription| -> Vec<usize> {
            sdp.media
                .iter()
                .map(|media| media.candidates().count())
                .collect()
        };
        assert_eq!(candidates(&ours), [1, 0, 0, 0], "{policy:?}");
        a.set_remote_description(b.local_description().unwrap())
            .unwrap();
        assert_eq!(
            candidates(&local(&a)),
            [1, 0, 0, 0],
            "{policy:?}: all share one transport"
        );
        a.add_track(track("d", Video)).unwrap();
        let next = parsed(&a.create_offer(None).unwrap());
        assert!(next.media.iter().all(|media| media.port == 9), "{policy:?}");
    }
}

#[test]
fn what_is_not_understood_is_rejected_and_the_rest_accepted() {
    let chromium = corpus("chromium-offer-av-data");
    let accepted = |sdp: String| -> Vec<bool> {
        let ours = answered(&mut connection(1), &sdp);
        ours.media
            .iter()
            .map(|media| !media.is_rejected())
            .collect()
    };
    let text = chromium.replace(
        "m=audio 34598 UDP/TLS/RTP/SAVPF",
        "m=text 34598 UDP/TLS/RTP/SAVPF",
    );
    assert_eq!(accepted(text), [false, true, true]);
    let alone = chromium.replacen("a=rtcp-mux\r\n", "", 2);
    assert_eq!(
        accepted(alone),
        [false, false, true],
        "RTCP needs the port of RTP"
    );
    let one = chromium.replacen("a=rtcp-mux\r\n", "", 1);
    assert_eq!(
        accepted(one),
        [true, true, true],
        "the group says it for all"
    );

    let mut engine = MediaEngine::default();
    let opus = RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48000,
        channels: 2,
        ..RTCRtpCodec::default()
    };
    let opus = RTCRtpCodecParameters {
        rtp_codec: opus,
        payload_type: 100,
    };
    engine.register_codec(opus, Audio).unwrap();
    let builder = RTCConfigurationBuilder::new().with_media_engine(engine);
    let mut connection = connection_of(1, builder);
    let ours = answered(&mut connection, &chromium);
    assert_eq!(
        lines(&ours),
        [
            (9, "audio", "0"),
            (0, "video", "1"),
            (9, "application", "2")
        ]
    );
    assert_eq!(ours.media[0].formats, ["111"], "the number is the peer's");
    assert!(values(&ours.media[0], "extmap").is_empty());
    assert_eq!(ours.attribute("group"), Some("BUNDLE 0 2"));
    let error = connection.add_track(track("camera", Video)).unwrap_err();
    assert_eq!(error.name(), "OperationError");
}

#[test]
fn the_number_of_an_extension_has_one_meaning_in_a_group() {
    let chromium = corpus("chromium-offer-av-data");
    let sdp = chromium.replace(
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:10",
        "a=extmap:1 urn:x\r\na=extmap:10",
    );
    assert_ne!(sdp, chromium);
    let mut connection = connection(1);
    let error = connection.set_remote_description(offer(sdp)).unwrap_err();
    assert_eq!(error.name(), "InvalidAccessError", "{error}");
    assert!(connection.remote_description().is_none());
    assert!(transceivers(&connection).is_empty() && events(&mut connection).is_empty());
}

#[test]
fn a_payload_type_may_be_two_codecs_in_two_sections() {
    // Firefox does that when its own numbers meet those of the peer.
    let chromium = corpus("chromium-offer-av-data");
    let sdp = chromium
        .replace("111 63 9", "96 63 9")
        .replace("a=rtpmap:111 ", "a=rtpmap:96 ")
        .replace("a=fmtp:111 ", "a=fmtp:96 ");
    let mut connection = connection(1);
    let ours = answered(&mut connection, &sdp);
    assert_eq!(ours.media[0].formats[0], "96");
    assert_eq!(ours.media[1].formats[0], "96");
    let media = negotiated(&connection);
    let first = |index: usize| -> &str {
        let receive = media[index].receive.as_ref().unwrap();
        &receive.codecs[0].parameters.rtp_codec.mime_type
    };
    assert_eq!((first(0), first(1)), ("audio/opus", "video/VP8"));
}

#[test]
fn malformed_media_says_where_and_changes_nothing() {
    let chromium = corpus("chromium-offer-av-data");
    for (from, to) in [
        ("a=rtpmap:96 VP8/90000", "a=rtpmap:396 VP8/90000"),
        ("a=fmtp:97 apt=96", "a=fmtp:x apt=96"),
        ("a=ssrc:2419083973 cname", "a=ssrc:99999999999 cname"),
        ("a=extmap:14 ", "a=extmap:0 "),
        ("a=msid:- 2a", "a=msid: \r\na=x:- 2a"),
    ] {
        let sdp = chromium.replacen(from, to, 1);
        let line = 1 + sdp
            .lines()
            .position(|line| to.starts_with(line) || line.starts_with(to))
            .unwrap();
        let mut connection = connection(1);
        let error = connection.set_remote_description(offer(sdp)).unwrap_err();
        let rtc::Error::Rtc { sdp_line, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(sdp_line, Some(line), "{to}");
        assert!(transceivers(&connection).is_empty());
        connection
            .set_remote_description(offer(chromium.as_str()))
            .unwrap();
    }
}

#[test]
fn later_offers_avoid_numbers_that_the_peer_has_used() {
    // Here 96 is Opus, 97 VP8, and the extensions have other numbers than ours.
    let mut connection = connection(1);
    answered(&mut connection, &corpus("werift-offer-av-data"));
    connection.add_transceiver_from_kind(Video, None).unwrap();
    let next = parsed(&connection.create_offer(None).unwrap());
    let [_, video, _, new] = &next.media[..] else {
        panic!("{next}")
    };
    assert!(
        video.formats.starts_with(&["97".to_owned()]),
        "{:?}",
        video.formats
    );
    let maps = |media: &MediaDescription| -> Vec<RtpMap> {
        media.all::<RtpMap>().map(Result::unwrap).collect()
    };
    let all: Vec<RtpMap> = next.media.iter().flat_map(maps).collect();
    for map in &all {
        for other in all
            .iter()
            .filter(|other| other.payload_type == map.payload_type)
        {
            assert_eq!(other, map, "one number, one codec");
        }
    }
    assert_eq!(
        maps(new)[0],
        RtpMap::new(97, "VP8", 90000),
        "it has a number already"
    );
    let extensions: Vec<ExtMap> = next
        .media
        .iter()
        .flat_map(|it| it.all::<ExtMap>().map(Result::unwrap))
        .collect();
    for extension in &extensions {
        for other in extensions.iter().filter(|other| other.id == extension.id) {
            assert_eq!(other.uri, extension.uri, "one number, one extension");
        }
    }
}

#[test]
fn alternatives_of_extensions_get_a_number_in_range() {
    let sdp =
        corpus("chromium-offer-av-data").replace("a=extmap:13 urn:3gpp", "a=extmap:4096 urn:3gpp");
    let ours = answered(&mut connection(1), &sdp);
    let orientation: Vec<_> = values(&ours.media[1], "extmap")
        .into_iter()
        .filter(|it| it.contains("3gpp"))
        .collect();
    assert_eq!(
        orientation,
        ["9 urn:3gpp:video-orientation"],
        "the first that is free"
    );
}

#[test]
fn the_first_offer_has_everything() {
    let mut connection = connection(1);
    let voice = connection.add_track(track("voice", Audio)).unwrap();
    connection
        .add_transceiver_from_kind(Video, with_direction(Recvonly))
        .unwrap();
    let made = connection.create_offer(None).unwrap();
    assert_eq!(made.sdp_type, RTCSdpType::Offer);
    let sdp = parsed(&made);
    assert!(sdp.has("extmap-allow-mixed"));
    assert_eq!(sdp.attribute("msid-semantic"), Some("WMS *"));
    let [audio, video] = &sdp.media[..] else {
        panic!("{sdp}")
    };
    assert_eq!(audio.formats, ["111", "9", "0", "8", "110", "126"]);
    assert_eq!(audio.attribute("setup"), Some("actpass"));
    assert_eq!(audio.direction(), Some(Direction::SendRecv));
    assert_eq!(values(audio, "msid"), ["stream voice"]);
    let parameters = connection.rtp_sender(voice).unwrap().get_parameters();
    let ssrc = parameters.encodings[0].rtp_coding_parameters.ssrc.unwrap();
    let cname = &parameters.rtp_parameters.rtcp.cname;
    assert_eq!(
        values(audio, "ssrc"),
        [
            format!("{ssrc} cname:{cname}"),
            format!("{ssrc} msid:stream voice")
        ]
    );
    assert_eq!(video.direction(), Some(Direction::RecvOnly));
    assert!(values(video, "ssrc").is_empty() && values(video, "msid").is_empty());
    assert_eq!(video.formats[..2], ["96", "97"]);
    for (name, value) in [
        ("rtcp-mux", ""),
        ("rtcp-rsize", ""),
        ("ice-options", "trickle"),
    ] {
        assert_eq!(video.attribute(name), Some(value));
    }
    let ids = |media: &MediaDescription| -> Vec<u16> {
        media.all::<ExtMap>().map(|it| it.unwrap().id).collect()
    };
    assert!(
        ids(audio)
            .iter()
            .chain(&ids(video))
            .all(|id| (1..=14).contains(id))
    );
}
