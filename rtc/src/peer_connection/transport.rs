//! Candidates and transports as the application sees them (webrtc-pc sections 4.8 and 5.6).

use rtc_ice::{Candidate, RelayProtocol, TcpType};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::peer_connection::state::states;

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

/// A candidate of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RTCIceCandidate {
    /// Identifies it within its connection; the id of its statistics.
    pub id: String,
    /// Equal for candidates of the same type, base, server and protocol.
    pub foundation: String,
    /// Priority (RFC 8445 section 5.1.2).
    pub priority: u32,
    /// IP address or mDNS name.
    pub address: String,
    /// Transport protocol.
    pub protocol: RTCIceProtocol,
    /// Port.
    pub port: u16,
    /// Host, reflexive or relayed.
    pub typ: RTCIceCandidateType,
    /// Always 1: RTP and RTCP share a port.
    pub component: u16,
    /// Address it was derived from, empty for host candidates.
    pub related_address: String,
    /// Port it was derived from, 0 for host candidates.
    pub related_port: u16,
    /// Who opens the connection, for TCP.
    pub tcp_type: Option<TcpType>,
    /// Protocol between us and the relay, for relayed candidates.
    pub relay_protocol: Option<RelayProtocol>,
    /// URL of the server it was learnt from.
    pub url: Option<String>,
    /// Media identification of the m-section it belongs to.
    pub sdp_mid: Option<String>,
    /// Index of the m-section it belongs to.
    pub sdp_mline_index: Option<u16>,
    /// User name fragment of its generation.
    pub username_fragment: Option<String>,
    /// The `candidate:…` line.
    line: String,
}

impl RTCIceCandidate {
    pub(crate) fn new(
        candidate: &Candidate,
        sdp_mid: Option<String>,
        sdp_mline_index: Option<u16>,
        username_fragment: Option<String>,
    ) -> Self {
        let address = match candidate.socket_addr() {
            Some(addr) => addr.ip().to_string(),
            None => candidate.hostname().unwrap_or_default().to_owned(),
        };
        let related = candidate.related;
        Self {
            id: format!("L{}", candidate.id()),
            foundation: candidate.foundation.clone(),
            priority: candidate.priority,
            address,
            protocol: candidate.transport,
            port: candidate.port(),
            typ: candidate.typ,
            component: candidate.component,
            related_address: related
                .map(|addr| addr.ip().to_string())
                .unwrap_or_default(),
            related_port: related.map(|addr| addr.port()).unwrap_or_default(),
            tcp_type: candidate.tcp_type,
            relay_protocol: candidate.relay_protocol,
            url: candidate.url.clone(),
            sdp_mid,
            sdp_mline_index,
            username_fragment,
            line: candidate.to_string(),
        }
    }

    /// The form in which it is sent to the peer.
    #[must_use]
    pub fn to_init(&self) -> RTCIceCandidateInit {
        RTCIceCandidateInit {
            candidate: self.line.clone(),
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
    pub fn to_json(&self) -> Result<RTCIceCandidateInit, Error> {
        Ok(self.to_init())
    }
}

/// The SCTP transport below the data channels (webrtc-pc section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RTCSctpTransport {
    /// State of the association.
    pub state: RTCSctpTransportState,
    /// Largest message in bytes that the peer accepts.
    pub max_message_size: usize,
    /// How many channels there can be, once the association is up.
    pub max_channels: Option<u16>,
}

states! {
    /// State of the SCTP transport (webrtc-pc section 6.1.1).
    RTCSctpTransportState {
        /// The association is being made.
        #[default]
        Connecting = "connecting",
        /// Messages flow.
        Connected = "connected",
        /// The association has ended.
        Closed = "closed",
    }
}
