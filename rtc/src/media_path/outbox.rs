//! What the application sends: each packet made into one of its encoding, and a queue up to the
//! interceptors.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use rtc_interceptor::StreamInfo;
use rtc_rtp::extension::{ExtensionKind, ExtensionMap};
use rtc_rtp::{ExtensionForm, Extensions, Packet};
use smallvec::SmallVec;

use super::route::stream_info;
use crate::Error;
use crate::media_stream::{MediaStreamTrackId, RtpStreamId};
use crate::rtp_transceiver::codec::Purpose;
use crate::rtp_transceiver::{
    NegotiatedCodec, NegotiatedEncoding, NegotiatedMedia, NegotiatedSend, PayloadType,
    RTCRtpCodecParameters, RTCRtpSenderId, SSRC,
};

/// The senders of a connection and the packets that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Outboxes {
    /// Sorted by sender.
    list: Vec<Outbox>,
    /// The senders of each track, by their places.
    by_track: HashMap<MediaStreamTrackId, SmallVec<[usize; 1]>>,
    queue: Queue,
}

/// What a sender needs for its packets.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) sender: RTCRtpSenderId,
    pub(crate) mid: String,
    pub(crate) track: Option<MediaStreamTrackId>,
    /// `None` while nothing may be sent.
    send: Option<Formats>,
    pub(super) encodings: Vec<Encoding>,
}

/// What was negotiated for all encodings of a sender.
#[derive(Debug)]
pub(crate) struct Formats {
    pub(super) negotiated: NegotiatedSend,
    pub(super) extensions: ExtensionMap,
    /// The elements that the application may put into a header, as bits.
    allowed: [u64; 4],
    /// Payload types of the media engine that have another number here.
    aliases: Vec<(PayloadType, PayloadType)>,
    default_payload_type: PayloadType,
}

/// One of the encodings of a sender.
#[derive(Debug)]
pub(crate) struct Encoding {
    pub(crate) index: usize,
    pub(crate) ssrc: SSRC,
    pub(crate) rtx: Option<SSRC>,
    pub(crate) rid: Option<RtpStreamId>,
    pub(crate) active: bool,
    payload_type: Option<PayloadType>,
    /// What the interceptors were told; `None` while it is not bound.
    pub(super) bound: Option<StreamInfo>,
    /// The elements that name the m-section and the layer.
    names: Extensions,
    /// The peer has reported on the source, so that it need not be told whose it is.
    pub(super) is_known: bool,
    /// Both forms of header extensions may not occur, and the two-byte form has.
    two_byte: bool,
    continuity: Continuity,
    /// The peer wants a key frame, which the application was not told yet.
    pub(super) key_frame_wanted: bool,
    /// The most that the peer wants, which the application was not told yet.
    pub(super) max_bitrate: Option<u64>,
}

/// Lets the numbers of another track go on where those of the track before ended.
#[derive(Clone, Copy, Debug, Default)]
struct Continuity {
    /// Number and timestamp of the latest packet, as sent, and when it was written.
    last: Option<(u16, u32, Instant)>,
    sequence_offset: u16,
    timestamp_offset: u32,
    /// The next packet is of another track.
    rebase: bool,
}

impl Outboxes {
    /// Takes over what was negotiated. `registered` are the codecs of the media engine.
    pub(super) fn update(
        &mut self,
        all: Vec<(NegotiatedMedia, Option<MediaStreamTrackId>)>,
        registered: &dyn Fn(&NegotiatedMedia) -> Vec<RTCRtpCodecParameters>,
    ) -> Vec<SSRC> {
        let mut old = std::mem::take(&mut self.list);
        self.by_track.clear();
        for (media, track) in all {
            let mut before = old
                .iter()
                .position(|it| it.sender == media.sender_id)
                .map(|at| old.swap_remove(at));
            let is_replaced = before.as_ref().is_some_and(|it| it.track != track);
            let codecs = registered(&media);
            let mut encodings = Vec::new();
            let send = media.send.map(|mut send| {
                let negotiated = std::mem::take(&mut send.encodings);
                let formats = Formats::new(send, &codecs);
                for encoding in negotiated {
                    let known = before.as_mut().and_then(|it| it.take(encoding.ssrc));
                    let mut it = Encoding::new(encoding, &media.mid, &formats, known);
                    it.continuity.rebase |= is_replaced;
                    encodings.push(it);
                }
                formats
            });
            if send.is_none()
                && let Some(before) = &mut before
            {
                // Its numbers go on should it be sent again.
                encodings = std::mem::take(&mut before.encodings);
                for encoding in &mut encodings {
                    encoding.continuity.rebase = true;
                }
            }
            old.extend(before);
            let outbox = Outbox {
                sender: media.sender_id,
                mid: media.mid,
                track,
                send,
                encodings,
            };
            let at = self.list.partition_point(|it| it.sender < outbox.sender);
            self.list.insert(at, outbox);
        }
        for (at, outbox) in self.list.iter().enumerate() {
            if let Some(track) = &outbox.track {
                self.by_track.entry(track.clone()).or_default().push(at);
            }
        }
        // What is bound and sent no more.
        let rest = old.iter_mut().flat_map(|it| &mut it.encodings);
        let idle = self
            .list
            .iter_mut()
            .filter(|it| it.send.is_none())
            .flat_map(|it| &mut it.encodings);
        rest.chain(idle)
            .filter_map(|encoding| encoding.bound.take().map(|_| encoding.ssrc))
            .collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Outbox> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Outbox> {
        self.list.iter_mut()
    }

    pub(super) fn get(&self, sender: RTCRtpSenderId) -> Option<&Outbox> {
        let at = self.place(sender)?;
        self.list.get(at)
    }

    fn place(&self, sender: RTCRtpSenderId) -> Option<usize> {
        self.list.binary_search_by_key(&sender, |it| it.sender).ok()
    }

    pub(super) fn has_track(&self, track: &MediaStreamTrackId) -> bool {
        self.by_track.contains_key(track)
    }

    /// The encoding of a source.
    pub(super) fn encoding_mut(&mut self, ssrc: SSRC) -> Option<&mut Encoding> {
        let mut encodings = self.list.iter_mut().flat_map(|it| &mut it.encodings);
        encodings.find(|it| it.ssrc == ssrc)
    }

    /// The sender of a source.
    pub(super) fn sender_of(&self, ssrc: SSRC) -> Option<&Outbox> {
        let has_it = |it: &&Outbox| it.encodings.iter().any(|encoding| encoding.ssrc == ssrc);
        self.list.iter().find(has_it)
    }

    /// Takes a packet of a track, for each of its senders.
    pub(super) fn write_track(
        &mut self,
        now: Instant,
        track: &MediaStreamTrackId,
        packet: Packet,
    ) -> Result<Written, Error> {
        let Self {
            list,
            by_track,
            queue,
        } = self;
        let Some((last, others)) = by_track.get(track).and_then(|it| it.split_last()) else {
            return Err(Error::InvalidAccess(format!("there is no track {track:?}")));
        };
        for &at in others {
            if let Some(outbox) = list.get_mut(at) {
                outbox.write(now, packet.clone(), Layer::Any, queue)?;
            }
        }
        match list.get_mut(*last) {
            Some(outbox) => outbox.write(now, packet, Layer::Any, queue),
            None => Ok(Written::default()),
        }
    }

    /// Takes a packet of a sender.
    pub(super) fn write(
        &mut self,
        now: Instant,
        sender: RTCRtpSenderId,
        packet: Packet,
        layer: Layer<'_>,
    ) -> Result<Written, Error> {
        let outbox = self.place(sender).and_then(|at| self.list.get_mut(at));
        let Some(outbox) = outbox else {
            return Err(NOT_SENDING);
        };
        outbox.write(now, packet, layer, &mut self.queue)
    }

    pub(super) fn queue(&mut self) -> &mut Queue {
        &mut self.queue
    }

    /// How many packets wait.
    pub(super) fn buffered(&self) -> usize {
        self.queue.packets.len()
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// It was of an encoding that is not active.
    pub(super) inactive: bool,
    /// How many packets before it had to go for it.
    pub(super) dropped: u64,
}

/// Which encoding a packet is of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layer<'a> {
    /// The one that its SSRC or its `rtp-stream-id` tells, or the only one.
    Any,
    /// That of this name.
    Rid(&'a str),
}

impl Outbox {
    /// What was negotiated, while something may be sent.
    pub(super) fn formats(&self) -> Option<&Formats> {
        self.send.as_ref()
    }

    pub(super) fn parts(&mut self) -> (Option<&Formats>, &mut Vec<Encoding>) {
        (self.send.as_ref(), &mut self.encodings)
    }

    /// The codec of the encoding of this name, or of the first.
    pub(super) fn codec(&self, rid: Option<&str>) -> Option<&RTCRtpCodecParameters> {
        let formats = self.send.as_ref()?;
        let encoding = match rid {
            Some(rid) => self
                .encodings
                .iter()
                .find(|it| it.rid.as_deref() == Some(rid)),
            None => self.encodings.first(),
        }?;
        let number = encoding
            .payload_type
            .unwrap_or(formats.default_payload_type);
        formats.codec(number).map(|codec| &codec.parameters)
    }

    fn take(&mut self, ssrc: SSRC) -> Option<Encoding> {
        let at = self.encodings.iter().position(|it| it.ssrc == ssrc)?;
        Some(self.encodings.swap_remove(at))
    }

    fn write(
        &mut self,
        now: Instant,
        mut packet: Packet,
        layer: Layer<'_>,
        queue: &mut Queue,
    ) -> Result<Written, Error> {
        let Some(formats) = &self.send else {
            return Err(NOT_SENDING);
        };
        let size = packet.encoded_len();
        if size > MAX_PACKET {
            return Err(Error::MessageTooLarge {
                size,
                max: MAX_PACKET,
            });
        }
        let rid = formats.extensions.id(ExtensionKind::RtpStreamId);
        let header = &packet.header;
        let is_it = |it: &Encoding| match layer {
            Layer::Rid(rid) => it.rid.as_deref() == Some(rid),
            Layer::Any => it.ssrc == header.ssrc,
        };
        let at = match (self.encodings.iter().position(is_it), layer) {
            (None, Layer::Any) if self.encodings.len() == 1 => Some(0),
            (None, Layer::Any) => {
                let named = rid.and_then(|id| header.extensions.get(id));
                let is_named = |it: &Encoding| {
                    let rid = it.rid.as_ref().map(|rid| rid.as_bytes());
                    rid.is_some() && rid == named
                };
                self.encodings.iter().position(is_named)
            }
            (at, _) => at,
        };
        let Some(encoding) = at.and_then(|at| self.encodings.get_mut(at)) else {
            return Err(Error::InvalidAccess(
                "nothing says which encoding the packet is of: set its SSRC or name the layer"
                    .to_owned(),
            ));
        };
        if !encoding.active {
            return Ok(Written {
                inactive: true,
                ..Written::default()
            });
        }
        encoding.rewrite(now, &mut packet, formats);
        Ok(Written {
            inactive: false,
            dropped: queue.push(packet),
        })
    }
}

impl Formats {
    fn new(negotiated: NegotiatedSend, registered: &[RTCRtpCodecParameters]) -> Self {
        let extensions = negotiated.extension_map();
        let mut allowed = [0; 4];
        for extension in &negotiated.header_extensions {
            let is_ours =
                ExtensionKind::from_uri(&extension.uri).is_some_and(|kind| OURS.contains(&kind));
            let id = usize::from(extension.id);
            if !is_ours && let Some(bits) = allowed.get_mut(id / 64) {
                *bits |= 1 << (id % 64);
            }
        }
        let codecs = &negotiated.codecs;
        let has = |number| codecs.iter().any(|it| it.parameters.payload_type == number);
        let aliases = registered
            .iter()
            .filter(|own| !has(own.payload_type))
            .filter_map(|own| {
                let same = |it: &&NegotiatedCodec| it.parameters.rtp_codec.matches(&own.rtp_codec);
                let negotiated = codecs.iter().find(same)?;
                Some((own.payload_type, negotiated.parameters.payload_type))
            })
            .collect();
        let media = codecs
            .iter()
            .find(|it| it.parameters.rtp_codec.purpose() == Purpose::Media);
        let default_payload_type = media
            .or_else(|| codecs.first())
            .map_or(0, |it| it.parameters.payload_type);
        Self {
            extensions,
            allowed,
            aliases,
            default_payload_type,
            negotiated,
        }
    }

    /// The payload type with which a packet is sent that has `given`, in an encoding that is to have
    /// `wanted`.
    fn payload_type(&self, given: PayloadType, wanted: Option<PayloadType>) -> PayloadType {
        let mut codecs = self.negotiated.codecs.iter();
        let known = codecs.find(|it| it.parameters.payload_type == given);
        match (known, wanted) {
            (Some(_), None) => given,
            // Tones, silence and redundancy go beside the codec that was chosen.
            (Some(codec), Some(wanted)) => match codec.parameters.rtp_codec.purpose() {
                Purpose::Media => wanted,
                _ => given,
            },
            (None, Some(wanted)) => wanted,
            (None, None) => {
                let alias = self.aliases.iter().find(|(own, _)| *own == given);
                alias.map_or(self.default_payload_type, |(_, negotiated)| *negotiated)
            }
        }
    }

    fn allows(&self, id: u8) -> bool {
        let bits = self.allowed.get(usize::from(id) / 64);
        bits.is_some_and(|bits| bits >> (id % 64) & 1 != 0)
    }
}

impl Encoding {
    fn new(
        negotiated: NegotiatedEncoding,
        mid: &str,
        formats: &Formats,
        before: Option<Self>,
    ) -> Self {
        let mut names = Extensions::default();
        let mut name = |kind, value: &str| {
            if let Some(id) = formats.extensions.id(kind) {
                // Descriptions allow no names that would be too long.
                let _ = names.set(id, value.as_bytes());
            }
        };
        name(ExtensionKind::Mid, mid);
        if let Some(rid) = &negotiated.rid {
            name(ExtensionKind::RtpStreamId, rid);
        }
        let is_new = before.is_none();
        let before = before.unwrap_or_else(|| Self {
            index: 0,
            ssrc: negotiated.ssrc,
            rtx: None,
            rid: None,
            active: true,
            payload_type: None,
            bound: None,
            names: Extensions::default(),
            is_known: false,
            two_byte: false,
            continuity: Continuity::default(),
            key_frame_wanted: false,
            max_bitrate: None,
        });
        Self {
            index: negotiated.index,
            active: negotiated.active,
            payload_type: negotiated.payload_type,
            is_known: before.is_known && !is_new && before.names == names,
            rtx: negotiated.rtx,
            rid: negotiated.rid,
            names,
            ..before
        }
    }

    /// How the interceptors are to know it.
    pub(super) fn stream_info(&self, formats: &Formats) -> Option<StreamInfo> {
        let codecs = &formats.negotiated.codecs;
        let number = self.payload_type.unwrap_or(formats.default_payload_type);
        let is_it = |it: &&NegotiatedCodec| it.parameters.payload_type == number;
        let codec = codecs.iter().find(is_it).or_else(|| codecs.first())?;
        Some(stream_info(
            self.ssrc,
            codec,
            codecs,
            self.rtx,
            formats.extensions,
        ))
    }

    /// Makes a packet of the application one of this encoding.
    fn rewrite(&mut self, now: Instant, packet: &mut Packet, formats: &Formats) {
        let header = &mut packet.header;
        header.ssrc = self.ssrc;
        header.payload_type = formats.payload_type(header.payload_type, self.payload_type);
        let clock_rate = match self.continuity.rebase {
            true => formats.clock_rate(header.payload_type),
            false => 0,
        };
        self.continuity.apply(
            now,
            &mut header.sequence_number,
            &mut header.timestamp,
            clock_rate,
        );
        // A layer is known by its name alone, also its retransmissions, so it is told always.
        let named = !self.is_known || self.rid.is_some();
        let given = std::mem::take(&mut header.extensions);
        if named {
            header.extensions.clone_from(&self.names);
        }
        if self.two_byte {
            header.extensions.use_two_byte_form();
        }
        for (id, value) in given.iter().filter(|(id, _)| formats.allows(*id)) {
            // What does not fit is left out.
            let _ = header.extensions.set(id, value);
        }
        if !formats.negotiated.allow_mixed_headers
            && matches!(header.extensions.form(), ExtensionForm::TwoByte { .. })
        {
            self.two_byte = true;
        }
    }
}

impl Formats {
    pub(super) fn codec(&self, payload_type: PayloadType) -> Option<&NegotiatedCodec> {
        let mut codecs = self.negotiated.codecs.iter();
        codecs.find(|it| it.parameters.payload_type == payload_type)
    }

    fn clock_rate(&self, payload_type: PayloadType) -> u32 {
        self.codec(payload_type)
            .map_or(0, |it| it.parameters.rtp_codec.clock_rate)
    }
}

impl Continuity {
    fn apply(&mut self, now: Instant, number: &mut u16, timestamp: &mut u32, clock_rate: u32) {
        if std::mem::take(&mut self.rebase)
            && let Some((last_number, last_timestamp, at)) = self.last
        {
            let elapsed = now.saturating_duration_since(at).as_micros();
            let ticks = (elapsed * u128::from(clock_rate) / 1_000_000) as u32;
            self.sequence_offset = last_number.wrapping_add(1).wrapping_sub(*number);
            self.timestamp_offset = last_timestamp
                .wrapping_add(ticks.max(1))
                .wrapping_sub(*timestamp);
        }
        *number = number.wrapping_add(self.sequence_offset);
        *timestamp = timestamp.wrapping_add(self.timestamp_offset);
        let is_later = |last: u16| number.wrapping_sub(last).cast_signed() > 0;
        if self.last.is_none_or(|(last, ..)| is_later(last)) {
            self.last = Some((*number, *timestamp, now));
        }
    }
}

/// Packets of the application on their way to the interceptors. They wait here while the connection
/// cannot send, the oldest go first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    packets: VecDeque<(Packet, Option<Instant>)>,
    bytes: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Appends a packet. Returns how many had to go for it.
    fn push(&mut self, packet: Packet) -> u64 {
        self.bytes += packet.payload.len();
        self.packets.push_back((packet, None));
        let mut dropped = 0;
        while self.packets.len() > MAX_QUEUED || self.bytes > MAX_QUEUED_BYTES {
            dropped += u64::from(self.take().is_some());
        }
        dropped
    }

    pub(super) fn pop(&mut self) -> Option<Packet> {
        self.take()
    }

    /// Notes when packets were seen waiting, and drops those that have waited too long. Returns how
    /// many.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        for (_, since) in self.packets.iter_mut().rev() {
            if since.is_some() {
                break;
            }
            *since = Some(now);
        }
        let mut dropped = 0;
        let is_late = |since: &Option<Instant>| {
            since.is_some_and(|since| now.saturating_duration_since(since) > MAX_QUEUED_TIME)
        };
        while self
            .packets
            .front()
            .is_some_and(|(_, since)| is_late(since))
        {
            dropped += u64::from(self.take().is_some());
        }
        dropped
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn take(&mut self) -> Option<Packet> {
        let (packet, _) = self.packets.pop_front()?;
        self.bytes -= packet.payload.len();
        Some(packet)
    }
}

/// The elements that are written here or by the interceptors.
const OURS: [ExtensionKind; 6] = [
    ExtensionKind::Mid,
    ExtensionKind::RtpStreamId,
    ExtensionKind::RepairedRtpStreamId,
    ExtensionKind::TransportSequenceNumber,
    ExtensionKind::TransportSequenceNumberV2,
    ExtensionKind::AbsSendTime,
];

const NOT_SENDING: Error = Error::InvalidState("sending was not negotiated");

/// Largest packet, so that header extensions, encryption and the headers below still fit an Ethernet
/// frame: bytes.
const MAX_PACKET: usize = 1400;
/// Packets that may wait: a key frame of each of many layers.
const MAX_QUEUED: usize = 8192;
const MAX_QUEUED_BYTES: usize = 8 * 1024 * 1024;
/// Media that is later than this is of no use.
const MAX_QUEUED_TIME: Duration = Duration::from_secs(1);
