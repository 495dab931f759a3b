//! Behaviour of whole connections, by the public interface.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests"
)]

mod alerts;
mod certificates;
mod hello;
mod hostile;
mod loss;
mod negotiation;
mod openssl;
mod sim;
mod wire;
