//! Clients with a handshake and a server of 2026-07-28, which knows none: each request tells it all, and what it needs
//! of the client it says in its answers.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::fake::Fake;
use crate::harness::{Daemon, HttpClient, able, call, fake, names_of, request, text_of, until};

const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
const FORM: &str = r#"{"message":"Sure?","requestedSchema":{"type":"object","properties":{"n":{"type":"number","default":1.0}}}}"#;
const SAMPLE: &str =
    r#"{"messages":[{"role":"user","content":{"type":"text","text":"a"}}],"maxTokens":1.0e2}"#;

fn modern() -> Fake {
    fake("a").arg("--era", "modern")
}

fn asker() -> Fake {
    modern().tools("echo,ask,interview,hang,sleep,progress,log")
}

fn all() -> Value {
    json!({ "elicitation": {}, "sampling": {}, "roots": { "listChanged": true } })
}

fn question(method: &str, params: &str) -> Value {
    json!({ "method": method, "params": serde_json::from_str::<Value>(params).unwrap() })
}

fn interview(rounds: &Value) -> String {
    call(7, "a__interview", json!({ "rounds": rounds }))
}

async fn answer(client: &HttpClient, id: &Value, outcome: Value) {
    let mut line = json!({ "jsonrpc": "2.0", "id": id });
    for (key, value) in outcome.as_object().unwrap() {
        line[key] = value.clone();
    }
    assert_eq!(client.post(&line.to_string()).await.status, 202);
}

/// The requests of one method that the server got.
fn requests(daemon: &Daemon, method: &str) -> Vec<Value> {
    let journal = daemon.setup.journal("a");
    let messages = journal.iter().filter_map(|line| line.strip_prefix("in "));
    let messages = messages.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter(|message| message["method"] == method).collect()
}

#[tokio::test]
async fn every_request_says_all_that_the_server_has_to_know_and_none_that_it_does_not_know_is_made() {
    // It is not asked either whether it also shakes hands.
    let daemon = Daemon::start(&[modern()
        .key("era", "\"modern\"")
        .tools("echo")
        .arg("--prompts", "p")
        .arg("--resources", "x://1")])
    .await;
    for revision in REVISIONS {
        let client = daemon.introduced(able(revision, &all(), "it")).await;
        let listed = names_of(&client.request("tools/list", json!({})).await, "tools", "name");
        assert_eq!(listed, ["a__echo"]);
        let told = client.call("a__echo", json!({ "r": revision })).await;
        assert_eq!(text_of(&told), json!({ "r": revision }).to_string());
        for key in ["resultType", "ttlMs", "cacheScope", "_meta"] {
            assert!(told["result"].get(key).is_none(), "{told}");
        }
        let read = client.request("resources/read", json!({ "uri": "x://1" })).await;
        assert!(
            read["result"]["contents"].is_array() && read["result"].get("ttlMs").is_none(),
            "{read}"
        );
        let prompt = client.request("prompts/get", json!({ "name": "a__p" })).await;
        assert!(prompt["result"]["messages"].is_array(), "{prompt}");
    }
    let calls = requests(&daemon, "tools/call");
    assert_eq!(calls.len(), 4);
    for call in &calls {
        let meta = &call["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(
            meta["io.modelcontextprotocol/clientCapabilities"]["elicitation"],
            json!({ "form": {} })
        );
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "it");
        assert_eq!(meta["progressToken"], call["id"]);
    }
    for never in [
        "initialize",
        "notifications/initialized",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
    ] {
        assert!(requests(&daemon, never).is_empty(), "{never}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn clients_of_every_revision_are_asked_what_the_server_needs() {
    let daemon = Daemon::start(&[asker()]).await;
    for revision in REVISIONS {
        let client = daemon.introduced(able(revision, &all(), "it")).await;
        for (method, params, outcome) in [
            (
                "elicitation/create",
                FORM,
                json!({ "result": { "action": "accept", "content": { "n": 2.5 } } }),
            ),
            (
                "sampling/createMessage",
                SAMPLE,
                json!({ "result": { "role": "assistant", "content": { "type": "text", "text": "b" }, "model": "m" } }),
            ),
            (
                "roots/list",
                "{}",
                json!({ "result": { "roots": [{ "uri": "file:///x" }] } }),
            ),
        ] {
            let mut reply = client
                .post(&call(
                    7,
                    "a__ask",
                    json!({ "method": method, "params": serde_json::from_str::<Value>(params).unwrap() }),
                ))
                .await;
            let asked = reply.next_json().await;
            assert_eq!(asked["method"], method, "{revision}");
            if method == "elicitation/create" {
                assert_eq!(asked["params"]["message"], "[a] Sure?");
            }
            answer(&client, &asked["id"], outcome.clone()).await;
            let told = reply.next_json().await;
            assert_eq!(told["id"], 7, "{told}");
            let heard: Value = serde_json::from_str(text_of(&told)).unwrap();
            assert_eq!(heard, outcome, "{revision} {method}");
            assert!(reply.next_event().await.is_none());
        }
    }
    assert!(
        !daemon
            .setup
            .journal("a")
            .iter()
            .any(|line| line.contains("WRONG"))
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_call_goes_round_until_the_server_is_content_and_each_round_has_its_own_answers() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let rounds = json!([
        { "a": question("elicitation/create", FORM), "b": question("roots/list", "{}") },
        {},
        { "c": question("sampling/createMessage", SAMPLE) },
    ]);
    let mut reply = client.post(&interview(&rounds)).await;
    let mut methods = Vec::new();
    for _ in 0..3 {
        let asked = reply.next_json().await;
        let method = asked["method"].as_str().unwrap().to_owned();
        let result = match method.as_str() {
            "elicitation/create" => json!({ "action": "decline" }),
            "roots/list" => json!({ "roots": [] }),
            _sampling => {
                json!({ "role": "assistant", "content": { "type": "text", "text": "s" }, "model": "m" })
            }
        };
        methods.push(method);
        answer(&client, &asked["id"], json!({ "result": result })).await;
    }
    let told = reply.next_json().await;
    let told: Value = serde_json::from_str(text_of(&told)).unwrap();
    assert_eq!(told["rounds"], 3, "{told}");
    assert_eq!(told["answers"][0]["a"]["action"], "decline");
    assert_eq!(told["answers"][2]["c"]["model"], "m");
    methods.sort_unstable();
    assert_eq!(
        methods,
        ["elicitation/create", "roots/list", "sampling/createMessage"]
    );
    let journal = daemon.setup.journal("a");
    let retries: Vec<_> = journal.iter().filter(|line| line.starts_with("retry")).collect();
    assert_eq!(retries.len(), 3, "{retries:?}");
    assert!(
        retries
            .iter()
            .all(|line| line.contains("retry ok") && line.contains("state=exact")),
        "{retries:?}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn two_questions_of_one_round_are_answered_in_any_order() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let rounds =
        json!([{ "a": question("sampling/createMessage", SAMPLE), "b": question("roots/list", "{}") }]);
    let mut reply = client.post(&interview(&rounds)).await;
    let (first, second) = (reply.next_json().await, reply.next_json().await);
    for asked in [&second, &first] {
        answer(
            &client,
            &asked["id"],
            json!({ "result": { "roots": [], "of": asked["method"] } }),
        )
        .await;
    }
    let told: Value = serde_json::from_str(text_of(&reply.next_json().await)).unwrap();
    assert_eq!(told["answers"][0]["a"]["of"], "sampling/createMessage");
    assert_eq!(told["answers"][0]["b"]["of"], "roots/list");
    daemon.end().await;
}

#[tokio::test]
async fn a_client_that_refuses_ends_the_call_and_what_it_cannot_do_is_not_asked() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let rounds = json!([{ "a": question("sampling/createMessage", SAMPLE), "b": question("elicitation/create", FORM) }]);
    let mut reply = client.post(&interview(&rounds)).await;
    let (first, second) = (reply.next_json().await, reply.next_json().await);
    for asked in [&first, &second] {
        let refusal = json!({ "error": { "code": -1, "message": "not today" } });
        // The second may be withdrawn already.
        let mut line = json!({ "jsonrpc": "2.0", "id": asked["id"] });
        line["error"] = refusal["error"].clone();
        client.post(&line.to_string()).await;
    }
    let told = loop {
        let next = reply.next_json().await;
        if next["id"] == 7 && next.get("result").is_some() {
            break next;
        }
        assert_eq!(next["method"], "notifications/cancelled", "{next}");
    };
    assert_eq!(told["result"]["isError"], true, "{told}");
    assert!(text_of(&told).contains("not today"), "{told}");
    let unable = daemon.http().await;
    let told = unable
        .call("a__ask", json!({ "method": "roots/list", "params": {} }))
        .await;
    assert_eq!(told["result"]["isError"], true, "{told}");
    daemon.end().await;
}

#[tokio::test]
async fn a_call_that_is_taken_back_takes_its_question_with_it() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let mut reply = client
        .post(&interview(
            &json!([{ "a": question("elicitation/create", FORM) }]),
        ))
        .await;
    let asked = reply.next_json().await;
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 7 } });
    assert_eq!(client.post(&cancel.to_string()).await.status, 202);
    let told = reply.next_json().await;
    assert_eq!(told["method"], "notifications/cancelled", "{told}");
    assert_eq!(told["params"]["requestId"], asked["id"]);
    // The server holds nothing between two rounds: it hears nothing of it, and serves on.
    assert_eq!(
        text_of(&client.call("a__echo", json!({ "x": 2 })).await),
        r#"{"x":2}"#
    );
    assert_eq!(requests(&daemon, "notifications/cancelled").len(), 0);
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_ends_between_two_rounds_is_called_again_in_its_next_process() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let mut reply = client
        .post(&interview(
            &json!([{ "a": question("elicitation/create", FORM) }]),
        ))
        .await;
    let asked = reply.next_json().await;
    kill(Pid::from_raw(daemon.child_pid("a").await), Signal::SIGKILL).unwrap();
    until("another process", async || {
        let server = daemon.server("a").await;
        (server["state"] == "ready" && server["generation"] == 2).then_some(())
    })
    .await;
    answer(
        &client,
        &asked["id"],
        json!({ "result": { "action": "accept", "content": { "n": 3 } } }),
    )
    .await;
    let told: Value = serde_json::from_str(text_of(&reply.next_json().await)).unwrap();
    assert_eq!(told["answers"][0]["a"]["content"]["n"], 3, "{told}");
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_is_never_content_is_given_up() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let endless = json!({ "rounds": [{ "a": question("roots/list", "{}") }], "endless": true });
    let mut reply = client.post(&call(7, "a__interview", endless)).await;
    let mut n_asked = 0;
    let told = loop {
        let next = reply.next_json().await;
        if next.get("method").is_none() {
            break next;
        }
        n_asked += 1;
        answer(&client, &next["id"], json!({ "result": { "roots": [] } })).await;
    };
    assert_eq!(told["error"]["code"], -32603, "{told}");
    assert!((10..=11).contains(&n_asked), "{n_asked}");
    daemon.end().await;
}

#[tokio::test]
async fn progress_logs_and_the_end_of_a_call_go_their_ways() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let set = client
        .request("logging/setLevel", json!({ "level": "info" }))
        .await;
    assert!(set.get("result").is_some(), "{set}");
    let params = json!({ "name": "a__interview", "arguments": { "rounds": [{ "a": question("roots/list", "{}") }], "steps": 2 }, "_meta": { "progressToken": "p" } });
    let mut reply = client.post(&request(7, "tools/call", params)).await;
    let mut values = Vec::new();
    loop {
        let next = reply.next_json().await;
        match next["method"].as_str() {
            Some("notifications/progress") => {
                assert_eq!(next["params"]["progressToken"], "p");
                values.push(next["params"]["progress"].as_f64().unwrap());
            }
            Some("roots/list") => answer(&client, &next["id"], json!({ "result": { "roots": [] } })).await,
            Some(other) => panic!("{other}"),
            None => break,
        }
    }
    assert!(
        values.len() >= 2 && values.windows(2).all(|pair| pair[0] < pair[1]),
        "{values:?}"
    );
    for call in requests(&daemon, "tools/call") {
        assert_eq!(
            call["params"]["_meta"]["io.modelcontextprotocol/logLevel"],
            "info"
        );
    }
    let hanging = call(9, "a__hang", json!({}));
    let hang = client.post(&hanging);
    let (hanging, ()) = tokio::join!(hang, async {
        daemon.setup.called("a", "hang").await;
        let cancel =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 } });
        assert_eq!(client.post(&cancel.to_string()).await.status, 202);
    });
    drop(hanging);
    daemon
        .setup
        .noted("a", r#""method":"notifications/cancelled""#)
        .await;
    // Whether it was heard is asked in the words of the server.
    until("a question behind the cancellation", async || {
        (requests(&daemon, "server/discover").len() > 1).then_some(())
    })
    .await;
    assert!(requests(&daemon, "ping").is_empty());
    daemon.end().await;
}

#[tokio::test]
async fn a_silent_server_is_looked_at_in_its_own_words() {
    let child = modern()
        .key("probe_interval", "\"50ms\"")
        .key("probe_timeout", "\"5s\"");
    let daemon = Daemon::start(&[child]).await;
    until("looks at the server", async || {
        (requests(&daemon, "server/discover").len() > 2).then_some(())
    })
    .await;
    assert!(requests(&daemon, "ping").is_empty());
    assert_eq!(daemon.server("a").await["generation"], 1);
    tokio::time::timeout(Duration::from_secs(20), daemon.end())
        .await
        .unwrap();
}

#[tokio::test]
async fn changes_of_lists_and_resources_are_heard_of_on_one_stream_and_subscriptions_change_it() {
    let child = modern()
        .tools("echo,grow,updated,end_listens")
        .arg("--resources", "x://1,x://2");
    let daemon = Daemon::start(&[child]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let mut stream = client.stream().await;
    daemon.setup.noted("a", "listen ").await;
    for uri in ["x://1", "x://2"] {
        let told = client.request("resources/subscribe", json!({ "uri": uri })).await;
        assert_eq!(told["result"], json!({}), "{told}");
    }
    until("the streams before it to end", async || {
        let journal = daemon.setup.journal("a");
        let n = |word: &str| journal.iter().filter(|line| line.starts_with(word)).count();
        (n("listen cancelled ") == 2).then_some(())
    })
    .await;
    assert!(requests(&daemon, "resources/subscribe").is_empty());
    let last = requests(&daemon, "subscriptions/listen").pop().unwrap();
    assert_eq!(
        last["params"]["notifications"]["resourceSubscriptions"],
        json!(["x://1", "x://2"])
    );
    client.call("a__updated", json!({ "uri": "x://2" })).await;
    assert_eq!(stream.next_json().await["params"]["uri"], "x://2");
    let told = client
        .request("resources/unsubscribe", json!({ "uri": "x://2" }))
        .await;
    assert_eq!(told["result"], json!({}), "{told}");
    until("a stream without it", async || {
        let last = requests(&daemon, "subscriptions/listen").pop().unwrap();
        (last["params"]["notifications"]["resourceSubscriptions"] == json!(["x://1"])).then_some(())
    })
    .await;
    client.call("a__grow", json!({ "name": "fresh" })).await;
    assert_eq!(
        stream.next_json().await["method"],
        "notifications/tools/list_changed"
    );
    let listed = names_of(&client.request("tools/list", json!({})).await, "tools", "name");
    assert!(listed.contains(&"a__fresh".to_owned()), "{listed:?}");
    assert_eq!(daemon.server("a").await["n_inflight"], 0);
    // What the server ends is opened again, and what was missed meanwhile is told.
    let n_before = requests(&daemon, "subscriptions/listen").len();
    client.call("a__end_listens", json!({ "how": "both" })).await;
    until("another stream", async || {
        (requests(&daemon, "subscriptions/listen").len() > n_before).then_some(())
    })
    .await;
    // The next process is listened to for the same.
    kill(Pid::from_raw(daemon.child_pid("a").await), Signal::SIGKILL).unwrap();
    assert_eq!(
        stream.next_json().await["params"]["uri"],
        "x://1",
        "it may have missed something"
    );
    let last = requests(&daemon, "subscriptions/listen").pop().unwrap();
    assert_eq!(
        last["params"]["notifications"]["resourceSubscriptions"],
        json!(["x://1"])
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_server_without_streams_serves_all_the_same_and_a_subscription_is_refused() {
    let child = modern().arg("--resources", "x://1").flag("--no-listen");
    let daemon = Daemon::start(&[child]).await;
    let client = daemon.http().await;
    let told = client
        .request("resources/subscribe", json!({ "uri": "x://1" }))
        .await;
    assert_eq!(told["error"]["code"], -32601, "{told}");
    assert_eq!(requests(&daemon, "subscriptions/listen").len(), 1);
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn a_stream_holds_no_server_up_that_nobody_uses() {
    let child = modern()
        .key("idle_stop", "\"300ms\"")
        .key("autostart", "\"on-demand\"");
    let daemon = Daemon::start(&[child.clone().not_awaited()]).await;
    daemon.mcpctl(&["start", "a"]).await;
    daemon.setup.noted("a", "listen ").await;
    daemon.in_state("a", "idle").await;
    let client = daemon.http().await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.in_state("a", "idle").await;
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_no_longer_speaks_the_revision_is_met_anew_and_its_code_reaches_nobody() {
    let daemon = Daemon::start(&[modern().tools("echo,raw_error")]).await;
    let client = daemon.http().await;
    let error =
        json!({ "code": -32022, "message": "Unsupported protocol version", "data": { "supported": [] } });
    let told = client.call("a__raw_error", json!({ "error": error })).await;
    assert_eq!(told["error"]["code"], -32603, "{told}");
    assert_eq!(requests(&daemon, "tools/call").len(), 2, "once more, and no more");
    let server = daemon.ready("a").await;
    assert_eq!(
        (&server["generation"], &server["n_failures"]),
        (&json!(2), &json!(0))
    );
    daemon.end().await;
}
