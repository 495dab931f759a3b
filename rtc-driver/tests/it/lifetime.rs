//! How connections end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc_driver::test::Link;
use rtc_driver::{Error, SendError, rtc};

use crate::scene::{Flag, Scene, bytes, connect, open, poll_once, signal};

#[test]
fn closing_ends_both_drivers_and_tells_the_peer() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        alice.close().await.unwrap();
        assert_eq!(there.recv().await, None);
        assert_eq!(here.recv().await, None);
        assert_eq!(bob.connection_state(), RTCPeerConnectionState::Closed);
        assert_eq!(here.send("late").await, Err(SendError::Closed));
        alice.close().await.unwrap();
        bob.close().await.unwrap();
    });
    world.run_for(Duration::from_millis(1));
    assert_eq!(world.tasks(), 0);
}

#[test]
fn closing_sends_first_what_was_given_to_send() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        for _ in 0..12 {
            here.send(bytes(16_384)).await.unwrap();
        }
        assert!(here.buffered_amount() > 100_000);
        alice.close().await.unwrap();
        for _ in 0..12 {
            assert_eq!(there.recv().await.unwrap().unwrap().data, bytes(16_384));
        }
        assert_eq!(there.recv().await, None);
    });
}

#[test]
fn closing_delivers_over_a_lossy_path() {
    for seed in 0..20 {
        let world = Scene::with_seed(seed);
        world.run(async {
            let (alice, bob) = world.pair();
            let (here, there) = open(&alice, &bob).await;
            world.set_default_link(Link::default().with_loss(0.1));
            for _ in 0..3 {
                here.send(bytes(5_000)).await.unwrap();
            }
            alice.close().await.unwrap();
            world.set_default_link(Link::default());
            for _ in 0..3 {
                assert_eq!(there.recv().await.unwrap().unwrap().data, bytes(5_000));
            }
        });
    }
}

#[test]
fn closing_does_not_wait_for_ever() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, _there) = open(&alice, &bob).await;
        world.b.cut();
        while here.try_send(bytes(16_384)).is_ok() {}
        let before = world.now();
        alice.close().await.unwrap();
        let took = world.now() - before;
        assert!(took <= Duration::from_secs(6), "{took:?}");
    });
}

#[test]
fn dropping_the_last_handle_closes() {
    let world = Scene::new();
    let (alice, bob) = world.pair();
    let there = world.run(async {
        let (here, there) = open(&alice, &bob).await;
        let clone = alice.clone();
        drop(alice);
        drop(clone);
        // A channel is a handle of its connection.
        here.send("hello").await.unwrap();
        assert_eq!(there.recv().await, Some(Ok("hello".into())));
        here.send("bye").await.unwrap();
        drop(here);
        assert_eq!(there.recv().await, Some(Ok("bye".into())));
        assert_eq!(there.recv().await, None);
        there
    });
    drop((bob, there));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.tasks(), 0);
}

#[test]
fn event_streams_do_not_keep_a_connection_alive() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let _channels = open(&alice, &bob).await;
        let mut events = bob.events();
        let mut channels = bob.data_channels();
        drop(bob);
        drop(_channels);
        while events.next().await.is_some() {}
        assert!(channels.next().await.is_none());
        drop(alice);
    });
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.tasks(), 0);
}

#[test]
fn connections_dropped_in_any_state_leave_no_task() {
    for stage in 0..7 {
        let world = Scene::new();
        world.run(async {
            let (alice, bob) = world.pair();
            let channel = (stage > 0).then(|| alice.create_data_channel("x", None).unwrap());
            match stage {
                0 | 1 => {}
                2 => alice.set_local_description(None).unwrap(),
                3 => {
                    alice.set_local_description(None).unwrap();
                    let offer = alice.gathering_complete().await.unwrap();
                    bob.set_remote_description(offer).unwrap();
                }
                4 => signal(&alice, &bob).await,
                5 => connect(&alice, &bob).await,
                _ => {
                    connect(&alice, &bob).await;
                    channel
                        .as_ref()
                        .unwrap()
                        .send(bytes(100_000))
                        .await
                        .unwrap();
                }
            }
        });
        world.run_for(Duration::from_secs(10));
        assert_eq!(world.tasks(), 0, "stage {stage}");
    }
}

#[test]
fn a_dropped_driver_is_told_to_everybody() {
    let world = Scene::new();
    let (connection, driver) = world.a.builder().build_unspawned().unwrap();
    let channel = connection.create_data_channel("x", None).unwrap();
    let flag: Arc<Flag> = Arc::default();
    let mut connected = pin!(connection.connected());
    let mut recv = pin!(channel.recv());
    let mut send = pin!(channel.send("x"));
    let mut events = connection.events();
    assert!(poll_once(connected.as_mut(), &flag).is_pending());
    assert!(poll_once(recv.as_mut(), &flag).is_pending());
    assert!(poll_once(send.as_mut(), &flag).is_pending());
    assert!(poll_once(pin!(events.next()), &flag).is_pending());
    drop(driver);
    assert_eq!(flag.take(), 4);
    world.run(async {
        assert_eq!(connected.await, Err(Error::DriverLost));
        assert_eq!(recv.await, Some(Err(Error::DriverLost)));
        assert_eq!(channel.recv().await, None);
        assert_eq!(send.await, Err(SendError::DriverLost));
        assert_eq!(events.next().await, None);
        assert_eq!(connection.close().await, Err(Error::DriverLost));
        assert_eq!(connection.create_offer(None), Err(Error::DriverLost));
    });
}

#[test]
fn a_panic_of_the_user_under_the_lock_loses_the_connection_and_locks_nobody_out() {
    let world = Scene::new();
    let (connection, driver) = world.a.builder().build_unspawned().unwrap();
    let flag: Arc<Flag> = Arc::default();
    let mut connected = pin!(connection.connected());
    let mut driver = pin!(driver);
    assert!(poll_once(connected.as_mut(), &flag).is_pending());
    assert!(poll_once(driver.as_mut(), &flag).is_pending());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        connection.with_core(|_| std::panic::resume_unwind(Box::new("by the user")))
    }));
    assert!(panicked.is_err());
    assert_eq!(flag.take(), 2);
    world.run(async {
        assert_eq!(connected.await, Err(Error::DriverLost));
        assert_eq!(driver.await, Err(Error::DriverLost));
        assert_eq!(connection.create_offer(None), Err(Error::DriverLost));
        assert_eq!(connection.connection_state(), RTCPeerConnectionState::New);
    });
}

#[test]
fn an_idle_connection_wakes_for_its_timers_only() {
    let world = Scene::new();
    world.set_default_link(Link::new(Duration::from_millis(1)));
    let (alice, bob) = world.pair();
    let channels = world.run(open(&alice, &bob));
    world.run_for(Duration::from_secs(10));
    for _ in 0..10 {
        let count = || {
            let (a, b) = (world.a.traffic(), world.b.traffic());
            [
                a.sent,
                a.received,
                world.a.polls(),
                b.sent,
                b.received,
                world.b.polls(),
            ]
        };
        let before = count();
        world.run_for(Duration::from_secs(60));
        let after = count();
        let minute: [u64; 6] = std::array::from_fn(|index| after[index] - before[index]);
        println!("sent, received, polls of either side in a minute: {minute:?}");
        for side in minute.chunks(3) {
            // Each side checks its consent every four to six seconds (RFC 7675 section 5.1) and
            // answers the other's checks.
            assert!((20..=30).contains(&side[0]), "{side:?}");
            // A poll for each datagram that comes in, one for each check of its own that is due.
            let own_checks = side[0] / 2 + 1;
            assert!(side[2] <= side[1] + own_checks, "{side:?}");
        }
    }
    drop(channels);
}
