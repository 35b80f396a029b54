//! Patience: for a call, for one that shows progress, and its hard limit.

use serde_json::{Value, json};

use crate::harness::{Daemon, fake, request, text_of};

#[tokio::test]
async fn a_call_that_takes_too_long_is_given_up_and_cancelled_in_the_child() {
    let slow = fake("a").tools("hang,echo").key("call_timeout", "\"300ms\"");
    let daemon = Daemon::start(&[slow]).await;
    let client = daemon.http().await;
    let answer = client.call("a__hang", json!({})).await;
    assert_eq!(answer["error"]["code"], 1002, "{answer}");
    assert_eq!(answer["error"]["data"]["reason"], "call_timeout", "{answer}");
    daemon.setup.noted("a", "cancelled ").await;
    assert_eq!(
        text_of(&client.call("a__echo", json!({})).await),
        "{}",
        "the child lives"
    );
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}

fn progressing(n: u64, ms: u64) -> String {
    let arguments = json!({ "n": n, "ms": ms });
    request(
        1,
        "tools/call",
        json!({ "name": "a__progress", "arguments": arguments, "_meta": { "progressToken": 1 } }),
    )
}

#[tokio::test]
async fn progress_keeps_a_call_alive_beyond_its_timeout() {
    let slow = fake("a").tools("progress").key("call_timeout", "\"600ms\"");
    let daemon = Daemon::start(&[slow]).await;
    let client = daemon.http().await;
    let answer: Value = serde_json::from_str(&client.ask(&progressing(10, 120)).await).unwrap();
    assert_eq!(text_of(&answer), r#"{"ms":120,"n":10}"#);
    daemon.end().await;
}

#[tokio::test]
async fn no_progress_keeps_a_call_alive_beyond_the_hard_limit() {
    let slow = fake("a")
        .tools("progress")
        .key("call_timeout", "\"400ms\"")
        .key("call_max", "\"700ms\"");
    let daemon = Daemon::start(&[slow]).await;
    let client = daemon.http().await;
    let answer: Value = serde_json::from_str(&client.ask(&progressing(10_000, 50)).await).unwrap();
    assert_eq!(answer["error"]["code"], 1002, "{answer}");
    daemon.setup.noted("a", "cancelled ").await;
    daemon.end().await;
}

#[tokio::test]
async fn a_child_that_answers_no_ping_is_replaced() {
    let deaf = fake("a")
        .tools("echo")
        .flag("--silent-ping")
        .key("probe_interval", "\"100ms\"")
        .key("probe_timeout", "\"100ms\"")
        .key("probe_threshold", "2");
    let daemon = Daemon::start(&[deaf]).await;
    let first = daemon.server("a").await["generation"].as_u64().unwrap();
    crate::harness::until("a younger process", async || {
        (daemon.server("a").await["generation"].as_u64()? > first).then_some(())
    })
    .await;
    let told = daemon.mcpctl(&["events", "a"]).await;
    told.said(0, &["answers neither calls nor pings"]);
    daemon.end().await;
}

#[tokio::test]
async fn a_child_that_knows_no_ping_is_alive_all_the_same() {
    let old = fake("a")
        .tools("echo")
        .flag("--no-ping")
        .key("probe_interval", "\"50ms\"")
        .key("probe_timeout", "\"2s\"")
        .key("probe_threshold", "1");
    let daemon = Daemon::start(&[old]).await;
    // Several probes later it is still the same process.
    crate::harness::until("a few pings", async || {
        let pings = daemon
            .setup
            .journal("a")
            .iter()
            .filter(|line| line.contains(r#""method":"ping""#))
            .count();
        (pings >= 4).then_some(())
    })
    .await;
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}
