//! Identifiers of RTP senders and receivers (webrtc-pc section 5).

/// Handle of a receiver, stable for the connection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RTCRtpReceiverId(pub(crate) u32);

impl std::fmt::Display for RTCRtpReceiverId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "receiver-{}", self.0)
    }
}
