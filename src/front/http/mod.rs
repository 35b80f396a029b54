//! The axum application: routes, who may use them, and what they share.
//!
//! | route | who | what |
//! | --- | --- | --- |
//! | `GET /health/live` | anybody | the daemon runs |
//! | `GET /`, `GET /health`, `GET /health/ready` | holders of the token, if there is one | what this is, how it is |
//! | `/mcp` | the same | Streamable HTTP |
//! | `GET /sse`, `POST /messages` | the same | HTTP+SSE of 2024-11-05 |
//! | `/api/…` | holders of the token only; on the socket its owner | control |
//!
//! Host and Origin are checked before everything else.

#![expect(
    clippy::result_large_err,
    reason = "a refusal is a response, made once and handed on"
)]

pub mod api;
pub mod batch;
pub mod door;
pub mod events;
pub mod guard;
pub mod headers;
pub mod health;
pub mod modern;
pub mod pieces;
pub mod resumable;
pub mod room;
pub mod sse;
pub mod streamable;

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::DefaultBodyLimit;
use axum::http::{Request, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use http_body_util::BodyExt;

use super::{BODY_BYTES_MAX, Shared};
use crate::rpc::{RpcError, message};
use crate::session::Session;

/// A body of announced length gets so much memory at once; it is used as the body comes.
const BODY_BYTES_AT_ONCE: usize = 4 << 20;

/// The door to the network.
pub fn network(front: Shared) -> door::NetworkDoor {
    let guarded = axum::Router::new()
        .route("/", get(health::what_this_is))
        .route("/health", get(health::health))
        .route("/health/ready", get(health::ready))
        .route("/sse", get(sse::open))
        .route("/messages", post(sse::message))
        .nest(
            "/api",
            api::routes().layer(middleware::from_fn_with_state(
                front.clone(),
                guard::token_holders_only,
            )),
        )
        .layer(middleware::from_fn_with_state(front.clone(), guard::token));
    let others = axum::Router::new()
        .route("/health/live", get(health::live))
        .merge(guarded)
        .layer(middleware::from_fn_with_state(
            front.clone(),
            guard::host_and_origin,
        ))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::clone(&front));
    door::NetworkDoor::new(front, others)
}

/// The door to the owner of the data folder, on the Unix socket.
pub fn control(front: Shared) -> axum::Router {
    axum::Router::new()
        .nest("/api", api::routes())
        .route("/health", get(health::health))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(front)
}

/// Reads a body of bounded length.
async fn read_body(mut body: Body) -> Result<axum::body::Bytes, Response> {
    let too_large = || {
        let text = format!("the body has more than the {BODY_BYTES_MAX} bytes allowed");
        refusal(StatusCode::PAYLOAD_TOO_LARGE, &RpcError::invalid_request(text))
    };
    let at_least = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    // Copied, so that the connection can read into the same memory again.
    let mut text = Vec::with_capacity(at_least.min(BODY_BYTES_AT_ONCE));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let error = RpcError::invalid_request(format!("the body could not be read: {error}"));
            refusal(StatusCode::BAD_REQUEST, &error)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > BODY_BYTES_MAX - text.len() {
            return Err(too_large());
        }
        text.extend_from_slice(&data);
    }
    Ok(text.into())
}

/// A refusal: a status, and a JSON-RPC error without an id as its body.
fn refusal(status: StatusCode, error: &RpcError) -> Response {
    json(status, message::response_line(None, &Err(error.raw())))
}

fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// The value of a header, if it is there once and is text.
fn header_text<'a>(request: &'a Request<Body>, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// What a request has changed of its session is written down before it is answered, so that it outlives the daemon.
async fn keep_changes(front: &Shared, session: &Session, request: &crate::rpc::Request) {
    use crate::rpc::mcp::method::{RESOURCES_SUBSCRIBE, RESOURCES_UNSUBSCRIBE, SET_LEVEL};
    if matches!(
        request.method.as_str(),
        SET_LEVEL | RESOURCES_SUBSCRIBE | RESOURCES_UNSUBSCRIBE
    ) {
        front.sessions.kept(session).await;
    }
}
