//! Pairs interop agents and prints a table of what holds.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use futures_util::StreamExt as _;
use futures_util::stream;
use rtc_interop::args::{self, Case};
use rtc_interop::lines;
use rtc_interop::runner::{self, Judgement, Outcome, Pairing, Peer, Toolbox};
use serde_json::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};

/// Runs interop cases between two agents.
///
/// An AGENT is `rtc` or `rtc:RUNTIME` (the binary `interop` next to this one), `chromium`,
/// `aiortc`, or the command line of a program that keeps the agents' contract.
#[derive(Debug, Parser)]
#[command(name = "interop-run")]
struct Command {
    /// Who offers.
    #[arg(long, value_name = "AGENT", required = true)]
    offer: Vec<Peer>,
    /// Who answers; with several offerers and answerers, every offerer meets every answerer.
    #[arg(long, value_name = "AGENT", required = true)]
    answer: Vec<Peer>,
    /// The cases, with commas between them; `all` stands for every one, `data` for those that
    /// need nothing but data channels, `media` for those that carry audio or video.
    #[arg(long, value_name = "NAME", required = true, value_delimiter = ',', value_parser = parse_cases)]
    case: Vec<Cases>,
    /// How often each case is run.
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// How many pairings run at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Seconds for each side.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Where both agents gather candidates; may be given several times.
    #[arg(long, value_name = "ADDR")]
    bind: Vec<String>,
    /// STUN and TURN servers for both agents, as a W3C array of RTCIceServer.
    #[arg(long, value_name = "JSON")]
    ice_servers: Option<String>,
    /// A setting for both agents.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// A setting for the offerer.
    #[arg(long, value_name = "KEY=VALUE")]
    offer_set: Vec<String>,
    /// A setting for the answerer.
    #[arg(long, value_name = "KEY=VALUE")]
    answer_set: Vec<String>,
    /// The folder for logs instead of target/interop-logs.
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
}

/// What one name of `--case` stands for.
#[derive(Debug, Clone)]
struct Cases(Vec<Case>);

fn parse_cases(name: &str) -> Result<Cases, String> {
    match name {
        "all" => Ok(Cases(Case::all().to_vec())),
        "data" => Ok(Cases(Case::OF_DATA.to_vec())),
        "media" => Ok(Cases(Case::OF_MEDIA.to_vec())),
        _ => <Case as clap::ValueEnum>::from_str(name, false).map(|case| Cases(vec![case])),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let command: Command = args::parse();
    let outcomes = tokio::select! {
        outcomes = play(&command) => outcomes,
        // Leaving ends the agents that are running.
        stopped = stopped() => stopped,
    };
    match outcomes {
        Ok(outcomes) if outcomes.iter().any(|o| o.judgement == Judgement::Failed) => {
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            lines::complain(&format!("the runner cannot go on: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Waits for a signal to stop.
async fn stopped() -> io::Result<Vec<Outcome>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Err(io::ErrorKind::Interrupted.into())
}

async fn play(command: &Command) -> io::Result<Vec<Outcome>> {
    let mut toolbox = Toolbox::beside_this_program()?;
    if let Some(logs) = &command.logs {
        toolbox.logs.clone_from(logs);
    }
    let pairings = pairings(command);
    print(&format!(
        "{:<16} {:<14} {:<14} {:<12} {:>8}  details",
        "case", "offerer", "answerer", "result", "seconds"
    ))?;
    let mut running = stream::iter(pairings)
        .map(|pairing| runner::run(&toolbox, pairing))
        .buffered(usize::from(command.jobs));
    let mut outcomes = Vec::new();
    while let Some(outcome) = running.next().await {
        let outcome = outcome?;
        print(&row(&outcome))?;
        outcomes.push(outcome);
    }
    let count = |of| {
        outcomes
            .iter()
            .filter(|outcome| outcome.judgement == of)
            .count()
    };
    print(&format!(
        "{} ok, {} failed, {} unsupported",
        count(Judgement::Ok),
        count(Judgement::Failed),
        count(Judgement::Unsupported)
    ))?;
    Ok(outcomes)
}

fn pairings(command: &Command) -> Vec<Pairing> {
    let mut both = Vec::new();
    both.extend(
        command
            .bind
            .iter()
            .flat_map(|addr| ["--bind".to_owned(), addr.clone()]),
    );
    both.extend(
        command
            .ice_servers
            .iter()
            .flat_map(|j| ["--ice-servers".to_owned(), j.clone()]),
    );
    let with = |set: &[String]| -> Vec<String> {
        let sets = command.set.iter().chain(set);
        let sets = sets.flat_map(|setting| ["--set".to_owned(), setting.clone()]);
        both.iter().cloned().chain(sets).collect()
    };
    let (offer_args, answer_args) = (with(&command.offer_set), with(&command.answer_set));
    let mut pairings = Vec::new();
    for case in command.case.iter().flat_map(|cases| &cases.0) {
        for offer in &command.offer {
            for answer in &command.answer {
                pairings.extend((0..command.repeat).map(|round| Pairing {
                    offer: offer.clone(),
                    answer: answer.clone(),
                    case: *case,
                    round,
                    timeout: Duration::from_secs(command.timeout),
                    offer_args: offer_args.clone(),
                    answer_args: answer_args.clone(),
                }));
            }
        }
    }
    pairings
}

fn row(outcome: &Outcome) -> String {
    let Pairing {
        offer,
        answer,
        case,
        ..
    } = &outcome.pairing;
    let details = match &outcome.reason {
        Some(reason) if outcome.judgement == Judgement::Failed => {
            format!("{reason} (see {})", outcome.logs.display())
        }
        Some(reason) => reason.clone(),
        None => figures(&outcome.offer, &outcome.answer),
    };
    let seconds = outcome.elapsed.as_secs_f64();
    format!(
        "{case:<16} {offer:<14} {answer:<14} {:<12} {seconds:>8.1}  {details}",
        outcome.judgement
    )
}

/// The figures of both sides; what is the same on both is told once.
fn figures(offer: &Map<String, Value>, answer: &Map<String, Value>) -> String {
    let shown = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Object(_) | Value::Null => None,
    };
    let told = |key: &str| !["pair", "dtls_cipher"].contains(&key);
    let mut words = Vec::new();
    for (key, value) in offer.iter().filter(|(key, _)| told(key)) {
        let other = answer.get(key).and_then(shown);
        match (shown(value), other) {
            (Some(one), Some(two)) if one != two => words.push(format!("{key}={one}|{two}")),
            (Some(one), _) => words.push(format!("{key}={one}")),
            (None, _) => {}
        }
    }
    for (key, value) in answer
        .iter()
        .filter(|(key, _)| told(key) && !offer.contains_key(*key))
    {
        words.extend(shown(value).map(|value| format!("{key}={value}")));
    }
    words.join(" ")
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
