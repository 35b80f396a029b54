//! One client's book: what it asked, what it must hear, and that it hears nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::stamp_of;
use crate::harness::peer::Heard;
use crate::harness::{Door, request};

/// What a call does in the child.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    Sleep { ms: usize },
    Progress { n: usize, ms: usize },
    Log { n: usize },
    Ask { method: &'static str },
    Fail,
}

/// One call of a script.
#[derive(Debug, Clone, Copy)]
pub(super) struct Op {
    pub(super) deed: Deed,
    /// Taken back when so many more have begun.
    pub(super) cancelled_after: Option<usize>,
    pub(super) has_token: bool,
}

#[derive(Debug)]
struct Call {
    op: Op,
    id: Value,
    arguments: Value,
    exchange: Option<usize>,
    n_steps: usize,
    n_logs: usize,
    n_answers: usize,
    is_cancelled: bool,
    /// Nothing more is waited for.
    is_over: bool,
}

/// The book of one client.
pub(super) struct Ledger {
    pub(super) who: String,
    pub(super) door: Door,
    pub(super) is_alone: bool,
    pub(super) n_steps: usize,
    pub(super) n_logs: usize,
    seed: u64,
    calls: Vec<Call>,
    /// By the id under which we were asked: the stamp of the call that asks.
    questions: BTreeMap<String, String>,
    withdrawn: BTreeSet<String>,
    /// Questions that came after the answer to the call that asked: of several calls of one client another one was
    /// taken for it, ended, and took the question with it.
    late: BTreeSet<String>,
}

impl Ledger {
    pub(super) fn new(who: &str, door: Door, seed: u64) -> Self {
        Self {
            who: who.to_owned(),
            door,
            is_alone: false,
            n_steps: 0,
            n_logs: 0,
            seed,
            calls: Vec::new(),
            questions: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            late: BTreeSet::new(),
        }
    }

    pub(super) fn n_open(&self) -> usize {
        self.calls.iter().filter(|call| !call.is_over).count()
    }

    pub(super) fn n_questions(&self) -> usize {
        self.questions.len()
    }

    fn stamp(&self, call: usize) -> String {
        format!("{}-{call}", self.who)
    }

    /// The call that bears this stamp; a stamp of another client is what must not happen.
    #[track_caller]
    fn stamped(&self, stamp: &Value, heard: &str) -> usize {
        let own = stamp
            .as_str()
            .and_then(|stamp| stamp.strip_prefix(&self.who)?.strip_prefix('-'));
        own.and_then(|n| n.parse().ok())
            .unwrap_or_else(|| self.fail("is another client's", heard))
    }

    #[track_caller]
    fn fail(&self, why: &str, heard: &str) -> ! {
        panic!("seed {}, {}: {why}: {heard}", self.seed, self.who)
    }

    #[track_caller]
    fn must(&self, holds: bool, why: &str, heard: &str) {
        if !holds {
            self.fail(why, heard);
        }
    }

    /// Ids are the same in every client: 0, "0", 1, "1", and so on; tokens are too, each of the other kind.
    fn names(call: usize) -> (Value, Value) {
        let (number, text) = (json!(call / 2), json!((call / 2).to_string()));
        if call.is_multiple_of(2) {
            (number, text)
        } else {
            (text, number)
        }
    }

    /// Notes a call, and gives its text.
    pub(super) fn begin(&mut self, op: Op) -> (usize, String) {
        let call = self.calls.len();
        let stamp = self.stamp(call);
        let arguments = match op.deed {
            Deed::Sleep { ms } => json!({ "do": "sleep", "ms": ms, "stamp": stamp }),
            Deed::Progress { n, ms } => {
                json!({ "do": "progress", "n": n, "ms": ms, "message": stamp, "stamp": stamp })
            }
            Deed::Log { n } => json!({ "do": "log", "n": n, "data": stamp, "stamp": stamp }),
            Deed::Ask { method } => {
                let params = json!({ "message": stamp, "messages": [], "stamp": stamp });
                json!({ "do": "ask", "method": method, "params": params, "stamp": stamp })
            }
            Deed::Fail => {
                let error = json!({ "code": -32050, "message": stamp });
                json!({ "do": "raw_error", "error": error, "stamp": stamp })
            }
        };
        let (id, token) = Self::names(call);
        let mut params = json!({ "name": "a__echo", "arguments": arguments });
        if op.has_token {
            params["_meta"] = json!({ "progressToken": token });
        }
        let text = request(id.clone(), "tools/call", params);
        self.calls.push(Call {
            op,
            id,
            arguments,
            exchange: None,
            n_steps: 0,
            n_logs: 0,
            n_answers: 0,
            is_cancelled: false,
            is_over: false,
        });
        (call, text)
    }

    pub(super) fn on_exchange(&mut self, call: usize, exchange: Option<usize>) {
        self.calls[call].exchange = exchange;
    }

    /// Notes that a call is taken back, and gives the text that says so.
    pub(super) fn cancel(&mut self, call: usize) -> String {
        let call = &mut self.calls[call];
        call.is_cancelled = true;
        // Whether an answer is still on its way nobody can know; over HTTP the exchange ends in any case.
        call.is_over |= call.exchange.is_none();
        let params = json!({ "requestId": call.id, "reason": "no longer wanted" });
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }).to_string()
    }

    /// Takes in what was heard. Gives the answer to a question.
    pub(super) fn hear(&mut self, heard: Heard) -> Option<String> {
        let Some(text) = heard.text else {
            let at = self.calls.iter().position(|call| call.exchange == heard.exchange);
            let call = &mut self.calls[at.unwrap()];
            call.is_over = true;
            let ended_well = call.n_answers == 1 || call.is_cancelled;
            self.must(
                ended_well,
                "the exchange ended without an answer",
                &format!("{at:?}"),
            );
            return None;
        };
        let message: Value = serde_json::from_str(&text).unwrap();
        match (message["method"].as_str(), message.get("id")) {
            (None, Some(id)) => self.answered(id, &message, heard.exchange, &text),
            (Some("notifications/progress"), None) => {
                self.progressed(&message["params"], heard.exchange, &text)
            }
            (Some("notifications/message"), None) => self.logged(&message["params"], &text),
            (Some("notifications/cancelled"), None) => {
                self.withdrawn.insert(message["params"]["requestId"].to_string());
            }
            (Some(method), Some(id)) => return Some(self.asked(method, id, &message["params"], &text)),
            _ => self.fail("is not for this client", &text),
        }
        None
    }

    fn answered(&mut self, id: &Value, message: &Value, exchange: Option<usize>, text: &str) {
        let at = self.calls.iter().position(|call| call.id == *id);
        let at = at.unwrap_or_else(|| self.fail("answers nothing", text));
        let call = &self.calls[at];
        self.must(call.n_answers == 0, "is a second answer", text);
        self.must(call.exchange == exchange, "came on another exchange", text);
        let error = &message["error"];
        if call.is_cancelled && error["data"]["reason"] == "cancelled" {
            self.must(self.door == Door::Http, "a cancelled call is not answered", text);
        } else {
            self.must_be_own_answer(at, message, text);
        }
        let call = &mut self.calls[at];
        call.n_answers += 1;
        call.is_over |= call.exchange.is_none();
    }

    fn must_be_own_answer(&self, at: usize, message: &Value, text: &str) {
        let (call, stamp) = (&self.calls[at], self.stamp(at));
        let told = message["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default();
        match call.op.deed {
            Deed::Fail => self.must(
                message["error"]["message"] == json!(stamp),
                "is not its own error",
                text,
            ),
            Deed::Ask { .. } => {
                let reply: Value = serde_json::from_str(told).unwrap_or_else(|_| self.fail("no reply", text));
                let own_id = reply["id"].as_str().is_some_and(|id| id.starts_with("ask-"));
                self.must(own_id, "the child's id is not its own", text);
                match stamp_of(&reply["result"]) {
                    Some(answered) => self.must(answered == stamp, "is the answer to another question", text),
                    None => self.must(!self.is_alone, "was refused, and no other client called", text),
                }
            }
            Deed::Sleep { .. } | Deed::Progress { .. } | Deed::Log { .. } => {
                let echoed: Value = serde_json::from_str(told).unwrap_or(Value::Null);
                self.must(echoed == call.arguments, "is not its own result", text);
            }
        }
        match call.op.deed {
            Deed::Progress { n, .. } if call.op.has_token => {
                self.must(call.n_steps == n, "came before all of its progress", text);
            }
            Deed::Log { n } if self.is_alone => self.must(call.n_logs == n, "came before its log", text),
            Deed::Sleep { .. } | Deed::Progress { .. } | Deed::Log { .. } | Deed::Ask { .. } | Deed::Fail => {
            }
        }
    }

    fn progressed(&mut self, params: &Value, exchange: Option<usize>, text: &str) {
        let at = self.stamped(&params["message"], text);
        let call = &self.calls[at];
        let (_, token) = Self::names(at);
        self.must(call.op.has_token, "nobody asked for progress", text);
        // Equal as JSON: "1" is not 1.
        self.must(params["progressToken"] == token, "is another token", text);
        self.must(call.n_answers == 0, "came after the answer", text);
        self.must(call.exchange == exchange, "came on another exchange", text);
        self.must(
            params["progress"] == json!(call.n_steps + 1),
            "is out of order",
            text,
        );
        self.calls[at].n_steps += 1;
        self.n_steps += 1;
    }

    fn logged(&mut self, params: &Value, text: &str) {
        let at = self.stamped(&params["data"], text);
        self.must(params["logger"] == "a/fake-child", "is another logger", text);
        self.calls[at].n_logs += 1;
        self.n_logs += 1;
    }

    fn asked(&mut self, method: &str, id: &Value, params: &Value, text: &str) -> String {
        let at = self.stamped(&params["stamp"], text);
        let (call, stamp) = (&self.calls[at], self.stamp(at));
        let is_its = matches!(call.op.deed, Deed::Ask { method: asked } if asked == method);
        self.must(is_its, "is no question of this call", text);
        if call.n_answers > 0 {
            self.late.insert(id.to_string());
        }
        self.must(
            call.n_answers == 0 || !self.is_alone,
            "came after the answer",
            text,
        );
        if method == "elicitation/create" {
            self.must(
                params["message"] == json!(format!("[a] {stamp}")),
                "does not say who asks",
                text,
            );
        }
        let before = self.questions.insert(id.to_string(), stamp.clone());
        self.must(before.is_none(), "has an id that was used already", text);
        let result = json!({ "action": "accept", "role": "assistant", "stamp": stamp });
        json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()
    }

    /// Stamps of the questions that were put to this client, and whether each was left to it to answer.
    pub(super) fn put(&self) -> impl Iterator<Item = (&str, bool)> {
        self.questions
            .iter()
            .map(|(id, stamp)| (stamp.as_str(), !self.withdrawn.contains(id)))
    }

    /// Whether this stamp is of a call that this client has taken back; `None`: of another client's.
    pub(super) fn has_cancelled(&self, stamp: &str) -> Option<bool> {
        let n: usize = stamp.strip_prefix(&self.who)?.strip_prefix('-')?.parse().ok()?;
        Some(self.calls[n].is_cancelled)
    }

    /// When all is over: every call that was not taken back has its one answer.
    pub(super) fn check(&self) {
        for (at, call) in self.calls.iter().enumerate() {
            let is_right = call.n_answers == 1 || call.is_cancelled && call.n_answers == 0;
            self.must(is_right, "has not its one answer", &self.stamp(at));
        }
        for id in &self.late {
            let asker = &self.questions[id];
            let is_right = self.withdrawn.contains(id) || self.has_cancelled(asker) == Some(true);
            self.must(is_right, "came after the answer, and stands", id);
        }
        for id in &self.withdrawn {
            self.must(self.questions.contains_key(id), "was never asked", id);
        }
    }
}
