use bytes::BytesMut;

/// Appends big-endian values to a growing buffer.
///
/// Implemented for `Vec<u8>` and [`BytesMut`]; what is written grows with what the caller has, never
/// with a number from the network.
pub trait Writer {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);

    /// How many bytes the buffer holds.
    fn position(&self) -> usize;

    /// Overwrites bytes that were written before, at `at`. Out of range is ignored in release builds
    /// and a failed assertion in debug builds.
    fn patch(&mut self, at: usize, bytes: &[u8]);

    /// Appends an 8-bit value.
    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// Appends a 16-bit value.
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Appends the low 24 bits of a value.
    fn put_u24(&mut self, value: u32) {
        let [_, a, b, c] = value.to_be_bytes();
        self.put(&[a, b, c]);
    }

    /// Appends a 32-bit value.
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Appends the low 48 bits of a value.
    fn put_u48(&mut self, value: u64) {
        let [_, _, a, b, c, d, e, f] = value.to_be_bytes();
        self.put(&[a, b, c, d, e, f]);
    }

    /// Appends a 64-bit value.
    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    /// Appends `count` zero bytes.
    fn put_zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.put_u8(0);
        }
    }

    /// Writes `content` with its 8-bit length before it. Content beyond 255 bytes is a bug of the
    /// caller (debug assertion).
    fn put_vec8(&mut self, content: impl FnOnce(&mut Self))
    where
        Self: Sized,
    {
        let at = self.position();
        self.put_u8(0);
        content(self);
        let length = self.position() - at - 1;
        debug_assert!(length <= usize::from(u8::MAX));
        self.patch(at, &[length as u8]);
    }

    /// Writes `content` with its 16-bit length before it.
    fn put_vec16(&mut self, content: impl FnOnce(&mut Self))
    where
        Self: Sized,
    {
        let at = self.position();
        self.put_u16(0);
        content(self);
        let length = self.position() - at - 2;
        debug_assert!(length <= usize::from(u16::MAX));
        self.patch(at, &(length as u16).to_be_bytes());
    }

    /// Writes `content` with its 24-bit length before it.
    fn put_vec24(&mut self, content: impl FnOnce(&mut Self))
    where
        Self: Sized,
    {
        let at = self.position();
        self.put_u24(0);
        content(self);
        let length = self.position() - at - 3;
        debug_assert!(length < 1 << 24);
        let [_, a, b, c] = (length as u32).to_be_bytes();
        self.patch(at, &[a, b, c]);
    }
}

impl Writer for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn position(&self) -> usize {
        self.len()
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        patch_slice(self, at, bytes);
    }
}

impl Writer for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn position(&self) -> usize {
        self.len()
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        patch_slice(self, at, bytes);
    }
}

fn patch_slice(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    let target = at
        .checked_add(bytes.len())
        .and_then(|end| buffer.get_mut(at..end));
    debug_assert!(target.is_some(), "patch lies outside of what was written");
    if let Some(target) = target {
        target.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_patched_around_nested_content() {
        let mut out = Vec::new();
        out.put_vec16(|out| {
            out.put_u8(9);
            out.put_vec24(|out| out.put_vec8(|out| out.put(b"ab")));
        });
        assert_eq!(out, [0, 7, 9, 0, 0, 3, 2, b'a', b'b']);
    }
}
