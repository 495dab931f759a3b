use std::fmt;

use rtc_shared::Rng;

/// Length of the message header in bytes.
pub const HEADER_LEN: usize = 20;

/// The fixed value of the second word of every message (RFC 8489 section 5).
pub const MAGIC_COOKIE: u32 = 0x2112_a442;

/// True when a whole datagram can be a STUN message: the first two bits, the length and the magic
/// cookie fit (RFC 8489 section 5, RFC 7983 section 7). Attributes are not looked at.
#[must_use]
pub fn is_stun(datagram: &[u8]) -> bool {
    message_len(datagram) == Some(datagram.len())
}

/// Total length in bytes of the message at the start of a byte stream (RFC 8489 section 6.2.2).
///
/// `None` when fewer than [`HEADER_LEN`] bytes are there or when they are not the header of a STUN
/// message. The length is what the header says; the stream may hold less or more.
#[must_use]
pub fn message_len(stream: &[u8]) -> Option<usize> {
    let [t0, _, l0, l1, c0, c1, c2, c3, ..] = stream.first_chunk::<HEADER_LEN>()?;
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    let cookie = u32::from_be_bytes([*c0, *c1, *c2, *c3]);
    (t0 & 0xc0 == 0 && length.is_multiple_of(4) && cookie == MAGIC_COOKIE)
        .then_some(HEADER_LEN + length)
}

/// Identifies a request and its responses (RFC 8489 section 5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub [u8; 12]);

impl TransactionId {
    /// A new identifier; unpredictable, so that others cannot answer in the server's place.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        Self(rng.array())
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a message is to its receiver (RFC 8489 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Asks for a response.
    Request,
    /// Has no response.
    Indication,
    /// Answers a request that was carried out.
    Success,
    /// Answers a request that was refused.
    Error,
}

impl Class {
    /// True for a success or error response.
    #[must_use]
    pub fn is_response(self) -> bool {
        matches!(self, Self::Success | Self::Error)
    }
}

/// What a message is about; a number of 12 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Method(pub u16);

impl Method {
    /// Asks for the reflexive address; checks and keeps alive (RFC 8489 section 3).
    pub const BINDING: Self = Self(0x001);
    /// Asks for a relayed address (RFC 8656 section 7).
    pub const ALLOCATE: Self = Self(0x003);
    /// Prolongs or deletes an allocation (RFC 8656 section 8).
    pub const REFRESH: Self = Self(0x004);
    /// Carries data to a peer; an indication (RFC 8656 section 11).
    pub const SEND: Self = Self(0x006);
    /// Carries data from a peer; an indication (RFC 8656 section 11).
    pub const DATA: Self = Self(0x007);
    /// Lets a peer send through a relay (RFC 8656 section 10).
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// Binds a channel number to a peer (RFC 8656 section 12).
    pub const CHANNEL_BIND: Self = Self(0x009);
    /// Asks a relay for a TCP connection to a peer (RFC 6062 section 4.3).
    pub const CONNECT: Self = Self(0x00a);
    /// Joins a TCP connection to the server with one to a peer (RFC 6062 section 4.3).
    pub const CONNECTION_BIND: Self = Self(0x00b);
    /// Reports a TCP connection from a peer; an indication (RFC 6062 section 4.4).
    pub const CONNECTION_ATTEMPT: Self = Self(0x00c);
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::BINDING => "Binding",
            Self::ALLOCATE => "Allocate",
            Self::REFRESH => "Refresh",
            Self::SEND => "Send",
            Self::DATA => "Data",
            Self::CREATE_PERMISSION => "CreatePermission",
            Self::CHANNEL_BIND => "ChannelBind",
            Self::CONNECT => "Connect",
            Self::CONNECTION_BIND => "ConnectionBind",
            Self::CONNECTION_ATTEMPT => "ConnectionAttempt",
            Self(other) => return write!(f, "method {other:#05x}"),
        })
    }
}

/// Weaves class and method into the type field (RFC 8489 figure 3). Bits of the method above the
/// twelfth are lost.
pub(crate) fn encode_type(class: Class, method: Method) -> u16 {
    let class_bits = match class {
        Class::Request => 0,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    let Method(m) = method;
    (m & 0xf80) << 2 | (m & 0x070) << 1 | m & 0x00f | class_bits
}

/// Takes the type field apart; the top two bits do not matter.
pub(crate) fn decode_type(typ: u16) -> (Class, Method) {
    let class = match typ & 0x0110 {
        0 => Class::Request,
        0x0010 => Class::Indication,
        0x0100 => Class::Success,
        _ => Class::Error,
    };
    (
        class,
        Method((typ & 0x3e00) >> 2 | (typ & 0x00e0) >> 1 | typ & 0x000f),
    )
}
