//! Streams and processes: floods, pipes closed on one side, and what is left of a process tree (P).

mod processes;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::resources::memory_of;
use super::{Case, case};
use crate::harness::{Daemon, HttpClient, LineClient, call, fake, text_of, until};

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[
    Case {
        id: "P01",
        provoked: "a child writes to its stderr without a pause and without an end",
        promised: "its calls and those of others are answered; its log on disk and the daemon's memory stay bounded",
        test: "faults::streams::p01_a_flood_on_stderr_without_an_end_stops_nobody",
    },
    Case {
        id: "P02",
        provoked: "a child writes lines to its stdout that are no messages, without a pause and without an end",
        promised: "calls are answered; the lines are counted in its status; the daemon's memory stays bounded",
        test: "faults::streams::p02_a_flood_on_stdout_without_an_end_stops_nobody",
    },
    Case {
        id: "P03",
        provoked: "control characters, commands for a terminal and a forged log line on stderr",
        promised: "they are shown and kept escaped, as lines of this child only; the daemon's own log has none of them",
        test: "faults::streams::p03_what_a_child_says_drives_no_terminal_and_forges_no_log",
    },
    Case {
        id: "P04",
        provoked: "a child closes its stdout and stays",
        promised: "calls in flight are told at once (1001), and another process takes its place",
        test: "crash::a_child_that_closes_its_stdout_is_replaced",
    },
    Case {
        id: "P05",
        provoked: "a child closes its stdin and stays",
        promised: "the next call costs the process, and as nothing of it could be written it is made to the next one: it works, and takes effect once",
        test: "faults::streams::p05_a_child_that_closes_its_stdin_is_replaced_when_it_is_called",
    },
    Case {
        id: "P06",
        provoked: "a child stops reading its stdin, and 10 MB of calls wait for it",
        promised: "each call is told at its own timeout (1002); after `write_stall` the process is replaced",
        test: "faults::streams::p06_deadlines_hold_for_a_child_that_does_not_read",
    },
    Case {
        id: "P07",
        provoked: "a stop of a child that ignores the end of its stdin and SIGTERM",
        promised: "it hears both, each once and in this order, and is killed when `eof_grace` and `term_grace` are over",
        test: "trees::p07_a_deaf_server_hears_eof_then_sigterm_and_is_killed_when_its_time_is_up",
    },
    Case {
        id: "P07b",
        provoked: "a stop of children that end at EOF, only at SIGTERM, or a while after that",
        promised: "none hears more than it needs, and one that is ending within `term_grace` is left to end",
        test: "faults::streams::processes::p07b_who_goes_by_itself_is_asked_no_harder",
    },
    Case {
        id: "P07c",
        provoked: "a child that the kernel holds, so that not even SIGKILL ends it",
        promised: "`status` and `why` name the process and its state, calls are refused at once (1003), no other process is made beside it; when it is gone at last, what was asked for meanwhile is done; skipped where no process can be frozen (cgroup v1)",
        test: "faults::streams::processes::p07c_what_cannot_be_killed_is_named_and_has_no_second_beside_it",
    },
    Case {
        id: "P08",
        provoked: "a child dies while a process that it started holds its stdout open",
        promised: "calls in flight are told at once (1001, with the signal), without waiting for the end of the pipe; that process goes too",
        test: "trees::p08_a_death_is_told_though_a_grandchild_holds_the_pipe_and_that_goes_too",
    },
    Case {
        id: "P09",
        provoked: "processes of a child in a session of their own, forked twice, deaf and with an empty environment",
        promised: "all are gone when a stop has returned; other children keep theirs",
        test: "trees::p09_sessions_of_their_own_double_forks_and_empty_environments_are_no_way_out",
    },
    Case {
        id: "P10",
        provoked: "a removed child has 200 processes, one of them deaf and one stopped",
        promised: "none is left when the time of the stop is up",
        test: "trees::p10_two_hundred_and_a_deaf_one_are_gone_when_their_time_is_up",
    },
    Case {
        id: "P11",
        provoked: "a child that reaps nobody dies with 50 zombies, again and again",
        promised: "they go with it, and none becomes ours",
        test: "trees::p11_zombies_go_with_their_parents_and_none_is_ours",
    },
    Case {
        id: "P11b",
        provoked: "SIGKILL of what holds a child's processes together",
        promised: "all of them are found and ended, and the child is started again",
        test: "trees::p11_a_leash_that_is_killed_takes_its_tree_along_and_the_server_comes_back",
    },
    Case {
        id: "P12",
        provoked: "SIGKILL of the daemon with 20 children of every kind, in rounds (`CHAOS_ROUNDS`)",
        promised: "no process lives 8 s later",
        test: "trees::p12_a_daemon_that_is_killed_again_and_again_leaves_no_survivor",
    },
    Case {
        id: "P12b",
        provoked: "SIGKILL of the daemon and of all that holds processes together",
        promised: "the next daemon has ended what is left before it listens, and nothing of anybody else's",
        test: "trees::p12_a_daemon_and_its_leashes_that_are_killed_are_cleared_away_by_the_next_start",
    },
    Case {
        id: "P13",
        provoked: "a child below `sh -c`, with others beside it",
        promised: "the whole tree goes",
        test: "trees::p13_below_a_shell_or_a_runner_the_whole_tree_goes",
    },
    Case {
        id: "P13b",
        provoked: "a child below `npx`, which has started another process in a session of its own",
        promised: "the whole tree goes; skipped where there is no npx",
        test: "faults::streams::processes::p13b_below_npx_the_whole_tree_goes",
    },
    Case {
        id: "P13c",
        provoked: "a child below `docker run -i --rm --init`",
        promised: "the container is gone too; skipped where no docker answers, or `IT_DOCKER_IMAGE` names no image with a shell",
        test: "faults::streams::processes::p13c_a_container_goes_with_its_child",
    },
    Case {
        id: "P14",
        provoked: "starts and stops, again and again (`CHURN_CYCLES`)",
        promised: "the daemon has as many open files and threads as before, and its memory stays",
        test: "trees::p14_starts_and_stops_leave_no_descriptor_no_thread_and_no_memory_behind",
    },
    Case {
        id: "P14b",
        provoked: "a daemon that has inherited open files and secrets",
        promised: "a child gets its three pipes, its own variables, a session and a group of its own, and nothing else",
        test: "trees::p14_a_process_has_its_pipes_and_nothing_else_of_ours",
    },
    Case {
        id: "P15",
        provoked: "the daemon has a cgroup to itself, and a server starts processes in every way; its leash is killed",
        promised: "all of it is in a cgroup of that server and ends with it; nothing is left, also no cgroup; skipped \
                   where no such cgroup can be made",
        test: "cgroup::p15_a_server_with_all_that_it_starts_is_in_a_cgroup_of_its_own_and_leaves_none_behind",
    },
    Case {
        id: "P16",
        provoked: "a server has started something elsewhere (a container), and crashes",
        promised: "its `stop_command` runs once, and the next process is not made before that has ended",
        test: "stop_command::what_a_server_that_crashed_has_left_elsewhere_goes_before_the_next_process_is_made",
    },
];

/// Calls of a quiet child and of the one that floods, until `seen` says that the flood has come.
async fn calls_during_a_flood(daemon: &Daemon, client: &HttpClient, mut seen: impl AsyncFnMut() -> bool) {
    let mut longest = Duration::ZERO;
    let mut n = 0;
    while n < 50 || !seen().await {
        for tool in ["quiet__echo", "loud__echo"] {
            let asked = Instant::now();
            let answer = client.call(tool, json!({ "n": n })).await;
            assert_eq!(text_of(&answer), json!({ "n": n }).to_string(), "{tool}");
            longest = longest.max(asked.elapsed());
        }
        n += 1;
        assert!(n < 20_000, "the flood does not come");
    }
    assert_eq!(daemon.server("loud").await["generation"], 1);
    eprintln!("the longest of {n} calls took {longest:?}");
}

/// The daemon's memory may grow by so much in a flood, which is longer than that.
const GROWTH_MAX: u64 = 24 << 20;

#[tokio::test]
async fn p01_a_flood_on_stderr_without_an_end_stops_nobody() {
    const N_BYTES: u64 = 32 << 20;
    case("P01");
    let daemon = Daemon::start(&[fake("loud").tools("flood_stderr,echo"), fake("quiet")]).await;
    let client = daemon.http().await;
    let before = memory_of(&daemon);
    text_of(&client.call("loud__flood_stderr", json!({})).await);
    let pid = daemon.child_pid("loud").await;
    calls_during_a_flood(&daemon, &client, async || written_by(pid) > N_BYTES).await;
    let folder = daemon.path().join("logs/children");
    let n_bytes: u64 = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    let written = written_by(pid);
    assert!(
        n_bytes < written / 2,
        "{n_bytes} bytes of {written} are kept on disk"
    );
    let growth = memory_of(&daemon).saturating_sub(before);
    assert!(growth < GROWTH_MAX, "the daemon grew by {growth} bytes");
    daemon.end().await;
}

/// What a process has written so far, bytes.
fn written_by(pid: i32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn p02_a_flood_on_stdout_without_an_end_stops_nobody() {
    const N_LINES: u64 = 50_000;
    case("P02");
    let daemon = Daemon::start(&[fake("loud").tools("flood_stdout,echo"), fake("quiet")]).await;
    let client = daemon.http().await;
    let before = memory_of(&daemon);
    text_of(&client.call("loud__flood_stdout", json!({})).await);
    calls_during_a_flood(&daemon, &client, async || {
        let server = daemon.server("loud").await;
        server["n_noise_lines"].as_u64() > Some(N_LINES)
    })
    .await;
    let growth = memory_of(&daemon).saturating_sub(before);
    assert!(growth < GROWTH_MAX, "the daemon grew by {growth} bytes");
    let shown = daemon.mcpctl(&["status", "loud"]).await;
    shown.said(0, &["lines on stdout that are no messages"]);
    daemon.end().await;
}

#[tokio::test]
async fn p03_what_a_child_says_drives_no_terminal_and_forges_no_log() {
    case("P03");
    let daemon = Daemon::start(&[fake("a").tools("stderr_escapes,boom")]).await;
    let client = daemon.http().await;
    text_of(&client.call("a__stderr_escapes", json!({})).await);
    // With its end its last words are told in more places.
    let answer = client.call("a__boom", json!({})).await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    until("the words of the one that died", async || {
        let why = daemon.mcpctl(&["why", "a"]).await;
        why.stdout.contains("forged").then_some(())
    })
    .await;
    for told in [
        &["logs", "a"][..],
        &["why", "a"],
        &["events", "a"],
        &["status", "a"],
    ] {
        let ran = daemon.mcpctl(told).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_clean(&ran.stdout);
    }
    let logs = daemon.mcpctl(&["logs", "a"]).await.stdout;
    assert!(
        logs.contains(r"\x1b]0;owned\x07\x1b[31mred\x0dover\x0b\x08\x00\x9b31m"),
        "{logs}"
    );
    for file in std::fs::read_dir(daemon.path().join("logs/children")).unwrap() {
        assert_clean(&std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    let own = daemon.log();
    assert_clean(&own);
    assert!(
        !own.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z")),
        "a forged line: {own}"
    );
    daemon.end().await;
}

#[track_caller]
fn assert_clean(text: &str) {
    let bad = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    assert_eq!(bad, None, "{text:?}");
}

#[tokio::test]
async fn p05_a_child_that_closes_its_stdin_is_replaced_when_it_is_called() {
    case("P05");
    let daemon = Daemon::start(&[fake("a").tools("close_stdin,echo")]).await;
    let client = daemon.http().await;
    let pid = daemon.child_pid("a").await;
    text_of(&client.call("a__close_stdin", json!({})).await);
    until("a closed stdin", async || {
        let stdin = std::fs::read_link(format!("/proc/{pid}/fd/0")).ok()?;
        stdin.ends_with("null").then_some(())
    })
    .await;
    let answer = client.call("a__echo", json!({ "nonce": "once" })).await;
    assert_eq!(text_of(&answer), r#"{"nonce":"once"}"#);
    assert_eq!(daemon.server("a").await["generation"], 2);
    assert_eq!(daemon.setup.effects("a"), ["once"]);
    daemon.end().await;
}

#[tokio::test]
async fn p06_deadlines_hold_for_a_child_that_does_not_read() {
    const N_CALLS: u64 = 10;
    case("P06");
    let daemon = Daemon::start(&[fake("a")
        .tools("stop_reading,echo")
        .key("call_timeout", "\"2s\"")
        .key("write_stall", "\"15s\"")])
    .await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    let answer = client
        .ask_json(&call("first", "a__stop_reading", json!({})))
        .await;
    text_of(&answer);
    let begun = Instant::now();
    // More than its pipe holds.
    let padding = "x".repeat(200 << 10);
    for id in 0..N_CALLS {
        client
            .send(&call(id, "a__echo", json!({ "padding": padding })))
            .await;
    }
    for _ in 0..N_CALLS {
        let answer: Value = client.next_json().await;
        assert_eq!(answer["error"]["code"], 1002, "{answer}");
    }
    let took = begun.elapsed();
    eprintln!("all were told after {took:?}");
    assert_eq!(
        daemon.server("a").await["generation"],
        1,
        "before the process goes"
    );
    until("another process", async || {
        let server = daemon.server("a").await;
        (server["generation"] == 2 && server["state"] == "ready").then_some(())
    })
    .await;
    let told = daemon.mcpctl(&["events", "a"]).await;
    told.said(0, &["stdin"]);
    let answer = client.ask_json(&call("last", "a__echo", json!({}))).await;
    assert_eq!(text_of(&answer), "{}");
    daemon.end().await;
}
