//! The JSON-RPC errors of a demo: a code, a sentence, sometimes data.

use serde_json::{Value, json};

/// A request that is answered with a JSON-RPC error.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    code: i32,
    message: String,
    data: Option<Value>,
}

impl Fault {
    /// -32700: the line is not JSON.
    pub(super) fn parse(why: &str) -> Self {
        Self::new(-32700, format!("Parse error: {why}"))
    }

    /// -32600: JSON, but no JSON-RPC 2.0 message.
    pub(super) fn invalid_request(why: &str) -> Self {
        Self::new(-32600, format!("Invalid request: {why}"))
    }

    /// -32601: this server has no such method.
    pub(super) fn no_method(method: &str) -> Self {
        Self::new(-32601, format!("Method not found: {method}"))
    }

    /// -32602: the method exists, its params do not fit.
    pub(super) fn params(why: impl Into<String>) -> Self {
        Self::new(-32602, why.into())
    }

    /// -32002: no resource under this URI. Source: MCP 2025-11-25, resources, "Error Handling".
    pub(super) fn no_resource(uri: &str) -> Self {
        let mut fault = Self::new(-32002, "Resource not found".to_owned());
        fault.data = Some(json!({ "uri": uri }));
        fault
    }

    /// -32000: the request is fine, there is no room for it now.
    pub(super) fn busy(why: impl Into<String>) -> Self {
        Self::new(-32000, why.into())
    }

    fn new(code: i32, message: String) -> Self {
        Self {
            code,
            message,
            data: None,
        }
    }

    /// The `error` member of the answer.
    pub(super) fn into_json(self) -> Value {
        match self.data {
            None => json!({ "code": self.code, "message": self.message }),
            Some(data) => json!({ "code": self.code, "message": self.message, "data": data }),
        }
    }
}
