//! What a client has said and what it waits for, as far as the next daemon has to know. Pure.
//!
//! Every line that is handed on is read, none is changed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::bridge::errors::lost_in_a_restart;
use crate::bridge::initialize::RESUMED;
use crate::rpc::mcp::method;
use crate::rpc::message::{notification_line, request_line, response_line};
use crate::rpc::object::Object;
use crate::rpc::{Incoming, Message, Notification, Raw, Request, RequestId};

/// Requests, questions and subscriptions that are remembered of each kind; beyond it the oldest are forgotten.
const N_REMEMBERED_MAX: usize = 16_384;
/// Ids of our own requests begin so.
const OURS: &str = "mcp-wrapper-again-";

/// Whether a line goes on to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Onward {
    Pass,
    Drop,
}

/// What has to be known of one client.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The client's handshake: the line as it came, and its parameters.
    hello: Option<Hello>,
    is_initialized: bool,
    /// The parameters of its last `logging/setLevel`.
    level: Option<Raw>,
    /// By URI, the parameters of `resources/subscribe`.
    subscribed: BTreeMap<String, Raw>,
    /// The client's requests without an answer, and the URIs that those want to subscribe to.
    waiting: BTreeMap<String, RequestId>,
    /// The daemon's requests without an answer, by the text of their ids.
    asked: BTreeMap<String, RequestId>,
    /// Requests of a daemon that is gone: nobody waits for their answers.
    stale: BTreeSet<String>,
}

#[derive(Debug)]
struct Hello {
    id: RequestId,
    line: Bytes,
    params: Option<Raw>,
}

impl Memory {
    /// The client says this.
    pub(super) fn heard_client(&mut self, line: &Bytes) -> Onward {
        match Incoming::parse(line) {
            Ok(Incoming::One(message)) => self.client_says(&message, line),
            Ok(Incoming::Batch(parts)) => {
                for message in parts.iter().flatten() {
                    self.client_says(message, line);
                }
                Onward::Pass
            }
            // The daemon says what is wrong with it.
            Err(_malformed) => Onward::Pass,
        }
    }

    fn client_says(&mut self, message: &Message, line: &Bytes) -> Onward {
        match message {
            Message::Request(request) => self.client_asks(request, line),
            Message::Notification(note) => {
                self.is_initialized |= note.method.as_str() == method::INITIALIZED;
                if let Some(id) = cancelled(note) {
                    self.waiting.remove(&key(&id));
                }
            }
            Message::Response(response) => {
                let id = response.id.as_ref().map(key).unwrap_or_default();
                if self.asked.remove(&id).is_none() && self.stale.remove(&id) {
                    return Onward::Drop;
                }
            }
        }
        Onward::Pass
    }

    fn client_asks(&mut self, request: &Request, line: &Bytes) {
        let params = request.params.as_ref().map(Raw::compact);
        let uri = || {
            params
                .as_ref()
                .and_then(Object::of)
                .and_then(|params| params.get_string("uri"))
        };
        match request.method.as_str() {
            // A second one is refused: the first counts.
            method::INITIALIZE if self.hello.is_none() => {
                self.hello = Some(Hello {
                    id: request.id.compact(),
                    line: Bytes::copy_from_slice(line),
                    params: params.clone(),
                });
            }
            method::SET_LEVEL => self.level.clone_from(&params),
            method::RESOURCES_SUBSCRIBE => {
                if let (Some(uri), Some(params)) = (uri(), &params) {
                    insert(&mut self.subscribed, uri, params.clone());
                }
            }
            method::RESOURCES_UNSUBSCRIBE => {
                uri().and_then(|uri| self.subscribed.remove(&uri));
            }
            _other => {}
        }
        insert(&mut self.waiting, key(&request.id), request.id.compact());
    }

    /// The daemon says this.
    pub(super) fn heard_daemon(&mut self, line: &Bytes) -> Onward {
        match Incoming::parse(line) {
            Ok(Incoming::One(message)) => self.daemon_says(&message),
            Ok(Incoming::Batch(parts)) => {
                for message in parts.iter().flatten() {
                    self.daemon_says(message);
                }
                Onward::Pass
            }
            Err(_malformed) => Onward::Pass,
        }
    }

    fn daemon_says(&mut self, message: &Message) -> Onward {
        match message {
            Message::Request(request) => {
                let id = key(&request.id);
                self.stale.remove(&id);
                insert(&mut self.asked, id, request.id.compact());
            }
            Message::Response(response) => {
                let Some(id) = &response.id else {
                    return Onward::Pass;
                };
                if id.raw().as_string().is_some_and(|id| id.starts_with(OURS)) {
                    return Onward::Drop;
                }
                self.waiting.remove(&key(id));
            }
            Message::Notification(note) => {
                if let Some(id) = cancelled(note) {
                    self.asked.remove(&key(&id));
                }
            }
        }
        Onward::Pass
    }

    /// The daemon is gone: what the client hears of it. A handshake without an answer is no loss, for it is said again.
    pub(super) fn lost(&mut self) -> Vec<Bytes> {
        let hello = self.hello.as_ref().map(|hello| key(&hello.id));
        let mut lines = Vec::new();
        for (id, asked) in std::mem::take(&mut self.asked) {
            let params = format!(r#"{{"requestId":{id},"reason":"mcp-wrapper was restarted"}}"#);
            let params = Raw::parse(&params.into()).ok();
            lines.push(notification_line(method::CANCELLED, params.as_ref()));
            if self.stale.len() < N_REMEMBERED_MAX {
                self.stale.insert(key(&asked));
            }
        }
        let error = Err(lost_in_a_restart().raw());
        for (id, request) in std::mem::take(&mut self.waiting) {
            if Some(&id) == hello.as_ref() {
                self.waiting.insert(id, request);
            } else {
                lines.push(response_line(Some(&request), &error));
            }
        }
        lines
    }

    /// Whether the client's handshake has no answer yet.
    pub(super) fn waits_for_hello(&self) -> bool {
        let hello = self.hello.as_ref().map(|hello| key(&hello.id));
        hello.is_some_and(|id| self.waiting.contains_key(&id))
    }

    /// What the next daemon has to hear before anything else.
    pub(super) fn replay(&self) -> Vec<Bytes> {
        let Some(hello) = &self.hello else {
            return Vec::new();
        };
        if self.waits_for_hello() {
            // It was never answered: the client still waits for it.
            return vec![hello.line.clone()];
        }
        let mut lines = Vec::new();
        let mut ask = |method: &str, params: Option<&Raw>| {
            let id = Raw::of(&format!("{OURS}{}", lines.len()));
            lines.push(request_line(&id, method, params));
        };
        ask(method::INITIALIZE, hello.resumed().as_ref());
        if let Some(level) = &self.level {
            ask(method::SET_LEVEL, Some(level));
        }
        for params in self.subscribed.values() {
            ask(method::RESOURCES_SUBSCRIBE, Some(params));
        }
        if self.is_initialized {
            lines.push(notification_line(method::INITIALIZED, None));
        }
        lines
    }

    /// What the client may have missed while there was no daemon.
    pub(super) fn news(&self) -> Vec<Bytes> {
        if !self.is_initialized {
            return Vec::new();
        }
        let lists = [
            method::TOOLS_CHANGED,
            method::PROMPTS_CHANGED,
            method::RESOURCES_CHANGED,
        ];
        let mut lines: Vec<Bytes> = lists.iter().map(|list| notification_line(list, None)).collect();
        for uri in self.subscribed.keys() {
            let params = Raw::of(&serde_json::json!({ "uri": uri }));
            lines.push(notification_line(method::RESOURCE_UPDATED, Some(&params)));
        }
        lines
    }
}

impl Hello {
    /// The parameters with the mark that this client has spoken before: it may still answer old questions.
    fn resumed(&self) -> Option<Raw> {
        let object = Object::of(self.params.as_ref()?)?;
        let meta = object
            .get("_meta")
            .filter(Raw::is_object)
            .unwrap_or_else(Raw::empty_object);
        let meta = Object::of(&meta)?.with(RESUMED, &Raw::of(&true));
        Some(object.with("_meta", &meta))
    }
}

/// The request that a notification takes back, if it takes one back.
fn cancelled(note: &Notification) -> Option<RequestId> {
    if note.method.as_str() != method::CANCELLED {
        return None;
    }
    let id = note.params.as_ref().and_then(Object::of)?.get("requestId")?;
    RequestId::parse(id).ok()
}

/// An id as a key: its text, so that `1` and `"1"` stay apart.
fn key(id: &RequestId) -> String {
    id.raw().as_str().to_owned()
}

fn insert<V>(map: &mut BTreeMap<String, V>, key: String, value: V) {
    if map.len() >= N_REMEMBERED_MAX {
        map.pop_first();
    }
    map.insert(key, value);
}

/// For the fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzed {
    use bytes::Bytes;

    /// What a shim remembers.
    #[derive(Debug, Default)]
    pub struct Memory(super::Memory);

    impl Memory {
        /// Whether what the client says goes on.
        pub fn heard_client(&mut self, line: &Bytes) -> bool {
            self.0.heard_client(line) == super::Onward::Pass
        }

        /// Whether what the daemon says goes on.
        pub fn heard_daemon(&mut self, line: &Bytes) -> bool {
            self.0.heard_daemon(line) == super::Onward::Pass
        }

        /// The daemon is gone, another comes: what the client hears of it, what the daemon hears, and the news.
        pub fn again(&mut self) -> [Vec<Bytes>; 3] {
            [self.0.lost(), self.0.replay(), self.0.news()]
        }
    }
}

#[cfg(test)]
mod tests {
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
        for id in ["1", r#""1""#, "2"] {
            memory.heard_client(&line(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call"}}"#
            )));
        }
        memory.heard_daemon(&line(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#));
        let lost = texts(&memory.lost());
        assert_eq!(lost.len(), 2, "{lost:?}");
        assert!(
            lost.iter()
                .any(|line| line.starts_with(r#"{"jsonrpc":"2.0","id":1,"error""#))
        );
        assert!(
            lost.iter()
                .any(|line| line.starts_with(r#"{"jsonrpc":"2.0","id":"1","error""#))
        );
        assert!(memory.lost().is_empty(), "each is told once");
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
        memory.lost();
        let replay = texts(&memory.replay());
        assert_eq!(
            replay,
            [
                r#"{"jsonrpc":"2.0","id":"mcp-wrapper-again-0","method":"initialize","params":{"protocolVersion":"2025-06-18","x":1.0,"_meta":{"mcp-wrapper/resumed":true}}}"#,
                r#"{"jsonrpc":"2.0","id":"mcp-wrapper-again-1","method":"logging/setLevel","params":{"level":"debug"}}"#,
                r#"{"jsonrpc":"2.0","id":"mcp-wrapper-again-2","method":"resources/subscribe","params":{"uri":"a://2"}}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            ]
        );
        let answer = r#"{"jsonrpc":"2.0","id":"mcp-wrapper-again-1","result":{}}"#;
        assert_eq!(memory.heard_daemon(&line(answer)), Onward::Drop);
        assert_eq!(texts(&memory.news()).len(), 4);
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
}
