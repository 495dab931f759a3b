//! Our handshake messages on their way out: fragments, retransmission (RFC 6347 sections 4.2.3, 4.2.4).

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::Error;
use crate::message::{Fragment, MESSAGE_HEADER_LEN, write_message};
use crate::record::v12::{Epoch, RecordWriter};
use crate::record::{CHANGE_CIPHER_SPEC, HANDSHAKE, HEADER_LEN};

/// The flight that was sent last, kept until the peer's answer shows that it arrived.
pub(crate) struct Flight {
    /// The messages, each with its header as if unfragmented.
    bytes: Vec<u8>,
    items: SmallVec<[Item; 6]>,
    /// What to send next: an item, and where in its body.
    item: usize,
    offset: usize,
    next_message_seq: u16,
    /// Messages of the peer before this one are those that the flight answers.
    answers: u16,
    /// False for a flight that nothing follows: it is repeated only when the peer repeats its own.
    awaits_answer: bool,
    first_timeout: Duration,
    timeout: Duration,
    deadline: Option<Instant>,
    sent_at: Option<Instant>,
    timeouts: u32,
    /// Repeated loss may mean that datagrams are too large for the path.
    small: bool,
    /// True when the peer's round-trip time was given and need not be measured.
    seeded: bool,
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Message {
        start: usize,
        end: usize,
        epoch: Epoch,
    },
    ChangeCipherSpec,
}

impl Flight {
    pub(crate) fn new(initial_rtt: Option<Duration>) -> Self {
        let first_timeout = initial_rtt.map_or(UNSEEDED_TIMEOUT, timeout_of);
        Self {
            bytes: Vec::new(),
            items: SmallVec::new(),
            item: 0,
            offset: 0,
            next_message_seq: 0,
            answers: 0,
            awaits_answer: true,
            first_timeout,
            timeout: first_timeout,
            deadline: None,
            sent_at: None,
            timeouts: 0,
            small: false,
            seeded: initial_rtt.is_some(),
        }
    }

    /// The round-trip time became known: it counts from the flight on that was sent last.
    pub(crate) fn seed(&mut self, rtt: Duration) {
        self.seeded = true;
        self.first_timeout = timeout_of(rtt);
        if self.timeouts == 0 {
            self.timeout = self.first_timeout;
            if let (Some(deadline), Some(sent_at)) = (&mut self.deadline, self.sent_at) {
                *deadline = sent_at + self.timeout;
            }
        }
    }

    /// Drops the last flight, which got through, for a new one. `answers` is the message_seq up to
    /// which the peer's messages are answered by it.
    pub(crate) fn begin(&mut self, now: Instant, answers: u16, awaits_answer: bool) {
        if let Some(sent_at) = self.sent_at
            && !self.seeded
            && self.timeouts == 0
        {
            self.first_timeout = timeout_of(now.saturating_duration_since(sent_at));
        }
        self.bytes.clear();
        self.items.clear();
        self.rewind();
        self.answers = answers;
        self.awaits_answer = awaits_answer;
        self.timeout = self.first_timeout;
        self.timeouts = 0;
        self.sent_at = None;
    }

    /// Appends a message and returns it with its header, for the transcript.
    pub(crate) fn push(
        &mut self,
        epoch: Epoch,
        kind: u8,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> &[u8] {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(1024);
        }
        let start = self.bytes.len();
        write_message(&mut self.bytes, kind, self.next_message_seq, body);
        self.next_message_seq = self.next_message_seq.saturating_add(1);
        let end = self.bytes.len();
        self.items.push(Item::Message { start, end, epoch });
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Appends the signal that what follows is protected.
    pub(crate) fn push_change_cipher_spec(&mut self) {
        self.items.push(Item::ChangeCipherSpec);
    }

    /// True when it holds that signal, so that whatever is sent after it is protected.
    pub(crate) fn is_sealed(&self) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item, Item::ChangeCipherSpec))
    }

    /// True while there is something to send.
    pub(crate) fn is_pending(&self) -> bool {
        self.item < self.items.len()
    }

    /// Appends as much as fits in a datagram of `max_len` bytes; returns how much that is.
    pub(crate) fn write_datagram(
        &mut self,
        now: Instant,
        records: &mut RecordWriter,
        buf: &mut Vec<u8>,
        max_len: usize,
    ) -> Result<usize, Error> {
        let start = buf.len();
        let max_len = if self.small {
            max_len.min(SMALL_DATAGRAM)
        } else {
            max_len
        };
        while let Some(item) = self.items.get(self.item).copied() {
            let room = max_len.saturating_sub(buf.len() - start);
            match item {
                Item::ChangeCipherSpec => {
                    if room <= HEADER_LEN {
                        break;
                    }
                    let at = records.begin(Epoch::Plain, buf);
                    buf.push(1);
                    records.finish(Epoch::Plain, CHANGE_CIPHER_SPEC, buf, at)?;
                    self.item += 1;
                }
                Item::Message {
                    start: from,
                    end,
                    epoch,
                } => {
                    let message = self.bytes.get(from..end).unwrap_or_default();
                    let (header, body) = message
                        .split_at_checked(MESSAGE_HEADER_LEN)
                        .ok_or(Error::Internal)?;
                    let rest = body.get(self.offset..).unwrap_or_default();
                    let overhead = records.overhead(epoch) + MESSAGE_HEADER_LEN;
                    let Some(room) = room.checked_sub(overhead) else {
                        break;
                    };
                    let data = rest.get(..room).unwrap_or(rest);
                    // A sliver at the end of a datagram costs more in headers than it saves.
                    let is_sliver = data.len() < MIN_FRAGMENT && buf.len() > start;
                    if data.len() < rest.len() && (data.is_empty() || is_sliver) {
                        break;
                    }
                    let [kind, _, _, _, seq0, seq1, ..] = *header else {
                        return Err(Error::Internal);
                    };
                    let fragment = Fragment {
                        kind,
                        length: body.len() as u32,
                        message_seq: u16::from_be_bytes([seq0, seq1]),
                        offset: self.offset as u32,
                        data,
                        raw: &[],
                    };
                    let at = records.begin(epoch, buf);
                    fragment.write(buf);
                    records.finish(epoch, HANDSHAKE, buf, at)?;
                    self.offset += data.len();
                    if self.offset == body.len() {
                        self.item += 1;
                        self.offset = 0;
                    }
                }
            }
        }
        if !self.is_pending() {
            self.sent_at = Some(now);
            self.deadline = self.awaits_answer.then(|| now + self.timeout);
        }
        Ok(buf.len() - start)
    }

    /// When the flight is to be repeated.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How long the timer runs at present.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Repeats the flight when its time has come. True when it does.
    pub(crate) fn on_timeout(&mut self, now: Instant) -> bool {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return false;
        }
        self.timeouts = self.timeouts.saturating_add(1);
        self.timeout = (self.timeout * 2).min(MAX_TIMEOUT);
        self.small |= self.timeouts >= TIMEOUTS_BEFORE_SMALL;
        self.rewind();
        true
    }

    /// The peer sent message `message_seq` again: when it belongs to the flight that ours answers, ours
    /// was lost. It is repeated at once, but not for each datagram of the peer's flight. True when it is.
    pub(crate) fn on_repetition(&mut self, message_seq: u16, now: Instant) -> bool {
        let Some(sent_at) = self.sent_at else {
            return false;
        };
        if message_seq >= self.answers
            || self.is_pending()
            || now.saturating_duration_since(sent_at) < self.first_timeout / 2
        {
            return false;
        }
        self.rewind();
        true
    }

    /// Frees what the flight has room for beyond its content.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    fn rewind(&mut self) {
        self.item = 0;
        self.offset = 0;
        self.deadline = None;
    }
}

/// Twice the round-trip time, within bounds (as libwebrtc does).
fn timeout_of(rtt: Duration) -> Duration {
    rtt.saturating_mul(2).clamp(MIN_TIMEOUT, MAX_TIMEOUT)
}

const UNSEEDED_TIMEOUT: Duration = Duration::from_secs(1);
const MIN_TIMEOUT: Duration = Duration::from_millis(50);
const MAX_TIMEOUT: Duration = Duration::from_secs(3);

/// 576 bytes, which every IPv4 host takes, less the IP and UDP headers.
const SMALL_DATAGRAM: usize = 548;
const TIMEOUTS_BEFORE_SMALL: u32 = 2;
const MIN_FRAGMENT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn flight(start: Instant, length: usize) -> Flight {
        let mut flight = Flight::new(Some(Duration::from_millis(100)));
        flight.begin(start, 3, true);
        flight.push(Epoch::Plain, 11, |out| out.resize(out.len() + length, 5));
        flight
    }

    fn send(flight: &mut Flight, now: Instant, max_len: usize) -> Vec<usize> {
        let mut records = RecordWriter::default();
        let mut lengths = Vec::new();
        while flight.is_pending() {
            let mut buf = Vec::new();
            lengths.push(
                flight
                    .write_datagram(now, &mut records, &mut buf, max_len)
                    .unwrap(),
            );
            assert!(lengths.last() <= Some(&max_len) && lengths.last() > Some(&0));
        }
        lengths
    }

    #[test]
    fn the_timer_runs_from_the_last_datagram_doubles_and_is_capped() {
        let start = testing::start();
        let mut flight = flight(start, 100);
        assert_eq!(flight.deadline(), None, "nothing was sent");
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..7 {
            send(&mut flight, now, 1200);
            let deadline = flight.deadline().unwrap();
            waits.push((deadline - now).as_millis());
            assert!(!flight.on_timeout(deadline - Duration::from_millis(1)));
            now = deadline;
            assert!(flight.on_timeout(now));
            assert_eq!(flight.deadline(), None);
        }
        assert_eq!(waits, [200, 400, 800, 1600, 3000, 3000, 3000]);
        flight.begin(now, 4, true);
        flight.push(Epoch::Plain, 20, |_| ());
        send(&mut flight, now, 1200);
        assert_eq!(
            flight.deadline(),
            Some(now + Duration::from_millis(200)),
            "got through"
        );
    }

    #[test]
    fn after_two_timeouts_datagrams_are_small() {
        let now = testing::start();
        let mut flight = flight(now, 1500);
        for expected in [vec![1200, 350], vec![1200, 350], vec![548, 548, 479]] {
            assert_eq!(send(&mut flight, now, 1200), expected);
            flight.on_timeout(flight.deadline().unwrap());
        }
    }

    #[test]
    fn only_a_repetition_of_what_was_answered_repeats_the_flight_and_not_too_often() {
        let start = testing::start();
        let mut flight = flight(start, 10);
        let later = start + Duration::from_millis(100);
        assert!(!flight.on_repetition(2, later), "not even sent");
        send(&mut flight, start, 1200);
        assert!(
            !flight.on_repetition(3, later),
            "belongs to the flight that is coming in"
        );
        assert!(!flight.on_repetition(2, start + Duration::from_millis(99)));
        assert!(flight.on_repetition(2, later));
        assert!(!flight.on_repetition(2, later), "is being sent");
        send(&mut flight, later, 1200);
        assert!(!flight.on_repetition(2, later));
    }

    #[test]
    fn a_late_seed_counts_for_the_flight_that_is_out() {
        let start = testing::start();
        let mut flight = Flight::new(None);
        flight.begin(start, 0, true);
        flight.push(Epoch::Plain, 1, |_| ());
        send(&mut flight, start, 1200);
        flight.seed(Duration::from_millis(1));
        assert_eq!(
            flight.deadline(),
            Some(start + Duration::from_millis(50)),
            "the floor"
        );
        assert!(flight.on_timeout(start + Duration::from_millis(50)));
        flight.seed(Duration::from_millis(200));
        send(&mut flight, start, 1200);
        assert_eq!(
            flight.deadline(),
            Some(start + Duration::from_millis(100)),
            "backed off"
        );
    }

    #[test]
    fn without_a_seed_the_round_trip_is_measured() {
        let start = testing::start();
        let mut flight = Flight::new(None);
        flight.begin(start, 0, true);
        flight.push(Epoch::Plain, 1, |_| ());
        send(&mut flight, start, 1200);
        assert_eq!(flight.deadline(), Some(start + Duration::from_secs(1)));
        let answered = start + Duration::from_millis(80);
        flight.begin(answered, 1, true);
        flight.push(Epoch::Plain, 16, |_| ());
        send(&mut flight, answered, 1200);
        assert_eq!(
            flight.deadline(),
            Some(answered + Duration::from_millis(160))
        );
    }
}
