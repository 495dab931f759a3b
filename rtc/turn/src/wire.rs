use std::net::{IpAddr, SocketAddr};
use std::ops::{Range, RangeInclusive};

use rtc_shared::Reader;
use rtc_stun::{AttributeType, HEADER_LEN, Icmp, MAGIC_COOKIE, Message, Method, TransactionId};

/// The channel numbers that may be bound (RFC 8656 section 12). 0x5000 and above are reserved.
pub const CHANNEL_NUMBERS: RangeInclusive<u16> = 0x4000..=0x4fff;

/// How one payload is wrapped between a client and its server: as ChannelData, or as a Send or Data
/// indication.
///
/// The sender writes the prefix, the payload behind it, and [`padding_len`](Self::padding_len) zero
/// bytes behind that, all in a buffer of its own.
///
/// ```
/// # use rtc_turn::Encapsulation;
/// fn append(form: &Encapsulation, payload: &[u8], out: &mut Vec<u8>) -> bool {
///     let start = out.len();
///     out.resize(start + form.prefix_len(), 0);
///     let Some(prefix) = out.get_mut(start..) else { return false };
///     if !form.write_prefix(payload.len(), prefix) {
///         out.truncate(start);
///         return false;
///     }
///     out.extend_from_slice(payload);
///     out.resize(out.len() + form.padding_len(payload.len()), 0);
///     true
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encapsulation {
    form: Form,
    stream: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Channel(u16),
    Indication {
        typ: u16,
        peer: SocketAddr,
        id: TransactionId,
    },
}

impl Encapsulation {
    /// ChannelData, padded when it goes by a stream.
    pub(crate) fn channel(number: u16, stream: bool) -> Self {
        Self {
            form: Form::Channel(number),
            stream,
        }
    }

    /// A Send indication, to the server.
    pub(crate) fn send(peer: SocketAddr, id: TransactionId) -> Self {
        Self::indication(SEND_INDICATION, peer, id)
    }

    /// A Data indication, to the client.
    #[cfg(feature = "server")]
    pub(crate) fn data(peer: SocketAddr, id: TransactionId) -> Self {
        Self::indication(DATA_INDICATION, peer, id)
    }

    fn indication(typ: u16, peer: SocketAddr, id: TransactionId) -> Self {
        Self {
            form: Form::Indication { typ, peer, id },
            stream: false,
        }
    }

    /// True for ChannelData, false for an indication.
    #[must_use]
    pub fn is_channel(&self) -> bool {
        matches!(self.form, Form::Channel(_))
    }

    /// Bytes before the payload, for any payload: 4 for ChannelData; for an indication 36 with an IPv4
    /// and 48 with an IPv6 peer.
    #[must_use]
    pub fn prefix_len(&self) -> usize {
        match self.form {
            Form::Channel(_) => CHANNEL_HEADER_LEN,
            Form::Indication { peer, .. } => {
                HEADER_LEN + 2 * ATTRIBUTE_HEADER_LEN + address_len(&peer)
            }
        }
    }

    /// Zero bytes to write behind a payload of this length, 0 to 3. ChannelData over UDP has none.
    #[must_use]
    pub fn padding_len(&self, payload_len: usize) -> usize {
        match self.form {
            Form::Channel(_) if !self.stream => 0,
            _ => padding(payload_len),
        }
    }

    /// Bytes of the whole message around a payload of this length.
    #[must_use]
    pub fn wire_len(&self, payload_len: usize) -> usize {
        self.prefix_len() + payload_len + self.padding_len(payload_len)
    }

    /// Writes the prefix of a payload of this length to the start of `out`. False when `out` is
    /// shorter than [`prefix_len`](Self::prefix_len) or the payload too long for the form; `out` is
    /// undefined then.
    #[must_use = "false means that nothing may be sent"]
    pub fn write_prefix(&self, payload_len: usize, out: &mut [u8]) -> bool {
        self.try_write(payload_len, out).is_some()
    }

    fn try_write(&self, payload_len: usize, out: &mut [u8]) -> Option<()> {
        let data_len = u16::try_from(payload_len).ok()?;
        let mut out = SliceWriter { rest: out };
        let (typ, peer, id) = match self.form {
            Form::Channel(number) => {
                out.put(&number.to_be_bytes())?;
                return out.put(&data_len.to_be_bytes());
            }
            Form::Indication { typ, peer, id } => (typ, peer, id),
        };
        let body_len = u16::try_from(self.wire_len(payload_len) - HEADER_LEN).ok()?;
        out.put(&typ.to_be_bytes())?;
        out.put(&body_len.to_be_bytes())?;
        out.put(&MAGIC_COOKIE.to_be_bytes())?;
        out.put(&id.0)?;

        out.put(&AttributeType::XOR_PEER_ADDRESS.0.to_be_bytes())?;
        out.put(&(address_len(&peer) as u16).to_be_bytes())?;
        out.put(&[0, if peer.is_ipv4() { 1 } else { 2 }])?;
        out.put(&(peer.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes())?;
        match peer.ip() {
            IpAddr::V4(ip) => out.put(&(ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes())?,
            IpAddr::V6(ip) => {
                let mut mask = [0; 16];
                let key = MAGIC_COOKIE.to_be_bytes().into_iter().chain(id.0);
                mask.iter_mut().zip(key).for_each(|(to, from)| *to = from);
                out.put(&(ip.to_bits() ^ u128::from_be_bytes(mask)).to_be_bytes())?;
            }
        }

        out.put(&AttributeType::DATA.0.to_be_bytes())?;
        out.put(&data_len.to_be_bytes())
    }
}

/// Takes ChannelData apart: its number and where the payload lies. `None` when the number is reserved
/// or the payload shorter than announced; what follows the payload is padding.
#[must_use]
pub fn channel_data(datagram: &[u8]) -> Option<(u16, Range<usize>)> {
    let mut reader = Reader::new(datagram);
    let number = reader.u16().ok()?;
    let length = reader.vec16().ok()?.len();
    CHANNEL_NUMBERS
        .contains(&number)
        .then_some((number, CHANNEL_HEADER_LEN..CHANNEL_HEADER_LEN + length))
}

/// What a Send or Data indication carries.
pub(crate) struct Indication {
    pub(crate) peer: SocketAddr,
    /// Where the payload lies in the datagram; none in the report of an ICMP error.
    pub(crate) payload: Option<Range<usize>>,
    pub(crate) icmp: Option<Icmp>,
}

impl Indication {
    /// `None` when it has neither payload nor report, no peer, or an attribute that must be understood
    /// and is not.
    pub(crate) fn of(message: &Message<'_>, datagram: &[u8]) -> Option<Self> {
        if !message.unknown_required(&KNOWN_IN_INDICATIONS).is_empty() {
            return None;
        }
        let indication = Self {
            peer: message.xor_peer_address()?,
            payload: message.data().and_then(|data| position(data, datagram)),
            icmp: message.icmp(),
        };
        (indication.payload.is_some() || indication.icmp.is_some()).then_some(indication)
    }
}

/// Where `part` lies in `whole`.
fn position(part: &[u8], whole: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// How many bytes fill `length` up to a multiple of 4.
pub(crate) fn padding(length: usize) -> usize {
    length.wrapping_neg() & 3
}

fn address_len(address: &SocketAddr) -> usize {
    if address.is_ipv4() { 8 } else { 20 }
}

struct SliceWriter<'a> {
    rest: &'a mut [u8],
}

impl SliceWriter<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let (head, tail) = std::mem::take(&mut self.rest).split_at_mut_checked(bytes.len())?;
        head.copy_from_slice(bytes);
        self.rest = tail;
        Some(())
    }
}

/// Channel number and length.
pub(crate) const CHANNEL_HEADER_LEN: usize = 4;
const ATTRIBUTE_HEADER_LEN: usize = 4;
const SEND_INDICATION: u16 = 0x0016;
#[cfg(feature = "server")]
const DATA_INDICATION: u16 = 0x0017;
const KNOWN_IN_INDICATIONS: [AttributeType; 2] =
    [AttributeType::XOR_PEER_ADDRESS, AttributeType::DATA];

/// True for a method that only travels in indications.
pub(crate) fn is_data(method: Method) -> bool {
    matches!(method, Method::SEND | Method::DATA)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;
    use rtc_stun::Class;

    use super::*;

    fn address() -> impl Strategy<Value = SocketAddr> {
        let ip = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
        ];
        (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    fn wrap(form: &Encapsulation, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; form.prefix_len()];
        assert!(form.write_prefix(payload.len(), &mut out));
        out.extend_from_slice(payload);
        out.resize(form.wire_len(payload.len()), 0);
        out
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let peer = SocketAddr::from(([192, 0, 2, 1], 1));
        let indication = Encapsulation::send(peer, TransactionId([0; 12]));
        let channel = Encapsulation::channel(0x4000, true);
        for (form, prefix_len, longest) in [(indication, 36, 65_516), (channel, 4, 65_535)] {
            assert_eq!(form.prefix_len(), prefix_len);
            let mut out = vec![0; prefix_len];
            assert!(form.write_prefix(longest, &mut out));
            assert!(!form.write_prefix(longest + 1, &mut out));
            assert!(!form.write_prefix(usize::MAX / 2, &mut out));
            out.pop();
            assert!(!form.write_prefix(0, &mut out));
        }
    }

    proptest! {
        #[test]
        fn indications_are_read_as_written(
            peer in address(),
            id in any::<[u8; 12]>(),
            payload in prop::collection::vec(any::<u8>(), 0..100),
            is_send in any::<bool>(),
        ) {
            let typ = if is_send { SEND_INDICATION } else { DATA_INDICATION };
            let datagram = wrap(&Encapsulation::indication(typ, peer, TransactionId(id)), &payload);
            let message = Message::parse(&datagram).unwrap();
            prop_assert_eq!(message.class(), Class::Indication);
            prop_assert_eq!(message.method() == Method::SEND, is_send);
            prop_assert!(is_data(message.method()));
            prop_assert_eq!(message.transaction_id(), TransactionId(id));
            let indication = Indication::of(&message, &datagram).unwrap();
            prop_assert_eq!(indication.peer, peer);
            prop_assert_eq!(&datagram[indication.payload.unwrap()], &payload[..]);
        }

        #[test]
        fn channel_data_is_read_as_written(
            number in CHANNEL_NUMBERS,
            stream in any::<bool>(),
            payload in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut datagram = wrap(&Encapsulation::channel(number, stream), &payload);
            let (found, range) = channel_data(&datagram).unwrap();
            prop_assert_eq!((found, &datagram[range]), (number, &payload[..]));
            prop_assert!(!stream || datagram.len().is_multiple_of(4));
            datagram.truncate(CHANNEL_HEADER_LEN + payload.len().saturating_sub(1));
            prop_assert_eq!(channel_data(&datagram).is_none(), !payload.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            datagram in prop::collection::vec(any::<u8>(), 0..100),
            peer in address(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            if let Some((number, range)) = channel_data(&datagram) {
                prop_assert!(CHANNEL_NUMBERS.contains(&number) && range.end <= datagram.len());
            }
            let form = Encapsulation::send(peer, TransactionId([7; 12]));
            let mut datagram = wrap(&form, &datagram);
            let position = at.index(datagram.len());
            datagram[position] = byte;
            if let Ok(message) = Message::parse(&datagram)
                && let Some(Indication { payload: Some(range), .. }) = Indication::of(&message, &datagram)
            {
                prop_assert!(datagram.get(range).is_some());
            }
        }
    }
}
