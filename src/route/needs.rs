//! What a server of 2026-07-28 needs before it goes on, as its results say it, and how it is told. Pure.
//!
//! Source: MCP 2026-07-28, basic patterns, "Multi Round-Trip Requests".

use super::ask;
use crate::rpc::error::code;
use crate::rpc::mcp::{TASKS_EXTENSION, method};
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, RpcError};

/// Things that a server may need in one round.
const N_NEEDS_MAX: usize = 32;

/// What a result is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Complete,
    /// A task that was made of the call, or how one stands.
    Task,
    /// Something is needed first.
    Needs(Needs),
    /// No kind that we know, or not as it must be.
    Bad(String),
}

/// What a server needs before it goes on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) all: Vec<Need>,
    /// To be given back as it came.
    pub(super) state: Option<Raw>,
}

/// One thing that only the client can give.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) key: String,
    pub(super) asked: String,
    pub(super) params: Option<Raw>,
}

/// An elicitation by url has a name until 2025-11-25, and none any more.
pub(super) fn with_elicitation_id(params: &Raw) -> Raw {
    match Object::of(params) {
        Some(object)
            if object.get_string("mode").as_deref() == Some("url")
                && object.get("elicitationId").is_none() =>
        {
            object.with("elicitationId", &Raw::of(&uuid::Uuid::new_v4().to_string()))
        }
        _as_it_is => params.clone(),
    }
}

/// What the client's error means for its call.
pub(super) fn aborted(method: &str, error: Raw) -> Outcome {
    if method != method::TOOLS_CALL {
        return Err(error);
    }
    let why = Object::of(&error).and_then(|error| error.get_string("message"));
    let why = why.unwrap_or_else(|| "the client could not answer what the server asked".to_owned());
    let block = serde_json::json!({ "type": "text", "text": why });
    Ok(Raw::of(
        &serde_json::json!({ "content": [block], "isError": true }),
    ))
}

/// The error for an answer that is not as it must be.
pub(super) fn faulty(why: &str) -> Raw {
    RpcError::new(
        code::INTERNAL_ERROR,
        format!("the server's answer cannot be used: {why}"),
    )
    .with_data(serde_json::json!({ "source": "mcp-wrapper", "reason": "bad_child_message" }))
    .raw()
}

/// The parameters of the next round: those of the first, with the answers of this one alone, and the server's state.
pub(super) fn again(params: Option<&Raw>, answers: &[(String, Raw)], state: Option<&Raw>) -> Raw {
    let empty = Raw::empty_object();
    let params = params.unwrap_or(&empty);
    let Some(object) = Object::of(params) else {
        return params.clone();
    };
    let mut next = object.without(&["inputResponses", "requestState"]);
    if let (false, Some(object)) = (answers.is_empty(), Object::of(&next)) {
        next = object.with("inputResponses", &collected(answers));
    }
    if let (Some(state), Some(object)) = (state, Object::of(&next)) {
        next = object.with("requestState", state);
    }
    next
}

/// The answers of a round under their keys.
pub(super) fn collected(answers: &[(String, Raw)]) -> Raw {
    let mut text = vec![b'{'];
    for (key, answer) in answers {
        if text.len() > 1 {
            text.push(b',');
        }
        text.extend_from_slice(Raw::of(&key).as_bytes());
        text.push(b':');
        text.extend_from_slice(answer.as_bytes());
    }
    text.push(b'}');
    Raw::trusted(text)
}

pub(super) fn without_result_type(result: Raw) -> Raw {
    // A look at the text is enough for almost every result.
    if !result.holds("\"resultType\"") {
        return result;
    }
    Object::of(&result).map_or_else(|| result.clone(), |result| result.without(&["resultType"]))
}

/// What a result is. A missing `resultType` means that it is complete.
pub(super) fn kind_of(result: &Raw) -> Kind {
    // Nearly all are.
    if !result.holds("\"resultType\"") {
        return Kind::Complete;
    }
    let Some(object) = Object::of(result) else {
        return Kind::Complete;
    };
    let Some(named) = object.get("resultType") else {
        return Kind::Complete;
    };
    match named.as_string().as_deref() {
        Some("complete") => Kind::Complete,
        Some("task") => Kind::Task,
        Some("input_required") => needs_of(&object).map_or_else(Kind::Bad, Kind::Needs),
        Some(other) => Kind::Bad(format!("its `resultType` is `{}`", other.escape_debug())),
        None => Kind::Bad("its `resultType` is no text".to_owned()),
    }
}

fn needs_of(result: &Object<'_>) -> Result<Needs, String> {
    let state = result.get("requestState");
    if state.as_ref().is_some_and(|state| state.as_string().is_none()) {
        return Err("its `requestState` is no text".to_owned());
    }
    let all = input_requests_of(result)?;
    if all.is_empty() && state.is_none() {
        return Err("it needs something, and does not say what".to_owned());
    }
    Ok(Needs { all, state })
}

/// What stands under `inputRequests`.
pub(super) fn input_requests_of(result: &Object<'_>) -> Result<Vec<Need>, String> {
    let Some(requests) = result.get("inputRequests") else {
        return Ok(Vec::new());
    };
    let requests = Object::of(&requests).ok_or("its `inputRequests` are no object")?;
    let mut all = Vec::new();
    for (key, request) in requests.iter() {
        let request = Object::of(&request).ok_or("one of its `inputRequests` is no object")?;
        let asked = request
            .get_string("method")
            .filter(|asked| ask::is_for_clients(asked));
        let asked = asked.ok_or("one of its `inputRequests` is for no client")?;
        if all.iter().any(|need: &Need| need.key == key) {
            return Err("two of its `inputRequests` have one name".to_owned());
        }
        let params = request.get("params");
        all.push(Need { key, asked, params });
    }
    if all.len() > N_NEEDS_MAX {
        return Err(format!("it needs more than {N_NEEDS_MAX} things at once"));
    }
    Ok(all)
}

/// Whether this is the error of a server that can do it as a task only, and makes none for who does not take them.
pub(super) fn wants_tasks_taken(error: &Raw) -> bool {
    let inner = |error: &Raw| {
        let error = Object::of(error)?;
        let is_it = error.get("code")?.read::<i64>().ok()? == code::MISSING_CAPABILITY;
        let data = error.get("data").filter(|_| is_it)?;
        let required = Object::of(&data)?.get("requiredCapabilities")?;
        let extensions = Object::of(&required)?.get("extensions")?;
        Object::of(&extensions)?.get(TASKS_EXTENSION)
    };
    inner(error).is_some()
}

#[cfg(test)]
#[path = "needs_tests.rs"]
mod tests;
