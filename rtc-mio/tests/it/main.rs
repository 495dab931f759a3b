//! Real UDP sockets over loopback, in one loop.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod readiness;
mod remote;
mod world;

use std::time::Instant;

use rtc_driver::rtc::data_channel::RTCDataChannelMessage;
use rtc_driver::rtc::peer_connection::state::RTCPeerConnectionState;
use rtc_driver::rtc::sansio::Protocol as _;

use rtc_mio::{Error, PeerConnection};

use world::{World, bytes, connection};

#[test]
fn messages_go_both_ways() {
    let mut world = World::connected();
    for i in 0..100 {
        let text = format!("message {i}");
        for (from, to) in [(0, 1), (1, 0)] {
            world.send(from, text.as_str().into());
            let heard = world.wait(|world| world.heard[to].pop_front());
            assert_eq!(heard, RTCDataChannelMessage::from(text.as_str()));
        }
    }
}

#[test]
fn bulk_arrives_whole() {
    let mut world = World::connected();
    let data = bytes(16 << 20);
    let mut chunks = data.chunks(16 * 1024);
    let mut received = Vec::with_capacity(data.len());
    world.wait(|world| {
        while world.channel(0).buffered_amount() < 256 * 1024
            && let Some(chunk) = chunks.next()
        {
            world.send(0, chunk.into());
        }
        for message in world.heard[1].drain(..) {
            received.extend_from_slice(&message.data);
        }
        (received.len() == data.len()).then_some(())
    });
    assert!(received == data);
}

#[test]
fn closing_is_told_to_the_peer() {
    let mut world = World::connected();
    world.peers[0].core().close().unwrap();
    world.peers[0].drive(Instant::now());
    world.wait(|world| {
        world
            .peers
            .iter()
            .all(|peer| peer.is_drained())
            .then_some(())
    });
    let state = world.peers[1].core().connection_state();
    assert_eq!(state, RTCPeerConnectionState::Closed);
}

#[test]
fn time_is_what_the_caller_says() {
    let (mut alice, mut bob) = (connection(), connection());
    alice.core().create_data_channel("x", None).unwrap();
    world::signal(&mut alice, &mut bob);
    // Nobody drives the peer, so nothing but timeouts happens, and no time passes meanwhile.
    let start = Instant::now();
    let mut now = start;
    let mut turns = 0;
    loop {
        alice.drive(now);
        while alice.poll_event().is_some() {}
        if alice.core().connection_state() == RTCPeerConnectionState::Failed {
            break;
        }
        let deadline = alice.deadline(now).unwrap();
        assert!(deadline > now, "no progress at {:?}", now - start);
        now = deadline;
        turns += 1;
        assert!(turns < 10_000);
    }
    assert!(alice.counters().datagrams_sent >= 5);
    assert!(now - start >= std::time::Duration::from_secs(1));
}

#[test]
fn an_address_in_use_is_named() {
    let taken = world::socket();
    let addr = taken.local_addr().unwrap();
    let error = PeerConnection::new(rtc_mio::builder().bind(addr), Instant::now()).unwrap_err();
    assert_eq!(error, Error::AddressInUse(addr));
}
