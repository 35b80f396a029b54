//! The words of the machine of a child's life: what it is told, what is seen of a process, what must be done.

use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{Cause, Exit, Rung};
use crate::ids::Generation;

/// The highest number that a process of one line has had, under whichever definition: no two ever have the same.
#[derive(Debug, Clone, Default)]
pub struct Numbers(Arc<Mutex<Generation>>);

impl Numbers {
    /// Lets somebody give numbers above those that were given. Returns what that gives, and keeps the highest.
    pub(super) fn give<T>(&self, giving: impl FnOnce(Generation) -> (Generation, T)) -> T {
        let mut highest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (given, result) = giving(*highest);
        *highest = given.max(*highest);
        result
    }
}

/// What can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The operator wants it (again).
    Enable,
    /// The operator does not want it.
    Disable,
    /// Run, now.
    Start,
    /// Rest until told otherwise.
    Stop,
    /// A fresh process, now.
    Restart,
    /// Somebody calls it.
    Demand,
    /// Nobody has called it for long.
    Idle,
    /// The daemon goes down.
    Shutdown,
    /// Something was seen of the process with this number.
    Seen(Generation, Sight),
    /// `wake_at` has come.
    Woke,
}

/// What can be seen of a process.
#[derive(Debug, Clone, PartialEq)]
pub enum Sight {
    /// It runs.
    Spawned,
    /// It could not be made.
    NotSpawned(Cause),
    /// `initialize` was answered well.
    HandshakeDone,
    /// `initialize` was answered with an error or nonsense.
    HandshakeRefused(String),
    /// It has to be met anew, with a fresh process, and that is nobody's fault.
    StartOver {
        /// Whether this process is gone already.
        gone: bool,
    },
    /// The process that we started ended by itself, and its tree was ended.
    Exited(Exit),
    /// After we asked it to go: the whole tree is gone.
    TreeGone,
    /// Its stdout ended while it lives.
    StdoutClosed,
    /// Its pipes are of no more use.
    Broken(Cause),
    /// It missed so many probes as the policy allows.
    ProbesFailed,
    /// It was looked at again, more closely, and does not live.
    Hung,
    /// It sent a valid message, or was seen to work.
    Traffic,
    /// It uses more than it may.
    OverLimit {
        /// Of what.
        cause: Cause,
        /// So much more that it is not waited for.
        grossly: bool,
    },
    /// No call is in flight any more.
    Drained,
    /// What it wrote to stdout that is no message, while we wait for its handshake.
    Noise(String),
}

/// What the task must do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make a process with this number.
    Spawn(Generation),
    /// Begin the handshake.
    Handshake,
    /// Take calls.
    Open,
    /// Take no new calls; say `Drained` when none is in flight.
    Drain,
    /// Ask the process to go.
    Ask(Rung),
    /// Answer every call in flight with this.
    FailPending(Cause),
}
