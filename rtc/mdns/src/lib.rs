//! Multicast DNS for ICE candidates (draft-ietf-mmusic-mdns-ice-candidates over RFC 6762).
//!
//! Browsers hide the addresses of their host candidates behind random names such as
//! `1f4712db-ea17-4bcf-a596-105139dfd8bf.local`. [`Mdns`] finds the addresses of such names, and gives
//! names to our own addresses. It is a state machine without sockets, one for a process or for a
//! connection: its owner opens UDP sockets on [`PORT`], joins [`GROUP_V4`] and [`GROUP_V6`] on each
//! interface, sends with a hop limit of 255, and passes datagrams, time and randomness.
//!
//! * **Finding**: both address families are asked for at once, the first time for a unicast answer,
//!   and again after 1, 2, 4 … seconds until there is an answer or [`Config::query_timeout`] is over.
//!   Answers are kept as long as they say, two minutes at most.
//! * **Giving names**: a name is announced twice; then questions are answered, also those of simple
//!   resolvers that ask from another port (RFC 6762 section 6.7). A name is not probed for, since it
//!   is random. Should somebody else claim it nevertheless, it is announced again: whoever does so
//!   does it on purpose, and ICE's checks authenticate whom it leads to.
//! * **Trust**: answers are taken from the local link alone and only to what was asked, every table
//!   has a bound, and replies have a rate. Nothing of this authenticates: that is for ICE.
//!
//! ```
//! use std::time::Instant;
//!
//! use rtc_mdns::{Config, Event, Interface, Mdns};
//! use rtc_shared::{Protocol, Rng};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Instant::now();
//! let mut hosts = [1, 2].map(|host| {
//!     let rng = Rng::from_seed([host; 32]);
//!     let mut mdns = Mdns::new(Config::default(), rng, now);
//!     let addr = format!("192.0.2.{host}:5353").parse().unwrap();
//!     mdns.add_interface(Interface::new(addr, 24), now).unwrap();
//!     mdns
//! });
//! let [a, b] = &mut hosts;
//!
//! // One gives its address a name and signals it as a candidate, the other looks it up.
//! let name = a.register("192.0.2.1".parse()?, now)?;
//! b.resolve(name.as_str().parse()?, now)?;
//!
//! // The network between them.
//! for _ in 0..2 {
//!     while let Some(mut datagram) = b.poll_write() {
//!         datagram.transport.peer_addr = "192.0.2.2:5353".parse()?;
//!         a.handle_read(datagram)?;
//!     }
//!     while let Some(mut datagram) = a.poll_write() {
//!         datagram.transport.peer_addr = "192.0.2.1:5353".parse()?;
//!         b.handle_read(datagram)?;
//!     }
//! }
//! let addrs = vec!["192.0.2.1".parse()?];
//! assert_eq!(b.poll_event(), Some(Event::Resolved { name, addrs }));
//! # Ok(())
//! # }
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

mod mdns;
pub mod message;
mod name;
mod resolver;
mod responder;

#[cfg(test)]
mod tests;

pub use mdns::{Config, Error, Event, Interface, Mdns, Stats};
pub use name::{InvalidName, Name};

/// The port of multicast DNS.
pub const PORT: u16 = 5353;
/// The group of multicast DNS over IPv4.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// The group of multicast DNS over IPv6.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
