use std::fmt;

use crate::attribute::attribute_accessors;
use crate::fields::payload_type;
use crate::session::{write_line, write_lines};
use crate::{
    Attribute, AttributeValue, Bandwidth, Connection, ErrorKind, Mid, ParseError, Setup, name,
};

/// A media section: an `m=` line and what follows it (RFC 8866 section 5.14).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MediaDescription {
    /// `audio`, `video` or `application`; a receiver refuses others.
    pub media: String,
    /// The transport port; 9 stands for "ICE will tell", 0 for a rejected or bundled section.
    pub port: u16,
    /// How many ports, where it is said (`49170/2`).
    pub port_count: Option<u16>,
    /// The transport protocol, such as `UDP/TLS/RTP/SAVPF`.
    pub proto: String,
    /// The formats: payload types for RTP, `webrtc-datachannel` for SCTP.
    pub formats: Vec<String>,
    /// `i=`, a text for people.
    pub title: Option<String>,
    /// `c=`.
    pub connection: Option<Connection>,
    /// `b=`.
    pub bandwidth: Vec<Bandwidth>,
    /// `k=`, obsolete and without meaning (RFC 8866 section 5.12).
    pub key: Option<String>,
    /// `a=`, in their order.
    pub attributes: Vec<Attribute>,
    /// The line of `m=`, 0 if it was built in this program.
    pub(crate) line: SourceLine,
}

attribute_accessors!(MediaDescription);

impl MediaDescription {
    /// A media section without further lines.
    pub fn new<T: Into<String>>(
        media: impl Into<String>,
        port: u16,
        proto: impl Into<String>,
        formats: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            media: media.into(),
            port,
            port_count: None,
            proto: proto.into(),
            formats: formats.into_iter().map(Into::into).collect(),
            title: None,
            connection: None,
            bandwidth: Vec::new(),
            key: None,
            attributes: Vec::new(),
            line: SourceLine(0),
        }
    }

    /// The line of `m=`, counted from 1; `None` if the section was built in this program.
    pub fn line(&self) -> Option<usize> {
        Some(self.line.0).filter(|&line| line > 0)
    }

    /// The identification tag, `a=mid` (RFC 5888).
    pub fn mid(&self) -> Option<&str> {
        self.attribute(Mid::NAME)
            .map(str::trim_ascii)
            .filter(|mid| !mid.is_empty())
    }

    /// The DTLS role, `a=setup` (RFC 4145, 8842), of this section alone.
    ///
    /// # Errors
    /// It is none of the four roles.
    pub fn setup(&self) -> Result<Option<Setup>, ParseError> {
        self.get()
    }

    /// The values of the `a=candidate` lines, without `candidate:`.
    pub fn candidates(&self) -> impl Iterator<Item = &str> {
        self.attributes_named(name::CANDIDATE)
    }

    /// The formats as RTP payload types, in their order of preference.
    ///
    /// # Errors
    /// A format is not a number from 0 to 127.
    pub fn payload_types(&self) -> Result<Vec<u8>, ParseError> {
        let read = |format: &String| payload_type(format).map_err(|kind| kind.at(self.line.0));
        self.formats.iter().map(read).collect()
    }

    /// Whether the section carries RTP: its protocol has the profile `RTP/…` at its end.
    pub fn is_rtp(&self) -> bool {
        self.proto.split('/').rev().nth(1) == Some("RTP")
    }

    /// Whether the section carries SCTP over DTLS (RFC 8841): `UDP/DTLS/SCTP`, `TCP/DTLS/SCTP` or
    /// the old `DTLS/SCTP`.
    pub fn is_sctp(&self) -> bool {
        matches!(
            self.proto.as_str(),
            "UDP/DTLS/SCTP" | "TCP/DTLS/SCTP" | "DTLS/SCTP"
        )
    }

    /// Whether the section is rejected or stopped: port 0 and no `a=bundle-only` (RFC 9143
    /// section 6).
    pub fn is_rejected(&self) -> bool {
        self.port == 0 && !self.has(name::BUNDLE_ONLY)
    }

    /// An error at the section's `m=` line, for those who find something wrong with it.
    pub fn error(&self, kind: ErrorKind) -> ParseError {
        kind.at(self.line.0)
    }
}

impl fmt::Display for MediaDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, 'm', MediaLine(self))?;
        write_lines(f, 'i', &self.title)?;
        write_lines(f, 'c', &self.connection)?;
        write_lines(f, 'b', &self.bandwidth)?;
        write_lines(f, 'k', &self.key)?;
        write_lines(f, 'a', &self.attributes)
    }
}

struct MediaLine<'a>(&'a MediaDescription);

impl fmt::Display for MediaLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MediaDescription {
            media,
            port,
            port_count,
            proto,
            formats,
            ..
        } = self.0;
        write!(f, "{media} {port}")?;
        if let Some(count) = port_count {
            write!(f, "/{count}")?;
        }
        write!(f, " {proto}")?;
        formats.iter().try_for_each(|format| write!(f, " {format}"))
    }
}

/// A line number that is remembered for errors and is no part of what the section is: all are equal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceLine(pub(crate) usize);

impl PartialEq for SourceLine {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SourceLine {}

impl std::hash::Hash for SourceLine {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_transport_are_told_apart() {
        let media = |proto: &str| MediaDescription::new("video", 9, proto, ["96"]);
        for proto in [
            "UDP/TLS/RTP/SAVPF",
            "RTP/SAVPF",
            "TCP/DTLS/RTP/SAVPF",
            "RTP/AVP",
        ] {
            assert!(media(proto).is_rtp() && !media(proto).is_sctp(), "{proto}");
        }
        for proto in ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"] {
            assert!(media(proto).is_sctp() && !media(proto).is_rtp(), "{proto}");
        }
        assert!(!media("UDP/BFCP").is_rtp() && !media("SCTP").is_sctp());
    }

    #[test]
    fn a_bundle_only_section_is_not_rejected() {
        let media = MediaDescription::new("audio", 0, "UDP/TLS/RTP/SAVPF", ["0"]);
        assert!(media.is_rejected());
        assert!(!media.with(Attribute::flag("bundle-only")).is_rejected());
    }

    #[test]
    fn payload_types_are_numbers_to_127() {
        let media = |formats: &[&str]| {
            MediaDescription::new("audio", 9, "RTP/AVP", formats.iter().copied()).payload_types()
        };
        assert_eq!(media(&["111", "0"]), Ok(vec![111, 0]));
        assert_eq!(
            media(&["128"]),
            Err(ErrorKind::OutOfRange("payload type").at(0))
        );
        assert_eq!(
            media(&["*"]),
            Err(ErrorKind::Malformed("payload type").at(0))
        );
    }
}
