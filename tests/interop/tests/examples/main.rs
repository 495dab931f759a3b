//! The examples with a page, as a browser sees them.
//!
//! Without Chromium they are skipped with a message, or fail when `RTC_REQUIRE_INTEROP=1` is set.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod echo;
mod play_from_disk;
mod rtp_forwarder;
mod save_to_disk;
mod sfu;
mod simulcast;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use rtc_interop::chromium::{self, Browser, Page};
use rtc_interop::lines;

/// A running example; it ends when this is dropped.
struct Example {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Example {
    /// Starts it with these arguments on a free port.
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut process = command(name)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    /// The word of its output that follows `before`.
    fn said(&mut self, before: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).unwrap();
            assert!(read > 0, "the example ended without saying {before:?}");
            if let Some((_, rest)) = line.split_once(before) {
                return rest.split_whitespace().next().unwrap().to_owned();
            }
        }
    }

    fn url(&mut self) -> String {
        self.said("Open ")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An example, built as this test is.
fn command(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args([
        "build",
        "--quiet",
        "--package",
        "rtc-examples",
        "--bin",
        name,
    ]);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    build.arg("--target-dir").arg(folder.parent().unwrap());
    assert!(build.status().unwrap().success(), "{name} is not built");
    Command::new(folder.join(name))
}

/// The browser; `None` where there is none and that is no failure.
fn browser() -> Option<Browser> {
    let is_required = std::env::var_os("RTC_REQUIRE_INTEROP").is_some();
    if chromium::find().is_none() && !is_required {
        lines::complain("skipped: no Chromium is installed");
        return None;
    }
    Some(Browser::start().unwrap())
}

/// Waits for a condition on `video`, what the page receives of a track of video by its place.
fn wait_for_video(browser: &mut Browser, page: &Page, at: usize, condition: &str) {
    let videos = "inbound.filter((it) => it.kind === 'video' && it.width)";
    let condition = format!("((video) => {condition})({videos}[{at}])");
    browser.wait_for(page, &condition).unwrap();
}

/// Frames that the browser has decoded of the first track of video, and their width.
fn video(browser: &mut Browser, page: &Page) -> (u64, u64) {
    let find = "inbound.find((it) => it.kind === 'video' && it.width)";
    let value = browser.evaluate(page, find).unwrap();
    (
        value["frames"].as_u64().unwrap(),
        value["width"].as_u64().unwrap(),
    )
}

/// Clicks on what a selector finds.
fn click(browser: &mut Browser, page: &Page, selector: &str) {
    let click = format!("document.querySelector({selector:?}).click()");
    browser.evaluate(page, &click).unwrap();
}

/// The page receives sound.
const HEARD: &str = "inbound.some((it) => it.kind === 'audio' && it.bits > 10000)";

fn media(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/media")).join(name)
}
