//! Retransmissions as a stream of their own (RFC 4588).

use bytes::{Buf, BufMut, BytesMut};
use rtc_rtp::extension::ExtensionKind;
use rtc_rtp::sequence::{Arrival, SequenceTracker, initial_sequence_number};
use rtc_rtp::{Extensions, Packet};
use rtc_shared::{ReplayWindow, Rng};
use smallvec::SmallVec;

use crate::{Context, Flow, IncomingRtp, Interceptor, StreamId, StreamInfo, StreamMap};

/// Turns packets into retransmissions of one source.
#[derive(Clone, Debug)]
pub(crate) struct RtxSender {
    ssrc: u32,
    next: u16,
}

impl RtxSender {
    pub(crate) fn new(ssrc: u32, rng: &mut Rng) -> Self {
        Self {
            ssrc,
            next: initial_sequence_number(rng),
        }
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The retransmission of a packet; `None` when its payload type has none.
    pub(crate) fn wrap(&mut self, info: &StreamInfo, original: &Packet) -> Option<Packet> {
        let payload_type = info.rtx_payload_type(original.header.payload_type)?;
        let mut header = original.header.clone();
        header.payload_type = payload_type;
        header.sequence_number = self.next;
        header.ssrc = self.ssrc;
        header.padding = 0;
        name_repaired_stream(info, &mut header.extensions);
        self.next = self.next.wrapping_add(1);

        let mut payload = BytesMut::with_capacity(OSN_LEN + original.payload.len());
        payload.put_u16(original.header.sequence_number);
        payload.extend_from_slice(&original.payload);
        Some(Packet {
            header,
            payload: payload.freeze(),
        })
    }

    /// A packet of nothing but padding.
    pub(crate) fn padding(&mut self, payload_type: u8, timestamp: u32, length: u8) -> Packet {
        let mut packet = Packet::default();
        packet.header.payload_type = payload_type;
        packet.header.sequence_number = self.next;
        packet.header.timestamp = timestamp;
        packet.header.ssrc = self.ssrc;
        packet.header.padding = length;
        self.next = self.next.wrapping_add(1);
        packet
    }
}

/// The name of the stream becomes the name of the stream that is repaired (RFC 8852 section 3.2).
fn name_repaired_stream(info: &StreamInfo, extensions: &mut Extensions) {
    let Some(rid) = info.extensions.id(ExtensionKind::RtpStreamId) else {
        return;
    };
    let Some(name) = extensions.get(rid) else {
        return;
    };
    let name = SmallVec::<[u8; 16]>::from_slice(name);
    extensions.remove(rid);
    if let Some(repaired) = info.extensions.id(ExtensionKind::RepairedRtpStreamId) {
        // A name that fitted before fits again.
        let _ = extensions.set(repaired, &name);
    }
}

/// Turns retransmissions back into the packets that they repeat, and delivers each packet once however
/// often it comes.
///
/// Header extensions stay those of the retransmission. What is too short to repeat a packet is padding
/// that probes the bandwidth: it is not delivered.
#[derive(Debug, Default)]
pub struct RtxReceiver {
    streams: StreamMap<Received>,
}

/// Which packets of a stream have come.
#[derive(Debug, Default)]
struct Received {
    tracker: SequenceTracker,
    window: ReplayWindow<WINDOW_WORDS>,
}

impl RtxReceiver {
    /// The stage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Received {
    /// Marks a packet; false when it has come before.
    fn mark(&mut self, sequence_number: u16) -> bool {
        let extended = match self.tracker.receive(sequence_number) {
            Arrival::Advance { extended, .. } | Arrival::Late { extended } => extended,
            Arrival::Restart { extended } => {
                self.window = ReplayWindow::default();
                extended
            }
            // Of another stretch of the stream; the next packet tells whether it has moved there.
            _ => return true,
        };
        // Numbers from before the first can be negative.
        let number = extended.wrapping_add(1 << 32).cast_unsigned();
        let fresh = self.window.is_fresh(number);
        self.window.accept(number);
        fresh
    }
}

impl Interceptor for RtxReceiver {
    fn unbind_remote_stream(&mut self, _cx: &mut Context<'_>, stream: StreamId) {
        self.streams.remove(stream);
    }

    fn incoming_rtp(&mut self, cx: &mut Context<'_>, incoming: &mut IncomingRtp) -> Flow {
        let Some(stream) = cx.session.remote_mut(incoming.stream) else {
            return Flow::Forward;
        };
        if stream.info.rtx.is_none() && !stream.info.rtcp_feedback.nack {
            return Flow::Forward;
        }
        let packet = &mut incoming.packet;
        if incoming.retransmission {
            let original = stream
                .info
                .original_payload_type(packet.header.payload_type);
            let (Some(payload_type), true) = (original, packet.payload.len() >= OSN_LEN) else {
                incoming.deliver = false;
                return Flow::Forward;
            };
            packet.header.payload_type = payload_type;
            packet.header.sequence_number = packet.payload.get_u16();
            packet.header.ssrc = stream.info.ssrc;
            packet.header.padding = 0;
        }
        let received = self
            .streams
            .get_or_insert_with(incoming.stream, Received::default);
        if !received.mark(packet.header.sequence_number) {
            incoming.deliver = false;
            stream.stats.duplicate_packets += 1;
        }
        Flow::Forward
    }
}

/// Length of the original sequence number before the payload.
const OSN_LEN: usize = 2;
/// 4 096 packets, more than a packet may be late before it counts as one of another stretch.
const WINDOW_WORDS: usize = 64;
