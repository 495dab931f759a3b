/// What a datagram on a media port is, by its first byte (RFC 7983 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    /// Data from a TURN server.
    ChannelData,
    Unknown,
}

pub(crate) fn classify(datagram: &[u8]) -> Class {
    match datagram {
        [0..=3, ..] if rtc_stun::is_stun(datagram) => Class::Stun,
        [20..=63, ..] => Class::Dtls,
        [64..=79, ..] => Class::ChannelData,
        // RFC 5761 section 4: packet types of RTCP with the marker bit in place.
        [128..=191, second, ..] if (64..=95).contains(&(second & 0x7f)) => Class::Rtcp,
        [128..=191, ..] if datagram.len() >= 12 => Class::Rtp,
        _ => Class::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_decides() {
        let binding = rtc_stun::MessageBuilder::new(
            rtc_stun::Class::Request,
            rtc_stun::Method::BINDING,
            rtc_stun::TransactionId([7; 12]),
        )
        .finish();
        assert_eq!(classify(&binding), Class::Stun);
        assert_eq!(classify(&[0, 1, 2]), Class::Unknown);
        assert_eq!(classify(&[22, 0xfe, 0xfd]), Class::Dtls);
        assert_eq!(classify(&[63]), Class::Dtls);
        assert_eq!(
            classify(&[128, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            Class::Rtp
        );
        assert_eq!(classify(&[128, 200]), Class::Rtcp);
        assert_eq!(classify(&[64, 0, 0, 0]), Class::ChannelData);
        assert_eq!(classify(&[79]), Class::ChannelData);
        for first in [4, 16, 19, 80, 127, 192, 255] {
            assert_eq!(classify(&[first; 40]), Class::Unknown, "{first}");
        }
        assert_eq!(classify(&[]), Class::Unknown);
    }
}
