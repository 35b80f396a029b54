//! What a child and a client say to each other arrives as it was written, byte for byte.

mod any_value;

use serde_json::Value;

use crate::harness::{Daemon, LineClient, SseClient, fake, text_of};

/// Everything that a typed proxy spoils: unknown members, nulls, numbers beyond doubles, odd escapes and orders.
const ODD: &str = concat!(
    r#"{"zeta":null,"content":[{"type":"text","text":"\ud800 \u2028 "#,
    "\u{2028}",
    r#"","annotations":null}],"big":9007199254740993,"huge":1e400,"minus":-0,"point":1.0,"#,
    r#""Alpha":{"b":[],"a":{}},"isError":false,"_meta":{"x.example/y":[null,0.10]}}"#
);

fn raw_call(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"a__raw","arguments":{{"result":{ODD}}}}}}}"#
    )
}

fn echo_call(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"a__echo","arguments":{ODD}}}}}"#
    )
}

async fn daemon() -> Daemon {
    Daemon::start(&[fake("a").tools("raw,echo")]).await
}

#[track_caller]
fn assert_is_odd(answer: &str) {
    let wanted = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{ODD}}}"#);
    assert_eq!(answer, wanted);
}

#[tokio::test]
async fn a_result_comes_out_of_the_http_door_as_the_child_wrote_it() {
    let daemon = daemon().await;
    let client = daemon.http().await;
    assert_is_odd(&client.ask(&raw_call("7")).await);
    daemon.end().await;
}

#[tokio::test]
async fn a_result_comes_out_of_the_sse_door_as_the_child_wrote_it() {
    let daemon = daemon().await;
    let mut client = SseClient::greeted(&daemon.address).await;
    assert_is_odd(&client.ask(&raw_call("7")).await);
    daemon.end().await;
}

#[tokio::test]
async fn a_result_comes_out_of_the_line_door_as_the_child_wrote_it() {
    let daemon = daemon().await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    assert_is_odd(&client.ask(&raw_call("7")).await);
    daemon.end().await;
}

#[tokio::test]
async fn arguments_reach_the_child_as_the_client_wrote_them_through_every_door() {
    let daemon = daemon().await;
    let http = daemon.http().await;
    let mut sse = SseClient::greeted(&daemon.address).await;
    let mut line = LineClient::greeted(&daemon.setup).await;
    let answers = [
        http.ask(&echo_call("1")).await,
        sse.ask(&echo_call("1")).await,
        line.ask(&echo_call("1")).await,
    ];
    for answer in answers {
        // What the child saw comes back as one text, in which its own JSON library wrote the escapes.
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(text_of(&answer), ODD);
    }
    let seen = daemon.setup.journal("a");
    let seen: Vec<_> = seen
        .iter()
        .filter(|line| line.starts_with("in ") && line.contains(ODD))
        .collect();
    assert_eq!(seen.len(), 3, "{seen:?}");
    daemon.end().await;
}

#[tokio::test]
async fn an_error_of_the_child_keeps_its_code_its_text_and_its_id() {
    let daemon = Daemon::start(&[fake("a").tools("echo")]).await;
    let client = daemon.http().await;
    let line = r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"a__echo","arguments":{"do":"fly"}}}"#;
    assert_eq!(
        client.ask(line).await,
        r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32602,"message":"fake-child cannot do `fly`"}}"#
    );
    daemon.end().await;
}
