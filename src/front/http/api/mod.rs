//! The control API: the same handlers on the Unix socket and, for admins, over TCP.
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

use super::routes::{Route, Rule};
use crate::api::Refusal;
use crate::front::Shared;
use crate::supervise::Entry;

/// All routes.
pub(super) fn routes() -> Vec<Route> {
    let reads = |path, handler| Route::new(Rule::Admins, &["GET"], path, handler);
    let acts = |path, handler| Route::new(Rule::Admins, &["POST"], path, handler);
    vec![
        reads("/api/daemon", get(daemon::status)),
        acts("/api/reload", post(daemon::reload)),
        acts("/api/shutdown", post(daemon::shutdown)),
        reads("/api/events", get(daemon::events)),
        acts("/api/keys/reload", post(daemon::reload_keys)),
        reads("/api/servers", get(servers::list)),
        reads("/api/servers/{name}", get(servers::one)),
        acts("/api/servers/{name}/start", post(servers::start)),
        acts("/api/servers/{name}/stop", post(servers::stop)),
        acts("/api/servers/{name}/restart", post(servers::restart)),
        reads("/api/servers/{name}/why", get(why::why)),
        reads("/api/servers/{name}/logs", get(logs::logs)),
        reads("/api/sessions", get(sessions::list)),
        acts("/api/sessions/{id}/disconnect", post(sessions::disconnect)),
        reads("/api/tools", get(tools::list)),
        acts("/api/call", post(call::call)),
    ]
}

pub(super) fn refused(status: StatusCode, error: impl Into<String>) -> Response {
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
