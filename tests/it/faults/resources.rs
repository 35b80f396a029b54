//! Resources: memory, disks, clocks, descriptors and slow readers (Q).

mod disk;
mod doors;

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::json;
use tokio::time::Instant;

use super::{Case, case, skipped};
use crate::harness::{Daemon, call, fake, request, text_of, until};

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[
    Case {
        id: "Q01",
        provoked: "a server, or what it has started, takes more memory than `memory_max`",
        promised: "seen within 2 s; its calls may finish, then it is replaced; `mcpctl why` says \"over its memory limit\"; it counts as a failure",
        test: "limits::q01_a_server_over_its_memory_is_replaced_and_one_that_does_so_again_and_again_has_failed",
    },
    Case {
        id: "Q01b",
        provoked: "a server takes memory faster than it is measured, and the daemon has a cgroup to itself",
        promised: "the kernel ends it with all that it has started, at one and a half times `memory_max`; the reason \
                   names the limit; skipped where no such cgroup can be made",
        test: "cgroup::q01b_what_takes_memory_faster_than_it_is_measured_is_stopped_by_the_kernel",
    },
    Case {
        id: "Q02",
        provoked: "a child opens files until it may open no more, and burns CPU on two threads",
        promised: "its own calls and those of others are answered; the daemon has as many files open as before",
        test: "faults::resources::q02_a_child_that_takes_all_it_can_get_harms_nobody_else",
    },
    Case {
        id: "Q08",
        provoked: "the daemon is stopped (SIGSTOP) for longer than all patience with its children, and continued",
        promised: "no child is replaced for a silence that was the daemon's own; calls go on",
        test: "faults::resources::q08_a_daemon_that_was_stopped_blames_no_child_for_it",
    },
    Case {
        id: "Q09",
        provoked: "idle event streams until the daemon may have no more files open",
        promised: "one more client is refused (503); those that are there are served, and a child that dies is started again; with room again new clients are served",
        test: "faults::resources::doors::q09_with_no_files_left_new_clients_are_refused_and_nobody_else_notices",
    },
    Case {
        id: "Q10",
        provoked: "a client does not read the stream of its call, and the child sends it 40 MB",
        promised: "calls of others are answered, and the daemon's memory stays bounded",
        test: "faults::resources::q10_a_client_that_does_not_read_costs_no_memory",
    },
    Case {
        id: "Q12",
        provoked: "2,000 connections that say nothing, half a request or break off, as fast as they can be made",
        promised: "calls are answered meanwhile; nothing of them is left open",
        test: "faults::resources::doors::q12_connections_that_come_to_nothing_leave_nothing_behind",
    },
    Case {
        id: "Q13",
        provoked: "the kernel has to choose a process to kill, because memory is short",
        promised: "it chooses a server before the daemon: servers run with `oom_score_adj` 500 and more; skipped off Linux",
        test: "faults::resources::q13_servers_go_before_the_daemon_when_memory_is_short",
    },
];

/// Resident memory, bytes.
pub(super) fn memory_of(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap();
    kib * 1024
}

/// Files that the daemon has open.
fn n_files_of(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
        .unwrap()
        .count()
}

/// Waits until the daemon has no more files open than before.
async fn files_are_back(daemon: &Daemon, before: usize) {
    until(format!("no more than {before} open files"), async || {
        (n_files_of(daemon) <= before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn q02_a_child_that_takes_all_it_can_get_harms_nobody_else() {
    case("Q02");
    let daemon = Daemon::start(&[fake("greedy").tools("fd_leak,cpu_spin,echo"), fake("other")]).await;
    let client = daemon.http().await;
    text_of(&client.call("other__echo", json!({})).await);
    let before = n_files_of(&daemon);
    let answer = client.call("greedy__fd_leak", json!({})).await;
    let n_leaked: usize = text_of(&answer).parse().unwrap();
    assert!(n_leaked > 100, "{n_leaked} files are no leak");
    text_of(&client.call("greedy__cpu_spin", json!({})).await);
    for n in 0..20 {
        for tool in ["other__echo", "greedy__echo"] {
            let answer = client.call(tool, json!({ "n": n })).await;
            assert_eq!(text_of(&answer), json!({ "n": n }).to_string(), "{tool}");
        }
    }
    files_are_back(&daemon, before).await;
    for name in ["greedy", "other"] {
        assert_eq!(daemon.server(name).await["generation"], 1);
    }
    daemon.end().await;
}

#[tokio::test]
async fn q08_a_daemon_that_was_stopped_blames_no_child_for_it() {
    /// Many times what it takes to give a silent child up.
    const STOPPED: Duration = Duration::from_secs(3);
    case("Q08");
    let watched = |name| {
        fake(name)
            .tools("sleep,echo")
            .key("probe_interval", "\"200ms\"")
            .key("probe_timeout", "\"150ms\"")
            .key("probe_threshold", "1")
    };
    let daemon = Daemon::start(&[watched("a"), watched("b"), watched("c")]).await;
    let client = daemon.http().await;
    daemon.setup.noted("a", r#""method":"ping""#).await;
    let asked = call(1, "b__sleep", json!({ "ms": 500 }));
    let (reply, ()) = tokio::join!(client.post(&asked), async {
        daemon.setup.called("b", "sleep").await;
        kill(daemon.pid(), Signal::SIGSTOP).unwrap();
        // The silence itself is what is provoked.
        tokio::time::sleep(STOPPED).await;
        kill(daemon.pid(), Signal::SIGCONT).unwrap();
    });
    assert_eq!(text_of(&reply.json().await), r#"{"ms":500}"#);
    // Whoever was given up would be replaced by the time of a few more pings.
    let n_pings = || {
        let journal = daemon.setup.journal("a");
        journal
            .iter()
            .filter(|line| line.contains(r#""method":"ping""#))
            .count()
    };
    let before = n_pings();
    until("a few more pings", async || {
        (n_pings() > before + 5).then_some(())
    })
    .await;
    for name in ["a", "b", "c"] {
        assert_eq!(daemon.server(name).await["generation"], 1, "{}", daemon.log());
        text_of(&client.call(&format!("{name}__echo"), json!({})).await);
    }
    daemon.end().await;
}

#[tokio::test]
async fn q10_a_client_that_does_not_read_costs_no_memory() {
    const N_MESSAGES: u64 = 4_000;
    case("Q10");
    let daemon = Daemon::start(&[fake("a").tools("progress_storm,echo")]).await;
    let (lazy, other) = (daemon.http().await, daemon.http().await);
    let before = memory_of(&daemon);
    let params = json!({
        "name": "a__progress_storm",
        "arguments": { "n": N_MESSAGES, "bytes": 10_000 },
        "_meta": { "progressToken": 1 },
    });
    let _unread = lazy.post(&request(1, "tools/call", params)).await;
    let begun = Instant::now();
    // The child answers in order: this one after all it has to say.
    let answer = other.call("a__echo", json!({ "n": 1 })).await;
    assert_eq!(text_of(&answer), r#"{"n":1}"#);
    eprintln!("answered after {:?}", begun.elapsed());
    let growth = memory_of(&daemon).saturating_sub(before);
    eprintln!("the daemon grew by {growth} bytes");
    assert!(growth < 24 << 20, "the daemon grew by {growth} bytes");
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}

#[tokio::test]
async fn q13_servers_go_before_the_daemon_when_memory_is_short() {
    case("Q13");
    let score = |pid: i32| -> Option<i32> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).ok()?;
        text.trim().parse().ok()
    };
    let daemon = Daemon::start(&[fake("a")]).await;
    let Some(own) = score(daemon.pid().as_raw()) else {
        skipped("Q13", "there is no oom_score_adj here");
        return daemon.end().await;
    };
    let server = score(daemon.child_pid("a").await).unwrap();
    assert!(
        server >= (own + 500).min(1000),
        "{server} of the server, {own} of the daemon"
    );
    daemon.end().await;
}
