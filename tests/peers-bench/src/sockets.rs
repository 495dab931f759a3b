//! The sans-I/O cores over real sockets.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

use crate::Connection;
use crate::jobs::{LARGE, LARGE_WINDOW};

/// Milliseconds of wall-clock time over loopback UDP, from the moment at which both peers have
/// both descriptions to a channel open at both. One thread polls both sockets without sleeping, so
/// that no scheduler is measured.
///
/// # Panics
/// When the peers do not connect.
pub fn setup<C: Connection>() -> f64 {
    let now = Instant::now();
    let sockets = [socket(), socket()];
    let addrs = [&sockets[0], &sockets[1]].map(|socket| socket.local_addr().expect("an address"));
    let mut peers = addrs.map(|addr| C::new(addr, None, now));
    let offer = peers[0].offer(now);
    let answer = peers[1].answer(now, &offer);
    peers[0].accept(now, &answer);
    let start = Instant::now();
    let mut wire = Vec::new();
    while !peers.iter().all(C::is_open) {
        for side in [0, 1] {
            let now = Instant::now();
            turn(
                &mut peers[side],
                &sockets[side],
                addrs[1 - side],
                now,
                &mut wire,
            );
            assert!(
                start.elapsed().as_secs() < 20,
                "{} does not connect",
                C::NAME
            );
        }
    }
    start.elapsed().as_secs_f64() * 1e3
}

fn turn<C: Connection>(
    peer: &mut C,
    socket: &UdpSocket,
    to: SocketAddr,
    now: Instant,
    wire: &mut Vec<C::Datagram>,
) {
    let mut buffer = [0; 2048];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((size, from)) if from == to => wire.push(C::datagram(&buffer[..size])),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("receiving: {error}"),
        }
    }
    if !wire.is_empty() {
        peer.receive(now, to, wire);
    }
    if peer.timeout().is_some_and(|deadline| deadline <= now) {
        peer.handle_timeout(now);
    }
    peer.transmit(now, wire);
    for datagram in wire.drain(..) {
        socket
            .send_to(datagram.as_ref(), to)
            .expect("the datagram is sent");
    }
}

/// Sends `mebibytes` in messages of [`LARGE`] bytes over loopback UDP, each peer on a thread of its
/// own with a blocking socket, one datagram a call. Gives the bytes, and CPU time of the process and
/// wall-clock time from the start of set-up.
///
/// # Panics
/// When the peers do not connect.
pub fn bulk<C: Connection + Send>(mebibytes: usize) -> (usize, Duration, Duration) {
    let bytes = mebibytes * 1024 * 1024;
    let now = Instant::now();
    let sockets = [socket(), socket()];
    let addrs = [&sockets[0], &sockets[1]].map(|socket| socket.local_addr().expect("an address"));
    let [mut a, mut b] = addrs.map(|addr| C::new(addr, None, now));
    let offer = a.offer(now);
    let answer = b.answer(now, &offer);
    a.accept(now, &answer);
    let received = AtomicU64::new(0);
    let (cpu, wall) = (ProcessTime::now(), Instant::now());
    let count = (bytes / LARGE) as u64;
    std::thread::scope(|scope| {
        let payload = vec![0xa5; LARGE];
        let received = &received;
        let [a_socket, b_socket] = &sockets;
        scope.spawn(move || {
            let mut sent = 0;
            drive(&mut a, a_socket, addrs[1], |a, now| {
                while sent < count
                    && a.is_open()
                    && sent - received.load(Ordering::Relaxed) < LARGE_WINDOW
                    && a.send(now, &payload)
                {
                    sent += 1;
                }
                a.read();
                received.load(Ordering::Relaxed) >= count
            });
        });
        scope.spawn(move || {
            drive(&mut b, b_socket, addrs[0], |b, _| {
                let news = b.read().messages;
                received.fetch_add(news, Ordering::Relaxed) + news >= count
            });
        });
    });
    (bytes, cpu.elapsed(), wall.elapsed())
}

/// The loop of the documentation: send what there is, wait for a datagram or the timer, take it.
fn drive<C: Connection>(
    peer: &mut C,
    socket: &UdpSocket,
    to: SocketAddr,
    mut work: impl FnMut(&mut C, Instant) -> bool,
) {
    socket.set_nonblocking(false).expect("a blocking socket");
    let mut buffer = [0; 2048];
    let mut wire = Vec::new();
    loop {
        let now = Instant::now();
        if work(peer, now) {
            return;
        }
        peer.transmit(now, &mut wire);
        for datagram in wire.drain(..) {
            socket
                .send_to(datagram.as_ref(), to)
                .expect("the datagram is sent");
        }
        let wait = peer.timeout().map_or(LONGEST_WAIT, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        let wait = wait.clamp(Duration::from_millis(1), LONGEST_WAIT);
        socket.set_read_timeout(Some(wait)).expect("a timeout");
        match socket.recv_from(&mut buffer) {
            Ok((size, from)) if from == to => {
                wire.push(C::datagram(&buffer[..size]));
                peer.receive(Instant::now(), to, &mut wire);
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("receiving: {error}"),
        }
        let now = Instant::now();
        if peer.timeout().is_some_and(|deadline| deadline <= now) {
            peer.handle_timeout(now);
        }
    }
}

/// So that the end is noticed.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket
        .set_nonblocking(true)
        .expect("a socket that does not block");
    socket
}
