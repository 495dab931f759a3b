//! Offers that are taken back, replaced, collide or are answered provisionally.

use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCTrackEvent};
use rtc::peer_connection::sdp::RTCSdpType;
use rtc::peer_connection::state::RTCSignalingState;

use crate::media_pair::*;

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
