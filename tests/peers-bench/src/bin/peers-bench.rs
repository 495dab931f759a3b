//! CPU time: `cargo run --release --bin peers-bench`.

use std::path::PathBuf;

use clap::Parser;
use peers_bench::media::{self, Care};
use peers_bench::report::{Report, median};
use peers_bench::{each_stack, jobs, sockets};

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
    let mut report = Report::new(options.rounds, &options.job, &options.stack);
    report.measure(
        "bulk, 16 KiB messages",
        "MB/CPU-s",
        each_stack!(|C, share| jobs::bulk::<C>(32 * share * share)),
    );
    for window in [64, 4096] {
        report.measure(
            &format!("64-byte messages, {window} on the way"),
            "M/CPU-s",
            each_stack!(|C, share| jobs::small::<C>(10_000 * share * share * share, window)),
        );
    }
    for (care, words) in [(Care::Usual, "usual interceptors"), (Care::Bare, "bare")] {
        report.measure(
            &format!("1,200-byte RTP packets, one to one, {words}"),
            "M/CPU-s",
            each_stack!(|C, share| media::direct::<C>(care, 100_000 * share)),
        );
        report.measure(
            &format!("1,200-byte RTP packets, relayed one to 50, {words}"),
            "M out/CPU-s",
            each_stack!(|C, share| media::relay::<C>(care, 4_000 * share)),
        );
    }
    report.measure(
        "handshake pair, ready certificates",
        "ms CPU",
        each_stack!(|C, _share| jobs::handshake::<C>(200, true)),
    );
    report.measure(
        "handshake pair, fresh certificates",
        "ms CPU",
        each_stack!(|C, _share| jobs::handshake::<C>(200, false)),
    );
    report.measure(
        "making two certificates",
        "ms CPU",
        each_stack!(|C, _share| jobs::certificates::<C>(200)),
    );
    report.measure(
        "set-up over loopback UDP, core alone",
        "ms",
        each_stack!(|C, _share| {
            let samples: Vec<_> = (0..50).map(|_| sockets::setup::<C>()).collect();
            median(&samples)
        }),
    );
    report.finish(options.json.as_deref())
}
