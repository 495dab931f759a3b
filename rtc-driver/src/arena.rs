use bytes::BytesMut;

/// Memory for received datagrams, used again as soon as nobody holds a part of it.
///
/// A payload that waits to be read keeps its whole piece, so pieces come in sizes: a small datagram
/// never keeps more than twice its length and [`SMALLEST`].
#[derive(Debug, Default)]
pub(crate) struct Arenas {
    by_size: [BytesMut; SIZES],
    /// Larger ones, which are rare, are not used again.
    odd: BytesMut,
}

impl Arenas {
    /// An empty piece with room for `size` bytes. What is [split](BytesMut::split) off it shares its
    /// memory.
    pub(crate) fn with_room(&mut self, size: usize) -> &mut BytesMut {
        let class = size.max(SMALLEST).next_power_of_two();
        let index = (class / SMALLEST).trailing_zeros() as usize;
        let Some(arena) = self.by_size.get_mut(index) else {
            self.odd = BytesMut::with_capacity(size);
            return &mut self.odd;
        };
        if !arena.try_reclaim(size) {
            *arena = BytesMut::with_capacity(class);
        }
        arena
    }
}

/// Bytes of the smallest piece.
const SMALLEST: usize = 512;

/// 512 bytes to 128 KiB, which holds a batch.
const SIZES: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_once_it_is_free() {
        let mut arenas = Arenas::default();
        let mut take = |size: usize| {
            let arena = arenas.with_room(size);
            arena.resize(size, 1);
            arena.split()
        };
        let first = take(1000);
        let place = first.as_ptr();
        drop(first);
        let again = take(900);
        assert_eq!(again.as_ptr(), place);
        let other = take(900);
        assert_ne!(other.as_ptr(), place);
        assert_eq!(again, other);
    }

    #[test]
    fn a_small_datagram_keeps_little() {
        let mut arenas = Arenas::default();
        drop(arenas.with_room(100_000).split());
        for size in [1, 511, 513, 1200, 131_073, 1_000_000, 70_000, 131_072] {
            let capacity = arenas.with_room(size).capacity();
            assert!(
                capacity >= size && capacity <= (2 * size).max(SMALLEST),
                "{size}: {capacity}"
            );
        }
    }
}
