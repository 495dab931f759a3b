//! Views of the attributes that describe RTP streams.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::fields::{Fields, number, payload_type, token};
use crate::{AttributeValue, ErrorKind};

/// Which way media flows, seen from the describer (RFC 8866 section 6.7). `sendrecv` where nothing is
/// said.
///
/// Each is an attribute without a value: it is written with `Attribute::from(direction)` and read
/// with `direction()` of a description.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// Out alone.
    SendOnly,
    /// In alone.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the describer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the describer receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The direction of that sending and receiving.
    pub fn from_flags(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// The same flow, seen from the other side.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self::from_flags(self.receives(), self.sends())
    }

    /// What both allow.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self::from_flags(
            self.sends() && other.sends(),
            self.receives() && other.receives(),
        )
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Direction {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        match text {
            "sendrecv" => Ok(Self::SendRecv),
            "sendonly" => Ok(Self::SendOnly),
            "recvonly" => Ok(Self::RecvOnly),
            "inactive" => Ok(Self::Inactive),
            _ => Err(ErrorKind::Unknown("direction")),
        }
    }
}

/// `a=rtpmap:<payload type> <encoding>/<clock rate>[/<channels>]` (RFC 8866 section 6.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RtpMap {
    /// 0 to 127.
    pub payload_type: u8,
    /// The codec's name; case does not matter in comparisons.
    pub encoding: String,
    /// Ticks of the RTP timestamp per second.
    pub clock_rate: u32,
    /// Audio channels; `None` stands for one.
    pub channels: Option<u8>,
}

impl RtpMap {
    /// A mapping that does not say how many channels there are.
    pub fn new(payload_type: u8, encoding: impl Into<String>, clock_rate: u32) -> Self {
        Self {
            payload_type,
            encoding: encoding.into(),
            clock_rate,
            channels: None,
        }
    }

    /// The same with that many channels.
    #[must_use]
    pub fn with_channels(mut self, channels: u8) -> Self {
        self.channels = Some(channels);
        self
    }
}

impl AttributeValue for RtpMap {
    const NAME: &'static str = "rtpmap";
}

impl FromStr for RtpMap {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let payload_type = payload_type(fields.required("payload type")?)?;
        let mut parts = fields.required("encoding name")?.split('/');
        let encoding = token(parts.next().unwrap_or_default(), "encoding name")?.to_owned();
        let clock_rate = match number(parts.next().unwrap_or_default(), "clock rate")? {
            0 => return Err(ErrorKind::OutOfRange("clock rate")),
            rate => rate,
        };
        let channels = parts
            .next()
            .map(|text| number(text, "number of channels"))
            .transpose()?;
        if parts.next().is_some() {
            return Err(ErrorKind::TrailingText);
        }
        fields.end()?;
        Ok(Self {
            payload_type,
            encoding,
            clock_rate,
            channels,
        })
    }
}

impl fmt::Display for RtpMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}/{}",
            self.payload_type, self.encoding, self.clock_rate
        )?;
        match self.channels {
            Some(channels) => write!(f, "/{channels}"),
            None => Ok(()),
        }
    }
}

/// `a=fmtp:<payload type> <parameters>` (RFC 8866 section 6.15).
///
/// Parameters are divided by `;`, most of them are `key=value`. Some formats have others: `0-15` of
/// telephone-event, `111/111` of red. Spaces around `;` and `=` and empty parameters are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fmtp {
    /// 0 to 127.
    pub payload_type: u8,
    /// Key and value in their order; the value is `None` where there is no `=`.
    pub parameters: Vec<(String, Option<String>)>,
}

impl Fmtp {
    /// Without parameters.
    pub fn new(payload_type: u8) -> Self {
        Self {
            payload_type,
            parameters: Vec::new(),
        }
    }

    /// With the parameters of a text in the form `key=value;key=value`.
    pub fn from_parameters(payload_type: u8, text: &str) -> Self {
        Self {
            payload_type,
            parameters: parameters(text),
        }
    }

    /// The same with `key=value` appended.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.parameters.push((key.into(), Some(value.to_string())));
        self
    }

    /// Puts a value in the place of the one that a key has; appends both if there was none.
    pub fn set(&mut self, key: &str, value: impl fmt::Display) {
        let value = Some(value.to_string());
        match self
            .parameters
            .iter_mut()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
        {
            Some((_, old)) => *old = value,
            None => self.parameters.push((key.to_owned(), value)),
        }
    }

    /// The value of a key; case of keys does not matter (RFC 4855 section 3).
    pub fn get(&self, key: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .and_then(|(_, value)| value.as_deref())
    }

    /// The parameters as they are written, without the payload type.
    pub fn parameters_text(&self) -> String {
        Parameters(&self.parameters).to_string()
    }
}

impl AttributeValue for Fmtp {
    const NAME: &'static str = "fmtp";
}

impl FromStr for Fmtp {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let payload_type = payload_type(fields.required("payload type")?)?;
        Ok(Self {
            payload_type,
            parameters: parameters(fields.rest()),
        })
    }
}

impl fmt::Display for Fmtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.payload_type, Parameters(&self.parameters))
    }
}

/// Reads `key=value;key;…`.
pub(crate) fn parameters(text: &str) -> Vec<(String, Option<String>)> {
    text.split(';')
        .map(str::trim_ascii)
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| match parameter.split_once('=') {
            Some((key, value)) => (
                key.trim_ascii_end().to_owned(),
                Some(value.trim_ascii_start().to_owned()),
            ),
            None => (parameter.to_owned(), None),
        })
        .collect()
}

/// Writes `key=value;key;…`.
pub(crate) struct Parameters<'a>(pub(crate) &'a [(String, Option<String>)]);

impl fmt::Display for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut divider = "";
        for (key, value) in self.0 {
            write!(f, "{divider}{key}")?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
            divider = ";";
        }
        Ok(())
    }
}

/// `a=rtcp-fb:<payload type or *> <kind> [<parameter>]` (RFC 4585 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RtcpFb {
    /// 0 to 127; `None` stands for `*`, all of the section.
    pub payload_type: Option<u8>,
    /// `nack`, `ccm`, `transport-cc`, `goog-remb`, `ack`, `trr-int`, …
    pub kind: String,
    /// What follows the kind: `pli`, `fir`, `ccfb`, …
    pub parameter: Option<String>,
}

impl RtcpFb {
    /// `<payload type> <feedback>`, the feedback in one or two words, such as `"nack pli"`.
    pub fn new(payload_type: u8, feedback: &str) -> Self {
        let (kind, parameter) = match feedback.split_once(' ') {
            Some((kind, parameter)) => (kind, Some(parameter.to_owned())),
            None => (feedback, None),
        };
        Self {
            payload_type: Some(payload_type),
            kind: kind.to_owned(),
            parameter,
        }
    }

    /// Whether it is about that payload type.
    pub fn applies_to(&self, payload_type: u8) -> bool {
        self.payload_type.is_none_or(|own| own == payload_type)
    }

    /// Whether it is that feedback, such as `"nack pli"` or `"transport-cc"`.
    pub fn is(&self, feedback: &str) -> bool {
        match feedback.split_once(' ') {
            Some((kind, parameter)) => {
                self.kind == kind && self.parameter.as_deref() == Some(parameter)
            }
            None => self.kind == feedback && self.parameter.is_none(),
        }
    }
}

impl AttributeValue for RtcpFb {
    const NAME: &'static str = "rtcp-fb";
}

impl FromStr for RtcpFb {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let payload_type = match fields.required("payload type")? {
            "*" => None,
            text => Some(payload_type(text)?),
        };
        let kind = token(fields.required("feedback type")?, "feedback type")?.to_owned();
        let parameter = Some(fields.rest())
            .filter(|rest| !rest.is_empty())
            .map(str::to_owned);
        Ok(Self {
            payload_type,
            kind,
            parameter,
        })
    }
}

impl fmt::Display for RtcpFb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.payload_type {
            Some(payload_type) => write!(f, "{payload_type} {}", self.kind)?,
            None => write!(f, "* {}", self.kind)?,
        }
        match &self.parameter {
            Some(parameter) => write!(f, " {parameter}"),
            None => Ok(()),
        }
    }
}

/// `a=extmap:<id>[/<direction>] <uri> [<attributes>]` (RFC 8285 section 8).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExtMap {
    /// 1 to 14 in one-byte headers, 1 to 255 in two-byte headers; 4096 to 4351 offer alternatives for
    /// an answer to choose from.
    pub id: u16,
    /// `None` stands for the direction of the media section.
    pub direction: Option<Direction>,
    /// What the extension is.
    pub uri: String,
    /// What the extension needs said besides.
    pub attributes: Option<String>,
}

impl ExtMap {
    /// A mapping in the direction of the media section.
    pub fn new(id: u16, uri: impl Into<String>) -> Self {
        Self {
            id,
            direction: None,
            uri: uri.into(),
            attributes: None,
        }
    }
}

impl AttributeValue for ExtMap {
    const NAME: &'static str = "extmap";
}

impl FromStr for ExtMap {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let first = fields.required("extension id")?;
        let (id, direction) = match first.split_once('/') {
            Some((id, direction)) => (id, Some(direction.parse()?)),
            None => (first, None),
        };
        let id @ (1..=255 | 4096..=4351) = number(id, "extension id")? else {
            return Err(ErrorKind::OutOfRange("extension id"));
        };
        let uri = fields.required("extension uri")?.to_owned();
        let attributes = Some(fields.rest())
            .filter(|rest| !rest.is_empty())
            .map(str::to_owned);
        Ok(Self {
            id,
            direction,
            uri,
            attributes,
        })
    }
}

impl fmt::Display for ExtMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if let Some(direction) = self.direction {
            write!(f, "/{direction}")?;
        }
        write!(f, " {}", self.uri)?;
        match &self.attributes {
            Some(attributes) => write!(f, " {attributes}"),
            None => Ok(()),
        }
    }
}

/// `a=ssrc:<ssrc> <attribute>[:<value>]` (RFC 5576 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ssrc {
    /// The synchronization source.
    pub ssrc: u32,
    /// `cname`, `msid`, …
    pub attribute: String,
    /// What stands behind the colon.
    pub value: Option<String>,
}

impl Ssrc {
    /// `<ssrc> <attribute>:<value>`.
    pub fn new(ssrc: u32, attribute: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            ssrc,
            attribute: attribute.into(),
            value: Some(value.into()),
        }
    }
}

impl AttributeValue for Ssrc {
    const NAME: &'static str = "ssrc";
}

impl FromStr for Ssrc {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let ssrc = number(fields.required("ssrc")?, "ssrc")?;
        let rest = fields.rest();
        let (attribute, value) = match rest.split_once(':') {
            Some((attribute, value)) => (attribute, Some(value.to_owned())),
            None => (rest, None),
        };
        let attribute = token(attribute, "source attribute")?.to_owned();
        Ok(Self {
            ssrc,
            attribute,
            value,
        })
    }
}

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.ssrc, self.attribute)?;
        match &self.value {
            Some(value) => write!(f, ":{value}"),
            None => Ok(()),
        }
    }
}

/// `a=ssrc-group:<semantics> <ssrc> …` (RFC 5576 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SsrcGroup {
    /// `FID` for retransmission, `FEC-FR` for repair, `SIM` for the old simulcast.
    pub semantics: String,
    /// The sources, in their order.
    pub ssrcs: Vec<u32>,
}

impl AttributeValue for SsrcGroup {
    const NAME: &'static str = "ssrc-group";
}

impl FromStr for SsrcGroup {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let semantics = token(fields.required("semantics")?, "semantics")?.to_owned();
        let ssrcs = fields
            .map(|ssrc| number(ssrc, "ssrc"))
            .collect::<Result<_, _>>()?;
        Ok(Self { semantics, ssrcs })
    }
}

impl fmt::Display for SsrcGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.semantics)?;
        self.ssrcs.iter().try_for_each(|ssrc| write!(f, " {ssrc}"))
    }
}

/// `a=msid:<stream> [<track>]` (RFC 8830 section 2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Msid {
    /// The stream's identifier, `-` for none.
    pub stream: String,
    /// The track's identifier.
    pub track: Option<String>,
}

impl Msid {
    /// The stream's identifier, if the track is in one.
    pub fn stream_id(&self) -> Option<&str> {
        Some(self.stream.as_str()).filter(|&id| id != "-")
    }
}

impl AttributeValue for Msid {
    const NAME: &'static str = "msid";
}

impl FromStr for Msid {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let stream = fields.required("stream id")?.to_owned();
        let track = fields.next().map(str::to_owned);
        fields.end()?;
        Ok(Self { stream, track })
    }
}

impl fmt::Display for Msid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stream)?;
        match &self.track {
            Some(track) => write!(f, " {track}"),
            None => Ok(()),
        }
    }
}

/// `a=msid-semantic:<semantic> [<id> …]`, a leftover of drafts of RFC 8830 that browsers still write.
///
/// Chromium puts a space before the semantic; it is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MsidSemantic {
    /// `WMS`.
    pub semantic: String,
    /// The streams it holds for; `*` stands for all.
    pub ids: Vec<String>,
}

impl AttributeValue for MsidSemantic {
    const NAME: &'static str = "msid-semantic";
}

impl FromStr for MsidSemantic {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let semantic = token(fields.required("semantic")?, "semantic")?.to_owned();
        Ok(Self {
            semantic,
            ids: fields.map(str::to_owned).collect(),
        })
    }
}

impl fmt::Display for MsidSemantic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.semantic)?;
        self.ids.iter().try_for_each(|id| write!(f, " {id}"))
    }
}

macro_rules! packet_times {
    ($($(#[$doc:meta])* $type:ident = $name:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $type(pub Duration);

        impl AttributeValue for $type {
            const NAME: &'static str = $name;
        }

        impl FromStr for $type {
            type Err = ErrorKind;

            fn from_str(text: &str) -> Result<Self, ErrorKind> {
                milliseconds(text.trim_matches(' ')).map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_milliseconds(f, self.0)
            }
        }
    )*};
}

packet_times! {
    /// `a=ptime:<ms>`: how much media one packet should have (RFC 8866 section 6.4).
    Ptime = "ptime";
    /// `a=maxptime:<ms>`: how much media one packet may have (RFC 8866 section 6.5).
    MaxPtime = "maxptime";
}

/// Reads milliseconds with up to six decimals.
fn milliseconds(text: &str) -> Result<Duration, ErrorKind> {
    const WHAT: &str = "packet time";
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let whole: u32 = number(whole, WHAT)?;
    if decimals.len() > 6 {
        return Err(ErrorKind::OutOfRange(WHAT));
    }
    let nanoseconds: u64 = number(&format!("{decimals:0<6}"), WHAT)?;
    let time = Duration::from_millis(u64::from(whole)) + Duration::from_nanos(nanoseconds);
    if time.is_zero() || decimals.is_empty() {
        return Err(ErrorKind::OutOfRange(WHAT));
    }
    Ok(time)
}

fn write_milliseconds(f: &mut fmt::Formatter<'_>, time: Duration) -> fmt::Result {
    write!(f, "{}", time.as_millis())?;
    match time.subsec_nanos() % 1_000_000 {
        0 => Ok(()),
        rest => write!(f, ".{}", format!("{rest:06}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests;
