//! Tools as clients of the other era know them. Pure.
//!
//! Until 2025-11-25 the schema of an output is that of an object, and so is the structured content; from 2026-07-28
//! on both may be anything. For a client of the former, a schema that is not of an object and the values that it
//! describes are put under `result` of one (as the TypeScript SDK does): `{"type":"object","properties":{"result":…}}`.

use super::part::without_execution;
use crate::rpc::Raw;
use crate::rpc::object::{Object, elements};

/// Levels of a schema whose pointers are rewritten; a deeper schema is not shown to older clients.
const DEPTH_MAX: usize = 64;
/// Where the schema lies afterwards.
const MOVED_TO: &str = "#/properties/result";

/// Keywords whose values are data of the one who wrote the schema.
const DATA: &[&str] = &["const", "enum", "default", "examples"];
/// Keywords whose values are schemas by name.
const MAPS: &[&str] = &[
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
    "dependencies",
];

/// A tool of a server of 2026-07-28 for a client of the handshake era. `task_support` is what it may say of tasks
/// (`execution.taskSupport`, 2025-11-25 only).
#[must_use]
pub fn tool_for_legacy(tool: &Raw, task_support: Option<&str>) -> Raw {
    let tool = without_execution(tool);
    let Some(object) = Object::of(&tool) else {
        return tool;
    };
    let tool = match object.get("outputSchema") {
        Some(schema) if is_wrapped_schema(&schema) => match wrapped_schema(&schema) {
            Some(wrapped) => object.with("outputSchema", &wrapped),
            None => object.without(&["outputSchema"]),
        },
        _as_it_is => tool.clone(),
    };
    match (task_support, Object::of(&tool)) {
        (Some(support), Some(object)) => {
            let execution = object
                .get("execution")
                .filter(Raw::is_object)
                .unwrap_or_else(Raw::empty_object);
            let said =
                Object::of(&execution).map(|execution| execution.with("taskSupport", &Raw::of(&support)));
            said.map_or_else(|| tool.clone(), |said| object.with("execution", &said))
        }
        _silent => tool,
    }
}

/// A tool of a server of the handshake era for a client of 2026-07-28: it has no tasks of that kind.
#[must_use]
pub fn tool_for_modern(tool: &Raw) -> Raw {
    without_execution(tool)
}

/// Whether older clients are shown the output of this tool under `result`: its structured content has to be put
/// there too, whatever it is.
pub fn is_wrapped(tool: &Raw) -> bool {
    let schema = Object::of(tool).and_then(|tool| tool.get("outputSchema"));
    schema.is_some_and(|schema| is_wrapped_schema(&schema))
}

/// `true` and `false` are schemas too.
fn is_wrapped_schema(schema: &Raw) -> bool {
    match Object::of(schema) {
        Some(object) => object.get_string("type").as_deref() != Some("object"),
        None => matches!(schema.as_str(), "true" | "false"),
    }
}

/// The schema of an object with a value of `schema` under `result`; `None` where it would not mean the same: it is
/// too deep, or refers to itself by a keyword that is bound to the root (`$recursiveRef`, 2019-09).
pub fn wrapped_schema(schema: &Raw) -> Option<Raw> {
    let object = Object::of(schema);
    let inner = match &object {
        Some(object) if !has_own_base(object) => moved(schema, Position::Schema, 0)?,
        _base_or_word => schema.clone(),
    };
    let properties = Object::of(&Raw::empty_object())?.with("result", &inner);
    let mut wrapped = Raw::of(&serde_json::json!({ "type": "object", "required": ["result"] }));
    wrapped = Object::of(&wrapped)?.with("properties", &properties);
    // The dialect is that of the whole document.
    match object
        .and_then(|object| object.get("$schema"))
        .filter(|dialect| dialect.as_string().is_some())
    {
        Some(dialect) => Object::of(&wrapped).map(|wrapped| wrapped.with("$schema", &dialect)),
        None => Some(wrapped),
    }
}

/// What a value of a schema is.
#[derive(Clone, Copy)]
enum Position {
    Schema,
    /// Schemas by name: the names are no keywords.
    Map,
}

/// Whether pointers inside are counted from here, and stay as they are.
fn has_own_base(schema: &Object<'_>) -> bool {
    let id = schema.get("$id");
    id.is_some_and(|id| id.as_string().is_none_or(|id| !id.starts_with('#')))
}

/// The value with its pointers into the document made those of its new place.
fn moved(value: &Raw, position: Position, depth: usize) -> Option<Raw> {
    if depth > DEPTH_MAX {
        return None;
    }
    if let Some(all) = elements(value) {
        let all: Option<Vec<Raw>> = all
            .iter()
            .map(|one| moved(one, Position::Schema, depth + 1))
            .collect();
        return all.map(|all| Raw::array(&all));
    }
    let Some(object) = Object::of(value) else {
        return Some(value.clone());
    };
    if depth > 0 && matches!(position, Position::Schema) && has_own_base(&object) {
        return Some(value.clone());
    }
    let edited = object.edited(|key, inner| match position {
        Position::Map => moved(inner, Position::Schema, depth + 1).map(Some).ok_or(()),
        Position::Schema => match key {
            "$recursiveRef" => Err(()),
            "$ref" | "$dynamicRef" => Ok(moved_pointer(inner)),
            key if DATA.contains(&key) => Ok(None),
            key if MAPS.contains(&key) => moved(inner, Position::Map, depth + 1).map(Some).ok_or(()),
            _keyword => moved(inner, Position::Schema, depth + 1).map(Some).ok_or(()),
        },
    });
    edited.ok()
}

/// `None` where it is no pointer into the document (`#`, `#/…`).
fn moved_pointer(reference: &Raw) -> Option<Raw> {
    let text = reference.as_string()?;
    let rest = text
        .strip_prefix('#')
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    Some(Raw::of(&format!("{MOVED_TO}{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    fn wrapped(schema: &str) -> Option<serde_json::Value> {
        wrapped_schema(&raw(schema)).map(|schema| schema.read().unwrap())
    }

    fn around(inner: serde_json::Value) -> serde_json::Value {
        serde_json::json!({ "type": "object", "required": ["result"], "properties": { "result": inner } })
    }

    #[test]
    fn a_schema_that_is_not_of_an_object_is_put_under_result() {
        let tool = raw(r#"{"name":"t","outputSchema":{"type":"array","items":{"maximum":1e400}},"x":1.0}"#);
        assert!(is_wrapped(&tool));
        assert_eq!(
            tool_for_legacy(&tool, None).as_str(),
            r#"{"name":"t","outputSchema":{"required":["result"],"type":"object","properties":{"result":{"type":"array","items":{"maximum":1e400}}}},"x":1.0}"#
        );
        for schema in [
            "{}",
            r#"{"anyOf":[]}"#,
            r#"{"type":["object","null"]}"#,
            "true",
            "false",
            r##"{"$ref":"#/$defs/a"}"##,
        ] {
            assert!(
                is_wrapped(&raw(&format!(r#"{{"outputSchema":{schema}}}"#))),
                "{schema}"
            );
            assert!(wrapped(schema).is_some());
        }
    }

    #[test]
    fn other_tools_stay_as_they_are() {
        for tool in [
            r#"{"name":"t"}"#,
            r#"{ "name":"t","outputSchema":{"type":"object","properties":{"a":{"$ref":"\u0023"}}}}"#,
            r#"{"name":"t","outputSchema":null}"#,
            r#"{"name":"t","outputSchema":7}"#,
            "7",
        ] {
            assert!(!is_wrapped(&raw(tool)), "{tool}");
            assert_eq!(tool_for_legacy(&raw(tool), None).as_str(), tool);
            assert_eq!(tool_for_modern(&raw(tool)).as_str(), tool);
        }
    }

    #[test]
    fn pointers_follow_their_schema() {
        let schema = r##"{"type":"array","items":{"$ref":"#"},"x":{"$dynamicRef":"#/$defs/a"},"anyOf":[{"$ref":"#/$defs/a"}],
            "$defs":{"a":{"$ref":"#/items"},"$ref":{"$ref":"other.json#/a"},"const":{"$ref":"#name"}},
            "properties":{"default":{"$ref":"#"},"$ref":{"type":"string"},"enum":{"dependencies":{"p":["q"]}}},
            "const":{"$ref":"#"},"enum":[{"$ref":"#"}],"default":{"$ref":"#/x"},"examples":[{"$ref":"#/x"}]}"##;
        let inner = serde_json::json!({
            "type": "array",
            "items": { "$ref": "#/properties/result" },
            "x": { "$dynamicRef": "#/properties/result/$defs/a" },
            "anyOf": [{ "$ref": "#/properties/result/$defs/a" }],
            "$defs": {
                "a": { "$ref": "#/properties/result/items" },
                "$ref": { "$ref": "other.json#/a" },
                "const": { "$ref": "#name" },
            },
            "properties": {
                "default": { "$ref": "#/properties/result" },
                "$ref": { "type": "string" },
                "enum": { "dependencies": { "p": ["q"] } },
            },
            "const": { "$ref": "#" },
            "enum": [{ "$ref": "#" }],
            "default": { "$ref": "#/x" },
            "examples": [{ "$ref": "#/x" }],
        });
        assert_eq!(wrapped(schema), Some(around(inner)));
    }

    #[test]
    fn pointers_that_count_from_elsewhere_stay() {
        for inner in [
            r##"{"$id":"https://a.example/b","items":{"$ref":"#/x"}}"##,
            r##"{"items":{"$id":"b","contains":{"$ref":"#/x"}}}"##,
        ] {
            assert_eq!(wrapped(inner), Some(around(raw(inner).read().unwrap())));
        }
        let anchor = wrapped(r##"{"items":{"$id":"#b","contains":{"$ref":"#/x"}}}"##).unwrap();
        assert_eq!(
            anchor["properties"]["result"]["items"]["contains"]["$ref"],
            "#/properties/result/x"
        );
        let named = wrapped(r##"{"properties":{"$id":{"$ref":"#/x"}}}"##).unwrap();
        assert_eq!(
            named["properties"]["result"]["properties"]["$id"]["$ref"],
            "#/properties/result/x"
        );
    }

    #[test]
    fn the_dialect_stands_at_the_root() {
        let schema = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"array"}"#;
        assert_eq!(
            wrapped(schema).unwrap()["$schema"],
            "http://json-schema.org/draft-07/schema#"
        );
    }

    #[test]
    fn a_schema_that_cannot_be_moved_is_left_out() {
        let deep = format!("{}{{}}{}", r#"{"items":"#.repeat(10_000), "}".repeat(10_000));
        for schema in [deep.as_str(), r##"{"items":{"$recursiveRef":"#"}}"##] {
            assert!(wrapped(schema).is_none());
            let tool = raw(&format!(r#"{{"name":"t","outputSchema":{schema},"x":1}}"#));
            assert_eq!(tool_for_legacy(&tool, None).as_str(), r#"{"name":"t","x":1}"#);
        }
        // A name is no keyword.
        assert!(wrapped(r#"{"properties":{"$recursiveRef":{}}}"#).is_some());
    }

    #[test]
    fn tasks_are_said_of_as_the_client_knows_them() {
        let tool = raw(r#"{"name":"t","execution":{"taskSupport":"required","y":null}}"#);
        assert_eq!(
            tool_for_modern(&tool).as_str(),
            r#"{"name":"t","execution":{"y":null}}"#
        );
        assert_eq!(
            tool_for_legacy(&tool, None).as_str(),
            r#"{"name":"t","execution":{"y":null}}"#
        );
        let with = tool_for_legacy(&raw(r#"{"name":"t"}"#), Some("optional"));
        assert_eq!(
            with.as_str(),
            r#"{"name":"t","execution":{"taskSupport":"optional"}}"#
        );
    }
}
