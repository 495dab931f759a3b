//! Connections on tokio over loopback: their beginnings and ends, and whether data survives what a
//! program does to its futures.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rtc::data_channel::{RTCDataChannelInit, RTCDataChannelState, RTCPriorityType};
use rtc::peer_connection::sdp::{RTCSdpType, RTCSessionDescription};
use rtc::peer_connection::state::{RTCPeerConnectionState, RTCSignalingState};
use rtc_tokio::{DataChannel, Error, PeerConnection, SendError, TrySendError};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

fn peer() -> PeerConnection {
    rtc_tokio::builder()
        .bind("127.0.0.1:0".parse().unwrap())
        .build()
        .unwrap()
}

async fn signal(alice: &PeerConnection, bob: &PeerConnection) {
    alice.set_local_description(None).unwrap();
    bob.set_remote_description(alice.gathering_complete().await.unwrap())
        .unwrap();
    bob.set_local_description(None).unwrap();
    alice
        .set_remote_description(bob.gathering_complete().await.unwrap())
        .unwrap();
}

/// Both ends of a channel between two peers.
async fn open(alice: &PeerConnection, bob: &PeerConnection) -> (DataChannel, DataChannel) {
    let here = alice.create_data_channel("test", None).unwrap();
    signal(alice, bob).await;
    let there = bob.data_channels().next().await.unwrap();
    here.opened().await.unwrap();
    (here, there)
}

/// Keeps a test that would hang for ever from doing so.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("this takes no minute")
}

/// Polls a future once and drops it.
async fn once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}

/// Waits until every driver of the runtime has ended. The test itself is no task.
async fn drivers_ended() {
    let metrics = tokio::runtime::Handle::current().metrics();
    soon(async {
        while metrics.num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A message that tells its number, of a length that differs.
fn message(number: u32) -> Vec<u8> {
    let length = 4 + number as usize * 7919 % 20_000;
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(length, number as u8);
    bytes
}

#[tokio::test]
async fn the_driver_ends_with_the_last_handle_in_every_state() {
    // Nothing was done yet.
    drop(peer());
    drivers_ended().await;

    // A channel is a handle, a stream of events is none.
    let alice = peer();
    let channel = alice.create_data_channel("x", None).unwrap();
    let (mut events, mut channels) = (alice.events(), alice.data_channels());
    drop(alice);
    assert_eq!(once(channel.recv()).await, None);
    drop(channel);
    drivers_ended().await;
    while events.next().await.is_some() {}
    assert!(channels.next().await.is_none());

    // With an offer, with an answer, and right in the middle of connecting.
    for stage in 0..3 {
        let (alice, bob) = (peer(), peer());
        let channel = alice.create_data_channel("x", None).unwrap();
        alice.set_local_description(None).unwrap();
        if stage > 0 {
            bob.set_remote_description(alice.gathering_complete().await.unwrap())
                .unwrap();
            bob.set_local_description(None).unwrap();
        }
        if stage > 1 {
            alice
                .set_remote_description(bob.gathering_complete().await.unwrap())
                .unwrap();
            while alice.connection_state() == RTCPeerConnectionState::New {
                tokio::task::yield_now().await;
            }
        }
        drop((alice, channel));
        drop(bob);
        drivers_ended().await;
    }

    // Connected, with unread data on one side and unsent data on the other.
    let (alice, bob) = (peer(), peer());
    let (here, there) = open(&alice, &bob).await;
    for number in 0..10 {
        here.send(message(number)).await.unwrap();
    }
    soon(there.recv()).await.unwrap().unwrap();
    drop((alice, here));
    drop((bob, there));
    drivers_ended().await;

    // With a send that waits for room, and a close that was begun and given up.
    let (alice, bob) = (peer(), peer());
    let (here, there) = open(&alice, &bob).await;
    while once(here.send(vec![0; 60_000])).await.is_some() {}
    assert_eq!(
        once(alice.close()).await,
        None,
        "there is much left to send"
    );
    drop((alice, here));
    drop((bob, there));
    drivers_ended().await;
}

#[tokio::test]
async fn the_peer_notices_a_close_and_a_drop() {
    for drops in [false, true] {
        let (alice, bob) = (peer(), peer());
        let (here, there) = open(&alice, &bob).await;
        here.send("last words").await.unwrap();
        if drops {
            drop((alice, here));
        } else {
            soon(alice.close()).await.unwrap();
        }
        assert_eq!(soon(there.recv()).await, Some(Ok("last words".into())));
        assert_eq!(soon(there.recv()).await, None);
        assert_eq!(there.ready_state(), RTCDataChannelState::Closed);
        assert_eq!(bob.connection_state(), RTCPeerConnectionState::Closed);
        assert_eq!(bob.signaling_state(), RTCSignalingState::Closed);
        assert_eq!(bob.connected().await, Err(Error::Closed));
        // The other side's driver ends although there are handles.
        drivers_ended().await;
    }
}

/// Everything that waits learns of the end.
#[tokio::test]
async fn whoever_waits_is_woken_by_the_end() {
    let (alice, bob) = (peer(), peer());
    let (here, there) = open(&alice, &bob).await;
    while once(there.send(vec![0; 60_000])).await.is_some() {}
    let mut waiting = JoinSet::new();
    let channel = there.clone();
    waiting.spawn(async move { assert_eq!(channel.recv().await, None) });
    let channel = there.clone();
    waiting.spawn(async move { while channel.send(vec![0; 60_000]).await.is_ok() {} });
    let channel = there.clone();
    waiting.spawn(async move {
        assert_eq!(channel.buffered_amount_low().await, Err(Error::Closed));
    });
    let mut channels = bob.data_channels();
    waiting.spawn(async move { assert!(channels.next().await.is_none()) });
    let mut events = bob.events();
    waiting.spawn(async move { while events.next().await.is_some() {} });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    drop((alice, here));
    soon(async {
        while let Some(result) = waiting.join_next().await {
            result.unwrap();
        }
    })
    .await;
}

/// Futures that are polled once and dropped lose nothing and double nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_futures_do_no_harm() {
    const COUNT: u32 = 3_000;
    let (alice, bob) = (peer(), peer());
    let (here, there) = open(&alice, &bob).await;
    let sender = tokio::spawn(async move {
        let mut given_up = 0u32;
        for number in 0..COUNT {
            // Not sent unless it says so.
            loop {
                let sent = match given_up % 3 {
                    0 => once(here.send(message(number))).await,
                    1 => tokio::select! {
                        biased;
                        result = here.send(message(number)) => Some(result),
                        () = tokio::task::yield_now() => None,
                    },
                    _ => Some(here.send(message(number)).await),
                };
                match sent {
                    Some(result) => break result.unwrap(),
                    None => given_up += 1,
                }
            }
        }
        (here, given_up)
    });
    let mut given_up = 0u32;
    for number in 0..COUNT {
        let received = loop {
            let received = match given_up % 3 {
                0 => once(there.recv()).await,
                1 => tokio::select! {
                    biased;
                    received = there.recv() => Some(received),
                    () = tokio::task::yield_now() => None,
                },
                _ => Some(soon(there.recv()).await),
            };
            match received {
                Some(received) => break received.unwrap().unwrap(),
                None => given_up += 1,
            }
        };
        assert!(received.data[..] == message(number)[..], "message {number}");
    }
    let (here, sends_given_up) = soon(sender).await.unwrap();
    assert!(
        sends_given_up > 0 && given_up > 0,
        "{sends_given_up} sends, {given_up} receptions"
    );
    assert_eq!(once(there.recv()).await, None, "nothing came twice");
    drop(here);
}

/// One channel is read slowly; another goes on, and neither loses anything.
#[tokio::test]
async fn a_slow_reader_gets_everything() {
    const COUNT: u32 = 400;
    let (alice, bob) = (peer(), peer());
    let (slow_here, slow_there) = open(&alice, &bob).await;
    let fast_here = alice.create_data_channel("fast", None).unwrap();
    let fast_there = soon(async { bob.data_channels().next().await.unwrap() }).await;
    let mut tasks = JoinSet::new();
    for channel in [slow_here, fast_here] {
        tasks.spawn(async move {
            for number in 0..COUNT {
                channel.send(message(number)).await.unwrap();
            }
            channel
        });
    }
    // Sixteen of the one for each of the other.
    let (mut slow, mut fast) = (0, 0);
    while slow < COUNT {
        for _ in 0..16 {
            if fast < COUNT {
                let received = soon(fast_there.recv()).await.unwrap().unwrap();
                assert!(received.data[..] == message(fast)[..], "fast {fast}");
                fast += 1;
            }
        }
        let received = soon(slow_there.recv()).await.unwrap().unwrap();
        assert!(received.data[..] == message(slow)[..], "slow {slow}");
        slow += 1;
    }
    while tasks.join_next().await.is_some() {}
}

/// Channels of every mode, made by both sides, all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_channels_of_all_modes_echo() {
    let (alice, bob) = (peer(), peer());
    let inits = (0..50u16).map(|number| RTCDataChannelInit {
        ordered: number % 2 == 0,
        max_retransmits: (number % 3 == 1).then_some(number % 4),
        max_packet_life_time: (number % 3 == 2).then_some(500),
        protocol: if number % 5 == 0 {
            "echo".to_owned()
        } else {
            String::new()
        },
        negotiated: (number % 7 == 0).then_some(1000 + number),
        priority: [RTCPriorityType::Low, RTCPriorityType::High][usize::from(number % 2)],
    });
    let mut echoes = JoinSet::new();
    let echo = |channel: DataChannel| async move {
        while let Some(message) = channel.recv().await {
            if channel.send(message.unwrap()).await.is_err() {
                break;
            }
        }
    };
    let mut tasks = JoinSet::new();
    for (number, init) in inits.enumerate() {
        let label = format!("channel {number}");
        let (maker, other) = if number % 4 == 0 {
            (&bob, &alice)
        } else {
            (&alice, &bob)
        };
        let channel = maker.create_data_channel(&label, init.clone()).unwrap();
        if init.negotiated.is_some() {
            echoes.spawn(echo(
                other.create_data_channel(&label, init.clone()).unwrap(),
            ));
        }
        tasks.spawn(async move {
            channel.opened().await.unwrap();
            let parameters = channel.parameters().unwrap();
            assert_eq!(parameters.label, label);
            assert_eq!(parameters.max_retransmits, init.max_retransmits);
            for number in 0..10u32 {
                let text = format!("{label}: {number}");
                loop {
                    channel.send(text.as_str()).await.unwrap();
                    // What may get lost is said again.
                    let answer = tokio::time::timeout(Duration::from_secs(2), async {
                        loop {
                            let answer = channel.recv().await.unwrap().unwrap();
                            if answer.as_str() == Some(&text) {
                                break;
                            }
                        }
                    });
                    if answer.await.is_ok() {
                        break;
                    }
                    let reliable = init.max_retransmits.or(init.max_packet_life_time).is_none();
                    assert!(!reliable, "no echo on {label}");
                }
            }
            channel
        });
    }
    for connection in [&alice, &bob] {
        let mut incoming = connection.data_channels();
        echoes.spawn(async move {
            let mut echoes = JoinSet::new();
            while let Some(channel) = incoming.next().await {
                let parameters = channel.parameters().unwrap();
                let number: u16 = parameters.label["channel ".len()..].parse().unwrap();
                assert_eq!(parameters.ordered, number.is_multiple_of(2));
                assert_eq!(parameters.protocol == "echo", number.is_multiple_of(5));
                echoes.spawn(async move {
                    while let Some(message) = channel.recv().await {
                        if channel.send(message.unwrap()).await.is_err() {
                            break;
                        }
                    }
                });
            }
            while echoes.join_next().await.is_some() {}
        });
    }
    signal(&alice, &bob).await;
    let mut channels = Vec::new();
    soon(async {
        while let Some(channel) = tasks.join_next().await {
            channels.push(channel.unwrap());
        }
    })
    .await;
    assert_eq!(channels.len(), 50);
    soon(alice.close()).await.unwrap();
    soon(async {
        while let Some(result) = echoes.join_next().await {
            result.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_both_ways_arrives_whole() {
    const SIZE: usize = 64 << 20;
    const CHUNK: usize = 64 << 10;
    let (alice, bob) = (peer(), peer());
    let (here, there) = open(&alice, &bob).await;
    let mut tasks = JoinSet::new();
    for (seed, channel) in [(1u64, here), (2, there)] {
        let (writer, reader) = (channel.clone(), channel);
        tasks.spawn(async move {
            let mut digest = Sha256::new();
            let mut state = seed;
            for _ in 0..SIZE / CHUNK {
                let chunk: Vec<u8> = std::iter::repeat_with(|| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    state.to_be_bytes()
                })
                .take(CHUNK / 8)
                .flatten()
                .collect();
                digest.update(&chunk);
                writer.send(chunk).await.unwrap();
            }
            (seed, digest.finalize())
        });
        tasks.spawn(async move {
            let (mut digest, mut received) = (Sha256::new(), 0);
            while received < SIZE {
                let message = reader.recv().await.unwrap().unwrap();
                received += message.data.len();
                digest.update(&message.data);
            }
            assert_eq!(received, SIZE);
            (3 - seed, digest.finalize())
        });
    }
    let mut digests = Vec::new();
    while let Some(result) = tasks.join_next().await {
        digests.push(result.unwrap());
    }
    digests.sort();
    assert!(digests[0] == digests[1] && digests[2] == digests[3]);
    assert!(digests[0].1 != digests[2].1);
}

#[tokio::test]
async fn errors_say_what_was_wrong() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let error = rtc_tokio::builder().bind(addr).build().unwrap_err();
    assert_eq!(error, Error::AddressInUse(addr));
    assert!(error.to_string().contains(&addr.to_string()), "{error}");

    let (alice, bob) = (peer(), peer());
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
    let (here, there) = open(&alice, &bob).await;
    let max = here.max_message_size();
    assert_eq!(
        here.send(vec![0; max + 1]).await,
        Err(SendError::TooLarge { max })
    );
    let refused = here.try_send(vec![7; max + 1]).unwrap_err();
    assert!(matches!(
        &refused,
        TrySendError::Refused {
            error: SendError::TooLarge { .. },
            ..
        }
    ));
    assert_eq!(
        refused.into_message().data.len(),
        max + 1,
        "the message comes back"
    );
    here.send(vec![0; max]).await.unwrap();
    assert_eq!(soon(there.recv()).await.unwrap().unwrap().data.len(), max);

    here.close();
    assert_eq!(here.send("x").await, Err(SendError::Closed));
    assert_eq!(soon(there.recv()).await, None);
    assert_eq!(there.send("x").await, Err(SendError::Closed));
    assert_eq!(alice.connection_state(), RTCPeerConnectionState::Connected);
    soon(alice.close()).await.unwrap();
    assert_eq!(alice.create_offer(None), Err(Error::Closed));
    assert_eq!(early.send("x").await, Err(SendError::Closed));
    assert_eq!(soon(alice.close()).await, Ok(()), "twice is no error");
}

/// A runtime that is shut down takes its connections with it, and they say so.
#[test]
fn the_end_of_the_runtime_ends_what_waits() {
    let other = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let local = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let connection = io.block_on(async { peer() });
    let channel = connection.create_data_channel("x", None).unwrap();
    let waiting = other.spawn(async move { channel.recv().await });
    io.shutdown_background();
    let result = local.block_on(soon(waiting)).unwrap();
    assert_eq!(result, Some(Err(Error::DriverLost)));
    assert_eq!(connection.create_offer(None), Err(Error::DriverLost));
}
