use super::*;
use crate::wire::{Chunk, ReconfigParameter, kind, reset_result};
use crate::{Reliability, ResetOutcome, SendError};

fn done(stream: u16) -> Event {
    Event::OutgoingReset {
        streams: vec![stream],
        outcome: ResetOutcome::Done,
    }
}

fn reset(stream: u16) -> Event {
    Event::StreamsReset {
        streams: vec![stream],
    }
}

#[test]
fn a_reset_comes_after_what_was_sent_and_frees_the_id_when_both_did_it() {
    let mut sim = Sim::connected(Default::default());
    for number in 0..10 {
        sim.send(0, 1, numbered(number, 5000));
    }
    sim.ends[0].reset_stream(1);
    let options = SendOptions::default();
    let refused = sim.ends[0].send(1, 0, numbered(0, 9), options);
    assert_eq!(refused, Err(SendError::StreamClosing));
    sim.run(1000 * MS);
    assert_eq!(sim.take_messages(1).len(), 10);
    assert_eq!(sim.take_events(1), [reset(1)]);
    assert_eq!(sim.take_events(0).last(), Some(&done(1)));
    // Our direction alone does not free the id; the peer may still send on its own.
    let refused = sim.ends[0].send(1, 0, numbered(0, 9), options);
    assert_eq!(refused, Err(SendError::StreamClosing));
    sim.send(1, 1, numbered(3, 50));
    sim.ends[1].reset_stream(1);
    sim.run(1000 * MS);
    assert_eq!(sim.take_messages(0).len(), 1);
    assert_eq!(sim.take_events(0), [reset(1)]);
    assert_eq!(sim.take_events(1).last(), Some(&done(1)));
    // The id starts anew with sequence number 0.
    sim.log = Some(Vec::new());
    for end in 0..2 {
        sim.send(end, 1, numbered(7, 20));
    }
    sim.run(1000 * MS);
    for (_, packet) in sim.log.take().unwrap() {
        for chunk in wire::Chunks::of_packet(&packet) {
            if let Chunk::Data(data) = Chunk::parse(chunk.unwrap()).unwrap() {
                assert_eq!(data.ssn, 0);
            }
        }
    }
    assert_eq!(sim.take_messages(0).len(), 1);
    assert_eq!(sim.take_messages(1).len(), 1);
}

#[test]
fn ids_are_used_again_over_bad_links() {
    for seed in 0..40 {
        let link = Link {
            loss: 100,
            duplicate: 50,
            delay: 5 * MS,
            jitter: 60 * MS,
        };
        let mut sim = Sim::new(seed, link);
        sim.connect();
        for round in 0..5 {
            for number in 0..4 {
                sim.send(0, 6, numbered(round * 10 + number, 2000));
                sim.send(1, 6, numbered(round * 10 + number, 40));
            }
            // Either side closes first, or both do at once.
            let first = sim.rng.below(3) as usize;
            if first == 2 {
                sim.ends[0].reset_stream(6);
                sim.ends[1].reset_stream(6);
            } else {
                sim.ends[first].reset_stream(6);
                sim.run_until(60 * 1000 * MS, |sim| {
                    sim.events[1 - first].contains(&reset(6))
                });
                sim.ends[1 - first].reset_stream(6);
            }
            sim.run_until(60 * 1000 * MS, |sim| {
                sim.events
                    .iter()
                    .all(|e| e.contains(&reset(6)) && e.contains(&done(6)))
            });
            for end in 0..2 {
                let resets = sim.events[end].iter().filter(|&e| *e == reset(6)).count();
                assert_eq!(resets, 1, "end {end}, round {round}");
                sim.events[end].clear();
                let got: Vec<_> = sim
                    .take_messages(end)
                    .iter()
                    .map(|m| number_of(m))
                    .collect();
                assert!(got.into_iter().eq(round * 10..round * 10 + 4));
            }
        }
    }
}

#[test]
fn what_was_given_up_before_a_reset_skips_nothing_after_it() {
    for seed in 0..200 {
        let link = Link {
            loss: 150,
            duplicate: 50,
            delay: 5 * MS,
            jitter: 60 * MS,
        };
        let mut sim = Sim::new(seed, link);
        sim.connect();
        for round in 0..6 {
            let options = SendOptions {
                reliability: if round % 2 == 0 {
                    Reliability::MaxRetransmits(0)
                } else {
                    Reliability::Reliable
                },
                ..SendOptions::default()
            };
            for number in 0..4 {
                let message = numbered(round * 10 + number, 40);
                sim.ends[0].send(6, 0, message, options).unwrap();
            }
            for end in &mut sim.ends {
                end.reset_stream(6);
            }
            // Another stream keeps losing messages that are skipped.
            let other = SendOptions {
                unordered: true,
                reliability: Reliability::MaxRetransmits(0),
            };
            let limit = sim.now + 300 * 1000 * MS;
            while !sim
                .events
                .iter()
                .all(|e| e.contains(&reset(6)) && e.contains(&done(6)))
            {
                sim.ends[0].send(7, 0, numbered(0, 40), other).unwrap();
                sim.run(15 * MS);
                assert!(sim.now < limit, "the resets are done");
            }
            sim.events.iter_mut().for_each(Vec::clear);
            let got: Vec<_> = std::mem::take(&mut sim.messages[1])
                .iter()
                .filter(|message| message.stream == 6)
                .map(|message| number_of(&message.payload))
                .collect();
            if round % 2 == 1 {
                assert!(got.into_iter().eq(round * 10..round * 10 + 4), "{round}");
            } else {
                assert!(got.is_sorted());
            }
        }
    }
}

#[test]
fn in_progress_is_not_the_end() {
    for newer_number in [false, true] {
        let mut sim = Sim::connected(Default::default());
        let mut lost = false;
        // The DATA is lost at first, so that the request comes before it.
        sim.filter = Some(Box::new(move |from, packet| {
            let data = from == 0 && kinds(packet).contains(&kind::DATA);
            !data || std::mem::replace(&mut lost, true)
        }));
        sim.log = Some(Vec::new());
        sim.send(0, 2, "last words");
        sim.settle();
        sim.ends[0].reset_stream(2);
        sim.run(30 * MS);
        let answer = |log: &[(usize, Vec<u8>)]| -> Vec<u32> {
            let mut results = Vec::new();
            for (from, packet) in log {
                for chunk in wire::Chunks::of_packet(packet) {
                    if let Chunk::Reconfig(reconfig) = Chunk::parse(chunk.unwrap()).unwrap()
                        && let ReconfigParameter::Response { result, .. } = reconfig.first
                        && *from == 1
                    {
                        results.push(result);
                    }
                }
            }
            results
        };
        assert_eq!(
            answer(sim.log.as_ref().unwrap()),
            [reset_result::IN_PROGRESS]
        );
        assert_eq!(sim.take_events(1), []);
        if newer_number {
            // A peer that asks again under a new number gets one performed reset, not two.
            let request = sim.ends[0].local_tsn.wrapping_add(1);
            let last_tsn = sim.ends[0].outstanding.next_tsn().wrapping_sub(1);
            let streams = wire::StreamList::new(&[0, 2]).unwrap();
            let tag = sim.ends[1].local_tag;
            let again = wire::Reconfig {
                first: ReconfigParameter::OutgoingReset {
                    request,
                    response: 0,
                    last_tsn,
                    streams,
                },
                second: None,
            };
            sim.ends[1].handle_packet(sim.now, packet(tag, &[Chunk::Reconfig(again)]));
            sim.filter = Some(Box::new(|from, packet| {
                from == 1 || !kinds(packet).contains(&kind::RE_CONFIG)
            }));
        }
        sim.run(3000 * MS);
        assert_eq!(sim.take_messages(1), [b"last words"]);
        assert_eq!(sim.take_events(1), [reset(2)]);
        let results = answer(sim.log.as_ref().unwrap());
        assert_eq!(results.last(), Some(&reset_result::PERFORMED));
        if !newer_number {
            assert_eq!(sim.take_events(0).last(), Some(&done(2)));
            assert_eq!(sim.ends[0].stats().timeouts, 1);
        }
    }
}

#[test]
fn a_refused_reset_opens_the_stream_again() {
    let mut sim = Sim::connected(Default::default());
    sim.links = [Link::lossy(1000); 2];
    sim.ends[0].reset_stream(9);
    sim.settle();
    let response = sim.ends[0].local_tsn;
    let denied = wire::Reconfig {
        first: ReconfigParameter::Response {
            response,
            result: reset_result::DENIED,
            next_tsns: None,
        },
        second: None,
    };
    let denied = packet(sim.ends[0].local_tag, &[Chunk::Reconfig(denied)]);
    sim.ends[0].handle_packet(sim.now, denied);
    let outcome = ResetOutcome::Denied;
    assert_eq!(
        sim.take_events(0),
        [Event::OutgoingReset {
            streams: vec![9],
            outcome
        }]
    );
    sim.send(0, 9, "open");
}

#[test]
fn many_streams_are_reset_in_few_requests() {
    let mut sim = Sim::connected(Default::default());
    for stream in 0..2000 {
        sim.send(0, stream, "x");
        sim.ends[0].reset_stream(stream);
    }
    sim.log = Some(Vec::new());
    sim.run(5000 * MS);
    let mut seen: Vec<u16> = Vec::new();
    for event in sim.take_events(1) {
        if let Event::StreamsReset { streams } = event {
            seen.extend(streams);
        }
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..2000));
    let log = sim.log.unwrap();
    let requests = log
        .iter()
        .filter(|(f, p)| *f == 0 && kinds(p).contains(&kind::RE_CONFIG))
        .count();
    assert!(requests <= 8, "{requests} requests");
}

#[test]
fn bandwidth_is_shared_by_priority() {
    let mut sim = Sim::connected(Default::default());
    let weights = [128, 256, 512, 1024];
    for (stream, weight) in (0u16..).zip(weights) {
        sim.ends[0].set_stream_priority(stream, weight);
        for number in 0..1000 {
            sim.send(0, stream, numbered(number, 1000));
        }
    }
    sim.run_until(10_000 * MS, |sim| sim.messages[1].len() > 1000);
    let mut counts = [0; 4];
    for message in &sim.messages[1][..900] {
        counts[usize::from(message.stream)] += 1;
    }
    for (count, weight) in counts.into_iter().zip(weights) {
        let fair = 900 * u32::from(weight) / 1920;
        assert!(fair.abs_diff(count) < 15, "{counts:?}");
    }
}

#[test]
fn a_busy_stream_does_not_delay_a_new_one() {
    let mut sim = Sim::connected(Default::default());
    for number in 0..500 {
        sim.send(0, 0, numbered(number, 16_000));
    }
    sim.run(100 * MS);
    let before = sim.messages[1].len();
    sim.send(0, 1, numbered(0, 100));
    sim.run_until(1000 * MS, |sim| {
        sim.messages[1].iter().any(|m| m.stream == 1)
    });
    assert!(sim.messages[1].len() - before < 200);
}

#[test]
fn buffered_amount_falls_when_bytes_are_first_sent() {
    let mut config = Config::default();
    config.initial_window = crate::InitialWindow::Packets(1);
    let mut sim = Sim::connected([config.clone(), config]);
    sim.ends[0].set_buffered_amount_low_threshold(0, 2000);
    sim.send(0, 0, numbered(0, 5000));
    assert_eq!(sim.ends[0].buffered_amount(0), 5000);
    sim.settle();
    let max = sim.ends[0].congestion.max_payload();
    assert_eq!(sim.ends[0].buffered_amount(0), 5000 - max);
    assert_eq!(sim.take_events(0), []);
    sim.run(500 * MS);
    assert_eq!(sim.ends[0].buffered_amount(0), 0);
    assert_eq!(sim.take_events(0), [Event::BufferedAmountLow { stream: 0 }]);
}

#[test]
fn full_buffers_push_back_and_every_blocked_stream_is_woken() {
    let mut config = Config::default();
    config.stream_send_buffer = 50_000;
    config.send_buffer = 120_000;
    let mut sim = Sim::connected([config.clone(), config]);
    let options = SendOptions::default();
    let mut accepted = [0u32; 4];
    for stream in 0..4 {
        let mut number = 0;
        loop {
            match sim.ends[0].send(stream, 0, numbered(number, 10_000), options) {
                Ok(()) => number += 1,
                Err(error) => {
                    assert_eq!(error, SendError::BufferFull);
                    break;
                }
            }
        }
        accepted[usize::from(stream)] = number;
    }
    assert_eq!(accepted[..2], [4, 4]);
    assert!(sim.ends[0].total_buffered() <= 120_000);
    sim.run(2000 * MS);
    let mut woken: Vec<u16> = sim
        .take_events(0)
        .into_iter()
        .filter_map(|event| match event {
            Event::Writable { stream } => Some(stream),
            _ => None,
        })
        .collect();
    woken.sort_unstable();
    assert_eq!(woken, [0, 1, 2, 3]);
    assert_eq!(
        sim.take_messages(1).len(),
        accepted.iter().sum::<u32>() as usize
    );
    // A message longer than the buffer is taken when nothing else waits.
    sim.ends[0]
        .send(0, 0, numbered(0, 200_000), options)
        .unwrap();
}

#[test]
fn control_messages_are_read_apart_and_streams_tell_when_they_are_readable() {
    let mut config = Config::default();
    config.control_ppid = Some(50);
    let mut sim = Sim::connected([Config::default(), config]);
    sim.reads[1] = false;
    let options = SendOptions::default();
    for (stream, ppid) in [(4, 50), (4, 53), (8, 53), (4, 53), (6, 50)] {
        sim.ends[0]
            .send(stream, ppid, numbered(ppid, 600), options)
            .unwrap();
    }
    // Streams take turns, so that the others come before the rest of stream 4.
    sim.run(100 * MS);
    let end = &mut sim.ends[1];
    assert_eq!(end.readable_bytes(4), 1200);
    assert_eq!(
        end.read_control()
            .map(|message| (message.stream, message.ppid)),
        Some((4, 50))
    );
    assert_eq!(end.read_control().map(|message| message.stream), Some(6));
    assert_eq!(end.read_control(), None);
    assert_eq!(
        [
            end.poll_readable(),
            end.poll_readable(),
            end.poll_readable()
        ],
        [Some(8), Some(4), None]
    );
    let streams: Vec<_> = std::iter::from_fn(|| end.read())
        .map(|message| message.stream)
        .collect();
    assert_eq!(streams, [8, 4, 4]);
    assert_eq!(end.receiver.window(), end.receiver.window_size());
    // Told again once something new has come.
    sim.send(0, 8, "more");
    sim.run(100 * MS);
    assert_eq!(sim.ends[1].poll_readable(), Some(8));
    assert_eq!(sim.ends[1].poll_readable(), None);
}

#[test]
fn a_send_can_be_checked_before_it_is_made() {
    let mut config = Config::default();
    config.stream_send_buffer = 10_000;
    let mut sim = Sim::connected([config.clone(), config]);
    let end = &mut sim.ends[0];
    assert_eq!(end.check_send(0, 5000), Ok(()));
    assert_eq!(end.check_send(0, 0), Err(SendError::Empty));
    assert_eq!(end.check_send(65535, 1), Err(SendError::InvalidStream));
    assert_eq!(
        end.check_send(0, 256 * 1024 + 1),
        Err(SendError::TooLarge { max: 256 * 1024 })
    );
    assert_eq!(end.total_buffered(), 0);
    sim.send(0, 0, numbered(0, 9000));
    assert_eq!(sim.ends[0].check_send(0, 5000), Err(SendError::BufferFull));
    sim.run(100 * MS);
    assert!(sim.take_events(0).contains(&Event::Writable { stream: 0 }));
    sim.ends[0].reset_stream(0);
    assert_eq!(sim.ends[0].check_send(0, 1), Err(SendError::StreamClosing));
    sim.ends[0].abort("");
    assert_eq!(sim.ends[0].check_send(2, 1), Err(SendError::Closed));
}

#[test]
fn short_packets_are_made_when_there_is_little_room() {
    let mut sim = Sim::connected(Default::default());
    sim.send(0, 0, numbered(0, 3000));
    let now = sim.now;
    let mut packets = 0;
    let mut packet = Vec::new();
    while let Some(length) = sim.ends[0].poll_transmit(now, &mut packet, 101) {
        assert!(length <= 101);
        sim.ends[1].handle_packet(now, BytesMut::from(&packet[..]));
        packet.clear();
        packets += 1;
    }
    assert_eq!(packets, 3000usize.div_ceil(72));
    let message = sim.ends[1].read().unwrap();
    assert_eq!(number_of(&message.payload), 0);
    assert_eq!(sim.ends[0].poll_transmit(now, &mut packet, 11), None);
}
