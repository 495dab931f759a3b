use bytes::BytesMut;
use proptest::prelude::*;
use rtc_ice::{AgentConfig, PairState, Role, State};
use rtc_shared::{Protocol, Rng};
use rtc_stun::{AttributeType, Class, Message, MessageBuilder, Method, TransactionId};

use crate::raw::{LOCAL, PEER, Raw};
use crate::sim::{addr, ms, path, secs, udp};

#[test]
fn forged_requests_change_nothing_and_get_no_answer() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
    let before = raw.snapshot();
    let wrong = Raw::key("wrong password, very");
    let right = Raw::key(&raw.agent.local_credentials().pwd.clone());

    let wrong_key = raw
        .check(Role::Controlling)
        .message_integrity(&*wrong)
        .fingerprint()
        .finish();
    let unsigned = raw.check(Role::Controlling).fingerprint().finish();
    let no_fingerprint = raw
        .check(Role::Controlling)
        .message_integrity(&*right)
        .finish();
    let id = TransactionId::random(&mut raw.rng);
    let nobody = MessageBuilder::new(Class::Request, Method::BINDING, id).username("nobody:peer");
    let nobody = nobody
        .priority(1)
        .message_integrity(&*right)
        .fingerprint()
        .finish();
    let nameless = MessageBuilder::new(Class::Request, Method::BINDING, id)
        .message_integrity(&*right)
        .fingerprint()
        .finish();
    for forged in [&wrong_key, &unsigned, &no_fingerprint, &nobody, &nameless] {
        raw.read(forged);
    }
    // The flag is added behind the integrity, where it does not count.
    let mut honest = raw.check(Role::Controlling);
    honest = honest.message_integrity(&*right);
    let tampered = honest.use_candidate().fingerprint().finish();
    let elsewhere = raw.check(Role::Controlling);
    let elsewhere = raw.seal(elsewhere);
    raw.read_at(addr("192.0.2.99:1"), addr(PEER), &elsewhere);
    raw.wait(ms(100));
    assert_eq!(raw.snapshot(), before);
    assert!(raw.written().is_empty());
    let stats = raw.agent.stats();
    assert_eq!(stats.bad_integrity, 2);
    assert_eq!(stats.bad_fingerprint, 1);
    assert_eq!(stats.unknown_username, 2);
    assert_eq!(stats.unknown_local_address, 1);

    raw.read(&tampered);
    raw.wait(ms(1));
    raw.answer_all();
    assert!(
        raw.agent
            .pairs()
            .all(|pair| !pair.nominated && pair.state == PairState::Succeeded)
    );
}

#[test]
fn replayed_request_from_another_address_is_dropped() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
    let check = raw.check(Role::Controlling).use_candidate();
    let check = raw.seal(check);
    raw.read(&check);
    // The honest retransmission is answered again.
    raw.read(&check);
    assert_eq!(raw.exchange().1.len(), 2);
    let before = raw.snapshot();
    raw.read_at(addr(LOCAL), addr("203.0.113.66:6"), &check);
    assert_eq!(raw.snapshot(), before);
    assert_eq!(raw.agent.stats().replayed, 1);
    assert!(raw.exchange().1.is_empty());
}

#[test]
fn a_copy_that_is_faster_than_the_check_does_not_shut_the_peer_out() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
    raw.agent.add_remote_candidate(udp(PEER)).unwrap();
    let check = raw.check(Role::Controlling);
    let check = raw.seal(check);
    raw.read_at(addr(LOCAL), addr("203.0.113.66:6"), &check);
    raw.exchange();
    raw.read(&check);
    assert_eq!(raw.agent.stats().replayed, 0);
    let (_, answers) = raw.exchange();
    assert!(
        answers
            .iter()
            .any(|answer| answer.transport.peer_addr == addr(PEER))
    );
}

#[test]
fn only_the_authentic_answer_from_the_right_address_counts() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlling);
    raw.agent.add_remote_candidate(udp(PEER)).unwrap();
    raw.wait(ms(1));
    let (requests, _) = raw.exchange();
    let request = &requests[0];
    let message = Message::parse(&request.message).unwrap();
    let honest = raw.success(request);
    let before = raw.snapshot();

    let forge = |password: &str| {
        MessageBuilder::response(Class::Success, &message)
            .xor_mapped_address(addr(LOCAL))
            .message_integrity(&*Raw::key(password))
            .fingerprint()
            .finish()
    };
    // Reflected with our own key, unsigned, and an unsigned error.
    let reflected = forge(&raw.agent.local_credentials().pwd.clone());
    raw.read(&reflected);
    let unsigned = MessageBuilder::response(Class::Success, &message)
        .xor_mapped_address(addr(LOCAL))
        .fingerprint()
        .finish();
    raw.read(&unsigned);
    let refusal = MessageBuilder::response(Class::Error, &message)
        .error_code(487, "Role Conflict")
        .fingerprint()
        .finish();
    raw.read(&refusal);
    raw.read_at(addr(LOCAL), addr("203.0.113.66:6"), &honest);
    let empty = MessageBuilder::response(Class::Success, &message)
        .message_integrity(&*Raw::key(&raw.credentials.pwd))
        .fingerprint()
        .finish();
    raw.read(&empty);
    let unknown = forge(&raw.credentials.pwd.clone());
    let mut other_id = unknown.clone();
    other_id[12] ^= 1;
    raw.read(&other_id);
    assert_eq!(raw.snapshot(), before);
    let stats = *raw.agent.stats();
    assert_eq!(stats.bad_integrity, 3);
    assert_eq!(stats.wrong_path_response, 1);
    assert_eq!(stats.bad_response, 1);
    assert_eq!(stats.unmatched_response, 1);

    raw.read(&honest);
    assert_eq!(raw.agent.state(), State::Connected);
    raw.read(&honest);
    assert_eq!(raw.agent.stats().unmatched_response, 2);
}

#[test]
fn flood_of_authentic_checks_stays_within_the_caps() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
    for port in 1..2_000u16 {
        let check = raw.check(Role::Controlling);
        let check = raw.seal(check);
        raw.read_at(
            addr(LOCAL),
            format!("198.51.100.1:{port}").parse().unwrap(),
            &check,
        );
    }
    assert!(raw.agent.remote_candidates().count() <= 16);
    assert!(raw.agent.pairs().count() <= 100);
    assert!(raw.agent.stats().over_limit > 1_000);
    // The real peer still gets through.
    let check = raw.check(Role::Controlling).use_candidate();
    let check = raw.seal(check);
    raw.read(&check);
    for _ in 0..100 {
        raw.wait(ms(10));
        let (requests, _) = raw.exchange();
        for request in requests
            .iter()
            .filter(|r| r.transport.peer_addr == addr(PEER))
        {
            let response = raw.success(request);
            raw.read(&response);
        }
    }
    assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, PEER)));
}

#[test]
fn early_checks_are_bounded_and_need_the_right_sender() {
    let mut agent = crate::sim::agent(AgentConfig::default(), 3);
    let now = crate::sim::any_instant();
    agent.handle_timeout(now).unwrap();
    agent.add_local_candidate(udp(LOCAL)).unwrap();
    let credentials = rtc_ice::Credentials::new("peer", "p".repeat(22)).unwrap();
    let rng = Rng::from_seed([9; 32]);
    let mut raw = Raw {
        agent,
        credentials,
        now,
        rng,
        tiebreaker: 1,
    };
    for port in 1..100u16 {
        let check = raw.check(Role::Controlling);
        let check = raw.seal(check);
        raw.read_at(
            addr(LOCAL),
            format!("198.51.100.1:{port}").parse().unwrap(),
            &check,
        );
    }
    assert_eq!(raw.exchange().1.len(), 16);
    assert_eq!(raw.agent.stats().over_limit, 83);
    assert_eq!(
        (raw.agent.state(), raw.agent.pairs().count()),
        (State::New, 0)
    );
    // The answer names another fragment: these checks were of somebody else.
    raw.agent
        .set_remote_credentials(rtc_ice::Credentials::new("real", "r".repeat(22)).unwrap())
        .unwrap();
    raw.wait(ms(100));
    assert_eq!(raw.agent.pairs().count(), 0);
}

#[test]
fn foreign_fragment_is_answered_without_a_pair() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
    raw.credentials.ufrag = "fork".into();
    let check = raw.check(Role::Controlling);
    let check = raw.seal(check);
    raw.read(&check);
    assert_eq!(raw.exchange().1.len(), 1);
    assert_eq!(raw.agent.pairs().count(), 0);
    assert_eq!(raw.agent.stats().other_remote_ufrag, 1);
}

#[test]
fn unknown_attributes_and_missing_priority_are_refused() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
    let unknown = raw
        .check(Role::Controlling)
        .attribute(AttributeType(0x7abc), b"what");
    let unknown = raw.seal(unknown);
    raw.read(&unknown);
    let (_, responses) = raw.exchange();
    let reply = Message::parse(&responses[0].message).unwrap();
    assert_eq!(reply.error_code().unwrap().code(), 420);
    let listed: Vec<_> = reply.unknown_attributes().unwrap().collect();
    assert_eq!(listed, [AttributeType(0x7abc)]);

    let username = format!("{}:peer", raw.agent.local_credentials().ufrag);
    let id = TransactionId::random(&mut raw.rng);
    let bare = MessageBuilder::new(Class::Request, Method::BINDING, id).username(&username);
    let bare = raw.seal(bare);
    raw.read(&bare);
    let (_, responses) = raw.exchange();
    assert_eq!(
        Message::parse(&responses[0].message)
            .unwrap()
            .error_code()
            .unwrap()
            .code(),
        400
    );
    assert_eq!(raw.agent.stats().bad_request, 2);
    // Attributes that need no understanding are passed over.
    let optional = raw
        .check(Role::Controlling)
        .attribute(AttributeType(0xc057), &[0, 1, 0, 10]);
    let optional = raw.seal(optional);
    raw.read(&optional);
    assert_eq!(raw.agent.pairs().count(), 1);
}

#[test]
fn success_answer_is_authentic_and_mirrors_the_source() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
    let check = raw.check(Role::Controlling);
    let check = raw.seal(check);
    raw.read(&check);
    let (_, responses) = raw.exchange();
    let reply = Message::parse(&responses[0].message).unwrap();
    assert_eq!(reply.class(), Class::Success);
    assert_eq!(reply.xor_mapped_address(), Some(addr(PEER)));
    assert_eq!(reply.username(), None);
    reply
        .verify_integrity(&*Raw::key(&raw.agent.local_credentials().pwd))
        .unwrap();
    reply.verify_fingerprint().unwrap();
    assert_eq!(responses[0].transport.peer_addr, addr(PEER));
}

#[test]
fn old_instants_are_clamped() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlling);
    raw.agent.add_remote_candidate(udp(PEER)).unwrap();
    raw.wait(secs(1));
    let later = raw.now;
    raw.agent.handle_timeout(later).unwrap();
    raw.now -= secs(1);
    let check = raw.check(Role::Controlled);
    let check = raw.seal(check);
    raw.read(&check);
    assert!(raw.agent.poll_timeout().is_none_or(|at| at > later));
    assert!(raw.written().last().unwrap().now >= later);
}

proptest! {
    #[test]
    fn arbitrary_datagrams_never_panic_nor_change_state(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
        let before = raw.snapshot();
        raw.read(&bytes);
        prop_assert_eq!(raw.snapshot(), before);
        prop_assert!(raw.written().is_empty());
    }

    #[test]
    fn mutated_checks_never_panic_nor_change_state(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
        let before = raw.snapshot();
        let check = raw.check(Role::Controlling).use_candidate();
        let mut check: BytesMut = raw.seal(check);
        let at = at.index(check.len());
        check[at] ^= 1 << bit;
        raw.read(&check);
        prop_assert_eq!(raw.snapshot(), before);
        prop_assert!(raw.written().is_empty());
    }
}
