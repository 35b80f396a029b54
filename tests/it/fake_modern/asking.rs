//! The same as a server with a handshake: how it asks, and what it does with its questions.

use serde_json::{Value, json};

use super::alone::Alone;
use super::form;
use crate::harness::text_of;

/// A child that has shaken hands with a client that can do this.
async fn greeted(flags: &[&str], able: &Value) -> Alone {
    let mut child = Alone::start(flags);
    child.may_ask = true;
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": able });
    child
        .tell(json!({ "jsonrpc": "2.0", "id": "init", "method": "initialize", "params": params }))
        .await;
    assert_eq!(child.some().await["id"], "init");
    child
}

/// Calls `echo`; what comes is left to be read.
async fn call(child: &mut Alone, id: &str, arguments: &Value) {
    let params = json!({ "name": "echo", "arguments": arguments });
    child
        .tell(json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }))
        .await;
}

async fn answer(child: &mut Alone, question: &Value, result: Value) {
    child
        .tell(json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }))
        .await;
}

#[tokio::test]
async fn rounds_of_questions_are_asked_as_requests() {
    let mut child = greeted(&[], &json!({})).await;
    let rounds =
        json!([{ "a": form("one"), "b": form("two") }, { "c": form("three") }, { "d": form("four") }]);
    call(&mut child, "x", &json!({ "do": "interview", "rounds": rounds })).await;
    let (a, b) = (child.some().await, child.some().await);
    assert_eq!(
        (&a["params"]["message"], &b["params"]["message"]),
        (&json!("one"), &json!("two"))
    );
    // In any order; and an error is an answer.
    answer(&mut child, &b, json!({ "action": "decline" })).await;
    child
        .tell(json!({ "jsonrpc": "2.0", "id": a["id"], "error": { "code": -1, "message": "no" } }))
        .await;
    for _ in 0..2 {
        let next = child.some().await;
        assert_eq!(next["method"], "elicitation/create");
        answer(&mut child, &next, json!({ "action": "accept" })).await;
    }
    let over = child.some().await;
    assert_eq!(
        text_of(&over),
        r#"{"rounds":3,"answers":[{"a":{"error":{"code":-1,"message":"no"}},"b":{"action":"decline"}},{"c":{"action":"accept"}},{"d":{"action":"accept"}}]}"#
    );
}

#[tokio::test]
async fn a_question_is_taken_back_when_the_word_is_said() {
    let mut child = greeted(&[], &json!({})).await;
    let mut question = form("one");
    question["withdraw"] = json!("enough");
    call(
        &mut child,
        "x",
        &json!({ "do": "interview", "rounds": [{ "a": question }] }),
    )
    .await;
    let asked = child.some().await;
    call(&mut child, "y", &json!({ "do": "release", "word": "enough" })).await;
    let mut seen = [child.some().await, child.some().await, child.some().await];
    seen.sort_by_key(|message| message["id"].to_string());
    // `"x"`, `"y"`, and the notification without an id.
    assert_eq!(
        text_of(&seen[0]),
        r#"{"rounds":1,"answers":[{"a":{"withdrawn":true}}]}"#
    );
    assert_eq!(seen[1]["id"], "y");
    assert_eq!(seen[2]["method"], "notifications/cancelled");
    assert_eq!(seen[2]["params"]["requestId"], asked["id"]);
}

#[tokio::test]
async fn a_call_is_answered_while_its_question_is_open() {
    let mut child = greeted(&[], &json!({})).await;
    let arguments = json!({ "do": "interview", "rounds": [{ "a": form("one") }], "answer_open": 0 });
    call(&mut child, "x", &arguments).await;
    let asked = child.some().await;
    let over = child.some().await;
    assert_eq!(text_of(&over), r#"{"rounds":1,"answers":[{"a":{"open":true}}]}"#);
    answer(&mut child, &asked, json!({ "action": "accept" })).await;
    child.noted(&format!("stray {}", asked["id"])).await;
}

#[tokio::test]
async fn a_server_loses_patience_but_not_while_it_hears_of_progress() {
    let mut child = greeted(&[], &json!({})).await;
    let mut question = form("one");
    question["params"]["_meta"] = json!({ "progressToken": "mine" });
    let arguments = json!({ "do": "interview", "rounds": [{ "a": question }], "patience_ms": 3000 });
    let begun = tokio::time::Instant::now();
    call(&mut child, "x", &arguments).await;
    assert_eq!(child.some().await["params"]["_meta"]["progressToken"], "mine");
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let params = json!({ "progressToken": "mine", "progress": 1 });
    child
        .tell(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }))
        .await;
    let over = child.some().await;
    assert_eq!(text_of(&over), r#"{"rounds":1,"answers":[{"a":{"late":true}}]}"#);
    // From the progress on.
    assert!(begun.elapsed().as_millis() >= 3500, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_degrades_for_a_client_that_cannot() {
    let arguments = json!({ "do": "interview", "rounds": [{ "a": form("one") }], "degrade": true });
    let mut child = greeted(&[], &json!({ "sampling": {} })).await;
    call(&mut child, "x", &arguments).await;
    let over = child.some().await;
    assert_eq!(
        text_of(&over),
        r#"{"rounds":1,"answers":[{"a":{"undeclared":true}}]}"#
    );
    let mut child = greeted(&[], &json!({ "elicitation": {} })).await;
    call(&mut child, "x", &arguments).await;
    assert_eq!(child.some().await["method"], "elicitation/create");
}

#[tokio::test]
async fn a_url_is_required_until_it_is_done() {
    let mut child = greeted(&[], &json!({})).await;
    let arguments = json!({ "do": "url_required", "ids": ["e1", "e2"] });
    call(&mut child, "x", &arguments).await;
    let refused = child.some().await;
    assert_eq!(refused["error"]["code"], -32042);
    let wanted = refused["error"]["data"]["elicitations"].as_array().unwrap();
    assert_eq!(
        (wanted.len(), &wanted[0]["elicitationId"], &wanted[0]["mode"]),
        (2, &json!("e1"), &json!("url"))
    );
    for id in ["e1", "e2"] {
        call(&mut child, "y", &json!({ "do": "url_done", "id": id })).await;
        let told = child.some().await;
        assert_eq!(told["method"], "notifications/elicitation/complete");
        assert_eq!(told["params"]["elicitationId"], id);
        assert_eq!(child.some().await["id"], "y");
    }
    call(&mut child, "z", &arguments).await;
    assert!(text_of(&child.some().await).contains("url_required"));
}

#[tokio::test]
async fn a_task_of_2025_asks_in_rounds() {
    let mut child = greeted(&["--tasks", "--tools", "must_a"], &json!({})).await;
    let rounds = json!([{ "a": form("one"), "b": form("two") }, { "c": form("three") }]);
    let params =
        json!({ "name": "must_a", "arguments": { "rounds": rounds, "status": "failed" }, "task": {} });
    child
        .tell(json!({ "jsonrpc": "2.0", "id": "t", "method": "tools/call", "params": params }))
        .await;
    assert_eq!(child.some().await["result"]["task"]["taskId"], "task-1");
    let mut n_asked = 0;
    loop {
        let next = child.some().await;
        if next["method"] == "elicitation/create" {
            let related = &next["params"]["_meta"]["io.modelcontextprotocol/related-task"];
            assert_eq!(related["taskId"], "task-1");
            n_asked += 1;
            answer(&mut child, &next, json!({ "action": "accept" })).await;
        } else if next["params"]["status"] == "failed" {
            break;
        }
    }
    assert_eq!(n_asked, 3);
}
