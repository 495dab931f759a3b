//! Views of the attributes of transports: grouping, ICE, DTLS, SCTP.

use std::fmt;
use std::str::FromStr;

use crate::fields::{Fields, number, token};
use crate::parse::connection;
use crate::{AttributeValue, Connection, ErrorKind};

/// `a=group:<semantics> <mid> …` (RFC 5888 section 5), in WebRTC `BUNDLE` (RFC 9143).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    /// `BUNDLE`, `LS`, …
    pub semantics: String,
    /// The identification tags, in their order.
    pub mids: Vec<String>,
}

impl Group {
    /// A `BUNDLE` group.
    pub fn bundle<T: Into<String>>(mids: impl IntoIterator<Item = T>) -> Self {
        Self {
            semantics: "BUNDLE".to_owned(),
            mids: mids.into_iter().map(Into::into).collect(),
        }
    }

    /// Whether it is a `BUNDLE` group.
    pub fn is_bundle(&self) -> bool {
        self.semantics == "BUNDLE"
    }
}

impl AttributeValue for Group {
    const NAME: &'static str = "group";
}

impl FromStr for Group {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let semantics = token(fields.required("semantics")?, "semantics")?.to_owned();
        let mids = fields.map(|mid| token(mid, "mid").map(str::to_owned));
        Ok(Self {
            semantics,
            mids: mids.collect::<Result<_, _>>()?,
        })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.semantics)?;
        self.mids.iter().try_for_each(|mid| write!(f, " {mid}"))
    }
}

/// `a=setup:<role>`: who begins the DTLS handshake (RFC 4145 section 4, RFC 8842 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// The describer begins: it is the client.
    Active,
    /// The describer waits: it is the server.
    Passive,
    /// The answerer chooses.
    Actpass,
    /// Nobody begins for now; WebRTC refuses it.
    Holdconn,
}

impl Setup {
    /// The value as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Actpass => "actpass",
            Self::Holdconn => "holdconn",
        }
    }
}

impl AttributeValue for Setup {
    const NAME: &'static str = "setup";
}

impl FromStr for Setup {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        match text.trim_matches(' ') {
            "active" => Ok(Self::Active),
            "passive" => Ok(Self::Passive),
            "actpass" => Ok(Self::Actpass),
            "holdconn" => Ok(Self::Holdconn),
            _ => Err(ErrorKind::Unknown("setup role")),
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `a=fingerprint:<hash function> <hex pairs>` (RFC 8122 section 5), as text.
///
/// Which hash functions are good is not known here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// `sha-256`, …; case does not matter in comparisons.
    pub algorithm: String,
    /// Hex pairs with colons between them, of either case.
    pub value: String,
}

impl Fingerprint {
    /// The value of these bytes, in upper case as RFC 8122 has it.
    pub fn new(algorithm: impl Into<String>, digest: &[u8]) -> Self {
        let pairs: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        Self {
            algorithm: algorithm.into(),
            value: pairs.join(":"),
        }
    }

    /// The bytes of the value; `None` if it was built of something else than hex pairs.
    pub fn digest(&self) -> Option<Vec<u8>> {
        self.value.split(':').map(hex_pair).collect()
    }
}

fn hex_pair(text: &str) -> Option<u8> {
    let is_pair = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_pair.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

impl AttributeValue for Fingerprint {
    const NAME: &'static str = "fingerprint";
}

impl FromStr for Fingerprint {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let algorithm = token(fields.required("hash function")?, "hash function")?.to_owned();
        let value = fields.required("fingerprint")?.to_owned();
        fields.end()?;
        if value.split(':').all(|pair| hex_pair(pair).is_some()) {
            Ok(Self { algorithm, value })
        } else {
            Err(ErrorKind::Malformed("fingerprint"))
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.value)
    }
}

/// `a=ice-options:<tag> …` (RFC 8839 section 5.6).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct IceOptions(pub Vec<String>);

impl IceOptions {
    /// `a=ice-options:trickle`.
    pub fn trickle() -> Self {
        Self(vec!["trickle".to_owned()])
    }

    /// Whether a tag is among them; also if a writer put commas where spaces belong.
    pub fn contains(&self, tag: &str) -> bool {
        self.0
            .iter()
            .flat_map(|tags| tags.split(','))
            .any(|own| own == tag)
    }
}

impl AttributeValue for IceOptions {
    const NAME: &'static str = "ice-options";
}

impl FromStr for IceOptions {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        Ok(Self(Fields::new(text).map(str::to_owned).collect()))
    }
}

impl fmt::Display for IceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// `a=rtcp:<port> [<network type> <address type> <address>]` (RFC 3605), without meaning when RTCP is
/// multiplexed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rtcp {
    /// The port, in browsers 9.
    pub port: u16,
    /// The address, if it is not the one of the section.
    pub connection: Option<Connection>,
}

impl AttributeValue for Rtcp {
    const NAME: &'static str = "rtcp";
}

impl FromStr for Rtcp {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let port = number(fields.required("port")?, "port")?;
        let address = fields.rest();
        let connection = if address.is_empty() {
            None
        } else {
            Some(connection(address)?)
        };
        Ok(Self { port, connection })
    }
}

impl fmt::Display for Rtcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.port)?;
        match &self.connection {
            Some(connection) => write!(f, " {connection}"),
            None => Ok(()),
        }
    }
}

/// `a=sctpmap:<port> <protocol> [<streams>]`, what drafts of RFC 8841 had in the place of
/// [`SctpPort`]: the section's format is the port then.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SctpMap {
    /// The SCTP port.
    pub port: u16,
    /// `webrtc-datachannel`.
    pub protocol: String,
    /// How many streams the describer receives.
    pub streams: Option<u32>,
}

impl AttributeValue for SctpMap {
    const NAME: &'static str = "sctpmap";
}

impl FromStr for SctpMap {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let mut fields = Fields::new(text);
        let port = number(fields.required("port")?, "port")?;
        let protocol = token(fields.required("protocol")?, "protocol")?.to_owned();
        let streams = fields
            .next()
            .map(|text| number(text, "number of streams"))
            .transpose()?;
        fields.end()?;
        Ok(Self {
            port,
            protocol,
            streams,
        })
    }
}

impl fmt::Display for SctpMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.port, self.protocol)?;
        match self.streams {
            Some(streams) => write!(f, " {streams}"),
            None => Ok(()),
        }
    }
}

macro_rules! texts {
    ($($(#[$doc:meta])* $type:ident = $name:literal, $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $type(pub String);

        impl AttributeValue for $type {
            const NAME: &'static str = $name;
        }

        impl FromStr for $type {
            type Err = ErrorKind;

            fn from_str(text: &str) -> Result<Self, ErrorKind> {
                let check: fn(&str) -> Result<&str, ErrorKind> = $check;
                check(text.trim_matches(' ')).map(|text| Self(text.to_owned()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

texts! {
    /// `a=mid:<tag>`: the media section's identification tag (RFC 5888 section 4).
    Mid = "mid", |text| token(text, "mid");
    /// `a=ice-ufrag:<4 to 256 characters>` (RFC 8839 section 5.4).
    IceUfrag = "ice-ufrag", |text| ice_text(text, 4, "ice-ufrag");
    /// `a=ice-pwd:<22 to 256 characters>` (RFC 8839 section 5.4).
    IcePwd = "ice-pwd", |text| ice_text(text, 22, "ice-pwd");
    /// `a=tls-id:<20 to 255 characters>`: which DTLS association this is (RFC 8842 section 4).
    TlsId = "tls-id", |text| tls_id(text);
}

/// Letters, digits, `+` and `/`, so many or more. Some write `-`, `_` and `=` of other base64
/// alphabets; they do no harm and are accepted.
fn ice_text<'a>(text: &'a str, least: usize, what: &'static str) -> Result<&'a str, ErrorKind> {
    let is_ice_char =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    if text.is_empty() {
        Err(ErrorKind::Missing(what))
    } else if !text.bytes().all(is_ice_char) {
        Err(ErrorKind::Malformed(what))
    } else if (least..=256).contains(&text.len()) {
        Ok(text)
    } else {
        Err(ErrorKind::OutOfRange(what))
    }
}

fn tls_id(text: &str) -> Result<&str, ErrorKind> {
    const WHAT: &str = "tls-id";
    let is_id_char =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    if !text.bytes().all(is_id_char) {
        Err(ErrorKind::Malformed(WHAT))
    } else if (20..=255).contains(&text.len()) {
        Ok(text)
    } else {
        Err(ErrorKind::OutOfRange(WHAT))
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $type:ident($number:ty) = $name:literal, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $type(pub $number);

        impl AttributeValue for $type {
            const NAME: &'static str = $name;
        }

        impl FromStr for $type {
            type Err = ErrorKind;

            fn from_str(text: &str) -> Result<Self, ErrorKind> {
                number(text.trim_matches(' '), $what).map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

numbers! {
    /// `a=ice-pacing:<ms>`: the least time between connectivity checks, in ms (RFC 8839 section 5.5).
    IcePacing(u32) = "ice-pacing", "pacing";
    /// `a=sctp-port:<port>`; 0 closes the association (RFC 8841 section 5).
    SctpPort(u16) = "sctp-port", "port";
    /// `a=max-message-size:<bytes>`: the largest message the describer receives; 0 for any size, and
    /// 65536 holds where nothing is said (RFC 8841 section 6).
    MaxMessageSize(u64) = "max-message-size", "message size";
}

impl MaxMessageSize {
    /// What holds where nothing is said.
    pub const DEFAULT: Self = Self(65_536);
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

    #[track_caller]
    fn refused<T: AttributeValue + fmt::Debug + PartialEq>(texts: &[(&str, ErrorKind)]) {
        for (text, error) in texts {
            assert_eq!(text.parse::<T>(), Err(error.clone()), "{text}");
        }
    }

    #[test]
    fn a_fingerprint_is_hex_of_either_case() {
        let upper: Fingerprint = same("sha-256 AB:0F:00");
        assert_eq!(upper, Fingerprint::new("sha-256", &[0xab, 0x0f, 0]));
        let lower: Fingerprint = same("SHA-256 ab:0f:00");
        assert_eq!(lower.digest(), upper.digest());
        for value in [
            "AB0F", "A", "AB:", ":AB", "AB:0", "AB:+F", "AB:GG", "AB::CD",
        ] {
            let text = format!("sha-256 {value}");
            refused::<Fingerprint>(&[(&text, ErrorKind::Malformed("fingerprint"))]);
        }
        refused::<Fingerprint>(&[
            ("", ErrorKind::Missing("hash function")),
            ("sha-256", ErrorKind::Missing("fingerprint")),
            ("sha-256 AB CD", ErrorKind::TrailingText),
        ]);
        assert_eq!(
            Fingerprint {
                value: "x".into(),
                ..lower
            }
            .digest(),
            None
        );
    }

    #[test]
    fn ice_credentials_have_their_lengths() {
        same::<IceUfrag>("a+/9");
        same::<IcePwd>(&"x".repeat(256));
        refused::<IceUfrag>(&[
            ("", ErrorKind::Missing("ice-ufrag")),
            ("abc", ErrorKind::OutOfRange("ice-ufrag")),
            ("abc d", ErrorKind::Malformed("ice-ufrag")),
        ]);
        refused::<IcePwd>(&[
            (&"x".repeat(21), ErrorKind::OutOfRange("ice-pwd")),
            (&"x".repeat(257), ErrorKind::OutOfRange("ice-pwd")),
        ]);
        refused::<TlsId>(&[(&"x".repeat(19), ErrorKind::OutOfRange("tls-id"))]);
        same::<TlsId>(&"x".repeat(20));
    }

    #[test]
    fn ice_options_are_found_behind_commas_too() {
        assert_eq!(same::<IceOptions>("trickle"), IceOptions::trickle());
        let options: IceOptions = same("ice2,trickle renomination");
        for tag in ["ice2", "trickle", "renomination"] {
            assert!(options.contains(tag));
        }
        assert!(!options.contains("rtp+ecn"));
    }

    #[test]
    fn numbers_are_in_range() {
        assert_eq!(same::<SctpPort>("5000"), SctpPort(5000));
        assert_eq!(same::<MaxMessageSize>("0"), MaxMessageSize(0));
        same::<MaxMessageSize>("18446744073709551615");
        same::<IcePacing>("50");
        refused::<SctpPort>(&[
            ("65536", ErrorKind::OutOfRange("port")),
            ("", ErrorKind::Malformed("port")),
            ("-1", ErrorKind::Malformed("port")),
        ]);
    }

    #[test]
    fn groups_setup_rtcp_and_sctpmap_are_read() {
        assert_eq!(same::<Group>("BUNDLE 0 1"), Group::bundle(["0", "1"]));
        assert!(same::<Group>("BUNDLE").is_bundle() && !same::<Group>("LS a b").is_bundle());
        refused::<Group>(&[("", ErrorKind::Missing("semantics"))]);
        for role in [
            Setup::Active,
            Setup::Passive,
            Setup::Actpass,
            Setup::Holdconn,
        ] {
            assert_eq!(same::<Setup>(role.as_str()), role);
        }
        refused::<Setup>(&[("Active", ErrorKind::Unknown("setup role"))]);
        assert_eq!(same::<Rtcp>("9").connection, None);
        assert_eq!(
            same::<Rtcp>("9 IN IP4 0.0.0.0").connection.unwrap().address,
            "0.0.0.0"
        );
        refused::<Rtcp>(&[
            ("65536", ErrorKind::OutOfRange("port")),
            ("9 IN", ErrorKind::Missing("address type")),
        ]);
        assert_eq!(
            same::<SctpMap>("5000 webrtc-datachannel 1024").streams,
            Some(1024)
        );
        same::<SctpMap>("5000 webrtc-datachannel");
        same::<Mid>("{a}");
        refused::<Mid>(&[
            ("", ErrorKind::Missing("mid")),
            ("a b", ErrorKind::Malformed("mid")),
        ]);
    }
}
