//! Start: programs that cannot be started, that end, hang or lie before they are ready (S).

mod meanwhile;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use super::{Case, case};
use crate::harness::fake::{Fake, quoted};
use crate::harness::{Daemon, HttpClient, Setup, fake, text_of, until};

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[
    Case {
        id: "S01",
        provoked: "the command is not found",
        promised: "`failed` at once, with its name and the PATH that was searched; a call gets 1009; \
                   one attempt each `failed_retry` (300 s)",
        test: "faults::start::s01_a_command_that_is_not_found_is_named_and_not_tried_again_soon",
    },
    Case {
        id: "S02",
        provoked: "the file is not executable, no program, or a script without its interpreter",
        promised: "as S01, with the file and what the system says of it",
        test: "faults::start::s02_a_file_that_cannot_run_is_named_with_the_reason",
    },
    Case {
        id: "S03",
        provoked: "the folder of the server is missing, or a file",
        promised: "as S01, and it is the folder that is named",
        test: "faults::start::s03_a_wrong_folder_is_named_and_not_the_command",
    },
    Case {
        id: "S04",
        provoked: "it exits with 0 at start",
        promised: "`backoff`, counted as a failure; a call gets 1003 with “exit code 0”",
        test: "faults::start::s04_an_exit_with_zero_at_start_is_a_failure",
    },
    Case {
        id: "S05",
        provoked: "it writes why to stderr and exits at start",
        promised: "a caller gets the exit code and where to read more; `mcpctl why` shows the last lines of stderr, escaped; \
                   clients never see them",
        test: "faults::start::s05_last_words_are_told_to_the_operator_escaped",
    },
    Case {
        id: "S06",
        provoked: "it exits when `initialize` arrives, while a call waits",
        promised: "a call that nothing is left for fails at the exit, not at a timeout",
        test: "faults::start::s06_who_waits_for_a_handshake_hears_of_the_exit",
    },
    Case {
        id: "S07",
        provoked: "it never answers `initialize`",
        promised: "after `start_timeout`, not before, its whole group is ended; the error shows what it wrote instead; \
                   other servers do not notice",
        test: "faults::start::s07_a_handshake_that_hangs_ends_at_its_timeout",
    },
    Case {
        id: "S08",
        provoked: "it takes long to start",
        promised: "calls wait for it up to `queue_wait` (10 s) and then succeed, or get 1003",
        test: "faults::start::s08_calls_wait_for_a_slow_start_and_not_for_ever",
    },
    Case {
        id: "S09",
        provoked: "it exits at every start; it exits at the first three",
        promised: "the waits grow by `backoff_factor`; `failed` after `fail_burst` (5) failures; it recovers by itself when it can",
        test: "faults::start::s09_a_crash_loop_is_slowed_down_and_given_up",
    },
    Case {
        id: "S10",
        provoked: "it refuses `initialize`, names an impossible version, or answers what is no handshake",
        promised: "its own words are shown; never ready; `failed` after three equal answers",
        test: "faults::start::s10_a_bad_handshake_is_told_in_its_own_words",
    },
    Case {
        id: "S13",
        provoked: "it asks a question before it answers `initialize`",
        promised: "a ping is answered, anything else refused: -32601, or -32602 as it belongs to no request of a client; \
                   the handshake goes on",
        test: "faults::start::s13_a_question_before_the_handshake_is_answered",
    },
    Case {
        id: "S14",
        provoked: "the daemon has no descriptors left",
        promised: "other servers work on; an error in the log; an attempt each second, not counted as a failure; \
                   it recovers when there are some again",
        test: "faults::start::meanwhile::s14_a_daemon_without_descriptors_keeps_what_runs_and_recovers",
    },
    Case {
        id: "S14b",
        provoked: "the daemon's account may have no more processes (`RLIMIT_NPROC`)",
        promised: "as without descriptors; skipped where no account but root's can run the daemon",
        test: "faults::start::meanwhile::s14b_an_account_without_processes_keeps_what_runs_and_recovers",
    },
    Case {
        id: "S15",
        provoked: "200 servers start with the daemon",
        promised: "at most 8 at once between spawn and handshake; all become ready; the daemon answers meanwhile",
        test: "faults::start::meanwhile::s15_two_hundred_servers_start_eight_at_a_time",
    },
    Case {
        id: "S16",
        provoked: "the definition changes while it starts",
        promised: "the process of the old one is ended, and only one of the new one becomes ready",
        test: "faults::start::meanwhile::s16_an_edit_while_it_starts_leaves_only_the_new_one",
    },
    Case {
        id: "S11a",
        provoked: "it ends when it is asked what it speaks",
        promised: "a fresh process at once, without the question; not counted as a failure; the next daemon does not ask",
        test: "probe::a_server_that_ends_at_the_question_is_started_again_at_once_without_it",
    },
    Case {
        id: "S11b",
        provoked: "it says nothing when it is asked what it speaks",
        promised: "a handshake with the same process after 3 s; the next daemon does not ask",
        test: "probe::a_silent_server_shakes_hands_on_the_same_process",
    },
    Case {
        id: "S12",
        provoked: "it speaks 2026-07-28 only, and starts so slowly that it is greeted in the old way",
        promised: "its late answer counts; no process is lost over it",
        test: "probe::a_modern_server_that_starts_slowly_is_spoken_to_in_its_own_way",
    },
];

/// Declares `a` with another program than the scripted child, and a server that nothing happens to.
fn declare_program(setup: &Setup, program: &str, keys: &[(&str, &str)]) {
    let fake = keys
        .iter()
        .fold(fake("a"), |fake, (key, value)| fake.key(key, value));
    setup.declare(&[fake, fake_other()]);
    let file = setup.path().join("servers.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let child = quoted(env!("CARGO_BIN_EXE_fake-child"));
    std::fs::write(file, text.replacen(&child, &quoted(program), 1)).unwrap();
}

fn write_program(file: &Path, text: &str, mode: u32) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
}

fn fake_other() -> Fake {
    fake("other")
}

/// What is told of a server that cannot be started, and that it is not tried again soon.
async fn cannot_start(daemon: &Daemon, words: &[&str]) {
    let server = daemon.in_state("a", "failed").await;
    let cause = server["cause"].as_str().unwrap();
    for word in words {
        assert!(cause.contains(word), "{word:?} is not in {cause:?}");
    }
    assert_eq!(
        (&server["generation"], &server["n_failures"]),
        (&json!(1), &json!(1))
    );
    assert!(server["next_try_ms"].as_u64() > Some(250_000), "{server}");
    let client = daemon.http().await;
    assert_eq!(text_of(&client.call("other__echo", json!({})).await), "{}");
}

/// A second process of `a` is asked for, and begun.
async fn restarted(daemon: &Daemon) {
    tokio::select! {
        // It answers only when the server has come up, or has not.
        reply = daemon.api("POST", "/api/servers/a/restart", "") => assert_eq!(reply.status, 200),
        () = until("a second process", async || {
            (daemon.server("a").await["generation"] == 2).then_some(())
        }) => {}
    }
}

/// What happened to a server, oldest first.
async fn story(daemon: &Daemon, server: &str) -> Vec<Value> {
    let path = format!("/api/events?server={server}&n=1000");
    let all = daemon.api("GET", &path, "").await.json().await;
    all.as_array().unwrap().clone()
}

/// A number in each event of one kind.
fn numbers(story: &[Value], what: &str, member: &str) -> Vec<i64> {
    let all = story.iter().filter(|event| event["what"] == what);
    all.map(|event| event[member].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn s01_a_command_that_is_not_found_is_named_and_not_tried_again_soon() {
    case("S01");
    let setup = Setup::new(&[]);
    let folder = setup.path().join("bin");
    std::fs::create_dir(&folder).unwrap();
    let program = folder.join("some-server");
    symlink(env!("CARGO_BIN_EXE_fake-child"), &program).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    declare_program(&setup, "some-server", &[]);
    let daemon = setup.variable("PATH", &path).start().await;
    daemon.ready("a").await;
    daemon.ready("other").await;
    // From now on its tools are known, so a call of them is about this server.
    std::fs::remove_file(program).unwrap();
    let client = daemon.http().await;
    restarted(&daemon).await;
    let server = daemon.in_state("a", "failed").await;
    let cause = server["cause"].as_str().unwrap();
    let wanted = format!("`some-server`: command not found in PATH ({path})");
    assert!(cause.contains(&wanted), "{cause}");
    assert!(server["next_try_ms"].as_u64() > Some(250_000), "{server}");
    let answer = client.call("a__echo", json!({})).await;
    assert_eq!(answer["error"]["code"], 1009, "{answer}");
    assert!(
        answer["error"]["message"].as_str().unwrap().contains(&wanted),
        "{answer}"
    );
    assert_eq!(text_of(&client.call("other__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn s02_a_file_that_cannot_run_is_named_with_the_reason() {
    case("S02");
    for (text, mode, reason) in [
        ("#!/bin/sh\n", 0o644, "not executable"),
        ("no program\n", 0o755, "first line"),
        ("#!/nowhere/node\n", 0o755, "interpreter"),
    ] {
        let setup = Setup::new(&[]);
        write_program(&setup.path().join("server"), text, mode);
        declare_program(&setup, "./server", &[]);
        let daemon = setup.start().await;
        daemon.ready("other").await;
        cannot_start(&daemon, &["server`", reason]).await;
        daemon.end().await;
    }
}

#[tokio::test]
async fn s03_a_wrong_folder_is_named_and_not_the_command() {
    case("S03");
    for (folder, reason) in [
        ("/nowhere/at/all", "does not exist"),
        ("/etc/passwd", "is a file"),
    ] {
        let setup = Setup::new(&[]);
        declare_program(&setup, "sh", &[("cwd", &quoted(folder))]);
        let daemon = setup.start().await;
        daemon.ready("other").await;
        cannot_start(&daemon, &[&format!("folder `{folder}` (cwd) {reason}")]).await;
        daemon.end().await;
    }
}

/// A daemon whose server `a` was ready once, so that its tools are known, and was started again with these flags.
async fn turned(flags: &str, keys: &[(&str, &str)]) -> (Daemon, HttpClient) {
    let setup = Setup::new(&[]);
    let child = env!("CARGO_BIN_EXE_fake-child");
    let script = format!("#!/bin/sh\neval exec {child} '\"$@\"' \"$(cat flags)\"\n");
    write_program(&setup.path().join("server"), &script, 0o755);
    setup.project.write("flags", "");
    declare_program(&setup, "./server", keys);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    daemon.ready("other").await;
    daemon.setup.project.write("flags", flags);
    restarted(&daemon).await;
    let client = daemon.http().await;
    (daemon, client)
}

#[tokio::test]
async fn s04_an_exit_with_zero_at_start_is_a_failure() {
    case("S04");
    let keys = [("backoff_initial", "\"60s\""), ("backoff_max", "\"60s\"")];
    let (daemon, client) = turned("--exit-at-start 0", &keys).await;
    let server = daemon.in_state("a", "backoff").await;
    assert_eq!(server["n_failures"], 1, "{server}");
    // The next attempt is too far away to wait for it.
    let answer = client.call("a__echo", json!({})).await;
    assert_eq!(answer["error"]["code"], 1003, "{answer}");
    let told = answer["error"]["message"].as_str().unwrap();
    assert!(told.contains("exit code 0"), "{told}");
    let wait = answer["error"]["data"]["retryAfterMs"].as_u64();
    assert!(wait > Some(30_000) && wait <= Some(60_000), "{answer}");
    daemon.end().await;
}

#[tokio::test]
async fn s05_last_words_are_told_to_the_operator_escaped() {
    case("S05");
    let flags = "--stderr-at-start \"$(printf 'missing API key\\033[31m')\" --exit-at-start 3";
    let (daemon, client) = turned(flags, &[("fail_burst", "1")]).await;
    daemon.in_state("a", "failed").await;
    let answer = client.call("a__echo", json!({})).await;
    let told = answer["error"]["message"].as_str().unwrap();
    assert!(
        told.contains("exit code 3") && told.contains("`mcpctl why a`"),
        "{told}"
    );
    assert!(!answer.to_string().contains("API key"), "{answer}");
    let why = daemon.mcpctl(&["why", "a"]).await;
    why.said(0, &["missing API key\\x1b[31m", "exit code 3"]);
    assert!(!why.stdout.contains('\u{1b}'), "{why:?}");
    daemon.end().await;
}

#[tokio::test]
async fn s06_who_waits_for_a_handshake_hears_of_the_exit() {
    case("S06");
    // Neither the handshake nor the wait for it ends by itself in the time of this test.
    let keys = [
        ("fail_burst", "1"),
        ("start_timeout", "\"300s\""),
        ("queue_wait", "\"300s\""),
    ];
    let (daemon, client) = turned("--start-delay 1000 --exit-in-handshake 4", &keys).await;
    daemon.in_state("a", "handshaking").await;
    let answer = client.call("a__echo", json!({})).await;
    assert_eq!(answer["error"]["code"], 1003, "{answer}");
    let told = answer["error"]["message"].as_str().unwrap();
    let wanted = "ended before it had answered `initialize` (exit code 4)";
    assert!(told.contains(wanted), "{told}");
    daemon.end().await;
}

#[tokio::test]
async fn s07_a_handshake_that_hangs_ends_at_its_timeout() {
    case("S07");
    let hangs = fake("a")
        .flag("--hang-handshake")
        .flag("--grandchild")
        .arg("--noise", "1")
        .key("start_timeout", "\"700ms\"")
        .key("fail_burst", "1")
        .not_awaited();
    let daemon = Daemon::start(&[hangs, fake_other()]).await;
    let other = daemon.child_pid("other").await;
    let server = daemon.in_state("a", "failed").await;
    let cause = server["cause"].as_str().unwrap();
    let wanted =
        "no answer to `initialize` within 700ms; it wrote to stdout instead: noise 0: this is not JSON";
    assert_eq!(cause, wanted);
    assert_eq!(daemon.setup.processes(), [other], "the grandchild has gone too");
    let events = until("the whole story", async || {
        let story = story(&daemon, "a").await;
        story
            .iter()
            .any(|event| event["what"] == "failed")
            .then_some(story)
    })
    .await;
    let waited = numbers(&events, "asked", "at_ms")[0] - numbers(&events, "spawned", "at_ms")[0];
    eprintln!("asked to go after {waited} ms of 700");
    assert!(waited >= 690, "{waited} ms");
    daemon.end().await;
}

#[tokio::test]
async fn s08_calls_wait_for_a_slow_start_and_not_for_ever() {
    case("S08");
    let (daemon, client) = turned("--start-delay 1500", &[]).await;
    daemon.in_state("a", "handshaking").await;
    let answer = client.call("a__echo", json!({ "n": 1 })).await;
    assert_eq!(text_of(&answer), r#"{"n":1}"#);
    daemon.end().await;
    let (daemon, client) = turned("--start-delay 10000", &[("queue_wait", "\"200ms\"")]).await;
    daemon.in_state("a", "handshaking").await;
    let answer = client.call("a__echo", json!({ "n": 1 })).await;
    assert_eq!(answer["error"]["code"], 1003, "{answer}");
    assert_eq!(
        daemon.server("a").await["state"],
        "handshaking",
        "it starts all the same"
    );
    daemon.end().await;
}

#[tokio::test]
async fn s09_a_crash_loop_is_slowed_down_and_given_up() {
    case("S09");
    let setup = Setup::new(&[]);
    let state = setup.path().join("state").display().to_string();
    let shaky = |fake: Fake| {
        // An end at the first question is no failure: here each is one.
        fake.key("era", "\"legacy\"")
            .key("backoff_initial", "\"100ms\"")
            .key("backoff_factor", "2.0")
            .key("backoff_max", "\"10s\"")
            .not_awaited()
    };
    setup.declare(&[
        shaky(fake("a").arg("--exit-at-start", "1")),
        shaky(fake("b").arg("--fail-first", "3").arg("--state", &state)),
    ]);
    let daemon = setup.start().await;
    daemon.ready("b").await;
    daemon.in_state("a", "failed").await;
    let events = until("the whole story", async || {
        let story = story(&daemon, "a").await;
        story
            .iter()
            .any(|event| event["what"] == "failed")
            .then_some(story)
    })
    .await;
    let waits = numbers(&events, "backoff", "wait_ms");
    assert_eq!(waits.len(), 4, "{waits:?}");
    assert_eq!(waits, [100, 200, 400, 800]);
    // And that is how long it was.
    let (spawned, gone) = (
        numbers(&events, "spawned", "at_ms"),
        numbers(&events, "gone", "at_ms"),
    );
    assert_eq!((spawned.len(), gone.len()), (5, 5));
    for ((gone, next), wanted) in gone.iter().zip(&spawned[1..]).zip([100, 200, 400, 800]) {
        assert!(next - gone >= wanted - 5, "{gone:?} {spawned:?}");
    }
    let client = daemon.http().await;
    assert_eq!(text_of(&client.call("b__echo", json!({})).await), "{}");
    assert_eq!(daemon.server("b").await["n_failures"], 3);
    daemon.end().await;
}

#[tokio::test]
async fn s10_a_bad_handshake_is_told_in_its_own_words() {
    case("S10");
    let bad = |name: &str, flag: &str, value: &str| fake(name).arg(flag, value).not_awaited();
    let all = [
        bad("a", "--refuse-handshake", "no licence for this machine"),
        bad("b", "--revision", "1999-01-01"),
        bad("c", "--raw-init", r#"{"capabilities":{}}"#),
        bad("d", "--raw-init", r#"["no object"]"#),
        fake_other(),
    ];
    let daemon = Daemon::start(&all).await;
    for (name, wanted) in [
        (
            "a",
            "the server answered: no licence for this machine (code -32603)",
        ),
        ("b", "protocol version `1999-01-01`"),
        ("c", "no `protocolVersion`"),
        ("d", "the result is no object"),
    ] {
        let server = daemon.in_state(name, "failed").await;
        let cause = server["cause"].as_str().unwrap();
        assert!(cause.contains(wanted), "{cause}");
        assert_eq!(server["generation"], 3, "{server}");
        let story = story(&daemon, name).await;
        assert!(story.iter().all(|event| event["what"] != "ready"), "{story:?}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn s13_a_question_before_the_handshake_is_answered() {
    case("S13");
    let methods = ["ping", "roots/list", "sampling/createMessage", "x/y"];
    let names = ["a", "b", "c", "d"];
    let all: Vec<_> = names
        .iter()
        .zip(methods)
        .map(|(name, method)| fake(name).arg("--ask-first", method))
        .collect();
    let daemon = Daemon::start(&all).await;
    for (name, method) in names.iter().zip(methods) {
        let heard = daemon
            .setup
            .noted(name, r#"in {"jsonrpc":"2.0","id":"ask-1""#)
            .await;
        let heard: Value = serde_json::from_str(heard.strip_prefix("in ").unwrap()).unwrap();
        if method == "ping" {
            assert_eq!(heard["result"], json!({}));
        } else {
            let code = heard["error"]["code"].as_i64().unwrap();
            assert!([-32601, -32602].contains(&code), "{method}: {heard}");
        }
        assert_eq!(daemon.server(name).await["generation"], 1);
    }
    daemon.end().await;
}
