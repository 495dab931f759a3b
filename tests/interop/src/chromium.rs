//! Chromium: where it is, how it is started, and how a test drives it.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A headless browser with a camera and a microphone, driven by its DevTools protocol.
///
/// It ends when this is dropped, and by itself when this process is gone.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    stdin: ChildStdin,
    /// What the browser says.
    messages: mpsc::Receiver<Value>,
    profile: PathBuf,
    last_id: u64,
}

/// A page of a [`Browser`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    session: String,
}

impl Browser {
    /// Starts the browser with an empty profile.
    ///
    /// # Errors
    /// In words: there is none, or it does not start.
    pub fn start() -> Result<Self, String> {
        let program = find().ok_or("no Chromium is installed (tests/interop/setup.sh does it)")?;
        let profile = make_profile().map_err(|error| format!("no profile can be made: {error}"))?;
        // The protocol wants the descriptors 3 and 4; a shell can arrange for that.
        let mut process = Command::new("/bin/sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1", "sh"])
            .arg(program)
            .args(FLAGS)
            .args(FAKE_MEDIA)
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("Chromium does not start: {error}"))?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("no pipe to Chromium".to_owned());
        };
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(stdout).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message);
                if message.is_ok_and(|message| sender.send(message).is_err()) {
                    return;
                }
            }
        });
        Ok(Self {
            process,
            stdin,
            messages,
            profile,
            last_id: 0,
        })
    }

    /// Opens a page.
    ///
    /// # Errors
    /// In words, likewise below.
    pub fn open(&mut self, url: &str) -> Result<Page, String> {
        let blank = json!({ "url": "about:blank" });
        let target = self.call(None, "Target.createTarget", blank)?;
        let attach = json!({ "targetId": target.get("targetId"), "flatten": true });
        let attached = self.call(None, "Target.attachToTarget", attach)?;
        let session = attached.get("sessionId").and_then(Value::as_str);
        let session = session.ok_or("the page cannot be attached to")?.to_owned();
        let page = Page { session };
        // It answers when the new document is there, so that nothing is evaluated in the blank one.
        let navigated = self.call(Some(&page), "Page.navigate", json!({ "url": url }))?;
        match navigated.get("errorText").and_then(Value::as_str) {
            Some(error) => Err(format!("{url}: {error}")),
            None => Ok(page),
        }
    }

    /// The value of an expression in a page; if it is a promise, what that gives.
    ///
    /// # Errors
    /// Also what the expression throws.
    pub fn evaluate(&mut self, page: &Page, expression: &str) -> Result<Value, String> {
        let evaluate = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
        });
        let mut result = self.call(Some(page), "Runtime.evaluate", evaluate)?;
        match result.get("exceptionDetails") {
            Some(thrown) => Err(format!("{expression}: {thrown}")),
            None => Ok(take(&mut result, "/result/value")),
        }
    }

    /// Waits until an expression is true in a page; one that cannot be evaluated yet is not.
    ///
    /// # Errors
    /// Also when it takes more than a minute.
    pub fn wait_for(&mut self, page: &Page, condition: &str) -> Result<(), String> {
        let promise = format!(
            "new Promise((resolve) => {{
                const look = () => {{ try {{ return {condition}; }} catch {{ return false; }} }};
                const timer = setInterval(() => {{
                    if (look()) {{ clearInterval(timer); resolve(); }}
                }}, 50);
            }})"
        );
        match self.evaluate(page, &promise) {
            Ok(_) => Ok(()),
            Err(error) => {
                let text = "document.body.innerText + JSON.stringify(globalThis.inbound)";
                let text = self.evaluate(page, text)?;
                Err(format!("{error}\nwaiting for {condition}\n{text}"))
            }
        }
    }

    fn call(&mut self, page: Option<&Page>, method: &str, params: Value) -> Result<Value, String> {
        self.last_id += 1;
        let mut call = json!({ "id": self.last_id, "method": method, "params": params });
        if let (Some(page), Some(call)) = (page, call.as_object_mut()) {
            call.insert("sessionId".to_owned(), json!(page.session));
        }
        let written = self.stdin.write_all(format!("{call}\0").as_bytes());
        written.map_err(|error| format!("Chromium is gone: {error}"))?;
        let end = Instant::now() + TIMEOUT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left);
            let mut message = message.map_err(|_| format!("{method}: no answer"))?;
            if message.get("id").and_then(Value::as_u64) == Some(self.last_id) {
                return match message.get("error") {
                    Some(error) => Err(format!("{method}: {error}")),
                    None => Ok(take(&mut message, "/result")),
                };
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its children end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
        remove(&self.profile);
    }
}

/// A part of an answer, `null` if it has none.
fn take(value: &mut Value, at: &str) -> Value {
    value.pointer_mut(at).map(Value::take).unwrap_or_default()
}

/// The program, if there is one; `INTEROP_CHROMIUM` names another one.
#[must_use]
pub fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("INTEROP_CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
}

/// A new empty folder among the temporary files.
///
/// # Errors
/// What the system says.
pub fn make_profile() -> io::Result<PathBuf> {
    let base = std::env::temp_dir();
    for attempt in 0..100 {
        let profile = base.join(format!("interop-chromium-{}-{attempt}", std::process::id()));
        match fs::create_dir(&profile) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| profile),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Removes a profile; processes that are just dying may still write to it for a moment. False when it is
/// still there.
pub fn remove(profile: &Path) -> bool {
    for _ in 0..20 {
        match fs::remove_dir_all(profile) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                thread::sleep(Duration::from_millis(50));
            }
            _ => return true,
        }
    }
    false
}

/// How long an answer, or what is waited for in a page, may take.
const TIMEOUT: Duration = Duration::from_secs(60);

const NAMES: [&str; 4] = [
    "chromium",
    "google-chrome",
    "google-chrome-stable",
    "chromium-browser",
];

/// What every case starts the browser with.
pub const FLAGS: [&str; 14] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
];

/// A camera and a microphone that need no asking. Whoever may use them also sees addresses.
pub const FAKE_MEDIA: [&str; 2] = [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
];
