//! The lines of a description in their order (RFC 8866 section 9).

use std::str::FromStr;

use crate::fields::{Fields, number, token};
use crate::media::SourceLine;
use crate::{
    Attribute, Bandwidth, Connection, ErrorKind, MediaDescription, Origin, ParseError, SdpFragment,
    SessionDescription, Timing,
};

/// The longest text that is parsed, in bytes.
pub const MAX_LENGTH: usize = 1 << 20;
/// The longest line that is parsed, in bytes without its end.
pub const MAX_LINE_LENGTH: usize = 1 << 16;
/// The most media sections that are parsed.
pub const MAX_MEDIA: usize = 1000;

/// Accepts CRLF and LF as line ends, a last line without one, and empty lines at the very end.
///
/// Everything is kept as written but for spaces too many and leading zeros in the lines `o`, `c`,
/// `b`, `t` and `m`, and for `b=` lines of a media section, which may stand anywhere in it: scripts
/// that insert them behind `a=mid` are common, and browsers take their result.
impl FromStr for SessionDescription {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut lines = Lines::new(text)?;
        let version = match lines.required('v')? {
            Line { value: "0", .. } => 0,
            line => return Err(ErrorKind::Unknown("version").at(line.number)),
        };
        let description = Self {
            version,
            origin: lines.required('o')?.read(origin)?,
            session_name: lines.required('s')?.value.to_owned(),
            information: lines.optional('i')?.map(Line::text),
            uri: lines.optional('u')?.map(Line::text),
            emails: lines.many('e', Line::ok_text)?,
            phones: lines.many('p', Line::ok_text)?,
            connection: lines
                .optional('c')?
                .map(|line| line.read(connection))
                .transpose()?,
            bandwidth: lines.many('b', |line| line.read(bandwidth))?,
            timing: timing(&mut lines)?,
            key: lines.optional('k')?.map(Line::text),
            attributes: lines.many('a', Line::attribute)?,
            media: media_sections(&mut lines)?,
        };
        lines.end()?;
        Ok(description)
    }
}

impl FromStr for SdpFragment {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut lines = Lines::new(text)?;
        let fragment = Self {
            attributes: lines.many('a', Line::attribute)?,
            media: media_sections(&mut lines)?,
        };
        lines.end()?;
        Ok(fragment)
    }
}

fn timing(lines: &mut Lines<'_>) -> Result<Vec<Timing>, ParseError> {
    let mut timings = Vec::new();
    let mut next = lines.required('t')?;
    loop {
        let (start, stop) = next.read(times)?;
        let repeats = lines.many('r', Line::ok_text)?;
        let zone = lines.optional('z')?.map(Line::text);
        timings.push(Timing {
            start,
            stop,
            repeats,
            zone,
        });
        match lines.optional('t')? {
            Some(line) => next = line,
            None => return Ok(timings),
        }
    }
}

fn media_sections(lines: &mut Lines<'_>) -> Result<Vec<MediaDescription>, ParseError> {
    let mut sections = Vec::new();
    while let Some(line) = lines.optional('m')? {
        if sections.len() >= MAX_MEDIA {
            return Err(ErrorKind::TooManyMedia.at(line.number));
        }
        let mut media = line.read(media)?;
        media.line = SourceLine(line.number);
        media_lines(lines, &mut media)?;
        sections.push(media);
    }
    Ok(sections)
}

/// What follows an `m=` line: `i c k a`, each type in its turn, and `b` anywhere.
fn media_lines(lines: &mut Lines<'_>, media: &mut MediaDescription) -> Result<(), ParseError> {
    const ORDER: &str = "icka";
    let mut reached = None;
    while let Some(line) = lines.next_if(|kind| kind != 'm')? {
        if line.kind == 'b' {
            media.bandwidth.push(line.read(bandwidth)?);
            continue;
        }
        let place = ORDER.find(line.kind);
        if place.is_none() || place < reached || (place == reached && line.kind != 'a') {
            return Err(line.misplaced());
        }
        reached = place;
        match line.kind {
            'i' => media.title = Some(line.text()),
            'c' => media.connection = Some(line.read(connection)?),
            'k' => media.key = Some(line.text()),
            _ => media.attributes.push(line.attribute()?),
        }
    }
    Ok(())
}

fn origin(text: &str) -> Result<Origin, ErrorKind> {
    let mut fields = Fields::new(text);
    let origin = Origin {
        username: fields.required("username")?.to_owned(),
        session_id: digits(fields.required("session id")?, "session id")?.to_owned(),
        session_version: digits(fields.required("session version")?, "session version")?.to_owned(),
        network_type: token(fields.required("network type")?, "network type")?.to_owned(),
        address_type: token(fields.required("address type")?, "address type")?.to_owned(),
        address: fields.required("address")?.to_owned(),
    };
    fields.end()?;
    Ok(origin)
}

fn digits<'a>(text: &'a str, what: &'static str) -> Result<&'a str, ErrorKind> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text)
    } else {
        Err(ErrorKind::Malformed(what))
    }
}

pub(crate) fn connection(text: &str) -> Result<Connection, ErrorKind> {
    let mut fields = Fields::new(text);
    let connection = Connection {
        network_type: token(fields.required("network type")?, "network type")?.to_owned(),
        address_type: token(fields.required("address type")?, "address type")?.to_owned(),
        address: fields.required("address")?.to_owned(),
    };
    fields.end()?;
    Ok(connection)
}

fn bandwidth(text: &str) -> Result<Bandwidth, ErrorKind> {
    let (kind, value) = text
        .split_once(':')
        .ok_or(ErrorKind::Missing("bandwidth"))?;
    Ok(Bandwidth {
        kind: token(kind, "bandwidth type")?.to_owned(),
        value: number(value.trim_matches(' '), "bandwidth")?,
    })
}

fn times(text: &str) -> Result<(u64, u64), ErrorKind> {
    let mut fields = Fields::new(text);
    let start = number(fields.required("start time")?, "start time")?;
    let stop = number(fields.required("stop time")?, "stop time")?;
    fields.end()?;
    Ok((start, stop))
}

fn media(text: &str) -> Result<MediaDescription, ErrorKind> {
    let mut fields = Fields::new(text);
    let media = token(fields.required("media type")?, "media type")?;
    let ports = fields.required("port")?;
    let (port, port_count) = match ports.split_once('/') {
        Some((port, count)) => (port, Some(number(count, "port count")?)),
        None => (ports, None),
    };
    let port = number(port, "port")?;
    if port_count == Some(0) {
        return Err(ErrorKind::OutOfRange("port count"));
    }
    let proto = fields.required("protocol")?;
    for part in proto.split('/') {
        token(part, "protocol")?;
    }
    let mut section = MediaDescription::new(media, port, proto, fields);
    // A rejected section has nothing to list; some leave the list out then.
    if section.formats.is_empty() && port != 0 {
        return Err(ErrorKind::Missing("format"));
    }
    section.port_count = port_count;
    Ok(section)
}

/// One line: `<kind>=<value>`.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    kind: char,
    value: &'a str,
}

impl<'a> Line<'a> {
    fn read<T>(&self, read: impl FnOnce(&'a str) -> Result<T, ErrorKind>) -> Result<T, ParseError> {
        read(self.value).map_err(|kind| kind.at(self.number))
    }

    fn text(self) -> String {
        self.value.to_owned()
    }

    fn ok_text(self) -> Result<String, ParseError> {
        Ok(self.text())
    }

    fn attribute(self) -> Result<Attribute, ParseError> {
        self.read(|value| Attribute::from_line(value, self.number))
    }

    fn misplaced(&self) -> ParseError {
        const KNOWN: &str = "vosiuepcbtrzkam";
        let kind = if KNOWN.contains(self.kind) {
            ErrorKind::OutOfOrder(self.kind)
        } else {
            ErrorKind::UnknownLine(self.kind)
        };
        kind.at(self.number)
    }
}

/// The lines of a text, one of them ahead.
struct Lines<'a> {
    rest: &'a str,
    number: usize,
    ahead: Option<Line<'a>>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Result<Self, ParseError> {
        if text.len() > MAX_LENGTH {
            return Err(ErrorKind::TooLong.at(1));
        }
        // Empty lines at the end come from pasting and templates.
        let rest = text.trim_end_matches(['\r', '\n']);
        let mut lines = Self {
            rest,
            number: 0,
            ahead: None,
        };
        lines.advance()?;
        Ok(lines)
    }

    /// The next line, if its type is one that is wanted.
    fn next_if(
        &mut self,
        wanted: impl FnOnce(char) -> bool,
    ) -> Result<Option<Line<'a>>, ParseError> {
        match self.ahead {
            Some(line) if wanted(line.kind) => {
                self.advance()?;
                Ok(Some(line))
            }
            _ => Ok(None),
        }
    }

    fn optional(&mut self, kind: char) -> Result<Option<Line<'a>>, ParseError> {
        self.next_if(|found| found == kind)
    }

    fn required(&mut self, kind: char) -> Result<Line<'a>, ParseError> {
        match self.optional(kind)? {
            Some(line) => Ok(line),
            None => Err(self.missing(kind)),
        }
    }

    fn many<T>(
        &mut self,
        kind: char,
        read: impl Fn(Line<'a>) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let mut values = Vec::new();
        while let Some(line) = self.optional(kind)? {
            values.push(read(line)?);
        }
        Ok(values)
    }

    fn end(&self) -> Result<(), ParseError> {
        match self.ahead {
            None => Ok(()),
            Some(line) => Err(line.misplaced()),
        }
    }

    /// That a line is missing is said where it should have been; a line of no type at all is the
    /// better reason.
    fn missing(&self, kind: char) -> ParseError {
        match self.ahead.map(|line| line.misplaced()) {
            Some(
                error @ ParseError {
                    kind: ErrorKind::UnknownLine(_),
                    ..
                },
            ) => error,
            Some(error) => ErrorKind::MissingLine(kind).at(error.line),
            None => ErrorKind::MissingLine(kind).at(self.number + 1),
        }
    }

    fn advance(&mut self) -> Result<(), ParseError> {
        if self.rest.is_empty() {
            self.ahead = None;
            return Ok(());
        }
        let number = self.number + 1;
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        let line = line.strip_suffix('\r').unwrap_or(line);
        self.ahead = Some(lex(line, number).map_err(|kind| kind.at(number))?);
        self.rest = rest;
        self.number = number;
        Ok(())
    }
}

fn lex(line: &str, number: usize) -> Result<Line<'_>, ErrorKind> {
    if line.len() > MAX_LINE_LENGTH {
        return Err(ErrorKind::LineTooLong);
    }
    if line.bytes().any(|byte| matches!(byte, b'\r' | b'\0')) {
        return Err(ErrorKind::ForbiddenCharacter);
    }
    let (kind, value) = line.split_once('=').ok_or(ErrorKind::NotALine)?;
    let mut letters = kind.chars();
    match (letters.next(), letters.next()) {
        (Some(kind), None) if kind.is_ascii_alphabetic() => Ok(Line {
            number,
            kind,
            value,
        }),
        _ => Err(ErrorKind::NotALine),
    }
}

#[cfg(test)]
mod tests;
