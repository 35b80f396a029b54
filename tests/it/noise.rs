//! Children that do not keep to the protocol: what they say besides is borne, what they break is told.

use serde_json::{Value, json};

use crate::harness::{Daemon, fake, text_of, until};

#[tokio::test]
async fn junk_on_stdout_is_counted_and_passed_over() {
    let daemon = Daemon::start(&[fake("a").tools("junk,echo").arg("--noise", "5")]).await;
    let client = daemon.http().await;
    let answer = client.call("a__junk", json!({ "lines": 50 })).await;
    assert_eq!(text_of(&answer), r#"{"lines":50}"#);
    let counted = daemon.server("a").await["n_noise_lines"].as_u64().unwrap();
    assert!(counted >= 56, "{counted}");
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}

#[tokio::test]
async fn a_flood_on_stderr_stops_no_call_and_fills_no_disk() {
    let daemon = Daemon::start(&[fake("a").tools("stderr,echo")]).await;
    let client = daemon.http().await;
    let text = "x".repeat(1000);
    let answer = client
        .call("a__stderr", json!({ "lines": 30_000, "text": text }))
        .await;
    text_of(&answer);
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    let folder = daemon.path().join("logs/children");
    let n_bytes: u64 = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(n_bytes > 1000, "the log is kept");
    assert!(n_bytes < 25_000_000, "{n_bytes} bytes of 30 MB are kept");
    daemon
        .mcpctl(&["logs", "a", "-n", "2"])
        .await
        .said(0, &[&"x".repeat(100)]);
    daemon.end().await;
}

#[tokio::test]
async fn an_answer_that_is_no_text_is_the_servers_fault_and_told_at_once() {
    let daemon = Daemon::start(&[fake("a").tools("invalid_utf8,echo")]).await;
    let client = daemon.http().await;
    let answer = client.call("a__invalid_utf8", json!({})).await;
    assert_eq!(answer["error"]["code"], 1007, "{answer}");
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    assert_eq!(daemon.server("a").await["generation"], 1, "the child lives");
    daemon.end().await;
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_told_and_the_child_lives() {
    let small = fake("a").tools("huge,echo").key("message_bytes_max", "100000");
    let daemon = Daemon::start(&[small]).await;
    let client = daemon.http().await;
    let answer = client.call("a__huge", json!({ "bytes": 300_000 })).await;
    assert_eq!(answer["error"]["code"], 1006, "{answer}");
    let answer = client.call("a__huge", json!({ "bytes": 90_000 })).await;
    assert_eq!(text_of(&answer).len(), 90_000);
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}

#[tokio::test]
async fn a_line_without_an_end_costs_the_process() {
    let endless = fake("a")
        .tools("huge,echo")
        .key("message_bytes_max", "10000")
        .key("discard_bytes_max", "100000");
    let daemon = Daemon::start(&[endless]).await;
    let client = daemon.http().await;
    let answer = client.call("a__huge", json!({ "bytes": 3_000_000 })).await;
    let code = answer["error"]["code"].as_i64().unwrap();
    assert!(code == 1001 || code == 1006, "{answer}");
    until("a fresh process", async || {
        let server = daemon.server("a").await;
        (server["generation"] == 2 && server["state"] == "ready").then_some(())
    })
    .await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn an_answer_that_comes_twice_or_to_nobody_goes_to_nobody() {
    let daemon = Daemon::start(&[fake("a")
        .tools("twice,wrong_id,echo")
        .key("call_timeout", "\"500ms\"")])
    .await;
    let client = daemon.http().await;
    assert_eq!(
        text_of(&client.call("a__twice", json!({ "n": 1 })).await),
        r#"{"n":1}"#
    );
    assert_eq!(
        text_of(&client.call("a__echo", json!({ "n": 2 })).await),
        r#"{"n":2}"#
    );
    let answer = client.call("a__wrong_id", json!({})).await;
    assert_eq!(answer["error"]["code"], 1002, "{answer}");
    assert_eq!(
        text_of(&client.call("a__echo", json!({ "n": 3 })).await),
        r#"{"n":3}"#
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_childs_ping_is_answered_and_what_was_not_offered_is_refused() {
    let daemon = Daemon::start(&[fake("a").tools("ask")]).await;
    let client = daemon.http().await;
    let asked = async |method: &str| -> Value {
        let answer = client
            .call("a__ask", json!({ "method": method, "params": {} }))
            .await;
        serde_json::from_str(text_of(&answer)).unwrap()
    };
    assert_eq!(asked("ping").await["result"], json!({}));
    for method in [
        "sampling/createMessage",
        "roots/list",
        "elicitation/create",
        "x/y",
    ] {
        let heard = asked(method).await;
        assert_eq!(heard["error"]["code"], -32601, "{method}: {heard}");
    }
    daemon.end().await;
}
