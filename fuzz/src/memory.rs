//! The shim's memory: after a restart each request that was not answered is answered once, and what the next daemon
//! hears is well-formed.

use std::collections::BTreeSet;

use mcp_wrapper::front::shim::fuzzed::Memory;
use mcp_wrapper::rpc::object::Object;
use mcp_wrapper::rpc::{Incoming, Message, Notification, RequestId};

use crate::any::{Any, bytes};

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let mut memory = Memory::default();
    // The texts of the ids of the client's requests without an answer, its handshakes apart: those are said again.
    let mut waiting: BTreeSet<String> = BTreeSet::new();
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
                        waiting.insert(id);
                    }
                    Some(Message::Notification(note)) => {
                        if let Some(id) = taken_back(&note) {
                            waiting.remove(&id);
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
                    waiting.remove(id.raw().as_str());
                }
            }
            _restart => {
                let [lost, replay, news] = memory.again();
                let mut answered = BTreeSet::new();
                for line in &lost {
                    if let Message::Response(response) = read(line) {
                        let id = response.id.expect("it is somebody's").raw().as_str().to_owned();
                        assert!(answered.insert(id), "answered twice: {line:?}");
                    }
                }
                let kept = hello
                    .iter()
                    .filter(|id| waiting.contains(*id))
                    .cloned()
                    .collect::<BTreeSet<_>>();
                assert_eq!(answered, &waiting - &kept);
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
