//! Sessions outlive the daemon: what was agreed on stays, what was in flight gets an error.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::fake::Fake;
use crate::harness::http::Reply;
use crate::harness::{Daemon, HttpClient, LineClient, able, call, fake, request, text_of};

fn watched() -> Fake {
    fake("a")
        .tools("echo,updated,log,ask,progress,env")
        .arg("--resources", "x://1,x://2")
}

/// The daemon ends so, and another takes its place at the same address.
async fn again(daemon: Daemon, how: Signal) -> Daemon {
    let port = daemon.address.rsplit(':').next().unwrap().to_owned();
    let setup = if how == Signal::SIGKILL {
        daemon.killed().await
    } else {
        daemon.end_but_keep().await
    };
    setup.variable("MCP_PORT", &port).start().await
}

async fn client(daemon: &Daemon) -> HttpClient {
    let client = daemon
        .introduced(able("2025-11-25", &json!({ "elicitation": {} }), "it"))
        .await;
    assert!(
        client
            .request("resources/subscribe", json!({ "uri": "x://1" }))
            .await["result"]
            .is_object()
    );
    assert!(
        client
            .request("logging/setLevel", json!({ "level": "debug" }))
            .await["result"]
            .is_object()
    );
    client
}

#[tokio::test]
async fn a_session_goes_on_after_the_daemon_was_stopped_and_after_it_was_killed() {
    let mut daemon = Daemon::start(&[watched()]).await;
    let client = client(&daemon).await;
    for how in [Signal::SIGTERM, Signal::SIGKILL] {
        daemon = again(daemon, how).await;
        let answer = client.call("a__echo", json!({ "n": 1 })).await;
        assert_eq!(text_of(&answer), r#"{"n":1}"#, "{how}");
        // The child was asked again, and the client is told that it may have missed something.
        let mut stream = client.stream().await;
        assert_eq!(updated(&mut stream).await, "x://1");
        daemon.setup.noted("a", "subscribe x://1").await;
        client.call("a__updated", json!({ "uri": "x://2" })).await;
        client.call("a__updated", json!({ "uri": "x://1" })).await;
        assert_eq!(
            updated(&mut stream).await,
            "x://1",
            "and of the other it hears nothing"
        );
        let mut reply = client.post(&call(5, "a__log", json!({ "level": "debug" }))).await;
        assert_eq!(
            reply.next_json().await["params"]["data"],
            "message 1",
            "its level is still set"
        );
    }
    assert!(matches!(client.mcp("DELETE", &[], "").await.status, 200..=299));
    let daemon = again(daemon, Signal::SIGKILL).await;
    let gone = client.post(&call(6, "a__echo", json!({}))).await;
    assert_eq!(gone.status, 404, "a session that has ended stays so");
    daemon.end().await;
}

#[tokio::test]
async fn a_process_of_ones_own_is_there_again_with_its_subscriptions() {
    let daemon = Daemon::start(&[watched().key("sharing", "\"per-session\"")]).await;
    let client = client(&daemon).await;
    let daemon = again(daemon, Signal::SIGKILL).await;
    let mut stream = client.stream().await;
    assert_eq!(updated(&mut stream).await, "x://1");
    client.call("a__updated", json!({ "uri": "x://1" })).await;
    assert_eq!(updated(&mut stream).await, "x://1");
    daemon.end().await;
}

#[tokio::test]
async fn who_comes_back_for_a_lost_call_is_told_so_and_who_comes_back_for_news_gets_them() {
    let daemon = Daemon::start(&[watched()]).await;
    let client = client(&daemon).await;
    let mut stream = client.stream().await;
    client.call("a__updated", json!({ "uri": "x://1" })).await;
    let news = stream.next_event().await.unwrap().id.unwrap();
    let asks = json!({ "method": "elicitation/create", "params": { "message": "?", "requestedSchema": {} } });
    let mut reply = client.post(&call("seven", "a__ask", asks.clone())).await;
    let question = reply.next_event().await.unwrap();
    let old_question: Value = serde_json::from_str(&question.data).unwrap();
    let daemon = again(daemon, Signal::SIGKILL).await;
    let resume = async |id: &str| {
        let headers = [("accept", "text/event-stream"), ("last-event-id", id)];
        client.mcp("GET", &headers, "").await
    };
    let mut lost = resume(&question.id.unwrap()).await;
    let told = lost.next_json().await;
    assert_eq!(
        (&told["id"], &told["error"]["data"]["reason"]),
        (&json!("seven"), &json!("daemon_restarted"))
    );
    assert!(
        lost.next_event().await.is_none(),
        "the call's stream ends with its answer"
    );
    let mut stream = resume(&news).await;
    assert_eq!(stream.status, 200);
    assert_eq!(updated(&mut stream).await, "x://1");
    // A question of the new run is not taken for one of the old, which the client may still answer.
    let mut reply = client.post(&call(8, "a__ask", asks)).await;
    let new_question = reply.next_json().await;
    assert_ne!(new_question["id"], old_question["id"]);
    let stale = format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"decline"}}}}"#,
        old_question["id"]
    );
    assert_eq!(client.post(&stale).await.status, 202);
    let fresh = format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"accept"}}}}"#,
        new_question["id"]
    );
    assert_eq!(client.post(&fresh).await.status, 202);
    assert!(text_of(&reply.next_json().await).contains("accept"));
    assert_eq!(resume("nonsense:1").await.status, 400);
    daemon.end().await;
}

/// The next news of a resource: a list that reads differently may be told before.
async fn updated(stream: &mut Reply) -> Value {
    loop {
        let told = stream.next_json().await;
        if told["method"] == "notifications/resources/updated" {
            return told["params"]["uri"].clone();
        }
    }
}

#[tokio::test]
async fn a_client_of_the_shim_goes_on_and_loses_only_what_was_in_flight() {
    let daemon = Daemon::start(&[watched()]).await;
    daemon.ready("a").await;
    let mut client = LineClient::launch(&daemon.setup);
    client
        .introduce(able("2025-11-25", &json!({ "elicitation": {} }), "it"))
        .await;
    client
        .ask(&request(1, "resources/subscribe", json!({ "uri": "x://1" })))
        .await;
    client
        .ask(&request(2, "logging/setLevel", json!({ "level": "debug" })))
        .await;
    let asks = json!({ "method": "elicitation/create", "params": { "message": "?", "requestedSchema": {} } });
    let old_question = client.ask_json(&call(3, "a__ask", asks.clone())).await;
    assert_eq!(old_question["method"], "elicitation/create");
    let daemon = again(daemon, Signal::SIGKILL).await;
    let (mut heard, lost) = client.until_answer(3).await;
    assert_eq!(lost["error"]["data"]["reason"], "daemon_restarted", "{lost}");
    // The stale answer reaches nobody; the next question is another one.
    client
        .send(&format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"decline"}}}}"#,
            old_question["id"]
        ))
        .await;
    client.send(&call(4, "a__ask", asks)).await;
    let question = loop {
        let next = client.next_json().await;
        if next["method"] == "elicitation/create" {
            break next;
        }
        heard.push(next);
    };
    assert_ne!(question["id"], old_question["id"]);
    client
        .send(&format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"accept"}}}}"#,
            question["id"]
        ))
        .await;
    let (more, answer) = client.until_answer(4).await;
    heard.extend(more);
    assert!(text_of(&answer).contains("accept"), "{answer}");
    let told = |method: &str| heard.iter().filter(|said| said["method"] == method).count();
    assert_eq!(
        told("notifications/cancelled"),
        1,
        "the old question is withdrawn: {heard:?}"
    );
    assert!(
        told("notifications/tools/list_changed") >= 1 && told("notifications/resources/updated") >= 1,
        "{heard:?}"
    );
    client.send(&call(5, "a__log", json!({ "level": "debug" }))).await;
    let (logged, _) = client.until_answer(5).await;
    assert!(
        logged.iter().any(|said| said["params"]["data"] == "message 1"),
        "its level is still set: {logged:?}"
    );
    client
        .send(&call(6, "a__updated", json!({ "uri": "x://1" })))
        .await;
    while client.next_json().await["params"]["uri"] != "x://1" {}
    let (_, code) = client.finish().await;
    assert_eq!(code, 0);
    daemon.end().await;
}

#[tokio::test]
async fn subscriptions_of_a_client_of_the_shim_come_back_although_the_next_daemon_has_yet_to_hear_of_the_resources()
 {
    // More than are said again at once.
    const N: u64 = 300;
    let uris: Vec<String> = (1..=N).map(|n| format!("x://{n}")).collect();
    let daemon = Daemon::start(&[fake("a").tools("updated").arg("--resources", &uris.join(","))]).await;
    let mut client = LineClient::launch(&daemon.setup);
    client.greet("2025-11-25").await;
    for (id, uri) in (1..).zip(&uris) {
        client
            .send(&request(id, "resources/subscribe", json!({ "uri": uri })))
            .await;
        let (_, answer) = client.until_answer(id).await;
        assert!(answer["result"].is_object(), "{answer}");
    }
    let port = daemon.address.rsplit(':').next().unwrap().to_owned();
    let setup = daemon.killed().await;
    // The lists are forgotten.
    for file in ["registry.db", "registry.db-wal", "registry.db-shm"] {
        std::fs::remove_file(setup.path().join("data").join(file)).ok();
    }
    let daemon = setup.variable("MCP_PORT", &port).start().await;
    let n_subscribed = || {
        let journal = daemon.setup.journal("a");
        u64::try_from(
            journal
                .iter()
                .filter(|line| line.starts_with("subscribe "))
                .count(),
        )
        .unwrap()
    };
    crate::harness::until("each resource subscribed to again", async || {
        (n_subscribed() >= 2 * N).then_some(())
    })
    .await;
    assert_eq!(n_subscribed(), 2 * N, "once each");
    client.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn a_client_of_the_shim_that_speaks_gets_a_daemon_where_none_comes_back() {
    let daemon = Daemon::start(&[fake("a").tools("echo")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    let setup = daemon.end_but_keep().await;
    client.send(&call(1, "a__echo", json!({ "n": 1 }))).await;
    let (_, answer) = client.until_answer(1).await;
    assert_eq!(text_of(&answer), r#"{"n":1}"#);
    let pid = std::fs::read_to_string(setup.path().join("data/daemon.pid")).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    let (_, code) = client.finish().await;
    assert_eq!(code, 0);
    crate::harness::until("the end of the daemon's children", async || {
        setup.processes().is_empty().then_some(())
    })
    .await;
}
