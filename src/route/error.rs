//! Why a request got no answer of a child's own.

use crate::child::CallError;
use crate::ids::ServerName;

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
    /// The client has taken it back before it was known whose it is.
    #[error("the client asked for it")]
    Cancelled,
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
        "server `{server}`: as many processes as allowed ({n_max}) are in use by other clients; `instances_max` sets the limit"
    )]
    NoInstance {
        /// Which.
        server: ServerName,
        /// The bound.
        n_max: usize,
    },
    /// No such task, or another session's (MCP 2025-11-25, tasks, "Protocol Errors").
    #[error("Failed to retrieve task: Task not found")]
    NoTask,
    /// As many tasks as allowed run for this session.
    #[error("{n_max} tasks of this session run already; wait for one, or cancel it")]
    TooManyTasks {
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
