use rtc_ice::{AgentConfig, Role, State};
use rtc_stun::Message;

use crate::raw::{LOCAL, PEER, Raw};
use crate::sim::{LEFT, RIGHT, Sim, addr, ms, path, secs, udp};

#[test]
fn lost_path_is_disconnected_then_failed_and_nothing_is_sent_after() {
    let mut sim = Sim::connected(41);
    let lost_at = sim.elapsed();
    sim.blocked.push(Box::new(|_| true));
    sim.run(secs(40));
    for side in [LEFT, RIGHT] {
        let disconnected = sim.reached(side, State::Disconnected).unwrap() - lost_at;
        let failed = sim.reached(side, State::Failed).unwrap() - lost_at;
        // Asked within 6 s and silent for 5 s.
        assert!(
            disconnected >= secs(5) - ms(50) && disconnected <= secs(11),
            "{disconnected:?}"
        );
        assert!(failed <= secs(30) && failed >= secs(23), "{failed:?}");
        assert_eq!(sim.agents[side].selected_path(), None);
    }
    let sent = sim.sent;
    sim.run(secs(60));
    assert_eq!(sim.sent, sent);
}

#[test]
fn disconnected_recovers_when_answers_come_again() {
    let mut sim = Sim::connected(42);
    sim.blocked.push(Box::new(|_| true));
    sim.run(secs(15));
    assert!(sim.both_are(State::Disconnected));
    assert!(
        sim.left().selected_path().is_some(),
        "consent is still there"
    );
    sim.blocked.clear();
    assert!(
        sim.run_while(secs(2), Sim::both_are_up),
        "{:?}",
        sim.states()
    );
    sim.run(secs(60));
    assert!(sim.both_are_up());
}

#[test]
fn random_loss_never_disconnects() {
    for seed in 0..20 {
        let mut sim = Sim::connected(100 + seed);
        sim.loss = 0.2;
        sim.run(secs(300));
        for side in [LEFT, RIGHT] {
            assert_eq!(sim.reached(side, State::Disconnected), None, "seed {seed}");
        }
    }
}

#[test]
fn checks_of_the_peer_keep_it_connected_but_are_no_consent() {
    let mut sim = Sim::connected(43);
    // What the left sends is lost, what it hears are the peer's checks.
    sim.blocked
        .push(Box::new(|path| path.local_addr == addr("192.0.2.1:1000")));
    sim.run(secs(22));
    assert!(matches!(
        sim.left().state(),
        State::Connected | State::Completed
    ));
    assert_eq!(sim.right().state(), State::Disconnected);
    sim.run(secs(12));
    assert_eq!(sim.left().state(), State::Failed);
    assert_eq!(sim.left().selected_path(), None);
}

#[test]
fn second_path_takes_over_before_anyone_is_disconnected() {
    let mut sim = Sim::new(44, AgentConfig::default(), AgentConfig::default());
    for (side, host) in [(LEFT, 1), (RIGHT, 2)] {
        sim.host(side, &format!("10.0.0.{host}:1000"));
        sim.host(side, &format!("10.1.0.{host}:1000"));
    }
    sim.blocked.push(Box::new(|path| {
        path.local_addr.ip().to_string()[..4] != path.peer_addr.ip().to_string()[..4]
    }));
    sim.signal(LEFT);
    sim.signal(RIGHT);
    sim.run(secs(50));
    assert_eq!(
        sim.left().selected_path(),
        Some(path("10.0.0.1:1000", "10.0.0.2:1000"))
    );
    sim.blocked.push(Box::new(|path| {
        path.local_addr.ip().to_string().starts_with("10.0.")
    }));
    sim.run(secs(20));
    assert_eq!(
        sim.left().selected_path(),
        Some(path("10.1.0.1:1000", "10.1.0.2:1000"))
    );
    assert!(sim.paths_agree() && sim.both_are_up());
    for side in [LEFT, RIGHT] {
        assert_eq!(sim.reached(side, State::Disconnected), None);
        assert!(
            sim.agents[side]
                .pairs()
                .any(|pair| pair.selected && pair.nominated)
        );
    }
    sim.run(secs(120));
    assert!(sim.both_are_up());
}

#[test]
fn removed_interface_is_replaced_by_another() {
    let mut sim = Sim::connected(45);
    sim.left().remove_local_base(addr("192.0.2.1:1000"));
    sim.run(ms(1));
    assert_eq!(sim.left().state(), State::Disconnected);
    assert_eq!(sim.left().selected_path(), None);
    assert!(sim.left().local_candidates().is_empty());
    sim.run(secs(5));
    sim.host(LEFT, "192.0.2.7:1000");
    assert!(sim.run_while(secs(1), |sim| sim.states()[LEFT] == State::Completed));
    sim.run(secs(60));
    assert!(sim.both_are_up() && sim.paths_agree());
}

#[test]
fn removed_only_interface_fails_in_the_end() {
    let mut sim = Sim::connected(46);
    sim.left().remove_local_base(addr("192.0.2.1:1000"));
    sim.run(secs(35));
    assert_eq!(sim.left().state(), State::Failed);
}

/// An agent that controls and is connected to the handmade peer.
fn connected() -> Raw {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlling);
    raw.agent.add_remote_candidate(udp(PEER)).unwrap();
    raw.agent.end_of_local_candidates();
    raw.agent.end_of_remote_candidates();
    raw.wait(ms(10));
    assert_eq!(raw.answer_all().len(), 1);
    raw.wait(ms(10));
    let nomination = raw.answer_all();
    assert!(
        Message::parse(&nomination[0].message)
            .unwrap()
            .use_candidate()
    );
    assert_eq!(raw.agent.state(), State::Completed);
    raw
}

#[test]
fn consent_requests_are_fresh_random_in_time_and_not_repeated() {
    let mut raw = connected();
    let mut times = vec![raw.now];
    let mut ids = Vec::new();
    for _ in 0..50 {
        while raw.agent.state() == State::Completed {
            raw.wait(ms(1));
            let requests = raw.answer_all();
            if let Some(request) = requests.first() {
                assert_eq!(requests.len(), 1);
                ids.push(Message::parse(&request.message).unwrap().transaction_id());
                break;
            }
        }
        times.push(raw.now);
    }
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        gaps[1..]
            .iter()
            .all(|gap| (ms(3_990)..=ms(6_010)).contains(gap)),
        "{gaps:?}"
    );
    let distinct: std::collections::BTreeSet<_> = gaps.iter().collect();
    assert!(distinct.len() > 40);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
}

#[test]
fn forbidden_revokes_consent_at_once() {
    let mut raw = connected();
    raw.wait(secs(6));
    let (requests, _) = raw.exchange();
    let refusal = raw.error(&requests[0], 403);
    raw.read(&refusal);
    assert_eq!(raw.agent.selected_path(), None);
    assert_eq!(raw.agent.state(), State::Disconnected);
}

#[test]
fn consent_survives_on_answers_of_the_peer_alone() {
    let mut raw = connected();
    // Authentic checks of the peer every second, no answers to ours.
    for _ in 0..26 {
        raw.wait(secs(1));
        let check = raw.check(Role::Controlled);
        let check = raw.seal(check);
        raw.read(&check);
        assert!(raw.agent.selected_path().is_some());
        assert_eq!(raw.agent.state(), State::Completed);
    }
    raw.wait(secs(5));
    assert_eq!(raw.agent.selected_path(), None);
    assert_eq!(raw.agent.state(), State::Failed);
    assert!(!raw.agent.accepts(&path(LOCAL, PEER)) || raw.agent.selected_path().is_none());
}
