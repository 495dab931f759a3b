//! The operations of W3C on senders, receivers and transceivers, between two connections.

use rtc::Error;
use rtc::media_stream::{MediaStreamTrack, MediaStreamTrackState};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCTrackEvent};
use rtc::peer_connection::sdp::RTCSdpType;
use rtc::peer_connection::state::RTCSignalingState;
use rtc::rtp::extension::ExtensionKind;
use rtc::rtp_transceiver::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpEncodingParameters, RTCRtpSenderId,
    RTCRtpTransceiverInit,
};
use rtc::sansio::Protocol;

use crate::media_pair::*;

#[test]
fn a_track_goes_to_the_peer_and_opens_there() {
    let mut pair = Pair::new();
    let sender = pair.a.add_track(track("camera", Video)).unwrap();
    assert_eq!(needed(&mut pair.a), 1);
    pair.offer();
    let [init] = &opened(&mut pair.b)[..] else {
        panic!()
    };
    assert_eq!(init.track_id, "camera");
    assert_eq!(init.stream_ids, ["stream"]);
    assert_eq!(init.kind, Video);
    let parameters = pair.a.rtp_sender(sender).unwrap().get_parameters();
    assert_eq!(
        init.ssrc,
        parameters.encodings[0].rtp_coding_parameters.ssrc
    );
    pair.answer();
    assert_eq!(opened(&mut pair.a), [], "B has nothing to send");
    let id = sender.transceiver_id();
    assert_eq!(directions(&mut pair.a, id), (Sendrecv, Some(Sendonly)));
    assert_eq!(
        directions(&mut pair.b, init.transceiver_id),
        (Recvonly, Some(Recvonly))
    );
    assert_eq!(mid(&mut pair.a, id).as_deref(), Some("0"));
    assert_eq!((needed(&mut pair.a), needed(&mut pair.b)), (0, 0));

    let (a, b) = (negotiated(&pair.a).remove(0), negotiated(&pair.b).remove(0));
    let (send, receive) = (a.send.unwrap(), b.receive.unwrap());
    assert!(a.receive.is_none() && b.send.is_none());
    assert_eq!(send.codecs, receive.codecs);
    assert_eq!(send.header_extensions, receive.header_extensions);
    let [source] = &receive.sources[..] else {
        panic!("{receive:?}")
    };
    let encoding = &send.encodings[0];
    assert_eq!((source.ssrc, source.rtx), (encoding.ssrc, encoding.rtx));
    assert_eq!((encoding.rid.as_deref(), encoding.active), (None, true));
}

#[test]
fn add_track_uses_what_the_offer_of_the_peer_has_made() {
    let mut pair = Pair::new();
    pair.a.add_track(track("one", Audio)).unwrap();
    pair.offer();
    let made = opened(&mut pair.b)[0].transceiver_id;
    let sender = pair.b.add_track(track("two", Audio)).unwrap();
    assert_eq!(sender.transceiver_id(), made);
    assert_eq!(directions(&mut pair.b, made), (Sendrecv, None));
    pair.answer();
    assert_eq!(directions(&mut pair.b, made), (Sendrecv, Some(Sendrecv)));
    let own = pair.a.get_receivers().next().unwrap();
    let own = pair
        .a
        .rtp_receiver(own)
        .unwrap()
        .track()
        .unwrap()
        .track_id()
        .clone();
    assert_eq!(
        opened(&mut pair.a)[0].track_id,
        own,
        "it was there before the peer's"
    );
    assert_eq!((needed(&mut pair.a), needed(&mut pair.b)), (0, 0));

    // A sender that has sent is left alone, also when it has no track any more.
    pair.b.remove_track(sender).unwrap();
    let other = pair.b.add_track(track("three", Audio)).unwrap();
    assert_ne!(other, sender);
    assert_eq!(pair.b.get_senders().collect::<Vec<_>>(), [sender, other]);
}

#[test]
fn transceivers_of_add_track_meet_those_of_the_peer_and_others_do_not() {
    let mut pair = Pair::new();
    pair.a.add_track(track("one", Video)).unwrap();
    let waiting = pair.b.add_transceiver_from_kind(Video, None).unwrap();
    let added = pair
        .b
        .add_track(track("two", Audio))
        .unwrap()
        .transceiver_id();
    pair.a.add_transceiver_from_kind(Audio, None).unwrap();
    needed(&mut pair.a);
    needed(&mut pair.b);
    pair.exchange();
    assert_eq!(mid(&mut pair.b, waiting), None, "made by add_transceiver");
    assert_eq!(mid(&mut pair.b, added).as_deref(), Some("1"));
    assert_eq!(transceivers(&pair.b).len(), 3);
    assert_eq!(needed(&mut pair.b), 1, "one has no m-section");
    pair.exchange_back();
    assert_eq!(mid(&mut pair.b, waiting).as_deref(), Some("2"));
    assert_eq!(transceivers(&pair.a).len(), 3);
    assert_eq!((needed(&mut pair.a), needed(&mut pair.b)), (0, 0));
}

#[test]
fn a_removed_track_closes_and_may_open_again() {
    let mut pair = Pair::new();
    let sender = pair.a.add_track(track("camera", Video)).unwrap();
    pair.exchange();
    let opened_before = opened(&mut pair.b).remove(0);
    needed(&mut pair.a);
    pair.a.remove_track(sender).unwrap();
    pair.a.remove_track(sender).unwrap();
    assert_eq!(needed(&mut pair.a), 1);
    let id = sender.transceiver_id();
    assert_eq!(directions(&mut pair.a, id), (Recvonly, Some(Sendonly)));
    assert!(pair.a.rtp_sender(sender).unwrap().track().is_none());
    pair.exchange();
    let closing = RTCTrackEvent::OnClosing(opened_before.track_id.clone());
    assert_eq!(track_events(&mut pair.b), [closing]);
    assert_eq!(directions(&mut pair.a, id), (Recvonly, Some(Inactive)));
    assert!(negotiated(&pair.a)[0].send.is_none() && negotiated(&pair.b)[0].receive.is_none());
    let receiver = pair.b.rtp_receiver(opened_before.receiver_id).unwrap();
    assert!(receiver.track().unwrap().muted());
    assert_eq!(
        receiver.track().unwrap().ready_state(),
        MediaStreamTrackState::Live
    );
    assert!(receiver.streams().is_empty());

    pair.a
        .rtp_transceiver(id)
        .unwrap()
        .set_direction(Sendonly)
        .unwrap();
    assert_eq!(needed(&mut pair.a), 1);
    pair.exchange();
    assert_eq!(opened(&mut pair.b), [opened_before]);
    assert_eq!((needed(&mut pair.a), needed(&mut pair.b)), (0, 0));
}

#[test]
fn directions_are_the_intersection_of_both_sides() {
    let all = [Sendrecv, Sendonly, Recvonly, Inactive];
    let sends = |it| matches!(it, Sendrecv | Sendonly);
    let receives = |it| matches!(it, Sendrecv | Recvonly);
    for ours in all {
        for theirs in all {
            let mut pair = Pair::new();
            let a = pair
                .a
                .add_transceiver_from_kind(Audio, with_direction(ours))
                .unwrap();
            pair.offer();
            let b = transceivers(&pair.b)[0];
            pair.b
                .rtp_transceiver(b)
                .unwrap()
                .set_direction(theirs)
                .unwrap();
            pair.answer();
            let expected = match (
                sends(ours) && receives(theirs),
                receives(ours) && sends(theirs),
            ) {
                (true, true) => (Sendrecv, Sendrecv),
                (true, false) => (Sendonly, Recvonly),
                (false, true) => (Recvonly, Sendonly),
                (false, false) => (Inactive, Inactive),
            };
            let (wanted_a, current_a) = directions(&mut pair.a, a);
            let (wanted_b, current_b) = directions(&mut pair.b, b);
            assert_eq!(
                (wanted_a, wanted_b),
                (ours, theirs),
                "negotiation does not change them"
            );
            assert_eq!((current_a, current_b), (Some(expected.0), Some(expected.1)));
            let (a, b) = (negotiated(&pair.a).remove(0), negotiated(&pair.b).remove(0));
            assert_eq!(
                (a.send.is_some(), a.receive.is_some()),
                (sends(expected.0), receives(expected.0))
            );
            assert_eq!(
                (b.send.is_some(), b.receive.is_some()),
                (sends(expected.1), receives(expected.1))
            );
            // Only a side whose wish was not offered or answered has a reason to go on.
            events(&mut pair.a);
            events(&mut pair.b);
            pair.exchange();
            assert_eq!(
                (needed(&mut pair.a), needed(&mut pair.b)),
                (0, 0),
                "{ours} {theirs}"
            );
        }
    }
}

#[test]
fn each_clause_of_negotiation_needed() {
    let mut pair = Pair::new();
    let sender = pair.a.add_track(track("camera", Video)).unwrap();
    let id = sender.transceiver_id();
    assert_eq!(needed(&mut pair.a), 1, "without an m-section");
    pair.a.add_transceiver_from_kind(Audio, None).unwrap();
    assert_eq!(needed(&mut pair.a), 0, "it is told once");
    pair.exchange();
    assert_eq!((needed(&mut pair.a), needed(&mut pair.b)), (0, 0));

    // The direction of an offerer may be in either description.
    let mut of = |direction| {
        pair.a
            .rtp_transceiver(id)
            .unwrap()
            .set_direction(direction)
            .unwrap();
        needed(&mut pair.a)
    };
    assert_eq!(of(Sendonly), 0, "B's answer says so already");
    assert_eq!(of(Recvonly), 1);
    assert_eq!(of(Sendrecv), 0, "as it was offered");

    // An answerer looks at what it would answer.
    let b = transceivers(&pair.b)[0];
    let mut of = |direction| {
        pair.b
            .rtp_transceiver(b)
            .unwrap()
            .set_direction(direction)
            .unwrap();
        needed(&mut pair.b)
    };
    assert_eq!(of(Sendrecv), 1);
    assert_eq!(of(Inactive), 0, "it is told once");
    assert_eq!(of(Recvonly), 0);

    let streams = vec!["other".to_owned(), "stream".to_owned()];
    pair.a
        .rtp_sender(sender)
        .unwrap()
        .set_streams(streams)
        .unwrap();
    assert_eq!(needed(&mut pair.a), 1, "other streams");
    pair.exchange();
    let init = opened(&mut pair.b).pop().unwrap();
    assert_eq!(init.stream_ids, ["other", "stream"], "one more than before");
    let fewer = vec!["stream".to_owned()];
    pair.a
        .rtp_sender(sender)
        .unwrap()
        .set_streams(fewer)
        .unwrap();
    assert_eq!(needed(&mut pair.a), 1);
    pair.exchange();
    assert_eq!(opened(&mut pair.b), [], "nothing was added");

    pair.a.rtp_transceiver(id).unwrap().stop().unwrap();
    assert_eq!(needed(&mut pair.a), 1, "stopping");
    pair.exchange();
    assert_eq!((needed(&mut pair.a), needed(&mut pair.b)), (0, 0));
    pair.a.create_data_channel("x", None).unwrap();
    assert_eq!(needed(&mut pair.a), 1, "no m-section for data");
    pair.exchange();
    pair.a.restart_ice();
    assert_eq!(needed(&mut pair.a), 1, "ICE restart");
    pair.exchange();
    assert_eq!((needed(&mut pair.a), needed(&mut pair.b)), (0, 0));
}

#[test]
fn a_stopped_transceiver_frees_its_place_for_another_of_any_kind() {
    let mut pair = Pair::new();
    let first = pair
        .a
        .add_track(track("camera", Video))
        .unwrap()
        .transceiver_id();
    pair.a.add_track(track("voice", Audio)).unwrap();
    pair.exchange();
    let camera = opened(&mut pair.b)[0].track_id.clone();
    pair.a.rtp_transceiver(first).unwrap().stop().unwrap();
    let it = pair.a.rtp_transceiver(first).unwrap();
    assert_eq!(
        (it.direction(), it.stopped()),
        (Stopped, false),
        "the peer does not know yet"
    );
    assert!(
        it.negotiated().unwrap().send.is_none(),
        "but nothing is sent"
    );
    pair.a.rtp_transceiver(first).unwrap().stop().unwrap();
    let refused = pair
        .a
        .rtp_transceiver(first)
        .unwrap()
        .set_direction(Sendrecv);
    assert!(matches!(refused, Err(Error::InvalidState(_))));

    pair.exchange();
    assert_eq!(
        lines(&local(&pair.a)),
        [(0, "video", "0"), (9, "audio", "1")]
    );
    assert_eq!(local(&pair.a).attribute("group"), Some("BUNDLE 1"));
    assert_eq!(
        (transceivers(&pair.a).len(), transceivers(&pair.b).len()),
        (1, 1)
    );
    assert!(pair.a.rtp_transceiver(first).is_none());
    assert_eq!(
        track_events(&mut pair.b),
        [
            RTCTrackEvent::OnClosing(camera.clone()),
            RTCTrackEvent::OnClose(camera)
        ]
    );
    pair.a.remove_track(first.sender_id()).unwrap();

    let second = pair
        .b
        .add_track(track("other voice", Audio))
        .unwrap()
        .transceiver_id();
    // The place is taken in an offer of either side, with a tag that was not there before.
    let third = pair.b.add_transceiver_from_kind(Audio, None).unwrap();
    pair.exchange_back();
    assert_eq!(
        lines(&local(&pair.b)),
        [(9, "audio", "2"), (9, "audio", "1")],
        "{}",
        local(&pair.b)
    );
    assert_eq!(mid(&mut pair.b, third).as_deref(), Some("2"));
    assert_eq!(mid(&mut pair.b, second).as_deref(), Some("1"));
    assert_eq!(transceivers(&pair.a).len(), 2);
    pair.a.create_data_channel("x", None).unwrap();
    pair.exchange();
    assert_eq!(local(&pair.a).media.len(), 3);
}

#[test]
fn what_was_never_offered_stops_at_once() {
    let mut pair = Pair::new();
    let id = pair
        .a
        .add_track(track("camera", Video))
        .unwrap()
        .transceiver_id();
    pair.a.rtp_transceiver(id).unwrap().stop().unwrap();
    assert!(transceivers(&pair.a).is_empty());
    assert!(pair.a.create_offer(None).unwrap().sdp.contains("s=-"));

    // One that an offer in the making has is kept until it is settled.
    let id = pair
        .a
        .add_track(track("camera", Video))
        .unwrap()
        .transceiver_id();
    let offer = pair.a.create_offer(None).unwrap();
    pair.a.rtp_transceiver(id).unwrap().stop().unwrap();
    needed(&mut pair.a);
    pair.a.set_local_description(offer).unwrap();
    pair.b
        .set_remote_description(pair.a.local_description().unwrap())
        .unwrap();
    pair.answer();
    assert_eq!(directions(&mut pair.a, id).0, Stopped);
    assert!(negotiated(&pair.a)[0].send.is_none());
    assert_eq!(needed(&mut pair.a), 1);
    pair.exchange();
    assert!(transceivers(&pair.a).is_empty() && transceivers(&pair.b).is_empty());
    assert_eq!(lines(&local(&pair.a)), [(0, "video", "0")]);
}

#[test]
fn the_answerer_can_stop_what_is_offered() {
    let mut pair = Pair::new();
    let id = pair
        .a
        .add_track(track("camera", Video))
        .unwrap()
        .transceiver_id();
    pair.a.add_track(track("voice", Audio)).unwrap();
    pair.offer();
    needed(&mut pair.a);
    let [camera, _] = &opened(&mut pair.b)[..] else {
        panic!()
    };
    pair.b
        .rtp_transceiver(camera.transceiver_id)
        .unwrap()
        .stop()
        .unwrap();
    assert_eq!(
        track_events(&mut pair.b),
        [RTCTrackEvent::OnClose(camera.track_id.clone())]
    );
    pair.answer();
    assert_eq!(
        lines(&local(&pair.b)),
        [(0, "video", "0"), (9, "audio", "1")]
    );
    assert!(
        pair.a.rtp_transceiver(id).is_none(),
        "the peer has rejected it"
    );
    assert_eq!(needed(&mut pair.a), 0);
    pair.a.add_track(track("screen", Video)).unwrap();
    pair.exchange();
    assert_eq!(
        lines(&local(&pair.a)),
        [(9, "video", "2"), (9, "audio", "1")]
    );
}

#[test]
fn an_explicit_rollback_restores_everything() {
    let mut pair = Pair::new();
    pair.a.add_track(track("camera", Video)).unwrap();
    pair.exchange();
    let before = (negotiated(&pair.a), negotiated(&pair.b));
    opened(&mut pair.b);
    needed(&mut pair.a);

    let added = pair
        .a
        .add_track(track("voice", Audio))
        .unwrap()
        .transceiver_id();
    let offered = pair
        .b
        .add_track(track("answer", Audio))
        .unwrap()
        .transceiver_id();
    pair.offer();
    needed(&mut pair.a);
    let [voice] = &opened(&mut pair.b)[..] else {
        panic!()
    };
    assert_eq!(voice.transceiver_id, offered);
    assert_eq!(mid(&mut pair.a, added).as_deref(), Some("1"));
    let made = negotiated(&pair.a);
    assert!(
        made[1].receive.is_some() && made[1].send.is_none(),
        "packets may come early"
    );
    pair.a.set_local_description(rollback()).unwrap();
    pair.b.set_remote_description(rollback()).unwrap();
    assert_eq!((negotiated(&pair.a), negotiated(&pair.b)), before);
    for (connection, id) in [(&mut pair.a, added), (&mut pair.b, offered)] {
        assert_eq!(mid(connection, id), None);
        assert_eq!(directions(connection, id), (Sendrecv, None));
    }
    assert_eq!(
        track_events(&mut pair.b),
        [RTCTrackEvent::OnClosing(voice.track_id.clone())]
    );
    assert_eq!(needed(&mut pair.a), 1, "the need is still there");
    pair.exchange();
    assert_eq!(mid(&mut pair.b, offered).as_deref(), Some("1"));
}

#[test]
fn a_rollback_takes_back_what_the_offer_has_made() {
    let mut pair = Pair::new();
    pair.a.add_track(track("camera", Video)).unwrap();
    pair.a.add_track(track("voice", Audio)).unwrap();
    pair.offer();
    let [camera, voice] = &opened(&mut pair.b)[..] else {
        panic!()
    };
    // A track in it saves a transceiver.
    pair.b.add_track(track("answer", Audio)).unwrap();
    pair.b.set_remote_description(rollback()).unwrap();
    assert_eq!(transceivers(&pair.b), [voice.transceiver_id]);
    assert_eq!(
        track_events(&mut pair.b),
        [
            RTCTrackEvent::OnClose(camera.track_id.clone()),
            RTCTrackEvent::OnClosing(voice.track_id.clone())
        ]
    );
    assert_eq!(
        directions(&mut pair.b, voice.transceiver_id),
        (Sendrecv, None)
    );
    pair.a.set_local_description(rollback()).unwrap();
    pair.exchange_back();
    assert_eq!(transceivers(&pair.a).len(), 2);
}

#[test]
fn perfect_negotiation_ends_well() {
    let mut pair = Pair::new();
    pair.a.add_track(track("a", Audio)).unwrap();
    pair.a.add_track(track("camera", Video)).unwrap();
    pair.b.add_track(track("b", Audio)).unwrap();
    for connection in [&mut pair.a, &mut pair.b] {
        assert_eq!(needed(connection), 1);
        connection.set_local_description_implicit().unwrap();
    }
    // B is polite: its own offer is rolled back by the other one.
    pair.b
        .set_remote_description(pair.a.local_description().unwrap())
        .unwrap();
    let states: Vec<_> = events(&mut pair.b)
        .into_iter()
        .filter_map(|event| match event {
            RTCPeerConnectionEvent::OnSignalingStateChangeEvent(state) => Some(state),
            _ => None,
        })
        .collect();
    use RTCSignalingState::{HaveLocalOffer, HaveRemoteOffer, Stable};
    assert_eq!(states, [HaveLocalOffer, Stable, HaveRemoteOffer]);
    pair.answer();
    let (a, b) = (transceivers(&pair.a), transceivers(&pair.b));
    assert_eq!((a.len(), b.len()), (2, 2));
    for (own, other) in a.into_iter().zip(b) {
        assert_eq!(mid(&mut pair.a, own), mid(&mut pair.b, other));
    }
    assert_eq!(
        (needed(&mut pair.a), needed(&mut pair.b)),
        (0, 0),
        "B's track found a place"
    );
}

#[test]
fn a_second_offer_takes_the_place_of_the_first() {
    let mut pair = Pair::new();
    pair.a.add_track(track("camera", Video)).unwrap();
    pair.offer();
    opened(&mut pair.b);
    pair.a.add_track(track("voice", Audio)).unwrap();
    pair.offer();
    assert_eq!(opened(&mut pair.b).len(), 1, "the camera is open already");
    pair.answer();
    assert_eq!(
        lines(&local(&pair.a)),
        [(9, "video", "0"), (9, "audio", "1")]
    );
    assert_eq!(transceivers(&pair.b).len(), 2);

    // Another offer that has nothing of the first.
    let mut other = Pair::new();
    other.a.add_track(track("x", Audio)).unwrap();
    other.a.set_local_description_implicit().unwrap();
    let mut b = connection(3);
    let mut first = connection(4);
    first.add_track(track("y", Video)).unwrap();
    first.set_local_description_implicit().unwrap();
    b.set_remote_description(first.local_description().unwrap())
        .unwrap();
    let video = opened(&mut b)[0].track_id.clone();
    b.set_remote_description(other.a.local_description().unwrap())
        .unwrap();
    let events = track_events(&mut b);
    assert_eq!(events[0], RTCTrackEvent::OnClose(video));
    assert!(matches!(&events[1], RTCTrackEvent::OnOpen(init) if init.kind == Audio));
    assert_eq!(transceivers(&b).len(), 1);
}

#[test]
fn provisional_answers_begin_what_final_ones_end() {
    let mut pair = Pair::new();
    let id = pair
        .a
        .add_track(track("camera", Video))
        .unwrap()
        .transceiver_id();
    pair.offer();
    let theirs = transceivers(&pair.b)[0];
    pair.b
        .rtp_transceiver(theirs)
        .unwrap()
        .set_direction(Inactive)
        .unwrap();
    let mut first = pair.b.create_answer(None).unwrap();
    first.sdp_type = RTCSdpType::Pranswer;
    pair.b.set_local_description(first.clone()).unwrap();
    pair.a.set_remote_description(first).unwrap();
    assert_eq!(directions(&mut pair.a, id).1, Some(Inactive));
    assert_eq!(directions(&mut pair.b, theirs).1, Some(Inactive));
    pair.b
        .rtp_transceiver(theirs)
        .unwrap()
        .set_direction(Recvonly)
        .unwrap();
    pair.answer();
    assert_eq!(directions(&mut pair.a, id).1, Some(Sendonly));
    assert!(negotiated(&pair.a)[0].send.is_some());
}

#[test]
fn tracks_are_replaced_without_negotiation() {
    let mut pair = Pair::new();
    let sender = pair.a.add_track(track("camera", Video)).unwrap();
    pair.exchange();
    needed(&mut pair.a);
    let generation = pair.a.media_generation();
    let media = negotiated(&pair.a);
    pair.a
        .rtp_sender(sender)
        .unwrap()
        .replace_track(track("screen", Video))
        .unwrap();
    assert!(pair.a.media_generation() > generation);
    assert_eq!(negotiated(&pair.a), media, "sources stay");
    assert_eq!(
        pair.a
            .rtp_sender(sender)
            .unwrap()
            .track()
            .unwrap()
            .track_id(),
        &"screen"
    );
    let error = pair
        .a
        .rtp_sender(sender)
        .unwrap()
        .replace_track(track("voice", Audio));
    assert_eq!(error.unwrap_err().name(), "TypeError");
    let mut insisting = track("odd", Video);
    insisting.add_coding(RTCRtpEncodingParameters {
        codec: codec("video/odd", "").rtp_codec,
        ..RTCRtpEncodingParameters::default()
    });
    let error = pair.a.rtp_sender(sender).unwrap().replace_track(insisting);
    assert_eq!(error.unwrap_err().name(), "InvalidModificationError");
    pair.a
        .rtp_sender(sender)
        .unwrap()
        .replace_track(None)
        .unwrap();
    assert!(pair.a.rtp_sender(sender).unwrap().track().is_none());
    assert_eq!(directions(&mut pair.a, sender.transceiver_id()).0, Sendrecv);
    assert_eq!(needed(&mut pair.a), 0);
    pair.exchange();
    assert!(
        local(&pair.a).media[0]
            .attribute("msid")
            .unwrap()
            .ends_with(" camera"),
        "as it was"
    );
}

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

    let mut refused = |change: &dyn Fn(&mut rtc::rtp_transceiver::RTCRtpSendParameters)| {
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

fn codec(mime_type: &str, fmtp: &str) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: mime_type.to_owned(),
            clock_rate: 90000,
            sdp_fmtp_line: fmtp.to_owned(),
            ..RTCRtpCodec::default()
        },
        payload_type: 0,
    }
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
        rtc::peer_connection::configuration::RTCConfigurationBuilder::new()
            .with_media_engine(engine)
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
    pair.b = connection_of(
        2,
        rtc::peer_connection::configuration::RTCConfigurationBuilder::new()
            .with_media_engine(engine),
    );
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
fn what_add_transceiver_refuses() {
    let mut a = connection(1);
    let name = |result: Result<_, Error>| result.map(|_| ()).unwrap_err().name();
    let init = |encodings| {
        Some(RTCRtpTransceiverInit {
            send_encodings: encodings,
            ..Default::default()
        })
    };
    assert_eq!(
        name(a.add_transceiver_from_kind(Video, init(layers(&["a", "a"])))),
        "TypeError"
    );
    assert_eq!(
        name(a.add_transceiver_from_kind(Video, init(layers(&["a", ""])))),
        "TypeError"
    );
    let mut small = layers(&["a", "b"]);
    small[0].scale_resolution_down_by = Some(0.1);
    assert_eq!(
        name(a.add_transceiver_from_kind(Video, init(small))),
        "RangeError"
    );
    assert_eq!(
        name(a.add_transceiver_from_kind(Video, with_direction(Stopped))),
        "TypeError"
    );
    let streams = RTCRtpTransceiverInit {
        streams: vec!["a b".to_owned()],
        ..Default::default()
    };
    assert_eq!(
        name(a.add_transceiver_from_kind(Video, Some(streams))),
        "TypeError"
    );
    let mut fixed = layers(&[""]);
    fixed[0].rtp_coding_parameters.ssrc = Some(77);
    a.add_transceiver_from_kind(Video, init(fixed.clone()))
        .unwrap();
    assert_eq!(
        name(a.add_transceiver_from_kind(Video, init(fixed))),
        "InvalidAccessError"
    );
    assert_eq!(
        transceivers(&a).len(),
        1,
        "what is refused leaves nothing behind"
    );
    let sdp = parsed(&a.create_offer(None).unwrap());
    assert!(values(&sdp.media[0], "ssrc")[0].starts_with("77 "));
}

#[test]
fn what_add_and_remove_track_refuse() {
    let mut pair = Pair::new();
    let sender = pair.a.add_track(track("camera", Video)).unwrap();
    let twice = pair.a.add_track(track("camera", Video)).unwrap_err();
    assert_eq!(twice.name(), "InvalidAccessError");
    let bad = MediaStreamTrack::new("a b", "c", "", Audio, vec![]);
    assert_eq!(pair.a.add_track(bad).unwrap_err().name(), "TypeError");
    let foreign: RTCRtpSenderId = {
        pair.b.add_track(track("x", Audio)).unwrap();
        pair.b.add_track(track("y", Audio)).unwrap()
    };
    assert_eq!(
        pair.a.remove_track(foreign).unwrap_err().name(),
        "InvalidAccessError"
    );
    pair.a.remove_track(sender).unwrap();
    pair.a.add_track(track("camera", Video)).unwrap();
    assert_eq!(transceivers(&pair.a).len(), 1, "it has not sent yet");
    // A track's name that SDP cannot have does no harm.
    let odd = MediaStreamTrack::new("s", "a b\r\nm=evil", "", Audio, vec![]);
    pair.a.add_track(odd).unwrap();
    assert!(!pair.a.create_offer(None).unwrap().sdp.contains("evil"));
}

#[test]
fn a_closed_connection_has_ended_its_tracks() {
    let mut pair = Pair::new();
    let sender = pair.a.add_track(track("camera", Video)).unwrap();
    pair.b.add_track(track("other", Video)).unwrap();
    pair.exchange();
    let opened = opened(&mut pair.a).remove(0);
    pair.a.close().unwrap();
    assert_eq!(
        track_events(&mut pair.a),
        [RTCTrackEvent::OnClose(opened.track_id.clone())]
    );
    let receiver = pair.a.rtp_receiver(opened.receiver_id).unwrap();
    assert_eq!(
        receiver.track().unwrap().ready_state(),
        MediaStreamTrackState::Ended
    );
    assert!(
        negotiated(&pair.a)
            .iter()
            .all(|it| it.send.is_none() && it.receive.is_none())
    );
    let id = sender.transceiver_id();
    let results = [
        pair.a.add_track(track("x", Audio)).map(drop),
        pair.a.remove_track(sender),
        pair.a.add_transceiver_from_kind(Audio, None).map(drop),
        pair.a.rtp_transceiver(id).unwrap().stop(),
        pair.a.rtp_transceiver(id).unwrap().set_direction(Inactive),
        pair.a
            .rtp_transceiver(id)
            .unwrap()
            .set_codec_preferences(vec![]),
        pair.a.rtp_sender(sender).unwrap().set_streams(vec![]),
        pair.a.rtp_sender(sender).unwrap().replace_track(None),
    ];
    for result in results {
        assert!(matches!(result, Err(Error::InvalidState(_))), "{result:?}");
    }
}

#[test]
fn the_generation_changes_with_what_packets_need() {
    let mut pair = Pair::new();
    let sender = pair.a.add_track(track("camera", Video)).unwrap();
    let mut last = pair.a.media_generation();
    let mut changed = |connection: &RTCPeerConnection| {
        let before = std::mem::replace(&mut last, connection.media_generation());
        last > before
    };
    pair.a.set_local_description_implicit().unwrap();
    assert!(changed(&pair.a), "an offer");
    pair.b
        .set_remote_description(pair.a.local_description().unwrap())
        .unwrap();
    pair.answer();
    assert!(changed(&pair.a), "an answer");
    let mut view = pair.a.rtp_sender(sender).unwrap();
    let parameters = view.get_parameters();
    view.set_parameters(parameters, None).unwrap();
    assert!(changed(&pair.a), "parameters");
    pair.a.create_offer(None).unwrap();
    pair.a
        .rtp_transceiver(sender.transceiver_id())
        .unwrap()
        .set_direction(Sendonly)
        .unwrap();
    assert!(!changed(&pair.a), "wishes alone do not");
    pair.a.remove_track(sender).unwrap();
    assert!(changed(&pair.a), "a track");
}
