//! The W3C operations of negotiation (webrtc-pc section 4.4.2).

use std::net::SocketAddr;

use rtc_crypto::HashAlgorithm;
use rtc_dtls::Role as TransportRole;
use rtc_ice::{Candidate, Credentials, Role as IceRole};
use rtc_sdp::Setup;
use rtc_shared::TransportProtocol;

use super::RTCPeerConnection;
use super::configuration::{DtlsRole, RTCAnswerOptions, RTCOfferOptions};
use super::description::{DataSection, Description};
use super::event::{RTCPathLostEvent, RTCPeerConnectionEvent, RTCPeerConnectionIceEvent};
use super::jsep::{Applied, Side};
use super::negotiate::{self, LocalTransport};
use super::sdp::{RTCSdpType, RTCSessionDescription};
use super::state::{RTCIceGatheringState, RTCSignalingState};
use super::transport::{RTCIceCandidate, RTCIceCandidateInit};
use crate::Error;

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
        self.negotiation.version += 1;
        let sdp = negotiate::offer(
            self.negotiation.session_id,
            self.negotiation.version,
            self.jsep.current_local.as_ref(),
            self.data.any(),
            &transport,
        );
        let made = Description::of(RTCSdpType::Offer, sdp.to_string(), &sdp)?;
        let description = made.to_session_description();
        self.negotiation.last_offer = Some(made);
        Ok(description)
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
        self.check_open()?;
        self.jsep.check(Side::Local, RTCSdpType::Answer)?;
        let Some(offer) = &self.jsep.pending_remote else {
            return Err(Error::InvalidState(
                "there is no offer of the peer to answer",
            ));
        };
        let setup = self.answering_setup(offer.data.as_ref());
        let restart = self.peer_restarts(offer);
        let transport = self.local_transport(restart)?;
        let Some(offer) = &self.jsep.pending_remote else {
            return Err(Error::InvalidState(
                "there is no offer of the peer to answer",
            ));
        };
        self.negotiation.version += 1;
        let sdp = negotiate::answer(
            self.negotiation.session_id,
            self.negotiation.version,
            offer,
            setup,
            &transport,
        );
        let made = Description::of(RTCSdpType::Answer, sdp.to_string(), &sdp)?;
        let description = made.to_session_description();
        self.negotiation.last_answer = Some(made);
        Ok(description)
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
            return Ok(());
        }
        let made = match sdp_type {
            RTCSdpType::Offer => &self.negotiation.last_offer,
            _ => &self.negotiation.last_answer,
        };
        let made = made.as_ref().ok_or(Error::InvalidModification(
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
        let data = description.data.clone();
        if sdp_type != RTCSdpType::Offer
            && let Some(remote) = self.pending_remote_data()
        {
            // Checked before anything changes.
            self.transport
                .check_peer(&remote, self.role_as_answerer(&remote))?;
        }
        let before = self.jsep.state();
        if let Some(data) = &data {
            let current = self.transport.ice.local_credentials();
            if data.credentials != *current {
                self.transport.restart_ice(data.credentials.clone())?;
                self.gathering_state = RTCIceGatheringState::New;
            }
            if sdp_type == RTCSdpType::Offer && self.jsep.current_local.is_none() {
                self.transport.ice.set_role(IceRole::Controlling);
            }
        }
        self.negotiation.next_credentials = None;
        let applied = self.jsep.apply(Side::Local, description);
        self.gather();
        self.after_description(before, applied)
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
            return Ok(());
        }
        let description = Description::read(description)?;
        self.jsep.check_remote_sections(&description)?;
        let is_offer = description.sdp_type == RTCSdpType::Offer;
        if let Some(remote) = &description.data {
            if is_offer {
                self.transport.check_credentials(remote)?;
            } else {
                self.transport.check_peer(remote, role_as_offerer(remote))?;
            }
        }
        if is_offer && self.jsep.state() == RTCSignalingState::HaveLocalOffer {
            self.roll_back();
        }
        let before = self.jsep.state();
        if is_offer && self.jsep.current_remote.is_none() {
            // RFC 8445 section 6.1.1: a lite agent is controlled, whoever made the offer.
            let lite = description.data.as_ref().is_some_and(|data| data.lite);
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
        let applied = self.jsep.apply(Side::Remote, description);
        self.after_description(before, applied)
    }

    /// Adds a candidate of the peer; an empty one says that no more come.
    ///
    /// # Errors
    /// [`Error::InvalidState`] without a remote description, [`Error::Type`] when it names no
    /// m-section, [`Error::Operation`] when it cannot be read or names an m-section or generation that
    /// does not exist. A candidate that is merely of no use is ignored.
    pub fn add_remote_candidate(&mut self, init: RTCIceCandidateInit) -> Result<(), Error> {
        self.check_open()?;
        let Some(remote) = self.jsep.remote() else {
            return Err(Error::InvalidState("there is no remote description yet"));
        };
        let line = init.candidate.trim();
        if !line.is_empty() && init.sdp_mid.is_none() && init.sdp_mline_index.is_none() {
            return Err(Error::Type(
                "neither sdpMid nor sdpMLineIndex is given".to_owned(),
            ));
        }
        if let Some(mid) = &init.sdp_mid {
            if !remote.sections.iter().any(|section| section.mid == *mid) {
                return Err(Error::Operation(format!("there is no m-section {mid:?}")));
            }
        } else if let Some(index) = init.sdp_mline_index
            && usize::from(index) >= remote.sections.len()
        {
            return Err(Error::Operation(format!("there is no m-section {index}")));
        }
        let candidate = if line.is_empty() {
            None
        } else {
            let candidate = line
                .parse::<Candidate>()
                .map_err(|error| Error::Operation(format!("candidate {line:?}: {error}")))?;
            Some(candidate)
        };
        let ufrag = init.username_fragment.clone().or_else(|| {
            candidate
                .as_ref()
                .and_then(|candidate| candidate.ufrag.clone())
        });
        if let Some(ufrag) = &ufrag {
            let known = [
                self.jsep.pending_remote.as_ref(),
                self.jsep.current_remote.as_ref(),
            ]
            .into_iter()
            .flatten()
            .any(|description| description.ufrags.contains(ufrag));
            if !known {
                return Err(Error::Operation(format!(
                    "there is no remote description with the user name fragment {ufrag:?}"
                )));
            }
        }
        // Until the answer is ours to give, what belongs to a pending offer waits with it.
        if self.jsep.pending_remote.as_ref().is_some_and(|pending| {
            pending.sdp_type == RTCSdpType::Offer
                && ufrag
                    .as_ref()
                    .is_none_or(|ufrag| pending.ufrags.contains(ufrag))
                && self.jsep.pending_local.is_none()
        }) {
            if self.negotiation.held_candidates.len() < MAX_HELD_CANDIDATES {
                self.negotiation.held_candidates.push(init);
            }
            return Ok(());
        }
        self.apply_remote_candidate(candidate, ufrag.as_deref());
        self.settle();
        Ok(())
    }

    /// Adds a local candidate by hand, beside those of
    /// [`add_local_interface`](Self::add_local_interface): a host candidate of a socket whose
    /// datagrams the application feeds in, or a reflexive one that it learnt elsewhere.
    ///
    /// # Errors
    /// [`Error::Operation`] when it cannot be read, [`Error::InvalidState`] when the connection is
    /// closed.
    pub fn add_local_candidate(&mut self, init: RTCIceCandidateInit) -> Result<(), Error> {
        self.check_open()?;
        let candidate = init
            .candidate
            .trim()
            .parse::<Candidate>()
            .map_err(|error| {
                Error::Operation(format!("candidate {:?}: {error}", init.candidate))
            })?;
        if let Some(candidate) = self.transport.ice.add_local_candidate(candidate).cloned()
            && self.gathering_state != RTCIceGatheringState::New
        {
            self.announce_candidate(candidate);
        }
        self.settle();
        Ok(())
    }

    /// Tells of a socket that the application has bound, by its concrete address: a host candidate is
    /// made of it. Interfaces added before `set_local_description` are part of the first gathering;
    /// later ones are announced as they come.
    ///
    /// # Errors
    /// [`Error::Type`] for a wildcard address, which says nothing to a peer; [`Error::InvalidState`]
    /// when the connection is closed.
    pub fn add_local_interface(
        &mut self,
        addr: SocketAddr,
        protocol: TransportProtocol,
    ) -> Result<(), Error> {
        self.check_open()?;
        if addr.ip().is_unspecified() || addr.port() == 0 {
            return Err(Error::Type(format!("{addr} is not a concrete address")));
        }
        if self.interfaces.contains(&(addr, protocol)) {
            return Ok(());
        }
        self.interfaces.push((addr, protocol));
        if self.gathering_state != RTCIceGatheringState::New {
            let rewrite = &self.configuration.setting.address_rewrite;
            for candidate in self.transport.add_host(addr, protocol, rewrite) {
                self.announce_candidate(candidate);
            }
            self.finish_gathering();
            self.settle();
        }
        Ok(())
    }

    /// Tells that a socket is gone. Its candidates and pairs are dropped; when the path in use goes
    /// with them another one is taken, or the connection becomes `disconnected`.
    pub fn remove_local_interface(&mut self, addr: SocketAddr, protocol: TransportProtocol) {
        self.interfaces
            .retain(|interface| *interface != (addr, protocol));
        self.transport.ice.remove_local_base(addr);
        self.settle();
    }

    /// The same for a socket that was lost rather than given up; the application is told.
    pub(crate) fn lose_path(&mut self, local_addr: SocketAddr) {
        let lost: Vec<_> = self
            .interfaces
            .iter()
            .filter(|(addr, _)| *addr == local_addr)
            .map(|(_, protocol)| *protocol)
            .collect();
        if lost.is_empty() {
            return;
        }
        let selected = |connection: &Self| {
            let path = connection.transport.ice.selected_path();
            path.map(|path| path.local_addr)
        };
        let in_use = selected(self) == Some(local_addr);
        for protocol in lost {
            self.remove_local_interface(local_addr, protocol);
        }
        let event = RTCPathLostEvent {
            local_addr,
            in_use,
            ice_restart_advised: in_use && selected(self).is_none(),
        };
        self.events
            .push_back(RTCPeerConnectionEvent::OnPathLost(event));
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

    fn check_open(&self) -> Result<(), Error> {
        if self.is_closed() {
            Err(Error::closed())
        } else {
            Ok(())
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

    /// True when an offer of the peer brings other ICE credentials than those in use.
    fn peer_restarts(&self, offer: &Description) -> bool {
        let current = self.transport.ice.remote_credentials();
        match (&offer.data, current) {
            (Some(data), Some(current)) => data.credentials != *current,
            _ => false,
        }
    }

    fn pending_remote_data(&self) -> Option<DataSection> {
        self.jsep.pending_remote.as_ref()?.data.clone()
    }

    fn role_as_answerer(&self, offer: &DataSection) -> TransportRole {
        match self.answering_setup(Some(offer)) {
            Setup::Passive => TransportRole::Server,
            _ => TransportRole::Client,
        }
    }

    /// Our role in an answer: the one we have, else the one the offer leaves us.
    fn answering_setup(&self, offer: Option<&DataSection>) -> Setup {
        let settled = self.transport.dtls_role();
        match (offer.map(|data| data.setup), settled) {
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
        if state == RTCSignalingState::Stable {
            self.negotiation.last_offer = None;
            self.negotiation.last_answer = None;
            self.negotiation.needed = false;
        }
        self.settle();
        self.update_negotiation_needed();
        result
    }

    /// Both sides of the exchange are known: the transport gets what it needs to connect.
    fn apply_answer(&mut self, by_us: bool) -> Result<(), Error> {
        let (local, remote) = (self.jsep.local(), self.jsep.remote());
        let (Some(local), Some(remote)) = (local, remote) else {
            return Ok(());
        };
        let (Some(_), Some(remote)) = (&local.data, &remote.data) else {
            // Channels that nobody has offered yet wait for the next exchange.
            let offered = if by_us { remote } else { local }.data.is_some();
            let rejected = offered || self.transport.dtls_role().is_some();
            if rejected {
                self.data.close_all(true);
            }
            self.negotiation.restart_requested = false;
            return Ok(());
        };
        let remote = remote.clone();
        let role = if by_us {
            self.role_as_answerer(&remote)
        } else {
            role_as_offerer(&remote)
        };
        if !by_us {
            self.negotiation.restart_requested = false;
            if remote.lite && !self.configuration.setting.ice_lite {
                self.transport.ice.set_role(IceRole::Controlling);
            }
        }
        self.transport.set_peer(&remote, role)?;
        self.data.set_max_message_size(remote.max_message_size);
        self.data.set_dtls_role(role);
        for init in std::mem::take(&mut self.negotiation.held_candidates) {
            let candidate = init.candidate.trim().parse::<Candidate>().ok();
            self.apply_remote_candidate(candidate, init.username_fragment.as_deref());
        }
        Ok(())
    }

    fn apply_remote_candidate(&mut self, candidate: Option<Candidate>, ufrag: Option<&str>) {
        // A candidate of an earlier generation is of no use any more.
        let generation = self
            .transport
            .ice
            .remote_credentials()
            .map(|it| it.ufrag.as_str());
        if ufrag.is_some() && generation.is_some() && ufrag != generation {
            return;
        }
        match candidate {
            Some(candidate) => self.transport.add_remote_candidate(candidate),
            None => self.transport.ice.end_of_remote_candidates(),
        }
    }

    fn roll_back(&mut self) {
        let restarted = match (&self.jsep.pending_local, &self.jsep.current_local) {
            (
                Some(Description {
                    data: Some(pending),
                    ..
                }),
                current,
            ) => current
                .as_ref()
                .and_then(|current| current.data.as_ref())
                .is_some_and(|current| current.credentials != pending.credentials),
            _ => false,
        };
        if restarted {
            self.transport.ice.rollback_restart();
        }
        self.jsep.roll_back();
        self.negotiation.held_candidates.clear();
        self.negotiation.needed = false;
        self.events
            .push_back(RTCPeerConnectionEvent::OnSignalingStateChangeEvent(
                RTCSignalingState::Stable,
            ));
        self.settle();
        self.update_negotiation_needed();
    }

    /// Host candidates of every interface, once there is a description to announce them for.
    fn gather(&mut self) {
        if self.gathering_state != RTCIceGatheringState::New
            || self.jsep.local().is_none_or(|local| local.data.is_none())
        {
            return;
        }
        self.set_gathering_state(RTCIceGatheringState::Gathering);
        for &(addr, protocol) in &self.interfaces {
            let rewrite = &self.configuration.setting.address_rewrite;
            self.transport.add_host(addr, protocol, rewrite);
        }
        for candidate in self.transport.ice.local_candidates().to_vec() {
            self.announce_candidate(candidate);
        }
        self.finish_gathering();
    }

    fn finish_gathering(&mut self) {
        if self.gathering_state == RTCIceGatheringState::Gathering && !self.interfaces.is_empty() {
            self.transport.ice.end_of_local_candidates();
            self.set_gathering_state(RTCIceGatheringState::Complete);
        }
    }

    fn set_gathering_state(&mut self, state: RTCIceGatheringState) {
        if self.gathering_state != state {
            self.gathering_state = state;
            self.events
                .push_back(RTCPeerConnectionEvent::OnIceGatheringStateChangeEvent(
                    state,
                ));
        }
    }

    fn announce_candidate(&mut self, candidate: Candidate) {
        if candidate.typ == rtc_ice::CandidateType::PeerReflexive {
            return;
        }
        let data = self.jsep.local().and_then(|local| local.data.as_ref());
        let candidate = RTCIceCandidate::new(
            &candidate,
            data.map(|data| data.mid.clone()),
            data.and_then(|data| u16::try_from(data.index).ok()),
            Some(self.transport.ice.local_credentials().ufrag.clone()),
        );
        self.events
            .push_back(RTCPeerConnectionEvent::OnIceCandidateEvent(
                RTCPeerConnectionIceEvent {
                    candidate,
                    url: String::new(),
                },
            ));
    }

    fn with_local_candidates(&self, description: &Description) -> RTCSessionDescription {
        let sdp = match &description.data {
            Some(data) if data.credentials == *self.transport.ice.local_credentials() => {
                let candidates = self
                    .transport
                    .ice
                    .local_candidates()
                    .iter()
                    .filter(|it| it.typ != rtc_ice::CandidateType::PeerReflexive);
                let complete = self.gathering_state == RTCIceGatheringState::Complete;
                negotiate::with_candidates(&description.text, data, candidates, complete)
            }
            _ => description.text.clone(),
        };
        RTCSessionDescription {
            sdp_type: description.sdp_type,
            sdp,
        }
    }

    /// webrtc-pc section 4.7.3.
    pub(super) fn update_negotiation_needed(&mut self) {
        if self.is_closed() || self.jsep.state() != RTCSignalingState::Stable {
            return;
        }
        let has_section = self
            .jsep
            .current_local
            .as_ref()
            .is_some_and(|local| local.data.is_some());
        let needed = self.negotiation.restart_requested || (self.data.any() && !has_section);
        if needed && !self.negotiation.needed {
            self.events
                .push_back(RTCPeerConnectionEvent::OnNegotiationNeededEvent);
        }
        self.negotiation.needed = needed;
    }
}

/// Our role when the peer answered: the other one.
fn role_as_offerer(answer: &DataSection) -> TransportRole {
    match answer.setup {
        Setup::Active => TransportRole::Server,
        _ => TransportRole::Client,
    }
}

/// Candidates kept while an offer waits for our answer.
const MAX_HELD_CANDIDATES: usize = 100;
