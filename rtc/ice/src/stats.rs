use std::time::Duration;

use rtc_shared::FiveTuple;

use crate::{Candidate, PairState};

/// Counters of an agent: what it dropped and why, and what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams that are no STUN message.
    pub malformed: u64,
    /// Messages of another method than Binding.
    pub unexpected_method: u64,
    /// Requests without FINGERPRINT, and messages whose FINGERPRINT is wrong.
    pub bad_fingerprint: u64,
    /// Requests without USERNAME or for a user name fragment that is not ours.
    pub unknown_username: u64,
    /// Messages whose MESSAGE-INTEGRITY is missing or wrong.
    pub bad_integrity: u64,
    /// Messages at a local address that is of no candidate.
    pub unknown_local_address: u64,
    /// Requests that came before by another path, on a path of no pair.
    pub replayed: u64,
    /// Authentic requests that lack an attribute or have unknown ones.
    pub bad_request: u64,
    /// Authentic requests of a remote user name fragment other than the signalled one; answered.
    pub other_remote_ufrag: u64,
    /// Responses that belong to no request.
    pub unmatched_response: u64,
    /// Responses that came from or to another address than the request's.
    pub wrong_path_response: u64,
    /// Authentic responses without a mapped address or error code.
    pub bad_response: u64,
    /// Peer-reflexive candidates, early checks and pairs that found no room.
    pub over_limit: u64,
    /// Binding indications, which only keep a path open.
    pub indications: u64,
    /// Role conflicts found by us or by the peer.
    pub role_conflicts: u64,
    /// Changes of the path on which data goes (`selectedCandidatePairChanges`).
    pub selected_path_changes: u64,
}

/// One pair of candidates, as the W3C statistics `candidate-pair` want it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PairStats<'a> {
    /// Identifies the pair within its agent, for its life.
    pub id: u32,
    /// The path of the pair; its local address is the base of the local candidate.
    pub path: FiveTuple,
    /// Our candidate.
    pub local: &'a Candidate,
    /// The peer's candidate.
    pub remote: &'a Candidate,
    /// State in the check list.
    pub state: PairState,
    /// Priority of the pair (RFC 8445 section 6.1.2.3).
    pub priority: u64,
    /// True once the pair is nominated.
    pub nominated: bool,
    /// True for the pair on which data goes.
    pub selected: bool,
    /// Connectivity checks sent, retransmissions included, consent requests not.
    pub requests_sent: u64,
    /// Authentic checks received, retransmissions included.
    pub requests_received: u64,
    /// Responses sent.
    pub responses_sent: u64,
    /// Authentic responses received.
    pub responses_received: u64,
    /// Consent requests sent.
    pub consent_requests_sent: u64,
    /// Last measured round trip time.
    pub current_round_trip_time: Option<Duration>,
    /// Sum of all measured round trip times.
    pub total_round_trip_time: Duration,
}
