use rtc_shared::Rng;
use rtc_stun::{Class, Icmp, MessageBuilder, Method, TransactionId};
use rtc_turn::server::{AddressRange, PeerFilter, ServerConfig};
use rtc_turn::{Error, Event, Received};

use crate::sim::{PEER, REALM, SERVER, Sim, addr, client_config, ms, secs, tcp, udp};

#[test]
fn data_goes_by_indications_and_then_by_a_channel() {
    let mut sim = Sim::allocated(1);
    let (peer, relayed, now) = (addr(PEER), sim.relayed(0), sim.now);
    assert!(!sim.send(0, peer, b"too early"));
    sim.client().create_permission(now, peer.ip()).unwrap();
    assert!(
        sim.send(0, peer, b"with the request"),
        "no round trip is lost"
    );
    assert_eq!(sim.client().prefix_len(peer), Some(36));
    sim.run(secs(1));
    sim.peer_sends(peer, relayed, b"answer");
    sim.run(secs(1));
    let now = sim.now;
    sim.client().bind_channel(now, peer).unwrap();
    assert!(sim.send(0, peer, b"still an indication"));
    sim.run(secs(1));
    assert_eq!(sim.client().prefix_len(peer), Some(4));
    assert!(sim.send(0, peer, b"channel"));
    assert!(sim.send(0, peer, b""), "empty datagrams are datagrams");
    sim.peer_sends(peer, relayed, b"back");
    sim.peer_sends(
        addr("93.184.216.34:7001"),
        relayed,
        b"other port, no channel",
    );
    sim.run(secs(1));

    let sent: Vec<_> = sim
        .at_peers
        .iter()
        .map(|(from, to, data)| (*from, *to, &data[..]))
        .collect();
    let expected = [
        &b"with the request"[..],
        b"still an indication",
        b"channel",
        b"",
    ];
    assert_eq!(sent, expected.map(|data| (relayed, peer, data)));
    assert_eq!(
        sim.nodes[0].received,
        [
            (peer, relayed, b"answer".to_vec()),
            (peer, relayed, b"back".to_vec()),
            (
                addr("93.184.216.34:7001"),
                relayed,
                b"other port, no channel".to_vec()
            ),
        ]
    );
    assert!(sim.nodes[0].events.contains(&Event::ChannelBound {
        peer,
        number: 0x4000
    }));
    let metrics = sim.server.metrics();
    assert_eq!(
        (metrics.to_peers.packets, metrics.to_clients.packets),
        (4, 3)
    );
    assert_eq!(metrics.to_clients.bytes, 6 + 4 + 22);
}

#[test]
fn every_length_passes_over_udp_and_over_a_stream() {
    for (seed, path) in [(2, udp("198.51.100.1:5000")), (3, tcp("198.51.100.1:5000"))] {
        let mut sim = Sim::new(seed, ServerConfig::new(REALM));
        sim.add(client_config(), path);
        sim.run(secs(1));
        let (peer, relayed) = (addr(PEER), sim.relayed(0));
        for is_channel in [false, true] {
            let now = sim.now;
            match is_channel {
                false => sim.client().create_permission(now, peer.ip()).unwrap(),
                true => sim.client().bind_channel(now, peer).unwrap(),
            }
            sim.run(secs(1));
            for length in (0..70).chain([1200, 1500, 9000, 60_000]) {
                let payload = vec![length as u8; length];
                assert!(sim.send(0, peer, &payload));
                sim.run(ms(30));
                assert_eq!(sim.at_peers.pop(), Some((relayed, peer, payload.clone())));
                sim.peer_sends(peer, relayed, &payload);
                sim.run(ms(30));
                assert_eq!(sim.nodes[0].received.pop(), Some((peer, relayed, payload)));
            }
        }
    }
}

#[test]
fn two_clients_of_one_server_reach_each_other_through_their_relays() {
    let mut sim = Sim::allocated(4);
    sim.add(client_config(), tcp("198.51.100.2:5000"));
    sim.run(secs(1));
    let (left, right) = (sim.relayed(0), sim.relayed(1));
    let now = sim.now;
    sim.nodes[0].client.bind_channel(now, right).unwrap();
    sim.nodes[1]
        .client
        .create_permission(now, left.ip())
        .unwrap();
    sim.run(secs(1));
    assert!(sim.send(0, right, b"ping"));
    sim.run(secs(1));
    assert_eq!(sim.nodes[1].received, [(left, right, b"ping".to_vec())]);
    assert!(sim.send(1, left, b"pong"));
    sim.run(secs(1));
    assert_eq!(sim.nodes[0].received, [(right, left, b"pong".to_vec())]);

    // Nothing else of the host is reached, neither by a permission nor by a channel.
    assert!(sim.send(0, addr(SERVER), b"x"));
    sim.run(secs(1));
    assert_eq!(sim.at_peers, []);
    assert_eq!(sim.server.metrics().dropped.no_permission, 1);
    let now = sim.now;
    sim.client()
        .bind_channel(now, addr("85.10.0.1:22"))
        .unwrap();
    sim.run(secs(1));
    assert!(matches!(
        sim.nodes[0].events.last(),
        Some(Event::ChannelRefused {
            error: Error::Refused { code: 403, .. },
            ..
        })
    ));
}

#[test]
fn a_forbidden_peer_does_not_take_the_others_with_it() {
    let mut sim = Sim::allocated(5);
    let now = sim.now;
    let peers = [
        "93.184.216.1",
        "10.0.0.1",
        "93.184.216.2",
        "127.0.0.1",
        "93.184.216.3",
    ];
    for peer in peers {
        sim.client()
            .create_permission(now, peer.parse().unwrap())
            .unwrap();
    }
    sim.run(secs(1));
    for (peer, is_forbidden) in peers.into_iter().zip([false, true, false, true, false]) {
        let peer = peer.parse().unwrap();
        let has = |wanted: &dyn Fn(&Event) -> bool| sim.nodes[0].events.iter().any(wanted);
        assert_eq!(
            has(&|event| *event == Event::PermissionGranted(peer)),
            !is_forbidden
        );
        assert_eq!(
            has(&|event| matches!(
                event,
                Event::PermissionRefused { peer: found, error: Error::Refused { code: 403, .. } }
                    if *found == peer
            )),
            is_forbidden
        );
        let address = std::net::SocketAddr::new(peer, 9);
        assert_eq!(sim.client().encapsulate(address).is_some(), !is_forbidden);
    }
}

#[test]
fn permissions_of_one_moment_share_a_request() {
    let mut sim = Sim::allocated(6);
    let (now, sent) = (sim.now, sim.nodes[0].sent);
    for last in 1..=40 {
        let peer = std::net::Ipv4Addr::new(93, 184, 216, last);
        sim.client().create_permission(now, peer.into()).unwrap();
    }
    sim.run(secs(1));
    assert_eq!(sim.nodes[0].sent - sent, 3, "16 fit in one");
    let granted = |event: &&Event| matches!(event, Event::PermissionGranted(_));
    assert_eq!(sim.nodes[0].events.iter().filter(granted).count(), 40);
}

#[test]
fn limits_hold_on_both_sides() {
    let mut config = ServerConfig::new(REALM);
    config.max_permissions = 5;
    config.max_channels = 2;
    let mut sim = Sim::new(7, config);
    let mut client = client_config();
    client.max_permissions = 7;
    client.max_channels = 3;
    sim.add(client, udp("198.51.100.1:5000"));
    sim.run(secs(1));
    let now = sim.now;
    for last in 1..=7 {
        let peer = std::net::Ipv4Addr::new(93, 184, 216, last);
        sim.client().create_permission(now, peer.into()).unwrap();
    }
    let eighth = "93.184.216.8".parse().unwrap();
    assert_eq!(
        sim.client().create_permission(now, eighth),
        Err(Error::LimitReached)
    );
    sim.run(secs(1));
    let refused = |code: u16| {
        move |event: &&Event| {
            matches!(
                event,
                Event::PermissionRefused { error: Error::Refused { code: found, .. }, .. }
                | Event::ChannelRefused { error: Error::Refused { code: found, .. }, .. }
                    if *found == code
            )
        }
    };
    assert_eq!(sim.nodes[0].events.iter().filter(refused(508)).count(), 2);
    let now = sim.now;
    for port in 1..=3 {
        sim.client()
            .bind_channel(now, std::net::SocketAddr::from(([93, 184, 216, 1], port)))
            .unwrap();
    }
    let fourth = addr("93.184.216.1:4");
    assert_eq!(
        sim.client().bind_channel(now, fourth),
        Err(Error::LimitReached)
    );
    sim.run(secs(1));
    assert_eq!(sim.nodes[0].events.iter().filter(refused(508)).count(), 3);
}

#[test]
fn the_filter_decides_which_peers_are_reached() {
    let mut config = ServerConfig::new(REALM);
    config
        .peers
        .allow
        .push("10.1.0.0/16".parse::<AddressRange>().unwrap());
    config
        .peers
        .deny
        .push("93.184.216.0/24".parse::<AddressRange>().unwrap());
    let mut sim = Sim::new(8, config);
    sim.add(client_config(), udp("198.51.100.1:5000"));
    sim.run(secs(1));
    let now = sim.now;
    for peer in ["10.1.0.1", "10.2.0.1", "93.184.216.1"] {
        sim.client()
            .create_permission(now, peer.parse().unwrap())
            .unwrap();
    }
    sim.run(secs(1));
    let granted: Vec<_> = sim.nodes[0]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::PermissionGranted(peer) => Some(peer.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(granted, ["10.1.0.1"]);
    assert_eq!(
        sim.server.metrics().refused.forbidden,
        3,
        "the batch and both alone"
    );
}

#[test]
fn allowed_own_addresses_are_reached_at_any_port() {
    let mut config = ServerConfig::new(REALM);
    config.peers = PeerFilter::allow_all();
    let mut sim = Sim::new(9, config);
    sim.add(client_config(), udp("198.51.100.1:5000"));
    sim.run(secs(1));
    let (now, peer) = (sim.now, addr("85.10.0.1:8080"));
    sim.client().bind_channel(now, peer).unwrap();
    sim.run(secs(1));
    assert!(sim.send(0, peer, b"x"));
    sim.run(secs(1));
    assert_eq!(sim.at_peers.len(), 1);
}

#[test]
fn icmp_errors_of_permitted_peers_are_told() {
    let mut sim = Sim::allocated(10);
    let (now, peer) = (sim.now, addr(PEER));
    let relay = *sim.relays.keys().next().unwrap();
    let icmp = Icmp {
        icmp_type: 3,
        icmp_code: 3,
        error_data: 0,
    };
    sim.server.handle_peer_error(now, relay, peer, icmp);
    sim.client().create_permission(now, peer.ip()).unwrap();
    sim.run(secs(1));
    assert!(
        !sim.nodes[0]
            .events
            .iter()
            .any(|event| matches!(event, Event::PeerUnreachable { .. }))
    );
    sim.server.handle_peer_error(now, relay, peer, icmp);
    sim.run(secs(1));
    assert_eq!(
        sim.nodes[0].events.last(),
        Some(&Event::PeerUnreachable { peer, icmp })
    );
}

#[test]
fn bandwidth_is_limited_each_way() {
    let mut config = ServerConfig::new(REALM);
    config.bandwidth = std::num::NonZeroU64::new(100_000);
    let mut sim = Sim::new(11, config);
    sim.add(client_config(), udp("198.51.100.1:5000"));
    sim.run(secs(1));
    let (now, peer, relayed) = (sim.now, addr(PEER), sim.relayed(0));
    sim.client().create_permission(now, peer.ip()).unwrap();
    sim.run(secs(1));
    for _ in 0..5000 {
        assert!(sim.send(0, peer, &[0; 1000]));
        sim.peer_sends(peer, relayed, &[0; 1000]);
        sim.run(ms(1));
    }
    sim.run(secs(1));
    for packets in [sim.at_peers.len(), sim.nodes[0].received.len()] {
        assert!((595..=605).contains(&packets), "{packets}");
    }
    assert!(sim.server.metrics().dropped.bandwidth > 8000);
}

#[test]
fn what_comes_from_elsewhere_is_not_heard() {
    let mut sim = Sim::allocated(12);
    let (now, peer) = (sim.now, addr(PEER));
    sim.client().bind_channel(now, peer).unwrap();
    sim.run(secs(1));
    let channel_data = b"\x40\x00\x00\x01a";
    let client = sim.client();
    let from_server = client.handle_datagram(now, addr(SERVER), channel_data);
    assert!(matches!(from_server, Received::Data { payload, .. } if payload == (4..5)));
    for other in ["85.10.0.1:3479", "85.10.0.2:3478"] {
        assert_eq!(
            client.handle_datagram(now, addr(other), channel_data),
            Received::NotMine
        );
    }
    // Data of a peer without permission is dropped, whatever the server thinks.
    let id = TransactionId::random(&mut Rng::from_seed([1; 32]));
    let stray = MessageBuilder::new(Class::Indication, Method::DATA, id)
        .xor_peer_address(addr("1.1.1.1:1"))
        .data(b"stray");
    assert_eq!(
        client.handle_datagram(now, addr(SERVER), &stray.finish()),
        Received::Consumed
    );
    assert_eq!(client.stats().unpermitted, 1);
    // Checks and Binding responses are for others on the socket.
    let check = MessageBuilder::new(Class::Request, Method::BINDING, id).finish();
    assert_eq!(
        client.handle_datagram(now, addr(SERVER), &check),
        Received::NotMine
    );
    client.remove_permission(peer.ip());
    assert_eq!(
        client.handle_datagram(now, addr(SERVER), channel_data),
        Received::Consumed
    );
}
