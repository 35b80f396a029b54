//! Children that die: what callers are told, who is not concerned, and how it goes on.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Daemon, call, fake, names_of, request, text_of, until};

/// Callers must hear of a death faster than this.
const BOUND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_call_in_flight_hears_of_the_death_at_once_and_the_next_one_works() {
    let daemon = Daemon::start(&[fake("a").tools("hang,echo")]).await;
    let client = daemon.http().await;
    let pid = daemon.child_pid("a").await;
    let asked = call(1, "a__hang", json!({}));
    let (reply, killed) = tokio::join!(client.post(&asked), async {
        daemon.setup.called("a", "hang").await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        Instant::now()
    });
    let took = killed.elapsed();
    eprintln!("a death was told after {took:?}");
    assert!(took < BOUND, "{took:?}");
    let answer = reply.json().await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    let data = &answer["error"]["data"];
    assert_eq!(data["exit"], "signal 9 (SIGKILL)", "{answer}");
    assert_eq!(data["sent"], true, "{answer}");
    assert_eq!(
        (&data["source"], &data["server"]),
        (&json!("mcp-wrapper"), &json!("a"))
    );
    assert!(
        data["retryAfterMs"].as_u64().is_some_and(|ms| ms <= 200),
        "{answer}"
    );
    let next = client.call("a__echo", json!({ "again": true })).await;
    assert_eq!(text_of(&next), r#"{"again":true}"#);
    assert_ne!(daemon.child_pid("a").await, pid);
    daemon.end().await;
}

#[tokio::test]
async fn every_call_in_flight_is_answered_and_other_children_do_not_notice() {
    let daemon = Daemon::start(&[fake("a").tools("hang,boom"), fake("b").tools("sleep")]).await;
    let client = daemon.http().await;
    let other = daemon.child_pid("b").await;
    let hanging = async {
        let asked = call(1, "a__hang", json!({}));
        let answer = client.post(&asked).await.json().await;
        assert_eq!(answer["error"]["code"], 1001, "{answer}");
    };
    let slow = async {
        let answer = client.call("b__sleep", json!({ "ms": 400 })).await;
        assert_eq!(text_of(&answer), r#"{"ms":400}"#);
    };
    let boom = async {
        daemon.setup.called("a", "hang").await;
        daemon.setup.called("b", "sleep").await;
        let answer = client.call("a__boom", json!({ "code": 7 })).await;
        assert_eq!(answer["error"]["data"]["exit"], "exit code 7", "{answer}");
    };
    tokio::join!(hanging, slow, boom);
    assert_eq!(daemon.child_pid("b").await, other);
    daemon.end().await;
}

#[tokio::test]
async fn a_call_that_may_have_taken_effect_is_never_repeated() {
    let daemon = Daemon::start(&[fake("a").tools("boom_after_effect,echo")]).await;
    let client = daemon.http().await;
    let answer = client
        .call("a__boom_after_effect", json!({ "nonce": "once" }))
        .await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    // Whatever was to be repeated would have been by the time a later call is answered.
    text_of(&client.call("a__echo", json!({})).await);
    assert_eq!(daemon.setup.effects("a"), ["once"]);
    daemon.end().await;
}

#[tokio::test]
async fn a_read_that_a_death_cut_short_is_repeated_once() {
    let flags = fake("a").tools("stop_reading,echo").arg("--resources", "x://1");
    let daemon = Daemon::start(&[flags]).await;
    let client = daemon.http().await;
    text_of(&client.call("a__stop_reading", json!({})).await);
    let pid = daemon.child_pid("a").await;
    let read = request(1, "resources/read", json!({ "uri": "x://1" }));
    let (reply, ()) = tokio::join!(client.post(&read), async {
        until("the read in flight", async || {
            (daemon.server("a").await["n_inflight"] == 1).then_some(())
        })
        .await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    });
    let answer = reply.json().await;
    assert_eq!(
        answer["result"]["contents"][0]["text"], "text of x://1",
        "{answer}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_child_that_dies_again_and_again_is_given_up_until_somebody_restarts_it() {
    let shaky = fake("a").tools("boom,echo").key("fail_burst", "3");
    let daemon = Daemon::start(&[shaky, fake("b")]).await;
    let client = daemon.http().await;
    for _ in 0..3 {
        until("a death", async || {
            let answer = client.call("a__boom", json!({})).await;
            (answer["error"]["code"] == 1001).then_some(())
        })
        .await;
    }
    let server = daemon.in_state("a", "failed").await;
    assert!(
        server["cause"].as_str().unwrap().contains("exit code 1"),
        "{server}"
    );
    let tools = async || names_of(&client.request("tools/list", json!({})).await, "tools", "name");
    until("a list without its tools", async || {
        (tools().await == ["b__echo"]).then_some(())
    })
    .await;
    let answer = client.call("a__echo", json!({})).await;
    assert_eq!(answer["error"]["code"], 1003, "{answer}");
    let health = client.send("GET", "/health", &[], b"").await;
    assert_eq!(health.status, 200, "another server runs");
    assert_eq!(health.json().await["degraded"], json!(["a"]));
    assert_eq!(daemon.mcpctl(&["restart", "a"]).await.code, 0);
    let wanted = ["a__boom", "a__echo", "b__echo"];
    until("its tools again", async || {
        (tools().await == wanted).then_some(())
    })
    .await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn health_is_bad_when_nothing_that_should_run_does() {
    let dead = fake("a")
        .arg("--exit-at-start", "3")
        .key("fail_burst", "2")
        .not_awaited();
    let daemon = Daemon::start(&[dead]).await;
    daemon.in_state("a", "failed").await;
    let client = daemon.http().await;
    let health = client.send("GET", "/health", &[], b"").await;
    assert_eq!(health.status, 503);
    let health = health.json().await;
    assert_eq!(
        (&health["status"], &health["degraded"]),
        (&json!("unhealthy"), &json!(["a"]))
    );
    assert_eq!(client.send("GET", "/health/live", &[], b"").await.status, 200);
    daemon.end().await;
}

#[tokio::test]
async fn a_child_that_starts_at_the_third_attempt_is_there_for_a_call_that_waits() {
    let project = crate::harness::Setup::new(&[]);
    let state = project.path().join("state").display().to_string();
    // An end at the first question is no failure: here each is one.
    let late = fake("a")
        .arg("--fail-first", "2")
        .arg("--state", &state)
        .key("era", "\"legacy\"");
    project.declare(&[late]);
    let daemon = project.start().await;
    daemon.ready("a").await;
    let client = daemon.http().await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    assert_eq!(daemon.server("a").await["n_failures"], 2);
    daemon.end().await;
}

#[tokio::test]
async fn half_a_line_at_the_end_is_no_answer() {
    let daemon = Daemon::start(&[fake("a").tools("half_line,echo")]).await;
    let client = daemon.http().await;
    let answer = client.call("a__half_line", json!({})).await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    daemon.end().await;
}

#[tokio::test]
async fn a_child_that_closes_its_stdout_is_replaced() {
    let daemon = Daemon::start(&[fake("a").tools("close_stdout,echo")]).await;
    let client = daemon.http().await;
    let pid = daemon.child_pid("a").await;
    let answer = client.call("a__close_stdout", json!({})).await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    until("another process", async || {
        let server = daemon.server("a").await;
        (server["state"] == "ready" && server["pid"] != json!(pid)).then_some(())
    })
    .await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn a_tool_that_cannot_be_started_says_why() {
    let daemon = Daemon::start(&[fake("b")]).await;
    let table = "[servers.a]\ncommand = \"no-such-program\"\n";
    let file = std::fs::read_to_string(daemon.path().join("servers.toml")).unwrap();
    std::fs::write(daemon.path().join("servers.toml"), format!("{file}{table}")).unwrap();
    let server: Value = daemon.in_state("a", "failed").await;
    assert!(
        server["cause"]
            .as_str()
            .unwrap()
            .contains("`no-such-program`: command not found"),
        "{server}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn more_calls_than_a_child_takes_wait_and_more_than_may_wait_are_refused() {
    let narrow = fake("a")
        .tools("sleep")
        .key("inflight_max", "1")
        .key("queue_max", "1");
    let daemon = Daemon::start(&[narrow]).await;
    let client = daemon.http().await;
    let ask = async || client.call("a__sleep", json!({ "ms": 300 })).await;
    let answers: [Value; 4] = tokio::join!(ask(), ask(), ask(), ask()).into();
    let refused = answers
        .iter()
        .filter(|answer| answer["error"]["code"] == 1004)
        .count();
    let done = answers
        .iter()
        .filter(|answer| answer["result"].is_object())
        .count();
    assert_eq!((done, refused), (2, 2), "{answers:?}");
    daemon.end().await;
}
