//! The built daemon in a scratch project with scripted children, and clients for each of its doors.
//!
//! Every wait is for a condition and has a bound.

pub(crate) mod bare;
pub(crate) mod daemon;
pub(crate) mod dice;
pub(crate) mod fake;
pub(crate) mod http;
pub(crate) mod lines;
pub(crate) mod peer;
pub(crate) mod sse;
pub(crate) mod text;

use std::fmt::Display;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

pub(crate) use daemon::{Daemon, Setup};
pub(crate) use dice::Dice;
pub(crate) use fake::fake;
pub(crate) use http::HttpClient;
pub(crate) use lines::LineClient;
pub(crate) use peer::{Door, Peer};
pub(crate) use sse::SseClient;

/// Nothing that these tests wait for takes longer, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Looks again and again until there is something.
#[track_caller]
pub(crate) fn until<T>(
    what: impl Display,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let from = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            // Put together now: what is told may be of what has come about instead.
            assert!(Instant::now() < deadline, "{from}: {what} did not come about");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits for something, but not for ever.
#[track_caller]
pub(crate) fn soon<T>(what: &str, awaited: impl Future<Output = T>) -> impl Future<Output = T> {
    let from = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, awaited).await {
            Ok(found) => found,
            Err(_late) => panic!("{from}: {what} did not come"),
        }
    }
}

/// A request, as text.
pub(crate) fn request(id: impl Into<Value>, method: &str, params: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params }).to_string()
}

/// A tool call, as text.
pub(crate) fn call(id: impl Into<Value>, tool: &str, arguments: Value) -> String {
    request(id, "tools/call", json!({ "name": tool, "arguments": arguments }))
}

/// The parameters of a handshake.
pub(crate) fn greeting(revision: &str) -> Value {
    json!({ "protocolVersion": revision, "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } })
}

/// The parameters of a handshake of a client that can do something.
pub(crate) fn able(revision: &str, capabilities: &Value, name: &str) -> Value {
    json!({
        "protocolVersion": revision,
        "capabilities": capabilities,
        "clientInfo": { "name": name, "version": "1" },
    })
}

/// The one text in the result of a tool.
#[track_caller]
pub(crate) fn text_of(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("no text in {answer}"))
}

/// The names in the answer to a list request.
#[track_caller]
pub(crate) fn names_of(answer: &Value, member: &str, key: &str) -> Vec<String> {
    let list = answer["result"][member]
        .as_array()
        .unwrap_or_else(|| panic!("no {member} in {answer}"));
    list.iter()
        .map(|item| item[key].as_str().unwrap().to_owned())
        .collect()
}
