//! The driver on a network, a clock and an executor made for tests.
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
mod handles;
mod lifetime;
mod net;
