//! One client as children see it: what it can do, what waits for it, what it is asked.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::outbox::Outbox;
use super::questions::Questions;
use crate::access::Scope;
pub use crate::child::caller::Profile;
use crate::rpc::Raw;

/// One client. A session leaves it with the router under its id.
#[derive(Debug, Default)]
pub struct ClientSide {
    /// What waits for the client outside its calls.
    pub outbox: Outbox,
    /// What children ask it.
    pub questions: Questions,
    profile: RwLock<Option<Arc<Profile>>>,
    is_of_task: bool,
    scope: Option<Arc<Scope>>,
    holder: Option<Arc<str>>,
    /// What a server wanted of it and it has not declared, as in `clientCapabilities`.
    lacked: Mutex<Option<Raw>>,
}

impl ClientSide {
    /// The client of one request of 2026-07-28: it said all of itself in it.
    pub fn of_request(profile: Arc<Profile>) -> Self {
        Self {
            questions: Questions::collected(),
            profile: RwLock::new(Some(profile)),
            ..Self::default()
        }
    }

    /// The client of a task that is looked after here, which finds in the task what it is asked. No request of it is
    /// open, so nobody waits for it when the daemon goes down.
    pub fn of_task(profile: Arc<Profile>) -> Self {
        Self {
            is_of_task: true,
            ..Self::of_request(profile)
        }
    }

    /// The same, with what is there for it, and who it is if it holds a key.
    pub fn within(self, scope: Option<Arc<Scope>>, holder: Option<Arc<str>>) -> Self {
        Self {
            scope,
            holder,
            ..self
        }
    }

    /// Who it is, if it holds a key: see [`crate::access::holder`].
    pub fn holder(&self) -> Option<&str> {
        self.holder.as_deref()
    }

    /// What is there for it; `None` when everything is.
    pub fn scope(&self) -> Option<&Arc<Scope>> {
        self.scope.as_ref()
    }

    /// Whether a request of it is being worked on, or tells of changes.
    pub fn has_request(&self) -> bool {
        self.is_of_one_request() && !self.is_of_task
    }

    /// Whether it is there for one request only, and hears nothing outside of it.
    pub fn is_of_one_request(&self) -> bool {
        self.questions.are_collected()
    }

    /// The handshake. `false` when it was done before.
    pub fn introduce(&self, profile: Profile) -> bool {
        let mut known = self.profile.write().unwrap_or_else(PoisonError::into_inner);
        let is_first = known.is_none();
        if is_first {
            *known = Some(Arc::new(profile));
        }
        is_first
    }

    /// A server wanted something of it that it has not declared.
    pub fn note_lacked(&self, needed: Raw) {
        *self.lacked.lock().unwrap_or_else(PoisonError::into_inner) = Some(needed);
    }

    /// What a server wanted of it last that it has not declared.
    pub fn lacked(&self) -> Option<Raw> {
        self.lacked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A further request of a client without a handshake continues this one, and says anew what the client is.
    pub fn say_anew(&self, profile: Arc<Profile>) {
        *self.profile.write().unwrap_or_else(PoisonError::into_inner) = Some(profile);
    }

    /// What the client said of itself, once it has.
    pub fn profile(&self) -> Option<Arc<Profile>> {
        self.profile
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::route::Listeners;
    use crate::rpc::mcp::Revision;

    #[test]
    fn a_task_is_no_request_that_somebody_waits_for() {
        let profile = Arc::new(Profile {
            revision: Revision::NEWEST,
            client_info: None,
            capabilities: Raw::empty_object(),
            log_level: None,
        });
        let listeners = Listeners::default();
        let task = Arc::new(ClientSide::of_task(Arc::clone(&profile)));
        assert!(task.questions.are_collected());
        listeners.add(SessionId::random(), task);
        assert_eq!(listeners.n_requests(), 0);
        listeners.add(SessionId::random(), Arc::new(ClientSide::of_request(profile)));
        assert_eq!(listeners.n_requests(), 1);
    }
}
