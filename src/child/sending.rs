//! A call on its way to a process, and its way back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::error::CallError;
use super::lane::Lane;
use super::link::Link;
use super::outgoing::Params;
use crate::ids::WireId;
use crate::rpc::{Outcome, Text};

/// Where the answer to a call of our own comes.
pub(super) type Answer = oneshot::Receiver<Result<Outcome, CallError>>;

/// The way back of one call. Dropped unanswered, the caller hears that the child is gone.
#[derive(Debug)]
pub struct ReplyTo {
    /// To the client, for progress.
    pub lane: Option<Arc<Lane>>,
    /// The answer.
    pub answer: oneshot::Sender<Result<Outcome, CallError>>,
    /// A place among the child's calls in flight; freed with this.
    pub place: Option<OwnedSemaphorePermit>,
    /// The last progress value: they must grow (MCP, progress).
    pub last_progress: f64,
    /// Who has to see the answer where it is read.
    pub witness: Option<Arc<dyn Witness>>,
}

/// Sees an answer before whatever the child says next is read: for answers that later messages refer to.
pub trait Witness: Send + Sync + fmt::Debug {
    /// The answer to the call `id` on this link. Never waits.
    fn answered(&self, link: &Link, id: WireId, outcome: &Outcome);

    /// Whether what the call begins outlives it. Such a call is not taken back on the wire: once its answer has come,
    /// that says what there is to end ([`Self::answered_late`]).
    fn is_of_what_outlives(&self) -> bool {
        false
    }

    /// Whether what the call begins may outlive it although it is taken back on the wire: the answer may have been on
    /// its way, and then it says what there is to end.
    fn may_outlive(&self) -> bool {
        false
    }

    /// The answer has come after all, to a call that nobody waits for any more. Never waits.
    fn answered_late(&self, _link: &Link, _id: WireId, _outcome: &Outcome) {}
}

/// One call, before it has an id.
#[derive(Debug)]
pub struct Sending {
    /// Its method.
    pub method: Text,
    /// Its parameters.
    pub params: Params,
    /// Patience that progress starts anew.
    pub patience: Duration,
    /// When it is given up in any case.
    pub hard_deadline: Instant,
    /// The way back.
    pub reply: ReplyTo,
}

impl Sending {
    /// A call of our own: no client waits for it, it takes no place among those of clients, and progress wins it no
    /// time.
    pub(super) fn ours(method: &'static str, params: Params, patience: Duration) -> (Self, Answer) {
        let (answer, answered) = oneshot::channel();
        let reply = ReplyTo {
            lane: None,
            answer,
            place: None,
            last_progress: f64::NEG_INFINITY,
            witness: None,
        };
        let sending = Self {
            method: Text::fixed(method),
            params,
            patience,
            hard_deadline: Instant::now() + patience,
            reply,
        };
        (sending, answered)
    }
}
