//! From a child to its clients: empties the queue of what children say by themselves.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};

use super::asks::{Asking, Asks};
use super::attribute::{Attribution, attribute};
use super::router::Router;
use crate::catalog::{Catalog, Kind};
use crate::child::Lane;
use crate::child::hub::FromChild;
use crate::event::SupervisionEvent;
use crate::ids::ServerName;
use crate::rpc::mcp::{LogLevel, method};
use crate::rpc::message::notification_line;
use crate::rpc::object::Object;
use crate::rpc::{Notification, Raw};
use crate::tasks::Tasks;

/// Empties the queue until all children are gone.
pub async fn run(
    mut queue: mpsc::Receiver<(ServerName, FromChild)>,
    router: Router,
    catalog: Catalog,
    tasks: Tasks,
    events: broadcast::Sender<SupervisionEvent>,
) {
    let mut asks = Asks::new(events);
    while let Some((server, said)) = queue.recv().await {
        match said {
            FromChild::Ready { .. } => ready(&server, &router, &catalog, &tasks),
            FromChild::Notification {
                candidates,
                notification,
                generation,
            } => {
                asks.notified(&server, generation, &notification, &router);
                notified(&server, &candidates, &notification, &router, &catalog);
            }
            FromChild::Request {
                link,
                candidates,
                request,
            } => {
                let asking = Asking {
                    server: &server,
                    link: &link,
                    request: &request,
                };
                asks.put(&asking, &candidates, &router);
            }
        }
    }
}

/// A fresh process knows nothing of what the one before was told.
fn ready(server: &ServerName, router: &Router, catalog: &Catalog, tasks: &Tasks) {
    catalog.dirty(server, &Kind::ALL);
    let Some(entry) = router.entry(server) else { return };
    let (router, stop) = (router.clone(), tasks.token());
    tasks.spawn("tell a fresh process", async move {
        let telling = async {
            router.set_level(&entry.child).await;
            router.resubscribe(&entry.child).await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = telling => {}
        }
    });
}

fn notified(
    server: &ServerName,
    candidates: &[Arc<Lane>],
    notification: &Notification,
    router: &Router,
    catalog: &Catalog,
) {
    match notification.method.as_str() {
        method::TOOLS_CHANGED => catalog.dirty(server, &[Kind::Tools]),
        method::PROMPTS_CHANGED => catalog.dirty(server, &[Kind::Prompts]),
        method::RESOURCES_CHANGED => catalog.dirty(server, &[Kind::Resources, Kind::Templates]),
        method::RESOURCE_UPDATED => {
            let params = notification.params.as_ref().and_then(Object::of);
            if let Some(uri) = params.and_then(|params| params.get_string("uri")) {
                router.listeners().resource_updated(server, &uri);
            }
        }
        method::MESSAGE => log_message(server, candidates, notification.params.as_ref(), router),
        method::CANCELLED | method::ELICITATION_COMPLETE => {}
        other => tracing::debug!(%server, method = other, "a notification that concerns nobody"),
    }
}

/// A log message goes to the session whose call it certainly belongs to, if that wants its level.
fn log_message(server: &ServerName, candidates: &[Arc<Lane>], params: Option<&Raw>, router: &Router) {
    let Some(object) = params.and_then(Object::of) else {
        return;
    };
    let level: Option<LogLevel> = object.get("level").and_then(|level| level.read().ok());
    let (Attribution::Call(lane), Some(level)) = (attribute(candidates), level) else {
        tracing::debug!(%server, "a log message that belongs to no single session");
        return;
    };
    if !router.listeners().wants_level(&lane.session, level) {
        return;
    }
    // Behind us the client sees one server only: the logger's name says which of ours it was.
    let logger = match object.get_string("logger") {
        Some(logger) => format!("{server}/{logger}"),
        None => server.to_string(),
    };
    let params = object.with("logger", &Raw::of(&logger));
    lane.push(notification_line(method::MESSAGE, Some(&params)));
}
