//! Many connections behind real sockets over loopback.

use rtc_tokio::rtc::peer_connection::configuration::RTCConfiguration;
use rtc_tokio::{DataChannel, EndpointBuilder, Error, PeerConnection, TokioRuntime};
use tokio::task::JoinSet;

use crate::{open, peer};

fn builder() -> EndpointBuilder<TokioRuntime> {
    rtc_tokio::endpoint().bind("127.0.0.1:0".parse().unwrap())
}

/// Connects clients, echoes with all of them at once, and closes them.
async fn serve(count: usize, make: impl Fn() -> Result<PeerConnection, Error>) {
    let mut clients = JoinSet::new();
    for number in 0..count {
        let server = make().unwrap();
        clients.spawn(async move {
            let client = peer();
            let (here, there) = open(&client, &server).await;
            let echo = tokio::spawn(echo(there));
            for index in 0..20 {
                let text = format!("{number}: {index} {}", "x".repeat(1000 * index));
                here.send(text.as_str()).await.unwrap();
                let answer = here.recv().await.unwrap().unwrap();
                assert_eq!(answer.as_str(), Some(&*text));
            }
            client.close().await.unwrap();
            echo.await.unwrap();
            drop(server);
        });
    }
    while let Some(result) = clients.join_next().await {
        result.unwrap();
    }
}

async fn echo(channel: DataChannel) {
    while let Some(Ok(message)) = channel.recv().await {
        if channel.send(message).await.is_err() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_peers_echo_on_one_port() {
    let endpoint = builder().build().unwrap();
    serve(50, || endpoint.peer_connection(RTCConfiguration::default())).await;
    assert_eq!(endpoint.local_addrs().len(), 1);
    endpoint.close().await.unwrap();
    assert_eq!(endpoint.peers(), 0);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_shares_a_port_and_every_peer_is_found() {
    let group = builder().build_group(3).unwrap();
    assert_eq!(group.local_addrs().len(), 1);
    serve(40, || group.peer_connection(RTCConfiguration::default())).await;
    let counters: Vec<_> = group.members().iter().map(|it| it.counters()).collect();
    assert!(counters.iter().any(|it| it.handed_over > 0), "{counters:?}");
    group.close().await.unwrap();
    assert_eq!(group.peers(), 0);
}

#[tokio::test]
async fn an_endpoint_that_is_dropped_gives_its_port_back() {
    let endpoint = builder().build().unwrap();
    let addr = endpoint.local_addrs()[0];
    assert!(std::net::UdpSocket::bind(addr).is_err());
    drop(endpoint);
    let metrics = tokio::runtime::Handle::current().metrics();
    while metrics.num_alive_tasks() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(std::net::UdpSocket::bind(addr).is_ok());
}
