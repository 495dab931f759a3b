//! Offer and answer: the state machine of W3C and RFC 9429, and descriptions of real browsers.

use std::path::Path;

use rtc::Error;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::{
    DtlsRole, RTCConfigurationBuilder, RTCOfferOptions, SettingEngine,
};
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc::peer_connection::state::{RTCIceGatheringState, RTCSignalingState};
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::sansio::Protocol;
use rtc::sdp::SessionDescription;
use rtc::shared::TransportProtocol;

fn connection() -> RTCPeerConnection {
    connection_with(SettingEngine::default())
}

fn connection_with(setting: SettingEngine) -> RTCPeerConnection {
    let configuration = RTCConfigurationBuilder::new()
        .with_seed([1; 32])
        .with_setting_engine(setting)
        .build();
    let mut connection = RTCPeerConnection::new(configuration).unwrap();
    connection
        .add_local_interface("192.0.2.1:5000".parse().unwrap(), TransportProtocol::UDP)
        .unwrap();
    connection
}

fn events(connection: &mut RTCPeerConnection) -> Vec<RTCPeerConnectionEvent> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

/// Every description of the corpus with its name, of one type.
fn corpus(sdp_type: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/sdp");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "sdp"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .filter(|(name, _)| name.contains(sdp_type))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn offer(sdp: &str) -> RTCSessionDescription {
    RTCSessionDescription::offer(sdp.to_owned()).unwrap()
}

/// Offers and answers between two connections until both are stable.
fn exchange(offerer: &mut RTCPeerConnection, answerer: &mut RTCPeerConnection) {
    let offer = offerer.create_offer(None).unwrap();
    offerer.set_local_description(offer).unwrap();
    answerer
        .set_remote_description(offerer.local_description().unwrap())
        .unwrap();
    let answer = answerer.create_answer(None).unwrap();
    answerer.set_local_description(answer).unwrap();
    offerer
        .set_remote_description(answerer.local_description().unwrap())
        .unwrap();
    assert_eq!(offerer.signaling_state(), RTCSignalingState::Stable);
    assert_eq!(answerer.signaling_state(), RTCSignalingState::Stable);
}

#[test]
fn offers_of_real_browsers_are_answered() {
    for (name, sdp) in corpus("offer") {
        let remote: SessionDescription = sdp.parse().unwrap();
        let mut connection = connection();
        connection
            .set_remote_description(offer(&sdp))
            .unwrap_or_else(|error| {
                panic!("{name}: {error}");
            });
        let answer = connection.create_answer(None).unwrap();
        connection.set_local_description(answer).unwrap();
        assert_eq!(
            connection.signaling_state(),
            RTCSignalingState::Stable,
            "{name}"
        );
        let answer: SessionDescription =
            connection.local_description().unwrap().sdp.parse().unwrap();
        assert_eq!(
            answer.media.len(),
            remote.media.len(),
            "{name}: m-sections are mirrored"
        );
        for (ours, theirs) in answer.media.iter().zip(&remote.media) {
            assert_eq!(ours.media, theirs.media, "{name}");
            assert_eq!(ours.proto, theirs.proto, "{name}: the protocol is echoed");
            assert_eq!(ours.mid(), theirs.mid(), "{name}");
            assert_eq!(ours.port == 0, theirs.port == 0, "{name}");
            if theirs.media == "application" && theirs.port != 0 {
                assert_eq!(ours.attribute("setup"), Some("active"), "{name}");
                assert_eq!(ours.attribute("sctp-port"), Some("5000"), "{name}");
                assert!(ours.attribute("ice-ufrag").is_some(), "{name}");
            }
        }
        let candidates: usize = answer.media.iter().map(|it| it.candidates().count()).sum();
        assert_eq!(candidates, 1, "{name}: all share one transport");
    }
}

#[test]
fn nothing_unknown_is_echoed() {
    for (name, sdp) in corpus("offer") {
        let unknown = "a=x-unheard-of:yes\r\na=sctp-init:AQAAHols3R0\r\n";
        let marked: String = sdp
            .split_inclusive('\n')
            .flat_map(|line| {
                let marked = line.starts_with("a=mid:") || line.starts_with("a=group:");
                [line, if marked { unknown } else { "" }]
            })
            .collect();
        assert_ne!(marked, sdp, "{name}");
        let offer = offer(&marked);
        let mut connection = connection();
        connection.set_remote_description(offer).unwrap();
        let answer = connection.create_answer(None).unwrap().sdp;
        assert!(!answer.contains("unheard"), "{name}");
        assert!(!answer.contains("sctp-init"), "{name}");
    }
}

#[test]
fn the_old_form_of_data_sections_is_answered_in_the_old_form() {
    let mut other = connection();
    other.create_data_channel("x", None).unwrap();
    let made = other.create_offer(None).unwrap().sdp;
    let old = made
        .replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000")
        .replace("a=sctp-port:5000", "a=sctpmap:5000 webrtc-datachannel 1024");
    let mut connection = connection();
    connection.set_remote_description(offer(&old)).unwrap();
    let answer = connection.create_answer(None).unwrap().sdp;
    assert!(
        answer.contains("m=application 9 DTLS/SCTP 5000\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("a=sctpmap:5000 webrtc-datachannel 1024\r\n"),
        "{answer}"
    );
    assert!(!answer.contains("a=sctp-port"), "{answer}");
}

#[test]
fn the_answerer_chooses_its_dtls_role_within_the_offer() {
    for (offered, preferred, answered) in [
        ("actpass", DtlsRole::Client, "active"),
        ("actpass", DtlsRole::Server, "passive"),
        ("active", DtlsRole::Client, "passive"),
        ("passive", DtlsRole::Server, "active"),
    ] {
        let mut other = connection();
        other.create_data_channel("x", None).unwrap();
        let made = other.create_offer(None).unwrap().sdp;
        let mut setting = SettingEngine::default();
        setting.answering_dtls_role = preferred;
        let mut connection = connection_with(setting);
        let made = made.replace("a=setup:actpass", &format!("a=setup:{offered}"));
        connection.set_remote_description(offer(&made)).unwrap();
        let answer = connection.create_answer(None).unwrap().sdp;
        assert!(
            answer.contains(&format!("a=setup:{answered}\r\n")),
            "{offered}: {answer}"
        );
    }
}

#[test]
fn every_transition_of_the_signaling_state() {
    let mut a = connection();
    let mut b = connection();
    a.create_data_channel("x", None).unwrap();

    // Answers need an offer.
    assert!(matches!(a.create_answer(None), Err(Error::InvalidState(_))));
    let rollback = || RTCSessionDescription::rollback(None).unwrap();
    assert!(matches!(
        a.set_local_description(rollback()),
        Err(Error::InvalidState(_))
    ));

    let first = a.create_offer(None).unwrap();
    a.set_local_description(first.clone()).unwrap();
    assert_eq!(a.signaling_state(), RTCSignalingState::HaveLocalOffer);
    assert!(a.pending_local_description().is_some() && a.current_local_description().is_none());
    a.set_local_description(rollback()).unwrap();
    assert_eq!(a.signaling_state(), RTCSignalingState::Stable);
    assert!(a.local_description().is_none());

    let second = a.create_offer(None).unwrap();
    a.set_local_description(second).unwrap();
    b.set_remote_description(a.local_description().unwrap())
        .unwrap();
    assert_eq!(b.signaling_state(), RTCSignalingState::HaveRemoteOffer);
    let made = b.create_offer(None).unwrap();
    assert!(matches!(
        b.set_local_description(made),
        Err(Error::InvalidState(_))
    ));

    // A provisional answer, then a final one.
    let mut answer = b.create_answer(None).unwrap();
    answer.sdp_type = RTCSdpType::Pranswer;
    b.set_local_description(answer.clone()).unwrap();
    assert_eq!(b.signaling_state(), RTCSignalingState::HaveLocalPranswer);
    assert!(matches!(
        b.set_local_description(rollback()),
        Err(Error::InvalidState(_))
    ));
    a.set_remote_description(answer).unwrap();
    assert_eq!(a.signaling_state(), RTCSignalingState::HaveRemotePranswer);
    let last = b.create_answer(None).unwrap();
    b.set_local_description(last.clone()).unwrap();
    a.set_remote_description(last).unwrap();
    for connection in [&mut a, &mut b] {
        assert_eq!(connection.signaling_state(), RTCSignalingState::Stable);
        assert!(connection.pending_remote_description().is_none());
        assert!(connection.current_remote_description().is_some());
    }

    a.close().unwrap();
    assert_eq!(a.signaling_state(), RTCSignalingState::Closed);
    assert!(matches!(a.create_offer(None), Err(Error::InvalidState(_))));
    assert!(matches!(
        a.create_data_channel("y", None),
        Err(Error::InvalidState(_))
    ));
    a.close().unwrap();
}

#[test]
fn a_colliding_offer_rolls_ours_back() {
    let mut a = connection();
    let mut b = connection();
    a.create_data_channel("a", None).unwrap();
    b.create_data_channel("b", None).unwrap();
    for connection in [&mut a, &mut b] {
        connection.set_local_description_implicit().unwrap();
    }
    b.set_remote_description(a.local_description().unwrap())
        .unwrap();
    assert_eq!(b.signaling_state(), RTCSignalingState::HaveRemoteOffer);
    b.set_local_description_implicit().unwrap();
    a.set_remote_description(b.local_description().unwrap())
        .unwrap();
    assert_eq!(a.signaling_state(), RTCSignalingState::Stable);
    assert_eq!(b.signaling_state(), RTCSignalingState::Stable);
}

#[test]
fn negotiation_is_needed_once_and_only_for_a_reason() {
    let needed = |connection: &mut RTCPeerConnection| {
        events(connection)
            .into_iter()
            .filter(|event| *event == RTCPeerConnectionEvent::OnNegotiationNeededEvent)
            .count()
    };
    let mut a = connection();
    let mut b = connection();
    assert_eq!(needed(&mut a), 0);
    a.create_data_channel("x", None).unwrap();
    a.create_data_channel("y", None).unwrap();
    assert_eq!(needed(&mut a), 1);
    exchange(&mut a, &mut b);
    assert_eq!(needed(&mut a), 0);
    a.create_data_channel("z", None).unwrap();
    assert_eq!(needed(&mut a), 0, "the m-section serves every channel");
    a.restart_ice();
    a.restart_ice();
    assert_eq!(needed(&mut a), 1);
    exchange(&mut a, &mut b);
    assert_eq!((needed(&mut a), needed(&mut b)), (0, 0));
}

#[test]
fn a_rolled_back_restart_keeps_the_credentials_and_is_still_pending() {
    let mut a = connection();
    let mut b = connection();
    a.create_data_channel("x", None).unwrap();
    exchange(&mut a, &mut b);
    let ufrag = |connection: &RTCPeerConnection| {
        let sdp: SessionDescription = connection.local_description().unwrap().sdp.parse().unwrap();
        sdp.media[0].attribute("ice-ufrag").unwrap().to_owned()
    };
    let before = ufrag(&a);
    a.restart_ice();
    a.set_local_description_implicit().unwrap();
    assert_ne!(ufrag(&a), before);
    a.set_local_description(RTCSessionDescription::rollback(None).unwrap())
        .unwrap();
    assert_eq!(ufrag(&a), before);
    exchange(&mut a, &mut b);
    assert_ne!(ufrag(&a), before, "the restart is still wanted");
}

#[test]
fn an_offer_with_ice_restart_brings_new_credentials_on_both_sides() {
    let mut a = connection();
    let mut b = connection();
    a.create_data_channel("x", None).unwrap();
    exchange(&mut a, &mut b);
    let credentials = |connection: &RTCPeerConnection| {
        let sdp: SessionDescription = connection.local_description().unwrap().sdp.parse().unwrap();
        let of = |name: &str| sdp.media[0].attribute(name).unwrap().to_owned();
        (of("ice-ufrag"), of("ice-pwd"))
    };
    let before = (credentials(&a), credentials(&b));
    let offer = a
        .create_offer(Some(RTCOfferOptions { ice_restart: true }))
        .unwrap();
    a.set_local_description(offer).unwrap();
    b.set_remote_description(a.local_description().unwrap())
        .unwrap();
    b.set_local_description_implicit().unwrap();
    a.set_remote_description(b.local_description().unwrap())
        .unwrap();
    let after = (credentials(&a), credentials(&b));
    assert_ne!(before.0, after.0);
    assert_ne!(before.1, after.1);
}

#[test]
fn an_altered_local_description_is_refused() {
    let mut a = connection();
    a.create_data_channel("x", None).unwrap();
    let mut offer = a.create_offer(None).unwrap();
    offer.sdp = offer.sdp.replace("a=sctp-port:5000", "a=sctp-port:5001");
    assert!(matches!(
        a.set_local_description(offer),
        Err(Error::InvalidModification(_))
    ));
    assert_eq!(a.signaling_state(), RTCSignalingState::Stable);
    let empty = RTCSessionDescription {
        sdp_type: RTCSdpType::Offer,
        sdp: String::new(),
    };
    a.set_local_description(empty).unwrap();
}

#[test]
fn a_description_that_cannot_work_says_what_it_lacks_and_changes_nothing() {
    let mut other = connection();
    other.create_data_channel("x", None).unwrap();
    let good = other.create_offer(None).unwrap().sdp;
    let without = |attribute: &str| -> String {
        good.split_inclusive("\r\n")
            .filter(|line| !line.starts_with(&format!("a={attribute}")))
            .collect()
    };
    let fingerprint = good
        .lines()
        .find(|line| line.starts_with("a=fingerprint"))
        .unwrap();
    let cases = [
        (without("ice-ufrag"), "ice-ufrag"),
        (without("ice-pwd"), "ice-pwd"),
        (without("fingerprint"), "fingerprint"),
        (
            good.replace(fingerprint, "a=fingerprint:md5 AA:BB"),
            "fingerprint",
        ),
        (good.replace("a=sctp-port:5000", "a=sctp-port:0"), "port"),
        (
            good.replace("a=max-message-size:262144", "a=max-message-size:lots"),
            "max-message-size",
        ),
        (good.replace("a=setup:actpass", "a=setup:holdconn"), "setup"),
    ];
    for (sdp, word) in cases {
        let mut connection = connection();
        let error = connection.set_remote_description(offer(&sdp)).unwrap_err();
        assert!(error.to_string().contains(word), "{word}: {error}");
        assert_eq!(connection.signaling_state(), RTCSignalingState::Stable);
        assert!(connection.remote_description().is_none());
        connection.set_remote_description(offer(&good)).unwrap();
    }
    let error = RTCSessionDescription::offer("v=0\r\nwhat is this\r\n".to_owned()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Rtc {
                sdp_line: Some(2),
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.name(), "RTCError");
}

#[test]
fn an_answer_has_to_mirror_its_offer() {
    let mut a = connection();
    a.create_data_channel("x", None).unwrap();
    a.set_local_description_implicit().unwrap();
    let (_, two_sections) = corpus("answer")
        .into_iter()
        .find(|(name, _)| name.starts_with("firefox"))
        .unwrap();
    let answer = RTCSessionDescription::answer(two_sections).unwrap();
    assert!(matches!(
        a.set_remote_description(answer),
        Err(Error::InvalidAccess(_))
    ));
    assert_eq!(a.signaling_state(), RTCSignalingState::HaveLocalOffer);
}

#[test]
fn candidates_are_checked_and_applied_to_their_generation() {
    let mut a = connection();
    let mut b = connection();
    a.create_data_channel("x", None).unwrap();
    let candidate = |line: &str, ufrag: Option<&str>| RTCIceCandidateInit {
        candidate: line.to_owned(),
        sdp_mid: Some("0".to_owned()),
        sdp_mline_index: Some(0),
        username_fragment: ufrag.map(str::to_owned),
        url: None,
    };
    let good = "candidate:1 1 udp 2130706431 192.0.2.9 5000 typ host";
    assert!(matches!(
        b.add_remote_candidate(candidate(good, None)),
        Err(Error::InvalidState(_))
    ));
    exchange(&mut a, &mut b);
    b.add_remote_candidate(candidate(good, None)).unwrap();
    b.add_remote_candidate(candidate(&format!("a={good}"), None))
        .unwrap();
    b.add_remote_candidate(candidate("", None)).unwrap();
    for (line, ufrag) in [("candidate:nonsense", None), (good, Some("nope"))] {
        let error = b.add_remote_candidate(candidate(line, ufrag)).unwrap_err();
        assert_eq!(error.name(), "OperationError", "{error}");
    }
    let mut lost = candidate(good, None);
    lost.sdp_mid = Some("7".to_owned());
    assert_eq!(
        b.add_remote_candidate(lost).unwrap_err().name(),
        "OperationError"
    );
    let mut nowhere = candidate(good, None);
    (nowhere.sdp_mid, nowhere.sdp_mline_index) = (None, None);
    assert_eq!(
        b.add_remote_candidate(nowhere).unwrap_err().name(),
        "TypeError"
    );
    // A name that nobody can resolve is no error.
    let named =
        "candidate:2 1 udp 2130706431 0f6e2c5e-1f3b-4c2e-9d5e-1d2c3b4a5f6e.local 5000 typ host";
    b.add_remote_candidate(candidate(named, None)).unwrap();
}

#[test]
fn gathering_tells_its_candidates_and_its_end() {
    let mut a = connection();
    a.create_data_channel("x", None).unwrap();
    a.set_local_description_implicit().unwrap();
    let events = events(&mut a);
    let gathered = events
        .iter()
        .position(|event| matches!(event, RTCPeerConnectionEvent::OnIceCandidateEvent(_)))
        .unwrap();
    let complete = events
        .iter()
        .position(|event| {
            *event
                == RTCPeerConnectionEvent::OnIceGatheringStateChangeEvent(
                    RTCIceGatheringState::Complete,
                )
        })
        .unwrap();
    assert!(gathered < complete);
    let RTCPeerConnectionEvent::OnIceCandidateEvent(event) = &events[gathered] else {
        panic!()
    };
    let init = event.candidate.to_init();
    assert!(init.candidate.starts_with("candidate:"), "{init:?}");
    assert!(
        init.candidate.contains("192.0.2.1 5000 typ host"),
        "{init:?}"
    );
    assert_eq!(
        (init.sdp_mid.as_deref(), init.sdp_mline_index),
        (Some("0"), Some(0))
    );
    let sdp = a.local_description().unwrap().sdp;
    assert!(sdp.contains(&format!("a={}\r\n", init.candidate)), "{sdp}");
    assert!(sdp.ends_with("a=end-of-candidates\r\n"), "{sdp}");
}

#[test]
fn channels_are_checked_when_they_are_made() {
    use rtc::data_channel::RTCDataChannelInit as Init;
    let mut a = connection();
    let both = Init {
        max_retransmits: Some(1),
        max_packet_life_time: Some(1),
        ..Default::default()
    };
    let last = Init {
        negotiated: Some(u16::MAX),
        ..Default::default()
    };
    for init in [both, last] {
        let error = a.create_data_channel("x", Some(init)).unwrap_err();
        assert_eq!(error.name(), "TypeError", "{error}");
    }
    let long = "x".repeat(65536);
    assert_eq!(
        a.create_data_channel(&long, None).unwrap_err().name(),
        "TypeError"
    );
    let agreed = Init {
        negotiated: Some(7),
        ..Default::default()
    };
    a.create_data_channel("n", Some(agreed.clone())).unwrap();
    assert_eq!(
        a.create_data_channel("n", Some(agreed)).unwrap_err().name(),
        "OperationError"
    );
    let id = a.create_data_channel("m", None).unwrap().id();
    let mut channel = a.data_channel(id).unwrap();
    assert_eq!(channel.stream_id(), None, "unknown before the DTLS role is");
    let error = channel.send_text("too early").unwrap_err();
    assert_eq!(error.name(), "InvalidStateError");
}

#[test]
fn wildcard_addresses_are_no_interfaces() {
    let mut a = connection();
    for addr in ["0.0.0.0:5000", "[::]:5000", "127.0.0.1:0"] {
        let error = a
            .add_local_interface(addr.parse().unwrap(), TransportProtocol::UDP)
            .unwrap_err();
        assert_eq!(error.name(), "TypeError");
    }
}
