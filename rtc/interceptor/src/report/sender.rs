use std::time::{Duration, Instant};

use rtc_rtcp::{
    Bye, DlrrItem, ExtendedReport, NtpShort, Packet as RtcpPacket, ReportBlock, SenderInfo,
    SenderReport, XrBlock, round_trip_time,
};
use smallvec::SmallVec;

use crate::report::ReportConfig;
use crate::stats::RemoteInboundStats;
use crate::{Context, Flow, Interceptor, OutgoingRtp, StreamId, StreamMap};

/// Sends sender reports, the first as soon as a stream begins, and BYE when it ends; takes in what the
/// receivers report of the streams, and answers their extended reports.
///
/// The time of the RTP clock in a report follows from the capture time of the last frame, or from when
/// its first packet was sent. A stream that is silent for some seconds is not reported on until it
/// goes on (RFC 3550 section 6.4).
#[derive(Debug)]
pub struct SenderReports {
    config: ReportConfig,
    streams: StreamMap<Sender>,
    /// When the next round of reports is due; `None` while nothing is sent.
    next: Option<Instant>,
    /// The first stream that this round has not reported on yet.
    cursor: Option<usize>,
    /// Times of receivers that want an answer.
    references: SmallVec<[Reference; 4]>,
    ended: SmallVec<[u32; 4]>,
}

#[derive(Debug)]
struct Sender {
    packets: u32,
    octets: u32,
    /// The sequence number of the first packet.
    first: u16,
    /// An instant and the RTP timestamp that it is.
    clock: (Instant, u32),
    clock_rate: u32,
    /// When the last packet was sent.
    last: Instant,
}

#[derive(Debug)]
struct Reference {
    ssrc: u32,
    time: NtpShort,
    arrival: Instant,
}

impl SenderReports {
    /// A stage with these parameters.
    #[must_use]
    pub fn new(config: ReportConfig) -> Self {
        Self {
            config,
            streams: StreamMap::default(),
            next: None,
            cursor: None,
            references: SmallVec::new(),
            ended: SmallVec::new(),
        }
    }

    fn begin_round(&mut self, cx: &mut Context<'_>) {
        let mut streams = self.streams.iter();
        if !streams.any(|(_, sender)| sender.is_active(cx.now)) {
            self.next = None;
            return;
        }
        self.cursor = Some(0);
        self.next = Some(cx.now + cx.session.spread(self.config.interval));
    }

    /// The report of the next stream of the round.
    fn next_report(&mut self, cx: &Context<'_>) -> Option<SenderReport> {
        let cursor = self.cursor?;
        let next = self
            .streams
            .iter()
            .find(|(id, sender)| id.index() >= cursor && sender.is_active(cx.now))
            .and_then(|(id, sender)| {
                let ssrc = cx.session.local(id)?.info.ssrc;
                Some((id, ssrc, sender))
            });
        let Some((id, ssrc, sender)) = next else {
            self.cursor = None;
            return None;
        };
        self.cursor = Some(id.index() + 1);
        Some(SenderReport {
            ssrc,
            info: SenderInfo {
                ntp_time: cx.session.ntp_time(cx.now),
                rtp_timestamp: sender.rtp_timestamp(cx.now),
                packet_count: sender.packets,
                octet_count: sender.octets,
            },
            blocks: SmallVec::new(),
        })
    }

    fn answers(&mut self, cx: &Context<'_>) -> Option<RtcpPacket> {
        if self.references.is_empty() {
            return None;
        }
        let items = self.references.drain(..).map(|reference| DlrrItem {
            ssrc: reference.ssrc,
            last_receiver_report: reference.time,
            delay_since_last_receiver_report: NtpShort::from_duration(
                cx.now.saturating_duration_since(reference.arrival),
            ),
        });
        let report = ExtendedReport {
            ssrc: cx.session.reporter_ssrc(),
            blocks: SmallVec::from_iter([XrBlock::Dlrr(items.collect())]),
        };
        Some(report.into())
    }

    fn handle_block(&self, cx: &mut Context<'_>, block: &ReportBlock) {
        let Some(id) = cx.session.local_by_ssrc(block.ssrc) else {
            return;
        };
        let Some(sender) = self.streams.get(id) else {
            return;
        };
        let now = cx.session.ntp_time(cx.now);
        let round_trip = round_trip_time(
            now,
            block.last_sender_report,
            block.delay_since_last_sender_report,
        );
        let Some(stream) = cx.session.local_mut(id) else {
            return;
        };
        let expected = block
            .extended_highest_sequence_number
            .wrapping_sub(sender.first.into())
            .wrapping_add(1);
        let units = u64::from(block.jitter) * 1_000_000;
        let mut times = stream
            .stats
            .remote
            .map(|remote| remote.round_trip)
            .unwrap_or_default();
        if let Some(time) = round_trip {
            times.add(time);
        }
        stream.stats.remote = Some(RemoteInboundStats {
            reported_at: cx.now,
            fraction_lost: f64::from(block.fraction_lost) / 256.0,
            packets_lost: block.cumulative_lost,
            packets_received: expected
                .saturating_add_signed(block.cumulative_lost.saturating_neg()),
            jitter: Duration::from_micros(units / u64::from(sender.clock_rate.max(1))),
            round_trip: times,
        });
        if let Some(time) = round_trip {
            cx.session.add_round_trip_time(time);
        }
    }
}

impl Sender {
    fn is_active(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < ACTIVE
    }

    fn rtp_timestamp(&self, now: Instant) -> u32 {
        let (at, timestamp) = self.clock;
        let elapsed = now.saturating_duration_since(at).as_nanos();
        let units = elapsed * u128::from(self.clock_rate) / 1_000_000_000;
        timestamp.wrapping_add(units as u32)
    }
}

impl Interceptor for SenderReports {
    fn unbind_local_stream(&mut self, cx: &mut Context<'_>, stream: StreamId) {
        if self.streams.remove(stream).is_none() {
            return;
        }
        if let Some(stream) = cx.session.local(stream) {
            self.ended.push(stream.info.ssrc);
        }
        if self.streams.iter().next().is_none() {
            self.next = None;
        }
    }

    fn incoming_rtcp(&mut self, cx: &mut Context<'_>, packet: &mut RtcpPacket) -> Flow {
        match packet {
            RtcpPacket::SenderReport(report) => {
                for block in &report.blocks {
                    self.handle_block(cx, block);
                }
            }
            RtcpPacket::ReceiverReport(report) => {
                for block in &report.blocks {
                    self.handle_block(cx, block);
                }
            }
            RtcpPacket::ExtendedReport(report) => {
                let Some(time) = report.receiver_reference_time() else {
                    return Flow::Forward;
                };
                self.references.retain(|other| other.ssrc != report.ssrc);
                if self.references.len() < MAX_REFERENCES {
                    self.references.push(Reference {
                        ssrc: report.ssrc,
                        time: time.short(),
                        arrival: cx.now,
                    });
                }
            }
            _ => {}
        }
        Flow::Forward
    }

    fn sent_rtp(&mut self, cx: &mut Context<'_>, sent: &OutgoingRtp) {
        let Some(stream) = cx.session.local(sent.stream) else {
            return;
        };
        let header = &sent.packet.header;
        // Retransmissions over an SSRC of their own are another source.
        if header.ssrc != stream.info.ssrc {
            return;
        }
        let clock_rate = stream.info.clock_rate_of(header.payload_type);
        let active = |sender: &Sender| sender.is_active(cx.now);
        let begins = !self.streams.get(sent.stream).is_some_and(active);
        let at = sent.capture_time.unwrap_or(cx.now);
        let sender = self.streams.get_or_insert_with(sent.stream, || Sender {
            packets: 0,
            octets: 0,
            first: header.sequence_number,
            clock: (at, header.timestamp),
            clock_rate,
            last: cx.now,
        });
        sender.last = cx.now;
        sender.packets = sender.packets.wrapping_add(1);
        sender.octets = sender.octets.wrapping_add(sent.packet.payload.len() as u32);
        if sent.retransmission.is_none() && sender.clock.1 != header.timestamp {
            sender.clock = (at, header.timestamp);
            sender.clock_rate = clock_rate;
        }
        if begins {
            self.begin_round(cx);
        }
    }

    fn poll_outgoing_rtcp(&mut self, cx: &mut Context<'_>) -> Option<RtcpPacket> {
        if self.cursor.is_some() {
            if let Some(report) = self.next_report(cx) {
                return Some(report.into());
            }
            if let Some(answers) = self.answers(cx) {
                return Some(answers);
            }
        }
        if self.ended.is_empty() {
            return None;
        }
        let count = self.ended.len().min(MAX_BYE);
        Some(RtcpPacket::from(Bye {
            ssrcs: self.ended.drain(..count).collect(),
            reason: None,
        }))
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

/// How long a stream is reported on after its last packet, as receivers do.
const ACTIVE: Duration = Duration::from_secs(8);
/// What a BYE holds.
const MAX_BYE: usize = 31;
/// Receivers that are answered in one round.
const MAX_REFERENCES: usize = 16;
