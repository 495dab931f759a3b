use super::*;
use crate::wire::{Chunk, Sack};

fn small_window() -> Config {
    let mut config = Config::default();
    config.max_receive_message = 10_000;
    config.receive_window = 30_000;
    config
}

#[test]
fn a_slow_reader_throttles_the_sender_and_loses_nothing() {
    for seed in 0..5 {
        let link = Link {
            loss: 10,
            delay: 10 * MS,
            ..Link::default()
        };
        let mut sim = Sim::with_config(seed, link, [Config::default(), small_window()]);
        sim.connect();
        sim.reads[1] = false;
        for number in 0..200 {
            sim.send(0, 0, numbered(number, 1000));
        }
        let mut got = Vec::new();
        while got.len() < 200 {
            sim.run(300 * MS);
            let held = sim.ends[1].readable_bytes(0);
            assert!(held <= 60_000, "{held} bytes held");
            for _ in 0..10 {
                if let Some(message) = sim.ends[1].read() {
                    got.push(number_of(&message.payload));
                }
            }
        }
        assert!(got.into_iter().eq(0..200));
    }
}

#[test]
fn a_closed_window_is_probed_for_ever_and_opens_again() {
    let mut sim = Sim::connected([Config::default(), small_window()]);
    sim.reads[1] = false;
    for number in 0..100 {
        sim.send(0, 0, numbered(number, 1000));
    }
    sim.run(600 * 1000 * MS);
    assert_eq!(sim.ends[0].state(), State::Established);
    assert!(sim.ends[1].readable_bytes(0) < 60_000);
    // Reading tells the sender at once, and the congestion window has not collapsed.
    let window = sim.ends[0].stats().congestion_window;
    assert!(window >= 10_000, "{window}");
    let start = sim.now;
    sim.reads[1] = true;
    sim.run_until(20_000 * MS, |sim| sim.messages[1].len() == 100);
    assert!(sim.now - start < 1000 * MS, "{:?}", sim.now - start);
}

#[test]
fn a_window_update_that_is_lost_is_made_up_for_by_a_probe() {
    let mut sim = Sim::connected([Config::default(), small_window()]);
    sim.reads[1] = false;
    for number in 0..100 {
        sim.send(0, 0, numbered(number, 1000));
    }
    sim.run(5000 * MS);
    sim.links[1] = Link::lossy(1000);
    sim.reads[1] = true;
    sim.run(50 * MS);
    sim.links[1] = Link::default();
    sim.run_until(20_000 * MS, |sim| sim.messages[1].len() == 100);
}

#[test]
fn tiny_messages_count_for_more_than_their_bytes() {
    let mut sim = Sim::connected([Config::default(), small_window()]);
    sim.reads[1] = false;
    for _ in 0..20_000 {
        sim.send(0, 0, "x");
    }
    sim.run(20_000 * MS);
    let held = sim.ends[1].readable_bytes(0);
    assert!(held < 3000, "{held} messages of one byte held");
    sim.reads[1] = true;
    sim.run_until(20_000 * MS, |sim| sim.messages[1].len() == 20_000);
}

#[test]
fn one_stream_can_be_read_while_another_waits() {
    let mut sim = Sim::connected(Default::default());
    sim.reads[1] = false;
    for number in 0..10 {
        sim.send(0, 1, numbered(number, 100));
        sim.send(0, 2, numbered(number, 100));
    }
    sim.run(100 * MS);
    let end = &mut sim.ends[1];
    assert_eq!(end.peek_stream(), Some(1));
    assert_eq!((end.readable_bytes(1), end.readable_bytes(2)), (1000, 1000));
    for number in 0..10 {
        let message = end.read_stream(2).unwrap();
        assert_eq!((message.stream, number_of(&message.payload)), (2, number));
    }
    assert_eq!(end.read_stream(2), None);
    assert_eq!(end.read_stream(77), None);
    assert_eq!(end.readable_bytes(2), 0);
    assert_eq!(end.read().unwrap().stream, 1);
}

#[test]
fn a_discarded_stream_takes_no_room() {
    let mut sim = Sim::connected([Config::default(), small_window()]);
    sim.reads[1] = false;
    for number in 0..20 {
        sim.send(0, 1, numbered(number, 1000));
    }
    sim.run(1000 * MS);
    assert!(sim.ends[1].readable_bytes(1) > 0);
    sim.ends[1].discard_stream(1);
    assert_eq!(sim.ends[1].readable_bytes(1), 0);
    for number in 0..200 {
        sim.send(0, 1, numbered(number, 1000));
    }
    sim.send(0, 2, "other");
    sim.run(5000 * MS);
    assert_eq!(sim.ends[1].readable_bytes(1), 0);
    assert_eq!(sim.ends[1].read().unwrap().stream, 2);
    // A reset ends the discarding.
    for end in 0..2 {
        sim.ends[end].reset_stream(1);
    }
    sim.run(1000 * MS);
    sim.send(0, 1, "new life");
    sim.run(100 * MS);
    assert_eq!(&sim.ends[1].read().unwrap().payload[..], b"new life");
}

#[test]
fn a_message_beyond_the_limit_is_dropped_and_told_of() {
    for loss in [0, 100] {
        let mut sim = Sim::with_config(3, Link::lossy(loss), [Config::default(), small_window()]);
        sim.connect();
        sim.send(0, 1, numbered(0, 10_000));
        sim.send(0, 1, numbered(1, 10_001));
        sim.send(0, 1, numbered(2, 200_000));
        sim.send(0, 1, numbered(3, 10_000));
        sim.run(30_000 * MS);
        let got: Vec<_> = sim.take_messages(1).iter().map(|m| number_of(m)).collect();
        assert_eq!(got, [0, 3]);
        let event = Event::MessageTooLarge { stream: 1 };
        assert_eq!(sim.take_events(1), [event.clone(), event]);
    }
}

#[test]
fn a_peer_that_never_acknowledges_is_given_up() {
    let mut sim = Sim::connected(Default::default());
    sim.filter = Some(Box::new(|from, _| from == 0));
    sim.send(0, 0, "?");
    sim.run_until(200 * 1000 * MS, |sim| !sim.events[0].is_empty());
    sim.run(200 * 1000 * MS);
    let reason = crate::AbortReason::Timeout;
    let low = Event::BufferedAmountLow { stream: 0 };
    assert_eq!(sim.take_events(0), [low, Event::Aborted { reason }]);
    assert_eq!(sim.ends[0].state(), State::Closed);
}

#[test]
fn a_peer_that_acknowledges_nonsense_does_no_harm() {
    for seed in 0..200 {
        let mut sim = Sim::connected(Default::default());
        sim.rng = rng(seed);
        for number in 0..30 {
            sim.send(0, 0, numbered(number, 4000));
        }
        sim.settle();
        let tag = sim.ends[0].local_tag;
        for _ in 0..50 {
            let count = sim.rng.below(5) as usize * 4;
            let mut gaps = vec![0; count];
            for gap in gaps.as_chunks_mut::<2>().0 {
                *gap = (sim.rng.below(30) as u16).to_be_bytes();
            }
            let cumulative = sim.ends[0].outstanding.cumulative();
            let cumulative = match sim.rng.below(4) {
                0 => sim.rng.u32(),
                1 => cumulative.wrapping_add(sim.rng.below(3)),
                _ => cumulative,
            };
            let window = if sim.rng.below(2) == 0 {
                0
            } else {
                sim.rng.u32()
            };
            let sack = Sack::new(cumulative, window, &gaps, &[]).unwrap();
            let packet = packet(tag, &[Chunk::Sack(sack)]);
            sim.ends[0].handle_packet(sim.now, packet);
            sim.ends[0].outstanding.check();
            sim.settle();
            sim.ends[0].outstanding.check();
            sim.run(50 * MS);
        }
    }
}

#[test]
fn acknowledgements_may_be_taken_back() {
    let mut sim = Sim::connected(Default::default());
    sim.links = [Link::lossy(1000); 2];
    for number in 0..8 {
        sim.send(0, 0, numbered(number, 1000));
    }
    sim.settle();
    let tag = sim.ends[0].local_tag;
    let base = sim.ends[0].outstanding.cumulative();
    let sack = |sim: &mut Sim, cumulative: u32, gaps: &[u8]| {
        let sack = Sack::new(cumulative, 100_000, gaps, &[]).unwrap();
        sim.ends[0].handle_packet(sim.now, packet(tag, &[Chunk::Sack(sack)]));
        sim.ends[0].outstanding.check();
    };
    sack(&mut sim, base, &[0, 2, 0, 8]);
    // 2 to 8 were there; now the peer has 1, and no longer 2.
    sack(&mut sim, base.wrapping_add(1), &[]);
    sim.links = [Link::default(); 2];
    sim.settle();
    // All seven are to go out again, six of which the congestion window lets go now.
    assert_eq!(sim.ends[0].stats().retransmits, 6);
    sack(&mut sim, base.wrapping_add(8), &[]);
    assert!(sim.idle());
}

/// Reads everything but some streams.
fn read_others(end: &mut Association, unread: &[u16]) -> Vec<u16> {
    let mut streams = Vec::new();
    for stream in (0..60).filter(|stream| !unread.contains(stream)) {
        while end.read_stream(stream).is_some() {
            streams.push(stream);
        }
    }
    streams
}

#[test]
fn a_stream_that_nobody_reads_stops_alone() {
    for loss in [0, 10] {
        let link = Link {
            loss,
            delay: 10 * MS,
            ..Link::default()
        };
        let mut config = Config::default();
        config.receive_window = 1 << 20;
        let mut sim = Sim::with_config(1, link, [Config::default(), config]);
        sim.connect();
        sim.reads[1] = false;
        // The stuck one gets all the time it wants to fill the window, at several speeds.
        for number in 0..2000 {
            sim.send(0, 1, numbered(number, 1000));
        }
        let mut got = 0;
        for round in 0..300 {
            sim.send(0, 2, numbered(round, 3000));
            if round % 3 == 0 {
                sim.send(0, 3, numbered(round, 60_000));
            }
            sim.run(100 * MS);
            got += read_others(&mut sim.ends[1], &[1]).len();
        }
        sim.run(2000 * MS);
        got += read_others(&mut sim.ends[1], &[1]).len();
        assert_eq!(got, 400, "loss {loss}");
        let held = sim.ends[1].readable_bytes(1);
        assert!(held > 500_000, "{held} bytes of the window used");
        // Once it is read it goes on, without loss.
        let mut stuck = 0;
        for _ in 0..2000 {
            while sim.ends[1].read_stream(1).is_some() {
                stuck += 1;
            }
            sim.run(20 * MS);
        }
        assert_eq!(stuck, 2000);
    }
}

#[test]
fn many_streams_that_nobody_reads_leave_room_for_another() {
    let mut sim = Sim::connected(Default::default());
    sim.reads[1] = false;
    let stuck: Vec<u16> = (10..30).collect();
    for number in 0..300 {
        for &stream in &stuck {
            sim.send(0, stream, numbered(number, 1000));
        }
    }
    for round in 0..100 {
        sim.send(0, 2, numbered(round, 500));
        sim.run(100 * MS);
        assert_eq!(read_others(&mut sim.ends[1], &stuck), [2], "round {round}");
    }
}

#[test]
fn a_lost_word_of_a_freed_window_is_asked_for() {
    let mut sim = Sim::connected([Config::default(), small_window()]);
    sim.reads[1] = false;
    for number in 0..100 {
        sim.send(0, 0, numbered(number, 1000));
    }
    sim.run(5000 * MS);
    let before = sim.ends[0].stats().packets_sent;
    sim.run(600 * 1000 * MS);
    let probes = sim.ends[0].stats().packets_sent - before;
    assert!((5..100).contains(&probes), "{probes} probes in ten minutes");
    sim.links[1] = Link::lossy(1000);
    sim.reads[1] = true;
    sim.run(50 * MS);
    sim.links[1] = Link::default();
    sim.run_until(200_000 * MS, |sim| sim.messages[1].len() == 100);
}
