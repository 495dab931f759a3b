//! What a connection asks of whoever drives it: names, sockets and streams.

use std::net::{IpAddr, SocketAddr};

/// Names a request of one connection, for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RTCRequestId(pub(crate) u32);

/// Something that only the outside can do.
///
/// [`RTCPeerConnection::poll_request`](super::RTCPeerConnection::poll_request) gives them, and
/// [`RTCPeerConnection::handle_answer`](super::RTCPeerConnection::handle_answer) takes what came of
/// them. A request that nobody answers fails after some seconds; a connection without STUN and TURN
/// servers makes none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RTCRequest {
    /// Look up the IP addresses of a host, of both families. The answer is
    /// [`Addresses`](RTCAnswer::Addresses), in order of preference.
    ResolveHost {
        /// Its name.
        id: RTCRequestId,
        /// The host.
        host: String,
    },
    /// Look up a name under `.local` by multicast DNS
    /// (draft-ietf-mmusic-mdns-ice-candidates), never elsewhere. The answer is
    /// [`Addresses`](RTCAnswer::Addresses).
    ResolveMulticast {
        /// Its name.
        id: RTCRequestId,
        /// The name, ending in `.local`.
        host: String,
    },
    /// Answer questions of multicast DNS for this name with this address, until
    /// [`WithdrawMulticast`](Self::WithdrawMulticast) or the end of the connection. There is no answer.
    AnnounceMulticast {
        /// The name, ending in `.local`.
        host: String,
        /// Its address.
        ip: IpAddr,
    },
    /// Answer for the name no more. There is no answer.
    WithdrawMulticast {
        /// The name.
        host: String,
    },
    /// Bind one more UDP socket to a free port of this address, for this connection alone. The answer is
    /// [`Bound`](RTCAnswer::Bound). What arrives there is to be given to the connection; the socket is
    /// no interface and must not be told as one.
    BindSocket {
        /// Its name.
        id: RTCRequestId,
        /// The local address.
        ip: IpAddr,
    },
    /// Close a socket that was bound by request. There is no answer.
    CloseSocket {
        /// Its address.
        local_addr: SocketAddr,
    },
    /// Open a TCP stream. The answer is [`Opened`](RTCAnswer::Opened). From then on datagrams of
    /// [`TransportProtocol::TCP`](rtc_shared::TransportProtocol::TCP) with its two addresses as path
    /// are its messages.
    OpenStream {
        /// Its name.
        id: RTCRequestId,
        /// Where to connect from. Port 0 takes a free one.
        local_addr: SocketAddr,
        /// Where to connect to.
        peer_addr: SocketAddr,
        /// What is spoken on it.
        kind: RTCStreamKind,
    },
    /// Close a stream, once what was sent has gone out. There is no answer.
    CloseStream {
        /// Its name.
        id: RTCRequestId,
    },
}

/// What is spoken on a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RTCStreamKind {
    /// STUN and ChannelData, which say how long they are (RFC 8656 section 12.5):
    /// [`StreamSplitter`](rtc_turn::StreamSplitter) cuts what arrives, what is sent goes out as it is.
    Turn {
        /// TLS, with a certificate of this host; `None` is plain TCP.
        tls: Option<String>,
    },
    /// Each message behind its length in 16 bits (RFC 4571): ICE over TCP (RFC 6544).
    Framed,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RTCAnswer {
    /// The host has these addresses.
    Addresses(Vec<IpAddr>),
    /// A socket is bound at this address.
    Bound(SocketAddr),
    /// A stream is open between these addresses, TLS included.
    Opened {
        /// Our end.
        local_addr: SocketAddr,
        /// The other end.
        peer_addr: SocketAddr,
    },
    /// It cannot be done; the text is for people. Told of a socket or stream that was there before,
    /// it has come to its end.
    Failed(String),
}
