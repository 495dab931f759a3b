//! The page, the offers that it posts, and the end of the program.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Json, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use rtc::peer_connection::sdp::RTCSessionDescription;
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::room;
use crate::say;
use crate::session::{OfferError, Sessions};

/// Why the program cannot run.
#[derive(Debug, Error)]
pub(crate) enum ServerError {
    #[error("{0} is taken by another program; choose another address with --listen")]
    Taken(SocketAddr),
    #[error("cannot listen on {addr}: {error}")]
    Listen { addr: SocketAddr, error: io::Error },
    #[error("the web server failed: {0}")]
    Serve(io::Error),
}

/// Serves until Ctrl-C, then tells every page that it is over.
pub(crate) async fn run(addr: SocketAddr) -> Result<(), ServerError> {
    let listener = TcpListener::bind(addr)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => ServerError::Taken(addr),
            _ => ServerError::Listen { addr, error },
        })?;
    let local = listener
        .local_addr()
        .map_err(|error| ServerError::Listen { addr, error })?;
    let sessions = Sessions::new();
    room::read_terminal(sessions.room().clone());
    say(&format!("Open {} in a browser.", url(local)));
    say("Lines typed here go to every page. Ctrl-C ends the program.");

    let stop = {
        let sessions = sessions.clone();
        async move {
            interrupted().await;
            sessions.stop();
        }
    };
    let serving = axum::serve(listener, router(sessions.clone())).with_graceful_shutdown(stop);
    // A request that a browser never finishes is not waited for.
    tokio::select! {
        served = serving => served.map_err(ServerError::Serve)?,
        () = sessions.stopped_for(GRACE) => {}
    }
    // Sessions bound the time of their farewell themselves.
    sessions.ended().await;
    Ok(())
}

fn router(sessions: Sessions) -> Router {
    Router::new()
        .route(
            "/",
            file("text/html; charset=utf-8", include_str!("page.html")),
        )
        .route(
            "/page.css",
            file("text/css", include_str!("../../site/page.css")),
        )
        .route("/page.js", file("text/javascript", include_str!("page.js")))
        .route(
            "/throughput.js",
            file("text/javascript", include_str!("throughput.js")),
        )
        .route("/plot.js", file("text/javascript", include_str!("plot.js")))
        .route(
            "/offer",
            post(offer).layer(DefaultBodyLimit::max(MAX_OFFER)),
        )
        .with_state(sessions)
}

/// A part of the page, out of the program itself.
fn file(content_type: &'static str, text: &'static str) -> MethodRouter<Sessions> {
    const HEADERS: [(HeaderName, &str); 2] = [
        (CACHE_CONTROL, "no-cache"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ];
    get(move || async move { (HEADERS, [(CONTENT_TYPE, content_type)], text) })
}

/// The page's offer; the answer has every candidate in it, so that this is all the signalling.
async fn offer(
    State(sessions): State<Sessions>,
    offer: Result<Json<RTCSessionDescription>, JsonRejection>,
) -> Result<Json<RTCSessionDescription>, Refusal> {
    let Json(offer) = offer?;
    Ok(Json(sessions.answer(offer).await?))
}

/// Why there is no answer, as the page shows it: `{"error":"…"}`.
struct Refusal {
    status: StatusCode,
    error: String,
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        // What is wrong with the JSON is a bad request, whatever axum makes of it.
        let status = match rejection.status() {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        };
        Self {
            status,
            error: format!("That is no session description: {}", rejection.body_text()),
        }
    }
}

impl From<OfferError> for Refusal {
    fn from(error: OfferError) -> Self {
        let status = match error {
            OfferError::NotAnOffer(_) | OfferError::Refused(_) => StatusCode::BAD_REQUEST,
            OfferError::Full | OfferError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            OfferError::Connection(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            error: error.to_string(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error }))).into_response()
    }
}

/// An address that a browser can open: a wildcard is none.
fn url(addr: SocketAddr) -> String {
    match addr {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            format!("http://{}:{}/", Ipv4Addr::LOCALHOST, addr.port())
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("http://[::1]:{}/", addr.port()),
        addr => format!("http://{addr}/"),
    }
}

/// Ready when the program is to end: Ctrl-C, or a signal of a service manager.
async fn interrupted() {
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

/// How long requests under way may take after Ctrl-C.
const GRACE: Duration = Duration::from_secs(2);

/// An offer of two data channels is 2 KiB; many interfaces make it longer.
const MAX_OFFER: usize = 64 * 1024;
