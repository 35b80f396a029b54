//! What a server speaks is found out once: without harm to servers that do not understand the question, and kept.

use serde_json::{Value, json};

use crate::harness::fake::Fake;
use crate::harness::{Daemon, Setup, fake, text_of, until};

/// What a server was sent before its lists: the start of each process, and the methods.
fn story(setup: &Setup, server: &str) -> Vec<String> {
    let method = |line: &str| {
        let message: Value = serde_json::from_str(line.strip_prefix("in ")?).ok()?;
        Some(message["method"].as_str()?.to_owned())
    };
    let told = |line: &String| match line.split_once(' ') {
        Some(("start", _)) => Some("start".to_owned()),
        _ => method(line),
    };
    let is_greeting = |word: &String| {
        matches!(
            word.as_str(),
            "start" | "server/discover" | "initialize" | "notifications/initialized"
        )
    };
    let journal = setup.journal(server);
    journal.iter().filter_map(told).filter(is_greeting).collect()
}

const START: &str = "start";
const ASK: &str = "server/discover";
const SHAKE: [&str; 2] = ["initialize", "notifications/initialized"];

/// A server that is met in this way serves; afterwards a restarted daemon meets it in that way.
async fn met(child: Fake, revision: &str, first: &[&str], later: &[&str]) {
    let child = child.key("start_timeout", "\"8s\"");
    let daemon = Daemon::start(std::slice::from_ref(&child)).await;
    let server = daemon.server("a").await;
    assert_eq!(server["revision"], revision);
    assert_eq!(server["n_failures"], 0, "{server}");
    let era = if revision > "2026" { "modern" } else { "legacy" };
    assert_eq!(server["era"], era);
    if !server["probe"].is_null() {
        assert_eq!(server["probe"]["era"], era);
        let how = server["probe"]["how"].as_str().unwrap();
        daemon.tells(&["why", "a"], &[revision, how]).await;
    }
    let client = daemon.http().await;
    assert_eq!(
        text_of(&client.call("a__echo", json!({ "x": 1 })).await),
        r#"{"x":1}"#
    );
    assert_eq!(story(&daemon.setup, "a"), first);
    let setup = daemon.end_but_keep().await;
    let n_before = story(&setup, "a").len();
    let daemon = setup.start().await;
    daemon.ready("a").await;
    assert_eq!(story(&daemon.setup, "a")[n_before..], *later);
    daemon.end().await;
}

fn and<'a>(parts: &[&[&'a str]]) -> Vec<&'a str> {
    parts.concat()
}

#[tokio::test]
async fn a_server_that_refuses_the_question_shakes_hands_on_the_same_process() {
    for code in ["-32601", "-32602", "-32001"] {
        let child = fake("a").arg("--on-discover", &format!("error={code}"));
        let first = and(&[&[START, ASK], &SHAKE]);
        met(child, "2025-11-25", &first, &and(&[&[START], &SHAKE])).await;
    }
}

#[tokio::test]
async fn a_server_that_ends_at_the_question_is_started_again_at_once_without_it() {
    let child = fake("a").arg("--on-discover", "exit");
    let first = and(&[&[START, ASK, START], &SHAKE]);
    met(child, "2025-11-25", &first, &and(&[&[START], &SHAKE])).await;
}

#[tokio::test]
async fn a_server_that_refuses_and_ends_is_started_again_at_once() {
    let child = fake("a").arg("--on-discover", "error=-32000,close");
    // Whether it still reads the handshake is its own affair.
    let child = child.key("start_timeout", "\"8s\"");
    let daemon = Daemon::start(&[child]).await;
    let server = daemon.server("a").await;
    assert_eq!(
        (&server["n_failures"], &server["generation"]),
        (&json!(0), &json!(2))
    );
    let told = story(&daemon.setup, "a");
    assert_eq!(told.iter().filter(|word| *word == ASK).count(), 1, "{told:?}");
    assert_eq!(told[told.len() - 3..], and(&[&[START], &SHAKE]));
    daemon.end().await;
}

#[tokio::test]
async fn a_silent_server_shakes_hands_on_the_same_process() {
    let child = fake("a").arg("--on-discover", "silent");
    let first = and(&[&[START, ASK], &SHAKE]);
    met(child, "2025-11-25", &first, &and(&[&[START], &SHAKE])).await;
}

#[tokio::test]
async fn a_server_that_answers_late_is_spoken_to_in_its_own_way_from_the_next_start_on() {
    let child = fake("a")
        .arg("--on-discover", "late=4")
        .arg("--era", "legacy")
        .key("start_timeout", "\"30s\"");
    let daemon = Daemon::start(&[child]).await;
    assert_eq!(daemon.server("a").await["revision"], "2025-11-25");
    assert_eq!(story(&daemon.setup, "a"), and(&[&[START, ASK], &SHAKE]));
    until("an answer that is late", async || {
        (daemon.server("a").await["probe"]["era"] == "modern").then_some(())
    })
    .await;
    // That says nothing against the process that there is.
    assert_eq!(daemon.server("a").await["generation"], 1);
    let restarted = daemon.mcpctl(&["restart", "a"]).await;
    assert_eq!(restarted.code, 0, "{restarted:?}");
    until("a process that is not asked for a handshake", async || {
        (daemon.server("a").await["revision"] == "2026-07-28").then_some(())
    })
    .await;
    assert_eq!(
        story(&daemon.setup, "a"),
        and(&[&[START, ASK], &SHAKE, &[START, ASK]])
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_modern_server_that_starts_slowly_is_spoken_to_in_its_own_way() {
    let child = fake("a").arg("--era", "modern").arg("--start-delay", "3500");
    let daemon = Daemon::start(&[child]).await;
    assert_eq!(daemon.server("a").await["revision"], "2026-07-28");
    // The old greeting was on its way already, and is refused.
    assert_eq!(story(&daemon.setup, "a"), [START, ASK, "initialize"]);
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_lists_only_older_revisions_gets_a_fresh_process_for_its_handshake() {
    let child = fake("a").arg("--on-discover", "legacy-versions");
    let first = and(&[&[START, ASK, START], &SHAKE]);
    met(child, "2025-11-25", &first, &and(&[&[START], &SHAKE])).await;
    let child = fake("a").arg("--on-discover", "unsupported=2025-11-25,2025-06-18");
    met(child, "2025-11-25", &first, &and(&[&[START], &SHAKE])).await;
}

#[tokio::test]
async fn a_modern_server_is_spoken_to_without_handshake_and_one_that_speaks_both_too() {
    for era in ["modern", "dual"] {
        let child = fake("a").arg("--era", era);
        met(child, "2026-07-28", &[START, ASK], &[START, ASK]).await;
    }
}

#[tokio::test]
async fn a_server_that_speaks_nothing_known_is_refused_with_its_own_words() {
    let child = fake("a")
        .arg("--on-discover", "unsupported=2031-01-01")
        .not_awaited();
    let daemon = Daemon::start(&[child]).await;
    daemon.tells(&["why", "a"], &["2031-01-01"]).await;
    assert!(!story(&daemon.setup, "a").contains(&"initialize".to_owned()));
    daemon.end().await;
}

#[tokio::test]
async fn who_declares_the_era_is_believed() {
    let old = fake("a").arg("--era", "dual").key("era", "\"legacy\"");
    let first = and(&[&[START], &SHAKE]);
    met(old, "2025-11-25", &first, &first).await;
    let never = fake("a").key("era", "\"modern\"").not_awaited();
    let daemon = Daemon::start(&[never]).await;
    daemon.tells(&["why", "a"], &["does not speak 2026-07-28"]).await;
    assert!(!story(&daemon.setup, "a").contains(&"initialize".to_owned()));
    daemon.end().await;
}

#[tokio::test]
async fn a_verdict_that_the_server_contradicts_is_found_out_anew() {
    // The program stays the same for all that can be seen of it: only its environment is another.
    let setup = Setup::new(&[]);
    let script = setup.path().join("server.sh");
    let program = env!("CARGO_BIN_EXE_fake-child");
    let declare = |setup: &Setup, era: &str| {
        std::fs::write(setup.path().join("era"), era).unwrap();
        setup.project.write(
            "servers.toml",
            &format!(
                "[servers.a]\ncommand = \"sh\"\nargs = [{:?}]\nenv = {{ MCP_IT_MARK = {:?} }}\n",
                script.display().to_string(),
                setup.mark
            ),
        );
    };
    let folder = setup.path().display();
    std::fs::write(
        &script,
        format!("exec {program} --journal {folder}/a.journal --era $(cat {folder}/era)\n"),
    )
    .unwrap();
    declare(&setup, "legacy");
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let setup = daemon.end_but_keep().await;
    declare(&setup, "modern");
    let n_before = story(&setup, "a").len();
    let daemon = setup.start().await;
    assert_eq!(daemon.ready("a").await["revision"], "2026-07-28");
    // It says so itself when it is greeted in the old way; no process is lost over it.
    assert_eq!(story(&daemon.setup, "a")[n_before..], [START, "initialize", ASK]);
    let setup = daemon.end_but_keep().await;
    declare(&setup, "legacy");
    let n_before = story(&setup, "a").len();
    let daemon = setup.start().await;
    assert_eq!(daemon.ready("a").await["revision"], "2025-11-25");
    assert_eq!(
        story(&daemon.setup, "a")[n_before..],
        and(&[&[START, ASK], &SHAKE])
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_always_ends_is_no_old_server_for_that() {
    let child = fake("a").arg("--exit-at-start", "3").not_awaited();
    let daemon = Daemon::start(&[child]).await;
    until("a server that has failed", async || {
        let server = daemon.server("a").await;
        (server["n_failures"].as_u64() > Some(1)).then_some(())
    })
    .await;
    daemon.tells(&["why", "a"], &["exit code 3"]).await;
    daemon.end().await;
}
