//! Questions by `input_required`, round by round.

use serde_json::{Value, json};

use super::alone::Alone;
use super::{all, form};
use crate::harness::text_of;

/// The parameters of the retry of a call.
fn retry(arguments: &Value, asked: &Value, responses: &Value) -> Value {
    let mut params = json!({ "name": "echo", "arguments": arguments, "inputResponses": responses });
    if let Some(state) = asked["result"].get("requestState") {
        params["requestState"] = state.clone();
    }
    params
}

#[tokio::test]
async fn an_interview_takes_its_rounds_and_looks_at_each_retry() {
    let mut child = Alone::modern(&[]);
    let rounds = json!([{ "a": form("one"), "b": { "method": "roots/list" } }, {}, { "c": form("three") }]);
    let arguments = json!({ "do": "interview", "rounds": rounds });
    let first = child.call(arguments.clone(), &all()).await;
    assert_eq!(first["result"]["resultType"], "input_required");
    assert_eq!(first["result"]["inputRequests"]["a"], form("one"));
    assert_eq!(first["result"]["inputRequests"]["b"]["method"], "roots/list");
    assert!(first["result"].get("ttlMs").is_none());

    // Half of the answers: the rest is asked once more.
    let half = retry(
        &arguments,
        &first,
        &json!({ "a": { "action": "decline" }, "zz": {} }),
    );
    let again = child.ask("tools/call", half, &all()).await;
    let keys: Vec<_> = again["result"]["inputRequests"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(keys, ["b"]);
    child.noted("retry partial id=2 round=1 missing=b").await;

    let rest = retry(&arguments, &again, &json!({ "b": { "roots": [] } }));
    let second = child.ask("tools/call", rest, &all()).await;
    assert!(second["result"].get("inputRequests").is_none(), "{second}");
    assert!(second["result"]["requestState"].is_string());
    child
        .noted("retry ok id=3 round=1 state=exact keys=a,b extra=")
        .await;

    let mut only_state = retry(&arguments, &second, &json!({}));
    only_state.as_object_mut().unwrap().remove("inputResponses");
    let third = child.ask("tools/call", only_state, &all()).await;
    assert_eq!(third["result"]["inputRequests"]["c"], form("three"));

    let last = retry(
        &arguments,
        &third,
        &json!({ "c": { "action": "accept", "content": { "n": 1 } } }),
    );
    let over = child.ask("tools/call", last, &all()).await;
    assert_eq!(over["result"]["resultType"], "complete");
    let told: Value = serde_json::from_str(text_of(&over)).unwrap();
    let expected = json!({
        "rounds": 3,
        "answers": [
            { "a": { "action": "decline" }, "b": { "roots": [] } },
            {},
            { "c": { "action": "accept", "content": { "n": 1 } } },
        ],
    });
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_retry_that_breaks_a_rule_is_refused() {
    let mut child = Alone::modern(&[]);
    let arguments = json!({ "do": "interview", "rounds": [{ "a": form("one") }] });
    let asked = child.call(arguments.clone(), &all()).await;
    let good = retry(&arguments, &asked, &json!({ "a": { "action": "accept" } }));

    let mut changed = good.clone();
    // What it says is as good: another round.
    let state = changed["requestState"]
        .as_str()
        .unwrap()
        .replacen("3a30", "3a31", 1);
    assert_ne!(changed["requestState"], json!(state));
    changed["requestState"] = json!(state);
    let mut trimmed = good.clone();
    trimmed["requestState"] = json!(
        good["requestState"]
            .as_str()
            .unwrap()
            .trim_end_matches('\u{2028}')
    );
    let mut without = good.clone();
    without.as_object_mut().unwrap().remove("requestState");
    let mut elsewhere = good.clone();
    elsewhere["arguments"]["more"] = json!(1);
    for (bad, why) in [
        (changed, "is not what was given"),
        (trimmed, "is not what was given"),
        (without, "has no requestState"),
        (elsewhere, "parameters are not those"),
    ] {
        let refused = child.ask("tools/call", bad, &all()).await;
        assert_eq!(refused["error"]["code"], -32602, "{why}");
        child.noted(why).await;
    }
    // The id of the first round.
    child.n_asked = 0;
    let refused = child.ask("tools/call", good.clone(), &all()).await;
    assert_eq!(refused["error"]["code"], -32602);
    child.noted("its id is that of an earlier round").await;
    // Nothing is kept: another process can go on.
    let mut other = Alone::modern(&[]);
    other.n_asked = 50;
    let over = other.ask("tools/call", good, &all()).await;
    assert_eq!(over["result"]["resultType"], "complete", "{over}");
}

#[tokio::test]
async fn without_a_state_the_keys_tell_the_round() {
    let mut child = Alone::modern(&[]);
    let rounds = json!([{ "a": form("one") }, { "b": form("two") }]);
    let arguments = json!({ "do": "interview", "rounds": rounds, "state": "omitted" });
    let first = child.call(arguments.clone(), &all()).await;
    assert!(first["result"].get("requestState").is_none());
    let params = retry(&arguments, &first, &json!({ "a": { "action": "accept" } }));
    let second = child.ask("tools/call", params, &all()).await;
    assert!(second["result"]["inputRequests"]["b"].is_object(), "{second}");
    child
        .noted("retry ok id=2 round=1 state=none keys=a extra=")
        .await;
    let mut invented = retry(&arguments, &second, &json!({ "b": { "action": "accept" } }));
    invented["requestState"] = json!("made up");
    let refused = child.ask("tools/call", invented, &all()).await;
    assert_eq!(refused["error"]["code"], -32602);
    let params = retry(&arguments, &second, &json!({ "b": { "action": "accept" } }));
    let over = child.ask("tools/call", params, &all()).await;
    assert_eq!(
        text_of(&over),
        r#"{"rounds":1,"answers":[{"b":{"action":"accept"}}]}"#
    );
}

#[tokio::test]
async fn nobody_is_asked_what_was_not_declared() {
    let mut child = Alone::modern(&["--prompts", "ask_sampling", "--resources", "ask:roots"]);
    let url = json!({ "method": "elicitation/create", "params": { "mode": "url", "message": "m", "url": "https://x.example" } });
    let round = json!([{ "a": form("f"), "b": url, "c": { "method": "roots/list" } }]);
    let arguments = json!({ "do": "interview", "rounds": round });
    let refused = child.call(arguments.clone(), &json!({ "elicitation": {} })).await;
    assert_eq!(refused["error"]["code"], -32021);
    assert_eq!(
        refused["error"]["data"]["requiredCapabilities"],
        json!({ "elicitation": { "url": {} }, "roots": {} })
    );
    let mut degrading = arguments.clone();
    degrading["degrade"] = json!(true);
    let over = child.call(degrading, &json!({})).await;
    assert!(text_of(&over).contains(r#""a":{"undeclared":true}"#), "{over}");
    let mut rude = arguments;
    rude["undeclared"] = json!(true);
    let asked = child.call(rude, &json!({})).await;
    assert_eq!(asked["result"]["resultType"], "input_required");

    let prompt = json!({ "name": "ask_sampling" });
    let refused = child.ask("prompts/get", prompt.clone(), &json!({})).await;
    assert_eq!(
        refused["error"]["data"]["requiredCapabilities"],
        json!({ "sampling": {} })
    );
    let asked = child.ask("prompts/get", prompt.clone(), &all()).await;
    let mut again = prompt;
    again["requestState"] = asked["result"]["requestState"].clone();
    again["inputResponses"] = json!({ "sampling": { "role": "assistant" } });
    let over = child.ask("prompts/get", again, &all()).await;
    let said = over["result"]["messages"][0]["content"]["text"].as_str().unwrap();
    assert!(said.contains(r#"{"sampling":{"role":"assistant"}}"#), "{over}");

    let read = child
        .ask("resources/read", json!({ "uri": "ask:roots" }), &all())
        .await;
    assert_eq!(read["result"]["inputRequests"]["roots"]["method"], "roots/list");
}
