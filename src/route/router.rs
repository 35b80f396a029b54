//! One request to the one child that answers it, in that child's own names, and the answer back in ours.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::Instrument;

use super::context::CallContext;
use super::error::RouteError;
use super::listeners::Listeners;
use super::listening::Listening;
use super::pool::Pool;
use super::project;
use super::provenance::{self, Provenance};
use super::rounds::Asked;
use super::task_calls::{self, Way, Wish};
use super::task_table::TaskTable;
use super::task_watch::Watched;
use super::urls::{self, Urls};
use crate::access::Scope;
use crate::catalog::snapshot::Snapshot;
use crate::catalog::{Catalog, Kind, Standing, View};
use crate::child::outgoing::Params;
use crate::child::{Call, CallError, Child};
use crate::config::spec::Sharing;
use crate::ids::ServerName;
use crate::rpc::object::{Object, elements};
use crate::rpc::trace::Spans;
use crate::rpc::{Outcome, Raw, Text, mcp};
use crate::supervise::{Directory, Entry};
use crate::tasks::Tasks;

/// Finds the child that answers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Router {
    pub(super) directory: watch::Receiver<Arc<Directory>>,
    pub(super) catalog: Catalog,
    pub(super) listeners: Arc<Listeners>,
    task_table: Arc<TaskTable>,
    tasks: Tasks,
    listening: Arc<Listening>,
    watched: Arc<Watched>,
    provenance: Arc<Provenance>,
    urls: Arc<Urls>,
    spans: Arc<Spans>,
    pool: Arc<Pool>,
}

impl Router {
    /// A router over these children and their lists. What is worked on for nobody who waits runs in `tasks`.
    pub fn new(
        directory: watch::Receiver<Arc<Directory>>,
        catalog: Catalog,
        listeners: Arc<Listeners>,
        tasks: Tasks,
    ) -> Self {
        Self {
            directory,
            catalog,
            listeners,
            task_table: Arc::default(),
            tasks,
            listening: Arc::default(),
            watched: Arc::default(),
            provenance: Arc::default(),
            urls: Arc::default(),
            spans: Arc::new(Spans::random()),
            pool: Arc::default(),
        }
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// What clients were shown by whom.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// What is on offer.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The merged lists.
    pub fn view(&self) -> Arc<View> {
        self.catalog.view()
    }

    /// The merged lists, as far as a scope reaches.
    pub fn view_within(&self, scope: Option<&Arc<Scope>>) -> Arc<View> {
        self.catalog.view_within(scope)
    }

    /// How good the merged lists are, as far as a scope reaches.
    pub fn standing(&self, scope: Option<&Arc<Scope>>) -> Standing {
        self.catalog.standing(scope.map(Arc::as_ref))
    }

    /// A client reads a list of this kind: what of it is no longer good is fetched again.
    pub fn list_is_read(&self, kind: Kind) {
        self.catalog.read(kind);
    }

    /// What a server offers, as far as known.
    pub(super) fn snapshot(&self, server: &ServerName) -> Option<Arc<Snapshot>> {
        self.catalog.snapshot(server)
    }

    /// What servers without subscriptions of their own are listened to for.
    pub(super) fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Tasks of servers that clients listen to.
    pub(super) fn watched(&self) -> &Watched {
        &self.watched
    }

    /// Lists of a server may have changed.
    pub(super) fn lists_may_have_changed(&self, server: &ServerName, kinds: &[Kind]) {
        self.catalog.dirty(server, kinds);
    }

    /// What sessions want to hear.
    pub fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    /// Which client was told of which URL elicitation.
    pub fn urls(&self) -> &Arc<Urls> {
        &self.urls
    }

    /// The tasks that children run for clients.
    pub fn task_table(&self) -> &Arc<TaskTable> {
        &self.task_table
    }

    /// Who owns what runs by itself.
    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// `tools/call`.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn call_tool(
        &self,
        context: &CallContext,
        params: Option<&Raw>,
    ) -> Result<Outcome, RouteError> {
        self.by_name(context, params, Kind::Tools, mcp::method::TOOLS_CALL)
            .await
    }

    /// `prompts/get`.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn get_prompt(
        &self,
        context: &CallContext,
        params: Option<&Raw>,
    ) -> Result<Outcome, RouteError> {
        self.by_name(context, params, Kind::Prompts, mcp::method::PROMPTS_GET)
            .await
    }

    async fn by_name(
        &self,
        context: &CallContext,
        params: Option<&Raw>,
        kind: Kind,
        method: &'static str,
    ) -> Result<Outcome, RouteError> {
        let is_tool = kind == Kind::Tools;
        let what = if is_tool { "tool" } else { "prompt" };
        let object = params.and_then(Object::of).ok_or_else(|| needs_object(method))?;
        let name = object.get_string("name").ok_or_else(|| needs_string("name"))?;
        let view = self.view_with(context, kind, &name).await?;
        let Some(owner) = view.list(kind).owner(&name) else {
            return Err(self.not_on_offer(context, kind, what, name));
        };
        let entry = self.entry(&owner.server).ok_or_else(|| RouteError::Unknown {
            what,
            name: name.clone(),
        })?;
        let renamed = (owner.own != name).then(|| object.with("name", &Raw::of(&owner.own)));
        let params = renamed.as_ref().or(params);
        // A tool may have effects; filling in a prompt has none.
        let outcome = if is_tool {
            let wish = Wish::of(context, &object);
            let is_required = view.list(kind).needs_task(&name);
            let way = if wish == Wish::None && !is_required {
                Way::Plain
            } else {
                let makes = self.makes(&entry, context, &view).await?;
                task_calls::way(wish, makes, is_required)
            };
            self.tool(&entry, context, params, way, &owner.own).await?
        } else {
            let asked = Asked {
                method,
                params,
                tool: None,
                uri: None,
                repeatable: true,
            };
            self.in_rounds(&entry, context, asked).await?
        };
        self.remember(context, &owner.server, &outcome);
        if let Err(error) = &outcome {
            self.remember_urls(&entry, context, error);
        }
        Ok(projected(context, is_tool, outcome))
    }

    async fn tool(
        &self,
        entry: &Entry,
        context: &CallContext,
        params: Option<&Raw>,
        way: Way,
        own: &str,
    ) -> Result<Outcome, RouteError> {
        let ttl = params.and_then(task_calls::ttl_wanted);
        let without_task = || Some(Object::of(params?)?.without(&["task"]));
        let params = match (way, params) {
            (Way::Task, params) => {
                let marked = self.marked(entry, context, params);
                let child = self.child_for(entry, context)?;
                return Box::pin(self.make_task(&child, context, marked)).await;
            }
            (Way::Driven, Some(params)) => {
                let child = self.child_for(entry, context)?;
                return Box::pin(self.drive_task(&child, context, params)).await;
            }
            (Way::PlainWithoutTask | Way::Hosted, _) => without_task(),
            (Way::Plain | Way::Driven, params) => params.cloned(),
        };
        let asked = Asked {
            method: mcp::method::TOOLS_CALL,
            params: params.as_ref(),
            tool: Some(own),
            uri: None,
            repeatable: false,
        };
        if way == Way::Hosted {
            return Box::pin(self.host(entry, context, asked, ttl)).await;
        }
        self.in_rounds(entry, context, asked).await
    }

    /// `resources/read`.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn read_resource(
        &self,
        context: &CallContext,
        params: Option<&Raw>,
    ) -> Result<Outcome, RouteError> {
        let (object, uri) = uri_of(params, mcp::method::RESOURCES_READ)?;
        let (owner, entry) = self.resource(context, &uri).await?;
        let own = object.with("uri", &Raw::of(&owner.own));
        let asked = Asked {
            method: mcp::method::RESOURCES_READ,
            params: Some(&own),
            tool: None,
            uri: Some(&uri),
            repeatable: true,
        };
        let outcome = self.in_rounds(&entry, context, asked).await?;
        self.remember(context, &owner.server, &outcome);
        let outcome = projected(context, false, outcome);
        if owner.own == uri {
            return Ok(outcome);
        }
        Ok(outcome.map(|result| with_exposed_uri(&result, &owner.own, &uri)))
    }

    /// `completion/complete`.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn complete(&self, context: &CallContext, params: Option<&Raw>) -> Result<Outcome, RouteError> {
        let method = mcp::method::COMPLETE;
        let object = params.and_then(Object::of).ok_or_else(|| needs_object(method))?;
        let reference = object.get("ref").filter(Raw::is_object);
        let reference =
            reference.ok_or_else(|| RouteError::BadParams("`ref` must be an object".to_owned()))?;
        let reference = Object::of(&reference).ok_or_else(|| needs_object(method))?;
        let (key, owner, entry) = self.referred(context, &reference).await?;
        let child = self.child_for(&entry, context)?;
        let (child, handshake) = match child.status().handshake {
            Some(known) => (child, Some(known)),
            None => {
                let (child, _, handshake) = self.greeted(&entry, context).await?;
                (child, handshake)
            }
        };
        let revision = handshake.as_ref().map(|handshake| handshake.revision);
        let has_capability = handshake.is_none_or(|handshake| handshake.can("completions"));
        if !has_capability && revision >= Some(mcp::Revision::V2025_03_26) {
            // We declare the capability for all, so we answer for those that lack it.
            return Ok(Ok(Raw::of(
                &serde_json::json!({ "completion": { "values": [], "hasMore": false } }),
            )));
        }
        let params = object.with("ref", &reference.with(key, &Raw::of(&owner.own)));
        let params = project::completion_for(revision, params);
        let call = asking(context, method, Params::Plain(params), true);
        self.put(&child, context, call).await
    }

    /// Parameters with our progress token, and with a span where several sessions use a process: by it the child
    /// may say whose its own messages are.
    pub(super) fn marked(&self, entry: &Entry, context: &CallContext, params: Option<&Raw>) -> Params {
        match entry.spec.policy.sharing {
            Sharing::Shared | Sharing::PerClient => Params::traced(params, &self.spans, &context.lane),
            Sharing::PerSession => Params::with_token(params),
        }
    }

    /// Remembers which elicitations an error tells a client of.
    fn remember_urls(&self, entry: &Entry, context: &CallContext, error: &Raw) {
        let ids = urls::asked_for_by(error);
        if ids.is_empty() {
            return;
        }
        // The process that has said so may have ended since; none is started for this.
        let instance = self.instance_for(entry, context);
        for id in ids {
            self.urls.note(&instance, id, &context.lane.session);
        }
    }

    /// Remembers which unlisted URIs a result shows to the client.
    pub(super) fn remember(&self, context: &CallContext, server: &ServerName, outcome: &Outcome) {
        let Ok(result) = outcome else { return };
        let mut uris = provenance::uris_in(result);
        if uris.is_empty() {
            return;
        }
        let (view, home) = (self.view(), &context.lane.home);
        uris.retain(|uri| view.list(Kind::Resources).owner(uri).is_none());
        // A session that has ended meanwhile would never be forgotten.
        if !uris.is_empty() && self.listeners.client(&context.lane.session).is_some() {
            for uri in &uris {
                self.provenance.note(home, server, uri);
            }
        }
    }

    /// A request about something that one server has made: its own business, passed on as it is.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn pass_on(
        &self,
        server: &ServerName,
        context: &CallContext,
        method: &Text,
        params: Option<&Raw>,
    ) -> Result<Outcome, RouteError> {
        let entry = self.entry(server).ok_or(RouteError::NoTask)?;
        let call = Call {
            method: method.clone(),
            params: self.marked(&entry, context, params),
            lane: Some(Arc::clone(&context.lane)),
            repeatable: false,
            patience: None,
            only: None,
            witness: None,
            is_part: false,
        };
        self.put(&self.child_for(&entry, context)?, context, call).await
    }

    /// One call to one child.
    pub(super) async fn put(
        &self,
        child: &Child,
        context: &CallContext,
        call: Call,
    ) -> Result<Outcome, RouteError> {
        // Made only where debug is logged; its fields are names and ids, never payloads.
        let span = tracing::debug_span!(
            "call",
            server = %child.name(),
            session = %context.lane.session,
            request = ?context.lane.request,
            method = call.method.as_str(),
        );
        self.put_to_who_is_there(child.clone(), context, call)
            .instrument(span)
            .await
            .map_err(|error| {
                if error == CallError::OtherProcess {
                    return RouteError::NoTask;
                }
                let server = child.name().clone();
                RouteError::Child { server, error }
            })
    }

    /// A call of our own; nobody waits for it longer than this.
    pub(super) async fn ours(&self, child: &Child, method: &'static str, params: Params) -> Option<Outcome> {
        self.ours_of(child, Call::ours(method, params)).await
    }

    /// The same, for a call that is made already.
    pub(super) async fn ours_of(&self, child: &Child, call: Call) -> Option<Outcome> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let method = call.method.clone();
        let answered = tokio::time::timeout(PATIENCE, child.call(call)).await.ok()?;
        answered
            .inspect_err(|error| tracing::debug!(server = %child.name(), method = method.as_str(), %error, "no answer"))
            .ok()
    }
}

/// A call on a client's behalf.
pub(super) fn asking(context: &CallContext, method: &'static str, params: Params, repeatable: bool) -> Call {
    Call {
        lane: Some(Arc::clone(&context.lane)),
        repeatable,
        ..Call::ours(method, params)
    }
}

/// The outcome as the client's revision can carry it.
pub(super) fn projected(context: &CallContext, is_tool: bool, outcome: Outcome) -> Outcome {
    match outcome {
        Ok(result) => Ok(project::result_for(context.revision, &result).into_owned()),
        Err(error) => project::error_for(context.revision, is_tool, &error),
    }
}

pub(super) fn uri_of<'a>(params: Option<&'a Raw>, method: &str) -> Result<(Object<'a>, String), RouteError> {
    let object = params.and_then(Object::of).ok_or_else(|| needs_object(method))?;
    let uri = object.get_string("uri").ok_or_else(|| needs_string("uri"))?;
    Ok((object, uri))
}

pub(super) fn needs_object(method: &str) -> RouteError {
    RouteError::BadParams(format!("`params` of {method} must be an object"))
}

pub(super) fn needs_string(member: &str) -> RouteError {
    RouteError::BadParams(format!("`{member}` must be a string"))
}

/// The result with the exposed URI in each of its contents that has the child's own.
fn with_exposed_uri(result: &Raw, own: &str, exposed: &str) -> Raw {
    let Some(object) = Object::of(result) else {
        return result.clone();
    };
    let Some(contents) = object.get("contents").as_ref().and_then(elements) else {
        return result.clone();
    };
    let edited: Vec<Raw> = contents
        .iter()
        .map(|content| match Object::of(content) {
            Some(object) if object.get_string("uri").as_deref() == Some(own) => {
                object.with("uri", &Raw::of(&exposed))
            }
            _another => content.clone(),
        })
        .collect();
    object.with("contents", &Raw::array(&edited))
}
