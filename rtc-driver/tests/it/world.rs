//! `rtc_driver::test` itself: what tests build on.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future;
use rtc::shared::EcnCodepoint;
use rtc_driver::test::{Datagram, Gateway, Link, SocketModel, World};
use rtc_driver::{DatagramSocket, RecvMeta, Runtime, SendBatch, SocketOptions, rtc};

use crate::scene::{Flag, Scene, bytes, open, poll_once};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn one_seed_gives_one_run_to_the_last_poll() {
    let run = |seed| {
        let world = Scene::with_seed(seed);
        let mut link = Link::new(Duration::from_millis(20))
            .with_bandwidth(20_000_000, 50_000)
            .with_jitter(Duration::from_millis(10))
            .with_loss(0.02)
            .with_reordering(0.01)
            .with_duplication(0.01);
        link.in_order = false;
        world.set_default_link(link);
        world.run(async {
            let (here, there) = world.channel().await;
            let send = async {
                for _ in 0..30 {
                    here.send(bytes(16_384)).await.unwrap();
                }
            };
            let recv = async {
                for _ in 0..30 {
                    there.recv().await.unwrap().unwrap();
                }
            };
            future::join(send, recv).await;
            world.sleep(60 * SECOND).await;
        });
        let end = [&world.a, &world.b].map(|host| (host.traffic(), host.polls(), host.wakes()));
        (world.elapsed(), world.traffic(), end)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn two_hundred_connections_on_one_host_echo() {
    let world = World::new(5);
    let server = world.host(["192.0.2.1"]);
    let clients: Vec<_> = (0..20)
        .map(|number| world.host([format!("198.51.100.{number}")]))
        .collect();
    let echoes = (0..200).map(|number| {
        let (server, client) = (server.clone(), clients[number % clients.len()].clone());
        world.spawn(async move {
            let alice = client.builder().build().unwrap();
            let bob = server.builder().build().unwrap();
            let (here, there) = open(&alice, &bob).await;
            let echo = client.runtime().spawn_joinable(async move {
                while let Some(Ok(message)) = there.recv().await {
                    there.send(message).await.unwrap();
                }
            });
            for index in 0..10 {
                let text = format!("{number}: {index}");
                here.send(text.as_str()).await.unwrap();
                assert_eq!(here.recv().await.unwrap().unwrap().as_str(), Some(&*text));
            }
            alice.close().await.unwrap();
            echo.await;
        })
    });
    let echoes: Vec<_> = echoes.collect();
    world.run(future::join_all(echoes));
    world.run_for(SECOND);
    assert_eq!((world.tasks(), world.sockets(), server.tasks()), (0, 0, 0));
    assert_eq!(world.traffic().lost, 0);
}

#[test]
fn time_passes_only_while_everybody_waits() {
    let world = World::new(1);
    let host = world.host(["192.0.2.1"]);
    let runtime = host.runtime();
    let start = Instant::now();
    let (order, hour) = (Arc::new(AtomicUsize::new(0)), 3600 * SECOND);
    let tasks: Vec<_> = [3, 1, 2]
        .map(|hours| {
            let (runtime, order) = (runtime.clone(), Arc::clone(&order));
            world.spawn(async move {
                runtime.sleep(hours * hour).await;
                assert_eq!(order.fetch_add(1, Ordering::Relaxed) + 1, hours as usize);
            })
        })
        .into();
    world.run(async {
        assert_eq!(runtime.timeout(hour, future::ready(7)).await, Some(7));
        assert_eq!(runtime.timeout(hour, future::pending::<()>()).await, None);
        future::join_all(tasks).await;
    });
    assert_eq!(world.elapsed(), 3 * hour);
    assert!(start.elapsed() < hour);
}

#[test]
fn a_world_without_a_future_is_told_apart_from_one_that_takes_long() {
    let world = World::new(1);
    let stuck = catch_unwind(AssertUnwindSafe(|| world.run(future::pending::<()>())));
    assert!(stuck.is_err());
    let nested = catch_unwind(AssertUnwindSafe(|| {
        world.run(async { world.run(async {}) });
    }));
    assert!(nested.is_err());
    world.run(async {});
}

#[test]
fn a_panic_goes_to_who_waits_for_the_task_or_out_of_the_world() {
    let world = World::new(1);
    let host = world.host(["192.0.2.1"]);
    let panics = || world.spawn(async { std::panic::resume_unwind(Box::new("of a task")) });
    let awaited = panics();
    let awaited = || world.run(awaited);
    assert!(catch_unwind(AssertUnwindSafe(awaited)).is_err());

    drop(panics());
    let unawaited = || world.run_for(SECOND);
    assert!(catch_unwind(AssertUnwindSafe(unawaited)).is_err());

    // What the task held is gone, and the world goes on.
    let connection = host.builder().build().unwrap();
    host.runtime().spawn(async move {
        let _connection = connection;
        std::panic::resume_unwind(Box::new("with a connection"));
    });
    assert!(catch_unwind(AssertUnwindSafe(unawaited)).is_err());
    world.run_for(SECOND);
    assert_eq!((world.tasks(), world.sockets()), (0, 0));
}

#[test]
fn the_end_of_a_world_is_told_to_whoever_waits_elsewhere() {
    let world = World::new(1);
    let host = world.host(["192.0.2.1"]);
    let connection = host.builder().build().unwrap();
    world.run_for(SECOND);
    let flag: Arc<Flag> = Arc::default();
    let mut connected = pin!(connection.connected());
    assert!(poll_once(connected.as_mut(), &flag).is_pending());
    drop(world);
    assert_eq!(flag.take(), 1);
    assert!(poll_once(connected, &flag).is_ready());
    assert_eq!((host.tasks(), host.sockets()), (0, vec![]));
    // A task that comes too late is dropped.
    let kept = Arc::new(());
    let late = Arc::clone(&kept);
    host.runtime().spawn(async move {
        let _late = late;
        future::pending::<()>().await;
    });
    assert_eq!(Arc::strong_count(&kept), 1);
}

#[test]
fn a_task_can_be_cancelled_and_counts_its_polls() {
    let world = World::new(1);
    let kept = Arc::new(());
    let held = Arc::clone(&kept);
    let task = world.spawn(async move {
        let _held = held;
        future::pending::<()>().await;
    });
    world.run_for(SECOND);
    assert_eq!(
        (task.polls(), task.wakes(), task.is_finished()),
        (1, 1, false)
    );
    task.cancel();
    assert_eq!((world.tasks(), Arc::strong_count(&kept)), (0, 1));
}

#[test]
fn a_server_can_be_written_with_plain_sockets_and_found_by_name() {
    let world = World::new(1);
    let (host, client) = (world.host(["192.0.2.1"]), world.host(["192.0.2.2"]));
    world.set_name("echo.example", ["192.0.2.1"]);
    let options = SocketOptions::default();
    let mut server = host
        .runtime()
        .bind("0.0.0.0:7".parse().unwrap(), &options)
        .unwrap();
    host.runtime().spawn(async move {
        while let Ok((datagram, peer)) = server.recv_from().await {
            server.send_to(&datagram, peer).await.unwrap();
        }
    });
    world.run(async {
        let runtime = client.runtime();
        let error = runtime.resolve("nobody.example", 7).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let addrs = runtime.resolve("echo.example", 7).await.unwrap();
        assert_eq!(addrs, ["192.0.2.1:7".parse().unwrap()]);
        let mut socket = runtime
            .bind("192.0.2.2:0".parse().unwrap(), &options)
            .unwrap();
        socket.send_to(b"hello", addrs[0]).await.unwrap();
        assert_eq!(
            socket.recv_from().await.unwrap(),
            (b"hello".to_vec(), addrs[0])
        );
        // A socket does not know whom there is, but it knows its family.
        let nowhere = "192.0.2.3:7".parse().unwrap();
        socket.send_to(b"hello", nowhere).await.unwrap();
        assert_eq!(world.traffic().unreachable, 1);
        let other = "[2001:db8::1]:7".parse().unwrap();
        let error = socket.send_to(b"hello", other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    });
}

#[test]
fn addresses_are_bound_as_systems_do() {
    let world = World::new(1);
    let host = world.host(["192.0.2.1"]);
    let runtime = host.runtime();
    let bind = |addr: &str, reuse_port| {
        let mut options = SocketOptions::default();
        options.reuse_port = reuse_port;
        let socket = runtime.bind(addr.parse().unwrap(), &options);
        socket.map_err(|error| error.kind())
    };
    let first = bind("192.0.2.1:0", false).unwrap().local_addr().unwrap();
    let second = bind("192.0.2.1:0", false).unwrap().local_addr().unwrap();
    assert_ne!(first.port(), second.port());
    let taken = bind("192.0.2.1:80", false).unwrap();
    assert_eq!(bind("192.0.2.1:80", true).err(), Some(ErrorKind::AddrInUse));
    assert_eq!(
        bind("192.0.2.2:80", false).err(),
        Some(ErrorKind::AddrNotAvailable)
    );
    drop(taken);
    let mut shared = [(); 2].map(|()| bind("192.0.2.1:80", true).unwrap());

    // Who shares a port gets all of one sender, or nothing.
    world.run(async {
        let mut senders: Vec<_> = (0..20)
            .map(|_| bind("192.0.2.1:0", false).unwrap())
            .collect();
        for sender in &mut senders {
            for _ in 0..2 {
                let to = "192.0.2.1:80".parse().unwrap();
                sender.send_to(b"x", to).await.unwrap();
            }
        }
        let mut counts = [0, 0];
        for (socket, count) in shared.iter_mut().zip(&mut counts) {
            let mut last = None;
            while let Some(received) = runtime.timeout(SECOND, socket.recv_from()).await {
                let (_, peer) = received.unwrap();
                if last != Some(peer) {
                    last = Some(peer);
                    *count += 1;
                }
            }
        }
        assert_eq!(counts[0] + counts[1], 20);
        assert!(counts[0] > 3 && counts[1] > 3, "{counts:?}");
    });
}

#[test]
fn marks_and_local_addresses_arrive_in_batches() {
    let world = Scene::new();
    let mut link = Link::default().with_bandwidth(8_000_000, 100_000);
    link.ce_threshold = Some(2_500);
    world.set_link(&world.a, &world.b, link.clone());
    let options = SocketOptions::default();
    let bind = |runtime: &rtc_driver::test::TestRuntime, addr: &str| {
        runtime.bind(addr.parse().unwrap(), &options).unwrap()
    };
    let mut from = bind(&world.a.runtime(), "192.0.2.1:1");
    let mut to = bind(&world.b.runtime(), "0.0.0.0:2");
    let mut send = |size| {
        let batch = SendBatch {
            peer: "192.0.2.2:2".parse().unwrap(),
            local_ip: None,
            ecn: Some(EcnCodepoint::Ect0),
            segment_size: Some(1000),
            contents: &bytes(size),
        };
        let sent = from.poll_send(
            &mut std::task::Context::from_waker(std::task::Waker::noop()),
            &batch,
        );
        assert!(matches!(sent, std::task::Poll::Ready(Ok(()))), "{sent:?}");
    };
    let mut receive = || {
        let (mut first, mut second) = (vec![0; 65_536], vec![0; 65_536]);
        let mut bufs = [&mut first, &mut second].map(|buf| std::io::IoSliceMut::new(buf));
        let mut meta = [RecvMeta::default(); 2];
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        match to.poll_recv(cx, &mut bufs, &mut meta) {
            std::task::Poll::Ready(Ok(count)) => meta[..count]
                .iter()
                .map(|it| (it.len, it.stride, it.ecn, it.local_ip.unwrap().to_string()))
                .collect(),
            other => panic!("{other:?}"),
        }
    };
    let here = "192.0.2.2".to_owned();
    send(4500);
    world.run_for(SECOND);
    let received: Vec<_> = receive();
    let expected = [
        (3000, 1000, Some(EcnCodepoint::Ect0), here.clone()),
        (1500, 1000, Some(EcnCodepoint::Ce), here.clone()),
    ];
    assert_eq!(received, expected);
    link.keeps_ecn = false;
    world.set_link(&world.a, &world.b, link);
    send(2000);
    world.run_for(SECOND);
    assert_eq!(receive(), [(2000, 1000, None, here)]);
}

#[test]
fn sockets_have_no_room_or_give_errors_as_told() {
    let world = Scene::new();
    let options = SocketOptions::default();
    let peer = "192.0.2.2:2".parse().unwrap();
    let addr = "192.0.2.1:1".parse().unwrap();
    let mut socket = world.a.runtime().bind(addr, &options).unwrap();
    world.run(async {
        let runtime = world.a.runtime();
        let mut model = SocketModel::default();
        model.is_blocked = true;
        world.a.set_sockets(model);
        let blocked = runtime.timeout(SECOND, socket.send_to(b"x", peer)).await;
        assert!(blocked.is_none());
        let (waits, freed) = future::join(socket.send_to(b"x", peer), async {
            runtime.sleep(SECOND).await;
            world.a.set_sockets(SocketModel::default());
        })
        .await;
        waits.unwrap();
        let () = freed;
        model.is_blocked = false;
        model.send_error = Some(ErrorKind::NetworkUnreachable);
        world.a.set_sockets(model);
        let error = socket.send_to(b"x", peer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        world.a.set_sockets(SocketModel::default());

        world.a.inject_errors(addr, [ErrorKind::ConnectionRefused]);
        let error = socket.recv_from().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(runtime.timeout(SECOND, socket.recv_from()).await.is_none());
        world.a.break_socket(addr, ErrorKind::BrokenPipe);
        for _ in 0..3 {
            let error = socket.recv_from().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        }
        assert!(socket.send_to(b"x", peer).await.is_err());
    });
    let calls = world.a.socket_calls();
    assert_eq!((calls.sends, calls.errors), (1, 6));
    assert!(calls.blocked >= 2, "{calls:?}");
}

/// Lets STUN through and nothing else while it is told to.
struct Firewall {
    closed: Arc<AtomicUsize>,
}

impl Firewall {
    fn lets_through(&self, datagram: &Datagram) -> bool {
        self.closed.load(Ordering::Relaxed) == 0
            || datagram.contents.first().is_some_and(|byte| *byte < 4)
    }
}

impl Gateway for Firewall {
    fn outbound(&mut self, _: Instant, datagram: &mut Datagram) -> bool {
        // A translation without a table: there is one host behind it.
        datagram.source.set_ip([203, 0, 113, 1].into());
        self.lets_through(datagram)
    }

    fn inbound(&mut self, _: Instant, datagram: &mut Datagram) -> bool {
        datagram.destination.set_ip([10, 0, 0, 1].into());
        self.lets_through(datagram)
    }
}

#[test]
fn connections_get_through_a_gateway_of_ones_own() {
    let world = World::new(1);
    let closed = Arc::new(AtomicUsize::new(0));
    let firewall = Firewall {
        closed: Arc::clone(&closed),
    };
    let gateway = world.gateway(["203.0.113.1"], firewall);
    let inside = world.host_behind(gateway, ["10.0.0.1"]);
    let outside = world.host(["192.0.2.1"]);
    world.run(async {
        let alice = inside.builder().build().unwrap();
        let bob = outside.builder().build().unwrap();
        let (here, there) = open(&alice, &bob).await;
        closed.store(1, Ordering::Relaxed);
        there.send("waits").await.unwrap();
        let runtime = inside.runtime();
        assert!(runtime.timeout(60 * SECOND, here.recv()).await.is_none());
        assert!(world.traffic().refused > 0);
        closed.store(0, Ordering::Relaxed);
        assert_eq!(here.recv().await, Some(Ok("waits".into())));
    });
}

#[test]
fn an_interface_that_goes_takes_its_candidates_along_and_one_that_comes_brings_them() {
    let world = Scene::new();
    world.run(async {
        let (alice, bob) = world.pair();
        let (here, there) = open(&alice, &bob).await;
        world.a.add_interface("wlan0", "192.0.2.11");
        world.sleep(SECOND).await;
        assert_eq!(world.a.sockets().len(), 2);
        world.a.remove_interface("192.0.2.1");
        world.sleep(SECOND).await;
        assert_eq!(world.a.sockets().len(), 1);
        here.send("from the other interface").await.unwrap();
        assert!(there.recv().await.unwrap().is_ok());
        let path = alice.with_core(|core| core.selected_path()).unwrap();
        assert_eq!(path.local_addr.ip().to_string(), "192.0.2.11");
        drop(bob);
    });
}
