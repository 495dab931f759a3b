use rtc_crypto::ring::PROVIDER;
use rtc_shared::Rng;
use rtc_stun::{
    AddressFamily, Class, CredentialsError, LongTermCredentials, Message, MessageBuilder,
    PasswordAlgorithm, TransactionId, long_term_key,
};
use rtc_turn::server::{EndReason, ServerConfig, ServerEvent};
use rtc_turn::{
    Client, ClientConfig, ClientState, Credentials, Error, Event, Received, RelayedFamilies, Remedy,
};

use crate::sim::{PEER, REALM, SERVER, Sim, addr, client_config, ms, origin, secs, tcp, udp};

fn refused(code: u16) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Failed(Error::Refused { code: found, .. }) if *found == code)
}

#[test]
fn an_allocation_takes_two_round_trips() {
    let mut sim = Sim::new(1, ServerConfig::new(REALM));
    sim.add(client_config(), udp("198.51.100.1:5000"));
    assert!(sim.run_while(secs(1), |sim| !sim.nodes[0].events.is_empty()));
    assert_eq!(sim.now - sim.start, ms(40));
    assert_eq!(
        sim.nodes[0].events,
        [Event::Allocated {
            relayed: addr("85.10.0.1:50001"),
            additional: None,
            mapped: addr("198.51.100.1:5000"),
        }]
    );
    let client = sim.client();
    assert_eq!(
        client.relayed_address(AddressFamily::Ipv4),
        Some(addr("85.10.0.1:50001"))
    );
    assert_eq!(client.relayed_address(AddressFamily::Ipv6), None);
    assert_eq!(client.mapped_address(), Some(addr("198.51.100.1:5000")));
    assert_eq!(sim.server.allocations(), 1);
}

#[test]
fn both_families_come_in_one_allocation() {
    let mut sim = Sim::new(2, ServerConfig::new(REALM));
    let mut config = client_config();
    config.families = RelayedFamilies::Both;
    sim.add(config, udp("198.51.100.1:5000"));
    sim.run(secs(1));
    let client = sim.client();
    assert_eq!(
        client.relayed_address(AddressFamily::Ipv4),
        Some(addr("85.10.0.1:50001"))
    );
    assert_eq!(
        client.relayed_address(AddressFamily::Ipv6),
        Some(addr("[2a00::1]:50002"))
    );
    let peer = addr("[2a01::9]:9000");
    let now = sim.now;
    sim.client().create_permission(now, peer.ip()).unwrap();
    assert!(sim.send(0, peer, b"six"));
    sim.run(secs(1));
    assert_eq!(
        sim.at_peers,
        [(addr("[2a00::1]:50002"), peer, b"six".to_vec())]
    );
    sim.peer_sends(peer, addr("[2a00::1]:50002"), b"answer");
    sim.run(secs(1));
    assert_eq!(
        sim.nodes[0].received,
        [(peer, addr("[2a00::1]:50002"), b"answer".to_vec())]
    );
}

#[test]
fn a_family_that_is_not_offered_is_told() {
    let mut server = ServerConfig::new(REALM);
    server.ipv6 = false;
    let mut sim = Sim::new(3, server.clone());
    let mut config = client_config();
    config.families = RelayedFamilies::Both;
    sim.add(config.clone(), udp("198.51.100.1:5000"));
    config.families = RelayedFamilies::Ipv6;
    sim.add(config, udp("198.51.100.1:5001"));
    sim.run(secs(1));
    assert!(matches!(
        &sim.nodes[0].events[..],
        [
            Event::Allocated {
                additional: None,
                ..
            },
            Event::FamilyRefused {
                family: AddressFamily::Ipv6,
                error: Error::Refused { code: 440, .. },
            },
        ]
    ));
    let now = sim.now;
    let six = "2a01::9".parse().unwrap();
    assert_eq!(
        sim.client().create_permission(now, six),
        Err(Error::AddressFamily)
    );
    assert!(refused(440)(&sim.nodes[1].events[0]));
}

#[test]
fn wrong_credentials_end_at_once() {
    let mut sim = Sim::new(4, ServerConfig::new(REALM));
    sim.add(
        ClientConfig::with_credentials(Credentials::new("user", "wrong")),
        udp("198.51.100.1:5000"),
    );
    sim.add(ClientConfig::default(), udp("198.51.100.1:5001"));
    sim.run(secs(1));
    let rejected = Error::Credentials(CredentialsError::Rejected);
    assert_eq!(rejected.code(), Some(401));
    assert_eq!(rejected.remedy(), Remedy::OtherCredentials);
    assert_eq!(sim.nodes[0].events, [Event::Failed(rejected)]);
    assert!(refused(401)(&sim.nodes[1].events[0]));
    assert_eq!(sim.client().state(), ClientState::Failed);
    assert_eq!(sim.client().poll_timeout(), None);
    assert_eq!(sim.server.metrics().refused.bad_credentials, 1);
    assert_eq!(sim.server.allocations(), 0);
}

#[test]
fn a_server_of_rfc_5389_is_served_too() {
    let mut server = ServerConfig::new(REALM);
    server.password_algorithms = false;
    let mut sim = Sim::new(5, server);
    sim.add(client_config(), udp("198.51.100.1:5000"));
    sim.run(secs(1));
    assert_eq!(sim.client().state(), ClientState::Allocated);
}

#[test]
fn quota_and_capacity_are_told() {
    let mut server = ServerConfig::new(REALM);
    server.max_allocations_per_user = 2;
    server.max_allocations = 3;
    let mut sim = Sim::new(6, server);
    for port in 0..3 {
        sim.add(
            client_config(),
            udp(&format!("198.51.100.1:{}", 5000 + port)),
        );
        sim.run(secs(1));
    }
    assert!(refused(486)(&sim.nodes[2].events[0]));
    let other = || ClientConfig::with_credentials(Credentials::new("other", "word"));
    for port in 0..2 {
        sim.add(other(), udp(&format!("198.51.100.2:{}", 5000 + port)));
        sim.run(secs(1));
    }
    assert_eq!(sim.nodes[3].client.state(), ClientState::Allocated);
    assert!(refused(508)(&sim.nodes[4].events[0]));
    let Event::Failed(error) = &sim.nodes[4].events[0] else {
        unreachable!()
    };
    assert_eq!(error.remedy(), Remedy::Later);
    assert_eq!(
        (
            sim.server.metrics().refused.quota,
            sim.server.metrics().refused.capacity
        ),
        (1, 1)
    );
}

#[test]
fn a_relay_that_cannot_be_bound_is_told() {
    let mut sim = Sim::new(7, ServerConfig::new(REALM));
    sim.refuse_relays = true;
    sim.add(client_config(), udp("198.51.100.1:5000"));
    sim.run(secs(1));
    assert!(refused(508)(&sim.nodes[0].events[0]));
    assert_eq!(sim.server.allocations(), 0);
}

#[test]
fn a_second_client_on_the_same_port_is_told_to_take_another() {
    let mut sim = Sim::allocated(8);
    let path = sim.nodes[0].client.path();
    // The first is gone without a word.
    sim.nodes.clear();
    sim.add(client_config(), path);
    sim.run(secs(1));
    assert!(refused(437)(&sim.nodes[0].events[0]));
    let Event::Failed(error) = &sim.nodes[0].events[0] else {
        unreachable!()
    };
    assert_eq!(error.remedy(), Remedy::OtherPort);
}

#[test]
fn a_dead_server_is_given_up_after_39_5_seconds() {
    let mut sim = Sim::new(9, ServerConfig::new(REALM));
    sim.server_is_dead = true;
    sim.add(client_config(), udp("198.51.100.1:5000"));
    sim.add(client_config(), tcp("198.51.100.1:5001"));
    assert!(sim.run_while(secs(60), |sim| {
        sim.nodes.iter().all(|node| !node.events.is_empty())
    }));
    assert_eq!(sim.now - sim.start, ms(39_500));
    for node in &sim.nodes {
        assert_eq!(node.events, [Event::Failed(Error::Timeout)]);
    }
    assert_eq!((sim.nodes[0].sent, sim.nodes[1].sent), (7, 1));
}

#[test]
fn loss_duplication_and_reordering_do_not_hurt() {
    for seed in 100..140 {
        let mut sim = Sim::new(seed, ServerConfig::new(REALM));
        sim.loss = 0.3;
        sim.duplicates = 0.3;
        sim.jitter = ms(400);
        for port in 0..4 {
            sim.add(
                client_config(),
                udp(&format!("198.51.100.1:{}", 5000 + port)),
            );
        }
        let all = |sim: &Sim| {
            sim.nodes
                .iter()
                .all(|node| node.client.state() == ClientState::Allocated)
        };
        assert!(sim.run_while(secs(120), all), "seed {seed}");
        assert_eq!(sim.server.allocations(), 4, "seed {seed}");
        let now = sim.now;
        for node in &mut sim.nodes {
            node.client.bind_channel(now, addr(PEER)).unwrap();
        }
        let is_bound = |event: &Event| matches!(event, Event::ChannelBound { .. });
        let all = |sim: &Sim| {
            sim.nodes
                .iter()
                .all(|node| node.events.iter().any(is_bound))
        };
        assert!(sim.run_while(secs(120), all), "seed {seed}");
        let now = sim.now;
        sim.nodes.iter_mut().for_each(|node| node.client.close(now));
        sim.run(secs(60));
        for node in &sim.nodes {
            assert_eq!(node.events.last(), Some(&Event::Closed), "seed {seed}");
        }
    }
}

#[test]
fn closing_deletes_the_allocation() {
    let mut sim = Sim::allocated(10);
    let now = sim.now;
    sim.client().close(now);
    sim.client().close(now);
    sim.run(secs(1));
    assert_eq!(sim.nodes[0].events.last(), Some(&Event::Closed));
    assert_eq!(sim.client().state(), ClientState::Closed);
    assert_eq!(sim.client().poll_timeout(), None);
    assert_eq!(sim.server.allocations(), 0);
    assert!(sim.relays.is_empty());
    assert!(matches!(
        sim.server_events.last(),
        Some(ServerEvent::Ended {
            reason: EndReason::Deleted,
            ..
        })
    ));
    assert_eq!(
        sim.client().create_permission(now, addr(PEER).ip()),
        Err(Error::Closed)
    );
}

#[test]
fn closing_while_the_allocation_is_being_made_leaves_none_behind() {
    for after in [1, 15, 25, 35, 45] {
        let mut sim = Sim::new(after, ServerConfig::new(REALM));
        sim.add(client_config(), udp("198.51.100.1:5000"));
        sim.run(ms(after));
        let now = sim.now;
        sim.client().close(now);
        sim.run(secs(1));
        assert_eq!(
            sim.nodes[0].events.last(),
            Some(&Event::Closed),
            "after {after} ms"
        );
        assert_eq!(sim.server.allocations(), 0, "after {after} ms");
    }
}

#[test]
fn closing_ends_though_the_server_is_dead() {
    let mut sim = Sim::allocated(11);
    sim.server_is_dead = true;
    let now = sim.now;
    sim.client().close(now);
    let closed = |sim: &Sim| sim.nodes[0].events.last() == Some(&Event::Closed);
    assert!(sim.run_while(secs(5), closed));
    assert_eq!(sim.now - now, ms(500 + 1000 + 1000));
}

#[test]
fn a_stream_carries_an_allocation_and_its_end_ends_it() {
    let mut sim = Sim::new(12, ServerConfig::new(REALM));
    sim.add(client_config(), tcp("198.51.100.1:5000"));
    sim.run(secs(1));
    assert_eq!(sim.client().state(), ClientState::Allocated);
    let now = sim.now;
    sim.client().handle_disconnected(now);
    sim.run(ms(1));
    assert_eq!(
        sim.nodes[0].events.last(),
        Some(&Event::Failed(Error::ConnectionLost))
    );
    let path = crate::sim::mirrored(sim.client().path());
    sim.server.handle_disconnected(now, path);
    sim.run(ms(1));
    assert_eq!(sim.server.allocations(), 0);
    assert!(sim.relays.is_empty());
}

#[test]
fn credentials_may_change_before_the_allocation_and_the_password_after() {
    let mut sim = Sim::new(13, ServerConfig::new(REALM));
    sim.add(
        ClientConfig::with_credentials(Credentials::new("x", "y")),
        udp("198.51.100.1:5000"),
    );
    sim.run(ms(25));
    let now = sim.now;
    sim.client()
        .set_credentials(now, Credentials::new("user", "pass"))
        .unwrap();
    sim.run(secs(1));
    assert_eq!(sim.client().state(), ClientState::Allocated);

    let other = Credentials::new("other", "word");
    assert_eq!(
        sim.client().set_credentials(now, other),
        Err(Error::OtherUsername)
    );
    let mut users = crate::sim::users();
    users.insert("user", "new").unwrap();
    sim.server.set_authenticator(Box::new(users));
    sim.client()
        .set_credentials(now, Credentials::new("user", "new"))
        .unwrap();
    sim.client()
        .create_permission(now, addr(PEER).ip())
        .unwrap();
    sim.run(secs(1));
    assert_eq!(
        sim.nodes[0].events.last(),
        Some(&Event::PermissionGranted(addr(PEER).ip()))
    );
}

/// A server whose every word the test says.
struct Scripted {
    client: Client,
    credentials: LongTermCredentials,
    now: std::time::Instant,
}

impl Scripted {
    fn new(path: rtc_shared::FiveTuple) -> Self {
        let now = origin();
        let rng = Rng::from_seed([9; 32]);
        Self {
            client: Client::new(client_config(), &PROVIDER, rng, path, now),
            credentials: LongTermCredentials::new(&PROVIDER, "user", "pass"),
            now,
        }
    }

    fn id(&mut self) -> TransactionId {
        let out = self.client.poll_transmit().expect("a request");
        Message::parse(&out.message).unwrap().transaction_id()
    }

    fn say(&mut self, response: MessageBuilder) -> Received {
        let from = self.client.path().peer_addr;
        self.client
            .handle_datagram(self.now, from, &response.finish())
    }

    fn error(&self, id: TransactionId, code: u16) -> MessageBuilder {
        MessageBuilder::new(Class::Error, rtc_stun::Method::ALLOCATE, id).error_code(code, "x")
    }

    /// Challenges the client; gives the identifier of its authenticated request.
    fn challenge(&mut self) -> TransactionId {
        let id = self.id();
        let challenge = self.error(id, 401).realm("r").nonce(b"n");
        assert_eq!(self.say(challenge), Received::Consumed);
        self.id()
    }

    fn sign(&self, response: MessageBuilder) -> MessageBuilder {
        let key = long_term_key(&PROVIDER, PasswordAlgorithm::Md5, "user", "r", "pass").unwrap();
        let hmac = PROVIDER.hmac(rtc_crypto::HmacAlgorithm::Sha1).unwrap();
        response.message_integrity(&*hmac.key(key.as_ref()))
    }

    fn redirect(&self, id: TransactionId, to: &str) -> MessageBuilder {
        let response = self.error(id, 300).alternate_server(addr(to));
        self.sign(response.alternate_domain("b.example.org"))
    }
}

#[test]
fn redirection_over_udp_is_followed_to_another_server() {
    let mut script = Scripted::new(udp("198.51.100.1:5000"));
    let id = script.challenge();
    let redirect = script.redirect(id, "85.10.0.2:3478");
    assert_eq!(script.say(redirect), Received::Consumed);
    assert_eq!(script.client.path().peer_addr, addr("85.10.0.2:3478"));
    let out = script.client.poll_transmit().unwrap();
    assert_eq!(out.transport.peer_addr, addr("85.10.0.2:3478"));
    let message = Message::parse(&out.message).unwrap();
    assert!(
        message.nonce().is_none(),
        "the nonce is of the other server"
    );
    // What the first server still says is not heard.
    let late = script
        .client
        .handle_datagram(script.now, addr(SERVER), &out.message);
    assert_eq!(late, Received::NotMine);
}

#[test]
fn redirection_in_a_circle_ends() {
    let mut script = Scripted::new(udp("198.51.100.1:5000"));
    for to in ["85.10.0.2:3478", "85.10.0.3:3478", SERVER] {
        let id = script.challenge();
        let redirect = script.redirect(id, to);
        assert_eq!(script.say(redirect), Received::Consumed);
    }
    assert_eq!(
        script.client.poll_event(),
        Some(Event::Failed(Error::Redirection))
    );
}

#[test]
fn redirection_is_bounded() {
    let mut script = Scripted::new(udp("198.51.100.1:5000"));
    for hop in 0..5 {
        assert_eq!(script.client.poll_event(), None, "hop {hop}");
        let id = script.challenge();
        let redirect = script.redirect(id, &format!("85.10.1.{hop}:3478"));
        assert_eq!(script.say(redirect), Received::Consumed);
    }
    assert_eq!(
        script.client.poll_event(),
        Some(Event::Failed(Error::Redirection))
    );
}

#[test]
fn redirection_without_integrity_is_not_followed() {
    // Before the challenge nobody can prove anything.
    let mut script = Scripted::new(udp("198.51.100.1:5000"));
    let id = script.id();
    let redirect = script.redirect(id, "85.10.0.2:3478");
    assert_eq!(script.say(redirect), Received::Consumed);
    assert_eq!(
        script.client.poll_event(),
        Some(Event::Failed(Error::Redirection))
    );

    // Afterwards a forged one is as if it had never come.
    let mut script = Scripted::new(udp("198.51.100.1:5000"));
    let id = script.challenge();
    let forged = script
        .error(id, 300)
        .alternate_server(addr("85.10.0.2:3478"));
    assert_eq!(script.say(forged), Received::Consumed);
    assert_eq!(script.client.stats().ignored_response, 1);
    assert_eq!(script.client.state(), ClientState::Allocating);
    let redirect = script.redirect(id, "85.10.0.2:3478");
    assert_eq!(script.say(redirect), Received::Consumed);
    assert_eq!(script.client.path().peer_addr, addr("85.10.0.2:3478"));
}

#[test]
fn redirection_of_a_stream_asks_for_another() {
    let mut script = Scripted::new(tcp("198.51.100.1:5000"));
    let id = script.challenge();
    let redirect = script.redirect(id, "85.10.0.2:3478");
    assert_eq!(script.say(redirect), Received::Consumed);
    assert_eq!(
        script.client.poll_event(),
        Some(Event::Redirected {
            server: addr("85.10.0.2:3478"),
            domain: Some("b.example.org".to_owned()),
        })
    );
    assert_eq!(script.client.poll_transmit(), None);
    let mut path = tcp("198.51.100.1:5001");
    path.peer_addr = addr("85.10.0.2:3478");
    script.client.handle_reconnected(script.now, path);
    assert_eq!(
        script
            .client
            .poll_transmit()
            .unwrap()
            .transport
            .five_tuple(),
        path
    );

    // Nobody opens the stream.
    let mut script = Scripted::new(tcp("198.51.100.1:5000"));
    let id = script.challenge();
    let redirect = script.redirect(id, "85.10.0.2:3478");
    assert_eq!(script.say(redirect), Received::Consumed);
    let deadline = script.client.poll_timeout().unwrap();
    script.client.handle_timeout(deadline);
    assert_eq!(script.client.state(), ClientState::Failed);
}

#[test]
fn a_refusal_without_integrity_counts_when_nothing_better_comes() {
    let mut script = Scripted::new(udp("198.51.100.1:5000"));
    let id = script.challenge();
    let forged = script.error(id, 437);
    assert_eq!(script.say(forged), Received::Consumed);
    assert_eq!(script.client.poll_event(), None);
    script.now = script.client.poll_timeout().unwrap();
    script.client.handle_timeout(script.now);
    script.now += secs(1);
    script.client.handle_timeout(script.now);
    assert!(refused(437)(&script.client.poll_event().unwrap()));

    let mut script = Scripted::new(udp("198.51.100.1:5000"));
    let id = script.challenge();
    let forged = script.error(id, 437);
    assert_eq!(script.say(forged), Received::Consumed);
    let success = MessageBuilder::new(Class::Success, rtc_stun::Method::ALLOCATE, id)
        .xor_relayed_address(addr("85.10.0.1:50000"))
        .xor_mapped_address(addr("198.51.100.1:5000"))
        .lifetime(secs(600));
    let signed = script.sign(success.clone());
    let unsigned = success;
    assert_eq!(script.say(unsigned), Received::Consumed);
    assert_eq!(script.client.state(), ClientState::Allocating);
    assert_eq!(script.say(signed), Received::Consumed);
    assert_eq!(script.client.state(), ClientState::Allocated);
}

#[test]
fn over_a_stream_a_response_that_is_not_authentic_ends_the_request() {
    let mut script = Scripted::new(tcp("198.51.100.1:5000"));
    let id = script.challenge();
    let unsigned = MessageBuilder::new(Class::Success, rtc_stun::Method::ALLOCATE, id)
        .xor_relayed_address(addr("85.10.0.1:50000"));
    assert_eq!(script.say(unsigned), Received::Consumed);
    assert_eq!(
        script.client.poll_event(),
        Some(Event::Failed(Error::IntegrityViolated))
    );
}

#[test]
fn a_success_that_lacks_something_is_no_success() {
    for lacking in 0..4 {
        let mut script = Scripted::new(udp("198.51.100.1:5000"));
        let id = script.challenge();
        let mut success = MessageBuilder::new(Class::Success, rtc_stun::Method::ALLOCATE, id);
        if lacking != 0 {
            success = success.xor_relayed_address(addr("85.10.0.1:50000"));
        }
        if lacking != 1 {
            success = success.xor_mapped_address(addr("198.51.100.1:5000"));
        }
        if lacking != 2 {
            success = success.lifetime(secs(600));
        }
        if lacking == 3 {
            success = success.attribute(rtc_stun::AttributeType(0x7ff0), b"?");
        }
        let signed = script.sign(success);
        assert_eq!(script.say(signed), Received::Consumed);
        assert_eq!(
            script.client.poll_event(),
            Some(Event::Failed(Error::InvalidResponse)),
            "lacking {lacking}"
        );
    }
}

#[test]
fn challenges_without_end_are_given_up() {
    let mut script = Scripted::new(udp("198.51.100.1:5000"));
    script.challenge();
    let mut rounds = 0;
    let error = loop {
        rounds += 1;
        assert!(rounds < 10);
        match script.client.poll_event() {
            Some(Event::Failed(error)) => break error,
            Some(other) => panic!("{other:?}"),
            None => {}
        }
        let id = match script.client.poll_transmit() {
            Some(out) => Message::parse(&out.message).unwrap().transaction_id(),
            None => script.credentials_id(),
        };
        let stale = script
            .error(id, 438)
            .realm("r")
            .nonce(format!("n{rounds}").as_bytes());
        assert_eq!(script.say(stale), Received::Consumed);
    };
    assert_eq!(error, Error::Credentials(CredentialsError::NonceLoop));
    assert!(script.credentials.realm().is_none());
}

impl Scripted {
    /// The identifier of the request under way, from its repetition.
    fn credentials_id(&mut self) -> TransactionId {
        self.now = self.client.poll_timeout().unwrap();
        self.client.handle_timeout(self.now);
        self.id()
    }
}
