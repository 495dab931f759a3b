//! Whether the peer has to be told something (webrtc-pc section 4.7.3).

use rtc_sdp::Direction;

use super::RTCPeerConnection;
use super::description::{Description, MediaSection, Section};
use super::event::RTCPeerConnectionEvent;
use super::sdp::RTCSdpType;
use super::state::RTCSignalingState;
use crate::rtp_transceiver::transceivers::Transceiver;

impl RTCPeerConnection {
    /// Tells the application once when a need arises.
    pub(crate) fn update_negotiation_needed(&mut self) {
        if self.is_closed() || self.jsep.state() != RTCSignalingState::Stable {
            return;
        }
        let needed = self.is_negotiation_needed();
        if needed && !self.negotiation.needed {
            self.events
                .push_back(RTCPeerConnectionEvent::OnNegotiationNeededEvent);
        }
        self.negotiation.needed = needed;
    }

    /// The steps "check if negotiation is needed".
    fn is_negotiation_needed(&self) -> bool {
        self.negotiation.restart_requested
            || self.data_needs_section()
            || self.media.list.iter().any(|it| self.needs_negotiation(it))
    }

    fn data_needs_section(&self) -> bool {
        let local = self.jsep.current_local.as_ref();
        let remote = self.jsep.current_remote.as_ref();
        let place = local.and_then(|local| local.sections.iter().position(Section::is_data));
        let is_used = |description: Option<&Description>| {
            description.is_some_and(|description| description.data().is_some())
        };
        match place {
            None => self.data.any(),
            // The peer has rejected it; channels made since then want another one.
            Some(_) => !(is_used(local) && is_used(remote)) && self.data.any_alive(),
        }
    }

    fn needs_negotiation(&self, it: &Transceiver) -> bool {
        if it.stopped {
            return self.is_in_use(it);
        }
        if it.stopping {
            return it.is_associated();
        }
        let Some((local, ours, theirs)) = self.sections_of(it) else {
            return true;
        };
        let Some(ours) = ours.as_media() else {
            return true;
        };
        let theirs = theirs.and_then(Section::as_media);
        if it.direction.sends() && ours.streams != it.sender.streams {
            return true;
        }
        let wanted = it.direction;
        let of_remote = theirs.map(|theirs| theirs.direction.reversed());
        match local.sdp_type {
            RTCSdpType::Offer => ours.direction != wanted && of_remote != Some(wanted),
            _ => ours.direction != answered(wanted, theirs),
        }
    }

    /// The m-section of a transceiver in the current descriptions.
    fn sections_of(&self, it: &Transceiver) -> Option<(&Description, &Section, Option<&Section>)> {
        let local = self.jsep.current_local.as_ref()?;
        let index = it.mline?;
        let ours = local.sections.get(index)?;
        if it.mid.as_deref() != Some(&ours.mid) {
            return None;
        }
        let remote = self.jsep.current_remote.as_ref();
        Some((
            local,
            ours,
            remote.and_then(|remote| remote.sections.get(index)),
        ))
    }

    /// Whether both current descriptions still have the m-section of a transceiver in use.
    fn is_in_use(&self, it: &Transceiver) -> bool {
        self.sections_of(it).is_some_and(|(_, ours, theirs)| {
            !ours.rejected && theirs.is_some_and(|theirs| !theirs.rejected)
        })
    }
}

/// The direction that an answer has when `wanted` is ours.
fn answered(wanted: Direction, offer: Option<&MediaSection>) -> Direction {
    let offered = offer.map_or(Direction::Inactive, |offer| offer.direction.reversed());
    wanted.intersection(offered)
}
