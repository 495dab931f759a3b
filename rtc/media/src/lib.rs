//! RTP payload formats, media files and sample assembly.
//!
//! * A [`Packetizer`] divides frames into payloads, a [`Depacketizer`] puts them together again;
//!   [`Codec`], [`packetizer_for`] and [`depacketizer_for`] make them for Opus, G.711, G.722, telephone
//!   events, VP8, VP9, H.264, H.265 and AV1.
//! * A [`SampleSender`] makes RTP packets of samples, a [`SampleBuilder`] makes samples of RTP packets
//!   that come late, in disorder or not at all.
//! * [`Codec::inspect`] tells what a payload is part of, whether of a key frame and of which layer;
//!   a [`LayerSwitch`] makes one stream of the layers of a simulcast, a [`PictureRewriter`] has the
//!   pictures of several sources follow each other. They are for servers that forward without decoding.
//! * [`IvfReader`], [`OggOpusReader`], [`AnnexBReader`] and their writers are for media files.
//! * [`RtpClock`] maps timestamps to the time of the sender, [`LipSync`] plays audio and video
//!   together.
//!
//! Nothing here encodes or decodes media.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use rtc_media::{
//!     Codec, DEFAULT_MAX_FRAME, Sample, SampleBuilder, SampleBuilderConfig, SampleSender,
//!     SampleSenderConfig,
//! };
//! use rtc_shared::Rng;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut rng = Rng::from_seed([1; 32]);
//! let config = SampleSenderConfig { ssrc: 7, payload_type: 96, clock_rate: 90_000, max_payload: 1150 };
//! let mut sender = SampleSender::new(Codec::Vp8.packetizer("", &mut rng)?, config, &mut rng);
//! let depacketizer = Codec::Vp8.depacketizer("", DEFAULT_MAX_FRAME)?;
//! let mut builder = SampleBuilder::new(depacketizer, SampleBuilderConfig::new(90_000));
//!
//! let frame = Sample {
//!     data: vec![0; 5000].into(),
//!     duration: Duration::from_millis(33),
//!     ..Sample::default()
//! };
//! let mut packets = Vec::new();
//! sender.send(&frame, &mut packets)?;
//! assert_eq!(packets.len(), 5);
//!
//! let now = Instant::now();
//! packets.swap(2, 3);
//! for packet in packets {
//!     builder.push(now, packet);
//! }
//! let received = builder.pop(now).ok_or("not complete")?;
//! assert_eq!(received.data, frame.data);
//! assert!(received.key_frame);
//! # Ok(())
//! # }
//! ```

mod bits;
mod clock;
mod codec;
mod error;
mod file;
mod h26x;
mod layer_switch;
mod lip_sync;
mod payload;
mod rewrite;
mod sample;
mod sample_builder;

pub use clock::{NtpTime, RtpClock};
pub use codec::{Codec, DEFAULT_MAX_FRAME, depacketizer_for, packetizer_for};
pub use error::{DepacketizeError, FileError, PacketizeError, UnsupportedCodec};
pub use file::annexb::{AccessUnit, AnnexBReader, AnnexBWriter};
pub use file::ivf::{IvfFrame, IvfHeader, IvfReader, IvfWriter};
pub use file::opus::{OggOpusPacket, OggOpusReader, OggOpusWriter, OpusHead, OpusTags};
pub use h26x::{NalFormat, length_prefixed_to_annex_b, nal_units};
pub use layer_switch::LayerSwitch;
pub use lip_sync::{LipSync, Playout};
pub use payload::audio::{AudioDepacketizer, AudioPacketizer};
pub use payload::av1::{Av1AggregationHeader, Av1Depacketizer, Av1Packetizer};
pub use payload::nal::{NalDepacketizer, NalPacketizer};
pub use payload::opus::OpusInfo;
pub use payload::telephone_event::{
    TelephoneEvent, TelephoneEventChange, TelephoneEventPacket, TelephoneEventReceiver,
    TelephoneEventSender,
};
pub use payload::vp8::{Vp8Depacketizer, Vp8Descriptor, Vp8Packetizer};
pub use payload::vp9::{
    ScalabilityStructure, Vp9Depacketizer, Vp9Descriptor, Vp9GroupPicture, Vp9Layer, Vp9Packetizer,
};
pub use payload::{
    Depacketizer, Frame, Layer, Packetizer, Payload, PayloadInfo, PictureId, Resolution,
};
pub use rewrite::PictureRewriter;
pub use sample::{Sample, SampleSender, SampleSenderConfig};
pub use sample_builder::{SampleBuilder, SampleBuilderConfig, SampleBuilderStats};
