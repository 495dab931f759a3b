//! Streams of real encoders.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use rtc_media::{
    AnnexBWriter, Codec, IvfHeader, IvfWriter, OggOpusReader, OggOpusWriter, OpusInfo, Resolution,
    Sample, SampleSender, SampleSenderConfig, nal_units,
};
use rtc_rtp::Packet;
use rtc_shared::Rng;
use serde_json::Value;

use crate::support::{VIDEO, builder, expected, frames, packets, read, samples, sha256, vector};

#[test]
fn frames_come_out_of_their_packets_as_expected() {
    for &(name, codec) in VIDEO {
        let samples = samples(&mut builder(codec), packets(name));
        assert_eq!(samples.len(), 60, "{name}");
        let expected = expected(name);
        for (at, sample) in samples.iter().enumerate() {
            let (timestamp, packets, key) = match codec {
                Codec::Vp8 | Codec::Vp9 => {
                    let frame = &expected["frames"][at];
                    assert_eq!(sha256(&sample.data), frame["sha256"], "{name} {at}");
                    (
                        &frame["rtp_ts"],
                        &frame["packets"],
                        frame["key"].as_bool().unwrap(),
                    )
                }
                Codec::Av1 => {
                    let frame = &expected["frames"][at];
                    assert_eq!(sha256(&sample.data), frame["sha256_ivf_tu"], "{name} {at}");
                    let key = frame["obu_types"]
                        .as_array()
                        .unwrap()
                        .contains(&Value::from(1));
                    (&frame["rtp_ts"], &frame["packets"], key)
                }
                _ => {
                    let unit = &expected["access_units"][at];
                    let key = match codec {
                        Codec::H264 => nal_units(&sample.data).any(|nal| nal[0] & 0x1f == 5),
                        _ => nal_units(&sample.data).any(|nal| (16..24).contains(&(nal[0] >> 1))),
                    };
                    (&unit["rtp_ts"], &unit["packets"], key)
                }
            };
            assert_eq!(
                u64::from(sample.timestamp),
                timestamp.as_u64().unwrap(),
                "{name} {at}"
            );
            assert_eq!(
                u64::from(sample.packets),
                packets.as_u64().unwrap(),
                "{name} {at}"
            );
            assert_eq!(sample.key_frame, key, "{name} {at}");
            assert_eq!(sample.packets_lost, 0);
            let duration = Duration::from_nanos(if at == 0 { 0 } else { 33_333_333 });
            assert_eq!(sample.duration, duration, "{name} {at}");
        }
    }
}

#[test]
fn nal_units_come_out_of_their_packets_as_expected() {
    for &(name, codec) in VIDEO.iter().filter(|(name, _)| name.starts_with("h26")) {
        let samples = samples(&mut builder(codec), packets(name));
        let nals: Vec<_> = samples
            .iter()
            .flat_map(|sample| nal_units(&sample.data))
            .collect();
        let expected = expected(name);
        let expected = expected["nals"].as_array().unwrap();
        assert_eq!(nals.len(), expected.len(), "{name}");
        for (nal, expected) in nals.iter().zip(expected) {
            assert_eq!(
                nal.len() as u64,
                expected["size"].as_u64().unwrap(),
                "{name}"
            );
            assert_eq!(sha256(nal), expected["sha256"], "{name}");
        }
    }
}

#[test]
fn what_packets_carry_is_the_elementary_stream() {
    for &(name, codec) in VIDEO {
        let samples = samples(&mut builder(codec), packets(name));
        let frames = frames(name, codec);
        assert_eq!(samples.len(), frames.len(), "{name}");
        for (at, (sample, frame)) in samples.iter().zip(&frames).enumerate() {
            assert_eq!(sample.data, frame, "{name} {at}");
        }
    }
}

#[test]
fn disorder_and_duplicates_change_nothing() {
    for &(name, codec) in VIDEO {
        let plain = samples(&mut builder(codec), packets(name));
        for seed in 0..5 {
            let mut rng = Rng::from_seed([seed; 32]);
            let all = packets(name);
            let mut builder = builder(codec);
            // The stream has to begin with its first packet.
            let mut order: Vec<_> = (0..all.len() as u32 - 1)
                .map(|at| (at + rng.below(10), at as usize + 1))
                .collect();
            order.sort_unstable();
            let order = std::iter::once(0).chain(order.into_iter().map(|(_, at)| at));
            let disordered = order.flat_map(|at| std::iter::repeat_n(all[at].clone(), 1 + at % 2));
            let mut got = samples(&mut builder, disordered);
            assert_eq!(got.len(), 60, "{name}, seed {seed}");
            for (sample, plain) in got.iter_mut().zip(&plain) {
                sample.received = plain.received;
            }
            assert_eq!(got, plain, "{name}, seed {seed}");
            assert_eq!(builder.stats().packets_missing, 0);
        }
    }
}

/// Packets of frames, as a sender makes them.
fn send(codec: Codec, frames: &[Bytes], max_payload: usize) -> Vec<Packet> {
    let mut rng = Rng::from_seed([max_payload as u8; 32]);
    let packetizer = codec.packetizer("packetization-mode=1", &mut rng).unwrap();
    let config = SampleSenderConfig {
        ssrc: 5,
        payload_type: 100,
        clock_rate: 90_000,
        max_payload,
    };
    let mut sender = SampleSender::new(packetizer, config, &mut rng);
    let mut packets = Vec::new();
    for frame in frames {
        let before = packets.len();
        let sample = Sample {
            data: frame.clone(),
            duration: Duration::from_nanos(33_333_333),
            ..Sample::default()
        };
        sender.send(&sample, &mut packets).unwrap();
        let new = &packets[before..];
        assert!(new.iter().all(|packet| packet.payload.len() <= max_payload));
        let (last, others) = new.split_last().unwrap();
        assert!(last.header.marker && others.iter().all(|packet| !packet.header.marker));
    }
    packets
}

#[test]
fn frames_packed_at_any_size_come_out_equal() {
    for &(name, codec) in VIDEO {
        let frames = frames(name, codec);
        for max_payload in [64, 100, 555, 1150, 1400, 9000] {
            let packets = send(codec, &frames, max_payload);
            let got = samples(&mut builder(codec), packets);
            let got: Vec<_> = got.into_iter().map(|sample| sample.data).collect();
            assert!(got == frames, "{name} at {max_payload}");
        }
    }
}

#[test]
fn packets_are_about_as_many_as_those_of_another_packetizer() {
    for &(name, codec) in VIDEO {
        let ours = send(codec, &frames(name, codec), 1188).len();
        let theirs = packets(name).len();
        assert!(
            ours <= theirs + theirs / 20,
            "{name}: {ours} against {theirs}"
        );
    }
}

#[test]
fn the_first_packet_of_a_key_frame_tells_it_and_its_size() {
    for &(name, codec) in VIDEO {
        let original = packets(name);
        for packets in [original, send(codec, &frames(name, codec), 1150)] {
            let mut keys = Vec::new();
            let mut previous = None;
            for packet in &packets {
                let info = codec.inspect(&packet.payload).unwrap();
                let first =
                    previous.replace(packet.header.timestamp) != Some(packet.header.timestamp);
                if first {
                    assert!(info.starts_frame, "{name}");
                    assert_eq!(info.key_frame, codec.is_key_frame(&packet.payload));
                    keys.push(info.key_frame);
                } else if !matches!(codec, Codec::H264 | Codec::H265 | Codec::Av1) {
                    assert!(!info.starts_frame && !info.key_frame, "{name}");
                }
                // Size comes with key frames and with nothing else.
                if info.resolution.is_some() || first && info.key_frame {
                    let size = Resolution {
                        width: 320,
                        height: 240,
                    };
                    assert_eq!(info.resolution, Some(size), "{name}");
                }
            }
            let mut all = builder(codec);
            let expected: Vec<_> = samples(&mut all, packets)
                .iter()
                .map(|sample| sample.key_frame)
                .collect();
            assert_eq!(keys, expected, "{name}");
            assert!(keys[0] && !keys[1]);
        }
    }
}

#[test]
fn opus_packets_are_those_of_the_file() {
    let file = read("media/opus.ogg");
    let mut reader = OggOpusReader::new(&file[..], 10_000).unwrap();
    assert_eq!(reader.head().channels, 2);
    assert!(!reader.tags().vendor.is_empty());
    let in_file: Vec<_> = std::iter::from_fn(|| reader.next_packet().unwrap()).collect();

    let expected = expected("opus");
    let samples = samples(&mut builder(Codec::Opus), packets("opus"));
    let expected = expected["packets"].as_array().unwrap();
    assert_eq!(samples.len(), expected.len());
    assert_eq!(samples.len(), in_file.len());
    for ((sample, expected), in_file) in samples.iter().zip(expected).zip(&in_file) {
        assert_eq!(sha256(&sample.data), expected["sha256"]);
        assert_eq!(
            u64::from(sample.timestamp),
            expected["ts"].as_u64().unwrap()
        );
        assert_eq!(
            u64::from(sample.sequence_number),
            expected["seq"].as_u64().unwrap()
        );
        assert_eq!(sample.duration, Duration::from_millis(20));
        assert_eq!(sample.data, in_file.data);
    }

    // Written anew, the positions are those of the file, but for the end, which may be cut off.
    let mut reader = OggOpusReader::new(&file[..], 10_000).unwrap();
    let (head, tags) = (reader.head().clone(), reader.tags().clone());
    let mut writer = OggOpusWriter::new(Vec::new(), 1, &head, &tags).unwrap();
    let mut position = 0;
    while let Some(packet) = reader.next_packet().unwrap() {
        position += u64::from(OpusInfo::parse(&packet.data).unwrap().samples());
        assert!(packet.granule_position.is_none_or(|told| told <= position));
        writer.write_packet(&packet.data).unwrap();
    }
    let written = writer.finish().unwrap();
    let mut reader = OggOpusReader::new(&written[..], 10_000).unwrap();
    assert_eq!((reader.head(), reader.tags()), (&head, &tags));
    let again: Vec<_> = std::iter::from_fn(|| reader.next_packet().unwrap()).collect();
    assert!(
        again
            .iter()
            .map(|packet| &packet.data)
            .eq(in_file.iter().map(|packet| &packet.data))
    );
    assert_eq!(again.last().unwrap().granule_position, Some(position));
}

#[test]
fn samples_of_g711_are_those_of_the_file() {
    for (name, ending, codec) in [("pcmu", "ulaw", Codec::Pcmu), ("pcma", "alaw", Codec::Pcma)] {
        let samples = samples(&mut builder(codec), packets(name));
        assert_eq!(samples.len(), 50);
        assert!(
            samples
                .iter()
                .all(|sample| sample.duration == Duration::from_millis(40))
        );
        let whole: Vec<_> = samples
            .iter()
            .flat_map(|sample| sample.data.to_vec())
            .collect();
        assert!(whole == read(&format!("media/{name}.{ending}")));
    }
}

/// A file of what was received.
fn written(codec: Codec, samples: &[Sample]) -> Vec<u8> {
    let Some(header) = IvfHeader::new(codec, 320, 240) else {
        let mut writer = AnnexBWriter::new(Vec::new());
        for sample in samples {
            writer.write_access_unit(&sample.data).unwrap();
        }
        return writer.into_inner();
    };
    let header = IvfHeader {
        timebase_denominator: 30,
        ..header
    };
    let mut writer = IvfWriter::new(std::io::Cursor::new(Vec::new()), header).unwrap();
    for sample in samples {
        let since_first = sample.timestamp.wrapping_sub(samples[0].timestamp);
        writer
            .write_frame((since_first / 3000).into(), &sample.data)
            .unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Hashes of the pictures that `ffmpeg` decodes; `None` where it is not installed or fails.
fn decode(path: &Path) -> Option<Vec<String>> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-pix_fmt", "yuv420p", "-f", "framemd5", "-"])
        .output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(hashes(&String::from_utf8(output.stdout).unwrap()))
}

fn hashes(framemd5: &str) -> Vec<String> {
    let lines = framemd5.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit(',').next().unwrap().trim().to_owned())
        .collect()
}

#[test]
fn what_was_received_decodes_to_the_same_pictures() {
    for &(name, codec) in VIDEO {
        let ending = match codec {
            Codec::H264 => "h264",
            Codec::H265 => "h265",
            _ => "ivf",
        };
        let original = vector(&format!("media/{name}.{ending}"));
        let reference = vector(&format!("media/{name}.{ending}.framemd5"));
        let reference = hashes(&std::fs::read_to_string(reference).unwrap());
        assert_eq!(reference.len(), 60);
        if decode(&original).as_ref() != Some(&reference) {
            println!("skipped {name}: no ffmpeg here that decodes it as the vector says");
            continue;
        }
        let repacked = send(codec, &frames(name, codec), 700);
        for packets in [packets(name), repacked] {
            let file = written(codec, &samples(&mut builder(codec), packets));
            let name = format!("rtc-media-{}-{name}.{ending}", std::process::id());
            let path = std::env::temp_dir().join(&name);
            std::fs::write(&path, file).unwrap();
            let hashes = decode(&path);
            std::fs::remove_file(&path).unwrap();
            assert_eq!(hashes.as_ref(), Some(&reference), "{name}");
        }
    }
}

#[test]
fn parts_of_a_frame_of_g711_have_their_own_time() {
    let mut rng = Rng::from_seed([3; 32]);
    let config = SampleSenderConfig {
        ssrc: 1,
        payload_type: 0,
        clock_rate: 8000,
        max_payload: 160,
    };
    let packetizer = Codec::Pcmu.packetizer("", &mut rng).unwrap();
    let mut sender = SampleSender::new(packetizer, config, &mut rng);
    let mut packets = Vec::new();
    for _ in 0..2 {
        let sample = Sample {
            data: vec![0xff; 400].into(),
            duration: Duration::from_millis(50),
            ..Sample::default()
        };
        sender.send(&sample, &mut packets).unwrap();
    }
    let first = packets[0].header.timestamp;
    let offsets: Vec<_> = packets
        .iter()
        .map(|packet| packet.header.timestamp.wrapping_sub(first))
        .collect();
    assert_eq!(offsets, [0, 160, 320, 400, 560, 720]);
    let total: Duration = samples(&mut builder(Codec::Pcmu), packets)
        .iter()
        .map(|sample| sample.duration)
        .sum();
    assert_eq!(total, Duration::from_millis(100));
}
