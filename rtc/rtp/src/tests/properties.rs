use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{
    DEPENDENCY_SEEDS, MALFORMED, PACKET_SEEDS, VALUES, entries, exercise, exercise_values, value,
    written,
};
use crate::extension::{
    AbsCaptureTime, AbsSendTime, AudioLevel, CsrcAudioLevels, DecodeTargetIndication,
    DependencyDescriptor, DependencyStructure, Extension, FeedbackRequest, FrameTemplate,
    LayerResolution, Mid, PlayoutDelay, RenderResolution, RepairedRtpStreamId, RtpStreamId,
    SpatialLayer, TransmissionOffset, TransportSequenceNumber, TransportSequenceNumberV2,
    VideoContentType, VideoLayersAllocation, VideoOrientation,
};
use crate::{Extensions, Header, HeaderView, Packet};

prop_compose! {
    fn header()(
        padding in prop_oneof![Just(0), any::<u8>()],
        marker in any::<bool>(),
        payload_type in 0u8..128,
        sequence_number in any::<u16>(),
        timestamp in any::<u32>(),
        ssrc in any::<u32>(),
        csrc in vec(any::<u32>(), 0..=15),
        elements in vec((1u8..=20, vec(any::<u8>(), 0..30)), 0..6),
        small_elements in vec((1u8..=14, vec(any::<u8>(), 1..=16)), 0..6),
        small in any::<bool>(),
    ) -> Header {
        let mut extensions = Extensions::default();
        for (id, value) in if small { small_elements } else { elements } {
            extensions.set(id, &value).unwrap();
        }
        Header { padding, marker, payload_type, sequence_number, timestamp, ssrc, csrc, extensions }
    }
}

fn dti() -> impl Strategy<Value = DecodeTargetIndication> {
    prop_oneof![
        Just(DecodeTargetIndication::NotPresent),
        Just(DecodeTargetIndication::Discardable),
        Just(DecodeTargetIndication::Switch),
        Just(DecodeTargetIndication::Required),
    ]
}

/// A structure with any counts; the layers go up by the steps given.
fn structure() -> impl Strategy<Value = DependencyStructure> {
    (
        1u8..=32,
        any::<Index>(),
        vec(0u8..3, 0..20),
        any::<bool>(),
        0u8..64,
    )
        .prop_flat_map(|(targets, chains, steps, with_resolutions, offset)| {
            let chains = chains.index(usize::from(targets) + 1);
            let mut layers = vec![(0u8, 0u8)];
            let (mut spatial, mut temporal) = (0, 0);
            for step in steps {
                match step {
                    1 if temporal < 7 => temporal += 1,
                    2 if spatial < 3 => (spatial, temporal) = (spatial + 1, 0),
                    _ => {}
                }
                layers.push((spatial, temporal));
            }
            let template = (
                vec(dti(), usize::from(targets)),
                vec(1u16..=16, 0..4),
                vec(0u8..16, chains),
            );
            let templates = vec(template, layers.len()).prop_map(move |templates| {
                templates
                    .into_iter()
                    .zip(&layers)
                    .map(
                        |((dtis, fdiffs, chain_diffs), &(spatial_id, temporal_id))| FrameTemplate {
                            spatial_id,
                            temporal_id,
                            dtis,
                            fdiffs,
                            chain_diffs,
                        },
                    )
                    .collect::<Vec<_>>()
            });
            let protected_by = vec(
                0..chains.max(1) as u8,
                if chains > 0 { targets.into() } else { 0 },
            );
            let sizes = if with_resolutions {
                usize::from(spatial) + 1
            } else {
                0
            };
            let resolutions = vec((1u32..=65_536, 1u32..=65_536), sizes);
            (templates, protected_by, resolutions).prop_map(
                move |(templates, protected_by, resolutions)| DependencyStructure {
                    template_id_offset: offset,
                    decode_target_count: targets,
                    chain_count: chains as u8,
                    protected_by,
                    templates,
                    resolutions: resolutions
                        .into_iter()
                        .map(|(width, height)| RenderResolution { width, height })
                        .collect(),
                },
            )
        })
}

/// A structure and a descriptor that fits it, which may bring it along.
fn descriptor() -> impl Strategy<Value = (DependencyStructure, DependencyDescriptor)> {
    structure().prop_flat_map(|structure| {
        let targets = usize::from(structure.decode_target_count);
        let chains = usize::from(structure.chain_count);
        (
            any::<[bool; 3]>(),
            any::<(Index, u16, u32)>(),
            proptest::option::of(vec(dti(), targets)),
            proptest::option::of(vec(1u16..=4096, 0..6)),
            proptest::option::of(vec(any::<u8>(), chains)),
            any::<bool>(),
        )
            .prop_map(
                move |(flags, (template, frame_number, mask), dtis, fdiffs, chains, active)| {
                    let index = template.index(structure.templates.len()) as u8;
                    let mask = mask & (u32::MAX >> (32 - structure.decode_target_count));
                    let descriptor = DependencyDescriptor {
                        start_of_frame: flags[0],
                        end_of_frame: flags[1],
                        template_id: (structure.template_id_offset + index) % 64,
                        frame_number,
                        structure: flags[2].then(|| Box::new(structure.clone())),
                        active_decode_targets: active.then_some(mask),
                        custom_dtis: dtis.map(Into::into),
                        custom_fdiffs: fdiffs.map(Into::into),
                        custom_chain_diffs: chains.map(Into::into),
                    };
                    (structure.clone(), descriptor)
                },
            )
    })
}

fn allocation() -> impl Strategy<Value = VideoLayersAllocation> {
    (1u8..=4, any::<[u8; 4]>(), any::<bool>(), any::<Index>()).prop_flat_map(
        |(stream_count, bitmaps, with_resolution, index)| {
            let places: Vec<_> = (0..stream_count)
                .flat_map(|stream| (0..4).map(move |spatial| (stream, spatial)))
                .filter(|&(stream, spatial)| bitmaps[usize::from(stream)] >> spatial & 1 != 0)
                .collect();
            let resolution = (1u32..=65_536, 1u32..=65_536, any::<u8>());
            vec((vec(any::<u32>(), 1..=4), resolution), places.len()).prop_map(move |layers| {
                if layers.is_empty() {
                    return VideoLayersAllocation::default();
                }
                let layer =
                    |(&(stream_index, spatial_id), (bitrates, size)): (_, (Vec<u32>, _))| {
                        let (width, height, max_frame_rate) = size;
                        let resolution = LayerResolution {
                            width,
                            height,
                            max_frame_rate,
                        };
                        SpatialLayer {
                            stream_index,
                            spatial_id,
                            target_bitrates: bitrates.into(),
                            resolution: with_resolution.then_some(resolution),
                        }
                    };
                VideoLayersAllocation {
                    stream_index: index.index(stream_count.into()) as u8,
                    stream_count,
                    layers: places.iter().zip(layers).map(layer).collect(),
                }
            })
        },
    )
}

fn survives<'a, E>(value: &E, wire: &'a mut Vec<u8>) -> Result<(), TestCaseError>
where
    E: Extension<'a> + PartialEq + std::fmt::Debug,
{
    wire.clear();
    value.write(wire).unwrap();
    let read = E::parse(wire);
    prop_assert_eq!(read.as_ref(), Some(value));
    Ok(())
}

proptest! {
    #[test]
    fn packets_survive(header in header(), payload in vec(any::<u8>(), 0..50)) {
        let packet = Packet { header, payload: Bytes::from(payload) };
        let datagram = written(&packet);
        let view = HeaderView::parse(&datagram).unwrap();
        prop_assert_eq!(view.header_len(), packet.header.encoded_len());
        prop_assert_eq!(view.has_padding(), packet.header.padding > 0);
        prop_assert_eq!(view.marker(), packet.header.marker);
        prop_assert_eq!(view.payload_type(), packet.header.payload_type);
        prop_assert_eq!(view.sequence_number(), packet.header.sequence_number);
        prop_assert_eq!(view.timestamp(), packet.header.timestamp);
        prop_assert_eq!(view.ssrc(), packet.header.ssrc);
        prop_assert!(view.csrc().eq(packet.header.csrc.iter().copied()));
        prop_assert!(view.extensions().eq(packet.header.extensions.iter()));
        for (id, value) in &packet.header.extensions {
            prop_assert_eq!(view.extension(id), Some(value));
        }
        prop_assert_eq!(Packet::parse(datagram).unwrap(), packet);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(datagram in vec(any::<u8>(), 0..100), first in any::<u8>()) {
        exercise(&datagram);
        let mut datagram = datagram;
        if let Some(byte) = datagram.first_mut() {
            *byte = 0x80 | first & 0x33;
        }
        exercise(&datagram);
        exercise_values(&datagram);
    }

    #[test]
    fn arbitrary_extension_blocks_do_not_panic(block in vec(any::<u8>(), 0..100), two: bool) {
        let mut datagram = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        let words = block.len() / 4;
        datagram.extend_from_slice(if two { &[0x10, 0x00] } else { &[0xbe, 0xde] });
        datagram.extend_from_slice(&(words as u16).to_be_bytes());
        datagram.extend_from_slice(&block);
        exercise(&datagram);
    }

    #[test]
    fn mutated_seeds_do_not_panic(
        index in any::<Index>(),
        changes in vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        for (file, is_packet) in
            [(MALFORMED, true), (PACKET_SEEDS, true), (DEPENDENCY_SEEDS, false), (VALUES, false)]
        {
            let all: Vec<_> = entries(file).into_iter().filter(|each| !each.1.is_empty()).collect();
            let mut bytes = all[index.index(all.len())].1.clone();
            let length = bytes.len();
            for (at, value) in &changes {
                bytes[at.index(length)] = *value;
            }
            if is_packet { exercise(&bytes) } else { exercise_values(&bytes) }
        }
    }

    #[test]
    fn element_lists_behave_like_a_map(
        actions in vec((1u8..20, proptest::option::of(vec(any::<u8>(), 0..20))), 0..30),
    ) {
        let mut extensions = Extensions::default();
        let mut model = std::collections::BTreeMap::new();
        for (id, value) in actions {
            match value {
                Some(value) => {
                    extensions.set(id, &value).unwrap();
                    model.insert(id, value);
                }
                None => prop_assert_eq!(extensions.remove(id), model.remove(&id).is_some()),
            }
            prop_assert_eq!(extensions.iter().count(), model.len());
            for (&id, value) in &model {
                prop_assert_eq!(extensions.get(id), Some(&value[..]));
            }
        }
    }

    #[test]
    fn small_values_survive(
        bits in any::<u64>(),
        flags in any::<[bool; 2]>(),
        levels in vec(0u8..128, 1..=15),
        text in "[a-zA-Z0-9_-]{1,40}",
        steps in (0u64..0x1000, 0u64..0x1000),
    ) {
        let (mut a, mut b, mut c, mut d) = Default::default();
        let level = (bits & 0x7f) as u8;
        survives(&AudioLevel { voice_activity: flags[0], level }, &mut a)?;
        survives(&CsrcAudioLevels(&levels), &mut b)?;
        prop_assert!(CsrcAudioLevels(&levels).iter().eq(levels.iter().copied()));
        survives(&TransmissionOffset((bits as i32) >> 8), &mut c)?;
        survives(&AbsSendTime(bits as u32 >> 8), &mut d)?;
        let (mut a, mut b, mut c, mut d) = Default::default();
        let offset = flags[0].then_some(bits.reverse_bits() as i64);
        survives(&AbsCaptureTime { timestamp: bits, clock_offset: offset }, &mut a)?;
        let rotation = (bits % 4) as u16 * 90;
        let [back_camera, flip] = flags;
        survives(&VideoOrientation { back_camera, flip, rotation }, &mut b)?;
        survives(&TransportSequenceNumber(bits as u16), &mut c)?;
        let request = FeedbackRequest {
            include_timestamps: flags[1],
            sequence_count: (bits >> 16) as u16 % 0x7fff + 1,
        };
        let feedback_request = flags[0].then_some(request);
        let sequence_number = bits as u16;
        survives(&TransportSequenceNumberV2 { sequence_number, feedback_request }, &mut d)?;
        let (mut a, mut b, mut c, mut d, mut e) = Default::default();
        let (min, max) = (steps.0.min(steps.1) * 10, steps.0.max(steps.1) * 10);
        let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
        survives(&PlayoutDelay { min, max }, &mut a)?;
        let content =
            if flags[0] { VideoContentType::Screenshare } else { VideoContentType::Unspecified };
        survives(&content, &mut b)?;
        survives(&Mid(&text), &mut c)?;
        survives(&RtpStreamId(&text), &mut d)?;
        survives(&RepairedRtpStreamId(&text), &mut e)?;
    }

    #[test]
    fn send_times_go_back_and_forth(milliseconds in 0u64..64_000) {
        let time = Duration::from_millis(milliseconds);
        let back = AbsSendTime::from_duration(time).as_duration();
        prop_assert!(time - back < Duration::from_nanos(3815));
    }

    #[test]
    fn layers_allocations_survive(allocation in allocation()) {
        let wire = value(&allocation);
        prop_assert_eq!(VideoLayersAllocation::parse(&wire), Some(allocation));
    }

    #[test]
    fn dependency_descriptors_survive((structure, descriptor) in descriptor()) {
        let mut wire = Vec::new();
        descriptor.write_with(Some(&structure), &mut wire).unwrap();
        let read = DependencyDescriptor::parse_with(&wire, Some(&structure));
        prop_assert_eq!(read.as_ref(), Some(&descriptor));
        let frame = descriptor.frame(Some(&structure)).unwrap();
        prop_assert_eq!(frame.dtis.len(), usize::from(structure.decode_target_count));
        prop_assert_eq!(frame.chain_diffs.len(), usize::from(structure.chain_count));
    }
}
