//! What would change in a text, for people: without the secrets in it.

use serde_json::Value;
use similar::TextDiff;

use super::import::secrets::is_secret;
use super::text::escaped_lines;

/// Lines around a change.
const CONTEXT: usize = 3;
/// Shorter texts are words that stand anywhere. Characters.
const CHARS_MIN: usize = 4;
const MASKED: &str = "***";

/// The differences between two texts, as `diff -u` shows them; empty when there are none. `values`: the same texts as they
/// are read, to find the secrets in them.
pub(super) fn unified(name: &str, before: &str, after: &str, values: &[&Value]) -> String {
    let mut secrets = Vec::new();
    for value in values {
        gather(value, false, &mut secrets);
    }
    // The longest first: one may be a part of another.
    secrets.sort_by_key(|text| std::cmp::Reverse(text.len()));
    let diff = TextDiff::from_lines(before, after);
    let mut text = diff
        .unified_diff()
        .context_radius(CONTEXT)
        .header(name, name)
        .to_string();
    for secret in &secrets {
        // As it stands in the text: with the escapes of JSON, which TOML has as well.
        let quoted = Value::from(*secret).to_string();
        let inside = quoted.trim_matches('"');
        text = text.replace(inside, MASKED).replace(*secret, MASKED);
    }
    escaped_lines(&text)
}

/// Texts that are not to be shown: all below `env` and `headers`, and what is called or looks like a secret.
fn gather<'v>(value: &'v Value, is_private: bool, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let is_private = is_private || matches!(key.as_str(), "env" | "headers" | "http_headers");
                let is_one = value.as_str().is_some_and(|text| is_secret(key, text));
                gather(value, is_private || is_one, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, is_private, found)),
        Value::String(text) => {
            // A flag and its value may be one word.
            let bare = text.split_once('=').map_or(text.as_str(), |(_, value)| value);
            let flag = text.split_once('=').map_or("", |(flag, _)| flag);
            if (is_private && !text.starts_with("${")) || is_secret(flag, bare) {
                let shown = if is_private { text } else { bare };
                found.extend(Some(shown).filter(|text| text.chars().count() >= CHARS_MIN));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changes_is_shown_and_no_secret_is() {
        let before = json!({"a": {"command": "x", "args": ["--api-key=hunter2", "plain"],
            "env": {"T": "s3\"cret", "R": "${T}"}}, "apiKey": "k-123456"});
        let after = json!({"a": {"command": "y"}, "apiKey": "k-123456"});
        let text = |value: &Value| serde_json::to_string_pretty(value).unwrap();
        let shown = unified("f.json", &text(&before), &text(&after), &[&before, &after]);
        assert!(shown.starts_with("--- f.json\n+++ f.json\n"), "{shown}");
        assert!(
            shown.contains("\n-    \"command\": \"x\"") && shown.contains("\n+    \"command\": \"y\""),
            "{shown}"
        );
        assert!(
            shown.contains("--api-key=***") && shown.contains("\"T\": \"***\"") && shown.contains("plain"),
            "{shown}"
        );
        for secret in ["hunter2", "cret", "k-123456"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        assert_eq!(unified("f", "a\n", "a\n", &[]), "");
    }

    #[test]
    fn a_text_cannot_move_the_cursor() {
        assert!(!unified("f", "", "a\x1b[2J\n", &[]).contains('\x1b'));
    }
}
