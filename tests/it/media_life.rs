//! Media and data on one transport that really connects, and descriptions that were damaged on their
//! way.

use std::time::Duration;

use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc::peer_connection::state::{RTCDtlsTransportState, RTCSignalingState};
use rtc::sdp::SessionDescription;
use rtc::shared::Rng;
use rtc_tests::sim::{Link, Side, Simulation};

use crate::media_pair::*;
use crate::seeds::{for_each_seed, rng_of};

fn opens_a_channel(sim: &mut Simulation) -> bool {
    sim.run(Duration::from_secs(10), |sim| {
        let is_open = |event: &RTCPeerConnectionEvent| {
            matches!(
                event,
                RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(_))
            )
        };
        sim.a.events.iter().any(is_open) && sim.b.events.iter().any(is_open)
    })
}

#[test]
fn media_alone_connects_and_data_comes_later() {
    for later_by in [Side::A, Side::B] {
        let mut sim = Simulation::new(1, Link::default()).unwrap();
        sim.a.connection.add_track(track("voice", Audio)).unwrap();
        sim.negotiate().unwrap();
        assert!(sim.connect(Duration::from_secs(10)));
        assert_eq!(
            sim.a.connection.dtls_state(),
            RTCDtlsTransportState::Connected
        );
        assert!(sim.a.connection.sctp().is_none() && sim.b.connection.sctp().is_none());
        let sent = sim.sent;
        sim.peer(later_by)
            .connection
            .create_data_channel("late", None)
            .unwrap();
        sim.negotiate_from(later_by).unwrap();
        assert!(opens_a_channel(&mut sim), "{later_by:?}");
        assert!(
            sim.sent - sent < 40,
            "no other handshake: {}",
            sim.sent - sent
        );
        assert!(sim.a.connection.sctp().is_some());
    }
}

#[test]
fn data_goes_on_while_media_comes_and_goes() {
    let mut sim = Simulation::new(2, Link::default()).unwrap();
    let channel = sim
        .a
        .connection
        .create_data_channel("data", None)
        .unwrap()
        .id();
    sim.negotiate().unwrap();
    assert!(opens_a_channel(&mut sim));
    let path = sim.a.connection.selected_path();
    let sender = sim.b.connection.add_track(track("camera", Video)).unwrap();
    sim.negotiate_from(Side::B).unwrap();
    sim.b
        .connection
        .rtp_transceiver(sender.transceiver_id())
        .unwrap()
        .stop()
        .unwrap();
    sim.negotiate_from(Side::B).unwrap();
    sim.a.connection.add_track(track("voice", Audio)).unwrap();
    sim.a.connection.restart_ice();
    sim.negotiate().unwrap();
    let mut view = sim.a.connection.data_channel(channel).unwrap();
    view.send_text("still here").unwrap();
    assert!(sim.run(Duration::from_secs(10), |sim| !sim.b.messages.is_empty()));
    assert_eq!(sim.a.connection.selected_path(), path);
    let sdp = local(&sim.a.connection);
    assert_eq!(lines(&sdp), [(9, "application", "0"), (9, "audio", "2")]);
}

#[test]
fn a_channel_whose_section_is_rejected_closes_and_another_gets_a_section_of_its_own() {
    let mut sim = Simulation::new(3, Link::default()).unwrap();
    sim.a.connection.add_track(track("voice", Audio)).unwrap();
    sim.a
        .connection
        .create_data_channel("refused", None)
        .unwrap();
    sim.a.connection.set_local_description_implicit().unwrap();
    let offer = sim.a.connection.local_description().unwrap();
    sim.b.connection.set_remote_description(offer).unwrap();
    sim.b.connection.set_local_description_implicit().unwrap();
    let mut answer = sim.b.connection.local_description().unwrap();
    answer.sdp = answer
        .sdp
        .replace("m=application 9", "m=application 0")
        .replace("BUNDLE 0 1", "BUNDLE 0");
    events(&mut sim.a.connection);
    sim.a.connection.set_remote_description(answer).unwrap();
    let told = events(&mut sim.a.connection);
    let closes = |event: &RTCPeerConnectionEvent| {
        matches!(
            event,
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnClose(_))
        )
    };
    assert!(told.iter().any(closes));
    assert!(!told.contains(&RTCPeerConnectionEvent::OnNegotiationNeededEvent));
    assert!(sim.a.connection.sctp().is_none());
    sim.a.connection.create_data_channel("again", None).unwrap();
    assert_eq!(needed(&mut sim.a.connection), 1);
    let next = parsed(&sim.a.connection.create_offer(None).unwrap());
    assert_eq!(lines(&next), [(9, "audio", "0"), (9, "application", "2")]);
}

/// Damages a description somewhere: lines lost, repeated, moved, numbers changed, words swapped.
fn damaged(sdp: &str, rng: &mut Rng) -> String {
    let mut lines: Vec<String> = sdp.lines().map(str::to_owned).collect();
    let mut below = |bound: usize| rng.below(bound as u32) as usize;
    for _ in 0..=below(6) {
        if lines.len() < 8 {
            break;
        }
        let at = 4 + below(lines.len() - 4);
        match below(7) {
            0 => drop(lines.remove(at)),
            1 => {
                let line = lines[at].clone();
                let to = 4 + below(lines.len() - 4);
                lines.insert(to, line);
            }
            2 => {
                let to = 4 + below(lines.len() - 4);
                lines.swap(at, to);
            }
            3 => {
                let digits: Vec<usize> = lines[at]
                    .char_indices()
                    .filter(|(_, it)| it.is_ascii_digit())
                    .map(|it| it.0)
                    .collect();
                if !digits.is_empty() {
                    let digit = digits[below(digits.len())];
                    let other = below(10).to_string();
                    lines[at].replace_range(digit..=digit, &other);
                }
            }
            4 => {
                let to = 4 + below(lines.len() - 4);
                let word = |line: &str| line.split(' ').next_back().map(str::to_owned);
                if let (Some(one), Some(other)) = (word(&lines[at]), word(&lines[to]))
                    && !one.is_empty()
                {
                    lines[at] = lines[at].replace(&one, &other);
                }
            }
            5 => {
                let words = [
                    "sendrecv",
                    "recvonly",
                    "sendonly",
                    "inactive",
                    "bundle-only",
                    "rtcp-mux",
                ];
                lines.insert(at, format!("a={}", words[below(words.len())]));
            }
            _ => {
                let length = below(lines[at].len() + 1);
                if lines[at].is_char_boundary(length) {
                    lines[at].truncate(length);
                }
            }
        }
    }
    lines.join("\r\n") + "\r\n"
}

#[test]
fn damaged_descriptions_do_no_harm() {
    for_each_seed(60, |seed| {
        let mut rng = rng_of(seed);
        let offers = corpus_names("offer");
        let answers = corpus_names("answer");
        for _ in 0..20 {
            let name = &offers[rng.below(offers.len() as u32) as usize];
            let sdp = damaged(&corpus(name), &mut rng);
            let mut b = connection(2);
            b.add_track(track("b", Video)).unwrap();
            let offer = RTCSessionDescription {
                sdp_type: RTCSdpType::Offer,
                sdp,
            };
            if b.set_remote_description(offer.clone()).is_ok() {
                b.set_local_description_implicit().unwrap();
                assert_eq!(b.signaling_state(), RTCSignalingState::Stable);
                let ours = local(&b);
                let theirs: SessionDescription = offer.sdp.parse().unwrap();
                assert_eq!(ours.media.len(), theirs.media.len());
                // What was agreed on can go on.
                b.add_track(track("c", Audio)).unwrap();
                b.set_local_description_implicit().unwrap();
                let again = local(&b);
                assert!(again.media.len() >= theirs.media.len());
                b.set_local_description(rollback()).unwrap();
                let _ = b.set_remote_description(offer);
            } else {
                assert_eq!(b.signaling_state(), RTCSignalingState::Stable);
                assert_eq!(transceivers(&b).len(), 1);
            }

            let name = &answers[rng.below(answers.len() as u32) as usize];
            let sdp = damaged(&corpus(name), &mut rng);
            let mut a = connection(1);
            a.add_track(track("voice", Audio)).unwrap();
            a.add_track(track("camera", Video)).unwrap();
            a.create_data_channel("x", None).unwrap();
            a.set_local_description_implicit().unwrap();
            let answer = RTCSessionDescription {
                sdp_type: RTCSdpType::Answer,
                sdp,
            };
            match a.set_remote_description(answer) {
                Ok(()) => {
                    assert_eq!(a.signaling_state(), RTCSignalingState::Stable);
                    a.set_local_description_implicit().unwrap();
                    local(&a);
                }
                Err(_) => assert_eq!(a.signaling_state(), RTCSignalingState::HaveLocalOffer),
            }
        }
    });
}
