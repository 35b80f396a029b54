//! A server of rmcp 3.9: 2026-07-28, and all before it.
//!
//! Tools: `echo`; `greet`, which asks for a name and says its `requestState` aloud; `tell`, which tells those who listen that
//! the tools have changed.

use std::collections::VecDeque;
use std::sync::Mutex;

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
}

fn said(text: &str) -> CallToolResponse {
    let result = json!({ "content": [{ "type": "text", "text": text }] });
    let result: CallToolResult = from_value(result).expect("it is a result");
    result.into()
}

fn greet(request: &CallToolRequestParams) -> CallToolResponse {
    let answer = request.input_responses.as_ref().and_then(|all| all.get("name"));
    if let Some(answer) = answer {
        let state = request.request_state.as_deref().unwrap_or_default();
        let name = answer["content"]["name"].as_str().unwrap_or("?");
        return said(&format!("Hello, {name}! ({state})"));
    }
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    let asked = json!({ "mode": "form", "message": "What is your name?", "requestedSchema": schema });
    let result = json!({
        "resultType": "input_required",
        "inputRequests": { "name": { "method": "elicitation/create", "params": asked } },
        "requestState": "asked",
    });
    let result: InputRequiredResult = from_value(result).expect("it is a question");
    result.into()
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
        let tools = ["echo", "greet", "tell"].map(tool);
        Ok(from_value(json!({ "tools": tools })).expect("it is a list of tools"))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        match request.name.as_ref() {
            "greet" => Ok(greet(&request)),
            "tell" => {
                // Without a listener there is nobody to tell.
                let n = self.changes.send(()).unwrap_or(0);
                Ok(said(&format!("told {n}")))
            }
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
    let coming = Mutex::default();
    let server = Echo { changes, coming };
    server.serve(rmcp::transport::stdio()).await?.waiting().await?;
    Ok(())
}
