//! The layers of a simulcast become one stream.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use rtc_media::{Codec, LayerSwitch, Sample, SampleSender, SampleSenderConfig, Vp8Descriptor};
use rtc_rtp::{Header, Packet};
use rtc_shared::Rng;

use crate::support::{builder, epoch, packets, samples};

/// Where a key frame begins, in VP8 with picture identifier and TL0PICIDX.
fn key(picture_id: u16) -> Vec<u8> {
    let [high, low] = (0x8000 | picture_id).to_be_bytes();
    let frame = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
    [&[0x90, 0xe0, high, low, 9, 0][..], &frame].concat()
}

/// What is not the first packet of a key frame.
fn delta(picture_id: u16) -> Vec<u8> {
    let [high, low] = (0x8000 | picture_id).to_be_bytes();
    vec![0x90, 0xe0, high, low, 9, 0, 0x11, 0xaa]
}

fn packet(sequence_number: u16, timestamp: u32, payload: Vec<u8>) -> Packet {
    let header = Header {
        sequence_number,
        timestamp,
        ..Header::default()
    };
    let payload = payload.into();
    Packet { header, payload }
}

/// Sequence number, timestamp and picture.
type Numbers = (u16, u32, u16);

struct Scene {
    switch: LayerSwitch<u8>,
}

impl Scene {
    fn new(codec: Codec) -> Self {
        let switch = LayerSwitch::new(codec);
        Self { switch }
    }

    fn forward(&mut self, at: u64, layer: u8, packet: &Packet) -> Option<Packet> {
        let now = epoch_plus(at);
        self.switch.forward(now, &layer, packet)
    }

    fn numbers(&mut self, at: u64, layer: u8, packet: &Packet) -> Option<Numbers> {
        let packet = self.forward(at, layer, packet)?;
        let (descriptor, _) = Vp8Descriptor::parse(&packet.payload).unwrap();
        let picture = descriptor.picture_id.map_or(0, |it| it.value);
        let header = packet.header;
        Some((header.sequence_number, header.timestamp, picture))
    }
}

fn epoch_plus(millis: u64) -> std::time::Instant {
    use std::sync::LazyLock;
    static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(epoch);
    *EPOCH + Duration::from_millis(millis)
}

#[test]
fn the_first_layer_keeps_its_numbers_and_its_bytes() {
    let mut scene = Scene::new(Codec::Vp8);
    let first = packet(65_535, 7, key(40));
    assert_eq!(scene.forward(0, 0, &first), None);
    scene.switch.set_target(0);
    assert_eq!(scene.switch.wants_key_frame(), Some(&0));
    assert_eq!(scene.forward(0, 0, &packet(65_534, 6, delta(39))), None);
    let sent = scene.forward(0, 0, &first).unwrap();
    assert_eq!(sent, first);
    assert_eq!(sent.payload.as_ptr(), first.payload.as_ptr());
    assert_eq!(scene.switch.wants_key_frame(), None);
    let next = packet(0, 7, delta(40));
    assert_eq!(scene.forward(0, 0, &next).unwrap(), next);
}

#[test]
fn the_old_layer_goes_on_until_the_key_frame_of_the_new_one() {
    let mut scene = Scene::new(Codec::Vp8);
    scene.switch.set_target(0);
    let sent = scene.numbers(0, 0, &packet(10, 1000, key(5)));
    assert_eq!(sent, Some((10, 1000, 5)));
    scene.switch.set_target(1);
    let target = (scene.switch.current(), scene.switch.target());
    assert_eq!(target, (Some(&0), Some(&1)));
    assert_eq!(scene.numbers(10, 1, &packet(900, 0, delta(70))), None);
    let sent = scene.numbers(20, 0, &packet(11, 4000, delta(6)));
    assert_eq!(sent, Some((11, 4000, 6)));
    let sent = scene.numbers(40, 1, &packet(901, 77, key(71)));
    assert_eq!(sent, Some((12, 4000 + 20 * 90, 7)));
    assert_eq!(scene.numbers(41, 0, &packet(12, 7000, key(7))), None);
    let sent = scene.numbers(42, 1, &packet(902, 77, delta(71)));
    assert_eq!(sent, Some((13, 4000 + 20 * 90, 7)));
    assert_eq!(scene.switch.switches(), 2);
}

#[test]
fn a_target_that_is_taken_back_changes_nothing() {
    let mut scene = Scene::new(Codec::Vp8);
    scene.switch.set_target(0);
    scene.numbers(0, 0, &packet(10, 1000, key(5))).unwrap();
    scene.switch.set_target(1);
    scene.switch.set_target(0);
    assert_eq!(scene.switch.wants_key_frame(), None);
    assert_eq!(scene.numbers(0, 1, &packet(900, 0, key(70))), None);
    let sent = scene.numbers(20, 0, &packet(11, 4000, delta(6)));
    assert_eq!(sent, Some((11, 4000, 6)));
}

#[test]
fn what_was_lost_leaves_its_gap_and_late_packets_their_place() {
    let mut scene = Scene::new(Codec::Vp8);
    scene.switch.set_target(0);
    scene.numbers(0, 0, &packet(10, 0, key(1))).unwrap();
    scene.switch.set_target(1);
    scene.numbers(9, 1, &packet(500, 0, key(1))).unwrap();
    let mut number = |sequence_number| {
        let packet = packet(sequence_number, 0, delta(1));
        scene.numbers(10, 1, &packet).map(|it| it.0)
    };
    assert_eq!(number(503), Some(14));
    assert_eq!(number(501), Some(12));
    assert_eq!(number(499), None);
    assert_eq!(number(505), Some(16));
    assert_eq!(number(502), Some(13));
}

#[test]
fn padding_is_left_out_without_a_gap() {
    let mut scene = Scene::new(Codec::Vp8);
    scene.switch.set_target(0);
    scene.numbers(0, 0, &packet(10, 0, key(1))).unwrap();
    let mut number = |sequence_number, payload| {
        let packet = packet(sequence_number, 0, payload);
        scene.numbers(10, 0, &packet).map(|it| it.0)
    };
    assert_eq!(number(11, delta(1)), Some(11));
    assert_eq!(number(13, vec![]), None);
    assert_eq!(number(14, vec![]), None);
    assert_eq!(number(15, delta(2)), Some(13));
    // From before the padding, and late.
    assert_eq!(number(12, delta(1)), Some(12));
    // Late padding has a number already.
    assert_eq!(number(17, delta(2)), Some(15));
    assert_eq!(number(16, vec![]), None);
    assert_eq!(number(18, delta(2)), Some(16));
}

#[test]
fn a_key_frame_that_is_in_pieces_already_is_not_switched_to() {
    let mut scene = Scene::new(Codec::Vp8);
    scene.switch.set_target(0);
    scene.numbers(0, 0, &packet(10, 0, key(1))).unwrap();
    scene.switch.set_target(1);
    // Its second packet came first.
    assert_eq!(scene.numbers(10, 1, &packet(501, 9, delta(1))), None);
    assert_eq!(scene.numbers(11, 1, &packet(500, 9, key(1))), None);
    assert_eq!(scene.switch.wants_key_frame(), Some(&1));
    let sent = scene.numbers(20, 0, &packet(11, 900, delta(2)));
    assert_eq!(sent, Some((11, 900, 2)));
    let sent = scene.numbers(30, 1, &packet(502, 909, key(2)));
    assert_eq!(sent, Some((12, 1800, 3)));
}

#[test]
fn parameter_sets_that_come_too_late_are_asked_for_again() {
    let mut scene = Scene::new(Codec::H264);
    scene.switch.set_target(0);
    let (sps, pps, idr) = (vec![0x67, 1], vec![0x68, 1], vec![0x65, 0x88]);
    assert!(scene.forward(0, 0, &packet(11, 5, pps)).is_some());
    assert_eq!(scene.switch.wants_key_frame(), None);
    assert!(scene.forward(0, 0, &packet(10, 5, sps.clone())).is_none());
    assert_eq!(scene.switch.wants_key_frame(), Some(&0));
    scene.switch.set_target(0);
    assert!(scene.forward(0, 0, &packet(12, 5, idr)).is_some());
    assert_eq!(scene.switch.wants_key_frame(), Some(&0));
    assert!(scene.forward(9, 0, &packet(13, 6, sps)).is_some());
    assert_eq!(scene.switch.wants_key_frame(), None);
    assert_eq!(scene.switch.switches(), 1);
}

#[test]
fn a_pause_ends_at_a_key_frame() {
    let mut scene = Scene::new(Codec::Vp8);
    scene.switch.set_target(0);
    scene.numbers(0, 0, &packet(10, 0, key(1))).unwrap();
    scene.switch.pause();
    assert_eq!(scene.switch.target(), None);
    assert_eq!(scene.numbers(10, 0, &packet(11, 900, key(2))), None);
    scene.switch.set_target(0);
    assert_eq!(scene.numbers(20, 0, &packet(12, 1800, delta(3))), None);
    let sent = scene.numbers(1000, 0, &packet(13, 90_000, key(4)));
    assert_eq!(sent, Some((11, 90_000, 2)));
}

#[test]
fn sound_is_switched_at_once() {
    let mut switch = LayerSwitch::new(Codec::Opus);
    switch.set_target("one");
    let one = switch.forward(epoch_plus(0), &"one", &packet(1, 960, vec![1]));
    switch.set_target("other");
    let other = switch.forward(epoch_plus(20), &"other", &packet(7, 0, vec![2]));
    let sent = [one, other].map(|it| it.unwrap().header);
    assert_eq!(
        sent.map(|it| (it.sequence_number, it.timestamp)),
        [(1, 960), (2, 1920)]
    );
}

/// Real streams, switched between again and again: every frame is one of them, whole.
#[test]
fn frames_of_real_streams_come_out_whole() {
    for (name, codec) in [
        ("vp8", Codec::Vp8),
        ("vp9", Codec::Vp9),
        ("h264_cbp", Codec::H264),
    ] {
        let original = samples(&mut builder(codec), packets(name));
        let mut rng = Rng::from_seed([7; 32]);
        // The second layer is the same stream with each frame sent as made anew: other numbers.
        let config = SampleSenderConfig {
            ssrc: 2,
            payload_type: 96,
            clock_rate: 90_000,
            max_payload: 700,
        };
        let fmtp = "packetization-mode=1";
        let mut sender =
            SampleSender::new(codec.packetizer(fmtp, &mut rng).unwrap(), config, &mut rng);
        let mut scene = Scene::new(codec);
        scene.switch.set_target(0);
        let mut out = Vec::new();
        let mut at = 0;
        // Key frames are at the start of the stream only, so it runs several times.
        for round in 0..6_u8 {
            scene.switch.set_target(round % 2);
            for sample in &original {
                let mut made = Vec::new();
                let layer = round % 2;
                let sample = Sample {
                    duration: Duration::from_millis(33),
                    ..sample.clone()
                };
                sender.send(&sample, &mut made).unwrap();
                for packet in &made {
                    out.extend(scene.forward(at, layer, packet));
                    // The other layer is worth nothing meanwhile.
                    assert_eq!(scene.forward(at, 1 - layer, packet), None);
                }
                at += 33;
            }
        }
        for pair in out.windows(2) {
            let [a, b] = [&pair[0].header, &pair[1].header];
            assert_eq!(b.sequence_number, a.sequence_number.wrapping_add(1));
            assert!(b.timestamp.wrapping_sub(a.timestamp) < 90_000);
        }
        let played = samples(&mut builder(codec), out);
        assert_eq!(played.len(), original.len() * 6, "{name}");
        for (at, sample) in played.iter().enumerate() {
            let wanted: &Bytes = &original[at % original.len()].data;
            assert_eq!(sample.data, wanted, "{name} {at}");
        }
    }
}

/// What comes next of one of three layers.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A frame, its packets, and whether it is a key frame.
    Frame(usize, u8, bool),
    Padding(usize),
    Target(u8),
    Pause,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..3_usize, 1..5_u8, prop::bool::weighted(0.3)).prop_map(|(l, n, k)| Step::Frame(l, n, k)),
        2 => (0..3_usize).prop_map(Step::Padding),
        2 => (0..3_u8).prop_map(Step::Target),
        1 => Just(Step::Pause),
    ]
}

proptest! {
    #[test]
    fn without_loss_numbers_are_contiguous_and_time_goes_on(
        steps in prop::collection::vec(step(), 1..300),
        starts in prop::array::uniform3((any::<u16>(), any::<u32>(), 0..0x8000_u16)),
    ) {
        let mut scene = Scene::new(Codec::Vp8);
        let mut sources = starts;
        let mut last: Option<Numbers> = None;
        let mut chosen = None;
        for (at, step) in steps.iter().enumerate() {
            let at = at as u64 * 10;
            let (layer, count, is_key) = match *step {
                Step::Frame(layer, count, is_key) => (layer, count, is_key),
                Step::Padding(layer) => (layer, 0, false),
                Step::Target(layer) => {
                    scene.switch.set_target(layer);
                    chosen = Some(layer);
                    continue;
                }
                Step::Pause => {
                    scene.switch.pause();
                    chosen = None;
                    continue;
                }
            };
            let before = scene.switch.current().copied();
            let (number, timestamp, picture) = &mut sources[layer];
            *timestamp = starts[layer].1.wrapping_add(at as u32 * 90);
            let mut payloads = vec![delta(*picture); usize::from(count)];
            match payloads.first_mut() {
                Some(first) if is_key => *first = key(*picture),
                Some(_) => {}
                None => payloads.push(vec![]),
            }
            if count > 0 {
                *picture = (*picture + 1) & 0x7fff;
            }
            for payload in payloads {
                let packet = packet(*number, *timestamp, payload);
                *number = number.wrapping_add(1);
                let Some(sent) = scene.numbers(at, layer as u8, &packet) else { continue };
                prop_assert_eq!(scene.switch.current(), Some(&(layer as u8)));
                if let Some(last) = last {
                    prop_assert_eq!(sent.0, last.0.wrapping_add(1));
                    prop_assert!(sent.1.wrapping_sub(last.1) as i32 >= 0);
                    let pictures = sent.2.wrapping_sub(last.2) & 0x7fff;
                    prop_assert!(pictures <= 1, "{} to {}", last.2, sent.2);
                }
                last = Some(sent);
            }
            let after = scene.switch.current().copied();
            if before != after {
                prop_assert!(is_key && after == Some(layer as u8) && after == chosen);
            } else if is_key && chosen == Some(layer as u8) {
                prop_assert_eq!(after, chosen);
            }
            prop_assert_eq!(scene.switch.target().copied(), chosen);
        }
    }

    #[test]
    fn whatever_comes_nothing_breaks(
        input in prop::collection::vec(
            (0..3_u8, any::<u16>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..30), any::<bool>()),
            0..200,
        ),
        vp9: bool,
    ) {
        let codec = if vp9 { Codec::Vp9 } else { Codec::Vp8 };
        let mut scene = Scene::new(codec);
        for (at, (layer, number, timestamp, payload, choose)) in input.into_iter().enumerate() {
            if choose {
                scene.switch.set_target(layer);
            }
            let length = payload.len();
            let sent = scene.forward(at as u64, layer, &packet(number, timestamp, payload));
            prop_assert!(sent.is_none_or(|sent| sent.payload.len() == length));
        }
    }
}
