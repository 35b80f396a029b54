//! Processes that clients do not share: whose they are, what they see, and when they end.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::fake::Fake;
use crate::harness::{Daemon, HttpClient, able, call, fake, request, text_of, until};

const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;

fn owned(sharing: &str) -> Fake {
    fake("a")
        .tools("pid,ask,updated,echo,sleep,raw")
        .key("sharing", &format!("\"{sharing}\""))
}

async fn named(daemon: &Daemon, name: &str) -> HttpClient {
    let capabilities = json!({ "roots": { "listChanged": true }, "sampling": {} });
    daemon.introduced(able("2025-11-25", &capabilities, name)).await
}

async fn pid(client: &HttpClient) -> i32 {
    text_of(&client.call("a__pid", json!({})).await).parse().unwrap()
}

fn is_alive(daemon: &Daemon, pid: i32) -> bool {
    daemon.setup.processes().contains(&pid)
}

async fn gone(daemon: &Daemon, pid: i32) {
    until(format!("the end of process {pid}"), async || {
        (!is_alive(daemon, pid)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_session_has_a_process_of_its_own_that_ends_with_it() {
    let daemon = Daemon::start(&[owned("per-session")]).await;
    let shared = daemon.child_pid("a").await;
    let (one, two) = (named(&daemon, "it").await, named(&daemon, "it").await);
    let (first, second) = (pid(&one).await, pid(&two).await);
    assert!(first != second && first != shared && second != shared);
    assert_eq!((pid(&one).await, pid(&two).await), (first, second));
    assert_eq!(one.mcp("DELETE", &[], "").await.status, 204);
    gone(&daemon, first).await;
    assert_eq!(pid(&two).await, second, "the other lives on");
    assert_eq!(two.mcp("DELETE", &[], "").await.status, 204);
    gone(&daemon, second).await;
    assert_eq!(daemon.setup.processes(), [shared]);
    daemon.end().await;
}

#[tokio::test]
async fn a_process_of_ones_own_sees_its_client_and_may_ask_it_outside_of_any_call() {
    let daemon = Daemon::start(&[owned("per-session")]).await;
    let one = named(&daemon, "client \"one\"").await;
    let two = named(&daemon, "two").await;
    pid(&one).await;
    let seen = daemon.setup.noted("a", r#""name":"client \"one\"""#).await;
    let seen: Value = serde_json::from_str(seen.strip_prefix("in ").unwrap()).unwrap();
    assert_eq!(
        seen["params"]["capabilities"],
        json!({ "roots": { "listChanged": true }, "sampling": {} })
    );
    let (mut stream, mut other) = (one.stream().await, two.stream().await);
    let asks = json!({ "method": "roots/list", "at_once": "yes", "ms": 50 });
    assert_eq!(text_of(&one.call("a__ask", asks.clone()).await), "asks later");
    let question = stream.next_json().await;
    assert_eq!(question["method"], "roots/list", "{question}");
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "roots": [] } });
    assert_eq!(one.post(&answer.to_string()).await.status, 202);
    daemon
        .setup
        .noted("a", r#"in {"jsonrpc":"2.0","id":"ask-1","result":{"roots":[]}}"#)
        .await;
    // What the other's stream brings first is a question of its own.
    assert_eq!(text_of(&two.call("a__ask", asks).await), "asks later");
    assert_eq!(other.next_json().await["id"], 1);
    daemon.end().await;
}

#[tokio::test]
async fn with_calls_of_two_clients_in_flight_each_is_asked_by_its_own_process() {
    let daemon = Daemon::start(&[owned("per-session")]).await;
    let (one, two) = (named(&daemon, "it").await, named(&daemon, "it").await);
    let asking = |who: &str| {
        let params = json!({ "messages": [], "who": who });
        call(
            1,
            "a__ask",
            json!({ "method": "sampling/createMessage", "params": params }),
        )
    };
    let mut first = one.post(&asking("one")).await;
    let mut second = two.post(&asking("two")).await;
    for (client, reply, who) in [(&two, &mut second, "two"), (&one, &mut first, "one")] {
        let question = reply.next_json().await;
        assert_eq!(question["params"]["who"], who, "{question}");
        let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "who": who } });
        client.post(&answer.to_string()).await;
        let told = reply.next_json().await;
        assert!(
            text_of(&told).ends_with(&format!(r#""result":{{"who":"{who}"}}}}"#)),
            "{told}"
        );
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_change_of_folders_is_told_to_the_clients_own_process_only() {
    let daemon = Daemon::start(&[owned("per-session"), fake("b").tools("echo")]).await;
    let (one, two) = (named(&daemon, "it").await, named(&daemon, "it").await);
    pid(&one).await;
    pid(&two).await;
    assert_eq!(one.post(CHANGED).await.status, 202);
    daemon.setup.noted("a", "notifications/roots/list_changed").await;
    // Whatever else was told has been told before these answers.
    for client in [&one, &two] {
        pid(client).await;
        client.call("b__echo", json!({})).await;
    }
    let n_told = |server: &str| {
        let journal = daemon.setup.journal(server);
        journal
            .iter()
            .filter(|line| line.contains("notifications/roots/list_changed"))
            .count()
    };
    assert_eq!((n_told("a"), n_told("b")), (1, 0));
    daemon.end().await;
}

#[tokio::test]
async fn there_are_only_as_many_processes_as_allowed() {
    let daemon = Daemon::start(&[owned("per-session").key("instances_max", "1")]).await;
    let (one, two) = (named(&daemon, "it").await, named(&daemon, "it").await);
    let first = pid(&one).await;
    let answer = two.call("a__pid", json!({})).await;
    assert_eq!(answer["error"]["code"], 1004, "{answer}");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("instances_max")
    );
    assert_eq!(pid(&one).await, first);
    assert_eq!(one.mcp("DELETE", &[], "").await.status, 204);
    let second = pid(&two).await;
    assert_ne!(second, first, "the place is free again");
    daemon.end().await;
}

#[tokio::test]
async fn a_process_that_nobody_uses_ends_and_comes_again() {
    let daemon = Daemon::start(&[owned("per-session").key("instance_idle", "\"300ms\"")]).await;
    let client = named(&daemon, "it").await;
    let first = pid(&client).await;
    // A call that takes longer is use.
    let slow = client.call("a__sleep", json!({ "ms": 6000 })).await;
    assert_eq!(text_of(&slow), r#"{"ms":6000}"#);
    gone(&daemon, first).await;
    assert_ne!(pid(&client).await, first);
    daemon.end().await;
}

#[tokio::test]
async fn news_of_a_resource_reach_only_the_owner_of_the_process() {
    let daemon = Daemon::start(&[owned("per-session").arg("--resources", "file:///x,file:///y")]).await;
    let (one, two) = (named(&daemon, "it").await, named(&daemon, "it").await);
    for client in [&one, &two] {
        let answer = client
            .request("resources/subscribe", json!({ "uri": "file:///x" }))
            .await;
        assert_eq!(answer["result"], json!({}), "{answer}");
    }
    let answer = two
        .request("resources/subscribe", json!({ "uri": "file:///y" }))
        .await;
    assert_eq!(answer["result"], json!({}), "{answer}");
    let (mut first, mut second) = (one.stream().await, two.stream().await);
    one.call("a__updated", json!({ "uri": "file:///x" })).await;
    assert_eq!(first.next_json().await["params"]["uri"], "file:///x");
    two.call("a__updated", json!({ "uri": "file:///y" })).await;
    assert_eq!(second.next_json().await["params"]["uri"], "file:///y");
    daemon.end().await;
}

#[tokio::test]
async fn sessions_of_one_client_program_may_share_a_process() {
    let daemon = Daemon::start(&[owned("per-client")]).await;
    let (one, two) = (named(&daemon, "editor").await, named(&daemon, "editor").await);
    let three = named(&daemon, "shell").await;
    let first = pid(&one).await;
    assert_eq!(pid(&two).await, first);
    let other = pid(&three).await;
    assert_ne!(other, first);
    // The process is the program's: it outlives one of its sessions.
    assert_eq!(one.mcp("DELETE", &[], "").await.status, 204);
    assert_eq!(pid(&two).await, first);
    assert_eq!(pid(&three).await, other);
    daemon.end().await;
}

#[tokio::test]
async fn with_calls_of_two_sessions_of_one_program_in_flight_nobody_is_asked() {
    let daemon = Daemon::start(&[owned("per-client")]).await;
    let (one, two) = (named(&daemon, "editor").await, named(&daemon, "editor").await);
    // One session's call asks, later; meanwhile the other session's is the newest in flight.
    let late = json!({ "method": "sampling/createMessage", "params": { "messages": [] }, "ms": 600 });
    let asked = call(1, "a__ask", late);
    let (asking, slept) = tokio::join!(one.post(&asked), async {
        daemon.setup.called("a", "ask").await;
        two.post(&call(1, "a__sleep", json!({ "ms": 1500 }))).await
    });
    assert!(!slept.is_stream(), "this one was sent the other's question");
    let answer = asking.json().await;
    let heard: Value = serde_json::from_str(text_of(&answer)).unwrap();
    assert_eq!(heard["error"]["code"], -1, "{heard}");
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_changes_or_goes_takes_all_its_processes_with_it() {
    let daemon = Daemon::start(&[owned("per-session")]).await;
    let (one, two) = (named(&daemon, "it").await, named(&daemon, "it").await);
    let shared = daemon.child_pid("a").await;
    let before = [pid(&one).await, pid(&two).await];
    daemon
        .setup
        .declare(&[owned("per-session").arg("--name", "other")]);
    for pid in before {
        gone(&daemon, pid).await;
    }
    until("another process for all", async || {
        let server = daemon.server("a").await;
        (server["state"] == "ready" && server["pid"] != json!(shared)).then_some(())
    })
    .await;
    let after = [pid(&one).await, pid(&two).await];
    assert!(after.iter().all(|pid| !before.contains(pid)));
    daemon.setup.declare(&[]);
    until("no process", async || {
        daemon.setup.processes().is_empty().then_some(())
    })
    .await;
    let answer: Value = serde_json::from_str(
        &one.ask(&request(1, "tools/call", json!({ "name": "a__pid" })))
            .await,
    )
    .unwrap();
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    daemon.end().await;
}

#[tokio::test]
async fn a_level_reaches_processes_that_run_already() {
    let daemon = Daemon::start(&[owned("per-session")]).await;
    let one = named(&daemon, "it").await;
    pid(&one).await;
    let answer = one
        .request("logging/setLevel", json!({ "level": "critical" }))
        .await;
    assert_eq!(answer["result"], json!({}), "{answer}");
    // At once: the client's next request may count on it.
    let journal = daemon.setup.journal("a");
    let n = journal
        .iter()
        .filter(|line| line.starts_with("in ") && line.contains(r#""level":"critical""#))
        .count();
    assert_eq!(n, 2, "{journal:?}");
    daemon.end().await;
}

#[tokio::test]
async fn a_level_does_not_wait_long_for_a_server_that_says_nothing() {
    const LONG: Duration = Duration::from_secs(5);
    let daemon = Daemon::start(&[fake("a"), fake("mute").flag("--silent-level")]).await;
    let one = named(&daemon, "it").await;
    let since = Instant::now();
    let answer = one
        .request("logging/setLevel", json!({ "level": "critical" }))
        .await;
    assert_eq!(answer["result"], json!({}), "{answer}");
    assert!(since.elapsed() < LONG, "{:?}", since.elapsed());
    let journal = daemon.setup.journal("mute");
    assert!(
        journal.iter().any(|line| line.contains("logging/setLevel")),
        "{journal:?}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn the_process_that_tells_the_lists_may_ask_for_folders_and_there_are_none() {
    let asks = |name: &str| fake(name).arg("--ask-at-start", "roots/list");
    let unshared = asks("a").key("sharing", "\"per-session\"");
    let daemon = Daemon::start(&[unshared, asks("b")]).await;
    let answered = async |name: &str| {
        until("an answer", async || {
            let journal = daemon.setup.journal(name);
            journal
                .into_iter()
                .find(|line| line.contains(r#""id":"ask-1""#) && line.starts_with("in "))
        })
        .await
    };
    let none = answered("a").await;
    assert!(none.contains(r#""result":{"roots":[]}"#), "{none}");
    assert!(
        daemon
            .setup
            .journal("a")
            .iter()
            .any(|line| line.contains(r#""roots":{}"#))
    );
    // The folders of one client would be those of all.
    let refused = answered("b").await;
    assert!(refused.contains("-32601"), "{refused}");
    assert!(
        !daemon
            .setup
            .journal("b")
            .iter()
            .any(|line| line.contains(r#""roots""#) && line.contains("initialize"))
    );
    daemon.end().await;
}
