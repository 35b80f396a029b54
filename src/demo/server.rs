//! What a demo has to provide, and what it may do to its client while it answers.
//!
//! `initialize`, `ping` and `logging/setLevel` are answered by [`super::wire`] for every demo.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::calls::Stopped;
use super::fault::Fault;
use super::outlet::Outlet;

/// The params of a request, or the arguments of a tool.
pub(super) type Params = Map<String, Value>;

/// How a demo introduces itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct About {
    /// `serverInfo.name`.
    pub(super) name: &'static str,
    /// `serverInfo.title`.
    pub(super) title: &'static str,
    /// For the model: what the server is good for and how to use it.
    pub(super) instructions: String,
    /// Capabilities beside `logging`, which every demo has.
    pub(super) capabilities: Params,
}

/// A long request, ready to be worked on in a thread of its own.
pub(super) type Work = Box<dyn FnOnce(&mut Call) -> Result<Value, Stopped> + Send>;

/// One demo.
pub(super) trait DemoServer {
    /// How it introduces itself.
    fn about(&self) -> About;

    /// The conversation begins. A demo that speaks unasked keeps the outlet.
    fn begin(&mut self, _outlet: &Outlet) {}

    /// The work of a request that takes long, so that others are answered meanwhile.
    /// `None` for every other request: it goes to [`Self::answer`].
    fn long_work(&mut self, _method: &str, _params: &Params) -> Result<Option<Work>, Fault> {
        Ok(None)
    }

    /// The result of one request, at once.
    fn answer(&mut self, method: &str, params: &Params, client: &mut dyn Client) -> Result<Value, Fault>;
}

/// The other end of the wire, as a demo sees it while it answers.
pub(super) trait Client {
    /// Sends a notification. A failed write ends the conversation.
    fn notify(&mut self, method: &str, params: Value);

    /// The least level of log messages the client wants. `None` until it has asked for any.
    fn log_level(&self) -> Option<LogLevel>;

    /// Sends a log message, if the client asked for messages of this level.
    fn log(&mut self, level: LogLevel, logger: &str, data: &Value) {
        if self.log_level().is_some_and(|least| level >= least) {
            self.notify(
                "notifications/message",
                json!({ "level": level.as_str(), "logger": logger, "data": data }),
            );
        }
    }
}

/// The levels of RFC 5424, as MCP spells them, from talkative to silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogLevel {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl LogLevel {
    fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }
}

/// A member that must be there and be text.
pub(super) fn required_text<'p>(params: &'p Params, key: &str) -> Result<&'p str, Fault> {
    optional_text(params, key)?.ok_or_else(|| Fault::params(format!("`{key}` is missing")))
}

/// A member that may be absent, but must be text where it is there.
pub(super) fn optional_text<'p>(params: &'p Params, key: &str) -> Result<Option<&'p str>, Fault> {
    match params.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Fault::params(format!("`{key}` must be a string, not {other}"))),
    }
}

/// A member that may be absent, but must be an object where it is there.
pub(super) fn object(params: &Params, key: &str) -> Result<Params, Fault> {
    match params.get(key) {
        None | Some(Value::Null) => Ok(Params::new()),
        Some(Value::Object(members)) => Ok(members.clone()),
        Some(other) => Err(Fault::params(format!("`{key}` must be an object, not {other}"))),
    }
}

/// Our lists have one page, so a cursor cannot be one of ours.
pub(super) fn only_first_page(params: &Params) -> Result<(), Fault> {
    match optional_text(params, "cursor")? {
        None => Ok(()),
        Some(cursor) => Err(Fault::params(format!(
            "`{cursor}` is not a cursor of this list; it has one page"
        ))),
    }
}
