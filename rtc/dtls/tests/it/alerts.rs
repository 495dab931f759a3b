//! Alerts, closing, and refusing to start over.

use std::time::Duration;

use rtc_dtls::{AlertDescription, Error, Event, State};

use crate::sim::{Network, Pair, default_configs};
use crate::wire::record;

const LIMIT: Duration = Duration::from_secs(2);

#[test]
fn closing_tells_the_peer_and_is_answered() {
    for from in [0, 1] {
        let mut pair = Pair::new(default_configs(), Network::default(), 1);
        pair.connect(LIMIT);
        let before = [pair.sent[0].len(), pair.sent[1].len()];
        let now = pair.now;
        pair.peers[from].close(now);
        pair.peers[from].close(now);
        assert_eq!(pair.peers[from].state(), State::Closed);
        assert!(pair.peers[from].begin_record(&mut Vec::new()).is_err());
        pair.run(Duration::from_secs(5));
        assert_eq!(pair.events[from], [Event::Connected]);
        assert_eq!(pair.events[1 - from], [Event::Connected, Event::Closed]);
        assert_eq!(pair.peers[1 - from].state(), State::Closed);
        let sent = [
            pair.sent[0].len() - before[0],
            pair.sent[1].len() - before[1],
        ];
        assert_eq!(sent, [1, 1], "one close_notify each");
        assert!(pair.peers.iter().all(|peer| peer.poll_timeout().is_none()));
        assert!(
            pair.peers[from].cipher_suite().is_some(),
            "still there for statistics"
        );
    }
}

#[test]
fn a_lost_close_notify_is_repeated_when_data_still_comes() {
    let mut pair = Pair::new(default_configs(), Network::default(), 2);
    pair.connect(LIMIT);
    pair.network.loss = 1.0;
    let now = pair.now;
    pair.peers[0].close(now);
    pair.settle();
    pair.network.loss = 0.0;
    pair.now += Duration::from_secs(1);
    pair.write(1, &[b"are you there?"]);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.events[1], [Event::Connected, Event::Closed]);
    assert!(pair.received[0].is_empty());
}

#[test]
fn a_server_that_closes_at_once_still_ends_the_handshake() {
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        3,
    );
    pair.settle();
    let hello = pair.sent[0][0].clone();
    pair.deliver(1, &hello);
    pair.settle();
    let answer = pair.sent[1][0].clone();
    pair.deliver(0, &answer);
    pair.settle();
    let flight = pair.sent[0][1].clone();
    pair.deliver(1, &flight);
    let now = pair.now;
    pair.peers[1].close(now);
    pair.network.loss = 0.0;
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.events[0], [Event::Connected, Event::Closed]);
}

#[test]
fn closing_during_the_handshake_is_noticed() {
    for from in [0, 1] {
        let mut pair = Pair::new(default_configs(), Network::default(), 4);
        pair.step(pair.start + LIMIT);
        let now = pair.now;
        pair.peers[from].close(now);
        pair.run(Duration::from_secs(5));
        assert!(matches!(
            pair.peers[1 - from].state(),
            State::Closed | State::Failed
        ));
    }
}

#[test]
fn a_server_that_never_heard_of_its_client_closes_silently() {
    let mut pair = Pair::new(default_configs(), Network::default(), 5);
    let now = pair.now;
    pair.peers[1].close(now);
    assert!(!pair.peers[1].wants_transmit());
    assert_eq!(pair.peers[1].state(), State::Closed);
}

#[test]
fn forged_alerts_do_not_touch_an_established_connection() {
    let mut pair = Pair::new(default_configs(), Network::default(), 6);
    pair.connect(LIMIT);
    for description in [0, 10, 40, 42, 80] {
        for to in 0..2 {
            pair.deliver(to, &record(21, 99, &[2, description]));
            pair.deliver(to, &record(21, 99, &[1, description]));
        }
    }
    pair.run(Duration::from_secs(5));
    assert!(pair.is_connected());
    pair.assert_works();
}

#[test]
fn forged_alerts_do_not_stop_a_handshake_that_goes_on() {
    let mut pair = Pair::new(default_configs(), Network::default(), 7);
    pair.settle();
    while !pair.is_connected() {
        for to in 0..2 {
            pair.deliver(to, &record(21, 99, &[2, 40]));
            pair.deliver(to, &record(21, 99, &[1, 0]));
        }
        assert!(pair.step(pair.start + LIMIT));
    }
    pair.run(Duration::from_secs(5));
    assert!(pair.peers[0].stats().plain_alerts > 0);
    pair.assert_works();
}

#[test]
fn a_fatal_alert_ends_a_handshake_that_does_not_go_on() {
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        8,
    );
    pair.settle();
    pair.deliver(0, &record(21, 0, &[2, 70]));
    pair.run(Duration::from_secs(2));
    let told = Error::AlertReceived(AlertDescription::PROTOCOL_VERSION);
    assert_eq!(pair.events[0], [Event::Failed(told)]);
    assert!(
        !pair.peers[0].wants_transmit(),
        "an alert is not answered by one"
    );
}

#[test]
fn warnings_are_ignored() {
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        9,
    );
    pair.settle();
    pair.deliver(0, &record(21, 0, &[1, 90]));
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.peers[0].state(), State::Connecting);
}
