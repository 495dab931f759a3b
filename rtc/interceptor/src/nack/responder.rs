use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc_rtcp::{Nack, Packet as RtcpPacket};

use super::history::{History, Limits};
use super::{MIN_ROUND_TRIP, round_trip_time};
use crate::{Context, Flow, Interceptor, OutgoingRtp, Retransmission, StreamId, StreamMap};

/// What is kept for retransmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NackResponderConfig {
    /// Packets of one stream, rounded down to a power of two (8 192).
    pub max_packets: usize,
    /// For how long at least; three round trip times if that is longer (1 s).
    pub min_age: Duration,
    /// For how long as long as a stream has few packets, up to 512: receivers of slow streams ask
    /// again only when they miss another packet. Never shorter than the least (3 s).
    pub max_age: Duration,
    /// Retransmissions that may wait to be polled, of all streams together (1 024).
    pub max_waiting: usize,
}

impl Default for NackResponderConfig {
    fn default() -> Self {
        Self {
            max_packets: 8_192,
            min_age: Duration::from_secs(1),
            max_age: Duration::from_secs(3),
            max_waiting: 1_024,
        }
    }
}

/// Keeps what was sent on streams that negotiated `nack`, and sends again what is asked for: over the
/// SSRC of the retransmissions if there is one (RFC 4588), else as it was.
///
/// A packet is not repeated again within a round trip time, in which the repetition cannot have been
/// missed.
#[derive(Debug)]
pub struct NackResponder {
    config: NackResponderConfig,
    streams: StreamMap<History>,
    waiting: VecDeque<(StreamId, u16)>,
    /// When to look whether a stream has fallen silent, so that its history goes.
    next: Option<Instant>,
}

impl NackResponder {
    /// A stage with these parameters.
    #[must_use]
    pub fn new(config: NackResponderConfig) -> Self {
        Self {
            config,
            streams: StreamMap::default(),
            waiting: VecDeque::new(),
            next: None,
        }
    }

    fn limits(&self, cx: &Context<'_>) -> Limits {
        let NackResponderConfig {
            max_packets,
            min_age,
            max_age,
            ..
        } = self.config;
        let min_age = min_age.max(round_trip_time(cx.session) * 3);
        Limits {
            packets: max_packets,
            min_age,
            max_age: max_age.max(min_age),
        }
    }

    fn handle_nack(&mut self, cx: &Context<'_>, nack: &Nack) {
        let age = self.limits(cx).max_age;
        let measured = cx.session.round_trip_time().unwrap_or_default();
        let pause = measured.max(MIN_ROUND_TRIP);
        let Some(id) = cx.session.local_by_ssrc(nack.media_ssrc) else {
            return;
        };
        let Some(history) = self.streams.get_mut(id) else {
            return;
        };
        for number in nack.sequence_numbers() {
            if self.waiting.len() >= self.config.max_waiting {
                return;
            }
            let Some(entry) = history.get_mut(cx.now, number, age) else {
                continue;
            };
            let lately = entry
                .repeated
                .is_some_and(|before| cx.now.saturating_duration_since(before) < pause);
            if !lately {
                entry.repeated = Some(cx.now);
                self.waiting.push_back((id, number));
            }
        }
    }

    /// The packet to send for a request, unless it has been dropped meanwhile.
    fn repeat(&mut self, cx: &mut Context<'_>, id: StreamId, number: u16) -> Option<OutgoingRtp> {
        let age = self.limits(cx).max_age;
        let entry = self.streams.get_mut(id)?.get_mut(cx.now, number, age)?;
        let stream = cx.session.local_mut(id)?;
        let (packet, retransmission) = match stream.wrap_retransmission(&entry.packet) {
            Some(packet) => (packet, Retransmission::Rtx),
            None => (entry.packet.clone(), Retransmission::Verbatim),
        };
        let mut outgoing = OutgoingRtp::new(packet, id);
        outgoing.retransmission = Some(retransmission);
        Some(outgoing)
    }
}

impl Interceptor for NackResponder {
    fn bind_local_stream(&mut self, cx: &mut Context<'_>, stream: StreamId) {
        let Some(local) = cx.session.local(stream) else {
            return;
        };
        match local.info.rtcp_feedback.nack {
            true => {
                self.streams.get_or_insert_with(stream, History::default);
            }
            false => {
                self.streams.remove(stream);
            }
        }
    }

    fn unbind_local_stream(&mut self, _cx: &mut Context<'_>, stream: StreamId) {
        self.streams.remove(stream);
        self.waiting.retain(|(waiting, _)| *waiting != stream);
        if self.streams.iter().next().is_none() {
            self.next = None;
        }
    }

    fn incoming_rtcp(&mut self, cx: &mut Context<'_>, packet: &mut RtcpPacket) -> Flow {
        if let RtcpPacket::Nack(nack) = packet {
            self.handle_nack(cx, nack);
        }
        Flow::Forward
    }

    fn sent_rtp(&mut self, cx: &mut Context<'_>, sent: &OutgoingRtp) {
        let limits = self.limits(cx);
        let Some(stream) = cx.session.local(sent.stream) else {
            return;
        };
        let own = sent.packet.header.ssrc == stream.info.ssrc;
        let Some(history) = self.streams.get_mut(sent.stream) else {
            return;
        };
        if own && sent.retransmission.is_none() {
            history.insert(cx.now, sent.packet.clone(), limits);
            self.next.get_or_insert(cx.now + limits.max_age);
        }
    }

    fn poll_outgoing_rtp(&mut self, cx: &mut Context<'_>) -> Option<OutgoingRtp> {
        loop {
            let (id, number) = self.waiting.pop_front()?;
            let outgoing = self.repeat(cx, id, number);
            if outgoing.is_some() {
                return outgoing;
            }
        }
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        if self.next.is_some_and(|next| next <= cx.now) {
            let age = self.limits(cx).max_age;
            let ends = self
                .streams
                .iter_mut()
                .filter_map(|(_, history)| history.expire_all(cx.now, age));
            self.next = ends.min();
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}
