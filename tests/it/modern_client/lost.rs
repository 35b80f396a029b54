//! What may happen between the question and the answer.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{accepted, asker, form, heard, interview, taken_back, told};
use crate::harness::bare::{Bare, bare, calling, coming_back, keys_of};
use crate::harness::fake::Fake;
use crate::harness::{Daemon, LineClient, fake, until};

fn key(asked: &Value) -> String {
    keys_of(asked).remove(0)
}

#[tokio::test]
async fn a_server_may_answer_or_take_its_question_back_while_nobody_waits() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    // The answer is kept, whatever the client brings.
    let arguments = json!({ "rounds": [{ "k": form("1") }], "answer_open": "go" });
    let params = calling("a__interview", arguments);
    let asked = client.ask("tools/call", params.clone()).await;
    client.call("a__release", json!({ "word": "go" })).await;
    let done = client
        .back(&params, &asked, json!({ key(&asked): accepted(1) }))
        .await;
    let found = &told(&done)["answers"][0]["k"];
    assert_eq!(*found, json!({ "open": true }));
    // A question that was taken back is not asked; the call goes on, and may ask another.
    let mut withdrawn = form("2");
    withdrawn["withdraw"] = json!("back");
    let params = interview(json!([{ "k": withdrawn }, { "k": form("3") }]));
    let asked = client.ask("tools/call", params.clone()).await;
    client.call("a__release", json!({ "word": "back" })).await;
    let asked = client
        .back(&params, &asked, json!({ key(&asked): accepted(2) }))
        .await;
    let done = told(
        &client
            .back(&params, &asked, json!({ key(&asked): accepted(3) }))
            .await,
    );
    // The answer may have been quicker than the taking back.
    let first = &done["answers"][0]["k"];
    assert!(
        *first == json!({ "withdrawn": true }) || *first == accepted(2),
        "{done}"
    );
    assert_eq!(done["answers"][1]["k"], accepted(3));
    daemon.end().await;
}

/// Comes back without an answer until the question is another, and gives the last answer with all that came before.
async fn until_asked_another(client: &Bare, params: &Value, mut asked: Value) -> (Vec<Value>, Value) {
    let mut said = Vec::new();
    // It may have been asked, but not been read yet.
    for _again in 0..8 {
        let back = coming_back(params, &asked, json!({}));
        let reply = client.begin(2, "tools/call", back).await;
        if reply.is_stream() {
            for event in reply.events().await {
                said.push(serde_json::from_str(&event.data).unwrap());
            }
            asked = said.pop().unwrap();
        } else {
            asked = reply.json().await;
        }
        if asked["result"]["inputRequests"][key(&asked)]["params"]["message"] == "[a] 2" {
            return (said, asked);
        }
    }
    panic!("{asked}")
}

#[tokio::test]
async fn what_is_said_while_nobody_waits_comes_before_the_next_question_to_who_wants_to_hear_it() {
    for wants in [true, false] {
        let daemon = Daemon::start(&[asker()]).await;
        let client = Bare::new(&daemon.address);
        let mut first = form("1");
        first["withdraw"] = json!("back");
        let rounds = json!([{ "k": first }, { "k": form("2") }]);
        let mut params = calling("a__interview", json!({ "log": "info", "rounds": rounds }));
        params["_meta"] = json!({ "io.modelcontextprotocol/logLevel": "info" });
        let events = client.begin(1, "tools/call", params.clone()).await.events().await;
        assert_eq!(events.len(), 2, "{events:?}");
        let asked: Value = serde_json::from_str(&events[1].data).unwrap();
        client.call("a__release", json!({ "word": "back" })).await;
        daemon.setup.noted("a", "asked 2").await;
        if !wants {
            params["_meta"] = json!({});
        }
        let (said, asked) = until_asked_another(&client, &params, asked).await;
        assert_eq!(said.len(), usize::from(wants), "{said:?}");
        assert!(said.iter().all(|said| said["params"]["data"] == 1), "{said:?}");
        let done = client
            .back(&params, &asked, json!({ key(&asked): accepted(2) }))
            .await;
        // With a level it is a stream, which ends with the answer all the same.
        let answers = json!([{ "k": { "withdrawn": true } }, { "k": accepted(2) }]);
        assert_eq!(told(&done)["answers"], answers);
        daemon.end().await;
    }
}

/// A tool with an effect, a prompt and a resource, each of a server of its own and each with one question.
fn children() -> [Fake; 3] {
    let prompt = fake("p").arg("--prompts", "ask_elicitation");
    [asker(), prompt, fake("r").arg("--resources", "ask:elicitation")]
}

fn requests() -> [(&'static str, &'static str, Value); 3] {
    let tool = json!({ "nonce": "once", "rounds": [{ "k": form("1") }] });
    [
        ("a", "tools/call", calling("a__interview", tool)),
        ("p", "prompts/get", json!({ "name": "p__ask_elicitation" })),
        ("r", "resources/read", json!({ "uri": "ask:elicitation" })),
    ]
}

async fn parked(client: &Bare) -> Vec<Value> {
    let mut parked = Vec::new();
    for (_, method, params) in requests() {
        parked.push(client.ask(method, params).await);
    }
    parked
}

/// Comes back to all that was asked: the tool has run once and is lost, which its caller hears as of any call where the
/// daemon still knows it; the others are carried out with the answers.
async fn come_back(daemon: &Daemon, client: &Bare, parked: &[Value], is_known: bool) {
    for ((server, method, params), asked) in requests().into_iter().zip(parked) {
        let back = coming_back(&params, asked, json!({ key(asked): accepted(5) }));
        let done = client.ask(method, back).await;
        if method == "tools/call" {
            if is_known {
                assert_eq!(done["error"]["data"]["reason"], "child_exited", "{done}");
            } else {
                assert_eq!(done["result"]["isError"], true, "{done}");
            }
            assert_eq!(daemon.setup.effects("a"), ["once"], "it is never called twice");
            continue;
        }
        assert_eq!(done["result"]["resultType"], "complete", "{done}");
        assert!(done.to_string().contains(r#"\"n\":5"#), "{done}");
        assert_eq!(heard(daemon, server, method).len(), 2);
    }
}

#[tokio::test]
async fn a_call_whose_server_dies_is_lost_and_what_has_no_effects_is_made_again() {
    let daemon = Daemon::start(&children()).await;
    let client = Bare::new(&daemon.address);
    let parked = parked(&client).await;
    for (server, _, _) in requests() {
        let before = daemon.child_pid(server).await;
        kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
        until("another process", async || {
            let now = daemon.server(server).await;
            (now["state"] == "ready" && now["pid"].as_i64() != Some(before.into())).then_some(())
        })
        .await;
    }
    come_back(&daemon, &client, &parked, true).await;
    daemon.end().await;
}

#[tokio::test]
async fn after_a_restart_of_the_daemon_a_tool_has_expired_and_the_others_are_made_again() {
    let daemon = Daemon::start(&children()).await;
    let parked = parked(&Bare::new(&daemon.address)).await;
    let daemon = daemon.end_but_keep().await.start().await;
    for child in children() {
        daemon.ready(&child.name).await;
    }
    come_back(&daemon, &Bare::new(&daemon.address), &parked, false).await;
    daemon.end().await;
}

/// A call that goes on after its one question until it is told the word.
fn long(word: &str) -> Value {
    calling(
        "a__interview",
        json!({ "rounds": [{ "k": form("1") }, {}], "answer_open": word }),
    )
}

/// Comes back with an answer, and is gone once that has reached the server.
async fn answers_and_goes(daemon: &Daemon, client: &Bare, back: &Value) {
    let has_come = async || {
        let lines = daemon.setup.journal("a");
        lines
            .iter()
            .any(|line| line.contains(r#""action":"accept""#))
            .then_some(())
    };
    tokio::select! {
        _reply = client.begin(2, "tools/call", back.clone()) => panic!("it goes on"),
        () = until("the answer at the server", has_come) => {}
    }
}

#[tokio::test]
async fn a_client_that_loses_its_connection_after_its_answer_may_come_once_more_with_the_same() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    let params = long("go");
    let asked = client.ask("tools/call", params.clone()).await;
    let back = coming_back(&params, &asked, json!({ key(&asked): accepted(1) }));
    answers_and_goes(&daemon, &client, &back).await;
    let other = client
        .back(&params, &asked, json!({ key(&asked): accepted(2) }))
        .await;
    assert_eq!(other["result"]["isError"], true, "{other}");
    // Until the daemon has noticed, the earlier connection has the call.
    let again = until("the call, taken over", async || {
        let again = client.ask("tools/call", back.clone());
        let release = client.call("a__release", json!({ "word": "go" }));
        let (again, _) = tokio::join!(again, release);
        let other = client
            .back(&params, &asked, json!({ key(&asked): accepted(2) }))
            .await;
        assert_eq!(other["result"]["isError"], true, "{other}");
        (again["result"]["isError"] != true).then_some(again)
    });
    assert_eq!(told(&again.await)["answers"][0]["k"], accepted(1));
    let calls = heard(&daemon, "a", "tools/call");
    let interviews = calls.iter().filter(|call| call["params"]["name"] == "interview");
    assert_eq!(interviews.count(), 1);
    assert!(heard(&daemon, "a", "notifications/cancelled").is_empty());
    daemon.end().await;
}

#[tokio::test]
async fn a_client_that_goes_after_its_answer_and_does_not_come_back_has_cancelled() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    let params = long("never");
    let asked = client.ask("tools/call", params.clone()).await;
    let back = coming_back(&params, &asked, json!({ key(&asked): accepted(1) }));
    answers_and_goes(&daemon, &client, &back).await;
    taken_back(&daemon, "a", 1).await;
    daemon.end().await;
}

#[tokio::test]
async fn half_of_a_servers_calls_may_wait_for_people_and_one_more_is_told_so() {
    let daemon = Daemon::start(&[asker().key("inflight_max", "4")]).await;
    let mut client = LineClient::launch(&daemon.setup);
    let able = json!({ "elicitation": {} });
    let params = |n: u64| interview(json!([{ "k": form(&n.to_string()) }]));
    let mut parked = Vec::new();
    for n in 0..2 {
        let asked = client.ask_json(&bare(n, "tools/call", &able, params(n))).await;
        parked.push((n, key(&asked), asked));
    }
    let refused = client.ask_json(&bare(2, "tools/call", &able, params(2))).await;
    assert_eq!(told(&refused)["answers"][0]["k"], json!({ "action": "cancel" }));
    for (n, key, asked) in parked {
        let back = coming_back(&params(n), &asked, json!({ key: accepted(n) }));
        let done = client.ask_json(&bare(n, "tools/call", &able, back)).await;
        assert_eq!(told(&done)["answers"][0]["k"], accepted(n));
    }
    let asked = client.ask_json(&bare(3, "tools/call", &able, params(3))).await;
    assert_eq!(keys_of(&asked).len(), 1);
    client.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn whose_a_question_is_is_not_guessed_while_the_call_of_another_waits() {
    let daemon = Daemon::start(&[asker()]).await;
    let (one, two) = (Bare::new(&daemon.address), Bare::new(&daemon.address));
    let params = interview(json!([{ "k": form("1") }]));
    let asked = one.ask("tools/call", params.clone()).await;
    let refused = told(&two.ask("tools/call", params.clone()).await);
    assert_eq!(refused["answers"][0]["k"], json!({ "action": "cancel" }));
    let done = told(
        &one.back(&params, &asked, json!({ key(&asked): accepted(1) }))
            .await,
    );
    assert_eq!(done["answers"][0]["k"], accepted(1));
    daemon.end().await;
}
