//! Going down, and not coming up.

use nix::sys::signal::{Signal, kill};
use serde_json::json;
use tokio::time::Instant;

use crate::harness::{Daemon, LineClient, Setup, SseClient, call, fake, text_of, until};

#[tokio::test]
async fn a_call_in_flight_is_answered_before_the_daemon_goes() {
    let daemon = Daemon::start(&[fake("a").tools("sleep")]).await;
    let client = daemon.http().await;
    let mut line = LineClient::greeted(&daemon.setup).await;
    let mut sse = SseClient::greeted(&daemon.address).await;
    let asked = call(1, "a__sleep", json!({ "ms": 500 }));
    line.send(&asked).await;
    sse.post(&asked).await;
    let (reply, ()) = tokio::join!(client.post(&asked), async {
        until("three calls in flight", async || {
            (daemon.server("a").await["n_inflight"] == 3).then_some(())
        })
        .await;
        kill(daemon.pid(), Signal::SIGTERM).unwrap();
    });
    assert_eq!(text_of(&reply.json().await), r#"{"ms":500}"#);
    assert_eq!(text_of(&line.next_json().await), r#"{"ms":500}"#);
    assert_eq!(text_of(&sse.next_json().await), r#"{"ms":500}"#);
    daemon.ended().await;
}

#[tokio::test]
async fn the_last_answers_on_a_line_are_written_however_many_and_long_they_are() {
    const N_CALLS: u64 = 40;
    // Together far more than any pipe holds, and the client does not read before the daemon is told.
    const N_BYTES: usize = 50_000;
    let daemon = Daemon::start(&[fake("a").tools("sleep")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    let padding = "x".repeat(N_BYTES);
    for id in 0..N_CALLS {
        let arguments = json!({ "ms": 700, "padding": padding });
        client.send(&call(id, "a__sleep", arguments)).await;
    }
    until("all calls in flight", async || {
        (daemon.server("a").await["n_inflight"] == N_CALLS).then_some(())
    })
    .await;
    kill(daemon.pid(), Signal::SIGTERM).unwrap();
    until("all answers written by the child", async || {
        let journal = daemon.setup.journal("a");
        let n = journal
            .iter()
            .filter(|line| line.starts_with("out ") && line.contains("padding"))
            .count();
        (n == usize::try_from(N_CALLS).unwrap()).then_some(())
    })
    .await;
    let mut ids = Vec::new();
    while let Some(line) = client.maybe_next().await {
        let answer: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(text_of(&answer).len() > N_BYTES, "{answer}");
        ids.push(answer["id"].as_u64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..N_CALLS).collect::<Vec<_>>());
    daemon.ended().await;
}

#[tokio::test]
async fn a_call_that_hangs_is_failed_when_the_daemon_is_told_twice() {
    let daemon = Daemon::start(&[fake("a").tools("hang")]).await;
    let client = daemon.http().await;
    let mut line = LineClient::greeted(&daemon.setup).await;
    let mut sse = SseClient::greeted(&daemon.address).await;
    let asked = call(1, "a__hang", json!({}));
    line.send(&asked).await;
    sse.post(&asked).await;
    let (reply, ()) = tokio::join!(client.post(&asked), async {
        until("three calls in flight", async || {
            (daemon.server("a").await["n_inflight"] == 3).then_some(())
        })
        .await;
        kill(daemon.pid(), Signal::SIGTERM).unwrap();
        // The first signal has been heard when nothing new is taken in.
        until("closed doors", async || {
            tokio::net::TcpStream::connect(&daemon.address)
                .await
                .is_err()
                .then_some(())
        })
        .await;
        kill(daemon.pid(), Signal::SIGTERM).unwrap();
    });
    for answer in [reply.json().await, line.next_json().await, sse.next_json().await] {
        assert_eq!(answer["error"]["code"], 1008, "{answer}");
        assert_eq!(answer["id"], 1, "{answer}");
    }
    daemon.ended().await;
}

#[tokio::test]
async fn open_streams_and_idle_clients_do_not_delay_the_end() {
    let daemon = Daemon::start(&[fake("a"), fake("b")]).await;
    let client = daemon.http().await;
    let stream = client.stream().await;
    let sse = SseClient::greeted(&daemon.address).await;
    let line = LineClient::greeted(&daemon.setup).await;
    let told = Instant::now();
    daemon.end().await;
    let took = told.elapsed();
    assert!(took.as_millis() < 2500, "{took:?}");
    assert_eq!(stream.events().await, []);
    drop((sse, line));
}

#[tokio::test]
async fn a_second_daemon_on_the_same_folder_is_told_who_the_first_is() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let ran = daemon.setup.refused().await;
    ran.said(1, &[&format!("(process {})", daemon.pid()), "MCP_DATA_DIR"]);
    let client = daemon.http().await;
    assert_eq!(
        text_of(&client.call("a__echo", json!({})).await),
        "{}",
        "the first one goes on"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let setup = Setup::new(&[]).variable("MCP_PORT", &port);
    setup.refused().await.said(1, &[&port, "MCP_PORT"]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let setup = Setup::new(&[]).variable("MCP_DATA_DIR", "/proc/nowhere");
    setup.refused().await.said(1, &["/proc/nowhere", "MCP_DATA_DIR"]);
}

#[tokio::test]
async fn a_registry_that_is_no_database_is_put_aside_or_named() {
    let setup = Setup::new(&[]);
    setup.project.write(
        "data/registry.db",
        &"this is no database, however long one reads. ".repeat(200),
    );
    let ran = setup.refused().await;
    ran.said(1, &["registry.db"]);
}

#[tokio::test]
async fn a_log_folder_that_cannot_be_written_does_not_stop_the_daemon() {
    let setup = Setup::new(&[fake("a")]).variable("MCP_LOG_DIR", "/proc/nowhere");
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let client = daemon.http().await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn a_daemon_that_was_killed_leaves_a_folder_in_which_the_next_one_starts() {
    let mut daemon = Daemon::start(&[fake("a")]).await;
    kill(daemon.pid(), Signal::SIGKILL).unwrap();
    daemon.process.wait().await.unwrap();
    let setup = daemon.setup;
    until("the end of its children", async || {
        setup.processes().is_empty().then_some(())
    })
    .await;
    let daemon = setup.start().await;
    daemon.ready("a").await;
    daemon.end().await;
}

#[tokio::test]
async fn a_registry_that_somebody_else_holds_is_told_and_the_daemon_serves_on() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let client = daemon.http().await;
    let file = daemon.path().join("data/registry.db");
    let holder = rusqlite::Connection::open(file).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let added = daemon.mcpctl(&["add", "b", "--", "true"]).await;
    assert_eq!(added.code, 1, "{added:?}");
    assert!(added.stderr.contains("registry"), "{added:?}");
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    holder.execute_batch("ROLLBACK").unwrap();
    daemon.end().await;
}
