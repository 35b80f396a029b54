//! `mcpctl` against the daemon that runs.

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Daemon, fake, names_of, text_of, until};

const CHILD: &str = env!("CARGO_BIN_EXE_fake-child");

fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

#[tokio::test]
async fn a_server_that_is_added_appears_for_a_connected_client_and_removed_it_disappears() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let client = daemon.http().await;
    let mut stream = client.stream().await;
    let mark = format!("MCP_IT_MARK={}", daemon.setup.mark);
    let added = daemon
        .mcpctl(&["add", "b", "--env", &mark, "--", CHILD, "--tools", "fresh"])
        .await;
    assert_eq!(added.code, 0, "{added:?}");
    assert_eq!(
        stream.next_json().await["method"],
        "notifications/tools/list_changed"
    );
    let tools = async || names_of(&client.request("tools/list", json!({})).await, "tools", "name");
    assert_eq!(tools().await, ["a__echo", "b__fresh"]);
    assert_eq!(text_of(&client.call("b__fresh", json!({})).await), "{}");
    let pid = daemon.child_pid("b").await;
    assert_eq!(daemon.mcpctl(&["remove", "b"]).await.code, 0);
    assert_eq!(
        stream.next_json().await["method"],
        "notifications/tools/list_changed"
    );
    assert_eq!(tools().await, ["a__echo"]);
    until("the end of its process", async || (!is_alive(pid)).then_some(())).await;
    daemon.end().await;
}

#[tokio::test]
async fn a_removed_server_leaves_no_process_however_it_clings() {
    let clinging = fake("a")
        .flag("--grandchild")
        .flag("--ignore-eof")
        .flag("--ignore-sigterm");
    let daemon = Daemon::start(&[clinging, fake("b")]).await;
    let other = daemon.child_pid("b").await;
    assert!(
        daemon.setup.processes().len() >= 3,
        "the child, its grandchild and the other"
    );
    daemon.setup.declare(&[fake("b")]);
    until("only the other", async || {
        (daemon.setup.processes() == [other]).then_some(())
    })
    .await;
    let noted = daemon.setup.journal("a");
    assert!(
        noted.iter().any(|line| line == "eof") && noted.iter().any(|line| line == "signal TERM"),
        "{noted:?}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_daemon_that_ends_leaves_no_process_however_it_clings() {
    let clinging = fake("a")
        .flag("--grandchild")
        .flag("--ignore-eof")
        .flag("--ignore-sigterm");
    let daemon = Daemon::start(&[clinging]).await;
    assert!(daemon.setup.processes().len() >= 2);
    daemon.end().await;
}

#[tokio::test]
async fn a_server_is_stopped_started_disabled_and_enabled() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let client = daemon.http().await;
    let state = async || daemon.server("a").await["state"].clone();
    for (verb, wanted) in [
        ("stop", "stopped"),
        ("start", "ready"),
        ("disable", "disabled"),
        ("enable", "ready"),
        ("restart", "ready"),
    ] {
        let ran = daemon.mcpctl(&[verb, "a"]).await;
        assert_eq!(ran.code, 0, "{verb}: {ran:?}");
        until(format!("{wanted} after {verb}"), async || {
            (state().await == wanted).then_some(())
        })
        .await;
        let answer = async || client.call("a__echo", json!({ "after": verb })).await;
        if wanted == "ready" {
            until(format!("an answer after {verb}"), async || {
                answer().await["result"].is_object().then_some(())
            })
            .await;
        } else {
            assert!(answer().await["error"].is_object(), "{verb}");
            assert!(daemon.setup.processes().is_empty(), "{verb}");
        }
    }
    daemon
        .mcpctl(&["stop", "nobody"])
        .await
        .said(1, &["no server is called `nobody`"]);
    daemon.end().await;
}

#[tokio::test]
async fn every_report_is_text_for_people_and_json_for_programs() {
    let daemon = Daemon::start(&[fake("a").arg("--stderr-at-start", "hello from a")]).await;
    daemon.mcpctl(&["status"]).await.said(0, &["a", "ready"]);
    let status = daemon.mcpctl_json(&["status"]).await;
    assert!(status.to_string().contains(&daemon.address), "{status}");
    daemon.mcpctl(&["tools"]).await.said(0, &["a__echo"]);
    assert!(
        daemon
            .mcpctl_json(&["tools", "a"])
            .await
            .to_string()
            .contains("a__echo")
    );
    daemon.mcpctl(&["list"]).await.said(0, &["a"]);
    daemon.mcpctl_json(&["list"]).await;
    daemon
        .mcpctl(&["call", "a__echo", r#"{"n":1}"#])
        .await
        .said(0, &[r#"{"n":1}"#]);
    let answer = daemon.mcpctl_json(&["call", "a__echo", r#"{"n":1}"#]).await;
    assert_eq!(text_of(&answer), r#"{"n":1}"#);
    daemon
        .mcpctl(&["call", "a__nothing"])
        .await
        .said(1, &["a__nothing"]);
    daemon.mcpctl(&["logs", "a"]).await.said(0, &["hello from a"]);
    daemon.mcpctl(&["why", "a"]).await.said(0, &["ready"]);
    let why = daemon.mcpctl_json(&["why", "a"]).await;
    assert_eq!(why["program_found"], CHILD, "{why}");
    until("the events in the journal", async || {
        let events = daemon.mcpctl(&["events", "a"]).await;
        (events.code == 0 && events.stdout.contains("ready")).then_some(())
    })
    .await;
    let events = daemon.mcpctl_json(&["events", "a"]).await;
    assert!(
        events.as_array().is_some_and(|events| !events.is_empty()),
        "{events}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn why_tells_a_server_that_cannot_start_with_its_last_words() {
    let broken = fake("a")
        .arg("--stderr-at-start", "no licence found")
        .arg("--exit-at-start", "3")
        .key("fail_burst", "2")
        .not_awaited();
    let daemon = Daemon::start(&[broken]).await;
    daemon.in_state("a", "failed").await;
    daemon
        .mcpctl(&["why", "a"])
        .await
        .said(0, &["no licence found", "exit code 3"]);
    until("the end of the story", async || {
        let events = daemon.mcpctl_json(&["why", "a"]).await["events"].clone();
        let is_failure = |event: &Value| event["what"] == "failed" && event["exit"]["code"] == 3;
        events.as_array().unwrap().iter().any(is_failure).then_some(())
    })
    .await;
    daemon.end().await;
}

#[tokio::test]
async fn servers_of_another_program_are_imported_into_the_daemon_that_runs() {
    let daemon = Daemon::start(&[]).await;
    let env = json!({ "MCP_IT_MARK": daemon.setup.mark });
    let settings =
        json!({ "mcpServers": { "taken": { "command": CHILD, "args": ["--tools", "over"], "env": env } } });
    daemon.setup.project.write("other.json", &settings.to_string());
    let ran = daemon.mcpctl(&["import", "other.json", "--yes"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    daemon.ready("taken").await;
    let client = daemon.http().await;
    assert_eq!(text_of(&client.call("taken__over", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn what_mcpctl_added_is_there_after_a_restart_of_the_daemon() {
    let daemon = Daemon::start(&[]).await;
    let mark = format!("MCP_IT_MARK={}", daemon.setup.mark);
    let added = daemon.mcpctl(&["add", "b", "--env", &mark, "--", CHILD]).await;
    assert_eq!(added.code, 0, "{added:?}");
    daemon.ready("b").await;
    let daemon = daemon.end_but_keep().await.start().await;
    daemon.ready("b").await;
    daemon.end().await;
}
