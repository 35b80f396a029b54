//! Calls: processes that fall silent, and one that only seems so.

use serde_json::json;

use crate::faults::case;
use crate::harness::fake::Fake;
use crate::harness::{Daemon, fake, text_of, until};

/// Found out soon when it is silent.
fn probed(fake: Fake) -> Fake {
    fake.key("probe_interval", "\"100ms\"")
        .key("probe_timeout", "\"100ms\"")
        .key("probe_threshold", "2")
        .key("call_timeout", "\"400ms\"")
}

/// A process that falls silent in this call: the call ends at its time, and another process takes its place.
async fn falls_silent(fake: Fake, tool: &str) -> Daemon {
    let daemon = Daemon::start(&[probed(fake), crate::harness::fake("other")]).await;
    let client = daemon.http().await;
    let (pid, other) = (daemon.child_pid("a").await, daemon.child_pid("other").await);
    // One that has never answered a ping is not judged by pings: after the second the first is answered.
    until("an answered ping", async || {
        let journal = daemon.setup.journal("a");
        let pings = journal.iter().filter(|line| line.contains(r#""method":"ping""#));
        (pings.count() >= 2).then_some(())
    })
    .await;
    let answer = client.call(&format!("a__{tool}"), json!({})).await;
    assert_eq!(answer["error"]["code"], 1002, "{answer}");
    until("another process", async || {
        let server = daemon.server("a").await;
        (server["state"] == "ready" && server["generation"] == 2).then_some(())
    })
    .await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    let left = daemon.setup.processes();
    assert!(!left.contains(&pid), "{left:?}");
    assert_eq!(daemon.child_pid("other").await, other);
    let log = daemon.log();
    assert!(log.contains("does not answer generation=1"), "{log}");
    assert!(log.contains("asked to go: SIGTERM generation=1"), "{log}");
    assert!(
        log.contains("gone: the process answers neither calls nor pings"),
        "{log}"
    );
    daemon
}

#[tokio::test]
async fn c07_a_process_that_answers_nothing_any_more_is_replaced() {
    case("C07");
    let daemon = falls_silent(fake("a").tools("hang_all,echo"), "hang_all").await;
    daemon.end().await;
}

#[tokio::test]
async fn c08_a_process_that_is_stopped_is_replaced() {
    case("C08");
    // Where SIGTERM is not heard, the one that is always heard follows.
    for flags in [&[][..], &["--ignore-sigterm", "--ignore-eof"]] {
        let stops = fake("a").tools("sigstop_self,echo");
        let stops = flags.iter().fold(stops, |fake, flag| fake.flag(flag));
        let daemon = falls_silent(stops, "sigstop_self").await;
        let log = daemon.log();
        let killed = log.contains("made to go: SIGKILL");
        assert_eq!(killed, !flags.is_empty(), "{log}");
        daemon.end().await;
    }
}

#[tokio::test]
async fn c09_a_process_that_works_on_a_call_is_not_taken_for_dead() {
    case("C09");
    let busy = fake("a")
        .tools("busy_loop")
        .key("probe_interval", "\"50ms\"")
        .key("probe_timeout", "\"50ms\"")
        .key("probe_threshold", "1");
    let daemon = Daemon::start(&[busy]).await;
    let client = daemon.http().await;
    // Many times as long as an idle process would be given.
    let answer = client.call("a__busy_loop", json!({ "ms": 1500 })).await;
    assert_eq!(text_of(&answer), r#"{"ms":1500}"#);
    assert!(!daemon.log().contains("does not answer"), "{}", daemon.log());
    daemon.end().await;
}
