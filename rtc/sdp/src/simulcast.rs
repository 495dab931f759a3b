//! Views of the attributes of simulcast (RFC 8851, 8853).

use std::fmt;
use std::str::FromStr;

use crate::fields::{Fields, payload_type};
use crate::rtp::{Parameters, parameters};
use crate::{AttributeValue, ErrorKind};

/// Whether a restricted stream is sent or received by the describer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RidDirection {
    /// The describer sends it.
    Send,
    /// The describer receives it.
    Recv,
}

impl RidDirection {
    /// `send` or `recv`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Recv => "recv",
        }
    }

    /// The same stream, seen from the other side.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Send => Self::Recv,
            Self::Recv => Self::Send,
        }
    }
}

impl FromStr for RidDirection {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        match text {
            "send" => Ok(Self::Send),
            "recv" => Ok(Self::Recv),
            _ => Err(ErrorKind::Unknown("direction")),
        }
    }
}

impl fmt::Display for RidDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `a=rid:<id> send|recv [pt=<payload types>;<restrictions>]` (RFC 8851 section 10).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rid {
    /// 1 to 255 letters, digits, `-` and `_`.
    pub id: String,
    /// Who sends it.
    pub direction: RidDirection,
    /// The formats it may have; empty for all of the section.
    pub payload_types: Vec<u8>,
    /// `max-width`, `max-height`, `max-fps`, `max-fs`, `max-br`, `max-pps`, `max-bpp`, `depend`, and
    /// unknown ones.
    pub restrictions: Vec<(String, Option<String>)>,
}

impl Rid {
    /// A stream without restrictions.
    pub fn new(id: impl Into<String>, direction: RidDirection) -> Self {
        Self {
            id: id.into(),
            direction,
            payload_types: Vec::new(),
            restrictions: Vec::new(),
        }
    }

    /// The value of a restriction.
    pub fn restriction(&self, name: &str) -> Option<&str> {
        self.restrictions
            .iter()
            .find(|(key, _)| key == name)
            .and_then(|(_, value)| value.as_deref())
    }
}

impl AttributeValue for Rid {
    const NAME: &'static str = "rid";
}

impl FromStr for Rid {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let id = rid_id(fields.required("rid")?)?.to_owned();
        let direction = fields.required("direction")?.parse()?;
        let mut payload_types = Vec::new();
        let mut restrictions = parameters(fields.rest());
        if let Some(at) = restrictions.iter().position(|(key, _)| key == "pt") {
            let (_, list) = restrictions.remove(at);
            for text in list.unwrap_or_default().split(',') {
                payload_types.push(payload_type(text.trim_ascii())?);
            }
        }
        Ok(Self {
            id,
            direction,
            payload_types,
            restrictions,
        })
    }
}

impl fmt::Display for Rid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.direction)?;
        let mut divider = " pt=";
        for payload_type in &self.payload_types {
            write!(f, "{divider}{payload_type}")?;
            divider = ",";
        }
        if self.restrictions.is_empty() {
            return Ok(());
        }
        f.write_str(if self.payload_types.is_empty() {
            " "
        } else {
            ";"
        })?;
        Parameters(&self.restrictions).fmt(f)
    }
}

/// `a=simulcast:[send <streams>] [recv <streams>]` (RFC 8853 section 5.1).
///
/// Streams are divided by `;`, the alternatives of one by `,`; `~` stands before one that is paused.
/// Either direction may come first; `send` is written first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Simulcast {
    /// What the describer sends.
    pub send: Vec<SimulcastStream>,
    /// What the describer receives.
    pub recv: Vec<SimulcastStream>,
}

/// One stream of a simulcast: alternatives, of which one is sent at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SimulcastStream(pub Vec<SimulcastId>);

/// One alternative of a [`SimulcastStream`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SimulcastId {
    /// The identifier of an `a=rid` line.
    pub rid: String,
    /// Whether it is paused at first.
    pub paused: bool,
}

impl SimulcastStream {
    /// A stream with one alternative, not paused.
    pub fn new(rid: impl Into<String>) -> Self {
        Self(vec![SimulcastId {
            rid: rid.into(),
            paused: false,
        }])
    }
}

impl AttributeValue for Simulcast {
    const NAME: &'static str = "simulcast";
}

impl FromStr for Simulcast {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let mut simulcast = Self::default();
        let mut direction = fields.required("direction")?;
        loop {
            let streams = match direction.parse()? {
                RidDirection::Send => &mut simulcast.send,
                RidDirection::Recv => &mut simulcast.recv,
            };
            if !streams.is_empty() {
                return Err(ErrorKind::TrailingText);
            }
            let list = fields.required("simulcast streams")?;
            *streams = list
                .split(';')
                .map(simulcast_stream)
                .collect::<Result<_, _>>()?;
            match fields.next() {
                Some(next) => direction = next,
                None => return Ok(simulcast),
            }
        }
    }
}

impl fmt::Display for Simulcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for (direction, streams) in [
            (RidDirection::Send, &self.send),
            (RidDirection::Recv, &self.recv),
        ] {
            if streams.is_empty() {
                continue;
            }
            write!(f, "{gap}{direction} ")?;
            gap = " ";
            let mut divider = "";
            for SimulcastStream(alternatives) in streams {
                for SimulcastId { rid, paused } in alternatives {
                    write!(f, "{divider}{}{rid}", if *paused { "~" } else { "" })?;
                    divider = ",";
                }
                divider = ";";
            }
        }
        Ok(())
    }
}

fn simulcast_stream(text: &str) -> Result<SimulcastStream, ErrorKind> {
    let alternative = |text: &str| {
        let (text, paused) = match text.strip_prefix('~') {
            Some(text) => (text, true),
            None => (text, false),
        };
        Ok(SimulcastId {
            rid: rid_id(text)?.to_owned(),
            paused,
        })
    };
    text.split(',')
        .map(alternative)
        .collect::<Result<_, _>>()
        .map(SimulcastStream)
}

/// RFC 8851 allows `-` and `_`, RFC 8852 does not when the identifier goes into a packet; who sends
/// should use letters and digits.
fn rid_id(text: &str) -> Result<&str, ErrorKind> {
    let is_id_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match text.len() {
        0 => Err(ErrorKind::Missing("rid")),
        1..=255 if text.bytes().all(is_id_char) => Ok(text),
        1..=255 => Err(ErrorKind::Malformed("rid")),
        _ => Err(ErrorKind::OutOfRange("rid")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same<T: AttributeValue>(text: &str) -> T {
        let value: T = text.parse().unwrap();
        assert_eq!(value.to_string(), text);
        value
    }

    #[test]
    fn restrictions_of_a_rid_are_read() {
        let rid: Rid = same("hi send pt=96,97;max-width=1280;max-fps=30;depend=lo;flag");
        assert_eq!(rid.payload_types, [96, 97]);
        assert_eq!(rid.restriction("max-width"), Some("1280"));
        assert_eq!(rid.restriction("flag"), None);
        assert_eq!(
            same::<Rid>("a-b_1 recv"),
            Rid::new("a-b_1", RidDirection::Recv)
        );
        same::<Rid>("1 recv max-br=64000");
        same::<Rid>("1 recv pt=97");
        for text in [
            "",
            "a",
            "a both",
            "a:b send",
            "é send",
            "a send pt=128",
            "a send pt=",
        ] {
            assert!(text.parse::<Rid>().is_err(), "{text}");
        }
        let long = "a".repeat(256);
        assert_eq!(
            format!("{long} send").parse::<Rid>(),
            Err(ErrorKind::OutOfRange("rid"))
        );
    }

    #[test]
    fn simulcast_lists_streams_and_alternatives() {
        let simulcast: Simulcast = same("send 1,~4;2;~3 recv 6");
        let id = |rid: &str, paused| SimulcastId {
            rid: rid.into(),
            paused,
        };
        let paused = SimulcastStream(vec![id("3", true)]);
        let alternatives = SimulcastStream(vec![id("1", false), id("4", true)]);
        assert_eq!(
            simulcast.send,
            [alternatives, SimulcastStream::new("2"), paused]
        );
        assert_eq!(simulcast.recv, [SimulcastStream::new("6")]);
        assert_eq!("recv 6 send 1,~4;2;~3".parse(), Ok(simulcast));
        same::<Simulcast>("recv h;m;l");
        for text in [
            "",
            "send",
            "both 1",
            "send 1;",
            "send 1 send 2",
            "send ,1",
            "send ~",
            "1;2",
        ] {
            assert!(text.parse::<Simulcast>().is_err(), "{text}");
        }
    }
}
