use std::time::{Duration, Instant};

use rtc_rtp::Packet;
use rtc_shared::serial::gt16;

/// Packets that were sent, found by their sequence numbers: a ring that grows while its packets are
/// young, up to a limit.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The slot of a number is the number modulo the length, which is a power of two.
    slots: Vec<Option<Entry>>,
    newest: Option<u16>,
    /// The oldest number that may still be held; numbers before it are not looked at for ageing.
    oldest: u16,
}

/// A packet that was sent.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) packet: Packet,
    sent: Instant,
    pub(super) repeated: Option<Instant>,
}

/// How much is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) packets: usize,
    /// A packet so old may make room for a new one where there are many.
    pub(super) min_age: Duration,
    /// A packet so old goes.
    pub(super) max_age: Duration,
}

impl History {
    /// Keeps a packet. What is older than the limit goes, a little with each packet.
    pub(super) fn insert(&mut self, now: Instant, packet: Packet, limits: Limits) {
        let number = packet.header.sequence_number;
        let advances = self.newest.is_none_or(|newest| gt16(number, newest));
        if self.newest.is_none() {
            self.oldest = number;
        }
        if advances {
            self.newest = Some(number);
            self.expire(now, limits.max_age, EXPIRED_PER_INSERT);
        }
        self.make_room(now, number, limits);
        if let Some(slot) = self.slot_mut(number) {
            // A late packet must not push out a newer one that has its slot.
            let newer = slot
                .as_ref()
                .is_some_and(|entry| gt16(entry.packet.header.sequence_number, number));
            if !newer {
                *slot = Some(Entry {
                    packet,
                    sent: now,
                    repeated: None,
                });
            }
        }
    }

    /// A packet that is held and not too old.
    pub(super) fn get_mut(
        &mut self,
        now: Instant,
        number: u16,
        age: Duration,
    ) -> Option<&mut Entry> {
        self.slot_mut(number)?.as_mut().filter(|entry| {
            entry.packet.header.sequence_number == number
                && now.saturating_duration_since(entry.sent) <= age
        })
    }

    /// Drops up to `count` packets, the oldest first, that are too old.
    fn expire(&mut self, now: Instant, age: Duration, count: usize) {
        let Some(newest) = self.newest else { return };
        if usize::from(newest.wrapping_sub(self.oldest)) > self.slots.len() {
            self.oldest = newest.wrapping_sub(self.slots.len() as u16);
        }
        for _ in 0..count {
            let oldest = self.oldest;
            if !gt16(newest, oldest) {
                return;
            }
            let Some(slot) = self.slot_mut(oldest) else {
                return;
            };
            match slot {
                Some(entry) if entry.packet.header.sequence_number == oldest => {
                    if now.saturating_duration_since(entry.sent) <= age {
                        return;
                    }
                    *slot = None;
                }
                _ => {}
            }
            self.oldest = oldest.wrapping_add(1);
        }
    }

    /// Drops everything when even the newest packet is too old; says when that will be otherwise.
    pub(super) fn expire_all(&mut self, now: Instant, age: Duration) -> Option<Instant> {
        let newest = self.newest?;
        let sent = self.slot_mut(newest)?.as_ref()?.sent;
        if now.saturating_duration_since(sent) > age {
            *self = Self::default();
            return None;
        }
        Some(sent + age + Duration::from_millis(1))
    }

    /// Makes the ring longer while it would lose a packet that is not too old.
    fn make_room(&mut self, now: Instant, number: u16, limits: Limits) {
        if self.slots.is_empty() {
            self.slots
                .resize_with(FIRST_LEN.min(limits.packets.next_power_of_two()), || None);
        }
        while self.slots.len() * 2 <= limits.packets.min(MAX_LEN) {
            let age = match self.slots.len() < FEW {
                true => limits.max_age,
                false => limits.min_age,
            };
            let young = self.slot_mut(number).and_then(|slot| slot.as_ref());
            let young = young.is_some_and(|entry| {
                entry.packet.header.sequence_number != number
                    && now.saturating_duration_since(entry.sent) <= age
            });
            if !young {
                return;
            }
            let length = self.slots.len() * 2;
            let old = std::mem::take(&mut self.slots);
            self.slots.resize_with(length, || None);
            for entry in old.into_iter().flatten() {
                let number = entry.packet.header.sequence_number;
                if let Some(slot) = self.slot_mut(number) {
                    *slot = Some(entry);
                }
            }
        }
    }

    fn slot_mut(&mut self, number: u16) -> Option<&mut Option<Entry>> {
        let mask = self.slots.len().checked_sub(1)?;
        self.slots.get_mut(usize::from(number) & mask)
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.slots.iter().flatten().count()
    }
}

const FIRST_LEN: usize = 64;
/// So many packets are kept for longer.
const FEW: usize = 512;
/// Half of the sequence numbers, so that they can be compared.
const MAX_LEN: usize = 1 << 15;
/// More than one, so that the number of packets that are too old falls.
const EXPIRED_PER_INSERT: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::instant;

    const LIMITS: Limits = Limits {
        packets: 1024,
        min_age: Duration::from_secs(1),
        max_age: Duration::from_secs(3),
    };

    fn packet(number: u16) -> Packet {
        let mut packet = Packet::default();
        packet.header.sequence_number = number;
        packet
    }

    #[test]
    fn packets_are_held_by_count_and_by_age_across_the_wrap() {
        let start = instant();
        let mut history = History::default();
        let number = |index: u32| (65_000u32 + index) as u16;
        for index in 0..3_000 {
            let now = start + Duration::from_micros(100) * index;
            history.insert(now, packet(number(index)), LIMITS);
        }
        // 300 ms have gone by: the count is the limit.
        let now = start + Duration::from_millis(300);
        assert_eq!(history.slots.len(), 1024);
        assert!(
            history
                .get_mut(now, number(2_999), LIMITS.max_age)
                .is_some()
        );
        assert!(
            history
                .get_mut(now, number(1_976), LIMITS.max_age)
                .is_some()
        );
        assert!(
            history
                .get_mut(now, number(1_975), LIMITS.max_age)
                .is_none()
        );

        let mut history = History::default();
        for index in 0..3_000 {
            let now = start + Duration::from_millis(10) * index;
            history.insert(now, packet(number(index)), LIMITS);
        }
        // Three seconds are three hundred packets.
        let now = start + Duration::from_millis(29_990);
        assert_eq!(history.slots.len(), 512);
        assert!(history.held() <= 302, "{}", history.held());
        assert!(
            history
                .get_mut(now, number(2_699), LIMITS.max_age)
                .is_some()
        );
        assert!(
            history
                .get_mut(now, number(2_698), LIMITS.max_age)
                .is_none()
        );
        let end = history.expire_all(now, LIMITS.max_age).unwrap();
        assert!(end > now + LIMITS.max_age);
        assert_eq!(history.expire_all(end, LIMITS.max_age), None);
        assert_eq!(history.held(), 0);

        let mut history = History::default();
        for index in 0..3_000 {
            let now = start + Duration::from_millis(2) * index;
            history.insert(now, packet(number(index)), LIMITS);
        }
        // Of many packets those of one second are sure to be there.
        let now = start + Duration::from_millis(5_998);
        assert_eq!(history.slots.len(), 512);
        assert!(
            history
                .get_mut(now, number(2_499), LIMITS.max_age)
                .is_some()
        );
        assert!(
            history
                .get_mut(now, number(2_487), LIMITS.max_age)
                .is_none()
        );
    }

    #[test]
    fn numbers_with_gaps_and_late_numbers_are_found() {
        let start = instant();
        let mut history = History::default();
        for number in [10, 500, 11, 2_000, 12, 499] {
            history.insert(start, packet(number), LIMITS);
        }
        for number in [2_000, 500, 499] {
            assert!(
                history.get_mut(start, number, LIMITS.max_age).is_some(),
                "{number}"
            );
        }
        assert!(history.get_mut(start, 501, LIMITS.max_age).is_none());
        // A jump over everything that is held.
        history.insert(start, packet(40_000), LIMITS);
        history.insert(start, packet(40_001), LIMITS);
        assert!(history.get_mut(start, 40_000, LIMITS.max_age).is_some());
    }
}
