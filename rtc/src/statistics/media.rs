use std::time::Instant;

use rtc_interceptor::RoundTripStats;
use serde::Serialize;

use super::{RTCStats, RTCStatsBase, RTCStatsReport, StatsSelector, TRANSPORT_ID};
use crate::media_path::{Received, Sent};
use crate::peer_connection::RTCPeerConnection;
use crate::rtp_transceiver::{NegotiatedCodec, RtpCodecKind};

/// `codec`: a format in use in one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCCodecStats {
    /// Id and time.
    #[serde(flatten)]
    pub base: RTCStatsBase,
    /// Payload type.
    pub payload_type: u8,
    /// The transport it is used on.
    pub transport_id: String,
    /// `video/VP8` and the like.
    pub mime_type: String,
    /// Ticks of the RTP timestamp per second.
    pub clock_rate: u32,
    /// Channels of audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u16>,
    /// Format parameters, as in `a=fmtp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sdp_fmtp_line: Option<String>,
}

/// `media-source`: what is known of a track without its encoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCMediaSourceStats {
    /// Id and time.
    #[serde(flatten)]
    pub base: RTCStatsBase,
    /// The track.
    pub track_identifier: String,
    /// `audio` or `video`.
    pub kind: &'static str,
}

/// Members that all RTP streams have.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCRtpStreamStats {
    /// Source of the packets.
    pub ssrc: u32,
    /// `audio` or `video`.
    pub kind: &'static str,
    /// The transport it goes over.
    pub transport_id: String,
    /// The format of the packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec_id: Option<String>,
}

impl RTCRtpStreamStats {
    pub(super) fn references<'a>(
        &'a self,
        other_side: Option<&'a str>,
        source: Option<&'a str>,
    ) -> [Option<&'a str>; 4] {
        [
            Some(&self.transport_id),
            self.codec_id.as_deref(),
            other_side,
            source,
        ]
    }
}

/// `inbound-rtp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCInboundRtpStreamStats {
    /// Id and time.
    #[serde(flatten)]
    pub base: RTCStatsBase,
    /// What all streams have.
    #[serde(flatten)]
    pub stream: RTCRtpStreamStats,
    /// The track.
    pub track_identifier: String,
    /// Tag of the m-section.
    pub mid: String,
    /// What the peer reports of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<String>,
    /// Packets received, repeated ones among them.
    pub packets_received: u64,
    /// Packets lost and not repeated, less duplicates.
    pub packets_lost: i64,
    /// Variation of the time in transit, in seconds.
    pub jitter: f64,
    /// Packets marked ECT(1).
    pub packets_received_with_ect1: u64,
    /// Packets marked CE.
    pub packets_received_with_ce: u64,
    /// When the last packet came, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_packet_received_timestamp: Option<f64>,
    /// Bytes of payload.
    pub bytes_received: u64,
    /// Bytes of headers and padding.
    pub header_bytes_received: u64,
    /// Packets received over the source of retransmissions.
    pub retransmitted_packets_received: u64,
    /// Their payload in bytes.
    pub retransmitted_bytes_received: u64,
    /// The source of retransmissions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtx_ssrc: Option<u32>,
    /// Frames whose last packet was received; video alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames_received: Option<u64>,
    /// NACK packets sent.
    pub nack_count: u64,
    /// PLI packets sent; video alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pli_count: Option<u64>,
    /// FIR packets sent; video alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fir_count: Option<u64>,
}

/// `outbound-rtp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCOutboundRtpStreamStats {
    /// Id and time.
    #[serde(flatten)]
    pub base: RTCStatsBase,
    /// What all streams have.
    #[serde(flatten)]
    pub stream: RTCRtpStreamStats,
    /// Tag of the m-section.
    pub mid: String,
    /// The track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_source_id: Option<String>,
    /// What the peer reports of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<String>,
    /// Name of the simulcast layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// Its place among the encodings of its sender.
    pub encoding_index: usize,
    /// Packets sent, repeated ones among them.
    pub packets_sent: u64,
    /// Bytes of payload.
    pub bytes_sent: u64,
    /// Bytes of headers and padding.
    pub header_bytes_sent: u64,
    /// Packets that were repeated.
    pub retransmitted_packets_sent: u64,
    /// Their payload in bytes.
    pub retransmitted_bytes_sent: u64,
    /// The source of retransmissions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtx_ssrc: Option<u32>,
    /// Frames whose last packet was sent; video alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames_sent: Option<u64>,
    /// NACK packets received.
    pub nack_count: u64,
    /// PLI packets received; video alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pli_count: Option<u64>,
    /// FIR packets received; video alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fir_count: Option<u64>,
    /// Whether it is to be sent.
    pub active: bool,
}

/// Round trips as reports tell them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCRoundTripStats {
    /// The last, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_time: Option<f64>,
    /// The sum of all, in seconds.
    pub total_round_trip_time: f64,
    /// How many there were.
    pub round_trip_time_measurements: u64,
}

impl From<RoundTripStats> for RTCRoundTripStats {
    fn from(stats: RoundTripStats) -> Self {
        Self {
            round_trip_time: stats.last.map(|last| last.as_secs_f64()),
            total_round_trip_time: stats.total.as_secs_f64(),
            round_trip_time_measurements: stats.measurements,
        }
    }
}

/// `remote-inbound-rtp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCRemoteInboundRtpStreamStats {
    /// Id, and the time at which the report came.
    #[serde(flatten)]
    pub base: RTCStatsBase,
    /// What all streams have.
    #[serde(flatten)]
    pub stream: RTCRtpStreamStats,
    /// The stream here.
    pub local_id: String,
    /// Packets received.
    pub packets_received: u64,
    /// Packets lost, less duplicates.
    pub packets_lost: i64,
    /// Variation of the time in transit, in seconds.
    pub jitter: f64,
    /// The share of packets lost since the report before, 0 to 1.
    pub fraction_lost: f64,
    /// Round trips.
    #[serde(flatten)]
    pub round_trip: RTCRoundTripStats,
}

/// `remote-outbound-rtp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCRemoteOutboundRtpStreamStats {
    /// Id, and the time at which the report came.
    #[serde(flatten)]
    pub base: RTCStatsBase,
    /// What all streams have.
    #[serde(flatten)]
    pub stream: RTCRtpStreamStats,
    /// The stream here.
    pub local_id: String,
    /// Packets sent; wraps after 2^32.
    pub packets_sent: u64,
    /// Bytes of payload sent; wraps after 2^32.
    pub bytes_sent: u64,
    /// When the report was sent by the peer's clock, in milliseconds since the Unix epoch.
    pub remote_timestamp: f64,
    /// How many reports have come.
    pub reports_sent: u64,
    /// Round trips.
    #[serde(flatten)]
    pub round_trip: RTCRoundTripStats,
}

impl RTCPeerConnection {
    /// Adds the objects of audio and video. Returns the ids of the streams that the selector means.
    pub(super) fn add_media_stats(
        &self,
        report: &mut RTCStatsReport,
        selector: StatsSelector,
    ) -> Vec<String> {
        let mut wanted = Vec::new();
        for sent in self.packets.sent() {
            let id = self.add_sent(report, &sent);
            if selector == StatsSelector::Sender(sent.outbox.sender) {
                wanted.push(id);
            }
        }
        for received in self.packets.received() {
            let id = self.add_received(report, &received);
            let receiver = received.section.transceiver.receiver_id();
            if selector == StatsSelector::Receiver(receiver) {
                wanted.push(id);
            }
        }
        wanted
    }

    fn add_sent(&self, report: &mut RTCStatsReport, sent: &Sent<'_>) -> String {
        let Sent {
            outbox,
            encoding,
            codec,
            stats,
        } = sent;
        let base = |id: &str, at| self.base(id, at);
        let transceiver = self.media.get(outbox.sender.transceiver_id());
        let kind = transceiver.map_or(RtpCodecKind::Audio, |it| it.kind);
        let stream = RTCRtpStreamStats {
            ssrc: encoding.ssrc,
            kind: kind.as_str(),
            transport_id: TRANSPORT_ID.to_owned(),
            codec_id: codec.map(|codec| self.add_codec(report, "CO", codec)),
        };
        let source_id = outbox.track.as_ref().map(|track| {
            let id = format!("S{}", outbox.sender.transceiver_id().0);
            let source = RTCMediaSourceStats {
                base: base(&id, self.now()),
                track_identifier: track.to_string(),
                kind: kind.as_str(),
            };
            report.insert(id.clone(), RTCStats::MediaSource(source));
            id
        });
        let id = format!("O{}", encoding.ssrc);
        let remote_id = stats.remote.map(|remote| {
            let remote_id = format!("RI{}", encoding.ssrc);
            let remote = RTCRemoteInboundRtpStreamStats {
                base: base(&remote_id, remote.reported_at),
                stream: stream.clone(),
                local_id: id.clone(),
                packets_received: remote.packets_received.into(),
                packets_lost: remote.packets_lost.into(),
                jitter: remote.jitter.as_secs_f64(),
                fraction_lost: remote.fraction_lost,
                round_trip: remote.round_trip.into(),
            };
            report.insert(remote_id.clone(), RTCStats::RemoteInboundRtp(remote));
            remote_id
        });
        let of_video = |count| (kind == RtpCodecKind::Video).then_some(count);
        let outbound = RTCOutboundRtpStreamStats {
            base: base(&id, self.now()),
            stream,
            mid: outbox.mid.clone(),
            media_source_id: source_id,
            remote_id,
            rid: encoding.rid.clone(),
            encoding_index: encoding.index,
            packets_sent: stats.packets_sent,
            bytes_sent: stats.bytes_sent,
            header_bytes_sent: stats.header_bytes_sent,
            retransmitted_packets_sent: stats.retransmitted_packets_sent,
            retransmitted_bytes_sent: stats.retransmitted_bytes_sent,
            rtx_ssrc: encoding.rtx,
            frames_sent: of_video(stats.markers_sent),
            nack_count: stats.nack_count,
            pli_count: of_video(stats.pli_count),
            fir_count: of_video(stats.fir_count),
            active: encoding.active,
        };
        report.insert(id.clone(), RTCStats::OutboundRtp(outbound));
        id
    }

    fn add_received(&self, report: &mut RTCStatsReport, received: &Received<'_>) -> String {
        let Received {
            ssrc,
            source,
            section,
            codec,
            stats,
        } = received;
        let transceiver = self.media.get(section.transceiver);
        let kind = transceiver.map_or(RtpCodecKind::Audio, |it| it.kind);
        let stream = RTCRtpStreamStats {
            ssrc: *ssrc,
            kind: kind.as_str(),
            transport_id: TRANSPORT_ID.to_owned(),
            codec_id: codec.map(|codec| self.add_codec(report, "CI", codec)),
        };
        let id = format!("I{ssrc}");
        let remote_id = stats.remote.map(|remote| {
            let remote_id = format!("RO{ssrc}");
            let remote = RTCRemoteOutboundRtpStreamStats {
                base: self.base(&remote_id, remote.reported_at),
                stream: stream.clone(),
                local_id: id.clone(),
                packets_sent: remote.packets_sent.into(),
                bytes_sent: remote.bytes_sent.into(),
                remote_timestamp: remote.ntp_time.to_unix().as_secs_f64() * 1000.0,
                reports_sent: remote.reports_received,
                round_trip: stats.round_trip.into(),
            };
            report.insert(remote_id.clone(), RTCStats::RemoteOutboundRtp(remote));
            remote_id
        });
        let of_video = |count| (kind == RtpCodecKind::Video).then_some(count);
        let inbound = RTCInboundRtpStreamStats {
            base: self.base(&id, self.now()),
            stream,
            track_identifier: transceiver
                .map(|it| it.receiver.track.track_id().to_string())
                .unwrap_or_default(),
            mid: section.mid().to_owned(),
            remote_id,
            packets_received: stats.packets_received,
            packets_lost: stats.packets_lost,
            jitter: stats.jitter.as_secs_f64(),
            packets_received_with_ect1: stats.packets_received_with_ect1,
            packets_received_with_ce: stats.packets_received_with_ce,
            last_packet_received_timestamp: stats
                .last_packet_received
                .map(|at| self.unix_milliseconds(at)),
            bytes_received: stats.bytes_received,
            header_bytes_received: stats.header_bytes_received,
            retransmitted_packets_received: stats.retransmitted_packets_received,
            retransmitted_bytes_received: stats.retransmitted_bytes_received,
            rtx_ssrc: source.rtx(),
            frames_received: of_video(stats.markers_received),
            nack_count: stats.nack_count,
            pli_count: of_video(stats.pli_count),
            fir_count: of_video(stats.fir_count),
        };
        report.insert(id.clone(), RTCStats::InboundRtp(inbound));
        id
    }

    /// Adds a format unless it is there. Returns its id.
    fn add_codec(
        &self,
        report: &mut RTCStatsReport,
        direction: &str,
        codec: &NegotiatedCodec,
    ) -> String {
        let payload_type = codec.parameters.payload_type;
        let id = format!("{direction}{payload_type}");
        let codec = &codec.parameters.rtp_codec;
        let stats = RTCCodecStats {
            base: self.base(&id, self.now()),
            payload_type,
            transport_id: TRANSPORT_ID.to_owned(),
            mime_type: codec.mime_type.clone(),
            clock_rate: codec.clock_rate,
            channels: Some(codec.channels).filter(|channels| *channels > 0),
            sdp_fmtp_line: Some(codec.sdp_fmtp_line.clone()).filter(|line| !line.is_empty()),
        };
        report.insert(id.clone(), RTCStats::Codec(stats));
        id
    }

    fn base(&self, id: &str, at: Instant) -> RTCStatsBase {
        RTCStatsBase {
            id: id.to_owned(),
            timestamp: self.unix_milliseconds(at),
        }
    }

    pub(super) fn unix_milliseconds(&self, at: Instant) -> f64 {
        let before = self.now().saturating_duration_since(at);
        (self.unix_time().saturating_sub(before)).as_secs_f64() * 1000.0
    }
}
