//! Values of header extensions, one type for each URI.
//!
//! [`Extensions::value`] and [`Extensions::set_value`] read and write them by
//! identifier; an [`ExtensionMap`] knows which identifier was negotiated for which [`ExtensionKind`]. A
//! value of a wrong length or form reads as `None`: the element is ignored, never the packet.

mod dependency;
mod layers;

use std::time::Duration;

use rtc_shared::{Reader, Writer};

pub use dependency::{
    DecodeTargetIndication, DependencyDescriptor, DependencyStructure, FrameDependencies,
    FrameTemplate, RenderResolution,
};
pub use layers::{LayerResolution, SpatialLayer, VideoLayersAllocation};

use crate::{ExtensionError, Extensions};

/// The value of one header extension.
pub trait Extension<'a>: Sized {
    /// Which extension it is.
    const KIND: ExtensionKind;

    /// Reads a value; `None` when it is malformed.
    fn parse(value: &'a [u8]) -> Option<Self>;

    /// Appends the value to `out`.
    ///
    /// # Errors
    /// [`ExtensionError::Unencodable`] when a part does not fit its field; `out` is undefined then.
    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError>;
}

macro_rules! kinds {
    ($($(#[$doc:meta])+ $Kind:ident = $uri:literal;)+) => {
        /// The header extensions that have a name here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum ExtensionKind {
            $($(#[$doc])+ $Kind,)+
        }

        impl ExtensionKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$Kind,)+];

            /// The URI by which SDP names it.
            #[must_use]
            pub fn uri(self) -> &'static str {
                match self {
                    $(Self::$Kind => $uri,)+
                }
            }
        }
    };
}

kinds! {
    /// [`AudioLevel`].
    AudioLevel = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
    /// [`CsrcAudioLevels`].
    CsrcAudioLevel = "urn:ietf:params:rtp-hdrext:csrc-audio-level";
    /// [`TransmissionOffset`].
    TransmissionOffset = "urn:ietf:params:rtp-hdrext:toffset";
    /// [`AbsSendTime`].
    AbsSendTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
    /// [`AbsCaptureTime`].
    AbsCaptureTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
    /// [`VideoOrientation`].
    VideoOrientation = "urn:3gpp:video-orientation";
    /// [`TransportSequenceNumber`].
    TransportSequenceNumber =
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    /// [`TransportSequenceNumberV2`].
    TransportSequenceNumberV2 =
        "http://www.webrtc.org/experiments/rtp-hdrext/transport-wide-cc-02";
    /// [`PlayoutDelay`].
    PlayoutDelay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
    /// [`VideoContentType`].
    VideoContentType = "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type";
    /// Times of the sender's pipeline; only its bytes.
    VideoTiming = "http://www.webrtc.org/experiments/rtp-hdrext/video-timing";
    /// Colour space of the video; only its bytes.
    ColorSpace = "http://www.webrtc.org/experiments/rtp-hdrext/color-space";
    /// [`VideoLayersAllocation`].
    VideoLayersAllocation = "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00";
    /// [`DependencyDescriptor`].
    DependencyDescriptor =
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
    /// [`Mid`].
    Mid = "urn:ietf:params:rtp-hdrext:sdes:mid";
    /// [`RtpStreamId`].
    RtpStreamId = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
    /// [`RepairedRtpStreamId`].
    RepairedRtpStreamId = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
}

impl ExtensionKind {
    /// The kind that a URI names.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.uri() == uri)
    }
}

/// The identifiers that `a=extmap` lines negotiated (RFC 8285 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionMap {
    /// By kind; 0 is none.
    ids: [u8; ExtensionKind::ALL.len()],
}

impl ExtensionMap {
    /// Gives a kind its identifier, 1 to 255; 0 takes it away.
    pub fn set(&mut self, kind: ExtensionKind, id: u8) {
        if let Some(slot) = self.ids.get_mut(kind as usize) {
            *slot = id;
        }
    }

    /// The identifier of a kind.
    #[must_use]
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        self.ids.get(kind as usize).copied().filter(|&id| id != 0)
    }

    /// The kind that has an identifier.
    #[must_use]
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        ExtensionKind::ALL
            .iter()
            .copied()
            .find(|&kind| self.id(kind) == Some(id))
    }

    /// Reads a value; `None` when it was not negotiated, is absent or malformed.
    #[must_use]
    pub fn read<'a, E: Extension<'a>>(&self, extensions: &'a Extensions) -> Option<E> {
        extensions.value(self.id(E::KIND)?)
    }

    /// Writes a value if it was negotiated, and says whether.
    ///
    /// # Errors
    /// As [`Extensions::set_value`].
    pub fn write<'a, E: Extension<'a>>(
        &self,
        extensions: &mut Extensions,
        value: &E,
    ) -> Result<bool, ExtensionError> {
        match self.id(E::KIND) {
            Some(id) => extensions.set_value(id, value).map(|()| true),
            None => Ok(false),
        }
    }
}

/// Level of the audio of a packet (RFC 6464).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel {
    /// The sender believes that it is speech.
    pub voice_activity: bool,
    /// Level in −dBov: 0 is the loudest, 127 silence.
    pub level: u8,
}

impl Extension<'_> for AudioLevel {
    const KIND: ExtensionKind = ExtensionKind::AudioLevel;

    fn parse(value: &[u8]) -> Option<Self> {
        let [byte] = *value else { return None };
        Some(Self {
            voice_activity: byte & 0x80 != 0,
            level: byte & 0x7f,
        })
    }

    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
        out.put_u8(u8::from(self.voice_activity) << 7 | fits(self.level, 0x7f)?);
        Ok(())
    }
}

/// Levels of the contributing sources of a mixer, one byte each in the order of the CSRCs (RFC
/// 6465): −dBov, 0 to 127.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsrcAudioLevels<'a>(
    /// The bytes; the top bit of each is reserved.
    pub &'a [u8],
);

impl<'a> CsrcAudioLevels<'a> {
    /// The level of each contributing source.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u8> + use<'a> {
        self.0.iter().map(|byte| byte & 0x7f)
    }
}

impl<'a> Extension<'a> for CsrcAudioLevels<'a> {
    const KIND: ExtensionKind = ExtensionKind::CsrcAudioLevel;

    fn parse(value: &'a [u8]) -> Option<Self> {
        (1..=15).contains(&value.len()).then_some(Self(value))
    }

    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
        if !(1..=15).contains(&self.0.len()) {
            return Err(ExtensionError::Unencodable);
        }
        self.0.iter().try_for_each(|&level| {
            out.put_u8(fits(level, 0x7f)?);
            Ok(())
        })
    }
}

/// How much later than its timestamp a packet was sent, in units of the timestamp: −2^23 to 2^23 − 1
/// (RFC 5450).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransmissionOffset(
    /// The offset.
    pub i32,
);

impl Extension<'_> for TransmissionOffset {
    const KIND: ExtensionKind = ExtensionKind::TransmissionOffset;

    fn parse(value: &[u8]) -> Option<Self> {
        let [a, b, c] = *value else { return None };
        // Shifted down arithmetically, so that the sign fills the top byte.
        Some(Self(i32::from_be_bytes([a, b, c, 0]) >> 8))
    }

    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
        if !(-(1 << 23)..1 << 23).contains(&self.0) {
            return Err(ExtensionError::Unencodable);
        }
        out.put_u24(self.0 as u32);
        Ok(())
    }
}

/// When a packet was sent, in 2^-18 seconds; wraps every 64 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsSendTime(
    /// 24 bits: 6 of whole seconds, 18 of the fraction.
    pub u32,
);

impl AbsSendTime {
    /// The middle bits of an NTP timestamp of 64 bits.
    #[must_use]
    pub fn from_ntp(ntp: u64) -> Self {
        Self((ntp >> 14) as u32 & 0x00ff_ffff)
    }

    /// A time from any origin, modulo 64 seconds.
    #[must_use]
    pub fn from_duration(time: Duration) -> Self {
        let fraction = (u64::from(time.subsec_nanos()) << 18) / 1_000_000_000;
        Self((time.as_secs() << 18 | fraction) as u32 & 0x00ff_ffff)
    }

    /// The time since the last wrap.
    #[must_use]
    pub fn as_duration(self) -> Duration {
        Duration::from_nanos((u64::from(self.0 & 0x00ff_ffff) * 1_000_000_000) >> 18)
    }
}

impl Extension<'_> for AbsSendTime {
    const KIND: ExtensionKind = ExtensionKind::AbsSendTime;

    fn parse(value: &[u8]) -> Option<Self> {
        let [a, b, c] = *value else { return None };
        Some(Self(u32::from_be_bytes([0, a, b, c])))
    }

    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
        out.put_u24(fits(self.0, 0x00ff_ffff)?);
        Ok(())
    }
}

/// When the content of a packet was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsCaptureTime {
    /// NTP timestamp of 32.32 bits, by the clock of the system that captured.
    pub timestamp: u64,
    /// What to add to that clock to get the sender's, in 2^-32 seconds.
    pub clock_offset: Option<i64>,
}

impl Extension<'_> for AbsCaptureTime {
    const KIND: ExtensionKind = ExtensionKind::AbsCaptureTime;

    fn parse(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let timestamp = reader.u64().ok()?;
        let clock_offset = match reader.is_empty() {
            true => None,
            false => Some(reader.u64().ok()?.cast_signed()),
        };
        reader.is_empty().then_some(Self {
            timestamp,
            clock_offset,
        })
    }

    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
        out.put_u64(self.timestamp);
        if let Some(offset) = self.clock_offset {
            out.put_u64(offset.cast_unsigned());
        }
        Ok(())
    }
}

/// How a receiver has to turn the video (3GPP TS 26.114 section 7.4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoOrientation {
    /// The camera faces away from the user.
    pub back_camera: bool,
    /// The video is to be mirrored left to right.
    pub flip: bool,
    /// Clockwise turn in degrees: 0, 90, 180 or 270.
    pub rotation: u16,
}

impl Extension<'_> for VideoOrientation {
    const KIND: ExtensionKind = ExtensionKind::VideoOrientation;

    fn parse(value: &[u8]) -> Option<Self> {
        let [byte] = *value else { return None };
        Some(Self {
            back_camera: byte & 0b1000 != 0,
            flip: byte & 0b0100 != 0,
            rotation: u16::from(byte & 0b0011) * 90,
        })
    }

    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
        let rotation = match self.rotation {
            0 => 0,
            90 => 1,
            180 => 2,
            270 => 3,
            _ => return Err(ExtensionError::Unencodable),
        };
        out.put_u8(u8::from(self.back_camera) << 3 | u8::from(self.flip) << 2 | rotation);
        Ok(())
    }
}

/// Counts the packets of all streams of a transport
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportSequenceNumber(
    /// The number; wraps.
    pub u16,
);

impl Extension<'_> for TransportSequenceNumber {
    const KIND: ExtensionKind = ExtensionKind::TransportSequenceNumber;

    fn parse(value: &[u8]) -> Option<Self> {
        value.try_into().ok().map(u16::from_be_bytes).map(Self)
    }

    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
        out.put_u16(self.0);
        Ok(())
    }
}

/// Counts the packets of all streams of a transport and may ask for feedback at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportSequenceNumberV2 {
    /// The number; wraps.
    pub sequence_number: u16,
    /// Asks for feedback.
    pub feedback_request: Option<FeedbackRequest>,
}

/// Asks for feedback on the last packets of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedbackRequest {
    /// Arrival times are wanted too.
    pub include_timestamps: bool,
    /// How many packets, this one included: 1 to 32 767.
    pub sequence_count: u16,
}

impl Extension<'_> for TransportSequenceNumberV2 {
    const KIND: ExtensionKind = ExtensionKind::TransportSequenceNumberV2;

    fn parse(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let sequence_number = reader.u16().ok()?;
        let request = match reader.is_empty() {
            true => 0,
            false => reader.u16().ok()?,
        };
        // A count of 0 asks for nothing.
        let feedback_request = (request & 0x7fff != 0).then_some(FeedbackRequest {
            include_timestamps: request & 0x8000 != 0,
            sequence_count: request & 0x7fff,
        });
        reader.is_empty().then_some(Self {
            sequence_number,
            feedback_request,
        })
    }

    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
        out.put_u16(self.sequence_number);
        if let Some(request) = self.feedback_request {
            if request.sequence_count == 0 {
                return Err(ExtensionError::Unencodable);
            }
            let count = fits(request.sequence_count, 0x7fff)?;
            out.put_u16(u16::from(request.include_timestamps) << 15 | count);
        }
        Ok(())
    }
}

/// Bounds of the time from capture to display that the sender wishes, in steps of 10 ms, at most
/// 40.95 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// The least delay.
    pub min: Duration,
    /// The greatest delay, not below the least.
    pub max: Duration,
}

impl Extension<'_> for PlayoutDelay {
    const KIND: ExtensionKind = ExtensionKind::PlayoutDelay;

    fn parse(value: &[u8]) -> Option<Self> {
        let [a, b, c] = *value else { return None };
        let both = u32::from_be_bytes([0, a, b, c]);
        let (min, max) = (both >> 12, both & 0x0fff);
        let delay = |steps: u32| Duration::from_millis(u64::from(steps) * 10);
        (min <= max).then(|| Self {
            min: delay(min),
            max: delay(max),
        })
    }

    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
        let steps = |delay: Duration| fits(delay.as_millis() / 10, 0x0fff);
        let (min, max) = (steps(self.min)?, steps(self.max)?);
        if min > max {
            return Err(ExtensionError::Unencodable);
        }
        out.put_u24((min << 12 | max) as u32);
        Ok(())
    }
}

/// What a video shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VideoContentType {
    /// A camera or unknown.
    #[default]
    Unspecified,
    /// A screen.
    Screenshare,
}

impl Extension<'_> for VideoContentType {
    const KIND: ExtensionKind = ExtensionKind::VideoContentType;

    fn parse(value: &[u8]) -> Option<Self> {
        let [byte] = *value else { return None };
        // The bits above once told experiments and simulcast streams apart.
        Some(if byte & 1 != 0 {
            Self::Screenshare
        } else {
            Self::Unspecified
        })
    }

    fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
        out.put_u8(u8::from(*self == Self::Screenshare));
        Ok(())
    }
}

macro_rules! texts {
    ($($(#[$doc:meta])+ $Name:ident;)+) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $Name<'a>(
            /// The text, 1 to 255 bytes.
            pub &'a str,
        );

        impl<'a> Extension<'a> for $Name<'a> {
            const KIND: ExtensionKind = ExtensionKind::$Name;

            fn parse(value: &'a [u8]) -> Option<Self> {
                parse_text(value).map(Self)
            }

            fn write(&self, out: &mut impl Writer) -> Result<(), ExtensionError> {
                match parse_text(self.0.as_bytes()) {
                    Some(text) if text.len() == self.0.len() && text.len() <= 255 => {
                        out.put(text.as_bytes());
                        Ok(())
                    }
                    _ => Err(ExtensionError::Unencodable),
                }
            }
        }
    )+};
}

texts! {
    /// Names the media section of a stream (RFC 9143 section 15).
    Mid;
    /// Names one of the encodings of a media section (RFC 8852 section 3.1).
    RtpStreamId;
    /// Names the encoding that a stream of retransmissions repairs (RFC 8852 section 3.2).
    RepairedRtpStreamId;
}

/// UTF-8 up to the first NUL, with which some senders fill up; not empty.
fn parse_text(value: &[u8]) -> Option<&str> {
    let text = value.split(|&byte| byte == 0).next()?;
    str::from_utf8(text).ok().filter(|text| !text.is_empty())
}

/// Returns `value` unless it is greater than `max`.
fn fits<T: PartialOrd>(value: T, max: T) -> Result<T, ExtensionError> {
    if value <= max {
        Ok(value)
    } else {
        Err(ExtensionError::Unencodable)
    }
}
