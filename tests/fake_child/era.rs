//! What a server of exactly one revision says (`--exactly`): all that its revision has, and nothing that came later.
//!
//! Sources: the schemas and changelogs of MCP 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25 and 2026-07-28.

use serde_json::{Value, json};

use crate::modern;
use crate::options::Options;

/// The revisions a server may be of. They are dates, so that their order is the order of their texts.
pub(crate) const REVISIONS: [&str; 5] = [
    "2024-11-05",
    "2025-03-26",
    "2025-06-18",
    "2025-11-25",
    modern::REVISION,
];

/// Whether this is a server of exactly one revision, and that one has what came with `revision`.
pub(crate) fn has(options: &Options, revision: &str) -> bool {
    options.exactly.as_deref().is_some_and(|own| own >= revision)
}

/// Whether this server may ask its client so. One without `--exactly` may ask anything.
pub(crate) fn may_ask(options: &Options, method: &str, params: &str) -> bool {
    let needs = match method {
        "elicitation/create" if params.contains(r#""mode":"#) || params.contains(r#""oneOf":"#) => {
            "2025-11-25"
        }
        "elicitation/create" => "2025-06-18",
        "sampling/createMessage"
            if [r#""tools":"#, r#""content":["#]
                .iter()
                .any(|new| params.contains(new)) =>
        {
            "2025-11-25"
        }
        "sampling/createMessage" if params.contains(r#""audio""#) => "2025-03-26",
        _ => return true,
    };
    options.exactly.is_none() || has(options, needs)
}

/// The capabilities without what came later.
pub(crate) fn capabilities(options: &Options, all: &mut Value) {
    if options.exactly.is_some() && !has(options, "2025-03-26") {
        all.as_object_mut()
            .expect("capabilities are an object")
            .remove("completions");
    }
}

/// Adds what the revision has for people: to the server itself, and to each thing that it lists.
pub(crate) fn adorn(options: &Options, name: &str, item: &mut Value) {
    if has(options, "2025-06-18") {
        item["title"] = json!(format!("Title of {name}"));
    }
    if has(options, "2025-11-25") {
        item["icons"] = json!([{ "src": "https://x.example/icon.png", "sizes": ["48x48"] }]);
    }
}

/// The same, and the members that only tools have.
pub(crate) fn adorn_tool(options: &Options, name: &str, tool: &mut Value) {
    adorn(options, name, tool);
    if has(options, "2025-03-26") {
        tool["annotations"] = json!({ "title": format!("Hint of {name}"), "readOnlyHint": true });
    }
    if has(options, "2025-06-18") {
        tool["_meta"] = json!({ "x.example/of": name });
        if name == "show" {
            let n = json!({ "type": "integer" });
            tool["outputSchema"] = json!({ "type": "object", "properties": { "n": n }, "required": ["n"] });
        }
    }
}

/// One content block of each kind that the revision has.
pub(crate) fn blocks(options: &Options) -> Vec<Value> {
    let mut all = vec![
        json!({ "type": "text", "text": "said" }),
        json!({ "type": "image", "data": "AAAA", "mimeType": "image/png" }),
        json!({ "type": "resource", "resource": { "uri": "x://in", "text": "inside" } }),
    ];
    if has(options, "2025-03-26") {
        all.push(json!({ "type": "audio", "data": "AAAAAAAA", "mimeType": "audio/wav" }));
    }
    if has(options, "2025-06-18") {
        let link = json!({ "type": "resource_link", "uri": "x://link", "name": "linked" });
        all.push(link);
    }
    all
}

/// The result of a tool that shows all that the revision has.
pub(crate) fn shown(options: &Options) -> Value {
    let mut result = json!({ "content": blocks(options), "isError": false });
    if has(options, "2025-06-18") {
        result["structuredContent"] = json!({ "n": 1 });
    }
    result
}

/// The messages of a prompt that shows all that the revision has.
pub(crate) fn messages(options: &Options) -> Vec<Value> {
    let message = |block: Value| json!({ "role": "user", "content": block });
    blocks(options).into_iter().map(message).collect()
}
