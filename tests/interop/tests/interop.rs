//! The project's own agent against itself, Chromium and aiortc, in both roles.
//!
//! `tests/interop/setup.sh` installs the foreign stacks. Without them their half is skipped with a
//! message, or fails when `RTC_REQUIRE_INTEROP=1` is set.

#![expect(clippy::panic, reason = "the helpers of a test fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use rtc_interop::args::Case;
use rtc_interop::lines;
use rtc_interop::runner::{self, Judgement, Outcome, Pairing, Peer, Toolbox};
use tokio::sync::Semaphore;

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

/// Where media may depend on the runtime: all kinds at once, several streams and connections.
const OF_RUNTIMES_WITH_MEDIA: [Case; 2] = [Case::AvBundle, Case::Forward];

/// Media comes in real time, so that pairs mostly wait: so many run at once.
static PLACES: Semaphore = Semaphore::const_new(5);

/// Runs the cases, prints a line for each, and panics with all that failed. What one side is known to
/// lack is no failure.
async fn run(offer: &Peer, answer: &Peer, cases: &[Case]) {
    let outcomes = cases.iter().map(|&case| run_one(offer, answer, case));
    let failures: Vec<String> = join_all(outcomes).await.into_iter().flatten().collect();
    assert!(
        failures.is_empty(),
        "{offer} to {answer}:\n{}",
        failures.join("\n")
    );
}

/// Runs a case, and says how it failed if it did. The line goes past the capturing of test output.
async fn run_one(offer: &Peer, answer: &Peer, case: Case) -> Option<String> {
    let pairing = Pairing {
        offer: offer.clone(),
        answer: answer.clone(),
        case,
        round: 0,
        timeout: TIMEOUT,
        offer_args: Vec::new(),
        answer_args: Vec::new(),
    };
    let place = PLACES.acquire().await;
    let outcome = runner::run(&toolbox(), pairing).await;
    drop(place);
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
    fails.then(|| format!("{case}: {reason} (see {})", logs.display()))
}

/// What is known to be missing on one side; anything else that is called unsupported is a failure.
fn lacks(offer: &Peer, answer: &Peer, case: Case) -> bool {
    let both = [offer, answer];
    match case {
        Case::Dtls13 => {
            both.iter().any(|it| matches!(it, Peer::Rtc { .. })) || both.contains(&&Peer::Aiortc)
        }
        Case::IceRestart
        | Case::Stats
        | Case::VideoVp9
        | Case::VideoAv1
        | Case::Renegotiate
        | Case::Perfect => both.contains(&&Peer::Aiortc),
        Case::Simulcast => both.contains(&&Peer::Aiortc) || answer == &Peer::Chromium,
        Case::Forward => [&Peer::Aiortc, &Peer::Chromium].contains(&offer),
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

/// What data channels alone show, and what carries audio or video.
const OF_ALL: [&[Case]; 2] = [&Case::OF_DATA, &Case::OF_MEDIA];

#[tokio::test]
async fn rtc_with_itself() {
    run(&rtc(), &rtc(), &OF_ALL.concat()).await;
}

#[tokio::test]
async fn rtc_with_itself_on_every_runtime() {
    for runtime in RUNTIMES {
        let peer = rtc_on(runtime);
        let mut cases = OF_ALL.concat();
        cases.retain(|case| *case != Case::Loss);
        run(&peer, &peer, &cases).await;
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
            let cases = [&OF_RUNTIMES[..], &OF_RUNTIMES_WITH_MEDIA].concat();
            run(&rtc_on(runtime), &Peer::Chromium, &cases).await;
            run(&Peer::Chromium, &rtc_on(runtime), &cases).await;
        }
    }
}

#[tokio::test]
async fn rtc_offers_to_chromium() {
    if has_chromium() {
        run(&rtc(), &Peer::Chromium, &OF_ALL.concat()).await;
    }
}

#[tokio::test]
async fn chromium_offers_to_rtc() {
    if has_chromium() {
        run(&Peer::Chromium, &rtc(), &OF_ALL.concat()).await;
    }
}

#[tokio::test]
async fn rtc_offers_to_aiortc() {
    if has_aiortc() {
        run(&rtc(), &Peer::Aiortc, &OF_ALL.concat()).await;
    }
}

#[tokio::test]
async fn aiortc_offers_to_rtc() {
    if has_aiortc() {
        run(&Peer::Aiortc, &rtc(), &OF_ALL.concat()).await;
    }
}
