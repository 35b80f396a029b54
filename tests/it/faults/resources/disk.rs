//! The disk of the data folder: full, read-only, without its registry, or held by somebody else.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio::time::Instant;

use super::super::{case, skipped};
use crate::harness::{Daemon, HttpClient, Setup, fake, soon, text_of, until};
use crate::mcpctl::Ran;

const DAEMON: &str = env!("CARGO_BIN_EXE_mcp-wrapper");

/// Mounts a small disk of its own on the data folder, and becomes what follows. `$1` are more options of the disk.
const OWN_DISK: &str = r#"options=$1; shift
mount -t tmpfs -o size=3m,mode=700 tmpfs data && mount -o "remount,size=3m,$options" data && exec "$@""#;

/// Whether this system lets us have a disk of our own.
async fn has_own_disks(id: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let words = on_own_disk("rw", "true");
    let tried = Command::new(words[0])
        .args(&words[1..])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output();
    match soon("a disk of our own", tried).await {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            skipped(id, String::from_utf8_lossy(&output.stderr).trim());
            false
        }
        Err(why) => {
            skipped(id, &format!("unshare: {why}"));
            false
        }
    }
}

/// The words that start a program on a disk of its own.
fn on_own_disk<'a>(options: &'a str, program: &'a str) -> [&'a str; 10] {
    [
        "unshare", "-U", "-r", "-m", "sh", "-c", OWN_DISK, "sh", options, program,
    ]
}

/// Runs a program where the daemon runs.
async fn beside(daemon: &Daemon, words: &[&str]) -> Ran {
    let folder = daemon.path().display().to_string();
    let pid = daemon.pid().to_string();
    let mut command = Command::new("nsenter");
    command
        .args([
            "-t",
            &pid,
            "-U",
            "-m",
            "--preserve-credentials",
            "env",
            "-C",
            &folder,
        ])
        .args(words)
        .env_clear()
        .env("HOME", daemon.path())
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    soon("the end of a program beside the daemon", command.output())
        .await
        .unwrap()
        .into()
}

async fn mcpctl_beside(daemon: &Daemon, arguments: &[&str]) -> Ran {
    beside(daemon, &[&[env!("CARGO_BIN_EXE_mcpctl")], arguments].concat()).await
}

/// Waits until a tool answers; the control socket is out of our reach.
async fn answering(client: &HttpClient, tool: &str) {
    until(format!("an answer of {tool}"), async || {
        let answer = client.call(tool, json!({})).await;
        answer["result"].is_object().then_some(())
    })
    .await;
}

#[tokio::test]
async fn q03_a_full_disk_stops_changes_and_nothing_else() {
    case("Q03");
    if !has_own_disks("Q03").await {
        return;
    }
    let setup = Setup::new(&[fake("a").tools("fill_disk,echo")]).through(&on_own_disk("rw", DAEMON));
    let daemon = setup.start().await;
    let client = daemon.http().await;
    answering(&client, "a__echo").await;
    mcpctl_beside(&daemon, &["add", "before", "--", "true"]).await;
    let folder = daemon.path().join("data").display().to_string();
    let answer = client.call("a__fill_disk", json!({ "folder": folder })).await;
    assert_ne!(text_of(&answer), "0");
    let refused = mcpctl_beside(&daemon, &["add", "b", "--disabled", "--", "true"]).await;
    refused.said(1, &["the disk is full", "make room"]);
    let newcomer = daemon.http().await;
    for client in [&client, &newcomer] {
        assert_eq!(
            text_of(&client.call("a__echo", json!({ "n": 1 })).await),
            r#"{"n":1}"#
        );
    }
    beside(&daemon, &["rm", "data/filler"]).await.said(0, &[]);
    until("a change that is made", async || {
        let added = mcpctl_beside(&daemon, &["add", "b", "--disabled", "--", "true"]).await;
        (added.code == 0).then_some(())
    })
    .await;
    let listed = mcpctl_beside(&daemon, &["list"]).await;
    listed.said(0, &["a", "before", "b"]);
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn q04_a_registry_out_of_reach_is_told_and_calls_go_on() {
    case("Q04");
    if has_own_disks("Q04").await {
        let setup = Setup::new(&[]).through(&on_own_disk("ro", DAEMON));
        setup.refused().await.said(1, &["data", "MCP_DATA_DIR"]);
    }
    let daemon = Daemon::start(&[fake("a")]).await;
    let client = daemon.http().await;
    for file in ["registry.db", "registry.db-wal", "registry.db-shm"] {
        std::fs::remove_file(daemon.path().join("data").join(file)).unwrap();
    }
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    let health = client.send("GET", "/health", &[], b"").await.json().await;
    assert!(health.to_string().contains("registry.db"), "{health}");
    let newcomer = daemon.http().await;
    assert_eq!(text_of(&newcomer.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn q05_a_lock_is_waited_for_and_not_for_ever() {
    case("Q05");
    let daemon = Daemon::start(&[fake("a")]).await;
    let client = daemon.http().await;
    let file = daemon.path().join("data/registry.db");
    let holder = rusqlite::Connection::open(file).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let add = ["add", "b", "--disabled", "--", "true"];
    let (added, ()) = tokio::join!(daemon.mcpctl(&add), async {
        assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
        // The time that it is held is what is provoked.
        tokio::time::sleep_until(begun + Duration::from_secs(3)).await;
        holder.execute_batch("ROLLBACK").unwrap();
    });
    assert_eq!(added.code, 0, "{added:?}");
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let refused = daemon.mcpctl(&["remove", "b"]).await;
    eprintln!("refused after {:?}", begun.elapsed());
    refused.said(1, &["registry", "locked"]);
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    holder.execute_batch("ROLLBACK").unwrap();
    daemon.mcpctl(&["remove", "b"]).await.said(0, &[]);
    daemon.end().await;
}
