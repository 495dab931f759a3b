//! Who the peer is.

use std::time::Duration;

use bytes::BytesMut;
use rtc_crypto::ring::PROVIDER;
use rtc_crypto::{HashAlgorithm, KeyAlgorithm};
use rtc_dtls::{AlertDescription, Error, Event, Role, State};

use crate::sim::{Network, Pair, certificate, default_configs, sealed};
use crate::wire::{message, plain_messages, record};

const LIMIT: Duration = Duration::from_secs(2);

#[test]
fn each_side_has_the_others_certificate() {
    let mut pair = Pair::new(default_configs(), Network::default(), 1);
    pair.connect(LIMIT);
    for (at, role) in [(0, Role::Server), (1, Role::Client)] {
        let expected = certificate(KeyAlgorithm::EcdsaP256, role);
        assert_eq!(pair.peers[at].peer_certificate(), Some(expected.der()));
    }
}

#[test]
fn fingerprints_of_every_hash_are_checked() {
    for hash in [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
    ] {
        let mut configs = default_configs();
        for (config, role) in configs.iter_mut().zip([Role::Server, Role::Client]) {
            let peer = certificate(KeyAlgorithm::EcdsaP256, role);
            let fingerprint = peer.fingerprint(hash, &PROVIDER).unwrap();
            let mut wrong = fingerprint.clone();
            wrong.value[0] ^= 1;
            config.peer_fingerprints = vec![wrong, fingerprint];
        }
        Pair::new(configs, Network::default(), 2).connect(LIMIT);
    }
}

#[test]
fn a_wrong_fingerprint_fails_both_sides_with_bad_certificate() {
    for wrong in [0, 1] {
        let mut configs = default_configs();
        configs[wrong].peer_fingerprints[0].value[5] ^= 1;
        let mut pair = Pair::new(configs, Network::default(), 3);
        pair.run(Duration::from_secs(5));
        assert_eq!(
            pair.events[wrong],
            [Event::Failed(Error::FingerprintMismatch)]
        );
        let told = Error::AlertReceived(AlertDescription::BAD_CERTIFICATE);
        assert_eq!(pair.events[1 - wrong], [Event::Failed(told)]);
        assert!(pair.peers.iter().all(|peer| peer.state() == State::Failed));
        assert!(pair.peers.iter().all(|peer| peer.poll_timeout().is_none()));
    }
}

#[test]
fn a_lost_bad_certificate_alert_is_repeated() {
    let mut configs = default_configs();
    configs[1].peer_fingerprints[0].value[5] ^= 1;
    let mut pair = Pair::new(configs, Network::default(), 4);
    // The server answers the hello, then its alert is lost.
    while pair.peers[1].state() != State::Failed {
        assert!(pair.step(pair.start + LIMIT));
        if pair.sent[1].len() == 1 {
            pair.network.loss = 1.0;
        }
        // The client's flight still has to arrive.
        if pair.sent[0].len() == 1 {
            pair.network.loss = 0.0;
        }
    }
    pair.network.loss = 0.0;
    pair.run(Duration::from_secs(10));
    let told = Error::AlertReceived(AlertDescription::BAD_CERTIFICATE);
    assert_eq!(pair.events[0], [Event::Failed(told)]);
}

#[test]
fn a_client_without_certificate_is_refused() {
    let mut pair = Pair::new(default_configs(), Network::default(), 5);
    pair.settle();
    let hello = pair.sent[0][0].clone();
    pair.deliver(1, &hello);
    pair.settle();
    let empty = record(22, 1, &message(11, 1, &[0, 0, 0]));
    pair.deliver(1, &empty);
    pair.settle();
    assert_eq!(pair.events[1], [Event::Failed(Error::MissingCertificate)]);
    let alert = pair.sent[1].last().unwrap();
    assert_eq!(alert[13..], [2, AlertDescription::HANDSHAKE_FAILURE.0]);
}

#[test]
fn a_stolen_certificate_does_not_help() {
    // The attacker sends the expected client certificate, but signs with its own key: here the
    // signature is simply changed on the way.
    let mut pair = Pair::new(
        default_configs(),
        Network {
            loss: 1.0,
            ..Network::default()
        },
        6,
    );
    pair.settle();
    let hello = pair.sent[0][0].clone();
    pair.deliver(1, &hello);
    pair.settle();
    let answer = pair.sent[1][0].clone();
    pair.deliver(0, &answer);
    pair.settle();
    let flight = pair.sent[0][1].clone();
    for (sequence, (kind, seq, mut body)) in plain_messages(&flight).into_iter().enumerate() {
        if kind == 15 {
            *body.last_mut().unwrap() ^= 1;
        }
        let datagram = record(22, 1 + sequence as u64, &message(kind, seq, &body));
        pair.deliver(1, &datagram);
    }
    pair.settle();
    assert_eq!(pair.events[1], [Event::Failed(Error::BadSignature)]);
    assert_eq!(
        pair.sent[1].last().unwrap()[13..],
        [2, AlertDescription::DECRYPT_ERROR.0]
    );
}

#[test]
fn fingerprints_may_come_after_the_handshake() {
    for late in [0, 1] {
        let mut configs = default_configs();
        let fingerprints = std::mem::take(&mut configs[late].peer_fingerprints);
        let mut pair = Pair::new(configs, Network::default(), 7);
        pair.run(Duration::from_secs(10));
        assert_eq!(pair.peers[late].state(), State::Connecting);
        assert_eq!(pair.peers[1 - late].state(), State::Connected);
        assert_eq!(
            pair.peers[late].poll_timeout(),
            None,
            "nothing to wait for but the caller"
        );
        assert!(pair.peers[late].peer_certificate().is_some());
        let refused = pair.peers[late].export_keying_material(b"x", None, &mut [0; 4]);
        assert_eq!(refused, Err(Error::NotConnected));

        pair.write(1 - late, &[b"early"]);
        pair.run(Duration::from_millis(50));
        assert!(
            pair.received[late].is_empty(),
            "not before the peer is known"
        );

        let mut received = Vec::new();
        let now = pair.now;
        pair.peers[late].set_peer_fingerprints(now, fingerprints, &mut |data: BytesMut| {
            received.push(data.to_vec());
        });
        assert_eq!(received, [b"early"]);
        pair.settle();
        assert_eq!(pair.events[late], [Event::Connected]);
        pair.assert_works();
    }
}

#[test]
fn late_fingerprints_that_do_not_match_fail_the_connection() {
    for late in [0, 1] {
        let mut configs = default_configs();
        let mut fingerprints = std::mem::take(&mut configs[late].peer_fingerprints);
        fingerprints[0].value[0] ^= 0x80;
        let mut pair = Pair::new(configs, Network::default(), 8);
        pair.run(Duration::from_secs(1));
        let now = pair.now;
        pair.peers[late].set_peer_fingerprints(now, fingerprints, &mut |_| panic!("no data"));
        pair.run(Duration::from_secs(1));
        assert_eq!(
            pair.events[late],
            [Event::Failed(Error::FingerprintMismatch)]
        );
        let told = Error::AlertReceived(AlertDescription::BAD_CERTIFICATE);
        assert_eq!(
            pair.events[1 - late][1..],
            [Event::Failed(told)],
            "authenticated this time"
        );
    }
}

#[test]
fn fingerprints_may_come_during_the_handshake() {
    let mut configs = default_configs();
    let fingerprints = std::mem::take(&mut configs[1].peer_fingerprints);
    let mut pair = Pair::new(configs, Network::default(), 9);
    pair.step(pair.start + LIMIT);
    assert_eq!(pair.peers[1].state(), State::Connecting);
    let now = pair.now;
    pair.peers[1].set_peer_fingerprints(now, fingerprints, &mut |_| ());
    pair.connect(LIMIT);
    pair.assert_works();
    let datagram = sealed(&mut pair.peers[0], &[b"x"]);
    pair.deliver(1, &datagram);
}
