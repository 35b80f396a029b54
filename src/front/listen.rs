//! A stream of changes for a client without a handshake (`subscriptions/listen`, MCP 2026-07-28): what it has asked
//! for and nothing else, each message with the id of the request that opened the stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use crate::access::holder;
use crate::bridge::exchange::Peer;
use crate::bridge::ladder::Asked;
use crate::bridge::tasks_ext;
use crate::catalog::View;
use crate::child::Lane;
use crate::ids::SessionId;
use crate::route::client::Profile;
use crate::route::task_watch::{Named, Watching};
use crate::route::{CallContext, ClientSide};
use crate::rpc::error::code;
use crate::rpc::mcp::{Revision, meta, method};
use crate::rpc::message::{notification_line, response_line};
use crate::rpc::object::{Object, elements};
use crate::rpc::{Raw, RequestId, RpcError};
use crate::session::sessions::changed;

/// So long the acknowledgement waits for the servers whose resources are listened to.
const CONFIRMING: Duration = Duration::from_secs(1);
/// Resources that one stream may tell of.
pub const N_RESOURCES_MAX: usize = 1_000;
/// Tasks that one stream may tell of.
pub const N_TASKS_MAX: usize = 1_000;

/// Streams that may be open at once, of all clients.
pub const N_STREAMS_MAX: usize = 4_096;
/// Streams of one connection on which all is of one client; over HTTP each stream is a connection of its own.
pub const N_STREAMS_OF_ONE_MAX: usize = 64;

/// How many streams are open, and on which connections. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Listens(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    n_all: usize,
    /// Of the connections on which all is of one client.
    of_one: HashMap<SessionId, usize>,
}

/// The place of one open stream; it is free again when this is dropped.
#[derive(Debug)]
struct Place {
    listens: Listens,
    connection: Option<SessionId>,
}

/// One stream of changes.
#[derive(Debug)]
pub struct Listening {
    _place: Place,
    front: Shared,
    id: RequestId,
    session: SessionId,
    client: Arc<ClientSide>,
    wanted: Wanted,
    views: watch::Receiver<Arc<View>>,
    before: Arc<View>,
    /// Methods of lists that have changed and that the client has not been told of.
    due: Vec<&'static str>,
    home: SessionId,
    /// Tasks that are told of, each with the number of what was told last.
    tasks: Vec<(String, u64)>,
    task_changes: watch::Receiver<u64>,
    /// Tasks of which their servers tell.
    watching: Option<Watching>,
}

/// What a client wants to hear of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wanted {
    tools: bool,
    prompts: bool,
    resources: bool,
    uris: Option<Vec<String>>,
    task_ids: Option<Vec<String>>,
}

impl Listening {
    /// Opens a stream; the line is the first on it, which says what it will tell of.
    ///
    /// # Errors
    /// The parameters are not those of such a request, or too many streams are open.
    pub async fn open(
        front: &Shared,
        peer: &Peer,
        asked: Asked,
        id: RequestId,
        params: Option<&Raw>,
    ) -> Result<(Self, Bytes), RpcError> {
        let wanted = Wanted::read(params)?;
        if wanted.task_ids.is_some() {
            tasks_ext::demand(&asked).map_err(|refused| refused.error)?;
        }
        let place = front.listens.place(peer.connection.as_ref())?;
        let profile = Arc::new(Profile {
            revision: Revision::NEWEST,
            client_info: asked.client_info,
            capabilities: asked.capabilities,
            log_level: None,
        });
        let session = SessionId::random();
        let client =
            ClientSide::of_request(Arc::clone(&profile)).within(peer.scope.clone(), holder(&peer.principal));
        let client = Arc::new(client);
        let listeners = front.engine.router().listeners();
        listeners.add_at(session.clone(), peer.home.clone(), Arc::clone(&client));
        let mut views = front.catalog.watch();
        let before = Arc::clone(&views.borrow_and_update());
        let mut listening = Self {
            _place: place,
            front: Arc::clone(front),
            id,
            session,
            client,
            wanted,
            views,
            before,
            due: Vec::new(),
            home: peer.home.clone(),
            tasks: Vec::new(),
            task_changes: front.engine.router().task_table().changes(),
            watching: None,
        };
        let until = Instant::now() + CONFIRMING;
        listening.follow_tasks(peer, &profile, until).await;
        listening.subscribe(peer, profile, until).await;
        let honoured = listening.tagged(json!({ "notifications": listening.wanted.shown() }));
        let line = notification_line(method::ACKNOWLEDGED, Some(&honoured));
        Ok((listening, line))
    }

    /// What no server agrees to tell of in time is left out of what is honoured.
    async fn subscribe(&mut self, peer: &Peer, profile: Arc<Profile>, until: Instant) {
        let Some(uris) = self.wanted.uris.take() else {
            return;
        };
        let context = self.context(peer, profile);
        let mut agreed = Vec::new();
        for uri in uris {
            let params = Raw::of(&json!({ "uri": uri }));
            let asked = self.front.engine.router().subscribe(&context, Some(&params));
            match tokio::time::timeout_at(until, asked).await {
                Ok(Ok(Ok(_))) => agreed.push(uri),
                Ok(refused) => tracing::debug!(uri, ?refused, "a resource is not listened to"),
                Err(_late) => tracing::debug!(uri, "a resource is not listened to: no answer in time"),
            }
        }
        self.wanted.uris = Some(agreed);
    }

    fn context(&self, peer: &Peer, profile: Arc<Profile>) -> CallContext {
        let lane = Lane::new(self.session.clone(), self.id.clone(), None)
            .of_peer(peer.home.clone(), self.session.clone())
            .called_by(Some(profile))
            .within(peer.scope.clone(), holder(&peer.principal));
        CallContext {
            revision: Revision::NEWEST,
            lane: Arc::new(lane),
            to: None,
        }
    }

    /// Tasks that are not the client's, and those of which their servers do not agree to tell in time, are left out of
    /// what is honoured: the client asks after them. Those that are kept here are told of at once, as they stand.
    async fn follow_tasks(&mut self, peer: &Peer, profile: &Arc<Profile>, until: Instant) {
        let Some(mut ids) = self.wanted.task_ids.take() else {
            return;
        };
        let engine = &self.front.engine;
        let is_hosted = |id: &str| engine.hosted_task(&self.home, id).is_some();
        let hosted: Vec<_> = ids.iter().filter(|id| is_hosted(id)).cloned().collect();
        let others = ids.iter().filter(|id| !hosted.contains(id));
        let others = others.filter_map(|id| engine.task_of_server(&peer.principal, id));
        let others: Vec<Named> = others.collect();
        let mut agreed = Vec::new();
        if !others.is_empty() {
            let context = self.context(peer, Arc::clone(profile));
            let watching = engine.router().watch_tasks(&context, others, until);
            let watching = watching.await;
            agreed = watching.1;
            self.watching = Some(watching.0);
        }
        ids.retain(|id| hosted.contains(id) || agreed.contains(id));
        self.tasks = hosted.into_iter().map(|id| (id, 0)).collect();
        self.wanted.task_ids = Some(ids);
    }

    /// A task that stands differently than it was told.
    fn changed_task(&mut self) -> Option<Bytes> {
        let engine = &self.front.engine;
        let (known, (version, task)) = self.tasks.iter_mut().find_map(|(id, known)| {
            let now = engine.hosted_task(&self.home, id)?;
            (now.0 != *known).then_some((known, now))
        })?;
        *known = version;
        let params = self.with_id(&task);
        Some(notification_line(method::TASK_CHANGED, Some(&params)))
    }

    /// The next message on the stream.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn next(&mut self) -> Bytes {
        loop {
            if let Some(method) = self.due.pop() {
                let params = self.tagged(json!({}));
                return notification_line(method, Some(&params));
            }
            if let Some(line) = self.changed_task() {
                return line;
            }
            tokio::select! {
                Ok(()) = self.task_changes.changed() => {}
                (id, task) = next_of(self.watching.as_ref()) => {
                    let params = self.with_id(&tasks_ext::named(&id, &task));
                    return notification_line(method::TASK_CHANGED, Some(&params));
                }
                uri = self.client.outbox.next_updated() => {
                    let params = self.tagged(json!({ "uri": uri }));
                    return notification_line(method::RESOURCE_UPDATED, Some(&params));
                }
                Ok(()) = self.views.changed() => {
                    let after = Arc::clone(&self.views.borrow_and_update());
                    let within = |view| self.front.catalog.within(view, self.client.scope());
                    for method in changed(&within(&self.before), &within(&after)) {
                        if self.wanted.wants(method) && !self.due.contains(&method) {
                            self.due.push(method);
                        }
                    }
                    self.before = after;
                }
            }
        }
    }

    /// The last message: nothing more comes, and that is no fault.
    pub fn end(&self) -> Bytes {
        let result = self.tagged(json!({ "resultType": "complete" }));
        response_line(Some(&self.id), &Ok(result))
    }

    /// An object with the id of the stream in its metadata.
    fn tagged(&self, object: serde_json::Value) -> Raw {
        self.with_id(&Raw::of(&object))
    }

    fn with_id(&self, object: &Raw) -> Raw {
        let id = Raw::trusted(format!(
            r#"{{"{}":{}}}"#,
            meta::SUBSCRIPTION_ID,
            self.id.raw().as_str()
        ));
        Object::of(object).map_or_else(|| object.clone(), |object| object.with("_meta", &id))
    }
}

/// The next task of which its server tells.
async fn next_of(watching: Option<&Watching>) -> (String, Raw) {
    match watching {
        Some(watching) => watching.next().await,
        None => std::future::pending().await,
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let (router, session) = (self.front.engine.router().clone(), self.session.clone());
        self.front
            .tasks
            .spawn("end of a stream", async move { router.forget(&session).await });
    }
}

impl Listens {
    fn place(&self, connection: Option<&SessionId>) -> Result<Place, RpcError> {
        let mut counts = self.counts();
        if counts.n_all >= N_STREAMS_MAX {
            let text = format!("{N_STREAMS_MAX} streams of changes are open already; try again later");
            return Err(RpcError::new(code::OVERLOADED, text));
        }
        if let Some(connection) = connection {
            let n = counts.of_one.entry(connection.clone()).or_default();
            if *n >= N_STREAMS_OF_ONE_MAX {
                let text =
                    format!("{N_STREAMS_OF_ONE_MAX} streams of changes are open on this connection already");
                return Err(RpcError::new(code::OVERLOADED, text));
            }
            *n += 1;
        }
        counts.n_all += 1;
        drop(counts);
        Ok(Place {
            listens: self.clone(),
            connection: connection.cloned(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.listens.counts();
        counts.n_all = counts.n_all.saturating_sub(1);
        let Some(connection) = &self.connection else {
            return;
        };
        if let Some(n) = counts.of_one.get_mut(connection) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                counts.of_one.remove(connection);
            }
        }
    }
}

impl Wanted {
    fn read(params: Option<&Raw>) -> Result<Self, RpcError> {
        let bad = |text: &str| RpcError::invalid_params(format!("Invalid params: {text}"));
        let filter = params
            .and_then(Object::of)
            .and_then(|params| params.get("notifications"));
        let filter = filter.as_ref().and_then(Object::of);
        let filter = filter.ok_or_else(|| bad("`notifications` must be an object"))?;
        let flag = |key: &str| match filter.get(key) {
            None => Ok(false),
            Some(value) if value.is_null() => Ok(false),
            Some(value) => value
                .read::<bool>()
                .map_err(|_| bad(&format!("`notifications.{key}` must be a boolean"))),
        };
        let texts = |key: &str, what: &str, n_max: usize| {
            let Some(texts) = filter.get(key).filter(|texts| !texts.is_null()) else {
                return Ok(None);
            };
            let texts = elements(&texts).and_then(|texts| {
                texts
                    .iter()
                    .map(|text| text.as_string().map(std::borrow::Cow::into_owned))
                    .collect::<Option<Vec<String>>>()
            });
            let texts =
                texts.ok_or_else(|| bad(&format!("`notifications.{key}` must be an array of strings")))?;
            if texts.len() > n_max {
                return Err(bad(&format!("at most {n_max} {what} can be listened to at once")));
            }
            Ok(Some(texts))
        };
        Ok(Self {
            tools: flag("toolsListChanged")?,
            prompts: flag("promptsListChanged")?,
            resources: flag("resourcesListChanged")?,
            uris: texts("resourceSubscriptions", "resources", N_RESOURCES_MAX)?,
            task_ids: texts("taskIds", "tasks", N_TASKS_MAX)?,
        })
    }

    fn wants(&self, asked: &str) -> bool {
        match asked {
            method::TOOLS_CHANGED => self.tools,
            method::PROMPTS_CHANGED => self.prompts,
            method::RESOURCES_CHANGED => self.resources,
            _other => false,
        }
    }

    fn shown(&self) -> serde_json::Value {
        let mut shown = serde_json::Map::new();
        for (key, is_wanted) in [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ] {
            if is_wanted {
                shown.insert(key.to_owned(), json!(true));
            }
        }
        if let Some(uris) = &self.uris {
            shown.insert("resourceSubscriptions".to_owned(), json!(uris));
        }
        if let Some(ids) = &self.task_ids {
            shown.insert("taskIds".to_owned(), json!(ids));
        }
        serde_json::Value::Object(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Wanted, String> {
        let params = Raw::parse(&text.to_owned().into()).unwrap();
        Wanted::read(Some(&params)).map_err(|error| error.message)
    }

    #[test]
    fn what_is_wanted_is_read_and_shown_again_and_nothing_is_added() {
        let all = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["a://b"],"taskIds":["t"]}"#;
        let wanted = read(&format!(r#"{{"notifications":{all}}}"#)).unwrap();
        assert_eq!(
            wanted.shown(),
            serde_json::from_str::<serde_json::Value>(all).unwrap()
        );
        assert!(wanted.wants(method::TOOLS_CHANGED) && !wanted.wants(method::RESOURCE_UPDATED));
        let none =
            read(r#"{"notifications":{"toolsListChanged":false,"promptsListChanged":null,"x":1}}"#).unwrap();
        assert_eq!(none, Wanted::default());
        assert_eq!(none.shown(), json!({}));
    }

    #[test]
    fn streams_are_bounded_of_one_connection_and_of_all() {
        let listens = Listens::default();
        let (one, two) = (SessionId::random(), SessionId::random());
        let mut places: Vec<Place> = (0..N_STREAMS_OF_ONE_MAX)
            .map(|_| listens.place(Some(&one)).unwrap())
            .collect();
        let refused = listens.place(Some(&one)).unwrap_err();
        assert_eq!(refused.code, code::OVERLOADED);
        assert!(
            refused.message.contains("on this connection"),
            "{}",
            refused.message
        );
        places.push(listens.place(Some(&two)).unwrap());
        while places.len() < N_STREAMS_MAX {
            places.push(listens.place(None).unwrap());
        }
        for connection in [None, Some(&two)] {
            let refused = listens.place(connection).unwrap_err();
            assert_eq!(refused.code, code::OVERLOADED);
            assert!(refused.message.contains("try again later"), "{}", refused.message);
        }
        drop(places);
        assert!(listens.place(Some(&one)).is_ok() && listens.place(None).is_ok());
        assert!(listens.counts().of_one.is_empty() && listens.counts().n_all == 0);
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in [
            "{}",
            r#"{"notifications":[]}"#,
            r#"{"notifications":{"toolsListChanged":1}}"#,
            r#"{"notifications":{"resourceSubscriptions":"a"}}"#,
            r#"{"notifications":{"resourceSubscriptions":[1]}}"#,
            r#"{"notifications":{"taskIds":{}}}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(Wanted::read(None).is_err());
    }
}
