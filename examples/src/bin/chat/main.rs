//! A chat and a throughput test between this program and web pages, over data channels.
//!
//! ```sh
//! cargo run --release -p rtc-examples --bin chat
//! ```
//!
//! Open the address that it prints in a browser, in two windows if you like. Lines typed on the
//! terminal go to every page, and what one page says goes to the others. With `--self-test` there is
//! no browser: two peers in this process exchange 64 MiB each way and check every byte.
//!
//! * `server.rs`: the page, and the offers that it posts.
//! * `session.rs`: one task for each page, from its offer to its end.
//! * `room.rs`: who says what to whom.
//! * `throughput.rs`: the test of speed; `throughput.js` is the other half.
//! * `self_test.rs`: both ends in one process.

mod room;
mod self_test;
mod server;
mod session;
mod throughput;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use rtc_examples::{complain, start_log};

/// Chat and throughput test with web pages, over WebRTC data channels.
///
/// The environment variable RUST_LOG chooses what is logged on standard error, for example
/// RUST_LOG=debug.
#[derive(Debug, Parser)]
#[command(name = "chat", max_term_width = 100)]
struct Args {
    /// Address at which the page is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Connect two peers in this process, transfer 64 MiB each way, and check what arrives.
    #[arg(long, conflicts_with = "listen")]
    self_test: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    start_log();
    let failure = if args.self_test {
        self_test::run().await.err().map(|error| error.to_string())
    } else {
        server::run(args.listen)
            .await
            .err()
            .map(|error| error.to_string())
    };
    match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            complain(&format!("chat: {failure}"));
            ExitCode::FAILURE
        }
    }
}
