//! Audio and video.
//!
//! What the handles of one sender or receiver share is kept beside the core, under the same lock, see
//! [`Media`]; the handles are in files of their own.

mod connection;
mod feedback;
mod local_track;
mod receiving;
mod remote_layer;
mod remote_track;
mod samples;
mod sending;
mod transceiver;

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

use rtc::peer_connection::event::{RTCPeerConnectionEvent, RTCTrackEvent};
use rtc::rtp_transceiver::RTCRtpTransceiverId;

use self::receiving::Receiver;
use self::sending::Sender;
use crate::shared::State;
use crate::waiters::{Place, Waiters, When};

pub use self::connection::Tracks;
pub use self::feedback::{Feedback, TrackFeedback};
pub use self::local_track::LocalTrack;
pub use self::remote_layer::RemoteLayer;
pub use self::remote_track::RemoteTrack;
pub use self::samples::Samples;
pub use self::sending::Overflow;
pub use self::transceiver::RtpTransceiver;

/// The senders and receivers of a connection that have, or had, handles.
#[derive(Debug, Default)]
pub(crate) struct Media {
    senders: BTreeMap<RTCRtpTransceiverId, Sender>,
    receivers: BTreeMap<RTCRtpTransceiverId, Receiver>,
    /// Those who wait until packets can be sent.
    writers: Waiters,
    /// Some sender has feedback that nobody was woken for yet.
    feedback_told: bool,
    /// The generation of what was negotiated at the latest turn of the driver.
    generation: u64,
    /// The time of that turn.
    now: Option<Instant>,
    /// The first time that somebody who waits has set, or one that was set before.
    alarm: Option<Instant>,
}

impl Media {
    /// The time of the latest turn of the driver; `None` before the first.
    pub(crate) fn now(&self) -> Option<Instant> {
        self.now
    }

    /// When the driver has to call [`set_time`](Self::set_time).
    pub(crate) fn alarm(&self) -> Option<Instant> {
        self.alarm
    }

    /// True when the alarm is earlier for it.
    pub(crate) fn set_alarm(&mut self, at: Instant) -> bool {
        let is_first = self.alarm.is_none_or(|alarm| at < alarm);
        if is_first {
            self.alarm = Some(at);
        }
        is_first
    }

    /// A turn of the driver: wakes those whose time has come.
    pub(crate) fn set_time(&mut self, now: Instant, wakes: &mut Vec<Waker>) {
        self.now = Some(now);
        if self.alarm.is_none_or(|alarm| now < alarm) {
            return;
        }
        let is_due = |when| matches!(when, When::Until(at) if at <= now);
        self.alarm = None;
        for receiver in self.receivers.values_mut() {
            for waiters in receiver.waiters() {
                waiters.take_if(is_due, wakes);
                self.alarm = self.alarm.into_iter().chain(waiters.first_alarm()).min();
            }
        }
    }

    pub(crate) fn take_all(&mut self, wakes: &mut Vec<Waker>) {
        self.writers.take_all(wakes);
        for sender in self.senders.values_mut() {
            sender.feedback_waiters.take_all(wakes);
        }
        for receiver in self.receivers.values_mut() {
            receiver.waiters().for_each(|it| it.take_all(wakes));
        }
    }

    pub(crate) fn waiters(&mut self, place: Place) -> Option<&mut Waiters> {
        match place {
            Place::Rtp => Some(&mut self.writers),
            Place::Track(id) => Some(&mut self.receivers.get_mut(&id)?.readers),
            Place::Layer(id, layer) => {
                Some(&mut self.receivers.get_mut(&id)?.layer_mut(layer)?.readers)
            }
            Place::Feedback(id) => Some(&mut self.senders.get_mut(&id)?.feedback_waiters),
            Place::Connection | Place::Read(_) | Place::Write(_) => None,
        }
    }
}

impl State {
    /// Takes what a turn of the driver has brought for tracks.
    pub(crate) fn route_media(&mut self, wakes: &mut Vec<Waker>) {
        while let Some(id) = self.core.poll_ready_receiver() {
            let id = id.transceiver_id();
            let Some(receiver) = self.media.receivers.get_mut(&id) else {
                continue;
            };
            if let Some(mut view) = self.core.rtp_receiver(id.receiver_id()) {
                receiver.take_packets(&mut view);
            }
            receiver.wake(wakes);
        }
        let generation = self.core.media_generation();
        if std::mem::replace(&mut self.media.generation, generation) != generation {
            self.take_changes(wakes);
        }
        if !self.media.writers.is_empty() && self.core.buffered_rtp() <= sending::ROOM {
            let waits_for_room = |when| when == When::Room;
            self.media.writers.take_if(waits_for_room, wakes);
        }
        if std::mem::take(&mut self.media.feedback_told) {
            for sender in self.media.senders.values_mut() {
                if sender.has_feedback() {
                    sender.feedback_waiters.take_all(wakes);
                }
            }
        }
    }

    /// What was negotiated, or is sent, has changed.
    fn take_changes(&mut self, wakes: &mut Vec<Waker>) {
        let Self { core, media, .. } = self;
        media.writers.take_all(wakes);
        for (&id, receiver) in &mut media.receivers {
            receiver.forget_sources();
            if core.rtp_transceiver(id).is_none_or(|it| it.stopped()) {
                receiver.waiters().for_each(|it| it.take_all(wakes));
            }
        }
        media
            .senders
            .retain(|&id, sender| sender.is_used() || core.rtp_transceiver(id).is_some());
        media
            .receivers
            .retain(|&id, receiver| receiver.is_used() || core.rtp_transceiver(id).is_some());
    }

    pub(crate) fn on_track(&mut self, event: RTCTrackEvent, wakes: &mut Vec<Waker>) {
        match event {
            RTCTrackEvent::OnOpen(init) => {
                let receiver = self.media.receivers.entry(init.transceiver_id).or_default();
                receiver.track_id = Some(init.track_id.clone());
                let event = match std::mem::replace(&mut receiver.is_told, true) {
                    true => Err(init),
                    false => self.events.push_track(init),
                };
                if let Err(init) = event {
                    let event = RTCTrackEvent::OnOpen(init);
                    self.events.push(RTCPeerConnectionEvent::OnTrack(event));
                }
            }
            event => {
                if let RTCTrackEvent::OnClose(track) = &event {
                    let mut receivers = self.media.receivers.values_mut();
                    let is_it = |it: &&mut Receiver| it.track_id.as_ref() == Some(track);
                    if let Some(receiver) = receivers.find(is_it) {
                        receiver.has_ended = true;
                        receiver.waiters().for_each(|it| it.take_all(wakes));
                    }
                }
                self.events.push(RTCPeerConnectionEvent::OnTrack(event));
            }
        }
    }
}
