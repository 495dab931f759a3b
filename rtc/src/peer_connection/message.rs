//! Messages between the application and the connection.

use rtc_rtcp as rtcp;
use rtc_rtp as rtp;

use crate::data_channel::{RTCDataChannelId, RTCDataChannelMessage};
use crate::media_stream::MediaStreamTrackId;

/// What the application writes to and reads from a peer connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RTCMessage {
    /// An RTP packet of a track: read, of one of the peer's; written, of one of ours.
    ///
    /// A packet that is written gets SSRC, payload type and the header extensions that are the
    /// connection's own; sequence number and timestamp stay the application's. With several encodings
    /// its SSRC or its `rtp-stream-id` says which it is of.
    RtpPacket(MediaStreamTrackId, rtp::Packet),
    /// RTCP packets about a track: read, what the peer sent about one of its own (reports, names) or one
    /// of ours (reports, feedback); written, what the application has to say beside what the
    /// connection says of its own accord.
    RtcpPacket(MediaStreamTrackId, Vec<rtcp::Packet>),
    /// A message of a data channel.
    DataChannelMessage(RTCDataChannelId, RTCDataChannelMessage),
}
