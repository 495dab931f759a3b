//! The same work on every runtime: a table, and a chart as SVG.
//!
//! ```sh
//! cargo run --release -p rtc-examples --bin compare
//! ```
//!
//! Every measurement has a process of its own, so that none finds the memory and the threads of
//! another, and the runtimes take turns, so that a machine that is busy for a while is busy for all.

#![allow(clippy::print_stdout, reason = "it is a command-line program")]

mod chart;
mod clients;
mod jobs;
mod reactor;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// Does the same work on every runtime.
#[derive(Debug, Parser)]
struct Options {
    /// Turns that each runtime has; the medians count.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only these runtimes.
    #[arg(long, value_enum)]
    runtime: Vec<Runtime>,
    /// Only these jobs.
    #[arg(long, value_enum)]
    job: Vec<Job>,
    /// Where the chart goes.
    #[arg(long, default_value = "compare.svg")]
    svg: PathBuf,
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measures once and prints the figures as JSON.
    Measure {
        #[arg(value_enum)]
        runtime: Runtime,
        #[arg(value_enum)]
        job: Job,
    },
    /// Answers the offers of a measurement.
    #[command(hide = true)]
    Clients,
}

/// What can drive connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Runtime {
    Tokio,
    Smol,
    AsyncStd,
    Mio,
}

impl Runtime {
    const ALL: [Self; 4] = [Self::Tokio, Self::Smol, Self::AsyncStd, Self::Mio];

    fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::AsyncStd => "async-std",
            Self::Mio => "mio",
        }
    }
}

/// A piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Job {
    /// From both descriptions to an open channel, two peers over loopback UDP.
    Connect,
    /// 1 GiB one way in messages of 16 KiB.
    Bulk,
    /// A million messages of 64 bytes one way.
    Small,
    /// A thousand connected peers that do nothing.
    Idle,
    /// Two hundred peers, each with its own socket, echo with one endpoint.
    Endpoint,
    /// Ten thousand idle connections on one endpoint; on request only.
    #[value(name = "idle-10k")]
    IdleEndpoint,
}

impl Job {
    const USUAL: [Self; 5] = [
        Self::Connect,
        Self::Bulk,
        Self::Small,
        Self::Idle,
        Self::Endpoint,
    ];
}

/// What a job has found out.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Figure {
    what: String,
    unit: String,
    value: f64,
}

impl Figure {
    fn new(what: &str, unit: &str, value: f64) -> Self {
        Self {
            what: what.to_owned(),
            unit: unit.to_owned(),
            value,
        }
    }
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    what: String,
    unit: String,
    /// By runtime, each with its rounds.
    samples: Vec<Vec<f64>>,
}

impl Row {
    fn medians(&self) -> Vec<f64> {
        self.samples.iter().map(|samples| median(samples)).collect()
    }
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    let done = match options.command {
        Some(Task::Measure { runtime, job }) => Some(
            jobs::measure(runtime, job).map(|figures| println!("{}", serde_json::json!(figures))),
        ),
        Some(Task::Clients) => Some(clients::serve()),
        None => None,
    };
    match done {
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(error)) => return complain(&*error),
        None => {}
    }
    if options.runtime.is_empty() {
        options.runtime = Runtime::ALL.to_vec();
    }
    if options.job.is_empty() {
        options.job = Job::USUAL.to_vec();
    }
    match compare(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&*error),
    }
}

fn compare(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let runtimes = &options.runtime;
    let mut rows: Vec<Row> = Vec::new();
    for &job in &options.job {
        for round in 0..options.rounds {
            for (column, &runtime) in runtimes.iter().enumerate() {
                progress(&format!(
                    "{job:?} on {}, round {}",
                    runtime.name(),
                    round + 1
                ));
                for figure in in_a_process(runtime, job)? {
                    let index = rows
                        .iter()
                        .position(|row| row.what == figure.what)
                        .unwrap_or_else(|| {
                            rows.push(Row {
                                what: figure.what.clone(),
                                unit: figure.unit.clone(),
                                samples: vec![Vec::new(); runtimes.len()],
                            });
                            rows.len() - 1
                        });
                    if let Some(samples) = rows
                        .get_mut(index)
                        .and_then(|it| it.samples.get_mut(column))
                    {
                        samples.push(figure.value);
                    }
                }
            }
        }
    }
    println!("{}", table(runtimes, &rows));
    chart::draw(&options.svg, runtimes, &rows)?;
    println!("\nThe chart is in {}.", options.svg.display());
    Ok(())
}

fn in_a_process(runtime: Runtime, job: Job) -> Result<Vec<Figure>, Box<dyn std::error::Error>> {
    let value = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
        value()
            .map(|it| it.get_name().to_owned())
            .unwrap_or_default()
    };
    let output = Command::new(std::env::current_exe()?)
        .arg("measure")
        .arg(value(&|| runtime.to_possible_value()))
        .arg(value(&|| job.to_possible_value()))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{job:?} on {} failed", runtime.name()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn table(runtimes: &[Runtime], rows: &[Row]) -> String {
    let names: Vec<_> = runtimes.iter().map(|runtime| runtime.name()).collect();
    let mut table = format!(
        "| what | unit | {} |\n|---|---{}|",
        names.join(" | "),
        "|---:".repeat(names.len())
    );
    for row in rows {
        let cells: Vec<_> = row.medians().into_iter().map(number).collect();
        table.push_str(&format!(
            "\n| {} | {} | {} |",
            row.what,
            row.unit,
            cells.join(" | ")
        ));
    }
    table
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value {
        v if v.is_nan() => "–".to_owned(),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => (below + above) / 2.0,
        (_, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}

#[expect(clippy::print_stderr, reason = "the user sees that something goes on")]
fn progress(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stderr, reason = "it is a command-line program")]
fn complain(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
