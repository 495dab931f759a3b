use std::net::{Ipv4Addr, SocketAddr};

use proptest::prelude::*;
use rtc_crypto::ring::PROVIDER;
use rtc_shared::{FiveTuple, Rng, TransportProtocol};
use rtc_stun::{Class, LongTermCredentials, MessageBuilder, Method, TransactionId};
use rtc_turn::server::{ServerConfig, ServerReceived};
use rtc_turn::{ClientState, Received};

use crate::raw::Raw;
use crate::sim::{PEER, REALM, SERVER, Sim, addr, mirrored, ms, secs, udp};

fn stranger(number: u32) -> FiveTuple {
    FiveTuple {
        local_addr: addr(SERVER),
        peer_addr: SocketAddr::new(
            Ipv4Addr::from_bits(0x0100_0000 + number).into(),
            number as u16,
        ),
        transport_protocol: TransportProtocol::UDP,
    }
}

#[test]
fn a_hundred_thousand_bogus_allocations_leave_nothing() {
    let mut raw = Raw::new();
    let mut wrong = LongTermCredentials::new(&PROVIDER, "user", "guess");
    let challenge = raw.request(Method::ALLOCATE).finish();
    let challenge = raw.send(&challenge).unwrap();
    wrong.handle_challenge(&challenge.message(), 0).unwrap();
    for number in 0..100_000 {
        let mut request = raw.request(Method::ALLOCATE).requested_transport(17);
        if number % 2 == 0 {
            request = wrong.authenticate(request);
        }
        let client = stranger(number);
        let received = raw
            .server
            .handle_datagram(raw.now, client, &request.finish());
        assert_eq!(received, ServerReceived::Consumed);
        assert!(raw.server.poll_transmit().is_some());
        assert!(raw.server.poll_transmit().is_none());
        assert!(raw.server.poll_event().is_none());
        raw.now += ms(1);
    }
    assert_eq!(raw.server.allocations(), 0);
    assert_eq!(raw.server.poll_timeout(), None);
    assert_eq!(
        raw.allocate().code(),
        0,
        "who knows the password is still served"
    );
}

#[test]
fn users_cannot_take_more_than_their_share() {
    let mut config = ServerConfig::new(REALM);
    config.max_allocations = 100;
    config.max_allocations_per_user = 60;
    let mut raw = Raw::with(config);
    for number in 0..2000 {
        raw.client = stranger(number);
        raw.credentials = LongTermCredentials::new(&PROVIDER, "user", "pass");
        let code = raw.allocate().code();
        assert_eq!(code, if number < 60 { 0 } else { 486 });
    }
    assert_eq!(raw.server.allocations(), 60);
    for number in 0..100 {
        raw.client = stranger(10_000 + number);
        raw.credentials = LongTermCredentials::new(&PROVIDER, "other", "word");
        let code = raw.allocate().code();
        assert_eq!(code, if number < 40 { 0 } else { 508 });
    }
    assert_eq!(raw.server.allocations(), 100);
}

#[test]
fn responses_to_one_forged_address_are_limited() {
    let mut raw = Raw::new();
    let client = raw.client;
    let mut responses = 0;
    for number in 0..10_000u64 {
        let method = if number % 2 == 0 {
            Method::ALLOCATE
        } else {
            Method::BINDING
        };
        let request = raw.request(method).finish();
        let _ = raw.server.handle_datagram(raw.now, client, &request);
        responses += u32::from(raw.server.poll_transmit().is_some());
        raw.now += ms(1);
    }
    assert_eq!(responses, 1000, "100 in each of 10 seconds");
    assert_eq!(raw.server.metrics().dropped.throttled, 9000);

    // Authentic requests are not counted.
    let mut raw = Raw::allocated();
    for _ in 0..500 {
        assert_eq!(raw.refresh(600).code(), 0);
    }
}

#[test]
fn a_queue_that_nobody_empties_is_bounded() {
    let mut config = ServerConfig::new(REALM);
    config.max_outgoing = 10;
    config.unauthenticated_rate = None;
    let mut raw = Raw::with(config);
    let client = raw.client;
    for _ in 0..1000 {
        let request = raw.request(Method::BINDING).finish();
        let _ = raw.server.handle_datagram(raw.now, client, &request);
    }
    assert_eq!(
        std::iter::from_fn(|| raw.server.poll_transmit()).count(),
        10
    );
    assert_eq!(raw.server.metrics().dropped.no_room, 990);
}

#[test]
fn a_hundred_thousand_forged_messages_do_not_move_a_client() {
    let mut sim = Sim::allocated(1);
    let now = sim.now;
    sim.client().bind_channel(now, addr(PEER)).unwrap();
    sim.run(secs(1));
    let deadline = sim.client().poll_timeout();
    let now = sim.now;
    let mut rng = Rng::from_seed([3; 32]);
    let client = sim.client();
    for number in 0..100_000u32 {
        let id = TransactionId::random(&mut rng);
        let method = match number % 5 {
            0 => Method::ALLOCATE,
            1 => Method::REFRESH,
            2 => Method::CREATE_PERMISSION,
            3 => Method::CHANNEL_BIND,
            _ => Method::DATA,
        };
        let message = match number % 4 {
            0 => MessageBuilder::new(Class::Success, method, id).lifetime(secs(0)),
            1 => MessageBuilder::new(Class::Error, method, id).error_code(437, "gone"),
            2 => MessageBuilder::new(Class::Error, method, id)
                .error_code(300, "elsewhere")
                .alternate_server(addr("1.1.1.1:1")),
            _ => MessageBuilder::new(Class::Indication, method, id)
                .xor_peer_address(SocketAddr::from((rng.array::<4>(), 9)))
                .data(b"forged"),
        };
        assert_eq!(
            client.handle_datagram(now, addr(SERVER), &message.finish()),
            Received::Consumed
        );
        assert!(client.poll_transmit().is_none() && client.poll_event().is_none());
    }
    assert_eq!(client.state(), ClientState::Allocated);
    assert_eq!(client.poll_timeout(), deadline);
    assert_eq!(client.prefix_len(addr(PEER)), Some(4));
    sim.run(secs(3600));
    assert_eq!(sim.client().state(), ClientState::Allocated);
}

#[test]
fn hints_that_nobody_polls_are_bounded() {
    let mut sim = Sim::allocated(2);
    let (now, peer) = (sim.now, addr(PEER));
    sim.client().create_permission(now, peer.ip()).unwrap();
    sim.run(secs(1));
    let icmp = rtc_stun::Icmp {
        icmp_type: 3,
        icmp_code: 1,
        error_data: 0,
    };
    let client = sim.client();
    for number in 0..10_000u32 {
        let mut id = [0; 12];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let hint = MessageBuilder::new(Class::Indication, Method::DATA, TransactionId(id));
        let hint = hint.xor_peer_address(peer).icmp(icmp).finish();
        assert_eq!(
            client.handle_datagram(now, addr(SERVER), &hint),
            Received::Consumed
        );
    }
    assert_eq!(std::iter::from_fn(|| client.poll_event()).count(), 64);
}

/// Commands in any order over a bad network: nothing panics, every wake-up makes progress (the
/// simulation asserts it), and in the end all is gone from the server.
#[test]
fn any_order_of_commands_ends_clean() {
    for seed in 0..60 {
        let mut rng = Rng::from_seed([seed as u8; 32]);
        let mut sim = Sim::new(1000 + seed, ServerConfig::new(REALM));
        sim.jitter = ms(u64::from(rng.below(300)));
        sim.duplicates = rng.unit() * 0.3;
        for port in 0..3 {
            sim.add(
                crate::sim::client_config(),
                udp(&format!("198.51.100.1:{}", 5000 + port)),
            );
        }
        for _ in 0..80 {
            let index = rng.below(3) as usize;
            let peer =
                SocketAddr::from(([93, 184, 216, rng.below(6) as u8], 1 + rng.below(3) as u16));
            let now = sim.now;
            let client = &mut sim.nodes[index].client;
            match rng.below(12) {
                0 | 1 => drop(client.create_permission(now, peer.ip())),
                2 | 3 => drop(client.bind_channel(now, peer)),
                4 => client.remove_permission(peer.ip()),
                5 => client.release_channel(peer),
                6 => drop(client.set_credentials(now, rtc_turn::Credentials::new("user", "pass"))),
                7 => {
                    let _ = sim.send(index, peer, b"data");
                }
                8 => {
                    if let Some(&relayed) = sim.relays.values().next() {
                        sim.peer_sends(peer, relayed, b"data");
                    }
                }
                9 => sim.loss = rng.unit() * 0.4,
                10 => sim.run(secs(u64::from(rng.below(400)))),
                _ => sim.run(ms(u64::from(rng.below(2000)))),
            }
        }
        sim.loss = 0.0;
        let now = sim.now;
        sim.nodes.iter_mut().for_each(|node| node.client.close(now));
        sim.run(secs(4000));
        assert_eq!(sim.server.allocations(), 0, "seed {seed}");
        assert!(sim.relays.is_empty(), "seed {seed}");
        for node in &sim.nodes {
            assert_eq!(node.client.poll_timeout(), None, "seed {seed}");
        }
        let metrics = sim.server.metrics();
        assert_eq!(
            metrics.allocations_created, metrics.allocations_ended,
            "seed {seed}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_without_panic(datagram in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut raw = Raw::allocated();
        let client = raw.client;
        let _ = raw.server.handle_datagram(raw.now, client, &datagram);
        prop_assert_eq!(raw.server.allocations(), 1);
        let mut sim = Sim::allocated(3);
        let now = sim.now;
        let received = sim.client().handle_datagram(now, addr(SERVER), &datagram);
        let is_data = matches!(received, Received::Data { .. });
        prop_assert!(!is_data);
        prop_assert_eq!(sim.client().state(), ClientState::Allocated);
    }

    #[test]
    fn mutated_requests_change_nothing(
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        which in 0u8..4,
    ) {
        let mut raw = Raw::allocated();
        let request = match which {
            0 => raw.request(Method::REFRESH).lifetime(secs(0)),
            1 => raw.request(Method::CREATE_PERMISSION).xor_peer_address(addr(PEER)),
            2 => raw.request(Method::CHANNEL_BIND).channel_number(0x4000).xor_peer_address(addr(PEER)),
            _ => raw.request(Method::ALLOCATE).requested_transport(17),
        };
        let mut request = raw.credentials.authenticate(request).finish();
        let position = at.index(request.len());
        request[position] ^= 1 << bit;
        let client = raw.client;
        let _ = raw.server.handle_datagram(raw.now, client, &request);
        prop_assert_eq!(raw.server.allocations(), 1);
        while let Some(out) = raw.server.poll_transmit() {
            let message = rtc_stun::Message::parse(&out.message).unwrap();
            // A request turned into a Binding request is one that anybody may send.
            prop_assert!(message.class() == Class::Error || message.method() == Method::BINDING);
        }
        let relayed = raw.server.relayed_addresses(&client).next().unwrap();
        prop_assert!(relayed.port() >= 60_000);
        let channel_data = raw.server.handle_datagram(raw.now, client, b"\x40\x00\x00\x01a");
        prop_assert_eq!(channel_data, ServerReceived::Consumed);
    }
}

#[test]
fn data_of_strangers_is_dropped() {
    let mut raw = Raw::allocated();
    assert_eq!(raw.bind(0x4000, addr(PEER)).code(), 0);
    let id = raw.id();
    let send = MessageBuilder::new(Class::Indication, Method::SEND, id)
        .xor_peer_address(addr(PEER))
        .data(b"data")
        .finish();
    for client in [stranger(1), mirrored(crate::sim::tcp("198.51.100.1:5000"))] {
        for message in [&b"\x40\x00\x00\x01a"[..], &send] {
            let received = raw.server.handle_datagram(raw.now, client, message);
            assert_eq!(received, ServerReceived::Consumed);
        }
    }
    assert_eq!(raw.server.metrics().dropped.no_allocation, 4);
    // Neither is data to peers without permission, incomplete or with unknown attributes.
    let client = raw.client;
    let base = || MessageBuilder::new(Class::Indication, Method::SEND, id);
    for bad in [
        base().xor_peer_address(addr("93.184.216.1:1")).data(b"x"),
        base().xor_peer_address(addr(PEER)),
        base().data(b"x"),
        base()
            .xor_peer_address(addr(PEER))
            .data(b"x")
            .dont_fragment(),
        base()
            .xor_peer_address(addr(PEER))
            .data(b"x")
            .attribute(rtc_stun::AttributeType(0x7ff0), b""),
    ] {
        let received = raw.server.handle_datagram(raw.now, client, &bad.finish());
        assert_eq!(received, ServerReceived::Consumed);
    }
    assert_eq!(raw.server.metrics().dropped.malformed, 4);
    assert_eq!(raw.server.metrics().to_peers.packets, 0);
}
