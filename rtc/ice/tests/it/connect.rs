use std::time::Duration;

use rtc_ice::{
    AgentConfig, Candidate, CandidateType, Error, Event, PairState, Role, State, TcpType,
};
use rtc_shared::{Protocol, TransportProtocol};

use crate::raw::{PEER, Raw};
use crate::sim::{LEFT, RIGHT, Sim, addr, config, ms, path, secs, udp};

#[test]
fn connection_is_up_after_one_round_trip() {
    let mut sim = Sim::pair(1);
    assert!(sim.run_while(secs(1), Sim::both_are_up));
    // Both begin at once, so both have an answer after 20 ms.
    assert_eq!(sim.elapsed(), ms(20));
    assert_eq!(
        sim.left().selected_path(),
        Some(path("192.0.2.1:1000", "192.0.2.2:2000"))
    );
    assert_eq!(sim.left().round_trip_time(), Some(ms(20)));
    sim.run(ms(20));
    // One more round trip nominates.
    let pair = sim.agents[RIGHT].pairs().next().unwrap();
    assert!(pair.nominated && pair.selected);
    sim.run(ms(1));
    assert!(sim.both_are(State::Completed));
}

#[test]
fn states_follow_w3c_order_and_are_told_once() {
    let sim = Sim::connected(2);
    for side in [LEFT, RIGHT] {
        let states: Vec<State> = sim.events[side]
            .iter()
            .filter_map(|(_, event)| match event {
                Event::StateChanged(state) => Some(*state),
                _ => None,
            })
            .collect();
        assert_eq!(
            states,
            [State::Checking, State::Connected, State::Completed]
        );
        let path = sim.agents[side].selected_path().unwrap();
        let changes: Vec<_> = sim.events[side]
            .iter()
            .filter(|(_, e)| *e == Event::SelectedPathChanged(path))
            .collect();
        assert_eq!(changes.len(), 1);
        assert_eq!(sim.agents[side].stats().selected_path_changes, 1);
    }
}

#[test]
fn without_end_of_candidates_it_stays_connected() {
    let mut sim = Sim::new(3, AgentConfig::default(), AgentConfig::default());
    sim.host(LEFT, "192.0.2.1:1000");
    sim.host(RIGHT, "192.0.2.2:2000");
    for side in [LEFT, RIGHT] {
        sim.signal_credentials(side);
        sim.signal_candidates(side);
    }
    sim.run(secs(60));
    assert!(sim.both_are(State::Connected));
    sim.left().end_of_local_candidates();
    sim.left().end_of_remote_candidates();
    sim.run(ms(1));
    assert_eq!(sim.states(), [State::Completed, State::Connected]);
}

#[test]
fn connects_under_loss_reordering_and_duplication() {
    let mut times = Vec::new();
    for seed in 0..150 {
        let mut sim = Sim::new(seed, AgentConfig::default(), AgentConfig::default());
        sim.loss = 0.2;
        sim.duplicates = 0.1;
        sim.latency = ms(20);
        sim.jitter = ms(60);
        for address in ["10.0.0.1:1000", "[2001:db8::1]:1000"] {
            sim.host(LEFT, address);
        }
        for address in ["10.0.0.2:2000", "[2001:db8::2]:2000"] {
            sim.host(RIGHT, address);
        }
        sim.signal(LEFT);
        sim.run(ms(70));
        sim.signal(RIGHT);
        assert!(
            sim.run_while(secs(20), Sim::both_are_up),
            "seed {seed}: {:?}",
            sim.states()
        );
        times.push(sim.elapsed());
        sim.run(secs(40));
        assert!(sim.both_are_up(), "seed {seed}: {:?}", sim.states());
        // A run of losses may just have moved one side.
        assert!(sim.run_while(secs(20), Sim::paths_agree), "seed {seed}");
        let nominated = sim.agents[RIGHT]
            .pairs()
            .filter(|pair| pair.nominated)
            .count();
        assert!(nominated >= 1, "seed {seed}");
    }
    times.sort();
    assert!(
        times[times.len() / 2] < ms(500),
        "median {:?}",
        times[times.len() / 2]
    );
}

#[test]
fn same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut sim = Sim::new(seed, AgentConfig::default(), AgentConfig::default());
        sim.loss = 0.3;
        sim.jitter = ms(50);
        for side in [LEFT, RIGHT] {
            for host in 1..4 {
                sim.host(side, &format!("10.{side}.0.{host}:1000"));
            }
        }
        sim.signal(LEFT);
        sim.signal(RIGHT);
        sim.run(secs(30));
        (sim.trace, sim.events)
    };
    let (first, second, other) = (trace(5), trace(5), trace(6));
    assert!(first.0.len() > 20);
    assert_eq!(first, second);
    assert_ne!(first.0, other.0);
}

#[test]
fn ipv6_is_preferred_and_a_dead_family_costs_little() {
    let dual = |dead: Option<fn(&rtc_shared::FiveTuple) -> bool>| {
        let mut sim = Sim::new(8, AgentConfig::default(), AgentConfig::default());
        sim.blocked
            .extend(dead.map(|dead| Box::new(dead) as Box<dyn Fn(&_) -> bool>));
        for (side, host) in [(LEFT, 1), (RIGHT, 2)] {
            for net in 0..3 {
                sim.host(side, &format!("10.0.{net}.{host}:1000"));
                sim.host(side, &format!("[2001:db8:{net}::{host}]:1000"));
            }
        }
        sim.signal(LEFT);
        sim.signal(RIGHT);
        assert!(sim.run_while(secs(5), Sim::both_are_up));
        let took = sim.elapsed();
        sim.run(secs(1));
        assert!(sim.paths_agree());
        (
            took,
            sim.left().selected_path().unwrap().local_addr.is_ipv6(),
        )
    };
    assert_eq!(dual(None), (ms(20), true));
    let (took, is_ipv6) = dual(Some(|path| path.local_addr.is_ipv6()));
    assert!(!is_ipv6);
    // Families are interleaved: the second check is of the other one.
    assert!(took <= ms(150), "{took:?}");
}

#[test]
fn one_working_path_among_many_sockets_is_found() {
    let mut sim = Sim::new(9, AgentConfig::default(), AgentConfig::default());
    for host in 1..=4 {
        sim.host(LEFT, &format!("10.0.{host}.1:1000"));
        sim.host(RIGHT, &format!("10.0.{host}.2:2000"));
    }
    let works = |path: &rtc_shared::FiveTuple| {
        let ends = [path.local_addr, path.peer_addr];
        ends.contains(&addr("10.0.4.1:1000")) && ends.contains(&addr("10.0.3.2:2000"))
    };
    sim.blocked.push(Box::new(move |path| !works(path)));
    sim.signal(LEFT);
    sim.signal(RIGHT);
    assert!(sim.run_while(secs(5), Sim::both_are_up));
    assert!(sim.elapsed() < ms(1_000), "{:?}", sim.elapsed());
    assert_eq!(
        sim.left().selected_path(),
        Some(path("10.0.4.1:1000", "10.0.3.2:2000"))
    );
    sim.run(secs(45));
    assert!(sim.both_are(State::Completed));
    // What did not work is forgotten.
    assert_eq!(sim.agents[LEFT].pairs().count(), 1);
}

#[test]
fn sockets_of_one_address_do_not_wait_for_each_other() {
    let mut sim = Sim::new(10, AgentConfig::default(), AgentConfig::default());
    for port in 1000..1006 {
        sim.host(LEFT, &format!("10.0.0.1:{port}"));
    }
    sim.host(RIGHT, "10.0.0.2:2000");
    sim.blocked.push(Box::new(|path| {
        path.local_addr.port() != 1005 && path.peer_addr.port() != 1005
    }));
    sim.signal(LEFT);
    sim.signal(RIGHT);
    assert!(sim.run_while(secs(5), Sim::both_are_up));
    assert!(sim.elapsed() < ms(400), "{:?}", sim.elapsed());
}

#[test]
fn candidates_may_trickle_in_any_order() {
    let mut sim = Sim::new(11, AgentConfig::default(), AgentConfig::default());
    sim.host(LEFT, "10.0.0.1:1000");
    sim.signal_candidates(LEFT);
    sim.run(ms(300));
    assert!(sim.both_are(State::New));
    sim.signal_credentials(LEFT);
    sim.run(ms(300));
    assert!(sim.both_are(State::New));
    sim.signal_credentials(RIGHT);
    sim.run(secs(60));
    assert!(sim.both_are(State::New), "no candidates, no failure");
    sim.host(RIGHT, "10.0.0.2:1000");
    assert!(sim.run_while(secs(1), Sim::both_are_up));
    // The left side never got a candidate: the check told it.
    assert_eq!(sim.selected(LEFT).2, CandidateType::PeerReflexive);
}

#[test]
fn checks_before_the_answer_are_answered_and_followed() {
    let mut sim = Sim::new(12, AgentConfig::default(), AgentConfig::default());
    sim.host(LEFT, "10.0.0.1:1000");
    sim.host(RIGHT, "10.0.0.2:1000");
    sim.signal(LEFT);
    sim.run(ms(100));
    assert_eq!(sim.states(), [State::New, State::Connected]);
    assert!(sim.agents[LEFT].accepts(&path("10.0.0.1:1000", "10.0.0.2:1000")));
    assert_eq!(sim.agents[LEFT].selected_path(), None);
    // The answer comes with credentials alone; the check has told the rest.
    sim.signal_credentials(RIGHT);
    assert!(sim.run_while(secs(1), Sim::both_are_up));
    assert_eq!(sim.elapsed(), ms(120));
    assert_eq!(sim.selected(LEFT).2, CandidateType::PeerReflexive);
}

#[test]
fn learned_candidate_takes_over_what_is_signalled_later() {
    let mut sim = Sim::new(13, AgentConfig::default(), AgentConfig::default());
    sim.host(LEFT, "10.0.0.1:1000");
    sim.host(RIGHT, "10.0.0.2:1000");
    sim.signal(LEFT);
    sim.signal_credentials(RIGHT);
    sim.run(secs(1));
    let before = sim.agents[LEFT].pairs().next().unwrap();
    let (id, priority) = (before.remote.id(), before.priority);
    assert_eq!(before.remote.typ, CandidateType::PeerReflexive);
    sim.signal_candidates(RIGHT);
    sim.signal_candidates(RIGHT);
    sim.run(secs(1));
    assert_eq!(sim.agents[LEFT].remote_candidates().count(), 1);
    let after = sim.agents[LEFT].pairs().next().unwrap();
    assert_eq!(
        (after.remote.typ, after.remote.id()),
        (CandidateType::Host, id)
    );
    assert_eq!(
        after.remote.foundation,
        sim.agents[RIGHT].local_candidates()[0].foundation
    );
    assert!(after.priority > priority);
    assert_eq!(sim.agents[LEFT].pairs().count(), 1);
}

#[test]
fn nat_on_both_sides_is_crossed_by_reflexive_candidates() {
    let mut sim = Sim::new(14, AgentConfig::default(), AgentConfig::default());
    sim.host_behind_nat(LEFT, "10.0.0.1:1000", "198.51.100.1:5001");
    sim.host_behind_nat(RIGHT, "10.0.0.9:1000", "198.51.100.9:5009");
    sim.signal(LEFT);
    sim.signal(RIGHT);
    assert!(sim.run_while(secs(2), Sim::both_are_up));
    // The peer told which candidate it sees; sending is from the base.
    let (path_used, local, remote) = sim.selected(LEFT);
    assert_eq!(path_used, path("10.0.0.1:1000", "198.51.100.9:5009"));
    assert_eq!(
        (local, remote),
        (
            CandidateType::ServerReflexive,
            CandidateType::ServerReflexive
        )
    );
    // A reflexive candidate sends from its base, so it forms no pairs of its own.
    assert_eq!(
        sim.agents[LEFT]
            .pairs()
            .filter(|pair| pair.state == PairState::Failed)
            .count(),
        0
    );
    sim.run(secs(60));
    assert!(sim.both_are(State::Completed));
}

#[test]
fn unknown_nat_gives_a_local_peer_reflexive_candidate() {
    let mut sim = Sim::new(15, AgentConfig::default(), AgentConfig::default());
    sim.host(LEFT, "10.0.0.1:1000");
    sim.nat
        .insert(addr("10.0.0.1:1000"), addr("198.51.100.1:5001"));
    sim.host(RIGHT, "192.0.2.2:1000");
    sim.signal(LEFT);
    sim.signal(RIGHT);
    sim.run(secs(1));
    assert!(sim.both_are_up());
    let pair = sim.agents[LEFT].pairs().find(|pair| pair.selected).unwrap();
    assert_eq!(pair.local.typ, CandidateType::PeerReflexive);
    assert_eq!(pair.local.socket_addr(), Some(addr("198.51.100.1:5001")));
    assert_eq!(pair.local.base(), Some(addr("10.0.0.1:1000")));
    assert_eq!(
        sim.agents[LEFT].local_candidates().len(),
        1,
        "it is not signalled"
    );
    assert_eq!(sim.selected(RIGHT).2, CandidateType::PeerReflexive);
}

#[test]
fn relayed_candidates_send_from_the_relayed_address() {
    let only = || config(|config| config.relay_only = true);
    let mut sim = Sim::new(16, only(), AgentConfig::default());
    let relayed = Candidate::relayed(addr("203.0.113.5:40000"), addr("198.51.100.1:5001"));
    sim.own(LEFT, addr("203.0.113.5:40000"));
    sim.own(LEFT, addr("10.0.0.1:1000"));
    assert!(
        sim.left()
            .add_local_candidate(udp("10.0.0.1:1000"))
            .is_none()
    );
    let signalled = sim.left().add_local_candidate(relayed).unwrap().to_string();
    assert!(
        signalled.contains("typ relay raddr 198.51.100.1 rport 5001"),
        "{signalled}"
    );
    sim.host(RIGHT, "192.0.2.2:1000");
    sim.signal(LEFT);
    sim.signal(RIGHT);
    assert!(sim.run_while(secs(2), Sim::both_are_up));
    assert_eq!(
        sim.left().selected_path(),
        Some(path("203.0.113.5:40000", "192.0.2.2:1000"))
    );
    sim.run(secs(1));
    assert!(sim.both_are(State::Completed));
}

#[test]
fn patience_waits_for_checks_of_the_peer() {
    // RFC 8863: no usable candidate at all, yet the peer may appear.
    let mut sim = Sim::new(17, AgentConfig::default(), AgentConfig::default());
    sim.host(LEFT, "10.0.0.1:1000");
    sim.host(RIGHT, "10.0.0.2:1000");
    sim.signal_credentials(LEFT);
    sim.signal_credentials(RIGHT);
    sim.left().end_of_local_candidates();
    sim.left().end_of_remote_candidates();
    sim.run(secs(39));
    assert_eq!(sim.left().state(), State::New);
    sim.run(secs(1));
    assert_eq!(sim.left().state(), State::Failed);
    assert_eq!(sim.reached(LEFT, State::Failed), Some(ms(39_500)));
}

#[test]
fn unreachable_peer_fails_after_all_checks_and_patience() {
    let mut sim = Sim::pair(18);
    sim.blocked.push(Box::new(|_| true));
    sim.run(secs(38));
    assert!(sim.both_are(State::Checking));
    sim.run(secs(10));
    assert!(sim.both_are(State::Failed));
    // A failed agent is quiet.
    let sent = sim.sent;
    sim.run(secs(120));
    assert_eq!(sim.sent, sent);
    assert_eq!(sim.left().poll_timeout(), None);
    assert_eq!(sim.left().selected_path(), None);
}

#[test]
fn retransmissions_are_byte_identical_and_back_off() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlling);
    raw.agent.add_remote_candidate(udp(PEER)).unwrap();
    let start = raw.now;
    raw.wait(secs(60));
    let sent = raw.written();
    let times: Vec<u64> = sent
        .iter()
        .map(|d| (d.now - start).as_millis() as u64)
        .collect();
    assert_eq!(
        times,
        [0, 250, 750, 1750, 3750, 7750, 15_750, 23_750, 31_750]
    );
    assert!(
        sent.iter()
            .all(|datagram| datagram.message == sent[0].message)
    );
    assert_eq!(raw.agent.pairs().next().unwrap().state, PairState::Failed);
    assert_eq!(raw.agent.pairs().next().unwrap().requests_sent, 9);
}

#[test]
fn checks_are_paced_and_pairs_are_bounded() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlling);
    for host in 2..=20 {
        raw.agent
            .add_local_candidate(udp(&format!("192.0.2.{host}:1000")))
            .unwrap();
    }
    for host in 1..=64 {
        let candidate = udp(&format!("198.51.100.{host}:1000"));
        let mut text = candidate.clone();
        text.foundation = host.to_string();
        text.priority = 2_000_000_000 + host;
        raw.agent.add_remote_candidate(text).unwrap();
    }
    let over = udp("203.0.113.1:1");
    assert_eq!(
        raw.agent.add_remote_candidate(over),
        Err(Error::TooManyCandidates)
    );
    assert_eq!(raw.agent.pairs().count(), 100);
    let start = raw.now;
    raw.wait(secs(6));
    let mut first: Vec<_> = Vec::new();
    for datagram in raw.written() {
        let id = rtc_stun::Message::parse(&datagram.message)
            .unwrap()
            .transaction_id();
        if !first.iter().any(|(known, _)| *known == id) {
            first.push((id, datagram.now - start));
        }
    }
    assert_eq!(first.len(), 100);
    for (index, (_, at)) in first.iter().enumerate() {
        assert_eq!(*at, ms(50) * index as u32);
    }
}

#[test]
fn idle_connection_wakes_for_consent_alone() {
    let mut sim = Sim::connected(19);
    sim.run(secs(10));
    sim.wakes = [0; 2];
    sim.sent = [0; 2];
    sim.run(secs(600));
    for side in [LEFT, RIGHT] {
        // 600 s at about 5 s each.
        assert!((100..=150).contains(&sim.wakes[side]), "{:?}", sim.wakes);
        let pair = sim.agents[side].pairs().next().unwrap();
        assert!(pair.consent_requests_sent >= 100);
        // Requests of its own and responses to the other's.
        assert!(sim.sent[side] <= 300, "{:?}", sim.sent);
    }
    assert!(sim.both_are(State::Completed));
}

#[test]
fn unusable_remote_candidates_are_refused_without_effect() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlling);
    let before = raw.snapshot();
    let mut second = udp("192.0.2.9:1");
    second.component = 2;
    let mut foreign = udp("192.0.2.9:1");
    foreign.ufrag = Some("other".into());
    let mdns = "candidate:1 1 udp 1 abc.local 5 typ host".parse().unwrap();
    for (candidate, error) in [
        (second, Error::UnusableCandidate),
        (foreign, Error::UnknownUfrag),
        (mdns, Error::UnresolvedName),
        (udp("0.0.0.0:5"), Error::UnusableCandidate),
        (udp("224.0.0.1:5"), Error::UnusableCandidate),
        (udp("255.255.255.255:5"), Error::UnusableCandidate),
    ] {
        assert_eq!(raw.agent.add_remote_candidate(candidate), Err(error));
    }
    assert_eq!(raw.snapshot(), before);
}

#[test]
fn resolved_name_stays_hidden() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlling);
    let named: Candidate = "candidate:1 1 udp 1 abc.local 5 typ host".parse().unwrap();
    raw.agent
        .add_remote_candidate(named.resolved("192.0.2.77".parse().unwrap()))
        .unwrap();
    let pair = raw.agent.pairs().next().unwrap();
    assert_eq!(pair.path.peer_addr, addr("192.0.2.77:5"));
    assert_eq!(pair.remote.hostname(), Some("abc.local"));
}

#[test]
fn tcp_checks_go_once_from_the_active_side() {
    let tcp = |text: &str, tcp_type| {
        Candidate::host(addr(text), TransportProtocol::TCP).with_tcp_type(tcp_type)
    };
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlling);
    raw.agent
        .add_local_candidate(tcp("192.0.2.1:9", TcpType::Active))
        .unwrap();
    raw.agent
        .add_local_candidate(tcp("192.0.2.1:1000", TcpType::Passive))
        .unwrap();
    raw.agent
        .add_remote_candidate(tcp(PEER, TcpType::Passive))
        .unwrap();
    raw.agent
        .add_remote_candidate(tcp("192.0.2.2:9", TcpType::Active))
        .unwrap();
    raw.wait(secs(10));
    let sent = raw.written();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].transport.transport_protocol, TransportProtocol::TCP);
    assert_eq!(sent[0].transport.local_addr, addr("192.0.2.1:9"));
    let path = sent[0].transport.five_tuple();
    raw.agent.fail_path(&path);
    raw.wait(Duration::ZERO);
    assert_eq!(raw.agent.pairs().next().unwrap().state, PairState::Failed);
}

#[test]
fn closed_agent_is_silent() {
    let mut sim = Sim::connected(20);
    sim.left().close().unwrap();
    sim.left().close().unwrap();
    let left = sim.left();
    assert_eq!(left.state(), State::Closed);
    assert_eq!((left.poll_timeout(), left.selected_path()), (None, None));
    assert!(left.poll_write().is_none());
    assert_eq!(
        left.add_remote_candidate(udp("192.0.2.9:1")),
        Err(Error::Closed)
    );
    assert!(left.handle_timeout(crate::sim::any_instant()).is_ok());
    let ufrag = left.local_credentials().ufrag.clone();
    assert!(!left.owns_ufrag(&ufrag));
    left.restart();
    assert_eq!(left.local_credentials().ufrag, ufrag);
}

#[test]
fn late_candidates_do_not_disturb_a_concluded_connection() {
    let mut sim = Sim::connected(21);
    sim.host(RIGHT, "192.0.2.3:3000");
    sim.signal_candidates(RIGHT);
    let sent = sim.sent[LEFT];
    sim.run(secs(1));
    assert_eq!(sim.sent[LEFT], sent);
    assert!(sim.both_are(State::Completed));
}

#[test]
fn success_unfreezes_the_pairs_of_its_foundation() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
    for (host, foundation) in [(2, "same"), (3, "same"), (4, "other"), (5, "other")] {
        let mut candidate = udp(&format!("192.0.2.{host}:2000"));
        candidate.foundation = foundation.into();
        candidate.priority = 2_000_000_000 - host;
        raw.agent.add_remote_candidate(candidate).unwrap();
    }
    let states = |raw: &Raw| raw.agent.pairs().map(|pair| pair.state).collect::<Vec<_>>();
    use PairState::{Frozen, InProgress, Succeeded, Waiting};
    assert_eq!(states(&raw), [Waiting, Frozen, Waiting, Frozen]);
    raw.wait(ms(1));
    assert_eq!(states(&raw), [InProgress, Frozen, Waiting, Frozen]);
    raw.answer_all();
    assert_eq!(states(&raw), [Succeeded, Waiting, Waiting, Frozen]);
}

#[test]
fn check_of_the_peer_repeats_ours_without_waiting_for_the_timer() {
    let mut raw = Raw::new(AgentConfig::default(), Role::Controlled);
    raw.agent.add_remote_candidate(udp(PEER)).unwrap();
    raw.wait(ms(60));
    let (lost, _) = raw.exchange();
    assert_eq!(lost.len(), 1);
    let check = raw.check(Role::Controlling);
    let check = raw.seal(check);
    raw.read(&check);
    let (again, _) = raw.exchange();
    assert_eq!(again.len(), 1);
    assert_ne!(again[0].message, lost[0].message);
    // The first is not sent again, but its late answer counts.
    raw.wait(ms(300));
    let (repeated, _) = raw.exchange();
    assert!(
        repeated
            .iter()
            .all(|datagram| datagram.message == again[0].message)
    );
    let late = raw.success(&lost[0]);
    raw.read(&late);
    assert_eq!(raw.agent.state(), State::Connected);
}

#[test]
fn idle_agent_is_small() {
    // Everything that is not behind a pointer, of which a connected agent has few.
    assert!(
        size_of::<rtc_ice::Agent>() < 3_000,
        "{}",
        size_of::<rtc_ice::Agent>()
    );
}

#[test]
fn full_check_list_keeps_its_best_pairs() {
    let mut raw = Raw::new(config(|config| config.max_pairs = 2), Role::Controlled);
    for (host, priority) in [(2, 500), (3, 700), (4, 100), (5, 900)] {
        let mut candidate = udp(&format!("192.0.2.{host}:2000"));
        candidate.priority = priority;
        raw.agent.add_remote_candidate(candidate).unwrap();
    }
    let kept: Vec<u32> = raw.agent.pairs().map(|pair| pair.remote.priority).collect();
    assert_eq!(kept, [700, 900]);
    assert_eq!(raw.agent.stats().over_limit, 1);
}
