use super::*;
use crate::AbortReason;
use crate::wire::kind;

#[test]
fn one_side_connects_in_two_round_trips() {
    let mut sim = Sim::new(1, Link::default());
    sim.ends[0].connect(sim.now);
    sim.log = Some(Vec::new());
    sim.run(35 * MS);
    assert_eq!(sim.ends[1].state(), State::Established);
    assert_eq!(sim.ends[0].state(), State::CookieEchoed);
    sim.run(10 * MS);
    assert_eq!(sim.ends[0].state(), State::Established);
    let log: Vec<_> = sim
        .log
        .unwrap()
        .iter()
        .map(|(from, packet)| (*from, kinds(packet)))
        .collect();
    assert_eq!(
        log,
        [
            (0, vec![kind::INIT]),
            (1, vec![kind::INIT_ACK]),
            (0, vec![kind::COOKIE_ECHO]),
            (1, vec![kind::COOKIE_ACK]),
        ]
    );
    assert_eq!(sim.events, [[Event::Connected], [Event::Connected]]);
}

#[test]
fn both_sides_connect_at_once() {
    for skew in [0, 1, 5, 10, 15, 20, 25, 30, 35] {
        let mut sim = Sim::new(skew, Link::default());
        sim.ends[0].connect(sim.now);
        sim.run(skew as u32 * MS);
        sim.ends[1].connect(sim.now);
        sim.run(100 * MS);
        assert_eq!(
            sim.events,
            [[Event::Connected], [Event::Connected]],
            "skew {skew}"
        );
        let [a, b] = &sim.ends;
        assert_eq!((a.local_tag, a.peer_tag), (b.peer_tag, b.local_tag));
        sim.send(0, 1, "a");
        sim.send(1, 1, "b");
        sim.run(100 * MS);
        assert_eq!(sim.take_messages(0), [b"b"]);
        assert_eq!(sim.take_messages(1), [b"a"]);
    }
}

#[test]
fn setup_survives_loss_delay_reordering_and_duplication() {
    for seed in 0..100 {
        let link = Link {
            loss: 200,
            duplicate: 200,
            delay: 5 * MS,
            jitter: 300 * MS,
        };
        let mut sim = Sim::new(seed, link);
        sim.ends[0].connect(sim.now);
        let wait = sim.rng.below(300) * MS;
        sim.run(wait);
        sim.ends[1].connect(sim.now);
        for end in 0..2 {
            for number in 0..5 {
                sim.send(end, 0, numbered(number, 100));
            }
        }
        sim.run_until(60 * 1000 * MS, |sim| {
            sim.messages.iter().all(|got| got.len() == 5)
        });
        sim.run(60 * 1000 * MS);
        for end in 0..2 {
            let connected = sim.events[end]
                .iter()
                .filter(|&e| *e == Event::Connected)
                .count();
            assert_eq!(connected, 1);
            assert_eq!(sim.ends[end].state(), State::Established);
            let numbers: Vec<_> = sim.messages[end]
                .iter()
                .map(|m| number_of(&m.payload))
                .collect();
            assert_eq!(numbers, [0, 1, 2, 3, 4]);
        }
    }
}

#[test]
fn messages_sent_before_the_setup_travel_with_the_cookie() {
    let mut sim = Sim::new(3, Link::default());
    sim.send(0, 7, "early");
    sim.ends[0].connect(sim.now);
    sim.run(35 * MS);
    assert_eq!(sim.take_messages(1), [b"early"]);
}

#[test]
fn nobody_answers() {
    let mut sim = Sim::new(4, Link::lossy(1000));
    sim.ends[0].connect(sim.now);
    sim.run_until(120 * 1000 * MS, |sim| !sim.events[0].is_empty());
    assert_eq!(
        sim.take_events(0),
        [Event::Aborted {
            reason: AbortReason::Timeout
        }]
    );
    assert_eq!(sim.ends[0].poll_timeout(), None);

    let mut config = Config::default();
    config.max_init_retransmits = None;
    let mut sim = Sim::with_config(4, Link::lossy(1000), [config.clone(), config]);
    sim.ends[0].connect(sim.now);
    sim.run(600 * 1000 * MS);
    assert_eq!(sim.ends[0].state(), State::CookieWait);
    sim.links = [Link::default(); 2];
    sim.run(11 * 1000 * MS);
    assert_eq!(sim.ends[0].state(), State::Established);
}

#[test]
fn a_cookie_gets_old() {
    let mut sim = Sim::new(5, Link::default());
    sim.ends[0].connect(sim.now);
    // The cookie takes longer than its life.
    let mut held = None;
    sim.log = Some(Vec::new());
    sim.run(15 * MS);
    sim.step(sim.now + 10 * MS);
    for (from, packet) in sim.log.take().unwrap() {
        if from == 0 && kinds(&packet)[0] == kind::COOKIE_ECHO {
            held = Some(packet);
        }
    }
    sim.network.clear();
    let late = sim.now + 61 * 1000 * MS;
    let echo = BytesMut::from(&held.unwrap()[..]);
    sim.ends[1].handle_packet(late, echo);
    assert_eq!(sim.ends[1].state(), State::Closed);
    assert_eq!(sim.ends[1].stats().drops.cookie, 1);
    // The peer is told and starts over.
    sim.now = late;
    let mut reply = Vec::new();
    sim.ends[1].poll_transmit(late, &mut reply, 1200).unwrap();
    assert_eq!(kinds(&reply), [kind::ERROR]);
    sim.ends[0].handle_packet(late, BytesMut::from(&reply[..]));
    assert_eq!(sim.ends[0].state(), State::CookieWait);
    sim.run_until(1000 * MS, |sim| sim.ends[0].state() == State::Established);
}

#[test]
fn duplicated_and_foreign_cookies_change_nothing() {
    let mut sim = Sim::new(6, Link::default());
    sim.log = Some(Vec::new());
    sim.connect();
    sim.send(0, 0, "x");
    sim.run(100 * MS);
    let log = sim.log.take().unwrap();
    let echoes: Vec<_> = log
        .iter()
        .filter(|(_, p)| kinds(p)[0] == kind::COOKIE_ECHO)
        .collect();
    assert_eq!(echoes.len(), 2);
    for (from, echo) in echoes {
        let end = &mut sim.ends[1 - from];
        // A retransmitted cookie is acknowledged again (5.2.4, action D).
        end.handle_packet(sim.now, BytesMut::from(&echo[..]));
        let mut reply = Vec::new();
        end.poll_transmit(sim.now, &mut reply, 1200).unwrap();
        assert_eq!(kinds(&reply)[0], kind::COOKIE_ACK);
        // One with a flipped bit is not ours.
        let mut forged = echo.clone();
        forged[20] ^= 1;
        wire::seal(&mut forged, 0);
        end.handle_packet(sim.now, BytesMut::from(&forged[..]));
        assert_eq!(end.stats().drops.cookie, 1);
        assert!(!end.wants_transmit());
    }
    sim.send(0, 0, "y");
    sim.run(100 * MS);
    assert_eq!(sim.take_messages(1), [b"x", b"y"]);
    assert!(
        sim.take_events(0)
            .iter()
            .all(|event| *event != Event::Restarted)
    );
}

#[test]
fn a_peer_that_lost_its_state_restarts_the_association() {
    let mut sim = Sim::new(7, Link::default());
    sim.connect();
    for number in 0..3 {
        sim.send(0, 4, numbered(number, 50));
        sim.send(1, 4, numbered(number, 50));
    }
    sim.run(500 * MS);
    sim.messages = [Vec::new(), Vec::new()];
    sim.events = [Vec::new(), Vec::new()];
    sim.ends[0] = Association::new(Config::default(), sim.now, rng(99));
    sim.ends[0].connect(sim.now);
    // Lost with the old association.
    sim.send(1, 4, numbered(3, 50));
    sim.run(2000 * MS);
    assert_eq!(
        sim.take_events(1),
        [Event::BufferedAmountLow { stream: 4 }, Event::Restarted]
    );
    assert_eq!(sim.take_events(0), [Event::Connected]);
    for number in 0..3 {
        sim.send(0, 4, numbered(number, 50));
        sim.send(1, 4, numbered(number + 10, 50));
    }
    sim.run(1000 * MS);
    let got: Vec<_> = sim.take_messages(1).iter().map(|m| number_of(m)).collect();
    assert_eq!(got, [0, 1, 2]);
    let got: Vec<_> = sim.take_messages(0).iter().map(|m| number_of(m)).collect();
    assert_eq!(got, [10, 11, 12]);
}

#[test]
fn an_init_that_is_no_restart_changes_nothing() {
    let mut sim = Sim::connected([Config::default(), Config::default()]);
    sim.run(100 * MS);
    let before = sim.ends[0].stats().drops.unexpected;
    let init = sim.ends[0].local_init();
    let (raw, _) = wire::RawChunk::split(&init).unwrap();
    let forged = packet(0, &[wire::Chunk::parse(raw).unwrap()]);
    sim.ends[1].handle_packet(sim.now, forged);
    // The answer goes to the peer, which did not ask.
    sim.run(100 * MS);
    sim.send(0, 0, "still");
    sim.run(100 * MS);
    assert_eq!(sim.take_messages(1), [b"still"]);
    assert_eq!(sim.ends[0].stats().drops.unexpected, before + 1);
}

#[test]
fn streams_are_negotiated_down() {
    let mut narrow = Config::default();
    narrow.max_streams = 10;
    let mut sim = Sim::with_config(8, Link::default(), [Config::default(), narrow]);
    sim.send(0, 9, "in");
    sim.send(0, 10, "out");
    sim.send(0, 300, "out");
    sim.ends[0].connect(sim.now);
    sim.run(100 * MS);
    assert_eq!(
        sim.take_events(0).last(),
        Some(&Event::StreamsRefused {
            streams: vec![10, 300]
        })
    );
    assert_eq!(sim.take_messages(1), [b"in"]);
    assert_eq!(sim.ends[0].max_outbound_streams(), 10);
    let sent = sim.ends[0].send(10, 0, Bytes::from_static(b"x"), SendOptions::default());
    assert_eq!(sent, Err(crate::SendError::InvalidStream));
}

#[test]
fn two_inits_from_signalling_make_an_association_without_packets() {
    let now = some_instant();
    let mut a = with_counters(Config::default(), now, 1, 10);
    let mut b = with_counters(Config::default(), now, 2, u32::MAX);
    let (init_a, init_b) = (a.local_init(), b.local_init());
    assert_eq!(init_a.len(), 4 + 16 + 4 + 8 + 8);
    a.connect_with_init(now, &init_b).unwrap();
    b.connect_with_init(now, &init_a).unwrap();
    assert!(a.connect_with_init(now, &init_b).is_err());
    let mut sim = Sim::with_ends(now, [a, b], Link::default(), rng(1));
    sim.log = Some(Vec::new());
    sim.send(0, 0, "a");
    sim.send(1, 0, "b");
    sim.run(15 * MS);
    assert_eq!(sim.take_messages(0), [b"b"]);
    assert_eq!(sim.take_messages(1), [b"a"]);
    for (_, packet) in sim.log.unwrap() {
        assert!(
            kinds(&packet)
                .iter()
                .all(|kind| [kind::DATA, kind::SACK].contains(kind))
        );
    }
}

#[test]
fn zero_checksum_is_used_only_when_both_offer_it() {
    for (offers, expected) in [
        ([true, true], true),
        ([true, false], false),
        ([false, true], false),
    ] {
        let configs = offers.map(|offer| {
            let mut config = Config::default();
            config.zero_checksum = offer;
            config
        });
        let mut sim = Sim::with_config(9, Link::default(), configs);
        sim.log = Some(Vec::new());
        sim.connect();
        sim.send(0, 0, "x");
        sim.run(300 * MS);
        assert_eq!(sim.take_messages(1), [b"x"]);
        let mut zeros = 0;
        for (_, packet) in sim.log.unwrap() {
            let first = kinds(&packet)[0];
            let zero = wire::Header::parse(&packet).unwrap().checksum == 0;
            assert!(!(zero && [kind::INIT, kind::COOKIE_ECHO].contains(&first)));
            zeros += u32::from(zero);
        }
        assert_eq!(zeros > 0, expected, "{offers:?}");
    }
}

#[test]
fn a_lost_cookie_ack_is_made_up_for_by_data() {
    let mut sim = Sim::new(10, Link::default());
    sim.filter = Some(Box::new(|_, packet| kinds(packet) != [kind::COOKIE_ACK]));
    sim.ends[0].connect(sim.now);
    sim.run(35 * MS);
    assert_eq!(sim.ends[1].state(), State::Established);
    assert_eq!(sim.ends[0].state(), State::CookieEchoed);
    sim.send(1, 0, "go on");
    sim.run(10 * MS);
    assert_eq!(sim.take_messages(0), [b"go on"]);
    assert_eq!(sim.take_events(0), [Event::Connected]);
}
