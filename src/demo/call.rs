//! One long request while it is worked on: what its thread may do to the client, and what stops it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::calls::{Calls, Mailbox, Said, Stopped};
use super::outlet::Outlet;
use super::server::{Client, LogLevel, Params};

/// How long a person may think about a question.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the client said about itself in `initialize`.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer {
    /// The revision agreed on; empty before `initialize`.
    pub(super) revision: &'static str,
    pub(super) capabilities: Params,
}

impl Peer {
    /// Whether it shows forms to a person. Source: MCP 2025-11-25, elicitation, "Capabilities": none means form.
    fn shows_forms(&self) -> bool {
        match self.capabilities.get("elicitation") {
            Some(Value::Object(modes)) => modes.is_empty() || modes.contains_key("form"),
            Some(_) | None => false,
        }
    }
}

/// A request that has a thread of its own.
#[derive(Debug)]
pub(super) struct Call {
    outlet: Outlet,
    calls: Calls,
    mailbox: Arc<Mailbox>,
    peer: Arc<Peer>,
    /// Given back as it came: it may be a text or a number.
    progress_token: Option<Value>,
}

impl Call {
    pub(super) fn new(
        outlet: &Outlet,
        calls: &Calls,
        mailbox: Arc<Mailbox>,
        peer: &Arc<Peer>,
        params: &Params,
    ) -> Self {
        let token = params.get("_meta").and_then(|meta| meta.get("progressToken"));
        Self {
            outlet: outlet.clone(),
            calls: calls.clone(),
            mailbox,
            peer: Arc::clone(peer),
            progress_token: token
                .filter(|token| token.is_string() || token.is_number())
                .cloned(),
        }
    }

    /// Lets time pass, unless the answer is not wanted any more.
    pub(super) fn pause(&self, time: Duration) -> Result<(), Stopped> {
        if self.outlet.is_closed() {
            return Err(Stopped);
        }
        self.mailbox.pause(time)
    }

    /// Tells how far the work is, if the client asked to be told.
    pub(super) fn progress(&mut self, done: u64, total: u64, message: &str) {
        if let Some(token) = self.progress_token.clone() {
            let params =
                json!({ "progressToken": token, "progress": done, "total": total, "message": message });
            self.notify("notifications/progress", params);
        }
    }

    /// Whether a person can be asked.
    pub(super) fn shows_forms(&self) -> bool {
        self.peer.shows_forms()
    }

    /// Asks a person to fill in a form. The error is the client's sentence, or ours when nobody answered.
    pub(super) fn ask_form(&mut self, message: &str, schema: &Value) -> Result<Said, Stopped> {
        let params = match self.peer.revision {
            // The mode is said since the revision that knows another one.
            "2025-11-25" => json!({ "mode": "form", "message": message, "requestedSchema": schema }),
            _ => json!({ "message": message, "requestedSchema": schema }),
        };
        self.ask("elicitation/create", &params)
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Said, Stopped> {
        let id = self.calls.begin_question(&self.mailbox);
        self.outlet
            .write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let answered = self.mailbox.answer_to(id, PATIENCE);
        if let Ok(Some(said)) = answered {
            return Ok(said);
        }
        self.calls.forget_question(id);
        let withdrawn = json!({ "requestId": id, "reason": "the question is not needed any more" });
        self.outlet.notify("notifications/cancelled", withdrawn);
        answered.map(|_| Err("nobody answered the question in time".to_owned()))
    }
}

impl Client for Call {
    fn notify(&mut self, method: &str, params: Value) {
        if !self.mailbox.is_stopped() {
            self.outlet.notify(method, params);
        }
    }

    fn log_level(&self) -> Option<LogLevel> {
        self.outlet.log_level()
    }
}
