use crate::Error;
use crate::dcep::{ChannelType, Open};

/// Priorities (RFC 8831 section 6.4, the W3C's `RTCPriorityType`).
pub mod priority {
    /// `very-low`, "below normal".
    pub const VERY_LOW: u16 = 128;
    /// `low`, "normal".
    pub const LOW: u16 = 256;
    /// `medium`, "high".
    pub const MEDIUM: u16 = 512;
    /// `high`, "extra high".
    pub const HIGH: u16 = 1024;
}

/// How long a message is retransmitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Reliability {
    /// Until it arrives.
    #[default]
    Reliable,
    /// So many times at most, not counting the first transmission.
    MaxRetransmits(u32),
    /// So many milliseconds at most.
    MaxPacketLifeTime(u32),
}

/// What a channel is, agreed on by its two ends.
///
/// The default is reliable and ordered, of priority `low`, with an empty label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parameters {
    /// The application's name for it, at most 65535 bytes.
    pub label: String,
    /// The subprotocol that is spoken on it, at most 65535 bytes.
    pub protocol: String,
    /// Whether messages arrive in the order they are sent in.
    pub ordered: bool,
    /// How long messages are retransmitted.
    pub reliability: Reliability,
    /// One of [`priority`], or between.
    pub priority: u16,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            label: String::new(),
            protocol: String::new(),
            ordered: true,
            reliability: Reliability::Reliable,
            priority: priority::LOW,
        }
    }
}

impl Parameters {
    /// From the members of the W3C's `RTCDataChannelInit`, the life time in ms.
    ///
    /// # Errors
    /// Label or protocol are too long, or both limits are given: in the W3C's API, a `TypeError`.
    pub fn from_init(
        label: impl Into<String>,
        protocol: impl Into<String>,
        ordered: bool,
        max_retransmits: Option<u16>,
        max_packet_life_time: Option<u16>,
    ) -> Result<Self, Error> {
        let reliability = match (max_retransmits, max_packet_life_time) {
            (None, None) => Reliability::Reliable,
            (Some(count), None) => Reliability::MaxRetransmits(count.into()),
            (None, Some(time)) => Reliability::MaxPacketLifeTime(time.into()),
            (Some(_), Some(_)) => return Err(Error::TwoLimits),
        };
        let parameters = Self {
            label: label.into(),
            protocol: protocol.into(),
            ordered,
            reliability,
            ..Self::default()
        };
        parameters.check()?;
        Ok(parameters)
    }

    /// The W3C's `maxRetransmits`, at most 65535 whatever the peer asked for.
    pub fn max_retransmits(&self) -> Option<u16> {
        match self.reliability {
            Reliability::MaxRetransmits(count) => Some(saturate(count)),
            _ => None,
        }
    }

    /// The W3C's `maxPacketLifeTime` in ms, at most 65535 whatever the peer asked for.
    pub fn max_packet_life_time(&self) -> Option<u16> {
        match self.reliability {
            Reliability::MaxPacketLifeTime(time) => Some(saturate(time)),
            _ => None,
        }
    }

    /// Whether label and protocol fit into an OPEN.
    ///
    /// # Errors
    /// One of them is longer than 65535 bytes.
    pub fn check(&self) -> Result<(), Error> {
        if self.label.len() > usize::from(u16::MAX) {
            return Err(Error::LabelTooLong);
        }
        if self.protocol.len() > usize::from(u16::MAX) {
            return Err(Error::ProtocolTooLong);
        }
        Ok(())
    }

    /// The channel type and the reliability parameter of an OPEN (RFC 8832 section 5.1).
    pub fn channel_type(&self) -> (ChannelType, u32) {
        match (self.reliability, self.ordered) {
            (Reliability::Reliable, true) => (ChannelType::Reliable, 0),
            (Reliability::Reliable, false) => (ChannelType::ReliableUnordered, 0),
            (Reliability::MaxRetransmits(count), true) => (ChannelType::Rexmit, count),
            (Reliability::MaxRetransmits(count), false) => (ChannelType::RexmitUnordered, count),
            (Reliability::MaxPacketLifeTime(time), true) => (ChannelType::Timed, time),
            (Reliability::MaxPacketLifeTime(time), false) => (ChannelType::TimedUnordered, time),
        }
    }

    /// The OPEN that announces such a channel.
    pub fn to_open(&self) -> Open {
        let (channel_type, reliability) = self.channel_type();
        Open {
            channel_type,
            priority: self.priority,
            reliability,
            label: self.label.clone(),
            protocol: self.protocol.clone(),
        }
    }
}

impl From<Open> for Parameters {
    fn from(open: Open) -> Self {
        let (ordered, reliability) = match open.channel_type {
            ChannelType::Reliable => (true, Reliability::Reliable),
            ChannelType::ReliableUnordered => (false, Reliability::Reliable),
            ChannelType::Rexmit => (true, Reliability::MaxRetransmits(open.reliability)),
            ChannelType::RexmitUnordered => (false, Reliability::MaxRetransmits(open.reliability)),
            ChannelType::Timed => (true, Reliability::MaxPacketLifeTime(open.reliability)),
            ChannelType::TimedUnordered => {
                (false, Reliability::MaxPacketLifeTime(open.reliability))
            }
        };
        Self {
            label: open.label,
            protocol: open.protocol,
            ordered,
            reliability,
            priority: open.priority,
        }
    }
}

fn saturate(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_init_become_a_channel_type_and_come_back() {
        let cases = [
            (true, None, None, (ChannelType::Reliable, 0)),
            (false, None, None, (ChannelType::ReliableUnordered, 0)),
            (true, Some(0), None, (ChannelType::Rexmit, 0)),
            (
                false,
                Some(65535),
                None,
                (ChannelType::RexmitUnordered, 65535),
            ),
            (true, None, Some(500), (ChannelType::Timed, 500)),
            (false, None, Some(1), (ChannelType::TimedUnordered, 1)),
        ];
        for (ordered, retransmits, life_time, channel_type) in cases {
            let init = Parameters::from_init("l", "p", ordered, retransmits, life_time).unwrap();
            assert_eq!(init.channel_type(), channel_type);
            let back = Parameters::from(init.to_open());
            assert_eq!(back, init);
            assert_eq!(back.max_retransmits(), retransmits);
            assert_eq!(back.max_packet_life_time(), life_time);
        }
    }

    #[test]
    fn what_the_w3c_calls_a_type_error_is_refused() {
        assert_eq!(
            Parameters::from_init("", "", true, Some(1), Some(1)),
            Err(Error::TwoLimits)
        );
        let long = "é".repeat(32768);
        assert_eq!(
            Parameters::from_init(long.clone(), "", true, None, None),
            Err(Error::LabelTooLong)
        );
        assert_eq!(
            Parameters::from_init("", long, true, None, None),
            Err(Error::ProtocolTooLong)
        );
        assert!(Parameters::from_init("x".repeat(65535), "", true, None, None).is_ok());
    }

    #[test]
    fn limits_beyond_the_w3c_range_saturate() {
        let reliability = Reliability::MaxRetransmits(65536);
        let parameters = Parameters {
            reliability,
            ..Parameters::default()
        };
        assert_eq!(parameters.max_retransmits(), Some(65535));
        assert_eq!(parameters.channel_type(), (ChannelType::Rexmit, 65536));
    }
}
