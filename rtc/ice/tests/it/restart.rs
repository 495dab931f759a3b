use rtc_ice::{AgentConfig, Credentials, Error, State};

use crate::sim::{LEFT, RIGHT, Sim, addr, agent, ms, path, secs, udp};

fn swap_all(sim: &mut Sim) {
    sim.signal(LEFT);
    sim.signal(RIGHT);
}

#[test]
fn restart_keeps_data_flowing_until_the_new_pair_is_there() {
    let mut sim = Sim::connected(61);
    let old = sim.left().local_credentials().clone();
    sim.left().restart();
    let new = sim.left().local_credentials().clone();
    assert!(old.ufrag != new.ufrag && old.pwd != new.pwd);
    assert!(sim.left().owns_ufrag(&old.ufrag) && sim.left().owns_ufrag(&new.ufrag));
    assert_eq!(sim.left().state(), State::Connected);
    assert_eq!(sim.left().remote_credentials(), None);
    // The answer takes its time; consent goes on meanwhile.
    for _ in 0..100 {
        sim.run(secs(1));
        assert!(
            sim.agents
                .iter()
                .all(|agent| agent.selected_path().is_some())
        );
    }
    assert!(sim.both_are_up());
    sim.right().restart();
    swap_all(&mut sim);
    for _ in 0..1_000 {
        sim.run(ms(20));
        assert!(
            sim.agents
                .iter()
                .all(|agent| agent.selected_path().is_some())
        );
        assert!(sim.both_are_up());
    }
    assert!(sim.both_are(State::Completed));
    assert!(
        !sim.left().owns_ufrag(&old.ufrag),
        "the old generation is gone"
    );
    for side in [LEFT, RIGHT] {
        assert_eq!(sim.agents[side].pairs().count(), 1);
        let pair = sim.agents[side].pairs().next().unwrap();
        assert_eq!(pair.local.generation, Some(1));
        assert_eq!(
            pair.local.ufrag.as_ref(),
            Some(&sim.agents[side].local_credentials().ufrag)
        );
    }
}

#[test]
fn restart_works_under_loss_from_either_side() {
    for seed in 0..40 {
        let mut sim = Sim::connected(200 + seed);
        sim.loss = 0.2;
        sim.jitter = ms(40);
        let (first, second) = if seed % 2 == 0 {
            (LEFT, RIGHT)
        } else {
            (RIGHT, LEFT)
        };
        sim.agents[first].restart();
        sim.run(ms(100));
        sim.agents[second].restart();
        sim.signal(first);
        sim.run(ms(150));
        sim.signal(second);
        sim.run(secs(40));
        assert!(
            sim.both_are(State::Completed),
            "seed {seed}: {:?}",
            sim.states()
        );
        assert!(
            sim.agents.iter().all(|agent| agent.pairs().count() == 1),
            "seed {seed}"
        );
        for side in [LEFT, RIGHT] {
            assert_eq!(sim.reached(side, State::Disconnected), None, "seed {seed}");
        }
    }
}

#[test]
fn restart_moves_to_a_new_network() {
    let mut sim = Sim::connected(62);
    sim.left().restart();
    sim.blocked.push(Box::new(|path| {
        path.local_addr.to_string() == "192.0.2.1:1000"
    }));
    sim.blocked.push(Box::new(|path| {
        path.peer_addr.to_string() == "192.0.2.1:1000"
    }));
    sim.run(secs(12));
    assert_eq!(sim.left().state(), State::Disconnected);
    sim.right().restart();
    assert_eq!(
        sim.right().state(),
        State::Checking,
        "a restart forgets the loss"
    );
    sim.left().remove_local_base(addr("192.0.2.1:1000"));
    sim.host(LEFT, "198.51.100.1:1000");
    swap_all(&mut sim);
    assert!(sim.run_while(secs(2), Sim::both_are_up));
    assert_eq!(
        sim.left().selected_path(),
        Some(path("198.51.100.1:1000", "192.0.2.2:2000"))
    );
}

#[test]
fn new_interface_is_used_even_without_an_answered_restart() {
    let mut sim = Sim::connected(70);
    sim.left().restart();
    sim.host(LEFT, "198.51.100.1:1000");
    sim.left().remove_local_base(addr("192.0.2.1:1000"));
    assert!(sim.run_while(secs(2), |sim| sim.agents[LEFT].selected_path().is_some()));
    sim.run(secs(60));
    assert!(sim.both_are_up() && sim.paths_agree());
}

#[test]
fn restart_leads_out_of_failed() {
    let mut sim = Sim::connected(63);
    sim.blocked.push(Box::new(|_| true));
    sim.run(secs(40));
    assert!(sim.both_are(State::Failed));
    sim.blocked.clear();
    sim.run(secs(10));
    assert!(sim.both_are(State::Failed), "nothing else does");
    sim.left().restart();
    sim.right().restart();
    swap_all(&mut sim);
    assert!(sim.both_are(State::Checking));
    sim.run(secs(1));
    assert!(sim.both_are(State::Completed));
}

#[test]
fn rollback_returns_to_credentials_and_path_of_before() {
    let mut sim = Sim::connected(64);
    let before = (
        sim.left().local_credentials().clone(),
        sim.left().selected_path(),
    );
    sim.left().restart();
    let pending = sim.left().local_credentials().ufrag.clone();
    sim.run(secs(3));
    sim.left().rollback_restart();
    let after = (
        sim.left().local_credentials().clone(),
        sim.left().selected_path(),
    );
    assert_eq!(before, after);
    assert!(!sim.left().owns_ufrag(&pending));
    assert_eq!(
        sim.left().local_candidates()[0].ufrag.as_ref(),
        Some(&before.0.ufrag)
    );
    sim.run(secs(60));
    assert!(sim.both_are(State::Completed));
    // Nothing to roll back: nothing happens.
    sim.left().rollback_restart();
    assert_eq!(sim.left().local_credentials(), &before.0);
}

#[test]
fn restart_that_is_never_answered_leaves_the_connection_alone() {
    let mut sim = Sim::connected(65);
    for _ in 0..3 {
        sim.left().restart();
        sim.run(secs(20));
    }
    assert!(sim.both_are_up());
    let ufrag = sim.left().local_credentials().ufrag.clone();
    assert_eq!(sim.agents[LEFT].local_candidates()[0].ufrag, Some(ufrag));
}

#[test]
fn restart_to_an_unreachable_peer_falls_back_until_it_fails() {
    let mut sim = Sim::connected(66);
    sim.left().restart();
    sim.right().restart();
    // The new credentials are known, but new checks never arrive: the wrong address is signalled.
    let left = sim.left().local_credentials().clone();
    let right = sim.right().local_credentials().clone();
    sim.left().set_remote_credentials(right).unwrap();
    sim.right().set_remote_credentials(left).unwrap();
    sim.left()
        .add_remote_candidate(udp("203.0.113.1:1"))
        .unwrap();
    sim.run(secs(60));
    assert!(sim.both_are_up(), "the old generation still carries data");
    sim.signal_candidates(RIGHT);
    sim.run(secs(15));
    assert!(sim.both_are_up());
    assert!(
        sim.left()
            .pairs()
            .all(|pair| pair.local.generation == Some(1))
    );
}

#[test]
fn candidates_go_to_the_generation_they_name() {
    let mut sim = Sim::connected(67);
    let old = sim.right().local_credentials().ufrag.clone();
    sim.left().restart();
    let mut late = udp("192.0.2.50:1");
    late.ufrag = Some(old);
    sim.left().add_remote_candidate(late.clone()).unwrap();
    sim.left()
        .add_remote_candidate(udp("192.0.2.51:1"))
        .unwrap();
    let mut early = udp("192.0.2.52:1");
    sim.right().restart();
    early.ufrag = Some(sim.right().local_credentials().ufrag.clone());
    sim.left().add_remote_candidate(early).unwrap();
    assert_eq!(
        sim.left().remote_candidates().count(),
        1,
        "that of the coming generation waits"
    );
    sim.signal_credentials(RIGHT);
    assert_eq!(sim.left().remote_candidates().count(), 1);
    late.ufrag = Some("nobody".into());
    assert_eq!(
        sim.left().add_remote_candidate(late),
        Err(Error::UnknownUfrag)
    );
}

#[test]
fn second_answer_with_other_credentials_begins_a_generation() {
    let mut sim = Sim::connected(68);
    let mut third = agent(AgentConfig::default(), 999);
    third.add_local_candidate(udp("192.0.2.3:3000")).unwrap();
    let ufrag = sim.left().local_credentials().ufrag.clone();
    sim.left()
        .set_remote_credentials(third.local_credentials().clone())
        .unwrap();
    assert_eq!(
        sim.left().local_credentials().ufrag,
        ufrag,
        "our side is as it was"
    );
    sim.run(secs(30));
    assert!(
        sim.left().selected_path().is_some(),
        "the first peer still answers"
    );
    assert_eq!(
        sim.left().stats().other_remote_ufrag,
        0,
        "and its checks are known"
    );
}

#[test]
fn half_changed_credentials_are_an_error() {
    let mut sim = Sim::connected(69);
    let known = sim.right().local_credentials().clone();
    let half = Credentials::new(known.ufrag.clone(), "x".repeat(22)).unwrap();
    assert_eq!(
        sim.left().set_remote_credentials(half),
        Err(Error::PartialRestart)
    );
    let half = Credentials::new("xxxx", known.pwd.clone()).unwrap();
    assert_eq!(
        sim.left().set_remote_credentials(half),
        Err(Error::PartialRestart)
    );
    let bad = Credentials {
        ufrag: "x".into(),
        pwd: known.pwd.clone(),
    };
    assert_eq!(
        sim.left().set_remote_credentials(bad),
        Err(Error::InvalidCredentials)
    );
    assert_eq!(sim.left().set_remote_credentials(known.clone()), Ok(()));
    assert_eq!(sim.left().remote_credentials(), Some(&known));
}

#[test]
fn connection_that_is_being_made_is_not_disturbed_by_a_pending_restart() {
    let mut sim = Sim::pair(71);
    sim.left().restart();
    assert!(sim.run_while(secs(1), Sim::both_are_up));
    sim.run(ms(100));
    assert!(sim.agents[RIGHT].pairs().any(|pair| pair.nominated));
}

#[test]
fn restart_under_way_is_given_its_time_when_the_old_path_dies() {
    let mut sim = Sim::connected(72);
    sim.left().restart();
    sim.right().restart();
    sim.blocked.push(Box::new(|_| true));
    swap_all(&mut sim);
    // Consent for the old pair is gone after 30 s at most, the new checks go on.
    sim.run(secs(31));
    assert!(sim.both_are(State::Disconnected), "{:?}", sim.states());
    assert_eq!(sim.left().selected_path(), None);
    sim.blocked.clear();
    assert!(sim.run_while(secs(2), Sim::both_are_up));
}

#[test]
fn rollback_keeps_candidates_that_were_added_meanwhile() {
    let mut sim = Sim::pair(73);
    sim.left().restart();
    sim.right().restart();
    sim.signal(RIGHT);
    sim.host(LEFT, "192.0.2.9:1000");
    sim.left().rollback_restart();
    assert_eq!(sim.left().pairs().count(), 2);
    let pair = sim.agents[LEFT].pairs().next().unwrap();
    assert_eq!(pair.local.generation, Some(0));
}

#[test]
fn retired_base_serves_the_old_generation_and_goes_with_it() {
    let mut sim = Sim::connected(70);
    let base = addr("192.0.2.1:1000");
    let old = sim.left().selected_path().unwrap();
    assert_eq!(old.local_addr, base);
    sim.left().restart();
    sim.left().retire_local_base(base);
    assert!(sim.left().has_local_base(base));
    assert!(sim.left().local_candidates().is_empty());
    sim.host(LEFT, "192.0.2.1:1001");
    // Consent goes on although the candidate is no longer signalled.
    sim.run(secs(60));
    assert!(sim.both_are_up());
    assert_eq!(sim.left().selected_path(), Some(old));
    assert_eq!(sim.left().local_candidates().len(), 1);

    sim.right().restart();
    swap_all(&mut sim);
    sim.run(secs(3));
    let new = sim.left().selected_path().unwrap();
    assert_eq!(new.local_addr, addr("192.0.2.1:1001"));
    assert!(sim.left().has_local_base(base), "the old one lingers");
    sim.run(secs(20));
    assert!(!sim.left().has_local_base(base));
    assert!(sim.both_are_up());
    assert!(sim.agents[LEFT].pairs().all(|pair| pair.path == new));
}

#[test]
fn rollback_brings_retired_candidates_back() {
    let mut sim = Sim::connected(71);
    let base = addr("192.0.2.1:1000");
    let before = sim.left().local_candidates().to_vec();
    sim.left().restart();
    sim.left().retire_local_base(base);
    sim.left().rollback_restart();
    assert_eq!(sim.left().local_candidates(), before);
    sim.run(secs(30));
    assert!(sim.both_are_up());
}

#[test]
fn retiring_without_a_restart_is_removing() {
    let mut sim = Sim::connected(72);
    sim.run(secs(20));
    let base = addr("192.0.2.1:1000");
    sim.left().retire_local_base(base);
    assert!(!sim.left().has_local_base(base));
    sim.run(ms(100));
    assert_eq!(sim.left().selected_path(), None);
    assert_eq!(sim.left().state(), State::Disconnected);
}

#[test]
fn relay_only_takes_effect_with_the_restart() {
    let mut sim = Sim::connected(73);
    let old = sim.left().selected_path().unwrap();
    sim.left().restart();
    sim.left().set_relay_only(true);
    assert!(sim.left().local_candidates().is_empty());
    assert!(
        sim.left()
            .add_local_candidate(udp("192.0.2.1:1002"))
            .is_none()
    );
    sim.run(secs(10));
    assert_eq!(sim.left().selected_path(), Some(old));
    let relayed = addr("203.0.113.9:7000");
    sim.own(LEFT, relayed);
    let candidate = rtc_ice::Candidate::relayed(relayed, addr("192.0.2.1:1000"));
    assert!(sim.left().add_local_candidate(candidate).is_some());
    sim.right().restart();
    swap_all(&mut sim);
    sim.run(secs(20));
    assert!(sim.both_are_up());
    assert_eq!(sim.left().selected_path().unwrap().local_addr, relayed);
    assert_eq!(sim.right().selected_path().unwrap().peer_addr, relayed);
}

#[test]
fn reflexive_candidate_that_is_no_longer_true_leaves_its_pairs() {
    let mut sim = Sim::connected(74);
    let (base, mapped) = (addr("192.0.2.1:1000"), addr("203.0.113.1:4000"));
    let reflexive = rtc_ice::Candidate::server_reflexive(mapped, base);
    assert!(sim.left().add_local_candidate(reflexive).is_some());
    assert_eq!(sim.left().local_candidates().len(), 2);
    sim.left().remove_server_reflexive(mapped, base);
    assert_eq!(sim.left().local_candidates().len(), 1);
    sim.run(secs(10));
    assert!(sim.both_are_up());
    let peers: Vec<_> = sim.left().peer_addresses().collect();
    assert!(peers.contains(&addr("192.0.2.2:2000")), "{peers:?}");
}
