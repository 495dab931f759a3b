//! Any frame, packed and unpacked.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use rtc_media::{Codec, DEFAULT_MAX_FRAME, Frame, Packetizer, Payload};
use rtc_shared::Rng;

fn pack(codec: Codec, frames: &[Bytes], max_payload: usize) -> Vec<Payload> {
    let mut rng = Rng::from_seed([9; 32]);
    let mut packetizer = codec.packetizer("packetization-mode=1", &mut rng).unwrap();
    let mut payloads = Vec::new();
    for frame in frames {
        packetizer
            .packetize(frame, max_payload, &mut payloads)
            .unwrap();
    }
    assert!(
        payloads
            .iter()
            .all(|payload| payload.data.len() <= max_payload)
    );
    payloads
}

fn unpack(codec: Codec, payloads: &[Payload]) -> Vec<Frame> {
    let mut depacketizer = codec.depacketizer("", DEFAULT_MAX_FRAME).unwrap();
    let mut frames = Vec::new();
    for payload in payloads {
        frames.extend(
            depacketizer
                .depacketize(&payload.data, payload.marker)
                .unwrap(),
        );
    }
    frames
}

fn data(frames: Vec<Frame>) -> Vec<Bytes> {
    frames.into_iter().map(|frame| frame.data).collect()
}

/// A NAL unit of a type that is no packet's, without start codes in it and zeros at its end.
fn nal(h265: bool) -> impl Strategy<Value = Vec<u8>> {
    let kind = if h265 { 0..48_u8 } else { 1..24_u8 };
    let body = prop_oneof![vec(1..=255_u8, 1..80), vec(1..=255_u8, 200..3000)];
    (kind, 0..4_u8, 0..8_u8, body).prop_map(move |(kind, importance, layer, body)| {
        let header = match h265 {
            true => vec![kind << 1 | importance & 1, (layer << 3) | (importance + 1)],
            false => vec![importance << 5 | kind],
        };
        [header, body].concat()
    })
}

fn access_unit(nals: &[Vec<u8>]) -> Bytes {
    nals.iter()
        .flat_map(|nal| [&[0, 0, 0, 1], &nal[..]].concat())
        .collect()
}

/// Key frames get parameter sets that they lack, so here they all have theirs.
fn with_parameter_sets(h265: bool, mut nals: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let sets: &[&[u8]] = match h265 {
        true => &[&[64, 1, 7], &[66, 1, 7], &[68, 1, 7]],
        false => &[&[0x67, 7], &[0x68, 7]],
    };
    nals.splice(0..0, sets.iter().map(|set| set.to_vec()));
    nals
}

/// Temporal units of OBUs with their sizes, after a temporal delimiter.
fn temporal_unit() -> impl Strategy<Value = Bytes> {
    let kinds = prop::sample::select(vec![1_u8, 3, 4, 5, 6, 7]);
    let content = prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), 100..3000)];
    let obu = (kinds, prop::option::of(any::<u8>()), content);
    vec(obu, 1..8).prop_map(|obus| {
        let mut out = vec![0x12, 0];
        for (kind, extension, content) in obus {
            out.push(kind << 3 | 2 | if extension.is_some() { 4 } else { 0 });
            out.extend(extension);
            let mut length = content.len();
            while length >= 0x80 {
                out.push(length as u8 | 0x80);
                length >>= 7;
            }
            out.push(length as u8);
            out.extend(content);
        }
        out.into()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn frames_of_vp8_and_vp9(frames in vec(vec(any::<u8>(), 1..5000), 1..6), max_payload in 64..1500_usize) {
        let frames: Vec<_> = frames.into_iter().map(Bytes::from).collect();
        for codec in [Codec::Vp8, Codec::Vp9] {
            let payloads = pack(codec, &frames, max_payload);
            prop_assert_eq!(data(unpack(codec, &payloads)), &frames[..]);
        }
    }

    #[test]
    fn access_units_of_h264(nals in vec(nal(false), 1..9), max_payload in 64..1500_usize) {
        let frame = access_unit(&with_parameter_sets(false, nals));
        let payloads = pack(Codec::H264, std::slice::from_ref(&frame), max_payload);
        prop_assert_eq!(data(unpack(Codec::H264, &payloads)), [frame]);
    }

    #[test]
    fn access_units_of_h265(nals in vec(nal(true), 1..9), max_payload in 64..1500_usize) {
        let frame = access_unit(&with_parameter_sets(true, nals));
        let payloads = pack(Codec::H265, std::slice::from_ref(&frame), max_payload);
        prop_assert_eq!(data(unpack(Codec::H265, &payloads)), [frame]);
    }

    #[test]
    fn temporal_units_of_av1(frame in temporal_unit(), max_payload in 64..1500_usize) {
        let payloads = pack(Codec::Av1, std::slice::from_ref(&frame), max_payload);
        let markers = payloads.iter().filter(|payload| payload.marker).count();
        prop_assert_eq!(markers, 1);
        prop_assert!(payloads.iter().all(|payload| Codec::Av1.inspect(&payload.data).is_ok()));
        prop_assert_eq!(data(unpack(Codec::Av1, &payloads)), [frame]);
    }

    #[test]
    fn small_payloads_work_or_are_refused(length in 1..300_usize, max_payload in 0..64_usize) {
        let body = vec![0x81; length];
        let nal = [&[0, 0, 0, 1, 0x41], &body[..]].concat();
        let nal_h265 = [&[0, 0, 0, 1, 2, 1], &body[..]].concat();
        let obu = [&[0x12, 0, 0x30], &body[..]].concat();
        for (codec, frame) in [
            (Codec::Vp8, body.clone()),
            (Codec::Vp9, body.clone()),
            (Codec::H264, nal),
            (Codec::H265, nal_h265),
            (Codec::Av1, obu),
        ] {
            let frame = Bytes::from(frame);
            let mut packetizer = codec.packetizer("packetization-mode=1", &mut Rng::from_seed([1; 32])).unwrap();
            let mut payloads = Vec::new();
            match packetizer.packetize(&frame, max_payload, &mut payloads) {
                Ok(()) => {
                    prop_assert!(payloads.iter().all(|payload| payload.data.len() <= max_payload));
                    prop_assert_eq!(unpack(codec, &payloads).len(), 1);
                }
                Err(_) => prop_assert!(payloads.is_empty() && max_payload < 8),
            }
        }
    }
}

#[test]
fn key_frames_without_parameter_sets_get_the_last_ones() {
    for (codec, sets, key, delta) in [
        (
            Codec::H264,
            vec![vec![0x67, 1], vec![0x68, 2]],
            vec![0x65, 0x88],
            vec![0x41, 0x9a],
        ),
        (
            Codec::H265,
            vec![vec![0x40, 1, 1], vec![0x42, 1, 1], vec![0x44, 1, 1]],
            vec![0x26, 1, 0xaf],
            vec![2, 1, 0xd0],
        ),
    ] {
        let whole: Vec<_> = sets.iter().cloned().chain([key.clone()]).collect();
        let frames = [
            access_unit(&whole),
            access_unit(std::slice::from_ref(&delta)),
            access_unit(std::slice::from_ref(&key)),
        ];
        let payloads = pack(codec, &frames, 1000);
        assert_eq!(payloads.len(), 3);
        let unpacked = data(unpack(codec, &payloads));
        assert_eq!(
            unpacked,
            [frames[0].clone(), frames[1].clone(), frames[0].clone()]
        );
        assert!(codec.is_key_frame(&payloads[2].data) && !codec.is_key_frame(&payloads[1].data));
    }
}

#[test]
fn a_small_nal_unit_is_a_slice_of_the_frame() {
    let frame = access_unit(&[vec![0x41, 0x9a, 3, 4]]);
    let payloads = pack(Codec::H264, std::slice::from_ref(&frame), 100);
    assert_eq!(payloads[0].data.as_ptr(), frame[4..].as_ptr());
}

#[test]
fn parts_of_a_frame_are_of_about_one_size() {
    let frame = Bytes::from(vec![0x81; 2500]);
    for codec in [Codec::Vp8, Codec::Vp9] {
        let payloads = pack(codec, std::slice::from_ref(&frame), 1200);
        let lengths: Vec<_> = payloads.iter().map(|payload| payload.data.len()).collect();
        let most = lengths.iter().max().unwrap();
        assert!(
            lengths.len() == 3 && most - lengths.iter().min().unwrap() <= 1,
            "{lengths:?}"
        );
    }
}
