//! What children ask clients, by revision of both.

use serde_json::{Value, json};

use super::bare::{Asking, Pairs};
use super::base::raw_call;
use super::cell::{Cell, Door, Outcome, Revision, V03, V06, V11, V26};
use super::peer::{Came, Peer};
use crate::harness::{text_of, until};

const SAMPLE: &str = r#"{"zz":null,"messages":[{"role":"user","content":{"type":"text","text":"a\u0062"}}],"maxTokens":1.0e2}"#;
const FORM: &str = r#"{"message":"Sure?","requestedSchema":{"type":"object","properties":{"n":{"type":"number","minimum":1.0}}}}"#;
const CHOICE: &str = r#"{"mode":"form","message":"Which?","requestedSchema":{"type":"object","properties":{"a":{"type":"string","oneOf":[{"const":"x","title":"X"},{"const":"y","title":"Y"}]}}}}"#;
const SEVERAL: &str = r#"{"mode":"form","message":"Which?","requestedSchema":{"type":"object","properties":{"a":{"type":"array","items":{"type":"string","enum":["x","y"]}}}}}"#;
const URL: &str =
    r#"{"mode":"url","message":"Log in.","url":"https://x.example/in","elicitationId":"of-the-child"}"#;
const URL_NEEDED: &str = r#"{"code":-32042,"message":"Log in first.","data":{"elicitations":[{"mode":"url","url":"https://x.example/in","elicitationId":"e","message":"m"}]}}"#;

const NO_ELICITATION: Outcome = Outcome::NotDefined("servers of this revision have no elicitation");
const NO_URL: Outcome = Outcome::NotDefined("servers of this revision have no elicitation by url");
const NO_CHOICES: Outcome = Outcome::NotDefined("forms of this revision have no titled or multiple choices");

/// An answer with this outcome, which is a member of a message.
fn answer_to(question: &Came, outcome: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},{outcome}}}"#, question.id().unwrap())
}

fn params_of(question: &Came) -> &str {
    let (_, params) = question.text.split_once(r#","params":"#).unwrap();
    params.strip_suffix('}').unwrap()
}

/// What came of a question: what the child heard, as its tool told it, or the answer to the call that was refused.
#[derive(Debug)]
struct Heard {
    of: Revision,
    answer: Value,
}

/// One question of the tool `ask`: what the client was asked, if it was, and what the child heard.
async fn put(
    cell: &Cell,
    peer: &mut Peer,
    method: &str,
    params: &str,
    outcome: &str,
) -> (Option<Came>, Heard) {
    put_by(cell, &cell.tool("ask"), peer, method, params, outcome).await
}

async fn put_by(
    cell: &Cell,
    tool: &str,
    peer: &mut Peer,
    method: &str,
    params: &str,
    outcome: &str,
) -> (Option<Came>, Heard) {
    let arguments = format!(r#"{{"method":"{method}","params":{params}}}"#);
    peer.send(&raw_call("\"ask\"", tool, &arguments)).await;
    let mut came = peer
        .up_to("\"ask\"", |question| answer_to(question, outcome))
        .await;
    let answer = came.pop().unwrap();
    came.retain(Came::is_question);
    assert!(came.len() <= 1, "asked more than once: {came:?}");
    for question in &came {
        if !peer.is_bare() {
            assert_eq!(question.way, answer.way, "{} came on another way", question.text);
        }
        assert_eq!(question.method().as_deref(), Some(method));
    }
    let answer = answer.json();
    (
        came.pop(),
        Heard {
            of: cell.child,
            answer,
        },
    )
}

/// The child heard the outcome as the client wrote it.
#[track_caller]
fn assert_heard(heard: &Heard, outcome: &str) {
    let text = text_of(&heard.answer);
    if heard.of == V26 {
        assert_eq!(text, format!("{{{outcome}}}"));
        return;
    }
    assert!(text.starts_with(r#"{"jsonrpc":"2.0","id":"ask-"#), "{text}");
    assert!(text.ends_with(&format!(",{outcome}}}")), "{text}");
}

/// The client was not asked. A child of the handshake era hears this error; one of 2026-07-28 asks in its answer to the
/// call, which is refused instead: by itself, as it knows what the client can do, or on behalf of the client.
#[track_caller]
fn assert_refused(asked: Option<&Came>, heard: &Heard, code: i64) {
    assert!(asked.is_none(), "the client was asked: {asked:?}");
    let answer = &heard.answer;
    if heard.of != V26 {
        let text = text_of(answer);
        let text: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"));
        assert_eq!(text["error"]["code"], code, "{text}");
    } else if answer.get("error").is_some() {
        assert_eq!(answer["error"]["code"], -32021, "{answer}");
        assert!(
            answer["error"]["data"]["requiredCapabilities"].is_object(),
            "{answer}"
        );
    } else {
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        assert!(!text_of(answer).is_empty(), "{answer}");
    }
}

/// A client that says no in place of an answer.
async fn refuse(cell: &Cell, peer: &mut Peer) {
    let refusal = r#""error":{"code":-1,"message":"no \u006eo","data":[1.0]}"#;
    let (asked, heard) = put(cell, peer, "sampling/createMessage", SAMPLE, refusal).await;
    assert!(asked.is_some());
    if cell.has_bare_child() {
        // It cannot be told so: the call ends.
        assert_eq!(heard.answer["result"]["isError"], true, "{heard:?}");
        assert_eq!(text_of(&heard.answer), "no no");
    } else {
        assert_heard(&heard, refusal);
    }
}

pub(crate) async fn sampling(cell: Cell) -> Outcome {
    let mut peer = cell.able().await;
    let outcome =
        r#""result":{"role":"assistant","content":{"type":"text","text":"\u0061"},"model":"m","x":1.0}"#;
    let (asked, heard) = put(&cell, &mut peer, "sampling/createMessage", SAMPLE, outcome).await;
    assert_eq!(params_of(&asked.unwrap()), SAMPLE);
    assert_heard(&heard, outcome);
    // Without a handshake a client that says no does not come back.
    if !cell.is_bare() {
        refuse(&cell, &mut peer).await;
    }
    Outcome::Pass("S")
}

pub(crate) async fn sampling_with_tools(cell: Cell) -> Outcome {
    if cell.child < V11 {
        return Outcome::NotDefined("servers of this revision sample without tools");
    }
    let mut peer = cell.able().await;
    let params = r#"{"messages":[],"maxTokens":1,"tools":[]}"#;
    let outcome = r#""result":{"role":"assistant","content":[],"model":"m"}"#;
    let (asked, heard) = put(&cell, &mut peer, "sampling/createMessage", params, outcome).await;
    if cell.client >= V11 {
        assert_eq!(params_of(&asked.unwrap()), params);
        assert_heard(&heard, outcome);
        return Outcome::Pass("S");
    }
    assert_refused(asked.as_ref(), &heard, -32602);
    Outcome::Pass("s⁻")
}

pub(crate) async fn sampling_content(cell: Cell) -> Outcome {
    if cell.child < V03 {
        return Outcome::NotDefined("servers of this revision sample with text and images only");
    }
    let mut peer = cell.able().await;
    let ask = "sampling/createMessage";
    let outcome = r#""result":{"role":"assistant","content":{"type":"text","text":"a"},"model":"m"}"#;
    let audio = r#"{"messages":[{"role":"user","content":{"type":"audio","data":"AAAAAAAA","mimeType":"audio/wav"}}],"maxTokens":1.0}"#;
    let (asked, heard) = put(&cell, &mut peer, ask, audio, outcome).await;
    let asked = asked.unwrap();
    assert_heard(&heard, outcome);
    if cell.client >= V03 {
        assert_eq!(params_of(&asked), audio);
    } else {
        let content = &asked.json()["params"]["messages"][0]["content"];
        assert_eq!(content["type"], "text", "{content}");
        assert!(
            content["text"].as_str().unwrap().contains("audio/wav"),
            "{content}"
        );
    }
    if cell.child >= V11 {
        let text = r#"{"type":"text","text":"a"}"#;
        let several =
            format!(r#"{{"messages":[{{"role":"user","content":[{text},{text}]}}],"maxTokens":1.0}}"#);
        let (asked, heard) = put(&cell, &mut peer, ask, &several, outcome).await;
        if cell.client >= V11 {
            assert_eq!(params_of(&asked.unwrap()), several);
            assert_heard(&heard, outcome);
        } else {
            assert_refused(asked.as_ref(), &heard, -32602);
        }
    }
    let is_as_it_was = cell.client >= V03 && (cell.client >= V11 || cell.child < V11);
    Outcome::Pass(if is_as_it_was { "S" } else { "s⁻" })
}

pub(crate) async fn roots(cell: Cell) -> Outcome {
    let server = cell.own_server();
    let tool = |name: &str| format!("{server}__{name}");
    let (mut one, mut two) = (cell.able().await, cell.able().await);
    let mut pids = Vec::new();
    for (peer, who) in [(&mut one, "one"), (&mut two, "two")] {
        let outcome = format!(r#""result":{{"roots":[{{"uri":"file:///{who}","x":1.0}}]}}"#);
        let (asked, heard) = put_by(&cell, &tool("ask"), peer, "roots/list", "{}", &outcome).await;
        assert!(asked.is_some());
        assert_heard(&heard, &outcome);
        pids.push(text_of(&peer.call(&tool("pid"), json!({})).await).to_owned());
    }
    if cell.is_bare() && cell.door == Door::Http {
        // There is nothing by which they could be told apart; what each is asked it is asked by itself.
        return Outcome::Pass("R");
    }
    assert_ne!(pids[0], pids[1], "each session has a process of its own");
    if cell.is_bare() || cell.has_bare_child() {
        // Nobody tells that folders have changed: they are asked for when they are needed.
        one.end().await;
        two.end().await;
        return Outcome::Pass("R");
    }
    // The process knows its client's abilities, and the shared one must not count on anybody's folders.
    let journal = |server: &str| cell.daemon().setup.journal(server);
    let is_greeting = |line: &&String| line.starts_with("in ") && line.contains(r#""method":"initialize""#);
    let is_declared = |line: &&String| is_greeting(line) && line.contains(r#""roots":{"listChanged":true}"#);
    assert!(journal(&server).iter().any(|line| is_declared(&line)));
    let shared = journal(&cell.server());
    assert!(
        shared
            .iter()
            .filter(is_greeting)
            .all(|line| !line.contains("roots"))
    );
    let before = journal(&server).len();
    one.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#)
        .await;
    until("news of the folders in the child", async || {
        let noted = journal(&server).split_off(before);
        let is_it = |line: &String| line.contains("notifications/roots/list_changed");
        noted.iter().any(is_it).then_some(())
    })
    .await;
    one.end().await;
    two.end().await;
    Outcome::Pass("R")
}

pub(crate) async fn form(cell: Cell) -> Outcome {
    if cell.child < V06 {
        return NO_ELICITATION;
    }
    let mut peer = cell.able().await;
    let outcome = r#""result":{"action":"accept","content":{"n":1.0,"m":1e400},"x":"\u0061"}"#;
    let (asked, heard) = put(&cell, &mut peer, "elicitation/create", FORM, outcome).await;
    if cell.client < V06 {
        assert_refused(asked.as_ref(), &heard, -32601);
        // The child goes on: the call was answered, and so is the next.
        let answer = peer.call(&cell.tool("echo"), json!({ "on": 1 })).await;
        assert_eq!(text_of(&answer), r#"{"on":1}"#);
        return Outcome::Pass("e⁻");
    }
    let stamped = FORM.replace("Sure?", &format!("[{}] Sure?", cell.server()));
    assert_eq!(params_of(&asked.unwrap()), stamped);
    assert_heard(&heard, outcome);
    Outcome::Pass("E")
}

pub(crate) async fn choices(cell: Cell) -> Outcome {
    if cell.child < V11 {
        return NO_CHOICES;
    }
    let mut peer = cell.able().await;
    let outcome = r#""result":{"action":"accept","content":{"a":"x"}}"#;
    let (asked, heard) = put(&cell, &mut peer, "elicitation/create", CHOICE, outcome).await;
    if cell.client < V06 {
        assert_refused(asked.as_ref(), &heard, -32601);
        return Outcome::Pass("e⁻");
    }
    assert_heard(&heard, outcome);
    let asked = asked.unwrap();
    let several = put(&cell, &mut peer, "elicitation/create", SEVERAL, outcome).await;
    if cell.client >= V11 {
        let stamp = |form: &str| form.replace("Which?", &format!("[{}] Which?", cell.server()));
        assert_eq!(params_of(&asked), stamp(CHOICE));
        assert_eq!(params_of(&several.0.unwrap()), stamp(SEVERAL));
        assert_heard(&several.1, outcome);
        return Outcome::Pass("E");
    }
    let params = &asked.json()["params"];
    assert!(params["mode"].is_null(), "{params}");
    let older = json!({ "type": "string", "enum": ["x", "y"], "enumNames": ["X", "Y"] });
    assert_eq!(params["requestedSchema"]["properties"]["a"], older);
    assert_refused(several.0.as_ref(), &several.1, -32602);
    Outcome::Pass("E↓")
}

pub(crate) async fn url(cell: Cell) -> Outcome {
    if cell.child < V11 {
        return NO_URL;
    }
    let mut peer = cell.able().await;
    let outcome = r#""result":{"action":"accept"}"#;
    let url = if cell.has_bare_child() {
        Pairs::of(URL).without(&["elicitationId"]).text()
    } else {
        URL.to_owned()
    };
    let (asked, heard) = put(&cell, &mut peer, "elicitation/create", &url, outcome).await;
    if cell.client < V11 {
        let code = if cell.client < V06 { -32601 } else { -32602 };
        assert_refused(asked.as_ref(), &heard, code);
        return Outcome::Pass("u⁻");
    }
    assert_heard(&heard, outcome);
    let stamped = URL.replace("Log in.", &format!("[{}] Log in.", cell.server()));
    let asked = asked.unwrap();
    if cell.is_bare() || cell.has_bare_child() {
        // It has an id in 2025-11-25 only.
        let params = Pairs::of(params_of(&asked));
        let id = params.get("elicitationId").map(str::to_owned);
        let rest = params.without(&["elicitationId"]).text();
        assert_eq!(rest, Pairs::of(&stamped).without(&["elicitationId"]).text());
        assert_eq!(id.is_some(), !cell.is_bare(), "{}", asked.text);
        assert!(id.is_none_or(|id| id.len() > 2));
        return Outcome::Pass("U");
    }
    assert_eq!(params_of(&asked), stamped);
    // The end of it is told to who was asked.
    let params = json!({ "elicitationId": "of-the-child", "x": 1 });
    let arguments = json!({ "method": "notifications/elicitation/complete", "params": params });
    let id = peer.begin(&cell.tool("notify"), arguments).await;
    let (mut told, mut is_answered) = (None, false);
    while told.is_none() || !is_answered {
        let came = peer.next().await;
        is_answered |= came.id() == Some(&id);
        if came.method().as_deref() == Some("notifications/elicitation/complete") {
            told = Some(came.json()["params"].clone());
        }
    }
    assert_eq!(told.unwrap(), params);
    Outcome::Pass("U")
}

pub(crate) async fn url_needed(cell: Cell) -> Outcome {
    if cell.child < V11 {
        return NO_URL;
    }
    if cell.child == V26 {
        return Outcome::NotDefined("servers of this revision ask for it in a result");
    }
    let mut peer = cell.able().await;
    if cell.is_bare() {
        let arguments = json!({ "do": "url_required", "ids": ["first"], "ms": 0 });
        let accept = |question: &Came| answer_to(question, r#""result":{"action":"accept"}"#);
        let (questions, answer) = peer.asked(&cell.tool("echo"), arguments, accept).await;
        assert!(text_of(&answer).contains("url_required"), "{answer}");
        for question in &questions {
            let params = &question.json()["params"];
            assert_eq!(params["url"], "https://x.example/first", "{params}");
            assert_eq!(params["mode"], "url", "{params}");
            assert!(params.get("elicitationId").is_none(), "{params}");
        }
        assert!(!questions.is_empty());
        return Outcome::Pass("U");
    }
    let arguments = format!(r#"{{"error":{URL_NEEDED}}}"#);
    let answer = peer
        .ask_raw(&raw_call("1", &cell.tool("raw_error"), &arguments), "1")
        .await;
    if cell.client >= V11 {
        assert_eq!(
            answer,
            format!(r#"{{"jsonrpc":"2.0","id":1,"error":{URL_NEEDED}}}"#)
        );
        return Outcome::Pass("U");
    }
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let said = text_of(&answer);
    assert!(
        said.contains("Log in first.") && said.contains("https://x.example/in"),
        "{said}"
    );
    Outcome::Pass("u⁻")
}

pub(crate) async fn unable(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let mut all = vec![("sampling/createMessage", SAMPLE), ("roots/list", "{}")];
    if cell.child >= V06 {
        all.push(("elicitation/create", FORM));
    }
    if cell.child >= V11 {
        all.push(("elicitation/create", URL));
    }
    for (method, params) in all {
        let (asked, heard) = put(&cell, &mut peer, method, params, r#""result":{}"#).await;
        assert_refused(asked.as_ref(), &heard, -32601);
    }
    Outcome::Pass("e⁻")
}

/// The round that a question of the tool `ask_many` bears.
fn round_of(question: &Came) -> u64 {
    question.json()["params"]["round"].as_u64().unwrap()
}

#[track_caller]
fn assert_rounds(answer: &Value, n: u64) {
    let lines: Vec<&str> = text_of(answer).lines().collect();
    assert_eq!(lines.len(), usize::try_from(n).unwrap(), "{answer}");
    for (line, round) in lines.iter().zip(1..) {
        assert!(
            line.ends_with(&format!(r#""model":"m","round":{round}}}}}"#)),
            "the answer to question {round} went astray: {line}"
        );
    }
}

/// A model's answer that says to which round it belongs.
fn result_of_round(question: &Came) -> String {
    let round = round_of(question);
    format!(r#""result":{{"role":"assistant","content":[],"model":"m","round":{round}}}"#)
}

pub(crate) async fn two_at_once(cell: Cell) -> Outcome {
    let mut peer = cell.able().await;
    let arguments = json!({ "method": "sampling/createMessage", "n": 2, "together": "yes" });
    if cell.is_bare() {
        let reply = |question: &Came| {
            let outcome = result_of_round(question);
            answer_to(question, &outcome)
        };
        let (questions, answer) = peer.asked(&cell.tool("ask_many"), arguments, reply).await;
        assert_eq!(questions.len(), 2);
        assert_eq!(questions[0].way, questions[1].way, "both in one result");
        assert_eq!(peer.states().len(), 1, "both in one result");
        assert_rounds(&answer, 2);
        return Outcome::Pass("S");
    }
    let id = peer.begin(&cell.tool("ask_many"), arguments).await;
    // Both are there before either is answered, and the later one is answered first.
    let mut questions = Vec::new();
    while questions.len() < 2 {
        questions.push(peer.until(Came::is_question).await);
    }
    assert_ne!(questions[0].id(), questions[1].id());
    for question in questions.iter().rev() {
        let outcome = result_of_round(question);
        peer.send(&answer_to(question, &outcome)).await;
    }
    let answer = peer.until(|came| came.id() == Some(&id)).await;
    assert!(questions.iter().all(|question| question.way == answer.way));
    assert_rounds(&answer.json(), 2);
    Outcome::Pass("S")
}

pub(crate) async fn three_in_a_row(cell: Cell) -> Outcome {
    let mut peer = cell.able().await;
    let arguments = json!({ "method": "sampling/createMessage", "n": 3 });
    let reply = |question: &Came| answer_to(question, &result_of_round(question));
    let (questions, answer) = peer.asked(&cell.tool("ask_many"), arguments, reply).await;
    let rounds: Vec<u64> = questions.iter().map(round_of).collect();
    assert_eq!(rounds, [1, 2, 3]);
    if cell.is_bare() {
        let mut states = peer.states().to_vec();
        states.sort_unstable();
        states.dedup();
        assert_eq!(states.len(), 3, "each round has a state of its own");
    }
    assert_rounds(&answer, 3);
    Outcome::Pass("S")
}

/// Asks once, and gives what the client got: the request and its answer.
async fn asked_once(cell: &Cell, peer: &mut Peer) -> (String, Asking) {
    let arguments = format!(r#"{{"method":"sampling/createMessage","params":{SAMPLE}}}"#);
    let call = raw_call("\"first\"", &cell.tool("ask"), &arguments);
    peer.send(&call).await;
    let came = peer.until(|came| came.id() == Some("\"first\"")).await;
    (
        call,
        Asking::of(&came.text).unwrap_or_else(|| panic!("{}", came.text)),
    )
}

pub(crate) async fn bound_state(cell: Cell) -> Outcome {
    if !cell.is_bare() {
        return Outcome::NotDefined("clients of this revision keep no state for servers");
    }
    let mut peer = cell.able().await;
    let (call, asking) = asked_once(&cell, &mut peer).await;
    let mut answers = Pairs::default();
    for (key, _) in &asking.questions.0 {
        answers.set(key, r#"{"role":"assistant","content":[],"model":"m"}"#.to_owned());
    }
    let state = asking.state.clone().expect("a state");
    // A byte of it changed, and the same state for other arguments and for another tool.
    let at = state.len() / 2;
    let other = if state.as_bytes()[at] == b'A' { "B" } else { "A" };
    let mut tampered = state.clone();
    tampered.replace_range(at..=at, other);
    let tampered = Asking {
        state: Some(tampered),
        questions: Pairs::default(),
    };
    for (n, wrong) in [
        tampered.retry(&call, "1", &answers),
        asking.retry(
            &call.replace("100", "101").replace("1.0e2", "1.1e2"),
            "2",
            &answers,
        ),
        asking.retry(&call.replace("__ask", "__echo"), "3", &answers),
    ]
    .iter()
    .enumerate()
    {
        let answer = peer.ask_raw(wrong, &(n + 1).to_string()).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["code"], -32602, "{wrong}: {answer}");
    }
    // None of these has used it up.
    let answer = peer.ask_raw(&asking.retry(&call, "4", &answers), "4").await;
    assert!(answer.contains(r#"\"model\":\"m\""#), "{answer}");
    // A state that stands for a call that waits is good once, also where the tool changes nothing. A child of 2026-07-28
    // has not waited at all: the state is its own, and so is what comes of it a second time.
    let before = cell.noted_until_now();
    let answer = peer.ask_raw(&asking.retry(&call, "5", &answers), "5").await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let n_called = cell
        .noted_since(before)
        .iter()
        .filter(|line| line.contains("tools/call"))
        .count();
    assert_eq!(n_called, usize::from(cell.child == V26));
    assert_eq!(answer["result"]["isError"] == true, cell.child != V26, "{answer}");
    Outcome::Pass("S")
}
