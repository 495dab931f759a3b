//! Descriptions and paths that change under a connection in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rtc::peer_connection::state::{RTCPeerConnectionState, RTCSignalingState};
use rtc_driver::{DataChannel, PeerConnection, Runtime};

use super::env::{Env, Join, message, signal};

/// Numbered messages in both directions, until it is told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    senders: Vec<Join<u32>>,
    receivers: Vec<Join<u32>>,
    received: [Arc<AtomicU32>; 2],
}

impl Traffic {
    fn begin<R: Runtime>(env: &Env<R>, channels: [DataChannel; 2]) -> Self {
        let mut traffic = Self {
            stop: Arc::default(),
            senders: Vec::new(),
            receivers: Vec::new(),
            received: Default::default(),
        };
        for (channel, count) in channels.into_iter().zip(&traffic.received) {
            let (sender, receiver) = (channel.clone(), channel);
            let (stop, count) = (Arc::clone(&traffic.stop), Arc::clone(count));
            let pauses = env.clone();
            traffic.senders.push(env.spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    sender.send(message(sent)).await.unwrap();
                    sent += 1;
                    pauses.sleep(Duration::from_millis(1)).await;
                }
                sender.send("end").await.unwrap();
                sent
            }));
            traffic.receivers.push(env.spawn(async move {
                for number in 0.. {
                    let received = receiver.recv().await.unwrap().unwrap();
                    if received.as_str() == Some("end") {
                        return number;
                    }
                    assert!(received.data[..] == message(number)[..], "message {number}");
                    count.fetch_add(1, Ordering::Relaxed);
                }
                unreachable!("there are fewer messages");
            }));
        }
        traffic
    }

    /// Waits until something new has come in both directions.
    async fn goes_on<R: Runtime>(&self, env: &Env<R>) {
        let count = || {
            let [a, b] = &self.received;
            [a.load(Ordering::Relaxed), b.load(Ordering::Relaxed)]
        };
        let before = count();
        env.until(|| count()[0] > before[0] + 3 && count()[1] > before[1] + 3)
            .await;
    }

    /// Nothing was lost.
    async fn end<R: Runtime>(self, env: &Env<R>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        for sender in self.senders {
            sent.push(env.soon(sender.join()).await);
        }
        for (receiver, sent) in self.receivers.into_iter().zip(sent.into_iter().rev()) {
            assert_eq!(env.soon(receiver.join()).await, sent);
        }
    }
}

pub(super) async fn offers_go_both_ways_while_data_flows<R: Runtime>(env: Env<R>) {
    let (alice, bob, here, there) = env.open().await;
    let traffic = Traffic::begin(&env, [here, there]);
    for round in 0..10 {
        let (offerer, answerer) = if round % 2 == 0 {
            (&alice, &bob)
        } else {
            (&bob, &alice)
        };
        env.soon(signal(offerer, answerer)).await;
        for peer in [offerer, answerer] {
            assert_eq!(peer.signaling_state(), RTCSignalingState::Stable);
            assert_eq!(peer.connection_state(), RTCPeerConnectionState::Connected);
        }
        traffic.goes_on(&env).await;
    }
    // An offer that is taken back changes nothing either.
    let offer = alice.create_offer(None).unwrap();
    alice.set_local_description(offer).unwrap();
    alice
        .set_local_description(rtc::peer_connection::sdp::RTCSessionDescription {
            sdp_type: rtc::peer_connection::sdp::RTCSdpType::Rollback,
            sdp: String::new(),
        })
        .unwrap();
    assert_eq!(alice.signaling_state(), RTCSignalingState::Stable);
    traffic.goes_on(&env).await;
    traffic.end(&env).await;
    env.soon(alice.close()).await.unwrap();
}

pub(super) async fn ice_restarts_while_data_flows<R: Runtime>(env: Env<R>) {
    let ufrag = |peer: &PeerConnection| {
        let sdp = peer.local_description().unwrap().sdp;
        let line = sdp.lines().find(|line| line.starts_with("a=ice-ufrag"));
        line.unwrap().to_owned()
    };
    let (alice, bob, here, there) = env.open().await;
    let traffic = Traffic::begin(&env, [here, there]);
    for round in 0..6 {
        let (offerer, answerer) = if round % 2 == 0 {
            (&alice, &bob)
        } else {
            (&bob, &alice)
        };
        let before = [ufrag(&alice), ufrag(&bob)];
        offerer.restart_ice().unwrap();
        env.soon(signal(offerer, answerer)).await;
        let after = [ufrag(&alice), ufrag(&bob)];
        assert!(before[0] != after[0] && before[1] != after[1]);
        traffic.goes_on(&env).await;
        env.soon(async {
            alice.connected().await.unwrap();
            bob.connected().await.unwrap();
        })
        .await;
    }
    traffic.end(&env).await;
    env.soon(bob.close()).await.unwrap();
}
