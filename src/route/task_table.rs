//! The tasks of MCP 2025-11-25 that children run for clients: under ids of ours, each bound to the session that made
//! it.
//!
//! A task outlives the call that made it, so what a call's lane knows is kept here: whose it is, where its messages
//! go, and how it stood when it was last heard of.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::related;
use crate::child::Lane;
use crate::child::hold::Work;
use crate::child::link::Link;
use crate::child::outgoing::Params;
use crate::child::sending::Witness;
use crate::ids::{Generation, Instance, SessionId, WireId};
use crate::rpc::mcp::method;
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw};

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
}

#[derive(Debug, Default)]
struct Known {
    n_made: u64,
    tasks: HashMap<String, Task>,
}

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
    is_settled: bool,
    /// The call in whose place we drive it: its client knows of no task.
    pub driver: Option<Arc<Lane>>,
    made: Made,
    last_progress: f64,
    /// The client's open `tasks/result`.
    waits: Weak<Lane>,
    forget_at: Option<Instant>,
}

/// The call that made a task: its progress token stays good (MCP 2025-11-25, tasks, "Task Progress Notifications").
#[derive(Debug, Clone)]
struct Made {
    generation: Generation,
    wire: WireId,
    progress_token: Option<Raw>,
    /// Its process is in use until it is over.
    work: Option<Arc<Work>>,
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

/// A call that makes a task: sees the answer where it is read, so that nothing the child says of the task is early.
#[derive(Debug)]
pub struct Creation {
    table: Arc<TaskTable>,
    lane: Arc<Lane>,
    instance: Instance,
    is_driven: bool,
    minted: OnceLock<String>,
}

impl Creation {
    /// The creation of a task by this call on that child; `is_driven` where the client knows of no task.
    pub fn new(table: &Arc<TaskTable>, lane: &Arc<Lane>, instance: &Instance, is_driven: bool) -> Arc<Self> {
        Arc::new(Self {
            table: Arc::clone(table),
            lane: Arc::clone(lane),
            instance: instance.clone(),
            is_driven,
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
        let made = Made {
            generation: link.generation,
            wire: id,
            work: Some(Arc::new(link.work())),
            progress_token: self.lane.progress_token(),
        };
        let driver = self.is_driven.then(|| Arc::clone(&self.lane));
        let minted = self
            .table
            .register(&self.lane.session, &self.instance, own, &task, made, driver);
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

/// Whether a task in this status has come to its end.
fn is_terminal(status: &str) -> bool {
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
        self.count(&known);
        n_running < N_TASKS_MAX
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
        if let Some(task) = self.known().tasks.get_mut(ours) {
            task.waits = Arc::downgrade(lane);
        }
    }

    /// A child has said how a task stands; the object comes back under our id.
    pub fn stands(&self, ours: &str, task: &Raw) -> Raw {
        let mut known = self.known();
        match known.tasks.get_mut(ours) {
            Some(entry) => {
                entry.stands(ours, task, Instant::now());
                entry.shown.clone()
            }
            None => with_id(task, ours),
        }
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
        let mut known = self.known();
        known.tasks.remove(ours);
        self.count(&known);
    }

    /// A session has ended: its tasks that still run.
    pub fn remove_session(&self, session: &SessionId) -> Vec<Task> {
        let mut known = self.known();
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
        self.n_known.store(known.tasks.len(), Ordering::Release);
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

    fn forget_old(&mut self, now: Instant) {
        self.tasks
            .retain(|_, task| task.forget_at.is_none_or(|at| now < at));
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

impl Task {
    /// Which process of its line has made it.
    pub fn generation(&self) -> Generation {
        self.made.generation
    }

    fn stands(&mut self, ours: &str, task: &Raw, now: Instant) {
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

    fn is_of(&self, instance: &Instance, generation: Generation) -> bool {
        self.instance == *instance && self.made.generation == generation
    }

    /// Whether the child may still say something about it.
    fn is_running(&self) -> bool {
        !self.is_over && !self.is_settled
    }

    fn belongs(&self, ours: &str) -> Belongs {
        let lane = self.driver.clone().or_else(|| self.waits.upgrade());
        Belongs {
            session: self.session.clone(),
            ours: self.driver.is_none().then(|| ours.to_owned()),
            own: self.own.clone(),
            lane,
        }
    }

    fn lane(&self) -> Arc<Lane> {
        let open = self.driver.clone().or_else(|| self.waits.upgrade());
        open.unwrap_or_else(|| Arc::new(Lane::closed(self.session.clone())))
    }
}

/// The task object with another id.
fn with_id(task: &Raw, id: &str) -> Raw {
    Object::of(task).map_or_else(|| task.clone(), |task| task.with("taskId", &Raw::of(&id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ServerName;
    use crate::rpc::RequestId;

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    fn instance(server: &str) -> Instance {
        Instance::first(ServerName::parse(server).unwrap())
    }

    fn made(table: &Arc<TaskTable>, session: &SessionId, wire: u64, task: &str) -> String {
        let token = Some(raw("\"t\""));
        let lane = Arc::new(Lane::new(session.clone(), RequestId::number(1), token));
        let creation = Creation::new(table, &lane, &instance("a"), false);
        let (link, _queue) = Link::new(Generation(1), 1);
        creation.answered(&link, WireId(wire), &Ok(raw(&format!(r#"{{"task":{task}}}"#))));
        creation.minted().unwrap().to_owned()
    }

    #[test]
    fn a_task_is_its_sessions_alone_under_an_id_of_ours() {
        let table = Arc::new(TaskTable::default());
        let (one, two) = (SessionId::random(), SessionId::random());
        let ours = made(
            &table,
            &one,
            1,
            r#"{"taskId":"x","status":"working","ttl":1.0e3,"z":null}"#,
        );
        let found = table.find(&one, &ours).unwrap();
        assert_eq!(
            found.shown.as_str(),
            format!(r#"{{"taskId":"{ours}","status":"working","ttl":1.0e3,"z":null}}"#)
        );
        assert!(table.find(&two, &ours).is_none() && table.find(&one, "x").is_none());
        assert_eq!(
            table
                .belongs(&instance("a"), Generation(1), "x")
                .unwrap()
                .1
                .session,
            one
        );
        assert!(table.belongs(&instance("b"), Generation(1), "x").is_none());
        assert_eq!(
            (
                table.all_of(&one, Instant::now()).len(),
                table.all_of(&two, Instant::now()).len()
            ),
            (1, 0)
        );
        assert_eq!(table.remove_session(&one).len(), 1);
        assert!(table.is_empty());
    }

    #[test]
    fn a_name_that_comes_again_shows_the_new_task_to_its_own_session_only() {
        let table = Arc::new(TaskTable::default());
        let (one, two) = (SessionId::random(), SessionId::random());
        let old = made(&table, &one, 1, r#"{"taskId":"1","status":"working"}"#);
        let new = made(&table, &two, 1, r#"{"taskId":"1","status":"working"}"#);
        assert!(table.find(&one, &old).is_none() && table.find(&two, &new).is_some());
    }

    #[test]
    fn progress_is_passed_on_while_it_grows_and_the_task_runs() {
        let table = Arc::new(TaskTable::default());
        let session = SessionId::random();
        let ours = made(&table, &session, 7, r#"{"taskId":"x","status":"working"}"#);
        let at = |generation, wire, value| {
            table
                .progress(&instance("a"), Generation(generation), WireId(wire), value)
                .map(|(_, token)| token)
        };
        assert_eq!(at(1, 7, 1.0), Some(raw("\"t\"")));
        assert_eq!((at(1, 7, 1.0), at(1, 8, 2.0), at(2, 7, 2.0)), (None, None, None));
        table.stands(&ours, &raw(r#"{"taskId":"x","status":"completed"}"#));
        assert_eq!(at(1, 7, 3.0), None);
        assert!(table.lanes_on(&instance("a"), Generation(1)).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_are_forgotten_after_their_time_and_running_ones_are_bounded() {
        let table = Arc::new(TaskTable::default());
        let session = SessionId::random();
        made(
            &table,
            &session,
            1,
            r#"{"taskId":"short","status":"working","ttl":1000}"#,
        );
        for n in 1..N_TASKS_MAX {
            made(
                &table,
                &session,
                1,
                &format!(r#"{{"taskId":"{n}","status":"working","ttl":null}}"#),
            );
        }
        assert!(!table.has_room(&session, Instant::now()));
        tokio::time::advance(Duration::from_secs(1) + KEPT_AFTER_TTL).await;
        assert!(table.has_room(&session, Instant::now()));
        assert_eq!(table.all_of(&session, Instant::now()).len(), N_TASKS_MAX - 1);
    }

    #[test]
    fn finished_tasks_make_room() {
        let table = Arc::new(TaskTable::default());
        let session = SessionId::random();
        for n in 0..=N_TASKS_MAX {
            made(
                &table,
                &session,
                1,
                &format!(r#"{{"taskId":"{n}","status":"completed"}}"#),
            );
        }
        let all = table.all_of(&session, Instant::now());
        assert_eq!((all.len(), all[0].1.own.as_str()), (N_TASKS_MAX, "1"));
        assert!(table.has_room(&session, Instant::now()));
    }
}
