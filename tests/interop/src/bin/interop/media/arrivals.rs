//! What comes at a receiver: packets are counted, frames put together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use rtc::peer_connection::RTCPeerConnection;
use rtc::rtp::Packet;
use rtc::rtp_transceiver::{RTCRtpCodec, RTCRtpReceiverId, SSRC};
use rtc_media::{Codec, DEFAULT_MAX_FRAME, SampleBuilder, SampleBuilderConfig};

use crate::failure::{Failure, check};

/// What has come at a receiver.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// Packets of all its streams.
    pub(crate) packets: usize,
    /// Whole frames of all its streams.
    pub(crate) frames: usize,
    /// Those among them that a decoder can begin with.
    pub(crate) key_frames: usize,
    /// Name of the codec of the last packet.
    pub(crate) codec: String,
    streams: BTreeMap<SSRC, Stream>,
}

/// One stream of packets.
#[derive(Debug, Default)]
struct Stream {
    rid: Option<String>,
    packets: usize,
    payload_type: u8,
    builder: Option<SampleBuilder>,
    numbers: Numbers,
}

/// The sequence numbers that have come, made continuous.
#[derive(Debug, Default)]
struct Numbers {
    last: Option<i64>,
    came: BTreeSet<i64>,
}

impl Arrivals {
    /// Takes all that has come.
    pub(super) fn take(
        &mut self,
        core: &mut RTCPeerConnection,
        id: RTCRtpReceiverId,
        now: Instant,
    ) -> Result<(), Failure> {
        let Some(mut receiver) = core.rtp_receiver(id) else {
            return Ok(());
        };
        while let Some(packet) = receiver.read_rtp() {
            let ssrc = packet.header.ssrc;
            if self.streams.get(&ssrc).is_none_or(|stream| stream.payload_type != packet.header.payload_type) {
                let parameters = receiver.get_parameters().rtp_parameters;
                let payload_type = packet.header.payload_type;
                let codec = parameters.codecs.into_iter().find(|codec| codec.payload_type == payload_type);
                let Some(codec) = codec else {
                    return Err(Failure::Failed(format!(
                        "a packet came with payload type {payload_type}, which was not negotiated"
                    )));
                };
                let rid = receiver.rid(ssrc).map(str::to_owned);
                self.begin(ssrc, payload_type, rid, &codec.rtp_codec)?;
            }
            let Some(stream) = self.streams.get_mut(&ssrc) else {
                continue;
            };
            stream.rid = stream.rid.take().or_else(|| receiver.rid(ssrc).map(str::to_owned));
            self.packets += 1;
            stream.push(packet, now);
        }
        for stream in self.streams.values_mut() {
            while let Some(sample) = stream.builder.as_mut().and_then(|it| it.pop(now)) {
                self.frames += 1;
                self.key_frames += usize::from(sample.key_frame);
            }
        }
        Ok(())
    }

    /// A stream begins, or goes on with another codec.
    fn begin(
        &mut self,
        ssrc: SSRC,
        payload_type: u8,
        rid: Option<String>,
        codec: &RTCRtpCodec,
    ) -> Result<(), Failure> {
        codec.name().clone_into(&mut self.codec);
        let known = Codec::from_mime_type(&codec.mime_type);
        check!(known.is_some(), "{} comes", codec.mime_type);
        let depacketizer = known
            .map(|known| known.depacketizer(&codec.sdp_fmtp_line, DEFAULT_MAX_FRAME))
            .transpose()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let config = SampleBuilderConfig::new(codec.clock_rate);
        let stream = self.streams.entry(ssrc).or_default();
        stream.rid = rid;
        stream.payload_type = payload_type;
        stream.builder = depacketizer.map(|it| SampleBuilder::new(it, config));
        Ok(())
    }

    /// Packets of each simulcast layer that has a name.
    pub(crate) fn rids(&self) -> BTreeMap<&str, usize> {
        let mut rids = BTreeMap::new();
        for stream in self.streams.values() {
            if let Some(rid) = &stream.rid {
                *rids.entry(rid.as_str()).or_default() += stream.packets;
            }
        }
        rids
    }

    /// How many packets are missing of how many that were sent.
    pub(crate) fn missing(&self) -> (usize, usize) {
        let of_all = self.streams.values().map(|stream| stream.numbers.missing());
        of_all.fold((0, 0), |(lost, sent), (l, s)| (lost + l, sent + s))
    }

    /// What the frames did not tell.
    pub(crate) fn malformed(&self) -> u64 {
        let builders = self.streams.values().filter_map(|it| it.builder.as_ref());
        builders.map(|it| it.stats().packets_malformed).sum()
    }
}

impl Stream {
    fn push(&mut self, packet: Packet, now: Instant) {
        self.packets += 1;
        self.numbers.note(packet.header.sequence_number);
        if let Some(builder) = &mut self.builder {
            builder.push(now, packet);
        }
    }
}

impl Numbers {
    fn note(&mut self, number: u16) {
        let last = self.last.unwrap_or(i64::from(number));
        // The continuous number nearest to the last one.
        #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are meant")]
        let step = number.wrapping_sub(last as u16).cast_signed();
        let number = last + i64::from(step);
        self.last = Some(last.max(number));
        self.came.insert(number);
    }

    fn missing(&self) -> (usize, usize) {
        let (Some(first), Some(last)) = (self.came.first(), self.came.last()) else {
            return (0, 0);
        };
        let sent = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
        (sent - self.came.len(), sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_packets_are_counted_over_the_wrap() {
        let mut numbers = Numbers::default();
        for number in [65533, 65535, 1, 0, 3] {
            numbers.note(number);
        }
        assert_eq!(numbers.missing(), (2, 7));
        numbers.note(65534);
        assert_eq!(numbers.missing(), (1, 7));
    }
}
