//! Sequence numbers of 16 bits, extended and watched.

use rtc_shared::Rng;

/// Extends 16-bit sequence numbers to 64 bits, so that they can be compared and subtracted.
///
/// The first number is taken as it is; each following one becomes the nearest to the highest up to
/// now. A number from before the first can be negative.
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceExtender {
    highest: Option<i64>,
}

impl SequenceExtender {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Extends a number and remembers it if it is the highest.
    pub fn extend(&mut self, sequence_number: u16) -> i64 {
        let extended = self.peek(sequence_number);
        self.highest = Some(
            self.highest
                .map_or(extended, |highest| highest.max(extended)),
        );
        extended
    }

    /// Extends a number without remembering it.
    #[must_use]
    pub fn peek(&self, sequence_number: u16) -> i64 {
        match self.highest {
            Some(highest) => nearest(highest, sequence_number),
            None => i64::from(sequence_number),
        }
    }

    /// The highest number up to now.
    #[must_use]
    pub fn highest(&self) -> Option<i64> {
        self.highest
    }
}

/// What a packet's sequence number says about the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrival {
    /// The highest up to now; `skipped` numbers before it have not been seen.
    Advance {
        /// The extended number.
        extended: i64,
        /// How many numbers lie between this and the highest before.
        skipped: u16,
    },
    /// Not the highest: a reordered, repeated or duplicated packet.
    Late {
        /// The extended number.
        extended: i64,
    },
    /// Too far from all others to belong to them. The stream has restarted if the next packet follows
    /// this one; until then it does not count.
    Suspect,
    /// The stream has restarted elsewhere, two packets in a row say so; all counts begin anew.
    Restart {
        /// The extended number in the new count.
        extended: i64,
    },
}

/// Watches the sequence numbers of one source as a receiver has to (RFC 3550 appendix A.1), and
/// counts what its reports need (appendix A.3). The first packet counts at once, without probation.
#[derive(Clone, Debug, Default)]
pub struct SequenceTracker {
    base: i64,
    highest: Option<i64>,
    received: u64,
    /// The number that would confirm a restart.
    restart_at: Option<u16>,
}

impl SequenceTracker {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the sequence number of a packet that arrived.
    pub fn receive(&mut self, sequence_number: u16) -> Arrival {
        let Some(highest) = self.highest else {
            self.begin(sequence_number);
            return Arrival::Advance {
                extended: sequence_number.into(),
                skipped: 0,
            };
        };
        let extended = nearest(highest, sequence_number);
        let distance = extended - highest;
        if distance >= MAX_DROPOUT || distance <= -MAX_MISORDER {
            if self.restart_at == Some(sequence_number) {
                self.begin(sequence_number);
                return Arrival::Restart {
                    extended: sequence_number.into(),
                };
            }
            self.restart_at = Some(sequence_number.wrapping_add(1));
            return Arrival::Suspect;
        }
        self.restart_at = None;
        self.received += 1;
        if distance <= 0 {
            return Arrival::Late { extended };
        }
        self.highest = Some(extended);
        Arrival::Advance {
            extended,
            skipped: (distance - 1) as u16,
        }
    }

    /// The highest sequence number with the count of wraps above it, for a report block.
    #[must_use]
    pub fn extended_highest(&self) -> u32 {
        self.highest.unwrap_or_default() as u32
    }

    /// Packets that arrived since the begin, late and repeated ones included.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets that should have arrived since the begin.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.highest
            .map_or(0, |highest| (highest - self.base + 1).unsigned_abs())
    }

    /// Packets lost since the begin; negative when more arrived than were sent once.
    #[must_use]
    pub fn lost(&self) -> i64 {
        let received = i64::try_from(self.received).unwrap_or(i64::MAX);
        i64::try_from(self.expected())
            .unwrap_or(i64::MAX)
            .saturating_sub(received)
    }

    fn begin(&mut self, sequence_number: u16) {
        *self = Self {
            base: sequence_number.into(),
            highest: Some(sequence_number.into()),
            received: 1,
            restart_at: None,
        };
    }
}

/// A sequence number to begin a stream with: random, but below 2^15, so that the first packets do not
/// wrap while a receiver may still guess the rollover counter (RFC 3711 section 3.3.1).
#[must_use]
pub fn initial_sequence_number(rng: &mut Rng) -> u16 {
    rng.u16() >> 1
}

/// The number nearest to `reference` whose low 16 bits are `sequence_number`.
fn nearest(reference: i64, sequence_number: u16) -> i64 {
    let distance = sequence_number.wrapping_sub(reference as u16) as i16;
    reference.saturating_add(distance.into())
}

/// A jump ahead of this many packets may be a restart (RFC 3550 appendix A.1).
const MAX_DROPOUT: i64 = 3000;
/// A packet this late may be a restart. RFC 3550 appendix A.1 has 100, fewer than a fast stream of
/// video sends before a retransmission arrives.
const MAX_MISORDER: i64 = 3000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_across_the_wrap_in_any_order() {
        let mut extender = SequenceExtender::new();
        assert_eq!(extender.highest(), None);
        let extended: Vec<_> = [65_534, 0, 65_535, 1, 40_000, 30_000]
            .map(|number| extender.extend(number))
            .into();
        assert_eq!(extended, [65_534, 65_536, 65_535, 65_537, 40_000, 95_536]);
        assert_eq!(extender.highest(), Some(95_536));

        let mut extender = SequenceExtender::new();
        assert_eq!(extender.extend(2), 2);
        assert_eq!(extender.extend(65_534), -2);
        assert_eq!(extender.peek(10), 10);
        assert_eq!(extender.highest(), Some(2));
    }

    #[test]
    fn loss_is_what_is_expected_less_what_came() {
        let mut tracker = SequenceTracker::new();
        assert_eq!((tracker.expected(), tracker.lost()), (0, 0));
        assert_eq!(
            tracker.receive(65_530),
            Arrival::Advance {
                extended: 65_530,
                skipped: 0
            }
        );
        assert_eq!(
            tracker.receive(65_533),
            Arrival::Advance {
                extended: 65_533,
                skipped: 2
            }
        );
        assert_eq!(
            tracker.receive(2),
            Arrival::Advance {
                extended: 65_538,
                skipped: 4
            }
        );
        assert_eq!(
            (tracker.expected(), tracker.received(), tracker.lost()),
            (9, 3, 6)
        );
        assert_eq!(tracker.receive(65_531), Arrival::Late { extended: 65_531 });
        assert_eq!(tracker.lost(), 5);
        assert_eq!(tracker.extended_highest(), 0x1_0002);
        for _ in 0..10 {
            assert_eq!(tracker.receive(2), Arrival::Late { extended: 65_538 });
        }
        assert_eq!(tracker.lost(), -5);
    }

    #[test]
    fn one_stray_packet_does_not_move_the_stream_but_two_in_a_row_do() {
        let mut tracker = SequenceTracker::new();
        tracker.receive(100);
        assert_eq!(tracker.receive(20_000), Arrival::Suspect);
        assert_eq!(
            tracker.receive(101),
            Arrival::Advance {
                extended: 101,
                skipped: 0
            }
        );
        // The stray one is forgotten by now.
        assert_eq!(tracker.receive(20_001), Arrival::Suspect);
        assert_eq!(
            tracker.receive(20_002),
            Arrival::Restart { extended: 20_002 }
        );
        assert_eq!((tracker.expected(), tracker.received()), (1, 1));
        assert_eq!(tracker.receive(17_003), Arrival::Late { extended: 17_003 });
        assert_eq!(tracker.receive(17_002), Arrival::Suspect);
        assert_eq!(
            tracker.receive(23_001),
            Arrival::Advance {
                extended: 23_001,
                skipped: 2998
            }
        );
        assert_eq!(tracker.receive(26_001), Arrival::Suspect);
    }

    #[test]
    fn streams_begin_in_the_lower_half() {
        let mut rng = Rng::from_seed([5; 32]);
        assert!((0..1000).all(|_| initial_sequence_number(&mut rng) < 0x8000));
    }
}
