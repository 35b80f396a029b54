//! Calls that ask their client before they answer, in rounds of one or more questions; the same in both eras.
//!
//! The arguments of the tool `interview`, or of any with `"do":"interview"`:
//!
//! | member | what it says |
//! | --- | --- |
//! | `rounds` | a list of rounds, each an object: key → `{"method":…,"params":…}`, and `withdraw`, see below |
//! | `ms` | before the first question |
//! | `steps` | so many steps of progress in each round, before its questions |
//! | `log` | a log message of this level in each round, before its questions |
//! | `strict` | legacy: an error in place of an answer ends the call in an error |
//! | `endless` | the last round comes again and again |
//! | `degrade` | a question that the client has not declared ends the interview, and the call is answered without it |
//! | `undeclared` | modern: asks what the client has not declared, which no server may |
//! | `state` | modern: `given` (without it) or `omitted`: whether `requestState` comes with the questions |
//! | `patience_ms` | legacy: how long it waits for an answer; progress on a question begins the time anew |
//! | `then` | after the last round: `fail` answers with the error -32000, `die` ends the process |
//! | `answer_open` | legacy: answers the call while the questions of the last round are open |
//!
//! A round without questions is only the `requestState`, in the legacy era nothing. `withdraw` (legacy) takes the
//! question back, `answer_open` answers the call: after so many milliseconds, or when the tool `release` is called with
//! this `word`.
//!
//! The answer is the text `{"rounds":N,"answers":[{KEY:RESULT,…},…]}`, each result as it came. A legacy client's error
//! is `{"error":…}`; a question taken back `{"withdrawn":true}`, one without an answer in time `{"late":true}`, one that
//! is still open `{"open":true}`, and one that was not asked `{"undeclared":true}`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::rounds::Request;
use crate::world::World;

/// Between two looks at what else may end the wait for an answer.
const LOOK: Duration = Duration::from_millis(5);
/// The same where only the end of the call may end it: many may wait so at once.
const LOOK_SELDOM: Duration = Duration::from_millis(50);

/// What is asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Interview {
    pub(crate) rounds: Vec<BTreeMap<String, Question>>,
    pub(crate) state: String,
    pub(crate) degrade: bool,
    pub(crate) undeclared: bool,
    pub(crate) endless: bool,
    ms: u64,
    steps: u64,
    log: Option<String>,
    strict: bool,
    patience_ms: Option<u64>,
    answer_open: Option<Until>,
    then: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Question {
    pub(crate) method: String,
    params: Option<Box<RawValue>>,
    withdraw: Option<Until>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Until {
    Ms(u64),
    Word(String),
}

/// The answers of one round by the keys of its questions, each as it came.
pub(crate) type Answers = BTreeMap<String, Box<RawValue>>;

/// One call that asks.
pub(crate) struct Interviewer {
    pub(crate) world: Arc<World>,
    pub(crate) request: Request,
    pub(crate) token: Option<String>,
    pub(crate) interview: Interview,
}

impl Question {
    pub(crate) fn new(method: &str, params: &str) -> Self {
        let params = RawValue::from_string(params.to_owned()).expect("the parameters are JSON");
        Self {
            method: method.to_owned(),
            params: Some(params),
            withdraw: None,
        }
    }

    /// A question of the kind that the name of a prompt or resource ends with.
    pub(crate) fn about(kind: &str) -> Self {
        match kind {
            "roots" => Self::new("roots/list", "{}"),
            "sampling" => Self::new(
                "sampling/createMessage",
                r#"{"messages":[{"role":"user","content":{"type":"text","text":"Who am I?"}}],"maxTokens":9}"#,
            ),
            _ => Self::new(
                "elicitation/create",
                r#"{"message":"Who are you?","requestedSchema":{"type":"object","properties":{"name":{"type":"string"}}}}"#,
            ),
        }
    }

    pub(crate) fn params(&self) -> &str {
        self.params.as_ref().map_or("{}", |raw| raw.get())
    }

    /// The capabilities it needs and the client has not.
    pub(crate) fn lacks(&self, declared: &Value) -> Option<Value> {
        let params: Value = serde_json::from_str(self.params()).unwrap_or_default();
        let elicitation = &declared["elicitation"];
        let (is_there, needed) = match self.method.as_str() {
            "elicitation/create" if params["mode"] == "url" => {
                let needed = json!({ "elicitation": { "url": {} } });
                (elicitation["url"].is_object(), needed)
            }
            "elicitation/create" => {
                // Declared without any mode, it is this one.
                let is_there = elicitation.is_object()
                    && (elicitation["form"].is_object() || elicitation["url"].is_null());
                (is_there, json!({ "elicitation": { "form": {} } }))
            }
            "sampling/createMessage" if params.get("tools").is_some() => {
                let is_there = declared["sampling"]["tools"].is_object();
                (is_there, json!({ "sampling": { "tools": {} } }))
            }
            "sampling/createMessage" => (declared["sampling"].is_object(), json!({ "sampling": {} })),
            "roots/list" => (declared["roots"].is_object(), json!({ "roots": {} })),
            _ => (true, Value::Null),
        };
        (!is_there).then_some(needed)
    }
}

impl Interview {
    /// One round with one question of this kind.
    pub(crate) fn about(kind: &str) -> Self {
        Self::of(vec![BTreeMap::from([(kind.to_owned(), Question::about(kind))])])
    }

    pub(crate) fn of(rounds: Vec<BTreeMap<String, Question>>) -> Self {
        Self {
            rounds,
            ..Self::default()
        }
    }

    /// The round with this number, from 0; `None` when there is no more.
    pub(crate) fn round(&self, n: usize) -> Option<&BTreeMap<String, Question>> {
        let last = self.rounds.len().checked_sub(1)?;
        self.rounds.get(if self.endless { n.min(last) } else { n })
    }

    /// What is needed for these questions and not declared, as one object of capabilities.
    pub(crate) fn lacking(round: &BTreeMap<String, Question>, declared: &Value) -> Option<Value> {
        let mut all: Option<Value> = None;
        for needed in round.values().filter_map(|question| question.lacks(declared)) {
            merge(all.get_or_insert_with(|| json!({})), needed);
        }
        all
    }
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert_with(|| json!({})), value);
            }
        }
        (into, more) => *into = more,
    }
}

/// The text of the answer.
pub(crate) fn told(answers: &[Answers]) -> String {
    let rounds = answers.len();
    let answers = serde_json::to_string(answers).expect("raw JSON can be written");
    format!(r#"{{"rounds":{rounds},"answers":{answers}}}"#)
}

pub(crate) fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("it is JSON")
}

impl Interviewer {
    /// Asks. The answers, when the call is to be answered now; `None` when it has been, or is not to be any more.
    pub(crate) fn run(&self) -> Option<Vec<Answers>> {
        let id = &self.request.id;
        if !self.world.wait(id, Duration::from_millis(self.interview.ms)) {
            return None;
        }
        let answers = if self.world.is_modern() {
            self.next_round()
        } else {
            self.all_rounds()
        };
        // Whoever was cancelled is not answered.
        let answers = answers.filter(|_| self.world.finish(id))?;
        match self.interview.then.as_str() {
            "die" => self.world.leave(3),
            "fail" => {
                self.world.refuse(id, -32000, "as it was told to");
                None
            }
            _ => Some(answers),
        }
    }

    /// Tells of progress under the token of this request; the numbers go on growing from round to round.
    pub(crate) fn progress(&self, round: usize) {
        let Some(token) = &self.token else { return };
        let before = u64::try_from(round).unwrap_or(0) * self.interview.steps;
        for step in 1..=self.interview.steps {
            let params = format!(r#"{{"progressToken":{token},"progress":{}}}"#, before + step);
            self.world.notify("notifications/progress", &params);
        }
    }

    /// Says so in the log; in the newer era only if this request wants to hear it.
    pub(crate) fn log(&self, round: usize) {
        let Some(level) = &self.interview.log else { return };
        if !self.world.is_modern() || self.world.speech.wants_log(&self.request.id, level) {
            let params = json!({ "level": level, "logger": "fake-child", "data": round });
            self.world.notify("notifications/message", &params.to_string());
        }
    }

    /// Asks one round after the other, as requests of our own.
    fn all_rounds(&self) -> Option<Vec<Answers>> {
        let mut all = Vec::new();
        while let Some(round) = self.interview.round(all.len()) {
            self.progress(all.len());
            self.log(all.len());
            let declared = self.world.client_capabilities();
            if self.interview.degrade && Interview::lacking(round, &declared).is_some() {
                all.push(same(round.keys(), r#"{"undeclared":true}"#));
                break;
            }
            let asked: Vec<_> = round
                .values()
                .map(|question| self.world.ask_as(&question.method, question.params()))
                .collect();
            self.world.journal.note(&format!("asked {}", all.len() + 1));
            let is_last = self.interview.round(all.len() + 1).is_none();
            if let (true, Some(until)) = (is_last, &self.interview.answer_open) {
                self.wait_until(until)?;
                all.push(same(round.keys(), r#"{"open":true}"#));
                break;
            }
            let mut answers = Answers::new();
            for ((key, question), (id, answer)) in round.iter().zip(asked) {
                answers.insert(key.clone(), self.answer(question, &id, &answer)?);
            }
            let is_error = |answer: &RawValue| answer.get().starts_with(r#"{"error":"#);
            if self.interview.strict && answers.values().any(|answer| is_error(answer)) {
                self.world.refuse(&self.request.id, -32603, "nobody answers");
                self.world.finish(&self.request.id);
                return None;
            }
            all.push(answers);
        }
        Some(all)
    }

    /// Waits for one answer. `None` when the call was cancelled meanwhile.
    fn answer(&self, question: &Question, id: &str, answer: &Receiver<String>) -> Option<Box<RawValue>> {
        let world = &self.world;
        let begun = Instant::now();
        let (mut since, mut n_heard) = (begun, world.n_progress_heard());
        let is_patient = question.withdraw.is_none() && self.interview.patience_ms.is_none();
        let look = if is_patient { LOOK_SELDOM } else { LOOK };
        loop {
            match answer.recv_timeout(look) {
                Ok(line) => return Some(said(&line)),
                Err(RecvTimeoutError::Disconnected) => return Some(raw("null")),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if !world.is_running(&self.request.id) {
                return None;
            }
            if question
                .withdraw
                .as_ref()
                .is_some_and(|until| self.is_due(until, begun))
            {
                let params = format!(r#"{{"requestId":{id},"reason":"taken back"}}"#);
                world.notify("notifications/cancelled", &params);
                return Some(raw(r#"{"withdrawn":true}"#));
            }
            if world.n_progress_heard() != n_heard {
                (since, n_heard) = (Instant::now(), world.n_progress_heard());
            }
            let patience = self.interview.patience_ms.map(Duration::from_millis);
            if patience.is_some_and(|patience| since.elapsed() >= patience) {
                return Some(raw(r#"{"late":true}"#));
            }
        }
    }

    fn wait_until(&self, until: &Until) -> Option<()> {
        let begun = Instant::now();
        while !self.is_due(until, begun) {
            if !self.world.wait(&self.request.id, LOOK) {
                return None;
            }
        }
        Some(())
    }

    fn is_due(&self, until: &Until, begun: Instant) -> bool {
        match until {
            Until::Ms(ms) => begun.elapsed() >= Duration::from_millis(*ms),
            Until::Word(word) => self.world.words.lock().unwrap().contains(word),
        }
    }
}

/// The same for each key.
pub(crate) fn same<'k>(keys: impl Iterator<Item = &'k String>, json: &str) -> Answers {
    keys.map(|key| (key.clone(), raw(json))).collect()
}

/// What a legacy client's answer says.
fn said(line: &str) -> Box<RawValue> {
    #[derive(Deserialize)]
    struct Line {
        result: Option<Box<RawValue>>,
        error: Option<Box<RawValue>>,
    }
    match serde_json::from_str(line) {
        Ok(Line {
            result: Some(result), ..
        }) => result,
        Ok(Line {
            error: Some(error), ..
        }) => raw(&format!(r#"{{"error":{error}}}"#)),
        _ => raw("null"),
    }
}
