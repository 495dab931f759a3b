//! Pairs two agents, carries their lines, and judges.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::args::{Case, Policy, Role};
use crate::lines::{Line, Verdict};

/// What an agent may be late after the timeout it was given.
const AGENT_GRACE: Duration = Duration::from_secs(30);
/// What the other agent gets for its own verdict once one has failed or lacks the feature.
const AFTER_ONE: Duration = Duration::from_secs(2);
/// What an agent gets to exit after its verdict.
const AFTER_BOTH: Duration = Duration::from_secs(10);

/// Who plays a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// The project's own agent, on the runtime named, or on its default.
    Rtc {
        /// The value of `--runtime`.
        runtime: Option<String>,
    },
    /// Chromium.
    Chromium,
    /// aiortc.
    Aiortc,
    /// A program that keeps the contract, with its first arguments.
    Program(Vec<String>),
}

impl FromStr for Peer {
    type Err = String;

    /// `rtc`, `rtc:RUNTIME`, `chromium`, `aiortc`, or a command line split at blanks.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "rtc" => Ok(Self::Rtc { runtime: None }),
            "chromium" => Ok(Self::Chromium),
            "aiortc" => Ok(Self::Aiortc),
            _ => match text.strip_prefix("rtc:") {
                Some(runtime) => Ok(Self::Rtc {
                    runtime: Some(runtime.to_owned()),
                }),
                None => {
                    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
                    match words.is_empty() {
                        true => Err("no agent is named".to_owned()),
                        false => Ok(Self::Program(words)),
                    }
                }
            },
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtc { runtime: None } => f.pad("rtc"),
            Self::Rtc {
                runtime: Some(runtime),
            } => f.pad(&format!("rtc:{runtime}")),
            Self::Chromium => f.pad("chromium"),
            Self::Aiortc => f.pad("aiortc"),
            Self::Program(words) => {
                let name = words.first().map(Path::new).and_then(Path::file_name);
                f.pad(&name.map_or_else(|| "?".into(), |name| name.to_string_lossy()))
            }
        }
    }
}

/// Where the agents are and where their logs go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolbox {
    /// The project's own agent.
    pub rtc: PathBuf,
    /// The agent for Chromium.
    pub chromium: PathBuf,
    /// The Python that has aiortc.
    pub python: PathBuf,
    /// The agent for aiortc.
    pub aiortc: PathBuf,
    /// The folder for logs.
    pub logs: PathBuf,
}

impl Toolbox {
    /// The agents next to the running program, and those in this package's folder.
    ///
    /// # Errors
    /// When the running program's own path is not known.
    pub fn beside_this_program() -> io::Result<Self> {
        let this = std::env::current_exe()?;
        let folder = this.parent().unwrap_or(&this);
        Ok(Self::new(
            folder.join("interop"),
            folder.join("interop-chromium"),
        ))
    }

    /// With the two binaries given, and the rest where this package has it.
    #[must_use]
    pub fn new(rtc: PathBuf, chromium: PathBuf) -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = package.ancestors().nth(2).unwrap_or(package).join("target");
        let python = std::env::var_os("INTEROP_PYTHON").map(PathBuf::from);
        Self {
            rtc,
            chromium,
            python: python.unwrap_or_else(|| target.join("interop-venv/bin/python")),
            aiortc: package.join("agents/aiortc_agent.py"),
            logs: target.join("interop-logs"),
        }
    }

    fn command(&self, peer: &Peer) -> Command {
        match peer {
            Peer::Rtc { runtime } => {
                let mut command = Command::new(&self.rtc);
                if let Some(runtime) = runtime {
                    command.args(["--runtime", runtime]);
                }
                command
            }
            Peer::Chromium => Command::new(&self.chromium),
            Peer::Aiortc => {
                let mut command = Command::new(&self.python);
                // No compiled files beside the sources.
                command.arg("-B").arg(&self.aiortc);
                command
            }
            Peer::Program(words) => {
                let (program, rest) = words.split_first().map_or(("", &[][..]), |(a, b)| (a, b));
                let mut command = Command::new(program);
                command.args(rest);
                command
            }
        }
    }
}

/// One case to be run between two agents.
#[derive(Debug, Clone)]
pub struct Pairing {
    /// Who offers.
    pub offer: Peer,
    /// Who answers.
    pub answer: Peer,
    /// The case.
    pub case: Case,
    /// Tells repetitions apart in the logs.
    pub round: u32,
    /// The time that the agents are given.
    pub timeout: Duration,
    /// More arguments for the offerer.
    pub offer_args: Vec<String>,
    /// More arguments for the answerer.
    pub answer_args: Vec<String>,
}

/// How a pairing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The case holds on both sides.
    Ok,
    /// It does not hold on one side.
    Failed,
    /// One side's stack lacks the feature.
    Unsupported,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
            Self::Unsupported => "unsupported",
        })
    }
}

/// What became of a pairing.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The pairing.
    pub pairing: Pairing,
    /// The judgement over both sides.
    pub judgement: Judgement,
    /// Who failed or lacks the feature, and why.
    pub reason: Option<String>,
    /// The offerer's figures.
    pub offer: Map<String, Value>,
    /// The answerer's figures.
    pub answer: Map<String, Value>,
    /// From the start of the agents to their end.
    pub elapsed: Duration,
    /// The folder with both sides' standard error and all the lines.
    pub logs: PathBuf,
}

/// Runs one pairing to its end. Both agents are gone when this returns or is dropped.
///
/// # Errors
/// When the logs cannot be written; an agent that does not start is a failed pairing.
pub async fn run(toolbox: &Toolbox, pairing: Pairing) -> io::Result<Outcome> {
    let Pairing {
        offer,
        answer,
        case,
        round,
        ..
    } = &pairing;
    // A colon in a file name is not welcome everywhere.
    let name = format!("{case}-{offer}-{answer}-{round}").replace(':', "-");
    let logs = toolbox.logs.join(name);
    fs::create_dir_all(&logs)?;
    let mut transcript = Transcript::create(&logs.join("lines.log"))?;
    let start = Instant::now();
    let (first, second) = match (
        Side::start(toolbox, &pairing, Role::Offer, &logs)?,
        Side::start(toolbox, &pairing, Role::Answer, &logs)?,
    ) {
        (Ok(offer), Ok(answer)) => {
            let hard_end = start + pairing.timeout + AGENT_GRACE;
            carry(offer, answer, hard_end, &mut transcript).await?
        }
        (offer, answer) => (Finished::unstarted(offer), Finished::unstarted(answer)),
    };
    let (judgement, reason) = judge(&first, &second, &pairing);
    Ok(Outcome {
        judgement,
        reason,
        offer: first.details(),
        answer: second.details(),
        elapsed: start.elapsed(),
        logs,
        pairing,
    })
}

/// Whether the case holds, and if not, who is to blame.
fn judge(offer: &Finished, answer: &Finished, pairing: &Pairing) -> (Judgement, Option<String>) {
    let sides = [
        (offer, &pairing.offer, "offerer"),
        (answer, &pairing.answer, "answerer"),
    ];
    let mut lacking = None;
    let mut failed: Option<String> = None;
    for (side, peer, role) in sides {
        match &side.end {
            End::Verdict(verdict) if verdict.is_unsupported() => {
                let reason = verdict.details.get("reason").and_then(Value::as_str);
                lacking = Some(format!(
                    "{role} {peer}: {}",
                    reason.unwrap_or("no reason given")
                ));
            }
            End::Verdict(Verdict { ok: true, .. }) if side.succeeded() => {}
            End::Verdict(Verdict { ok: true, .. }) => {
                failed = Some(format!("{role} {peer}: ended with {}", side.status()));
            }
            End::Verdict(verdict) => {
                let error = verdict.error().unwrap_or("no error given");
                failed.get_or_insert_with(|| format!("{role} {peer}: {error}"));
            }
            // Who was ended because of the other is not to blame.
            End::Dismissed => {}
            End::Silent(why) => failed = Some(format!("{role} {peer}: {why}, {}", side.status())),
        }
    }
    match (failed, lacking) {
        (Some(reason), _) => (Judgement::Failed, Some(reason)),
        (None, Some(reason)) => (Judgement::Unsupported, Some(reason)),
        (None, None) => (Judgement::Ok, None),
    }
}

/// Carries lines until both sides have ended.
async fn carry(
    mut offer: Side,
    mut answer: Side,
    hard_end: Instant,
    transcript: &mut Transcript,
) -> io::Result<(Finished, Finished)> {
    let mut end = hard_end;
    while offer.is_running() || answer.is_running() {
        let (line, from, to) = tokio::select! {
            line = offer.read(), if offer.is_running() => (line, &mut offer, &mut answer),
            line = answer.read(), if answer.is_running() => (line, &mut answer, &mut offer),
            () = sleep_until(end) => break,
        };
        transcript.note(from.role, &line)?;
        match line {
            Said::PassOn(text) => to.tell(text),
            Said::Log(_) => {}
            Said::Verdict(verdict) => {
                let rest = match verdict.ok {
                    true => hard_end,
                    false => Instant::now() + AFTER_ONE,
                };
                from.end = Some(End::Verdict(verdict));
                end = end.min(rest);
            }
            Said::Nonsense(why) => {
                from.end = Some(End::Silent(why));
                end = end.min(Instant::now() + AFTER_ONE);
            }
        }
    }
    let blameless = end < hard_end;
    Ok((
        offer.finish(blameless).await,
        answer.finish(blameless).await,
    ))
}

/// A running agent.
#[derive(Debug)]
struct Side {
    role: Role,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    to_stdin: mpsc::UnboundedSender<String>,
    end: Option<End>,
}

/// How an agent's standard output ended.
#[derive(Debug, Clone, PartialEq)]
enum End {
    Verdict(Verdict),
    /// It was ended because the other side's verdict was there.
    Dismissed,
    /// It said nothing, or nothing that can be understood.
    Silent(String),
}

/// A line of an agent.
#[derive(Debug)]
enum Said {
    PassOn(String),
    Log(String),
    Verdict(Verdict),
    Nonsense(String),
}

impl Side {
    /// Starts an agent; the inner error is one that the agent is to blame for.
    fn start(
        toolbox: &Toolbox,
        pairing: &Pairing,
        role: Role,
        logs: &Path,
    ) -> io::Result<Result<Self, String>> {
        let (peer, more) = match role {
            Role::Offer => (&pairing.offer, &pairing.offer_args),
            Role::Answer => (&pairing.answer, &pairing.answer_args),
        };
        let policy = pairing.case.policy(role).unwrap_or(Policy::All);
        let mut command = toolbox.command(peer);
        command
            .args([
                "--role",
                &role.to_string(),
                "--case",
                &pairing.case.to_string(),
            ])
            .args(["--policy", &policy.to_string()])
            .args(["--timeout", &pairing.timeout.as_secs().to_string()])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(logs.join(format!("{role}.stderr")))?)
            .kill_on_drop(true);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Ok(Err(format!("{peer} does not start: {error}"))),
        };
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Ok(Err(format!("{peer} has no standard input or output")));
        };
        let (to_stdin, lines) = mpsc::unbounded_channel();
        tokio::spawn(feed(stdin, lines));
        let stdout = BufReader::new(stdout).lines();
        Ok(Ok(Self {
            role,
            child,
            stdout,
            to_stdin,
            end: None,
        }))
    }

    fn is_running(&self) -> bool {
        self.end.is_none()
    }

    /// Reads one line. Cancelling loses nothing.
    async fn read(&mut self) -> Said {
        let text = match self.stdout.next_line().await {
            Ok(Some(text)) => text,
            Ok(None) => return Said::Nonsense("ended without a result".to_owned()),
            Err(error) => return Said::Nonsense(format!("its output cannot be read: {error}")),
        };
        match serde_json::from_str(&text) {
            Ok(Line::Result(verdict)) => Said::Verdict(verdict),
            Ok(Line::Log { message }) => Said::Log(message),
            Ok(_) => Said::PassOn(text),
            Err(error) => Said::Nonsense(format!("printed what is not a line ({error})")),
        }
    }

    fn tell(&self, text: String) {
        // An agent that has ended already misses nothing.
        let _ = self.to_stdin.send(text);
    }

    /// Waits for the process if it gave its verdict, and ends it otherwise.
    async fn finish(mut self, blameless: bool) -> Finished {
        let end = self.end.take().unwrap_or_else(|| match blameless {
            true => End::Dismissed,
            false => End::Silent("gave no result in time".to_owned()),
        });
        let patience = match end {
            End::Dismissed => Duration::ZERO,
            End::Verdict(_) | End::Silent(_) => AFTER_BOTH,
        };
        let waited = tokio::time::timeout(patience, self.child.wait()).await;
        let status = waited.ok().and_then(Result::ok);
        if status.is_none() {
            let _ = self.child.kill().await;
        }
        Finished { end, status }
    }
}

/// An agent that is gone. Without a status, it had to be killed.
#[derive(Debug)]
struct Finished {
    end: End,
    status: Option<ExitStatus>,
}

impl Finished {
    fn unstarted(side: Result<Side, String>) -> Self {
        let end = side.err().map_or(End::Dismissed, End::Silent);
        Self { end, status: None }
    }

    fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    fn status(&self) -> String {
        self.status
            .map_or_else(|| "killed".to_owned(), |status| status.to_string())
    }

    fn details(&self) -> Map<String, Value> {
        match &self.end {
            End::Verdict(verdict) => verdict.details.clone(),
            End::Dismissed | End::Silent(_) => Map::new(),
        }
    }
}

async fn feed(mut stdin: ChildStdin, mut lines: mpsc::UnboundedReceiver<String>) {
    while let Some(mut text) = lines.recv().await {
        text.push('\n');
        if stdin.write_all(text.as_bytes()).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

/// All that both sides said, with the time since the start.
#[derive(Debug)]
struct Transcript {
    file: File,
    start: Instant,
}

impl Transcript {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::create(path)?,
            start: Instant::now(),
        })
    }

    fn note(&mut self, role: Role, said: &Said) -> io::Result<()> {
        let at = self.start.elapsed().as_secs_f64();
        match said {
            Said::PassOn(text) => writeln!(self.file, "{at:8.3} {role:>6}: {text}"),
            Said::Log(text) => writeln!(self.file, "{at:8.3} {role:>6}: log: {text}"),
            Said::Verdict(verdict) => {
                let text = serde_json::to_string(verdict)?;
                writeln!(self.file, "{at:8.3} {role:>6}: {text}")
            }
            Said::Nonsense(why) => writeln!(self.file, "{at:8.3} {role:>6}: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairing(offer: &str, answer: &str) -> Pairing {
        Pairing {
            offer: Peer::from_str(offer).unwrap(),
            answer: Peer::from_str(answer).unwrap(),
            case: Case::Close,
            round: 0,
            timeout: Duration::from_secs(5),
            offer_args: Vec::new(),
            answer_args: Vec::new(),
        }
    }

    fn program(words: &[&str]) -> Peer {
        Peer::Program(words.iter().map(|&word| word.to_owned()).collect())
    }

    fn script(text: &str) -> Peer {
        program(&["/bin/sh", "-c", text])
    }

    async fn run_scripts(name: &str, offer: &str, answer: &str) -> Outcome {
        let mut toolbox = Toolbox::new(PathBuf::new(), PathBuf::new());
        toolbox.logs = std::env::temp_dir().join(format!("interop-{name}-{}", std::process::id()));
        let mut pairing = pairing("rtc", "rtc");
        (pairing.offer, pairing.answer) = (script(offer), script(answer));
        let outcome = run(&toolbox, pairing).await.unwrap();
        fs::remove_dir_all(&toolbox.logs).unwrap();
        outcome
    }

    const OK: &str = r#"echo '{"type":"result","ok":true,"case":"close","details":{"n":1}}'"#;

    #[test]
    fn peers_are_named_or_command_lines() {
        assert_eq!("chromium".parse(), Ok(Peer::Chromium));
        assert_eq!(
            "rtc:smol".parse(),
            Ok(Peer::Rtc {
                runtime: Some("smol".to_owned())
            })
        );
        assert_eq!("a/b -c".parse(), Ok(program(&["a/b", "-c"])));
        assert_eq!(program(&["a/b", "-c"]).to_string(), "b");
        assert!(" ".parse::<Peer>().is_err());
    }

    #[tokio::test]
    async fn lines_reach_the_other_side_and_logs_do_not() {
        let say = r#"echo '{"type":"log","message":"m"}'; echo '{"type":"done"}'; read line;
            test "$line" = '{"type":"done"}' || exit 1; "#;
        let script = format!("{say}{OK}");
        let outcome = run_scripts("exchange", &script, &script).await;
        assert_eq!(outcome.judgement, Judgement::Ok, "{:?}", outcome.reason);
        assert_eq!(outcome.offer["n"], 1);
    }

    #[tokio::test]
    async fn a_verdict_that_the_exit_status_denies_is_a_failure() {
        let outcome = run_scripts("status", &format!("{OK}; exit 1"), OK).await;
        assert_eq!(outcome.judgement, Judgement::Failed);
    }

    #[tokio::test]
    async fn an_agent_without_a_result_is_a_failure_and_the_other_is_ended() {
        let outcome = run_scripts("silent", "exit 0", "sleep 1000").await;
        assert_eq!(outcome.judgement, Judgement::Failed);
        assert!(
            outcome
                .reason
                .unwrap()
                .contains("offerer sh: ended without a result")
        );
    }

    #[tokio::test]
    async fn what_one_side_lacks_is_told_apart_unless_the_other_fails() {
        let lacks = r#"echo '{"type":"result","ok":false,"case":"close",
            "details":{"error":"unsupported","reason":"r"}}' | tr -d '\n'; echo; exit 1"#;
        let outcome = run_scripts("lacking", lacks, "sleep 1000").await;
        assert_eq!(outcome.judgement, Judgement::Unsupported);
        assert_eq!(outcome.reason.as_deref(), Some("offerer sh: r"));
        let fails =
            r#"echo '{"type":"result","ok":false,"case":"close","details":{"error":"e"}}'; exit 1"#;
        let outcome = run_scripts("lacking-failing", lacks, fails).await;
        assert_eq!(outcome.judgement, Judgement::Failed);
        assert_eq!(outcome.reason.as_deref(), Some("answerer sh: e"));
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_a_failure() {
        let toolbox = Toolbox::new("/no/such/agent".into(), PathBuf::new());
        let outcome = run(&toolbox, pairing("rtc", "rtc")).await.unwrap();
        assert_eq!(outcome.judgement, Judgement::Failed);
    }
}
