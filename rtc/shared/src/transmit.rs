use crate::TransportContext;

/// Describes the datagrams that a batched poll appended to the caller's buffer.
///
/// The bytes themselves are in that buffer; this only says where they go and where each datagram ends.
#[must_use = "the datagrams are in the buffer and have to be sent"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Path and ECN mark of every datagram of the batch.
    pub transport: TransportContext,
    /// Total size of the batch in bytes.
    pub size: usize,
    /// Size of each datagram but the last, which may be shorter; `None` when there is only one.
    pub segment_size: Option<usize>,
}

impl Transmit {
    /// How many datagrams the batch holds.
    #[must_use]
    pub fn datagrams(&self) -> usize {
        match self.segment_size {
            Some(segment) if segment > 0 => self.size.div_ceil(segment),
            _ => 1,
        }
    }
}
