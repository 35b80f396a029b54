//! Definitions as text: as `servers.toml` has them, and as other programs do.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::config::raw::RawServer;
use crate::config::spec::Secret;
use crate::ids::ServerName;

/// The tables of `servers.toml` for these servers.
///
/// # Errors
/// A value that TOML does not have.
pub(super) fn toml_of<'a>(
    servers: impl Iterator<Item = (&'a ServerName, &'a RawServer)>,
) -> Result<String, String> {
    let mut text = String::new();
    for (name, raw) in servers {
        let table: BTreeMap<_, _> = [("servers", BTreeMap::from([(name.as_str(), raw)]))].into();
        let one = toml::to_string(&table).map_err(|error| error.to_string())?;
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&one);
    }
    Ok(text)
}

/// The servers as most programs have them, below `mcpServers`: without what is about supervision.
pub(super) fn json_of<'a>(servers: impl Iterator<Item = (&'a ServerName, &'a RawServer)>) -> Value {
    let entries: Map<String, Value> = servers
        .map(|(name, raw)| (name.as_str().to_owned(), entry(raw)))
        .collect();
    json!({ "mcpServers": entries })
}

fn entry(raw: &RawServer) -> Value {
    let mut entry = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            entry.insert(key.to_owned(), value);
        }
    };
    put("command", raw.command.clone().map(Value::from));
    put("args", raw.args.clone().map(Value::from));
    let env = raw.env.as_ref().map(|env| {
        let texts = env
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.reveal())));
        Value::Object(texts.collect())
    });
    put("env", env);
    put("cwd", raw.cwd.clone().map(Value::from));
    put(
        "disabled",
        (raw.enabled == Some(false)).then(|| Value::from(true)),
    );
    Value::Object(entry)
}

/// The same definition with other values of its variables: by name and value, `None` leaves one as it is.
pub(super) fn with_values(raw: &RawServer, change: impl Fn(&str, &str) -> Option<String>) -> RawServer {
    let env = raw.env.as_ref().map(|env| {
        let changed = env.iter().map(|(name, value)| {
            let new = change(name, value.reveal()).map(Secret::new);
            (name.clone(), new.unwrap_or_else(|| value.clone()))
        });
        changed.collect()
    });
    RawServer { env, ..raw.clone() }
}

/// Whether a value refers to what stands elsewhere, and holds nothing else: such a value may be shown.
pub(super) fn is_reference(value: &str) -> bool {
    value.starts_with("${")
        && value.ends_with('}')
        && value.matches("${").count() == 1
        && !value.contains(":-")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Environment, parse_servers};

    fn raw() -> RawServer {
        serde_json::from_str(
            r#"{"command":"npx","args":["-y","a \"b\""],"env":{"A":"x","B":"${B:-}"},"cwd":"/w","enabled":false,
            "aliases":{"a.b":"c"},"call_timeout":"90s","backoff_jitter":0.1,"memory_max":"512MiB","prefix":""}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_is_written_as_toml_is_read_as_it_was() {
        let names = ["a", "1b"].map(|name| ServerName::parse(name).unwrap());
        let plain: RawServer = serde_json::from_str(r#"{"command":"x"}"#).unwrap();
        let all = [(&names[0], &raw()), (&names[1], &plain)].map(|(name, raw)| (name.clone(), raw.clone()));
        let text = toml_of(all.iter().map(|(name, raw)| (name, raw))).unwrap();
        let env = Environment::new(|_| None);
        let read = parse_servers(&text, Path::new("servers.toml"), &env)
            .unwrap_or_else(|told| panic!("{told}\n{text}"));
        assert_eq!(read.servers, all, "{text}");
    }

    #[test]
    fn other_programs_get_what_they_know() {
        let name = ServerName::parse("a").unwrap();
        assert_eq!(
            json_of(std::iter::once((&name, &raw()))),
            json!({"mcpServers": {"a": {
                "command": "npx", "args": ["-y", "a \"b\""], "env": {"A": "x", "B": "${B:-}"}, "cwd": "/w", "disabled": true
            }}})
        );
    }

    #[test]
    fn a_reference_is_one_that_holds_no_value() {
        for (value, expected) in [
            ("${A}", true),
            ("${file:/x}", true),
            ("${A:-secret}", false),
            ("Bearer ${A}", false),
            ("${A}${B}", false),
            ("x", false),
        ] {
            assert_eq!(is_reference(value), expected, "{value}");
        }
    }
}
