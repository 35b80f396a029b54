//! The tools on offer, one line each.

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::entry;
use crate::api::ToolLine;
use crate::catalog::Kind;
use crate::catalog::view::Owner;
use crate::front::Shared;
use crate::rpc::object::Object;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    server: Option<String>,
}

pub(super) async fn list(State(front): State<Shared>, Query(which): Query<Which>) -> Response {
    if let Some(Err(refused)) = which.server.as_deref().map(|server| entry(&front, server)) {
        return refused;
    }
    let view = front.catalog.view();
    let wanted = |owner: &Owner| {
        which
            .server
            .as_deref()
            .is_none_or(|server| server == owner.server.as_str())
    };
    let lines: Vec<ToolLine> = view
        .list(Kind::Tools)
        .iter()
        .filter(|(_, owner)| wanted(owner))
        .map(|(name, owner)| ToolLine {
            name: name.to_owned(),
            server: owner.server.clone(),
            own_name: owner.own.clone(),
            description: description(&front, owner),
        })
        .collect();
    Json(lines).into_response()
}

fn description(front: &Shared, owner: &Owner) -> String {
    let snapshot = front.catalog.snapshot(&owner.server);
    let item = snapshot
        .as_ref()
        .and_then(|snapshot| snapshot.tools.iter().find(|item| item.key == owner.own));
    let text = item
        .and_then(|item| Object::of(&item.raw)?.get_string("description"))
        .unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}
