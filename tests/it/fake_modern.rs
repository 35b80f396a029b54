//! The scripted child as a server of 2026-07-28, by itself: what the other tests rely on.

use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

use crate::harness::{soon, text_of, until};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const SERVER: &str = "io.modelcontextprotocol/serverInfo";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const LEVEL: &str = "io.modelcontextprotocol/logLevel";
const TASKS: &str = "io.modelcontextprotocol/tasks";

/// A child, and its two ends.
struct Alone {
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    process: tokio::process::Child,
    folder: TempDir,
    n_asked: u64,
}

impl Alone {
    fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_fake-child"))
            .arg("--journal")
            .arg(folder.path().join("journal"))
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            stdin: process.stdin.take().unwrap(),
            stdout: BufReader::new(process.stdout.take().unwrap()).lines(),
            process,
            folder,
            n_asked: 0,
        }
    }

    fn modern(flags: &[&str]) -> Self {
        Self::start(&[&["--era", "modern"], flags].concat())
    }

    async fn tell(&mut self, message: Value) {
        let line = format!("{message}\n");
        soon("room in the pipe", self.stdin.write_all(line.as_bytes()))
            .await
            .unwrap();
    }

    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        let line = soon("a line", self.stdout.next_line()).await.unwrap()?;
        let message: Value = serde_json::from_str(&line).unwrap();
        let is_request = message.get("method").is_some() && message.get("id").is_some();
        assert!(!is_request, "a server of this era asks nothing by itself: {line}");
        Some(message)
    }

    async fn some(&mut self) -> Value {
        self.next().await.expect("one more line")
    }

    /// Sends a request whose `_meta` is as it stands here. Returns its id.
    async fn send(&mut self, method: &str, mut params: Value, meta: Value) -> u64 {
        self.n_asked += 1;
        params["_meta"] = meta;
        let id = self.n_asked;
        self.tell(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
        id
    }

    /// The answer to a request of a client that can do this.
    async fn ask(&mut self, method: &str, params: Value, able: &Value) -> Value {
        let id = self.send(method, params, meta(able)).await;
        let answer = self.some().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    async fn call(&mut self, arguments: Value, able: &Value) -> Value {
        let params = json!({ "name": "echo", "arguments": arguments });
        self.ask("tools/call", params, able).await
    }

    /// Waits for a line of the journal that contains this.
    async fn noted(&self, what: &str) {
        let path = self.folder.path().join("journal");
        until(format!("`{what}` in the journal"), async || {
            let journal = std::fs::read_to_string(&path).unwrap_or_default();
            journal.lines().any(|line| line.contains(what)).then_some(())
        })
        .await;
    }
}

fn meta(able: &Value) -> Value {
    json!({ VERSION: "2026-07-28", CAPABILITIES: able })
}

fn all() -> Value {
    json!({
        "elicitation": { "form": {}, "url": {} },
        "sampling": { "tools": {} },
        "roots": {},
        "extensions": { TASKS: {} },
    })
}

fn form(message: &str) -> Value {
    json!({ "method": "elicitation/create", "params": { "message": message, "requestedSchema": { "type": "object" } } })
}

/// The parameters of the retry of a call.
fn retry(arguments: &Value, asked: &Value, responses: &Value) -> Value {
    let mut params = json!({ "name": "echo", "arguments": arguments, "inputResponses": responses });
    if let Some(state) = asked["result"].get("requestState") {
        params["requestState"] = state.clone();
    }
    params
}

#[tokio::test]
async fn the_modern_child_tells_what_it_is_and_refuses_what_the_era_has_not() {
    let mut child = Alone::modern(&["--resources", "x://a", "--instructions", "be kind"]);
    let told = child.ask("server/discover", json!({}), &json!({})).await;
    let result = &told["result"];
    assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["_meta"][SERVER]["name"], "fake-child");
    assert_eq!(
        (&result["ttlMs"], &result["cacheScope"]),
        (&json!(60_000), &json!("private"))
    );
    assert_eq!(result["instructions"], "be kind");
    assert_eq!(result["capabilities"]["resources"]["subscribe"], true);
    assert!(result.get("serverInfo").is_none() && result.get("protocolVersion").is_none());

    let listed = child.ask("tools/list", json!({}), &json!({})).await;
    assert_eq!(listed["result"]["ttlMs"], 60_000);
    assert_eq!(listed["result"]["resultType"], "complete");
    let called = child.call(json!({ "a": 1 }), &json!({})).await;
    assert_eq!(text_of(&called), r#"{"a":1}"#);
    assert_eq!(called["result"]["resultType"], "complete");
    assert!(called["result"].get("ttlMs").is_none(), "{called}");

    let greeted = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
    let refused = child.ask("initialize", greeted, &json!({})).await;
    assert_eq!(refused["error"]["code"], -32022);
    assert_eq!(
        refused["error"]["data"],
        json!({ "supported": ["2026-07-28"], "requested": "2025-11-25" })
    );
    for method in ["ping", "logging/setLevel", "resources/subscribe", "tasks/get"] {
        let refused = child.ask(method, json!({}), &json!({})).await;
        assert_eq!(refused["error"]["code"], -32601, "{method}");
    }
    let missing = child
        .ask("resources/read", json!({ "uri": "x://no" }), &json!({}))
        .await;
    assert_eq!(missing["error"]["code"], -32602);
    assert_eq!(missing["error"]["data"]["uri"], "x://no");

    for lacking in [VERSION, CAPABILITIES] {
        let mut meta = meta(&json!({}));
        meta.as_object_mut().unwrap().remove(lacking);
        child.send("tools/list", json!({}), meta).await;
        let refused = child.some().await;
        assert_eq!(refused["error"]["code"], -32602, "{lacking}");
        assert!(refused["error"]["message"].as_str().unwrap().contains(lacking));
    }
    let other = json!({ VERSION: "2027-01-01", CAPABILITIES: {} });
    child.send("tools/list", json!({}), other).await;
    let refused = child.some().await;
    assert_eq!(refused["error"]["code"], -32022);
    assert_eq!(refused["error"]["data"]["requested"], "2027-01-01");
}

#[tokio::test]
async fn what_a_result_says_itself_stays_as_it_was_written() {
    let mut child = Alone::modern(&[]);
    let raw = r#"{"z":1.0e1,"e":{},"_meta":{},"content":[]}"#;
    let params = format!(r#"{{"name":"echo","arguments":{{"do":"raw","result":{raw}}}}}"#);
    let meta = meta(&json!({}));
    let line = format!(
        r#"{{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{},"_meta":{meta}}}}}"#,
        params.trim_end_matches('}').to_owned() + "}}"
    );
    child
        .stdin
        .write_all(format!("{line}\n").as_bytes())
        .await
        .unwrap();
    let answer = soon("a line", child.stdout.next_line()).await.unwrap().unwrap();
    let info = r#"{"io.modelcontextprotocol/serverInfo":{"name":"fake-child","version":"1.0.0"}}"#;
    assert_eq!(
        answer,
        format!(
            r#"{{"jsonrpc":"2.0","id":9,"result":{{"resultType":"complete","z":1.0e1,"e":{{}},"_meta":{info},"content":[]}}}}"#
        )
    );
}

#[tokio::test]
async fn the_dual_child_keeps_to_the_era_of_the_first_message() {
    let greeted = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
    let mut modern = Alone::start(&["--era", "dual"]);
    let told = modern.ask("server/discover", json!({}), &json!({})).await;
    let supported = told["result"]["supportedVersions"].as_array().unwrap();
    assert_eq!((supported.len(), &supported[0]), (5, &json!("2026-07-28")));
    let refused = modern.ask("initialize", greeted.clone(), &json!({})).await;
    assert_eq!(refused["error"]["code"], -32022);

    let mut legacy = Alone::start(&["--era", "dual"]);
    legacy
        .tell(json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": greeted }))
        .await;
    let told = legacy.some().await;
    assert_eq!(told["result"]["protocolVersion"], "2025-11-25");
    assert!(told["result"].get("resultType").is_none());
    let refused = legacy.ask("server/discover", json!({}), &json!({})).await;
    assert_eq!(refused["error"]["code"], -32600);
    legacy
        .tell(json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" }))
        .await;
    assert_eq!(legacy.some().await["result"], json!({}));
}

#[tokio::test]
async fn a_probe_falls_into_each_trap() {
    for (trap, code) in [("error=-32601", -32601), ("error=-32602", -32602)] {
        let mut child = Alone::start(&["--on-discover", trap]);
        let answer = child.ask("server/discover", json!({}), &json!({})).await;
        assert_eq!(answer["error"]["code"], code);
    }
    let mut plain = Alone::start(&[]);
    let answer = plain.ask("server/discover", json!({}), &json!({})).await;
    assert_eq!(answer["error"]["code"], -32601);

    let mut exits = Alone::start(&["--on-discover", "exit"]);
    exits.send("server/discover", json!({}), meta(&json!({}))).await;
    assert_eq!(exits.next().await, None);
    assert_eq!(
        soon("the end", exits.process.wait()).await.unwrap().code(),
        Some(1)
    );

    let mut closes = Alone::start(&["--on-discover", "error=-32000,close"]);
    let answer = closes.ask("server/discover", json!({}), &json!({})).await;
    assert_eq!(answer["error"]["code"], -32000);
    assert_eq!(closes.next().await, None);

    let mut old = Alone::start(&["--on-discover", "legacy-versions"]);
    let answer = old.ask("server/discover", json!({}), &json!({})).await;
    let supported = &answer["result"]["supportedVersions"];
    assert_eq!(
        supported,
        &json!(["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])
    );

    let mut newer = Alone::start(&["--on-discover", "unsupported=2027-01-01"]);
    let answer = newer.ask("server/discover", json!({}), &json!({})).await;
    assert_eq!(answer["error"]["code"], -32022);
    assert_eq!(answer["error"]["data"]["supported"], json!(["2027-01-01"]));

    // What comes after the probe is answered first, and by the silent one as the only thing.
    for (trap, answers_late) in [("silent", false), ("late=0.2", true)] {
        let mut child = Alone::start(&["--on-discover", trap]);
        let probe = child.send("server/discover", json!({}), meta(&json!({}))).await;
        child
            .tell(json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" }))
            .await;
        assert_eq!(child.some().await["id"], "p");
        if answers_late {
            let late = child.some().await;
            assert_eq!(
                (&late["id"], &late["result"]["supportedVersions"][0]),
                (&json!(probe), &json!("2026-07-28"))
            );
        }
        drop(child.stdin);
        assert_eq!(soon("the end", child.stdout.next_line()).await.unwrap(), None);
    }
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
    let state = changed["requestState"].as_str().unwrap().replacen('2', "3", 1);
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

#[tokio::test]
async fn logs_come_to_whoever_wants_them_and_progress_under_its_token() {
    let mut child = Alone::modern(&[]);
    let quiet = child
        .call(json!({ "do": "log", "level": "error" }), &json!({}))
        .await;
    assert_eq!(quiet["result"]["resultType"], "complete");
    let mut wanting = meta(&json!({}));
    wanting[LEVEL] = json!("warning");
    for (level, is_told) in [("error", true), ("info", false)] {
        let params = json!({ "name": "echo", "arguments": { "do": "log", "level": level } });
        let id = child.send("tools/call", params, wanting.clone()).await;
        let mut next = child.some().await;
        if is_told {
            assert_eq!(next["params"]["level"], level);
            next = child.some().await;
        }
        assert_eq!(next["id"], id);
    }
    wanting[LEVEL] = json!("loud");
    child.send("tools/list", json!({}), wanting).await;
    assert_eq!(child.some().await["error"]["code"], -32602);

    let mut hoping = meta(&json!({}));
    hoping["progressToken"] = json!("t");
    let params = json!({ "name": "echo", "arguments": { "do": "progress", "n": 2 } });
    let id = child.send("tools/call", params, hoping).await;
    for step in 1..=2 {
        let told = child.some().await;
        assert_eq!(
            (&told["params"]["progressToken"], &told["params"]["progress"]),
            (&json!("t"), &json!(step))
        );
    }
    assert_eq!(child.some().await["id"], id);
}

#[tokio::test]
async fn a_cancelled_call_is_never_answered() {
    let mut child = Alone::modern(&[]);
    let params = json!({ "name": "echo", "arguments": { "do": "sleep", "ms": 60_000 } });
    let id = child.send("tools/call", params, meta(&json!({}))).await;
    child
        .tell(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } }))
        .await;
    child.noted(&format!("cancelled {id}")).await;
    let next = child.call(json!({}), &json!({})).await;
    assert_eq!(next["result"]["resultType"], "complete");
}

#[tokio::test]
async fn those_who_listen_hear_what_they_asked_for() {
    let mut child = Alone::modern(&["--resources", "x://a"]);
    let wanted =
        json!({ "toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": ["x://a"] });
    let first = child
        .send(
            "subscriptions/listen",
            json!({ "notifications": wanted }),
            meta(&json!({})),
        )
        .await;
    let acknowledged = child.some().await;
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    let honoured = json!({ "toolsListChanged": true, "resourceSubscriptions": ["x://a"] });
    assert_eq!(acknowledged["params"]["notifications"], honoured);
    assert_eq!(acknowledged["params"]["_meta"][SUBSCRIPTION], first);
    let only_tools = json!({ "notifications": { "toolsListChanged": true } });
    let second = child
        .send("subscriptions/listen", only_tools, meta(&json!({})))
        .await;
    assert_eq!(child.some().await["params"]["_meta"][SUBSCRIPTION], second);

    let updates = json!({ "name": "echo", "arguments": { "do": "updated", "uri": "x://a" } });
    let id = child.send("tools/call", updates, meta(&json!({}))).await;
    let told = child.some().await;
    assert_eq!(
        told["params"],
        json!({ "_meta": { SUBSCRIPTION: first }, "uri": "x://a" })
    );
    assert_eq!(child.some().await["id"], id);

    let grows = json!({ "name": "echo", "arguments": { "do": "grow", "name": "more" } });
    child.send("tools/call", grows.clone(), meta(&json!({}))).await;
    for listener in [first, second] {
        let told = child.some().await;
        assert_eq!(told["method"], "notifications/tools/list_changed");
        assert_eq!(told["params"]["_meta"][SUBSCRIPTION], listener);
    }
    child.some().await;
    child
        .tell(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": first } }))
        .await;
    child.noted(&format!("listen cancelled {first}")).await;
    child.send("tools/call", grows, meta(&json!({}))).await;
    assert_eq!(child.some().await["params"]["_meta"][SUBSCRIPTION], second);
    child.some().await;

    let ends = json!({ "name": "echo", "arguments": { "do": "end_listens", "how": "both" } });
    child.send("tools/call", ends, meta(&json!({}))).await;
    let result = child.some().await;
    assert_eq!(
        (&result["id"], &result["result"]["_meta"][SUBSCRIPTION]),
        (&json!(second), &json!(second))
    );
    let cancelled = child.some().await;
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], second);
}

#[tokio::test]
async fn shapes_and_headers_are_those_of_the_era() {
    let names = "shape_array,shape_text,shape_null,shape_ref,header_good,header_twice";
    let mut child = Alone::modern(&["--tools", names]);
    let listed = child.ask("tools/list", json!({}), &json!({})).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    assert_eq!(tools[0]["outputSchema"]["type"], "array");
    assert_eq!(
        tools[3]["outputSchema"]["$defs"]["node"]["properties"]["below"]["$ref"],
        "#"
    );
    let headed = &tools[4]["inputSchema"]["properties"];
    assert_eq!(headed["in"]["properties"]["deep"]["x-mcp-header"], "Deep");
    let nothing = child
        .ask("tools/call", json!({ "name": "shape_null" }), &json!({}))
        .await;
    assert_eq!(nothing["result"].get("structuredContent"), Some(&Value::Null));
    let array = child
        .ask("tools/call", json!({ "name": "shape_array" }), &json!({}))
        .await;
    assert_eq!(array["result"]["structuredContent"], json!([1, 2, 3]));
}

#[tokio::test]
async fn a_task_asks_is_answered_and_ends() {
    let mut child = Alone::modern(&["--tasks", "--tools", "must_a,may_b"]);
    let told = child.ask("server/discover", json!({}), &json!({})).await;
    assert_eq!(told["result"]["capabilities"]["extensions"], json!({ TASKS: {} }));
    let plain = child
        .ask("tools/call", json!({ "name": "may_b" }), &json!({}))
        .await;
    assert_eq!(plain["result"]["resultType"], "complete");
    let refused = child
        .ask("tools/call", json!({ "name": "must_a" }), &json!({}))
        .await;
    assert_eq!(refused["error"]["code"], -32021);
    let required = json!({ "extensions": { TASKS: {} } });
    assert_eq!(refused["error"]["data"]["requiredCapabilities"], required);

    let arguments = json!({ "rounds": [{ "n": form("name") }, { "n": form("again") }], "pollIntervalMs": 7 });
    let made = child
        .ask(
            "tools/call",
            json!({ "name": "must_a", "arguments": arguments }),
            &all(),
        )
        .await;
    let task = &made["result"];
    assert_eq!(
        (&task["resultType"], &task["status"]),
        (&json!("task"), &json!("working"))
    );
    assert_eq!(
        (&task["pollIntervalMs"], &task["ttlMs"]),
        (&json!(7), &Value::Null)
    );
    let own = json!({ "taskId": task["taskId"] });
    for (key, said) in [("i1-n", "name"), ("i2-n", "again")] {
        let asking = polled(&mut child, &own, "input_required").await;
        assert_eq!(asking["inputRequests"], json!({ key: form(said) }));
        let mut update = own.clone();
        update["inputResponses"] = json!({ key: { "action": "accept" }, "other": {} });
        let acknowledged = child.ask("tasks/update", update, &all()).await;
        assert_eq!(acknowledged["result"]["resultType"], "complete");
        child
            .noted(&format!(r#"heard {key}={{"action":"accept"}}"#))
            .await;
    }
    let over = polled(&mut child, &own, "completed").await;
    assert!(
        over["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("rounds")
    );

    let listening = json!({ "notifications": { "taskIds": ["task-2"] } });
    let refused = child
        .ask("subscriptions/listen", listening.clone(), &json!({}))
        .await;
    assert_eq!(refused["error"]["code"], -32021);
    let id = child.send("subscriptions/listen", listening, meta(&all())).await;
    assert_eq!(
        child.some().await["params"]["notifications"]["taskIds"],
        json!(["task-2"])
    );
    let held = json!({ "name": "may_b", "arguments": { "hold": 1 } });
    let made = child.ask("tools/call", held, &all()).await;
    assert_eq!(made["result"]["taskId"], "task-2");
    let own = json!({ "taskId": "task-2" });
    child.send("tasks/cancel", own.clone(), meta(&all())).await;
    let told = child.some().await;
    assert_eq!(
        (&told["method"], &told["params"]["status"]),
        (&json!("notifications/tasks"), &json!("cancelled"))
    );
    assert_eq!(told["params"]["_meta"][SUBSCRIPTION], id);
    assert_eq!(child.some().await["result"]["resultType"], "complete");
    let unknown = child
        .ask("tasks/get", json!({ "taskId": "task-9" }), &all())
        .await;
    assert_eq!(unknown["error"]["code"], -32602);
    let undeclared = child.ask("tasks/get", own, &json!({})).await;
    assert_eq!(undeclared["error"]["code"], -32021);
}

/// Polls until the task stands so.
async fn polled(child: &mut Alone, own: &Value, status: &str) -> Value {
    loop {
        let told = child.ask("tasks/get", own.clone(), &all()).await;
        if told["result"]["status"] == status {
            return told["result"].clone();
        }
        assert_ne!(told["result"]["status"], "failed", "{told}");
    }
}
