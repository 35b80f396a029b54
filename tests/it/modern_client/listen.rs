//! Streams of changes over HTTP.

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::harness::bare::Bare;
use crate::harness::http::Reply;
use crate::harness::{Daemon, fake, until};

const ID: &str = "io.modelcontextprotocol/subscriptionId";

async fn listen(client: &Bare, id: impl Into<Value>, filter: Value) -> Reply {
    let reply = client
        .begin(id, "subscriptions/listen", json!({ "notifications": filter }))
        .await;
    assert_eq!((reply.status, reply.is_stream()), (200, true));
    reply
}

#[tokio::test]
async fn what_was_asked_for_is_acknowledged_and_told_and_nothing_else() {
    let tools = "echo,grow,updated,changed";
    let children = [
        fake("a").tools(tools).arg("--resources", "x://1,x://2"),
        fake("m")
            .arg("--era", "modern")
            .tools(tools)
            .arg("--resources", "y://1"),
    ];
    let daemon = Daemon::start(&children).await;
    let client = Bare::new(&daemon.address);
    let uris = json!(["x://1", "y://1", "z://nobody"]);
    let mut all = listen(
        &client,
        "7",
        json!({ "toolsListChanged": true, "resourceSubscriptions": uris }),
    )
    .await;
    let mut none = listen(&client, 7, json!({ "promptsListChanged": false })).await;
    let first = all.next_json().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    let honoured = json!({ "toolsListChanged": true, "resourceSubscriptions": ["x://1", "y://1"] });
    assert_eq!(first["params"]["notifications"], honoured);
    assert_eq!(first["params"]["_meta"][ID], "7");
    let first = none.next_json().await;
    assert_eq!(
        (&first["params"]["notifications"], &first["params"]["_meta"][ID]),
        (&json!({}), &json!(7))
    );
    for (server, uri) in [("a", "x://1"), ("m", "y://1")] {
        until("a server that knows of it", async || {
            let journal = daemon.setup.journal(server);
            let knows = |line: &String| {
                (line.starts_with("subscribe") || line.starts_with("listen {") || line.starts_with("listen "))
                    && line.contains(uri)
            };
            journal.iter().any(knows).then_some(())
        })
        .await;
        // Of another resource nobody asked.
        client
            .call(&format!("{server}__updated"), json!({ "uri": "x://2" }))
            .await;
        client
            .call(&format!("{server}__updated"), json!({ "uri": uri }))
            .await;
        let told = all.next_json().await;
        assert_eq!(told["method"], "notifications/resources/updated", "{told}");
        assert_eq!(
            (&told["params"]["uri"], &told["params"]["_meta"][ID]),
            (&json!(uri), &json!("7"))
        );
        client
            .call(&format!("{server}__grow"), json!({ "name": "fresh" }))
            .await;
        let told = all.next_json().await;
        assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
        assert_eq!(told["params"]["_meta"][ID], "7");
    }
    // When the daemon goes, both end well; the second has heard of nothing.
    kill(daemon.pid(), Signal::SIGTERM).unwrap();
    for (mut stream, id) in [(all, json!("7")), (none, json!(7))] {
        let last = stream.next_json().await;
        assert_eq!(last["id"], id, "{last}");
        assert_eq!(last["result"]["resultType"], "complete");
        assert_eq!(last["result"]["_meta"][ID], id);
        assert!(stream.next_event().await.is_none());
    }
    daemon.ended().await;
}

#[tokio::test]
async fn what_is_no_filter_is_refused_and_the_last_who_leaves_is_noticed() {
    let daemon = Daemon::start(&[fake("a").tools("echo,updated").arg("--resources", "x://1")]).await;
    let client = Bare::new(&daemon.address);
    for params in [json!({}), json!({ "notifications": { "toolsListChanged": 1 } })] {
        let refused = client.begin(1, "subscriptions/listen", params).await;
        assert!(!refused.is_stream());
        assert_eq!(refused.json().await["error"]["code"], -32602);
    }
    let filter = json!({ "resourceSubscriptions": ["x://1"] });
    let mut one = listen(&client, 1, filter.clone()).await;
    let mut two = listen(&client, 1, filter).await;
    for stream in [&mut one, &mut two] {
        stream.next_json().await;
    }
    client.call("a__updated", json!({ "uri": "x://1" })).await;
    for stream in [&mut one, &mut two] {
        assert_eq!(stream.next_json().await["params"]["uri"], "x://1");
    }
    drop(one);
    client.call("a__updated", json!({ "uri": "x://1" })).await;
    assert_eq!(two.next_json().await["params"]["uri"], "x://1");
    drop(two);
    daemon.setup.noted("a", "unsubscribe x://1").await;
    daemon.end().await;
}
