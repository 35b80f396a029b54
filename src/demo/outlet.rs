//! The way out of a demo: whole lines, one at a time, whichever thread they come from.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::server::{Client, LogLevel};

/// Where a demo writes. Cheap to clone; every clone writes to the same client.
///
/// There is no queue: whoever writes waits until the client has read, so nothing piles up.
#[derive(Clone)]
pub(super) struct Outlet {
    shared: Arc<Shared>,
}

struct Shared {
    /// Held during a write, which may take for ever: only who wants to write takes it.
    output: Mutex<Box<dyn Write + Send>>,
    /// Why a write failed: nothing that is written after it would arrive.
    failure: Mutex<Option<io::Error>>,
    log_level: Mutex<Option<LogLevel>>,
    closed: AtomicBool,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl Outlet {
    pub(super) fn new(output: Box<dyn Write + Send>) -> Self {
        let shared = Shared {
            output: Mutex::new(output),
            failure: Mutex::new(None),
            log_level: Mutex::new(None),
            closed: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Writes one message as one line. Does nothing once the conversation is over.
    pub(super) fn write(&self, message: &Value) {
        let mut line = message.to_string();
        line.push('\n');
        let mut output = lock(&self.shared.output);
        if self.is_closed() {
            return;
        }
        let written = output.write_all(line.as_bytes()).and_then(|()| output.flush());
        if let Err(failed) = written {
            *lock(&self.shared.failure) = Some(failed);
            self.close();
        }
    }

    /// Ends the conversation without waiting for a write that is under way.
    pub(super) fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Why a write failed, once.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        lock(&self.shared.failure).take()
    }

    /// The least level of log messages that the client wants from now on.
    pub(super) fn set_log_level(&self, level: LogLevel) {
        *lock(&self.shared.log_level) = Some(level);
    }
}

impl Client for Outlet {
    fn notify(&mut self, method: &str, params: Value) {
        self.write(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn log_level(&self) -> Option<LogLevel> {
        *lock(&self.shared.log_level)
    }
}

/// Locks. What we keep under locks is whole after every statement, so a panic elsewhere spoils nothing.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
