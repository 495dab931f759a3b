//! Chores of the workspace: `cargo xtask test` runs everything that has to hold, and installs what it
//! needs first.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people to watch"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test      install what the tests need, then run all of the below
  setup     install Chromium and the aiortc environment for the interop tests
  lint      formatting, clippy and documentation, warnings denied
  unit      unit, doc, property and integration tests
  interop   interop tests against Chromium, aiortc and ourselves
  readme    the programs that the README names";

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let steps: &[fn() -> Result<(), String>] = match command.as_str() {
        "test" => &[setup, lint, unit, interop, readme],
        "setup" => &[setup],
        "lint" => &[lint],
        "unit" => &[unit],
        "interop" => &[interop],
        "readme" => &[readme],
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    for step in steps {
        if let Err(error) = step() {
            eprintln!("xtask: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn setup() -> Result<(), String> {
    run("sh", &["tests/interop/setup.sh"], &[])
}

fn lint() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])?;
    run(
        "cargo",
        &[
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )
}

fn unit() -> Result<(), String> {
    cargo(&["test", "--workspace", "--exclude", "rtc-interop"])?;
    cargo(&["test", "--package", "rtc-crypto", "--features", "aws-lc-rs"])
}

fn interop() -> Result<(), String> {
    run(
        "cargo",
        &["test", "--package", "rtc-interop"],
        &[("RTC_REQUIRE_INTEROP", "1")],
    )
}

fn readme() -> Result<(), String> {
    cargo(&["run", "--package", "rtc-examples", "--bin", "sans_io"])?;
    cargo(&[
        "run",
        "--release",
        "--package",
        "rtc-examples",
        "--bin",
        "chat",
        "--",
        "--self-test",
    ])
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    run("cargo", arguments, &[])
}

fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    let line = format!("{program} {}", arguments.join(" "));
    println!("\n==> {line}");
    let start = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .status()
        .map_err(|error| format!("{line}: {error}"))?;
    println!("<== {line}: {status}, {} s", start.elapsed().as_secs());
    if status.success() {
        Ok(())
    } else {
        Err(format!("{line}: {status}"))
    }
}

/// The top of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}
