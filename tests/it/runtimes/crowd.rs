//! Many peers on one port.

use rtc_driver::{Endpoint, Runtime};

use super::env::{Env, echo};

/// Each connects, has its messages echoed by the others' neighbour, and goes; in the end the endpoint
/// is empty, and goes too.
pub(super) async fn two_hundred_peers_share_one_endpoint<R: Runtime>(env: Env<R>) {
    const PEERS: u32 = 200;
    /// Of those who connect at the same time.
    const GROUP: u32 = 50;
    let endpoint = Endpoint::builder(env.b.probe.clone())
        .bind((env.b.ips[0], 0).into())
        .build()
        .unwrap();
    assert_eq!(endpoint.local_addrs().len(), 1);
    let mut held = Vec::new();
    for group in 0..PEERS / GROUP {
        let joining: Vec<_> = (0..GROUP)
            .map(|number| {
                let (env, endpoint) = (env.clone(), endpoint.clone());
                let name = format!("peer {number} of group {group}");
                env.clone().spawn(async move {
                    let alice = env.a.peer();
                    let bob = endpoint.peer_connection(env.b.configuration()).unwrap();
                    let (here, there) = super::env::open(&alice, &bob).await;
                    let echoing = env.spawn(echo(there));
                    for turn in 0..5 {
                        let text = format!("{name}: {turn}");
                        here.send(text.as_str()).await.unwrap();
                        let answer = here.recv().await.unwrap().unwrap();
                        assert_eq!(answer.as_str(), Some(&*text));
                    }
                    (alice, bob, here, echoing)
                })
            })
            .collect();
        for peer in joining {
            held.push(env.soon(peer.join()).await);
        }
    }
    assert_eq!(endpoint.peers(), PEERS as usize);
    assert_eq!(env.b.probe.sockets(), 1);
    // All of them at once, and half of them are closed from the other side.
    for (number, (_, _, here, _)) in held.iter().enumerate() {
        here.send(number.to_string().as_str()).await.unwrap();
    }
    env.calm().await;
    for (number, (alice, bob, here, echoing)) in held.into_iter().enumerate() {
        let answer = env.soon(here.recv()).await.unwrap().unwrap();
        assert_eq!(answer.as_str(), Some(&*number.to_string()));
        let closes = if number % 2 == 0 { &alice } else { &bob };
        env.soon(closes.close()).await.unwrap();
        env.soon(echoing.join()).await;
    }
    env.until(|| endpoint.peers() == 0).await;
    drop(endpoint);
}
