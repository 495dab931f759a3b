//! How connections end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc_driver::{DataChannel, Error, PeerConnection, SendError, rtc};

use crate::net::{Flag, World, bytes, connect, poll_once, signal};

async fn open(alice: &PeerConnection, bob: &PeerConnection) -> (DataChannel, DataChannel) {
    let here = alice.create_data_channel("test", None).unwrap();
    connect(alice, bob).await;
    let there = bob.data_channels().next().await.unwrap();
    here.opened().await.unwrap();
    (here, there)
}

#[test]
fn closing_ends_both_drivers_and_tells_the_peer() {
    let world = World::new();
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
    let world = World::new();
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
    for every in [3, 4, 5, 7] {
        let world = World::new();
        world.run(async {
            let (alice, bob) = world.pair();
            let (here, there) = open(&alice, &bob).await;
            world.net.lock().drop_every = Some(every);
            for _ in 0..3 {
                here.send(bytes(5_000)).await.unwrap();
            }
            alice.close().await.unwrap();
            world.net.lock().drop_every = None;
            for _ in 0..3 {
                assert_eq!(there.recv().await.unwrap().unwrap().data, bytes(5_000));
            }
        });
    }
}

#[test]
fn closing_does_not_wait_for_ever() {
    let world = World::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, _there) = open(&alice, &bob).await;
        world
            .net
            .lock()
            .dead
            .push("192.0.2.2:2000".parse().unwrap());
        while here.try_send(bytes(16_384)).is_ok() {}
        let before = world.net.lock().now;
        alice.close().await.unwrap();
        let took = world.net.lock().now - before;
        assert!(took <= Duration::from_secs(6), "{took:?}");
    });
}

#[test]
fn dropping_the_last_handle_closes() {
    let world = World::new();
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
    let world = World::new();
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
        let world = World::new();
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
    let world = World::new();
    let (connection, driver) = world.net.connection(&["192.0.2.1:1"], 1);
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
    let world = World::new();
    let (connection, driver) = world.net.connection(&["192.0.2.1:1"], 1);
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
    let world = World::new();
    world.net.lock().latency = Duration::from_millis(1);
    let (alice, bob) = world.net.connection(&["192.0.2.1:1000"], 1);
    let polls = world.spawn(async move { bob.await.unwrap() });
    let other = world.peer(&["192.0.2.2:2000"], 2);
    let channels = world.run(open(&alice, &other));
    world.run_for(Duration::from_secs(10));
    polls.store(0, Ordering::Relaxed);
    let sends = world.net.lock().sends;
    world.run_for(Duration::from_secs(60));
    let (polls, sends) = (
        polls.load(Ordering::Relaxed),
        world.net.lock().sends - sends,
    );
    // Both sides check their consent (RFC 7675) about every five seconds, at most every four, and
    // answer each other; one heartbeat of SCTP may be due as well. Each check or answer is one
    // datagram to or from either side.
    assert!(sends <= 80, "{sends} datagrams in a minute of silence");
    assert!(
        polls <= sends + 10,
        "{polls} wake-ups for {sends} datagrams"
    );
    drop(channels);
}
