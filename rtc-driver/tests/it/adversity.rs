//! Sockets and paths that misbehave.

use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use futures_util::future;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc_driver::{DataChannel, Error, PeerConnection, rtc};

use crate::net::{World, bytes, connect, signal};

async fn open(alice: &PeerConnection, bob: &PeerConnection) -> (DataChannel, DataChannel) {
    let here = alice.create_data_channel("test", None).unwrap();
    connect(alice, bob).await;
    let there = bob.data_channels().next().await.unwrap();
    here.opened().await.unwrap();
    (here, there)
}

async fn echo(here: &DataChannel, there: &DataChannel, text: &str) {
    here.send(text).await.unwrap();
    let message = there.recv().await.unwrap().unwrap();
    there.send(message).await.unwrap();
    assert_eq!(here.recv().await, Some(Ok(text.into())));
}

async fn bulk(here: &DataChannel, there: &DataChannel, size: usize) {
    let send = async {
        for chunk in bytes(size).chunks(16_384) {
            here.send(chunk).await.unwrap();
        }
    };
    let recv = async {
        let mut received = Vec::new();
        while received.len() < size {
            received.extend_from_slice(&there.recv().await.unwrap().unwrap().data);
        }
        assert!(received == bytes(size));
    };
    future::join(send, recv).await;
}

#[test]
fn datagrams_that_come_one_by_one_are_no_problem() {
    let world = World::new();
    {
        let mut state = world.net.lock();
        state.coalesce = false;
        state.segments = 1;
    }
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        bulk(&here, &there, 1 << 20).await;
    });
    assert_eq!(world.net.lock().largest_send, 1);
}

#[test]
fn a_refused_segmented_send_is_repeated_one_by_one_and_nothing_is_lost() {
    let world = World::new();
    world.net.lock().refuse_segments = true;
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        bulk(&here, &there, 1 << 20).await;
    });
    assert_eq!(world.net.lock().largest_send, 1);
}

#[test]
fn a_full_socket_holds_one_batch_and_loses_none() {
    for (block_every, segments) in [(2, 16), (3, 16), (7, 1)] {
        let world = World::new();
        {
            let mut state = world.net.lock();
            state.block_every = Some(block_every);
            state.segments = segments;
        }
        world.run(async {
            let (alice, bob) = world.pair();
            let (here, there) = open(&alice, &bob).await;
            bulk(&here, &there, 1 << 20).await;
        });
    }
}

#[test]
fn errors_of_single_datagrams_do_not_end_a_socket() {
    let world = World::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        for error in [
            ErrorKind::ConnectionReset,
            ErrorKind::ConnectionRefused,
            ErrorKind::HostUnreachable,
            ErrorKind::NetworkUnreachable,
            ErrorKind::Interrupted,
        ] {
            world.net.inject("192.0.2.1:1000", [error; 100]);
            echo(&here, &there, "still there").await;
        }
        // Others are borne as well while datagrams come between them.
        for _ in 0..100 {
            world.net.inject("192.0.2.1:1000", [ErrorKind::Other; 3]);
            echo(&here, &there, "still there").await;
        }
    });
}

#[test]
fn a_broken_socket_is_given_up_and_another_takes_over() {
    let world = World::new();
    world.run(async {
        let alice = world.peer(&["192.0.2.1:1000", "192.0.2.11:1000"], 1);
        let bob = world.peer(&["192.0.2.2:2000"], 2);
        let (here, there) = open(&alice, &bob).await;
        echo(&here, &there, "before").await;
        let used = alice
            .with_core(|core| core.selected_path())
            .unwrap()
            .local_addr;
        world
            .net
            .break_socket(&used.to_string(), ErrorKind::BrokenPipe);
        let other = async {
            loop {
                // The peer may still send to the socket that is gone: until ICE has moved, both
                // directions need the surviving path.
                match alice.with_core(|core| core.selected_path()) {
                    Some(path) if path.local_addr != used => break,
                    _ => pause(&world, Duration::from_millis(100)).await,
                }
            }
        };
        other.await;
        echo(&here, &there, "after").await;
        assert_eq!(alice.connection_state(), RTCPeerConnectionState::Connected);
    });
}

#[test]
fn the_loss_of_the_last_socket_fails_the_connection_without_a_panic() {
    let world = World::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        world
            .net
            .break_socket("192.0.2.1:1000", ErrorKind::BrokenPipe);
        assert_eq!(here.recv().await, Some(Err(Error::Failed)));
        assert_eq!(there.recv().await, Some(Err(Error::Failed)));
        assert_eq!(alice.connected().await, Err(Error::Failed));
        alice.close().await.unwrap();
    });
}

#[test]
fn a_reader_is_told_once_that_the_peer_has_vanished() {
    let world = World::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        there.send("unread").await.unwrap();
        pause(&world, Duration::from_secs(1)).await;
        world
            .net
            .lock()
            .dead
            .push("192.0.2.2:2000".parse().unwrap());
        while alice.connection_state() != RTCPeerConnectionState::Failed {
            pause(&world, Duration::from_secs(1)).await;
        }
        assert_eq!(here.recv().await, Some(Ok("unread".into())));
        assert_eq!(here.recv().await, Some(Err(Error::Failed)));
        let (recv, minute) = (
            pin!(here.recv()),
            pin!(pause(&world, Duration::from_secs(60))),
        );
        assert!(matches!(
            future::select(recv, minute).await,
            future::Either::Right(_)
        ));
        // Closing does not wait for a peer that is not there.
        alice.close().await.unwrap();
        assert_eq!(here.recv().await, None);
        drop(bob);
    });
}

#[test]
fn a_peer_that_never_answers_fails_the_connection() {
    let world = World::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let _channel = alice.create_data_channel("x", None).unwrap();
        world
            .net
            .lock()
            .dead
            .push("192.0.2.2:2000".parse().unwrap());
        signal(&alice, &bob).await;
        assert_eq!(alice.connected().await, Err(Error::Failed));
    });
}

async fn pause(world: &World, duration: Duration) {
    let mut timer = world.net.timer();
    let deadline = rtc_driver::Timer::now(&timer) + duration;
    std::future::poll_fn(|cx| rtc_driver::Timer::poll_deadline(&mut timer, cx, deadline)).await;
}
