//! What goes on beside the calls: subscriptions and tasks.

use serde_json::{Value, json};

use super::alone::Alone;
use super::{SUBSCRIPTION, TASKS, all, form, meta};

#[tokio::test]
async fn those_who_listen_hear_what_they_asked_for() {
    let mut child = Alone::modern(&["--resources", "x://a"]);
    let wanted =
        json!({ "toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": ["x://a"] });
    let first = child
        .send(
            "subscriptions/listen",
            json!({ "notifications": wanted }),
            meta(&json!({})),
        )
        .await;
    let acknowledged = child.some().await;
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    let honoured = json!({ "toolsListChanged": true, "resourceSubscriptions": ["x://a"] });
    assert_eq!(acknowledged["params"]["notifications"], honoured);
    assert_eq!(acknowledged["params"]["_meta"][SUBSCRIPTION], first);
    let only_tools = json!({ "notifications": { "toolsListChanged": true } });
    let second = child
        .send("subscriptions/listen", only_tools, meta(&json!({})))
        .await;
    assert_eq!(child.some().await["params"]["_meta"][SUBSCRIPTION], second);
    // Hears nothing of what follows.
    let only_lists = json!({ "notifications": { "resourcesListChanged": true } });
    child
        .send("subscriptions/listen", only_lists, meta(&json!({})))
        .await;
    assert_eq!(
        child.some().await["params"]["notifications"],
        json!({ "resourcesListChanged": true })
    );

    let updates = json!({ "name": "echo", "arguments": { "do": "updated", "uri": "x://a" } });
    let id = child.send("tools/call", updates, meta(&json!({}))).await;
    let told = child.some().await;
    assert_eq!(
        told["params"],
        json!({ "_meta": { SUBSCRIPTION: first }, "uri": "x://a" })
    );
    assert_eq!(child.some().await["id"], id);

    let grows = json!({ "name": "echo", "arguments": { "do": "grow", "name": "more" } });
    let id = child.send("tools/call", grows.clone(), meta(&json!({}))).await;
    for listener in [first, second] {
        let told = child.some().await;
        assert_eq!(told["method"], "notifications/tools/list_changed");
        assert_eq!(told["params"]["_meta"][SUBSCRIPTION], listener);
    }
    assert_eq!(child.some().await["id"], id);
    child
        .tell(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": first } }))
        .await;
    child.noted(&format!("listen cancelled {first}")).await;
    child.send("tools/call", grows, meta(&json!({}))).await;
    assert_eq!(child.some().await["params"]["_meta"][SUBSCRIPTION], second);
    child.some().await;

    let ends = json!({ "name": "echo", "arguments": { "do": "end_listens", "how": "both" } });
    child.send("tools/call", ends, meta(&json!({}))).await;
    let result = child.some().await;
    assert_eq!(
        (&result["id"], &result["result"]["_meta"][SUBSCRIPTION]),
        (&json!(second), &json!(second))
    );
    let cancelled = child.some().await;
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], second);
}

#[tokio::test]
async fn a_task_asks_is_answered_and_ends() {
    let mut child = Alone::modern(&["--tasks", "--tools", "must_a,may_b"]);
    let told = child.ask("server/discover", json!({}), &json!({})).await;
    assert_eq!(told["result"]["capabilities"]["extensions"], json!({ TASKS: {} }));
    let plain = child
        .ask("tools/call", json!({ "name": "may_b" }), &json!({}))
        .await;
    assert_eq!(plain["result"]["resultType"], "complete");
    let refused = child
        .ask("tools/call", json!({ "name": "must_a" }), &json!({}))
        .await;
    assert_eq!(refused["error"]["code"], -32021);
    let required = json!({ "extensions": { TASKS: {} } });
    assert_eq!(refused["error"]["data"]["requiredCapabilities"], required);

    let arguments = json!({ "rounds": [{ "n": form("name") }, { "n": form("again") }], "pollIntervalMs": 7 });
    let made = child
        .ask(
            "tools/call",
            json!({ "name": "must_a", "arguments": arguments }),
            &all(),
        )
        .await;
    let task = &made["result"];
    assert_eq!(
        (&task["resultType"], &task["status"]),
        (&json!("task"), &json!("working"))
    );
    assert_eq!(
        (&task["pollIntervalMs"], &task["ttlMs"]),
        (&json!(7), &Value::Null)
    );
    let own = json!({ "taskId": task["taskId"] });
    for (key, said) in [("i1-n", "name"), ("i2-n", "again")] {
        let asking = polled(&mut child, &own, "input_required").await;
        assert_eq!(asking["inputRequests"], json!({ key: form(said) }));
        let mut update = own.clone();
        update["inputResponses"] = json!({ key: { "action": "accept" }, "other": {} });
        let acknowledged = child.ask("tasks/update", update, &all()).await;
        assert_eq!(acknowledged["result"]["resultType"], "complete");
        child
            .noted(&format!(r#"heard {key}={{"action":"accept"}}"#))
            .await;
    }
    let over = polled(&mut child, &own, "completed").await;
    assert!(
        over["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("rounds")
    );

    let listening = json!({ "notifications": { "taskIds": ["task-2"] } });
    let refused = child
        .ask("subscriptions/listen", listening.clone(), &json!({}))
        .await;
    assert_eq!(refused["error"]["code"], -32021);
    let id = child.send("subscriptions/listen", listening, meta(&all())).await;
    assert_eq!(
        child.some().await["params"]["notifications"]["taskIds"],
        json!(["task-2"])
    );
    let held = json!({ "name": "may_b", "arguments": { "hold": 1 } });
    let made = child.ask("tools/call", held, &all()).await;
    assert_eq!(made["result"]["taskId"], "task-2");
    let own = json!({ "taskId": "task-2" });
    child.send("tasks/cancel", own.clone(), meta(&all())).await;
    let told = child.some().await;
    assert_eq!(
        (&told["method"], &told["params"]["status"]),
        (&json!("notifications/tasks"), &json!("cancelled"))
    );
    assert_eq!(told["params"]["_meta"][SUBSCRIPTION], id);
    assert_eq!(child.some().await["result"]["resultType"], "complete");
    let unknown = child
        .ask("tasks/get", json!({ "taskId": "task-9" }), &all())
        .await;
    assert_eq!(unknown["error"]["code"], -32602);
    let undeclared = child.ask("tasks/get", own, &json!({})).await;
    assert_eq!(undeclared["error"]["code"], -32021);
}

/// Polls until the task stands so.
async fn polled(child: &mut Alone, own: &Value, status: &str) -> Value {
    loop {
        let told = child.ask("tasks/get", own.clone(), &all()).await;
        if told["result"]["status"] == status {
            return told["result"].clone();
        }
        assert_ne!(told["result"]["status"], "failed", "{told}");
    }
}
