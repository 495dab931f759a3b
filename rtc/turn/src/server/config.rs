use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::server::PeerFilter;

/// Configuration of a [`Server`](crate::server::Server).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// REALM, by which clients choose their credentials; at most 763 bytes.
    pub realm: String,
    /// SOFTWARE in responses.
    pub software: Option<String>,
    /// Lifetime of an allocation whose client asks for less, or for none.
    pub default_lifetime: Duration,
    /// Longest lifetime that a client gets.
    pub max_lifetime: Duration,
    /// After this time a client has to take a new nonce.
    pub nonce_lifetime: Duration,
    /// Offers IPv4 relayed addresses.
    pub ipv4: bool,
    /// Offers IPv6 relayed addresses.
    pub ipv6: bool,
    /// Offers SHA-256 for the password beside MD5 (RFC 8489 section 9.2).
    pub password_algorithms: bool,
    /// Most allocations at a time; together with the next two it bounds the memory.
    pub max_allocations: usize,
    /// Most permissions of one allocation.
    pub max_permissions: usize,
    /// Most channels of one allocation.
    pub max_channels: usize,
    /// Most allocations of one user at a time.
    pub max_allocations_per_user: u32,
    /// Bytes of payload per second that one allocation may relay each way, with one second's worth at
    /// once; what is more is dropped.
    pub bandwidth: Option<NonZeroU64>,
    /// Responses per second over UDP to one address (IPv6: one /64) for requests without valid
    /// credentials, so that the server is of no use for reflection.
    pub unauthenticated_rate: Option<NonZeroU32>,
    /// Addresses of this host beside those that relays and clients show. At these a peer is only
    /// reached when it is a relay of this server.
    pub own_addresses: Vec<IpAddr>,
    /// Which peers may be reached.
    pub peers: PeerFilter,
    /// How long the owner may take to bind the socket of a relay.
    pub relay_timeout: Duration,
    /// Most messages that wait for [`poll_transmit`](crate::server::Server::poll_transmit).
    pub max_outgoing: usize,
}

impl ServerConfig {
    /// The default configuration of a realm.
    #[must_use]
    pub fn new(realm: &str) -> Self {
        Self {
            realm: realm.to_owned(),
            software: None,
            default_lifetime: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(3600),
            nonce_lifetime: Duration::from_secs(3600),
            ipv4: true,
            ipv6: true,
            password_algorithms: true,
            max_allocations: 10_000,
            max_permissions: 128,
            max_channels: 128,
            max_allocations_per_user: 100,
            bandwidth: None,
            unauthenticated_rate: NonZeroU32::new(100),
            own_addresses: Vec::new(),
            peers: PeerFilter::default(),
            relay_timeout: Duration::from_secs(10),
            max_outgoing: 4096,
        }
    }

    /// Brings times within what a clock can count.
    pub(super) fn sanitized(mut self) -> Self {
        for time in [
            &mut self.default_lifetime,
            &mut self.max_lifetime,
            &mut self.nonce_lifetime,
        ] {
            *time = (*time).clamp(Duration::from_secs(1), YEAR);
        }
        self.relay_timeout = self.relay_timeout.clamp(Duration::from_millis(1), YEAR);
        self.max_lifetime = self.max_lifetime.max(self.default_lifetime);
        self
    }
}

const YEAR: Duration = Duration::from_secs(365 * 86_400);
