//! How the daemon is, for people, scripts and orchestrators. Health tells the truth: what does not run is named.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::api::servers::{calls, next_try_ms};
use crate::access::Principal;
use crate::child::status::ChildStatus;
use crate::front::Front;
use crate::front::Shared;
use crate::ids::ServerName;
use crate::supervise::Entry;

/// How the daemon is.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// `healthy`, `starting` or `unhealthy`.
    pub status: &'static str,
    /// Milliseconds since 1970.
    pub timestamp: u64,
    /// Version of the program.
    pub version: &'static str,
    /// `ok`, or what is wrong with the registry.
    pub database: String,
    /// The children, counted.
    pub servers: Counts,
    /// Servers that should run and do not, by name.
    pub degraded: Vec<String>,
    /// The same, in the same order, with what callers get from them now.
    pub circuits: Vec<Circuit>,
    /// What is wrong with the declarations; the last good ones are in force.
    pub problems: Vec<String>,
}

/// A server that should run and does not.
#[derive(Debug, Clone, Serialize)]
pub struct Circuit {
    /// Its name.
    pub server: String,
    /// Its state, as in the control API.
    pub state: &'static str,
    /// Whether the present process is the one attempt after too many failures.
    pub half_open: bool,
    /// What becomes of a call that comes now, in a few words.
    pub calls: String,
    /// Milliseconds until the next attempt, where one is due.
    pub next_try_ms: Option<u64>,
}

/// The children, counted.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Declared and wanted.
    pub enabled: usize,
    /// Taking calls.
    pub ready: usize,
    /// On their way to that. The daemon as a whole is `starting` only until those have had their first chance that
    /// were declared when it was started.
    pub starting: usize,
    /// Not needed now, or told to rest.
    pub resting: usize,
}

impl Front {
    /// Whether a server was declared, to run at once, when the daemon opened its doors.
    fn is_of_the_first(&self, server: &ServerName) -> bool {
        self.first.get().is_some_and(|first| first.contains(server))
    }

    /// How the daemon is now.
    pub async fn health(&self) -> Health {
        let database = self.declarations.registry().check().await;
        let mut servers = Counts::default();
        let mut is_starting = false;
        let (mut degraded, mut circuits) = (Vec::new(), Vec::new());
        let now = Instant::now();
        for entry in self.manager.directory().borrow().iter() {
            let status = entry.child.status();
            if status.state == "disabled" {
                continue;
            }
            servers.enabled += 1;
            match status.state {
                "ready" => servers.ready += 1,
                "idle" | "stopped" => servers.resting += 1,
                "spawning" | "handshaking" if status.n_failures == 0 => {
                    servers.starting += 1;
                    // One that is added, restarted or called for later takes nothing away from those that run.
                    is_starting |= status.generation.0 <= 1 && self.is_of_the_first(&entry.spec.name);
                }
                _not_well => {
                    degraded.push(entry.spec.name.to_string());
                    circuits.push(circuit(entry, &status, now));
                }
            }
        }
        let none_runs = !degraded.is_empty() && servers.ready == 0;
        let status = if database.is_err() || self.closing.is_cancelled() {
            "unhealthy"
        } else if is_starting {
            "starting"
        } else if none_runs {
            "unhealthy"
        } else {
            "healthy"
        };
        let database = database.map_or_else(|error| error.to_string(), |_revision| "ok".to_owned());
        let timestamp = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        Health {
            status,
            timestamp: u64::try_from(timestamp).unwrap_or(u64::MAX),
            version: env!("CARGO_PKG_VERSION"),
            database,
            servers,
            degraded,
            circuits,
            problems: self.declarations.problems(),
        }
    }
}

fn circuit(entry: &Entry, status: &ChildStatus, now: Instant) -> Circuit {
    Circuit {
        server: entry.spec.name.to_string(),
        state: status.state,
        half_open: status.on_probation,
        calls: calls(entry, now),
        next_try_ms: next_try_ms(status, now),
    }
}

/// `GET /health`: 200 when healthy, else 503; the body says why.
pub async fn health(
    State(front): State<Shared>,
    Extension(principal): Extension<Arc<Principal>>,
) -> Response {
    let health = front.health().await;
    let status = if health.status == "healthy" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if principal.scope.is_some() {
        // Whose key does not reach all servers hears of none of them here.
        let short =
            json!({ "status": health.status, "timestamp": health.timestamp, "version": health.version });
        return (status, Json(short)).into_response();
    }
    (status, Json(health)).into_response()
}

/// `GET /health/live`: the daemon runs and answers. Needs no token and tells nothing else.
pub async fn live() -> Response {
    Json(json!({ "status": "alive" })).into_response()
}

/// `GET /health/ready`: 200 once every server has had its first chance, and while new requests are taken.
pub async fn ready(State(front): State<Shared>) -> Response {
    let health = front.health().await;
    let is_ready = health.status != "starting" && health.database == "ok" && !front.closing.is_cancelled();
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({ "ready": is_ready, "status": health.status })),
    )
        .into_response()
}

/// `GET /`: what this is.
pub async fn what_this_is(State(front): State<Shared>) -> Response {
    Json(json!({
        "name": "mcp-wrapper",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "one supervised MCP endpoint in front of many stdio MCP servers",
        "endpoints": {
            "mcp": front.url,
            "sse": "/sse",
            "health": "/health",
        },
        "protocolVersions": ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"],
    }))
    .into_response()
}
