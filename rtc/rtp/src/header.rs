use rtc_shared::Writer;

use crate::Extensions;

/// The header of a packet (RFC 3550 section 5.1). The version is always 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// How many bytes of padding follow the payload, their count included; 0 clears the P bit.
    pub padding: u8,
    /// Marks what the payload format says: the end of a frame of video, the begin of a talkspurt.
    pub marker: bool,
    /// The payload type, of 7 bits.
    pub payload_type: u8,
    /// Counts packets; wraps.
    pub sequence_number: u16,
    /// Sampling time of the payload in units of its clock; wraps.
    pub timestamp: u32,
    /// The source that sends.
    pub ssrc: u32,
    /// The sources that a mixer put together; beyond 15 they are not written.
    pub csrc: Vec<u32>,
    /// The header extension; none is written when it is empty.
    pub extensions: Extensions,
}

impl Header {
    /// Length in bytes on the wire, without payload and padding.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        FIXED_LEN + 4 * self.csrc.len().min(MAX_CSRC) + self.extensions.encoded_len()
    }

    /// Appends the header to `out`.
    pub fn write(&self, out: &mut impl Writer) {
        let csrc = self.csrc.get(..MAX_CSRC).unwrap_or(&self.csrc);
        let extension = !self.extensions.is_empty();
        out.put_u8(
            VERSION << 6
                | u8::from(self.padding > 0) << 5
                | u8::from(extension) << 4
                | csrc.len() as u8,
        );
        out.put_u8(u8::from(self.marker) << 7 | self.payload_type & 0x7f);
        out.put_u16(self.sequence_number);
        out.put_u32(self.timestamp);
        out.put_u32(self.ssrc);
        csrc.iter().for_each(|&csrc| out.put_u32(csrc));
        self.extensions.write(out);
    }
}

pub(crate) const VERSION: u8 = 2;
/// Length of the header up to the SSRC.
pub(crate) const FIXED_LEN: usize = 12;
const MAX_CSRC: usize = 15;
