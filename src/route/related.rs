//! `_meta["io.modelcontextprotocol/related-task"]`: the task that a message belongs to, read and rewritten. Pure.
//!
//! Source: MCP 2025-11-25, tasks, "Related Task Metadata".

use crate::rpc::Raw;
use crate::rpc::mcp::RELATED_TASK;
use crate::rpc::object::Object;

/// The id of the task that these parameters, or this result, belong to.
pub fn task_id(payload: &Raw) -> Option<String> {
    // Most messages belong to no task: those are not taken apart. Some writers escape the slash of the key, and any
    // of its letters may be.
    let text = payload.as_str();
    if !text.contains("related-task") && !text.contains("\\u00") {
        return None;
    }
    let meta = Object::of(payload)?.get("_meta")?;
    let related = Object::of(&meta)?.get(RELATED_TASK)?;
    Object::of(&related)?.get_string("taskId")
}

/// The same with another task id; what names no task stays as it is.
pub fn with_task_id(payload: &Raw, id: &str) -> Raw {
    rewritten(payload, |meta, related| {
        meta.with(RELATED_TASK, &related.with("taskId", &Raw::of(&id)))
    })
}

/// The same without its task.
pub fn without_task(payload: &Raw) -> Raw {
    if task_id(payload).is_none() {
        return payload.clone();
    }
    let Some(object) = Object::of(payload) else {
        return payload.clone();
    };
    let meta = object
        .get("_meta")
        .as_ref()
        .and_then(Object::of)
        .map(|meta| meta.without(&[RELATED_TASK]));
    match meta {
        Some(meta) if Object::of(&meta).is_some_and(|meta| meta.is_empty()) => object.without(&["_meta"]),
        Some(meta) => object.with("_meta", &meta),
        None => payload.clone(),
    }
}

/// An answer that certainly names its task, in place of whatever it named.
pub fn belonging_to(payload: &Raw, id: &str) -> Raw {
    let Some(object) = Object::of(payload) else {
        return payload.clone();
    };
    let meta = object
        .get("_meta")
        .filter(Raw::is_object)
        .unwrap_or_else(Raw::empty_object);
    let related = Raw::of(&serde_json::json!({ "taskId": id }));
    let meta = Object::of(&meta).map(|meta| meta.with(RELATED_TASK, &related));
    meta.map_or_else(|| payload.clone(), |meta| object.with("_meta", &meta))
}

fn rewritten(payload: &Raw, edit: impl Fn(&Object<'_>, &Object<'_>) -> Raw) -> Raw {
    let edited = || {
        let object = Object::of(payload)?;
        let meta = object.get("_meta")?;
        let meta = Object::of(&meta)?;
        let related = meta.get(RELATED_TASK)?;
        let meta = edit(&meta, &Object::of(&related)?);
        Some(object.with("_meta", &meta))
    };
    edited().unwrap_or_else(|| payload.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    const OF_A_TASK: &str =
        r#"{"x":1e400,"_meta":{"y":null,"io.modelcontextprotocol/related-task":{"taskId":"own","z":1}}}"#;

    #[test]
    fn only_the_id_changes() {
        let payload = raw(OF_A_TASK);
        assert_eq!(task_id(&payload).as_deref(), Some("own"));
        assert_eq!(
            with_task_id(&payload, "ours").as_str(),
            OF_A_TASK.replace("own", "ours")
        );
        assert_eq!(
            without_task(&payload).as_str(),
            r#"{"x":1e400,"_meta":{"y":null}}"#
        );
        assert_eq!(
            belonging_to(&raw("{}"), "own").as_str(),
            r#"{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"own"}}}"#
        );
    }

    #[test]
    fn the_key_may_be_written_with_escapes() {
        for key in [
            r"io.modelcontextprotocol\/related-task",
            r"io.modelcontextprotocol/related\u002dtask",
        ] {
            let payload = raw(&format!(r#"{{"_meta":{{"{key}":{{"taskId":"own"}}}}}}"#));
            assert_eq!(task_id(&payload).as_deref(), Some("own"), "{key}");
            assert_eq!(without_task(&payload).as_str(), "{}", "{key}");
        }
    }

    #[test]
    fn what_names_no_task_stays() {
        for text in [
            "{}",
            "7",
            r#"{"_meta":7}"#,
            r#"{"a":"io.modelcontextprotocol/related-task"}"#,
            r#"{"_meta":{"io.modelcontextprotocol/related-task":7}}"#,
        ] {
            let payload = raw(text);
            assert_eq!(task_id(&payload), None, "{text}");
            assert_eq!(without_task(&payload).as_str(), text);
        }
    }
}
