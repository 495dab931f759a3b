//! What two peers agree on.

use std::time::Duration;

use rtc_crypto::{KeyAlgorithm, NamedGroup};
use rtc_dtls::{CipherSuite, Error, Event, SrtpProfile, State, Version};

use crate::sim::{KEYS, Network, Pair, configs, default_configs};

const LIMIT: Duration = Duration::from_secs(2);

fn all_suites() -> impl Iterator<Item = CipherSuite> {
    CipherSuite::AEAD.into_iter().chain(CipherSuite::CBC)
}

fn is_rsa(suite: CipherSuite) -> bool {
    suite.name().contains("_RSA_")
}

#[test]
fn every_suite_works_with_every_certificate_that_can_serve_it() {
    let mut worked = 0;
    for suite in all_suites() {
        for server in KEYS {
            for client in KEYS {
                if is_rsa(suite) != (server == KeyAlgorithm::Rsa) {
                    continue;
                }
                let mut configs = configs(client, server);
                for config in &mut configs {
                    config.legacy_cbc = true;
                    config.cipher_suites = Some(vec![suite]);
                }
                let mut pair = Pair::new(configs, Network::default(), 1);
                let took = pair.connect(LIMIT);
                assert_eq!(
                    took,
                    Duration::from_millis(80),
                    "four flights: {suite} {server:?}"
                );
                assert_eq!(pair.peers[0].cipher_suite(), Some(suite));
                assert_eq!(pair.peers[0].version(), Some(Version::Dtls12));
                assert_eq!(pair.events, [[Event::Connected], [Event::Connected]]);
                pair.assert_works();
                worked += 1;
            }
        }
    }
    assert_eq!(worked, 5 * 4 + 5 * 3 * 4);
}

#[test]
fn a_server_never_chooses_a_suite_that_its_certificate_cannot_serve() {
    for key in KEYS {
        let mut pair = Pair::new(configs(KeyAlgorithm::EcdsaP256, key), Network::default(), 2);
        pair.connect(LIMIT);
        let suite = pair.peers[1].cipher_suite().unwrap();
        assert_eq!(is_rsa(suite), key == KeyAlgorithm::Rsa);
    }
}

#[test]
fn without_a_common_suite_both_sides_fail() {
    let [mut client, server] = default_configs();
    client.cipher_suites = Some(vec![CipherSuite::EcdheRsaAes128GcmSha256]);
    let mut pair = Pair::new([client, server], Network::default(), 3);
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.events[1], [Event::Failed(Error::NoCommonCipherSuite)]);
    let [Event::Failed(Error::AlertReceived(alert))] = pair.events[0][..] else {
        panic!("{:?}", pair.events)
    };
    assert_eq!(alert, rtc_dtls::AlertDescription::HANDSHAKE_FAILURE);
}

#[test]
fn cbc_is_neither_offered_nor_taken_unless_asked_for() {
    let cbc = Some(vec![CipherSuite::EcdheEcdsaAes128CbcSha]);
    let [client, mut server] = default_configs();
    server.cipher_suites.clone_from(&cbc);
    server.legacy_cbc = true;
    let mut pair = Pair::new([client, server], Network::default(), 4);
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.events[1], [Event::Failed(Error::NoCommonCipherSuite)]);
    let [mut client, server] = default_configs();
    client.cipher_suites = cbc;
    client.legacy_cbc = true;
    let mut pair = Pair::new([client, server], Network::default(), 4);
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.events[1], [Event::Failed(Error::NoCommonCipherSuite)]);
}

#[test]
fn every_group_works_and_the_server_orders() {
    let groups = [
        NamedGroup::X25519,
        NamedGroup::Secp256r1,
        NamedGroup::Secp384r1,
    ];
    for group in groups {
        let [client, mut server] = default_configs();
        server.groups = vec![group];
        let mut pair = Pair::new([client, server], Network::default(), 5);
        pair.connect(LIMIT);
        assert_eq!(pair.peers[0].group(), Some(group));
        pair.assert_works();
    }
    let [mut client, mut server] = default_configs();
    client.groups = vec![NamedGroup::X25519];
    server.groups = vec![NamedGroup::Secp384r1];
    let mut pair = Pair::new([client, server], Network::default(), 5);
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.events[1], [Event::Failed(Error::NoCommonGroup)]);
}

#[test]
fn the_server_picks_the_srtp_profile_by_its_own_order() {
    use SrtpProfile::{AeadAes128Gcm, AeadAes256Gcm, Aes128CmHmacSha1_32, Aes128CmHmacSha1_80};
    for profile in SrtpProfile::ALL {
        let [mut client, mut server] = default_configs();
        client.srtp_profiles = SrtpProfile::ALL.to_vec();
        server.srtp_profiles = vec![profile, AeadAes256Gcm, Aes128CmHmacSha1_80];
        let mut pair = Pair::new([client, server], Network::default(), 6);
        pair.connect(LIMIT);
        assert_eq!(pair.peers[0].srtp_profile(), Some(profile));
        pair.assert_works();
    }
    let [mut client, mut server] = default_configs();
    client.srtp_profiles = vec![Aes128CmHmacSha1_32, AeadAes128Gcm];
    server.srtp_profiles = vec![AeadAes256Gcm, AeadAes128Gcm, Aes128CmHmacSha1_32];
    let mut pair = Pair::new([client, server], Network::default(), 6);
    pair.connect(LIMIT);
    assert_eq!(pair.peers[1].srtp_profile(), Some(AeadAes128Gcm));
}

#[test]
fn without_a_common_srtp_profile_the_connection_carries_data() {
    for (ours, theirs) in [
        (
            vec![SrtpProfile::AeadAes128Gcm],
            vec![SrtpProfile::Aes128CmHmacSha1_80],
        ),
        (vec![], SrtpProfile::ALL.to_vec()),
        (SrtpProfile::ALL.to_vec(), vec![]),
    ] {
        let [mut client, mut server] = default_configs();
        client.srtp_profiles = ours;
        server.srtp_profiles = theirs;
        let mut pair = Pair::new([client, server], Network::default(), 7);
        pair.connect(LIMIT);
        assert_eq!(pair.peers[0].srtp_profile(), None);
        pair.assert_works();
    }
}

#[test]
fn cookies_are_exchanged_when_the_server_wants_it() {
    let [client, mut server] = default_configs();
    server.cookie_exchange = true;
    let mut pair = Pair::new([client, server], Network::default(), 8);
    let took = pair.connect(LIMIT);
    assert_eq!(took, Duration::from_millis(120), "six flights");
    pair.assert_works();
}

#[test]
fn a_lost_or_repeated_hello_verify_request_does_no_harm() {
    for seed in 0..20 {
        let [client, mut server] = default_configs();
        server.cookie_exchange = true;
        let network = Network {
            loss: 0.3,
            duplication: 0.3,
            ..Network::default()
        };
        let mut pair = Pair::new([client, server], network, seed);
        pair.connect(Duration::from_secs(60));
        pair.assert_works();
    }
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    use rtc_dtls::{Connection, Role};
    use rtc_shared::Rng;
    let now = std::time::Instant::now();
    let mut config = default_configs()[0].clone();
    config.cipher_suites = Some(vec![CipherSuite::EcdheRsaAes128GcmSha256]);
    let refused = Connection::new(config.clone(), Role::Server, now, Rng::from_seed([0; 32]));
    assert_eq!(refused.err(), Some(Error::NoCipherSuite));
    assert!(Connection::new(config, Role::Client, now, Rng::from_seed([0; 32])).is_ok());
}

#[test]
fn before_the_handshake_there_is_nothing_to_export_or_send() {
    let mut pair = Pair::new(default_configs(), Network::default(), 9);
    assert_eq!(pair.peers[0].state(), State::Connecting);
    assert_eq!(pair.peers[1].state(), State::New);
    for peer in &mut pair.peers {
        let refused = peer.export_keying_material(b"label", None, &mut [0; 4]);
        assert_eq!(refused, Err(Error::NotConnected));
        assert_eq!(
            peer.begin_record(&mut Vec::new()).err(),
            Some(Error::NotConnected)
        );
        assert_eq!(peer.key_log_line(), None);
        assert_eq!(peer.peer_certificate(), None);
    }
}

#[test]
fn a_connection_can_be_sent_to_another_thread() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<rtc_dtls::Connection>();
}

#[test]
fn an_idle_connection_is_small() {
    assert!(
        size_of::<rtc_dtls::Connection>() <= 768,
        "{}",
        size_of::<rtc_dtls::Connection>()
    );
}
