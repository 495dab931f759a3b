//! The simulated network: latency, loss, duplication, reordering by jitter, NATs and blocked paths, all
//! from one seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc_ice::{Agent, AgentConfig, Candidate, CandidateType, Event, Role, State};
use rtc_shared::{FiveTuple, Protocol, Rng, TaggedBytesMut, TransportContext, TransportProtocol};

pub(crate) const LEFT: usize = 0;
pub(crate) const RIGHT: usize = 1;

pub(crate) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn udp(text: &str) -> Candidate {
    Candidate::host(addr(text), TransportProtocol::UDP)
}

pub(crate) fn path(local: &str, peer: &str) -> FiveTuple {
    FiveTuple {
        local_addr: addr(local),
        peer_addr: addr(peer),
        transport_protocol: TransportProtocol::UDP,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "some instant has to be the first"
)]
pub(crate) fn any_instant() -> Instant {
    Instant::now()
}

pub(crate) fn agent(config: AgentConfig, seed: u64) -> Agent {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Agent::new(config, &rtc_crypto::ring::PROVIDER, Rng::from_seed(bytes)).unwrap()
}

pub(crate) fn config(change: impl FnOnce(&mut AgentConfig)) -> AgentConfig {
    let mut config = AgentConfig::default();
    change(&mut config);
    config
}

/// True for paths on which everything is lost.
type Blocks = Box<dyn Fn(&FiveTuple) -> bool>;

/// A datagram under way.
struct Flight {
    at: Instant,
    order: u64,
    to: usize,
    datagram: TaggedBytesMut,
}

pub(crate) struct Sim {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) agents: Vec<Agent>,
    pub(crate) events: Vec<Vec<(Duration, Event)>>,
    /// Wake-ups of each agent by its timer.
    pub(crate) wakes: [usize; 2],
    /// What each agent sent.
    pub(crate) sent: [usize; 2],
    pub(crate) latency: Duration,
    /// Added at random, so that datagrams overtake each other.
    pub(crate) jitter: Duration,
    pub(crate) loss: f64,
    pub(crate) duplicates: f64,
    /// Private address to public address: a NAT that lets everything in that comes to the public one.
    pub(crate) nat: BTreeMap<SocketAddr, SocketAddr>,
    /// Paths, as the sender sees them, on which everything is lost.
    pub(crate) blocked: Vec<Blocks>,
    /// Every datagram as it was sent.
    pub(crate) trace: Vec<String>,
    owners: BTreeMap<SocketAddr, usize>,
    wire: Vec<Flight>,
    rng: Rng,
    order: u64,
}

impl Sim {
    /// Two agents, the left controlling, without candidates.
    pub(crate) fn new(seed: u64, left: AgentConfig, right: AgentConfig) -> Self {
        let start = any_instant();
        let mut bytes = [1; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut agents = vec![agent(left, 2 * seed), agent(right, 2 * seed + 1)];
        agents[LEFT].set_role(Role::Controlling);
        agents[RIGHT].set_role(Role::Controlled);
        for agent in &mut agents {
            agent.handle_timeout(start).unwrap();
        }
        Self {
            start,
            now: start,
            agents,
            events: vec![Vec::new(), Vec::new()],
            wakes: [0; 2],
            sent: [0; 2],
            latency: ms(10),
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicates: 0.0,
            nat: BTreeMap::new(),
            blocked: Vec::new(),
            trace: Vec::new(),
            owners: BTreeMap::new(),
            wire: Vec::new(),
            rng: Rng::from_seed(bytes),
            order: 0,
        }
    }

    /// Two agents with one address each that know each other.
    pub(crate) fn pair(seed: u64) -> Self {
        let mut sim = Self::new(seed, AgentConfig::default(), AgentConfig::default());
        sim.host(LEFT, "192.0.2.1:1000");
        sim.host(RIGHT, "192.0.2.2:2000");
        sim.signal(LEFT);
        sim.signal(RIGHT);
        sim
    }

    /// Like [`pair`](Self::pair), and connected.
    pub(crate) fn connected(seed: u64) -> Self {
        let mut sim = Self::pair(seed);
        sim.run(secs(2));
        assert!(sim.both_are(State::Completed), "{:?}", sim.states());
        sim
    }

    pub(crate) fn left(&mut self) -> &mut Agent {
        &mut self.agents[LEFT]
    }

    pub(crate) fn right(&mut self) -> &mut Agent {
        &mut self.agents[RIGHT]
    }

    pub(crate) fn host(&mut self, side: usize, address: &str) {
        self.own(side, addr(address));
        assert!(
            self.agents[side]
                .add_local_candidate(udp(address))
                .is_some()
        );
    }

    /// Lets an address belong to a side.
    pub(crate) fn own(&mut self, side: usize, address: SocketAddr) {
        self.owners.insert(address, side);
    }

    /// A host candidate behind a NAT, with the reflexive candidate that a STUN server would give.
    pub(crate) fn host_behind_nat(&mut self, side: usize, address: &str, public: &str) {
        self.host(side, address);
        self.nat.insert(addr(address), addr(public));
        let reflexive = Candidate::server_reflexive(addr(public), addr(address));
        self.agents[side].add_local_candidate(reflexive).unwrap();
    }

    pub(crate) fn signal_credentials(&mut self, from: usize) {
        let credentials = self.agents[from].local_credentials().clone();
        self.agents[1 - from]
            .set_remote_credentials(credentials)
            .unwrap();
    }

    pub(crate) fn signal_candidates(&mut self, from: usize) {
        let lines: Vec<String> = self.agents[from]
            .local_candidates()
            .iter()
            .map(ToString::to_string)
            .collect();
        for line in lines {
            self.agents[1 - from]
                .add_remote_candidate(line.parse().unwrap())
                .unwrap();
        }
    }

    /// Everything that a description of `from` carries.
    pub(crate) fn signal(&mut self, from: usize) {
        self.signal_credentials(from);
        self.signal_candidates(from);
        self.agents[from].end_of_local_candidates();
        self.agents[1 - from].end_of_remote_candidates();
    }

    pub(crate) fn states(&self) -> [State; 2] {
        [self.agents[LEFT].state(), self.agents[RIGHT].state()]
    }

    pub(crate) fn both_are(&self, state: State) -> bool {
        self.states() == [state, state]
    }

    pub(crate) fn both_are_up(&self) -> bool {
        self.states()
            .iter()
            .all(|state| matches!(state, State::Connected | State::Completed))
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// When an agent first had a state.
    pub(crate) fn reached(&self, side: usize, state: State) -> Option<Duration> {
        let mut events = self.events[side].iter();
        events
            .find(|(_, event)| *event == Event::StateChanged(state))
            .map(|(at, _)| *at)
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Runs until `done` or, for at most `limit`; true when done.
    pub(crate) fn run_while(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        self.run_until(end, done)
    }

    fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            self.drain();
            if done(self) {
                return true;
            }
            let timeouts = self.agents.iter_mut().filter_map(Protocol::poll_timeout);
            let arrivals = self.wire.iter().map(|flight| flight.at);
            let next = timeouts.chain(arrivals).min().map(|at| at.max(self.now));
            match next {
                Some(next) if next <= end => self.now = next,
                _ => {
                    self.now = end;
                    return false;
                }
            }
            self.deliver();
            for side in [LEFT, RIGHT] {
                let now = self.now;
                let agent = &mut self.agents[side];
                if agent.poll_timeout().is_some_and(|deadline| deadline <= now) {
                    self.wakes[side] += 1;
                    agent.handle_timeout(now).unwrap();
                    let deadline = agent.poll_timeout();
                    assert!(deadline.is_none_or(|at| at > now), "no progress at {now:?}");
                }
            }
        }
    }

    /// Delivers what has arrived by now, in the order of arrival.
    fn deliver(&mut self) {
        self.wire.sort_by_key(|flight| (flight.at, flight.order));
        while self
            .wire
            .first()
            .is_some_and(|flight| flight.at <= self.now)
        {
            let mut flight = self.wire.remove(0);
            flight.datagram.now = self.now;
            self.agents[flight.to].handle_read(flight.datagram).unwrap();
        }
    }

    /// Takes what the agents want to tell and send.
    fn drain(&mut self) {
        for side in [LEFT, RIGHT] {
            while let Some(event) = self.agents[side].poll_event() {
                let elapsed = self.elapsed();
                self.events[side].push((elapsed, event));
            }
            while let Some(datagram) = self.agents[side].poll_write() {
                self.sent[side] += 1;
                self.send(side, datagram);
            }
        }
    }

    fn send(&mut self, side: usize, datagram: TaggedBytesMut) {
        let path = datagram.transport.five_tuple();
        assert_eq!(
            self.owners.get(&path.local_addr),
            Some(&side),
            "sends from foreign {path:?}"
        );
        self.trace.push(format!(
            "{:?} {side} {} {} {:02x?}",
            self.elapsed(),
            path.local_addr,
            path.peer_addr,
            &datagram.message[..]
        ));
        let copies = 1 + usize::from(self.rng.unit() < self.duplicates);
        for _ in 0..copies {
            let lost = self.rng.unit() < self.loss;
            let delay = self.latency + self.jitter.mul_f64(self.rng.unit());
            if lost || self.blocked.iter().any(|blocks| blocks(&path)) {
                continue;
            }
            let source = self
                .nat
                .get(&path.local_addr)
                .copied()
                .unwrap_or(path.local_addr);
            let inside = self
                .nat
                .iter()
                .find(|(_, public)| **public == path.peer_addr);
            let target = match inside {
                Some((private, _)) => *private,
                // A private address is not reached from outside.
                None if self.nat.contains_key(&path.peer_addr) => continue,
                None => path.peer_addr,
            };
            let Some(&to) = self.owners.get(&target) else {
                continue;
            };
            self.order += 1;
            self.wire.push(Flight {
                at: self.now + delay,
                order: self.order,
                to,
                datagram: TaggedBytesMut {
                    now: self.now,
                    transport: TransportContext {
                        local_addr: target,
                        peer_addr: source,
                        ..datagram.transport
                    },
                    message: datagram.message.clone(),
                },
            });
        }
    }

    /// The selected path of an agent with the types of its candidates.
    pub(crate) fn selected(&self, side: usize) -> (FiveTuple, CandidateType, CandidateType) {
        let pair = self.agents[side]
            .pairs()
            .find(|pair| pair.selected)
            .unwrap();
        assert_eq!(self.agents[side].selected_path(), Some(pair.path));
        (pair.path, pair.local.typ, pair.remote.typ)
    }

    /// True when both use the same path, seen from their sides, without NAT.
    pub(crate) fn paths_agree(&self) -> bool {
        match (
            self.agents[LEFT].selected_path(),
            self.agents[RIGHT].selected_path(),
        ) {
            (Some(left), Some(right)) => {
                left.local_addr == right.peer_addr && left.peer_addr == right.local_addr
            }
            _ => false,
        }
    }
}
