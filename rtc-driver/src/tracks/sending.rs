use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::media::{Codec, Sample, SampleSender, SampleSenderConfig, UnsupportedCodec};
use rtc::peer_connection::RTCPeerConnection;
use rtc::rtp::Packet;
use rtc::rtp::extension::ExtensionMap;
use rtc::rtp_transceiver::{
    RTCRtpCodecParameters, RTCRtpSender, RTCRtpTransceiverDirection, RTCRtpTransceiverId,
};

use super::TrackFeedback;
use crate::shared::State;
use crate::waiters::{Step, Waiters, When};
use crate::{Error, SendError};

/// What a [`LocalTrack`](crate::LocalTrack) does with packets and samples that cannot be sent now:
/// sending is not negotiated, or too much of the connection waits already.
///
/// Packets wait while the connection is being set up, or when they come faster than datagrams leave.
/// Whatever the policy, those that have waited for a second are dropped, and at most 8,192 packets and
/// 8 MiB wait in a connection; the oldest make room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// Writing waits until there is room, which is less than 512 packets, and until sending is
    /// negotiated. For sources that can wait, such as files.
    Wait,
    /// Writing never waits. Before sending is negotiated packets are dropped; afterwards the oldest
    /// that wait make room. For live sources.
    #[default]
    DropOldest,
    /// Writing never waits. When 512 packets wait already, or some were dropped, the track's packets
    /// are dropped up to the next key frame, which is asked for by
    /// [`feedback`](crate::LocalTrack::feedback): the peer sees no broken pictures, and nobody sends
    /// what could not be decoded. For live video.
    DropToKeyFrame,
}

/// What the handles of a sender share.
#[derive(Debug, Default)]
pub(super) struct Sender {
    pub(super) overflow: Overflow,
    /// Packets that were dropped before the core.
    pub(super) dropped: u64,
    pub(super) feedback_waiters: Waiters,
    pub(super) feedback_readers: usize,
    feedback: VecDeque<TrackFeedback>,
    handles: usize,
    layers: Vec<Layer>,
    /// Kept for their memory.
    packets: Vec<Packet>,
}

/// What one encoding of a sender remembers.
#[derive(Debug, Default)]
struct Layer {
    /// `None` for packets that say themselves which they are of.
    rid: Option<String>,
    /// The generation of what was negotiated of which `codec` is.
    generation: Option<u64>,
    parameters: Option<RTCRtpCodecParameters>,
    codec: Option<Codec>,
    samples: Option<SampleSender>,
    needs_key_frame: bool,
    /// When a key frame was asked for.
    asked: Option<Instant>,
    /// How many packets of the connection had been dropped when it last wrote.
    unsent_seen: u64,
}

impl Sender {
    pub(super) fn is_used(&self) -> bool {
        self.handles > 0 || self.feedback_readers > 0
    }

    pub(super) fn has_feedback(&self) -> bool {
        !self.feedback.is_empty()
    }

    pub(super) fn next_feedback(&mut self) -> Option<TrackFeedback> {
        self.feedback.pop_front()
    }

    /// A wish; an older one of its kind is met by it.
    pub(super) fn push_feedback(&mut self, feedback: TrackFeedback) {
        self.feedback.retain(|older| !feedback.replaces(older));
        if self.feedback.len() >= MAX_FEEDBACK {
            self.feedback.pop_front();
        }
        self.feedback.push_back(feedback);
    }

    /// The place of what is remembered of an encoding.
    fn place(&mut self, rid: Option<&str>) -> usize {
        let is_it = |layer: &Layer| layer.rid.as_deref() == rid;
        if let Some(at) = self.layers.iter().position(is_it) {
            return at;
        }
        if self.layers.len() >= MAX_LAYERS {
            self.layers.remove(0);
        }
        self.layers.push(Layer {
            rid: rid.map(str::to_owned),
            ..Layer::default()
        });
        self.layers.len() - 1
    }
}

/// How a packet is given to the core.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way<'a> {
    /// It says itself which encoding it is of, or there is but one.
    Plain,
    /// It is of the layer of this name.
    Layer(&'a str),
    /// It comes from another connection, where header extensions have these numbers.
    Forward(&'a ExtensionMap),
}

impl Way<'_> {
    fn rid(&self) -> Option<&str> {
        match self {
            Self::Layer(rid) => Some(rid),
            Self::Plain | Self::Forward(_) => None,
        }
    }

    fn write(self, view: &mut RTCRtpSender<'_>, packet: Packet) -> Result<(), SendError> {
        let result = match self {
            Self::Plain => view.write_rtp(packet),
            Self::Layer(rid) => view.write_rtp_layer(rid, packet),
            Self::Forward(received) => view.forward_rtp(packet, received),
        };
        result.map_err(|error| match error {
            rtc::Error::MessageTooLarge { max, .. } => SendError::TooLarge { max },
            error => SendError::Refused(error),
        })
    }
}

/// What is to be done with what the application writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Send,
    Drop,
    /// To be sent if a decoder can begin with it.
    SendKeyFrame,
}

/// Senders for their handles.
impl State {
    pub(super) fn local_handle_made(&mut self, id: RTCRtpTransceiverId) {
        self.media.senders.entry(id).or_default().handles += 1;
    }

    pub(super) fn local_handle_dropped(&mut self, id: RTCRtpTransceiverId) {
        if let Some(sender) = self.media.senders.get_mut(&id) {
            sender.handles -= 1;
            // Numbers of samples go on should there be another handle, unless the sender is gone.
            if !sender.is_used() && self.core.rtp_transceiver(id).is_none() {
                self.media.senders.remove(&id);
            }
        }
    }

    /// Sends a packet, drops it, or leaves it where it is.
    pub(super) fn write_rtp(
        &mut self,
        id: RTCRtpTransceiverId,
        way: Way<'_>,
        packet: &mut Option<Packet>,
    ) -> Step<Result<(), SendError>> {
        let fate = match self.fate(id, way.rid()) {
            Step::Done(Ok(fate)) => fate,
            Step::Done(Err(error)) => return Step::Done(Err(error)),
            Step::Wait(when) => return Step::Wait(when),
        };
        let Some(packet) = packet.take() else {
            return Step::Done(Ok(()));
        };
        if !self.is_sent(id, way.rid(), fate, |layer| layer.is_key_frame(&packet)) {
            return Step::Done(Ok(()));
        }
        self.nudge = true;
        let view = self.core.rtp_sender(id.sender_id());
        Step::Done(match view {
            Some(mut view) => way.write(&mut view, packet),
            None => Err(SendError::Closed),
        })
    }

    /// The same for the packets of a sample.
    pub(super) fn write_sample(
        &mut self,
        id: RTCRtpTransceiverId,
        rid: Option<&str>,
        sample: &Sample,
    ) -> Step<Result<(), SendError>> {
        let fate = match self.fate(id, rid) {
            Step::Done(Ok(fate)) => fate,
            Step::Done(Err(error)) => return Step::Done(Err(error)),
            Step::Wait(when) => return Step::Wait(when),
        };
        Step::Done(self.send_sample(id, rid, sample, fate))
    }

    fn send_sample(
        &mut self,
        id: RTCRtpTransceiverId,
        rid: Option<&str>,
        sample: &Sample,
        fate: Fate,
    ) -> Result<(), SendError> {
        let sender = self.media.senders.entry(id).or_default();
        let at = sender.place(rid);
        let Some(layer) = sender.layers.get_mut(at) else {
            return Ok(());
        };
        if fate == Fate::Drop {
            if let Some(samples) = &mut layer.samples {
                samples.advance(sample.duration);
            }
            sender.dropped += 1;
            return Ok(());
        }
        layer.update(&mut self.core, id);
        let mut packets = std::mem::take(&mut sender.packets);
        packets.clear();
        let samples = layer.samples(&mut self.core)?;
        let before = samples.sequence_number();
        let made = samples.send(sample, &mut packets);
        let is_sent = made.is_ok()
            && self.is_sent(id, rid, fate, |layer| {
                let mut packets = packets.iter();
                packets.any(|packet| layer.is_key_frame(packet))
            });
        let mut result = made.map_err(SendError::from);
        if is_sent {
            self.nudge |= !packets.is_empty();
            let way = rid.map_or(Way::Plain, Way::Layer);
            if let Some(mut view) = self.core.rtp_sender(id.sender_id()) {
                for packet in packets.drain(..) {
                    result = result.and_then(|()| way.write(&mut view, packet));
                }
            }
        }
        if let Some(sender) = self.media.senders.get_mut(&id) {
            let layer = sender.layers.get_mut(at).filter(|_| !is_sent);
            if let Some(samples) = layer.and_then(|it| it.samples.as_mut()) {
                // The peer is not to miss what was never sent.
                samples.set_sequence_number(before);
            }
            packets.clear();
            sender.packets = packets;
        }
        result
    }

    /// What is to be done with what comes next for an encoding.
    fn fate(
        &mut self,
        id: RTCRtpTransceiverId,
        rid: Option<&str>,
    ) -> Step<Result<Fate, SendError>> {
        if let Err(error) = self.check() {
            return Step::Done(Err(match error {
                Error::DriverLost => SendError::DriverLost,
                _ => SendError::Closed,
            }));
        }
        let Self { core, media, .. } = self;
        let view = core.rtp_sender(id.sender_id());
        let is_negotiated = view.is_some_and(|it| it.is_negotiated());
        if !is_negotiated {
            let transceiver = core.rtp_transceiver(id);
            let stopped = RTCRtpTransceiverDirection::Stopped;
            if transceiver.is_none_or(|it| it.direction() == stopped || it.stopped()) {
                return Step::Done(Err(SendError::Closed));
            }
        }
        let is_full = core.buffered_rtp() >= FULL;
        let sender = media.senders.entry(id).or_default();
        match sender.overflow {
            Overflow::Wait if !is_negotiated => Step::Wait(When::Any),
            Overflow::Wait if is_full => Step::Wait(When::Room),
            Overflow::Wait | Overflow::DropOldest => Step::Done(Ok(match is_negotiated {
                true => Fate::Send,
                false => Fate::Drop,
            })),
            Overflow::DropToKeyFrame => {
                let unsent = core.counters().media.dropped_unsent;
                let at = sender.place(rid);
                let Some(layer) = sender.layers.get_mut(at) else {
                    return Step::Done(Ok(Fate::Send));
                };
                layer.update(core, id);
                let has_lost = std::mem::replace(&mut layer.unsent_seen, unsent) != unsent;
                layer.needs_key_frame |= has_lost || is_full || !is_negotiated;
                Step::Done(Ok(match layer.needs_key_frame {
                    false => Fate::Send,
                    true if is_full || !is_negotiated => Fate::Drop,
                    true => Fate::SendKeyFrame,
                }))
            }
        }
    }

    /// Whether something of that fate is sent; asks for a key frame if it had to be one.
    fn is_sent(
        &mut self,
        id: RTCRtpTransceiverId,
        rid: Option<&str>,
        fate: Fate,
        is_key_frame: impl FnOnce(&Layer) -> bool,
    ) -> bool {
        if fate == Fate::Send {
            return true;
        }
        let sender = self.media.senders.entry(id).or_default();
        let at = sender.place(rid);
        if let Some(layer) = sender
            .layers
            .get_mut(at)
            .filter(|_| fate == Fate::SendKeyFrame)
        {
            if is_key_frame(layer) {
                layer.needs_key_frame = false;
                layer.asked = None;
                return true;
            }
            let now = self.media.now;
            let is_asked = layer
                .asked
                .zip(now)
                .is_some_and(|(asked, now)| now.saturating_duration_since(asked) < ASK_AGAIN);
            if !is_asked {
                layer.asked = now;
                let negotiated = self.core.rtp_transceiver(id).and_then(|it| it.negotiated());
                let encodings = negotiated.and_then(|it| it.send).map(|it| it.encodings);
                let mut encodings = encodings.unwrap_or_default().into_iter();
                let of_layer = encodings.find(|it| rid.is_none() || it.rid.as_deref() == rid);
                if let Some(encoding) = of_layer {
                    sender.push_feedback(TrackFeedback::KeyFrameRequest {
                        rid: encoding.rid,
                        ssrc: encoding.ssrc,
                    });
                    self.media.feedback_told = true;
                    self.nudge = true;
                }
            }
        }
        sender.dropped += 1;
        false
    }
}

impl Layer {
    fn update(&mut self, core: &mut RTCPeerConnection, id: RTCRtpTransceiverId) {
        let generation = Some(core.media_generation());
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        let mut view = core.rtp_sender(id.sender_id());
        let codec = view
            .as_mut()
            .and_then(|view| view.codec(self.rid.as_deref()));
        if codec.is_some() && codec != self.parameters.as_ref() {
            self.parameters = codec.cloned();
            let codec = self.parameters.as_ref().map(|it| &it.rtp_codec);
            self.codec = codec.and_then(|it| Codec::from_mime_type(&it.mime_type));
            self.change_codec(core);
        }
    }

    /// Samples go on in another codec; sequence numbers and timestamps go on where they were.
    fn change_codec(&mut self, core: &mut RTCPeerConnection) {
        let Some(samples) = &mut self.samples else {
            return;
        };
        let (Some(codec), Some(parameters)) = (self.codec, &self.parameters) else {
            self.samples = None;
            return;
        };
        let config = samples.config_mut();
        config.payload_type = parameters.payload_type;
        config.clock_rate = parameters.rtp_codec.clock_rate;
        let fmtp = &parameters.rtp_codec.sdp_fmtp_line;
        match codec.packetizer(fmtp, &mut core.fork_rng()) {
            Ok(packetizer) => *samples.packetizer_mut() = packetizer,
            Err(_) => self.samples = None,
        }
    }

    fn samples(&mut self, core: &mut RTCPeerConnection) -> Result<&mut SampleSender, SendError> {
        if self.samples.is_none() {
            let parameters = self.parameters.as_ref();
            let (codec, parameters) = self.codec.zip(parameters).ok_or(UNSUPPORTED)?;
            let mtu = core.get_configuration().setting_engine().mtu;
            let config = SampleSenderConfig {
                // The connection's own are written.
                ssrc: 0,
                payload_type: parameters.payload_type,
                clock_rate: parameters.rtp_codec.clock_rate,
                max_payload: mtu.saturating_sub(OVERHEAD).max(MIN_PAYLOAD),
            };
            let mut rng = core.fork_rng();
            let packetizer = codec.packetizer(&parameters.rtp_codec.sdp_fmtp_line, &mut rng)?;
            self.samples = Some(SampleSender::new(packetizer, config, &mut rng));
        }
        self.samples.as_mut().ok_or(UNSUPPORTED)
    }

    /// Whether a decoder can begin with the packet; also true when that cannot be told.
    fn is_key_frame(&self, packet: &Packet) -> bool {
        self.codec
            .is_none_or(|codec| codec.is_key_frame(&packet.payload))
    }
}

const UNSUPPORTED: SendError = SendError::UnsupportedCodec(UnsupportedCodec);

/// So many packets that wait are too many for those who need not add to them: a second of fast video.
const FULL: usize = 512;
/// So few are room enough for those who wait.
pub(super) const ROOM: usize = FULL / 2;
/// Encodings of one sender that are remembered.
const MAX_LAYERS: usize = 16;
/// Wishes that wait for a reader.
const MAX_FEEDBACK: usize = 64;
/// When a key frame is asked for once more.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// What may be around the payload of a packet, bytes: the header with its extensions, the number of a
/// retransmission, the tag of SRTP.
const OVERHEAD: usize = 12 + 40 + 2 + 16;
/// The least for a payload, however small the MTU.
const MIN_PAYLOAD: usize = 200;
