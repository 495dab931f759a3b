//! A network, a clock and an executor for tests of programs that use connections: without sockets,
//! without waiting, the same in every run.
//!
//! A [`World`] has [`Host`]s, a host has a [`Runtime`](crate::Runtime), and a program that is written
//! for any runtime, or takes a [`Builder`](crate::Builder), runs on it. Its time is virtual: an hour of
//! silence takes a millisecond. Whatever happens by chance follows from the seed of the world, and a
//! test that panics names it.
//!
//! Two peers exchange a message while every twentieth datagram is lost:
//!
//! ```
//! use std::time::Duration;
//!
//! use rtc_driver::test::{Link, World};
//!
//! let world = World::new(42);
//! world.set_default_link(Link::new(Duration::from_millis(30)).with_loss(0.05));
//! let (here, there) = (world.host(["192.0.2.1"]), world.host(["192.0.2.2", "2001:db8::2"]));
//!
//! world.run(async {
//!     let (alice, bob) = (here.builder().build()?, there.builder().build()?);
//!     let chat = alice.create_data_channel("chat", None)?;
//!     alice.set_local_description(None)?;
//!     bob.set_remote_description(alice.gathering_complete().await?)?;
//!     bob.set_local_description(None)?;
//!     alice.set_remote_description(bob.gathering_complete().await?)?;
//!
//!     chat.send("hello").await?;
//!     let channel = bob.data_channels().next().await.ok_or("no channel")?;
//!     let message = channel.recv().await.ok_or("closed")??;
//!     assert_eq!(message.as_str(), Some("hello"));
//!
//!     // A minute in which nothing happens but consent checks.
//!     here.runtime().sleep(Duration::from_secs(60)).await;
//!     alice.close().await?;
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })?;
//! world.run_for(Duration::from_secs(1));
//! assert_eq!((world.tasks(), world.sockets()), (0, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What can go wrong
//!
//! * [`Link`]s delay, lose, double and reorder datagrams and let only so many bits through. Every
//!   direction between two hosts can have one of its own ([`World::set_link`]), and every host a way
//!   to the network that its connections share ([`Host::set_uplink`], [`Host::set_downlink`]).
//! * Hosts and ways between them are cut and healed: [`Host::cut`], [`World::cut`].
//! * Interfaces come and go: [`Host::add_interface`], [`Host::remove_interface`].
//! * Sockets have no room, refuse batches, give errors or break: [`SocketModel`],
//!   [`Host::inject_errors`], [`Host::break_socket`].
//! * Hosts are behind NATs of every kind: [`Nat`]. A [`Gateway`] of one's own translates, watches or refuses what goes through it.
//!
//! All of it may change while the world runs. What became of datagrams is counted ([`Traffic`],
//! [`SocketCalls`]), and so is what tasks do ([`Host::polls`], [`JoinHandle::wakes`]).
//!
//! # What is the same in every run
//!
//! With one seed, every choice of the network, and every choice of a connection that was made with
//! [`Host::builder`] or from [`Host::configuration`]. A connection with another configuration takes its
//! seed from the system unless it is given one. A program that looks at the clock of the system, or
//! wakes tasks from threads of its own, is on its own as well.
//!
//! # Without futures
//!
//! [`Network`] is the model of the network alone, to be used with bare cores.

mod crypto;
mod executor;
mod link;
mod nat;
mod network;
mod runtime;
mod socket;
mod timer;
mod world;

pub use executor::JoinHandle;
pub use link::Link;
pub use nat::{Dependence, Nat, NatModel};
pub use network::{Datagram, Gateway, HostId, Network, Traffic};
pub use runtime::TestRuntime;
pub use socket::{SocketCalls, SocketModel, TestSocket};
pub use timer::{Sleep, TestTimer};
pub use world::{Host, World};
