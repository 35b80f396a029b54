//! What children say reaches logs and terminals without a character that could move the cursor or forge a line.

use mcp_wrapper::child::stderr;
use mcp_wrapper::ctl::fuzzed::{escaped, escaped_lines, indented_json};
use serde_json::Value;

use crate::any::{Any, json_text};

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let n_chunk = 1 + any.below(64);
    let lines = stderr::fuzzed::lines(any.0.chunks(n_chunk));
    assert_eq!(
        lines,
        stderr::fuzzed::lines(std::iter::once(any.0)),
        "the chunks make no difference"
    );
    for line in &lines {
        assert!(!line.chars().any(|c| c != '\t' && is_harmful(c)), "{line:?}");
        assert!(!line.trim_ascii().is_empty());
    }
    let text = String::from_utf8_lossy(any.0);
    assert!(!escaped(&text).chars().any(is_harmful));
    assert!(!escaped_lines(&text).chars().any(|c| c != '\n' && is_harmful(c)));
    let json = json_text(data);
    let json = String::from_utf8_lossy(&json);
    let laid = indented_json(&json);
    assert!(!laid.chars().any(|c| c != '\n' && is_harmful(c)));
    if let Ok(value) = serde_json::from_str::<Value>(&json) {
        // Only what has no harmful character in it stays JSON of the same value.
        if !json.chars().any(is_harmful_in_string) {
            assert_eq!(serde_json::from_str::<Value>(&laid).ok(), Some(value), "{laid}");
        }
    }
}

fn is_harmful(c: char) -> bool {
    c.is_control() || is_turning(c)
}

fn is_turning(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_harmful_in_string(c: char) -> bool {
    is_turning(c) || (c.is_control() && !matches!(c, ' ' | '\n' | '\r' | '\t'))
}
