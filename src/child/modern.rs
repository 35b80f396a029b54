//! What a request to a server of 2026-07-28 says of itself, in its metadata. Pure.
//!
//! Such a server keeps nothing of its client: each request says which revision it speaks, what its client can do, who
//! that is, and from which severity on it wants log messages (2026-07-28, basic, "Request Metadata").

use super::caller::Profile;
use crate::rpc::Raw;
use crate::rpc::mcp::{Implementation, LogLevel, Revision, TASKS_EXTENSION, meta};
use crate::rpc::object::Object;

/// The members of `_meta`, each with a comma before it: they follow our progress token.
///
/// `caller`: on whose behalf it is asked; `None` for requests of our own. `has_roots`: the operator has named folders,
/// which are told to whom no client tells of its own. `takes_tasks`: whatever the caller has said, tasks are followed
/// on its behalf.
pub fn members(
    caller: Option<&Profile>,
    level: Option<LogLevel>,
    has_roots: bool,
    takes_tasks: bool,
) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    put(
        &mut text,
        meta::PROTOCOL_VERSION,
        &Raw::of(&Revision::NEWEST.as_str()),
    );
    let can = caller.map_or_else(Raw::empty_object, capabilities);
    let can = if has_roots { with_roots(can) } else { can };
    let can = if takes_tasks { with_tasks(can) } else { can };
    put(&mut text, meta::CLIENT_CAPABILITIES, &can);
    let info = caller.and_then(|caller| caller.client_info.clone());
    let info = info.unwrap_or_else(|| Raw::of(&Implementation::ourselves()));
    put(&mut text, meta::CLIENT_INFO, &info);
    if let Some(level) = caller.and_then(|caller| caller.log_level).or(level) {
        put(&mut text, meta::LOG_LEVEL, &Raw::of(&level));
    }
    text
}

fn put(text: &mut Vec<u8>, key: &str, value: &Raw) {
    text.push(b',');
    text.extend_from_slice(Raw::of(&key).as_bytes());
    text.push(b':');
    text.extend_from_slice(value.as_bytes());
}

/// What the caller can do, in the words of 2026-07-28. The tasks of 2025-11-25 are not those of any later revision.
fn capabilities(caller: &Profile) -> Raw {
    if caller.is_asked_in_results() {
        return caller.capabilities.clone();
    }
    let Some(all) = Object::of(&caller.capabilities) else {
        return Raw::empty_object();
    };
    let all = all.without(&["tasks"]);
    let Some(object) = Object::of(&all) else {
        return all;
    };
    let has_no_mode = |elicitation: &Raw| {
        let modes = Object::of(elicitation);
        modes.is_some_and(|modes| modes.get("form").is_none() && modes.get("url").is_none())
    };
    // `{}` means forms: that was all there was in 2025-06-18.
    match object.get("elicitation").filter(has_no_mode) {
        Some(elicitation) => {
            let form = Object::of(&elicitation).map(|modes| modes.with("form", &Raw::empty_object()));
            form.map_or_else(|| all.clone(), |form| object.with("elicitation", &form))
        }
        None => all.clone(),
    }
}

fn with_roots(capabilities: Raw) -> Raw {
    match Object::of(&capabilities) {
        Some(all) if all.get("roots").is_none() => all.with("roots", &Raw::empty_object()),
        _has_its_own => capabilities,
    }
}

fn with_tasks(capabilities: Raw) -> Raw {
    let Some(all) = Object::of(&capabilities) else {
        return capabilities;
    };
    let extensions = all
        .get("extensions")
        .filter(Raw::is_object)
        .unwrap_or_else(Raw::empty_object);
    match Object::of(&extensions) {
        Some(known) if known.get(TASKS_EXTENSION).is_none() => {
            all.with("extensions", &known.with(TASKS_EXTENSION, &Raw::empty_object()))
        }
        _declared => capabilities.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    fn said(caller: Option<&Profile>, level: Option<LogLevel>, has_roots: bool) -> serde_json::Value {
        let members = String::from_utf8(members(caller, level, has_roots, false)).unwrap();
        serde_json::from_str(&format!("{{\"progressToken\":1{members}}}")).unwrap()
    }

    fn profile(revision: Revision, capabilities: &str) -> Profile {
        Profile {
            revision,
            client_info: Some(raw(r#"{"name":"c"}"#)),
            capabilities: raw(capabilities),
            log_level: None,
        }
    }

    #[test]
    fn our_own_requests_can_nothing() {
        let said = said(None, None, false);
        assert_eq!(said[meta::PROTOCOL_VERSION], "2026-07-28");
        assert_eq!(said[meta::CLIENT_CAPABILITIES], serde_json::json!({}));
        assert_eq!(said[meta::CLIENT_INFO]["name"], "mcp-wrapper");
        assert!(said.get(meta::LOG_LEVEL).is_none());
    }

    #[test]
    fn what_a_caller_can_is_said_in_the_words_of_the_server() {
        for (revision, declared, wanted) in [
            (
                Revision::V2025_06_18,
                r#"{"elicitation":{},"x":null}"#,
                r#"{"elicitation":{"form":{}},"x":null}"#,
            ),
            (
                Revision::V2025_11_25,
                r#"{"elicitation":{"url":{}},"tasks":{"list":{}}}"#,
                r#"{"elicitation":{"url":{}}}"#,
            ),
            (Revision::V2025_11_25, r#"{"roots":{}}"#, r#"{"roots":{}}"#),
            (
                Revision::V2026_07_28,
                r#"{"elicitation":{},"tasks":{}}"#,
                r#"{"elicitation":{},"tasks":{}}"#,
            ),
        ] {
            let said = said(Some(&profile(revision, declared)), None, false);
            let wanted: serde_json::Value = serde_json::from_str(wanted).unwrap();
            assert_eq!(said[meta::CLIENT_CAPABILITIES], wanted, "{declared}");
            assert_eq!(said[meta::CLIENT_INFO]["name"], "c");
        }
    }

    #[test]
    fn tasks_that_are_followed_here_are_declared_beside_what_the_caller_declares() {
        for (declared, wanted) in [
            ("{}", r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#),
            (
                r#"{"extensions":{"x":{"y":1.0}}}"#,
                r#"{"extensions":{"x":{"y":1.0},"io.modelcontextprotocol/tasks":{}}}"#,
            ),
            (
                r#"{"extensions":{"io.modelcontextprotocol/tasks":{"z":1}}}"#,
                r#"{"extensions":{"io.modelcontextprotocol/tasks":{"z":1}}}"#,
            ),
        ] {
            assert_eq!(with_tasks(raw(declared)).as_str(), wanted);
        }
    }

    #[test]
    fn folders_of_the_operator_and_levels_are_said() {
        let mut caller = profile(Revision::V2025_11_25, "{}");
        let known = said(Some(&caller), Some(LogLevel::Info), true);
        assert_eq!(known[meta::CLIENT_CAPABILITIES]["roots"], serde_json::json!({}));
        assert_eq!(known[meta::LOG_LEVEL], "info");
        caller.log_level = Some(LogLevel::Error);
        assert_eq!(said(Some(&caller), None, false)[meta::LOG_LEVEL], "error");
    }
}
