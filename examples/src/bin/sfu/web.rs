//! The page and its WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::get;
use tokio::sync::mpsc;
use tracing::debug;

use crate::Failure;
use crate::participant::{self, Page};
use crate::room::Room;
use crate::say;

pub(crate) async fn serve(listen: SocketAddr, room: Arc<Room>) -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    say(&format!(
        "Open http://{}/ in several windows.",
        listener.local_addr()?
    ));
    let router = Router::new()
        .route(
            "/signal",
            get(
                async |State(room): State<Arc<Room>>, upgrade: WebSocketUpgrade| {
                    upgrade
                        .max_message_size(MAX_MESSAGE)
                        .on_upgrade(move |socket| signal(room, socket))
                },
            ),
        )
        .with_state(room);
    Ok(axum::serve(listener, router).await?)
}

/// Carries JSON between a page and its participant, until one of them goes.
async fn signal(room: Arc<Room>, mut socket: WebSocket) {
    let (from_page, incoming) = mpsc::channel(16);
    let (outgoing, mut to_page) = mpsc::channel(16);
    let mut participant = tokio::spawn(participant::run(room, Page { incoming, outgoing }));
    loop {
        tokio::select! {
            message = to_page.recv() => {
                let text = message.and_then(|message| serde_json::to_string(&message).ok());
                let Some(text) = text else { break };
                if socket.send(Message::text(text)).await.is_err() {
                    break;
                }
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                    Ok(message) => drop(from_page.send(message).await),
                    Err(error) => debug!(%error, "a page talks nonsense"),
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
    drop((from_page, to_page));
    match (&mut participant).await {
        Ok(Err(error)) => debug!(%error, "a page was given up"),
        Ok(Ok(())) | Err(_) => {}
    }
}

/// A description with many tracks.
const MAX_MESSAGE: usize = 1 << 20;
