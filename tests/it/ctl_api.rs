//! `mcpctl` against the words of the control API: what it asks, prints and returns for each answer.
//!
//! The answers here are scripted, so that each of them is certain; the daemon has its own tests.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test harness may fail loudly"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::mcpctl::{Project, Ran};

/// A control socket that gives one answer to each "METHOD /path", until it is dropped.
struct Answers {
    runtime: tokio::runtime::Runtime,
}

impl Answers {
    fn on(folder: &Path, answers: &[(&'static str, u16, String)]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads are to be had");
        let answers: BTreeMap<_, _> = answers
            .iter()
            .map(|(what, status, body)| (*what, (*status, body.clone())))
            .collect();
        let answer = move |request: Request| {
            let asked = format!("{} {}", request.method(), request.uri());
            let found = answers.get(asked.as_str()).cloned();
            async move { found.map_or_else(|| refusal(&asked), |(status, body)| answer(status, body)) }
        };
        let guard = runtime.enter();
        let socket = tokio::net::UnixListener::bind(folder.join("data/control.sock")).expect("a new folder");
        drop(guard);
        let serving = axum::serve(socket, Router::new().fallback(answer));
        let tasks = mcp_wrapper::tasks::Tasks::new();
        runtime.block_on(async {
            tasks.spawn("scripted control socket", async move {
                serving.await.expect("it serves until the runtime ends");
            });
        });
        Self { runtime }
    }

    fn end(self) {
        self.runtime.shutdown_background();
    }
}

fn answer(status: u16, body: String) -> Response {
    (StatusCode::from_u16(status).expect("a status"), body).into_response()
}

fn refusal(asked: &str) -> Response {
    answer(
        404,
        json!({ "error": format!("unexpected: {asked}") }).to_string(),
    )
}

/// Runs `mcpctl` once against some answers.
fn run(answers: &[(&'static str, u16, String)], arguments: &[&str]) -> Ran {
    let project = Project::new();
    // Where a daemon runs there is a registry.
    project.run(&["list"]).said(0, &[]);
    let daemon = Answers::on(project.path(), answers);
    let ran = project.run(arguments);
    daemon.end();
    ran
}

fn server(state: &str) -> Value {
    json!({
        "name": "git", "origin": "cli", "enabled": true, "state": state, "command": ["uvx", "x"], "pid": 42,
        "generation": 1, "state_ms": 5000, "revision": "2025-06-18", "server_info": "git 1.0", "n_tools": 13,
        "n_prompts": 0, "n_resources": 0, "n_templates": 0, "n_inflight": 0, "n_failures": 2,
        "n_noise_lines": 0, "cause": (state != "ready").then_some("exit code 1"), "next_try_ms": null,
        "warnings": []
    })
}

fn reloaded() -> (&'static str, u16, String) {
    (
        "POST /api/reload",
        200,
        json!({"changes": ["git: added"], "problems": []}).to_string(),
    )
}

#[test]
fn add_tells_that_the_server_is_ready() {
    let answers = [
        reloaded(),
        ("GET /api/servers/git", 200, server("ready").to_string()),
    ];
    run(&answers, &["add", "git", "--", "uvx", "x"]).said(0, &["git: ready, 13 tools"]);
}

#[test]
fn add_tells_why_the_server_is_not_ready() {
    let answers = [
        reloaded(),
        ("GET /api/servers/git", 200, server("backoff").to_string()),
    ];
    run(&answers, &["add", "git", "--", "uvx", "x"]).said(1, &["exit code 1", "mcpctl why git"]);
}

#[test]
fn list_shows_live_states() {
    let project = Project::new();
    project.run(&["add", "git", "--", "uvx", "x"]).said(0, &[]);
    let daemon = Answers::on(
        project.path(),
        &[("GET /api/servers", 200, json!([server("ready")]).to_string())],
    );
    project
        .run(&["list"])
        .said(0, &["git   ready  cli     13     uvx x"]);
    daemon.end();
}

#[test]
fn verbs_on_several_servers_do_all_and_tell_each() {
    let answers = [
        ("POST /api/servers/git/restart", 200, server("ready").to_string()),
        (
            "POST /api/servers/files/restart",
            404,
            json!({"error": "there is no server `files`"}).to_string(),
        ),
    ];
    let ran = run(&answers, &["restart", "files", "git"]);
    ran.said(1, &["there is no server `files`", "git: ready"]);
    let told = run(&answers, &["--json", "restart", "files", "git"]).json();
    assert_eq!(
        (&told[0]["error"], &told[1]["state"]),
        (&json!("there is no server `files`"), &json!("ready"))
    );
}

#[test]
fn a_server_that_cannot_be_started_is_a_failure() {
    let answers = [("POST /api/servers/git/start", 200, server("failed").to_string())];
    run(&answers, &["start", "git"]).said(1, &["git: failed: exit code 1", "mcpctl why git"]);
}

#[test]
fn status_shows_the_daemon_and_its_servers() {
    let daemon = json!({
        "version": "0.1.0", "pid": 7, "uptime_ms": 61000, "url": "http://127.0.0.1:8999/mcp", "health": "healthy",
        "sessions": 1, "data_dir": "/p/data", "servers_file": "/p/servers.toml", "problems": ["line 3 is odd"]
    });
    let answers = [
        ("GET /api/daemon", 200, daemon.to_string()),
        ("GET /api/servers", 200, json!([server("ready")]).to_string()),
        ("GET /api/servers/git", 200, server("ready").to_string()),
    ];
    let shown = [
        "http://127.0.0.1:8999/mcp",
        "up 1m 1s",
        "Problem: line 3 is odd",
        "git   ready  42",
    ];
    run(&answers, &["status"]).said(0, &shown);
    assert_eq!(run(&answers, &["--json", "status"]).json()["daemon"]["pid"], 7);
    run(&answers, &["status", "git"]).said(0, &["git: ready, 13 tools", "2025-06-18"]);
}

#[test]
fn a_call_prints_the_text_and_its_failure_is_ours() {
    let call = |answer: Value| [("POST /api/call", 200, answer.to_string())];
    let well = call(json!({"result": {"content": [{"type": "text", "text": "found it"}]}}));
    let ran = run(&well, &["call", "git__log", "{}"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "found it\n"), "{ran:?}");
    let ill =
        call(json!({"result": {"content": [{"type": "text", "text": "no repository"}], "isError": true}}));
    let ran = run(&ill, &["call", "git__log"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "no repository\n"), "{ran:?}");
    let error = call(json!({"error": {"code": 1002, "message": "git is down"}}));
    run(&error, &["call", "git__log"]).said(1, &["git is down", "1002"]);
    assert_eq!(
        run(&error, &["--json", "call", "git__log"]).json()["error"]["code"],
        1002
    );
}

#[test]
fn a_result_comes_out_as_the_child_wrote_it() {
    let raw = r#"{"result":{"structuredContent":{"z":1e400,"a":9007199254740993,"n":null}}}"#;
    let ran = run(&[("POST /api/call", 200, raw.to_owned())], &["call", "git__log"]);
    ran.said(0, &["\"z\": 1e400,\n  \"a\": 9007199254740993,\n  \"n\": null"]);
    let ran = run(
        &[("POST /api/call", 200, raw.to_owned())],
        &["--json", "call", "git__log"],
    );
    ran.said(0, &[r#"{"z":1e400,"a":9007199254740993,"n":null}"#]);
}

#[test]
fn arguments_can_come_from_stdin() {
    let project = Project::new();
    let answers = [(
        "POST /api/call",
        200,
        json!({"result": {"content": []}}).to_string(),
    )];
    let daemon = Answers::on(project.path(), &answers);
    project
        .run_with_stdin(&["call", "git__log", "-"], "{\"a\": 1}\n")
        .said(0, &[]);
    project
        .run_with_stdin(&["call", "git__log", "-"], "[1]")
        .said(2, &["JSON object"]);
    daemon.end();
}

#[test]
fn logs_are_printed_as_they_come_and_escaped() {
    let path = "GET /api/servers/git/logs?lines=100&follow=false";
    let answers = [(path, 200, "one\n\u{1b}[2Jtwo".to_owned())];
    let ran = run(&answers, &["logs", "git"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "one\n\\x1b[2Jtwo\n"),
        "{ran:?}"
    );
    assert_eq!(
        run(&answers, &["--json", "logs", "git"]).json(),
        json!(["one", "\\x1b[2Jtwo"])
    );
}

#[test]
fn tools_and_events_are_tables() {
    let tool =
        json!([{"name": "git__log", "server": "git", "own_name": "log", "description": "Shows the log"}]);
    let event = json!([{"at_ms": 0, "server": "git", "generation": 1, "what": "spawned", "pid": 7}]);
    let answers = [
        ("GET /api/tools?server=git", 200, tool.to_string()),
        ("GET /api/events?server=git&n=5", 200, event.to_string()),
    ];
    run(&answers, &["tools", "git"]).said(0, &["git__log  git     Shows the log"]);
    run(&answers, &["events", "git", "-n", "5"]).said(0, &["started as process 7"]);
}

#[test]
fn why_tells_the_story() {
    let why = json!({
        "server": server("failed"), "stderr": ["boom"], "path_searched": "/usr/bin", "program_found": null,
        "events": [{"at_ms": 0, "server": "git", "generation": 1, "what": "spawned", "pid": 7}],
        "advice": ["Install uv."], "log_file": "/p/logs/children/git.log"
    });
    let answers = [("GET /api/servers/git/why", 200, why.to_string())];
    let shown = [
        "git: failed: exit code 1",
        "/usr/bin",
        "    boom",
        "1. Install uv.",
        "/p/logs/children/git.log",
    ];
    run(&answers, &["why", "git"]).said(0, &shown);
}

#[test]
fn a_daemon_of_another_version_is_recognised() {
    let answers = [
        ("GET /api/tools", 200, "{\"new\": true}".to_owned()),
        ("GET /api/servers/git", 500, "oops".to_owned()),
    ];
    run(&answers, &["tools"]).said(1, &["another version"]);
    run(&answers, &["status", "git"]).said(1, &["status 500"]);
}

#[test]
fn following_a_log_prints_each_line_at_once_and_ends_well_with_ctrl_c() {
    let project = Project::new();
    let socket = UnixListener::bind(project.path().join("data/control.sock")).expect("a new folder");
    let mut child = project
        .mcpctl(&["logs", "git", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("mcpctl starts");
    let (mut daemon, _) = socket.accept().expect("mcpctl connects");
    let asked = BufReader::new(&daemon)
        .lines()
        .next()
        .expect("a request")
        .expect("UTF-8");
    assert_eq!(asked, "GET /api/servers/git/logs?lines=100&follow=true HTTP/1.1");
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    daemon
        .write_all(format!("{head}8\r\none\ntwo\n\r\n").as_bytes())
        .expect("mcpctl listens");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next = || lines.next().expect("a line").expect("UTF-8");
    assert_eq!((next(), next()), ("one".to_owned(), "two".to_owned()));
    // The answer has not ended: only Ctrl-C ends this.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
