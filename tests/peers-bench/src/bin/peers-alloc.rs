//! Allocations and memory, with a counting allocator: `cargo run --release --bin peers-alloc`.

use std::alloc::System;
use std::path::PathBuf;

use clap::Parser;
use peers_bench::media::{self, Care};
use peers_bench::report::Report;
use peers_bench::{each_stack, jobs};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Parser)]
struct Options {
    /// Connected pairs of the idle job.
    #[arg(long, default_value_t = 500)]
    pairs: usize,
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
    let mut report = Report::new(1, &options.job, &options.stack);
    report.measure(
        "allocations per 16 KiB message",
        "count",
        each_stack!(|C, _share| jobs::allocations::<C>(
            jobs::LARGE,
            4096,
            jobs::LARGE_WINDOW,
            allocations
        )),
    );
    report.measure(
        "allocations per 64-byte message",
        "count",
        each_stack!(|C, _share| jobs::allocations::<C>(
            jobs::SMALL,
            262_144,
            jobs::SMALL_WINDOW,
            allocations
        )),
    );
    for (care, words) in [(Care::Usual, "usual interceptors"), (Care::Bare, "bare")] {
        report.measure(
            &format!("allocations per 1,200-byte RTP packet, {words}"),
            "count",
            each_stack!(|C, _share| media::allocations::<C>(care, 50_000, allocations)),
        );
    }
    for seconds in [0, 10, 60] {
        report.measure(
            &format!("heap per peer, {seconds} s idle"),
            "bytes",
            each_stack!(|C, _share| jobs::idle::<C>(options.pairs, seconds, live)),
        );
    }
    report.finish(options.json.as_deref())
}

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    // Bytes allocated and deallocated contain what reallocations grew and shrank.
    stats.bytes_allocated - stats.bytes_deallocated
}
