//! One child: a supervised stdio MCP server, across all its processes.
//!
//! [`Child`] is the handle: cheap to clone, knows how to ask, never how it is done. Its task ([`task`]) owns the
//! life ([`state`]); the present process's pipes are a [`link`], which callers use without passing the task, so
//! that a slow child delays only its own callers and supervision delays no call.

mod around;
pub mod birth;
pub mod caller;
#[cfg(target_os = "linux")]
pub mod cgroup;
mod doubt;
pub mod error;
pub mod ghosts;
pub mod handshake;
pub mod hold;
pub mod hub;
pub mod inputs;
pub mod lane;
#[cfg(target_os = "linux")]
pub mod leash;
pub mod limits;
pub mod link;
pub mod long_line;
pub mod mask;
mod meet;
pub mod modern;
mod orphans;
pub mod outgoing;
pub mod pending;
pub mod probe;
pub mod process;
pub mod program;
pub mod reader;
pub mod secrets;
pub mod sending;
pub mod stage;
pub mod state;
pub mod status;
pub mod stderr;
pub mod stop;
#[cfg(target_os = "linux")]
pub mod strays;
pub mod task;
pub mod telling;
#[cfg(target_os = "linux")]
pub mod tree;
pub mod usage;
pub mod verdict;
pub mod watch;
pub mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch as channel};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use error::CallError;
pub use lane::Lane;

use crate::config::spec::Policy;
use crate::event::Cause;
use crate::ids::{Generation, Instance, ServerName};
use crate::rpc::error::code;
use crate::rpc::{Outcome, Raw, Text};
use handshake::Handshake;
use inputs::Numbers;
use link::Link;
use outgoing::Params;
use reader::Noise;
use secrets::Missing;
use sending::{ReplyTo, Sending, Witness};
use status::{ChildStatus, Gate};
use stderr::Tail;
use usage::Footprint;

/// One call to a child.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its method.
    pub method: Text,
    /// Its parameters, in the child's own names.
    pub params: Params,
    /// The way to the client; `None` for calls of our own.
    pub lane: Option<Arc<Lane>>,
    /// Whether it may be repeated on a fresh process although the old one had received it: reads only.
    pub repeatable: bool,
    /// Patience of its own, instead of `call_timeout`: for calls whose nature it is to wait.
    pub patience: Option<Duration>,
    /// Only this process may be asked: another knows nothing of it, or something else under the same name.
    pub only: Option<Generation>,
    /// Who has to see the answer where it is read.
    pub witness: Option<Arc<dyn Witness>>,
    /// It is about something that the process has to finish, so a process that takes nothing new takes it.
    pub is_part: bool,
}

impl Call {
    /// A call of our own: a read that may be repeated, for which no client waits.
    pub fn ours(method: &'static str, params: Params) -> Self {
        Self {
            method: Text::fixed(method),
            params,
            lane: None,
            repeatable: true,
            patience: None,
            only: None,
            witness: None,
            is_part: false,
        }
    }
}

/// What the operator can tell a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// It is wanted (again).
    Enable,
    /// It is not wanted.
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
    /// The process with this number has said that it speaks another revision than was thought.
    MeetAnew(Generation),
    /// The daemon goes down.
    Shutdown,
    /// It is no longer declared, or another definition takes its place.
    Retire,
    /// A process of another definition has taken its place: also what it has to finish beside calls gets its time.
    Yield,
}

/// A child as others see it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Child(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: ServerName,
    instance: Instance,
    policy: Policy,
    control: mpsc::Sender<Control>,
    /// Set when it was told to go for good: another may have its place.
    retired: CancellationToken,
    /// The numbers of its processes, and of those that come after it.
    numbers: Numbers,
    status: channel::Receiver<ChildStatus>,
    places: Arc<Semaphore>,
    n_waiting: AtomicUsize,
    tail: Arc<Tail>,
    footprint: Arc<Footprint>,
    noise: Arc<Noise>,
    missing: Arc<Missing>,
}

impl Child {
    /// Its name.
    pub fn name(&self) -> &ServerName {
        &self.0.name
    }

    /// Which line of the server's processes it is.
    pub fn instance(&self) -> &Instance {
        &self.0.instance
    }

    /// How it is supervised.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// The numbers of its processes, for the line that takes its place.
    pub fn numbers(&self) -> &Numbers {
        &self.0.numbers
    }

    /// As it is now.
    pub fn status(&self) -> ChildStatus {
        self.0.status.borrow().clone()
    }

    /// The name of its state, and the number of its present or last process.
    pub fn state_of(&self) -> (&'static str, Generation) {
        let status = self.0.status.borrow();
        (status.state, status.generation)
    }

    /// As it is now and will be.
    pub fn watch(&self) -> channel::Receiver<ChildStatus> {
        self.0.status.clone()
    }

    /// The last lines of its stderr.
    pub fn tail(&self) -> &Arc<Tail> {
        &self.0.tail
    }

    /// What its process had to do without, as it could not be fetched: one sentence each.
    pub fn missing(&self) -> Vec<String> {
        self.0.missing.told()
    }

    /// What its process and all that this has started used when they were last measured: bytes, processes.
    pub fn footprint(&self) -> Option<(u64, u64)> {
        self.0.footprint.last()
    }

    /// Lines on its stdout that are no messages, so far.
    pub fn n_noise_lines(&self) -> u64 {
        self.0.noise.n_lines.load(Ordering::Relaxed)
    }

    /// Answers under ids that were never given, and further answers to what was answered already, so far.
    pub fn n_stray_answers(&self) -> (u64, u64) {
        let noise = &self.0.noise;
        (
            noise.n_unasked.load(Ordering::Relaxed),
            noise.n_repeated.load(Ordering::Relaxed),
        )
    }

    /// Whether both are the same line of processes under the same definition.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether it was told to go for good: a call that it no longer takes may go to whoever has its place.
    pub fn is_retired(&self) -> bool {
        self.0.retired.is_cancelled()
    }

    /// Tells its task something. Does not wait for the effect.
    pub async fn tell(&self, control: Control) {
        if matches!(control, Control::Retire | Control::Yield) {
            self.0.retired.cancel();
        }
        if self.0.control.send(control).await.is_err() {
            tracing::debug!(server = %self.0.name, ?control, "the child's task has ended");
        }
    }

    /// Whether its task has ended: no process of it is left.
    pub fn has_ended(&self) -> bool {
        self.0.control.is_closed()
    }

    /// Waits until its task has ended: no process of it is left.
    pub async fn ended(&self) {
        let mut status = self.watch();
        while status.changed().await.is_ok() {}
    }

    /// Calls it and waits for the answer. Every way to an end is one of the results.
    ///
    /// Dropped, the call goes on in the child, and its answer is swallowed: in the handshake era a client that
    /// disconnects has not cancelled (MCP 2025-11-25, transports, "Sending Messages to the Server", item 6).
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, call: Call) -> Result<Outcome, CallError> {
        let hard_deadline = Instant::now() + self.0.policy.call_max;
        let (mut repeated, mut met_anew) = (false, false);
        loop {
            // Nobody takes a place while there is no process.
            self.link_for(&call).await?;
            let place = match Arc::clone(&self.0.places).try_acquire_owned() {
                Ok(place) => place,
                Err(_none_free) => Box::pin(self.place(call.lane.as_deref())).await?,
            };
            // The process may have gone, or be going, since.
            let link = self.link_for(&call).await?;
            if call.only.is_some_and(|only| only != link.generation) {
                return Err(CallError::OtherProcess);
            }
            match self.attempt(&link, &call, place, hard_deadline).await {
                Err(CallError::Gone {
                    cause: Cause::ShuttingDown,
                    ..
                }) => return Err(CallError::ShuttingDown),
                // It waits for another process each time, so this cannot spin.
                Err(CallError::Gone { sent: false, .. }) if Instant::now() < hard_deadline => {}
                Err(CallError::Gone { sent: true, .. }) if !repeated && may_repeat(&call) => repeated = true,
                // It has not been carried out.
                Ok(Err(error)) if !met_anew && link.is_modern() && is_of_another_revision(&error) => {
                    met_anew = true;
                    Box::pin(self.meet_anew(link.generation)).await;
                }
                other => return other,
            }
        }
    }

    /// The process with this number speaks another revision than was thought: waits for the next, at most as long as a
    /// call waits for a process.
    async fn meet_anew(&self, generation: Generation) {
        self.tell(Control::MeetAnew(generation)).await;
        let mut status = self.watch();
        let next = status.wait_for(|status| status.generation > generation);
        let patience = self.0.policy.drain_timeout + self.0.policy.queue_wait;
        drop(tokio::time::timeout(patience, next).await);
    }

    /// Why it takes no calls now.
    pub fn refusal(&self) -> CallError {
        shut(&self.status())
    }

    /// Sends a notification, if there is a process that takes it.
    pub fn notify(&self, line: bytes::Bytes) -> bool {
        match &self.0.status.borrow().gate {
            // Whoever keeps nothing of its clients has nothing to be told of them.
            Gate::Open(link) => !link.is_modern() && link.post(line),
            Gate::Soon { .. } | Gate::OnDemand | Gate::Shut { .. } => false,
        }
    }

    /// Calls in flight.
    pub fn n_inflight(&self) -> usize {
        match &self.0.status.borrow().gate {
            Gate::Open(link) => link.n_inflight(),
            Gate::Soon { .. } | Gate::OnDemand | Gate::Shut { .. } => 0,
        }
    }

    /// Whether its process is in use, though no call may be in flight.
    pub fn is_held(&self) -> bool {
        self.present().is_some_and(|link| link.is_held())
    }

    /// The pipes to the present process, while it takes calls.
    pub fn present(&self) -> Option<Arc<Link>> {
        match &self.0.status.borrow().gate {
            Gate::Open(link) => Some(Arc::clone(link)),
            Gate::Soon { .. } | Gate::OnDemand | Gate::Shut { .. } => None,
        }
    }

    /// Waits for a process that takes calls, at most `queue_wait`: its pipes, and what it said of itself.
    ///
    /// # Errors
    /// There is none, or the caller no longer wants it.
    pub async fn greeted(
        &self,
        lane: Option<&Lane>,
    ) -> Result<(Arc<Link>, Option<Arc<Handshake>>), CallError> {
        loop {
            self.open_link(lane).await?;
            let status = self.status();
            if let Gate::Open(link) = status.gate {
                return Ok((link, status.handshake));
            }
            // It has gone since; the next wait is for the one after it.
        }
    }

    /// Boxes what waits: almost every call finds its process, and the future of a call stays small.
    async fn link_for(&self, call: &Call) -> Result<Arc<Link>, CallError> {
        if let Some(link) = self.link_now(call.is_part) {
            return Ok(link);
        }
        Box::pin(self.open_link(call.lane.as_deref())).await
    }

    /// The process that takes this call at once.
    fn link_now(&self, is_part: bool) -> Option<Arc<Link>> {
        let status = self.0.status.borrow();
        let finishing = status.finishing.as_ref().filter(|_| is_part);
        let open = match &status.gate {
            Gate::Open(link) => Some(link),
            Gate::Soon { .. } | Gate::OnDemand | Gate::Shut { .. } => None,
        };
        let takes_calls = |link: &&Arc<Link>| !link.is_closed();
        let found = finishing.filter(takes_calls).or(open.filter(takes_calls));
        found.cloned()
    }

    /// Waits for a process that takes calls, at most `queue_wait`.
    async fn open_link(&self, lane: Option<&Lane>) -> Result<Arc<Link>, CallError> {
        if let Some(link) = self.link_now(false) {
            return Ok(link);
        }
        let deadline = Instant::now() + self.0.policy.queue_wait;
        let mut status = self.watch();
        loop {
            let now = status.borrow_and_update().clone();
            match &now.gate {
                Gate::Open(link) if !link.is_closed() => return Ok(Arc::clone(link)),
                // No process comes after this one here.
                _shut if self.is_retired() => return Err(removed(&now)),
                // Its process is going; the next status says what comes then.
                Gate::Open(_) => {}
                Gate::Soon { at } if at.is_none_or(|at| at <= deadline) => {}
                Gate::OnDemand => self.tell(Control::Demand).await,
                Gate::Soon { .. } | Gate::Shut { .. } => return Err(shut(&now)),
            }
            tokio::select! {
                changed = status.changed() => if changed.is_err() {
                    return Err(removed(&status.borrow()));
                },
                () = self.0.retired.cancelled() => {}
                () = cancelled(lane) => return Err(CallError::Cancelled),
                () = tokio::time::sleep_until(deadline) => return Err(shut(&status.borrow())),
            }
        }
    }

    /// Takes a place among the calls in flight; waits for one behind at most `queue_max` others.
    async fn place(&self, lane: Option<&Lane>) -> Result<OwnedSemaphorePermit, CallError> {
        let shared = &self.0;
        let Some(_waiting) = Waiting::among(&shared.n_waiting, shared.policy.queue_max) else {
            return Err(CallError::Overloaded {
                n_max: shared.policy.inflight_max + shared.policy.queue_max,
            });
        };
        let patience = shared.policy.call_timeout;
        tokio::select! {
            place = Arc::clone(&shared.places).acquire_owned() => place.map_err(|_closed| CallError::ShuttingDown),
            () = cancelled(lane) => Err(CallError::Cancelled),
            () = tokio::time::sleep(patience) => Err(CallError::TimedOut { patience }),
        }
    }

    async fn attempt(
        &self,
        link: &Link,
        call: &Call,
        place: OwnedSemaphorePermit,
        hard_deadline: Instant,
    ) -> Result<Outcome, CallError> {
        let (answer, mut answered) = oneshot::channel();
        let lane = call.lane.clone();
        let reply = ReplyTo {
            lane,
            answer,
            place: Some(place),
            last_progress: f64::NEG_INFINITY,
            witness: call.witness.clone(),
        };
        let patience = call.patience.unwrap_or(self.0.policy.call_timeout);
        if let Some(lane) = &call.lane {
            lane.is_put_to(link.is_modern());
        }
        let (method, params) = (call.method.clone(), call.params.clone());
        let id = link
            .send(Sending {
                method,
                params,
                patience,
                hard_deadline,
                reply,
            })
            .map_err(|(_unsent, error)| error)?;
        let outcome = tokio::select! {
            // First: an answer that is here is given, even to a caller who has just cancelled.
            biased;
            outcome = &mut answered => outcome,
            () = cancelled(call.lane.as_deref()) => {
                link.cancel(id, "the client cancelled the request");
                return Err(CallError::Cancelled);
            }
        };
        // A way back that is dropped unanswered is a process that is gone.
        outcome.unwrap_or_else(|_dropped| {
            Err(CallError::Gone {
                cause: Cause::Asked,
                sent: true,
                retry_after: None,
            })
        })
    }
}

/// The rule of repeating: what was not sent, always; what was, only reads of which nothing was passed on yet, once.
fn may_repeat(call: &Call) -> bool {
    call.repeatable && call.lane.as_ref().is_none_or(|lane| !lane.has_spoken())
}

fn is_of_another_revision(error: &Raw) -> bool {
    matches!(
        probe::code_of(error),
        Some(code::UNSUPPORTED_VERSION | code::HEADER_MISMATCH)
    )
}

async fn cancelled(lane: Option<&Lane>) {
    match lane {
        Some(lane) => lane.cancelled().await,
        None => std::future::pending().await,
    }
}

fn removed(status: &ChildStatus) -> CallError {
    CallError::NotRunning {
        state: "removed",
        cause: status.cause.clone(),
        retry_after: None,
    }
}

fn shut(status: &ChildStatus) -> CallError {
    if let Some(Cause::CannotStart { why }) = &status.cause {
        return CallError::CannotStart { why: why.clone() };
    }
    let at = match &status.gate {
        Gate::Soon { at } => *at,
        Gate::Shut { retry_at } => *retry_at,
        Gate::Open(_) | Gate::OnDemand => None,
    };
    let retry_after = at.map(|at| at.saturating_duration_since(Instant::now()));
    CallError::NotRunning {
        state: status.state,
        cause: status.cause.clone(),
        retry_after,
    }
}

/// One of those who wait for a place.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(n_waiting: &'a AtomicUsize, n_max: usize) -> Option<Self> {
        let before = n_waiting.fetch_add(1, Ordering::AcqRel);
        let this = Self(n_waiting);
        // Dropped at once when there is no room.
        (before < n_max).then_some(this)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
