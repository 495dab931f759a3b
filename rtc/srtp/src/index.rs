//! Packet indices: the sequence number of 16 bits and the rollover counter of 32 above it.

/// Guesses the index of a packet from the highest index of its source (RFC 3711 section 3.3.1):
/// that of the three rollover counters which brings it nearest. `None` when the 48 bits are used up.
pub(crate) fn guess(highest: u64, sequence_number: u16) -> Option<u64> {
    let same_counter = highest & !0xffff | u64::from(sequence_number);
    let last = highest as u16;
    let index = if last < HALF && sequence_number > last + HALF {
        // There is nothing before the first rollover counter, so this is ahead, not behind.
        same_counter.checked_sub(ROLLOVER).unwrap_or(same_counter)
    } else if last >= HALF && sequence_number < last - HALF {
        same_counter + ROLLOVER
    } else {
        same_counter
    };
    (index < END).then_some(index)
}

const HALF: u16 = 1 << 15;
/// One step of the rollover counter.
pub(crate) const ROLLOVER: u64 = 1 << 16;
/// One above the highest index.
pub(crate) const END: u64 = 1 << 48;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_rollover_counter_is_taken() {
        assert_eq!(guess(5, 6), Some(6));
        assert_eq!(guess(0xffff, 0), Some(0x1_0000));
        assert_eq!(guess(0x1_0000, 0xffff), Some(0xffff));
        assert_eq!(guess(0x1_0003, 0xfffe), Some(0xfffe));
        assert_eq!(guess(0xfff0, 0x7ff0), Some(0x7ff0), "half a turn back");
        assert_eq!(guess(0xfff0, 0x7fef), Some(0x1_7fef));
        assert_eq!(guess(0x1_0000, 0x8000), Some(0x1_8000), "half a turn ahead");
        assert_eq!(guess(0x1_0000, 0x8001), Some(0x8001));
    }

    #[test]
    fn nothing_lies_before_index_0_nor_beyond_48_bits() {
        assert_eq!(guess(5, 0xfffa), Some(0xfffa));
        assert_eq!(guess(END - 1, 0xffff), Some(END - 1));
        assert_eq!(guess(END - 1, 0), None);
    }

    proptest! {
        #[test]
        fn any_index_within_half_a_turn_is_guessed_right(
            highest in 0x8000..END - 0x8000,
            distance in -0x7fff_i64..=0x7fff,
        ) {
            let index = highest.saturating_add_signed(distance);
            prop_assert_eq!(guess(highest, index as u16), Some(index));
        }
    }
}
