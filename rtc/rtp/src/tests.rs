use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use crate::extension::{
    AbsCaptureTime, AbsSendTime, AudioLevel, DecodeTargetIndication, DependencyDescriptor,
    Extension, ExtensionKind, ExtensionMap, Mid, PlayoutDelay, RenderResolution, RtpStreamId,
    TransmissionOffset, TransportSequenceNumber, VideoLayersAllocation, VideoOrientation,
};
use crate::sequence::SequenceExtender;
use crate::{ExtensionError, ExtensionForm, Extensions, Header, HeaderView, Packet, ParseError};

mod properties;

macro_rules! vectors {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/vectors/",
            $name
        ))
    };
}

macro_rules! capture {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/vectors/media/",
            $name,
            ".rtp"
        ))
    };
}

const MALFORMED: &str = vectors!("malformed/rtp.json");
const PACKET_SEEDS: &str = vectors!("fuzz_seeds/rtp.json");
const DEPENDENCY_SEEDS: &str = vectors!("fuzz_seeds/dependency_descriptor.json");
const LAYERS_SEEDS: &str = vectors!("fuzz_seeds/video_layers_allocation.json");
const VALUES: &str = vectors!("dd_vla.json");

fn entries(file: &str) -> Vec<(String, Vec<u8>)> {
    let entries: Vec<Value> = serde_json::from_str(file).unwrap();
    assert!(!entries.is_empty());
    let entry = |entry: &Value| {
        let bytes = hex::decode(entry["hex"].as_str().unwrap()).unwrap();
        (entry["name"].as_str().unwrap().to_owned(), bytes)
    };
    entries.iter().map(entry).collect()
}

fn entry(file: &str, name: &str) -> Vec<u8> {
    entries(file)
        .into_iter()
        .find(|each| each.0 == name)
        .unwrap()
        .1
}

/// The block of a header extension, parsed as part of a packet.
fn extensions(name: &str) -> (Extensions, Vec<u8>) {
    let entries: Vec<Value> = serde_json::from_str(vectors!("rtp_header_extensions.json")).unwrap();
    let entry = entries.iter().find(|each| each["name"] == name).unwrap();
    let block = hex::decode(entry["ext_block_hex"].as_str().unwrap()).unwrap();
    let mut datagram = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    datagram.extend_from_slice(&block);
    (Packet::parse(datagram).unwrap().header.extensions, block)
}

fn written(packet: &Packet) -> Vec<u8> {
    let mut out = Vec::new();
    packet.write(&mut out);
    assert_eq!(out.len(), packet.encoded_len());
    assert_eq!(packet.to_bytes(), out);
    out
}

fn value<'a, E: Extension<'a>>(value: &E) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out).unwrap();
    out
}

/// Reads everything there is; the tests that use it ask that nothing panics and that what was read
/// can be written and read again.
fn exercise(datagram: &[u8]) {
    let view = HeaderView::parse(datagram);
    let packet = Packet::parse(Bytes::copy_from_slice(datagram));
    let Ok(view) = view else {
        assert!(packet.is_err());
        return;
    };
    assert!(view.header_len() <= datagram.len());
    assert!(view.extensions().count() <= datagram.len());
    let Ok(packet) = packet else { return };
    assert_eq!(packet.header.ssrc, view.ssrc());
    assert!(packet.header.extensions.iter().eq(view.extensions()));
    for (_, value) in view.extensions() {
        exercise_values(value);
    }
    let again = Packet::parse(written(&packet)).unwrap();
    if packet.header.extensions.is_empty() {
        // An extension without elements is not written.
        assert_eq!(again.payload, packet.payload);
    } else {
        assert_eq!(again, packet);
    }
}

fn exercise_values(value: &[u8]) {
    exercise_value::<AudioLevel>(value);
    exercise_value::<crate::extension::CsrcAudioLevels<'_>>(value);
    exercise_value::<TransmissionOffset>(value);
    exercise_value::<AbsSendTime>(value);
    exercise_value::<AbsCaptureTime>(value);
    exercise_value::<VideoOrientation>(value);
    exercise_value::<TransportSequenceNumber>(value);
    exercise_value::<crate::extension::TransportSequenceNumberV2>(value);
    exercise_value::<PlayoutDelay>(value);
    exercise_value::<crate::extension::VideoContentType>(value);
    exercise_value::<Mid<'_>>(value);
    exercise_value::<RtpStreamId<'_>>(value);
    exercise_value::<crate::extension::RepairedRtpStreamId<'_>>(value);

    if let Some(layers) = VideoLayersAllocation::parse(value) {
        let written = self::value(&layers);
        assert_eq!(VideoLayersAllocation::parse(&written), Some(layers));
    }
    let key = entry(VALUES, "dd_key_L1T1_with_structure");
    let known = DependencyDescriptor::parse(&key).unwrap().structure;
    for structure in [None, known.as_deref()] {
        let Some(descriptor) = DependencyDescriptor::parse_with(value, structure) else {
            continue;
        };
        let _ = descriptor.frame(structure);
        let mut written = Vec::new();
        descriptor.write_with(structure, &mut written).unwrap();
        let again = DependencyDescriptor::parse_with(&written, structure);
        assert_eq!(again, Some(descriptor));
    }
}

fn exercise_value<'a, E: Extension<'a> + PartialEq + std::fmt::Debug>(value: &'a [u8]) {
    if let Some(read) = E::parse(value) {
        let mut written = Vec::new();
        // The reserved top bit of levels of contributing sources is read but never written.
        if read.write(&mut written).is_ok() {
            assert!(written.len() <= value.len());
        }
    }
}

#[test]
fn captured_streams_are_read_and_written_byte_for_byte() {
    let expected: Value = serde_json::from_str(vectors!("media/expected.json")).unwrap();
    let streams: [(&str, &[u8]); 9] = [
        ("vp8", capture!("vp8")),
        ("vp9", capture!("vp9")),
        ("av1", capture!("av1")),
        ("h264_cbp", capture!("h264_cbp")),
        ("h264_high", capture!("h264_high")),
        ("h265", capture!("h265")),
        ("opus", capture!("opus")),
        ("pcmu", capture!("pcmu")),
        ("pcma", capture!("pcma")),
    ];
    for (name, mut rest) in streams {
        let mut extender = SequenceExtender::new();
        let mut timestamps = Vec::new();
        let mut count = 0;
        while let Some((length, tail)) = rest.split_first_chunk::<2>() {
            let (datagram, tail) = tail.split_at(u16::from_be_bytes(*length).into());
            rest = tail;
            let packet = Packet::parse(BytesMut::from(datagram)).unwrap();
            assert_eq!(packet.header.ssrc, 0x1234_5678, "{name}");
            let extended = extender.extend(packet.header.sequence_number);
            assert_eq!(extended, 65_500 + count, "{name}");
            if timestamps.last() != Some(&packet.header.timestamp) {
                timestamps.push(packet.header.timestamp);
            }
            assert_eq!(written(&packet), datagram, "{name}");
            count += 1;
        }
        assert!(count > 30, "{name}");
        if let Some(frames) = expected[name]["frames"].as_array() {
            let of_frames: Vec<_> = frames
                .iter()
                .map(|frame| frame["rtp_ts"].as_u64().unwrap() as u32)
                .collect();
            assert_eq!(timestamps, of_frames, "{name}");
        }
    }
}

#[test]
fn the_payload_is_a_slice_of_the_datagram() {
    let mut datagram = BytesMut::from(&[0x80, 0xe0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2][..]);
    datagram.extend_from_slice(b"payload");
    let at = datagram.as_ptr().wrapping_add(12);
    let packet = Packet::parse(datagram).unwrap();
    assert_eq!(packet.payload.as_ptr(), at);
    assert_eq!(packet.payload, "payload");
    assert!(packet.header.marker);
    assert_eq!(
        (packet.header.payload_type, packet.header.sequence_number),
        (96, 7)
    );
}

#[test]
fn known_extension_values_are_read_and_written() {
    fn check<E>(name: &str, id: u8, expected: E)
    where
        E: for<'a> Extension<'a> + PartialEq + std::fmt::Debug,
    {
        let (extensions, block) = extensions(name);
        assert_eq!(
            extensions.value::<E>(id).as_ref(),
            Some(&expected),
            "{name}"
        );
        let mut built = Header::default();
        built.extensions.set_value(id, &expected).unwrap();
        let mut out = Vec::new();
        built.write(&mut out);
        assert_eq!(hex::encode(&out[12..]), hex::encode(block), "{name}");
    }
    check("abs_send_time", 3, AbsSendTime(0x0c_8000));
    check(
        "audio_level",
        1,
        AudioLevel {
            voice_activity: true,
            level: 37,
        },
    );
    let rotation = VideoOrientation {
        rotation: 90,
        ..VideoOrientation::default()
    };
    check("video_orientation", 4, rotation);
    check("twcc_seq", 5, TransportSequenceNumber(0x1234));
    let (min, max) = (Duration::from_millis(10), Duration::from_millis(400));
    check("playout_delay", 6, PlayoutDelay { min, max });
    check("toffset", 2, TransmissionOffset(-1));
    let (timestamp, clock_offset) = (0xe123_4567_8000_0000, Some(0x4000_0000));
    check(
        "abs_capture_time",
        7,
        AbsCaptureTime {
            timestamp,
            clock_offset,
        },
    );

    assert_eq!(extensions("mid").0.value(9), Some(Mid("0")));
    assert_eq!(extensions("rid").0.value(10), Some(RtpStreamId("hi")));
}

#[test]
fn the_two_byte_form_and_the_reserved_identifier_are_read() {
    let (two_byte, block) = extensions("two_byte");
    assert_eq!(two_byte.form(), ExtensionForm::TwoByte { app_bits: 0 });
    assert_eq!(two_byte.get(1), Some(&[][..]));
    assert_eq!(two_byte.get(2), Some(&[0xaa, 0xbb, 0xcc][..]));
    let packet = Packet {
        header: Header {
            extensions: two_byte,
            ..Header::default()
        },
        payload: Bytes::new(),
    };
    assert_eq!(&written(&packet)[12..], block);

    let (stopped, _) = extensions("one_byte_id15_stop");
    assert_eq!(stopped.iter().collect::<Vec<_>>(), [(1, &[0xff][..])]);
}

#[test]
fn another_profile_is_kept_as_it_is() {
    let mut datagram = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    datagram.extend_from_slice(&[0xab, 0xcd, 0, 1, 0x10, 0xff, 1, 2, b'x']);
    let mut packet = Packet::parse(datagram.clone()).unwrap();
    assert_eq!(
        packet.header.extensions.form(),
        ExtensionForm::Other(0xabcd)
    );
    assert_eq!(packet.header.extensions.iter().count(), 0);
    assert_eq!(
        packet.header.extensions.set(1, b"a"),
        Err(ExtensionError::OtherProfile)
    );
    assert_eq!(written(&packet), datagram);
    packet.header.extensions.clear();
    assert_eq!(packet.header.extensions.set(1, b"a"), Ok(()));
}

#[test]
fn elements_are_replaced_removed_and_change_the_form() {
    let mut extensions = Extensions::default();
    extensions.set(1, b"a").unwrap();
    extensions.set(2, b"bb").unwrap();
    extensions.set(1, b"c").unwrap();
    assert_eq!(format!("{extensions:?}"), "{1: [99], 2: [98, 98]}");
    extensions.set(1, b"longer").unwrap();
    assert_eq!(extensions.get(1), Some(&b"longer"[..]));
    assert_eq!(extensions.form(), ExtensionForm::OneByte);
    assert_eq!(extensions.encoded_len(), 4 + 12);
    assert!(extensions.remove(2) && !extensions.remove(2));
    assert_eq!(extensions.iter().count(), 1);

    let two_byte = ExtensionForm::TwoByte { app_bits: 0 };
    for (id, length) in [(15, 1), (14, 0), (14, 17)] {
        let mut extensions = extensions.clone();
        extensions.set(id, &vec![0; length]).unwrap();
        assert_eq!(extensions.form(), two_byte);
    }
    extensions.use_two_byte_form();
    assert_eq!(
        (extensions.form(), extensions.encoded_len()),
        (two_byte, 4 + 8)
    );

    assert_eq!(extensions.set(0, b"x"), Err(ExtensionError::ReservedId));
    assert_eq!(extensions.set(3, &[0; 256]), Err(ExtensionError::TooLong));
    extensions.clear();
    assert_eq!((extensions.is_empty(), extensions.encoded_len()), (true, 0));
}

#[test]
fn an_extension_longer_than_any_datagram_is_cut() {
    let mut datagram = vec![
        0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0xff, 0xff,
    ];
    datagram.extend([0x10, 0xaa].repeat(0x1fffe));
    let mut packet = Packet::parse(datagram).unwrap();
    let extensions = &mut packet.header.extensions;
    assert_eq!(extensions.iter().count(), 0xffff / 3);
    assert_eq!(extensions.set(2, b"x"), Err(ExtensionError::TooLong));
    extensions.use_two_byte_form();
    assert_eq!(Packet::parse(written(&packet)).unwrap(), packet);
}

#[test]
fn malformed_packets_are_refused_and_malformed_elements_left_out() {
    let refused = [
        ("11_bytes", ParseError::Truncated),
        ("version_1", ParseError::Version),
        ("cc15_truncated", ParseError::Truncated),
        ("x_no_ext", ParseError::Truncated),
        ("x_ext_beyond", ParseError::Truncated),
        ("x_ext_ffff", ParseError::Truncated),
        ("padding_0", ParseError::Padding),
        ("padding_over_payload", ParseError::Padding),
        ("padding_no_payload", ParseError::Padding),
    ];
    for (name, error) in refused {
        assert_eq!(Packet::parse(entry(MALFORMED, name)), Err(error), "{name}");
    }
    for name in [
        "one_byte_elem_beyond",
        "two_byte_elem_beyond",
        "two_byte_last_id_no_len",
    ] {
        let packet = Packet::parse(entry(MALFORMED, name)).unwrap();
        assert!(packet.header.extensions.is_empty(), "{name}");
    }
    // 0x03 is padding; 0x01, 0x02 and 0x03 too.
    let packet = Packet::parse(entry(MALFORMED, "one_byte_id0_len3")).unwrap();
    assert!(packet.header.extensions.is_empty());
    for (name, length) in [("rtx_empty", 0), ("rtx_1_byte", 1)] {
        assert_eq!(
            Packet::parse(entry(MALFORMED, name)).unwrap().payload.len(),
            length
        );
    }
}

#[test]
fn a_probe_of_padding_alone_is_a_packet() {
    let datagram = entry(MALFORMED, "padding_all");
    let packet = Packet::parse(datagram.clone()).unwrap();
    assert_eq!((packet.header.padding, packet.payload.len()), (4, 0));
    assert_eq!(written(&packet), datagram);
    let largest = Packet {
        header: Header {
            padding: 255,
            ..Header::default()
        },
        payload: Bytes::from_static(b"x"),
    };
    assert_eq!(Packet::parse(written(&largest)).unwrap(), largest);
}

#[test]
fn fields_out_of_range_do_not_spill_over() {
    let header = Header {
        payload_type: 0xff,
        csrc: vec![7; 20],
        ..Header::default()
    };
    let packet = Packet {
        header,
        payload: Bytes::from_static(b"x"),
    };
    let again = Packet::parse(written(&packet)).unwrap();
    assert_eq!(
        (again.header.payload_type, again.header.marker),
        (0x7f, false)
    );
    assert_eq!(again.header.csrc, [7; 15]);
    assert_eq!(again.payload, "x");
}

#[test]
fn a_key_frame_brings_its_dependency_structure() {
    let bytes = entry(VALUES, "dd_key_L1T1_with_structure");
    let descriptor = DependencyDescriptor::parse(&bytes).unwrap();
    assert!(descriptor.start_of_frame && descriptor.end_of_frame);
    assert_eq!((descriptor.template_id, descriptor.frame_number), (0, 1));
    let structure = descriptor.structure.as_deref().unwrap();
    assert_eq!(
        (structure.template_id_offset, structure.decode_target_count),
        (0, 1)
    );
    assert_eq!((structure.chain_count, structure.templates.len()), (0, 2));
    let fdiffs: Vec<_> = structure
        .templates
        .iter()
        .map(|each| &each.fdiffs[..])
        .collect();
    assert_eq!(fdiffs, [&[][..], &[1]]);
    for template in &structure.templates {
        assert_eq!((template.spatial_id, template.temporal_id), (0, 0));
        assert_eq!(template.dtis, [DecodeTargetIndication::Switch]);
    }
    assert_eq!(
        structure.resolutions,
        [RenderResolution {
            width: 320,
            height: 240
        }]
    );
    let frame = descriptor.frame(None).unwrap();
    assert_eq!(
        frame.resolution,
        Some(RenderResolution {
            width: 320,
            height: 240
        })
    );
    assert_eq!(hex::encode(value(&descriptor)), hex::encode(bytes));

    let bytes = entry(VALUES, "dd_delta_3_bytes");
    let delta = DependencyDescriptor::parse_with(&bytes, Some(structure)).unwrap();
    assert_eq!((delta.template_id, delta.frame_number), (1, 2));
    assert_eq!(delta.frame(None), None);
    assert_eq!(delta.frame(Some(structure)).unwrap().fdiffs, [1]);
    assert_eq!(value(&delta), bytes);
    // Template 2 does not exist.
    assert_eq!(
        DependencyDescriptor::parse_with(&[0xc2, 0, 2], Some(structure)),
        None
    );
}

#[test]
fn layers_allocations_are_read_and_written() {
    let bytes = entry(VALUES, "vla_one_stream_one_layer");
    let allocation = VideoLayersAllocation::parse(&bytes).unwrap();
    assert_eq!((allocation.stream_index, allocation.stream_count), (0, 1));
    let [layer] = &allocation.layers[..] else {
        panic!("one layer")
    };
    assert_eq!((layer.stream_index, layer.spatial_id), (0, 0));
    assert_eq!(layer.target_bitrates[..], [300]);
    let resolution = layer.resolution.unwrap();
    assert_eq!(
        (
            resolution.width,
            resolution.height,
            resolution.max_frame_rate
        ),
        (320, 240, 30)
    );
    assert_eq!(value(&allocation), bytes);

    let bytes = entry(VALUES, "vla_inactive");
    let inactive = VideoLayersAllocation::parse(&bytes).unwrap();
    assert_eq!(inactive, VideoLayersAllocation::default());
    assert_eq!(value(&inactive), bytes);
    // Bitrate without its last byte, resolution without its frame rate.
    for end in [3, 8] {
        let bytes = entry(VALUES, "vla_one_stream_one_layer");
        assert_eq!(VideoLayersAllocation::parse(&bytes[..end]), None);
    }
    // A number that goes on for ever.
    assert_eq!(
        VideoLayersAllocation::parse(&[1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0]),
        None
    );
}

#[test]
fn send_times_are_the_middle_of_ntp_time() {
    let time = Duration::from_millis(65_500);
    assert_eq!(
        AbsSendTime::from_duration(time).as_duration(),
        Duration::from_millis(1500)
    );
    let ntp = (123u64 << 32) | (1 << 31);
    assert_eq!(
        AbsSendTime::from_ntp(ntp),
        AbsSendTime((123 % 64) << 18 | 1 << 17)
    );
}

#[test]
fn the_map_knows_what_was_negotiated() {
    for &kind in ExtensionKind::ALL {
        assert_eq!(ExtensionKind::from_uri(kind.uri()), Some(kind));
    }
    assert_eq!(ExtensionKind::from_uri("urn:example"), None);

    let mut map = ExtensionMap::default();
    map.set(ExtensionKind::AudioLevel, 3);
    map.set(ExtensionKind::Mid, 200);
    map.set(ExtensionKind::PlayoutDelay, 4);
    map.set(ExtensionKind::PlayoutDelay, 0);
    assert_eq!(map.kind(200), Some(ExtensionKind::Mid));
    assert_eq!((map.kind(4), map.kind(0)), (None, None));

    let mut extensions = Extensions::default();
    assert_eq!(map.write(&mut extensions, &Mid("v")), Ok(true));
    assert_eq!(
        map.write(&mut extensions, &TransmissionOffset(1)),
        Ok(false)
    );
    assert_eq!(map.read(&extensions), Some(Mid("v")));
    assert_eq!(map.read::<AudioLevel>(&extensions), None);
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let mut extensions = Extensions::default();
    let refuse = |result| assert_eq!(result, Err(ExtensionError::Unencodable));
    refuse(extensions.set_value(
        1,
        &AudioLevel {
            voice_activity: false,
            level: 128,
        },
    ));
    refuse(extensions.set_value(1, &TransmissionOffset(1 << 23)));
    refuse(extensions.set_value(1, &AbsSendTime(1 << 24)));
    refuse(extensions.set_value(1, &Mid("")));
    refuse(extensions.set_value(1, &Mid("a\0b")));
    refuse(extensions.set_value(1, &Mid(&"x".repeat(256))));
    refuse(extensions.set_value(
        1,
        &VideoOrientation {
            rotation: 45,
            ..Default::default()
        },
    ));
    let (min, max) = (Duration::from_secs(2), Duration::from_secs(1));
    refuse(extensions.set_value(1, &PlayoutDelay { min, max }));
    refuse(extensions.set_value(
        1,
        &PlayoutDelay {
            min: max,
            max: Duration::from_secs(41),
        },
    ));
    // The count of decode targets is unknown without a structure.
    let descriptor = DependencyDescriptor {
        active_decode_targets: Some(1),
        ..DependencyDescriptor::default()
    };
    refuse(extensions.set_value(1, &descriptor));
    assert!(extensions.is_empty());
}

#[test]
fn hostile_inputs_do_not_panic() {
    for file in [MALFORMED, PACKET_SEEDS] {
        for (_, datagram) in entries(file) {
            (0..=datagram.len()).for_each(|end| exercise(&datagram[..end]));
        }
    }
    for file in [DEPENDENCY_SEEDS, LAYERS_SEEDS, VALUES] {
        for (_, value) in entries(file) {
            (0..=value.len().min(300)).for_each(|end| exercise_values(&value[..end]));
            exercise_values(&value);
            // The seeds are for a fuzzer that takes a size first.
            (1..value.len().min(8)).for_each(|start| exercise_values(&value[start..]));
        }
    }
}
