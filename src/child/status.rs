//! A child as it is now, for whoever wants to call it or to look at it.

use std::sync::Arc;

use tokio::time::Instant;

use super::handshake::Handshake;
use super::link::Link;
use crate::event::Cause;
use crate::ids::Generation;

/// A child as it is now. Published at every change of state.
#[derive(Debug, Clone)]
pub struct ChildStatus {
    /// The state's name.
    pub state: &'static str,
    /// Since when.
    pub since: Instant,
    /// What becomes of a call that comes now.
    pub gate: Gate,
    /// The number of the present or last process.
    pub generation: Generation,
    /// The process, while there is one.
    pub pid: Option<u32>,
    /// What the present process said of itself, once it has.
    pub handshake: Option<Arc<Handshake>>,
    /// The pipes to the present process while it finishes what is in flight and takes nothing new.
    pub finishing: Option<Arc<Link>>,
    /// Why the last process is gone, or none could be made.
    pub cause: Option<Cause>,
    /// Processes that ended by themselves.
    pub n_failures: u64,
}

/// What becomes of a call.
#[derive(Debug, Clone)]
pub enum Gate {
    /// It goes out at once.
    Open(Arc<Link>),
    /// It waits: the child will take calls soon, at `at` the earliest where that is known.
    Soon {
        /// When the next process is started.
        at: Option<Instant>,
    },
    /// It waits, and somebody has to say that it does: nobody needed the child until now.
    OnDemand,
    /// It is refused.
    Shut {
        /// When there is one more attempt.
        retry_at: Option<Instant>,
    },
}
