//! The tasks of clients: under ids of ours, each bound to whoever made it.
//!
//! Two kinds. A [`Task`] is one of MCP 2025-11-25 that a child runs: its client asks the child after it, through us. A
//! [`Hosted`] one is kept here, because client and child know tasks of different kinds: we follow what the child does,
//! and the client asks us.
//!
//! A task outlives the call that made it, so what a call's lane knows is kept here: whose it is, where its messages
//! go, and how it stood when it was last heard of.

mod creation;
mod hosted;
mod task;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::child::Lane;
use crate::ids::{Generation, Instance, SessionId, WireId};
use crate::rpc::Raw;
use crate::rpc::object::Object;

pub use creation::Creation;
pub use hosted::{End, HOSTED_MAX, Hosted, Hosting, Standing};
use task::Made;
pub use task::{Belongs, Task};

/// Tasks of one session that may be known at once. Finished ones make room; one more that runs is refused.
pub const N_TASKS_MAX: usize = 256;
/// How long a task is known after its time to live: its child says when it is really gone.
const KEPT_AFTER_TTL: Duration = Duration::from_secs(60);

/// All tasks.
#[derive(Debug, Default)]
pub struct TaskTable {
    known: Mutex<Known>,
    /// How many are known, so that nobody waits for the lock where there are no tasks.
    n_known: AtomicUsize,
    /// Counts changes of hosted tasks.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Known {
    n_made: u64,
    tasks: HashMap<String, Task>,
    hosted: HashMap<String, Hosted>,
}

/// Whether a task in this status has come to its end.
pub(super) fn is_terminal(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "cancelled")
}

/// The task in the answer to a call that makes one.
pub fn task_of(result: &Raw) -> Option<Raw> {
    Object::of(result)?.get("task").filter(Raw::is_object)
}

impl TaskTable {
    /// Whether a session may make one more.
    pub fn has_room(&self, session: &SessionId, now: Instant) -> bool {
        let mut known = self.known();
        known.forget_old(now);
        let n_running = known.of(session).filter(|(_, task)| task.is_running()).count();
        let n_hosted = known
            .hosted_of(session)
            .filter(|(_, task)| task.is_running())
            .count();
        self.count(&known);
        n_running + n_hosted < N_TASKS_MAX
    }

    fn register(
        &self,
        session: &SessionId,
        instance: &Instance,
        own: String,
        task: &Raw,
        made: Made,
        driver: Option<Arc<Lane>>,
    ) -> String {
        let ours = Uuid::new_v4().to_string();
        let mut known = self.known();
        // A name that comes again is another task: whoever had the old one must not see the new.
        known
            .tasks
            .retain(|_, old| old.instance != *instance || old.own != own);
        known.make_room(session);
        known.n_made += 1;
        let mut entry = Task {
            number: known.n_made,
            session: session.clone(),
            instance: instance.clone(),
            own,
            shown: Raw::empty_object(),
            is_over: false,
            is_settled: false,
            driver,
            hosted: None,
            made,
            last_progress: f64::NEG_INFINITY,
            waits: Weak::new(),
            forget_at: None,
        };
        entry.stands(&ours, task, Instant::now());
        known.tasks.insert(ours.clone(), entry);
        self.count(&known);
        ours
    }

    /// A session's task.
    pub fn find(&self, session: &SessionId, ours: &str) -> Option<Task> {
        let known = self.known();
        let task = known.tasks.get(ours)?;
        (task.session == *session && task.driver.is_none()).then(|| task.clone())
    }

    /// A task that we drive.
    pub fn of_driver(&self, ours: &str) -> Option<Task> {
        self.known().tasks.get(ours).cloned()
    }

    /// Forgets a task. Returns it, if it was there.
    pub fn take(&self, ours: &str) -> Option<Task> {
        let mut known = self.known();
        let task = known.tasks.remove(ours);
        self.count(&known);
        task
    }

    /// A session's tasks, oldest first, with our ids.
    pub fn all_of(&self, session: &SessionId, now: Instant) -> Vec<(String, Task)> {
        let mut known = self.known();
        known.forget_old(now);
        let mut all: Vec<_> = known
            .of(session)
            .filter(|(_, task)| task.driver.is_none())
            .map(|(ours, task)| (ours.clone(), task.clone()))
            .collect();
        self.count(&known);
        all.sort_by_key(|(_, task)| task.number);
        all
    }

    /// The client waits for its end here: what concerns the task goes this way meanwhile.
    pub fn waits(&self, ours: &str, lane: &Arc<Lane>) {
        let mut known = self.known();
        if let Some(task) = known.tasks.get_mut(ours) {
            task.waits = Arc::downgrade(lane);
        }
        if let Some(task) = known.hosted.get_mut(ours) {
            task.waits = Arc::downgrade(lane);
            drop(known);
            self.tell_changed();
        }
    }

    /// A child has said how a task stands; the object comes back under our id.
    pub fn stands(&self, ours: &str, task: &Raw) -> Raw {
        let mut known = self.known();
        let Some(entry) = known.tasks.get_mut(ours) else {
            return task::with_id(task, ours);
        };
        entry.stands(ours, task, Instant::now());
        let (shown, hosted) = (entry.shown.clone(), entry.hosted.clone());
        let hosted = hosted.and_then(|hosted| known.hosted.get_mut(&hosted));
        if let Some(hosted) = hosted {
            hosted.hears(&super::task_words::for_extension(&shown));
            drop(known);
            self.tell_changed();
        }
        shown
    }

    /// Whose a child's message is that names one of its tasks.
    pub fn belongs(
        &self,
        instance: &Instance,
        generation: Generation,
        own: &str,
    ) -> Option<(String, Belongs)> {
        if self.is_empty() {
            return None;
        }
        let known = self.known();
        let (ours, task) = known
            .tasks
            .iter()
            .find(|(_, task)| task.is_of(instance, generation) && task.own == own)?;
        Some((ours.clone(), task.belongs(ours)))
    }

    /// Progress of a task, under the child's token: whose it is, and under which token of its own. `None` where it is
    /// no task's, is not wanted, or does not grow.
    pub fn progress(
        &self,
        instance: &Instance,
        generation: Generation,
        wire: WireId,
        value: f64,
    ) -> Option<(Belongs, Raw)> {
        if self.is_empty() {
            return None;
        }
        let mut known = self.known();
        let (ours, task) = known
            .tasks
            .iter_mut()
            .find(|(_, task)| task.is_of(instance, generation) && task.made.wire == wire)?;
        let token = task.made.progress_token.clone()?;
        if task.is_over || value <= task.last_progress {
            return None;
        }
        task.last_progress = value;
        Some((task.belongs(ours), token))
    }

    /// For each task that runs on this child, a lane of its session, newest last: whose a message may be that names
    /// no task.
    pub fn lanes_on(&self, instance: &Instance, generation: Generation) -> Vec<Arc<Lane>> {
        if self.is_empty() {
            return Vec::new();
        }
        let known = self.known();
        let mut running: Vec<_> = known
            .tasks
            .values()
            .filter(|task| task.is_of(instance, generation) && task.is_running())
            .collect();
        running.sort_by_key(|task| task.number);
        running.into_iter().map(Task::lane).collect()
    }

    /// Tasks whose time is over go, and hold their processes no longer.
    pub fn sweep(&self, now: Instant) {
        if !self.is_empty() {
            let mut known = self.known();
            known.forget_old(now);
            self.count(&known);
        }
    }

    /// The result of a task was fetched: nothing more comes of it, and it holds its process no longer.
    pub fn settled(&self, ours: &str) {
        if let Some(task) = self.known().tasks.get_mut(ours) {
            task.is_settled = true;
            task.made.work = None;
        }
    }

    /// A newer process has come: tasks of older ones are gone with them, and what it calls the same is another.
    pub fn withdraw_older(&self, instance: &Instance, generation: Generation) {
        if self.is_empty() {
            return;
        }
        let mut known = self.known();
        known
            .tasks
            .retain(|_, task| task.instance != *instance || task.made.generation >= generation);
        self.count(&known);
    }

    /// The task is no longer known.
    pub fn remove(&self, ours: &str) {
        drop(self.take(ours));
    }

    /// A session has ended: its tasks that still run. Those that are hosted end by themselves.
    pub fn remove_session(&self, session: &SessionId) -> Vec<Task> {
        let mut known = self.known();
        known.hosted.retain(|_, task| task.is_kept_without(session));
        let gone: Vec<Task> = known
            .tasks
            .extract_if(|_, task| task.session == *session)
            .map(|(_, task)| task)
            .collect();
        self.count(&known);
        gone.into_iter().filter(Task::is_running).collect()
    }

    /// Whether no task is known.
    pub fn is_empty(&self) -> bool {
        self.n_known.load(Ordering::Acquire) == 0
    }

    fn count(&self, known: &Known) {
        let n = known.tasks.len() + known.hosted.len();
        self.n_known.store(n, Ordering::Release);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn of<'a>(&'a self, session: &SessionId) -> impl Iterator<Item = (&'a String, &'a Task)> {
        self.tasks
            .iter()
            .filter(move |(_, task)| task.session == *session)
    }

    fn hosted_of<'a>(&'a self, owner: &SessionId) -> impl Iterator<Item = (&'a String, &'a Hosted)> {
        self.hosted.iter().filter(move |(_, task)| task.is_of(owner))
    }

    fn forget_old(&mut self, now: Instant) {
        self.tasks
            .retain(|_, task| task.forget_at.is_none_or(|at| now < at));
        self.hosted.retain(|_, task| task.is_kept_at(now));
    }

    /// The oldest finished tasks of a session go when it has too many.
    fn make_room(&mut self, session: &SessionId) {
        if self.of(session).count() < N_TASKS_MAX {
            return;
        }
        let over = self.of(session).filter(|(_, task)| !task.is_running());
        if let Some(oldest) = over
            .min_by_key(|(_, task)| task.number)
            .map(|(ours, _)| ours.clone())
        {
            self.tasks.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
