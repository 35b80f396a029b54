//! Results and errors between the eras.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn raw(text: &str) -> Raw {
    Raw::parse(&text.to_owned().into()).unwrap()
}

fn info() -> Raw {
    raw(r#"{"name":"we"}"#)
}

const KEEP: Keep = Keep {
    ttl_ms: 0,
    scope: Scope::Private,
    is_final: false,
};

fn filled(from: Era, keep: Option<Keep>, result: &str) -> String {
    let info = info();
    let fill = Fill {
        from,
        server_info: Some(&info),
        keep,
    };
    complete_for_modern(&raw(result), &fill).as_str().to_owned()
}

const WE: &str = r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"we"}}"#;

#[test]
fn a_result_of_the_handshake_era_is_completed_and_keeps_its_bytes() {
    assert_eq!(
        filled(Era::Legacy, None, "{}"),
        format!(r#"{{"resultType":"complete",{WE}}}"#)
    );
    assert_eq!(
        filled(
            Era::Legacy,
            None,
            r#"{ "content" : [1e400], "structuredContent":null }"#
        ),
        format!(r#"{{ "content" : [1e400], "structuredContent":null ,"resultType":"complete",{WE}}}"#)
    );
    assert_eq!(
        filled(Era::Legacy, Some(KEEP), r#"{"contents":[]}"#),
        format!(r#"{{"contents":[],"resultType":"complete","ttlMs":0,"cacheScope":"private",{WE}}}"#)
    );
    // Its own words of the other era mean nothing.
    assert_eq!(
        filled(
            Era::Legacy,
            Some(Keep {
                ttl_ms: 5,
                scope: Scope::Public,
                is_final: false
            }),
            r#"{"resultType":"input_required","ttlMs":9,"a":1}"#
        ),
        format!(r#"{{"a":1,"resultType":"complete","ttlMs":5,"cacheScope":"public",{WE}}}"#)
    );
    for other in ["7", "null", "[]", "\"x\""] {
        assert_eq!(filled(Era::Legacy, Some(KEEP), other), other);
    }
}

#[test]
fn a_result_of_the_same_era_keeps_what_it_says() {
    let said = r#"{"resultType":"complete","ttlMs":7,"cacheScope":"public"}"#;
    let and_we = |text: &str| format!("{},{WE}}}", text.strip_suffix('}').unwrap());
    assert_eq!(filled(Era::Modern, Some(KEEP), said), and_we(said));
    let asks = r#"{"resultType":"input_required","inputRequests":{}}"#;
    assert_eq!(filled(Era::Modern, Some(KEEP), asks), and_we(asks));
    let task = r#"{"resultType":"task","taskId":"1"}"#;
    assert_eq!(filled(Era::Modern, None, task), and_we(task));
    let is_final = Keep {
        is_final: true,
        ..KEEP
    };
    assert_eq!(
        filled(Era::Modern, Some(is_final), said),
        format!(r#"{{"resultType":"complete","ttlMs":0,"cacheScope":"private",{WE}}}"#)
    );
    for bad in [
        r#""ttlMs":-1,"cacheScope":"public""#,
        r#""ttlMs":1,"cacheScope":"""#,
        r#""ttlMs":1.5,"cacheScope":"public""#,
        r#""ttlMs":1"#,
    ] {
        assert_eq!(
            filled(
                Era::Modern,
                Some(KEEP),
                &format!(r#"{{"resultType":"complete",{bad}}}"#)
            ),
            format!(r#"{{"resultType":"complete","ttlMs":0,"cacheScope":"private",{WE}}}"#)
        );
    }
    assert!(filled(Era::Modern, None, r#"{"resultType":7}"#).contains(r#""resultType":"complete""#));
}

#[test]
fn metadata_is_ours_in_one_place_only() {
    let result = r#"{"_meta":{"a":1e400,"io.modelcontextprotocol/serverInfo":{"name":"they"},"io.modelcontextprotocol/related-task":{"taskId":"1"}},"z":1}"#;
    assert_eq!(
        filled(Era::Modern, None, result),
        r#"{"z":1,"resultType":"complete","_meta":{"a":1e400,"io.modelcontextprotocol/serverInfo":{"name":"we"}}}"#
    );
    let silent = |from, text: &str| {
        let fill = Fill {
            from,
            server_info: None,
            keep: None,
        };
        complete_for_modern(&raw(text), &fill).as_str().to_owned()
    };
    assert_eq!(
        silent(Era::Legacy, r#"{"_meta":null}"#),
        r#"{"_meta":null,"resultType":"complete"}"#
    );
    assert_eq!(
        silent(Era::Legacy, r#"{"_meta":{"a":1}}"#),
        r#"{"_meta":{"a":1},"resultType":"complete"}"#
    );
    assert_eq!(
        silent(
            Era::Legacy,
            r#"{"_meta":{"io.modelcontextprotocol/related-task":1,"a":1}}"#
        ),
        r#"{"resultType":"complete","_meta":{"a":1}}"#
    );
    let same = r#"{"resultType":"complete","x":1}"#;
    assert_eq!(silent(Era::Modern, same), same);
    assert_eq!(
        filled(Era::Legacy, None, r#"{"_meta":null}"#),
        format!(r#"{{"resultType":"complete",{WE}}}"#)
    );
}

#[test]
fn an_older_client_sees_nothing_of_the_other_era() {
    let stripped = |name: &str, text: &str| strip_for_legacy(name, &raw(text)).as_str().to_owned();
    let result = r#"{"resultType":"complete", "ttlMs":1,"cacheScope":"public","x":1e400,"_meta":{"io.modelcontextprotocol/serverInfo":{},"io.modelcontextprotocol/subscriptionId":1,"a":1}}"#;
    assert_eq!(
        stripped("resources/read", result),
        r#"{"x":1e400,"_meta":{"a":1}}"#
    );
    assert_eq!(
        stripped("tools/call", result),
        r#"{"ttlMs":1,"cacheScope":"public","x":1e400,"_meta":{"a":1}}"#
    );
    assert_eq!(
        stripped("tools/call", &format!(r#"{{"a":1,{WE}}}"#)),
        r#"{"a":1}"#
    );
    for same in [
        r#"{ "a":{"resultType":1} }"#,
        r#"{ "_meta":{"a":1} }"#,
        r#"{ "_meta":{} }"#,
        r#"{"_meta":null}"#,
        "7",
    ] {
        assert_eq!(stripped("tools/list", same), same);
    }
}

#[test]
fn structured_content_is_an_object_with_a_text() {
    let wrapped = |is_wrapped, text: &str| wrap_structured(&raw(text), is_wrapped).as_str().to_owned();
    assert_eq!(
        wrapped(
            false,
            r#"{"content":[{"type":"text","text":"t"}],"structuredContent":[1e400],"x":1}"#
        ),
        r#"{"content":[{"type":"text","text":"t"}],"structuredContent":{"result":[1e400]},"x":1}"#
    );
    for value in ["null", "0", "\"a\"", "true", "[]"] {
        let text = serde_json::to_string(value).unwrap();
        assert_eq!(
            wrapped(false, &format!(r#"{{"content":[],"structuredContent":{value}}}"#)),
            format!(
                r#"{{"content":[{{"text":{text},"type":"text"}}],"structuredContent":{{"result":{value}}}}}"#
            )
        );
    }
    assert_eq!(
        wrapped(
            true,
            r#"{"structuredContent":{"a":1},"content":[{"type":"text","text":""}]}"#
        ),
        r#"{"structuredContent":{"result":{"a":1}},"content":[{"type":"text","text":""}]}"#
    );
    assert_eq!(
        wrapped(false, r#"{"structuredContent":{"a":1}}"#),
        r#"{"structuredContent":{"a":1},"content":[{"text":"{\"a\":1}","type":"text"}]}"#
    );
    for same in [
        r#"{"content":[]}"#,
        r#"{"structuredContent":{},"content":[{"type":"text"}]}"#,
        "7",
    ] {
        assert_eq!(wrapped(false, same), same);
    }
}

fn told(from: Era, name: &str, error: &str) -> Told {
    error_for_modern(from, name, Some("x://exposed"), &raw(error))
}

fn value(told: Told) -> Value {
    match told {
        Told::Error(error) | Told::WrongRevision(error) => error.read().unwrap(),
        Told::Result(result) => result.read().unwrap(),
        Told::OpenUrlFirst(error) => error.read().unwrap(),
    }
}

#[test]
fn a_resource_that_is_not_there_has_the_code_of_the_era_and_the_uri_of_the_client() {
    let old = r#"{"code":-32002,"message":"Resource not found","data":{"uri":"x://own","a":1.0}}"#;
    for name in ["resources/read", "resources/subscribe"] {
        assert_eq!(
            told(Era::Legacy, name, old),
            Told::Error(raw(
                r#"{"code":-32602,"message":"Resource not found","data":{"uri":"x://exposed","a":1.0}}"#
            ))
        );
    }
    assert_eq!(
        value(told(
            Era::Legacy,
            "resources/read",
            r#"{"code":-32002,"message":"gone","data":"why"}"#
        )),
        json!({ "code": -32602, "message": "Resource not found: gone", "data": { "original": "why", "uri": "x://exposed" } })
    );
    // Elsewhere it is somebody's own, and this era has it not.
    assert_eq!(value(told(Era::Legacy, "tools/call", old))["code"], -32603);
    let legacy = |name: &str, error: &str| error_for_legacy(name, Some("x://exposed"), &raw(error));
    for error in [
        r#"{"code":-32602,"message":"Resource NOT found"}"#,
        r#"{"code":-32602,"message":"no","data":{"uri":"x://own"}}"#,
    ] {
        let told = value(legacy("resources/read", error));
        assert_eq!(
            (told["code"].clone(), told["data"]["uri"].clone()),
            (json!(-32002), json!("x://exposed"))
        );
        assert_eq!(legacy("prompts/get", error), Told::Error(raw(error)));
    }
    let other = r#"{"code":-32602,"message":"bad cursor"}"#;
    assert_eq!(legacy("resources/read", other), Told::Error(raw(other)));
    assert_eq!(
        told(Era::Modern, "resources/read", other),
        Told::Error(raw(other))
    );
    assert_eq!(
        value(told(
            Era::Modern,
            "resources/read",
            r#"{"code":-32602,"message":"not found","data":{"uri":"x://own"}}"#
        )),
        json!({ "code": -32602, "message": "not found", "data": { "uri": "x://exposed" } })
    );
    let nothing_known = error_for_modern(Era::Legacy, "resources/read", None, &raw(old));
    assert_eq!(value(nothing_known)["data"]["uri"], "x://own");
}

#[test]
fn codes_that_the_protocol_has_given_away_are_its_own() {
    let error = |code: i64| format!(r#"{{"code":{code},"message":"m","data":{{"n":1e400}}}}"#);
    let internal = |code: i64| {
        raw(&format!(
            r#"{{"code":-32603,"message":"m","data":{{"source":"mcp-wrapper","original":{}}}}}"#,
            error(code)
        ))
    };
    for code in [-32020, -32022] {
        assert_eq!(
            told(Era::Modern, "tools/call", &error(code)),
            Told::WrongRevision(internal(code))
        );
        assert_eq!(
            told(Era::Legacy, "tools/call", &error(code)),
            Told::Error(internal(code))
        );
        let legacy = error_for_legacy("tools/call", None, &raw(&error(code)));
        assert_eq!(legacy, Told::WrongRevision(internal(code)));
    }
    assert_eq!(
        told(Era::Modern, "tools/call", &error(-32021)),
        Told::Error(raw(&error(-32021)))
    );
    assert_eq!(
        told(Era::Legacy, "tools/call", &error(-32021)),
        Told::Error(internal(-32021))
    );
    for code in [-32023, -32050, -32099] {
        assert_eq!(
            told(Era::Modern, "tools/call", &error(code)),
            Told::Error(internal(code))
        );
        let legacy = error_for_legacy("tools/call", None, &raw(&error(code)));
        assert_eq!(legacy, Told::Error(internal(code)));
    }
    let as_result = error_for_legacy("tools/call", None, &raw(&error(-32021)));
    assert_eq!(
        as_result,
        Told::Result(raw(r#"{"content":[{"text":"m","type":"text"}],"isError":true}"#))
    );
    assert_eq!(
        error_for_legacy("prompts/get", None, &raw(&error(-32021))),
        Told::Error(internal(-32021))
    );
    assert_eq!(
        told(Era::Legacy, "tools/call", &error(-32042)),
        Told::OpenUrlFirst(raw(&error(-32042)))
    );
    let legacy = error_for_legacy("tools/call", None, &raw(&error(-32042)));
    assert_eq!(legacy, Told::Error(raw(&error(-32042))));
}

#[test]
fn other_errors_pass_to_the_byte() {
    for code in [
        "-32000", "-32001", "-32003", "-32019", "-32100", "-32601", "-32602", "-32603", "-32700", "-1", "1",
        "0", "\"E\"", "-32002.5", "null",
    ] {
        let error = format!(r#"{{ "code":{code}, "message":"m","data":1e400}}"#);
        assert_eq!(told(Era::Legacy, "tools/call", &error), Told::Error(raw(&error)));
        assert_eq!(
            error_for_legacy("tools/call", None, &raw(&error)),
            Told::Error(raw(&error))
        );
    }
    for odd in ["{}", "7", "null", "[]"] {
        assert_eq!(told(Era::Legacy, "resources/read", odd), Told::Error(raw(odd)));
    }
}

fn any_result() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "resultType",
        "ttlMs",
        "cacheScope",
        "_meta",
        "a",
        "structuredContent",
        "content",
    ]);
    let value = prop_oneof![
        Just(json!(null)),
        Just(json!("complete")),
        Just(json!("input_required")),
        Just(json!(5)),
        Just(json!({})),
        Just(json!({ "io.modelcontextprotocol/serverInfo": {}, "b": 1 })),
        Just(json!({ "io.modelcontextprotocol/related-task": {} })),
        any::<String>().prop_map(|text| json!([{ "type": text }])),
    ];
    prop::collection::hash_map(key, value, 0..7).prop_map(|map| {
        Value::Object(
            map.into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    })
}

proptest! {
    #[test]
    fn every_result_is_complete_and_the_rest_of_it_is_kept(result in any_result(), is_modern in any::<bool>(), keeps in any::<bool>()) {
        let info = info();
        let from = if is_modern { Era::Modern } else { Era::Legacy };
        let fill = Fill { from, server_info: Some(&info), keep: keeps.then_some(KEEP) };
        let done = complete_for_modern(&Raw::of(&result), &fill);
        let value: Value = done.read().unwrap();
        prop_assert_eq!(&value["_meta"][SERVER_INFO], &json!({ "name": "we" }));
        prop_assert!(value["_meta"].get(RELATED_TASK).is_none());
        prop_assert!(value["resultType"].is_string());
        prop_assert!(is_modern || value["resultType"] == "complete");
        if keeps && value["resultType"] == "complete" {
            prop_assert!(value["ttlMs"].is_u64() && value["cacheScope"].is_string());
        }
        for key in ["a", "structuredContent", "content"] {
            prop_assert_eq!(value.get(key), result.get(key));
        }
        let object = Object::of(&done).unwrap();
        prop_assert_eq!(object.doubled(&["resultType", "ttlMs", "cacheScope", "_meta"]), None);
        // Again changes nothing, and the way back takes away what was added.
        let again = Fill { from: Era::Modern, ..fill };
        let same: Value = complete_for_modern(&done, &again).read().unwrap();
        prop_assert_eq!(same, value);
        let back: Value = strip_for_legacy("resources/read", &done).read().unwrap();
        for key in ["resultType", "ttlMs", "cacheScope"] {
            prop_assert!(back.get(key).is_none());
        }
        prop_assert!(back.get("_meta").is_none_or(|meta| meta.get(SERVER_INFO).is_none()));
        prop_assert_eq!(back.get("a"), result.get("a"));
    }
}
