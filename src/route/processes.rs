//! Which processes work for whom: the one that clients share, or a client's own.

use std::sync::Arc;

use tokio::time::Instant;

use super::client::Profile;
use super::context::CallContext;
use super::error::RouteError;
use super::router::Router;
use crate::child::Child;
use crate::child::handshake::Persona;
use crate::config::spec::Sharing;
use crate::ids::{Instance, OwnerKey, ServerName, SessionId};
use crate::rpc::message::notification_line;
use crate::rpc::{Raw, mcp};
use crate::supervise::Entry;
use crate::supervise::instances::TooMany;

impl Router {
    /// The child that works for the caller: the shared one, or the caller's own, which starts if it is not there.
    pub(super) fn child_for(&self, entry: &Entry, context: &CallContext) -> Result<Child, RouteError> {
        let Some(instances) = &entry.instances else {
            return Ok(entry.child.clone());
        };
        let profile = self.caller(context);
        let owner = owner(entry.spec.policy.sharing, &context.lane.home, profile.as_deref());
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

    /// The line of processes that works for the caller, whether or not it is there.
    pub(super) fn instance_for(&self, entry: &Entry, context: &CallContext) -> Instance {
        let owner = entry.instances.as_ref().map(|_| {
            let profile = self.caller(context);
            owner(entry.spec.policy.sharing, &context.lane.home, profile.as_deref())
        });
        Instance {
            server: entry.spec.name.clone(),
            owner,
        }
    }

    fn caller(&self, context: &CallContext) -> Option<Arc<Profile>> {
        let lane = &context.lane;
        lane.caller.clone().or_else(|| self.profile(&lane.session))
    }

    fn profile(&self, session: &SessionId) -> Option<Arc<Profile>> {
        self.listeners.client(session)?.profile()
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
        let profile = self.profile(session);
        let owners = [Sharing::PerSession, Sharing::PerClient]
            .map(|sharing| owner(sharing, session, profile.as_deref()));
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
}

/// Whose processes a session uses, where clients do not share them.
fn owner(sharing: Sharing, session: &SessionId, profile: Option<&Profile>) -> OwnerKey {
    match sharing {
        Sharing::Shared | Sharing::PerSession => OwnerKey::session(session),
        Sharing::PerClient => {
            OwnerKey::client(&profile.map(|profile| profile.client_name()).unwrap_or_default())
        }
    }
}
