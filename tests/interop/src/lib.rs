//! What the interop agents and their runner share.
//!
//! An *agent* is a program that plays one role of one *case* with a WebRTC stack of its own, and
//! talks JSON lines to its runner: [`args`] is its command line, [`lines`] what it reads and
//! writes. The [`runner`] starts two agents, hands each one's lines to the other, and judges.
//! [`chromium`] is the browser, also for the tests of the examples.
//!
//! ```
//! use rtc_interop::lines::Line;
//!
//! let line: Line = serde_json::from_str(r#"{"type":"candidate","candidate":null}"#)?;
//! assert_eq!(line, Line::Candidate { candidate: None });
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod args;
pub mod chromium;
pub mod lines;
pub mod runner;
