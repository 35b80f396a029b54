//! Servers that ask within calls of several clients at once: `interactive_policy = "pool"` keeps the calls apart.

use serde_json::{Value, json};

use crate::harness::bare::{Bare, calling, keys_of};
use crate::harness::fake::Fake;
use crate::harness::http::Reply;
use crate::harness::{Daemon, HttpClient, able, call, fake, text_of, until};

fn asker() -> Fake {
    fake("a")
        .tools("pid,ask,sleep,echo")
        .key("interactive_policy", "\"pool\"")
}

async fn client(daemon: &Daemon, name: &str) -> HttpClient {
    let all = json!({ "elicitation": {}, "sampling": {} });
    daemon.introduced(able("2025-11-25", &all, name)).await
}

async fn pid(client: &HttpClient) -> i32 {
    text_of(&client.call("a__pid", json!({})).await).parse().unwrap()
}

async fn pid_for_bare(client: &Bare) -> i32 {
    text_of(&client.call("a__pid", json!({})).await).parse().unwrap()
}

fn asking(who: &str) -> Value {
    let schema = json!({ "type": "object", "properties": {} });
    json!({ "method": "elicitation/create", "params": { "message": who, "requestedSchema": schema } })
}

/// A call in which the server asks its client, up to the question: the stream, and the question's id.
async fn asked(client: &HttpClient, who: &str) -> (Reply, Value) {
    let mut reply = client.post(&call(7, "a__ask", asking(who))).await;
    let question = reply.next_json().await;
    assert!(
        question["params"]["message"].as_str().unwrap().ends_with(who),
        "{question}"
    );
    (reply, question["id"].clone())
}

/// Answers it: the call's own answer holds this one.
async fn answers(client: &HttpClient, (mut reply, id): (Reply, Value), who: &str) {
    let result = json!({ "action": "accept", "content": { "who": who } });
    let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    assert_eq!(client.post(&answer.to_string()).await.status, 202);
    let told = reply.next_json().await;
    let heard: Value = serde_json::from_str(text_of(&told)).unwrap();
    assert_eq!(heard["result"]["content"]["who"], who, "{told}");
}

/// The same for a client that is asked in results.
async fn bare_asked(client: &Bare, who: &str) -> (Value, Value) {
    let params = calling("a__ask", asking(who));
    let needs = client.ask("tools/call", params.clone()).await;
    let message = &needs["result"]["inputRequests"][&keys_of(&needs)[0]]["params"]["message"];
    assert!(message.as_str().unwrap().ends_with(who), "{needs}");
    (params, needs)
}

async fn bare_answers(client: &Bare, (params, needs): (Value, Value), who: &str) {
    let result = json!({ "action": "accept", "content": { "who": who } });
    let told = client
        .back(&params, &needs, json!({ keys_of(&needs).remove(0): result }))
        .await;
    let heard: Value = serde_json::from_str(text_of(&told)).unwrap();
    assert_eq!(heard["result"]["content"]["who"], who, "{told}");
}

#[tokio::test]
async fn while_one_client_thinks_another_is_asked_too() {
    let daemon = Daemon::start(&[asker()]).await;
    let (one, two) = (Bare::new(&daemon.address), Bare::new(&daemon.address));
    let first = bare_asked(&one, "one").await;
    let second = bare_asked(&two, "two").await;
    let third = bare_asked(&two, "three").await;
    assert_eq!(
        daemon.setup.processes().len(),
        3,
        "one for each call that is open"
    );
    bare_answers(&two, third, "three").await;
    bare_answers(&two, second, "two").await;
    bare_answers(&one, first, "one").await;
    // Who comes now finds the shared one free.
    let shared = daemon.child_pid("a").await;
    assert_eq!(pid_for_bare(&one).await, shared);
    let again = bare_asked(&two, "again").await;
    bare_answers(&two, again, "again").await;
    assert_eq!(
        daemon.setup.processes().len(),
        3,
        "those that are there are used again"
    );
    daemon.end().await;
}

#[tokio::test]
async fn clients_with_a_handshake_keep_the_process_they_were_given() {
    let children = [asker(), asker().arg("--era", "dual")];
    for child in children {
        let daemon = Daemon::start(&[child]).await;
        let (one, two) = (client(&daemon, "one").await, client(&daemon, "two").await);
        let shared = pid(&one).await;
        assert_eq!(pid(&two).await, shared, "nobody was asked anything yet");
        let first = asked(&one, "one").await;
        let second = asked(&two, "two").await;
        answers(&two, second, "two").await;
        let own = pid(&two).await;
        assert_ne!(own, shared);
        answers(&one, first, "one").await;
        assert_eq!((pid(&one).await, pid(&two).await), (shared, own));
        // Several calls of one client are in one process, as ever.
        let first = asked(&one, "one").await;
        assert_eq!(pid(&one).await, shared);
        answers(&one, first, "one").await;
        daemon.tells(&["status", "a"], &["all in turn ready"]).await;
        daemon.end().await;
    }
}

#[tokio::test]
async fn with_as_many_processes_as_allowed_one_more_waits_and_is_told_which_limit_it_is() {
    let child = asker().key("instances_max", "1").key("queue_wait", "\"1s\"");
    let daemon = Daemon::start(&[child]).await;
    let (one, two) = (client(&daemon, "one").await, client(&daemon, "two").await);
    let three = client(&daemon, "three").await;
    let first = asked(&one, "one").await;
    let second = asked(&two, "two").await;
    let refused = three.call("a__ask", asking("three")).await;
    assert_eq!(refused["error"]["code"], 1004, "{refused}");
    let why = refused["error"]["message"].as_str().unwrap();
    assert!(why.contains("instances_max"), "{why}");
    // Who cannot be asked needs not wait.
    let mute = daemon.http().await;
    assert_eq!(
        text_of(&mute.call("a__echo", json!({ "x": 1 })).await),
        r#"{"x":1}"#
    );
    let (third, ()) = tokio::join!(asked(&three, "three"), async {
        answers(&two, second, "two").await;
    });
    answers(&three, third, "three").await;
    answers(&one, first, "one").await;
    assert_eq!(daemon.setup.processes().len(), 2);
    daemon.end().await;
}

#[tokio::test]
async fn a_client_that_cannot_be_asked_brings_nobodys_question_in_doubt() {
    let daemon = Daemon::start(&[asker()]).await;
    let (one, mute) = (client(&daemon, "one").await, daemon.http().await);
    let first = asked(&one, "one").await;
    answers(&one, first, "one").await;
    let slept = async {
        let answer = mute.call("a__sleep", json!({ "ms": 1500 })).await;
        text_of(&answer).to_owned()
    };
    let (slept, ()) = tokio::join!(slept, async {
        daemon.setup.called("a", "sleep").await;
        let question = asked(&one, "again").await;
        answers(&one, question, "again").await;
    });
    assert_eq!(slept, r#"{"ms":1500}"#);
    daemon.end().await;
}

#[tokio::test]
async fn processes_that_nobody_uses_end_and_the_shared_one_stays() {
    let daemon = Daemon::start(&[asker().key("instance_idle", "\"300ms\"")]).await;
    let shared = daemon.child_pid("a").await;
    let (one, two) = (client(&daemon, "one").await, client(&daemon, "two").await);
    let first = asked(&one, "one").await;
    let second = asked(&two, "two").await;
    answers(&two, second, "two").await;
    until("the end of the other", async || {
        (daemon.setup.processes() == [shared]).then_some(())
    })
    .await;
    answers(&one, first, "one").await;
    assert_eq!(pid(&two).await, shared);
    daemon.end().await;
}
