//! What a peer connection tells the application.

use std::net::SocketAddr;

use crate::data_channel::RTCDataChannelId;
use crate::media_stream::{MediaStreamId, MediaStreamTrackId, RtpStreamId};
use crate::peer_connection::state::{
    RTCIceConnectionState, RTCIceGatheringState, RTCPeerConnectionState, RTCSignalingState,
};
use crate::peer_connection::transport::RTCIceCandidate;
use crate::rtp_transceiver::{
    RTCRtpReceiverId, RTCRtpSenderId, RTCRtpTransceiverId, RtpCodecKind, SSRC,
};

/// An event of a peer connection, in the order in which things happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RTCPeerConnectionEvent {
    /// An offer is needed to bring the peer up to date (webrtc-pc section 4.7).
    OnNegotiationNeededEvent,
    /// A local candidate was found; send it to the peer. The last one of a generation is followed by
    /// [`OnIceGatheringStateChangeEvent`](Self::OnIceGatheringStateChangeEvent) with `Complete`.
    OnIceCandidateEvent(RTCPeerConnectionIceEvent),
    /// A STUN or TURN server failed.
    OnIceCandidateErrorEvent(RTCPeerConnectionIceErrorEvent),
    /// The offer/answer exchange moved on.
    OnSignalingStateChangeEvent(RTCSignalingState),
    /// ICE moved on.
    OnIceConnectionStateChangeEvent(RTCIceConnectionState),
    /// Gathering moved on.
    OnIceGatheringStateChangeEvent(RTCIceGatheringState),
    /// The connection as a whole moved on.
    OnConnectionStateChangeEvent(RTCPeerConnectionState),
    /// Something happened to a data channel.
    OnDataChannel(RTCDataChannelEvent),
    /// Something happened to a remote track.
    OnTrack(RTCTrackEvent),
    /// The peer wants something of one of our senders.
    OnRtpSender(RTCRtpSenderEvent),
    /// A local address is gone, with its candidates.
    OnPathLost(RTCPathLostEvent),
}

/// A local address is gone: its interface went down or its socket failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RTCPathLostEvent {
    /// The address.
    pub local_addr: SocketAddr,
    /// Whether data went by it.
    pub in_use: bool,
    /// No other path is known to work: an ICE restart
    /// ([`restart_ice`](crate::peer_connection::RTCPeerConnection::restart_ice)) is the way on, best
    /// as soon as there is a new address.
    pub ice_restart_advised: bool,
}

/// An event of one data channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RTCDataChannelEvent {
    /// It is open: messages flow. For a channel that the peer made this is the first event.
    OnOpen(RTCDataChannelId),
    /// It failed; `OnClose` follows.
    OnError(RTCDataChannelId),
    /// The peer began to close it.
    OnClosing(RTCDataChannelId),
    /// It is closed in both directions. The handle is valid until this event was polled.
    OnClose(RTCDataChannelId),
    /// What waits to be sent fell to the low threshold.
    OnBufferedAmountLow(RTCDataChannelId),
    /// What waits to be sent rose above the high threshold.
    OnBufferedAmountHigh(RTCDataChannelId),
}

impl RTCDataChannelEvent {
    /// The channel it is about.
    #[must_use]
    pub fn channel_id(&self) -> RTCDataChannelId {
        match *self {
            Self::OnOpen(id)
            | Self::OnError(id)
            | Self::OnClosing(id)
            | Self::OnClose(id)
            | Self::OnBufferedAmountLow(id)
            | Self::OnBufferedAmountHigh(id) => id,
        }
    }
}

/// An event of one remote track. A track opens when the peer's description says that it sends, and
/// opens again after it was closing; `OnClose` is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RTCTrackEvent {
    /// The peer sends the track, or has put it into a stream that it was not in: packets may come.
    OnOpen(RTCTrackEventInit),
    /// It failed; `OnClose` follows.
    OnError(MediaStreamTrackId),
    /// The peer does not send it for now; it may open again.
    OnClosing(MediaStreamTrackId),
    /// It has ended for good.
    OnClose(MediaStreamTrackId),
}

impl RTCTrackEvent {
    /// The track.
    #[must_use]
    pub fn track_id(&self) -> &MediaStreamTrackId {
        match self {
            Self::OnOpen(init) => &init.track_id,
            Self::OnError(id) | Self::OnClosing(id) | Self::OnClose(id) => id,
        }
    }
}

/// What is known of a remote track when it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RTCTrackEventInit {
    /// Its transceiver.
    pub transceiver_id: RTCRtpTransceiverId,
    /// Its receiver.
    pub receiver_id: RTCRtpReceiverId,
    /// The track.
    pub track_id: MediaStreamTrackId,
    /// Audio or video.
    pub kind: RtpCodecKind,
    /// The streams it belongs to.
    pub stream_ids: Vec<MediaStreamId>,
    /// The SSRC of its packets, if the peer has announced one; the first of several.
    pub ssrc: Option<SSRC>,
    /// The simulcast layers in which it comes; empty without simulcast.
    pub rids: Vec<RtpStreamId>,
}

/// What the peer wants of a sender. Wishes that come faster than they are polled are told once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RTCRtpSenderEvent {
    /// A key frame (RFC 4585 section 6.3.1, RFC 5104 section 4.3.1): the encoder should make one soon, a
    /// forwarder ask its source for one. Told at most every 300 ms.
    OnKeyFrameRequest {
        /// The sender.
        sender_id: RTCRtpSenderId,
        /// Its track.
        track_id: Option<MediaStreamTrackId>,
        /// The source.
        ssrc: SSRC,
        /// The simulcast layer.
        rid: Option<RtpStreamId>,
    },
    /// The peer estimates that this is the most that reaches it of all that it named
    /// (draft-alvestrand-rmcat-remb).
    OnMaxBitrate {
        /// The sender.
        sender_id: RTCRtpSenderId,
        /// Its track.
        track_id: Option<MediaStreamTrackId>,
        /// The source.
        ssrc: SSRC,
        /// The simulcast layer.
        rid: Option<RtpStreamId>,
        /// The bitrate in bit/s.
        bitrate: u64,
    },
}

impl RTCRtpSenderEvent {
    /// The sender.
    #[must_use]
    pub fn sender_id(&self) -> RTCRtpSenderId {
        match *self {
            Self::OnKeyFrameRequest { sender_id, .. } | Self::OnMaxBitrate { sender_id, .. } => {
                sender_id
            }
        }
    }

    /// The source.
    #[must_use]
    pub fn ssrc(&self) -> SSRC {
        match *self {
            Self::OnKeyFrameRequest { ssrc, .. } | Self::OnMaxBitrate { ssrc, .. } => ssrc,
        }
    }
}

/// A local candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RTCPeerConnectionIceEvent {
    /// The candidate.
    pub candidate: RTCIceCandidate,
    /// URL of the server it was learnt from, empty for host candidates.
    pub url: String,
}

/// A failure while gathering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RTCPeerConnectionIceErrorEvent {
    /// Local address from which the server was asked.
    pub address: String,
    /// Local port from which the server was asked.
    pub port: u16,
    /// URL of the server.
    pub url: String,
    /// STUN error code, or 701 when the server could not be reached.
    pub error_code: u16,
    /// The server's reason.
    pub error_text: String,
}
