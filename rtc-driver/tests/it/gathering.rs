//! Candidates of STUN and TURN servers.

use std::time::Duration;

use rtc::ice::CandidateType;
use rtc::peer_connection::configuration::{
    RTCConfiguration, RTCConfigurationBuilder, RTCIceServer, RTCIceTransportPolicy,
};
use rtc::peer_connection::event::{
    RTCPeerConnectionEvent, RTCPeerConnectionIceErrorEvent, RTCPeerConnectionIceEvent,
};
use rtc::peer_connection::state::{RTCIceGatheringState, RTCPeerConnectionState};
use rtc::shared::FiveTuple;
use rtc_driver::test::{Dependence, Host, Link, Nat, NatModel, World};
use rtc_driver::{DataChannel, Endpoint, PeerConnection, rtc};
use rtc_turn::server::ServerEvent;

use crate::relay::RelayServer;
use crate::scene::{open, signal};

const SECOND: Duration = Duration::from_secs(1);

/// Two hosts, each behind a NAT, and a server that both know.
struct Internet {
    world: World,
    a: Host,
    b: Host,
    nats: [Nat; 2],
    server: Host,
    relay: RelayServer,
}

fn cone() -> NatModel {
    NatModel::new(
        Dependence::EndpointIndependent,
        Dependence::AddressAndPortDependent,
    )
}

fn symmetric() -> NatModel {
    NatModel::new(
        Dependence::AddressAndPortDependent,
        Dependence::AddressAndPortDependent,
    )
}

impl Internet {
    fn new(seed: u64, models: [NatModel; 2]) -> Self {
        let world = World::new(seed);
        world.set_default_link(Link::new(Duration::from_millis(20)));
        let outside = ["93.1.0.1", "93.2.0.1"];
        let [nat_a, nat_b] = [0, 1]
            .map(|index: usize| Nat::new(seed, models[index], [outside[index].parse().unwrap()]));
        let behind_a = world.gateway([outside[0]], nat_a.clone());
        let behind_b = world.gateway([outside[1]], nat_b.clone());
        let a = world.host_behind(behind_a, ["192.168.1.2"]);
        let b = world.host_behind(behind_b, ["10.0.0.2"]);
        let server = world.host(["85.10.0.1"]);
        world.set_name("turn.example.org", ["85.10.0.1"]);
        let relay = RelayServer::start(&server);
        Self {
            world,
            a,
            b,
            nats: [nat_a, nat_b],
            server,
            relay,
        }
    }
}

fn stun() -> RTCIceServer {
    RTCIceServer {
        urls: vec!["stun:turn.example.org".to_owned()],
        ..RTCIceServer::default()
    }
}

fn turn() -> RTCIceServer {
    turn_as("user", "pass")
}

fn turn_as(username: &str, credential: &str) -> RTCIceServer {
    RTCIceServer {
        urls: vec!["turn:turn.example.org".to_owned()],
        username: username.to_owned(),
        credential: credential.to_owned(),
    }
}

fn configuration(host: &Host, servers: Vec<RTCIceServer>) -> RTCConfigurationBuilder {
    host.configuration().with_ice_servers(servers)
}

fn relayed(host: &Host, server: RTCIceServer) -> RTCConfiguration {
    configuration(host, vec![server])
        .with_ice_transport_policy(RTCIceTransportPolicy::Relay)
        .build()
}

fn connection(host: &Host, configuration: RTCConfiguration) -> PeerConnection {
    let builder = host.builder().with_configuration(configuration);
    builder.build().unwrap()
}

/// What gathering has told until it was complete.
async fn gathered(
    connection: &PeerConnection,
) -> (
    Vec<RTCPeerConnectionIceEvent>,
    Vec<RTCPeerConnectionIceErrorEvent>,
) {
    let (mut candidates, mut errors) = (Vec::new(), Vec::new());
    let mut events = connection.events();
    loop {
        match events.next().await.unwrap() {
            RTCPeerConnectionEvent::OnIceCandidateEvent(event) => candidates.push(event),
            RTCPeerConnectionEvent::OnIceCandidateErrorEvent(event) => errors.push(event),
            RTCPeerConnectionEvent::OnIceGatheringStateChangeEvent(
                RTCIceGatheringState::Complete,
            ) => return (candidates, errors),
            _ => {}
        }
    }
}

fn types(candidates: &[RTCPeerConnectionIceEvent]) -> Vec<CandidateType> {
    candidates.iter().map(|it| it.candidate.typ).collect()
}

fn path(connection: &PeerConnection) -> FiveTuple {
    connection.with_core(|core| core.selected_path()).unwrap()
}

async fn echo(here: &DataChannel, there: &DataChannel, text: &str) {
    here.send(text).await.unwrap();
    let message = there.recv().await.unwrap().unwrap();
    assert_eq!(message.as_str(), Some(text));
    there.send(message).await.unwrap();
    assert_eq!(here.recv().await.unwrap().unwrap().as_str(), Some(text));
}

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_stun_server_tells_the_address_outside() {
    let net = Internet::new(1, [cone(), cone()]);
    net.world.run(async {
        let alice = connection(&net.a, configuration(&net.a, vec![stun()]).build());
        let bob = connection(&net.b, configuration(&net.b, vec![stun()]).build());
        alice.create_data_channel("x", None).unwrap();
        alice.set_local_description(None).unwrap();
        let (candidates, errors) = gathered(&alice).await;
        assert_eq!(errors, []);
        let [host, srflx] = candidates.as_slice() else {
            panic!("{candidates:?}")
        };
        assert_eq!(host.candidate.typ, CandidateType::Host);
        assert_eq!(host.url, "");
        let candidate = &srflx.candidate;
        assert_eq!(srflx.url, "stun:turn.example.org");
        assert_eq!(candidate.url.as_deref(), Some("stun:turn.example.org"));
        assert_eq!(candidate.typ, CandidateType::ServerReflexive);
        assert_eq!(candidate.address, "93.1.0.1");
        assert_eq!(candidate.related_address, "192.168.1.2");
        assert_eq!(candidate.related_port, host.candidate.port);
        assert!(candidate.sdp_mid.is_some() && candidate.username_fragment.is_some());

        bob.set_remote_description(alice.local_description().unwrap())
            .unwrap();
        bob.set_local_description(None).unwrap();
        let answer = bob.gathering_complete().await.unwrap();
        assert!(answer.sdp.contains("typ srflx raddr 10.0.0.2"));
        alice.set_remote_description(answer).unwrap();
        alice.connected().await.unwrap();
        bob.connected().await.unwrap();
        assert_eq!(path(&alice).peer_addr.ip(), ip("93.2.0.1"));
    });
}

#[test]
fn relays_carry_what_nothing_else_can() {
    let net = Internet::new(2, [symmetric(), symmetric()]);
    net.world.run(async {
        let alice = connection(&net.a, configuration(&net.a, vec![turn()]).build());
        let bob = connection(&net.b, configuration(&net.b, vec![turn()]).build());
        let (here, there) = open(&alice, &bob).await;
        echo(&here, &there, "through a relay").await;
        let relays = |path: FiveTuple| {
            [path.local_addr, path.peer_addr]
                .into_iter()
                .filter(|it| it.ip() == ip("85.10.0.1"))
                .count()
        };
        assert!(relays(path(&alice)) > 0 && relays(path(&bob)) > 0);
        // Long enough for every lifetime: allocation, permission, channel, nonce.
        for round in 0..12 {
            net.world.sleep(300 * SECOND).await;
            echo(&here, &there, &format!("round {round}")).await;
        }
        assert_eq!(net.relay.allocations(), 2);
        alice.close().await.unwrap();
        net.world.sleep(SECOND).await;
        assert_eq!(bob.connection_state(), RTCPeerConnectionState::Closed);
        assert_eq!(net.relay.allocations(), 0, "allocations are given back");
    });
}

#[test]
fn the_relay_policy_hides_everything_else() {
    let net = Internet::new(3, [cone(), cone()]);
    net.world.run(async {
        let servers = || vec![stun(), turn()];
        let alice = connection(
            &net.a,
            configuration(&net.a, servers())
                .with_ice_transport_policy(RTCIceTransportPolicy::Relay)
                .build(),
        );
        let bob = connection(&net.b, configuration(&net.b, servers()).build());
        alice.create_data_channel("x", None).unwrap();
        alice.set_local_description(None).unwrap();
        let (candidates, errors) = gathered(&alice).await;
        assert_eq!(errors, []);
        assert_eq!(types(&candidates), [CandidateType::Relayed]);
        let candidate = &candidates[0].candidate;
        assert_eq!(candidate.address, "85.10.0.1");
        assert_eq!(candidate.related_address, "");
        assert_eq!(candidate.relay_protocol.map(|it| it.as_str()), Some("udp"));
        let offer = alice.local_description().unwrap();
        assert!(
            offer.sdp.contains("typ relay raddr 0.0.0.0 rport 0"),
            "{}",
            offer.sdp
        );
        assert!(!offer.sdp.contains("192.168") && !offer.sdp.contains("93.1."));
        bob.set_remote_description(offer).unwrap();
        bob.set_local_description(None).unwrap();
        alice
            .set_remote_description(bob.gathering_complete().await.unwrap())
            .unwrap();
        alice.connected().await.unwrap();
        bob.connected().await.unwrap();
        net.world.sleep(5 * SECOND).await;
        // Bob sees the relay and nothing else.
        assert_eq!(path(&bob).peer_addr.ip(), ip("85.10.0.1"));
    });
}

#[test]
fn a_relayed_path_uses_a_channel() {
    let net = Internet::new(4, [cone(), cone()]);
    net.world.run(async {
        let alice = connection(&net.a, relayed(&net.a, turn()));
        let bob = connection(&net.b, configuration(&net.b, vec![stun()]).build());
        let (here, there) = open(&alice, &bob).await;
        net.world.sleep(10 * SECOND).await;
        let before = net.a.traffic();
        for _ in 0..100 {
            echo(&here, &there, &"x".repeat(1000)).await;
        }
        let after = net.a.traffic();
        let (datagrams, bytes) = (
            after.sent - before.sent,
            after.sent_bytes - before.sent_bytes,
        );
        // Payload, SCTP and DTLS around it, the header of the channel, and acknowledgements.
        assert!(
            bytes < 100 * 1100 + datagrams * 60,
            "{bytes} bytes in {datagrams}"
        );
    });
}

#[test]
fn failures_of_servers_are_told_with_code_and_reason() {
    let net = Internet::new(5, [cone(), cone()]);
    net.world.host(["85.10.0.2"]);
    net.world.run(async {
        let server = |url: &str| RTCIceServer {
            urls: vec![url.to_owned()],
            username: "user".to_owned(),
            credential: "wrong".to_owned(),
        };
        let servers = vec![
            server("stun:85.10.0.2"),
            server("turn:85.10.0.1"),
            server("stun:nowhere.example.org"),
            server("turns:85.10.0.1?transport=udp"),
            server("stun:[2001:db8::1]"),
        ];
        let alice = connection(&net.a, configuration(&net.a, servers).build());
        alice.create_data_channel("x", None).unwrap();
        let start = net.world.elapsed();
        alice.set_local_description(None).unwrap();
        let (candidates, mut errors) = gathered(&alice).await;
        assert!(net.world.elapsed() - start < 20 * SECOND);
        assert_eq!(types(&candidates), [CandidateType::Host]);
        errors.sort_by(|a, b| a.url.cmp(&b.url));
        let told: Vec<_> = errors
            .iter()
            .map(|it| (&*it.url, it.error_code, &*it.address))
            .collect();
        assert_eq!(
            told,
            [
                ("stun:85.10.0.2", 701, "192.168.1.2"),
                ("stun:[2001:db8::1]", 701, ""),
                ("stun:nowhere.example.org", 701, "192.168.1.2"),
                ("turn:85.10.0.1", 401, "192.168.1.2"),
                ("turns:85.10.0.1?transport=udp", 701, "192.168.1.2"),
            ]
        );
        assert!(errors.iter().all(|it| !it.error_text.is_empty()));
        assert_eq!(errors[0].port, candidates[0].candidate.port);
    });
}

#[test]
fn other_credentials_at_a_restart_take_another_port_and_give_the_old_allocation_back() {
    let net = Internet::new(6, [cone(), cone()]);
    net.world.run(async {
        let alice = connection(&net.a, relayed(&net.a, turn()));
        let bob = connection(&net.b, configuration(&net.b, vec![stun()]).build());
        let (here, there) = open(&alice, &bob).await;
        let before = path(&alice);
        assert_eq!((net.relay.allocations(), net.a.sockets().len()), (1, 1));

        alice
            .with_core(|core| core.set_configuration(relayed(&net.a, turn_as("other", "word"))))
            .unwrap();
        alice.restart_ice().unwrap();
        alice.set_local_description(None).unwrap();
        let mut steps = 0;
        while alice.ice_gathering_state() != RTCIceGatheringState::Complete {
            // The old path works meanwhile.
            echo(&here, &there, "still here").await;
            assert_eq!(path(&alice), before);
            steps += 1;
            assert!(steps < 1000);
        }
        let offer = alice.local_description().unwrap();
        assert_eq!(offer.sdp.matches("typ relay").count(), 1, "{}", offer.sdp);
        assert!(
            !offer
                .sdp
                .contains(&format!(" {} typ relay", before.local_addr.port()))
        );
        bob.set_remote_description(offer).unwrap();
        bob.set_local_description(None).unwrap();
        alice
            .set_remote_description(bob.gathering_complete().await.unwrap())
            .unwrap();
        net.world.sleep(3 * SECOND).await;
        assert_ne!(path(&alice), before);
        echo(&here, &there, "by the new one").await;
        net.world.sleep(60 * SECOND).await;
        assert_eq!(net.relay.allocations(), 1);
        let ended: Vec<_> = net
            .relay
            .events()
            .into_iter()
            .filter_map(|event| match event {
                ServerEvent::Ended { username, .. } => Some(username),
                _ => None,
            })
            .collect();
        assert_eq!(ended, ["user"]);
        echo(&here, &there, "and later").await;
        alice.close().await.unwrap();
        net.world.sleep(SECOND).await;
        assert_eq!(net.relay.allocations(), 0);
    });
}

#[test]
fn a_restart_without_news_keeps_the_allocation() {
    let net = Internet::new(7, [cone(), cone()]);
    net.world.run(async {
        let alice = connection(&net.a, relayed(&net.a, turn()));
        let bob = connection(&net.b, configuration(&net.b, vec![stun()]).build());
        let (here, there) = open(&alice, &bob).await;
        let before = path(&alice);
        for _ in 0..3 {
            alice.restart_ice().unwrap();
            signal(&alice, &bob).await;
            net.world.sleep(15 * SECOND).await;
            assert_eq!(path(&alice).local_addr, before.local_addr);
            echo(&here, &there, "again").await;
        }
        let allocated = net.relay.events();
        let allocated = allocated
            .iter()
            .filter(|it| matches!(it, ServerEvent::Allocated { .. }));
        assert_eq!(allocated.count(), 1);
    });
}

#[test]
fn an_allocation_that_the_server_lost_is_made_anew() {
    let net = Internet::new(8, [cone(), cone()]);
    net.world.run(async {
        let alice = connection(&net.a, relayed(&net.a, turn()));
        let bob = connection(&net.b, configuration(&net.b, vec![stun()]).build());
        let (here, there) = open(&alice, &bob).await;
        echo(&here, &there, "before").await;
        // The server forgets everything.
        net.relay.stop();
        net.world.sleep(Duration::from_millis(100)).await;
        let relay = RelayServer::start(&net.server);
        net.world.sleep(600 * SECOND).await;
        assert_eq!(alice.connection_state(), RTCPeerConnectionState::Failed);
        assert_eq!((relay.allocations(), net.a.sockets().len()), (1, 1));
        alice.restart_ice().unwrap();
        signal(&alice, &bob).await;
        alice.connected().await.unwrap();
        net.world.sleep(10 * SECOND).await;
        assert_eq!(path(&bob).peer_addr.ip(), ip("85.10.0.1"));
    });
}

#[test]
fn a_pool_is_filled_before_it_is_needed() {
    let net = Internet::new(9, [cone(), cone()]);
    net.world.run(async {
        let pooled = configuration(&net.a, vec![stun(), turn()]).with_ice_candidate_pool_size(1);
        let alice = connection(&net.a, pooled.build());
        alice.create_data_channel("x", None).unwrap();
        net.world.sleep(2 * SECOND).await;
        assert_eq!(net.relay.allocations(), 1);
        assert_eq!(alice.ice_gathering_state(), RTCIceGatheringState::New);
        alice.set_local_description(None).unwrap();
        assert_eq!(alice.ice_gathering_state(), RTCIceGatheringState::Complete);
        let offer = alice.local_description().unwrap();
        assert!(offer.sdp.contains("typ srflx") && offer.sdp.contains("typ relay"));
        let (candidates, _) = gathered(&alice).await;
        assert_eq!(candidates.len(), 3);
    });
}

#[test]
fn a_new_interface_asks_the_servers_too() {
    let net = Internet::new(10, [cone(), cone()]);
    net.world.run(async {
        let alice = connection(&net.a, configuration(&net.a, vec![stun(), turn()]).build());
        alice.create_data_channel("x", None).unwrap();
        alice.set_local_description(None).unwrap();
        gathered(&alice).await;
        net.a.add_interface("wlan0", "192.168.1.3");
        net.world.sleep(2 * SECOND).await;
        let sdp = alice.local_description().unwrap().sdp;
        assert_eq!(sdp.matches("typ srflx").count(), 2, "{sdp}");
        assert_eq!(sdp.matches("typ relay").count(), 2, "{sdp}");
        net.a.remove_interface("192.168.1.2");
        net.world.sleep(2 * SECOND).await;
        let sdp = alice.local_description().unwrap().sdp;
        assert!(!sdp.contains("192.168.1.2"), "{sdp}");
        assert_eq!(sdp.matches("typ relay").count(), 1, "{sdp}");
    });
}

#[test]
fn a_path_that_heals_is_used_again_without_a_restart() {
    let net = Internet::new(11, [cone(), cone()]);
    net.world.run(async {
        let alice = connection(&net.a, configuration(&net.a, vec![stun()]).build());
        let bob = connection(&net.b, configuration(&net.b, vec![stun()]).build());
        let (here, there) = open(&alice, &bob).await;
        echo(&here, &there, "before").await;
        for nat in &net.nats {
            nat.change(|model| model.is_blocked = true);
        }
        net.world.sleep(10 * SECOND).await;
        assert_eq!(
            alice.connection_state(),
            RTCPeerConnectionState::Disconnected
        );
        for nat in &net.nats {
            nat.change(|model| model.is_blocked = false);
        }
        net.world.sleep(5 * SECOND).await;
        assert_eq!(alice.connection_state(), RTCPeerConnectionState::Connected);
        echo(&here, &there, "after").await;
    });
}

#[test]
fn a_nat_that_forgets_its_ports_costs_no_connection() {
    let net = Internet::new(12, [cone(), cone()]);
    net.nats[1].change(|model| model.filtering = Dependence::AddressDependent);
    net.world.run(async {
        let alice = connection(&net.a, configuration(&net.a, vec![stun()]).build());
        let bob = connection(&net.b, configuration(&net.b, vec![stun()]).build());
        let (here, there) = open(&alice, &bob).await;
        echo(&here, &there, "before").await;
        net.nats[0].rebind();
        net.world.sleep(20 * SECOND).await;
        assert_eq!(alice.connection_state(), RTCPeerConnectionState::Connected);
        assert_eq!(bob.connection_state(), RTCPeerConnectionState::Connected);
        echo(&here, &there, "after").await;
    });
}

#[test]
fn many_connections_behind_one_socket_have_relays_of_their_own() {
    let net = Internet::new(13, [cone(), cone()]);
    net.world.run(async {
        let endpoint = Endpoint::builder(net.a.runtime()).build().unwrap();
        let mut pairs = Vec::new();
        for _ in 0..3 {
            let alice = endpoint.peer_connection(relayed(&net.a, turn())).unwrap();
            let bob = connection(&net.b, configuration(&net.b, vec![stun()]).build());
            let (here, there) = open(&alice, &bob).await;
            pairs.push((alice, bob, here, there));
        }
        assert_eq!(net.relay.allocations(), 3);
        assert_eq!(net.a.sockets().len(), 4);
        for (_, bob, here, there) in &pairs {
            echo(here, there, "hello").await;
            assert_eq!(path(bob).peer_addr.ip(), ip("85.10.0.1"));
        }
        for (alice, ..) in &pairs {
            alice.close().await.unwrap();
        }
        net.world.sleep(SECOND).await;
        assert_eq!(net.relay.allocations(), 0);
        assert_eq!(net.a.sockets().len(), 1);
        endpoint.close().await.unwrap();
    });
}
