use super::*;
use crate::wire::{Chunk, kind};
use crate::{AbortReason, SendError};

#[test]
fn shutdown_delivers_everything_first() {
    for seed in 0..40 {
        let link = Link {
            loss: 100,
            duplicate: 50,
            delay: 10 * MS,
            jitter: 30 * MS,
        };
        let mut sim = Sim::new(seed, link);
        sim.connect();
        for number in 0..20 {
            sim.send(0, 0, numbered(number, 3000));
            sim.send(1, 0, numbered(number, 3000));
        }
        sim.run(20 * MS);
        sim.ends[0].shutdown(sim.now);
        if seed % 2 == 0 {
            sim.ends[1].shutdown(sim.now);
        }
        let refused = sim.ends[0].send(0, 0, numbered(0, 9), SendOptions::default());
        assert_eq!(refused, Err(SendError::Closed));
        sim.run_until(100 * 1000 * MS, |sim| {
            sim.ends.iter().all(Association::is_ended)
        });
        sim.run(100 * 1000 * MS);
        for end in 0..2 {
            let events = sim.take_events(end);
            let last = events.last().unwrap();
            // The last packet of the exchange may be lost for good.
            assert!(
                matches!(
                    last,
                    Event::Closed
                        | Event::Aborted {
                            reason: AbortReason::Timeout
                        }
                ),
                "{events:?}"
            );
            let ends = events
                .iter()
                .filter(|e| matches!(e, Event::Closed | Event::Aborted { .. }))
                .count();
            assert_eq!(ends, 1);
            let got: Vec<_> = sim
                .take_messages(end)
                .iter()
                .map(|m| number_of(m))
                .collect();
            assert!(got.into_iter().eq(0..20), "end {end}");
            assert_eq!(sim.ends[end].poll_timeout(), None);
        }
    }
}

#[test]
fn shutdown_is_three_packets() {
    let mut sim = Sim::connected(Default::default());
    sim.log = Some(Vec::new());
    sim.ends[0].shutdown(sim.now);
    sim.run(100 * MS);
    let log: Vec<_> = sim
        .log
        .take()
        .unwrap()
        .iter()
        .map(|(f, p)| (*f, kinds(p)))
        .collect();
    assert_eq!(
        log,
        [
            (0, vec![kind::SHUTDOWN]),
            (1, vec![kind::SHUTDOWN_ACK]),
            (0, vec![kind::SHUTDOWN_COMPLETE])
        ]
    );
    assert_eq!(sim.take_events(0), [Event::Closed]);
    assert_eq!(sim.take_events(1), [Event::Closed]);
    // Ended is ended: an INIT is turned away.
    let init = sim.ends[1].local_init();
    let (raw, _) = wire::RawChunk::split(&init).unwrap();
    let init = packet(0, &[Chunk::parse(raw).unwrap()]);
    sim.ends[0].handle_packet(sim.now, init);
    let mut reply = Vec::new();
    sim.ends[0]
        .poll_transmit(sim.now, &mut reply, 1200)
        .unwrap();
    assert_eq!(kinds(&reply), [kind::ABORT]);
    sim.ends[0].connect(sim.now);
    assert!(!sim.ends[0].wants_transmit());
}

#[test]
fn abort_tells_the_peer_why() {
    let mut sim = Sim::connected(Default::default());
    for number in 0..100 {
        sim.send(0, 0, numbered(number, 10_000));
    }
    sim.settle();
    sim.ends[0].abort("enough");
    assert_eq!(sim.ends[0].total_buffered(), 0);
    sim.run(100 * MS);
    assert_eq!(sim.take_events(0), [Event::Closed]);
    let reason = AbortReason::ByPeer {
        cause: 12,
        info: "enough".into(),
    };
    assert_eq!(sim.take_events(1), [Event::Aborted { reason }]);
    for end in 0..2 {
        let refused = sim.ends[end].send(0, 0, numbered(0, 9), SendOptions::default());
        assert_eq!(refused, Err(SendError::Closed));
        assert_eq!(sim.ends[end].poll_timeout(), None);
        assert!(!sim.ends[end].wants_transmit());
    }
    // What had come can still be read.
    assert!(!sim.take_messages(1).is_empty());
}

#[test]
fn an_association_that_never_began_ends_at_once() {
    let mut sim = Sim::new(1, Link::default());
    sim.ends[0].shutdown(sim.now);
    sim.ends[1].connect(sim.now);
    sim.ends[1].abort("changed my mind");
    sim.settle();
    assert_eq!(sim.events, [[Event::Closed], [Event::Closed]]);
    assert!(sim.network.is_empty());
}

#[test]
fn a_peer_that_ignores_shutdown_is_left() {
    let mut sim = Sim::connected(Default::default());
    sim.links = [Link::lossy(1000); 2];
    sim.ends[0].shutdown(sim.now);
    sim.run_until(100 * 1000 * MS, |sim| sim.ends[0].is_ended());
    assert_eq!(
        sim.take_events(0),
        [Event::Aborted {
            reason: AbortReason::Timeout
        }]
    );
}

#[test]
fn forged_ends_are_not_believed() {
    let mut sim = Sim::connected(Default::default());
    let (own, peer) = (sim.ends[0].local_tag, sim.ends[0].peer_tag);
    let forged = [
        packet(
            own ^ 1,
            &[Chunk::Abort {
                reflected: false,
                causes: &[],
            }],
        ),
        packet(
            own,
            &[Chunk::Abort {
                reflected: true,
                causes: &[],
            }],
        ),
        packet(
            peer,
            &[Chunk::Abort {
                reflected: false,
                causes: &[],
            }],
        ),
        packet(
            0,
            &[Chunk::Abort {
                reflected: false,
                causes: &[],
            }],
        ),
        packet(peer ^ 1, &[Chunk::ShutdownComplete { reflected: true }]),
        packet(peer, &[Chunk::ShutdownComplete { reflected: true }]),
        packet(own, &[Chunk::ShutdownComplete { reflected: false }]),
        packet(own ^ 1, &[Chunk::ShutdownAck]),
        packet(own, &[Chunk::ShutdownAck]),
        packet(own ^ 1, &[Chunk::Shutdown { cumulative_tsn: 0 }]),
    ];
    for packet in forged {
        sim.ends[0].handle_packet(sim.now, packet);
        assert_eq!(sim.ends[0].state(), State::Established);
    }
    sim.ends[0].handle_packet(
        sim.now,
        packet(
            peer,
            &[Chunk::Abort {
                reflected: true,
                causes: &[],
            }],
        ),
    );
    assert!(sim.ends[0].is_ended());
}
