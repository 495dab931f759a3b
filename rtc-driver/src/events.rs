use std::collections::VecDeque;
use std::mem::discriminant;

use rtc::data_channel::RTCDataChannelId;
use rtc::peer_connection::event::{
    RTCDataChannelEvent, RTCPeerConnectionEvent, RTCRtpSenderEvent, RTCTrackEvent,
    RTCTrackEventInit,
};
use rtc::peer_connection::state::RTCIceGatheringState;
use rtc::peer_connection::transport::RTCIceCandidate;
use rtc::rtp_transceiver::RTCRtpSenderId;

/// Events of a connection that wait for a reader, in order. Each goes to one reader.
///
/// It is bounded although nobody may ever read: a state change replaces the one before, and beyond
/// the bound the oldest event is dropped.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    queue: VecDeque<Entry>,
    /// Live streams of candidates, of channels and of tracks: what they read is not for `next_event`.
    pub(crate) candidate_readers: usize,
    pub(crate) channel_readers: usize,
    pub(crate) track_readers: usize,
    incoming: usize,
    gathering: RTCIceGatheringState,
    dropped: u64,
}

#[derive(Debug)]
enum Entry {
    /// Boxed, so that the memory of the queue stays small.
    Event(Box<RTCPeerConnectionEvent>),
    /// The peer opened a channel.
    Channel(RTCDataChannelId),
    /// The peer sends a track that it has not sent before.
    Track(Box<RTCTrackEventInit>),
}

impl Entry {
    fn feedback(&self) -> Option<&RTCRtpSenderEvent> {
        match self {
            Self::Event(event) => match &**event {
                RTCPeerConnectionEvent::OnRtpSender(event) => Some(event),
                _ => None,
            },
            _ => None,
        }
    }
}

impl EventQueue {
    /// A channel that the peer opened. `false`: too many wait already.
    #[must_use]
    pub(crate) fn push_channel(&mut self, id: RTCDataChannelId) -> bool {
        if self.incoming >= MAX_INCOMING {
            return false;
        }
        self.incoming += 1;
        self.queue.push_back(Entry::Channel(id));
        true
    }

    /// A track that the peer has not sent before. It comes back if too many wait already.
    pub(crate) fn push_track(&mut self, init: RTCTrackEventInit) -> Result<(), RTCTrackEventInit> {
        if self.incoming >= MAX_INCOMING {
            return Err(init);
        }
        self.incoming += 1;
        self.queue.push_back(Entry::Track(Box::new(init)));
        Ok(())
    }

    pub(crate) fn push(&mut self, event: RTCPeerConnectionEvent) {
        if let RTCPeerConnectionEvent::OnIceGatheringStateChangeEvent(state) = &event {
            self.gathering = *state;
        }
        let replaced = self
            .queue
            .iter()
            .position(|entry| matches!(entry, Entry::Event(earlier) if replaces(&event, earlier)));
        if let Some(index) = replaced {
            self.queue.remove(index);
        } else {
            self.make_room(&event);
        }
        self.queue.push_back(Entry::Event(Box::new(event)));
    }

    fn make_room(&mut self, event: &RTCPeerConnectionEvent) {
        let is_feedback = matches!(event, RTCPeerConnectionEvent::OnRtpSender(_));
        let is_wish = |entry: &Entry| entry.feedback().is_some();
        let wishes = self.queue.iter().filter(|it| is_wish(it)).count();
        let oldest = if is_feedback && wishes >= MAX_FEEDBACK {
            self.queue.iter().position(is_wish)
        } else if self.queue.len() - self.incoming >= MAX_EVENTS {
            let mut entries = self.queue.iter();
            entries.position(|entry| matches!(entry, Entry::Event(_)))
        } else {
            return;
        };
        oldest.and_then(|index| self.queue.remove(index));
        self.dropped += 1;
    }

    /// The next event that no other live stream reads.
    pub(crate) fn next_event(&mut self) -> Option<RTCPeerConnectionEvent> {
        let index = self.queue.iter().position(|entry| match entry {
            Entry::Channel(_) => self.channel_readers == 0,
            Entry::Track(_) => self.track_readers == 0,
            Entry::Event(event) => self.candidate_readers == 0 || !is_candidate(event),
        })?;
        Some(match self.queue.remove(index)? {
            Entry::Event(event) => *event,
            Entry::Channel(id) => {
                self.incoming -= 1;
                RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id))
            }
            Entry::Track(init) => {
                self.incoming -= 1;
                RTCPeerConnectionEvent::OnTrack(RTCTrackEvent::OnOpen(*init))
            }
        })
    }

    pub(crate) fn next_channel(&mut self) -> Option<RTCDataChannelId> {
        let index = self
            .queue
            .iter()
            .position(|entry| matches!(entry, Entry::Channel(_)))?;
        match self.queue.remove(index)? {
            Entry::Channel(id) => {
                self.incoming -= 1;
                Some(id)
            }
            _ => None,
        }
    }

    pub(crate) fn next_track(&mut self) -> Option<RTCTrackEventInit> {
        let index = self
            .queue
            .iter()
            .position(|entry| matches!(entry, Entry::Track(_)))?;
        match self.queue.remove(index)? {
            Entry::Track(init) => {
                self.incoming -= 1;
                Some(*init)
            }
            _ => None,
        }
    }

    /// Takes out what the peer wants of a sender.
    pub(crate) fn take_feedback(&mut self, sender: RTCRtpSenderId) -> Vec<RTCRtpSenderEvent> {
        let mut taken = Vec::new();
        self.queue.retain(|entry| {
            let feedback = entry.feedback();
            let Some(event) = feedback.filter(|event| event.sender_id() == sender) else {
                return true;
            };
            taken.push(event.clone());
            false
        });
        taken
    }

    pub(crate) fn next_candidate(&mut self) -> Option<RTCIceCandidate> {
        let index = self
            .queue
            .iter()
            .position(|entry| matches!(entry, Entry::Event(event) if is_candidate(event)))?;
        let Entry::Event(event) = self.queue.remove(index)? else {
            return None;
        };
        match *event {
            RTCPeerConnectionEvent::OnIceCandidateEvent(event) => Some(event.candidate),
            _ => None,
        }
    }

    /// Gathering came to its end, as far as events were put in here: no candidate follows.
    pub(crate) fn is_gathered(&self) -> bool {
        self.gathering == RTCIceGatheringState::Complete
    }
}

fn is_candidate(event: &RTCPeerConnectionEvent) -> bool {
    matches!(event, RTCPeerConnectionEvent::OnIceCandidateEvent(_))
}

/// Whether `event` makes one of its kind that nobody has read yet pointless.
fn replaces(event: &RTCPeerConnectionEvent, earlier: &RTCPeerConnectionEvent) -> bool {
    use RTCPeerConnectionEvent as E;
    match (event, earlier) {
        (E::OnNegotiationNeededEvent, E::OnNegotiationNeededEvent)
        | (E::OnSignalingStateChangeEvent(_), E::OnSignalingStateChangeEvent(_))
        | (E::OnIceConnectionStateChangeEvent(_), E::OnIceConnectionStateChangeEvent(_))
        | (E::OnIceGatheringStateChangeEvent(_), E::OnIceGatheringStateChangeEvent(_))
        | (E::OnConnectionStateChangeEvent(_), E::OnConnectionStateChangeEvent(_)) => true,
        (E::OnDataChannel(event), E::OnDataChannel(earlier)) => {
            discriminant(event) == discriminant(earlier)
                && event.channel_id() == earlier.channel_id()
        }
        (E::OnRtpSender(event), E::OnRtpSender(earlier)) => {
            discriminant(event) == discriminant(earlier)
                && event.sender_id() == earlier.sender_id()
                && event.ssrc() == earlier.ssrc()
        }
        _ => false,
    }
}

/// Events that wait for a reader. Candidates are the most numerous: two dozen interfaces with a
/// server-reflexive and a relayed one each still fit.
const MAX_EVENTS: usize = 128;
/// Among them, wishes about what is sent, so that many senders leave room for what is rarer.
const MAX_FEEDBACK: usize = 32;
/// Channels and tracks of the peer that wait for a reader; more are closed.
const MAX_INCOMING: usize = 1024;

#[cfg(test)]
mod tests {
    use rtc::peer_connection::event::RTCPeerConnectionEvent as E;
    use rtc::peer_connection::state::RTCPeerConnectionState as S;

    use super::*;

    fn closed(id: RTCDataChannelId) -> E {
        E::OnDataChannel(RTCDataChannelEvent::OnClose(id))
    }

    #[test]
    fn only_the_latest_state_waits_and_order_is_kept() {
        let mut queue = EventQueue::default();
        queue.push(E::OnConnectionStateChangeEvent(S::Connecting));
        queue.push(closed(1));
        queue.push(E::OnConnectionStateChangeEvent(S::Connected));
        assert_eq!(queue.next_event(), Some(closed(1)));
        assert_eq!(
            queue.next_event(),
            Some(E::OnConnectionStateChangeEvent(S::Connected))
        );
        assert_eq!(queue.next_event(), None);
    }

    #[test]
    fn events_that_nobody_reads_are_bounded_and_channels_are_not_among_the_lost() {
        let mut queue = EventQueue::default();
        assert!(queue.push_channel(7));
        for id in 0..1_000 {
            queue.push(closed(id));
        }
        assert_eq!(queue.queue.len(), MAX_EVENTS + 1);
        assert_eq!(queue.next_channel(), Some(7));
        assert_eq!(queue.next_event(), Some(closed(1_000 - MAX_EVENTS as u16)));
    }

    #[test]
    fn channels_beyond_the_bound_are_refused() {
        let mut queue = EventQueue::default();
        let taken = (0..=MAX_INCOMING as u16)
            .filter(|&id| queue.push_channel(id))
            .count();
        assert_eq!(taken, MAX_INCOMING);
        assert_eq!(queue.next_channel(), Some(0));
        assert!(queue.push_channel(0));
    }

    #[test]
    fn a_channel_goes_to_one_reader() {
        let mut queue = EventQueue::default();
        assert!(queue.push_channel(1) && queue.push_channel(2));
        queue.channel_readers = 1;
        assert_eq!(queue.next_event(), None);
        assert_eq!(queue.next_channel(), Some(1));
        queue.channel_readers = 0;
        let opened = E::OnDataChannel(RTCDataChannelEvent::OnOpen(2));
        assert_eq!(queue.next_event(), Some(opened));
        assert_eq!(queue.next_channel(), None);
    }
}
