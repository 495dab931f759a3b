use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc_rtcp::{Packet as RtcpPacket, Twcc, TwccBuilder};
use rtc_rtp::extension::{TransportSequenceNumber, TransportSequenceNumberV2};
use rtc_rtp::sequence::SequenceExtender;

use crate::{Context, Flow, IncomingRtp, Interceptor};

/// How often arrivals are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TwccReceiverConfig {
    /// The least time between two reports (50 ms).
    pub min_interval: Duration,
    /// The greatest time between two reports (100 ms).
    pub max_interval: Duration,
    /// The share of the received bitrate that reports may take, between these bounds, in percent (5).
    pub bandwidth_percent: u32,
    /// Length of a report in bytes; what does not fit goes into another (1 000).
    pub max_len: usize,
}

impl Default for TwccReceiverConfig {
    fn default() -> Self {
        Self {
            min_interval: Duration::from_millis(50),
            max_interval: Duration::from_millis(100),
            bandwidth_percent: 5,
            max_len: 1_000,
        }
    }
}

/// Tells the sender when packets with a transport-wide sequence number arrived.
///
/// A packet that comes late, after a report has counted it as missing, is told of in the next report
/// together with those after it.
#[derive(Debug)]
pub struct TwccReceiver {
    config: TwccReceiverConfig,
    extender: SequenceExtender,
    /// Arrivals from the number `first` on.
    arrivals: VecDeque<Option<Duration>>,
    first: i64,
    /// The number that the next report begins with.
    unreported: i64,
    media_ssrc: u32,
    /// The zero of arrival times.
    epoch: Option<Instant>,
    next: Option<Instant>,
    due: bool,
    rate: Rate,
    feedback_count: u8,
}

/// The bitrate of what arrives, measured from report to report.
#[derive(Debug, Default)]
struct Rate {
    bytes: usize,
    since: Option<Instant>,
    bytes_per_second: u64,
}

impl TwccReceiver {
    /// A stage with these parameters.
    #[must_use]
    pub fn new(config: TwccReceiverConfig) -> Self {
        Self {
            config,
            extender: SequenceExtender::new(),
            arrivals: VecDeque::new(),
            first: 0,
            unreported: 0,
            media_ssrc: 0,
            epoch: None,
            next: None,
            due: false,
            rate: Rate::default(),
            feedback_count: 0,
        }
    }

    /// The time until the next report, by the share of the bandwidth that one of usual size takes.
    fn interval(&self) -> Duration {
        let budget = self.rate.bytes_per_second * u64::from(self.config.bandwidth_percent) / 100;
        let interval = match budget {
            0 => self.config.max_interval,
            budget => Duration::from_micros(USUAL_LEN * 1_000_000 / budget),
        };
        interval
            .max(self.config.min_interval)
            .min(self.config.max_interval)
    }

    fn record(&mut self, sequence_number: u16, arrival: Duration) -> bool {
        let begins = self.extender.highest().is_none();
        let number = self.extender.peek(sequence_number);
        if begins {
            self.first = number;
            self.unreported = number;
        }
        if number < self.first {
            return false;
        }
        self.extender.extend(sequence_number);
        let newest = self.first + self.arrivals.len() as i64;
        // A jump leaves everything before it behind.
        if number - newest >= MAX_PACKETS {
            self.arrivals.clear();
            self.first = number;
            self.unreported = number;
        }
        let index = (number - self.first) as usize;
        if index >= self.arrivals.len() {
            self.arrivals.resize(index + 1, None);
        }
        match self.arrivals.get_mut(index) {
            Some(slot @ None) => *slot = Some(arrival),
            // A duplicate.
            _ => return false,
        }
        self.unreported = self.unreported.min(number);
        while self.arrivals.len() > MAX_PACKETS as usize {
            self.drop_first();
        }
        true
    }

    fn drop_first(&mut self) {
        if self.arrivals.pop_front().is_some() {
            self.first += 1;
            self.unreported = self.unreported.max(self.first);
        }
    }

    /// Forgets what was reported long ago; what is younger may be told of again.
    fn expire(&mut self, arrival: Duration) {
        let oldest = arrival.saturating_sub(KEPT);
        while self.first < self.unreported
            && self
                .arrivals
                .front()
                .is_some_and(|first| first.is_none_or(|time| time < oldest))
        {
            self.drop_first();
        }
    }

    /// The report that begins with the first packet that was not told of.
    fn report(&mut self, sender_ssrc: u32) -> Option<Twcc> {
        let start = (self.unreported - self.first) as usize;
        let mut builder = TwccBuilder::new(self.unreported as u16, self.config.max_len);
        for (index, arrival) in self.arrivals.iter().enumerate().skip(start) {
            let Some(arrival) = *arrival else { continue };
            let number = self.first + index as i64;
            if !builder.push(number as u16, arrival) {
                // Nothing fits when the first packet that came is too far from those that did not.
                if builder.status_count() == 0 {
                    builder = TwccBuilder::new(number as u16, self.config.max_len);
                    self.unreported = number;
                    if builder.push(number as u16, arrival) {
                        continue;
                    }
                    self.unreported = number + 1;
                }
                break;
            }
        }
        self.unreported += i64::from(builder.status_count());
        let report = builder.finish(sender_ssrc, self.media_ssrc, self.feedback_count)?;
        self.feedback_count = self.feedback_count.wrapping_add(1);
        Some(report)
    }
}

impl Rate {
    fn update(&mut self, now: Instant) {
        let elapsed = self.since.map(|since| now.saturating_duration_since(since));
        if let Some(micros) = elapsed.map(|elapsed| elapsed.as_micros() as u64)
            && micros > 0
        {
            let measured = (self.bytes as u64).saturating_mul(1_000_000) / micros;
            self.bytes_per_second = (self.bytes_per_second + measured) / 2;
        }
        self.since = Some(now);
        self.bytes = 0;
    }
}

impl Interceptor for TwccReceiver {
    fn incoming_rtp(&mut self, cx: &mut Context<'_>, incoming: &mut IncomingRtp) -> Flow {
        let Some(stream) = cx.session.remote(incoming.stream) else {
            return Flow::Forward;
        };
        if incoming.recovered || !stream.info.rtcp_feedback.transport_cc {
            return Flow::Forward;
        }
        let extensions = &incoming.packet.header.extensions;
        let map = &stream.info.extensions;
        let (number, requested) = match map.read::<TransportSequenceNumber>(extensions) {
            Some(number) => (number.0, None),
            None => match map.read::<TransportSequenceNumberV2>(extensions) {
                Some(v2) => (v2.sequence_number, Some(v2.feedback_request.is_some())),
                None => return Flow::Forward,
            },
        };
        self.media_ssrc = incoming.wire_ssrc;
        self.rate.bytes += incoming.packet.encoded_len();
        let epoch = *self.epoch.get_or_insert(incoming.arrival);
        let arrival = incoming.arrival.saturating_duration_since(epoch) + ORIGIN;
        if !self.record(number, arrival) {
            return Flow::Forward;
        }
        self.expire(arrival);
        match requested {
            None if self.next.is_none() => self.next = Some(cx.now + self.interval()),
            None => {}
            // The second version has the sender say when it wants to know.
            Some(wanted) => self.due |= wanted,
        }
        Flow::Forward
    }

    fn poll_outgoing_rtcp(&mut self, cx: &mut Context<'_>) -> Option<RtcpPacket> {
        if !self.due {
            return None;
        }
        let report = self.report(cx.session.reporter_ssrc());
        if report.is_none() {
            self.due = false;
        }
        report.map(RtcpPacket::from)
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        if self.next.is_some_and(|next| next <= cx.now) {
            self.rate.update(cx.now);
            self.next = None;
            self.due = true;
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

/// A report of some packets, with encryption and the headers below.
const USUAL_LEN: u64 = 80;
/// The first arrival, not zero, so that one that is told as earlier has a time.
const ORIGIN: Duration = Duration::from_secs(64);
/// For how long arrivals can be told of again.
const KEPT: Duration = Duration::from_millis(500);
/// A quarter of the sequence numbers.
const MAX_PACKETS: i64 = 1 << 14;
