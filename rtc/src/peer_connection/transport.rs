//! Candidates and transports as the application sees them (webrtc-pc sections 4.8 and 5.6).

use rtc_ice::{Candidate, CandidateType};
use rtc_shared::TransportProtocol;
use serde::{Deserialize, Serialize};

/// A candidate as it travels in signalling, in the JSON form of browsers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RTCIceCandidateInit {
    /// The `candidate:…` line; empty for end-of-candidates.
    pub candidate: String,
    /// Media identification of the m-section it belongs to.
    pub sdp_mid: Option<String>,
    /// Index of the m-section it belongs to, from 0.
    #[serde(rename = "sdpMLineIndex")]
    pub sdp_mline_index: Option<u16>,
    /// The ICE user name fragment of its generation.
    pub username_fragment: Option<String>,
    /// URL of the server it was learnt from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Transport protocol of a candidate.
pub use rtc_shared::TransportProtocol as RTCIceProtocol;

/// Type of a candidate (RFC 8445 section 4).
pub use rtc_ice::CandidateType as RTCIceCandidateType;

/// A local candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RTCIceCandidate {
    candidate: Box<Candidate>,
    sdp_mid: Option<String>,
    sdp_mline_index: Option<u16>,
    username_fragment: Option<String>,
}

impl RTCIceCandidate {
    pub(crate) fn new(
        candidate: Candidate,
        sdp_mid: Option<String>,
        sdp_mline_index: Option<u16>,
        username_fragment: Option<String>,
    ) -> Self {
        Self {
            candidate: Box::new(candidate),
            sdp_mid,
            sdp_mline_index,
            username_fragment,
        }
    }

    /// The form in which it is sent to the peer.
    #[must_use]
    pub fn to_init(&self) -> RTCIceCandidateInit {
        RTCIceCandidateInit {
            candidate: self.candidate.to_string(),
            sdp_mid: self.sdp_mid.clone(),
            sdp_mline_index: self.sdp_mline_index,
            username_fragment: self.username_fragment.clone(),
            url: None,
        }
    }

    /// The form in which it is sent to the peer.
    ///
    /// # Errors
    /// None; the signature is that of the established API.
    pub fn to_json(&self) -> Result<RTCIceCandidateInit, crate::Error> {
        Ok(self.to_init())
    }

    /// The candidate as ICE knows it: foundation, priority, addresses, type.
    #[must_use]
    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// Its type.
    #[must_use]
    pub fn typ(&self) -> CandidateType {
        self.candidate.typ
    }

    /// Its transport protocol.
    #[must_use]
    pub fn protocol(&self) -> TransportProtocol {
        self.candidate.transport
    }

    /// Media identification of its m-section.
    #[must_use]
    pub fn sdp_mid(&self) -> Option<&str> {
        self.sdp_mid.as_deref()
    }
}
