//! Stages over the RTP and RTCP packets of one connection: reports, NACK, RTX, transport-wide feedback
//! and key frame requests, and what the application adds.
//!
//! A [`Registry`] holds stages in [`Slot`]s and makes a [`Chain`] of them. The chain stands between the
//! application and SRTP, and knows neither sockets nor clocks.
//!
//! # Order of the stages
//!
//! The lower a number, the nearer to the network. What comes in passes downwards in this table, what
//! goes out upwards; what a stage makes of its own accord passes only the stages beyond it.
//!
//! | slot | stage | incoming | outgoing | of its own accord |
//! | --- | --- | --- | --- | --- |
//! | 1 000 `CongestionControl` | – | feedback | what is sent | |
//! | 2 000 `TwccSender` | [`TwccSender`] | | transport-wide sequence number, time of sending | |
//! | 3 000 `Pacer` | – | | holds packets | releases them |
//! | 4 000 `NackResponder` | [`NackResponder`] | NACK | keeps what is sent | retransmissions |
//! | 5 000 `FecEncoder` | – | | what is protected | repair packets |
//! | 5 500 `RtxReceiver` | [`RtxReceiver`] | unwraps retransmissions, marks duplicates | | |
//! | 6 000 `FecDecoder` | – | repair packets | | recovered packets |
//! | 7 000 `NackGenerator` | [`NackGenerator`] | finds gaps | | NACK |
//! | 8 000 `TwccReceiver` | [`TwccReceiver`] | notes arrivals | | transport-wide feedback |
//! | 9 000 `Rfc8888` | – | notes arrivals | | feedback of RFC 8888 |
//! | 10 000 `ReceiverReport` | [`ReceiverReports`] | counts packets; SR, answers of XR | fills SR | RR, XR |
//! | 11 000 `SenderReport` | [`SenderReports`] | RR, XR | counts packets | SR, answers by XR, BYE |
//! | 12 000 `IntervalPli` | [`KeyFrames`] | PLI, FIR | | PLI, FIR |
//! | 13 000 `JitterBuffer` | – | holds packets | | releases them |
//!
//! Slots with a dash are for stages from elsewhere. [`Registry::with_defaults`] fills the others.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use bytes::Bytes;
//! use rtc_interceptor::{ChainConfig, Registry, StreamInfo};
//! use rtc_rtp::{Header, Packet};
//! use rtc_shared::Rng;
//!
//! # fn main() -> Result<(), rtc_interceptor::Error> {
//! # let start = Instant::now();
//! let chain = |seed, now| {
//!     let unix_time = Duration::from_secs(1_700_000_000);
//!     let config = ChainConfig::new(now, unix_time, Rng::from_seed([seed; 32]), "name");
//!     Registry::with_defaults().build(config)
//! };
//! let (mut sender, mut receiver) = (chain(1, start), chain(2, start));
//! let mut video = StreamInfo::new(0x1234, 96, 90_000, "video/VP8");
//! video.rtcp_feedback.insert("nack");
//! sender.bind_local_stream(start, &video)?;
//! receiver.bind_remote_stream(start, &video)?;
//!
//! // Three packets of which the second is lost on its way.
//! let mut delivered = Vec::new();
//! for sequence_number in [7, 8, 9, 10] {
//!     let header = Header { ssrc: 0x1234, payload_type: 96, sequence_number, ..Header::default() };
//!     let packet = Packet { header, payload: Bytes::from_static(b"frame") };
//!     let Some(sent) = sender.outgoing_rtp(start, packet, None) else { continue };
//!     if sequence_number != 8 {
//!         delivered.extend(receiver.incoming_rtp(start, sent.packet, None));
//!     }
//! }
//!
//! // The receiver asks for it, the sender repeats it.
//! let mut datagram = Vec::new();
//! while receiver.poll_rtcp(start, 1200, &mut datagram).is_some() {
//!     for packet in rtc_rtcp::packets(&datagram).flatten() {
//!         sender.incoming_rtcp(start, packet);
//!     }
//!     datagram.clear();
//! }
//! while let Some(repeated) = sender.poll_outgoing_rtp(start) {
//!     delivered.extend(receiver.incoming_rtp(start, repeated.packet, None));
//! }
//! let numbers: Vec<_> = delivered.iter().map(|each| each.packet.header.sequence_number).collect();
//! assert_eq!(numbers, [7, 9, 10, 8]);
//! assert_eq!(receiver.remote_stats(0x1234).map(|stats| stats.nack_count), Some(1));
//! # Ok(())
//! # }
//! ```

mod chain;
mod compound;
mod error;
mod interceptor;
mod key_frame;
mod nack;
mod registry;
mod report;
mod rtx;
mod session;
mod stats;
mod stream;
mod twcc;

#[cfg(test)]
mod tests;

pub use chain::{Chain, Event};
pub use error::Error;
pub use interceptor::{Context, Flow, IncomingRtp, Interceptor, OutgoingRtp, Retransmission};
pub use key_frame::{KeyFrameConfig, KeyFrames};
pub use nack::{NackGenerator, NackGeneratorConfig, NackResponder, NackResponderConfig};
pub use registry::{ChainConfig, Registry, Slot};
pub use report::{ReceiverReports, ReportConfig, SenderReports};
pub use rtx::RtxReceiver;
pub use session::{LocalStream, RemoteStream, Session};
pub use stats::{LocalStats, RemoteInboundStats, RemoteOutboundStats, RemoteStats, RoundTripStats};
pub use stream::{PayloadInfo, RtcpFeedback, RtxInfo, StreamId, StreamInfo, StreamMap};
pub use twcc::{PacketReport, SentPackets, TwccReceiver, TwccReceiverConfig, TwccSender};
