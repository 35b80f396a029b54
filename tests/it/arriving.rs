//! Servers that have been started and have yet to say what they offer: who names something of theirs waits for that.

use serde_json::{Value, json};

use crate::harness::fake::Fake;
use crate::harness::{Daemon, LineClient, call, fake, text_of, until};

fn slow(name: &str) -> Fake {
    fake(name)
        .tools("echo")
        .arg("--prompts", "p")
        .arg("--start-delay", "4000")
        .not_awaited()
}

#[tokio::test]
async fn what_a_server_has_yet_to_list_can_be_asked_for() {
    let daemon = Daemon::start(&[
        slow("a").arg("--resources", "x://1"),
        slow("short").key("prefix", "\"\""),
    ])
    .await;
    let (client, other) = (daemon.http().await, daemon.http().await);
    let told = tokio::join!(
        client.call("a__echo", json!({ "n": 1 })),
        other.call("echo", json!({ "n": 2 })),
        client.request("prompts/get", json!({ "name": "a__p" })),
        client.request("resources/read", json!({ "uri": "x://1" })),
        other.request("resources/subscribe", json!({ "uri": "x://1" })),
        async {
            // None of them was answered before its server had said what it has.
            let server = daemon.server("a").await;
            assert_ne!(server["state"], "ready", "too late for this test");
        },
    );
    assert_eq!(text_of(&told.0), r#"{"n":1}"#);
    assert_eq!(text_of(&told.1), r#"{"n":2}"#);
    for answer in [&told.2, &told.3, &told.4] {
        assert!(answer["result"].is_object(), "{answer}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn what_cannot_be_a_waiting_servers_or_will_not_come_is_refused_without_waiting() {
    let daemon = Daemon::start(&[
        fake("a"),
        fake("hangs")
            .flag("--hang-handshake")
            .key("queue_wait", "\"10m\"")
            .not_awaited(),
        fake("b")
            .arg("--exit-at-start", "3")
            .key("fail_burst", "1")
            .not_awaited(),
    ])
    .await;
    daemon.in_state("b", "failed").await;
    let client = daemon.http().await;
    for name in ["a__nothing", "b__echo", "c__echo"] {
        let answer = client.call(name, json!({})).await;
        assert!(answer["error"].is_object(), "{answer}");
    }
    // One that waits is told when there is nothing to wait for any more.
    let waits = async { client.call("hangs__echo", json!({})).await };
    let (answer, ()) = tokio::join!(waits, async {
        assert_eq!(daemon.mcpctl(&["disable", "hangs"]).await.code, 0);
    });
    let answer: Value = answer;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    daemon.end().await;
}

#[tokio::test]
async fn who_waits_for_lists_can_be_cancelled() {
    let daemon = Daemon::start(&[
        fake("a"),
        fake("hangs")
            .flag("--hang-handshake")
            .key("queue_wait", "\"10m\"")
            .not_awaited(),
    ])
    .await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    client.send(&call(1, "hangs__echo", json!({}))).await;
    let n_waiting = async || {
        let connected = daemon.mcpctl_json(&["sessions"]).await;
        connected["sessions"][0]["n_inflight"].clone()
    };
    until("the call waits", async || (n_waiting().await == 1).then_some(())).await;
    let cancels =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    client.send(&cancels.to_string()).await;
    let answer = client.ask_json(&call(2, "a__echo", json!({}))).await;
    assert_eq!(answer["id"], 2, "no answer to what was cancelled: {answer}");
    until("the cancelled call is gone", async || {
        (n_waiting().await == 0).then_some(())
    })
    .await;
    daemon.end().await;
}
