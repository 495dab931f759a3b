use std::future::poll_fn;
use std::mem::discriminant;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use rtc::media_stream::RtpStreamId;
use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCRtpSenderEvent};
use rtc::rtp_transceiver::{RTCRtpTransceiverId, SSRC};

use crate::shared::{Shared, State};
use crate::waiters::{Key, Place, Step, When, forget, poll_step};

/// What is wanted of the encoder, or whatever else a [`LocalTrack`](crate::LocalTrack) is fed by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrackFeedback {
    /// A key frame: the peer has asked for one (RFC 4585 section 6.3.1, RFC 5104 section 4.3.1), or
    /// [`DropToKeyFrame`](crate::Overflow::DropToKeyFrame) needs one.
    KeyFrameRequest {
        /// The simulcast layer, if there are such.
        rid: Option<RtpStreamId>,
        /// The source.
        ssrc: SSRC,
    },
    /// The most that reaches the peer, as it estimates (draft-alvestrand-rmcat-remb).
    MaxBitrate {
        /// The simulcast layer, if there are such.
        rid: Option<RtpStreamId>,
        /// The source.
        ssrc: SSRC,
        /// The bitrate in bit/s.
        bitrate: u64,
    },
}

impl TrackFeedback {
    /// The simulcast layer that it is about, if there are such.
    #[must_use]
    pub fn rid(&self) -> Option<&str> {
        match self {
            Self::KeyFrameRequest { rid, .. } | Self::MaxBitrate { rid, .. } => rid.as_deref(),
        }
    }

    /// The source that it is about.
    #[must_use]
    pub fn ssrc(&self) -> SSRC {
        match self {
            Self::KeyFrameRequest { ssrc, .. } | Self::MaxBitrate { ssrc, .. } => *ssrc,
        }
    }

    /// Makes an older one pointless.
    pub(super) fn replaces(&self, older: &Self) -> bool {
        discriminant(self) == discriminant(older) && self.ssrc() == older.ssrc()
    }

    fn from_event(event: RTCRtpSenderEvent) -> Option<Self> {
        match event {
            RTCRtpSenderEvent::OnKeyFrameRequest { ssrc, rid, .. } => {
                Some(Self::KeyFrameRequest { rid, ssrc })
            }
            RTCRtpSenderEvent::OnMaxBitrate {
                ssrc, rid, bitrate, ..
            } => Some(Self::MaxBitrate { rid, ssrc, bitrate }),
            _ => None,
        }
    }
}

/// Gives [`LocalTrack::feedback`](crate::LocalTrack::feedback).
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Feedback {
    shared: Arc<Shared>,
    id: RTCRtpTransceiverId,
    key: Key,
}

impl Feedback {
    pub(super) fn new(shared: Arc<Shared>, id: RTCRtpTransceiverId) -> Self {
        shared.with(|state| {
            let waiting = state.events.take_feedback(id.sender_id());
            let sender = state.media.senders.entry(id).or_default();
            sender.feedback_readers += 1;
            for event in waiting.into_iter().filter_map(TrackFeedback::from_event) {
                sender.push_feedback(event);
            }
        });
        Self {
            shared,
            id,
            key: Key::default(),
        }
    }

    /// The next wish; `None` when the transceiver is stopped or the connection has ended. Dropped before
    /// it is ready, none is lost.
    pub async fn next(&mut self) -> Option<TrackFeedback> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Feedback {
    type Item = TrackFeedback;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { shared, id, key } = self.get_mut();
        poll_step(shared, Place::Feedback(*id), key, cx, |state| {
            let sender = state.media.senders.entry(*id).or_default();
            if let Some(feedback) = sender.next_feedback() {
                return Step::Done(Some(feedback));
            }
            let transceiver = state.core.rtp_transceiver(*id);
            match transceiver.is_none_or(|it| it.stopped()) || state.has_ended() {
                true => Step::Done(None),
                false => Step::Wait(When::Any),
            }
        })
    }
}

impl Drop for Feedback {
    fn drop(&mut self) {
        self.shared.with(|state| {
            forget(state, Place::Feedback(self.id), &mut self.key);
            if let Some(sender) = state.media.senders.get_mut(&self.id) {
                sender.feedback_readers -= 1;
            }
        });
    }
}

impl State {
    /// The peer wants something of a sender.
    pub(crate) fn on_feedback(&mut self, event: RTCRtpSenderEvent) {
        let id = event.sender_id().transceiver_id();
        let sender = self.media.senders.get_mut(&id);
        match sender.filter(|sender| sender.feedback_readers > 0) {
            Some(sender) => {
                if let Some(feedback) = TrackFeedback::from_event(event) {
                    sender.push_feedback(feedback);
                    self.media.feedback_told = true;
                }
            }
            None => self.events.push(RTCPeerConnectionEvent::OnRtpSender(event)),
        }
    }
}
