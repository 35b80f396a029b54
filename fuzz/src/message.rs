//! Messages: what serde_json reads as one is read as that, and what we write of it is read as the same.

use bytes::Bytes;
use mcp_wrapper::rpc::message::{notification_line, request_line, response_line};
use mcp_wrapper::rpc::{Incoming, Message};
use serde_json::Value;

use crate::any::json_text;

pub fn run(data: &[u8]) {
    let text = json_text(data);
    match Incoming::parse(&text) {
        Ok(Incoming::One(message)) => check(&text, &message),
        Ok(Incoming::Batch(parts)) => {
            assert!(!parts.is_empty());
            for message in parts.iter().flatten() {
                check_again(message);
            }
        }
        Err(malformed) => {
            serde_json::from_str::<Value>(malformed.error.raw().as_str()).expect("the error is JSON");
        }
    }
}

fn check(text: &Bytes, message: &Message) {
    check_again(message);
    // Only where serde_json can hold it all: no numbers beyond doubles, no halves of characters.
    let Ok(value) = serde_json::from_slice::<Value>(text) else {
        return;
    };
    let member = |name: &str| value.get(name).cloned();
    let raw = |raw: &mcp_wrapper::rpc::Raw| raw.read::<Value>().ok();
    assert_eq!(member("jsonrpc"), Some("2.0".into()));
    match message {
        Message::Request(request) => {
            assert_eq!(
                member("method").as_ref().and_then(Value::as_str),
                Some(request.method.as_str())
            );
            assert_eq!(member("id"), raw(request.id.raw()));
            assert_eq!(member("params"), request.params.as_ref().and_then(raw));
        }
        Message::Notification(note) => {
            assert_eq!(
                member("method").as_ref().and_then(Value::as_str),
                Some(note.method.as_str())
            );
            assert!(member("id").is_none());
        }
        Message::Response(response) => {
            let (name, outcome) = match &response.outcome {
                Ok(result) => ("result", result),
                Err(error) => ("error", error),
            };
            assert_eq!(member(name), raw(outcome));
        }
    }
}

/// What we write of it is on one line and is read as the same.
fn check_again(message: &Message) {
    let line = match message {
        Message::Request(it) => request_line(it.id.raw(), it.method.as_str(), it.params.as_ref()),
        Message::Notification(it) => notification_line(it.method.as_str(), it.params.as_ref()),
        Message::Response(it) => response_line(it.id.as_ref(), &it.outcome),
    };
    let Ok(Incoming::One(again)) = Incoming::parse(&line) else {
        panic!("not read again: {line:?}");
    };
    match (message, &again) {
        (Message::Request(a), Message::Request(b)) => {
            assert_eq!(
                (&a.id, a.method.as_str(), &a.params),
                (&b.id, b.method.as_str(), &b.params)
            );
            assert_eq!(a.id.raw(), b.id.raw());
        }
        (Message::Notification(a), Message::Notification(b)) => {
            assert_eq!((a.method.as_str(), &a.params), (b.method.as_str(), &b.params));
        }
        (Message::Response(a), Message::Response(b)) => assert_eq!((&a.id, &a.outcome), (&b.id, &b.outcome)),
        (_, _) => panic!("another kind: {line:?}"),
    }
}
