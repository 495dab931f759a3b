use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc_rtcp::Twcc;
use rtc_rtp::extension::{
    AbsSendTime, ExtensionKind, TransportSequenceNumber, TransportSequenceNumberV2,
};
use rtc_shared::serial::extend16;

use crate::{Context, Flow, Interceptor, OutgoingRtp, Retransmission};

/// Writes into each packet what the receiver's side of congestion control needs, as far as it was
/// negotiated: the transport-wide sequence number, and the time of sending.
///
/// What was sent is kept in the session, so that a stage nearer to the network can make sense of the
/// feedback, see [`SentPackets`]. A packet that is repeated as it was keeps its number.
#[derive(Clone, Copy, Debug, Default)]
pub struct TwccSender(());

impl TwccSender {
    /// The stage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Interceptor for TwccSender {
    fn outgoing_rtp(&mut self, cx: &mut Context<'_>, outgoing: &mut OutgoingRtp) -> Flow {
        if outgoing.retransmission == Some(Retransmission::Verbatim) {
            return Flow::Forward;
        }
        let Some(stream) = cx.session.local(outgoing.stream) else {
            return Flow::Forward;
        };
        let map = stream.info.extensions;
        let numbered = stream.info.rtcp_feedback.transport_cc;
        let extensions = &mut outgoing.packet.header.extensions;
        if map.id(ExtensionKind::AbsSendTime).is_some() {
            let time = AbsSendTime::from_ntp(cx.session.ntp_time(cx.now).0);
            // An extension of another profile cannot hold it.
            let _ = map.write(extensions, &time);
        }
        if !numbered {
            return Flow::Forward;
        }
        let number = cx.session.sent_packets().next_sequence_number();
        let written = map
            .write(extensions, &TransportSequenceNumber(number))
            .and_then(|written| match written {
                true => Ok(true),
                false => map.write(
                    extensions,
                    &TransportSequenceNumberV2 {
                        sequence_number: number,
                        feedback_request: None,
                    },
                ),
            });
        if written == Ok(true) {
            let size = outgoing.packet.encoded_len();
            cx.session.sent_packets_mut().push(cx.now, size);
            outgoing.transport_sequence_number = Some(number);
        }
        Flow::Forward
    }
}

/// The packets that were sent with a transport-wide sequence number, the last seconds of them.
#[derive(Debug, Default)]
pub struct SentPackets {
    packets: VecDeque<(Instant, u32)>,
    /// The number after the last packet's.
    next: u64,
}

/// What feedback says of one packet that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketReport {
    /// Its transport-wide sequence number, extended.
    pub sequence_number: u64,
    /// When it was sent.
    pub sent: Instant,
    /// Its length in bytes, without encryption and the headers below.
    pub size: usize,
    /// When it arrived, in ticks of [`Twcc::TICK`] of the receiver's clock; `None` when it had not.
    pub arrival: Option<i64>,
}

impl SentPackets {
    /// The number that the next packet gets.
    #[must_use]
    pub fn next_sequence_number(&self) -> u16 {
        self.next as u16
    }

    /// How many packets are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// True when none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// What a feedback packet says of the packets that are kept, in the order of their numbers.
    pub fn reports<'a>(&'a self, twcc: &'a Twcc) -> impl Iterator<Item = PacketReport> + 'a {
        let first = self.next - self.packets.len() as u64;
        twcc.statuses().filter_map(move |status| {
            let number = extend16(self.next, status.sequence_number);
            let index = usize::try_from(number.checked_sub(first)?).ok()?;
            let &(sent, size) = self.packets.get(index)?;
            Some(PacketReport {
                sequence_number: number,
                sent,
                size: size as usize,
                arrival: status.arrival,
            })
        })
    }

    fn push(&mut self, now: Instant, size: usize) {
        while let Some(&(sent, _)) = self.packets.front() {
            let old = now.saturating_duration_since(sent) > MAX_AGE;
            if !old && self.packets.len() < MAX_PACKETS {
                break;
            }
            self.packets.pop_front();
        }
        self.packets.push_back((now, size as u32));
        self.next += 1;
    }
}

/// Feedback that is later than this tells nothing of use.
const MAX_AGE: Duration = Duration::from_secs(10);
/// Half of the sequence numbers, so that each is told from the one a wrap before.
const MAX_PACKETS: usize = 1 << 15;
