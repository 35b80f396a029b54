//! Tools that ask their client. `interview` is in `interview.rs`; the others ask in one way each.
//!
//! | deed | what happens |
//! | --- | --- |
//! | `ask` | one question `method`, `params`, with `own_id` under the id of the call; answers with the line that came back |
//! | `ask_many` | `n` of them, one after the other or `together`; answers with the lines that came back |
//! | `interview` | rounds of questions |
//! | `release` | says the `word` that an interview waits for |
//! | `url_required` | the error -32042 with an elicitation for each of `ids`, until all are complete: `ms` later, or by `url_done` |
//! | `url_done` | completes the elicitation `id`, and tells so |
//!
//! A modern server asks by `input_required`. Then `ask` and `ask_many` answer `{"result":…}` in place of the line, and
//! `url_required` is one round with a question for each of `ids`, as 2026-07-28 knows no -32042.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::deeds::Call;
use crate::era;
use crate::interview::{Interview, Interviewer, Question, told};

/// Does what the call asks for. The call again when it is none of these.
pub(crate) fn run(call: Call, deed: &str) -> Option<Call> {
    match deed {
        "ask" if !call.world.is_modern() => call.in_background(Call::ask),
        "ask" => {
            let question = Question::new(&call.text("method"), &call.raw("params", "{}"));
            let rounds = vec![BTreeMap::from([("q1".to_owned(), question)])];
            call.in_background(move |call| call.interview(Interview::of(rounds), lines));
        }
        "ask_many" if !call.world.is_modern() => call.in_background(Call::ask_many),
        "ask_many" => {
            let rounds = call.many();
            call.in_background(move |call| call.interview(Interview::of(rounds), lines));
        }
        "interview" => match serde_json::from_str::<Interview>(&call.arguments) {
            Ok(interview) => call.in_background(move |call| call.interview(interview, told)),
            Err(why) => call.world.refuse(&call.id, -32602, &why.to_string()),
        },
        "release" => {
            call.world.words.lock().unwrap().insert(call.text("word"));
            call.echo();
        }
        "url_required" if call.world.is_modern() => {
            let question = |id: &String| (id.clone(), Question::new("elicitation/create", &url(id, false)));
            let rounds = vec![call.ids().iter().map(question).collect()];
            call.in_background(move |call| call.interview(Interview::of(rounds), told));
        }
        "url_required" => call.url_required(),
        "url_done" => {
            call.complete(&call.text("id"));
            call.echo();
        }
        _ => return Some(call),
    }
    None
}

/// The answers, each as the member `result` of a line.
fn lines(answers: &[BTreeMap<String, Box<serde_json::value::RawValue>>]) -> String {
    let all = answers.iter().flat_map(BTreeMap::values);
    let all: Vec<String> = all.map(|answer| format!(r#"{{"result":{answer}}}"#)).collect();
    all.join("\n")
}

/// The parameters of a question by URL; only 2025-11-25 knows its id.
fn url(id: &str, with_id: bool) -> String {
    let url = format!("https://x.example/{id}");
    let mut params = json!({ "mode": "url", "message": format!("Please open {id}"), "url": url });
    if with_id {
        params["elicitationId"] = json!(id);
    }
    params.to_string()
}

impl Call {
    fn interview(
        &self,
        interview: Interview,
        told: impl Fn(&[BTreeMap<String, Box<serde_json::value::RawValue>>]) -> String,
    ) {
        let interviewer = Interviewer {
            world: Arc::clone(&self.world),
            request: self.request.clone(),
            token: self.progress_token.clone(),
            interview,
        };
        if let Some(answers) = interviewer.run() {
            self.answer_text(&told(&answers));
        }
    }

    /// The questions of `ask_many`.
    fn many(&self) -> Vec<BTreeMap<String, Question>> {
        let method = self.text("method");
        let mut rounds = vec![BTreeMap::new()];
        for n in 1..=self.number("n", 2_u64) {
            let question = Question::new(&method, &format!(r#"{{"messages":[],"round":{n}}}"#));
            // Numbered so that the order of the keys is theirs.
            let round = BTreeMap::from([(format!("q{n:03}"), question)]);
            match self.text("together").is_empty() {
                true => rounds.push(round),
                false => rounds[0].extend(round),
            }
        }
        rounds.retain(|round| !round.is_empty());
        rounds
    }

    /// After `ms`, asks the client `method` with `params`; answers with the line that came back.
    ///
    /// `$TRACEPARENT` in the params is the call's own trace context. With `at_once` the call is answered before that,
    /// and the question belongs to no call; with `deaf` it goes on when it is cancelled, and answers late.
    fn ask(&self) {
        let before = Duration::from_millis(self.number("ms", 0));
        if !self.text("at_once").is_empty() {
            self.finish("asks later");
            thread::sleep(before);
        } else if !self.text("deaf").is_empty() {
            thread::sleep(before);
            let answer = self.world.ask(&self.text("method"), &self.raw("params", "{}"));
            let line = answer.recv().expect("the sender is kept until an answer comes");
            self.world.finish(&self.id);
            return self.answer_text(&line);
        } else if !self.world.wait(&self.id, before) {
            return self.dropped();
        }
        let method = self.text("method");
        let params = self
            .raw("params", "{}")
            .replace("$TRACEPARENT", &self.traceparent);
        if !era::may_ask(&self.world.options, &method, &params) {
            return self.finish("this server's revision cannot ask so");
        }
        let answer = if self.text("own_id").is_empty() {
            self.world.ask(&method, &params)
        } else {
            self.world.ask_under(self.id.clone(), &method, &params).1
        };
        let line = answer.recv().expect("the sender is kept until an answer comes");
        self.finish(&line);
    }

    /// Asks `n` times: one question after the other, or with `together` all before the first answer.
    ///
    /// Answers with the lines that came back, in the order of the questions.
    fn ask_many(&self) {
        let line =
            |answer: Receiver<String>| answer.recv().expect("the sender is kept until an answer comes");
        let mut lines = Vec::new();
        for round in self.many() {
            let ask = |question: &Question| self.world.ask(&question.method, question.params());
            let asked: Vec<_> = round.values().map(ask).collect();
            lines.extend(asked.into_iter().map(line));
        }
        self.finish(&lines.join("\n"));
    }

    fn ids(&self) -> Vec<String> {
        serde_json::from_str(&self.raw("ids", "[]")).expect("`ids` is a list of texts")
    }

    fn url_required(&self) {
        let ids = self.ids();
        let done = self.world.words.lock().unwrap().clone();
        let open: Vec<&String> = ids.iter().filter(|id| !done.contains(*id)).collect();
        if open.is_empty() {
            return self.echo();
        }
        let elicitations: Result<Vec<Value>, _> = open
            .iter()
            .map(|id| serde_json::from_str(&url(id, true)))
            .collect();
        let data = json!({ "elicitations": elicitations.expect("it was JSON") });
        let why = "This request requires more information.";
        self.world.refuse_with(&self.id, -32042, why, &data);
        let Ok(ms) = self.raw("ms", "").parse() else {
            return;
        };
        let (call, open): (_, Vec<String>) = (self.clone(), open.into_iter().cloned().collect());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(ms));
            for id in open {
                call.complete(&id);
            }
        });
    }

    fn complete(&self, id: &str) {
        self.world.words.lock().unwrap().insert(id.to_owned());
        let params = json!({ "elicitationId": id }).to_string();
        self.world.notify("notifications/elicitation/complete", &params);
    }
}
