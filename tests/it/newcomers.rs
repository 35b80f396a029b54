//! What somebody meets who sees the program for the first time: slips, and what is said about them.

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, able, fake};

/// The words of the error that a call of this tool gives.
async fn refusal(daemon: &Daemon, tool: &str) -> String {
    let client = daemon.introduced(able("2025-11-25", &json!({}), "it")).await;
    let answer = client.call(tool, json!({})).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    answer["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_slip_in_the_name_of_a_tool_is_answered_with_the_name_that_was_meant() {
    let daemon = Daemon::start(&[
        fake("a").tools("search,echo"),
        fake("slow")
            .flag("--hang-handshake")
            .key("queue_wait", "\"500ms\"")
            .not_awaited(),
        fake("off").key("enabled", "false").not_awaited(),
    ])
    .await;
    for (given, told) in [
        ("a__serch", "Unknown tool: a__serch; did you mean `a__search`?"),
        ("echo", "Unknown tool: echo; did you mean `a__echo`?"),
        ("colour", "Unknown tool: colour"),
        (
            "slow__x",
            "Unknown tool: slow__x; server `slow` has not listed its tools yet (state handshaking); `mcpctl why slow` tells more",
        ),
        (
            "off__x",
            "Unknown tool: off__x; server `off` is disabled; `mcpctl enable off` starts it",
        ),
    ] {
        assert_eq!(refusal(&daemon, given).await, told);
    }
    let long = "a".repeat(1 << 20);
    assert_eq!(
        refusal(&daemon, &long).await.len(),
        "Unknown tool: ".len() + long.len()
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_is_added_to_a_running_daemon_does_not_make_it_unhealthy_while_it_starts() {
    let first = [fake("a"), fake("slow").flag("--hang-handshake").not_awaited()];
    for (is_of_the_first, status, told) in [(true, 503, "starting"), (false, 200, "healthy")] {
        let daemon = Daemon::start(if is_of_the_first { &first } else { &first[..1] }).await;
        if !is_of_the_first {
            daemon.setup.declare(&first);
            assert_eq!(daemon.api("POST", "/api/reload", "").await.status, 200);
        }
        daemon.in_state("slow", "handshaking").await;
        let client = crate::harness::HttpClient::new(&daemon.address);
        let health = client.send("GET", "/health", &[], b"").await;
        assert_eq!(health.status, status);
        let health: Value = health.json().await;
        assert_eq!(
            (&health["status"], &health["servers"]["starting"]),
            (&json!(told), &json!(1)),
            "{health}"
        );
        let ready = client.send("GET", "/health/ready", &[], b"").await;
        assert_eq!(ready.status, status);
        daemon.end().await;
    }
}

#[tokio::test]
async fn the_daemon_is_ended_by_a_verb_that_returns_once_it_is_gone() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let ran = daemon.mcpctl(&["shutdown"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout
            .starts_with("The daemon has ended, and its servers with it (process "),
        "{ran:?}"
    );
    assert!(daemon.setup.processes().is_empty(), "it waits for the servers");
    let again = daemon.mcpctl(&["shutdown"]).await;
    assert_eq!(again.code, 3, "{again:?}");
    daemon.ended().await;
}

#[tokio::test]
async fn processes_of_clients_are_seen_in_status_and_why() {
    let daemon = Daemon::start(&[fake("a").tools("pid,echo").key("sharing", "\"per-session\"")]).await;
    let mut clients = Vec::new();
    for _each in 0..2 {
        let client = daemon.introduced(able("2025-11-25", &json!({}), "it")).await;
        client.call("a__pid", json!({})).await;
        clients.push(client);
    }
    let server = daemon.server("a").await;
    assert_eq!(server["n_owned"], 2, "{server}");
    let shown = server["owned"][0]["pid"].as_i64().unwrap();
    assert_ne!(json!(shown), server["pid"]);
    let pid = format!("process {shown}");
    daemon.tells(&["status"], &["2 processes of clients"]).await;
    for verb in ["status", "why"] {
        daemon
            .tells(&[verb, "a"], &["2 processes of clients: ", &pid])
            .await;
    }
    daemon.end().await;
}

#[tokio::test]
async fn who_asks_why_about_a_disabled_server_is_told_to_enable_it() {
    let daemon = Daemon::start(&[fake("a"), fake("off").key("enabled", "false").not_awaited()]).await;
    daemon.tells(&["why", "off"], &["`mcpctl enable off`"]).await;
    assert_eq!(daemon.mcpctl(&["disable", "a"]).await.code, 0);
    let why = daemon.mcpctl(&["why", "a"]).await;
    assert!(
        why.stdout.contains("`mcpctl enable a`") && !why.stdout.contains("mcpctl start"),
        "{why:?}"
    );
    let setup = daemon.end_but_keep().await;
    let why = setup.project.run(&["why", "a"]);
    assert!(
        why.stdout.contains("`mcpctl enable a`") && !why.stdout.contains("mcpctl start"),
        "{why:?}"
    );
}

#[tokio::test]
async fn a_client_whose_daemon_does_not_start_reads_why() {
    let setup = Setup::new(&[]);
    setup.project.write(
        "servers.toml",
        "[servers.a]\ncommand = \"npx -y @x/y\"\nsharing = \"per_sesion\"\n",
    );
    let project = setup.path().display().to_string();
    let mut command = setup.command(&["stdio", "--dir", &project]);
    command.kill_on_drop(true).stdin(std::process::Stdio::null());
    let ended = crate::harness::soon("the end of the shim", command.output())
        .await
        .unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    for words in [
        "servers.toml:2: servers.a.command: the program stands here alone",
        "servers.toml:3: servers.a.sharing: must be one of \"shared\", \"per-session\", \"per-client\", not \"per_sesion\"",
    ] {
        assert!(told.contains(words), "{told}");
    }
}
