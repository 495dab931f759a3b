use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_OPUS, MIME_TYPE_VP8, MediaEngine,
};
use rtc::rtp::extension::ExtensionKind;
use rtc::rtp_transceiver::RtpCodecKind::{Audio, Video};
use rtc::rtp_transceiver::{RTCRtpHeaderExtensionCapability, RTCRtpTransceiverDirection};

/// Opus, and VP8 with retransmission, which every browser sends in layers. With one codec for each kind,
/// packets of everybody can be sent to everybody.
///
/// # Errors
/// None: the codecs are those of the defaults.
pub fn forwarding_engine() -> Result<MediaEngine, rtc::Error> {
    let browsers = MediaEngine::with_defaults();
    let mut engine = MediaEngine::default();
    for (kind, mime_type) in [(Audio, MIME_TYPE_OPUS), (Video, MIME_TYPE_VP8)] {
        let codecs = browsers.codecs(kind);
        let Some(codec) = codecs.iter().find(|it| it.rtp_codec.mime_type == mime_type) else {
            continue;
        };
        let apt = format!("apt={}", codec.payload_type);
        let rtx = codecs.iter().find(|it| it.rtp_codec.sdp_fmtp_line == apt);
        for codec in [Some(codec), rtx].into_iter().flatten() {
            engine.register_codec(codec.clone(), kind)?;
        }
    }
    engine.register_default_header_extensions();
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
