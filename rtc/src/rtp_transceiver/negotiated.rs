//! What the descriptions in force say of media, in the form in which packets are sent and routed.

use rtc_rtp::extension::{ExtensionKind, ExtensionMap};

use super::parameters::{
    PayloadType, RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters, RtpCodecKind, SSRC,
};
use super::{RTCRtpReceiverId, RTCRtpSenderId, RTCRtpTransceiverId};
use crate::media_stream::RtpStreamId;

/// What was negotiated for one m-section of audio or video: all that sending and routing packets
/// needs. It changes as a whole when a description is applied.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NegotiatedMedia {
    /// The transceiver that the m-section stands for.
    pub transceiver_id: RTCRtpTransceiverId,
    /// Its sender.
    pub sender_id: RTCRtpSenderId,
    /// Its receiver.
    pub receiver_id: RTCRtpReceiverId,
    /// The identification tag that packets carry in the header extension of that name.
    pub mid: String,
    /// Place of the m-section, from 0.
    pub mline_index: usize,
    /// Audio or video.
    pub kind: RtpCodecKind,
    /// How to send; `None` while nothing may be sent.
    pub send: Option<NegotiatedSend>,
    /// How packets come; `None` while none are expected. After an offer of ours it has all that was
    /// offered, since packets may overtake the answer.
    pub receive: Option<NegotiatedReceive>,
}

/// How to send (payload types and extension numbers are those of the peer's description).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct NegotiatedSend {
    /// Codecs, the preferred one first.
    pub codecs: Vec<NegotiatedCodec>,
    /// Header extensions that the peer takes.
    pub header_extensions: Vec<RTCRtpHeaderExtensionParameters>,
    /// Whether one- and two-byte headers may both occur in a stream (RFC 8285 section 4.1.2).
    pub allow_mixed_headers: bool,
    /// Layers that the peer takes, with its restrictions; empty without simulcast.
    pub layers: Vec<NegotiatedLayer>,
    /// Encodings, one for each layer.
    pub encodings: Vec<NegotiatedEncoding>,
    /// Whether RTCP packets of reduced size may be sent (RFC 5506).
    pub reduced_size_rtcp: bool,
    /// The most that the peer wants (`b=`), in bit/s.
    pub max_bitrate: Option<u64>,
}

/// How packets come (payload types and extension numbers are those of our description).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct NegotiatedReceive {
    /// Codecs.
    pub codecs: Vec<NegotiatedCodec>,
    /// Header extensions that may occur.
    pub header_extensions: Vec<RTCRtpHeaderExtensionParameters>,
    /// Simulcast layers that packets name by the extension `rtp-stream-id`; empty without simulcast.
    pub layers: Vec<NegotiatedLayer>,
    /// Sources that the peer has announced. Others may come: those are known by their `mid` and
    /// `rtp-stream-id` extensions.
    pub sources: Vec<RemoteSource>,
    /// Whether RTCP packets of reduced size may be sent (RFC 5506).
    pub reduced_size_rtcp: bool,
}

/// A codec with its retransmission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NegotiatedCodec {
    /// Codec, payload type, and the feedback that both sides can do.
    pub parameters: RTCRtpCodecParameters,
    /// Payload type of its retransmissions (RFC 4588).
    pub rtx: Option<PayloadType>,
}

/// An encoding that may be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NegotiatedEncoding {
    /// Its place among the sender's encodings.
    pub index: usize,
    /// Source of its packets.
    pub ssrc: SSRC,
    /// Source of its retransmissions.
    pub rtx: Option<SSRC>,
    /// Name of the simulcast layer, for the extension `rtp-stream-id`.
    pub rid: Option<RtpStreamId>,
    /// Whether it is to be sent.
    pub active: bool,
    /// Payload type of the codec that the encoding asks for, or that the peer restricts the layer to;
    /// `None` leaves the choice.
    pub payload_type: Option<PayloadType>,
}

/// A simulcast layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NegotiatedLayer {
    /// Its name.
    pub rid: RtpStreamId,
    /// Whether it is announced as not sent for now (`~`).
    pub paused: bool,
    /// Payload types it is restricted to; empty for all.
    pub payload_types: Vec<PayloadType>,
    /// The most it may take (`max-br`), in bit/s.
    pub max_bitrate: Option<u64>,
    /// The widest pictures (`max-width`), in pixels.
    pub max_width: Option<u32>,
    /// The highest pictures (`max-height`), in pixels.
    pub max_height: Option<u32>,
    /// The most pictures per second (`max-fps`).
    pub max_framerate: Option<u32>,
}

impl NegotiatedLayer {
    /// The layer as our descriptions name it: without the restrictions that the peer has set.
    pub(crate) fn unrestricted(&self) -> Self {
        Self {
            rid: self.rid.clone(),
            paused: self.paused,
            ..Self::default()
        }
    }
}

/// A source that the peer has announced by `a=ssrc` and `a=ssrc-group` (RFC 5576).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RemoteSource {
    /// The source.
    pub ssrc: SSRC,
    /// The source of its retransmissions (group `FID`).
    pub rtx: Option<SSRC>,
    /// The source of its repair packets (group `FEC-FR`).
    pub fec: Option<SSRC>,
    /// Canonical name, empty where none is said.
    pub cname: String,
}

impl NegotiatedCodec {
    /// Whether the receiver may give a kind of feedback, such as `("nack", "pli")`.
    #[must_use]
    pub fn has_feedback(&self, typ: &str, parameter: &str) -> bool {
        let mut all = self.parameters.rtp_codec.rtcp_feedback.iter();
        all.any(|feedback| feedback.typ == typ && feedback.parameter == parameter)
    }
}

impl NegotiatedSend {
    /// The number of each header extension that has a kind.
    #[must_use]
    pub fn extension_map(&self) -> ExtensionMap {
        extension_map(&self.header_extensions)
    }
}

impl NegotiatedReceive {
    /// The number of each header extension that has a kind.
    #[must_use]
    pub fn extension_map(&self) -> ExtensionMap {
        extension_map(&self.header_extensions)
    }

    /// What also holds while an offer of ours waits for its answer: packets may come as before or as
    /// offered.
    pub(crate) fn or_offered(mut self, offered: Self) -> Self {
        for codec in offered.codecs {
            let payload_type = codec.parameters.payload_type;
            let is_same = |it: &NegotiatedCodec| it.parameters.payload_type == payload_type;
            if !self.codecs.iter().any(is_same) {
                self.codecs.push(codec);
            }
        }
        for extension in offered.header_extensions {
            if !self
                .header_extensions
                .iter()
                .any(|it| it.id == extension.id)
            {
                self.header_extensions.push(extension);
            }
        }
        self
    }
}

fn extension_map(extensions: &[RTCRtpHeaderExtensionParameters]) -> ExtensionMap {
    let mut map = ExtensionMap::default();
    for extension in extensions {
        if let (Some(kind), Ok(id)) = (
            ExtensionKind::from_uri(&extension.uri),
            u8::try_from(extension.id),
        ) {
            map.set(kind, id);
        }
    }
    map
}
