//! Real UDP sockets over loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod endpoint;

use std::time::Duration;

use futures_util::StreamExt;
use rtc_tokio::{
    Builder, DataChannel, DataChannelExt as _, DataChannelMessage, Error, PeerConnection,
    PeerConnectionExt as _, TokioRuntime,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

fn builder() -> Builder<TokioRuntime> {
    rtc_tokio::builder().bind("127.0.0.1:0".parse().unwrap())
}

fn peer() -> PeerConnection {
    builder().build().unwrap()
}

async fn connect(alice: &PeerConnection, bob: &PeerConnection) {
    alice.set_local_description(None).unwrap();
    bob.set_remote_description(alice.gathering_complete().await.unwrap())
        .unwrap();
    bob.set_local_description(None).unwrap();
    alice
        .set_remote_description(bob.gathering_complete().await.unwrap())
        .unwrap();
    alice.connected().await.unwrap();
    bob.connected().await.unwrap();
}

async fn open(alice: &PeerConnection, bob: &PeerConnection) -> (DataChannel, DataChannel) {
    let here = alice.create_data_channel("test", None).unwrap();
    connect(alice, bob).await;
    let there = bob.data_channels().next().await.unwrap();
    here.opened().await.unwrap();
    (here, there)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

async fn bulk(here: DataChannel, there: DataChannel, size: usize) {
    let data = bytes(size);
    let expected = data.clone();
    let reader = tokio::spawn(async move {
        let mut received = Vec::with_capacity(size);
        while received.len() < size {
            received.extend_from_slice(&there.recv().await.unwrap().unwrap().data);
        }
        assert!(received == expected);
    });
    for chunk in data.chunks(16 * 1024) {
        here.send(chunk).await.unwrap();
    }
    reader.await.unwrap();
}

#[tokio::test]
async fn messages_go_both_ways_on_one_thread() {
    let (alice, bob) = (
        peer(),
        PeerConnection::builder()
            .with_loopback(true)
            .build()
            .unwrap(),
    );
    let (here, there) = open(&alice, &bob).await;
    let echo = tokio::spawn(async move {
        let (sink, mut stream) = (there.clone(), there);
        while let Some(message) = stream.next().await {
            sink.send(message.unwrap()).await.unwrap();
        }
    });
    for i in 0..100u32 {
        let text = format!("message {i}");
        here.send(text.as_str()).await.unwrap();
        assert_eq!(here.recv().await, Some(Ok(DataChannelMessage::from(text))));
    }
    alice.close().await.unwrap();
    echo.await.unwrap();
}

#[tokio::test]
async fn bulk_on_one_thread() {
    let (alice, bob) = (peer(), peer());
    let (here, there) = open(&alice, &bob).await;
    bulk(here, there, 16 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_on_two_threads() {
    let (alice, bob) = (peer(), peer());
    let (here, there) = open(&alice, &bob).await;
    bulk(here, there, 16 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_through_the_smallest_socket_buffers() {
    let small = || {
        builder()
            .with_receive_buffer(16 * 1024)
            .with_send_buffer(16 * 1024)
            .build()
    };
    let (alice, bob) = (small().unwrap(), small().unwrap());
    let (here, there) = open(&alice, &bob).await;
    bulk(here, there, 4 << 20).await;
}

#[tokio::test]
async fn ipv6() {
    let v6 = || rtc_tokio::builder().bind("[::1]:0".parse().unwrap());
    let (Ok(alice), Ok(bob)) = (v6().build(), v6().build()) else {
        return;
    };
    let (here, there) = open(&alice, &bob).await;
    here.send("hello").await.unwrap();
    assert_eq!(there.recv().await, Some(Ok("hello".into())));
}

#[tokio::test]
async fn a_slow_reader_slows_the_sender_and_cancelled_calls_do_no_harm() {
    let (alice, bob) = (peer(), peer());
    let (here, there) = open(&alice, &bob).await;
    let data = bytes(16 * 1024);
    let mut sent = 0u32;
    loop {
        let message = [&sent.to_be_bytes()[..], &data].concat();
        match tokio::time::timeout(Duration::from_millis(500), here.send(message)).await {
            Ok(result) => result.unwrap(),
            Err(_) => break,
        }
        sent += 1;
    }
    assert!(
        sent < 1_000,
        "{sent} messages are held for a reader that does not read"
    );
    for i in 0..sent {
        // A reader that gives up and comes again.
        let message = loop {
            let soon = tokio::time::timeout(Duration::from_micros(1), there.recv());
            if let Ok(message) = soon.await {
                break message.unwrap().unwrap();
            }
        };
        assert_eq!(message.data[..4], i.to_be_bytes());
    }
    here.send("last").await.unwrap();
    assert_eq!(there.recv().await, Some(Ok("last".into())));
}

#[tokio::test]
async fn closing_delivers_what_was_sent() {
    let (alice, bob) = (peer(), peer());
    let (here, there) = open(&alice, &bob).await;
    let reader = tokio::spawn(async move {
        let mut received = 0;
        while let Some(message) = there.recv().await {
            received += message.unwrap().data.len();
        }
        received
    });
    for _ in 0..32 {
        here.send(bytes(16 * 1024)).await.unwrap();
    }
    alice.close().await.unwrap();
    assert_eq!(reader.await.unwrap(), 32 * 16 * 1024);
}

#[tokio::test]
async fn a_channel_is_tokio_io() {
    let (alice, bob) = (peer(), peer());
    let (here, there) = open(&alice, &bob).await;
    let (mut here, mut there) = (here.into_tokio_io(), there.into_tokio_io());
    let data = bytes(1_000_000);
    let expected = data.clone();
    let writer = tokio::spawn(async move {
        here.write_all(&data).await.unwrap();
        here.shutdown().await.unwrap();
        here
    });
    let mut received = Vec::new();
    there.read_to_end(&mut received).await.unwrap();
    assert!(received == expected);
    drop(writer.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_a_channel() {
    let (alice, bob) = (peer(), peer());
    let (here, there) = open(&alice, &bob).await;
    let mut writers = JoinSet::new();
    for writer in 0..8u32 {
        let here = here.clone();
        writers.spawn(async move {
            for number in 0..500 {
                let message = [writer.to_be_bytes(), u32::to_be_bytes(number)].concat();
                here.send([&message[..], &[0; 3000]].concat())
                    .await
                    .unwrap();
            }
        });
    }
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let there = there.clone();
        readers.spawn(async move {
            let mut ids = Vec::new();
            while let Some(message) = there.recv().await {
                ids.push(u64::from_be_bytes(
                    message.unwrap().data[..8].try_into().unwrap(),
                ));
            }
            ids
        });
    }
    while let Some(result) = writers.join_next().await {
        result.unwrap();
    }
    here.close();
    let mut ids = readers.join_all().await.concat();
    ids.sort_unstable();
    let all = (0..8).flat_map(|writer| (0..500).map(move |number| writer << 32 | number));
    assert!(ids.into_iter().eq(all));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_dropped_in_every_state_leave_no_task() {
    for stage in 0..7 {
        let (alice, bob) = (peer(), peer());
        let channel = (stage > 0).then(|| alice.create_data_channel("x", None).unwrap());
        if stage > 1 {
            alice.set_local_description(None).unwrap();
        }
        if stage > 2 {
            bob.set_remote_description(alice.gathering_complete().await.unwrap())
                .unwrap();
        }
        if stage > 3 {
            bob.set_local_description(None).unwrap();
            alice
                .set_remote_description(bob.gathering_complete().await.unwrap())
                .unwrap();
        }
        if stage > 4 {
            alice.connected().await.unwrap();
        }
        if stage > 5 {
            channel
                .as_ref()
                .unwrap()
                .send(bytes(100_000))
                .await
                .unwrap();
        }
    }
    no_tasks_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_connections_come_and_go() {
    let mut tasks = JoinSet::new();
    for i in 0..100 {
        tasks.spawn(async move {
            let (alice, bob) = (peer(), peer());
            let (here, there) = open(&alice, &bob).await;
            here.send("hello").await.unwrap();
            assert_eq!(there.recv().await, Some(Ok("hello".into())));
            if i % 2 == 0 {
                alice.close().await.unwrap();
                assert_eq!(there.recv().await, None);
            }
        });
        if tasks.len() >= 10 {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    no_tasks_left().await;
}

async fn no_tasks_left() {
    let metrics = tokio::runtime::Handle::current().metrics();
    for _ in 0..2_000 {
        if metrics.num_alive_tasks() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} tasks are left", metrics.num_alive_tasks());
}

#[test]
fn the_end_of_the_runtime_is_told() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let connection = runtime.block_on(async { peer() });
    let channel = connection.create_data_channel("x", None).unwrap();
    drop(runtime);
    assert_eq!(connection.create_offer(None), Err(Error::DriverLost));
    assert_eq!(
        futures_util::FutureExt::now_or_never(channel.recv()),
        Some(Some(Err(Error::DriverLost)))
    );
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    assert!(matches!(builder().build(), Err(Error::Socket { .. })));
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    assert_eq!(
        rtc_tokio::builder().bind(addr).build().unwrap_err(),
        Error::AddressInUse(addr)
    );
}
