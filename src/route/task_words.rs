//! Task objects in the words of the two kinds of tasks, and how a task of ours is shown in them. Pure.
//!
//! | what | 2025-11-25 | extension `io.modelcontextprotocol/tasks` |
//! | --- | --- | --- |
//! | answer of the call | the task under `task` | the task itself, `resultType` says that it is one |
//! | time to live, pause between two looks | `ttl`, `pollInterval` | `ttlMs`, `pollIntervalMs` |
//! | what it came to | by `tasks/result` | `result` or `error` beside the status |
//! | what it asks | requests that name it | `inputRequests` beside the status |
//! | a tool's own failure (`isError`) | `failed` | `completed` |

use std::time::Duration;

use super::task_table::{End, Standing};
use crate::rpc::mcp::{RELATED_TASK, meta};
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw};

/// The pause between two looks at a task that suggests none.
pub const POLL: Duration = Duration::from_secs(1);

/// Members that only one of the two has, under both names.
const RENAMED: [(&str, &str); 2] = [("ttl", "ttlMs"), ("pollInterval", "pollIntervalMs")];
/// Members of the extension that the other kind has no place for.
const OF_EXTENSION: [&str; 5] = ["resultType", "result", "error", "inputRequests", "requestState"];

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is worked on.
    Working,
    /// It waits for its client.
    InputRequired,
    /// It has a result.
    Completed,
    /// It has an error.
    Failed,
    /// Nobody wants it any more.
    Cancelled,
}

impl Status {
    /// The status of a task object; `None` where it has none that we know.
    pub fn of(task: &Raw) -> Option<Self> {
        match Object::of(task)?.get_string("status")?.as_str() {
            "working" => Some(Self::Working),
            "input_required" => Some(Self::InputRequired),
            "completed" => Some(Self::Completed),
            "failed" => Some(Self::Failed),
            "cancelled" => Some(Self::Cancelled),
            _unknown => None,
        }
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::InputRequired => "input_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A task object of 2025-11-25 in the words of the extension.
#[must_use]
pub fn for_extension(task: &Raw) -> Raw {
    RENAMED
        .iter()
        .fold(task.clone(), |task, (old, new)| renamed(&task, old, new))
}

/// A task object of the extension in the words of 2025-11-25.
#[must_use]
pub fn for_handshake(task: &Raw) -> Raw {
    let task = without(task, &OF_EXTENSION);
    RENAMED
        .iter()
        .fold(task, |task, (new, old)| renamed(&task, old, new))
}

fn renamed(task: &Raw, from: &str, to: &str) -> Raw {
    let value = Object::of(task).and_then(|task| task.get(from));
    match value {
        Some(value) => with(&without(task, &[from]), to, &value),
        None => task.clone(),
    }
}

/// A task object with what is ours to say of it.
#[must_use]
pub fn said(task: &Raw, ours: &str, status: Status) -> Raw {
    let task = without(task, &[meta::SERVER_INFO, "_meta"]);
    let task = without(&task, &OF_EXTENSION);
    with(
        &with(&task, "taskId", &Raw::of(&ours)),
        "status",
        &Raw::of(&status.as_str()),
    )
}

/// The status of a hosted task for a client of 2025-11-25: a tool that failed has failed.
pub fn status_for_handshake(standing: &Standing) -> Status {
    match &standing.end {
        None if standing.is_asking => Status::InputRequired,
        None => Status::Working,
        Some(End::Cancelled) => Status::Cancelled,
        Some(End::Came(Ok(Ok(result)))) if is_error(result) => Status::Failed,
        Some(End::Came(Ok(Ok(_)))) => Status::Completed,
        Some(End::Came(Ok(Err(_)) | Err(_))) => Status::Failed,
    }
}

/// A hosted task as a client of 2025-11-25 is told of it.
#[must_use]
pub fn shown_for_handshake(standing: &Standing) -> Raw {
    let task = said(&standing.heard, &standing.ours, status_for_handshake(standing));
    for_handshake(&task)
}

/// The answer to the call that has become a hosted task, for a client of 2025-11-25.
#[must_use]
pub fn created_for_handshake(standing: &Standing) -> Raw {
    with(&Raw::empty_object(), "task", &shown_for_handshake(standing))
}

/// The same for a client of the extension.
#[must_use]
pub fn created_for_extension(standing: &Standing) -> Raw {
    let kind = Raw::of(&serde_json::json!({ "resultType": "task" }));
    let task = said(&standing.heard, &standing.ours, Status::Working);
    Object::of(&task).map_or(kind.clone(), |task| {
        task.iter()
            .fold(kind, |all, (key, value)| with(&all, &key, &value))
    })
}

/// What a completed task of the extension came to, or the error of a failed one.
pub fn outcome_of(task: &Raw) -> Option<Outcome> {
    let object = Object::of(task)?;
    match Status::of(task)? {
        Status::Completed => object.get("result").filter(Raw::is_object).map(Ok),
        Status::Failed => object.get("error").filter(Raw::is_object).map(Err),
        Status::Working | Status::InputRequired | Status::Cancelled => None,
    }
}

/// The pause that a task of the extension suggests, within these bounds.
pub fn pause_of(task: &Raw, least: Duration, most: Duration) -> Duration {
    let said = Object::of(task).and_then(|task| task.get("pollIntervalMs")?.read::<u64>().ok());
    said.map_or(POLL, Duration::from_millis).clamp(least, most)
}

/// A result of a task without what says that it is one.
#[must_use]
pub fn plain_result(result: &Raw) -> Raw {
    let result = without(result, &["resultType"]);
    if !result.as_str().contains("related-task") {
        return result;
    }
    let meta = Object::of(&result).and_then(|result| result.get("_meta"));
    let meta = meta.map(|meta| without(&meta, &[RELATED_TASK]));
    match meta {
        Some(meta) if Object::of(&meta).is_some_and(|meta| meta.is_empty()) => without(&result, &["_meta"]),
        Some(meta) => with(&result, "_meta", &meta),
        None => result,
    }
}

fn is_error(result: &Raw) -> bool {
    let is_error = Object::of(result).and_then(|result| result.get("isError"));
    is_error.is_some_and(|is_error| is_error.as_str() == "true")
}

fn without(object: &Raw, keys: &[&str]) -> Raw {
    Object::of(object).map_or_else(|| object.clone(), |object| object.without(keys))
}

fn with(object: &Raw, key: &str, value: &Raw) -> Raw {
    Object::of(object).map_or_else(|| object.clone(), |object| object.with(key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    fn standing(heard: &str, end: Option<End>) -> Standing {
        Standing {
            ours: "ours".to_owned(),
            number: 1,
            version: 1,
            heard: raw(heard),
            is_asking: false,
            end,
            client: None,
            server: crate::ids::ServerName::parse("a").unwrap(),
        }
    }

    #[test]
    fn a_task_says_the_same_in_the_words_of_both_and_what_is_unknown_stays() {
        let older = r#"{"taskId":"x","status":"working","z":1e400,"ttl":6.0e4,"pollInterval":5}"#;
        let newer = r#"{"taskId":"x","status":"working","z":1e400,"ttlMs":6.0e4,"pollIntervalMs":5}"#;
        assert_eq!(for_extension(&raw(older)).as_str(), newer);
        assert_eq!(for_handshake(&raw(newer)).as_str(), older);
        let detailed = r#"{"resultType":"complete","taskId":"x","result":{},"inputRequests":{}}"#;
        assert_eq!(for_handshake(&raw(detailed)).as_str(), r#"{"taskId":"x"}"#);
    }

    #[test]
    fn a_tool_that_failed_is_failed_in_one_kind_and_completed_in_the_other() {
        let failed = raw(r#"{"content":[],"isError":true}"#);
        let over = |end| status_for_handshake(&standing("{}", Some(end)));
        assert_eq!(over(End::Came(Ok(Ok(failed)))), Status::Failed);
        assert_eq!(over(End::Came(Ok(Ok(raw("{}"))))), Status::Completed);
        assert_eq!(over(End::Came(Ok(Err(raw("{}"))))), Status::Failed);
        assert_eq!(over(End::Cancelled), Status::Cancelled);
        let completed = raw(r#"{"status":"completed","result":{"isError":true}}"#);
        assert_eq!(outcome_of(&completed), Some(Ok(raw(r#"{"isError":true}"#))));
        assert_eq!(
            outcome_of(&raw(r#"{"status":"failed","error":{"code":1}}"#)),
            Some(Err(raw(r#"{"code":1}"#)))
        );
        assert_eq!(outcome_of(&raw(r#"{"status":"completed"}"#)), None);
    }

    #[test]
    fn the_answer_of_the_call_says_that_it_is_a_task_and_nothing_of_its_end() {
        let heard =
            r#"{"taskId":"own","status":"completed","result":{},"requestState":"s","_meta":{},"ttlMs":null}"#;
        let created = standing(heard, None);
        assert_eq!(
            created_for_extension(&created).as_str(),
            r#"{"resultType":"task","taskId":"ours","status":"working","ttlMs":null}"#
        );
        assert_eq!(
            created_for_handshake(&created).as_str(),
            r#"{"task":{"taskId":"ours","status":"working","ttl":null}}"#
        );
    }

    #[test]
    fn pauses_are_bounded() {
        let pause = |task: &str| pause_of(&raw(task), Duration::from_millis(20), Duration::from_secs(10));
        assert_eq!(pause(r#"{"pollIntervalMs":0}"#), Duration::from_millis(20));
        assert_eq!(pause(r#"{"pollIntervalMs":99999999}"#), Duration::from_secs(10));
        assert_eq!(pause(r#"{"pollIntervalMs":-1}"#), POLL);
        assert_eq!(pause("{}"), POLL);
    }

    #[test]
    fn a_result_does_not_say_that_it_is_of_a_task() {
        let result = raw(
            r#"{"resultType":"x","a":1.0,"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"own"}}}"#,
        );
        assert_eq!(plain_result(&result).as_str(), r#"{"a":1.0}"#);
    }
}
