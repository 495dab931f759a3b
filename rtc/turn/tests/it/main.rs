//! Client and server against each other in virtual time, and each alone against hostile input.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(clippy::print_stdout, reason = "a failed test shows its seed")]

mod allocate;
mod data;
mod hostile;
mod lifetime;
mod raw;
mod server;
mod sim;
mod vectors;
