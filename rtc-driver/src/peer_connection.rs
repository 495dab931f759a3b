use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use rtc::data_channel::{RTCDataChannelId, RTCDataChannelInit};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::{RTCAnswerOptions, RTCOfferOptions};
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::{
    RTCIceConnectionState, RTCIceGatheringState, RTCPeerConnectionState, RTCSignalingState,
};
use rtc::peer_connection::transport::{RTCIceCandidate, RTCIceCandidateInit};
use rtc::statistics::{RTCStatsReport, StatsSelector};

use crate::shared::{Handle, Phase, Shared, State};
use crate::waiters::{Key, Place, Step, Wait, When, forget, poll_step};
use crate::{DataChannel, Error};

/// A WebRTC connection to one peer.
///
/// A handle: clones are of the same connection, and all of its methods can be called from any thread.
/// Those that are not async only take a lock for a moment.
///
/// # Closing
///
/// [`close`](Self::close) sends what is left and tells the peer. Dropping the last handle does the
/// same in the background; a [`DataChannel`] is a handle of its connection, the event streams are not:
/// they end.
#[derive(Clone)]
pub struct PeerConnection {
    handle: Handle,
}

/// Offers, answers, candidates: the signalling.
impl PeerConnection {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Makes an offer (webrtc-pc section 4.4.2).
    ///
    /// # Errors
    /// [`Error::Core`] when the state does not allow it, [`Error::Closed`], [`Error::DriverLost`];
    /// likewise below.
    pub fn create_offer(
        &self,
        options: Option<RTCOfferOptions>,
    ) -> Result<RTCSessionDescription, Error> {
        self.change(|core| core.create_offer(options))
    }

    /// Makes an answer to the peer's offer.
    ///
    /// # Errors
    /// As [`create_offer`](Self::create_offer).
    pub fn create_answer(
        &self,
        options: Option<RTCAnswerOptions>,
    ) -> Result<RTCSessionDescription, Error> {
        self.change(|core| core.create_answer(options))
    }

    /// Applies a description of ours and begins to gather candidates. `None` makes the offer or
    /// answer that is due.
    ///
    /// # Errors
    /// As [`create_offer`](Self::create_offer).
    pub fn set_local_description(
        &self,
        description: impl Into<Option<RTCSessionDescription>>,
    ) -> Result<(), Error> {
        let description = description.into();
        self.change(|core| match description {
            Some(description) => core.set_local_description(description),
            None => core.set_local_description_implicit(),
        })
    }

    /// Applies a description of the peer.
    ///
    /// # Errors
    /// As [`create_offer`](Self::create_offer).
    pub fn set_remote_description(&self, description: RTCSessionDescription) -> Result<(), Error> {
        self.change(|core| core.set_remote_description(description))
    }

    /// Adds a candidate of the peer. `None` says that no more will come.
    ///
    /// # Errors
    /// As [`create_offer`](Self::create_offer).
    pub fn add_ice_candidate(
        &self,
        candidate: impl Into<Option<RTCIceCandidateInit>>,
    ) -> Result<(), Error> {
        let candidate = candidate.into().unwrap_or_default();
        self.change(|core| core.add_remote_candidate(candidate))
    }

    /// Our description with the candidates found so far: the pending one, else the current.
    #[must_use]
    pub fn local_description(&self) -> Option<RTCSessionDescription> {
        self.look(|core| core.local_description())
    }

    /// Our description of the last exchange that was completed.
    #[must_use]
    pub fn current_local_description(&self) -> Option<RTCSessionDescription> {
        self.look(|core| core.current_local_description())
    }

    /// Our description of the exchange under way.
    #[must_use]
    pub fn pending_local_description(&self) -> Option<RTCSessionDescription> {
        self.look(|core| core.pending_local_description())
    }

    /// The peer's description: the pending one, else the current.
    #[must_use]
    pub fn remote_description(&self) -> Option<RTCSessionDescription> {
        self.look(|core| core.remote_description())
    }

    /// The peer's description of the last exchange that was completed.
    #[must_use]
    pub fn current_remote_description(&self) -> Option<RTCSessionDescription> {
        self.look(|core| core.current_remote_description())
    }

    /// The peer's description of the exchange under way.
    #[must_use]
    pub fn pending_remote_description(&self) -> Option<RTCSessionDescription> {
        self.look(|core| core.pending_remote_description())
    }

    /// Whether the peer takes candidates one by one; `None` before its description is known.
    #[must_use]
    pub fn can_trickle_ice_candidates(&self) -> Option<bool> {
        self.look(|core| core.can_trickle_ice_candidates())
    }

    /// Has the next offer restart ICE.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::DriverLost`].
    pub fn restart_ice(&self) -> Result<(), Error> {
        self.change(|core| {
            core.restart_ice();
            Ok(())
        })
    }

    /// State of ICE and DTLS taken together.
    #[must_use]
    pub fn connection_state(&self) -> RTCPeerConnectionState {
        self.look(|core| core.connection_state())
    }

    /// State of ICE.
    #[must_use]
    pub fn ice_connection_state(&self) -> RTCIceConnectionState {
        self.look(|core| core.ice_connection_state())
    }

    /// State of candidate gathering.
    #[must_use]
    pub fn ice_gathering_state(&self) -> RTCIceGatheringState {
        self.look(|core| core.ice_gathering_state())
    }

    /// State of the offer/answer exchange.
    #[must_use]
    pub fn signaling_state(&self) -> RTCSignalingState {
        self.look(|core| core.signaling_state())
    }

    /// Statistics (webrtc-stats).
    #[must_use]
    pub fn stats(&self) -> RTCStatsReport {
        self.look(|core| core.get_stats(StatsSelector::None))
    }

    /// Calls `f` with the state machine itself, for what this type has no method for, and lets the
    /// driver act on what was done. From within, no other method may be called and no handle of the
    /// connection dropped: they wait for the same lock.
    ///
    /// A panic of `f` is passed on and leaves the connection lost.
    pub fn with_core<R>(&self, f: impl FnOnce(&mut RTCPeerConnection) -> R) -> R {
        self.handle.with_foreign(|state| {
            state.nudge = true;
            f(&mut state.core)
        })
    }

    /// Bytes that may wait to be sent in each channel before [`DataChannel::send`] waits.
    pub fn set_channel_send_limit(&self, bytes: usize) {
        self.handle.with(|state| state.send_limit = bytes.max(1));
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn look<R>(&self, f: impl FnOnce(&mut RTCPeerConnection) -> R) -> R {
        self.handle.with(|state| f(&mut state.core))
    }

    pub(crate) fn change<R>(
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

/// Data channels.
impl PeerConnection {
    /// Makes a channel. It opens once the connection is up: [`DataChannel::send`] waits for that.
    ///
    /// # Errors
    /// As [`create_offer`](Self::create_offer).
    pub fn create_data_channel(
        &self,
        label: &str,
        init: impl Into<Option<RTCDataChannelInit>>,
    ) -> Result<DataChannel, Error> {
        let init = init.into();
        let id = self.change(|core| Ok(core.create_data_channel(label, init)?.id()))?;
        Ok(DataChannel::new(self.handle.clone(), id))
    }

    /// A handle of a channel by its id, as events give it.
    #[must_use]
    pub fn data_channel(&self, id: RTCDataChannelId) -> Option<DataChannel> {
        self.look(|core| core.data_channel(id).is_some())
            .then(|| DataChannel::new(self.handle.clone(), id))
    }

    /// The channels that the peer opens, from the first one on that nobody has taken yet.
    pub fn data_channels(&self) -> DataChannels {
        let shared = Arc::clone(self.handle.shared());
        shared.with(|state| state.events.channel_readers += 1);
        DataChannels {
            shared,
            key: Key::default(),
        }
    }
}

/// Waiting.
impl PeerConnection {
    /// Waits until data and media flow. May be dropped and called again at any time; likewise below.
    ///
    /// # Errors
    /// [`Error::Failed`] when no path was found or DTLS failed, [`Error::Closed`],
    /// [`Error::DriverLost`].
    pub async fn connected(&self) -> Result<(), Error> {
        self.wait(|state| match state.core.connection_state() {
            RTCPeerConnectionState::Connected => Step::Done(Ok(())),
            RTCPeerConnectionState::Failed => Step::Done(Err(Error::Failed)),
            RTCPeerConnectionState::Closed => Step::Done(Err(Error::Closed)),
            _ => match state.check() {
                Ok(()) => Step::Wait(When::Any),
                Err(error) => Step::Done(Err(error)),
            },
        })
        .await
    }

    /// Waits until every candidate is known, and gives our description with all of them: for
    /// signalling that sends one message each way.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::DriverLost`].
    pub async fn gathering_complete(&self) -> Result<RTCSessionDescription, Error> {
        self.wait(|state| {
            if state.core.ice_gathering_state() == RTCIceGatheringState::Complete
                && let Some(description) = state.core.local_description()
            {
                return Step::Done(Ok(description));
            }
            match state.check() {
                Ok(()) => Step::Wait(When::Any),
                Err(error) => Step::Done(Err(error)),
            }
        })
        .await
    }

    /// Sends what was given to channels, at the longest for five seconds, closes the connection,
    /// tells the peer, and waits until that has left. What the peer has not acknowledged by then is
    /// not sent again.
    ///
    /// The connection is closed even if the future is dropped.
    ///
    /// # Errors
    /// [`Error::DriverLost`]: the peer was not told.
    pub async fn close(&self) -> Result<(), Error> {
        self.handle.with(State::begin_close);
        self.wait(|state| match &state.phase {
            Phase::Ended(result) => Step::Done(result.clone()),
            Phase::Open | Phase::Flushing | Phase::Closing => Step::Wait(When::Any),
        })
        .await
    }

    /// What happens to the connection, in order; what waits unread is given first. A state that
    /// changed several times meanwhile is given once, with its latest value. While there is a stream
    /// of [`data_channels`](Self::data_channels), [`tracks`](Self::tracks),
    /// [`ice_candidates`](Self::ice_candidates) or [`feedback`](crate::LocalTrack::feedback), what it
    /// gives is not given here.
    pub fn events(&self) -> Events {
        Events {
            shared: Arc::clone(self.handle.shared()),
            key: Key::default(),
        }
    }

    /// Our candidates, to be sent to the peer one by one; ends when all are known. After an ICE
    /// restart a new stream gives the new ones.
    pub fn ice_candidates(&self) -> Candidates {
        let shared = Arc::clone(self.handle.shared());
        shared.with(|state| state.events.candidate_readers += 1);
        Candidates {
            shared,
            key: Key::default(),
        }
    }

    fn wait<T, F>(&self, look: F) -> Wait<'_, Handle, F>
    where
        F: FnMut(&mut State) -> Step<T> + Unpin,
    {
        Wait::new(&self.handle, Place::Connection, look)
    }
}

impl fmt::Debug for PeerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerConnection").finish_non_exhaustive()
    }
}

/// Gives [`PeerConnection::events`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Events {
    shared: Arc<Shared>,
    key: Key,
}

/// Gives [`PeerConnection::data_channels`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct DataChannels {
    shared: Arc<Shared>,
    key: Key,
}

/// Gives [`PeerConnection::ice_candidates`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Candidates {
    shared: Arc<Shared>,
    key: Key,
}

impl Events {
    /// The next event; `None` at the end. Dropped before it is ready, no event is lost.
    pub async fn next(&mut self) -> Option<RTCPeerConnectionEvent> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = RTCPeerConnectionEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { shared, key } = self.get_mut();
        poll_step(shared, Place::Connection, key, cx, |state| {
            let event = state.events.next_event();
            item_or_end(state, event)
        })
    }
}

impl DataChannels {
    /// The next channel; `None` at the end. Dropped before it is ready, no channel is lost.
    pub async fn next(&mut self) -> Option<DataChannel> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for DataChannels {
    type Item = DataChannel;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { shared, key } = self.get_mut();
        let next = poll_step(shared, Place::Connection, key, cx, |state| {
            let id = state.events.next_channel();
            item_or_end(state, id)
        });
        // The handle takes the lock itself.
        next.map(|id| id.map(|id| DataChannel::new(Handle::new(shared), id)))
    }
}

impl Candidates {
    /// The next candidate; `None` at the end. Dropped before it is ready, no candidate is lost.
    pub async fn next(&mut self) -> Option<RTCIceCandidate> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Candidates {
    type Item = RTCIceCandidate;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { shared, key } = self.get_mut();
        poll_step(shared, Place::Connection, key, cx, |state| {
            match state.events.next_candidate() {
                None if state.events.is_gathered() => Step::Done(None),
                candidate => item_or_end(state, candidate),
            }
        })
    }
}

pub(crate) fn item_or_end<T>(state: &State, item: Option<T>) -> Step<Option<T>> {
    match item {
        Some(item) => Step::Done(Some(item)),
        None if state.has_ended() => Step::Done(None),
        None => Step::Wait(When::Any),
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if self.key.is_set() {
            self.shared
                .with(|state| forget(state, Place::Connection, &mut self.key));
        }
    }
}

impl Drop for DataChannels {
    fn drop(&mut self) {
        self.shared.with(|state| {
            state.events.channel_readers -= 1;
            forget(state, Place::Connection, &mut self.key);
        });
    }
}

impl Drop for Candidates {
    fn drop(&mut self) {
        self.shared.with(|state| {
            state.events.candidate_readers -= 1;
            forget(state, Place::Connection, &mut self.key);
        });
    }
}
