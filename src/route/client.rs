//! One client as children see it: what it can do, what waits for it, what it is asked.

use std::sync::{Arc, OnceLock};

use super::outbox::Outbox;
use super::questions::Questions;
pub use crate::child::caller::Profile;

/// One client. A session leaves it with the router under its id.
#[derive(Debug, Default)]
pub struct ClientSide {
    /// What waits for the client outside its calls.
    pub outbox: Outbox,
    /// What children ask it.
    pub questions: Questions,
    profile: OnceLock<Arc<Profile>>,
}

impl ClientSide {
    /// The client of one request of 2026-07-28: it said all of itself in it.
    pub fn of_request(profile: Arc<Profile>) -> Self {
        Self {
            questions: Questions::collected(),
            profile: OnceLock::from(profile),
            ..Self::default()
        }
    }

    /// Whether it is there for one request only, and hears nothing outside of it.
    pub fn is_of_one_request(&self) -> bool {
        self.questions.are_collected()
    }

    /// The handshake. `false` when it was done before.
    pub fn introduce(&self, profile: Profile) -> bool {
        self.profile.set(Arc::new(profile)).is_ok()
    }

    /// What the client said of itself, once it has.
    pub fn profile(&self) -> Option<&Arc<Profile>> {
        self.profile.get()
    }
}
