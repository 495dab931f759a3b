//! The driver on the network, the clock and the executor of `rtc_driver::test`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    reason = "tests"
)]

mod adversity;
mod channels;
mod endpoint;
mod gathering;
mod handles;
mod lifetime;
mod nat_matrix;
mod overflow;
mod relay;
mod requests;
mod samples;
mod scene;
mod tracks;
mod world;
