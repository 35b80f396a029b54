//! Tasks as the extension `io.modelcontextprotocol/tasks` of 2026-07-28 has them: the server decides, the client polls,
//! questions go out with the task and come back by `tasks/update`.
//!
//! With `--tasks`: a tool named `must_…` is a task for whoever declares the extension and refused to all others, `may_…` is
//! one for whoever declares it and a plain call for all others. What a task does is told as in `jobs.rs`.
//!
//! Source: SEP-2663.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use serde_json::json;

use crate::interview::{Answers, Question};
use crate::jobs::{Job, Jobs, work};
use crate::methods::{Members, text};
use crate::modern;
use crate::world::World;

impl Jobs {
    /// Makes a task of this call, if the client can have one, and answers it. False when it is to run as a plain call.
    pub(crate) fn make_modern(world: &Arc<World>, id: &str, params: &Members<'_>, is_needed: bool) -> bool {
        if !declares(world, id) {
            if is_needed {
                refuse(world, id);
            }
            return is_needed;
        }
        let arguments = params.get("arguments").map_or("{}", |raw| raw.get()).to_owned();
        let members: Members<'_> = serde_json::from_str(&arguments).unwrap_or_default();
        let number = |name: &str, default: &str| {
            let given = members.get(name).map(|raw| raw.get().to_owned());
            given.unwrap_or_else(|| default.to_owned())
        };
        let mut job = Job::new(number("ttlMs", "null"));
        job.poll = number("pollIntervalMs", "50");
        let (own, job) = world.jobs.add(job);
        world.journal.note(&format!("task {own}"));
        let result = format!(r#"{{"resultType":"task",{}}}"#, shown(&own, &job, false));
        world.answer(id, result.as_bytes());
        let world = Arc::clone(world);
        thread::spawn(move || work(&world, &own, &arguments, None));
        true
    }

    /// `tasks/get`, `tasks/update` and `tasks/cancel`.
    pub(crate) fn answer_modern(world: &Arc<World>, id: &str, method: &str, params: &Members<'_>) {
        if !declares(world, id) {
            return refuse(world, id);
        }
        let own = text(params, "taskId");
        let mut all = world.jobs.all.lock().unwrap();
        let Some(job) = all.get_mut(&own) else {
            drop(all);
            return world.refuse(id, -32602, "Failed to retrieve task: Task not found");
        };
        match method {
            "tasks/update" => {
                let came = params.get("inputResponses").map_or("{}", |raw| raw.get());
                let came: Answers = serde_json::from_str(came).unwrap_or_default();
                for (key, answer) in came {
                    // What nobody asked, or asks no more, is left alone.
                    if job.inputs.remove(&key).is_some() {
                        world.journal.note(&format!("heard {key}={answer}"));
                        job.heard.insert(key, answer);
                    } else {
                        world.journal.note(&format!("unasked {key}"));
                    }
                }
                if job.inputs.is_empty() && job.status == "input_required" {
                    job.status = "working";
                }
                world.answer(id, b"{}");
            }
            "tasks/cancel" => {
                if job.outcome.is_none() {
                    world.journal.note(&format!("task cancelled {own}"));
                    job.end("cancelled");
                    tell(world, &own, job);
                }
                world.answer(id, b"{}");
            }
            _get => {
                let result = format!("{{{}}}", shown(&own, job, true));
                world.answer(id, result.as_bytes());
            }
        }
        drop(all);
        world.jobs.changed.notify_all();
    }

    /// Asks with the task itself, and waits for all answers. False when the task ended meanwhile.
    ///
    /// No key stands for two questions of one task: they bear the number of the round.
    pub(crate) fn ask_modern(
        &self,
        world: &World,
        own: &str,
        n: usize,
        round: &BTreeMap<String, Question>,
    ) -> bool {
        let keys: Vec<String> = round.keys().map(|key| format!("i{n}-{key}")).collect();
        let mut all = self.all.lock().unwrap();
        let job = all.get_mut(own).expect("a task is never forgotten");
        if job.outcome.is_some() {
            return false;
        }
        for (key, question) in keys.iter().zip(round.values()) {
            let (method, params) = (&question.method, question.params());
            let request = format!(r#"{{"method":"{method}","params":{params}}}"#);
            job.inputs.insert(key.clone(), request);
        }
        job.status = "input_required";
        tell(world, own, job);
        let all = self
            .changed
            .wait_while(all, |all| {
                let job = &all[own];
                job.outcome.is_none() && keys.iter().any(|key| !job.heard.contains_key(key))
            })
            .unwrap();
        all[own].outcome.is_none()
    }
}

fn declares(world: &World, id: &str) -> bool {
    world.speech.said(id).capabilities["extensions"][modern::TASKS].is_object()
}

fn refuse(world: &World, id: &str) {
    let required = json!({ "extensions": { modern::TASKS: {} } });
    modern::refuse_incapable(world, id, &required);
}

/// Tells those who listen how the task stands.
pub(crate) fn tell(world: &World, own: &str, job: &Job) {
    let params = format!("{{{}}}", shown(own, job, true));
    world
        .listens
        .tell(world, "notifications/tasks", Some(own), &params);
}

/// The members of a task; with all that it has in store.
fn shown(own: &str, job: &Job, detailed: bool) -> String {
    let (status, ttl, poll) = (job.status, &job.ttl, &job.poll);
    let mut members = vec![
        format!(r#""taskId":"{own}","status":"{status}","ttlMs":{ttl},"pollIntervalMs":{poll}"#),
        r#""createdAt":"2026-07-28T10:30:00Z","lastUpdatedAt":"2026-07-28T10:30:00Z","x":1.0"#.to_owned(),
    ];
    if detailed && status == "input_required" {
        let one = |(key, request): (&String, &String)| format!("{}:{request}", json!(key));
        let all: Vec<String> = job.inputs.iter().map(one).collect();
        members.push(format!(r#""inputRequests":{{{}}}"#, all.join(",")));
    }
    if detailed && matches!(status, "completed" | "failed") {
        members.extend(job.outcome.clone());
    }
    members.join(",")
}
