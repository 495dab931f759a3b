use proptest::prelude::*;

use super::*;
use crate::Reliability;

fn unordered() -> Parameters {
    Parameters {
        label: "u".into(),
        ordered: false,
        ..Parameters::default()
    }
}

/// A channel that we announced, its OPEN sent.
fn opened(parameters: Parameters) -> Channel {
    let mut channel = Channel::open(parameters).unwrap();
    channel.set_stream_id(6);
    channel.handle_connected();
    channel.poll_dcep().unwrap();
    channel
}

/// The end of a channel that the peer announced.
fn accepted() -> Channel {
    let mut channel = Channel::announced(3, Parameters::default().to_open());
    channel.poll_dcep().unwrap();
    channel
}

fn receive(channel: &mut Channel, ppid: u32, payload: &[u8]) -> Option<Incoming> {
    channel.handle_message(PayloadProtocolId(ppid), payload.into())
}

fn message(is_string: bool, data: &[u8]) -> Option<Incoming> {
    Some(Incoming::Message(Message {
        is_string,
        data: data.into(),
    }))
}

#[test]
fn a_channel_opens_once_it_has_a_stream_and_an_association() {
    let mut channel = Channel::open(unordered()).unwrap();
    channel.handle_connected();
    assert_eq!(
        (channel.state(), channel.stream_id()),
        (ReadyState::Connecting, None)
    );
    assert_eq!(channel.poll_dcep(), None);
    channel.set_stream_id(2);
    assert_eq!(channel.poll_dcep(), None);
    channel.handle_connected();
    assert_eq!(channel.state(), ReadyState::Open);
    let open = channel.poll_dcep().unwrap();
    assert_eq!(channel.poll_dcep(), None, "once");
    channel.set_stream_id(4);
    assert_eq!(channel.stream_id(), Some(2), "a stream stays");

    let peer = Channel::accept(2, &open).unwrap();
    assert_eq!(peer.parameters(), channel.parameters());
    assert_eq!(
        (peer.state(), peer.stream_id()),
        (ReadyState::Open, Some(2))
    );
}

#[test]
fn messages_are_ordered_until_the_peer_has_been_heard() {
    for (ppid, payload) in [(50, &b"\x02"[..]), (51, b"hi"), (57, b"\0"), (99, b"?")] {
        let mut channel = opened(unordered());
        assert!(channel.sends_ordered());
        receive(&mut channel, ppid, payload);
        assert!(!channel.sends_ordered(), "{ppid}");
    }
    let mut ordered = opened(Parameters::default());
    assert_eq!(receive(&mut ordered, 50, b"\x02"), Some(Incoming::Ack));
    assert!(ordered.sends_ordered());
    assert!(!Channel::announced(1, unordered().to_open()).sends_ordered());
    assert!(!Channel::negotiated(1, unordered()).sends_ordered());
}

#[test]
fn an_ack_that_nothing_asked_for_is_ignored() {
    let mut channel = opened(unordered());
    assert_eq!(receive(&mut channel, 50, b"\x02"), Some(Incoming::Ack));
    assert_eq!(receive(&mut channel, 50, b"\x02"), None);
    assert_eq!(receive(&mut accepted(), 50, b"\x02"), None);
    assert_eq!(channel.discarded().unexpected_dcep, 1);
    assert_eq!(channel.state(), ReadyState::Open);
    assert_eq!(Channel::accept(1, b"\x02").err(), Some(Error::NotAnOpen));
}

#[test]
fn a_second_open_and_malformed_dcep_end_the_channel() {
    let open = DcepMessage::Open(unordered().to_open()).to_bytes().unwrap();
    let cases: [(&[u8], Error); 4] = [
        (&open, Error::OpenedTwice),
        (b"", Error::Truncated),
        (b"\x09", Error::UnknownMessageType(9)),
        (
            b"\x03\x7f\0\0\0\0\0\0\0\0\0\0",
            Error::UnknownChannelType(0x7f),
        ),
    ];
    for (payload, error) in cases {
        for mut channel in [accepted(), opened(unordered())] {
            let incoming = receive(&mut channel, 50, payload);
            assert_eq!(incoming, Some(Incoming::Violation(error.clone())));
            assert_eq!(channel.state(), ReadyState::Closing);
            assert!(channel.poll_reset());
        }
    }
    assert_eq!(Channel::accept(1, b"").err(), Some(Error::Truncated));
}

#[test]
fn a_negotiated_channel_speaks_no_dcep() {
    let mut channel = Channel::negotiated(7, unordered());
    assert_eq!(channel.state(), ReadyState::Connecting);
    channel.handle_connected();
    assert_eq!(
        (channel.state(), channel.poll_dcep()),
        (ReadyState::Open, None)
    );
    let open = DcepMessage::Open(unordered().to_open()).to_bytes().unwrap();
    assert_eq!(receive(&mut channel, 50, &open), None);
    assert_eq!(receive(&mut channel, 50, b"junk"), None);
    assert_eq!(channel.discarded().unexpected_dcep, 2);
    assert_eq!(receive(&mut channel, 51, b"x"), message(true, b"x"));
    assert!(channel.is_negotiated() && channel.state() == ReadyState::Open);
}

#[test]
fn a_message_opens_a_channel_that_is_connecting() {
    let mut channel = Channel::negotiated(7, unordered());
    assert_eq!(
        receive(&mut channel, 53, b"early"),
        message(false, b"early")
    );
    assert_eq!(channel.state(), ReadyState::Open);
}

#[test]
fn payloads_become_messages() {
    let mut channel = accepted();
    assert_eq!(receive(&mut channel, 51, b"hello"), message(true, b"hello"));
    assert_eq!(
        receive(&mut channel, 53, b"\0\x01\x02"),
        message(false, b"\0\x01\x02")
    );
    assert_eq!(receive(&mut channel, 56, b"\0"), message(true, b""));
    assert_eq!(receive(&mut channel, 57, b"\0"), message(false, b""));
    assert_eq!(
        receive(&mut channel, 56, b"abc"),
        message(true, b""),
        "content has no meaning"
    );
    assert_eq!(receive(&mut channel, 51, b"\xff"), message(true, b"\xff"));
    assert_eq!(receive(&mut channel, 99, b"x"), None);
    assert_eq!(channel.discarded().unknown_payload_protocol, 1);
    assert_eq!(channel.state(), ReadyState::Open);
}

#[test]
fn parts_of_old_peers_are_joined() {
    let mut channel = accepted();
    assert_eq!(receive(&mut channel, 54, b"a"), None);
    assert_eq!(receive(&mut channel, 54, b"b"), None);
    assert_eq!(receive(&mut channel, 51, b"c"), message(true, b"abc"));
    assert_eq!(receive(&mut channel, 51, b"d"), message(true, b"d"));
    assert_eq!(receive(&mut channel, 52, b"a"), None);
    assert_eq!(receive(&mut channel, 57, b"\0"), message(false, b"a"));
}

#[test]
fn parts_of_different_kinds_end_the_channel() {
    for (first, second) in [(52, 51), (52, 54), (54, 53), (54, 57)] {
        let mut channel = accepted();
        assert_eq!(receive(&mut channel, first, b"a"), None);
        let incoming = receive(&mut channel, second, b"b");
        assert_eq!(incoming, Some(Incoming::Violation(Error::MixedParts)));
        assert_eq!(channel.state(), ReadyState::Closing);
    }
}

#[test]
fn messages_are_bounded_whole_or_in_parts() {
    let too_long = Some(Incoming::Violation(Error::MessageTooLong));
    let limited = || {
        let mut channel = accepted();
        channel.set_max_message_size(4);
        channel
    };
    assert_eq!(receive(&mut limited(), 51, b"1234"), message(true, b"1234"));
    assert_eq!(receive(&mut limited(), 51, b"12345"), too_long);
    assert_eq!(receive(&mut limited(), 52, b"12345"), too_long);
    for (part, last) in [(52, 53), (54, 51), (52, 52)] {
        let mut channel = limited();
        assert_eq!(receive(&mut channel, part, b"123"), None);
        assert_eq!(receive(&mut channel, last, b"45"), too_long);
        assert!(channel.poll_reset());
    }
    assert_eq!(receive(&mut limited(), 56, b"12345"), message(true, b""));
}

#[test]
fn closing_takes_the_reset_of_both_directions() {
    let (mut ours, mut theirs) = (opened(unordered()), accepted());
    ours.close();
    assert_eq!(ours.state(), ReadyState::Closing);
    assert!(ours.poll_reset() && !ours.poll_reset(), "once");
    assert_eq!(receive(&mut ours, 51, b"late"), None);
    assert_eq!(ours.discarded().not_open, 1);

    theirs.handle_incoming_reset();
    assert_eq!(theirs.state(), ReadyState::Closing);
    assert!(theirs.poll_reset());
    ours.handle_outgoing_reset();
    assert_eq!(ours.state(), ReadyState::Closing);
    assert!(!ours.frees_stream());
    theirs.handle_outgoing_reset();
    assert!(theirs.state() == ReadyState::Closed && theirs.frees_stream());
    ours.handle_incoming_reset();
    assert!(ours.state() == ReadyState::Closed && ours.frees_stream());
    assert!(!ours.poll_reset());
}

#[test]
fn both_sides_may_close_at_once() {
    let mut channel = opened(unordered());
    channel.close();
    assert!(channel.poll_reset());
    channel.handle_incoming_reset();
    assert_eq!(
        (channel.state(), channel.poll_reset()),
        (ReadyState::Closing, false)
    );
    channel.handle_outgoing_reset();
    assert_eq!(channel.state(), ReadyState::Closed);
    channel.close();
    channel.handle_incoming_reset();
    assert_eq!(channel.state(), ReadyState::Closed);
}

#[test]
fn a_channel_the_peer_cannot_know_of_closes_at_once() {
    let mut never_connected = Channel::open(unordered()).unwrap();
    never_connected.close();
    assert_eq!(never_connected.state(), ReadyState::Closed);
    never_connected.set_stream_id(0);
    never_connected.handle_connected();
    assert_eq!(never_connected.poll_dcep(), None);

    let mut open_not_sent = Channel::open(unordered()).unwrap();
    open_not_sent.set_stream_id(0);
    open_not_sent.handle_connected();
    open_not_sent.close();
    assert_eq!(open_not_sent.state(), ReadyState::Closed);
    assert_eq!(
        (open_not_sent.poll_dcep(), open_not_sent.poll_reset()),
        (None, false)
    );
    assert!(open_not_sent.frees_stream());
}

#[test]
fn an_ack_is_not_sent_behind_the_reset() {
    let mut channel = Channel::announced(3, unordered().to_open());
    channel.close();
    let mut early = Channel::announced(3, unordered().to_open());
    early.close();
    assert!(channel.poll_dcep().is_some() && channel.poll_reset());
    assert!(early.poll_reset() && early.poll_dcep().is_none());
}

#[test]
fn the_end_of_the_association_closes_every_channel() {
    for mut channel in [
        opened(unordered()),
        accepted(),
        Channel::open(unordered()).unwrap(),
    ] {
        channel.handle_disconnected();
        assert_eq!(channel.state(), ReadyState::Closed);
        assert!(!channel.poll_reset() && channel.poll_dcep().is_none());
        channel.handle_connected();
        assert_eq!(channel.state(), ReadyState::Closed);
    }
}

#[test]
fn an_open_too_long_to_announce_is_refused() {
    let label = "x".repeat(65536);
    let long = Parameters {
        label,
        ..Parameters::default()
    };
    assert_eq!(Channel::open(long).err(), Some(Error::LabelTooLong));
}

#[test]
fn a_channel_is_small() {
    assert!(size_of::<Channel>() <= 160, "{}", size_of::<Channel>());
}

#[derive(Debug, Clone)]
enum Step {
    Connected,
    Message(u32, Vec<u8>),
    PollDcep,
    Close,
    PollReset,
    OutgoingReset,
    IncomingReset,
    Disconnected,
}

fn step() -> impl Strategy<Value = Step> {
    let payload = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        Just(Step::Connected),
        (48_u32..60, payload).prop_map(|(ppid, payload)| Step::Message(ppid, payload)),
        (50_u32..58).prop_map(|ppid| Step::Message(ppid, vec![2])),
        Just(Step::PollDcep),
        Just(Step::Close),
        Just(Step::PollReset),
        Just(Step::OutgoingReset),
        Just(Step::IncomingReset),
        Just(Step::Disconnected),
    ]
}

proptest! {
    /// Whatever happens in whatever order: a life goes forward only, resets are asked for once,
    /// and no message comes out of a channel that is not open.
    #[test]
    fn a_life_goes_forward(kind in 0..3, steps in prop::collection::vec(step(), 0..40)) {
        let parameters = Parameters {
            reliability: Reliability::MaxRetransmits(1),
            ..unordered()
        };
        let mut channel = match kind {
            0 => Channel::open(parameters).unwrap(),
            1 => Channel::announced(1, parameters.to_open()),
            _ => Channel::negotiated(1, parameters),
        };
        channel.set_stream_id(1);
        let (mut resets, mut dceps) = (0, 0);
        for step in steps {
            let before = channel.state();
            match step {
                Step::Connected => channel.handle_connected(),
                Step::Message(ppid, payload) => {
                    let incoming = receive(&mut channel, ppid, &payload);
                    if before >= ReadyState::Closing {
                        prop_assert_eq!(incoming, None);
                    }
                }
                Step::PollDcep => dceps += usize::from(channel.poll_dcep().is_some()),
                Step::Close => channel.close(),
                Step::PollReset => resets += usize::from(channel.poll_reset()),
                Step::OutgoingReset => channel.handle_outgoing_reset(),
                Step::IncomingReset => channel.handle_incoming_reset(),
                Step::Disconnected => channel.handle_disconnected(),
            }
            prop_assert!(channel.state() >= before);
            prop_assert!(!channel.frees_stream() || channel.state() == ReadyState::Closed);
        }
        prop_assert!(resets <= 1 && dceps <= 1);
    }
}
