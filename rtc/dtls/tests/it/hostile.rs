//! Junk, forgeries and recordings.

use std::time::Duration;

use bytes::BytesMut;
use proptest::prelude::*;
use rtc_dtls::{Connection, Error, Event, Role, State};
use rtc_shared::Rng;

use crate::sim::{Network, Pair, default_configs};
use crate::wire::{Hello, fragment, message, record};

fn vectors(name: &str) -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/");
    serde_json::from_slice(&std::fs::read(format!("{path}{name}")).unwrap()).unwrap()
}

fn malformed() -> Vec<(String, Vec<u8>)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let entries = vectors("malformed/dtls.json");
    let entries = entries.as_array().unwrap().iter();
    entries
        .map(|it| (text(&it["name"]), hex::decode(text(&it["hex"])).unwrap()))
        .collect()
}

/// What both sides of a handshake sent, in order: side and datagram.
fn recorded_handshake() -> Vec<(usize, Vec<u8>)> {
    let mut pair = Pair::new(default_configs(), Network::default(), 77);
    let mut recorded = Vec::new();
    pair.carry(|from, datagrams| {
        recorded.extend(datagrams.iter().map(|datagram| (from, datagram.clone())));
        datagrams.to_vec()
    });
    assert!(pair.is_connected());
    recorded
}

/// Those of the corpus that a server understands well enough to refuse for good.
const FATAL: [&str; 2] = ["ch_dup_extension", "ch_version_lower"];

/// Those that are, or begin with, a ClientHello that lacks what is required here.
const UNACCEPTABLE: [&str; 2] = ["seq_max", "two_records_second_truncated"];

#[test]
fn malformed_datagrams_are_dropped_by_a_waiting_server() {
    for (name, datagram) in malformed() {
        let mut pair = Pair::new(default_configs(), Network::default(), 1);
        pair.deliver(1, &datagram);
        let failed = FATAL.contains(&&name[..]) || UNACCEPTABLE.contains(&&name[..]);
        let state = pair.peers[1].state();
        assert_eq!(state == State::Failed, failed, "{name}: {state:?}");
        if !failed {
            assert_eq!(state, State::New, "{name}");
            pair.connect(Duration::from_secs(2));
            pair.assert_works();
        }
    }
}

#[test]
fn malformed_datagrams_do_not_disturb_a_client_in_its_handshake() {
    for (_, datagram) in malformed() {
        let mut pair = Pair::new(default_configs(), Network::default(), 2);
        pair.settle();
        pair.deliver(0, &datagram);
        pair.connect(Duration::from_secs(2));
        pair.assert_works();
    }
}

#[test]
fn malformed_datagrams_do_not_touch_an_established_connection() {
    let mut pair = Pair::new(default_configs(), Network::default(), 3);
    pair.connect(Duration::from_secs(2));
    for (name, datagram) in malformed() {
        for to in 0..2 {
            pair.deliver(to, &datagram);
            assert_eq!(pair.peers[to].state(), State::Connected, "{name}");
            assert!(pair.received[to].is_empty(), "{name}");
            assert!(!pair.peers[to].wants_transmit(), "{name}");
        }
    }
    pair.assert_works();
}

#[test]
fn plain_application_data_is_never_delivered() {
    let mut pair = Pair::new(default_configs(), Network::default(), 4);
    let forged = record(23, 5, b"forged");
    pair.deliver(1, &forged);
    pair.connect(Duration::from_secs(2));
    pair.deliver(1, &forged);
    assert!(pair.received[1].is_empty());
    assert_eq!(pair.peers[1].stats().unexpected_records, 2);
}

#[test]
fn replayed_and_changed_records_are_not_delivered() {
    let mut pair = Pair::new(default_configs(), Network::default(), 5);
    pair.connect(Duration::from_secs(2));
    let datagram = crate::sim::sealed(&mut pair.peers[0], &[b"once"]);
    for _ in 0..3 {
        pair.deliver(1, &datagram);
    }
    let mut changed = crate::sim::sealed(&mut pair.peers[0], &[b"twice"]);
    changed[30] ^= 1;
    pair.deliver(1, &changed);
    assert_eq!(pair.received[1], [b"once"]);
    assert_eq!(pair.peers[1].stats().replayed_records, 2);
    assert_eq!(pair.peers[1].stats().unauthentic_records, 1);
}

#[test]
fn a_forged_fragment_delays_but_does_not_stop_a_handshake() {
    let mut pair = Pair::new(default_configs(), Network::default(), 6);
    let forged = vec![0x77; 500];
    for seq in 0..4 {
        pair.deliver(1, &record(22, 900, &fragment(1, seq, &forged, 100..300)));
        pair.deliver(0, &record(22, 900, &fragment(2, seq, &forged, 100..300)));
    }
    pair.connect(Duration::from_secs(30));
    pair.assert_works();
    assert!(pair.peers[1].stats().refused_fragments > 0);
}

#[test]
fn a_recorded_session_of_others_leads_nowhere_in_any_order() {
    let recorded = vectors("dtls12_session.json");
    let mut datagrams: Vec<Vec<u8>> = recorded["datagrams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| hex::decode(it["hex"].as_str().unwrap()).unwrap())
        .collect();
    let mut rng = Rng::from_seed([8; 32]);
    for round in 0..200 {
        for at in (1..datagrams.len()).rev() {
            datagrams.swap(at, rng.below(at as u32 + 1) as usize);
        }
        let mut pair = Pair::new(
            default_configs(),
            Network {
                loss: 1.0,
                ..Network::default()
            },
            round,
        );
        for datagram in &datagrams {
            for to in 0..2 {
                pair.deliver(to, datagram);
                pair.settle();
            }
        }
        for (peer, received) in pair.peers.iter().zip(&pair.received) {
            assert_ne!(peer.state(), State::Connected);
            assert!(received.is_empty());
        }
    }
}

#[test]
fn memory_for_fragments_is_bounded() {
    let now = std::time::Instant::now();
    let [_, config] = default_configs();
    let mut server = Connection::new(config, Role::Server, now, Rng::from_seed([1; 32])).unwrap();
    let body = vec![0; 60_000];
    for seq in 0..40 {
        for start in (0..60_000).step_by(1000) {
            let datagram = record(22, 0, &fragment(1, seq, &body, start..start + 999));
            server.handle_datagram(now, BytesMut::from(&datagram[..]), &mut |_| ());
        }
    }
    assert!(server.stats().refused_fragments > 40 * 60 - 200);
    assert_eq!(server.state(), State::New);
}

#[test]
fn a_message_that_cannot_be_read_in_the_handshake_is_believed_when_nothing_better_comes() {
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        7,
    );
    pair.settle();
    pair.deliver(0, &record(22, 0, &message(2, 0, b"not a ServerHello")));
    pair.settle();
    assert_eq!(pair.peers[0].state(), State::Connecting);
    pair.run(Duration::from_secs(2));
    assert_eq!(
        pair.events[0],
        [Event::Failed(Error::Decode("ServerHello"))]
    );
    assert_eq!(pair.sent[0].last().unwrap()[13..], [2, 50]);
}

#[test]
fn a_message_out_of_order_is_believed_when_nothing_better_comes() {
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        7,
    );
    pair.settle();
    pair.deliver(0, &record(22, 0, &message(11, 0, &[0, 0, 0])));
    pair.run(Duration::from_secs(2));
    assert_eq!(
        pair.events[0],
        [Event::Failed(Error::UnexpectedMessage("ServerHello"))]
    );
    assert_eq!(pair.sent[0].last().unwrap()[13..], [2, 10]);
}

#[test]
fn a_waiting_server_ignores_what_is_left_of_an_earlier_handshake() {
    for (at, (side, datagram)) in recorded_handshake().iter().enumerate() {
        let mut pair = Pair::new(default_configs(), Network::default(), 13);
        if at == 0 {
            continue;
        }
        assert!(*side < 2);
        pair.deliver(1, datagram);
        assert_eq!(pair.peers[1].state(), State::New);
        pair.connect(Duration::from_secs(30));
        pair.assert_works();
    }
}

#[test]
fn a_finished_message_that_is_not_protected_is_dropped() {
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        8,
    );
    pair.settle();
    let hello = pair.sent[0][0].clone();
    pair.deliver(1, &hello);
    pair.settle();
    let answer = pair.sent[1][0].clone();
    pair.deliver(0, &answer);
    pair.settle();
    pair.deliver(0, &record(22, 9, &message(20, 5, &[0; 12])));
    assert_eq!(pair.peers[0].state(), State::Connecting);
    assert_eq!(pair.peers[0].stats().malformed_messages, 1);
    pair.network.loss = 0.0;
    let flight = pair.sent[0][1].clone();
    pair.deliver(1, &flight);
    pair.connect(Duration::from_secs(2));
}

#[test]
fn hello_request_in_the_handshake_is_ignored() {
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        9,
    );
    pair.settle();
    pair.deliver(0, &record(22, 0, &message(0, 0, &[])));
    assert_eq!(pair.peers[0].state(), State::Connecting);
}

fn mutate(datagram: &mut Vec<u8>, at: usize, value: u8, how: u8) {
    match how {
        0 => datagram[at] = value,
        1 => datagram[at] ^= 1 << (value % 8),
        2 => datagram.truncate(at),
        _ => datagram.insert(at, value),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_datagrams_never_panic(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..20),
        plausible: bool,
    ) {
        let mut pair = Pair::new(default_configs(), Network::default(), 10);
        pair.settle();
        for mut datagram in datagrams {
            if plausible {
                let body = std::mem::take(&mut datagram);
                let kind = body.first().map_or(0, |byte| byte % 21);
                datagram = record(22, 3, &message(kind, u16::from(kind % 3), &body));
            }
            for to in 0..2 {
                pair.deliver(to, &datagram);
            }
        }
        pair.settle();
        prop_assert!(pair.received.iter().all(Vec::is_empty));
    }

    #[test]
    fn mutated_flights_never_panic_nor_connect_wrongly(
        mutations in prop::collection::vec(
            (0usize..4, any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..6,
        ),
    ) {
        let mut pair = Pair::new(default_configs(), Network { loss: 1.0, ..Network::default() }, 11);
        let mut flight = 0;
        pair.carry(|_, datagrams| {
            let mut changed = datagrams.to_vec();
            for datagram in &mut changed {
                for (which, at, value, how) in &mutations {
                    if *which == flight && !datagram.is_empty() {
                        mutate(datagram, at.index(datagram.len()), *value, *how);
                    }
                }
                flight += 1;
            }
            changed
        });
        if pair.is_connected() {
            pair.assert_works();
        }
    }

    #[test]
    fn records_of_a_handshake_in_any_order_never_panic(
        order in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..60),
    ) {
        static RECORDED: std::sync::OnceLock<Vec<(usize, Vec<u8>)>> = std::sync::OnceLock::new();
        let recorded = RECORDED.get_or_init(recorded_handshake);
        let mut pair = Pair::new(default_configs(), Network { loss: 1.0, ..Network::default() }, 77);
        pair.settle();
        for (at, to_other) in order {
            let (side, datagram) = &recorded[at.index(recorded.len())];
            let to = if to_other { 1 - side } else { *side };
            pair.deliver(to, datagram);
            pair.settle();
        }
        prop_assert!(pair.received.iter().all(Vec::is_empty));
    }
}

#[test]
fn a_hello_is_only_looked_at_once() {
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        12,
    );
    let datagram = Hello::chromium().datagram();
    pair.deliver(1, &datagram);
    pair.settle();
    let first = pair.sent[1].clone();
    for _ in 0..100 {
        pair.deliver(1, &datagram);
        pair.settle();
    }
    assert_eq!(
        pair.sent[1].len(),
        first.len(),
        "not repeated for each copy"
    );
    assert_eq!(pair.peers[1].stats().repeated_messages, 100);
}
