use std::time::{Duration, Instant};

use rtc_rtcp::{
    ExtendedReport, NtpShort, Packet as RtcpPacket, ReceiverReport, ReportBlock, SenderReport,
    XrBlock, round_trip_time,
};
use rtc_rtp::sequence::{Arrival, SequenceTracker};
use smallvec::SmallVec;

use crate::report::ReportConfig;
use crate::stats::RemoteOutboundStats;
use crate::{Context, Flow, IncomingRtp, Interceptor, StreamId, StreamMap};

/// Reports what was received: fills the sender reports that pass on their way to the network, and sends
/// receiver reports for what they do not hold; takes in what the senders report.
#[derive(Debug)]
pub struct ReceiverReports {
    config: ReportConfig,
    streams: StreamMap<Receiver>,
    /// When a round of receiver reports is due; `None` while nothing is received.
    next: Option<Instant>,
    round: Option<Round>,
    /// When a sender report last passed.
    last_sender_report: Option<Instant>,
    /// The zero of arrival times.
    epoch: Option<Instant>,
}

/// Both sources of a stream.
#[derive(Debug)]
struct Receiver {
    media: Source,
    rtx: Option<Source>,
}

/// What has come from one source.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    tracker: SequenceTracker,
    transit: Option<Transit>,
    /// In 1/16 units of the timestamp.
    jitter: u32,
    /// Expected and received at the report before.
    reported: (u64, u64),
    last_packet: Instant,
    last_sender_report: Option<(NtpShort, Instant)>,
}

/// How far the clock of arrivals was ahead of a timestamp.
#[derive(Clone, Copy, Debug)]
struct Transit {
    timestamp: u32,
    difference: u32,
    clock_rate: u32,
}

/// A round of reports that has begun.
#[derive(Clone, Copy, Debug)]
struct Round {
    begun: Instant,
    /// The first source not reported on yet: two for each stream.
    cursor: usize,
    /// The time of this side is still to be sent.
    reference: bool,
    /// A report has been sent, so that no empty one is needed.
    reported: bool,
}

impl ReceiverReports {
    /// A stage with these parameters.
    #[must_use]
    pub fn new(config: ReportConfig) -> Self {
        Self {
            config,
            streams: StreamMap::default(),
            next: None,
            round: None,
            last_sender_report: None,
            epoch: None,
        }
    }

    /// True while this side sends reports of what it sends.
    fn is_sender(&self, now: Instant) -> bool {
        self.last_sender_report
            .is_some_and(|last| now.saturating_duration_since(last) < 3 * self.config.interval)
    }

    fn begin_round(&mut self, cx: &mut Context<'_>) {
        let sender = self.is_sender(cx.now);
        self.round = Some(Round {
            begun: cx.now,
            cursor: 0,
            reference: self.config.receiver_reference_time && !sender,
            reported: sender,
        });
        let active = self
            .streams
            .iter()
            .any(|(_, receiver)| receiver.media.is_active(cx.now));
        // The sender reports begin the rounds while there are any.
        let interval = self.config.interval * if sender { 2 } else { 1 };
        self.next = active.then(|| cx.now + cx.session.spread(interval));
    }

    /// The next blocks of the round, at most as many as a report holds.
    fn blocks(&mut self, cx: &Context<'_>) -> SmallVec<[ReportBlock; 4]> {
        let mut blocks = SmallVec::new();
        let Some(round) = &mut self.round else {
            return blocks;
        };
        for (id, receiver) in self.streams.iter_mut() {
            let sources = [Some(&mut receiver.media), receiver.rtx.as_mut()];
            for (half, source) in sources.into_iter().enumerate() {
                let place = 2 * id.index() + half;
                if place < round.cursor {
                    continue;
                }
                if blocks.len() == MAX_BLOCKS {
                    return blocks;
                }
                round.cursor = place + 1;
                if let Some(source) = source.filter(|source| source.is_active(cx.now)) {
                    blocks.push(source.report(cx.now));
                }
            }
        }
        blocks
    }

    fn handle_sender_report(&mut self, cx: &mut Context<'_>, report: &SenderReport) {
        let Some(id) = cx.session.remote_by_ssrc(report.ssrc) else {
            return;
        };
        if let Some(receiver) = self.streams.get_mut(id) {
            let time = report.info.ntp_time.short();
            receiver.media.last_sender_report = Some((time, cx.now));
        }
        if let Some(stream) = cx.session.remote_mut(id) {
            let before = stream.stats.remote.map(|remote| remote.reports_received);
            stream.stats.remote = Some(RemoteOutboundStats {
                reported_at: cx.now,
                ntp_time: report.info.ntp_time,
                rtp_timestamp: report.info.rtp_timestamp,
                packets_sent: report.info.packet_count,
                bytes_sent: report.info.octet_count,
                reports_received: before.unwrap_or(0) + 1,
            });
        }
    }

    /// Answers to the time that this side has sent.
    fn handle_extended_report(&self, cx: &mut Context<'_>, report: &ExtendedReport) {
        let now = cx.session.ntp_time(cx.now);
        for item in report.dlrr() {
            if !cx.session.is_own_ssrc(item.ssrc) {
                continue;
            }
            let time = round_trip_time(
                now,
                item.last_receiver_report,
                item.delay_since_last_receiver_report,
            );
            if let Some(time) = time {
                cx.session.add_round_trip_time(time);
                let id = cx.session.remote_by_ssrc(report.ssrc);
                if let Some(stream) = id.and_then(|id| cx.session.remote_mut(id)) {
                    stream.stats.round_trip.add(time);
                }
            }
        }
    }
}

impl Interceptor for ReceiverReports {
    fn unbind_remote_stream(&mut self, _cx: &mut Context<'_>, stream: StreamId) {
        self.streams.remove(stream);
    }

    fn incoming_rtp(&mut self, cx: &mut Context<'_>, incoming: &mut IncomingRtp) -> Flow {
        let Some(stream) = cx.session.remote_mut(incoming.stream) else {
            return Flow::Forward;
        };
        if incoming.recovered {
            return Flow::Forward;
        }
        let header = &incoming.packet.header;
        // A retransmission that was unwrapped has the payload type and clock of what it repeats.
        let clock_rate = stream.info.clock_rate_of(header.payload_type);
        let epoch = *self.epoch.get_or_insert(incoming.arrival);
        let arrival = incoming.arrival.saturating_duration_since(epoch);

        let media_ssrc = stream.info.ssrc;
        let receiver = self
            .streams
            .get_or_insert_with(incoming.stream, || Receiver {
                media: Source::new(media_ssrc, incoming.arrival),
                rtx: None,
            });
        let source = match incoming.wire_ssrc == media_ssrc {
            true => &mut receiver.media,
            false => receiver
                .rtx
                .get_or_insert_with(|| Source::new(incoming.wire_ssrc, incoming.arrival)),
        };
        if source.ssrc != incoming.wire_ssrc {
            *source = Source::new(incoming.wire_ssrc, incoming.arrival);
        }
        source.last_packet = incoming.arrival;
        source.receive(
            incoming.wire_sequence_number,
            header.timestamp,
            arrival,
            clock_rate,
        );
        stream.stats.packets_lost = receiver.media.tracker.lost();
        if !incoming.retransmission {
            let micros = u64::from(receiver.media.jitter >> 4) * 1_000_000;
            stream.stats.jitter = Duration::from_micros(micros / u64::from(clock_rate.max(1)));
        }
        if self.next.is_none() {
            self.next = Some(cx.now + cx.session.spread(self.config.interval / 4));
        }
        Flow::Forward
    }

    fn incoming_rtcp(&mut self, cx: &mut Context<'_>, packet: &mut RtcpPacket) -> Flow {
        match packet {
            RtcpPacket::SenderReport(report) => self.handle_sender_report(cx, report),
            RtcpPacket::ExtendedReport(report) => self.handle_extended_report(cx, report),
            _ => {}
        }
        Flow::Forward
    }

    fn outgoing_rtcp(&mut self, cx: &mut Context<'_>, packet: &mut RtcpPacket) -> Flow {
        let RtcpPacket::SenderReport(report) = packet else {
            return Flow::Forward;
        };
        self.last_sender_report = Some(cx.now);
        if self.round.is_none_or(|round| round.begun != cx.now) {
            self.begin_round(cx);
        }
        if report.blocks.is_empty() {
            report.blocks = self.blocks(cx);
        }
        Flow::Forward
    }

    fn poll_outgoing_rtcp(&mut self, cx: &mut Context<'_>) -> Option<RtcpPacket> {
        self.round?;
        let blocks = self.blocks(cx);
        let round = self.round.as_mut()?;
        let ssrc = cx.session.reporter_ssrc();
        if !blocks.is_empty() || (round.reference && !round.reported) {
            round.reported = true;
            return Some(ReceiverReport { ssrc, blocks }.into());
        }
        let reference = round.reference;
        self.round = None;
        reference.then(|| {
            let time = cx.session.ntp_time(cx.now);
            let blocks = SmallVec::from_iter([XrBlock::ReceiverReferenceTime(time)]);
            ExtendedReport { ssrc, blocks }.into()
        })
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        if self.next.is_some_and(|next| next <= cx.now) {
            self.begin_round(cx);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

impl Source {
    fn new(ssrc: u32, now: Instant) -> Self {
        Self {
            ssrc,
            tracker: SequenceTracker::new(),
            transit: None,
            jitter: 0,
            reported: (0, 0),
            last_packet: now,
            last_sender_report: None,
        }
    }

    fn is_active(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_packet) < ACTIVE
    }

    fn receive(&mut self, number: u16, timestamp: u32, arrival: Duration, clock_rate: u32) {
        match self.tracker.receive(number) {
            Arrival::Advance { .. } => self.measure(timestamp, arrival, clock_rate),
            Arrival::Restart { .. } => {
                self.transit = None;
                self.jitter = 0;
                self.reported = (0, 0);
            }
            _ => {}
        }
    }

    /// RFC 3550 appendix A.8. The packets of one frame have one timestamp although they are sent one
    /// after the other; only the first tells of the network.
    fn measure(&mut self, timestamp: u32, arrival: Duration, clock_rate: u32) {
        let units = arrival.as_nanos() * u128::from(clock_rate) / 1_000_000_000;
        let difference = (units as u32).wrapping_sub(timestamp);
        let before = self.transit;
        if before.is_some_and(|before| before.timestamp == timestamp) {
            return;
        }
        self.transit = Some(Transit {
            timestamp,
            difference,
            clock_rate,
        });
        let Some(before) = before.filter(|before| before.clock_rate == clock_rate) else {
            return;
        };
        let change = (difference.wrapping_sub(before.difference) as i32).unsigned_abs();
        // A leap of the timestamps is not jitter.
        if change < clock_rate.saturating_mul(MAX_CHANGE_SECONDS) {
            let decayed = self.jitter - ((self.jitter + 8) >> 4);
            self.jitter = decayed.saturating_add(change);
        }
    }

    /// The block for the next report (RFC 3550 appendix A.3).
    fn report(&mut self, now: Instant) -> ReportBlock {
        let (expected, received) = (self.tracker.expected(), self.tracker.received());
        let (expected_before, received_before) = self.reported;
        self.reported = (expected, received);
        let expected_now = expected.saturating_sub(expected_before);
        let lost_now = expected_now.saturating_sub(received.saturating_sub(received_before));
        let fraction = (lost_now << 8).checked_div(expected_now).unwrap_or(0);
        let (last_sender_report, delay) = match self.last_sender_report {
            Some((time, arrival)) => (
                time,
                NtpShort::from_duration(now.saturating_duration_since(arrival)),
            ),
            None => (NtpShort::ZERO, NtpShort::ZERO),
        };
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction.min(255) as u8,
            cumulative_lost: self.tracker.lost().clamp(-(1 << 23), (1 << 23) - 1) as i32,
            extended_highest_sequence_number: self.tracker.extended_highest(),
            jitter: self.jitter >> 4,
            last_sender_report,
            delay_since_last_sender_report: delay,
        }
    }
}

/// What a report holds.
const MAX_BLOCKS: usize = 31;
/// A source that is silent for so long is not reported on.
const ACTIVE: Duration = Duration::from_secs(8);
/// A change of transit time of more seconds is a leap of the timestamps.
const MAX_CHANGE_SECONDS: u32 = 5;
