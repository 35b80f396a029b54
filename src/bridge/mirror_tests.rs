//! Parameters in headers: which are good, and when they say the same as the body.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn raw(text: &str) -> Raw {
    Raw::parse(&text.to_owned().into()).unwrap()
}

fn schema(properties: Value) -> Value {
    json!({ "type": "object", "properties": properties })
}

fn mirrored(schema: &Value) -> Result<Mirrored, Invalid> {
    Mirrored::of(&Raw::of(schema))
}

fn found(schema: &Value) -> Vec<(String, String)> {
    let found = mirrored(schema).unwrap();
    found
        .params
        .into_iter()
        .map(|param| (param.header, param.path.join(".")))
        .collect()
}

fn string(header: &str) -> Value {
    json!({ "type": "string", "x-mcp-header": header })
}

#[test]
fn annotations_on_properties_at_any_depth_are_found() {
    let nested = schema(json!({
        "region": string("Region"),
        "a": { "type": "object", "properties": { "b": { "properties": { "c": { "type": "integer", "x-mcp-header": "a.B_c" } } } } },
        "on": { "type": "boolean", "x-mcp-header": "ON" },
        "properties": schema(json!({ "x-mcp-header": string("odd") })),
        "plain": { "type": "string", "default": { "x-mcp-header": "data" }, "enum": [{ "x-mcp-header": 1 }] },
    }));
    let mut all = found(&nested);
    all.sort();
    let wanted = [
        ("mcp-param-a.b_c", "a.b.c"),
        ("mcp-param-odd", "properties.x-mcp-header"),
        ("mcp-param-on", "on"),
        ("mcp-param-region", "region"),
    ];
    assert_eq!(
        all,
        wanted.map(|(header, path)| (header.to_owned(), path.to_owned()))
    );
    assert!(
        mirrored(&schema(json!({ "a": { "type": "string" } })))
            .unwrap()
            .is_empty()
    );
    for odd in [
        json!(true),
        json!([]),
        json!({ "properties": 7 }),
        json!({ "properties": { "a": true } }),
    ] {
        assert_eq!(mirrored(&odd), Ok(Mirrored::default()));
    }
    let escaped = raw(r#"{"properties":{"a":{"type":"string","x\u002dmcp-header":"A"}}}"#);
    assert!(!Mirrored::of(&escaped).unwrap().is_empty());
}

#[test]
fn an_annotation_that_is_not_good_makes_the_tool_invalid() {
    for name in [
        json!(""),
        json!("a b"),
        json!("a:b"),
        json!("é"),
        json!("a\r\nb"),
        json!("a\0"),
        json!(1),
        json!(null),
        json!({}),
    ] {
        let bad = schema(json!({ "a": { "type": "string", "x-mcp-header": name } }));
        assert!(has_invalid(&Raw::of(&bad)), "{bad}");
    }
    for kind in [
        json!("number"),
        json!("object"),
        json!("array"),
        json!("null"),
        json!(["string", "null"]),
        json!(null),
    ] {
        let bad = schema(json!({ "a": { "type": kind, "x-mcp-header": "A" } }));
        assert!(has_invalid(&Raw::of(&bad)), "{bad}");
    }
    assert!(has_invalid(&Raw::of(&schema(
        json!({ "a": { "x-mcp-header": "A" } })
    ))));
    assert!(has_invalid(&Raw::of(
        &json!({ "type": "string", "x-mcp-header": "A" })
    )));
    assert!(has_invalid(&Raw::of(&schema(
        json!({ "a": string("One"), "b": string("oNE") })
    ))));
    assert!(has_invalid(&raw(
        r#"{"properties":{"a":{"type":"string","x-mcp-header":"A","x-mcp-header":"B"}}}"#
    )));
    assert!(has_invalid(&raw(
        r#"{"properties":{"\ud800":{"type":"string","x-mcp-header":"A"}}}"#
    )));
}

#[test]
fn an_annotation_anywhere_else_makes_the_tool_invalid() {
    let one = || schema(json!({ "a": string("A") }));
    for key in [
        "items",
        "contains",
        "additionalProperties",
        "unevaluatedProperties",
        "propertyNames",
        "not",
        "if",
        "then",
        "else",
        "x-of-somebody",
    ] {
        let mut bad = schema(json!({ "fine": string("Fine") }));
        assert!(!has_invalid(&Raw::of(&bad)));
        bad[key] = one();
        assert!(has_invalid(&Raw::of(&bad)), "{key}");
        assert!(has_invalid(&Raw::of(&schema(json!({ "a": bad })))), "{key}");
    }
    for key in ["oneOf", "anyOf", "allOf", "prefixItems", "items"] {
        let mut bad = schema(json!({}));
        bad[key] = json!([{}, one()]);
        assert!(has_invalid(&Raw::of(&bad)), "{key}");
    }
    for key in ["$defs", "definitions", "patternProperties", "dependentSchemas"] {
        let mut bad = schema(json!({}));
        bad[key] = json!({ "properties": string("A") });
        assert!(has_invalid(&Raw::of(&bad)), "{key}");
        bad[key] = json!({ "x-mcp-header": { "type": "string" } });
        assert!(!has_invalid(&Raw::of(&bad)), "{key}: a name is no annotation");
    }
}

#[test]
fn depth_and_number_are_bounded() {
    let nested = |n: usize, inner: &str| {
        raw(&format!(
            "{}{inner}{}",
            r#"{"properties":{"a":"#.repeat(n),
            "}}".repeat(n)
        ))
    };
    let inner = r#"{"type":"string","x-mcp-header":"A"}"#;
    assert!(!has_invalid(&nested(DEPTH_MAX / 2 - 1, inner)));
    assert!(has_invalid(&nested(DEPTH_MAX, inner)));
    assert!(has_invalid(&nested(20_000, inner)));
    assert!(!has_invalid(&nested(20_000, "{}")));
    let many = |n: usize| {
        let all: serde_json::Map<_, _> = (0..n)
            .map(|n| (n.to_string(), string(&format!("h{n}"))))
            .collect();
        has_invalid(&Raw::of(&schema(all.into())))
    };
    assert!(!many(HEADERS_MAX) && many(HEADERS_MAX + 1));
}

/// Whether the arguments pass with this header, for a property `a`.
fn passes(arguments: &str, header: Option<&str>) -> bool {
    passes_at(&schema(json!({ "a": string("A") })), arguments, header)
}

fn passes_at(schema: &Value, arguments: &str, header: Option<&str>) -> bool {
    let headers = McpHeaders::of(header.map(|value| ("Mcp-Param-A", value.as_bytes())));
    let arguments = (!arguments.is_empty()).then(|| raw(arguments));
    match check(&mirrored(schema).unwrap(), arguments.as_ref(), &headers) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.code, code::HEADER_MISMATCH);
            assert!(
                error.message.starts_with("Header mismatch: Mcp-Param-A"),
                "{}",
                error.message
            );
            false
        }
    }
}

#[test]
fn a_value_that_is_given_stands_in_its_header() {
    for (arguments, header, wanted) in [
        (r#"{"a":"x"}"#, Some("x"), true),
        (r#"{"a":"x"}"#, Some(" x\t"), true),
        (r#"{"a":"x"}"#, None, false),
        (r#"{"a":"x"}"#, Some("X"), false),
        (r#"{"a":"x"}"#, Some(""), false),
        (r#"{"a":""}"#, Some(""), true),
        (r#"{"a":""}"#, None, false),
        (
            r#"{"a":"Hello, \u4e16\u754c"}"#,
            Some("=?base64?SGVsbG8sIOS4lueVjA==?="),
            true,
        ),
        (r#"{"a":"Hello, 世界"}"#, Some("Hello, 世界"), false),
        (r#"{"a":" padded "}"#, Some("=?base64?IHBhZGRlZCA=?="), true),
        (r#"{"a":" padded "}"#, Some(" padded "), false),
        (r#"{"a":"=?base64?literal?="}"#, Some("=?base64?literal?="), false),
        (
            r#"{"a":"=?base64?literal?="}"#,
            Some("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            true,
        ),
        (r#"{"a":"x"}"#, Some("=?base64?eA==?="), true),
        (r#"{"a":"x"}"#, Some("=?base64?eA?="), false),
        (r#"{"a":true}"#, Some("true"), true),
        (r#"{"a":false}"#, Some("false"), true),
        (r#"{"a":true}"#, Some("True"), false),
        (r#"{"a":true}"#, Some("1"), false),
        (r#"{"a":true}"#, None, false),
    ] {
        assert_eq!(passes(arguments, header), wanted, "{arguments} {header:?}");
    }
}

#[test]
fn a_value_that_is_not_given_has_no_header() {
    for arguments in ["", "{}", r#"{"a":null}"#, r#"{"A":"x"}"#, "[]"] {
        assert!(passes(arguments, None), "{arguments}");
        for header in ["", "null", "x"] {
            assert!(!passes(arguments, Some(header)), "{arguments} {header}");
        }
    }
    // What has no form in a header is the tool's to refuse, unless a header claims something.
    for arguments in [
        r#"{"a":{"b":1}}"#,
        r#"{"a":[1]}"#,
        r#"{"a":9007199254740992}"#,
        r#"{"a":1e400}"#,
        r#"{"a":"\ud800"}"#,
    ] {
        assert!(passes(arguments, None), "{arguments}");
        assert!(!passes(arguments, Some("9007199254740992")), "{arguments}");
    }
    assert!(!passes(r#"{"a":"x","a":"y"}"#, Some("x")));
    assert!(!passes(r#"{"a":"x","a":"y"}"#, Some("y")));
}

#[test]
fn integers_are_compared_as_numbers() {
    for (arguments, header, wanted) in [
        (r#"{"a":42}"#, "42", true),
        (r#"{"a":42}"#, "42.0", true),
        (r#"{"a":42.00}"#, "42", true),
        (r#"{"a":4.2e1}"#, "42", true),
        (r#"{"a":420E-1}"#, "42", true),
        (r#"{"a":-7}"#, "-7", true),
        (r#"{"a":-7}"#, "7", false),
        (r#"{"a":0}"#, "-0", true),
        (r#"{"a":-0.0}"#, "0", true),
        (r#"{"a":42}"#, "42.1", false),
        (r#"{"a":42}"#, "420", false),
        (r#"{"a":42}"#, "4.2e1", false),
        (r#"{"a":42}"#, "0x2a", false),
        (r#"{"a":42}"#, "+42", false),
        (r#"{"a":42}"#, "42.", false),
        (r#"{"a":42}"#, "", false),
        (r#"{"a":42}"#, "-", false),
        (r#"{"a":42}"#, "4-2", false),
        (r#"{"a":42}"#, "=?base64?NDI=?=", true),
        (r#"{"a":9007199254740991}"#, "9007199254740991", true),
        (r#"{"a":-9007199254740991}"#, "-9007199254740991", true),
        (r#"{"a":9007199254740991}"#, "9007199254740990.9", false),
        (r#"{"a":9007199254740992}"#, "9007199254740992", false),
        (r#"{"a":-9007199254740992}"#, "-9007199254740992", false),
        (r#"{"a":9007199254740990}"#, "9007199254740990", true),
        (r#"{"a":1e15}"#, "1000000000000000", true),
        (r#"{"a":1e16}"#, "10000000000000000", false),
        (r#"{"a":1e99999999999999999999}"#, "1", false),
        (r#"{"a":1e-9223372036854775807}"#, "0", false),
        (r#"{"a":1.5}"#, "1.5", true),
    ] {
        assert_eq!(passes(arguments, Some(header)), wanted, "{arguments} {header}");
        if wanted {
            assert!(!passes(arguments, None), "{arguments}");
        }
    }
}

#[test]
fn a_value_is_read_at_its_path() {
    let schema = schema(json!({ "x": schema(json!({ "y": string("A") })) }));
    assert!(passes_at(&schema, r#"{"x":{"y":"v"}}"#, Some("v")));
    assert!(!passes_at(&schema, r#"{"x":{"y":"v"}}"#, None));
    for arguments in [
        r#"{"y":"v"}"#,
        r#"{"x":"v"}"#,
        r#"{"x":[{"y":"v"}]}"#,
        r#"{"x":null}"#,
        r#"{"x.y":"v"}"#,
    ] {
        assert!(passes_at(&schema, arguments, None), "{arguments}");
        assert!(!passes_at(&schema, arguments, Some("v")), "{arguments}");
    }
}

#[test]
fn headers_of_parameters_that_are_none_are_passed_over_and_doubled_ones_are_not() {
    let mirrored = mirrored(&schema(json!({ "a": string("A") }))).unwrap();
    let arguments = raw(r#"{"a":"x"}"#);
    let with = |all: &[(&str, &str)]| {
        let headers = McpHeaders::of(all.iter().map(|(name, value)| (*name, value.as_bytes())));
        check(&mirrored, Some(&arguments), &headers).is_ok()
    };
    assert!(with(&[
        ("MCP-PARAM-a", "x"),
        ("Mcp-Param-B", "é"),
        ("Mcp-Param-B", "1")
    ]));
    assert!(!with(&[("Mcp-Param-A", "x"), ("mcp-param-a", "x")]));
    assert!(!with(&[("Mcp-Param-A", "x\u{7f}")]));
}

/// Any schema, with annotations in good and bad places.
fn any_schema() -> impl Strategy<Value = Value> {
    let header = prop::sample::select(vec!["A", "b", "a b", "", "C-1"]);
    let kind = prop::sample::select(vec!["string", "integer", "boolean", "number", "object"]);
    let leaf = (prop::option::of(header), kind).prop_map(|(header, kind)| match header {
        Some(header) => json!({ "type": kind, "x-mcp-header": header }),
        None => json!({ "type": kind }),
    });
    leaf.prop_recursive(4, 24, 3, |inner| {
        let key = prop::sample::select(vec!["properties", "$defs", "items", "anyOf", "default", "x"]);
        prop::collection::vec((key, "[a-c]", inner), 0..3).prop_map(|parts| {
            let mut schema = json!({ "type": "object" });
            for (key, name, inner) in parts {
                match key {
                    "properties" | "$defs" => schema[key][name] = inner,
                    "anyOf" => schema[key] = json!([inner]),
                    _one => schema[key] = inner,
                }
            }
            schema
        })
    })
}

/// The same by another way: a list of all annotations with the keys that lead there.
fn annotations(value: &Value, at: &[&str], out: &mut Vec<(Vec<String>, Value)>) {
    let Some(object) = value.as_object() else { return };
    if let Some(name) = object.get("x-mcp-header") {
        let path = at.iter().map(|part| (*part).to_owned()).collect();
        out.push((path, json!([name, object.get("type")])));
    }
    for (key, inner) in object {
        match (key.as_str(), inner) {
            ("default", _) => {}
            ("properties" | "$defs", Value::Object(all)) => {
                for (name, inner) in all {
                    annotations(inner, &[at, &[key, name]].concat(), out);
                }
            }
            (_, Value::Array(all)) => all
                .iter()
                .for_each(|inner| annotations(inner, &[at, &[key, "0"]].concat(), out)),
            (_, inner) => annotations(inner, &[at, &[key]].concat(), out),
        }
    }
}

proptest! {
    #[test]
    fn good_annotations_are_found_and_bad_ones_refused(schema in any_schema()) {
        let mut all = Vec::new();
        annotations(&schema, &[], &mut all);
        let mut names: Vec<_> = all.iter().map(|(_, it)| it[0].as_str().unwrap().to_ascii_lowercase()).collect();
        names.sort();
        let is_good = all.iter().all(|(path, it)| {
            !path.is_empty()
                && path.len() % 2 == 0
                && path.iter().step_by(2).all(|key| key == "properties")
                && ["A", "b", "C-1"].contains(&it[0].as_str().unwrap())
                && ["string", "integer", "boolean"].contains(&it[1].as_str().unwrap())
        }) && names.windows(2).all(|two| two[0] != two[1]);
        let found = mirrored(&schema);
        prop_assert_eq!(found.is_ok(), is_good);
        if let Ok(found) = found {
            prop_assert_eq!(found.params.len(), all.len());
        }
    }

    #[test]
    fn what_a_client_writes_passes_and_another_value_does_not(text in any::<String>(), other in any::<String>()) {
        use base64::Engine as _;
        let encode = |text: &str| format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text));
        let arguments = json!({ "a": text }).to_string();
        prop_assert!(passes(&arguments, Some(&encode(&text))));
        prop_assert_eq!(passes(&arguments, Some(&encode(&other))), text == other);
    }

    #[test]
    fn numbers_are_equal_when_they_are(n in -9_007_199_254_740_991_i64..=9_007_199_254_740_991, zeros in 0..5_usize, other in any::<i64>()) {
        let arguments = json!({ "a": n }).to_string();
        let spelled = format!("{n}.{}", "0".repeat(zeros + 1));
        prop_assert!(passes(&arguments, Some(&spelled)));
        prop_assert_eq!(passes(&arguments, Some(&other.to_string())), n == other);
    }
}
