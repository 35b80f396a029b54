//! Whose a name or a URI is. What nobody offers yet may be on its way: a server that has been started but has not said
//! what it offers is waited for, as calls of a server wait for its process.

use std::sync::Arc;

use super::context::CallContext;
use super::error::RouteError;
use super::router::Router;
use crate::catalog::names::Naming;
use crate::catalog::view::Owner;
use crate::catalog::{Kind, View};
use crate::ids::ServerName;
use crate::rpc::object::Object;
use crate::supervise::Entry;

impl Router {
    /// The view in which this name has an owner, if it has one at all.
    pub(super) async fn view_with(
        &self,
        context: &CallContext,
        kind: Kind,
        name: &str,
    ) -> Result<Arc<View>, RouteError> {
        let scope = context.lane.scope.as_ref();
        let view = self.view_within(scope);
        if view.list(kind).owner(name).is_some() {
            return Ok(view);
        }
        let is_there = |view: &View| view.list(kind).owner(name).is_some();
        // How long it takes must not tell of servers that are not there for who asks.
        let may_own = |entry: &Entry| {
            Self::may_see(context, kind, &entry.spec.name, name) && Naming::of(&entry.spec).may_own(name)
        };
        self.view_when(context, is_there, may_own).await
    }

    /// Whether what has this name would be there for who asks, if it were this server's.
    fn may_see(context: &CallContext, kind: Kind, server: &ServerName, name: &str) -> bool {
        let scope = context.lane.scope.as_ref();
        scope.is_none_or(|scope| match kind {
            Kind::Tools => scope.has_tool(server.as_str(), name),
            Kind::Prompts | Kind::Resources | Kind::Templates => scope.has_server(server.as_str()),
        })
    }

    async fn view_when(
        &self,
        context: &CallContext,
        is_there: impl Fn(&View) -> bool,
        may_own: impl Fn(&Entry) -> bool,
    ) -> Result<Arc<View>, RouteError> {
        let scope = context.lane.scope.as_ref();
        let is_there = |view: &Arc<View>| is_there(&self.catalog.within(view, scope));
        tokio::select! {
            view = self.catalog.view_when(is_there, may_own) => Ok(self.catalog.within(&view, scope)),
            () = context.lane.cancelled() => Err(RouteError::Cancelled),
        }
    }

    /// A name that nobody offers now: unknown, or of a server that does not run.
    pub(super) fn not_on_offer(
        &self,
        context: &CallContext,
        kind: Kind,
        what: &'static str,
        name: String,
    ) -> RouteError {
        let hidden = self
            .catalog
            .hidden_owner(kind, &name)
            .filter(|server| Self::may_see(context, kind, server, &name))
            .and_then(|server| self.entry(&server));
        match hidden {
            Some(entry) => RouteError::Child {
                server: entry.spec.name.clone(),
                error: entry.child.refusal(),
            },
            None => RouteError::Unknown { what, name },
        }
    }

    /// What a completion's `ref` refers to: the member that names it, its owner, and the owner's child.
    pub(super) async fn referred(
        &self,
        context: &CallContext,
        reference: &Object<'_>,
    ) -> Result<(&'static str, Owner, Entry), RouteError> {
        if let Some(name) = reference.get_string("name") {
            let view = self.view_with(context, Kind::Prompts, &name).await?;
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
        let scope = context.lane.scope.as_ref();
        if let Some(owner) = self.view_within(scope).list(Kind::Templates).owner(&uri) {
            let entry = self.entry(&owner.server).ok_or(RouteError::NoResource { uri })?;
            return Ok(("uri", owner.clone(), entry));
        }
        let (owner, entry) = self.resource(context, &uri).await?;
        Ok(("uri", owner, entry))
    }

    /// Whose resource a URI is, for this client.
    pub(super) async fn resource(
        &self,
        context: &CallContext,
        uri: &str,
    ) -> Result<(Owner, Entry), RouteError> {
        let missing = || RouteError::NoResource { uri: uri.to_owned() };
        let seen = || {
            let server = self.provenance().of(&context.lane.home, uri)?;
            self.entry(&server).map(|_| server)
        };
        let mut owner = self
            .view_within(context.lane.scope.as_ref())
            .owner_of_uri(uri, seen);
        if owner.is_none() {
            let is_there = |view: &View| view.owner_of_uri(uri, seen).is_some();
            // Nothing in a URI says whose it is: any server may have it.
            let may_own = |entry: &Entry| Self::may_see(context, Kind::Resources, &entry.spec.name, uri);
            let view = self.view_when(context, is_there, may_own).await?;
            owner = view.owner_of_uri(uri, seen);
        }
        let owner = owner.ok_or_else(missing)?;
        let entry = self.entry(&owner.server).ok_or_else(missing)?;
        Ok((owner, entry))
    }
}
