use std::fmt;

use rtc::media_stream::MediaStreamTrackId;
use rtc::peer_connection::RTCPeerConnection;
use rtc::rtp_transceiver::{
    RTCRtpCodecParameters, RTCRtpTransceiver, RTCRtpTransceiverDirection, RTCRtpTransceiverId,
    RtpCodecKind,
};

use crate::shared::Handle;
use crate::{Error, LocalTrack, RemoteTrack};

/// A transceiver: a way out and a way in for media of one kind.
///
/// A handle: clones are of the same transceiver. It is also a handle of its connection, which stays
/// open as long as there is one.
#[derive(Clone)]
pub struct RtpTransceiver {
    pub(super) handle: Handle,
    pub(super) id: RTCRtpTransceiverId,
    pub(super) kind: RtpCodecKind,
    /// The receiver's, which stays the same.
    pub(super) remote_track_id: MediaStreamTrackId,
}

impl RtpTransceiver {
    /// `None` when there is no such transceiver any more.
    pub(super) fn find(handle: &Handle, id: RTCRtpTransceiverId) -> Option<Self> {
        let track = handle.with(|state| {
            let view = state.core.rtp_receiver(id.receiver_id())?;
            view.track()
                .map(|track| (track.kind(), track.track_id().clone()))
        });
        track.map(|(kind, remote_track_id)| Self {
            handle: handle.clone(),
            id,
            kind,
            remote_track_id,
        })
    }

    /// What events and [`PeerConnection::transceiver`](crate::PeerConnection::transceiver) call it.
    #[must_use]
    pub fn id(&self) -> RTCRtpTransceiverId {
        self.id
    }

    /// The identification tag of its m-section, once it has one.
    #[must_use]
    pub fn mid(&self) -> Option<String> {
        self.view(|it| it.mid().map(str::to_owned)).flatten()
    }

    /// Audio or video.
    #[must_use]
    pub fn kind(&self) -> RtpCodecKind {
        self.kind
    }

    /// What it is wanted to do with the next offer or answer.
    #[must_use]
    pub fn direction(&self) -> RTCRtpTransceiverDirection {
        self.view(|it| it.direction())
            .unwrap_or(RTCRtpTransceiverDirection::Stopped)
    }

    /// Changes what it is wanted to do. It takes effect with the next exchange.
    ///
    /// # Errors
    /// [`Error::Core`] when it is stopped, or for `Stopped`: that is what [`stop`](Self::stop) is for;
    /// [`Error::Closed`], [`Error::DriverLost`].
    pub fn set_direction(&self, direction: RTCRtpTransceiverDirection) -> Result<(), Error> {
        self.change(|it| it.set_direction(direction))
    }

    /// What was negotiated last; `None` before and after a life in use.
    #[must_use]
    pub fn current_direction(&self) -> Option<RTCRtpTransceiverDirection> {
        self.view(|it| it.current_direction()).flatten()
    }

    /// Chooses and orders the codecs that offers and answers have for it; with none, all that are
    /// registered. Retransmission is used when `rtx` is among them.
    ///
    /// # Errors
    /// [`Error::Core`] when it is stopped, a codec is not registered, or none of them carries media;
    /// [`Error::Closed`], [`Error::DriverLost`].
    pub fn set_codec_preferences(&self, codecs: Vec<RTCRtpCodecParameters>) -> Result<(), Error> {
        self.change(|it| it.set_codec_preferences(codecs))
    }

    /// Stops it for good: nothing is sent or received any more, and the next offer tells the peer.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::DriverLost`].
    pub fn stop(&self) -> Result<(), Error> {
        self.change(|it| it.stop())
    }

    /// Whether it has stopped, and both sides have agreed on it.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.view(|it| it.stopped()).unwrap_or(true)
    }

    /// The way out.
    #[must_use]
    pub fn sender(&self) -> LocalTrack {
        LocalTrack::new(self.clone())
    }

    /// The way in.
    #[must_use]
    pub fn receiver(&self) -> RemoteTrack {
        RemoteTrack::new(self.clone())
    }

    fn view<R>(&self, f: impl FnOnce(&mut RTCRtpTransceiver<'_>) -> R) -> Option<R> {
        self.handle
            .with(|state| Some(f(&mut state.core.rtp_transceiver(self.id)?)))
    }

    fn change<R: Default>(
        &self,
        f: impl FnOnce(&mut RTCRtpTransceiver<'_>) -> Result<R, rtc::Error>,
    ) -> Result<R, Error> {
        self.change_core(|core| match core.rtp_transceiver(self.id) {
            Some(mut view) => f(&mut view),
            None => Err(GONE),
        })
    }

    /// Does something to the connection that the driver has to act on.
    pub(super) fn change_core<R>(
        &self,
        f: impl FnOnce(&mut RTCPeerConnection) -> Result<R, rtc::Error>,
    ) -> Result<R, Error> {
        self.handle.with(|state| {
            state.check()?;
            state.nudge = true;
            Ok(f(&mut state.core)?)
        })
    }
}

impl fmt::Debug for RtpTransceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtpTransceiver")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

pub(super) const GONE: rtc::Error = rtc::Error::InvalidState("the transceiver is stopped");
