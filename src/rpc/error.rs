//! JSON-RPC errors: the codes, and one error as we write it.
//!
//! Ours are outside -32768…-32000, as MCP 2026-07-28 demands (basic, "Error codes"), and always carry
//! `data.source = "mcp-wrapper"`, so that nobody takes them for a child's.

use serde::Serialize;

use super::Raw;

/// Codes of JSON-RPC 2.0 and of MCP.
pub mod code {
    /// The text is no JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// The JSON is no message.
    pub const INVALID_REQUEST: i64 = -32600;
    /// There is no such method here.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The parameters are wrong; also an unknown tool or prompt (MCP, tools, "Error Handling").
    pub const INVALID_PARAMS: i64 = -32602;
    /// A fault of ours, or an end that has no code of its own.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// No such resource (MCP up to 2025-11-25, resources, "Error Handling").
    pub const RESOURCE_NOT_FOUND: i64 = -32002;
    /// "No valid session": what SDKs write in the body of an HTTP 400 or 404.
    pub const NO_SESSION: i64 = -32000;
    /// The headers of a request say something else than its body, or are not there (MCP 2026-07-28; HTTP 400).
    pub const HEADER_MISMATCH: i64 = -32020;
    /// The client has not declared what the request needs (MCP 2026-07-28; HTTP 400).
    pub const MISSING_CAPABILITY: i64 = -32021;
    /// The revision of the request is not served (MCP 2026-07-28; HTTP 400).
    pub const UNSUPPORTED_VERSION: i64 = -32022;

    /// Ours: the child ended while it worked on the request.
    pub const CHILD_EXITED: i64 = 1001;
    /// Ours: the child gave no answer in time.
    pub const CALL_TIMEOUT: i64 = 1002;
    /// Ours: the child is not running now.
    pub const CHILD_UNAVAILABLE: i64 = 1003;
    /// Ours: too many calls wait for this child.
    pub const OVERLOADED: i64 = 1004;
    /// Ours: a client asks too often, or has too many calls in flight.
    pub const CLIENT_LIMIT: i64 = 1005;
    /// Ours: the child's answer is longer than allowed.
    pub const MESSAGE_TOO_LARGE: i64 = 1006;
    /// Ours: the child's answer is no valid message.
    pub const BAD_CHILD_MESSAGE: i64 = 1007;
    /// Ours: mcp-wrapper is going down.
    pub const SHUTTING_DOWN: i64 = 1008;
    /// Ours: the child cannot be started as it is declared.
    pub const START_FAILED: i64 = 1009;
}

/// The `error` member of a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RpcError {
    /// See [`code`].
    pub code: i64,
    /// One sentence for whoever reads it at the other end.
    pub message: String,
    /// More, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    /// The same with data.
    #[must_use]
    pub fn with_data(mut self, data: serde_json::Value) -> Self {
        self.data = Some(data);
        self
    }

    /// Method not found.
    pub fn unknown_method(method: &str) -> Self {
        Self::new(code::METHOD_NOT_FOUND, format!("Method not found: {method}"))
    }

    /// Invalid params.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMS, message)
    }

    /// Invalid request.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_REQUEST, message)
    }

    /// The error as raw JSON.
    pub fn raw(&self) -> Raw {
        Raw::of(self)
    }
}
