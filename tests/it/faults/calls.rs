//! Calls: children that die, hang or answer late in the middle of one (C).

mod silence;

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Case, case, skipped};
use crate::harness::{Daemon, LineClient, Setup, call, fake, names_of, request, soon, text_of, until};

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[
    Case {
        id: "C01",
        provoked: "the process dies in the middle of a call",
        promised: "1001 with `sent: true` and the way it ended, within 250 ms; the next call finds a new process",
        test: "crash::a_call_in_flight_hears_of_the_death_at_once_and_the_next_one_works",
    },
    Case {
        id: "C02",
        provoked: "the process is killed between two calls",
        promised: "the next call waits for the new process and succeeds; nobody sees an error",
        test: "faults::calls::c02_a_death_between_two_calls_is_nobodys_error",
    },
    Case {
        id: "C03",
        provoked: "the process dies after the call took effect, before it answered",
        promised: "1001, and it is not repeated: one effect",
        test: "crash::a_call_that_may_have_taken_effect_is_never_repeated",
    },
    Case {
        id: "C04",
        provoked: "the process dies in a read: a resource, a prompt, a completion, its lists",
        promised: "it is read once more from the new process; the client gets the result",
        test: "faults::calls::c04_a_read_in_which_the_process_dies_is_repeated_once",
    },
    Case {
        id: "C05",
        provoked: "the process dies in a tool that calls itself read-only and idempotent",
        promised: "as C03: what a server says of its tools is not trusted",
        test: "faults::calls::c05_what_a_tool_says_of_itself_makes_no_call_repeatable",
    },
    Case {
        id: "C06",
        provoked: "a call is not answered",
        promised: "1002 after `call_timeout` (60 s); the server is told that it is cancelled, and lives",
        test: "timeouts::a_call_that_takes_too_long_is_given_up_and_cancelled_in_the_child",
    },
    Case {
        id: "C07",
        provoked: "nothing is answered any more, though it is read",
        promised: "1002 at the call's own time; where it has answered pings before: `unresponsive` after `probe_threshold` unanswered ones, and replaced after one more",
        test: "faults::calls::silence::c07_a_process_that_answers_nothing_any_more_is_replaced",
    },
    Case {
        id: "C08",
        provoked: "the process is stopped (SIGSTOP)",
        promised: "as C07; it is ended although it is stopped",
        test: "faults::calls::silence::c08_a_process_that_is_stopped_is_replaced",
    },
    Case {
        id: "C09",
        provoked: "it works so hard on a call that it reads nothing",
        promised: "no ping takes it for dead while the call has time",
        test: "faults::calls::silence::c09_a_process_that_works_on_a_call_is_not_taken_for_dead",
    },
    Case {
        id: "C10",
        provoked: "it dies of SIGSEGV, SIGABRT, SIGKILL",
        promised: "the error names the signal; no core file (skipped where there is none to prevent)",
        test: "faults::calls::c10_the_signal_is_named_and_no_core_is_left",
    },
    Case {
        id: "C11",
        provoked: "the client cancels",
        promised: "the server is told at once, under the id it knows; on a line the call is not answered",
        test: "progress::a_cancelled_call_is_cancelled_in_the_child_and_never_answered_on_a_line",
    },
    Case {
        id: "C12",
        provoked: "a cancelled call is answered all the same",
        promised: "the late answer goes to nobody, and no id is used twice",
        test: "faults::calls::c12_an_answer_after_the_cancel_goes_to_nobody",
    },
    Case {
        id: "C13",
        provoked: "a client of 2026-07-28 closes the response during a call",
        promised: "the child is told under its own id, and whatever it still says goes to nobody",
        test: "modern_client::calls::closing_the_response_is_taking_the_call_back",
    },
    Case {
        id: "C14",
        provoked: "the connection of a client with a handshake breaks during a call",
        promised: "the call goes on, and its answer waits for the client to resume the stream",
        test: "resume::the_rest_of_a_broken_call_arrives_once_and_nothing_of_another",
    },
    Case {
        id: "C15",
        provoked: "progress, again and again, beyond the patience for a call",
        promised: "the call lives on beyond `call_timeout`, and ends with 1002 at `call_max` (600 s)",
        test: "faults::calls::c15_progress_keeps_a_call_alive_up_to_the_hard_limit",
    },
    Case {
        id: "C16",
        provoked: "1,000 calls at once",
        promised: "at most `inflight_max` (64) reach the server at a time; `queue_max` (256) wait; \
                   the others get 1004; every call is answered once",
        test: "faults::calls::c16_of_a_thousand_calls_sixty_four_are_in_flight_and_none_is_lost",
    },
    Case {
        id: "C17",
        provoked: "the server is removed while calls are in flight",
        promised: "those that end within `drain_timeout` (10 s) are answered, each other gets one error; no process is left",
        test: "faults::calls::c17_calls_of_a_server_that_is_removed_end_with_one_answer_each",
    },
];

/// Waits until a process has ended with all its threads, reaped or not: its pipes are closed by then.
async fn dead(pid: i32) {
    until(format!("the death of {pid}"), async || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
        if threads.is_ok_and(|threads| threads.count() > 1) {
            return None;
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
        matches!(state, None | Some(Some('Z' | 'X'))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn c02_a_death_between_two_calls_is_nobodys_error() {
    case("C02");
    let daemon = Daemon::start(&[fake("a").key("fail_burst", "1000")]).await;
    let client = daemon.http().await;
    for round in 0..20 {
        let pid = daemon.child_pid("a").await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        dead(pid).await;
        // The daemon may have seen it, or may not yet.
        let answer = client.call("a__echo", json!({ "round": round })).await;
        assert_eq!(text_of(&answer), format!(r#"{{"round":{round}}}"#));
    }
    daemon.end().await;
}

#[tokio::test]
async fn c04_a_read_in_which_the_process_dies_is_repeated_once() {
    case("C04");
    let setup = Setup::new(&[]);
    let dies_in = |name: &str, method: &str| {
        let state = setup.path().join(format!("{name}.state"));
        fake(name)
            .arg("--resources", &format!("x://{name}"))
            .arg("--prompts", "p")
            .arg("--exit-once", method)
            .arg("--state", &state.display().to_string())
    };
    let all = [
        dies_in("a", "resources/read"),
        dies_in("b", "prompts/get"),
        dies_in("c", "completion/complete"),
        dies_in("d", "tools/list"),
    ];
    setup.declare(&all);
    let daemon = setup.start().await;
    for fake in &all {
        daemon.ready(&fake.name).await;
    }
    let client = daemon.http().await;
    let read = client.request("resources/read", json!({ "uri": "x://a" })).await;
    assert_eq!(read["result"]["contents"][0]["text"], "text of x://a", "{read}");
    let got = client.request("prompts/get", json!({ "name": "b__p" })).await;
    assert!(got["result"]["messages"].is_array(), "{got}");
    let completed = json!({
        "ref": { "type": "ref/prompt", "name": "c__p" },
        "argument": { "name": "n", "value": "v" },
    });
    let completed = client.request("completion/complete", completed).await;
    assert_eq!(completed["result"]["completion"]["values"], json!(["v1", "v2"]));
    let tools = names_of(&client.request("tools/list", json!({})).await, "tools", "name");
    assert_eq!(tools, ["a__echo", "b__echo", "c__echo", "d__echo"]);
    for fake in &all {
        let server = daemon.server(&fake.name).await;
        let told = (&server["n_failures"], &server["generation"]);
        assert_eq!(told, (&json!(1), &json!(2)), "it did die: {server}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn c05_what_a_tool_says_of_itself_makes_no_call_repeatable() {
    case("C05");
    let setup = Setup::new(&[]);
    let hints = r#"{"readOnlyHint":true,"idempotentHint":true}"#;
    let tools = ["boom_after_effect", "echo"].map(|name| {
        format!(r#"{{"name":"{name}","inputSchema":{{"type":"object"}},"annotations":{hints}}}"#)
    });
    setup.project.write("tools", &format!("[{}]", tools.join(",")));
    let file = setup.path().join("tools").display().to_string();
    setup.declare(&[fake("a").arg("--raw-tool-list", &file)]);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let client = daemon.http().await;
    let answer = client
        .call("a__boom_after_effect", json!({ "nonce": "once" }))
        .await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    assert_eq!(answer["error"]["data"]["sent"], true, "{answer}");
    text_of(&client.call("a__echo", json!({})).await);
    assert_eq!(daemon.setup.effects("a"), ["once"]);
    daemon.end().await;
}

/// Lets this process, and so the daemon, leave core files. False where the machine allows none.
#[cfg(target_os = "linux")]
fn allow_core_files() -> bool {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Core).maximum;
    let current = maximum;
    setrlimit(Resource::Core, Rlimit { current, maximum }).unwrap();
    maximum != Some(0)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn c10_the_signal_is_named_and_no_core_is_left() {
    case("C10");
    if !allow_core_files() {
        skipped(
            "C10",
            "core files are off already; the signals are tried all the same",
        );
    }
    let daemon = Daemon::start(&[fake("a").tools("die_by_signal,cwd").key("fail_burst", "9")]).await;
    let client = daemon.http().await;
    let folder = text_of(&client.call("a__cwd", json!({})).await).to_owned();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.child_pid("a").await)).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let soft = core.unwrap().split_whitespace().nth(4);
    assert_eq!(soft, Some("0"), "{limits}");
    for (signal, number) in [("SIGSEGV", 11), ("SIGABRT", 6), ("SIGKILL", 9)] {
        let answer = client.call("a__die_by_signal", json!({ "signal": signal })).await;
        assert_eq!(answer["error"]["code"], 1001, "{answer}");
        let exit = format!("signal {number} ({signal})");
        assert_eq!(answer["error"]["data"]["exit"], exit, "{answer}");
        let told = answer["error"]["message"].as_str().unwrap();
        assert!(told.contains(&exit), "{told}");
        daemon.ready("a").await;
    }
    let left = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let cores: Vec<_> = left
        .filter(|name| name.to_string_lossy().starts_with("core"))
        .collect();
    assert!(cores.is_empty(), "{cores:?}");
    daemon.end().await;
}

/// The ids under which the child was called.
fn wire_ids(journal: &[String]) -> Vec<String> {
    let calls = journal
        .iter()
        .filter(|line| line.starts_with("in ") && line.contains(r#""method":"tools/call""#));
    calls
        .map(|line| {
            let call: Value = serde_json::from_str(line.strip_prefix("in ").unwrap()).unwrap();
            call["id"].to_string()
        })
        .collect()
}

#[tokio::test]
async fn c12_an_answer_after_the_cancel_goes_to_nobody() {
    case("C12");
    let daemon = Daemon::start(&[fake("a").tools("late_answer,echo")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    for round in 0..5 {
        let (id, arguments) = (format!("late-{round}"), json!({ "ms": 50, "round": round }));
        client.send(&call(id.as_str(), "a__late_answer", arguments)).await;
        let seen = format!(r#""arguments":{{"ms":50,"round":{round}}}"#);
        daemon.setup.noted("a", &seen).await;
        let params = json!({ "requestId": id });
        let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
        client.send(&cancel.to_string()).await;
        let answer = client.ask_json(&call(round, "a__echo", json!({}))).await;
        assert_eq!(
            (&answer["id"], text_of(&answer)),
            (&json!(round), "{}"),
            "{answer}"
        );
        let late = format!(r#"{{\"ms\":50,\"round\":{round}}}"#);
        daemon.setup.noted("a", &late).await;
    }
    let answer = client.ask_json(&call("last", "a__echo", json!({}))).await;
    assert_eq!(answer["id"], "last", "{answer}");
    let (rest, _) = client.finish().await;
    assert!(rest.is_empty(), "{rest:?}");
    let journal = daemon.setup.journal("a");
    let cancelled = journal.iter().filter(|line| line.starts_with("cancelled "));
    assert_eq!(cancelled.count(), 5);
    let ids = wire_ids(&journal);
    let different: BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), different.len()), (11, 11), "{ids:?}");
    daemon.end().await;
}

#[tokio::test]
async fn c15_progress_keeps_a_call_alive_up_to_the_hard_limit() {
    case("C15");
    let slow = fake("a")
        .tools("progress")
        .key("call_timeout", "\"600ms\"")
        .key("call_max", "\"2500ms\"");
    let daemon = Daemon::start(&[slow]).await;
    let client = daemon.http().await;
    let progressing = |n: u64| {
        let arguments = json!({ "n": n, "ms": 100 });
        let meta = json!({ "progressToken": 1 });
        let params = json!({ "name": "a__progress", "arguments": arguments, "_meta": meta });
        request(1, "tools/call", params)
    };
    let begun = Instant::now();
    let answer: Value = serde_json::from_str(&client.ask(&progressing(10)).await).unwrap();
    assert_eq!(text_of(&answer), r#"{"ms":100,"n":10}"#);
    assert!(
        begun.elapsed() > Duration::from_millis(900),
        "it took longer than one patience"
    );
    let begun = Instant::now();
    // Each step is heard in time, so the whole needs a bound of its own.
    let endless = progressing(10_000);
    let answer = soon("the end of a call without an end", client.ask(&endless)).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let took = begun.elapsed();
    assert_eq!(answer["error"]["code"], 1002, "{answer}");
    eprintln!("cut after {took:?} of 2.5 s");
    assert!(took >= Duration::from_millis(2400), "{took:?}");
    daemon.setup.noted("a", "cancelled ").await;
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}

#[tokio::test]
async fn c16_of_a_thousand_calls_sixty_four_are_in_flight_and_none_is_lost() {
    case("C16");
    const N: usize = 1000;
    let daemon = Daemon::start(&[fake("a").tools("sleep")]).await;
    let client = daemon.http().await;
    let ask = async |n: usize| {
        let arguments = json!({ "ms": 300, "nonce": format!("n{n}") });
        client.call("a__sleep", arguments).await
    };
    let answers = join_all((0..N).map(ask)).await;
    let mut done = BTreeSet::new();
    let mut refused = 0;
    for (n, answer) in answers.iter().enumerate() {
        if answer["error"]["code"] == 1004 {
            refused += 1;
        } else {
            let text: Value = serde_json::from_str(text_of(answer)).unwrap();
            assert_eq!(text["nonce"], format!("n{n}"));
            assert!(done.insert(format!("n{n}")));
        }
    }
    eprintln!("{} answered, {refused} refused", done.len());
    assert_eq!(done.len() + refused, N);
    let effects = daemon.setup.effects("a");
    assert_eq!(effects.len(), done.len(), "each was executed once");
    assert_eq!(effects.into_iter().collect::<BTreeSet<_>>(), done);
    let (mut now, mut most) = (0_usize, 0);
    for line in daemon.setup.journal("a") {
        now += usize::from(line.starts_with("in ") && line.contains(r#""method":"tools/call""#));
        now -= usize::from(line.starts_with("out ") && line.contains(r#""content""#));
        most = most.max(now);
    }
    assert_eq!(most, 64);
    daemon.end().await;
}

/// All of them at once, in one task.
async fn join_all<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for (future, output) in all.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(context) {
                std::task::Poll::Ready(found) => *output = Some(found),
                std::task::Poll::Pending => is_done = false,
            }
        }
        if is_done {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    all.into_iter().map(|(_, output)| output.unwrap()).collect()
}

#[tokio::test]
async fn c17_calls_of_a_server_that_is_removed_end_with_one_answer_each() {
    case("C17");
    let clinging = fake("a")
        .tools("hang,sleep")
        .key("drain_timeout", "\"3s\"")
        .flag("--grandchild")
        .flag("--ignore-eof");
    let daemon = Daemon::start(&[clinging, fake("other")]).await;
    let other = daemon.child_pid("other").await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    for id in 1..=3 {
        client.send(&call(id, "a__hang", json!({ "id": id }))).await;
    }
    client.send(&call(4, "a__sleep", json!({ "ms": 1500 }))).await;
    daemon.setup.called("a", "sleep").await;
    daemon.setup.declare(&[fake("other")]);
    let mut answered = BTreeSet::new();
    while answered.len() < 4 {
        let told = client.next_json().await;
        // That lists have changed is told as well.
        let Some(id) = told["id"].as_u64() else { continue };
        assert!(answered.insert(id), "{told}");
        if id == 4 {
            assert_eq!(text_of(&told), r#"{"ms":1500}"#);
        } else {
            assert_eq!(told["error"]["code"], 1001, "{told}");
            assert_eq!(told["error"]["data"]["sent"], true, "{told}");
        }
    }
    until("only the other", async || {
        (daemon.setup.processes() == [other]).then_some(())
    })
    .await;
    let answer = client.ask(&call(5, "other__echo", json!({}))).await;
    assert!(
        answer.contains(r#""id":5"#) || answer.contains("list_changed"),
        "{answer}"
    );
    let (rest, _) = client.finish().await;
    let again = rest
        .iter()
        .filter(|line| (1..=4).any(|id| line.contains(&format!("\"id\":{id},"))));
    assert_eq!(again.count(), 0, "{rest:?}");
    daemon.end().await;
}
