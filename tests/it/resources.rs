//! Resources, prompts and completion through the wrapper.

use serde_json::{Value, json};

use crate::harness::{Daemon, HttpClient, LineClient, call, fake, names_of, request, text_of, until};

async fn resources(client: &HttpClient) -> Vec<String> {
    names_of(
        &client.request("resources/list", json!({})).await,
        "resources",
        "uri",
    )
}

async fn read(client: &HttpClient, uri: &str) -> Value {
    client.request("resources/read", json!({ "uri": uri })).await
}

#[tokio::test]
async fn resources_are_read_from_the_server_that_has_them() {
    let daemon = Daemon::start(&[
        fake("a").arg("--resources", "file:///a.txt,same://x"),
        fake("b")
            .arg("--resources", "same://x")
            .arg("--templates", "tpl://{id}/rest"),
    ])
    .await;
    let client = daemon.http().await;
    let uris = resources(&client).await;
    assert_eq!(uris, ["file:///a.txt", "same://x", "same://x?mcp-server=b"]);
    for uri in &uris {
        let answer = read(&client, uri).await;
        assert_eq!(answer["result"]["contents"][0]["uri"], *uri, "{answer}");
    }
    let reads = |server: &str| {
        let journal = daemon.setup.journal(server);
        journal
            .iter()
            .filter(|line| line.starts_with("in ") && line.contains("resources/read"))
            .count()
    };
    assert_eq!((reads("a"), reads("b")), (2, 1));
    let asked_of_b = daemon.setup.noted("b", "resources/read").await;
    assert!(
        !asked_of_b.contains("mcp-server"),
        "the child knows its own name only: {asked_of_b}"
    );
    let answer = read(&client, "tpl://7/rest").await;
    assert_eq!(
        answer["result"]["contents"][0]["text"], "text of tpl://7/rest",
        "{answer}"
    );
    let templates = client.request("resources/templates/list", json!({})).await;
    assert_eq!(
        names_of(&templates, "resourceTemplates", "uriTemplate"),
        ["tpl://{id}/rest"]
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_resource_that_nobody_has_is_not_found() {
    let daemon = Daemon::start(&[
        fake("a").arg("--resources", "x://1"),
        fake("b").arg("--resources", "y://1"),
    ])
    .await;
    let client = daemon.http().await;
    // The first is asked of the only server with this scheme; the other of nobody.
    for uri in ["x://2", "nobody://1", "none"] {
        let answer = read(&client, uri).await;
        assert_eq!(answer["error"]["code"], -32002, "{uri}: {answer}");
    }
    for params in [json!({}), json!({ "uri": 5 })] {
        let answer = client.request("resources/read", params).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    daemon.end().await;
}

fn updated(uri: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": uri } })
}

#[tokio::test]
async fn an_update_reaches_who_subscribed_and_nobody_else() {
    let daemon = Daemon::start(&[fake("a").tools("updated,echo").arg("--resources", "x://1,x://2")]).await;
    let mut one = LineClient::greeted(&daemon.setup).await;
    let mut two = LineClient::greeted(&daemon.setup).await;
    let other = daemon.http().await;
    let subscribe = |uri: &str| request(1, "resources/subscribe", json!({ "uri": uri }));
    assert_eq!(one.ask_json(&subscribe("x://1")).await["result"], json!({}));
    assert_eq!(two.ask_json(&subscribe("x://2")).await["result"], json!({}));
    text_of(&other.call("a__updated", json!({ "uri": "x://1" })).await);
    assert_eq!(one.next_json().await, updated("x://1"));
    text_of(&other.call("a__updated", json!({ "uri": "x://2" })).await);
    // Had the first update gone to the second client too, it would come first.
    assert_eq!(two.next_json().await, updated("x://2"));
    let unsubscribe = request(2, "resources/unsubscribe", json!({ "uri": "x://1" }));
    assert_eq!(one.ask_json(&unsubscribe).await["result"], json!({}));
    daemon.setup.noted("a", "unsubscribe x://1").await;
    text_of(&other.call("a__updated", json!({ "uri": "x://1" })).await);
    assert_eq!(one.ask_json(&call(3, "a__echo", json!({}))).await["id"], 3);
    daemon.end().await;
}

#[tokio::test]
async fn a_child_is_asked_once_for_many_subscribers_and_told_when_the_last_is_gone() {
    let daemon = Daemon::start(&[fake("a").arg("--resources", "x://1")]).await;
    let (one, two) = (daemon.http().await, daemon.http().await);
    for client in [&one, &two] {
        let answer = client
            .request("resources/subscribe", json!({ "uri": "x://1" }))
            .await;
        assert_eq!(answer["result"], json!({}), "{answer}");
    }
    let noted = |what: &str| {
        let journal = daemon.setup.journal("a");
        journal.iter().filter(|line| *line == what).count()
    };
    assert_eq!(one.mcp("DELETE", &[], "").await.status, 204);
    text_of(&two.call("a__echo", json!({})).await);
    assert_eq!((noted("subscribe x://1"), noted("unsubscribe x://1")), (1, 0));
    assert_eq!(two.mcp("DELETE", &[], "").await.status, 204);
    daemon.setup.noted("a", "unsubscribe x://1").await;
    daemon.end().await;
}

#[tokio::test]
async fn a_subscription_survives_the_death_of_the_process() {
    let daemon = Daemon::start(&[fake("a").tools("boom,updated").arg("--resources", "x://1")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    let subscribe = request(1, "resources/subscribe", json!({ "uri": "x://1" }));
    assert_eq!(client.ask_json(&subscribe).await["result"], json!({}));
    assert_eq!(
        client.ask_json(&call(2, "a__boom", json!({}))).await["error"]["code"],
        1001
    );
    // It may have missed something meanwhile, so it is told once.
    assert_eq!(client.next_json().await, updated("x://1"));
    let asked = daemon
        .setup
        .journal("a")
        .iter()
        .filter(|line| *line == "subscribe x://1")
        .count();
    assert_eq!(asked, 2);
    daemon.end().await;
}

#[tokio::test]
async fn prompts_are_renamed_and_got_and_completed() {
    let daemon = Daemon::start(&[
        fake("a").arg("--prompts", "p,q").arg("--page-size", "1"),
        fake("b").arg("--prompts", "p").arg("--templates", "t://{x}"),
    ])
    .await;
    let client = daemon.http().await;
    let list = client.request("prompts/list", json!({})).await;
    assert_eq!(names_of(&list, "prompts", "name"), ["a__p", "a__q", "b__p"]);
    let params = json!({ "name": "b__p", "arguments": { "k": "v" } });
    let got = client.request("prompts/get", params).await;
    assert_eq!(
        got["result"]["messages"][0]["content"]["text"], r#"prompt p {"k":"v"}"#,
        "{got}"
    );
    let unknown = client.request("prompts/get", json!({ "name": "p" })).await;
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    for reference in [
        json!({ "type": "ref/prompt", "name": "b__p" }),
        json!({ "type": "ref/resource", "uri": "t://{x}" }),
    ] {
        let params = json!({ "ref": reference, "argument": { "name": "k", "value": "ab" } });
        let answer = client.request("completion/complete", params).await;
        assert_eq!(
            answer["result"]["completion"]["values"],
            json!(["ab1", "ab2"]),
            "{answer}"
        );
    }
    let asked = daemon.setup.noted("b", "completion/complete").await;
    assert!(asked.contains(r#""name":"p""#), "{asked}");
    daemon.end().await;
}

#[tokio::test]
async fn log_messages_go_to_the_caller_who_asked_for_their_level() {
    let daemon = Daemon::start(&[fake("a").tools("log")]).await;
    let mut one = LineClient::greeted(&daemon.setup).await;
    let mut two = LineClient::greeted(&daemon.setup).await;
    assert_eq!(
        one.ask_json(&request(1, "logging/setLevel", json!({ "level": "info" })))
            .await["result"],
        json!({})
    );
    daemon.setup.noted("a", r#""level":"info""#).await;
    // A message may be overtaken by the answer.
    let mut came = [
        one.ask_json(&call(2, "a__log", json!({ "level": "info" }))).await,
        one.next_json().await,
    ];
    came.sort_by_key(|message| message["id"] == 2);
    let wanted = json!({ "level": "info", "logger": "a/fake-child", "data": "message 1" });
    assert_eq!((&came[0]["params"], &came[1]["id"]), (&wanted, &json!(2)));
    // The other has asked for nothing, and hears warnings only.
    assert_eq!(
        two.ask_json(&call(3, "a__log", json!({ "level": "info" }))).await["id"],
        3
    );
    let mut came = [
        two.ask_json(&call(4, "a__log", json!({ "level": "error" })))
            .await,
        two.next_json().await,
    ];
    came.sort_by_key(|message| message["id"] == 4);
    assert_eq!(
        (&came[0]["params"]["level"], &came[1]["id"]),
        (&json!("error"), &json!(4))
    );
    let answer = two
        .ask_json(&request(5, "logging/setLevel", json!({ "level": "loud" })))
        .await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    daemon.end().await;
}

#[tokio::test]
async fn the_log_level_of_a_server_rises_when_the_session_that_wanted_the_lowest_ends() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let [low, high] = [daemon.http().await, daemon.http().await];
    for (client, level) in [(&low, "debug"), (&high, "error")] {
        let set = client
            .request("logging/setLevel", json!({ "level": level }))
            .await;
        assert!(set["result"].is_object(), "{set}");
    }
    let last_told = || {
        let journal = daemon.setup.journal("a");
        let is_it = |line: &&String| line.starts_with("in ") && line.contains("logging/setLevel");
        journal.iter().rfind(is_it).cloned().unwrap_or_default()
    };
    assert!(last_told().contains("debug"), "{}", last_told());
    for (client, level) in [(&low, "error"), (&high, "warning")] {
        assert_eq!(client.mcp("DELETE", &[], "").await.status, 204);
        until(format!("level {level}"), async || {
            last_told().contains(level).then_some(())
        })
        .await;
    }
    let n_told = daemon
        .setup
        .journal("a")
        .iter()
        .filter(|line| line.contains("setLevel"))
        .count();
    // Who has set no level changes none.
    let plain = daemon.http().await;
    text_of(&plain.post(&call(1, "a__echo", json!({}))).await.json().await);
    let pinged = plain.ask(&request(2, "ping", json!({}))).await;
    assert!(pinged.contains("result"), "{pinged}");
    assert_eq!(plain.mcp("DELETE", &[], "").await.status, 204);
    let after = daemon
        .setup
        .journal("a")
        .iter()
        .filter(|line| line.contains("setLevel"))
        .count();
    assert_eq!(after, n_told);
    daemon.end().await;
}
