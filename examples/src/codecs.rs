use clap::ValueEnum;
use rtc::media::Codec;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::rtp::extension::ExtensionKind;
use rtc::rtp_transceiver::RtpCodecKind::{Audio, Video};
use rtc::rtp_transceiver::{RTCRtpHeaderExtensionCapability, RTCRtpTransceiverDirection};

/// A codec of video to choose on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum VideoCodec {
    /// VP8
    Vp8,
    /// VP9
    Vp9,
    /// H.264
    H264,
    /// AV1
    Av1,
}

impl From<VideoCodec> for Codec {
    fn from(codec: VideoCodec) -> Self {
        match codec {
            VideoCodec::Vp8 => Self::Vp8,
            VideoCodec::Vp9 => Self::Vp9,
            VideoCodec::H264 => Self::H264,
            VideoCodec::Av1 => Self::Av1,
        }
    }
}

/// These codecs as browsers know them, with retransmission of video, and no others.
///
/// # Errors
/// None: the codecs are those of the defaults.
pub fn engine_of(codecs: &[Codec]) -> Result<MediaEngine, rtc::Error> {
    let browsers = MediaEngine::with_defaults();
    let mut engine = MediaEngine::default();
    engine.register_default_header_extensions();
    for kind in [Audio, Video] {
        let mut wanted = Vec::new();
        for codec in browsers.codecs(kind) {
            let format = &codec.rtp_codec;
            let is_wanted = codecs.iter().any(|it| it.mime_type() == format.mime_type);
            let repairs = |pt: &u8| format.sdp_fmtp_line == format!("apt={pt}");
            if is_wanted || wanted.iter().any(repairs) {
                wanted.push(codec.payload_type);
                engine.register_codec(codec.clone(), kind)?;
            }
        }
    }
    Ok(engine)
}

/// Opus, and VP8 with retransmission, which every browser sends in layers. With one codec for each kind,
/// packets of everybody can be sent to everybody.
///
/// # Errors
/// None: the codecs are those of the defaults.
pub fn forwarding_engine() -> Result<MediaEngine, rtc::Error> {
    let mut engine = engine_of(&[Codec::Opus, Codec::Vp8])?;
    // Numbers of frames that would not go on from one layer to another.
    engine.unregister_header_extension(ExtensionKind::DependencyDescriptor.uri(), Video);
    // Browsers tell what reaches them (REMB) when packets are not numbered for the transport.
    for kind in [Audio, Video] {
        let uri = ExtensionKind::TransportSequenceNumber.uri().to_owned();
        let extension = RTCRtpHeaderExtensionCapability { uri };
        let direction = RTCRtpTransceiverDirection::Recvonly;
        engine.register_header_extension(extension, kind, Some(direction))?;
    }
    Ok(engine)
}
