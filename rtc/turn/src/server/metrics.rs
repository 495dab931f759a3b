/// Packets and bytes of payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of payload, without anything around it.
    pub bytes: u64,
}

/// Counters of a [`Server`](crate::server::Server) since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Allocations made.
    pub allocations_created: u64,
    /// Allocations that ended, for any reason.
    pub allocations_ended: u64,
    /// Of these, allocations that ran out.
    pub allocations_expired: u64,
    /// Relayed to peers.
    pub to_peers: Traffic,
    /// Relayed to clients.
    pub to_clients: Traffic,
    /// Binding requests answered.
    pub bindings: u64,
    /// Requests refused, by their reason.
    pub refused: Refused,
    /// Messages dropped without an answer, by their reason.
    pub dropped: Dropped,
}

/// Requests that a server refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Challenges to requests without credentials, as every client sends first (401).
    pub challenges: u64,
    /// Requests with wrong credentials (401).
    pub bad_credentials: u64,
    /// Requests with a nonce that is too old or not ours (438).
    pub stale_nonce: u64,
    /// Requests that are not well-formed (400) or have unknown attributes (420).
    pub bad_request: u64,
    /// Peers that may not be reached (403).
    pub forbidden: u64,
    /// Requests that do not fit the allocations there are (437, 441).
    pub mismatch: u64,
    /// Address families and transports that are not offered (440, 442, 443).
    pub unsupported: u64,
    /// Users with too many allocations (486).
    pub quota: u64,
    /// Everything for which there is no room (508).
    pub capacity: u64,
}

/// Messages that a server dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Neither STUN nor ChannelData.
    pub unrecognized: u64,
    /// Malformed STUN messages, ChannelData or indications.
    pub malformed: u64,
    /// Responses, and requests and indications of unknown methods.
    pub unexpected: u64,
    /// Data of clients without an allocation.
    pub no_allocation: u64,
    /// ChannelData of a channel that is not bound.
    pub unknown_channel: u64,
    /// Data to or from a peer without permission, or to an own address that is no relay.
    pub no_permission: u64,
    /// Datagrams at a relay that is not, or no longer, there.
    pub unknown_relay: u64,
    /// Data beyond the bandwidth of an allocation.
    pub bandwidth: u64,
    /// Responses not sent, because the address had too many for requests without credentials.
    pub throttled: u64,
    /// Responses that found no room.
    pub no_room: u64,
}
