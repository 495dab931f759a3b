use std::time::Duration;

use thiserror::Error;

use crate::Credentials;

/// How an agent behaves; every default is that of the RFC or, where it leaves room, of libwebrtc.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentConfig {
    /// Be an ICE-lite agent: answer checks and send none (RFC 8445 section 2.5). Off.
    pub lite: bool,
    /// Use relayed candidates alone, on our side; nothing else is signalled, sent from or answered
    /// on. Off.
    pub relay_only: bool,
    /// Ta, the time between two new checks of the agent; at least 5 ms (RFC 8445 section 14.2).
    /// 50 ms.
    pub ta: Duration,
    /// First retransmission of a check. RFC 8445 section 14.3 says 500 ms; browsers use 250 ms, which
    /// halves what one lost check costs. Grows to Ta times the number of checks under way.
    pub rto_min: Duration,
    /// Bound of the doubled retransmission time. 8 s.
    pub rto_max: Duration,
    /// How often a check is sent before its pair fails, at least 1. The wait after the last is 16
    /// times `rto_min` (RFC 8489 section 6.2.1). 9, which takes 36 s.
    pub max_transmissions: u8,
    /// How long the controlling agent waits for a better pair than the valid one before it nominates
    /// that. Data flows meanwhile. 200 ms.
    pub nomination_wait: Duration,
    /// Nominate again when a pair becomes valid that avoids a relay which the nominated one uses. On.
    pub renomination: bool,
    /// Without an answer for this long, though asked, the agent is disconnected; halfway it tries
    /// other pairs. 5 s.
    pub disconnected_timeout: Duration,
    /// Consent expires this long after the last answer, and with it the connection fails (RFC 7675
    /// section 5.1). 30 s.
    pub failed_timeout: Duration,
    /// Mean time between consent requests; each is varied by a factor of 0.8 to 1.2 (RFC 7675 section
    /// 5.1). 5 s.
    pub consent_interval: Duration,
    /// How long to wait for a first pair before failing, though none is left to try (RFC 8863 section
    /// 4). 39.5 s.
    pub patience: Duration,
    /// How long a generation that was replaced by a restart still takes data once the new one has a
    /// pair; at least 3 s (RFC 8445 section 8.3.1). 10 s.
    pub restart_linger: Duration,
    /// Most candidates that are taken from the peer's signalling, per generation. 64.
    pub max_remote_candidates: usize,
    /// Most peer-reflexive candidates learned from checks, per generation. 16.
    pub max_peer_reflexive: usize,
    /// Most pairs in the check list (RFC 8445 section 6.1.2.5). 100.
    pub max_pairs: usize,
    /// Length of the local user name fragment, 4 to 256 characters. 4.
    pub ufrag_length: usize,
    /// Length of the local password, 22 to 256 characters. 24.
    pub pwd_length: usize,
    /// Local credentials of the first generation instead of random ones.
    pub credentials: Option<Credentials>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            lite: false,
            relay_only: false,
            ta: Duration::from_millis(50),
            rto_min: Duration::from_millis(250),
            rto_max: Duration::from_secs(8),
            max_transmissions: 9,
            nomination_wait: Duration::from_millis(200),
            renomination: true,
            disconnected_timeout: Duration::from_secs(5),
            failed_timeout: Duration::from_secs(30),
            consent_interval: Duration::from_secs(5),
            patience: Duration::from_millis(39_500),
            restart_linger: Duration::from_secs(10),
            max_remote_candidates: 64,
            max_peer_reflexive: 16,
            max_pairs: 100,
            ufrag_length: 4,
            pwd_length: 24,
            credentials: None,
        }
    }
}

impl AgentConfig {
    /// Values that would break a guarantee are moved to the nearest that does not.
    pub(crate) fn sanitized(mut self) -> Self {
        let floor = |value: &mut Duration, min: u64| {
            *value = (*value).max(Duration::from_millis(min)).min(MAX_DURATION);
        };
        floor(&mut self.ta, 5);
        floor(&mut self.rto_min, 10);
        self.rto_max = self.rto_max.max(self.rto_min);
        floor(&mut self.rto_max, 10);
        floor(&mut self.nomination_wait, 0);
        floor(&mut self.disconnected_timeout, 100);
        floor(&mut self.failed_timeout, 200);
        floor(&mut self.consent_interval, 100);
        floor(&mut self.patience, 0);
        floor(&mut self.restart_linger, 3_000);
        self.max_transmissions = self.max_transmissions.max(1);
        self.max_pairs = self.max_pairs.max(1);
        self
    }
}

/// A week: far beyond any use, and far from overflowing an instant.
const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why an agent refuses what its owner asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The agent is closed.
    #[error("agent is closed")]
    Closed,
    /// The cryptographic provider has no HMAC-SHA1.
    #[error("cryptographic provider has no HMAC-SHA1")]
    UnsupportedCrypto,
    /// Credentials have a wrong length or wrong characters.
    #[error("ICE credentials have a wrong length or characters")]
    InvalidCredentials,
    /// Of user name fragment and password only one differs from before; a restart changes both (RFC
    /// 8839 section 4.4.1.1.1).
    #[error("only one of ICE user name fragment and password changed")]
    PartialRestart,
    /// The candidate has a name that has to be resolved first; see
    /// [`Candidate::resolved`](crate::Candidate::resolved).
    #[error("candidate has a name that is to be resolved first")]
    UnresolvedName,
    /// The candidate belongs to a user name fragment that is not the peer's.
    #[error("candidate belongs to an unknown user name fragment")]
    UnknownUfrag,
    /// The candidate is of another component, or of an address that nothing can be sent to. It may be
    /// ignored.
    #[error("candidate cannot be used")]
    UnusableCandidate,
    /// The peer has given as many candidates as are taken.
    #[error("too many remote candidates")]
    TooManyCandidates,
}
