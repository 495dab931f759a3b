use rtc_ice::{AgentConfig, CandidateType, Event, Role, State};

use crate::raw::{PEER, Raw};
use crate::sim::{LEFT, RIGHT, Sim, addr, config, ms, path, secs, udp};

fn lite() -> AgentConfig {
    config(|config| config.lite = true)
}

fn lite_pair(left: AgentConfig, right: AgentConfig) -> Sim {
    let lite = [left.lite, right.lite];
    let mut sim = Sim::new(31, left, right);
    sim.host(LEFT, "192.0.2.1:1000");
    sim.host(RIGHT, "192.0.2.2:2000");
    for side in [LEFT, RIGHT] {
        sim.agents[side].set_remote_lite(lite[1 - side]);
        sim.signal(side);
    }
    sim
}

#[test]
fn full_agent_controls_a_lite_one() {
    for (left, right) in [
        (AgentConfig::default(), lite()),
        (lite(), AgentConfig::default()),
    ] {
        let lite_side = if left.lite { LEFT } else { RIGHT };
        let mut sim = lite_pair(left, right);
        assert_eq!(sim.agents[lite_side].role(), Role::Controlled);
        assert_eq!(sim.agents[1 - lite_side].role(), Role::Controlling);
        assert!(sim.run_while(secs(2), Sim::both_are_up));
        assert!(sim.elapsed() <= ms(40), "{:?}", sim.elapsed());
        sim.run(secs(120));
        assert!(sim.both_are_up() && sim.paths_agree());
        let checks: u64 = sim.agents[lite_side]
            .pairs()
            .map(|pair| pair.requests_sent)
            .sum();
        assert_eq!(checks, 0, "a lite agent sends no checks");
    }
}

#[test]
fn lite_server_behind_one_to_one_nat_is_reached_by_its_public_address() {
    let mut sim = Sim::new(32, AgentConfig::default(), lite());
    sim.host(LEFT, "192.0.2.1:1000");
    sim.own(RIGHT, addr("10.0.0.2:2000"));
    sim.nat
        .insert(addr("10.0.0.2:2000"), addr("198.51.100.2:2000"));
    let public = udp("198.51.100.2:2000").with_base(addr("10.0.0.2:2000"));
    sim.right().add_local_candidate(public).unwrap();
    sim.left().set_remote_lite(true);
    sim.signal(LEFT);
    sim.signal(RIGHT);
    sim.run(secs(60));
    assert!(sim.both_are_up());
    let (used, local, _) = sim.selected(RIGHT);
    assert_eq!(used, path("10.0.0.2:2000", "192.0.2.1:1000"));
    assert_eq!(local, CandidateType::Host);
}

#[test]
fn lite_agent_notices_a_silent_peer_and_recovers() {
    let mut sim = lite_pair(AgentConfig::default(), lite());
    sim.run(secs(10));
    assert!(sim.both_are_up());
    sim.blocked.push(Box::new(|_| true));
    sim.run(secs(20));
    assert_eq!(sim.right().state(), State::Disconnected);
    sim.blocked.clear();
    sim.run(secs(3));
    assert!(sim.both_are_up());
    sim.blocked.push(Box::new(|_| true));
    sim.run(secs(40));
    assert!(sim.both_are(State::Failed));
    assert_eq!(sim.right().selected_path(), None);
}

#[test]
fn two_lite_agents_use_the_best_pair_unchecked() {
    let mut sim = lite_pair(lite(), lite());
    sim.run(secs(100));
    assert!(
        sim.both_are_up() && sim.paths_agree(),
        "{:?} {:?}",
        sim.states(),
        sim.events
    );
    assert_eq!(sim.sent, [0, 0]);
}

#[test]
fn both_controlling_or_both_controlled_end_with_one_of_each() {
    for role in [Role::Controlling, Role::Controlled] {
        for seed in 0..40 {
            let mut sim = Sim::new(seed, AgentConfig::default(), AgentConfig::default());
            sim.loss = 0.1;
            sim.jitter = ms(20);
            sim.left().set_role(role);
            sim.right().set_role(role);
            sim.host(LEFT, "192.0.2.1:1000");
            sim.host(RIGHT, "192.0.2.2:2000");
            sim.signal(LEFT);
            sim.run(ms(seed * 3));
            sim.signal(RIGHT);
            assert!(
                sim.run_while(secs(30), Sim::both_are_up),
                "seed {seed} {role:?}"
            );
            sim.run(secs(40));
            let roles = [sim.agents[LEFT].role(), sim.agents[RIGHT].role()];
            assert_ne!(roles[0], roles[1], "seed {seed} {role:?}");
            assert!(
                sim.both_are(State::Completed),
                "seed {seed} {role:?} {:?}",
                sim.states()
            );
            let told = |side: usize| {
                sim.events[side]
                    .iter()
                    .any(|(_, e)| matches!(e, Event::RoleChanged(_)))
            };
            assert!(told(LEFT) || told(RIGHT), "seed {seed} {role:?}");
            // Signalling that says the same again does not bring the conflict back.
            sim.agents[LEFT].set_role(role);
            assert_eq!(sim.agents[LEFT].role(), roles[0]);
        }
    }
}

/// The error code of the only response that was written, 0 for success.
fn only_answer(raw: &mut Raw) -> u16 {
    let (_, responses) = raw.exchange();
    assert_eq!(responses.len(), 1);
    let message = rtc_stun::Message::parse(&responses[0].message).unwrap();
    let key = Raw::key(&raw.agent.local_credentials().pwd);
    message.verify_integrity(&*key).unwrap();
    message.error_code().map_or(0, |error| error.code())
}

#[test]
fn larger_tiebreaker_controls() {
    for (role, tiebreaker, code, after) in [
        (Role::Controlling, 0, 487, Role::Controlling),
        (Role::Controlling, u64::MAX, 0, Role::Controlled),
        (Role::Controlled, 0, 0, Role::Controlling),
        (Role::Controlled, u64::MAX, 487, Role::Controlled),
    ] {
        let mut raw = Raw::new(AgentConfig::default(), role);
        raw.tiebreaker = tiebreaker;
        let check = raw.check(role);
        let check = raw.seal(check);
        raw.read(&check);
        assert_eq!(only_answer(&mut raw), code, "{role:?} {tiebreaker}");
        assert_eq!(raw.agent.role(), after);
        // Who was refused learned no pair from us.
        assert_eq!(raw.agent.pairs().count(), usize::from(code == 0));
    }
}

#[test]
fn refused_for_its_role_it_switches_with_a_new_tiebreaker_and_checks_again() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlling);
    raw.agent.add_remote_candidate(udp(PEER)).unwrap();
    raw.wait(ms(1));
    let (requests, _) = raw.exchange();
    let first = rtc_stun::Message::parse(&requests[0].message)
        .unwrap()
        .ice_controlling()
        .unwrap();
    let refusal = raw.error(&requests[0], 487);
    raw.read(&refusal);
    assert_eq!(raw.agent.role(), Role::Controlled);
    // The same refusal again finds no request.
    raw.read(&refusal);
    assert_eq!(raw.agent.role(), Role::Controlled);
    assert_eq!(raw.agent.stats().unmatched_response, 1);
    raw.wait(ms(50));
    let (requests, _) = raw.exchange();
    assert_eq!(requests.len(), 1);
    let second = rtc_stun::Message::parse(&requests[0].message)
        .unwrap()
        .ice_controlled()
        .unwrap();
    assert_ne!(first, second);
}

#[test]
fn lite_agent_refuses_to_control() {
    let mut raw = Raw::new(lite(), Role::Controlling);
    assert_eq!(raw.agent.role(), Role::Controlled);
    raw.tiebreaker = 0;
    let check = raw.check(Role::Controlled);
    let check = raw.seal(check);
    raw.read(&check);
    assert_eq!(only_answer(&mut raw), 487);
}
