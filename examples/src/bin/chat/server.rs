//! The page, the offers that it posts, and the end of the program.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc_examples::{file, interrupted, say, url};
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::room;
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
        .route("/page.css", file("text/css", rtc_examples::PAGE_CSS))
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

/// How long requests under way may take after Ctrl-C.
const GRACE: Duration = Duration::from_secs(2);

/// An offer of two data channels is 2 KiB; many interfaces make it longer.
const MAX_OFFER: usize = 64 * 1024;
