use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_rtp::sequence::initial_sequence_number;
use rtc_rtp::{Header, Packet};
use rtc_shared::Rng;

use crate::{Layer, PacketizeError, Packetizer, Payload};

/// A frame of audio or video with its place in time, as an encoder gives it and a decoder takes it.
///
/// To send, `data` and `duration` are enough:
///
/// ```
/// use std::time::Duration;
/// use rtc_media::Sample;
///
/// let sample = Sample {
///     data: vec![0xf8, 0xff, 0xfe].into(),
///     duration: Duration::from_millis(20),
///     ..Sample::default()
/// };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The frame, see [`Frame::data`](crate::Frame::data). Nothing is sent for an empty one, but time
    /// goes on.
    pub data: Bytes,
    /// How long the frame lasts. Of received video it is the time since the frame before, as the
    /// timestamps say, since what comes next is not known yet; 0 for the first one.
    pub duration: Duration,
    /// RTP timestamp of a received frame.
    pub timestamp: u32,
    /// A decoder can begin with the received frame. True for audio.
    pub key_frame: bool,
    /// How many packets before the received frame and after the one before it did not come or could
    /// not be used.
    pub packets_lost: u32,
    /// Sequence number of the first packet of a received frame.
    pub sequence_number: u16,
    /// How many packets carried the received frame.
    pub packets: u16,
    /// When the last packet of a received frame came.
    pub received: Option<Instant>,
}

/// Makes RTP packets of samples: counts sequence numbers and timestamps, which begin at random.
///
/// Packets have no header extensions; those are for the caller to set.
///
/// ```
/// use std::time::Duration;
/// use rtc_media::{AudioPacketizer, Sample, SampleSender, SampleSenderConfig};
/// use rtc_shared::Rng;
///
/// # fn main() -> Result<(), rtc_media::PacketizeError> {
/// let mut rng = Rng::from_seed([7; 32]);
/// let config = SampleSenderConfig { ssrc: 1, payload_type: 111, clock_rate: 48_000, max_payload: 1150 };
/// let mut sender = SampleSender::new(AudioPacketizer::opus(), config, &mut rng);
/// let sample = Sample {
///     data: vec![0xf8, 0xff, 0xfe].into(),
///     duration: Duration::from_millis(20),
///     ..Sample::default()
/// };
/// let mut packets = Vec::new();
/// sender.send(&sample, &mut packets)?;
/// sender.send(&sample, &mut packets)?;
/// let [first, second] = &packets[..] else { unreachable!() };
/// assert_eq!(second.header.timestamp.wrapping_sub(first.header.timestamp), 960);
/// assert_eq!(second.header.sequence_number, first.header.sequence_number + 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SampleSender<P = Box<dyn Packetizer>> {
    packetizer: P,
    config: SampleSenderConfig,
    sequence_number: u16,
    timestamp: u32,
    /// What is left of the durations below a unit of the timestamp, in nanoseconds times the clock
    /// rate.
    remainder: u64,
    payloads: Vec<Payload>,
}

/// What the packets of a [`SampleSender`] have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSenderConfig {
    /// The source.
    pub ssrc: u32,
    /// The payload type, of 7 bits.
    pub payload_type: u8,
    /// Units of the timestamp in a second.
    pub clock_rate: u32,
    /// The most bytes of a payload: what the path carries less the headers of IP, UDP and RTP, header
    /// extensions and the tag of SRTP. 1150 is safe on the Internet.
    pub max_payload: usize,
}

impl<P: Packetizer> SampleSender<P> {
    /// One whose sequence numbers and timestamps begin at random.
    #[must_use]
    pub fn new(packetizer: P, config: SampleSenderConfig, rng: &mut Rng) -> Self {
        Self {
            packetizer,
            config,
            sequence_number: initial_sequence_number(rng),
            timestamp: rng.u32(),
            remainder: 0,
            payloads: Vec::new(),
        }
    }

    /// Appends the packets of a sample to `packets`. The time of the next sample is later by its
    /// duration.
    ///
    /// # Errors
    /// [`PacketizeError`]; nothing is appended then, but time goes on.
    pub fn send(
        &mut self,
        sample: &Sample,
        packets: &mut Vec<Packet>,
    ) -> Result<(), PacketizeError> {
        let result = self.send_layer(&sample.data, &Layer::default(), packets);
        self.advance(sample.duration);
        result
    }

    /// Appends the packets of a frame of a layer to `packets`. Time does not go on, so that further
    /// layers of the picture can follow; [`advance`](Self::advance) ends it.
    ///
    /// # Errors
    /// [`PacketizeError`]; nothing is appended then.
    pub fn send_layer(
        &mut self,
        frame: &Bytes,
        layer: &Layer,
        packets: &mut Vec<Packet>,
    ) -> Result<(), PacketizeError> {
        self.payloads.clear();
        let max_payload = self.config.max_payload;
        self.packetizer
            .packetize_layer(frame, layer, max_payload, &mut self.payloads)?;
        packets.reserve(self.payloads.len());
        for payload in self.payloads.drain(..) {
            packets.push(Packet {
                header: Header {
                    marker: payload.marker,
                    payload_type: self.config.payload_type,
                    sequence_number: self.sequence_number,
                    timestamp: self.timestamp.wrapping_add(payload.timestamp_offset),
                    ssrc: self.config.ssrc,
                    ..Header::default()
                },
                payload: payload.data,
            });
            self.sequence_number = self.sequence_number.wrapping_add(1);
        }
        Ok(())
    }

    /// Lets time go on without sending. Fractions of a unit are kept, so that the timestamps do not
    /// drift from the sum of the durations.
    pub fn advance(&mut self, duration: Duration) {
        let rate = u128::from(self.config.clock_rate);
        let total = duration.as_nanos() * rate + u128::from(self.remainder);
        self.timestamp = self
            .timestamp
            .wrapping_add((total / NANOS_PER_SECOND) as u32);
        self.remainder = (total % NANOS_PER_SECOND) as u64;
    }

    /// The sequence number of the next packet.
    #[must_use]
    pub fn sequence_number(&self) -> u16 {
        self.sequence_number
    }

    /// Sets the sequence number of the next packet: back to what it was when packets were not sent, so
    /// that the peer misses none.
    pub fn set_sequence_number(&mut self, sequence_number: u16) {
        self.sequence_number = sequence_number;
    }

    /// The timestamp of the next sample.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Sets the timestamp of the next sample, for a source with a clock of its own.
    pub fn set_timestamp(&mut self, timestamp: u32) {
        self.timestamp = timestamp;
        self.remainder = 0;
    }

    /// What the packets have in common, to be changed between samples.
    pub fn config_mut(&mut self) -> &mut SampleSenderConfig {
        &mut self.config
    }

    /// The packetizer, to be changed or replaced between samples.
    pub fn packetizer_mut(&mut self) -> &mut P {
        &mut self.packetizer
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AudioPacketizer, Vp8Packetizer};

    fn config(clock_rate: u32) -> SampleSenderConfig {
        SampleSenderConfig {
            ssrc: 9,
            payload_type: 96,
            clock_rate,
            max_payload: 100,
        }
    }

    #[test]
    fn timestamps_do_not_drift_from_the_durations() {
        let mut rng = Rng::from_seed([4; 32]);
        let packetizer = Box::new(Vp8Packetizer::new(&mut rng)) as Box<dyn Packetizer>;
        let mut sender = SampleSender::new(packetizer, config(90_000), &mut rng);
        sender.set_timestamp(u32::MAX - 1000);
        let mut packets = Vec::new();
        let sample = Sample {
            data: Bytes::from_static(&[1; 250]),
            // 29.97 frames in a second, which is 3003 units but for a fraction.
            duration: Duration::from_nanos(33_366_667),
            ..Sample::default()
        };
        for _ in 0..3000 {
            sender.send(&sample, &mut packets).unwrap();
        }
        assert_eq!(packets.len(), 9000);
        let end = sender.timestamp().wrapping_sub(u32::MAX - 1000);
        assert_eq!(end, 3000 * 3003);
        for (at, pair) in packets.windows(2).enumerate() {
            let [first, second] = pair else {
                unreachable!()
            };
            let step = second.header.timestamp.wrapping_sub(first.header.timestamp);
            assert_eq!(step > 0, at % 3 == 2);
            assert_eq!(first.header.marker, at % 3 == 2);
            let next = first.header.sequence_number.wrapping_add(1);
            assert_eq!(second.header.sequence_number, next);
        }
    }

    #[test]
    fn time_goes_on_in_a_silence() {
        let mut rng = Rng::from_seed([5; 32]);
        let mut sender = SampleSender::new(AudioPacketizer::opus(), config(48_000), &mut rng);
        let mut packets = Vec::new();
        for data in [&b"\x08a"[..], b"", b"\x08b"] {
            let sample = Sample {
                data: Bytes::from_static(data),
                duration: Duration::from_millis(20),
                ..Sample::default()
            };
            sender.send(&sample, &mut packets).unwrap();
        }
        let [first, second] = &packets[..] else {
            panic!("{packets:?}")
        };
        assert_eq!(
            second.header.timestamp.wrapping_sub(first.header.timestamp),
            1920
        );
        assert_eq!(
            second
                .header
                .sequence_number
                .wrapping_sub(first.header.sequence_number),
            1
        );
        assert!(second.header.marker);
    }
}
