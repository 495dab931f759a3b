use std::time::Instant;

use rtc_rtp::Packet;
use rtc_shared::EcnCodepoint;

use crate::{Session, StreamId};

/// A stage between the application and SRTP that sees the RTP and RTCP packets of one connection.
///
/// Every method does nothing unless it is implemented. `incoming_*` and `outgoing_*` may change a
/// packet, or take it out of the way with [`Flow::Stop`]; what a stage wants to send or deliver of its
/// own accord is asked for with `poll_*`, and passes the stages beyond it like any other packet.
///
/// A stage keeps what it knows of a stream in a [`StreamMap`](crate::StreamMap), which it looks into by
/// the index that comes with each packet. What stages share is in the [`Session`].
///
/// ```
/// use rtc_interceptor::{Context, Flow, IncomingRtp, Interceptor};
///
/// /// Counts the packets with a mark.
/// #[derive(Default)]
/// struct Marked(u64);
///
/// impl Interceptor for Marked {
///     fn incoming_rtp(&mut self, _: &mut Context<'_>, incoming: &mut IncomingRtp) -> Flow {
///         self.0 += u64::from(incoming.packet.header.marker);
///         Flow::Forward
///     }
/// }
/// ```
pub trait Interceptor: Send {
    /// A stream that will be sent was bound, or bound again with other parameters.
    fn bind_local_stream(&mut self, _cx: &mut Context<'_>, _stream: StreamId) {}

    /// A stream will not be sent any more. It can still be found in the session.
    fn unbind_local_stream(&mut self, _cx: &mut Context<'_>, _stream: StreamId) {}

    /// A stream that will be received was bound, or bound again with other parameters.
    fn bind_remote_stream(&mut self, _cx: &mut Context<'_>, _stream: StreamId) {}

    /// A stream will not be received any more. It can still be found in the session.
    fn unbind_remote_stream(&mut self, _cx: &mut Context<'_>, _stream: StreamId) {}

    /// An RTP packet comes from the network.
    fn incoming_rtp(&mut self, _cx: &mut Context<'_>, _incoming: &mut IncomingRtp) -> Flow {
        Flow::Forward
    }

    /// An RTCP packet comes from the network.
    fn incoming_rtcp(&mut self, _cx: &mut Context<'_>, _packet: &mut rtc_rtcp::Packet) -> Flow {
        Flow::Forward
    }

    /// An RTP packet comes from the application or a stage before this.
    fn outgoing_rtp(&mut self, _cx: &mut Context<'_>, _outgoing: &mut OutgoingRtp) -> Flow {
        Flow::Forward
    }

    /// An RTCP packet comes from the application or a stage before this.
    fn outgoing_rtcp(&mut self, _cx: &mut Context<'_>, _packet: &mut rtc_rtcp::Packet) -> Flow {
        Flow::Forward
    }

    /// An RTP packet has passed all stages and is sent as it is now.
    fn sent_rtp(&mut self, _cx: &mut Context<'_>, _sent: &OutgoingRtp) {}

    /// The next RTP packet for the application: recovered, or held until now.
    fn poll_incoming_rtp(&mut self, _cx: &mut Context<'_>) -> Option<IncomingRtp> {
        None
    }

    /// The next RTP packet for the network: repeated, made for repair, or held until now.
    fn poll_outgoing_rtp(&mut self, _cx: &mut Context<'_>) -> Option<OutgoingRtp> {
        None
    }

    /// The next RTCP packet for the network.
    fn poll_outgoing_rtcp(&mut self, _cx: &mut Context<'_>) -> Option<rtc_rtcp::Packet> {
        None
    }

    /// The application has got a whole key frame of a stream.
    fn key_frame_received(&mut self, _cx: &mut Context<'_>, _stream: StreamId) {}

    /// The time that [`poll_timeout`](Self::poll_timeout) told has come; the next it tells lies after.
    fn handle_timeout(&mut self, _cx: &mut Context<'_>) {}

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// What a stage is given with each call.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time; never earlier than at the call before.
    pub now: Instant,
    /// What the stages share.
    pub session: &'a mut Session,
}

/// Whether a packet goes on to the next stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// It goes on.
    Forward,
    /// It does not: the stage has dropped it, or has taken it to give it back later.
    Stop,
}

/// An RTP packet on its way to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncomingRtp {
    /// The packet.
    pub packet: Packet,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// When it arrived.
    pub arrival: Instant,
    /// The ECN mark it arrived with.
    pub ecn: Option<EcnCodepoint>,
    /// The SSRC it arrived with; that of the packet differs once a retransmission is unwrapped.
    pub wire_ssrc: u32,
    /// The sequence number it arrived with.
    pub wire_sequence_number: u16,
    /// It came over the SSRC of the retransmissions.
    pub retransmission: bool,
    /// It did not arrive but was recovered by forward error correction.
    pub recovered: bool,
    /// The application gets it. What it does not get, padding and duplicates, passes the stages all the
    /// same, because feedback has to tell of it.
    pub deliver: bool,
}

impl IncomingRtp {
    /// A packet as it has arrived, or was recovered.
    #[must_use]
    pub fn new(packet: Packet, stream: StreamId, arrival: Instant) -> Self {
        Self {
            stream,
            arrival,
            ecn: None,
            wire_ssrc: packet.header.ssrc,
            wire_sequence_number: packet.header.sequence_number,
            retransmission: false,
            recovered: false,
            deliver: true,
            packet,
        }
    }
}

/// An RTP packet on its way to the network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutgoingRtp {
    /// The packet.
    pub packet: Packet,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// When its content was captured, if that is known.
    pub capture_time: Option<Instant>,
    /// It was sent before.
    pub retransmission: Option<Retransmission>,
    /// The transport-wide sequence number that it carries.
    pub transport_sequence_number: Option<u16>,
}

/// How a packet is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retransmission {
    /// Over the SSRC of the retransmissions, as a packet of its own (RFC 4588).
    Rtx,
    /// As it was. It must not be changed: SRTP encrypts it with the same index, and two different
    /// packets of one index give secrets away.
    Verbatim,
}

impl OutgoingRtp {
    /// A packet of the application.
    #[must_use]
    pub fn new(packet: Packet, stream: StreamId) -> Self {
        Self {
            packet,
            stream,
            capture_time: None,
            retransmission: None,
            transport_sequence_number: None,
        }
    }
}
