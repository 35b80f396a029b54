//! The scripted child as a server of 2026-07-28, by itself: what the other tests rely on.

mod alone;
mod asking;
mod meanwhile;
mod rounds;

use alone::Alone;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::harness::{soon, text_of};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const SERVER: &str = "io.modelcontextprotocol/serverInfo";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const LEVEL: &str = "io.modelcontextprotocol/logLevel";
const TASKS: &str = "io.modelcontextprotocol/tasks";

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
        (&json!(600_000), &json!("private"))
    );
    assert_eq!(result["instructions"], "be kind");
    assert_eq!(result["capabilities"]["resources"]["subscribe"], true);
    assert!(result.get("serverInfo").is_none() && result.get("protocolVersion").is_none());

    let listed = child.ask("tools/list", json!({}), &json!({})).await;
    assert_eq!(listed["result"]["ttlMs"], 600_000);
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
