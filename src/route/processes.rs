//! Which processes work for whom: the one that clients share, or a client's own; and, where a server answers both eras,
//! one that is spoken to as its clients speak.
//!
//! A server that answers both is shared in the newer era: each of its questions names its call there. But what its tools
//! ask in the older way (requests of their own within a call) they cannot ask so. So a client with a handshake that can
//! be asked is served by a process with a handshake, as if they met directly.

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
    /// The child that works for the caller: a shared one, or the caller's own. It starts if it is not there.
    pub(super) fn child_for(&self, entry: &Entry, context: &CallContext) -> Result<Child, RouteError> {
        let instance = self.instance_for(entry, context);
        if instance.is_first() {
            return Ok(entry.child.clone());
        }
        let persona = || {
            let profile = self.caller(context);
            Some(Persona {
                owner: instance.owner.clone()?,
                capabilities: profile
                    .as_ref()
                    .map_or_else(Raw::empty_object, |profile| profile.capabilities.clone()),
                client_info: profile.as_ref().and_then(|profile| profile.client_info.clone()),
            })
        };
        let child = entry.instances.of(persona, &instance, Instant::now());
        match child {
            Ok(child) => Ok(child),
            // Better in the other era than not at all.
            Err(_too_many) if instance.owner.is_none() => Ok(entry.child.clone()),
            Err(TooMany { n_max }) => Err(RouteError::NoInstance {
                server: entry.spec.name.clone(),
                n_max,
            }),
        }
    }

    /// The line of processes that works for the caller, whether or not it is there.
    pub(super) fn instance_for(&self, entry: &Entry, context: &CallContext) -> Instance {
        let sharing = entry.spec.policy.sharing;
        let is_shared = sharing == Sharing::Shared;
        let may_shake_hands = entry.instances.may_shake_hands();
        let first = || Instance::first(entry.spec.name.clone());
        if is_shared && !may_shake_hands {
            return first();
        }
        let profile = self.caller(context);
        let owner = (!is_shared).then(|| {
            let holder = context.lane.holder.as_deref();
            owner(sharing, &context.lane.home, holder, profile.as_deref())
        });
        let newer = Instance { owner, ..first() };
        let wants_handshake = profile
            .is_some_and(|profile| !profile.is_asked_in_results() && (!is_shared || profile.can_be_asked()));
        if !may_shake_hands || !wants_handshake || shakes_hands(entry) {
            return newer;
        }
        let older = Instance {
            older: true,
            ..newer.clone()
        };
        if entry.instances.is_late(&older, Instant::now()) {
            return newer;
        }
        older
    }

    pub(super) fn caller(&self, context: &CallContext) -> Option<Arc<Profile>> {
        let lane = &context.lane;
        lane.caller.clone().or_else(|| self.profile(&lane.session))
    }

    fn profile(&self, session: &SessionId) -> Option<Arc<Profile>> {
        self.listeners.client(session)?.profile()
    }

    /// One line of processes, if it is still there.
    pub fn child(&self, instance: &Instance) -> Option<Child> {
        let entry = self.entry(&instance.server)?;
        entry.of_line(instance)
    }

    /// A client's folders have changed: the processes that are its alone hear of it.
    pub fn roots_changed(&self, session: &SessionId) {
        let line = notification_line(mcp::method::ROOTS_CHANGED, None);
        let profile = self.profile(session);
        let client = self.listeners.client(session);
        let holder = client.as_ref().and_then(|client| client.holder());
        let owners = [Sharing::PerSession, Sharing::PerClient]
            .map(|sharing| owner(sharing, session, holder, profile.as_deref()));
        let directory = Arc::clone(&self.directory.borrow());
        let others = directory.iter().flat_map(|entry| entry.instances.children());
        let is_its = |child: &Child| {
            child
                .instance()
                .owner
                .as_ref()
                .is_some_and(|owner| owners.contains(owner))
        };
        for child in others.filter(is_its) {
            child.notify(line.clone());
        }
    }

    /// One server's entry.
    pub fn entry(&self, server: &ServerName) -> Option<Entry> {
        self.directory.borrow().get(server.as_str()).cloned()
    }
}

/// Whether the first process speaks with a handshake itself: there is nothing that another could do better.
fn shakes_hands(entry: &Entry) -> bool {
    let first = entry.child.status().handshake;
    first.is_some_and(|first| !first.is_modern())
}

/// Whose processes a session uses, where clients do not share them.
fn owner(sharing: Sharing, session: &SessionId, holder: Option<&str>, profile: Option<&Profile>) -> OwnerKey {
    match sharing {
        Sharing::Shared | Sharing::PerSession => OwnerKey::session(session),
        Sharing::PerClient => {
            let name = profile.map(|profile| profile.client_name());
            OwnerKey::client(holder, &name.unwrap_or_default())
        }
    }
}
