//! The W3C operations of negotiation (webrtc-pc section 4.4.2).

use rtc_crypto::HashAlgorithm;
use rtc_dtls::Role as TransportRole;
use rtc_ice::{Candidate, Credentials, Role as IceRole};
use rtc_sdp::Setup;

use super::RTCPeerConnection;
use super::configuration::{DtlsRole, RTCAnswerOptions, RTCOfferOptions};
use super::description::{DataSection, Description, Section, TransportSection};
use super::event::RTCPeerConnectionEvent;
use super::jsep::{Applied, Side};
use super::negotiate::{LocalTransport, Version, answer, offer};
use super::sdp::{RTCSdpType, RTCSessionDescription};
use super::state::{RTCIceGatheringState, RTCSignalingState};
use crate::Error;
use crate::rtp_transceiver::RTCRtpTransceiverId;
use crate::rtp_transceiver::apply::Exchange;

/// An offer of ours with the transceiver of each of its m-sections.
#[derive(Debug)]
pub(super) struct MadeOffer {
    description: Description,
    plan: Vec<Option<RTCRtpTransceiverId>>,
}

impl MadeOffer {
    pub(super) fn includes(&self, id: RTCRtpTransceiverId) -> bool {
        self.plan.contains(&Some(id))
    }
}

impl RTCPeerConnection {
    /// Makes an offer; it takes effect with [`set_local_description`](Self::set_local_description).
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the connection is closed.
    pub fn create_offer(
        &mut self,
        options: Option<RTCOfferOptions>,
    ) -> Result<RTCSessionDescription, Error> {
        self.check_open()?;
        let restart = options.unwrap_or_default().ice_restart || self.negotiation.restart_requested;
        // Before the first exchange there is nothing to restart.
        let restart = restart && self.jsep.local().is_some();
        let transport = self.local_transport(restart)?;
        let version = self.next_version();
        let data_is_known = self
            .jsep
            .local()
            .is_some_and(|local| local.sections.iter().any(Section::is_data));
        let basis = offer::Basis {
            version,
            transport: &transport,
            local: self.jsep.local(),
            remote: self.jsep.current_remote.as_ref(),
            media: &self.media,
            engine: &self.configuration.media_engine,
            numbers: &self.negotiation.numbers,
            bundle_policy: self.configuration.bundle_policy,
            wants_data: if data_is_known {
                self.data.any_alive()
            } else {
                self.data.any()
            },
        };
        let offer::Offer { sdp, plan } = basis.offer();
        let description = Description::of(RTCSdpType::Offer, sdp.to_string(), &sdp)?;
        let made = description.to_session_description();
        self.negotiation.last_offer = Some(MadeOffer { description, plan });
        Ok(made)
    }

    /// Makes an answer to the peer's offer; it takes effect with
    /// [`set_local_description`](Self::set_local_description).
    ///
    /// # Errors
    /// [`Error::InvalidState`] when no offer of the peer waits for an answer.
    pub fn create_answer(
        &mut self,
        _options: Option<RTCAnswerOptions>,
    ) -> Result<RTCSessionDescription, Error> {
        const NO_OFFER: Error = Error::InvalidState("there is no offer of the peer to answer");
        self.check_open()?;
        self.jsep.check(Side::Local, RTCSdpType::Answer)?;
        let offer = self.jsep.pending_remote.as_ref().ok_or(NO_OFFER)?;
        let plan = answer::Basis {
            offer,
            local: self.jsep.current_local.as_ref(),
            media: &self.media,
            engine: &self.configuration.media_engine,
            numbers: &self.negotiation.numbers,
        }
        .plan();
        let accepted = plan.transport.and_then(|index| offer.transports.get(index));
        let setup = self.answering_setup(accepted);
        let restart = self.peer_restarts(accepted);
        let transport = self.local_transport(restart)?;
        let version = self.next_version();
        let offer = self.jsep.pending_remote.as_ref().ok_or(NO_OFFER)?;
        let sdp = plan.answer(version, offer, setup, &transport);
        let description = Description::of(RTCSdpType::Answer, sdp.to_string(), &sdp)?;
        let made = description.to_session_description();
        self.negotiation.last_answer = Some(description);
        Ok(made)
    }

    /// Applies a description of ours. An empty text stands for the one made last.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the exchange does not allow it now,
    /// [`Error::InvalidModification`] when the text is not the one made last.
    pub fn set_local_description(
        &mut self,
        description: RTCSessionDescription,
    ) -> Result<(), Error> {
        self.check_open()?;
        let sdp_type = description.sdp_type;
        self.jsep.check(Side::Local, sdp_type)?;
        if sdp_type == RTCSdpType::Rollback {
            self.roll_back();
            self.update_negotiation_needed();
            return Ok(());
        }
        let made = match sdp_type {
            RTCSdpType::Offer => self
                .negotiation
                .last_offer
                .as_ref()
                .map(|it| &it.description),
            _ => self.negotiation.last_answer.as_ref(),
        };
        let made = made.ok_or(Error::InvalidModification(
            "no such description was made yet",
        ))?;
        if !description.sdp.is_empty() && description.sdp != made.text {
            return Err(Error::InvalidModification(
                "the description is not the one that was made last",
            ));
        }
        // An answer that was made may be applied as a provisional one.
        let description = Description {
            sdp_type,
            ..made.clone()
        };
        let mut plan = Vec::new();
        if sdp_type == RTCSdpType::Offer {
            plan = self.planned_transceivers()?;
        } else if let Some(offer) = &self.jsep.pending_remote
            && let Some(remote) = offer.transport_accepted_by(&description)
        {
            // Checked before anything changes.
            self.transport
                .check_peer(remote, self.role_as_answerer(remote))?;
        }
        let before = self.jsep.state();
        if let Some(transport) = description.transport() {
            let current = self.transport.ice.local_credentials();
            if transport.credentials != *current {
                self.transport.restart_ice(transport.credentials.clone())?;
                self.gathering_state = RTCIceGatheringState::New;
            }
            if sdp_type == RTCSdpType::Offer && self.jsep.current_local.is_none() {
                self.transport.ice.set_role(IceRole::Controlling);
            }
        }
        self.negotiation.next_credentials = None;
        self.negotiation.numbers.learn(&description);
        if before == RTCSignalingState::Stable {
            self.media.leave_stable();
        }
        let applied = self.jsep.apply(Side::Local, description);
        if applied == Applied::Offered
            && let Some(offer) = &self.jsep.pending_local
        {
            self.media.apply_local_offer(offer, &plan);
        }
        self.gather();
        self.after_description(before, applied)
    }

    /// The transceivers of the offer made last.
    fn planned_transceivers(&self) -> Result<Vec<Option<RTCRtpTransceiverId>>, Error> {
        let plan = self
            .negotiation
            .last_offer
            .as_ref()
            .map(|it| it.plan.clone());
        let plan = plan.unwrap_or_default();
        if plan
            .iter()
            .flatten()
            .any(|id| self.media.get(*id).is_none())
        {
            return Err(Error::InvalidModification(
                "a transceiver of the description is there no more",
            ));
        }
        Ok(plan)
    }

    /// Makes and applies the description that the state of the exchange asks for, as W3C's
    /// `setLocalDescription()` without an argument.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the connection is closed.
    pub fn set_local_description_implicit(&mut self) -> Result<(), Error> {
        let description = match self.signaling_state() {
            RTCSignalingState::HaveRemoteOffer | RTCSignalingState::HaveLocalPranswer => {
                self.create_answer(None)?
            }
            _ => self.create_offer(None)?,
        };
        self.set_local_description(description)
    }

    /// Applies a description of the peer. An offer that collides with ours rolls ours back.
    ///
    /// # Errors
    /// [`Error::Rtc`] with the line when it is not valid SDP, [`Error::InvalidAccess`] when it lacks
    /// what a connection needs or contradicts the session, [`Error::InvalidState`] when the exchange
    /// does not allow it now.
    pub fn set_remote_description(
        &mut self,
        description: RTCSessionDescription,
    ) -> Result<(), Error> {
        self.check_open()?;
        self.jsep.check(Side::Remote, description.sdp_type)?;
        if description.sdp_type == RTCSdpType::Rollback {
            self.roll_back();
            self.update_negotiation_needed();
            return Ok(());
        }
        let mut description = Description::read(description)?;
        self.jsep.check_remote_sections(&description)?;
        let is_offer = description.sdp_type == RTCSdpType::Offer;
        if is_offer {
            for remote in &description.transports {
                self.transport.check_credentials(remote)?;
            }
        } else {
            if let Some(offer) = self.jsep.local() {
                description.adopt_mids(offer)?;
            }
            if let Some(remote) = description.transport() {
                self.transport.check_peer(remote, role_as_offerer(remote))?;
            }
        }
        if is_offer && self.jsep.state() == RTCSignalingState::HaveLocalOffer {
            self.roll_back();
        }
        let before = self.jsep.state();
        if is_offer && self.jsep.current_remote.is_none() {
            // RFC 8445 section 6.1.1: a lite agent is controlled, whoever made the offer.
            let lite = description.transport().is_some_and(|remote| remote.lite);
            let controlling = lite && !self.configuration.setting.ice_lite;
            self.transport.ice.set_role(if controlling {
                IceRole::Controlling
            } else {
                IceRole::Controlled
            });
        }
        if is_offer {
            // What was made for an earlier offer does not answer this one.
            self.negotiation.last_answer = None;
        }
        self.negotiation.numbers.learn(&description);
        if before == RTCSignalingState::Stable {
            self.media.leave_stable();
        }
        let applied = self.jsep.apply(Side::Remote, description);
        if applied == Applied::Offered
            && let Some(offer) = &self.jsep.pending_remote
        {
            let replaces = before == RTCSignalingState::HaveRemoteOffer;
            self.media.apply_remote_offer(offer, replaces);
        }
        self.after_description(before, applied)
    }

    /// Asks for an ICE restart with the next offer; `OnNegotiationNeededEvent` follows.
    pub fn restart_ice(&mut self) {
        if !self.is_closed() && self.jsep.local().is_some() {
            self.negotiation.restart_requested = true;
            self.update_negotiation_needed();
        }
    }

    /// Whether the peer takes candidates after its description; `None` before there is one.
    #[must_use]
    pub fn can_trickle_ice_candidates(&self) -> Option<bool> {
        self.jsep.remote().map(|description| description.trickle)
    }

    /// The local description in force, pending or current, with the candidates gathered so far.
    #[must_use]
    pub fn local_description(&self) -> Option<RTCSessionDescription> {
        self.jsep
            .local()
            .map(|description| self.with_local_candidates(description))
    }

    /// The local description that was agreed on last.
    #[must_use]
    pub fn current_local_description(&self) -> Option<RTCSessionDescription> {
        let description = self.jsep.current_local.as_ref()?;
        Some(self.with_local_candidates(description))
    }

    /// The local description of the exchange under way.
    #[must_use]
    pub fn pending_local_description(&self) -> Option<RTCSessionDescription> {
        let description = self.jsep.pending_local.as_ref()?;
        Some(self.with_local_candidates(description))
    }

    /// The remote description in force, pending or current.
    #[must_use]
    pub fn remote_description(&self) -> Option<RTCSessionDescription> {
        self.jsep.remote().map(Description::to_session_description)
    }

    /// The remote description that was agreed on last.
    #[must_use]
    pub fn current_remote_description(&self) -> Option<RTCSessionDescription> {
        self.jsep
            .current_remote
            .as_ref()
            .map(Description::to_session_description)
    }

    /// The remote description of the exchange under way.
    #[must_use]
    pub fn pending_remote_description(&self) -> Option<RTCSessionDescription> {
        self.jsep
            .pending_remote
            .as_ref()
            .map(Description::to_session_description)
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_closed() {
            Err(Error::closed())
        } else {
            Ok(())
        }
    }

    fn next_version(&mut self) -> Version {
        self.negotiation.version += 1;
        Version {
            session_id: self.negotiation.session_id,
            version: self.negotiation.version,
        }
    }

    fn local_transport(&mut self, restart: bool) -> Result<LocalTransport, Error> {
        let fingerprint = self
            .transport
            .certificate()
            .fingerprint(HashAlgorithm::Sha256, self.transport.provider())
            .ok_or_else(|| Error::Operation("the provider has no SHA-256".to_owned()))?;
        let credentials = if restart {
            let (rng, ice) = (&mut self.rng, &self.configuration.setting.ice);
            self.negotiation
                .next_credentials
                .get_or_insert_with(|| Credentials::random(rng, ice.ufrag_length, ice.pwd_length))
                .clone()
        } else {
            self.transport.ice.local_credentials().clone()
        };
        Ok(LocalTransport {
            credentials,
            fingerprint,
            lite: self.configuration.setting.ice_lite,
            max_message_size: self.configuration.setting.max_message_size.get(),
        })
    }

    /// True when the transport of an offer has other ICE credentials than those in use.
    fn peer_restarts(&self, offered: Option<&TransportSection>) -> bool {
        match (offered, self.transport.ice.remote_credentials()) {
            (Some(offered), Some(current)) => offered.credentials != *current,
            _ => false,
        }
    }

    fn role_as_answerer(&self, offer: &TransportSection) -> TransportRole {
        match self.answering_setup(Some(offer)) {
            Setup::Passive => TransportRole::Server,
            _ => TransportRole::Client,
        }
    }

    /// Our role in an answer: the one we have, else the one the offer leaves us.
    fn answering_setup(&self, offer: Option<&TransportSection>) -> Setup {
        let settled = self.transport.dtls_role();
        match (offer.map(|offer| offer.setup), settled) {
            (Some(Setup::Active), _) => Setup::Passive,
            (Some(Setup::Passive), _) => Setup::Active,
            (_, Some(TransportRole::Server)) => Setup::Passive,
            (_, Some(TransportRole::Client)) => Setup::Active,
            (_, None) => match self.configuration.setting.answering_dtls_role {
                DtlsRole::Client => Setup::Active,
                DtlsRole::Server => Setup::Passive,
            },
        }
    }

    fn after_description(
        &mut self,
        before: RTCSignalingState,
        applied: Applied,
    ) -> Result<(), Error> {
        let result = match applied {
            Applied::Offered => Ok(()),
            Applied::Answered { by_us } => self.apply_answer(by_us),
        };
        let state = self.jsep.state();
        if state != before {
            self.events
                .push_back(RTCPeerConnectionEvent::OnSignalingStateChangeEvent(state));
        }
        self.flush_track_events();
        if state == RTCSignalingState::Stable {
            self.negotiation.last_offer = None;
            self.negotiation.last_answer = None;
            self.negotiation.needed = false;
        }
        self.settle();
        self.update_negotiation_needed();
        result
    }

    /// Both sides of the exchange are known: the transport gets what it needs to connect, and media
    /// what packets need.
    fn apply_answer(&mut self, by_us: bool) -> Result<(), Error> {
        let (local, remote) = (self.jsep.local(), self.jsep.remote());
        let (Some(local), Some(remote)) = (local, remote) else {
            return Ok(());
        };
        self.media.apply_answer(&Exchange {
            local,
            remote,
            answered_by_us: by_us,
            is_final: self.jsep.state() == RTCSignalingState::Stable,
        });
        if !by_us {
            self.negotiation.restart_requested = false;
        }
        let (offer, answer) = if by_us {
            (remote, local)
        } else {
            (local, remote)
        };
        let transport = if by_us {
            remote.transport_accepted_by(local)
        } else {
            remote.transport()
        };
        let data = agreed_data(local, remote, answer).copied();
        // Channels that nobody has offered yet wait for the next exchange.
        let was_rejected = offer.data().is_some() || self.transport.sctp_port().is_some();
        if data.is_none() && was_rejected {
            self.data.close_all(true);
        }
        let Some(transport) = transport else {
            return Ok(());
        };
        let role = if by_us {
            self.role_as_answerer(transport)
        } else {
            role_as_offerer(transport)
        };
        if !by_us && transport.lite && !self.configuration.setting.ice_lite {
            self.transport.ice.set_role(IceRole::Controlling);
        }
        let sctp_port = data.map(|data| data.sctp_port);
        self.transport
            .set_peer(self.now, transport, sctp_port, role)?;
        let named: Vec<Candidate> = transport
            .candidates
            .iter()
            .filter(|candidate| candidate.socket_addr().is_none())
            .cloned()
            .collect();
        for candidate in named {
            self.look_up(candidate);
        }
        if let Some(data) = data {
            self.data.set_max_message_size(data.max_message_size);
            self.data.set_dtls_role(role);
        }
        for init in std::mem::take(&mut self.negotiation.held_candidates) {
            let candidate = init.candidate.trim().parse::<Candidate>().ok();
            self.apply_remote_candidate(candidate, init.username_fragment.as_deref());
        }
        Ok(())
    }

    /// Takes the pending offer back. What is needed then is a question only if no other offer takes its
    /// place.
    fn roll_back(&mut self) {
        let credentials = |description: &Option<Description>| {
            let transport = description.as_ref()?.transport()?;
            Some(transport.credentials.clone())
        };
        let pending = credentials(&self.jsep.pending_local);
        let current = credentials(&self.jsep.current_local);
        if pending.is_some() && current.is_some() && pending != current {
            self.transport.ice.rollback_restart();
        }
        self.jsep.roll_back();
        self.media.roll_back();
        self.negotiation.held_candidates.clear();
        self.negotiation.needed = false;
        self.events
            .push_back(RTCPeerConnectionEvent::OnSignalingStateChangeEvent(
                RTCSignalingState::Stable,
            ));
        self.flush_track_events();
        self.settle();
    }
}

/// What the peer says of SCTP, if data channels were offered and answered on the session's transport.
fn agreed_data<'a>(
    local: &Description,
    remote: &'a Description,
    answer: &Description,
) -> Option<&'a DataSection> {
    let transport = answer.sections.iter().find_map(|section| section.transport);
    let mut sections = local
        .sections
        .iter()
        .zip(&remote.sections)
        .zip(&answer.sections);
    sections.find_map(|((ours, theirs), answered)| {
        ours.as_data()?;
        theirs.as_data().filter(|_| answered.transport == transport)
    })
}

/// Our role when the peer answered: the other one.
fn role_as_offerer(answer: &TransportSection) -> TransportRole {
    match answer.setup {
        Setup::Active => TransportRole::Server,
        _ => TransportRole::Client,
    }
}
