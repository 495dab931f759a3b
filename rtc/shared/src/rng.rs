use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};

/// A seeded, cryptographically strong random generator.
///
/// Every random choice of the core comes from one of these, so that one seed gives one run.
/// [`fork`](Self::fork) gives each part a generator of its own.
#[derive(Debug)]
pub struct Rng(StdRng);

impl Rng {
    /// A generator whose whole output follows from `seed`.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(StdRng::from_seed(seed))
    }

    /// Splits off an independent generator.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.array())
    }

    /// Fills a buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        self.0.fill_bytes(buffer);
    }

    /// `N` random bytes.
    #[must_use]
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A random 16-bit value.
    #[must_use]
    pub fn u16(&mut self) -> u16 {
        self.u32() as u16
    }

    /// A random 32-bit value.
    #[must_use]
    pub fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A random 64-bit value.
    #[must_use]
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A value in `0..bound`, without bias beyond 2^-32; 0 for a bound of 0.
    #[must_use]
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u32
    }

    /// A value in `0.0..1.0`.
    #[must_use]
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A random string of `length` characters of `alphabet` (empty for an empty alphabet).
    #[must_use]
    pub fn string(&mut self, alphabet: &[u8], length: usize) -> String {
        let size = alphabet.len() as u32;
        (0..length)
            .filter_map(|_| alphabet.get(self.below(size) as usize))
            .map(|&character| char::from(character))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_run_and_forks_differ() {
        let mut a = Rng::from_seed([7; 32]);
        let mut b = Rng::from_seed([7; 32]);
        assert_eq!(a.u64(), b.u64());
        let (mut fork_a, mut fork_b) = (a.fork(), b.fork());
        assert_eq!(fork_a.array::<16>(), fork_b.array::<16>());
        assert_ne!(a.u64(), fork_a.u64());
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::from_seed([1; 32]);
        assert_eq!(rng.below(0), 0);
        assert!((0..1000).all(|_| rng.below(10) < 10));
        assert!((0..1000).all(|_| (0.0..1.0).contains(&rng.unit())));
    }
}
