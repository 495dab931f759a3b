use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_sink::Sink;
use rtc::data_channel::{
    RTCDataChannel, RTCDataChannelId, RTCDataChannelParameters, RTCDataChannelState,
};

use crate::io::DataChannelIo;
use crate::shared::Handle;
use crate::waiters::{Key, Place, Step, Wait, When, forget, poll_step};
use crate::{Error, SendError, TrySendError};

/// A message of a data channel: text or bytes.
pub use rtc::data_channel::RTCDataChannelMessage as DataChannelMessage;

/// A data channel.
///
/// A handle: clones are of the same channel, and share its messages. It is also a handle of its
/// connection, which stays open as long as there is one.
///
/// As a [`Stream`] it gives messages, as a [`Sink`] it takes them. A reader is told once when the
/// connection fails ([`Error::Failed`]); if an ICE restart brings the connection back, messages go
/// on.
///
/// # Dropping
///
/// Dropping the last handle of a channel does not close it, as in W3C: the peer goes on to see an open
/// channel. But nobody can read it any more, so what arrives is thrown away from then on.
pub struct DataChannel {
    handle: Handle,
    id: RTCDataChannelId,
    /// The failure of the connection that was told last.
    failure_seen: AtomicU32,
    /// The slots of this handle as a stream and as a sink.
    read_key: Key,
    write_key: Key,
    /// What the sink has taken and the channel has not.
    pending: Option<DataChannelMessage>,
}

impl DataChannel {
    pub(crate) fn new(handle: Handle, id: RTCDataChannelId) -> Self {
        handle.with(|state| state.channel_handle_made(id));
        Self {
            handle,
            id,
            failure_seen: AtomicU32::new(0),
            read_key: Key::default(),
            write_key: Key::default(),
            pending: None,
        }
    }

    /// Sends a message. Waits until the channel is open, and for room when too much waits to be
    /// sent.
    ///
    /// Dropped before it is ready, the message is not sent.
    pub fn send(&self, message: impl Into<DataChannelMessage>) -> Sending<'_> {
        Sending {
            channel: self,
            message: Some(message.into()),
            key: Key::default(),
        }
    }

    /// Sends a message if there is room.
    ///
    /// # Errors
    /// The message comes back in every case.
    pub fn try_send(&self, message: impl Into<DataChannelMessage>) -> Result<(), TrySendError> {
        let mut message = Some(message.into());
        let step = self.handle.with(|state| state.send(self.id, &mut message));
        let message = message.unwrap_or_default();
        match step {
            Step::Done(Ok(())) => Ok(()),
            Step::Done(Err(error)) => Err(TrySendError::Refused { error, message }),
            Step::Wait(When::Open) => Err(TrySendError::NotOpen(message)),
            Step::Wait(_) => Err(TrySendError::Full(message)),
        }
    }

    /// The next message; `None` when the channel is closed and every message was read.
    ///
    /// Dropped before it is ready, no message is lost.
    pub fn recv(
        &self,
    ) -> impl Future<Output = Option<Result<DataChannelMessage, Error>>> + Send + '_ {
        Wait::new(&self.handle, Place::Read(self.id), |state| {
            let mut seen = self.failure_seen.load(Ordering::Relaxed);
            let step = state.read(self.id, &mut seen);
            self.failure_seen.store(seen, Ordering::Relaxed);
            step
        })
    }

    /// Waits until the channel is open.
    ///
    /// # Errors
    /// [`Error::Closed`] when it is closed, or closed before it opened; [`Error::DriverLost`].
    pub async fn opened(&self) -> Result<(), Error> {
        self.writable(None).await
    }

    /// Waits until no more bytes wait to be sent than
    /// [`set_buffered_amount_low_threshold`](Self::set_buffered_amount_low_threshold) said.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::DriverLost`].
    pub async fn buffered_amount_low(&self) -> Result<(), Error> {
        let threshold = self.view(0, |channel| channel.buffered_amount_low_threshold());
        self.writable(Some(threshold)).await
    }

    fn writable(
        &self,
        buffered: Option<usize>,
    ) -> impl Future<Output = Result<(), Error>> + Send + '_ {
        Wait::new(&self.handle, Place::Write(self.id), move |state| {
            state.wait_for(self.id, buffered)
        })
    }

    /// Bytes that were given to `send` and have not left yet.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.view(0, |channel| channel.buffered_amount())
    }

    /// Sets what [`buffered_amount_low`](Self::buffered_amount_low) waits for, bytes; initially 0.
    pub fn set_buffered_amount_low_threshold(&self, bytes: usize) {
        self.view((), |channel| {
            channel.set_buffered_amount_low_threshold(bytes)
        });
    }

    /// The largest message that the peer takes, bytes.
    #[must_use]
    pub fn max_message_size(&self) -> usize {
        self.view(0, |channel| channel.max_message_size())
    }

    /// State of the channel.
    #[must_use]
    pub fn ready_state(&self) -> RTCDataChannelState {
        self.view(RTCDataChannelState::Closed, |channel| channel.ready_state())
    }

    /// Its name.
    #[must_use]
    pub fn label(&self) -> String {
        self.parameters()
            .map(|parameters| parameters.label)
            .unwrap_or_default()
    }

    /// Name of its subprotocol.
    #[must_use]
    pub fn protocol(&self) -> String {
        self.parameters()
            .map(|parameters| parameters.protocol)
            .unwrap_or_default()
    }

    /// Label, protocol and reliability; `None` once the channel is forgotten.
    #[must_use]
    pub fn parameters(&self) -> Option<RTCDataChannelParameters> {
        self.view(None, |channel| Some(channel.parameters()))
    }

    /// What events and [`PeerConnection::data_channel`](crate::PeerConnection::data_channel) call
    /// it.
    #[must_use]
    pub fn id(&self) -> RTCDataChannelId {
        self.id
    }

    /// The SCTP stream, once it is known.
    #[must_use]
    pub fn stream_id(&self) -> Option<u16> {
        self.view(None, |channel| channel.stream_id())
    }

    /// Closes the channel. What was sent still goes out; the peer's unread messages can be read.
    pub fn close(&self) {
        self.handle.with(|state| {
            state.nudge = true;
            // Err says that it is closed already.
            let _ = state
                .core
                .data_channel(self.id)
                .map(|mut channel| channel.close());
        });
    }

    /// The channel as a stream of bytes, without message boundaries.
    #[must_use]
    pub fn into_io(self) -> DataChannelIo {
        DataChannelIo::new(self)
    }

    fn view<R>(&self, gone: R, f: impl FnOnce(&mut RTCDataChannel<'_>) -> R) -> R {
        self.handle
            .with(|state| match state.core.data_channel(self.id) {
                Some(mut channel) => f(&mut channel),
                None => gone,
            })
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if self.pending.is_none() {
            return Poll::Ready(Ok(()));
        }
        let (id, pending) = (self.id, &mut self.pending);
        let place = Place::Write(id);
        poll_step(&self.handle, place, &mut self.write_key, cx, |state| {
            state.send(id, pending)
        })
    }
}

impl Clone for DataChannel {
    fn clone(&self) -> Self {
        Self::new(self.handle.clone(), self.id)
    }
}

impl Drop for DataChannel {
    fn drop(&mut self) {
        self.handle.with(|state| {
            forget(state, Place::Read(self.id), &mut self.read_key);
            forget(state, Place::Write(self.id), &mut self.write_key);
            state.channel_handle_dropped(self.id);
        });
    }
}

impl fmt::Debug for DataChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataChannel")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Stream for DataChannel {
    type Item = Result<DataChannelMessage, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let (id, seen) = (this.id, this.failure_seen.get_mut());
        let place = Place::Read(id);
        poll_step(&this.handle, place, &mut this.read_key, cx, |state| {
            state.read(id, seen)
        })
    }
}

/// Ready when the message before has been taken by the channel; flushed when nothing waits to be sent
/// any more.
impl Sink<DataChannelMessage> for DataChannel {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.get_mut().poll_pending(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: DataChannelMessage) -> Result<(), SendError> {
        let this = self.get_mut();
        match this.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(message) | TrySendError::NotOpen(message)) => {
                this.pending = Some(message);
                Ok(())
            }
            Err(TrySendError::Refused { error, .. }) => Err(error),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let this = self.get_mut();
        match this.poll_pending(cx) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        let (id, place) = (this.id, Place::Write(this.id));
        poll_step(&this.handle, place, &mut this.write_key, cx, |state| {
            state.wait_for(id, Some(0))
        })
        .map_err(|error| match error {
            Error::DriverLost => SendError::DriverLost,
            _ => SendError::Closed,
        })
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let this = self.get_mut();
        let sent = this.poll_pending(cx);
        if sent.is_ready() {
            this.close();
        }
        sent
    }
}

/// The future of [`DataChannel::send`].
///
/// # Errors
/// [`SendError`]; the message is lost then, unlike with [`DataChannel::try_send`].
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Sending<'a> {
    channel: &'a DataChannel,
    message: Option<DataChannelMessage>,
    key: Key,
}

impl Future for Sending<'_> {
    type Output = Result<(), SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            channel,
            message,
            key,
        } = self.get_mut();
        let id = channel.id;
        poll_step(&channel.handle, Place::Write(id), key, cx, |state| {
            state.send(id, message)
        })
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.key.is_set() {
            let place = Place::Write(self.channel.id);
            self.channel
                .handle
                .with(|state| forget(state, place, &mut self.key));
        }
    }
}
