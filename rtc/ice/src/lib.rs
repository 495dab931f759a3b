//! An ICE agent (RFC 8445) without sockets or clock: it finds the paths between two peers, keeps them
//! alive and says where data goes.
//!
//! * [`Agent`] is the state machine: trickle (RFC 8838), dual stack (RFC 8421), patience (RFC 8863),
//!   consent (RFC 7675), restart, and the lite role. It handles one component, as everything is
//!   multiplexed on one path (RFC 8843, 8858).
//! * [`Candidate`] is one address with its text form, [`Credentials`] belong to one generation.
//! * [`PairStats`] and [`Stats`] tell what it did.
//!
//! The agent knows paths, not how they come to be. Its owner opens sockets, asks STUN and TURN
//! servers and gives the results as candidates; what the agent writes carries the base of a candidate
//! as local address, and what is read must carry the same.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use rtc_ice::{Agent, AgentConfig, Candidate, Role, State};
//! use rtc_shared::{Protocol, Rng, TransportProtocol};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut now = Instant::now();
//! let provider = &rtc_crypto::ring::PROVIDER;
//! let mut left = Agent::new(AgentConfig::default(), provider, Rng::from_seed([1; 32]))?;
//! let mut right = Agent::new(AgentConfig::default(), provider, Rng::from_seed([2; 32]))?;
//! left.set_role(Role::Controlling);
//!
//! // What signalling carries: credentials and candidates, in any order and at any time.
//! left.add_local_candidate(Candidate::host("192.0.2.1:1000".parse()?, TransportProtocol::UDP));
//! right.add_local_candidate(Candidate::host("192.0.2.2:2000".parse()?, TransportProtocol::UDP));
//! left.set_remote_credentials(right.local_credentials().clone())?;
//! right.set_remote_credentials(left.local_credentials().clone())?;
//! for candidate in right.local_candidates() {
//!     left.add_remote_candidate(candidate.to_string().parse()?)?;
//! }
//! for candidate in left.local_candidates() {
//!     right.add_remote_candidate(candidate.to_string().parse()?)?;
//! }
//!
//! // The network, with a delay of a millisecond.
//! left.handle_timeout(now)?;
//! while left.state() != State::Connected || right.state() != State::Connected {
//!     now += Duration::from_millis(1);
//!     while let Some(mut datagram) = left.poll_write() {
//!         let path = &mut datagram.transport;
//!         std::mem::swap(&mut path.local_addr, &mut path.peer_addr);
//!         datagram.now = now;
//!         right.handle_read(datagram)?;
//!     }
//!     while let Some(mut datagram) = right.poll_write() {
//!         let path = &mut datagram.transport;
//!         std::mem::swap(&mut path.local_addr, &mut path.peer_addr);
//!         datagram.now = now;
//!         left.handle_read(datagram)?;
//!     }
//!     for agent in [&mut left, &mut right] {
//!         if agent.poll_timeout().is_some_and(|deadline| deadline <= now) {
//!             agent.handle_timeout(now)?;
//!         }
//!     }
//! }
//! let path = left.selected_path().ok_or("no path")?;
//! assert_eq!(path.peer_addr, "192.0.2.2:2000".parse()?);
//! # Ok(())
//! # }
//! ```

mod agent;
mod candidate;
mod check;
mod checklist;
mod config;
mod consent;
mod credentials;
mod generation;
mod inbound;
mod local;
mod nomination;
mod pair;
mod stats;

pub use agent::{AcceptedPath, Agent, Event, Role, State};
pub use candidate::{
    Candidate, CandidateAddress, CandidateError, CandidateType, RelayProtocol, TcpType,
};
pub use config::{AgentConfig, Error};
pub use credentials::Credentials;
pub use pair::PairState;
pub use stats::{PairStats, Stats};
