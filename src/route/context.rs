//! Everything that is known about one call, apart from what it asks.
//!
//! The pivot of the data path: each door makes one per request, from its session in the handshake era, from the
//! request's own metadata in the era after it. What lies behind it never asks which of the two it was.

use std::sync::Arc;

use crate::child::Lane;
use crate::ids::ServerName;
use crate::rpc::mcp::Revision;

/// One call's circumstances.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The revision that the client speaks.
    pub revision: Revision,
    /// The way to the client: its session, its own id and token, and what may be sent before the answer.
    pub lane: Arc<Lane>,
    /// The server that it is for, where the request itself names none.
    pub to: Option<ServerName>,
}
