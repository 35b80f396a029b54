//! What the next daemon has to hear of a client, and what the client hears when one is lost.

use super::*;

fn line(text: &str) -> Bytes {
    text.to_owned().into()
}

fn texts(lines: &[Bytes]) -> Vec<String> {
    lines
        .iter()
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect()
}

const HELLO: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","x":1.0}}"#;

fn greeted() -> Memory {
    let mut memory = Memory::default();
    memory.heard_client(&line(HELLO));
    memory.heard_daemon(&line(r#"{"jsonrpc":"2.0","id":0,"result":{}}"#));
    memory.heard_client(&line(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#));
    memory
}

#[test]
fn each_call_in_flight_is_lost_with_an_error_and_those_answered_are_not() {
    let mut memory = greeted();
    for id in ["10", r#""1""#, "2"] {
        memory.heard_client(&line(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call"}}"#
        )));
    }
    memory.heard_daemon(&line(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#));
    let lost = texts(&memory.lost());
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(
        lost[0].starts_with(r#"{"jsonrpc":"2.0","id":10,"error""#),
        "{lost:?}"
    );
    assert!(
        lost[1].starts_with(r#"{"jsonrpc":"2.0","id":"1","error""#),
        "{lost:?}"
    );
    assert!(memory.lost().is_empty(), "each is told once");
}

#[test]
fn a_stream_of_changes_that_is_lost_is_taken_back_and_is_no_failed_call() {
    let mut memory = Memory::default();
    for (id, method) in [(1, "subscriptions/listen"), (2, "tools/call")] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{}}}}"#);
        memory.heard_client(&line(&text));
    }
    let lost = texts(&memory.lost());
    assert_eq!(lost.len(), 2, "{lost:?}");
    let taken_back = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"#;
    assert!(lost[0].starts_with(taken_back), "{lost:?}");
    assert!(
        lost[1].starts_with(r#"{"jsonrpc":"2.0","id":2,"error""#),
        "{lost:?}"
    );
    assert!(memory.replay().is_empty() && memory.lost().is_empty());
}

#[test]
fn the_next_daemon_hears_what_counts_and_its_answers_are_not_the_clients() {
    let mut memory = greeted();
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"debug"}}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"a://1"}}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"a://2"}}"#,
        r#"{"jsonrpc":"2.0","id":4,"method":"resources/unsubscribe","params":{"uri":"a://1"}}"#,
    ] {
        memory.heard_client(&line(text));
    }
    for id in 1..=4 {
        memory.heard_daemon(&line(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)));
    }
    memory.lost();
    let replay = texts(&memory.replay());
    assert_eq!(
        replay,
        [
            r#"{"jsonrpc":"2.0","id":"mcp-wrapper-again-0","method":"initialize","params":{"protocolVersion":"2025-06-18","x":1.0,"_meta":{"mcp-wrapper/resumed":true}}}"#,
            r#"{"jsonrpc":"2.0","id":"mcp-wrapper-again-1","method":"logging/setLevel","params":{"level":"debug"}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":"mcp-wrapper-again-2","method":"resources/subscribe","params":{"uri":"a://2"}}"#,
        ]
    );
    let answer = r#"{"jsonrpc":"2.0","id":"mcp-wrapper-again-1","result":{}}"#;
    assert_eq!(memory.heard_daemon(&line(answer)), Onward::Drop);
    assert_eq!(
        memory.heard_daemon(&line(answer)),
        Onward::Pass,
        "ours is answered"
    );
    let greeted = line(r#"{"jsonrpc":"2.0","id":"mcp-wrapper-again-0","result":{}}"#);
    let Onward::Instead(news) = memory.heard_daemon(&greeted) else {
        panic!("no news")
    };
    assert_eq!(texts(&news).len(), 4, "{news:?}");
}

#[test]
fn what_the_daemon_refuses_or_has_not_answered_is_not_said_to_the_next() {
    let mut memory = greeted();
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"loud"}}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"a://no"}}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"a://late"}}"#,
    ] {
        memory.heard_client(&line(text));
    }
    for id in [1, 2] {
        memory.heard_daemon(&line(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":1,"message":""}}}}"#
        )));
    }
    assert_eq!(memory.lost().len(), 1, "the client knows that it has no answer");
    assert_eq!(memory.replay().len(), 2, "the handshake and its end");
}

#[test]
fn a_handshake_that_was_refused_does_not_count() {
    let mut memory = Memory::default();
    memory.heard_client(&line(HELLO));
    memory.heard_daemon(&line(
        r#"{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":""}}"#,
    ));
    memory.lost();
    assert!(memory.replay().is_empty());
    let second = HELLO.replace("\"id\":0", "\"id\":1");
    memory.heard_client(&line(&second));
    memory.lost();
    assert_eq!(texts(&memory.replay()), [second]);
}

#[test]
fn a_handshake_without_an_answer_is_said_again_as_it_was() {
    let mut memory = Memory::default();
    memory.heard_client(&line(HELLO));
    assert!(memory.lost().is_empty());
    assert_eq!(texts(&memory.replay()), [HELLO]);
    assert!(memory.news().is_empty());
    let answer = r#"{"jsonrpc":"2.0","id":0,"result":{}}"#;
    assert_eq!(memory.heard_daemon(&line(answer)), Onward::Pass);
}

#[test]
fn an_answer_to_a_question_of_a_daemon_that_is_gone_goes_nowhere() {
    let mut memory = greeted();
    memory.heard_daemon(&line(r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#));
    memory.heard_daemon(&line(r#"{"jsonrpc":"2.0","id":2,"method":"roots/list"}"#));
    memory.heard_client(&line(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#));
    let told = texts(&memory.lost());
    assert_eq!(told.len(), 1);
    assert!(told[0].contains(r#""requestId":1,"#), "{told:?}");
    let stale = line(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(memory.heard_client(&stale), Onward::Drop);
    memory.heard_daemon(&line(r#"{"jsonrpc":"2.0","id":99,"method":"ping"}"#));
    assert_eq!(
        memory.heard_client(&line(r#"{"jsonrpc":"2.0","id":99,"result":{}}"#)),
        Onward::Pass
    );
}
