//! Messages, whatever else goes on.

use std::time::Duration;

use rtc::data_channel::{RTCDataChannelInit, RTCPriorityType};
use rtc_driver::{DataChannel, Runtime, TrySendError};
use sha2::{Digest, Sha256};

use super::env::{Env, echo, message, once, signal, yield_now};

pub(super) async fn messages_echo_in_both_directions<R: Runtime>(env: Env<R>) {
    let (alice, bob, here, there) = env.open().await;
    // A second channel, made by the other side of a connection that is up.
    let from_bob = bob.create_data_channel("back", None).unwrap();
    let to_alice = env.soon(async { alice.data_channels().next().await.unwrap() });
    let to_alice = to_alice.await;
    assert_eq!(
        (there.label().as_str(), to_alice.label().as_str()),
        ("test", "back")
    );
    let echoes = [env.spawn(echo(there)), env.spawn(echo(to_alice))];
    env.soon(async {
        for channel in [&here, &from_bob] {
            for number in 0..100 {
                let text = format!("message {number}");
                channel.send(text.as_str()).await.unwrap();
                let answer = channel.recv().await.unwrap().unwrap();
                assert_eq!(answer.as_str(), Some(&*text));
                channel.send(message(number)).await.unwrap();
                let answer = channel.recv().await.unwrap().unwrap();
                assert!(answer.data[..] == message(number)[..] && answer.as_str().is_none());
            }
        }
        alice.close().await.unwrap();
        for echo in echoes {
            echo.join().await;
        }
    })
    .await;
}

/// Channels of every mode, made by both sides, all at once.
pub(super) async fn fifty_channels_of_all_modes_echo<R: Runtime>(env: Env<R>) {
    let (alice, bob) = env.pair();
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
    let mut echoes = Vec::new();
    let mut tasks = Vec::new();
    for (number, init) in inits.enumerate() {
        let label = format!("channel {number}");
        let (maker, other) = if number % 4 == 0 {
            (&bob, &alice)
        } else {
            (&alice, &bob)
        };
        let channel = maker.create_data_channel(&label, init.clone()).unwrap();
        if init.negotiated.is_some() {
            let other = other.create_data_channel(&label, init.clone()).unwrap();
            echoes.push(env.spawn(echo(other)));
        }
        tasks.push(env.spawn(converse(env.clone(), channel, label, init)));
    }
    for connection in [&alice, &bob] {
        let mut incoming = connection.data_channels();
        let tasks = env.clone();
        echoes.push(env.spawn(async move {
            let mut echoes = Vec::new();
            while let Some(channel) = incoming.next().await {
                let parameters = channel.parameters().unwrap();
                let number: u16 = parameters.label["channel ".len()..].parse().unwrap();
                assert_eq!(parameters.ordered, number.is_multiple_of(2));
                assert_eq!(parameters.protocol == "echo", number.is_multiple_of(5));
                echoes.push(tasks.spawn(echo(channel)));
            }
            for echo in echoes {
                echo.join().await;
            }
        }));
    }
    env.soon(async {
        signal(&alice, &bob).await;
        let mut channels = Vec::new();
        for task in tasks {
            channels.push(task.join().await);
        }
        assert_eq!(channels.len(), 50);
        alice.close().await.unwrap();
        for echo in echoes {
            echo.join().await;
        }
    })
    .await;
}

/// Says ten things and waits for each to come back.
async fn converse<R: Runtime>(
    env: Env<R>,
    channel: DataChannel,
    label: String,
    init: RTCDataChannelInit,
) -> DataChannel {
    channel.opened().await.unwrap();
    let parameters = channel.parameters().unwrap();
    assert_eq!(parameters.label, label);
    assert_eq!(parameters.max_retransmits, init.max_retransmits);
    for number in 0..10u32 {
        let text = format!("{label}: {number}");
        loop {
            channel.send(text.as_str()).await.unwrap();
            // What may get lost is said again.
            let answer = env.timeout(Duration::from_secs(5), async {
                while channel.recv().await.unwrap().unwrap().as_str() != Some(&text) {}
            });
            if answer.await.is_some() {
                break;
            }
            let reliable = init.max_retransmits.or(init.max_packet_life_time).is_none();
            assert!(!reliable, "no echo on {label}");
        }
    }
    channel
}

pub(super) async fn bulk_arrives_whole_in_both_directions_at_once<R: Runtime>(env: Env<R>) {
    const CHUNK: usize = 64 << 10;
    let size = if env.is_virtual { 8 << 20 } else { 64 << 20 };
    let (alice, bob, here, there) = env.open().await;
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for (seed, channel) in [(1u64, here), (2, there)] {
        let (writer, reader) = (channel.clone(), channel);
        writers.push(env.spawn(async move {
            let mut digest = Sha256::new();
            let mut state = seed;
            for _ in 0..size / CHUNK {
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
            digest.finalize()
        }));
        readers.push(env.spawn(async move {
            let (mut digest, mut received) = (Sha256::new(), 0);
            while received < size {
                let message = reader.recv().await.unwrap().unwrap();
                received += message.data.len();
                digest.update(&message.data);
            }
            assert_eq!(received, size);
            digest.finalize()
        }));
    }
    let mut sent = Vec::new();
    for writer in writers {
        sent.push(env.soon(writer.join()).await);
    }
    // What one side sends, the other receives.
    for (reader, digest) in readers.into_iter().zip(sent.iter().rev()) {
        assert_eq!(env.soon(reader.join()).await, *digest);
    }
    assert_ne!(sent[0], sent[1]);
    drop((alice, bob));
}

/// Nobody reads one channel: another goes on, and nothing is lost of either.
pub(super) async fn a_slow_reader_slows_its_channel_only<R: Runtime>(env: Env<R>) {
    let (alice, bob, slow_here, slow_there) = env.open().await;
    let fast_here = alice.create_data_channel("fast", None).unwrap();
    let fast_there = env.soon(async { bob.data_channels().next().await.unwrap() });
    let echoing = env.spawn(echo(fast_there.await));
    let filling = env.clone();
    let sender = env.spawn(async move {
        let mut sent = 0;
        let wait = Duration::from_millis(300);
        while let Some(result) = filling.timeout(wait, slow_here.send(message(sent))).await {
            result.unwrap();
            sent += 1;
        }
        (slow_here, sent)
    });
    let (slow_here, sent) = env.soon(sender.join()).await;
    assert!(sent > 10, "{sent} messages fit into the buffers");
    for number in 0..200 {
        fast_here.send(message(number)).await.unwrap();
        let answer = env.timeout(Duration::from_secs(10), fast_here.recv()).await;
        let answer = answer.unwrap_or_else(|| panic!("no echo of message {number}"));
        assert!(answer.unwrap().unwrap().data[..] == message(number)[..]);
    }
    for number in 0..sent {
        let received = env.soon(slow_there.recv()).await.unwrap().unwrap();
        assert!(received.data[..] == message(number)[..], "message {number}");
    }
    env.soon(slow_here.send("read again")).await.unwrap();
    assert!(env.soon(slow_there.recv()).await.unwrap().is_ok());
    env.soon(alice.close()).await.unwrap();
    env.soon(echoing.join()).await;
}

pub(super) async fn a_full_send_buffer_makes_send_wait_and_try_send_give_back<R: Runtime>(
    env: Env<R>,
) {
    let alice = env.a.builder().with_channel_send_limit(100_000);
    let (alice, bob) = (alice.build().unwrap(), env.b.peer());
    let (here, there) = env.soon(super::env::open(&alice, &bob)).await;
    let mut sent = 0;
    let quiet = Duration::from_millis(300);
    while let Some(result) = env.timeout(quiet, here.send(message(sent))).await {
        result.unwrap();
        sent += 1;
    }
    assert!(here.buffered_amount() >= 100_000);
    assert!(here.buffered_amount() < 100_000 + 20_000);
    match here.try_send(message(sent)) {
        Err(TrySendError::Full(given_back)) => assert!(given_back.data[..] == message(sent)[..]),
        other => panic!("{other:?}"),
    }
    let waiting = here.clone();
    let sending = env.spawn(async move { waiting.send(message(sent)).await });
    for number in 0..=sent {
        let received = env.soon(there.recv()).await.unwrap().unwrap();
        assert!(received.data[..] == message(number)[..], "message {number}");
    }
    env.soon(sending.join()).await.unwrap();
    here.set_buffered_amount_low_threshold(0);
    env.soon(here.buffered_amount_low()).await.unwrap();
    here.try_send("room again").unwrap();
    let last = env.soon(there.recv()).await.unwrap().unwrap();
    assert_eq!(last.as_str(), Some("room again"));
}

/// Futures that are polled once and dropped lose nothing and double nothing.
pub(super) async fn cancelled_sends_and_receives_lose_and_double_nothing<R: Runtime>(env: Env<R>) {
    const COUNT: u32 = 3_000;
    let (alice, bob, here, there) = env.open().await;
    let sender = env.spawn(async move {
        let mut given_up = 0u32;
        for number in 0..COUNT {
            // Not sent unless it says so.
            loop {
                let sent = match given_up % 3 {
                    0 => once(here.send(message(number))).await,
                    1 => unless_yielded(here.send(message(number))).await,
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
                1 => unless_yielded(there.recv()).await,
                _ => Some(env.soon(there.recv()).await),
            };
            match received {
                Some(received) => break received.unwrap().unwrap(),
                None => given_up += 1,
            }
        };
        assert!(received.data[..] == message(number)[..], "message {number}");
    }
    let (here, sends_given_up) = env.soon(sender.join()).await;
    assert!(
        sends_given_up > 0 && given_up > 0,
        "{sends_given_up} sends, {given_up} receptions"
    );
    assert_eq!(once(there.recv()).await, None, "nothing came twice");
    drop((alice, bob, here));
}

/// Gives a future up that is not done when others have had their turn.
async fn unless_yielded<T>(future: impl Future<Output = T>) -> Option<T> {
    use std::task::Poll;
    let (mut future, mut others) = (std::pin::pin!(future), std::pin::pin!(yield_now()));
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => others.as_mut().poll(cx).map(|()| None),
    })
    .await
}
