//! Tools whose schemas and results only 2026-07-28 allows, under fixed names that `--tools` may list.
//!
//! | name | what is special |
//! | --- | --- |
//! | `shape_array`, `shape_text`, `shape_null` | `structuredContent` that is no object, and an `outputSchema` that says so |
//! | `shape_ref` | the same, with references from within the `outputSchema` to its own root and definitions |
//! | `header_good` | `x-mcp-header` on a text, an integer, a truth value and a nested text |
//! | `header_number`, `header_items`, `header_twice`, `header_chars`, `header_empty` | one that breaks a rule each: on a number, below `items`, twice but for case, not a token, empty |
//!
//! Sources: MCP 2026-07-28, `server/tools`; SEP-2106.

use serde_json::{Value, json};

use crate::world::World;

/// Adds the schemas of such a tool.
pub(crate) fn adorn(name: &str, tool: &mut Value) {
    if let Some(schema) = output_schema(name) {
        tool["outputSchema"] = schema;
    }
    if let Some(schema) = input_schema(name) {
        tool["inputSchema"] = schema;
    }
}

fn output_schema(name: &str) -> Option<Value> {
    Some(match name {
        "shape_array" => json!({ "type": "array", "items": { "type": "integer" } }),
        "shape_text" => json!({ "type": "string" }),
        "shape_null" => json!({ "type": "null" }),
        "shape_ref" => json!({
            "type": "array",
            "items": { "$ref": "#/$defs/node" },
            "$defs": { "node": { "type": "object", "properties": { "below": { "$ref": "#" } } } },
        }),
        _ => return None,
    })
}

fn input_schema(name: &str) -> Option<Value> {
    let headed = |kind: &str, header: &str| json!({ "type": kind, "x-mcp-header": header });
    let properties = match name {
        "header_good" => json!({
            "region": headed("string", "Region"),
            "n": headed("integer", "N"),
            "dry": headed("boolean", "Dry"),
            "in": { "type": "object", "properties": { "deep": headed("string", "Deep") } },
            "plain": { "type": "string" },
        }),
        "header_number" => json!({ "x": headed("number", "X") }),
        "header_items" => json!({ "x": { "type": "array", "items": headed("string", "X") } }),
        "header_twice" => json!({ "x": headed("string", "Same"), "y": headed("string", "same") }),
        "header_chars" => json!({ "x": headed("string", "not a token") }),
        "header_empty" => json!({ "x": headed("string", "") }),
        _ => return None,
    };
    Some(json!({ "type": "object", "properties": properties }))
}

/// Answers a call of such a tool with what its schema says. False for any other.
pub(crate) fn run(world: &World, id: &str, tool: &str) -> bool {
    let structured = match tool {
        "shape_array" => json!([1, 2, 3]),
        "shape_text" => json!("a text"),
        "shape_null" => Value::Null,
        "shape_ref" => json!([{ "below": [] }]),
        _ => return false,
    };
    let content = json!([{ "type": "text", "text": structured.to_string() }]);
    let result = json!({ "content": content, "structuredContent": structured });
    world.answer(id, result.to_string().as_bytes());
    true
}
