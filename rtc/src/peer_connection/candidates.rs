//! Candidates of both sides, and the interfaces that ours come from (webrtc-pc sections 4.4.1.6 and
//! 4.8).

use std::net::SocketAddr;

use rtc_ice::Candidate;
use rtc_shared::TransportProtocol;

use super::RTCPeerConnection;
use super::configuration::RTCIceTransportPolicy;
use super::description::Description;
use super::event::{RTCPathLostEvent, RTCPeerConnectionEvent, RTCPeerConnectionIceEvent};
use super::negotiate;
use super::sdp::{RTCSdpType, RTCSessionDescription};
use super::state::RTCIceGatheringState;
use super::transport::{RTCIceCandidate, RTCIceCandidateInit};
use crate::Error;
use crate::transport::streams::ACTIVE_PORT;

impl RTCPeerConnection {
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
        let section =
            match (&init.sdp_mid, init.sdp_mline_index) {
                (Some(mid), _) => {
                    let section = remote.sections.iter().find(|section| section.mid == *mid);
                    Some(section.ok_or_else(|| {
                        Error::Operation(format!("there is no m-section {mid:?}"))
                    })?)
                }
                (None, Some(index)) => {
                    let section = remote.sections.get(usize::from(index));
                    Some(section.ok_or_else(|| {
                        Error::Operation(format!("there is no m-section {index}"))
                    })?)
                }
                (None, None) => None,
            };
        let of_section = section
            .and_then(|section| remote.transports.get(section.transport?))
            .map(|transport| transport.credentials.ufrag.clone());
        let candidate = if line.is_empty() {
            None
        } else {
            let candidate = line
                .parse::<Candidate>()
                .map_err(|error| Error::Operation(format!("candidate {line:?}: {error}")))?;
            Some(candidate)
        };
        let mut init = init;
        if init.username_fragment.is_none() {
            init.username_fragment = candidate
                .as_ref()
                .and_then(|candidate| candidate.ufrag.clone())
                .or(of_section);
        }
        let ufrag = init.username_fragment.clone();
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
        if protocol == TransportProtocol::UDP {
            self.transport.gather.add_base(self.now, addr);
        }
        if self.configuration.ice_candidate_pool_size > 0 {
            self.gather_ahead();
        }
        if self.gathering_state != RTCIceGatheringState::New {
            let setting = &self.configuration.setting;
            let (rewrite, tcp) = (&setting.address_rewrite, setting.ice_tcp);
            for candidate in self.transport.add_host(addr, protocol, rewrite, tcp) {
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
        if protocol == TransportProtocol::UDP {
            self.transport.gather.remove_base(addr);
            let mut others = self.interfaces.iter();
            if !others.any(|(other, it)| other.ip() == addr.ip() && *it == protocol) {
                let active = SocketAddr::new(addr.ip(), ACTIVE_PORT);
                self.transport.ice.remove_local_base(active);
            }
        }
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
            // It may have been a socket for a relay.
            self.transport.gather.remove_base(local_addr);
            self.settle();
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

    pub(super) fn apply_remote_candidate(
        &mut self,
        candidate: Option<Candidate>,
        ufrag: Option<&str>,
    ) {
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
            Some(candidate) if candidate.socket_addr().is_none() => self.look_up(candidate),
            Some(candidate) => self.transport.add_remote_candidate(self.now, candidate),
            None => self.transport.ice.end_of_remote_candidates(),
        }
    }

    /// Takes what a server gave.
    pub(super) fn on_gather(&mut self, event: crate::gather::Event) {
        use crate::gather::Event;
        if self.is_closed() {
            return;
        }
        let ice = &mut self.transport.ice;
        match event {
            Event::Found(candidate) => {
                let added = ice.add_local_candidate(*candidate).cloned();
                if let Some(candidate) = added
                    && self.gathering_state != RTCIceGatheringState::New
                {
                    self.announce_candidate(candidate);
                }
            }
            Event::ReflexiveLost { address, base } => ice.remove_server_reflexive(address, base),
            Event::RelayLost(relayed) => ice.remove_local_base(relayed),
            Event::Error(event) => self
                .events
                .push_back(RTCPeerConnectionEvent::OnIceCandidateErrorEvent(event)),
        }
    }

    /// Asks the servers before there is a description.
    fn gather_ahead(&mut self) {
        if self.jsep.local().is_none() && !self.is_gathering_ahead {
            self.is_gathering_ahead = true;
            self.begin_gathering();
        }
    }

    fn begin_gathering(&mut self) {
        let configuration = &self.configuration;
        let relay_only = configuration.ice_transport_policy == RTCIceTransportPolicy::Relay;
        self.transport
            .begin_gathering(self.now, &configuration.ice_servers, relay_only);
    }

    /// Host candidates of every interface, once there is a description to announce them for, and those
    /// of the servers as they come.
    pub(super) fn gather(&mut self) {
        if self.gathering_state != RTCIceGatheringState::New
            || self
                .jsep
                .local()
                .is_none_or(|local| local.transport().is_none())
        {
            return;
        }
        self.set_gathering_state(RTCIceGatheringState::Gathering);
        // What was begun ahead is under way, unless it was for an earlier generation.
        if !std::mem::take(&mut self.is_gathering_ahead) {
            self.begin_gathering();
        }
        for &(addr, protocol) in &self.interfaces {
            let setting = &self.configuration.setting;
            let (rewrite, tcp) = (&setting.address_rewrite, setting.ice_tcp);
            self.transport.add_host(addr, protocol, rewrite, tcp);
        }
        for candidate in self.transport.ice.local_candidates().to_vec() {
            self.announce_candidate(candidate);
        }
        self.finish_gathering();
    }

    pub(super) fn finish_gathering(&mut self) {
        if self.gathering_state == RTCIceGatheringState::Gathering
            && !self.is_closed()
            && !self.interfaces.is_empty()
            && !self.transport.gather.is_gathering()
        {
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
        self.announce_name(&candidate);
        let Some(candidate) = self.shown(&candidate) else {
            return;
        };
        let Some(local) = self.jsep.local() else {
            return;
        };
        let ufrag = &self.transport.ice.local_credentials().ufrag;
        for index in self.sections_with_candidates(local) {
            let mid = local.sections.get(index).map(|section| section.mid.clone());
            let url = candidate.url.clone().unwrap_or_default();
            let candidate = RTCIceCandidate::new(
                &candidate,
                mid,
                u16::try_from(index).ok(),
                Some(ufrag.clone()),
            );
            self.events
                .push_back(RTCPeerConnectionEvent::OnIceCandidateEvent(
                    RTCPeerConnectionIceEvent { candidate, url },
                ));
        }
    }

    /// The m-sections of a local description that candidates belong to: the first in use once the
    /// peer has shown that all share a transport, each with a transport of its own before.
    fn sections_with_candidates(&self, local: &Description) -> Vec<usize> {
        let remote = self.jsep.current_remote.as_ref();
        let is_rejected = |index: usize| {
            let section = remote.and_then(|remote| remote.sections.get(index));
            section.is_some_and(|section| section.rejected)
        };
        let is_shared = local.sdp_type != RTCSdpType::Offer
            || remote.is_some_and(|remote| remote.transport().is_some());
        local
            .sections
            .iter()
            .enumerate()
            .filter(|(index, section)| {
                section.transport.is_some() && !section.bundle_only && !is_rejected(*index)
            })
            .map(|(index, _)| index)
            .take(if is_shared { 1 } else { usize::MAX })
            .collect()
    }

    pub(super) fn with_local_candidates(&self, description: &Description) -> RTCSessionDescription {
        let credentials = self.transport.ice.local_credentials();
        let sdp = match description.transport() {
            Some(transport) if transport.credentials == *credentials => {
                let candidates = self
                    .transport
                    .ice
                    .local_candidates()
                    .iter()
                    .filter(|it| it.typ != rtc_ice::CandidateType::PeerReflexive)
                    .filter_map(|it| self.shown(it));
                let complete = self.gathering_state == RTCIceGatheringState::Complete;
                let sections = self.sections_with_candidates(description);
                negotiate::with_candidates(&description.text, &sections, candidates, complete)
            }
            _ => description.text.clone(),
        };
        RTCSessionDescription {
            sdp_type: description.sdp_type,
            sdp,
        }
    }
}

/// Candidates kept while an offer waits for our answer.
const MAX_HELD_CANDIDATES: usize = 100;
