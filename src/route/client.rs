//! One client as children see it: what it can do, what waits for it, what it is asked.

use std::sync::OnceLock;

use super::outbox::Outbox;
use super::questions::Questions;
use crate::rpc::Raw;
use crate::rpc::mcp::Revision;
use crate::rpc::object::Object;

/// One client. A session leaves it with the router under its id.
#[derive(Debug, Default)]
pub struct ClientSide {
    /// What waits for the client outside its calls.
    pub outbox: Outbox,
    /// What children ask it.
    pub questions: Questions,
    profile: OnceLock<Profile>,
}

/// What the client said of itself in its handshake.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The revision agreed on.
    pub revision: Revision,
    /// The client's name and version, as it gave them.
    pub client_info: Option<Raw>,
    /// What the client can do.
    pub capabilities: Raw,
}

impl ClientSide {
    /// The handshake. `false` when it was done before.
    pub fn introduce(&self, profile: Profile) -> bool {
        self.profile.set(profile).is_ok()
    }

    /// What the client said of itself, once it has.
    pub fn profile(&self) -> Option<&Profile> {
        self.profile.get()
    }
}

impl Profile {
    /// The client program's name; empty when it gave none.
    pub fn client_name(&self) -> String {
        let info = self.client_info.as_ref().and_then(Object::of);
        info.and_then(|info| info.get_string("name")).unwrap_or_default()
    }

    /// A capability that the client declared.
    pub fn capability(&self, name: &str) -> Option<Raw> {
        Object::of(&self.capabilities)?.get(name).filter(Raw::is_object)
    }

    /// A part of a capability, such as `url` of `elicitation`.
    pub fn capability_part(&self, name: &str, part: &str) -> Option<Raw> {
        Object::of(&self.capability(name)?)?
            .get(part)
            .filter(Raw::is_object)
    }
}
