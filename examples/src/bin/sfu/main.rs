//! A selective forwarding unit: a room in which everybody sees and hears everybody, each in the size
//! that the network has room for.
//!
//! ```sh
//! cargo run --release -p rtc-examples --bin sfu
//! ```
//!
//! Open the address that it prints in several windows. Each sends its camera in three sizes
//! (simulcast), and the buttons of a tile choose which one comes back. All browsers share one UDP socket
//! and one task that carries datagrams ([`Endpoint`](rtc_tokio::Endpoint)); one task for each published
//! track reads its packets and gives them to all who watch.
//!
//! With `--load 100` there is no browser: a second process publishes one track and watches it a hundred
//! times, and both tell what they received, sent, lost and used.
//!
//! * `room.rs`: what is published, and who is there.
//! * `forward.rs`: one published track and those who watch it: where packets are forwarded.
//! * `participant.rs`: one task for each browser: negotiation, and the choice of layers.
//! * `load/`: the measurement without browsers.

mod forward;
mod load;
mod participant;
mod room;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use rtc_examples::{Site, complain, signal, start_log};

use crate::room::Room;

/// Why the program ends.
type Failure = Box<dyn Error + Send + Sync>;

/// A video room for browsers.
///
/// The environment variable RUST_LOG chooses what is logged on standard error, for example
/// RUST_LOG=debug.
#[derive(Debug, Parser)]
#[command(name = "sfu", max_term_width = 100)]
struct Args {
    /// Address at which the page is served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Serve no page: publish a track and watch it so many times from another process, and measure.
    #[arg(long, value_name = "VIEWERS", conflicts_with = "listen")]
    load: Option<usize>,
    /// How long to measure.
    #[arg(long, default_value_t = 60, requires = "load")]
    seconds: u64,
    /// The other process of a measurement.
    #[arg(long, hide = true, value_name = "VIEWERS")]
    clients: Option<usize>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    start_log();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("sfu: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    if let Some(viewers) = args.clients {
        return load::clients::run(viewers).await;
    }
    if let Some(viewers) = args.load {
        let endpoint = rtc_tokio::endpoint()
            .bind(([127, 0, 0, 1], 0).into())
            .build()?;
        return load::run(
            Room::new(endpoint)?,
            viewers,
            Duration::from_secs(args.seconds),
        )
        .await;
    }
    // Browsers on this machine may have no other address in common with us.
    let endpoint = rtc_tokio::endpoint().with_loopback(true).build()?;
    let room = Room::new(endpoint)?;
    let site = Site::new(include_str!("page.html"), include_str!("page.js"));
    let signal =
        signal(move |incoming, outgoing| participant::run(Arc::clone(&room), incoming, outgoing));
    Ok(site.route("/signal", signal).serve(args.listen).await?)
}
