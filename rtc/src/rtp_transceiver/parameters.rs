//! The dictionaries of W3C that say how media is coded (webrtc-pc section 5.2, ORTC names where W3C
//! has none).

use std::fmt;

use rtc_sdp::{Fmtp, RtcpFb};

use crate::media_stream::{MediaStreamId, RtpStreamId};
use crate::rtp_transceiver::RTCRtpTransceiverDirection;

/// Synchronization source of RTP packets (RFC 3550 section 3).
pub type SSRC = u32;

/// Payload type of RTP packets, 0 to 127.
pub type PayloadType = u8;

/// Kinds of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RtpCodecKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl RtpCodecKind {
    /// The W3C name, which is that of m-lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    /// The kind of an m-line, if it is one of media.
    #[must_use]
    pub fn from_media(media: &str) -> Option<Self> {
        match media {
            "audio" => Some(Self::Audio),
            "video" => Some(Self::Video),
            _ => None,
        }
    }
}

impl fmt::Display for RtpCodecKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Feedback that a receiver may give on a codec's packets (RFC 4585 section 4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RTCPFeedback {
    /// `nack`, `ccm`, `goog-remb`, `transport-cc`, …
    pub typ: String,
    /// `pli`, `fir`, …; empty for none.
    pub parameter: String,
}

impl RTCPFeedback {
    /// A kind of feedback with its parameter, empty for none.
    #[must_use]
    pub fn new(typ: impl Into<String>, parameter: impl Into<String>) -> Self {
        Self {
            typ: typ.into(),
            parameter: parameter.into(),
        }
    }

    pub(crate) fn to_attribute(&self, payload_type: PayloadType) -> RtcpFb {
        RtcpFb {
            payload_type: Some(payload_type),
            kind: self.typ.clone(),
            parameter: Some(self.parameter.clone()).filter(|parameter| !parameter.is_empty()),
        }
    }
}

/// A codec (webrtc-pc section 5.2.9).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RTCRtpCodec {
    /// `audio/opus`, `video/VP8`, …; case does not matter. Empty where the choice is left to
    /// negotiation.
    pub mime_type: String,
    /// Ticks of the RTP timestamp per second.
    pub clock_rate: u32,
    /// Audio channels, 0 where nothing is said.
    pub channels: u16,
    /// Format parameters, as in `a=fmtp`: `key=value;key=value`.
    pub sdp_fmtp_line: String,
    /// Feedback that receivers may give.
    pub rtcp_feedback: Vec<RTCPFeedback>,
}

impl RTCRtpCodec {
    /// What stands behind the slash of the MIME type.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.mime_type.split_once('/') {
            Some((_, name)) => name,
            None => &self.mime_type,
        }
    }

    /// Whether the name is this one; case does not matter.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name)
    }

    /// The value of a format parameter.
    #[must_use]
    pub fn parameter(&self, key: &str) -> Option<String> {
        self.fmtp().get(key).map(str::to_owned)
    }

    pub(crate) fn fmtp(&self) -> Fmtp {
        Fmtp::from_parameters(0, &self.sdp_fmtp_line)
    }
}

/// A codec with its payload type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RTCRtpCodecParameters {
    /// The codec.
    pub rtp_codec: RTCRtpCodec,
    /// Its payload type.
    pub payload_type: PayloadType,
}

/// Retransmission of an encoding (RFC 4588).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RTCRtpRtxParameters {
    /// Source of the retransmissions.
    pub ssrc: SSRC,
}

/// Forward error correction of an encoding (RFC 8627).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RTCRtpFecParameters {
    /// Source of the repair packets.
    pub ssrc: SSRC,
}

/// How an encoding is told from others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RTCRtpCodingParameters {
    /// Name of the simulcast layer, empty for none; at most 16 letters and digits.
    pub rid: RtpStreamId,
    /// Its source, where it is known or wanted.
    pub ssrc: Option<SSRC>,
    /// Its retransmission.
    pub rtx: Option<RTCRtpRtxParameters>,
    /// Its forward error correction.
    pub fec: Option<RTCRtpFecParameters>,
}

/// One of the encodings in which a track is sent (webrtc-pc section 5.2.5).
#[derive(Clone, Debug, PartialEq)]
pub struct RTCRtpEncodingParameters {
    /// How it is told from others.
    pub rtp_coding_parameters: RTCRtpCodingParameters,
    /// Whether it is sent.
    pub active: bool,
    /// Its codec; without a MIME type the first one that was negotiated.
    pub codec: RTCRtpCodec,
    /// The most it may take, in bit/s.
    pub max_bitrate: Option<u32>,
    /// The most pictures per second.
    pub max_framerate: Option<f64>,
    /// Divides width and height of the pictures, at least 1.
    pub scale_resolution_down_by: Option<f64>,
}

impl RTCRtpEncodingParameters {
    /// A simulcast layer of that name.
    #[must_use]
    pub fn with_rid(rid: impl Into<RtpStreamId>) -> Self {
        Self {
            rtp_coding_parameters: RTCRtpCodingParameters {
                rid: rid.into(),
                ..RTCRtpCodingParameters::default()
            },
            ..Self::default()
        }
    }

    /// Name of the simulcast layer, empty for none.
    #[must_use]
    pub fn rid(&self) -> &str {
        &self.rtp_coding_parameters.rid
    }
}

impl Default for RTCRtpEncodingParameters {
    fn default() -> Self {
        Self {
            rtp_coding_parameters: RTCRtpCodingParameters::default(),
            active: true,
            codec: RTCRtpCodec::default(),
            max_bitrate: None,
            max_framerate: None,
            scale_resolution_down_by: None,
        }
    }
}

/// A header extension in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RTCRtpHeaderExtensionParameters {
    /// What it is.
    pub uri: String,
    /// Its number in packets.
    pub id: u16,
    /// Whether its value is encrypted (RFC 6904); never so today.
    pub encrypted: bool,
}

/// How RTCP is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RTCRtcpParameters {
    /// Canonical name of the sources (RFC 3550 section 6.5.1).
    pub cname: String,
    /// Whether packets of reduced size may be sent (RFC 5506).
    pub reduced_size: bool,
}

/// What senders and receivers have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RTCRtpParameters {
    /// Header extensions in use.
    pub header_extensions: Vec<RTCRtpHeaderExtensionParameters>,
    /// How RTCP is sent.
    pub rtcp: RTCRtcpParameters,
    /// Codecs that were negotiated, the preferred one first.
    pub codecs: Vec<RTCRtpCodecParameters>,
}

/// How a sender sends (webrtc-pc section 5.2.3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RTCRtpSendParameters {
    /// Proves to `set_parameters` that these are the latest.
    pub transaction_id: String,
    /// The encodings.
    pub encodings: Vec<RTCRtpEncodingParameters>,
    /// What negotiation fixed; not to be changed.
    pub rtp_parameters: RTCRtpParameters,
}

/// How a receiver receives (webrtc-pc section 5.2.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RTCRtpReceiveParameters {
    /// What negotiation fixed.
    pub rtp_parameters: RTCRtpParameters,
}

/// Options of `set_parameters`; there are none today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RTCSetParameterOptions {}

/// A header extension that is supported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RTCRtpHeaderExtensionCapability {
    /// What it is.
    pub uri: String,
}

/// What is supported for a kind of media.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RTCRtpCapabilities {
    /// Codecs, the preferred one first.
    pub codecs: Vec<RTCRtpCodec>,
    /// Header extensions.
    pub header_extensions: Vec<RTCRtpHeaderExtensionCapability>,
}

/// How a transceiver is to be made (webrtc-pc section 4.4.2, `addTransceiver`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RTCRtpTransceiverInit {
    /// What it shall do; `sendrecv` by default.
    pub direction: RTCRtpTransceiverDirection,
    /// The streams that its sender's track belongs to.
    pub streams: Vec<MediaStreamId>,
    /// The encodings in which it sends, one for each simulcast layer; none is as good as one.
    pub send_encodings: Vec<RTCRtpEncodingParameters>,
}
