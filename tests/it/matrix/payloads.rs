//! Payloads that a revision brought, batches, and what only event streams have.

use serde_json::{Value, json};

use super::base::raw_call;
use super::cell::{Cell, Door, Outcome, V03, V06, V11, V26};
use crate::harness::http::Event;
use crate::harness::{request, text_of, until};

/// What the child shows of its revision: as a tool's result and as a prompt's messages.
async fn shown(cell: &Cell) -> [String; 2] {
    let mut peer = cell.plain().await;
    let params = json!({ "name": cell.tool("show") });
    let prompt = request("get", "prompts/get", params);
    [
        peer.ask_raw(&raw_call("1", &cell.tool("show"), "{}"), "1").await,
        peer.ask_raw(&prompt, "\"get\"").await,
    ]
}

pub(crate) async fn plain_blocks(cell: Cell) -> Outcome {
    for text in shown(&cell).await {
        for block in [
            r#"{"text":"said","type":"text"}"#,
            r#"{"data":"AAAA","mimeType":"image/png","type":"image"}"#,
            r#"{"resource":{"text":"inside","uri":"x://in"},"type":"resource"}"#,
        ] {
            assert!(text.contains(block), "{block} is missing in {text}");
        }
    }
    Outcome::Pass("B")
}

pub(crate) async fn audio(cell: Cell) -> Outcome {
    if cell.child < V03 {
        return Outcome::NotDefined("servers of this revision have no audio");
    }
    let before = r#"{"data":"AAAAAAAA","mimeType":"audio/wav","type":"audio"}"#;
    let shown = shown(&cell).await;
    for text in shown {
        if cell.client >= V03 {
            assert!(text.contains(before), "{text}");
        } else {
            assert!(!text.contains(r#""type":"audio""#), "{text}");
            assert!(text.contains("audio/wav") && text.contains("6 bytes"), "{text}");
        }
    }
    Outcome::Pass(if cell.client >= V03 { "B" } else { "a" })
}

pub(crate) async fn link(cell: Cell) -> Outcome {
    if cell.child < V06 {
        return Outcome::NotDefined("servers of this revision have no resource links");
    }
    let block = r#"{"name":"linked","type":"resource_link","uri":"x://link"}"#;
    for text in shown(&cell).await {
        if cell.client >= V06 {
            assert!(text.contains(block), "{text}");
        } else {
            assert!(!text.contains("resource_link"), "{text}");
            assert!(text.contains("linked x://link"), "{text}");
        }
    }
    Outcome::Pass(if cell.client >= V06 { "B" } else { "r" })
}

pub(crate) async fn structured(cell: Cell) -> Outcome {
    if cell.child < V06 {
        return Outcome::NotDefined("servers of this revision have no structured content");
    }
    let [tool, _] = shown(&cell).await;
    let answer: Value = serde_json::from_str(&tool).unwrap();
    assert_eq!(answer["result"]["structuredContent"], json!({ "n": 1 }));
    // Who does not know of it reads the text.
    assert_eq!(text_of(&answer), "said");
    Outcome::Pass("B")
}

/// Values that are no objects, which only servers of 2026-07-28 may give as structured content.
pub(crate) async fn structured_values(cell: Cell) -> Outcome {
    if cell.child < V26 {
        return Outcome::NotDefined("structured content of this revision is an object");
    }
    let mut peer = cell.plain().await;
    let listed = peer.ask("tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    for (name, value, kind) in [
        ("shape_array", json!([1, 2, 3]), "array"),
        ("shape_text", json!("a text"), "string"),
        ("shape_ref", json!([{ "below": [] }]), "array"),
    ] {
        let schema =
            tools.iter().find(|tool| tool["name"] == cell.tool(name)).unwrap()["outputSchema"].clone();
        let answer = peer.call(&cell.tool(name), json!({})).await;
        let structured = &answer["result"]["structuredContent"];
        if cell.is_bare() {
            assert_eq!(
                (structured, &schema["type"]),
                (&value, &json!(kind)),
                "{answer} {schema}"
            );
        } else {
            assert_eq!(*structured, json!({ "result": value }), "{answer}");
            assert_eq!(schema["type"], "object", "{schema}");
            assert_eq!(schema["required"], json!(["result"]), "{schema}");
            assert_eq!(schema["properties"]["result"]["type"], kind, "{schema}");
        }
        // Who does not know of it reads the text.
        assert_eq!(text_of(&answer), value.to_string());
        if name == "shape_ref" {
            let points = points(&schema);
            assert_eq!(points.len(), 2, "{schema}");
            for point in points {
                let found = schema.pointer(point.trim_start_matches('#'));
                assert!(found.is_some(), "{point} leads nowhere in {schema}");
                // It leads to the same as before: a list, or what is in it.
                let is_list = found.unwrap()["type"] == "array";
                assert_eq!(is_list, !point.contains("node"), "{point} in {schema}");
            }
        }
    }
    Outcome::Pass(if cell.is_bare() { "B" } else { "j" })
}

/// All references in a schema.
fn points(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(members.values().flat_map(points)).collect()
        }
        Value::Array(items) => items.iter().flat_map(points).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

pub(crate) async fn batch_in(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let before = cell.noted_until_now();
    let parts = [
        raw_call("1", &cell.tool("echo"), r#"{"n":1}"#),
        r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#.to_owned(),
        raw_call("\"two\"", &cell.tool("echo"), r#"{"n":2}"#),
    ];
    let batch = format!("[{}]", parts.join(","));
    let answers: Vec<Value> = if let Some(http) = peer.http() {
        let reply = http.post(&batch).await;
        let is_taken = cell.client == V03;
        assert_eq!(reply.status, if is_taken { 200 } else { 400 });
        let answers = reply.json().await;
        answers.as_array().cloned().unwrap_or_else(|| vec![answers])
    } else {
        peer.send(&batch).await;
        let n = if cell.client == V03 { 2 } else { 1 };
        let mut all = Vec::new();
        while all.len() < n {
            let came = peer.next().await;
            if came.method().is_none() {
                all.push(came.json());
            }
        }
        all
    };
    if cell.client != V03 {
        assert_eq!(answers[0]["error"]["code"], -32600, "{answers:?}");
        let noted = cell.noted_since(before);
        assert!(!noted.iter().any(|line| line.contains("tools/call")), "{noted:?}");
        return Outcome::Pass("refused");
    }
    assert_eq!(answers.len(), 2, "{answers:?}");
    for (id, text) in [(json!(1), r#"{"n":1}"#), (json!("two"), r#"{"n":2}"#)] {
        let answer = answers.iter().find(|answer| answer["id"] == id);
        assert_eq!(text_of(answer.unwrap()), text);
    }
    // The child gets them one by one: only its own revision may promise arrays.
    let noted = cell.noted_since(before);
    assert!(!noted.iter().any(|line| line.starts_with("in [")), "{noted:?}");
    Outcome::Pass("batch")
}

pub(crate) async fn batch_out(cell: Cell) -> Outcome {
    if cell.child != V03 {
        return Outcome::NotDefined("servers of this revision send no batches");
    }
    let mut peer = cell.plain().await;
    if cell.is_bare() {
        peer.set_level(Some("warning"));
    }
    let before = cell.noted_until_now();
    let id = peer.begin(&cell.tool("in_batch"), json!({ "n": 3 })).await;
    let (mut logged, mut answered) = (None, None);
    while logged.is_none() || answered.is_none() {
        let came = peer.next().await;
        assert!(came.text.starts_with('{'), "an array went out: {}", came.text);
        if came.id() == Some(&id) {
            answered = Some(came.json());
        } else if came.method().as_deref() == Some("notifications/message") {
            logged = Some(came.json());
        }
    }
    assert_eq!(text_of(&answered.unwrap()), r#"{"n":3}"#);
    assert_eq!(logged.unwrap()["params"]["data"], "in a batch");
    let noted = cell.noted_since(before);
    assert!(noted.iter().any(|line| line.starts_with("out [")), "{noted:?}");
    Outcome::Pass("batch")
}

fn steps(events: &[Event]) -> Vec<u64> {
    let message = |event: &Event| serde_json::from_str::<Value>(&event.data).unwrap();
    let step = |event: &Event| message(event)["params"]["progress"].as_u64();
    events.iter().filter_map(step).collect()
}

pub(crate) async fn resumed(cell: Cell) -> Outcome {
    if cell.door != Door::Http {
        return Outcome::NotDefined("this door resumes no streams");
    }
    if cell.is_bare() {
        return Outcome::NotDefined("clients of this revision resume no streams");
    }
    let peer = cell.plain().await;
    let http = peer.http().unwrap();
    let params = json!({
        "name": cell.tool("progress"), "arguments": { "n": 6, "ms": 10 }, "_meta": { "progressToken": "t" },
    });
    let before = cell.noted_until_now();
    let mut broken = http.post(&request(1, "tools/call", params)).await;
    assert_eq!(broken.status, 200);
    let first = broken.next_bare_event().await.unwrap();
    // An event without data is an invalid message to older clients.
    assert_eq!(first.data.is_empty(), cell.client >= V11, "{first:?}");
    let n_seen = steps(if first.data.is_empty() {
        &[]
    } else {
        std::slice::from_ref(&first)
    });
    drop(broken);
    let id = first.id.expect("an event has an id");
    let headers = [("accept", "text/event-stream"), ("last-event-id", id.as_str())];
    let rest = http.mcp("GET", &headers, "").await;
    assert_eq!(rest.status, 200);
    let rest = rest.events().await;
    assert_eq!([n_seen, steps(&rest)].concat(), [1, 2, 3, 4, 5, 6]);
    let answer: Value = serde_json::from_str(&rest.last().unwrap().data).unwrap();
    assert_eq!(text_of(&answer), r#"{"ms":10,"n":6}"#);
    // A connection that breaks is no cancellation.
    let noted = cell.noted_since(before);
    assert!(!noted.iter().any(|line| line.contains("notifications/cancelled")));
    Outcome::Pass("G")
}

pub(crate) async fn streamed(cell: Cell) -> Outcome {
    if cell.door != Door::Http {
        return Outcome::NotDefined("this door has one stream for everything");
    }
    if cell.is_bare() {
        return Outcome::NotDefined("clients of this revision have no session, and so no stream of it");
    }
    let mut peer = cell.plain().await;
    let answer = peer
        .ask("resources/subscribe", json!({ "uri": cell.uri(3) }))
        .await;
    assert_eq!(answer["result"], json!({}), "{answer}");
    let mut actor = cell.plain().await;
    text_of(
        &actor
            .call(&cell.tool("updated"), json!({ "uri": cell.uri(3) }))
            .await,
    );
    let told = peer.notification("notifications/resources/updated").await;
    assert_eq!(told.way, super::peer::Way::Stream, "{}", told.text);
    // With the session its streams end, and it is known no more.
    let http = peer.http().unwrap();
    assert_eq!(http.mcp("DELETE", &[], "").await.status, 204);
    until("the end of the session", async || {
        let reply = http.post(&request(9, "ping", json!({}))).await;
        (reply.status == 404).then_some(())
    })
    .await;
    Outcome::Pass("G")
}
