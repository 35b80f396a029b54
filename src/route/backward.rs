//! From a child to its clients: takes what children say by themselves.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;

use super::asks::{self, Asking, Asks};
use super::attribute::Attribution;
use super::client::ClientSide;
use super::related;
use super::router::Router;
use super::task_table::Belongs;
use super::trace;
use crate::catalog::{Catalog, Kind};
use crate::child::ghosts::Candidates;
use crate::child::hub::{FromChild, Upward};
use crate::event::SupervisionEvent;
use crate::ids::{Generation, Instance, ServerName, SessionId, WireId};
use crate::rpc::Raw;
use crate::rpc::mcp::{LogLevel, method};
use crate::rpc::message::notification_line;
use crate::rpc::object::Object;
use crate::tasks::Tasks;

/// Takes what children say by themselves, where it is read. Nothing in here waits.
#[derive(Debug)]
pub struct Backward {
    router: Router,
    catalog: Catalog,
    tasks: Tasks,
    asks: Asks,
}

impl Backward {
    /// The way back over this router. Refusals are told to `events`.
    pub fn new(
        router: Router,
        catalog: Catalog,
        tasks: Tasks,
        events: broadcast::Sender<SupervisionEvent>,
    ) -> Self {
        let asks = Asks::new(events);
        Self {
            router,
            catalog,
            tasks,
            asks,
        }
    }
}

impl Upward for Backward {
    fn take(&self, instance: &Instance, said: FromChild) -> bool {
        let (router, catalog) = (&self.router, &self.catalog);
        match said {
            // Its lists show whether it works; it serves nobody yet.
            FromChild::Ready { generation } if is_on_trial(instance, generation, router) => {
                catalog.prove(&instance.server);
            }
            // One that had to go before it served anybody says nothing about those that do.
            FromChild::Ready { generation } if !serves(instance, generation, router) => {}
            FromChild::Ready { generation } => {
                withdraw_older(instance, generation, router);
                ready(instance, router, catalog, &self.tasks);
            }
            FromChild::TookOver => {
                ready(instance, router, catalog, &self.tasks);
            }
            FromChild::Alone { generation } => withdraw_older(instance, generation, router),
            FromChild::Notification {
                candidates,
                notification,
                generation,
            } => {
                let said = Said {
                    instance,
                    generation,
                    candidates: &candidates,
                    params: notification.params.as_ref(),
                };
                notified(&said, notification.method.as_str(), router, catalog);
            }
            FromChild::Request {
                link,
                candidates,
                request,
            } => {
                let asking = Asking {
                    instance,
                    link: &link,
                    request: &request,
                };
                self.asks.put(&asking, &candidates, router);
            }
        }
        true
    }
}

fn is_on_trial(instance: &Instance, generation: Generation, router: &Router) -> bool {
    let entry = router.entry(&instance.server);
    instance.is_first() && entry.is_some_and(|entry| entry.successor_of_number(generation).is_some())
}

fn serves(instance: &Instance, generation: Generation, router: &Router) -> bool {
    let child = router.child(instance);
    child.is_some_and(|child| child.status().generation == generation)
}

/// What earlier processes have asked of clients can be answered to nobody.
fn withdraw_older(instance: &Instance, generation: Generation, router: &Router) {
    router.task_table().withdraw_older(instance, generation);
    for client in router.listeners().clients() {
        client
            .questions
            .withdraw_older(instance, generation, &client.outbox);
    }
}

fn until_the_end(tasks: &Tasks, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    let stop = tasks.token();
    tasks.spawn(name, async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = task => {}
        }
    });
}

/// A fresh process knows nothing of what the one before was told.
fn ready(instance: &Instance, router: &Router, catalog: &Catalog, tasks: &Tasks) {
    // Lists come from the first process.
    if instance.is_first() {
        catalog.dirty(&instance.server, &Kind::ALL);
    }
    let Some(child) = router.child(instance) else {
        return;
    };
    let router = router.clone();
    until_the_end(tasks, "tell a fresh process", async move {
        if child.instance().is_first() {
            // Lines beside it may have gone down with it to which somebody listens.
            router.revive(Some(child.name())).await;
        }
        router.set_level(&child).await;
        router.resubscribe(&child).await;
        router.listen(&child).await;
    });
}

/// A notification of a child.
struct Said<'a> {
    instance: &'a Instance,
    generation: Generation,
    /// The calls it may belong to.
    candidates: &'a Candidates,
    params: Option<&'a Raw>,
}

fn notified(said: &Said<'_>, asked: &str, router: &Router, catalog: &Catalog) {
    let server = &said.instance.server;
    match asked {
        method::TOOLS_CHANGED => catalog.dirty(server, &[Kind::Tools]),
        method::PROMPTS_CHANGED => catalog.dirty(server, &[Kind::Prompts]),
        method::RESOURCES_CHANGED => catalog.dirty(server, &[Kind::Resources, Kind::Templates]),
        method::RESOURCE_UPDATED => {
            let params = said.params.and_then(Object::of);
            if let Some(uri) = params.and_then(|params| params.get_string("uri")) {
                for session in router.listeners().resource_updated(said.instance, &uri) {
                    router.provenance().note(&session, server, &uri);
                }
            }
        }
        method::MESSAGE => log_message(said, router),
        method::PROGRESS => task_progress(said, router),
        method::TASK_STATUS => task_status(said, router),
        method::TASK_CHANGED => {
            if let Some(params) = said.params {
                router.watched().tell(said.instance, params);
            }
        }
        method::CANCELLED => asks::taken_back(said.instance, said.generation, said.params, router),
        method::ELICITATION_COMPLETE => asks::elicitation_complete(said.instance, said.params, router),
        other => unknown(said.instance, other, said.params, router),
    }
}

/// A log message goes to whom it certainly concerns, if that wants its level: to the session of the task or call it
/// belongs to, to the owner of the process, or to the only client there is.
fn log_message(said: &Said<'_>, router: &Router) {
    let Some((raw, object)) = said.params.and_then(|raw| Some((raw, Object::of(raw)?))) else {
        return;
    };
    let Some(level) = object
        .get("level")
        .and_then(|level| level.read::<LogLevel>().ok())
    else {
        return;
    };
    let listeners = router.listeners();
    let wants = |session: &SessionId| listeners.wants_level(session, level);
    // Most levels are wanted by few, so the line is made only for those who do.
    let params = || with_our_logger(&object, &said.instance.server);
    if let Some(belongs) = task_of(said, raw, router) {
        if wants(&belongs.session) {
            let params = as_its_client_knows(&belongs, &params());
            let line = notification_line(method::MESSAGE, Some(&params));
            to_task(&belongs, line, router);
        }
        return;
    }
    let candidates = with_tasks(said.instance, said.generation, said.candidates, router);
    if let Attribution::Call(lane) = trace::attribute(&candidates, Some(raw)) {
        if wants(&lane.session) {
            let line = notification_line(method::MESSAGE, Some(&params()));
            // The call may have been answered in the meantime by its end.
            if !lane.push(line.clone())
                && let Some(client) = listeners.client(&lane.session)
            {
                client.outbox.message(line);
            }
        }
        return;
    }
    let mut concerned = concerned(said.instance, &candidates, router);
    concerned.retain(|(session, _)| wants(session));
    if concerned.is_empty() {
        return;
    }
    let line = notification_line(method::MESSAGE, Some(&params()));
    for (_, client) in concerned {
        client.outbox.message(line.clone());
    }
}

/// Behind us the client sees one server only: the logger's name says which of ours it was.
fn with_our_logger(message: &Object<'_>, server: &ServerName) -> Raw {
    let logger = message
        .get("logger")
        .and_then(|logger| logger.prefixed(&format!("{server}/")))
        .unwrap_or_else(|| Raw::of(&server.as_str()));
    message.with("logger", &logger)
}

/// The calls in flight, and before them the tasks that run: a message that names neither may be any of theirs.
pub(super) fn with_tasks<'a>(
    instance: &Instance,
    generation: Generation,
    candidates: &'a Candidates,
    router: &Router,
) -> Cow<'a, Candidates> {
    let mut live = router.task_table().lanes_on(instance, generation);
    if live.is_empty() {
        return Cow::Borrowed(candidates);
    }
    live.extend(candidates.live.iter().cloned());
    Cow::Owned(Candidates {
        live,
        given_up: candidates.given_up.clone(),
    })
}

/// The task that these parameters name.
fn task_of(said: &Said<'_>, params: &Raw, router: &Router) -> Option<Belongs> {
    let own = related::task_id(params)?;
    let found = router.task_table().belongs(said.instance, said.generation, &own);
    found.map(|(_, belongs)| belongs)
}

/// The parameters with the task as its client knows it, if it knows of one.
pub(super) fn as_its_client_knows(task: &Belongs, params: &Raw) -> Raw {
    match &task.ours {
        Some(ours) => related::with_task_id(params, ours),
        None => related::without_task(params),
    }
}

/// To the client of a task: on the exchange that is open for it, or on any other way.
pub(super) fn to_task(belongs: &Belongs, line: Bytes, router: &Router) {
    if belongs.lane.as_ref().is_some_and(|lane| lane.push(line.clone())) {
        return;
    }
    if let Some(client) = router.listeners().client(&belongs.session) {
        client.outbox.message(line);
    }
}

/// Progress under a token that no call in flight has: a task's, which outlives the call that made it.
fn task_progress(said: &Said<'_>, router: &Router) {
    let Some(object) = said.params.and_then(Object::of) else {
        return;
    };
    let number = |key| object.get(key).map(|value| value.as_str().to_owned());
    let token = number("progressToken").and_then(|token| token.parse().ok());
    let value = number("progress").and_then(|value| value.parse().ok());
    let (Some(token), Some(value)) = (token, value) else {
        return;
    };
    let task = router
        .task_table()
        .progress(said.instance, said.generation, WireId(token), value);
    let Some((belongs, token)) = task else { return };
    let params = object.with("progressToken", &token);
    let params = as_its_client_knows(&belongs, &params);
    to_task(
        &belongs,
        notification_line(method::PROGRESS, Some(&params)),
        router,
    );
}

/// A task stands differently now: its client hears of it under our id.
fn task_status(said: &Said<'_>, router: &Router) {
    let Some(params) = said.params else { return };
    let own = Object::of(params).and_then(|params| params.get_string("taskId"));
    let table = router.task_table();
    let Some((ours, belongs)) = own.and_then(|own| table.belongs(said.instance, said.generation, &own))
    else {
        return;
    };
    let shown = table.stands(&ours, params);
    if belongs.ours.is_some() {
        let line = notification_line(method::TASK_STATUS, Some(&related::with_task_id(&shown, &ours)));
        to_task(&belongs, line, router);
    }
}

/// A notification that MCP does not know goes to the owner of the process; from a shared one it concerns nobody.
fn unknown(instance: &Instance, method: &str, params: Option<&Raw>, router: &Router) {
    if instance.owner.is_none() {
        tracing::debug!(server = %instance, method, "a notification that concerns nobody");
        return;
    }
    for (_, client) in concerned(instance, &Candidates::default(), router) {
        client.outbox.message(notification_line(method, params));
    }
}

/// Whom something concerns that belongs to no call.
fn concerned(
    instance: &Instance,
    candidates: &Candidates,
    router: &Router,
) -> Vec<(SessionId, Arc<ClientSide>)> {
    match &instance.owner {
        Some(owner) => router.listeners().clients_of(owner),
        None if candidates.live.is_empty() => {
            let only = router.listeners().only_client();
            let sees = |client: &ClientSide| {
                let scope = client.scope();
                scope.is_none() || router.view_within(scope).part(&instance.server).is_some()
            };
            only.into_iter()
                .filter(|(session, client)| candidates.may_all_be_of(session) && sees(client))
                .collect()
        }
        // Calls of several sessions are in flight: it may be any of theirs.
        None => Vec::new(),
    }
}
