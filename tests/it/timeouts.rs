//! Patience: for a call, for one that shows progress, and its hard limit.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::fake::Fake;
use crate::harness::{Daemon, fake, request, text_of, until};

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

/// A child that is pinged ten times a second.
fn watched(tools: &str) -> Fake {
    fake("a")
        .tools(tools)
        .key("probe_interval", "\"100ms\"")
        .key("probe_timeout", "\"100ms\"")
        .key("probe_threshold", "2")
}

fn n_pings(daemon: &Daemon) -> usize {
    let journal = daemon.setup.journal("a");
    journal
        .iter()
        .filter(|line| line.contains(r#""method":"ping""#))
        .count()
}

/// Waits until it was pinged so often.
async fn pinged(daemon: &Daemon, n: usize) {
    until("a few pings", async || (n_pings(daemon) >= n).then_some(())).await;
}

async fn replaced(daemon: &Daemon) {
    until("a younger process", async || {
        (daemon.server("a").await["generation"].as_u64()? > 1).then_some(())
    })
    .await;
    for verb in ["events", "why"] {
        let words = ["does not answer", "answers neither calls nor pings"];
        daemon.tells(&[verb, "a"], &words).await;
    }
}

#[tokio::test]
async fn a_child_that_has_answered_pings_and_then_falls_silent_is_replaced() {
    let daemon = Daemon::start(&[watched("stop_reading")]).await;
    pinged(&daemon, 2).await;
    let client = daemon.http().await;
    client.call("a__stop_reading", json!({})).await;
    replaced(&daemon).await;
    daemon.end().await;
}

#[tokio::test]
async fn a_child_that_never_answers_pings_is_not_judged_by_them() {
    let daemon = Daemon::start(&[watched("echo").flag("--silent-ping")]).await;
    pinged(&daemon, 8).await;
    assert_eq!(daemon.server("a").await["generation"], 1);
    assert_eq!(daemon.server("a").await["state"], "ready");
    daemon
        .tells(&["events", "a"], &["answers no pings: it is not judged by them"])
        .await;
    daemon.end().await;
}

#[tokio::test]
async fn a_child_that_somebody_has_stopped_is_replaced_whatever_it_makes_of_pings() {
    for flag in ["--silent-ping", "--no-ping"] {
        let daemon = Daemon::start(&[watched("echo").flag(flag)]).await;
        pinged(&daemon, 1).await;
        kill(Pid::from_raw(daemon.child_pid("a").await), Signal::SIGSTOP).unwrap();
        replaced(&daemon).await;
        daemon.end().await;
    }
}

#[tokio::test]
async fn a_child_that_is_hard_at_work_is_not_replaced_though_it_answers_nobody() {
    let daemon = Daemon::start(&[watched("burn,echo")]).await;
    pinged(&daemon, 2).await;
    let client = daemon.http().await;
    client.call("a__burn", json!({ "n": 2500 })).await;
    // Behind two and a half seconds of silence, with nothing in flight for most of them.
    let before = n_pings(&daemon);
    pinged(&daemon, before + 2).await;
    let server = daemon.ready("a").await;
    assert_eq!(server["generation"], 1, "{server}");
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn a_child_that_knows_no_ping_is_alive_all_the_same_and_is_not_asked_again() {
    let old = fake("a")
        .tools("echo")
        .flag("--no-ping")
        .key("probe_interval", "\"50ms\"")
        .key("probe_timeout", "\"2s\"")
        .key("probe_threshold", "1");
    let daemon = Daemon::start(&[old]).await;
    pinged(&daemon, 1).await;
    until("a time for many pings", async || {
        (daemon.server("a").await["state_ms"].as_u64()? > 1_000).then_some(())
    })
    .await;
    assert_eq!(n_pings(&daemon), 1);
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}
