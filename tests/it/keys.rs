//! Keys: made and taken back, what each sees, and that nobody uses what belongs to another.

mod limits;
mod principals;
mod scopes;

use serde_json::Value;

use crate::harness::bare::Bare;
use crate::harness::http::{BOTH, JSON, Reply};
use crate::harness::{Daemon, HttpClient, Setup, call, fake, until};
use crate::mcpctl::Project;

/// A key, made while the daemon runs.
async fn key(daemon: &Daemon, arguments: &[&str]) -> String {
    let made = daemon
        .mcpctl_json(&[&["key", "create"], arguments].concat())
        .await;
    made["key"].as_str().unwrap().to_owned()
}

/// A client with a key that has not shaken hands.
fn stranger(daemon: &Daemon, key: &str) -> HttpClient {
    let mut client = HttpClient::new(&daemon.address);
    client.token = Some(key.to_owned());
    client
}

/// A client with a key that has shaken hands.
async fn holder(daemon: &Daemon, key: &str) -> HttpClient {
    let mut client = stranger(daemon, key);
    client.initialize("2025-11-25").await;
    client
}

/// A client of 2026-07-28 with a key.
fn bare_holder(daemon: &Daemon, key: &str) -> Bare {
    let mut client = Bare::new(&daemon.address);
    client.http.token = Some(key.to_owned());
    client
}

/// Opens a stream with a key.
async fn open(daemon: &Daemon, key: &str, path: &str) -> Reply {
    let bearer = format!("Bearer {key}");
    let headers = [
        ("accept", "text/event-stream"),
        ("authorization", bearer.as_str()),
    ];
    HttpClient::new(&daemon.address)
        .send("GET", path, &headers, b"")
        .await
}

#[test]
fn a_key_is_shown_once_and_only_its_hash_is_kept() {
    let project = Project::new();
    project.run(&["key", "list"]).said(0, &["No keys"]);
    let made = project.run(&["key", "create", "ci", "--servers", "git", "--rate", "60/min"]);
    made.said(0, &["mcpw_", "not shown again", "no server is called `git` yet"]);
    let key = made.stdout.trim().to_owned();
    assert!(
        key.starts_with("mcpw_") && key.len() > 70 && !key.contains(char::is_whitespace),
        "{key}"
    );
    let listed = project.run(&["key", "list"]);
    listed.said(0, &["ci", "servers git", "60/min", "never"]);
    let (known, secret) = key.rsplit_once('_').unwrap();
    assert!(!listed.stdout.contains(secret));
    let row = &project.json(&["key", "list"])[0];
    assert_eq!(
        (row["name"].as_str(), row["servers"][0].as_str()),
        (Some("ci"), Some("git"))
    );
    assert!(
        row["key"].is_null() && known.ends_with(row["id"].as_str().unwrap()),
        "{row}"
    );
    for file in std::fs::read_dir(project.path().join("data")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains(secret));
    }
    project
        .run(&["key", "create", "ci"])
        .said(1, &["already", "rotate"]);
    let rotated = project.json(&["key", "rotate", "ci"]);
    assert_eq!(rotated["servers"][0], "git");
    assert_ne!(rotated["key"].as_str().unwrap(), key);
    project.run(&["key", "revoke", "ci"]).said(0, &["ci: revoked"]);
    project.run(&["key", "revoke", "ci"]).said(1, &["no key `ci`"]);
    project.run(&["key", "rotate", "ci"]).said(1, &["no key `ci`"]);
    for (arguments, told) in [
        (["a b", "--json"], "letters"),
        (["n", "--rate=x"], "rate"),
        (["n", "--expires=soon"], "90d"),
        (["n", "--tools=a b"], "pattern"),
    ] {
        let told_so = project.run(&[&["key", "create"], &arguments[..]].concat());
        assert_eq!(told_so.code, 2, "{told_so:?}");
        assert!(told_so.stderr.contains(told), "{told_so:?}");
    }
    let both = project.run(&["key", "create", "n", "--admin", "--servers", "git"]);
    both.said(2, &["--admin"]);
}

#[tokio::test]
async fn where_keys_are_required_only_who_shows_one_comes_in() {
    let setup = Setup::new(&[fake("a")]).variable("MCP_REQUIRE_KEYS", "true");
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let key = key(&daemon, &["ci"]).await;
    let without = HttpClient::new(&daemon.address).post("{}").await;
    assert_eq!(
        (without.status, without.header("www-authenticate")),
        (401, Some("Bearer"))
    );
    let wrong = stranger(&daemon, &format!("{key}0")).post("{}").await;
    let told = Some("Bearer error=\"invalid_token\"");
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, told));
    let client = holder(&daemon, &key).await;
    assert!(client.call("a__echo", serde_json::json!({})).await["result"].is_object());
    let bare = bare_holder(&daemon, &key);
    assert!(bare.call("a__echo", serde_json::json!({})).await["result"].is_object());
    let setup = daemon.end_but_keep().await;
    let project = &setup.project;
    let row = &project.json(&["key", "list"])[0];
    assert!(row["used_ms"].as_u64() >= row["created_ms"].as_u64(), "{row}");
    let log = std::fs::read_to_string(project.path().join("stderr.txt")).unwrap();
    assert!(!log.contains(&key));
}

#[tokio::test]
async fn exempt_networks_are_asked_for_no_key() {
    let setup = Setup::new(&[])
        .variable("MCP_REQUIRE_KEYS", "true")
        .variable("MCP_KEY_EXEMPT", "10.0.0.0/8,127.0.0.0/8");
    let daemon = setup.start().await;
    daemon.http().await;
    let wrong = stranger(&daemon, "mcpw_0123456789ab_no").post("{}").await;
    assert_eq!(wrong.status, 401, "what is shown must open");
    daemon.end().await;
}

/// A stream ends; what may still come on it does not matter.
async fn ends(what: &str, mut stream: Reply) {
    let ended = async { while stream.coming_event().await.is_some() {} };
    crate::harness::soon(what, ended).await;
}

#[tokio::test]
async fn who_is_connected_with_a_key_that_is_taken_back_is_out() {
    let daemon = Daemon::start(&[fake("a").tools("echo,hang")]).await;
    for verb in ["revoke", "rotate"] {
        let key = key(&daemon, &["ci"]).await;
        let client = holder(&daemon, &key).await;
        let stream = client.stream().await;
        let sse = open(&daemon, &key, "/sse").await;
        assert_eq!(sse.status, 200);
        let bare = bare_holder(&daemon, &key);
        let wanted = serde_json::json!({ "notifications": { "toolsListChanged": true } });
        let mut changes = bare.begin(1, "subscriptions/listen", wanted).await;
        assert!(changes.next_event().await.is_some(), "it is acknowledged");
        let other = daemon.http().await;
        let line = call(7, "a__hang", serde_json::json!({}));
        let in_flight = client.post(&line);
        let taken_back = async {
            daemon.setup.called("a", "hang").await;
            daemon.mcpctl(&["key", verb, "ci"]).await.said(0, &["ci"]);
        };
        let (hanging, ()) = tokio::join!(in_flight, taken_back);
        assert_eq!(hanging.status, 401, "{verb}");
        ends("the end of its stream", stream).await;
        ends("the end of its stream over SSE", sse).await;
        ends("the end of its stream of changes", changes).await;
        for method in ["POST", "GET", "DELETE"] {
            let reply = client.mcp(method, &[], &line).await;
            assert_eq!(reply.status, 401, "{verb} {method}");
        }
        let shown = daemon.mcpctl_json(&["sessions"]).await;
        assert_eq!(shown["sessions"].as_array().unwrap().len(), 1, "{shown}");
        assert!(other.call("a__echo", serde_json::json!({})).await["result"].is_object());
        assert_eq!(other.mcp("DELETE", &[], "").await.status, 204);
        daemon.mcpctl(&["key", "revoke", "ci"]).await;
        std::fs::write(daemon.path().join("a.journal"), "").unwrap();
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_key_that_nobody_tells_the_daemon_of_is_found_and_one_that_expires_ends_by_itself() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let key = key(&daemon, &["short", "--expires", "2s"]).await;
    let client = holder(&daemon, &key).await;
    ends("the end of an expired key's stream", client.stream().await).await;
    assert_eq!(client.post("{}").await.status, 401);
    let registry = mcp_wrapper::registry::Registry::open(&daemon.path().join("data"))
        .await
        .unwrap();
    let made = mcp_wrapper::access::key::NewKey::random();
    registry
        .rotate_key("short", &made.id, made.hash())
        .await
        .unwrap()
        .unwrap();
    // Still expired: it has another secret, and no other time.
    assert_eq!(stranger(&daemon, &made.text).post("{}").await.status, 401);
    registry.revoke_key("short").await.unwrap();
    let lasting = self::key(&daemon, &["lasting"]).await;
    let client = holder(&daemon, &lasting).await;
    let stream = client.stream().await;
    registry.revoke_key("lasting").await.unwrap();
    ends("the end of a stream whose key another process took back", stream).await;
    until("no entry for it", async || {
        (client.post("{}").await.status == 401).then_some(())
    })
    .await;
    daemon.end().await;
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_is_told_what_it_may_do_and_no_other() {
    let setup = Setup::new(&[fake("a")])
        .variable("MCP_REQUIRE_KEYS", "true")
        .variable("MCP_ALLOWED_ORIGINS", "https://app.example");
    let daemon = setup.start().await;
    let key = key(&daemon, &["page"]).await;
    let client = stranger(&daemon, &key);
    let (ours, other) = (
        ("origin", "https://app.example"),
        ("origin", "https://evil.example"),
    );
    let asks = ("access-control-request-method", "POST");
    let preflight = client.send("OPTIONS", "/mcp", &[ours, asks], b"").await;
    assert_eq!(preflight.status, 204, "asked without a key");
    let told = |reply: &Reply, name: &str| reply.header(name).unwrap_or_default().to_owned();
    assert_eq!(told(&preflight, "access-control-allow-origin"), ours.1);
    assert!(told(&preflight, "access-control-allow-headers").contains("authorization"));
    assert_eq!(
        client.send("OPTIONS", "/mcp", &[other, asks], b"").await.status,
        403
    );
    let hello = crate::harness::request(1, "initialize", crate::harness::greeting("2025-11-25"));
    let reply = client.mcp("POST", &[ours], &hello).await;
    assert_eq!(reply.status, 200);
    assert_eq!(told(&reply, "access-control-allow-origin"), ours.1);
    assert!(told(&reply, "access-control-expose-headers").contains("mcp-session-id"));
    let refused = client.send("POST", "/mcp", &[ours, BOTH, JSON], b"{}").await;
    assert_eq!(
        (
            refused.status,
            told(&refused, "access-control-allow-origin").as_str()
        ),
        (401, ours.1)
    );
    let plain = client.post(&hello).await;
    assert_eq!(
        told(&plain, "access-control-allow-origin"),
        "",
        "no page, no word of it"
    );
    let api = client.send("OPTIONS", "/api/servers", &[ours, asks], b"").await;
    assert_eq!(
        told(&api, "access-control-allow-origin"),
        "",
        "control is not for pages"
    );
    daemon.end().await;
}

/// The names in a list.
#[track_caller]
fn names(answer: &Value, list: &str, key: &str) -> Vec<String> {
    let items = answer["result"][list]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"));
    items
        .iter()
        .map(|item| item[key].as_str().unwrap().to_owned())
        .collect()
}
