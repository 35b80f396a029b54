//! Servers: how they are; start, stop, restart.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::{entry, refused};
use crate::api::{N_OWNED_MAX, OwnedStatus, Probe, ServerStatus, Trial};
use crate::bridge::errors::refusal_code;
use crate::catalog::Kind;
use crate::child::status::{ChildStatus, Fate, Gate};
use crate::child::verdict::Certainty;
use crate::child::{Child, Control};
use crate::config::spec::{Launch, Sharing};
use crate::event::kept;
use crate::front::Shared;
use crate::rpc::mcp::Era;
use crate::supervise::Entry;
use crate::supervise::succession::why_not;

pub(super) async fn list(State(front): State<Shared>) -> Response {
    let directory = front.manager.directory().borrow().clone();
    let all: Vec<ServerStatus> = directory.iter().map(|entry| status(&front, entry)).collect();
    Json(all).into_response()
}

pub(super) async fn one(State(front): State<Shared>, Path(name): Path<String>) -> Response {
    match entry(&front, &name) {
        Ok(entry) => {
            lists_fetched(&front, &entry).await;
            Json(status(&front, &entry)).into_response()
        }
        Err(refused) => refused,
    }
}

pub(super) async fn start(State(front): State<Shared>, Path(name): Path<String>) -> Response {
    change(&front, &name, Control::Start, is_settled_up).await
}

pub(super) async fn stop(State(front): State<Shared>, Path(name): Path<String>) -> Response {
    change(&front, &name, Control::Stop, is_down).await
}

pub(super) async fn restart(State(front): State<Shared>, Path(name): Path<String>) -> Response {
    change(&front, &name, Control::Restart, is_settled_up).await
}

/// Tells the child, and waits until it has come where it was sent, or somewhere else for good.
async fn change(
    front: &Shared,
    name: &str,
    control: Control,
    is_done: fn(&ChildStatus, u64) -> bool,
) -> Response {
    let entry = match entry(front, name) {
        Ok(entry) => entry,
        Err(refused) => return refused,
    };
    if !entry.spec.enabled {
        let text = format!("server `{name}` is disabled; `mcpctl enable {name}` first");
        return refused(StatusCode::CONFLICT, text);
    }
    let mut states = entry.child.watch();
    let before = match control {
        // A restart is done when there is a newer process than now.
        Control::Restart => states.borrow_and_update().generation.0,
        Control::Enable
        | Control::Disable
        | Control::Start
        | Control::Stop
        | Control::Demand
        | Control::Idle
        | Control::MeetAnew(_)
        | Control::Shutdown
        | Control::Retire
        | Control::Yield => 0,
    };
    entry.child.tell(control).await;
    if let Some(trial) = &entry.successor {
        trial.child.tell(control).await;
    }
    if control != Control::Start {
        for other in entry.instances.take_all() {
            other.tell(Control::Retire).await;
        }
    }
    let policy = entry.child.policy();
    let patience = policy.start_timeout + policy.drain_timeout + policy.eof_grace + policy.term_grace + SPARE;
    let done = states.wait_for(|status| is_done(status, before));
    drop(tokio::time::timeout(patience, done).await);
    // Another definition may have taken over meanwhile.
    let entry = super::entry(front, name).unwrap_or(entry);
    lists_fetched(front, &entry).await;
    Json(status(front, &entry)).into_response()
}

/// A server that has just become ready has its lists in a moment; "0 tools" would be wrong until then.
async fn lists_fetched(front: &Shared, entry: &Entry) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let child = entry.child.status();
    if child.state == "ready" {
        let fetched = front.catalog.fetched(&entry.spec.name, child.generation);
        // A server that is slow to list is shown as it is.
        drop(tokio::time::timeout(PATIENCE, fetched).await);
    }
}

const SPARE: Duration = Duration::from_secs(5);

fn is_settled_up(status: &ChildStatus, generation_before: u64) -> bool {
    status.is_stuck()
        || status.generation.0 > generation_before && matches!(status.state, "ready" | "failed" | "backoff")
}

fn is_down(status: &ChildStatus, _generation_before: u64) -> bool {
    status.is_stuck() || matches!(status.state, "stopped" | "disabled")
}

/// One server as people see it.
pub(super) fn status(front: &Shared, entry: &Entry) -> ServerStatus {
    let name = &entry.spec.name;
    let child = entry.child.status();
    let view = front.catalog.view();
    let n_of = |kind| view.list(kind).n_of(name);
    let snapshot = front.catalog.snapshot(name);
    let trial = trial(entry);
    let mut warnings: Vec<String> = trial.iter().map(|trial| trial.told.clone()).collect();
    warnings.extend(
        entry
            .child
            .missing()
            .iter()
            .map(|why| format!("runs without a secret: {why}")),
    );
    let of_names = view
        .warnings
        .iter()
        .filter(|(server, _)| server == name)
        .map(|(_, warning)| warning.clone());
    warnings.extend(of_names);
    warnings.extend(snapshot.iter().flat_map(|snapshot| snapshot.warnings.clone()));
    let now = Instant::now();
    let footprint = entry.child.footprint();
    let others = entry.instances.children();
    let of_others = others.iter().map(Child::n_inflight).sum::<usize>();
    let is_told = entry.spec.policy.sharing != Sharing::Shared || !others.is_empty();
    let (n_unasked_answers, n_repeated_answers) = entry.child.n_stray_answers();
    ServerStatus {
        name: name.clone(),
        origin: front.declarations.origin(name),
        enabled: entry.spec.enabled,
        state: child.state.to_owned(),
        command: shown(&entry.spec.launch),
        pid: child.pid,
        generation: child.generation.0,
        state_ms: millis(now.saturating_duration_since(child.since)),
        revision: speaks(&child).map(|(revision, _)| revision),
        era: speaks(&child).map(|(_, era)| era),
        probe: probe(front, entry),
        server_info: snapshot.and_then(|snapshot| snapshot.server_line()),
        n_tools: n_of(Kind::Tools),
        n_prompts: n_of(Kind::Prompts),
        n_resources: n_of(Kind::Resources),
        n_templates: n_of(Kind::Templates),
        memory_bytes: footprint.map(|(bytes, _)| bytes),
        n_processes: footprint.map(|(_, n)| n),
        n_inflight: entry.child.n_inflight() + of_others,
        n_owned: is_told.then_some(others.len()),
        owned: each_owned(others, now),
        n_failures: child.n_failures,
        n_noise_lines: entry.child.n_noise_lines(),
        n_unasked_answers,
        n_repeated_answers,
        calls: calls(entry, now),
        on_probation: child.on_probation,
        cause: child.cause.as_ref().map(ToString::to_string),
        trial,
        next_try_ms: next_try_ms(&child, now),
        warnings,
    }
}

/// The processes beside the first, longest there first.
fn each_owned(owned: Vec<Child>, now: Instant) -> Vec<OwnedStatus> {
    let mut all: Vec<(Child, ChildStatus)> = owned
        .into_iter()
        .map(|child| (child.clone(), child.status()))
        .collect();
    all.sort_by_key(|(_, status)| status.since);
    let told = all
        .into_iter()
        .take(N_OWNED_MAX)
        .map(|(child, status)| OwnedStatus {
            owner: match &child.instance().owner {
                Some(owner) => owner.short().to_owned(),
                None if child.instance().spare > 0 => "all in turn".to_owned(),
                None => "all with a handshake".to_owned(),
            },
            revision: speaks(&status).map(|(revision, _)| revision),
            era: speaks(&status).map(|(_, era)| era),
            state: status.state.to_owned(),
            pid: status.pid,
            state_ms: millis(now.saturating_duration_since(status.since)),
            n_inflight: child.n_inflight(),
        });
    told.collect()
}

/// What a caller gets now, in a few words.
pub(in crate::front::http) fn calls(entry: &Entry, now: Instant) -> String {
    let (status, queue_wait) = (entry.child.status(), entry.child.policy().queue_wait);
    let waited = format!("at most {}", humantime::format_duration(queue_wait));
    match status.fate(now, queue_wait) {
        Fate::GoesOut => "go out at once".to_owned(),
        Fate::Starts => format!("the first starts it and waits for it, {waited}"),
        Fate::Waits => format!("wait for the next process, {waited}"),
        Fate::Refused { again_in } => {
            let code = refusal_code(&entry.child.refusal());
            let again = if again_in.is_some() {
                ", and told when it is tried again"
            } else {
                ""
            };
            format!("are refused at once (error {code}){again}")
        }
    }
}

/// The revision and the era that a process speaks, once it has said so.
fn speaks(status: &ChildStatus) -> Option<(String, String)> {
    let revision = status.handshake.as_ref()?.revision;
    Some((revision.as_str().to_owned(), era(revision.era()).to_owned()))
}

fn era(era: Era) -> &'static str {
    match era {
        Era::Legacy => "legacy",
        Era::Modern => "modern",
    }
}

/// What the server turned out to be, where that is not declared.
fn probe(front: &Shared, entry: &Entry) -> Option<Probe> {
    if !entry.spec.policy.era.is_found_out() {
        return None;
    }
    let verdict = front.manager.surroundings().verdicts.of(&entry.spec.name)?;
    Some(Probe {
        era: era(verdict.era).to_owned(),
        how: verdict.how,
        is_certain: verdict.certainty == Certainty::Definitive,
        at_ms: verdict.at_ms,
    })
}

/// How a changed definition stands that does not serve yet.
fn trial(entry: &Entry) -> Option<Trial> {
    let status = entry.successor.as_ref()?.child.status();
    let told = match why_not(&status) {
        Some(cause) => kept(cause),
        None => format!("runs the earlier definition; the new one is {}", status.state),
    };
    let state = status.state.to_owned();
    Some(Trial { state, told })
}

/// The command line as declared: variables are not replaced, so that no secret is shown.
pub(super) fn shown(launch: &Launch) -> Vec<String> {
    match launch {
        Launch::Command(command) => command.shown.clone(),
        Launch::Broken { .. } => Vec::new(),
    }
}

/// Milliseconds until the next attempt, where one is due.
pub(in crate::front::http) fn next_try_ms(status: &ChildStatus, now: Instant) -> Option<u64> {
    let at = match &status.gate {
        Gate::Soon { at } => *at,
        Gate::Shut { retry_at } => *retry_at,
        Gate::Open(_) | Gate::OnDemand => None,
    };
    at.map(|at| millis(at.saturating_duration_since(now)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
