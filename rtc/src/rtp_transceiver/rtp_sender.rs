//! Senders (webrtc-pc section 5.2).

use rtc_rtp::extension::ExtensionMap;
use rtc_sdp::is_token;

use super::encodings;
pub use super::parameters::*;
use super::rtp_receiver::flat_codecs;
use super::transceivers::{Transceiver, Transceivers};
use super::{RTCRtpSenderId, RTCRtpTransceiverId};
use crate::Error;
use crate::media_stream::{MediaStreamId, MediaStreamTrack};
use crate::peer_connection::RTCPeerConnection;

/// What a connection keeps of a sender.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) track: Option<MediaStreamTrack>,
    pub(crate) streams: Vec<MediaStreamId>,
    /// Each with its sources; at least one.
    pub(crate) encodings: Vec<RTCRtpEncodingParameters>,
    /// Whether packets are told apart by the names of their encodings.
    pub(crate) simulcast: bool,
    /// The track's identifier in `a=msid`, which stays when the track is replaced.
    pub(crate) msid_track: String,
    /// What `get_parameters` gave last, for `set_parameters` to compare with.
    last_returned: Option<Box<RTCRtpSendParameters>>,
}

impl Sender {
    /// A sender with encodings that were checked; see [`encodings::initial`].
    pub(crate) fn new(
        all: &mut Transceivers,
        kind: RtpCodecKind,
        track: Option<MediaStreamTrack>,
        streams: Vec<MediaStreamId>,
        mut encodings: Vec<RTCRtpEncodingParameters>,
    ) -> Result<Self, Error> {
        all.assign_sources(kind, &mut encodings)?;
        let msid_track = match &track {
            Some(track) if is_msid(track.track_id().as_str()) => track.track_id().to_string(),
            _ => all.random_track_id().to_string(),
        };
        Ok(Self::with_sources(track, streams, encodings, msid_track))
    }

    /// The same with sources in the encodings already.
    pub(crate) fn with_sources(
        track: Option<MediaStreamTrack>,
        streams: Vec<MediaStreamId>,
        encodings: Vec<RTCRtpEncodingParameters>,
        msid_track: String,
    ) -> Self {
        Self {
            track,
            streams,
            simulcast: encodings.len() > 1,
            encodings,
            msid_track,
            last_returned: None,
        }
    }

    /// Gives a sender that has not sent before its track.
    pub(crate) fn attach(&mut self, track: MediaStreamTrack, streams: Vec<MediaStreamId>) {
        if is_msid(track.track_id().as_str()) {
            self.msid_track = track.track_id().to_string();
        }
        self.track = Some(track);
        self.streams = streams;
    }

    /// Other encodings: the parameters that were given before do not fit any more.
    pub(crate) fn set_encodings(&mut self, encodings: Vec<RTCRtpEncodingParameters>) {
        self.simulcast = encodings.len() > 1;
        self.encodings = encodings;
        self.forget_parameters();
    }

    pub(crate) fn forget_parameters(&mut self) {
        self.last_returned = None;
    }
}

/// Checks identifiers of streams and drops repeated ones.
pub(crate) fn checked_streams(streams: Vec<MediaStreamId>) -> Result<Vec<MediaStreamId>, Error> {
    let mut checked: Vec<MediaStreamId> = Vec::with_capacity(streams.len());
    for stream in streams.into_iter().filter(|stream| !stream.is_empty()) {
        if !is_msid(&stream) {
            return Err(Error::Type(format!(
                "the stream's identifier {stream:?} is not made of 1 to 64 letters, digits and signs"
            )));
        }
        if !checked.contains(&stream) {
            checked.push(stream);
        }
    }
    Ok(checked)
}

/// RFC 8830 section 2; a lone dash stands for no stream.
fn is_msid(id: &str) -> bool {
    id.len() <= 64 && id != "-" && is_token(id)
}

/// A view of a sender, borrowed from its connection.
#[derive(Debug)]
pub struct RTCRtpSender<'a> {
    pub(crate) connection: &'a mut RTCPeerConnection,
    pub(crate) id: RTCRtpSenderId,
}

impl RTCRtpSender<'_> {
    fn get(&self) -> Option<&Transceiver> {
        self.connection.media.get(self.id.transceiver_id())
    }

    fn live(&mut self) -> Result<&mut Transceiver, Error> {
        self.connection.check_open()?;
        self.connection.media.live(self.id.transceiver_id())
    }

    /// Its handle.
    #[must_use]
    pub fn id(&self) -> RTCRtpSenderId {
        self.id
    }

    /// The transceiver that it is part of.
    #[must_use]
    pub fn transceiver_id(&self) -> RTCRtpTransceiverId {
        self.id.transceiver_id()
    }

    /// Its track, if it has one.
    #[must_use]
    pub fn track(&self) -> Option<&MediaStreamTrack> {
        self.get()?.sender.track.as_ref()
    }

    /// The streams that its track belongs to, as the peer is told.
    #[must_use]
    pub fn streams(&self) -> &[MediaStreamId] {
        self.get().map_or(&[], |it| &it.sender.streams)
    }

    /// Puts another track, or none, in the place of its own. The peer sees the same stream go on; no
    /// negotiation is needed.
    ///
    /// # Errors
    /// [`Error::Type`] when the track is of the other kind; [`Error::InvalidState`] when the
    /// transceiver is stopped or the connection closed; [`Error::InvalidModification`] when a codec
    /// that the track insists on was not negotiated.
    pub fn replace_track(
        &mut self,
        track: impl Into<Option<MediaStreamTrack>>,
    ) -> Result<(), Error> {
        let track = track.into();
        let transceiver = self.live()?;
        if let Some(track) = &track {
            if track.kind() != transceiver.kind {
                return Err(Error::Type(format!(
                    "a sender of {} takes no {} track",
                    transceiver.kind,
                    track.kind()
                )));
            }
            let insists = |coding: &&RTCRtpEncodingParameters| !coding.codec.mime_type.is_empty();
            if let Some(send) = &transceiver.send
                && track.codings().iter().filter(insists).any(|coding| {
                    let means = |it: &RTCRtpCodec| encodings::means(it, &coding.codec);
                    !send.codecs.iter().any(|it| means(&it.parameters.rtp_codec))
                })
            {
                return Err(Error::InvalidModification(
                    "the codec of the track was not negotiated",
                ));
            }
        }
        transceiver.sender.track = track;
        self.connection.media.changed();
        Ok(())
    }

    /// Says which streams the track belongs to. The peer learns it with the next exchange.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the connection is closed or the transceiver stopped,
    /// [`Error::Type`] for an identifier that SDP cannot have.
    pub fn set_streams(&mut self, streams: Vec<MediaStreamId>) -> Result<(), Error> {
        let transceiver = self.live()?;
        transceiver.sender.streams = checked_streams(streams)?;
        self.connection.update_negotiation_needed();
        Ok(())
    }

    /// How it sends. [`set_parameters`](Self::set_parameters) takes the result back with changes.
    #[must_use]
    pub fn get_parameters(&mut self) -> RTCRtpSendParameters {
        let transaction_id = self.connection.media.transaction();
        let cname = self.connection.media.cname.clone();
        let id = self.id.transceiver_id();
        let Some(it) = self.connection.media.get_mut(id) else {
            return RTCRtpSendParameters::default();
        };
        let mut parameters = RTCRtpSendParameters {
            transaction_id,
            encodings: it.sender.encodings.clone(),
            rtp_parameters: RTCRtpParameters::default(),
        };
        let rtp = &mut parameters.rtp_parameters;
        rtp.rtcp.cname = cname;
        if let Some(send) = &it.send {
            rtp.header_extensions = send.header_extensions.clone();
            rtp.rtcp.reduced_size = send.reduced_size_rtcp;
            rtp.codecs = flat_codecs(&send.codecs);
        }
        it.sender.last_returned = Some(Box::new(parameters.clone()));
        parameters
    }

    /// Changes how it sends: which encodings are active, how much each may take, its codec. No
    /// negotiation is needed.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the transceiver is stopped or
    /// [`get_parameters`](Self::get_parameters) was not called since the last change;
    /// [`Error::InvalidModification`] when these are not the parameters that it gave, or something
    /// was changed that cannot be; [`Error::Range`] for a scale below 1 or a negative frame rate.
    pub fn set_parameters(
        &mut self,
        parameters: RTCRtpSendParameters,
        _options: Option<RTCSetParameterOptions>,
    ) -> Result<(), Error> {
        let registered = self.connection.get_configuration().media_engine();
        let kind = self.get().map(|it| it.kind);
        let registered: Vec<RTCRtpCodec> = kind
            .map(|kind| registered.codecs(kind))
            .unwrap_or_default()
            .iter()
            .map(|codec| codec.rtp_codec.clone())
            .collect();
        let it = self.live()?;
        let Some(last) = &it.sender.last_returned else {
            return Err(Error::InvalidState(
                "get_parameters has to be called before set_parameters",
            ));
        };
        if last.transaction_id != parameters.transaction_id {
            return Err(Error::InvalidModification("the parameters are old"));
        }
        if last.rtp_parameters != parameters.rtp_parameters {
            return Err(Error::InvalidModification(
                "what was negotiated cannot be changed",
            ));
        }
        let codecs: Vec<RTCRtpCodec> = match &it.send {
            Some(send) => send
                .codecs
                .iter()
                .map(|codec| codec.parameters.rtp_codec.clone())
                .collect(),
            None => registered,
        };
        let current = &it.sender.encodings;
        encodings::check_change(it.kind, current, &parameters.encodings, &codecs)?;
        it.sender.encodings = parameters.encodings;
        it.sender.forget_parameters();
        self.connection.media.changed();
        Ok(())
    }

    /// Sends a packet.
    ///
    /// It becomes one of the sender's: SSRC, payload type and the header extensions that are the
    /// connection's own (`mid`, `rtp-stream-id`, transport-wide numbers, time of sending) are
    /// written; other extensions stay if they were negotiated, by the numbers of
    /// [`get_parameters`](Self::get_parameters). Sequence number and timestamp stay the application's;
    /// after [`replace_track`](Self::replace_track) they go on where those of the track before ended.
    ///
    /// The payload type is that of the encoding's codec. Where the encoding has none, one that was
    /// negotiated stays, one of the media engine becomes that of the same codec, and any other the
    /// first. With several encodings the packet's SSRC or its `rtp-stream-id` says which it is of.
    ///
    /// Before the connection is up, packets wait for up to a second; the oldest are dropped. Packets of
    /// an encoding that is not active are dropped.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the connection is closed, sending was not negotiated, or the peer
    /// has no SRTP; [`Error::InvalidAccess`] when it is not said which encoding it is of;
    /// [`Error::MessageTooLarge`] for more than 1,400 bytes.
    pub fn write_rtp(&mut self, packet: rtc_rtp::Packet) -> Result<(), Error> {
        let (id, now) = (self.id, self.connection.now());
        self.connection
            .up_to_date_packets()?
            .write(now, id, packet, None)
    }

    /// The same for the simulcast layer of this name.
    ///
    /// # Errors
    /// As [`write_rtp`](Self::write_rtp).
    pub fn write_rtp_layer(&mut self, rid: &str, packet: rtc_rtp::Packet) -> Result<(), Error> {
        let (id, now) = (self.id, self.connection.now());
        self.connection
            .up_to_date_packets()?
            .write(now, id, packet, Some(rid))
    }

    /// Sends a packet that another connection has received, whose header extensions have the numbers
    /// of `received` ([`RTCRtpReceiver::extension_map`](super::RTCRtpReceiver::extension_map)). Those
    /// that are about the media get the numbers of this sender; those about the path it came by go.
    ///
    /// # Errors
    /// As [`write_rtp`](Self::write_rtp).
    pub fn forward_rtp(
        &mut self,
        mut packet: rtc_rtp::Packet,
        received: &ExtensionMap,
    ) -> Result<(), Error> {
        let (id, now) = (self.id, self.connection.now());
        let packets = self.connection.up_to_date_packets()?;
        packets.renumber_extensions(id, &mut packet, received);
        packets.write(now, id, packet, None)
    }

    /// Whether sending is negotiated: packets are refused otherwise.
    #[must_use]
    pub fn is_negotiated(&self) -> bool {
        self.get().is_some_and(|it| it.send.is_some())
    }

    /// The codec in which the encoding `rid` is sent, or the first encoding; `None` while sending is not
    /// negotiated or there is no such encoding.
    #[must_use]
    pub fn codec(&mut self, rid: Option<&str>) -> Option<&RTCRtpCodecParameters> {
        let id = self.id;
        let packets = self.connection.up_to_date_packets().ok()?;
        packets.codec(id, rid)
    }

    /// Sends RTCP packets about what is sent. Reports are sent without it.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the connection is closed or has no keys.
    pub fn write_rtcp(&mut self, packets: Vec<rtc_rtcp::Packet>) -> Result<(), Error> {
        let now = self.connection.now();
        self.connection
            .up_to_date_packets()?
            .write_rtcp(now, packets)
    }

    /// What can be sent of a kind of media.
    #[must_use]
    pub fn get_capabilities(&self, kind: RtpCodecKind) -> RTCRtpCapabilities {
        self.connection
            .get_configuration()
            .media_engine()
            .capabilities(kind)
    }
}
