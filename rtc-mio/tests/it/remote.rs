//! Calls from other threads.

use std::sync::mpsc::{TrySendError, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use mio::{Events, Poll, Token, Waker};
use rtc_driver::rtc::peer_connection::RTCPeerConnection;
use rtc_driver::rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc_mio::{PeerConnection, Remote};

const WAKER: Token = Token(usize::MAX);

fn connection() -> (Poll, PeerConnection, Remote) {
    let poll = Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), WAKER).unwrap());
    let core = RTCPeerConnection::new(RTCConfigurationBuilder::new().build()).unwrap();
    let mut connection = PeerConnection::with_sockets(core, []).unwrap();
    connection.drive(Instant::now());
    let remote = connection.remote(waker);
    (poll, connection, remote)
}

/// Waits for the waker, however long it takes, and drives what is due.
fn turn(poll: &mut Poll, connection: &mut PeerConnection) {
    let mut events = Events::with_capacity(4);
    poll.poll(&mut events, None).unwrap();
    assert!(events.iter().all(|event| event.token() == WAKER));
    let now = Instant::now();
    if connection.deadline(now).is_some_and(|at| at <= now) {
        connection.drive(now);
    }
}

#[test]
fn a_call_wakes_the_loop_each_time() {
    let (mut poll, mut connection, remote) = connection();
    assert_eq!(connection.deadline(Instant::now()), None);
    let caller = thread::spawn(move || {
        for i in 0..100 {
            let (reply, answer) = channel();
            let call = remote.call(move |core| {
                let channel = core.create_data_channel(&format!("{i}"), None).unwrap();
                reply.send(channel.label().to_owned()).unwrap();
            });
            assert!(call.is_ok());
            assert_eq!(answer.recv().unwrap(), format!("{i}"));
        }
    });
    for _ in 0..100 {
        turn(&mut poll, &mut connection);
    }
    caller.join().unwrap();
}

#[test]
fn a_call_of_a_remote_that_is_gone_wakes_the_loop() {
    for _ in 0..100 {
        let (mut poll, mut connection, remote) = connection();
        let (sender, receiver) = channel();
        assert!(remote.call(move |_| sender.send(()).unwrap()).is_ok());
        drop(remote);
        turn(&mut poll, &mut connection);
        receiver.try_recv().unwrap();
    }
}

#[test]
fn many_threads_call_in_their_order() {
    let (mut poll, mut connection, remote) = connection();
    let (sender, receiver) = channel();
    let barrier = Arc::new(Barrier::new(4));
    let callers: Vec<_> = (0..4u32)
        .map(|caller| {
            let (remote, sender, barrier) = (remote.clone(), sender.clone(), barrier.clone());
            thread::spawn(move || {
                barrier.wait();
                for number in 0..1000u32 {
                    let sender = sender.clone();
                    let mut call = move |_: &mut RTCPeerConnection| {
                        sender.send((caller, number)).unwrap();
                    };
                    while let Err(TrySendError::Full(back)) = remote.call(call) {
                        call = back;
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    drop(sender);
    let mut next = [0; 4];
    while next != [1000; 4] {
        turn(&mut poll, &mut connection);
        for (caller, number) in receiver.try_iter() {
            assert_eq!(number, next[caller as usize]);
            next[caller as usize] += 1;
        }
    }
    callers.into_iter().for_each(|it| it.join().unwrap());
}

#[test]
fn calls_that_wait_are_bounded_and_come_back() {
    let (_poll, mut connection, remote) = connection();
    let mut taken = 0;
    while remote.call(|_| {}).is_ok() {
        taken += 1;
        assert!(taken < 10_000);
    }
    assert!(matches!(remote.call(|_| {}), Err(TrySendError::Full(_))));
    connection.drive(Instant::now());
    assert!(remote.call(|_| {}).is_ok());
    drop(connection);
    assert!(matches!(
        remote.call(|_| {}),
        Err(TrySendError::Disconnected(_))
    ));
}

#[test]
fn a_call_may_call() {
    let (_poll, mut connection, remote) = connection();
    let (sender, receiver) = channel();
    let again = remote.clone();
    let call = remote.call(move |_| {
        let call = again.call(move |_| sender.send(()).unwrap());
        assert!(call.is_ok());
    });
    assert!(call.is_ok());
    let now = Instant::now();
    assert_eq!(connection.deadline(now), Some(now));
    connection.drive(now);
    assert!(receiver.try_recv().is_err());
    assert_eq!(connection.deadline(now), Some(now));
    connection.drive(now);
    receiver.try_recv().unwrap();
}
