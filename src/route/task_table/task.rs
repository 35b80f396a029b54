//! One task of MCP 2025-11-25 that a child runs.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::{KEPT_AFTER_TTL, is_terminal};
use crate::child::Lane;
use crate::child::hold::Work;
use crate::ids::{Generation, Instance, SessionId, WireId};
use crate::route::related;
use crate::rpc::Raw;
use crate::rpc::object::Object;

/// One task.
#[derive(Debug, Clone)]
pub struct Task {
    /// In the order in which they were made.
    pub number: u64,
    /// Whose it is.
    pub session: SessionId,
    /// Which line of processes runs it.
    pub instance: Instance,
    /// What the child calls it.
    pub own: String,
    /// How it stood when it was last heard of: the task object, under our id.
    pub shown: Raw,
    /// Whether it has come to its end.
    pub is_over: bool,
    /// Its result was fetched: nothing more comes of it.
    pub(super) is_settled: bool,
    /// The call in whose place we drive it: its client knows of no task.
    pub driver: Option<Arc<Lane>>,
    /// Our id of the hosted task that it is to its client.
    pub(super) hosted: Option<String>,
    pub(super) made: Made,
    pub(super) last_progress: f64,
    /// The client's open `tasks/result`.
    pub(super) waits: Weak<Lane>,
    pub(super) forget_at: Option<Instant>,
}

/// The call that made a task: its progress token stays good (MCP 2025-11-25, tasks, "Task Progress Notifications").
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) generation: Generation,
    pub(super) wire: WireId,
    pub(super) progress_token: Option<Raw>,
    /// Its process is in use until it is over.
    pub(super) work: Option<Arc<Work>>,
}

/// Where a message of a task goes.
#[derive(Debug, Clone)]
pub struct Belongs {
    /// Whose task it is.
    pub session: SessionId,
    /// Our id; `None` when the client knows of no task.
    pub ours: Option<String>,
    /// The child's id.
    pub own: String,
    /// The exchange that is open for it now.
    pub lane: Option<Arc<Lane>>,
}

impl Task {
    /// Which process of its line has made it.
    pub fn generation(&self) -> Generation {
        self.made.generation
    }

    pub(super) fn stands(&mut self, ours: &str, task: &Raw, now: Instant) {
        let Some(object) = Object::of(task) else { return };
        let status = object.get_string("status").unwrap_or_default();
        self.is_over |= is_terminal(&status);
        if self.is_over {
            self.made.work = None;
        }
        let ttl = object.get("ttl").and_then(|ttl| ttl.as_str().parse::<f64>().ok());
        let ttl = ttl.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
        let first_heard = self.forget_at.is_none();
        if let Some(ttl) = ttl.filter(|_| first_heard) {
            self.forget_at = now.checked_add(ttl + KEPT_AFTER_TTL);
        }
        self.shown = related::without_task(&with_id(task, ours)).compact();
    }

    pub(super) fn is_of(&self, instance: &Instance, generation: Generation) -> bool {
        self.instance == *instance && self.made.generation == generation
    }

    /// Whether the child may still say something about it.
    pub(super) fn is_running(&self) -> bool {
        !self.is_over && !self.is_settled
    }

    pub(super) fn belongs(&self, ours: &str) -> Belongs {
        let lane = self.driver.clone().or_else(|| self.waits.upgrade());
        Belongs {
            session: self.session.clone(),
            ours: self.driver.is_none().then(|| ours.to_owned()),
            own: self.own.clone(),
            lane,
        }
    }

    pub(super) fn lane(&self) -> Arc<Lane> {
        let open = self.driver.clone().or_else(|| self.waits.upgrade());
        open.unwrap_or_else(|| Arc::new(Lane::closed(self.session.clone())))
    }
}

/// The task object with another id.
pub(super) fn with_id(task: &Raw, id: &str) -> Raw {
    Object::of(task).map_or_else(|| task.clone(), |task| task.with("taskId", &Raw::of(&id)))
}
