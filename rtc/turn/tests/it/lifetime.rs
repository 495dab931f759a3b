use rtc_crypto::ring::PROVIDER;
use rtc_turn::server::{EndReason, ServerConfig, ServerEvent, TimeLimitedUsers};
use rtc_turn::{Client, ClientConfig, ClientState, Error, Event};

use crate::sim::{PEER, REALM, Sim, addr, client_config, ms, secs, tcp, udp};

#[test]
fn an_allocation_lives_for_hours_with_its_permissions_and_channels() {
    for (seed, path) in [(1, udp("198.51.100.1:5000")), (2, tcp("198.51.100.1:5000"))] {
        let mut config = ServerConfig::new(REALM);
        config.nonce_lifetime = secs(700);
        let mut sim = Sim::new(seed, config);
        sim.loss = 0.1;
        sim.add(client_config(), path);
        assert!(sim.run_while(secs(60), |sim| sim.nodes[0].client.state()
            == ClientState::Allocated));
        let (now, peer, relayed) = (sim.now, addr(PEER), sim.relayed(0));
        let other = addr("93.184.216.99:1");
        sim.client().bind_channel(now, peer).unwrap();
        sim.client().create_permission(now, other.ip()).unwrap();
        sim.run(secs(60));
        sim.loss = 0.0;
        for minute in 0..300 {
            sim.run(secs(60));
            sim.loss = 0.0;
            assert!(sim.send(0, peer, b"channel") && sim.send(0, other, b"indication"));
            sim.peer_sends(peer, relayed, b"a");
            sim.peer_sends(other, relayed, b"b");
            sim.run(ms(50));
            assert_eq!(sim.at_peers.drain(..).count(), 2, "minute {minute}");
            assert_eq!(
                sim.nodes[0].received.drain(..).count(),
                2,
                "minute {minute}"
            );
            assert_eq!(sim.client().prefix_len(peer), Some(4), "minute {minute}");
            sim.loss = 0.2;
        }
        assert_eq!(sim.nodes[0].events.len(), 4, "{:?}", sim.nodes[0].events);
        assert!(sim.server.metrics().refused.stale_nonce > 10);
    }
}

#[test]
fn little_is_sent_to_keep_things_alive() {
    let mut sim = Sim::allocated(3);
    let now = sim.now;
    for last in 1..=10 {
        let peer = std::net::Ipv4Addr::new(93, 184, 216, last);
        sim.client().create_permission(now, peer.into()).unwrap();
        sim.run(secs(3));
    }
    let sent = sim.nodes[0].sent;
    sim.run(secs(3600));
    // Every four minutes one request for all ten permissions, every nine one refresh, some nonces.
    // A keepalive goes in each 20 s without anything else.
    let requests = 15 + 7 + 3;
    let sent = sim.nodes[0].sent - sent;
    assert!((180 - requests..=180 + requests).contains(&sent), "{sent}");
}

#[test]
fn what_is_not_kept_alive_runs_out_on_the_server() {
    let mut sim = Sim::allocated(4);
    let (now, peer, relayed) = (sim.now, addr(PEER), sim.relayed(0));
    sim.client().bind_channel(now, peer).unwrap();
    sim.run(secs(1));
    sim.client().release_channel(peer);
    sim.run(secs(590));
    sim.peer_sends(peer, relayed, b"by channel");
    sim.run(secs(20));
    sim.peer_sends(peer, relayed, b"by indication");
    sim.run(secs(1));
    assert_eq!(
        sim.nodes[0].received.len(),
        2,
        "the permission is still wanted"
    );
    assert_eq!(sim.client().prefix_len(peer), Some(36));

    sim.client().remove_permission(peer.ip());
    sim.run(secs(301));
    let before = sim.server.metrics().dropped.no_permission;
    sim.peer_sends(peer, relayed, b"too late");
    sim.run(secs(1));
    assert_eq!(sim.server.metrics().dropped.no_permission, before + 1);
    assert!(!sim.send(0, peer, b"too late"));
}

#[test]
fn an_allocation_of_a_client_that_is_gone_runs_out() {
    let mut sim = Sim::allocated(5);
    sim.nodes.clear();
    sim.run(secs(598));
    assert_eq!(sim.server.allocations(), 1);
    sim.run(secs(3));
    assert_eq!(sim.server.allocations(), 0);
    assert!(sim.relays.is_empty());
    assert_eq!(sim.server.poll_timeout(), None);
    assert!(matches!(
        sim.server_events.last(),
        Some(ServerEvent::Ended {
            reason: EndReason::Expired,
            ..
        })
    ));
    assert_eq!(sim.server.metrics().allocations_expired, 1);
}

#[test]
fn a_client_whose_server_dies_says_so_when_the_allocation_ends() {
    let mut sim = Sim::allocated(6);
    let died = sim.now;
    sim.server_is_dead = true;
    let failed = |sim: &Sim| matches!(sim.nodes[0].events.last(), Some(Event::Failed(_)));
    assert!(sim.run_while(secs(700), failed));
    assert_eq!(
        sim.nodes[0].events.last(),
        Some(&Event::Failed(Error::Expired))
    );
    assert!(sim.now - died > secs(590) && sim.now - died < secs(601));
}

#[test]
fn an_allocation_that_the_server_lost_fails_at_the_refresh() {
    let mut sim = Sim::allocated(7);
    let now = sim.now;
    sim.server.remove_user(now, "user");
    sim.run(ms(10));
    assert_eq!(sim.server.allocations(), 0);
    sim.run(secs(560));
    assert!(matches!(
        sim.nodes[0].events.last(),
        Some(Event::Failed(Error::Refused { code: 437, .. }))
    ));
}

#[test]
fn short_and_absurd_lifetimes_are_kept_up() {
    for lifetime in [0, 1, 3, 90, 130, 1 << 31] {
        let mut config = ServerConfig::new(REALM);
        config.default_lifetime = secs(lifetime);
        config.max_lifetime = secs(lifetime);
        let mut sim = Sim::new(lifetime, config);
        let mut client = client_config();
        client.lifetime = Some(secs(lifetime));
        sim.add(client, udp("198.51.100.1:5000"));
        sim.run(secs(1));
        // One second is less than any network can keep up with, but it must not spin.
        sim.run(secs(600));
        if lifetime >= 3 {
            assert_eq!(
                sim.client().state(),
                ClientState::Allocated,
                "lifetime {lifetime}"
            );
        }
        assert!(
            sim.nodes[0].sent < 1300,
            "lifetime {lifetime}: {}",
            sim.nodes[0].sent
        );
    }
}

#[test]
fn time_limited_credentials_make_allocations_that_outlive_them() {
    let unix = 1_800_000_000;
    for keeps in [true, false] {
        let mut sim = Sim::new(8, ServerConfig::new(REALM));
        let mut users = TimeLimitedUsers::new(&PROVIDER, b"shared secret").unwrap();
        users.keep_allocations = keeps;
        let credentials = users.issue("alice", secs(unix + 60));
        sim.server.set_authenticator(Box::new(users));
        sim.add(
            ClientConfig::with_credentials(credentials.clone()),
            udp("198.51.100.1:5000"),
        );
        sim.run(secs(61));
        sim.add(
            ClientConfig::with_credentials(credentials),
            udp("198.51.100.1:5001"),
        );
        sim.run(secs(1800));
        let state = if keeps {
            ClientState::Allocated
        } else {
            ClientState::Failed
        };
        assert_eq!(sim.nodes[0].client.state(), state);
        assert_eq!(sim.nodes[1].client.state(), ClientState::Failed);
    }
}

#[test]
fn a_restarted_server_knows_neither_nonce_nor_allocation() {
    let mut sim = Sim::allocated(9);
    sim.server = crate::sim::server_with(ServerConfig::new(REALM), sim.now + secs(1));
    sim.relays.clear();
    let now = sim.now;
    sim.client()
        .create_permission(now, addr(PEER).ip())
        .unwrap();
    sim.run(secs(1));
    assert!(matches!(
        sim.nodes[0].events.last(),
        Some(Event::Failed(Error::Refused { code: 437, .. }))
    ));
}

#[test]
fn a_late_driver_is_forgiven() {
    let mut sim = Sim::allocated(10);
    let client: &mut Client = &mut sim.nodes[0].client;
    let late = sim.now + secs(3600);
    client.handle_timeout(late);
    assert_eq!(client.poll_event(), Some(Event::Failed(Error::Expired)));
    assert_eq!(client.poll_timeout(), None);
    client.handle_timeout(sim.now);
    assert_eq!(client.poll_event(), None);
}
