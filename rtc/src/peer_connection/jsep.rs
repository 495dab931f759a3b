use crate::Error;
use crate::peer_connection::description::Description;
use crate::peer_connection::sdp::RTCSdpType;
use crate::peer_connection::state::RTCSignalingState;
use crate::rtp_transceiver::apply::multiplexes_rtcp;

/// The offer/answer state machine (RFC 9429 section 3.2, webrtc-pc section 4.3.1).
///
/// It knows which descriptions stand and which are pending, nothing of what they mean.
#[derive(Debug, Default)]
pub(crate) struct Jsep {
    state: RTCSignalingState,
    pub(crate) current_local: Option<Description>,
    pub(crate) current_remote: Option<Description>,
    pub(crate) pending_local: Option<Description>,
    pub(crate) pending_remote: Option<Description>,
}

/// Which side a description belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Local,
    Remote,
}

/// What applying a description means for the transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// An offer stands; for a local one gathering begins.
    Offered,
    /// Both sides of the exchange are known, at least provisionally.
    Answered {
        /// True when the answer is ours.
        by_us: bool,
    },
}

impl Jsep {
    pub(crate) fn state(&self) -> RTCSignalingState {
        self.state
    }

    /// Local description in force: the pending one, else the current one.
    pub(crate) fn local(&self) -> Option<&Description> {
        self.pending_local.as_ref().or(self.current_local.as_ref())
    }

    /// Remote description in force: the pending one, else the current one.
    pub(crate) fn remote(&self) -> Option<&Description> {
        self.pending_remote
            .as_ref()
            .or(self.current_remote.as_ref())
    }

    /// Tells whether a description of this type may be applied now (webrtc-pc section 4.4.1.5).
    ///
    /// A remote offer in `have-local-offer` is allowed: it rolls our offer back.
    pub(crate) fn check(&self, side: Side, sdp_type: RTCSdpType) -> Result<(), Error> {
        use RTCSignalingState as S;
        let allowed = match (side, sdp_type) {
            (Side::Local, RTCSdpType::Offer) => matches!(self.state, S::Stable | S::HaveLocalOffer),
            (Side::Local, RTCSdpType::Answer | RTCSdpType::Pranswer) => {
                matches!(self.state, S::HaveRemoteOffer | S::HaveLocalPranswer)
            }
            (Side::Remote, RTCSdpType::Offer) => {
                matches!(
                    self.state,
                    S::Stable | S::HaveRemoteOffer | S::HaveLocalOffer
                )
            }
            (Side::Remote, RTCSdpType::Answer | RTCSdpType::Pranswer) => {
                matches!(self.state, S::HaveLocalOffer | S::HaveRemotePranswer)
            }
            (_, RTCSdpType::Rollback) => {
                matches!(self.state, S::HaveLocalOffer | S::HaveRemoteOffer)
            }
        };
        if allowed {
            return Ok(());
        }
        Err(Error::InvalidState(match (side, sdp_type) {
            (_, RTCSdpType::Rollback) => "there is no offer to roll back",
            (Side::Local, RTCSdpType::Offer) => "an offer of the peer waits for its answer",
            (Side::Remote, RTCSdpType::Offer) => "the exchange under way has a provisional answer",
            (Side::Local, _) => "there is no offer of the peer to answer",
            (Side::Remote, _) => "there is no offer of ours to answer",
        }))
    }

    /// Checks that a remote description continues the session: m-sections are never removed or
    /// reordered, and an answer mirrors its offer (RFC 9429 sections 5.2.2 and 5.3.1).
    pub(crate) fn check_remote_sections(&self, remote: &Description) -> Result<(), Error> {
        let is_offer = remote.sdp_type == RTCSdpType::Offer;
        let base = if is_offer {
            self.current_local.as_ref()
        } else {
            self.local()
        };
        let Some(base) = base else { return Ok(()) };
        if remote.sections.len() < base.sections.len()
            || (!is_offer && remote.sections.len() != base.sections.len())
        {
            return Err(Error::InvalidAccess(format!(
                "the description has {} m-sections where there are {}",
                remote.sections.len(),
                base.sections.len()
            )));
        }
        for (index, (theirs, ours)) in remote.sections.iter().zip(&base.sections).enumerate() {
            let recycled = is_offer && self.is_out_of_use(index);
            if !recycled && (theirs.media != ours.media || (is_offer && theirs.mid != ours.mid)) {
                return Err(Error::InvalidAccess(format!(
                    "m-section {index} is {} {:?} where it was {} {:?}",
                    theirs.media, theirs.mid, ours.media, ours.mid
                )));
            }
            let is_media = theirs.as_media().is_some();
            if !is_offer && is_media && !multiplexes_rtcp(remote, theirs) {
                return Err(Error::InvalidAccess(format!(
                    "m-section {index} is answered without a=rtcp-mux"
                )));
            }
        }
        Ok(())
    }

    /// Whether an m-section was rejected by either side, so that another may take its place.
    fn is_out_of_use(&self, index: usize) -> bool {
        [&self.current_local, &self.current_remote]
            .into_iter()
            .flatten()
            .filter_map(|description| description.sections.get(index))
            .any(|section| section.rejected)
    }

    /// Applies a description that [`check`](Self::check) allowed and that is no rollback.
    pub(crate) fn apply(&mut self, side: Side, description: Description) -> Applied {
        use RTCSignalingState as S;
        let sdp_type = description.sdp_type;
        match side {
            Side::Local => self.pending_local = Some(description),
            Side::Remote => self.pending_remote = Some(description),
        }
        match sdp_type {
            RTCSdpType::Offer | RTCSdpType::Rollback => {
                self.state = match side {
                    Side::Local => S::HaveLocalOffer,
                    Side::Remote => S::HaveRemoteOffer,
                };
                return Applied::Offered;
            }
            RTCSdpType::Pranswer => {
                self.state = match side {
                    Side::Local => S::HaveLocalPranswer,
                    Side::Remote => S::HaveRemotePranswer,
                };
            }
            RTCSdpType::Answer => {
                self.current_local = self.pending_local.take();
                self.current_remote = self.pending_remote.take();
                self.state = S::Stable;
            }
        }
        Applied::Answered {
            by_us: side == Side::Local,
        }
    }

    /// Takes the pending offer back.
    pub(crate) fn roll_back(&mut self) {
        self.pending_local = None;
        self.pending_remote = None;
        self.state = RTCSignalingState::Stable;
    }

    pub(crate) fn close(&mut self) {
        self.state = RTCSignalingState::Closed;
    }
}
