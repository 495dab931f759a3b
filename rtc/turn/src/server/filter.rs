use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// Which peers clients may reach through the relay.
///
/// The first that matches decides: the addresses denied, those allowed, and then the default, which
/// lets pass every global unicast address. It denies what would open the network of the server to its
/// clients: loopback, private, shared, link-local, unique-local, multicast, broadcast, reserved and
/// documentation addresses, also where an IPv6 address embeds one of them.
///
/// ```
/// use rtc_turn::server::PeerFilter;
///
/// let mut filter = PeerFilter::default();
/// assert!(filter.permits("192.0.3.1".parse()?));
/// assert!(!filter.permits("10.1.2.3".parse()?));
/// assert!(!filter.permits("::ffff:10.1.2.3".parse()?));
/// filter.allow.push("10.1.0.0/16".parse()?);
/// filter.deny.push("10.1.9.0/24".parse()?);
/// assert!(filter.permits("10.1.2.3".parse()?));
/// assert!(!filter.permits("10.1.9.3".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerFilter {
    /// Never reached.
    pub deny: Vec<AddressRange>,
    /// Reached though the default denies them.
    pub allow: Vec<AddressRange>,
}

/// What a filter says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Denied,
    Allowed,
    /// Neither list has it.
    Default {
        permits: bool,
    },
}

impl PeerFilter {
    /// A filter that allows everything that is not put into [`deny`](Self::deny), as suits tests and
    /// closed networks.
    #[must_use]
    pub fn allow_all() -> Self {
        Self {
            deny: Vec::new(),
            allow: vec![
                AddressRange::new(Ipv4Addr::UNSPECIFIED.into(), 0),
                AddressRange::new(Ipv6Addr::UNSPECIFIED.into(), 0),
            ],
        }
    }

    /// True when a peer of this address may be reached.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        match self.verdict(address) {
            Verdict::Denied => false,
            Verdict::Allowed => true,
            Verdict::Default { permits } => permits,
        }
    }

    pub(super) fn verdict(&self, address: IpAddr) -> Verdict {
        let address = address.to_canonical();
        let has = |ranges: &[AddressRange]| ranges.iter().any(|range| range.contains(address));
        if has(&self.deny) {
            Verdict::Denied
        } else if has(&self.allow) {
            Verdict::Allowed
        } else {
            Verdict::Default {
                permits: is_global_unicast(address),
            }
        }
    }
}

/// All addresses with a common prefix, written as `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    address: IpAddr,
    prefix: u8,
}

impl AddressRange {
    /// The addresses that share the first `prefix` bits with `address`; a prefix longer than the
    /// address is the address itself.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        Self {
            address,
            prefix: prefix.min(bits),
        }
    }

    /// True when the range has the address. IPv4 and IPv6 have nothing in common.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= prefix,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= prefix,
            _ => false,
        }
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        Self::new(address, 128)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, AddressRangeError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| AddressRangeError)?;
        let Some(prefix) = prefix else {
            return Ok(address.into());
        };
        let prefix = prefix.parse().map_err(|_| AddressRangeError)?;
        let range = Self::new(address, prefix);
        if range.prefix == prefix {
            Ok(range)
        } else {
            Err(AddressRangeError)
        }
    }
}

/// A text is no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an address range such as 192.0.2.0/24")]
pub struct AddressRangeError;

/// True for addresses that the registries of special-purpose addresses (RFC 6890) call global.
fn is_global_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => is_global_v4(ip),
        IpAddr::V6(ip) => is_global_v6(ip),
    }
}

fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_shared = a == 100 && b & 0xc0 == 64;
    let is_protocol = a == 192 && b == 0 && c == 0;
    let is_6to4_relay = a == 192 && b == 88 && c == 99;
    let is_benchmark = a == 198 && b & 0xfe == 18;
    !(a == 0
        || a >= 224
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || is_shared
        || is_protocol
        || is_6to4_relay
        || is_benchmark)
}

fn is_global_v6(ip: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        is_global_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    match ip.segments() {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to the IPv4 address within.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, benchmarks, ORCHID and the rest of the protocol assignments.
        [0x2001, second, ..] if second < 0x0200 => false,
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        // Only 2000::/3 has global unicast addresses.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn by_default_only_global_unicast_addresses_are_reached() {
        let filter = PeerFilter::default();
        for denied in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.1.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.2.3",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
        ] {
            assert!(!filter.permits(ip(denied)), "{denied}");
        }
        for permitted in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:4860:4860::8888",
            "2002:808:808::1",
            "2a00::1",
            "3ffe::1",
        ] {
            assert!(filter.permits(ip(permitted)), "{permitted}");
        }
    }

    #[test]
    fn ranges_are_read_as_written() {
        for text in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "2001:db8::/32",
            "::/0",
            "192.0.2.1/32",
        ] {
            assert_eq!(text.parse::<AddressRange>().unwrap().to_string(), text);
        }
        assert_eq!("::1".parse(), Ok(AddressRange::from(ip("::1"))));
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0/8",
            "::/129",
            "::/-1",
            "a/8",
        ] {
            assert_eq!(bad.parse::<AddressRange>(), Err(AddressRangeError), "{bad}");
        }
        assert!(AddressRange::new(ip("10.1.2.3"), 8).contains(ip("10.9.9.9")));
        assert!(!AddressRange::new(ip("10.1.2.3"), 9).contains(ip("10.128.0.0")));
        assert!(!AddressRange::new(ip("0.0.0.0"), 0).contains(ip("::1")));
    }

    #[test]
    fn denied_goes_before_allowed() {
        let mut filter = PeerFilter::allow_all();
        assert!(filter.permits(ip("127.0.0.1")) && filter.permits(ip("fe80::1")));
        filter.deny.push(ip("127.0.0.1").into());
        assert!(!filter.permits(ip("127.0.0.1")));
        assert!(!filter.permits(ip("::ffff:127.0.0.1")));
        assert!(filter.permits(ip("127.0.0.2")));
    }
}
