use std::net::IpAddr;
use std::sync::Arc;

use rtc_ice::RelayProtocol;

use crate::Error;
use crate::peer_connection::configuration::RTCIceServer;

/// The URL of a STUN or TURN server (RFC 7064, RFC 7065).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerUrl {
    /// As it was given.
    pub(super) text: Arc<str>,
    pub(super) kind: Kind,
    pub(super) transport: Transport,
    pub(super) host: Host,
    pub(super) port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Stun,
    Turn,
}

/// What carries messages to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
    Tls,
    /// DTLS over UDP, which the URLs allow.
    Dtls,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Transport {
    pub(super) fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    pub(super) fn relay_protocol(self) -> RelayProtocol {
        match self {
            Self::Udp | Self::Dtls => RelayProtocol::Udp,
            Self::Tcp => RelayProtocol::Tcp,
            Self::Tls => RelayProtocol::Tls,
        }
    }
}

/// Checks servers as W3C's "validate an ICE server URL" and the lines around it ask for.
pub(crate) fn validate(servers: &[RTCIceServer]) -> Result<(), Error> {
    for server in servers {
        if server.urls.is_empty() {
            return Err(Error::Syntax("an ICE server has no URL".to_owned()));
        }
        for text in &server.urls {
            let url = ServerUrl::parse(text)?;
            let lacks = server.username.is_empty() || server.credential.is_empty();
            if url.kind == Kind::Turn && lacks {
                return Err(Error::InvalidAccess(format!(
                    "{text:?} needs a user name and a credential"
                )));
            }
            if url.kind == Kind::Turn && server.username.len() > MAX_USERNAME {
                return Err(Error::InvalidAccess(format!(
                    "the user name for {text:?} is longer than {MAX_USERNAME} bytes"
                )));
            }
        }
    }
    Ok(())
}

impl ServerUrl {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text)
            .ok_or_else(|| Error::Syntax(format!("{text:?} is no URL of a STUN or TURN server")))
    }

    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let (kind, is_secure) = match scheme.to_ascii_lowercase().as_str() {
            "stun" => (Kind::Stun, false),
            "stuns" => (Kind::Stun, true),
            "turn" => (Kind::Turn, false),
            "turns" => (Kind::Turn, true),
            _ => return None,
        };
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (rest, None),
        };
        let is_udp = match (kind, query) {
            (_, None) => None,
            (Kind::Turn, Some(query)) => {
                let (name, value) = query.split_once('=')?;
                if !name.eq_ignore_ascii_case("transport") {
                    return None;
                }
                match value.to_ascii_lowercase().as_str() {
                    "udp" => Some(true),
                    "tcp" => Some(false),
                    _ => return None,
                }
            }
            (Kind::Stun, Some(_)) => return None,
        };
        let (host, port) = split_port(authority)?;
        let default = if is_secure { 5349 } else { 3478 };
        let port = match port {
            None => default,
            Some(digits) => {
                let is_number =
                    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                digits.parse().ok().filter(|port| is_number && *port != 0)?
            }
        };
        Some(Self {
            text: text.into(),
            kind,
            transport: match (is_secure, is_udp) {
                (false, None | Some(true)) => Transport::Udp,
                (false, Some(false)) => Transport::Tcp,
                (true, None | Some(false)) => Transport::Tls,
                (true, Some(true)) => Transport::Dtls,
            },
            host: parse_host(host)?,
            port,
        })
    }
}

/// Host and port; an IPv6 address is in brackets, which are taken off.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']')?;
        ip.parse::<std::net::Ipv6Addr>().ok()?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((ip, Some(port))),
            None if rest.is_empty() => Some((ip, None)),
            None => None,
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

fn parse_host(host: &str) -> Option<Host> {
    if let Ok(ip) = host.parse() {
        return Some(Host::Ip(ip));
    }
    let is_name = !host.is_empty()
        && host.len() <= MAX_HOST
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    // A name of digits and dots alone is a broken address.
    let is_numeric = host
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    (is_name && !is_numeric).then(|| Host::Name(host.to_ascii_lowercase()))
}

/// RFC 1035 section 2.3.4.
const MAX_HOST: usize = 253;
/// RFC 8489 section 14.3.
const MAX_USERNAME: usize = 508;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_read_as_their_rfcs_say() {
        let read = |text| {
            let url = ServerUrl::parse(text).unwrap();
            let host = match url.host {
                Host::Ip(ip) => ip.to_string(),
                Host::Name(name) => name,
            };
            (url.kind, url.transport, host, url.port)
        };
        use Kind::{Stun, Turn};
        for (text, kind, transport, host, port) in [
            (
                "stun:example.org",
                Stun,
                Transport::Udp,
                "example.org",
                3478,
            ),
            (
                "STUN:Example.org:19302",
                Stun,
                Transport::Udp,
                "example.org",
                19302,
            ),
            ("stuns:192.0.2.1", Stun, Transport::Tls, "192.0.2.1", 5349),
            (
                "turn:example.org",
                Turn,
                Transport::Udp,
                "example.org",
                3478,
            ),
            (
                "turn:[2001:db8::1]:80?transport=tcp",
                Turn,
                Transport::Tcp,
                "2001:db8::1",
                80,
            ),
            (
                "turns:a-b.example?transport=tcp",
                Turn,
                Transport::Tls,
                "a-b.example",
                5349,
            ),
            (
                "turns:example.org",
                Turn,
                Transport::Tls,
                "example.org",
                5349,
            ),
            (
                "turns:example.org?transport=udp",
                Turn,
                Transport::Dtls,
                "example.org",
                5349,
            ),
            (
                "turn:[::1]?Transport=UDP",
                Turn,
                Transport::Udp,
                "::1",
                3478,
            ),
        ] {
            assert_eq!(
                read(text),
                (kind, transport, host.to_owned(), port),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "stun",
            "stun:",
            "stun://example.org",
            "http:example.org",
            "stun:example.org?transport=udp",
            "turn:example.org?transport=sctp",
            "turn:example.org?foo=bar",
            "turn:example.org?transport",
            "turn:user@example.org",
            "stun:example.org:0",
            "stun:example.org:",
            "stun:example.org:65536",
            "stun:example.org:+80",
            "stun:2001:db8::1",
            "stun:[2001:db8::1",
            "stun:[example.org]",
            "stun:[::1]80",
            "stun:1.2.3",
            "stun:exa mple.org",
            "stun:example.org/path",
            "stun:example.org#x",
        ] {
            assert!(ServerUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_relay_needs_credentials() {
        let server = |url: &str, username: &str, credential: &str| RTCIceServer {
            urls: vec![url.to_owned()],
            username: username.to_owned(),
            credential: credential.to_owned(),
        };
        let name = |server| validate(&[server]).err().map(|error| error.name());
        assert_eq!(
            name(server("turn:a.example", "", "")),
            Some("InvalidAccessError")
        );
        assert_eq!(
            name(server("turns:a.example", "u", "")),
            Some("InvalidAccessError")
        );
        assert_eq!(name(server("turn:a.example", "u", "p")), None);
        assert_eq!(name(server("stun:a.example", "", "")), None);
        assert_eq!(name(server("stun:", "", "")), Some("SyntaxError"));
        assert_eq!(
            name(server("turn:a.example", &"u".repeat(509), "p")),
            Some("InvalidAccessError")
        );
        assert_eq!(name(RTCIceServer::default()), Some("SyntaxError"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(stun|turn)s?:.{0,40}|.{0,40}") {
            let _ = ServerUrl::parse(&text);
        }
    }
}
