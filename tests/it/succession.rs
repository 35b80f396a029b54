//! A definition that is edited while its server runs: the earlier process serves until the new one is known to work.

use serde_json::{Value, json};

use crate::harness::fake::{Fake, MARK};
use crate::harness::{Daemon, HttpClient, LineClient, able, call, fake, names_of, request, text_of, until};

fn first() -> Fake {
    fake("a").tools("pid,echo,sleep")
}

/// Another definition, which works.
fn second() -> Fake {
    fake("a").tools("pid,echo,sleep,more")
}

async fn pid(client: &HttpClient) -> i32 {
    text_of(&client.call("a__pid", json!({})).await).parse().unwrap()
}

async fn tools(client: &HttpClient) -> Vec<String> {
    names_of(&client.request("tools/list", json!({})).await, "tools", "name")
}

fn is_alive(daemon: &Daemon, pid: i32) -> bool {
    daemon.setup.processes().contains(&pid)
}

async fn gone(daemon: &Daemon, pid: i32) {
    until(format!("the end of process {pid}"), async || {
        (!is_alive(daemon, pid)).then_some(())
    })
    .await;
}

/// Calls it until another process than this answers; every call is answered.
async fn taken_over(client: &HttpClient, before: i32) -> i32 {
    until("another process that answers", async || {
        let now = pid(client).await;
        (now != before).then_some(now)
    })
    .await
}

async fn warnings(daemon: &Daemon) -> String {
    daemon.server("a").await["warnings"].to_string()
}

async fn warned(daemon: &Daemon, part: &str) {
    until(format!("a warning with `{part}`"), async || {
        warnings(daemon).await.contains(part).then_some(())
    })
    .await;
}

/// How many times a child was greeted.
fn n_greeted(daemon: &Daemon) -> usize {
    let journal = daemon.setup.journal("a");
    journal
        .iter()
        .filter(|line| line.contains(r#""method":"initialize""#))
        .count()
}

#[tokio::test]
async fn the_earlier_process_serves_until_the_new_one_is_ready_and_finishes_what_is_in_flight() {
    let slow = second()
        .arg("--start-delay", "1500")
        .key("drain_timeout", "\"15s\"");
    let daemon = Daemon::start(&[first().key("drain_timeout", "\"15s\"")]).await;
    let client = daemon.http().await;
    let mut stream = client.stream().await;
    let before = pid(&client).await;
    let asked = call(1, "a__sleep", json!({ "ms": 5000 }));
    let (reply, after) = tokio::join!(client.post(&asked), async {
        daemon.setup.called("a", "sleep").await;
        daemon.setup.declare(&[slow]);
        warned(&daemon, "runs the earlier definition; the new one is").await;
        assert_eq!(tools(&client).await, ["a__pid", "a__echo", "a__sleep"]);
        let after = taken_over(&client, before).await;
        assert!(is_alive(&daemon, before), "too late for this test");
        after
    });
    assert_eq!(
        text_of(&reply.json().await),
        r#"{"ms":5000}"#,
        "a call in flight was lost"
    );
    gone(&daemon, before).await;
    assert_eq!(
        stream.next_json().await["method"],
        "notifications/tools/list_changed"
    );
    assert!(tools(&client).await.contains(&"a__more".to_owned()));
    assert_eq!(pid(&client).await, after);
    assert_eq!(warnings(&daemon).await, "[]");
    assert_eq!(daemon.setup.processes(), [after]);
    daemon.end().await;
}

#[tokio::test]
async fn a_new_definition_that_does_not_come_up_leaves_the_earlier_one_and_is_told() {
    let daemon = Daemon::start(&[first()]).await;
    let client = daemon.http().await;
    let before = pid(&client).await;
    let bad = [
        (second().arg("--exit-at-start", "3"), "exit code 3"),
        (
            second()
                .flag("--hang-handshake")
                .key("start_timeout", "\"300ms\""),
            "no answer to `initialize`",
        ),
        (second().arg("--refuse-handshake", "no, thanks"), "no, thanks"),
        (second().key("cwd", "\"/nowhere/at/all\""), "cannot be started"),
    ];
    for (definition, why) in bad {
        daemon.setup.declare(&[definition]);
        warned(&daemon, why).await;
        let told = warnings(&daemon).await;
        assert!(
            told.contains("runs the earlier definition; the new one does not start: "),
            "{told}"
        );
        assert_eq!(pid(&client).await, before, "{why}");
        let server = daemon.server("a").await;
        assert_eq!(
            (&server["state"], &server["pid"]),
            (&json!("ready"), &json!(before))
        );
        let story = daemon.mcpctl(&["why", "a"]).await;
        assert!(
            story.stdout.contains("runs the earlier definition") && story.stdout.contains(why),
            "{story:?}"
        );
        until("the same in the journal", async || {
            let events = daemon
                .api("GET", "/api/events?server=a&n=50", "")
                .await
                .json()
                .await;
            let all: &Vec<Value> = events.as_array().unwrap();
            all.iter().any(|event| event["what"] == "kept").then_some(())
        })
        .await;
    }
    daemon.setup.declare(&[second()]);
    let after = taken_over(&client, before).await;
    gone(&daemon, before).await;
    assert_eq!(warnings(&daemon).await, "[]");
    assert_eq!(daemon.setup.processes(), [after]);
    daemon.end().await;
}

#[tokio::test]
async fn a_new_definition_that_fails_first_is_tried_again_until_it_works() {
    let daemon = Daemon::start(&[first()]).await;
    let client = daemon.http().await;
    let before = pid(&client).await;
    let state = daemon.path().join("state").display().to_string();
    daemon
        .setup
        .declare(&[second().arg("--fail-first", "2").arg("--state", &state)]);
    let after = taken_over(&client, before).await;
    gone(&daemon, before).await;
    // The journal is written a moment after.
    let numbers = until("four starts in the journal", async || {
        let events = daemon.api("GET", "/api/events?server=a&n=50", "").await;
        let events = events.json().await;
        let spawned = events.as_array().unwrap().iter();
        let numbers: Vec<u64> = spawned
            .filter(|event| event["what"] == "spawned")
            .map(|event| event["generation"].as_u64().unwrap())
            .collect();
        (numbers.len() == 4).then_some(numbers)
    })
    .await;
    assert_eq!(numbers, [1, 2, 3, 4], "each process has its number");
    assert_eq!(daemon.setup.processes(), [after]);
    daemon.end().await;
}

#[tokio::test]
async fn the_earlier_process_is_started_again_while_the_new_one_does_not_come_up() {
    let boom = |fake: Fake| fake.arg("--tools", "pid,boom");
    let daemon = Daemon::start(&[boom(fake("a"))]).await;
    let client = daemon.http().await;
    daemon.setup.declare(&[boom(fake("a")).flag("--hang-handshake")]);
    warned(&daemon, "the new one is handshaking").await;
    let before = pid(&client).await;
    assert_eq!(client.call("a__boom", json!({})).await["error"]["code"], 1001);
    let after = pid(&client).await;
    assert_ne!(before, after);
    warned(&daemon, "the new one is handshaking").await;
    daemon.end().await;
}

#[tokio::test]
async fn a_third_definition_takes_the_place_of_the_one_that_waits() {
    let daemon = Daemon::start(&[first()]).await;
    let client = daemon.http().await;
    let before = pid(&client).await;
    // It takes its time to go, and the third is not made before.
    let stubborn = second()
        .flag("--hang-handshake")
        .flag("--ignore-eof")
        .flag("--ignore-sigterm");
    daemon.setup.declare(&[stubborn]);
    until("the process that hangs", async || {
        (daemon.setup.processes().len() == 2).then_some(())
    })
    .await;
    daemon.setup.declare(&[second()]);
    let after = until("the third", async || {
        let n = daemon.setup.processes().len();
        assert!(n <= 2, "{n} processes at once");
        let now = pid(&client).await;
        (now != before).then_some(now)
    })
    .await;
    gone(&daemon, before).await;
    assert_eq!(daemon.setup.processes(), [after]);
    daemon.end().await;
}

#[tokio::test]
async fn the_first_definition_may_come_back_and_nothing_has_happened() {
    let daemon = Daemon::start(&[first()]).await;
    let client = daemon.http().await;
    let before = pid(&client).await;
    daemon.setup.declare(&[second().flag("--hang-handshake")]);
    warned(&daemon, "the new one is handshaking").await;
    daemon.setup.declare(&[first()]);
    until("the first alone", async || {
        (daemon.setup.processes() == [before] && warnings(&daemon).await == "[]").then_some(())
    })
    .await;
    assert_eq!(pid(&client).await, before);
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_cannot_run_twice_stops_before_the_new_process_starts() {
    let alone = |fake: Fake| fake.key("replace", "\"after-stop\"");
    let daemon = Daemon::start(&[alone(first())]).await;
    let client = daemon.http().await;
    let before = pid(&client).await;
    let asked = call(1, "a__sleep", json!({ "ms": 700 }));
    let (reply, ()) = tokio::join!(client.post(&asked), async {
        daemon.setup.called("a", "sleep").await;
        daemon.setup.declare(&[alone(second())]);
        until("another process", async || {
            let all = daemon.setup.processes();
            assert!(all.len() <= 1, "{all:?} at once");
            (all.len() == 1 && all != [before]).then_some(())
        })
        .await;
    });
    assert_eq!(text_of(&reply.json().await), r#"{"ms":700}"#);
    daemon.ready("a").await;
    let now = pid(&client).await;
    daemon
        .setup
        .declare(&[alone(second().arg("--exit-at-start", "3"))]);
    gone(&daemon, now).await;
    until("the fault", async || {
        let server = daemon.server("a").await;
        server["cause"].to_string().contains("exit code 3").then_some(())
    })
    .await;
    daemon.end().await;
}

#[tokio::test]
async fn removal_and_disabling_end_both_at_once() {
    let daemon = Daemon::start(&[first()]).await;
    let trial = || second().flag("--hang-handshake");
    daemon.setup.declare(&[trial()]);
    warned(&daemon, "the new one is handshaking").await;
    daemon.setup.declare(&[trial().key("enabled", "false")]);
    until("no process", async || {
        daemon.setup.processes().is_empty().then_some(())
    })
    .await;
    daemon.in_state("a", "disabled").await;
    daemon.setup.declare(&[first()]);
    daemon.ready("a").await;
    daemon.setup.declare(&[trial()]);
    warned(&daemon, "the new one is handshaking").await;
    daemon.setup.declare(&[]);
    until("no process", async || {
        daemon.setup.processes().is_empty().then_some(())
    })
    .await;
    assert!(daemon.server("a").await.is_null());
    daemon.end().await;
}

#[tokio::test]
async fn a_call_that_waits_for_its_turn_goes_to_the_new_process() {
    let narrow = |fake: Fake| fake.key("inflight_max", "1").key("drain_timeout", "\"15s\"");
    let daemon = Daemon::start(&[narrow(first())]).await;
    let client = daemon.http().await;
    let before = daemon.child_pid("a").await;
    let asked = call(1, "a__sleep", json!({ "ms": 4000 }));
    let waits = call(2, "a__pid", json!({}));
    let (slow, waited, ()) = tokio::join!(
        client.post(&asked),
        async {
            daemon.setup.called("a", "sleep").await;
            client.post(&waits).await.json().await
        },
        async {
            daemon.setup.called("a", "sleep").await;
            daemon.setup.declare(&[narrow(second())]);
        }
    );
    assert_eq!(text_of(&slow.json().await), r#"{"ms":4000}"#);
    assert_eq!(n_greeted(&daemon), 2, "too late for this test");
    assert_ne!(text_of(&waited), before.to_string());
    daemon.end().await;
}

#[tokio::test]
async fn subscriptions_and_the_level_of_the_log_go_on_with_the_new_process() {
    let child = || {
        fake("a")
            .tools("pid,updated,log")
            .arg("--resources", "x://1,x://2")
    };
    let daemon = Daemon::start(&[child()]).await;
    let client = daemon.http().await;
    for (method, params) in [
        ("resources/subscribe", json!({ "uri": "x://1" })),
        ("logging/setLevel", json!({ "level": "debug" })),
    ] {
        assert!(client.request(method, params).await["result"].is_object());
    }
    let mut stream = client.stream().await;
    let before = pid(&client).await;
    daemon.setup.declare(&[child().arg("--name", "other")]);
    taken_over(&client, before).await;
    assert_eq!(
        stream.next_json().await["params"]["uri"],
        "x://1",
        "it may have missed something"
    );
    client.call("a__updated", json!({ "uri": "x://2" })).await;
    client.call("a__updated", json!({ "uri": "x://1" })).await;
    assert_eq!(stream.next_json().await["params"]["uri"], "x://1");
    until("both told of the level", async || {
        let journal = daemon.setup.journal("a");
        let told = journal.iter().filter(|line| line.contains(r#""level":"debug""#));
        (told.count() == 2).then_some(())
    })
    .await;
    daemon.end().await;
}

#[tokio::test]
async fn a_task_that_runs_is_finished_by_the_process_that_has_it() {
    let worker = || {
        fake("a")
            .tools("pid,may_work")
            .flag("--tasks")
            .key("drain_timeout", "\"15s\"")
    };
    let daemon = Daemon::start(&[worker()]).await;
    let client = daemon.http().await;
    let mut owner = LineClient::launch(&daemon.setup);
    owner
        .introduce(able("2025-11-25", &json!({ "tasks": {} }), "it"))
        .await;
    let before = pid(&client).await;
    let params = json!({ "name": "a__may_work", "arguments": { "ms": 5000 }, "task": { "ttl": 60_000 } });
    let made = owner.ask_json(&request(1, "tools/call", params)).await;
    let ours = made["result"]["task"]["taskId"].as_str().unwrap().to_owned();
    daemon.setup.declare(&[worker().arg("--name", "other")]);
    taken_over(&client, before).await;
    // The process that is to go is asked how the task stands, though it takes no other calls.
    let stands = loop {
        let told = owner
            .ask_json(&request(2, "tasks/get", json!({ "taskId": ours })))
            .await;
        if told["id"] == 2 {
            break told;
        }
    };
    assert_eq!(stands["result"]["status"], "working", "too late for this test");
    assert!(is_alive(&daemon, before));
    owner
        .send(&request(3, "tasks/result", json!({ "taskId": ours })))
        .await;
    let result = loop {
        let told = owner.next_json().await;
        if told["id"] == 3 {
            break told;
        }
    };
    assert!(text_of(&result).contains("5000"), "{result}");
    gone(&daemon, before).await;
    owner.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn processes_of_ones_own_go_on_until_the_new_definition_works() {
    let owned = |fake: Fake| fake.key("sharing", "\"per-session\"");
    let daemon = Daemon::start(&[owned(first())]).await;
    let client = daemon.http().await;
    let before = pid(&client).await;
    daemon
        .setup
        .declare(&[owned(second().arg("--exit-at-start", "3"))]);
    warned(&daemon, "exit code 3").await;
    assert_eq!(pid(&client).await, before);
    daemon.setup.declare(&[owned(second())]);
    taken_over(&client, before).await;
    gone(&daemon, before).await;
    daemon.end().await;
}

#[tokio::test]
async fn a_question_of_the_earlier_process_may_still_be_answered() {
    let child = || fake("a").tools("pid,ask").key("drain_timeout", "\"15s\"");
    let daemon = Daemon::start(&[child()]).await;
    let client = daemon
        .introduced(able("2025-11-25", &json!({ "sampling": {} }), "it"))
        .await;
    let other = daemon.http().await;
    let before = pid(&other).await;
    let asks = json!({ "method": "sampling/createMessage", "params": { "messages": [] } });
    let mut reply = client.post(&call(1, "a__ask", asks)).await;
    let question = reply.next_json().await;
    assert_eq!(question["method"], "sampling/createMessage", "{question}");
    daemon.setup.declare(&[child().arg("--name", "other")]);
    taken_over(&other, before).await;
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "who": "me" } });
    assert_eq!(client.post(&answer.to_string()).await.status, 202);
    let told = reply.next_json().await;
    assert!(text_of(&told).contains(r#""who":"me""#), "{told}");
    gone(&daemon, before).await;
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_is_replaced_by_hand_is_waited_for_and_told() {
    let daemon = Daemon::start(&[]).await;
    let mark = format!("{MARK}={}", daemon.setup.mark);
    let add = |more: &[&'static str]| -> Vec<String> {
        let program = env!("CARGO_BIN_EXE_fake-child");
        let words = ["add", "a", "--replace", "--env", &mark, "--", program];
        words.iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    let run = async |more: &[&'static str]| {
        let words = add(more);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        daemon.mcpctl(&words).await
    };
    run(&[]).await.said(0, &[]);
    let before = daemon.child_pid("a").await;
    let ran = run(&["--exit-at-start", "3"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stdout
            .contains("runs the earlier definition; the new one does not start")
            && ran.stdout.contains("exit code 3"),
        "{ran:?}"
    );
    assert_eq!(daemon.child_pid("a").await, before);
    let ran = run(&["--tools", "one,two"]).await;
    assert!(ran.code == 0 && ran.stdout.contains("ready, 2 tools"), "{ran:?}");
    assert_ne!(daemon.child_pid("a").await, before);
    daemon.end().await;
}
