//! What servers of 2026-07-28 are listened to for: one stream of changes for each process, for all clients.
//!
//! Such a server has no subscriptions of its own: who wants to hear something says so when a stream is opened. So a
//! stream names what all clients want together; where that changes, another is opened, and once it is acknowledged the
//! one before is ended.
//! Source: MCP 2026-07-28, basic patterns, "Subscriptions".

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::error::RouteError;
use super::listeners::Resource;
use super::router::Router;
use crate::catalog::Kind;
use crate::child::link::{Link, Listen};
use crate::child::probe::code_of;
use crate::child::{CallError, Child};
use crate::ids::{Generation, Instance};
use crate::rpc::error::code;
use crate::rpc::object::{Object, elements};
use crate::rpc::{Outcome, Raw};

/// A server that does not acknowledge within this time is asked again.
const ACK_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before a stream that was ended or refused is opened again: at first, and at most.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// A subscription waits so long for a stream that has it.
const SUBSCRIBE_PATIENCE: Duration = Duration::from_secs(12);

/// The members of a filter that name what is listened to.
const RESOURCES: &str = "resourceSubscriptions";
const TASKS: &str = "taskIds";

/// The streams of all processes that need some.
#[derive(Debug, Default)]
pub(super) struct Listening(Mutex<HashMap<Instance, Arc<Stream>>>);

/// What one line of processes is listened to for.
#[derive(Debug, Default)]
struct Stream {
    /// Counts changes of what is wanted.
    changes: watch::Sender<u64>,
    /// What the newest stream has.
    has: watch::Sender<Has>,
}

/// What a stream tells of beside lists, each by the server's own name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Topics {
    resources: BTreeSet<String>,
    tasks: BTreeSet<String>,
}

/// What the newest stream of a line of processes has.
#[derive(Debug, Clone, Default)]
struct Has {
    generation: Generation,
    /// Up to which change of what is wanted it has been looked at.
    seen: u64,
    asked: Topics,
    honoured: Topics,
}

/// A stream that is open.
struct Open {
    listen: Listen,
    wanted: Topics,
    honoured: Topics,
}

/// Why a stream could not be opened.
enum Refused {
    /// The process is gone.
    Gone,
    /// The server knows no streams.
    Never,
    /// Not this time.
    NotNow,
}

impl Listening {
    fn of(&self, instance: &Instance) -> Arc<Stream> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Processes of one client go with it: what nobody uses any more is forgotten.
        all.retain(|other, stream| {
            other.owner.is_none() || other == instance || Arc::strong_count(stream) > 1
        });
        Arc::clone(all.entry(instance.clone()).or_default())
    }

    /// What is wanted of these processes has changed.
    pub(super) fn changed(&self, instance: &Instance) {
        self.of(instance).change();
    }
}

impl Router {
    /// Listens to the present process of a child, if it needs that, for as long as it lives.
    pub(super) async fn listen(&self, child: &Child) {
        let Some(link) = child.present().filter(|link| link.is_modern()) else {
            return;
        };
        let instance = child.instance();
        let stream = self.listening().of(instance);
        let mut changes = stream.changes.subscribe();
        let (mut open, mut wait, mut is_again) = (None::<Open>, AGAIN_FIRST, false);
        loop {
            // First the number, then what is wanted: so what a change has brought is among it once its number is seen.
            let seen = *changes.borrow_and_update();
            let wanted = self.topics(instance);
            if open.as_ref().is_none_or(|open| open.wanted != wanted) {
                match opened(&link, &wanted).await {
                    Ok((listen, honoured)) => {
                        let before = open.replace(Open {
                            listen,
                            wanted: wanted.clone(),
                            honoured: honoured.clone(),
                        });
                        if let Some(before) = before {
                            link.cancel(before.listen.id, "another stream has taken its place");
                        }
                        self.heard_again(&link, instance, &honoured.resources, is_again);
                        stream.tell(&link, seen, wanted, honoured);
                        (wait, is_again) = (AGAIN_FIRST, true);
                    }
                    Err(Refused::Gone) => return,
                    Err(Refused::Never) => {
                        tracing::debug!(server = %instance, "it knows no streams of changes");
                        return refuse_all(self, &link, instance, &stream).await;
                    }
                    Err(Refused::NotNow) => {
                        stream.tell(&link, seen, wanted, Topics::default());
                        tokio::time::sleep(wait).await;
                        wait = (2 * wait).min(AGAIN_MAX);
                        continue;
                    }
                }
            } else if let Some(open) = &open {
                stream.tell(&link, seen, wanted, open.honoured.clone());
            }
            let Some(now) = &mut open else { continue };
            tokio::select! {
                _changed = changes.changed() => {}
                ended = &mut now.listen.ended => {
                    if !matches!(ended, Ok(Ok(_)) | Ok(Err(CallError::TimedOut { .. }))) {
                        return;
                    }
                    tracing::debug!(server = %instance, "it has ended the stream of its changes");
                    open = None;
                    tokio::time::sleep(wait).await;
                    wait = (2 * wait).min(AGAIN_MAX);
                }
            }
        }
    }

    fn topics(&self, instance: &Instance) -> Topics {
        Topics {
            resources: self.listeners().wanted(instance),
            tasks: self.watched().wanted(instance),
        }
    }

    /// Whether a task is in a stream of the process that has it, before `until`.
    pub(super) async fn is_in_stream(
        &self,
        (instance, own): &(Instance, String),
        link: &Link,
        until: tokio::time::Instant,
    ) -> bool {
        let stream = self.listening().of(instance);
        let mut has = stream.has.subscribe();
        let change = stream.change();
        let is_asked = has.wait_for(|has| {
            has.generation == link.generation && has.seen >= change && has.asked.tasks.contains(own)
        });
        let asked = tokio::time::timeout_at(until, is_asked).await;
        asked.is_ok_and(|has| has.is_ok_and(|has| has.honoured.tasks.contains(own)))
    }

    /// A stream has begun. What an earlier one of this process, or an earlier process, would have told may be lost.
    fn heard_again(
        &self,
        link: &Arc<Link>,
        instance: &Instance,
        honoured: &BTreeSet<String>,
        is_again: bool,
    ) {
        let missed = self.listeners().agreed_by_others(instance, link);
        for own in honoured {
            let resource: Resource = (instance.clone(), own.clone());
            self.listeners().agreed(&resource, link);
        }
        for own in missed {
            self.listeners().resource_updated(instance, &own);
        }
        if is_again && instance.is_first() {
            self.lists_may_have_changed(&instance.server, &Kind::ALL);
        }
    }

    /// A subscription to a resource of such a server: it is in the next stream, if the server honours it.
    ///
    /// # Errors
    /// It does not, or not in time.
    pub(super) async fn subscribe_in_stream(
        &self,
        resource: &Resource,
        link: &Link,
    ) -> Result<Outcome, RouteError> {
        let (instance, own) = resource;
        let stream = self.listening().of(instance);
        let mut has = stream.has.subscribe();
        // What the stream had before says nothing: the last who wanted it may just have gone, and it with them.
        let change = stream.change();
        let is_asked = has.wait_for(|has| {
            has.generation == link.generation && has.seen >= change && has.asked.resources.contains(own)
        });
        let asked = tokio::time::timeout(SUBSCRIBE_PATIENCE, is_asked).await;
        let is_honoured = asked.is_ok_and(|has| has.is_ok_and(|has| has.honoured.resources.contains(own)));
        if is_honoured {
            return Ok(Ok(Raw::empty_object()));
        }
        Err(RouteError::NotOffered {
            server: instance.server.clone(),
            what: "subscriptions to this resource",
        })
    }
}

impl Stream {
    /// Counts a change, and says its number.
    fn change(&self) -> u64 {
        let mut number = 0;
        self.changes.send_modify(|n| {
            *n = n.saturating_add(1);
            number = *n;
        });
        number
    }

    fn tell(&self, link: &Link, seen: u64, asked: Topics, honoured: Topics) {
        self.has.send_replace(Has {
            generation: link.generation,
            seen,
            asked,
            honoured,
        });
    }
}

/// A server that knows no streams honours nothing, whatever is wanted.
async fn refuse_all(router: &Router, link: &Link, instance: &Instance, stream: &Stream) {
    let mut changes = stream.changes.subscribe();
    while !link.is_closed() {
        let seen = *changes.borrow_and_update();
        stream.tell(link, seen, router.topics(instance), Topics::default());
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Opens a stream and waits for its acknowledgement: what the server honours of it.
async fn opened(link: &Link, wanted: &Topics) -> Result<(Listen, Topics), Refused> {
    let mut filter = serde_json::json!({
        "toolsListChanged": true,
        "promptsListChanged": true,
        "resourcesListChanged": true,
    });
    for (key, names) in [(RESOURCES, &wanted.resources), (TASKS, &wanted.tasks)] {
        if let (Some(all), false) = (filter.as_object_mut(), names.is_empty()) {
            all.insert(key.to_owned(), serde_json::json!(names));
        }
    }
    let params = Raw::of(&serde_json::json!({ "notifications": filter }));
    let mut listen = match link.listen(params) {
        Ok(listen) => listen,
        Err(CallError::Overloaded { .. }) => return Err(Refused::NotNow),
        Err(_gone) => return Err(Refused::Gone),
    };
    let acknowledged = tokio::select! {
        biased;
        // A stream that has ended is acknowledged no more.
        Ok(acknowledged) = &mut listen.acknowledged => Some(acknowledged),
        ended = &mut listen.ended => return Err(match ended {
            Ok(Ok(Err(error))) if code_of(&error) == Some(code::METHOD_NOT_FOUND) => Refused::Never,
            Ok(Ok(_) | Err(CallError::TimedOut { .. })) => Refused::NotNow,
            _gone => Refused::Gone,
        }),
        () = tokio::time::sleep(ACK_PATIENCE) => None,
    };
    let Some(acknowledged) = acknowledged else {
        link.cancel(listen.id, "it was not acknowledged");
        return Err(Refused::NotNow);
    };
    Ok((listen, honoured(&acknowledged)))
}

/// What an acknowledgement names.
fn honoured(acknowledged: &Raw) -> Topics {
    let filter = Object::of(acknowledged).and_then(|params| params.get("notifications"));
    let filter = filter.as_ref().and_then(Object::of);
    let names = |key: &str| {
        let names = filter.as_ref().and_then(|filter| filter.get(key));
        let names = names.as_ref().and_then(elements).unwrap_or_default();
        let names = names.iter().filter_map(|name| name.as_string());
        names.map(std::borrow::Cow::into_owned).collect()
    };
    Topics {
        resources: names(RESOURCES),
        tasks: names(TASKS),
    }
}
