use std::collections::VecDeque;
use std::time::Duration;

use rtc_datachannel::{Channel, Message, Parameters, ReadyState, Reliability};
use rtc_sctp::SendOptions;

use super::{RTCDataChannelMessage, RTCDataChannelParameters, RTCDataChannelState};

/// One channel with what W3C adds to it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) channel: Channel,
    pub(super) incoming: bool,
    /// Whether the open event was polled; messages wait for that.
    pub(super) announced: bool,
    pub(super) opened: bool,
    pub(super) closed: bool,
    pub(super) is_ready: bool,
    /// The stream had another channel whose reset the association has yet to see confirmed; until
    /// then nothing can be sent.
    pub(super) inherits_reset: bool,
    pub(super) discard: bool,
    pub(super) low_threshold: usize,
    pub(super) high_threshold: usize,
    pub(super) above_high: bool,
    /// Messages taken out of the association before they were read: those that came before the
    /// announcement or before the peer closed.
    pub(super) inbox: VecDeque<Message>,
    pub(crate) messages_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) messages_received: u64,
    pub(crate) bytes_received: u64,
}

impl Entry {
    pub(super) fn new(channel: Channel, incoming: bool) -> Self {
        Self {
            channel,
            incoming,
            announced: false,
            opened: false,
            closed: false,
            is_ready: false,
            inherits_reset: false,
            discard: false,
            low_threshold: 0,
            high_threshold: usize::MAX,
            above_high: false,
            inbox: VecDeque::new(),
            messages_sent: 0,
            bytes_sent: 0,
            messages_received: 0,
            bytes_received: 0,
        }
    }

    pub(crate) fn stream(&self) -> Option<u16> {
        self.channel.stream_id()
    }

    pub(crate) fn state(&self) -> RTCDataChannelState {
        match self.channel.state() {
            ReadyState::Connecting => RTCDataChannelState::Connecting,
            ReadyState::Open => RTCDataChannelState::Open,
            ReadyState::Closing => RTCDataChannelState::Closing,
            ReadyState::Closed => RTCDataChannelState::Closed,
        }
    }

    pub(crate) fn is_incoming(&self) -> bool {
        self.incoming
    }

    pub(crate) fn is_negotiated(&self) -> bool {
        self.channel.is_negotiated()
    }

    /// Label, protocol and reliability.
    pub(crate) fn described(&self) -> &Parameters {
        self.channel.parameters()
    }

    pub(crate) fn low_threshold(&self) -> usize {
        self.low_threshold
    }

    pub(crate) fn high_threshold(&self) -> usize {
        self.high_threshold
    }

    pub(crate) fn parameters(&self) -> RTCDataChannelParameters {
        let parameters = self.channel.parameters();
        RTCDataChannelParameters {
            label: parameters.label.clone(),
            protocol: parameters.protocol.clone(),
            ordered: parameters.ordered,
            max_packet_life_time: parameters.max_packet_life_time(),
            max_retransmits: parameters.max_retransmits(),
            negotiated: self.channel.is_negotiated(),
            priority: parameters.priority,
        }
    }

    pub(super) fn send_options(&self) -> SendOptions {
        SendOptions {
            unordered: !self.channel.sends_ordered(),
            reliability: match self.channel.parameters().reliability {
                Reliability::Reliable => rtc_sctp::Reliability::Reliable,
                Reliability::MaxRetransmits(count) => {
                    rtc_sctp::Reliability::MaxRetransmits(u16::try_from(count).unwrap_or(u16::MAX))
                }
                Reliability::MaxPacketLifeTime(milliseconds) => {
                    rtc_sctp::Reliability::MaxLifetime(Duration::from_millis(milliseconds.into()))
                }
            },
        }
    }

    pub(super) fn received(&mut self, message: Message) -> RTCDataChannelMessage {
        self.messages_received += 1;
        self.bytes_received += message.data.len() as u64;
        RTCDataChannelMessage {
            is_string: message.is_string,
            data: message.data,
        }
    }
}
