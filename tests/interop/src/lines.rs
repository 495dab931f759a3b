//! The JSON lines between an agent and its runner.

use std::io::{self, BufRead as _, Write as _};
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::args::Case;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Line {
    /// A session description for the peer.
    Description {
        /// The description.
        description: Description,
    },
    /// A trickled candidate for the peer; `None` ends them.
    Candidate {
        /// The candidate.
        candidate: Option<Candidate>,
    },
    /// This side has seen all that its role asks for.
    Done,
    /// Free text for the runner.
    Log {
        /// The text.
        message: String,
    },
    /// The verdict of this side, for the runner.
    Result(Verdict),
}

/// A session description (W3C `RTCSessionDescriptionInit`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// `offer`, `answer`, `pranswer` or `rollback`.
    #[serde(rename = "type")]
    pub kind: DescriptionKind,
    /// The description itself; a rollback has none.
    #[serde(default)]
    pub sdp: String,
}

/// What a description is for (W3C `RTCSdpType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the W3C's")]
pub enum DescriptionKind {
    Offer,
    Answer,
    Pranswer,
    Rollback,
}

/// A candidate (W3C `RTCIceCandidateInit`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The candidate attribute; empty at the end of one generation's candidates.
    pub candidate: String,
    /// The media description it belongs to, by its mid.
    #[serde(default)]
    pub sdp_mid: Option<String>,
    /// The media description it belongs to, by its place.
    #[serde(default)]
    pub sdp_m_line_index: Option<u16>,
    /// The generation it belongs to.
    #[serde(default)]
    pub username_fragment: Option<String>,
}

/// How a case ended on one side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the case holds.
    pub ok: bool,
    /// The name of the case.
    pub case: String,
    /// Figures, and `error` when the case does not hold.
    #[serde(default)]
    pub details: Map<String, Value>,
}

impl Verdict {
    /// The error that says that the stack lacks the feature.
    pub const UNSUPPORTED: &'static str = "unsupported";

    /// The case holds.
    #[must_use]
    pub fn held(case: Case, details: Map<String, Value>) -> Self {
        Self {
            ok: true,
            case: case.to_string(),
            details,
        }
    }

    /// The case does not hold, because of `error`.
    #[must_use]
    pub fn failed(case: Case, mut details: Map<String, Value>, error: &str) -> Self {
        details.insert("error".to_owned(), error.into());
        Self {
            ok: false,
            case: case.to_string(),
            details,
        }
    }

    /// Why the case does not hold.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.details.get("error").and_then(Value::as_str)
    }

    /// Whether the stack lacks what the case asks for.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        !self.ok && self.error() == Some(Self::UNSUPPORTED)
    }
}

/// Writes one line to standard output. A runner that has gone away is not an error.
pub fn write(line: &Line) {
    match serde_json::to_string(line) {
        Ok(text) => write_text(&text),
        Err(error) => complain(&format!("a line could not be written: {error}")),
    }
}

/// Writes one line that is JSON already.
pub fn write_text(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// Writes a line of free text to standard error.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Ends the process with status 2 and one sentence on standard error.
pub fn exit_bad_input(sentence: &str) -> ! {
    complain(sentence);
    crate::args::exit(2)
}

/// Reads standard input on a thread of its own until it ends, and then closes the channel.
/// A line that is none of the contract's ends the process with status 2.
#[must_use]
pub fn read_stdin() -> mpsc::UnboundedReceiver<Line> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for text in io::stdin().lock().lines() {
            let Ok(text) = text else { return };
            if text.trim().is_empty() {
                continue;
            }
            let line = serde_json::from_str(&text).unwrap_or_else(|error| {
                exit_bad_input(&format!(
                    "standard input has a line that is not understood: {error}"
                ))
            });
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_contracts_form() {
        for text in [
            r#"{"type":"description","description":{"type":"offer","sdp":"v=0\r\n"}}"#,
            r#"{"type":"candidate","candidate":{"candidate":"candidate:1 1 udp 1 127.0.0.1 9 typ host","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"uf"}}"#,
            r#"{"type":"candidate","candidate":null}"#,
            r#"{"type":"done"}"#,
            r#"{"type":"log","message":"m"}"#,
            r#"{"type":"result","ok":true,"case":"close","details":{"a":1}}"#,
        ] {
            let line: Line = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&line).unwrap(), text);
        }
    }

    #[test]
    fn members_a_peer_leaves_out_are_absent() {
        let text = r#"{"type":"candidate","candidate":{"candidate":"","sdpMid":"0"}}"#;
        let line: Line = serde_json::from_str(text).unwrap();
        let Line::Candidate {
            candidate: Some(candidate),
        } = line
        else {
            panic!("{line:?}")
        };
        assert_eq!(candidate.sdp_m_line_index, None);
        assert_eq!(candidate.username_fragment, None);
    }

    #[test]
    fn an_unsupported_feature_is_told_from_a_failure() {
        let failed = |error| Verdict::failed(Case::IceLite, Map::new(), error);
        assert!(failed("unsupported").is_unsupported());
        assert!(!failed("timed out").is_unsupported());
        assert!(!Verdict::held(Case::IceLite, Map::new()).is_unsupported());
    }
}
