//! Where a child can be in its life, and until when. What leads from one to the next is in `state`.

use tokio::time::Instant;

use crate::event::{Cause, Rung};

/// Where a child is in its life.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// The operator does not want it.
    Disabled,
    /// Told to rest.
    Stopped,
    /// Not needed now; the first call starts it.
    Idle,
    /// A process is being made.
    Spawning,
    /// The process runs; the handshake must be done by then.
    Handshaking {
        /// Until when.
        deadline: Instant,
    },
    /// It takes calls.
    Ready {
        /// Since when.
        since: Instant,
        /// When its failures are forgotten; `None` when they are.
        stable_at: Option<Instant>,
    },
    /// It missed its probes, and is looked at more closely.
    Unresponsive {
        /// Ready since.
        since: Instant,
        /// When it is taken for well again, if nothing more is found.
        deadline: Instant,
    },
    /// Calls in flight may finish.
    Draining {
        /// Until when.
        deadline: Instant,
        /// Why it has to go.
        why: Cause,
    },
    /// Asked to go.
    Stopping {
        /// How hard so far.
        rung: Rung,
        /// When it is asked harder.
        deadline: Instant,
        /// Why it has to go.
        why: Cause,
    },
    /// Not gone though it was killed: shown as failed, and no other is made before it is gone.
    Unkillable {
        /// When it is killed again.
        again_at: Instant,
        /// Why it has to go.
        why: Cause,
    },
    /// Waiting for the next attempt.
    Backoff {
        /// Until when.
        until: Instant,
        /// Why it is gone.
        cause: Cause,
    },
    /// No fast attempts any more.
    Failed {
        /// When it gets one more.
        retry_at: Instant,
        /// Why.
        cause: Cause,
    },
}

impl State {
    /// The state's name, as printed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Stopped => "stopped",
            Self::Idle => "idle",
            Self::Spawning => "spawning",
            Self::Handshaking { .. } => "handshaking",
            Self::Ready { .. } => "ready",
            Self::Unresponsive { .. } => "unresponsive",
            Self::Draining { .. } => "draining",
            Self::Stopping { .. } => "stopping",
            Self::Backoff { .. } => "backoff",
            Self::Failed { .. } | Self::Unkillable { .. } => "failed",
        }
    }

    /// Whether there is a process, or one is being made.
    pub fn has_process(&self) -> bool {
        match self {
            Self::Spawning
            | Self::Handshaking { .. }
            | Self::Ready { .. }
            | Self::Unresponsive { .. }
            | Self::Draining { .. }
            | Self::Stopping { .. }
            | Self::Unkillable { .. } => true,
            Self::Disabled | Self::Stopped | Self::Idle | Self::Backoff { .. } | Self::Failed { .. } => false,
        }
    }

    /// When the machine must be woken, if nothing else happens.
    pub fn wake_at(&self) -> Option<Instant> {
        match self {
            Self::Disabled | Self::Stopped | Self::Idle | Self::Spawning => None,
            Self::Ready { stable_at, .. } => *stable_at,
            Self::Handshaking { deadline }
            | Self::Unresponsive { deadline, .. }
            | Self::Draining { deadline, .. }
            | Self::Stopping { deadline, .. }
            | Self::Unkillable {
                again_at: deadline, ..
            }
            | Self::Backoff { until: deadline, .. }
            | Self::Failed {
                retry_at: deadline, ..
            } => Some(*deadline),
        }
    }
}
