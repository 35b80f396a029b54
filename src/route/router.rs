//! One request to the one child that answers it, in that child's own names, and the answer back in ours.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use super::client::Profile;
use super::context::CallContext;
use super::listeners::{Listeners, N_SUBSCRIPTIONS_MAX};
use super::project;
use super::provenance::{self, Provenance};
use crate::catalog::view::Owner;
use crate::catalog::{Catalog, Kind, View};
use crate::child::handshake::{Handshake, Persona};
use crate::child::link::Link;
use crate::child::outgoing::Params;
use crate::child::{Call, CallError, Child};
use crate::config::spec::Sharing;
use crate::ids::{Instance, OwnerKey, ServerName, SessionId};
use crate::rpc::message::notification_line;
use crate::rpc::object::{Object, elements};
use crate::rpc::trace::Spans;
use crate::rpc::{Outcome, Raw, Text, mcp};
use crate::supervise::instances::{Instances, TooMany};
use crate::supervise::{Directory, Entry};

/// Why a request got no answer of a child's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The parameters lack something, or it is of the wrong kind.
    #[error("Invalid params: {0}")]
    BadParams(String),
    /// No server offers this tool or prompt.
    #[error("Unknown {what}: {name}")]
    Unknown {
        /// `tool` or `prompt`.
        what: &'static str,
        /// The exposed name.
        name: String,
    },
    /// No server offers this resource.
    #[error("Resource not found: {uri}")]
    NoResource {
        /// The exposed URI.
        uri: String,
    },
    /// The server that owns it cannot do this.
    #[error("server `{server}` does not support {what}")]
    NotOffered {
        /// Whose it is.
        server: ServerName,
        /// What it cannot do.
        what: &'static str,
    },
    /// As many processes of it as allowed are in use by other clients.
    #[error(
        "server `{server}`: {n_max} clients have a process of their own already; `instances_max` sets the limit"
    )]
    NoInstance {
        /// Which.
        server: ServerName,
        /// The bound.
        n_max: usize,
    },
    /// The child gave no answer.
    #[error("server `{server}`: {error}")]
    Child {
        /// Which.
        server: ServerName,
        /// Why.
        error: CallError,
    },
}

/// Finds the child that answers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Router {
    directory: watch::Receiver<Arc<Directory>>,
    catalog: Catalog,
    listeners: Arc<Listeners>,
    provenance: Arc<Provenance>,
    spans: Arc<Spans>,
}

impl Router {
    /// A router over these children and their lists.
    pub fn new(
        directory: watch::Receiver<Arc<Directory>>,
        catalog: Catalog,
        listeners: Arc<Listeners>,
    ) -> Self {
        Self {
            directory,
            catalog,
            listeners,
            provenance: Arc::default(),
            spans: Arc::new(Spans::random()),
        }
    }

    /// What clients were shown by whom.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The merged lists.
    pub fn view(&self) -> Arc<View> {
        self.catalog.view()
    }

    /// What sessions want to hear.
    pub fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
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
        let view = self.view();
        let Some(owner) = view.list(kind).owner(&name) else {
            return Err(self.not_on_offer(kind, what, name));
        };
        let entry = self.entry(&owner.server).ok_or_else(|| RouteError::Unknown {
            what,
            name: name.clone(),
        })?;
        let renamed = (owner.own != name).then(|| object.with("name", &Raw::of(&owner.own)));
        let params = self.marked(&entry, context, renamed.as_ref().or(params));
        // A tool may have effects; filling in a prompt has none.
        let outcome = self.ask(&entry, context, method, params, !is_tool).await?;
        self.remember(context, &owner.server, &outcome);
        Ok(projected(context, is_tool, outcome))
    }

    /// A name that nobody offers now: unknown, or of a server that does not run.
    fn not_on_offer(&self, kind: Kind, what: &'static str, name: String) -> RouteError {
        let hidden = self
            .catalog
            .hidden_owner(kind, &name)
            .and_then(|server| self.entry(&server));
        match hidden {
            Some(entry) => RouteError::Child {
                server: entry.spec.name.clone(),
                error: entry.child.refusal(),
            },
            None => RouteError::Unknown { what, name },
        }
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
        let (owner, entry) = self.resource(context, &uri)?;
        let own = object.with("uri", &Raw::of(&owner.own));
        let params = self.marked(&entry, context, Some(&own));
        let outcome = self
            .ask(&entry, context, mcp::method::RESOURCES_READ, params, true)
            .await?;
        self.remember(context, &owner.server, &outcome);
        let outcome = projected(context, false, outcome);
        if owner.own == uri {
            return Ok(outcome);
        }
        Ok(outcome.map(|result| with_exposed_uri(&result, &owner.own, &uri)))
    }

    /// `resources/subscribe`: the child is asked unless it has agreed to tell of the resource already.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn subscribe(
        &self,
        context: &CallContext,
        params: Option<&Raw>,
    ) -> Result<Outcome, RouteError> {
        let (object, uri) = uri_of(params, mcp::method::RESOURCES_SUBSCRIBE)?;
        let (owner, entry) = self.resource(context, &uri)?;
        let child = self.child_for(&entry, context)?;
        // First there is a process, then a subscription: it must not be taken for one that a fresh process has to
        // be told of.
        let (link, handshake) = greeted(&child, context).await?;
        can_subscribe(&entry, handshake.as_deref())?;
        let resource = (child.instance().clone(), owner.own.clone());
        let session = &context.lane.session;
        let must_ask = self
            .listeners
            .subscribe(session, &resource, &uri)
            .map_err(|_too_many| {
                RouteError::BadParams(format!(
                    "this session subscribes to {N_SUBSCRIPTIONS_MAX} resources already"
                ))
            })?;
        if !must_ask {
            return Ok(Ok(Raw::empty_object()));
        }
        let own = object.with("uri", &Raw::of(&owner.own));
        let method = mcp::method::RESOURCES_SUBSCRIBE;
        let outcome = self.ask(&entry, context, method, Params::Plain(own), true).await;
        if !matches!(outcome, Ok(Ok(_))) {
            self.listeners.unsubscribe(session, &resource);
            return outcome;
        }
        self.listeners.agreed(&resource, &link);
        // It may have ended since, and then its successor may have looked too early for what to ask for.
        if child
            .present()
            .is_some_and(|present| !Arc::ptr_eq(&present, &link))
        {
            self.resubscribe(&child).await;
        }
        outcome
    }

    /// `resources/unsubscribe`: the child is told by the last session only.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn unsubscribe(
        &self,
        context: &CallContext,
        params: Option<&Raw>,
    ) -> Result<Outcome, RouteError> {
        let (object, uri) = uri_of(params, mcp::method::RESOURCES_UNSUBSCRIBE)?;
        let session = &context.lane.session;
        let Some(resource) = self.listeners.subscribed_as(session, &uri) else {
            let (_, entry) = self.resource(context, &uri)?;
            can_subscribe(&entry, entry.child.status().handshake.as_deref())?;
            return Ok(Ok(Raw::empty_object()));
        };
        let is_last = self.listeners.unsubscribe(session, &resource);
        let (instance, own) = &resource;
        // A process that is not there has nothing to be told.
        let is_there = self
            .child(instance)
            .is_some_and(|child| child.present().is_some());
        let Some(entry) = self.entry(&instance.server).filter(|_| is_last && is_there) else {
            return Ok(Ok(Raw::empty_object()));
        };
        let own = object.with("uri", &Raw::of(own));
        self.ask(
            &entry,
            context,
            mcp::method::RESOURCES_UNSUBSCRIBE,
            Params::Plain(own),
            true,
        )
        .await
    }

    /// A session is gone: children are told of resources that nobody wants to hear of any more.
    pub async fn forget(&self, session: &SessionId) {
        let orphaned = self.listeners.remove(session);
        self.provenance.forget(session);
        let own_process = OwnerKey::session(session);
        let directory = Arc::clone(&self.directory.borrow());
        for instances in directory.iter().filter_map(|entry| entry.instances.as_ref()) {
            instances.release(&own_process).await;
        }
        for (instance, own) in orphaned {
            let Some(child) = self.child(&instance) else {
                continue;
            };
            if child.status().handshake.is_none() {
                continue;
            }
            let params = Params::Plain(Raw::of(&serde_json::json!({ "uri": own })));
            drop(
                self.ours(&child, mcp::method::RESOURCES_UNSUBSCRIBE, params)
                    .await,
            );
        }
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
        let (key, owner, entry) = self.referred(context, &reference)?;
        let known = entry.child.status().handshake;
        let handshake = match known {
            Some(known) => Some(known),
            None => greeted(&self.child_for(&entry, context)?, context).await?.1,
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
        self.ask(&entry, context, method, Params::Plain(params), true)
            .await
    }

    /// What a completion's `ref` refers to: the member that names it, its owner, and the owner's child.
    fn referred(
        &self,
        context: &CallContext,
        reference: &Object<'_>,
    ) -> Result<(&'static str, Owner, Entry), RouteError> {
        let view = self.view();
        if let Some(name) = reference.get_string("name") {
            let unknown = || RouteError::Unknown {
                what: "prompt",
                name: name.clone(),
            };
            let owner = view.list(Kind::Prompts).owner(&name).ok_or_else(unknown)?;
            let entry = self.entry(&owner.server).ok_or_else(unknown)?;
            return Ok(("name", owner.clone(), entry));
        }
        let uri = reference.get_string("uri");
        let uri =
            uri.ok_or_else(|| RouteError::BadParams("`ref` has neither `name` nor `uri`".to_owned()))?;
        if let Some(owner) = view.list(Kind::Templates).owner(&uri) {
            let entry = self.entry(&owner.server).ok_or(RouteError::NoResource { uri })?;
            return Ok(("uri", owner.clone(), entry));
        }
        let (owner, entry) = self.resource(context, &uri)?;
        Ok(("uri", owner, entry))
    }

    /// Tells every child that can log the lowest level that any session wants.
    pub async fn spread_level(&self) {
        let directory = Arc::clone(&self.directory.borrow());
        for entry in directory.iter() {
            self.set_level(&entry.child).await;
            for owned in entry.instances.iter().flat_map(Instances::children) {
                self.set_level(&owned).await;
            }
        }
    }

    /// Tells one child, if it can log and anybody has set a level.
    pub async fn set_level(&self, child: &Child) {
        let can = child
            .status()
            .handshake
            .is_some_and(|handshake| handshake.can("logging"));
        if let Some(level) = self.listeners.lowest_level().filter(|_| can) {
            let params = Params::Plain(Raw::of(&serde_json::json!({ "level": level })));
            drop(self.ours(child, mcp::method::SET_LEVEL, params).await);
        }
    }

    /// Asks a fresh process again for what another had agreed to tell of, and tells those who listen that they may
    /// have missed something.
    pub async fn resubscribe(&self, child: &Child) {
        let Some(link) = child.present() else { return };
        for own in self.listeners.agreed_by_others(child.instance(), &link) {
            let params = Params::Plain(Raw::of(&serde_json::json!({ "uri": own })));
            let outcome = self.ours(child, mcp::method::RESOURCES_SUBSCRIBE, params).await;
            let resource = (child.instance().clone(), own);
            if matches!(outcome, Some(Ok(_))) {
                self.listeners.agreed(&resource, &link);
            }
            self.listeners.resource_updated(child.instance(), &resource.1);
        }
    }

    /// The child that works for the caller: the shared one, or the caller's own.
    fn child_for(&self, entry: &Entry, context: &CallContext) -> Result<Child, RouteError> {
        let Some(instances) = &entry.instances else {
            return Ok(entry.child.clone());
        };
        let session = &context.lane.session;
        let profile = self
            .listeners
            .client(session)
            .and_then(|client| client.profile().cloned());
        let owner = match entry.spec.policy.sharing {
            Sharing::Shared | Sharing::PerSession => OwnerKey::session(session),
            Sharing::PerClient => {
                OwnerKey::client(&profile.as_ref().map(Profile::client_name).unwrap_or_default())
            }
        };
        let persona = || Persona {
            owner: owner.clone(),
            capabilities: profile
                .as_ref()
                .map_or_else(Raw::empty_object, |profile| profile.capabilities.clone()),
            client_info: profile.as_ref().and_then(|profile| profile.client_info.clone()),
        };
        let child = instances.of(persona, &owner, Instant::now());
        child.map_err(|TooMany { n_max }| RouteError::NoInstance {
            server: entry.spec.name.clone(),
            n_max,
        })
    }

    /// One line of processes, if it is still there.
    pub fn child(&self, instance: &Instance) -> Option<Child> {
        let entry = self.entry(&instance.server)?;
        match &instance.owner {
            None => Some(entry.child),
            Some(owner) => entry.instances?.get(owner),
        }
    }

    /// A client's folders have changed: the processes that are its alone hear of it.
    pub fn roots_changed(&self, session: &SessionId) {
        let line = notification_line(mcp::method::ROOTS_CHANGED, None);
        let profile = self
            .listeners
            .client(session)
            .and_then(|client| client.profile().cloned());
        let name = profile.as_ref().map(Profile::client_name).unwrap_or_default();
        let owners = [OwnerKey::session(session), OwnerKey::client(&name)];
        let directory = Arc::clone(&self.directory.borrow());
        for instances in directory.iter().filter_map(|entry| entry.instances.as_ref()) {
            for child in owners.iter().filter_map(|owner| instances.get(owner)) {
                child.notify(line.clone());
            }
        }
    }

    /// One server's entry.
    pub fn entry(&self, server: &ServerName) -> Option<Entry> {
        self.directory.borrow().get(server.as_str()).cloned()
    }

    /// Whose resource a URI is, for this client.
    fn resource(&self, context: &CallContext, uri: &str) -> Result<(Owner, Entry), RouteError> {
        let missing = || RouteError::NoResource { uri: uri.to_owned() };
        let seen = || {
            let server = self.provenance.of(&context.lane.session, uri)?;
            self.entry(&server).map(|_| server)
        };
        let owner = self.view().owner_of_uri(uri, seen).ok_or_else(missing)?;
        let entry = self.entry(&owner.server).ok_or_else(missing)?;
        Ok((owner, entry))
    }

    /// Parameters with our progress token, and with a span where several sessions use a process: by it the child
    /// may say whose its own messages are.
    fn marked(&self, entry: &Entry, context: &CallContext, params: Option<&Raw>) -> Params {
        match entry.spec.policy.sharing {
            Sharing::Shared | Sharing::PerClient => Params::traced(params, &self.spans, &context.lane),
            Sharing::PerSession => Params::with_token(params),
        }
    }

    /// Remembers which unlisted URIs a result shows to the client.
    fn remember(&self, context: &CallContext, server: &ServerName, outcome: &Outcome) {
        let Ok(result) = outcome else { return };
        let mut uris = provenance::uris_in(result);
        if uris.is_empty() {
            return;
        }
        let (view, session) = (self.view(), &context.lane.session);
        uris.retain(|uri| view.list(Kind::Resources).owner(uri).is_none());
        // A session that has ended meanwhile would never be forgotten.
        if !uris.is_empty() && self.listeners.client(session).is_some() {
            for uri in &uris {
                self.provenance.note(session, server, uri);
            }
        }
    }

    async fn ask(
        &self,
        entry: &Entry,
        context: &CallContext,
        method: &'static str,
        params: Params,
        repeatable: bool,
    ) -> Result<Outcome, RouteError> {
        let child = &self.child_for(entry, context)?;
        let lane = Some(Arc::clone(&context.lane));
        let call = Call {
            method: Text::fixed(method),
            params,
            lane,
            repeatable,
        };
        // Made only where debug is logged; its fields are names and ids, never payloads.
        let span = tracing::debug_span!(
            "call",
            server = %child.name(),
            session = %context.lane.session,
            request = ?context.lane.request,
            method,
        );
        child
            .call(call)
            .instrument(span)
            .await
            .map_err(|error| RouteError::Child {
                server: child.name().clone(),
                error,
            })
    }

    /// A call of our own; nobody waits for it longer than this.
    async fn ours(&self, child: &Child, method: &'static str, params: Params) -> Option<Outcome> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let call = Call {
            method: Text::fixed(method),
            params,
            lane: None,
            repeatable: true,
        };
        let answered = tokio::time::timeout(PATIENCE, child.call(call)).await.ok()?;
        answered
            .inspect_err(|error| tracing::debug!(server = %child.name(), method, %error, "no answer"))
            .ok()
    }
}

/// The outcome as the client's revision can carry it.
fn projected(context: &CallContext, is_tool: bool, outcome: Outcome) -> Outcome {
    match outcome {
        Ok(result) => Ok(project::result_for(context.revision, &result).into_owned()),
        Err(error) => project::error_for(context.revision, is_tool, &error),
    }
}

async fn greeted(
    child: &Child,
    context: &CallContext,
) -> Result<(Arc<Link>, Option<Arc<Handshake>>), RouteError> {
    let greeted = child.greeted(Some(&context.lane)).await;
    greeted.map_err(|error| RouteError::Child {
        server: child.name().clone(),
        error,
    })
}

fn can_subscribe(entry: &Entry, handshake: Option<&Handshake>) -> Result<(), RouteError> {
    match handshake {
        Some(handshake) if !handshake.can_also("resources", "subscribe") => Err(RouteError::NotOffered {
            server: entry.spec.name.clone(),
            what: "resource subscriptions",
        }),
        _can_or_not_known_yet => Ok(()),
    }
}

fn uri_of<'a>(params: Option<&'a Raw>, method: &str) -> Result<(Object<'a>, String), RouteError> {
    let object = params.and_then(Object::of).ok_or_else(|| needs_object(method))?;
    let uri = object.get_string("uri").ok_or_else(|| needs_string("uri"))?;
    Ok((object, uri))
}

fn needs_object(method: &str) -> RouteError {
    RouteError::BadParams(format!("`params` of {method} must be an object"))
}

fn needs_string(member: &str) -> RouteError {
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
