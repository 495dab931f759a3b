//! What waits for the application to read it, and what waits to be explained.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc_rtp::Packet;
use rtc_shared::EcnCodepoint;

use crate::media_stream::MediaStreamTrackId;
use crate::rtp_transceiver::{RTCRtpTransceiverId, SSRC};

/// The rings of all receivers.
#[derive(Debug, Default)]
pub(super) struct Inboxes {
    /// Sorted by transceiver.
    list: Vec<Inbox>,
    /// Those that have something to read and are announced, each once.
    ready: VecDeque<RTCRtpTransceiverId>,
    /// Those that became readable and were not told of yet, each once.
    fresh: VecDeque<RTCRtpTransceiverId>,
}

/// The packets of one receiver that the application has not read: a ring, of which the oldest is
/// dropped.
#[derive(Debug)]
struct Inbox {
    transceiver: RTCRtpTransceiverId,
    track: MediaStreamTrackId,
    packets: VecDeque<Packet>,
    bytes: usize,
    /// Packets that made room for others.
    dropped: u64,
    /// The application was told of the track.
    announced: bool,
    /// It is in the list of those that are ready.
    is_ready: bool,
    /// It is in the list of those that became readable.
    is_fresh: bool,
}

impl Inboxes {
    /// Makes the inbox of a receiver if there is none.
    pub(super) fn open(&mut self, transceiver: RTCRtpTransceiverId, track: &MediaStreamTrackId) {
        if let Err(at) = self.find(transceiver) {
            let inbox = Inbox {
                transceiver,
                track: track.clone(),
                packets: VecDeque::new(),
                bytes: 0,
                dropped: 0,
                announced: false,
                is_ready: false,
                is_fresh: false,
            };
            self.list.insert(at, inbox);
        }
    }

    /// The application has learnt that the track is there, or that it is not there for now; packets of
    /// before are gone then.
    pub(super) fn announce(&mut self, track: &MediaStreamTrackId, announced: bool) {
        let Some(inbox) = self.list.iter_mut().find(|inbox| inbox.track == *track) else {
            return;
        };
        inbox.announced = announced;
        if !announced {
            inbox.packets = VecDeque::new();
            inbox.bytes = 0;
        }
        let transceiver = inbox.transceiver;
        self.mark(transceiver);
    }

    pub(super) fn is_announced(&self, track: &MediaStreamTrackId) -> bool {
        let mut inboxes = self.list.iter();
        inboxes.any(|inbox| inbox.announced && inbox.track == *track)
    }

    pub(super) fn has_track(&self, track: &MediaStreamTrackId) -> bool {
        self.list.iter().any(|inbox| inbox.track == *track)
    }

    /// The track of a receiver, if the application was told of it.
    pub(super) fn announced_track(
        &self,
        transceiver: RTCRtpTransceiverId,
    ) -> Option<&MediaStreamTrackId> {
        let inbox = self.list.get(self.find(transceiver).ok()?)?;
        Some(&inbox.track).filter(|_| inbox.announced)
    }

    /// The track has ended for good.
    pub(super) fn close(&mut self, track: &MediaStreamTrackId) {
        self.list.retain(|inbox| inbox.track != *track);
    }

    /// Puts a packet in. Returns how many had to be dropped for it.
    pub(super) fn push(&mut self, transceiver: RTCRtpTransceiverId, packet: Packet) -> u64 {
        let Some(inbox) = self.get_mut(transceiver) else {
            return 1;
        };
        inbox.bytes += packet.payload.len();
        inbox.packets.push_back(packet);
        let mut dropped = 0;
        while inbox.packets.len() > MAX_PACKETS || inbox.bytes > MAX_BYTES {
            let Some(oldest) = inbox.packets.pop_front() else {
                break;
            };
            inbox.bytes -= oldest.payload.len();
            dropped += 1;
        }
        inbox.dropped += dropped;
        if !(inbox.is_ready && inbox.is_fresh) {
            self.mark(transceiver);
        }
        dropped
    }

    /// The next packet of those receivers that are announced, by turns.
    pub(super) fn read(&mut self) -> Option<(MediaStreamTrackId, Packet)> {
        loop {
            let id = *self.ready.front()?;
            let read = self
                .get_mut(id)
                .and_then(|inbox| Some((inbox.track.clone(), inbox.pop()?)));
            if read.is_some() {
                // The next one's turn, unless there is none.
                if self.ready.len() > 1 {
                    self.ready.rotate_left(1);
                }
                return read;
            }
            self.ready.pop_front();
            if let Some(inbox) = self.get_mut(id) {
                inbox.is_ready = false;
            }
        }
    }

    /// The next packet of one receiver, if it is announced.
    pub(super) fn read_of(&mut self, transceiver: RTCRtpTransceiverId) -> Option<Packet> {
        self.get_mut(transceiver)?.pop()
    }

    /// How many packets of a receiver made room for others.
    pub(super) fn dropped(&self, transceiver: RTCRtpTransceiverId) -> u64 {
        let inbox = self.find(transceiver).ok().and_then(|at| self.list.get(at));
        inbox.map_or(0, |inbox| inbox.dropped)
    }

    /// A receiver that became readable since it was last given here.
    pub(super) fn poll_ready(&mut self) -> Option<RTCRtpTransceiverId> {
        loop {
            let id = self.fresh.pop_front()?;
            let Some(inbox) = self.get_mut(id) else {
                continue;
            };
            inbox.is_fresh = false;
            if inbox.is_readable() {
                return Some(id);
            }
        }
    }

    fn mark(&mut self, transceiver: RTCRtpTransceiverId) {
        let Self { list, ready, fresh } = self;
        let inbox = list.iter_mut().find(|it| it.transceiver == transceiver);
        let Some(inbox) = inbox.filter(|inbox| inbox.is_readable()) else {
            return;
        };
        if !std::mem::replace(&mut inbox.is_ready, true) {
            ready.push_back(transceiver);
        }
        if !std::mem::replace(&mut inbox.is_fresh, true) {
            fresh.push_back(transceiver);
        }
    }

    fn get_mut(&mut self, transceiver: RTCRtpTransceiverId) -> Option<&mut Inbox> {
        let at = self.find(transceiver).ok()?;
        self.list.get_mut(at)
    }

    fn find(&self, transceiver: RTCRtpTransceiverId) -> Result<usize, usize> {
        self.list
            .binary_search_by_key(&transceiver, |inbox| inbox.transceiver)
    }
}

impl Inbox {
    fn is_readable(&self) -> bool {
        self.announced && !self.packets.is_empty()
    }

    fn pop(&mut self) -> Option<Packet> {
        if !self.announced {
            return None;
        }
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.payload.len();
        Some(packet)
    }
}

/// Packets of which nothing says yet where they belong. A description that is on its way may, or
/// another packet of their source.
#[derive(Debug, Default)]
pub(super) struct Unexplained {
    packets: VecDeque<Waiting>,
    bytes: usize,
}

/// A packet that waits to be explained.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) arrival: Instant,
    pub(super) packet: Packet,
    pub(super) ecn: Option<EcnCodepoint>,
}

impl Unexplained {
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Keeps a packet. Returns how many had to be dropped for it.
    pub(super) fn push(&mut self, waiting: Waiting) -> u64 {
        self.bytes += waiting.packet.payload.len();
        self.packets.push_back(waiting);
        let mut dropped = 0;
        while self.packets.len() > MAX_UNEXPLAINED || self.bytes > MAX_UNEXPLAINED_BYTES {
            dropped += u64::from(self.pop().is_some());
        }
        dropped
    }

    /// Takes out the packets of a source.
    pub(super) fn take(&mut self, ssrc: SSRC) -> VecDeque<Waiting> {
        let (taken, left) = std::mem::take(&mut self.packets)
            .into_iter()
            .partition(|waiting| waiting.packet.header.ssrc == ssrc);
        self.packets = left;
        self.bytes = self.packets.iter().map(|it| it.packet.payload.len()).sum();
        taken
    }

    /// Takes out all.
    pub(super) fn take_all(&mut self) -> VecDeque<Waiting> {
        self.bytes = 0;
        std::mem::take(&mut self.packets)
    }

    /// Drops what has waited too long. Returns how many.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut dropped = 0;
        while self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            dropped += u64::from(self.pop().is_some());
        }
        if self.packets.is_empty() && dropped > 0 {
            self.packets = VecDeque::new();
        }
        dropped
    }

    /// When the oldest has waited too long.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let oldest = self.packets.front()?;
        Some(oldest.arrival + UNEXPLAINED_TIME)
    }

    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.packets.pop_front()?;
        self.bytes -= waiting.packet.payload.len();
        Some(waiting)
    }
}

/// Packets that wait for the application, of one receiver: two seconds of fast video.
const MAX_PACKETS: usize = 1024;
/// Their payloads in bytes.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Packets that wait to be explained: a key frame.
const MAX_UNEXPLAINED: usize = 256;
const MAX_UNEXPLAINED_BYTES: usize = 256 * 1024;
/// How long they wait: a slow way through signalling.
const UNEXPLAINED_TIME: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence_number: u16, length: usize) -> Packet {
        let mut packet = Packet {
            payload: vec![0; length].into(),
            ..Packet::default()
        };
        packet.header.sequence_number = sequence_number;
        packet
    }

    fn read(inboxes: &mut Inboxes) -> Vec<(String, u16)> {
        std::iter::from_fn(|| inboxes.read())
            .map(|(track, packet)| (track.to_string(), packet.header.sequence_number))
            .collect()
    }

    #[test]
    fn nothing_is_read_before_its_track_is_announced() {
        let (one, two) = (RTCRtpTransceiverId(0), RTCRtpTransceiverId(1));
        let mut inboxes = Inboxes::default();
        inboxes.open(one, &"one".into());
        inboxes.open(two, &"two".into());
        for number in 0..2 {
            assert_eq!(inboxes.push(one, packet(number, 10)), 0);
            assert_eq!(inboxes.push(two, packet(number, 10)), 0);
        }
        assert_eq!(inboxes.push(RTCRtpTransceiverId(2), packet(0, 1)), 1);
        assert!(read(&mut inboxes).is_empty() && inboxes.poll_ready().is_none());
        inboxes.announce(&"two".into(), true);
        assert_eq!(inboxes.poll_ready(), Some(two));
        assert_eq!(inboxes.poll_ready(), None);
        assert_eq!(read(&mut inboxes), [("two".into(), 0), ("two".into(), 1)]);
        inboxes.announce(&"one".into(), true);
        inboxes.push(two, packet(2, 10));
        let by_turns = [("one".into(), 0), ("two".into(), 2), ("one".into(), 1)];
        assert_eq!(read(&mut inboxes), by_turns);
        inboxes.push(one, packet(3, 10));
        inboxes.announce(&"one".into(), false);
        inboxes.announce(&"one".into(), true);
        assert_eq!(inboxes.read_of(one), None);
    }

    #[test]
    fn the_oldest_packets_make_room() {
        let id = RTCRtpTransceiverId(0);
        let mut inboxes = Inboxes::default();
        inboxes.open(id, &"one".into());
        inboxes.announce(&"one".into(), true);
        let count = MAX_PACKETS as u16 + 10;
        let dropped: u64 = (0..count)
            .map(|number| inboxes.push(id, packet(number, 1)))
            .sum();
        assert_eq!(dropped, 10);
        assert_eq!(
            inboxes.read_of(id).map(|it| it.header.sequence_number),
            Some(10)
        );
        assert!(inboxes.push(id, packet(0, MAX_BYTES)) > 1000);
        assert_eq!(read(&mut inboxes).len(), 1);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests have to begin somewhere")]
    fn what_nothing_explains_is_given_up() {
        let now = Instant::now();
        let mut unexplained = Unexplained::default();
        let waiting = |ssrc, arrival| {
            let mut packet = packet(0, 1000);
            packet.header.ssrc = ssrc;
            Waiting {
                arrival,
                packet,
                ecn: None,
            }
        };
        let dropped: u64 = (0..1000)
            .map(|ssrc| unexplained.push(waiting(ssrc, now)))
            .sum();
        assert_eq!(dropped, 1000 - 256);
        assert_eq!(unexplained.take(999).len(), 1);
        assert_eq!(unexplained.take(999).len(), 0);
        let deadline = unexplained.poll_timeout().unwrap();
        assert_eq!(unexplained.expire(now), 0);
        assert_eq!(unexplained.expire(deadline), 255);
        assert!(unexplained.is_empty() && unexplained.poll_timeout().is_none());
    }
}
