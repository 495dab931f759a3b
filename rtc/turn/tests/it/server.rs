use rtc_crypto::ring::PROVIDER;
use rtc_crypto::{HmacAlgorithm, HmacKey};
use rtc_stun::{
    AddressFamily, AttributeType, Class, LongTermCredentials, MessageBuilder, Method,
    PasswordAlgorithm, long_term_key, user_hash,
};
use rtc_turn::server::{ServerConfig, ServerEvent, ServerReceived};

use crate::raw::{Raw, Response};
use crate::sim::{PEER, REALM, addr, mirrored, secs, tcp, udp};

fn key(algorithm: PasswordAlgorithm, hmac: HmacAlgorithm) -> Box<dyn HmacKey> {
    let key = long_term_key(&PROVIDER, algorithm, "user", REALM, "pass").unwrap();
    PROVIDER.hmac(hmac).unwrap().key(key.as_ref())
}

#[test]
fn a_binding_request_is_answered_on_every_transport() {
    for path in [
        udp("198.51.100.1:5000"),
        tcp("198.51.100.1:5000"),
        udp("[2a01::1]:5000"),
    ] {
        let mut raw = Raw::new();
        raw.client = mirrored(path);
        let request = raw.request(Method::BINDING);
        let id = request.transaction_id();
        let response = raw.send(&request.finish()).unwrap();
        let message = response.message();
        assert_eq!(
            (message.class(), message.transaction_id()),
            (Class::Success, id)
        );
        assert_eq!(message.xor_mapped_address(), Some(path.local_addr));
    }
    let mut raw = Raw::new();
    let request = raw
        .request(Method::BINDING)
        .attribute(AttributeType(0x7ff0), b"");
    let response = raw.send(&request.finish()).unwrap();
    assert_eq!(response.code(), 420);
    let unknown: Vec<_> = response.message().unknown_attributes().unwrap().collect();
    assert_eq!(unknown, [AttributeType(0x7ff0)]);
    // Keepalives of clients are heard in silence.
    let id = raw.id();
    let indication = MessageBuilder::new(Class::Indication, Method::BINDING, id).finish();
    assert!(raw.send(&indication).is_none());
}

#[test]
fn a_challenge_has_what_rfc_8489_wants() {
    let mut raw = Raw::new();
    let request = raw
        .request(Method::ALLOCATE)
        .requested_transport(17)
        .finish();
    let response = raw.send(&request).unwrap();
    let message = response.message();
    assert_eq!(response.code(), 401);
    assert_eq!(message.realm(), Some(REALM));
    assert!(!message.has_integrity());
    let algorithms: Vec<_> = message.password_algorithms().unwrap().collect();
    assert_eq!(
        algorithms,
        [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5]
    );
    assert!(
        message.nonce().unwrap().starts_with(b"obMatJos2wAAA"),
        "{:?}",
        message.nonce()
    );
}

#[test]
fn every_way_to_authenticate_works() {
    let hash = user_hash(&PROVIDER, "user", REALM).unwrap();
    let list = [0, 2, 0, 0, 0, 1, 0, 0];
    for with_hash in [false, true] {
        for algorithm in [
            None,
            Some(PasswordAlgorithm::Md5),
            Some(PasswordAlgorithm::Sha256),
        ] {
            for hmac in [HmacAlgorithm::Sha1, HmacAlgorithm::Sha256] {
                let mut raw = Raw::new();
                let nonce = nonce(&mut raw);
                let mut request = raw.request(Method::ALLOCATE).requested_transport(17);
                request = match with_hash {
                    true => request.userhash(hash),
                    false => request.username("user"),
                };
                request = request.realm(REALM).nonce(&nonce);
                if let Some(algorithm) = algorithm {
                    request = request
                        .attribute(AttributeType::PASSWORD_ALGORITHMS, &list)
                        .password_algorithm(algorithm);
                }
                let key = key(algorithm.unwrap_or(PasswordAlgorithm::Md5), hmac);
                request = match hmac {
                    HmacAlgorithm::Sha1 => request.message_integrity(&*key),
                    _ => request.message_integrity_sha256(&*key),
                };
                let response = raw.send(&request.finish()).unwrap();
                assert_eq!(response.code(), 0, "{with_hash} {algorithm:?} {hmac:?}");
                let verified = match hmac {
                    HmacAlgorithm::Sha1 => response.message().verify_integrity(&*key),
                    _ => response.message().verify_integrity_sha256(&*key),
                };
                assert_eq!(
                    verified,
                    Ok(()),
                    "the response is signed in the way of the request"
                );
            }
        }
    }
}

fn nonce(raw: &mut Raw) -> Vec<u8> {
    let request = raw.request(Method::ALLOCATE).finish();
    let response = raw.send(&request).unwrap();
    response.message().nonce().unwrap().to_vec()
}

#[test]
fn bid_down_is_noticed() {
    let mut raw = Raw::new();
    let nonce = nonce(&mut raw);
    let key = key(PasswordAlgorithm::Md5, HmacAlgorithm::Sha1);
    let lists: [Option<&[u8]>; 3] = [Some(&[0, 1, 0, 0]), None, Some(&[0, 1, 0, 0, 0, 2, 0, 0])];
    for list in lists {
        let request = raw
            .request(Method::ALLOCATE)
            .requested_transport(17)
            .username("user");
        let mut request = request.realm(REALM).nonce(&nonce);
        if let Some(list) = list {
            request = request.attribute(AttributeType::PASSWORD_ALGORITHMS, list);
        }
        let request = request
            .password_algorithm(PasswordAlgorithm::Md5)
            .message_integrity(&*key);
        assert_eq!(raw.send(&request.finish()).unwrap().code(), 400, "{list:?}");
    }
}

#[test]
fn a_nonce_is_good_for_one_client_and_for_its_time() {
    let mut config = ServerConfig::new(REALM);
    config.nonce_lifetime = secs(600);
    let mut raw = Raw::with(config);
    assert_eq!(raw.allocate().code(), 0);
    raw.now += secs(599);
    assert_eq!(raw.refresh(600).code(), 0);
    raw.now += secs(2);
    assert_eq!(raw.refresh(600).code(), 438);

    raw.client.peer_addr = addr("198.51.100.1:5001");
    assert_eq!(raw.allocate().code(), 438);
    let generation = raw.credentials.generation();
    let stale = raw.allocate();
    raw.credentials
        .handle_challenge(&stale.message(), generation)
        .unwrap();
    assert_eq!(raw.allocate().code(), 0);

    for bad in [&b"x"[..], b"obMatJos2wAAA", &[b'0'; 53], &[0xff; 100]] {
        let key = key(PasswordAlgorithm::Md5, HmacAlgorithm::Sha1);
        let request = raw
            .request(Method::REFRESH)
            .username("user")
            .realm(REALM)
            .nonce(bad);
        let response = raw
            .send(&request.message_integrity(&*key).finish())
            .unwrap();
        assert_eq!(response.code(), 438);
    }
}

#[test]
fn what_is_missing_is_a_bad_request() {
    let mut raw = Raw::new();
    let nonce = nonce(&mut raw);
    let key = key(PasswordAlgorithm::Md5, HmacAlgorithm::Sha1);
    let request = |raw: &mut Raw| raw.request(Method::ALLOCATE).requested_transport(17);
    for request in [
        request(&mut raw).realm(REALM).nonce(&nonce),
        request(&mut raw).username("user").nonce(&nonce),
        request(&mut raw).username("user").realm(REALM),
    ] {
        let response = raw
            .send(&request.message_integrity(&*key).finish())
            .unwrap();
        assert_eq!(response.code(), 400);
        assert!(!response.message().has_integrity());
    }
    let request = raw.request(Method::ALLOCATE);
    assert_eq!(raw.ask(request).code(), 400, "no transport");
    let request = raw.request(Method::ALLOCATE).requested_transport(6);
    assert_eq!(raw.ask(request).code(), 442);
    let request = raw
        .request(Method::ALLOCATE)
        .requested_transport(17)
        .dont_fragment();
    let response = raw.ask(request);
    assert_eq!(response.code(), 420);
    let unknown: Vec<_> = response.message().unknown_attributes().unwrap().collect();
    assert_eq!(unknown, [AttributeType::DONT_FRAGMENT]);
}

#[test]
fn a_wrong_realm_or_user_is_unauthenticated() {
    let mut raw = Raw::new();
    let nonce = nonce(&mut raw);
    let key = key(PasswordAlgorithm::Md5, HmacAlgorithm::Sha1);
    for (user, realm) in [("nobody", REALM), ("other", REALM), ("user", "elsewhere")] {
        let request = raw
            .request(Method::ALLOCATE)
            .requested_transport(17)
            .username(user);
        let request = request.realm(realm).nonce(&nonce).message_integrity(&*key);
        assert_eq!(
            raw.send(&request.finish()).unwrap().code(),
            401,
            "{user} {realm}"
        );
    }
    assert_eq!(raw.server.metrics().refused.bad_credentials, 3);
}

#[test]
fn a_repeated_allocate_request_gets_the_same_answer() {
    let mut raw = Raw::new();
    raw.take_challenge();
    let request = raw
        .request(Method::ALLOCATE)
        .requested_transport(17)
        .lifetime(secs(1200));
    let request = raw.credentials.authenticate(request).finish();

    // While the relay is being bound there is nothing to say.
    let client = raw.client;
    for _ in 0..3 {
        let received = raw.server.handle_datagram(raw.now, client, &request);
        assert_eq!(received, ServerReceived::Consumed);
        assert!(raw.server.poll_transmit().is_none());
    }
    assert_eq!(raw.bind_relays().len(), 1, "one relay for all");
    let first = Response(raw.server.poll_transmit().unwrap().message);
    assert_eq!(first.message().lifetime(), Some(secs(1200)));
    raw.now += secs(30);
    let second = raw.send(&request).unwrap();
    assert_eq!(first.0, second.0);
    assert_eq!(raw.server.allocations(), 1);
    assert_eq!(
        raw.allocate().code(),
        437,
        "another request is no repetition"
    );
}

#[test]
fn families_are_negotiated() {
    let contradictions: [fn(MessageBuilder) -> MessageBuilder; 5] = [
        |request| request.additional_address_family(AddressFamily::Ipv4),
        |request| {
            request
                .requested_address_family(AddressFamily::Ipv6)
                .additional_address_family(AddressFamily::Ipv6)
        },
        |request| request.reservation_token([1; 8]).even_port(false),
        |request| {
            request
                .reservation_token([1; 8])
                .requested_address_family(AddressFamily::Ipv4)
        },
        |request| {
            request
                .even_port(true)
                .additional_address_family(AddressFamily::Ipv6)
        },
    ];
    let mut raw = Raw::new();
    for contradiction in contradictions {
        let request = raw.request(Method::ALLOCATE).requested_transport(17);
        assert_eq!(raw.ask(contradiction(request)).code(), 400);
    }
    let reservations: [fn(MessageBuilder) -> MessageBuilder; 2] = [
        |request| request.even_port(true),
        |request| request.reservation_token([1; 8]),
    ];
    for reservation in reservations {
        let request = raw.request(Method::ALLOCATE).requested_transport(17);
        assert_eq!(raw.ask(reservation(request)).code(), 508);
    }
    let request = raw.request(Method::ALLOCATE).requested_transport(17);
    let request = request.additional_address_family(AddressFamily::Ipv6);
    let response = raw.ask(request);
    let relayed: Vec<_> = response
        .message()
        .xor_relayed_addresses()
        .flatten()
        .collect();
    assert!(relayed[0].is_ipv4() && relayed[1].is_ipv6());

    // One of two may be deleted alone, after which its family is a mismatch.
    let six = addr("[2a01::9]:9");
    assert_eq!(raw.permit(&[six, addr(PEER)]).code(), 0);
    let request = raw.request(Method::REFRESH).lifetime(secs(0));
    assert_eq!(
        raw.ask(request.requested_address_family(AddressFamily::Ipv6))
            .code(),
        0
    );
    assert_eq!(raw.permit(&[six]).code(), 443);
    assert_eq!(raw.bind(0x4000, six).code(), 443);
    let request = raw.request(Method::REFRESH);
    assert_eq!(
        raw.ask(request.requested_address_family(AddressFamily::Ipv6))
            .code(),
        443
    );
    assert_eq!(raw.refresh(600).code(), 0);
    let request = raw.request(Method::REFRESH).lifetime(secs(0));
    assert_eq!(
        raw.ask(request.requested_address_family(AddressFamily::Ipv4))
            .code(),
        0
    );
    assert_eq!(raw.server.allocations(), 0);
}

#[test]
fn an_even_port_has_to_be_even() {
    for (port, code) in [(60_000, 0), (60_001, 508)] {
        let mut raw = Raw::new();
        raw.take_challenge();
        let request = raw
            .request(Method::ALLOCATE)
            .requested_transport(17)
            .even_port(false);
        let request = raw.credentials.authenticate(request).finish();
        let client = raw.client;
        let _ = raw.server.handle_datagram(raw.now, client, &request);
        let Some(ServerEvent::BindRelay {
            relay,
            even_port: true,
            ..
        }) = raw.server.poll_event()
        else {
            panic!("an even port is wanted")
        };
        raw.server.relay_bound(
            raw.now,
            relay,
            std::net::SocketAddr::from(([85, 10, 0, 1], port)),
        );
        assert_eq!(
            Response(raw.server.poll_transmit().unwrap().message).code(),
            code
        );
    }
}

#[test]
fn lifetimes_are_kept_within_bounds() {
    let mut raw = Raw::allocated();
    for (wanted, granted) in [
        (0x7fff_ffff, 3600),
        (3601, 3600),
        (1000, 1000),
        (10, 600),
        (1, 600),
    ] {
        assert_eq!(
            raw.refresh(wanted).message().lifetime(),
            Some(secs(granted))
        );
    }
    let request = raw.request(Method::REFRESH);
    assert_eq!(raw.ask(request).message().lifetime(), Some(secs(600)));
    assert_eq!(raw.refresh(0).message().lifetime(), Some(secs(0)));
    assert_eq!(raw.refresh(0).code(), 437);
    assert_eq!(raw.refresh(600).code(), 437);
    assert_eq!(raw.permit(&[addr(PEER)]).code(), 437);
    assert_eq!(raw.bind(0x4000, addr(PEER)).code(), 437);
}

#[test]
fn another_user_has_no_say_in_an_allocation() {
    let mut raw = Raw::allocated();
    raw.credentials = LongTermCredentials::new(&PROVIDER, "other", "word");
    assert_eq!(raw.refresh(0).code(), 441);
    assert_eq!(raw.permit(&[addr(PEER)]).code(), 441);
    assert_eq!(raw.bind(0x4000, addr(PEER)).code(), 441);
    assert_eq!(raw.allocate().code(), 437);
    assert_eq!(raw.server.allocations(), 1);
}

#[test]
fn channels_are_bound_one_to_one() {
    let mut raw = Raw::allocated();
    let other = addr("93.184.216.34:7001");
    assert_eq!(raw.bind(0x4000, addr(PEER)).code(), 0);
    assert_eq!(raw.bind(0x4000, addr(PEER)).code(), 0, "a refresh");
    assert_eq!(raw.bind(0x4000, other).code(), 400, "number in use");
    assert_eq!(raw.bind(0x4001, addr(PEER)).code(), 400, "peer in use");
    assert_eq!(raw.bind(0x4fff, other).code(), 0);
    for number in [0x3fff, 0x5000, 0x7fff, 0xffff] {
        assert_eq!(
            raw.bind(number, addr("93.184.216.34:7002")).code(),
            400,
            "{number:#x}"
        );
    }
    let request = raw.request(Method::CHANNEL_BIND).channel_number(0x4002);
    assert_eq!(raw.ask(request).code(), 400);
    let request = raw.request(Method::CHANNEL_BIND).xor_peer_address(other);
    assert_eq!(raw.ask(request).code(), 400);
    let request = raw.request(Method::CREATE_PERMISSION);
    assert_eq!(raw.ask(request).code(), 400);
    let request = raw.request(Method::CREATE_PERMISSION);
    let request = request.attribute(AttributeType::XOR_PEER_ADDRESS, &[0, 3, 0, 0, 0, 0, 0, 0]);
    assert_eq!(raw.ask(request).code(), 400);

    // A channel that has run out leaves number and peer free.
    for _ in 0..2 {
        raw.now += secs(500);
        assert_eq!(raw.refresh(3600).code(), 0);
    }
    assert_eq!(raw.bind(0x4000, other).code(), 0);
    assert_eq!(raw.bind(0x4001, addr(PEER)).code(), 0);
}

#[test]
fn a_bound_channel_is_a_permission_for_five_minutes() {
    let mut raw = Raw::allocated();
    assert_eq!(raw.bind(0x4000, addr(PEER)).code(), 0);
    let client = raw.client;
    let message = b"\x40\x00\x00\x01a";
    let relays = |received: ServerReceived| matches!(received, ServerReceived::ToPeer { .. });
    raw.now += secs(299);
    assert!(relays(raw.server.handle_datagram(raw.now, client, message)));
    raw.now += secs(2);
    assert!(!relays(
        raw.server.handle_datagram(raw.now, client, message)
    ));
    assert_eq!(raw.server.metrics().dropped.no_permission, 1);
    assert_eq!(raw.permit(&[addr(PEER)]).code(), 0);
    assert!(relays(raw.server.handle_datagram(raw.now, client, message)));
}

#[test]
fn relays_that_come_late_are_closed() {
    let mut config = ServerConfig::new(REALM);
    config.relay_timeout = secs(5);
    let mut raw = Raw::with(config);
    raw.take_challenge();
    let request = raw.request(Method::ALLOCATE).requested_transport(17);
    let request = raw.credentials.authenticate(request).finish();
    let client = raw.client;
    let _ = raw.server.handle_datagram(raw.now, client, &request);
    let Some(ServerEvent::BindRelay { relay, .. }) = raw.server.poll_event() else {
        panic!("a relay is wanted")
    };
    assert_eq!(raw.server.poll_timeout(), Some(raw.now + secs(5)));
    raw.now += secs(5);
    raw.server.handle_timeout(raw.now);
    assert_eq!(
        Response(raw.server.poll_transmit().unwrap().message).code(),
        508
    );
    assert_eq!(
        (raw.server.allocations(), raw.server.poll_timeout()),
        (0, None)
    );
    raw.server
        .relay_bound(raw.now, relay, addr("85.10.0.1:60000"));
    assert_eq!(
        raw.server.poll_event(),
        Some(ServerEvent::CloseRelay(relay))
    );
    assert!(
        raw.server
            .handle_peer_datagram(raw.now, relay, addr(PEER), 5)
            .is_none()
    );

    // A relay whose socket fails later ends the allocation.
    let mut raw = Raw::new();
    raw.take_challenge();
    let request = raw.request(Method::ALLOCATE).requested_transport(17);
    let request = raw.credentials.authenticate(request).finish();
    let _ = raw.server.handle_datagram(raw.now, client, &request);
    let relay = raw.bind_relays()[0];
    raw.server.relay_failed(raw.now, relay);
    assert_eq!(raw.server.allocations(), 0);
}

#[test]
fn messages_of_rfc_6062_and_of_nobody_are_ignored() {
    let mut raw = Raw::new();
    for method in [Method::CONNECT, Method::CONNECTION_BIND, Method(0x0fe)] {
        let request = raw.request(method).finish();
        assert!(raw.send(&request).is_none());
    }
    let id = raw.id();
    for class in [Class::Success, Class::Error, Class::Indication] {
        let message = MessageBuilder::new(class, Method::ALLOCATE, id).finish();
        assert!(raw.send(&message).is_none());
    }
    assert_eq!(raw.server.metrics().dropped.unexpected, 6);
}

#[test]
fn software_is_told_when_wanted() {
    let mut config = ServerConfig::new(REALM);
    config.software = Some("relay".to_owned());
    let mut raw = Raw::with(config);
    assert_eq!(raw.allocate().message().software(), Some("relay"));
}
