//! Start: what happens around a server while it is started.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::fake_other;
use crate::faults::{case, skipped};
use crate::harness::{Daemon, HttpClient, LineClient, Setup, call, fake, soon, text_of, until};

/// How many descriptors a process may open. Those it has stay.
#[cfg(target_os = "linux")]
fn limit_descriptors(daemon: &Daemon, n: Option<u64>) -> Option<u64> {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = Pid::from_raw(daemon.pid().as_raw()).unwrap();
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let before = prlimit(Some(pid), Resource::Nofile, Rlimit { current: n, maximum });
    before.unwrap().current
}

/// Of nobody's processes on this machine.
#[cfg(target_os = "linux")]
const ACCOUNT: &str = "61347";

/// What makes a command one of another account, where we are root: for root there is no limit of processes.
#[cfg(target_os = "linux")]
fn as_another(command: &[&'static str]) -> Vec<&'static str> {
    let words = [
        "setpriv",
        "--reuid",
        ACCOUNT,
        "--regid",
        ACCOUNT,
        "--clear-groups",
    ];
    let is_root = nix::unistd::geteuid().is_root();
    let before = if is_root { &words[..] } else { &[] };
    [before, command].concat()
}

/// How many processes the daemon's account may have, for the daemon: `1`, or as many as before. Those it has stay.
#[cfg(target_os = "linux")]
async fn limit_processes(daemon: &Daemon, n: &str) {
    let pid = daemon.pid().to_string();
    let words = as_another(&["prlimit"]);
    let mut command = tokio::process::Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["--pid", &pid, &format!("--nproc={n}:")]);
    let output = soon("the end of prlimit", command.output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A daemon that is not root's.
#[cfg(target_os = "linux")]
async fn of_another_account(setup: Setup) -> Option<Setup> {
    let words = as_another(&[env!("CARGO_BIN_EXE_mcp-wrapper")]);
    let mut command = tokio::process::Command::new(words[0]);
    let tried = command.args(&words[1..]).arg("--version").output().await;
    let id = (words.len() > 1).then(|| ACCOUNT.parse().unwrap());
    for owned in [setup.path().to_owned(), setup.path().join("data")] {
        std::os::unix::fs::chown(owned, id, id).ok()?;
    }
    tried
        .is_ok_and(|tried| tried.status.success())
        .then(|| setup.through(&words))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn s14b_an_account_without_processes_keeps_what_runs_and_recovers() {
    case("S14b");
    let Some(setup) = of_another_account(Setup::new(&[fake("a"), fake_other()])).await else {
        return skipped("S14b", "no other account can run the daemon here");
    };
    let daemon = setup.start().await;
    daemon.ready("a").await;
    daemon.ready("other").await;
    let client = daemon.http().await;
    let pid = daemon.child_pid("a").await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max processes"))
        .unwrap();
    let before = line.split_whitespace().nth(2).unwrap();
    limit_processes(&daemon, "1").await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let told = |daemon: &Daemon| daemon.log().matches("short of resources").count();
    until("two attempts", async || (told(&daemon) >= 2).then_some(())).await;
    let answer = client.call("other__echo", json!({ "n": 1 })).await;
    assert_eq!(text_of(&answer), r#"{"n":1}"#);
    let short = daemon.server("a").await;
    assert!(
        short["cause"].as_str().unwrap().contains("short of resources"),
        "{short}"
    );
    limit_processes(&daemon, before).await;
    let server = daemon.ready("a").await;
    assert_eq!(server["n_failures"], 1, "the attempts do not count: {server}");
    let answer = client.call("a__echo", json!({ "n": 2 })).await;
    assert_eq!(text_of(&answer), r#"{"n":2}"#);
    assert_eq!(daemon.server("other").await["generation"], 1);
    daemon.end().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn s14_a_daemon_without_descriptors_keeps_what_runs_and_recovers() {
    case("S14");
    let daemon = Daemon::start(&[fake("a"), fake_other()]).await;
    // One that needs no further connection.
    let mut client = LineClient::greeted(&daemon.setup).await;
    let pid = daemon.child_pid("a").await;
    let before = limit_descriptors(&daemon, Some(3));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let told = |daemon: &Daemon| daemon.log().matches("short of resources").count();
    until("two attempts", async || (told(&daemon) >= 2).then_some(())).await;
    let answer = client.ask_json(&call(1, "other__echo", json!({ "n": 1 }))).await;
    assert_eq!(text_of(&answer), r#"{"n":1}"#);
    limit_descriptors(&daemon, before);
    let server = daemon.ready("a").await;
    assert_eq!(server["n_failures"], 1, "the attempts do not count: {server}");
    let answer = client.ask_json(&call(2, "a__echo", json!({ "n": 2 }))).await;
    assert_eq!(text_of(&answer), r#"{"n":2}"#);
    daemon.end().await;
}

#[tokio::test]
async fn s15_two_hundred_servers_start_eight_at_a_time() {
    case("S15");
    const N: u64 = 200;
    let setup = Setup::new(&[]);
    let shared = setup.path().join("all.journal");
    let one = |n: u64| {
        fake(&format!("s{n}"))
            .arg("--journal", &shared.display().to_string())
            // So that others have time to start.
            .arg("--start-delay", "50")
    };
    setup.declare(&(0..N).map(one).collect::<Vec<_>>());
    let daemon = setup.start().await;
    let client = HttpClient::new(&daemon.address);
    let mut slowest = Duration::ZERO;
    for n in (25..=N).step_by(25) {
        until(format!("{n} ready"), async || {
            let begun = Instant::now();
            let health = client.send("GET", "/health", &[], b"").await.json().await;
            slowest = slowest.max(begun.elapsed());
            (health["servers"]["ready"].as_u64()? >= n).then_some(())
        })
        .await;
    }
    eprintln!("the slowest answer to /health took {slowest:?}");
    // A process notes its start after it may, and its answer before anybody can see it.
    let (mut now, mut most) = (0_usize, 0);
    for line in std::fs::read_to_string(&shared).unwrap().lines() {
        now += usize::from(line.starts_with("start "));
        now -= usize::from(line.starts_with("out ") && line.contains(r#""protocolVersion""#));
        most = most.max(now);
    }
    // Eight, unless the machine was too busy to start so many while the first ones slept.
    assert!((2..=8).contains(&most), "{most} at once");
    daemon.end().await;
}

#[tokio::test]
async fn s16_an_edit_while_it_starts_leaves_only_the_new_one() {
    case("S16");
    let hanging = fake("a")
        .flag("--hang-handshake")
        .flag("--grandchild")
        .not_awaited();
    let daemon = Daemon::start(&[hanging]).await;
    let old = daemon.setup.noted("a", "initialize").await;
    assert!(old.starts_with("in "), "{old}");
    let n_old = daemon.setup.processes().len();
    assert_eq!(n_old, 2);
    daemon.setup.declare(&[fake("a").tools("new")]);
    let server = daemon.ready("a").await;
    let pid = i32::try_from(server["pid"].as_i64().unwrap()).unwrap();
    assert_eq!(daemon.setup.processes(), [pid], "nothing of the old one is left");
    let journal = daemon.setup.journal("a");
    let n_starts = journal.iter().filter(|line| line.starts_with("start ")).count();
    assert_eq!(n_starts, 2, "{journal:?}");
    daemon.end().await;
}
