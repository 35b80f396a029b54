//! Tasks of MCP 2025-11-25, with `--tasks`: tools whose name begins with `must_` run as tasks only, `may_` either way.
//! What is different in the other era is in `jobs_modern.rs`.
//!
//! The ids are `task-1`, `task-2`… of this process, so that two processes give the same. What a task does is in the
//! arguments of its call: after `ms` it asks `ask.method` with `ask.params`, or the `rounds` of `interview.rs`, tells of
//! `progress` steps, logs `log`, and ends with `result` or `error` (each as it is written), or with its arguments as text;
//! with `status` as its last one. With `hold` it never ends. With `once` it is made only once there is a file of that path.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;
use serde_json::value::RawValue;

use crate::interview::{Answers, Question};
use crate::jobs_modern;
use crate::methods::{Members, object, text};
use crate::modern::with_members;
use crate::world::World;

/// All tasks of this process.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    pub(crate) all: Mutex<BTreeMap<String, Job>>,
    pub(crate) changed: Condvar,
}

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) status: &'static str,
    pub(crate) ttl: String,
    /// The suggested pause between two looks; modern.
    pub(crate) poll: String,
    /// The member `result` or `error` of the answer to `tasks/result`.
    pub(crate) outcome: Option<String>,
    /// What is asked with the task and not yet answered; modern.
    pub(crate) inputs: BTreeMap<String, String>,
    /// What was answered; modern.
    pub(crate) heard: Answers,
}

impl Job {
    pub(crate) fn new(ttl: String) -> Self {
        Self {
            status: "working",
            ttl,
            poll: "50".to_owned(),
            outcome: None,
            inputs: BTreeMap::new(),
            heard: Answers::new(),
        }
    }

    /// Before its time.
    pub(crate) fn end(&mut self, status: &'static str) {
        self.status = status;
        self.outcome = Some(r#""error":{"code":-32603,"message":"cancelled"}"#.to_owned());
    }
}

impl Jobs {
    /// Makes a task of this call, and answers it; the world goes on meanwhile.
    pub(crate) fn make(world: &Arc<World>, id: &str, params: &Members<'_>) {
        let raw = |members: &Members<'_>, name: &str| members.get(name).map(|raw| raw.get().to_owned());
        let ttl = raw(&object(params, "task"), "ttl").unwrap_or_else(|| "null".to_owned());
        let arguments = raw(params, "arguments").unwrap_or_else(|| "{}".to_owned());
        let token = raw(&object(params, "_meta"), "progressToken");
        let once = text(&object(params, "arguments"), "once");
        let (world, id) = (Arc::clone(world), id.to_owned());
        if once.is_empty() {
            let own = Self::begin(&world, &id, ttl);
            thread::spawn(move || work(&world, &own, &arguments, token.as_deref()));
            return;
        }
        thread::spawn(move || {
            while !Path::new(&once).exists() {
                thread::sleep(Duration::from_millis(5));
            }
            let own = Self::begin(&world, &id, ttl);
            work(&world, &own, &arguments, token.as_deref());
        });
    }

    fn begin(world: &World, id: &str, ttl: String) -> String {
        let (own, job) = world.jobs.add(Job::new(ttl));
        let shown = shown(&own, &job);
        world.journal.note(&format!("task {own}"));
        world.answer(id, format!(r#"{{"task":{shown},"z":1.0e1}}"#).as_bytes());
        own
    }

    /// Keeps a new one. Returns its id.
    pub(crate) fn add(&self, job: Job) -> (String, Job) {
        let mut all = self.all.lock().unwrap();
        let own = format!("task-{}", all.len() + 1);
        all.insert(own.clone(), job.clone());
        (own, job)
    }

    /// `tasks/…`
    pub(crate) fn answer(world: &Arc<World>, id: &str, method: &str, params: &Members<'_>) {
        let own = text(params, "taskId");
        let mut all = world.jobs.all.lock().unwrap();
        let Some(job) = all.get_mut(&own) else {
            drop(all);
            return world.refuse(id, -32602, "Failed to retrieve task: Task not found");
        };
        match method {
            "tasks/cancel" if job.outcome.is_some() => {
                let why = format!("Cannot cancel task: already in terminal status '{}'", job.status);
                world.refuse(id, -32602, &why);
            }
            "tasks/cancel" => {
                job.end("cancelled");
                world.journal.note(&format!("task cancelled {own}"));
                world.answer(id, shown(&own, job).as_bytes());
                drop(all);
                world.jobs.changed.notify_all();
            }
            "tasks/result" => {
                let (world, id) = (Arc::clone(world), id.to_owned());
                thread::spawn(move || world.jobs.answer_when_over(&world, &id, &own));
            }
            _get => world.answer(id, shown(&own, job).as_bytes()),
        }
    }

    fn answer_when_over(&self, world: &World, id: &str, own: &str) {
        let all = self.all.lock().unwrap();
        let all = self
            .changed
            .wait_while(all, |all| all[own].outcome.is_none())
            .unwrap();
        let outcome = all[own].outcome.clone().expect("it was waited for");
        drop(all);
        world.write(format!(r#"{{"jsonrpc":"2.0","id":{id},{outcome}}}"#).as_bytes());
    }

    /// The task stands differently now; one that was cancelled stays so. Told, and then those who wait are woken.
    fn stand(&self, world: &World, own: &str, status: &'static str, outcome: Option<String>) {
        let mut all = self.all.lock().unwrap();
        let job = all.get_mut(own).expect("a task is never forgotten");
        if job.outcome.is_some() {
            return;
        }
        job.status = status;
        if world.is_modern() {
            job.outcome = outcome;
            jobs_modern::tell(world, own, job);
        } else {
            world.notify("notifications/tasks/status", &shown(own, job));
            job.outcome = outcome;
        }
        drop(all);
        self.changed.notify_all();
    }

    /// Asks with requests of its own, each of which says to which task it belongs.
    fn ask(&self, world: &World, own: &str, round: &BTreeMap<String, Question>) {
        self.stand(world, own, "input_required", None);
        let asked: Vec<_> = round
            .values()
            .map(|question| {
                let params = with_members(question.params(), &[related(own)]);
                world.ask(&question.method, &params)
            })
            .collect();
        for answer in asked {
            let line = answer.recv().expect("the sender is kept until an answer comes");
            world.journal.note(&format!("heard {line}"));
        }
    }
}

fn shown(own: &str, job: &Job) -> String {
    let (status, ttl) = (job.status, &job.ttl);
    format!(
        r#"{{"taskId":"{own}","status":"{status}","createdAt":"2025-11-25T10:30:00Z","lastUpdatedAt":"2025-11-25T10:30:00Z","ttl":{ttl},"x":1.0}}"#
    )
}

/// The member `_meta` that says to which task a message belongs.
fn related(own: &str) -> String {
    format!(r#""_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"{own}"}}}}"#)
}

/// The questions that a task asks.
fn rounds(members: &Members<'_>) -> Vec<BTreeMap<String, Question>> {
    let told = members.get("rounds").map(|raw| serde_json::from_str(raw.get()));
    if let Some(told) = told {
        return told.expect("`rounds` is a list of rounds");
    }
    let asks = object(members, "ask");
    if asks.is_empty() {
        return Vec::new();
    }
    let params = asks.get("params").map_or("{}", |raw: &&RawValue| raw.get());
    let question = Question::new(&text(&asks, "method"), params);
    vec![BTreeMap::from([("ask".to_owned(), question)])]
}

pub(crate) fn work(world: &World, own: &str, arguments: &str, token: Option<&str>) {
    let members: Members<'_> = serde_json::from_str(arguments).unwrap_or_default();
    let number = |name: &str| {
        members
            .get(name)
            .and_then(|raw| raw.get().parse().ok())
            .unwrap_or(0)
    };
    thread::sleep(Duration::from_millis(number("ms")));
    for (n, round) in rounds(&members).iter().enumerate() {
        if !world.is_modern() {
            world.jobs.ask(world, own, round);
        } else if !world.jobs.ask_modern(world, own, n + 1, round) {
            return;
        }
        world.jobs.stand(world, own, "working", None);
    }
    if !world.is_modern() {
        tell_of(world, own, &members, number("progress"), token);
    }
    if members.contains_key("hold") {
        return;
    }
    let (status, outcome) = outcome(own, arguments, &members, world.is_modern());
    world.jobs.stand(world, own, status, Some(outcome));
}

/// Progress and a log message, which tasks have in 2025-11-25 only.
fn tell_of(world: &World, own: &str, members: &Members<'_>, n_steps: u64, token: Option<&str>) {
    let related = related(own);
    for step in 1..=n_steps {
        let params = format!(
            r#"{{"progressToken":{},"progress":{step},{related}}}"#,
            token.unwrap_or("0")
        );
        world.notify("notifications/progress", &params);
    }
    if members.contains_key("log") {
        let data = text(members, "log");
        world.notify(
            "notifications/message",
            &format!(r#"{{"level":"error","data":{},{related}}}"#, json!(data)),
        );
    }
}

fn outcome(own: &str, arguments: &str, members: &Members<'_>, is_modern: bool) -> (&'static str, String) {
    let echoed = json!([{ "type": "text", "text": arguments }]);
    let (status, outcome) = match (members.get("result"), members.get("error")) {
        (_, Some(error)) => ("failed", format!(r#""error":{}"#, error.get())),
        (Some(result), None) => ("completed", format!(r#""result":{}"#, result.get())),
        (None, None) if is_modern => ("completed", format!(r#""result":{{"content":{echoed}}}"#)),
        (None, None) => (
            "completed",
            format!(r#""result":{{"content":{echoed},{}}}"#, related(own)),
        ),
    };
    let status = match text(members, "status").as_str() {
        "failed" => "failed",
        "completed" => "completed",
        _ => status,
    };
    (status, outcome)
}
