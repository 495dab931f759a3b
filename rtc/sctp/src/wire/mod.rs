//! The wire format: packets, chunks and parameters (RFC 9260 §3 and its extensions).
//!
//! Everything here borrows from the packet and copies nothing. Lists that hang on a chunk (gap
//! blocks, stream numbers, parameters) stay raw bytes whose bounds were checked, with iterators
//! over them.
//!
//! ```
//! use rtc_sctp::wire::{Chunk, Chunks, Header};
//!
//! let packet = [
//!     0x13, 0x88, 0x13, 0x88, 0x08, 0xbf, 0x37, 0x2c, 0x2e, 0x94, 0xc5, 0x94, 0x0b, 0, 0, 4,
//! ];
//! let header = Header::parse(&packet).unwrap();
//! assert_eq!(header.checksum, rtc_sctp::wire::checksum(&packet));
//! let chunks: Vec<_> = Chunks::of_packet(&packet).map(|raw| Chunk::parse(raw?)).collect();
//! assert_eq!(chunks, [Ok(Chunk::CookieAck)]);
//! ```

mod chunk;
mod param;

pub use chunk::{
    Chunk, Data, ForwardTsn, IData, IForwardTsn, IForwardTsnEntry, Init, Sack, kind, padded,
};
pub use param::{
    Capabilities, Causes, Parameter, Parameters, Reconfig, ReconfigParameter, StreamList, cause,
    put_cause, put_parameter, reset_result,
};

use rtc_shared::Writer;
use thiserror::Error;

/// Bytes of the common header.
pub const HEADER_LEN: usize = 12;
/// Bytes of a chunk header.
pub const CHUNK_HEADER_LEN: usize = 4;
/// Bytes of a DATA chunk before its payload.
pub const DATA_HEADER_LEN: usize = 16;

/// What is wrong with a packet or chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The packet ends before the common header does.
    #[error("packet is shorter than a header")]
    Header,
    /// A length field is below its minimum or beyond what arrived.
    #[error("length field does not fit")]
    Length,
    /// A value is not one that may be there.
    #[error("value is not allowed")]
    Value,
}

impl From<rtc_shared::Truncated> for ParseError {
    fn from(_: rtc_shared::Truncated) -> Self {
        Self::Length
    }
}

/// The common header (RFC 9260 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// Verification tag: the one that the receiver chose.
    pub verification_tag: u32,
    /// CRC32c as computed by [`checksum`] (the wire has it in little-endian order), or 0.
    pub checksum: u32,
}

impl Header {
    /// Reads the header of a packet.
    ///
    /// # Errors
    /// [`ParseError::Header`] when it is too short.
    pub fn parse(packet: &[u8]) -> Result<Self, ParseError> {
        let Some(&[s0, s1, d0, d1, t0, t1, t2, t3, c0, c1, c2, c3]) = packet.first_chunk::<12>()
        else {
            return Err(ParseError::Header);
        };
        Ok(Self {
            source_port: u16::from_be_bytes([s0, s1]),
            destination_port: u16::from_be_bytes([d0, d1]),
            verification_tag: u32::from_be_bytes([t0, t1, t2, t3]),
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
        })
    }

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let [t0, t1, t2, t3] = self.verification_tag.to_be_bytes();
        let [c0, c1, c2, c3] = self.checksum.to_le_bytes();
        out.extend_from_slice(&[s0, s1, d0, d1, t0, t1, t2, t3, c0, c1, c2, c3]);
    }
}

/// CRC32c of a packet, its checksum field taken as zero (RFC 9260 appendix A). 0 for a packet
/// shorter than a header.
#[must_use]
pub fn checksum(packet: &[u8]) -> u32 {
    let (Some((before, _)), Some((_, after))) = (
        packet.split_at_checked(8),
        packet.split_at_checked(HEADER_LEN),
    ) else {
        return 0;
    };
    let crc = crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]);
    crc32c::crc32c_append(crc, after)
}

/// Writes the checksum into the packet that starts at `start` of `out`.
pub fn seal(out: &mut Vec<u8>, start: usize) {
    if let Some(packet) = out.get(start..) {
        let crc = checksum(packet);
        out.patch(start + 8, &crc.to_le_bytes());
    }
}

/// A chunk whose bounds are known and whose value is not yet looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawChunk<'a> {
    /// Chunk type, see [`kind`].
    pub kind: u8,
    /// Chunk flags.
    pub flags: u8,
    /// What follows the 4-byte header, without padding.
    pub value: &'a [u8],
}

impl<'a> RawChunk<'a> {
    /// Takes the first chunk off `input` and returns it with what follows its padding. Padding
    /// that is missing at the end is forgiven.
    ///
    /// # Errors
    /// [`ParseError::Length`] when the length field is below 4 or beyond `input`.
    pub fn split(input: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let Some((&[kind, flags, high, low], _)) = input.split_first_chunk::<4>() else {
            return Err(ParseError::Length);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = input
            .get(CHUNK_HEADER_LEN..length)
            .ok_or(ParseError::Length)?;
        let rest = input.get(padded(length)..).unwrap_or_default();
        Ok((Self { kind, flags, value }, rest))
    }
}

/// The chunks of a packet in order; ends after the first malformed one.
#[derive(Clone, Copy, Debug)]
pub struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    /// The chunks that follow the common header of `packet`.
    #[must_use]
    pub fn of_packet(packet: &'a [u8]) -> Self {
        Self {
            rest: packet.get(HEADER_LEN..).unwrap_or_default(),
        }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<RawChunk<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match RawChunk::split(self.rest) {
            Ok((chunk, rest)) => {
                self.rest = rest;
                Some(Ok(chunk))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
