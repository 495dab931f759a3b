//! How connections end, and what is left of them.

use std::panic::resume_unwind;

use rtc::data_channel::RTCDataChannelState;
use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc::peer_connection::state::{RTCPeerConnectionState, RTCSignalingState};
use rtc_driver::{Error, Runtime, SendError, TrySendError};

use super::env::{Env, message, once, open, signal, yield_now};
use super::platform::Platform;

pub(super) async fn drops_in_every_state_leave_nothing<R: Runtime>(env: Env<R>) {
    // Nothing was done yet.
    drop(env.a.peer());
    env.nothing_left().await;

    // A channel is a handle, a stream of events is none.
    let alice = env.a.peer();
    let channel = alice.create_data_channel("x", None).unwrap();
    let (mut events, mut channels) = (alice.events(), alice.data_channels());
    drop(alice);
    assert_eq!(once(channel.recv()).await, None);
    drop(channel);
    env.nothing_left().await;
    while events.next().await.is_some() {}
    assert!(channels.next().await.is_none());

    // With an offer, with an answer, and right in the middle of connecting.
    for stage in 0..3 {
        let (alice, bob) = env.pair();
        let channel = alice.create_data_channel("x", None).unwrap();
        alice.set_local_description(None).unwrap();
        if stage > 0 {
            let offer = env.soon(alice.gathering_complete()).await.unwrap();
            bob.set_remote_description(offer).unwrap();
            bob.set_local_description(None).unwrap();
        }
        if stage > 1 {
            let answer = env.soon(bob.gathering_complete()).await.unwrap();
            alice.set_remote_description(answer).unwrap();
            while alice.connection_state() == RTCPeerConnectionState::New {
                yield_now().await;
            }
        }
        drop((alice, channel));
        drop(bob);
        env.nothing_left().await;
    }

    // Connected, with unread data on one side and unsent data on the other.
    let (alice, bob, here, there) = env.open().await;
    for number in 0..10 {
        here.send(message(number)).await.unwrap();
    }
    env.soon(there.recv()).await.unwrap().unwrap();
    drop((alice, here));
    drop((bob, there));
    env.nothing_left().await;

    // With a send that waits for room, and a close that was begun and given up.
    let (alice, bob, here, there) = env.open().await;
    while once(here.send(vec![0; 60_000])).await.is_some() {}
    let closed = once(alice.close()).await;
    assert_eq!(closed, None, "there is much left to send");
    drop((alice, here));
    drop((bob, there));
    env.nothing_left().await;

    // In the middle of an ICE restart.
    let (alice, bob, here, there) = env.open().await;
    alice.restart_ice().unwrap();
    alice.set_local_description(None).unwrap();
    drop((alice, here));
    drop((bob, there));
    env.nothing_left().await;

    // The driver itself, before it was polled.
    let (connection, driver) = env.a.builder().build_unspawned().unwrap();
    drop(driver);
    assert_eq!(connection.connected().await, Err(Error::DriverLost));
    env.nothing_left().await;
}

pub(super) async fn the_peer_notices_a_close_and_a_drop<R: Runtime>(env: Env<R>) {
    for drops in [false, true] {
        let (alice, bob, here, there) = env.open().await;
        here.send("last words").await.unwrap();
        if drops {
            drop((alice, here));
        } else {
            env.soon(alice.close()).await.unwrap();
        }
        let last = env.soon(there.recv()).await;
        assert_eq!(last, Some(Ok("last words".into())));
        assert_eq!(env.soon(there.recv()).await, None);
        assert_eq!(there.ready_state(), RTCDataChannelState::Closed);
        assert_eq!(bob.connection_state(), RTCPeerConnectionState::Closed);
        assert_eq!(bob.signaling_state(), RTCSignalingState::Closed);
        assert_eq!(bob.connected().await, Err(Error::Closed));
        // The other side's driver ends although there are handles.
        env.nothing_left().await;
    }
}

pub(super) async fn whoever_waits_is_woken_by_the_end<R: Runtime>(env: Env<R>) {
    let (alice, bob, here, there) = env.open().await;
    while once(there.send(vec![0; 60_000])).await.is_some() {}
    let mut waiting = Vec::new();
    let channel = there.clone();
    waiting.push(env.spawn(async move { assert_eq!(channel.recv().await, None) }));
    let channel = there.clone();
    waiting.push(env.spawn(async move { while channel.send(vec![0; 60_000]).await.is_ok() {} }));
    let channel = there.clone();
    waiting.push(env.spawn(async move {
        assert_eq!(channel.buffered_amount_low().await, Err(Error::Closed));
    }));
    let mut channels = bob.data_channels();
    waiting.push(env.spawn(async move { assert!(channels.next().await.is_none()) }));
    let mut events = bob.events();
    waiting.push(env.spawn(async move { while events.next().await.is_some() {} }));
    for _ in 0..10 {
        yield_now().await;
    }
    drop((alice, here));
    for task in waiting {
        env.soon(task.join()).await;
    }
}

/// A panic with the lock held loses the connection, one of a task that holds handles only closes it.
pub(super) async fn panics_of_users_leave_nothing<R: Runtime>(env: Env<R>) {
    // No message is printed for these.
    fn fail() {
        resume_unwind(Box::new("by the user"));
    }

    let (alice, bob, here, there) = env.open().await;
    let (connection, channel) = (alice.clone(), here.clone());
    let task = env.spawn(async move {
        channel.send("before").await.unwrap();
        fail();
        drop(connection);
    });
    assert!(env.soon(task.result()).await.is_err());
    assert_eq!(env.soon(there.recv()).await, Some(Ok("before".into())));
    // There are other handles.
    here.send("after").await.unwrap();
    assert_eq!(env.soon(there.recv()).await, Some(Ok("after".into())));
    let task = env.spawn(async move {
        let _handles = (alice, here);
        fail();
    });
    assert!(env.soon(task.result()).await.is_err());
    assert_eq!(env.soon(there.recv()).await, None);
    drop((bob, there));
    env.nothing_left().await;

    let (alice, bob, here, there) = env.open().await;
    let (connection, channel) = (alice.clone(), here.clone());
    let waiting = env.spawn(async move { channel.recv().await });
    yield_now().await;
    let task = env.spawn(async move { connection.with_core(|_| fail()) });
    assert!(env.soon(task.result()).await.is_err());
    let lost = env.soon(waiting.join()).await;
    assert_eq!(lost, Some(Err(Error::DriverLost)));
    assert_eq!(alice.create_offer(None), Err(Error::DriverLost));
    assert_eq!(here.send("x").await, Err(SendError::DriverLost));
    assert_eq!(alice.close().await, Err(Error::DriverLost));
    env.until(|| env.a.probe.sockets() == 0).await;
    // The peer was not told; here it need not find out by itself.
    drop((bob, there));
}

pub(super) async fn errors_say_what_was_wrong<R: Runtime>(env: Env<R>) {
    let (alice, bob) = env.pair();
    let offer = alice.create_offer(None).unwrap();
    alice.set_local_description(offer).unwrap();
    let described = env.soon(alice.gathering_complete()).await.unwrap();
    let port = described.sdp.lines().find_map(|line| {
        let mut words = line.strip_prefix("a=candidate:")?.split(' ').skip(5);
        words.next()?.parse().ok()
    });
    let addr = (env.a.ips[0], port.unwrap()).into();
    let error = env.a.bare_builder().bind(addr).build().unwrap_err();
    assert_eq!(error, Error::AddressInUse(addr));
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
    drop(alice);

    let alice = env.a.peer();
    let bad = RTCSessionDescription {
        sdp_type: RTCSdpType::Offer,
        sdp: "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nnonsense\r\n".to_owned(),
    };
    let error = alice.set_remote_description(bad).unwrap_err();
    let Error::Core(rtc::Error::Rtc { sdp_line, .. }) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*sdp_line, Some(5));
    let error = alice.create_answer(None).unwrap_err();
    assert!(
        matches!(error, Error::Core(rtc::Error::InvalidState(_))),
        "{error:?}"
    );

    let early = alice.create_data_channel("early", None).unwrap();
    assert!(
        matches!(early.try_send("x"), Err(TrySendError::NotOpen(message)) if message == "x".into())
    );
    let (here, there) = env.soon(open(&alice, &bob)).await;
    // The first channel that bob sees is the early one.
    let (here, there) = if there.label() == "early" {
        drop(here);
        (early.clone(), there)
    } else {
        (here, there)
    };
    let max = here.max_message_size();
    let error = here.send(vec![0; max + 1]).await;
    assert_eq!(error, Err(SendError::TooLarge { max }));
    let refused = here.try_send(vec![7; max + 1]).unwrap_err();
    assert!(matches!(
        &refused,
        TrySendError::Refused {
            error: SendError::TooLarge { .. },
            ..
        }
    ));
    assert_eq!(refused.into_message().data.len(), max + 1);
    here.send(vec![0; max]).await.unwrap();
    let received = env.soon(there.recv()).await.unwrap().unwrap();
    assert_eq!(received.data.len(), max);

    here.close();
    assert_eq!(here.send("x").await, Err(SendError::Closed));
    assert_eq!(env.soon(there.recv()).await, None);
    assert_eq!(there.send("x").await, Err(SendError::Closed));
    assert_eq!(alice.connection_state(), RTCPeerConnectionState::Connected);
    env.soon(alice.close()).await.unwrap();
    assert_eq!(alice.create_offer(None), Err(Error::Closed));
    assert_eq!(early.send("x").await, Err(SendError::Closed));
    assert_eq!(env.soon(alice.close()).await, Ok(()), "twice is no error");
}

/// A runtime that ends takes its drivers with it; whoever waits elsewhere is told.
pub(super) fn the_end_of_the_runtime_is_told<P: Platform>() {
    let (connection, channel, waiting) = P::run(|env| async move {
        let (alice, bob) = env.pair();
        let channel = alice.create_data_channel("x", None).unwrap();
        env.soon(signal(&alice, &bob)).await;
        env.soon(channel.opened()).await.unwrap();
        let waits = channel.clone();
        let waiting = std::thread::spawn(move || smol::block_on(waits.recv()));
        (alice, channel, waiting)
    });
    assert_eq!(waiting.join().unwrap(), Some(Err(Error::DriverLost)));
    assert_eq!(connection.create_offer(None), Err(Error::DriverLost));
    assert_eq!(smol::block_on(connection.close()), Err(Error::DriverLost));
    let sent = smol::block_on(channel.send("x"));
    assert_eq!(sent, Err(SendError::DriverLost));
}
