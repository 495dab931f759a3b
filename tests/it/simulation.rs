//! Two cores over a simulated link: whatever the link does, nothing is lost, doubled or stuck.

use std::time::Duration;

use bytes::BytesMut;
use rtc::data_channel::{RTCDataChannelInit, RTCDataChannelMessage, RTCDataChannelState};
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::sansio::Protocol;
use rtc::shared::Rng;
use rtc_tests::sim::{Link, Side, Simulation};

const MIB: usize = 1024 * 1024;

/// The link of a seed: loss of 0, 1, 5 or 20 %, delays up to 300 ms, an MTU between 1200 and 1500.
fn link_of(seed: u64) -> Link {
    let mut rng = Rng::from_seed([seed as u8 ^ (seed >> 8) as u8; 32]);
    let latency = Duration::from_millis(u64::from(rng.below(100)));
    let mut link = Link::new(latency)
        .with_loss([0.0, 0.01, 0.05, 0.2][(seed % 4) as usize])
        .with_duplication(if rng.below(2) == 0 { 0.0 } else { 0.05 })
        .with_reordering(if rng.below(2) == 0 { 0.0 } else { 0.1 })
        .with_jitter(Duration::from_millis(u64::from(rng.below(200))))
        .with_mtu(1200 + rng.below(300) as usize);
    link.in_order = false;
    link
}

/// The bytes of message `index` of a transfer, different for each.
fn content(index: usize, length: usize) -> BytesMut {
    (0..length)
        .map(|offset| (index * 31 + offset * 7 + (offset >> 8)) as u8)
        .collect()
}

fn data_of(messages: &[RTCMessage]) -> Vec<&BytesMut> {
    messages
        .iter()
        .map(|message| match message {
            RTCMessage::DataChannelMessage(_, message) => &message.data,
            other => panic!("unexpected {other:?}"),
        })
        .collect()
}

/// Writes what fits of `next..count` and returns the new `next`.
fn pump(
    sim: &mut Simulation,
    side: Side,
    id: u16,
    mut next: usize,
    count: usize,
    size: usize,
) -> usize {
    let connection = &mut sim.peer(side).connection;
    while next < count {
        let Some(mut channel) = connection.data_channel(id) else {
            break;
        };
        if channel.ready_state() != RTCDataChannelState::Open
            || channel.buffered_amount() > 256 * 1024
        {
            break;
        }
        channel.send(content(next, size)).unwrap();
        next += 1;
    }
    next
}

/// Connect, one MiB each way at once, close.
fn transfer(seed: u64) {
    let size = 16 * 1024;
    let count = MIB / size;
    let mut sim = Simulation::new(seed, link_of(seed)).unwrap();
    let a_id = sim
        .a
        .connection
        .create_data_channel("bulk", None)
        .unwrap()
        .id();
    sim.negotiate().unwrap();
    assert!(
        sim.connect(Duration::from_secs(60)),
        "seed {seed}: connects"
    );
    assert!(
        sim.run(Duration::from_secs(60), |sim| !sim
            .b
            .open_channels()
            .is_empty()),
        "seed {seed}: the channel is announced"
    );
    let b_id = sim.b.open_channels()[0];
    let (mut a_next, mut b_next) = (0, 0);
    let complete = sim.run(Duration::from_secs(600), |sim| {
        a_next = pump(sim, Side::A, a_id, a_next, count, size);
        b_next = pump(sim, Side::B, b_id, b_next, count, size);
        sim.a.messages.len() == count && sim.b.messages.len() == count
    });
    assert!(
        complete,
        "seed {seed}: {} and {} of {count} messages arrived, link {:?}, states {:?} {:?}",
        sim.a.messages.len(),
        sim.b.messages.len(),
        sim.link().clone(),
        sim.a.connection,
        sim.b.connection,
    );
    for peer in [&sim.a, &sim.b] {
        for (index, data) in data_of(&peer.messages).into_iter().enumerate() {
            assert_eq!(*data, content(index, size), "seed {seed}: message {index}");
        }
    }
    sim.a.connection.close().unwrap();
    assert_eq!(
        sim.a.connection.connection_state(),
        RTCPeerConnectionState::Closed
    );
    // A single close_notify may be lost; then consent runs out.
    let closed = sim.run(Duration::from_secs(120), |sim| {
        matches!(
            sim.b.connection.connection_state(),
            RTCPeerConnectionState::Closed | RTCPeerConnectionState::Failed
        )
    });
    assert!(closed, "seed {seed}: the peer notices the end");
    assert!(
        sim.a.connection.is_drained(),
        "seed {seed}: nothing is left to send"
    );
}

/// `RTC_SIMULATION_SEED=n` replays one seed, `RTC_SIMULATION_SEEDS=n` sets how many are run.
fn seeds() -> Vec<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    match number("RTC_SIMULATION_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("RTC_SIMULATION_SEEDS").unwrap_or(1000)).collect(),
    }
}

/// Spreads the seeds over the processors; the first failure names its seed.
fn for_each_seed(run: fn(u64)) {
    let seeds = seeds();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let seeds = &seeds;
            scope.spawn(move || {
                for seed in seeds.iter().skip(worker).step_by(workers) {
                    run(*seed);
                }
            });
        }
    });
}

#[test]
fn every_seed_connects_transfers_and_closes() {
    for_each_seed(transfer);
}

#[test]
fn one_seed_gives_one_run() {
    let run = || {
        let mut sim = Simulation::new(42, link_of(42)).unwrap();
        sim.a.connection.create_data_channel("x", None).unwrap();
        sim.negotiate().unwrap();
        assert!(sim.connect(Duration::from_secs(30)));
        (sim.sent, sim.now - sim.start)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_connection_over_a_perfect_link_takes_few_round_trips() {
    let one_way = Duration::from_millis(5);
    let mut sim = Simulation::new(1, Link::new(one_way)).unwrap();
    sim.a.connection.create_data_channel("x", None).unwrap();
    sim.negotiate().unwrap();
    assert!(sim.run(Duration::from_secs(5), |sim| {
        !sim.a.open_channels().is_empty() && !sim.b.open_channels().is_empty()
    }));
    // One round trip each for the check, ServerHello, Finished, INIT and COOKIE, and the OPEN.
    let round_trips = (sim.now - sim.start).as_millis() / (2 * one_way).as_millis();
    assert!(round_trips <= 7, "{round_trips} round trips");
}

#[test]
fn every_kind_of_channel_survives_loss() {
    for seed in 0..20 {
        let mut link = link_of(seed);
        link.loss = 0.3;
        let mut sim = Simulation::new(seed, link).unwrap();
        let inits = [
            RTCDataChannelInit::default(),
            RTCDataChannelInit {
                ordered: false,
                ..Default::default()
            },
            RTCDataChannelInit {
                max_retransmits: Some(0),
                ..Default::default()
            },
            RTCDataChannelInit {
                ordered: false,
                max_retransmits: Some(3),
                ..Default::default()
            },
            RTCDataChannelInit {
                max_packet_life_time: Some(500),
                ..Default::default()
            },
            RTCDataChannelInit {
                ordered: false,
                max_packet_life_time: Some(100),
                ..Default::default()
            },
        ];
        let ids: Vec<u16> = inits
            .iter()
            .enumerate()
            .map(|(index, init)| {
                let label = format!("m{index}");
                sim.a
                    .connection
                    .create_data_channel(&label, Some(init.clone()))
                    .unwrap()
                    .id()
            })
            .collect();
        sim.negotiate().unwrap();
        assert!(
            sim.run(Duration::from_secs(120), |sim| sim.b.open_channels().len()
                == ids.len()),
            "seed {seed}: channels open"
        );
        assert!(
            sim.run(Duration::from_secs(120), |sim| sim.a.open_channels().len()
                == ids.len()),
            "seed {seed}: channels open"
        );
        for id in &ids {
            for index in 0..50 {
                let mut channel = sim.a.connection.data_channel(*id).unwrap();
                channel.send(content(index, 3000)).unwrap();
            }
        }
        // A last message on the reliable channels says that all of theirs went before.
        let opened = sim.b.open_channels();
        let labels: Vec<String> = opened
            .iter()
            .map(|id| {
                sim.b
                    .connection
                    .data_channel(*id)
                    .unwrap()
                    .parameters()
                    .label
            })
            .collect();
        let done = sim.run(Duration::from_secs(300), |sim| {
            let reliable = sim
                .b
                .messages
                .iter()
                .filter(|message| {
                    let RTCMessage::DataChannelMessage(id, _) = message else {
                        return false;
                    };
                    let position = opened.iter().position(|it| it == id).unwrap();
                    labels[position] == "m0" || labels[position] == "m1"
                })
                .count();
            let drained = ids.iter().all(|id| {
                sim.a
                    .connection
                    .data_channel(*id)
                    .unwrap()
                    .buffered_amount()
                    == 0
            });
            reliable == 100 && drained
        });
        assert!(
            done,
            "seed {seed}: reliable channels deliver all; {} messages came, {:?}, {:?}, {:?}",
            sim.b.messages.len(),
            sim.link().clone(),
            sim.a.connection,
            sim.b.connection
        );
        for id in &ids {
            let channel = sim.a.connection.data_channel(*id).unwrap();
            assert_eq!(
                channel.ready_state(),
                RTCDataChannelState::Open,
                "seed {seed}"
            );
        }
    }
}

#[test]
fn channels_close_in_both_directions_and_their_streams_are_used_again() {
    let mut sim = Simulation::new(7, Link::default()).unwrap();
    let first = sim
        .a
        .connection
        .create_data_channel("first", None)
        .unwrap()
        .id();
    sim.negotiate().unwrap();
    assert!(sim.run(
        Duration::from_secs(5),
        |sim| !sim.b.open_channels().is_empty() && !sim.a.open_channels().is_empty()
    ));
    let stream = sim.a.connection.data_channel(first).unwrap().stream_id();
    assert!(stream.is_some());
    sim.a
        .connection
        .data_channel(first)
        .unwrap()
        .send_text("last words")
        .unwrap();
    sim.a
        .connection
        .data_channel(first)
        .unwrap()
        .close()
        .unwrap();
    let closed = |events: &[RTCPeerConnectionEvent]| {
        events.iter().any(|event| {
            matches!(
                event,
                RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnClose(_))
            )
        })
    };
    assert!(sim.run(Duration::from_secs(5), |sim| closed(&sim.a.events)
        && closed(&sim.b.events)));
    assert_eq!(
        sim.b.messages.len(),
        1,
        "what was sent before the close arrives"
    );
    let second = sim
        .a
        .connection
        .create_data_channel("second", None)
        .unwrap()
        .id();
    assert_eq!(
        sim.a.connection.data_channel(second).unwrap().stream_id(),
        stream
    );
    assert!(
        sim.run(Duration::from_secs(5), |sim| sim.b.open_channels().len()
            == 2)
    );
    let message = RTCDataChannelMessage::from("again");
    sim.a
        .connection
        .handle_write(RTCMessage::DataChannelMessage(second, message))
        .unwrap();
    assert!(sim.run(Duration::from_secs(5), |sim| sim.b.messages.len() == 2));
}

#[test]
fn an_ice_restart_keeps_the_channel_and_the_dtls_association() {
    let mut sim = Simulation::new(3, Link::default()).unwrap();
    let id = sim
        .a
        .connection
        .create_data_channel("x", None)
        .unwrap()
        .id();
    sim.negotiate().unwrap();
    assert!(sim.connect(Duration::from_secs(5)));
    let ufrag = |sim: &Simulation| {
        let sdp = sim.a.connection.local_description().unwrap().sdp;
        sdp.lines()
            .find(|line| line.starts_with("a=ice-ufrag"))
            .unwrap()
            .to_owned()
    };
    for side in [Side::A, Side::B, Side::A] {
        let before = ufrag(&sim);
        sim.peer(side).connection.restart_ice();
        sim.negotiate_from(side).unwrap();
        assert_ne!(ufrag(&sim), before);
        assert!(sim.run(Duration::from_secs(5), |sim| {
            !sim.a.open_channels().is_empty()
        }));
        let received = sim.b.messages.len();
        sim.a
            .connection
            .data_channel(id)
            .unwrap()
            .send_text("hello")
            .unwrap();
        assert!(sim.run(Duration::from_secs(5), |sim| sim.b.messages.len()
            > received));
        assert!(!sim.run(Duration::from_secs(40), |_| false));
        assert_eq!(
            sim.a.connection.connection_state(),
            RTCPeerConnectionState::Connected
        );
        assert_eq!(
            sim.b.connection.connection_state(),
            RTCPeerConnectionState::Connected
        );
    }
}

#[test]
fn a_dead_link_is_noticed_and_a_healed_one_recovers() {
    let mut sim = Simulation::new(9, Link::default()).unwrap();
    sim.a.connection.create_data_channel("x", None).unwrap();
    sim.negotiate().unwrap();
    assert!(sim.connect(Duration::from_secs(5)));
    sim.link().loss = 1.0;
    assert!(sim.run(Duration::from_secs(20), |sim| {
        sim.a.connection.connection_state() == RTCPeerConnectionState::Disconnected
    }));
    sim.link().loss = 0.0;
    assert!(
        sim.connect(Duration::from_secs(20)),
        "recovers without a restart"
    );
    sim.link().loss = 1.0;
    assert!(sim.run(Duration::from_secs(120), |sim| {
        sim.a.connection.connection_state() == RTCPeerConnectionState::Failed
    }));
}

#[test]
fn a_reader_that_stops_reading_stops_the_sender_and_nothing_is_lost() {
    let mut sim = Simulation::new(11, Link::default()).unwrap();
    let id = sim
        .a
        .connection
        .create_data_channel("x", None)
        .unwrap()
        .id();
    sim.negotiate().unwrap();
    assert!(sim.run(
        Duration::from_secs(5),
        |sim| !sim.b.open_channels().is_empty() && !sim.a.open_channels().is_empty()
    ));
    sim.b.pause_reading = true;
    let (size, count) = (64 * 1024, 128);
    for index in 0..count {
        sim.a
            .connection
            .data_channel(id)
            .unwrap()
            .send(content(index, size))
            .unwrap();
    }
    assert!(!sim.run(Duration::from_secs(60), |sim| {
        sim.a.connection.data_channel(id).unwrap().buffered_amount() == 0
    }));
    sim.b.pause_reading = false;
    assert!(sim.run(Duration::from_secs(120), |sim| sim.b.messages.len()
        == count));
    for (index, data) in data_of(&sim.b.messages).into_iter().enumerate() {
        assert_eq!(*data, content(index, size));
    }
}
