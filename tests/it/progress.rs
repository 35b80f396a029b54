//! Progress and cancellation: to the one whose call it is, and to nobody else.

use serde_json::{Value, json};

use crate::harness::{Daemon, LineClient, SseClient, call, fake, request, text_of};

fn with_token(id: u64, token: &Value, tool: &str, arguments: Value) -> String {
    let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": token } });
    request(id, "tools/call", params)
}

fn steps(messages: &[Value], token: &Value) -> Vec<u64> {
    let of_it = messages
        .iter()
        .filter(|message| message["params"]["progressToken"] == *token);
    of_it
        .map(|message| message["params"]["progress"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn progress_turns_the_answer_of_a_post_into_a_stream_that_ends_with_the_result() {
    let daemon = Daemon::start(&[fake("a").tools("progress")]).await;
    let client = daemon.http().await;
    for token in [json!("text"), json!("7"), json!(7), json!(0), json!("")] {
        let asked = with_token(4, &token, "a__progress", json!({ "n": 3, "ms": 5 }));
        let reply = client.post(&asked).await;
        assert!(reply.is_stream(), "{token}");
        let messages: Vec<Value> = reply
            .events()
            .await
            .iter()
            .map(|event| serde_json::from_str(&event.data).unwrap())
            .collect();
        assert_eq!(messages.len(), 4, "{token}: {messages:?}");
        assert_eq!(steps(&messages, &token), [1, 2, 3], "{token}");
        assert_eq!(messages[3]["id"], 4, "the answer comes last");
    }
    daemon.end().await;
}

#[tokio::test]
async fn progress_right_before_the_answer_is_not_lost() {
    let daemon = Daemon::start(&[fake("a").tools("progress")]).await;
    let client = daemon.http().await;
    for round in 1..=50 {
        let asked = with_token(round, &json!("t"), "a__progress", json!({ "n": 3 }));
        let reply = client.post(&asked).await;
        assert!(reply.is_stream(), "round {round}");
        let messages: Vec<Value> = reply
            .events()
            .await
            .iter()
            .map(|event| serde_json::from_str(&event.data).unwrap())
            .collect();
        assert_eq!(
            steps(&messages, &json!("t")),
            [1, 2, 3],
            "round {round}: {messages:?}"
        );
        assert_eq!(messages.last().unwrap()["id"], round);
    }
    daemon.end().await;
}

#[tokio::test]
async fn progress_comes_before_the_answer_on_streams_and_lines_too() {
    let daemon = Daemon::start(&[fake("a").tools("progress")]).await;
    let mut sse = SseClient::greeted(&daemon.address).await;
    let mut line = LineClient::greeted(&daemon.setup).await;
    let asked = with_token(1, &json!("t"), "a__progress", json!({ "n": 20 }));
    sse.post(&asked).await;
    line.send(&asked).await;
    for step in 1..=20 {
        for message in [sse.next_json().await, line.next_json().await] {
            assert_eq!(
                message["params"],
                json!({ "progressToken": "t", "progress": step, "total": 20 })
            );
        }
    }
    for answer in [sse.next_json().await, line.next_json().await] {
        assert_eq!(text_of(&answer), r#"{"n":20}"#);
    }
    daemon.end().await;
}

#[tokio::test]
async fn two_clients_with_the_same_token_see_their_own_progress_only() {
    let daemon = Daemon::start(&[fake("a").tools("progress")]).await;
    let (one, two) = (daemon.http().await, daemon.http().await);
    let ask = async |client: &crate::harness::HttpClient, n: u64| {
        let asked = with_token(1, &json!("same"), "a__progress", json!({ "n": n, "ms": 3 }));
        let events = client.post(&asked).await.events().await;
        let messages: Vec<Value> = events
            .iter()
            .map(|event| serde_json::from_str(&event.data).unwrap())
            .collect();
        let totals: Vec<_> = messages
            .iter()
            .filter_map(|message| message["params"]["total"].as_u64())
            .collect();
        assert_eq!(totals, vec![n; usize::try_from(n).unwrap()]);
    };
    tokio::join!(ask(&one, 12), ask(&two, 15));
    daemon.end().await;
}

#[tokio::test]
async fn who_gave_no_token_sees_no_progress_and_gets_json() {
    let daemon = Daemon::start(&[fake("a").tools("progress,huge")]).await;
    let client = daemon.http().await;
    let reply = client.post(&call(1, "a__progress", json!({ "n": 3 }))).await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(text_of(&reply.json().await), r#"{"n":3}"#);
    let reply = client
        .post(&call(2, "a__huge", json!({ "bytes": 3_000_000 })))
        .await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(text_of(&reply.json().await).len(), 3_000_000);
    daemon.end().await;
}

fn cancelled(id: impl Into<Value>) -> String {
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id.into() } })
        .to_string()
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_in_the_child_and_never_answered_on_a_line() {
    let daemon = Daemon::start(&[fake("a").tools("sleep,echo")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    client
        .send(&call("mine", "a__sleep", json!({ "ms": 60_000 })))
        .await;
    daemon.setup.called("a", "sleep").await;
    client.send(&cancelled("mine")).await;
    // The child knows the call by an id of ours, and that is what it has to be told.
    let noted = daemon.setup.noted("a", "cancelled ").await;
    assert!(!noted.contains("mine"), "{noted}");
    let answer = client.ask_json(&call("next", "a__echo", json!({}))).await;
    assert_eq!(answer["id"], "next", "the cancelled call must not be answered");
    let (last, _) = client.finish().await;
    assert!(last.is_empty(), "{last:?}");
    daemon.end().await;
}

#[tokio::test]
async fn a_cancelled_call_ends_its_exchange_over_http() {
    let daemon = Daemon::start(&[fake("a").tools("sleep")]).await;
    let client = daemon.http().await;
    let asked = call(8, "a__sleep", json!({ "ms": 60_000 }));
    let (reply, ()) = tokio::join!(client.post(&asked), async {
        daemon.setup.called("a", "sleep").await;
        assert_eq!(client.post(&cancelled(8)).await.status, 202);
    });
    daemon.setup.noted("a", "cancelled ").await;
    let answer = reply.json().await;
    assert_eq!(answer["error"]["data"]["reason"], "cancelled", "{answer}");
    daemon.end().await;
}

#[tokio::test]
async fn a_client_cannot_cancel_what_is_not_its_own() {
    let daemon = Daemon::start(&[fake("a").tools("sleep")]).await;
    let (one, two) = (daemon.http().await, daemon.http().await);
    let asked = call(8, "a__sleep", json!({ "ms": 300 }));
    let (reply, ()) = tokio::join!(one.post(&asked), async {
        daemon.setup.called("a", "sleep").await;
        assert_eq!(two.post(&cancelled(8)).await.status, 202);
        assert_eq!(one.post(&cancelled("8")).await.status, 202);
        assert_eq!(one.post(&cancelled(9)).await.status, 202);
    });
    assert_eq!(text_of(&reply.json().await), r#"{"ms":300}"#);
    let told = daemon
        .setup
        .journal("a")
        .iter()
        .any(|line| line.contains("notifications/cancelled"));
    assert!(!told);
    daemon.end().await;
}

#[tokio::test]
async fn the_calls_of_a_line_client_that_died_are_taken_back() {
    let daemon = Daemon::start(&[fake("a").tools("sleep,echo")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    client
        .send(&call("mine", "a__sleep", json!({ "ms": 60_000 })))
        .await;
    daemon.setup.called("a", "sleep").await;
    client.kill().await;
    daemon.setup.noted("a", "cancelled ").await;
    let other = daemon.http().await;
    assert_eq!(text_of(&other.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_has_not_cancelled() {
    let daemon = Daemon::start(&[fake("a").tools("progress,echo")]).await;
    let client = daemon.http().await;
    let asked = with_token(1, &json!(1), "a__progress", json!({ "n": 20, "ms": 20 }));
    let mut reply = client.post(&asked).await;
    assert_eq!(reply.next_json().await["params"]["progress"], 1);
    drop(reply);
    // The answer is written by the child, so the call went on to its end.
    daemon.setup.noted("a", r#""text":"{\"ms\":20,\"n\":20}""#).await;
    let told = daemon
        .setup
        .journal("a")
        .iter()
        .any(|line| line.contains("notifications/cancelled"));
    assert!(!told);
    daemon.end().await;
}
