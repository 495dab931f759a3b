use bytes::Bytes;
use rtc_shared::Rng;

use crate::payload::{audio, av1, nal, vp8, vp9};
use crate::{
    AudioDepacketizer, AudioPacketizer, Av1Depacketizer, Av1Packetizer, DepacketizeError,
    Depacketizer, NalDepacketizer, NalFormat, NalPacketizer, Packetizer, PayloadInfo,
    UnsupportedCodec, Vp8Depacketizer, Vp8Packetizer, Vp9Depacketizer, Vp9Packetizer,
};

/// The codecs whose payload formats are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Codec {
    /// Opus (RFC 7587).
    Opus,
    /// G.711 µ-law (RFC 3551).
    Pcmu,
    /// G.711 A-law (RFC 3551).
    Pcma,
    /// G.722 (RFC 3551).
    G722,
    /// Telephone events (RFC 4733).
    TelephoneEvent,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// H.264 (RFC 6184).
    H264,
    /// H.265 (RFC 7798).
    H265,
    /// AV1 (AV1 RTP specification 1.0).
    Av1,
}

impl Codec {
    /// The codec of a media type such as `video/VP8`, whatever its case.
    #[must_use]
    pub fn from_mime_type(mime_type: &str) -> Option<Self> {
        ALL.iter()
            .find(|codec| codec.mime_type().eq_ignore_ascii_case(mime_type.trim()))
            .copied()
    }

    /// The media type.
    #[must_use]
    pub fn mime_type(self) -> &'static str {
        match self {
            Self::Opus => "audio/opus",
            Self::Pcmu => "audio/PCMU",
            Self::Pcma => "audio/PCMA",
            Self::G722 => "audio/G722",
            Self::TelephoneEvent => "audio/telephone-event",
            Self::Vp8 => "video/VP8",
            Self::Vp9 => "video/VP9",
            Self::H264 => "video/H264",
            Self::H265 => "video/H265",
            Self::Av1 => "video/AV1",
        }
    }

    /// True for codecs of video.
    #[must_use]
    pub fn is_video(self) -> bool {
        matches!(
            self,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::H265 | Self::Av1
        )
    }

    /// Units of the RTP timestamp in a second, as the formats have it; that of telephone events is
    /// negotiated and mostly this.
    #[must_use]
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            // G.722 counts half of its samples (RFC 3551 section 4.5.2).
            Self::Pcmu | Self::Pcma | Self::G722 | Self::TelephoneEvent => 8_000,
            _ => 90_000,
        }
    }

    /// Reads what a payload tells of its frame.
    ///
    /// # Errors
    /// [`DepacketizeError`] when the header of the payload is malformed.
    pub fn inspect(self, payload: &[u8]) -> Result<PayloadInfo, DepacketizeError> {
        match self {
            Self::Vp8 => vp8::inspect(payload),
            Self::Vp9 => vp9::inspect(payload),
            Self::H264 => nal::inspect(NalFormat::H264, payload),
            Self::H265 => nal::inspect(NalFormat::H265, payload),
            Self::Av1 => av1::inspect(payload),
            _ if payload.is_empty() => Err(DepacketizeError::Empty),
            _ => Ok(audio::INFO),
        }
    }

    /// The payload begins a key frame, see [`PayloadInfo::key_frame`]; false for what is malformed.
    #[must_use]
    pub fn is_key_frame(self, payload: &[u8]) -> bool {
        self.inspect(payload).is_ok_and(|info| info.key_frame)
    }

    /// Makes a packetizer for parameters as an `a=fmtp` line has them.
    ///
    /// # Errors
    /// [`UnsupportedCodec`] for the interleaved modes of H.264 and H.265.
    pub fn packetizer(
        self,
        fmtp: &str,
        rng: &mut Rng,
    ) -> Result<Box<dyn Packetizer>, UnsupportedCodec> {
        let fmtp = Fmtp(fmtp);
        Ok(match self {
            Self::Opus => Box::new(AudioPacketizer::opus()),
            Self::Pcmu | Self::Pcma | Self::G722 => Box::new(AudioPacketizer::samples()),
            Self::TelephoneEvent => Box::new(AudioPacketizer::telephone_event()),
            Self::Vp8 => Box::new(Vp8Packetizer::new(rng)),
            Self::Vp9 => Box::new(Vp9Packetizer::new(rng)),
            Self::H264 => match fmtp.packetization_mode()? {
                0 => Box::new(NalPacketizer::h264_single_nal()),
                _ => Box::new(NalPacketizer::h264()),
            },
            Self::H265 => {
                fmtp.check_transmission_order()?;
                Box::new(NalPacketizer::h265())
            }
            Self::Av1 => Box::new(Av1Packetizer::new()),
        })
    }

    /// Makes a depacketizer for parameters as an `a=fmtp` line has them. Frames have at most
    /// `max_frame` bytes.
    ///
    /// # Errors
    /// [`UnsupportedCodec`] for the interleaved modes of H.264 and H.265.
    pub fn depacketizer(
        self,
        fmtp: &str,
        max_frame: usize,
    ) -> Result<Box<dyn Depacketizer>, UnsupportedCodec> {
        let fmtp = Fmtp(fmtp);
        Ok(match self {
            Self::Opus => Box::new(AudioDepacketizer::opus(max_frame)),
            Self::Pcmu | Self::Pcma | Self::G722 => Box::new(AudioDepacketizer::samples(max_frame)),
            Self::TelephoneEvent => Box::new(AudioDepacketizer::telephone_event(max_frame)),
            Self::Vp8 => Box::new(Vp8Depacketizer::new(max_frame)),
            Self::Vp9 => Box::new(Vp9Depacketizer::new(max_frame)),
            Self::H264 => {
                fmtp.packetization_mode()?;
                let sets = fmtp.parameter_sets(&["sprop-parameter-sets"]);
                Box::new(NalDepacketizer::h264(max_frame).with_parameter_sets(&sets))
            }
            Self::H265 => {
                fmtp.check_transmission_order()?;
                let sets = fmtp.parameter_sets(&["sprop-vps", "sprop-sps", "sprop-pps"]);
                Box::new(NalDepacketizer::h265(max_frame).with_parameter_sets(&sets))
            }
            Self::Av1 => Box::new(Av1Depacketizer::new(max_frame)),
        })
    }
}

/// Makes a packetizer for a media type and the parameters of its `a=fmtp` line.
///
/// # Errors
/// [`UnsupportedCodec`]
pub fn packetizer_for(
    mime_type: &str,
    fmtp: &str,
    rng: &mut Rng,
) -> Result<Box<dyn Packetizer>, UnsupportedCodec> {
    let codec = Codec::from_mime_type(mime_type).ok_or(UnsupportedCodec)?;
    codec.packetizer(fmtp, rng)
}

/// Makes a depacketizer for a media type and the parameters of its `a=fmtp` line. Frames have at most
/// `max_frame` bytes; [`DEFAULT_MAX_FRAME`] is enough for what browsers send.
///
/// # Errors
/// [`UnsupportedCodec`]
pub fn depacketizer_for(
    mime_type: &str,
    fmtp: &str,
    max_frame: usize,
) -> Result<Box<dyn Depacketizer>, UnsupportedCodec> {
    let codec = Codec::from_mime_type(mime_type).ok_or(UnsupportedCodec)?;
    codec.depacketizer(fmtp, max_frame)
}

/// Bound of frames in bytes: a key frame of lossless 4K video is smaller.
pub const DEFAULT_MAX_FRAME: usize = 4 << 20;

/// The value of an `a=fmtp` line: parameters divided by semicolons.
struct Fmtp<'a>(&'a str);

impl<'a> Fmtp<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.split(';').find_map(|parameter| {
            let (found, value) = parameter.split_once('=')?;
            found.trim().eq_ignore_ascii_case(key).then(|| value.trim())
        })
    }

    /// 0 unless it is said (RFC 6184 section 8.1).
    fn packetization_mode(&self) -> Result<u8, UnsupportedCodec> {
        match self.get("packetization-mode") {
            None | Some("0") => Ok(0),
            Some("1") => Ok(1),
            Some(_) => Err(UnsupportedCodec),
        }
    }

    /// NAL units that are sent in another order than that of decoding carry a number for it (RFC 7798
    /// section 7.1).
    fn check_transmission_order(&self) -> Result<(), UnsupportedCodec> {
        match self.get("sprop-max-don-diff") {
            None | Some("0") => Ok(()),
            Some(_) => Err(UnsupportedCodec),
        }
    }

    fn parameter_sets(&self, keys: &[&str]) -> Vec<Bytes> {
        keys.iter()
            .filter_map(|key| self.get(key))
            .flat_map(|sets| sets.split(','))
            .filter_map(|set| base64(set.trim()))
            .filter(|set| !set.is_empty())
            .map(Bytes::from)
            .collect()
    }
}

/// Decodes base64 (RFC 4648 section 4).
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

const ALL: &[Codec] = &[
    Codec::Opus,
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::TelephoneEvent,
    Codec::Vp8,
    Codec::Vp9,
    Codec::H264,
    Codec::H265,
    Codec::Av1,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_found_by_their_media_type() {
        for &codec in ALL {
            let name = codec.mime_type();
            assert_eq!(Codec::from_mime_type(&name.to_uppercase()), Some(codec));
            assert!(packetizer_for(name, "", &mut Rng::from_seed([0; 32])).is_ok());
            assert!(depacketizer_for(name, "", 1000).is_ok());
            assert_eq!(codec.is_video(), name.starts_with("video/"));
        }
        assert_eq!(Codec::from_mime_type("video/opus"), None);
        assert!(depacketizer_for("video/rtx", "apt=96", 1000).is_err());
    }

    #[test]
    fn parameters_decide_on_the_packets_of_h264() {
        let large = Bytes::from([&[0, 0, 0, 1, 0x65][..], &[1; 200]].concat());
        let mut rng = Rng::from_seed([0; 32]);
        let mut count = |fmtp| {
            let mut payloads = Vec::new();
            let mut packetizer = Codec::H264.packetizer(fmtp, &mut rng).unwrap();
            let result = packetizer.packetize(&large, 100, &mut payloads);
            result.map(|()| payloads.len())
        };
        assert_eq!(
            count("profile-level-id=42e01f; Packetization-Mode = 1"),
            Ok(3)
        );
        assert_eq!(
            count("profile-level-id=42e01f"),
            Err(crate::PacketizeError::TooLarge)
        );
        assert!(
            Codec::H264
                .packetizer("packetization-mode=2", &mut rng)
                .is_err()
        );
        assert!(Codec::H265.depacketizer("sprop-max-don-diff=2", 1).is_err());
    }

    #[test]
    fn parameter_sets_of_the_description_come_before_the_first_key_frame() {
        let fmtp = "packetization-mode=1;sprop-parameter-sets=Z0LgH9oBQBbpUg==,aM4G4g==";
        let mut depacketizer = Codec::H264.depacketizer(fmtp, 1000).unwrap();
        let mut frame = |payload: &'static [u8]| {
            let payload = Bytes::from_static(payload);
            let frame = depacketizer.depacketize(&payload, true).unwrap().unwrap();
            let types = crate::nal_units(&frame.data).map(|nal| nal[0] & 0x1f);
            types.collect::<Vec<_>>()
        };
        assert_eq!(frame(&[0x41, 0x9a, 1]), [1]);
        assert_eq!(frame(&[0x65, 0x88, 1]), [7, 8, 5]);
        assert_eq!(frame(&[0x65, 0x88, 1]), [7, 8, 5]);
        // The stream brings its own from now on.
        assert_eq!(frame(&[0x18, 0, 2, 0x67, 1, 0, 2, 0x65, 0x88]), [7, 5]);
        assert_eq!(frame(&[0x65, 0x88, 1]), [5]);
    }

    #[test]
    fn base64_is_decoded() {
        assert_eq!(base64("Zm9vYmE=").unwrap(), b"fooba");
        assert_eq!(base64("Zm9vYg").unwrap(), b"foob");
        assert_eq!(base64("+/+/").unwrap(), [0xfb, 0xff, 0xbf]);
        assert_eq!(base64("a b"), None);
    }
}
