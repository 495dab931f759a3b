//! The agent whose stack is Chromium: serves a page on loopback, starts a headless browser on it,
//! and carries lines between the runner and the page.

mod browser;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rtc_interop::args::{self, Args};
use rtc_interop::lines::{self, Line, Verdict};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use browser::Browser;
use server::{FromPage, Server};

/// What the browser may take to start and to load the page.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// What the page may be late after its own timeout.
const PAGE_GRACE: Duration = Duration::from_secs(5);

/// An interop agent whose stack is Chromium's.
#[derive(Debug, Parser)]
#[command(name = "interop-chromium")]
struct Command {
    #[command(flatten)]
    args: Args,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    match words.next() {
        Some(word) if word == browser::SUPERVISE => return browser::supervise(words),
        Some(word) if word == browser::PROBE => return browser::probe(),
        _ => {}
    }
    let Command { args } = args::parse();
    let verdict = match play(&args).await {
        Ok(verdict) => verdict,
        Err(error) => Line::Result(Verdict::failed(args.case, Map::new(), &error)),
    };
    lines::write(&verdict);
    let ok = matches!(verdict, Line::Result(Verdict { ok: true, .. }));
    args::exit(i32::from(!ok))
}

/// Runs the case and returns the page's `result` line.
async fn play(args: &Args) -> Result<Line, String> {
    let start = json!({
        "role": args.role,
        "case": args.case,
        "bind": args.bind.iter().map(|addr| addr.ip().to_string()).collect::<Vec<_>>(),
        "iceServers": args.ice_servers,
        "policy": args.policy,
        "timeout": args.timeout,
        "set": args.settings(),
    });
    let mut server = Server::bind(&json!({ "start": start }).to_string()).await?;
    let mut browser = Browser::start(&server.url(), args.case)?;
    let outcome = carry(args, &mut server, &mut browser).await;
    browser.stop().await;
    outcome
}

async fn carry(args: &Args, server: &mut Server, browser: &mut Browser) -> Result<Line, String> {
    let mut stdin = lines::read_stdin();
    let mut stdin_open = true;
    let failed = |error: std::io::Error| error.to_string();
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let mut connected = false;
    let mut deadline = Instant::now() + START_TIMEOUT;
    loop {
        tokio::select! {
            from_page = server.receive() => match from_page {
                FromPage::Connected => {
                    connected = true;
                    deadline = Instant::now() + args.timeout() + PAGE_GRACE;
                }
                FromPage::Line(line @ Line::Result(_), _) => return Ok(line),
                FromPage::Line(_, text) => lines::write_text(&text),
                FromPage::Complaint(text) => lines::complain(&format!("page: {text}")),
                FromPage::Gone => return Err("the page went away".to_owned()),
            },
            line = stdin.recv(), if stdin_open => match line {
                Some(line) => server.send(&json!({ "line": line })),
                None => stdin_open = false,
            },
            status = browser.ended() => return Err(format!("Chromium ended early ({status})")),
            () = sleep_until(deadline) => return Err(match connected {
                false => "Chromium did not load the page".to_owned(),
                true => "the page gave no verdict in time".to_owned(),
            }),
            _ = terminate.recv() => return Err("terminated".to_owned()),
            _ = interrupt.recv() => return Err("interrupted".to_owned()),
            _ = hangup.recv() => return Err("hung up".to_owned()),
        }
    }
}

/// Turns what the page sends into what it means.
fn read_page(text: &str) -> FromPage {
    let mut message: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    if let Some(Value::String(complaint)) = message.remove("stderr") {
        return FromPage::Complaint(complaint);
    }
    let raw = message.remove("line").unwrap_or_default();
    match serde_json::from_value(raw.clone()) {
        Ok(line) => FromPage::Line(line, raw.to_string()),
        Err(error) => FromPage::Complaint(format!("not understood ({error}): {text}")),
    }
}
