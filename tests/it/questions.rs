//! What children ask clients: put to exactly the one whose call it is, answered once, and never guessed.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::fake::Fake;
use crate::harness::{Daemon, LineClient, SseClient, able, call, fake, text_of, until};

const FORM: &str = r#"{"_meta":{"x":1.0e3},"message":"Sure?","requestedSchema":{"type":"object","properties":{"n":{"type":"number","default":1.0}}}}"#;
const SAMPLE: &str =
    r#"{"messages":[{"role":"user","content":{"type":"text","text":"a\u0062"}}],"maxTokens":1.0e2,"z":null}"#;

/// A call of the tool that asks.
fn asking(id: u64, method: &str, params: &str) -> String {
    asking_with(id, method, params, "{}")
}

/// The same, with more members in the arguments: an object that begins with its brace.
fn asking_with(id: u64, method: &str, params: &str, more: &str) -> String {
    let more = more.trim_start_matches('{').trim_end_matches('}');
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(",{more}")
    };
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"a__ask","arguments":{{"method":"{method}","params":{params}{more}}}}}}}"#
    )
}

fn answering(id: &Value, outcome: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},{outcome}}}"#)
}

/// What the child has to see of an answer.
fn heard(n: u64, outcome: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":"ask-{n}",{outcome}}}"#)
}

fn all() -> Value {
    json!({ "elicitation": {}, "sampling": {}, "roots": { "listChanged": true } })
}

fn asker() -> Fake {
    fake("a").tools("ask,sleep,echo,out_of_order,hang")
}

#[tokio::test]
async fn a_question_reaches_the_caller_on_the_stream_of_its_call_and_the_answer_the_child() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let seen = FORM.replace("Sure?", "[a] Sure?");
    for (n, outcome) in [
        (
            1,
            r#""result":{"action":"accept","content":{"n":1.0,"m":1e400},"x":"\u0061"}"#,
        ),
        (2, r#""error":{"code":-1,"message":"no \u006eo","data":[1.0]}"#),
    ] {
        let mut reply = client.post(&asking(7, "elicitation/create", FORM)).await;
        assert!(reply.is_stream());
        let question = reply.next_event().await.unwrap().data;
        assert_eq!(
            question,
            format!(r#"{{"jsonrpc":"2.0","id":{n},"method":"elicitation/create","params":{seen}}}"#)
        );
        let taken = client.post(&answering(&json!(n), outcome)).await;
        assert_eq!(taken.status, 202);
        let answer = reply.next_json().await;
        assert_eq!(answer["id"], 7);
        assert_eq!(text_of(&answer), heard(n, outcome));
        assert!(reply.next_event().await.is_none(), "the answer comes last");
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_question_reaches_the_caller_on_streams_and_lines_too() {
    let daemon = Daemon::start(&[asker()]).await;
    let mut sse = SseClient::introduced(&daemon.address, able("2024-11-05", &all(), "it")).await;
    let mut line = LineClient::launch(&daemon.setup);
    line.introduce(able("2025-11-25", &all(), "it")).await;
    let outcome =
        r#""result":{"role":"assistant","content":{"type":"text","text":"\u0061"},"model":"m","x":1.0}"#;
    let question =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{SAMPLE}}}"#);
    let asked = asking(7, "sampling/createMessage", SAMPLE);
    assert_eq!(sse.ask(&asked).await, question);
    sse.post(&answering(&json!(1), outcome)).await;
    assert_eq!(text_of(&sse.next_json().await), heard(1, outcome));
    assert_eq!(line.ask(&asked).await, question);
    line.send(&answering(&json!(1), outcome)).await;
    assert_eq!(text_of(&line.next_json().await), heard(2, outcome));
    let asked = asking(8, "roots/list", "{}");
    let question = line.ask_json(&asked).await;
    assert_eq!(question["method"], "roots/list");
    line.send(&answering(&question["id"], r#""result":{"roots":[]}"#))
        .await;
    assert_eq!(
        text_of(&line.next_json().await),
        heard(3, r#""result":{"roots":[]}"#)
    );
    let (last, _) = line.finish().await;
    assert!(last.is_empty(), "{last:?}");
    daemon.end().await;
}

#[tokio::test]
async fn a_client_is_not_asked_what_it_cannot_do() {
    let daemon = Daemon::start(&[asker()]).await;
    let none = daemon.http().await;
    let plain = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let url = r#"{"mode":"url","message":"m","url":"https://x.example","elicitationId":"e"}"#;
    let tools = r#"{"messages":[],"maxTokens":1,"tools":[]}"#;
    for (client, method, params, code) in [
        (&none, "elicitation/create", FORM, -32601),
        (&none, "sampling/createMessage", SAMPLE, -32601),
        (&none, "roots/list", "{}", -32601),
        (&none, "nobody/knows", "{}", -32601),
        (&plain, "nobody/knows", "{}", -32601),
        (&plain, "elicitation/create", url, -32602),
        (&plain, "sampling/createMessage", tools, -32602),
    ] {
        let reply = client.post(&asking(1, method, params)).await;
        assert!(!reply.is_stream(), "{method}: the client was sent something");
        let heard: Value = serde_json::from_str(text_of(&reply.json().await)).unwrap();
        assert_eq!(heard["error"]["code"], code, "{method}: {heard}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn with_calls_of_two_clients_in_flight_nobody_is_asked_and_the_operator_can_read_why() {
    let daemon = Daemon::start(&[asker()]).await;
    let mut one = LineClient::launch(&daemon.setup);
    one.introduce(able("2025-11-25", &all(), "one")).await;
    let two = daemon.introduced(able("2025-11-25", &all(), "two")).await;
    // Held back by the child until the second of its kind is there.
    one.send(&call(1, "a__out_of_order", json!({ "n": 1 }))).await;
    daemon.setup.called("a", "out_of_order").await;
    let reply = two.post(&asking(1, "elicitation/create", FORM)).await;
    assert!(!reply.is_stream(), "the client was sent something");
    let heard: Value = serde_json::from_str(text_of(&reply.json().await)).unwrap();
    assert_eq!(heard["result"], json!({ "action": "cancel" }), "{heard}");
    for (method, params, code) in [
        ("sampling/createMessage", SAMPLE, -1),
        ("roots/list", "{}", -32603),
    ] {
        let reply = two.post(&asking(1, method, params)).await;
        assert!(!reply.is_stream(), "the client was sent something");
        let heard: Value = serde_json::from_str(text_of(&reply.json().await)).unwrap();
        assert_eq!(heard["error"]["code"], code, "{heard}");
        let told = heard["error"]["message"].as_str().unwrap();
        assert!(told.contains(r#"sharing = "per-session""#), "{told}");
    }
    one.send(&call(2, "a__out_of_order", json!({ "n": 2 }))).await;
    let mut ids = [0, 0];
    for id in &mut ids {
        *id = one.next_json().await["id"].as_u64().unwrap_or_default();
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2], "no line but the two answers");
    for command in ["why", "events"] {
        // What has happened is written down a moment later.
        until(format!("the refusals in {command}"), async || {
            let ran = daemon.mcpctl(&[command, "a"]).await;
            assert_eq!(ran.code, 0, "{ran:?}");
            let words = ["elicitation/create", "sampling/createMessage", "per-session"];
            words.iter().all(|word| ran.stdout.contains(word)).then_some(())
        })
        .await;
    }
    daemon.end().await;
}

#[tokio::test]
async fn clients_that_ask_one_after_the_other_are_never_mixed_up() {
    let daemon = Daemon::start(&[asker()]).await;
    let one = daemon.introduced(able("2025-11-25", &all(), "one")).await;
    let two = daemon.introduced(able("2025-11-25", &all(), "two")).await;
    for round in 1..=10_u64 {
        for (client, who, n) in [(&one, "one", 2 * round - 1), (&two, "two", 2 * round)] {
            let params = format!(r#"{{"messages":[],"who":"{who}-{round}"}}"#);
            let mut reply = client
                .post(&asking(round, "sampling/createMessage", &params))
                .await;
            let question = reply.next_json().await;
            assert_eq!(question["params"]["who"], format!("{who}-{round}"));
            let outcome = format!(r#""result":{{"who":"{who}-{round}"}}"#);
            client.post(&answering(&question["id"], &outcome)).await;
            assert_eq!(text_of(&reply.next_json().await), heard(n, &outcome));
        }
    }
    daemon.end().await;
}

#[tokio::test]
async fn an_open_question_stays_its_callers_when_another_client_comes() {
    let daemon = Daemon::start(&[asker()]).await;
    let one = daemon.introduced(able("2025-11-25", &all(), "one")).await;
    let two = daemon.introduced(able("2025-11-25", &all(), "two")).await;
    let mut reply = one.post(&asking(1, "roots/list", "{}")).await;
    let question = reply.next_json().await;
    let refused = two
        .post(&asking(1, "elicitation/create", FORM))
        .await
        .json()
        .await;
    assert!(text_of(&refused).contains(r#"{"action":"cancel"}"#), "{refused}");
    // The other client's answer under the same id is an answer to nothing.
    let foreign = answering(&question["id"], r#""result":{"roots":"of two"}"#);
    assert_eq!(two.post(&foreign).await.status, 202);
    let own = r#""result":{"roots":[]}"#;
    one.post(&answering(&question["id"], own)).await;
    assert_eq!(text_of(&reply.next_json().await), heard(1, own));
    daemon.end().await;
}

#[tokio::test]
async fn while_a_person_thinks_the_call_does_not_time_out() {
    let daemon = Daemon::start(&[asker().key("call_timeout", "\"300ms\"")]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let mut reply = client.post(&asking(1, "elicitation/create", FORM)).await;
    let question = reply.next_json().await;
    // Longer than the timeout: that nothing happens is what is checked.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let outcome = r#""result":{"action":"decline"}"#;
    client.post(&answering(&question["id"], outcome)).await;
    assert_eq!(text_of(&reply.next_json().await), heard(1, outcome));
    daemon.end().await;
}

#[tokio::test]
async fn a_child_that_dies_takes_its_question_back() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let mut reply = client.post(&asking(5, "elicitation/create", FORM)).await;
    let question = reply.next_json().await;
    kill(Pid::from_raw(daemon.child_pid("a").await), Signal::SIGKILL).unwrap();
    let told = reply.next_json().await;
    assert_eq!(told["method"], "notifications/cancelled", "{told}");
    assert_eq!(told["params"]["requestId"], question["id"]);
    let answer = reply.next_json().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(5), &json!(1001)),
        "{answer}"
    );
    // It is too late, and disturbs nobody.
    let late = answering(&question["id"], r#""result":{"action":"accept"}"#);
    assert_eq!(client.post(&late).await.status, 202);
    daemon.ready("a").await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    let journal = daemon.setup.journal("a");
    assert!(
        !journal
            .iter()
            .any(|line| line.contains("accept") || line.starts_with("stray"))
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_cancelled_call_takes_its_question_with_it() {
    let daemon = Daemon::start(&[asker()]).await;
    let mut client = LineClient::launch(&daemon.setup);
    client.introduce(able("2025-11-25", &all(), "it")).await;
    let question = client.ask_json(&asking(5, "elicitation/create", FORM)).await;
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#)
        .await;
    daemon.setup.noted("a", "cancelled ").await;
    let told = client.next_json().await;
    assert_eq!(told["method"], "notifications/cancelled", "{told}");
    assert_eq!(told["params"]["requestId"], question["id"]);
    daemon
        .setup
        .noted("a", &heard(1, r#""result":{"action":"cancel"}"#))
        .await;
    assert_eq!(client.ask_json(&call(6, "a__echo", json!({}))).await["id"], 6);
    daemon.end().await;
}

#[tokio::test]
async fn only_the_first_answer_counts_and_an_answer_to_nothing_is_ignored() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let mut reply = client.post(&asking(1, "roots/list", "{}")).await;
    let question = reply.next_json().await;
    for stranger in [json!(999), json!("1"), json!("ask-1"), json!(0)] {
        let answer = answering(&stranger, r#""result":{"roots":"wrong"}"#);
        assert_eq!(client.post(&answer).await.status, 202, "{stranger}");
    }
    for roots in ["first", "second"] {
        let answer = answering(&question["id"], &format!(r#""result":{{"roots":"{roots}"}}"#));
        assert_eq!(client.post(&answer).await.status, 202, "{roots}");
    }
    assert_eq!(
        text_of(&reply.next_json().await),
        heard(1, r#""result":{"roots":"first"}"#)
    );
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    let journal = daemon.setup.journal("a");
    assert!(
        !journal
            .iter()
            .any(|line| line.contains("second") || line.starts_with("stray"))
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_session_that_ends_while_it_is_asked_is_a_cancel_for_the_child() {
    let daemon = Daemon::start(&[asker()]).await;
    for n in 1..=5 {
        let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
        let asked = asking_with(1, "elicitation/create", FORM, r#"{"deaf":"yes"}"#);
        let mut reply = client.post(&asked).await;
        reply.next_json().await;
        assert_eq!(client.mcp("DELETE", &[], "").await.status, 204);
        daemon
            .setup
            .noted("a", &heard(n, r#""result":{"action":"cancel"}"#))
            .await;
        // Before its late answer the child still works for the session that is gone, and may ask no other.
        daemon.setup.noted("a", &format!(r#"\"id\":\"ask-{n}\""#)).await;
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_question_outlives_the_call_it_was_thought_to_belong_to_while_another_may_have_asked() {
    let daemon = Daemon::start(&[asker()]).await;
    let mut client = LineClient::launch(&daemon.setup);
    client.introduce(able("2025-11-25", &all(), "it")).await;
    // Of two calls of one client the newer is taken for the one that asks; here it is the other.
    client
        .send(&asking_with(1, "elicitation/create", FORM, r#"{"ms":300}"#))
        .await;
    daemon.setup.called("a", "ask").await;
    client.send(&call(2, "a__out_of_order", json!({}))).await;
    let question = client.next_json().await;
    assert_eq!(question["method"], "elicitation/create");
    client.send(&call(3, "a__out_of_order", json!({}))).await;
    // Both end, in either order, and the question is not taken back.
    let ended = [client.next_json().await, client.next_json().await];
    assert!(
        ended.iter().all(|line| line["id"] == 2 || line["id"] == 3),
        "{ended:?}"
    );
    client
        .send(&answering(&question["id"], r#""result":{"action":"decline"}"#))
        .await;
    let asked = client.next_json().await;
    assert_eq!(asked["id"], 1, "{asked}");
    assert_eq!(text_of(&asked), heard(1, r#""result":{"action":"decline"}"#));
    daemon.end().await;
}

#[tokio::test]
async fn an_older_client_gets_the_form_that_it_knows() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.introduced(able("2025-06-18", &all(), "it")).await;
    let form = r#"{"mode":"form","message":"Which?","requestedSchema":{"type":"object","properties":{"a":{"type":"string","title":"A","oneOf":[{"const":"x","title":"X"},{"const":"y","title":"Y"}]},"b":{"type":"number","default":1.0}},"required":["a"]}}"#;
    let mut reply = client.post(&asking(1, "elicitation/create", form)).await;
    assert_eq!(
        reply.next_event().await.unwrap().data,
        r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"[a] Which?","requestedSchema":{"type":"object","properties":{"a":{"type":"string","title":"A","enum":["x","y"],"enumNames":["X","Y"]},"b":{"type":"number","default":1.0}},"required":["a"]}}}"#
    );
    let outcome = r#""result":{"action":"accept","content":{"a":"x"}}"#;
    client.post(&answering(&json!(1), outcome)).await;
    assert_eq!(text_of(&reply.next_json().await), heard(1, outcome));
    daemon.end().await;
}

#[tokio::test]
async fn what_a_cancelled_call_still_asks_is_put_to_no_other_client() {
    let daemon = Daemon::start(&[asker()]).await;
    let mut one = LineClient::launch(&daemon.setup);
    one.introduce(able("2025-11-25", &all(), "one")).await;
    let two = daemon.introduced(able("2025-11-25", &all(), "two")).await;
    // The child does not mind that it is cancelled, and asks when the other's call alone is in flight.
    one.send(&asking_with(
        1,
        "elicitation/create",
        FORM,
        r#"{"deaf":"yes","ms":400}"#,
    ))
    .await;
    daemon.setup.called("a", "ask").await;
    one.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
        .await;
    daemon.setup.noted("a", "cancelled ").await;
    let held = call(1, "a__out_of_order", json!({ "n": 1 }));
    let (reply, ()) = tokio::join!(two.post(&held), async {
        let told = daemon
            .setup
            .noted("a", r#"in {"jsonrpc":"2.0","id":"ask-1""#)
            .await;
        assert!(
            told.ends_with(&heard(1, r#""result":{"action":"cancel"}"#)),
            "{told}"
        );
        // The late answer is there: from now on the child works for the other one only.
        daemon.setup.noted("a", r#""text":"{\"jsonrpc"#).await;
        two.call("a__out_of_order", json!({ "n": 2 })).await;
    });
    assert!(!reply.is_stream(), "the client was sent something");
    let mut reply = two.post(&asking(5, "elicitation/create", FORM)).await;
    assert!(reply.is_stream(), "nobody else calls");
    let question = reply.next_json().await;
    let outcome = r#""result":{"action":"decline"}"#;
    two.post(&answering(&question["id"], outcome)).await;
    assert_eq!(text_of(&reply.next_json().await), heard(2, outcome));
    daemon.end().await;
}

#[tokio::test]
async fn what_the_client_tells_of_its_progress_reaches_the_server_that_asked_under_its_own_token() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = daemon.introduced(able("2025-11-25", &all(), "it")).await;
    let other = daemon.introduced(able("2025-11-25", &all(), "other")).await;
    let form = FORM.replace(r#""_meta":{"#, r#""_meta":{"progressToken":"mine","#);
    assert_ne!(form, FORM);
    let mut reply = client.post(&asking(7, "elicitation/create", &form)).await;
    let question = reply.next_json().await;
    let meta = &question["params"]["_meta"];
    assert_eq!(
        meta["progressToken"], question["id"],
        "its token is not for the client"
    );
    assert_eq!(
        meta.as_object().unwrap().len(),
        2,
        "and all else is there: {meta}"
    );
    let progress = |token: &Value, progress: u64| {
        let params = json!({ "progressToken": token, "progress": progress });
        json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }).to_string()
    };
    // Not what another client says, nor under the server's token.
    other.post(&progress(&meta["progressToken"], 1)).await;
    client.post(&progress(&json!("mine"), 2)).await;
    client.post(&progress(&meta["progressToken"], 3)).await;
    let told = daemon.setup.noted("a", "notifications/progress").await;
    let told: Value = serde_json::from_str(told.strip_prefix("in ").unwrap()).unwrap();
    assert_eq!(told["params"], json!({ "progressToken": "mine", "progress": 3 }));
    client
        .post(&answering(&question["id"], r#""result":{"action":"decline"}"#))
        .await;
    assert_eq!(reply.next_json().await["id"], 7);
    client.post(&progress(&meta["progressToken"], 4)).await;
    assert_eq!(
        text_of(&client.call("a__echo", json!({ "n": 1 })).await),
        r#"{"n":1}"#
    );
    let journal = daemon.setup.journal("a");
    let n_told = journal
        .iter()
        .filter(|line| line.contains("notifications/progress"));
    assert_eq!(n_told.count(), 1, "nothing after the answer");
    daemon.end().await;
}
