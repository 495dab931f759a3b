//! CPU time: `cargo run --release --bin peers-bench`.

use std::path::PathBuf;

use clap::Parser;
use peers_bench::report::{Report, Runner};
use peers_bench::str0m::Str0m;
use peers_bench::webrtc_rs::WebrtcRs;
use peers_bench::{Connection, jobs};

#[derive(Parser)]
struct Options {
    /// Times that every stack has its turn.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only stacks whose name contains this.
    #[arg(long, default_value = "")]
    stack: String,
    /// Only jobs whose name contains this.
    #[arg(long, default_value = "")]
    job: String,
    /// File for the results as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    str0m::crypto::from_feature_flags().install_process_default();
    let mut report = Report::default();
    let mut job = |name: &str, unit, stacks: Vec<Runner<'_>>| {
        if name.contains(&options.job) {
            let stacks = stacks.into_iter().filter(|(name, _)| name.contains(&options.stack));
            report.measure(name, unit, options.rounds, stacks.collect());
        }
    };
    job("bulk, 16 KiB messages", "MB/CPU-s", all(jobs::bulk::<Str0m>, 64, jobs::bulk::<WebrtcRs>, 128, ours!(jobs::bulk, 256)));
    Ok(())
}
