//! The axum application: routes, who may use them, and what they share.
//!
//! | route | who | what |
//! | --- | --- | --- |
//! | `GET /health/live` | anybody | the daemon runs |
//! | `GET /`, `GET /health`, `GET /health/ready` | clients | what this is, how it is |
//! | `/mcp` | clients | Streamable HTTP |
//! | `GET /sse`, `POST /messages` | clients | HTTP+SSE of 2024-11-05 |
//! | `/api/…` | admins; on the socket its owner | control |
//!
//! Clients are those who show a key or the token, where one is asked for; admins those whose key says so, and who has
//! the token. Host and Origin are checked before everything else.

#![expect(
    clippy::result_large_err,
    reason = "a refusal is a response, made once and handed on"
)]

pub mod api;
pub mod batch;
pub mod cors;
pub mod door;
pub mod events;
pub mod guard;
pub mod headers;
pub mod health;
mod lease;
pub mod limits;
pub mod modern;
pub mod pieces;
pub mod resumable;
pub mod room;
pub mod routes;
pub mod sse;
pub mod streamable;

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::DefaultBodyLimit;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use http_body_util::BodyExt;

use routes::{Route, Rule};

use super::{BODY_BYTES_MAX, Shared};
use crate::rpc::{RpcError, message};
use crate::session::Session;

/// A body of announced length gets so much memory at once; it is used as the body comes.
const BODY_BYTES_AT_ONCE: usize = 4 << 20;

/// All routes from the network but `/mcp`, which the door answers itself: it is for clients, as [`routes::Rule`] has it.
pub fn all() -> Vec<Route> {
    let mut all = vec![
        Route::new(Rule::Anybody, &["GET"], "/health/live", get(health::live)),
        Route::new(Rule::Clients, &["GET"], "/", get(health::what_this_is)),
        Route::new(Rule::Clients, &["GET"], "/health", get(health::health)),
        Route::new(Rule::Clients, &["GET"], "/health/ready", get(health::ready)),
        Route::new(Rule::Clients, &["GET"], "/sse", get(sse::open)),
        Route::new(Rule::Clients, &["POST"], "/messages", post(sse::message)),
    ];
    all.extend(api::routes());
    all
}

/// The door to the network.
pub fn network(front: Shared) -> door::Doors {
    let others = routes::ruled(all(), &front)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::clone(&front));
    door::Doors::new(front, others)
}

/// The door to the owner of the data folder, on the Unix socket.
pub fn control(front: Shared) -> axum::Router {
    let mut all = api::routes();
    all.push(Route::new(Rule::Admins, &["GET"], "/health", get(health::health)));
    routes::owned(all, &front)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(front)
}

/// The answer where there is no such route.
async fn not_found(uri: axum::http::Uri) -> Response {
    if uri.path().starts_with("/api") {
        return api::refused(StatusCode::NOT_FOUND, "there is no such control request");
    }
    StatusCode::NOT_FOUND.into_response()
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
