use super::*;
use crate::wire::kind;
use crate::{Reliability, SendError};

fn options(unordered: bool, reliability: Reliability) -> SendOptions {
    SendOptions {
        unordered,
        reliability,
    }
}

#[test]
fn partial_reliability_never_stops_a_channel() {
    let modes = [
        Reliability::MaxRetransmits(0),
        Reliability::MaxRetransmits(2),
        Reliability::MaxLifetime(Duration::ZERO),
        Reliability::MaxLifetime(50 * MS),
        Reliability::MaxLifetime(600 * MS),
    ];
    for seed in 0..30 {
        let link = Link {
            loss: 300,
            duplicate: 20,
            delay: 10 * MS,
            jitter: 20 * MS,
        };
        let mut sim = Sim::new(seed, link);
        sim.connect();
        let mode = modes[seed as usize % modes.len()];
        for number in 0..200 {
            let length = if number % 3 == 0 { 4000 } else { 60 };
            for (stream, unordered) in [(0, false), (1, true)] {
                let options = options(unordered, mode);
                sim.ends[0]
                    .send(stream, 0, numbered(number, length), options)
                    .unwrap();
            }
            if number % 10 == 0 {
                sim.send(0, 2, numbered(number, 500));
            }
            sim.run(5 * MS);
        }
        sim.run_until(600 * 1000 * MS, |sim| sim.idle());
        sim.run(5 * 1000 * MS);
        // The channels still work once the link does.
        sim.links = [Link::default(); 2];
        let mut seen: [Vec<u32>; 3] = Default::default();
        for message in std::mem::take(&mut sim.messages[1]) {
            seen[usize::from(message.stream)].push(number_of(&message.payload));
        }
        assert!(seen[0].is_sorted_by(|a, b| a < b), "ordered: {:?}", seen[0]);
        seen[1].sort_unstable();
        assert!(
            seen[1].is_sorted_by(|a, b| a < b),
            "unordered: {:?}",
            seen[1]
        );
        assert!(
            seen[2].iter().copied().eq((0..200).step_by(10)),
            "reliable: {:?}",
            seen[2]
        );
        for (stream, unordered) in [(0, false), (1, true)] {
            let options = options(unordered, Reliability::MaxRetransmits(0));
            sim.ends[0]
                .send(stream, 0, numbered(1000, 4000), options)
                .unwrap();
        }
        sim.run(5 * 1000 * MS);
        assert_eq!(sim.take_messages(1).len(), 2, "mode {mode:?}");
        assert_eq!(sim.ends[0].state(), State::Established);
        assert!(sim.ends[0].stats().abandoned > 0);
    }
}

#[test]
fn an_abandoned_message_is_skipped_by_forward_tsn() {
    let mut sim = Sim::connected(Default::default());
    sim.log = Some(Vec::new());
    let mut drop = true;
    sim.filter = Some(Box::new(move |from, packet| {
        !(from == 0 && kinds(packet).contains(&kind::DATA) && std::mem::take(&mut drop))
    }));
    sim.ends[0]
        .send(
            3,
            0,
            numbered(0, 50),
            options(false, Reliability::MaxRetransmits(0)),
        )
        .unwrap();
    sim.settle();
    sim.ends[0]
        .send(
            3,
            0,
            numbered(1, 50),
            options(false, Reliability::MaxRetransmits(0)),
        )
        .unwrap();
    sim.run_until(2000 * MS, |sim| sim.messages[1].len() == 1);
    assert_eq!(number_of(&sim.messages[1][0].payload), 1);
    sim.run(1000 * MS);
    assert!(sim.idle());
    let forwards: Vec<_> = sim
        .log
        .unwrap()
        .iter()
        .filter(|(_, packet)| kinds(packet).contains(&kind::FORWARD_TSN))
        .map(|(_, packet)| packet.clone())
        .collect();
    assert_eq!(forwards.len(), 1);
    let raw = wire::Chunks::of_packet(&forwards[0])
        .next()
        .unwrap()
        .unwrap();
    let wire::Chunk::ForwardTsn(forward) = wire::Chunk::parse(raw).unwrap() else {
        panic!()
    };
    assert_eq!(forward.entries().collect::<Vec<_>>(), [(3, 0)]);
}

#[test]
fn a_lifetime_ends_in_the_send_queue_too() {
    let mut config = Config::default();
    config.stream_send_buffer = 100_000;
    let mut sim = Sim::connected([config.clone(), config]);
    sim.run(20 * 1000 * MS);
    sim.links = [Link::lossy(1000); 2];
    let short = options(true, Reliability::MaxLifetime(100 * MS));
    let mut sent = 0;
    while sim.ends[0].send(0, 0, numbered(sent, 1000), short).is_ok() {
        sent += 1;
    }
    sim.run(200 * MS);
    // What is over does not keep newer messages out.
    sim.links = [Link::default(); 2];
    assert_eq!(
        sim.ends[0].send(0, 0, numbered(1000, 1000), SendOptions::default()),
        Ok(())
    );
    sim.run_until(2000 * MS, |sim| !sim.messages[1].is_empty());
    sim.run(2000 * MS);
    let got: Vec<_> = sim.take_messages(1).iter().map(|m| number_of(m)).collect();
    assert_eq!(got, [1000]);
    assert_eq!(sim.ends[0].buffered_amount(0), 0);
    assert!(sim.idle());
}

#[test]
fn a_lifetime_counts_from_send_even_after_long_silence() {
    let mut config = Config::default();
    config.heartbeat_interval = None;
    let mut sim = Sim::connected([config.clone(), config]);
    sim.run(600 * 1000 * MS);
    let short = options(false, Reliability::MaxLifetime(50 * MS));
    sim.ends[0].send(0, 0, numbered(5, 100), short).unwrap();
    sim.run(100 * MS);
    assert_eq!(sim.take_messages(1).len(), 1);
}

#[test]
fn a_message_given_up_halfway_is_skipped_even_if_all_its_fragments_came() {
    let mut config = Config::default();
    config.initial_window = crate::InitialWindow::Packets(2);
    let mut sim = Sim::connected([config.clone(), config]);
    // The first two fragments arrive and are acknowledged, after the lifetime is over.
    let short = options(false, Reliability::MaxLifetime(15 * MS));
    sim.ends[0].send(0, 0, numbered(0, 50_000), short).unwrap();
    sim.send(0, 0, numbered(1, 100));
    sim.send(0, 1, numbered(2, 5000));
    sim.run_until(5000 * MS, |sim| sim.messages[1].len() == 2);
    sim.run(1000 * MS);
    let mut got: Vec<_> = sim.take_messages(1).iter().map(|m| number_of(m)).collect();
    got.sort_unstable();
    assert_eq!(got, [1, 2]);
    assert!(sim.idle());
    assert_eq!(sim.ends[0].buffered_amount(0), 0);
    assert_eq!(sim.ends[0].stats().abandoned, 1);
}

#[test]
fn without_forward_tsn_what_was_sent_stays_reliable() {
    let now = some_instant();
    let mut a = with_counters(Config::default(), now, 1, 1);
    let b = with_counters(Config::default(), now, 2, 2);
    // An INIT without any parameter.
    let init = wire::Init {
        initiate_tag: 2,
        a_rwnd: 100_000,
        outbound_streams: 10,
        inbound_streams: 10,
        initial_tsn: 2,
        parameters: &[],
    };
    let mut bare = Vec::new();
    wire::Chunk::Init(init).write(&mut bare);
    a.connect_with_init(now, &bare).unwrap();
    let mut sim = Sim::with_ends(now, [a, b], Link::default(), rng(3));
    let init = sim.ends[0].local_init();
    sim.ends[1].connect_with_init(now, &init).unwrap();
    let mut drops = 3;
    sim.filter = Some(Box::new(move |from, packet| {
        let drop = from == 0 && drops > 0 && kinds(packet).contains(&kind::DATA);
        drops -= u32::from(drop);
        !drop
    }));
    let once = options(false, Reliability::MaxRetransmits(0));
    sim.ends[0].send(0, 0, numbered(0, 100), once).unwrap();
    sim.run_until(10_000 * MS, |sim| sim.messages[1].len() == 1);
    assert_eq!(sim.ends[0].stats().abandoned, 0);
    // Nor can its streams be reset by the protocol.
    sim.ends[0].reset_stream(0);
    let events = sim.take_events(0);
    let outcome = crate::ResetOutcome::Unsupported;
    assert_eq!(
        events.last(),
        Some(&Event::OutgoingReset {
            streams: vec![0],
            outcome
        })
    );
    assert_ne!(
        sim.ends[0].send(0, 0, numbered(0, 100), once),
        Err(SendError::StreamClosing)
    );
}
