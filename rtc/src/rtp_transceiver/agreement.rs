//! What a local and a remote m-section of media agree on.

use rtc_sdp::{Direction, ExtMap};

use super::codec::retransmission_of;
use super::negotiated::{NegotiatedCodec, NegotiatedReceive, NegotiatedSend};
use super::parameters::{RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters};
use crate::peer_connection::description::MediaSection;

/// How to send after an answer. The encodings are the sender's and left out.
pub(crate) fn send(local: &MediaSection, remote: &MediaSection) -> NegotiatedSend {
    let is_sent = |rid: &str| local.send_layers.iter().any(|layer| layer.rid == rid);
    NegotiatedSend {
        codecs: codecs(remote, local),
        header_extensions: extensions(remote, local, Direction::receives, Direction::sends),
        allow_mixed_headers: local.allow_mixed_headers && remote.allow_mixed_headers,
        layers: remote
            .recv_layers
            .iter()
            .filter(|layer| is_sent(&layer.rid))
            .cloned()
            .collect(),
        encodings: Vec::new(),
        reduced_size_rtcp: local.reduced_size_rtcp && remote.reduced_size_rtcp,
        max_bitrate: remote.max_bitrate,
    }
}

/// How packets come after an answer.
pub(crate) fn receive(local: &MediaSection, remote: &MediaSection) -> NegotiatedReceive {
    let is_sent = |rid: &str| remote.send_layers.iter().find(|layer| layer.rid == rid);
    NegotiatedReceive {
        codecs: codecs(local, remote),
        header_extensions: extensions(local, remote, Direction::receives, Direction::sends),
        layers: local
            .recv_layers
            .iter()
            .filter_map(|layer| is_sent(&layer.rid).cloned())
            .collect(),
        sources: remote.sources.clone(),
        reduced_size_rtcp: local.reduced_size_rtcp && remote.reduced_size_rtcp,
    }
}

/// How packets may come while an offer of ours waits for its answer.
pub(crate) fn receive_early(local: &MediaSection) -> NegotiatedReceive {
    NegotiatedReceive {
        codecs: codecs(local, local),
        header_extensions: extensions(local, local, Direction::receives, Direction::receives),
        layers: local.recv_layers.clone(),
        sources: Vec::new(),
        reduced_size_rtcp: local.reduced_size_rtcp,
    }
}

/// The codecs of one side, in its order and with its payload types, that the other side has too.
fn codecs(one: &MediaSection, other: &MediaSection) -> Vec<NegotiatedCodec> {
    one.codecs
        .iter()
        .filter(|codec| !codec.rtp_codec.is_retransmission())
        .filter_map(|codec| {
            let counterpart = counterpart(codec, &other.codecs)?;
            let rtx = retransmission_of(&one.codecs, codec.payload_type)
                .filter(|_| retransmission_of(&other.codecs, counterpart.payload_type).is_some())
                .map(|rtx| rtx.payload_type);
            let mut parameters = codec.clone();
            parameters
                .rtp_codec
                .rtcp_feedback
                .retain(|feedback| counterpart.rtp_codec.rtcp_feedback.contains(feedback));
            Some(NegotiatedCodec { parameters, rtx })
        })
        .collect()
}

/// The same codec in a list of the other side. Answers that leave parameters out are common: the same
/// name under the same payload type is the same codec.
fn counterpart<'a>(
    codec: &RTCRtpCodecParameters,
    others: &'a [RTCRtpCodecParameters],
) -> Option<&'a RTCRtpCodecParameters> {
    let by_number = others.iter().find(|other| {
        other.payload_type == codec.payload_type && other.rtp_codec.has_name_of(&codec.rtp_codec)
    });
    by_number.or_else(|| {
        others
            .iter()
            .find(|other| other.rtp_codec.matches(&codec.rtp_codec))
    })
}

/// The header extensions of one side, with its numbers, that the other side has too and that both
/// want to use in a direction.
fn extensions(
    one: &MediaSection,
    other: &MediaSection,
    one_wants: fn(Direction) -> bool,
    other_wants: fn(Direction) -> bool,
) -> Vec<RTCRtpHeaderExtensionParameters> {
    let direction = |extension: &ExtMap| extension.direction.unwrap_or_default();
    one.extensions
        .iter()
        .filter(|extension| one_wants(direction(extension)) && extension.id <= MAX_ID)
        .filter(|extension| {
            let counterpart = other.extension(&extension.uri);
            counterpart.is_some_and(|it| other_wants(direction(it)))
        })
        .map(|extension| RTCRtpHeaderExtensionParameters {
            uri: extension.uri.clone(),
            id: extension.id,
            encrypted: false,
        })
        .collect()
}

/// The highest number that a header has room for; higher ones offer alternatives (RFC 8285 section 7).
const MAX_ID: u16 = 255;
