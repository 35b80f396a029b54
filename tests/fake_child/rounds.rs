//! Questions of a server of 2026-07-28: a request is answered with `input_required`, and its retry brings the answers.
//!
//! Between two rounds the server holds nothing: all is in the `requestState`, so that a new process can go on. That the
//! client keeps the rules is looked at with each retry, and goes to the journal:
//!
//! | line | what it says |
//! | --- | --- |
//! | `retry ok id=41 round=1 state=exact keys=a,b extra=` | the answers to round 1; `state=none` without a `requestState` |
//! | `retry partial id=41 round=1 missing=b` | not all; what is missing is asked once more |
//! | `retry WRONG id=41: …` | the error -32602 was the answer |
//!
//! Wrong are: a `requestState` that was changed in any byte, is absent, or was never given; the id of an earlier round; and
//! other parameters than those of the first round.
//!
//! Source: MCP 2026-07-28, `basic/patterns/mrtr`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::interview::{Answers, Interview, Interviewer, Question, same};
use crate::methods::{Members, text};
use crate::modern;

/// Behind each state: what is often changed on the way.
const TAIL: &str = "/+=\"\\\u{e9}\u{1f600} \u{2028}";

/// A request that may be a retry.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// As it came.
    pub(crate) id: String,
    /// Of its method and parameters, apart from what a retry changes.
    digest: String,
    state: Option<String>,
    responses: Option<Answers>,
}

/// What goes through the client.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    /// The round that was asked last, from 0.
    round: usize,
    ids: Vec<String>,
    digest: String,
    /// Of the rounds that are over.
    answers: Vec<Answers>,
    /// Of the round that was asked last, when they did not all come at once.
    partial: Answers,
}

impl Request {
    pub(crate) fn new(id: &str, method: &str, params: &Members<'_>) -> Self {
        let mut digested = method.to_owned();
        for (key, value) in params {
            if !["_meta", "inputResponses", "requestState"].contains(&key.as_str()) {
                digested.push_str(&format!("\n{}={value}", key.as_str()));
            }
        }
        let responses = params.get("inputResponses");
        Self {
            id: id.to_owned(),
            digest: fnv(digested.as_bytes()),
            state: params.get("requestState").map(|_| text(params, "requestState")),
            // What is no object of answers answers nothing.
            responses: responses.map(|raw| serde_json::from_str(raw.get()).unwrap_or_default()),
        }
    }
}

impl Interviewer {
    /// Takes the answers of the last round, and asks the next. The answers of all, when there is no more to ask.
    pub(crate) fn next_round(&self) -> Option<Vec<Answers>> {
        let mut state = match self.state() {
            Ok(state) => state,
            Err(why) => {
                self.note(&format!("WRONG id={}: {why}", self.request.id));
                if self.world.finish(&self.request.id) {
                    let why = "Invalid or expired requestState";
                    self.world.refuse(&self.request.id, -32602, why);
                }
                return None;
            }
        };
        let is_retry = self.request.state.is_some() || self.request.responses.is_some();
        if is_retry && let Some(missing) = self.take(&mut state) {
            return self.ask(state, &missing);
        }
        let Some(round) = self.interview.round(state.round) else {
            return Some(state.answers);
        };
        self.progress(state.round);
        self.log(state.round);
        let round = round.clone();
        self.ask(state, &round)
    }

    /// Takes what has come. What is missing, if anything is.
    fn take(&self, state: &mut State) -> Option<BTreeMap<String, Question>> {
        let id = &self.request.id;
        let asked = self.interview.round(state.round).cloned().unwrap_or_default();
        let came = self.request.responses.clone().unwrap_or_default();
        let (known, extra): (Answers, Answers) =
            came.into_iter().partition(|(key, _)| asked.contains_key(key));
        state.partial.extend(known);
        let missing: BTreeMap<_, _> = asked
            .into_iter()
            .filter(|(key, _)| !state.partial.contains_key(key))
            .collect();
        let round = state.round + 1;
        if !missing.is_empty() {
            let keys = listed(missing.keys());
            self.note(&format!("partial id={id} round={round} missing={keys}"));
            return Some(missing);
        }
        let how = match self.request.state {
            Some(_) => "exact",
            None => "none",
        };
        let (keys, extra) = (listed(state.partial.keys()), listed(extra.keys()));
        self.note(&format!(
            "ok id={id} round={round} state={how} keys={keys} extra={extra}"
        ));
        state.answers.push(std::mem::take(&mut state.partial));
        state.round = round;
        None
    }

    /// Answers with these questions, if the client has declared that it can answer them.
    fn ask(&self, mut state: State, questions: &BTreeMap<String, Question>) -> Option<Vec<Answers>> {
        let (world, id) = (&self.world, &self.request.id);
        let declared = world.speech.said(id).capabilities;
        if let Some(lacking) = Interview::lacking(questions, &declared).filter(|_| !self.interview.undeclared)
        {
            if self.interview.degrade {
                let undeclared = same(questions.keys(), r#"{"undeclared":true}"#);
                state.answers.push(undeclared);
                return Some(state.answers);
            }
            if world.finish(id) {
                modern::refuse_incapable(world, id, &lacking);
            }
            return None;
        }
        state.ids.push(id.clone());
        self.remember();
        let mut result = vec![r#""resultType":"input_required""#.to_owned()];
        if !questions.is_empty() {
            let one = |(key, question): (&String, &Question)| {
                let (method, params) = (&question.method, question.params());
                format!(r#"{}:{{"method":"{method}","params":{params}}}"#, json!(key))
            };
            let all: Vec<String> = questions.iter().map(one).collect();
            result.push(format!(r#""inputRequests":{{{}}}"#, all.join(",")));
        }
        if self.gives_state() {
            result.push(format!(r#""requestState":{}"#, json!(sealed(&state))));
        }
        if world.finish(id) {
            world.answer(id, format!("{{{}}}", result.join(",")).as_bytes());
        }
        None
    }

    /// Where the interview stands, as the request tells it.
    fn state(&self) -> Result<State, String> {
        let Request {
            id,
            digest,
            state,
            responses,
        } = &self.request;
        let known = match (state, responses, self.gives_state()) {
            (None, None, _) => {
                return Ok(State {
                    digest: digest.clone(),
                    ..State::default()
                });
            }
            (Some(state), _, true) => opened(state).ok_or("its requestState is not what was given")?,
            (None, Some(_), true) => return Err("it has no requestState".to_owned()),
            (Some(_), _, false) => return Err("it has a requestState, and none was given".to_owned()),
            (None, Some(came), false) => State {
                round: self.round_of(came),
                ids: self.remembered(),
                digest: digest.clone(),
                ..State::default()
            },
        };
        if known.ids.contains(id) {
            return Err("its id is that of an earlier round".to_owned());
        }
        if known.digest != *digest {
            return Err("its parameters are not those of the first round".to_owned());
        }
        Ok(known)
    }

    fn gives_state(&self) -> bool {
        self.interview.state != "omitted"
    }

    /// Without a state the keys tell the round.
    fn round_of(&self, came: &Answers) -> usize {
        let asked = |round: &BTreeMap<String, Question>| round.keys().any(|key| came.contains_key(key));
        self.interview.rounds.iter().rposition(asked).unwrap_or(0)
    }

    /// The ids under which the same was asked before, of this process: without a state nothing else tells them.
    fn remembered(&self) -> Vec<String> {
        let all = self.world.retried.lock().unwrap();
        all.get(&self.request.digest).cloned().unwrap_or_default()
    }

    fn remember(&self) {
        let mut all = self.world.retried.lock().unwrap();
        let ids = all.entry(self.request.digest.clone()).or_default();
        ids.push(self.request.id.clone());
    }

    fn note(&self, what: &str) {
        self.world.journal.note(&format!("retry {what}"));
    }
}

fn listed<'k>(keys: impl Iterator<Item = &'k String>) -> String {
    keys.cloned().collect::<Vec<_>>().join(",")
}

fn sealed(state: &State) -> String {
    let json = serde_json::to_string(state).expect("a state can be written");
    let hex: String = json.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("s1.{hex}.{}{TAIL}", fnv(json.as_bytes()))
}

/// `None` when it is not, byte for byte, what was sealed.
fn opened(sealed: &str) -> Option<State> {
    let (hex, seal) = sealed.strip_prefix("s1.")?.strip_suffix(TAIL)?.split_once('.')?;
    let bytes: Option<Vec<u8>> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let json = String::from_utf8(bytes?).ok()?;
    if fnv(json.as_bytes()) != seal {
        return None;
    }
    serde_json::from_str(&json).ok()
}

/// FNV-1a, which is no secret: this server has nothing to protect.
fn fnv(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
