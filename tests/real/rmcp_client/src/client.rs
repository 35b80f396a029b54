//! A client that can be asked everything, and that keeps what it was told.

use std::future::{Future, ready};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientConfig, CreateMessageRequestParams, CreateMessageResult,
    ElicitRequestParams, ElicitResult, ErrorCode, ErrorData, ListRootsResult, LoggingMessageNotificationParam,
    ProgressNotificationParam, ProtocolVersion, ResourceUpdatedNotificationParam,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, NotificationContext, RequestContext, RunningService};
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientHandler, RoleClient};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub type Client = RunningService<RoleClient, Seen>;

pub const WAIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);

/// What came by itself, oldest first, as JSON; and what is answered.
#[derive(Default)]
pub struct Seen {
    pub progress: Mutex<Vec<Value>>,
    pub logs: Mutex<Vec<Value>>,
    pub updates: Mutex<Vec<Value>>,
    /// Whole notifications of what has changed.
    pub changes: Mutex<Vec<Value>>,
    pub samplings: Mutex<Vec<Value>>,
    pub elicitations: Mutex<Vec<Value>>,
    pub n_roots_asked: Mutex<usize>,
    /// The result of a sampling; none is a refusal.
    pub sampling: Mutex<Option<Value>>,
    pub elicitation: Mutex<Option<Value>>,
    pub roots: Mutex<Vec<Value>>,
}

/// How a client begins.
#[derive(Clone, Copy)]
pub enum Begin {
    Handshake,
    /// Asks which it is to be.
    Auto,
    /// 2026-07-28 or not at all.
    Discover,
}

impl Begin {
    fn lifecycle(self) -> ClientLifecycleMode {
        let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
        match self {
            Self::Handshake => ClientLifecycleMode::Initialize,
            Self::Auto => ClientLifecycleMode::Auto { preferred_versions, legacy_version: None },
            Self::Discover => ClientLifecycleMode::Discover { preferred_versions },
        }
    }
}

impl ClientHandler for Seen {
    fn get_info(&self) -> ClientConfig {
        typed(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "sampling": {}, "elicitation": { "form": {} }, "roots": { "listChanged": true } },
            "clientInfo": { "name": "features-rmcp", "version": "1" },
        }))
    }

    fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> impl Future<Output = Result<CreateMessageResult, ErrorData>> + Send + '_ {
        keep(&self.samplings, &params);
        ready(answer(&self.sampling))
    }

    fn create_elicitation(
        &self,
        params: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> impl Future<Output = Result<ElicitResult, ErrorData>> + Send + '_ {
        keep(&self.elicitations, &params);
        ready(answer(&self.elicitation))
    }

    fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> impl Future<Output = Result<ListRootsResult, ErrorData>> + Send + '_ {
        *self.n_roots_asked.lock().unwrap() += 1;
        ready(Ok(typed(json!({ "roots": *self.roots.lock().unwrap() }))))
    }

    fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) -> impl Future<Output = ()> + Send + '_ {
        keep(&self.progress, &params);
        ready(())
    }

    fn on_logging_message(
        &self,
        params: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) -> impl Future<Output = ()> + Send + '_ {
        keep(&self.logs, &params);
        ready(())
    }

    fn on_resource_updated(
        &self,
        params: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) -> impl Future<Output = ()> + Send + '_ {
        keep(&self.updates, &params);
        let change = json!({ "method": "notifications/resources/updated", "params": value(&params) });
        self.changes.lock().unwrap().push(change);
        ready(())
    }

    fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) -> impl Future<Output = ()> + Send + '_ {
        self.changes.lock().unwrap().push(json!({ "method": "notifications/tools/list_changed" }));
        ready(())
    }
}

fn keep(kept: &Mutex<Vec<Value>>, came: &impl Serialize) {
    kept.lock().unwrap().push(value(came));
}

fn answer<T: DeserializeOwned>(due: &Mutex<Option<Value>>) -> Result<T, ErrorData> {
    let due = due.lock().unwrap().clone();
    due.map(typed).ok_or_else(|| ErrorData::new(ErrorCode(-1), "the user said no", None))
}

/// A value of the library, from JSON.
pub fn typed<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// A value of the library, as JSON.
pub fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).expect("JSON")
}

/// A client after its handshake.
pub async fn connect(gateway: &Value, kind: &str) -> Result<Client, Box<dyn std::error::Error>> {
    begin(gateway, kind, Begin::Handshake).await
}

/// A client that has begun as it was told.
pub async fn begin(gateway: &Value, kind: &str, how: Begin) -> Result<Client, Box<dyn std::error::Error>> {
    let client = Seen::default();
    match kind {
        "http" => {
            let url = gateway["url"].as_str().expect("the gateway's address");
            Ok(client.serve_with_lifecycle(StreamableHttpClientTransport::from_uri(url), how.lifecycle()).await?)
        }
        "stdio" => {
            let words: Vec<&str> = gateway["stdio"].as_array().expect("a command").iter().filter_map(Value::as_str).collect();
            let mut command = tokio::process::Command::new(words[0]);
            command.args(&words[1..]);
            Ok(client.serve_with_lifecycle(TokioChildProcess::new(command)?, how.lifecycle()).await?)
        }
        other => Err(format!("no transport {other}").into()),
    }
}

pub async fn call(client: &Client, tool: &str, args: Value) -> Result<CallToolResult, rmcp::ServiceError> {
    client.call_tool(typed::<CallToolRequestParams>(json!({ "name": tool, "arguments": args }))).await
}

/// The text of an answer, which must not be an error.
pub async fn text_of(client: &Client, tool: &str, args: Value) -> Result<String, Box<dyn std::error::Error>> {
    let answer = value(&call(client, tool, args).await?);
    if answer["isError"] == true {
        return Err(format!("an error: {answer}").into());
    }
    let parts = answer["content"].as_array().ok_or("no content")?;
    let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
    Ok(texts.join("\n"))
}

/// Asks again until it is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let end = Instant::now() + WAIT;
    while !is_so() {
        if Instant::now() > end {
            return Err(format!("{what}: not within {WAIT:?}"));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
