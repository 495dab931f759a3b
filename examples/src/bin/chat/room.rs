//! Who says what to whom: the pages, the program and the person at its terminal.

use std::fmt;
use std::io::{self, BufRead as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use serde_json::json;
use tokio::sync::broadcast;

use rtc_examples::say;

/// What everybody hears. Clones are of the same room.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    lines: broadcast::Sender<Line>,
    guests: Arc<AtomicU32>,
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// The room itself, on comings and goings.
    Room,
    /// This program, in reply to a page.
    Program,
    /// The person at the terminal.
    Terminal,
    /// A page.
    Guest(u32),
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room => f.write_str("room"),
            Self::Program => f.write_str("program"),
            Self::Terminal => f.write_str("terminal"),
            Self::Guest(number) => write!(f, "guest {number}"),
        }
    }
}

/// Something that was said.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) author: Author,
    pub(crate) text: String,
}

impl Line {
    pub(crate) fn new(author: Author, text: impl Into<String>) -> Self {
        Self {
            author,
            text: text.into(),
        }
    }

    /// As the page takes it: `{"from":"guest 2","text":"…"}`.
    pub(crate) fn to_json(&self) -> String {
        json!({ "from": self.author.to_string(), "text": self.text }).to_string()
    }
}

impl Room {
    pub(crate) fn new() -> Self {
        Self {
            lines: broadcast::Sender::new(BACKLOG),
            guests: Arc::default(),
        }
    }

    /// A new guest, of whom the others are told, and what is said from now on.
    pub(crate) fn enter(&self) -> (Author, broadcast::Receiver<Line>) {
        let number = self.guests.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let guest = Author::Guest(number);
        self.tell(Author::Room, format!("{guest} came in"));
        (guest, self.lines.subscribe())
    }

    /// How many guests are here.
    pub(crate) fn guests(&self) -> usize {
        self.lines.receiver_count()
    }

    /// Says something to everybody.
    pub(crate) fn tell(&self, author: Author, text: impl Into<String>) {
        let line = Line::new(author, text);
        match author {
            // The person has just typed it.
            Author::Terminal => {}
            Author::Room => say(&format!("* {}", printable(&line.text))),
            author => say(&format!("{author}: {}", printable(&line.text))),
        }
        // Err says that nobody listens.
        let _ = self.lines.send(line);
    }
}

/// Sends the lines of standard input to the room until it ends. It has a thread of its own because
/// reading a terminal cannot be broken off: a runtime that did it would not shut down.
pub(crate) fn read_terminal(room: Room) {
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if !line.trim().is_empty() {
                room.tell(Author::Terminal, line);
            }
        }
    });
}

/// Without control characters, which could command the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Lines that a page may be behind before it misses some.
const BACKLOG: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_page_cannot_command_the_terminal() {
        assert_eq!(
            printable("a\u{1b}[2Jb\r\n"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn guests_hear_each_other_and_have_names_of_their_own() {
        let room = Room::new();
        let (first, mut heard) = room.enter();
        let (second, _) = room.enter();
        assert_ne!(first, second);
        assert_eq!(heard.try_recv().unwrap().text, "guest 2 came in");
        room.tell(second, "\"hello\"");
        let line = heard.try_recv().unwrap();
        assert_eq!(line.author, second);
        assert_eq!(line.to_json(), r#"{"from":"guest 2","text":"\"hello\""}"#);
    }
}
