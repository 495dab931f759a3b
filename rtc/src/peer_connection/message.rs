//! Messages between the application and the connection.

use rtc_rtp as rtp;

use crate::data_channel::{RTCDataChannelId, RTCDataChannelMessage};
use crate::media_stream::MediaStreamTrackId;

/// What the application writes to and reads from a peer connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RTCMessage {
    /// An RTP packet of a track.
    RtpPacket(MediaStreamTrackId, rtp::Packet),
    /// A message of a data channel.
    DataChannelMessage(RTCDataChannelId, RTCDataChannelMessage),
}
