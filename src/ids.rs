//! Names and numbers that identify things, each with a type of its own.
//!
//! Knows nothing of the project. A `ServerName` is valid because it exists.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest server name, in characters. Leaves room for a tool's own name within the 64 that hosts accept.
pub const SERVER_NAME_CHARS_MAX: usize = 40;

/// The name under which a server is declared: `[A-Za-z0-9][A-Za-z0-9_-]*`, at most 40 characters.
///
/// It becomes the first part of every exposed tool name, and hosts accept `[A-Za-z0-9_-]` there.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName(Arc<str>);

/// Why a text is no server name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not a server name: use 1 to {SERVER_NAME_CHARS_MAX} letters, digits, `-` or `_`, starting with a letter or digit{}",
    suggestion.as_ref().map(|s| format!("; for example `{s}`")).unwrap_or_default()
)]
pub struct BadServerName {
    /// What was given.
    pub given: String,
    /// The nearest valid name, when there is one.
    pub suggestion: Option<String>,
}

impl ServerName {
    /// Checks a text.
    ///
    /// # Errors
    /// `BadServerName`, with the nearest valid name where one exists.
    pub fn parse(text: &str) -> Result<Self, BadServerName> {
        if is_server_name(text) {
            return Ok(Self(Arc::from(text)));
        }
        let near = nearest_server_name(text);
        Err(BadServerName {
            given: text.to_owned(),
            suggestion: is_server_name(&near).then_some(near),
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_server_name(text: &str) -> bool {
    let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let all_allowed = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    starts_well && all_allowed && text.len() <= SERVER_NAME_CHARS_MAX
}

fn nearest_server_name(text: &str) -> String {
    let mapped: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    mapped
        .trim_matches(['-', '_'])
        .chars()
        .take(SERVER_NAME_CHARS_MAX)
        .collect()
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for ServerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServerName {
    type Error = BadServerName;
    fn try_from(text: String) -> Result<Self, BadServerName> {
        Self::parse(&text)
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.as_str().to_owned()
    }
}

/// Whose a process is that clients do not share: a session's, or all sessions' of one client program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerKey(Arc<str>);

impl OwnerKey {
    /// A session's own.
    pub fn session(session: &SessionId) -> Self {
        Self(Arc::from(format!("session {}", session.as_str())))
    }

    /// That of all sessions of a client program; `holder` of a key shares with nobody else.
    pub fn client(holder: Option<&str>, name: &str) -> Self {
        Self(Arc::from(match holder {
            None => format!("client {name}"),
            Some(holder) => format!("{holder} client {name}"),
        }))
    }

    /// Enough to tell owners apart in a log, too little to take a session over.
    pub fn short(&self) -> &str {
        self.0.get(..16).unwrap_or(&self.0)
    }
}

/// One line of processes of a declared server: the first, which tells its lists, or one beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instance {
    /// The server.
    pub server: ServerName,
    /// Whose it is; `None` when clients share it.
    pub owner: Option<OwnerKey>,
    /// Whether it is spoken to with a handshake although the server also knows the revision without one: it works for
    /// clients with a handshake.
    pub older: bool,
    /// Which of several that all clients use in turn; 0 is the one that they share.
    pub spare: u32,
}

impl Instance {
    /// The first: clients share it, and it tells the server's lists.
    pub fn first(server: ServerName) -> Self {
        Self {
            server,
            owner: None,
            older: false,
            spare: 0,
        }
    }

    /// Whether it is the first.
    pub fn is_first(&self) -> bool {
        self.owner.is_none() && !self.older && self.spare == 0
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.fmt(f)?;
        if let Some(owner) = &self.owner {
            write!(f, " ({})", owner.short())?;
        }
        if self.older {
            f.write_str(" (handshake)")?;
        }
        if self.spare > 0 {
            write!(f, " (spare {})", self.spare)?;
        }
        Ok(())
    }
}

/// The number of one run of a child in the operating system: 1, 2, 3…
///
/// Every observation of a process bears it, so that a late report about an old process changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The number of the run after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The request id that we write to a child. Never reused within one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WireId(pub u64);

/// One client's conversation. At least 128 random bits, visible ASCII.
///
/// Source: MCP 2025-11-25, transports, "Session Management".
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// A new one: two version 4 UUIDs, 244 random bits from the operating system.
    pub fn random() -> Self {
        Self(Arc::from(format!(
            "{}{}",
            Uuid::new_v4().simple(),
            Uuid::new_v4().simple()
        )))
    }

    /// One of an earlier run: it has the shape that [`Self::random`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        let is_ours = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_ours.then(|| Self(Arc::from(text)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first characters: enough to tell sessions apart in a log, too few to take one over.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl Borrow<str> for SessionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_name_is_what_hosts_accept_in_a_tool_name() {
        for good in ["a", "9", "git", "sequential-thinking", "brave_search", "A-1_b"] {
            assert_eq!(ServerName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "_a", "a.b", "a b", "ä", &"x".repeat(41), "a/b"] {
            assert!(ServerName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_bad_server_name_comes_with_the_nearest_good_one() {
        let told = ServerName::parse("My Server.v2").unwrap_err();
        assert_eq!(told.suggestion.as_deref(), Some("My-Server-v2"));
        assert_eq!(ServerName::parse("…").unwrap_err().suggestion, None);
    }

    #[test]
    fn session_ids_are_long_visible_and_different() {
        let (a, b) = (SessionId::random(), SessionId::random());
        assert_ne!(a, b);
        assert_eq!(a.as_str().len(), 64);
        assert!(a.as_str().bytes().all(|b| (0x21..=0x7e).contains(&b)));
    }
}
