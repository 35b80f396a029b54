//! From a child to its clients: takes what children say by themselves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use super::asks::{Asking, Asks};
use super::attribute::{Attribution, attribute};
use super::client::ClientSide;
use super::router::Router;
use crate::catalog::{Catalog, Kind};
use crate::child::ghosts::Candidates;
use crate::child::hub::{FromChild, Upward};
use crate::event::SupervisionEvent;
use crate::ids::{Instance, SessionId};
use crate::rpc::mcp::{LogLevel, method};
use crate::rpc::message::notification_line;
use crate::rpc::object::Object;
use crate::rpc::{Notification, Raw};
use crate::tasks::Tasks;

/// Takes what children say by themselves, where it is read. Nothing in here waits.
#[derive(Debug)]
pub struct Backward {
    router: Router,
    catalog: Catalog,
    tasks: Tasks,
    asks: Mutex<Asks>,
}

impl Backward {
    /// The way back over this router. Refusals are told to `events`.
    pub fn new(
        router: Router,
        catalog: Catalog,
        tasks: Tasks,
        events: broadcast::Sender<SupervisionEvent>,
    ) -> Self {
        let asks = Mutex::new(Asks::new(events));
        Self {
            router,
            catalog,
            tasks,
            asks,
        }
    }

    fn asks(&self) -> MutexGuard<'_, Asks> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upward for Backward {
    fn take(&self, instance: &Instance, said: FromChild) -> bool {
        let (router, catalog) = (&self.router, &self.catalog);
        match said {
            FromChild::Ready { generation } => {
                for client in router.listeners().clients() {
                    client
                        .questions
                        .withdraw_older(instance, generation, &client.outbox);
                }
                ready(instance, router, catalog, &self.tasks);
            }
            FromChild::Notification {
                candidates,
                notification,
                generation,
            } => {
                self.asks().notified(instance, generation, &notification, router);
                notified(instance, &candidates, &notification, router, catalog);
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
                self.asks().put(&asking, &candidates, router);
            }
        }
        true
    }
}

/// A fresh process knows nothing of what the one before was told.
fn ready(instance: &Instance, router: &Router, catalog: &Catalog, tasks: &Tasks) {
    // Lists come from the process that clients share.
    if instance.owner.is_none() {
        catalog.dirty(&instance.server, &Kind::ALL);
    }
    let Some(child) = router.child(instance) else {
        return;
    };
    let (router, stop) = (router.clone(), tasks.token());
    tasks.spawn("tell a fresh process", async move {
        let telling = async {
            router.set_level(&child).await;
            router.resubscribe(&child).await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = telling => {}
        }
    });
}

fn notified(
    instance: &Instance,
    candidates: &Candidates,
    notification: &Notification,
    router: &Router,
    catalog: &Catalog,
) {
    let server = &instance.server;
    match notification.method.as_str() {
        method::TOOLS_CHANGED => catalog.dirty(server, &[Kind::Tools]),
        method::PROMPTS_CHANGED => catalog.dirty(server, &[Kind::Prompts]),
        method::RESOURCES_CHANGED => catalog.dirty(server, &[Kind::Resources, Kind::Templates]),
        method::RESOURCE_UPDATED => {
            let params = notification.params.as_ref().and_then(Object::of);
            if let Some(uri) = params.and_then(|params| params.get_string("uri")) {
                router.listeners().resource_updated(instance, &uri);
            }
        }
        method::MESSAGE => log_message(instance, candidates, notification.params.as_ref(), router),
        method::CANCELLED | method::ELICITATION_COMPLETE => {}
        other => unknown(instance, other, notification.params.as_ref(), router),
    }
}

/// A log message goes to whom it certainly concerns, if that wants its level: to the session whose call it belongs
/// to, to the owner of the process, or to the only client there is.
fn log_message(instance: &Instance, candidates: &Candidates, params: Option<&Raw>, router: &Router) {
    let Some(object) = params.and_then(Object::of) else {
        return;
    };
    let Some(level) = object
        .get("level")
        .and_then(|level| level.read::<LogLevel>().ok())
    else {
        return;
    };
    // Behind us the client sees one server only: the logger's name says which of ours it was.
    let server = &instance.server;
    let logger = object
        .get("logger")
        .and_then(|logger| logger.prefixed(&format!("{server}/")))
        .unwrap_or_else(|| Raw::of(&server.as_str()));
    let params = object.with("logger", &logger);
    let line = notification_line(method::MESSAGE, Some(&params));
    let listeners = router.listeners();
    if let Attribution::Call(lane) = attribute(candidates) {
        if listeners.wants_level(&lane.session, level) {
            // The call may have been answered in the meantime by its end.
            if !lane.push(line.clone())
                && let Some(client) = listeners.client(&lane.session)
            {
                client.outbox.message(line);
            }
        }
        return;
    }
    for (session, client) in concerned(instance, candidates, router) {
        if listeners.wants_level(&session, level) {
            client.outbox.message(line.clone());
        }
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
            only.into_iter()
                .filter(|(session, _)| candidates.may_all_be_of(session))
                .collect()
        }
        // Calls of several sessions are in flight: it may be any of theirs.
        None => Vec::new(),
    }
}
