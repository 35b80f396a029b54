//! Clients of 2026-07-28, which know no handshake, against servers that do, and against those that do not.

mod calls;
mod ladder;
mod limits;
mod lines;
mod listen;
mod lost;
mod parks;
mod standing;

use serde_json::{Value, json};

use crate::harness::bare::calling;
use crate::harness::fake::Fake;
use crate::harness::{Daemon, fake, until};

/// A server that asks its clients.
fn asker() -> Fake {
    fake("a").tools("echo,ask,interview,release,hang,sleep,progress,log,url_required,url_done,raw_error")
}

/// The parameters of a call that asks these rounds of questions.
fn interview(rounds: Value) -> Value {
    calling("a__interview", json!({ "rounds": rounds }))
}

fn form(message: &str) -> Value {
    json!({ "method": "elicitation/create", "params": {
        "message": message,
        "requestedSchema": { "type": "object", "properties": { "n": { "type": "number" } } },
    } })
}

fn accepted(n: u64) -> Value {
    json!({ "action": "accept", "content": { "n": n } })
}

/// What the server of an interview was answered.
#[track_caller]
fn told(answer: &Value) -> Value {
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    serde_json::from_str(crate::harness::text_of(answer)).unwrap()
}

/// The messages of one method that a server got.
fn heard(daemon: &Daemon, server: &str, method: &str) -> Vec<Value> {
    let journal = daemon.setup.journal(server);
    let messages = journal.iter().filter_map(|line| line.strip_prefix("in "));
    let messages = messages.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter(|message| message["method"] == method).collect()
}

/// Waits until a server was told that this many of its calls are not wanted any more; the ids were those of calls.
async fn taken_back(daemon: &Daemon, server: &str, n: usize) {
    let cancelled = until("calls taken back", async || {
        let cancelled = heard(daemon, server, "notifications/cancelled");
        (cancelled.len() >= n).then_some(cancelled)
    })
    .await;
    assert_eq!(cancelled.len(), n, "{cancelled:?}");
    let calls = heard(daemon, server, "tools/call");
    for one in cancelled {
        let id = &one["params"]["requestId"];
        assert!(calls.iter().any(|call| call["id"] == *id), "{one} of {calls:?}");
    }
}
