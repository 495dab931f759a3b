use bytes::BytesMut;
use rtc_stun::{HEADER_LEN, message_len};
use thiserror::Error;

use crate::CHANNEL_NUMBERS;
use crate::wire::{CHANNEL_HEADER_LEN, padding};

/// Why a byte stream cannot be split. There is no way to find the next message, so the connection is
/// to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FramingError {
    /// What comes next is neither a STUN message nor ChannelData.
    #[error("stream holds neither STUN nor ChannelData")]
    Unrecognized,
    /// What comes next is longer than this side takes.
    #[error("message on the stream is too long")]
    TooLong,
}

/// Length in bytes, padding included, of the STUN message or ChannelData at the start of a byte stream
/// (RFC 8656 section 12.5); `Ok(None)` when more bytes are needed to tell.
///
/// # Errors
/// [`FramingError::Unrecognized`] as soon as that is certain, after at most 20 bytes.
pub fn frame_len(stream: &[u8]) -> Result<Option<usize>, FramingError> {
    match stream.first() {
        None => Ok(None),
        Some(0..=3) if stream.len() < HEADER_LEN => Ok(None),
        Some(0..=3) => message_len(stream)
            .map(Some)
            .ok_or(FramingError::Unrecognized),
        Some(0x40..=0x4f) => Ok(stream.first_chunk::<CHANNEL_HEADER_LEN>().map(|header| {
            let &[_, _, l0, l1] = header;
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            CHANNEL_HEADER_LEN + length + padding(length)
        })),
        Some(_) => Err(FramingError::Unrecognized),
    }
}

/// Splits what comes over TCP or TLS into STUN messages and ChannelData.
///
/// Feed with [`extend`](Self::extend), then take all of [`next_frame`](Self::next_frame). Between two
/// reads less than one message is held, and never more memory than what has really arrived.
#[derive(Debug)]
pub struct StreamSplitter {
    buffer: BytesMut,
    max_frame: usize,
    failed: Option<FramingError>,
}

impl Default for StreamSplitter {
    /// Takes messages of any length, which is at most 64 KiB and a header.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl StreamSplitter {
    /// A splitter that refuses messages of more than `max_frame` bytes.
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max_frame,
            failed: None,
        }
    }

    /// Takes what was read. Nothing is kept after an error.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next message, with its padding; `Ok(None)` when more has to be read.
    ///
    /// # Errors
    /// [`FramingError`], from then on always.
    pub fn next_frame(&mut self) -> Result<Option<BytesMut>, FramingError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let length = match frame_len(&self.buffer) {
            Ok(Some(length)) if length > self.max_frame => Err(FramingError::TooLong),
            other => other,
        };
        match length {
            Ok(Some(length)) if length <= self.buffer.len() => {
                let frame = self.buffer.split_to(length);
                if self.buffer.is_empty() {
                    // An idle connection holds no buffer.
                    self.buffer = BytesMut::new();
                }
                Ok(Some(frame))
            }
            Ok(_) => Ok(None),
            Err(error) => {
                self.failed = Some(error);
                self.buffer = BytesMut::new();
                Err(error)
            }
        }
    }

    /// How many bytes wait for the rest of their message.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }
}

const _: () = assert!(*CHANNEL_NUMBERS.start() == 0x4000 && *CHANNEL_NUMBERS.end() == 0x4fff);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc_stun::{Class, MessageBuilder, Method, TransactionId};

    use super::*;
    use crate::{Encapsulation, channel_data};

    fn stun(payload: &[u8]) -> Vec<u8> {
        let id = TransactionId([4; 12]);
        let message = MessageBuilder::new(Class::Indication, Method::SEND, id).data(payload);
        message.finish().to_vec()
    }

    fn channel(number: u16, payload: &[u8]) -> Vec<u8> {
        let form = Encapsulation::channel(number, true);
        let mut out = vec![0; form.prefix_len()];
        assert!(form.write_prefix(payload.len(), &mut out));
        out.extend_from_slice(payload);
        out.resize(form.wire_len(payload.len()), 0);
        out
    }

    #[test]
    fn a_stream_of_bytes_waits_until_a_message_is_whole() {
        let message = channel(0x4000, b"hello");
        assert_eq!(hex::encode(&message), "4000000568656c6c6f000000");
        let mut splitter = StreamSplitter::default();
        let (last, first) = message.split_last().unwrap();
        for byte in first {
            splitter.extend(&[*byte]);
            assert_eq!(splitter.next_frame(), Ok(None));
        }
        splitter.extend(&[*last]);
        assert_eq!(splitter.next_frame().unwrap().unwrap(), &message[..]);
        assert_eq!(splitter.next_frame(), Ok(None));
        assert_eq!(splitter.buffered(), 0);
    }

    #[test]
    fn what_is_neither_ends_the_stream() {
        for bad in [
            &b"\x80"[..],
            b"\x50\x00\x00\x01a",
            b"\x16\x03\x01",
            &[0; 20],
        ] {
            let mut splitter = StreamSplitter::default();
            splitter.extend(bad);
            assert_eq!(splitter.next_frame(), Err(FramingError::Unrecognized));
            splitter.extend(&stun(b"late"));
            assert_eq!(splitter.next_frame(), Err(FramingError::Unrecognized));
            assert_eq!(splitter.buffered(), 0);
        }
    }

    #[test]
    fn a_long_message_is_refused_by_its_header() {
        let mut splitter = StreamSplitter::new(2000);
        splitter.extend(&[0x40, 0, 0xff, 0xff]);
        assert_eq!(splitter.next_frame(), Err(FramingError::TooLong));

        let mut splitter = StreamSplitter::default();
        splitter.extend(&[0x40, 0, 0xff, 0xff]);
        assert_eq!(splitter.next_frame(), Ok(None));
        assert_eq!(splitter.buffered(), 4);
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            parts in prop::collection::vec(
                (any::<bool>(), 0x4000u16..=0x4fff, prop::collection::vec(any::<u8>(), 0..300)),
                0..12,
            ),
            cuts in prop::collection::vec(1usize..200, 1..20),
        ) {
            let messages: Vec<_> = parts
                .iter()
                .map(|(is_stun, number, payload)| match is_stun {
                    true => stun(payload),
                    false => channel(*number, payload),
                })
                .collect();
            let longest = messages.iter().map(Vec::len).max().unwrap_or(0);
            let stream = messages.concat();
            let mut rest = &stream[..];
            let mut splitter = StreamSplitter::default();
            let mut out = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                rest = after;
                splitter.extend(piece);
                while let Some(frame) = splitter.next_frame().unwrap() {
                    out.push(frame.to_vec());
                }
                prop_assert!(splitter.buffered() < longest.max(1));
            }
            prop_assert_eq!(&out, &messages);
            for ((is_stun, number, payload), frame) in parts.iter().zip(&out) {
                if !is_stun {
                    let (found, range) = channel_data(frame).unwrap();
                    prop_assert_eq!((found, &frame[range]), (*number, &payload[..]));
                }
            }
        }

        #[test]
        fn any_bytes_are_split_without_panic_and_within_the_bound(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..40),
            max_frame in 0usize..400,
        ) {
            let mut splitter = StreamSplitter::new(max_frame);
            for piece in pieces {
                splitter.extend(&piece);
                while let Ok(Some(frame)) = splitter.next_frame() {
                    prop_assert!(frame.len() <= max_frame);
                    prop_assert!(!frame.is_empty());
                }
                prop_assert!(splitter.buffered() <= max_frame.max(20));
            }
        }
    }
}
