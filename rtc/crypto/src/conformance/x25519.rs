//! A second opinion on X25519.

/// Scalar multiplication of RFC 7748 section 5, slow and not in constant time, written to be checked
/// against its text and for public test values alone.
pub(super) fn x25519(scalar: &[u8; 32], point: &[u8; 32]) -> [u8; 32] {
    let mut scalar = *scalar;
    let [first, .., last] = &mut scalar;
    *first &= 0xf8;
    *last = *last & 0x7f | 0x40;
    let x1 = Field::from_bytes(point);
    let (mut x2, mut z2, mut x3, mut z3) = (Field::ONE, Field::ZERO, x1, Field::ONE);
    let bits = scalar
        .iter()
        .rev()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    for bit in bits {
        if bit == 1 {
            (x2, x3, z2, z3) = (x3, x2, z3, z2);
        }
        let (a, b) = (x2.add(z2), x2.sub(z2));
        let (aa, bb) = (a.mul(a), b.mul(b));
        let e = aa.sub(bb);
        let (da, cb) = (x3.sub(z3).mul(a), x3.add(z3).mul(b));
        let (sum, difference) = (da.add(cb), da.sub(cb));
        x3 = sum.mul(sum);
        z3 = x1.mul(difference.mul(difference));
        x2 = aa.mul(bb);
        z2 = e.mul(aa.add(Field::A24.mul(e)));
        if bit == 1 {
            (x2, x3, z2, z3) = (x3, x2, z3, z2);
        }
    }
    x2.mul(z2.invert()).to_bytes()
}

/// An integer modulo 2^255 - 19 in five digits of 51 bits, the lowest first.
#[derive(Clone, Copy)]
struct Field([u64; 5]);

impl Field {
    const ZERO: Self = Self([0; 5]);
    const ONE: Self = Self([1, 0, 0, 0, 0]);
    /// (486662 - 2) / 4.
    const A24: Self = Self([121_665, 0, 0, 0, 0]);
    const DIGIT: u64 = (1 << 51) - 1;

    fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(std::array::from_fn(|digit| {
            let bits = (0..51).map(|bit| digit * 51 + bit);
            bits.rev().fold(0, |value, bit| {
                let byte = bytes.get(bit / 8).copied().unwrap_or(0);
                value << 1 | u64::from(byte >> (bit % 8) & 1)
            })
        }))
    }

    fn to_bytes(self) -> [u8; 32] {
        // Below 2^255 after the carries, and at most one subtraction away from the lowest value.
        let mut value = self.carry().carry();
        let mut carry = 19;
        let mut reduced = Self::ZERO;
        for (to, from) in reduced.0.iter_mut().zip(value.0) {
            *to = (from + carry) & Self::DIGIT;
            carry = (from + carry) >> 51;
        }
        if carry > 0 {
            value = reduced;
        }
        std::array::from_fn(|byte| {
            let bits = (0..8).map(|bit| byte * 8 + bit);
            bits.rev().fold(0, |sum, bit| {
                sum << 1 | (value.digit(bit / 51) >> (bit % 51) & 1) as u8
            })
        })
    }

    fn digit(self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    fn carry(self) -> Self {
        let mut carry = 0;
        let mut digits = self.0;
        for digit in &mut digits {
            let sum = *digit + carry;
            *digit = sum & Self::DIGIT;
            carry = sum >> 51;
        }
        let [first, ..] = &mut digits;
        *first += 19 * carry;
        Self(digits)
    }

    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|index| {
            self.digit(index) + other.digit(index)
        }))
        .carry()
    }

    /// Adds four times the modulus first, so that no digit goes below zero.
    fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|index| {
            let zero = if index == 0 {
                4 * (Self::DIGIT - 18)
            } else {
                4 * Self::DIGIT
            };
            self.digit(index) + zero - other.digit(index)
        }))
        .carry()
    }

    fn mul(self, other: Self) -> Self {
        let mut sums = [0u128; 5];
        for (i, &a) in self.0.iter().enumerate() {
            for (j, &b) in other.0.iter().enumerate() {
                // 2^255 is 19.
                let fold = if i + j < 5 { 1 } else { 19 };
                if let Some(sum) = sums.get_mut((i + j) % 5) {
                    *sum += u128::from(a) * u128::from(b) * fold;
                }
            }
        }
        let mut carry = 0;
        let mut digits = [0; 5];
        for (digit, sum) in digits.iter_mut().zip(sums) {
            *digit = ((sum + carry) & u128::from(Self::DIGIT)) as u64;
            carry = (sum + carry) >> 51;
        }
        // The last carry is below 2^60: it enters the lowest digits in two steps.
        let low = u128::from(Self(digits).digit(0)) + carry * 19;
        let [first, second, ..] = &mut digits;
        *first = (low & u128::from(Self::DIGIT)) as u64;
        *second += (low >> 51) as u64;
        Self(digits)
    }

    /// The power p - 2, 2^255 - 21: all bits are one but those of value 4 and 16.
    fn invert(self) -> Self {
        (0..255).rev().fold(Self::ONE, |power, bit| {
            let square = power.mul(power);
            if bit == 2 || bit == 4 {
                square
            } else {
                square.mul(self)
            }
        })
    }
}

/// The X coordinate of the base point.
pub(super) const BASE: [u8; 32] = {
    let mut base = [0; 32];
    let [first, ..] = &mut base;
    *first = 9;
    base
};

/// Alice's private key of RFC 7748 section 6.1.
pub(super) const ALICE_PRIVATE: [u8; 32] = [
    0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
    0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn array(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn rfc_7748_section_6_1() {
        let bob_private = array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let alice = x25519(&ALICE_PRIVATE, &BASE);
        let bob = x25519(&bob_private, &BASE);
        assert_eq!(
            alice,
            array("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        );
        assert_eq!(
            bob,
            array("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        );
        let secret = array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(x25519(&ALICE_PRIVATE, &bob), secret);
        assert_eq!(x25519(&bob_private, &alice), secret);
    }

    /// The value after one step is the RFC's, that after a hundred OpenSSL's.
    #[test]
    fn rfc_7748_section_5_2_iterated() {
        let (mut k, mut u) = (BASE, BASE);
        for step in 1..=100 {
            (k, u) = (x25519(&k, &u), k);
            let expected = match step {
                1 => "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
                100 => "b1a5a73158904c020866c13939dd7e1aa26852ee1d2609c92e5a8f1debe2150a",
                _ => continue,
            };
            assert_eq!(k, array(expected));
        }
    }
}
