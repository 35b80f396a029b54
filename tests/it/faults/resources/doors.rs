//! Connections: too many, and those that come to nothing.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::super::case;
use super::{files_are_back, n_files_of};
use crate::harness::{Daemon, Setup, fake, soon, text_of, until};

#[tokio::test]
async fn q09_with_no_files_left_new_clients_are_refused_and_nobody_else_notices() {
    /// Files that the daemon may have open.
    const N_FILES: usize = 160;
    case("Q09");
    let limit = format!("--nofile={N_FILES}:{N_FILES}");
    let setup = Setup::new(&[fake("a").tools("boom,echo")]).through(&[
        "prlimit",
        &limit,
        env!("CARGO_BIN_EXE_mcp-wrapper"),
    ]);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let client = daemon.http().await;
    let mut streams = vec![client.stream().await];
    let refused = loop {
        let reply = client.mcp("GET", &[("accept", "text/event-stream")], "").await;
        if reply.status != 200 {
            break reply;
        }
        streams.push(reply);
        assert!(streams.len() <= N_FILES, "more streams than files");
    };
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    eprintln!("{} streams of {N_FILES} files", streams.len());
    // A client whose connection is open already.
    let mut lines = crate::harness::LineClient::greeted(&daemon.setup).await;
    let answer = lines
        .ask_json(&crate::harness::call(1, "a__boom", json!({})))
        .await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    let answer = lines
        .ask_json(&crate::harness::call(2, "a__echo", json!({})))
        .await;
    assert_eq!(text_of(&answer), "{}", "another process was started");
    streams.truncate(5);
    until("room for a new client", async || {
        let reply = client.mcp("GET", &[("accept", "text/event-stream")], "").await;
        (reply.status == 200).then_some(())
    })
    .await;
    assert_eq!(
        text_of(&daemon.http().await.call("a__echo", json!({})).await),
        "{}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn q12_connections_that_come_to_nothing_leave_nothing_behind() {
    const N_CONNECTIONS: usize = 2000;
    case("Q12");
    let daemon = Daemon::start(&[fake("a")]).await;
    let client = daemon.http().await;
    text_of(&client.call("a__echo", json!({})).await);
    let before = n_files_of(&daemon);
    let storm = async {
        for n in 0..N_CONNECTIONS {
            let mut stream = soon("a connection", TcpStream::connect(&daemon.address))
                .await
                .unwrap();
            match n % 3 {
                0 => {}
                1 => stream.write_all(b"POST /mcp HTTP/1.1\r\nhost: lo").await.unwrap(),
                _ => {
                    stream
                        .write_all(b"POST /mcp HTTP/1.1\r\ncontent-length: 10\r\n\r\n{")
                        .await
                        .unwrap();
                    // It is reset, and not closed.
                    stream.set_zero_linger().unwrap();
                }
            }
        }
    };
    let calls = async {
        for n in 0..20 {
            let answer = client.call("a__echo", json!({ "n": n })).await;
            assert_eq!(text_of(&answer), json!({ "n": n }).to_string());
        }
    };
    tokio::join!(storm, calls);
    files_are_back(&daemon, before).await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}
