//! Folders: those that the operator names, and those of the owner of a process.

use serde_json::{Value, json};

use crate::harness::fake::Fake;
use crate::harness::{Daemon, HttpClient, able, fake, soon, text_of};

const FOLDERS: &str = r#"["/srv/a b", "~/docs"]"#;

fn asker() -> Fake {
    fake("a").tools("ask,echo")
}

/// What the child declares to have seen in its last handshake.
fn declared(daemon: &Daemon) -> Value {
    let journal = daemon.setup.journal("a");
    let seen = journal
        .iter()
        .rfind(|line| line.contains(r#""method":"initialize""#));
    let seen: Value = serde_json::from_str(seen.unwrap().strip_prefix("in ").unwrap()).unwrap();
    seen["params"]["capabilities"].clone()
}

/// The answer that the child gets when it asks for folders during a call.
async fn asked(client: &HttpClient) -> Value {
    let answer = client.call("a__ask", json!({ "method": "roots/list" }));
    let answer = soon("an answer without a question to the client", answer).await;
    serde_json::from_str(text_of(&answer)).unwrap()
}

fn named(daemon: &Daemon) -> Value {
    let home = daemon.path().display().to_string();
    json!({ "roots": [{ "uri": "file:///srv/a%20b" }, { "uri": format!("file://{home}/docs") }] })
}

#[tokio::test]
async fn a_process_that_clients_share_is_told_of_no_folders_unless_the_operator_names_some() {
    let daemon = Daemon::start(&[asker()]).await;
    assert!(declared(&daemon)["roots"].is_null());
    assert_eq!(asked(&daemon.http().await).await["error"]["code"], -32601);
    daemon.end().await;

    let daemon = Daemon::start(&[asker().key("roots", FOLDERS)]).await;
    assert_eq!(declared(&daemon)["roots"], json!({}));
    // It is not asked, though it has folders; and neither is the client that has none.
    let able = daemon
        .introduced(able("2025-11-25", &json!({ "roots": {} }), "it"))
        .await;
    for client in [&able, &daemon.http().await] {
        assert_eq!(asked(client).await["result"], named(&daemon));
    }
    daemon.end().await;
}

#[tokio::test]
async fn folders_of_the_operator_are_told_outside_of_any_call() {
    let daemon = Daemon::start(&[asker().key("roots", FOLDERS)]).await;
    let arguments = json!({ "method": "roots/list", "at_once": "yes" });
    let answer = daemon.http().await.call("a__ask", arguments).await;
    assert_eq!(text_of(&answer), "asks later");
    let heard = format!(
        r#"in {{"jsonrpc":"2.0","id":"ask-1","result":{}}}"#,
        named(&daemon)
    );
    daemon.setup.noted("a", &heard).await;
    daemon.end().await;
}

#[tokio::test]
async fn an_owners_own_folders_win() {
    let owned = asker().key("roots", FOLDERS).key("sharing", "\"per-session\"");
    let daemon = Daemon::start(&[owned]).await;
    let without = daemon.http().await;
    assert_eq!(asked(&without).await["result"], named(&daemon));
    assert_eq!(declared(&daemon), json!({ "roots": {} }));

    let with = daemon
        .introduced(able(
            "2025-11-25",
            &json!({ "roots": { "listChanged": true } }),
            "it",
        ))
        .await;
    let mut reply = with
        .post(&crate::harness::call(
            1,
            "a__ask",
            json!({ "method": "roots/list" }),
        ))
        .await;
    let question = reply.next_json().await;
    assert_eq!(question["method"], "roots/list", "{question}");
    assert_eq!(declared(&daemon), json!({ "roots": { "listChanged": true } }));
    let own = json!({ "roots": [{ "uri": "file:///own" }] });
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": own });
    assert_eq!(with.post(&answer.to_string()).await.status, 202);
    let heard: Value = serde_json::from_str(text_of(&reply.next_json().await)).unwrap();
    assert_eq!(heard["result"], own);
    daemon.end().await;
}
