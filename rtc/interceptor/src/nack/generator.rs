use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc_rtcp::{Nack, Packet as RtcpPacket};
use rtc_rtp::sequence::{Arrival, SequenceTracker};

use super::round_trip_time;
use crate::{Context, Flow, IncomingRtp, Interceptor, StreamId, StreamMap};

/// When missing packets are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NackGeneratorConfig {
    /// A packet is missing when so many later ones have come (2): fewer may be reordering.
    pub reorder_packets: u16,
    /// A packet is missing when it is so late, however few later ones have come (10 ms).
    pub reorder_delay: Duration,
    /// How often one packet is asked for (10). The first repetition comes after one and a quarter of
    /// the round trip time.
    pub max_tries: u8,
    /// How many packets of a stream may be missing at once (1 000). When more are, they are given up and
    /// a key frame is asked for instead.
    pub max_missing: usize,
    /// A packet so far behind the newest is given up (2 500).
    pub max_distance: u16,
    /// A packet missing for so long is given up (2 s).
    pub max_age: Duration,
}

impl Default for NackGeneratorConfig {
    fn default() -> Self {
        Self {
            reorder_packets: 2,
            reorder_delay: Duration::from_millis(10),
            max_tries: 10,
            max_missing: 1_000,
            max_distance: 2_500,
            max_age: Duration::from_secs(2),
        }
    }
}

/// Asks for packets that are missing, on the streams that negotiated `nack`.
#[derive(Debug)]
pub struct NackGenerator {
    config: NackGeneratorConfig,
    streams: StreamMap<Gaps>,
    /// The earliest of all, perhaps of a packet that has come since.
    next: Option<Instant>,
    /// A packet is to be asked for now.
    due: bool,
}

/// What is missing of one stream.
#[derive(Debug, Default)]
struct Gaps {
    tracker: SequenceTracker,
    /// In the order of their numbers.
    missing: VecDeque<Missing>,
}

#[derive(Debug)]
struct Missing {
    number: i64,
    since: Instant,
    /// When it is asked for.
    next: Instant,
    tries: u8,
}

impl NackGenerator {
    /// A stage with these parameters.
    #[must_use]
    pub fn new(config: NackGeneratorConfig) -> Self {
        Self {
            config,
            streams: StreamMap::default(),
            next: None,
            due: false,
        }
    }

    /// How many packets of a stream are missing and not given up.
    #[must_use]
    pub fn missing(&self, stream: StreamId) -> usize {
        self.streams
            .get(stream)
            .map_or(0, |gaps| gaps.missing.len())
    }

    /// Packets from `first` to before `end` were skipped.
    fn skip(&mut self, cx: &mut Context<'_>, stream: StreamId, first: i64, end: i64) {
        let config = self.config;
        let Some(gaps) = self.streams.get_mut(stream) else {
            return;
        };
        let skipped = (end - first).max(0) as usize;
        if gaps.missing.len() + skipped > config.max_missing {
            gaps.missing.clear();
            cx.session.request_key_frame(stream);
            return;
        }
        let next = cx.now + config.reorder_delay;
        gaps.missing.extend((first..end).map(|number| Missing {
            number,
            since: cx.now,
            next,
            tries: 0,
        }));
        if skipped > 0 {
            self.next = Some(self.next.map_or(next, |other| other.min(next)));
        }
    }

    /// The newest packet of a stream is `newest`: what lies far behind is given up, what lies a little
    /// behind is now missing for certain.
    fn advance(&mut self, stream: StreamId, newest: i64) {
        let config = self.config;
        let Some(gaps) = self.streams.get_mut(stream) else {
            return;
        };
        let oldest = newest - i64::from(config.max_distance);
        while gaps
            .missing
            .front()
            .is_some_and(|missing| missing.number < oldest)
        {
            gaps.missing.pop_front();
        }
        let certain = newest - i64::from(config.reorder_packets);
        self.due |= gaps
            .missing
            .iter()
            .rev()
            .take_while(|missing| missing.tries == 0)
            .any(|missing| missing.number <= certain);
    }
}

impl Gaps {
    fn arrived(&mut self, number: i64) {
        if let Ok(index) = self
            .missing
            .binary_search_by_key(&number, |missing| missing.number)
        {
            self.missing.remove(index);
        }
    }

    /// The numbers to ask for now, marked as asked for.
    fn take_due(
        &mut self,
        now: Instant,
        retry: Duration,
        config: &NackGeneratorConfig,
        nack: &mut Nack,
    ) {
        let newest = self.tracker.extended_highest();
        let behind = |number: i64| newest.wrapping_sub(number as u32).cast_signed();
        self.missing.retain(|missing| {
            missing.tries < config.max_tries
                && now.saturating_duration_since(missing.since) < config.max_age
        });
        for missing in &mut self.missing {
            let certain =
                missing.tries == 0 && behind(missing.number) >= i32::from(config.reorder_packets);
            if (certain || missing.next <= now) && nack.pairs.len() < MAX_PAIRS {
                nack.insert(missing.number as u16);
                missing.tries += 1;
                missing.next = now + retry;
            }
        }
    }
}

impl Interceptor for NackGenerator {
    fn unbind_remote_stream(&mut self, _cx: &mut Context<'_>, stream: StreamId) {
        self.streams.remove(stream);
    }

    fn incoming_rtp(&mut self, cx: &mut Context<'_>, incoming: &mut IncomingRtp) -> Flow {
        let stream = incoming.stream;
        let wanted = cx.session.remote(stream).is_some_and(|remote| {
            remote.info.rtcp_feedback.nack && remote.info.ssrc == incoming.packet.header.ssrc
        });
        if !wanted {
            return Flow::Forward;
        }
        let gaps = self.streams.get_or_insert_with(stream, Gaps::default);
        match gaps.tracker.receive(incoming.packet.header.sequence_number) {
            Arrival::Advance { extended, skipped } => {
                if skipped > 0 {
                    self.skip(cx, stream, extended - i64::from(skipped), extended);
                }
                self.advance(stream, extended);
            }
            Arrival::Late { extended } => gaps.arrived(extended),
            Arrival::Restart { .. } => gaps.missing.clear(),
            _ => {}
        }
        Flow::Forward
    }

    fn poll_outgoing_rtcp(&mut self, cx: &mut Context<'_>) -> Option<RtcpPacket> {
        if !self.due {
            return None;
        }
        let retry = round_trip_time(cx.session) * 5 / 4;
        for (id, gaps) in self.streams.iter_mut() {
            let Some(remote) = cx.session.remote(id) else {
                continue;
            };
            let mut nack = Nack {
                sender_ssrc: cx.session.reporter_ssrc(),
                media_ssrc: remote.info.ssrc,
                ..Nack::default()
            };
            gaps.take_due(cx.now, retry, &self.config, &mut nack);
            if !nack.pairs.is_empty() {
                return Some(nack.into());
            }
        }
        self.due = false;
        let missing = self.streams.iter().flat_map(|(_, gaps)| &gaps.missing);
        self.next = missing.map(|missing| missing.next).min();
        None
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        if self.next.is_some_and(|next| next <= cx.now) {
            self.next = None;
            self.due = true;
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

/// What one packet asks for at most, so that it fits a datagram.
const MAX_PAIRS: usize = 200;
