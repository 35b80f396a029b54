//! The way back of one line: its answer alone, or the answers of a whole batch together.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::fault::Fault;
use super::outlet::{Outlet, lock};

/// Where the answers to one line go. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Alone(Outlet),
    Together(Arc<Batch>),
}

/// Answers that leave together, when nobody is left who could add one.
#[derive(Debug)]
pub(super) struct Batch {
    outlet: Outlet,
    answers: Mutex<Vec<Value>>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        let answers = std::mem::take(&mut *lock(&self.answers));
        // Source: JSON-RPC 2.0, "Batch": a batch of notifications only gets no answer, not an empty one.
        if !answers.is_empty() {
            self.outlet.write(&Value::Array(answers));
        }
    }
}

impl Reply {
    pub(super) fn alone(outlet: &Outlet) -> Self {
        Self::Alone(outlet.clone())
    }

    pub(super) fn together(outlet: &Outlet) -> Self {
        Self::Together(Arc::new(Batch {
            outlet: outlet.clone(),
            answers: Mutex::default(),
        }))
    }

    pub(super) fn answer(&self, id: &Value, result: Value) {
        self.send(json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    }

    pub(super) fn refuse(&self, id: &Value, fault: Fault) {
        self.send(json!({ "jsonrpc": "2.0", "id": id, "error": fault.into_json() }));
    }

    fn send(&self, answer: Value) {
        match self {
            Self::Alone(outlet) => outlet.write(&answer),
            Self::Together(batch) => lock(&batch.answers).push(answer),
        }
    }
}
