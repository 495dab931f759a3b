use std::time::Duration;

use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::event::RTCPeerConnectionEvent::OnConnectionStateChangeEvent;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState::{Closed, Failed};
use rtc_tokio::{Error, PeerConnection};
use tokio::time::timeout;

/// A connection with these codecs to a page, perhaps one on this machine.
///
/// # Errors
/// Those of `build`.
pub fn peer(engine: MediaEngine) -> Result<PeerConnection, Error> {
    let configuration = RTCConfigurationBuilder::new()
        .with_media_engine(engine)
        .build();
    // Browsers on this machine may have no other address in common with us.
    rtc_tokio::builder()
        .with_loopback(true)
        .with_configuration(configuration)
        .build()
}

/// Answers an offer, with every candidate in the answer. Once the page is connected, `serve` runs in a task
/// of its own; when it returns, the connection is closed.
///
/// # Errors
/// Those of an offer that cannot be answered.
pub async fn answer<S>(
    connection: PeerConnection,
    offer: RTCSessionDescription,
    serve: impl FnOnce(PeerConnection) -> S,
) -> Result<RTCSessionDescription, Error>
where
    S: Future<Output = ()> + Send + 'static,
{
    connection.set_remote_description(offer)?;
    connection.set_local_description(None)?;
    let answer = connection.gathering_complete().await?;
    let serving = serve(connection.clone());
    tokio::spawn(async move {
        match timeout(CONNECT_TIMEOUT, connection.connected()).await {
            Ok(Ok(())) => serving.await,
            Ok(Err(_)) | Err(_) => crate::complain("a page did not connect"),
        }
        // Nobody is left to tell when this fails.
        let _ = connection.close().await;
    });
    Ok(answer)
}

/// Ready when the page has gone.
pub async fn gone(connection: &PeerConnection) {
    let mut events = connection.events();
    while let Some(event) = events.next().await {
        if matches!(event, OnConnectionStateChangeEvent(Closed | Failed)) {
            return;
        }
    }
}

/// How long a page may take from its offer to a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
