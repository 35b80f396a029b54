//! A server of rmcp 0.8: it wants `initialize` first, and ends when anything else comes.

use rmcp::model::{CallToolRequestParam, CallToolResult, ListToolsResult, PaginatedRequestParam, ServerInfo};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use rmcp_0_8 as rmcp;
use serde_json::{from_value, json};

struct Echo;

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerInfo {
        let info = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "rmcp-0.8", "version": "1.0.0" },
        });
        from_value(info).expect("it is a ServerInfo")
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParam>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let echo =
            json!({ "name": "echo", "description": "Says it again", "inputSchema": { "type": "object" } });
        Ok(from_value(json!({ "tools": [echo] })).expect("it is a list of tools"))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParam,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let text = json!(request.arguments).to_string();
        Ok(from_value(json!({ "content": [{ "type": "text", "text": text }] })).expect("it is a result"))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    Echo.serve(rmcp::transport::stdio()).await?.waiting().await?;
    Ok(())
}
