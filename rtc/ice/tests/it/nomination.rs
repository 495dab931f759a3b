use rtc_ice::{AgentConfig, Candidate, PairState, Role, State};
use rtc_stun::Message;

use crate::raw::{LOCAL, PEER, Raw};
use crate::sim::{LEFT, RIGHT, Sim, addr, ms, path, secs, udp};

const SECOND: &str = "192.0.2.3:3000";

/// A controlled agent that knows two addresses of the peer.
fn controlled() -> Raw {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
    let mut first = udp(PEER);
    (first.foundation, first.priority) = ("1".into(), 2_000_000_000);
    let mut second = udp(SECOND);
    (second.foundation, second.priority) = ("2".into(), 1_000_000_000);
    raw.agent.add_remote_candidate(first).unwrap();
    raw.agent.add_remote_candidate(second).unwrap();
    raw
}

fn ping(raw: &mut Raw, from: &str, use_candidate: bool) {
    let mut check = raw.check(Role::Controlling);
    if use_candidate {
        check = check.use_candidate();
    }
    let check = raw.seal(check);
    raw.read_at(addr(LOCAL), addr(from), &check);
}

/// Answers for a while as the peer does.
fn live(raw: &mut Raw, millis: u64) {
    for _ in 0..millis / 5 {
        raw.wait(ms(5));
        raw.answer_all();
    }
}

#[test]
fn aggressive_peer_is_followed_from_pair_to_pair() {
    let mut raw = controlled();
    // The flag is on the very first check, before the pair is valid.
    ping(&mut raw, SECOND, true);
    assert_eq!(raw.agent.selected_path(), None);
    live(&mut raw, 200);
    assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, SECOND)));
    // And on every check after, as it finds a better pair.
    for _ in 0..10 {
        ping(&mut raw, PEER, true);
        live(&mut raw, 100);
    }
    assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, PEER)));
    // Single flagged checks that were still under way on the old pair do not bring it back.
    ping(&mut raw, SECOND, true);
    live(&mut raw, 100);
    assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, PEER)));
    // When it moves for good, we move, though the priority is lower.
    for _ in 0..15 {
        ping(&mut raw, SECOND, true);
        live(&mut raw, 100);
    }
    assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, SECOND)));
}

#[test]
fn flag_on_all_pairs_settles_on_the_best() {
    let mut raw = controlled();
    for _ in 0..20 {
        ping(&mut raw, SECOND, true);
        ping(&mut raw, PEER, true);
        live(&mut raw, 100);
    }
    assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, PEER)));
    assert!(raw.agent.stats().selected_path_changes <= 2);
}

#[test]
fn counted_nominations_win_by_their_count() {
    let mut raw = controlled();
    ping(&mut raw, PEER, false);
    ping(&mut raw, SECOND, false);
    live(&mut raw, 300);
    for (from, count, expected) in [(PEER, 1, PEER), (SECOND, 2, SECOND), (PEER, 1, SECOND)] {
        let check = raw
            .check(Role::Controlling)
            .use_candidate()
            .nomination(count);
        let check = raw.seal(check);
        raw.read_at(addr(LOCAL), addr(from), &check);
        assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, expected)));
    }
}

#[test]
fn data_goes_by_the_best_valid_pair_before_nomination() {
    let mut raw = controlled();
    ping(&mut raw, SECOND, false);
    raw.wait(ms(60));
    // Only the second path answers at first.
    let (requests, _) = raw.exchange();
    for request in &requests {
        if request.transport.peer_addr == addr(SECOND) {
            let response = raw.success(request);
            raw.read_at(addr(LOCAL), addr(SECOND), &response);
        }
    }
    assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, SECOND)));
    assert_eq!(raw.agent.state(), State::Connected);
    live(&mut raw, 500);
    assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, PEER)));
    assert!(raw.agent.pairs().all(|pair| !pair.nominated));
}

#[test]
fn controlling_nominates_the_best_pair_at_once_and_others_after_a_wait() {
    let mut sim = Sim::pair(81);
    sim.run(ms(41));
    assert!(sim.agents[RIGHT].pairs().any(|pair| pair.nominated));

    let mut sim = Sim::new(82, AgentConfig::default(), AgentConfig::default());
    sim.host(LEFT, "10.0.0.1:1");
    sim.host(LEFT, "10.0.1.1:1");
    sim.host(RIGHT, "10.0.0.2:1");
    sim.blocked.push(Box::new(|path| {
        path.local_addr == addr("10.0.0.1:1") || path.peer_addr == addr("10.0.0.1:1")
    }));
    sim.signal(LEFT);
    sim.signal(RIGHT);
    let nominated = |sim: &Sim| sim.agents[RIGHT].pairs().any(|pair| pair.nominated);
    assert!(sim.run_while(secs(2), |sim| nominated(sim)));
    // Valid after 70 ms at most, nominated 200 ms later.
    assert!(
        sim.elapsed() > ms(200) && sim.elapsed() < ms(320),
        "{:?}",
        sim.elapsed()
    );
}

#[test]
fn relay_is_left_when_a_direct_path_turns_up() {
    let mut sim = Sim::new(83, AgentConfig::default(), AgentConfig::default());
    sim.own(LEFT, addr("203.0.113.5:40000"));
    sim.host(LEFT, "10.0.0.1:1");
    let relayed = Candidate::relayed(addr("203.0.113.5:40000"), addr("10.0.0.1:1"));
    sim.left().add_local_candidate(relayed).unwrap();
    sim.host(RIGHT, "10.0.0.2:1");
    sim.blocked.push(Box::new(|path| {
        let direct = [addr("10.0.0.1:1"), addr("10.0.0.2:1")];
        direct.contains(&path.local_addr) && direct.contains(&path.peer_addr)
    }));
    sim.signal(LEFT);
    sim.signal(RIGHT);
    sim.run(ms(700));
    assert_eq!(
        sim.left().selected_path().unwrap().local_addr,
        addr("203.0.113.5:40000")
    );
    assert!(sim.agents[RIGHT].pairs().any(|pair| pair.nominated));
    sim.blocked.clear();
    sim.run(secs(5));
    assert_eq!(
        sim.left().selected_path(),
        Some(path("10.0.0.1:1", "10.0.0.2:1"))
    );
    assert!(sim.paths_agree());
    assert!(
        sim.agents[RIGHT]
            .pairs()
            .any(|pair| pair.selected && pair.nominated)
    );
}

#[test]
fn failed_nomination_moves_on_to_the_next_pair() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlling);
    for (address, foundation, priority) in [(PEER, "1", 2_000_000_000), (SECOND, "2", 1_000)] {
        let mut candidate = udp(address);
        (candidate.foundation, candidate.priority) = (foundation.into(), priority);
        raw.agent.add_remote_candidate(candidate).unwrap();
    }
    let mut refused = false;
    for _ in 0..400 {
        raw.wait(ms(5));
        let (requests, _) = raw.exchange();
        for request in requests {
            let flagged = Message::parse(&request.message).unwrap().use_candidate();
            let reply = match flagged && request.transport.peer_addr == addr(PEER) {
                true => {
                    refused = true;
                    raw.error(&request, 500)
                }
                false => raw.success(&request),
            };
            raw.read_at(addr(LOCAL), request.transport.peer_addr, &reply);
        }
    }
    assert!(refused);
    let nominated: Vec<_> = raw.agent.pairs().filter(|pair| pair.nominated).collect();
    assert_eq!(nominated.len(), 1);
    assert_eq!(nominated[0].path, path(LOCAL, SECOND));
    assert_eq!(nominated[0].state, PairState::Succeeded);
}

#[test]
fn peer_may_still_move_a_completed_connection() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
    raw.agent.end_of_local_candidates();
    raw.agent.end_of_remote_candidates();
    ping(&mut raw, PEER, true);
    live(&mut raw, 2_000);
    assert_eq!(raw.agent.state(), State::Completed);
    // A NAT gave the peer another port.
    for _ in 0..30 {
        ping(&mut raw, SECOND, true);
        live(&mut raw, 100);
    }
    assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, SECOND)));
    assert_eq!(raw.agent.state(), State::Completed);
}

#[test]
fn data_returns_to_the_nominated_pair_when_that_answers_again() {
    let mut raw = controlled();
    ping(&mut raw, PEER, true);
    ping(&mut raw, SECOND, false);
    live(&mut raw, 300);
    assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, PEER)));
    let silent = |raw: &mut Raw, dead: &str| {
        for _ in 0..2_000 {
            raw.wait(ms(5));
            let (requests, _) = raw.exchange();
            for request in requests
                .iter()
                .filter(|r| r.transport.peer_addr != addr(dead))
            {
                let response = raw.success(request);
                raw.read_at(addr(LOCAL), request.transport.peer_addr, &response);
            }
        }
    };
    silent(&mut raw, PEER);
    assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, SECOND)));
    silent(&mut raw, "192.0.2.254:1");
    assert_eq!(raw.agent.selected_path(), Some(path(LOCAL, PEER)));
}
