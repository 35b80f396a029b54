//! The way between one call and whoever made it, while it is in flight.
//!
//! A child hands progress up through it, and the caller's wish to cancel comes down through it. It costs one
//! allocation a call; its queue allocates only when something is put in.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::ids::SessionId;
use crate::rpc::{Raw, RequestId};

/// Messages that may wait for a slow client, per call. Beyond it the oldest is dropped: newer progress says more.
pub const LANE_MESSAGES_MAX: usize = 256;

/// One call's way to its client and back.
#[derive(Debug)]
pub struct Lane {
    /// Whose call it is.
    pub session: SessionId,
    /// The id under which the client knows it.
    pub request: RequestId,
    /// The token under which the client wants progress, as the client wrote it.
    pub progress_token: Option<Raw>,
    queue: Mutex<VecDeque<Bytes>>,
    bell: Notify,
    cancelled: AtomicBool,
    cancel_bell: Notify,
    spoken: AtomicBool,
    n_questions: AtomicUsize,
    closed: AtomicBool,
}

impl Lane {
    /// A lane for one request.
    pub fn new(session: SessionId, request: RequestId, progress_token: Option<Raw>) -> Self {
        Self {
            session,
            request,
            progress_token,
            queue: Mutex::default(),
            bell: Notify::new(),
            cancelled: AtomicBool::new(false),
            cancel_bell: Notify::new(),
            spoken: AtomicBool::new(false),
            n_questions: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// The lane of no call: whatever is put on it has to go another way.
    pub fn closed(session: SessionId) -> Self {
        let lane = Self::new(session, RequestId::number(0), None);
        lane.close();
        lane
    }

    /// Nobody takes messages from here any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Puts a message on its way to the client. Never waits. `false` when nobody takes it from here any more.
    pub fn push(&self, line: Bytes) -> bool {
        if self.closed.load(Ordering::Acquire) {
            return false;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= LANE_MESSAGES_MAX {
            queue.pop_front();
        }
        queue.push_back(line);
        drop(queue);
        self.spoken.store(true, Ordering::Release);
        self.bell.notify_one();
        true
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
            .pop_front()
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
