//! Who calls, as a child may see it: the revision that the client speaks, what it can do, who it says it is.

use crate::rpc::Raw;
use crate::rpc::mcp::{Era, LogLevel, Revision};
use crate::rpc::object::Object;

/// What a client said of itself: in its handshake, or in the metadata of one request.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The revision agreed on.
    pub revision: Revision,
    /// The client's name and version, as it gave them.
    pub client_info: Option<Raw>,
    /// What the client can do.
    pub capabilities: Raw,
    /// The severity from which on this request wants log messages. A client with a handshake sets it for its session,
    /// and the session keeps it.
    pub log_level: Option<LogLevel>,
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

    /// Whether servers may ask the client anything at all.
    pub fn can_be_asked(&self) -> bool {
        ["sampling", "elicitation", "roots"]
            .iter()
            .any(|name| self.capability(name).is_some())
    }

    /// Whether the client can be told in a result what it is asked, and nothing can be asked of it otherwise
    /// (2026-07-28, basic patterns, "Multi Round-Trip Requests").
    pub fn is_asked_in_results(&self) -> bool {
        self.revision.era() == Era::Modern
    }
}
