//! What is refused before anybody works on it, and what every client may ask.

use serde_json::{Value, json};

use crate::harness::bare::{Bare, bare, calling, enveloped};
use crate::harness::http::{BOTH, JSON};
use crate::harness::{Daemon, call, fake, names_of, request, text_of};

const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
const ALL: [&str; 5] = [
    "2026-07-28",
    "2025-11-25",
    "2025-06-18",
    "2025-03-26",
    "2024-11-05",
];

/// Headers, body, and the status, the code and the data (where it is known) that they lead to.
type Step<'a> = (Vec<(&'a str, &'a str)>, String, u16, i64, Option<Value>);

fn list(able: &Value) -> String {
    bare(5, "tools/list", able, json!({}))
}

fn steps() -> Vec<Step<'static>> {
    let able = json!({});
    let method = ("mcp-method", "tools/list");
    let calls = ("mcp-method", "tools/call");
    let echo = bare(5, "tools/call", &able, calling("a__echo", json!({})));
    let in_body = |version: &str| {
        let mut params = enveloped(&json!({}), json!({}));
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(version);
        request(5, "tools/list", params)
    };
    let lacking = |missing: &[&str]| Some(json!({ "missing": missing, "supported": ALL }));
    let both = [
        "io.modelcontextprotocol/protocolVersion",
        "io.modelcontextprotocol/clientCapabilities",
    ];
    let unsupported =
        |requested: &str, supported: &[&str]| Some(json!({ "requested": requested, "supported": supported }));
    vec![
        (vec![VERSION], "{".to_owned(), 400, -32700, None),
        (
            vec![VERSION],
            r#"{"jsonrpc":"2.0","id":5,"result":{}}"#.to_owned(),
            400,
            -32600,
            None,
        ),
        (
            vec![("mcp-protocol-version", "2027-01-01")],
            r#"{"jsonrpc":"2.0","method":"notifications/x"}"#.to_owned(),
            400,
            -32022,
            unsupported("2027-01-01", &ALL),
        ),
        (vec![VERSION, VERSION, method], list(&able), 400, -32020, None),
        (vec![VERSION, method, method], list(&able), 400, -32020, None),
        (
            vec![VERSION, method],
            request(5, "tools/list", json!({})),
            400,
            -32602,
            lacking(&both),
        ),
        (
            vec![VERSION, method],
            request(5, "tools/list", json!({ "_meta": { both[0]: "2026-07-28" } })),
            400,
            -32602,
            lacking(&both[1..]),
        ),
        (vec![method], list(&able), 400, -32020, None),
        (vec![VERSION], list(&able), 400, -32020, None),
        (
            vec![VERSION, ("mcp-method", "Tools/list")],
            list(&able),
            400,
            -32020,
            None,
        ),
        (vec![VERSION, method], in_body("2027-01-01"), 400, -32020, None),
        (vec![VERSION, calls], echo.clone(), 400, -32020, None),
        (
            vec![VERSION, calls, ("mcp-name", "a__other")],
            echo.clone(),
            400,
            -32020,
            None,
        ),
        (
            vec![VERSION, calls, ("mcp-name", "=?base64?YV9fZWNob?=")],
            echo,
            400,
            -32020,
            None,
        ),
        (
            vec![("mcp-protocol-version", "2027-01-01"), method],
            in_body("2027-01-01"),
            400,
            -32022,
            unsupported("2027-01-01", &ALL),
        ),
        // Who names an earlier revision here would come back with the same.
        (
            vec![("mcp-protocol-version", "2025-11-25"), method],
            in_body("2025-11-25"),
            400,
            -32022,
            unsupported("2025-11-25", &ALL[..1]),
        ),
        (
            vec![VERSION, ("mcp-method", "no/such")],
            bare(5, "no/such", &able, json!({})),
            404,
            -32601,
            None,
        ),
        (
            vec![VERSION, ("mcp-method", "ping")],
            bare(5, "ping", &able, json!({})),
            404,
            -32601,
            None,
        ),
        // Without a revision among its parameters it is a method that this era does not have.
        (
            vec![VERSION, ("mcp-method", "initialize")],
            bare(5, "initialize", &able, json!({})),
            404,
            -32601,
            None,
        ),
    ]
}

#[tokio::test]
async fn each_step_of_the_ladder_has_its_status_its_code_and_its_data() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let client = Bare::new(&daemon.address);
    for (mut headers, body, status, code, data) in steps() {
        headers.extend([BOTH, JSON]);
        let reply = client.http.send("POST", "/mcp", &headers, body.as_bytes()).await;
        let (found, answer) = (reply.status, reply.json().await);
        assert_eq!(
            (found, &answer["error"]["code"]),
            (status, &json!(code)),
            "{headers:?} {body} {answer}"
        );
        if let Some(data) = data {
            assert_eq!(answer["error"]["data"], data, "{body}");
        }
        // A body that is no request has no id that could be told.
        let has_id = body.contains(r#""id":5,"#) && body.contains("method");
        assert_eq!(answer["id"] == 5, has_id, "{body} {answer}");
    }
    for (verb, accept) in [("GET", "text/event-stream"), ("DELETE", "*/*")] {
        let reply = client
            .http
            .send(verb, "/mcp", &[("accept", accept), VERSION], b"")
            .await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some("POST")),
            "{verb}"
        );
    }
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let reply = client
        .http
        .send("POST", "/mcp", &[BOTH, JSON, VERSION], note.as_bytes())
        .await;
    assert_eq!((reply.status, reply.text().await.as_str()), (202, ""));
    // The name as base64, blanks around it, and a session that does not concern it.
    let text = bare(
        "5",
        "tools/call",
        &json!({}),
        calling("a__echo", json!({ "x": 1.0 })),
    );
    let headers = [
        BOTH,
        JSON,
        VERSION,
        ("mcp-method", "tools/call"),
        ("mcp-session-id", "no-such"),
    ];
    let named = [headers.as_slice(), &[("mcp-name", " =?base64?YV9fZWNobw==?= ")]].concat();
    let reply = client.http.send("POST", "/mcp", &named, text.as_bytes()).await;
    assert_eq!((reply.status, reply.header("mcp-session-id")), (200, None));
    let answer = reply.json().await;
    assert_eq!((&answer["id"], text_of(&answer)), (&json!("5"), r#"{"x":1.0}"#));
    daemon.end().await;
}

#[tokio::test]
async fn a_session_and_requests_without_one_share_an_endpoint() {
    let daemon = Daemon::start(&[fake("a"), fake("m").arg("--era", "modern")]).await;
    let (legacy, modern) = (daemon.http().await, Bare::new(&daemon.address));
    for n in 0..3 {
        for server in ["a", "m"] {
            let tool = format!("{server}__echo");
            let line = call(n, &tool, json!({ "n": n }));
            let (one, other) = tokio::join!(
                legacy.post(&line),
                modern.begin(n, "tools/call", calling(&tool, json!({ "n": n }))),
            );
            let (one, other) = (one.json().await, other.json().await);
            assert_eq!(text_of(&one), json!({ "n": n }).to_string());
            assert_eq!(text_of(&one), text_of(&other));
            assert!(one["result"].get("resultType").is_none(), "{one}");
            assert_eq!(other["result"]["resultType"], "complete");
        }
    }
    daemon.end().await;
}

#[tokio::test]
async fn what_is_on_offer_is_told_in_full_and_in_the_same_bytes() {
    let children = [
        fake("a")
            .arg("--prompts", "p")
            .arg("--resources", "x://1")
            .arg("--templates", "t://{a}"),
        fake("m").arg("--era", "modern"),
    ];
    let daemon = Daemon::start(&children).await;
    let client = Bare::new(&daemon.address);
    for (method, member) in [
        ("tools/list", "tools"),
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
        ("server/discover", "supportedVersions"),
    ] {
        let first = client.begin(1, method, json!({})).await;
        assert_eq!((first.status, first.is_stream()), (200, false), "{method}");
        let first = first.text().await;
        assert_eq!(first, client.begin(1, method, json!({})).await.text().await);
        let answer: Value = serde_json::from_str(&first).unwrap();
        let result = &answer["result"];
        assert!(
            result[member].as_array().is_some_and(|all| !all.is_empty()),
            "{first}"
        );
        assert_eq!(result["resultType"], "complete");
        assert_eq!(
            (&result["ttlMs"], &result["cacheScope"]),
            (&json!(60_000), &json!("private"))
        );
        let server = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(server["name"], "mcp-wrapper", "{first}");
    }
    let tools = client.ask("tools/list", json!({})).await;
    assert_eq!(names_of(&tools, "tools", "name"), ["a__echo", "m__echo"]);
    let discovered = client.ask("server/discover", json!({})).await;
    assert_eq!(discovered["result"]["supportedVersions"], json!(ALL));
    let bad = client
        .begin(1, "tools/list", json!({ "cursor": "nowhere" }))
        .await;
    assert_eq!(bad.status, 200);
    assert_eq!(bad.json().await["error"]["code"], -32602);
    daemon.end().await;
}
