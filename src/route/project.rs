//! Payloads for a client whose revision knows less than the child's. Pure.
//!
//! What an older revision cannot express becomes text, or is left out; what it can stays byte for byte.

use std::borrow::Cow;

use super::urls::URL_NEEDED;
use crate::rpc::mcp::Revision;
use crate::rpc::object::{Object, elements};
use crate::rpc::{Raw, RpcError};

/// A form of 2025-11-25 as a client of 2025-06-18 understands it: without `mode`, titled choices as
/// `enum` with `enumNames`.
///
/// # Errors
/// A sentence: several choices at once did not exist.
pub fn form_of_2025_06_18(params: &Raw) -> Result<Raw, String> {
    let without_mode = Object::of(params).map_or_else(|| params.clone(), |params| params.without(&["mode"]));
    let Some(object) = Object::of(&without_mode) else {
        return Ok(without_mode);
    };
    let Some(schema) = object.get("requestedSchema") else {
        return Ok(without_mode.clone());
    };
    let Some(schema_object) = Object::of(&schema) else {
        return Ok(without_mode.clone());
    };
    let Some(properties) = schema_object.get("properties") else {
        return Ok(without_mode.clone());
    };
    let Some(all) = Object::of(&properties) else {
        return Ok(without_mode.clone());
    };
    let edited = all.edited(older_property)?;
    Ok(object.with("requestedSchema", &schema_object.with("properties", &edited)))
}

fn older_property(name: &str, property: &Raw) -> Result<Option<Raw>, String> {
    let Some(object) = Object::of(property) else {
        return Ok(None);
    };
    if object.get_string("type").as_deref() == Some("array") {
        return Err(format!(
            "the client's revision has no field with several choices, as `{name}` is"
        ));
    }
    let Some(choices) = object.get("oneOf").as_ref().and_then(elements) else {
        return Ok(None);
    };
    let member = |choice: &Raw, key: &str| Object::of(choice).and_then(|choice| choice.get_string(key));
    let values: Vec<String> = choices
        .iter()
        .filter_map(|choice| member(choice, "const"))
        .collect();
    let titles: Vec<String> = choices
        .iter()
        .filter_map(|choice| member(choice, "title").or_else(|| member(choice, "const")))
        .collect();
    let without = object.without(&["oneOf"]);
    let with_values = Object::of(&without).map(|object| object.with("enum", &Raw::of(&values)));
    let older = with_values
        .as_ref()
        .and_then(Object::of)
        .map(|object| object.with("enumNames", &Raw::of(&titles)));
    Ok(older)
}

/// The parameters of a completion for a child of this revision: what was filled in before (`context`) came with
/// 2025-06-18.
pub fn completion_for(revision: Option<Revision>, params: Raw) -> Raw {
    match Object::of(&params) {
        Some(object) if revision.is_some_and(|revision| revision < Revision::V2025_06_18) => {
            object.without(&["context"])
        }
        _it_knows => params,
    }
}

/// What a child asks of a client's model, for a client of this revision: several blocks in one message, and blocks
/// that use tools, came with 2025-11-25; audio with 2025-03-26, and is text before.
///
/// # Errors
/// A sentence: the client's revision, or what it declared, has no form for it.
pub fn sampling_for(revision: Revision, has_tools: bool, params: &Raw) -> Result<Cow<'_, Raw>, String> {
    let text = params.as_str();
    let is_old = revision < Revision::V2025_11_25;
    if !is_old && (has_tools || !text.contains("\"tool_")) {
        return Ok(Cow::Borrowed(params));
    }
    let object = Object::of(params);
    let messages = object.as_ref().and_then(|params| params.get("messages"));
    let messages = messages.as_ref().and_then(elements).unwrap_or_default();
    for message in &messages {
        let content = Object::of(message).and_then(|message| message.get("content"));
        let Some(content) = content else { continue };
        if is_old && content.is_array() {
            return Err("the client's revision has no message of several blocks".to_owned());
        }
        let blocks = elements(&content).unwrap_or_else(|| vec![content]);
        if blocks.iter().any(uses_tools) {
            return Err("the client does not support sampling with tools".to_owned());
        }
    }
    match object {
        Some(object) if revision < Revision::V2025_03_26 && text.contains("\"audio\"") => {
            let older: Vec<Raw> = messages
                .iter()
                .map(|message| older_message(revision, message))
                .collect();
            Ok(Cow::Owned(object.with("messages", &Raw::array(&older))))
        }
        _it_knows => Ok(Cow::Borrowed(params)),
    }
}

fn uses_tools(block: &Raw) -> bool {
    let kind = Object::of(block).and_then(|block| block.get_string("type"));
    matches!(kind.as_deref(), Some("tool_use" | "tool_result"))
}

/// A result with content blocks (of a tool or a prompt) as a client of this revision understands it.
///
/// Audio came with 2025-03-26, resource links with 2025-06-18: to older clients, whose set of blocks is closed,
/// they become text.
pub fn result_for(revision: Revision, result: &Raw) -> Cow<'_, Raw> {
    if revision >= Revision::V2025_06_18 || !may_hold_newer_blocks(result) {
        return Cow::Borrowed(result);
    }
    let Some(object) = Object::of(result) else {
        return Cow::Borrowed(result);
    };
    if let Some(blocks) = object.get("content").as_ref().and_then(elements) {
        let older: Vec<Raw> = blocks.iter().map(|block| older_block(revision, block)).collect();
        return Cow::Owned(object.with("content", &Raw::array(&older)));
    }
    if let Some(messages) = object.get("messages").as_ref().and_then(elements) {
        let older: Vec<Raw> = messages
            .iter()
            .map(|message| older_message(revision, message))
            .collect();
        return Cow::Owned(object.with("messages", &Raw::array(&older)));
    }
    Cow::Borrowed(result)
}

/// A look at the text is enough to leave almost every result alone.
fn may_hold_newer_blocks(result: &Raw) -> bool {
    result.holds("\"audio\"") || result.holds("\"resource_link\"")
}

fn older_message(revision: Revision, message: &Raw) -> Raw {
    let Some(object) = Object::of(message) else {
        return message.clone();
    };
    match object.get("content") {
        Some(content) => object.with("content", &older_block(revision, &content)),
        None => message.clone(),
    }
}

fn older_block(revision: Revision, block: &Raw) -> Raw {
    let Some(object) = Object::of(block) else {
        return block.clone();
    };
    let member = |key: &str| object.get_string(key).unwrap_or_default();
    let text = match member("type").as_str() {
        "audio" if revision < Revision::V2025_03_26 => {
            let n_bytes = member("data").len() / 4 * 3;
            format!(
                "[audio, {}, about {n_bytes} bytes: this client's revision cannot carry it]",
                member("mimeType")
            )
        }
        "resource_link" => format!("{} {}", member("name"), member("uri")).trim().to_owned(),
        _known => return block.clone(),
    };
    Raw::of(&serde_json::json!({ "type": "text", "text": text }))
}

/// An error of a child as a client of this revision understands it: `-32042`, which asks to open a URL first, came
/// with 2025-11-25.
pub fn error_for(revision: Revision, is_tool: bool, error: &Raw) -> Result<Raw, Raw> {
    let object = Object::of(error);
    let is_url_needed = object
        .as_ref()
        .and_then(|error| error.get("code"))
        .is_some_and(|code| code.as_str() == URL_NEEDED);
    if revision >= Revision::V2025_11_25 || !is_url_needed {
        return Err(error.clone());
    }
    let message = object
        .as_ref()
        .and_then(|error| error.get_string("message"))
        .unwrap_or_default();
    let text = format!("{message} Open: {}", urls(error).join(", "));
    if is_tool {
        let block = serde_json::json!({ "type": "text", "text": text });
        return Ok(Raw::of(
            &serde_json::json!({ "content": [block], "isError": true }),
        ));
    }
    Err(RpcError::new(crate::rpc::error::code::INTERNAL_ERROR, text).raw())
}

fn urls(error: &Raw) -> Vec<String> {
    let data = Object::of(error).and_then(|error| error.get("data"));
    let list = data
        .as_ref()
        .and_then(Object::of)
        .and_then(|data| data.get("elicitations"));
    let all = list.as_ref().and_then(elements).unwrap_or_default();
    all.iter()
        .filter_map(|one| Object::of(one)?.get_string("url"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    #[test]
    fn titled_choices_become_the_older_form_and_other_fields_stay() {
        let form = raw(
            r#"{"mode":"form","message":"m","requestedSchema":{"type":"object","properties":{"a":{"type":"string","oneOf":[{"const":"x","title":"X"},{"const":"y","title":"Y"}]},"b":{"type":"number","default":1e400}}}}"#,
        );
        assert_eq!(
            form_of_2025_06_18(&form).unwrap().as_str(),
            r#"{"message":"m","requestedSchema":{"type":"object","properties":{"a":{"type":"string","enum":["x","y"],"enumNames":["X","Y"]},"b":{"type":"number","default":1e400}}}}"#
        );
    }

    #[test]
    fn the_context_of_a_completion_is_for_children_that_know_it() {
        let params = || raw(r#"{"ref":{},"context":{"arguments":{}},"x":1.0}"#);
        for older in [Revision::V2024_11_05, Revision::V2025_03_26] {
            let sent = completion_for(Some(older), params());
            assert_eq!(sent.as_str(), r#"{"ref":{},"x":1.0}"#);
        }
        for newer in [Some(Revision::V2025_06_18), Some(Revision::V2025_11_25), None] {
            assert_eq!(completion_for(newer, params()), params());
        }
    }

    #[test]
    fn a_model_is_asked_only_what_its_clients_revision_can_say() {
        const NEW: Revision = Revision::V2025_11_25;
        const OLD: Revision = Revision::V2025_06_18;
        let text = raw(
            r#"{"messages":[{"role":"user","content":{"type":"text","text":"\"tool_use\"","x":1e400}}]}"#,
        );
        let several = raw(r#"{"messages":[{"content":[{"type":"text","text":"a"}]}]}"#);
        let tool = raw(r#"{"messages":[{"content":[{"type":"tool_use","id":"1"}]}]}"#);
        let single = raw(r#"{"messages":[{"content":{"type":"tool_result"}}]}"#);
        for revision in [Revision::V2024_11_05, Revision::V2025_03_26, OLD, NEW] {
            assert_eq!(
                sampling_for(revision, false, &text).unwrap().as_str(),
                text.as_str()
            );
        }
        assert_eq!(*sampling_for(NEW, false, &several).unwrap(), several);
        assert_eq!(*sampling_for(NEW, true, &tool).unwrap(), tool);
        for refused in [
            sampling_for(OLD, true, &several),
            sampling_for(NEW, false, &tool),
            sampling_for(NEW, false, &single),
            sampling_for(OLD, true, &single),
        ] {
            assert!(refused.is_err(), "{refused:?}");
        }
        let audio = raw(
            r#"{"messages":[{"role":"user","content":{"type":"audio","data":"AAAA","mimeType":"audio/wav"}}],"z":1e400}"#,
        );
        assert_eq!(
            *sampling_for(Revision::V2025_03_26, false, &audio).unwrap(),
            audio
        );
        let oldest = sampling_for(Revision::V2024_11_05, false, &audio).unwrap();
        let oldest = oldest.as_str();
        assert!(
            oldest.contains("[audio, audio/wav, about 3 bytes") && oldest.ends_with(r#""z":1e400}"#),
            "{oldest}"
        );
    }

    #[test]
    fn several_choices_at_once_are_refused() {
        let form =
            raw(r#"{"message":"m","requestedSchema":{"properties":{"a":{"type":"array","items":{}}}}}"#);
        assert!(form_of_2025_06_18(&form).unwrap_err().contains("`a`"));
    }

    #[test]
    fn fields_under_odd_keys_are_made_older_in_their_places() {
        let choice = r#"{"type":"string","oneOf":[{"const":"a","title":"A"}]}"#;
        let form = raw(&format!(
            r#"{{"mode":"form","requestedSchema":{{"properties":{{"\ud800":{choice},"":1,"x":{choice},"x":{choice}}}}}}}"#
        ));
        let older = r#"{"type":"string","enum":["a"],"enumNames":["A"]}"#;
        assert_eq!(
            form_of_2025_06_18(&form).unwrap().as_str(),
            format!(
                r#"{{"requestedSchema":{{"properties":{{"\ud800":{older},"":1,"x":{older},"x":{older}}}}}}}"#
            )
        );
    }

    #[test]
    fn newer_blocks_become_text_for_older_clients_only() {
        let result = raw(
            r#"{"content":[{"type":"audio","data":"AAAAAAAA","mimeType":"audio/wav"},{"type":"resource_link","uri":"a://b","name":"b"},{"type":"text","text":"\"audio\"","x":null}],"z":1}"#,
        );
        let of = |revision| result_for(revision, &result).as_str().to_owned();
        assert_eq!(of(Revision::V2025_06_18), result.as_str());
        assert!(of(Revision::V2025_03_26).contains(r#""type":"audio""#));
        assert!(of(Revision::V2025_03_26).contains(r#"{"text":"b a://b","type":"text"}"#));
        let oldest = of(Revision::V2024_11_05);
        assert!(
            oldest.contains("[audio, audio/wav, about 6 bytes") && !oldest.contains("resource_link"),
            "{oldest}"
        );
        assert!(
            oldest.ends_with(r#"{"type":"text","text":"\"audio\"","x":null}],"z":1}"#),
            "{oldest}"
        );
    }

    #[test]
    fn a_url_that_must_be_opened_is_text_for_older_clients() {
        let error = raw(
            r#"{"code":-32042,"message":"Log in.","data":{"elicitations":[{"url":"https://x.example"}]}}"#,
        );
        assert_eq!(error_for(Revision::V2025_11_25, true, &error), Err(error.clone()));
        let told = error_for(Revision::V2025_06_18, true, &error).unwrap();
        assert!(
            told.as_str().contains("Log in. Open: https://x.example") && told.as_str().contains("isError")
        );
        assert!(
            error_for(Revision::V2025_06_18, false, &error)
                .unwrap_err()
                .as_str()
                .contains("-32603")
        );
    }
}
