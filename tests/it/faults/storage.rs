//! Storage: the data folder and its files, full, locked, damaged or gone (Q03 to Q07, D03).

mod disk;
mod kills;

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;
use tokio::process::Command;
use tokio::time::Instant;

use super::{Case, case};
use crate::harness::{Daemon, HttpClient, Setup, fake, soon, text_of, until};
use crate::mcpctl::Ran;

/// The cases of this group, in the order of their ids; a small letter tells apart what one row has several of.
pub(super) const CASES: &[Case] = &[
    Case {
        id: "D03",
        provoked: "a second daemon on one data folder, on one port",
        promised: "it exits with code 1 and names the process of the first, or the address; the first goes on",
        test: "faults::storage::d03_a_second_daemon_is_refused_and_told_who_the_first_is",
    },
    Case {
        id: "D03b",
        provoked: "the sockets and `daemon.pid` are deleted under a running daemon",
        promised: "no second daemon starts meanwhile; all three are there again within seconds and lead to the same daemon",
        test: "faults::storage::d03b_sockets_and_pid_file_that_were_deleted_come_back",
    },
    Case {
        id: "Q03",
        provoked: "the disk with the data folder is full",
        promised: "calls, lists and sessions go on; `mcpctl add` says that the disk is full and saves nothing; with room again it works without a restart; the file stays whole; skipped where no mount namespace can be had",
        test: "faults::storage::disk::q03_a_full_disk_stops_no_call_and_is_forgotten_when_there_is_room",
    },
    Case {
        id: "Q04",
        provoked: "the data folder is read-only when the daemon starts",
        promised: "exit code 1 and a sentence that names the folder and `MCP_DATA_DIR`; skipped where no mount namespace can be had",
        test: "faults::storage::disk::q04_a_read_only_data_folder_is_refused_with_a_sentence",
    },
    Case {
        id: "Q04b",
        provoked: "`registry.db` is taken away under a running daemon, and replaced by another file",
        promised: "what runs goes on; `/health` answers 503 and says it; `mcpctl add` refuses; the same file put back is good again at once",
        test: "faults::storage::q04b_a_registry_that_was_taken_away_is_told_and_taken_back",
    },
    Case {
        id: "Q05",
        provoked: "another process holds the write lock of `registry.db` for 3 s",
        promised: "the change waits for it and succeeds",
        test: "faults::storage::q05_a_lock_of_three_seconds_is_waited_for",
    },
    Case {
        id: "Q05b",
        provoked: "another process holds the write lock for ever",
        promised: "a clear error after about 5 s; calls go on; a change after the lock succeeds",
        test: "faults::storage::q05b_a_lock_that_stays_is_a_clear_error",
    },
    Case {
        id: "Q06",
        provoked: "SIGKILL of the daemon and of `mcpctl` while several processes write to `registry.db`, in rounds (`CHAOS_ROUNDS`)",
        promised: "`integrity_check` ok; every acknowledged change is there, one that was not is there whole or not at all; the next daemon starts",
        test: "faults::storage::kills::q06_the_registry_survives_sigkill_while_it_is_written",
    },
    Case {
        id: "Q06b",
        provoked: "the same for `sessions.db`, while clients come and go",
        promised: "`integrity_check` ok; a session whose handshake was answered in time goes on, one that was ended stays ended",
        test: "faults::storage::kills::q06b_sessions_survive_sigkill_while_they_are_written",
    },
    Case {
        id: "Q07",
        provoked: "`registry.db` is truncated, is no database, or is of a newer version",
        promised: "exit code 1 and a sentence that says what to do; the file keeps its bytes",
        test: "faults::storage::q07_a_registry_that_cannot_be_used_is_refused_and_keeps_its_bytes",
    },
    Case {
        id: "Q07b",
        provoked: "the same for `sessions.db`",
        promised: "a warning; the daemon serves without keeping sessions; the file keeps its bytes",
        test: "faults::storage::q07b_sessions_that_cannot_be_kept_stop_nothing",
    },
];

async fn calls_work(client: &HttpClient) {
    let answer = client.call("a__echo", json!({ "n": 1 })).await;
    assert_eq!(text_of(&answer), r#"{"n":1}"#);
}

/// A daemon with the server `a`, which has one tool.
async fn daemon() -> Daemon {
    Daemon::start(&[fake("a").tools("echo")]).await
}

fn add(name: &str) -> [&str; 5] {
    ["add", name, "--disabled", "--", "/bin/true"]
}

/// Holds the write lock of a database until it is dropped.
fn locked(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

/// What the daemon says of itself: the status of `/health`, and its `database`.
async fn health(client: &HttpClient) -> (u16, String) {
    let reply = client.send("GET", "/health", &[], b"").await;
    let status = reply.status;
    (
        status,
        reply.json().await["database"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn d03_a_second_daemon_is_refused_and_told_who_the_first_is() {
    case("D03");
    let daemon = daemon().await;
    let client = daemon.http().await;
    let first = format!("(process {})", daemon.pid());
    daemon
        .setup
        .refused()
        .await
        .said(1, &["another mcp-wrapper", &first, "MCP_DATA_DIR"]);
    let port = daemon.address.rsplit(':').next().unwrap();
    let other = Setup::new(&[]).variable("MCP_PORT", port);
    other
        .refused()
        .await
        .said(1, &["cannot listen on", &daemon.address, "MCP_PORT"]);
    calls_work(&client).await;
    daemon.end().await;
}

#[tokio::test]
async fn d03b_sockets_and_pid_file_that_were_deleted_come_back() {
    case("D03b");
    let daemon = daemon().await;
    let pid = daemon.pid().to_string();
    let data = daemon.path().join("data");
    let files = ["control.sock", "mcp.sock", "daemon.pid"];
    for file in files {
        std::fs::remove_file(data.join(file)).unwrap();
    }
    // Before they are back, or after: there is one daemon for one folder.
    daemon.setup.refused().await.said(1, &["another mcp-wrapper"]);
    let back = until("the files that were deleted", async || {
        files.iter().all(|file| data.join(file).exists()).then_some(())
    });
    back.await;
    until("the pid in its file", async || {
        let noted = std::fs::read_to_string(data.join("daemon.pid")).ok()?;
        (noted.trim() == pid).then_some(())
    })
    .await;
    let status = daemon.mcpctl_json(&["status"]).await;
    assert_eq!(status["daemon"]["pid"].to_string(), pid, "{status}");
    let mut line = crate::harness::LineClient::greeted(&daemon.setup).await;
    let answer = line
        .ask_json(&crate::harness::call(1, "a__echo", json!({})))
        .await;
    assert_eq!(text_of(&answer), "{}");
    line.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn q04b_a_registry_that_was_taken_away_is_told_and_taken_back() {
    case("Q04b");
    let daemon = daemon().await;
    let client = daemon.http().await;
    let (here, away) = (
        daemon.path().join("data/registry.db"),
        daemon.path().join("away.db"),
    );
    std::fs::rename(&here, &away).unwrap();
    let told = async |what: &str| {
        let (status, database) = health(&client).await;
        assert_eq!(status, 503, "{what}");
        assert!(
            database.contains("was taken away, or replaced"),
            "{what}: {database}"
        );
        calls_work(&client).await;
    };
    told("away").await;
    daemon.mcpctl(&add("b")).await.said(1, &["was taken away"]);
    assert!(
        !here.exists(),
        "nobody makes a second registry beside the daemon's"
    );
    std::fs::copy(&away, &here).unwrap();
    told("another file").await;
    daemon.mcpctl(&["list"]).await.said(0, &["a"]);
    std::fs::rename(&away, &here).unwrap();
    assert_eq!(health(&client).await, (200, "ok".to_owned()));
    until("declarations without problems", async || {
        let reply = client.send("GET", "/health", &[], b"").await.json().await;
        (reply["problems"] == json!([])).then_some(())
    })
    .await;
    daemon.mcpctl(&add("b")).await.said(0, &[]);
    daemon.in_state("b", "disabled").await;
    calls_work(&client).await;
    daemon.end().await;
}

/// Starts `mcpctl` and does not wait for it.
fn mcpctl(daemon: &Daemon, arguments: &[&str]) -> impl Future<Output = Ran> + use<> {
    let mut command = Command::from(daemon.setup.project.mcpctl(arguments));
    command
        .kill_on_drop(true)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    async move {
        soon("the end of mcpctl", child.wait_with_output())
            .await
            .unwrap()
            .into()
    }
}

#[tokio::test]
async fn q05_a_lock_of_three_seconds_is_waited_for() {
    case("Q05");
    let daemon = daemon().await;
    let client = daemon.http().await;
    let lock = locked(&daemon.path().join("data/registry.db"));
    let adding = mcpctl(&daemon, &add("b"));
    // How long the lock is held is what is tried here.
    tokio::time::sleep(Duration::from_secs(3)).await;
    calls_work(&client).await;
    assert_eq!(
        daemon.server("b").await,
        json!(null),
        "it is not there before it is saved"
    );
    drop(lock);
    adding.await.said(0, &[]);
    daemon.in_state("b", "disabled").await;
    daemon.end().await;
}

#[tokio::test]
async fn q05b_a_lock_that_stays_is_a_clear_error() {
    case("Q05b");
    let daemon = daemon().await;
    let client = daemon.http().await;
    let lock = locked(&daemon.path().join("data/registry.db"));
    let started = Instant::now();
    let refused = mcpctl(&daemon, &add("b")).await;
    refused.said(1, &["is locked", "another process", "try again"]);
    assert!(
        started.elapsed() > Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    calls_work(&client).await;
    assert_eq!(health(&client).await.1, "ok", "reading goes on");
    drop(lock);
    daemon.mcpctl(&add("b")).await.said(0, &[]);
    daemon.in_state("b", "disabled").await;
    daemon.end().await;
}

/// What may stand in the place of a database, by what is said of it.
fn damaged(whole: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let mut newer = whole.to_vec();
    // The user version (SQLite file format, 1.3.10).
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    [
        ("is damaged", whole[..whole.len() / 2].to_vec()),
        ("is damaged", b"this is no database at all\n".repeat(300)),
        ("newer mcp-wrapper", newer),
    ]
}

#[tokio::test]
async fn q07_a_registry_that_cannot_be_used_is_refused_and_keeps_its_bytes() {
    case("Q07");
    let daemon = daemon().await;
    daemon.mcpctl(&add("b")).await.said(0, &[]);
    let setup = daemon.end_but_keep().await;
    let file = setup.path().join("data/registry.db");
    let whole = std::fs::read(&file).unwrap();
    for (told, bytes) in damaged(&whole) {
        std::fs::write(&file, &bytes).unwrap();
        setup
            .refused()
            .await
            .said(1, &["registry.db", told, "it was left as it is"]);
        assert!(
            std::fs::read(&file).unwrap() == bytes,
            "{told}: the file was touched"
        );
    }
    std::fs::write(&file, &whole).unwrap();
    let daemon = setup.start().await;
    daemon.in_state("b", "disabled").await;
    daemon.end().await;
}

#[tokio::test]
async fn q07b_sessions_that_cannot_be_kept_stop_nothing() {
    case("Q07b");
    let daemon = daemon().await;
    drop(daemon.http().await);
    let mut setup = daemon.end_but_keep().await;
    let file = setup.path().join("data/sessions.db");
    let whole = std::fs::read(&file).unwrap();
    for (told, bytes) in damaged(&whole) {
        std::fs::write(&file, &bytes).unwrap();
        let daemon = setup.start().await;
        daemon.ready("a").await;
        calls_work(&daemon.http().await).await;
        let log = daemon.log();
        assert!(
            log.contains("sessions are not kept") && log.contains(told),
            "{told}: {log}"
        );
        setup = daemon.end_but_keep().await;
        assert!(
            std::fs::read(&file).unwrap() == bytes,
            "{told}: the file was touched"
        );
    }
}
