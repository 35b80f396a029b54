//! A URI that no list names goes to the server from which the client has it.

use serde_json::{Value, json};

use crate::harness::{Daemon, HttpClient, fake, text_of};

async fn read(client: &HttpClient, uri: &str) -> Value {
    client.request("resources/read", json!({ "uri": uri })).await
}

/// Has the server show URIs in the result of a tool.
async fn shown(client: &HttpClient, tool: &str, uris: [&str; 2]) {
    let link = json!({ "type": "resource_link", "uri": uris[0], "name": "n" });
    let embedded = json!({ "type": "resource", "resource": { "uri": uris[1], "text": "t" } });
    let result = json!({ "content": [link, embedded] });
    let answer = client.call(tool, json!({ "result": result.clone() })).await;
    assert_eq!(answer["result"], result, "the result itself is untouched");
}

async fn daemon() -> Daemon {
    Daemon::start(&[
        fake("a")
            .tools("raw,updated")
            .arg("--resources", "x://a")
            .arg("--templates", "x://t/{id}"),
        fake("b")
            .tools("raw,updated,echo")
            .arg("--resources", "x://b")
            .arg("--unlisted", "x://1,x://2,x://t/3,x://b/4"),
    ])
    .await
}

#[tokio::test]
async fn what_a_result_shows_can_be_read_by_who_was_shown_it_and_by_nobody_else() {
    let daemon = daemon().await;
    let (one, two) = (daemon.http().await, daemon.http().await);
    assert_eq!(
        read(&one, "x://1").await["error"]["code"],
        -32002,
        "nobody has shown it"
    );
    shown(&one, "b__raw", ["x://1", "x://2"]).await;
    for uri in ["x://1", "x://2"] {
        let answer = read(&one, uri).await;
        assert_eq!(
            answer["result"]["contents"][0]["text"],
            format!("text of {uri}"),
            "{answer}"
        );
        assert_eq!(read(&two, uri).await["error"]["code"], -32002, "{uri}");
    }
    assert!(
        !daemon
            .setup
            .journal("a")
            .iter()
            .any(|line| line.contains("x://1"))
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_list_counts_more_than_what_was_shown_and_a_template_less() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    shown(&client, "b__raw", ["x://a", "x://t/3"]).await;
    for (uri, server) in [("x://a", "a"), ("x://t/3", "b"), ("x://t/5", "a")] {
        let answer = read(&client, uri).await;
        assert_eq!(answer["result"]["contents"][0]["uri"], uri, "{answer}");
        let asked = daemon.setup.noted(server, "resources/read").await;
        assert!(asked.starts_with("in "), "{asked}");
        let journal = daemon.setup.journal(server);
        let is_read = |line: &String| line.contains("resources/read") && line.contains(uri);
        assert!(journal.iter().any(is_read), "{uri} is not read from {server}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn what_was_shown_can_be_subscribed_to_and_completed_and_left_again() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    let subscribe = json!({ "uri": "x://1" });
    let refused = client.request("resources/subscribe", subscribe.clone()).await;
    assert_eq!(refused["error"]["code"], -32002, "{refused}");
    shown(&client, "b__raw", ["x://1", "x://2"]).await;
    let answer = client.request("resources/subscribe", subscribe.clone()).await;
    assert_eq!(answer["result"], json!({}), "{answer}");
    daemon.setup.noted("b", "subscribe x://1").await;
    let mut stream = client.stream().await;
    text_of(&client.call("b__updated", json!({ "uri": "x://1" })).await);
    assert_eq!(stream.next_json().await["params"]["uri"], "x://1");
    let reference = json!({ "type": "ref/resource", "uri": "x://2" });
    let params = json!({ "ref": reference, "argument": { "name": "k", "value": "v" } });
    let completed = client.request("completion/complete", params).await;
    assert_eq!(
        completed["result"]["completion"]["values"][0], "v1",
        "{completed}"
    );
    daemon.setup.noted("b", "completion/complete").await;
    let left = client.request("resources/unsubscribe", subscribe).await;
    assert_eq!(left["result"], json!({}), "{left}");
    daemon.setup.noted("b", "unsubscribe x://1").await;
    daemon.end().await;
}

#[tokio::test]
async fn what_news_name_can_be_read() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    let answer = client
        .request("resources/subscribe", json!({ "uri": "x://b" }))
        .await;
    assert_eq!(answer["result"], json!({}), "{answer}");
    assert_eq!(read(&client, "x://b/4").await["error"]["code"], -32002);
    let mut stream = client.stream().await;
    text_of(&client.call("b__updated", json!({ "uri": "x://b/4" })).await);
    assert_eq!(stream.next_json().await["params"]["uri"], "x://b/4");
    let answer = read(&client, "x://b/4").await;
    assert_eq!(
        answer["result"]["contents"][0]["text"], "text of x://b/4",
        "{answer}"
    );
    daemon.end().await;
}
