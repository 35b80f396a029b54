//! What a client has said and what it waits for, as far as the next daemon has to know. Pure.
//!
//! Every line that is handed on is read, none is changed.

use bytes::Bytes;

use super::again::{Again, Answered};
use super::in_order::InOrder;
use crate::bridge::errors::lost_in_a_restart;
use crate::bridge::initialize::RESUMED;
use crate::rpc::mcp::method;
use crate::rpc::message::{notification_line, request_line, response_line};
use crate::rpc::object::Object;
use crate::rpc::{Incoming, Message, Notification, Raw, Request, RequestId, Response};

/// Whether a line goes on to the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Onward {
    Pass,
    Drop,
    /// These go on in its place.
    Instead(Vec<Bytes>),
}

/// What has to be known of one client. The oldest is forgotten where there is too much.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The client's handshake: the line as it came, and its parameters.
    hello: Option<Hello>,
    is_initialized: bool,
    /// The parameters of its last `logging/setLevel`.
    level: Option<Raw>,
    /// By URI, the parameters of `resources/subscribe`.
    subscribed: InOrder<Raw>,
    /// The client's requests without an answer, by the text of their ids.
    waiting: InOrder<Waits>,
    /// The daemon's requests without an answer, by the text of their ids.
    asked: InOrder<()>,
    /// Requests of a daemon that is gone: nobody waits for their answers.
    stale: InOrder<()>,
    /// What we say ourselves to the present daemon.
    again: Again,
}

/// A request of the client.
#[derive(Debug)]
struct Waits {
    id: RequestId,
    /// What counts from its answer on, if that is a good one.
    wants: Option<Wants>,
}

#[derive(Debug)]
enum Wants {
    /// A stream of changes (2026-07-28), which has no other answer than its end.
    Changes,
    Level(Raw),
    Subscribe {
        uri: String,
        params: Raw,
    },
    Unsubscribe {
        uri: String,
    },
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
                if self.asked.remove(&id).is_none() && self.stale.remove(&id).is_some() {
                    return Onward::Drop;
                }
            }
        }
        Onward::Pass
    }

    fn client_asks(&mut self, request: &Request, line: &Bytes) {
        let params = request.params.as_ref().map(Raw::compact);
        let method = request.method.as_str();
        // A second one is refused: the first counts.
        if method == method::INITIALIZE && self.hello.is_none() {
            self.hello = Some(Hello {
                id: request.id.compact(),
                line: Bytes::copy_from_slice(line),
                params: params.clone(),
            });
        }
        let waits = Waits {
            id: request.id.compact(),
            wants: params.and_then(|params| wants(method, params)),
        };
        self.waiting.insert(key(&request.id), waits);
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
                self.asked.insert(id, ());
                Onward::Pass
            }
            Message::Response(response) => self.daemon_answers(response),
            Message::Notification(note) => {
                if let Some(id) = cancelled(note) {
                    self.asked.remove(&key(&id));
                }
                if note.method.as_str() == method::RESOURCES_CHANGED {
                    self.again.resources_changed();
                }
                Onward::Pass
            }
        }
    }

    fn daemon_answers(&mut self, response: &Response) -> Onward {
        let Some(id) = response.id.as_ref().map(key) else {
            return Onward::Pass;
        };
        let is_good = response.outcome.is_ok();
        match self.again.answered(&id, is_good) {
            Some(Answered::Hello) => return Onward::Instead(self.news()),
            Some(Answered::Late(uri)) => return Onward::Instead(vec![updated(&uri)]),
            Some(Answered::Nothing) => return Onward::Drop,
            None => {}
        }
        let Some(answered) = self.waiting.remove(&id) else {
            return Onward::Pass;
        };
        // What was refused is not said to the next daemon.
        if !is_good {
            self.hello = self.hello.take().filter(|hello| key(&hello.id) != id);
            return Onward::Pass;
        }
        match answered.wants {
            Some(Wants::Level(params)) => self.level = Some(params),
            Some(Wants::Subscribe { uri, params }) => self.subscribed.insert(uri, params),
            Some(Wants::Unsubscribe { uri }) => drop(self.subscribed.remove(&uri)),
            Some(Wants::Changes) | None => {}
        }
        Onward::Pass
    }

    /// The daemon is gone: what the client hears of it. A handshake without an answer is no loss, for it is said again.
    pub(super) fn lost(&mut self) -> Vec<Bytes> {
        self.again = Again::default();
        let hello = self.hello.as_ref().map(|hello| key(&hello.id));
        let mut lines = Vec::new();
        for (id, ()) in self.asked.take_all() {
            lines.push(taken_back(&id));
            self.stale.insert(id, ());
        }
        let error = Err(lost_in_a_restart().raw());
        for (id, waits) in self.waiting.take_all() {
            if Some(&id) == hello.as_ref() {
                self.waiting.insert(id, waits);
            } else if matches!(waits.wants, Some(Wants::Changes)) {
                // How a server tells of the end of a stream for a cause; the client opens another.
                lines.push(taken_back(&id));
            } else {
                lines.push(response_line(Some(&waits.id), &error));
            }
        }
        lines
    }

    /// Whether the client's handshake has no answer yet.
    pub(super) fn waits_for_hello(&self) -> bool {
        let hello = self.hello.as_ref().map(|hello| key(&hello.id));
        hello.is_some_and(|id| self.waiting.contains(&id))
    }

    /// What the next daemon has to hear before anything else; more of it comes with its answers ([`Self::next_lines`]).
    pub(super) fn replay(&mut self) -> Vec<Bytes> {
        let Some(hello) = &self.hello else {
            return Vec::new();
        };
        if self.waits_for_hello() {
            // It was never answered: the client still waits for it.
            return vec![hello.line.clone()];
        }
        let id = self.again.hello();
        let mut lines = vec![request_line(&id, method::INITIALIZE, hello.resumed().as_ref())];
        if let Some(level) = &self.level {
            let id = self.again.level();
            lines.push(request_line(&id, method::SET_LEVEL, Some(level)));
        }
        // Before the subscriptions: who has not said so is not told of lists that change, and what the daemon does not
        // know yet is asked for again when they do.
        if self.is_initialized {
            lines.push(notification_line(method::INITIALIZED, None));
        }
        self.subscribed.keys().for_each(|uri| self.again.want(uri));
        lines.extend(self.next_lines());
        lines
    }

    /// Whether there is something to say to the daemon of our own.
    pub(super) fn has_more_to_say(&self) -> bool {
        self.again.has_more()
    }

    /// What is to be said to the daemon of our own.
    pub(super) fn next_lines(&mut self) -> Vec<Bytes> {
        let mut lines = Vec::new();
        while let Some((id, uri)) = self.again.next(|uri| self.subscribed.contains(uri)) {
            let params = self.subscribed.get(&uri);
            lines.push(request_line(&id, method::RESOURCES_SUBSCRIBE, params));
        }
        lines
    }

    /// What the client may have missed while there was no daemon.
    fn news(&self) -> Vec<Bytes> {
        if !self.is_initialized {
            return Vec::new();
        }
        let lists = [
            method::TOOLS_CHANGED,
            method::PROMPTS_CHANGED,
            method::RESOURCES_CHANGED,
        ];
        let lists = lists.iter().map(|list| notification_line(list, None));
        lists
            .chain(self.subscribed.keys().map(|uri| updated(uri)))
            .collect()
    }
}

fn wants(method: &str, params: Raw) -> Option<Wants> {
    let uri = || Object::of(&params)?.get_string("uri");
    match method {
        method::LISTEN => Some(Wants::Changes),
        method::SET_LEVEL => Some(Wants::Level(params)),
        method::RESOURCES_SUBSCRIBE => Some(Wants::Subscribe { uri: uri()?, params }),
        method::RESOURCES_UNSUBSCRIBE => Some(Wants::Unsubscribe { uri: uri()? }),
        _other => None,
    }
}

/// A request that ends with the daemon; its id as text.
fn taken_back(id: &str) -> Bytes {
    let params = format!(r#"{{"requestId":{id},"reason":"mcp-wrapper was restarted"}}"#);
    let params = Raw::parse(&params.into()).ok();
    notification_line(method::CANCELLED, params.as_ref())
}

fn updated(uri: &str) -> Bytes {
    let params = Raw::of(&serde_json::json!({ "uri": uri }));
    notification_line(method::RESOURCE_UPDATED, Some(&params))
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

        /// What is said to the daemon without the client.
        pub fn next_lines(&mut self) -> Vec<Bytes> {
            self.0.next_lines()
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
