//! Servers that answer both eras: each client is served in its own, as if they met directly.

use serde_json::{Value, json};

use crate::harness::bare::{Bare, calling, keys_of};
use crate::harness::fake::Fake;
use crate::harness::{Daemon, HttpClient, Setup, able, call, fake, text_of, until};

fn both() -> Fake {
    fake("a")
        .arg("--era", "dual")
        .tools("pid,ask,echo,updated,boom,hang,log,sleep,interview")
        .arg("--resources", "x://1")
        .arg("--prompts", "p")
}

fn all() -> Value {
    json!({ "elicitation": {}, "sampling": {}, "roots": { "listChanged": true } })
}

async fn asked_one(daemon: &Daemon, name: &str) -> HttpClient {
    daemon.introduced(able("2025-11-25", &all(), name)).await
}

/// A client that cannot be asked anything.
async fn quiet(daemon: &Daemon) -> HttpClient {
    daemon.http().await
}

async fn pid(client: &HttpClient) -> i32 {
    text_of(&client.call("a__pid", json!({})).await).parse().unwrap()
}

async fn pid_for_bare(client: &Bare) -> i32 {
    text_of(&client.call("a__pid", json!({})).await).parse().unwrap()
}

/// How often a line stands in a journal.
fn n_of(setup: &Setup, part: &str) -> usize {
    let journal = setup.journal("a");
    journal.iter().filter(|line| line.contains(part)).count()
}

const SHAKE: &str = r#""method":"initialize""#;

fn question(method: &str, who: &str) -> Value {
    let params = match method {
        "elicitation/create" => {
            json!({ "message": who, "requestedSchema": { "type": "object", "properties": {} } })
        }
        _ => json!({ "messages": [], "maxTokens": 1, "who": who }),
    };
    json!({ "method": method, "params": params })
}

/// Lets the server ask its client in the way of the handshake era, and answers.
async fn asked(client: &HttpClient, method: &str, who: &str) {
    let mut reply = client.post(&call(7, "a__ask", question(method, who))).await;
    let asked = reply.next_json().await;
    assert_eq!(asked["method"], method, "{asked}");
    assert!(
        asked.to_string().contains(who) || method == "roots/list",
        "{asked}"
    );
    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "who": who } });
    assert_eq!(client.post(&answer.to_string()).await.status, 202);
    let told = reply.next_json().await;
    let heard: Value = serde_json::from_str(text_of(&told)).unwrap();
    assert_eq!(heard["result"], json!({ "who": who }), "{told}");
    // A request of the server's own: what it was answered bears its id.
    assert!(heard["id"].as_str().unwrap().starts_with("ask-"), "{heard}");
}

#[tokio::test]
async fn what_such_a_server_asks_in_the_older_way_reaches_a_client_with_a_handshake() {
    let daemon = Daemon::start(&[both()]).await;
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = daemon.introduced(able(revision, &all(), "it")).await;
        for method in ["elicitation/create", "sampling/createMessage", "roots/list"] {
            asked(&client, method, "you").await;
        }
    }
    assert_eq!(n_of(&daemon.setup, SHAKE), 1, "one process for all of them");
    daemon.end().await;
}

#[tokio::test]
async fn the_same_server_asks_a_client_without_one_in_its_results() {
    let daemon = Daemon::start(&[both()]).await;
    let old = asked_one(&daemon, "old").await;
    asked(&old, "elicitation/create", "old").await;
    let new = Bare::new(&daemon.address);
    let params = calling("a__ask", question("elicitation/create", "new"));
    let needs = new.ask("tools/call", params.clone()).await;
    let key = keys_of(&needs).remove(0);
    let told = new
        .back(&params, &needs, json!({ key: { "action": "cancel" } }))
        .await;
    let heard: Value = serde_json::from_str(text_of(&told)).unwrap();
    assert_eq!(heard, json!({ "result": { "action": "cancel" } }));
    let first = daemon.child_pid("a").await;
    assert_eq!(pid_for_bare(&new).await, first);
    assert_ne!(pid(&old).await, first);
    daemon.end().await;
}

#[tokio::test]
async fn clients_with_a_handshake_share_a_process_and_are_never_mixed_up() {
    let daemon = Daemon::start(&[both()]).await;
    let (one, two) = (asked_one(&daemon, "one").await, asked_one(&daemon, "two").await);
    assert_eq!(pid(&one).await, pid(&two).await);
    for round in 1..=5 {
        for (client, who) in [(&one, "one"), (&two, "two")] {
            asked(client, "sampling/createMessage", &format!("{who}-{round}")).await;
        }
    }
    // With calls of both in flight it is not known whose a question is, and nobody is asked.
    let late = json!({ "ms": 400, "method": "sampling/createMessage", "params": { "messages": [] } });
    let late = call(1, "a__ask", late);
    let (asking, slept) = tokio::join!(one.post(&late), async {
        daemon.setup.noted("a", r#""ms":400"#).await;
        two.post(&call(1, "a__sleep", json!({ "ms": 1500 }))).await
    });
    assert!(!slept.is_stream(), "this one was sent the other's question");
    let heard: Value = serde_json::from_str(text_of(&asking.json().await)).unwrap();
    assert_eq!(heard["error"]["code"], -1, "{heard}");
    daemon.end().await;
}

#[tokio::test]
async fn a_client_that_cannot_be_asked_starts_nothing() {
    let daemon = Daemon::start(&[both()]).await;
    let first = daemon.child_pid("a").await;
    let (mute, bare) = (quiet(&daemon).await, Bare::new(&daemon.address));
    assert_eq!((pid(&mute).await, pid_for_bare(&bare).await), (first, first));
    let read = mute.request("resources/read", json!({ "uri": "x://1" })).await;
    assert!(read["result"]["contents"].is_array(), "{read}");
    assert_eq!(
        (n_of(&daemon.setup, SHAKE), daemon.setup.processes().len()),
        (0, 1)
    );
    assert!(daemon.server("a").await["n_owned"].is_null());
    daemon.end().await;
}

#[tokio::test]
async fn all_that_such_a_client_wants_of_the_server_goes_to_that_process() {
    let daemon = Daemon::start(&[both()]).await;
    let client = asked_one(&daemon, "it").await;
    let read = client.request("resources/read", json!({ "uri": "x://1" })).await;
    assert!(read["result"]["contents"].is_array(), "{read}");
    let prompt = client.request("prompts/get", json!({ "name": "a__p" })).await;
    assert!(prompt["result"]["messages"].is_array(), "{prompt}");
    let reference = json!({ "type": "ref/prompt", "name": "a__p" });
    let completion = json!({ "ref": reference, "argument": { "name": "x", "value": "" } });
    let completed = client.request("completion/complete", completion).await;
    assert!(completed["result"]["completion"].is_object(), "{completed}");
    let level = client
        .request("logging/setLevel", json!({ "level": "debug" }))
        .await;
    assert_eq!(level["result"], json!({}), "{level}");
    text_of(&client.call("a__echo", json!({})).await);
    let journal = daemon.setup.journal("a");
    let heard: Vec<Value> = journal
        .iter()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("in ")?).ok())
        .collect();
    let is_modern = |message: &Value| message["params"]["_meta"].to_string().contains("protocolVersion");
    for method in [
        "resources/read",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
        "tools/call",
    ] {
        let mut of_method = heard.iter().filter(|message| message["method"] == method);
        let one = of_method.next().unwrap_or_else(|| panic!("no {method}"));
        assert!(!is_modern(one) && of_method.next().is_none(), "{method}: {one}");
    }
    // What is on offer is told by the first.
    let listed = heard.iter().filter(|message| message["method"] == "tools/list");
    assert!(listed.into_iter().all(is_modern));
    daemon.end().await;
}

#[tokio::test]
async fn a_call_that_is_taken_back_is_so_at_the_process_that_has_it() {
    let daemon = Daemon::start(&[both()]).await;
    let client = asked_one(&daemon, "it").await;
    let line = call(5, "a__hang", json!({}));
    let cancelling = async {
        daemon.setup.called("a", "hang").await;
        let line = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#;
        assert_eq!(client.post(line).await.status, 202);
        daemon.setup.noted("a", "notifications/cancelled").await
    };
    tokio::select! {
        told = cancelling => assert!(told.contains("requestId") && n_of(&daemon.setup, SHAKE) == 1, "{told}"),
        () = async { drop(client.post(&line).await); std::future::pending().await } => {}
    }
    daemon.end().await;
}

#[tokio::test]
async fn when_that_process_ends_in_a_call_that_call_fails_and_the_next_is_answered() {
    let daemon = Daemon::start(&[both()]).await;
    let client = asked_one(&daemon, "it").await;
    let (first, before) = (daemon.child_pid("a").await, pid(&client).await);
    let answer = client.call("a__boom", json!({})).await;
    assert!(answer["error"].is_object(), "{answer}");
    let after = pid(&client).await;
    assert!(after != before && after != first);
    asked(&client, "elicitation/create", "again").await;
    assert_eq!(daemon.child_pid("a").await, first, "the other did not notice");
    assert_eq!(n_of(&daemon.setup, SHAKE), 2);
    daemon.end().await;
}

async fn subscribed(client: &HttpClient) {
    let answer = client
        .request("resources/subscribe", json!({ "uri": "x://1" }))
        .await;
    assert_eq!(answer["result"], json!({}), "{answer}");
}

/// The process that the client's calls reach tells of the resource, and the client hears it.
async fn hears(client: &HttpClient) {
    let mut stream = client.stream().await;
    text_of(&client.call("a__updated", json!({ "uri": "x://1" })).await);
    loop {
        let news = stream.next_json().await;
        if news["method"] == "notifications/resources/updated" {
            assert_eq!(news["params"]["uri"], "x://1", "{news}");
            return;
        }
    }
}

#[tokio::test]
async fn a_subscription_follows_from_process_to_process() {
    let daemon = Daemon::start(&[both()]).await;
    let client = asked_one(&daemon, "it").await;
    subscribed(&client).await;
    hears(&client).await;
    let n_subscribed = || n_of(&daemon.setup, "subscribe x://1");
    assert_eq!(n_subscribed(), 1);
    client.call("a__boom", json!({})).await;
    until("a fresh process that was asked again", async || {
        (n_subscribed() == 2).then_some(())
    })
    .await;
    hears(&client).await;
    // Nobody calls: the subscription alone brings the process back.
    let ran = daemon.mcpctl(&["restart", "a"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    until("the next that was asked again", async || {
        (n_subscribed() == 3).then_some(())
    })
    .await;
    hears(&client).await;
    let left = client
        .request("resources/unsubscribe", json!({ "uri": "x://1" }))
        .await;
    assert_eq!(left["result"], json!({}), "{left}");
    daemon.setup.noted("a", "unsubscribe x://1").await;
    daemon.end().await;
}

#[tokio::test]
async fn a_session_of_before_the_daemons_restart_is_served_as_before() {
    let daemon = Daemon::start(&[both()]).await;
    let client = asked_one(&daemon, "it").await;
    subscribed(&client).await;
    let session = client.session.clone();
    let setup = daemon.end_but_keep().await;
    let daemon = setup.start().await;
    daemon.ready("a").await;
    until("a process that was asked again", async || {
        (n_of(&daemon.setup, "subscribe x://1") == 2).then_some(())
    })
    .await;
    let mut client = HttpClient::new(&daemon.address);
    client.session = session;
    hears(&client).await;
    asked(&client, "elicitation/create", "again").await;
    daemon.end().await;
}

#[tokio::test]
async fn the_operator_sees_that_process_and_it_goes_with_its_server() {
    let daemon = Daemon::start(&[both()]).await;
    let client = asked_one(&daemon, "it").await;
    let twin = pid(&client).await;
    let server = daemon.server("a").await;
    assert_eq!(
        (&server["n_owned"], &server["revision"]),
        (&json!(1), &json!("2026-07-28"))
    );
    let shown = &server["owned"][0];
    assert_eq!(
        (&shown["pid"], &shown["era"]),
        (&json!(twin), &json!("legacy")),
        "{server}"
    );
    let words = ["all with a handshake", "speaks 2025-11-25"];
    daemon.tells(&["status", "a"], &words).await;
    let gone = async |what: &str| {
        until(format!("no process after {what}"), async || {
            daemon.setup.processes().is_empty().then_some(())
        })
        .await;
    };
    assert_eq!(daemon.mcpctl(&["stop", "a"]).await.code, 0);
    gone("stop").await;
    assert_eq!(daemon.mcpctl(&["start", "a"]).await.code, 0);
    daemon.ready("a").await;
    let next = pid(&client).await;
    assert!(next != twin && daemon.setup.processes().len() == 2);
    // Another definition: both are made anew.
    daemon.setup.declare(&[both().arg("--name", "other")]);
    until("other processes", async || {
        let answer = client.call("a__pid", json!({})).await;
        let pid: i32 = text_of(&answer).parse().ok()?;
        (pid != next && !daemon.setup.processes().contains(&next)).then_some(())
    })
    .await;
    asked(&client, "elicitation/create", "again").await;
    daemon.setup.declare(&[]);
    gone("removal").await;
    daemon.end().await;
}

#[tokio::test]
async fn that_process_ends_when_nobody_has_used_it_for_long_and_comes_again() {
    let daemon = Daemon::start(&[both().key("instance_idle", "\"300ms\"")]).await;
    let client = asked_one(&daemon, "it").await;
    let (first, before) = (daemon.child_pid("a").await, pid(&client).await);
    until("the end of it", async || {
        (daemon.setup.processes() == [first]).then_some(())
    })
    .await;
    assert_ne!(pid(&client).await, before);
    daemon.end().await;
}

/// Where no process with a handshake comes up, the first serves all, and no other is tried.
async fn falls_back(child: Fake, is_kept: bool) {
    let daemon = Daemon::start(&[child]).await;
    let first = daemon.child_pid("a").await;
    let client = asked_one(&daemon, "it").await;
    // Several wait for it at once.
    let told = tokio::join!(pid(&client), pid(&client), pid(&client));
    assert_eq!(told, (first, first, first));
    subscribed(&client).await;
    hears(&client).await;
    // It is asked in rounds, as ever.
    let mut reply = client
        .post(&call(7, "a__ask", question("elicitation/create", "you")))
        .await;
    let asked = reply.next_json().await;
    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "action": "cancel" } });
    client.post(&answer.to_string()).await;
    let told = reply.next_json().await;
    assert_eq!(text_of(&told), r#"{"result":{"action":"cancel"}}"#);
    until("no other process", async || {
        (daemon.setup.processes() == [first]).then_some(())
    })
    .await;
    assert_eq!(n_of(&daemon.setup, "start "), 2, "it was tried once");
    let server = daemon.server("a").await;
    assert_eq!(
        (&server["state"], &server["n_failures"]),
        (&json!("ready"), &json!(0))
    );
    let setup = daemon.end_but_keep().await;
    let n_before = n_of(&setup, SHAKE);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let client = asked_one(&daemon, "it").await;
    assert_eq!(pid(&client).await, daemon.child_pid("a").await);
    assert_eq!(n_of(&daemon.setup, SHAKE) == n_before, is_kept);
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_refuses_the_handshake_it_lists_is_spoken_to_in_the_newer_way() {
    falls_back(both().arg("--refuse-handshake", "not today"), true).await;
}

#[tokio::test]
async fn a_server_of_the_newer_era_only_says_so_once() {
    falls_back(both().arg("--era", "modern"), true).await;
}

#[tokio::test]
async fn a_server_that_ends_in_its_handshake_is_spoken_to_in_the_newer_way() {
    falls_back(both().arg("--exit-in-handshake", "3"), false).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_to_its_handshake_keeps_nobody_waiting_for_longer_than_a_start() {
    let child = both()
        .flag("--hang-handshake")
        .key("queue_wait", "\"500ms\"")
        .key("start_timeout", "\"4s\"");
    let daemon = Daemon::start(&[child]).await;
    let first = daemon.child_pid("a").await;
    let client = asked_one(&daemon, "it").await;
    assert_eq!(pid(&client).await, first);
    assert_eq!(daemon.setup.processes().len(), 2, "it may still come");
    assert_eq!(pid(&client).await, first);
    until("its end", async || {
        (daemon.setup.processes() == [first]).then_some(())
    })
    .await;
    assert_eq!(pid(&client).await, first);
    assert_eq!(n_of(&daemon.setup, "start "), 2);
    daemon.end().await;
}

#[tokio::test]
async fn where_the_operator_says_how_or_that_there_is_only_one_there_is_no_other() {
    for (key, value, revision) in [
        ("era", "\"modern\"", "2026-07-28"),
        ("era", "\"legacy\"", "2025-11-25"),
        ("replace", "\"after-stop\"", "2026-07-28"),
    ] {
        let daemon = Daemon::start(&[both().key(key, value)]).await;
        assert_eq!(daemon.server("a").await["revision"], revision);
        let client = asked_one(&daemon, "it").await;
        assert_eq!(pid(&client).await, daemon.child_pid("a").await, "{key} = {value}");
        assert_eq!(daemon.setup.processes().len(), 1);
        daemon.end().await;
    }
}

#[tokio::test]
async fn a_process_of_ones_own_is_spoken_to_as_its_owner_speaks() {
    for sharing in ["per-session", "per-client"] {
        let daemon = Daemon::start(&[both().key("sharing", &format!("\"{sharing}\""))]).await;
        let first = daemon.child_pid("a").await;
        let (old, mute) = (asked_one(&daemon, "old").await, quiet(&daemon).await);
        let new = Bare::new(&daemon.address);
        let pids = [first, pid(&old).await, pid(&mute).await, pid_for_bare(&new).await];
        assert!((1..4).all(|n| !pids[..n].contains(&pids[n])), "{pids:?}");
        asked(&old, "roots/list", "old").await;
        let shook = daemon.setup.noted("a", SHAKE).await;
        assert!(
            shook.contains(r#""name":"old""#) && shook.contains("listChanged"),
            "{shook}"
        );
        assert_eq!(n_of(&daemon.setup, SHAKE), 2, "those of the two with a handshake");
        let params = calling("a__ask", question("elicitation/create", "new"));
        keys_of(&new.ask("tools/call", params).await);
        assert_eq!(old.mcp("DELETE", &[], "").await.status, 204);
        if sharing == "per-session" {
            until("the end of its process", async || {
                (!daemon.setup.processes().contains(&pids[1])).then_some(())
            })
            .await;
        }
        assert_eq!(pid(&mute).await, pids[2]);
        daemon.end().await;
    }
}
