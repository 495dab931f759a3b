//! The life of data channels where timing is against them.

use std::time::Duration;

use bytes::BytesMut;
use rtc::Error;
use rtc::data_channel::{RTCDataChannelId, RTCDataChannelInit, RTCDataChannelState};
use rtc::peer_connection::configuration::{DtlsRole, SettingEngine};
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc::peer_connection::state::{RTCPeerConnectionState, RTCSignalingState};
use rtc_tests::sim::{Link, Peer, Side, Simulation};

const SECOND: Duration = Duration::from_secs(1);

/// Two peers that are connected by a channel of A.
fn connected(seed: u64) -> (Simulation, RTCDataChannelId) {
    let mut sim = Simulation::new(seed, Link::default()).unwrap();
    let id = sim
        .a
        .connection
        .create_data_channel("first", None)
        .unwrap()
        .id();
    sim.negotiate().unwrap();
    assert!(sim.run(5 * SECOND, |sim| {
        !sim.a.open_channels().is_empty() && !sim.b.open_channels().is_empty()
    }));
    (sim, id)
}

fn channel_events(peer: &Peer) -> Vec<RTCDataChannelEvent> {
    peer.events
        .iter()
        .filter_map(|event| match event {
            RTCPeerConnectionEvent::OnDataChannel(event) => Some(*event),
            _ => None,
        })
        .collect()
}

fn texts(peer: &Peer) -> Vec<&str> {
    peer.messages
        .iter()
        .map(|message| match message {
            RTCMessage::DataChannelMessage(_, message) => message.as_str().unwrap(),
            other => panic!("unexpected {other:?}"),
        })
        .collect()
}

fn label_of(peer: &mut Peer, id: RTCDataChannelId) -> String {
    peer.connection.data_channel(id).unwrap().label().to_owned()
}

#[test]
fn a_negotiated_channel_gets_what_came_before_it_was_made() {
    let (mut sim, _) = connected(1);
    let agreed = RTCDataChannelInit {
        negotiated: Some(100),
        ..Default::default()
    };
    let id = sim
        .a
        .connection
        .create_data_channel("n", Some(agreed.clone()))
        .unwrap()
        .id();
    for text in ["one", "two"] {
        sim.a
            .connection
            .data_channel(id)
            .unwrap()
            .send_text(text)
            .unwrap();
    }
    assert!(!sim.run(SECOND, |sim| !sim.b.messages.is_empty()));
    let id = sim
        .b
        .connection
        .create_data_channel("n", Some(agreed))
        .unwrap()
        .id();
    assert!(sim.run(SECOND, |sim| sim.b.messages.len() == 2));
    assert_eq!(texts(&sim.b), ["one", "two"]);
    assert!(sim.b.open_channels().contains(&id));
}

#[test]
fn a_channel_of_one_moment_is_told_with_its_message_and_does_not_stop_the_others() {
    let (mut sim, first) = connected(2);
    sim.b.events.clear();
    let brief = sim
        .a
        .connection
        .create_data_channel("brief", None)
        .unwrap()
        .id();
    let mut channel = sim.a.connection.data_channel(brief).unwrap();
    channel.send_text("hello and goodbye").unwrap();
    channel.close().unwrap();
    sim.a
        .connection
        .data_channel(first)
        .unwrap()
        .send_text("still here")
        .unwrap();
    assert!(sim.run(SECOND, |sim| sim.b.messages.len() == 2));
    assert!(sim.run(SECOND, |sim| {
        matches!(
            channel_events(&sim.b).last(),
            Some(RTCDataChannelEvent::OnClose(_))
        )
    }));
    let [
        RTCDataChannelEvent::OnOpen(id),
        ..,
        RTCDataChannelEvent::OnClose(last),
    ] = channel_events(&sim.b)[..]
    else {
        panic!("{:?}", sim.b.events);
    };
    assert_eq!((id, label_of(&mut sim.b, id)), (last, "brief".to_owned()));
}

/// The peer has both resets and uses the stream again, before we have its confirmation of ours.
#[test]
fn a_stream_that_is_used_again_at_once_gets_its_channel_on_a_bad_link() {
    for seed in 0..60 {
        let (mut sim, _) = connected(seed);
        sim.link().loss = 0.2;
        sim.link().reordering = 0.3;
        for round in 0..15 {
            let label = format!("round {round}");
            let opened = sim.b.open_channels().len();
            let id = sim
                .a
                .connection
                .create_data_channel(&label, None)
                .unwrap()
                .id();
            sim.a
                .connection
                .data_channel(id)
                .unwrap()
                .send_text(label.clone())
                .unwrap();
            let received = sim.b.messages.len();
            let came = sim.run(60 * SECOND, |sim| {
                sim.b.open_channels().len() > opened && sim.b.messages.len() > received
            });
            assert!(came, "seed {seed}: channel {round} is announced");
            let theirs = *sim.b.open_channels().last().unwrap();
            assert_eq!(label_of(&mut sim.b, theirs), label, "seed {seed}");
            // From either side, and the answer goes over the new channel too.
            let answer = format!("answer {round}");
            let sent = sim.run(60 * SECOND, |sim| {
                let mut channel = sim.b.connection.data_channel(theirs).unwrap();
                let result = channel.send_text(answer.clone());
                assert!(
                    matches!(result, Ok(()) | Err(Error::BufferFull)),
                    "{result:?}"
                );
                result.is_ok()
            });
            assert!(sent, "seed {seed}: an answer in round {round}");
            assert!(sim.run(60 * SECOND, |sim| sim.a.messages.len() > round));
            let side = if round % 3 == 0 { Side::B } else { Side::A };
            let closing = if side == Side::A { id } else { theirs };
            sim.peer(side)
                .connection
                .data_channel(closing)
                .unwrap()
                .close()
                .unwrap();
            let closed = sim.run(60 * SECOND, |sim| {
                let channel = sim.a.connection.data_channel(id).unwrap();
                channel.ready_state() == RTCDataChannelState::Closed
            });
            assert!(closed, "seed {seed}: channel {round} closes");
        }
        let streams: Vec<_> = (0..sim.a.open_channels().len())
            .filter_map(|id| sim.a.connection.data_channel(id as u16)?.stream_id())
            .collect();
        assert!(
            streams.iter().all(|stream| *stream < 8),
            "seed {seed}: {streams:?} are reused"
        );
    }
}

#[test]
fn what_has_come_stays_readable_after_our_close() {
    let (mut sim, id) = connected(3);
    let theirs = sim.b.open_channels()[0];
    sim.a.pause_reading = true;
    sim.b
        .connection
        .data_channel(theirs)
        .unwrap()
        .send_text("unread")
        .unwrap();
    sim.run(SECOND, |_| false);
    sim.a.connection.data_channel(id).unwrap().close().unwrap();
    sim.run(SECOND, |_| false);
    let mut channel = sim.a.connection.data_channel(id).unwrap();
    assert_eq!(channel.ready_state(), RTCDataChannelState::Closed);
    assert_eq!(channel.read().unwrap().as_str(), Some("unread"));
    assert_eq!(channel.read(), None);
}

#[test]
fn a_threshold_that_was_set_before_the_channel_opened_counts() {
    let mut sim = Simulation::new(4, Link::default()).unwrap();
    let mut channel = sim.a.connection.create_data_channel("x", None).unwrap();
    channel.set_buffered_amount_low_threshold(100_000);
    let id = channel.id();
    sim.negotiate().unwrap();
    assert!(sim.run(5 * SECOND, |sim| !sim.a.open_channels().is_empty()));
    sim.a
        .connection
        .data_channel(id)
        .unwrap()
        .send(BytesMut::zeroed(200_000))
        .unwrap();
    let low = RTCDataChannelEvent::OnBufferedAmountLow(id);
    assert!(sim.run(5 * SECOND, |sim| channel_events(&sim.a).contains(&low)));
    let left = sim.a.connection.data_channel(id).unwrap().buffered_amount();
    assert!((1..=100_000).contains(&left), "{left} bytes are left");
}

#[test]
fn a_channel_whose_reader_left_before_it_opened_does_not_hold_up_the_others() {
    let mut sim = Simulation::new(5, Link::default()).unwrap();
    let left = sim
        .a
        .connection
        .create_data_channel("left", None)
        .unwrap()
        .id();
    sim.a.connection.create_data_channel("read", None).unwrap();
    sim.a.connection.data_channel(left).unwrap().discard();
    sim.a.pause_reading = true;
    sim.negotiate().unwrap();
    assert!(sim.run(5 * SECOND, |sim| sim.b.open_channels().len() == 2));
    let ids = sim.b.open_channels();
    for _ in 0..20 {
        let mut channel = sim.b.connection.data_channel(ids[0]).unwrap();
        channel.send(BytesMut::zeroed(200_000)).unwrap();
    }
    let done = sim.run(60 * SECOND, |sim| {
        sim.b
            .connection
            .data_channel(ids[0])
            .unwrap()
            .buffered_amount()
            == 0
    });
    assert!(done, "what nobody reads does not fill the window");
}

#[test]
fn channels_wait_through_an_exchange_that_does_not_speak_of_them() {
    let mut sim = Simulation::new(6, Link::default()).unwrap();
    let offer = sim.a.connection.create_offer(None).unwrap();
    sim.a
        .connection
        .set_local_description(offer.clone())
        .unwrap();
    let id = sim
        .b
        .connection
        .create_data_channel("waits", None)
        .unwrap()
        .id();
    sim.b.connection.set_remote_description(offer).unwrap();
    sim.b.connection.set_local_description_implicit().unwrap();
    let answer = sim.b.connection.local_description().unwrap();
    sim.a.connection.set_remote_description(answer).unwrap();
    let state = sim.b.connection.data_channel(id).unwrap().ready_state();
    assert_eq!(state, RTCDataChannelState::Connecting);
    sim.run(Duration::ZERO, |_| false);
    let needed = RTCPeerConnectionEvent::OnNegotiationNeededEvent;
    assert!(
        sim.b.events.contains(&needed),
        "the next exchange is asked for"
    );
    sim.negotiate_from(Side::B).unwrap();
    assert!(sim.run(5 * SECOND, |sim| sim.a.open_channels().len() == 1));
}

#[test]
fn channels_that_the_peer_rejects_are_closed() {
    let mut sim = Simulation::new(7, Link::default()).unwrap();
    let id = sim
        .a
        .connection
        .create_data_channel("rejected", None)
        .unwrap()
        .id();
    sim.a.connection.set_local_description_implicit().unwrap();
    let offer = sim.a.connection.local_description().unwrap();
    sim.b.connection.set_remote_description(offer).unwrap();
    let answer = sim.b.connection.create_answer(None).unwrap();
    let sdp = answer.sdp.replace("m=application 9", "m=application 0");
    let answer = RTCSessionDescription {
        sdp_type: RTCSdpType::Answer,
        sdp,
    };
    sim.a.connection.set_remote_description(answer).unwrap();
    let state = sim.a.connection.data_channel(id).unwrap().ready_state();
    assert_eq!(state, RTCDataChannelState::Closed);
}

/// An answer that the other side never took settles nothing for ever.
#[test]
fn an_answer_that_got_lost_leaves_the_dtls_role_open() {
    let mut sim = Simulation::new(8, Link::default()).unwrap();
    let a = sim
        .a
        .connection
        .create_data_channel("a", None)
        .unwrap()
        .id();
    sim.b.connection.create_data_channel("b", None).unwrap();
    sim.b.connection.set_local_description_implicit().unwrap();
    let offer = sim.b.connection.local_description().unwrap();
    sim.a.connection.set_remote_description(offer).unwrap();
    sim.a.connection.set_local_description_implicit().unwrap();
    let stream = sim
        .a
        .connection
        .data_channel(a)
        .unwrap()
        .stream_id()
        .unwrap();
    assert_eq!(stream % 2, 0, "the client has the even ones");
    let rollback = RTCSessionDescription::rollback(None).unwrap();
    sim.b.connection.set_local_description(rollback).unwrap();
    sim.negotiate_from(Side::A).unwrap();
    let stream = sim
        .a
        .connection
        .data_channel(a)
        .unwrap()
        .stream_id()
        .unwrap();
    assert_eq!(stream % 2, 1, "the server has the odd ones");
    assert!(sim.run(5 * SECOND, |sim| {
        sim.a.open_channels().len() == 2 && sim.b.open_channels().len() == 2
    }));
}

/// The same after both have begun DTLS as clients.
#[test]
fn a_handshake_by_an_answer_that_got_lost_is_begun_anew() {
    let mut sim = Simulation::new(9, Link::default()).unwrap();
    sim.a.connection.create_data_channel("a", None).unwrap();
    sim.b.connection.create_data_channel("b", None).unwrap();
    // B takes A's answer as it was meant and then gets another one.
    sim.b.connection.set_local_description_implicit().unwrap();
    let offer = sim.b.connection.local_description().unwrap();
    sim.a.connection.set_remote_description(offer).unwrap();
    sim.a.connection.set_local_description_implicit().unwrap();
    let answer = sim.a.connection.local_description().unwrap();
    let provisional = RTCSessionDescription {
        sdp_type: RTCSdpType::Pranswer,
        sdp: answer.sdp.replace("a=setup:active", "a=setup:passive"),
    };
    sim.b
        .connection
        .set_remote_description(provisional)
        .unwrap();
    let moment = Duration::from_millis(300);
    assert!(!sim.connect(moment), "two clients do not come together");
    sim.b.connection.set_remote_description(answer).unwrap();
    assert!(sim.connect(10 * SECOND));
    assert!(sim.run(5 * SECOND, |sim| {
        sim.a.open_channels().len() == 2 && sim.b.open_channels().len() == 2
    }));
}

#[test]
fn half_an_ice_restart_is_refused_and_changes_nothing() {
    let (mut sim, _) = connected(10);
    sim.a.connection.restart_ice();
    sim.a.connection.set_local_description_implicit().unwrap();
    let mut offer = sim.a.connection.local_description().unwrap();
    let old = sim.a.connection.current_local_description().unwrap();
    let line = |sdp: &str| {
        sdp.lines()
            .find(|line| line.starts_with("a=ice-pwd"))
            .unwrap()
            .to_owned()
    };
    offer.sdp = offer.sdp.replace(&line(&offer.sdp), &line(&old.sdp));
    let error = sim.b.connection.set_remote_description(offer).unwrap_err();
    assert_eq!(error.name(), "OperationError", "{error}");
    assert_eq!(
        sim.b.connection.signaling_state(),
        RTCSignalingState::Stable
    );
    assert!(sim.b.connection.pending_remote_description().is_none());
    assert_eq!(
        sim.b.connection.connection_state(),
        RTCPeerConnectionState::Connected
    );
}

#[test]
fn a_channel_that_closes_while_connecting_is_told_and_its_id_is_free() {
    let mut sim = Simulation::new(11, Link::default()).unwrap();
    let agreed = RTCDataChannelInit {
        negotiated: Some(9),
        ..Default::default()
    };
    for _ in 0..2 {
        let channel = sim
            .a
            .connection
            .create_data_channel("n", Some(agreed.clone()));
        let mut channel = channel.unwrap();
        let id = channel.id();
        channel.close().unwrap();
        assert_eq!(channel.ready_state(), RTCDataChannelState::Closed);
        sim.run(Duration::ZERO, |_| false);
        let events = channel_events(&sim.a);
        assert_eq!(events.last(), Some(&RTCDataChannelEvent::OnClose(id)));
        sim.a.connection.release_data_channel(id);
        assert!(sim.a.connection.data_channel(id).is_none());
    }
}

#[test]
fn both_sides_close_at_once_and_the_stream_is_free() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let mut setting = SettingEngine::default();
        setting.answering_dtls_role = role;
        let default = SettingEngine::default();
        let mut sim = Simulation::with_settings(12, Link::default(), default, setting).unwrap();
        let mut streams = Vec::new();
        for round in 0..3 {
            let id = sim
                .a
                .connection
                .create_data_channel("x", None)
                .unwrap()
                .id();
            if round == 0 {
                sim.negotiate().unwrap();
            }
            assert!(sim.run(5 * SECOND, |sim| sim.b.open_channels().len() > round));
            let theirs = *sim.b.open_channels().last().unwrap();
            streams.push(sim.a.connection.data_channel(id).unwrap().stream_id());
            sim.a.connection.data_channel(id).unwrap().close().unwrap();
            sim.b
                .connection
                .data_channel(theirs)
                .unwrap()
                .close()
                .unwrap();
            assert!(sim.run(5 * SECOND, |sim| {
                let closed = RTCDataChannelState::Closed;
                sim.a.connection.data_channel(id).unwrap().ready_state() == closed
                    && sim.b.connection.data_channel(theirs).unwrap().ready_state() == closed
            }));
        }
        assert!(
            streams.iter().all(|stream| *stream == streams[0]),
            "{streams:?}"
        );
    }
}
