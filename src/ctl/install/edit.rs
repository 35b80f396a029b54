//! Entries put into the settings of another program, and taken out, in its own text: comments, order and indentation of
//! all the rest stay.
//!
//! Pure. What came out is read again: where anything else than wanted has changed, the edit is refused.

use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table};

use crate::ctl::clients::Format;
use crate::ctl::lenient;

/// The members of one entry, in their order.
pub(in crate::ctl) type Fields = Vec<(String, Value)>;

/// What is to be done in the table of servers.
#[derive(Debug, Clone, Default)]
pub(in crate::ctl) struct Change {
    /// Entries that are to be there, under their names; an entry of the same name is replaced.
    pub(in crate::ctl) put: Vec<(String, Fields)>,
    /// Names of entries that are to go. One that is not there is no fault.
    pub(in crate::ctl) remove: Vec<String>,
}

/// Why a text is not edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::ctl) enum CannotEdit {
    /// It is not what it should be.
    #[error("it cannot be read as {format}: {why}")]
    Unreadable {
        /// What it should be.
        format: Format,
        /// What is wrong with it.
        why: String,
    },
    /// Something else stands where the servers should be.
    #[error("`{0}` in it is no table of servers")]
    NoTable(String),
    /// What came out says something else than wanted.
    #[error("it cannot be edited without changing something else in it; edit it by hand")]
    Lossy,
}

/// The text with the change, below the key under which the client has its servers.
pub(in crate::ctl) fn edited(
    text: &str,
    format: Format,
    key: &str,
    change: &Change,
) -> Result<String, CannotEdit> {
    let unreadable = |why| CannotEdit::Unreadable { format, why };
    let before = lenient::parse(text, format).map_err(unreadable)?;
    let wanted = changed(before, key, change).ok_or_else(|| CannotEdit::NoTable(key.to_owned()))?;
    let done = match format {
        Format::Json => json_edited(text, key, change),
        Format::Toml => toml_edited(text, key, change),
    }?;
    if lenient::parse(&done, format).as_ref() == Ok(&wanted) {
        Ok(done)
    } else {
        Err(CannotEdit::Lossy)
    }
}

/// What the text has to say afterwards.
fn changed(mut value: Value, key: &str, change: &Change) -> Option<Value> {
    let root = value.as_object_mut()?;
    let is_needed = !change.put.is_empty();
    if !root.contains_key(key) && !is_needed {
        return Some(value);
    }
    let servers = root.entry(key).or_insert_with(|| Value::Object(Map::new()));
    let servers = servers.as_object_mut()?;
    servers.retain(|name, _| !change.remove.contains(name));
    for (name, fields) in &change.put {
        servers.insert(name.clone(), Value::Object(fields.iter().cloned().collect()));
    }
    Some(value)
}

// === JSON ===

fn json_edited(text: &str, key: &str, change: &Change) -> Result<String, CannotEdit> {
    let (mark, text) = match text.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest),
        None => ("", text),
    };
    let root = CstRootNode::parse(text, &lenient::options()).map_err(|error| CannotEdit::Unreadable {
        format: Format::Json,
        why: error.to_string(),
    })?;
    let no_table = || CannotEdit::NoTable(key.to_owned());
    let object = root.object_value_or_create().ok_or_else(no_table)?;
    if object.get(key).is_none() && change.put.is_empty() {
        return Ok(format!("{mark}{root}"));
    }
    let servers = object.object_value_or_create(key).ok_or_else(no_table)?;
    for name in &change.remove {
        remove_all(&servers, name);
    }
    for (name, fields) in &change.put {
        let value = CstInputValue::Object(
            fields
                .iter()
                .map(|(key, value)| (key.clone(), input(value)))
                .collect(),
        );
        match servers.get(name) {
            Some(there) => there.set_value(value),
            None => {
                servers.append(name, value);
            }
        }
    }
    Ok(format!("{mark}{root}"))
}

/// A name may stand there more than once; the last counts.
fn remove_all(servers: &CstObject, name: &str) {
    let named = servers.properties().into_iter();
    named
        .filter(|property| property.decoded_name().as_deref() == Some(name))
        .for_each(|property| property.remove());
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(truth) => CstInputValue::Bool(*truth),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => CstInputValue::Object(
            members
                .iter()
                .map(|(key, value)| (key.clone(), input(value)))
                .collect(),
        ),
    }
}

// === TOML ===

fn toml_edited(text: &str, key: &str, change: &Change) -> Result<String, CannotEdit> {
    let mut document: DocumentMut =
        text.parse()
            .map_err(|error: toml_edit::TomlError| CannotEdit::Unreadable {
                format: Format::Toml,
                why: error.to_string(),
            })?;
    if document.get(key).is_none() && change.put.is_empty() {
        return Ok(document.to_string());
    }
    let new = || {
        let mut table = Table::new();
        // Without a head of its own.
        table.set_implicit(true);
        Item::Table(table)
    };
    let servers = document.entry(key).or_insert_with(new);
    let is_inline = servers.is_inline_table();
    let servers = servers
        .as_table_like_mut()
        .ok_or_else(|| CannotEdit::NoTable(key.to_owned()))?;
    for name in &change.remove {
        servers.remove(name);
    }
    for (name, fields) in &change.put {
        let item = if is_inline {
            Item::Value(toml_edit::Value::InlineTable(inline(
                fields.iter().map(|(key, value)| (key, value)),
            )))
        } else {
            let mut table = Table::new();
            for (key, value) in fields {
                if let Some(value) = toml_value(value) {
                    table.insert(key, Item::Value(value));
                }
            }
            Item::Table(table)
        };
        servers.insert(name, item);
    }
    Ok(document.to_string())
}

fn inline<'v>(members: impl Iterator<Item = (&'v String, &'v Value)>) -> InlineTable {
    let known = members.filter_map(|(key, value)| Some((key.as_str(), toml_value(value)?)));
    known.collect()
}

/// `None` for what TOML does not have; the check at the end then refuses.
fn toml_value(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(part)) => part.into(),
            (None, None) => return None,
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().filter_map(toml_value).collect::<Array>().into(),
        Value::Object(members) => inline(members.iter()).into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn ours() -> (String, Fields) {
        let fields = [("command", json!("/b")), ("args", json!(["stdio"]))];
        (
            "mcp-wrapper".to_owned(),
            fields.map(|(key, value)| (key.to_owned(), value)).into(),
        )
    }

    fn putting(remove: &[&str]) -> Change {
        Change {
            put: vec![ours()],
            remove: remove.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn everything_else_stays_as_it_was_written() {
        let text = "// mine\n{\n    \"theme\" : 'dark', /* nice */\n    mcpServers: {\n        // the files\n        \"files\": { \"command\": \"x\", \"args\": [ \"a\",\"b\" ] }, // keep\n        \"old\": { \"command\": \"y\" },\n    },\n}\n";
        let done = edited(text, Format::Json, "mcpServers", &putting(&["old", "absent"])).unwrap();
        for kept in [
            "// mine\n{\n    \"theme\" : 'dark', /* nice */\n    mcpServers: {\n        // the files\n        \"files\": { \"command\": \"x\", \"args\": [ \"a\",\"b\" ] }, // keep\n",
            "        \"mcp-wrapper\": {\n            \"command\": \"/b\",",
        ] {
            assert!(done.contains(kept), "{kept}\n---\n{done}");
        }
        assert!(!done.contains("old"), "{done}");
        // The same again changes nothing.
        assert_eq!(edited(&done, Format::Json, "mcpServers", &putting(&[])), Ok(done));
    }

    #[test]
    fn what_is_put_in_can_be_taken_out_again() {
        for text in [
            "{\n  \"a\": 1\n}\n",
            "{\"mcpServers\": {\"x\": {\"command\": \"y\"}}}",
            "{\n\t\"mcpServers\": {\n\t\t\"x\": {\n\t\t\t\"command\": \"y\"\n\t\t}\n\t}\n}",
        ] {
            let with = edited(text, Format::Json, "mcpServers", &putting(&[])).unwrap();
            serde_json::from_str::<Value>(&with).unwrap();
            let without = Change {
                put: Vec::new(),
                remove: vec!["mcp-wrapper".to_owned()],
            };
            let again = edited(&with, Format::Json, "mcpServers", &without).unwrap();
            let (before, after) = (
                lenient::parse(text, Format::Json),
                lenient::parse(&again, Format::Json),
            );
            let servers =
                |value: Result<Value, String>| value.unwrap().get("mcpServers").cloned().unwrap_or(json!({}));
            assert_eq!(servers(before), servers(after), "{again}");
        }
    }

    #[test]
    fn a_file_that_is_empty_or_new_gets_the_entry_alone() {
        for text in ["", "\n", "{}"] {
            let done = edited(text, Format::Json, "servers", &putting(&[])).unwrap();
            let value: Value = serde_json::from_str(&done).unwrap();
            assert_eq!(value["servers"]["mcp-wrapper"]["command"], "/b", "{done}");
        }
        let done = edited("", Format::Toml, "mcp_servers", &putting(&[])).unwrap();
        assert_eq!(
            done,
            "[mcp_servers.mcp-wrapper]\ncommand = \"/b\"\nargs = [\"stdio\"]\n"
        );
    }

    #[test]
    fn toml_is_edited_in_place() {
        let text = "# mine\nmodel = \"x\" # best\n\n[mcp_servers.db]\ncommand = \"db\"   # the database\n\n[mcp_servers.old]\ncommand = \"old\"\n\n[tui]\ntheme = \"t\"\n";
        let done = edited(text, Format::Toml, "mcp_servers", &putting(&["old"])).unwrap();
        for kept in [
            "# mine\nmodel = \"x\" # best\n",
            "command = \"db\"   # the database\n",
            "[tui]\ntheme = \"t\"\n",
        ] {
            assert!(done.contains(kept), "{done}");
        }
        assert!(
            done.contains("[mcp_servers.mcp-wrapper]\ncommand = \"/b\"\n") && !done.contains("old"),
            "{done}"
        );
        let inline = edited(
            "mcp_servers = { a = { command = \"x\" } }\n",
            Format::Toml,
            "mcp_servers",
            &putting(&[]),
        );
        assert!(inline.is_ok(), "{inline:?}");
    }

    #[test]
    fn what_cannot_be_edited_is_refused() {
        let told = |text: &str, format| {
            edited(text, format, "mcpServers", &putting(&[]))
                .unwrap_err()
                .to_string()
        };
        assert!(told("{ not json", Format::Json).contains("cannot be read as JSON"));
        assert!(told("a = ", Format::Toml).contains("cannot be read as TOML"));
        for text in ["[]", "1", "{\"mcpServers\": []}", "{\"mcpServers\": \"x\"}"] {
            assert!(told(text, Format::Json).contains("no table of servers"), "{text}");
        }
        let null = Change {
            put: vec![("a".to_owned(), vec![("b".to_owned(), Value::Null)])],
            remove: Vec::new(),
        };
        assert_eq!(edited("", Format::Toml, "s", &null), Err(CannotEdit::Lossy));
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_file_only_the_wanted_changes(
            keys in prop::collection::btree_map("[a-c\"\\\\é ]{1,3}", "\\PC{0,5}", 0..4), pretty in any::<bool>()
        ) {
            let value = json!({ "x": keys, "mcpServers": keys });
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let remove: Vec<&str> = keys.keys().take(1).map(String::as_str).collect();
            let done = edited(&text, Format::Json, "mcpServers", &putting(&remove)).unwrap();
            let mut wanted = value;
            let servers = wanted["mcpServers"].as_object_mut().unwrap();
            servers.retain(|name, _| !remove.contains(&name.as_str()));
            servers.insert("mcp-wrapper".to_owned(), json!({"command": "/b", "args": ["stdio"]}));
            prop_assert_eq!(serde_json::from_str::<Value>(&done).unwrap(), wanted);
        }
    }
}
