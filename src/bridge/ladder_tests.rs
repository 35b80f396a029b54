//! The ladder: which step refuses what, and which comes first.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use std::sync::Arc;

use super::*;
use crate::rpc::Incoming;

fn message(value: &Value) -> Message {
    match Incoming::parse(&Bytes::from(value.to_string())).unwrap() {
        Incoming::One(message) => message,
        Incoming::Batch(_) => panic!("a batch"),
    }
}

fn meta() -> Value {
    json!({ META_VERSION: MODERN, META_CAPABILITIES: {} })
}

fn call(name: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "_meta": meta() } })
}

/// The request with one more member in its metadata.
fn with_meta(key: &str, value: Value) -> Value {
    let mut call = call("a");
    call["params"]["_meta"][key] = value;
    call
}

const GOOD: &[(&str, &str)] = &[
    ("MCP-Protocol-Version", MODERN),
    ("Mcp-Method", "tools/call"),
    ("Mcp-Name", "a"),
];

fn headers(all: &[(&str, &str)]) -> McpHeaders {
    McpHeaders::of(all.iter().map(|(name, value)| (*name, value.as_bytes())))
}

/// The good headers with one replaced; taken away where the value is empty.
fn with(name: &str, value: &str) -> McpHeaders {
    let mut all: Vec<_> = GOOD.iter().copied().filter(|(other, _)| *other != name).collect();
    if !value.is_empty() {
        all.push((name, value));
    }
    headers(&all)
}

fn told(body: &Value, headers: &McpHeaders) -> i64 {
    match climb(&message(body), Some(headers)) {
        Ok(_) => 0,
        Err(refused) => {
            assert_eq!(refused.status, 400);
            refused.error.code
        }
    }
}

#[test]
fn a_good_request_comes_up_with_what_it_says() {
    let mut body = call("a");
    body["params"]["_meta"][META_CLIENT_INFO] = json!({ "name": "c", "x": 1 });
    body["params"]["_meta"][META_LOG_LEVEL] = json!("notice");
    body["params"]["_meta"][META_CAPABILITIES] = json!({ "roots": {}, "x": null });
    body["params"]["_meta"]["progressToken"] = json!(0);
    for headers in [None, Some(&headers(GOOD))] {
        let Ok(Admitted::Request(asked)) = climb(&message(&body), headers) else {
            panic!("it was refused");
        };
        assert_eq!(asked.capabilities.as_str(), r#"{"roots":{},"x":null}"#);
        assert_eq!(asked.client_info.unwrap().as_str(), r#"{"name":"c","x":1}"#);
        assert_eq!(asked.log_level, Some(LogLevel::Notice));
        assert_eq!(asked.progress_token.unwrap().as_str(), "0");
    }
}

#[test]
fn what_may_be_left_out_may_be_left_out() {
    let Ok(Admitted::Request(asked)) = climb(&message(&call("a")), None) else {
        panic!("it was refused");
    };
    assert!(asked.client_info.is_none() && asked.log_level.is_none() && asked.progress_token.is_none());
    for (key, value) in [
        (META_LOG_LEVEL, json!(null)),
        ("progressToken", json!(null)),
        (META_CLIENT_INFO, json!(7)),
    ] {
        assert!(climb(&message(&with_meta(key, value)), None).is_ok(), "{key}");
    }
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    for level in [json!("loud"), json!("Info"), json!(3), json!({})] {
        assert_eq!(
            told(&with_meta(META_LOG_LEVEL, level), &headers(GOOD)),
            code::INVALID_PARAMS
        );
    }
}

#[test]
fn without_its_envelope_a_request_is_refused_with_the_revisions() {
    let bad = [
        json!(null),
        json!([]),
        json!({}),
        json!({ META_VERSION: MODERN }),
        json!({ META_CAPABILITIES: {} }),
        json!({ META_VERSION: 7, META_CAPABILITIES: {} }),
        json!({ META_VERSION: null, META_CAPABILITIES: {} }),
        json!({ META_VERSION: MODERN, META_CAPABILITIES: null }),
        json!({ META_VERSION: MODERN, META_CAPABILITIES: [] }),
    ];
    for meta in bad {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "a", "_meta": meta } });
        assert_eq!(told(&body, &headers(GOOD)), code::INVALID_PARAMS, "{body}");
        let error = climb(&message(&body), None).unwrap_err().error;
        assert_eq!(error.data.unwrap()["supported"], json!(SUPPORTED));
        assert!(error.message.contains(META_VERSION) || error.message.contains(META_CAPABILITIES));
    }
    for body in [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": [] }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} }),
    ] {
        let error = climb(&message(&body), None).unwrap_err().error;
        assert_eq!(error.code, code::INVALID_PARAMS);
        assert_eq!(
            error.data.unwrap()["missing"],
            json!([META_VERSION, META_CAPABILITIES])
        );
    }
    let twice = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{"{META_VERSION}":"2025-11-25","{META_VERSION}":"{MODERN}","{META_CAPABILITIES}":{{}}}}}}}}"#
    );
    let Incoming::One(twice) = Incoming::parse(&Bytes::from(twice)).unwrap() else {
        panic!()
    };
    assert!(
        climb(&twice, None)
            .unwrap_err()
            .error
            .message
            .contains("stands twice")
    );
}

#[test]
fn headers_are_there_once_and_say_what_the_body_says() {
    let body = call("a");
    assert_eq!(told(&body, &headers(GOOD)), 0);
    for (name, value) in [
        ("MCP-Protocol-Version", ""),
        ("MCP-Protocol-Version", "2025-11-25"),
        ("Mcp-Method", ""),
        ("Mcp-Method", "tools/list"),
        ("Mcp-Method", "Tools/call"),
        ("Mcp-Method", "=?base64?dG9vbHMvY2FsbA==?="),
        ("Mcp-Name", ""),
        ("Mcp-Name", "A"),
        ("Mcp-Name", "=?base64?YR==?="),
        ("Mcp-Name", "=?base64?Yg==?="),
        ("Mcp-Name", "é"),
    ] {
        assert_eq!(
            told(&body, &with(name, value)),
            code::HEADER_MISMATCH,
            "{name}: {value}"
        );
    }
    for good in [" a\t", "=?base64?YQ==?="] {
        assert_eq!(told(&body, &with("Mcp-Name", good)), 0, "{good}");
    }
    for (name, value) in GOOD {
        let mut all = GOOD.to_vec();
        all.push((name, value));
        assert_eq!(told(&body, &headers(&all)), code::HEADER_MISMATCH, "{name} twice");
    }
    let error = climb(&message(&body), Some(&with("Mcp-Name", "foo")))
        .unwrap_err()
        .error;
    assert_eq!(
        error.message,
        "Header mismatch: Mcp-Name header value 'foo' does not match body value 'a'"
    );
}

#[test]
fn the_name_is_that_of_the_method() {
    for (name, key, is_named) in [
        ("tools/call", "name", true),
        ("prompts/get", "name", true),
        ("resources/read", "uri", true),
        ("tasks/get", "taskId", true),
        ("tasks/update", "taskId", true),
        ("tasks/cancel", "taskId", true),
        ("resources/subscribe", "uri", false),
        ("tools/list", "name", false),
        ("completion/complete", "name", false),
    ] {
        let of = |params: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": name, "params": params });
        let body = of(json!({ key: "世界", "_meta": meta() }));
        let base = [("MCP-Protocol-Version", MODERN), ("Mcp-Method", name)];
        let and = |value: &'static str| headers(&[base[0], base[1], ("Mcp-Name", value)]);
        assert_eq!(told(&body, &and("=?base64?5LiW55WM?=")), 0, "{name}");
        let wanted = if is_named { code::HEADER_MISMATCH } else { 0 };
        assert_eq!(told(&body, &and("x")), wanted, "{name}");
        assert_eq!(told(&body, &headers(&base)), wanted, "{name}");
        // A body without it is the method's to refuse, unless the header claims something.
        let nameless = of(json!({ key: 5, "_meta": meta() }));
        assert_eq!(told(&nameless, &headers(&base)), 0, "{name}");
        assert_eq!(told(&nameless, &and("x")), wanted, "{name}");
    }
}

#[test]
fn a_name_that_stands_twice_is_no_name() {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"b","name":"a","_meta":{}}}}}"#,
        meta()
    );
    let Incoming::One(twice) = Incoming::parse(&Bytes::from(text)).unwrap() else {
        panic!()
    };
    let error = climb(&twice, Some(&headers(GOOD))).unwrap_err().error;
    assert_eq!(error.code, code::HEADER_MISMATCH);
}

#[test]
fn a_revision_that_is_not_served_is_refused_with_those_that_are() {
    for (version, supported) in [
        ("1900-01-01", SUPPORTED),
        ("2027-01-01", SUPPORTED),
        ("", SUPPORTED),
        ("2025-11-25", &[MODERN]),
        ("2024-11-05", &[MODERN]),
    ] {
        let body = with_meta(META_VERSION, json!(version));
        let refused = climb(&message(&body), None).unwrap_err();
        assert_eq!(refused.error.code, code::UNSUPPORTED_VERSION);
        assert_eq!(
            refused.error.data.unwrap(),
            json!({ "supported": supported, "requested": version })
        );
        if !version.is_empty() {
            assert_eq!(
                told(&body, &with("MCP-Protocol-Version", version)),
                code::UNSUPPORTED_VERSION
            );
        }
    }
    let long = with_meta(META_VERSION, json!("9".repeat(100_000)));
    assert!(
        climb(&message(&long), None)
            .unwrap_err()
            .error
            .raw()
            .as_bytes()
            .len()
            < 1000
    );
}

#[test]
fn the_first_step_that_fails_is_the_answer() {
    // Each body and header adds an earlier fault to the ones before it.
    let wrong_version = with_meta(META_VERSION, json!("1900-01-01"));
    assert_eq!(
        told(&wrong_version, &with("MCP-Protocol-Version", "1900-01-01")),
        code::UNSUPPORTED_VERSION
    );
    assert_eq!(
        told(&wrong_version, &with("Mcp-Name", "x")),
        code::HEADER_MISMATCH
    );
    let mut bare = wrong_version;
    bare["params"]["_meta"][META_CAPABILITIES] = json!(null);
    assert_eq!(told(&bare, &with("Mcp-Name", "x")), code::INVALID_PARAMS);
    let twice = headers(&[("Mcp-Name", "x"), ("mcp-name", "x")]);
    assert_eq!(told(&bare, &twice), code::HEADER_MISMATCH);
    let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
    assert_eq!(told(&answer, &twice), code::INVALID_REQUEST);
}

#[test]
fn a_notification_passes_unless_its_revision_is_not_served() {
    let body = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    for headers in [
        None,
        Some(headers(&[])),
        Some(headers(&[("MCP-Protocol-Version", MODERN)])),
    ] {
        assert!(matches!(
            climb(&message(&body), headers.as_ref()),
            Ok(Admitted::Notification)
        ));
    }
    assert_eq!(
        told(&body, &headers(&[("MCP-Protocol-Version", "2027-01-01")])),
        code::UNSUPPORTED_VERSION
    );
    let twice = headers(&[("MCP-Protocol-Version", MODERN), ("MCP-Protocol-Version", MODERN)]);
    assert_eq!(told(&body, &twice), code::HEADER_MISMATCH);
}

#[test]
fn messages_are_told_apart_by_era() {
    let request =
        |name: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": name, "params": params });
    let enveloped = json!({ "_meta": meta() });
    let initialize = json!({ "protocolVersion": MODERN, "capabilities": {}, "_meta": meta() });
    let old = Some("2025-11-25");
    for (body, header, wanted) in [
        (request("initialize", initialize.clone()), None, Era::Legacy),
        (request("initialize", initialize), Some(MODERN), Era::Legacy),
        (request("initialize", enveloped.clone()), None, Era::Modern),
        (
            request("initialize", json!({ "protocolVersion": 7 })),
            Some(MODERN),
            Era::Modern,
        ),
        (request("initialize", json!({})), None, Era::Legacy),
        (request("tools/list", enveloped.clone()), None, Era::Modern),
        (request("tools/list", enveloped), old, Era::Modern),
        (
            request("tools/list", json!({ "_meta": { META_VERSION: "2025-11-25" } })),
            None,
            Era::Modern,
        ),
        (
            request("tools/list", json!({ "_meta": { "progressToken": 1 } })),
            None,
            Era::Legacy,
        ),
        (request("tools/list", json!({})), None, Era::Legacy),
        (request("tools/list", json!({})), old, Era::Legacy),
        (
            request("tools/list", json!({})),
            Some(" 2025-06-18\t"),
            Era::Legacy,
        ),
        (request("tools/list", json!({})), Some(MODERN), Era::Modern),
        (request("tools/list", json!({})), Some("2031-01-01"), Era::Modern),
        (request("tools/list", json!({})), Some("nonsense"), Era::Modern),
        (request("tools/list", json!([META_VERSION])), None, Era::Legacy),
        (request("server/discover", json!({})), None, Era::Modern),
        (request("subscriptions/listen", json!({})), old, Era::Modern),
        (
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            None,
            Era::Legacy,
        ),
        (
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled" }),
            Some(MODERN),
            Era::Modern,
        ),
        (
            json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
            None,
            Era::Legacy,
        ),
        (
            json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
            Some(MODERN),
            Era::Modern,
        ),
    ] {
        assert_eq!(era_of(&message(&body), header), wanted, "{body} {header:?}");
    }
}

#[test]
fn every_revision_that_is_served_is_one() {
    assert_eq!(SUPPORTED[0], MODERN);
    assert!(SUPPORTED.is_sorted_by(|newer, older| newer > older));
    for version in &SUPPORTED[1..] {
        assert!(is_legacy(version), "{version}");
    }
}

fn lacks(declared: Value, needed: Value) -> Option<Value> {
    lacking(&Raw::of(&declared), &Raw::of(&needed)).map(|part| part.read().unwrap())
}

#[test]
fn what_a_client_lacks_is_named_and_nothing_else() {
    let form = json!({ "elicitation": { "form": {} } });
    let url = json!({ "elicitation": { "url": {} } });
    assert_eq!(lacks(json!({}), form.clone()), Some(form.clone()));
    assert_eq!(lacks(json!({ "elicitation": {} }), form.clone()), None);
    assert_eq!(
        lacks(json!({ "elicitation": {} }), url.clone()),
        Some(url.clone())
    );
    assert_eq!(lacks(url.clone(), form.clone()), Some(form.clone()));
    assert_eq!(
        lacks(json!({ "elicitation": { "form": {}, "url": {} } }), url.clone()),
        None
    );
    assert_eq!(lacks(json!({ "elicitation": null }), url.clone()), Some(url));
    assert_eq!(
        lacks(json!({ "sampling": {} }), json!({ "sampling": {}, "roots": {} })),
        Some(json!({ "roots": {} }))
    );
    assert_eq!(
        lacks(json!({ "sampling": {} }), json!({ "sampling": { "tools": {} } })),
        Some(json!({ "sampling": { "tools": {} } }))
    );
    // Only elicitation has a default.
    assert_eq!(
        lacks(json!({ "x": {} }), json!({ "x": { "form": {} } })),
        Some(json!({ "x": { "form": {} } }))
    );
    assert_eq!(lacks(json!({}), json!({})), None);
    let refused = demand(&Raw::of(&json!({})), &Raw::of(&form)).unwrap_err();
    assert_eq!(
        (refused.status, refused.error.code),
        (400, code::MISSING_CAPABILITY)
    );
    assert_eq!(
        refused.error.data.unwrap(),
        json!({ "requiredCapabilities": form })
    );
    assert_eq!(demand(&Raw::of(&form), &Raw::of(&form)), Ok(()));
}

#[test]
fn statuses_are_those_of_the_specification() {
    for (code, status) in [
        (code::METHOD_NOT_FOUND, 404),
        (code::HEADER_MISMATCH, 400),
        (code::MISSING_CAPABILITY, 400),
        (code::UNSUPPORTED_VERSION, 400),
        (code::INVALID_PARAMS, 200),
        (code::INTERNAL_ERROR, 200),
        (code::CHILD_EXITED, 200),
    ] {
        assert_eq!(status_of(code), status);
    }
}

proptest! {
    #[test]
    fn any_headers_lead_to_an_answer_and_only_equal_ones_come_up(
        version in "(2026-07-28|2025-11-25| |.{0,12})", name in "(a|=\\?base64\\?YQ==\\?=|.{0,12})",
    ) {
        let all = [("Mcp-Protocol-Version", version.as_str()), ("Mcp-Method", "tools/call"), ("Mcp-Name", &name)];
        let is_up = climb(&message(&call("a")), Some(&headers(&all))).is_ok();
        let trimmed = |text: &str| text.trim_matches([' ', '\t']).to_owned();
        let is_same = trimmed(&version) == MODERN && matches!(trimmed(&name).as_str(), "a" | "=?base64?YQ==?=");
        prop_assert_eq!(is_up, is_same);
    }
}

#[test]
fn what_a_client_lacked_counts_as_long_as_it_lacks_it() {
    let profile = |able: &str| {
        let capabilities = Raw::parse(&able.to_owned().into()).unwrap();
        Arc::new(Profile {
            revision: Revision::NEWEST,
            client_info: None,
            capabilities,
            log_level: None,
        })
    };
    let client = ClientSide::of_request(profile(r#"{"elicitation":{}}"#));
    assert_eq!(lacked_by(&client), None);
    client.note_lacked(Raw::of(&json!({ "sampling": {} })));
    assert_eq!(lacked_by(&client).unwrap().as_str(), r#"{"sampling":{}}"#);
    client.say_anew(profile(r#"{"elicitation":{},"sampling":{}}"#));
    assert_eq!(lacked_by(&client), None, "it has said so in a later request");
    client.say_anew(profile("{}"));
    assert!(lacked_by(&client).is_some());
}
