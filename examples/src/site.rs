//! The web server of the examples.

use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Json};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, get, post};
use rtc::peer_connection::sdp::RTCSessionDescription;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::debug;

/// The style sheet of all pages.
pub const PAGE_CSS: &str = include_str!("site/page.css");

/// The script of a page that shows a track of video and one of audio, and sends nothing.
pub const PLAYER_JS: &str = include_str!("site/player.js");

/// The page of an example, and whatever else it serves.
#[derive(Debug)]
pub struct Site {
    router: Router,
}

/// Why there is no page.
#[derive(Debug, Error)]
pub enum SiteError {
    /// The address cannot be had.
    #[error("cannot listen on {addr}: {error}; choose another address with --listen")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The server has ended.
    #[error("the web server failed: {0}")]
    Serve(io::Error),
}

impl Site {
    /// A page of this HTML, which finds `page.css`, its own script as `page.js`, and `signaling.js`.
    #[must_use]
    pub fn new(html: &'static str, script: &'static str) -> Self {
        const JS: &str = "text/javascript";
        let router = Router::new()
            .route("/", file("text/html; charset=utf-8", html))
            .route("/page.js", file(JS, script))
            .route("/page.css", file("text/css", PAGE_CSS))
            .route("/signaling.js", file(JS, include_str!("site/signaling.js")));
        Self { router }
    }

    /// Serves something else besides.
    #[must_use]
    pub fn route(mut self, path: &str, service: MethodRouter) -> Self {
        self.router = self.router.route(path, service);
        self
    }

    /// Serves until Ctrl-C.
    ///
    /// # Errors
    /// [`SiteError`]
    pub async fn serve(self, addr: SocketAddr) -> Result<(), SiteError> {
        let listen = |error| SiteError::Listen { addr, error };
        let listener = TcpListener::bind(addr).await.map_err(listen)?;
        let local = listener.local_addr().map_err(listen)?;
        crate::say(&format!(
            "Open {} in a browser. Ctrl-C ends the program.",
            url(local)
        ));
        tokio::select! {
            served = axum::serve(listener, self.router) => served.map_err(SiteError::Serve),
            () = interrupted() => Ok(()),
        }
    }
}

/// Answers offers that pages post, with every candidate in the answer, so that this is all the
/// signalling. What goes wrong is shown by the page.
pub fn session<F, A, E>(answer: F) -> MethodRouter
where
    F: Fn(RTCSessionDescription) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<RTCSessionDescription, E>> + Send,
    E: Display,
{
    let respond = async move |offer: Result<Json<RTCSessionDescription>, JsonRejection>| {
        let refuse = |status: StatusCode, error: String| {
            (status, Json(json!({ "error": error }))).into_response()
        };
        let offer = match offer {
            Ok(Json(offer)) => offer,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, error.body_text()),
        };
        match answer(offer).await {
            Ok(answer) => Json(answer).into_response(),
            Err(error) => refuse(StatusCode::BAD_REQUEST, error.to_string()),
        }
    };
    post(respond).layer(DefaultBodyLimit::max(MAX_OFFER))
}

/// A WebSocket of JSON: `serve` gets what the page says and what says something to the page, in a task
/// of its own. When the page goes, the messages end; when `serve` returns, the socket is closed.
pub fn signal<I, O, F, S, E>(serve: F) -> MethodRouter
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    F: Fn(Receiver<I>, Sender<O>) -> S + Clone + Send + Sync + 'static,
    S: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    get(async move |upgrade: WebSocketUpgrade| {
        let upgrade = upgrade.max_message_size(MAX_MESSAGE);
        upgrade.on_upgrade(async move |socket| {
            let (from_page, incoming) = channel(QUEUE);
            let (outgoing, to_page) = channel(QUEUE);
            let serving = tokio::spawn(serve(incoming, outgoing));
            carry(socket, from_page, to_page).await;
            if let Ok(Err(error)) = serving.await {
                crate::complain(&format!("a page was given up: {error}"));
            }
        })
    })
}

async fn carry<I: DeserializeOwned, O: Serialize>(
    mut socket: WebSocket,
    from_page: Sender<I>,
    mut to_page: Receiver<O>,
) {
    loop {
        tokio::select! {
            message = to_page.recv() => {
                let text = message.and_then(|message| serde_json::to_string(&message).ok());
                let Some(text) = text else { return };
                if socket.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                    Ok(message) => if from_page.send(message).await.is_err() { return },
                    Err(error) => debug!(%error, "a page talks nonsense"),
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}

/// A part of the page, out of the program itself.
pub fn file<S>(content_type: &'static str, text: &'static str) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
        connect-src 'self'; media-src 'self' blob: mediastream:; img-src data:; base-uri 'none'; \
        form-action 'none'; frame-ancestors 'none'";
    get(async move || {
        let headers = [
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (CONTENT_TYPE, content_type),
        ];
        (headers, text)
    })
}

/// An address that a browser can open: a wildcard is none.
#[must_use]
pub fn url(addr: SocketAddr) -> String {
    match addr {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            format!("http://{}:{}/", Ipv4Addr::LOCALHOST, addr.port())
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("http://[::1]:{}/", addr.port()),
        addr => format!("http://{addr}/"),
    }
}

/// Ready when the program is to end: Ctrl-C, or a signal of a service manager.
pub async fn interrupted() {
    let interrupt = async {
        // Without a handler the system ends the program, which is what was asked for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<Option<()>>();
    tokio::select! {
        () = interrupt => {}
        _ = terminate => {}
    }
}

/// An offer of a camera in three layers is 8 KiB; many interfaces make it longer.
const MAX_OFFER: usize = 64 * 1024;

/// A description with many tracks.
const MAX_MESSAGE: usize = 1 << 20;

/// Messages that wait for a page, or for the task that serves it.
const QUEUE: usize = 16;
