//! Trace context: the client's trace goes on to the child, and what the child says in it finds its call.

use serde_json::{Value, json};

use crate::harness::fake::Fake;
use crate::harness::{Daemon, LineClient, able, call, fake, request, text_of};

const CALLERS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const STRANGER: &str = "00-00000000000000000000000000000abc-0000000000000def-01";

fn asker() -> Fake {
    fake("a")
        .tools("ask,echo,log,out_of_order")
        .arg("--prompts", "p")
        .arg("--resources", "x://1")
}

/// `_meta` of what the child was asked last by this method.
fn meta(daemon: &Daemon, method: &str) -> Value {
    let journal = daemon.setup.journal("a");
    let method = format!(r#""method":"{method}""#);
    let last = journal
        .iter()
        .rfind(|line| line.starts_with("in ") && line.contains(&method));
    let last: Value = serde_json::from_str(last.unwrap().strip_prefix("in ").unwrap()).unwrap();
    last["params"]["_meta"].clone()
}

/// Trace, span and flags of a valid one.
fn parts(meta: &Value) -> [String; 3] {
    let text = meta["traceparent"]
        .as_str()
        .unwrap_or_else(|| panic!("no traceparent in {meta}"));
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = parts[..] else {
        panic!("{text}")
    };
    assert_eq!(
        (version, trace.len(), span.len(), flags.len()),
        ("00", 32, 16, 2),
        "{text}"
    );
    [trace, span, flags].map(str::to_owned)
}

#[tokio::test]
async fn every_call_has_a_span_of_its_own_in_the_trace_of_its_client() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.http().await;
    let with = |mut params: Value, meta: Value| {
        params["_meta"] = meta;
        params
    };
    let asked = [
        ("tools/call", json!({ "name": "a__echo" })),
        ("prompts/get", json!({ "name": "a__p" })),
        ("resources/read", json!({ "uri": "x://1" })),
    ];
    let mut spans = Vec::new();
    for (method, params) in asked {
        let traced = with(params.clone(), json!({ "traceparent": CALLERS, "x": null }));
        client.request(method, traced).await;
        let meta = meta(&daemon, method);
        let [trace, span, flags] = parts(&meta);
        assert_eq!(
            (trace.as_str(), flags.as_str()),
            ("4bf92f3577b34da6a3ce929d0e0e4736", "00")
        );
        assert_ne!(span, "00f067aa0ba902b7");
        assert!(
            meta.get("x").is_some_and(Value::is_null),
            "the rest stays: {meta}"
        );
        assert!(meta["progressToken"].is_u64(), "{meta}");
        spans.push(span);
        for invalid in [
            json!({ "traceparent": "nonsense" }),
            json!({ "traceparent": 5 }),
            json!({}),
        ] {
            client.request(method, with(params.clone(), invalid)).await;
            let [trace, span, _] = parts(&self::meta(&daemon, method));
            assert_ne!(trace, "0".repeat(32));
            spans.push(span);
        }
    }
    let n = spans.len();
    spans.sort_unstable();
    spans.dedup();
    assert_eq!((spans.len(), n), (12, 12));
    daemon.end().await;
}

#[tokio::test]
async fn a_process_of_one_session_gets_the_clients_own_context_as_it_is() {
    let daemon = Daemon::start(&[asker().key("sharing", "\"per-session\"")]).await;
    let client = daemon.http().await;
    let params = json!({ "name": "a__echo", "_meta": { "traceparent": CALLERS } });
    client.request("tools/call", params).await;
    assert_eq!(meta(&daemon, "tools/call")["traceparent"], CALLERS);
    client.call("a__echo", json!({})).await;
    assert!(meta(&daemon, "tools/call")["traceparent"].is_null());
    daemon.end().await;
}

#[tokio::test]
async fn a_question_in_the_trace_of_a_call_reaches_its_caller_among_calls_of_others() {
    let daemon = Daemon::start(&[asker()]).await;
    let can = json!({ "elicitation": {} });
    let mut one = LineClient::launch(&daemon.setup);
    one.introduce(able("2025-11-25", &can, "one")).await;
    let two = daemon.introduced(able("2025-11-25", &can, "two")).await;
    // Held back by the child until the second of its kind is there.
    one.send(&call(1, "a__out_of_order", json!({}))).await;
    daemon.setup.called("a", "out_of_order").await;
    let asking = |traceparent: &str| {
        let schema = json!({ "type": "object", "properties": {} });
        let meta = json!({ "traceparent": traceparent });
        let params = json!({ "message": "Sure?", "requestedSchema": schema, "_meta": meta });
        call(
            1,
            "a__ask",
            json!({ "method": "elicitation/create", "params": params }),
        )
    };
    let mut reply = two.post(&asking("$TRACEPARENT")).await;
    let question = reply.next_json().await;
    assert_eq!(question["params"]["message"], "[a] Sure?", "{question}");
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "accept" } });
    assert_eq!(two.post(&answer.to_string()).await.status, 202);
    assert!(text_of(&reply.next_json().await).contains("accept"));
    // What names no call of ours is as doubtful as without.
    for stranger in [STRANGER, "nonsense"] {
        let reply = two.post(&asking(stranger)).await;
        assert!(!reply.is_stream(), "the client was sent something");
        let answer = reply.json().await;
        assert!(text_of(&answer).contains(r#"{"action":"cancel"}"#), "{answer}");
    }
    one.send(&call(2, "a__out_of_order", json!({}))).await;
    let ids = [
        one.next_json().await["id"].clone(),
        one.next_json().await["id"].clone(),
    ];
    assert!(
        ids.iter().all(Value::is_u64),
        "no line but the two answers: {ids:?}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_log_message_in_the_trace_of_a_call_reaches_its_caller_among_calls_of_others() {
    let daemon = Daemon::start(&[asker()]).await;
    let mut one = LineClient::greeted(&daemon.setup).await;
    let mut two = LineClient::greeted(&daemon.setup).await;
    let level = request(1, "logging/setLevel", json!({ "level": "info" }));
    for client in [&mut one, &mut two] {
        assert_eq!(client.ask_json(&level).await["result"], json!({}));
    }
    one.send(&call(2, "a__out_of_order", json!({}))).await;
    daemon.setup.called("a", "out_of_order").await;
    // Without its trace the message may be anybody's; with it, it is the second client's.
    let plain = two.ask_json(&call(2, "a__log", json!({}))).await;
    assert_eq!(plain["id"], 2, "{plain}");
    two.send(&call(3, "a__log", json!({ "traced": "yes" }))).await;
    let mut came = [two.next_json().await, two.next_json().await];
    came.sort_by_key(|message| message["id"] == 3);
    assert_eq!(came[0]["params"]["data"], "message 1", "{came:?}");
    one.send(&call(3, "a__out_of_order", json!({}))).await;
    let ids = [
        one.next_json().await["id"].clone(),
        one.next_json().await["id"].clone(),
    ];
    assert!(
        ids.iter().all(Value::is_u64),
        "no line but the two answers: {ids:?}"
    );
    daemon.end().await;
}
