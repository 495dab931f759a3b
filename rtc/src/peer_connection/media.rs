//! The W3C operations on senders, receivers and transceivers (webrtc-pc section 5.1).

use rtc_sdp::Direction;

use super::RTCPeerConnection;
use super::event::RTCPeerConnectionEvent;
use crate::Error;
use crate::media_stream::{MediaStreamId, MediaStreamTrack};
use crate::rtp_transceiver::rtp_sender::{Sender, checked_streams};
use crate::rtp_transceiver::transceivers::{New, Transceiver};
use crate::rtp_transceiver::{
    NegotiatedMedia, RTCRtpCodec, RTCRtpEncodingParameters, RTCRtpReceiver, RTCRtpReceiverId,
    RTCRtpSender, RTCRtpSenderId, RTCRtpTransceiver, RTCRtpTransceiverId, RTCRtpTransceiverInit,
    RtpCodecKind, encodings,
};

impl RTCPeerConnection {
    /// Sends a track: with a transceiver that has not sent before and whose sender has none, or with
    /// a new one. The peer learns of it with the next exchange.
    ///
    /// The codings of the track become the encodings of a new sender: several with a `rid` each are
    /// simulcast.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the connection is closed; [`Error::InvalidAccess`] when the track
    /// is being sent already or an SSRC is in use; otherwise as
    /// [`add_transceiver_from_track`](Self::add_transceiver_from_track).
    pub fn add_track(&mut self, track: MediaStreamTrack) -> Result<RTCRtpSenderId, Error> {
        self.check_open()?;
        let is_sent = |it: &Transceiver| {
            let own = it.sender.track.as_ref();
            own.is_some_and(|own| own.track_id() == track.track_id())
        };
        if self.media.list.iter().any(is_sent) {
            return Err(Error::InvalidAccess(format!(
                "the track {:?} is sent already",
                track.track_id()
            )));
        }
        let streams = checked_streams(vec![track.stream_id().clone()])?;
        let is_free = |it: &&Transceiver| {
            it.sender.track.is_none() && it.kind == track.kind() && !it.stopping && !it.has_sent
        };
        let id = match self.media.list.iter().find(is_free) {
            Some(it) => it.id,
            None => {
                let init = RTCRtpTransceiverInit {
                    direction: Direction::Inactive.into(),
                    streams: streams.clone(),
                    send_encodings: track.codings().to_vec(),
                };
                let it = self.new_transceiver(track.kind(), None, init)?;
                it.by_add_track = true;
                it.direction = Direction::RecvOnly;
                it.id
            }
        };
        if let Some(it) = self.media.get_mut(id) {
            it.sender.attach(track, streams);
            it.track_was_added = true;
            it.direction = Direction::from_flags(true, it.direction.receives());
        }
        self.media.changed();
        self.update_negotiation_needed();
        Ok(id.sender_id())
    }

    /// Sends a track no more. The transceiver stays and can receive; the peer learns of it with the
    /// next exchange.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the connection is closed, [`Error::InvalidAccess`] when there
    /// was never such a sender.
    pub fn remove_track(&mut self, sender_id: RTCRtpSenderId) -> Result<(), Error> {
        self.check_open()?;
        if !self.media.has_made(sender_id.transceiver_id()) {
            return Err(Error::InvalidAccess(format!("there is no {sender_id}")));
        }
        let Some(it) = self.media.get_mut(sender_id.transceiver_id()) else {
            // It has stopped and was forgotten.
            return Ok(());
        };
        if it.stopping || it.sender.track.take().is_none() {
            return Ok(());
        }
        it.direction = Direction::from_flags(false, it.direction.receives());
        self.media.changed();
        self.update_negotiation_needed();
        Ok(())
    }

    /// Makes a transceiver that sends a track. Encodings are those of `init`, or else the codings of
    /// the track; streams are those of `init`, or else the one of the track.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the connection is closed; [`Error::Type`] for a malformed or
    /// repeated `rid`, or an identifier of a stream that SDP cannot have; [`Error::Range`] for a scale
    /// below 1 or a negative frame rate; [`Error::Operation`] for a codec that is not registered;
    /// [`Error::InvalidAccess`] when an SSRC is in use.
    pub fn add_transceiver_from_track(
        &mut self,
        track: MediaStreamTrack,
        init: Option<RTCRtpTransceiverInit>,
    ) -> Result<RTCRtpTransceiverId, Error> {
        let mut init = init.unwrap_or_default();
        if init.send_encodings.is_empty() {
            init.send_encodings = track.codings().to_vec();
        }
        if init.streams.is_empty() {
            init.streams = vec![track.stream_id().clone()];
        }
        self.add_transceiver(track.kind(), Some(track), init)
    }

    /// Makes a transceiver without a track.
    ///
    /// # Errors
    /// As [`add_transceiver_from_track`](Self::add_transceiver_from_track).
    pub fn add_transceiver_from_kind(
        &mut self,
        kind: RtpCodecKind,
        init: Option<RTCRtpTransceiverInit>,
    ) -> Result<RTCRtpTransceiverId, Error> {
        self.add_transceiver(kind, None, init.unwrap_or_default())
    }

    fn add_transceiver(
        &mut self,
        kind: RtpCodecKind,
        track: Option<MediaStreamTrack>,
        init: RTCRtpTransceiverInit,
    ) -> Result<RTCRtpTransceiverId, Error> {
        self.check_open()?;
        let id = self.new_transceiver(kind, track, init)?.id;
        self.update_negotiation_needed();
        Ok(id)
    }

    fn new_transceiver(
        &mut self,
        kind: RtpCodecKind,
        track: Option<MediaStreamTrack>,
        init: RTCRtpTransceiverInit,
    ) -> Result<&mut Transceiver, Error> {
        let Some(direction) = init.direction.to_sdp() else {
            return Err(Error::Type("a transceiver cannot begin stopped".to_owned()));
        };
        let codecs: Vec<RTCRtpCodec> = self
            .configuration
            .media_engine
            .codecs(kind)
            .iter()
            .map(|codec| codec.rtp_codec.clone())
            .collect();
        if codecs.is_empty() {
            return Err(Error::Operation(format!(
                "no codec is registered for {kind}"
            )));
        }
        let streams: Vec<MediaStreamId> = checked_streams(init.streams)?;
        let encodings: Vec<RTCRtpEncodingParameters> =
            encodings::initial(kind, init.send_encodings, &codecs)?;
        let sender = Sender::new(&mut self.media, kind, track, streams, encodings)?;
        Ok(self.media.add(New {
            kind,
            direction,
            sender,
            receiver_track: None,
        }))
    }

    /// The senders in the order of their making.
    pub fn get_senders(&self) -> impl Iterator<Item = RTCRtpSenderId> + use<'_> {
        self.get_transceivers().map(RTCRtpTransceiverId::sender_id)
    }

    /// The receivers in the order of their making.
    pub fn get_receivers(&self) -> impl Iterator<Item = RTCRtpReceiverId> + use<'_> {
        self.get_transceivers()
            .map(RTCRtpTransceiverId::receiver_id)
    }

    /// The transceivers in the order of their making; those that have stopped are not among them.
    pub fn get_transceivers(&self) -> impl Iterator<Item = RTCRtpTransceiverId> + use<'_> {
        self.media.list.iter().map(|it| it.id)
    }

    /// A view of a sender.
    pub fn rtp_sender(&mut self, id: RTCRtpSenderId) -> Option<RTCRtpSender<'_>> {
        self.media.get(id.transceiver_id())?;
        Some(RTCRtpSender {
            connection: self,
            id,
        })
    }

    /// A view of a receiver.
    pub fn rtp_receiver(&mut self, id: RTCRtpReceiverId) -> Option<RTCRtpReceiver<'_>> {
        self.media.get(id.transceiver_id())?;
        Some(RTCRtpReceiver {
            connection: self,
            id,
        })
    }

    /// A view of a transceiver.
    pub fn rtp_transceiver(&mut self, id: RTCRtpTransceiverId) -> Option<RTCRtpTransceiver<'_>> {
        self.media.get(id)?;
        Some(RTCRtpTransceiver {
            connection: self,
            id,
        })
    }

    /// What was negotiated for media, one for each m-section that a transceiver stands for.
    pub fn negotiated_media(&self) -> impl Iterator<Item = NegotiatedMedia> + use<'_> {
        self.media.list.iter().filter_map(Transceiver::negotiated)
    }

    /// Grows whenever [`negotiated_media`](Self::negotiated_media) or a sender's track or encodings may
    /// have changed.
    #[must_use]
    pub fn media_generation(&self) -> u64 {
        self.media.generation()
    }

    pub(crate) fn stop_transceiver(&mut self, id: RTCRtpTransceiverId) {
        let Some(it) = self.media.get_mut(id).filter(|it| !it.stopping) else {
            return;
        };
        it.stop_sending_and_receiving();
        it.direction = Direction::Inactive;
        let is_known = it.is_associated();
        let is_offered = self
            .negotiation
            .last_offer
            .as_ref()
            .is_some_and(|it| it.includes(id));
        self.media.end_track(id);
        if !is_known && !is_offered {
            // Nobody has to be told.
            self.media.stop(id);
            self.media.remove(id);
        }
        self.media.changed();
        self.flush_track_events();
        self.update_negotiation_needed();
    }

    pub(super) fn flush_track_events(&mut self) {
        let events = self
            .media
            .events
            .drain(..)
            .map(RTCPeerConnectionEvent::OnTrack);
        self.events.extend(events);
    }
}
