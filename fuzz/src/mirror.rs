//! Headers that repeat parameters: what a client writes passes, whatever the schema and the value.

use bytes::Bytes;
use mcp_wrapper::bridge::mcp_headers::{McpHeaders, decode};
use mcp_wrapper::bridge::mirror::{Mirrored, check, has_invalid};
use mcp_wrapper::rpc::Raw;

use crate::any::Any;

const PARTS: &[&str] = &[
    "{\"properties\":{",
    "\"a\":{",
    "\"type\":\"string\"",
    "\"type\":\"integer\"",
    "\"type\":\"number\"",
    "\"x-mcp-header\":\"A\"",
    "\"x-mcp-header\":\"b c\"",
    "\"items\":{",
    "\"anyOf\":[{",
    "}]",
    "}",
    ",",
    "\"default\":{",
];

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let n = any.below(12);
    let mut text: String = (0..n).map(|_| any.pick(PARTS)).collect();
    let n_open = text.matches('{').count();
    text.push_str(&"}".repeat(n_open.saturating_sub(text.matches('}').count())));
    let value = any.text(12);
    let header = any.text(12);
    let headers = McpHeaders::of([("Mcp-Param-A", header.as_bytes())]);
    if let Ok(schema) = Raw::parse(&Bytes::from(text)) {
        let mirrored = Mirrored::of(&schema);
        assert_eq!(mirrored.is_err(), has_invalid(&schema));
        if let Ok(mirrored) = mirrored {
            assert!(check(&mirrored, None, &McpHeaders::default()).is_ok());
            let arguments = Raw::of(&serde_json::json!({ "a": value }));
            if check(&mirrored, Some(&arguments), &headers).is_ok() && !mirrored.is_empty() {
                // Either the value stands there, or the parameter lies elsewhere and nothing was said of it.
                let told = headers.decoded("mcp-param-a");
                assert!(told == Ok(Some(value)) || told == Ok(None));
            }
        }
    }
    // A value that is decoded has been encoded in one way.
    if let (Some(inner), Some(text)) = (header.strip_prefix("=?base64?"), decode(&header)) {
        assert!(inner.ends_with("?=") || text == header);
    }
}
