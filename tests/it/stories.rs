//! What `mcpctl why` and `mcpctl events` say of servers in every kind of trouble, now and after the daemon is gone.

use serde_json::json;

use crate::harness::fake::Fake;
use crate::harness::{Daemon, Setup, fake};

fn crash_loop() -> Fake {
    fake("loop")
        .arg("--stderr-at-start", "key ${KEY} is bad\u{1b}[2J")
        .arg("--exit-at-start", "3")
        .key("fail_burst", "2")
        // An end at the first question is no failure: here each is one.
        .key("era", "\"legacy\"")
        .not_awaited()
}

/// What must be said of the crash loop, by whomever.
const LOOP: &[&str] = &[
    "before it had answered `initialize` (exit code 3)",
    "starts again in",
    "(failure 1)",
    "failed: the process ended",
    "key *** is bad\\x1b[2J",
    "one more attempt in 5m",
];

#[tokio::test]
async fn a_crash_loop_is_told_with_its_attempts_its_last_words_and_the_next_attempt_also_to_the_next_daemon()
{
    let setup = Setup::new(&[crash_loop()]).variable("KEY", "hunter2hunter2");
    let daemon = setup.start().await;
    daemon.in_state("loop", "failed").await;
    daemon.tells(&["why", "loop"], LOOP).await;
    let why = daemon.mcpctl(&["why", "loop"]).await;
    why.said(0, LOOP);
    why.said(
        0,
        &[
            "loop: failed: ",
            "; tried again in 4m",
            "last end",
            "run 2: ",
            "2 since the daemon started",
            "next try  in 4m",
        ],
    );
    assert_eq!(why.stdout.matches("started as process").count(), 2, "{why:?}");
    let events = daemon.mcpctl(&["events", "loop"]).await;
    events.said(
        0,
        &["started as process", "gone: the process ended", "exit code 3"],
    );
    let setup = daemon.end_but_keep().await;
    let offline = setup.project.run(&["why", "loop"]);
    offline.said(0, LOOP);
    let texts = [why.stdout, events.stdout, offline.stdout].concat();
    // The next daemon, for which nothing has happened yet but that it is disabled.
    setup.declare(&[crash_loop().key("enabled", "false")]);
    let daemon = setup.start().await;
    let later = daemon.mcpctl(&["why", "loop"]).await;
    later.said(0, &["loop: disabled", "exit code 3", "key *** is bad"]);
    let log = std::fs::read_to_string(daemon.path().join("logs/children/loop.log")).unwrap();
    assert!(log.contains("key *** is bad"), "{log}");
    for text in [texts, later.stdout, log, daemon.log()] {
        assert!(!text.contains("hunter2") && !text.contains('\u{1b}'), "{text}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_hung_handshake_is_told_with_how_long_was_waited_and_what_was_said_instead() {
    let hung = fake("hung")
        .flag("--hang-handshake")
        .arg("--noise", "1")
        .key("start_timeout", "\"400ms\"")
        .key("fail_burst", "1")
        .not_awaited();
    let daemon = Daemon::start(&[hung]).await;
    daemon.in_state("hung", "failed").await;
    for verb in ["why", "events"] {
        let words = [
            "no answer to `initialize` within 400ms",
            "noise 0: this is not JSON",
            "asked to go: stdin closed",
        ];
        daemon.tells(&[verb, "hung"], &words).await;
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_signal_is_told_by_its_name_and_what_cannot_start_with_what_was_looked_for() {
    let daemon = Daemon::start(&[fake("a").tools("kill_self,echo")]).await;
    let client = daemon.http().await;
    client.call("a__kill_self", json!({})).await;
    daemon.ready("a").await;
    for verb in ["why", "events"] {
        let words = ["the process ended by itself (signal 9 (SIGKILL))", "ready after"];
        daemon.tells(&[verb, "a"], &words).await;
    }
    let added = daemon.mcpctl(&["add", "lost", "--", "no-such-program"]).await;
    added.said(1, &["command not found in PATH"]);
    for verb in ["why", "events"] {
        let words = [
            "failed: cannot be started: `no-such-program`: command not found in PATH",
            "one more attempt in 5m",
        ];
        daemon.tells(&[verb, "lost"], &words).await;
    }
    daemon.end().await;
}

#[tokio::test]
async fn the_story_of_a_server_is_there_when_the_server_is_not_any_more() {
    let daemon = Daemon::start(&[fake("a"), fake("b")]).await;
    daemon.setup.declare(&[fake("b")]);
    daemon.api("POST", "/api/reload", "").await;
    let words = [
        "a: not declared any more",
        "started as process",
        "gone: stopped on request",
    ];
    daemon.tells(&["why", "a"], &words).await;
    let json = daemon.mcpctl_json(&["why", "a"]).await;
    assert_eq!(json["declared"], false, "{json}");
    daemon.tells(&["events", "a"], &words[1..]).await;
    daemon
        .mcpctl(&["why", "nobody"])
        .await
        .said(1, &["no server is called `nobody`"]);
    let setup = daemon.end_but_keep().await;
    setup.project.run(&["why", "a"]).said(0, &words);
    setup
        .project
        .run(&["why", "nobody"])
        .said(1, &["no server `nobody`"]);
}
