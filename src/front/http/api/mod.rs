//! The control API: the same handlers on the Unix socket and, for holders of the token, over TCP.
//!
//! Its words are in [`crate::api`], where `mcpctl` reads them too. One file a verb.

mod call;
mod daemon;
mod logs;
pub(super) mod servers;
mod sessions;
mod tools;
mod why;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::api::Refusal;
use crate::front::Shared;
use crate::supervise::Entry;

/// All routes, below `/api`.
pub(super) fn routes() -> axum::Router<Shared> {
    axum::Router::new()
        .route("/daemon", get(daemon::status))
        .route("/reload", post(daemon::reload))
        .route("/shutdown", post(daemon::shutdown))
        .route("/events", get(daemon::events))
        .route("/servers", get(servers::list))
        .route("/servers/{name}", get(servers::one))
        .route("/servers/{name}/start", post(servers::start))
        .route("/servers/{name}/stop", post(servers::stop))
        .route("/servers/{name}/restart", post(servers::restart))
        .route("/servers/{name}/why", get(why::why))
        .route("/servers/{name}/logs", get(logs::logs))
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}/disconnect", post(sessions::disconnect))
        .route("/tools", get(tools::list))
        .route("/call", post(call::call))
        .fallback(|| async { refused(StatusCode::NOT_FOUND, "there is no such control request") })
}

fn refused(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(Refusal { error: error.into() })).into_response()
}

fn entry(front: &Shared, name: &str) -> Result<Entry, Response> {
    let found = front.manager.directory().borrow().get(name).cloned();
    found.ok_or_else(|| {
        let known: Vec<String> = front
            .manager
            .directory()
            .borrow()
            .iter()
            .map(|entry| entry.spec.name.to_string())
            .collect();
        let known = if known.is_empty() {
            "none is declared".to_owned()
        } else {
            known.join(", ")
        };
        refused(
            StatusCode::NOT_FOUND,
            format!("no server is called `{name}`; there are: {known}"),
        )
    })
}
