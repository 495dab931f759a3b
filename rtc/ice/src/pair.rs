use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtc_shared::{FiveTuple, TransportProtocol};

use crate::{Candidate, CandidateType, Role, TcpType};

/// State of a pair in the check list (RFC 8445 section 6.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PairState {
    /// Not checked yet, and a pair of the same foundation is tried first.
    Frozen,
    /// Not checked yet, or to be checked again.
    Waiting,
    /// A check is under way.
    InProgress,
    /// A check was answered.
    Succeeded,
    /// No check was answered.
    Failed,
}

impl PairState {
    /// The name in the W3C statistics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Waiting => "waiting",
            Self::InProgress => "in-progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// A local and a remote candidate, and what is known of the path between them.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) id: u32,
    /// The local candidate: that of the base until the peer has told which one it sees.
    pub(crate) local: u32,
    pub(crate) remote: u32,
    pub(crate) path: FiveTuple,
    /// Hash of both foundations.
    pub(crate) foundation: u64,
    pub(crate) priority: u64,
    pub(crate) state: PairState,
    /// A check was answered and consent has not expired. Stays while the pair is checked again.
    pub(crate) valid: bool,
    pub(crate) nominated: bool,
    /// Controlled: the peer nominated the pair before it was valid.
    pub(crate) nominate_on_success: bool,
    /// Controlled: when the peer last nominated the pair, and its count of nominations.
    pub(crate) nominated_at: Option<Instant>,
    pub(crate) nomination: u32,
    /// Last authentic success response, from which consent is counted.
    pub(crate) answered_at: Option<Instant>,
    /// Last authentic message of any kind since the pair failed.
    pub(crate) heard_at: Option<Instant>,
    /// When the first request was sent that was followed by no answer.
    pub(crate) unanswered_since: Option<Instant>,
    pub(crate) counters: Counters,
}

/// What the statistics want of a pair.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests_sent: u64,
    pub(crate) requests_received: u64,
    pub(crate) responses_sent: u64,
    pub(crate) responses_received: u64,
    pub(crate) consent_requests_sent: u64,
    pub(crate) round_trip_time: Option<Duration>,
    pub(crate) total_round_trip_time: Duration,
}

impl Pair {
    /// A pair whose path starts at the base of `local`; `None` when a candidate has no address.
    pub(crate) fn new(id: u32, local: &Candidate, remote: &Candidate, role: Role) -> Option<Self> {
        Some(Self {
            id,
            local: local.id,
            remote: remote.id,
            path: FiveTuple {
                local_addr: local.base()?,
                peer_addr: remote.socket_addr()?,
                transport_protocol: local.transport,
            },
            foundation: foundation(local, remote),
            priority: priority(role, local.priority, remote.priority),
            state: PairState::Frozen,
            valid: false,
            nominated: false,
            nominate_on_success: false,
            nominated_at: None,
            nomination: 0,
            answered_at: None,
            heard_at: None,
            unanswered_since: None,
            counters: Counters::default(),
        })
    }

    /// Takes over changed candidates.
    pub(crate) fn rank(&mut self, local: &Candidate, remote: &Candidate, role: Role) {
        self.local = local.id;
        self.foundation = foundation(local, remote);
        self.priority = priority(role, local.priority, remote.priority);
    }

    /// True while a check is to come or under way.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(
            self.state,
            PairState::Frozen | PairState::Waiting | PairState::InProgress
        )
    }

    /// Ends the pair until it is checked anew.
    pub(crate) fn fail(&mut self) {
        self.state = PairState::Failed;
        self.valid = false;
        self.nominated = false;
        self.nominate_on_success = false;
        self.unanswered_since = None;
        self.heard_at = None;
    }

    /// True when data may be taken from its path.
    pub(crate) fn is_accepted(&self) -> bool {
        self.valid || self.heard_at.is_some()
    }

    /// How long requests have gone without an answer.
    pub(crate) fn unanswered_for(&self, now: Instant) -> Duration {
        self.unanswered_since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// How long the pair has been silent though it was asked.
    pub(crate) fn silent_for(&self, now: Instant) -> Duration {
        self.silent_since()
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The time from which silence counts: the first request without an answer, or a later check of
    /// the peer, which is a sign of life too.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        let asked = self.unanswered_since?;
        Some(self.heard_at.map_or(asked, |heard| heard.max(asked)))
    }
}

/// Pair priority (RFC 8445 section 6.1.2.3).
pub(crate) fn priority(role: Role, local: u32, remote: u32) -> u64 {
    let (controlling, controlled) = match role {
        Role::Controlling => (local, remote),
        Role::Controlled => (remote, local),
    };
    let min = u64::from(controlling.min(controlled));
    let max = u64::from(controlling.max(controlled));
    // The grammar allows 31 bits, with which this cannot overflow.
    (min << 32).saturating_add(2 * max + u64::from(controlling > controlled))
}

/// True when a check can go from one to the other (RFC 8445 section 6.1.2.2, RFC 6544 section 6.2).
///
/// A passive local candidate pairs with none: its pairs come to be when the peer connects.
pub(crate) fn can_pair(local: &Candidate, remote: &Candidate) -> bool {
    let (Some(base), Some(peer)) = (local.base(), remote.socket_addr()) else {
        return false;
    };
    let tcp_types_fit = match local.transport {
        TransportProtocol::UDP => true,
        TransportProtocol::TCP => matches!(
            (local.tcp_type, remote.tcp_type),
            (Some(TcpType::Active), Some(TcpType::Passive))
                | (
                    Some(TcpType::SimultaneousOpen),
                    Some(TcpType::SimultaneousOpen)
                )
        ),
    };
    local.component == remote.component
        && local.transport == remote.transport
        && tcp_types_fit
        && addresses_fit(base, peer)
}

/// Same family, and link-local addresses of IPv6 only among themselves (RFC 8445 section 6.1.2.2).
pub(crate) fn addresses_fit(base: SocketAddr, peer: SocketAddr) -> bool {
    match (base.ip(), peer.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => true,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.is_unicast_link_local() == b.is_unicast_link_local(),
        _ => false,
    }
}

/// True when no relay is in the path.
pub(crate) fn is_direct(local: &Candidate, remote: &Candidate) -> bool {
    local.typ != CandidateType::Relayed && remote.typ != CandidateType::Relayed
}

/// FNV-1a over both foundations. That two foundations may share a hash only changes the order of
/// checks.
fn foundation(local: &Candidate, remote: &Candidate) -> u64 {
    let bytes = local
        .foundation
        .bytes()
        .chain([b' '])
        .chain(remote.foundation.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_follows_the_formula_and_the_role() {
        let (high, low) = (2_130_706_431, 1_694_498_815);
        let expected = (u64::from(low) << 32) + 2 * u64::from(high);
        assert_eq!(priority(Role::Controlling, high, low), expected + 1);
        assert_eq!(priority(Role::Controlled, high, low), expected);
        assert_eq!(priority(Role::Controlled, low, high), expected + 1);
        assert_eq!(priority(Role::Controlling, u32::MAX, u32::MAX), u64::MAX);
    }

    fn host(address: &str) -> Candidate {
        Candidate::host(address.parse().unwrap(), TransportProtocol::UDP)
    }

    #[test]
    fn families_and_link_local_scopes_do_not_mix() {
        assert!(can_pair(&host("192.0.2.1:1"), &host("192.0.2.2:2")));
        assert!(!can_pair(&host("192.0.2.1:1"), &host("[2001:db8::1]:2")));
        assert!(can_pair(&host("[2001:db8::2]:1"), &host("[2001:db8::1]:2")));
        assert!(!can_pair(&host("[fe80::2]:1"), &host("[2001:db8::1]:2")));
        assert!(!can_pair(&host("[2001:db8::2]:1"), &host("[fe80::1]:2")));
        assert!(can_pair(&host("[fe80::2]:1"), &host("[fe80::1]:2")));
    }

    #[test]
    fn tcp_pairs_active_with_passive_and_simultaneous_with_its_like() {
        use TcpType::{Active, Passive, SimultaneousOpen};
        let tcp = |address: &str, tcp_type| {
            Candidate::host(address.parse().unwrap(), TransportProtocol::TCP)
                .with_tcp_type(tcp_type)
        };
        for (local, remote, fits) in [
            (Active, Passive, true),
            (SimultaneousOpen, SimultaneousOpen, true),
            (Passive, Active, false),
            (Active, Active, false),
            (Passive, Passive, false),
            (Active, SimultaneousOpen, false),
        ] {
            let pair = (tcp("192.0.2.1:9", local), tcp("192.0.2.2:7", remote));
            assert_eq!(can_pair(&pair.0, &pair.1), fits, "{local} {remote}");
        }
        assert!(!can_pair(
            &host("192.0.2.1:1"),
            &tcp("192.0.2.2:7", Passive)
        ));
    }
}
