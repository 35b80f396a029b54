//! How much one client may do. Rates are by the hour, so that no test waits for its end, and none depends on time.

use serde_json::json;

use super::{holder, key, stranger};
use crate::harness::http::Reply;
use crate::harness::{Daemon, HttpClient, Setup, call, fake, request, until};

#[track_caller]
fn told_to_wait(reply: &Reply) {
    assert_eq!(reply.status, 429);
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=7_200).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_key_may_ask_as_often_as_it_says() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let limited = key(&daemon, &["slow", "--rate", "4/h"]).await;
    let free = key(&daemon, &["free"]).await;
    // A handshake is two of them.
    let client = holder(&daemon, &limited).await;
    let ping = request(1, "ping", json!({}));
    for _ in 0..2 {
        assert_eq!(client.post(&ping).await.status, 200);
    }
    told_to_wait(&client.post(&ping).await);
    told_to_wait(&stranger(&daemon, &limited).post(&ping).await);
    let other = holder(&daemon, &free).await;
    for _ in 0..8 {
        assert_eq!(other.post(&ping).await.status, 200);
    }
    daemon.end().await;
}

#[tokio::test]
async fn the_requests_of_a_batch_are_counted_one_by_one() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let limited = key(&daemon, &["slow", "--rate", "5/h"]).await;
    let mut client = stranger(&daemon, &limited);
    client.initialize("2025-03-26").await;
    let calls: Vec<String> = (0..8).map(|n| call(n, "a__echo", json!({ "n": n }))).collect();
    let answers: serde_json::Value = client.post(&format!("[{}]", calls.join(","))).await.json().await;
    let answers = answers.as_array().unwrap();
    let n_refused = answers
        .iter()
        .filter(|answer| answer["error"]["code"] == 1005)
        .count();
    // The handshake was two of them.
    assert_eq!((answers.len(), n_refused), (8, 5), "{answers:?}");
    daemon.end().await;
}

#[tokio::test]
async fn an_address_may_ask_as_often_as_is_set_whoever_asks() {
    let setup = Setup::new(&[fake("a")]).variable("MCP_RATE_PER_ADDRESS", "5/h");
    let daemon = setup.start().await;
    let client = HttpClient::new(&daemon.address);
    for _ in 0..5 {
        assert_eq!(client.send("GET", "/health/live", &[], b"").await.status, 200);
    }
    for path in ["/health/live", "/mcp", "/api/servers"] {
        told_to_wait(&client.send("GET", path, &[], b"").await);
    }
    assert_eq!(
        daemon.mcpctl(&["status"]).await.code,
        0,
        "the owner's socket is no address"
    );
    daemon.end().await;
}

#[tokio::test]
async fn new_event_streams_are_counted_through_every_door() {
    let setup = Setup::new(&[fake("a")]).variable("MCP_STREAMS_PER_ADDRESS", "3/h");
    let daemon = setup.start().await;
    let client = daemon.http().await;
    let _first = client.stream().await;
    let _second = super::open(&daemon, "", "/sse").await;
    let bare = crate::harness::bare::Bare::new(&daemon.address);
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let third = bare.begin(1, "subscriptions/listen", wanted.clone()).await;
    assert_eq!(third.status, 200);
    told_to_wait(&bare.begin(2, "subscriptions/listen", wanted).await);
    told_to_wait(&super::open(&daemon, "", "/sse").await);
    told_to_wait(&client.mcp("GET", &[("accept", "text/event-stream")], "").await);
    assert_eq!(client.post(&request(1, "ping", json!({}))).await.status, 200);
    daemon.end().await;
}

#[tokio::test]
async fn calls_in_flight_are_counted_until_they_have_ended() {
    let setup = Setup::new(&[fake("a").tools("echo,hang")]).variable("MCP_CALLS_PER_CLIENT", "1");
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let client = daemon.http().await;
    let other = holder(&daemon, &key(&daemon, &["other"]).await).await;
    let hang = call(7, "a__hang", json!({}));
    let hanging = client.post(&hang);
    let meanwhile = async {
        daemon.setup.called("a", "hang").await;
        told_to_wait(&client.post(&call(8, "a__echo", json!({}))).await);
        let echo = other.call("a__echo", json!({})).await;
        assert!(
            echo["result"].is_object(),
            "another client has its own places: {echo}"
        );
        assert_eq!(client.mcp("DELETE", &[], "").await.status, 204);
    };
    let (ended, ()) = tokio::join!(hanging, meanwhile);
    ended.answer().await;
    let next = until("a free place", async || {
        let mut client = HttpClient::new(&daemon.address);
        let hello = request(1, "initialize", crate::harness::greeting("2025-11-25"));
        let reply = client.post(&hello).await;
        client.session = reply.header("mcp-session-id").map(str::to_owned);
        (reply.status == 200).then_some(client)
    })
    .await;
    assert!(next.call("a__echo", json!({})).await["result"].is_object());
    daemon.end().await;
}

#[tokio::test]
async fn connections_are_counted_until_they_are_closed() {
    let setup = Setup::new(&[]).variable("MCP_CONNECTIONS_PER_ADDRESS", "1");
    let daemon = setup.start().await;
    let held = tokio::net::TcpStream::connect(&daemon.address).await.unwrap();
    let client = HttpClient::new(&daemon.address);
    let refused = client.send("GET", "/health/live", &[], b"").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    drop((held, refused));
    until("a free place", async || {
        let reply = client.send("GET", "/health/live", &[], b"").await;
        (reply.status == 200).then_some(())
    })
    .await;
    daemon.end().await;
}
