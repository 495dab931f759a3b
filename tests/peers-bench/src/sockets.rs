//! The sans-I/O cores over real sockets.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use crate::Connection;

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

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket
        .set_nonblocking(true)
        .expect("a socket that does not block");
    socket
}
