//! The way between one call and whoever made it, while it is in flight.
//!
//! A child hands progress up through it, and the caller's wish to cancel comes down through it. It costs one
//! allocation a call; its queue allocates only when something is put in.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::caller::Profile;
use crate::access::Scope;
use crate::ids::SessionId;
use crate::rpc::mcp::LogLevel;
use crate::rpc::trace::Trace;
use crate::rpc::{Raw, RequestId};

/// Messages that may wait for a slow client, per call. Beyond it the oldest progress is dropped.
pub const LANE_MESSAGES_MAX: usize = 256;

/// One call's way to its client and back.
#[derive(Debug)]
pub struct Lane {
    /// Whose call it is: the client that is asked and told what belongs to it. One request of a client without a
    /// handshake has a client side of its own.
    pub session: SessionId,
    /// What lasts longer than one request belongs to this: processes of a client's own, which URIs it was shown.
    pub home: SessionId,
    /// Calls of one peer come from the same client for certain: one session, or one connection of a client without.
    pub peer: SessionId,
    /// The id under which the client knows it.
    pub request: RequestId,
    /// Who calls, where that is known.
    pub caller: Option<Arc<Profile>>,
    /// What is there for the caller; `None` when everything is.
    pub scope: Option<Arc<Scope>>,
    /// The caller, where it holds a key: see [`crate::access::holder`].
    pub holder: Option<Arc<str>>,
    /// From which severity on its session wants log messages, where it has said so.
    pub log_level: OnceLock<LogLevel>,
    /// The token under which the client wants progress, as the client wrote it.
    progress_token: Mutex<Option<Raw>>,
    /// The span that the child was given with the call, if it was.
    pub trace: OnceLock<Trace>,
    /// `None` once the call has been answered.
    queue: Mutex<Option<VecDeque<Bytes>>>,
    bell: Notify,
    cancelled: AtomicBool,
    cancel_bell: Notify,
    spoken: AtomicBool,
    /// Whether the process that was called last needs no handshake.
    answered_by_modern: AtomicBool,
    /// Whether the server is told that the caller takes tasks (2026-07-28), whatever the caller itself has said.
    takes_tasks: AtomicBool,
    /// Our id of the task that the call has become for its client, where what it asks belongs to that.
    pub task: OnceLock<String>,
    /// The highest progress that was passed on, as bits.
    progress: AtomicU64,
    n_questions: AtomicUsize,
}

impl Lane {
    /// A lane for one request.
    pub fn new(session: SessionId, request: RequestId, progress_token: Option<Raw>) -> Self {
        Self {
            home: session.clone(),
            peer: session.clone(),
            session,
            request,
            caller: None,
            scope: None,
            holder: None,
            log_level: OnceLock::new(),
            progress_token: Mutex::new(progress_token),
            trace: OnceLock::new(),
            queue: Mutex::new(Some(VecDeque::new())),
            bell: Notify::new(),
            cancelled: AtomicBool::new(false),
            cancel_bell: Notify::new(),
            spoken: AtomicBool::new(false),
            answered_by_modern: AtomicBool::new(false),
            takes_tasks: AtomicBool::new(false),
            task: OnceLock::new(),
            progress: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
            n_questions: AtomicUsize::new(0),
        }
    }

    /// The same for a client without a session.
    pub fn of_peer(self, home: SessionId, peer: SessionId) -> Self {
        Self { home, peer, ..self }
    }

    /// The same, and who calls.
    pub fn called_by(self, caller: Option<Arc<Profile>>) -> Self {
        Self { caller, ..self }
    }

    /// The same, with what is there for the caller, and who it is if it holds a key.
    pub fn within(self, scope: Option<Arc<Scope>>, holder: Option<Arc<str>>) -> Self {
        Self {
            scope,
            holder,
            ..self
        }
    }

    /// The token under which the client wants progress, as the client wrote it.
    pub fn progress_token(&self) -> Option<Raw> {
        self.token().clone()
    }

    /// From now on the client wants progress under this token: it has asked for the same answer once more.
    pub fn set_progress_token(&self, token: Option<Raw>) {
        *self.token() = token;
    }

    fn token(&self) -> MutexGuard<'_, Option<Raw>> {
        self.progress_token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane of no call: whatever is put on it has to go another way.
    pub fn closed(session: SessionId) -> Self {
        let lane = Self::new(session, RequestId::number(0), None);
        drop(lane.finish());
        lane
    }

    /// Puts a message on its way to the client. Never waits. `false` when the call has been answered already.
    pub fn push(&self, line: Bytes) -> bool {
        let mut open = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = open.as_mut() else { return false };
        if queue.len() >= LANE_MESSAGES_MAX {
            // Newer progress says more than older; a question or a log message says something by itself.
            let doomed = queue.iter().position(is_progress).unwrap_or_default();
            queue.remove(doomed);
        }
        queue.push_back(line);
        drop(open);
        self.spoken.store(true, Ordering::Release);
        self.bell.notify_one();
        true
    }

    /// Notes what kind of process is called.
    pub(super) fn is_put_to(&self, is_modern: bool) {
        self.answered_by_modern.store(is_modern, Ordering::Release);
    }

    /// Whether the process that was called last needs no handshake: what it says of its result counts.
    pub fn is_answered_by_modern(&self) -> bool {
        self.answered_by_modern.load(Ordering::Acquire)
    }

    /// From now on its server is told that the caller takes tasks (2026-07-28): somebody here follows them.
    pub fn take_tasks(&self) {
        self.takes_tasks.store(true, Ordering::Release);
    }

    /// Whether its server is told that the caller takes tasks, whatever the caller itself has said.
    pub fn takes_tasks(&self) -> bool {
        self.takes_tasks.load(Ordering::Acquire)
    }

    /// Whether this progress is more than all before it: one call may be several to its server.
    pub(super) fn has_grown_to(&self, value: f64) -> bool {
        let grown = self
            .progress
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |before| {
                (value > f64::from_bits(before)).then(|| value.to_bits())
            });
        grown.is_ok()
    }

    /// The child has asked the client something, and waits.
    pub fn question_asked(&self) {
        self.n_questions.fetch_add(1, Ordering::AcqRel);
    }

    /// A question has come to its end.
    pub fn question_ended(&self) {
        self.n_questions.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether the client is asked something: then time is a person's, not the child's.
    pub fn is_asking(&self) -> bool {
        self.n_questions.load(Ordering::Acquire) > 0
    }

    /// Whether anything was ever put on its way to the client.
    pub fn has_spoken(&self) -> bool {
        self.spoken.load(Ordering::Acquire)
    }

    /// The next message for the client, if one waits.
    pub fn pop(&self) -> Option<Bytes> {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()?
            .pop_front()
    }

    /// The call is about to be answered: what still waits, and nothing is taken in any more.
    pub fn finish(&self) -> VecDeque<Bytes> {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or_default()
    }

    /// Waits for a message for the client.
    ///
    /// # Cancel safety
    /// Safe: a message is taken only when this returns.
    pub async fn next(&self) -> Bytes {
        loop {
            let rung = self.bell.notified();
            if let Some(line) = self.pop() {
                return line;
            }
            rung.await;
        }
    }

    /// Says that the client no longer wants an answer.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.cancel_bell.notify_waiters();
    }

    /// Whether the client no longer wants an answer.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Waits until the client no longer wants an answer.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn cancelled(&self) {
        loop {
            let rung = self.cancel_bell.notified();
            if self.is_cancelled() {
                return;
            }
            rung.await;
        }
    }
}

/// Whether this is progress: we write its line, so the method stands where we put it.
fn is_progress(line: &Bytes) -> bool {
    line.starts_with(br#"{"jsonrpc":"2.0","method":"notifications/progress""#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::mcp::method;
    use crate::rpc::message::notification_line;

    #[test]
    fn a_flood_of_progress_drops_progress_only() {
        let lane = Lane::new(SessionId::random(), RequestId::number(1), None);
        lane.push("a question".into());
        for _ in 0..2 * LANE_MESSAGES_MAX {
            lane.push(notification_line(method::PROGRESS, None));
        }
        assert_eq!(lane.pop().unwrap(), "a question");
        assert_eq!(lane.finish().len(), LANE_MESSAGES_MAX - 1);
        assert!(!lane.push("too late".into()));
    }
}
