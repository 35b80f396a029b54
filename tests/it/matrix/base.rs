//! The base set: what every client gets of every child.

use serde_json::{Value, json};

use super::bare::Pairs;
use super::cell::{Cell, N_MANY, Outcome, REVISIONS, V03, V06, V11, V26};
use super::peer::{Came, LISTEN, Peer};
use crate::harness::{names_of, request, text_of, until};

const BASE: Outcome = Outcome::Pass("B");

/// Everything that a typed proxy spoils: unknown members, nulls, numbers beyond doubles, odd escapes and orders.
const ODD: &str = concat!(
    r#"{"zeta":null,"content":[{"type":"text","text":"\ud800 \u2028","annotations":null}],"#,
    r#""big":9007199254740993,"huge":1e400,"minus":-0,"point":1.0,"Alpha":{"b":[],"a":{}},"#,
    r#""isError":false,"_meta":{"x.example/y":[null,0.10]}}"#
);

pub(crate) async fn handshake(cell: Cell) -> Outcome {
    let peer = cell.plain().await;
    let greeting: Value = serde_json::from_str(&peer.greeting).unwrap();
    if cell.is_bare() {
        let versions = greeting["result"]["supportedVersions"].as_array().unwrap();
        assert!(versions.contains(&json!(V26)), "{greeting}");
    } else {
        assert_eq!(greeting["result"]["protocolVersion"], cell.client, "{greeting}");
    }
    let journal = cell.daemon().setup.journal(&cell.server());
    let count = |what: &[&str]| {
        let is_it = |line: &&String| what.iter().all(|part| line.contains(part));
        journal.iter().filter(is_it).count()
    };
    let version = format!(r#""protocolVersion":"{}""#, cell.child);
    let n_starts = journal.iter().filter(|line| line.starts_with("start ")).count();
    assert!(n_starts > 0);
    let n_greeted = if cell.has_bare_child() { 0 } else { n_starts };
    assert_eq!(count(&["in ", r#""method":"initialize""#]), n_greeted);
    assert_eq!(count(&["in ", r#""method":"initialize""#, V11]), n_greeted);
    assert_eq!(count(&["out ", &version]), n_greeted);
    assert_eq!(count(&["in ", "notifications/initialized"]), n_greeted);
    if cell.has_bare_child() {
        assert!(count(&["in ", r#""method":"server/discover""#]) >= n_starts);
    }
    let server = cell.daemon().server(&cell.server()).await;
    assert_eq!(server["state"], "ready", "{server}");
    BASE
}

pub(crate) async fn ping(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let before = cell.noted_until_now();
    let answer = peer.ask_raw(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#, "\"p\"");
    let answer = answer.await;
    if cell.is_bare() {
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["code"], -32601, "{answer}");
        assert_eq!(answer["id"], "p");
    } else {
        assert_eq!(answer, r#"{"jsonrpc":"2.0","id":"p","result":{}}"#);
    }
    if cell.has_bare_child() {
        let noted = cell.noted_since(before);
        assert!(!noted.iter().any(|line| line.contains(r#""method":"ping""#)));
    }
    BASE
}

/// All pages of a list as one.
async fn whole(peer: &mut Peer, method: &str, member: &str) -> (Vec<Value>, usize) {
    let (mut all, mut n_pages, mut params) = (Vec::new(), 0, json!({}));
    loop {
        let answer = peer.ask(method, params).await;
        let page = answer["result"][member].as_array();
        all.extend(page.unwrap_or_else(|| panic!("{answer}")).iter().cloned());
        n_pages += 1;
        let Some(cursor) = answer["result"].get("nextCursor") else {
            return (all, n_pages);
        };
        params = json!({ "cursor": cursor });
        assert!(n_pages < 10, "the list has no end");
    }
}

fn has(list: &[Value], key: &str, wanted: &str) -> bool {
    list.iter().any(|item| item[key] == wanted)
}

pub(crate) async fn lists(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let (tools, _) = whole(&mut peer, "tools/list", "tools").await;
    let (prompts, _) = whole(&mut peer, "prompts/list", "prompts").await;
    let (resources, _) = whole(&mut peer, "resources/list", "resources").await;
    let (templates, n_pages) = whole(&mut peer, "resources/templates/list", "resourceTemplates").await;
    // The child's own pages have two items each, so these are of three pages and of eight.
    for tool in ["echo", "show", "in_batch"] {
        assert!(has(&tools, "name", &cell.tool(tool)), "{tool} is missing");
    }
    for prompt in ["plain", "show", "third"] {
        assert!(has(&prompts, "name", &cell.tool(prompt)), "{prompt} is missing");
    }
    for n in 1..=3 {
        assert!(has(&resources, "uri", &cell.uri(n)), "resource {n} is missing");
    }
    assert!(has(&templates, "uriTemplate", &cell.template()));
    for revision in REVISIONS {
        let other = Cell::new(&cell.group, revision);
        assert!(has(&tools, "name", &other.tool("echo")), "not merged: {revision}");
    }
    assert_eq!(n_pages, 2);
    assert_eq!(templates.len(), N_MANY + 2 * REVISIONS.len());
    let answer = peer.ask("tools/list", json!({ "cursor": "nonsense" })).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    BASE
}

pub(crate) async fn listed_members(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let (tools, _) = whole(&mut peer, "tools/list", "tools").await;
    let tool = tools.iter().find(|tool| tool["name"] == cell.tool("show"));
    let tool = tool.unwrap_or_else(|| panic!("no tool"));
    // Additive: a client passes over what it does not know, so nothing is taken away.
    for (member, since) in [
        ("annotations", V03),
        ("title", V06),
        ("outputSchema", V06),
        ("_meta", V06),
        ("icons", V11),
    ] {
        assert_eq!(!tool[member].is_null(), cell.child >= since, "{member}: {tool}");
    }
    BASE
}

pub(crate) async fn equal_lists(cell: Cell) -> Outcome {
    let (mut one, mut two) = (cell.plain().await, cell.able().await);
    for method in ["tools/list", "prompts/list", "resources/list"] {
        let asked = request("same", method, json!({}));
        let first = one.ask_raw(&asked, "\"same\"").await;
        assert_eq!(first, two.ask_raw(&asked, "\"same\"").await, "{method}");
        assert!(first.contains(&cell.server()), "{first}");
    }
    BASE
}

/// A tool call whose arguments are written as given.
pub(crate) fn raw_call(id: &str, tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    )
}

/// The result arrives as the child wrote it; for a client without a handshake with what each result of its revision
/// has, behind all else.
#[track_caller]
fn assert_result(cell: &Cell, answer: &str, id: &str, result: &str) {
    if !cell.is_bare() {
        assert_eq!(
            answer,
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
        );
        return;
    }
    let answer = Pairs::of(answer);
    assert_eq!(answer.get("id"), Some(id));
    let (came, wanted) = (Pairs::of(answer.get("result").unwrap()), Pairs::of(result));
    assert_eq!(came.get("resultType"), Some(r#""complete""#));
    let meta = |all: &Pairs| Pairs::of(all.get("_meta").unwrap_or("{}"));
    let info = "io.modelcontextprotocol/serverInfo";
    assert!(
        meta(&came)
            .get(info)
            .is_some_and(|info| info.contains("mcp-wrapper"))
    );
    assert_eq!(meta(&came).without(&[info]).0, meta(&wanted).0);
    let ours = ["resultType", "_meta"];
    assert_eq!(came.without(&ours).0, wanted.without(&ours).0);
}

pub(crate) async fn call_tool(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let answer = peer.call(&cell.tool("echo"), json!({ "n": 1 })).await;
    assert_eq!(text_of(&answer), r#"{"n":1}"#);
    BASE
}

pub(crate) async fn read(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    for uri in [cell.uri(2), cell.template().replace("{x}", "7")] {
        let answer = peer.ask("resources/read", json!({ "uri": uri })).await;
        let content = &answer["result"]["contents"][0];
        assert_eq!(content["uri"], uri, "{answer}");
        assert_eq!(content["text"], format!("text of {uri}"), "{answer}");
    }
    BASE
}

pub(crate) async fn missing(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let not_found = if cell.is_bare() { -32602 } else { -32002 };
    // One that the child denies, and one that no child can have.
    for uri in [cell.uri(99), "nobody://1".to_owned()] {
        let answer = peer.ask("resources/read", json!({ "uri": uri })).await;
        assert_eq!(answer["error"]["code"], not_found, "{answer}");
        if cell.is_bare() {
            assert_eq!(answer["error"]["data"]["uri"], uri, "{answer}");
        }
    }
    for name in [cell.tool("nothing"), "nobody__echo".to_owned()] {
        let answer = peer.call(&name, json!({})).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        let answer = peer.ask("prompts/get", json!({ "name": name })).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    let answer = peer.ask("no/such/method", json!({})).await;
    assert_eq!(answer["error"]["code"], -32601, "{answer}");
    BASE
}

pub(crate) async fn get(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let params = json!({ "name": cell.tool("third"), "arguments": { "k": "v" } });
    let answer = peer.ask("prompts/get", params).await;
    assert_eq!(
        answer["result"]["messages"][0]["content"]["text"], r#"prompt third {"k":"v"}"#,
        "{answer}"
    );
    BASE
}

pub(crate) async fn complete(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    // The capability came with 2025-03-26, the method was there before.
    for reference in [
        json!({ "type": "ref/prompt", "name": cell.tool("plain") }),
        json!({ "type": "ref/resource", "uri": cell.template() }),
    ] {
        let argument = json!({ "name": "k", "value": "ab" });
        let context = json!({ "arguments": { "before": "x" } });
        let params = json!({ "ref": reference, "argument": argument, "context": context });
        let before = cell.noted_until_now();
        let answer = peer.ask("completion/complete", params).await;
        let values = &answer["result"]["completion"]["values"];
        assert_eq!(*values, json!(["ab1", "ab2"]), "{answer}");
        let noted = cell.noted_since(before);
        let heard = noted.iter().find(|line| line.contains("completion/complete"));
        // What was filled in before came with 2025-06-18.
        let is_there = heard
            .unwrap()
            .contains(r#""context":{"arguments":{"before":"x"}}"#);
        assert_eq!(is_there, cell.child >= V06, "{heard:?}");
    }
    BASE
}

pub(crate) async fn is_error(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let result = r#"{"isError":true,"content":[{"type":"text","text":"it did not work"}]}"#;
    let asked = raw_call("1", &cell.tool("raw"), &format!(r#"{{"result":{result}}}"#));
    let answer = peer.ask_raw(&asked, "1").await;
    assert_result(&cell, &answer, "1", result);
    let error = r#"{"message":"m\u0061","code":-32011,"data":{"z":1.0,"a":null}}"#;
    let asked = raw_call("2", &cell.tool("raw_error"), &format!(r#"{{"error":{error}}}"#));
    let answer = peer.ask_raw(&asked, "2").await;
    assert_eq!(answer, format!(r#"{{"jsonrpc":"2.0","id":2,"error":{error}}}"#));
    BASE
}

pub(crate) async fn ids(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let tool = cell.tool("echo");
    for id in [
        "0",
        r#""""#,
        r#""1""#,
        "1",
        "9007199254740993",
        "-7",
        r#""\u0061 ü""#,
    ] {
        let before = cell.noted_until_now();
        let answer = peer.ask_raw(&raw_call(id, &tool, r#"{"q":1}"#), id).await;
        let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#);
        assert!(answer.starts_with(&start), "{id}: {answer}");
        let noted = cell.noted_since(before);
        assert_eq!(noted.iter().filter(|line| line.contains("tools/call")).count(), 1);
    }
    BASE
}

pub(crate) async fn fidelity(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let asked = raw_call("7", &cell.tool("raw"), &format!(r#"{{"result":{ODD}}}"#));
    let answer = peer.ask_raw(&asked, "7").await;
    assert_result(&cell, &answer, "7", ODD);
    let before = cell.noted_until_now();
    let meta = r#""_meta":{"x.example/z":[null,1.0],"a":9007199254740993}"#;
    let asked = format!(
        r#"{{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{{"zz":null,"name":"{}",{meta},"arguments":{ODD}}}}}"#,
        cell.tool("echo")
    );
    peer.ask_raw(&asked, "8").await;
    let noted = cell.noted_since(before);
    let heard = noted.iter().find(|line| line.contains("tools/call")).unwrap();
    // Only the name is another, and a progress token and a trace context of ours come after what was there.
    let before_ours = format!(
        r#""params":{{"zz":null,"name":"echo",{}"#,
        meta.trim_end_matches('}')
    );
    let after_ours = format!(r#"}},"arguments":{ODD}}}}}"#);
    let (_, rest) = heard
        .split_once(&before_ours)
        .unwrap_or_else(|| panic!("{heard}"));
    let ours = rest
        .strip_suffix(&after_ours)
        .unwrap_or_else(|| panic!("{heard}"));
    let ours: Value = serde_json::from_str(&format!("{{{}}}", ours.trim_start_matches(','))).unwrap();
    let is_known = |(key, value): (&String, &Value)| match key.as_str() {
        "progressToken" => value.is_u64(),
        "traceparent" => value.is_string(),
        // What each request says of itself.
        "io.modelcontextprotocol/protocolVersion" => cell.has_bare_child() && *value == V26,
        "io.modelcontextprotocol/clientCapabilities" | "io.modelcontextprotocol/clientInfo" => {
            cell.has_bare_child() && value.is_object()
        }
        _ => false,
    };
    assert!(ours.as_object().unwrap().iter().all(is_known), "{heard}");
    BASE
}

/// Whether results of this method say how long they may be kept.
fn is_kept(method: &str) -> bool {
    method.ends_with("/list") || ["server/discover", "resources/read"].contains(&method)
}

pub(crate) async fn newer_members(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let mut said = vec![("server/discover", peer.greeting.clone())];
    for (id, method, params) in [
        ("1", "tools/list", json!({})),
        ("2", "prompts/list", json!({})),
        ("3", "resources/list", json!({})),
        ("4", "resources/templates/list", json!({})),
        ("5", "resources/read", json!({ "uri": cell.uri(1) })),
        ("6", "prompts/get", json!({ "name": cell.tool("plain") })),
        ("7", "tools/call", json!({ "name": cell.tool("echo") })),
        ("8", "logging/setLevel", json!({ "level": "error" })),
        ("9", "tools/call", json!({ "name": cell.tool("none") })),
    ] {
        let n: u64 = id.parse().unwrap();
        said.push((method, peer.ask_raw(&request(n, method, params), id).await));
    }
    if cell.is_bare() {
        for (method, text) in said {
            let Some(result) = Pairs::of(&text).get("result").map(Pairs::of) else {
                let is_refused = method == "logging/setLevel" || text.contains("__none");
                assert!(is_refused, "{text}");
                continue;
            };
            assert_eq!(result.get("resultType"), Some(r#""complete""#), "{text}");
            let ttl = result.get("ttlMs").map(|ttl| ttl.parse::<u64>().unwrap());
            assert_eq!(ttl.is_some(), is_kept(method), "{text}");
            let scope = result.get("cacheScope");
            assert_eq!(scope.is_some(), is_kept(method), "{text}");
            assert!(scope.is_none_or(|scope| [r#""private""#, r#""public""#].contains(&scope)));
        }
        return BASE;
    }
    for (_, text) in said {
        for member in [
            "\"resultType\"",
            "\"ttlMs\"",
            "\"cacheScope\"",
            "\"inputRequests\"",
        ] {
            assert!(!text.contains(member), "{member} in {text}");
        }
    }
    BASE
}

fn step_of(came: &Came, token: &Value) -> u64 {
    let message = came.json();
    assert_eq!(message["method"], "notifications/progress", "{message}");
    assert_eq!(message["params"]["progressToken"], *token, "{message}");
    message["params"]["progress"].as_u64().unwrap()
}

pub(crate) async fn progress(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    for token in [json!("7"), json!(7), json!(0)] {
        let params = json!({
            "name": cell.tool("progress"), "arguments": { "n": 3 }, "_meta": { "progressToken": token },
        });
        let before = cell.noted_until_now();
        peer.send(&request("p", "tools/call", params)).await;
        let mut came = peer.up_to("\"p\"", |came| panic!("{}", came.text)).await;
        let answer = came.pop().unwrap();
        assert_eq!(text_of(&answer.json()), r#"{"n":3}"#);
        let steps: Vec<u64> = came.iter().map(|came| step_of(came, &token)).collect();
        assert_eq!(steps, [1, 2, 3], "{token}");
        for step in &came {
            assert_eq!(step.way, answer.way, "progress comes on the way of its call");
            // Additive since 2025-03-26: it stays.
            let message = &step.json()["params"]["message"];
            assert_eq!(message == "on the way", cell.child >= V03, "{}", step.text);
        }
        let noted = cell.noted_since(before);
        let heard = noted.iter().find(|line| line.contains("tools/call")).unwrap();
        assert!(
            !heard.contains(&format!(r#""progressToken":{token}}}"#)),
            "the client's token reached the child: {heard}"
        );
    }
    BASE
}

pub(crate) async fn cancel(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let before = cell.noted_until_now();
    let id = peer.begin(&cell.tool("sleep"), json!({ "ms": 60_000 })).await;
    let found = until("the call in the child", async || {
        let noted = cell.noted_since(before);
        noted.into_iter().find(|line| line.contains(r#""name":"sleep""#))
    });
    let line = found.await;
    let heard: Value = serde_json::from_str(line.strip_prefix("in ").unwrap()).unwrap();
    peer.cancel(&id).await;
    // Noted by the child only when the id is that of a call that runs.
    let wanted = format!("cancelled {}", heard["id"]);
    until("the end of the call in the child", async || {
        cell.noted_since(before).contains(&wanted).then_some(())
    })
    .await;
    let answer = peer.call(&cell.tool("echo"), json!({ "after": 1 })).await;
    assert_eq!(text_of(&answer), r#"{"after":1}"#);
    BASE
}

pub(crate) async fn list_changed(cell: Cell) -> Outcome {
    let (mut peer, mut actor) = (cell.plain().await, cell.plain().await);
    let name = "grown";
    for (deed, is_there) in [("grow", true), ("shrink", false)] {
        let arguments = json!({ "do": deed, "name": name });
        text_of(&actor.call(&cell.tool("echo"), arguments).await);
        let told = peer.notification("notifications/tools/list_changed").await;
        assert_eq!(told.subscription().as_deref(), cell.is_bare().then_some(LISTEN));
        let list = peer.ask("tools/list", json!({})).await;
        let is_listed = names_of(&list, "tools", "name").contains(&cell.tool(name));
        assert_eq!(is_listed, is_there, "after {}", told.text);
    }
    BASE
}

pub(crate) async fn updated(cell: Cell) -> Outcome {
    let (mut peer, mut actor) = (cell.plain().await, cell.plain().await);
    let (uri, before) = (cell.uri(1), cell.noted_until_now());
    let id = r#""of one""#;
    if cell.is_bare() {
        peer.listen(id, json!({ "resourceSubscriptions": [uri] })).await;
    } else {
        let subscribed = peer.ask("resources/subscribe", json!({ "uri": uri })).await;
        assert_eq!(subscribed["result"], json!({}), "{subscribed}");
    }
    for other in [&cell.uri(2), &uri] {
        text_of(&actor.call(&cell.tool("updated"), json!({ "uri": other })).await);
    }
    let told = peer.notification("notifications/resources/updated").await;
    assert_eq!(
        told.json()["params"]["uri"],
        uri,
        "nobody has subscribed to others"
    );
    assert_eq!(told.subscription().as_deref(), cell.is_bare().then_some(id));
    if cell.is_bare() {
        peer.cancel(id).await;
    } else {
        let ended = peer.ask("resources/unsubscribe", json!({ "uri": uri })).await;
        assert_eq!(ended["result"], json!({}), "{ended}");
    }
    let n_starting = |word: &str| {
        let noted = cell.noted_since(before);
        noted.iter().filter(|line| line.starts_with(word)).count()
    };
    until("the end of the subscription in the child", async || {
        let noted = cell.noted_since(before);
        if cell.has_bare_child() {
            // The stream with it is replaced by one without.
            let last = noted
                .iter()
                .rfind(|line| line.starts_with("listen ") && line.contains('{'));
            return (n_starting("listen cancelled ") == 2 && !last?.contains(&uri)).then_some(());
        }
        noted.contains(&format!("unsubscribe {uri}")).then_some(())
    })
    .await;
    let n_wanted = if cell.has_bare_child() { 0 } else { 1 };
    assert_eq!(n_starting("subscribe "), n_wanted);
    BASE
}

pub(crate) async fn crash(cell: Cell) -> Outcome {
    let mut peer = cell.plain().await;
    let answer = peer.call(&cell.tool("boom"), json!({})).await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    let answer = peer.call(&cell.tool("echo"), json!({ "next": 1 })).await;
    assert_eq!(text_of(&answer), r#"{"next":1}"#);
    cell.daemon().ready(&cell.server()).await;
    BASE
}

/// A log message as clients get it.
fn logged(cell: &Cell) -> Value {
    let logger = format!("{}/fake-child", cell.server());
    json!({ "level": "notice", "logger": logger, "data": "message 1" })
}

/// Each request says by itself what it wants to hear.
async fn level_by_request(cell: &Cell) -> Outcome {
    let (mut peer, tool) = (cell.plain().await, cell.tool("log"));
    for (wanted, level, n) in [
        (None, "error", 0),
        (Some("notice"), "info", 0),
        (Some("notice"), "notice", 1),
    ] {
        peer.set_level(wanted);
        let id = peer.begin(&tool, json!({ "level": level })).await;
        let mut came = peer.up_to(&id, |came| panic!("{}", came.text)).await;
        let answer = came.pop().unwrap();
        text_of(&answer.json());
        assert_eq!(came.len(), n, "{wanted:?} {level}: {came:?}");
        for message in came {
            assert_eq!(message.way, answer.way);
            assert_eq!(message.method().as_deref(), Some("notifications/message"));
            assert_eq!(message.json()["params"], logged(cell));
        }
    }
    peer.set_level(Some("loud"));
    let answer = peer.call(&cell.tool("echo"), json!({})).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    BASE
}

pub(crate) async fn level(cell: Cell) -> Outcome {
    if cell.is_bare() {
        return level_by_request(&cell).await;
    }
    let (mut peer, tool) = (cell.plain().await, cell.tool("log"));
    let answer = peer.ask("logging/setLevel", json!({ "level": "notice" })).await;
    assert_eq!(answer["result"], json!({}), "{answer}");
    // Below the level, then at it: had the first come, it would have come first.
    text_of(&peer.call(&tool, json!({ "level": "info" })).await);
    let id = peer.begin(&tool, json!({ "level": "notice" })).await;
    let (mut heard, mut is_answered) = (None, false);
    while heard.is_none() || !is_answered {
        let came = peer.next().await;
        is_answered |= came.id() == Some(&id);
        if came.method().as_deref() == Some("notifications/message") {
            heard.get_or_insert(came.json()["params"].clone());
        }
    }
    assert_eq!(heard.unwrap(), logged(&cell));
    let answer = peer.ask("logging/setLevel", json!({ "level": "loud" })).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    BASE
}
