//! Subscriptions and the processes behind them: asked once, asked again after a new start, and no reason to end.

use serde_json::json;

use crate::harness::fake::Fake;
use crate::harness::{Daemon, HttpClient, fake, text_of, until};

fn child() -> Fake {
    fake("a")
        .tools("pid,updated,boom")
        .arg("--resources", "x://1,x://2")
}

async fn subscribe(client: &HttpClient, uri: &str) {
    let answer = client.request("resources/subscribe", json!({ "uri": uri })).await;
    assert_eq!(answer["result"], json!({}), "{answer}");
}

async fn pid(client: &HttpClient) -> i32 {
    text_of(&client.call("a__pid", json!({})).await).parse().unwrap()
}

fn n_asked(daemon: &Daemon, uri: &str) -> usize {
    let wanted = format!("subscribe {uri}");
    let journal = daemon.setup.journal("a");
    journal.iter().filter(|line| **line == wanted).count()
}

/// The first thing that a client hears of is what has just happened.
async fn assert_heard_nothing_yet(client: &HttpClient) {
    let mut stream = client.stream().await;
    text_of(&client.call("a__updated", json!({ "uri": "x://2" })).await);
    assert_eq!(stream.next_json().await["params"]["uri"], "x://2");
}

#[tokio::test]
async fn a_process_that_is_started_by_a_subscription_is_asked_once_and_nothing_is_news() {
    for sharing in ["per-session", "per-client"] {
        let daemon = Daemon::start(&[child().key("sharing", &format!("\"{sharing}\""))]).await;
        let client = daemon.http().await;
        subscribe(&client, "x://1").await;
        subscribe(&client, "x://2").await;
        assert_heard_nothing_yet(&client).await;
        assert_eq!(
            (n_asked(&daemon, "x://1"), n_asked(&daemon, "x://2")),
            (1, 1),
            "{sharing}"
        );
        daemon.end().await;
    }
}

#[tokio::test]
async fn a_process_that_rests_is_woken_by_a_subscription_and_asked_once_and_rests_after_it() {
    let daemon = Daemon::start(&[child().key("idle_stop", "\"200ms\"")]).await;
    let client = daemon.http().await;
    daemon.in_state("a", "idle").await;
    subscribe(&client, "x://1").await;
    assert_eq!(n_asked(&daemon, "x://1"), 1);
    // As long as somebody listens it is in use: it is asked nothing for longer than it may be idle.
    let woken = daemon.server("a").await["generation"].clone();
    let other = fake("b").key("idle_stop", "\"1s\"");
    daemon
        .setup
        .declare(&[child().key("idle_stop", "\"200ms\""), other]);
    daemon.in_state("b", "idle").await;
    let server = daemon.server("a").await;
    assert_eq!(
        (&server["state"], &server["generation"]),
        (&json!("ready"), &woken),
        "{server}"
    );
    let left = client
        .request("resources/unsubscribe", json!({ "uri": "x://1" }))
        .await;
    assert_eq!(left["result"], json!({}), "{left}");
    daemon.in_state("a", "idle").await;
    daemon.end().await;
}

#[tokio::test]
async fn a_fresh_process_is_asked_again_and_the_client_hears_that_it_may_have_missed_something() {
    let daemon = Daemon::start(&[child().key("idle_stop", "\"200ms\"")]).await;
    let client = daemon.http().await;
    subscribe(&client, "x://1").await;
    let mut stream = client.stream().await;
    assert_eq!(client.call("a__boom", json!({})).await["error"]["code"], 1001);
    let told = stream.next_json().await;
    assert_eq!(told["params"]["uri"], "x://1", "{told}");
    assert_eq!(n_asked(&daemon, "x://1"), 2);
    assert_eq!(daemon.server("a").await["state"], "ready");
    daemon.end().await;
}

#[tokio::test]
async fn ones_own_process_is_asked_again_after_a_crash_and_after_another_definition() {
    let owned = child().key("sharing", "\"per-session\"");
    let daemon = Daemon::start(std::slice::from_ref(&owned)).await;
    let client = daemon.http().await;
    subscribe(&client, "x://1").await;
    let mut stream = client.stream().await;
    let first = pid(&client).await;
    assert_eq!(client.call("a__boom", json!({})).await["error"]["code"], 1001);
    assert_eq!(stream.next_json().await["params"]["uri"], "x://1");
    assert_eq!(n_asked(&daemon, "x://1"), 2);
    assert_ne!(pid(&client).await, first);
    daemon.setup.declare(&[owned.arg("--name", "other")]);
    until("no process of before", async || {
        let server = daemon.server("a").await;
        (server["state"] == "ready" && server["generation"] == 2).then_some(())
    })
    .await;
    pid(&client).await;
    until("one more subscription", async || {
        (n_asked(&daemon, "x://1") == 3).then_some(())
    })
    .await;
    daemon.end().await;
}

#[tokio::test]
async fn a_process_whose_client_listens_to_it_is_in_use() {
    let owned = child()
        .key("sharing", "\"per-session\"")
        .key("instance_idle", "\"300ms\"");
    let daemon = Daemon::start(&[owned]).await;
    let (one, two) = (daemon.http().await, daemon.http().await);
    subscribe(&one, "x://1").await;
    let (listened_to, idle) = (pid(&one).await, pid(&two).await);
    let is_alive = |pid: i32| daemon.setup.processes().contains(&pid);
    // The other has been idle for less long when both are looked at.
    until("the end of the idle one", async || {
        (!is_alive(idle)).then_some(())
    })
    .await;
    assert!(is_alive(listened_to));
    let left = one
        .request("resources/unsubscribe", json!({ "uri": "x://1" }))
        .await;
    assert_eq!(left["result"], json!({}), "{left}");
    until("the end of both", async || (!is_alive(listened_to)).then_some(())).await;
    daemon.end().await;
}

#[tokio::test]
async fn who_subscribes_while_the_last_one_leaves_hears_what_changes() {
    let daemon = Daemon::start(&[child().arg("--era", "modern")]).await;
    let clients = [daemon.http().await, daemon.http().await];
    let mut streams = [clients[0].stream().await, clients[1].stream().await];
    daemon.setup.noted("a", "listen ").await;
    for round in 0..20 {
        let (client, stream) = (&clients[round % 2], &mut streams[round % 2]);
        subscribe(client, "x://1").await;
        client.call("a__updated", json!({ "uri": "x://1" })).await;
        assert_eq!(
            stream.next_json().await["params"]["uri"],
            "x://1",
            "round {round}"
        );
        let told = client
            .request("resources/unsubscribe", json!({ "uri": "x://1" }))
            .await;
        assert_eq!(told["result"], json!({}), "{told}");
    }
    daemon.end().await;
}
