use std::fmt;
use std::time::Duration;

use rtc_crypto::SharedSecret;
use rtc_stun::{AddressFamily, TransactionConfig};

/// User name and password of a TURN server (the W3C `username` and `credential`).
pub struct Credentials {
    username: String,
    password: SharedSecret,
}

impl Credentials {
    /// Takes user name and password as signalling gives them.
    #[must_use]
    pub fn new(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: SharedSecret::new(password.as_bytes().to_vec()),
        }
    }

    /// The user name.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password. It was text when it came in.
    #[must_use]
    pub fn password(&self) -> &str {
        str::from_utf8(self.password.as_ref()).unwrap_or_default()
    }
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self::new(&self.username, self.password())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Which relayed addresses an allocation is to have (RFC 8656 section 7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RelayedFamilies {
    /// One, IPv4. Servers older than RFC 6156 know no other.
    #[default]
    Ipv4,
    /// One, IPv6.
    Ipv6,
    /// IPv4 and, where the server can, IPv6 beside it.
    Both,
}

impl RelayedFamilies {
    pub(super) fn includes(self, family: AddressFamily) -> bool {
        match self {
            Self::Ipv4 => family == AddressFamily::Ipv4,
            Self::Ipv6 => family == AddressFamily::Ipv6,
            Self::Both => true,
        }
    }
}

/// Configuration of a [`Client`](crate::Client).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// User name and password; without, only a server that asks for none serves.
    pub credentials: Option<Credentials>,
    /// The relayed addresses to ask for.
    pub families: RelayedFamilies,
    /// Lifetime of the allocation to ask for; the server decides. `None` leaves it to the server, which
    /// means 10 minutes.
    pub lifetime: Option<Duration>,
    /// How requests are repeated over UDP, and how long an answer may take.
    pub transaction: TransactionConfig,
    /// Silence towards a server over UDP after which something is sent, so that NATs between keep the
    /// way open; `None` never. At least a second.
    pub keepalive: Option<Duration>,
    /// Most permissions at a time.
    pub max_permissions: usize,
    /// Most channels at a time, at most 4096. A channel that was released counts for 15 more minutes.
    pub max_channels: usize,
    /// SOFTWARE, which tells the server what program this is.
    pub software: Option<String>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            credentials: None,
            families: RelayedFamilies::default(),
            lifetime: None,
            transaction: TransactionConfig::default(),
            keepalive: Some(Duration::from_secs(20)),
            max_permissions: 256,
            max_channels: 256,
            software: None,
        }
    }
}

impl ClientConfig {
    /// A configuration with these credentials and otherwise the defaults.
    #[must_use]
    pub fn with_credentials(credentials: Credentials) -> Self {
        Self {
            credentials: Some(credentials),
            ..Self::default()
        }
    }
}
