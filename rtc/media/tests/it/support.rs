//! The streams of `tests/vectors/media` and what is known of them.

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use rtc_media::{
    AnnexBReader, Codec, DEFAULT_MAX_FRAME, IvfReader, NalFormat, Sample, SampleBuilder,
    SampleBuilderConfig,
};
use rtc_rtp::Packet;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A stream of video and its codec.
pub(crate) const VIDEO: &[(&str, Codec)] = &[
    ("vp8", Codec::Vp8),
    ("vp9", Codec::Vp9),
    ("av1", Codec::Av1),
    ("h264_cbp", Codec::H264),
    ("h264_high", Codec::H264),
    ("h265", Codec::H265),
];

pub(crate) fn vector(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors")).join(path)
}

pub(crate) fn read(path: &str) -> Vec<u8> {
    std::fs::read(vector(path)).unwrap()
}

pub(crate) fn json(path: &str) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

/// What `expected.json` says of a stream.
pub(crate) fn expected(name: &str) -> Value {
    json("media/expected.json")[name].clone()
}

/// Packets, each behind its length of 16 bits.
pub(crate) fn packets(name: &str) -> Vec<Packet> {
    let file = read(&format!("media/{name}.rtp"));
    let mut rest = &file[..];
    let mut packets = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (packet, tail) = tail.split_at(u16::from_be_bytes(*length).into());
        packets.push(Packet::parse(packet.to_vec()).unwrap());
        rest = tail;
    }
    packets
}

/// The frames of the elementary stream, as the readers of files give them.
pub(crate) fn frames(name: &str, codec: Codec) -> Vec<Bytes> {
    let format = match codec {
        Codec::H264 => NalFormat::H264,
        Codec::H265 => NalFormat::H265,
        _ => {
            let file = read(&format!("media/{name}.ivf"));
            let mut reader = IvfReader::new(&file[..], DEFAULT_MAX_FRAME).unwrap();
            assert_eq!(reader.header().codec(), Some(codec));
            let frames = std::iter::from_fn(|| reader.next_frame().unwrap());
            return frames.map(|frame| frame.data).collect();
        }
    };
    let ending = if codec == Codec::H264 { "h264" } else { "h265" };
    let file = read(&format!("media/{name}.{ending}"));
    let mut reader = AnnexBReader::new(&file[..], format, DEFAULT_MAX_FRAME);
    let units = std::iter::from_fn(|| reader.next_access_unit().unwrap());
    units.map(|unit| unit.data).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub(crate) fn builder(codec: Codec) -> SampleBuilder {
    let depacketizer = codec.depacketizer("packetization-mode=1", DEFAULT_MAX_FRAME);
    SampleBuilder::new(
        depacketizer.unwrap(),
        SampleBuilderConfig::new(codec.clock_rate()),
    )
}

/// All samples of packets that come at once.
pub(crate) fn samples(
    builder: &mut SampleBuilder,
    packets: impl IntoIterator<Item = Packet>,
) -> Vec<Sample> {
    let now = epoch();
    let mut samples = Vec::new();
    for packet in packets {
        builder.push(now, packet);
        samples.extend(std::iter::from_fn(|| builder.pop(now)));
    }
    samples
}

/// The origin of a test's virtual time.
#[expect(clippy::disallowed_methods, reason = "virtual time needs an origin")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}
