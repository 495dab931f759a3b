use rtc_shared::{Reader, Truncated};

use crate::header::{FIXED_LEN, VERSION};
use crate::{Elements, ExtensionForm, Extensions, Header, ParseError};

/// A header read where it lies, without an allocation.
///
/// Payload and padding are not looked at, so that it works on an encrypted packet too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderView<'a> {
    fixed: &'a [u8; FIXED_LEN],
    csrc: &'a [u8],
    extension: Option<(ExtensionForm, &'a [u8])>,
    header_len: usize,
}

impl<'a> HeaderView<'a> {
    /// Reads the header at the start of `datagram`.
    ///
    /// # Errors
    /// [`ParseError::Version`] and [`ParseError::Truncated`].
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let (fixed, rest) = datagram
            .split_first_chunk::<FIXED_LEN>()
            .ok_or(ParseError::Truncated)?;
        let [first, ..] = *fixed;
        if first >> 6 != VERSION {
            return Err(ParseError::Version);
        }
        let truncated = |_: Truncated| ParseError::Truncated;
        let mut reader = Reader::new(rest);
        let csrc = reader
            .take(4 * usize::from(first & 0x0f))
            .map_err(truncated)?;
        let extension = match first & 0x10 != 0 {
            true => {
                let profile = reader.u16().map_err(truncated)?;
                let words = reader.u16().map_err(truncated)?;
                let block = reader.take(4 * usize::from(words)).map_err(truncated)?;
                Some((ExtensionForm::from_profile(profile), block))
            }
            false => None,
        };
        Ok(Self {
            fixed,
            csrc,
            extension,
            header_len: FIXED_LEN + reader.position(),
        })
    }

    /// Length of the header in bytes, extension included.
    #[must_use]
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// The P bit: padding follows the payload.
    #[must_use]
    pub fn has_padding(&self) -> bool {
        let [first, ..] = *self.fixed;
        first & 0x20 != 0
    }

    /// The M bit.
    #[must_use]
    pub fn marker(&self) -> bool {
        let [_, second, ..] = *self.fixed;
        second & 0x80 != 0
    }

    /// The payload type, of 7 bits.
    #[must_use]
    pub fn payload_type(&self) -> u8 {
        let [_, second, ..] = *self.fixed;
        second & 0x7f
    }

    /// The sequence number.
    #[must_use]
    pub fn sequence_number(&self) -> u16 {
        let [_, _, a, b, ..] = *self.fixed;
        u16::from_be_bytes([a, b])
    }

    /// The timestamp in units of the payload's clock.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        let [_, _, _, _, a, b, c, d, ..] = *self.fixed;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The source that sends.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        let [.., a, b, c, d] = *self.fixed;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The contributing sources.
    pub fn csrc(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        let (words, _) = self.csrc.as_chunks::<4>();
        words.iter().map(|&word| u32::from_be_bytes(word))
    }

    /// The value of the first extension element with this identifier.
    #[must_use]
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        self.extensions()
            .find(|&(found, _)| found == id)
            .map(|(_, value)| value)
    }

    /// Identifier and value of all extension elements; malformed ones and what follows are skipped.
    #[must_use]
    pub fn extensions(&self) -> Elements<'a> {
        match self.extension {
            Some((form, block)) => Elements::new(form, block),
            None => Elements::default(),
        }
    }

    /// Copies the header. The padding is left at 0, since its count is not part of the header.
    #[must_use]
    pub fn to_header(&self) -> Header {
        Header {
            padding: 0,
            marker: self.marker(),
            payload_type: self.payload_type(),
            sequence_number: self.sequence_number(),
            timestamp: self.timestamp(),
            ssrc: self.ssrc(),
            csrc: self.csrc().collect(),
            extensions: match self.extension {
                Some((form, block)) => Extensions::from_block(form, block),
                None => Extensions::default(),
            },
        }
    }
}
