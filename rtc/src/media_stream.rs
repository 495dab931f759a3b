//! Media streams and tracks (W3C mediacapture-main).
//!
//! A track here is a description: where packets come from or go to. The packets themselves travel as
//! [`RTCMessage`](crate::peer_connection::message::RTCMessage)s that name it.

use std::fmt;
use std::sync::Arc;

use crate::peer_connection::state::states;
use crate::rtp_transceiver::{RTCRtpCodec, RTCRtpEncodingParameters, RtpCodecKind};

/// Identifier of a media stream: tracks that belong together share it.
pub type MediaStreamId = String;

/// Restriction identifier of a simulcast encoding (RFC 8851).
pub type RtpStreamId = String;

/// Identifier of a track within a connection. It is cheap to clone: each packet carries one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaStreamTrackId(Arc<str>);

impl MediaStreamTrackId {
    /// The text of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for MediaStreamTrackId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<&str> for MediaStreamTrackId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl AsRef<str> for MediaStreamTrackId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for MediaStreamTrackId {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for MediaStreamTrackId {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for MediaStreamTrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MediaStreamTrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

states! {
    /// Whether a track can still give media.
    MediaStreamTrackState {
        /// It can.
        #[default]
        Live = "live",
        /// It has ended for good.
        Ended = "ended",
    }
}

/// A source of media: a microphone, a camera, a file, the other side.
///
/// ```
/// use rtc::media_stream::MediaStreamTrack;
/// use rtc::rtp_transceiver::RtpCodecKind;
///
/// let camera = MediaStreamTrack::new("desk", "camera", "the camera", RtpCodecKind::Video, vec![]);
/// assert_eq!(camera.track_id(), &"camera");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MediaStreamTrack {
    stream_id: MediaStreamId,
    track_id: MediaStreamTrackId,
    label: String,
    kind: RtpCodecKind,
    codings: Vec<RTCRtpEncodingParameters>,
    enabled: bool,
    muted: bool,
    state: MediaStreamTrackState,
}

impl MediaStreamTrack {
    /// A track.
    ///
    /// * `stream_id` names the stream it belongs to, empty for none.
    /// * `codings` says in which forms its packets come: several with a `rid` each are simulcast. None
    ///   is as good as one in which all is left open: any negotiated codec, an SSRC of the
    ///   connection's choice.
    #[must_use]
    pub fn new(
        stream_id: impl Into<MediaStreamId>,
        track_id: impl Into<MediaStreamTrackId>,
        label: impl Into<String>,
        kind: RtpCodecKind,
        codings: Vec<RTCRtpEncodingParameters>,
    ) -> Self {
        Self {
            stream_id: stream_id.into(),
            track_id: track_id.into(),
            label: label.into(),
            kind,
            codings,
            enabled: true,
            muted: false,
            state: MediaStreamTrackState::Live,
        }
    }

    /// The stream it belongs to, empty for none.
    #[must_use]
    pub fn stream_id(&self) -> &MediaStreamId {
        &self.stream_id
    }

    /// Its identifier.
    #[must_use]
    pub fn track_id(&self) -> &MediaStreamTrackId {
        &self.track_id
    }

    /// A name for people.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Audio or video.
    #[must_use]
    pub fn kind(&self) -> RtpCodecKind {
        self.kind
    }

    /// The forms in which its packets come, one for each simulcast layer.
    #[must_use]
    pub fn codings(&self) -> &[RTCRtpEncodingParameters] {
        &self.codings
    }

    /// Adds a form.
    pub fn add_coding(&mut self, coding: RTCRtpEncodingParameters) {
        self.codings.push(coding);
    }

    /// The SSRCs that are known, in the order of the codings.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'_> {
        self.codings
            .iter()
            .filter_map(|coding| coding.rtp_coding_parameters.ssrc)
    }

    /// The simulcast layer of an SSRC.
    #[must_use]
    pub fn rid(&self, ssrc: u32) -> Option<&RtpStreamId> {
        let coding = self.coding(ssrc)?;
        Some(&coding.rtp_coding_parameters.rid).filter(|rid| !rid.is_empty())
    }

    /// The codec of an SSRC, where it is fixed.
    #[must_use]
    pub fn codec(&self, ssrc: u32) -> Option<&RTCRtpCodec> {
        let coding = self.coding(ssrc)?;
        Some(&coding.codec).filter(|codec| !codec.mime_type.is_empty())
    }

    /// Whether its media shall be heard and seen; a sender may send silence and black otherwise.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// Switches it.
    pub fn set_enabled(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// Whether it gives no media for the moment. A remote track is muted until its first packet comes,
    /// and when the peer does not send it any more.
    #[must_use]
    pub fn muted(&self) -> bool {
        self.muted
    }

    /// Says that its source gives no media for the moment.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// Whether it can still give media.
    #[must_use]
    pub fn ready_state(&self) -> MediaStreamTrackState {
        self.state
    }

    /// Ends it for good.
    pub fn stop(&mut self) {
        self.state = MediaStreamTrackState::Ended;
    }

    fn coding(&self, ssrc: u32) -> Option<&RTCRtpEncodingParameters> {
        self.codings
            .iter()
            .find(|coding| coding.rtp_coding_parameters.ssrc == Some(ssrc))
    }

    pub(crate) fn set_codings(&mut self, codings: Vec<RTCRtpEncodingParameters>) {
        self.codings = codings;
    }

    pub(crate) fn set_stream_id(&mut self, stream_id: MediaStreamId) {
        self.stream_id = stream_id;
    }
}
