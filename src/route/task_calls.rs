//! Tasks of MCP 2025-11-25: made by `tools/call`, then asked after, waited for, listed and cancelled.
//!
//! A client that knows tasks gets them under our ids. For one that does not, a tool that runs as a task only is driven
//! to its end here, and its call is answered as any other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::context::CallContext;
use super::error::RouteError;
use super::related;
use super::router::{Router, needs_object, needs_string};
use super::task_table::{Creation, N_TASKS_MAX, Task, TaskTable, task_of};
use crate::catalog::{Kind, View};
use crate::child::outgoing::Params;
use crate::child::sending::Witness;
use crate::child::{Call, CallError, Child};
use crate::rpc::error::code;
use crate::rpc::mcp::{Revision, method};
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, Text};
use crate::supervise::Entry;

/// Tasks on one page of a list.
const N_PAGE_TASKS: usize = 100;

/// How long a list waits for children to say how their tasks stand.
const LIST_PATIENCE: Duration = Duration::from_secs(2);

/// How a tool is called, as far as tasks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The client wants a task, and the server makes tasks.
    Task,
    /// The tool runs as a task only, and the client wants none.
    Driven,
    /// As any other call.
    Plain,
    /// As any other call, without the member `task`: to this client it means nothing.
    PlainWithoutTask,
}

/// Decides how a tool is called. `makes_tasks`: whether its server does.
pub(super) fn way(view: &View, name: &str, revision: Revision, asked: bool, makes_tasks: bool) -> Way {
    let knows_tasks = revision >= Revision::V2025_11_25;
    let is_required = view.list(Kind::Tools).needs_task(name);
    if !asked && !is_required {
        return Way::Plain;
    }
    match (makes_tasks, asked && knows_tasks, is_required) {
        // A server that makes no tasks ignores the member, as it would without us.
        (false, _, _) => Way::Plain,
        (true, true, _) => Way::Task,
        (true, false, true) => Way::Driven,
        (true, false, false) => Way::PlainWithoutTask,
    }
}

impl Router {
    /// Whether the process that works for the caller makes tasks. One that is spoken to as its server's first is not
    /// says so itself.
    pub(super) async fn makes_tasks(
        &self,
        entry: &Entry,
        context: &CallContext,
        view: &View,
    ) -> Result<bool, RouteError> {
        if self.instance_for(entry, context).older {
            let (_, _, handshake) = self.greeted(entry, context).await?;
            return Ok(handshake.is_some_and(|handshake| handshake.makes_tasks()));
        }
        let part = view.part(&entry.spec.name);
        Ok(part.is_some_and(|part| part.snapshot.makes_tasks()))
    }

    /// A tool call that makes a task: the answer bears our id.
    pub(super) async fn make_task(
        &self,
        child: &Child,
        context: &CallContext,
        params: Params,
    ) -> Result<Outcome, RouteError> {
        let (outcome, made) = self.creation(child, context, params, false).await?;
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
        let (outcome, made) = self.creation(child, context, params, true).await?;
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

    async fn creation(
        &self,
        child: &Child,
        context: &CallContext,
        params: Params,
        is_driven: bool,
    ) -> Result<(Outcome, Arc<Creation>), RouteError> {
        if !self.task_table().has_room(&context.lane.session, Instant::now()) {
            return Err(RouteError::TooManyTasks { n_max: N_TASKS_MAX });
        }
        let creation = Creation::new(self.task_table(), &context.lane, child.instance(), is_driven);
        let witness: Arc<dyn Witness> = creation.clone();
        let call = Call {
            lane: Some(Arc::clone(&context.lane)),
            repeatable: false,
            witness: Some(witness),
            ..Call::ours(method::TOOLS_CALL, params)
        };
        let outcome = self.put(child, context, call).await?;
        Ok((outcome, creation))
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
        let all = self.task_table().all_of(&context.lane.session, Instant::now());
        let mut rest = all.into_iter().filter(|(_, task)| task.number > after);
        let page: Vec<_> = rest.by_ref().take(N_PAGE_TASKS).collect();
        let last = page.last().map(|(_, task)| task.number);
        // A slow server costs the whole list no more than this; its tasks are shown as they were last heard of.
        let deadline = Instant::now() + LIST_PATIENCE;
        let mut shown = Vec::with_capacity(page.len());
        for (ours, task) in page {
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

    async fn give_up(&self, task: &Task) {
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

    async fn result_of(
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
