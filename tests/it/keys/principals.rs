//! What belongs to one principal no other can use, also after a restart.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{bare_holder, holder, key, stranger};
use crate::harness::bare::{calling, coming_back, keys_of};
use crate::harness::http::{JSON, Reply};
use crate::harness::{Daemon, HttpClient, call, fake, request, text_of};

/// A client in another's session.
fn in_session_of(owner: &HttpClient, mut other: HttpClient) -> HttpClient {
    other.session = owner.session.clone();
    other
}

#[tokio::test]
async fn a_session_is_not_there_for_another_key_nor_for_who_has_none() {
    let daemon = Daemon::start(&[fake("a").tools("echo,progress")]).await;
    let (one, two) = (key(&daemon, &["one"]).await, key(&daemon, &["two"]).await);
    let owner = holder(&daemon, &one).await;
    let without = daemon.http().await;
    let progress =
        json!({ "name": "a__progress", "arguments": { "n": 2, "ms": 0 }, "_meta": { "progressToken": 1 } });
    let streamed = owner
        .post(&request(1, "tools/call", progress))
        .await
        .events()
        .await;
    let event = streamed.last().unwrap().id.clone().unwrap();
    let mut never = stranger(&daemon, &two);
    never.session = Some("0".repeat(64));
    let echo = call(2, "a__echo", json!({}));
    let unknown = never.post(&echo).await.text().await;
    for other in [
        in_session_of(&owner, stranger(&daemon, &two)),
        in_session_of(&owner, HttpClient::new(&daemon.address)),
        in_session_of(&without, stranger(&daemon, &two)),
    ] {
        let reply = other.post(&echo).await;
        assert_eq!(reply.status, 404);
        assert_eq!(reply.text().await, unknown, "as one that never was");
        let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
        for (method, more, body) in [
            (
                "POST",
                ("accept", "application/json, text/event-stream"),
                cancelled,
            ),
            ("GET", ("accept", "text/event-stream"), ""),
            ("GET", ("last-event-id", event.as_str()), ""),
            ("DELETE", ("accept", "*/*"), ""),
        ] {
            let reply: Reply = other.mcp(method, &[more], body).await;
            assert_eq!(reply.status, 404, "{method} {more:?}");
        }
    }
    for whose in [&owner, &without] {
        assert_eq!(
            text_of(&whose.call("a__echo", json!({ "n": 1 })).await),
            r#"{"n":1}"#
        );
    }
    daemon.end().await;
}

#[tokio::test]
async fn the_posts_beside_a_stream_are_its_own_principals() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let (one, two) = (key(&daemon, &["one"]).await, key(&daemon, &["two"]).await);
    let mut stream = super::open(&daemon, &one, "/sse").await;
    let endpoint = format!("/{}", stream.next_event().await.unwrap().data);
    let hello = request(1, "initialize", crate::harness::greeting("2024-11-05"));
    let post = async |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [JSON, ("authorization", bearer.as_str())];
        let client = HttpClient::new(&daemon.address);
        client
            .send("POST", &endpoint, &headers, hello.as_bytes())
            .await
            .status
    };
    assert_eq!(post(&two).await, 404);
    assert_eq!(post(&one).await, 202);
    assert!(stream.next_json().await["result"].is_object());
    daemon.end().await;
}

#[tokio::test]
async fn a_call_that_asks_can_be_answered_only_by_whom_it_asked() {
    let daemon = Daemon::start(&[fake("a").tools("interview")]).await;
    let (one, two) = (key(&daemon, &["one"]).await, key(&daemon, &["two"]).await);
    let (owner, other) = (bare_holder(&daemon, &one), bare_holder(&daemon, &two));
    let form = json!({ "method": "elicitation/create", "params": {
        "message": "Sure?",
        "requestedSchema": { "type": "object", "properties": { "n": { "type": "number" } } },
    } });
    let params = calling("a__interview", json!({ "rounds": [{ "k": form }] }));
    let asked = owner.ask("tools/call", params.clone()).await;
    let keys = keys_of(&asked);
    let given = json!({ &keys[0]: { "action": "accept", "content": { "n": 1 } } });
    let stolen: Value = other
        .ask("tools/call", coming_back(&params, &asked, given.clone()))
        .await;
    assert_eq!(stolen["error"]["data"]["reason"], "request_state", "{stolen}");
    let done = owner.back(&params, &asked, given).await;
    assert_eq!(done["result"]["resultType"], "complete", "{done}");
    daemon.end().await;
}

#[tokio::test]
async fn a_task_is_there_for_its_own_principal_only() {
    let daemon = Daemon::start(&[fake("a").flag("--tasks").tools("may_wait")]).await;
    let (one, two) = (key(&daemon, &["one"]).await, key(&daemon, &["two"]).await);
    let (owner, other) = (holder(&daemon, &one).await, holder(&daemon, &two).await);
    let params = json!({ "name": "a__may_wait", "arguments": {}, "task": { "ttl": 60_000 } });
    let made = owner.request("tools/call", params).await;
    let id = made["result"]["task"]["taskId"].clone();
    assert!(id.is_string(), "{made}");
    let about = json!({ "taskId": id });
    assert!(owner.request("tasks/get", about.clone()).await["result"].is_object());
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let answer = other.request(method, about.clone()).await;
        assert!(answer["error"].is_object(), "{method}: {answer}");
    }
    let listed = other.request("tasks/list", json!({})).await;
    assert_eq!(listed["result"]["tasks"], json!([]), "{listed}");
    daemon.end().await;
}

#[tokio::test]
async fn sessions_keep_their_principal_over_a_restart_and_go_with_its_key() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let (one, two) = (key(&daemon, &["one"]).await, key(&daemon, &["two"]).await);
    let (owner, gone) = (holder(&daemon, &one).await, holder(&daemon, &two).await);
    let without = daemon.http().await;
    let port = daemon.address.rsplit(':').next().unwrap().to_owned();
    let setup = daemon.killed().await;
    setup.project.run(&["key", "revoke", "two"]).said(0, &["revoked"]);
    let daemon = setup.variable("MCP_PORT", &port).start().await;
    daemon.ready("a").await;
    for whose in [&owner, &without] {
        assert_eq!(
            text_of(&whose.call("a__echo", json!({ "n": 1 })).await),
            r#"{"n":1}"#
        );
    }
    let echo = call(2, "a__echo", json!({}));
    let other = in_session_of(&owner, HttpClient::new(&daemon.address));
    assert_eq!(other.post(&echo).await.status, 404);
    assert_eq!(gone.post(&echo).await.status, 401);
    let other = in_session_of(&gone, HttpClient::new(&daemon.address));
    assert_eq!(other.post(&echo).await.status, 404);
    kill(daemon.pid(), Signal::SIGTERM).unwrap();
    daemon.ended().await;
}

#[tokio::test]
async fn holders_of_two_keys_share_no_process_of_one_client_program() {
    let server = fake("a").tools("pid").key("sharing", "\"per-client\"");
    let daemon = Daemon::start(&[server]).await;
    let (one, two) = (key(&daemon, &["one"]).await, key(&daemon, &["two"]).await);
    let pid = async |client: &HttpClient| {
        let answer = client.call("a__pid", json!({})).await;
        text_of(&answer).to_owned()
    };
    let (first, again) = (holder(&daemon, &one).await, holder(&daemon, &one).await);
    let (other, without) = (holder(&daemon, &two).await, daemon.http().await);
    let its = pid(&first).await;
    assert_eq!(pid(&again).await, its, "one program with one key shares");
    let bare = pid(&without).await;
    let others = pid(&other).await;
    assert!(
        its != others && its != bare && others != bare,
        "{its} {others} {bare}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_task_without_a_session_is_its_own_principals() {
    let server = |name: &str| fake(name).tools("must_work").flag("--tasks");
    let daemon = Daemon::start(&[server("a"), server("b").arg("--era", "modern")]).await;
    let (one, two) = (key(&daemon, &["one"]).await, key(&daemon, &["two"]).await);
    let (mut owner, mut other) = (bare_holder(&daemon, &one), bare_holder(&daemon, &two));
    for client in [&mut owner, &mut other] {
        client.able = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    }
    for tool in ["a__must_work", "b__must_work"] {
        let made = owner.call(tool, json!({ "ms": 60_000 })).await;
        let about = json!({ "taskId": made["result"]["taskId"] });
        assert!(about["taskId"].is_string(), "{made}");
        for method in ["tasks/get", "tasks/cancel"] {
            let answer = other.ask(method, about.clone()).await;
            assert!(answer["error"].is_object(), "{method}: {answer}");
        }
        let answer = owner.ask("tasks/get", about).await;
        assert_eq!(answer["result"]["status"], "working", "{answer}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_key_is_taken_back_at_once_however_slow_the_servers_of_another_are() {
    let daemon = Daemon::start(&[fake("a").arg("--resources", "x://1"), fake("b")]).await;
    let (slow, other) = (key(&daemon, &["slow"]).await, key(&daemon, &["other"]).await);
    let mut sessions = Vec::new();
    for _ in 0..12 {
        let client = holder(&daemon, &slow).await;
        let subscribed = client
            .request("resources/subscribe", json!({ "uri": "x://1" }))
            .await;
        assert!(subscribed["result"].is_object(), "{subscribed}");
        sessions.push(client);
    }
    let last = holder(&daemon, &other).await;
    // It hears of nothing any more.
    let child = Pid::from_raw(daemon.child_pid("a").await);
    kill(child, Signal::SIGSTOP).unwrap();
    let began = tokio::time::Instant::now();
    for name in ["slow", "other"] {
        let revoked = daemon.mcpctl(&["key", "revoke", name]).await;
        assert_eq!(revoked.code, 0, "{revoked:?}");
    }
    eprintln!("both were taken back after {:?}", began.elapsed());
    for client in sessions.iter().chain([&last]) {
        assert_eq!(client.post(&call(1, "b__echo", json!({}))).await.status, 401);
    }
    kill(child, Signal::SIGCONT).unwrap();
    daemon.end().await;
}
