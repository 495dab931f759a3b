//! Sockets and paths that misbehave.

use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use futures_util::future;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc_driver::test::SocketModel;
use rtc_driver::{DataChannel, Error, rtc};

use crate::scene::{Scene, bytes, open, signal};

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
    let world = Scene::new();
    let mut model = SocketModel::default();
    (model.send_segments, model.recv_segments) = (1, 1);
    world.a.set_sockets(model);
    world.b.set_sockets(model);
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        bulk(&here, &there, 1 << 20).await;
    });
    assert_eq!(world.a.socket_calls().largest_batch, 1);
}

#[test]
fn a_refused_segmented_send_is_repeated_one_by_one_and_nothing_is_lost() {
    let world = Scene::new();
    let mut model = SocketModel::default();
    model.refuses_segments = true;
    world.a.set_sockets(model);
    world.b.set_sockets(model);
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        bulk(&here, &there, 1 << 20).await;
    });
    assert_eq!(world.a.socket_calls().largest_batch, 1);
}

#[test]
fn a_full_socket_holds_one_batch_and_loses_none() {
    for (block_every, segments) in [(2, 16), (3, 16), (7, 1)] {
        let world = Scene::new();
        let mut model = SocketModel::default();
        model.blocks_every = Some(block_every);
        model.send_segments = segments;
        world.a.set_sockets(model);
        world.b.set_sockets(model);
        world.run(async {
            let (alice, bob) = world.pair();
            let (here, there) = open(&alice, &bob).await;
            bulk(&here, &there, 1 << 20).await;
        });
    }
}

#[test]
fn errors_of_single_datagrams_do_not_end_a_socket() {
    let world = Scene::new();
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
            world.a.inject_errors(world.a.sockets()[0], [error; 100]);
            echo(&here, &there, "still there").await;
        }
        // Others are borne as well while datagrams come between them.
        for _ in 0..100 {
            world
                .a
                .inject_errors(world.a.sockets()[0], [ErrorKind::Other; 3]);
            echo(&here, &there, "still there").await;
        }
    });
}

#[test]
fn a_broken_socket_is_given_up_and_another_takes_over() {
    let world = Scene::new();
    world.run(async {
        world.a.add_interface("eth1", "192.0.2.11");
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        echo(&here, &there, "before").await;
        let used = alice
            .with_core(|core| core.selected_path())
            .unwrap()
            .local_addr;
        world.a.break_socket(used, ErrorKind::BrokenPipe);
        let other = async {
            loop {
                // The peer may still send to the socket that is gone: until ICE has moved, both
                // directions need the surviving path.
                match alice.with_core(|core| core.selected_path()) {
                    Some(path) if path.local_addr != used => break,
                    _ => world.sleep(Duration::from_millis(100)).await,
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
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        world
            .a
            .break_socket(world.a.sockets()[0], ErrorKind::BrokenPipe);
        assert_eq!(here.recv().await, Some(Err(Error::Failed)));
        assert_eq!(there.recv().await, Some(Err(Error::Failed)));
        assert_eq!(alice.connected().await, Err(Error::Failed));
        alice.close().await.unwrap();
    });
}

#[test]
fn a_reader_is_told_once_that_the_peer_has_vanished() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        there.send("unread").await.unwrap();
        world.sleep(Duration::from_secs(1)).await;
        world.b.cut();
        while alice.connection_state() != RTCPeerConnectionState::Failed {
            world.sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(here.recv().await, Some(Ok("unread".into())));
        assert_eq!(here.recv().await, Some(Err(Error::Failed)));
        let (recv, minute) = (
            pin!(here.recv()),
            pin!(world.sleep(Duration::from_secs(60))),
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
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let _channel = alice.create_data_channel("x", None).unwrap();
        world.b.cut();
        signal(&alice, &bob).await;
        assert_eq!(alice.connected().await, Err(Error::Failed));
    });
}
