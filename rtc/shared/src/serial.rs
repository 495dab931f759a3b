//! Serial number arithmetic (RFC 1982) for 16-bit and 32-bit counters that wrap.

/// True when `a` comes after `b`; false when equal.
#[must_use]
pub fn gt32(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// True when `a` comes after `b` or is equal.
#[must_use]
pub fn ge32(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) >= 0
}

/// True when `a` comes before `b`.
#[must_use]
pub fn lt32(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// True when `a` comes before `b` or is equal.
#[must_use]
pub fn le32(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) <= 0
}

/// True when `a` comes after `b`; false when equal.
#[must_use]
pub fn gt16(a: u16, b: u16) -> bool {
    (a.wrapping_sub(b) as i16) > 0
}

/// True when `a` comes after `b` or is equal.
#[must_use]
pub fn ge16(a: u16, b: u16) -> bool {
    (a.wrapping_sub(b) as i16) >= 0
}

/// Extends a 16-bit counter to 64 bits: the value nearest to `reference` whose low bits are `value`.
#[must_use]
pub fn extend16(reference: u64, value: u16) -> u64 {
    let delta = value.wrapping_sub(reference as u16) as i16;
    reference.saturating_add_signed(i64::from(delta))
}

/// Extends a 32-bit counter to 64 bits: the value nearest to `reference` whose low bits are `value`.
#[must_use]
pub fn extend32(reference: u64, value: u32) -> u64 {
    let delta = value.wrapping_sub(reference as u32) as i32;
    reference.saturating_add_signed(i64::from(delta))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_across_the_wrap() {
        assert!(gt32(0, u32::MAX) && lt32(u32::MAX, 0) && ge32(5, 5) && le32(5, 5));
        assert!(gt16(0, u16::MAX) && ge16(3, 3) && !gt16(3, 3));
    }

    #[test]
    fn extension_takes_the_nearest() {
        assert_eq!(extend16(0x1_fffe, 1), 0x2_0001);
        assert_eq!(extend16(0x2_0001, 0xffff), 0x1_ffff);
        assert_eq!(extend32(0x1_0000_0000, u32::MAX), 0xffff_ffff);
    }
}
