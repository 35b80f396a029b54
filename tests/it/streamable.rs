//! Streamable HTTP: which status answers what.

use serde_json::{Value, json};

use crate::harness::http::{BOTH, JSON};
use crate::harness::{Daemon, HttpClient, SseClient, call, fake, greeting, request, text_of};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const EVENTS_ONLY: (&str, &str) = ("accept", "text/event-stream");

async fn daemon() -> Daemon {
    Daemon::start(&[fake("a")]).await
}

#[tokio::test]
async fn a_client_has_to_accept_both_formats() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    for (accept, wanted) in [
        ("application/json", 406),
        ("text/event-stream", 406),
        ("text/html", 406),
        ("application/json, text/event-stream;q=0", 406),
        ("*/*", 200),
        ("application/*, text/*", 200),
    ] {
        let reply = client.mcp("POST", &[("accept", accept)], LIST).await;
        assert_eq!(reply.status, wanted, "{accept}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_body_has_to_be_json_and_say_so() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    assert_eq!(
        client
            .mcp("POST", &[("content-type", "text/plain")], LIST)
            .await
            .status,
        415
    );
    let session = client.session.clone().unwrap();
    let nameless = [BOTH, ("mcp-session-id", session.as_str())];
    assert_eq!(
        client
            .send("POST", "/mcp", &nameless, LIST.as_bytes())
            .await
            .status,
        415
    );
    for body in ["{", "", "\u{1}"] {
        let reply = client.post(body).await;
        assert_eq!(reply.status, 400, "{body:?}");
        assert_eq!(reply.json().await["error"]["code"], -32700, "{body:?}");
    }
    for body in ["5", "{}", r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#] {
        let reply = client.post(body).await;
        assert_eq!(reply.status, 400, "{body:?}");
        assert_eq!(reply.json().await["error"]["code"], -32600, "{body:?}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_with_413() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    let long = call(1, "a__echo", json!({ "x": "y".repeat(16 << 20) }));
    assert_eq!(client.post(&long).await.status, 413);
    assert_eq!(client.post(LIST).await.status, 200, "the session goes on");
    daemon.end().await;
}

#[tokio::test]
async fn without_a_session_it_is_400_and_with_a_foreign_one_404() {
    let daemon = daemon().await;
    let nobody = HttpClient::new(&daemon.address);
    assert_eq!(nobody.post(LIST).await.status, 400);
    assert_eq!(nobody.mcp("GET", &[EVENTS_ONLY], "").await.status, 400);
    assert_eq!(nobody.mcp("DELETE", &[], "").await.status, 400);
    let foreign = ("mcp-session-id", "6f1ed002-0000-4000-8000-000000000000");
    assert_eq!(nobody.mcp("POST", &[foreign], LIST).await.status, 404);
    assert_eq!(nobody.mcp("GET", &[foreign, EVENTS_ONLY], "").await.status, 404);
    assert_eq!(nobody.mcp("DELETE", &[foreign], "").await.status, 404);
    daemon.end().await;
}

#[tokio::test]
async fn notifications_and_answers_are_taken_in_with_202_and_no_body() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    for line in [
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#,
        r#"{"jsonrpc":"2.0","id":77,"result":{}}"#,
    ] {
        let reply = client.post(line).await;
        assert_eq!(reply.status, 202, "{line}");
        assert_eq!(reply.text().await, "", "{line}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn the_event_stream_of_a_session_is_had_by_get() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    let stream = client.mcp("GET", &[EVENTS_ONLY], "").await;
    assert_eq!((stream.status, stream.is_stream()), (200, true));
    assert_eq!(stream.header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    assert_eq!(
        client
            .mcp("GET", &[("accept", "application/json")], "")
            .await
            .status,
        406
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_deleted_session_is_gone_and_its_stream_ends() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    let stream = client.stream().await;
    assert_eq!(client.mcp("DELETE", &[], "").await.status, 204);
    assert_eq!(stream.events().await, []);
    assert_eq!(client.mcp("DELETE", &[], "").await.status, 404);
    assert_eq!(client.post(LIST).await.status, 404);
    daemon.end().await;
}

#[tokio::test]
async fn other_verbs_are_told_which_there_are() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    for verb in ["PUT", "PATCH", "OPTIONS"] {
        let reply = client.mcp(verb, &[], "").await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some("GET, POST, DELETE")),
            "{verb}"
        );
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_version_that_nobody_knows_is_refused_and_a_missing_or_another_one_is_not() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    for (version, wanted) in [
        ("2025-11-25", 200),
        ("2025-03-26", 200),
        ("2024-11-05", 200),
        ("1999-01-01", 400),
        ("x", 400),
    ] {
        let reply = client
            .mcp("POST", &[("mcp-protocol-version", version)], LIST)
            .await;
        assert_eq!(reply.status, wanted, "{version}");
    }
    assert_eq!(
        client
            .mcp("GET", &[EVENTS_ONLY, ("mcp-protocol-version", "x")], "")
            .await
            .status,
        400
    );
    assert_eq!(client.post(LIST).await.status, 200);
    daemon.end().await;
}

#[tokio::test]
async fn each_revision_is_agreed_to_and_an_unknown_one_is_answered_with_the_newest() {
    let daemon = daemon().await;
    for (asked, wanted) in [
        ("2024-10-07", "2024-10-07"),
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2099-01-01", "2025-11-25"),
        ("nonsense", "2025-11-25"),
    ] {
        let mut client = HttpClient::new(&daemon.address);
        let result = client.initialize(asked).await;
        assert_eq!(result["protocolVersion"], wanted, "{asked}");
        assert_eq!(result["serverInfo"]["name"], "mcp-wrapper");
        assert_eq!(result["capabilities"]["tools"]["listChanged"], true);
        let answer = client.call("a__echo", json!({ "v": asked })).await;
        assert_eq!(text_of(&answer), json!({ "v": asked }).to_string());
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_handshake_with_a_stale_session_id_opens_a_new_session() {
    let daemon = daemon().await;
    let mut client = daemon.http().await;
    let old = client.session.clone();
    assert_eq!(client.mcp("DELETE", &[], "").await.status, 204);
    client.initialize("2025-06-18").await;
    assert_ne!(client.session, old);
    assert_eq!(client.post(LIST).await.status, 200);
    daemon.end().await;
}

#[tokio::test]
async fn a_session_is_greeted_once_and_nothing_but_ping_comes_before_that() {
    let daemon = daemon().await;
    let mut sse = SseClient::open(&daemon.address).await;
    let early: Value = serde_json::from_str(&sse.ask(LIST).await).unwrap();
    assert_eq!(early["error"]["code"], -32602, "{early}");
    assert_eq!(
        sse.ask(&request(2, "ping", json!({}))).await,
        r#"{"jsonrpc":"2.0","id":2,"result":{}}"#
    );
    sse.ask(&request(3, "initialize", greeting("2024-11-05"))).await;
    let again: Value =
        serde_json::from_str(&sse.ask(&request(4, "initialize", greeting("2024-11-05"))).await).unwrap();
    assert_eq!(again["error"]["code"], -32600, "{again}");
    daemon.end().await;
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_on_every_route() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    for path in [
        "/mcp",
        "/sse",
        "/messages",
        "/health",
        "/health/live",
        "/",
        "/api/servers",
    ] {
        for foreign in [
            ("host", "evil.example"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
        ] {
            let reply = client.send("GET", path, &[foreign, BOTH, JSON], b"").await;
            assert_eq!(reply.status, 403, "{path} {foreign:?}");
        }
    }
    let same = format!("http://{}", daemon.address);
    assert_eq!(client.mcp("POST", &[("origin", &same)], LIST).await.status, 200);
    daemon.end().await;
}

const BATCH: &str = r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__echo","arguments":{"n":1}}},{"jsonrpc":"2.0","method":"notifications/initialized"},{"jsonrpc":"2.0","id":"two","method":"ping"},{"jsonrpc":"2.0","id":null,"method":"ping"}]"#;

#[tokio::test]
async fn a_batch_of_2025_03_26_is_answered_with_an_array() {
    let daemon = daemon().await;
    let mut client = HttpClient::new(&daemon.address);
    client.initialize("2025-03-26").await;
    let reply = client.post(BATCH).await;
    assert_eq!(reply.status, 200);
    let answers = reply.json().await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 3, "{answers:?}");
    let of = |id: Value| answers.iter().find(|answer| answer["id"] == id).unwrap();
    assert_eq!(text_of(of(json!(1))), r#"{"n":1}"#);
    assert_eq!(of(json!("two"))["result"], json!({}));
    assert_eq!(of(Value::Null)["error"]["code"], -32600);
    let silent = r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#;
    assert_eq!(client.post(silent).await.status, 202);
    let handshake = format!("[{}]", request(9, "initialize", greeting("2025-03-26")));
    let reply = client.post(&handshake).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.json().await["error"]["code"], -32600);
    daemon.end().await;
}

#[tokio::test]
async fn a_batch_of_any_other_revision_is_refused() {
    let daemon = daemon().await;
    for revision in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let mut client = HttpClient::new(&daemon.address);
        client.initialize(revision).await;
        let reply = client.post(BATCH).await;
        assert_eq!(reply.status, 400, "{revision}");
        assert_eq!(reply.json().await["error"]["code"], -32600, "{revision}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_client_that_never_reads_its_stream_delays_nobody() {
    let daemon = Daemon::start(&[fake("a").tools("log,echo")]).await;
    let lazy = daemon.http().await;
    let _unread = lazy.stream().await;
    let level = lazy
        .request("logging/setLevel", json!({ "level": "debug" }))
        .await;
    assert_eq!(level["result"], json!({}), "{level}");
    let asked = call(1, "a__log", json!({ "n": 20_000 }));
    let _unread_either = lazy.post(&asked).await;
    let other = daemon.http().await;
    for n in 0..20 {
        let answer = other.call("a__echo", json!({ "n": n })).await;
        assert_eq!(text_of(&answer), json!({ "n": n }).to_string());
    }
    daemon.end().await;
}

#[tokio::test]
async fn two_requests_of_one_session_run_side_by_side() {
    let daemon = Daemon::start(&[fake("a").tools("out_of_order")]).await;
    let client = daemon.http().await;
    // The child answers neither before it has both.
    let (one, two) = tokio::join!(
        client.call("a__out_of_order", json!({ "n": 1 })),
        client.call("a__out_of_order", json!({ "n": 2 })),
    );
    assert_eq!((text_of(&one), text_of(&two)), (r#"{"n":1}"#, r#"{"n":2}"#));
    daemon.end().await;
}
