use std::time::{Duration, Instant};

use rtc_rtcp::NtpTime;

/// What is counted of a stream that is sent, for `outbound-rtp` and `remote-inbound-rtp` of the W3C
/// statistics. Retransmissions count, whichever SSRC they go over.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LocalStats {
    /// Packets sent.
    pub packets_sent: u64,
    /// Bytes of payload sent.
    pub bytes_sent: u64,
    /// Bytes of headers and padding sent.
    pub header_bytes_sent: u64,
    /// Packets that were retransmissions.
    pub retransmitted_packets_sent: u64,
    /// Bytes of payload that were retransmissions.
    pub retransmitted_bytes_sent: u64,
    /// Packets with the marker bit, retransmissions not counted: frames, where the stream is video.
    pub markers_sent: u64,
    /// NACK packets received.
    pub nack_count: u64,
    /// PLI packets received.
    pub pli_count: u64,
    /// FIR requests received.
    pub fir_count: u64,
    /// What the receiver reported; `None` before its first report.
    pub remote: Option<RemoteInboundStats>,
}

/// What the receiver of a stream last reported.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RemoteInboundStats {
    /// When the report arrived.
    pub reported_at: Instant,
    /// The share of packets lost since its report before, 0 to 1.
    pub fraction_lost: f64,
    /// Packets lost since the begin; negative when there were duplicates.
    pub packets_lost: i32,
    /// Packets received since the begin.
    pub packets_received: u32,
    /// Variation of the time in transit.
    pub jitter: Duration,
    /// The round trip times that the reports tell.
    pub round_trip: RoundTripStats,
}

/// What is counted of a stream that is received, for `inbound-rtp` and `remote-outbound-rtp` of the
/// W3C statistics. Retransmissions count, whichever SSRC they come over.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RemoteStats {
    /// Packets received.
    pub packets_received: u64,
    /// Bytes of payload received.
    pub bytes_received: u64,
    /// Bytes of headers and padding received.
    pub header_bytes_received: u64,
    /// Packets that came over the SSRC of the retransmissions.
    pub retransmitted_packets_received: u64,
    /// Bytes of payload of those.
    pub retransmitted_bytes_received: u64,
    /// Packets with the marker bit, each counted once: frames, where the stream is video.
    pub markers_received: u64,
    /// Packets that were received before and not delivered again.
    pub duplicate_packets: u64,
    /// Packets lost, as the receiver reports say: repaired ones too, less duplicates.
    pub packets_lost: i64,
    /// Variation of the time in transit.
    pub jitter: Duration,
    /// Packets with the ECN mark ECT(1).
    pub packets_received_with_ect1: u64,
    /// Packets with the ECN mark CE.
    pub packets_received_with_ce: u64,
    /// When the last packet arrived.
    pub last_packet_received: Option<Instant>,
    /// NACK packets sent.
    pub nack_count: u64,
    /// PLI packets sent.
    pub pli_count: u64,
    /// FIR requests sent.
    pub fir_count: u64,
    /// What the sender reported; `None` before its first report.
    pub remote: Option<RemoteOutboundStats>,
    /// The round trip times from the sender's answers to our extended reports.
    pub round_trip: RoundTripStats,
}

/// What the sender of a stream last reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteOutboundStats {
    /// When the report arrived.
    pub reported_at: Instant,
    /// When it was sent, by the sender's clock.
    pub ntp_time: NtpTime,
    /// The same time by the clock of the RTP timestamps.
    pub rtp_timestamp: u32,
    /// Packets sent since the begin; wraps.
    pub packets_sent: u32,
    /// Bytes of payload sent since the begin; wraps.
    pub bytes_sent: u32,
    /// How many reports have arrived.
    pub reports_received: u64,
}

/// Round trip times measured by reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoundTripStats {
    /// The last.
    pub last: Option<Duration>,
    /// The sum of all.
    pub total: Duration,
    /// How many there were.
    pub measurements: u64,
}

impl RoundTripStats {
    pub(crate) fn add(&mut self, time: Duration) {
        self.last = Some(time);
        self.total += time;
        self.measurements += 1;
    }
}
