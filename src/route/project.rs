//! Payloads for a client whose revision knows less than the child's. Pure.
//!
//! What an older revision cannot express becomes text, or is left out; what it can stays byte for byte.

use std::borrow::Cow;

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
    let mut edited = properties.clone();
    for (name, property) in Object::of(&properties).iter().flat_map(Object::iter) {
        if let Some(older) = older_property(&name, &property)? {
            edited = Object::of(&edited).map_or_else(|| edited.clone(), |all| all.with(&name, &older));
        }
    }
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

/// A sampling request as a client of this revision understands it.
///
/// Audio came with 2025-03-26, and becomes text. Several blocks in one message came with 2025-11-25.
///
/// # Errors
/// A sentence: a message has several blocks, which the client's revision cannot carry.
pub fn sampling_for(revision: Revision, params: &Raw) -> Result<Cow<'_, Raw>, String> {
    if revision >= Revision::V2025_11_25 {
        return Ok(Cow::Borrowed(params));
    }
    let object = Object::of(params);
    let messages = object
        .as_ref()
        .and_then(|object| object.get("messages"))
        .as_ref()
        .and_then(elements);
    let (Some(object), Some(messages)) = (object, messages) else {
        return Ok(Cow::Borrowed(params));
    };
    let content = |message: &Raw| Object::of(message).and_then(|message| message.get("content"));
    if messages
        .iter()
        .any(|message| content(message).is_some_and(|content| elements(&content).is_some()))
    {
        return Err("the client's revision has no messages with several blocks of content".to_owned());
    }
    if revision >= Revision::V2025_03_26 || !may_hold_newer_blocks(params) {
        return Ok(Cow::Borrowed(params));
    }
    let older: Vec<Raw> = messages
        .iter()
        .map(|message| older_message(revision, message))
        .collect();
    Ok(Cow::Owned(object.with("messages", &Raw::array(&older))))
}

/// A look at the text is enough to leave almost every result alone.
fn may_hold_newer_blocks(result: &Raw) -> bool {
    let text = result.as_str();
    text.contains("\"audio\"") || text.contains("\"resource_link\"")
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
    const URL_NEEDED: &str = "-32042";
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
    fn several_choices_at_once_are_refused() {
        let form =
            raw(r#"{"message":"m","requestedSchema":{"properties":{"a":{"type":"array","items":{}}}}}"#);
        assert!(form_of_2025_06_18(&form).unwrap_err().contains("`a`"));
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
    fn a_question_to_the_model_is_left_alone_where_the_client_understands_it() {
        let heard = raw(
            r#"{"messages":[{"role":"user","content":{"type":"audio","data":"AAAAAAAA","mimeType":"audio/wav"}}],"x":1e400}"#,
        );
        let of = |revision, params| sampling_for(revision, params).map(|params| params.as_str().to_owned());
        for revision in [Revision::V2025_03_26, Revision::V2025_11_25] {
            assert_eq!(of(revision, &heard).unwrap(), heard.as_str());
        }
        let oldest = of(Revision::V2024_11_05, &heard).unwrap();
        assert!(
            oldest.contains("[audio, audio/wav, about 6 bytes") && oldest.ends_with(r#""x":1e400}"#),
            "{oldest}"
        );
        let several = raw(r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}"#);
        assert!(of(Revision::V2025_06_18, &several).is_err());
        assert_eq!(of(Revision::V2025_11_25, &several).unwrap(), several.as_str());
        for odd in ["[]", "{}", r#"{"messages":7}"#, r#"{"messages":[7]}"#] {
            assert_eq!(of(Revision::V2024_11_05, &raw(odd)).unwrap(), odd);
        }
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
