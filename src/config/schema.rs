//! The JSON Schema of `servers.toml`, for editors: made from the table that checks the keys.
//!
//! It is never stricter than that check, and cannot know all of it: what hangs together, and whether a variable is set.

use serde_json::{Map, Value, json};

use super::keys::{KEYS, Key, Kind, Sizes};
use super::raw::IdleStop;
use super::size::SizeLimit;
use crate::ids::SERVER_NAME_CHARS_MAX;

/// What a duration looks like: numbers with units, such as `1m 30s`.
const DURATION: &str = r"^\s*(0|([0-9]+(\.[0-9]+)?\s*[A-Za-zµ]+\s*)+)\s*$";
/// What a size looks like: a number, perhaps with a unit.
const SIZE: &str = r"^\s*[0-9][0-9_.]*\s*[A-Za-z]*\s*$";

/// The schema, as draft 7 has it.
pub fn schema() -> Value {
    let defaults = properties(KEYS.iter().filter(|key| key.in_defaults));
    let server = properties(KEYS.iter());
    let name = format!("^[A-Za-z0-9_-]{{1,{SERVER_NAME_CHARS_MAX}}}$");
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "servers.toml of mcp-wrapper",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "defaults": {
                "description": "What holds for all servers, unless a server says otherwise.",
                "type": "object",
                "additionalProperties": false,
                "properties": defaults,
            },
            "servers": {
                "description": "The servers, by their names: letters, digits, - or _.",
                "type": "object",
                "propertyNames": { "pattern": name },
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["command"],
                    "properties": server,
                },
            },
        },
    })
}

fn properties<'k>(keys: impl Iterator<Item = &'k Key>) -> Value {
    let described = keys.map(|key| {
        let mut schema = of_kind(&key.kind);
        if let Some(members) = schema.as_object_mut() {
            members.insert("description".to_owned(), Value::from(about(key.name)));
        }
        (key.name.to_owned(), schema)
    });
    Value::Object(described.collect::<Map<_, _>>())
}

fn of_kind(kind: &Kind) -> Value {
    let texts = json!({ "type": "string" });
    match kind {
        Kind::Program | Kind::Text => json!({ "type": "string", "minLength": 1 }),
        Kind::Texts => json!({ "type": "array", "items": texts }),
        Kind::CommandLine => json!({ "type": "array", "items": texts, "minItems": 1 }),
        Kind::Roots => json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }),
        Kind::Variables | Kind::Aliases => json!({ "type": "object", "additionalProperties": texts }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Prefix => {
            json!({ "type": "string", "pattern": format!("^[A-Za-z0-9_-]{{0,{SERVER_NAME_CHARS_MAX}}}$") })
        }
        Kind::Transport => json!({ "enum": ["stdio"] }),
        Kind::Choice(words) => json!({ "enum": spellings(words) }),
        Kind::Time(_) => json!({ "type": "string", "pattern": DURATION }),
        Kind::TimeOrNever => {
            json!({ "anyOf": [{ "const": IdleStop::NEVER }, { "type": "string", "pattern": DURATION }] })
        }
        Kind::Number { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Decimal { least, most } => json!({ "type": "number", "minimum": least, "maximum": most }),
        Kind::Size(sizes) => json!({ "anyOf": size(*sizes) }),
        Kind::SizeOrNone(sizes) => {
            let [number, text] = size(*sizes);
            json!({ "anyOf": [{ "const": SizeLimit::NONE }, number, text] })
        }
    }
}

/// Other programs write `on_failure`; both are taken.
fn spellings(words: &[&'static str]) -> Vec<String> {
    let other = words
        .iter()
        .filter(|word| word.contains('-'))
        .map(|word| word.replace('-', "_"));
    words.iter().map(|&word| word.to_owned()).chain(other).collect()
}

fn size(sizes: Sizes) -> [Value; 2] {
    [
        json!({ "type": "integer", "minimum": sizes.least, "maximum": sizes.most }),
        json!({ "type": "string", "pattern": SIZE }),
    ]
}

/// What a key is for, in a few words; empty for one that is not known.
fn about(key: &str) -> &'static str {
    match key {
        "command" => "Name or path of the program, without arguments; \"mcp-wrapper\" is this very program.",
        "args" => "Its arguments, one text each; no shell splits them.",
        "env" => {
            "Variables added to its small environment; secrets as ${file:…}, ${cmd:…}, ${keyring:…} or ${NAME}."
        }
        "cwd" => "The folder it runs in.",
        "stop_command" => "Program and arguments to run when it has to go.",
        "enabled" => "false: declared, but not started.",
        "prefix" => "What stands before __ in names; \"\" for nothing.",
        "aliases" => "Names you choose for its tools and prompts: own_name = \"exposed_name\".",
        "roots" => "Folders it is told of when it asks for roots.",
        "transport" | "type" => "How it is spoken to.",
        "sharing" => "Who shares a process of it.",
        "instances_max" => "Processes at once beside the first, where they are not shared.",
        "interactive_policy" => "Whether clients that share a process are kept apart once it asks them.",
        "instance_idle" => "A process that is not shared is stopped after this long without a call.",
        "restart" => "When it starts again after it ended by itself.",
        "autostart" => "With the daemon, or when it is first called.",
        "era" => "In which era of the protocol it is spoken to.",
        "replace" => "When a changed definition takes the place of the one that runs.",
        "idle_stop" => "Stop it after this long without a call; \"never\".",
        "start_timeout" => "Patience for its start.",
        "call_timeout" => "Patience for one call; begins anew with each progress notification.",
        "call_max" => "Hard limit of one call, progress or not.",
        "queue_wait" => "How long a call waits for a server that is starting.",
        "backoff_initial" => "First wait before a restart.",
        "backoff_factor" => "Growth of the wait per failure.",
        "backoff_max" => "Longest wait before a restart.",
        "backoff_jitter" => "Part of the wait that is random, each way.",
        "stable_after" => "After this long without trouble, failures are forgotten.",
        "fail_burst" => "So many failures within fail_window, and it counts as failed.",
        "fail_window" => "The window in which failures are counted.",
        "failed_retry" => "A failed server gets one more attempt this often.",
        "probe_interval" => "Silence after which an idle server is pinged; \"0s\" never.",
        "probe_timeout" => "Patience for a ping.",
        "probe_threshold" => "So many pings in a row without an answer, and it is looked at more closely.",
        "eof_grace" => "When stopping: from closing its stdin to SIGTERM.",
        "term_grace" => "When stopping: from SIGTERM to SIGKILL.",
        "drain_timeout" => "How long calls may take to finish before a stop.",
        "write_stall" => "A server that reads nothing for this long is replaced.",
        "inflight_max" => "Calls in flight at once.",
        "queue_max" => "Calls waiting behind those; one more is refused.",
        "message_bytes_max" => "Longest message either way.",
        "discard_bytes_max" => "A line longer than this ends the process.",
        "memory_max" => "Memory of a server with all that it has started.",
        "processes_max" => "How many processes these may be.",
        "files_max" => "Open files of each of them.",
        "core_dumps" => "Whether a crash may leave a core file, which holds all secrets of the process.",
        "nice" => "How far it gives way when the processor is short.",
        "log_bytes_max" => "What is kept of its stderr on the disk, in three files.",
        _unknown => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_and_described() {
        let schema = schema();
        for key in KEYS {
            let described = |path: &str| {
                let found = schema.pointer(&format!("{path}/properties/{}", key.name));
                let about = found.and_then(|found| found["description"].as_str());
                assert!(
                    about.is_some_and(|about| !about.is_empty()),
                    "{path} {}",
                    key.name
                );
            };
            described("/properties/servers/additionalProperties");
            let in_defaults = schema.pointer(&format!("/properties/defaults/properties/{}", key.name));
            assert_eq!(in_defaults.is_some(), key.in_defaults, "{}", key.name);
        }
    }

    #[test]
    fn what_it_names_is_what_the_check_takes() {
        let schema = schema();
        for key in KEYS {
            let of = &schema["properties"]["servers"]["additionalProperties"]["properties"][key.name];
            let words = of["enum"].as_array().into_iter().flatten();
            let bounds = ["minimum", "maximum"]
                .into_iter()
                .filter_map(|bound| of.get(bound));
            for value in words.chain(bounds) {
                assert_eq!(key.fault_of(value), None, "{} {value}", key.name);
            }
            for beyond in [json!(-1), json!("?"), json!([1])] {
                let is_listed = of["enum"].as_array().is_some_and(|words| words.contains(&beyond));
                assert!(!is_listed, "{}", key.name);
            }
        }
    }

    /// `mcpctl schema > docs/servers.schema.json` makes it anew.
    #[test]
    fn the_copy_for_editors_is_the_same() {
        let copy: Value = serde_json::from_str(include_str!("../../docs/servers.schema.json")).unwrap();
        assert_eq!(copy, schema());
    }
}
