//! What a tool gives back: text for every client, structure for those that read it.

use serde::Serialize;
use serde_json::{Value, json};

/// The tool did what it was asked.
pub(super) fn success(text: &str, structured: &impl Serialize) -> Value {
    json!({ "content": [text_block(text)], "structuredContent": structured })
}

/// The tool did nothing, and nothing is wrong: somebody decided so.
pub(super) fn remark(text: &str) -> Value {
    json!({ "content": [text_block(text)] })
}

/// The tool could not do it. The model reads why, and may correct itself.
pub(super) fn failure(why: &str) -> Value {
    json!({ "content": [text_block(why)], "isError": true })
}

fn text_block(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}
