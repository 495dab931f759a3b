//! Payloads that are the frame itself: G.711 and G.722 (RFC 3551 section 4.5), and the part that Opus
//! and telephone events share with them.

use std::time::Duration;

use bytes::Bytes;

use super::{Depacketizer, Frame, Layer, Packetizer, Payload, PayloadInfo};
use crate::{DepacketizeError, PacketizeError};

/// How a payload and its frame are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    /// Samples of one byte each, 8000 in a second: they can be divided anywhere.
    Samples,
    /// Packets that tell how long they last (RFC 7587).
    Opus,
    /// Events of four bytes each (RFC 4733).
    Events,
}

/// Packs audio whose payload is the frame itself. The M bit is set after a silence, which is an empty
/// frame (RFC 3551 section 4.1).
#[derive(Clone, Debug)]
pub struct AudioPacketizer {
    whole: Whole,
    silent: bool,
}

impl AudioPacketizer {
    /// For Opus; a frame is an Opus packet of up to 120 ms.
    #[must_use]
    pub fn opus() -> Self {
        Self::new(Whole::Opus)
    }

    /// For G.711 and G.722; a frame larger than a payload is divided.
    #[must_use]
    pub fn samples() -> Self {
        Self::new(Whole::Samples)
    }

    /// For telephone events; a frame is what [`TelephoneEvent`](crate::TelephoneEvent) writes.
    #[must_use]
    pub fn telephone_event() -> Self {
        Self::new(Whole::Events)
    }

    fn new(whole: Whole) -> Self {
        Self {
            whole,
            silent: false,
        }
    }
}

impl Packetizer for AudioPacketizer {
    fn packetize_layer(
        &mut self,
        frame: &Bytes,
        _: &Layer,
        max_payload: usize,
        payloads: &mut Vec<Payload>,
    ) -> Result<(), PacketizeError> {
        if frame.is_empty() {
            self.silent = true;
            return Ok(());
        }
        if max_payload == 0 {
            return Err(PacketizeError::PayloadSize);
        }
        if frame.len() > max_payload && self.whole != Whole::Samples {
            return Err(PacketizeError::TooLarge);
        }
        if self.whole == Whole::Events && !frame.len().is_multiple_of(4) {
            return Err(PacketizeError::Malformed("events have four bytes each"));
        }
        let mut rest = frame.clone();
        while !rest.is_empty() {
            payloads.push(Payload {
                // A byte lasts as long as a unit of the timestamp.
                timestamp_offset: (frame.len() - rest.len()) as u32,
                data: rest.split_to(max_payload.min(rest.len())),
                marker: std::mem::take(&mut self.silent),
            });
        }
        Ok(())
    }
}

/// Unpacks audio whose payload is the frame itself.
#[derive(Clone, Debug)]
pub struct AudioDepacketizer {
    whole: Whole,
    max_frame: usize,
    frame: Option<Frame>,
}

impl AudioDepacketizer {
    /// For Opus, whose packets are checked and tell their duration.
    #[must_use]
    pub fn opus(max_frame: usize) -> Self {
        Self::new(Whole::Opus, max_frame)
    }

    /// For G.711 and G.722, whose duration follows from their length.
    #[must_use]
    pub fn samples(max_frame: usize) -> Self {
        Self::new(Whole::Samples, max_frame)
    }

    /// For telephone events.
    #[must_use]
    pub fn telephone_event(max_frame: usize) -> Self {
        Self::new(Whole::Events, max_frame)
    }

    fn new(whole: Whole, max_frame: usize) -> Self {
        Self {
            whole,
            max_frame,
            frame: None,
        }
    }

    fn duration(&self, payload: &[u8]) -> Result<Option<Duration>, DepacketizeError> {
        match self.whole {
            Whole::Samples => {
                let length = payload.len() as u64;
                Ok(Some(Duration::from_nanos(length * SAMPLE_NANOS)))
            }
            Whole::Opus => super::opus::OpusInfo::parse(payload).map(|info| Some(info.duration())),
            Whole::Events if payload.len().is_multiple_of(4) => Ok(None),
            Whole::Events => Err(DepacketizeError::Truncated),
        }
    }
}

impl Depacketizer for AudioDepacketizer {
    fn inspect(&self, payload: &[u8]) -> Result<PayloadInfo, DepacketizeError> {
        match payload.is_empty() {
            true => Err(DepacketizeError::Empty),
            false => Ok(INFO),
        }
    }

    fn push(&mut self, payload: &Bytes) -> Result<(), DepacketizeError> {
        if payload.is_empty() {
            return Err(DepacketizeError::Empty);
        }
        if self.frame.is_some() {
            return Err(DepacketizeError::MissingEnd);
        }
        if payload.len() > self.max_frame {
            return Err(DepacketizeError::TooLarge);
        }
        self.frame = Some(Frame {
            data: payload.clone(),
            key_frame: true,
            duration: self.duration(payload)?,
        });
        Ok(())
    }

    fn finish(&mut self) -> Result<Frame, DepacketizeError> {
        self.frame.take().ok_or(DepacketizeError::Empty)
    }

    fn reset(&mut self) {
        self.frame = None;
    }

    fn packet_is_frame(&self) -> bool {
        true
    }
}

/// What every payload of audio tells.
pub(crate) const INFO: PayloadInfo = PayloadInfo {
    starts_frame: true,
    key_frame: true,
    picture_id: None,
    tl0_pic_idx: None,
    temporal_id: None,
    spatial_id: None,
    switching_point: false,
    discardable: false,
    resolution: None,
};

/// G.711 has a byte for each sample of 8 kHz, G.722 one for two samples of 16 kHz.
const SAMPLE_NANOS: u64 = 125_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_packet_after_a_silence_is_marked() {
        let mut packetizer = AudioPacketizer::opus();
        let mut payloads = Vec::new();
        for frame in [&b"\x08a"[..], b"", b"", b"\x08b", b"\x08c"] {
            let frame = Bytes::from_static(frame);
            packetizer.packetize(&frame, 100, &mut payloads).unwrap();
        }
        let markers: Vec<_> = payloads.iter().map(|payload| payload.marker).collect();
        assert_eq!(markers, [false, true, false]);
    }

    #[test]
    fn only_samples_are_divided() {
        let frame = Bytes::from(vec![7; 400]);
        let mut payloads = Vec::new();
        let mut samples = AudioPacketizer::samples();
        samples.packetize(&frame, 160, &mut payloads).unwrap();
        let lengths: Vec<_> = payloads.iter().map(|payload| payload.data.len()).collect();
        assert_eq!(lengths, [160, 160, 80]);
        assert_eq!(payloads[1].data.as_ptr(), frame[160..].as_ptr());
        for mut packetizer in [AudioPacketizer::opus(), AudioPacketizer::telephone_event()] {
            let result = packetizer.packetize(&frame, 160, &mut payloads);
            assert_eq!(result, Err(PacketizeError::TooLarge));
        }
        let result = samples.packetize(&frame, 0, &mut payloads);
        assert_eq!(result, Err(PacketizeError::PayloadSize));
        assert_eq!(payloads.len(), 3);
    }

    #[test]
    fn the_duration_follows_from_the_bytes() {
        let payload = Bytes::from(vec![0x55; 160]);
        let mut depacketizer = AudioDepacketizer::samples(1000);
        let frame = depacketizer.depacketize(&payload, false).unwrap().unwrap();
        assert_eq!(frame.duration, Some(Duration::from_millis(20)));
        assert_eq!(frame.data.as_ptr(), payload.as_ptr());

        let mut depacketizer = AudioDepacketizer::samples(159);
        let result = depacketizer.depacketize(&payload, false);
        assert_eq!(result, Err(DepacketizeError::TooLarge));
        let result = depacketizer.depacketize(&Bytes::new(), false);
        assert_eq!(result, Err(DepacketizeError::Empty));
        let mut depacketizer = AudioDepacketizer::telephone_event(100);
        let result = depacketizer.depacketize(&payload.slice(..3), false);
        assert_eq!(result, Err(DepacketizeError::Truncated));
    }
}
