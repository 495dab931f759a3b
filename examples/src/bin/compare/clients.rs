//! Clients in a process of their own, so that a server's memory and CPU time can be told apart from
//! theirs. Offers come in by lines, answers go out.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rtc_driver::rtc::peer_connection::sdp::RTCSessionDescription;

use crate::jobs::{Error, LOOPBACK, THREADS};

type Result<T> = std::result::Result<T, Error>;

/// The process of the clients: answers until its input ends.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut kept = Vec::new();
        for line in std::io::stdin().lock().lines() {
            let offer: RTCSessionDescription = serde_json::from_str(&line?)?;
            let client = rtc_tokio::builder().bind(LOOPBACK).build()?;
            client.set_remote_description(offer)?;
            client.set_local_description(None)?;
            let answer = client.gathering_complete().await?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}", serde_json::to_string(&answer)?)?;
            out.flush()?;
            kept.push(client);
        }
        Ok(())
    })
}

/// The server's side of them.
pub(crate) struct Clients {
    process: Child,
    offers: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Clients {
    pub(crate) fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("clients")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let offers = process.stdin.take();
        let answers = process.stdout.take().ok_or("no pipe")?;
        Ok(Self {
            process,
            offers,
            answers: BufReader::new(answers),
        })
    }

    /// A new client's answer. It waits for the process, which is soon done.
    pub(crate) fn answer(
        &mut self,
        offer: &RTCSessionDescription,
    ) -> Result<RTCSessionDescription> {
        let offers = self.offers.as_mut().ok_or("the clients have ended")?;
        writeln!(offers, "{}", serde_json::to_string(offer)?)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        drop(self.offers.take());
        let _ = self.process.wait();
    }
}
