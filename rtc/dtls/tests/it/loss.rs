//! Handshakes over a network that loses, reorders and doubles.

use std::time::Duration;

use rtc_crypto::KeyAlgorithm;
use rtc_dtls::{CipherSuite, Event, State};

use crate::sim::{KEYS, Network, Pair, configs, default_configs};
use crate::wire::records;

/// Seeds of a run; `SIMULATION_SEED` replays a single one.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SIMULATION_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..count).collect(),
    }
}

/// Prints the seed when a test fails in its run.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SIMULATION_SEED={}", self.0);
        }
    }
}

#[test]
fn a_handshake_survives_loss_reordering_and_duplication() {
    for seed in seeds(120) {
        let _seed = Seed(seed);
        let network = Network {
            loss: (seed % 4) as f64 * 0.1,
            duplication: (seed % 3) as f64 * 0.2,
            jitter: Duration::from_millis(seed % 5 * 30),
            mtu: [1200, 548, 240, 150][(seed / 4 % 4) as usize],
            ..Network::default()
        };
        let client = KEYS[(seed / 3 % 4) as usize];
        let server = KEYS[(seed / 5 % 4) as usize];
        let mut configs = configs(client, server);
        configs[1].cookie_exchange = seed % 2 == 0;
        if seed % 7 == 0 {
            configs.iter_mut().for_each(|config| {
                config.legacy_cbc = true;
                config.cipher_suites = Some(CipherSuite::CBC.to_vec());
            });
        }
        if seed % 11 == 0 {
            configs
                .iter_mut()
                .for_each(|config| config.initial_rtt = None);
        }
        let mut pair = Pair::new(configs, network, seed);
        pair.connect(Duration::from_secs(120));
        // What still flies must not disturb.
        pair.run(Duration::from_secs(5));
        pair.assert_works();
        assert_eq!(pair.events, [[Event::Connected], [Event::Connected]]);
    }
}

#[test]
fn the_smallest_datagrams_still_carry_a_handshake() {
    for key in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa] {
        let network = Network {
            mtu: 64,
            ..Network::default()
        };
        let mut pair = Pair::new(configs(key, key), network, 1);
        pair.connect(Duration::from_secs(10));
        pair.assert_works();
    }
}

#[test]
fn a_lost_flight_costs_twice_the_round_trip() {
    for lost in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let mut pair = Pair::new(default_configs(), Network::default(), 2);
        pair.lost = vec![lost];
        let took = pair.connect(Duration::from_secs(1));
        // The round trip is 40 ms, so that the first timeout is after 80 ms.
        assert_eq!(took, Duration::from_millis(80 + 80), "flight {lost:?}");
        pair.assert_works();
    }
}

#[test]
fn the_last_flight_is_repeated_as_long_as_the_client_asks() {
    let mut pair = Pair::new(default_configs(), Network::default(), 3);
    // The server's Finished is lost six times.
    pair.lost = (1..7).map(|nth| (1, nth)).collect();
    let took = pair.connect(Duration::from_secs(20));
    assert_eq!(
        took,
        Duration::from_millis(80 + 80 + 160 + 320 + 640 + 1280 + 2560)
    );
    assert_eq!(pair.peers[0].stats().timeouts, 6);
    assert_eq!(pair.peers[1].stats().flights_repeated, 6);
    assert_eq!(
        pair.peers[1].stats().timeouts,
        0,
        "the server waits without a timer"
    );
    // Data of the client shows that the flight arrived: nothing is left to be repeated.
    pair.assert_works();
    let before = pair.sent[1].len();
    let flight = pair.sent[0][1].clone();
    pair.now += Duration::from_secs(1);
    pair.deliver(1, &flight);
    pair.settle();
    assert_eq!(pair.sent[1].len(), before);
}

#[test]
fn a_replayed_client_flight_is_answered_at_most_once_per_record() {
    let mut pair = Pair::new(default_configs(), Network::default(), 4);
    pair.connect(Duration::from_secs(1));
    let flight = pair.sent[0][1].clone();
    let before = pair.sent[1].len();
    for _ in 0..50 {
        pair.now += Duration::from_millis(100);
        pair.deliver(1, &flight);
        pair.settle();
    }
    assert_eq!(pair.sent[1].len(), before, "a replay is no repetition");
    assert!(pair.peers[1].stats().replayed_records >= 50);
}

#[test]
fn finished_may_overtake_everything() {
    // The records of each flight arrive in reverse order, each in a datagram of its own.
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        5,
    );
    pair.carry(|_, datagrams| split(datagrams).into_iter().rev().collect());
    pair.assert_works();
}

#[test]
fn change_cipher_spec_may_be_lost() {
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        6,
    );
    pair.carry(|_, datagrams| {
        let mut records = split(datagrams);
        records.retain(|record| record[0] != 20);
        records
    });
    pair.assert_works();
}

/// Each record of some datagrams as one of its own.
fn split(datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let records = datagrams.iter().flat_map(|datagram| records(datagram));
    records
        .map(|(header, payload)| [header, payload].concat())
        .collect()
}

#[test]
fn data_that_overtakes_the_end_of_the_handshake_is_kept() {
    let mut pair = Pair::new(default_configs(), Network::default(), 7);
    while pair.peers[1].state() != State::Connected {
        assert!(pair.step(pair.start + Duration::from_secs(1)));
    }
    assert_eq!(pair.peers[0].state(), State::Connecting);
    let datagram = crate::sim::sealed(&mut pair.peers[1], &[b"early", b"bird"]);
    pair.deliver(0, &datagram);
    assert!(pair.received[0].is_empty());
    pair.connect(Duration::from_secs(1));
    assert_eq!(pair.received[0], [b"early".to_vec(), b"bird".to_vec()]);
}

#[test]
fn what_is_kept_early_is_bounded() {
    let mut pair = Pair::new(default_configs(), Network::default(), 8);
    while pair.peers[1].state() != State::Connected {
        assert!(pair.step(pair.start + Duration::from_secs(1)));
    }
    for _ in 0..1000 {
        let datagram = crate::sim::sealed(&mut pair.peers[1], &[&[1; 1000]]);
        pair.deliver(0, &datagram);
    }
    assert!(pair.peers[0].stats().early_records_dropped >= 980);
    pair.connect(Duration::from_secs(1));
    assert!(pair.received[0].len() <= 16);
    pair.assert_works();
}

#[test]
fn a_handshake_times_out_when_it_is_told_to() {
    let mut configs = default_configs();
    configs[0].handshake_timeout = Some(Duration::from_secs(7));
    let mut pair = Pair::new(
        configs,
        Network {
            loss: 1.0,
            ..Network::default()
        },
        9,
    );
    pair.run(Duration::from_secs(20));
    assert_eq!(
        pair.events[0],
        [Event::Failed(rtc_dtls::Error::HandshakeTimeout)]
    );
    assert_eq!(
        pair.peers[1].state(),
        State::New,
        "a server that heard nothing waits on"
    );
}

#[test]
fn an_unanswered_client_slows_down_but_never_stops() {
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        10,
    );
    pair.run(Duration::from_secs(60));
    // 80, 160, … 2560 ms, then every three seconds.
    assert_eq!(pair.sent[0].len(), 1 + 6 + (60_000 - 5_040) / 3000);
    assert_eq!(pair.peers[0].state(), State::Connecting);
}
