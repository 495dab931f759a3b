use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use rtc_turn::Credentials;

use super::url::{Host, ServerUrl};
use crate::peer_connection::configuration::RTCIceServer;
use crate::peer_connection::request::RTCRequestId;

/// A server by one URL, with what it needs to know of us. Does not change; another password makes it
/// another one.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: ServerUrl,
    pub(super) credentials: Option<Credentials>,
}

/// A server in use, and where it is.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) server: std::sync::Arc<Server>,
    pub(super) place: Place,
    /// It was told that no local address reaches it.
    pub(super) is_out_of_reach: bool,
}

#[derive(Debug)]
pub(super) enum Place {
    /// Nobody has asked yet.
    Unknown,
    /// The name is being looked up, until then at the longest.
    Asked(RTCRequestId, Instant),
    /// Its addresses, in order of preference.
    Known(Vec<IpAddr>),
    /// The name has no address that is known.
    Nowhere,
}

impl Server {
    pub(super) fn all(servers: &[RTCIceServer]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for server in servers {
            let credentials = (!server.username.is_empty())
                .then(|| Credentials::new(&server.username, &server.credential));
            for url in &server.urls {
                let Ok(url) = ServerUrl::parse(url) else {
                    continue;
                };
                let server = Self {
                    url,
                    credentials: credentials.clone(),
                };
                if all.len() < MAX_SERVERS && !all.iter().any(|known| known.is_same(&server)) {
                    all.push(server);
                }
            }
        }
        all
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        let words = |server: &Self| {
            let credentials = server.credentials.as_ref();
            credentials.map(|it| (it.username().to_owned(), it.password().to_owned()))
        };
        self.url == other.url && words(self) == words(other)
    }

    /// The addresses at which it can be reached from `base`.
    pub(super) fn reachable(&self, base: SocketAddr, ips: &[IpAddr]) -> Vec<SocketAddr> {
        let reaches = |ip: &&IpAddr| {
            let fits = match (base.ip(), ip) {
                (IpAddr::V4(base), IpAddr::V4(ip)) => {
                    base.is_link_local() == ip.is_link_local() || !base.is_link_local()
                }
                (IpAddr::V6(base), IpAddr::V6(ip)) => {
                    base.is_unicast_link_local() == ip.is_unicast_link_local()
                }
                _ => false,
            };
            fits && base.ip().is_loopback() == ip.is_loopback() && !ip.is_unspecified()
        };
        let found = ips.iter().filter(reaches).take(MAX_ADDRESSES);
        found
            .map(|ip| SocketAddr::new(*ip, self.url.port))
            .collect()
    }
}

impl Entry {
    pub(super) fn new(server: Server) -> Self {
        let place = match server.url.host {
            Host::Ip(ip) => Place::Known(vec![ip]),
            Host::Name(_) => Place::Unknown,
        };
        Self {
            server: std::sync::Arc::new(server),
            place,
            is_out_of_reach: false,
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self.place, Place::Unknown | Place::Asked(..))
    }
}

/// Servers in one configuration; each costs a transaction per interface.
const MAX_SERVERS: usize = 16;
/// Addresses of one server that are tried.
const MAX_ADDRESSES: usize = 4;
