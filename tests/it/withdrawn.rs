//! Questions after the call that asked: their end at the child, and with the child.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::http::Reply;
use crate::harness::{Daemon, HttpClient, able, call, fake, text_of};

async fn opener(daemon: &Daemon, name: &str) -> HttpClient {
    let capabilities = json!({ "elicitation": { "url": {} }, "roots": {} });
    daemon.introduced(able("2025-11-25", &capabilities, name)).await
}

/// The child asks this client to open a page, and the client agrees.
async fn open(client: &HttpClient, elicitation: &str) {
    let params = json!({ "mode": "url", "message": "Log in", "url": "https://x.example", "elicitationId": elicitation });
    let arguments = json!({ "method": "elicitation/create", "params": params });
    let mut reply = client.post(&call(1, "a__ask", arguments)).await;
    let question = reply.next_json().await;
    assert_eq!(question["params"]["elicitationId"], elicitation, "{question}");
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "accept" } });
    assert_eq!(client.post(&answer.to_string()).await.status, 202);
    assert!(text_of(&reply.next_json().await).contains("accept"));
}

/// The child says, while this client calls, that the page was opened.
async fn complete(client: &HttpClient, elicitation: &str) {
    let arguments = json!({
        "do": "notify",
        "method": "notifications/elicitation/complete",
        "params": { "elicitationId": elicitation, "x": 1.0 },
    });
    client.call("a__ask", arguments).await;
}

#[track_caller]
fn is_complete(message: &Value, elicitation: &str) {
    assert_eq!(
        message["method"], "notifications/elicitation/complete",
        "{message}"
    );
    let wanted = json!({ "elicitationId": elicitation, "x": 1.0 });
    assert_eq!(message["params"], wanted, "{message}");
}

#[tokio::test]
async fn that_a_page_was_opened_is_told_to_the_client_that_was_asked_only() {
    let daemon = Daemon::start(&[fake("a").tools("ask")]).await;
    let (one, two) = (opener(&daemon, "one").await, opener(&daemon, "two").await);
    let (mut stream, mut other): (Reply, Reply) = (one.stream().await, two.stream().await);
    open(&one, "of one").await;
    open(&two, "of two").await;
    // Whoever calls meanwhile; and what nobody was asked is told to nobody.
    for (teller, elicitation) in [(&one, "of nobody"), (&two, "of one"), (&one, "of two")] {
        complete(teller, elicitation).await;
    }
    is_complete(&stream.next_json().await, "of one");
    is_complete(&other.next_json().await, "of two");
    // Nothing else was on its way: what comes next is new.
    for (client, stream) in [(&one, &mut stream), (&two, &mut other)] {
        let last = format!("last of {stream:p}");
        open(client, &last).await;
        complete(client, &last).await;
        is_complete(&stream.next_json().await, &last);
    }
    daemon.end().await;
}

#[tokio::test]
async fn who_was_told_by_an_error_to_open_a_page_hears_that_it_was_opened() {
    let daemon = Daemon::start(&[fake("a").tools("ask")]).await;
    let (one, two) = (opener(&daemon, "one").await, opener(&daemon, "two").await);
    let (mut stream, mut other): (Reply, Reply) = (one.stream().await, two.stream().await);
    for (client, elicitation) in [(&one, "of one"), (&two, "of two")] {
        let needed = json!([{ "mode": "url", "message": "m", "url": "https://x.example", "elicitationId": elicitation }]);
        let error = json!({ "code": -32042, "message": "Log in first.", "data": { "elicitations": needed } });
        let answer = client
            .call("a__ask", json!({ "do": "raw_error", "error": error }))
            .await;
        assert_eq!(answer["error"]["code"], -32042, "{answer}");
    }
    complete(&one, "of two").await;
    complete(&two, "of one").await;
    is_complete(&stream.next_json().await, "of one");
    is_complete(&other.next_json().await, "of two");
    daemon.end().await;
}

#[tokio::test]
async fn what_a_process_asked_outside_of_a_call_is_taken_back_when_another_takes_its_place() {
    let daemon = Daemon::start(&[fake("a").tools("ask,pid,echo").key("sharing", "\"per-session\"")]).await;
    let client = opener(&daemon, "it").await;
    let mut stream = client.stream().await;
    let pid = text_of(&client.call("a__pid", json!({})).await).parse().unwrap();
    let asks = json!({ "method": "roots/list", "at_once": "yes" });
    assert_eq!(text_of(&client.call("a__ask", asks).await), "asks later");
    let question = stream.next_json().await;
    assert_eq!(question["method"], "roots/list", "{question}");
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let told = stream.next_json().await;
    assert_eq!(told["method"], "notifications/cancelled", "{told}");
    assert_eq!(told["params"]["requestId"], question["id"], "{told}");
    // An answer that is too late reaches nobody, also not the process in its place.
    let late = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "roots": [] } });
    assert_eq!(client.post(&late.to_string()).await.status, 202);
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    let journal = daemon.setup.journal("a");
    assert!(
        !journal.iter().any(|line| line.contains(r#""roots":[]"#)),
        "{journal:?}"
    );
    daemon.end().await;
}
