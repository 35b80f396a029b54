//! Follows tasks that servers of 2026-07-28 make of calls: looks how they stand, puts what they ask to the client, and
//! brings what they come to.
//!
//! Source: extension `io.modelcontextprotocol/tasks` (SEP-2663), "Task Polling", "Task Update Requests".

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::context::CallContext;
use super::error::RouteError;
use super::needs::{Needs, aborted, collected, faulty, input_requests_of};
use super::rounds::{Stopped, failed};
use super::router::Router;
use super::task_table::HOSTED_MAX;
use super::task_words::{Status, outcome_of, pause_of};
use crate::child::hold::Work;
use crate::child::link::Link;
use crate::child::outgoing::Params;
use crate::child::sending::Witness;
use crate::child::{Call, CallError, Child, Lane};
use crate::ids::{Generation, WireId};
use crate::rpc::error::code;
use crate::rpc::mcp::method;
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, RpcError, Text};
use crate::supervise::Entry;

/// A task is looked at no more often than this, whatever it suggests.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Nor more seldom.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Questions that one task may put; no key stands for two.
const N_KEYS_MAX: usize = 256;

/// Sees which process makes a task of a call, and keeps it until the task is over.
#[derive(Debug)]
pub(super) struct Maker {
    lane: Arc<Lane>,
    made: OnceLock<(Generation, Arc<Work>)>,
}

impl Maker {
    /// For this call.
    pub(super) fn new(lane: &Arc<Lane>) -> Arc<Self> {
        Arc::new(Self {
            lane: Arc::clone(lane),
            made: OnceLock::new(),
        })
    }
}

impl Witness for Maker {
    fn answered(&self, link: &Link, _id: WireId, outcome: &Outcome) {
        if outcome.as_ref().ok().and_then(own_name).is_some() {
            self.made.get_or_init(|| (link.generation, Arc::new(link.work())));
        }
    }

    fn may_outlive(&self) -> bool {
        self.lane.takes_tasks()
    }

    fn answered_late(&self, link: &Link, id: WireId, outcome: &Outcome) {
        if let Some(own) = outcome.as_ref().ok().and_then(own_name) {
            let params = Params::Plain(Raw::of(&serde_json::json!({ "taskId": own })));
            link.end_what_began(id, &self.lane.peer, method::TASKS_CANCEL, params);
        }
    }
}

/// What a server calls the task that it has made of a call; `None` where it has made none.
fn own_name(result: &Raw) -> Option<String> {
    // A look at the text is enough for almost every result.
    if !result.as_str().contains("\"taskId\"") {
        return None;
    }
    let result = Object::of(result)?;
    let is_task = result.get_string("resultType").as_deref() == Some("task");
    result.get_string("taskId").filter(|_| is_task)
}

/// A task that a server has made of a call.
#[derive(Debug)]
pub(super) struct Made {
    child: Child,
    generation: Generation,
    own: String,
    /// As the server has told of it last.
    pub(super) task: Raw,
    /// Its process is in use until it is over.
    _work: Arc<Work>,
}

impl Made {
    /// The task in an answer that says that it is one; `None` where it has no name.
    pub(super) fn of(child: &Child, maker: &Maker, outcome: &Outcome) -> Option<Self> {
        let task = outcome.as_ref().ok()?;
        let own = own_name(task)?;
        let (generation, work) = maker.made.get()?;
        Some(Self {
            child: child.clone(),
            generation: *generation,
            own,
            task: task.clone(),
            _work: Arc::clone(work),
        })
    }

    fn about(&self, method: &'static str, responses: Option<&Raw>) -> Call {
        let params = Raw::of(&serde_json::json!({ "taskId": self.own }));
        let params = match (responses, Object::of(&params)) {
            (Some(responses), Some(params)) => params.with("inputResponses", responses),
            (_, _) => params.clone(),
        };
        Call {
            method: Text::fixed(method),
            // Another process knows nothing of it, or something else under the same name.
            only: Some(self.generation),
            is_part: true,
            repeatable: false,
            ..Call::ours(method, Params::Plain(params))
        }
    }
}

/// Another process has come in the place of the one that worked on a task: nobody knows what has become of it.
pub(super) fn process_gone() -> Raw {
    RpcError::new(
        code::CHILD_EXITED,
        "the process that worked on the task has ended",
    )
    .raw()
}

/// What a task came to that was followed.
#[derive(Debug)]
pub(super) enum Followed {
    Outcome(Outcome),
    /// Its server has ended it.
    Cancelled,
}

impl Followed {
    /// The same for the call of which the task was made.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Outcome(outcome) => outcome,
            Self::Cancelled => {
                Err(RpcError::new(code::INTERNAL_ERROR, "the server has cancelled the task").raw())
            }
        }
    }
}

impl Router {
    /// Follows a task to its end. What it asks is put to the client of this call.
    pub(super) async fn follow(
        &self,
        entry: &Entry,
        context: &CallContext,
        made: &Made,
    ) -> Result<Followed, RouteError> {
        let hosted = context.lane.task.get();
        let limit = if hosted.is_some() {
            HOSTED_MAX
        } else {
            made.child.policy().call_max
        };
        let mut task = made.task.clone();
        let (mut put, mut spent) = (BTreeSet::new(), Duration::ZERO);
        loop {
            let status = Status::of(&task);
            if let Some(outcome) = outcome_of(&task) {
                return Ok(Followed::Outcome(outcome));
            }
            match status {
                Some(Status::Working) => {}
                Some(Status::Cancelled) => return Ok(Followed::Cancelled),
                Some(Status::InputRequired) => {
                    let done = self.supplied(entry, context, made, &task, &mut put).await;
                    match done {
                        Ok(()) => {}
                        Err(Stopped::Error(error)) => {
                            self.stop(made).await;
                            return Ok(Followed::Outcome(aborted(method::TOOLS_CALL, error)));
                        }
                        Err(Stopped::Route(error)) => {
                            self.stop(made).await;
                            return Err(error);
                        }
                    }
                }
                Some(Status::Completed | Status::Failed) | None => {
                    return Ok(Followed::Outcome(Err(faulty(
                        "it made a task of the call, and does not say how that stands",
                    ))));
                }
            }
            if spent >= limit {
                self.stop(made).await;
                return Err(failed(&made.child, CallError::TimedOut { patience: limit }));
            }
            let pause = pause_of(&task, PAUSE_MIN, PAUSE_MAX);
            let began = Instant::now();
            tokio::select! {
                biased;
                () = context.lane.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
            match self.look(context, made).await {
                Ok(Ok(now)) => task = now,
                Ok(Err(error)) => return Ok(Followed::Outcome(Err(error))),
                // The next look may find room.
                Err(RouteError::Child {
                    error: CallError::Overloaded { .. },
                    ..
                }) => {}
                Err(RouteError::NoTask) => return Ok(Followed::Outcome(Err(process_gone()))),
                Err(error) => {
                    self.stop(made).await;
                    return Err(error);
                }
            }
            spent += began.elapsed();
            if let Some(ours) = hosted {
                self.task_table().heard(ours, &task);
            }
        }
    }

    /// How a task stands. A client that does not want it any more looks no more.
    async fn look(&self, context: &CallContext, made: &Made) -> Result<Outcome, RouteError> {
        if context.lane.is_cancelled() {
            return Err(failed(&made.child, CallError::Cancelled));
        }
        let call = Call {
            lane: Some(Arc::clone(&context.lane)),
            ..made.about(method::TASKS_GET, None)
        };
        self.put(&made.child, context, call).await
    }

    /// Gives a task what it asks and was not given before.
    async fn supplied(
        &self,
        entry: &Entry,
        context: &CallContext,
        made: &Made,
        task: &Raw,
        put: &mut BTreeSet<String>,
    ) -> Result<(), Stopped> {
        let all = Object::of(task).map(|task| input_requests_of(&task));
        let mut needs = match all {
            Some(Ok(all)) => Needs { all, state: None },
            Some(Err(why)) => return Err(Stopped::Error(faulty(&why))),
            None => return Ok(()),
        };
        needs.all.retain(|need| !put.contains(&need.key));
        if needs.all.is_empty() {
            return Ok(());
        }
        put.extend(needs.all.iter().map(|need| need.key.clone()));
        if put.len() > N_KEYS_MAX {
            return Err(Stopped::Error(faulty(&format!(
                "its task asked more than {N_KEYS_MAX} questions"
            ))));
        }
        let answers = self.asked_in_task(entry, context, made, &needs).await?;
        let responses = collected(&answers);
        let call = Call {
            lane: Some(Arc::clone(&context.lane)),
            ..made.about(method::TASKS_UPDATE, Some(&responses))
        };
        match self.put(&made.child, context, call).await {
            Ok(Ok(_acknowledged)) => Ok(()),
            Ok(Err(error)) => Err(Stopped::Error(error)),
            Err(error) => Err(Stopped::Route(error)),
        }
    }

    /// Where the client knows of a task it sees that this waits for it, and is asked where it waits for the end.
    async fn asked_in_task(
        &self,
        entry: &Entry,
        context: &CallContext,
        made: &Made,
        needs: &Needs,
    ) -> Result<Vec<(String, Raw)>, Stopped> {
        let Some(ours) = context.lane.task.get() else {
            return self.gathered(entry, &made.child, context, needs).await;
        };
        self.tell_of_hosted(context, self.task_table().asks(ours, true).as_ref());
        tokio::select! {
            biased;
            () = context.lane.cancelled() => {
                return Err(Stopped::Route(failed(&made.child, CallError::Cancelled)));
            }
            () = self.waiter_of(ours) => {}
        }
        let answers = self.gathered(entry, &made.child, context, needs).await;
        self.tell_of_hosted(context, self.task_table().asks(ours, false).as_ref());
        answers
    }

    /// Nobody wants the task any more.
    async fn stop(&self, made: &Made) {
        drop(
            self.ours_of(&made.child, made.about(method::TASKS_CANCEL, None))
                .await,
        );
    }
}
