//! Real UDP sockets over loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod suite;
mod timer;

use std::sync::Arc;

use rtc_smol::{PeerConnection, PeerConnectionExt as _, SmolRuntime};
use smol::Executor;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[test]
fn messages_are_echoed() {
    smol::block_on(suite::messages_are_echoed(SmolRuntime::global()));
}

#[test]
fn bulk() {
    smol::block_on(suite::bulk(SmolRuntime::global(), 16 << 20));
}

#[test]
fn everything_on_one_thread() {
    let executor = Arc::new(Executor::new());
    let runtime = SmolRuntime::from(Arc::clone(&executor));
    smol::block_on(executor.run(async {
        suite::messages_are_echoed(runtime.clone()).await;
        suite::bulk(runtime, 16 << 20).await;
    }));
}

#[test]
fn an_executor_that_knows_nothing_of_the_reactor() {
    let (executor, (stop, stopped)) = (Arc::new(Executor::new()), smol::channel::bounded::<()>(1));
    let runtime = SmolRuntime::from(Arc::clone(&executor));
    let thread = std::thread::spawn(move || {
        block_on_parked(executor.run(stopped.recv())).unwrap_err();
    });
    block_on_parked(suite::bulk(runtime, 4 << 20));
    drop(stop);
    thread.join().unwrap();
}

/// `block_on` by nothing but parking the thread. What drives the reactor then is a thread of its own.
fn block_on_parked<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        let polled = future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker));
        match polled {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn bulk_through_the_smallest_socket_buffers() {
    smol::block_on(suite::bulk_through_the_smallest_socket_buffers(
        SmolRuntime::global(),
    ));
}

#[test]
fn what_was_sent_is_delivered_by_closing() {
    smol::block_on(suite::what_was_sent_is_delivered_by_closing(
        SmolRuntime::global(),
    ));
}

#[test]
fn connections_dropped_in_every_state_leave_no_task() {
    smol::block_on(suite::connections_dropped_in_every_state_leave_no_task(
        SmolRuntime::global(),
    ));
}

#[test]
fn bulk_without_offloading() {
    smol::block_on(suite::bulk_without_offloading(SmolRuntime::global()));
}

#[test]
fn a_socket_has_the_offloading_of_the_system() {
    suite::a_socket_has_the_offloading_of_the_system(SmolRuntime::global());
}

#[test]
fn names_are_resolved() {
    smol::block_on(suite::names_are_resolved(SmolRuntime::global()));
}

#[test]
fn a_channel_is_smol_io() {
    smol::block_on(async {
        let peer = || PeerConnection::builder().bind("127.0.0.1:0".parse().unwrap());
        let (alice, bob) = (peer().build().unwrap(), peer().build().unwrap());
        let (here, there) = suite::open(&alice, &bob).await;
        let (mut here, mut there) = (here.into_io(), there.into_io());
        let data = suite::bytes(1_000_000);
        let writer = smol::spawn({
            let data = data.clone();
            async move {
                here.write_all(&data).await.unwrap();
                here.close().await.unwrap();
                here
            }
        });
        let mut received = Vec::new();
        there.read_to_end(&mut received).await.unwrap();
        assert!(received == data);
        drop(writer.await);
    });
}
