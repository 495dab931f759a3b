//! Real streams, hostile ones, and lossy networks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod builder;
mod hostile;
mod layer_switch;
mod round_trip;
mod streams;
mod support;
