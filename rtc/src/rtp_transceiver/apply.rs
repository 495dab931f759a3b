//! What descriptions change of transceivers (webrtc-pc section 4.4.1.5, RFC 9429 sections 5.9 to 5.11).
//!
//! Nothing here fails: descriptions were checked before.

use rtc_rtp::extension::ExtensionKind;
use rtc_sdp::Direction;

use super::agreement;
use super::negotiated::NegotiatedLayer;
use super::parameters::{RTCRtpEncodingParameters, RtpCodecKind};
use super::rtp_sender::Sender;
use super::transceivers::{New, StableState, Transceiver, Transceivers};
use super::{RTCRtpTransceiverId, encodings};
use crate::media_stream::MediaStreamId;
use crate::peer_connection::description::{Description, MediaSection, Section};
use crate::peer_connection::event::{RTCTrackEvent, RTCTrackEventInit};

/// The two descriptions of an exchange that was answered.
pub(crate) struct Exchange<'a> {
    pub(crate) local: &'a Description,
    pub(crate) remote: &'a Description,
    /// Whether the answer is ours.
    pub(crate) answered_by_us: bool,
    /// Whether the answer is more than provisional.
    pub(crate) is_final: bool,
}

impl Transceivers {
    /// An offer ends the stable state: remembers it for a rollback.
    pub(crate) fn leave_stable(&mut self) {
        for it in &mut self.list {
            it.remember();
        }
    }

    /// An offer of ours stands. `plan` has the transceiver of each m-section.
    pub(crate) fn apply_local_offer(
        &mut self,
        offer: &Description,
        plan: &[Option<RTCRtpTransceiverId>],
    ) {
        for (mline, (section, id)) in offer.sections.iter().zip(plan).enumerate() {
            let Some(id) = *id else { continue };
            self.dissociate_others(mline, id);
            let Some(it) = self.get_mut(id) else { continue };
            it.mid = Some(section.mid.clone());
            it.mline = Some(mline);
            if it.stopping {
                continue;
            }
            if let Some(media) = section.as_media().filter(|it| it.direction.receives()) {
                let offered = agreement::receive_early(media);
                it.receive = Some(match it.receive.take() {
                    Some(current) => current.or_offered(offered),
                    None => offered,
                });
            }
        }
        self.changed();
    }

    /// An offer of the peer stands; `replaces` another one that was not answered.
    pub(crate) fn apply_remote_offer(&mut self, offer: &Description, replaces: bool) {
        if replaces {
            self.drop_what_is_not_offered(offer);
        }
        for (mline, section) in offer.sections.iter().enumerate() {
            let Some(kind) = section.kind() else { continue };
            let media = section.as_media();
            let id = match self.at(mline, &section.mid).filter(|it| it.kind == kind) {
                Some(it) => it.id,
                None => {
                    // The place was another's, who has left it.
                    self.dissociate_all(mline, &section.mid);
                    match media {
                        Some(media) => self.take_in(media),
                        None => continue,
                    }
                }
            };
            if let Some(it) = self.get_mut(id) {
                it.mid = Some(section.mid.clone());
                it.mline = Some(mline);
            }
            match media {
                Some(media) => {
                    self.propose_encodings(id, media);
                    self.process_remote_track(id, media.direction.reversed(), Some(media));
                }
                // Rejected; it stops when the answer agrees.
                None => self.process_remote_track(id, Direction::Inactive, None),
            }
        }
        self.changed();
    }

    /// Both sides are known.
    pub(crate) fn apply_answer(&mut self, exchange: &Exchange<'_>) {
        let Exchange {
            local,
            remote,
            answered_by_us,
            is_final,
        } = *exchange;
        let answer = if answered_by_us { local } else { remote };
        // There is one transport: what an answer has on another one cannot work.
        let transport = answer.sections.iter().find_map(|section| section.transport);
        for (mline, (ours, theirs)) in local.sections.iter().zip(&remote.sections).enumerate() {
            let Some(it) = self.at(mline, &ours.mid) else {
                continue;
            };
            let id = it.id;
            let answered = if answered_by_us { ours } else { theirs };
            let (Some(our_media), Some(their_media)) = (ours.as_media(), theirs.as_media()) else {
                self.stop(id);
                continue;
            };
            if answered.transport != transport {
                self.abandon(id);
                continue;
            }
            let direction = our_media
                .direction
                .intersection(their_media.direction.reversed());
            if answered_by_us {
                if !direction.receives() {
                    self.process_remote_track(id, direction, None);
                }
                self.accept_layers(id, direction, &our_media.send_layers);
            } else {
                self.process_remote_track(id, direction, Some(their_media));
                let offered = !our_media.send_layers.is_empty();
                let accepted = if offered {
                    &their_media.recv_layers[..]
                } else {
                    &[]
                };
                self.accept_layers(id, direction, accepted);
            }
            let Some(it) = self.get_mut(id) else { continue };
            it.current_direction = Some(direction);
            it.has_sent |= direction.sends();
            it.sender.forget_parameters();
            if !it.stopping {
                it.send = direction
                    .sends()
                    .then(|| agreement::send(our_media, their_media));
                it.receive = direction
                    .receives()
                    .then(|| agreement::receive(our_media, their_media));
            }
        }
        if is_final {
            self.enter_stable();
        }
        self.changed();
    }

    /// The pending offer is taken back.
    pub(crate) fn roll_back(&mut self) {
        let ids: Vec<_> = self.list.iter().map(|it| it.id).collect();
        for id in ids {
            self.roll_back_one(id);
        }
        self.changed();
    }

    /// Nothing is pending any more: forgets what a rollback would have needed, and those that have
    /// stopped.
    fn enter_stable(&mut self) {
        let gone = |it: &Transceiver| it.stopped || (it.stopping && !it.is_associated());
        let gone: Vec<_> = self
            .list
            .iter()
            .filter(|it| gone(it))
            .map(|it| it.id)
            .collect();
        for id in gone {
            self.stop(id);
            self.remove(id);
        }
        for it in &mut self.list {
            it.stable = None;
            it.by_pending_offer = false;
        }
    }

    fn roll_back_one(&mut self, id: RTCRtpTransceiverId) {
        let Some(it) = self.get_mut(id) else { return };
        if it.by_pending_offer && !it.track_was_added {
            self.stop(id);
            self.remove(id);
            return;
        }
        it.by_pending_offer = false;
        let Some(stable) = it.stable.take() else {
            // It is younger than the stable state and was in no m-section then.
            it.mid = None;
            it.mline = None;
            it.receive = None;
            self.process_remote_track(id, Direction::Inactive, None);
            return;
        };
        let StableState {
            mid,
            mline,
            receiver,
            receive,
            encodings,
            simulcast,
        } = *stable;
        it.mid = mid;
        it.mline = mline;
        if !it.stopping {
            it.receive = receive;
        }
        if it.sender.encodings.len() != encodings.len() || it.sender.simulcast != simulcast {
            it.sender.set_encodings(encodings);
        }
        it.receiver.describe(receiver.layers, receiver.sources);
        let direction = it.current_direction.unwrap_or(Direction::Inactive);
        self.process_streams(id, direction, receiver.streams);
    }

    /// Before another offer takes the place of one that was not answered.
    fn drop_what_is_not_offered(&mut self, offer: &Description) {
        let is_offered = |it: &Transceiver| {
            let section = it.mline.and_then(|mline| offer.sections.get(mline));
            section.is_some_and(|section| {
                it.mid.as_deref() == Some(&section.mid) && section.kind() == Some(it.kind)
            })
        };
        let missing: Vec<_> = self
            .list
            .iter()
            .filter(|it| it.is_associated() && !is_offered(it))
            .map(|it| it.id)
            .collect();
        for id in missing {
            self.roll_back_one(id);
            if let Some(it) = self.get_mut(id) {
                it.remember();
            }
        }
    }

    fn dissociate_others(&mut self, mline: usize, id: RTCRtpTransceiverId) {
        for it in self
            .list
            .iter_mut()
            .filter(|it| it.id != id && it.mline == Some(mline))
        {
            it.mid = None;
            it.mline = None;
        }
    }

    fn dissociate_all(&mut self, mline: usize, mid: &str) {
        let is_at =
            |it: &&mut Transceiver| it.mline == Some(mline) || it.mid.as_deref() == Some(mid);
        for it in self.list.iter_mut().filter(is_at) {
            it.mid = None;
            it.mline = None;
        }
    }

    /// A transceiver for a new m-section of the peer: one that `add_track` made, if the peer wants to
    /// receive, or another new one (RFC 9429 section 5.10).
    fn take_in(&mut self, media: &MediaSection) -> RTCRtpTransceiverId {
        let waits = |it: &&Transceiver| {
            it.by_add_track && !it.is_associated() && !it.stopping && it.kind == media.kind
        };
        if media.direction.receives()
            && let Some(it) = self.list.iter().find(waits)
        {
            return it.id;
        }
        let sender = self.unused_sender(media.kind);
        let track = media.track.as_deref().filter(|track| !track.is_empty());
        let it = self.add(New {
            kind: media.kind,
            direction: Direction::RecvOnly,
            sender,
            receiver_track: track.map(Into::into),
        });
        it.by_pending_offer = true;
        it.id
    }

    /// A sender without track, with one encoding.
    fn unused_sender(&mut self, kind: RtpCodecKind) -> Sender {
        let mut scale = None;
        if kind == RtpCodecKind::Video {
            scale = Some(1.0);
        }
        let mut encodings = vec![RTCRtpEncodingParameters {
            scale_resolution_down_by: scale,
            ..RTCRtpEncodingParameters::default()
        }];
        self.assign_free_sources(kind, &mut encodings);
        Sender::with_sources(
            None,
            Vec::new(),
            encodings,
            self.random_track_id().to_string(),
        )
    }

    /// The peer offers to receive simulcast: a sender that has no layers yet gets those it asks for.
    fn propose_encodings(&mut self, id: RTCRtpTransceiverId, media: &MediaSection) {
        let can_name_layers = media.extension(ExtensionKind::RtpStreamId.uri()).is_some();
        let Some(it) = self.get(id) else { return };
        let is_plain = it.sender.encodings.len() == 1
            && it
                .sender
                .encodings
                .iter()
                .all(|encoding| encoding.rid().is_empty());
        let wanted: Vec<&NegotiatedLayer> = media
            .recv_layers
            .iter()
            .filter(|layer| encodings::is_rid(&layer.rid))
            .collect();
        if it.kind != RtpCodecKind::Video || !is_plain || !can_name_layers || wanted.len() < 2 {
            return;
        }
        let kind = it.kind;
        let count = wanted.len();
        let mut proposed: Vec<_> = wanted
            .iter()
            .enumerate()
            .map(|(index, layer)| RTCRtpEncodingParameters {
                active: !layer.paused,
                scale_resolution_down_by: Some(f64::powi(
                    2.0,
                    i32::try_from(count - 1 - index).unwrap_or_default(),
                )),
                ..RTCRtpEncodingParameters::with_rid(layer.rid.clone())
            })
            .collect();
        self.assign_free_sources(kind, &mut proposed);
        if let Some(it) = self.get_mut(id) {
            it.sender.set_encodings(proposed);
        }
    }

    /// The answer says which layers are sent: the others end, the paused ones become inactive. Without
    /// any, one encoding is left.
    fn accept_layers(
        &mut self,
        id: RTCRtpTransceiverId,
        direction: Direction,
        accepted: &[NegotiatedLayer],
    ) {
        let Some(it) = self.get_mut(id) else { return };
        let sender = &mut it.sender;
        if !sender.simulcast || !direction.sends() {
            return;
        }
        let layer_of = |encoding: &RTCRtpEncodingParameters| {
            accepted.iter().find(|layer| layer.rid == encoding.rid())
        };
        if !sender
            .encodings
            .iter()
            .any(|encoding| layer_of(encoding).is_some())
        {
            sender.encodings.truncate(1);
            sender.simulcast = false;
            return;
        }
        sender
            .encodings
            .retain(|encoding| layer_of(encoding).is_some());
        for encoding in &mut sender.encodings {
            if let Some(layer) = layer_of(encoding) {
                encoding.active = !layer.paused;
            }
        }
    }

    /// The peer accepts the m-section, but not on our transport: it can only be given up.
    fn abandon(&mut self, id: RTCRtpTransceiverId) {
        self.process_remote_track(id, Direction::Inactive, None);
        if let Some(it) = self.get_mut(id) {
            it.stop_sending_and_receiving();
            it.current_direction = Some(Direction::Inactive);
        }
        self.end_track(id);
    }

    /// The peer's track comes, goes or changes its streams ("process remote tracks"). `direction` is
    /// seen from here.
    fn process_remote_track(
        &mut self,
        id: RTCRtpTransceiverId,
        direction: Direction,
        media: Option<&MediaSection>,
    ) {
        let mut streams = Vec::new();
        if let (Some(it), Some(media)) = (self.get_mut(id), media) {
            it.receiver
                .describe(media.send_layers.clone(), media.sources.clone());
            if direction.receives() {
                streams.clone_from(&media.streams);
            }
        }
        self.process_streams(id, direction, streams);
    }

    fn process_streams(
        &mut self,
        id: RTCRtpTransceiverId,
        direction: Direction,
        streams: Vec<MediaStreamId>,
    ) {
        let Some(it) = self.list.iter_mut().find(|it| it.id == id) else {
            return;
        };
        let has_new = streams
            .iter()
            .any(|stream| !it.receiver.streams.contains(stream));
        it.receiver.set_streams(streams);
        if it.stopping {
            return;
        }
        if !direction.receives() {
            if std::mem::take(&mut it.is_announced) {
                it.receiver.track.set_muted(true);
                let id = it.receiver.track.track_id().clone();
                self.events.push_back(RTCTrackEvent::OnClosing(id));
            }
        } else if has_new || !it.is_announced {
            it.is_announced = true;
            it.was_announced = true;
            let receiver = &it.receiver;
            self.events
                .push_back(RTCTrackEvent::OnOpen(RTCTrackEventInit {
                    transceiver_id: it.id,
                    receiver_id: it.id.receiver_id(),
                    track_id: receiver.track.track_id().clone(),
                    kind: it.kind,
                    stream_ids: receiver.streams.clone(),
                    ssrc: receiver.sources.first().map(|source| source.ssrc),
                    rids: receiver
                        .layers
                        .iter()
                        .map(|layer| layer.rid.clone())
                        .collect(),
                }));
        }
    }
}

/// Whether an m-section says that RTP and RTCP share the transport: itself or, in a BUNDLE group, any
/// of its group (RFC 9143 section 9.3).
pub(crate) fn multiplexes_rtcp(description: &Description, section: &Section) -> bool {
    description
        .sections
        .iter()
        .filter(|other| other.transport == section.transport)
        .filter_map(Section::as_media)
        .any(|media| media.rtcp_mux)
}
