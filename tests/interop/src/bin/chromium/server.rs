//! The page and the WebSocket to it, on a loopback port of its own.

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rtc_interop::lines::Line;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// The page's files and their types.
const FILES: [(&str, &str, &str); 6] = [
    (
        "index.html",
        "text/html",
        include_str!("../../../page/index.html"),
    ),
    (
        "main.js",
        "text/javascript",
        include_str!("../../../page/main.js"),
    ),
    (
        "agent.js",
        "text/javascript",
        include_str!("../../../page/agent.js"),
    ),
    (
        "data.js",
        "text/javascript",
        include_str!("../../../page/data.js"),
    ),
    (
        "media.js",
        "text/javascript",
        include_str!("../../../page/media.js"),
    ),
    (
        "util.js",
        "text/javascript",
        include_str!("../../../page/util.js"),
    ),
];

/// What comes from the page.
#[derive(Debug)]
pub(crate) enum FromPage {
    /// The page is there and has been told what to do.
    Connected,
    /// A line for the runner, and its text.
    Line(Line, String),
    /// What the page has to say for the log.
    Complaint(String),
    /// The page closed its socket.
    Gone,
}

/// Serves the page to one browser.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    to_page: mpsc::UnboundedSender<String>,
    from_page: mpsc::UnboundedReceiver<FromPage>,
}

impl Server {
    /// Listens on a free port of 127.0.0.1; the page gets `start` as its first message.
    pub(crate) async fn bind(start: &str) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the page cannot be served: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let (to_page, outgoing) = mpsc::unbounded_channel();
        let (incoming, from_page) = mpsc::unbounded_channel();
        // The first message is queued before anything else can be.
        let _ = to_page.send(start.to_owned());
        let ends: Ends = Arc::new(Mutex::new(Some((outgoing, incoming))));
        let router = Router::new()
            .route("/", get(async || file(Path("index.html".to_owned())).await))
            .route("/ws", get(upgrade))
            .route("/{file}", get(file))
            .with_state(ends);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            addr,
            to_page,
            from_page,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    pub(crate) fn send(&self, message: &Value) {
        let _ = self.to_page.send(message.to_string());
    }

    pub(crate) async fn receive(&mut self) -> FromPage {
        self.from_page.recv().await.unwrap_or(FromPage::Gone)
    }
}

type Ends = Arc<
    Mutex<
        Option<(
            mpsc::UnboundedReceiver<String>,
            mpsc::UnboundedSender<FromPage>,
        )>,
    >,
>;

async fn file(Path(wanted): Path<String>) -> Response {
    match FILES.iter().find(|(name, ..)| *name == wanted) {
        Some((_, kind, text)) => ([(header::CONTENT_TYPE, *kind)], *text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn upgrade(State(ends): State<Ends>, upgrade: WebSocketUpgrade) -> Response {
    match ends.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some((outgoing, incoming)) => upgrade
            .max_message_size(16 << 20)
            .on_upgrade(move |socket| talk(socket, outgoing, incoming)),
        // The page is loaded once.
        None => StatusCode::CONFLICT.into_response(),
    }
}

async fn talk(
    mut socket: WebSocket,
    mut outgoing: mpsc::UnboundedReceiver<String>,
    incoming: mpsc::UnboundedSender<FromPage>,
) {
    let _ = incoming.send(FromPage::Connected);
    loop {
        let message = tokio::select! {
            text = outgoing.recv() => match text {
                Some(text) => match socket.send(Message::Text(text.into())).await {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                None => return,
            },
            message = socket.recv() => message,
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                if incoming.send(crate::read_page(text.as_str())).is_err() {
                    return;
                }
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            Some(Ok(_)) => {}
        }
    }
}
