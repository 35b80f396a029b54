//! Why a call to a child gave no answer: each kind apart, because the caller's best next step differs.

use std::time::Duration;

use crate::event::Cause;

/// Why a call gave no answer of the child's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The process ended while the call was in flight.
    #[error("{cause}{}", if *sent { "; the request had been sent, so it may have taken effect" } else { "; the request had not been sent" })]
    Gone {
        /// Why it is gone.
        cause: Cause,
        /// Whether a byte of the request may have reached it.
        sent: bool,
        /// When it is started again, if it is.
        retry_after: Option<Duration>,
    },
    /// No answer in time.
    #[error("no answer within {}", humantime::format_duration(*patience))]
    TimedOut {
        /// How long we waited.
        patience: Duration,
    },
    /// There is no process, and there will be none in time.
    #[error("it is not running (state {state}){}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    NotRunning {
        /// The child's state.
        state: &'static str,
        /// Why.
        cause: Option<Cause>,
        /// When the next attempt is.
        retry_after: Option<Duration>,
    },
    /// It cannot be started as it is declared.
    #[error("it cannot be started: {why}")]
    CannotStart {
        /// What the operating system said.
        why: String,
    },
    /// Too many calls wait for it.
    #[error("{n_max} calls wait for it already")]
    Overloaded {
        /// The bound that was hit.
        n_max: usize,
    },
    /// Its answer is longer than allowed.
    #[error("its answer has {n_bytes} bytes, more than the {n_bytes_max} allowed")]
    TooLarge {
        /// Length of the answer.
        n_bytes: usize,
        /// The bound: `message_bytes_max`.
        n_bytes_max: usize,
    },
    /// Its answer is no valid message.
    #[error("its answer is no valid message: {why}")]
    BadAnswer {
        /// What is wrong with it.
        why: String,
    },
    /// The process that alone could answer is gone.
    #[error("the process that it was for is gone")]
    OtherProcess,
    /// The caller took the call back.
    #[error("the call was cancelled")]
    Cancelled,
    /// The daemon goes down.
    #[error("mcp-wrapper is going down")]
    ShuttingDown,
}

impl CallError {
    /// Whether no process took it, and none of this definition ever will.
    pub fn was_not_taken(&self) -> bool {
        matches!(self, Self::NotRunning { state: "removed", .. })
    }
}
