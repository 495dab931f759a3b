use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use rtc::media::{Codec, DEFAULT_MAX_FRAME, Sample, SampleBuilder, SampleBuilderConfig};
use rtc::rtp::Packet;
use rtc::rtp_transceiver::{RTCRtpCodecParameters, SSRC};

use super::remote_layer::RemoteLayer;
use crate::RemoteTrack;
use crate::waiters::{Key, Step, When, forget, poll_step};

/// The frames of a [`RemoteTrack`] or a [`RemoteLayer`], in order, put together of its packets.
///
/// A missing packet is waited for; when it does not come, video is left out up to the next key frame,
/// which the peer is asked for. When the codec changes, frames go on in the new one; frames of codecs
/// that [`media`](rtc::media) does not know, telephone events and comfort noise are not given.
///
/// Packets go to one reader: whoever reads the track beside it takes packets away. Of a track in
/// simulcast it gives one layer, that of the first packet; [`RemoteTrack::layer`] chooses.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Samples {
    track: RemoteTrack,
    layer: Option<RemoteLayer>,
    options: Options,
    key: Key,
    current: Option<Current>,
    /// Packets that were read and not looked at, and when.
    packets: VecDeque<Packet>,
    now: Option<Instant>,
    has_ended: bool,
}

#[derive(Clone, Copy, Debug)]
struct Options {
    max_delay: Option<Duration>,
    max_frame: usize,
    wait_for_key_frame: bool,
}

/// The codec in which frames come, and what is left of them.
#[derive(Debug)]
struct Current {
    parameters: RTCRtpCodecParameters,
    builder: SampleBuilder,
    ssrc: SSRC,
    /// How many packets had come to nothing when a key frame was asked for last.
    lost_seen: u64,
}

impl Samples {
    pub(super) fn new(track: RemoteTrack, layer: Option<RemoteLayer>) -> Self {
        Self {
            track,
            layer,
            options: Options {
                max_delay: None,
                max_frame: DEFAULT_MAX_FRAME,
                wait_for_key_frame: true,
            },
            key: Key::default(),
            current: None,
            packets: VecDeque::new(),
            now: None,
            has_ended: false,
        }
    }

    /// How long a missing packet is waited for. Default 200 ms.
    pub fn with_max_delay(mut self, max_delay: Duration) -> Self {
        self.options.max_delay = Some(max_delay);
        self
    }

    /// The most bytes of a frame; larger ones are left out. Default 4 MiB.
    pub fn with_max_frame(mut self, bytes: usize) -> Self {
        self.options.max_frame = bytes;
        self
    }

    /// Whether video begins with a key frame, and after a loss goes on with one, as decoders need it
    /// that do not conceal losses. Default `true`; without it no key frames are asked for.
    pub fn with_wait_for_key_frame(mut self, wait: bool) -> Self {
        self.options.wait_for_key_frame = wait;
        self
    }

    /// The next frame; `None` when the track has ended, or the connection. Dropped before it is ready, no
    /// frame is lost.
    pub async fn next(&mut self) -> Option<Sample> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The codec of the frame that was given last.
    #[must_use]
    pub fn codec(&self) -> Option<&RTCRtpCodecParameters> {
        self.current.as_ref().map(|current| &current.parameters)
    }

    /// The track.
    #[must_use]
    pub fn track(&self) -> &RemoteTrack {
        &self.track
    }
}

impl Stream for Samples {
    type Item = Sample;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(sample) = this.assemble() {
                return Poll::Ready(Some(sample));
            }
            if this.has_ended {
                return Poll::Ready(None);
            }
            if this.poll_read(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Samples {
    /// Reads some packets, or lets time pass.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self {
            track,
            layer,
            key,
            current,
            packets,
            now,
            has_ended,
            ..
        } = self;
        let (id, layer) = (track.id(), layer.as_ref().map(RemoteLayer::id));
        let deadline = current.as_ref().and_then(|it| it.builder.poll_timeout());
        poll_step(track.handle(), track.place(layer), key, cx, |state| {
            *now = state.media.now();
            while packets.len() < BATCH {
                match state.read_rtp(id, layer) {
                    Step::Done(Some(packet)) => packets.push_back(packet),
                    Step::Done(None) => {
                        *has_ended = packets.is_empty();
                        break;
                    }
                    Step::Wait(_) if packets.is_empty() => {
                        return match deadline {
                            Some(at) if now.is_some_and(|now| now >= at) => Step::Done(()),
                            Some(at) => Step::Wait(When::Until(at)),
                            None => Step::Wait(When::Any),
                        };
                    }
                    Step::Wait(_) => break,
                }
            }
            Step::Done(())
        })
    }

    /// The next frame that the packets give which were read.
    fn assemble(&mut self) -> Option<Sample> {
        let now = self.now?;
        loop {
            if let Some(current) = &mut self.current {
                let sample = current.builder.pop(now);
                if sample.is_some() {
                    return sample;
                }
                if let Some(ssrc) = current.needs_key_frame_of() {
                    self.track
                        .ask(|receiver| receiver.request_key_frame_of(ssrc));
                }
            }
            let Some(packet) = self.packets.pop_front() else {
                let current = self.current.as_mut().filter(|_| self.has_ended)?;
                return current.builder.pop(now + LONG);
            };
            if let Some(sample) = self.push(now, packet) {
                return Some(sample);
            }
        }
    }

    /// Takes a packet. When it changes the codec, what is left in the old one is given first.
    fn push(&mut self, now: Instant, mut packet: Packet) -> Option<Sample> {
        let (ssrc, payload_type) = (packet.header.ssrc, packet.header.payload_type);
        if let Some(current) = &mut self.current {
            let is_other = current.ssrc != ssrc;
            if is_other && self.layer.is_none() && self.track.rid_of(ssrc).is_some() {
                // Another layer of a simulcast.
                return None;
            }
            if current.parameters.payload_type == payload_type {
                current.ssrc = ssrc;
                current.builder.push(now, packet);
                return None;
            }
        }
        let parameters = self.track.codec_of(payload_type);
        let codec = parameters
            .as_ref()
            .and_then(|it| Codec::from_mime_type(&it.rtp_codec.mime_type))
            .filter(|codec| *codec != Codec::TelephoneEvent);
        let (Some(codec), Some(parameters)) = (codec, parameters) else {
            if let Some(current) = &mut self.current {
                // It has a number among those of the frames, which is not to be waited for.
                packet.payload.clear();
                current.builder.push(now, packet);
            }
            return None;
        };
        if let Some(current) = &mut self.current
            && let Some(sample) = current.builder.pop(now + LONG)
        {
            self.packets.push_front(packet);
            return Some(sample);
        }
        self.current = Current::new(&self.options, codec, parameters, ssrc);
        if let Some(current) = &mut self.current {
            current.builder.push(now, packet);
        }
        None
    }
}

impl Current {
    /// `None` for what cannot be put together.
    fn new(
        options: &Options,
        codec: Codec,
        parameters: RTCRtpCodecParameters,
        ssrc: SSRC,
    ) -> Option<Self> {
        let fmtp = &parameters.rtp_codec.sdp_fmtp_line;
        let depacketizer = codec.depacketizer(fmtp, options.max_frame).ok()?;
        let mut config = SampleBuilderConfig::new(parameters.rtp_codec.clock_rate);
        config.max_delay = options.max_delay.unwrap_or(config.max_delay);
        config.max_bytes = config.max_bytes.max(options.max_frame);
        config.wait_for_key_frame = options.wait_for_key_frame && codec.is_video();
        Some(Self {
            parameters,
            builder: SampleBuilder::new(depacketizer, config),
            ssrc,
            lost_seen: 0,
        })
    }

    /// The source that is to be asked for a key frame: packets have come to nothing since it was last
    /// asked, and all do so until there is one.
    fn needs_key_frame_of(&mut self) -> Option<SSRC> {
        let stats = self.builder.stats();
        let lost = stats.packets_missing + stats.packets_malformed + stats.packets_discarded;
        let before = std::mem::replace(&mut self.lost_seen, lost);
        (lost != before && self.builder.needs_key_frame()).then_some(self.ssrc)
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        if self.key.is_set() {
            let place = self.track.place(self.layer.as_ref().map(RemoteLayer::id));
            let key = &mut self.key;
            self.track.handle().with(|state| forget(state, place, key));
        }
    }
}

/// Packets that are read at once.
const BATCH: usize = 64;
/// So late nothing is waited for any more.
const LONG: Duration = Duration::from_secs(3600);
