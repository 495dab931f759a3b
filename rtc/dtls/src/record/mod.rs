//! The record layer (RFC 6347 section 4.1): what is common to all versions.

pub(crate) mod v12;

use rtc_shared::{Reader, Truncated};

/// The header of a plaintext or version 1.2 record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) content_type: u8,
    pub(crate) version: u16,
    pub(crate) epoch: u16,
    pub(crate) sequence: u64,
    /// Bytes that follow the header.
    pub(crate) length: u16,
}

impl RecordHeader {
    pub(crate) fn parse(input: &[u8]) -> Result<Self, Truncated> {
        let mut reader = Reader::new(input);
        Ok(Self {
            content_type: reader.u8()?,
            version: reader.u16()?,
            epoch: reader.u16()?,
            sequence: reader.u48()?,
            length: reader.u16()?,
        })
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [v0, v1] = self.version.to_be_bytes();
        let [_, _, s0, s1, s2, s3, s4, s5] = self.sequence.to_be_bytes();
        let [e0, e1] = self.epoch.to_be_bytes();
        let [l0, l1] = self.length.to_be_bytes();
        [
            self.content_type,
            v0,
            v1,
            e0,
            e1,
            s0,
            s1,
            s2,
            s3,
            s4,
            s5,
            l0,
            l1,
        ]
    }

    /// Epoch and sequence number as the one 64-bit number that goes into nonces.
    pub(crate) fn number(self) -> [u8; 8] {
        (u64::from(self.epoch) << 48 | self.sequence & MAX_SEQUENCE).to_be_bytes()
    }
}

pub(crate) const HEADER_LEN: usize = 13;

/// Longest plaintext of a record (RFC 5246 section 6.2.1).
pub(crate) const MAX_PLAINTEXT: usize = 1 << 14;

/// Longest protected record (RFC 5246 section 6.2.3).
pub(crate) const MAX_CIPHERTEXT: usize = MAX_PLAINTEXT + 2048;

pub(crate) const MAX_SEQUENCE: u64 = (1 << 48) - 1;

pub(crate) const VERSION_1_0: u16 = 0xfeff;
pub(crate) const VERSION_1_2: u16 = 0xfefd;

pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_reads_as_it_was_written(
            content_type: u8, version: u16, epoch: u16, sequence in 0..=MAX_SEQUENCE, length: u16,
        ) {
            let header = RecordHeader { content_type, version, epoch, sequence, length };
            prop_assert_eq!(RecordHeader::parse(&header.to_bytes()), Ok(header));
            prop_assert_eq!(&header.number()[..], &header.to_bytes()[3..11]);
        }
    }

    #[test]
    fn twelve_bytes_are_no_header() {
        assert_eq!(RecordHeader::parse(&[22; 12]), Err(Truncated));
    }
}
