//! A server of rmcp 3.9: 2026-07-28, and all before it.
//!
//! Tools: `echo`; `greet`, which asks for a name; `steps`, which reports its progress; `wait`, which waits until it is taken
//! back, and `was_taken_back`, which says whether it was; `grow`, which lists one more tool and tells who listens.

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, InputRequiredResult, ListToolsResult,
    PaginatedRequestParams, ServerConfig, SubscriptionFilter,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use rmcp_3_9 as rmcp;
use serde_json::{from_value, json};
use tokio::sync::broadcast;

struct Echo {
    changes: broadcast::Sender<()>,
    /// Of those who listen and are about to be served: what changes after the acknowledgement is not to be lost.
    coming: Mutex<VecDeque<broadcast::Receiver<()>>>,
    grown: Mutex<Vec<String>>,
    /// The tags of calls of `wait`.
    taken_back: Mutex<HashSet<String>>,
}

const TOOLS: [&str; 6] = ["echo", "greet", "steps", "wait", "was_taken_back", "grow"];
const WAIT: Duration = Duration::from_secs(60);
const STATE: &str = "asked";

fn said(text: &str) -> CallToolResponse {
    let result = json!({ "content": [{ "type": "text", "text": text }] });
    let result: CallToolResult = from_value(result).expect("it is a result");
    result.into()
}

fn greet(request: &CallToolRequestParams) -> CallToolResponse {
    let answer = request.input_responses.as_ref().and_then(|all| all.get("name"));
    if let Some(answer) = answer {
        let name = answer["content"]["name"].as_str().unwrap_or("?");
        let state = request.request_state.as_deref().unwrap_or("none");
        return said(&if state == STATE { format!("Hello, {name}!") } else { format!("the state came back as {state}") });
    }
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    let asked = json!({ "mode": "form", "message": "What is your name?", "requestedSchema": schema });
    let result = json!({
        "resultType": "input_required",
        "inputRequests": { "name": { "method": "elicitation/create", "params": asked } },
        "requestState": STATE,
    });
    let result: InputRequiredResult = from_value(result).expect("it is a question");
    result.into()
}

/// Of the caller, who may not want to know.
async fn progress(context: &RequestContext<RoleServer>, step: u64, total: u64) {
    if let Some(token) = context.meta.get_progress_token() {
        let step = json!({ "progressToken": token, "progress": step, "total": total });
        let step = from_value(step).expect("it is a step");
        // A caller that has gone hears nothing.
        let _ = context.peer.notify_progress(step).await;
    }
}

impl Echo {
    async fn wait(&self, tag: &str, context: &RequestContext<RoleServer>) -> CallToolResponse {
        progress(context, 1, 2).await;
        tokio::select! {
            () = context.ct.cancelled() => {
                self.taken_back.lock().expect("nobody fails with it").insert(tag.to_owned());
                said("taken back")
            }
            () = tokio::time::sleep(WAIT) => said("nobody took it back"),
        }
    }

    fn grow(&self, name: &str) -> CallToolResponse {
        self.grown.lock().expect("nobody fails with it").push(name.to_owned());
        // Without a listener there is nobody to tell.
        let _ = self.changes.send(());
        said(&format!("{name} is there"))
    }
}

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        let info = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": { "listChanged": true } },
            "serverInfo": { "name": "rmcp-3.9", "version": "1.0.0" },
        });
        from_value(info).expect("it is what a server says of itself")
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool =
            |name: &str| json!({ "name": name, "description": name, "inputSchema": { "type": "object" } });
        let grown = self.grown.lock().expect("nobody fails with it").clone();
        let grown = grown.iter().map(String::as_str);
        let tools: Vec<_> = TOOLS.into_iter().chain(grown).map(tool).collect();
        Ok(from_value(json!({ "tools": tools })).expect("it is a list of tools"))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = json!(request.arguments);
        let word = |key: &str| arguments[key].as_str().unwrap_or_default();
        match request.name.as_ref() {
            "greet" => Ok(greet(&request)),
            "steps" => {
                let n = arguments["n"].as_u64().unwrap_or_default();
                for step in 1..=n {
                    progress(&context, step, n).await;
                }
                Ok(said(&format!("{n} steps")))
            }
            "wait" => Ok(self.wait(word("tag"), &context).await),
            "was_taken_back" => {
                let taken_back = self.taken_back.lock().expect("nobody fails with it");
                Ok(said(&taken_back.contains(word("tag")).to_string()))
            }
            "grow" => Ok(self.grow(word("name"))),
            "echo" => Ok(said(&json!(request.arguments).to_string())),
            name => Err(ErrorData::invalid_params(
                format!("there is no tool {name}"),
                None,
            )),
        }
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let mut coming = self.coming.lock().expect("nobody fails with it");
        coming.push_back(self.changes.subscribe());
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let coming = self.coming.lock().expect("nobody fails with it").pop_front();
        let mut changes = coming.unwrap_or_else(|| self.changes.subscribe());
        loop {
            tokio::select! {
                _ = context.cancelled() => return Ok(()),
                change = changes.recv() => {
                    if change.is_err() || context.sink().notify_tool_list_changed().await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (changes, _) = broadcast::channel(16);
    let server = Echo {
        changes,
        coming: Mutex::default(),
        grown: Mutex::default(),
        taken_back: Mutex::default(),
    };
    server.serve(rmcp::transport::stdio()).await?.waiting().await?;
    Ok(())
}
