use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use bytes::BytesMut;

/// Explicit congestion notification codepoint of an IP packet (RFC 3168 section 5).
///
/// Not-ECT (`0b00`) is `None` wherever an `Option<EcnCodepoint>` stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EcnCodepoint {
    /// ECT(0), the sender is ECN-capable.
    Ect0 = 0b10,
    /// ECT(1), the sender is L4S-capable (RFC 9331).
    Ect1 = 0b01,
    /// Congestion experienced.
    Ce = 0b11,
}

impl EcnCodepoint {
    /// Reads the low two bits of an IP traffic class; `None` for not-ECT.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0b11 {
            0b10 => Some(Self::Ect0),
            0b01 => Some(Self::Ect1),
            0b11 => Some(Self::Ce),
            _ => None,
        }
    }
}

/// The transport below ICE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransportProtocol {
    /// Datagrams over UDP.
    #[default]
    UDP,
    /// Datagrams framed on TCP (RFC 4571).
    TCP,
}

/// The path of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransportContext {
    /// Address of our socket; for a received datagram the address it was sent to.
    pub local_addr: SocketAddr,
    /// Address of the peer.
    pub peer_addr: SocketAddr,
    /// Transport protocol.
    pub transport_protocol: TransportProtocol,
    /// ECN mark of the IP packet, received or to send.
    pub ecn: Option<EcnCodepoint>,
}

impl Default for TransportContext {
    fn default() -> Self {
        let unspecified = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self {
            local_addr: unspecified,
            peer_addr: unspecified,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        }
    }
}

impl TransportContext {
    /// The path without its ECN mark.
    #[must_use]
    pub fn five_tuple(&self) -> FiveTuple {
        FiveTuple {
            local_addr: self.local_addr,
            peer_addr: self.peer_addr,
            transport_protocol: self.transport_protocol,
        }
    }
}

/// A message with its path and the time at which it was received or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportMessage<T> {
    /// When the message was received, or is to be sent.
    pub now: Instant,
    /// Its path.
    pub transport: TransportContext,
    /// Its content.
    pub message: T,
}

/// One datagram.
pub type TaggedBytesMut = TransportMessage<BytesMut>;

/// One text message with its path.
pub type TaggedString = TransportMessage<String>;

/// Both addresses of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourTuple {
    /// Our address.
    pub local_addr: SocketAddr,
    /// The peer's address.
    pub peer_addr: SocketAddr,
}

/// Both addresses of a path and its transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FiveTuple {
    /// Our address.
    pub local_addr: SocketAddr,
    /// The peer's address.
    pub peer_addr: SocketAddr,
    /// Transport protocol.
    pub transport_protocol: TransportProtocol,
}

impl FiveTuple {
    /// The path as a [`TransportContext`] with the given ECN mark.
    #[must_use]
    pub fn context(&self, ecn: Option<EcnCodepoint>) -> TransportContext {
        TransportContext {
            local_addr: self.local_addr,
            peer_addr: self.peer_addr,
            transport_protocol: self.transport_protocol,
            ecn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecn_bits_round_trip() {
        for codepoint in [EcnCodepoint::Ect0, EcnCodepoint::Ect1, EcnCodepoint::Ce] {
            assert_eq!(EcnCodepoint::from_bits(codepoint as u8), Some(codepoint));
        }
        assert_eq!(EcnCodepoint::from_bits(0b100), None);
    }
}
