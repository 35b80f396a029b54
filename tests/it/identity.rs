//! Ids: echoed as they came, never mixed up, whoever else uses the same.

use serde_json::{Value, json};

use crate::harness::{Daemon, HttpClient, LineClient, call, fake, text_of};

#[tokio::test]
async fn every_id_is_echoed_as_it_was_written() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let http = daemon.http().await;
    let mut line = LineClient::greeted(&daemon.setup).await;
    for id in [
        "0",
        "\"\"",
        "\"1\"",
        "1",
        "1.0",
        "1e2",
        "-5",
        "9007199254740993",
        "99999999999999999999",
        "\"\\u0061\"",
    ] {
        let asked = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"a__echo","arguments":{{}}}}}}"#
        );
        let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#);
        for answer in [http.ask(&asked).await, line.ask(&asked).await] {
            assert!(answer.starts_with(&start), "{id}: {answer}");
        }
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_text_and_a_number_that_look_alike_are_two_ids_at_once() {
    let daemon = Daemon::start(&[fake("a").tools("out_of_order")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    // Both are held back by the child until both are there.
    client
        .send(&call(1, "a__out_of_order", json!({ "me": "number" })))
        .await;
    client
        .send(&call("1", "a__out_of_order", json!({ "me": "text" })))
        .await;
    for _ in 0..2 {
        let answer = client.next_json().await;
        let wanted = if answer["id"] == 1 { "number" } else { "text" };
        assert_eq!(text_of(&answer), json!({ "me": wanted }).to_string(), "{answer}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn what_is_no_id_is_refused() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let http = daemon.http().await;
    let mut line = LineClient::greeted(&daemon.setup).await;
    for id in ["null", "true", "1.5", "{}", "[]"] {
        let asked = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list"}}"#);
        let reply = http.post(&asked).await;
        assert_eq!(reply.status, 400, "{id}");
        assert_eq!(reply.json().await["error"]["code"], -32600, "{id}");
        assert_eq!(line.ask_json(&asked).await["error"]["code"], -32600, "{id}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn an_id_that_is_in_flight_on_a_line_client_cannot_be_used_again() {
    let daemon = Daemon::start(&[fake("a").tools("hang,echo")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    client.send(&call(5, "a__hang", json!({}))).await;
    daemon.setup.called("a", "hang").await;
    let answer = client.ask_json(&call(5, "a__echo", json!({}))).await;
    assert_eq!(answer["error"]["code"], -32600, "{answer}");
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#)
        .await;
    daemon.setup.noted("a", "cancelled ").await;
    daemon.end().await;
}

/// Calls with the ids 1 to `n`, in rounds; every answer must be the caller's own.
async fn many_over_http(client: &HttpClient, who: &str, n: u64) {
    for id in 1..=n {
        let asked = call(id, "a__echo", json!({ "who": who, "n": id }));
        let answer: Value = serde_json::from_str(&client.ask(&asked).await).unwrap();
        assert_eq!(answer["id"], id);
        let told: Value = serde_json::from_str(text_of(&answer)).unwrap();
        assert_eq!(told, json!({ "who": who, "n": id }));
    }
}

async fn many_over_lines(client: &mut LineClient, who: &str, n: u64) {
    for id in 1..=n {
        client
            .send(&call(id, "a__echo", json!({ "who": who, "n": id })))
            .await;
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 1..=n {
        let answer = client.next_json().await;
        let told: Value = serde_json::from_str(text_of(&answer)).unwrap();
        assert_eq!(told, json!({ "who": who, "n": answer["id"] }));
        assert!(seen.insert(answer["id"].as_u64().unwrap()), "{answer} came twice");
    }
}

#[tokio::test]
async fn three_clients_with_the_same_ids_on_one_child_get_their_own_answers() {
    const N: u64 = 100;
    let daemon = Daemon::start(&[fake("a")]).await;
    let (one, two) = (daemon.http().await, daemon.http().await);
    let mut three = LineClient::greeted(&daemon.setup).await;
    tokio::join!(
        many_over_http(&one, "one", N),
        many_over_http(&two, "two", N),
        many_over_lines(&mut three, "three", N),
    );
    let starts = daemon
        .setup
        .journal("a")
        .iter()
        .filter(|line| line.starts_with("start "))
        .count();
    assert_eq!(starts, 1, "one process serves all clients");
    assert_eq!(daemon.setup.processes().len(), 1);
    daemon.end().await;
}
