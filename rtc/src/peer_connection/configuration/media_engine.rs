//! The codecs and header extensions that a connection offers and accepts.

use std::sync::{Arc, LazyLock};

use rtc_rtp::extension::ExtensionKind;
use rtc_sdp::{Direction, is_token};

use crate::Error;
use crate::rtp_transceiver::codec::{Purpose, retransmission_of};
use crate::rtp_transceiver::{
    PayloadType, RTCPFeedback, RTCRtpCapabilities, RTCRtpCodec, RTCRtpCodecParameters,
    RTCRtpHeaderExtensionCapability, RTCRtpTransceiverDirection, RtpCodecKind,
};

/// Codecs and header extensions in order of preference.
///
/// [`default`](Self::default) is empty; what connections have that were given no engine is
/// [`with_defaults`](Self::with_defaults). The payload types registered here are those that a first
/// offer has; an answer takes the peer's, and a later offer avoids those that already mean something
/// else.
///
/// ```
/// use rtc::peer_connection::configuration::RTCConfigurationBuilder;
/// use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
/// use rtc::rtp_transceiver::{RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
///
/// let mut engine = MediaEngine::default();
/// engine.register_codec(
///     RTCRtpCodecParameters {
///         rtp_codec: RTCRtpCodec {
///             mime_type: MIME_TYPE_OPUS.to_owned(),
///             clock_rate: 48000,
///             channels: 2,
///             sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
///             rtcp_feedback: vec![],
///         },
///         payload_type: 111,
///     },
///     RtpCodecKind::Audio,
/// )?;
/// let configuration = RTCConfigurationBuilder::new().with_media_engine(engine).build();
/// # Ok::<(), rtc::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaEngine {
    audio: Vec<RTCRtpCodecParameters>,
    video: Vec<RTCRtpCodecParameters>,
    extensions: Vec<HeaderExtension>,
}

/// A header extension with the directions in which it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HeaderExtension {
    uri: String,
    audio: Option<Direction>,
    video: Option<Direction>,
}

impl MediaEngine {
    /// The default codecs and header extensions.
    #[must_use]
    pub fn with_defaults() -> Self {
        let mut engine = Self::default();
        engine.add_default_codecs();
        engine.register_default_header_extensions();
        engine
    }

    /// The same, made once for all connections.
    pub(crate) fn shared_defaults() -> Arc<Self> {
        static DEFAULTS: LazyLock<Arc<MediaEngine>> =
            LazyLock::new(|| Arc::new(MediaEngine::with_defaults()));
        Arc::clone(&DEFAULTS)
    }

    /// Adds the codecs of browsers: Opus, G.722, G.711 and telephone events; VP8, VP9, H.264, AV1 and
    /// H.265, each with its retransmission.
    ///
    /// # Errors
    /// [`Error::InvalidModification`] when a payload type was given to another codec before.
    pub fn register_default_codecs(&mut self) -> Result<(), Error> {
        let mut engine = self.clone();
        for (kind, codec) in default_codecs() {
            engine.register_codec(codec, kind)?;
        }
        *self = engine;
        Ok(())
    }

    fn add_default_codecs(&mut self) {
        for (kind, codec) in default_codecs() {
            self.codecs_mut(kind).push(codec);
        }
    }

    /// Adds a codec behind those of its kind. One that is there already, with the same payload type,
    /// is left as it is.
    ///
    /// A retransmission refers to its codec by `apt=<payload type>`.
    ///
    /// # Errors
    /// [`Error::Type`] when the MIME type is not one of the kind, there is no clock rate, or the
    /// payload type is above 127 or lies between 64 and 95, where packets look like RTCP (RFC 5761);
    /// [`Error::InvalidModification`] when the payload type was given to another codec before.
    pub fn register_codec(
        &mut self,
        codec: RTCRtpCodecParameters,
        kind: RtpCodecKind,
    ) -> Result<(), Error> {
        let mime = &codec.rtp_codec.mime_type;
        let is_of_kind = mime
            .split_once('/')
            .is_some_and(|(of, name)| of.eq_ignore_ascii_case(kind.as_str()) && is_token(name));
        if !is_of_kind {
            return Err(Error::Type(format!("{mime:?} is no MIME type of {kind}")));
        }
        if codec.rtp_codec.clock_rate == 0 {
            return Err(Error::Type(format!("{mime:?} has no clock rate")));
        }
        if !matches!(codec.payload_type, 0..=63 | 96..=127) {
            return Err(Error::Type(format!(
                "{} is no payload type",
                codec.payload_type
            )));
        }
        let taken = self
            .audio
            .iter()
            .chain(&self.video)
            .find(|known| known.payload_type == codec.payload_type);
        match taken {
            Some(known) if known.rtp_codec.is_interchangeable_with(&codec.rtp_codec) => Ok(()),
            Some(_) => Err(Error::InvalidModification(
                "the payload type belongs to another codec",
            )),
            None => {
                self.codecs_mut(kind).push(codec);
                Ok(())
            }
        }
    }

    /// Adds the header extensions of browsers: those of routing, transport feedback, absolute times,
    /// audio levels, video orientation and layers.
    pub fn register_default_header_extensions(&mut self) {
        use RtpCodecKind::{Audio, Video};
        for (kind, extension) in [
            (Audio, ExtensionKind::AudioLevel),
            (Audio, ExtensionKind::AbsSendTime),
            (Audio, ExtensionKind::TransportSequenceNumber),
            (Audio, ExtensionKind::Mid),
            (Audio, ExtensionKind::AbsCaptureTime),
            (Video, ExtensionKind::TransmissionOffset),
            (Video, ExtensionKind::AbsSendTime),
            (Video, ExtensionKind::VideoOrientation),
            (Video, ExtensionKind::TransportSequenceNumber),
            (Video, ExtensionKind::PlayoutDelay),
            (Video, ExtensionKind::Mid),
            (Video, ExtensionKind::RtpStreamId),
            (Video, ExtensionKind::RepairedRtpStreamId),
            (Video, ExtensionKind::AbsCaptureTime),
            (Video, ExtensionKind::DependencyDescriptor),
            (Video, ExtensionKind::VideoLayersAllocation),
        ] {
            self.set_header_extension(extension.uri(), kind, Direction::SendRecv);
        }
    }

    /// Adds a header extension for a kind of media, for one direction or, with `None`, for both.
    /// Registered again it gets the new direction.
    ///
    /// # Errors
    /// [`Error::Type`] when the URI is empty or has spaces, or the direction is none.
    pub fn register_header_extension(
        &mut self,
        extension: RTCRtpHeaderExtensionCapability,
        kind: RtpCodecKind,
        direction: Option<RTCRtpTransceiverDirection>,
    ) -> Result<(), Error> {
        let uri = extension.uri;
        if uri.is_empty() || !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Type(format!("{uri:?} is no URI")));
        }
        let direction = match direction.unwrap_or_default().to_sdp() {
            Some(Direction::Inactive) | None => {
                return Err(Error::Type(
                    "an extension has to have a direction".to_owned(),
                ));
            }
            Some(direction) => direction,
        };
        self.set_header_extension(&uri, kind, direction);
        Ok(())
    }

    fn set_header_extension(&mut self, uri: &str, kind: RtpCodecKind, direction: Direction) {
        let index = self.extensions.iter().position(|known| known.uri == uri);
        if index.is_none() {
            self.extensions.push(HeaderExtension {
                uri: uri.to_owned(),
                audio: None,
                video: None,
            });
        }
        let known = match index {
            Some(index) => self.extensions.get_mut(index),
            None => self.extensions.last_mut(),
        };
        if let Some(known) = known {
            match kind {
                RtpCodecKind::Audio => known.audio = Some(direction),
                RtpCodecKind::Video => known.video = Some(direction),
            }
        }
    }

    /// Removes a header extension from a kind of media.
    pub fn unregister_header_extension(&mut self, uri: &str, kind: RtpCodecKind) {
        for known in &mut self.extensions {
            if known.uri == uri {
                match kind {
                    RtpCodecKind::Audio => known.audio = None,
                    RtpCodecKind::Video => known.video = None,
                }
            }
        }
    }

    /// Adds a kind of feedback to every media codec of a kind that is registered so far.
    pub fn register_feedback(&mut self, feedback: RTCPFeedback, kind: RtpCodecKind) {
        for codec in self.codecs_mut(kind) {
            let codec = &mut codec.rtp_codec;
            if codec.purpose() == Purpose::Media && !codec.rtcp_feedback.contains(&feedback) {
                codec.rtcp_feedback.push(feedback.clone());
            }
        }
    }

    /// The codecs of a kind in order of preference.
    #[must_use]
    pub fn codecs(&self, kind: RtpCodecKind) -> &[RTCRtpCodecParameters] {
        match kind {
            RtpCodecKind::Audio => &self.audio,
            RtpCodecKind::Video => &self.video,
        }
    }

    fn codecs_mut(&mut self, kind: RtpCodecKind) -> &mut Vec<RTCRtpCodecParameters> {
        match kind {
            RtpCodecKind::Audio => &mut self.audio,
            RtpCodecKind::Video => &mut self.video,
        }
    }

    /// The header extensions of a kind, with their directions.
    pub(crate) fn header_extensions(
        &self,
        kind: RtpCodecKind,
    ) -> impl Iterator<Item = (&str, Direction)> {
        self.extensions.iter().filter_map(move |extension| {
            let direction = match kind {
                RtpCodecKind::Audio => extension.audio,
                RtpCodecKind::Video => extension.video,
            };
            Some((extension.uri.as_str(), direction?))
        })
    }

    /// What is supported for a kind of media, as `getCapabilities` has it: retransmission is listed
    /// once.
    #[must_use]
    pub fn capabilities(&self, kind: RtpCodecKind) -> RTCRtpCapabilities {
        let mut codecs: Vec<RTCRtpCodec> = Vec::new();
        for RTCRtpCodecParameters { rtp_codec, .. } in self.codecs(kind) {
            let mut codec = rtp_codec.clone();
            if codec.is_retransmission() {
                codec.sdp_fmtp_line = String::new();
            }
            if !codecs.contains(&codec) {
                codecs.push(codec);
            }
        }
        let uri = |(uri, _): (&str, Direction)| RTCRtpHeaderExtensionCapability {
            uri: uri.to_owned(),
        };
        RTCRtpCapabilities {
            codecs,
            header_extensions: self.header_extensions(kind).map(uri).collect(),
        }
    }

    /// The codecs of a kind as `preferences` has them: in their order, all of them when there are no
    /// preferences. A retransmission comes right behind its codec.
    pub(crate) fn preferred(
        &self,
        kind: RtpCodecKind,
        preferences: &[RTCRtpCodec],
    ) -> Vec<RTCRtpCodecParameters> {
        let all = self.codecs(kind);
        let primary = |codec: &&RTCRtpCodecParameters| !codec.rtp_codec.is_retransmission();
        let in_order: Vec<&RTCRtpCodecParameters> = if preferences.is_empty() {
            all.iter().filter(primary).collect()
        } else {
            let mut chosen: Vec<&RTCRtpCodecParameters> = Vec::new();
            for preference in preferences
                .iter()
                .filter(|codec| !codec.is_retransmission())
            {
                for codec in all.iter().filter(primary) {
                    let is_new = !chosen
                        .iter()
                        .any(|it| it.payload_type == codec.payload_type);
                    if is_new && codec.rtp_codec.matches(preference) {
                        chosen.push(codec);
                    }
                }
            }
            chosen
        };
        let with_rtx =
            preferences.is_empty() || preferences.iter().any(RTCRtpCodec::is_retransmission);
        let mut codecs = Vec::new();
        for codec in in_order {
            codecs.push(codec.clone());
            if with_rtx {
                codecs.extend(retransmission_of(all, codec.payload_type).cloned());
            }
        }
        codecs
    }
}

fn default_codecs() -> Vec<(RtpCodecKind, RTCRtpCodecParameters)> {
    let mut codecs = Vec::new();
    for (mime, clock_rate, channels, payload_type, fmtp) in AUDIO {
        let feedback: &[_] = match *mime {
            MIME_TYPE_OPUS => &[("transport-cc", "")],
            _ => &[],
        };
        codecs.push((
            RtpCodecKind::Audio,
            parameters(mime, *clock_rate, *channels, *payload_type, fmtp, feedback),
        ));
    }
    for (mime, payload_type, rtx, fmtp) in VIDEO {
        let clock_rate = 90000;
        let video = parameters(mime, clock_rate, 0, *payload_type, fmtp, VIDEO_FEEDBACK);
        let apt = format!("apt={payload_type}");
        let rtx = parameters(MIME_TYPE_RTX, clock_rate, 0, *rtx, &apt, &[]);
        codecs.extend([(RtpCodecKind::Video, video), (RtpCodecKind::Video, rtx)]);
    }
    codecs
}

fn parameters(
    mime: &str,
    clock_rate: u32,
    channels: u16,
    payload_type: PayloadType,
    fmtp: &str,
    feedback: &[(&str, &str)],
) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: mime.to_owned(),
            clock_rate,
            channels,
            sdp_fmtp_line: fmtp.to_owned(),
            rtcp_feedback: feedback
                .iter()
                .map(|(typ, parameter)| RTCPFeedback::new(*typ, *parameter))
                .collect(),
        },
        payload_type,
    }
}

macro_rules! mime_types {
    ($($(#[$doc:meta])+ $name:ident = $value:literal;)+) => {
        $($(#[$doc])+ pub const $name: &str = $value;)+
    };
}

mime_types! {
    /// H.264 (RFC 6184).
    MIME_TYPE_H264 = "video/H264";
    /// H.265 (RFC 7798).
    MIME_TYPE_HEVC = "video/H265";
    /// Opus (RFC 7587).
    MIME_TYPE_OPUS = "audio/opus";
    /// VP8 (RFC 7741).
    MIME_TYPE_VP8 = "video/VP8";
    /// VP9 (RFC 9628).
    MIME_TYPE_VP9 = "video/VP9";
    /// AV1 (the RTP specification of AOM).
    MIME_TYPE_AV1 = "video/AV1";
    /// G.722 (RFC 3551 section 4.5.2).
    MIME_TYPE_G722 = "audio/G722";
    /// G.711 µ-law (RFC 3551 section 4.5.14).
    MIME_TYPE_PCMU = "audio/PCMU";
    /// G.711 A-law (RFC 3551 section 4.5.14).
    MIME_TYPE_PCMA = "audio/PCMA";
    /// Retransmission (RFC 4588).
    MIME_TYPE_RTX = "video/rtx";
    /// Forward error correction (RFC 8627).
    MIME_TYPE_FLEX_FEC = "video/flexfec";
    /// The same as a draft had it, which browsers have.
    MIME_TYPE_FLEX_FEC03 = "video/flexfec-03";
    /// Forward error correction (RFC 5109).
    MIME_TYPE_ULP_FEC = "video/ulpfec";
    /// Redundancy (RFC 2198).
    MIME_TYPE_RED = "audio/red";
    /// Comfort noise (RFC 3389).
    MIME_TYPE_CN = "audio/CN";
    /// Tones (RFC 4733).
    MIME_TYPE_TELEPHONE_EVENT = "audio/telephone-event";
}

/// MIME type, clock rate, channels, payload type, parameters; the payload types are Chromium's.
const AUDIO: &[(&str, u32, u16, PayloadType, &str)] = &[
    (MIME_TYPE_OPUS, 48000, 2, 111, "minptime=10;useinbandfec=1"),
    (MIME_TYPE_G722, 8000, 0, 9, ""),
    (MIME_TYPE_PCMU, 8000, 0, 0, ""),
    (MIME_TYPE_PCMA, 8000, 0, 8, ""),
    (MIME_TYPE_TELEPHONE_EVENT, 48000, 0, 110, "0-16"),
    (MIME_TYPE_TELEPHONE_EVENT, 8000, 0, 126, "0-16"),
];

/// MIME type, payload type, the one of its retransmission, parameters.
const VIDEO: &[(&str, PayloadType, PayloadType, &str)] = &[
    (MIME_TYPE_VP8, 96, 97, ""),
    (MIME_TYPE_H264, 102, 103, H264[0]),
    (MIME_TYPE_H264, 104, 107, H264[1]),
    (MIME_TYPE_H264, 108, 109, H264[2]),
    (MIME_TYPE_H264, 114, 115, H264[3]),
    (MIME_TYPE_H264, 116, 117, H264[4]),
    (MIME_TYPE_H264, 39, 40, H264[5]),
    (MIME_TYPE_H264, 112, 113, H264[6]),
    (MIME_TYPE_AV1, 45, 46, "level-idx=5;profile=0;tier=0"),
    (MIME_TYPE_VP9, 98, 99, "profile-id=0"),
    (MIME_TYPE_VP9, 100, 101, "profile-id=2"),
    (
        MIME_TYPE_HEVC,
        49,
        50,
        "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
    ),
];

/// Baseline, constrained baseline and main, each in both packetization modes; high in mode 1.
const H264: [&str; 7] = [
    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
    "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f",
    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f",
    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
    "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=4d001f",
    "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f",
];

const VIDEO_FEEDBACK: &[(&str, &str)] = &[
    ("goog-remb", ""),
    ("transport-cc", ""),
    ("ccm", "fir"),
    ("nack", ""),
    ("nack", "pli"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_consistent() {
        let engine = MediaEngine::with_defaults();
        let mut registered = MediaEngine::default();
        registered.register_default_codecs().unwrap();
        registered.register_default_codecs().unwrap();
        registered.register_default_header_extensions();
        assert_eq!(engine, registered);
        for codec in engine.codecs(RtpCodecKind::Video) {
            if codec.rtp_codec.purpose() == Purpose::Media {
                let rtx = retransmission_of(&engine.video, codec.payload_type);
                assert!(rtx.is_some(), "{codec:?}");
            }
        }
        assert!(engine.extensions.len() <= 14, "one-byte headers are enough");
        let capabilities = engine.capabilities(RtpCodecKind::Video);
        let rtx = capabilities
            .codecs
            .iter()
            .filter(|codec| codec.is_retransmission());
        assert_eq!(rtx.count(), 1);
    }

    #[test]
    fn a_payload_type_means_one_codec() {
        let mut engine = MediaEngine::with_defaults();
        let vp8 = |payload_type| parameters(MIME_TYPE_VP8, 90000, 0, payload_type, "", &[]);
        engine.register_codec(vp8(96), RtpCodecKind::Video).unwrap();
        let error = engine
            .register_codec(vp8(98), RtpCodecKind::Video)
            .unwrap_err();
        assert_eq!(error.name(), "InvalidModificationError");
        for payload_type in [64, 95, 128] {
            let error = engine.register_codec(vp8(payload_type), RtpCodecKind::Video);
            assert_eq!(error.unwrap_err().name(), "TypeError");
        }
        let error = engine
            .register_codec(vp8(119), RtpCodecKind::Audio)
            .unwrap_err();
        assert_eq!(error.name(), "TypeError");
        let smuggled = parameters("video/a\r\nb", 90000, 0, 119, "", &[]);
        assert!(
            engine
                .register_codec(smuggled, RtpCodecKind::Video)
                .is_err()
        );
    }

    #[test]
    fn preferences_choose_and_order() {
        let engine = MediaEngine::with_defaults();
        let of = |codecs: Vec<RTCRtpCodecParameters>| -> Vec<PayloadType> {
            codecs.iter().map(|codec| codec.payload_type).collect()
        };
        let codec = |mime: &str, fmtp: &str| parameters(mime, 90000, 0, 0, fmtp, &[]).rtp_codec;
        let vp9 = codec(MIME_TYPE_VP9, "profile-id=2");
        let vp8 = codec(MIME_TYPE_VP8, "");
        let rtx = codec(MIME_TYPE_RTX, "");
        let preferred = |list: &[RTCRtpCodec]| of(engine.preferred(RtpCodecKind::Video, list));
        assert_eq!(preferred(&[vp9.clone(), vp8.clone()]), [100, 96]);
        assert_eq!(preferred(&[vp9, rtx, vp8]), [100, 101, 96, 97]);
        assert_eq!(preferred(&[]).len(), engine.video.len());
    }

    #[test]
    fn extensions_and_feedback_are_registered_by_kind() {
        let mut engine = MediaEngine::default();
        let uri = || RTCRtpHeaderExtensionCapability {
            uri: "urn:x".to_owned(),
        };
        let recvonly = Some(RTCRtpTransceiverDirection::Recvonly);
        engine
            .register_header_extension(uri(), RtpCodecKind::Audio, recvonly)
            .unwrap();
        assert_eq!(engine.header_extensions(RtpCodecKind::Video).count(), 0);
        let audio: Vec<_> = engine.header_extensions(RtpCodecKind::Audio).collect();
        assert_eq!(audio, [("urn:x", Direction::RecvOnly)]);
        engine.unregister_header_extension("urn:x", RtpCodecKind::Audio);
        assert_eq!(engine.header_extensions(RtpCodecKind::Audio).count(), 0);
        let inactive = Some(RTCRtpTransceiverDirection::Inactive);
        assert!(
            engine
                .register_header_extension(uri(), RtpCodecKind::Audio, inactive)
                .is_err()
        );
        let bad = RTCRtpHeaderExtensionCapability {
            uri: "a b".to_owned(),
        };
        assert!(
            engine
                .register_header_extension(bad, RtpCodecKind::Audio, None)
                .is_err()
        );

        engine.register_default_codecs().unwrap();
        engine.register_feedback(RTCPFeedback::new("ack", "ccfb"), RtpCodecKind::Video);
        let has = |codec: &RTCRtpCodecParameters| {
            codec
                .rtp_codec
                .rtcp_feedback
                .contains(&RTCPFeedback::new("ack", "ccfb"))
        };
        assert!(
            engine
                .video
                .iter()
                .all(|codec| has(codec) != codec.rtp_codec.is_retransmission())
        );
        assert!(!engine.audio.iter().any(has));
    }
}
