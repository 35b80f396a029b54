//! Who is connected, and the end of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::refused;
use crate::api::{Connected, SessionStatus};
use crate::front::Shared;
use crate::rpc::Raw;
use crate::rpc::object::Object;
use crate::session::Session;

pub(super) async fn list(State(front): State<Shared>) -> Response {
    let now = Instant::now();
    let all = front.sessions.list();
    Json(Connected {
        sessions: all.iter().map(|session| status(session, now)).collect(),
        n_requests_without: front.sessions.listeners().n_requests(),
    })
    .into_response()
}

/// Ends a session: its calls are cancelled, its streams end. A client may open another.
pub(super) async fn disconnect(State(front): State<Shared>, Path(id): Path<String>) -> Response {
    let mut found = front.sessions.list();
    found.retain(|session| !id.is_empty() && session.id.as_str().starts_with(&id));
    match found.as_slice() {
        [session] => {
            let told = status(session, Instant::now());
            front.sessions.end(session).await;
            Json(told).into_response()
        }
        [] => refused(
            StatusCode::NOT_FOUND,
            format!("no session begins with `{id}`; `mcpctl sessions` lists them"),
        ),
        several => refused(
            StatusCode::CONFLICT,
            format!(
                "{} sessions begin with `{id}`; give more of the id",
                several.len()
            ),
        ),
    }
}

fn status(session: &Arc<Session>, now: Instant) -> SessionStatus {
    let known = session.known();
    let info = known.as_ref().and_then(|known| known.client_info.as_ref());
    SessionStatus {
        id: session.id.short().to_owned(),
        door: session.door.told().to_owned(),
        client: info.map(named),
        revision: known.map(|known| known.revision.as_str().to_owned()),
        age_ms: session.age_ms(now),
        idle_ms: session.idle_ms(now),
        n_inflight: session.n_inflight(),
        n_streams: session.n_streams(),
    }
}

fn named(info: &Raw) -> String {
    let object = Object::of(info);
    let text = |name| object.as_ref().and_then(|object| object.get_string(name));
    let name = text("name").unwrap_or_default();
    match text("version") {
        Some(version) => format!("{name} {version}"),
        None => name,
    }
}
