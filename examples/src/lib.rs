//! What the examples with a page have in common.
//!
//! * [`Site`] serves the page of an example: its own HTML and script, and the style sheet and the
//!   helpers of all.
//! * [`session`] takes an offer that a page posts and gives the answer; [`signal`] is a WebSocket for
//!   pages that have more to say.
//! * [`forwarding_engine`] is for those that send on what they receive.
//! * [`start_log`], [`say`] and [`complain`] are for the terminal, [`usage`] tells what a program takes.

mod forwarding;
mod site;
pub mod usage;

use std::io::{self, Write as _};

use tracing_subscriber::EnvFilter;

pub use forwarding::forwarding_engine;
pub use site::{PAGE_CSS, Site, SiteError, file, interrupted, session, signal, url};

/// Writes the log on standard error: warnings, unless RUST_LOG chooses something else.
pub fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}

/// Writes a line on the terminal. Nobody may be there to read it, which is no reason to end.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Writes a line on standard error.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
