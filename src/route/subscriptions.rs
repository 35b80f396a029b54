//! Resource subscriptions: a child is asked for the first session and told when the last one leaves; a fresh process is
//! asked again.

use std::sync::Arc;
use std::time::Duration;

use super::context::CallContext;
use super::error::RouteError;
use super::listeners::{N_SUBSCRIPTIONS_MAX, Resource};
use super::router::{Router, asking, uri_of};
use crate::child::handshake::Handshake;
use crate::child::outgoing::Params;
use crate::child::{Child, Control, Lane};
use crate::config::spec::Sharing;
use crate::ids::{Instance, OwnerKey, ServerName, SessionId};
use crate::rpc::{Outcome, Raw, mcp};
use crate::supervise::Entry;

/// How long the end of a session waits for servers that are told of what nobody wants to hear of any more.
const TELLING: Duration = Duration::from_secs(3);

impl Router {
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
        let (owner, entry) = self.resource(context, &uri).await?;
        // First there is a process, then a subscription: it must not be taken for one that a fresh process has to
        // be told of.
        let (child, link, handshake) = self.greeted(&entry, context).await?;
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
        let outcome = if link.is_modern() {
            self.subscribe_in_stream(&resource, &link).await
        } else {
            let call = asking(context, method, Params::Plain(own), true);
            self.put(&child, context, call).await
        };
        if !matches!(outcome, Ok(Ok(_))) {
            self.listeners.unsubscribe(session, &resource);
            return outcome;
        }
        self.listeners.agreed(&resource, &link);
        // It may have ended since, and then its successor may have looked too early for what to ask for.
        if let Some(now) = self.child(child.instance())
            && now.present().is_some_and(|present| !Arc::ptr_eq(&present, &link))
        {
            self.resubscribe(&now).await;
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
            let (_, entry) = self.resource(context, &uri).await?;
            can_subscribe(&entry, entry.child.status().handshake.as_deref())?;
            return Ok(Ok(Raw::empty_object()));
        };
        let is_last = self.listeners.unsubscribe(session, &resource);
        let (instance, own) = &resource;
        // A process that is not there has nothing to be told.
        let is_there = |child: &Child| is_last && child.present().is_some();
        let Some(child) = self.child(instance).filter(is_there) else {
            return Ok(Ok(Raw::empty_object()));
        };
        if self.is_modern(instance) {
            self.listening().changed(instance);
            return Ok(Ok(Raw::empty_object()));
        }
        let own = object.with("uri", &Raw::of(own));
        let call = asking(
            context,
            mcp::method::RESOURCES_UNSUBSCRIBE,
            Params::Plain(own),
            true,
        );
        self.put(&child, context, call).await
    }

    /// Whether these processes have no subscriptions of their own.
    fn is_modern(&self, instance: &Instance) -> bool {
        let present = self.child(instance).and_then(|child| child.present());
        present.is_some_and(|link| link.is_modern())
    }

    /// A session is gone: children are told of resources that nobody wants to hear of any more, and of the log level
    /// that is low enough for those who are left.
    pub async fn forget(&self, session: &SessionId) {
        let tasks = self.task_table().remove_session(session);
        let levels = match self.listeners.state_of(session) {
            (Some(_level), _) => self.levels(),
            (None, _) => Vec::new(),
        };
        let orphaned = self.listeners.remove(session);
        self.provenance().forget(session);
        let own_process = OwnerKey::session(session);
        let directory = Arc::clone(&self.directory.borrow());
        for instances in directory.iter().map(|entry| &entry.instances) {
            instances.release(&own_process).await;
        }
        let telling = async {
            self.abandon(&tasks).await;
            self.unsubscribe_all(orphaned).await;
            self.raise_levels(levels).await;
        };
        if tokio::time::timeout(TELLING, telling).await.is_err() {
            tracing::debug!(%session, "servers were not told of everything that a session has left");
        }
    }

    async fn unsubscribe_all(&self, orphaned: Vec<Resource>) {
        for (instance, own) in orphaned {
            let Some(child) = self.child(&instance) else {
                continue;
            };
            if self.is_modern(&instance) {
                self.listening().changed(&instance);
                continue;
            }
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

    /// Asks a fresh process again for what another had agreed to tell of, and tells those who listen that they may
    /// have missed something.
    pub async fn resubscribe(&self, child: &Child) {
        let Some(link) = child.present() else { return };
        if link.is_modern() {
            return self.listening().changed(child.instance());
        }
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

    /// Processes that rest, or that are one client's alone and not there, start where somebody subscribes to something
    /// of theirs: once ready they are asked for it. After the daemon's restart, and where a definition has changed.
    pub async fn revive(&self, server: Option<&ServerName>) {
        let is_meant = |instance: &Instance| server.is_none_or(|server| instance.server == *server);
        let subscribed = self.listeners.subscribed().into_iter();
        for (session, instance) in subscribed.filter(|(_, instance)| is_meant(instance)) {
            let Some(entry) = self.entry(&instance.server) else {
                continue;
            };
            if instance.owner.is_some() != (entry.spec.policy.sharing != Sharing::Shared) {
                // Another definition has other sharing.
                continue;
            }
            let context = CallContext {
                revision: mcp::Revision::NEWEST_LEGACY,
                lane: Arc::new(Lane::closed(session)),
                to: None,
            };
            match self.child_for(&entry, &context) {
                Ok(child) => child.tell(Control::Demand).await,
                Err(error) => tracing::warn!(%error, "a subscription of before the restart is lost"),
            }
        }
    }
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
