//! Codecs, encodings and simulcast between two connections.

use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::event::RTCTrackEvent;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCSignalingState;
use rtc::rtp::extension::ExtensionKind;
use rtc::rtp_transceiver::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpSendParameters, RTCRtpTransceiverInit,
};

use crate::media_pair::*;

#[test]
fn parameters_are_changed_within_their_bounds() {
    let mut pair = Pair::new();
    let sender = pair.a.add_track(track("camera", Video)).unwrap();
    pair.exchange();
    let mut view = pair.a.rtp_sender(sender).unwrap();
    let mut parameters = view.get_parameters();
    assert_eq!(parameters.encodings.len(), 1);
    assert!(parameters.rtp_parameters.rtcp.reduced_size);
    assert_eq!(
        parameters.rtp_parameters.codecs[0].rtp_codec.mime_type,
        "video/VP8"
    );
    assert_eq!(
        parameters.rtp_parameters.codecs[1].rtp_codec.sdp_fmtp_line,
        "apt=96"
    );
    parameters.encodings[0].active = false;
    parameters.encodings[0].max_bitrate = Some(500_000);
    parameters.encodings[0].codec.mime_type = "video/VP9".to_owned();
    parameters.encodings[0].codec.clock_rate = 90000;
    view.set_parameters(parameters.clone(), None).unwrap();
    let again = view.set_parameters(parameters.clone(), None).unwrap_err();
    assert_eq!(again.name(), "InvalidStateError", "each is used once");
    let media = negotiated(&pair.a);
    let send = media[0].send.as_ref().unwrap();
    let encoding = &send.encodings[0];
    assert!(!encoding.active);
    assert_eq!(encoding.payload_type, Some(98));

    let mut refused = |change: &dyn Fn(&mut RTCRtpSendParameters)| {
        let mut view = pair.a.rtp_sender(sender).unwrap();
        let mut parameters = view.get_parameters();
        change(&mut parameters);
        view.set_parameters(parameters, None).unwrap_err().name()
    };
    let modification = "InvalidModificationError";
    assert_eq!(
        refused(&|it| it.transaction_id = "0".to_owned()),
        modification
    );
    assert_eq!(refused(&|it| it.encodings.clear()), modification);
    assert_eq!(
        refused(&|it| it.rtp_parameters.codecs.clear()),
        modification
    );
    assert_eq!(
        refused(&|it| it.rtp_parameters.rtcp.cname = "x".to_owned()),
        modification
    );
    assert_eq!(
        refused(&|it| it.encodings[0].rtp_coding_parameters.rid = "x".to_owned()),
        modification
    );
    assert_eq!(
        refused(&|it| it.encodings[0].codec = codec("video/odd", "").rtp_codec),
        modification
    );
    assert_eq!(
        refused(&|it| it.encodings[0].scale_resolution_down_by = Some(0.5)),
        "RangeError"
    );
    // Negotiation makes parameters old.
    let parameters = pair.a.rtp_sender(sender).unwrap().get_parameters();
    pair.exchange();
    let old = pair
        .a
        .rtp_sender(sender)
        .unwrap()
        .set_parameters(parameters, None);
    assert_eq!(old.unwrap_err().name(), "InvalidStateError");
}

#[test]
fn codec_preferences_choose_and_order() {
    let mut pair = Pair::new();
    let a = pair.a.add_transceiver_from_kind(Video, None).unwrap();
    let (vp9, vp8) = (codec("video/VP9", "profile-id=0"), codec("video/VP8", ""));
    let rtx = codec("video/rtx", "");
    let mut view = pair.a.rtp_transceiver(a).unwrap();
    view.set_codec_preferences(vec![vp9.clone(), vp8.clone(), rtx.clone()])
        .unwrap();
    for bad in [
        vec![codec("video/odd", "")],
        vec![rtx],
        vec![codec("video/VP9", "profile-id=7")],
    ] {
        let error = view.set_codec_preferences(bad).unwrap_err();
        assert_eq!(error.name(), "InvalidModificationError");
    }
    pair.offer();
    assert_eq!(local(&pair.a).media[0].formats, ["98", "99", "96", "97"]);
    let b = transceivers(&pair.b)[0];
    pair.b
        .rtp_transceiver(b)
        .unwrap()
        .set_codec_preferences(vec![vp8, vp9])
        .unwrap();
    pair.answer();
    assert_eq!(
        local(&pair.b).media[0].formats,
        ["96", "98"],
        "B's order, and no retransmission"
    );
    let receive = negotiated(&pair.b)[0].receive.clone();
    let order: Vec<u8> = receive
        .unwrap()
        .codecs
        .iter()
        .map(|it| it.parameters.payload_type)
        .collect();
    assert_eq!(order, [96, 98]);
    pair.a
        .rtp_transceiver(a)
        .unwrap()
        .set_codec_preferences(vec![])
        .unwrap();
    pair.exchange();
    assert!(local(&pair.a).media[0].formats.len() > 4);
    assert_eq!(
        local(&pair.a).media[0].formats[..4],
        ["98", "99", "96", "97"],
        "as before first"
    );
}

#[test]
fn sides_without_a_common_codec_reject_the_section() {
    let engine = |name: &str| {
        let mut engine = MediaEngine::default();
        let codec = RTCRtpCodecParameters {
            payload_type: 96,
            ..codec(name, "")
        };
        engine.register_codec(codec, Video).unwrap();
        RTCConfigurationBuilder::new().with_media_engine(engine)
    };
    let mut pair = Pair {
        a: connection_of(1, engine("video/VP8")),
        b: connection_of(2, engine("video/VP9")),
    };
    pair.a.add_track(track("camera", Video)).unwrap();
    pair.offer();
    let camera = opened(&mut pair.b)[0].track_id.clone();
    pair.answer();
    assert_eq!(lines(&local(&pair.b)), [(0, "video", "0")]);
    assert_eq!(track_events(&mut pair.b), [RTCTrackEvent::OnClose(camera)]);
    assert!(transceivers(&pair.a).is_empty() && transceivers(&pair.b).is_empty());
    assert_eq!(pair.a.signaling_state(), RTCSignalingState::Stable);
}

fn simulcast(rids: &[&str]) -> Option<RTCRtpTransceiverInit> {
    Some(RTCRtpTransceiverInit {
        direction: Sendonly,
        streams: vec!["stream".to_owned()],
        send_encodings: layers(rids),
    })
}

#[test]
fn simulcast_is_offered_answered_and_restricted() {
    let mut pair = Pair::new();
    let id = pair
        .a
        .add_transceiver_from_track(track("camera", Video), simulcast(&["q", "h", "f"]))
        .unwrap();
    pair.offer();
    let video = &local(&pair.a).media[0];
    assert_eq!(values(video, "rid"), ["q send", "h send", "f send"]);
    assert_eq!(values(video, "simulcast"), ["send q;h;f"]);
    assert!(
        values(video, "ssrc").is_empty(),
        "names tell the layers apart"
    );
    let init = opened(&mut pair.b).remove(0);
    assert_eq!(
        (init.rids, init.ssrc),
        (vec!["q".into(), "h".into(), "f".into()], None)
    );
    // B gives the middle layer up and pauses the last.
    pair.b.set_local_description_implicit().unwrap();
    let mut answer = pair.b.local_description().unwrap();
    assert!(
        answer.sdp.contains("a=simulcast:recv q;h;f\r\n"),
        "{}",
        answer.sdp
    );
    answer.sdp = answer
        .sdp
        .replace("recv q;h;f", "recv q;~f")
        .replace("a=rid:h recv\r\n", "");
    pair.a.set_remote_description(answer).unwrap();
    let sender = id.sender_id();
    let encodings = pair
        .a
        .rtp_sender(sender)
        .unwrap()
        .get_parameters()
        .encodings;
    let state: Vec<_> = encodings
        .iter()
        .map(|it| (it.rid(), it.active, it.scale_resolution_down_by))
        .collect();
    assert_eq!(state, [("q", true, Some(4.0)), ("f", false, Some(1.0))]);
    let send = negotiated(&pair.a)[0].send.clone().unwrap();
    let rids: Vec<_> = send.encodings.iter().map(|it| it.rid.as_deref()).collect();
    assert_eq!(rids, [Some("q"), Some("f")]);
    assert!(
        send.extension_map()
            .id(ExtensionKind::RtpStreamId)
            .is_some()
    );
    let sources: Vec<u32> = send
        .encodings
        .iter()
        .flat_map(|it| [it.ssrc, it.rtx.unwrap()])
        .collect();
    assert!(
        sources
            .iter()
            .all(|ssrc| sources.iter().filter(|it| it == &ssrc).count() == 1)
    );
    pair.exchange();
    assert_eq!(values(&local(&pair.a).media[0], "simulcast"), ["send q;~f"]);
    // The receiver repeats it in its own offers.
    pair.exchange_back();
    assert_eq!(values(&local(&pair.b).media[0], "simulcast"), ["recv q;~f"]);
    assert_eq!(values(&local(&pair.a).media[0], "simulcast"), ["send q;~f"]);
    assert_eq!(
        negotiated(&pair.a)[0]
            .send
            .as_ref()
            .unwrap()
            .encodings
            .len(),
        2
    );
}

#[test]
fn without_simulcast_on_the_other_side_one_encoding_is_left() {
    let mut pair = Pair::new();
    let mut engine = MediaEngine::with_defaults();
    engine.unregister_header_extension(ExtensionKind::RtpStreamId.uri(), Video);
    pair.b = connection_of(2, RTCConfigurationBuilder::new().with_media_engine(engine));
    let id = pair
        .a
        .add_transceiver_from_track(track("camera", Video), simulcast(&["q", "h"]))
        .unwrap();
    pair.exchange();
    let send = negotiated(&pair.a)[0].send.clone().unwrap();
    let [encoding] = &send.encodings[..] else {
        panic!("{send:?}")
    };
    assert_eq!(encoding.rid, None);
    let ssrc = encoding.ssrc;
    assert_eq!(
        pair.a
            .rtp_sender(id.sender_id())
            .unwrap()
            .get_parameters()
            .encodings
            .len(),
        1
    );
    pair.exchange();
    let video = &local(&pair.a).media[0];
    assert!(values(video, "simulcast").is_empty());
    assert!(values(video, "ssrc")[0].starts_with(&ssrc.to_string()));
    assert_eq!(
        negotiated(&pair.b)[0].receive.as_ref().unwrap().sources[0].ssrc,
        ssrc
    );
}

#[test]
fn a_receiver_can_ask_for_simulcast() {
    let mut pair = Pair::new();
    pair.b.add_track(track("camera", Video)).unwrap();
    pair.a
        .add_transceiver_from_kind(Video, with_direction(Recvonly))
        .unwrap();
    pair.a.set_local_description_implicit().unwrap();
    let mut offer = pair.a.local_description().unwrap();
    offer.sdp = offer.sdp.replace(
        "a=rtcp-rsize\r\n",
        "a=rtcp-rsize\r\na=rid:1 recv\r\na=rid:2 recv\r\na=rid:3 recv\r\na=simulcast:recv 1;2;~3\r\n",
    );
    pair.b.set_remote_description(offer.clone()).unwrap();
    let id = transceivers(&pair.b)[0];
    let encodings = |connection: &mut RTCPeerConnection| {
        let parameters = connection
            .rtp_sender(id.sender_id())
            .unwrap()
            .get_parameters();
        parameters.encodings
    };
    assert_eq!(encodings(&mut pair.b).len(), 3);
    pair.b.set_remote_description(rollback()).unwrap();
    assert_eq!(encodings(&mut pair.b).len(), 1, "as before");
    pair.b.set_remote_description(offer).unwrap();
    pair.b.set_local_description_implicit().unwrap();
    assert_eq!(
        values(&local(&pair.b).media[0], "simulcast"),
        ["send 1;2;~3"]
    );
    let send = negotiated(&pair.b)[0].send.clone().unwrap();
    let state: Vec<_> = send
        .encodings
        .iter()
        .map(|it| (it.rid.as_deref().unwrap(), it.active))
        .collect();
    assert_eq!(state, [("1", true), ("2", true), ("3", false)]);
}

#[test]
fn restrictions_of_layers_are_told_to_the_sender() {
    let mut pair = Pair::new();
    pair.a
        .add_transceiver_from_track(track("camera", Video), simulcast(&["q", "f"]))
        .unwrap();
    pair.offer();
    pair.b.set_local_description_implicit().unwrap();
    let mut answer = pair.b.local_description().unwrap();
    answer.sdp = answer.sdp.replace(
        "a=rid:q recv\r\n",
        "a=rid:q recv pt=98;max-br=150000;max-width=320;max-height=180;max-fps=15\r\n",
    );
    pair.a.set_remote_description(answer).unwrap();
    let send = negotiated(&pair.a).remove(0).send.unwrap();
    let [q, f] = &send.layers[..] else {
        panic!("{send:?}")
    };
    assert_eq!(
        (q.payload_types.as_slice(), q.max_bitrate),
        (&[98][..], Some(150_000))
    );
    assert_eq!(
        (q.max_width, q.max_height, q.max_framerate),
        (Some(320), Some(180), Some(15))
    );
    assert_eq!((f.max_bitrate, f.paused), (None, false));
    let payload_types: Vec<_> = send.encodings.iter().map(|it| it.payload_type).collect();
    assert_eq!(payload_types, [Some(98), None]);
}

#[test]
fn what_refers_to_a_codec_follows_its_number() {
    let mut engine = MediaEngine::with_defaults();
    let red = RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: "audio/red".to_owned(),
            clock_rate: 48000,
            channels: 2,
            sdp_fmtp_line: "111/111".to_owned(),
            rtcp_feedback: vec![],
        },
        payload_type: 63,
    };
    engine.register_codec(red, Audio).unwrap();
    let new = || {
        let builder = RTCConfigurationBuilder::new().with_media_engine(engine.clone());
        connection_of(1, builder)
    };
    let offer = |sdp: String| RTCSessionDescription::offer(sdp).unwrap();

    let mut a = new();
    a.set_remote_description(offer(corpus("chromium-offer-av-data")))
        .unwrap();
    a.set_local_description_implicit().unwrap();
    let ours = local(&a);
    assert!(values(&ours.media[0], "fmtp").contains(&"63 111/111"));

    // Here Opus is 96 and there is no redundancy.
    let mut a = new();
    a.set_remote_description(offer(corpus("werift-offer-av-data")))
        .unwrap();
    a.set_local_description_implicit().unwrap();
    assert_eq!(local(&a).media[0].formats, ["96"]);
    let next = parsed(&a.create_offer(None).unwrap());
    let fmtp = values(&next.media[0], "fmtp");
    assert!(fmtp.contains(&"63 96/96"), "{fmtp:?}");
    let video = &next.media[1];
    let rtx = values(video, "fmtp");
    assert!(rtx.iter().any(|it| it.ends_with(" apt=97")), "{rtx:?}");
}

#[test]
fn levels_of_h264_are_answered_as_both_sides_can() {
    let line = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    for (offered, answered) in [
        (
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e034",
            line,
        ),
        (
            "packetization-mode=1;profile-level-id=42e00d",
            "packetization-mode=1;profile-level-id=42e00d",
        ),
        (
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c015",
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c01f",
        ),
    ] {
        let sdp = corpus("chromium-offer-av-data").replace(
            &format!("a=fmtp:108 {line}"),
            &format!("a=fmtp:108 {offered}"),
        );
        let mut a = connection(1);
        let offer = RTCSessionDescription::offer(sdp).unwrap();
        a.set_remote_description(offer).unwrap();
        a.set_local_description_implicit().unwrap();
        let sdp = local(&a);
        let fmtp = values(&sdp.media[1], "fmtp");
        let expected = format!("108 {answered}");
        assert!(fmtp.contains(&expected.as_str()), "{fmtp:?}");
    }
}

#[test]
fn limits_of_bandwidth_are_told_to_the_sender() {
    let mut pair = Pair::new();
    pair.a.add_track(track("camera", Video)).unwrap();
    pair.offer();
    pair.b.set_local_description_implicit().unwrap();
    let mut answer = pair.b.local_description().unwrap();
    answer.sdp = answer
        .sdp
        .replace("a=mid:0\r\n", "b=AS:900\r\nb=TIAS:800000\r\na=mid:0\r\n");
    pair.a.set_remote_description(answer).unwrap();
    let send = negotiated(&pair.a).remove(0).send.unwrap();
    assert_eq!(send.max_bitrate, Some(800_000));
    assert!(
        send.codecs[0].has_feedback("nack", "pli") && !send.codecs[0].has_feedback("nack", "x")
    );
}
