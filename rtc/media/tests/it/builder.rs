//! The sample builder on networks that lose, delay and disorder.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rtc_media::{Codec, Sample, SampleBuilder, SampleBuilderConfig};
use rtc_rtp::{Header, Packet};
use rtc_shared::Rng;

use crate::support::{VIDEO, builder, epoch, frames, packets, samples};

/// A packet of VP8 that begins a frame or goes on.
fn vp8(sequence_number: u16, timestamp: u32, start: bool, marker: bool) -> Packet {
    let descriptor = if start { 0x10 } else { 0x00 };
    Packet {
        header: Header {
            sequence_number,
            timestamp,
            marker,
            ..Header::default()
        },
        payload: Bytes::copy_from_slice(&[descriptor, 1, sequence_number as u8]),
    }
}

fn padding(sequence_number: u16) -> Packet {
    Packet {
        header: Header {
            sequence_number,
            padding: 255,
            ..Header::default()
        },
        payload: Bytes::new(),
    }
}

fn waiting_for_key_frames(codec: Codec) -> SampleBuilder {
    let mut config = SampleBuilderConfig::new(codec.clock_rate());
    config.wait_for_key_frame = true;
    SampleBuilder::new(codec.depacketizer("", 1 << 20).unwrap(), config)
}

#[test]
fn lost_packets_cost_their_frames_and_no_others() {
    for &(name, codec) in VIDEO {
        let originals = frames(name, codec);
        let timestamps: BTreeMap<u32, usize> = samples(&mut builder(codec), packets(name))
            .iter()
            .enumerate()
            .map(|(at, sample)| (sample.timestamp, at))
            .collect();
        for seed in 0..10 {
            let mut rng = Rng::from_seed([seed; 32]);
            let mut builder = builder(codec);
            let (mut now, mut got, mut lost) = (epoch(), Vec::<Sample>::new(), 0_u64);
            let mut damaged = std::collections::BTreeSet::new();
            let all = packets(name);
            let (last, first) = (all.len() - 1, 0);
            for (at, packet) in all.into_iter().enumerate() {
                now += Duration::from_millis(10);
                if rng.below(10) == 0 && at != first && at != last {
                    lost += 1;
                    damaged.insert(packet.header.timestamp);
                } else {
                    builder.push(now, packet);
                }
                got.extend(std::iter::from_fn(|| builder.pop(now)));
                assert!(builder.poll_timeout().is_none_or(|timeout| timeout > now));
            }
            while let Some(timeout) = builder.poll_timeout() {
                got.extend(std::iter::from_fn(|| builder.pop(timeout)));
                assert!(builder.poll_timeout().is_none_or(|next| next > timeout));
            }
            let what = format!("{name}, seed {seed}");
            assert_eq!(builder.stats().packets_missing, lost, "{what}");
            // Packets of H.264 and H.265 do not tell whether parameter sets or messages came before
            // them: a frame whose first packet is lost may begin with the next.
            let nal_units = matches!(codec, Codec::H264 | Codec::H265);
            let shortened = |sample: &Sample| {
                let original = &originals[timestamps[&sample.timestamp]];
                nal_units && sample.packets_lost > 0 && original.ends_with(&sample.data)
            };
            let whole = got
                .iter()
                .filter(|sample| !damaged.contains(&sample.timestamp));
            assert_eq!(whole.count(), originals.len() - damaged.len(), "{what}");
            let mut lost_before = 0;
            for sample in &got {
                match damaged.contains(&sample.timestamp) {
                    true => assert!(shortened(sample), "{what}"),
                    false => {
                        let original = &originals[timestamps[&sample.timestamp]];
                        assert_eq!(sample.data, original, "{what}");
                    }
                }
                lost_before += u64::from(sample.packets_lost);
            }
            let stats = builder.stats();
            assert_eq!(
                lost_before,
                stats.packets_missing + stats.packets_discarded,
                "{what}"
            );
        }
    }
}

#[test]
fn after_a_loss_all_waits_for_a_key_frame_if_so_wished() {
    let (name, codec) = ("h264_cbp", Codec::H264);
    let all = samples(&mut builder(codec), packets(name));
    let second_key = all.iter().skip(1).find(|sample| sample.key_frame).unwrap();
    let mut builder = waiting_for_key_frames(codec);
    assert!(builder.needs_key_frame());
    let mut now = epoch();
    let mut got = Vec::new();
    for (at, packet) in packets(name).into_iter().enumerate() {
        now += Duration::from_millis(30);
        if at != 8 {
            builder.push(now, packet);
        }
        while let Some(sample) = builder.pop(now) {
            assert!(!builder.needs_key_frame());
            got.push(sample.timestamp);
        }
    }
    let before_loss = got
        .iter()
        .take_while(|&&at| at != second_key.timestamp)
        .count();
    assert!(before_loss > 1 && before_loss < 10, "{before_loss}");
    let from_key = all
        .iter()
        .position(|sample| sample.timestamp == second_key.timestamp)
        .unwrap();
    assert_eq!(got.len(), before_loss + all.len() - from_key);

    // One who comes late begins with a key frame too.
    let mut late = waiting_for_key_frames(codec);
    let got = samples(&mut late, packets(name).into_iter().skip(20));
    assert_eq!(got[0].timestamp, second_key.timestamp);
}

#[test]
fn a_gap_is_waited_for_as_long_as_configured() {
    let mut config = SampleBuilderConfig::new(90_000);
    config.max_delay = Duration::from_millis(50);
    config.max_reorder = 4;
    let make = || SampleBuilder::new(Codec::Vp8.depacketizer("", 1000).unwrap(), config);
    let now = epoch();
    let mut builder = make();
    builder.push(now, vp8(10, 0, true, true));
    assert!(builder.pop(now).is_some());
    assert_eq!(builder.poll_timeout(), None);
    builder.push(now, vp8(12, 6000, true, true));
    assert_eq!(builder.pop(now), None);
    let deadline = now + Duration::from_millis(50);
    assert_eq!(builder.poll_timeout(), Some(deadline));
    assert_eq!(builder.pop(deadline - Duration::from_millis(1)), None);
    // In time after all.
    builder.push(deadline, vp8(11, 3000, true, true));
    assert_eq!(builder.pop(now).unwrap().timestamp, 3000);
    assert_eq!(builder.pop(now).unwrap().packets_lost, 0);

    // Not in time.
    builder.push(deadline, vp8(14, 12_000, true, true));
    let deadline = builder.poll_timeout().unwrap_or(deadline) + Duration::from_millis(50);
    let sample = builder.pop(deadline).unwrap();
    assert_eq!((sample.timestamp, sample.packets_lost), (12_000, 1));
    builder.push(deadline, vp8(13, 9000, true, true));
    assert_eq!(builder.pop(deadline), None);
    assert_eq!(builder.stats().packets_late, 1);

    // Too many came meanwhile.
    let mut builder = make();
    builder.push(now, vp8(0, 0, true, true));
    assert!(builder.pop(now).is_some());
    for number in 2..5 {
        builder.push(now, vp8(number, u32::from(number) * 3000, true, true));
        assert_eq!(builder.pop(now), None);
    }
    builder.push(now, vp8(5, 15_000, true, true));
    let sample = builder.pop(now).unwrap();
    assert_eq!((sample.timestamp, sample.packets_lost), (6000, 1));
    assert_eq!(std::iter::from_fn(|| builder.pop(now)).count(), 3);
}

#[test]
fn padding_and_missing_markers_do_not_hold_frames_up() {
    let got = samples(
        &mut builder(Codec::Vp8),
        [
            padding(65_533),
            vp8(65_534, u32::MAX - 2999, true, false),
            padding(65_535),
            vp8(0, u32::MAX - 2999, false, false),
            // No marker: the next frame ends this one.
            vp8(1, 0, true, true),
            padding(2),
            padding(3),
            vp8(4, 3000, true, true),
        ],
    );
    let got: Vec<_> = got
        .iter()
        .map(|sample| {
            (
                sample.timestamp,
                sample.packets,
                sample.data.len(),
                sample.duration,
            )
        })
        .collect();
    let step = Duration::from_nanos(33_333_333);
    assert_eq!(
        got,
        [
            (u32::MAX - 2999, 2, 4, Duration::ZERO),
            (0, 1, 2, step),
            (3000, 1, 2, step),
        ]
    );
}

#[test]
fn a_marker_on_each_slice_does_not_divide_a_frame() {
    let slice = |sequence_number, timestamp, payload: &'static [u8]| Packet {
        header: Header {
            sequence_number,
            timestamp,
            marker: true,
            ..Header::default()
        },
        payload: Bytes::from_static(payload),
    };
    let now = epoch();
    let mut builder = builder(Codec::H264);
    builder.push(now, slice(1, 0, &[0x65, 0x88, 1]));
    builder.push(now, slice(2, 0, &[0x65, 0x08, 2]));
    builder.push(now, slice(3, 3000, &[0x41, 0x9a, 3]));
    let counts: Vec<_> = std::iter::from_fn(|| builder.pop(now))
        .map(|sample| sample.packets)
        .collect();
    assert_eq!(counts, [2, 1]);
}

#[test]
fn a_new_source_or_a_jump_begins_anew() {
    let now = epoch();
    let mut builder = builder(Codec::Vp8);
    builder.push(now, vp8(100, 0, true, true));
    assert!(builder.pop(now).is_some());
    // Part of a frame, which never ends.
    builder.push(now, vp8(101, 3000, true, false));
    let mut other = vp8(9000, 77, true, true);
    other.header.ssrc = 2;
    builder.push(now, other);
    let sample = builder.pop(now).unwrap();
    assert_eq!(
        (sample.sequence_number, sample.duration),
        (9000, Duration::ZERO)
    );
    assert_eq!(builder.stats().packets_discarded, 1);

    for number in [30_000, 30_001, 30_002] {
        let mut packet = vp8(number, u32::from(number) * 3000, true, true);
        packet.header.ssrc = 2;
        builder.push(now, packet);
    }
    let got: Vec<_> = std::iter::from_fn(|| builder.pop(now))
        .map(|sample| sample.sequence_number)
        .collect();
    assert_eq!(got, [30_001, 30_002]);
}

#[test]
fn frames_without_their_start_are_left_out() {
    let got = samples(
        &mut builder(Codec::Vp8),
        [
            // The end of a frame whose begin was before us.
            vp8(5, 0, false, false),
            vp8(6, 0, false, true),
            vp8(7, 3000, true, true),
            // A frame that does not begin, although nothing is missing.
            vp8(8, 6000, false, true),
            vp8(9, 9000, true, true),
        ],
    );
    let got: Vec<_> = got
        .iter()
        .map(|sample| (sample.timestamp, sample.packets_lost))
        .collect();
    assert_eq!(got, [(3000, 2), (9000, 1)]);
}

#[test]
fn memory_is_bounded_while_a_packet_is_waited_for() {
    let mut config = SampleBuilderConfig::new(90_000);
    config.max_bytes = 10_000;
    config.max_reorder = usize::MAX;
    let mut builder = SampleBuilder::new(Codec::Vp8.depacketizer("", 1000).unwrap(), config);
    let now = epoch();
    builder.push(now, vp8(0, 0, true, false));
    for number in 2..2000_u16 {
        let mut packet = vp8(number, u32::from(number), true, true);
        packet.payload = [&[0x10, 1][..], &[7; 98]].concat().into();
        builder.push(now, packet);
    }
    let got = std::iter::from_fn(|| builder.pop(now)).count();
    assert_eq!(got, 100);
    assert_eq!(builder.stats().packets_missing, 1);
}
