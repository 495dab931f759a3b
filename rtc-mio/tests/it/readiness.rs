//! Edge-triggered readiness.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rtc_driver::rtc::peer_connection::RTCPeerConnection;
use rtc_driver::rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc_mio::PeerConnection;

use crate::world::socket;

const FIRST: Token = Token(64);

/// A registered connection whose socket has nothing to send, and the address of the socket.
fn idle(poll: &Poll) -> (PeerConnection, SocketAddr) {
    let socket = socket();
    let addr = socket.local_addr().unwrap();
    let core = RTCPeerConnection::new(RTCConfigurationBuilder::new().build()).unwrap();
    let mut connection = PeerConnection::with_sockets(core, [socket]).unwrap();
    poll.registry()
        .register(&mut connection, FIRST, Interest::READABLE)
        .unwrap();
    drain(&mut connection);
    (connection, addr)
}

fn drain(connection: &mut PeerConnection) {
    let now = Instant::now();
    while connection.deadline(now).is_some_and(|at| at <= now) {
        connection.drive(now);
    }
}

/// Gives the connection the events there are; tells how many were its own.
fn events(poll: &mut Poll, connection: &mut PeerConnection, timeout: Duration) -> usize {
    let mut events = Events::with_capacity(16);
    poll.poll(&mut events, Some(timeout)).unwrap();
    let now = Instant::now();
    let ours = events.iter().filter(|it| connection.process(it, now));
    ours.count()
}

/// Far beyond the bound of one turn, and within the smallest default receive buffer.
const FLOOD: u64 = 240;

#[test]
fn a_flood_is_taken_in_bounded_turns_without_further_events() {
    let mut poll = Poll::new().unwrap();
    let (mut connection, addr) = idle(&poll);
    events(&mut poll, &mut connection, Duration::ZERO);

    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..FLOOD {
        sender.send_to(b"?", addr).unwrap();
    }
    assert_eq!(
        events(&mut poll, &mut connection, Duration::from_secs(60)),
        1
    );
    let first = connection.counters().datagrams_received;
    assert!(0 < first && first < FLOOD, "{first} in one turn");
    let now = Instant::now();
    assert_eq!(connection.deadline(now), Some(now));
    drain(&mut connection);
    assert_eq!(connection.counters().datagrams_received, FLOOD);
}

#[test]
fn what_came_before_registration_is_not_forgotten() {
    let mut poll = Poll::new().unwrap();
    let (mut connection, addr) = idle(&poll);
    poll.registry().deregister(&mut connection).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"?", addr).unwrap();
    assert_eq!(events(&mut poll, &mut connection, Duration::ZERO), 0);
    poll.registry()
        .register(&mut connection, FIRST, Interest::READABLE)
        .unwrap();
    drain(&mut connection);
    assert_eq!(connection.counters().datagrams_received, 1);
}

#[test]
fn an_empty_socket_is_not_asked_again() {
    let mut poll = Poll::new().unwrap();
    let (mut connection, addr) = idle(&poll);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"?", addr).unwrap();
    // Driven, but without having been told.
    connection.drive(Instant::now());
    assert_eq!(connection.counters().datagrams_received, 0);
    events(&mut poll, &mut connection, Duration::from_secs(60));
    assert_eq!(connection.counters().datagrams_received, 1);
}

#[test]
fn events_of_others_are_left_to_them() {
    let mut poll = Poll::new().unwrap();
    let (mut connection, _) = idle(&poll);
    let mut other = mio::net::UdpSocket::from_std(socket());
    let token = Token(FIRST.0 + PeerConnection::TOKENS);
    poll.registry()
        .register(&mut other, token, Interest::READABLE)
        .unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"?", other.local_addr().unwrap()).unwrap();
    let mut seen = false;
    let mut events = Events::with_capacity(16);
    while !seen {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            let ours = connection.process(event, Instant::now());
            assert_eq!(ours, event.token() != token);
            seen |= event.token() == token;
        }
    }
    assert_eq!(connection.counters().datagrams_received, 0);
}
