//! Many connections behind one socket: the state machine of an endpoint.

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use rtc::crypto::{HmacAlgorithm, default_provider};
use rtc::endpoint::{Peer, RTCEndpoint};
use rtc::peer_connection::RTCEvent;
use rtc::peer_connection::configuration::SettingEngine;
use rtc::peer_connection::state::{RTCIceConnectionState, RTCPeerConnectionState};
use rtc::sansio::Protocol;
use rtc::shared::TransportProtocol;
use rtc::stun::{Class, MessageBuilder, Method, TransactionId};

use crate::seeds::{for_each_seed, rng_of};
use world::{World, credentials, setting_with};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn two_hundred_peers_talk_over_a_lossy_network() {
    let mut world = World::new(1);
    world.loss = 0.05;
    for _ in 0..200 {
        let client = world.client();
        world.join(client);
    }
    world.connect();
    for round in 0..5 {
        world.echo(&format!("message {round}"), LONG);
    }
    for index in 0..200 {
        let id = world.clients[index].id.unwrap();
        assert_eq!(world.echoed[&id].len(), 5);
        assert!(
            world.echoed[&id]
                .iter()
                .all(|it| it.ends_with(&format!("of {index}")))
        );
    }
    assert_eq!(world.endpoint.known_ufrags(), 200);
    assert_eq!(world.endpoint.bound_paths(), 200);
}

#[test]
fn ice_restarts_of_either_side_keep_messages_flowing() {
    for_each_seed(8, |seed| {
        let mut world = World::connected(seed, 12);
        world.loss = 0.05;
        for round in 0..3 {
            for client in (0..12).step_by(2) {
                world.clients[client].connection.restart_ice();
                world.negotiate(client);
            }
            // The endpoint's side makes the offer for the others.
            for client in (1..12).step_by(4) {
                let id = world.clients[client].id.unwrap();
                let offer = world.endpoint.get_mut(id).unwrap().with(|connection| {
                    connection.restart_ice();
                    connection.set_local_description_implicit().unwrap();
                    connection.local_description().unwrap()
                });
                let connection = &mut world.clients[client].connection;
                connection.set_remote_description(offer).unwrap();
                connection.set_local_description_implicit().unwrap();
                let answer = connection.local_description().unwrap();
                world.endpoint.get_mut(id).unwrap().with(|connection| {
                    connection.set_remote_description(answer).unwrap();
                });
            }
            world.echo(&format!("round {round}"), LONG);
            world.run_for(Duration::from_secs(20));
            assert_eq!(
                world.endpoint.known_ufrags(),
                12,
                "old fragments are forgotten"
            );
            assert_eq!(world.endpoint.bound_paths(), 12);
        }
    });
}

#[test]
fn a_peer_whose_nat_changes_its_address_is_followed() {
    let mut world = World::connected(3, 10);
    for round in 0..4 {
        for client in &mut world.clients {
            let port = client.public.port() + 1;
            client.public.set_port(port);
        }
        world.echo(&format!("round {round}"), LONG);
    }
    world.run_for(LONG);
    assert_eq!(world.endpoint.bound_paths(), 10, "old paths are forgotten");
    world.echo("after", LONG);
}

#[test]
fn peers_with_the_same_private_address_are_kept_apart() {
    let mut world = World::new(4);
    let private: SocketAddr = "192.168.1.2:5000".parse().unwrap();
    // Two homes, and two hosts of one home.
    for public in [
        "198.51.100.1:5000",
        "198.51.100.2:5000",
        "198.51.100.2:5001",
    ] {
        let client = world.client_at(private, public.parse().unwrap());
        world.join(client);
    }
    world.connect();
    world.echo("hello", LONG);
}

#[test]
fn an_unknown_peer_is_told_and_can_be_accepted() {
    let mut world = World::new(5);
    let client = world.client();
    // Somebody else answers in the server's name, with credentials that the server can derive.
    let offer = world.offer(client);
    let setting = setting_with(credentials("serverUfrag1"));
    let mut elsewhere = world.connection(setting);
    elsewhere
        .connection
        .add_local_interface(world.addr, TransportProtocol::UDP)
        .unwrap();
    elsewhere
        .connection
        .set_remote_description(offer.clone())
        .unwrap();
    elsewhere
        .connection
        .set_local_description_implicit()
        .unwrap();
    let answer = elsewhere.connection.local_description().unwrap();
    world.clients[client]
        .connection
        .set_remote_description(answer)
        .unwrap();

    assert!(world.run(LONG, |world| !world.unknown.is_empty()));
    let unknown = world.unknown.pop().unwrap();
    assert_eq!(unknown.local_ufrag, "serverUfrag1");
    assert!(
        offer
            .sdp
            .contains(&format!("a=ice-ufrag:{}", unknown.remote_ufrag))
    );
    assert_eq!(unknown.transport().peer_addr, world.clients[client].public);
    assert_eq!(world.endpoint.bound_paths(), 0);
    assert_eq!(world.endpoint.counters().unknown_peers, 1);

    let setting = setting_with(credentials(&unknown.local_ufrag));
    let mut peer = world.connection(setting);
    peer.connection.set_remote_description(offer).unwrap();
    peer.connection.set_local_description_implicit().unwrap();
    let id = world.endpoint.insert(peer);
    world
        .endpoint
        .handle_read_batch(&mut vec![unknown.datagram]);
    assert_eq!(world.endpoint.bound_paths(), 1, "the check counts");
    world.clients[client].id = Some(id);
    world.connect();
    world.echo("hello", LONG);
    assert!(world.unknown.is_empty());
}

#[test]
fn unknown_peers_that_nobody_asks_about_are_bounded() {
    let mut world = World::new(6);
    for index in 0..1000_u32 {
        let check = check(&format!("ufrag{index}:other"), index, b"password");
        world
            .endpoint
            .handle_read_batch(&mut vec![tagged(&world, source(index), check)]);
    }
    let counters = world.endpoint.counters();
    assert_eq!(counters.unknown_peers, 1000);
    let mut told = Vec::new();
    while let Some(rtc::endpoint::RTCEndpointEvent::UnknownPeer(peer)) = world.endpoint.poll_event()
    {
        told.push(peer.local_ufrag);
    }
    assert_eq!(told.len() as u64, 1000 - counters.unknown_peers_dropped);
    assert!(told.len() <= 128);
    assert_eq!(told.last().unwrap(), "ufrag999", "the latest are kept");
    // The same check again and again is one.
    for _ in 0..10 {
        let check = check("again:other", 7, b"password");
        world
            .endpoint
            .handle_read_batch(&mut vec![tagged(&world, source(7), check)]);
    }
    assert!(world.endpoint.poll_event().is_some());
    assert!(world.endpoint.poll_event().is_none());
}

#[test]
fn a_hundred_thousand_unauthenticated_sources_leave_no_trace() {
    let mut world = World::connected(7, 5);
    let (ufrag, ..) = credentials_of(&world, 0);
    let before = (world.endpoint.bound_paths(), world.endpoint.known_ufrags());
    let counters = world.endpoint.counters();
    let mut rng = rng_of(7);
    let mut batch = Vec::new();
    for index in 0..100_000_u32 {
        let datagram = match index % 8 {
            // The fragment of a peer, but not its password.
            0 => check(
                &format!("{ufrag}:abcd"),
                index,
                b"wrong password, long enough",
            ),
            1 => check(&format!("zzzz{index}:abcd"), index, b"password"),
            2 => check("no colon", index, b"password"),
            3 => MessageBuilder::response(
                Class::Success,
                &rtc::stun::Message::parse(&check("a:b", index, b"p")).unwrap(),
            )
            .finish()
            .to_vec(),
            4 => [&[22, 0xfe, 0xfd][..], &rng.array::<40>()].concat(),
            5 => [&[0x80, 96][..], &rng.array::<40>()].concat(),
            6 => MessageBuilder::new(
                Class::Indication,
                Method::BINDING,
                TransactionId(rng.array()),
            )
            .finish()
            .to_vec(),
            _ => rng.array::<30>().to_vec(),
        };
        batch.push(tagged(&world, source(index), datagram));
        if batch.len() == 64 {
            world.endpoint.handle_read_batch(&mut batch);
        }
    }
    world.endpoint.handle_read_batch(&mut batch);
    let after = (world.endpoint.bound_paths(), world.endpoint.known_ufrags());
    assert_eq!(before, after);
    let now = world.endpoint.counters();
    assert_eq!(now.received - counters.received, 100_000);
    assert_eq!(
        now.delivered - counters.delivered,
        12_500,
        "for a known fragment"
    );
    assert_eq!(now.unknown_peers - counters.unknown_peers, 12_500);
    assert!(now.dropped_unbound_path - counters.dropped_unbound_path >= 37_500);
    assert!(now.dropped_unmatched_response - counters.dropped_unmatched_response >= 12_500);
    assert!(now.dropped_malformed - counters.dropped_malformed >= 12_500);
    assert!(now.dropped_unknown > counters.dropped_unknown);
    let mut waiting = 0;
    while world.endpoint.poll_event().is_some() {
        waiting += 1;
    }
    assert!(waiting <= 128);
    world.echo("still there", LONG);
}

#[test]
fn a_path_that_a_nat_gave_to_another_peer_goes_to_that_one() {
    let mut world = World::connected(8, 2);
    // The first is gone without a word; its port is given to a newcomer at once.
    world.clients[0].gone = true;
    let public = world.clients[0].public;
    let newcomer = world.client_at("192.168.7.7:1".parse().unwrap(), public);
    world.join(newcomer);
    world.connect();
    world.echo("mine now", LONG);
    let id = world.clients[0].id.unwrap();
    assert!(!world.echoed.contains_key(&id));
    // The end of the old peer does not touch the path.
    world.endpoint.remove(id).unwrap();
    world.echo("still mine", LONG);
    assert_eq!(world.endpoint.bound_paths(), 2);
}

#[test]
fn a_path_comes_back_to_who_had_it_before_if_he_is_still_there() {
    let mut world = World::connected(16, 1);
    world.clients[0].gone = true;
    let public = world.clients[0].public;
    let newcomer = world.client_at("192.168.7.7:1".parse().unwrap(), public);
    let id = world.join(newcomer);
    world.connect();
    world.endpoint.remove(id).unwrap();
    assert_eq!(world.endpoint.bound_paths(), 0);
    world.clients[newcomer].gone = true;
    world.clients[0].gone = false;
    world.echo("as before", LONG);
    assert_eq!(world.endpoint.bound_paths(), 1);
}

#[test]
fn data_right_behind_the_check_that_opens_its_path_is_delivered() {
    let mut world = World::connected(17, 1);
    world.echo("warm up", LONG);
    let id = world.clients[0].id.unwrap();
    let (ufrag, pwd, own) = credentials_of(&world, 0);
    let client = &mut world.clients[0];
    let mut channel = client.connection.data_channel(client.channel).unwrap();
    channel.send_text("right behind").unwrap();
    let mut data = Vec::new();
    let transmit = client.connection.poll_transmit(world.now, 1, &mut data);
    assert!(transmit.is_some() && data[0] >= 20, "it is DTLS");
    let from = "10.9.9.9:9".parse().unwrap();
    let check = check(&format!("{ufrag}:{own}"), 1, pwd.as_bytes());
    let before = world.endpoint.counters();
    let mut batch = vec![
        tagged(&world, from, data.clone()),
        tagged(&world, from, check),
        tagged(&world, from, data),
    ];
    world.endpoint.handle_read_batch(&mut batch);
    let after = world.endpoint.counters();
    assert_eq!(after.dropped_unbound_path - before.dropped_unbound_path, 1);
    assert_eq!(after.delivered - before.delivered, 2);
    let peer = &mut world.endpoint.get_mut(id).unwrap().connection;
    let message = peer.poll_read();
    assert!(
        format!("{message:?}").contains("right behind"),
        "{message:?}"
    );
}

#[test]
fn connections_between_the_same_two_addresses_have_ice_of_their_own() {
    let mut world = World::new(18);
    let addrs: [SocketAddr; 2] = ["192.0.2.1:3478", "192.0.2.2:3478"].map(|it| it.parse().unwrap());
    let mut sides = addrs.map(|addr| {
        let mut endpoint = RTCEndpoint::new();
        endpoint.add_local_interface(addr, TransportProtocol::UDP);
        endpoint
    });
    for _ in 0..3 {
        let ids = [0, 1].map(|side: usize| {
            let connection = world.connection(SettingEngine::default());
            sides[side].insert(connection)
        });
        let [a, b] = &mut sides;
        let a = &mut a.get_mut(ids[0]).unwrap().connection;
        let b = &mut b.get_mut(ids[1]).unwrap().connection;
        a.create_data_channel("test", None).unwrap();
        a.set_local_description_implicit().unwrap();
        b.set_remote_description(a.local_description().unwrap())
            .unwrap();
        b.set_local_description_implicit().unwrap();
        a.set_remote_description(b.local_description().unwrap())
            .unwrap();
    }
    let mut now = world.now;
    for _ in 0..300 {
        now += Duration::from_millis(10);
        let mut buffer = Vec::new();
        for (from, to) in [(0, 1), (1, 0)] {
            sides[from].handle_timeout(now);
            let mut batch = Vec::new();
            while let Some(transmit) = sides[from].poll_transmit(now, 1, &mut buffer) {
                assert_eq!(transmit.transport.peer_addr, addrs[to]);
                let mut message = tagged(&world, addrs[from], std::mem::take(&mut buffer));
                message.now = now;
                message.transport.local_addr = addrs[to];
                batch.push(message);
            }
            sides[to].handle_read_batch(&mut batch);
        }
    }
    for side in &sides {
        for id in side.peer_ids() {
            let peer = &side.get(id).unwrap().connection;
            let state = peer.ice_connection_state();
            assert_eq!(state, RTCIceConnectionState::Completed, "{id:?}");
        }
        assert_eq!(side.counters().dropped_unmatched_response, 0);
    }
}

#[test]
fn a_forged_check_of_a_peer_does_not_take_the_path_of_another() {
    let mut world = World::connected(9, 2);
    let victim = world.clients[0].public;
    // The second client knows its own password, and sends checks in the name of the first.
    let (ufrag, pwd, own) = credentials_of(&world, 1);
    for index in 0..20 {
        let check = check(&format!("{ufrag}:{own}"), index, pwd.as_bytes());
        world.inject(victim, check);
        world.run_for(Duration::from_millis(20));
    }
    world.echo("not yours", Duration::from_millis(200));
}

#[test]
fn peers_with_the_same_fragment_are_told_apart_by_their_passwords() {
    let mut world = World::new(10);
    for password in ["first password, long", "second password, long"] {
        let client = world.client();
        let password = format!("{password:x<24}").replace([' ', ','], "");
        let credentials = rtc::ice::Credentials::new("same", format!("{password}xxxxxx")).unwrap();
        let peer = world.connection(setting_with(credentials));
        world.join_with(client, peer);
    }
    assert_eq!(world.endpoint.known_ufrags(), 1);
    let forged = check("same:abcd", 1, b"neither of the two, I am afraid");
    world.inject(source(1), forged);
    world.connect();
    world.echo("hello", LONG);
    assert_eq!(world.endpoint.counters().dropped_forged, 1);
    let id = world.clients[0].id.unwrap();
    world.endpoint.remove(id).unwrap();
    assert_eq!(world.endpoint.known_ufrags(), 1);
}

#[test]
fn removed_peers_leave_nothing_and_their_places_are_used_again() {
    let mut world = World::connected(11, 20);
    let mut old = Vec::new();
    for round in 0..5 {
        for index in 0..20 {
            world.clients[index].gone = true;
            let id = world.clients[index].id.unwrap();
            assert!(world.endpoint.remove(id).is_some());
            old.push(id);
        }
        assert!(world.endpoint.is_empty());
        assert_eq!(world.endpoint.bound_paths(), 0);
        assert_eq!(world.endpoint.known_ufrags(), 0);
        assert_eq!(world.endpoint.poll_timeout(), None);
        assert_eq!(world.endpoint.poll_ready_peer(), None);
        assert!(
            world
                .endpoint
                .poll_transmit(world.now, 16, &mut Vec::new())
                .is_none()
        );
        world.clients.clear();
        for _ in 0..20 {
            let client = world.client();
            world.join(client);
        }
        world.connect();
        world.echo(&format!("round {round}"), LONG);
        for id in &old {
            assert!(world.endpoint.get_mut(*id).is_none());
            assert!(world.endpoint.remove(*id).is_none());
        }
    }
    let highest = world.endpoint.peer_ids().max().unwrap();
    assert!(
        format!("{highest:?}").starts_with("RTCPeerId(19."),
        "{highest:?}"
    );
}

#[test]
fn a_closed_peer_is_unbound_and_says_farewell() {
    let mut world = World::connected(12, 3);
    let id = world.clients[1].id.unwrap();
    world
        .endpoint
        .get_mut(id)
        .unwrap()
        .with(|peer| peer.close().unwrap());
    assert!(world.endpoint.poll_timeout().is_some());
    assert_eq!(world.endpoint.bound_paths(), 2);
    assert!(world.run(LONG, |world| {
        let state = world.clients[1].connection.connection_state();
        state == RTCPeerConnectionState::Closed
    }));
    assert!(world.endpoint.get_mut(id).unwrap().connection.is_drained());
    world.clients[1].gone = true;
    world.echo("the others", LONG);

    world.endpoint.close();
    assert!(world.run(LONG, |world| world.clients.iter().all(|client| {
        client.connection.connection_state() == RTCPeerConnectionState::Closed
    })));
    assert_eq!(
        world.endpoint.bound_paths() + world.endpoint.known_ufrags(),
        0
    );
}

#[test]
fn a_busy_peer_does_not_keep_the_others_from_sending() {
    let mut world = World::connected(13, 8);
    world.echo("warm up", LONG);
    let busy = world.clients[0].id.unwrap();
    let text = "x".repeat(16_000);
    let flood = |world: &mut World| {
        world.endpoint.get_mut(busy).unwrap().with(|connection| {
            for _ in 0..200 {
                let mut channel = connection.data_channel(0).unwrap();
                channel.send_text(text.clone()).unwrap();
            }
        });
    };
    // A first flood, so that the window is wide.
    flood(&mut world);
    assert!(world.run(LONG, |world| world.clients[0].received.len() > 200));
    flood(&mut world);
    for client in &world.clients[1..] {
        world
            .endpoint
            .get_mut(client.id.unwrap())
            .unwrap()
            .with(|connection| {
                connection
                    .data_channel(0)
                    .unwrap()
                    .send_text("a word")
                    .unwrap();
            });
    }
    // Each of the others has its turn before the busy one has its third.
    let mut order = Vec::new();
    let mut buffer = Vec::new();
    while let Some(transmit) = world.endpoint.poll_transmit(world.now, 4, &mut buffer) {
        assert!(transmit.datagrams() <= 4);
        order.push(transmit.transport.peer_addr);
    }
    let of_busy = |addr: &&SocketAddr| **addr == world.clients[0].public;
    let before = |client: &world::Client| {
        let first = order
            .iter()
            .position(|addr| *addr == client.public)
            .unwrap();
        order[..first].iter().filter(of_busy).count()
    };
    assert!(order.iter().filter(of_busy).count() >= 2, "{order:?}");
    for client in &world.clients[1..] {
        // Four batches of four datagrams are a turn.
        assert!(before(client) <= 4, "{order:?}");
    }
}

#[test]
fn idle_peers_cost_nothing_between_their_deadlines() {
    let mut world = World::connected(14, 4);
    // Two thousand that nobody has connected to yet.
    for _ in 0..2000 {
        let peer = world.connection(SettingEngine::default());
        world.endpoint.insert(peer);
    }
    world.run_for(Duration::from_millis(100));
    world.uses.set(0);
    world.run_for(Duration::from_secs(10));
    let uses = world.uses.get();
    // Consent of four peers, asked and answered, every five seconds or so.
    assert!(uses < 400, "{uses} calls in ten seconds");
    world.uses.set(0);
    world.echo("hello", LONG);
    let uses = world.uses.get();
    assert!(uses < 400, "{uses} calls for four messages");
}

#[test]
fn a_lost_socket_is_told_to_every_peer() {
    let mut world = World::connected(15, 3);
    let local_addr = world.addr;
    world
        .endpoint
        .handle_event(RTCEvent::PathLost { local_addr });
    assert_eq!(world.endpoint.bound_paths(), 0);
    let now = world.now;
    world.endpoint.handle_timeout(now);
    for client in &world.clients {
        let peer = world.endpoint.get(client.id.unwrap()).unwrap();
        assert_eq!(peer.connection.selected_path(), None);
    }
    let (local_addr, protocol) = (world.addr, TransportProtocol::UDP);
    let found = RTCEvent::InterfaceFound {
        local_addr,
        protocol,
    };
    world.endpoint.handle_event(found);
    world.echo("back again", LONG);
}

/// What a client knows: the fragment and the password of its peer, and its own fragment.
fn credentials_of(world: &World, client: usize) -> (String, String, String) {
    let connection = &world.clients[client].connection;
    let remote = connection.remote_description().unwrap().sdp;
    let local = connection.local_description().unwrap().sdp;
    let find = |sdp: &str, name| {
        let line = sdp.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().to_owned()
    };
    (
        find(&remote, "a=ice-ufrag:"),
        find(&remote, "a=ice-pwd:"),
        find(&local, "a=ice-ufrag:"),
    )
}

/// A different address for each index.
fn source(index: u32) -> SocketAddr {
    let [a, b, c, _] = (index << 8).to_be_bytes();
    SocketAddr::from(([11, a, b, c], 1000 + (index % 50_000) as u16))
}

/// An ICE check.
fn check(username: &str, id: u32, password: &[u8]) -> Vec<u8> {
    let [a, b, c, d] = id.to_be_bytes();
    let key = default_provider()
        .hmac(HmacAlgorithm::Sha1)
        .unwrap()
        .key(password);
    MessageBuilder::new(
        Class::Request,
        Method::BINDING,
        TransactionId([1, 2, 3, 4, 5, 6, 7, 8, a, b, c, d]),
    )
    .username(username)
    .priority(1)
    .ice_controlling(u64::from(id) << 32)
    .message_integrity(&*key)
    .fingerprint()
    .finish()
    .to_vec()
}

fn tagged(world: &World, from: SocketAddr, datagram: Vec<u8>) -> rtc::shared::TaggedBytesMut {
    rtc::shared::TaggedBytesMut {
        now: world.now,
        transport: rtc::shared::TransportContext {
            local_addr: world.addr,
            peer_addr: from,
            ..Default::default()
        },
        message: bytes::BytesMut::from(&*datagram),
    }
}
