//! Two agents, or an agent and a handmade peer, over a simulated network with virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod chaos;
mod connect;
mod consent;
mod hostile;
mod nomination;
mod raw;
mod restart;
mod roles;
mod sim;
