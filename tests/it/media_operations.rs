//! The operations of W3C on senders, receivers and transceivers, between two connections.

use rtc::Error;
use rtc::media_stream::{MediaStreamTrack, MediaStreamTrackState};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::event::RTCTrackEvent;
use rtc::rtp_transceiver::{RTCRtpEncodingParameters, RTCRtpSenderId, RTCRtpTransceiverInit};
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
