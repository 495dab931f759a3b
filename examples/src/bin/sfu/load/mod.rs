//! A measurement without browsers: one published track, many who watch it.
//!
//! This process forwards, as it does for browsers. Another one, started by it, publishes and watches
//! (`clients.rs`); lines of JSON over its standard input and output are the signalling.

pub(crate) mod clients;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rtc::statistics::RTCStats;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use self::clients::ClientsReport;
use rtc_examples::say;
use rtc_examples::usage::Usage;

use crate::Failure;
use crate::participant::{self, FromPage, ToPage};
use crate::room::Room;

/// A line to the clients.
#[derive(Debug, Serialize, Deserialize)]
enum ToClients {
    Message {
        client: usize,
        message: ToPage,
    },
    /// Publish no more, and report.
    Stop,
    /// Everything has been counted.
    Leave,
}

/// A line from the clients.
#[derive(Debug, Serialize, Deserialize)]
enum FromClients {
    Message {
        client: usize,
        message: FromPage,
    },
    /// Everybody sees the largest layer.
    Ready,
    Report(ClientsReport),
}

/// What this process received, sent and lost.
#[derive(Debug, Default)]
struct ServerReport {
    received: u64,
    forwarded: u64,
    sent: u64,
    retransmitted: u64,
    lost: u64,
}

pub(crate) async fn run(room: Arc<Room>, viewers: usize, time: Duration) -> Result<(), Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--clients", &viewers.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("no pipe to the clients".into());
    };
    let (lines, outgoing) = mpsc::channel(1024);
    let writing = tokio::spawn(write_lines(stdin, outgoing));
    let mut clients = Clients {
        room: Arc::clone(&room),
        pages: BTreeMap::new(),
        output: BufReader::new(stdout).lines(),
        lines,
    };

    say(&format!("connecting a publisher and {viewers} viewers"));
    if clients.next_news().await?.is_some() {
        return Err("the clients reported too early".into());
    }
    say(&format!("measuring for {} s", time.as_secs()));
    let before = Usage::now();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        tokio::select! {
            _ = second.tick() => {}
            news = clients.next_news() => {
                news?;
                return Err("the clients have ended too early".into());
            }
        }
    }
    let used = Usage::now();
    clients.lines.send(ToClients::Stop).await?;
    let Some(report) = clients.next_news().await? else {
        return Err("the clients have not reported".into());
    };
    let here = server_report(&room);
    clients.lines.send(ToClients::Leave).await?;
    child.wait().await?;
    writing.abort();

    print(&here, &used, &before, &report, time);
    let lost = here.lost + report.lost_inside;
    match lost + report.missing.saturating_sub(report.kernel_drops) {
        0 => Ok(()),
        lost => Err(format!("{lost} packets were lost").into()),
    }
}

/// The other process, and a task for each client in it.
struct Clients {
    room: Arc<Room>,
    pages: BTreeMap<usize, mpsc::Sender<FromPage>>,
    output: Lines<BufReader<ChildStdout>>,
    lines: mpsc::Sender<ToClients>,
}

impl Clients {
    /// Carries signalling until there is something else: `None` when all are ready, or their report.
    async fn next_news(&mut self) -> Result<Option<ClientsReport>, Failure> {
        loop {
            let line = self.output.next_line().await?;
            let line = line.ok_or("the clients have ended")?;
            let (client, message) = match serde_json::from_str(&line)? {
                FromClients::Ready => return Ok(None),
                FromClients::Report(report) => return Ok(Some(report)),
                FromClients::Message { client, message } => (client, message),
            };
            if !self.pages.contains_key(&client) {
                let page = self.join(client);
                self.pages.insert(client, page);
            }
            if let Some(page) = self.pages.get(&client) {
                let _ = page.send(message).await;
            }
        }
    }

    fn join(&self, client: usize) -> mpsc::Sender<FromPage> {
        let (page, incoming) = mpsc::channel(16);
        let (outgoing, mut messages) = mpsc::channel(16);
        tokio::spawn(participant::run(Arc::clone(&self.room), incoming, outgoing));
        let lines = self.lines.clone();
        tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                // Of no use to a program.
                if !matches!(message, ToPage::Status { .. }) {
                    let _ = lines.send(ToClients::Message { client, message }).await;
                }
            }
        });
        page
    }
}

async fn write_lines(mut stdin: ChildStdin, mut lines: mpsc::Receiver<ToClients>) {
    while let Some(line) = lines.recv().await {
        let Ok(mut text) = serde_json::to_string(&line) else {
            continue;
        };
        text.push('\n');
        if stdin.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Adds up what the connections count.
fn server_report(room: &Room) -> ServerReport {
    let mut report = ServerReport::default();
    let mut dropped = 0;
    for connection in room.connections().values() {
        let media = connection.with_core(|core| core.counters().media);
        report.received += media.rtp_received;
        report.sent += media.rtp_sent;
        dropped += clients::dropped(connection);
        for (_, stats) in connection.stats().iter() {
            if let RTCStats::OutboundRtp(stream) = stats {
                report.retransmitted += stream.retransmitted_packets_sent;
            }
        }
    }
    let published = room.published().borrow().clone();
    report.forwarded = published.iter().map(|it| it.forwarded()).sum();
    report.sent -= report.retransmitted;
    let counters = room.endpoint().counters();
    // What was given to connections and neither left nor is counted as dropped would be lost all the
    // same.
    let vanished = report.forwarded.saturating_sub(report.sent);
    report.lost = dropped.max(vanished) + counters.sockets.send_errors;
    report
}

fn print(
    here: &ServerReport,
    used: &Usage,
    before: &Usage,
    report: &ClientsReport,
    time: Duration,
) {
    let cpu = |used: Duration| {
        let seconds = used.as_secs_f64();
        format!(
            "{seconds:.1} s ({:.0} %)",
            100.0 * seconds / time.as_secs_f64()
        )
    };
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    say("");
    say("this process, which forwards");
    say(&format!("  packets received    {}", here.received));
    say(&format!("  packets forwarded   {}", here.forwarded));
    say(&format!("  packets sent        {}", here.sent));
    say(&format!("  sent once more      {}", here.retransmitted));
    say(&format!("  lost inside         {}", here.lost));
    say(&format!("  lost in the kernel  {}", used.kernel_drops));
    say(&format!(
        "  CPU time            {}",
        cpu(used.cpu.saturating_sub(before.cpu))
    ));
    say(&format!(
        "  memory              {:.1} MiB, at most {:.1} MiB",
        mebibytes(used.memory),
        mebibytes(used.memory_peak)
    ));
    say("the other process, which publishes and watches");
    say(&format!("  packets sent        {}", report.sent));
    say(&format!("  packets received    {}", report.received));
    say(&format!("  never received      {}", report.missing));
    say(&format!("  lost inside         {}", report.lost_inside));
    say(&format!("  lost in the kernel  {}", report.kernel_drops));
    say(&format!("  frames received     {}", report.frames));
    let [half, most, all] = report.latency.map(|it| it as f64 / 1000.0);
    say(&format!(
        "  time of a frame     {half:.2} ms, 99 % {most:.2} ms, at most {all:.2} ms"
    ));
    say(&format!("  CPU time            {}", cpu(report.cpu)));
    say(&format!(
        "  memory              {:.1} MiB, at most {:.1} MiB",
        mebibytes(report.memory),
        mebibytes(report.memory_peak)
    ));
}
