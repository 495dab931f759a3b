use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::{FromStr, SplitAsciiWhitespace};

use rtc_shared::TransportProtocol;

use super::{Candidate, CandidateAddress, CandidateError, CandidateType, TcpType};
use crate::credentials::{is_ice_char, is_valid_ufrag};

impl FromStr for Candidate {
    type Err = CandidateError;

    /// Parses `candidate:…`, with or without `a=` before it (RFC 8839 section 5.1).
    fn from_str(line: &str) -> Result<Self, CandidateError> {
        let line = line.trim();
        let line = line.strip_prefix("a=").unwrap_or(line);
        let value = line
            .strip_prefix("candidate:")
            .ok_or(CandidateError::Syntax("prefix"))?;
        Self::parse_value(value)
    }
}

impl Candidate {
    /// Parses what follows `candidate:`, the value of the SDP attribute.
    ///
    /// # Errors
    /// [`CandidateError::Syntax`] when it breaks the grammar; the other variants, for which
    /// [`is_ignorable`](CandidateError::is_ignorable) is true, when it is well-formed but unusable.
    pub fn parse_value(value: &str) -> Result<Self, CandidateError> {
        if value.len() > MAX_LINE {
            return Err(CandidateError::Syntax("length"));
        }
        let mut tokens = value.split_ascii_whitespace();
        let foundation = next(&mut tokens, "foundation")?;
        if foundation.len() > 32 || !foundation.bytes().all(is_ice_char) {
            return Err(CandidateError::Syntax("foundation"));
        }
        let component = number(next(&mut tokens, "component")?, 256, "component")?;
        let transport = transport(next(&mut tokens, "transport")?);
        let priority = number(next(&mut tokens, "priority")?, (1 << 31) - 1, "priority")?;
        if component == 0 || priority == 0 {
            return Err(CandidateError::Syntax("component or priority"));
        }
        let host = next(&mut tokens, "address")?;
        let port = port(next(&mut tokens, "port")?)?;
        let address = address(host, port);
        if next(&mut tokens, "typ")? != "typ" {
            return Err(CandidateError::Syntax("typ"));
        }
        let typ = candidate_type(next(&mut tokens, "type")?);
        // A broken line is an error even where an unknown word would make it ignorable.
        if let Err(error @ CandidateError::Syntax(_)) = address {
            return Err(error);
        }
        let placeholder = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        let mut candidate = Self::new(
            typ.unwrap_or(CandidateType::Host),
            placeholder,
            transport.unwrap_or(TransportProtocol::UDP),
        );
        candidate.foundation = foundation.to_owned();
        candidate.component = component as u16;
        candidate.priority = priority;
        let tcp_type_known = candidate.parse_extensions(&mut tokens)?;
        candidate.transport = transport?;
        candidate.typ = typ?;
        candidate.address = address?;
        match candidate.transport {
            TransportProtocol::TCP if candidate.tcp_type.is_none() => {
                Err(CandidateError::UnknownTcpType)
            }
            _ if !tcp_type_known => Err(CandidateError::UnknownTcpType),
            _ => Ok(candidate),
        }
    }

    /// Reads the name and value pairs after the type; false when a `tcptype` is unknown. A name
    /// without a value at the end is ignored.
    fn parse_extensions(
        &mut self,
        tokens: &mut SplitAsciiWhitespace<'_>,
    ) -> Result<bool, CandidateError> {
        let mut tcp_type_known = true;
        let mut related_ip = None;
        let mut related_port = None;
        while let (Some(name), Some(value)) = (tokens.next(), tokens.next()) {
            match name {
                // A name instead of an address hides it; that is no error.
                "raddr" => related_ip = IpAddr::from_str(value).ok(),
                "rport" => related_port = Some(port(value)?),
                "tcptype" => match tcp_type(value) {
                    Some(tcp_type) => self.tcp_type = Some(tcp_type),
                    None => tcp_type_known = false,
                },
                "generation" if self.generation.is_none() && digits(value) => {
                    self.generation = Some(number(value, u32::MAX, "generation")?);
                }
                "ufrag" => {
                    if !is_valid_ufrag(value) {
                        return Err(CandidateError::Syntax("ufrag"));
                    }
                    self.ufrag = Some(value.to_owned());
                }
                _ if self.extensions.len() < MAX_EXTENSIONS => {
                    self.extensions.push((name.to_owned(), value.to_owned()));
                }
                _ => return Err(CandidateError::Syntax("number of extensions")),
            }
        }
        self.related = related_ip
            .zip(related_port)
            .map(|(ip, port)| SocketAddr::new(ip, port));
        Ok(tcp_type_known)
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            TransportProtocol::UDP => "udp",
            TransportProtocol::TCP => "tcp",
        };
        write!(
            f,
            "candidate:{} {} {transport} {} {} typ {}",
            self.foundation, self.component, self.priority, self.address, self.typ
        )?;
        if let Some(related) = self.related_text() {
            write!(f, " raddr {} rport {}", related.ip(), related.port())?;
        }
        if let Some(tcp_type) = self.tcp_type {
            write!(f, " tcptype {tcp_type}")?;
        }
        if let Some(generation) = self.generation {
            write!(f, " generation {generation}")?;
        }
        if let Some(ufrag) = &self.ufrag {
            write!(f, " ufrag {ufrag}")?;
        }
        self.extensions
            .iter()
            .try_for_each(|(name, value)| write!(f, " {name} {value}"))
    }
}

impl Candidate {
    /// The related address; one that is hidden is written as unspecified where the grammar needs one.
    fn related_text(&self) -> Option<SocketAddr> {
        if self.related.is_some() || self.typ == CandidateType::Host {
            return self.related;
        }
        let ip = match self.address {
            CandidateAddress::Ip(SocketAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        Some(SocketAddr::new(ip, 0))
    }
}

impl fmt::Display for CandidateAddress {
    /// Address and port with a space between them, as in a candidate line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{} {}", address.ip(), address.port()),
            Self::Mdns { name, port } => write!(f, "{name} {port}"),
        }
    }
}

fn next<'a>(
    tokens: &mut SplitAsciiWhitespace<'a>,
    what: &'static str,
) -> Result<&'a str, CandidateError> {
    tokens.next().ok_or(CandidateError::Syntax(what))
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str, max: u32, what: &'static str) -> Result<u32, CandidateError> {
    let value = if digits(text) {
        text.parse::<u32>().ok()
    } else {
        None
    };
    value
        .filter(|value| *value <= max)
        .ok_or(CandidateError::Syntax(what))
}

fn port(text: &str) -> Result<u16, CandidateError> {
    number(text, u32::from(u16::MAX), "port").map(|port| port as u16)
}

fn transport(token: &str) -> Result<TransportProtocol, CandidateError> {
    if token.eq_ignore_ascii_case("udp") {
        Ok(TransportProtocol::UDP)
    } else if token.eq_ignore_ascii_case("tcp") {
        Ok(TransportProtocol::TCP)
    } else {
        Err(CandidateError::UnknownTransport)
    }
}

fn candidate_type(token: &str) -> Result<CandidateType, CandidateError> {
    use CandidateType::{Host, PeerReflexive, Relayed, ServerReflexive};
    [Host, ServerReflexive, PeerReflexive, Relayed]
        .into_iter()
        .find(|typ| typ.as_str() == token)
        .ok_or(CandidateError::UnknownType)
}

fn tcp_type(token: &str) -> Option<TcpType> {
    use TcpType::{Active, Passive, SimultaneousOpen};
    [Active, Passive, SimultaneousOpen]
        .into_iter()
        .find(|typ| typ.as_str() == token)
}

/// An IP address without zone or brackets, or a name; only names under `.local` are ever resolved.
fn address(host: &str, port: u16) -> Result<CandidateAddress, CandidateError> {
    if let Ok(ip) = IpAddr::from_str(host) {
        return Ok(CandidateAddress::Ip(SocketAddr::new(ip, port)));
    }
    let is_name = host.len() <= 253
        && host.bytes().any(|byte| byte.is_ascii_alphabetic())
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !is_name {
        return Err(CandidateError::Syntax("address"));
    }
    let name = host.to_ascii_lowercase();
    match name.strip_suffix(".local") {
        Some(label) if !label.is_empty() => Ok(CandidateAddress::Mdns { name, port }),
        _ => Err(CandidateError::UnresolvableName),
    }
}

/// Longest line that is looked at, far above what any stack writes.
const MAX_LINE: usize = 2048;
/// Most unknown extension attributes that are kept.
const MAX_EXTENSIONS: usize = 32;

#[cfg(test)]
mod tests;
