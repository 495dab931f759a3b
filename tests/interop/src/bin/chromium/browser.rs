//! A headless Chromium that is gone when its agent is, however the agent ends.
//!
//! Between the agent and the browser stands a supervisor: this very program, started with
//! [`SUPERVISE`], in a process group of its own. It starts the browser in another group and waits
//! for its standard input to end, which also happens when the agent is killed; then it kills the
//! browser's group and removes the profile.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rtc_interop::args::Case;
use rtc_interop::chromium::{FAKE_MEDIA, FLAGS, find, make_profile, remove};
use rtc_interop::lines;
use tokio::process::{Child, ChildStdin};
use tokio::time::timeout;

/// The first argument that makes this program a supervisor.
pub(crate) const SUPERVISE: &str = "--supervise";

/// The first argument that asks whether a browser is installed.
pub(crate) const PROBE: &str = "--probe";

/// Host candidates carry addresses, not names of multicast DNS.
const SHOW_ADDRESSES: &str = "--disable-features=WebRtcHideLocalIpsWithMdns";

/// How often the supervisor looks whether the browser has ended by itself.
const LOOK: Duration = Duration::from_millis(200);
/// What the supervisor may take to clear up.
const CLEAR_UP: Duration = Duration::from_secs(5);

/// A running browser.
#[derive(Debug)]
pub(crate) struct Browser {
    supervisor: Child,
    /// Held open as long as the browser is to live.
    stdin: Option<ChildStdin>,
}

impl Browser {
    /// Starts the browser on `url` with an empty profile.
    pub(crate) fn start(url: &str, case: Case) -> Result<Self, String> {
        let program = find().ok_or("no Chromium is installed (tests/interop/setup.sh does it)")?;
        let profile = make_profile().map_err(|error| format!("no profile can be made: {error}"))?;
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = tokio::process::Command::new(this);
        command
            .arg(SUPERVISE)
            .arg(&profile)
            .arg(program)
            .args(FLAGS);
        if case != Case::Mdns {
            command.args(FAKE_MEDIA).arg(SHOW_ADDRESSES);
        }
        command
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(
                std::env::var("INTEROP_CHROMIUM_FLAGS")
                    .iter()
                    .flat_map(|f| f.split_whitespace()),
            )
            .arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0);
        let mut supervisor = command
            .spawn()
            .map_err(|error| format!("Chromium does not start: {error}"))?;
        let stdin = supervisor.stdin.take();
        Ok(Self { supervisor, stdin })
    }

    /// Waits until the browser has ended by itself.
    pub(crate) async fn ended(&mut self) -> String {
        match self.supervisor.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Ends the browser and waits until nothing of it is left.
    pub(crate) async fn stop(mut self) {
        drop(self.stdin.take());
        if timeout(CLEAR_UP, self.supervisor.wait()).await.is_err() {
            lines::complain("Chromium is still being cleared up");
        }
    }
}

/// The supervisor: `words` are the profile, the program and its arguments.
pub(crate) fn supervise(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(profile), Some(program)) = (words.next(), words.next()) else {
        return ExitCode::from(2);
    };
    let mut browser = match Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
    {
        Ok(browser) => browser,
        Err(error) => {
            lines::complain(&format!("Chromium does not start: {error}"));
            clear(Path::new(&profile));
            return ExitCode::FAILURE;
        }
    };
    let (ended, agent_gone) = mpsc::channel::<()>();
    thread::spawn(move || {
        let _ended = ended;
        let _ = io::stdin().read_to_end(&mut Vec::new());
    });
    let mut status: Option<ExitStatus> = None;
    while status.is_none() {
        status = browser.try_wait().unwrap_or_default();
        if agent_gone.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Disconnected) {
            break;
        }
    }
    // There is no safe system call for a signal to a group; the shell has one built in.
    let _ = Command::new("/bin/sh")
        .args([
            "-c",
            "kill -s KILL -- -\"$1\" 2>/dev/null",
            "sh",
            &browser.id().to_string(),
        ])
        .status();
    let _ = browser.kill();
    let _ = browser.wait();
    clear(Path::new(&profile));
    match status {
        Some(status) if !status.success() => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// Succeeds when a browser is installed.
pub(crate) fn probe() -> ExitCode {
    match find() {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

fn clear(profile: &Path) {
    if !remove(profile) {
        lines::complain(&format!("{} could not be removed", profile.display()));
    }
}
