use std::io::{Read, Write};

use super::read_header;
use crate::FileError;
use crate::bits::bit;

/// A page of an Ogg file (RFC 3533 section 6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// The first packet began on an earlier page.
    pub(crate) continued: bool,
    /// First page of its stream.
    pub(crate) begin: bool,
    /// Last page of its stream.
    pub(crate) end: bool,
    /// Position at the end of the last packet that ends on the page, −1 when none does.
    pub(crate) granule_position: i64,
    /// Which stream.
    pub(crate) serial: u32,
    pub(crate) sequence: u32,
    /// Length of each segment of the packets; a packet ends with one below 255.
    pub(crate) lacing: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Page {
    /// Reads the next page; `None` at the end.
    pub(crate) fn read(input: &mut impl Read) -> Result<Option<Self>, FileError> {
        let Some(header) = read_header::<HEADER_LEN>(input)? else {
            return Ok(None);
        };
        let [b'O', b'g', b'g', b'S', version, flags, fields @ .., count] = header else {
            return Err(FileError::Format);
        };
        if version != 0 {
            return Err(FileError::Malformed("version of the Ogg page"));
        }
        let [
            g0,
            g1,
            g2,
            g3,
            g4,
            g5,
            g6,
            g7,
            s0,
            s1,
            s2,
            s3,
            q0,
            q1,
            q2,
            q3,
            c0,
            c1,
            c2,
            c3,
        ] = fields;
        let mut page = Self {
            continued: flags & CONTINUED != 0,
            begin: flags & BEGIN != 0,
            end: flags & END != 0,
            granule_position: i64::from_le_bytes([g0, g1, g2, g3, g4, g5, g6, g7]),
            serial: u32::from_le_bytes([s0, s1, s2, s3]),
            sequence: u32::from_le_bytes([q0, q1, q2, q3]),
            lacing: vec![0; count.into()],
            body: Vec::new(),
        };
        input.read_exact(&mut page.lacing)?;
        page.body = vec![0; page.lacing.iter().map(|&length| usize::from(length)).sum()];
        input.read_exact(&mut page.body)?;
        let mut cleared = header;
        cleared
            .get_mut(CHECKSUM_AT..CHECKSUM_AT + 4)
            .unwrap_or_default()
            .fill(0);
        match page.checksum(&cleared) == u32::from_le_bytes([c0, c1, c2, c3]) {
            true => Ok(Some(page)),
            false => Err(FileError::Checksum),
        }
    }

    /// The parts of packets on the page, and whether each ends here.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let mut body = &self.body[..];
        let mut lacing = &self.lacing[..];
        std::iter::from_fn(move || {
            let last = lacing.iter().position(|&length| length < 255);
            let segments = last.map_or(lacing.len(), |last| last + 1);
            let (part, rest) = lacing
                .split_at_checked(segments)
                .filter(|(part, _)| !part.is_empty())?;
            lacing = rest;
            let length = part.iter().map(|&length| usize::from(length)).sum();
            let (part, rest) = body.split_at_checked(length)?;
            body = rest;
            Some((part, last.is_some()))
        })
    }

    /// Adds a packet that ends on the page; false when it does not fit.
    pub(crate) fn push(&mut self, packet: &[u8]) -> bool {
        let full = packet.len() / 255;
        if self.lacing.len() + full + 1 > MAX_SEGMENTS {
            return false;
        }
        self.lacing.resize(self.lacing.len() + full, 255);
        self.lacing.push((packet.len() % 255) as u8);
        self.body.extend_from_slice(packet);
        true
    }

    pub(crate) fn write(&self, output: &mut impl Write) -> Result<(), FileError> {
        output.write_all(&self.header(self.checksum(&self.header(0))))?;
        output.write_all(&self.lacing)?;
        output.write_all(&self.body)?;
        Ok(())
    }

    fn header(&self, checksum: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend(b"OggS\0");
        out.push(bit(self.continued, CONTINUED) | bit(self.begin, BEGIN) | bit(self.end, END));
        out.extend(self.granule_position.to_le_bytes());
        out.extend(self.serial.to_le_bytes());
        out.extend(self.sequence.to_le_bytes());
        out.extend(checksum.to_le_bytes());
        out.push(self.lacing.len() as u8);
        out
    }

    /// Over the page, in whose header the checksum is 0 meanwhile.
    fn checksum(&self, header: &[u8]) -> u32 {
        [header, &self.lacing, &self.body].into_iter().fold(0, crc)
    }
}

/// CRC of polynomial 0x04c11db7, bits from the most significant on (RFC 3533 section 6).
fn crc(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |crc, &byte| {
        let index = (crc >> 24) as u8 ^ byte;
        crc << 8
            ^ CRC_TABLE
                .get(usize::from(index))
                .copied()
                .unwrap_or_default()
    })
}

#[expect(
    clippy::indexing_slicing,
    reason = "the index is below the length, and the table is made at compile time"
)]
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            let carry = value & 0x8000_0000 != 0;
            value = value << 1 ^ if carry { 0x04c1_1db7 } else { 0 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

const HEADER_LEN: usize = 27;
const CHECKSUM_AT: usize = 22;
const MAX_SEGMENTS: usize = 255;
const CONTINUED: u8 = 1;
const BEGIN: u8 = 2;
const END: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pages_are_read_as_they_were_written(
            flags: (bool, bool, bool),
            numbers: (i64, u32, u32),
            packets in vec(vec(any::<u8>(), 0..600), 0..9),
        ) {
            let mut page = Page {
                continued: flags.0,
                begin: flags.1,
                end: flags.2,
                granule_position: numbers.0,
                serial: numbers.1,
                sequence: numbers.2,
                ..Page::default()
            };
            prop_assert!(packets.iter().all(|packet| page.push(packet)));
            let mut file = Vec::new();
            page.write(&mut file).unwrap();
            let read = Page::read(&mut &file[..]).unwrap().unwrap();
            prop_assert_eq!(&read, &page);
            let parts: Vec<_> = read.parts().map(|(part, ends)| (part.to_vec(), ends)).collect();
            let expected: Vec<_> = packets.into_iter().map(|packet| (packet, true)).collect();
            prop_assert_eq!(parts, expected);
        }

        #[test]
        fn a_changed_bit_is_found(packet in vec(any::<u8>(), 0..300), at: prop::sample::Index, bit in 0..8) {
            let mut page = Page::default();
            page.push(&packet);
            let mut file = Vec::new();
            page.write(&mut file).unwrap();
            let at = at.index(file.len());
            file[at] ^= 1_u8 << bit;
            prop_assert!(Page::read(&mut &file[..]).is_err());
        }
    }

    #[test]
    fn a_page_holds_what_its_segments_can() {
        let mut page = Page::default();
        assert!(page.push(&[0; 254 * 255]));
        assert!(!page.push(&[]));
        let mut page = Page::default();
        assert!(!page.push(&[0; 255 * 255]));
    }
}
