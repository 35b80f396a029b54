//! Who may come in.

use mcp_wrapper::front::http::routes::Rule;
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
            let challenge = reply.header("www-authenticate").unwrap_or_default();
            assert!(challenge.starts_with("Bearer"), "{verb} {path} {challenge}");
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

/// A path of a route, with something in its places.
fn filled(path: &str) -> String {
    path.replace("{name}", "a").replace("{id}", "00")
}

#[tokio::test]
async fn every_route_holds_the_rule_that_it_declares() {
    let daemon = Setup::new(&[fake("a")])
        .variable("MCP_REQUIRE_KEYS", "true")
        .start()
        .await;
    daemon.ready("a").await;
    let key = async |arguments: &[&str]| {
        let made = daemon
            .mcpctl_json(&[&["key", "create"], arguments].concat())
            .await;
        format!("Bearer {}", made["key"].as_str().unwrap())
    };
    let (client, admin) = (key(&["client"]).await, key(&["admin", "--admin"]).await);
    let http = HttpClient::new(&daemon.address);
    let status = async |verb: &str, path: &str, bearer: Option<&String>| {
        let mut headers = vec![BOTH, JSON];
        headers.extend(bearer.map(|bearer| ("authorization", bearer.as_str())));
        http.send(verb, path, &headers, b"{}").await.status
    };
    let mut all: Vec<(Rule, &str, &str)> = vec![];
    let routes = mcp_wrapper::front::http::all();
    for route in &routes {
        all.extend(route.methods.iter().map(|verb| (route.rule, *verb, route.path)));
    }
    all.extend(["GET", "POST", "DELETE"].map(|verb| (Rule::Clients, verb, "/mcp")));
    all.extend([
        (Rule::Clients, "GET", "/nowhere"),
        (Rule::Clients, "POST", "/api/nowhere"),
    ]);
    assert!(all.len() > 20, "{all:?}");
    for (rule, verb, path) in all {
        let told = format!("{rule:?} {verb} {path}");
        let path = filled(path);
        let without = status(verb, &path, None).await;
        let with = status(verb, &path, Some(&client)).await;
        match rule {
            Rule::Anybody => assert_eq!((without, with), (200, 200), "{told}"),
            Rule::Clients => {
                assert_eq!(without, 401, "{told}");
                assert!(with != 401 && with != 403, "{told}: {with}");
            }
            Rule::Admins => {
                assert_eq!((without, with), (401, 403), "{told}");
                if verb == "GET" {
                    let with = status(verb, &path, Some(&admin)).await;
                    assert_eq!(with, 200, "{told}");
                }
            }
        }
        // What a route does not declare it does not do.
        for other in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let declared = routes.iter().filter(|route| filled(route.path) == path);
            let mut declared = declared.flat_map(|route| route.methods).peekable();
            if declared.peek().is_some() && !declared.any(|method| *method == other) {
                let with = status(other, &path, Some(&admin)).await;
                assert_eq!(with, 405, "{other} {path}");
            }
        }
    }
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
async fn a_daemon_does_not_open_to_the_network_without_a_token_or_a_key() {
    let setup = Setup::new(&[]).variable("MCP_HOST", "0.0.0.0");
    let ran = setup.refused().await;
    ran.said(2, &["MCP_AUTH_TOKEN", "0.0.0.0", "mcpctl key create"]);
    // An address of documentation (RFC 5737), which no machine has: what may be listened on cannot be.
    let setup = Setup::new(&[]).variable("MCP_HOST", "192.0.2.1");
    let created = ["key", "create", "old", "--expires", "1ms"];
    setup.project.run(&created).said(0, &["mcpw_"]);
    setup.refused().await.said(2, &["mcpctl key create"]);
    setup.project.run(&["key", "create", "ci"]).said(0, &["mcpw_"]);
    setup.refused().await.said(1, &["cannot listen on 192.0.2.1"]);
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
