//! The project's own agent against itself, Chromium and aiortc, in both roles.
//!
//! `tests/interop/setup.sh` installs the foreign stacks. Without them their half is skipped with a
//! message, or fails when `RTC_REQUIRE_INTEROP=1` is set.

#![expect(clippy::panic, reason = "the helpers of a test fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rtc_interop::args::Case;
use rtc_interop::lines;
use rtc_interop::runner::{self, Judgement, Outcome, Pairing, Peer, Toolbox};

/// Enough for a loaded machine; a healthy run takes a fraction.
const TIMEOUT: Duration = Duration::from_secs(60);

fn toolbox() -> Toolbox {
    Toolbox::new(
        PathBuf::from(env!("CARGO_BIN_EXE_interop")),
        PathBuf::from(env!("CARGO_BIN_EXE_interop-chromium")),
    )
}

fn rtc() -> Peer {
    Peer::Rtc { runtime: None }
}

fn rtc_on(runtime: &str) -> Peer {
    let runtime = Some(runtime.to_owned());
    Peer::Rtc { runtime }
}

/// The runtimes beside the agent's default, which is the one of all other tests.
const RUNTIMES: [&str; 3] = ["smol", "async-std", "mio"];

/// What depends most on the runtime: the first packets, many of them, a new path, the end.
const OF_RUNTIMES: [Case; 4] = [
    Case::DataEcho,
    Case::DataBulk,
    Case::IceRestart,
    Case::Close,
];

/// Runs the cases one after the other, prints a line for each, and panics with all that failed.
/// What one side is known to lack is no failure. The lines go past the capturing of test output.
async fn run(offer: &Peer, answer: &Peer, cases: &[Case]) {
    let mut failures = Vec::new();
    for &case in cases {
        let pairing = Pairing {
            offer: offer.clone(),
            answer: answer.clone(),
            case,
            round: 0,
            timeout: TIMEOUT,
            offer_args: Vec::new(),
            answer_args: Vec::new(),
        };
        let outcome = runner::run(&toolbox(), pairing).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("the logs: {error}"));
        let Outcome {
            judgement,
            reason,
            logs,
            elapsed,
            ..
        } = outcome;
        let reason = reason.unwrap_or_default();
        let seconds = elapsed.as_secs_f64();
        lines::complain(&format!(
            "{case:<16} {offer:<13} {answer:<13} {judgement:<12} {seconds:>5.1} s  {reason}"
        ));
        let fails = match judgement {
            Judgement::Ok => false,
            Judgement::Unsupported => !lacks(offer, answer, case),
            Judgement::Failed => true,
        };
        if fails {
            failures.push(format!("{case}: {reason} (see {})", logs.display()));
        }
    }
    assert!(
        failures.is_empty(),
        "{offer} to {answer}:\n{}",
        failures.join("\n")
    );
}

/// What is known to be missing on one side; anything else that is called unsupported is a failure.
fn lacks(offer: &Peer, answer: &Peer, case: Case) -> bool {
    let both = [offer, answer];
    match case {
        Case::Dtls13 => {
            both.iter().any(|it| matches!(it, Peer::Rtc { .. })) || both.contains(&&Peer::Aiortc)
        }
        Case::IceRestart | Case::Stats => both.contains(&&Peer::Aiortc),
        Case::IceLite => [&Peer::Aiortc, &Peer::Chromium].contains(&answer),
        _ => false,
    }
}

/// Whether a foreign stack is there. When it is not, the test is skipped or fails.
fn installed(name: &str, there: bool) -> bool {
    if !there {
        let message = format!("{name} is not installed (tests/interop/setup.sh does it)");
        let required = std::env::var("RTC_REQUIRE_INTEROP").is_ok_and(|value| value == "1");
        assert!(!required, "{message}");
        lines::complain(&format!("SKIPPED: {message}"));
    }
    there
}

fn has_chromium() -> bool {
    let status = Command::new(env!("CARGO_BIN_EXE_interop-chromium"))
        .arg("--probe")
        .status();
    installed("Chromium", status.is_ok_and(|status| status.success()))
}

fn has_aiortc() -> bool {
    let python = toolbox().python;
    let works = |python: &Path| {
        let status = Command::new(python).args(["-c", "import aiortc"]).status();
        status.is_ok_and(|status| status.success())
    };
    installed("aiortc", python.exists() && works(&python))
}

#[tokio::test]
async fn rtc_with_itself() {
    run(&rtc(), &rtc(), &Case::OF_DATA).await;
}

#[tokio::test]
async fn rtc_with_itself_on_every_runtime() {
    for runtime in RUNTIMES {
        let peer = rtc_on(runtime);
        run(&peer, &peer, &Case::OF_DATA).await;
    }
}

#[tokio::test]
async fn every_runtime_with_another() {
    let mut offer = rtc_on("tokio");
    for runtime in RUNTIMES.into_iter().chain(["tokio"]) {
        let answer = rtc_on(runtime);
        run(&offer, &answer, &OF_RUNTIMES).await;
        offer = answer;
    }
}

#[tokio::test]
async fn every_runtime_with_chromium() {
    if has_chromium() {
        for runtime in RUNTIMES {
            run(&rtc_on(runtime), &Peer::Chromium, &OF_RUNTIMES).await;
            run(&Peer::Chromium, &rtc_on(runtime), &OF_RUNTIMES).await;
        }
    }
}

#[tokio::test]
async fn rtc_offers_to_chromium() {
    if has_chromium() {
        run(&rtc(), &Peer::Chromium, &Case::OF_DATA).await;
    }
}

#[tokio::test]
async fn chromium_offers_to_rtc() {
    if has_chromium() {
        run(&Peer::Chromium, &rtc(), &Case::OF_DATA).await;
    }
}

#[tokio::test]
async fn rtc_offers_to_aiortc() {
    if has_aiortc() {
        run(&rtc(), &Peer::Aiortc, &Case::OF_DATA).await;
    }
}

#[tokio::test]
async fn aiortc_offers_to_rtc() {
    if has_aiortc() {
        run(&Peer::Aiortc, &rtc(), &Case::OF_DATA).await;
    }
}
