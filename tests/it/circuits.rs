//! What stands between callers and a server that does not run: seen before it is met.

use serde_json::{Value, json};

use crate::harness::fake::Fake;
use crate::harness::{Daemon, Setup, fake, text_of, until};

/// A server that is well, and fails its next `n` starts once [`fails`] was called.
fn failing(setup: &Setup, n: u64) -> Fake {
    let state = setup.path().join("a.starts");
    std::fs::write(&state, n.to_string()).unwrap();
    fake("a")
        .tools("boom,echo")
        .arg("--fail-first", &n.to_string())
        .arg("--state", &state.display().to_string())
}

async fn fails(daemon: &Daemon) {
    std::fs::write(daemon.path().join("a.starts"), "0").unwrap();
    let client = daemon.http().await;
    let answer = client.call("a__boom", json!({})).await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
}

async fn health(daemon: &Daemon) -> Value {
    let client = daemon.http().await;
    client.send("GET", "/health", &[], b"").await.json().await
}

#[tokio::test]
async fn a_server_that_waits_for_its_next_attempt_refuses_at_once_or_lets_wait_and_says_which() {
    for (queue_wait, calls) in [
        (
            "1s",
            "are refused at once (error 1003), and told when it is tried again",
        ),
        ("5m", "wait for the next process, at most 5m"),
    ] {
        let setup = Setup::new(&[]);
        let server = failing(&setup, 99)
            .key("backoff_initial", "\"100s\"")
            .key("backoff_max", "\"100s\"")
            .key("queue_wait", &format!("\"{queue_wait}\""));
        setup.declare(&[server]);
        let daemon = setup.start().await;
        daemon.ready("a").await;
        assert_eq!(health(&daemon).await["circuits"], json!([]));
        fails(&daemon).await;
        let server = daemon.in_state("a", "backoff").await;
        assert_eq!(server["calls"], calls, "{server}");
        let next = server["next_try_ms"].as_u64().unwrap();
        assert!((1..=100_000).contains(&next), "{server}");
        daemon
            .tells(
                &["status", "a"],
                &["tried again in", &format!("new ones {calls}")],
            )
            .await;
        daemon
            .tells(&["why", "a"], &["next try  in", &format!("calls     {calls}")])
            .await;
        let told = health(&daemon).await;
        let circuit = &told["circuits"][0];
        assert_eq!(
            (
                &circuit["server"],
                &circuit["state"],
                &circuit["half_open"],
                &circuit["calls"]
            ),
            (&json!("a"), &json!("backoff"), &json!(false), &json!(calls)),
            "{told}"
        );
        assert!(circuit["next_try_ms"].as_u64() <= Some(next), "{told}");
        if queue_wait == "1s" {
            let client = daemon.http().await;
            let answer = client.call("a__echo", json!({})).await;
            assert_eq!(answer["error"]["code"], 1003, "{answer}");
            assert!(
                answer["error"]["data"]["retryAfterMs"].as_u64() > Some(0),
                "{answer}"
            );
        }
        daemon.end().await;
    }
}

#[tokio::test]
async fn the_one_attempt_of_a_server_that_has_failed_is_told_as_such_until_it_has_proven_itself() {
    let setup = Setup::new(&[]);
    let gate = setup.path().join("gate");
    std::fs::write(&gate, "").unwrap();
    let server = failing(&setup, 1)
        .arg("--gate", &gate.display().to_string())
        .key("fail_burst", "2")
        .key("failed_retry", "\"5s\"")
        .key("stable_after", "\"4s\"");
    setup.declare(&[server]);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    std::fs::remove_file(&gate).unwrap();
    fails(&daemon).await;
    let server = daemon.in_state("a", "failed").await;
    assert_eq!(
        (&server["on_probation"], &server["n_failures"]),
        (&json!(false), &json!(2)),
        "{server}"
    );
    assert_eq!(
        server["calls"],
        "are refused at once (error 1003), and told when it is tried again"
    );
    let server = daemon.in_state("a", "handshaking").await;
    assert_eq!(server["on_probation"], true, "{server}");
    let told = health(&daemon).await;
    assert_eq!(told["circuits"][0]["half_open"], true, "{told}");
    let words = "this process is the one attempt after too many failures";
    daemon.tells(&["why", "a"], &[words]).await;
    daemon.tells(&["status", "a"], &[words]).await;
    std::fs::write(&gate, "").unwrap();
    let client = daemon.http().await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    until("the end of its probation", async || {
        let server = daemon.server("a").await;
        assert_eq!(server["state"], "ready", "{server}");
        (server["on_probation"] == false).then_some(())
    })
    .await;
    assert!(!daemon.mcpctl(&["why", "a"]).await.stdout.contains(words));
    daemon.end().await;
}

#[tokio::test]
async fn who_does_not_run_and_is_not_missed_says_what_a_call_would_do() {
    let daemon = Daemon::start(&[
        fake("lazy").key("autostart", "\"on-demand\"").not_awaited(),
        fake("gone").not_awaited(),
    ])
    .await;
    daemon.in_state("gone", "ready").await;
    assert_eq!(daemon.mcpctl(&["stop", "gone"]).await.code, 0);
    let calls = async |name: &str| daemon.server(name).await["calls"].clone();
    assert_eq!(calls("gone").await, "are refused at once (error 1003)");
    assert_eq!(
        calls("lazy").await,
        "the first starts it and waits for it, at most 30s"
    );
    assert_eq!(health(&daemon).await["circuits"], json!([]));
    daemon.end().await;
}
