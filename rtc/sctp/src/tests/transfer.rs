use super::*;
use crate::wire::kind;

/// Sends messages of many sizes over several streams, both ways, and checks that each comes once
/// and in order (or once, if unordered).
fn exchange(seed: u64, link: Link, configs: [Config; 2], count: u32, max: u32) -> Sim {
    let mut sim = Sim::with_config(seed, link, configs);
    sim.connect();
    let mut sent = [0u32; 2];
    while sent != [count; 2] {
        for (end, sent) in sent.iter_mut().enumerate() {
            if *sent == count {
                continue;
            }
            let number = *sent;
            let stream = (number % 3) as u16;
            let length = 4 + sim.rng.below(max) as usize;
            let options = SendOptions {
                unordered: stream == 2,
                ..SendOptions::default()
            };
            let payload = numbered(number, length);
            if sim.ends[end].send(stream, 53, payload, options).is_ok() {
                *sent += 1;
            }
        }
        if sim.rng.below(4) == 0 {
            let pause = sim.rng.below(40) * MS;
            sim.run(pause);
        }
    }
    sim.run_until(3600 * 1000 * MS, |sim| {
        sim.idle() && sim.messages.iter().all(|got| got.len() >= count as usize)
    });
    sim.run(5 * 1000 * MS);
    for end in 0..2 {
        let mut by_stream: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
        for message in &sim.messages[end] {
            assert_eq!(message.unordered, message.stream == 2);
            by_stream
                .entry(message.stream)
                .or_default()
                .push(number_of(&message.payload));
        }
        by_stream.entry(2).or_default().sort_unstable();
        for (stream, numbers) in by_stream {
            let expected: Vec<u32> = (0..count).filter(|n| n % 3 == u32::from(stream)).collect();
            assert_eq!(numbers, expected, "stream {stream}");
        }
    }
    sim
}

#[test]
fn everything_arrives_over_a_perfect_link() {
    let sim = exchange(1, Link::default(), Default::default(), 300, 5000);
    for end in &sim.ends {
        assert_eq!(end.stats().retransmits, 0);
        assert_eq!(end.stats().timeouts, 0);
    }
}

#[test]
fn everything_arrives_in_spite_of_loss() {
    for (seed, loss) in [(1, 10), (2, 50), (3, 200), (4, 10), (5, 50), (6, 200)] {
        exchange(seed, Link::lossy(loss), Default::default(), 200, 5000);
    }
}

#[test]
fn everything_arrives_in_spite_of_all_at_once() {
    for seed in 0..20 {
        let link = Link {
            loss: 50,
            duplicate: 50,
            delay: MS,
            jitter: 300 * MS,
        };
        exchange(seed, link, Default::default(), 100, 20_000);
    }
}

#[test]
fn reordering_alone_loses_nothing() {
    for seed in 0..5 {
        let link = Link {
            delay: 20 * MS,
            jitter: 5 * MS,
            ..Link::default()
        };
        exchange(seed, link, Default::default(), 200, 3000);
    }
}

#[test]
fn small_windows_and_packets_are_enough() {
    for seed in 0..10 {
        let mut config = Config::default();
        config.max_receive_message = 3000;
        config.max_send_message = 3000;
        config.receive_window = 4000;
        config.max_packet_size = 300;
        config.max_burst = Some(4);
        let link = Link {
            loss: 20,
            duplicate: 10,
            delay: 10 * MS,
            jitter: 5 * MS,
        };
        exchange(seed, link, [config.clone(), config], 100, 2900);
    }
}

#[test]
fn messages_of_any_size_cross_at_packet_borders() {
    let mut sim = Sim::connected(Default::default());
    let max = sim.ends[0].congestion.max_payload();
    let lengths: Vec<usize> = (4..12)
        .chain(max - 5..max + 6)
        .chain(2 * max - 5..2 * max + 6)
        .chain(253..260)
        .chain([256 * 1024 - 1, 256 * 1024])
        .collect();
    for (number, &length) in lengths.iter().enumerate() {
        sim.send(0, 0, numbered(number as u32, length));
    }
    sim.run_until(60 * 1000 * MS, |sim| sim.messages[1].len() == lengths.len());
    for (message, length) in sim.take_messages(1).iter().zip(lengths) {
        assert_eq!(message.len(), length);
        number_of(message);
    }
    let too_long = numbered(0, 256 * 1024 + 1);
    let sent = sim.ends[0].send(0, 0, too_long, SendOptions::default());
    assert_eq!(sent, Err(crate::SendError::TooLarge { max: 256 * 1024 }));
    let sent = sim.ends[0].send(0, 0, Bytes::new(), SendOptions::default());
    assert_eq!(sent, Err(crate::SendError::Empty));
}

#[test]
fn counters_wrap() {
    for seed in 0..10 {
        let now = some_instant();
        let a = with_counters(Config::default(), now, 1, u32::MAX - 20);
        let b = with_counters(Config::default(), now, u32::MAX, 0x7fff_fff0);
        let link = Link {
            loss: 50,
            duplicate: 20,
            delay: 5 * MS,
            jitter: 20 * MS,
        };
        let mut sim = Sim::with_ends(now, [a, b], link, rng(seed));
        sim.connect();
        // Past the wrap of the stream sequence number.
        let count = if seed == 0 { 70_000 } else { 300 };
        if seed == 0 {
            sim.links = [Link::lossy(1); 2];
        }
        for number in 0..count {
            sim.send(0, 0, numbered(number, 8));
            if number < 300 {
                sim.send(1, 0, numbered(number, 3000));
            }
        }
        sim.run_until(3600 * 1000 * MS, |sim| {
            sim.messages[1].len() == count as usize && sim.messages[0].len() == 300
        });
        let numbers: Vec<_> = sim.take_messages(1).iter().map(|m| number_of(m)).collect();
        assert!(numbers.into_iter().eq(0..count));
        let numbers: Vec<_> = sim.take_messages(0).iter().map(|m| number_of(m)).collect();
        assert!(numbers.into_iter().eq(0..300));
    }
}

#[test]
fn one_sack_answers_a_batch_of_packets() {
    let mut sim = Sim::connected(Default::default());
    sim.send(0, 0, numbered(0, 100_000));
    sim.run(2000 * MS);
    let before = sim.ends[1].stats();
    let sent = sim.ends[0].stats().packets_sent;
    sim.log = Some(Vec::new());
    sim.send(0, 0, numbered(1, 100_000));
    sim.run(2000 * MS);
    let after = sim.ends[1].stats();
    let packets = sim.ends[0].stats().packets_sent - sent;
    let sacks = after.sacks_sent - before.sacks_sent;
    assert!(
        packets > 80 && sacks < 12,
        "{packets} packets, {sacks} SACKs"
    );
}

#[test]
fn a_lone_packet_is_acknowledged_within_the_delay() {
    let mut sim = Sim::connected(Default::default());
    for number in 0..20 {
        sim.send(0, 0, numbered(number, 100));
        sim.run(1000 * MS);
    }
    sim.log = Some(Vec::new());
    sim.send(0, 0, numbered(20, 100));
    let sent = sim.now;
    sim.run(205 * MS);
    assert_eq!(sim.log.as_ref().unwrap().len(), 1);
    sim.run_until(20 * MS, |sim| sim.idle());
    assert_eq!(sim.now - sent, 10 * MS + 200 * MS + 10 * MS);
    assert_eq!(sim.ends[0].stats().timeouts, 0);
    // A second packet is acknowledged at once.
    sim.send(0, 0, numbered(21, 1100));
    sim.send(0, 0, numbered(22, 1100));
    let sent = sim.now;
    sim.run_until(100 * MS, |sim| sim.idle());
    assert_eq!(sim.now - sent, 20 * MS);
}

#[test]
fn a_delayed_sack_travels_with_data() {
    let mut sim = Sim::connected(Default::default());
    for number in 0..20 {
        sim.send(0, 0, numbered(number, 100));
        sim.run(1000 * MS);
    }
    sim.log = Some(Vec::new());
    sim.send(0, 0, "ping");
    sim.run(10 * MS);
    sim.send(1, 0, "pong");
    sim.run(15 * MS);
    let log = sim.log.take().unwrap();
    assert_eq!(kinds(&log[1].1), [kind::SACK, kind::DATA]);
}

#[test]
fn a_lost_packet_is_repaired_within_a_round_trip_while_others_follow() {
    let mut sim = Sim::connected(Default::default());
    sim.send(0, 0, numbered(0, 200_000));
    sim.run(2000 * MS);
    let mut dropped = false;
    let mut count = 0;
    sim.filter = Some(Box::new(move |from, packet| {
        let data = from == 0 && kinds(packet).contains(&kind::DATA);
        count += u32::from(data);
        if data && count == 5 && !dropped {
            dropped = true;
            return false;
        }
        true
    }));
    let sent = sim.now;
    sim.send(0, 0, numbered(1, 60_000));
    sim.run_until(2000 * MS, |sim| sim.messages[1].len() == 2);
    assert!(sim.now - sent < 110 * MS, "{:?}", sim.now - sent);
    let stats = sim.ends[0].stats();
    assert_eq!(
        (stats.retransmits, stats.timeouts, stats.fast_recoveries),
        (1, 0, 1)
    );
}

#[test]
fn a_lost_tail_is_repaired_by_the_timer() {
    let mut sim = Sim::connected(Default::default());
    sim.send(0, 0, "warm");
    sim.run(1000 * MS);
    let mut dropped = 0;
    sim.filter = Some(Box::new(move |from, packet| {
        if from == 0 && kinds(packet).contains(&kind::DATA) && dropped < 2 {
            dropped += 1;
            return false;
        }
        true
    }));
    let sent = sim.now;
    sim.send(0, 0, "tail");
    sim.run_until(5000 * MS, |sim| sim.messages[1].len() == 2);
    // RTO.Min, then twice that.
    assert_eq!(sim.now - sent, 400 * MS + 800 * MS + 10 * MS);
    assert_eq!(sim.ends[0].stats().timeouts, 2);
}

#[test]
fn throughput_holds_up_on_long_and_lossy_paths() {
    // 100 ms round trip; bytes per second at the least, by loss in per mille.
    for (loss, least) in [(0, 10_000_000), (1, 700_000), (10, 150_000)] {
        let link = Link {
            loss,
            delay: 50 * MS,
            ..Link::default()
        };
        let mut sim = Sim::new(77, link);
        sim.connect();
        let start = sim.now;
        let end = start + 5 * 1000 * MS;
        let mut number = 0;
        while sim.now < end {
            while sim.ends[0].total_buffered() < 4_000_000 {
                sim.send(0, 0, numbered(number, 16_384));
                number += 1;
            }
            sim.step(end);
            sim.messages[1].clear();
        }
        let rate = sim.ends[1].stats().message_bytes_received / 5;
        println!("loss {loss}: {rate} bytes/s, {:?}", sim.ends[0].stats());
        assert!(rate > least, "loss {loss}: {rate} bytes/s");
    }
}

#[test]
fn idle_associations_are_small() {
    assert!(
        size_of::<Association>() < 2100,
        "{}",
        size_of::<Association>()
    );
    let mut sim = Sim::connected(Default::default());
    for number in 0..2000 {
        sim.send(0, 0, numbered(number, 500));
    }
    sim.run_until(10_000 * MS, |sim| sim.messages[1].len() == 2000);
    sim.run(60 * 1000 * MS);
    for end in &sim.ends {
        assert_eq!(end.outstanding.capacity(), 0);
        assert_eq!(end.receiver.inbox_capacity(), 0);
    }
}

#[test]
fn heartbeats_watch_an_idle_peer() {
    let mut sim = Sim::connected(Default::default());
    sim.log = Some(Vec::new());
    sim.run(65 * 1000 * MS);
    let heartbeats = |log: &[(usize, Vec<u8>)], from| {
        log.iter()
            .filter(|(end, p)| *end == from && kinds(p)[0] == kind::HEARTBEAT)
            .count()
    };
    for end in 0..2 {
        assert_eq!(heartbeats(sim.log.as_ref().unwrap(), end), 2);
        assert_eq!(sim.ends[end].smoothed_rtt(), Some(20 * MS));
    }
    sim.links[1] = Link::lossy(1000);
    sim.run_until(200 * 1000 * MS, |sim| !sim.events[0].is_empty());
    let reason = crate::AbortReason::Timeout;
    assert_eq!(sim.take_events(0), [Event::Aborted { reason }]);
}

#[test]
fn an_outage_is_outlived_when_ice_decides_about_death() {
    let mut config = Config::default();
    config.max_retransmits = None;
    let mut sim = Sim::connected([config.clone(), config]);
    sim.links = [Link::lossy(1000); 2];
    sim.send(0, 0, "late");
    sim.run(600 * 1000 * MS);
    sim.links = [Link::default(); 2];
    sim.run_until(11 * 1000 * MS, |sim| !sim.messages[1].is_empty());
}
