use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use rtc_shared::{Reader, Writer};

use crate::{AttributeType, MAGIC_COOKIE, PasswordAlgorithm, TransactionId};

/// Why a request was refused (RFC 8489 section 14.8).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode<'a> {
    code: u16,
    reason: &'a [u8],
}

impl<'a> ErrorCode<'a> {
    /// Try Alternate (RFC 8489).
    pub const TRY_ALTERNATE: u16 = 300;
    /// Bad Request (RFC 8489).
    pub const BAD_REQUEST: u16 = 400;
    /// Unauthenticated (RFC 8489).
    pub const UNAUTHENTICATED: u16 = 401;
    /// Forbidden (RFC 8656).
    pub const FORBIDDEN: u16 = 403;
    /// Mobility Forbidden (RFC 8016).
    pub const MOBILITY_FORBIDDEN: u16 = 405;
    /// Unknown Attribute (RFC 8489).
    pub const UNKNOWN_ATTRIBUTE: u16 = 420;
    /// Allocation Mismatch (RFC 8656).
    pub const ALLOCATION_MISMATCH: u16 = 437;
    /// Stale Nonce (RFC 8489).
    pub const STALE_NONCE: u16 = 438;
    /// Address Family not Supported (RFC 8656).
    pub const ADDRESS_FAMILY_NOT_SUPPORTED: u16 = 440;
    /// Wrong Credentials (RFC 8656).
    pub const WRONG_CREDENTIALS: u16 = 441;
    /// Unsupported Transport Protocol (RFC 8656).
    pub const UNSUPPORTED_TRANSPORT_PROTOCOL: u16 = 442;
    /// Peer Address Family Mismatch (RFC 8656).
    pub const PEER_ADDRESS_FAMILY_MISMATCH: u16 = 443;
    /// Connection Already Exists (RFC 6062).
    pub const CONNECTION_ALREADY_EXISTS: u16 = 446;
    /// Connection Timeout or Failure (RFC 6062).
    pub const CONNECTION_TIMEOUT_OR_FAILURE: u16 = 447;
    /// Allocation Quota Reached (RFC 8656).
    pub const ALLOCATION_QUOTA_REACHED: u16 = 486;
    /// Role Conflict (RFC 8445).
    pub const ROLE_CONFLICT: u16 = 487;
    /// Server Error (RFC 8489).
    pub const SERVER_ERROR: u16 = 500;
    /// Insufficient Capacity (RFC 8656).
    pub const INSUFFICIENT_CAPACITY: u16 = 508;

    /// An error to send; a code outside of 300 to 699 becomes 500.
    pub(crate) fn new(code: u16, reason: &'a str) -> Self {
        let code = if (300..700).contains(&code) {
            code
        } else {
            Self::SERVER_ERROR
        };
        Self {
            code,
            reason: reason.as_bytes(),
        }
    }

    /// The number, 300 to 699.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The text for people; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn reason(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.reason)
    }
}

impl fmt::Debug for ErrorCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.code, self.reason())
    }
}

impl fmt::Display for ErrorCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason())
    }
}

/// The family of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl AddressFamily {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() {
            Self::Ipv4
        } else {
            Self::Ipv6
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Ipv4 => 1,
            Self::Ipv6 => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Ipv4),
            2 => Some(Self::Ipv6),
            _ => None,
        }
    }
}

/// Why an allocation has no relayed address of one family (RFC 8656 section 18.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressErrorCode<'a> {
    /// The family without address.
    pub family: AddressFamily,
    /// The reason.
    pub error: ErrorCode<'a>,
}

/// An ICMP error that a relay received from the way to a peer (RFC 8656 section 18.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Icmp {
    /// ICMP type, of 7 bits.
    pub icmp_type: u8,
    /// ICMP code, of 9 bits.
    pub icmp_code: u16,
    /// Next-hop MTU in bytes for "fragmentation needed" and "packet too big", else 0.
    pub error_data: u32,
}

/// Which network a check goes by, and how dear it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetworkCost {
    /// Number that the sender gives to its network interface.
    pub network_id: u16,
    /// 0 (wired) to 999 (most expensive).
    pub cost: u16,
}

/// The types listed in UNKNOWN-ATTRIBUTES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAttributes<'a>(&'a [u8]);

impl Iterator for UnknownAttributes<'_> {
    type Item = AttributeType;

    fn next(&mut self) -> Option<AttributeType> {
        let (first, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(AttributeType(u16::from_be_bytes(*first)))
    }
}

/// The algorithms listed in PASSWORD-ALGORITHMS, most wanted first; those that this crate does not
/// know are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordAlgorithms<'a>(&'a [u8]);

impl Iterator for PasswordAlgorithms<'_> {
    type Item = PasswordAlgorithm;

    fn next(&mut self) -> Option<PasswordAlgorithm> {
        let mut reader = Reader::new(self.0);
        while let Some((code, parameters)) = read_algorithm(&mut reader) {
            self.0 = reader.rest();
            if let Some(algorithm) = known_algorithm(code, parameters) {
                return Some(algorithm);
            }
        }
        None
    }
}

/// How a value is read and written.
pub(crate) trait Codec {
    /// What a reader gets.
    type Value<'v>;
    /// What a writer takes.
    type Input<'v>;
    /// `None` when the value is malformed.
    fn read<'v>(value: &'v [u8], id: &TransactionId) -> Option<Self::Value<'v>>;
    fn write(input: Self::Input<'_>, id: &TransactionId, out: &mut BytesMut);
}

/// An address in the clear.
pub(crate) struct AddressCodec;

impl Codec for AddressCodec {
    type Value<'v> = SocketAddr;
    type Input<'v> = SocketAddr;

    fn read(value: &[u8], _: &TransactionId) -> Option<SocketAddr> {
        read_address(value, &[0; 16])
    }

    fn write(address: SocketAddr, _: &TransactionId, out: &mut BytesMut) {
        write_address(address, &[0; 16], out);
    }
}

/// An address masked with the magic cookie and the transaction identifier.
pub(crate) struct XorAddressCodec;

impl Codec for XorAddressCodec {
    type Value<'v> = SocketAddr;
    type Input<'v> = SocketAddr;

    fn read(value: &[u8], id: &TransactionId) -> Option<SocketAddr> {
        read_address(value, &mask(id))
    }

    fn write(address: SocketAddr, id: &TransactionId, out: &mut BytesMut) {
        write_address(address, &mask(id), out);
    }
}

fn mask(id: &TransactionId) -> [u8; 16] {
    let [a, b, c, d] = MAGIC_COOKIE.to_be_bytes();
    let [e, f, g, h, i, j, k, l, m, n, o, p] = id.0;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

fn read_address(value: &[u8], mask: &[u8; 16]) -> Option<SocketAddr> {
    let mut reader = Reader::new(value);
    reader.skip(1).ok()?;
    let family = AddressFamily::from_code(reader.u8().ok()?)?;
    let [mask0, mask1, ..] = *mask;
    let port = reader.u16().ok()? ^ u16::from_be_bytes([mask0, mask1]);
    let ip = match family {
        AddressFamily::Ipv4 => {
            let octets: [u8; 4] = reader.array().ok()?;
            IpAddr::from(xor(octets, mask))
        }
        AddressFamily::Ipv6 => {
            let octets: [u8; 16] = reader.array().ok()?;
            IpAddr::from(xor(octets, mask))
        }
    };
    reader.is_empty().then_some(SocketAddr::new(ip, port))
}

fn write_address(address: SocketAddr, mask: &[u8; 16], out: &mut BytesMut) {
    let [mask0, mask1, ..] = *mask;
    out.put_u8(0);
    out.put_u8(AddressFamily::of(address.ip()).code());
    out.put_u16(address.port() ^ u16::from_be_bytes([mask0, mask1]));
    match address.ip() {
        IpAddr::V4(ip) => out.put(&xor(ip.octets(), mask)),
        IpAddr::V6(ip) => out.put(&xor(ip.octets(), mask)),
    }
}

fn xor<const N: usize>(mut octets: [u8; N], mask: &[u8; 16]) -> [u8; N] {
    for (octet, mask) in octets.iter_mut().zip(mask) {
        *octet ^= mask;
    }
    octets
}

/// UTF-8 of at most `MAX` bytes.
pub(crate) struct TextCodec<const MAX: usize>;

impl<const MAX: usize> Codec for TextCodec<MAX> {
    type Value<'v> = &'v str;
    type Input<'v> = &'v str;

    fn read<'v>(value: &'v [u8], _: &TransactionId) -> Option<&'v str> {
        if value.len() > MAX {
            return None;
        }
        str::from_utf8(value).ok()
    }

    fn write(text: &str, _: &TransactionId, out: &mut BytesMut) {
        out.put(cut(text.as_bytes(), MAX));
    }
}

/// The longest start of `text` that has at most `max` bytes and does not end within a character.
fn cut(text: &[u8], max: usize) -> &[u8] {
    let mut end = max.min(text.len());
    while text.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) && end > 0 {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Any bytes, at most `MAX`.
pub(crate) struct BytesCodec<const MAX: usize = 0xffff>;

impl<const MAX: usize> Codec for BytesCodec<MAX> {
    type Value<'v> = &'v [u8];
    type Input<'v> = &'v [u8];

    fn read<'v>(value: &'v [u8], _: &TransactionId) -> Option<&'v [u8]> {
        (value.len() <= MAX).then_some(value)
    }

    fn write(value: &[u8], _: &TransactionId, out: &mut BytesMut) {
        out.put(value);
    }
}

/// Exactly `N` bytes.
pub(crate) struct FixedCodec<const N: usize>;

impl<const N: usize> Codec for FixedCodec<N> {
    type Value<'v> = [u8; N];
    type Input<'v> = [u8; N];

    fn read(value: &[u8], _: &TransactionId) -> Option<[u8; N]> {
        value.try_into().ok()
    }

    fn write(value: [u8; N], _: &TransactionId, out: &mut BytesMut) {
        out.put(&value);
    }
}

/// An integrity value of `MIN` to `MAX` bytes in steps of 4.
pub(crate) struct TagCodec<const MIN: usize, const MAX: usize>;

impl<const MIN: usize, const MAX: usize> Codec for TagCodec<MIN, MAX> {
    type Value<'v> = &'v [u8];
    type Input<'v> = &'v [u8];

    fn read<'v>(value: &'v [u8], _: &TransactionId) -> Option<&'v [u8]> {
        let length = value.len();
        ((MIN..=MAX).contains(&length) && length.is_multiple_of(4)).then_some(value)
    }

    fn write(value: &[u8], _: &TransactionId, out: &mut BytesMut) {
        out.put(value);
    }
}

/// There or not; a value is ignored.
pub(crate) struct FlagCodec;

impl Codec for FlagCodec {
    type Value<'v> = ();
    type Input<'v> = ();

    fn read(_: &[u8], _: &TransactionId) -> Option<()> {
        Some(())
    }

    fn write((): (), _: &TransactionId, _: &mut BytesMut) {}
}

pub(crate) struct U32Codec;

impl Codec for U32Codec {
    type Value<'v> = u32;
    type Input<'v> = u32;

    fn read(value: &[u8], _: &TransactionId) -> Option<u32> {
        value.try_into().ok().map(u32::from_be_bytes)
    }

    fn write(value: u32, _: &TransactionId, out: &mut BytesMut) {
        out.put_u32(value);
    }
}

pub(crate) struct U64Codec;

impl Codec for U64Codec {
    type Value<'v> = u64;
    type Input<'v> = u64;

    fn read(value: &[u8], _: &TransactionId) -> Option<u64> {
        value.try_into().ok().map(u64::from_be_bytes)
    }

    fn write(value: u64, _: &TransactionId, out: &mut BytesMut) {
        out.put_u64(value);
    }
}

/// Whole seconds, the fraction cut off.
pub(crate) struct SecondsCodec;

impl Codec for SecondsCodec {
    type Value<'v> = Duration;
    type Input<'v> = Duration;

    fn read(value: &[u8], id: &TransactionId) -> Option<Duration> {
        U32Codec::read(value, id).map(|seconds| Duration::from_secs(seconds.into()))
    }

    fn write(value: Duration, _: &TransactionId, out: &mut BytesMut) {
        out.put_u32(u32::try_from(value.as_secs()).unwrap_or(u32::MAX));
    }
}

/// A channel number and 16 reserved bits.
pub(crate) struct ChannelCodec;

impl Codec for ChannelCodec {
    type Value<'v> = u16;
    type Input<'v> = u16;

    fn read(value: &[u8], id: &TransactionId) -> Option<u16> {
        let number = (U32Codec::read(value, id)? >> 16) as u16;
        (0x4000..=0x4fff).contains(&number).then_some(number)
    }

    fn write(number: u16, _: &TransactionId, out: &mut BytesMut) {
        out.put_u16(number);
        out.put_u16(0);
    }
}

/// A port and 16 bits of padding, which some count into the length.
pub(crate) struct PortCodec;

impl Codec for PortCodec {
    type Value<'v> = u16;
    type Input<'v> = u16;

    fn read(value: &[u8], _: &TransactionId) -> Option<u16> {
        match *value {
            [high, low] | [high, low, _, _] => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }

    fn write(port: u16, _: &TransactionId, out: &mut BytesMut) {
        out.put_u16(port);
    }
}

/// A family and 24 reserved bits.
pub(crate) struct FamilyCodec;

impl Codec for FamilyCodec {
    type Value<'v> = AddressFamily;
    type Input<'v> = AddressFamily;

    fn read(value: &[u8], _: &TransactionId) -> Option<AddressFamily> {
        let [family, _, _, _] = *value else {
            return None;
        };
        AddressFamily::from_code(family)
    }

    fn write(family: AddressFamily, _: &TransactionId, out: &mut BytesMut) {
        out.put(&[family.code(), 0, 0, 0]);
    }
}

/// A protocol number and 24 reserved bits.
pub(crate) struct TransportCodec;

impl Codec for TransportCodec {
    type Value<'v> = u8;
    type Input<'v> = u8;

    fn read(value: &[u8], _: &TransactionId) -> Option<u8> {
        let [protocol, _, _, _] = *value else {
            return None;
        };
        Some(protocol)
    }

    fn write(protocol: u8, _: &TransactionId, out: &mut BytesMut) {
        out.put(&[protocol, 0, 0, 0]);
    }
}

/// The R bit and 7 reserved bits.
pub(crate) struct EvenPortCodec;

impl Codec for EvenPortCodec {
    type Value<'v> = bool;
    type Input<'v> = bool;

    fn read(value: &[u8], _: &TransactionId) -> Option<bool> {
        let [flags] = *value else { return None };
        Some(flags & 0x80 != 0)
    }

    fn write(reserve_next: bool, _: &TransactionId, out: &mut BytesMut) {
        out.put_u8(u8::from(reserve_next) << 7);
    }
}

pub(crate) struct ErrorCodec;

impl Codec for ErrorCodec {
    type Value<'v> = ErrorCode<'v>;
    type Input<'v> = ErrorCode<'v>;

    fn read<'v>(value: &'v [u8], _: &TransactionId) -> Option<ErrorCode<'v>> {
        let (&[_, _, class, number], reason) = value.split_first_chunk::<4>()?;
        let class = class & 0b111;
        ((3..=6).contains(&class) && number < 100 && reason.len() <= MAX_REASON).then_some(
            ErrorCode {
                code: u16::from(class) * 100 + u16::from(number),
                reason,
            },
        )
    }

    fn write(error: ErrorCode<'_>, _: &TransactionId, out: &mut BytesMut) {
        out.put(&[0, 0, (error.code / 100) as u8, (error.code % 100) as u8]);
        out.put(cut(error.reason, MAX_REASON));
    }
}

/// An error code with a family in its first, otherwise reserved byte.
pub(crate) struct AddressErrorCodec;

impl Codec for AddressErrorCodec {
    type Value<'v> = AddressErrorCode<'v>;
    type Input<'v> = AddressErrorCode<'v>;

    fn read<'v>(value: &'v [u8], id: &TransactionId) -> Option<AddressErrorCode<'v>> {
        let family = AddressFamily::from_code(*value.first()?)?;
        Some(AddressErrorCode {
            family,
            error: ErrorCodec::read(value, id)?,
        })
    }

    fn write(value: AddressErrorCode<'_>, id: &TransactionId, out: &mut BytesMut) {
        let start = out.position();
        ErrorCodec::write(value.error, id, out);
        out.patch(start, &[value.family.code()]);
    }
}

pub(crate) struct IcmpCodec;

impl Codec for IcmpCodec {
    type Value<'v> = Icmp;
    type Input<'v> = Icmp;

    fn read(value: &[u8], _: &TransactionId) -> Option<Icmp> {
        let [_, _, t, c, error_data @ ..] = *<&[u8; 8]>::try_from(value).ok()?;
        Some(Icmp {
            icmp_type: t >> 1,
            icmp_code: u16::from_be_bytes([t & 1, c]),
            error_data: u32::from_be_bytes(error_data),
        })
    }

    fn write(icmp: Icmp, _: &TransactionId, out: &mut BytesMut) {
        out.put_u16(0);
        out.put_u16(u16::from(icmp.icmp_type & 0x7f) << 9 | icmp.icmp_code & 0x1ff);
        out.put_u32(icmp.error_data);
    }
}

pub(crate) struct NetworkCostCodec;

impl Codec for NetworkCostCodec {
    type Value<'v> = NetworkCost;
    type Input<'v> = NetworkCost;

    fn read(value: &[u8], id: &TransactionId) -> Option<NetworkCost> {
        let word = U32Codec::read(value, id)?;
        Some(NetworkCost {
            network_id: (word >> 16) as u16,
            cost: word as u16,
        })
    }

    fn write(value: NetworkCost, _: &TransactionId, out: &mut BytesMut) {
        out.put_u16(value.network_id);
        out.put_u16(value.cost);
    }
}

/// A list of attribute types.
pub(crate) struct TypesCodec;

impl Codec for TypesCodec {
    type Value<'v> = UnknownAttributes<'v>;
    type Input<'v> = &'v [AttributeType];

    fn read<'v>(value: &'v [u8], _: &TransactionId) -> Option<UnknownAttributes<'v>> {
        value
            .len()
            .is_multiple_of(2)
            .then_some(UnknownAttributes(value))
    }

    fn write(types: &[AttributeType], _: &TransactionId, out: &mut BytesMut) {
        types.iter().for_each(|typ| out.put_u16(typ.0));
    }
}

/// One algorithm with its parameters.
pub(crate) struct AlgorithmCodec;

impl Codec for AlgorithmCodec {
    type Value<'v> = PasswordAlgorithm;
    type Input<'v> = PasswordAlgorithm;

    fn read(value: &[u8], _: &TransactionId) -> Option<PasswordAlgorithm> {
        let mut reader = Reader::new(value);
        let (code, parameters) = read_algorithm(&mut reader)?;
        known_algorithm(code, parameters).filter(|_| reader.is_empty())
    }

    fn write(algorithm: PasswordAlgorithm, _: &TransactionId, out: &mut BytesMut) {
        out.put_u16(algorithm.code());
        out.put_u16(0);
    }
}

/// A list of algorithms, each padded to a multiple of 4.
pub(crate) struct AlgorithmsCodec;

impl Codec for AlgorithmsCodec {
    type Value<'v> = PasswordAlgorithms<'v>;
    type Input<'v> = &'v [PasswordAlgorithm];

    fn read<'v>(value: &'v [u8], _: &TransactionId) -> Option<PasswordAlgorithms<'v>> {
        let mut reader = Reader::new(value);
        while !reader.is_empty() {
            read_algorithm(&mut reader)?;
        }
        Some(PasswordAlgorithms(value))
    }

    fn write(algorithms: &[PasswordAlgorithm], id: &TransactionId, out: &mut BytesMut) {
        algorithms
            .iter()
            .for_each(|&algorithm| AlgorithmCodec::write(algorithm, id, out));
    }
}

/// Reads number and parameters; the padding of the last entry may be missing.
fn read_algorithm<'v>(reader: &mut Reader<'v>) -> Option<(u16, &'v [u8])> {
    let code = reader.u16().ok()?;
    let parameters = reader.vec16().ok()?;
    let padding = crate::message::padding(parameters.len()).min(reader.len());
    reader.skip(padding).ok()?;
    Some((code, parameters))
}

/// None of the algorithms that exist has parameters (RFC 8489 section 18.5).
fn known_algorithm(code: u16, parameters: &[u8]) -> Option<PasswordAlgorithm> {
    PasswordAlgorithm::from_code(code).filter(|_| parameters.is_empty())
}

/// 127 characters of UTF-8, as RFC 8489 section 14.8 counts them.
const MAX_REASON: usize = 763;
