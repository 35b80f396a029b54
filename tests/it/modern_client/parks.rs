//! Calls whose servers ask something in the middle: the client is asked in a result and comes back.

use serde_json::{Map, Value, json};

use super::{accepted, asker, form, heard, interview, told};
use crate::harness::bare::{Bare, calling, coming_back, keys_of};
use crate::harness::{Daemon, fake, text_of, until};

fn sample() -> Value {
    json!({ "method": "sampling/createMessage", "params": {
        "messages": [{ "role": "user", "content": { "type": "text", "text": "a" } }], "maxTokens": 9,
    } })
}

#[tokio::test]
async fn every_kind_of_question_is_asked_in_a_result_and_answered_in_the_next_request() {
    let daemon = Daemon::start(&[asker(), fake("m").arg("--era", "modern").tools("interview")]).await;
    let client = Bare::new(&daemon.address);
    for server in ["a", "m"] {
        for (question, answer) in [
            (form("Sure?"), accepted(1)),
            (form("Sure?"), json!({ "action": "decline" })),
            (
                sample(),
                json!({ "role": "assistant", "content": { "type": "text", "text": "b" }, "model": "m" }),
            ),
            (
                json!({ "method": "roots/list" }),
                json!({ "roots": [{ "uri": "file:///x" }] }),
            ),
        ] {
            let params = calling(
                &format!("{server}__interview"),
                json!({ "rounds": [{ "k": question }] }),
            );
            let reply = client.begin(1, "tools/call", params.clone()).await;
            assert_eq!((reply.status, reply.is_stream()), (200, false));
            let asked = reply.json().await;
            let keys = keys_of(&asked);
            assert_eq!(keys.len(), 1);
            assert_eq!(
                asked["result"]["inputRequests"][&keys[0]]["method"],
                question["method"]
            );
            let done = told(&client.back(&params, &asked, json!({ &keys[0]: answer })).await);
            assert_eq!(done, json!({ "rounds": 1, "answers": [{ "k": answer }] }));
        }
    }
    assert_eq!(
        heard(&daemon, "a", "tools/call").len(),
        4,
        "to its server each is one call"
    );
    daemon.end().await;
}

#[tokio::test]
async fn questions_that_come_together_are_one_round_and_those_not_answered_are_asked_again() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    let params = interview(json!([{ "k1": form("one"), "k2": sample() }]));
    let asked = client.ask("tools/call", params.clone()).await;
    let keys = keys_of(&asked);
    assert_eq!(keys.len(), 2, "{asked}");
    let requests = &asked["result"]["inputRequests"];
    let is_form = |key: &&String| requests[*key]["method"] == "elicitation/create";
    let key_of_form = keys.iter().find(is_form).unwrap();
    let key_of_sample = keys.iter().find(|key| !is_form(key)).unwrap();
    // What it was not asked is passed over.
    let some = json!({ key_of_form: accepted(1), "extra": 7, "q999": {} });
    let again = client.back(&params, &asked, some).await;
    assert_eq!(&keys_of(&again), std::slice::from_ref(key_of_sample));
    assert_ne!(again["result"]["requestState"], asked["result"]["requestState"]);
    let again = client.back(&params, &again, json!({})).await;
    assert_eq!(
        &keys_of(&again),
        std::slice::from_ref(key_of_sample),
        "no answer is no fault"
    );
    let sampled = json!({ "role": "assistant", "content": { "type": "text", "text": "b" }, "model": "m" });
    let done = told(
        &client
            .back(&params, &again, json!({ key_of_sample: sampled }))
            .await,
    );
    assert_eq!(done["answers"], json!([{ "k1": accepted(1), "k2": sampled }]));
    daemon.end().await;
}

#[tokio::test]
async fn each_round_has_a_state_of_its_own_that_is_good_once() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    let params = interview(json!([{ "k": form("1") }, { "k": form("2") }, { "k": form("3") }]));
    let mut asked = client.ask("tools/call", params.clone()).await;
    let mut states = Vec::new();
    let mut all_keys = Vec::new();
    for n in 1..=3 {
        let key = keys_of(&asked).remove(0);
        assert_eq!(
            asked["result"]["inputRequests"][&key]["params"]["message"],
            format!("[a] {n}")
        );
        states.push(asked["result"]["requestState"].clone());
        let round = asked;
        asked = client.back(&params, &round, json!({ &key: accepted(n) })).await;
        // While the call goes on, too.
        let late = client.back(&params, &round, json!({ &key: accepted(n) })).await;
        assert_eq!(late["result"]["isError"], true, "{late}");
        all_keys.push(key);
    }
    let answers = json!([{ "k": accepted(1) }, { "k": accepted(2) }, { "k": accepted(3) }]);
    assert_eq!(told(&asked), json!({ "rounds": 3, "answers": answers }));
    states.dedup();
    all_keys.dedup();
    assert_eq!(
        (states.len(), all_keys.len()),
        (3, 3),
        "no key names two questions"
    );
    // Replayed.
    for state in states {
        let asked = json!({ "result": { "requestState": state } });
        let late = client.back(&params, &asked, json!({ "q1": accepted(1) })).await;
        assert_eq!(late["result"]["isError"], true, "{late}");
        assert!(text_of(&late).contains("a new one starts"), "{late}");
    }
    assert_eq!(heard(&daemon, "a", "tools/call").len(), 1);
    daemon.end().await;
}

#[tokio::test]
async fn a_wrong_shape_is_refused_and_the_client_may_come_again() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    let params = interview(json!([{ "k": form("1") }]));
    let asked = client.ask("tools/call", params.clone()).await;
    let key = keys_of(&asked).remove(0);
    for wrong in [
        json!([]),
        json!({ &key: 7 }),
        json!({ &key: [] }),
        json!({ &key: null }),
        json!({ &key: {} }),
        json!({ &key: { "action": "perhaps" } }),
    ] {
        let refused = client.back(&params, &asked, wrong.clone()).await;
        assert_eq!(refused["error"]["code"], -32602, "{wrong}: {refused}");
    }
    let done = client.back(&params, &asked, json!({ &key: accepted(4) })).await;
    assert_eq!(told(&done)["answers"], json!([{ "k": accepted(4) }]));
    daemon.end().await;
}

#[tokio::test]
async fn a_state_is_good_for_what_it_was_given_for_and_as_it_was_given() {
    let prompts = asker()
        .arg("--prompts", "ask_elicitation")
        .arg("--resources", "ask:elicitation");
    let (ours, theirs) = ([prompts], [asker()]);
    let (daemon, other) = tokio::join!(Daemon::start(&ours), Daemon::start(&theirs));
    let client = Bare::new(&daemon.address);
    let params = interview(json!([{ "k": form("1") }]));
    let asked = client.ask("tools/call", params.clone()).await;
    let answers = json!({ keys_of(&asked).remove(0): accepted(1) });
    let state = asked["result"]["requestState"].as_str().unwrap();
    let altered = |at: usize| {
        let mut bytes = state.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        json!({ "result": { "requestState": String::from_utf8(bytes).unwrap() } })
    };
    let foreign = Bare::new(&other.address).ask("tools/call", params.clone()).await;
    let mut other_tool = params.clone();
    other_tool["name"] = json!("a__ask");
    let other_arguments = interview(json!([{ "k": form("2") }]));
    let mut without = params.clone();
    without.as_object_mut().unwrap().remove("arguments");
    let text = |state: &str| json!({ "result": { "requestState": state } });
    for (params, asked) in [
        (&params, altered(10)),
        (&params, altered(state.len() / 2)),
        (&params, altered(state.len() - 2)),
        (&params, text("g1.")),
        (&params, text("anything")),
        (&params, text(&state[..state.len() - 8])),
        (&params, foreign),
        (&other_tool, asked.clone()),
        (&other_arguments, asked.clone()),
        (&without, asked.clone()),
    ] {
        let refused = client.back(params, &asked, answers.clone()).await;
        assert_eq!(refused["error"]["code"], -32602, "{params} {refused}");
        assert_eq!(refused["error"]["data"]["reason"], "request_state", "{refused}");
    }
    let prompt = json!({ "name": "a__ask_elicitation" });
    let refused = client
        .ask("prompts/get", coming_back(&prompt, &asked, answers.clone()))
        .await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    // The same arguments in another order and notation are the same.
    assert_eq!(
        told(&client.back(&params, &asked, answers.clone()).await)["rounds"],
        1
    );
    for (method, params) in [
        ("prompts/get", prompt),
        ("resources/read", json!({ "uri": "ask:elicitation" })),
    ] {
        let asked = client.ask(method, params.clone()).await;
        let back = coming_back(&params, &asked, json!({ keys_of(&asked).remove(0): accepted(3) }));
        let done = client.ask(method, back.clone()).await;
        assert_eq!(done["result"]["resultType"], "complete", "{done}");
        assert!(done.to_string().contains(r#"\"n\":3"#), "{done}");
        // Its state has been used, and is good once, also where nothing could be done twice.
        let replayed = client.ask(method, back).await;
        assert_eq!(replayed["error"]["code"], -32602, "{replayed}");
    }
    daemon.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_question_that_the_client_has_not_declared_is_refused_to_the_server() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::able(&daemon.address, json!({}));
    // The server lives without it.
    let params = interview(json!([{ "k": form("1") }]));
    let done = told(&client.ask("tools/call", params).await);
    assert!(done["answers"][0]["k"]["error"]["code"].is_number(), "{done}");
    // It does not: the client hears what it would have to be able to do.
    for (question, required) in [
        (form("1"), json!({ "elicitation": { "form": {} } })),
        (sample(), json!({ "sampling": {} })),
        (json!({ "method": "roots/list" }), json!({ "roots": {} })),
    ] {
        let params = calling(
            "a__interview",
            json!({ "strict": true, "rounds": [{ "k": question }] }),
        );
        let reply = client.begin(1, "tools/call", params).await;
        assert_eq!(reply.status, 400);
        let refused = reply.json().await;
        assert_eq!(refused["error"]["code"], -32021, "{refused}");
        assert_eq!(refused["error"]["data"]["requiredCapabilities"], required);
    }
    let url = calling("a__url_required", json!({ "ids": ["e1"] }));
    let reply = client.begin(1, "tools/call", url).await;
    assert_eq!(reply.status, 400);
    let refused = reply.json().await;
    assert_eq!(refused["error"]["code"], -32021, "{refused}");
    let required = &refused["error"]["data"]["requiredCapabilities"];
    assert_eq!(*required, json!({ "elicitation": { "url": {} } }));
    daemon.end().await;
}

#[tokio::test]
async fn a_page_that_has_to_be_opened_is_asked_for_and_the_call_made_again() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    let params = calling("a__url_required", json!({ "ids": ["e1", "e2"] }));
    let asked = client.ask("tools/call", params.clone()).await;
    let keys = keys_of(&asked);
    assert_eq!(keys.len(), 2, "{asked}");
    for key in &keys {
        let question = &asked["result"]["inputRequests"][key];
        assert_eq!(question["params"]["mode"], "url", "{question}");
        assert!(question["params"].get("elicitationId").is_none(), "{question}");
    }
    let yes = json!({ &keys[0]: { "action": "accept" }, &keys[1]: { "action": "accept" } });
    for id in ["e1", "e2"] {
        client.call("a__url_done", json!({ "id": id })).await;
    }
    let done = client.back(&params, &asked, yes).await;
    assert_eq!(text_of(&done), json!({ "ids": ["e1", "e2"] }).to_string());
    // One that does not open them is asked again, but not for ever. By no id could anybody say that it is done.
    let page = json!({ "mode": "url", "message": "m", "url": "https://x.example" });
    let error = json!({ "code": -32042, "message": "m", "data": { "elicitations": [page] } });
    let params = calling("a__raw_error", json!({ "error": error }));
    let mut asked = client.ask("tools/call", params.clone()).await;
    let mut n_asked = 0;
    while asked["result"].is_object() {
        n_asked += 1;
        let lies = json!({ keys_of(&asked).remove(0): { "action": "accept" } });
        asked = client.back(&params, &asked, lies).await;
    }
    assert_eq!((n_asked, &asked["error"]["code"]), (5, &json!(-32603)), "{asked}");
    let asked = client.call("a__url_required", json!({ "ids": ["e3"] })).await;
    let no = json!({ keys_of(&asked).remove(0): { "action": "decline" } });
    let params = calling("a__url_required", json!({ "ids": ["e3"] }));
    let declined = client.back(&params, &asked, no).await;
    assert_eq!(declined["result"]["isError"], true, "{declined}");
    daemon.end().await;
}

#[tokio::test]
async fn who_comes_back_before_the_page_is_done_waits_for_it_and_is_not_asked_twice() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    let params = calling("a__url_required", json!({ "ids": ["e1", "e2"] }));
    let asked = client.ask("tools/call", params.clone()).await;
    let yes: Map<String, Value> = keys_of(&asked)
        .into_iter()
        .map(|key| (key, json!({ "action": "accept" })))
        .collect();
    let n_called = || {
        let calls = heard(&daemon, "a", "tools/call");
        let is_it = |call: &&Value| call["params"]["name"] == "url_required";
        calls.iter().filter(is_it).count()
    };
    let coming_back = client.back(&params, &asked, yes.into());
    let (done, ()) = tokio::join!(coming_back, async {
        until("the call made again", async || (n_called() == 2).then_some(())).await;
        for (id, n_wanted) in [("e1", 2), ("e2", 3)] {
            assert_eq!(n_called(), n_wanted.min(2), "nobody is done with all of it");
            client.call("a__url_done", json!({ "id": id })).await;
            until("the call made once more", async || {
                (n_called() == n_wanted).then_some(())
            })
            .await;
        }
    });
    assert_eq!(text_of(&done), json!({ "ids": ["e1", "e2"] }).to_string());
    daemon.end().await;
}

#[tokio::test]
async fn after_a_round_progress_bears_the_new_token_and_a_level_counts_for_its_request() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    let mut params = calling(
        "a__interview",
        json!({ "steps": 2, "rounds": [{ "k": form("1") }, { "k": form("2") }] }),
    );
    params["_meta"] = json!({ "progressToken": "old" });
    let reply = client.begin(1, "tools/call", params.clone()).await;
    let mut all = reply.events().await;
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[1].data.contains(r#""progressToken":"old""#));
    let asked: Value = serde_json::from_str(&all.pop().unwrap().data).unwrap();
    params["_meta"] = json!({ "progressToken": 0 });
    let back = coming_back(&params, &asked, json!({ keys_of(&asked).remove(0): accepted(1) }));
    let reply = client.begin(2, "tools/call", back).await;
    let mut all = reply.events().await;
    let asked: Value = serde_json::from_str(&all.pop().unwrap().data).unwrap();
    let steps: Vec<Value> = all
        .iter()
        .map(|event| serde_json::from_str(&event.data).unwrap())
        .collect();
    assert_eq!(steps.len(), 2, "{steps:?}");
    for (n, step) in (3..).zip(&steps) {
        assert_eq!(step["params"]["progressToken"], 0, "{step}");
        assert_eq!(step["params"]["progress"], n, "it goes on growing");
    }
    params.as_object_mut().unwrap().remove("_meta");
    assert_eq!(
        told(
            &client
                .back(&params, &asked, json!({ keys_of(&asked).remove(0): accepted(2) }))
                .await
        )["rounds"],
        2
    );
    daemon.end().await;
}

#[tokio::test]
async fn whether_a_request_hears_log_messages_is_said_anew_in_each() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    let rounds = json!([{ "k": form("1") }, { "k": form("2") }, { "k": form("3") }]);
    let plain = calling("a__interview", json!({ "log": "info", "rounds": rounds }));
    let mut leveled = plain.clone();
    leveled["_meta"] = json!({ "io.modelcontextprotocol/logLevel": "info" });
    let mut next = leveled.clone();
    for (n, params) in (1..).zip([&plain, &leveled]) {
        // With messages it is a stream.
        let hears = next.get("_meta").is_some();
        let reply = client.begin(1, "tools/call", next).await;
        assert_eq!(reply.is_stream(), hears, "round {n}");
        let asked: Value = if hears {
            let events = reply.events().await;
            assert!(
                events.len() == 2 && events[0].data.contains("notifications/message"),
                "{events:?}"
            );
            serde_json::from_str(&events[1].data).unwrap()
        } else {
            reply.json().await
        };
        next = coming_back(params, &asked, json!({ keys_of(&asked).remove(0): accepted(n) }));
    }
    let reply = client.begin(1, "tools/call", next).await;
    assert!(reply.is_stream(), "it hears again");
    assert_eq!(reply.events().await.len(), 2);
    daemon.end().await;
}

#[tokio::test]
async fn the_rounds_of_a_server_without_handshake_are_its_own() {
    let daemon = Daemon::start(&[fake("m").arg("--era", "modern").tools("interview")]).await;
    let client = Bare::new(&daemon.address);
    let params = calling(
        "m__interview",
        json!({ "rounds": [{ "k1": form("1"), "k2": sample() }, {}, { "k1": form("3") }] }),
    );
    let mut asked = client.ask("tools/call", params.clone()).await;
    assert_eq!(keys_of(&asked), ["k1", "k2"]);
    let sampled = json!({ "role": "assistant", "content": { "type": "text", "text": "b" }, "model": "m" });
    asked = client
        .back(&params, &asked, json!({ "k1": accepted(1), "k2": sampled }))
        .await;
    // A round without a question is a state alone.
    assert!(asked["result"].get("inputRequests").is_none(), "{asked}");
    let state = asked["result"]["requestState"].as_str().unwrap();
    assert!(
        state.starts_with("g1."),
        "{state}: as the server wrote it, any client could alter it"
    );
    asked = client.back(&params, &asked, json!({})).await;
    assert_eq!(keys_of(&asked), ["k1"]);
    let other = calling("m__interview", json!({ "rounds": [] }));
    let refused = client.back(&other, &asked, json!({ "k1": accepted(3) })).await;
    assert_eq!(refused["error"]["data"]["reason"], "request_state", "{refused}");
    let done = told(&client.back(&params, &asked, json!({ "k1": accepted(3) })).await);
    let answers = json!([{ "k1": accepted(1), "k2": sampled }, {}, { "k1": accepted(3) }]);
    assert_eq!(done["answers"], answers);
    daemon.end().await;
}
