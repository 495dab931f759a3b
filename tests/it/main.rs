//! Integration tests of the whole stack.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

mod addresses;
mod channels;
mod corpus;
mod dependencies;
mod endpoint;
mod hostile;
mod hostile_peer;
mod media_control;
mod media_layers;
mod media_life;
mod media_negotiation;
mod media_operations;
mod media_pair;
mod media_parameters;
mod media_path;
mod media_peer;
mod media_rollback;
mod media_routing;
mod media_simulation;
mod media_source;
mod negotiation;
mod operations;
mod runtimes;
mod seeds;
mod simulation;
