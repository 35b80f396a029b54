//! One server of another program's settings: what of it can be taken over, and what not.

use std::collections::BTreeMap;

use serde_json::Value;

use super::shapes::Found;
use super::template::translated;
use crate::config::spec::Secret;

/// One server of the file.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ctl) struct Entry {
    /// Its name in the file.
    pub(in crate::ctl) name: String,
    pub(in crate::ctl) kind: Kind,
    /// What a person should know about it.
    pub(in crate::ctl) notes: Vec<String>,
}

/// Whether it can be taken over.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ctl) enum Kind {
    /// As this.
    Server(Candidate),
    /// It cannot, for this reason.
    Skip(String),
}

/// A server that can be taken over.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ctl) struct Candidate {
    pub(in crate::ctl) command: String,
    pub(in crate::ctl) args: Vec<String>,
    pub(in crate::ctl) env: BTreeMap<String, Secret>,
    pub(in crate::ctl) cwd: Option<String>,
    pub(in crate::ctl) enabled: bool,
}

impl Candidate {
    /// The program with its arguments.
    pub(in crate::ctl) fn command_line(&self) -> Vec<String> {
        std::iter::once(&self.command)
            .chain(&self.args)
            .cloned()
            .collect()
    }
}

/// Keys that we take over, or that say nothing we need.
const KEYS_UNDERSTOOD: [&str; 9] = [
    "command",
    "args",
    "env",
    "cwd",
    "type",
    "transport",
    "disabled",
    "enabled",
    "description",
];

/// Reads one entry.
pub(super) fn read(found: Found<'_>) -> Entry {
    let mut notes = Vec::new();
    notes.extend(found.project.map(|folder| format!("from the project {folder}")));
    let kind = match candidate(found.value, &mut notes) {
        Ok(it) if is_ourselves(&it) => Kind::Skip("it is mcp-wrapper itself".to_owned()),
        Ok(it) => Kind::Server(it),
        Err(reason) => Kind::Skip(reason),
    };
    if matches!(kind, Kind::Server(_)) {
        notes.extend(ignored_keys(found.value));
    }
    Entry {
        name: found.name.to_owned(),
        kind,
        notes,
    }
}

fn candidate(value: &Value, notes: &mut Vec<String>) -> Result<Candidate, String> {
    if !value.is_object() {
        return Err("it is not an object".to_owned());
    }
    let Some(command) = value
        .get("command")
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
    else {
        return Err(without_command(value));
    };
    let mut text = |what: &str, given: &str| {
        let done = translated(given);
        notes.extend(done.asked_for.iter().map(|(theirs, ours)| {
            format!("{what}: {theirs} is known only to the other program; set {ours} in .env")
        }));
        done.text
    };
    let command = text("command", command);
    let args = list(value, "args")?.iter().map(|arg| text("args", arg)).collect();
    let env = variables(value)?
        .into_iter()
        .map(|(name, given)| {
            let value = text(&name, &given);
            (name, Secret::new(value))
        })
        .collect();
    let cwd = value
        .get("cwd")
        .and_then(Value::as_str)
        .map(|folder| text("cwd", folder));
    let is = |key: &str| value.get(key).and_then(Value::as_bool);
    let enabled = !is("disabled").unwrap_or(false) && is("enabled").unwrap_or(true);
    Ok(Candidate {
        command,
        args,
        env,
        cwd,
        enabled,
    })
}

fn without_command(value: &Value) -> String {
    let url = ["url", "serverUrl", "httpUrl"]
        .iter()
        .find_map(|key| value.get(key).and_then(Value::as_str));
    match url {
        Some(url) => {
            // What follows `?` may hold a key.
            let shown = url.split(['?', '#']).next().unwrap_or(url);
            format!("it is a remote server ({shown}); only servers with a command can be taken over")
        }
        None => "it has no command".to_owned(),
    }
}

fn list(value: &Value, key: &str) -> Result<Vec<String>, String> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(all)) => all
            .iter()
            .map(|one| scalar(one).ok_or_else(|| format!("`{key}` has a value that is no text")))
            .collect(),
        Some(_) => Err(format!("`{key}` is no list")),
    }
}

fn variables(value: &Value) -> Result<Vec<(String, String)>, String> {
    match value.get("env") {
        None | Some(Value::Null) => Ok(Vec::new()),
        // A null takes the variable away; our children do not have it unless it is given.
        Some(Value::Object(all)) => all
            .iter()
            .filter(|(_, given)| !given.is_null())
            .map(|(name, given)| {
                let text = scalar(given).ok_or_else(|| format!("`env.{name}` is no text"))?;
                Ok((name.clone(), text))
            })
            .collect(),
        Some(_) => Err("`env` is no object".to_owned()),
    }
}

/// Numbers and booleans are what people write where programs want text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Taking ourselves over as a child would be a loop. The demo children are no gateway.
fn is_ourselves(it: &Candidate) -> bool {
    let is_program = |word: &str| {
        let file = word.rsplit(['/', '\\']).next().unwrap_or(word);
        file == "mcp-wrapper" || file == "mcp-wrapper.exe"
    };
    let line = it.command_line();
    let program = line.iter().position(|word| is_program(word));
    program.is_some_and(|at| line.get(at + 1).is_none_or(|verb| verb != "demo"))
}

fn ignored_keys(value: &Value) -> Option<String> {
    let keys: Vec<&str> = value
        .as_object()?
        .keys()
        .map(String::as_str)
        .filter(|key| !KEYS_UNDERSTOOD.contains(key))
        .collect();
    (!keys.is_empty()).then(|| format!("not taken over: {}", keys.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_value(value: &Value) -> Entry {
        read(Found {
            name: "x",
            value,
            project: None,
        })
    }

    #[test]
    fn entries_that_cannot_be_taken_over_say_why() {
        let cases = [
            (json!("x"), "not an object"),
            (json!({}), "no command"),
            (json!({"command": ""}), "no command"),
            (json!({"command": "x", "args": "a b"}), "`args` is no list"),
            (json!({"command": "x", "args": [{}]}), "`args` has a value"),
            (json!({"command": "x", "env": {"A": []}}), "`env.A`"),
            (json!({"url": "https://x/mcp?key=secret"}), "(https://x/mcp)"),
            (
                json!({"command": "/opt/mcp-wrapper", "args": ["stdio"]}),
                "mcp-wrapper itself",
            ),
            (
                json!({"command": "sh", "args": ["-c", "x", "/a/mcp-wrapper"]}),
                "mcp-wrapper itself",
            ),
        ];
        for (value, expected) in cases {
            match read_value(&value).kind {
                Kind::Skip(reason) => assert!(reason.contains(expected), "{value}: {reason}"),
                Kind::Server(it) => panic!("{value}: {it:?}"),
            }
        }
    }

    #[test]
    fn a_demo_child_is_not_the_gateway() {
        let entry = read_value(&json!({"command": "mcp-wrapper", "args": ["demo", "tickets"]}));
        assert!(matches!(entry.kind, Kind::Server(_)), "{entry:?}");
    }

    #[test]
    fn numbers_in_env_become_text() {
        let entry =
            read_value(&json!({"command": "x", "args": [1], "env": {"PORT": 80, "D": true, "N": null}}));
        let Kind::Server(it) = entry.kind else {
            panic!("skipped")
        };
        assert_eq!(it.args, ["1"]);
        assert_eq!(
            (it.env["PORT"].reveal(), it.env["D"].reveal(), it.env.len()),
            ("80", "true", 2)
        );
    }
}
