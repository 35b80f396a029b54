//! Who may come in.

use serde_json::json;

use crate::harness::http::{BOTH, JSON};
use crate::harness::{HttpClient, Setup, fake, greeting, request, text_of};

const TOKEN: &str = "0123456789abcdef-right";
const ROUTES: [(&str, &str); 11] = [
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/health/ready"),
    ("GET", "/mcp"),
    ("POST", "/mcp"),
    ("DELETE", "/mcp"),
    ("GET", "/sse"),
    ("POST", "/messages"),
    ("GET", "/api/servers"),
    ("POST", "/api/call"),
    ("POST", "/api/shutdown"),
];

#[tokio::test]
async fn with_a_token_every_route_but_one_asks_for_it() {
    let daemon = Setup::new(&[fake("a")])
        .variable("MCP_AUTH_TOKEN", TOKEN)
        .start()
        .await;
    daemon.ready("a").await;
    let client = HttpClient::new(&daemon.address);
    for (verb, path) in ROUTES {
        for wrong in ["", "Bearer", "Bearer wrong", "Basic 0123456789abcdef-right"] {
            let reply = client
                .send(verb, path, &[BOTH, JSON, ("authorization", wrong)], b"{}")
                .await;
            assert_eq!(reply.status, 401, "{verb} {path} {wrong:?}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{verb} {path}");
        }
        assert_eq!(
            client.send(verb, path, &[BOTH, JSON], b"{}").await.status,
            401,
            "{verb} {path}"
        );
    }
    assert_eq!(client.send("GET", "/health/live", &[], b"").await.status, 200);
    let mut holder = HttpClient::new(&daemon.address);
    holder.token = Some(TOKEN.to_owned());
    holder.initialize("2025-11-25").await;
    assert_eq!(text_of(&holder.call("a__echo", json!({})).await), "{}");
    let bearer = format!("Bearer {TOKEN}");
    let reply = client
        .send("GET", "/api/servers", &[("authorization", &bearer)], b"")
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json().await[0]["name"], "a");
    let shown = daemon.mcpctl(&["status"]).await;
    assert_eq!(shown.code, 0, "the owner's own socket needs no token: {shown:?}");
    let log = daemon.log() + &daemon.setup.project.run(&["why", "a"]).stdout;
    assert!(!log.contains(TOKEN));
    daemon.end().await;
}

#[tokio::test]
async fn control_over_the_network_is_refused_where_there_is_no_token() {
    let daemon = Setup::new(&[fake("a")]).start().await;
    let client = HttpClient::new(&daemon.address);
    for (verb, path) in [
        ("GET", "/api/servers"),
        ("POST", "/api/servers/a/stop"),
        ("POST", "/api/shutdown"),
        ("POST", "/api/call"),
        ("GET", "/api/daemon"),
    ] {
        let reply = client
            .send(verb, path, &[JSON], br#"{"tool":"a__echo","arguments":{}}"#)
            .await;
        assert_eq!(reply.status, 403, "{verb} {path}");
        assert!(reply.text().await.contains("MCP_AUTH_TOKEN"), "{verb} {path}");
    }
    daemon.ready("a").await;
    daemon.end().await;
}

#[tokio::test]
async fn a_daemon_does_not_open_to_the_network_without_a_token() {
    let setup = Setup::new(&[]).variable("MCP_HOST", "0.0.0.0");
    setup.refused().await.said(2, &["MCP_AUTH_TOKEN", "0.0.0.0"]);
    let setup = Setup::new(&[])
        .variable("MCP_HOST", "0.0.0.0")
        .variable("MCP_AUTH_TOKEN", "short");
    let ran = setup.refused().await;
    ran.said(2, &["MCP_AUTH_TOKEN"]);
    assert!(!ran.stderr.contains("short"), "{ran:?}");
}

#[tokio::test]
async fn a_name_that_is_allowed_may_be_the_host_and_an_origin_too() {
    let daemon = Setup::new(&[])
        .variable("MCP_ALLOWED_HOSTS", "box.example")
        .variable("MCP_ALLOWED_ORIGINS", "https://app.example")
        .start()
        .await;
    let client = HttpClient::new(&daemon.address);
    let hello = request(1, "initialize", greeting("2025-11-25"));
    let named = [
        BOTH,
        JSON,
        ("host", "box.example:80"),
        ("origin", "https://app.example"),
    ];
    assert_eq!(
        client.send("POST", "/mcp", &named, hello.as_bytes()).await.status,
        200
    );
    let other = [
        BOTH,
        JSON,
        ("host", "box.example"),
        ("origin", "https://app.example.evil"),
    ];
    assert_eq!(
        client.send("POST", "/mcp", &other, hello.as_bytes()).await.status,
        403
    );
    daemon.end().await;
}

#[tokio::test]
async fn what_the_daemon_keeps_is_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Setup::new(&[fake("a")]).start().await;
    daemon.ready("a").await;
    for file in ["control.sock", "mcp.sock", "daemon.pid"] {
        let mode = std::fs::metadata(daemon.path().join("data").join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file}: {mode:o}");
    }
    daemon.end().await;
}
