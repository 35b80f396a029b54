//! The story of one server: what happened, what it said, where it was looked for, and what to try.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

use super::entry;
use super::servers::{shown, status};
use crate::advice::{advice_for, advice_for_disabled};
use crate::api::Why;
use crate::child::program;
use crate::config::spec::Launch;
use crate::event::{SupervisionEvent, What};
use crate::front::Shared;

const N_EVENTS: usize = 40;
const N_STDERR_LINES: usize = 20;

pub(super) async fn why(State(front): State<Shared>, Path(name): Path<String>) -> Response {
    let entry = match entry(&front, &name) {
        Ok(entry) => entry,
        Err(refused) => return refused,
    };
    let server = status(&front, &entry);
    // What the registry cannot tell now is left out; the rest of the story is still worth telling.
    let events = front
        .declarations
        .registry()
        .events(Some(&server.name), N_EVENTS)
        .await
        .unwrap_or_default();
    // Where an earlier definition runs, the story is about the new one that does not.
    let (spec, child) = match &entry.successor {
        Some(trial) => (&trial.spec, &trial.child),
        None => (&entry.spec, &entry.child),
    };
    let mut stderr = child.tail().last(N_STDERR_LINES);
    if stderr.is_empty() {
        // It has said nothing to this daemon: its last words to the one before.
        stderr = last_words(&events).to_vec();
    }
    let surroundings = front.manager.surroundings();
    let program_found = match &spec.launch {
        Launch::Command(command) => program::find(command, &surroundings.path).ok(),
        Launch::Broken { .. } => None,
    };
    let command = shown(&spec.launch);
    let cause = child.status().cause;
    let advice = match cause {
        _ if !spec.enabled => advice_for_disabled(&server.name),
        Some(cause) => advice_for(&server.name, &cause, &command, &stderr),
        None => Vec::new(),
    };
    Json(Why {
        log_file: surroundings
            .log_dir
            .join("children")
            .join(format!("{}.log", server.name))
            .display()
            .to_string(),
        server,
        events,
        stderr,
        path_searched: surroundings.path.to_string(),
        program_found: program_found.map(|file| file.display().to_string()),
        advice,
    })
    .into_response()
}

fn last_words(events: &[SupervisionEvent]) -> &[String] {
    let told = events.iter().rev().find_map(|event| {
        let What::Gone { stderr, .. } = &event.what else {
            return None;
        };
        (!stderr.is_empty()).then_some(stderr.as_slice())
    });
    told.unwrap_or_default()
}
