//! What has to hold on a runtime of any kind; adapters run it on theirs.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join;
use rtc_driver::udp::UdpState;
use rtc_driver::{
    Builder, DataChannel, DataChannelMessage, DatagramSocket, PeerConnection, RecvMeta, Runtime,
    SendBatch,
};

fn builder<R: Runtime>(runtime: &R) -> Builder<R> {
    Builder::new(runtime.clone()).bind("127.0.0.1:0".parse().unwrap())
}

fn peers<R: Runtime>(runtime: &R) -> (PeerConnection, PeerConnection) {
    let peer = || builder(runtime).build().unwrap();
    (peer(), peer())
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

pub(crate) async fn open(
    alice: &PeerConnection,
    bob: &PeerConnection,
) -> (DataChannel, DataChannel) {
    let here = alice.create_data_channel("test", None).unwrap();
    signal(alice, bob).await;
    let there = bob.data_channels().next().await.unwrap();
    here.opened().await.unwrap();
    (here, there)
}

pub(crate) fn bytes(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

async fn transfer(here: &DataChannel, there: &DataChannel, size: usize) {
    let data = bytes(size);
    let write = async {
        for chunk in data.chunks(16 * 1024) {
            here.send(chunk).await.unwrap();
        }
    };
    let read = async {
        let mut received = Vec::with_capacity(size);
        while received.len() < size {
            received.extend_from_slice(&there.recv().await.unwrap().unwrap().data);
        }
        received
    };
    let ((), received) = join(write, read).await;
    assert!(received == data);
}

pub(crate) async fn messages_are_echoed<R: Runtime>(runtime: R) {
    let (alice, bob) = peers(&runtime);
    let (here, there) = open(&alice, &bob).await;
    runtime.spawn(async move {
        while let Some(message) = there.recv().await {
            there.send(message.unwrap()).await.unwrap();
        }
    });
    for i in 0..100u32 {
        let text = format!("message {i}");
        here.send(text.as_str()).await.unwrap();
        assert_eq!(here.recv().await, Some(Ok(DataChannelMessage::from(text))));
    }
    alice.close().await.unwrap();
    bob.close().await.unwrap();
}

pub(crate) async fn bulk<R: Runtime>(runtime: R, size: usize) {
    let (alice, bob) = peers(&runtime);
    let (here, there) = open(&alice, &bob).await;
    transfer(&here, &there, size).await;
    transfer(&there, &here, size / 4).await;
}

pub(crate) async fn bulk_through_the_smallest_socket_buffers<R: Runtime>(runtime: R) {
    let small = || {
        builder(&runtime)
            .with_receive_buffer(16 * 1024)
            .with_send_buffer(16 * 1024)
            .build()
            .unwrap()
    };
    let (alice, bob) = (small(), small());
    let (here, there) = open(&alice, &bob).await;
    transfer(&here, &there, 2 << 20).await;
}

pub(crate) async fn what_was_sent_is_delivered_by_closing<R: Runtime>(runtime: R) {
    let (alice, bob) = peers(&runtime);
    let (here, there) = open(&alice, &bob).await;
    for _ in 0..8 {
        here.send(bytes(16 * 1024)).await.unwrap();
    }
    let read = async {
        let mut received = 0;
        while let Some(message) = there.recv().await {
            received += message.unwrap().data.len();
        }
        received
    };
    let (closed, received) = join(alice.close(), read).await;
    closed.unwrap();
    assert_eq!(received, 8 * 16 * 1024);
}

/// Drops both connections at each stage of their life, and waits until their tasks have ended.
pub(crate) async fn connections_dropped_in_every_state_leave_no_task<R: Runtime>(runtime: R) {
    for stage in 0..5 {
        let (ended, tasks) = mpsc::channel();
        let (alice, bob) = peers(&Counted(runtime.clone(), ended));
        let channel = alice.create_data_channel("x", None).unwrap();
        match stage {
            0 => {}
            1 => alice.set_local_description(None).unwrap(),
            2 => signal(&alice, &bob).await,
            _ => {
                signal(&alice, &bob).await;
                alice.connected().await.unwrap();
                if stage == 4 {
                    channel.send(bytes(100_000)).await.unwrap();
                }
            }
        }
        drop((alice, bob, channel));
        for _ in 0..2 {
            tasks.recv_timeout(PATIENCE).unwrap();
        }
    }
}

/// Far more than closing takes by itself, so that only a task that stays is taken for one.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn bulk_without_offloading<R: Runtime>(runtime: R) {
    let runtime = Plain(runtime);
    let socket = runtime.wrap(UdpSocket::bind("127.0.0.1:0").unwrap());
    assert_eq!(socket.unwrap().max_send_segments(), 1);
    bulk(runtime, 2 << 20).await;
}

pub(crate) fn a_socket_has_the_offloading_of_the_system<R: Runtime>(runtime: R) {
    let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let system = UdpState::new(&bind()).unwrap();
    let socket = runtime.wrap(bind()).unwrap();
    assert_eq!(socket.max_send_segments(), system.max_send_segments());
    assert_eq!(socket.max_recv_segments(), system.max_recv_segments());
}

pub(crate) async fn names_are_resolved<R: Runtime>(runtime: R) {
    let addrs = runtime.resolve("localhost", 7).await.unwrap();
    assert!(addrs.iter().any(|addr| addr.ip().is_loopback()));
    assert!(addrs.iter().all(|addr| addr.port() == 7));
    let addrs = runtime.resolve("::1", 7).await.unwrap();
    assert_eq!(addrs, ["[::1]:7".parse().unwrap()]);
}

/// A runtime that tells when a task is over.
#[derive(Clone)]
struct Counted<R>(R, mpsc::Sender<()>);

struct Ended(mpsc::Sender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl<R: Runtime> Runtime for Counted<R> {
    type Socket = R::Socket;
    type Timer = R::Timer;

    fn wrap(&self, socket: UdpSocket) -> io::Result<R::Socket> {
        self.0.wrap(socket)
    }

    fn timer(&self) -> R::Timer {
        self.0.timer()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let ended = Ended(self.1.clone());
        self.0.spawn(async move {
            let _ended = ended;
            future.await;
        });
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.0.resolve(host, port).await
    }
}

/// A runtime whose sockets know nothing of offloading.
#[derive(Clone)]
struct Plain<R>(R);

struct PlainSocket<S>(S);

impl<S: DatagramSocket> DatagramSocket for PlainSocket<S> {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // One datagram at a time, as systems without recvmmsg have it.
        self.0.poll_recv(cx, &mut bufs[..1], meta)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &SendBatch<'_>) -> Poll<io::Result<()>> {
        assert_eq!(batch.segment_size, None);
        self.0.poll_send(cx, batch)
    }
}

impl<R: Runtime> Runtime for Plain<R> {
    type Socket = PlainSocket<R::Socket>;
    type Timer = R::Timer;

    fn wrap(&self, socket: UdpSocket) -> io::Result<Self::Socket> {
        self.0.wrap(socket).map(PlainSocket)
    }

    fn timer(&self) -> R::Timer {
        self.0.timer()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(future);
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.0.resolve(host, port).await
    }
}
