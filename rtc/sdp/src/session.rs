use std::fmt;
use std::net::IpAddr;

use crate::attribute::{self, attribute_accessors};
use crate::{Attribute, AttributeValue, Direction, MediaDescription, ParseError};

/// A session description (RFC 8866 section 5): the session's own lines, then its media sections.
///
/// Made with [`str::parse`] or [`new`](Self::new), written with [`Display`](fmt::Display) (each line
/// ends in CRLF). The attributes are read and built with the methods that
/// [`MediaDescription`] has too; those that end in `_of` give what holds for one media section:
/// its own attribute, or else the session's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SessionDescription {
    /// `v=`, always 0.
    pub version: u8,
    /// `o=`, who made the description, and which version of it this is.
    pub origin: Origin,
    /// `s=`, in WebRTC `-`.
    pub session_name: String,
    /// `i=`, a text for people.
    pub information: Option<String>,
    /// `u=`, where more is said.
    pub uri: Option<String>,
    /// `e=`, addresses of those responsible.
    pub emails: Vec<String>,
    /// `p=`, telephone numbers of those responsible.
    pub phones: Vec<String>,
    /// `c=`, for media sections that have none of their own.
    pub connection: Option<Connection>,
    /// `b=`, for the whole session.
    pub bandwidth: Vec<Bandwidth>,
    /// `t=` and what belongs to it; at least one, in WebRTC `t=0 0`.
    pub timing: Vec<Timing>,
    /// `k=`, obsolete and without meaning (RFC 8866 section 5.12).
    pub key: Option<String>,
    /// `a=`, in their order.
    pub attributes: Vec<Attribute>,
    /// The media sections, in their order.
    pub media: Vec<MediaDescription>,
}

attribute_accessors!(SessionDescription);

impl SessionDescription {
    /// A description without attributes and media sections, with the lines `s=-` and `t=0 0` of
    /// RFC 9429 section 5.2.1.
    pub fn new(origin: Origin) -> Self {
        Self {
            version: 0,
            origin,
            session_name: "-".to_owned(),
            information: None,
            uri: None,
            emails: Vec::new(),
            phones: Vec::new(),
            connection: None,
            bandwidth: Vec::new(),
            timing: vec![Timing::default()],
            key: None,
            attributes: Vec::new(),
            media: Vec::new(),
        }
    }

    /// Appends a media section and gives the whole back.
    #[must_use]
    pub fn with_media(mut self, media: MediaDescription) -> Self {
        self.media.push(media);
        self
    }

    /// The first media section of that identification tag (`a=mid`).
    pub fn media_with_mid(&self, mid: &str) -> Option<&MediaDescription> {
        self.media.iter().find(|media| media.mid() == Some(mid))
    }

    /// The value of the first attribute of that name in the media section, or else in the session.
    pub fn attribute_of<'a>(&'a self, media: &'a MediaDescription, name: &str) -> Option<&'a str> {
        media.attribute(name).or_else(|| self.attribute(name))
    }

    /// Whether the media section or the session has an attribute of that name.
    pub fn has_of(&self, media: &MediaDescription, name: &str) -> bool {
        media.has(name) || self.has(name)
    }

    /// The typed view of the first attribute of `T`'s name in the media section, or else in the
    /// session. For `ice-ufrag`, `ice-pwd`, `ice-options`, `setup` and `tls-id`.
    ///
    /// # Errors
    /// There is one, and its value is malformed.
    pub fn get_of<T: AttributeValue>(
        &self,
        media: &MediaDescription,
    ) -> Result<Option<T>, ParseError> {
        attribute::find(&media.attributes, T::NAME)
            .or_else(|| attribute::find(&self.attributes, T::NAME))
            .map(Attribute::parse)
            .transpose()
    }

    /// The typed views of all attributes of `T`'s name in the media section or, if it has none, in
    /// the session. For `fingerprint` and `extmap`.
    pub fn all_of<'a, T: AttributeValue>(
        &'a self,
        media: &'a MediaDescription,
    ) -> impl Iterator<Item = Result<T, ParseError>> + use<'a, T> {
        let level = if media.has(T::NAME) {
            &media.attributes
        } else {
            &self.attributes
        };
        level
            .iter()
            .filter(|attribute| attribute.is(T::NAME))
            .map(Attribute::parse)
    }

    /// The direction of the media section: its own, or else the session's, or else `sendrecv`
    /// (RFC 8866 section 6.7).
    pub fn direction_of(&self, media: &MediaDescription) -> Direction {
        media
            .direction()
            .or_else(|| self.direction())
            .unwrap_or_default()
    }

    /// The address of the media section: its own `c=` line, or else the session's.
    pub fn connection_of<'a>(&'a self, media: &'a MediaDescription) -> Option<&'a Connection> {
        media.connection.as_ref().or(self.connection.as_ref())
    }
}

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, 'v', self.version)?;
        write_line(f, 'o', &self.origin)?;
        write_line(f, 's', &self.session_name)?;
        write_lines(f, 'i', &self.information)?;
        write_lines(f, 'u', &self.uri)?;
        write_lines(f, 'e', &self.emails)?;
        write_lines(f, 'p', &self.phones)?;
        write_lines(f, 'c', &self.connection)?;
        write_lines(f, 'b', &self.bandwidth)?;
        for timing in &self.timing {
            write_line(f, 't', timing)?;
            write_lines(f, 'r', &timing.repeats)?;
            write_lines(f, 'z', &timing.zone)?;
        }
        write_lines(f, 'k', &self.key)?;
        write_lines(f, 'a', &self.attributes)?;
        self.media.iter().try_for_each(|media| media.fmt(f))
    }
}

/// The `o=` line (RFC 8866 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The user's name, `-` for none.
    pub username: String,
    /// The session's number: digits, in JSEP at most 2^63 - 1.
    pub session_id: String,
    /// The description's number within the session: digits, one more with each change.
    pub session_version: String,
    /// `IN`.
    pub network_type: String,
    /// `IP4` or `IP6`.
    pub address_type: String,
    /// An address of the maker, in WebRTC one that says nothing.
    pub address: String,
}

impl Origin {
    /// `o=- <session id> <session version> IN IP4 127.0.0.1`, as browsers have it.
    pub fn new(session_id: u64, session_version: u64) -> Self {
        Self {
            username: "-".to_owned(),
            session_id: session_id.to_string(),
            session_version: session_version.to_string(),
            network_type: "IN".to_owned(),
            address_type: "IP4".to_owned(),
            address: "127.0.0.1".to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            username,
            session_id,
            session_version,
            ..
        } = self;
        let Self {
            network_type,
            address_type,
            address,
            ..
        } = self;
        write!(
            f,
            "{username} {session_id} {session_version} {network_type} {address_type} {address}"
        )
    }
}

/// The `c=` line (RFC 8866 section 5.7).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connection {
    /// `IN`.
    pub network_type: String,
    /// `IP4` or `IP6`.
    pub address_type: String,
    /// An address or a domain name; a multicast address has its TTL or count behind a `/`.
    pub address: String,
}

impl Connection {
    /// `IN IP4 <address>` or `IN IP6 <address>`.
    pub fn new(address: IpAddr) -> Self {
        Self {
            network_type: "IN".to_owned(),
            address_type: if address.is_ipv4() { "IP4" } else { "IP6" }.to_owned(),
            address: address.to_string(),
        }
    }

    /// The address, if it is one: `None` for names and for multicast addresses with a TTL.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            network_type,
            address_type,
            address,
        } = self;
        write!(f, "{network_type} {address_type} {address}")
    }
}

/// A `b=` line (RFC 8866 section 5.8).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bandwidth {
    /// `AS`, `CT`, `TIAS`, `RS`, `RR`, …
    pub kind: String,
    /// kbit/s for `AS` and `CT`, bit/s for `TIAS`, `RS` and `RR`.
    pub value: u64,
}

impl Bandwidth {
    /// The limit in bit/s, if it is one of media: `TIAS` (RFC 3890), `AS` or `CT`.
    pub fn bits_per_second(&self) -> Option<u64> {
        match self.kind.as_str() {
            "TIAS" => Some(self.value),
            "AS" | "CT" => Some(self.value.saturating_mul(1000)),
            _ => None,
        }
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

/// A `t=` line with its `r=` and `z=` lines (RFC 8866 sections 5.9 to 5.11).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Timing {
    /// When the session starts, in seconds since 1900; 0 for always.
    pub start: u64,
    /// When it stops, in seconds since 1900; 0 for never.
    pub stop: u64,
    /// `r=`, as written.
    pub repeats: Vec<String>,
    /// `z=`, as written.
    pub zone: Option<String>,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.start, self.stop)
    }
}

/// Writes one line, without the characters in `value` that would end it: what an application puts
/// into a label or an identifier must not become lines of its own.
pub(crate) fn write_line(
    f: &mut fmt::Formatter<'_>,
    kind: char,
    value: impl fmt::Display,
) -> fmt::Result {
    fmt::Write::write_fmt(&mut OneLine(f), format_args!("{kind}={value}"))?;
    f.write_str("\r\n")
}

pub(crate) fn write_lines<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    kind: char,
    values: impl IntoIterator<Item = T>,
) -> fmt::Result {
    values
        .into_iter()
        .try_for_each(|value| write_line(f, kind, value))
}

struct OneLine<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.split(['\r', '\n', '\0'])
            .try_for_each(|part| self.0.write_str(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fingerprint, IceUfrag, Mid, Setup};

    #[test]
    fn a_description_is_built_and_written() {
        let description = SessionDescription::new(Origin::new(42, 1))
            .with(Attribute::flag("ice-lite"))
            .with_media(
                MediaDescription::new("application", 9, "UDP/DTLS/SCTP", ["webrtc-datachannel"])
                    .with(Mid("data".into())),
            );
        assert_eq!(
            description.to_string(),
            "v=0\r\no=- 42 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:data\r\n"
        );
        assert!(description.media_with_mid("data").is_some());
        assert!(description.media_with_mid("0").is_none());
    }

    #[test]
    fn no_value_can_smuggle_a_line_in() {
        let mut description = SessionDescription::new(Origin::new(1, 1))
            .with(Attribute::new("x\r\nm=audio", "1\na=evil\0\r"));
        description.session_name = "a\r\nb=c".to_owned();
        let text = description.to_string();
        assert!(text.contains("\r\ns=ab=c\r\n"), "{text:?}");
        assert!(text.ends_with("\r\na=xm=audio:1a=evil\r\n"), "{text:?}");
        assert_eq!(text.lines().count(), 5);
    }

    #[test]
    fn a_media_section_inherits_from_the_session() {
        let description = SessionDescription::new(Origin::new(1, 1))
            .with(IceUfrag("sess".into()))
            .with(Setup::Actpass)
            .with(Fingerprint {
                algorithm: "sha-256".into(),
                value: "00:11".into(),
            })
            .with(Direction::SendOnly);
        let bare = MediaDescription::new("audio", 9, "UDP/TLS/RTP/SAVPF", ["0"]);
        let own = bare
            .clone()
            .with(IceUfrag("media".into()))
            .with(Direction::Inactive)
            .with(Fingerprint {
                algorithm: "sha-512".into(),
                value: "22".into(),
            });

        assert_eq!(description.attribute_of(&bare, "ice-ufrag"), Some("sess"));
        assert_eq!(description.attribute_of(&own, "ice-ufrag"), Some("media"));
        assert_eq!(description.get_of(&own), Ok(Some(Setup::Actpass)));
        assert_eq!(description.direction_of(&bare), Direction::SendOnly);
        assert_eq!(description.direction_of(&own), Direction::Inactive);
        let algorithms = |media| -> Vec<String> {
            description
                .all_of::<Fingerprint>(media)
                .map(|f| f.unwrap().algorithm)
                .collect()
        };
        assert_eq!(algorithms(&bare), ["sha-256"]);
        assert_eq!(algorithms(&own), ["sha-512"]);
        let empty = SessionDescription::new(Origin::new(1, 1));
        assert_eq!(empty.direction_of(&bare), Direction::SendRecv);
    }

    #[test]
    fn bandwidth_is_given_in_bits_per_second() {
        let bandwidth = |kind: &str| Bandwidth {
            kind: kind.into(),
            value: 300,
        };
        assert_eq!(bandwidth("AS").bits_per_second(), Some(300_000));
        assert_eq!(bandwidth("TIAS").bits_per_second(), Some(300));
        assert_eq!(bandwidth("RR").bits_per_second(), None);
    }

    #[test]
    fn an_address_is_read_where_there_is_one() {
        let connection = Connection::new("::1".parse().unwrap());
        assert_eq!(connection.to_string(), "IN IP6 ::1");
        assert_eq!(connection.ip(), Some("::1".parse().unwrap()));
        let multicast = Connection {
            address: "224.2.1.1/127".into(),
            ..connection
        };
        assert_eq!(multicast.ip(), None);
    }
}
