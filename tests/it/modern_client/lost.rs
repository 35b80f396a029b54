//! What may happen between the question and the answer.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{accepted, asker, form, heard, interview, taken_back, told};
use crate::harness::bare::{Bare, calling, coming_back, keys_of};
use crate::harness::{Daemon, until};

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
    let done = client.back(&params, &asked, json!({ key(&asked): accepted(1) })).await;
    let found = &told(&done)["answers"][0]["k"];
    assert_eq!(*found, json!({ "open": true }));
    // A question that was taken back is not asked; the call goes on, and may ask another.
    let mut withdrawn = form("2");
    withdrawn["withdraw"] = json!("back");
    let params = interview(json!([{ "k": withdrawn }, { "k": form("3") }]));
    let asked = client.ask("tools/call", params.clone()).await;
    client.call("a__release", json!({ "word": "back" })).await;
    let asked = client.back(&params, &asked, json!({ key(&asked): accepted(2) })).await;
    let done = told(&client.back(&params, &asked, json!({ key(&asked): accepted(3) })).await);
    // The answer may have been quicker than the taking back.
    let first = &done["answers"][0]["k"];
    assert!(*first == json!({ "withdrawn": true }) || *first == accepted(2), "{done}");
    assert_eq!(done["answers"][1]["k"], accepted(3));
    daemon.end().await;
}

#[tokio::test]
async fn a_call_whose_server_dies_is_lost_and_what_has_no_effects_is_made_again() {
    let child = asker().arg("--prompts", "ask_elicitation").arg("--resources", "ask:elicitation");
    let daemon = Daemon::start(&[child]).await;
    let client = Bare::new(&daemon.address);
    let tool = calling("a__interview", json!({ "nonce": "once", "rounds": [{ "k": form("1") }] }));
    let (prompt, resource) = (json!({ "name": "a__ask_elicitation" }), json!({ "uri": "ask:elicitation" }));
    let mut parked = Vec::new();
    for (method, params) in [("tools/call", &tool), ("prompts/get", &prompt), ("resources/read", &resource)] {
        parked.push(client.ask(method, params.clone()).await);
    }
    let before = daemon.child_pid("a").await;
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    until("another process", async || {
        let server = daemon.server("a").await;
        (server["state"] == "ready" && server["pid"].as_i64() != Some(before.into())).then_some(())
    })
    .await;
    let lost = client.back(&tool, &parked[0], json!({ key(&parked[0]): accepted(1) })).await;
    assert_eq!(lost["result"]["isError"], true, "{lost}");
    assert_eq!(daemon.setup.effects("a"), ["once"], "a tool is never called twice");
    for (method, params, asked) in [("prompts/get", &prompt, &parked[1]), ("resources/read", &resource, &parked[2])] {
        let back = coming_back(params, asked, json!({ key(asked): accepted(5) }));
        let done = client.ask(method, back).await;
        assert_eq!(done["result"]["resultType"], "complete", "{done}");
        assert!(done.to_string().contains(r#"\"n\":5"#), "{done}");
        assert_eq!(heard(&daemon, "a", method).len(), 2, "{method}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn after_a_restart_of_the_daemon_a_tool_has_expired_and_a_prompt_is_made_again() {
    let child = || asker().arg("--prompts", "ask_elicitation");
    let daemon = Daemon::start(&[child()]).await;
    let client = Bare::new(&daemon.address);
    let tool = calling("a__interview", json!({ "nonce": "once", "rounds": [{ "k": form("1") }] }));
    let prompt = json!({ "name": "a__ask_elicitation" });
    let asked = client.ask("tools/call", tool.clone()).await;
    let asked_for_prompt = client.ask("prompts/get", prompt.clone()).await;
    let setup = daemon.end_but_keep().await;
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let client = Bare::new(&daemon.address);
    let lost = client.back(&tool, &asked, json!({ key(&asked): accepted(1) })).await;
    assert_eq!(lost["result"]["isError"], true, "{lost}");
    assert_eq!(daemon.setup.effects("a"), ["once"]);
    let back = coming_back(&prompt, &asked_for_prompt, json!({ key(&asked_for_prompt): accepted(6) }));
    let done = client.ask("prompts/get", back).await;
    assert!(done.to_string().contains(r#"\"n\":6"#), "{done}");
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
        lines.iter().any(|line| line.contains(r#""action":"accept""#)).then_some(())
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
    let other = client.back(&params, &asked, json!({ key(&asked): accepted(2) })).await;
    assert_eq!(other["result"]["isError"], true, "{other}");
    // Until the daemon has noticed, the earlier connection has the call.
    let again = until("the call, taken over", async || {
        let again = client.ask("tools/call", back.clone());
        let release = client.call("a__release", json!({ "word": "go" }));
        let (again, _) = tokio::join!(again, release);
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
    let client = Bare::new(&daemon.address);
    let params = |n: u64| interview(json!([{ "k": form(&n.to_string()) }]));
    let mut parked = Vec::new();
    for n in 0..2 {
        let asked = client.ask("tools/call", params(n)).await;
        parked.push((n, key(&asked), asked));
    }
    let refused = told(&client.ask("tools/call", params(2)).await);
    assert!(refused["answers"][0]["k"]["error"].is_object(), "{refused}");
    for (n, key, asked) in parked {
        let done = told(&client.back(&params(n), &asked, json!({ key: accepted(n) })).await);
        assert_eq!(done["answers"][0]["k"], accepted(n));
    }
    let asked = client.ask("tools/call", params(3)).await;
    keys_of(&asked);
    daemon.end().await;
}
