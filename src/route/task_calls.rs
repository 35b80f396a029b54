//! Tasks of MCP 2025-11-25: made by `tools/call`, then asked after, waited for, listed and cancelled.
//!
//! A client that knows tasks gets them under our ids. For one that does not, a tool that runs as a task only is driven
//! to its end here, and its call is answered as any other. Where the child's tasks are of another kind than the
//! client's, the task is hosted ([`super::hosting`]); here it is asked after like all others.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::context::CallContext;
use super::error::RouteError;
use super::related;
use super::router::{Router, needs_object, needs_string};
use super::task_table::{Creation, N_TASKS_MAX, Task, TaskTable, task_of};
use super::task_words::shown_for_handshake;
use crate::catalog::View;
use crate::child::outgoing::Params;
use crate::child::sending::Witness;
use crate::child::{Call, CallError, Child, Lane};
use crate::rpc::error::code;
use crate::rpc::mcp::{Revision, TASKS_EXTENSION, method};
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, Text};
use crate::supervise::Entry;

/// Tasks on one page of a list.
const N_PAGE_TASKS: usize = 100;

/// How long a list waits for children to say how their tasks stand.
const LIST_PATIENCE: Duration = Duration::from_secs(2);

/// What a client wants of tasks with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing.
    None,
    /// Its call has the member `task`, and its revision knows none.
    Meaningless,
    /// A task (2025-11-25).
    Task,
    /// It takes one where the server makes one (2026-07-28, extension).
    AsItComes,
}

impl Wish {
    /// The wish of a call.
    pub(super) fn of(context: &CallContext, params: &Object<'_>) -> Self {
        let caller = context.lane.caller.as_ref();
        let asks = params.get("task").is_some_and(|task| task.is_object());
        let takes = || caller?.capability_part("extensions", TASKS_EXTENSION);
        match (context.revision, asks) {
            (Revision::V2026_07_28, _) if takes().is_some() => Self::AsItComes,
            (Revision::V2025_11_25, true) => Self::Task,
            (_, true) => Self::Meaningless,
            (_, false) => Self::None,
        }
    }
}

/// How a tool is called, as far as tasks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The client wants a task, and the server makes tasks.
    Task,
    /// The client takes tasks, and the server makes them of another kind.
    Hosted,
    /// The tool runs as a task only, and the client wants none.
    Driven,
    /// As any other call.
    Plain,
    /// As any other call, without the member `task`: to this client it means nothing.
    PlainWithoutTask,
}

/// How long the client of a call wants to have its task.
pub(super) fn ttl_wanted(params: &Raw) -> Option<Duration> {
    let task = Object::of(params)?.get("task")?;
    let ttl = Object::of(&task)?.get("ttl")?.as_str().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(ttl / 1000.0).ok()
}

/// The kind of tasks that a server makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Makes {
    Nothing,
    /// Of 2025-11-25.
    Asked,
    /// Of the extension.
    AsItSeesFit,
}

/// Decides how a tool is called that needs to be a task, or whose caller has words for it. `makes`: its server.
pub(super) fn way(wish: Wish, makes: Makes, is_required: bool) -> Way {
    match (wish, makes) {
        (Wish::Task, Makes::Asked) => Way::Task,
        (Wish::Task, Makes::AsItSeesFit) => Way::Hosted,
        (Wish::AsItComes, Makes::Asked) if is_required => Way::Hosted,
        (Wish::None | Wish::Meaningless, Makes::Asked) if is_required => Way::Driven,
        (Wish::Meaningless | Wish::AsItComes, Makes::Asked | Makes::AsItSeesFit) => Way::PlainWithoutTask,
        // A server that makes no tasks ignores the member, as it would without us.
        (Wish::None, _) | (_, Makes::Nothing) => Way::Plain,
    }
}

impl Router {
    /// What tasks the process makes that works for the caller. One that is spoken to as its server's first is not says
    /// so itself.
    pub(super) async fn makes(
        &self,
        entry: &Entry,
        context: &CallContext,
        view: &View,
    ) -> Result<Makes, RouteError> {
        if self.instance_for(entry, context).older {
            let (child, _, handshake) = self.greeted(entry, context).await?;
            // The server may have refused the handshake, and its first process serves the caller too.
            if child.instance().older {
                let makes_tasks = handshake.is_some_and(|handshake| handshake.makes_tasks());
                return Ok(if makes_tasks { Makes::Asked } else { Makes::Nothing });
            }
        }
        let snapshot = view.part(&entry.spec.name).map(|part| &part.snapshot);
        Ok(match snapshot {
            Some(snapshot) if snapshot.makes_tasks() => Makes::Asked,
            Some(snapshot) if snapshot.extends_tasks() => Makes::AsItSeesFit,
            Some(_) | None => Makes::Nothing,
        })
    }

    /// A tool call that makes a task: the answer bears our id.
    pub(super) async fn make_task(
        &self,
        child: &Child,
        context: &CallContext,
        params: Params,
    ) -> Result<Outcome, RouteError> {
        let (outcome, made) = self.creation(child, context, params, None).await?;
        let Some(ours) = made.minted() else {
            return Ok(outcome);
        };
        Ok(outcome.map(|result| {
            let task = task_of(&result).map(|task| self.task_table().stands(ours, &task));
            let result = related::with_task_id(&result, ours);
            match (Object::of(&result), task) {
                (Some(object), Some(task)) => object.with("task", &task),
                (_, _) => result,
            }
        }))
    }

    /// A tool that runs as a task only, for a client that wants none: made, waited for, and answered as a plain call.
    pub(super) async fn drive_task(
        &self,
        child: &Child,
        context: &CallContext,
        params: &Raw,
    ) -> Result<Outcome, RouteError> {
        let ttl = u64::try_from(child.policy().call_max.as_millis()).unwrap_or(u64::MAX);
        let task = Raw::of(&serde_json::json!({ "ttl": ttl }));
        let object = Object::of(params).ok_or_else(|| needs_object(method::TOOLS_CALL))?;
        let params = Params::with_token(Some(&object.with("task", &task)));
        let driver = Some(Arc::clone(&context.lane));
        let (outcome, made) = self.creation(child, context, params, driver).await?;
        let Some(ours) = made.minted() else {
            return Ok(outcome);
        };
        let known = self.task_table().of_driver(ours);
        let Some(task) = known else { return Ok(outcome) };
        // Whoever no longer waits for this call, waits for its task no more.
        let _driven = Driven(self.task_table(), ours);
        let waited = self.result_of(child, context, &task, None).await;
        if matches!(
            waited,
            Err(RouteError::Child {
                error: CallError::Cancelled | CallError::TimedOut { .. },
                ..
            })
        ) {
            self.give_up(&task).await;
        }
        waited.map(|outcome| outcome.map(|result| related::without_task(&result)))
    }

    pub(super) async fn creation(
        &self,
        child: &Child,
        context: &CallContext,
        params: Params,
        driver: Option<Arc<Lane>>,
    ) -> Result<(Outcome, Arc<Creation>), RouteError> {
        if !self.task_table().has_room(&context.lane.session, Instant::now()) {
            return Err(RouteError::TooManyTasks { n_max: N_TASKS_MAX });
        }
        let creation = Creation::new(self.task_table(), &context.lane, child.instance(), driver);
        let witness: Arc<dyn Witness> = creation.clone();
        let call = Call {
            lane: Some(Arc::clone(&context.lane)),
            repeatable: false,
            witness: Some(witness),
            ..Call::ours(method::TOOLS_CALL, params)
        };
        let answered = match self.put(child, context, call).await {
            Ok(_made) if context.lane.is_cancelled() => Err(RouteError::Cancelled),
            other => other,
        };
        if answered.is_err()
            && let Some(task) = creation.minted().and_then(|ours| self.task_table().take(ours))
        {
            // The answer has come in the same moment as that nobody waits for it any more.
            self.give_up(&task).await;
        }
        Ok((answered?, creation))
    }

    /// `tasks/get` and `tasks/cancel`: how a task stands, or stands now.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn task_state(
        &self,
        context: &CallContext,
        asked: &'static str,
        params: Option<&Raw>,
    ) -> Result<Outcome, RouteError> {
        if let Some(outcome) = task_named(params).and_then(|ours| self.hosted_state(context, asked, &ours)) {
            return Ok(outcome);
        }
        let (ours, task, child, params) = self.task_asked_for(context, asked, params)?;
        let call = Call {
            lane: Some(Arc::clone(&context.lane)),
            repeatable: asked == method::TASKS_GET,
            only: Some(task.generation()),
            is_part: true,
            ..Call::ours(asked, Params::Plain(with_own(&params, &task)))
        };
        let outcome = self.put(&child, context, call).await?;
        Ok(outcome.map(|result| self.task_table().stands(&ours, &result)))
    }

    /// `tasks/result`: waits for the end of a task, as long as one call may take.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn task_result(
        &self,
        context: &CallContext,
        params: Option<&Raw>,
    ) -> Result<Outcome, RouteError> {
        let hosted = task_named(params).filter(|ours| self.task_table().is_hosted(ours));
        if let Some(ours) = hosted {
            return self.hosted_result(context, &ours).await;
        }
        let (ours, task, child, params) = self.task_asked_for(context, method::TASKS_RESULT, params)?;
        self.task_table().waits(&ours, &context.lane);
        let outcome = self.result_of(&child, context, &task, Some(&params)).await?;
        if !matches!(
            code_of(&outcome),
            Some(code::METHOD_NOT_FOUND | code::INVALID_PARAMS)
        ) {
            self.task_table().settled(&ours);
        }
        self.remember(context, child.name(), &outcome);
        Ok(outcome.map(|result| related::with_task_id(&result, &ours)))
    }

    /// `tasks/list`: the session's own, each as its child sees it now.
    ///
    /// # Errors
    /// A bad cursor.
    pub async fn task_list(
        &self,
        context: &CallContext,
        params: Option<&Raw>,
    ) -> Result<Outcome, RouteError> {
        let after = after(params)?;
        let all = self.all_tasks(context);
        let mut rest = all.into_iter().filter(|listed| listed.number() > after);
        let page: Vec<_> = rest.by_ref().take(N_PAGE_TASKS).collect();
        let last = page.last().map(Listed::number);
        // A slow server costs the whole list no more than this; its tasks are shown as they were last heard of.
        let deadline = Instant::now() + LIST_PATIENCE;
        let mut shown = Vec::with_capacity(page.len());
        for listed in page {
            let (ours, task) = match listed {
                Listed::OfChild(ours, task) => (ours, task),
                Listed::Hosted(_, task) => {
                    shown.push(task);
                    continue;
                }
            };
            if Instant::now() >= deadline {
                shown.push(task.shown);
                continue;
            }
            match tokio::time::timeout_at(deadline, self.refreshed(&ours, &task)).await {
                Ok(fresh) => shown.extend(fresh),
                Err(_slow) => shown.push(task.shown),
            }
        }
        let list = Raw::array(&shown);
        let result = Raw::empty_object();
        let result = Object::of(&result)
            .map(|result| result.with("tasks", &list))
            .unwrap_or(list);
        let next = rest
            .next()
            .and(last)
            .map(|number| Raw::of(&format!("after-{number}")));
        Ok(Ok(match (Object::of(&result), next) {
            (Some(object), Some(next)) => object.with("nextCursor", &next),
            (_, _) => result,
        }))
    }

    /// A client's tasks, oldest first.
    fn all_tasks(&self, context: &CallContext) -> Vec<Listed> {
        let (now, lane) = (Instant::now(), &context.lane);
        let of_children = self.task_table().all_of(&lane.session, now).into_iter();
        let hosted = self.task_table().standings(&lane.home, now);
        let mut all: Vec<Listed> = of_children
            .map(|(ours, task)| Listed::OfChild(ours, Box::new(task)))
            .collect();
        all.extend(
            hosted
                .iter()
                .map(|standing| Listed::Hosted(standing.number, shown_for_handshake(standing))),
        );
        all.sort_by_key(Listed::number);
        all
    }

    /// The task as its child sees it now; `None` when the child knows it no more.
    async fn refreshed(&self, ours: &str, task: &Task) -> Option<Raw> {
        if task.is_over {
            return Some(task.shown.clone());
        }
        let child = self.child_of(task)?;
        match self.ours_of(&child, about(task, method::TASKS_GET)).await {
            Some(Ok(result)) => Some(self.task_table().stands(ours, &result)),
            Some(error @ Err(_)) if code_of(&error) == Some(code::INVALID_PARAMS) => {
                self.task_table().remove(ours);
                None
            }
            Some(Err(_)) | None => Some(task.shown.clone()),
        }
    }

    /// Nobody waits for these any more: their children are told to stop.
    pub(super) async fn abandon(&self, tasks: &[Task]) {
        for task in tasks {
            self.give_up(task).await;
        }
    }

    pub(super) async fn give_up(&self, task: &Task) {
        let Some(child) = self.child_of(task) else {
            return;
        };
        if child.status().handshake.is_none() {
            return;
        }
        drop(self.ours_of(&child, about(task, method::TASKS_CANCEL)).await);
    }

    /// The process that has made a task, while it is there; else the one in its place, which may know the task too.
    fn child_of(&self, task: &Task) -> Option<Child> {
        let maker = self
            .entry(&task.instance.server)
            .and_then(|entry| entry.of_number(&task.instance, task.generation()));
        maker.or_else(|| self.child(&task.instance))
    }

    pub(super) async fn result_of(
        &self,
        child: &Child,
        context: &CallContext,
        task: &Task,
        params: Option<&Raw>,
    ) -> Result<Outcome, RouteError> {
        let empty = Raw::empty_object();
        let object =
            Object::of(params.unwrap_or(&empty)).ok_or_else(|| needs_object(method::TASKS_RESULT))?;
        let call = Call {
            method: Text::fixed(method::TASKS_RESULT),
            params: Params::Plain(object.with("taskId", &Raw::of(&task.own))),
            lane: Some(Arc::clone(&context.lane)),
            // A fresh process knows nothing of the task; that the old one is gone says more.
            repeatable: false,
            patience: Some(child.policy().call_max),
            only: Some(task.generation()),
            witness: None,
            is_part: true,
        };
        self.put(child, context, call).await
    }

    fn task_asked_for(
        &self,
        context: &CallContext,
        asked: &str,
        params: Option<&Raw>,
    ) -> Result<(String, Task, Child, Raw), RouteError> {
        let params = params
            .filter(|params| params.is_object())
            .ok_or_else(|| needs_object(asked))?;
        let id = Object::of(params).and_then(|params| params.get_string("taskId"));
        let ours = id.ok_or_else(|| needs_string("taskId"))?;
        let found = self.task_table().find(&context.lane.session, &ours);
        let found = found.and_then(|task| Some((self.child_of(&task)?, task)));
        let (child, task) = found.ok_or(RouteError::NoTask)?;
        Ok((ours, task, child, params.clone()))
    }
}

/// One of a client's tasks.
enum Listed {
    OfChild(String, Box<Task>),
    Hosted(u64, Raw),
}

impl Listed {
    fn number(&self) -> u64 {
        match self {
            Self::OfChild(_, task) => task.number,
            Self::Hosted(number, _) => *number,
        }
    }
}

/// The task that a request names.
fn task_named(params: Option<&Raw>) -> Option<String> {
    params.and_then(Object::of)?.get_string("taskId")
}

/// A call of our own about a task.
fn about(task: &Task, method: &'static str) -> Call {
    let params = Params::Plain(Raw::of(&serde_json::json!({ "taskId": task.own })));
    Call {
        is_part: true,
        only: Some(task.generation()),
        ..Call::ours(method, params)
    }
}

fn with_own(params: &Raw, task: &Task) -> Raw {
    Object::of(params).map_or_else(
        || params.clone(),
        |params| params.with("taskId", &Raw::of(&task.own)),
    )
}

/// A task that is driven for one call: it goes with that.
struct Driven<'a>(&'a TaskTable, &'a str);

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
    }
}

/// The code of an error.
fn code_of(outcome: &Outcome) -> Option<i64> {
    let error = outcome.as_ref().err()?;
    Object::of(error)?.get("code")?.as_str().parse().ok()
}

/// The number of the last task that the client has seen.
fn after(params: Option<&Raw>) -> Result<u64, RouteError> {
    let cursor = params
        .and_then(Object::of)
        .and_then(|params| params.get("cursor"));
    let Some(cursor) = cursor.filter(|cursor| !cursor.is_null()) else {
        return Ok(0);
    };
    let number = cursor.as_string().and_then(|cursor| {
        cursor
            .strip_prefix("after-")
            .and_then(|number| number.parse().ok())
    });
    number.ok_or_else(|| RouteError::BadParams("invalid cursor: start again without one".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_a_task_of_whom_decides_how_a_tool_is_called() {
        use Makes::{AsItSeesFit, Asked, Nothing};
        for (wish, makes, is_required, wanted) in [
            (Wish::None, Asked, false, Way::Plain),
            (Wish::None, Asked, true, Way::Driven),
            (Wish::None, AsItSeesFit, false, Way::Plain),
            (Wish::Meaningless, Asked, true, Way::Driven),
            (Wish::Meaningless, Asked, false, Way::PlainWithoutTask),
            (Wish::Meaningless, AsItSeesFit, false, Way::PlainWithoutTask),
            (Wish::Meaningless, Nothing, false, Way::Plain),
            (Wish::Task, Asked, false, Way::Task),
            (Wish::Task, Asked, true, Way::Task),
            (Wish::Task, AsItSeesFit, false, Way::Hosted),
            (Wish::Task, Nothing, false, Way::Plain),
            (Wish::AsItComes, Asked, true, Way::Hosted),
            (Wish::AsItComes, Asked, false, Way::PlainWithoutTask),
            (Wish::AsItComes, AsItSeesFit, false, Way::PlainWithoutTask),
            (Wish::AsItComes, Nothing, false, Way::Plain),
        ] {
            assert_eq!(
                way(wish, makes, is_required),
                wanted,
                "{wish:?} {makes:?} {is_required}"
            );
        }
    }
}
