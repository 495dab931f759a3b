//! Session descriptions as the application sees them (webrtc-pc section 4.6).

use rtc_sdp::SessionDescription;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Kinds of session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RTCSdpType {
    /// Begins an exchange.
    Offer,
    /// A provisional answer; the exchange goes on.
    Pranswer,
    /// Ends an exchange.
    Answer,
    /// Takes an offer back.
    Rollback,
}

impl std::fmt::Display for RTCSdpType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Offer => "offer",
            Self::Pranswer => "pranswer",
            Self::Answer => "answer",
            Self::Rollback => "rollback",
        })
    }
}

/// A session description. In JSON it has the form that browsers give and take:
/// `{"type":"offer","sdp":"v=0…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RTCSessionDescription {
    /// What it is.
    #[serde(rename = "type")]
    pub sdp_type: RTCSdpType,
    /// Its text; empty for a rollback.
    #[serde(default)]
    pub sdp: String,
}

impl RTCSessionDescription {
    /// An offer.
    ///
    /// # Errors
    /// [`Error::Rtc`] with the line when `sdp` is not valid SDP; likewise for the others.
    pub fn offer(sdp: String) -> Result<Self, Error> {
        Self::checked(RTCSdpType::Offer, sdp)
    }

    /// A provisional answer.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn pranswer(sdp: String) -> Result<Self, Error> {
        Self::checked(RTCSdpType::Pranswer, sdp)
    }

    /// An answer.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn answer(sdp: String) -> Result<Self, Error> {
        Self::checked(RTCSdpType::Answer, sdp)
    }

    /// A rollback; the text, if any, is ignored.
    ///
    /// # Errors
    /// None today.
    pub fn rollback(sdp: Option<String>) -> Result<Self, Error> {
        Ok(Self {
            sdp_type: RTCSdpType::Rollback,
            sdp: sdp.unwrap_or_default(),
        })
    }

    /// Parses the text.
    ///
    /// # Errors
    /// [`Error::Rtc`] with the line when it is not valid SDP.
    pub fn unmarshal(&self) -> Result<SessionDescription, Error> {
        Ok(self.sdp.parse::<SessionDescription>()?)
    }

    fn checked(sdp_type: RTCSdpType, sdp: String) -> Result<Self, Error> {
        let description = Self { sdp_type, sdp };
        description.unmarshal()?;
        Ok(description)
    }
}
