use thiserror::Error;

/// The input ended before the value did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("input ends early")]
pub struct Truncated;

/// Reads big-endian values from a slice; every read is checked, none panics.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `input`.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Self {
        Self {
            rest: input,
            length: input.len(),
        }
    }

    /// Takes the next `count` bytes.
    ///
    /// # Errors
    /// [`Truncated`] when fewer are left; nothing is consumed then.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Truncated> {
        let (head, tail) = self.rest.split_at_checked(count).ok_or(Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Truncated`] when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    /// Takes everything that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Splits off a reader over the next `count` bytes.
    ///
    /// # Errors
    /// [`Truncated`] when fewer are left.
    pub fn sub(&mut self, count: usize) -> Result<Self, Truncated> {
        self.take(count).map(Self::new)
    }

    /// Skips `count` bytes.
    ///
    /// # Errors
    /// [`Truncated`] when fewer are left.
    pub fn skip(&mut self, count: usize) -> Result<(), Truncated> {
        self.take(count).map(drop)
    }

    /// Reads an 8-bit value.
    ///
    /// # Errors
    /// [`Truncated`] at the end of the input, as for every read below.
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    /// Reads a 16-bit value.
    ///
    /// # Errors
    /// [`Truncated`]
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads a 24-bit value.
    ///
    /// # Errors
    /// [`Truncated`]
    pub fn u24(&mut self) -> Result<u32, Truncated> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// Reads a 32-bit value.
    ///
    /// # Errors
    /// [`Truncated`]
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads a 48-bit value.
    ///
    /// # Errors
    /// [`Truncated`]
    pub fn u48(&mut self) -> Result<u64, Truncated> {
        let [a, b, c, d, e, f] = self.array()?;
        Ok(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// Reads a 64-bit value.
    ///
    /// # Errors
    /// [`Truncated`]
    pub fn u64(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads a byte string with an 8-bit length before it.
    ///
    /// # Errors
    /// [`Truncated`]; the position is undefined then.
    pub fn vec8(&mut self) -> Result<&'a [u8], Truncated> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// Reads a byte string with a 16-bit length before it.
    ///
    /// # Errors
    /// [`Truncated`]; the position is undefined then.
    pub fn vec16(&mut self) -> Result<&'a [u8], Truncated> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// Reads a byte string with a 24-bit length before it.
    ///
    /// # Errors
    /// [`Truncated`]; the position is undefined then.
    pub fn vec24(&mut self) -> Result<&'a [u8], Truncated> {
        let length = self.u24()?;
        self.take(length as usize)
    }

    /// What is left, without consuming it.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// True at the end of the input.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes have been consumed.
    #[must_use]
    pub fn position(&self) -> usize {
        self.length - self.rest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_big_endian_and_position_advances() {
        let input = [1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 10, 11];
        let mut reader = Reader::new(&input);
        assert_eq!(reader.u24(), Ok(0x01_0203));
        assert_eq!(reader.u48(), Ok(0x0405_0607_0809));
        assert_eq!(reader.vec8(), Ok(&[10, 11][..]));
        assert_eq!(reader.position(), 12);
        assert!(reader.is_empty());
    }

    #[test]
    fn a_short_read_consumes_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), Err(Truncated));
        assert_eq!(reader.take(4), Err(Truncated));
        assert_eq!(reader.len(), 3);
        assert_eq!(reader.take_rest(), &[1, 2, 3]);
    }
}
