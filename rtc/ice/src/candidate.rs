mod text;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use rtc_shared::TransportProtocol;
use thiserror::Error;

/// One address at which a peer may be reached (RFC 8445 section 5.1, RFC 8839 section 5.1).
///
/// Remote candidates are parsed from their text; local ones are made with [`host`](Self::host),
/// [`server_reflexive`](Self::server_reflexive) and [`relayed`](Self::relayed) and get foundation and
/// priority when they are given to an agent. `Display` writes the form that browsers exchange,
/// `candidate:…` without `a=`.
///
/// ```
/// use rtc_ice::{Candidate, CandidateType};
///
/// let text = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host generation 0 ufrag EEtu";
/// let candidate: Candidate = text.parse()?;
/// assert_eq!(candidate.typ, CandidateType::Host);
/// assert_eq!(candidate.ufrag.as_deref(), Some("EEtu"));
/// assert_eq!(candidate.to_string(), text);
/// # Ok::<(), rtc_ice::CandidateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// Groups candidates that are likely to work or fail together; 1 to 32 ICE characters.
    pub foundation: String,
    /// Component, 1 for RTP or everything multiplexed, 2 for RTCP.
    pub component: u16,
    /// Transport protocol.
    pub transport: TransportProtocol,
    /// Priority, higher is better, 1 to 2^31-1 (RFC 8445 section 5.1.2).
    pub priority: u32,
    /// Where the candidate is reached.
    pub address: CandidateAddress,
    /// How it was found.
    pub typ: CandidateType,
    /// `raddr` and `rport`: the base of a reflexive, the mapped address of a relayed candidate.
    pub related: Option<SocketAddr>,
    /// Who opens the connection, for TCP (RFC 6544 section 4.5).
    pub tcp_type: Option<TcpType>,
    /// Number of the ICE generation, as Chromium writes it.
    pub generation: Option<u32>,
    /// User name fragment of the generation to which the candidate belongs (RFC 8838 section 4).
    pub ufrag: Option<String>,
    /// URL of the server that gave a local candidate; never written.
    pub url: Option<String>,
    /// How the TURN server of a relayed local candidate is reached; never written.
    pub relay_protocol: Option<RelayProtocol>,
    /// Extension attributes that are kept and ignored, name and value, in their order.
    pub extensions: Vec<(String, String)>,
    pub(crate) id: u32,
    base: Option<SocketAddr>,
    server: Option<SocketAddr>,
    local_preference: Option<u16>,
    hostname: Option<String>,
}

/// The address of a candidate: known, or still behind an mDNS name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CandidateAddress {
    /// IP address and port.
    Ip(SocketAddr),
    /// A name under `.local` that has to be resolved first (draft-ietf-mmusic-mdns-ice-candidates).
    Mdns {
        /// The name, in lower case.
        name: String,
        /// The port.
        port: u16,
    },
}

/// How a candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CandidateType {
    /// Address of a local interface.
    Host,
    /// Address on the outside of a NAT, learned from a STUN server.
    ServerReflexive,
    /// Address on the outside of a NAT, learned from the peer's checks.
    PeerReflexive,
    /// Address on a TURN server.
    Relayed,
}

/// Which side opens a TCP connection (RFC 6544 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpType {
    /// Opens connections; its port is 9 and means nothing.
    Active,
    /// Accepts connections.
    Passive,
    /// Both sides open at once.
    SimultaneousOpen,
}

/// How a TURN server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelayProtocol {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

/// Why a text is not a usable candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CandidateError {
    /// The line does not follow the grammar; names the part that is wrong or missing.
    #[error("candidate line has an invalid {0}")]
    Syntax(&'static str),
    /// Well-formed, but of a transport other than UDP and TCP.
    #[error("candidate has an unknown transport")]
    UnknownTransport,
    /// Well-formed, but of an unknown type.
    #[error("candidate has an unknown type")]
    UnknownType,
    /// Well-formed, but TCP without a known `tcptype`.
    #[error("TCP candidate has no known tcptype")]
    UnknownTcpType,
    /// Well-formed, but with a host name that is not under `.local`, which is never looked up.
    #[error("candidate has a host name that is not resolved")]
    UnresolvableName,
}

impl CandidateError {
    /// True when the line is well-formed and has to be ignored without an error to the application
    /// (RFC 8839 section 5.1).
    #[must_use]
    pub fn is_ignorable(self) -> bool {
        !matches!(self, Self::Syntax(_))
    }
}

impl Candidate {
    /// A candidate on a local socket. Over TCP it is passive unless
    /// [`with_tcp_type`](Self::with_tcp_type) says otherwise.
    #[must_use]
    pub fn host(address: SocketAddr, transport: TransportProtocol) -> Self {
        let mut candidate = Self::new(CandidateType::Host, address, transport);
        candidate.base = Some(address);
        if transport == TransportProtocol::TCP {
            candidate.tcp_type = Some(TcpType::Passive);
        }
        candidate
    }

    /// A UDP candidate that a STUN server has seen for the socket `base`.
    #[must_use]
    pub fn server_reflexive(address: SocketAddr, base: SocketAddr) -> Self {
        let mut candidate = Self::new(
            CandidateType::ServerReflexive,
            address,
            TransportProtocol::UDP,
        );
        candidate.base = Some(base);
        candidate.related = Some(base);
        candidate
    }

    /// A UDP candidate on a TURN server. `mapped` is our address as the server sees it.
    ///
    /// Its base is the relayed address itself: datagrams that an agent sends from it have that as
    /// their local address, and the owner wraps them for the TURN server.
    #[must_use]
    pub fn relayed(address: SocketAddr, mapped: SocketAddr) -> Self {
        let mut candidate = Self::new(CandidateType::Relayed, address, TransportProtocol::UDP);
        candidate.base = Some(address);
        candidate.related = Some(mapped);
        candidate.relay_protocol = Some(RelayProtocol::Udp);
        candidate
    }

    /// A candidate that is known from a check alone.
    pub(crate) fn peer_reflexive(
        address: SocketAddr,
        transport: TransportProtocol,
        priority: u32,
    ) -> Self {
        let mut candidate = Self::new(CandidateType::PeerReflexive, address, transport);
        candidate.priority = priority;
        candidate
    }

    fn new(typ: CandidateType, address: SocketAddr, transport: TransportProtocol) -> Self {
        Self {
            foundation: String::new(),
            component: 1,
            transport,
            priority: 0,
            address: CandidateAddress::Ip(address),
            typ,
            related: None,
            tcp_type: None,
            generation: None,
            ufrag: None,
            url: None,
            relay_protocol: None,
            extensions: Vec::new(),
            id: 0,
            base: None,
            server: None,
            local_preference: None,
            hostname: None,
        }
    }

    /// Sets who opens the connection of a TCP candidate.
    #[must_use]
    pub fn with_tcp_type(mut self, tcp_type: TcpType) -> Self {
        self.tcp_type = Some(tcp_type);
        self
    }

    /// Sets the address from which the candidate sends and at which it receives, where that is not the
    /// signalled one: as for a server behind a one-to-one NAT, whose host candidate is the public
    /// address.
    #[must_use]
    pub fn with_base(mut self, base: SocketAddr) -> Self {
        self.base = Some(base);
        self
    }

    /// Sets the URL of the server that gave the candidate.
    #[must_use]
    pub fn with_url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Sets the address of the STUN or TURN server, which tells foundations apart.
    #[must_use]
    pub fn with_server(mut self, server: SocketAddr) -> Self {
        self.server = Some(server);
        self
    }

    /// Sets how the TURN server is reached, which also ranks relayed candidates.
    #[must_use]
    pub fn with_relay_protocol(mut self, protocol: RelayProtocol) -> Self {
        self.relay_protocol = Some(protocol);
        self
    }

    /// Sets the local preference instead of letting the agent interleave address families; higher is
    /// better (RFC 8445 section 5.1.2.1).
    #[must_use]
    pub fn with_local_preference(mut self, preference: u16) -> Self {
        self.local_preference = Some(preference);
        self
    }

    /// The candidate with the address of its mDNS name filled in; the name stays available as
    /// [`hostname`](Self::hostname), so that the address need not be shown.
    #[must_use]
    pub fn resolved(mut self, ip: IpAddr) -> Self {
        if let CandidateAddress::Mdns { name, port } = self.address {
            self.address = CandidateAddress::Ip(SocketAddr::new(ip, port));
            self.hostname = Some(name);
        }
        self
    }

    /// A copy to be signalled with an mDNS name instead of the address.
    #[must_use]
    pub fn obfuscated(&self, name: impl Into<String>) -> Self {
        let mut copy = self.clone();
        copy.address = CandidateAddress::Mdns {
            name: name.into(),
            port: self.port(),
        };
        copy.base = None;
        copy
    }

    /// Identifies the candidate within its agent, stable for its life; 0 before it is given to one.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// IP address and port, unless the name is unresolved.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.address {
            CandidateAddress::Ip(address) => Some(address),
            CandidateAddress::Mdns { .. } => None,
        }
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self.address {
            CandidateAddress::Ip(address) => address.port(),
            CandidateAddress::Mdns { port, .. } => port,
        }
    }

    /// The mDNS name that was, or has to be, resolved.
    #[must_use]
    pub fn hostname(&self) -> Option<&str> {
        match &self.address {
            CandidateAddress::Mdns { name, .. } => Some(name),
            CandidateAddress::Ip(_) => self.hostname.as_deref(),
        }
    }

    /// Address from which a local candidate sends (RFC 8445 section 5.1.1.2); `None` for a remote one.
    #[must_use]
    pub fn base(&self) -> Option<SocketAddr> {
        self.base
    }

    /// Address of the server that gave a local candidate.
    #[must_use]
    pub fn server(&self) -> Option<SocketAddr> {
        self.server
    }

    pub(crate) fn local_preference(&self) -> Option<u16> {
        self.local_preference
    }

    /// True for candidates that belong to one foundation (RFC 8445 section 5.1.1.3).
    pub(crate) fn shares_foundation(&self, other: &Self) -> bool {
        let ip = |candidate: &Self| candidate.base.map(|base| base.ip());
        self.typ == other.typ
            && self.transport == other.transport
            && self.tcp_type == other.tcp_type
            && self.server.map(|server| server.ip()) == other.server.map(|server| server.ip())
            && self.relay_protocol == other.relay_protocol
            && ip(self) == ip(other)
    }

    /// Priority for a local preference of 16 bits (RFC 8445 section 5.1.2.1).
    pub(crate) fn priority_for(&self, local_preference: u16) -> u32 {
        (self.type_preference() << 24)
            + (u32::from(local_preference) << 8)
            + (256 - u32::from(self.component.min(256)))
    }

    /// The priority it would have if the peer discovered it: what a check carries (RFC 8445 section
    /// 7.1.1).
    pub(crate) fn peer_reflexive_priority(&self) -> u32 {
        let preference = match self.transport {
            TransportProtocol::UDP => 110,
            TransportProtocol::TCP => 80,
        };
        (preference << 24) | (self.priority & 0x00ff_ffff)
    }

    /// The values of libwebrtc: TCP ranks below UDP of the same kind, a relay over UDP above one over
    /// TCP or TLS (RFC 8445 section 5.1.2.2 leaves them free).
    fn type_preference(&self) -> u32 {
        match (self.typ, self.transport) {
            (CandidateType::Host, TransportProtocol::UDP) => 126,
            (CandidateType::PeerReflexive, TransportProtocol::UDP) => 110,
            (CandidateType::ServerReflexive, TransportProtocol::UDP) => 100,
            (CandidateType::Host, TransportProtocol::TCP) => 90,
            (CandidateType::PeerReflexive, TransportProtocol::TCP) => 80,
            (CandidateType::ServerReflexive, TransportProtocol::TCP) => 70,
            (CandidateType::Relayed, _) => match self.relay_protocol {
                Some(RelayProtocol::Udp) => 2,
                Some(RelayProtocol::Tcp) => 1,
                Some(RelayProtocol::Tls) | None => 0,
            },
        }
    }
}

impl CandidateType {
    /// The token of the `typ` attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }
}

impl fmt::Display for CandidateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TcpType {
    /// The token of the `tcptype` attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::SimultaneousOpen => "so",
        }
    }
}

impl fmt::Display for TcpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl RelayProtocol {
    /// The value of the W3C member `relayProtocol`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}
