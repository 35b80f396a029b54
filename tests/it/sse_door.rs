//! HTTP+SSE of 2024-11-05: the session lives as long as its stream.

use serde_json::{Value, json};

use crate::harness::http::JSON;
use crate::harness::{Daemon, HttpClient, SseClient, call, fake, text_of, until};

#[tokio::test]
async fn the_stream_begins_with_a_relative_endpoint_and_carries_the_answers() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let mut client = SseClient::greeted(&daemon.address).await;
    assert!(
        client.endpoint.starts_with("messages?sessionId="),
        "{}",
        client.endpoint
    );
    assert_eq!(
        client.stream.header("cache-control"),
        Some("no-cache, no-transform")
    );
    let answer: Value =
        serde_json::from_str(&client.ask(&call(1, "a__echo", json!({ "x": 1 }))).await).unwrap();
    assert_eq!(text_of(&answer), r#"{"x":1}"#);
    daemon.end().await;
}

#[tokio::test]
async fn a_message_for_no_stream_is_refused_and_so_is_what_is_no_message() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let client = SseClient::greeted(&daemon.address).await;
    let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let post = async |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        client.http.send("POST", path, headers, body).await.status
    };
    let path = format!("/{}", client.endpoint);
    assert_eq!(post("/messages", &[JSON], ping).await, 400);
    assert_eq!(post("/messages?sessionId=nobody", &[JSON], ping).await, 404);
    assert_eq!(post(&path, &[JSON], b"{").await, 400);
    assert_eq!(post(&path, &[("content-type", "text/plain")], ping).await, 415);
    assert_eq!(client.http.send("POST", "/sse", &[JSON], ping).await.status, 405);
    daemon.end().await;
}

#[tokio::test]
async fn a_session_of_one_door_cannot_be_used_at_the_other() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let http = daemon.http().await;
    let path = format!("/messages?sessionId={}", http.session.as_deref().unwrap());
    let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(http.send("POST", &path, &[JSON], ping).await.status, 404);
    daemon.end().await;
}

#[tokio::test]
async fn the_end_of_the_stream_ends_the_session_and_cancels_its_calls() {
    let daemon = Daemon::start(&[fake("a").tools("hang,echo")]).await;
    let client = SseClient::greeted(&daemon.address).await;
    client.post(&call(3, "a__hang", json!({}))).await;
    daemon.setup.called("a", "hang").await;
    let path = format!("/{}", client.endpoint);
    drop(client);
    daemon.setup.noted("a", "cancelled ").await;
    let http = HttpClient::new(&daemon.address);
    let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    until("the end of the session", async || {
        (http.send("POST", &path, &[JSON], ping).await.status == 404).then_some(())
    })
    .await;
    daemon.end().await;
}
