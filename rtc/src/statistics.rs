//! Statistics in the form of W3C's webrtc-stats: the same objects, members and JSON names.

mod media;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rtc_crypto::HashAlgorithm;
use rtc_ice::{Candidate, CandidateType};
use rtc_shared::TransportProtocol;
use serde::Serialize;

pub use self::media::*;
use crate::peer_connection::RTCPeerConnection;
use crate::rtp_transceiver::{RTCRtpReceiverId, RTCRtpSenderId};
use crate::transport::Traffic;

/// Which objects a report is to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatsSelector {
    /// All.
    #[default]
    None,
    /// The streams of a sender, and what they refer to.
    Sender(RTCRtpSenderId),
    /// The streams of a receiver, and what they refer to.
    Receiver(RTCRtpReceiverId),
}

/// A report: every object by its id, which is the same in every report of a connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct RTCStatsReport {
    stats: BTreeMap<String, RTCStats>,
}

impl RTCStatsReport {
    /// The object with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&RTCStats> {
        self.stats.get(id)
    }

    /// All objects, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RTCStats)> {
        self.stats.iter().map(|(id, stats)| (id.as_str(), stats))
    }

    /// The transport, of which a connection has one.
    #[must_use]
    pub fn transport(&self) -> Option<&RTCTransportStats> {
        self.stats.values().find_map(|stats| match stats {
            RTCStats::Transport(stats) => Some(stats),
            _ => None,
        })
    }

    fn insert(&mut self, id: String, stats: RTCStats) {
        self.stats.insert(id, stats);
    }

    /// Leaves these objects and what they refer to.
    fn select(&mut self, mut wanted: Vec<String>) {
        let mut selected = BTreeSet::new();
        while let Some(id) = wanted.pop() {
            if let Some(stats) = self.stats.get(&id)
                && selected.insert(id)
            {
                wanted.extend(stats.references().map(str::to_owned));
            }
        }
        self.stats.retain(|id, _| selected.contains(id));
    }
}

/// One object of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RTCStats {
    /// The connection.
    PeerConnection(RTCPeerConnectionStats),
    /// A data channel.
    DataChannel(RTCDataChannelStats),
    /// ICE and DTLS.
    Transport(RTCTransportStats),
    /// A pair of candidates.
    CandidatePair(RTCIceCandidatePairStats),
    /// A candidate of ours.
    LocalCandidate(RTCIceCandidateStats),
    /// A candidate of the peer.
    RemoteCandidate(RTCIceCandidateStats),
    /// A certificate, ours or the peer's.
    Certificate(RTCCertificateStats),
    /// A format that streams are in.
    Codec(RTCCodecStats),
    /// A track that is sent.
    MediaSource(RTCMediaSourceStats),
    /// A stream that is received.
    InboundRtp(RTCInboundRtpStreamStats),
    /// A stream that is sent.
    OutboundRtp(RTCOutboundRtpStreamStats),
    /// What the peer reports of a stream that it receives.
    RemoteInboundRtp(RTCRemoteInboundRtpStreamStats),
    /// What the peer reports of a stream that it sends.
    RemoteOutboundRtp(RTCRemoteOutboundRtpStreamStats),
}

impl RTCStats {
    /// The ids of the objects that this one names.
    fn references(&self) -> impl Iterator<Item = &str> {
        let ids: [Option<&str>; 4] = match self {
            Self::Transport(it) => [
                it.selected_candidate_pair_id.as_deref(),
                Some(&it.local_certificate_id),
                it.remote_certificate_id.as_deref(),
                None,
            ],
            Self::CandidatePair(it) => [
                Some(&it.local_candidate_id),
                Some(&it.remote_candidate_id),
                None,
                None,
            ],
            Self::InboundRtp(it) => it.stream.references(it.remote_id.as_deref(), None),
            Self::OutboundRtp(it) => {
                let source = it.media_source_id.as_deref();
                it.stream.references(it.remote_id.as_deref(), source)
            }
            Self::RemoteInboundRtp(it) => it.stream.references(Some(&it.local_id), None),
            Self::RemoteOutboundRtp(it) => it.stream.references(Some(&it.local_id), None),
            _ => [None; 4],
        };
        ids.into_iter().flatten()
    }
}

/// Members that every object has.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RTCStatsBase {
    /// Identifies the object in every report of the connection.
    pub id: String,
    /// When it was measured, in milliseconds since the Unix epoch.
    pub timestamp: f64,
}

/// `peer-connection`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCPeerConnectionStats {
    /// Id and time.
    #[serde(flatten)]
    pub base: RTCStatsBase,
    /// Data channels that were open at some time.
    pub data_channels_opened: u32,
    /// Of those, the ones that were closed again.
    pub data_channels_closed: u32,
}

/// `data-channel`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCDataChannelStats {
    /// Id and time.
    #[serde(flatten)]
    pub base: RTCStatsBase,
    /// Its name.
    pub label: String,
    /// Its subprotocol.
    pub protocol: String,
    /// Its stream id, once it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_channel_identifier: Option<u16>,
    /// `connecting`, `open`, `closing` or `closed`.
    pub state: &'static str,
    /// Messages given to `send`.
    pub messages_sent: u64,
    /// Their payload in bytes.
    pub bytes_sent: u64,
    /// Messages read.
    pub messages_received: u64,
    /// Their payload in bytes.
    pub bytes_received: u64,
}

/// `transport`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCTransportStats {
    /// Id and time.
    #[serde(flatten)]
    pub base: RTCStatsBase,
    /// Datagrams sent.
    pub packets_sent: u64,
    /// Datagrams received.
    pub packets_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// `controlling` or `controlled`.
    pub ice_role: &'static str,
    /// Our user name fragment.
    pub ice_local_username_fragment: String,
    /// State of ICE.
    pub ice_state: &'static str,
    /// State of DTLS.
    pub dtls_state: &'static str,
    /// The pair in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected_candidate_pair_id: Option<String>,
    /// How often another pair came into use.
    pub selected_candidate_pair_changes: u64,
    /// Our certificate.
    pub local_certificate_id: String,
    /// The peer's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_certificate_id: Option<String>,
    /// Version of DTLS as four hex digits: `FEFD` is 1.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<&'static str>,
    /// Cipher suite by its IANA name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtls_cipher: Option<&'static str>,
    /// `client` or `server`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtls_role: Option<&'static str>,
    /// SRTP protection profile by its IANA name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub srtp_cipher: Option<&'static str>,
}

/// `candidate-pair`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCIceCandidatePairStats {
    /// Id and time.
    #[serde(flatten)]
    pub base: RTCStatsBase,
    /// The transport it belongs to.
    pub transport_id: String,
    /// Our candidate.
    pub local_candidate_id: String,
    /// The peer's candidate.
    pub remote_candidate_id: String,
    /// `frozen`, `waiting`, `in-progress`, `failed` or `succeeded`.
    pub state: &'static str,
    /// Whether it was nominated.
    pub nominated: bool,
    /// Datagrams sent over it, those of ICE not counted.
    pub packets_sent: u64,
    /// Datagrams received over it, those of ICE not counted.
    pub packets_received: u64,
    /// Their payload in bytes.
    pub bytes_sent: u64,
    /// Their payload in bytes.
    pub bytes_received: u64,
    /// When the last was sent, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_packet_sent_timestamp: Option<f64>,
    /// When the last was received, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_packet_received_timestamp: Option<f64>,
    /// Sum of all measured round-trip times in seconds.
    pub total_round_trip_time: f64,
    /// The last measured round-trip time in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_round_trip_time: Option<f64>,
    /// Checks received.
    pub requests_received: u64,
    /// Checks sent.
    pub requests_sent: u64,
    /// Answers received.
    pub responses_received: u64,
    /// Answers sent.
    pub responses_sent: u64,
    /// Checks sent to keep consent.
    pub consent_requests_sent: u64,
}

/// `local-candidate` and `remote-candidate`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCIceCandidateStats {
    /// Id and time.
    #[serde(flatten)]
    pub base: RTCStatsBase,
    /// The transport it belongs to.
    pub transport_id: String,
    /// IP address; absent for mDNS names and for what the peer did not signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Port.
    pub port: u16,
    /// `udp` or `tcp`.
    pub protocol: &'static str,
    /// `host`, `srflx`, `prflx` or `relay`.
    pub candidate_type: &'static str,
    /// Priority.
    pub priority: u32,
    /// Foundation.
    pub foundation: String,
    /// Address it was derived from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related_address: Option<String>,
    /// Port it was derived from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related_port: Option<u16>,
    /// User name fragment of its generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_fragment: Option<String>,
    /// `active`, `passive` or `so`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_type: Option<&'static str>,
    /// URL of the server it was learnt from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Of a relayed candidate of ours, what carries it to the relay: `udp`, `tcp` or `tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay_protocol: Option<&'static str>,
}

/// `certificate`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RTCCertificateStats {
    /// Id and time.
    #[serde(flatten)]
    pub base: RTCStatsBase,
    /// Hash of the certificate as hex pairs between colons.
    pub fingerprint: String,
    /// Hash function, as `sha-256`.
    pub fingerprint_algorithm: &'static str,
    /// The certificate in base64 of its DER form.
    pub base64_certificate: String,
}

const TRANSPORT_ID: &str = "T0";

impl RTCPeerConnection {
    /// A report on the connection as it is now.
    #[must_use]
    pub fn get_stats(&self, selector: StatsSelector) -> RTCStatsReport {
        let mut report = RTCStatsReport::default();
        let timestamp = self.unix_time().as_secs_f64() * 1000.0;
        let base = |id: &str| RTCStatsBase {
            id: id.to_owned(),
            timestamp,
        };

        report.insert(
            "P".to_owned(),
            RTCStats::PeerConnection(RTCPeerConnectionStats {
                base: base("P"),
                data_channels_opened: self.data.opened,
                data_channels_closed: self.data.closed,
            }),
        );
        for (handle, entry) in self.data.iter() {
            let id = format!("D{handle}");
            let parameters = entry.parameters();
            report.insert(
                id.clone(),
                RTCStats::DataChannel(RTCDataChannelStats {
                    base: base(&id),
                    label: parameters.label,
                    protocol: parameters.protocol,
                    data_channel_identifier: entry.stream(),
                    state: entry.state().as_str(),
                    messages_sent: entry.messages_sent,
                    bytes_sent: entry.bytes_sent,
                    messages_received: entry.messages_received,
                    bytes_received: entry.bytes_received,
                }),
            );
        }

        let ice = &self.transport.ice;
        let mut selected = None;
        for pair in ice.pairs() {
            let (local, remote) = (pair.local.id(), pair.remote.id());
            let id = format!("CP{local}_{remote}");
            if pair.selected {
                selected = Some(id.clone());
            }
            let Traffic { sent, received } = self.transport.paths.get(&pair.path);
            let remote_id = format!("R{remote}");
            report.insert(
                remote_id.clone(),
                RTCStats::RemoteCandidate(candidate_stats(base(&remote_id), pair.remote)),
            );
            let local_id = format!("L{local}");
            report.insert(
                local_id.clone(),
                RTCStats::LocalCandidate(candidate_stats(base(&local_id), pair.local)),
            );
            report.insert(
                id.clone(),
                RTCStats::CandidatePair(RTCIceCandidatePairStats {
                    base: base(&id),
                    transport_id: TRANSPORT_ID.to_owned(),
                    local_candidate_id: local_id,
                    remote_candidate_id: remote_id,
                    state: pair.state.as_str(),
                    nominated: pair.nominated,
                    packets_sent: sent.packets,
                    packets_received: received.packets,
                    bytes_sent: sent.bytes,
                    bytes_received: received.bytes,
                    last_packet_sent_timestamp: sent.last.map(|at| self.unix_milliseconds(at)),
                    last_packet_received_timestamp: received
                        .last
                        .map(|at| self.unix_milliseconds(at)),
                    total_round_trip_time: pair.total_round_trip_time.as_secs_f64(),
                    current_round_trip_time: pair
                        .current_round_trip_time
                        .as_ref()
                        .map(Duration::as_secs_f64),
                    requests_received: pair.requests_received,
                    requests_sent: pair.requests_sent,
                    responses_received: pair.responses_received,
                    responses_sent: pair.responses_sent,
                    consent_requests_sent: pair.consent_requests_sent,
                }),
            );
        }
        for candidate in ice.local_candidates() {
            let id = format!("L{}", candidate.id());
            let stats = RTCStats::LocalCandidate(candidate_stats(base(&id), candidate));
            report.insert(id, stats);
        }
        for candidate in ice.remote_candidates() {
            let id = format!("R{}", candidate.id());
            let stats = RTCStats::RemoteCandidate(candidate_stats(base(&id), candidate));
            report.insert(id, stats);
        }

        let dtls = self.transport.dtls.as_ref();
        let ours = self.transport.certificate().der();
        let theirs = dtls.and_then(rtc_dtls::Connection::peer_certificate);
        let mut certificate = |id: &str, der: &[u8]| {
            let provider = self.transport.provider();
            if let Some(fingerprint) =
                rtc_crypto::Fingerprint::of(der, HashAlgorithm::Sha256, provider)
            {
                let stats = RTCCertificateStats {
                    base: base(id),
                    fingerprint: fingerprint.value_hex(),
                    fingerprint_algorithm: fingerprint.algorithm_name(),
                    base64_certificate: base64(der),
                };
                report.insert(id.to_owned(), RTCStats::Certificate(stats));
            }
        };
        certificate("CL", ours);
        if let Some(theirs) = theirs {
            certificate("CR", theirs);
        }

        let counters = self.transport.counters;
        report.insert(
            TRANSPORT_ID.to_owned(),
            RTCStats::Transport(RTCTransportStats {
                base: base(TRANSPORT_ID),
                packets_sent: counters.packets_sent,
                packets_received: counters.packets_received,
                bytes_sent: counters.bytes_sent,
                bytes_received: counters.bytes_received,
                ice_role: match ice.role() {
                    rtc_ice::Role::Controlling => "controlling",
                    rtc_ice::Role::Controlled => "controlled",
                },
                ice_local_username_fragment: ice.local_credentials().ufrag.clone(),
                ice_state: self.ice_connection_state().as_str(),
                dtls_state: self.dtls_state().as_str(),
                selected_candidate_pair_id: selected,
                selected_candidate_pair_changes: ice.stats().selected_path_changes,
                local_certificate_id: "CL".to_owned(),
                remote_certificate_id: theirs.map(|_| "CR".to_owned()),
                tls_version: dtls.and_then(rtc_dtls::Connection::version).map(|version| {
                    match version {
                        rtc_dtls::Version::Dtls12 => "FEFD",
                        _ => "FEFC",
                    }
                }),
                dtls_cipher: dtls
                    .and_then(rtc_dtls::Connection::cipher_suite)
                    .map(rtc_dtls::CipherSuite::name),
                dtls_role: dtls.map(|dtls| match dtls.role() {
                    rtc_dtls::Role::Client => "client",
                    rtc_dtls::Role::Server => "server",
                }),
                srtp_cipher: dtls
                    .and_then(rtc_dtls::Connection::srtp_profile)
                    .map(rtc_dtls::SrtpProfile::name),
            }),
        );
        let wanted = self.add_media_stats(&mut report, selector);
        if selector != StatsSelector::None {
            report.select(wanted);
        }
        report
    }
}

fn candidate_stats(base: RTCStatsBase, candidate: &Candidate) -> RTCIceCandidateStats {
    // The address of a peer-reflexive candidate is one that the peer may have wanted to hide, and one
    // behind a name of multicast DNS was meant to be.
    let shown = candidate.typ != CandidateType::PeerReflexive && candidate.hostname().is_none();
    RTCIceCandidateStats {
        base,
        transport_id: TRANSPORT_ID.to_owned(),
        address: candidate
            .socket_addr()
            .filter(|_| shown)
            .map(|addr| addr.ip().to_string()),
        port: candidate.port(),
        protocol: match candidate.transport {
            TransportProtocol::UDP => "udp",
            TransportProtocol::TCP => "tcp",
        },
        candidate_type: candidate.typ.as_str(),
        priority: candidate.priority,
        foundation: candidate.foundation.clone(),
        related_address: candidate.related.map(|addr| addr.ip().to_string()),
        related_port: candidate.related.map(|addr| addr.port()),
        username_fragment: candidate.ufrag.clone(),
        tcp_type: candidate.tcp_type.map(rtc_ice::TcpType::as_str),
        url: candidate.url.clone(),
        relay_protocol: candidate.relay_protocol.map(rtc_ice::RelayProtocol::as_str),
    }
}

/// Base64 with padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |value: u32| char::from(ALPHABET.get(value as usize & 63).copied().unwrap_or(b'='));
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let value = chunk
            .iter()
            .fold(0, |value, byte| value << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for position in 0..4 {
            if position <= chunk.len() {
                text.push(digit(value >> (18 - 6 * position)));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_examples_of_rfc_4648() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in pairs {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
