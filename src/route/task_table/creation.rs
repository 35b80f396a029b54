//! The call that makes a task of MCP 2025-11-25.

use std::sync::{Arc, OnceLock};

use super::task::Made;
use super::{TaskTable, is_terminal, task_of};
use crate::child::Lane;
use crate::child::link::Link;
use crate::child::outgoing::Params;
use crate::child::sending::Witness;
use crate::ids::{Instance, WireId};
use crate::rpc::mcp::method;
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw};

/// A call that makes a task: sees the answer where it is read, so that nothing the child says of the task is early.
#[derive(Debug)]
pub struct Creation {
    table: Arc<TaskTable>,
    lane: Arc<Lane>,
    instance: Instance,
    driver: Option<Arc<Lane>>,
    minted: OnceLock<String>,
}

impl Creation {
    /// The creation of a task by this call on that child. `driver`: whose the task is, and all that it asks, where the
    /// client knows nothing of a task of this kind.
    pub fn new(
        table: &Arc<TaskTable>,
        lane: &Arc<Lane>,
        instance: &Instance,
        driver: Option<Arc<Lane>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            table: Arc::clone(table),
            lane: Arc::clone(lane),
            instance: instance.clone(),
            driver,
            minted: OnceLock::new(),
        })
    }

    /// Our id of the task, if the child has made one.
    pub fn minted(&self) -> Option<&str> {
        self.minted.get().map(String::as_str)
    }
}

impl Witness for Creation {
    fn answered(&self, link: &Link, id: WireId, outcome: &Outcome) {
        let task = outcome.as_ref().ok().and_then(task_of);
        let Some(task) = task else { return };
        let Some(own) = Object::of(&task).and_then(|task| task.get_string("taskId")) else {
            return;
        };
        let lane = self.driver.as_ref().unwrap_or(&self.lane);
        let made = Made {
            generation: link.generation,
            wire: id,
            work: Some(Arc::new(link.work())),
            progress_token: lane.progress_token(),
        };
        let driver = self.driver.clone();
        let minted = self
            .table
            .register(&lane.session, &self.instance, own, &task, made, driver);
        if self.minted.set(minted).is_err() {
            tracing::error!("a call was answered twice; this is a bug in mcp-wrapper");
        }
    }

    /// "For task-augmented requests, the `tasks/cancel` request MUST be used instead of the `notifications/cancelled`
    /// notification" (MCP 2025-11-25, cancellation, "Cancellation Flow"): that needs the id, which the answer brings.
    fn is_of_what_outlives(&self) -> bool {
        true
    }

    fn answered_late(&self, link: &Link, id: WireId, outcome: &Outcome) {
        let task = outcome.as_ref().ok().and_then(task_of);
        let Some(task) = task.as_ref().and_then(Object::of) else {
            return;
        };
        let status = task.get_string("status").unwrap_or_default();
        if let Some(own) = task.get_string("taskId").filter(|_| !is_terminal(&status)) {
            let params = Params::Plain(Raw::of(&serde_json::json!({ "taskId": own })));
            link.end_what_began(id, &self.lane.session, method::TASKS_CANCEL, params);
        }
    }
}
