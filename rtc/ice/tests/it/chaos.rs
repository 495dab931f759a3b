use rtc_ice::{AgentConfig, Role, State};
use rtc_shared::{Protocol, Rng};

use crate::sim::{LEFT, RIGHT, Sim, addr, ms, secs, udp};

/// Commands in any order, over a bad network: nothing panics, every wake-up makes progress (the
/// simulation asserts it), bounds hold, and when calm returns and both restart, they connect.
#[test]
fn any_order_of_commands_ends_in_a_connection() {
    for seed in 0..150 {
        let mut rng = Rng::from_seed([seed as u8; 32]);
        let mut sim = Sim::new(1_000 + seed, AgentConfig::default(), AgentConfig::default());
        sim.loss = rng.unit() * 0.5;
        sim.duplicates = rng.unit() * 0.3;
        sim.jitter = ms(u64::from(rng.below(200)));
        sim.host(LEFT, "10.0.0.1:1000");
        sim.host(RIGHT, "10.0.0.2:1000");
        for step in 0..60 {
            let side = rng.below(2) as usize;
            let address = format!("10.{side}.0.{}:{}", 1 + rng.below(4), 1 + rng.below(3));
            match rng.below(14) {
                0 => sim.agents[side].restart(),
                1 => sim.agents[side].rollback_restart(),
                2 => {
                    let credentials = sim.agents[side].local_credentials().clone();
                    let _ = sim.agents[1 - side].set_remote_credentials(credentials);
                }
                3 => {
                    let lines = sim.agents[side].local_candidates().to_vec();
                    for line in lines {
                        let line = line.to_string().parse().unwrap();
                        let _ = sim.agents[1 - side].add_remote_candidate(line);
                    }
                }
                4 => {
                    sim.own(side, addr(&address));
                    sim.agents[side].add_local_candidate(udp(&address));
                }
                5 => sim.agents[side].remove_local_base(addr(&address)),
                6 => sim.agents[side].end_of_local_candidates(),
                7 => sim.agents[side].end_of_remote_candidates(),
                8 => sim.agents[side].set_role(Role::Controlling),
                9 => sim.agents[side].set_role(Role::Controlled),
                10 => sim.blocked.push(Box::new(|_| true)),
                11 => sim.blocked.clear(),
                _ => sim.run(ms(u64::from(rng.below(20_000)))),
            }
            for agent in &mut sim.agents {
                assert!(agent.pairs().count() <= 200, "seed {seed} step {step}");
                assert!(
                    agent.remote_candidates().count() <= 80,
                    "seed {seed} step {step}"
                );
                let usable = matches!(
                    agent.state(),
                    State::Connected | State::Completed | State::Disconnected | State::Checking
                );
                assert!(
                    agent.selected_path().is_none() || usable,
                    "seed {seed} step {step}"
                );
                if let Some(path) = agent.selected_path() {
                    assert!(agent.accepts(&path), "seed {seed} step {step}");
                }
            }
        }
        sim.blocked.clear();
        sim.loss = 0.1;
        sim.left().restart();
        sim.right().restart();
        sim.signal(LEFT);
        sim.signal(RIGHT);
        assert!(
            sim.run_while(secs(30), Sim::both_are_up),
            "seed {seed}: {:?}",
            sim.states()
        );
        sim.loss = 0.0;
        sim.run(secs(60));
        assert!(
            sim.both_are(State::Completed),
            "seed {seed}: {:?}",
            sim.states()
        );
        assert!(sim.paths_agree(), "seed {seed}");
        assert_ne!(
            sim.agents[LEFT].role(),
            sim.agents[RIGHT].role(),
            "seed {seed}"
        );
        for agent in &mut sim.agents {
            agent.close().unwrap();
            assert_eq!((agent.poll_timeout(), agent.pairs().count()), (None, 0));
        }
    }
}
