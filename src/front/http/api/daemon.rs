//! The daemon itself: how it is, what has happened, and reading the declarations again.

use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::refused;
use crate::api::{DaemonStatus, Parked, Stopping};
use crate::front::Shared;
use crate::ids::ServerName;

pub(super) async fn status(State(front): State<Shared>) -> Response {
    let settings = front.declarations.settings();
    let health = front.health().await;
    let mut problems = health.problems;
    if health.database != "ok" {
        problems.push(health.database);
    }
    let uptime = tokio::time::Instant::now().saturating_duration_since(front.started);
    Json(DaemonStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        url: front.url.clone(),
        health: health.status.to_owned(),
        sessions: front.sessions.len(),
        parked: parked(&front),
        data_dir: settings.data_dir.display().to_string(),
        servers_file: settings.servers_file.display().to_string(),
        problems,
    })
    .into_response()
}

fn parked(front: &Shared) -> Vec<Parked> {
    let counts = front.engine.parks().counts();
    counts
        .into_iter()
        .map(|(server, n)| Parked { server, n })
        .collect()
}

/// A server that is removed may take so long to go before the answer is given anyway.
const GONE_PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn reload(State(front): State<Shared>) -> Response {
    let reloaded = front.declarations.reload().await;
    // Whoever removes a server wants to hear that it is gone; one that does not go is not waited for.
    drop(tokio::time::timeout(GONE_PATIENCE, front.manager.removed_are_gone()).await);
    Json(reloaded).into_response()
}

/// Reads the keys again: when this is answered, who has none any more is out.
pub(super) async fn reload_keys(State(front): State<Shared>) -> Response {
    match front.reload_keys().await {
        Ok(n_gone) => Json(serde_json::json!({ "taken_back": n_gone })).into_response(),
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

/// The answer goes out before the doors close.
pub(super) async fn shutdown(State(front): State<Shared>) -> Response {
    tracing::info!("told to go down over the control API");
    front.told_to_stop.cancel();
    let pid = std::process::id();
    Json(Stopping { pid }).into_response()
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    server: Option<ServerName>,
    n: Option<usize>,
}

pub(super) async fn events(State(front): State<Shared>, Query(which): Query<Which>) -> Response {
    let n = which.n.unwrap_or(100);
    match front
        .declarations
        .registry()
        .events(which.server.as_ref(), n)
        .await
    {
        Ok(events) => Json(events).into_response(),
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}
