use std::collections::VecDeque;

use bytes::BytesMut;

use crate::PayloadProtocolId;

/// Payloads that came on streams that have no channel yet.
///
/// A peer may send on an unordered channel as soon as its OPEN is sent, so that its messages can
/// overtake the OPEN; and on a negotiated channel before this side has made its end. The owner holds
/// such payloads here and hands them to the channel with [`take`](Self::take) once there is one.
///
/// What goes beyond the bounds is dropped and counted.
#[derive(Debug)]
pub struct PendingMessages {
    messages: VecDeque<(u16, PayloadProtocolId, BytesMut)>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
    dropped: u64,
}

const DEFAULT_MAX_MESSAGES: usize = 128;
const DEFAULT_MAX_BYTES: usize = 262_144;

impl Default for PendingMessages {
    /// At most 128 messages and 262144 bytes.
    fn default() -> Self {
        Self::new(DEFAULT_MAX_MESSAGES, DEFAULT_MAX_BYTES)
    }
}

impl PendingMessages {
    /// With bounds over all streams together. Takes no memory until something is held.
    pub fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            max_messages,
            max_bytes,
            dropped: 0,
        }
    }

    /// Holds a payload; says whether there was room for it.
    pub fn push(&mut self, stream_id: u16, ppid: PayloadProtocolId, payload: BytesMut) -> bool {
        let bytes = self.bytes.saturating_add(payload.len());
        let fits = self.messages.len() < self.max_messages && bytes <= self.max_bytes;
        if fits {
            self.bytes = bytes;
            self.messages.push_back((stream_id, ppid, payload));
        } else {
            self.dropped += 1;
        }
        fits
    }

    /// Takes the oldest payload of that stream. To be called until there is none.
    pub fn take(&mut self, stream_id: u16) -> Option<(PayloadProtocolId, BytesMut)> {
        let at = self.messages.iter().position(|(id, ..)| *id == stream_id)?;
        let (_, ppid, payload) = self.messages.remove(at)?;
        self.bytes = self.bytes.saturating_sub(payload.len());
        self.shrink();
        Some((ppid, payload))
    }

    /// Drops the payloads of a stream that was reset.
    pub fn discard(&mut self, stream_id: u16) {
        let before = self.messages.len();
        self.messages.retain(|(id, ..)| *id != stream_id);
        self.bytes = self
            .messages
            .iter()
            .map(|(.., payload)| payload.len())
            .sum();
        self.dropped = self
            .dropped
            .saturating_add((before - self.messages.len()) as u64);
        self.shrink();
    }

    /// How many payloads were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether none are held.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn shrink(&mut self) {
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(length: usize) -> BytesMut {
        BytesMut::zeroed(length)
    }

    #[test]
    fn a_stream_gets_its_payloads_in_their_order() {
        let mut pending = PendingMessages::default();
        for (stream, length) in [(1, 1), (3, 2), (1, 3), (3, 4), (1, 5)] {
            assert!(pending.push(stream, PayloadProtocolId::BINARY, payload(length)));
        }
        let lengths: Vec<_> = std::iter::from_fn(|| pending.take(1))
            .map(|(_, payload)| payload.len())
            .collect();
        assert_eq!(lengths, [1, 3, 5]);
        assert_eq!(pending.take(3).unwrap().1.len(), 2);
        pending.discard(3);
        assert!(pending.is_empty() && pending.bytes == 0);
        assert_eq!(pending.dropped(), 1);
    }

    #[test]
    fn messages_and_bytes_are_bounded() {
        let mut pending = PendingMessages::new(3, 10);
        assert!(pending.push(1, PayloadProtocolId::STRING, payload(6)));
        assert!(!pending.push(1, PayloadProtocolId::STRING, payload(5)));
        assert!(pending.push(2, PayloadProtocolId::STRING, payload(4)));
        assert!(pending.push(2, PayloadProtocolId::STRING, payload(0)));
        assert!(!pending.push(2, PayloadProtocolId::STRING, payload(0)));
        assert_eq!(pending.dropped(), 2);
        pending.take(1).unwrap();
        assert!(
            pending.push(1, PayloadProtocolId::STRING, payload(6)),
            "room is given back"
        );
    }
}
