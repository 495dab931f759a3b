//! Real UDP sockets over loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

#[path = "../../../rtc-smol/tests/it/suite.rs"]
mod suite;

use async_std::io::{ReadExt as _, WriteExt as _};
use async_std::task::{block_on, spawn};
use rtc_async_std::{AsyncStdRuntime, PeerConnection, PeerConnectionExt as _};

#[test]
fn messages_are_echoed() {
    block_on(suite::messages_are_echoed(AsyncStdRuntime));
}

#[test]
fn bulk() {
    block_on(suite::bulk(AsyncStdRuntime, 16 << 20));
}

#[test]
fn bulk_through_the_smallest_socket_buffers() {
    block_on(suite::bulk_through_the_smallest_socket_buffers(
        AsyncStdRuntime,
    ));
}

#[test]
fn what_was_sent_is_delivered_by_closing() {
    block_on(suite::what_was_sent_is_delivered_by_closing(
        AsyncStdRuntime,
    ));
}

#[test]
fn connections_dropped_in_every_state_leave_no_task() {
    block_on(suite::connections_dropped_in_every_state_leave_no_task(
        AsyncStdRuntime,
    ));
}

#[test]
fn bulk_without_offloading() {
    block_on(suite::bulk_without_offloading(AsyncStdRuntime));
}

#[test]
fn a_socket_has_the_offloading_of_the_system() {
    suite::a_socket_has_the_offloading_of_the_system(AsyncStdRuntime);
}

#[test]
fn names_are_resolved() {
    block_on(suite::names_are_resolved(AsyncStdRuntime));
}

#[test]
fn a_channel_is_async_std_io() {
    block_on(async {
        let peer = || PeerConnection::builder().bind("127.0.0.1:0".parse().unwrap());
        let (alice, bob) = (peer().build().unwrap(), peer().build().unwrap());
        let (here, there) = suite::open(&alice, &bob).await;
        let (mut here, mut there) = (here.into_io(), there.into_io());
        let data = suite::bytes(1_000_000);
        let writer = spawn({
            let data = data.clone();
            async move {
                here.write_all(&data).await.unwrap();
                here.flush().await.unwrap();
                here
            }
        });
        let mut received = vec![0; data.len()];
        there.read_exact(&mut received).await.unwrap();
        assert!(received == data);
        drop(writer.await);
    });
}
