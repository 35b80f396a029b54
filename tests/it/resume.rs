//! Event streams that break off: their rest arrives on another connection, once, and nothing else does.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::http::{Event, Reply};
use crate::harness::{Daemon, HttpClient, able, call, fake, request, text_of};

/// A call that shows progress.
fn progressing(id: u64, n: u64, ms: u64) -> String {
    let params = json!({
        "name": "a__progress",
        "arguments": { "n": n, "ms": ms },
        "_meta": { "progressToken": format!("of {id}") },
    });
    request(id, "tools/call", params)
}

async fn resume(client: &HttpClient, event_id: &str) -> Reply {
    client
        .mcp(
            "GET",
            &[("accept", "text/event-stream"), ("last-event-id", event_id)],
            "",
        )
        .await
}

fn id_of(event: &Event) -> String {
    event.id.clone().unwrap_or_else(|| panic!("no id: {event:?}"))
}

fn message(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

fn steps(events: &[Event]) -> Vec<u64> {
    let all = events.iter().map(message);
    all.filter_map(|message| message["params"]["progress"].as_u64())
        .collect()
}

async fn next(stream: &mut Reply) -> Event {
    stream.next_bare_event().await.expect("one more event")
}

#[tokio::test]
async fn the_rest_of_a_broken_call_arrives_once_and_nothing_of_another() {
    let daemon = Daemon::start(&[fake("a").tools("progress")]).await;
    let (client, other) = (daemon.http().await, daemon.http().await);
    let beside = client.post(&progressing(2, 30, 10)).await;
    let foreign = other.post(&progressing(1, 30, 10)).await;
    let mut broken = client.post(&progressing(1, 30, 10)).await;
    let primed = next(&mut broken).await;
    assert_eq!(primed.data, "");
    let first = next(&mut broken).await;
    assert_eq!(message(&first)["params"]["progress"], 1);
    drop(broken);
    let resumed = resume(&client, &id_of(&first)).await;
    assert_eq!(resumed.status, 200);
    let rest = resumed.events().await;
    assert_eq!(steps(&rest), (2..=30).collect::<Vec<_>>());
    let (answer, before) = rest.split_last().unwrap();
    assert_eq!(message(answer)["id"], 1);
    assert_eq!(text_of(&message(answer)), r#"{"ms":10,"n":30}"#);
    assert!(
        before
            .iter()
            .all(|event| message(event)["params"]["progressToken"] == "of 1")
    );
    let (beside, foreign) = (beside.events().await, foreign.events().await);
    assert_eq!(steps(&beside), (1..=30).collect::<Vec<_>>());
    assert_eq!(steps(&foreign), (1..=30).collect::<Vec<_>>());
    let ids: BTreeSet<String> = [&primed, &first]
        .into_iter()
        .chain(&rest)
        .chain(&beside)
        .map(id_of)
        .collect();
    assert_eq!(ids.len(), 2 + 30 + 31, "an id stands for one event of a session");
    // It has ended, and from the beginning it reads the same.
    let again = resume(&client, &id_of(&primed)).await.events().await;
    assert_eq!(again.len(), 31);
    assert_eq!(again[0], first);
    assert_eq!(again[1..], rest);
    daemon.end().await;
}

#[tokio::test]
async fn an_id_that_was_never_given_to_this_session_is_refused() {
    let daemon = Daemon::start(&[fake("a").tools("progress")]).await;
    let (client, other) = (daemon.http().await, daemon.http().await);
    let events = client.post(&progressing(1, 2, 0)).await.events().await;
    let own = id_of(events.last().unwrap());
    let (stream, _) = own.split_once(':').unwrap();
    let beyond = format!("{stream}:99");
    for id in [
        "nonsense",
        "",
        ":",
        "1",
        beyond.as_str(),
        &format!("{stream}:-1"),
        &format!("{stream}:x"),
    ] {
        let reply = resume(&client, id).await;
        assert_eq!(reply.status, 400, "{id:?}");
        let error = reply.json().await["error"].clone();
        assert!(
            error["message"].as_str().unwrap().contains("Last-Event-ID"),
            "{error}"
        );
    }
    for event in &events {
        assert_eq!(
            resume(&other, &id_of(event)).await.status,
            400,
            "of another session"
        );
    }
    assert_eq!(resume(&client, &own).await.status, 200);
    daemon.end().await;
}

#[tokio::test]
async fn only_clients_that_know_of_it_get_an_event_before_the_first() {
    let daemon = Daemon::start(&[fake("a").tools("progress,grow")]).await;
    for (revision, is_primed) in [("2025-03-26", false), ("2025-06-18", false), ("2025-11-25", true)] {
        let client = daemon.introduced(able(revision, &json!({}), "it")).await;
        let mut stream = client.post(&progressing(1, 1, 0)).await;
        let first = next(&mut stream).await;
        assert_eq!(first.data.is_empty(), is_primed, "{revision}: {first:?}");
        assert!(first.id.is_some());
        let mut stream = client.stream().await;
        client
            .call("a__grow", json!({ "name": format!("for {revision}") }))
            .await;
        let first = next(&mut stream).await;
        assert_eq!(first.data.is_empty(), is_primed, "{revision}: {first:?}");
        assert!(first.id.is_some());
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_change_is_neither_lost_nor_told_twice_when_the_stream_breaks() {
    const CHANGED: &str = "notifications/tools/list_changed";
    let daemon = Daemon::start(&[fake("a").tools("grow")]).await;
    let (client, actor) = (daemon.http().await, daemon.http().await);
    let mut told = actor.stream().await;
    let mut stream = client.stream().await;
    let mut last = id_of(&next(&mut stream).await);
    let primed = last.clone();
    let mut seen = Vec::new();
    for round in 1..=10 {
        // The change happens while nobody listens.
        drop(stream);
        actor
            .call("a__grow", json!({ "name": format!("t{round}") }))
            .await;
        assert_eq!(told.next_json().await["method"], CHANGED);
        stream = resume(&client, &last).await;
        assert_eq!(stream.status, 200);
        let event = next(&mut stream).await;
        assert_eq!(message(&event)["method"], CHANGED, "round {round}");
        last = id_of(&event);
        seen.push(event);
    }
    let ids: BTreeSet<_> = seen.iter().map(id_of).collect();
    assert_eq!(ids.len(), 10);
    // From the beginning: each of them once, in the same order, and then the next one.
    let mut again = resume(&client, &primed).await;
    for event in &seen {
        assert_eq!(next(&mut again).await, *event);
    }
    actor.call("a__grow", json!({ "name": "last" })).await;
    let newest = next(&mut again).await;
    assert_eq!(message(&newest)["method"], CHANGED);
    assert!(!ids.contains(&id_of(&newest)));
    assert!(
        stream.next_event().await.is_none(),
        "of two connections the newer one reads"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_question_waits_for_the_client_to_come_back() {
    let daemon = Daemon::start(&[fake("a").tools("ask")]).await;
    let client = daemon
        .introduced(able("2025-11-25", &json!({ "roots": {} }), "it"))
        .await;
    let mut broken = client
        .post(&call(3, "a__ask", json!({ "method": "roots/list" })))
        .await;
    let primed = next(&mut broken).await;
    drop(broken);
    let mut resumed = resume(&client, &id_of(&primed)).await;
    let question = message(&next(&mut resumed).await);
    assert_eq!(question["method"], "roots/list");
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "roots": [] } });
    assert_eq!(client.post(&answer.to_string()).await.status, 202);
    let answer = message(&next(&mut resumed).await);
    assert_eq!(
        text_of(&answer),
        r#"{"jsonrpc":"2.0","id":"ask-1","result":{"roots":[]}}"#
    );
    assert!(resumed.next_event().await.is_none());
    daemon.end().await;
}
