//! Sockets and interfaces that fail under a connection in use.

use std::io::ErrorKind;
use std::time::Duration;

use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc_driver::{DataChannel, PeerConnection, Runtime};

use super::env::{Env, echo, open};

async fn ask<R: Runtime>(env: &Env<R>, channel: &DataChannel, text: &str) {
    env.soon(async {
        channel.send(text).await.unwrap();
        let answer = channel.recv().await.unwrap().unwrap();
        assert_eq!(answer.as_str(), Some(text));
    })
    .await;
}

pub(super) async fn errors_of_sockets_are_survived<R: Runtime>(env: Env<R>) {
    let (alice, bob, here, there) = env.open().await;
    let echoing = env.spawn(echo(there));
    let temporary = [
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionRefused,
        ErrorKind::HostUnreachable,
        ErrorKind::NetworkUnreachable,
        ErrorKind::NetworkDown,
        ErrorKind::Interrupted,
        ErrorKind::OutOfMemory,
    ];
    for kind in temporary {
        for probe in [&env.a.probe, &env.b.probe] {
            probe.fail_receiving([kind; 20]);
            probe.fail_sending([kind; 2]);
            probe.fill(3);
            ask(&env, &here, "still there").await;
        }
    }
    // Others are borne as well while datagrams come between them.
    for _ in 0..20 {
        env.a.probe.fail_receiving([ErrorKind::Other; 3]);
        ask(&env, &here, "still there").await;
    }
    let over = || env.a.probe.faults_are_over() && env.b.probe.faults_are_over();
    env.until(over).await;
    assert_eq!(alice.connection_state(), RTCPeerConnectionState::Connected);
    assert_eq!(env.left()[1], 2, "no socket was given up");
    env.soon(bob.close()).await.unwrap();
    env.soon(echoing.join()).await;
}

pub(super) async fn a_broken_socket_is_replaced_by_another<R: Runtime>(env: Env<R>) {
    let second = (env.a.ips[1], 0).into();
    let alice = env.a.builder().bind(second).build().unwrap();
    let bob = env.b.peer();
    let (here, there) = env.soon(open(&alice, &bob)).await;
    let echoing = env.spawn(echo(there));
    ask(&env, &here, "before").await;
    let path = |peer: &PeerConnection| peer.with_core(|core| core.selected_path());
    let used = path(&alice).unwrap().local_addr;
    env.a.probe.break_socket(used, ErrorKind::BrokenPipe);
    env.until(|| path(&alice).is_some_and(|path| path.local_addr != used))
        .await;
    ask(&env, &here, "after").await;
    assert_eq!(env.a.probe.sockets(), 1);
    assert_eq!(alice.connection_state(), RTCPeerConnectionState::Connected);
    env.soon(alice.close()).await.unwrap();
    env.soon(echoing.join()).await;
}

pub(super) async fn interfaces_come_and_go<R: Runtime>(env: Env<R>) {
    let [first, second] = env.a.ips;
    env.a.probe.set_interfaces(&[first]);
    let alice = env.a.bare_builder().with_loopback(true).build().unwrap();
    let bob = env.b.peer();
    let mut events = alice.events();
    let (here, there) = env.soon(open(&alice, &bob)).await;
    let echoing = env.spawn(echo(there));
    assert_eq!(env.a.probe.sockets(), 1);

    // One that appears gives a candidate.
    env.a.probe.set_interfaces(&[first, second]);
    env.until(|| env.a.probe.sockets() == 2).await;
    let candidate = env.soon(async {
        loop {
            if let Some(RTCPeerConnectionEvent::OnIceCandidateEvent(event)) = events.next().await
                && event.candidate.address == second.to_string()
            {
                return event.candidate;
            }
        }
    });
    bob.add_ice_candidate(candidate.await.to_init()).unwrap();
    ask(&env, &here, "on two interfaces").await;
    // Its pair has to have been checked, or there is nothing to move to.
    env.sleep(Duration::from_secs(1)).await;

    // One that goes takes its socket along, and the connection moves.
    env.a.probe.set_interfaces(&[second]);
    env.until(|| env.a.probe.sockets() == 1).await;
    env.soon(async {
        while !matches!(
            events.next().await,
            Some(RTCPeerConnectionEvent::OnPathLost(_))
        ) {}
    })
    .await;
    ask(&env, &here, "on the other").await;
    let path = alice.with_core(|core| core.selected_path()).unwrap();
    assert_eq!(path.local_addr.ip(), second);
    env.soon(alice.close()).await.unwrap();
    env.soon(echoing.join()).await;
}
