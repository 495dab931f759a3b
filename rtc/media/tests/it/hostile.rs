//! Payloads that nobody should send.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use rtc_media::{
    Codec, DepacketizeError, Depacketizer, Frame, NalFormat, Packetizer, PictureRewriter,
    SampleBuilder, SampleBuilderConfig, TelephoneEventReceiver, length_prefixed_to_annex_b,
};
use rtc_rtp::{Header, Packet};
use rtc_shared::Rng;

use crate::support::{VIDEO, builder, epoch, json, packets, samples};

const CODECS: &[Codec] = &[
    Codec::Opus,
    Codec::Pcmu,
    Codec::G722,
    Codec::TelephoneEvent,
    Codec::Vp8,
    Codec::Vp9,
    Codec::H264,
    Codec::H265,
    Codec::Av1,
];
const MAX_FRAME: usize = 2000;

fn depacketizer(codec: Codec) -> Box<dyn Depacketizer> {
    codec.depacketizer("", MAX_FRAME).unwrap()
}

fn one_packet(codec: Codec, payload: &[u8]) -> Result<Option<Frame>, DepacketizeError> {
    let _ = codec.inspect(payload);
    depacketizer(codec).depacketize(&Bytes::copy_from_slice(payload), true)
}

#[test]
fn malformed_payloads_give_no_frame() {
    let corpus = json("malformed/payload.json");
    let mut tried = 0;
    for entry in corpus.as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        let payload = hex::decode(entry["hex"].as_str().unwrap()).unwrap();
        let codec = match name.split('_').next().unwrap() {
            "vp8" => Codec::Vp8,
            "vp9" => Codec::Vp9,
            "h264" => Codec::H264,
            "h265" => Codec::H265,
            "av1" => Codec::Av1,
            "opus" => Codec::Opus,
            "dtmf" => Codec::TelephoneEvent,
            // Of RED, FEC and header extensions, which are not read here.
            _ => continue,
        };
        tried += 1;
        let result = one_packet(codec, &payload);
        assert!(result.is_err(), "{name}: {result:?}");
    }
    assert_eq!(tried, 37);
}

#[test]
fn seeds_of_fuzzers_are_read_or_refused() {
    for file in [
        "h264-depacketizer-fuzzer",
        "rtp-depacketizer-av1-assemble-frame",
    ] {
        for entry in json(&format!("fuzz_seeds/{file}.json")).as_array().unwrap() {
            let bytes = hex::decode(entry["hex"].as_str().unwrap()).unwrap();
            for &codec in CODECS {
                for from in 0..bytes.len() {
                    let _ = one_packet(codec, &bytes[from..]);
                }
            }
        }
    }
}

#[test]
fn frames_do_not_grow_beyond_their_bound() {
    for &(name, codec) in VIDEO {
        let mut depacketizer = codec.depacketizer("", 1500).unwrap();
        let mut results = packets(name)
            .into_iter()
            .map(|packet| depacketizer.depacketize(&packet.payload, packet.header.marker));
        // The first frame is a key frame of several packets.
        let error = results.find_map(Result::err);
        assert_eq!(error, Some(DepacketizeError::TooLarge), "{name}");
    }
}

#[test]
fn a_fragment_that_never_ends_is_bounded() {
    for (codec, first, next) in [
        (Codec::Vp8, vec![0x10, 1], vec![0x00, 1]),
        (Codec::Vp9, vec![0x08, 1], vec![0x00, 1]),
        (Codec::H264, vec![0x7c, 0x85, 1], vec![0x7c, 0x05, 1]),
        (Codec::H265, vec![0x62, 1, 0x93, 1], vec![0x62, 1, 0x13, 1]),
        (Codec::Av1, vec![0x50, 0x30, 1], vec![0xd0, 1, 1]),
    ] {
        let mut depacketizer = depacketizer(codec);
        depacketizer.push(&first.into()).unwrap();
        let next = Bytes::from([next, vec![1; 50]].concat());
        let failed = (0..1000).find_map(|_| depacketizer.push(&next).err());
        assert_eq!(failed, Some(DepacketizeError::TooLarge), "{codec:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_payloads_are_read_or_refused(payloads in vec((vec(any::<u8>(), 0..60), any::<bool>()), 1..12)) {
        for &codec in CODECS {
            let mut depacketizer = depacketizer(codec);
            for (payload, marker) in &payloads {
                let _ = codec.inspect(payload);
                let payload = Bytes::copy_from_slice(payload);
                if let Ok(Some(frame)) = depacketizer.depacketize(&payload, *marker) {
                    prop_assert!(!frame.data.is_empty() && frame.data.len() <= MAX_FRAME);
                }
            }
            for rewriter in [PictureRewriter::vp8(), PictureRewriter::vp9()] {
                let mut rewriter = rewriter;
                for (payload, switch) in &payloads {
                    let mut rewritten = payload.clone();
                    if *switch {
                        rewriter.switch_source();
                    }
                    let _ = rewriter.drop_picture(payload);
                    if rewriter.rewrite(&mut rewritten).is_err() {
                        prop_assert_eq!(&rewritten, payload);
                    }
                }
            }
        }
    }

    #[test]
    fn arbitrary_frames_are_packed_or_refused(
        frame in vec(prop_oneof![3 => 0..3_u8, 2 => any::<u8>()], 0..300), max_payload in 0..100_usize,
    ) {
        let _ = length_prefixed_to_annex_b(&frame, max_payload % 6);
        let _ = NalFormat::H264.resolution(&frame);
        let frame = Bytes::from(frame);
        for &codec in CODECS {
            let mut packetizer = codec.packetizer("packetization-mode=1", &mut Rng::from_seed([1; 32])).unwrap();
            let mut payloads = Vec::new();
            match packetizer.packetize(&frame, max_payload, &mut payloads) {
                Ok(()) => for payload in payloads {
                    prop_assert!((1..=max_payload).contains(&payload.data.len()));
                },
                Err(_) => prop_assert!(payloads.is_empty()),
            }
        }
    }

    #[test]
    fn mutated_streams_are_survived(
        stream in 0..VIDEO.len(),
        changes in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let (name, codec) = VIDEO[stream];
        let mut packets = packets(name);
        packets.truncate(40);
        for (packet, at, value) in changes {
            let packet = &mut packets[packet.index(40)];
            let mut payload = packet.payload.to_vec();
            let at = at.index(payload.len().max(1));
            match value % 3 {
                0 => payload.truncate(at),
                _ => payload.get_mut(at.min(value.into())).into_iter().for_each(|byte| *byte = value),
            }
            packet.payload = payload.into();
        }
        samples(&mut builder(codec), packets);
    }

    #[test]
    fn arbitrary_headers_are_survived_within_bounds(
        codec in 0..CODECS.len(),
        numbers in vec((any::<u16>(), 0..4_u32, any::<bool>(), 0..3_u32, 0..3000_usize), 1..300),
    ) {
        let mut config = SampleBuilderConfig::new(90_000);
        config.max_bytes = 20_000;
        let mut builder = SampleBuilder::new(depacketizer(CODECS[codec]), config);
        let mut now = epoch();
        for (at, (sequence_number, timestamp, marker, ssrc, length)) in numbers.into_iter().enumerate() {
            let near = (at as u16).wrapping_add(sequence_number % 4);
            let header = Header {
                marker,
                sequence_number: if sequence_number % 50 == 0 { sequence_number } else { near },
                timestamp,
                ssrc: ssrc / 2,
                ..Header::default()
            };
            builder.push(now, Packet { header, payload: vec![0x18; length].into() });
            while let Some(sample) = builder.pop(now) {
                prop_assert!(sample.data.len() <= MAX_FRAME);
            }
            if let Some(timeout) = builder.poll_timeout() {
                prop_assert!(timeout > now);
                if at % 7 == 0 {
                    now = timeout;
                }
            }
        }
    }

    #[test]
    fn arbitrary_events_are_received_or_refused(packets in vec((any::<u32>(), any::<[u8; 4]>()), 0..30)) {
        let mut receiver = TelephoneEventReceiver::new();
        for (timestamp, payload) in packets {
            let changes = receiver.receive(timestamp, &Bytes::copy_from_slice(&payload)).unwrap();
            prop_assert!(changes.len() <= 3);
        }
    }
}
