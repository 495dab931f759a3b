//! The transceivers of a connection and what they remember.

use std::collections::VecDeque;

use rtc_sdp::Direction;
use rtc_shared::Rng;

use super::encodings;
use super::negotiated::{
    NegotiatedCodec, NegotiatedEncoding, NegotiatedMedia, NegotiatedReceive, NegotiatedSend,
};
use super::parameters::{
    RTCRtpCodec, RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind, SSRC,
};
use super::rtp_receiver::Receiver;
use super::rtp_sender::Sender;
use super::{RTCRtpReceiverId, RTCRtpTransceiverId};
use crate::Error;
use crate::media_stream::MediaStreamTrackId;
use crate::peer_connection::event::RTCTrackEvent;

/// A transceiver: the internal slots of W3C (webrtc-pc section 5.4) and what was negotiated.
#[derive(Debug)]
pub(crate) struct Transceiver {
    pub(crate) id: RTCRtpTransceiverId,
    pub(crate) kind: RtpCodecKind,
    /// The m-section it stands for, by tag and place.
    pub(crate) mid: Option<String>,
    pub(crate) mline: Option<usize>,
    pub(crate) direction: Direction,
    pub(crate) current_direction: Option<Direction>,
    /// `stop` was called.
    pub(crate) stopping: bool,
    /// Its m-section was rejected.
    pub(crate) stopped: bool,
    pub(crate) preferences: Vec<RTCRtpCodec>,
    /// Made by `add_track`, so that an m-section of the peer's offer may be given to it.
    pub(crate) by_add_track: bool,
    /// Made by the peer's offer that waits for an answer; a rollback takes it back unless a track was
    /// added to it.
    pub(crate) by_pending_offer: bool,
    /// `add_track` has put a track into it.
    pub(crate) track_was_added: bool,
    /// It was negotiated to send at some time; `add_track` leaves it alone then.
    pub(crate) has_sent: bool,
    /// The application was told that its track is there, and of nothing else since.
    pub(crate) is_announced: bool,
    /// The application was told of its track at some time.
    pub(crate) was_announced: bool,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    /// Without encodings, which are the sender's.
    pub(crate) send: Option<NegotiatedSend>,
    pub(crate) receive: Option<NegotiatedReceive>,
    /// What a rollback brings back.
    pub(crate) stable: Option<Box<StableState>>,
}

/// What an offer changes of a transceiver, as it was before.
#[derive(Clone, Debug)]
pub(crate) struct StableState {
    pub(crate) mid: Option<String>,
    pub(crate) mline: Option<usize>,
    pub(crate) receiver: Receiver,
    pub(crate) receive: Option<NegotiatedReceive>,
    pub(crate) encodings: Vec<RTCRtpEncodingParameters>,
    pub(crate) simulcast: bool,
}

impl Transceiver {
    /// What packets need to know, if there is an m-section.
    pub(crate) fn negotiated(&self) -> Option<NegotiatedMedia> {
        let (mid, mline_index) = (self.mid.clone()?, self.mline?);
        let mut send = self.send.clone();
        if let Some(send) = &mut send {
            send.encodings = self.negotiated_encodings(send);
        }
        Some(NegotiatedMedia {
            transceiver_id: self.id,
            sender_id: self.id.sender_id(),
            receiver_id: self.id.receiver_id(),
            mid,
            mline_index,
            kind: self.kind,
            send,
            receive: self.receive.clone(),
        })
    }

    fn negotiated_encodings(&self, send: &NegotiatedSend) -> Vec<NegotiatedEncoding> {
        let has_rtx = send.codecs.iter().any(|codec| codec.rtx.is_some());
        let encoding = |(index, encoding): (usize, &RTCRtpEncodingParameters)| {
            let coding = &encoding.rtp_coding_parameters;
            let asks = |codec: &&NegotiatedCodec| {
                let wanted = &encoding.codec;
                !wanted.mime_type.is_empty()
                    && encodings::means(&codec.parameters.rtp_codec, wanted)
            };
            let layer = send.layers.iter().find(|layer| layer.rid == coding.rid);
            let restricted = |codec: &&NegotiatedCodec| {
                let number = &codec.parameters.payload_type;
                layer.is_some_and(|layer| layer.payload_types.contains(number))
            };
            let codec = send
                .codecs
                .iter()
                .find(asks)
                .or_else(|| send.codecs.iter().find(restricted));
            NegotiatedEncoding {
                index,
                ssrc: coding.ssrc.unwrap_or_default(),
                rtx: coding.rtx.filter(|_| has_rtx).map(|rtx| rtx.ssrc),
                rid: Some(coding.rid.clone()).filter(|_| self.sender.simulcast),
                active: encoding.active,
                payload_type: codec.map(|codec| codec.parameters.payload_type),
            }
        };
        self.sender
            .encodings
            .iter()
            .enumerate()
            .map(encoding)
            .collect()
    }

    /// Ends both directions, without a word to the peer.
    pub(crate) fn stop_sending_and_receiving(&mut self) {
        self.stopping = true;
        self.send = None;
        self.receive = None;
        self.receiver.track.stop();
    }

    pub(crate) fn is_associated(&self) -> bool {
        self.mid.is_some()
    }

    pub(crate) fn remember(&mut self) {
        self.stable = Some(Box::new(StableState {
            mid: self.mid.clone(),
            mline: self.mline,
            receiver: self.receiver.clone(),
            receive: self.receive.clone(),
            encodings: self.sender.encodings.clone(),
            simulcast: self.sender.simulcast,
        }));
    }
}

/// All transceivers of a connection in the order in which they were made.
#[derive(Debug)]
pub(crate) struct Transceivers {
    pub(crate) list: Vec<Transceiver>,
    next_id: u32,
    next_transaction: u64,
    /// Canonical name of all our sources (RFC 8834 section 4.9).
    pub(crate) cname: String,
    rng: Rng,
    generation: u64,
    pub(crate) events: VecDeque<RTCTrackEvent>,
}

/// How a transceiver is to be made.
pub(crate) struct New {
    pub(crate) kind: RtpCodecKind,
    pub(crate) direction: Direction,
    pub(crate) sender: Sender,
    /// The track's identifier that the peer has given.
    pub(crate) receiver_track: Option<MediaStreamTrackId>,
}

impl Transceivers {
    pub(crate) fn new(mut rng: Rng) -> Self {
        Self {
            list: Vec::new(),
            next_id: 0,
            next_transaction: 0,
            cname: rng.string(ALPHABET, 16),
            rng,
            generation: 0,
            events: VecDeque::new(),
        }
    }

    /// Grows with each change of what packets need to know.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn changed(&mut self) {
        self.generation += 1;
    }

    pub(crate) fn get(&self, id: RTCRtpTransceiverId) -> Option<&Transceiver> {
        self.list.iter().find(|it| it.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: RTCRtpTransceiverId) -> Option<&mut Transceiver> {
        self.list.iter_mut().find(|it| it.id == id)
    }

    /// One that is not stopped, nor about to.
    pub(crate) fn live(&mut self, id: RTCRtpTransceiverId) -> Result<&mut Transceiver, Error> {
        self.get_mut(id)
            .filter(|it| !it.stopping)
            .ok_or(Error::InvalidState("the transceiver is stopped"))
    }

    /// The one that stands for an m-section.
    pub(crate) fn at(&self, mline: usize, mid: &str) -> Option<&Transceiver> {
        self.list
            .iter()
            .find(|it| it.mline == Some(mline) && it.mid.as_deref() == Some(mid))
    }

    pub(crate) fn add(&mut self, new: New) -> &mut Transceiver {
        let id = RTCRtpTransceiverId(self.next_id);
        self.next_id += 1;
        let track_id = new
            .receiver_track
            .filter(|id| {
                !self
                    .list
                    .iter()
                    .any(|it| it.receiver.track.track_id() == id)
            })
            .unwrap_or_else(|| self.random_track_id());
        let transceiver = Transceiver {
            id,
            kind: new.kind,
            mid: None,
            mline: None,
            direction: new.direction,
            current_direction: None,
            stopping: false,
            stopped: false,
            preferences: Vec::new(),
            by_add_track: false,
            by_pending_offer: false,
            track_was_added: false,
            has_sent: false,
            is_announced: false,
            was_announced: false,
            sender: new.sender,
            receiver: Receiver::new(new.kind, track_id),
            send: None,
            receive: None,
            stable: None,
        };
        self.changed();
        let index = self.list.len();
        self.list.push(transceiver);
        #[expect(clippy::indexing_slicing, reason = "it was pushed just now")]
        &mut self.list[index]
    }

    /// Gives each encoding its sources: those that it asks for, random ones otherwise.
    pub(crate) fn assign_sources(
        &mut self,
        kind: RtpCodecKind,
        encodings: &mut [RTCRtpEncodingParameters],
    ) -> Result<(), Error> {
        let mut used = self.sources();
        for encoding in encodings.iter() {
            let coding = &encoding.rtp_coding_parameters;
            for ssrc in coding
                .ssrc
                .into_iter()
                .chain(coding.rtx.map(|rtx| rtx.ssrc))
            {
                if used.contains(&ssrc) {
                    return Err(Error::InvalidAccess(format!("the SSRC {ssrc} is in use")));
                }
                used.push(ssrc);
            }
        }
        self.fill_sources(kind, encodings, used);
        Ok(())
    }

    /// The same for encodings that ask for none.
    pub(crate) fn assign_free_sources(
        &mut self,
        kind: RtpCodecKind,
        encodings: &mut [RTCRtpEncodingParameters],
    ) {
        let used = self.sources();
        self.fill_sources(kind, encodings, used);
    }

    fn fill_sources(
        &mut self,
        kind: RtpCodecKind,
        encodings: &mut [RTCRtpEncodingParameters],
        mut used: Vec<SSRC>,
    ) {
        let rng = &mut self.rng;
        let mut fresh = || {
            loop {
                let ssrc = rng.u32();
                if ssrc != 0 && !used.contains(&ssrc) {
                    used.push(ssrc);
                    return ssrc;
                }
            }
        };
        for encoding in encodings {
            let coding = &mut encoding.rtp_coding_parameters;
            coding.ssrc.get_or_insert_with(&mut fresh);
            if kind == RtpCodecKind::Video {
                coding
                    .rtx
                    .get_or_insert_with(|| RTCRtpRtxParameters { ssrc: fresh() });
            }
        }
    }

    /// Every source in use on either side.
    fn sources(&self) -> Vec<SSRC> {
        let ours = self.list.iter().flat_map(|it| &it.sender.encodings);
        let theirs = self.list.iter().flat_map(|it| &it.receiver.sources);
        ours.flat_map(|encoding| {
            let coding = &encoding.rtp_coding_parameters;
            [coding.ssrc, coding.rtx.map(|rtx| rtx.ssrc)]
        })
        .chain(theirs.flat_map(|source| [Some(source.ssrc), source.rtx, source.fec]))
        .flatten()
        .collect()
    }

    /// An identifier in the form of a UUID (RFC 9562 section 5.4), as browsers give them.
    pub(crate) fn random_track_id(&mut self) -> MediaStreamTrackId {
        let bytes: [u8; 16] = self.rng.array();
        let value = u128::from_be_bytes(bytes) & !(0xF000 << 64) & !(0xC000 << 48)
            | (0x4000 << 64)
            | (0x8000 << 48);
        let hex = format!("{value:032x}");
        let mut id = String::with_capacity(36);
        for (index, digit) in hex.chars().enumerate() {
            if matches!(index, 8 | 12 | 16 | 20) {
                id.push('-');
            }
            id.push(digit);
        }
        id.into()
    }

    pub(crate) fn transaction(&mut self) -> String {
        self.next_transaction += 1;
        self.next_transaction.to_string()
    }

    /// Ends the track of a receiver for the application.
    pub(crate) fn end_track(&mut self, id: RTCRtpTransceiverId) {
        let Some(it) = self.list.iter_mut().find(|it| it.id == id) else {
            return;
        };
        it.receiver.track.stop();
        it.is_announced = false;
        if std::mem::take(&mut it.was_announced) {
            let id = it.receiver.track.track_id().clone();
            self.events.push_back(RTCTrackEvent::OnClose(id));
        }
    }

    /// Stops one for good (webrtc-pc section 5.4, "stop the RTCRtpTransceiver").
    pub(crate) fn stop(&mut self, id: RTCRtpTransceiverId) {
        if let Some(it) = self.get_mut(id) {
            it.stop_sending_and_receiving();
            it.stopped = true;
            it.current_direction = None;
        }
        self.end_track(id);
        self.changed();
    }

    /// Whether there was ever one of that handle.
    pub(crate) fn has_made(&self, id: RTCRtpTransceiverId) -> bool {
        id.0 < self.next_id
    }

    pub(crate) fn remove(&mut self, id: RTCRtpTransceiverId) {
        self.list.retain(|it| it.id != id);
    }

    /// Ends every track; the connection is closed.
    pub(crate) fn close(&mut self) {
        let ids: Vec<_> = self.list.iter().map(|it| it.id).collect();
        for id in ids {
            self.stop(id);
        }
    }

    pub(crate) fn by_receiver(&self, id: RTCRtpReceiverId) -> Option<&Transceiver> {
        self.get(id.transceiver_id())
    }
}

/// Letters and digits, which are safe everywhere in SDP.
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
