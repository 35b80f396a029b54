//! What the child noted, in the order of its wire: whom it may have asked, and what it heard.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ledger::Ledger;
use super::stamp_of;

/// One question of the child.
#[derive(Debug, Default)]
struct Question {
    stamp: String,
    /// Calls of other clients on which the child worked.
    others: Vec<String>,
    /// What came back.
    replies: Vec<Value>,
}

/// The journal of a process that clients share.
pub(super) struct Journal {
    seed: u64,
    questions: BTreeMap<String, Question>,
    /// The stamps of calls that the child was told to cancel.
    cancelled: BTreeSet<String>,
}

impl Journal {
    pub(super) fn read(lines: &[String], seed: u64) -> Self {
        let lines: Vec<Line> = lines.iter().filter_map(|line| parsed(line)).collect();
        let mut journal = Self {
            seed,
            questions: BTreeMap::new(),
            cancelled: BTreeSet::new(),
        };
        let (mut stamps, mut in_flight) = (BTreeMap::new(), BTreeMap::new());
        for line in &lines {
            let (is_in, message) = match line {
                Line::Wire { is_in, message } => (is_in, message),
                // Cancelled, and no longer worked on: what the child asks from now on is of another call.
                Line::Dropped(id) => {
                    in_flight.remove(id);
                    continue;
                }
            };
            if let Some(id) = cancelled_id(*is_in, message) {
                let stamp: &String = stamps.get(&id).expect("cancelled is what was called");
                journal.cancelled.insert(stamp.clone());
                continue;
            }
            match (is_in, message["method"].as_str(), &message["id"]) {
                (true, Some("tools/call"), id) => {
                    let id = id.as_u64().expect("our ids are numbers");
                    let token = message["params"]["_meta"]["progressToken"].as_u64();
                    assert_eq!(token, Some(id), "seed {seed}: the child's token is ours");
                    let stamp = stamp_of(&message["params"]["arguments"]).unwrap().to_owned();
                    assert!(
                        stamps.insert(id, stamp.clone()).is_none(),
                        "seed {seed}: {id} was used twice"
                    );
                    // Until it is answered, and if it is cancelled: the child may go on with it.
                    in_flight.insert(id, stamp);
                }
                (false, None, Value::Number(id)) => {
                    in_flight.remove(&id.as_u64().unwrap());
                }
                (false, Some(_asked), Value::String(id)) => {
                    let stamp = stamp_of(&message["params"]).unwrap().to_owned();
                    let is_anothers = |other: &&String| owner(other) != owner(&stamp);
                    let others = in_flight.values().filter(is_anothers).cloned().collect();
                    let question = Question {
                        stamp,
                        others,
                        replies: Vec::new(),
                    };
                    journal.questions.insert(id.clone(), question);
                }
                (true, None, Value::String(id)) => {
                    let question = journal
                        .questions
                        .get_mut(id)
                        .expect("an answer to what was asked");
                    question.replies.push(message.clone());
                }
                _ => {}
            }
        }
        journal
    }

    pub(super) fn is_all_answered(&self) -> bool {
        self.questions
            .values()
            .all(|question| !question.replies.is_empty())
    }

    pub(super) fn n_cancelled(&self) -> usize {
        self.cancelled.len()
    }

    /// Questions that nobody may have seen.
    pub(super) fn n_to_refuse(&self) -> usize {
        self.questions
            .values()
            .filter(|question| !question.others.is_empty())
            .count()
    }

    /// That it agrees with what one client saw.
    pub(super) fn check(&self, ledger: &Ledger) {
        let seed = self.seed;
        let put: BTreeMap<&str, bool> = ledger.put().collect();
        for (id, question) in &self.questions {
            let context = format!("seed {seed}, {}: {id} {question:?}", ledger.who);
            assert_eq!(question.replies.len(), 1, "{context}");
            let answered = stamp_of(&question.replies[0]["result"]);
            assert!(answered.is_none_or(|stamp| stamp == question.stamp), "{context}");
            match put.get(question.stamp.as_str()) {
                Some(_) if !question.others.is_empty() => panic!("it was guessed whom to ask: {context}"),
                Some(true) => assert!(answered.is_some(), "the answer was lost: {context}"),
                Some(false) => {}
                None if owner(&question.stamp) == ledger.who => {
                    assert!(answered.is_none(), "who answered? {context}");
                }
                None => {}
            }
        }
        for stamp in &self.cancelled {
            assert_ne!(
                ledger.has_cancelled(stamp),
                Some(false),
                "seed {seed}: {stamp} was not taken back by its client"
            );
        }
    }
}

fn owner(stamp: &str) -> &str {
    stamp.split('-').next().unwrap()
}

/// What the child noted of a call.
enum Line {
    /// A message that it heard, or said.
    Wire { is_in: bool, message: Value },
    /// It has given up a cancelled call.
    Dropped(u64),
}

fn parsed(line: &str) -> Option<Line> {
    let (event, text) = line.split_once(' ')?;
    let is_in = match event {
        "in" => true,
        "out" => false,
        "dropped" => return Some(Line::Dropped(text.parse().expect("our ids are numbers"))),
        _another => return None,
    };
    let message = serde_json::from_str(text).ok()?;
    Some(Line::Wire { is_in, message })
}

fn cancelled_id(is_in: bool, message: &Value) -> Option<u64> {
    let is_it = is_in && message["method"] == "notifications/cancelled";
    message["params"]["requestId"].as_u64().filter(|_| is_it)
}
