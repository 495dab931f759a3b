//! When two descriptions of a codec mean the same format, and what one of them answers to the other.

pub(crate) mod h264;

use rtc_sdp::Fmtp;

use super::parameters::{PayloadType, RTCRtpCodec, RTCRtpCodecParameters};

/// What a codec is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Carries media.
    Media,
    /// Retransmits another codec's packets (RFC 4588).
    Retransmission,
    /// Carries other codecs' packets again (RFC 2198).
    Redundancy,
    /// Repairs.
    ErrorCorrection,
    /// Silence or tones beside the media.
    Companion,
}

impl RTCRtpCodec {
    pub(crate) fn purpose(&self) -> Purpose {
        let name = self.name().to_ascii_lowercase();
        match name.as_str() {
            "rtx" => Purpose::Retransmission,
            "red" => Purpose::Redundancy,
            "ulpfec" | "flexfec" | "flexfec-03" => Purpose::ErrorCorrection,
            "cn" | "telephone-event" => Purpose::Companion,
            _ => Purpose::Media,
        }
    }

    pub(crate) fn is_retransmission(&self) -> bool {
        self.purpose() == Purpose::Retransmission
    }

    /// Whether both are the same format: a packet of one can be read as one of the other.
    ///
    /// Parameters that only say what the receiver would like do not count. Neither do the payload
    /// types that `rtx` and `red` refer to: see [`references`].
    pub(crate) fn matches(&self, other: &Self) -> bool {
        if !self.has_name_of(other) {
            return false;
        }
        let (ours, theirs) = (self.fmtp(), other.fmtp());
        let same = |key: &str, default: &str| {
            let value = |fmtp: &Fmtp| fmtp.get(key).unwrap_or(default).to_ascii_lowercase();
            value(&ours) == value(&theirs)
        };
        match self.name().to_ascii_lowercase().as_str() {
            // RFC 6184 section 8.2.2: both modes are formats of their own.
            "h264" => same("packetization-mode", "0") && h264::same_profile(&ours, &theirs),
            // RFC 7798 section 7.2.2; the level may differ by direction.
            "h265" => {
                same("profile-space", "0")
                    && same("profile-id", "1")
                    && same("tier-flag", "0")
                    && same("tx-mode", "SRST")
            }
            // RFC 9628 section 6.2.
            "vp9" => same("profile-id", "0"),
            // AV1 RTP specification section 7.2; the level says what a receiver can take.
            "av1" => same("profile", "0") && same("tier", "0"),
            _ => true,
        }
    }

    /// Whether name, clock rate and channels are the same.
    pub(crate) fn has_name_of(&self, other: &Self) -> bool {
        self.mime_type.eq_ignore_ascii_case(&other.mime_type)
            && self.clock_rate == other.clock_rate
            && self.channels.max(1) == other.channels.max(1)
    }

    /// Whether both can stand for one payload type in a bundle: the same format and, where the
    /// parameters refer to other payload types, the same ones.
    pub(crate) fn is_interchangeable_with(&self, other: &Self) -> bool {
        self.matches(other) && references(self) == references(other)
    }

    /// The parameters with which we answer an offer of `theirs`: what we can receive, in the form of
    /// the profile they chose.
    pub(crate) fn answer_to(&self, theirs: &Self) -> String {
        let mut answer = self.fmtp();
        if self.is("H264") {
            h264::answer(&mut answer, &theirs.fmtp());
        }
        answer.parameters_text()
    }
}

/// The payload types that the parameters of a codec refer to: `apt` of `rtx`, the list of `red`.
pub(crate) fn references(codec: &RTCRtpCodec) -> Vec<PayloadType> {
    let number = |text: &str| text.trim().parse().ok();
    match codec.purpose() {
        Purpose::Retransmission => codec
            .fmtp()
            .get("apt")
            .and_then(number)
            .into_iter()
            .collect(),
        Purpose::Redundancy => codec.sdp_fmtp_line.split('/').filter_map(number).collect(),
        _ => Vec::new(),
    }
}

/// The codec in a list that retransmits a payload type.
pub(crate) fn retransmission_of(
    codecs: &[RTCRtpCodecParameters],
    payload_type: PayloadType,
) -> Option<&RTCRtpCodecParameters> {
    codecs.iter().find(|codec| {
        codec.rtp_codec.is_retransmission()
            && references(&codec.rtp_codec).first() == Some(&payload_type)
    })
}

/// The parameters of a codec with other payload types in the place of those it refers to; `None` when
/// one of them has none.
pub(crate) fn with_references(
    codec: &RTCRtpCodec,
    renumber: impl Fn(PayloadType) -> Option<PayloadType>,
) -> Option<String> {
    let numbers = references(codec)
        .into_iter()
        .map(renumber)
        .collect::<Option<Vec<_>>>()?;
    match codec.purpose() {
        Purpose::Retransmission => {
            let mut fmtp = codec.fmtp();
            fmtp.set("apt", numbers.first()?);
            Some(fmtp.parameters_text())
        }
        Purpose::Redundancy if !numbers.is_empty() => {
            let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
            Some(numbers.join("/"))
        }
        _ => Some(codec.sdp_fmtp_line.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(mime: &str, clock_rate: u32, channels: u16, fmtp: &str) -> RTCRtpCodec {
        RTCRtpCodec {
            mime_type: mime.to_owned(),
            clock_rate,
            channels,
            sdp_fmtp_line: fmtp.to_owned(),
            rtcp_feedback: Vec::new(),
        }
    }

    fn video(name: &str, fmtp: &str) -> RTCRtpCodec {
        codec(&format!("video/{name}"), 90000, 0, fmtp)
    }

    #[test]
    fn name_clock_and_channels_make_a_codec() {
        let opus = codec("audio/opus", 48000, 2, "minptime=10;useinbandfec=1");
        assert!(opus.matches(&codec("audio/OPUS", 48000, 2, "stereo=1")));
        assert!(!opus.matches(&codec("audio/opus", 48000, 0, "")));
        assert!(!opus.matches(&codec("audio/opus", 16000, 2, "")));
        assert!(codec("audio/G722", 8000, 0, "").matches(&codec("audio/G722", 8000, 1, "")));
        let event = |clock| codec("audio/telephone-event", clock, 0, "0-15");
        assert!(!event(8000).matches(&event(48000)));
    }

    #[test]
    fn profiles_are_formats_of_their_own() {
        for (name, ours, theirs, expected) in [
            ("VP9", "profile-id=0", "", true),
            ("VP9", "profile-id=2", "", false),
            ("VP8", "max-fs=12288", "", true),
            ("AV1", "level-idx=5;profile=0;tier=0", "", true),
            ("AV1", "level-idx=5;profile=0;tier=0", "level-idx=8", true),
            ("AV1", "profile=1", "", false),
            ("AV1", "", "tier=1", false),
            (
                "H265",
                "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
                "level-id=120",
                true,
            ),
            ("H265", "profile-id=2", "", false),
            ("H265", "", "tx-mode=MRST", false),
            (
                "H264",
                "packetization-mode=1",
                "packetization-mode=0",
                false,
            ),
            ("H264", "packetization-mode=0", "", true),
        ] {
            let (ours, theirs) = (video(name, ours), video(name, theirs));
            assert_eq!(ours.matches(&theirs), expected, "{ours:?} {theirs:?}");
            assert_eq!(theirs.matches(&ours), expected, "{theirs:?} {ours:?}");
        }
    }

    #[test]
    fn references_are_renumbered() {
        let rtx = video("rtx", "apt=96;rtx-time=3000");
        assert_eq!(references(&rtx), [96]);
        let moved = with_references(&rtx, |pt| (pt == 96).then_some(120));
        assert_eq!(moved.as_deref(), Some("apt=120;rtx-time=3000"));
        assert_eq!(with_references(&rtx, |_| None), None);
        assert_eq!(with_references(&video("rtx", ""), Some), None);
        let red = codec("audio/red", 48000, 2, "111/111");
        assert_eq!(
            with_references(&red, |_| Some(63)).as_deref(),
            Some("63/63")
        );
        let red = video("red", "");
        assert_eq!(with_references(&red, |_| None).as_deref(), Some(""));
        assert!(!rtx.is_interchangeable_with(&video("rtx", "apt=97")));
    }
}
