//! One server of another program's settings: what of it can be taken over, and what not.

use std::collections::BTreeMap;

use serde_json::Value;

use super::shapes::Found;
use super::template::translated;
use crate::config::reference::is_variable_name;
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
const KEYS_UNDERSTOOD: [&str; 11] = [
    "command",
    "args",
    "env",
    "cwd",
    "type",
    "transport",
    "disabled",
    "enabled",
    "description",
    "env_vars",
    // Zed: `custom`, for whatever stands in the settings.
    "source",
];

/// Reads one entry.
pub(super) fn read(found: Found<'_>, has_bare_variables: bool) -> Entry {
    let mut notes = Vec::new();
    notes.extend(found.project.map(|folder| format!("from the project {folder}")));
    let flat = flattened(found.value);
    let value = flat.as_ref().unwrap_or(found.value);
    let kind = match candidate(value, has_bare_variables, &mut notes) {
        Ok(it) if is_ourselves(&it) => Kind::Skip("it is mcp-wrapper itself".to_owned()),
        Ok(it) => Kind::Server(it),
        Err(reason) => Kind::Skip(reason),
    };
    if matches!(kind, Kind::Server(_)) {
        notes.extend(ignored_keys(value));
    }
    Entry {
        name: found.name.to_owned(),
        kind,
        notes,
    }
}

/// Zed once wrote the program and what belongs to it into one object: `"command": { "path": …, "args": …, "env": … }`.
fn flattened(value: &Value) -> Option<Value> {
    let inner = value.get("command")?.as_object()?;
    let mut flat = value.as_object()?.clone();
    let program = inner.get("path").or_else(|| inner.get("command"))?;
    flat.insert("command".to_owned(), program.clone());
    for key in ["args", "env"] {
        if let Some(given) = inner.get(key) {
            flat.insert(key.to_owned(), given.clone());
        }
    }
    Some(Value::Object(flat))
}

fn candidate(value: &Value, has_bare_variables: bool, notes: &mut Vec<String>) -> Result<Candidate, String> {
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
        let done = translated(given, has_bare_variables);
        notes.extend(done.asked_for.iter().map(|(theirs, ours)| {
            format!("{what}: {theirs} is known only to the other program; set {ours} in .env")
        }));
        done.text
    };
    let command = text("command", command);
    let args = list(value, "args")?.iter().map(|arg| text("args", arg)).collect();
    let mut env: BTreeMap<String, Secret> = variables(value)?
        .into_iter()
        .map(|(name, given)| {
            let value = text(&name, &given);
            (name, Secret::new(value))
        })
        .collect();
    for name in passed_on(value) {
        let reference = Secret::new(format!("${{env:{name}}}"));
        env.entry(name).or_insert(reference);
    }
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

/// `env_vars` of Codex: variables of its own environment that the server gets, where they are set.
fn passed_on(value: &Value) -> Vec<String> {
    let listed = value.get("env_vars").and_then(Value::as_array);
    let names = listed.into_iter().flatten();
    let names = names.filter_map(|one| one.as_str().or_else(|| one.get("name")?.as_str()));
    names
        .filter(|name| is_variable_name(name))
        .map(str::to_owned)
        .collect()
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
        read(
            Found {
                name: "x",
                value,
                project: None,
            },
            false,
        )
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
    fn the_forms_of_zed_and_codex_are_understood() {
        let nested = json!({"source": "custom", "command": {"path": "p", "args": ["a"], "env": {"K": "v"}}});
        let entry = read_value(&nested);
        let Kind::Server(it) = &entry.kind else {
            panic!("{entry:?}")
        };
        assert_eq!(
            (it.command_line(), it.env["K"].reveal()),
            (vec!["p".to_owned(), "a".to_owned()], "v")
        );
        assert!(entry.notes.is_empty(), "{entry:?}");
        let codex = json!({
            "command": "x", "env": {"A": "1"}, "env_vars": ["A", "B", {"name": "C"}, "not one"], "startup_timeout_sec": 20
        });
        let entry = read_value(&codex);
        let Kind::Server(it) = &entry.kind else {
            panic!("{entry:?}")
        };
        let env: Vec<_> = it
            .env
            .iter()
            .map(|(name, value)| format!("{name}={}", value.reveal()))
            .collect();
        assert_eq!(env, ["A=1", "B=${env:B}", "C=${env:C}"]);
        assert_eq!(entry.notes, ["not taken over: startup_timeout_sec"]);
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
