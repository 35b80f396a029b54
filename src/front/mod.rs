//! Doors: bytes in, bytes out. The only place that knows HTTP and sockets.
//!
//! [`http`] is the axum application; [`stream`] is the door for clients that speak lines over one connection, as the
//! stdio shim ([`shim`]) does; [`conversation`] is what all doors with one long connection have in common.

pub mod conversation;
pub mod http;
mod keys;
pub mod listen;
pub mod shim;
pub mod socket;
pub mod stream;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::Principal;
use crate::bridge::Engine;
use crate::catalog::Catalog;
use crate::declare::Declarations;
use crate::ids::ServerName;
use crate::session::Sessions;
use crate::supervise::ProcessManager;
use crate::tasks::Tasks;
use conversation::Conversations;
use http::guard::Guard;
use http::limits::Gate;

/// Longest request body or line from a client, bytes.
pub const BODY_BYTES_MAX: usize = 16 << 20;

/// What every door needs.
#[derive(Debug)]
pub struct Front {
    /// Answers requests.
    pub engine: Engine,
    /// All conversations.
    pub sessions: Sessions,
    /// The children.
    pub manager: ProcessManager,
    /// Their lists.
    pub catalog: Catalog,
    /// The clients of HTTP+SSE, by session.
    pub conversations: Conversations,
    /// The streams of changes of clients without a handshake.
    pub listens: listen::Listens,
    /// What is declared.
    pub declarations: Declarations,
    /// Who may come in.
    pub guard: Guard,
    /// Owner of the doors' tasks.
    pub tasks: Tasks,
    /// When the daemon was started.
    pub started: Instant,
    /// The owner of the data folder: who comes over its sockets.
    pub owner: Arc<Principal>,
    /// What is known of those who come over the network.
    pub gate: Arc<Gate>,
    /// Held while the keys are read.
    pub reading_keys: tokio::sync::Mutex<()>,
    /// The servers that start with the daemon; set before its doors open.
    pub first: OnceLock<HashSet<ServerName>>,
    /// The URL of the MCP endpoint.
    pub url: String,
    /// Cancelled when no new request is taken any more.
    pub closing: CancellationToken,
    /// Cancelled when somebody asks for the end of the daemon.
    pub told_to_stop: CancellationToken,
}

/// A [`Front`] as handlers share it.
pub type Shared = Arc<Front>;
