//! Disks of our own: a small file system in a mount namespace of the daemon.

use std::process::Stdio;

use rusqlite::Connection;
use serde_json::json;
use tokio::process::Command;

use super::{add, calls_work, health};
use crate::faults::{case, skipped};
use crate::harness::{Daemon, Setup, fake, soon};
use crate::mcpctl::Ran;

const N_BYTES: &str = "2m";

/// The daemon's command, with a small disk as its data folder; `then` is done to it before.
fn on_a_small_disk(setup: &Setup, then: &str) -> Command {
    let plain = setup.command(&[]);
    let script = format!("mount -t tmpfs -o size={N_BYTES},mode=700 none data && {then} && exec \"$0\"");
    let mut command = Command::new("unshare");
    command
        .args(["-Urm", "sh", "-c", &script])
        .arg(plain.as_std().get_program())
        .current_dir(setup.path())
        .env_clear()
        .envs(
            plain
                .as_std()
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Whether this machine lets us have such a disk.
async fn can_mount() -> bool {
    let script = "mount -t tmpfs -o size=1m none /mnt && mount -o remount,ro /mnt";
    let tried = Command::new("unshare")
        .args(["-Urm", "sh", "-c", script])
        .output();
    tried.await.is_ok_and(|output| output.status.success())
}

/// Runs something where the daemon's disk is.
async fn there(daemon: &Daemon, command: &[&str]) -> Ran {
    let pid = daemon.pid().to_string();
    let mut all = Command::new("nsenter");
    all.args(["--preserve-credentials", "-U", "-m", "-t", &pid, "--"])
        .args(command)
        .env_clear()
        .env("HOME", daemon.path())
        .env("PATH", "/usr/bin:/bin")
        .kill_on_drop(true);
    soon("the end of a command on the small disk", all.output())
        .await
        .unwrap()
        .into()
}

async fn mcpctl(daemon: &Daemon, arguments: &[&str]) -> Ran {
    let folder = daemon.path().display().to_string();
    let command = [&[env!("CARGO_BIN_EXE_mcpctl"), "--dir", &folder], arguments].concat();
    there(daemon, &command).await
}

#[tokio::test]
async fn q03_a_full_disk_stops_no_call_and_is_forgotten_when_there_is_room() {
    case("Q03");
    if !can_mount().await {
        return skipped("Q03", "no tmpfs in a mount namespace of our own");
    }
    let setup = Setup::new(&[fake("a").tools("echo")]);
    let command = on_a_small_disk(&setup, "true");
    let daemon = setup.start_by(command).await;
    let client = daemon.http().await;
    crate::harness::until("tools of a", async || {
        let answer = client.request("tools/list", json!({})).await;
        (answer["result"]["tools"][0]["name"] == "a__echo").then_some(())
    })
    .await;
    mcpctl(&daemon, &add("before")).await.said(0, &[]);

    let data = daemon.path().join("data").display().to_string();
    let fill = format!("cd {data} && head -c 10m /dev/zero > fill; head -c 1 /dev/zero >> fill");
    there(&daemon, &["sh", "-c", &fill])
        .await
        .said(1, &["No space left"]);
    calls_work(&client).await;
    calls_work(&daemon.http().await).await;
    mcpctl(&daemon, &add("during"))
        .await
        .said(1, &["the disk is full", "make room"]);
    let list = mcpctl(&daemon, &["--json", "list"]).await;
    assert!(
        list.code == 1 && list.stderr.contains("full")
            || list.stdout.contains("before") && !list.stdout.contains("during"),
        "{list:?}"
    );
    calls_work(&client).await;

    there(&daemon, &["rm", &format!("{data}/fill")])
        .await
        .said(0, &[]);
    mcpctl(&daemon, &add("after")).await.said(0, &[]);
    assert_eq!(health(&client).await.1, "ok");
    calls_work(&client).await;
    let out = daemon.path().join("out");
    let copy = format!("mkdir {0} && cp {data}/*.db* {0}", out.display());
    there(&daemon, &["sh", "-c", &copy]).await.said(0, &[]);
    for file in ["registry.db", "sessions.db"] {
        let copied = Connection::open(out.join(file)).unwrap();
        let found: String = copied
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(found, "ok", "{file}");
    }
    let copied = Connection::open(out.join("registry.db")).unwrap();
    let names: String = copied
        .query_row(
            "SELECT group_concat(name, ' ' ORDER BY position, name) FROM definitions WHERE source = 'user'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(names, "before after");
    daemon.end().await;
}

#[tokio::test]
async fn q04_a_read_only_data_folder_is_refused_with_a_sentence() {
    case("Q04");
    if !can_mount().await {
        return skipped("Q04", "no tmpfs in a mount namespace of our own");
    }
    let setup = Setup::new(&[fake("a").tools("echo")]);
    let mut command = on_a_small_disk(&setup, "mount -o remount,ro data");
    let refused = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let refused: Ran = soon("the end of a daemon that cannot start", refused)
        .await
        .unwrap()
        .into();
    let data = setup.path().join("data").display().to_string();
    refused.said(1, &[&data, "Read-only file system", "MCP_DATA_DIR"]);
}
