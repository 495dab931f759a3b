//! What the examples with a page have in common.
//!
//! * [`Site`] serves the page of an example: its own HTML and script, and the style sheet and the
//!   helpers of all.
//! * [`session`] takes an offer that a page posts and gives the answer; [`signal`] is a WebSocket for
//!   pages that have more to say.
//! * [`peer()`] makes a connection to a page, [`answer`] answers its offer and serves it, [`gone`] tells that
//!   it has gone.
//! * [`engine_of`] chooses codecs, [`forwarding_engine`] is for those that send on what they receive.
//! * [`start_log`], [`say`] and [`complain`] are for the terminal, [`usage`] tells what a program takes.

mod codecs;
mod peer;
mod site;
pub mod usage;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

pub use codecs::{VideoCodec, engine_of, forwarding_engine};
pub use peer::{answer, gone, peer};
pub use site::{PAGE_CSS, PLAYER_JS, Site, SiteError, file, interrupted, session, signal, url};

/// Writes the log on standard error: warnings, unless RUST_LOG chooses something else.
pub fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}

/// What the program ends with; an error is said on standard error.
pub fn ended(result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line on the terminal. Nobody may be there to read it, which is no reason to end.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Writes a line on standard error.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
