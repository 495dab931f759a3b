use bytes::Bytes;
use rtc_shared::serial::ge32;

use crate::DepacketizeError;

/// A report on a named event, the whole payload of its packet (RFC 4733 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TelephoneEvent {
    /// Which event: 0 to 9 are the digits, 10 is `*`, 11 is `#`, 12 to 15 are `A` to `D`.
    pub event: u8,
    /// The event, or its last segment, is over.
    pub end: bool,
    /// Power of the tone in −dBm0, 0 to 63.
    pub volume: u8,
    /// How long the event has lasted up to now, in units of the timestamp.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads the first event of a payload.
    ///
    /// # Errors
    /// [`DepacketizeError::Truncated`]
    pub fn parse(payload: &[u8]) -> Result<Self, DepacketizeError> {
        let (&[event, flags, high, low], _) = payload
            .split_first_chunk()
            .ok_or(DepacketizeError::Truncated)?;
        Ok(Self {
            event,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The payload.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        let flags = u8::from(self.end) << 7 | self.volume & 0x3f;
        [self.event, flags, high, low]
    }

    /// The event of a key of a telephone, in upper or lower case.
    #[must_use]
    pub fn event_of_tone(tone: char) -> Option<u8> {
        let at = KEYS.find(tone.to_ascii_uppercase())?;
        u8::try_from(at).ok()
    }

    /// The key of an event, `None` for those that are no key.
    #[must_use]
    pub fn tone_of_event(event: u8) -> Option<char> {
        KEYS.chars().nth(event.into())
    }
}

/// The packets that tell of one event: reports at intervals, and three times its end (RFC 4733
/// section 2.5.1).
///
/// ```
/// use rtc_media::TelephoneEventSender;
///
/// // The key 5 for 100 ms at 8 kHz, a packet each 20 ms.
/// let packets: Vec<_> = TelephoneEventSender::new(5, 10, 800, 160).collect();
/// assert_eq!(packets.len(), 7);
/// assert!(packets[0].marker && !packets[1].marker);
/// assert!(packets[4..].iter().all(|packet| packet.event.end && packet.event.duration == 800));
/// assert!(packets.iter().all(|packet| packet.timestamp_offset == 0));
/// ```
#[derive(Clone, Debug)]
pub struct TelephoneEventSender {
    event: TelephoneEvent,
    interval: u32,
    total: u32,
    /// Where the current segment begins.
    segment: u32,
    elapsed: u32,
    ends: u8,
}

/// A packet of a [`TelephoneEventSender`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEventPacket {
    /// The payload.
    pub event: TelephoneEvent,
    /// The M bit: the first packet of an event.
    pub marker: bool,
    /// What to add to the timestamp of the event's beginning. Above 0 only when an event lasts so long
    /// that it is sent in segments.
    pub timestamp_offset: u32,
    /// When to send it, counted from the beginning in units of the timestamp.
    pub send_at: u32,
}

impl TelephoneEventSender {
    /// An event of a duration, with a packet each `interval`, both in units of the timestamp and at
    /// least 1.
    #[must_use]
    pub fn new(event: u8, volume: u8, duration: u32, interval: u16) -> Self {
        Self {
            event: TelephoneEvent {
                event,
                end: false,
                volume: volume.min(63),
                duration: 0,
            },
            interval: interval.max(1).into(),
            total: duration.max(1),
            segment: 0,
            elapsed: 0,
            ends: 0,
        }
    }
}

impl Iterator for TelephoneEventSender {
    type Item = TelephoneEventPacket;

    fn next(&mut self) -> Option<TelephoneEventPacket> {
        if self.ends == END_REPEATS {
            return None;
        }
        let marker = self.elapsed == 0;
        if self.elapsed - self.segment == MAX_SEGMENT && self.elapsed < self.total {
            self.segment = self.elapsed;
        }
        self.elapsed = self
            .elapsed
            .saturating_add(self.interval)
            .min(self.total)
            .min(self.segment.saturating_add(MAX_SEGMENT));
        self.event.end = self.elapsed == self.total;
        self.ends += u8::from(self.event.end);
        self.event.duration = (self.elapsed - self.segment) as u16;
        Some(TelephoneEventPacket {
            event: self.event,
            marker,
            timestamp_offset: self.segment,
            send_at: self.elapsed,
        })
    }
}

/// What a [`TelephoneEventReceiver`] makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TelephoneEventChange {
    /// An event has begun.
    Begin {
        /// Which event.
        event: u8,
        /// Power of the tone in −dBm0, 0 to 63.
        volume: u8,
    },
    /// The event has ended.
    End {
        /// Which event.
        event: u8,
        /// How long it lasted, in units of the timestamp; 0 when only the next event tells that it is
        /// over.
        duration: u32,
    },
}

/// Tells begin and end of events from their packets, each once although packets are repeated and may
/// be lost (RFC 4733 section 2.5.2).
#[derive(Clone, Debug, Default)]
pub struct TelephoneEventReceiver {
    current: Option<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    event: u8,
    begin: u32,
    /// Timestamp at which the last segment ended.
    until: u32,
    ended: bool,
}

impl TelephoneEventReceiver {
    /// One that knows no event yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a packet and gives what has changed: nothing, a begin, an end, or both. When an event
    /// begins while another lasts, the end of that one comes first.
    ///
    /// # Errors
    /// [`DepacketizeError::Truncated`]
    pub fn receive(
        &mut self,
        timestamp: u32,
        payload: &Bytes,
    ) -> Result<smallvec::SmallVec<[TelephoneEventChange; 2]>, DepacketizeError> {
        let report = TelephoneEvent::parse(payload)?;
        let mut changes = smallvec::SmallVec::new();
        let until = timestamp.wrapping_add(report.duration.into());
        let continued = match self.current {
            Some(current) if current.event == report.event && timestamp == current.begin => true,
            // A segment of the event; the next begins where the last ended.
            Some(current)
                if current.event == report.event
                    && ge32(timestamp, current.begin)
                    && ge32(current.until, timestamp)
                    && !(current.ended && timestamp == current.until) =>
            {
                true
            }
            // From before the event: a packet that comes late.
            Some(current) if !ge32(timestamp, current.begin) => return Ok(changes),
            _ => false,
        };
        if !continued {
            if let Some(Current {
                event,
                ended: false,
                ..
            }) = self.current
            {
                changes.push(TelephoneEventChange::End { event, duration: 0 });
            }
            changes.push(TelephoneEventChange::Begin {
                event: report.event,
                volume: report.volume,
            });
            self.current = Some(Current {
                event: report.event,
                begin: timestamp,
                until,
                ended: false,
            });
        }
        if let Some(current) = &mut self.current {
            if ge32(until, current.until) {
                current.until = until;
            }
            if report.end && !current.ended {
                current.ended = true;
                changes.push(TelephoneEventChange::End {
                    event: report.event,
                    duration: until.wrapping_sub(current.begin),
                });
            }
        }
        Ok(changes)
    }
}

const KEYS: &str = "0123456789*#ABCD";
/// How often the end of an event is told (RFC 4733 section 2.5.1.4).
const END_REPEATS: u8 = 3;
/// The most that the duration of a segment can express.
const MAX_SEGMENT: u32 = u16::MAX as u32;

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(
        packets: impl IntoIterator<Item = TelephoneEventPacket>,
    ) -> Vec<TelephoneEventChange> {
        let mut receiver = TelephoneEventReceiver::new();
        packets
            .into_iter()
            .flat_map(|packet| {
                let timestamp = 0xffff_ff00_u32.wrapping_add(packet.timestamp_offset);
                let payload = Bytes::copy_from_slice(&packet.event.to_bytes());
                receiver.receive(timestamp, &payload).unwrap()
            })
            .collect()
    }

    #[test]
    fn an_event_begins_and_ends_once_whatever_packets_are_lost() {
        let packets: Vec<_> = TelephoneEventSender::new(11, 9, 4800, 960).collect();
        let expected = [
            TelephoneEventChange::Begin {
                event: 11,
                volume: 9,
            },
            TelephoneEventChange::End {
                event: 11,
                duration: 4800,
            },
        ];
        assert_eq!(receive(packets.clone()), expected);
        for kept in 0..packets.len() {
            let some = packets.iter().copied().enumerate();
            let some = some.filter(|(at, _)| *at == kept || *at == packets.len() - 1);
            assert_eq!(receive(some.map(|(_, packet)| packet)), expected);
        }
    }

    #[test]
    fn an_event_too_long_for_its_field_is_sent_in_segments() {
        let packets: Vec<_> = TelephoneEventSender::new(1, 0, 150_000, 960).collect();
        let offsets: std::collections::BTreeSet<_> = packets
            .iter()
            .map(|packet| packet.timestamp_offset)
            .collect();
        assert_eq!(Vec::from_iter(offsets), [0, 65_535, 131_070]);
        assert_eq!(packets.iter().filter(|packet| packet.event.end).count(), 3);
        assert_eq!(packets.iter().filter(|packet| packet.marker).count(), 1);
        let changes = receive(packets);
        assert_eq!(changes.len(), 2);
        assert_eq!(
            changes[1],
            TelephoneEventChange::End {
                event: 1,
                duration: 150_000
            }
        );
    }

    #[test]
    fn the_next_event_ends_one_whose_end_was_lost() {
        let mut receiver = TelephoneEventReceiver::new();
        let mut receive = |timestamp, bytes: [u8; 4]| {
            receiver
                .receive(timestamp, &Bytes::copy_from_slice(&bytes))
                .unwrap()
        };
        assert_eq!(receive(0, [1, 10, 0, 160]).len(), 1);
        let changes = receive(8000, [2, 0x8a, 0, 160]);
        assert_eq!(
            changes[..],
            [
                TelephoneEventChange::End {
                    event: 1,
                    duration: 0
                },
                TelephoneEventChange::Begin {
                    event: 2,
                    volume: 10
                },
                TelephoneEventChange::End {
                    event: 2,
                    duration: 160
                },
            ]
        );
        // Repeated, late, and the same key once more.
        assert!(receive(8000, [2, 0x8a, 0, 160]).is_empty());
        assert!(receive(0, [1, 10, 0, 240]).is_empty());
        assert_eq!(receive(16_000, [2, 10, 0, 160]).len(), 1);
        assert!(
            TelephoneEventReceiver::new()
                .receive(0, &Bytes::from_static(&[1, 2, 3]))
                .is_err()
        );
    }

    #[test]
    fn keys_have_their_events() {
        let events: Vec<_> = "0*#ad"
            .chars()
            .filter_map(TelephoneEvent::event_of_tone)
            .collect();
        assert_eq!(events, [0, 10, 11, 12, 15]);
        assert_eq!(TelephoneEvent::event_of_tone('x'), None);
        assert_eq!(TelephoneEvent::tone_of_event(13), Some('B'));
        assert_eq!(TelephoneEvent::tone_of_event(16), None);
        let event = TelephoneEvent {
            event: 3,
            end: true,
            volume: 63,
            duration: 0xabcd,
        };
        assert_eq!(TelephoneEvent::parse(&event.to_bytes()), Ok(event));
    }
}
