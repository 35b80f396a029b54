//! The shim's memory: after a restart each request that was not answered is answered once, and what the next daemon
//! hears is well-formed and not too much at once.

use mcp_wrapper::front::shim::fuzzed::Memory;
use mcp_wrapper::rpc::object::Object;
use mcp_wrapper::rpc::{Incoming, Message, Notification, RequestId};

use crate::any::{Any, bytes};

/// What the shim asks by itself at once.
const N_AT_ONCE_MAX: usize = 256;

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let mut memory = Memory::default();
    // The texts of the ids of the client's requests without an answer, oldest first.
    let mut waiting: Vec<String> = Vec::new();
    let mut hello: Option<String> = None;
    for _ in 0..64 {
        if any.is_empty() {
            break;
        }
        let line = bytes(&any.message());
        let parsed = match Incoming::parse(&line) {
            Ok(Incoming::One(message)) => Some(message),
            Ok(Incoming::Batch(_)) | Err(_) => None,
        };
        match any.below(5) {
            0 | 1 => {
                memory.heard_client(&line);
                match parsed {
                    Some(Message::Request(request)) => {
                        let id = request.id.raw().as_str().to_owned();
                        // A second handshake is refused: the first counts.
                        if request.method.as_str() == "initialize" && hello.is_none() {
                            hello = Some(id.clone());
                        }
                        waiting.retain(|known| *known != id);
                        waiting.push(id);
                    }
                    Some(Message::Notification(note)) => {
                        if let Some(id) = taken_back(&note) {
                            waiting.retain(|known| *known != id);
                        }
                    }
                    Some(Message::Response(_)) | None => {}
                }
            }
            2 | 3 => {
                let passed = memory.heard_daemon(&line);
                if let Some(Message::Response(response)) = parsed
                    && let Some(id) = response.id
                    && passed
                {
                    let id = id.raw().as_str();
                    let was_asked = waiting.iter().any(|known| known == id);
                    waiting.retain(|known| known != id);
                    // A handshake that was refused does not count.
                    if was_asked && response.outcome.is_err() && hello.as_deref() == Some(id) {
                        hello = None;
                    }
                }
                let said = memory.next_lines();
                assert!(said.len() <= N_AT_ONCE_MAX);
                said.iter().for_each(|line| drop(read(line)));
            }
            _restart => {
                let [lost, replay, news] = memory.again();
                let mut answered = Vec::new();
                for line in &lost {
                    if let Message::Response(response) = read(line) {
                        answered.push(response.id.expect("it is somebody's").raw().as_str().to_owned());
                    }
                }
                // A handshake without an answer is said again; the others hear of it, oldest first.
                let (kept, ended) = waiting.into_iter().partition(|id| hello.as_ref() == Some(id));
                assert_eq!(answered, ended);
                waiting = kept;
                replay.iter().chain(&news).for_each(|line| drop(read(line)));
                assert_eq!(replay.is_empty(), hello.is_none());
            }
        }
    }
}

/// The id of the request that a notification takes back.
fn taken_back(note: &Notification) -> Option<String> {
    if note.method.as_str() != "notifications/cancelled" {
        return None;
    }
    let id = Object::of(note.params.as_ref()?)?.get("requestId")?;
    Some(RequestId::parse(id).ok()?.raw().as_str().to_owned())
}

fn read(line: &bytes::Bytes) -> Message {
    match Incoming::parse(line) {
        Ok(Incoming::One(message)) => message,
        other => panic!("{line:?} is read as {other:?}"),
    }
}
