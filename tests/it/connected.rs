//! Who is connected, what waits for a client, and the end of a session by an operator.

use serde_json::{Value, json};

use crate::harness::bare::{Bare, bare, calling, keys_of};
use crate::harness::{Daemon, LineClient, call, fake, until};

async fn sessions(daemon: &Daemon) -> Vec<Value> {
    let connected = daemon.mcpctl_json(&["sessions"]).await;
    connected["sessions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn every_client_is_shown_with_its_door_and_what_it_speaks() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let _http = daemon.http().await;
    let mut old = LineClient::launch(&daemon.setup);
    old.greet("2025-03-26").await;
    let mut new = LineClient::launch(&daemon.setup);
    let list = bare(1, "tools/list", &json!({}), json!({}));
    assert!(new.ask_json(&list).await["result"].is_object());
    let shown = sessions(&daemon).await;
    let of = |door: &str, revision: &str| {
        let is_it = |shown: &&Value| shown["door"] == door && shown["revision"] == revision;
        let found: Vec<_> = shown.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{door} {revision}: {shown:?}");
        found[0].clone()
    };
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(of("http", "2025-11-25")["client"].is_string());
    assert_eq!(of("stdio", "2025-03-26")["n_streams"], 1);
    assert_eq!(of("stdio", "2026-07-28")["idle_ms"], 0);
    new.finish().await;
    until("the end of a client that is gone", async || {
        (sessions(&daemon).await.len() == 2).then_some(())
    })
    .await;
    old.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn a_session_that_is_disconnected_is_over_with_its_streams_and_calls() {
    let daemon = Daemon::start(&[fake("a").tools("echo,hang")]).await;
    let (client, other) = (daemon.http().await, daemon.http().await);
    let mut stream = client.stream().await;
    let hangs = call(7, "a__hang", json!({}));
    let hanging = client.post(&hangs);
    let ended = async {
        daemon.setup.called("a", "hang").await;
        let shown = sessions(&daemon).await;
        let busy = shown.iter().find(|shown| shown["n_inflight"] == 1).unwrap();
        assert_eq!(busy["n_streams"], 1, "{busy}");
        let id = busy["id"].as_str().unwrap();
        let ran = daemon.mcpctl(&["disconnect", id]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.starts_with(&format!("{id}: disconnected")), "{ran:?}");
        id.to_owned()
    };
    let (answer, id) = tokio::join!(async { hanging.await.text().await }, ended);
    assert!(!answer.contains(r#""result""#), "{answer}");
    while stream.next_event().await.is_some() {}
    daemon.setup.noted("a", "cancelled ").await;
    assert_eq!(client.post(&call(8, "a__echo", json!({}))).await.status, 404);
    assert_eq!(other.post(&call(8, "a__echo", json!({}))).await.status, 200);
    let again = daemon.mcpctl(&["disconnect", &id]).await;
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("mcpctl sessions"), "{again:?}");
    assert_eq!(daemon.mcpctl(&["disconnect", "../servers"]).await.code, 2);
    daemon.end().await;
}

#[tokio::test]
async fn calls_that_wait_for_their_clients_are_told() {
    let daemon = Daemon::start(&[fake("a").tools("interview")]).await;
    let client = Bare::new(&daemon.address);
    let form = json!({ "method": "elicitation/create", "params": {
        "message": "Sure?", "requestedSchema": { "type": "object", "properties": {} },
    } });
    let params = calling("a__interview", json!({ "rounds": [{ "k": form }] }));
    let asked = client.ask("tools/call", params.clone()).await;
    let status = daemon.mcpctl_json(&["status"]).await;
    assert_eq!(status["daemon"]["parked"], json!([{ "server": "a", "n": 1 }]));
    let text = daemon.mcpctl(&["status"]).await.stdout;
    assert!(text.contains("1 call of a waits for what"), "{text}");
    let key = &keys_of(&asked)[0];
    client
        .back(&params, &asked, json!({ key: { "action": "decline" } }))
        .await;
    let status = daemon.mcpctl_json(&["status"]).await;
    assert_eq!(status["daemon"]["parked"], json!([]));
    daemon.end().await;
}
