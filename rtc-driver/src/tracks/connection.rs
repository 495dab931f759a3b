use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::{RTCRtpTransceiverId, RTCRtpTransceiverInit, RtpCodecKind};

use crate::peer_connection::item_or_end;
use crate::shared::{Handle, Shared};
use crate::waiters::{Key, Place, forget, poll_step};
use crate::{Error, LocalTrack, PeerConnection, RemoteTrack, RtpTransceiver};

/// Audio and video.
impl PeerConnection {
    /// Sends a track: with a transceiver that has not sent before and whose sender has none, or with a
    /// new one. The peer learns of it with the next exchange.
    ///
    /// # Errors
    /// [`Error::Core`] when the track is being sent already, an SSRC is in use, or its kind has no codec;
    /// [`Error::Closed`], [`Error::DriverLost`].
    pub fn add_track(&self, track: MediaStreamTrack) -> Result<LocalTrack, Error> {
        let id = self.change(|core| core.add_track(track))?;
        Ok(self.found(id.transceiver_id())?.sender())
    }

    /// Sends a track no more. The transceiver stays and can receive; the peer learns of it with the next
    /// exchange.
    ///
    /// # Errors
    /// [`Error::Core`] when it is a track of another connection; [`Error::Closed`],
    /// [`Error::DriverLost`].
    pub fn remove_track(&self, track: &LocalTrack) -> Result<(), Error> {
        self.change(|core| core.remove_track(track.sender_id()))
    }

    /// Makes a transceiver without a track, to receive with or to send later.
    ///
    /// # Errors
    /// [`Error::Core`] for what `init` cannot be, see
    /// [`add_transceiver_from_track`](rtc::peer_connection::RTCPeerConnection::add_transceiver_from_track);
    /// [`Error::Closed`], [`Error::DriverLost`].
    pub fn add_transceiver_from_kind(
        &self,
        kind: RtpCodecKind,
        init: impl Into<Option<RTCRtpTransceiverInit>>,
    ) -> Result<RtpTransceiver, Error> {
        let init = init.into();
        let id = self.change(|core| core.add_transceiver_from_kind(kind, init))?;
        self.found(id)
    }

    /// Makes a transceiver that sends a track: several encodings in `init`, each with a `rid`, are
    /// simulcast.
    ///
    /// # Errors
    /// As [`add_transceiver_from_kind`](Self::add_transceiver_from_kind).
    pub fn add_transceiver_from_track(
        &self,
        track: MediaStreamTrack,
        init: impl Into<Option<RTCRtpTransceiverInit>>,
    ) -> Result<RtpTransceiver, Error> {
        let init = init.into();
        let id = self.change(|core| core.add_transceiver_from_track(track, init))?;
        self.found(id)
    }

    /// The transceivers in the order of their making; those that have stopped are not among them.
    #[must_use]
    pub fn transceivers(&self) -> Vec<RtpTransceiver> {
        let ids: Vec<_> = self.look(|core| core.get_transceivers().collect());
        ids.into_iter()
            .filter_map(|id| self.transceiver(id))
            .collect()
    }

    /// A handle of a transceiver by its id, as events give it.
    #[must_use]
    pub fn transceiver(&self, id: RTCRtpTransceiverId) -> Option<RtpTransceiver> {
        RtpTransceiver::find(self.handle(), id)
    }

    /// The tracks that the peer sends, from the first one on that nobody has taken yet. Each is given
    /// once, also when it is paused and goes on; what comes of it before it is taken waits.
    pub fn tracks(&self) -> Tracks {
        let shared = Arc::clone(self.handle().shared());
        shared.with(|state| state.events.track_readers += 1);
        Tracks {
            shared,
            key: Key::default(),
        }
    }

    fn found(&self, id: RTCRtpTransceiverId) -> Result<RtpTransceiver, Error> {
        // It was made just now.
        self.transceiver(id).ok_or(Error::Closed)
    }
}

/// Gives [`PeerConnection::tracks`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Tracks {
    shared: Arc<Shared>,
    key: Key,
}

impl Tracks {
    /// The next track; `None` at the end. Dropped before it is ready, no track is lost.
    pub async fn next(&mut self) -> Option<RemoteTrack> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Tracks {
    type Item = RemoteTrack;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { shared, key } = self.get_mut();
        let next = poll_step(shared, Place::Connection, key, cx, |state| {
            let init = state.events.next_track();
            item_or_end(state, init)
        });
        // The handle takes the lock itself.
        next.map(|init| {
            init.map(|init| {
                RemoteTrack::new(RtpTransceiver {
                    handle: Handle::new(shared),
                    id: init.transceiver_id,
                    kind: init.kind,
                    remote_track_id: init.track_id,
                })
            })
        })
    }
}

impl Drop for Tracks {
    fn drop(&mut self) {
        self.shared.with(|state| {
            state.events.track_readers -= 1;
            forget(state, Place::Connection, &mut self.key);
        });
    }
}
