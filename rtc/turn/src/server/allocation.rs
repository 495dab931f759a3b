use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_shared::FiveTuple;
use rtc_stun::{AddressFamily, TransactionId};

use super::guard::Signer;
use super::metrics::Traffic;

/// What one client has on the server.
pub(super) struct Allocation {
    pub(super) client: FiveTuple,
    pub(super) username: Arc<str>,
    /// The Allocate request that made it, by which its repetitions are known.
    pub(super) transaction: TransactionId,
    /// By the index of [`index_of`].
    pub(super) relays: [Relay; 2],
    /// While relays are being bound: what the response will need.
    pub(super) pending: Option<Pending>,
    /// What the Allocate response said.
    pub(super) lifetime: Duration,
    permissions: BTreeMap<IpAddr, Instant>,
    channels: BTreeMap<u16, Channel>,
    numbers: BTreeMap<SocketAddr, u16>,
    pub(super) to_peers: Flow,
    pub(super) to_client: Flow,
}

pub(super) struct Pending {
    pub(super) signer: Signer,
    pub(super) even_port: bool,
    pub(super) until: Instant,
}

/// The relayed address of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relay {
    /// Never asked for, or deleted.
    None,
    /// The owner is binding it.
    Asked,
    Bound {
        address: SocketAddr,
        expires: Instant,
    },
    /// Asked for and not to be had, for the reason of this code.
    Refused(u16),
}

#[derive(Clone, Copy)]
struct Channel {
    peer: SocketAddr,
    expires: Instant,
}

/// Data one way.
pub(super) struct Flow {
    pub(super) traffic: Traffic,
    /// Bytes that may still pass, and since when they were counted.
    credit: Option<(u64, Instant)>,
}

impl Allocation {
    pub(super) fn new(
        client: FiveTuple,
        username: Arc<str>,
        transaction: TransactionId,
        pending: Pending,
        lifetime: Duration,
    ) -> Self {
        let flow = || Flow {
            traffic: Traffic::default(),
            credit: None,
        };
        Self {
            client,
            username,
            transaction,
            relays: [Relay::None; 2],
            pending: Some(pending),
            lifetime,
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
            numbers: BTreeMap::new(),
            to_peers: flow(),
            to_client: flow(),
        }
    }

    pub(super) fn relay_mut(&mut self, family: AddressFamily) -> Option<&mut Relay> {
        self.relays.get_mut(index_of(family))
    }

    /// The relayed address of a family, if it is there and has not run out.
    pub(super) fn relayed(&self, family: AddressFamily, now: Instant) -> Option<SocketAddr> {
        match self.relays.get(index_of(family)) {
            Some(&Relay::Bound { address, expires }) if expires > now => Some(address),
            _ => None,
        }
    }

    /// True when a relayed address of any family is there.
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        FAMILIES
            .iter()
            .any(|&family| self.relayed(family, now).is_some())
    }

    /// When the next thing runs out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let expires = self.relays.iter().filter_map(|relay| match relay {
            Relay::Bound { expires, .. } => Some(*expires),
            _ => None,
        });
        let pending = self.pending.as_ref().map(|pending| pending.until);
        pending.or_else(|| expires.min())
    }

    pub(super) fn is_permitted(&self, peer: IpAddr, now: Instant) -> bool {
        self.permissions
            .get(&peer)
            .is_some_and(|&expires| expires > now)
    }

    /// Installs permissions, or prolongs them; all or, when there is no room, none.
    pub(super) fn permit(&mut self, peers: &[IpAddr], max: usize, now: Instant) -> bool {
        let fits = |permissions: &BTreeMap<IpAddr, Instant>| {
            let new = peers.iter().filter(|peer| !permissions.contains_key(peer));
            new.count() + permissions.len() <= max
        };
        if !fits(&self.permissions) {
            self.permissions.retain(|_, expires| *expires > now);
            if !fits(&self.permissions) {
                return false;
            }
        }
        for &peer in peers {
            self.permissions.insert(peer, now + PERMISSION_LIFETIME);
        }
        true
    }

    /// The number of the channel to a peer.
    pub(super) fn number_of(&self, peer: &SocketAddr, now: Instant) -> Option<u16> {
        let number = *self.numbers.get(peer)?;
        self.channels
            .get(&number)
            .filter(|channel| channel.expires > now)
            .map(|_| number)
    }

    /// The peer of a channel.
    pub(super) fn peer_of(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        let channel = self.channels.get(&number)?;
        (channel.expires > now).then_some(channel.peer)
    }

    /// Binds a channel, or prolongs it. The caller knows that neither is bound to another.
    pub(super) fn bind(&mut self, number: u16, peer: SocketAddr, max: usize, now: Instant) -> bool {
        if self.channels.len() >= max && !self.channels.contains_key(&number) {
            self.channels.retain(|_, channel| channel.expires > now);
            let channels = &self.channels;
            self.numbers
                .retain(|_, number| channels.contains_key(number));
            if self.channels.len() >= max {
                return false;
            }
        }
        let expires = now + CHANNEL_LIFETIME;
        if let Some(old) = self.channels.insert(number, Channel { peer, expires })
            && old.peer != peer
        {
            self.numbers.remove(&old.peer);
        }
        if let Some(old) = self.numbers.insert(peer, number)
            && old != number
        {
            self.channels.remove(&old);
        }
        true
    }
}

impl Flow {
    /// True when so many bytes may pass now, and counts them.
    pub(super) fn admits(&mut self, bytes: usize, rate: Option<NonZeroU64>, now: Instant) -> bool {
        let bytes = bytes as u64;
        if let Some(rate) = rate {
            let full = rate.get().max(MIN_BURST);
            let (credit, since) = self.credit.unwrap_or((full, now));
            let elapsed = now.saturating_duration_since(since).as_micros();
            let earned = u128::from(rate.get()) * elapsed / 1_000_000;
            let credit = u128::from(credit).saturating_add(earned).min(full.into()) as u64;
            // What is earned in part stays to be earned: the clock moves only when something was.
            let since = if earned > 0 { now } else { since };
            if credit < bytes {
                self.credit = Some((credit, since));
                return false;
            }
            self.credit = Some((credit - bytes, since));
        }
        self.traffic.packets += 1;
        self.traffic.bytes += bytes;
        true
    }
}

/// Where the relay of a family stands.
pub(super) fn index_of(family: AddressFamily) -> usize {
    match family {
        AddressFamily::Ipv4 => 0,
        AddressFamily::Ipv6 => 1,
    }
}

pub(super) const FAMILIES: [AddressFamily; 2] = [AddressFamily::Ipv4, AddressFamily::Ipv6];
const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// The longest datagram passes at any rate.
const MIN_BURST: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the origin of a test"
    )]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_flow_keeps_to_its_rate() {
        let start = origin();
        let rate = NonZeroU64::new(100_000);
        let mut flow = Flow {
            traffic: Traffic::default(),
            credit: None,
        };
        let mut now = start;
        // A packet of 1000 bytes each millisecond is ten times the rate.
        for _ in 0..10_000 {
            flow.admits(1000, rate, now);
            now += Duration::from_millis(1);
        }
        let expected = 100_000 + 10 * 100_000;
        assert!(
            flow.traffic.bytes.abs_diff(expected) <= 2000,
            "{}",
            flow.traffic.bytes
        );
        assert!(flow.admits(1_000_000, None, now));
    }
}
