use rtc_shared::{FiveTuple, Rng};
use rtc_stun::{Class, Message, MessageBuilder, Method};
use rtc_turn::server::ServerReceived;
use rtc_turn::{
    BindingClient, BindingConfig, BindingEvent, Error, FramingError, Received, StreamSplitter,
    channel_data, frame_len,
};
use serde_json::Value;

use crate::raw::Raw;
use crate::sim::{PEER, SERVER, Sim, addr, ms, origin, secs, tcp, udp};

fn load(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn channel_data_is_that_of_the_vectors() {
    let vectors = load("stun_turn.json");
    let vector = &vectors["channel_data"];
    let payload = bytes(&vector["payload"]);
    let (udp, tcp) = (bytes(&vector["udp"]), bytes(&vector["tcp_padded_to_4"]));
    for message in [&udp, &tcp] {
        let (number, range) = channel_data(message).unwrap();
        assert_eq!(u64::from(number), vector["channel"].as_u64().unwrap());
        assert_eq!(&message[range], payload);
    }
    assert_eq!(frame_len(&udp), Ok(Some(12)));
    assert_eq!(frame_len(&tcp), Ok(Some(12)));
    for vector in vectors["vectors"].as_array().unwrap() {
        let message = bytes(&vector["hex"]);
        // The header of the example in RFC 8489 B.1 is 20 too long.
        let error = if vector["name"].as_str().unwrap().contains("B.1") {
            20
        } else {
            0
        };
        assert_eq!(
            frame_len(&message),
            Ok(Some(message.len() + error)),
            "{}",
            vector["name"]
        );
    }
}

#[test]
fn indications_are_written_as_in_the_vectors() {
    let vectors = load("stun_turn.json");
    for vector in vectors["vectors"].as_array().unwrap() {
        let expected = bytes(&vector["hex"]);
        if vector["name"] != "turn_send_indication" {
            continue;
        }
        // The peer of the vector, through a client with its permission.
        let message = Message::parse(&expected).unwrap();
        let (peer, payload) = (message.xor_peer_address().unwrap(), message.data().unwrap());
        let mut config = rtc_turn::server::ServerConfig::new(crate::sim::REALM);
        config.peers = rtc_turn::server::PeerFilter::allow_all();
        let mut sim = Sim::new(1, config);
        sim.add(crate::sim::client_config(), udp("198.51.100.1:5000"));
        sim.run(secs(1));
        let now = sim.now;
        sim.client().create_permission(now, peer.ip()).unwrap();
        sim.run(secs(1));
        let form = sim.client().encapsulate(peer).unwrap();
        let ours = crate::sim::wrap(&form, payload);
        assert_eq!(
            (&ours[..8], &ours[20..24]),
            (&expected[..8], &expected[20..24])
        );
        let ours = Message::parse(&ours).unwrap();
        assert_eq!(
            (ours.class(), ours.method()),
            (Class::Indication, Method::SEND)
        );
        assert_eq!(
            (ours.xor_peer_address(), ours.data()),
            (Some(peer), Some(payload))
        );
        return;
    }
    panic!("the vector is gone");
}

#[test]
fn the_demultiplexing_corpus_is_harmless() {
    let corpus = load("malformed/turn_demux.json");
    let mut sim = Sim::allocated(2);
    let now = sim.now;
    sim.client().bind_channel(now, addr(PEER)).unwrap();
    sim.run(secs(1));
    let path = crate::sim::mirrored(sim.client().path());
    for vector in corpus.as_array().unwrap() {
        let (name, datagram) = (vector["name"].as_str().unwrap(), bytes(&vector["hex"]));
        let now = sim.now;
        let at_client = sim.client().handle_datagram(now, addr(SERVER), &datagram);
        assert!(!matches!(at_client, Received::Data { .. }), "{name}");
        let at_server = sim.server.handle_datagram(now, path, &datagram);
        assert!(
            !matches!(at_server, ServerReceived::ToPeer { .. }),
            "{name}"
        );

        let mut splitter = StreamSplitter::default();
        splitter.extend(&datagram);
        let expected = match name {
            "channeldata_short"
            | "channeldata_3_bytes"
            | "tcp_split_header"
            | "tcp_len_ffff"
            | "rfc4571_zero_len" => Ok(None),
            // ChannelData whose rest or padding is missing.
            "demux_byte_70" | "channel_unbound" => Ok(None),
            _ => Err(FramingError::Unrecognized),
        };
        assert_eq!(splitter.next_frame(), expected, "{name}");
    }
    assert_eq!(sim.client().stats().unknown_channel, 1);
}

#[test]
fn the_stun_corpus_is_harmless() {
    let corpus = load("malformed/stun.json");
    for vector in corpus.as_array().unwrap() {
        let (name, datagram) = (vector["name"].as_str().unwrap(), bytes(&vector["hex"]));
        let mut raw = Raw::allocated();
        let client = raw.client;
        let at_server = raw.server.handle_datagram(raw.now, client, &datagram);
        assert!(
            !matches!(at_server, ServerReceived::ToPeer { .. }),
            "{name}"
        );
        if let Some(out) = raw.server.poll_transmit() {
            let response = Message::parse(&out.message).unwrap();
            let is_binding = response.method() == Method::BINDING;
            assert!(response.class() == Class::Error || is_binding, "{name}");
        }
        let mut sim = Sim::allocated(3);
        let now = sim.now;
        let at_client = sim.client().handle_datagram(now, addr(SERVER), &datagram);
        assert!(!matches!(at_client, Received::Data { .. }), "{name}");
        assert!(sim.client().poll_event().is_none(), "{name}");
    }
}

fn binding(path: FiveTuple, keepalive: Option<u64>) -> (BindingClient, std::time::Instant) {
    let now = origin();
    let mut config = BindingConfig::default();
    config.keepalive = keepalive.map(secs);
    (
        BindingClient::new(config, Rng::from_seed([8; 32]), path, now),
        now,
    )
}

fn answer(request: &[u8], mapped: &str) -> Vec<u8> {
    let request = Message::parse(request).unwrap();
    let response = MessageBuilder::response(Class::Success, &request);
    response
        .xor_mapped_address(addr(mapped))
        .fingerprint()
        .finish()
        .to_vec()
}

#[test]
fn a_binding_request_finds_the_mapped_address_and_its_changes() {
    let (mut client, mut now) = binding(udp("10.0.0.1:5000"), Some(10));
    let first = client.poll_transmit().unwrap();
    assert_eq!(first.transport.five_tuple(), client.path());
    now += ms(30);
    let response = answer(&first.message, "198.51.100.1:6000");
    assert!(
        !client.handle_datagram(now, addr("85.10.0.9:3478"), &response),
        "another server"
    );
    assert!(client.handle_datagram(now, addr(SERVER), &response));
    assert!(
        !client.handle_datagram(now, addr(SERVER), &response),
        "no longer waited for"
    );
    assert_eq!(
        client.poll_event(),
        Some(BindingEvent::Mapped(addr("198.51.100.1:6000")))
    );
    assert_eq!(client.round_trip_time(), Some(ms(30)));
    for (mapped, event) in [
        ("198.51.100.1:6000", None),
        (
            "198.51.100.1:6001",
            Some(BindingEvent::Mapped(addr("198.51.100.1:6001"))),
        ),
    ] {
        assert_eq!(client.poll_timeout(), Some(now + secs(10)));
        now += secs(10);
        client.handle_timeout(now);
        let request = client.poll_transmit().unwrap().message;
        assert!(client.handle_datagram(now, addr(SERVER), &answer(&request, mapped)));
        assert_eq!(client.poll_event(), event);
    }
    client.close();
    assert_eq!(
        (client.poll_timeout(), client.poll_transmit()),
        (None, None)
    );
}

#[test]
fn a_binding_request_without_answer_fails() {
    for (path, expected) in [(udp("10.0.0.1:5000"), 7), (tcp("10.0.0.1:5000"), 1)] {
        let (mut client, start) = binding(path, None);
        let (mut now, mut sent) = (start, 0);
        loop {
            sent += usize::from(client.poll_transmit().is_some());
            let Some(deadline) = client.poll_timeout() else {
                break;
            };
            assert!(deadline > now);
            now = deadline;
            client.handle_timeout(now);
        }
        assert_eq!((sent, now - start), (expected, ms(39_500)));
        assert_eq!(
            client.poll_event(),
            Some(BindingEvent::Failed(Error::Timeout))
        );
    }
}

#[test]
fn a_binding_response_that_is_no_use_fails() {
    let refusals: [fn(MessageBuilder) -> MessageBuilder; 2] = [
        |response| response.lifetime(secs(1)),
        |response| {
            response
                .xor_mapped_address(addr(PEER))
                .attribute(rtc_stun::AttributeType(0x7ff0), b"")
        },
    ];
    for refusal in refusals {
        let (mut client, now) = binding(udp("10.0.0.1:5000"), None);
        let request = client.poll_transmit().unwrap().message;
        let request = Message::parse(&request).unwrap();
        let response = refusal(MessageBuilder::response(Class::Success, &request)).finish();
        assert!(client.handle_datagram(now, addr(SERVER), &response));
        assert_eq!(
            client.poll_event(),
            Some(BindingEvent::Failed(Error::InvalidResponse))
        );
    }
}
